"""How far a read model is behind, now and in hindsight; each number with its definition.

- **lag_events**: the count of events that the projection wants in (checkpoint, head].
- **lag_seconds**: 0 if it is caught up, else the time since the oldest of those was recorded.

The checkpoint, the head and the events between them are read in one cut: one SQL statement.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from eslab.projections.projection import Projection
from eslab.store.port import ReadModels

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

__all__ = ["LAG_HISTORY_SQL", "ProjectionLag", "lag_history", "projection_lag"]

SAMPLES: Final = 1_000

_NOW_SQL: Final = """
with cut as (
    select coalesce((select position from eslab.checkpoints where projection = $name), 0)
               as checkpoint,
           (select coalesce(max(position), 0) from eslab.event_log) as head)
select checkpoint, head,
       (select count(*) from eslab.event_log
        where position > checkpoint and type in (select unnest($types))),
       (select epoch_us(min(recorded_at)) from eslab.event_log
        where position > checkpoint and type in (select unnest($types)))
from cut
"""

LAG_HISTORY_SQL: Final = """
with wanted as (
    select position, recorded_at, row_number() over (order by position) as number
    from eslab.event_log where type in (select unnest($types))),
heads as (
    select recorded_at as time, max(position) as head from eslab.event_log group by all),
thinned as (
    select time, head from heads
    qualify row_number() over (order by time) % greatest(1, count(*) over () // $samples) = 0
        or row_number() over (order by time desc) = 1),
moves as (
    select committed_at as time, max(to_position) as checkpoint
    from eslab.checkpoint_log where projection = $name group by all),
thinned_moves as (
    select time, checkpoint from moves
    qualify row_number() over (order by time) % greatest(1, count(*) over () // $samples) = 0
        or row_number() over (order by time desc) = 1),
times as (select time from thinned union select time from thinned_moves),
cuts as (
    select time, coalesce(head, 0) as head, coalesce(checkpoint, 0) as checkpoint
    from times asof left join heads using (time) asof left join moves using (time)),
counted as (
    select cuts.*, greatest(0, coalesce(h.number, 0) - coalesce(c.number, 0)) as lag_events,
           coalesce(c.number, 0) + 1 as oldest
    from cuts
    asof left join wanted h on cuts.head >= h.position
    asof left join wanted c on cuts.checkpoint >= c.position)
select $name as projection, counted.time, head, checkpoint, lag_events,
       case when lag_events > 0
            then round(epoch_us(counted.time) - epoch_us(wanted.recorded_at)) / 1e6
            else 0.0 end as lag_seconds
from counted left join wanted on wanted.number = counted.oldest
order by counted.time
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

    def __str__(self) -> str:
        if self.lag_events == 0:
            return f"{self.projection}: caught up at {self.head:,}"
        return f"{self.projection}: {self.lag_events:,} events, {self.lag_seconds:.3f} s"


def projection_lag(store: ReadModels, projection: Projection, *, at: datetime) -> ProjectionLag:
    """Measure the lag of a projection at the time `at`, in one cut.

    Args:
        store: the log, and the checkpoints beside it.
        projection: one that was run on this store, or was prepared to.
        at: the time by the store's clock.
    """
    types = sorted(projection.event_classes)
    result = store.sql(_NOW_SQL, {"name": projection.name, "types": types})
    ((checkpoint, head, events, oldest),) = result.fetchall()
    seconds = max(0.0, at.timestamp() - oldest / 1e6) if events else 0.0
    return ProjectionLag(projection.name, at, checkpoint, head, events, round(seconds, 6))


def lag_history(store: ReadModels, projections: Iterable[Projection]) -> pd.DataFrame:
    """Return the lag of projections over time, from the log and ``checkpoint_log``.

    A row is a moment at which the head or a checkpoint moved; at most about 2,000 a projection
    are kept, evenly chosen, always with the last.

    Returns:
        A frame with the columns projection, time, head, checkpoint, lag_events and lag_seconds.
    """
    import pandas as pd

    frames = [
        store.sql(
            LAG_HISTORY_SQL,
            {
                "name": projection.name,
                "types": sorted(projection.event_classes),
                "samples": SAMPLES,
            },
        ).df()
        for projection in projections
    ]
    columns = ["projection", "time", "head", "checkpoint", "lag_events", "lag_seconds"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
