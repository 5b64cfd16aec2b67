"""A branch: a store over the events of another one up to a position, and behind those its own.

It is a `DuckDBStore` in memory of which three parts are put in another way. Its tables are in the
DuckDB of its base, where the log and the streams are views: what the base has up to the position,
and the branch's own rows. So nothing is copied, and filters reach both. What is known of streams in
memory is that of the base until it is asked for, and kept when it changes. Ids that events were
given are looked up in both.

A branch takes locks of its base, never the other way round.
"""

from __future__ import annotations

import uuid
from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import accumulate, count, islice
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from eslab.clock import VIRTUAL_START, Clock, IdSource, VirtualClock
from eslab.errors import StoreClosedError, StoreError
from eslab.schema.naming import quoted
from eslab.store.branch import DerivedEvent
from eslab.store.columns import Head, LogColumns, StreamColumn
from eslab.store.duckdb.cursors import commit, lent
from eslab.store.duckdb.database import (
    LOG_COLUMNS,
    MEMORY,
    STREAM_COLUMNS,
    Database,
    driver_errors,
)
from eslab.store.duckdb.hot import Cover, GivenIds, Heads
from eslab.store.duckdb.store import DuckDBStore
from eslab.store.rows import LogRow
from eslab.words import counted

__all__ = ["BranchStore"]

CHUNK: Final = 245_760  # rows: two row groups of DuckDB
_UNKNOWN: Final = np.iinfo(np.int32).max


class BranchStore(DuckDBStore):
    """A store that begins with the events of another one; `DuckDBStore.branch` makes it.

    Args:
        base: the other one.
        database: its tables.
        at: the position; all up to it is in the database.
        start: up to where it is as the base.
        number: of this branch among those of its base.
        clock: where recorded_at comes from; by default a virtual one, which begins where the last
            of those events was recorded.
        ids: where the ids of events come from that were given none; by default derived from those
            of the base.

    Attributes:
        base: the other one.
        at: where it branches off.
        start: the last position that is as in the base; `at`, unless history was edited.
        number: of this branch among those of its base.
    """

    _database: BranchDatabase
    _heads: BranchHeads

    def __init__(
        self,
        base: DuckDBStore,
        database: Database,
        *,
        at: int,
        start: int | None,
        number: int,
        clock: Clock | None,
        ids: IdSource | None,
    ) -> None:
        self.base = base
        self.at = at
        self.start = at if start is None else start
        self.number = number
        self._under = database
        self._base_positions = array("q")  # of what was derived; 0 for what has none
        began = database.recorded_at(self.start) or VIRTUAL_START
        super().__init__(
            MEMORY, clock=clock or VirtualClock(began), ids=ids or base.ids.in_branch(number)
        )
        self.path = f"a branch at {at:,} of {base.path}"

    def _open_database(self, new_id: uuid.UUID) -> BranchDatabase:  # noqa: ARG002 - derived from the base's
        heads = BranchHeads(self.base, self.start, self.base.streams_at(self.start))
        store_id = uuid.uuid5(self.base.store_id, f"branch {self.number} at {self.at}")
        return BranchDatabase(self._under, heads, new_id=store_id)

    def __repr__(self) -> str:
        if self._closed:
            return f"BranchStore(of {self.base.path!r} at {self.at:,}, closed)"
        head = self._head()
        return (
            f"BranchStore(of {self.base.path!r} at {self.at:,}: {counted(head, 'event')}, "
            f"{head - self.start:,} of its own)"
        )

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosedError(f"{self!r}: make another one")
        super()._require_open()

    # What takes the place of events of the base.

    def fill(self, events: Iterable[DerivedEvent]) -> None:
        """Put events behind those of the base, in their order, before anybody appends."""
        left = iter(events)
        while some := list(islice(left, CHUNK)):
            positions = [event.base_position or 0 for event in some]
            first = self._hot.head + 1

            def write(some: Sequence[DerivedEvent] = some) -> None:
                self._write(self._derived(some))

            self._alone(write)
            self._database.add_origins(first, positions)
            self._base_positions.extend(positions)
        last = self._hot.recorded_at
        if last is not None and isinstance(self.clock, VirtualClock) and last > self.clock.now():
            self.clock.advance_to(last)

    def _derived(self, events: Sequence[DerivedEvent]) -> LogColumns:
        """Return events as the rows that follow."""
        stream_ids, types, schema_versions, ids, tags, data, metadata, occurred, recorded, _ = zip(
            *events, strict=True
        )
        streams = StreamColumn(stream_ids)
        self._heads.look_up(streams.names)
        before = np.array([self._heads.version(name) for name in streams.names], np.int32)
        first, last = self._hot.head + 1, self._hot.recorded_at or self.clock.now()
        times = list(accumulate((last, *recorded), lambda then, time: max(then, time or then)))[1:]
        minted = self._committed.ids
        return LogColumns(
            first,
            streams,
            before[streams.codes] + streams.places() + 1,
            types,
            schema_versions,
            b"".join(
                [(id or minted.mint(place)).bytes for place, id in enumerate(ids, start=first)]
            ),
            tags,
            data,
            metadata,
            [moment or time for moment, time in zip(occurred, times, strict=True)],
            times,
        )

    def base_position(self, position: int) -> int | None:
        """Return where an event is in the base; None if it is not there."""
        if position <= self.start:
            return position
        place = position - self.start - 1
        return (place < len(self._base_positions) and self._base_positions[place]) or None


