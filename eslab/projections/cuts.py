"""What held at many moments at once: head, checkpoint and lag of several projections, in SQL.

A *place* is a moment at which a projection is looked at: its name, the time, the time up to which
the log counts (`seen`), and the checkpoint that it had. A query defines a table of these,
``places``, with whatever else it wants to know of each, and gets them back as ``measured``.

How many wanted events there are up to a position is not counted for each place anew, nor are all
events numbered: both would take a second for each projection and million events. Each 60 positions
are a *block*, in which a bit says of each position whether its event is wanted. A look-up of the
block and a count of bits give the number, and the lowest bit behind a checkpoint is the event that
waits longest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from eslab.projections.base import AnyProjection
from eslab.projections.checkpoints import REBUILD
from eslab.store.port import ReadModels

__all__ = [
    "cuts_sql",
    "few_moves",
    "log_sql",
    "name_parameters",
    "rebuilds_sql",
    "watched_parameters",
]

BITS: Final = 60
"""Positions in a block; all of its bits are set in a number that is not negative."""

MOVES: Final = 1_000_000
"""How many rows of ``checkpoint_log`` a query is about, at most, if it can: it takes 2 GB."""

_LOG_SQL: Final = """
with watched(projection, wants) as (values {watched}),
log as materialized (
    select l.* exclude (projection), watched.projection,
           row_number() over (partition by watched.projection order by committed_at, l.rowid)
               as number
    from eslab.checkpoint_log l join watched using (projection))"""

# Events of one moment are a run of positions, so its head is the last of them; the join gives any.
# What comes before the lowest checkpoint is no lag of any place, and is not looked at.
_CUTS_SQL: Final = """
{places},
looked as materialized (select places.*, wants from places join watched using (projection)),
seen_at as (select distinct seen from looked),
events as (
    select recorded_at from eslab.event_log
    where recorded_at >= (select max(recorded_at) from eslab.event_log
                          where recorded_at <= (select min(seen) from seen_at))
       or recorded_at >= (select min(seen) from seen_at)),
last_times as materialized (
    select seen, recorded_at from seen_at asof join events on seen >= recorded_at),
heads_of as (
    select recorded_at, max(position) as head from eslab.event_log
    where recorded_at in (select recorded_at from last_times) group by recorded_at),
seen_heads as materialized (
    select seen, head from last_times join heads_of using (recorded_at)),
