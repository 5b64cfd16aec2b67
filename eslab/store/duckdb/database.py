"""The cold side: the log in DuckDB, in bulk, and SQL over it.

Tables, in the schema ``eslab``: ``event_log`` in the order of position, with a dense integer for
the stream, and no index: the sequencer makes numbers and ids unique, and zone maps find positions;
``streams`` with the name of each; ``store_info``; ``checkpoints`` and ``checkpoint_log`` of the
projections; ``dead_letters`` and ``inbox`` of deliveries; ``snapshots`` of states;
``typed_tables`` and ``typing_errors`` of the event types.
``events`` is the view that a person queries. Read models are in the schema ``rm``, the tables of
event types in ``ev``. All are on the search path.
"""

from __future__ import annotations

import ctypes
import re
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import duckdb
import numpy as np

# The first Arrow table would import it: on the flusher's thread, or while the interpreter ends,
# when that fails; and if Ctrl-C hits an import, others may wait for its lock for ever.
import pandas as pd  # noqa: F401
import pyarrow as pa
from numpy.typing import NDArray

from eslab.errors import InputError, QueryError, StoreClosedError, StoreError, StoreOpenError
from eslab.events import EventBatch, category_of
from eslab.garbage import garbage_kept
from eslab.schema.naming import quoted
from eslab.store.columns import LogColumns
from eslab.store.duckdb.cursors import Inlet, commit, lent, parsed
from eslab.store.duckdb.hot import Cover, GivenIds, Heads
from eslab.store.duckdb.journal import Identity
from eslab.store.duckdb.snapshots import SNAPSHOT_SCHEMA
from eslab.store.duckdb.typed import TYPED_SCHEMA
from eslab.store.result import Result
from eslab.store.rows import BATCH_ROWS, LogRow, Selection
from eslab.store.verification import Check
from eslab.words import counted

__all__ = [
    "LOG_COLUMNS",
    "LOG_SCHEMA",
    "MEMORY",
    "STREAM_COLUMNS",
    "Database",
    "DuckDBTransaction",
    "driver_errors",
    "make_tables",
    "sniff",
]

W = TypeVar("W", bound=Sized)

