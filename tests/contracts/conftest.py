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


@pytest.fixture(params=["memory", "duckdb", "duckdb-flushed", "duckdb-file"])
def store(
    request: pytest.FixtureRequest, clock: VirtualClock, tmp_path: Path
) -> Iterator[EventStore]:
    ids = SeededIds(7)
    match request.param:
        case "memory":
            opened: EventStore = MemoryStore(clock=clock, ids=ids)
        case "duckdb":
            opened = open_store(clock=clock, ids=ids)
        case "duckdb-flushed":
            opened = open_store(clock=clock, ids=ids)
            opened.listen(opened.flush)  # nothing stays in the tail
        case _:
            opened = open_store(tmp_path / "contract.duckdb", clock=clock, ids=ids)
    with opened:
        yield opened
