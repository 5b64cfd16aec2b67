"""Where lag can be looked at again: the store, the projections and the clock behind a lag chart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from eslab.errors import InputError
from eslab.events import RecordedEvent
from eslab.projections import (
    AnyProjection,
    Incident,
    LagMeasures,
    ProjectionRunner,
    Ruling,
    incidents,
    lag_history,
    measure_lags,
    verdict_history,
)
from eslab.projections.base import ProjectionStore
from eslab.projections.live import Line, LiveLag
from eslab.projections.status import standing
from eslab.views.visibility import Visible, visible_at
from eslab.views.what_if import WhatIfView

if TYPE_CHECKING:
    import pandas as pd

    from eslab.subscriptions import BatchReport

__all__ = ["Judgement", "LagSource", "Listener", "line_of", "lines_of"]

ROWS = 120
"""How many rows of history a look gives of each projection, at most."""


class Listener(Protocol):
    """Is called when something happened."""

    def __call__(self, report: BatchReport | None = None) -> None:
        """Take note of it; of what a projection did, if it was one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How projections are judged, and what happened to them.

    Attributes:
        at: the time of the judgement.
        rulings: the verdicts since the last time that they were asked for.
        incidents: all of them.
    """

    at: datetime
    rulings: list[Ruling]
    incidents: list[Incident]


@dataclass(frozen=True, slots=True, kw_only=True)
class LagSource:
    """Answers what a lag chart asks while it is looked at.

    Args:
        store: the log, and the checkpoints beside it.
        runners: gives those whose lag is shown, as they are now.
        now: the time by the lab's clock.
        window: how far back a verdict looks.
        listen: calls a function whenever something was appended, and with the report whenever a
            projection did something, until the function that it returns is called.
        gone: whether the lab was closed, or superseded by another one.
        find: gives the event with an id, or None.
        what_if: shows the lag that a projection would have; see `eslab.Lab.what_if`.
    """

    store: ProjectionStore
    runners: Callable[[], Sequence[ProjectionRunner]]
    now: Callable[[], datetime]
    window: timedelta
    listen: Callable[[Listener], Callable[[], None]]
    gone: Callable[[], bool]
    find: Callable[[UUID], RecordedEvent | None]
    what_if: Callable[..., WhatIfView]

    @property
    def projections(self) -> list[AnyProjection]:
        """Those whose lag is shown."""
        return [runner.projection for runner in self.runners()]

    def standing(self) -> dict[str, str]:
        """Return in words what keeps a projection from going on, by its name."""
        return {runner.name: standing(runner) for runner in self.runners()}

    def live(self) -> LiveLag:
        """Return what holds the lag in memory for whoever looks often; it wants the reports."""
        return LiveLag(self.store, self.runners)

    def lines(self, *, since: datetime) -> dict[str, Line]:
        """Ask the log what became of the lag since a moment, and return that of each projection."""
        history = lag_history(self.store, self.projections, at=self.now(), since=since, rows=ROWS)
        return lines_of(history)

    def judge(self, *, since: datetime, length: timedelta) -> Judgement:
        """Judge the projections.

        Args:
            since: the first moment.
            length: from one moment to the next.
        """
        at = self.now()
        runners = self.runners()
        projections = [runner.projection for runner in runners]
        rulings = verdict_history(
            self.store, projections, at=at, since=since, window=self.window, length=length
        )
        pauses = {runner.name: runner.pauses for runner in runners}
        return Judgement(
            at=at, rulings=rulings, incidents=incidents(self.store, projections, pauses=pauses)
        )

    def measure(self, projection: str, at: datetime) -> LagMeasures:
        """Measure and judge one projection as it was at a moment, or is now.

        Raises:
            InputError: there is no such projection.
        """
        chosen = self._projection(projection)
        now = self.now()
        (found,) = measure_lags(
            self.store, [chosen], at=min(at, now), window=self.window, hindsight=at < now
        )
        return found

    def visible(self, projection: str, event: int | UUID) -> Visible:
        """Say when an event, given by its position or its id, became visible in a projection.

        Raises:
            InputError: there is no such projection, or no such event that it wants.
        """
        return visible_at(self.store, self._projection(projection), event, find=self.find)

    def _projection(self, name: str) -> AnyProjection:
        for projection in self.projections:
            if projection.name == name:
                return projection
        raise InputError(f"there is no projection {name!r} in this chart")


def lines_of(history: pd.DataFrame) -> dict[str, Line]:
    """Return the columns of each projection's rows in a history."""
    return {str(name): line_of(rows) for name, rows in history.groupby("projection", sort=False)}


def line_of(rows: pd.DataFrame) -> Line:
    """Return the columns of some rows of a history."""
    times = rows["time"].dt.as_unit("us").astype("int64")
    microseconds = (rows["lag_seconds"] * 1e6).round().astype("int64")
    columns = [times, rows["head"], rows["checkpoint"], rows["lag_events"], microseconds]
    return [column.tolist() for column in columns]
