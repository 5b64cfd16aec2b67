"""What is asked of a store, checked and encoded before anything is looked up."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import compress, islice
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from eslab.errors import IdempotencyError, InputError, LimitError
from eslab.events import (
    AppendCondition,
    Event,
    Expected,
    ExpectedVersion,
    NewEvent,
    Query,
    check_stream_id,
)
from eslab.schema import AnyEvent, EncodedEvent, encode_all, encoded
from eslab.store.columns import StreamColumn
from eslab.store.rows import LogRow

__all__ = ["MAX_BATCH", "AppendRequest", "ImportRequest", "StreamRequest"]

MAX_EVENTS: Final = 100_000
MAX_BATCH: Final = 1_000_000
MAX_BATCH_SIZE: Final = 256 << 20
BIT: Final = 1_024
MAX_APPEND_BYTES: Final = 64 << 20
SURELY_WITHIN: Final = MAX_APPEND_BYTES // 4  # characters: one takes up to four bytes


class StreamRequest(NamedTuple):
    """The encoded events for one stream, and the version that it is expected to have."""

    stream_id: str
    events: tuple[EncodedEvent, ...]
    expected_version: Expected


class AppendRequest:
    """One atomic append: all that can be checked without a look at the store holds.

    Args:
        appends: stream ids, events for each, and expected versions.
        condition: what must not have happened.

    Attributes:
        items: what goes to which stream, in order.
        condition: what must not have happened.
        given: the events that have ids of their own, by these.
        events: how many there are.
        size: the characters of JSON in them.
        checked: the position up to which the next two were looked up already.
        found: the rows there of the given ids.
        match: the position there of the first event that fails the condition.

    Raises:
        InputError: an argument or an event cannot be used.
        LimitError: there are too many events, or they are too large.
        IdempotencyError: one id is given to two events.
    """

    condition: AppendCondition | None = None
    given: Mapping[uuid.UUID, EncodedEvent] = MappingProxyType({})
    checked: int = 0
    found: Mapping[uuid.UUID, LogRow] = MappingProxyType({})
    match: int | None = None

    def __init__(
        self,
        appends: Iterable[tuple[str, Sequence[AnyEvent], Expected]],
        *,
        condition: AppendCondition | None = None,
    ) -> None:
        items = []
        given: dict[uuid.UUID, EncodedEvent] = {}
        count = size = 0
        for stream_id, events, expected in appends:
            check_stream_id(stream_id)
            if (type(expected) is not int or expected < 0) and not isinstance(
                expected, ExpectedVersion
            ):
                raise InputError(
                    f"expected_version must be ANY, NO_STREAM, STREAM_EXISTS or a version from 0, "
                    f"not {expected!r}"
                )
            if type(events) is not list and not _is_list_like(events):
                raise InputError(f"events must be a list of events, not {events!r:.200}")
            kept = tuple(map(encoded, events))
            for event in kept:
                size += len(event.data) + len(event.metadata)
                if event.event_id is not None:
                    _give(given, event.event_id, event)
            count += len(kept)
            items.append(tuple.__new__(StreamRequest, (stream_id, kept, expected)))
        self.items = items
        self.events, self.size = count, size
        if given:
            self.given = given
        if condition is not None:
            self.condition = _checked_condition(condition)
        if count > MAX_EVENTS or size > SURELY_WITHIN:
            _check_size(self)


class ImportRequest:
    """One batch of an import, column by column, checked as an append is.

    Args:
        pairs: stream ids and events.
        most: how many of them to take; fewer, if they are large.

    Attributes:
        streams: the stream of each event, in order.
        columns: of the fields of `EncodedEvent`.
        given: the ids that events were given.

    Raises:
        EslabError: as `AppendRequest`.
    """

    def __init__(self, pairs: Iterator[tuple[str, AnyEvent]], *, most: int) -> None:
        stream_ids: list[str] = []
        self.columns: list[list[Any]] = [[] for _ in EncodedEvent._fields]
        size = 0
        while size < MAX_BATCH_SIZE and (left := most - len(stream_ids)):
            # Bit by bit, so that only their columns are in memory, and large ones are noticed.
            if not (some := list(islice(pairs, min(BIT, left)))):
                break
            streams, events = _unzipped(some)
            stream_ids += streams
            for column, more in zip(self.columns, encode_all(events), strict=True):
                column.extend(more)
            size += sum(map(len, self.columns[4][-len(some) :]))
        self._complete(stream_ids)
        for stream_id in self.streams.names:
            check_stream_id(stream_id)
        if len(set(self.given)) < len(self.given):
            given: dict[uuid.UUID, EncodedEvent] = {}
            for event in self.events():
                if event.event_id is not None:
                    _give(given, event.event_id, event)

    def __len__(self) -> int:
        return len(self.streams)

    def _complete(self, stream_ids: Iterable[str]) -> None:
        self.streams = StreamColumn(stream_ids)
        self.given = [id for id in self.columns[2] if id is not None]

    def events(self) -> Iterator[EncodedEvent]:
        """Yield the encoded events."""
        return map(EncodedEvent, *self.columns)

    def keep(self, wanted: Sequence[bool]) -> None:
        """Leave out the events that are not wanted."""
        self.columns = [list(compress(column, wanted)) for column in self.columns]
        self._complete(compress(self.streams, wanted))


def _unzipped(pairs: list[tuple[str, AnyEvent]]) -> tuple[Sequence[str], Sequence[AnyEvent]]:
    with suppress(TypeError, ValueError):
        stream_ids, events = zip(*pairs, strict=True)
        if set(map(type, stream_ids)) == {str}:
            return stream_ids, events
    for pair in pairs:
        try:
            stream_id, _ = pair
        except (TypeError, ValueError):
            raise InputError(
                f"an import takes pairs of a stream id and an event, not {pair!r:.200}"
            ) from None
        check_stream_id(stream_id)
    return [stream_id for stream_id, _ in pairs], [event for _, event in pairs]


def _give(given: dict[uuid.UUID, EncodedEvent], event_id: uuid.UUID, event: EncodedEvent) -> None:
    if event_id in given:
        raise IdempotencyError(
            f"two events of one append have the id {event_id}: {given[event_id].type} and "
            f"{event.type}"
        )
    given[event_id] = event


def _is_list_like(events: object) -> bool:
    return isinstance(events, Iterable) and not isinstance(
        events, (Event, NewEvent, EncodedEvent, str, Mapping)
    )


def _checked_condition(condition: AppendCondition) -> AppendCondition:
    if not (isinstance(condition, AppendCondition) and isinstance(condition.query, Query)):
        raise InputError(f"a condition is made by AppendCondition(query, after), not {condition!r}")
    if type(condition.after) is not int or condition.after < 0:
        raise InputError(f"a condition holds after a position from 0, not {condition.after!r}")
    return condition


def _check_size(request: AppendRequest) -> None:
    if request.events > MAX_EVENTS:
        raise LimitError(f"an append holds at most {MAX_EVENTS:,} events, not {request.events:,}")
    size = sum(
        len(event.data.encode()) + len(event.metadata.encode())
        for item in request.items
        for event in item.events
    )
    if size > MAX_APPEND_BYTES:
        raise LimitError(
            f"an append holds at most {MAX_APPEND_BYTES >> 20} MiB of JSON, not {size:,} bytes"
        )
