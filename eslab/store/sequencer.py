"""How an append is decided: the checks, and the numbers that the events get.

Every adapter extends `SequencedStore` and provides a few look-ups and one write; what is allowed,
what is a duplicate and which position comes next is decided here, in one place, under one lock.
"""

from __future__ import annotations

import gc
import sys
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from types import TracebackType
from typing import Final, Self

from tqdm.auto import tqdm

from eslab.clock import Clock, IdSource, as_utc
from eslab.errors import (
    AppendConditionError,
    ConcurrencyError,
    IdempotencyError,
    InputError,
    LimitError,
    PartialDuplicateError,
    StoreClosedError,
)
from eslab.events import (
    ANY,
    STREAM_EXISTS,
    AppendCondition,
    Event,
    Expected,
    ExpectedVersion,
    Metadata,
    NewEvent,
    Query,
    RecordedEvent,
    check_stream_id,
    type_name,
)
from eslab.schema import canonical_json, parse_json
from eslab.store.port import AppendResult, Direction, ImportReport, StreamAppend

__all__ = ["LogRow", "Selection", "SequencedStore"]

MAX_EVENTS: Final = 100_000
MAX_EVENT_BYTES: Final = 1 << 20
MAX_APPEND_BYTES: Final = 64 << 20
MAX_INT32: Final = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class LogRow:
    """A row of the log: a recorded event whose data and metadata are the stored text."""

    position: int
    stream_id: str
    version: int
    type: str
    schema_version: int
    event_id: uuid.UUID
    tags: tuple[str, ...]
    data: str
    metadata: str
    occurred_at: datetime
    recorded_at: datetime

    def recorded(self) -> RecordedEvent:
        """Return the event, with values of its own: nobody can change the log through it."""
        return RecordedEvent(
            self.position,
            self.stream_id,
            self.version,
            self.type,
            parse_json(self.data),
            self.event_id,
            self.schema_version,
            self.tags,
            _metadata(self.metadata),
            self.occurred_at,
            self.recorded_at,
        )

    @property
    def content(self) -> tuple[str, int, str]:
        """What makes two events the same event: never their metadata, never their times."""
        return self.type, self.schema_version, self.data


_NO_METADATA: Final = Metadata()


