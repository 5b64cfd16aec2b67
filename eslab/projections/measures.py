"""How a projection is, in numbers: the four measures of lag and the verdict, read in one cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from eslab.errors import InputError
from eslab.projections.base import AnyProjection
from eslab.projections.checkpoints import REBUILD
from eslab.projections.cuts import cuts_sql, rebuilds_sql, watched_parameters
from eslab.projections.lag import ProjectionLag, wanted_parameters, wanted_sql
from eslab.projections.verdict import WINDOW, Sample, Verdict, judge
from eslab.store.port import ReadModels
from eslab.words import counted

__all__ = ["LagMeasures", "append_rate", "measure_lag", "measure_lags"]

# `marks` are the moments that count for the verdict. In hindsight nothing is known that came later.
_MARKS_SQL: Final = """
known as (select * from log where $until is null or committed_at <= $until),
before as (
    select projection, committed_at as time, to_position as checkpoint, number from known
    where committed_at <= $start and from_position <> to_position
    qualify row_number() over (partition by projection order by number desc) = 1),
begun as (
    select projection, arg_max(to_position, number) as checkpoint, max(number) + 0.5 as number
    from known where committed_at <= $start group by projection),
reached as (
    select projection, arg_max(to_position, number) as logged, max(number) + 1 as number,
           max(greatest(from_position, to_position)) as highest,
           count(*) filter (committed_at > $start) as rows,
           sum(count) filter (committed_at > $start) as applied,
           sum(epoch_us(committed_at) - epoch_us(started_at))
               filter (committed_at > $start and count > 0) as spent
    from known group by projection),
batches as (
    select projection, from_position, to_position, committed_at from known
    where count > 0 and mode <> 'replay'
    qualify row_number() over (partition by projection order by number desc) = 1),
latest as (select coalesce($until, greatest($at, max(recorded_at))) as seen from eslab.event_log),
places as (
    select 'before' as kind, projection, time, time as seen, checkpoint, number from before
    union all
    select 'start', projection, $start, $start, coalesce(checkpoint, 0), coalesce(number, 0.5)
    from watched left join begun using (projection)
    union all
    select case when to_position > from_position then mode
                when to_position < from_position then 'reset' else 'heartbeat' end,
           projection, committed_at, committed_at, to_position, number
    from known where committed_at > $start
    union all
    select 'now', watched.projection, $at, seen,
           coalesce(case when $until is null then position else logged end, 0),
           coalesce(number, 1)
    from watched left join reached using (projection)
    left join eslab.checkpoints using (projection), latest
    union all
    select 'batch', projection, committed_at, committed_at, to_position, null from batches
    union all  -- so that what the batch applied is looked at
    select 'batch from', projection, committed_at, committed_at, from_position, null
    from batches)"""

_MEASURES_SQL: Final = """,
sampled as (
    select projection,
           list((kind, epoch_us(time), checkpoint, lag_events, lag_us) order by number)
               filter (kind not in ('batch', 'batch from')) as samples,
           any_value(checkpoint) filter (kind = 'now') as checkpoint,
           any_value(head) filter (kind = 'now') as head,
           any_value(arrived) filter (kind = 'now') - any_value(arrived) filter (kind = 'start')
               as appended,
           any_value(newest) filter (kind = 'batch') as newest
    from measured group by projection)
select projection, sampled.checkpoint, head, samples,
       case when $until is null
            then projection || '{rebuild}' in (select projection from eslab.checkpoints)
            else exists (from rebuilds where rebuilds.projection = sampled.projection
                         and began <= $until and ended > $until) end as rebuilding,
       coalesce(highest, 0) as highest, coalesce(rows, 0) as rows,
       coalesce(applied, 0)::bigint as applied, spent::bigint as spent, appended,
       epoch_us(batches.committed_at) - epoch_us(recorded_at) as latency
