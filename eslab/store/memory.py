"""The store in memory: the readable reference that every other adapter has to agree with."""

from __future__ import annotations

import threading
import uuid
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING

from eslab.clock import Clock, IdSource, RandomIds, SystemClock
from eslab.store.adapter import StoreAdapter
from eslab.store.decision import Decision, decide
from eslab.store.requests import AppendRequest
from eslab.store.rows import LogRow, Selection, selected
from eslab.store.snapshots import MemorySnapshots
from eslab.store.verification import Check, Verification
from eslab.words import counted

if TYPE_CHECKING:
    from eslab.store.importing import ImportRequest

__all__ = ["MemoryStore"]


class MemoryStore(StoreAdapter):
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

    epoch = 1

    def __init__(self, *, clock: Clock | None = None, ids: IdSource | None = None) -> None:
        super().__init__(clock=clock or SystemClock(), ids=ids or RandomIds())
        self.store_id = self.ids.mint(0)
        self._lock = threading.RLock()
        # The log is the truth, and grows in one step; what is indexed follows it. So an interrupt
        # between the two does no harm.
        self._log: list[LogRow] = []
        self._indexed = 0
        self._streams: dict[str, list[LogRow]] = {}
        self._by_id: dict[uuid.UUID, LogRow] = {}
        self.snapshots = MemorySnapshots(self.stream_version)

    def __repr__(self) -> str:
        if self._closed:
            return "MemoryStore(closed)"
        self._index()
        events, streams = counted(len(self._log), "event"), counted(len(self._streams), "stream")
        return f"MemoryStore({events}, {streams})"

    def _index(self) -> None:
        with self._lock:
            while self._indexed < len(self._log):
                row = self._log[self._indexed]
                rows = self._streams.setdefault(row.stream_id, [])
                if len(rows) < row.version:
                    rows.append(row)
                self._by_id[row.event_id] = row
                self._indexed += 1

    # Writing.

    def _submit(self, request: AppendRequest) -> Decision:
        with self._lock:
            self._require_open()
            self._index()
            decision = decide(request, self, self.clock.now())
            self._log.extend(decision.rows)
        return decision

    def _submit_import(self, request: ImportRequest) -> int:
        from eslab.store.importing import decide_import

        with self._lock:
            self._require_open()
            self._index()
            found = self._found(request.given)
            rows = list(decide_import(request, found, self, self.clock.now()).rows)
            self._log.extend(rows)
        return len(rows)

    # What a decision asks.

    def last(self) -> tuple[int, datetime | None]:
        """Return the last position, and when it was recorded; 0 and None when there is none."""
        return len(self._log), self._log[-1].recorded_at if self._log else None

    def stream_head(self, stream_id: str) -> tuple[int, int]:
        """Return a stream's version and the position of its last event, or zeros."""
        rows = self._streams.get(stream_id)
        return (rows[-1].version, rows[-1].position) if rows else (0, 0)

    def taken(self, request: AppendRequest) -> Mapping[uuid.UUID, LogRow]:
        """Return the rows that are in the log already of the ids that the request gives."""
        return self._found(request.given)

    def _found(self, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, LogRow]:
        return {id: self._by_id[id] for id in ids if id in self._by_id}

    def first_match(self, request: AppendRequest) -> int | None:
        """Return the position of the first event that fails its condition, if there is one."""
        condition = request.condition
        assert condition is not None
        rows = self._rows(Selection(condition.after, len(self._log), condition.query, limit=1))
        return next((row.position for row in rows), None)

    # Reading.

    def _head(self) -> int:
        return len(self._log)

    def _stream_version(self, stream_id: str) -> int:
        self._index()
        return self.stream_head(stream_id)[0]

    def _position_at(self, recorded: datetime) -> int:
        return bisect_right(self._log, recorded, key=attrgetter("recorded_at"))

    def _stream_rows(
        self, stream_id: str, low: int, high: int, *, backwards: bool, limit: int | None
    ) -> Iterator[LogRow]:
        rows = self._streams.get(stream_id, [])[low - 1 : high]
        return iter((rows[::-1] if backwards else rows)[:limit])

    def _find(self, event_id: uuid.UUID) -> LogRow | None:
        self._index()
        return self._by_id.get(event_id)

    def _rows(self, selection: Selection) -> Iterator[LogRow]:
        rows = self._log[selection.after : selection.until]
        return iter(selected(reversed(rows) if selection.backwards else rows, selection))

    def verify(self) -> Verification:
        """Prove that the log is whole; see `eslab.store.EventStore.verify`."""
        self._require_open()
        self._index()
        log = list(self._log)
        versions: dict[str, int] = defaultdict(int)
        gaps, wrong, back = [], [], []
        for number, row in enumerate(log, start=1):
            versions[row.stream_id] += 1
            if row.position != number:
                gaps.append(f"position {row.position} is in place {number}")
            if row.version != versions[row.stream_id]:
                wrong.append(f"{row.recorded()!r} should be version {versions[row.stream_id]}")
            if number > 1 and row.recorded_at < log[number - 2].recorded_at:
                back.append(f"{row.recorded()!r} was recorded before the one before it")
        repeated = len(log) - len({row.event_id for row in log})
        return Verification(
            (
                _check("positions without gaps", gaps, f"1 to {len(log)}"),
                _check(
                    "versions without gaps in each stream", wrong, counted(len(versions), "stream")
                ),
                _check(
                    "event ids unique",
                    [f"{repeated} are repeated"] if repeated else [],
                    counted(len(log), "id"),
                ),
                _check("recorded_at never decreases", back, "in order"),
            )
        )

    def _close(self) -> None:
        self._closed = True


def _check(name: str, wrong: list[str], right: str) -> Check:
    return Check(name, not wrong, wrong[0] if wrong else right)
