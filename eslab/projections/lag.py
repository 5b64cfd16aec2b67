"""How far a read model is behind, now and in hindsight; each number with its definition.

- **lag_events**: the count of events that the projection wants in (checkpoint, head].
- **lag_seconds**: 0 if it is caught up, else the time since the oldest of those was recorded.

The checkpoint, the head and the events between them are read in one cut: one SQL statement.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from eslab.projections.base import AnyProjection
from eslab.projections.cuts import cuts_sql, few_moves, watched_parameters
from eslab.store.port import ReadModels

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

__all__ = [
    "ProjectionLag",
    "history_parameters",
    "history_sql",
    "lag_history",
    "projection_lag",
    "wanted_parameters",
    "wanted_sql",
]

ROWS: Final = 2_000
"""How many rows of history a projection has, at most."""

COLUMNS: Final = ("projection", "time", "head", "checkpoint", "lag_events", "lag_seconds")
"""What is known of each of them."""

_NOW_SQL: Final = """
with cut as (
    select coalesce((select position from eslab.checkpoints where projection = $name), 0)
               as checkpoint,
           (select coalesce(max(position), 0) from eslab.event_log) as head)
select checkpoint, head,
       (select count(*) from eslab.event_log where position > checkpoint and {wanted}),
       (select epoch_us(min(recorded_at)) from eslab.event_log
        where position > checkpoint and {wanted})
from cut
"""

# Lag falls only when a checkpoint moves, so a move is two rows: the peak is in the one just before
# it. Times are whole microseconds: what held a microsecond earlier is what held before the move.
# A checkpoint may also be set back: of the moves in one microsecond the one that came last counts.
# Between two moves lag only grows: of many moments at which the head moved few are enough.
_PLACES_SQL: Final = """
moves as materialized (
    select projection, committed_at as time, arg_max(to_position, number) as checkpoint
    from log where from_position <> to_position group by all),
ends as (select min(recorded_at) as first, max(recorded_at) as last from eslab.event_log),
spans as materialized (
    select projection, greatest(least(min(time), any_value(ends.first)), $since) as first,
           coalesce($until, greatest(max(time), any_value(ends.last), $at)) as last
    from watched left join moves using (projection), ends
    group by projection having least(min(time), any_value(ends.first)) is not null),
span as (select min(first) as first, max(last) as last from spans),
pieces as (
    select case when count(*) <= $rows then 1
                else (epoch_us(max(recorded_at)) - epoch_us(min(recorded_at))) // ($rows // 3) + 1
                end as length,
           epoch_us(min(recorded_at)) as origin
    from eslab.event_log, span where recorded_at between first and last),
