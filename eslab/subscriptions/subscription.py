"""The log from a checkpoint on, in the order of position, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eslab.events import RecordedEvent
from eslab.store.port import EventStore

__all__ = ["Batch", "Subscription"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Events to handle together.

    Attributes:
        events: those of the wanted types with a position in (after, scanned].
        after: the checkpoint that the batch begins behind.
        scanned: the checkpoint that the batch leads to, also over events of other types.
        head: the last position of the log when it was read.
    """

    events: Sequence[RecordedEvent]
    after: int
    scanned: int
    head: int


class Subscription:
    """Reads the events of some types behind a checkpoint.

    Args:
        store: the source.
        types: the names of the wanted types.
        size: the events in a batch, at most.
    """

    def __init__(self, store: EventStore, types: frozenset[str], *, size: int) -> None:
        self._store = store
        self._types = types
        self._size = size

    def read(self, after: int) -> Batch | None:
        """Return the batch behind the checkpoint `after`; None when there is nothing behind it."""
        head = self._store.head()
        if head <= after:
            return None
        events = list(
            self._store.read_all(after=after, until=head, types=self._types, limit=self._size)
        )
        scanned = events[-1].position if len(events) == self._size else head
        return Batch(events, after, scanned, head)

    def follow(self, after: int, *, timeout: float | None = None) -> Iterator[Batch]:
        """Yield the batches behind the checkpoint `after`, and then those of new events.

        It sleeps until the store wakes it, and yields a batch for each scan, also for one that
        found no wanted event: its checkpoint is further on.

        Args:
            after: the checkpoint.
            timeout: end after so many seconds without an append; by default never.

        Raises:
            StoreClosedError: the store was closed.

        Example:
            >>> import eslab
            >>> store = eslab.MemoryStore()
            >>> _ = store.append("order-1", [eslab.NewEvent("OrderPlaced", {})] * 3)
            >>> placed = Subscription(store, frozenset(["OrderPlaced"]), size=2)
            >>> [batch.scanned for batch in placed.follow(0, timeout=0)]
            [2, 3]
        """
        while True:
            batch = self.read(after)
            if batch is not None:
                yield batch
                after = batch.scanned
            elif self._store.wait(after, timeout=timeout) <= after:
                return
