"""A read model in memory: what a projection makes of the events of some streams, or of a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from eslab.errors import InputError
from eslab.events import AsOf, Query
from eslab.progress import progress_bar
from eslab.projections.handling import Handling
from eslab.projections.projection import Projection
from eslab.projections.rows import Row, Rows
from eslab.schema import EventRegistry
from eslab.store.port import EventStore
from eslab.subscriptions import Part
from eslab.words import counted

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Folded", "fold"]

SIZE = 1_000


class Folded:
    """A read model in memory: what a projection makes of some events.

    Attributes:
        projection: whose read model it is.
        tables: its rows by the names of its tables, each in the order of their keys.
        events: how many events were handled.
    """

    def __init__(self, projection: Projection, rows: Sequence[Rows[Any]], events: int) -> None:
        self.projection = projection
        self.events = events
        names = projection.rows_of
        self.tables: dict[str, list[Row]] = {
            name: each.held() for name, each in zip(names, rows, strict=True)
        }

    @property
    def rows(self) -> list[Row]:
        """All of its rows, table by table."""
        return [row for rows in self.tables.values() for row in rows]

    def table(self, name: str | None = None) -> pd.DataFrame:
        """Return a table as a frame.

        Args:
            name: of the table; by default the only one.

        Raises:
            InputError: there is no such table, or there are several.
        """
        import pandas as pd

        if name is None and len(self.tables) == 1:
            (name,) = self.tables
        if name not in self.tables:
            raise InputError(f"{self!r} has the tables {', '.join(self.tables)}, not {name!r}")
        columns = list(self.projection.rows_of[name].model_fields)
        return pd.DataFrame([row.model_dump() for row in self.tables[name]], columns=columns)

    @property
    def df(self) -> pd.DataFrame:
        """Its only table, as a frame."""
        return self.table()

    def __repr__(self) -> str:
        rows = counted(sum(map(len, self.tables.values())), "row")
        return f"<Folded {self.projection.name}: {rows} of {counted(self.events, 'event')}>"


def fold(
    store: EventStore,
    projection: Projection,
    registry: EventRegistry,
    *,
    streams: Iterable[str] | None = None,
    as_of: AsOf | None = None,
    without: Collection[int] = (),
    progress: bool = True,
) -> Folded:
    """Fold events to a read model in memory, beside the one in the database if there is one.

    Args:
        store: the events.
        projection: what makes rows of those that it wants.
        registry: which class stands for which type; the projection's are registered in it.
        streams: only the events of these; by default those of all.
        as_of: only what was recorded, or had happened, by then.
        without: the positions of events that are left out.
        progress: draw a progress bar on stderr, if that is a terminal or a notebook.

    Raises:
        ProjectionError: a handler failed.
        InputError: an argument cannot be used.

    Example:
        >>> from eslab import MemoryStore
        >>> from eslab.interop.flights import DelayByAirportHour, import_week
        >>> store = MemoryStore()
        >>> _ = import_week(store, progress=False)
        >>> fold(store, DelayByAirportHour(), EventRegistry())
        <Folded delay_by_airport_hour: 55 rows of 6,099 events>
    """
    for event in projection.event_classes.values():
        registry.register(event)
    handling = Handling(projection, registry)
    rows: list[Rows[Any]] = [
        Rows(row, table, whole=True) for table, row in projection.rows_of.items()
    ]
    events = 0
    with progress_bar(total=None, description=projection.name, progress=progress) as bar:
        for part in _parts(store, projection, streams, as_of, without):
            handling.handle(part, rows)
            events += len(part)
            bar.update(len(part))
    return Folded(projection, rows, events)


def _parts(
    store: EventStore,
    projection: Projection,
    streams: Iterable[str] | None,
    as_of: AsOf | None,
    without: Collection[int],
) -> Iterator[Part]:
    """Yield what a projection wants, by columns if these are enough."""
    query = Query.of(tags=projection.tags) if projection.tags else None
    types, category = projection.event_classes, projection.category
    if streams is None and as_of is None and not (without or projection.wants_recorded):
        yield from store.read_batches(query=query, types=types, category=category)
        return
    read = store.read_all(query=query, types=types, category=category, streams=streams, as_of=as_of)
    part = []
    for recorded in read:
        if recorded.position in without:
            continue
        part.append(recorded)
        if len(part) == SIZE:
            yield part
            part = []
    if part:
        yield part
