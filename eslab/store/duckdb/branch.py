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
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from eslab.clock import VIRTUAL_START, Clock, IdSource, VirtualClock
from eslab.errors import InputError, StoreClosedError, StoreError
from eslab.progress import progress_bar
from eslab.schema import EventRegistry
from eslab.schema.naming import quoted
from eslab.store.columns import Head
from eslab.store.decision import Decision
from eslab.store.duckdb.branched import BranchGivenIds, BranchHeads
from eslab.store.duckdb.cursors import commit
from eslab.store.duckdb.database import Database
from eslab.store.duckdb.driver import MEMORY, driver_errors
from eslab.store.duckdb.edited import History, write_history
from eslab.store.duckdb.files import new_file, resolve
from eslab.store.duckdb.hot import GivenIds, Heads
from eslab.store.duckdb.journal import segments_of
from eslab.store.duckdb.sequencer import Ticket
from eslab.store.duckdb.store import DuckDBStore
from eslab.store.duckdb.tables import LOG_COLUMNS, LOG_SCHEMA, STREAM_COLUMNS, make_tables
from eslab.store.duckdb.typed import TypedBase, TypedTables
from eslab.store.importing import ImportRequest
from eslab.store.verification import Verification
from eslab.words import counted

__all__ = ["BranchStore"]

COPIED: Final = 245_760
"""Rows that are written to a file at once: two row groups of DuckDB."""


