"""Where lag can be looked at again: the store, the projections and the clock behind a lag chart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
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
from eslab.projections.status import standing
from eslab.store.port import ReadModels
from eslab.views.visibility import Visible, visible_at
from eslab.views.what_if import WhatIfView

__all__ = ["LagSource", "Look"]

ROWS = 120
"""How many rows of history a look gives of each projection, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look found that is new.

    Attributes:
        since: what was known of this moment and later is replaced.
        at: the time of the look.
        history: a frame with the columns of `eslab.projections.lag_history`.
        rulings: the verdicts since the last time that they were asked for; None if they were not.
        incidents: all of them, likewise.
        standing: in words what keeps a projection from going on, by its name.
    """

    since: datetime
    at: datetime
    history: Any
    rulings: list[Ruling] | None
    incidents: list[Incident] | None
    standing: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LagSource:
    """Answers what a lag chart asks while it is looked at.

    Args:
        store: the log, and the checkpoints beside it.
        runners: gives those whose lag is shown, as they are now.
        now: the time by the lab's clock.
        window: how far back a verdict looks.
        listen: calls a function whenever something was appended, or a projection moved, until the
            function that it returns is called.
        gone: whether the lab was closed, or superseded by another one.
        find: gives the event with an id, or None.
        what_if: shows the lag that a projection would have; see `eslab.Lab.what_if`.
    """

    store: ReadModels
    runners: Callable[[], Sequence[ProjectionRunner]]
    now: Callable[[], datetime]
    window: timedelta
    listen: Callable[[Callable[[], None]], Callable[[], None]]
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

    def look(self, *, since: datetime, judged_since: datetime | None, length: timedelta) -> Look:
        """Look at what became of the lag.

        Args:
            since: only what was then and later.
            judged_since: judge the moments since then; None: do not judge.
            length: from one of them to the next.
        """
        at = self.now()
        runners = self.runners()
        projections = [runner.projection for runner in runners]
        history = lag_history(self.store, projections, at=at, since=since, rows=ROWS)
        rulings = found = None
        if judged_since is not None:
            rulings = verdict_history(
                self.store,
                projections,
                at=at,
                since=judged_since,
                window=self.window,
                length=length,
            )
            pauses = {runner.name: runner.pauses for runner in runners}
            found = incidents(self.store, projections, pauses=pauses)
        return Look(
            since=since,
            at=at,
            history=history,
            rulings=rulings,
            incidents=found,
            standing=self.standing(),
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
