"""The hot side: what appends and reads need to know at once, compactly, in memory.

`Heads` has the version and last position of every stream, `GivenIds` the ids that events were
given, and `Tail` the last events: those that are not in the database yet, and some more.

Measured on 2 cores: a million heads take about 130 MB, where a dict of tuples took 470 MB; ten
million ids take 80 MB and 0.5 us a look-up in bulk.
"""

from __future__ import annotations

import mmap
import sys
import threading
import uuid
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain, count
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eslab.clock import minted_position
from eslab.store.columns import Head, LogColumns
from eslab.store.rows import LogRow

__all__ = ["Cover", "GivenIds", "Heads", "Hot", "Tail", "is_minted"]

RUN: Final = 2_000_000
KEPT_EVENTS: Final = 10_000
KEPT_SIZE: Final = 16 << 20
LOW: Final = (1 << 64) - 1


def is_minted(row: LogRow) -> bool:
    """Say whether the id of a row says where it is; see `eslab.clock.minted_position`."""
    return row.event_id.int >> 76 == row.position << 4 | 8


class Cover(NamedTuple):
    """Where the events of some streams are.

    Attributes:
        numbers: of the streams.
        events: how many they have.
        after: a position that all of them are behind.
        until: the position of the last one.
    """

    numbers: list[int]
    events: int
    after: int
    until: int


