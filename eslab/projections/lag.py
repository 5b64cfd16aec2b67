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
from eslab.store.port import ReadModels

if TYPE_CHECKING:
    from collections.abc import Iterable

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
# What lies outside the span is left out behind the window function of `placed`: before the joins it
# would make DuckDB take the moments for so few that it tries each of them with each event.
_HISTORY_SQL: Final = """
with wanted as (
    select position, recorded_at, row_number() over (order by position) as number
    from eslab.event_log where {wanted}),
heads as (
    select recorded_at as time, max(position) as head from eslab.event_log group by all),
moves as (
    select committed_at as time, arg_max(to_position, rowid) as checkpoint
    from eslab.checkpoint_log where projection = $name and from_position <> to_position
    group by all),
times as (select time from heads union select time from moves),
span as (
    select greatest(min(time), $since) as first, coalesce($until, greatest(max(time), $at)) as last
    from times having count(*) > 0),
moments as (
    select time, time as seen from times
    union select time, time - interval 1 microsecond from moves
    union select first, first from span
    union select last, last from span),
cuts as (
    select moments.time, seen, coalesce(head, 0) as head, coalesce(checkpoint, 0) as checkpoint
    from moments asof left join heads on seen >= heads.time
    asof left join moves on seen >= moves.time),
counted as (
    select cuts.*, greatest(0, coalesce(h.number, 0) - coalesce(c.number, 0)) as lag_events,
           coalesce(c.number, 0) + 1 as oldest
    from cuts
    asof left join wanted h on cuts.head >= h.position
    asof left join wanted c on cuts.checkpoint >= c.position),
measured as (
    select counted.*,
           case when lag_events > 0
                then greatest(0, epoch_us(counted.time) - epoch_us(wanted.recorded_at)) / 1e6
                else 0.0 end as lag_seconds
    from counted left join wanted on wanted.number = counted.oldest),
placed as (select *, row_number() over (order by time, seen) as place from measured),
numbered as (
    select placed.*, row_number() over (order by place) as number, count(*) over () as total
    from placed, span where time between first and last),
cut_up as (select *, number * ($rows // 3 - 1) // (total + 1) as piece from numbered)
select $name as projection, time, head, checkpoint, lag_events, lag_seconds from cut_up
qualify total <= $rows or number = total
     or row_number() over (partition by piece order by lag_seconds desc, number) = 1
     or row_number() over (partition by piece order by lag_events desc, number) = 1
     or row_number() over (partition by piece order by lag_seconds, number) = 1
order by number
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

    Returns:
        A frame with the columns projection, time, head, checkpoint, lag_events and lag_seconds.
    """
    import pandas as pd

    frames = [
        store.sql(
            history_sql(projection),
            history_parameters(projection, at=at, since=since, until=until),
        ).df()
        for projection in projections
    ]
    columns = ["projection", "time", "head", "checkpoint", "lag_events", "lag_seconds"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def history_sql(projection: AnyProjection) -> str:
    """Return the query for the lag of a projection over time."""
    return _HISTORY_SQL.format(wanted=wanted_sql(projection))


def history_parameters(
    projection: AnyProjection,
    *,
    at: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
) -> dict[str, Any]:
    """Return what the query for the lag over time needs to know of a projection."""
    span = {"at": at, "since": since, "until": None if until is None else min(until, at)}
    return {**wanted_parameters(projection), **span, "rows": ROWS}


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
