"""Timers: what is to happen at a time, on whatever clock there is."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from eslab.clock import Clock, Scheduled, Scheduler
from eslab.sagas.orchestrator import Orchestrator
from eslab.subscriptions.turn import Turn

__all__ = ["Timers"]


class Timers:
    """Fires the timers of sagas, each once, in the order of when they are due.

    That a timer is set, and that it fired, are events of the saga's stream: so none is lost when
    the process ends, and none fires twice. In the background it sleeps until the next one is due.

    Args:
        orchestrator: has the sagas.
        clock: says what time it is.
    """

    name = "timers"

    def __init__(self, orchestrator: Orchestrator, clock: Clock) -> None:
        self._orchestrator = orchestrator
        self._clock = clock
        self._scheduled: tuple[tuple[datetime, str, str], Scheduled] | None = None

    @property
    def position(self) -> int:
        """The last position that was dealt with: that of the orchestrator, which sets timers."""
        return self._orchestrator.position

    def begin(self) -> None:
        """Take note that a run begins: sagas that failed in the last one are tried again."""
        self._orchestrator.begin()

    def step(self) -> bool:
        """Fire the timers that are due, and say whether there was any.

        Raises:
            EslabError: the first error of the sagas that could not go on; the others did.
        """
        turn, fired = Turn(), False
        while (timer := self._orchestrator.next_timer()) is not None:
            due_at, stream_id, name = timer
            if due_at > self._clock.now():
                break
            fired = True
            turn.attempt(partial(self._orchestrator.fire, stream_id, name))
        turn.end()
        return fired

    def due_in(self) -> float | None:
        """Return 0 if a timer is due, else None: no run on the machine's clock waits for one."""
        wait = self.note()
        return wait if wait == 0 else None

    def note(self) -> float | None:
        """Return in how many seconds the next timer is due; None if there is none."""
        timer = self._orchestrator.next_timer()
        return None if timer is None else max(0.0, (timer[0] - self._clock.now()).total_seconds())

    def crashed(self, error: BaseException) -> None:
        """Take note that its thread ended: whoever waits for it is told why."""

    def wake(self, scheduler: Scheduler) -> None:
        """Schedule the next timer on a virtual clock, and no longer the one that was the next."""
        timer = self._orchestrator.next_timer()
        if self._scheduled is not None:
            if self._scheduled[0] == timer:
                return
            self._scheduled[1].cancel()
            self._scheduled = None
        if timer is not None:
            wait = max(timedelta(0), timer[0] - self._clock.now())
            self._scheduled = timer, scheduler.after(wait, partial(self._fire, scheduler))

    def _fire(self, scheduler: Scheduler) -> None:
        self._scheduled = None
        try:
            self.step()
        finally:
            self.wake(scheduler)

    def forget(self) -> None:
        """Take note that nothing is scheduled any more."""
        self._scheduled = None
