"""Has work done: here and now by taking turns, or in the background by threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from eslab.clock import Clock, VirtualClock
from eslab.errors import ClockError, EslabError, StoreClosedError
from eslab.subscriptions.runner import Runner
from eslab.subscriptions.threads import BackgroundWorker, WorkerThreads

__all__ = ["Engine"]

PATIENCE: Final = 10.0
"""Seconds in which a worker is to end what it is doing, when all are stopped."""


class Engine:
    """Has the work of workers done, in one way or the other.

    Args:
        clock: a virtual one, or the machine's.
        workers: gives those that there are now.
        head: gives the last position of the log.
        seed: decides what comes first of work that is due at the same time on a virtual clock.
    """

    def __init__(
        self,
        clock: Clock,
        workers: Callable[[], Iterable[BackgroundWorker]],
        *,
        head: Callable[[], int],
        seed: int | None = None,
    ) -> None:
        self._clock = clock
        self._workers = workers
        self._head = head
        self._runner = Runner(clock, workers, seed=seed)
        self._threads: WorkerThreads | None = None

    @property
    def started(self) -> bool:
        """Whether there are threads."""
        return self._threads is not None

    def notice(self) -> None:
        """Take note, on any thread, that there may be work."""
        self._runner.notice()
        if self._threads is not None:
            self._threads.notice()

    def run(self, until: datetime | None = None) -> None:
        """Have everything done that is due.

        Args:
            until: on a virtual clock, leave the work that is due later.

        Raises:
            EslabError: the first error of a worker; all other work was done.
        """
        if self._threads is None:
            self._runner.run(until)
        else:
            self._threads.settle()
            self._threads.require_healthy()

    def run_until(self, enough: Callable[[], bool], limit: timedelta | None) -> None:
        """Have work done until it is enough.

        Args:
            enough: asked after each piece of work.
            limit: how long that may take, by the clock; by default as long as there is work.

        Raises:
            EslabError: the first error of a worker; all other work was done.
        """
        seconds = None if limit is None else limit.total_seconds()
        if self._threads is not None:
            self._threads.wait_until(enough, timeout=seconds)
            return
        until, end = None, None
        if isinstance(self._clock, VirtualClock):
            until = None if limit is None else self._clock.now() + limit
        else:
            end = None if seconds is None else time.monotonic() + seconds
        self._runner.run(
            until, enough=lambda: enough() or (end is not None and time.monotonic() >= end)
        )

    def start(self) -> None:
        """Give each worker a thread, which works from now on whenever there is something to do.

        Raises:
            ClockError: the clock is virtual.
        """
        if isinstance(self._clock, VirtualClock):
            raise ClockError(
                "on a virtual clock nothing happens in the background, so that the same calls give "
                "the same bytes: use run() or advance(), or make the lab without a seed"
            )
        if self._threads is None:
            self._threads = WorkerThreads(self._head)
        self._threads.start(self._workers())

    def revive(self, worker: BackgroundWorker) -> None:
        """Give a worker another thread, if its own ended."""
        if self._threads is not None and not self._threads.serves(worker):
            self._threads.start([worker])

    def add(self, worker: BackgroundWorker) -> None:
        """Give a new worker a thread, if the others have one."""
        if self._threads is not None:
            self._threads.start([worker])

    def stop(self) -> None:
        """End the threads, each after what it is doing.

        Raises:
            EslabError: what a worker raised, and nobody was told; or one does not end.
        """
        threads, self._threads = self._threads, None
        if threads is None:
            return
        if left := threads.stop(timeout=PATIENCE):
            raise EslabError(
                f"{', '.join(left)} did not end what it was doing within {PATIENCE:.0f} seconds; "
                f"its thread ends when that returns"
            )
        with suppress(StoreClosedError):
            threads.require_healthy()
