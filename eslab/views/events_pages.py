"""The events that match a filter, up to one position: page by page, counted, and over time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import pandas as pd

from eslab.errors import InputError, QueryError
from eslab.store.port import EventStore, ReadModels
from eslab.store.result import Result
from eslab.views.base import with_values
from eslab.views.events_filter import EventsFilter
from eslab.views.scales import nice_step

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["EventPages", "EventsLog", "Landmark", "Summary"]

BINS: Final = 60
WINDOW: Final = 122_880
"""Positions that are looked through at first: the rows of a row group of DuckDB."""
WIDER: Final = 4

Landmark = Literal["position", "version", "occurred", "recorded"]
"""Where one can jump to."""

FULL: Final = (
    "position, stream_id, version, type, occurred_at, recorded_at, data::varchar as data, "
    "metadata::varchar as metadata"
)
_COLUMNS: Final = {
    "position": "position",
    "version": "version",
    "occurred": "occurred_at",
    "recorded": "recorded_at",
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class EventsLog(EventStore, ReadModels, Protocol):
    """A store with SQL over it."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What there is of the events that match.

    Attributes:
        counts: how many there are of each type, also of the types that the filter leaves out.
        count: how many match.
        types: of how many types they are.
        streams: of how many streams they are.
        first: when the first of them occurred; None if none matches.
        last: when the last of them occurred.
    """

    counts: dict[str, int]
    count: int
    types: int
    streams: int
    first: datetime | None
    last: datetime | None


class EventPages:
    """The events that match a filter, as of a position: what is appended later changes nothing.

    What is counted is counted once, when somebody asks for it.

    Args:
        store: where the events are.
        wanted: the filter.
        head: the last position that is looked at; by default the store's last one now.

    Attributes:
        store: where the events are.
        wanted: the filter.
        head: the last position that is looked at.

    Raises:
        InputError: the filter's `where` is no boolean expression over the columns of ``events``.

    Example:
        >>> import eslab
        >>> class OrderPlaced(eslab.Event):
        ...     amount: int
        >>> with eslab.Lab(seed=7) as lab:
        ...     for number in range(9):
        ...         _ = lab.append(f"order-{number}", [OrderPlaced(amount=30 + number)])
        ...     pages = EventPages(lab.store, EventsFilter().having(payload=[("amount", ">", 33)]))
        ...     newest = pages.frame(limit=3)["position"].tolist()
        ...     older = pages.frame(before=newest[0], limit=3)["position"].tolist()
        >>> newest, older
        ([7, 8, 9], [5, 6])
    """

    def __init__(self, store: EventsLog, wanted: EventsFilter, *, head: int | None = None) -> None:
        self.store = store
        self.wanted = wanted
        self.head = store.head() if head is None else head
        if wanted.where is not None:
            self._check(wanted.where)

    @property
    def is_counted(self) -> bool:
        """Whether somebody asked for the summary and the histogram already."""
        return {"summary", "histogram"} <= vars(self).keys()

    def frame(
        self, *, before: int | None = None, after: int | None = None, limit: int
    ) -> pd.DataFrame:
        """Return a page as a frame, in the order of position; see `page` for the arguments."""
        frame: pd.DataFrame = self.page(FULL, before=before, after=after, limit=limit).df()
        return frame

    def page(
        self, columns: str, *, before: int | None = None, after: int | None = None, limit: int
    ) -> Result:
        """Return a page, in the order of position.

        It looks through a part of the log that becomes wider until the page is full, so a page in
        the middle of a long log costs no more than one at its end.

        Args:
            columns: what to select of ``events``, the position among it.
            before: the newest ones below this position; by default below everything.
            after: instead of that, the oldest ones above this position.
            limit: how many at most.
        """
        import pyarrow as pa

        if after is None:
            tables = self._downwards(columns, self.head if before is None else before - 1, limit)
        else:
            tables = self._upwards(columns, after, limit)
        return Result(pa.concat_tables(tables).sort_by("position"), sql=self.sql(columns, limit))

    def _downwards(self, columns: str, top: int, limit: int) -> list[pa.Table]:
        lowest, highest = self._ends
        top, width, missing = min(top, highest), WINDOW, limit
        tables = [self._window(columns, top - width, top, "desc", missing)]
        while (missing := missing - tables[-1].num_rows) and (top := top - width) >= lowest:
            width *= WIDER
            tables.append(self._window(columns, top - width, top, "desc", missing))
        return tables

    def _upwards(self, columns: str, bottom: int, limit: int) -> list[pa.Table]:
        lowest, highest = self._ends
        bottom, width, missing = max(bottom, lowest - 1), WINDOW, limit
        tables = [self._window(columns, bottom, bottom + width, "asc", missing)]
        while (missing := missing - tables[-1].num_rows) and (bottom := bottom + width) < highest:
            width *= WIDER
            tables.append(self._window(columns, bottom, bottom + width, "asc", missing))
        return tables

    @property
    def _ends(self) -> tuple[int, int]:
        """Between which positions all that matches is."""
        first, last = self.wanted.positions or (None, None)
        return first or 1, self.head if last is None else min(last, self.head)

    def _window(self, columns: str, bottom: int, top: int, order: str, limit: int) -> pa.Table:
        return self._query(
            f"select {columns} from events "
            f"where position > $bottom and position <= $top and {{matches}} "
            f"order by position {order} limit $limit",
            bottom=bottom,
            top=top,
            limit=limit,
        ).arrow()

    def sql(self, columns: str = FULL, limit: int | None = None) -> str:
        """Return a query that gives the newest of the events, in the order of position."""
        matches = with_values(*self._matches())
        if self.wanted.where is not None:
            matches += _and(self.wanted.where)
        newest = "" if limit is None else f"\n    order by position desc limit {limit}"
        return (
            f"select * from (\n    select {columns}\n    from events\n"
            f"    where {matches}{newest})\norder by position"
        )

    @cached_property
    def summary(self) -> Summary:
        """What there is of the events that match."""
        by_type = self._query(
            "select type, count(*), epoch_us(min(occurred_at)), epoch_us(max(occurred_at)) "
            "from events where {matches} group by type order by type",
            without="types",
        ).fetchall()
        streams = self._query(
            "select count(distinct stream_id) from events where {matches}"
        ).scalar()
        chosen = self.wanted.types
        matching = [row for row in by_type if chosen is None or row[0] in chosen]
        return Summary(
            counts={name: count for name, count, _, _ in by_type},
            count=sum(count for _, count, _, _ in matching),
            types=len(matching),
            streams=streams,
            first=min((_moment(first) for _, _, first, _ in matching), default=None),
            last=max((_moment(last) for _, _, _, last in matching), default=None),
        )

    @cached_property
    def bin_width(self) -> timedelta:
        """How long the bins of the histogram are."""
        first, last = self.summary.first, self.summary.last
        span = timedelta(0) if first is None or last is None else last - first
        return nice_step(max(span, BINS * _MICROSECOND), count=BINS)

    @cached_property
    def histogram(self) -> pd.DataFrame:
        """How many events of each type occurred when: start (of a bin), type and count."""
        width = self.bin_width // _MICROSECOND
        return self._query(
            # Not by a division: it would round moments before 1970 up.
            "select make_timestamptz(moment - ((moment % $width) + $width) % $width) as start, "
            "type, count(*) as count "
            "from (select epoch_us(occurred_at) as moment, type from events where {matches}) "
            "group by all order by all",
            width=width,
        ).df()

    def rank(self, position: int) -> int:
        """Return how many of the events are newer than this position."""
        return int(
            self._query(
                "select count(*) from events where position > $position and {matches}",
                position=position,
            ).scalar()
        )

    def find(self, what: Landmark, value: datetime | int) -> int | None:
        """Return the position of the first event from a position, a version or a time on.

        First is what has the lowest position, version or time, and of several that which was
        recorded first; None if there is none.

        Args:
            what: which of them.
            value: where it is, or what is the next above it.
        """
        column = _COLUMNS[what]
        position = self._query(
            f"select position from events where {column} >= $value and {{matches}} "
            f"order by {column}, position limit 1",
            value=value,
        ).scalar()
        return None if position is None else int(position)

    def _query(self, query: str, *, without: str = "", **values: Any) -> Result:
        """Run a query, in which ``{matches}`` says that an event matches."""
        matches, more = self._matches(without=without)
        where = self.wanted.where
        if where is not None:
            matches += _and(where)
        try:
            return self.store.sql(query.replace("{matches}", matches), {**values, **more})
        except QueryError as error:
            raise error if where is None else _refused(where, error) from None

    def _matches(self, *, without: str = "") -> tuple[str, dict[str, Any]]:
        """Return the conditions that are not the user's own SQL, and the values in them."""
        held = [one for one in self.wanted if one.field not in ("where", without)]
        values = {name: value for one in held for name, value in one.parameters.items()}
        matches = ["position <= $head", *(f"({one.sql})" for one in held)]
        return " and ".join(matches), {"head": self.head, **values}

    def _check(self, where: str) -> None:
        """Let an expression pass, and nothing else: only that fits both in brackets and alone."""
        import pyarrow as pa

        try:
            self.store.sql(f"explain select 1 from events where\n{where}")
            found = self.store.sql(f"select (\n{where}\n) as matches from events limit 0").arrow()
        except QueryError as error:
            raise _refused(where, error) from None
        kind = found.schema.field("matches").type
        if kind != pa.bool_():
            raise InputError(f"where: {where!r} is no boolean expression: it gives {kind}")


def _and(where: str) -> str:
    # The line break ends a comment, which would take the bracket with it.
    return f" and (\n{where}\n)"


def _refused(where: str, error: QueryError) -> InputError:
    reason = str(error).partition("\n")[0]
    return InputError(f"where: {where!r} is no boolean expression over events: {reason}")


def _moment(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND
