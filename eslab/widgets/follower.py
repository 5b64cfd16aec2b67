"""Follows a store for a widget: at most so many times a second, and the latest wins."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from eslab.errors import StoreClosedError

__all__ = ["Follower"]

RATE: Final = 20
"""How often it looks at most, each second."""

_log = logging.getLogger("eslab.widgets")


class Follower:
    """Has somebody look again after something was appended, on a thread of its own.

    However often it is told, there is one look at a time, and the last one comes after the last
    append. Between two of them it rests, at least as long as the last one took. The thread ends
    when there is nothing to look at.

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
        self._rest = 1 / rate
        self._lock = threading.Lock()
        self._due = False
        self._running = False
        self._ended = False

    def notice(self) -> None:
        """Take note, on any thread, that there is something to look at."""
        with self._lock:
            self._due = True
            if self._running or self._ended:
                return
            self._running = True
        threading.Thread(target=self._run, name="eslab-follower", daemon=True).start()

    def end(self) -> None:
        """Look no more."""
        self._ended = True

    def _next(self) -> bool:
        with self._lock:
            self._running = self._due and not self._ended
            self._due = False
            return self._running

    def _run(self) -> None:
        while self._next():
            began = time.monotonic()
            try:
                self._look()
            except StoreClosedError:
                self.end()
            except Exception:
                _log.exception("a widget cannot follow the store any more")
                self.end()
            time.sleep(max(self._rest, time.monotonic() - began))
