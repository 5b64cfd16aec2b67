"""What keeps work going: every worker takes its turn, until nothing is left that is due."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Protocol

from eslab.clock import Clock, Scheduler, VirtualClock
from eslab.subscriptions.turn import Turn

__all__ = ["Runner", "Worker"]


class Worker(Protocol):
    """Something that follows the log: a projection, a relay, an orchestrator.

    All that a worker knows is in the store. It may be told to forget what it has scheduled, and
    finds its work again.
    """

    def begin(self) -> None:
        """Take note that a run begins: what failed in the last one is tried again."""
        ...

    def step(self) -> bool:
        """Do some work that is due, here and now, and say whether there was any.

        Raises:
            EslabError: some of it failed; that is not due any more in this run.
        """
        ...

    def due_in(self) -> float | None:
        """Return in how many seconds there is work, though nothing is appended; None: never."""
        ...

    def wake(self, scheduler: Scheduler) -> None:
        """Schedule the work that is due, unless it is scheduled already."""
        ...

    def forget(self) -> None:
        """Take note that nothing is scheduled any more."""
        ...


class Runner:
    """Runs workers cooperatively, on the thread that asks for it.

    On a virtual clock the work is scheduled, takes the time that it costs, and moves the clock
    along; on another clock it is done at once, and what is to be tried again is waited for. What
    fails rests until the next run, of which its worker takes care; all else goes on.

    Args:
        clock: a virtual one, or the machine's.
        workers: gives those that there are now.
        seed: decides what comes first of work that is due at the same time.
    """

    def __init__(
        self, clock: Clock, workers: Callable[[], Iterable[Worker]], *, seed: int | None = None
    ) -> None:
        self._workers = workers
        self._scheduler = Scheduler(clock, seed=seed) if isinstance(clock, VirtualClock) else None
        self._running = threading.RLock()
        self._noticed = False

    def notice(self) -> None:
        """Take note, on any thread, that something was appended."""
        self._noticed = True

    def run(
        self, until: datetime | None = None, *, enough: Callable[[], bool] = lambda: False
    ) -> None:
        """Work until nothing is left.

        Args:
            until: on a virtual clock, leave the work that is due later.
            enough: asked after each piece of work, whether to leave the rest.

        Raises:
            EslabError: the first error of a worker; all other work was done.
        """
        with self._running:
            turn = Turn()
            try:
                for worker in self._workers():
                    turn.attempt(worker.begin)
                self._noticed = True
                while self._noticed and not enough():
                    self._noticed = False
                    if self._scheduler is None:
                        self._work(turn, enough)
                    else:
                        self._work_virtually(turn, self._scheduler, until, enough)
            except BaseException:
                self._forget()
                raise
            turn.end()

    def _work(self, turn: Turn, enough: Callable[[], bool]) -> None:
        for worker in self._workers():
            if turn.attempt(worker.step):
                self._noticed = True
            if enough():
                return
        if not self._noticed:
            waits = [worker.due_in() for worker in self._workers()]
            if known := [wait for wait in waits if wait is not None]:
                time.sleep(min(known))
                self._noticed = True

    def _work_virtually(
        self,
        turn: Turn,
        scheduler: Scheduler,
        until: datetime | None,
        enough: Callable[[], bool],
    ) -> None:
        for worker in self._workers():
            turn.attempt(partial(worker.wake, scheduler))
        step = partial(scheduler.step, until)
        while not (self._noticed or enough()) and turn.attempt(step) is not False:
            pass

    def _forget(self) -> None:
        if self._scheduler is not None:
            self._scheduler.clear()
        for worker in self._workers():
            worker.forget()
