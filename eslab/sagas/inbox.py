"""What sagas find in the log: those that have not ended, and the events that concern them."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Final

from eslab.bus.journey import Message, Route
from eslab.errors import EslabError, SagaDefinitionError
from eslab.events import RecordedEvent
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

__all__ = ["Inbox", "Take"]

_AT_ONCE: Final = (timedelta(0),)
_OPENING: Final = (SagaStarted, SagaResumed, LateReplyReceived, CompensationStarted)
_CLOSING: Final = (SagaCompleted, SagaCompensated, SagaStuck, CompensationCompleted)
_TAKING: Final = (SagaStarted, InputReceived, InputParked, InputFailed)
"""Those that say that a saga dealt with an event of the log, and at which position that is."""

Take = Callable[..., object]
"""Lets a saga, by its stream, decide: to go on, or about what it is given."""


class Inbox:
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
        self.forget()

    def forget(self) -> None:
        """Look at the whole log again, for all machines."""
        self._new: dict[str, Machine] = dict(self._machines)
        self._arriving: dict[str, list[tuple[datetime, int, int, Delivered]]] = {}
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
                handled = self._recover(new, head)
                self._look(new.values(), 0, head, handled)
                self._new = {}
            if self._scanned is not None and head > self._scanned:
                self._find_started(self._scanned, head)
                known = [machine for name, machine in self._machines.items() if name not in new]
                self._look(known, self._scanned, head, {})
            self._scanned = head
            return head

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
            data = event.data
            if event.type in taking:
                handled.setdefault(saga_name(event.stream_id), set()).add(data.get("position", 0))
            if not data.get("compensated", data.get("late", True)):
                continue  # of these only the ones that come when it has ended
            if event.type in opening:
                opened[event.stream_id] = None
            elif event.type in closing:
                opened.pop(event.stream_id, None)
        self._load([one for one in opened if saga_name(one) in machines])
        return handled

    def _load(self, stream_ids: Iterable[str]) -> None:
        """Go on with sagas, whose streams are read at once."""
        streams: dict[str, list[RecordedEvent]] = {
            stream_id: [] for stream_id in stream_ids if stream_id not in self._instances
        }
        if streams:
            for event in self._store.read_all(streams=streams):
                streams[event.stream_id].append(event)
        for stream_id, events in streams.items():
            with suppress(EslabError):  # it is raised when it is its turn
                self._instances.load(stream_id, events)
            self._agenda.put(stream_id, partial(self._take, stream_id))

    def _find_started(self, after: int, until: int) -> None:
        """Begin with the sagas that were started meanwhile."""
        started = self._store.read_all(
            after=after, until=until, types=[SagaStarted.event_type], category=CATEGORY
        )
        for event in started:
            if event.stream_id not in self._instances:
                self._agenda.put(event.stream_id, partial(self._take, event.stream_id))

    # Events.

    def _look(
        self,
        machines: Iterable[Machine],
        after: int,
        until: int,
        handled: Mapping[str, Container[int]],
    ) -> None:
        """Find the events that concern machines, but for those that were handled before."""
        machines = [machine for machine in machines if machine.concerns]
        if not machines:
            return
        types = frozenset().union(*(machine.concerns for machine in machines))
        for event in self._store.read_all(after=after, until=until, types=types):
            for machine in machines:
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
        now = self._store.clock.now()
        for delay in self._delays(machine, recorded, stream_id):
            arriving = self._arriving.setdefault(stream_id, [])
            entry = now + delay, recorded.position, next(self._numbers), delivered
            heapq.heappush(arriving, entry)
            self._agenda.put(stream_id, partial(self._arrive, stream_id), now + delay)

    def _delays(
        self, machine: Machine, recorded: RecordedEvent, stream_id: str
    ) -> tuple[timedelta, ...]:
        """Return how long an event travels, for each time that it arrives."""
        task = machine.answered(recorded)
        if task is not None:  # it is the answer to something whose journey was planned
            instance = self._instances.get(stream_id)
            return _AT_ONCE if instance is None else instance.replies.get(task, _AT_ONCE)
        message = Message(
            kind="event",
            consumer=machine.name,
            name=recorded.type,
            id=recorded.event_id,
            sequence=recorded.stream_id,
        )
        return self._route(message).arrivals

    def _arrive(self, stream_id: str) -> None:
        """Let a saga have the event that arrived first; of several at once, the first in the log.

        What is due at the same time on a virtual clock is done in any order, and events of one
        instance are not to overtake each other there.
        """
        with self._lock:
            arriving = self._arriving[stream_id]
            self._take(stream_id, arriving[0][-1])
            heapq.heappop(arriving)
            if not arriving:
                del self._arriving[stream_id]