from sampled left join reached using (projection) left join batches using (projection)
left join eslab.event_log on position = newest
"""

_RATE_SQL: Final = """
select $name as projection, count(*), epoch_us(max(recorded_at)) - epoch_us(min(recorded_at))
from eslab.event_log where {wanted}
"""


@dataclass(frozen=True, slots=True)
class LagMeasures(ProjectionLag):
    """How a projection is, at one moment: the four measures of lag, and what they amount to.

    A number that is not known is None: nothing stands for it.

    Attributes:
        latency_seconds: processed_at - recorded_at of the event that it applied last, leaving out
            replays and rebuilds; None if it never applied one.
        consume_rate: events a second, over the time that its batches within the window took; 0 if
            it lives but applied none; None if it did nothing.
        append_rate: events that it wants a second, recorded within the window, over its length.
        drain_eta: seconds until it has caught up if both rates stay: lag_events / (consume_rate -
            append_rate); ``"never"`` if it is not the quicker one; 0 if it has caught up; None
            where no rate is known.
        verdict: what the lag amounts to, by which rule, and the samples behind it.
    """

    latency_seconds: float | None
    consume_rate: float | None
    append_rate: float
    drain_eta: float | Literal["never"] | None
    verdict: Verdict = field(repr=False)

    @property
    def warning(self) -> str:
        """The verdict and its rule, unless it is OK."""
        return "" if self.verdict.name == "OK" else str(self.verdict)


def measure_lag(
    store: ReadModels, projection: AnyProjection, *, at: datetime, window: timedelta = WINDOW
) -> LagMeasures:
    """Measure the lag of a projection at the time `at`, and judge it: all in one cut.

    Args:
        store: the log, and the checkpoints beside it.
        projection: one that was run on this store, or was prepared to.
        at: the time by the store's clock.
        window: how far back the rates and the verdict look.

    Raises:
        InputError: the window is not longer than 0.
    """
    (measures,) = measure_lags(store, [projection], at=at, window=window)
    return measures


def measure_lags(
    store: ReadModels,
    projections: Sequence[AnyProjection],
    *,
    at: datetime,
    window: timedelta = WINDOW,
    hindsight: bool = False,
) -> list[LagMeasures]:
    """Measure the lag of several projections at the time `at`, and judge it: all in one cut.

    Args:
        store: the log, and the checkpoints beside it.
        projections: whose lag; they were run on this store, or prepared to.
        at: the time by the store's clock.
        window: how far back the rates and the verdicts look.
        hindsight: `at` has passed, and what was recorded since does not count.

    Raises:
        InputError: the window is not longer than 0.
    """
    if window <= timedelta(0):
        raise InputError(f"a window is longer than 0, not {window}")
    if not projections:
        return []
    # It may reach before all that was ever recorded.
    span = {"at": at, "start": at - min(window, at - _EPOCH), "until": at if hindsight else None}
    places = f"{rebuilds_sql()},{_MARKS_SQL}"
    sql = cuts_sql(projections, places) + _MEASURES_SQL.format(rebuild=REBUILD)
    rows = store.sql(sql, {**watched_parameters(projections), **span}).fetchall()
    found = {row[0]: row[1:] for row in rows}
    return [
        _measures(projection.name, found[projection.name], at=at, window=window)
        for projection in projections
    ]


def _measures(name: str, row: Sequence[Any], *, at: datetime, window: timedelta) -> LagMeasures:
    checkpoint, head, found, rebuilding, highest, rows, applied, spent, appended, latency = row
    samples = [_sample(*each.values()) for each in found]
    now = samples[-1]
    consume_rate = _consume_rate(int(rows), int(applied), spent)
    append_rate = round(appended / window.total_seconds(), 6)
    return LagMeasures(
        name,
        at,
        checkpoint,
        head,
        now.lag_events,
        now.lag_seconds,
        latency_seconds=None if latency is None else max(0, latency) / 1e6,
        consume_rate=consume_rate,
        append_rate=append_rate,
        drain_eta=_drain_eta(now.lag_events, consume_rate, append_rate),
        verdict=judge(samples, highest=highest, rebuilding=rebuilding, window=window),
    )


def append_rate(store: ReadModels, projection: AnyProjection) -> float:
    """Return how many events a second were recorded that a projection wants.

    It is their count without the first, over the time from the first to the last.

    Args:
        store: the log.
        projection: the projection.

    Raises:
        InputError: there is no such rate: they were all recorded at one moment, or there are none.
    """
    wanted = wanted_sql(projection)
    result = store.sql(_RATE_SQL.format(wanted=wanted), wanted_parameters(projection))
    ((_, count, span),) = result.fetchall()
    if not span:
        raise InputError(
            f"the append rate of {projection.name!r} is unknown: the log holds "
            f"{counted(count, 'event')} that it wants, of one moment at most; say rate=..., in "
            f"events a second"
        )
    return round((int(count) - 1) * 1e6 / int(span), 6)


def _sample(kind: Any, time: int, checkpoint: int, lag_events: int, lag_us: int) -> Sample:
    moment = _EPOCH + timedelta(microseconds=time)
    return Sample(moment, kind, checkpoint, lag_events, lag_us / 1e6)


_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _consume_rate(rows: int, applied: int, spent: int | None) -> float | None:
    if not rows:
        return None
    if not applied:
        return 0.0
    # On a virtual clock work may cost nothing: then there is no rate.
    return round(applied * 1e6 / int(spent), 6) if spent else None


def _drain_eta(
    lag_events: int, consume_rate: float | None, append_rate: float
) -> float | Literal["never"] | None:
    if lag_events == 0:
        return 0.0
    if consume_rate is None:
        return None
    if consume_rate <= append_rate:
        return "never"
    return round(lag_events / (consume_rate - append_rate), 6)
