"""The tables of events as a query is to see them: only what happened in a part of the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from eslab.errors import ProjectionError
from eslab.events import Event
from eslab.schema.columns import BASE_COLUMNS, event_columns
from eslab.schema.naming import literal, quoted, table_name, texts
from eslab.schema.shapes import event_shape
from eslab.store.port import ReadModels

__all__ = ["Window", "empty_table", "fitting", "over_empty"]

_EVENTS_COLUMNS = {
    "position": "bigint",
    "stream_id": "varchar",
    "category": "varchar",
    "version": "integer",
    "type": "varchar",
    "schema_version": "integer",
    "event_id": "uuid",
    "tags": "varchar[]",
    "data": "json",
    "metadata": "json",
    "occurred_at": "timestamptz",
    "recorded_at": "timestamptz",
}


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the log.

    Attributes:
        types: only events of these types.
        after: only positions above this one.
        until: only positions up to this one.
        occurred: only what had happened by then.
        category: only events in streams of this category.
        tags: only events that have all of these tags.
    """

    types: tuple[str, ...]
    after: int = 0
    until: int | None = None
    occurred: datetime | None = None
    category: str | None = None
    tags: tuple[str, ...] = ()

    def condition(self, table: str = "") -> str:
        """Return the condition for the events of it, whatever table they are in.

        Args:
            table: what the table is called where the condition stands, with a point behind.
        """
        parts = [f"{table}position > {self.after}"]
        if self.until is not None:
            parts.append(f"{table}position <= {self.until}")
        if self.occurred is not None:
            parts.append(f"{table}occurred_at <= timestamptz {literal(self.occurred.isoformat())}")
        return " and ".join(parts)

    def wanted(self, table: str = "") -> str:
        """Return the condition with category and tags, which only the log knows."""
        if self.category is None and not self.tags:
            return self.condition(table)
        inside = [self.condition("l.")]
        if self.category is not None:
            inside.append(f"s.category = {literal(self.category)}")
        if self.tags:
            inside.append(f"list_has_all(l.tags, [{texts(self.tags)}])")
        return (
            f"{self.condition(table)} and {table}position in (select l.position "
            f"from eslab.event_log l join eslab.streams s using (stream_id) "
            f"where {' and '.join(inside)})"
        )

    def of_parameters(self) -> Window:
        """Return it with the parameters ``$1`` and ``$2`` of a statement for after and until."""
        return _Parametrised(self.types, category=self.category, tags=self.tags)

    def misfits(self, types: Iterable[str]) -> str:
        """Return what is behind the columns of a query for its events that fit no table."""
        where = f"type in ({texts(types) or 'null'}) and {replace(self, occurred=None).wanted()}"
        if self.occurred is not None:
            by_then = f"select position from eslab.event_log where {self.condition()}"
            where += f" and position in ({by_then})"
        return f"from eslab.typing_errors where {where}"

    def over(
        self,
        query: str,
        tables: Iterable[str],
        columns: Sequence[str] = ("*",),
        *,
        instead: Mapping[str, str] | None = None,
    ) -> str:
        """Return a query that sees nothing but the events of this part.

        Args:
            query: what is asked.
            tables: those that it reads.
            columns: of its result, as SQL.
            instead: what has the rows of tables of event types in the place of these, as SQL; of
                a table that is not in it there are none.
        """
        seen = [
            f"{quoted(name)} as not materialized ({self._seen(name, instead)})" for name in tables
        ]
        return _within(seen, query, columns)

    def _seen(self, table: str, instead: Mapping[str, str] | None) -> str:
        if table == "events":
            types = f"type in ({texts(self.types)})"
            return f"select * from eslab.events where {types} and {self.wanted()}"
        if instead is None:
            return f"select * from ev.{quoted(table)} where {self.wanted()}"
        if table not in instead:
            return f"select * from ev.{quoted(table)} where false"
        return f"select * from {instead[table]} where {self.wanted()}"


@dataclass(frozen=True, slots=True)
class _Parametrised(Window):
    """Any part of the log: the text of a statement is the same for all batches."""

    def condition(self, table: str = "") -> str:
        return f"{table}position > $1 and {table}position <= $2"


def fitting(store: ReadModels, window: Window, types: Sequence[str], *, where: str) -> Window:
    """Bring the tables of event types up to the head; check that a window's events are rows there.

    Returns:
        The part of the window up to that head: what others append meanwhile is not checked.

    Raises:
        ProjectionError: one is not, because it does not fit its class.
    """
    head = store.refresh(types)
    window = replace(window, until=head if window.until is None else min(window.until, head))
    if not types:
        return window
    with store.transaction() as transaction:
        found = transaction.execute(
            f"select position, concat_ws(': ', \"column\", reason) {window.misfits(types)} "
            f"order by all limit 1"
        )
    if found:
        position, reason = found[0]
        raise ProjectionError(
            f"{where}: the event at position {position} does not fit its class: {reason}; mend the "
            f"class, or ask for what was before that event"
        )
    return window


def over_empty(query: str, tables: Iterable[str], classes: Iterable[type[Event]]) -> str:
    """Return a query that sees tables without a row: it tells the columns of the result."""
    columns = {"events": _EVENTS_COLUMNS}
    columns |= {table_name(event.event_type): empty_table(event) for event in classes}
    seen = [f"{quoted(name)} as ({_no_rows(columns[name])})" for name in tables]
    return _within(seen, query, ("*",))


def empty_table(event: type[Event]) -> dict[str, str]:
    """Return the columns of the table of an event class, each with its type in SQL."""
    shape, names = event_shape(event), event_columns(event)
    own = {names[field]: column.sql for field, column in shape.fields.items()}
    return {**BASE_COLUMNS, **own}


def _no_rows(columns: Mapping[str, str]) -> str:
    nothing = (f"null::{kind} as {quoted(name)}" for name, kind in columns.items())
    return f"select {', '.join(nothing)} where false"


def _within(seen: Sequence[str], query: str, columns: Sequence[str]) -> str:
    # On lines of its own, because it may end with a comment.
    return f"with {', '.join(seen)}\nselect {', '.join(columns)} from (\n{query}\n)"
