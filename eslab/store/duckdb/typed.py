"""Every event type is a table: typed columns, kept up to date with the log when they are asked for.

The table of a type is ``ev.<name>``: the base columns, then one column for each field of its class.
Each event of the type is either a row of it or, if it does not fit the class or a column, a row of
``eslab.typing_errors``; nothing is rounded, nulled or left out. Rows have no order of their own.

``eslab.typed_tables`` has the position that each table has reached, committed with its rows, and a
fingerprint of the class, code of its validators included: a table with another one is built anew,
from the log.

Rows of the class's own schema version are converted by SQL, if that proves to be what the class
would do (see `proof`). All others are decoded by the class (see `decoded`), and their values are
read back from DuckDB and compared before they are believed.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import pyarrow as pa

from eslab.errors import QueryError
from eslab.events import Event
from eslab.schema import EventRegistry
from eslab.schema.code import decoding_code
from eslab.schema.columns import BASE_COLUMNS, Column, Nested, event_columns
from eslab.schema.json_schema import json_schema
from eslab.schema.naming import literal, quoted, table_name, texts
from eslab.schema.shapes import event_shape
from eslab.schema.upcasting import upcasters_text
from eslab.store.duckdb.cursors import commit, lent, parsed
from eslab.store.duckdb.decoded import Misfit, StoredRow, decoded
from eslab.store.duckdb.proof import proof, structure, value

__all__ = ["TYPED_SCHEMA", "TypedTables"]

TYPED_SCHEMA: Final = """
create schema ev;
create table eslab.typed_tables(
    name varchar primary key, type varchar not null, position bigint not null,
    fingerprint varchar not null);
create table eslab.typing_errors(
    type varchar not null, position bigint not null, "column" varchar, reason varchar not null);