class Heads:
    """The number, version and last position of each stream; numbers count from 1, as created."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names = [""]
        self._versions = array("i", [0])
        self._positions = array("q", [0])

    @classmethod
    def of(cls, names: Sequence[str], versions: Any, positions: Any) -> Heads:
        """Return the heads of streams that are in the order of their numbers.

        Args:
            names: the streams.
            versions: their versions, as an array of int32.
            positions: of their last events, as an array of int64.
        """
        heads = cls()
        heads._numbers = {name: number for number, name in enumerate(names, start=1)}
        heads._names += names
        heads._versions.frombytes(versions.astype(np.int32).tobytes())
        heads._positions.frombytes(positions.astype(np.int64).tobytes())
        return heads

    def __len__(self) -> int:
        return len(self._numbers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Heads) and (
            (self._numbers, self._versions, self._positions)
            == (other._numbers, other._versions, other._positions)
        )

    __hash__ = None  # type: ignore[assignment]

    def numbers(self, stream_ids: Sequence[str]) -> NDArray[np.int32]:
        """Return the numbers of different streams; those that begin here get the next ones."""
        following = count(len(self._versions))
        # No generator: one that is not run to its end is closed later, and there an interrupt
        # would be lost.
        numbers = [self._numbers.get(stream_id) or next(following) for stream_id in stream_ids]
        return np.array(numbers, np.int32)

    def names(self, numbers: Iterable[int]) -> list[str]:
        """Return the streams that have these numbers."""
        return list(map(self._names.__getitem__, numbers))

    def number(self, stream_id: str) -> int:
        """Return the number of a stream; 0 when there is none."""
        return self._numbers.get(stream_id, 0)

    def cover(self, stream_ids: Iterable[str]) -> Cover:
        """Return where the events of some streams are; streams that do not exist have none."""
        numbers = [number for id in stream_ids if (number := self._numbers.get(id))]
        return Cover(
            numbers,
            sum(self._versions[number] for number in numbers),
            min(numbers, default=1) - 1,  # each stream before it has at least one event there
            max((self._positions[number] for number in numbers), default=0),
        )

    def versions(self) -> NDArray[np.int32]:
        """Return the versions of all streams, by their numbers."""
        return np.array(self._versions, np.int32)

    def version(self, stream_id: str) -> int:
        """Return the version of a stream; 0 when there is none. Any thread may ask for it."""
        return self._versions[self._numbers.get(stream_id, 0)]

    def find(self, stream_id: str) -> tuple[int, int, int]:
        """Return the number, the version and the last position of a stream, or zeros."""
        number = self._numbers.get(stream_id, 0)
        return number, self._versions[number], self._positions[number]

    def get(self, stream_id: str) -> tuple[int, int]:
        """Return the version of a stream and the position of its last event, or zeros."""
        number = self._numbers.get(stream_id, 0)
        return self._versions[number], self._positions[number]

    def advance(self, rows: Iterable[LogRow | Head]) -> None:
        """Take note of rows that were appended."""
        numbers, versions, positions = self._numbers, self._versions, self._positions
        for row in rows:
            number = numbers.get(row.stream_id)
            if number is None:  # others find it when the rest is there
                number = len(versions)
                self._names.append(row.stream_id)
                versions.append(row.version)
                positions.append(row.position)
                numbers[row.stream_id] = number
            else:
                versions[number] = row.version
                positions[number] = row.position


class GivenIds:
    """Which ids may be in the database: the low 64 bits of each, in a few sorted runs.

    It answers "certainly not", or "ask the database". Minted ids are not in it: they say where
    they are.
    """

    def __init__(self, lows: NDArray[np.uint64] | None = None) -> None:
        self._runs: list[NDArray[np.uint64]] = []
        if lows is not None:
            for start in range(0, len(lows), RUN):
                self._runs.append(_sorted([lows[start : start + RUN]]))

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, rows: LogColumns) -> None:
        """Take note of the ids of rows that are in the database now."""
        words = np.frombuffer(rows.event_ids, ">u8").reshape(-1, 2)
        positions = np.arange(rows.first, rows.first + len(rows), dtype=np.uint64)
        given = words[:, 0] >> 12 != positions << 4 | 8  # as `is_minted` says it
        run = words[given, 1]
        if not len(run):
            return
        # Runs of like size are merged, so that they stay few; the largest are left alone, so that
        # merging never takes much more memory than what it is for.
        runs, parts = list(self._runs), [run]
        while runs and len(runs[-1]) < 4 * sum(map(len, parts)) and len(runs[-1]) < RUN:
            parts.append(runs.pop())
        self._runs = [*runs, _sorted(parts)]  # in one step: others look ids up meanwhile

    def maybe(self, ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
        """Return those of `ids` that may be in the database."""
        runs = self._runs
        if not ids or not runs:
            return []
        if len(ids) == 1:
            low = np.uint64(ids[0].int & LOW)
            return [ids[0]] if any(_holds(run, low) for run in runs) else []
        # In order, so that neighbours are looked up one after the other: that takes a tenth.
        lows = np.sort(np.fromiter((id.int & LOW for id in ids), np.uint64, len(ids)))
        hits: set[int] = set()
        for run in runs:
            places = run.searchsorted(lows)
            places[places == len(run)] = 0
            hits.update(lows[run[places] == lows].tolist())
        return [id for id in ids if id.int & LOW in hits] if hits else []


def _sorted(parts: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Return all of the parts in one, sorted, outside of the heap: it would be left with holes."""
    whole = np.frombuffer(mmap.mmap(-1, 8 * sum(map(len, parts))), np.uint64)
    np.concatenate(parts, out=whole)
    whole.sort()
    return whole


def _holds(run: NDArray[np.uint64], low: np.uint64) -> bool:
    place = run.searchsorted(low)
    return bool(place < len(run) and run[place] == low)


