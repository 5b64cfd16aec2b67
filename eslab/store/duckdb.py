"""The event store in DuckDB: one file, or memory; the log, and SQL over it.

This adapter is the simple one: an append is one DuckDB transaction under one lock. The heads of
the streams are kept in memory; everything else is asked of the database.

Tables, in the schema ``eslab``: ``event_log`` in the order of position, with a dense integer for
the stream; ``streams`` with the name of each; ``store_info``; ``checkpoints`` and
``checkpoint_log`` of the projections; ``typed_tables`` and ``typing_errors`` of the event types.
``events`` is the view that a person queries. Read models are in the schema ``rm``, the tables of
event types in ``ev``. All are on the search path.
"""

from __future__ import annotations

import ctypes
import os
import threading
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from eslab.clock import Clock, IdSource
from eslab.errors import QueryError, StoreClosedError, StoreError, StoreOpenError
from eslab.events import category_of
from eslab.schema import EventRegistry
from eslab.store.cursors import commit
from eslab.store.result import Result
from eslab.store.sequencer import LogRow, Selection, SequencedStore
from eslab.store.typed import TYPED_SCHEMA, TypedTables

__all__ = ["DuckDBStore"]

FORMAT: Final = 1
PAGE: Final = 20_000
MEMORY: Final = ":memory:"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_SCHEMA: Final = """
create schema eslab;
create schema rm;
create table eslab.store_info(
    store_id uuid not null, epoch integer not null, format integer not null);
create table eslab.streams(
    stream_id integer not null, name varchar not null, category varchar not null);
create table eslab.event_log(
    position bigint not null, stream_id integer not null, version integer not null,
    type varchar not null, schema_version integer not null, event_id uuid not null,
    tags varchar[] not null, data json not null, metadata json not null,
    occurred_at timestamptz not null, recorded_at timestamptz not null);
create table eslab.checkpoints(
    projection varchar primary key, position bigint not null, fingerprint varchar not null);
create table eslab.checkpoint_log(
    projection varchar not null, from_position bigint not null, to_position bigint not null,
    count bigint not null, started_at timestamptz not null, committed_at timestamptz not null,
    mode varchar not null);
create view eslab.events as
    select l.position, s.name as stream_id, s.category, l.version, l.type, l.schema_version,
           l.event_id, l.tags, l.data, l.metadata, l.occurred_at, l.recorded_at
    from eslab.event_log l join eslab.streams s using (stream_id);
"""

_ROWS: Final = """
select l.position, s.name, l.version, l.type, l.schema_version, l.event_id, l.tags,
       l.data::varchar, l.metadata::varchar, epoch_us(l.occurred_at), epoch_us(l.recorded_at)
from eslab.event_log l join eslab.streams s using (stream_id)
"""

_FORKED: Final = (
    "{} was opened before this process was forked, and belongs to the process that opened it: "
    "start the worker with multiprocessing's 'spawn', or open a store of its own there"
)

_stores: weakref.WeakSet[DuckDBStore] = weakref.WeakSet()
_open_stores: dict[str, DuckDBStore] = {}
_open_stores_lock = threading.Lock()


