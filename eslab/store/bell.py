"""Wakes a thread, whatever Ctrl-C interrupts.

`threading.Event` and `Condition` cannot be used where the main thread calls: they take their lock
by context managers written in Python, and an interrupt at the first step of `__exit__` leaves it
taken for ever. A lock itself is written in C, and cannot be interrupted in between.
"""

from __future__ import annotations

import threading

__all__ = ["Bell"]


class Bell:
    """Wakes the one thread that waits for it, or that will.

    Example:
        >>> bell = Bell()
        >>> bell.ring()
        >>> bell.wait(0), bell.wait(0)
        (True, False)
    """

    __slots__ = ("_silence",)

    def __init__(self) -> None:
        self._silence = threading.Lock()
        self._silence.acquire()

    def ring(self) -> None:
        """Wake the thread; to ring again before it woke up does nothing."""
        try:
            self._silence.release()
        except RuntimeError:  # it was rung already
            return

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is rung, at most `timeout` seconds, and say whether it was."""
        return self._silence.acquire(timeout=-1 if timeout is None else timeout)
