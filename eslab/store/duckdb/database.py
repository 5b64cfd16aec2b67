"""The cold side: the log in DuckDB, in bulk, and SQL over it; see `eslab.store.duckdb.tables`."""

from __future__ import annotations

import ctypes
import threading
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np

# The first Arrow table would import it: on the flusher's thread, or while the interpreter ends,
# when that fails; and if Ctrl-C hits an import, others may wait for its lock for ever.
import pandas as pd  # noqa: F401
import pyarrow as pa
from numpy.typing import NDArray

from eslab.errors import QueryError, StoreClosedError, StoreError, StoreOpenError
from eslab.events import EventBatch, category_of
from eslab.schema.naming import quoted
from eslab.store.columns import LogColumns
from eslab.store.duckdb.checks import check_log
from eslab.store.duckdb.cursors import Inlet, commit
from eslab.store.duckdb.driver import (
    FILE_CATALOG,
    MEMORY,
    connect,
    driver_errors,
    end,
    first_line,
    interrupts,
)
from eslab.store.duckdb.hot import Cover, GivenIds, Heads
from eslab.store.duckdb.journal import Identity
from eslab.store.duckdb.log import (
    COLUMNS,
    LOG,
    PAGE,
    ROWS,
    STREAMS,
    condition,
    event_batches,
    log_columns,
    log_row,
    log_table,
    moment,
    windows,
)
from eslab.store.duckdb.tables import SCHEMAS, require_tables
from eslab.store.duckdb.transaction import DuckDBTransaction
from eslab.store.result import Result
from eslab.store.rows import LogRow, Selection
from eslab.store.verification import Check

__all__ = ["Database"]


FEW_ROWS: Final = 64  # as quick as parameters as they are as an Arrow table
COMPACT_ROWS: Final = 1_000_000
BULK_ROWS: Final = 100_000
HELD_BYTES: Final = 8 << 20
# The limit does not change; but when it is set DuckDB gives back what it holds free.
_SAME_LIMIT: Final = "reset memory_limit"
_MEMORY: Final = """
select sum(memory_usage_bytes)::bigint,
       (sum(memory_usage_bytes) filter (tag = 'BASE_TABLE'))::bigint
from duckdb_memory()"""


# The first 52 bits of a minted id are its position and the version of the UUID, 8.
_LOW_IDS: Final = "select (event_id::uhugeint & 18446744073709551615::uhugeint)::ubigint as low"
_IS_GIVEN: Final = "event_id::uhugeint >> 76 <> (position::uhugeint << 4 | 8::uhugeint)"


