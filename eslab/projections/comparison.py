"""Do two projections make the same rows, and if not: from which event on?

Both are folded side by side into private tables, in one transaction that is rolled back: nothing
of the read models that are kept up to date is touched. After each batch the rows are compared. In
the batch after which they differ the place is found by halving it, each time from the rows before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from eslab.errors import InputError
from eslab.events import RecordedEvent
from eslab.progress import progress_bar
from eslab.projections.base import AnyProjection, ProjectionStore, Table, beside
from eslab.schema import EventRegistry
from eslab.schema.naming import quoted
from eslab.store.port import Transaction
from eslab.words import counted

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Comparison", "compare"]

BATCH: Final = 50_000
_NUMBER: Final = re.compile(
    r"(\w*int|u?integer|decimal\(.*\)|double|float|bignum)( not null)?", re.IGNORECASE
)

SHOWN: Final = 1_000
"""Rows that differ, at most, in `Comparison.differences`."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Comparison:
    """What the comparison of two projections found.

    Attributes:
        left: the name of the one.
        right: the name of the other.
        until: the last position that was compared.
        position: the first one after which the rows differ, 0 if they do before the first event;
            None if they never do.
        event: the event there; None if there is none.
        differences: a row for each value that differs then: table, key, column, what is left,
            what is right, and which of them has such a row (``both``, ``left``, ``right``).
    """

    left: str
    right: str
    until: int
    position: int | None
    event: RecordedEvent | None
    differences: pd.DataFrame

    @property
    def equal(self) -> bool:
        """Whether their rows never differ."""
        return self.position is None

    def __bool__(self) -> bool:
        return self.equal

    def __repr__(self) -> str:
        names = f"{self.left} and {self.right}"
        if self.position is None:
            return f"<Comparison {names}: equal up to position {self.until:,}>"
        since = "they differ from the beginning on"
        if self.event is not None:
            equal = f"equal up to position {self.position - 1:,}"
            since = f"{equal}; they differ from {self.event!r} on"
        head = f"<Comparison {names}: {since}, in {counted(len(self.differences), 'value')}>"
        return f"{head}\n{self.differences.head(10).to_string(index=False)}"

    def _repr_html_(self) -> str:
        import html

        first, *_ = repr(self).splitlines()
        table = "" if self.equal else self.differences.to_html(index=False, border=0, max_rows=20)
        return f"<p>{html.escape(first)}</p>{table}"


def compare(
    store: ProjectionStore,
    left: AnyProjection,
    right: AnyProjection,
    registry: EventRegistry,
    *,
    until: int | None = None,
    batch: int = BATCH,
    progress: bool = True,
) -> Comparison:
    """Fold the events by two projections, and find the first position at which their rows differ.

    A difference is looked for after each batch: one that comes and goes within a batch is seen by
    smaller ones, at the latest by batches of 1.

    Args:
        store: the events.
        left: in Python or in SQL.
        right: another one, with the same columns and keys.
        registry: which class stands for which type; their events are registered in it.
        until: the last position; by default the head.
        batch: positions between two comparisons.
        progress: draw a progress bar on stderr, if that is a terminal or a notebook.

    Raises:
        InputError: their columns or keys are others, or an argument cannot be used.
        ProjectionError: one of them fails.
    """
    for each in (left, right):
        if not isinstance(each, AnyProjection):
            raise InputError(f"compare() takes projections, such as Orders(): {each!r:.200}")
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise InputError(f"batch is a number of positions from 1, not {batch!r}")
    if until is not None and (isinstance(until, bool) or not isinstance(until, int) or until < 0):
        raise InputError(f"until is a position, a whole number from 0, not {until!r}")
    sides = _Side(left, store, registry, "left"), _Side(right, store, registry, "right")
    pairs = _pairs(*sides)
    last = store.head() if until is None else min(until, store.head())
    for side in sides:
        side.bring_up()
    position, rows = None, []
    with suppress(_RolledBack), store.transaction() as transaction:
        search = _Search(transaction, sides, pairs)
        with progress_bar(total=last, description="comparing", progress=progress) as bar:
            position = search.first_difference(last, batch, report=bar.update)
        if position is not None:
            rows = [row for pair in pairs for row in pair.differences(transaction)]
        raise _RolledBack
    event = None
    if position:
        (event,) = store.read_all(after=position - 1, until=position)
    return Comparison(left.name, right.name, last, position, event, _frame(rows))


