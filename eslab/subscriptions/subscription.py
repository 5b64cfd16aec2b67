"""The log from a checkpoint on, in the order of position, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
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