def _metadata(text: str) -> Metadata:
    return _NO_METADATA if text == "{}" else Metadata.from_dict(parse_json(text))


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events of the log are read: after `after`, up to and with `until`."""

    after: int
    until: int
    query: Query | None
    types: frozenset[str] | None
    category: str | None
    backwards: bool
    limit: int | None


class SequencedStore(ABC):
    """What all adapters share: checks, numbering, duplicates, and the shape of reading."""

    def __init__(self, *, clock: Clock, ids: IdSource) -> None:
        self.clock = clock
        self.ids = ids
        self._lock = threading.RLock()
        self._closed = False
        self._listeners: tuple[Callable[[], None], ...] = ()

    # What an adapter provides; all of it is called under the lock.

    @abstractmethod
    def _head(self) -> int: ...

    @abstractmethod
    def _last_recorded_at(self) -> datetime | None: ...

    @abstractmethod
    def _stream_head(self, stream_id: str) -> tuple[int, int]:
        """Return the stream's version and the position of its last event, or zeros."""

    @abstractmethod
    def _find(self, ids: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, LogRow]:
        """Return the rows of those ids that are in the log."""

    @abstractmethod
    def _write(self, rows: Sequence[LogRow]) -> None:
        """Add rows to the log, all or none, and make them durable."""

    @abstractmethod
    def _stream_rows(
        self, stream_id: str, low: int, high: int, backwards: bool, limit: int | None
    ) -> Iterator[LogRow]:
        """Yield the stream's rows with low <= version <= high."""

    @abstractmethod
    def _rows(self, selection: Selection) -> Iterator[LogRow]:
        """Yield the rows that are selected."""

    @abstractmethod
    def _close(self) -> None: ...

    # The port.

    def append(
        self, stream_id: str, events: Sequence[NewEvent], *, expected_version: Expected = ANY
    ) -> AppendResult:
        """Append events to one stream, all or none; see `eslab.store.EventStore.append`."""
        return self.append_all([StreamAppend(stream_id, events, expected_version)])[0]

    def append_all(
        self, appends: Sequence[StreamAppend], *, condition: AppendCondition | None = None
    ) -> list[AppendResult]:
        """Append to several streams, all or nothing; see `eslab.store.EventStore.append_all`."""
        checked = [_checked(item) for item in appends]
        with self._open_lock():
            if (duplicates := self._duplicates(checked)) is not None:
                return duplicates
            if condition is not None:
                self._require(condition)
            rows, results = self._number(checked)
            if rows:
                self._write(rows)
        self._tell(rows)
        return results

    def import_events(
        self,
        events: Iterable[tuple[str, NewEvent]],
        *,
        batch: int = 50_000,
        progress: bool = True,
        total: int | None = None,
        description: str = "importing",
    ) -> ImportReport:
        """Append many events of many streams; see `eslab.store.EventStore.import_events`."""
        if not 1 <= batch <= MAX_EVENTS:
            raise LimitError(f"a batch holds 1 to {MAX_EVENTS:,} events, not {batch:,}")
        appended = skipped = 0
        source = iter(events)
        with tqdm(
            total=total,
            desc=description,
            unit=" events",
            unit_scale=True,
            disable=None if progress else True,
            file=sys.stderr,
        ) as bar:
            while chunk := list(islice(source, batch)):
                with _garbage_kept():
                    new = self._import(chunk)
                appended += new
                skipped += len(chunk) - new
                bar.update(len(chunk))
        return ImportReport(appended, skipped, self.head())

    def read(
        self,
        stream_id: str,
        *,
        from_version: int = 1,
        to_version: int | None = None,
        direction: Direction = "forwards",
        limit: int | None = None,
    ) -> Iterator[RecordedEvent]:
        """Yield the events of one stream; see `eslab.store.EventStore.read`."""
        check_stream_id(stream_id)
        backwards = _backwards(direction)
        _check_limit(limit)
        with self._open_lock():
            version, _ = self._stream_head(stream_id)
        high = version if to_version is None else min(to_version, version)
        rows = self._stream_rows(stream_id, max(from_version, 1), high, backwards, limit)
        return (row.recorded() for row in rows)

    def read_all(
        self,
        *,
        after: int = 0,
        until: int | None = None,
        query: Query | None = None,
        types: Iterable[str | type[Event]] | None = None,
        category: str | None = None,
        direction: Direction = "forwards",
        limit: int | None = None,
    ) -> Iterator[RecordedEvent]:
        """Yield the events of all streams in order; see `eslab.store.EventStore.read_all`."""
        if isinstance(types, (str, type)):
            raise InputError(f"types must be a collection of types: [{types!r}]")
        names = None if types is None else frozenset(map(type_name, types))
        backwards = _backwards(direction)
        _check_limit(limit)
        head = self.head()
        until = head if until is None else min(until, head)
        rows = self._rows(Selection(after, until, query, names, category, backwards, limit))
        return (row.recorded() for row in rows)

    def head(self) -> int:
        """Return the last position; 0 when the store is empty."""
        with self._open_lock():
            return self._head()

    def stream_version(self, stream_id: str) -> int:
        """Return the version of a stream; 0 when there is none."""
        with self._open_lock():
            return self._stream_head(check_stream_id(stream_id))[0]

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after every append; see `eslab.store.EventStore.listen`."""
        with self._lock:
            self._listeners = (*self._listeners, callback)

        def stop() -> None:
            with self._lock:
                self._listeners = tuple(held for held in self._listeners if held is not callback)

        return stop

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def close(self) -> None:
        """Close the store; closing it again does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # How it is decided.

    @contextmanager
    def _open_lock(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise StoreClosedError(f"{self!r} was closed; open it again")
            yield

    def _tell(self, rows: Sequence[LogRow]) -> None:
        # Outside the lock: a listener may wait for another thread that wants it.
        if rows:
            for callback in self._listeners:
                callback()

    def _import(self, chunk: Sequence[tuple[str, NewEvent]]) -> int:
        """Append one batch of an import, without what is there, and return how many were new."""
        appends = [_checked(StreamAppend(stream_id, (event,))) for stream_id, event in chunk]
        with self._open_lock():
            found = self._find_given(appends)
            new = []
            for item in appends:
                (event,) = item.events
                if event.event_id is not None and (there := found.get(event.event_id)):
                    _require_same(event, there, item.stream_id)
                else:
                    new.append(item)
            rows, _ = self._number(new)
            if rows:
                self._write(rows)
        self._tell(rows)
        return len(rows)

    def _find_given(self, appends: Sequence[_Checked]) -> Mapping[uuid.UUID, LogRow]:
        """Look up the ids that were given.

        Raises:
            IdempotencyError: one id is given to two events.
        """
        given: dict[uuid.UUID, _Encoded] = {}
        for item in appends:
            for event in item.events:
                if event.event_id is None:
                    continue
                if event.event_id in given:
                    raise IdempotencyError(
                        f"two events of one append have the id {event.event_id}: "
                        f"{given[event.event_id].type} and {event.type}"
                    )
                given[event.event_id] = event
        return self._find(list(given)) if given and self._head() else {}

    def _duplicates(self, appends: Sequence[_Checked]) -> list[AppendResult] | None:
        """Return the original results if all of the events are there already."""
        found = self._find_given(appends)
        if not found:
            return None
        events = sum(len(item.events) for item in appends)
        if len(found) < events:
            raise PartialDuplicateError(
                f"{len(found)} of the {events} events of this append are in the store already "
                f"and the others are not, the first of them at position "
                f"{min(row.position for row in found.values())}; nothing was written: retry with "
                f"exactly the events of the first attempt, or give new events new ids"
            )
        results = []
        for item in appends:
            version, position = self._stream_head(item.stream_id)
            rows = [found[event.event_id] for event in item.events if event.event_id is not None]
            for index, (event, row) in enumerate(zip(item.events, rows, strict=True)):
                _require_same(event, row, item.stream_id)
                if row.version != rows[0].version + index:
                    raise IdempotencyError(
                        f"the events of this append are in stream {item.stream_id!r} already, but "
                        f"not in this order: {event.type} ({event.event_id}) is version "
                        f"{row.version}, and {rows[0].version + index} was expected"
                    )
            if rows:
                version, position = rows[-1].version, rows[-1].position
            results.append(AppendResult(item.stream_id, version, position, duplicate=True))
        return results

    def _require(self, condition: AppendCondition) -> None:
        selection = Selection(
            condition.after, self._head(), condition.query, None, None, backwards=False, limit=1
        )
        for row in self._rows(selection):
            raise AppendConditionError(row.position, after=condition.after)

    def _number(self, appends: Sequence[_Checked]) -> tuple[list[LogRow], list[AppendResult]]:
        """Check the expectations in order, and give the events their numbers and times."""
        now = self.clock.now()
        last = self._last_recorded_at()
        recorded_at = now if last is None or now >= last else last
        heads: dict[str, tuple[int, int]] = {}
        position = self._head()
        rows: list[LogRow] = []
        results = []
        for item in appends:
            stream_id = item.stream_id
            version, at = heads.get(stream_id) or self._stream_head(stream_id)
            if not _holds(item.expected_version, version):
                raise ConcurrencyError(stream_id, expected=item.expected_version, actual=version)
            for event in item.events:
                version += 1
                position += 1
                at = position
                rows.append(
                    LogRow(
                        position,
                        stream_id,
                        version,
                        event.type,
                        event.schema_version,
                        event.event_id or self.ids.mint(position),
                        event.tags,
                        event.data,
                        event.metadata_at(now, recorded_at),
                        event.occurred_at or now,
                        recorded_at,
                    )
                )
            heads[stream_id] = version, at
            results.append(AppendResult(stream_id, version, at))
        return rows, results


@dataclass(frozen=True, slots=True)
class _Encoded:
    """An event whose parts were checked and turned into what is stored."""

    type: str
    schema_version: int
    event_id: uuid.UUID | None
    tags: tuple[str, ...]
    data: str
    metadata: Metadata
    metadata_text: str
    occurred_at: datetime | None

    @property
    def content(self) -> tuple[str, int, str]:
        return self.type, self.schema_version, self.data

    def metadata_at(self, now: datetime, recorded_at: datetime) -> str:
        """Return the metadata, with the clock's word if recorded_at had to be another."""
        if now == recorded_at:
            return self.metadata_text
        clamped = {**self.metadata.extra, "recorded_at_clamped_from": now.isoformat()}
        return _metadata_text(replace(self.metadata, extra=clamped), self.type)


@dataclass(frozen=True, slots=True)
class _Checked:
    stream_id: str
    events: tuple[_Encoded, ...]
    expected_version: Expected


def _checked(item: StreamAppend) -> _Checked:
    """Check everything about an append that needs no look at the store."""
    stream_id = check_stream_id(item.stream_id)
    expected = item.expected_version
    if not isinstance(expected, ExpectedVersion) and (
        isinstance(expected, bool) or not isinstance(expected, int) or expected < 0
    ):
        raise InputError(
            f"expected_version must be ANY, NO_STREAM, STREAM_EXISTS or a version from 0, not "
            f"{expected!r}"
        )
    if isinstance(item.events, (NewEvent, str)):
        raise InputError(f"events must be a list of NewEvent, not one {item.events!r}")
    events = list(item.events)
    if len(events) > MAX_EVENTS:
        raise LimitError(f"an append holds at most {MAX_EVENTS:,} events, not {len(events):,}")
    encoded = tuple(_encoded(event) for event in events)
    size = sum(len(event.data) for event in encoded)
    if size > MAX_APPEND_BYTES // 4:  # a character takes up to four bytes
        size = sum(len(event.data.encode()) for event in encoded)
        if size > MAX_APPEND_BYTES:
            raise LimitError(
                f"an append holds at most {MAX_APPEND_BYTES >> 20} MiB of JSON, not {size:,} bytes"
            )
    return _Checked(stream_id, encoded, expected)


def _encoded(event: NewEvent) -> _Encoded:
    _check_parts(event)
    data = canonical_json(event.data, what=event.type)
    if len(data) > MAX_EVENT_BYTES // 4 and (size := len(data.encode())) > MAX_EVENT_BYTES:
        raise LimitError(
            f"an event holds at most {MAX_EVENT_BYTES >> 20} MiB of JSON; this {event.type} has "
            f"{size:,} bytes"
        )
    return _Encoded(
        event.type,
        event.schema_version,
        event.event_id,
        tuple(event.tags),
        data,
        event.metadata,
        _metadata_text(event.metadata, event.type),
        None if event.occurred_at is None else as_utc(event.occurred_at, what="occurred_at"),
    )


def _check_parts(event: NewEvent) -> None:
    if not isinstance(event, NewEvent):
        raise InputError(
            f"a store appends NewEvent, not {type(event).__name__}; "
            f"turn an Event into one by eslab.schema.encode(event), or append it through a Lab"
        )
    name = event.type
    if not (isinstance(name, str) and name and name.isprintable()):
        raise InputError(f"an event's type must be a printable name, not {name!r}")
    if event.event_id is not None and not isinstance(event.event_id, uuid.UUID):
        raise InputError(f"event_id of {name} must be a UUID, not {event.event_id!r}")
    if not isinstance(event.tags, (tuple, list)) or not all(
        isinstance(tag, str) and tag.isprintable() for tag in event.tags
    ):
        raise InputError(f"tags of {name} must be printable strings in a tuple, not {event.tags!r}")
    if not isinstance(event.data, dict):
        raise InputError(f"data of {name} must be a dict, not {event.data!r}")
    if not (isinstance(event.metadata, Metadata) and isinstance(event.metadata.extra, Mapping)):
        raise InputError(f"metadata of {name} must be Metadata(...), not {event.metadata!r}")
    if type(event.schema_version) is not int or not 1 <= event.schema_version <= MAX_INT32:
        raise InputError(f"schema_version of {name} counts from 1, not {event.schema_version!r}")


def _metadata_text(metadata: Metadata, type: str) -> str:
    if metadata == _NO_METADATA:
        return "{}"
    return canonical_json(metadata.to_dict(), what=f"metadata of {type}")


def _holds(expected: Expected, version: int) -> bool:
    if expected is ANY:
        return True
    if expected is STREAM_EXISTS:
        return version > 0
    return expected == version


def _require_same(event: _Encoded, there: LogRow, stream_id: str) -> None:
    if there.stream_id != stream_id:
        raise IdempotencyError(
            f"the event id {event.event_id} ({event.type}) is for stream {stream_id!r} here, but "
            f"in the store it is in stream {there.stream_id!r}, at position {there.position}"
        )
    if there.content != event.content:
        raise IdempotencyError(
            f"the event id {event.event_id} is in the store already, at position "
            f"{there.position}, with other content: {there.type} {there.data[:200]} there, "
            f"{event.type} {event.data[:200]} here"
        )


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """Pause the garbage collector, which else walks over all the new objects again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _backwards(direction: Direction) -> bool:
    if direction not in ("forwards", "backwards"):
        raise InputError(f"direction must be 'forwards' or 'backwards', not {direction!r}")
    return direction == "backwards"


def _check_limit(limit: int | None) -> None:
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise InputError(f"limit must be a number of events from 0, not {limit!r}")
