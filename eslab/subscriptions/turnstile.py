"""A lock that goes to whoever came first, so that a busy thread lets others in between."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

__all__ = ["Turnstile"]


class Turnstile:
    """A lock that its owner may take again, and that nobody takes twice while another one waits.

    Python's own locks go to whoever is quickest: a thread that lets go of one only to take it again
    keeps others waiting for seconds.

    Example:
        >>> turnstile = Turnstile()
        >>> with turnstile, turnstile:
        ...     turnstile.acquire(timeout=0)
        True
        >>> turnstile.release()
    """

    __slots__ = ("_lock", "_queue")

    def __init__(self) -> None:
        self._queue = threading.Lock()
        self._lock: Any = threading.RLock()

    def acquire(self, *, timeout: float | None = None) -> bool:
        """Take it, and say whether that succeeded.

        Args:
            timeout: how long to wait at most, in seconds.
        """
        if self._lock._is_owned():  # noqa: SLF001 - as `threading.Condition` does
            return bool(self._lock.acquire())
        begun = time.monotonic()
        if not self._queue.acquire(timeout=-1 if timeout is None else timeout):
            return False
        try:
            left = -1 if timeout is None else max(0.0, timeout - (time.monotonic() - begun))
            return bool(self._lock.acquire(timeout=left))
        finally:
            self._queue.release()

    def release(self) -> None:
        """Give it back."""
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