class DuckDBStore(SequencedStore):
    """An event store in a DuckDB file or in memory; `eslab.open_store` opens one."""

    def __init__(self, path: str, *, clock: Clock, ids: IdSource) -> None:
        super().__init__(clock=clock, ids=ids)
        self.path = path
        self._heads: dict[str, tuple[int, int, int]] = {}
        self._position = 0
        self._last: datetime | None = None
        self._unsure = False
        self._forked = False
        self._connection = _connect(path)
        self._cursors: list[duckdb.DuckDBPyConnection] = []
        self._typed = TypedTables(EventRegistry())
        try:
            self._prepare()
            self._load()
        except BaseException as error:
            self._connection.close()
            if isinstance(error, duckdb.Error):
                raise StoreOpenError(f"{path} cannot be read: {_first_line(error)}") from error
            raise
        _stores.add(self)

    @classmethod
    def open(cls, path: str | Path, *, clock: Clock, ids: IdSource) -> DuckDBStore:
        """Open a store, or give the one that this process has open for that file."""
        if str(path) == MEMORY:
            return cls(MEMORY, clock=clock, ids=ids)
        if not isinstance(path, (str, Path)) or not str(path):
            raise StoreOpenError(f"a store needs the path of a file, or ':memory:', not {path!r}")
        try:
            resolved = str(Path(path).expanduser().resolve())
        except (OSError, RuntimeError, ValueError) as error:
            raise StoreOpenError(f"{path!r} cannot be the path of a store: {error}") from error
        with _open_stores_lock:
            store = _open_stores.get(resolved)
            if store is None:
                store = _open_stores[resolved] = cls(resolved, clock=clock, ids=ids)
            elif store._forked:
                raise StoreOpenError(_FORKED.format(store.path))
            return store

    def __repr__(self) -> str:
        if self._closed:
            return f"DuckDBStore({self.path!r}, closed)"
        return f"DuckDBStore({self.path!r}, {self._head():,} events, {len(self._heads):,} streams)"

    # SQL.

    def use_registry(self, registry: EventRegistry) -> None:
        """Make each event type of a registry a table of `sql`: see `eslab.store.typed`."""
        self._typed = TypedTables(registry)

    def sql(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Result:
        """Run one SELECT or EXPLAIN, read-only, and return its rows.

        Args:
            query: one statement; the tables are those that this module describes.
            parameters: values for ``?`` or ``$1``, or a dict for ``$name``.

        Raises:
            QueryError: it is no single SELECT or EXPLAIN, or DuckDB refuses it.
        """
        if not isinstance(query, str):
            raise QueryError(f"sql() takes the text of a query, not {query!r}")
        with self._cursor() as cursor:
            try:
                statements = cursor.extract_statements(query)
            except duckdb.Error as error:
                raise QueryError(f"the query cannot be parsed: {error}") from error
            kinds = [statement.type.name for statement in statements]
            if kinds not in (["SELECT"], ["EXPLAIN"]):
                found = ", ".join(kinds) or "nothing"
                raise QueryError(f"sql() takes one SELECT or EXPLAIN statement; found: {found}")
            with _driver_errors("the tables of the event types cannot be brought up to date"):
                self._typed.prepare(cursor, query, until=self.head())
            cursor.execute("begin transaction read only")
            try:
                table = cursor.sql(query, params=parameters or None).to_arrow_table()
            except duckdb.Error as error:
                raise QueryError(f"{error}") from error
            finally:
                cursor.execute("rollback")
        return Result(_whole_numbers(table), sql=query)

    def streams(self) -> int:
        """Return how many streams there are."""
        with self._open_lock():
            return len(self._heads)

    def last_recorded_at(self) -> datetime | None:
        """Return when the last event was recorded; None when the store is empty."""
        with self._open_lock():
            return self._last

    @contextmanager
    def transaction(self) -> Iterator[DuckDBTransaction]:
        """Give a transaction over the tables of projections; an exception rolls it back."""
        failed = _driver_errors("the transaction failed")
        with self._open_lock(), self._cursor() as cursor, failed, commit(cursor):
            yield DuckDBTransaction(cursor)

    @contextmanager
    def _open_lock(self) -> Iterator[None]:
        if self._forked:
            raise StoreClosedError(_FORKED.format(self.path))
        with super()._open_lock():
            if self._unsure:
                self._recover()
            yield

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a cursor: nobody else uses it meanwhile, and it has no transaction open."""
        with self._open_lock():
            cursor = self._cursors.pop() if self._cursors else self._new_cursor()
        try:
            yield cursor
        except BaseException:
            cursor.close()
            raise
        with self._lock:
            if self._closed:
                cursor.close()
            else:
                self._cursors.append(cursor)

    def _new_cursor(self) -> duckdb.DuckDBPyConnection:
        cursor = self._connection.cursor()
        cursor.execute("set search_path = 'main,eslab,rm,ev'")
        cursor.execute("set timezone = 'UTC'")
        return cursor

    # Opening.

    def _prepare(self) -> None:
        held = self._connection.execute(
            "select schema_name, table_name from duckdb_tables() union all "
            "select schema_name, view_name from duckdb_views() where not internal union all "
            "select schema_name, sequence_name from duckdb_sequences() union all "
            "select schema_name, type_name from duckdb_types() where not internal order by all"
        ).fetchall()
        if ("eslab", "store_info") not in held:
            if held:
                names = ", ".join(f"{schema}.{table}" for schema, table in held[:3])
                raise StoreOpenError(
                    f"{self.path} is a database of another program (it holds {names}), not an "
                    f"eslab store; it was not touched: choose another file"
                )
            with commit(self._connection):
                self._connection.execute(_SCHEMA + TYPED_SCHEMA)
                self._connection.execute(
                    "insert into eslab.store_info values (?, 1, ?)", [self.ids.mint(0), FORMAT]
                )
        found = self._connection.execute("select format from eslab.store_info").fetchall()
        if len(found) != 1 or not isinstance(format := found[0][0], int):
            raise StoreOpenError(f"{self.path} is damaged: eslab.store_info has no format")
        if format > FORMAT:
            raise StoreOpenError(
                f"{self.path} was written by a newer eslab (format {format}; this one knows up to "
                f"{FORMAT}); it was not touched: pip install --upgrade eslab"
            )

    def _recover(self) -> None:
        """Read again what an interrupted append left: all of it, or nothing."""
        with _driver_errors(f"{self.path} cannot be read after an append was interrupted"):
            with suppress(duckdb.TransactionException):
                self._connection.execute("rollback")
            self._load()
        self._unsure = False

    def _load(self) -> None:
        heads = self._connection.execute(
            "select s.name, s.stream_id, max(version), max(position) "
            "from eslab.event_log join eslab.streams s using (stream_id) group by all"
        ).fetchall()
        self._heads = {name: (number, version, at) for name, number, version, at in heads}
        ((self._position, last),) = self._connection.execute(
            "select coalesce(max(position), 0), epoch_us(max(recorded_at)) from eslab.event_log"
        ).fetchall()
        self._last = None if last is None else _moment(last)

    # What the sequencer asks for.

    def _head(self) -> int:
        return self._position

    def _last_recorded_at(self) -> datetime | None:
        return self._last

    def _stream_head(self, stream_id: str) -> tuple[int, int]:
        _, version, position = self._heads.get(stream_id, (0, 0, 0))
        return version, position

    def _find(self, ids: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, LogRow]:
        wanted = pa.table({"event_id": [str(id) for id in ids]})
        with self._registered("wanted_ids", wanted):
            # The column of ids alone is quick to look through; the rows are wanted rarely.
            found = self._connection.execute(
                "select position from eslab.event_log "
                "where event_id in (select event_id::uuid from wanted_ids)"
            ).fetchall()
        if not found:
            return {}
        with self._registered("found_positions", pa.table({"position": [row[0] for row in found]})):
            rows = self._connection.execute(
                f"{_ROWS} where l.position in (select position from found_positions)"
            ).fetchall()
        return {row.event_id: row for row in map(_log_row, rows)}

    def _write(self, rows: Sequence[LogRow]) -> None:
        heads: dict[str, tuple[int, int, int]] = {}
        new: dict[str, int] = {}
        for row in rows:
            held = self._heads.get(row.stream_id)
            number = (
                held[0] if held else new.setdefault(row.stream_id, len(self._heads) + len(new) + 1)
            )
            heads[row.stream_id] = number, row.version, row.position
        streams = pa.table(
            {
                "stream_id": pa.array(new.values(), pa.int32()),
                "name": pa.array(new, pa.string()),
                "category": pa.array(map(category_of, new), pa.string()),
            }
        )
        log = _log_table(rows, [heads[row.stream_id][0] for row in rows])
        # An interrupt may fall between the commit and what is known of it here: until the last
        # line, nobody knows, and whoever comes next asks the database.
        self._unsure = True
        with (
            _driver_errors("the append failed"),
            self._registered("new_streams", streams),
            self._registered("new_events", log),
            commit(self._connection),
        ):
            if new:
                self._connection.execute("insert into eslab.streams from new_streams")
            self._connection.execute(
                "insert into eslab.event_log select * replace (event_id::uuid as event_id, "
                "data::json as data, metadata::json as metadata) from new_events"
            )
        self._heads.update(heads)
        self._position = rows[-1].position
        self._last = rows[-1].recorded_at
        self._unsure = False

    def _stream_rows(
        self, stream_id: str, low: int, high: int, backwards: bool, limit: int | None
    ) -> Iterator[LogRow]:
        number = self._heads.get(stream_id, (0,))[0]
        where = "where l.stream_id = ? and l.version between ? and ?"
        # Pages, so that a long stream is never in memory as a whole.
        step = PAGE if limit is None else min(PAGE, limit)
        while high >= low and limit != 0:
            first, last = (
                (max(low, high - step + 1), high) if backwards else (low, min(high, low + step - 1))
            )
            rows = self._fetch(f"{_ROWS} {where}", [number, first, last])
            rows.sort(key=_position, reverse=backwards)
            yield from map(_log_row, rows[:limit])
            limit = None if limit is None else max(0, limit - len(rows))
            low, high = (low, first - 1) if backwards else (last + 1, high)

    def _rows(self, selection: Selection) -> Iterator[LogRow]:
        where, values = _where(selection)
        after, until, limit = selection.after, selection.until, selection.limit
        order = "desc" if selection.backwards else "asc"
        # Windows of positions, which zone maps find at once; a limit alone would make DuckDB read
        # the rest of the log for every page. Where few rows match, the windows grow.
        span = PAGE if limit is None else min(PAGE, limit if not where else PAGE // 4)
        while after < until and limit != 0:
            low, high = (
                (max(after, until - span), until)
                if selection.backwards
                else (after, min(until, after + span))
            )
            rows = self._fetch(
                f"{_ROWS} where l.position > ? and l.position <= ? {where} "
                f"order by l.position {order}",
                [low, high, *values],
            )
            yield from map(_log_row, rows[:limit])
            limit = None if limit is None else max(0, limit - len(rows))
            after, until = (after, low) if selection.backwards else (high, until)
            if len(rows) < span // 4:
                span = min(2 * span, 16 * PAGE)

    def _fetch(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._cursor() as cursor, _driver_errors("the log cannot be read"):
            return cursor.execute(query, values).fetchall()

    def leave_to_parent(self) -> None:
        """Make the store unusable in a process that was forked, and touch nothing of it."""
        self._forked = True
        self._lock = threading.RLock()
        # Never freed: to close the database here would write to the parent's file.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))

    def _close(self) -> None:
        if self._forked:
            return
        with _open_stores_lock:
            if _open_stores.get(self.path) is self:
                del _open_stores[self.path]
        for cursor in self._cursors:
            cursor.close()
        self._connection.close()

    @contextmanager
    def _registered(self, name: str, table: pa.Table) -> Iterator[None]:
        self._connection.register(name, table)
        try:
            yield
        finally:
            self._connection.unregister(name)


class DuckDBTransaction:
    """One transaction of a projection: see `eslab.store.port.Transaction`."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        with _driver_errors("a statement of a projection failed"):
            return self._cursor.execute(statement, parameters or None).fetchall()

    def put(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        """Insert rows, replacing those that have the same primary key."""
        if not rows:
            return
        odd_values = pa.ArrowException, OverflowError, UnicodeError
        with _driver_errors(f"rows of {table} cannot be stored", *odd_values):
            self._cursor.register("put_rows", pa.Table.from_pylist(list(rows)))
            self._cursor.execute(f"insert or replace into {table} by name from put_rows")
            self._cursor.unregister("put_rows")


def _connect(path: str) -> duckdb.DuckDBPyConnection:
    if path != MEMORY:
        _sniff(Path(path))
    try:
        # A name in a query is a table; not a variable of whoever asks.
        return duckdb.connect(path, config={"python_enable_replacements": False})
    except duckdb.Error as error:
        raise StoreOpenError(f"{path} cannot be opened: {_first_line(error)}") from error


def _sniff(path: Path) -> None:
    """Look at the file before DuckDB does, for an error that says what is wrong.

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
        for held in _open_stores:
            # Reading and closing it here would drop the lock that the process has on it.
            if Path(held).exists() and path.samefile(held):
                raise StoreOpenError(f"{path} is the same file as {held}, which is open here")
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise StoreOpenError(f"{path} cannot be read: {error.strerror}") from error
    if head and head[8:12] != b"DUCK":
        kind = "a SQLite database" if head.startswith(b"SQLite format 3") else "no DuckDB database"
        raise StoreOpenError(
            f"{path} is {kind}, so it is no eslab store; it was not touched: choose another file"
        )


@contextmanager
def _driver_errors(what: str, *more: type[Exception]) -> Iterator[None]:
    kinds: tuple[type[Exception], ...] = (duckdb.Error, *more)
    try:
        yield
    except kinds as error:
        raise StoreError(f"{what}: {_first_line(error)}") from error


def _log_table(rows: Sequence[LogRow], streams: Sequence[int]) -> pa.Table:
    instant = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "position": pa.array([row.position for row in rows], pa.int64()),
            "stream_id": pa.array(streams, pa.int32()),
            "version": pa.array([row.version for row in rows], pa.int32()),
            "type": pa.array([row.type for row in rows], pa.string()),
            "schema_version": pa.array([row.schema_version for row in rows], pa.int32()),
            "event_id": pa.array([str(row.event_id) for row in rows], pa.string()),
            "tags": pa.array([row.tags for row in rows], pa.list_(pa.string())),
            "data": pa.array([row.data for row in rows], pa.string()),
            "metadata": pa.array([row.metadata for row in rows], pa.string()),
            "occurred_at": pa.array([row.occurred_at for row in rows], instant),
            "recorded_at": pa.array([row.recorded_at for row in rows], instant),
        }
    )


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


def _where(selection: Selection) -> tuple[str, list[Any]]:
    parts: list[str] = []
    values: list[Any] = []
    if selection.types is not None:
        parts.append("and l.type in (select unnest(?))")
        values.append(sorted(selection.types))
    if selection.category is not None:
        parts.append("and s.category = ?")
        values.append(selection.category)
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


def _after_fork() -> None:
    """Leave the parent's stores to the parent: its threads are gone here, its locks are not."""
    global _open_stores_lock  # noqa: PLW0603 - another thread of the parent may hold it
    _open_stores_lock = threading.Lock()
    for store in list(_stores):
        store.leave_to_parent()


os.register_at_fork(after_in_child=_after_fork)
