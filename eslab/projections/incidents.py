"""What happened to projections beside their batches: rebuilds, dead letters, pauses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from eslab.projections.base import AnyProjection
from eslab.projections.cuts import log_sql, name_parameters, rebuilds_sql
from eslab.store.port import ReadModels

if TYPE_CHECKING:
    from eslab.projections.runner import Pause

__all__ = ["KINDS", "Incident", "IncidentKind", "incidents"]

IncidentKind = Literal["rebuild", "dead letter", "pause"]

KINDS: Final[tuple[IncidentKind, ...]] = ("rebuild", "dead letter", "pause")

LETTERS: Final = 50
"""Of how many dead letters of a projection it is told, at most: the oldest ones."""

# What a rebuild wrote is removed when the next one begins; that it took the place of the read model
# stays in the log, as a row of no events.
_INCIDENTS_SQL: Final = """,
swaps as (
    select projection, committed_at, from_position, to_position from log
    where mode = 'replay' and count = 0)
select swaps.projection, 'rebuild', coalesce(min(began), committed_at), committed_at,
       'the read model was made anew, up to ' || format('{:,}', any_value(to_position))
from swaps left join rebuilds on swaps.projection = rebuilds.projection and ended = committed_at
group by swaps.projection, committed_at
union all
select projection, 'rebuild', began, null, 'a rebuild is under way'
from rebuilds where ended = 'infinity'
union all
select consumer, 'dead letter', parked_at, parked_at,
       'event ' || format('{:,}', position) || ' was parked: ' || reason
from eslab.dead_letters join watched on consumer = projection
where reason is not null
qualify row_number() over (partition by consumer order by parked_at, position) <= $letters
order by all
"""


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that happened to a projection.

    Attributes:
        projection: its name.
        kind: ``"rebuild"``, also a reset; ``"dead letter"``, an event that was parked and still is;
            or ``"pause"``.
        time: when, or when it began.
        until: when it ended; the same time for what took none; None if it goes on.
        said: what happened, in words.
    """

    projection: str
    kind: IncidentKind
    time: datetime
    until: datetime | None
    said: str


def incidents(
    store: ReadModels,
    projections: Sequence[AnyProjection],
    *,
    pauses: Mapping[str, Iterable[Pause]],
) -> list[Incident]:
    """Return what happened to projections, by projection and time.

    Args:
        store: the checkpoints and the dead letters.
        projections: which ones.
        pauses: of each, by its name: the store does not know of them.
    """
    if not projections:
        return []
    query = f"{log_sql(projections)},{rebuilds_sql()}" + _INCIDENTS_SQL
    rows = store.sql(query, {**name_parameters(projections), "letters": LETTERS}).fetchall()
    found = [Incident(*row) for row in rows]
    for name, held in pauses.items():
        found += [
            Incident(name, "pause", pause.since, pause.until, "it was paused") for pause in held
        ]
    order = {projection.name: place for place, projection in enumerate(projections)}
    return sorted(found, key=lambda each: (order[each.projection], each.time, each.kind, each.said))