class BranchHeads(Heads):
    """The heads of a branch: those that it has changed or was asked for, over those of its base.

    What `Heads` itself holds are the streams that began in the branch. Their numbers follow those
    of the base.

    Args:
        base: knows the others.
        at: the last position that is taken from there.
        streams: how many there were then.
    """

    def __init__(self, base: DuckDBStore, at: int, streams: int) -> None:
        super().__init__()
        self.base = base
        self.at = at
        self.streams = streams
        self._held: dict[str, tuple[int, int, int]] = {}

    def again(self) -> BranchHeads:
        """Return those with which the branch began."""
        return BranchHeads(self.base, self.at, self.streams)

    def __len__(self) -> int:
        return self.streams + super().__len__()

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, BranchHeads)
            and super().__eq__(other)
            and self._changed() == other._changed()
        )

    __hash__ = None

    def _changed(self) -> dict[str, tuple[int, int, int]]:
        return {id: held for id, held in list(self._held.items()) if held[2] > self.at}

    def look_up(self, stream_ids: Iterable[str]) -> None:
        """Ask the base for many streams at once."""
        asked = [id for id in stream_ids if id not in self._held and self._of_base(id)]
        if asked:
            found = self.base.heads_at(asked, self.at, self.streams)
            for stream_id, head in zip(asked, found, strict=True):
                self._held.setdefault(stream_id, head)

    def _of_base(self, stream_id: str) -> int:
        """Return the number of a stream that began in the base; 0 if it did not."""
        held = self._held.get(stream_id)
        number = self.base.stream_number(stream_id) if held is None else held[0]
        return number if number <= self.streams else 0

    def find(self, stream_id: str) -> tuple[int, int, int]:
        """Return the number, the version and the last position of a stream, or zeros."""
        held = self._held.get(stream_id)
        if held is not None:
            return held
        if not self._of_base(stream_id):
            number, version, position = super().find(stream_id)
            return (self.streams + number if number else 0), version, position
        (found,) = self.base.heads_at([stream_id], self.at, self.streams)
        return self._held.setdefault(stream_id, found)  # it may have changed meanwhile

    def number(self, stream_id: str) -> int:
        """Return the number of a stream; 0 when there is none."""
        if number := self._of_base(stream_id):
            return number
        own = super().number(stream_id)
        return own and self.streams + own

    def numbers(self, stream_ids: Sequence[str]) -> NDArray[np.int32]:
        """Return the numbers of different streams; those that begin here get the next ones."""
        following = count(self.streams + len(self._versions))
        return np.array([self.number(id) or next(following) for id in stream_ids], np.int32)

    def names(self, numbers: Iterable[int]) -> list[str]:
        """Return the streams that have these numbers."""
        numbers = list(numbers)
        named = iter(self.base.stream_names([each for each in numbers if each <= self.streams]))
        return [
            next(named) if each <= self.streams else self._names[each - self.streams]
            for each in numbers
        ]

    def version(self, stream_id: str) -> int:
        """Return the version of a stream; 0 when there is none. Any thread may ask for it."""
        return self.find(stream_id)[1]

    def get(self, stream_id: str) -> tuple[int, int]:
        """Return the version of a stream and the position of its last event, or zeros."""
        return self.find(stream_id)[1:]

    def versions(self) -> NDArray[np.int32]:
        """Return the versions of all streams, by their numbers; of some, the largest there is."""
        base = np.full(self.streams, _UNKNOWN, np.int32)
        for number, version, _ in list(self._held.values()):
            base[number - 1] = version
        own = super().versions()
        return np.concatenate([own[:1], base, own[1:]])

    def cover(self, stream_ids: Iterable[str]) -> Cover:
        """Return where the events of some streams are; streams that do not exist have none.

        Of streams that nobody asked for, what the base has of them now is taken for how many
        events there are: it is only to guess how far to read at once.
        """
        asked = list(stream_ids)
        others = [id for id in asked if id not in self._held and self._of_base(id)]
        below = self.base.cover(others)
        known = [self.find(id) for id in set(asked).difference(others)]
        known = [head for head in known if head[0]]
        numbers = [*below.numbers, *(number for number, _, _ in known)]
        return Cover(
            numbers,
            below.events + sum(version for _, version, _ in known),
            min((number - 1 for number in numbers), default=0),
            max([min(below.until, self.at), *(position for _, _, position in known)]),
        )

    def advance(self, rows: Iterable[LogRow | Head]) -> None:
        """Take note of rows that were appended."""
        own = []
        for row in rows:
            if number := self._of_base(row.stream_id):
                self._held[row.stream_id] = number, row.version, row.position
            else:
                own.append(row)
        super().advance(own)


