"""What every adapter of the event store shares: the port, in terms of a few look-ups."""

from __future__ import annotations

import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Self

from eslab.clock import Clock, IdSource, as_utc
from eslab.errors import InputError, StoreClosedError
from eslab.events import (
    ANY,
    AppendCondition,
    AsOf,
    Event,
    EventBatch,
    Expected,
    Query,
    RecordedEvent,
    check_stream_id,
    type_name,
)
from eslab.garbage import garbage_kept
from eslab.progress import progress_bar
from eslab.schema import AnyEvent
from eslab.store.bell import Bells
from eslab.store.decision import Decision
from eslab.store.port import BATCH, AppendResult, Direction, ImportReport, StreamAppend
from eslab.store.requests import AppendRequest
from eslab.store.rows import LogRow, Selection, batches_of

if TYPE_CHECKING:
    from eslab.store.importing import ImportRequest

__all__ = ["StoreAdapter"]


class StoreAdapter(ABC):
    """The port's methods, with all checks of arguments; see `eslab.store.EventStore`.

    Args:
        clock: where recorded_at comes from.
        ids: where the ids of events come from that were given none.
    """

    def __init__(self, *, clock: Clock, ids: IdSource) -> None:
        self.clock = clock
        self.ids = ids
        self._closed = False
        self._listeners: tuple[Callable[[], None], ...] = ()
        self._bells = Bells()
        self._listening = threading.Lock()

    # What an adapter provides.

    @abstractmethod
    def _submit(self, request: AppendRequest) -> Decision:
        """Decide an append, and write its rows, all or none, before anybody else's."""

    @abstractmethod
    def _submit_import(self, request: ImportRequest) -> int:
        """Write what is new in a batch of an import, all or none; return how many events."""

    @abstractmethod
    def _head(self) -> int: ...

    @abstractmethod
    def _stream_version(self, stream_id: str) -> int: ...

    @abstractmethod
    def _position_at(self, recorded: datetime) -> int:
        """Return the position of the last event that was recorded by then."""

    @abstractmethod
    def _stream_rows(
        self, stream_id: str, low: int, high: int, *, backwards: bool, limit: int | None
    ) -> Iterator[LogRow]:
        """Yield the stream's rows with low <= version <= high, all of which there are."""

    @abstractmethod
    def _rows(self, selection: Selection) -> Iterator[LogRow]:
        """Yield the rows that are selected, from positions that there are."""

    @abstractmethod
    def _find(self, event_id: uuid.UUID) -> LogRow | None:
        """Return the row of the event with this id, if there is one."""

    @abstractmethod
    def _close(self) -> None: ...

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosedError(f"{self!r} was closed; open it again")

    # Writing.

    def append(
        self,
        stream_id: str,
        events: Sequence[AnyEvent],
        *,
        expected_version: Expected = ANY,
    ) -> AppendResult:
        """Append events to one stream, all or none; see `eslab.store.EventStore.append`."""
        rows, results = self._submit(AppendRequest([(stream_id, events, expected_version)]))
        if rows:
            self._tell()
        return results[0]

    def append_all(
        self, appends: Sequence[StreamAppend], *, condition: AppendCondition | None = None
    ) -> list[AppendResult]:
        """Append to several streams, all or nothing; see `eslab.store.EventStore.append_all`."""
        if isinstance(appends, StreamAppend):
            raise InputError(f"append_all() takes a list: [{appends!r:.200}]")
        if not isinstance(appends, Iterable):
            raise InputError(f"append_all() takes a list of appends, not {appends!r:.200}")
        appends = list(appends)
        if wrong := [item for item in appends if not isinstance(item, StreamAppend)]:
            raise InputError(
                f"append_all() takes StreamAppend(stream_id, events), not {wrong[0]!r:.200}"
            )
        rows, results = self._submit(AppendRequest(appends, condition=condition))
        if rows:
            self._tell()
        return results

    def import_events(
        self,
        events: Iterable[tuple[str, AnyEvent]],
        *,
        batch: int = BATCH,
        progress: bool = True,
        total: int | None = None,
        description: str = "importing",
    ) -> ImportReport:
        """Append many events of many streams; see `eslab.store.EventStore.import_events`."""
        from eslab.store.importing import ImportRequest  # it needs numpy, which takes time

        _check_number(batch, "batch")
        appended = duplicates = 0
        source = iter(events)
        with progress_bar(total=total, description=description, progress=progress) as bar:
            while True:
                with garbage_kept():
                    request = ImportRequest(source, most=batch)
                    if not (count := len(request)):
                        break
                    self._require_open()
                    new = self._submit_import(request)
                if new:
                    self._tell()
                appended += new
                duplicates += count - new
                bar.update(count)
        return ImportReport(appended, duplicates, self.head())

    # Reading.

    def read(
        self,
        stream_id: str,
        *,
        from_version: int = 1,
        to_version: int | None = None,
        as_of: AsOf | None = None,
        direction: Direction = "forwards",
        limit: int | None = None,
    ) -> Iterator[RecordedEvent]:
        """Yield the events of one stream; see `eslab.store.EventStore.read`."""
        backwards = _backwards(direction)
        _check_number(limit, "limit")
        low, high = self._span(stream_id, from_version, to_version)
        if as_of is None:
            rows = self._stream_rows(stream_id, low, high, backwards=backwards, limit=limit)
            return (row.recorded() for row in rows)
        seen = Selection(0, self._until(as_of), occurred_until=_occurred(as_of))
        rows = self._stream_rows(stream_id, low, high, backwards=backwards, limit=None)
        known = (row for row in rows if row.position <= seen.until and seen.takes(row))
        return (row.recorded() for row in islice(known, limit))

    def read_stream_batches(
        self, stream_id: str, *, from_version: int = 1, to_version: int | None = None
    ) -> Iterator[EventBatch]:
        """Yield events by columns; see `eslab.store.EventStore.read_stream_batches`."""
        low, high = self._span(stream_id, from_version, to_version)
        return batches_of(self._stream_rows(stream_id, low, high, backwards=False, limit=None))

    def _span(self, stream_id: str, low: int, high: int | None) -> tuple[int, int]:
        """Return the versions that there are between two."""
        check_stream_id(stream_id)
        _check_number(low, "from_version")
        _check_number(high, "to_version")
        self._require_open()
        version = self._stream_version(stream_id)
        return max(low, 1), version if high is None else min(high, version)

    def read_all(
        self,
        *,
        after: int = 0,
        until: int | None = None,
        query: Query | None = None,
        types: Iterable[str | type[Event]] | None = None,
        category: str | None = None,
        streams: Iterable[str] | None = None,
        as_of: AsOf | None = None,
        direction: Direction = "forwards",
        limit: int | None = None,
    ) -> Iterator[RecordedEvent]:
        """Yield the events of all streams in order; see `eslab.store.EventStore.read_all`."""
        names = _type_names(types)
        if isinstance(streams, str):
            raise InputError(f"streams must be a collection of stream ids: [{streams!r}]")
        wanted = None if streams is None else frozenset(map(check_stream_id, streams))
        _check_query(query)
        backwards = _backwards(direction)
        _check_number(limit, "limit")
        _check_number(after, "after")
        _check_number(until, "until")
        self._require_open()
        last = self._until(as_of)
        rows = self._rows(
            Selection(
                after,
                last if until is None else min(until, last),
                query,
                names,
                category,
                wanted,
                _occurred(as_of),
                backwards,
                limit,
            )
        )
        return (row.recorded() for row in rows)

    def read_batches(
        self,
        *,
        after: int = 0,
        until: int | None = None,
        query: Query | None = None,
        types: Iterable[str | type[Event]] | None = None,
        category: str | None = None,
        limit: int | None = None,
    ) -> Iterator[EventBatch]:
        """Yield events by columns; see `eslab.store.EventStore.read_batches`."""
        names = _type_names(types)
        _check_query(query)
        _check_number(limit, "limit")
        _check_number(after, "after")
        _check_number(until, "until")
        self._require_open()
        head = self._head()
        last = head if until is None else min(until, head)
        selection = Selection(after, last, query, types=names, category=category, limit=limit)
        return _limited(self._batches(selection), limit)

    def _batches(self, selection: Selection) -> Iterator[EventBatch]:
        """Yield what is selected by columns; an adapter may have a quicker way."""
        return batches_of(self._rows(selection))

    def find(self, event_id: uuid.UUID) -> RecordedEvent | None:
        """Return the event with this id, or None; see `eslab.store.EventStore.find`."""
        if not isinstance(event_id, uuid.UUID):
            raise InputError(f"an event id is a UUID, not {event_id!r:.200}")
        self._require_open()
        row = self._find(event_id)
        return None if row is None else row.recorded()

    def head(self) -> int:
        """Return the last position; 0 when the store is empty."""
        self._require_open()
        return self._head()

    def stream_version(self, stream_id: str) -> int:
        """Return the version of a stream; 0 when there is none."""
        check_stream_id(stream_id)
        self._require_open()
        return self._stream_version(stream_id)

    def position_at(self, recorded: datetime) -> int:
        """Return the last position of then; see `eslab.store.EventStore.position_at`."""
        moment = as_utc(recorded, what="recorded")
        self._require_open()
        return self._position_at(moment)

    def _until(self, as_of: AsOf | None) -> int:
        head = self._head()
        if as_of is not None and not isinstance(as_of, AsOf):
            raise InputError(
                f"as_of is AsOf(position=...), AsOf(recorded=...) or AsOf(occurred=...), not "
                f"{as_of!r:.200}"
            )
        if as_of is None or as_of.occurred is not None:
            return head
        if as_of.recorded is not None:
            return self._position_at(as_of.recorded)
        assert as_of.position is not None
        return min(head, as_of.position)

    # Waking.

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after every append; see `eslab.store.EventStore.listen`."""
        with self._listening:
            self._listeners = (*self._listeners, callback)

        def stop() -> None:
            with self._listening:
                self._listeners = tuple(held for held in self._listeners if held is not callback)

        return stop

    def wait(self, after: int, *, timeout: float | None = None) -> int:
        """Wait until there is an event behind `after`; see `eslab.store.EventStore.wait`."""
        _check_number(after, "after")
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._bells.listening() as bell:
            while (head := self.head()) <= after:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    break
                bell.wait(left)
            return head

    def _tell(self) -> None:
        # Outside of all locks: a listener may append, or wait for a thread that does.
        self._bells.ring()
        for callback in self._listeners:
            callback()

    # The end.

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def close(self) -> None:
        """Close the store; closing it again does nothing."""
        self._close()
        self._bells.ring()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _type_names(types: Iterable[str | type[Event]] | None) -> frozenset[str] | None:
    if isinstance(types, (str, type)):
        raise InputError(f"types must be a collection of types: [{types!r}]")
    return None if types is None else frozenset(map(type_name, types))


def _backwards(direction: Direction) -> bool:
    if direction not in ("forwards", "backwards"):
        raise InputError(f"direction must be 'forwards' or 'backwards', not {direction!r}")
    return direction == "backwards"


def _check_number(number: int | None, what: str) -> None:
    if number is not None and (type(number) is not int or number < 0):
        raise InputError(f"{what} must be a whole number from 0, not {number!r}")


def _check_query(query: Query | None) -> None:
    if query is not None and not isinstance(query, Query):
        raise InputError(f"a query is made by Query.of(types=..., tags=...), not {query!r}")


def _limited(batches: Iterator[EventBatch], limit: int | None) -> Iterator[EventBatch]:
    """Yield batches until there were so many events."""
    left = limit
    for batch in batches if left != 0 else ():
        if left is None or len(batch) < left:
            yield batch
            left = None if left is None else left - len(batch)
        else:
            yield batch.take(range(left)) if len(batch) > left else batch
            return


def _occurred(as_of: AsOf | None) -> datetime | None:
    return None if as_of is None else as_of.occurred
