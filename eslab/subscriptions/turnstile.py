"""A lock that goes to whoever came first, so that a busy thread lets others in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Turnstile"]


class Turnstile:
    """A lock that its owner may take again, and that nobody takes twice while another one waits.

    Python's own locks go to whoever is quickest: a thread that lets go of one only to take it again
    keeps others waiting for seconds.

    Ctrl-C may come at any moment on the thread that takes it, and never leaves it taken: what gives
    it back is written in C, and cannot be interrupted before it has done so (see `Bell`).

    Example:
        >>> turnstile = Turnstile()
        >>> with turnstile, turnstile:
        ...     turnstile.acquire(timeout=0)
        True
        >>> turnstile.release()
    """

    __slots__ = ("__exit__", "_lock", "_queue", "release")

    __exit__: Callable[..., None]
    release: Callable[[], None]

    def __init__(self) -> None:
        self._queue = threading.RLock()  # it says whether this thread is the one that has it
        self._lock: Any = threading.RLock()
        self.__exit__ = self._lock.__exit__
        self.release = self._lock.release

    def acquire(self, *, timeout: float | None = None) -> bool:
        """Take it, and say whether that succeeded.

        Args:
            timeout: how long to wait at most, in seconds.
        """
        lock = self._lock
        held = _depth(lock)
        try:
            return bool(lock.acquire()) if held else self._take_turn(timeout)
        except BaseException:
            if _depth(lock) > held:
                lock.release()
            raise

    def _take_turn(self, timeout: float | None) -> bool:
        begun = time.monotonic()
        try:
            if not self._queue.acquire(timeout=-1 if timeout is None else timeout):
                return False
            left = -1 if timeout is None else max(0.0, timeout - (time.monotonic() - begun))
            return bool(self._lock.acquire(timeout=left))
        finally:
            try:  # noqa: SIM105 - an interrupt may come before what `suppress` does
                self._queue.release()
            except RuntimeError:  # it was not this one's turn
                pass

    def __enter__(self) -> None:
        self.acquire()


def _depth(lock: Any) -> int:
    """Return how often this thread has taken a lock, and not given it back."""
    if not lock._is_owned():  # noqa: SLF001 - as `threading.Condition` asks its lock
        return 0
    count = getattr(lock, "_recursion_count", None)
    if count is not None:
        return int(count())
    # Before Python 3.11.5 only the lock's own words tell it: "... owner=7 count=2 at ...".
    return int(repr(lock).partition("count=")[2].split()[0])
