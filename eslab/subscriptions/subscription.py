"""The log from a checkpoint on, in the order of position, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from eslab.events import EventBatch, Query, RecordedEvent
from eslab.store.port import EventStore

__all__ = ["Batch", "BatchReport", "Mode", "Part", "Subscription"]

Mode = Literal["live", "catch-up", "replay"]
Part = Sequence[RecordedEvent] | EventBatch


@dataclass(frozen=True, slots=True)
class Batch:
    """Events to handle together.

    Attributes:
        parts: the wanted events with a position in (after, scanned], in one or several parts.
        after: the checkpoint that the batch begins behind.
        scanned: the checkpoint that the batch leads to, also over events that are not wanted.
        head: the last position of the log when it was read.
        counted: how many events it has, where they were counted and not read: it has no parts
            then, and is one piece.
    """

    parts: Sequence[Part]
    after: int
    scanned: int
    head: int
    counted: int | None = None

    @property
    def events(self) -> list[RecordedEvent]:
        """The events one by one, unless they were asked for by columns."""
        return [e for part in self.parts if not isinstance(part, EventBatch) for e in part]

    @property
    def positions(self) -> list[int]:
        """The positions of its events."""
        return [
            position
            for part in self.parts
            for position in (
                part.positions if isinstance(part, EventBatch) else [e.position for e in part]
            )
        ]

    @property
    def stream_ids(self) -> list[str]:
        """The stream of each of its events."""
        return [
            stream_id
            for part in self.parts
            for stream_id in (
                part.stream_ids if isinstance(part, EventBatch) else [e.stream_id for e in part]
            )
        ]

    def take(self, places: Iterable[int]) -> Batch:
        """Return the batch with only the events at these places, counted from 0."""
        wanted = frozenset(places)
        parts: list[Part] = []
        start = 0
        for part in self.parts:
            inside = [place for place in range(len(part)) if start + place in wanted]
            start += len(part)
            if len(inside) == len(part):
                parts.append(part)
            elif inside:
                parts.append(
                    part.take(inside)
                    if isinstance(part, EventBatch)
                    else [part[place] for place in inside]
                )
        return replace(self, parts=parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts)) if self.counted is None else self.counted


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What became of a batch.

    Attributes:
        projection: whose batch.
        after: the checkpoint that it began behind.
        scanned: the checkpoint that it led to.
        count: of its events.
        started_at: when the work on it began.
        committed_at: when it was committed; or when it failed.
        mode: ``"live"``, ``"catch-up"`` or ``"replay"``.
        attempt: which one it was, from 1.
        error: why it failed; None if it was committed.
    """

    projection: str
    after: int
    scanned: int
    count: int
    started_at: datetime
    committed_at: datetime
    mode: Mode
    attempt: int = 1
    error: str | None = None


class Subscription:
    """Reads the events of some types behind a checkpoint.

    Args:
        store: the source.
        types: the names of the wanted types.
        size: the events in a batch, at most.
        category: only those in streams of this category.
        tags: only those that have all of these tags.
        columns: give them by columns, which is quicker, and lacks their ids, tags and metadata.
    """

    def __init__(
        self,
        store: EventStore,
        types: frozenset[str],
        *,
        size: int,
        category: str | None = None,
        tags: Sequence[str] = (),
        columns: bool = False,
    ) -> None:
        self._store = store
        self._size = size
        self._columns = columns
        self._wanted: dict[str, Any] = {"types": types, "category": category, "limit": size}
        if tags:
            self._wanted["query"] = Query.of(tags=tags)

    def read(self, after: int, *, until: int | None = None) -> Batch | None:
        """Return the batch behind the checkpoint `after`; None when there is nothing behind it.

        Args:
            after: the checkpoint.
            until: the last position that it may lead to; by default the head of the log.
        """
        head = self._store.head()
        last = head if until is None else min(until, head)
        if last <= after:
            return None
        if self._columns:
            parts = list(self._store.read_batches(after=after, until=last, **self._wanted))
            full = sum(map(len, parts)) == self._size
            return Batch(parts, after, parts[-1].positions[-1] if full else last, head)
        events = list(self._store.read_all(after=after, until=last, **self._wanted))
        full = len(events) == self._size
        return Batch([events], after, events[-1].position if full else last, head)

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