told as (
    select position, {told} from eslab.event_log
    where position >= (select min(checkpoint) // {bits} * {bits} from looked)),
bits as materialized (
    select position // {bits} as block, {bit_columns} from told group by block),
blocks as materialized (
    select wants, block, bits,
           coalesce(sum(bit_count(bits)) over (partition by wants order by block
               rows between unbounded preceding and 1 preceding), 0)::bigint as earlier,
           lead(block * {bits} + bit_count((bits & -bits) - 1))
               over (partition by wants order by block) as next_wanted,
           lag(block * {bits} + length(bin(bits)) - 1)
               over (partition by wants order by block) as last_wanted
    from (select block, unnest(range({groups})) as wants, unnest([{bit_names}]) as bits from bits
          union all select -1, unnest(range({groups})), 0)
    where bits <> 0 or block < 0),
upto as (
    select looked.*, coalesce(head, 0) as head,
           c.earlier, c.block, c.bits, c.next_wanted, c.last_wanted,
           (2::bigint << least({bits} - 1, checkpoint - c.block * {bits})) - 1 as applied,
           h.earlier + bit_count(h.bits & ((2::bigint
               << least({bits} - 1, coalesce(head, 0) - h.block * {bits})) - 1)) as arrived
    from looked left join seen_heads using (seen)
    asof left join blocks c on looked.wants = c.wants and checkpoint // {bits} >= c.block
    asof left join blocks h on looked.wants = h.wants and coalesce(head, 0) // {bits} >= h.block),
counted as materialized (
    select * exclude (bits, applied, earlier, block, next_wanted, last_wanted),
           greatest(0, arrived - earlier - bit_count(bits & applied)) as lag_events,
           bits & ~applied as waiting,
           case when waiting = 0 then next_wanted
                else block * {bits} + bit_count((waiting & -waiting) - 1) end as oldest,
           case when bits & applied = 0 then last_wanted
                else block * {bits} + length(bin(bits & applied)) - 1 end as newest
    from upto),
recorded as materialized (
    select position, recorded_at from eslab.event_log
    where position in (select oldest from counted where lag_events > 0)),
measured as materialized (
    select counted.* exclude (waiting, oldest, wants),
           case when lag_events > 0
                then greatest(0, epoch_us(counted.time) - epoch_us(recorded_at)) else 0 end
               as lag_us
    from counted left join recorded on lag_events > 0 and position = oldest)"""


# A rebuild writes its own rows, from the first event on; when it is done, one without events takes
# the checkpoint of the live read model to where it is.
_REBUILDS_SQL: Final = """
made_anew as (
    select watched.projection, from_position, to_position, started_at, committed_at,
           row_number() over (partition by l.projection order by committed_at, l.rowid) as number
    from eslab.checkpoint_log l join watched
        on l.projection = watched.projection || '{rebuild}'),
begun_anew as (
    select *, from_position < lag(to_position, 1, 0)
                  over (partition by projection order by number) as again
    from made_anew),
passes as (
    select *, sum(again::int) over (partition by projection order by number) as pass
    from begun_anew),
rebuilds as (
    select projection, pass, min(passes.started_at) as began,
           case when projection || '{rebuild}' in (select projection from eslab.checkpoints)
                     and pass = max(pass) over (partition by projection)
                then 'infinity'::timestamptz
                else coalesce((select min(log.committed_at) from log
                               where log.projection = passes.projection and mode = 'replay'
                                 and count = 0 and log.committed_at >= max(passes.committed_at)),
                              max(passes.committed_at)) end as ended
    from passes group by projection, pass)"""


def few_moves(
    store: ReadModels, projections: Iterable[AnyProjection]
) -> Iterator[list[AnyProjection]]:
    """Yield projections, so many at once that a query about all of their moves fits into memory."""
    query = "select projection, count(*) from eslab.checkpoint_log group by all"
    moves = dict(store.sql(query).fetchall())
    some: list[AnyProjection] = []
    left = MOVES
    for projection in projections:
        count = moves.get(projection.name, 0)
        if some and count > left:
            yield some
            some, left = [], MOVES
        some.append(projection)
        left -= count
    yield some


def log_sql(projections: Sequence[AnyProjection]) -> str:
    """Return the beginning of a query about projections: ``watched`` and ``log``."""
    wanted = _wanted(projections)
    watched = ", ".join(
        f"($name_{number}, {wanted.index(_wants(projection))})"
        for number, projection in enumerate(projections)
    )
    return _LOG_SQL.format(watched=watched)


def name_parameters(projections: Sequence[AnyProjection]) -> dict[str, Any]:
    """Return what such a beginning needs to know."""
    return {f"name_{number}": projection.name for number, projection in enumerate(projections)}


def rebuilds_sql() -> str:
    """Return the definition of ``rebuilds``, when each began and ended, for such places."""
    return _REBUILDS_SQL.format(rebuild=REBUILD)


def cuts_sql(projections: Sequence[AnyProjection], places: str) -> str:
    """Return the beginning of a query about places: tables to select from.

    It ends behind the definition of ``measured``: the columns of ``places``, and of each place
    head; arrived (wanted events up to that head, counted from a position that is the same for all
    places); lag_events; lag_us, the age of the oldest of them in microseconds; and newest, the
    position of the last wanted event up to the checkpoint, if it lies behind the lowest one.

    Args:
        projections: which ones; at least one.
        places: definitions of tables, the last one ``places`` with the columns projection, time,
            seen and checkpoint; they may select from ``log``, the rows of ``checkpoint_log`` with a
            number in each projection, and from ``watched``, the projections.
    """
    wanted = _wanted(projections)
    numbers = range(len(wanted))
    bit = "coalesce(bit_or(1::bigint << (position % {bits})) filter (wanted_{number}), 0)"
    return f"{log_sql(projections)}," + _CUTS_SQL.format(
        places=places,
        bits=BITS,
        groups=len(wanted),
        told=", ".join(f"{_told(wanted[number], number)} as wanted_{number}" for number in numbers),
        bit_columns=", ".join(
            f"{bit.format(bits=BITS, number=number)} as bits_{number}" for number in numbers
        ),
        bit_names=", ".join(f"bits_{number}" for number in numbers),
    )


def watched_parameters(projections: Sequence[AnyProjection]) -> dict[str, Any]:
    """Return what such a query needs to know of projections."""
    wanted = _wanted(projections)
    parameters = name_parameters(projections)
    for number, (types, category, tags) in enumerate(wanted):
        parameters[f"types_{number}"] = list(types)
        if category is not None:
            parameters[f"category_{number}"] = category
        if tags:
            parameters[f"tags_{number}"] = list(tags)
    return parameters


_Wants = tuple[tuple[str, ...], str | None, tuple[str, ...]]


def _wanted(projections: Sequence[AnyProjection]) -> list[_Wants]:
    """Return which events are wanted: many projections want the same ones."""
    return list(dict.fromkeys(map(_wants, projections)))


def _wants(projection: AnyProjection) -> _Wants:
    types = tuple(sorted(projection.event_classes))
    return types, projection.category, tuple(projection.tags)


def _told(wants: _Wants, number: int) -> str:
    _, category, tags = wants
    parts = [f"list_contains($types_{number}, type)"]
    if category is not None:
        streams = f"select stream_id from eslab.streams where category = $category_{number}"
        parts.append(f"stream_id in ({streams})")
    if tags:
        parts.append(f"list_has_all(tags, $tags_{number})")
    return f"({' and '.join(parts)})"
