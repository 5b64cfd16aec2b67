"""What runs sagas: it brings each what concerns it, records what it decides, and sends it."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, Final
from uuid import UUID

from eslab.bus.journey import Journey, Message, Route, straight
from eslab.clock import Scheduler, VirtualClock
from eslab.errors import (
    ConcurrencyError,
    EslabError,
    IdempotencyError,
    PartialDuplicateError,
    SagaDefinitionError,
    SagaError,
    SagaNotFoundError,
    StoreClosedError,
)
from eslab.events import NO_STREAM, Event, Metadata, RecordedEvent
from eslab.messaging import Command, CommandBus
from eslab.messaging.envelope import handled
from eslab.sagas.decisions import Input, Resume, TimerDue
from eslab.sagas.definition import Saga, derived_key, saga_stream
from eslab.sagas.events import (
    SAGA_EVENTS,
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
from eslab.sagas.machine import Delivered, Machine, Outgoing, SagaMachine, State
from eslab.sagas.process_machine import ProcessMachine
from eslab.sagas.process_manager import ProcessManager, is_process_manager
from eslab.sagas.state import SagaState, Timer, evolve
from eslab.schema import EventRegistry, encode, qualified_name
from eslab.store.port import EventStore, StreamAppend

__all__ = ["Orchestrator"]

CATEGORY: Final = "saga"
ATTEMPTS: Final = 100
"""How often a decision is made again, because others appended to the stream meanwhile."""

_AT_ONCE: Final = (timedelta(0),)
_OPENING: Final = (SagaStarted, SagaResumed, LateReplyReceived, CompensationStarted)
_CLOSING: Final = (SagaCompleted, SagaCompensated, SagaStuck, CompensationCompleted)
_TAKING: Final = (SagaStarted, InputReceived, InputParked, InputFailed)
"""Those that say that a saga dealt with an event of the log, and at which position that is."""

Work = Callable[[], object]


@dataclass(slots=True)
class _Instance:
    """One saga that has not ended, as its stream says it is.

    Attributes:
        sent: what was sent for it by this orchestrator, and not answered when that was looked at.
        replies: how long the answers to that travel, where they are events of the log.
        timers: the timers that are known to be set, and when they are due.
        origin: what its events, and what it sends, belong to.
    """

    machine: Machine
    saga_id: str
    stream_id: str
    state: Any
    version: int = 0
    origin: Metadata = field(default_factory=Metadata)
    sent: set[Any] = field(default_factory=set)
    replies: dict[Hashable, tuple[timedelta, ...]] = field(default_factory=dict)
    timers: set[tuple[str, datetime]] = field(default_factory=set)


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
        self._machines: dict[str, Machine] = {}
        self._lock = threading.RLock()
        self._numbers = count()
        self._generations = count()
        self._resting: dict[str, list[Work]] = {}
        self._forget()
        for event in SAGA_EVENTS:
            registry.register(event)

    def _forget(self) -> None:
        self._instances: dict[str, _Instance] = {}
        self._agenda: list[tuple[datetime, int, Work]] = []
        self._due: list[tuple[datetime, int, str, str]] = []
        self._new: dict[str, Machine] = dict(self._machines)
        self._arriving: dict[str, list[tuple[datetime, int, int, Delivered]]] = {}
        self._scanned: int | None = None
        self._generation = next(self._generations)
        self._scheduled = 0
        self.position = 0

    # What users do.

    def register(self, definition: Saga | type[ProcessManager]) -> None:
        """Make a saga or a process manager known by its name; a saga of that name is replaced.

        A class of process managers is replaced by one of the same module and qualified name,
        because a cell of a notebook is run again and again.

        Raises:
            SagaDefinitionError: it is neither, or another one has that name.
            RegistrationError: something else handles the command that starts it.
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
        start = saga.started_by
        if start is not None and issubclass(start, Command):
            self._commands.take(f"saga {saga.name!r}", start, partial(self._started, saga))
        self.add(SagaMachine(saga, self._commands, cost=self._costs))

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
        for event in machine.definition.events.values():
            self._registry.register(event)
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
                self._new[machine.name] = machine  # it has yet to see what is in the log
            self._machines[machine.name] = machine
            for instance in self._instances.values():
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
        if first.data["input"] == started.input:
            return []
        raise SagaError(f"saga {saga.name!r} {saga_id!r} was started with another input before")

    @staticmethod
    def _start_of(saga: Saga, saga_id: str, input: Mapping[str, Any]) -> SagaStarted:
        names = [step.name for step in saga]
        return SagaStarted(saga=saga.name, saga_id=saga_id, steps=names, input=dict(input))

    def start(self, saga: Saga, saga_id: str, input: Mapping[str, Any]) -> bool:
        """Record that a saga begins, and say whether it is new.

        Starting a saga of the same id with the same input again does nothing.

        Raises:
            IdempotencyError: a saga of this id was started with another input.
        """
        self._add_saga(saga)
        stream_id = saga.stream_id(saga_id)
        event_id = derived_key(stream_id, "started")
        started = self._start_of(saga, saga_id, input)
        metadata = replace(_inherited(handled(), stream_id), causation_id=handled().causation_id)
        result = self._store.append(
            stream_id,
            [encode(started, event_id=event_id, metadata=metadata)],
            expected_version=NO_STREAM,
        )
        return not result.duplicate

    def state(self, name: str, saga_id: str) -> Any:
        """Return what a saga's stream says about it.

        Raises:
            SagaNotFoundError: there is no such saga.
        """
        stream_id = saga_stream(name, saga_id)
        machine = self._machines.get(name)
        state: Any = SagaState() if machine is None else machine.initial()
        if self._store.stream_version(stream_id) == 0:
            raise SagaNotFoundError(name, saga_id)
        for recorded in self._store.read(stream_id):
            event = self._registry.decode(recorded)
            state = evolve(state, event) if machine is None else machine.evolve(state, event)
        return state

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
        self._take(saga_stream(name, saga_id), Resume(resolved, reason))

    def unfinished(self) -> list[tuple[str, str]]:
        """Return the names and ids of the sagas that have not ended."""
        self._scan()
        with self._lock:
            return [(one.machine.name, one.saga_id) for one in self._instances.values()]

    # The worker.

    def begin(self) -> None:
        """Take note that a run begins: sagas that failed in the last one are tried again."""
        with self._lock:
            resting, self._resting = self._resting, {}
            for who in sorted(resting):
                if who in self._instances:
                    self._set_timers(self._instances[who])
                for work in resting[who]:
                    self._put(timedelta(0), who, work)

    def step(self) -> bool:
        """Do what is due, and say whether there was anything.

        Raises:
            EslabError: the first error of the sagas that could not go on; the others did.
        """
        self._scan()
        failure: EslabError | None = None
        moved = False
        while (work := self._next()) is not None:
            moved = True
            try:
                work()
            except StoreClosedError:
                raise
            except EslabError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return moved

    def _next(self) -> Work | None:
        with self._lock:
            if self._agenda and self._agenda[0][0] <= self._store.clock.now():
                return heapq.heappop(self._agenda)[2]
            return None

    def due_in(self) -> float | None:
        """Return in how many seconds something arrives, or is tried again; None: never."""
        with self._lock:
            times = [self._agenda[0][0]] if self._agenda else []
            times += [timer.due_at for timer in self._timers() if timer.purpose == "retry"][:1]
        if not times:
            return None
        return max(0.0, (min(times) - self._store.clock.now()).total_seconds())

    def crashed(self, error: BaseException) -> None:  # noqa: ARG002 - the protocol's
        """Take note that its thread ended, perhaps in the middle of something."""
        self.forget()

    def note(self) -> float | None:
        """Return None: it never stands still."""
        return None

    def wake(self, scheduler: Scheduler) -> None:
        """Schedule on a virtual clock what was sent."""
        self._scan()
        self._schedule(scheduler)

    def _schedule(self, scheduler: Scheduler) -> None:
        with self._lock:
            agenda, self._agenda = self._agenda, []
        for due, _, work in sorted(agenda, key=lambda entry: entry[:2]):
            self._scheduled += 1
            late = max(timedelta(0), due - self._store.clock.now())
            scheduler.after(late, partial(self._done, scheduler, work, self._generation))

    def _done(self, scheduler: Scheduler, work: Work, generation: int) -> None:
        if generation != self._generation:
            return  # it was scheduled before all was forgotten
        self._scheduled -= 1
        try:
            work()
        finally:
            self._schedule(scheduler)  # an answer may be on its way, and nothing was appended

    def forget(self) -> None:
        """Take note that nothing is scheduled any more: it is found again in the log."""
        with self._lock:
            self._forget()

    # Timers.

    def next_timer(self) -> tuple[datetime, str, str] | None:
        """Return when the next timer is due, of which stream it is, and its name."""
        with self._lock:
            if self._new:
                self._scan()  # whoever fires timers may be the first to ask
            while self._due:
                due_at, _, stream_id, name = self._due[0]
                if self._timer(due_at, stream_id, name) is not None:
                    return due_at, stream_id, name
                heapq.heappop(self._due)
                if stream_id in self._instances:
                    self._instances[stream_id].timers.discard((name, due_at))
            return None

    def _timers(self) -> Iterator[Timer]:
        for due_at, _, stream_id, name in sorted(self._due):
            if (timer := self._timer(due_at, stream_id, name)) is not None:
                yield timer

    def _timer(self, due_at: datetime, stream_id: str, name: str) -> Timer | None:
        """Return a timer that is set, and for no other time; None if its saga rests."""
        instance = self._instances.get(stream_id)
        if instance is None or stream_id in self._resting:
            return None
        timer: Timer | None = instance.state.timers.get(name)
        return timer if timer is not None and timer.due_at == due_at else None

    def _set_timers(self, instance: _Instance) -> None:
        """Take note of the timers that a saga has set, if it was not taken yet."""
        timers = {(name, timer.due_at) for name, timer in instance.state.timers.items()}
        for name, due_at in sorted(timers - instance.timers):
            heapq.heappush(self._due, (due_at, next(self._numbers), instance.stream_id, name))
        instance.timers = timers

    def fire(self, stream_id: str, timer: str) -> None:
        """Let a saga know that it is time; one that rests is told when it goes on."""
        self._guard(stream_id, partial(self._take, stream_id, TimerDue(timer)), keep=False)

    # From the log.

    def _scan(self) -> None:
        """Look at what was appended since it last looked; who is new, at all that there is."""
        with self._lock:
            head = self._store.head()
            new = self._new
            if new:
                handled = self._recover(new, head)
                self._look(new.values(), 0, head, handled)
                self._new = {}
            if self._scanned is not None and head > self._scanned:
                self._find_started(self._scanned, head)
                known = [one for name, one in self._machines.items() if name not in new]
                self._look(known, self._scanned, head, {})
            self._scanned = head
            if not (self._agenda or self._scheduled or self._due):
                self.position = head

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
                handled.setdefault(_name(event.stream_id), set()).add(data.get("position", 0))
            if not data.get("compensated", data.get("late", True)):
                continue  # of these only the ones that come when it has ended
            if event.type in opening:
                opened[event.stream_id] = None
            elif event.type in closing:
                opened.pop(event.stream_id, None)
        streams: dict[str, list[RecordedEvent]] = {
            stream_id: []
            for stream_id in opened
            if _name(stream_id) in machines and stream_id not in self._instances
        }
        if streams:
            for event in self._store.read_all(streams=streams):
                streams[event.stream_id].append(event)
        for stream_id, events in streams.items():
            self._load(stream_id, events)
            self._put(timedelta(0), stream_id, partial(self._take, stream_id))
        return handled

    def _find_started(self, after: int, until: int) -> None:
        """Begin with the sagas that were started meanwhile."""
        started = self._store.read_all(
            after=after, until=until, types=[SagaStarted.event_type], category=CATEGORY
        )
        for event in started:
            if event.stream_id not in self._instances:
                self._put(timedelta(0), event.stream_id, partial(self._take, event.stream_id))

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
                    except EslabError:  # it is raised when it is its turn
                        who = f"{machine.name} {event.stream_id}"
                        self._put(timedelta(0), who, partial(self._bring, machine.name, event))

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
        for delay in self._delays(machine, recorded, stream_id):
            due = self._store.clock.now() + delay
            arriving = self._arriving.setdefault(stream_id, [])
            heapq.heappush(arriving, (due, recorded.position, next(self._numbers), delivered))
            self._put(delay, stream_id, partial(self._take_first, stream_id))

    def _take_first(self, stream_id: str) -> None:
        """Let a saga have the event that arrived first; of several at once, the first in the log.

        What is due at the same time on a virtual clock is done in any order, and events of one
        instance are not to overtake each other there.
        """
        with self._lock:
            arriving = self._arriving.get(stream_id)
            if arriving and arriving[0][0] <= self._store.clock.now():
                self._take(stream_id, arriving[0][-1])
                heapq.heappop(arriving)
                if not arriving:
                    del self._arriving[stream_id]

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
        return self.route(message).arrivals

    # One saga.

    def _machine(self, stream_id: str) -> Machine | None:
        return self._machines.get(_name(stream_id))

    def _instance(self, stream_id: str) -> _Instance | None:
        """Return a saga as its stream says it is; None, if nobody here knows its name."""
        instance = self._instances.get(stream_id)
        return instance or self._load(stream_id, self._store.read(stream_id))

    def _load(self, stream_id: str, events: Iterable[RecordedEvent]) -> _Instance | None:
        machine = self._machine(stream_id)
        if machine is None:
            return None
        saga_id = stream_id.removeprefix(saga_stream(machine.name, ""))
        instance = _Instance(machine, saga_id, stream_id, machine.initial())
        for recorded in events:
            if instance.version == 0 or recorded.type == SagaStarted.event_type:
                instance.origin = _inherited(recorded.metadata, stream_id)
            event = self._registry.decode(recorded)
            instance.state = machine.evolve(instance.state, event)
            instance.version = recorded.version
        self._instances[stream_id] = instance
        self._set_timers(instance)
        return instance

    def _take(self, stream_id: str, incoming: Input | Delivered = None) -> bool:
        """Let a saga decide about what came in, and say whether anything followed from it."""
        with self._lock:
            for _ in range(ATTEMPTS):
                instance = self._instance(stream_id)
                if instance is None:
                    return False
                try:
                    followed = self._record(instance, incoming)
                except ConcurrencyError:
                    del self._instances[stream_id]  # others appended: as it is now
                    continue
                except (IdempotencyError, PartialDuplicateError):
                    followed = False  # it is in the inbox already
                self._send(instance)
                return followed
        raise SagaError(f"others append to {stream_id!r} all the time: it is left for now")

    def _record(self, instance: _Instance, incoming: Input | Delivered) -> bool:
        """Append what a saga decides."""
        events = instance.machine.decide(
            instance.saga_id, instance.state, incoming, self._store.clock.now()
        )
        if not events:
            return False
        metadata, first_id = instance.origin, None
        if isinstance(incoming, Delivered):
            message = incoming.recorded
            if instance.version == 0 or isinstance(events[0], SagaStarted):
                metadata = instance.origin = _inherited(message.metadata, instance.stream_id)
            metadata = replace(metadata, causation_id=str(message.event_id))
            first_id = derived_key(instance.stream_id, str(message.event_id))
        new = [
            encode(event, metadata=metadata, event_id=None if place else first_id)
            for place, event in enumerate(events)
        ]
        result = self._store.append(instance.stream_id, new, expected_version=instance.version)
        if result.duplicate:
            return False
        for event in events:
            instance.state = instance.machine.evolve(instance.state, event)
        instance.version = result.version
        return True

    def _send(self, instance: _Instance) -> None:
        """Send what a saga has decided to send, and set its timers."""
        outgoing = instance.machine.outgoing(instance.saga_id, instance.state)
        state = instance.state
        for sent in outgoing:
            if (sent.task, sent.message.attempt) not in instance.sent:
                journey = self.route(sent.message)
                instance.replies[sent.task] = journey.replies
                for arrival in journey.arrivals:
                    arrive = partial(self._arrive, instance, state, sent, journey)
                    self._put(arrival, instance.stream_id, arrive)
        instance.sent = {(sent.task, sent.message.attempt) for sent in outgoing}
        self._set_timers(instance)
        if state.ended or instance.version == 0:
            self._instances.pop(instance.stream_id, None)

    def _arrive(self, instance: _Instance, state: State, sent: Outgoing, journey: Journey) -> None:
        """Have something carried out, and bring back the answer."""
        machine = instance.machine
        if journey.error is None:
            carry_out = partial(machine.carry_out, instance.saga_id, state, sent, instance.origin)
            answer = journey.handle(carry_out)
        else:
            answer = machine.failed(sent, journey.error)
        if answer is None:
            return
        for delay in journey.replies:
            take = partial(self._take, instance.stream_id, answer)
            if delay:
                self._put(delay, instance.stream_id, take)
            else:
                self._guard(instance.stream_id, take)

    def _put(self, delay: timedelta, who: str, work: Work) -> None:
        """Do something later, for a saga."""
        with self._lock:
            due = self._store.clock.now() + delay
            guarded: Work = partial(self._guard, who, work)
            heapq.heappush(self._agenda, (due, next(self._numbers), guarded))

    def _guard(self, who: str, work: Work, *, keep: bool = True) -> None:
        """Do something for a saga, which rests if that fails: what is for it waits meanwhile."""
        with self._lock:
            if (waiting := self._resting.get(who)) is not None:
                waiting += [work] if keep else []
                return
        try:
            work()
        except StoreClosedError:
            raise
        except EslabError:
            with self._lock:
                self._resting.setdefault(who, [work] if keep else [])  # else a part of it waits
            raise


def _name(stream_id: str) -> str:
    """Return the name of the saga that a stream is of."""
    return stream_id.removeprefix(f"{CATEGORY}-").partition("-")[0]


def _inherited(metadata: Metadata, stream_id: str) -> Metadata:
    """Return what a saga's events, and what it sends, inherit from what started it."""
    return Metadata(
        correlation_id=metadata.correlation_id or stream_id,
        actor=metadata.actor,
        traceparent=metadata.traceparent,
    )
