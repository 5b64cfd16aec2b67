"""How each projection of a lab is: what it does, how far it is, how quick, and what stopped it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from eslab.projections.checkpoints import REBUILD
from eslab.projections.lag import projection_lag
from eslab.projections.runner import ProjectionRunner
from eslab.store.port import ReadModels
from eslab.words import counted

__all__ = ["RATES_SQL", "ProjectionStatus", "projection_status", "standing"]

BATCHES: Final = 20

RATES_SQL: Final = f"""
select projection, sum(count) as events,
       sum(epoch_us(committed_at) - epoch_us(started_at)) as microseconds
from (
    select *, row_number()
              over (partition by projection order by committed_at desc, rowid desc) as number
    from checkpoint_log where count > 0)
where number <= {BATCHES}
group by projection order by projection
"""


Status = Literal["caught up", "behind", "retrying", "blocked", "paused", "stopped"]


@dataclass(frozen=True, slots=True)
class ProjectionStatus:
    """How a projection is, at one moment.

    Attributes:
        projection: its name.
        status: ``"caught up"``, ``"behind"``, ``"retrying"`` what failed, ``"blocked"`` by as many
            dead letters as there may be, ``"paused"``, or ``"stopped"`` by an error.
        checkpoint: the last position that its read model holds.
        head: the last position of the log.
        lag_events: events it wants that it has not applied.
        lag_seconds: since the oldest of them was recorded; 0 when there is none.
        rate: events a second while it worked, in its last 20 batches; None if there was none.
        dead_letters: events that are parked.
        rebuild: the last position of the read model that is being made beside it; None if none is.
        error: what stopped it.
    """

    projection: str
    status: Status
    checkpoint: int
    head: int
    lag_events: int
    lag_seconds: float
    rate: float | None
    dead_letters: int
    rebuild: int | None
    error: str | None


def projection_status(
    store: ReadModels, runners: list[ProjectionRunner], *, at: datetime
) -> list[ProjectionStatus]:
    """Say how projections are at the time `at`, in their order."""
    rates = {
        name: int(events) * 1e6 / int(microseconds) if microseconds else None
        for name, events, microseconds in store.sql(RATES_SQL).fetchall()
    }
    rebuilds = dict(
        store.sql("select projection, position from checkpoints order by projection").fetchall()
    )
    found = []
    for runner in runners:
        lag = projection_lag(store, runner.projection, at=at)
        found.append(
            ProjectionStatus(
                lag.projection,
                _status(runner, lag.lag_events),
                lag.checkpoint,
                lag.head,
                lag.lag_events,
                lag.lag_seconds,
                rates.get(lag.projection),
                len(runner.letters),
                rebuilds.get(lag.projection + REBUILD),
                None if runner.error is None else str(runner.error),
            )
        )
    return found


def standing(runner: ProjectionRunner) -> str:
    """Return in words what keeps a projection from going on; nothing, if nothing does."""
    if runner.error is not None:
        return f"stopped: {runner.error}"
    if runner.paused:
        return "paused"
    if runner.blocked:
        return f"blocked by {counted(len(runner.letters), 'dead letter')}"
    return "retrying what failed" if runner.retrying else ""


def _status(runner: ProjectionRunner, lag_events: int) -> Status:
    if runner.error is not None:
        return "stopped"
    if runner.paused:
        return "paused"
    if runner.blocked:
        return "blocked"
    if runner.retrying:
        return "retrying"
    return "behind" if lag_events else "caught up"
