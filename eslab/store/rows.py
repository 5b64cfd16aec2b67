"""A row of the log, and which rows are read: the words that adapters and decisions share."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final, NamedTuple

from eslab.events import EventBatch, Metadata, Query, RecordedEvent, category_of
from eslab.schema import parse_json

__all__ = ["BATCH_ROWS", "LogRow", "Selection", "batches_of", "selected"]

BATCH_ROWS: Final = 1_000
"""In a batch at most: as many as stay in the processor's cache."""


class LogRow(NamedTuple):
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
    query: Query | None = None
    types: frozenset[str] | None = None
    category: str | None = None
    streams: frozenset[str] | None = None
    occurred_until: datetime | None = None
    backwards: bool = False
    limit: int | None = None

    def takes(self, row: LogRow) -> bool:
        """Say whether a row between the two positions is wanted."""
        return (
            (self.types is None or row.type in self.types)
            and (self.category is None or category_of(row.stream_id) == self.category)
            and (self.streams is None or row.stream_id in self.streams)
            and (self.occurred_until is None or row.occurred_at <= self.occurred_until)
            and (self.query is None or self.query.matches(row.type, row.tags))
        )


def selected(rows: Iterable[LogRow], selection: Selection) -> Iterable[LogRow]:
    """Yield those of `rows`, which are in the order wanted, that the selection takes."""
    left = selection.limit
    for row in rows:
        if left == 0:
            return
        if selection.takes(row):
            yield row
            left = None if left is None else left - 1


def batches_of(rows: Iterable[LogRow]) -> Iterator[EventBatch]:
    """Yield rows by columns."""
    left = iter(rows)
    while some := list(islice(left, BATCH_ROWS)):
        positions, streams, versions, types, schemas, _, _, data, _, _, recorded = zip(
            *some, strict=True
        )
        yield EventBatch(positions, streams, versions, types, schemas, data, recorded)
