"""Many rows of the log at once, column by column: the shape for imports and for the database."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eslab.garbage import garbage_kept
from eslab.store.rows import LogRow

__all__ = ["Head", "LogColumns", "StreamColumn"]


class StreamColumn:
    """The stream of each of many events: the streams, in the order they come first, and codes.

    Attributes:
        names: each stream once.
        codes: of each event, the place of its stream among the names.

    Example:
        >>> column = StreamColumn(["a-1", "b-1", "a-1"])
        >>> column.names, column.codes.tolist(), column.places().tolist()
        (['a-1', 'b-1'], [0, 1, 0], [0, 0, 1])
    """

    def __init__(self, stream_ids: Iterable[str]) -> None:
        codes: defaultdict[str, int] = defaultdict(count().__next__)
        self.codes: NDArray[np.int32] = np.fromiter(map(codes.__getitem__, stream_ids), np.int32)
        self.names = list(codes)

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[str]:
        return map(self.names.__getitem__, self.codes.tolist())

    def places(self) -> NDArray[np.int32]:
        """Return of each event how many of its stream come before it."""
        size = len(self.codes)
        order = np.argsort(self.codes, kind="stable")
        ordered = self.codes[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        places = np.empty(size, np.int32)
        places[order] = np.arange(size) - np.repeat(starts, np.diff(np.r_[starts, size]))
        return places

    def last(self) -> NDArray[np.int64]:
        """Return of each stream which event is its last one."""
        last = np.zeros(len(self.names), np.int64)
        last[self.codes] = np.arange(len(self.codes))  # of several values the last one stays
        return last


class Head(NamedTuple):
    """Where the last event of a stream is."""

    stream_id: str
    version: int
    position: int


@dataclass(frozen=True, slots=True, eq=False)
class LogColumns:
    """Rows of the log that follow each other, of which there is at least one.

    Attributes:
        first: the position of the first.
        event_ids: 16 bytes for each.
    """

    first: int
    streams: StreamColumn
    versions: NDArray[np.int32]
    types: Sequence[str]
    schema_versions: Sequence[int]
    event_ids: bytes
    tags: Sequence[tuple[str, ...]]
    data: Sequence[str]
    metadata: Sequence[str]
    occurred_at: Sequence[datetime]
    recorded_at: Sequence[datetime]

    @classmethod
    def of(cls, rows: Sequence[LogRow]) -> LogColumns:
        """Return the columns of some rows."""
        with garbage_kept():
            positions, stream_ids, versions, types, schema_versions, ids, *rest = zip(
                *rows, strict=True
            )
            return cls(
                positions[0],
                StreamColumn(stream_ids),
                np.array(versions, np.int32),
                types,
                schema_versions,
                b"".join([id.bytes for id in ids]),
                *rest,
            )

    def __len__(self) -> int:
        return len(self.versions)

    def __iter__(self) -> Iterator[LogRow]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, place: int) -> LogRow:
        place = range(len(self))[place]
        return LogRow(
            self.first + place,
            self.streams.names[self.streams.codes[place]],
            int(self.versions[place]),
            self.types[place],
            self.schema_versions[place],
            uuid.UUID(bytes=self.event_ids[16 * place : 16 * place + 16]),
            self.tags[place],
            self.data[place],
            self.metadata[place],
            self.occurred_at[place],
            self.recorded_at[place],
        )

    def heads(self) -> list[Head]:
        """Return where the last row of each stream is, in the order of the first ones."""
        last = self.streams.last()
        versions, positions = self.versions[last].tolist(), (last + self.first).tolist()
        return list(map(Head, self.streams.names, versions, positions))
