"""How a projection is, in numbers: the four measures of lag and the verdict, read in one cut."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from eslab.errors import InputError
from eslab.projections.base import AnyProjection
from eslab.projections.checkpoints import REBUILD
from eslab.projections.lag import ProjectionLag, wanted_parameters, wanted_sql
from eslab.projections.verdict import WINDOW, Sample, Verdict, judge
from eslab.store.port import ReadModels
from eslab.words import counted

__all__ = ["LagMeasures", "append_rate", "measure_lag"]

# `marks` are the moments that count for the verdict. Only what lies behind the lowest of their
# checkpoints can lag at any of them, so only that is numbered.
_CUT_SQL: Final = """
with log as (
    select *, row_number() over (order by committed_at, rowid) as number
    from eslab.checkpoint_log where projection = $name),
cut as (
    select coalesce((select position from eslab.checkpoints where projection = $name), 0)
               as checkpoint,
           (select coalesce(max(position), 0) from eslab.event_log) as head,
           (select greatest($at, max(recorded_at)) from eslab.event_log) as seen),
marks as (
    select 'before' as kind, committed_at as time, committed_at as seen, to_position as checkpoint,
           number
    from log where committed_at <= $start and from_position <> to_position
    qualify row_number() over (order by number desc) = 1
    union all
    select 'start', $start, $start,
           coalesce((select arg_max(to_position, number) from log where committed_at <= $start), 0),
           (select count(*) from log where committed_at <= $start) + 0.5
    union all
    select case when to_position > from_position then mode
                when to_position < from_position then 'reset' else 'heartbeat' end,
           committed_at, committed_at, to_position, number
    from log where committed_at > $start
    union all
    select 'now', $at, seen, checkpoint, (select count(*) from log) + 1 from cut),
waiting as (
    select position, recorded_at, row_number() over (order by position) as number
    from eslab.event_log where position > (select min(checkpoint) from marks) and {wanted}),
arrived as (select recorded_at, max(number) as number from waiting group by recorded_at),
counted as (
    select marks.*, coalesce(c.number, 0) + 1 as oldest,
           greatest(0, coalesce(h.number, 0) - coalesce(c.number, 0)) as lag_events
    from marks
    asof left join arrived h on marks.seen >= h.recorded_at
    asof left join waiting c on marks.checkpoint >= c.position),
samples as (
    select counted.kind, counted.time, counted.checkpoint, lag_events, counted.number,
           case when lag_events > 0
                then greatest(0, epoch_us(counted.time) - epoch_us(waiting.recorded_at))
                else 0 end as lag_us
    from counted left join waiting on waiting.number = counted.oldest),
applied as (
    select from_position, to_position, committed_at from log
    where count > 0 and mode <> 'replay' order by number desc limit 1)
select checkpoint, head,
       (select list((kind, epoch_us(time), checkpoint, lag_events, lag_us) order by number)
        from samples),
       exists (from eslab.checkpoints where projection = $name || '{rebuild}'),
       (select coalesce(max(greatest(from_position, to_position)), 0) from log),
       (select count(*) from log where committed_at > $start),
       (select coalesce(sum(count), 0) from log where committed_at > $start),
       (select sum(epoch_us(committed_at) - epoch_us(started_at)) from log
        where committed_at > $start and count > 0),
       (select count(*) from eslab.event_log where recorded_at > $start and {wanted}),
       (select epoch_us(any_value(committed_at)) - epoch_us(max(recorded_at))
        from applied, eslab.event_log
        where position > from_position and position <= to_position and {wanted})
from cut
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
    if window <= timedelta(0):
        raise InputError(f"a window is longer than 0, not {window}")
    start = at - min(window, at - _EPOCH)  # it may reach before all that was ever recorded
    parameters = {**wanted_parameters(projection), "at": at, "start": start}
    result = store.sql(_CUT_SQL.format(wanted=wanted_sql(projection), rebuild=REBUILD), parameters)
    (row,) = result.fetchall()
    checkpoint, head, found, rebuilding, highest, rows, applied, spent, appended, latency = row
    samples = [_sample(*each.values()) for each in found]
    now = samples[-1]
    consume_rate = _consume_rate(int(rows), int(applied), spent)
    append_rate = round(appended / window.total_seconds(), 6)
    return LagMeasures(
        projection.name,
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
