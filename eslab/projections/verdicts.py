"""Verdicts over time: what `eslab.projections.judge` would have said at each of many moments.

DuckDB gathers what the rules ask for, of a window behind each moment, without a look at each row of
each window: it counts along the log, and subtracts what it had counted where the window begins. The
rules themselves are those of `eslab.projections.verdict`; there are no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from eslab.errors import InputError
from eslab.projections.base import AnyProjection
from eslab.projections.checkpoints import REBUILD
from eslab.projections.cuts import cuts_sql, few_moves, rebuilds_sql, watched_parameters
from eslab.projections.verdict import WINDOW, Evidence, VerdictName, decide
from eslab.store.port import ReadModels

__all__ = ["MOMENTS", "Ruling", "verdict_history"]

MOMENTS: Final = 200
"""At how many moments a projection is judged, about."""

# Nothing before the earliest window counts, but for the last move before it.
_MOMENTS_SQL: Final = """
ends as (
    select min(recorded_at) as first, max(recorded_at) as last from eslab.event_log
    union all select min(committed_at), max(committed_at) from log),
span as (
    select least(coalesce($until, $at), greatest(min(first), $since)) as first,
           coalesce($until, $at) as last, coalesce($until, greatest($at, max(last))) as seen
    from ends having min(first) is not null),
