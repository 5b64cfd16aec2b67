"""What sagas find in the log: those that have not ended, and the events that concern them."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Final

from eslab.bus.journey import Message, Route
from eslab.errors import EslabError, SagaDefinitionError
from eslab.events import RecordedEvent, category_of
from eslab.sagas.agenda import Agenda
from eslab.sagas.definition import saga_stream
from eslab.sagas.events import (
    CompensationCompleted,
    CompensationStarted,
    InputFailed,
    InputParked,
    InputReceived,
    LateReplyReceived,
    SagaCompensated,
    SagaCompleted,
    SagaResumed,
    SagaStarted,
    SagaStuck,
)
from eslab.sagas.instances import CATEGORY, Instances, saga_name
from eslab.sagas.machine import Delivered, Machine
from eslab.schema import EventRegistry
from eslab.store.port import EventStore

__all__ = ["Dispatch", "Take"]

_AT_ONCE: Final = (timedelta(0),)
_OPENING: Final = (SagaStarted, SagaResumed, LateReplyReceived, CompensationStarted)
_CLOSING: Final = (SagaCompleted, SagaCompensated, SagaStuck, CompensationCompleted)
_TAKING: Final = (SagaStarted, InputReceived, InputParked, InputFailed)
"""Those that say that a saga dealt with an event of the log, and at which position that is."""

Take = Callable[[str, Delivered | None], None]
"""Lets a saga, by its stream, decide about an event; or go on, if it is given none."""


class Dispatch:
    """Follows the log, and lets each saga have what concerns it.

    Args:
        store: the log.
        registry: decodes its events.
        instances: the sagas that are known here.
        agenda: has what is brought to them.
        take: lets one decide about it.
        machines: say what concerns them, by the names of the sagas.
        route: plans how events travel.
        lock: of the orchestrator.
    """

    def __init__(
        self,
        store: EventStore,
        registry: EventRegistry,
        instances: Instances,
        agenda: Agenda,
        take: Take,
        *,
        machines: Mapping[str, Machine],
        route: Route,
        lock: threading.RLock,
    ) -> None:
        self._store = store
        self._registry = registry
        self._machines = machines
        self._instances = instances
        self._agenda = agenda
        self._take = take
        self._route = route
        self._lock = lock
        self._numbers = count()
        self._only: tuple[str, str | None] | None = None
        self.forget()

    def confine(self, stream_id: str, correlation_id: str | None) -> None:
        """Pass over all from now on that neither concerns this saga nor belongs to it."""
        self._only = stream_id, correlation_id

    def _passes(self, event: RecordedEvent) -> bool:
        if self._only is None:
            return True
        belongs_to = event.metadata.correlation_id or event.stream_id
        return event.stream_id == self._only[0] or belongs_to in self._only

    def forget(self) -> None:
        """Look at the whole log again, for all machines."""
        self._new: dict[str, Machine] = dict(self._machines)
        self._arriving: dict[str, list[tuple[datetime, int, int, Delivered]]] = {}
        self._lanes: dict[tuple[str, str], datetime] = {}  # when the last one of each arrives
        self._scanned: int | None = None

    def expect(self, machine: Machine) -> None:
        """Look at the whole log for a machine, when it is scanned next."""
        self._new[machine.name] = machine

    @property
    def incomplete(self) -> bool:
        """Whether there is a machine for which the log was not looked at."""
        return bool(self._new)

    def scan(self) -> int:
        """Look at what was appended since this was last done, and return up to which position.

        For who is new it is looked at all that there is.
        """
        with self._lock:
            head, new = self._store.head(), self._new
            if new:
                self._look_back(new, head)
                self._new = {}
            if self._scanned is not None and head > self._scanned:
                known = [machine for name, machine in self._machines.items() if name not in new]
                if known:
                    self._look_on(known, self._scanned, head)
            self._scanned = head
            return head

    def _look_back(self, machines: Mapping[str, Machine], head: int) -> None:
        """Find what concerns machines in all of the log, but for what was handled before."""
        handled = self._recover(machines, head)
        if types := _types(machines.values()):
            for event in self._store.read_all(until=head, types=types):
                self._offer(event, machines.values(), handled)

    def _look_on(self, machines: Collection[Machine], after: int, until: int) -> None:
        """Find sagas that were started meanwhile, and events that concern machines."""
        types = _types(machines) | {SagaStarted.event_type}
        events = list(self._store.read_all(after=after, until=until, types=types))
        self._go_on(
            event.stream_id
            for event in events
            if event.type == SagaStarted.event_type
            and category_of(event.stream_id) == CATEGORY
            and self._passes(event)
        )
        for event in events:
            self._offer(event, machines, {})

    # Sagas.

    def _recover(self, machines: Mapping[str, Machine], head: int) -> dict[str, set[int]]:
        """Find the sagas that have not ended, and go on with them.

        Returns:
            The positions of the events that sagas dealt with, by their names.
        """
        opened: dict[str, None] = {}
        handled: dict[str, set[int]] = {}
        opening = [cls.event_type for cls in _OPENING]
        closing = [cls.event_type for cls in _CLOSING]
        taking = [cls.event_type for cls in _TAKING]
        types = {*opening, *closing, *taking}
        for event in self._store.read_all(until=head, types=types, category=CATEGORY):
            if not self._passes(event):
                continue
            data = event.data
            if event.type in taking:
                handled.setdefault(saga_name(event.stream_id), set()).add(data.get("position", 0))
            if not data.get("compensated", data.get("late", True)):
                continue  # of these only the ones that come when it has ended
            if event.type in opening:
                opened[event.stream_id] = None
            elif event.type in closing:
                opened.pop(event.stream_id, None)
        self._go_on(one for one in opened if saga_name(one) in machines)
        return handled

    def _go_on(self, stream_ids: Iterable[str]) -> None:
        """Go on with those sagas that are not known yet; their streams are read at once."""
        streams: dict[str, list[RecordedEvent]] = {
            stream_id: [] for stream_id in stream_ids if stream_id not in self._instances
        }
        if streams:
            for event in self._store.read_all(streams=streams):
                streams[event.stream_id].append(event)
        for stream_id, events in streams.items():
            with suppress(EslabError):  # it is raised when it is its turn
                self._instances.load(stream_id, events)
            self._agenda.put(stream_id, partial(self._take, stream_id, None))

    # Events.

    def _offer(
        self,
        event: RecordedEvent,
        machines: Iterable[Machine],
        handled: Mapping[str, Container[int]],
    ) -> None:
        """Let those machines have an event that it concerns, and that did not handle it before."""
        passes = self._passes(event)
        for machine in machines:
            if not passes and not self._is_of_the_only(machine):
                continue
            if (
                event.type in machine.concerns
                and event.position > machine.after
                and event.position not in handled.get(machine.name, ())
            ):
                try:
                    self._bring(machine.name, event)
                except EslabError:  # likewise
                    who = f"{machine.name} {event.stream_id}"
                    self._agenda.put(who, partial(self._bring, machine.name, event))

    def _is_of_the_only(self, machine: Machine) -> bool:
        return self._only is not None and saga_name(self._only[0]) == machine.name

    def _bring(self, name: str, recorded: RecordedEvent) -> None:
        """Let a machine have an event, when it has travelled."""
        machine = self._machines[name]  # as it is now
        delivered = Delivered(recorded, self._registry.decode(recorded))
        try:
            saga_id = machine.concerned(delivered)
            if saga_id is None:
                return
            stream_id = saga_stream(machine.name, saga_id)
        except Exception as error:
            raise SagaDefinitionError(
                f"{machine!r}: {recorded!r:.200} does not say which one it concerns: {error}"
            ) from error
        # What came from outside has a correlation id of its own, or none.
        if self._only is not None and stream_id != self._only[0] and not self._passes(recorded):
            return
        for due in self._arrivals(machine, recorded, stream_id):
            arriving = self._arriving.setdefault(stream_id, [])
            heapq.heappush(arriving, (due, recorded.position, next(self._numbers), delivered))
            self._agenda.put(stream_id, partial(self._arrive, stream_id), due)

    def _arrivals(
        self, machine: Machine, recorded: RecordedEvent, stream_id: str
    ) -> Iterator[datetime]:
        """Yield when an event arrives, each time that it does."""
        now = self._store.clock.now()
        task = machine.answered(recorded)
        if task is not None:  # it is the answer to something whose journey was planned
            instance = self._instances.get(stream_id)
            replies = _AT_ONCE if instance is None else instance.replies.get(task, _AT_ONCE)
            yield from (now + delay for delay in replies)
            return
        message = Message(
            kind="event",
            consumer=machine.name,
            name=recorded.type,
            id=recorded.event_id,
            sequence=recorded.stream_id,
        )
        journey = self._route(message)
        lane = machine.name, recorded.stream_id
        for delay in journey.arrivals:
            due = now + delay
            if journey.ordered:
                due = max(due, self._lanes.pop(lane, due))
                if due > now:
                    self._lanes[lane] = due
            yield due

    def _arrive(self, stream_id: str) -> None:
        """Let a saga have the event that arrived first; of several at once, the first in the log.

        What is due at the same time on a virtual clock is done in any order, and events of one
        instance are not to overtake each other there.
        """
        with self._lock:
            arriving = self._arriving.get(stream_id)
            if not arriving:
                return  # it was forgotten meanwhile, and is found again
            self._take(stream_id, arriving[0][-1])
            heapq.heappop(arriving)
            if not arriving:
                del self._arriving[stream_id]


def _types(machines: Iterable[Machine]) -> frozenset[str]:
    """Return the types of the events that may concern machines."""
    return frozenset().union(*(machine.concerns for machine in machines))
