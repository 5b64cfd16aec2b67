"""The events that match a filter, up to one position: page by page, counted, and over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final, Literal, Protocol

import pandas as pd

from eslab.errors import InputError, QueryError
from eslab.store.port import EventStore, ReadModels
from eslab.store.result import Result
from eslab.views.base import with_values
from eslab.views.events_filter import EventsFilter
from eslab.views.scales import NICE_STEPS

__all__ = ["EventPages", "EventsLog", "Landmark", "Summary"]

BINS: Final = 60
WINDOW: Final = 10_000
"""Positions that are looked through at first."""
WIDER: Final = 8
LISTED: Final = 10_000

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
# All of it in one pass: to look into the data of a million events takes longer than to count them.
_SUMMARY_SQL: Final = """
with matching as materialized (
    select type, stream_number, epoch_us(occurred_at) as moment, {chosen} as chosen
    from (select l.* exclude (stream_id), l.stream_id as stream_number, s.name as stream_id,
                 s.category
          from event_log l join streams s using (stream_id))
    where {matches}),
span as (
    select count(distinct stream_number) as streams, min(moment) as first, max(moment) as last
    from matching where chosen),
bins as (
    select coalesce(min(step), $longest) as width
    from span, unnest($steps) as steps(step) where step * $bins >= last - first),
bars as (
    -- Not by a division: it would round moments before 1970 up.
    select moment - ((moment % width) + width) % width as start, type, count(*) as number
    from matching, bins where chosen group by all)
select 'type' as what, type, count(*) as number, null as start from matching group by type
union all select 'streams', null, streams, null from span
union all select 'first', null, first, null from span
union all select 'last', null, last, null from span
union all select 'width', null, width, null from bins
union all select 'bar', type, number, start from bars
order by what, start, type
"""
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
        histogram: how many events of each type occurred when: start (of a bin), type and count.
        width: how long the bins of the histogram are.
    """

    counts: dict[str, int]
    count: int
    types: int
    streams: int
    first: datetime | None
    last: datetime | None
    histogram: pd.DataFrame
    width: timedelta


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
        """Whether somebody asked for the summary already."""
        return "summary" in vars(self)

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

        First it looks for their positions, in a part of the log that becomes wider until there are
        enough: so a page in the middle of a long log costs no more than one at its end, and nothing
        else is read of the events that are not on it.

        Args:
            columns: what to select of ``events``.
            before: the newest ones below this position; by default below everything.
            after: instead of that, the oldest ones above this position.
            limit: how many at most.
        """
        if after is None:
            found = self._downwards(self.head if before is None else before - 1, limit)
        else:
            found = self._upwards(after, limit)
        values: dict[str, Any] = {"first": min(found, default=0), "last": max(found, default=0)}
        chosen = "{matches}"
        # To hand over a long list takes longer than to look again at what lies between its ends.
        if len(found) <= LISTED:
            chosen = "position in (select unnest($found::bigint[]))"
            values["found"] = found
        return self._query(
            f"select {columns} from events "
            f"where position between $first and $last and {chosen} order by position",
            **values,
        )

    def _downwards(self, top: int, limit: int) -> list[int]:
        lowest, highest = self._ends
        top, width = min(top, highest), WINDOW
        found = self._window(top - width, top, "desc", limit)
        while len(found) < limit and (top := top - width) >= lowest:
            width *= WIDER
            found += self._window(top - width, top, "desc", limit - len(found))
        return found

    def _upwards(self, bottom: int, limit: int) -> list[int]:
        lowest, highest = self._ends
        bottom, width = max(bottom, lowest - 1), WINDOW
        found = self._window(bottom, bottom + width, "asc", limit)
        while len(found) < limit and (bottom := bottom + width) < highest:
            width *= WIDER
            found += self._window(bottom, bottom + width, "asc", limit - len(found))
        return found

    def _window(self, bottom: int, top: int, order: str, limit: int) -> list[int]:
        rows = self._query(
            "select position from events where position > $bottom and position <= $top "
            f"and {{matches}} order by position {order} limit $limit",
            bottom=bottom,
            top=top,
            limit=limit,
        ).fetchall()
        return [position for (position,) in rows]

    @property
    def _ends(self) -> tuple[int, int]:
        """Between which positions all that matches is."""
        first, last = self.wanted.positions or (None, None)
        return first or 1, self.head if last is None else min(last, self.head)

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
        chosen = self.wanted.types
        sql = _SUMMARY_SQL.replace(
            "{chosen}", "true" if chosen is None else "type in (select unnest($types::varchar[]))"
        )
        steps = [step // _MICROSECOND for step in NICE_STEPS]
        rows = self._query(
            sql,
            without="types",
            bins=BINS,
            steps=steps,
            longest=steps[-1],
            **({} if chosen is None else {"types": list(chosen)}),
        ).fetchall()
        found = {what: number for what, _, number, _ in rows}
        counts = {type_: number for what, type_, number, _ in rows if what == "type"}
        matching = [number for type_, number in counts.items() if chosen is None or type_ in chosen]
        return Summary(
            counts=counts,
            count=sum(matching),
            types=len(matching),
            streams=found["streams"],
            first=_moment(found["first"]),
            last=_moment(found["last"]),
            histogram=_histogram([row for row in rows if row[0] == "bar"]),
            width=found["width"] * _MICROSECOND,
        )

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
        where = self.wanted.where
        if "{matches}" in query:
            matches, more = self._matches(without=without)
            values |= more
            query = query.replace("{matches}", matches + ("" if where is None else _and(where)))
        try:
            return self.store.sql(query, values)
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


def _histogram(rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    # The first bin may begin before there were years.
    earliest = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
    starts = [_moment(max(start, earliest)) for _, _, _, start in rows]
    return pd.DataFrame(
        {
            "start": pd.Series(starts, dtype="datetime64[us, UTC]"),
            "type": pd.Series([type_ for _, type_, _, _ in rows], dtype="str"),
            "count": pd.Series([number for _, _, number, _ in rows], dtype="int64"),
        }
    )


def _moment(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _EPOCH + microseconds * _MICROSECOND
