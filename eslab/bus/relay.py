"""The log is the outbox: the relay publishes what was recorded, and then notes how far it got."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Final

from eslab.bus.journey import Message, Route, straight
from eslab.bus.lanes import Lanes
from eslab.bus.local import Handler, LocalBus, handler_name
from eslab.clock import Scheduler
from eslab.events import RecordedEvent
from eslab.store.port import EventStore

__all__ = ["Relay"]

BATCH: Final = 1_000
"""Events that are read at once."""

Work = Callable[[], None]


class Relay:
    """Brings the events of a store to the handlers on a bus, from where the store is now.

    Each handler gets the events of a stream in order, unless the route lets one overtake another.
    On a virtual clock a scheduler has the deliveries: of events of several streams, and of several
    handlers, any may come first. At least once: an event whose deliveries are not all done when
    the relay forgets what is on its way is delivered again.

    Args:
        store: the source.
        bus: has the handlers.
        route: plans how each event travels to each handler.
    """

    name = "relay"

    def __init__(self, store: EventStore, bus: LocalBus, *, route: Route = straight) -> None:
        self._store = store
        self._bus = bus
        self.route = route
        self._begin_at(store.head())

    def _begin_at(self, position: int) -> None:
        self._scanned = position
        self._agenda: list[tuple[datetime, int, Work]] = []
        self._numbers = count()
        self._lanes = Lanes()
        self._left: Counter[int] = Counter()  # deliveries that are not done, by position

    @property
    def position(self) -> int:
        """The last position up to which everything was delivered."""
        return min(self._left) - 1 if self._left else self._scanned

    def begin(self) -> None:
        """Take note that a run begins."""

    def step(self, limit: int = BATCH) -> bool:
        """Deliver what is due of up to `limit` new events, and say whether there was any.

        While nobody subscribes, nothing is read: the relay goes on from where the store is.
        """
        before = self._scanned
        try:
            for event in self._new(limit):
                self._send(event)
                self._deliver_due()
            delivered = self._deliver_due()
        except BaseException:
            self.forget()
            raise
        return delivered or (self._bus.subscribed and self._scanned > before)

    def _new(self, limit: int) -> list[RecordedEvent]:
        if self._bus.subscribed:
            return list(self._store.read_all(after=self._scanned, limit=limit))
        self._scanned = self._store.head()
        return []

    def _send(self, event: RecordedEvent) -> None:
        """Let an event begin its journeys, to each of its handlers."""
        for handler in self._bus.handlers(event.type):
            self._send_to(handler, event)
        self._scanned = event.position

    def _send_to(self, handler: Handler, event: RecordedEvent) -> None:
        message = Message(
            kind="event",
            consumer=handler_name(handler),
            name=event.type,
            id=event.event_id,
            sequence=event.stream_id,
        )
        journey = self.route(message)
        now = self._store.clock.now()
        for delay in journey.arrivals:
            due = now + delay
            deliver: Work = partial(self._deliver, event, handler)
            if journey.ordered:
                deliver, due = self._lanes.put((handler, event.stream_id), due, deliver)
            self._left[event.position] += 1
            heapq.heappush(self._agenda, (due, next(self._numbers), deliver))

    def _deliver_due(self) -> bool:
        delivered = False
        while self._agenda and self._agenda[0][0] <= self._store.clock.now():
            heapq.heappop(self._agenda)[2]()
            delivered = True
        return delivered

    def _deliver(self, event: RecordedEvent, handler: Handler) -> None:
        self._bus.deliver(event, handler)
        self._left[event.position] -= 1
        if not self._left[event.position]:
            del self._left[event.position]

    def due_in(self) -> float | None:
        """Return in how many seconds something arrives; None: nothing is on its way."""
        if not self._agenda:
            return None
        return max(0.0, (self._agenda[0][0] - self._store.clock.now()).total_seconds())

    def crashed(self, error: BaseException) -> None:
        """Take note that its thread ended: whoever waits for it is told why."""

    def note(self) -> float | None:
        """Return in how many seconds something arrives."""
        return self.due_in()

    def wake(self, scheduler: Scheduler) -> None:
        """Schedule the deliveries of what there is."""
        while events := self._new(BATCH):
            for event in events:
                self._send(event)
        agenda, self._agenda = self._agenda, []
        for due, _, deliver in sorted(agenda, key=lambda entry: entry[:2]):
            scheduler.after(max(timedelta(0), due - self._store.clock.now()), deliver)

    def forget(self) -> None:
        """Take note that nothing is scheduled any more: it is found again in the log."""
        self._begin_at(self.position)
