"""Every event type is a table: typed columns, kept up to date with the log when they are asked for.

The table of a type is ``ev.<name>``: the base columns, then one column for each field of its class.
Each event of the type is either a row of it or, if it does not fit the class or a column, a row of
``eslab.typing_errors``; nothing is rounded, nulled or left out. Rows have no order of their own.

``eslab.typed_tables`` has the position that each table has reached, committed with its rows, and a
fingerprint of the class, code of its validators included: a table with another one is built anew,
from the log.

Who needs the rows of a few recent events alone need not wait for the tables: `TypedTables.recent`
has queries that make these rows anew. Meanwhile the tables are behind, but never far.

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
from typing import Any, Final, NamedTuple, Protocol

import duckdb
import pyarrow as pa

from eslab.errors import QueryError, StoreError
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
from eslab.store.port import PROVEN

__all__ = ["TYPED_SCHEMA", "TypedBase", "TypedTables"]

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

BEHIND: Final = 10_000
"""How many positions a table may be behind, so that whoever asks for it next does not wait long."""


@dataclass(frozen=True, slots=True)
class _Table:
    """The table of one event class.

    Attributes:
        name: of the table.
        cls: the class.
        shape: its fields.
        columns: name and form of the column of each field.
        fingerprint: of the class, and of how its events become rows.
        proven: the query for the rows that SQL converts; None if it can convert none.
        recent: the query of `eslab.store.port.Recent`; None if SQL can convert no row.
    """

    name: str
    cls: type[Event]
    shape: Nested
    columns: Mapping[str, tuple[str, Column]]
    fingerprint: str
    proven: str | None
    recent: str | None

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
        proven = _proven(shape, columns) if shape.exact else None
        recent = _recent(event, shape, columns) if shape.exact else None
        return cls(name, event, shape, columns, digest, proven, recent)

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


class _Held(NamedTuple):
    """What is known of a table that is there: the row of it in ``eslab.typed_tables``."""

    type: str
    fingerprint: str
    position: int


_BASE: Final = (
    "l.position, s.name as stream_id, l.version, l.occurred_at, l.recorded_at, l.event_id"
)


class Counts(Protocol):
    """Says how many events of each of some types there are in a part of the log."""

    def __call__(self, types: Iterable[str], *, after: int, until: int) -> Mapping[str, int]:
        """Return the number of each type that has some in (after, until]."""
        ...


class TypedBase(NamedTuple):
    """Other tables of event types, of which some rows are the same.

    Attributes:
        catalog: where they are, as SQL has it.
        until: the last position up to which the log is the same.
    """

    catalog: str
    until: int


class TypedTables:
    """The tables of the event types of one registry.

    Args:
        registry: its classes are the tables; one that is registered later is one too.
        counts: says how many events of each type there are; see `eslab.store.port.ReadModels`.
        base: what is there already in other tables, of a branch.

    Attributes:
        passed: the tables that may be behind because somebody had their rows by `recent`.
    """

    def __init__(
        self, registry: EventRegistry, counts: Counts, *, base: TypedBase | None = None
    ) -> None:
        self._registry = registry
        self._counts = counts
        self._base = base
        self._made: dict[str, _Table] = {}
        self._held: Mapping[str, _Held] | None = None  # None when nobody knows
        self.passed: set[str] = set()
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
        with self._lock:
            held = self._known(cursor)
        for name, (type, _, position) in held.items():
            if name in words and name not in tables and position < until:
                raise QueryError(
                    f"{name} is the table of the event type {type!r}, whose class this lab does "
                    f"not know, and it is behind the log: register the class, or query events "
                    f"where type = {literal(type)}"
                )
        self.refresh(cursor, tables if words & _ALL else words & tables.keys(), until=until)

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
            wanted = [self._table(name, classes[name]) for name in sorted(tables)]
            held = self._known(cursor)
            self._held = None  # what fails here may have been committed, or not
            self._held = {**held, **self._bring_up(cursor, wanted, held, until)}

    def recent(self, types: Iterable[str], *, until: int) -> dict[str, str] | None:
        """Return the queries that give rows of tables that these do not have yet.

        Args:
            types: of events; the tables are theirs.
            until: the position that the queries lead to.

        Returns:
            The query of each table by its name, as `eslab.store.port.Recent` has them; None if one
            is not to be used, and the tables are to be refreshed.
        """
        queries = {}
        with self._lock:
            held = self._held or {}
            for type in types:
                table = self._table(table_name(type), self._registry[type])
                known = held.get(table.name)
                if table.recent is None or known is None or known.fingerprint != table.fingerprint:
                    return None
                if until - known.position > BEHIND:
                    return None
                queries[table.name] = table.recent
            self.passed |= queries.keys()
        return queries

    def _known(self, cursor: duckdb.DuckDBPyConnection) -> Mapping[str, _Held]:
        """Return what is known of all tables that are there; nobody else changes them."""
        if self._held is None:
            query = "select name, type, fingerprint, position from eslab.typed_tables"
            rows = cursor.execute(query).fetchall()
            self._held = {name: _Held(*found) for name, *found in rows}
        return self._held

    def _bring_up(
        self,
        cursor: duckdb.DuckDBPyConnection,
        tables: Iterable[_Table],
        held: Mapping[str, _Held],
        until: int,
    ) -> dict[str, _Held]:
        """Bring tables up: each that is made anew by itself, all others together.

        Returns:
            What became of those that were behind.
        """
        became, behind = {}, []
        for table in tables:
            type, fingerprint, position = held.get(table.name, (table.cls.event_type, None, 0))
            if fingerprint != table.fingerprint:
                self._make(cursor, table, type, until)
            elif position < until:
                behind.append((table, position))
            else:
                continue
            became[table.name] = _Held(table.cls.event_type, table.fingerprint, until)
        if behind:
            self._catch_up(cursor, behind, until)
        return became

    def _make(
        self, cursor: duckdb.DuckDBPyConnection, table: _Table, type: str, until: int
    ) -> None:
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
            self._fill(cursor, [table], self._taken(cursor, table, until), until)
            cursor.execute(
                "insert into eslab.typed_tables values (?, ?, ?, ?)",
                [table.name, table.cls.event_type, until, table.fingerprint],
            )

    def _taken(self, cursor: duckdb.DuckDBPyConnection, table: _Table, until: int) -> int:
        """Copy the rows that other tables have, and return up to which position."""
        if self._base is None:
            return 0
        catalog, last = self._base
        found = cursor.execute(
            f"select position from {catalog}.eslab.typed_tables where name = ? and fingerprint = ?",
            [table.name, table.fingerprint],
        ).fetchall()
        if not found:
            return 0
        after = min(found[0][0], last, until)
        cursor.execute(
            f"insert into {table.sql} from {catalog}.{table.sql} where position <= ?", [after]
        )
        cursor.execute(
            f"insert into eslab.typing_errors from {catalog}.eslab.typing_errors "
            "where type = ? and position <= ?",
            [table.cls.event_type, after],
        )
        return int(after)

    def _catch_up(
        self,
        cursor: duckdb.DuckDBPyConnection,
        tables: Sequence[tuple[_Table, int]],
        until: int,
    ) -> None:
        """Bring tables from their positions up to another one, all or none.

        Raises:
            StoreError: they are elsewhere, since somebody else brought them up.
        """
        with commit(cursor):
            for after in sorted({position for _, position in tables}):  # mostly they are at one
                some = [table for table, position in tables if position == after]
                self._fill(cursor, some, after, until)
                update = (
                    "update eslab.typed_tables set position = ? where position = ? "
                    f"and name in ({texts(table.name for table in some)})"
                )
                ((moved,),) = cursor.execute(parsed(cursor, update), [until, after]).fetchall()
                if moved != len(some):
                    raise StoreError(
                        f"the tables of event types are no longer at position {after}: another "
                        f"lab brought them up; ask again"
                    )

    def _fill(
        self,
        cursor: duckdb.DuckDBPyConnection,
        tables: Sequence[_Table],
        after: int,
        until: int,
    ) -> None:
        """Make a row of a table, or of typing_errors, of each event in (after, until].

        Args:
            cursor: has a transaction open.
            tables: the tables.
            after: the position that they have reached.
            until: the position that they are to reach.
        """
        types = [table.cls.event_type for table in tables]
        counts = self._counts(types, after=after, until=until)
        for table in tables:
            if events := counts.get(table.cls.event_type, 0):
                _convert(cursor, table, [table.cls.event_type, after, until], events)

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


def _convert(
    cursor: duckdb.DuckDBPyConnection, table: _Table, span: Sequence[Any], events: int
) -> None:
    """Make a row of the table, or of typing_errors, of each event of a span.

    Args:
        cursor: has a transaction open.
        table: the table.
        span: its type, and the positions after which and until which they are.
        events: how many these are.
    """
    proven = 0
    if table.proven is not None:
        insert = parsed(cursor, f"insert into {table.sql} {table.proven}")
        ((proven,),) = cursor.execute(insert, [*span, table.cls.schema_version]).fetchall()
    if proven == events:
        return
    for rows in _unproven(cursor, table, span):
        _insert_decoded(cursor, table, rows)


def _proven(shape: Nested, columns: Mapping[str, tuple[str, Column]]) -> str:
    """Return the query for the rows that SQL converts, over type, after, until, schema version."""
    values = "".join(f", {value}" for value in _values(columns).values())
    return (
        f"select {_BASE}{values} from ({_wired(shape)} "
        f"where type = ? and position > ? and position <= ? and schema_version = ?) l "
        f"join eslab.streams s using (stream_id) where {_proofs(shape)} order by l.position"
    )


def _recent(event: type[Event], shape: Nested, columns: Mapping[str, tuple[str, Column]]) -> str:
    """Return the query for the rows of a few events, of which it says whether they are proven.

    No join gives the stream: for one event it would take as long as all else.
    """
    kinds = dict(columns.values())
    values = "".join(
        f", ({value})::{kinds[name].sql} as {quoted(name)}"
        for name, value in _values(columns).items()
    )
    return (
        f"select (l.schema_version = {event.schema_version} and {_proofs(shape)}) is true "
        f"as {quoted(PROVEN)}, l.position, $3[l.position - $1] as stream_id, l.version, "
        f"l.occurred_at, l.recorded_at, l.event_id{values} from ({_wired(shape)} "
        f"where type = {literal(event.event_type)} and position > $1 and position <= $2) l"
    )


def _wired(shape: Nested) -> str:
    """Return the query for the log, with the wire values of the data."""
    wire = f"json_transform(data, {structure(shape)})" if shape.fields else "null"
    # Unnested, or DuckDB would take each proof apart from it and convert the data once for each.
    return f"select * replace (data::varchar as data), unnest([{wire}]) as w from eslab.event_log"


def _proofs(shape: Nested) -> str:
    if not shape.fields:
        return "data = '{}'"
    return f"to_json(w)::varchar = data and {proof(shape, 'w')}"


def _values(columns: Mapping[str, tuple[str, Column]]) -> dict[str, str]:
    return {name: value(column, f"w.{quoted(field)}") for field, (name, column) in columns.items()}


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
