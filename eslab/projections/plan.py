"""The query of a projection, checked: the columns that it gives, and how its results are merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from eslab.errors import ProjectionError, QueryError
from eslab.projections.base import Table
from eslab.projections.query import FITTING, parsed_query
from eslab.projections.windows import Window, over_empty
from eslab.schema.naming import quoted, table_name
from eslab.store.port import PROVEN, ReadModels

if TYPE_CHECKING:
    from eslab.projections.sql import SqlProjection

__all__ = ["MERGED", "RECOMPUTE", "SqlPlan", "sql_plan"]

RECOMPUTE: Final = "recompute"

MERGED: Final[Mapping[str, str]] = {
    "sum": "coalesce({old} + {new}, {old}, {new})",
    "count": "coalesce({old} + {new}, {old}, {new})",
    "min": "least({old}, {new})",
    "max": "greatest({old}, {new})",
    "first": "coalesce({old}, {new})",
    "last": "coalesce({new}, {old})",
}
"""What each rule makes of the value that is held and that of a batch; NULL is none, as in SQL."""

_INEXACT: Final = frozenset({"DOUBLE", "FLOAT"})

_NO_KEYS: Final = ("STRUCT", "MAP", "UNION", "VARIANT", "INTERVAL")
"""Types of which DuckDB keeps no index; nor does it of lists."""


@dataclass(frozen=True, slots=True)
class SqlPlan:
    """A query that was checked, and what it makes.

    Attributes:
        query: its text.
        nothing: it, as it is over tables without a row.
        tables: those that it reads.
        types: the types of events whose tables these are.
        table: the shape of the read model.
        rules: by which results are merged; None, if they are not.
    """

    query: str
    nothing: str
    tables: tuple[str, ...]
    types: tuple[str, ...]
    table: Table
    rules: Mapping[str, str] | None

    def result(self, window: Window, *, instead: Mapping[str, str] | None = None) -> str:
        """Return the query for the rows that the events of a part of the log make.

        Args:
            window: the part.
            instead: see `Window.over`.
        """
        columns = [
            f"{quoted(name)}::{kind} as {quoted(name)}" for name, kind in self.table.columns.items()
        ]
        return window.over(self.query, self.tables, columns, instead=instead)

    def merge_into(self, table: str, window: Window) -> str:
        """Return the statement that merges what happened in a window into a table."""
        return self._merge(table, self.result(window))

    def merge_recent(self, table: str, window: Window, queries: Mapping[str, str]) -> str:
        """Return the statement that merges what a few recent events make into a table.

        It fails if there are not ``$4`` of them that are proven. To count them it takes one more
        row than the result has, because no other part of a statement is sure to be run whatever
        the query makes of the events.

        Args:
            table: what the table is called in SQL.
            window: where the events are.
            queries: see `eslab.store.port.Recent`.
        """
        proven, logs = quoted(PROVEN), {name: quoted(f"{name}~log") for name in queries}
        listed = ", ".join(f"{logs[name]} as materialized ({queries[name]})" for name in queries)
        rows = self.result(
            window,
            instead={
                name: f"(select * exclude ({proven}) from {log})" for name, log in logs.items()
            },
        )
        found = " + ".join(
            f"(select count(*) filter ({proven}) from {log})" for log in logs.values()
        )
        nothing = ", ".join(["null"] * len(self.table.columns))
        return self._merge(
            table,
            f"with {listed} select *, null::bigint as {proven} from ({rows}) "
            f"union all select {nothing}, {found}",
            counted=f"when not matched and made.{proven} <> $4 then error 'not all are proven' "
            f"when not matched and made.{proven} is null",
        )

    def _merge(self, table: str, result: str, *, counted: str = "when not matched") -> str:
        assert self.rules is not None
        names = [quoted(name) for name in self.table.columns]
        same = " and ".join(f"held.{name} = made.{name}" for name in map(quoted, self.table.key))
        merged = ", ".join(
            f"{quoted(column)} = "
            + MERGED[rule].format(old=f"held.{quoted(column)}", new=f"made.{quoted(column)}")
            for column, rule in self.rules.items()
        )
        matched = f"when matched then update set {merged} " if merged else ""
        return (
            f"merge into {table} as held using ({result}) as made on {same} {matched}"
            f"{counted} then insert ({', '.join(names)}) "
            f"values ({', '.join(f'made.{name}' for name in names)})"
        )


def sql_plan(projection: SqlProjection, store: ReadModels) -> SqlPlan:
    """Check the query of a projection, and find out which columns it gives.

    Raises:
        ProjectionError: it cannot be that of a projection.
    """
    where, classes = type(projection).__qualname__, projection.event_classes
    types = {table_name(type_name): type_name for type_name in classes}
    own = frozenset({"events", *types})
    parsed = parsed_query(
        store,
        projection.query,
        where=where,
        own=own,
        otherwise="; or leave merge out, and it is computed anew as a whole",
    )
    tables = tuple(sorted(parsed.tables))
    empty = over_empty(projection.query, tables, classes.values())
    try:
        found = store.sql(f"select column_name, column_type from (describe {empty})").fetchall()
    except QueryError as error:
        raise ProjectionError(f"{where}: its query cannot be run: {error}") from error
    columns = {
        name: "BIGINT" if kind == "HUGEINT" and name not in projection.key_columns else kind
        for name, kind in found
    }
    _require_columns(where, columns, projection)
    if projection.rules is not None:
        parsed.require_mergeable(list(columns), projection.rules)
        _require_exact_sums(where, columns, projection.rules)
    read = tuple(types[name] for name in tables if name in types)
    table = Table(columns, projection.key_columns)
    return SqlPlan(projection.query, empty, tables, read, table, projection.rules)


def _require_columns(where: str, columns: Mapping[str, str], projection: SqlProjection) -> None:
    """Check that the query gives the key, and exactly the columns that have rules."""
    listed = ", ".join(columns)
    key, rules = projection.key_columns, projection.rules
    odd: Sequence[str] = [
        name for name in columns if not name.isidentifier() or name.lower() != name
    ]
    if odd:
        raise ProjectionError(
            f"{where}: these cannot be columns of a read model: {', '.join(odd)}; name them in "
            f"small letters: {odd[0]} as ..."
        )
    if missing := [name for name in key if name not in columns]:
        raise ProjectionError(
            f"{where}: its query gives no {missing[0]!r}, which is in the key; it gives: {listed}"
        )
    if odd := [
        name for name in key if columns[name].endswith("]") or columns[name].startswith(_NO_KEYS)
    ]:
        raise ProjectionError(
            f"{where}: {odd[0]!r} is a {columns[odd[0]]}, and that cannot be in the key: take its "
            f"parts, or its text, {odd[0]}::varchar as ..."
        )
    if rules is None:
        return
    if unknown := [name for name in rules if name not in columns]:
        raise ProjectionError(
            f"{where}: its query gives no {unknown[0]!r}, which has a rule; it gives: {listed}"
        )
    if missing := [name for name in columns if name not in rules and name not in key]:
        raise ProjectionError(
            f"{where}: {missing[0]!r} has no rule, and is not in the key: "
            f"merge = {{{missing[0]!r}: ...}}, one of {', '.join([*FITTING, RECOMPUTE])}"
        )


def _require_exact_sums(where: str, columns: Mapping[str, str], rules: Mapping[str, str]) -> None:
    floats = [name for name, rule in rules.items() if rule == "sum" and columns[name] in _INEXACT]
    if floats:
        raise ProjectionError(
            f"{where}: {floats[0]!r} is a sum of floats, whose last digits depend on the order in "
            f"which they are added: sum decimals or integers, sum(value::decimal(18, 6))"
        )