class Tail:
    """The last events, in order, behind position `base`: all that are not in the database yet.

    Before these are some that were moved there last, because a stream whose last events are asked
    for is soon asked for again, and from memory it comes in a hundredth of the time.

    It only grows. Who holds one and the head of that moment sees the same for ever: rows behind
    that head are not looked at. When what was moved has become much, another one begins.

    Most of it is moved before anybody asks for a stream or an id, so these are indexed when
    somebody does.

    Attributes:
        rows: the events.
        size: how many characters those hold that are not in the database.
    """

    def __init__(self, base: int, rows: Sequence[LogRow] = (), *, flushed: int = 0) -> None:
        self.base = base
        self.rows: list[LogRow] = []
        self.size = 0
        self._moved = 0  # characters in the database
        self._streams: dict[str, list[LogRow]] = {}
        self._given: dict[uuid.UUID, LogRow] = {}
        self._streams_end = self._given_end = 0  # how many rows each of the two has
        self._indexing = threading.Lock()
        self.extend(rows, 0)
        self.move(base, max(base, flushed))

    def extend(self, rows: Sequence[LogRow], size: int) -> None:
        """Add the rows that follow, which hold so many characters."""
        self.rows += rows
        self.size += size

    def move(self, flushed: int, head: int) -> None:
        """Take note that it is in the database up to `head`, and was up to `flushed` before."""
        self._moved += _characters(self.between(flushed, head))
        self.size = _characters(self.rows[head - self.base :])

    def after_flush(self, flushed: int) -> Tail:
        """Return it, or its end if it holds much that is in the database, up to a position."""
        if flushed - self.base <= 2 * KEPT_EVENTS and self._moved <= KEPT_SIZE:
            return self
        base = flushed if self._moved > KEPT_SIZE else flushed - KEPT_EVENTS
        return Tail(base, self.rows[base - self.base :], flushed=flushed)

    def _index_streams(self) -> None:
        with self._indexing:
            streams = self._streams
            for row in self.rows[self._streams_end :]:
                held = streams.get(row.stream_id)
                if held is None:
                    streams[row.stream_id] = [row]
                elif held[-1].version < row.version:  # it may have been interrupted here
                    held.append(row)
                self._streams_end += 1

    def _index_given(self) -> None:
        with self._indexing:
            for row in self.rows[self._given_end :]:
                if not is_minted(row):
                    self._given[row.event_id] = row
                self._given_end += 1

    def find(self, id: uuid.UUID, head: int) -> LogRow | None:
        """Return the row of an id, if it is here."""
        if self._given_end < len(self.rows):
            self._index_given()
        row = self._given.get(id)
        if row is None:
            position = minted_position(id)
            if position is not None and self.base < position <= head:
                row = self.rows[position - self.base - 1]
        return row if row is not None and row.event_id == id and row.position <= head else None

    def between(self, after: int, until: int) -> list[LogRow]:
        """Return the rows with after < position <= until."""
        return self.rows[max(0, after - self.base) : max(0, until - self.base)]

    def of_stream(self, stream_id: str, low: int, high: int) -> list[LogRow]:
        """Return the rows of a stream with low <= version <= high."""
        if self._streams_end < len(self.rows):
            self._index_streams()
        rows = self._streams.get(stream_id)
        if rows is None:
            return []
        first = rows[0].version
        return rows[max(0, low - first) : max(0, high - first + 1)]

    def begins(self, stream_id: str) -> int:
        """Return the position of the first event of a stream; 0 if that is not here."""
        rows = self.of_stream(stream_id, 1, 1)
        return rows[0].position if rows else 0

    def of_streams(self, stream_ids: Iterable[str], after: int, until: int) -> list[LogRow]:
        """Return the rows of some streams with after < position <= until."""
        every = chain.from_iterable(self.of_stream(id, 1, sys.maxsize) for id in stream_ids)
        rows = [row for row in every if after < row.position <= until]
        rows.sort(key=attrgetter("position"))
        return rows

    def recorded_by(self, moment: datetime, head: int) -> int:
        """Return the last position up to `head` that was recorded by then; 0 if there is none."""
        key = attrgetter("recorded_at")
        count: int = bisect_right(self.rows, moment, 0, head - self.base, key=key)
        return self.base + count if count else 0


def _characters(rows: Sequence[LogRow]) -> int:
    return sum(len(row.data) + len(row.metadata) for row in rows)


class Hot(NamedTuple):
    """What is published together, in one assignment, after each commit and each flush.

    Attributes:
        head: the last position.
        flushed: the last position that is in the database.
        tail: the events between the two, and some before them.
        recorded_at: when the last event was recorded.
    """

    head: int
    flushed: int
    tail: Tail
    recorded_at: datetime | None
