"""The thread that moves events to the database while others append."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import Final, Protocol

from eslab.errors import StoreClosedError, StoreError
from eslab.store.bell import Bell

__all__ = ["Flusher"]

IDLE: Final = 1.0
"""Seconds without an append after which what is left is moved too, and the file compacted."""

log = logging.getLogger(__name__)


class Flushed(Protocol):
    """What a flusher works for."""

    def flush(self) -> None:
        """Move the tail to the database."""
        ...

    def compact(self) -> None:
        """Move DuckDB's own write-ahead log into its file."""
        ...


class Flusher:
    """Moves the tail when it is told to, and when nobody has appended for a while.

    It holds no store alive, and never keeps a process or a kernel from ending.

    Args:
        store: whose tail it moves.
        idle: whether it also works when nobody appends; a store in memory has no need to.
    """

    def __init__(self, store: Flushed, *, idle: bool) -> None:
        self._bell = Bell()
        self._store = weakref.ref(store, lambda _: self._bell.ring())
        self._idle = idle
        self._urgent = False
        self._dirty = False
        self._aware = not idle
        self._stopped = False
        self._failing = False
        # Started while nothing can be lost: if that is interrupted, it may never run.
        self._thread = threading.Thread(target=self._work, name="eslab-flusher", daemon=True)
        self._thread.start()

    def notice(self, *, urgent: bool) -> None:
        """Take note of an append.

        Args:
            urgent: the tail is long enough to be moved now.
        """
        self._dirty = True
        if not urgent and self._aware:
            return
        self._urgent = self._urgent or urgent
        self._bell.ring()

    def stop(self) -> None:
        """End the thread; it finishes what it is doing."""
        self._stopped = True
        self._bell.ring()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _work(self) -> None:
        while self._wait():
            store = self._store()
            if store is None:
                return
            try:
                store.flush()
                if not self._urgent and not self._dirty:
                    store.compact()
                self._failing = False
            except StoreClosedError:
                return
            except StoreError as error:
                # What was acknowledged is safe; whoever appends until the tail is full is told.
                if not self._failing:
                    log.warning("events cannot be moved to the database: %s", error)
                self._failing = True
            del store

    def _wait(self) -> bool:
        """Wait until there is something to move, and say whether to go on."""
        while not (self._stopped or self._store() is None):
            if self._urgent:
                self._urgent = False
                return True
            self._aware = self._dirty or not self._idle
            if not self._dirty:
                self._bell.wait()
                continue
            self._dirty = False
            # An append that is not urgent does not ring: so this waits on.
            if self._bell.wait(IDLE if self._idle else None):
                self._dirty = True
            elif not self._dirty:
                return True
        return False
