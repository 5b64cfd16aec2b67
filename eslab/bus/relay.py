"""The log is the outbox: the relay publishes what was recorded, and then notes how far it got."""

from __future__ import annotations

from eslab.bus.local import LocalBus
from eslab.clock import Scheduler
from eslab.store.port import EventStore

__all__ = ["Relay"]


class Relay:
    """Publishes the events of a store on a bus, in order, from where the store is now.

    Args:
        store: the source.
        bus: where the events go.
    """

    name = "relay"

    def __init__(self, store: EventStore, bus: LocalBus) -> None:
        self._store = store
        self._bus = bus
        self.position = store.head()

    def begin(self) -> None:
        """Take note that a run begins."""

    def step(self, limit: int = 1_000) -> bool:
        """Publish up to `limit` events, and say whether there was any.

        While nobody subscribes, nothing is read: the relay goes on from where the store is.
        """
        before = self.position
        if not self._bus.subscribed:
            self.position = self._store.head()
            return False
        for event in list(self._store.read_all(after=before, limit=limit)):
            self._bus.publish(event)
            self.position = event.position
        return self.position > before

    def due_in(self) -> float | None:
        """Return None: it has work only when something is appended."""
        return None

    def crashed(self, error: BaseException) -> None:
        """Take note that its thread ended: whoever waits for it is told why."""

    def note(self) -> float | None:
        """Return None: it never stands still."""
        return None

    def wake(self, scheduler: Scheduler) -> None:  # noqa: ARG002 - a worker is given one
        """Publish what there is: it takes no time on a virtual clock."""
        while self.step():
            pass

    def forget(self) -> None:
        """Take note that nothing is scheduled any more."""