class Database:
    """The tables of one store, and connections to them.

    In memory they are made when somebody needs them: to make an empty database takes 20 times as
    long as all else that a store begins with, and many stores in memory are gone before they have
    anything to flush or to query.

    Args:
        path: a file, or ``":memory:"``.
        new_id: the identity, if the file is made; None, if it must be there.

    Raises:
        StoreOpenError: it is no store, is one of a newer eslab, or is damaged.
    """

    _log_table = "eslab.event_log"
    _streams_table = "eslab.streams"

    def __init__(self, path: str, *, new_id: uuid.UUID | None) -> None:
        self.path = path
        self._opened: duckdb.DuckDBPyConnection | None = None
        self._new_id = new_id
        self._idle: list[duckdb.DuckDBPyConnection] = []
        self._lent: set[duckdb.DuckDBPyConnection] = set()
        self._uncompacted = 0
        self._lock = threading.RLock()  # a cursor may be given back by the garbage collector
        self._branches: weakref.WeakSet[Database] = weakref.WeakSet()
        self.dropped: deque[str] = deque()
        self._closed = False
        self.journal: int | None = None
        self.copy = False
        if path == MEMORY and new_id is not None:
            self.identity = Identity(new_id, 1)
        else:
            self._open()

    @property
    def untouched(self) -> bool:
        """Whether nobody needed it yet: there is nothing in it."""
        return self._opened is None

    @property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            return self._opened or self._open()

    def _open(self) -> duckdb.DuckDBPyConnection:
        """Connect, and make the tables if there are none."""
        self._opened = connection = self._connect()
        try:
            with interrupts():
                self._prepare(self._new_id)
                self._read_facts()
                self._open_inlets()
        except BaseException as error:
            self._opened = None
            connection.close()
            if isinstance(error, duckdb.Error):
                raise StoreOpenError(f"{self.path} cannot be read: {first_line(error)}") from error
            raise
        return connection

    def _connect(self) -> duckdb.DuckDBPyConnection:
        return connect(self.path)

    def _prepare(self, new_id: uuid.UUID | None) -> None:
        require_tables(self._connection, self.path, new_id)

    def _read_facts(self) -> None:
        facts = self._connection.execute(
            "select store_id, epoch, journal, copy from eslab.store_info"
        ).fetchall()
        store_id, epoch, self.journal, self.copy = facts[0]
        self.identity = Identity(store_id, epoch)

    # Connections.

    @property
    def catalog(self) -> str:
        """What DuckDB calls it, among all that are open in one place."""
        return "memory" if self.path == MEMORY else FILE_CATALOG

    @property
    def in_use(self) -> bool:
        """Whether somebody has a cursor of it, or of a branch."""
        return bool(self._lent) or any(branch.in_use for branch in list(self._branches))

    @property
    def lock(self) -> threading.RLock:
        """What whoever lends cursors holds: one for all tables that are in one place."""
        return self._lock

    def beside(self, branch: Database) -> duckdb.DuckDBPyConnection:
        """Return a connection to the same place, where a branch may have its tables."""
        self.tidy()
        with self._lock, self._own() as own:
            self._branches.add(branch)
            return own.cursor()

    def tidy(self) -> None:
        """Give back the memory of branches that are gone."""
        if not self.dropped:
            return
        with suppress(StoreError, duckdb.Error), self._lock, self.cursor() as cursor:
            while self.dropped:
                with suppress(duckdb.Error):
                    cursor.execute(f"detach {quoted(self.dropped.popleft())}")

    def _open_inlets(self) -> None:
        self._log = Inlet(self._connection, self._log_table, LOG)
        self._streams = Inlet(self._connection, self._streams_table, STREAMS)

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a cursor: nobody else uses it meanwhile, and it has no transaction open."""
        with self._lock:
            if self._closed:
                raise StoreClosedError(f"{self.path} was closed; open it again")
            cursor = self._idle.pop() if self._idle else self._new_cursor()
            self._lent.add(cursor)
        fit = False
        try:
            with interrupts():
                yield cursor
            fit = True
        except (StoreError, duckdb.Error) as error:
            if self._closed:
                raise StoreClosedError(f"{self.path} was closed meanwhile") from error
            raise
        finally:
            with self._lock:
                if cursor in self._lent:
                    self._lent.remove(cursor)
                    if fit:
                        self._idle.append(cursor)
                    else:
                        cursor.close()

    def _new_cursor(self) -> duckdb.DuckDBPyConnection:
        with interrupts():
            cursor = self._connection.cursor()
            places = (f"{quoted(self.catalog)}.{schema}" for schema in SCHEMAS)
            cursor.execute(f"set search_path = '{','.join(places)}'")
            cursor.execute("set timezone = 'UTC'")
        return cursor

    @contextmanager
    def writing(self, failure: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a cursor in a transaction; an exception rolls it back.

        Args:
            failure: the words for what did not happen then.
        """
        with self.cursor() as cursor, driver_errors(failure), commit(cursor):
            yield cursor

    @contextmanager
    def transaction(self) -> Iterator[DuckDBTransaction]:
        """Give a transaction over the tables of projections; an exception rolls it back."""
        with self.writing("the transaction failed") as cursor:
            yield DuckDBTransaction(cursor)

    def sql(
        self,
        query: str,
        parameters: Sequence[Any] | Mapping[str, Any],
        *,
        begin: Callable[[duckdb.DuckDBPyConnection], None],
    ) -> Result:
        """Run one SELECT or EXPLAIN, read-only.

        Args:
            query: the statement.
            parameters: its values.
            begin: brings on the cursor what the query reads up to date, and begins the
                transaction that sees it by `snapshot`.

        Raises:
            QueryError: it is none, or DuckDB refuses it.
        """
        if not isinstance(query, str):
            raise QueryError(f"sql() takes the text of a query, not {query!r}")
        with self.cursor() as cursor:
            try:
                statements = cursor.extract_statements(query)
            except duckdb.Error as error:
                raise QueryError(f"the query cannot be parsed: {error}") from error
            kinds = [statement.type.name for statement in statements]
            if kinds not in (["SELECT"], ["EXPLAIN"]):
                found = ", ".join(kinds) or "nothing"
                raise QueryError(f"sql() takes one SELECT or EXPLAIN statement; found: {found}")
            begin(cursor)
            try:
                with interrupts():
                    table = cursor.sql(query, params=parameters or None).to_arrow_table()
            except duckdb.Error as error:
                raise QueryError(f"{error}") from error
            finally:
                cursor.execute("rollback")
        return Result(_whole_numbers(table), sql=query)

    @staticmethod
    def snapshot(cursor: duckdb.DuckDBPyConnection) -> None:
        """Begin a read-only transaction that sees the database as it is now."""
        cursor.execute("begin transaction read only")
        # DuckDB takes the moment of the first statement that reads, not of BEGIN.
        cursor.execute("from eslab.store_info").fetchall()

    # What the hot side begins with.

    def heads(self) -> tuple[Heads, int, datetime | None]:
        """Return the heads of all streams, the last position, and when it was recorded."""
        if self.untouched:
            return Heads(), 0, None
        with self.cursor() as cursor, driver_errors(f"{self.path} cannot be read"):
            names = cursor.sql("select name from eslab.streams order by stream_id")
            listed = names.to_arrow_table()["name"].to_pylist()
            numbers = cursor.sql(
                "select s.stream_id, coalesce(max(version), 0)::integer as version, "
                "coalesce(max(position), 0)::bigint as position from eslab.streams s "
                "left join eslab.event_log l using (stream_id) group by s.stream_id order by all"
            ).fetchnumpy()
            ((position, last),) = cursor.execute(
                "select coalesce(max(position), 0), epoch_us(max(recorded_at)) from eslab.event_log"
            ).fetchall()
        heads = Heads.of(listed, numbers["version"], numbers["position"])
        return heads, position, None if last is None else moment(last)

    def given_ids(self) -> GivenIds:
        """Return which ids events were given."""
        return GivenIds(self._given_ids())

    def _given_ids(self) -> NDArray[np.uint64] | None:
        if self.untouched:
            return None
        with self.cursor() as cursor, driver_errors(f"{self.path} cannot be read"):
            lows: NDArray[np.uint64] = cursor.sql(
                f"{_LOW_IDS} from {self._log_table} where {_IS_GIVEN}"
            ).fetchnumpy()["low"]
        return lows

    # What branches begin with.

    def streams_at(self, position: int, head: int) -> int | None:
        """Return how many streams there were at a position; None if there are no others since.

        Args:
            position: in the database.
            head: the last position.
        """
        span = PAGE
        while position < head:  # mostly the next new stream is near
            query = (
                "select min(stream_id) from eslab.event_log "
                "where position > ? and position <= ? and version = 1"
            )
            ((first,),) = self.fetch(query, [position, position + span])
            if first is not None:
                return int(first) - 1
            position, span = position + span, 4 * span
        return None

    def heads_at(self, numbers: Sequence[int], position: int) -> dict[int, tuple[int, int]]:
        """Return the version and last position of streams, by their numbers, at a position."""
        one = len(numbers) == 1
        rows = self.fetch(
            "select stream_id, max(version), max(position) from eslab.event_log where "
            f"{'stream_id = ?' if one else 'stream_id in (select unnest(?::integer[]))'} "
            "and position <= ? group by stream_id",
            [numbers[0] if one else list(numbers), position],
        )
        return {number: (version, last) for number, version, last in rows}

    def recorded_at(self, position: int) -> datetime | None:
        """Return when the event at a position was recorded; None if there is none."""
        rows = self.fetch(
            "select epoch_us(recorded_at) from eslab.event_log where position = ?", [position]
        )
        return moment(rows[0][0]) if rows else None

    # Writing; on one thread at a time.

    def write(self, rows: LogColumns, numbers: NDArray[np.int32], *, journal: int | None) -> None:
        """Add rows to the log in one transaction.

        Args:
            rows: in order, behind the last position.
            numbers: of their streams.
            journal: the number of the first segment that is still needed, of a file store.

        Raises:
            StoreError: nothing was written; or it is not known, if the commit itself failed.
        """
        begun = rows.streams.codes[rows.versions == 1]
        created = [rows.streams.names[code] for code in begun.tolist()]
        streams = [numbers[begun].tolist(), created, list(map(category_of, created))]
        failed = driver_errors("the events cannot be moved to the database")
        with failed, self._own() as own, commit(own):
            if len(rows) <= FEW_ROWS:
                if created:
                    self._streams.insert_few(own, streams)
                self._log.insert_few(own, log_columns(rows, numbers))
            else:
                if created:
                    self._streams.insert(own, pa.table(streams, schema=STREAMS))
                self._log.insert(own, log_table(rows, numbers))
            if journal != self.journal:
                own.execute("update eslab.store_info set journal = ?", [journal])
        self.journal = journal
        self._uncompacted += len(rows)
        if self._uncompacted >= COMPACT_ROWS:
            self.compact()
        if len(rows) >= BULK_ROWS:
            self._let_go()

    def ends_at(self, position: int) -> bool:
        """Say whether this is the last position of the log, if it can be read at all."""
        with suppress(duckdb.Error), self.cursor() as cursor:
            found = cursor.execute(
                "select coalesce(max(position), 0) from eslab.event_log"
            ).fetchall()
            return found == [(position,)]
        return False

    def revive(self) -> None:
        """Make it usable after a failure: end what is open; connect again where DuckDB gave up.

        Raises:
            StoreError: it cannot be read.
        """
        with driver_errors(f"{self.path} cannot be read"):
            try:
                self._settle()
            except duckdb.Error as error:
                # Of the whole, after a failed commit; or of the file, after a failed checkpoint.
                if "has been invalidated" not in str(error):
                    raise
                self._reconnect()
                self._settle()

    def _settle(self) -> None:
        with suppress(duckdb.TransactionException):
            self._connection.execute("rollback")
        self._connection.execute(_SAME_LIMIT)  # it may have been interrupted while that was low
        self._read_facts()

    def _reconnect(self) -> None:
        with self._lock:
            self._close_branches()  # they were in the memory of what gave up
            for cursor in (*self._idle, *self._lent):
                cursor.close()
            self._idle.clear()
            self._connection.close()
            self._opened = connect(self.path)
            self._open_inlets()

    def mark(self, journal: int | None, *, epoch: int | None = None) -> None:
        """Record which segment of the journal is needed (none: the file is complete by itself).

        Args:
            journal: the number of the segment.
            epoch: the epoch that begins.
        """
        epoch = self.identity.epoch if epoch is None else epoch
        with self.writing(f"{self.path} cannot be written") as cursor:
            cursor.execute("update eslab.store_info set journal = ?, epoch = ?", [journal, epoch])
        self.journal = journal
        self.identity = Identity(self.identity.store_id, epoch)

    def compact(self) -> None:
        """Move DuckDB's write-ahead log into the file, unless a transaction is open.

        What memory that frees goes back to the system.
        """
        self._uncompacted = 0
        for statement in ("checkpoint", _SAME_LIMIT):
            with suppress(duckdb.Error), self._own() as own:
                own.execute(statement)

    def _let_go(self) -> None:
        """Give back what writing many rows took; of the file, unless somebody reads it.

        DuckDB holds every block that it wrote until memory is short. So it is made short, for a
        moment in which nobody gets a cursor.
        """
        pa.default_memory_pool().release_unused()
        with self._lock, suppress(duckdb.Error):
            if self.in_use:
                return
            with self._own() as own:
                ((used, of_file),) = own.execute(_MEMORY).fetchall()
                if of_file > HELD_BYTES:
                    own.execute(f"set memory_limit = '{used - of_file + HELD_BYTES} B'")
                    own.execute(_SAME_LIMIT)

    def copy_to(self, path: Path) -> None:
        """Write all tables to a new file, which is marked as a copy.

        Raises:
            StoreError: it cannot be written.
        """
        with driver_errors(f"{path} cannot be written"), self._own() as own:
            target = str(path).replace("'", "''")
            own.execute(f"attach '{target}' as the_copy")
            try:
                own.execute(f"copy from database {quoted(self.catalog)} to the_copy")
                own.execute("update the_copy.eslab.store_info set journal = null, copy = true")
                own.execute("checkpoint the_copy")
            finally:
                own.execute("detach the_copy")

    def become(self, epoch: int) -> None:
        """Make a copy a store of its own, in this epoch."""
        with driver_errors(f"{self.path} cannot be written"), self._own() as own, commit(own):
            own.execute("update eslab.store_info set copy = false, epoch = ?", [epoch])
        self.copy, self.identity = False, Identity(self.identity.store_id, epoch)

    @contextmanager
    def _own(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._lock:
            if self._closed:
                raise StoreClosedError(f"{self.path} was closed; open it again")
        with interrupts():
            yield self._connection

    # Reading.

    def find(self, ids: Sequence[uuid.UUID], until: int) -> list[int]:
        """Return the positions up to `until` of events with these ids."""
        rows = self.fetch(
            "select position from eslab.event_log "
            "where position <= ? and event_id in (select unnest(?::uuid[]))",
            [until, list(ids)],
        )
        return [position for (position,) in rows]

    def rows_at(self, positions: Sequence[int]) -> list[LogRow]:
        """Return the rows at these positions."""
        rows = self.fetch(
            f"{ROWS} where l.position in (select unnest(?::bigint[]))", [list(positions)]
        )
        return list(map(log_row, rows))

    def position_at(self, recorded: datetime) -> int:
        """Return the position of the last event that was recorded by then."""
        with self.cursor() as cursor, driver_errors("the log cannot be read"):
            ((position,),) = cursor.execute(
                "select coalesce(max(position), 0) from eslab.event_log where recorded_at <= ?",
                [recorded],
            ).fetchall()
        return int(position)

    def stream_rows(
        self, number: int, low: int, high: int, *, backwards: bool, limit: int | None
    ) -> Iterator[LogRow]:
        """Yield the rows of a stream with low <= version <= high."""
        where = "where l.stream_id = ? and l.version between ? and ?"
        # Pages, so that a long stream is never in memory as a whole.
        step = PAGE if limit is None else min(PAGE, limit)
        while high >= low and limit != 0:
            first, last = (
                (max(low, high - step + 1), high) if backwards else (low, min(high, low + step - 1))
            )
            rows = self.fetch(f"{ROWS} {where}", [number, first, last])
            rows.sort(key=_position, reverse=backwards)
            yield from map(log_row, rows[:limit])
            limit = None if limit is None else max(0, limit - len(rows))
            low, high = (low, first - 1) if backwards else (last + 1, high)

    def rows(self, selection: Selection, cover: Cover | None = None) -> Iterator[LogRow]:
        """Yield the rows that are selected.

        Args:
            selection: which ones.
            cover: where those of its streams are, if it names some.
        """

        def read(where: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
            order = "desc" if selection.backwards else "asc"
            return self.fetch(f"{ROWS} where {where} order by l.position {order}", values)

        left = selection.limit
        for rows in windows(selection, read, cover):
            yield from map(log_row, rows[:left])
            left = None if left is None else left - len(rows)
            if left is not None and left <= 0:
                return

    def batches(
        self, selection: Selection, names: Callable[[Iterable[int]], list[str]]
    ) -> Iterator[EventBatch]:
        """Yield the rows that are selected, forwards, by columns.

        Args:
            selection: which ones.
            names: gives the streams that have some numbers. For a few thousand events that takes a
                tenth of the time of a join with all streams, which is only for their categories.
        """
        streams = "" if selection.category is None else "join eslab.streams s using (stream_id)"

        def read(where: str, values: Sequence[Any]) -> pa.Table:
            query = f"{COLUMNS} {streams} where {where} order by l.position"
            with self.cursor() as cursor, driver_errors("the log cannot be read"):
                return cursor.sql(query, params=list(values)).to_arrow_table()

        for table in windows(selection, read):
            yield from event_batches(table, names)

    def counts(self, selection: Selection) -> dict[str, int]:
        """Return how many rows are selected, of each type of events that there is among them."""
        where, values = condition(selection)
        streams = "" if selection.category is None else "join eslab.streams s using (stream_id)"
        query = (
            f"select l.type, count(*) from eslab.event_log l {streams} "
            f"where l.position > ? and l.position <= ? {where} group by l.type"
        )
        return dict(self.fetch(query, [selection.after, selection.until, *values]))

    def fetch(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return the rows of a statement.

        Raises:
            StoreError: it fails.
        """
        with self.cursor() as cursor, driver_errors("the log cannot be read"):
            return cursor.execute(query, values).fetchall()

    def checks(self) -> list[Check]:
        """Check the log by SQL."""
        with self.cursor() as cursor, driver_errors("the log cannot be read"):
            return check_log(cursor)

    # The end.

    def leave_to_parent(self) -> None:
        """Make it unusable in a process that was forked, and touch nothing of it."""
        self._lock = threading.RLock()
        self._closed = True
        # Never freed: to close the database here would write to the parent's file.
        for held in (self._opened, *self._idle, *self._lent):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))

    def close(self) -> None:
        """Close all connections, of branches too; whoever uses one meanwhile gets an error."""
        self._close_branches()
        with self._lock:
            self._closed = True
            cursors = *self._idle, *self._lent
        for cursor in cursors:
            end(cursor)
        self._lent.clear()
        if self._opened is not None:
            self._opened.close()

    def _close_branches(self) -> None:
        for branch in list(self._branches):
            branch.close()


def _position(row: tuple[Any, ...]) -> int:
    position: int = row[0]
    return position


def _whole_numbers(table: pa.Table) -> pa.Table:
    """Turn the 128-bit integers that sum() gives into 64-bit ones, where they fit."""
    for index, kind in enumerate(table.schema.types):
        if pa.types.is_decimal128(kind) and kind.precision == 38 and kind.scale == 0:
            name = table.column_names[index]
            try:
                table = table.set_column(index, name, table.column(index).cast(pa.int64()))
            except pa.ArrowInvalid:
                continue
    return table
