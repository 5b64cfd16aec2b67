"""Follows a store for a widget: at most so many times a second, and the latest wins."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import Final

from eslab.errors import StoreClosedError

__all__ = ["Follower"]

RATE: Final = 20
"""How often it looks at most, each second."""

PATIENCE: Final = 5.0
"""Seconds for which the end of the interpreter waits for a look."""

_log = logging.getLogger("eslab.widgets")


class Follower:
    """Has somebody look again after something was appended, on a thread of its own.

    However often it is told, there is one look at a time, and the last one comes after the last
    append. After each it rests, at least as long as it worked. The thread ends when there is
    nothing to look at.

    Args:
        look: what it does; when it raises, or the store is closed, nothing is followed any more.
        rate: how often it does so at most, each second.

    Example:
        >>> looked = threading.Event()
        >>> follower = Follower(looked.set)
        >>> follower.notice()
        >>> looked.wait(10)
        True
    """

    def __init__(self, look: Callable[[], object], *, rate: float = RATE) -> None:
        self._look = look
        self._period = 1 / rate
        self._lock = threading.Lock()
        self._due = False
        self._running = False
        self._ended = False
        self._thread: threading.Thread | None = None
        _followers.add(self)

    def notice(self) -> None:
        """Take note, on any thread, that there is something to look at."""
        with self._lock:
            self._due = True
            if self._running or self._ended:
                return
            self._running = True
            self._thread = threading.Thread(target=self._run, name="eslab-follower", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Look no more."""
        self._ended = True

    def wait(self, timeout: float) -> None:
        """Wait for the thread to end, at most so many seconds."""
        thread = self._thread
        if thread is not None and thread.ident is not None:
            thread.join(timeout)

    def _next(self) -> bool:
        with self._lock:
            self._running = self._due and not self._ended
            self._due = False
            return self._running

    def _run(self) -> None:
        due = 0.0
        while self._next():
            began, spent = time.monotonic(), time.thread_time()
            # It wakes a little late each time; that is not to add up.
            due = due if began - due < self._period / 4 else began
            try:
                self._look()
            except StoreClosedError:
                self.end()
            except Exception:
                _log.exception("a widget cannot follow the store any more")
                self.end()
            if not self._ended:
                ended = time.monotonic()
                due = max(due + self._period, ended + time.thread_time() - spent)
                time.sleep(due - ended)


_followers: weakref.WeakSet[Follower] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """End them before the interpreter does: in the middle of a query it would abort the process."""
    for follower in tuple(_followers):
        follower.end()
    for follower in tuple(_followers):
        follower.wait(PATIENCE)
