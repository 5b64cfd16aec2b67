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
    Query,
    check_stream_id,
)
from eslab.schema import AnyEvent, EncodedEvent, encoded, event_list
from eslab.store.rows import LogRow

__all__ = ["AppendRequest", "StreamRequest", "give"]

MAX_EVENTS: Final = 100_000
MAX_APPEND_BYTES: Final = 64 << 20
SURELY_WITHIN: Final = MAX_APPEND_BYTES // 4  # characters: one takes up to four bytes


class StreamRequest(NamedTuple):
    """The encoded events for one stream, and the version that it is expected to have."""

    stream_id: str
    events: list[EncodedEvent]
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
            if type(events) is not list:
                events = event_list(events)  # noqa: PLW2901 - it may be a generator
            kept = []
            for item in events:
                event = item if type(item) is EncodedEvent else encoded(item)
                _, _, event_id, _, data, metadata, _ = event
                size += len(data) + len(metadata)
                if event_id is not None:
                    give(given, event_id, event)
                kept.append(event)
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


def give(given: dict[uuid.UUID, EncodedEvent], event_id: uuid.UUID, event: EncodedEvent) -> None:
    """Note an id that was given to an event.

    Raises:
        IdempotencyError: it is given to another one as well.
    """
    if event_id in given:
        raise IdempotencyError(
            f"two events of one append have the id {event_id}: {given[event_id].type} and "
            f"{event.type}"
        )
    given[event_id] = event


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
