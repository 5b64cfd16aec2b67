"""Every adapter of the event store; each test of this folder runs unchanged on all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eslab import EventStore, MemoryStore, VirtualClock, open_store
from eslab.clock import SeededIds


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(params=["memory", "duckdb", "duckdb-flushed", "duckdb-kept", "duckdb-file"])
def store(
    request: pytest.FixtureRequest,
    clock: VirtualClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[EventStore]:
    ids = SeededIds(7)
    match request.param:
        case "memory":
            opened: EventStore = MemoryStore(clock=clock, ids=ids)
        case "duckdb":
            opened = open_store(clock=clock, ids=ids)
        case "duckdb-flushed" | "duckdb-kept":
            opened = open_store(clock=clock, ids=ids)
            opened.listen(opened.flush)
            kept = 0 if request.param == "duckdb-flushed" else 2  # nothing in memory, or a little
            monkeypatch.setattr("eslab.store.duckdb.hot.KEPT_EVENTS", kept)
        case _:
            opened = open_store(tmp_path / "contract.duckdb", clock=clock, ids=ids)
    with opened:
        yield opened
