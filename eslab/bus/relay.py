"""The log is the outbox: the relay publishes what was recorded, and then notes how far it got."""

from __future__ import annotations

from eslab.bus.local import LocalBus
from eslab.store.port import EventStore

__all__ = ["Relay"]


class Relay:
    """Publishes the events of a store on a bus, in order, from where the store is now.

    Args:
        store: the source.
        bus: where the events go.
    """

    def __init__(self, store: EventStore, bus: LocalBus) -> None:
        self._store = store
        self._bus = bus
        self.position = store.head()

    def step(self, limit: int = 1_000) -> int:
        """Publish up to `limit` events, and return how many there were.

        While nobody subscribes, nothing is read: the relay goes on from where the store is.
        """
        if not self._bus.subscribed:
            self.position = self._store.head()
            return 0
        events = list(self._store.read_all(after=self.position, limit=limit))
        for event in events:
            self._bus.publish(event)
            self.position = event.position
        return len(events)