_numbers = count(1)


class _RolledBack(Exception):  # noqa: N818 - nothing went wrong
    """Ends the transaction of a comparison: nothing of it is kept."""


class _Side:
    """One of two projections, folded into tables of its own."""

    def __init__(
        self, projection: AnyProjection, store: ProjectionStore, registry: EventRegistry, name: str
    ) -> None:
        self.projection = projection
        self.shapes = projection.tables_of(store, registry)
        for event in projection.event_classes.values():
            registry.register(event)
        # Others may compare at the same time, and two tables of one name would be in conflict.
        self.names = {
            table: f"rm.{quoted(f'{table}~{name}~{next(_numbers)}')}" for table in self.shapes
        }
        self._applier = projection.applier(store, registry, self.names)

    def bring_up(self) -> None:
        """Let the tables that it reads be complete before the transaction begins."""
        self._applier.bring_up()

    def begin(self, transaction: Transaction) -> None:
        for table, shape in self.shapes.items():
            transaction.execute(shape.definition(self.names[table]))
        self._applier.begin(transaction)
        self.keep(transaction)

    def keep(self, transaction: Transaction) -> None:
        """Keep the rows as they are, to return to them."""
        for name in self.names.values():
            transaction.execute(f"create or replace table {_kept(name)} as from {name}")

    def return_(self, transaction: Transaction) -> None:
        """Return to the rows that were kept."""
        for table, name in self.names.items():
            transaction.execute(f"drop table {name}")
            transaction.execute(self.shapes[table].definition(name))
            transaction.execute(f"insert into {name} from {_kept(name)}")
        self._applier.forget()

    def fold(self, transaction: Transaction, after: int, until: int) -> None:
        while after < until:
            batch = self._applier.read(after, until=until)
            if batch is None:
                return
            self._applier.apply(transaction, batch)
            after = batch.scanned


def _kept(table: str) -> str:
    return beside(table, "~kept")


@dataclass(frozen=True, slots=True)
class _Pair:
    """The tables of the two sides that are to have the same rows."""

    name: str
    shape: Table
    left: str
    right: str

    def differ(self, transaction: Transaction) -> bool:
        columns = ", ".join(map(quoted, self.shape.columns))
        left, right = (f"select {columns} from {name}" for name in (self.left, self.right))
        ((found,),) = transaction.execute(
            f"select exists ({left} except {right}) or exists ({right} except {left})"
        )
        return bool(found)

    def differences(self, transaction: Transaction) -> list[tuple[Any, ...]]:
        """Return each value that differs: table, key, column, left, right, in which."""
        key = [quoted(name) for name in self.shape.key]
        others = [name for name in self.shape.columns if name not in self.shape.key]
        same = " and ".join(f"l.{name} = r.{name}" for name in key)
        wrong = [f"l.{quoted(name)} is distinct from r.{quoted(name)}" for name in others]
        alone = [f"l.{key[0]} is null", f"r.{key[0]} is null"]
        keys = ", ".join(f"coalesce(l.{name}, r.{name}) as k{at}" for at, name in enumerate(key))
        values = "".join(f", l.{quoted(name)}, r.{quoted(name)}" for name in others)
        found = transaction.execute(
            f"select {keys}, {alone[0]}, {alone[1]}{values} from {self.left} l "
            f"full join {self.right} r on {same} where {' or '.join([*alone, *wrong])} "
            f"order by {', '.join(f'k{at}' for at in range(len(key)))} limit {SHOWN}"
        )
        return [each for row in found for each in self._told(row, others)]

    def _told(self, row: Sequence[Any], others: Sequence[str]) -> list[tuple[Any, ...]]:
        size = len(self.shape.key)
        key = row[0] if size == 1 else tuple(row[:size])
        only_right, only_left = row[size], row[size + 1]
        where = "right" if only_right else "left" if only_left else "both"
        if not others:
            return [(self.name, key, None, None, None, where)]
        pairs = list(zip(row[size + 2 :: 2], row[size + 3 :: 2], strict=True))
        return [
            (self.name, key, column, left, right, where)
            for column, (left, right) in zip(others, pairs, strict=True)
            if where != "both" or not _same(left, right)
        ]


