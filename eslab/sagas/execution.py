"""One saga's turn: it decides about what came in, that is recorded, and what it wants is sent."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from typing import Final

from eslab.bus.journey import Journey, Route
from eslab.errors import ConcurrencyError, IdempotencyError, PartialDuplicateError, SagaError
from eslab.sagas.agenda import Agenda
from eslab.sagas.deciding import Input, TimerDue
from eslab.sagas.definition import derived_key
from eslab.sagas.events import SagaStarted
from eslab.sagas.instances import Instance, Instances, inherited
from eslab.sagas.machine import Delivered, Outgoing, State
from eslab.schema import encode
from eslab.store.port import EventStore

__all__ = ["Execution"]

ATTEMPTS: Final = 100
"""How often a decision is made again, because others appended to the stream meanwhile."""


class Execution:
    """Lets sagas decide and send.

    Args:
        store: where their streams are.
        instances: the sagas.
        agenda: has what arrives later, and the answers to it.
        route: plans how what is sent travels.
        lock: of the orchestrator: one saga decides at a time. It is not held while something is
            carried out, so that sagas decide meanwhile on other threads.
    """

    def __init__(
        self,
        store: EventStore,
        instances: Instances,
        agenda: Agenda,
        *,
        route: Route,
        lock: threading.RLock,
    ) -> None:
        self._store = store
        self._instances = instances
        self._agenda = agenda
        self._route = route
        self._lock = lock

    def fire(self, stream_id: str, timer: str) -> None:
        """Let a saga know that it is time; one that rests is told when it goes on."""
        self._agenda.do(stream_id, partial(self.take, stream_id, TimerDue(timer)), keep=False)

    def take(self, stream_id: str, incoming: Input | Delivered = None) -> None:
        """Let a saga decide about what came in, and send what follows from that.

        Raises:
            SagaError: others append to its stream all the time.
            SagaDefinitionError: it is not defined any more as it was when it began.
        """
        with self._lock:
            for _ in range(ATTEMPTS):
                instance = self._instances.find(stream_id)
                if instance is None:
                    return
                try:
                    self._record(instance, incoming)
                except ConcurrencyError:
                    self._instances.drop(stream_id)  # others appended: as it is now
                    continue
                except (IdempotencyError, PartialDuplicateError):
                    pass  # it is in the inbox already
                self._send(instance)
                return
        raise SagaError(f"others append to {stream_id!r} all the time: it is left for now")

    def _record(self, instance: Instance, incoming: Input | Delivered) -> None:
        """Append what a saga decides."""
        decision = instance.machine.decide(
            instance.saga_id, instance.state, incoming, self._store.clock.now()
        )
        if not (events := decision.events):
            return
        metadata, first_id = instance.origin, None
        if isinstance(incoming, Delivered):
            message = incoming.recorded
            if instance.version == 0 or isinstance(events[0], SagaStarted):
                metadata = instance.origin = inherited(message.metadata, instance.stream_id)
            metadata = replace(metadata, causation_id=str(message.event_id))
            first_id = derived_key(instance.stream_id, str(message.event_id))
        new = [
            encode(event, metadata=metadata, event_id=None if place else first_id)
            for place, event in enumerate(events)
        ]
        result = self._store.append(instance.stream_id, new, expected_version=instance.version)
        if result.duplicate:
            return
        instance.state, instance.version = decision.state, result.version

    def _send(self, instance: Instance) -> None:
        """Send what a saga has decided to send, and take note of its timers."""
        outgoing = instance.machine.outgoing(instance.saga_id, instance.state)
        state, now = instance.state, self._store.clock.now()
        for sent in outgoing:
            if (sent.task, sent.message.attempt) not in instance.sent:
                journey = self._route(sent.message)
                instance.replies[sent.task] = journey.replies
                arrive = partial(self._arrive, instance, state, sent, journey)
                for delay in journey.arrivals:
                    self._agenda.put(instance.stream_id, arrive, now + delay)
        instance.sent = {(sent.task, sent.message.attempt) for sent in outgoing}
        self._instances.note_timers(instance)
        if state.ended or instance.version == 0:
            self._instances.drop(instance.stream_id)

    def _arrive(self, instance: Instance, state: State, sent: Outgoing, journey: Journey) -> None:
        """Have something carried out, and bring back the answer.

        A process that ends in between does it again, under the same key: when the next one finds
        the saga, there is no answer in its stream.
        """
        machine = instance.machine
        if journey.error is None:
            carry_out = partial(machine.carry_out, instance.saga_id, state, sent, instance.origin)
            answer = journey.handle(carry_out)
        else:
            answer = machine.failed(sent, journey.error)
        if answer is None:
            return
        take = partial(self.take, instance.stream_id, answer)
        for delay in journey.replies:
            if delay:
                self._agenda.put(instance.stream_id, take, self._store.clock.now() + delay)
            else:
                self._agenda.do(instance.stream_id, take)
