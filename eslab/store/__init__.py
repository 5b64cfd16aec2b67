"""Event stores: one port, a readable reference in memory, and DuckDB behind the same port."""

from __future__ import annotations

from pathlib import Path

from eslab.clock import Clock, IdSource, RandomIds, SystemClock
from eslab.store.memory import MemoryStore
from eslab.store.port import AppendResult, EventStore, ImportReport, StreamAppend

__all__ = [
    "AppendResult",
    "EventStore",
    "ImportReport",
    "MemoryStore",
    "StreamAppend",
    "open_store",
]


def open_store(
    path: str | Path = ":memory:", *, clock: Clock | None = None, ids: IdSource | None = None
) -> EventStore:
    """Open an event store in DuckDB.

    Args:
        path: a file, made if it does not exist, or ``":memory:"``. A file that this process has
            open already gives the same store again.
        clock: where recorded_at comes from; by default the machine's clock.
        ids: where the ids of events come from that were appended without one; random by default.

    Raises:
        StoreOpenError: the file is no store, is one of a newer eslab, is held by another process,
            or cannot be written.

    Example:
        >>> from eslab import NewEvent
        >>> with open_store(":memory:") as store:
        ...     store.append("order-1", [NewEvent("OrderPlaced", {"amount": 30})]).position
        1
    """
    from eslab.store.duckdb import DuckDBStore

    return DuckDBStore.open(path, clock=clock or SystemClock(), ids=ids or RandomIds())
