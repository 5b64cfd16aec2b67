"""What runs sagas: it brings each what concerns it, records what it decides, and sends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from eslab.bus.journey import Journey, Message, Route, straight
from eslab.clock import Scheduler, VirtualClock
from eslab.errors import (
    ConcurrencyError,
    InputError,
    SagaDefinitionError,
    SagaError,
    SagaNotFoundError,
)
from eslab.events import NO_STREAM, Event
from eslab.messaging import Command, CommandBus
from eslab.messaging.envelope import handled
from eslab.sagas.agenda import Agenda
from eslab.sagas.deciding import Resume
from eslab.sagas.definition import Saga, derived_key, saga_stream
from eslab.sagas.dispatch import Dispatch
from eslab.sagas.events import SAGA_EVENTS, SagaStarted
from eslab.sagas.execution import Execution
from eslab.sagas.instances import DueTimer, Instances, inherited
from eslab.sagas.machine import Machine, SagaMachine
from eslab.sagas.process_machine import ProcessMachine
from eslab.sagas.process_manager import ProcessManager, is_process_manager
from eslab.sagas.state import SagaState, evolve
from eslab.schema import EventRegistry, encode, qualified_name
from eslab.store.port import EventStore, StreamAppend
from eslab.subscriptions.turn import Turn

__all__ = ["Orchestrator"]


class Orchestrator:
    """Runs sagas over a store. All that it knows of a saga is in the saga's stream.

    Whatever it keeps in memory it can do without: when it is new, it reads which sagas have not
    ended, and sends again what was sent and not answered.

    Args:
        store: where the streams of the sagas are.
        registry: the sagas' own events are registered in it.
        commands: carries out the commands that sagas send.
        route: plans how what is sent travels.
    """

    name = "orchestrator"

    def __init__(
        self,
        store: EventStore,
        registry: EventRegistry,
        commands: CommandBus,
        *,
        route: Route = straight,
    ) -> None:
        self._store = store
        self._registry = registry
        self._commands = commands
        self.route = route
        self.position = 0
        self._machines: dict[str, Machine] = {}
        self._lock = threading.RLock()
        self._agenda = Agenda(store.clock, self._lock)
        self._instances = Instances(store, registry, self._machines, rests=self._agenda.rests)
        self._execution = Execution(
            store, self._instances, self._agenda, route=self._plan, lock=self._lock
        )
        self._dispatch = Dispatch(
            store,
            registry,
            self._instances,
            self._agenda,
            self._execution.take,
            machines=self._machines,
            route=self._plan,
            lock=self._lock,
        )
        for event in SAGA_EVENTS:
            registry.register(event)

    def _plan(self, message: Message) -> Journey:
        return self.route(message)

    @property
    def definitions(self) -> list[Saga | type[ProcessManager]]:
        """The sagas and the classes of process managers that are known."""
        found: list[Saga | type[ProcessManager]] = []
        for machine in list(self._machines.values()):
            if isinstance(machine, SagaMachine):
                found.append(machine.saga)
            elif isinstance(machine, ProcessMachine):
                found.append(machine.cls)
        return found

    # What users do.

    def register(self, definition: Saga | type[ProcessManager]) -> None:
        """Make a saga or a process manager known by its name; a saga of that name is replaced.

        A class of process managers is replaced by one of the same module and qualified name,
        because a cell of a notebook is run again and again.

        Raises:
            SagaDefinitionError: it is neither, or another one has that name.
            RegistrationError: something else handles the command that starts it, or an event that
                concerns it has the type name of another one.
        """
        if is_process_manager(definition):
            self._add_process(definition)
        else:
            self._add_saga(definition)

    def _add_saga(self, saga: Saga) -> None:
        if not isinstance(saga, Saga):
            raise SagaDefinitionError(f"a saga is made by Saga(name, steps); found {saga!r:.200}")
        earlier = self._machines.get(saga.name)
        if isinstance(earlier, SagaMachine) and earlier.saga == saga:
            return
        if isinstance(earlier, ProcessMachine):
            raise SagaDefinitionError(f"the name {saga.name!r} is that of {earlier!r} already")
        machine = SagaMachine(saga, self._commands, cost=self._costs)
        self._know_events(machine)
        owner, start = f"saga {saga.name!r}", saga.started_by
        if start is not None and issubclass(start, Command):
            self._commands.take(owner, start, partial(self._started, saga), whole=True)
        else:
            self._commands.leave(owner)
        self.add(machine)

    def _know_events(self, machine: Machine) -> None:
        for event in machine.events:
            self._registry.register(event)

    @property
    def _costs(self) -> bool:
        """Whether what is sent takes its time: on the machine's clock it does so by itself."""
        return isinstance(self._store.clock, VirtualClock)

    def _add_process(self, cls: type[ProcessManager]) -> None:
        machine = ProcessMachine(cls, self._commands, self._event, cost=self._costs)
        earlier = self._machines.get(machine.name)
        if isinstance(earlier, ProcessMachine) and earlier.cls is cls:
            return
        if earlier is not None and not (
            isinstance(earlier, ProcessMachine)
            and qualified_name(earlier.cls) == qualified_name(cls)
        ):
            raise SagaDefinitionError(
                f"the name {machine.name!r} is that of {earlier!r} already: give {cls!r} "
                f"another one: class {cls.__name__}(ProcessManager, name=...)"
            )
        self._know_events(machine)
        self.add(machine)

    def _event(self, event_id: str) -> Event:
        """Return an event of the log."""
        recorded = self._store.find(UUID(event_id))
        if recorded is None:
            raise SagaError(f"there is no event {event_id} in this log")
        return self._registry.decode(recorded)

    def add(self, machine: Machine) -> None:
        """Run a machine from now on; one of the same name is replaced."""
        with self._lock:
            if machine.name not in self._machines or machine.concerns:
                self._dispatch.expect(machine)  # it has yet to see what is in the log
            self._machines[machine.name] = machine
            for instance in self._instances:
                if instance.machine.name == machine.name:
                    instance.machine = machine

    def _started(self, saga: Saga, command: Command) -> list[StreamAppend]:
        """Return what a command that starts a saga records."""
        by_field = saga.id is None
        saga_id = (
            self._commands.target(command, saga.name) if by_field else saga.started_id(command)
        )
        stream_id = saga.stream_id(saga_id)
        started = self._start_of(saga, saga_id, command.model_dump(mode="json"))
        if self._store.stream_version(stream_id) == 0:
            return [StreamAppend(stream_id, [started], NO_STREAM)]
        (first,) = self._store.read(stream_id, limit=1)
        if first.data.get("input") == started.input:
            return []
        raise SagaError(f"saga {saga.name!r} {saga_id!r} was started with another input before")

    @staticmethod
    def _start_of(saga: Saga, saga_id: str, input: Mapping[str, Any]) -> SagaStarted:
        names = [step.name for step in saga]
        return SagaStarted(
            saga=saga.name, saga_id=saga_id, steps=names, input=dict(input), pivot=saga.pivot
        )

    def start(self, saga: Saga, saga_id: str, input: Mapping[str, Any]) -> bool:
        """Record that a saga begins, and say whether it is new.

        Starting a saga of the same id with the same input again does nothing.

        Raises:
            IdempotencyError: a saga of this id was started with another input.
            SagaError: it was started by an event or a command.
            InputError: the id is no text, or empty.
        """
        self._add_saga(saga)
        if not isinstance(saga_id, str) or not saga_id:
            raise InputError(f"which saga is started is a text, not {saga_id!r:.200}")
        stream_id = saga.stream_id(saga_id)
        event_id = derived_key(stream_id, "started")
        started = self._start_of(saga, saga_id, input)
        metadata = replace(inherited(handled(), stream_id), causation_id=handled().causation_id)
        new = encode(started, event_id=event_id, metadata=metadata)
        try:
            result = self._store.append(stream_id, [new], expected_version=NO_STREAM)
        except ConcurrencyError:
            raise SagaError(
                f"saga {saga.name!r} {saga_id!r} was started by an event or a command before: "
                f"give this one another id"
            ) from None
        return not result.duplicate

    def saga(self, name: str) -> Saga | None:
        """Return the definition of a saga; None: nothing here knows one of this name."""
        machine = self._machines.get(name)
        return machine.saga if isinstance(machine, SagaMachine) else None

    def confine(self, stream_id: str, correlation_id: str | None) -> None:
        """Let only a saga go on from now on, and those that belong to it.

        Args:
            stream_id: of the saga; what concerns it may come from outside.
            correlation_id: of the events of all that belong to it.
        """
        with self._lock:
            self._dispatch.confine(stream_id, correlation_id)

    def knows(self, name: str) -> bool:
        """Say whether a saga, or a process manager, of this name is known here."""
        return name in self._machines

    def state(self, name: str, saga_id: str) -> Any:
        """Return what a saga's stream says about it.

        Raises:
            SagaNotFoundError: there is no such saga.
        """
        stream_id = saga_stream(name, saga_id)
        if self._store.stream_version(stream_id) == 0:
            raise SagaNotFoundError(name, saga_id)
        state, evolve = self.folding(name)
        for recorded in self._store.read(stream_id):
            state = evolve(state, self._registry.decode(recorded))
        return state

    def folding(self, name: str) -> tuple[Any, Callable[[Any, Event], Any]]:
        """Return the state of a saga before its first event, and what folds its events.

        Args:
            name: of the saga; one that nobody here knows is taken for one of steps.
        """
        machine = self._machines.get(name)
        return (SagaState(), evolve) if machine is None else (machine.initial(), machine.evolve)

    def resume(self, name: str, saga_id: str, *, resolved: bool = False, reason: str = "") -> None:
        """Let a saga that is stuck go on.

        Args:
            name: of the saga.
            saga_id: which one.
            resolved: what it could not do has been done by a person, and is not tried again.
            reason: what that person says.

        Raises:
            SagaNotFoundError: there is no such saga.
            SagaError: it is not stuck, or nobody here knows sagas of this name.
        """
        state = self.state(name, saga_id)
        if name not in self._machines:
            raise SagaError(f"no saga of the name {name!r} is registered: register it first")
        if state.status.value != "STUCK":
            raise SagaError(f"saga {name!r} {saga_id!r} is {state.status.value}, and not STUCK")
        self._execution.take(saga_stream(name, saga_id), Resume(resolved, reason))

    def unfinished(self) -> list[tuple[str, str]]:
        """Return the names and ids of the sagas that have not ended."""
        self._scan()
        with self._lock:
            return [(one.machine.name, one.saga_id) for one in self._instances]

    # The worker.

    def begin(self) -> None:
        """Take note that a run begins: sagas that failed in the last one are tried again."""
        with self._lock:
            for stream_id in self._agenda.wake_all():
                if (instance := self._instances.get(stream_id)) is not None:
                    self._instances.note_timers(instance)

    def step(self) -> bool:
        """Do what is due, and say whether there was anything.

        Raises:
            EslabError: the first error of the sagas that could not go on; the others did.
        """
        turn, moved = Turn(), False
        turn.attempt(self._scan)
        while (work := self._agenda.next()) is not None:
            moved = True
            turn.attempt(work)
        turn.end()
        return moved

    def _scan(self) -> None:
        with self._lock:
            head = self._dispatch.scan()
            if self._agenda.empty and not self._instances.has_timers:
                self.position = head

    def due_in(self) -> float | None:
        """Return in how many seconds something arrives, or is tried again; None: never."""
        with self._lock:
            times = [self._agenda.due_at, self._instances.next_retry()]
        known = [due for due in times if due is not None]
        if not known:
            return None
        return max(0.0, (min(known) - self._store.clock.now()).total_seconds())

    def crashed(self, error: BaseException) -> None:  # noqa: ARG002 - the protocol's
        """Take note that its thread ended, perhaps in the middle of something."""
        self.forget()

    def note(self) -> float | None:
        """Return None: it never stands still."""
        return None

    def wake(self, scheduler: Scheduler) -> None:
        """Schedule on a virtual clock what was sent."""
        self._scan()
        self._agenda.schedule(scheduler)

    def forget(self) -> None:
        """Take note that nothing is scheduled any more: it is found again in the log."""
        with self._lock:
            self._agenda.forget()
            self._instances.forget()
            self._dispatch.forget()
            self.position = 0

    # Timers.

    def next_timer(self) -> DueTimer | None:
        """Return when the next timer is due, of which stream it is, and its name."""
        with self._lock:
            if self._dispatch.incomplete:
                self._scan()  # whoever fires timers may be the first to ask
            return self._instances.next_timer()

    def fire(self, stream_id: str, timer: str) -> None:
        """Let a saga know that it is time; one that rests is told when it goes on."""
        self._execution.fire(stream_id, timer)