FORMAT: Final = 4
PAGE: Final = 20_000
FEW_ROWS: Final = 64  # as quick as parameters as they are as an Arrow table
COMPACT_ROWS: Final = 1_000_000
BULK_ROWS: Final = 100_000
HELD_BYTES: Final = 8 << 20
MEMORY: Final = ":memory:"
FILE_CATALOG: Final = "store"
SCHEMAS: Final = ("main", "eslab", "rm", "ev")
# The limit does not change; but when it is set DuckDB gives back what it holds free.
_SAME_LIMIT: Final = "reset memory_limit"
_MEMORY: Final = """
select sum(memory_usage_bytes)::bigint,
       (sum(memory_usage_bytes) filter (tag = 'BASE_TABLE'))::bigint
from duckdb_memory()"""
# What is raised for a value that a column cannot hold.
_UNFIT: Final = (pa.ArrowException, OverflowError, UnicodeError, duckdb.DataError)
# And for one of a statement; a key that is there twice is the last, where rows are merged.
_UNFIT_ROWS: Final = (duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_SCHEMA: Final = """
create schema rm;
create table eslab.store_info(
    store_id uuid not null, epoch integer not null, format integer not null,
    journal bigint, copy boolean not null);
create table eslab.checkpoints(
    projection varchar primary key, position bigint not null, fingerprint varchar not null);
create table eslab.checkpoint_log(
    projection varchar not null, from_position bigint not null, to_position bigint not null,
    count bigint not null, started_at timestamptz not null, committed_at timestamptz not null,
    mode varchar not null);
"""

STREAM_COLUMNS: Final = (
    "stream_id integer not null, name varchar not null, category varchar not null"
)
LOG_COLUMNS: Final = """
    position bigint not null, stream_id integer not null, version integer not null,
    type varchar not null, schema_version integer not null, event_id uuid not null,
    tags varchar[] not null, data json not null, metadata json not null,
    occurred_at timestamptz not null, recorded_at timestamptz not null"""
LOG_SCHEMA: Final = f"""
create table eslab.streams({STREAM_COLUMNS});
create table eslab.event_log({LOG_COLUMNS});
"""

_EVENTS_SCHEMA: Final = """
create view eslab.events as
    select l.position, s.name as stream_id, s.category, l.version, l.type, l.schema_version,
           l.event_id, l.tags, l.data, l.metadata, l.occurred_at, l.recorded_at
    from eslab.event_log l join eslab.streams s using (stream_id);
"""

_DELIVERY_SCHEMA: Final = """
create table eslab.dead_letters(
    consumer varchar not null, sequence varchar not null, position bigint not null,
    reason varchar, attempts integer not null, parked_at timestamptz not null);
create table eslab.inbox(
    consumer varchar not null, message_id varchar not null, received_at timestamptz not null,
    primary key (consumer, message_id));
"""

_TABLES: Final = _SCHEMA + _EVENTS_SCHEMA + TYPED_SCHEMA + SNAPSHOT_SCHEMA + _DELIVERY_SCHEMA

_HELD: Final = """
select concat_ws('.', schema_name, table_name) from duckdb_tables() union
select concat_ws('.', schema_name, view_name) from duckdb_views() where not internal union
select concat_ws('.', schema_name, sequence_name) from duckdb_sequences() union
select concat_ws('.', schema_name, type_name) from duckdb_types() where not internal union
select concat_ws('.', schema_name, function_name) from duckdb_functions() where not internal union
select schema_name from duckdb_schemas() where not internal order by all
"""

_TO_FORMAT_2: Final = """
alter table eslab.store_info add column journal bigint;
alter table eslab.store_info add column copy boolean default false;
"""
_STREAMS: Final = pa.schema({"stream_id": pa.int32(), "name": pa.string(), "category": pa.string()})
_LOG: Final = pa.schema(
    {
        "position": pa.int64(),
        "stream_id": pa.int32(),
        "version": pa.int32(),
        "type": pa.string(),
        "schema_version": pa.int32(),
        "event_id": pa.uuid(),
        "tags": pa.list_(pa.string()),
        # DuckDB would parse mere text again, to see whether it is JSON.
        "data": pa.json_(),
        "metadata": pa.json_(),
        "occurred_at": pa.timestamp("us", "UTC"),
        "recorded_at": pa.timestamp("us", "UTC"),
    }
)

_CHANGES: Final = {1: _TO_FORMAT_2 + TYPED_SCHEMA, 2: SNAPSHOT_SCHEMA, 3: _DELIVERY_SCHEMA}
"""What a file of each older format lacks."""

_COLUMNS: Final = """
select l.position, l.stream_id, l.version, l.type, l.schema_version, l.data::varchar,
       epoch_us(l.recorded_at)
from eslab.event_log l
"""

_ROWS: Final = """
select l.position, s.name, l.version, l.type, l.schema_version, l.event_id, l.tags,
       l.data::varchar, l.metadata::varchar, epoch_us(l.occurred_at), epoch_us(l.recorded_at)
from eslab.event_log l join eslab.streams s using (stream_id)
"""

# The first 52 bits of a minted id are its position and the version of the UUID, 8.
_LOW_IDS: Final = "select (event_id::uhugeint & 18446744073709551615::uhugeint)::ubigint as low"
_IS_GIVEN: Final = "event_id::uhugeint >> 76 <> (position::uhugeint << 4 | 8::uhugeint)"

# Each says what is wrong, or nothing; $rows is how many there are.
_CHECKS: Final = {
    "positions without gaps": """
        select format('position {} stands where {} should', position, place) from (
            select position, row_number() over (order by position) as place
            from eslab.event_log) where position <> place order by place limit 1""",
    "versions without gaps in each stream": """
        select format('position {} is version {} of its stream, and should be {}',
                      position, version, place) from (
            select position, version,
                   row_number() over (partition by stream_id order by position) as place
            from eslab.event_log) where version <> place order by position limit 1""",
    "event ids unique": """
        select format('{} is the id of {} events', event_id, count(*))
        from eslab.event_log group by event_id having count(*) > 1 order by all limit 1""",
    "recorded_at never decreases": """
        select format('position {} was recorded before the one before it', position) from (
            select position, recorded_at, lag(recorded_at) over (order by position) as before
            from eslab.event_log) where recorded_at < before order by position limit 1""",
    "streams numbered as created, and named once": """
        select format('stream {} ({}) stands where {} should', stream_id, name, place) from (
            select stream_id, name, row_number() over (order by stream_id) as place,
                   count(*) over (partition by name) as times from eslab.streams)
        where stream_id <> place or times > 1 order by place limit 1""",
    "every event has its stream": """
        select format('position {} has a stream without a name', position)
        from eslab.event_log anti join eslab.streams using (stream_id)
        order by position limit 1""",
}


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
            with _interrupts():
                self._prepare(self._new_id)
                self._read_facts()
                self._open_inlets()
        except BaseException as error:
            self._opened = None
            connection.close()
            if isinstance(error, duckdb.Error):
                raise StoreOpenError(f"{self.path} cannot be read: {_first_line(error)}") from error
            raise
        return connection

    def _connect(self) -> duckdb.DuckDBPyConnection:
        return _connect(self.path)

    def _prepare(self, new_id: uuid.UUID | None) -> None:
        held = [name for (name,) in self._connection.execute(_HELD).fetchall()]
        if "eslab.store_info" not in held:
            if held or new_id is None:
                raise StoreOpenError(
                    f"{self.path} is a database of another program (it holds "
                    f"{', '.join(held[:3]) or 'nothing'}), not an eslab store; it was not touched: "
                    f"choose another file"
                )
            with commit(self._connection):
                self._make(LOG_SCHEMA, new_id)
        try:
            found = self._connection.execute("select format from eslab.store_info").fetchall()
        except duckdb.BinderException:
            found = []
        if len(found) != 1 or not isinstance(format := found[0][0], int):
            raise StoreOpenError(
                f"{self.path} is a database of another program, or damaged: its eslab.store_info "
                f"does not say which format it has; it was not touched"
            )
        if format > FORMAT:
            raise StoreOpenError(
                f"{self.path} was written by a newer eslab (format {format}; this one knows up to "
                f"{FORMAT}); it was not touched: pip install --upgrade eslab"
            )
        if format < FORMAT:
            with commit(self._connection):
                for older, change in _CHANGES.items():
                    if format <= older:
                        self._connection.execute(change)
                self._connection.execute("update eslab.store_info set format = ?", [FORMAT])

    def _make(self, log: str, new_id: uuid.UUID) -> None:
        """Make the tables of a store, whose log and streams some statements make."""
        make_tables(self._connection, log, new_id, copy=False)

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
        self._log = Inlet(self._connection, self._log_table, _LOG)
        self._streams = Inlet(self._connection, self._streams_table, _STREAMS)

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
            with _interrupts():
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
        with _interrupts():
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
                with _interrupts():
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
        return heads, position, None if last is None else _moment(last)

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
        return _moment(rows[0][0]) if rows else None

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
                self._log.insert_few(own, _log_columns(rows, numbers))
            else:
                if created:
                    self._streams.insert(own, pa.table(streams, schema=_STREAMS))
                self._log.insert(own, _log_table(rows, numbers))
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
            self._opened = _connect(self.path)
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
        with _interrupts():
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
            f"{_ROWS} where l.position in (select unnest(?::bigint[]))", [list(positions)]
        )
        return list(map(_log_row, rows))

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
            rows = self.fetch(f"{_ROWS} {where}", [number, first, last])
            rows.sort(key=_position, reverse=backwards)
            yield from map(_log_row, rows[:limit])
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
            return self.fetch(f"{_ROWS} where {where} order by l.position {order}", values)

        left = selection.limit
        for rows in _windows(selection, read, cover):
            yield from map(_log_row, rows[:left])
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
            query = f"{_COLUMNS} {streams} where {where} order by l.position"
            with self.cursor() as cursor, driver_errors("the log cannot be read"):
                return cursor.sql(query, params=list(values)).to_arrow_table()

        for table in _windows(selection, read):
            with garbage_kept():
                columns = [column.to_pylist() for column in table.columns[:-1]]
                columns[1] = names(columns[1])
                columns.append(_moments(table.columns[-1]))
            for start in range(0, len(table), BATCH_ROWS):
                yield EventBatch(*(column[start : start + BATCH_ROWS] for column in columns))

    def counts(self, selection: Selection) -> dict[str, int]:
        """Return how many rows are selected, of each type of events that there is among them."""
        where, values = _where(selection)
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
        checks = []
        with self.cursor() as cursor, driver_errors("the log cannot be read"):
            ((events, streams),) = cursor.execute(
                "select (select count(*) from eslab.event_log), count(*) from eslab.streams"
            ).fetchall()
            for name, query in _CHECKS.items():
                wrong = cursor.execute(query).fetchall()
                right = counted(streams, "stream") if "stream" in name else counted(events, "event")
                checks.append(Check(name, not wrong, wrong[0][0] if wrong else right))
        return checks

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
            _end(cursor)
        self._lent.clear()
        if self._opened is not None:
            self._opened.close()

    def _close_branches(self) -> None:
        for branch in list(self._branches):
            branch.close()


