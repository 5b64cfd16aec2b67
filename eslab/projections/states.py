"""The states of all streams at once, folded in SQL: at a position, or after every event.

One definition serves both. At a position each rule is an aggregate over the events of a stream;
after every event it is the same rule over the events up to that one, as a window function.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from eslab.errors import ProjectionError, QueryError
from eslab.events import AsOf, Event
from eslab.projections.base import ProjectionStore
from eslab.projections.query import parsed_query
from eslab.projections.windows import Window, fitting, over_empty
from eslab.schema import EventRegistry
from eslab.schema.naming import quoted, table_name
from eslab.store.result import Result

__all__ = ["StreamFold", "states"]

PLACE: Final = ("stream_id", "version", "position")


class _Rule(NamedTuple):
    """A rule in SQL: over the events of a stream, and over those up to each one."""

    grouped: str
    running: str


_RULES: Final[Mapping[str, _Rule]] = {
    "sum": _Rule("sum({})", "sum({}) over so_far"),
    "count": _Rule("count({})", "count({}) over so_far"),
    "min": _Rule("min({})", "min({}) over so_far"),
    "max": _Rule("max({})", "max({}) over so_far"),
    "first": _Rule("arg_min({}, version)", "first_value({} ignore nulls) over so_far"),
    "last": _Rule("arg_max({}, version)", "last_value({} ignore nulls) over so_far"),
}
_CALL: Final = re.compile(r"\s*(\w+)\s*\((.*)\)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class StreamFold:
    """How the events of a stream become its state, in SQL.

    Args:
        rows: a query that gives one row for each event, with ``stream_id``, ``version`` and
            ``position``: a SELECT from the table of a type, or several by ``union all``.
        state: the columns of the state, each a rule over a value of `rows`: ``sum(...)``,
            ``count(...)``, ``min(...)``, ``max(...)``, ``first(...)`` or ``last(...)`` that is
            not NULL.
        events: the classes of the events that it reads.
        category: only streams of this category.

    Raises:
        ProjectionError: one of these cannot be used.

    Example:
        >>> import eslab
        >>> class Deposited(eslab.Event):
        ...     amount: int
        >>> balance = StreamFold(
        ...     "select * from deposited",
        ...     state={"balance": "sum(amount)", "entries": "count(*)"},
        ...     events=(Deposited,),
        ... )
        >>> with eslab.Lab(seed=7) as lab:
        ...     _ = lab.append("account-1", [Deposited(amount=30), Deposited(amount=12)])
        ...     _ = lab.append("account-2", [Deposited(amount=5)])
        ...     lab.states(balance).fetchall()
        ...     lab.states(balance, every=True).fetchall()
        [('account-1', 2, 2, 42, 2), ('account-2', 1, 3, 5, 1)]
        [('account-1', 1, 1, 30, 1), ('account-1', 2, 2, 42, 2), ('account-2', 1, 3, 5, 1)]
    """

    rows: str
    state: Mapping[str, str] = field(kw_only=True)
    events: tuple[type[Event], ...] = field(kw_only=True)
    category: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.rows, str) or not self.rows.strip(" \n\t;"):
            raise ProjectionError(f"rows is one SELECT over the tables of events: {self.rows!r}")
        object.__setattr__(self, "rows", self.rows.strip().rstrip("; \n\t"))
        if not self.state or not isinstance(self.state, Mapping):
            raise ProjectionError(
                f"state gives the columns of a state, such as {{'balance': 'sum(amount)'}}: "
                f"{self.state!r}"
            )
        for column, rule in self.state.items():
            _parts(column, rule)
        if len({column.lower() for column in self.state}) < len(self.state):
            raise ProjectionError(f"SQL does not tell capitals: {', '.join(self.state)}")
        if (
            not isinstance(self.events, tuple)
            or not self.events
            or not all(isinstance(each, type) and issubclass(each, Event) for each in self.events)
        ):
            raise ProjectionError(f"events are classes of events, in a tuple: {self.events!r}")


def states(
    store: ProjectionStore,
    fold: StreamFold,
    registry: EventRegistry,
    *,
    as_of: AsOf | None = None,
    every: bool = False,
) -> Result:
    """Return the state of each stream at a time, or after each of its events up to then.

    Args:
        store: the log.
        fold: how events become states.
        registry: which class stands for which type; the fold's are registered in it.
        as_of: only what was recorded, or had happened, by then; by default all.
        every: after every event, and not only the last state of each stream.

    Returns:
        A row for each stream, or for each event: ``stream_id``, ``version`` and ``position`` of
        the last event in it, and the columns of the state; in the order of position.

    Raises:
        ProjectionError: the fold's query cannot be used, or an event does not fit its class.
    """
    for event in fold.events:
        registry.register(event)
    types = {table_name(event.event_type): event.event_type for event in fold.events}
    own = frozenset({"events", *types})
    folds = (_called(column, rule).grouped for column, rule in fold.state.items())
    asked = f"select {', '.join(folds)} from (\n{fold.rows}\n)"
    parsed = parsed_query(store, asked, where="a StreamFold", own=own)
    parsed.require_folds_of_rows(list(fold.state))
    tables = tuple(sorted(parsed.tables))
    casts = _casts(store, fold, tables)
    typed = [types[name] for name in tables if name in types]
    window = fitting(store, _window(store, fold, as_of), typed, where="a StreamFold")
    rows = window.over(fold.rows, tables)
    return store.sql(_every(fold, rows, casts) if every else _at(fold, rows, casts))


def _at(fold: StreamFold, rows: str, casts: Mapping[str, str]) -> str:
    columns = "".join(
        f", {_called(column, rule).grouped}{casts[column]} as {quoted(column)}"
        for column, rule in fold.state.items()
    )
    return (
        f"select stream_id, max(version) as version, max(position) as position{columns} "
        f"from ({rows}) group by stream_id order by position"
    )


def _every(fold: StreamFold, rows: str, casts: Mapping[str, str]) -> str:
    columns = "".join(
        f", ({_called(column, rule).running}){casts[column]} as {quoted(column)}"
        for column, rule in fold.state.items()
    )
    return (
        f"select stream_id, version, position{columns} from ({rows}) window so_far as "
        f"(partition by stream_id order by version rows unbounded preceding) "
        f"order by position"
    )


def _parts(column: str, rule: Any) -> tuple[_Rule, str]:
    """Return the rule of a column, and what it is of.

    Raises:
        ProjectionError: it is none.
    """
    call = _CALL.fullmatch(rule) if isinstance(rule, str) else None
    if call is None or call[1].lower() not in _RULES or not call[2].strip():
        raise ProjectionError(
            f"{column!r} is one of {', '.join(f'{name}(...)' for name in _RULES)}, not {rule!r}"
        )
    if column.lower() in PLACE or not column.isidentifier():
        raise ProjectionError(f"{column!r} cannot be a column of a state: give it another name")
    return _RULES[call[1].lower()], call[2].strip()


def _called(column: str, text: str) -> _Rule:
    rule, value = _parts(column, text)
    return _Rule(rule.grouped.format(value), rule.running.format(value))


def _casts(store: ProjectionStore, fold: StreamFold, tables: tuple[str, ...]) -> dict[str, str]:
    """Return what makes a 64-bit number of a sum of whole numbers, by columns."""
    rows = over_empty(fold.rows, tables, fold.events)
    none = dict.fromkeys(fold.state, "")
    try:
        found = store.sql(
            f"select column_name, column_type from (describe {_at(fold, rows, none)})"
        ).fetchall()
    except QueryError as error:
        raise ProjectionError(
            f"a StreamFold: its states cannot be asked for: {error}; rows gives stream_id, version "
            f"and position, and what the rules are over"
        ) from error
    kinds = dict(found)
    for column, rule in fold.state.items():
        if kinds[column] in ("DOUBLE", "FLOAT") and rule.strip().lower().startswith("sum"):
            raise ProjectionError(
                f"{column!r} is a sum of floats, whose last digits depend on the order in which "
                f"they are added: sum decimals or integers, sum(value::decimal(18, 6))"
            )
    return {column: "::bigint" if kinds[column] == "HUGEINT" else "" for column in fold.state}


def _window(store: ProjectionStore, fold: StreamFold, as_of: AsOf | None) -> Window:
    types = tuple(sorted(event.event_type for event in fold.events))
    if as_of is None:
        return Window(types, category=fold.category)
    until = store.position_at(as_of.recorded) if as_of.recorded is not None else as_of.position
    return Window(types, until=until, occurred=as_of.occurred, category=fold.category)
