"""How long events took to be seen: when each became visible, and the latency of all of them.

- **visible_at** of an event: when the projection committed the batch that first took it as far as
  the event's position. What a replay applies again was visible before.
- **latency** of an event: processed_at - recorded_at, processed_at being when a batch with it was
  committed. One that is applied again, by a replay or a rebuild, has another latency there.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from eslab.projections.base import AnyProjection
from eslab.projections.checkpoints import REBUILD
from eslab.projections.lag import wanted_parameters, wanted_sql
from eslab.store.port import ReadModels

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["became_visible", "latencies", "latency_sql", "visibility", "visibility_sql"]

# Along the rows that took the checkpoint further than it ever was, both time and position rise: the
# first of them at or behind an event is the one that showed it.
_VISIBILITY_SQL: Final = """
with moves as (
    select to_position, committed_at, mode,
           max(to_position) over (order by committed_at, rowid
               rows between unbounded preceding and 1 preceding) as before
    from eslab.checkpoint_log where projection = $name),
further as (
    select to_position, committed_at, mode from moves where to_position > coalesce(before, 0)),
wanted as (select position, recorded_at from eslab.event_log where {wanted}{only})
select position, recorded_at, committed_at as visible_at,
       case when committed_at is not null
            then greatest(0, epoch_us(committed_at) - epoch_us(recorded_at)) / 1e6
            end as latency_seconds,
       mode
from wanted asof left join further on wanted.position <= further.to_position
order by position
"""

# A batch has all wanted events in (from_position, to_position]. A reset begins a new pass over the
# log, and so does another rebuild, which begins with the first event again; along a pass batches do
# not overlap, so an event is in the first that reaches it.
_LATENCY_SQL: Final = """
with rows as (
    select *, row_number() over (order by committed_at, rowid) as number
    from eslab.checkpoint_log where projection in ($name, $name || '{rebuild}')),
begun as (
    select *, to_position < from_position
              or from_position < lag(to_position, 1, 0)
                  over (partition by projection order by number) as again
    from rows),
log as (
    select *, sum(again::int) over (partition by projection order by number) as pass
    from begun),
batches as (
    select projection, pass, from_position, to_position, committed_at,
           case when projection = $name then mode else 'rebuild' end as mode
    from log where count > 0),
passes as (
    select projection, pass, min(from_position) as first, max(to_position) as last
    from batches group by all),
wanted as (select position, recorded_at from eslab.event_log where {wanted}),
passed as (
    select projection, pass, position, recorded_at
    from passes join wanted on position > first and position <= last),
processed as (
    select mode, greatest(0, epoch_us(committed_at) - epoch_us(recorded_at)) as us
    from passed asof join batches
        on passed.projection = batches.projection and passed.pass = batches.pass
       and passed.position <= batches.to_position
    where position > from_position),
measured as (
    select mode, count(*) as count, max(us) as most,
           quantile_disc(us, [0.5, 0.9, 0.95, 0.99]) as found
    from processed group by mode)
select $name as projection, mode, count, found[1] / 1e6 as p50, found[2] / 1e6 as p90,
       found[3] / 1e6 as p95, found[4] / 1e6 as p99, most / 1e6 as max
from measured order by array_position(['live', 'catch-up', 'replay', 'rebuild'], mode)
"""


def visibility(store: ReadModels, projection: AnyProjection) -> pd.DataFrame:
    """Return when each event that a projection wants became visible in its read model.

    Args:
        store: the log, and the checkpoints beside it.
        projection: the projection.

    Returns:
        A frame with a row for each wanted event, in the order of position: position, recorded_at,
        visible_at, latency_seconds (from the one to the other) and mode, that of the batch
        (``"live"``, ``"catch-up"`` or ``"replay"``). The last three are missing where an event is
        not visible yet.
    """
    return store.sql(visibility_sql(projection), wanted_parameters(projection)).df()


def became_visible(
    store: ReadModels, projection: AnyProjection, position: int
) -> tuple[datetime, datetime | None, str | None] | None:
    """Say when one event became visible in a read model.

    Args:
        store: the log, and the checkpoints beside it.
        projection: the projection.
        position: of the event.

    Returns:
        recorded_at, visible_at and mode, as in the frame of `visibility`; None if there is no event
        at that position that the projection wants.
    """
    query = _VISIBILITY_SQL.format(wanted=wanted_sql(projection), only=" and position = $position")
    rows = store.sql(query, {**wanted_parameters(projection), "position": position}).fetchall()
    return next(((recorded, visible, mode) for _, recorded, visible, _, mode in rows), None)


def latencies(store: ReadModels, projections: Iterable[AnyProjection]) -> pd.DataFrame:
    """Return how long events took from being recorded to being processed, by projection and mode.

    Percentiles are values that occurred: p90 is the lowest latency that at least 90 % of the
    events do not exceed.

    Args:
        store: the log, and the checkpoints beside it.
        projections: whose latency.

    Returns:
        A frame with a row for each projection and mode that processed events (``"live"``,
        ``"catch-up"``, ``"replay"`` and ``"rebuild"``): projection, mode, count, and in seconds
        p50, p90, p95, p99 and max.
    """
    import pandas as pd

    frames = [
        store.sql(latency_sql(projection), wanted_parameters(projection)).df()
        for projection in projections
    ]
    columns = ["projection", "mode", "count", "p50", "p90", "p95", "p99", "max"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def visibility_sql(projection: AnyProjection) -> str:
    """Return the query for when each event became visible in a projection."""
    return _VISIBILITY_SQL.format(wanted=wanted_sql(projection), only="")


def latency_sql(projection: AnyProjection) -> str:
    """Return the query for the latency of a projection, by mode."""
    return _LATENCY_SQL.format(wanted=wanted_sql(projection), rebuild=REBUILD)