class BranchGivenIds(GivenIds):
    """Which ids may be in the database of a branch: its own, and those of its base."""

    def __init__(self, base: DuckDBStore, lows: NDArray[np.uint64] | None) -> None:
        super().__init__(lows)
        self._base = base

    def maybe(self, ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
        """Return those of `ids` that may be in the database."""
        return list({*super().maybe(ids), *self._base.maybe_given(ids)})


class BranchDatabase(Database):
    """The tables of a branch, in the DuckDB of its base, where they are a database of their own.

    Args:
        base: the tables of the base.
        heads: those with which the branch begins.
        new_id: the identity of the branch.
    """

    _log_table = "eslab.branch_log"
    _streams_table = "eslab.branch_streams"

    def __init__(self, base: Database, heads: BranchHeads, *, new_id: uuid.UUID) -> None:
        self._base = base
        self._begins = heads
        self._catalog = f"branch {new_id}"
        names = [f"{quoted(self._catalog)}.{schema}" for schema in ("main", "eslab", "rm", "ev")]
        self._search_path = ",".join(names)
        super().__init__(MEMORY, new_id=new_id)
        self.path = f"a branch of {base.path}"

    @property
    def catalog(self) -> str:
        """What DuckDB calls it, among all that are open in one place."""
        return self._catalog

    def _connect(self) -> duckdb.DuckDBPyConnection:
        connection, self._lock = self._base.beside(self)
        connection.execute(f"attach ':memory:' as {quoted(self._catalog)}")
        connection.execute(f"use {quoted(self._catalog)}")
        return connection

    def _prepare(self, new_id: uuid.UUID | None) -> None:
        assert new_id is not None
        base, begins = f"{quoted(self._base.catalog)}.eslab", self._begins
        with commit(self._connection):
            self._make(
                f"""
                create table {self._log_table}({LOG_COLUMNS});
                create table {self._streams_table}({STREAM_COLUMNS});
                create table eslab.branch_origins(
                    position bigint not null, base_position bigint not null);
                create view eslab.event_log as
                    select * from {base}.event_log where position <= {begins.at}
                    union all from {self._log_table};
                create view eslab.streams as
                    select * from {base}.streams where stream_id <= {begins.streams}
                    union all from {self._streams_table};
                create view eslab.origins as
                    select position, position as base_position
                    from {base}.event_log where position <= {begins.at}
                    union all from eslab.branch_origins;
                """,
                new_id,
            )

    def heads(self) -> tuple[Heads, int, datetime | None]:
        """Return the heads of all streams, the last position, and when it was recorded."""
        heads, at = self._begins.again(), self._begins.at
        recorded_at = self._base.recorded_at(at)
        if self.untouched:
            return heads, at, recorded_at
        rows = self.fetch(
            "select s.name, max(l.version), max(l.position) "
            f"from {self._log_table} l join eslab.streams s using (stream_id) "
            "group by l.stream_id, s.name order by l.stream_id",
            [],
        )
        if rows:
            heads.advance(Head(*row) for row in rows)
            at = max(position for _, _, position in rows)
            recorded_at = self.recorded_at(at)
        return heads, at, recorded_at

    def given_ids(self) -> GivenIds:
        """Return which ids events were given."""
        return BranchGivenIds(self._begins.base, self._given_ids())

    def add_origins(self, first: int, positions: Sequence[int]) -> None:
        """Note where events are in the base; 0 for those that are not there.

        Args:
            first: the position of the first one.
            positions: where each is.
        """
        here = np.arange(first, first + len(positions))
        there = np.array(positions, np.int64)
        table = pa.table({"position": here[there > 0], "base_position": there[there > 0]})
        failure = "the origins of events cannot be written"
        with self.writing(failure) as cursor, lent(cursor, "new_origins", table):
            cursor.execute("insert into eslab.branch_origins from new_origins")

    def _let_go(self) -> None:
        pa.default_memory_pool().release_unused()

    def _reconnect(self) -> None:
        raise StoreError("the DuckDB that it was in gave up: make another branch")

    def close(self) -> None:
        """Close all connections, and give its memory back."""
        opened = not (self.untouched or self._closed)
        super().close()
        if opened:
            with suppress(StoreError), self._base.cursor() as cursor, driver_errors("not detached"):
                cursor.execute(f"detach {quoted(self._catalog)}")