heads as materialized (
    select max(recorded_at) as time from eslab.event_log, span, pieces
    where recorded_at between first and last group by (epoch_us(recorded_at) - origin) // length),
others as (
    select projection, time from spans, heads union
    select projection, first from spans union
    select projection, last from spans),
moments as (
    select projection, time, time as seen, checkpoint from moves union all
    select projection, time, time - interval 1 microsecond,
           lag(checkpoint, 1, 0) over (partition by projection order by time) from moves union all
    select others.projection, others.time, others.time, coalesce(checkpoint, 0)
    from others asof left join moves
        on others.projection = moves.projection and others.time >= moves.time
    where moves.time is distinct from others.time),
places as (
    select moments.* from moments join spans using (projection)
    where time between first and last)"""

_HISTORY_SQL: Final = """,
numbered as (
    select *, row_number() over (partition by projection order by time, seen) as number,
           count(*) over (partition by projection) as total
    from measured),
cut_up as materialized (
    select *, number * ($rows // 3 - 1) // (total + 1) as piece from numbered),
kept as (
    select projection, unnest([arg_max(number, lag_us::hugeint * total - number),
                               arg_max(number, lag_events::hugeint * total - number),
                               arg_min(number, lag_us::hugeint * total + number)]) as number
    from cut_up where total > $rows group by projection, piece)
select projection, time, head, checkpoint, lag_events, lag_us / 1e6 as lag_seconds
from cut_up join (select projection, row_number() over () as place from watched) using (projection)
where total <= $rows or number = total
   or (projection, number) in (select (projection, number) from kept)
order by place, number
"""


@dataclass(frozen=True, slots=True)
class ProjectionLag:
    """How far one projection is behind, at one moment.

    Attributes:
        projection: its name.
        at: the moment, by the store's clock.
        checkpoint: the last position that its read model holds.
        head: the last position of the log.
        lag_events: events it wants that it has not applied.
        lag_seconds: since the oldest of them was recorded; 0 when there is none.
    """

    projection: str
    at: datetime
    checkpoint: int
    head: int
    lag_events: int
    lag_seconds: float

    @property
    def warning(self) -> str:
        """What is wrong with it, in words: nothing that these numbers say."""
        return ""

    def __str__(self) -> str:
        if self.lag_events == 0:
            return f"{self.projection}: caught up at {self.head:,}"
        return f"{self.projection}: {self.lag_events:,} events, {self.lag_seconds:.3f} s"


def projection_lag(store: ReadModels, projection: AnyProjection, *, at: datetime) -> ProjectionLag:
    """Measure the lag of a projection at the time `at`, in one cut.

    Args:
        store: the log, and the checkpoints beside it.
        projection: one that was run on this store, or was prepared to.
        at: the time by the store's clock.
    """
    result = store.sql(
        _NOW_SQL.format(wanted=wanted_sql(projection)), wanted_parameters(projection)
    )
    ((checkpoint, head, events, oldest),) = result.fetchall()
    seconds = max(0.0, at.timestamp() - oldest / 1e6) if events else 0.0
    return ProjectionLag(projection.name, at, checkpoint, head, events, round(seconds, 6))


def lag_history(
    store: ReadModels,
    projections: Iterable[AnyProjection],
    *,
    at: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    rows: int | None = None,
) -> pd.DataFrame:
    """Return the lag of projections over time, from the log and ``checkpoint_log``.

    A row is a moment at which the head moved, or one just before or just after the checkpoint
    moved; the first is `since` and the last `until`, or `at`. Between two rows lag stays 0 or
    grows by a second a second: the highest lag is in the rows. Of more than 2,000 a projection,
    the highest and the lowest of each piece are kept.

    Args:
        store: the log, and the checkpoints beside it.
        projections: whose lag.
        at: the time by the store's clock, at which the history ends.
        since: leave out what was before; by default the history begins with the log.
        until: leave out what was later.
        rows: of each projection, at most; by default 2,000.

    Returns:
        A frame with the columns projection, time, head, checkpoint, lag_events and lag_seconds.
    """
    import pandas as pd

    watched = list(projections)
    if not watched:
        return pd.DataFrame(columns=COLUMNS)
    frames = []
    for some in few_moves(store, watched):
        parameters = history_parameters(some, at=at, since=since, until=until, rows=rows)
        frames.append(store.sql(history_sql(some), parameters).df())
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def history_sql(projections: Sequence[AnyProjection]) -> str:
    """Return the query for the lag of projections over time; of none, no query."""
    return cuts_sql(projections, _PLACES_SQL) + _HISTORY_SQL if projections else ""


def history_parameters(
    projections: Sequence[AnyProjection],
    *,
    at: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    rows: int | None = None,
) -> dict[str, Any]:
    """Return what the query for the lag over time needs to know of projections."""
    span = {"at": at, "since": since, "until": None if until is None else min(until, at)}
    return {**watched_parameters(projections), **span, "rows": rows or ROWS}


def wanted_sql(projection: AnyProjection) -> str:
    """Return the condition for the events that a projection wants."""
    parts = ["type in (select unnest($types))"]
    if projection.category is not None:
        streams = "select stream_id from eslab.streams where category = $category"
        parts.append(f"stream_id in ({streams})")
    if projection.tags:
        parts.append("list_has_all(tags, $tags)")
    return " and ".join(parts)


def wanted_parameters(projection: AnyProjection) -> dict[str, Any]:
    """Return which projection it is, and which events it wants."""
    parameters = {"name": projection.name, "types": sorted(projection.event_classes)}
    if projection.category is not None:
        parameters["category"] = projection.category
    if projection.tags:
        parameters["tags"] = list(projection.tags)
    return parameters
