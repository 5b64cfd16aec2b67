"""What is asked of a store, checked and encoded before anything is looked up."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from eslab.errors import IdempotencyError, InputError, LimitError
from eslab.events import (
    AppendCondition,
    Expected,
    ExpectedVersion,
    NewEvent,
    Query,
    check_stream_id,
)
from eslab.schema import EncodedEvent, encode_new
from eslab.store.port import StreamAppend
from eslab.store.rows import LogRow

__all__ = ["MAX_EVENTS", "AppendRequest", "ImportRequest", "StreamRequest"]

MAX_EVENTS: Final = 100_000
MAX_APPEND_BYTES: Final = 64 << 20
SURELY_WITHIN: Final = MAX_APPEND_BYTES // 4  # characters: one takes up to four bytes


class StreamRequest(NamedTuple):
    """The encoded events for one stream, and the version that it is expected to have."""

    stream_id: str
    events: tuple[EncodedEvent, ...]
    expected_version: Expected


class AppendRequest:
    """One atomic append.

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
        LimitError: there are too many events, or they are too large.
        IdempotencyError: one id is given to two events.
    """

    condition: AppendCondition | None = None
    given: Mapping[uuid.UUID, EncodedEvent] = MappingProxyType({})
    checked: int = 0
    found: Mapping[uuid.UUID, LogRow] = MappingProxyType({})
    match: int | None = None

    def __init__(self, items: Sequence[StreamRequest] = ()) -> None:
        self.items = items
        given: dict[uuid.UUID, EncodedEvent] = {}
        count = size = 0
        for _, events, _ in items:
            count += len(events)
            for event in events:
                size += len(event.data) + len(event.metadata)
                if event.event_id is not None:
                    _give(given, event.event_id, event)
        self.events, self.size = count, size
        if given:
            self.given = given
        if count > MAX_EVENTS or size > SURELY_WITHIN:
            _check_size(self)

    @classmethod
    def of(
        cls, appends: Iterable[StreamAppend], *, condition: AppendCondition | None = None
    ) -> AppendRequest:
        """Check all that can be checked without a look at the store.

        Raises:
            InputError: an argument or an event cannot be used.
            LimitError: there are too many events, or they are too large.
            IdempotencyError: one id is given to two events.
        """
        items = []
        for item in appends:
            if not isinstance(item, StreamAppend):
                raise InputError(
                    f"append_all() takes StreamAppend(stream_id, events), not {item!r:.200}"
                )
            items.append(_stream_request(*item))
        request = cls(items)
        if condition is not None:
            request.condition = _checked_condition(condition)
        return request

    @classmethod
    def of_one(
        cls, stream_id: str, events: Sequence[NewEvent | EncodedEvent], expected_version: Expected
    ) -> AppendRequest:
        """Do the same for an append to one stream."""
        return cls((_stream_request(stream_id, events, expected_version),))


class ImportRequest(NamedTuple):
    """One batch of an import.

    Attributes:
        pairs: stream ids and events, in order.
        given: the events that have ids of their own, by these.
    """

    pairs: list[tuple[str, EncodedEvent]]
    given: dict[uuid.UUID, EncodedEvent]

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, NewEvent | EncodedEvent]]) -> ImportRequest:
        """Check all that can be checked without a look at the store.

        Raises:
            EslabError: as `AppendRequest.of`; the size of a batch has no limit but its events'.
        """
        checked: set[str] = set()
        given: dict[uuid.UUID, EncodedEvent] = {}
        encoded = []
        for pair in pairs:
            try:
                stream_id, event = pair
            except (TypeError, ValueError):
                raise InputError(
                    f"an import takes pairs of a stream id and an event, not {pair!r:.200}"
                ) from None
            if stream_id not in checked:
                checked.add(check_stream_id(stream_id))
            if type(event) is not EncodedEvent:
                event = _encoded(event)
            if event.event_id is not None:
                _give(given, event.event_id, event)
            encoded.append((stream_id, event))
        return cls(encoded, given)


def _give(given: dict[uuid.UUID, EncodedEvent], event_id: uuid.UUID, event: EncodedEvent) -> None:
    if event_id in given:
        raise IdempotencyError(
            f"two events of one append have the id {event_id}: {given[event_id].type} and "
            f"{event.type}"
        )
    given[event_id] = event


def _stream_request(
    stream_id: str, events: Sequence[NewEvent | EncodedEvent], expected: Expected
) -> StreamRequest:
    check_stream_id(stream_id)
    if (type(expected) is not int or expected < 0) and type(expected) is not ExpectedVersion:
        raise InputError(
            f"expected_version must be ANY, NO_STREAM, STREAM_EXISTS or a version from 0, not "
            f"{expected!r}"
        )
    if type(events) is not list and not _is_list_like(events):
        raise InputError(f"events must be a list of NewEvent, not {events!r:.200}")
    events = tuple(events)
    if len(events) > MAX_EVENTS:
        raise LimitError(f"an append holds at most {MAX_EVENTS:,} events, not {len(events):,}")
    return StreamRequest(stream_id, tuple(map(_encoded, events)), expected)


def _is_list_like(events: object) -> bool:
    return isinstance(events, Iterable) and not isinstance(
        events, (NewEvent, EncodedEvent, str, Mapping)
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


def _encoded(event: NewEvent | EncodedEvent) -> EncodedEvent:
    return event if type(event) is EncodedEvent else encode_new(event)  # type: ignore[arg-type]