def make_tables(
    cursor: duckdb.DuckDBPyConnection, log: str, new_id: uuid.UUID, *, copy: bool
) -> None:
    """Make the tables of a store.

    Args:
        cursor: makes them.
        log: the statements that make the log and the streams.
        new_id: the identity of the store.
        copy: whether it is a copy, to look at.
    """
    cursor.execute(f"create schema eslab; {log} {_TABLES}")
    cursor.execute("insert into eslab.store_info values (?, 1, ?, null, ?)", [new_id, FORMAT, copy])


class DuckDBTransaction:
    """One transaction of a projection: see `eslab.store.port.Transaction`."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows.

        Raises:
            InputError: a value, or a key that is there twice, does not fit a table.
        """
        failed = "a statement of a projection failed"
        with driver_errors(failed):
            try:
                ready = parsed(self._cursor, statement)
                return self._cursor.execute(ready, parameters or None).fetchall()
            except _UNFIT_ROWS as error:
                raise InputError(f"{failed}: {_first_line(error)}") from error

    def put(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        """Insert rows, replacing those that have the same primary key.

        Raises:
            InputError: a value does not fit its column.
        """
        if not rows:
            return
        failed = f"rows of {table} cannot be stored"
        with driver_errors(failed):
            try:
                arrow = pa.Table.from_pylist(list(rows))
                with lent(self._cursor, "put_rows", arrow):
                    self._cursor.execute(f"insert or replace into {table} by name from put_rows")
            except _UNFIT as error:
                raise InputError(f"{failed}: {_first_line(error)}") from error


def sniff(path: Path) -> None:
    """Look at a file before DuckDB does, for an error that says what is wrong.

    Raises:
        StoreOpenError: there is no such folder, or the file is no DuckDB database.
    """
    try:
        if not path.parent.is_dir():
            raise StoreOpenError(f"{path} cannot be made: there is no folder {path.parent}")
        if path.is_dir():
            raise StoreOpenError(f"{path} is a folder; a store is one file")
        if not path.exists():
            return
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise StoreOpenError(f"{path} cannot be read: {error.strerror}") from error
    if head[8:12] != b"DUCK":
        kind = "a SQLite database" if head.startswith(b"SQLite format 3") else "no DuckDB database"
        raise StoreOpenError(
            f"{path} is {kind}, so it is no eslab store; it was not touched: choose another file"
        )


def _connect(path: str) -> duckdb.DuckDBPyConnection:
    # A name in a query is a table; not a variable of whoever asks.
    config: dict[str, Any] = {"python_enable_replacements": False, "wal_autocheckpoint": "256MB"}
    if path == MEMORY:
        return duckdb.connect(MEMORY, config=config)
    # Already what is recovered from a write-ahead log may not fit into memory.
    connection = duckdb.connect(MEMORY, config=config | {"temp_directory": f"{path}.tmp"})
    place = path.replace("'", "''")
    try:
        # Under a name of ours: by that of its file, eslab.duckdb could not be told from the schema.
        connection.execute(f"attach '{place}' as {quoted(FILE_CATALOG)}")
        connection.execute(f"use {quoted(FILE_CATALOG)}")
    except duckdb.Error as error:
        connection.close()
        if "Could not set lock" in str(error):
            holder = re.search(r"PID (\d+)", str(error))
            who = f"process {holder[1]}" if holder else "another process"
            raise StoreOpenError(
                f"{path} is open in {who}, which is not eslab: close it there first"
            ) from error
        if isinstance(error, duckdb.ResourceInUseException):
            raise StoreOpenError(
                f"{path} is open in this process, by DuckDB without eslab: close that connection "
                f"first"
            ) from error
        raise StoreOpenError(
            f"{path} cannot be opened ({_first_line(error)}): is it, and its folder, writable?"
        ) from error
    return connection


def _end(cursor: duckdb.DuckDBPyConnection) -> None:
    """Close a cursor, which refuses while another thread runs a statement on it."""
    for _ in range(10_000):
        with suppress(duckdb.ConnectionException):  # it was closed by whoever had it
            cursor.interrupt()
        try:
            cursor.close()
        except duckdb.ResourceInUseException:
            time.sleep(0.001)
        else:
            return


@contextmanager
def driver_errors(what: str, *more: type[Exception]) -> Iterator[None]:
    """Turn errors of DuckDB, and `more` kinds, into those of a store."""
    kinds: tuple[type[Exception], ...] = (duckdb.Error, *more)
    try:
        with _interrupts():
            yield
    except kinds as error:
        raise StoreError(f"{what}: {_first_line(error)}") from error


@contextmanager
def _interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt where DuckDB, which saw Ctrl-C, made another error of it."""
    try:
        yield
    except (RuntimeError, duckdb.Error) as error:
        if not str(error).rstrip(": ").endswith(("Query interrupted", "KeyboardInterrupt")):
            raise
        raise KeyboardInterrupt from error


def _log_columns(rows: LogColumns, numbers: NDArray[np.int32]) -> list[list[Any]]:
    """Return the columns of a few rows, as `Inlet.insert_few` takes them."""
    ids = [rows.event_ids[start : start + 16] for start in range(0, len(rows.event_ids), 16)]
    return [
        list(range(rows.first, rows.first + len(rows))),
        numbers[rows.streams.codes].tolist(),
        rows.versions.tolist(),
        list(rows.types),
        list(rows.schema_versions),
        [uuid.UUID(bytes=id) for id in ids],
        list(map(list, rows.tags)),
        list(rows.data),
        list(rows.metadata),
        list(rows.occurred_at),
        list(rows.recorded_at),
    ]


def _log_table(rows: LogColumns, numbers: NDArray[np.int32]) -> pa.Table:
    ids = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(rows), [None, pa.py_buffer(rows.event_ids)]
    )
    columns = {
        "position": pa.array(np.arange(rows.first, rows.first + len(rows))),
        "stream_id": pa.array(numbers[rows.streams.codes]),
        "version": pa.array(rows.versions),
        "type": _array(rows.types, pa.string()),
        "schema_version": _array(rows.schema_versions, pa.int32()),
        "event_id": pa.ExtensionArray.from_storage(pa.uuid(), ids),
        "tags": _array(rows.tags, pa.list_(pa.string())),
        "data": _json(pa.array(rows.data, pa.string())),
        "metadata": _json(_array(rows.metadata, pa.string())),
        "occurred_at": _array(rows.occurred_at, pa.timestamp("us", "UTC")),
        "recorded_at": _array(rows.recorded_at, pa.timestamp("us", "UTC")),
    }
    return pa.table(columns, schema=_LOG)


def _json(texts: pa.Array) -> pa.Array:
    # DuckDB would parse mere text again, to see whether it is JSON.
    return pa.ExtensionArray.from_storage(pa.json_(), texts)


def _array(values: Sequence[Any], type: pa.DataType) -> pa.Array:
    """Return a column; quickly, where one value is repeated."""
    if values.count(values[0]) == len(values):
        return pa.array(values[:1], type).take(pa.array(np.zeros(len(values), np.int32)))
    return pa.array(values, type)


def _position(row: tuple[Any, ...]) -> int:
    position: int = row[0]
    return position


def _log_row(row: tuple[Any, ...]) -> LogRow:
    position, stream_id, version, type, schema_version, event_id = row[:6]
    tags, data, metadata, occurred_at, recorded_at = row[6:]
    return LogRow(
        position,
        stream_id,
        version,
        type,
        schema_version,
        event_id,
        tuple(tags),
        data,
        metadata,
        _moment(occurred_at),
        _moment(recorded_at),
    )


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _moments(microseconds: pa.ChunkedArray) -> list[datetime]:
    """Return times in UTC; equal ones are one object, since events are recorded many at once."""
    numbers = microseconds.to_pylist()
    made = {number: _moment(number) for number in set(numbers)}
    return list(map(made.__getitem__, numbers))


def _windows(
    selection: Selection,
    read: Callable[[str, Sequence[Any]], W],
    cover: Cover | None = None,
) -> Iterator[W]:
    """Yield what `read` returns for one window of positions after the other.

    Zone maps find a window at once; a limit alone would make DuckDB read the rest of the log for
    every page. Where few rows match, the windows grow.

    Args:
        selection: what is wanted.
        read: is given the condition of a query, and its values.
        cover: where the events of the selection's streams are, if it names some.
    """
    where, values = _where(selection)
    after, until, limit = selection.after, selection.until, selection.limit
    span = PAGE
    if limit is not None:  # where not all match, a little more is read than is asked for
        span = max(1, min(PAGE, limit if not where else max(limit, PAGE // 4)))
    if cover is not None:
        where += " and l.stream_id in (select unnest(?::integer[]))"
        values.append(cover.numbers)
        after, until = max(after, cover.after), min(until, cover.until)
        # So that a window holds as many of their events as it would hold of all: mostly all.
        span = max(span, span * (until - after) // max(1, cover.events))
    while after < until and limit != 0:
        low, high = (
            (max(after, until - span), until)
            if selection.backwards
            else (after, min(until, after + span))
        )
        found = read(f"l.position > ? and l.position <= ? {where}", [low, high, *values])
        yield found
        after, until = (after, low) if selection.backwards else (high, until)
        if len(found) < span // 4:
            span = max(span, min(2 * span, 16 * PAGE))


def _where(selection: Selection) -> tuple[str, list[Any]]:
    parts: list[str] = []
    values: list[Any] = []
    if selection.types is not None:
        parts.append("and l.type in (select unnest(?))")
        values.append(sorted(selection.types))
    if selection.category is not None:
        parts.append("and s.category = ?")
        values.append(selection.category)
    if selection.occurred_until is not None:
        parts.append("and l.occurred_at <= ?")
        values.append(selection.occurred_until)
    if selection.query is not None:
        items = []
        for item in selection.query.items:
            both = ["true"]
            if item.types:
                both.append("l.type in (select unnest(?))")
                values.append(sorted(item.types))
            if item.tags:
                both.append("list_has_all(l.tags, ?)")
                values.append(sorted(item.tags))
            items.append(" and ".join(both))
        parts.append(f"and ({' or '.join(f'({item})' for item in items) or 'false'})")
    return " ".join(parts), values


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


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
