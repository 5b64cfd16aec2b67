"""The read side as of another time: any read model, and what else can be asked of the log then.

Only what is asked for is made again: a projection in SQL by one query over the events of then, one
in Python by folding them. If the table of a read model is just as far, it is read as it is.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from eslab.aggregates import Definition, Repository, Sourced
from eslab.errors import InputError
from eslab.events import AsOf, Event, Query, RecordedEvent
from eslab.projections.base import AnyProjection, ProjectionStore, Table
from eslab.projections.folding import fold
from eslab.projections.projection import Projection
from eslab.projections.sql import SqlProjection
from eslab.projections.states import StreamFold, states
from eslab.projections.windows import Window, fitting
from eslab.schema import EventRegistry
from eslab.schema.naming import quoted, texts
from eslab.store.port import Transaction
from eslab.store.result import Result
from eslab.subscriptions.delivery import left_out
from eslab.words import counted

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Past", "PastReadModel", "read_model_as_of"]

T = TypeVar("T", bound=Sourced)
Source = Literal["table", "query", "fold"]

_TOLD: Final[Mapping[Source, str]] = {
    "table": "read from its table",
    "query": "by a query",
    "fold": "by folding its events",
}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PastReadModel:
    """The rows of a read model as they were.

    Attributes:
        projection: whose read model it is.
        as_of: of when.
        tables: each of its tables, in the order of its key, by its name.
        source: what the rows come from: its ``"table"``, a ``"query"``, a ``"fold"``.
    """

    projection: AnyProjection
    as_of: AsOf
    tables: Mapping[str, pd.DataFrame]
    source: Source

    def table(self, name: str | None = None) -> pd.DataFrame:
        """Return a table as a frame.

        Args:
            name: of the table; by default the only one.

        Raises:
            InputError: there is no such table, or there are several.
        """
        if name is None and len(self.tables) == 1:
            (name,) = self.tables
        if name is None or name not in self.tables:
            raise InputError(f"{self!r} has the tables {', '.join(self.tables)}, not {name!r}")
        return self.tables[name]

    @property
    def df(self) -> pd.DataFrame:
        """Its only table, as a frame."""
        return self.table()

    def __repr__(self) -> str:
        rows = counted(sum(map(len, self.tables.values())), "row")
        return (
            f"<PastReadModel {self.projection.name} {_when(self.as_of)}: {rows}, "
            f"{_TOLD[self.source]}>"
        )

    def _repr_html_(self) -> str:
        shown = "".join(
            table.to_html(index=False, border=0, max_rows=20) for table in self.tables.values()
        )
        return f"<p>{html.escape(repr(self))}</p>{shown}"


def read_model_as_of(
    store: ProjectionStore,
    projection: AnyProjection,
    registry: EventRegistry,
    as_of: AsOf,
    *,
    progress: bool = True,
) -> PastReadModel:
    """Return a read model as of another time; the one that is kept up to date is left alone.

    What its projection has parked, or was told to discard, is left out then too.

    Args:
        store: the log.
        projection: what makes the read model.
        registry: which class stands for which type; the projection's are registered in it.
        as_of: the time.
        progress: draw a progress bar on stderr while events are folded.

    Raises:
        ProjectionError: an event cannot be applied.
    """
    shapes = projection.tables_of(store, registry)
    until = _position(store, as_of)
    if until is not None:
        with store.transaction() as transaction:
            held = _held(transaction, projection, shapes, until)
        if held is not None:
            return PastReadModel(projection, as_of, held, "table")
    if isinstance(projection, SqlProjection):
        window = replace(projection.window(until=until), occurred=as_of.occurred)
        frame = _queried(store, projection, registry, window)
        return PastReadModel(projection, as_of, {projection.name: frame}, "query")
    if not isinstance(projection, Projection):
        raise InputError(f"{projection!r:.200} can neither be folded nor queried")
    # As its readers see it: without what it could not handle.
    without = left_out(store, projection.name)
    folded = fold(store, projection, registry, as_of=as_of, without=without, progress=progress)
    tables = {name: folded.table(name) for name in folded.tables}
    return PastReadModel(projection, as_of, tables, "fold")


def _position(store: ProjectionStore, as_of: AsOf) -> int | None:
    """Return the position that a time stands for; None where it is none."""
    if as_of.occurred is not None:
        return None
    if as_of.recorded is not None:
        return store.position_at(as_of.recorded)
    assert as_of.position is not None
    return min(as_of.position, store.head())


def _held(
    transaction: Transaction,
    projection: AnyProjection,
    shapes: Mapping[str, Table],
    until: int,
) -> dict[str, pd.DataFrame] | None:
    """Return the tables that are kept up to date, if no event makes them different from then."""
    found = transaction.execute(
        "select position from eslab.checkpoints where projection = ? and fingerprint = ?",
        [projection.name, projection.fingerprint()],
    )
    if not found:
        return None
    low, high = sorted((found[0][0], until))
    types = tuple(sorted(projection.event_classes))
    between = Window(types, low, high, category=projection.category, tags=projection.tags)
    ((different,),) = transaction.execute(
        f"select exists (from eslab.event_log where type in ({texts(types)}) "
        f"and {between.wanted()})"
    )
    if different:
        return None
    return {
        name: _frame(
            transaction.execute(
                f"select {_listed(shape.columns)} from rm.{quoted(name)} "
                f"order by {_listed(shape.key)}"
            ),
            shape,
        )
        for name, shape in shapes.items()
    }


def _queried(
    store: ProjectionStore, projection: SqlProjection, registry: EventRegistry, window: Window
) -> pd.DataFrame:
    plan = projection.plan(store, registry)
    seen = fitting(store, window, plan.types, where=f"projection {projection.name!r}")
    with store.transaction() as transaction:
        rows = transaction.execute(f"{plan.result(seen)} order by {_listed(plan.table.key)}")
    return _frame(rows, plan.table)


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(map(quoted, columns))


def _frame(rows: Sequence[tuple[Any, ...]], shape: Table) -> pd.DataFrame:
    """Return rows as a frame, of the values that they have where they are folded in Python."""
    import pandas as pd

    return pd.DataFrame(rows, columns=list(shape.columns))


class Past:
    """A lab as of another time: what is asked of it is answered from what was there then.

    Args:
        store: the log.
        repository: loads what is folded from a stream.
        registry: which class stands for which type.
        find: gives the projection of a name.
        as_of: the time.
    """

    def __init__(
        self,
        store: ProjectionStore,
        repository: Repository,
        registry: EventRegistry,
        find: Callable[[str], AnyProjection],
        as_of: AsOf,
    ) -> None:
        self.as_of = as_of
        self._store = store
        self._repository = repository
        self._registry = registry
        self._find = find

    def events(
        self,
        *,
        query: Query | None = None,
        types: Iterable[str | type[Event]] | None = None,
        category: str | None = None,
        streams: Iterable[str] | None = None,
    ) -> Iterator[RecordedEvent]:
        """Yield the events of then; see `eslab.store.EventStore.read_all`."""
        return self._store.read_all(
            query=query, types=types, category=category, streams=streams, as_of=self.as_of
        )

    def load(self, definition: Definition[T], id: str) -> T:
        """Load an aggregate, or an entity of a decider, as it was then.

        Raises:
            StreamNotFoundError: it was not there yet.
        """
        return self._repository.load(definition, id, as_of=self.as_of)

    def read_model(
        self, projection: str | AnyProjection, *, progress: bool = True
    ) -> PastReadModel:
        """Return a read model as it was then.

        Args:
            projection: one, or the name of one that the lab keeps up to date.
            progress: draw a progress bar on stderr while events are folded.

        Raises:
            InputError: there is no such projection.
            ProjectionError: an event cannot be applied.
        """
        found = self._find(projection) if isinstance(projection, str) else projection
        if not isinstance(found, AnyProjection):
            raise InputError(
                f"a read model is given by its name, or its projection, such as Orders(): "
                f"{projection!r:.200}"
            )
        return read_model_as_of(self._store, found, self._registry, self.as_of, progress=progress)

    def states(self, fold: StreamFold, *, every: bool = False) -> Result:
        """Return the state of all streams then; see `eslab.projections.states`."""
        return states(self._store, fold, self._registry, as_of=self.as_of, every=every)

    def __repr__(self) -> str:
        return f"<Past {_when(self.as_of)}>"


def _when(as_of: AsOf) -> str:
    if as_of.position is not None:
        return f"as of position {as_of.position:,}"
    kind, moment = (
        ("recorded", as_of.recorded) if as_of.recorded is not None else ("occurred", as_of.occurred)
    )
    assert moment is not None
    return f"as {kind} by {moment.isoformat()}"
