"""The store in memory: the readable reference that every other adapter has to agree with."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from eslab.clock import Clock, IdSource, RandomIds, SystemClock
from eslab.events import category_of
from eslab.store.sequencer import LogRow, Selection, SequencedStore

__all__ = ["MemoryStore"]


class MemoryStore(SequencedStore):
    """Streams of events in lists; nothing is kept when the process ends.

    Args:
        clock: where recorded_at comes from; by default the machine's clock.
        ids: where the ids of events come from that were appended without one; random by default.

    Example:
        >>> from eslab import NewEvent
        >>> store = MemoryStore()
        >>> store.append("order-1", [NewEvent("OrderPlaced", {"amount": 30})])
        AppendResult(stream_id='order-1', version=1, position=1, duplicate=False)
        >>> [event.data for event in store.read("order-1")]
        [{'amount': 30}]
    """

    def __init__(self, *, clock: Clock | None = None, ids: IdSource | None = None) -> None:
        super().__init__(clock=clock or SystemClock(), ids=ids or RandomIds())
        self._log: list[LogRow] = []
        self._streams: dict[str, list[LogRow]] = {}
        self._by_id: dict[uuid.UUID, LogRow] = {}

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._log):,} events, {len(self._streams):,} streams)"

    def _head(self) -> int:
        return len(self._log)

    def _last_recorded_at(self) -> datetime | None:
        return self._log[-1].recorded_at if self._log else None

    def _stream_head(self, stream_id: str) -> tuple[int, int]:
        rows = self._streams.get(stream_id)
        return (rows[-1].version, rows[-1].position) if rows else (0, 0)

    def _find(self, ids: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, LogRow]:
        return {id: self._by_id[id] for id in ids if id in self._by_id}

    def _write(self, rows: Sequence[LogRow]) -> None:
        for row in rows:
            self._streams.setdefault(row.stream_id, []).append(row)
            self._by_id[row.event_id] = row
        self._log.extend(rows)

    def _stream_rows(
        self, stream_id: str, low: int, high: int, backwards: bool, limit: int | None
    ) -> Iterator[LogRow]:
        rows = self._streams.get(stream_id, [])[low - 1 : max(high, 0)]
        return iter((rows[::-1] if backwards else rows)[:limit])

    def _rows(self, selection: Selection) -> Iterator[LogRow]:
        rows = self._log[max(selection.after, 0) : max(selection.until, 0)]
        chosen = (row for row in (reversed(rows) if selection.backwards else rows))
        left = selection.limit
        for row in chosen:
            if left == 0:
                return
            if _selects(selection, row):
                yield row
                left = None if left is None else left - 1

    def _close(self) -> None:
        pass


def _selects(selection: Selection, row: LogRow) -> bool:
    return (
        (selection.types is None or row.type in selection.types)
        and (selection.category is None or category_of(row.stream_id) == selection.category)
        and (selection.query is None or selection.query.matches(row.type, row.tags))
    )
