"""How an append is decided: what is allowed, what is a duplicate, and which numbers events get.

The rules are here alone, free of locks, files and databases. An adapter shows the log as a
`LogView`, and writes the rows of the answer.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from eslab.clock import IdSource, minted_position
from eslab.errors import (
    AppendConditionError,
    ConcurrencyError,
    IdempotencyError,
    PartialDuplicateError,
)
from eslab.events import ANY, STREAM_EXISTS
from eslab.schema import EncodedEvent, canonical_json, parse_json
from eslab.store.port import AppendResult
from eslab.store.requests import AppendRequest, StreamRequest
from eslab.store.rows import LogRow

if TYPE_CHECKING:
    from eslab.store.columns import LogColumns

# A named tuple from a tuple; its own class, which takes the fields as arguments, is half as fast.
new: Final = tuple.__new__

__all__ = [
    "Decision",
    "LogView",
    "checked_id",
    "clamped",
    "decide",
    "require_same",
]


class LogView(Protocol):
    """The log as a decision sees it: what is committed, and what was accepted since."""

    @property
    def ids(self) -> IdSource:
        """Where the ids of events come from that were given none, in this epoch of the store."""
        ...

    def last(self) -> tuple[int, datetime | None]:
        """Return the last position, and when it was recorded; 0 and None when there is none."""
        ...

    def stream_head(self, stream_id: str) -> tuple[int, int]:
        """Return a stream's version and the position of its last event, or zeros."""
        ...

    def taken(self, request: AppendRequest) -> Mapping[uuid.UUID, LogRow]:
        """Return the rows that are in the log already of the ids that the request gives."""
        ...

    def first_match(self, request: AppendRequest) -> int | None:
        """Return the position of the first event that fails its condition, if there is one."""
        ...


class Decision(NamedTuple):
    """The rows to write, and the answer to give when they are written."""

    rows: list[LogRow] | LogColumns
    results: list[AppendResult]


def decide(request: AppendRequest, log: LogView, now: datetime) -> Decision:
    """Decide an append: ids first, then the condition, then the expectations in order.

    Args:
        request: what is asked.
        log: what there is.
        now: the time by the store's clock.

    Raises:
        IdempotencyError: an event id was used before, for something else.
        PartialDuplicateError: some of its events are there already, and some are not.
        AppendConditionError: an event fails the condition.
        ConcurrencyError: a stream is not at the expected version.
    """
    if request.given and (found := log.taken(request)):
        return Decision([], _duplicates(request, found, log))
    if request.condition is not None:
        position = log.first_match(request)
        if position is not None:
            raise AppendConditionError(position, after=request.condition.after)
    position, last = log.last()
    recorded_at = now if last is None or now >= last else last
    # What the items before it make of a stream; most appends have one item.
    heads: dict[str, tuple[int, int]] | None = {} if len(request.items) > 1 else None
    rows: list[LogRow] = []
    results = []
    for stream_id, events, expected in request.items:
        version, at = (heads and heads.get(stream_id)) or log.stream_head(stream_id)
        if expected != version and not (expected is ANY or (expected is STREAM_EXISTS and version)):
            raise ConcurrencyError(stream_id, expected=expected, actual=version)
        for event in events:
            name, schema_version, id, tags, data, metadata, occurred_at = event
            version += 1
            at = position = position + 1
            row = (
                position,
                stream_id,
                version,
                name,
                schema_version,
                log.ids.mint(position) if id is None else checked_id(id, position, name, log),
                tags,
                data,
                metadata if recorded_at is now else clamped(metadata, now),
                occurred_at or now,
                recorded_at,
            )
            rows.append(new(LogRow, row))
        if heads is not None:
            heads[stream_id] = version, at
        results.append(new(AppendResult, (stream_id, version, at, False)))
    return new(Decision, (rows, results))


def _duplicates(
    request: AppendRequest, found: Mapping[uuid.UUID, LogRow], log: LogView
) -> list[AppendResult]:
    """Return the original results, if all of the events are there already."""
    if len(found) < request.events:
        raise PartialDuplicateError(
            f"{len(found)} of the {request.events} events of this append are in the store already "
            f"and the others are not, the first of them at position "
            f"{min(row.position for row in found.values())}; nothing was written: retry with "
            f"exactly the events of the first attempt, or give new events new ids"
        )
    return [_duplicate(item, found, log) for item in request.items]


def _duplicate(
    item: StreamRequest, found: Mapping[uuid.UUID, LogRow], log: LogView
) -> AppendResult:
    version, position = log.stream_head(item.stream_id)
    rows = [found[event.event_id] for event in item.events if event.event_id is not None]
    for index, (event, row) in enumerate(zip(item.events, rows, strict=True)):
        require_same(event, row, item.stream_id)
        if row.version != rows[0].version + index:
            raise IdempotencyError(
                f"the events of this append are in stream {item.stream_id!r} already, but "
                f"not in this order: {event.type} ({event.event_id}) is version "
                f"{row.version}, and {rows[0].version + index} was expected"
            )
    if rows:
        version, position = rows[-1].version, rows[-1].position
    return AppendResult(item.stream_id, version, position, duplicate=True)


def require_same(event: EncodedEvent, there: LogRow, stream_id: str) -> None:
    """Refuse an event whose id is in the log for something else.

    Raises:
        IdempotencyError: it is.
    """
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


def checked_id(id: uuid.UUID, position: int, type: str, log: LogView) -> uuid.UUID:
    """Return the id that an event was given, unless it stands for another position here.

    Raises:
        IdempotencyError: the log mints it for another position.
    """
    place = minted_position(id)
    if place is not None and place != position and log.ids.mint(place) == id:
        # A store with the same seed minted it; here that position will have, or had, its own.
        raise IdempotencyError(
            f"the event id {id} ({type}) is the one that this store mints for position "
            f"{place}, but it would be at position {position}: give it another id, or this store "
            f"another seed"
        )
    return id


def clamped(metadata: str, now: datetime) -> str:
    """Return the metadata with the clock's word, where recorded_at had to be another."""
    return canonical_json({**parse_json(metadata), "recorded_at_clamped_from": now.isoformat()})