class BranchStore(DuckDBStore):
    """A store that begins with the events of another one; `DuckDBStore.branch` makes it.

    Args:
        base: the other one.
        database: its tables, which hold all up to the position where it branches off.
        history: where that is, and what is otherwise before it.
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
        history: History,
        *,
        number: int,
        clock: Clock | None,
        ids: IdSource | None,
    ) -> None:
        self.base = base
        self.at = history.at
        self.start = history.start
        self.number = number
        self._under = database
        self._history = history
        began = VirtualClock(database.recorded_at(self.start) or VIRTUAL_START)
        super().__init__(MEMORY, clock=clock or began, ids=ids or base.ids.in_branch(number))
        self.path = f"a branch at {self.at:,} of {base.path}"
        last = self.last_recorded_at()
        if clock is None and last is not None:
            began.advance_to(last)

    def _open_database(self, new_id: uuid.UUID) -> BranchDatabase:  # noqa: ARG002 - it is derived
        heads = BranchHeads(self.base, self.start, self.base.streams_at(self.start))
        store_id = uuid.uuid5(self.base.store_id, f"branch {self.number} at {self.at}")
        database = BranchDatabase(self._under, heads, new_id=store_id)
        with ExitStack() as on_failure:
            on_failure.callback(database.close)
            if self._history.edited:
                database.edit(self._history, now=self.clock.now(), mint=self.ids.in_epoch(1).mint)
            self._origins = database.origins(self._history)
            on_failure.pop_all()
        return database

    def _decide_import(self, request: ImportRequest, ticket: Ticket) -> Decision:
        self._heads.look_up(request.streams.names)  # one by one they would be a query each
        return super()._decide_import(request, ticket)

    def __repr__(self) -> str:
        of = f"of {self.base.path!r} at {self.at:,}"
        if self._closed:
            return f"BranchStore({of}, closed)"
        head = self._head()
        return f"BranchStore({of}: {counted(head, 'event')}, {head - self.start:,} of its own)"

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosedError(f"{self!r}: it is gone with its events; make another branch")
        super()._require_open()

    def _typed_tables(self, registry: EventRegistry) -> TypedTables:
        base = TypedBase(quoted(self._under.catalog), self.start)
        return TypedTables(registry, self._counts, base=base)

    def base_position(self, position: int) -> int | None:
        """Return where an event is in the base, or what it was made of; None if it is not there.

        Raises:
            InputError: there is no such position.
        """
        head = self.head()
        if type(position) is not int or not 1 <= position <= head:
            raise InputError(f"there is no position {position!r}: the branch has 1 to {head:,}")
        if position <= self.start:
            return position
        place = position - self.start - 1
        return (int(self._origins[place]) or None) if place < len(self._origins) else None

    def save_as(self, path: str | Path, *, progress: bool = True) -> Path:
        """Write the branch to a new file, as a store of its own, and return its path.

        Events keep their ids, numbers and times. Read models are made anew when they are asked for.

        Args:
            path: a file that does not exist yet.
            progress: draw a progress bar on stderr, if that is a terminal or a notebook.

        Raises:
            StoreError: it exists, cannot be written, or what was written is not whole.
        """
        new_id = uuid.uuid5(self.store_id, str(self.ids.mint(self.head() + 1)))
        return self._write_file(path, new_id, copy=False, progress=progress)

    def copy_to(self, path: str | Path) -> Path:
        """Write a copy to a new file, for `Lab.open_copy`; see `DuckDBStore.copy_to`."""
        return self._write_file(path, self.store_id, copy=True, progress=False)

    def _write_file(self, path: str | Path, id: uuid.UUID, *, copy: bool, progress: bool) -> Path:
        target = resolve(path)
        if target.exists() or segments_of(target):
            raise StoreError(f"{target} exists already: choose another file, or remove it first")
        with new_file(target) as partial:
            with self._flushing:  # so that log and streams are those of one moment
                self.flush()
                self._database.write_file(
                    partial, id, until=self._hot.flushed, copy=copy, progress=progress
                )
            with closing(Database(str(partial), new_id=None)) as written:
                Verification(tuple(written.checks())).require()
        return target


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
        self._forgotten: weakref.finalize[..., BranchDatabase] | None = None
        self._catalog = f"branch {new_id}"
        super().__init__(MEMORY, new_id=new_id)
        self._lock, self.dropped = base.lock, base.dropped  # those of the place
        self.path = f"a branch of {base.path}"

    @property
    def catalog(self) -> str:
        """What DuckDB calls it, among all that are open in one place."""
        return self._catalog

    @property
    def _base_tables(self) -> str:
        return f"{quoted(self._base.catalog)}.eslab"

    def _open(self) -> duckdb.DuckDBPyConnection:
        try:
            return super()._open()
        except BaseException:  # also an interrupt: whoever tries again begins anew
            if self._forgotten is not None:
                self._forgotten()
            raise

    def _connect(self) -> duckdb.DuckDBPyConnection:
        connection = self._base.beside(self)
        # Nobody runs SQL while the garbage collector works: whoever makes the next branch does.
        self._forgotten = weakref.finalize(self, self._base.dropped.append, self._catalog)
        connection.execute(f"attach ':memory:' as {quoted(self._catalog)}")
        connection.execute(f"use {quoted(self._catalog)}")
        return connection

    def _prepare(self, new_id: uuid.UUID | None) -> None:
        assert new_id is not None
        base, begins = self._base_tables, self._begins
        with commit(self._connection):
            make_tables(
                self._connection,
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
                copy=False,
            )

    def edit(self, history: History, *, now: datetime, mint: Callable[[int], uuid.UUID]) -> None:
        """Write the events behind the last one that is as in the base.

        Args:
            history: what is otherwise.
            now: when what does not say it is recorded.
            mint: gives the id of a position.
        """
        heads = self._begins.again()
        heads.look_up({one.stream_id for some in history.placed.values() for one in some})

        def head(stream_id: str) -> tuple[int, int]:
            return heads.base.stream_number(stream_id), heads.version(stream_id)

        with driver_errors("history cannot be edited"), self._own() as own, commit(own):
            write_history(
                own,
                history,
                base=self._base_tables,
                streams=heads.streams,
                since=self._base.recorded_at(heads.at),
                now=now,
                head=head,
                mint=mint,
            )

    def origins(self, history: History) -> NDArray[np.int64]:
        """Return where each event behind the start is in the base; 0 for one that is not there."""
        found = np.zeros(history.end - history.start, np.int64)
        if len(found):
            query = "select position - ? - 1, base_position from eslab.branch_origins"
            with self.cursor() as cursor, driver_errors(f"{self.path} cannot be read"):
                places, positions = cursor.execute(query, [history.start]).fetchnumpy().values()
            found[places] = positions
        return found

    def heads(self) -> tuple[Heads, int, datetime | None]:
        """Return the heads of all streams, the last position, and when it was recorded."""
        heads, at = self._begins.again(), self._begins.at
        if not self.untouched:
            rows = self.fetch(
                "select s.name, max(l.version), max(l.position) "
                f"from {self._log_table} l join eslab.streams s using (stream_id) "
                "group by l.stream_id, s.name order by l.stream_id",
                [],
            )
            heads.advance(Head(*row) for row in rows)
            at = max((position for _, _, position in rows), default=at)
        return heads, at, self.recorded_at(at)

    def recorded_at(self, position: int) -> datetime | None:
        """Return when the event at a position was recorded; None if there is none."""
        if position <= self._begins.at:
            return self._base.recorded_at(position)
        return super().recorded_at(position)

    def given_ids(self) -> GivenIds:
        """Return which ids events were given."""
        return BranchGivenIds(self._begins.base, self._given_ids())

    def write_file(
        self, path: Path, id: uuid.UUID, *, until: int, copy: bool, progress: bool
    ) -> None:
        """Write the log and the streams to a new file.

        Args:
            path: the file.
            id: the identity of the store there.
            until: the last position.
            copy: whether it is a copy to look at, no store.
            progress: draw a progress bar on stderr, if that is a terminal or a notebook.

        Raises:
            StoreError: it cannot be written.
        """
        here = f"{quoted(self._catalog)}.eslab"
        with driver_errors(f"{path} cannot be written"), self._attached(path, id) as cursor:
            make_tables(cursor, LOG_SCHEMA, id, copy=copy)
            cursor.execute(f"insert into eslab.streams from {here}.streams order by stream_id")
            with progress_bar(total=until, description="saving", progress=progress) as bar:
                for after in range(0, until, COPIED):
                    some = [after, min(after + COPIED, until)]
                    cursor.execute(
                        f"insert into eslab.event_log select * from {here}.event_log "
                        f"where position > ? and position <= ? order by position",
                        some,
                    )
                    bar.update(some[1] - some[0])
            cursor.execute("checkpoint")

    @contextmanager
    def _attached(self, path: Path, id: uuid.UUID) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a connection that writes to a file, beside the tables of the branch."""
        name = quoted(f"file {id}")
        with self.cursor() as kept:
            place = str(path).replace("'", "''")
            kept.execute(f"attach '{place}' as {name}")
            try:
                cursor = kept.cursor()
                try:
                    cursor.execute(f"use {name}")
                    yield cursor
                finally:
                    cursor.close()
            finally:
                kept.execute(f"detach {name}")

    def _let_go(self) -> None:
        pa.default_memory_pool().release_unused()

    def _reconnect(self) -> None:
        raise StoreError("the DuckDB that it was in gave up: make another branch")

    def close(self) -> None:
        """Close all connections, and give its memory back."""
        super().close()
        if self._forgotten is not None:
            self._forgotten()  # once
            self._base.tidy()
