"""Looks again whenever something happened: on a thread of its own, while somebody watches."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import Final

from eslab.errors import EslabError, StoreClosedError
from eslab.store.bell import Bell

__all__ = ["Follower"]

PACE: Final = 1 / 20
"""Seconds from one look to the next, at least."""

IDLE: Final = 1.0
"""Seconds after which it looks around, though nothing happened."""

LEASE: Final = 15.0
"""Seconds for which somebody is taken to watch who said so: a page may vanish without a word."""

log = logging.getLogger(__name__)


class Follower:
    """Calls a function whenever something happened, at most 20 times a second.

    What happens during a call, or shortly after it, is one more call: the latest wins. A call that
    takes longer than the pace is followed by a rest as long as itself, so that watching takes half
    of the time of one core at most.

    The thread begins when the first one watches, and ends when nobody does any more, when there is
    nothing left to watch, and when the interpreter ends.

    Args:
        look: the function; it is told whether something happened, or only time passed. An error of
            eslab's ends the following.
        listen: calls a function whenever something happened, until what it returns is called.
        gone: whether there is nothing left to watch.
        ended: is called when following ends though somebody watches, with the reason in words.
    """

    def __init__(
        self,
        look: Callable[[bool], None],
        *,
        listen: Callable[[Callable[[], None]], Callable[[], None]],
        gone: Callable[[], bool],
        ended: Callable[[str], None],
    ) -> None:
        self._look = look
        self._listen = listen
        self._gone = gone
        self._ended = ended
        self._lock = threading.Lock()
        self._leases: dict[str, float] = {}
        self._thread: threading.Thread | None = None
        self._bell = Bell()
        _followers.add(self)

    def watch(self, viewer: str) -> None:
        """Follow for somebody, for some seconds from now on."""
        with self._lock:
            self._leases[viewer] = time.monotonic() + LEASE
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="eslab-lag", daemon=True)
                self._thread.start()

    def leave(self, viewer: str) -> None:
        """Follow no more for somebody."""
        with self._lock:
            self._leases.pop(viewer, None)
        self._bell.ring()

    def ring(self) -> None:
        """Let it look, as if something had happened."""
        self._bell.ring()

    @property
    def following(self) -> bool:
        """Whether there is a thread."""
        return self._thread is not None

    def stop(self, timeout: float = 2.0) -> None:
        """End the thread, and wait for it."""
        with self._lock:
            self._leases.clear()
            thread = self._thread
        self._bell.ring()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _run(self) -> None:
        stop_listening = self._listen(self._bell.ring)
        why = ""
        try:
            while self._watched():
                happened = self._bell.wait(IDLE)
                if self._gone():
                    why = "the lab was closed"
                    break
                self._take(happened)
        except StoreClosedError:
            why = "the lab was closed"
        except EslabError as error:
            why = str(error)
        except Exception as error:
            why = repr(error)
            log.exception("following ended")
        finally:
            stop_listening()
            if why:
                self._end(why)

    def _watched(self) -> bool:
        """Say whether somebody watches; if not, the thread is no more."""
        with self._lock:
            now = time.monotonic()
            self._leases = {who: end for who, end in self._leases.items() if end > now}
            if not self._leases:
                self._thread = None
            return bool(self._leases)

    def _take(self, happened: bool) -> None:
        begun = time.monotonic()
        self._look(happened)
        spent = time.monotonic() - begun
        time.sleep(min(1.0, max(PACE - spent, spent if spent > PACE else 0.0)))

    def _end(self, why: str) -> None:
        with self._lock:
            self._thread = None
            self._leases.clear()
        self._ended(why)


_followers: weakref.WeakSet[Follower] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """End all threads before the interpreter does, or one may be in the middle of a query."""
    for follower in tuple(_followers):
        follower.stop()
