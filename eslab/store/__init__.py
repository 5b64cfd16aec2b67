"""Event stores: one port, a readable reference in memory, and DuckDB behind the same port."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eslab.clock import Clock, IdSource, RandomIds, SystemClock
from eslab.store.memory import MemoryStore
from eslab.store.port import AppendResult, EventStore, ImportReport, StreamAppend
from eslab.store.verification import Check, Verification

if TYPE_CHECKING:
    from eslab.store.duckdb.journal import Durability

__all__ = [
    "AppendResult",
    "Check",
    "EventStore",
    "ImportReport",
    "MemoryStore",
    "StreamAppend",
    "Verification",
    "open_store",
    "restore_store",
]


def open_store(
    path: str | Path = ":memory:",
    *,
    clock: Clock | None = None,
    ids: IdSource | None = None,
    durability: Durability = "full",
) -> EventStore:
    """Open an event store in DuckDB.

    Args:
        path: a file, made if it does not exist, or ``":memory:"``. A file that this process has
            open already gives the same store again.
        clock: where recorded_at comes from; by default the machine's clock.
        ids: where the ids of events come from that were appended without one; random by default.
        durability: what an append to a file survives once it has returned. ``"full"`` waits until
            the disk has it: it survives a killed process, a crash of the system and a loss of
            power, as far as the disk keeps its word. ``"relaxed"`` does not wait: it survives a
            killed process, but what the system had not written yet is lost with it, from some
            append on (never one without those before it); after that the store is in a new epoch.
            In memory nothing survives.

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

    return DuckDBStore.open(
        path, clock=clock or SystemClock(), ids=ids or RandomIds(), durability=durability
    )


def restore_store(copy: str | Path, to: str | Path) -> Path:
    """Make a store of a copy, as it was then, and return its path.

    It is the same store in a new epoch: consistency tokens of the time before do not hold there.

    Args:
        copy: a file that ``store.copy_to()`` wrote, or a store that was closed.
        to: a file that does not exist yet.

    Raises:
        StoreOpenError: it is no store, was not closed, or another process has it open.
        StoreError: the new file exists already, or cannot be written.

    Example:
        >>> import eslab, tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with eslab.open_store(folder / "shop.duckdb") as store:
        ...     _ = store.append("order-1", [eslab.NewEvent("OrderPlaced", {})])
        ...     _ = store.copy_to(folder / "backup.duckdb")
        >>> restored = eslab.restore_store(folder / "backup.duckdb", folder / "again.duckdb")
        >>> with eslab.open_store(restored) as store:
        ...     store.head(), store.epoch
        (1, 2)
    """
    from eslab.store.duckdb.copies import restore_store

    return restore_store(copy, to)
