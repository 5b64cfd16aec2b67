"""Every adapter of the event store; each test of this folder runs unchanged on all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from eslab import EventStore, MemoryStore, NewEvent, VirtualClock, open_store
from eslab.clock import SeededIds
from eslab.store.duckdb import DuckDBStore

STORES = [
    "memory",
    "duckdb",
    "duckdb-flushed",
    "duckdb-kept",
    "duckdb-file",
    "branch",
    "branch-flushed",
]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(params=STORES)
def store(
    request: pytest.FixtureRequest,
    clock: VirtualClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[EventStore]:
    ids = SeededIds(7)
    kind, _, state = request.param.partition("-")
    with ExitStack() as stack:
        if kind == "memory":
            opened: EventStore = MemoryStore(clock=clock, ids=ids)
        elif kind == "branch":
            # Where it begins nothing has happened: of what its base did since it knows nothing.
            base = DuckDBStore.open(":memory:", clock=VirtualClock(), ids=SeededIds(8))
            stack.enter_context(base)
            for stream_id in ("a-1", "b-1", "order-1", "counter-1"):
                base.append(stream_id, [NewEvent("Counted", {"n": n}) for n in range(3)])
            opened = base.branch(at=5).branch(at=0, clock=clock, ids=ids)
        else:
            path = tmp_path / "contract.duckdb" if state == "file" else ":memory:"
            opened = open_store(path, clock=clock, ids=ids)
        if state in ("flushed", "kept"):
            opened.listen(opened.flush)
            kept = 0 if state == "flushed" else 2  # nothing in memory, or a little
            monkeypatch.setattr("eslab.store.duckdb.hot.KEPT_EVENTS", kept)
        yield stack.enter_context(opened)
