"""An import: what is asked, and how it is decided, batch by batch and column by column."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import compress, islice
from typing import Any, Final

import numpy as np

from eslab.errors import InputError, LimitError
from eslab.events import check_stream_id
from eslab.schema import AnyEvent, EncodedEvent, encode_all
from eslab.store.columns import LogColumns, StreamColumn
from eslab.store.decision import Decision, LogView, checked_id, clamped, require_same
from eslab.store.requests import give
from eslab.store.rows import LogRow

__all__ = ["ImportRequest", "decide_import"]

MAX_BATCH: Final = 1_000_000
MAX_SIZE: Final = 256 << 20
BIT: Final = 1_024


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
        LimitError: a batch cannot be as large as that.
        EslabError: as `AppendRequest`.
    """

    def __init__(self, pairs: Iterator[tuple[str, AnyEvent]], *, most: int) -> None:
        if not 1 <= most <= MAX_BATCH:
            raise LimitError(f"a batch holds 1 to {MAX_BATCH:,} events, not {most:,}")
        stream_ids: list[str] = []
        self.columns: list[list[Any]] = [[] for _ in EncodedEvent._fields]
        size = 0
        while size < MAX_SIZE and (left := most - len(stream_ids)):
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
                    give(given, event.event_id, event)

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


def decide_import(
    request: ImportRequest, found: Mapping[uuid.UUID, LogRow], log: LogView, now: datetime
) -> Decision:
    """Decide one batch of an import: what is there already is left out.

    Args:
        request: what is asked.
        found: the rows that are in the log already of the ids that it gives.
        log: what there is.
        now: the time by the store's clock.

    Raises:
        IdempotencyError: an event id was used before, for something else.
    """
    if found:
        for stream_id, event in zip(request.streams, request.events(), strict=True):
            if event.event_id is not None and event.event_id in found:
                require_same(event, found[event.event_id], stream_id)
        request.keep([id not in found for id in request.columns[2]])
        if not len(request):
            return Decision([], [])
    position, last = log.last()
    recorded_at = now if last is None or now >= last else last
    streams = request.streams
    before = np.array([log.stream_head(name)[0] for name in streams.names], np.int32)
    types, schema_versions, ids, tags, data, metadata, occurred_at = request.columns
    if recorded_at is not now:
        metadata = [clamped(text, now) for text in metadata]
    rows = LogColumns(
        position + 1,
        streams,
        before[streams.codes] + streams.places() + 1,
        types,
        schema_versions,
        _ids(request, ids, position + 1, log),
        tags,
        data,
        metadata,
        [moment or now for moment in occurred_at] if any(occurred_at) else [now] * len(streams),
        [recorded_at] * len(streams),
    )
    return Decision(rows, [])


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


def _ids(
    request: ImportRequest, ids: Sequence[uuid.UUID | None], first: int, log: LogView
) -> bytes:
    """Return the ids of a batch, 16 bytes each: those that were given, and minted ones."""
    if not request.given:
        return log.ids.mint_all(first, len(ids))
    places = np.array([place for place, id in enumerate(ids) if id is not None])
    given = np.frombuffer(b"".join([id.bytes for id in request.given]), np.uint8).reshape(-1, 16)
    if len(given) == len(ids):
        found = given
    else:
        found = np.frombuffer(log.ids.mint_all(first, len(ids)), np.uint8).reshape(-1, 16).copy()
        found[places] = given
    for place in places[given[:, 6] >> 4 == 8].tolist():  # they may have been minted
        checked_id(ids[place], first + place, request.columns[0][place], log)
    return found.tobytes()
