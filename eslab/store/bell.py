"""Wakes a thread, whatever Ctrl-C interrupts.

`threading.Event` and `Condition` cannot be used where the main thread calls: they take their lock
by context managers written in Python, and an interrupt at the first step of `__exit__` leaves it
taken for ever. A lock itself is written in C, and cannot be interrupted in between.
"""

from __future__ import annotations

import threading
from types import TracebackType

__all__ = ["Bell", "Bells"]


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


class Bells:
    """Wakes all threads that wait for it, each by a bell of its own.

    Example:
        >>> bells = Bells()
        >>> with bells.listening() as bell:
        ...     bells.ring()
        ...     bell.wait(0)
        True
    """

    __slots__ = ("_bells", "_lock")

    def __init__(self) -> None:
        self._bells: tuple[Bell, ...] = ()
        self._lock = threading.Lock()

    def ring(self) -> None:
        """Wake everybody."""
        for bell in self._bells:
            bell.ring()

    def __len__(self) -> int:
        return len(self._bells)

    def listening(self) -> _Listening:
        """Give a bell that is rung with the others, while the block lasts."""
        return _Listening(self)

    def add(self, bell: Bell) -> None:
        """Ring this one too."""
        with self._lock:
            self._bells = (*self._bells, bell)

    def remove(self, bell: Bell) -> None:
        """Ring it no more."""
        with self._lock:
            self._bells = tuple(held for held in self._bells if held is not bell)


class _Listening:
    def __init__(self, bells: Bells) -> None:
        self._bells = bells
        self._bell = Bell()

    def __enter__(self) -> Bell:
        self._bells.add(self._bell)
        return self._bell

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bells.remove(self._bell)