"""

FORMAT: Final = 1
"""Of the conversion: another number builds all tables anew."""

CHUNK: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Table:
    """The table of one event class."""

    name: str
    cls: type[Event]
    shape: Nested
    columns: Mapping[str, tuple[str, Column]]
    fingerprint: str

    @classmethod
    def of(cls, name: str, event: type[Event]) -> _Table:
        shape, names = event_shape(event), event_columns(event)
        columns = {field: (names[field], column) for field, column in shape.fields.items()}
        parts = [
            FORMAT,
            event.event_type,
            event.schema_version,
            [[name, column.sql] for name, column in columns.values()],
            json_schema(event),
            decoding_code(event),
            upcasters_text(event),
        ]
        text = json.dumps(parts, sort_keys=True, default=repr)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return cls(name, event, shape, columns, digest)

    @property
    def sql(self) -> str:
        """Its name in SQL."""
        return f"ev.{quoted(self.name)}"

    @property
    def definition(self) -> str:
        """The statement that makes it."""
        base = [f"{name} {type} not null" for name, type in BASE_COLUMNS.items()]
        own = [f"{quoted(name)} {column.sql}" for name, column in self.columns.values()]
        return f"create table {self.sql}({', '.join(base + own)})"


_BASE: Final = (
    "l.position, s.name as stream_id, l.version, l.occurred_at, l.recorded_at, l.event_id"
)
_LOG: Final = "eslab.event_log l join eslab.streams s using (stream_id)"


class TypedTables:
    """The tables of the event types of one registry.

    Args:
        registry: its classes are the tables; one that is registered later is one too.
    """

    def __init__(self, registry: EventRegistry) -> None:
        self._registry = registry
        self._made: dict[str, _Table] = {}
        self._earlier: dict[str, tuple[str, int]] | None = None
        # DuckDB lets one transaction fail when two change one table.
        self._lock = threading.RLock()

    def tables(self) -> dict[str, type[Event]]:
        """Return the class of each table by its name."""
        return {table_name(type): self._registry[type] for type in list(self._registry)}

    def prepare(self, cursor: duckdb.DuckDBPyConnection, query: str, *, until: int) -> None:
        """Bring the tables that a query names up to a position of the log.

        Args:
            cursor: has no transaction open.
            query: the text of the query.
            until: the position.

        Raises:
            QueryError: it names the table of a type that is not registered, and that is behind.
        """
        words, tables = _words(query), self.tables()
        for name, (type, position) in self._found(cursor).items():
            if name in words and name not in tables and position < until:
                raise QueryError(
                    f"{name} is the table of the event type {type!r}, whose class this lab does "
                    f"not know, and it is behind the log: register the class, or query events "
                    f"where type = {literal(type)}"
                )
        self.refresh(cursor, tables if words & _ALL else words & tables.keys(), until=until)

    def _found(self, cursor: duckdb.DuckDBPyConnection) -> Mapping[str, tuple[str, int]]:
        """Return type and position of the tables that were there at the first query.

        While a type is not registered nobody brings its table up; once it is, it stays so.
        """
        if self._earlier is None:
            rows = cursor.execute("select name, type, position from eslab.typed_tables").fetchall()
            self._earlier = {name: (type, position) for name, type, position in rows}
        return self._earlier

    def refresh(
        self, cursor: duckdb.DuckDBPyConnection, tables: Iterable[str], *, until: int
    ) -> None:
        """Bring tables up to a position of the log.

        Args:
            cursor: has no transaction open.
            tables: their names.
            until: the position.

        Raises:
            SchemaError: a class is not complete, so that it has no columns yet.
        """
        classes = self.tables()
        with self._lock:
            _refresh(cursor, [self._table(name, classes[name]) for name in sorted(tables)], until)

    def _table(self, name: str, cls: type[Event]) -> _Table:
        made = self._made.get(name)
        if made is None or made.cls is not cls:
            made = self._made[name] = _Table.of(name, cls)
        return made


# What reads a table without naming it, and what is about all of them.
_ALL: Final = frozenset({"query", "query_table", "typed_tables", "typing_errors"})


def _words(query: str) -> frozenset[str]:
    """Return the words of a query, the names of its tables among them.

    Some are names of something else, which costs a refresh that was not needed. DuckDB's own
    `get_table_names` (2.0) knows better, and fails on a query with parameters.
    """
    return frozenset(re.findall(r"\w+", query.lower()))


def _refresh(cursor: duckdb.DuckDBPyConnection, tables: Sequence[_Table], until: int) -> None:
    """Bring tables up to a position: each that is made anew by itself, all others together."""
    # Names as part of the text: DuckDB plans that in a third of the time of a list of values.
    query = (
        "select name, type, fingerprint, position from eslab.typed_tables "
        f"where name in ({texts(table.name for table in tables)})"
    )
    rows = cursor.execute(parsed(cursor, query)).fetchall()
    held = {name: (type, fingerprint, position) for name, type, fingerprint, position in rows}
    behind = []
    for table in tables:
        type, fingerprint, position = held.get(table.name, (table.cls.event_type, None, 0))
        if fingerprint != table.fingerprint:
            _make(cursor, table, type, until)
        elif position < until:
            behind.append((table, position))
    if behind:
        _catch_up(cursor, behind, until)


def _make(cursor: duckdb.DuckDBPyConnection, table: _Table, type: str, until: int) -> None:
    """Make a table anew, up to a position.

    Args:
        cursor: has no transaction open.
        table: the table.
        type: whose events were in the one of its name before.
        until: the position.
    """
    with commit(cursor):
        cursor.execute(f"drop table if exists {table.sql}")
        cursor.execute("delete from eslab.typing_errors where type = ?", [type])
        cursor.execute("delete from eslab.typed_tables where name = ?", [table.name])
        cursor.execute(table.definition)
        counts = _counted(cursor, [table.cls.event_type], 0, until)
        _fill(cursor, table, 0, until, counts)
        cursor.execute(
            "insert into eslab.typed_tables values (?, ?, ?, ?)",
            [table.name, table.cls.event_type, until, table.fingerprint],
        )


def _catch_up(
    cursor: duckdb.DuckDBPyConnection, tables: Sequence[tuple[_Table, int]], until: int
) -> None:
    """Bring tables from their positions up to another one, all or none."""
    with commit(cursor):
        for after in sorted({position for _, position in tables}):  # mostly they are at the same
            some = [table for table, position in tables if position == after]
            counts = _counted(cursor, [table.cls.event_type for table in some], after, until)
            for table in some:
                _fill(cursor, table, after, until, counts)
        names = texts(table.name for table, _ in tables)
        update = f"update eslab.typed_tables set position = ? where name in ({names})"
        cursor.execute(parsed(cursor, update), [until])


def _counted(
    cursor: duckdb.DuckDBPyConnection, types: Sequence[str], after: int, until: int
) -> dict[str, int]:
    """Return how many events there are of types in (after, until]."""
    query = (
        "select type, count(*) from eslab.event_log where position > ? and position <= ? "
        f"and type in ({texts(types)}) group by type"
    )
    return dict(cursor.execute(parsed(cursor, query), [after, until]).fetchall())


def _fill(
    cursor: duckdb.DuckDBPyConnection,
    table: _Table,
    after: int,
    until: int,
    counts: Mapping[str, int],
) -> None:
    """Make a row of the table, or of typing_errors, of each event of its type in (after, until].

    Args:
        cursor: has a transaction open.
        table: the table.
        after: the position that it has reached.
        until: the position that it is to reach.
        counts: how many events of a type there are between these.
    """
    events = counts.get(table.cls.event_type, 0)
    if events == 0:
        return
    span = [table.cls.event_type, after, until]
    proven = 0
    if table.shape.exact:
        insert = parsed(cursor, f"insert into {table.sql} {_proven(table)}")
        ((proven,),) = cursor.execute(insert, [*span, table.cls.schema_version]).fetchall()
    if proven == events:
        return
    for rows in _unproven(cursor, table, span):
        _insert_decoded(cursor, table, rows)


def _proven(table: _Table) -> str:
    """Return the query for the rows that SQL converts, over type, after, until, schema version."""
    wire, proofs = "null", "data = '{}'"
    if table.columns:
        wire = f"json_transform(l.data, {structure(table.shape)})"
        proofs = f"to_json(w)::varchar = data and {proof(table.shape, 'w')}"
    values = "".join(
        f", {value(column, f'w.{quoted(field)}')}" for field, (_, column) in table.columns.items()
    )
    return (
        f"select {', '.join(BASE_COLUMNS)}{values} from ("
        f"select {_BASE}, l.data::varchar as data, {wire} as w from {_LOG} "
        f"where l.type = ? and l.position > ? and l.position <= ? and l.schema_version = ?) "
        f"where {proofs} order by position"
    )


def _unproven(
    cursor: duckdb.DuckDBPyConnection, table: _Table, span: Sequence[Any]
) -> Iterator[list[StoredRow]]:
    """Yield the events of a span that are no rows yet, in chunks."""
    left = (
        "from eslab.event_log l "
        f"anti join (select position from {table.sql} where position > $after and position <= "
        "$until) using (position) "
        "where l.type = $type and l.position > $after and l.position <= $until order by l.position"
    )
    values = dict(zip(("type", "after", "until"), span, strict=True))
    positions = cursor.sql(f"select l.position {left}", params=values).to_arrow_table().column(0)
    for start in range(0, len(positions), CHUNK):
        part = positions.slice(start, CHUNK)
        values |= {"after": part[0].as_py() - 1, "until": part[-1].as_py()}
        yield cursor.execute(
            f"select l.position, l.schema_version, l.data::varchar {left}", values
        ).fetchall()


def _insert_decoded(
    cursor: duckdb.DuckDBPyConnection, table: _Table, rows: Sequence[StoredRow]
) -> None:
    """Insert what fits, and note what does not."""
    fits, misfits = decoded(cursor, table.cls, table.columns, rows)
    own = "".join(f", r.{quoted(name)}::{column.sql}" for name, column in table.columns.values())
    with lent(cursor, "decoded_rows", fits):
        cursor.execute(
            f"insert into {table.sql} select {_BASE}{own} from decoded_rows r "
            f"join eslab.event_log l using (position) join eslab.streams s using (stream_id) "
            f"where l.position between ? and ? order by l.position",
            [rows[0][0], rows[-1][0]],
        )
    if misfits:
        _note(cursor, table.cls.event_type, misfits)


def _note(cursor: duckdb.DuckDBPyConnection, type: str, misfits: Sequence[Misfit]) -> None:
    # What a validator of the user's own says may be no text that can be stored.
    reasons = [misfit.reason.encode(errors="backslashreplace").decode() for misfit in misfits]
    noted = pa.table(
        {
            "type": [type] * len(misfits),
            "position": [misfit.position for misfit in misfits],
            "column": pa.array([misfit.column for misfit in misfits], pa.string()),
            "reason": reasons,
        }
    )
    with lent(cursor, "misfits", noted):
        cursor.execute("insert into eslab.typing_errors from misfits")
