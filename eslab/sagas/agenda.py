"""What is to be done for sagas, and when; on either clock."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from itertools import count

from eslab.clock import Clock, Scheduler
from eslab.errors import EslabError, StoreClosedError

__all__ = ["Agenda", "Work"]

Work = Callable[[], object]


class Agenda:
    """Work for sagas, in the order in which it is due.

    Each piece of work is for somebody: a saga, by the name of its stream. If it fails, that one
    rests until the next run, and all that is for it waits; the others go on.

    Args:
        clock: says what is due.
        lock: of the orchestrator; it is not held while work is done.
    """

    def __init__(self, clock: Clock, lock: threading.RLock) -> None:
        self._clock = clock
        self._lock = lock
        self._numbers = count()
        self._generations = count()
        self.forget()

    def forget(self) -> None:
        """Leave all of it, also what a scheduler has."""
        self._left: list[tuple[datetime, int, Work]] = []
        self._resting: dict[str, list[Work]] = {}
        self._scheduled = 0
        self._generation = next(self._generations)

    @property
    def empty(self) -> bool:
        """Whether nothing is left to do, now or later."""
        return not (self._left or self._scheduled)

    def put(self, who: str, work: Work, due: datetime | None = None) -> None:
        """Do something for somebody at a time; by default as soon as it is its turn."""
        with self._lock:
            guarded: Work = partial(self.do, who, work)
            heapq.heappush(self._left, (due or self._clock.now(), next(self._numbers), guarded))

    def do(self, who: str, work: Work, *, keep: bool = True) -> None:
        """Do something for somebody now, unless that one rests.

        Args:
            who: a saga, by the name of its stream.
            work: what is done.
            keep: if it fails, or has to wait, it is done when that one goes on; else somebody else
                sees to that.

        Raises:
            EslabError: it failed.
        """
        with self._lock:
            if (waiting := self._resting.get(who)) is not None:
                waiting += [work] if keep else []
                return
        try:
            work()
        except StoreClosedError:
            raise
        except EslabError:
            with self._lock:
                self._resting.setdefault(who, [work] if keep else [])  # else a part of it waits
            raise

    def rests(self, who: str) -> bool:
        """Say whether something failed for somebody in this run."""
        return who in self._resting

    def wake_all(self) -> list[str]:
        """Let those who rest go on, and say who did."""
        resting, self._resting = self._resting, {}
        for who in sorted(resting):
            for work in resting[who]:
                self.put(who, work)
        return sorted(resting)

    def next(self) -> Work | None:
        """Take what is due; None: nothing is."""
        with self._lock:
            if self._left and self._left[0][0] <= self._clock.now():
                return heapq.heappop(self._left)[2]
            return None

    @property
    def due_at(self) -> datetime | None:
        """When something is due next; None: never."""
        with self._lock:
            return self._left[0][0] if self._left else None

    def schedule(self, scheduler: Scheduler) -> None:
        """Give all of it to the scheduler of a virtual clock."""
        with self._lock:
            left, self._left = self._left, []
        for due, _, work in sorted(left, key=lambda entry: entry[:2]):
            self._scheduled += 1
            late = max(timedelta(0), due - self._clock.now())
            scheduler.after(late, partial(self._done, scheduler, work, self._generation))

    def _done(self, scheduler: Scheduler, work: Work, generation: int) -> None:
        if generation != self._generation:
            return  # it was scheduled before all was forgotten
        self._scheduled -= 1
        try:
            work()
        finally:
            self.schedule(scheduler)  # an answer may be on its way, and nothing was appended
