"""Workers in the background: each on a thread of its own, so that none holds up another."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from eslab.errors import EslabError, StoreClosedError
from eslab.store.bell import Bell, Bells
from eslab.subscriptions.runner import Worker

__all__ = ["BackgroundWorker", "WorkerThreads"]

log = logging.getLogger(__name__)


class BackgroundWorker(Worker, Protocol):
    """A worker that has a name, and notes now and then that it stands still."""

    name: str

    @property
    def position(self) -> int:
        """The last position that it has dealt with."""
        ...

    def crashed(self, error: BaseException) -> None:
        """Take note that its thread ended by what it raised, which was no error of eslab's."""
        ...

    def note(self) -> float | None:
        """Note that it is there, though it does not get on.

        Returns:
            In how many seconds it wants to be asked again; None if it got on, or rests.
        """
        ...


class WorkerThreads:
    """The threads of workers, from `start` to `stop`.

    A thread sleeps until it is told that something was appended, or until its worker wants to try
    something again. What a worker raises is kept, and raised by whoever waits or stops; it is
    called again when there is something new.

    Args:
        head: gives the last position of the log.
    """

    def __init__(self, head: Callable[[], int]) -> None:
        self._head = head
        self._threads: dict[str, _WorkerThread] = {}
        self._moved = Bells()
        self._caused = 0  # the last position that one of the threads appended

    def start(self, workers: Iterable[BackgroundWorker]) -> None:
        """Give each a thread; one of the same name is let go."""
        for worker in workers:
            if worker.name in self._threads:
                self._threads[worker.name].leave()
            thread = _WorkerThread(worker, self._head, self._moved)
            self._threads[worker.name] = thread
            thread.start()

    def serves(self, worker: BackgroundWorker) -> bool:
        """Say whether a worker has a thread that has not ended."""
        thread = self._threads.get(worker.name)
        return thread is not None and thread.is_alive()

    def notice(self) -> None:
        """Wake all of them: there may be work."""
        if isinstance(threading.current_thread(), _WorkerThread):
            self._caused = self._head()
        for thread in tuple(self._threads.values()):
            thread.wake()

    def wait_until(self, satisfied: Callable[[], bool], *, timeout: float | None = None) -> bool:
        """Wait until something holds, and say whether it does; asked whenever a worker moved.

        Args:
            satisfied: says whether it holds.
            timeout: how long to wait at most, in seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._moved.listening() as bell:
            while not satisfied():
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                bell.wait(left)
            return True

    def settle(self) -> None:
        """Wait until all have done what there is to do now, and what follows from it.

        What others append meanwhile is not waited for.

        Raises:
            EslabError: it is one of them that asks.
        """
        if isinstance(threading.current_thread(), _WorkerThread):
            raise EslabError(
                "run() was called by what is run in the background, and would wait for itself: "
                "leave it to the threads"
            )
        head = self._head()
        called = [(thread, thread.called) for thread in tuple(self._threads.values())]
        self.wait_until(
            lambda: all(thread.settled(call, max(head, self._caused)) for thread, call in called)
        )

    def require_healthy(self) -> None:
        """Raise what a worker raised since this was last asked, if anything."""
        failures = [thread.take_failure() for thread in tuple(self._threads.values())]
        if known := [failure for failure in failures if failure is not None]:
            raise known[0]

    def stop(self, *, timeout: float) -> list[str]:
        """End the threads, each after what it is doing; return the names of those that go on.

        One that asks for it itself ends when it is done, and is not waited for.

        Args:
            timeout: how long to wait for them, in seconds.
        """
        deadline = time.monotonic() + timeout
        others = {
            name: thread
            for name, thread in self._threads.items()
            if thread is not threading.current_thread()
        }
        for thread in self._threads.values():
            thread.leave()
        for thread in others.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        return [name for name, thread in others.items() if thread.is_alive()]


class _WorkerThread(threading.Thread):
    def __init__(self, worker: BackgroundWorker, head: Callable[[], int], moved: Bells) -> None:
        super().__init__(name=f"eslab-{worker.name}", daemon=True)
        self._bell = Bell()
        self._worker = worker
        self._head = head
        self._moved = moved
        self._leaving = False
        self.called = 0  # how often it was woken
        self._answered = -1  # the last of these that it has looked after
        self._rested_at = -1  # the last head of the log at which it found nothing to do
        self._failure: BaseException | None = None

    def leave(self) -> None:
        """End it after what it is doing."""
        self._leaving = True
        self._bell.ring()

    def wake(self) -> None:
        """Let it look whether there is work."""
        self.called += 1
        self._bell.ring()

    def settled(self, called: int, head: int) -> bool:
        """Say whether it answered a call, and did all up to a head of the log; or has ended."""
        done = self._rested_at >= head or self._worker.position >= head
        return (done and self._answered >= called) or not self.is_alive()

    def take_failure(self) -> BaseException | None:
        """Return what its worker raised, once."""
        failure, self._failure = self._failure, None
        return failure

    def run(self) -> None:
        """Work, sleep, work."""
        try:
            while not self._leaving:
                self._turn()
        except StoreClosedError:
            pass
        except BaseException as error:
            self._failure = error
            self._worker.crashed(error)
            log.exception("%s ended", self.name)
        finally:
            self._moved.ring()

    def _turn(self) -> None:
        call, head = self.called, self._head()
        try:
            self._worker.begin()
            moved = self._worker.step()
        except StoreClosedError:
            raise
        except EslabError as error:
            self._failure = error
            moved = False
        self._answered = call
        due = self._worker.due_in()
        if moved or due == 0:
            self._moved.ring()
            return
        if due is None:
            self._rested_at = head
            self._moved.ring()
        waits = [wait for wait in (due, self._worker.note()) if wait is not None]
        self._bell.wait(min(waits, default=None))