pieces as (
    select coalesce($length, (epoch_us(last) - epoch_us(first)) // $moments + 1) as length
    from span),
times as (
    select make_timestamptz(unnest(range(epoch_us(first) // length + 1,
                                         (epoch_us(last) - 1) // length + 1)) * length) as time,
           null as seen
    from span, pieces
    union all select last, seen from span),
judged as materialized (
    select projection, time, coalesce(seen, time) as seen,
           make_timestamptz(greatest(0, epoch_us(time) - $window)) as start
    from watched, times),
kept as materialized (
    select log.* from log left join (
        select projection, max(number) as number from log
        where from_position <> to_position and committed_at <= (select min(start) from judged)
        group by projection) earlier using (projection)
    where log.number >= coalesce(earlier.number, 0)),
looks as (
    select projection, seen as time from judged union select projection, start from judged),
places as (
    select projection, committed_at as time, committed_at as seen, to_position as checkpoint, number
    from kept
    union all
    select looks.projection, looks.time, looks.time, coalesce(to_position, 0), null
    from looks asof left join kept
        on looks.projection = kept.projection and looks.time >= kept.committed_at)"""

_EVIDENCE_SQL: Final = """,
rows as (
    select kept.*, lag_events, from_position <> to_position as moved,
           mode = 'replay' or to_position < from_position as replayed
    from kept join measured using (projection, number)),
compared as (
    select *, lag(lag_events) over (partition by projection, moved order by number) as earlier_lag
    from rows),
summed as materialized (
    select projection, number, committed_at,
           sum((lag_events = 0)::int) over log_so_far as zeros,
           sum(moved::int) over log_so_far as moves,
           sum((moved and lag_events < earlier_lag)::int) over log_so_far as falls,
           last_value(case when moved then replayed end ignore nulls) over log_so_far as replayed
    from compared
    window log_so_far as (partition by projection order by number
                          rows between unbounded preceding and current row)),
highests as (
    select projection, committed_at, max(greatest(from_position, to_position)) over (
               partition by projection order by number
               rows between unbounded preceding and current row) as highest
    from log),
firsts as (
    select projection, committed_at, lag_events as lag_after from compared
    where moved and earlier_lag is null),
looked_at as materialized (
    select projection, time, head, checkpoint, lag_events, lag_us from measured
    where number is null),
counts as (
    select looks.projection, looks.time, coalesce(number, 0) as number, coalesce(zeros, 0) as zeros,
           coalesce(moves, 0) as moves, coalesce(falls, 0) as falls, replayed,
           coalesce(highest, 0) as highest
    from looks asof left join summed
        on looks.projection = summed.projection and looks.time >= summed.committed_at
    asof left join highests
        on looks.projection = highests.projection and looks.time >= highests.committed_at)
select judged.projection, judged.time, now.head, now.checkpoint, now.lag_events,
       case when now.lag_events > 0
            then greatest(0, now.lag_us - (epoch_us(judged.seen) - epoch_us(judged.time))) else 0
            end::bigint as lag_us,
       case when judged.seen = (select seen from span) and $until is null
            then judged.projection || '{rebuild}' in (select projection from eslab.checkpoints)
            else exists (from rebuilds where rebuilds.projection = judged.projection
                         and began <= judged.time and ended > judged.time) end as rebuilding,
       (there.number - here.number)::bigint as rows, (there.moves - here.moves)::bigint as moves,
       begun.lag_events = 0 or now.lag_events = 0 or there.zeros > here.zeros as was_zero,
       there.moves > here.moves and there.replayed as replayed, there.highest,
       there.falls > here.falls
       or exists (from firsts where firsts.projection = judged.projection
                  and firsts.committed_at > judged.start and firsts.committed_at <= judged.seen
                  and lag_after < begun.lag_events) as falls
from judged
join looked_at now on judged.projection = now.projection and judged.seen = now.time
join looked_at begun on judged.projection = begun.projection and judged.start = begun.time
join counts there on judged.projection = there.projection and judged.seen = there.time
join counts here on judged.projection = here.projection and judged.start = here.time
order by judged.projection, judged.time, judged.seen
"""


@dataclass(frozen=True, slots=True)
class Ruling:
    """The verdict on a projection at one moment, without the samples behind it.

    Attributes:
        projection: its name.
        time: the moment.
        verdict: the name of the verdict.
        rule: the rule that decided, in words.
        head: the last position of the log.
        checkpoint: the last position that its read model held.
        lag_events: events it wanted that it had not applied.
        lag_seconds: since the oldest of them was recorded; 0 when there was none.
    """

    projection: str
    time: datetime
    verdict: VerdictName
    rule: str
    head: int
    checkpoint: int
    lag_events: int
    lag_seconds: float


def verdict_history(
    store: ReadModels,
    projections: Sequence[AnyProjection],
    *,
    at: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    window: timedelta = WINDOW,
    length: timedelta | None = None,
) -> list[Ruling]:
    """Judge projections at about 200 moments, the last of them `at`, or `until`.

    Args:
        store: the log, and the checkpoints beside it.
        projections: which ones.
        at: the time by the store's clock.
        since: leave out what was before; by default it begins with the log.
        until: leave out what was later.
        window: how far back each verdict looks.
        length: from one moment to the next; by default there are about 200 of them.

    Returns:
        By projection, in their order, and by time.

    Raises:
        InputError: the window is not longer than 0.
    """
    if window <= timedelta(0):
        raise InputError(f"a window is longer than 0, not {window}")
    if not projections:
        return []
    options = {
        "at": at,
        "since": since,
        "until": None if until is None else min(until, at),
        "window": min(window, at - _EPOCH) // _MICROSECOND,
        "length": None if length is None else length // _MICROSECOND,
        "moments": MOMENTS,
    }
    found: dict[str, list[Ruling]] = {projection.name: [] for projection in projections}
    for some in few_moves(store, projections):
        query = cuts_sql(some, f"{rebuilds_sql()},{_MOMENTS_SQL}")
        query += _EVIDENCE_SQL.format(rebuild=REBUILD)
        for row in store.sql(query, {**watched_parameters(some), **options}).fetchall():
            found[row[0]].append(_ruling(row, window=window))
    return [ruling for rulings in found.values() for ruling in rulings]


_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MICROSECOND: Final = timedelta(microseconds=1)


def _ruling(row: Sequence[Any], *, window: timedelta) -> Ruling:
    name, time, head, checkpoint, lag_events, lag_us, rebuilding, rows, moves = row[:9]
    was_zero, replayed, highest, falls = row[9:]
    evidence = Evidence(
        rebuilding=rebuilding,
        lag_events=lag_events,
        rows=rows,
        moves=moves,
        was_zero=was_zero,
        replayed=bool(replayed),
        checkpoint=checkpoint,
        highest=highest,
        falls=bool(falls),
    )
    verdict, rule = decide(evidence, window=window)
    return Ruling(name, time, verdict, rule, head, checkpoint, lag_events, lag_us / 1e6)