def _same(left: Any, right: Any) -> bool:
    return bool(left == right) or (left != left and right != right)  # noqa: PLR0124 - nan


class _Search:
    """Folds two sides along, and finds where their rows begin to differ."""

    def __init__(
        self, transaction: Transaction, sides: Sequence[_Side], pairs: Sequence[_Pair]
    ) -> None:
        self._transaction = transaction
        self._sides = sides
        self._pairs = pairs
        for side in sides:
            side.begin(transaction)

    def first_difference(self, last: int, batch: int, *, report: Any) -> int | None:
        """Return the first position after which the rows differ, and leave them as they are then.

        Args:
            last: the last position.
            batch: positions between two comparisons.
            report: is told how many positions were compared.
        """
        if self._differ():
            return 0
        for after in range(0, last, batch):
            until = min(after + batch, last)
            self._fold(after, until)
            if self._differ():
                return self._halve(after, until)
            self._keep()
            report(until - after)
        return None

    def _halve(self, equal: int, different: int) -> int:
        """Find the place between a position after which the rows are equal and one where not."""
        while different - equal > 1:
            middle = (equal + different) // 2
            self._return()
            self._fold(equal, middle)
            if self._differ():
                different = middle
            else:
                self._keep()
                equal = middle
        self._return()
        self._fold(equal, different)
        return different

    def _fold(self, after: int, until: int) -> None:
        for side in self._sides:
            side.fold(self._transaction, after, until)

    def _differ(self) -> bool:
        return any(pair.differ(self._transaction) for pair in self._pairs)

    def _keep(self) -> None:
        for side in self._sides:
            side.keep(self._transaction)

    def _return(self) -> None:
        for side in self._sides:
            side.return_(self._transaction)


def _pairs(left: _Side, right: _Side) -> list[_Pair]:
    """Return which tables are compared: those of one name, or the only ones.

    Raises:
        InputError: their columns or keys are others.
    """
    tables: Mapping[str, str] = {name: name for name in left.shapes}
    if len(left.shapes) == len(right.shapes) == 1:
        tables = dict(zip(left.shapes, right.shapes, strict=True))
    elif left.shapes.keys() != right.shapes.keys():
        raise InputError(
            f"{left.projection!r} has the tables {', '.join(left.shapes)}, and "
            f"{right.projection!r} {', '.join(right.shapes)}: compare projections of the same ones"
        )
    for name, other in tables.items():
        one, two = left.shapes[name], right.shapes[other]
        if odd := sorted(one.columns.keys() ^ two.columns.keys()):
            raise InputError(
                f"{name} and {other} can be compared when they have the same columns; only one of "
                f"them has {', '.join(odd)}"
            )
        for column, kind in one.columns.items():
            if _is_number(kind) != _is_number(two.columns[column]):
                raise InputError(
                    f"{name} and {other} can be compared when their columns are of one kind; "
                    f"{column!r} is a {kind} and a {two.columns[column]}"
                )
        if set(one.key) != set(two.key):
            raise InputError(
                f"{name} and {other} can be compared when they have the same key; found "
                f"{', '.join(one.key)} and {', '.join(two.key)}"
            )
    return [
        _Pair(name, left.shapes[name], left.names[name], right.names[other])
        for name, other in tables.items()
    ]


def _is_number(kind: str) -> bool:
    """Say whether a type is one of numbers: SQL takes ``'5'`` for 5, and cannot so take ``'a'``."""
    return _NUMBER.fullmatch(kind) is not None


def _frame(rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    import pandas as pd

    columns = ["table", "key", "column", "left", "right", "in"]
    return pd.DataFrame(list(rows), columns=columns, dtype=object)
