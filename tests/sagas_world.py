"""What takes part in sagas, and remembers what it did; and what runs them, until it dies."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from eslab import (
    Command,
    Event,
    MemoryStore,
    Metadata,
    RecordedEvent,
    Saga,
    StepContext,
    StreamAppend,
    VirtualClock,
)
from eslab.aggregates import Repository
from eslab.bus.journey import Journey, Message, Route, straight
from eslab.clock import SeededIds
from eslab.messaging import CommandBus
from eslab.sagas import Orchestrator, SagaState, Send, Step, Timers
from eslab.schema import EventRegistry, encode
from eslab.store import EventStore
from eslab.subscriptions import Runner

SECOND = timedelta(seconds=1)


class Did(Event):
    """What a participant did because of a command."""

    what: str


class Ask(Command):
    """Asks a participant to do something for a saga."""

    what: str
    of: str


class World:
    """Participants that remember what they did, under which key, and whose key was undone.

    Attributes:
        done: the effects, by their keys, in the order in which they came.
        undone: the keys of what was undone: should it come later, it has no effect.
        calls: each time that somebody was asked, in order.
        faults: what is raised, by who is asked, once for each.
        forgets: it does not remember keys, which is a fault of its own.
    """

    def __init__(self, *, forgets: bool = False) -> None:
        self.done: dict[Any, str] = {}
        self.undone: set[uuid.UUID] = set()
        self.calls: list[str] = []
        self.faults: dict[str, list[BaseException]] = {}
        self.forgets = forgets

    def step(self, name: str, *, undo: bool = True, **options: Any) -> Step:
        """Return a step that calls a participant."""
        return Step(name, self.does(name), self.does(f"undo {name}") if undo else None, **options)

    def sends(self, name: str, *, undo: bool = True, **options: Any) -> Step:
        """Return a step that sends a participant a command."""
        return Step(name, asks(name), asks(f"undo {name}") if undo else None, **options)

    def does(self, name: str) -> Callable[[StepContext], str]:
        """Return a function of a step."""
        return lambda context: self.act(name, context)

    def act(self, name: str, context: StepContext) -> str:
        """Do something once for its key, unless it was undone before."""
        self._called(name)
        if context.undoes is not None:
            self.undone.add(context.undoes)
        if context.idempotency_key not in self.undone:
            key = object() if self.forgets else context.idempotency_key
            self.done.setdefault(key, name)
        return f"{name} of {context.saga_id}"

    def handle(self, command: Ask) -> StreamAppend:
        """Carry out a command."""
        self._called(command.what)
        return StreamAppend(f"participant-{command.of}", [Did(what=command.what)])

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if faults := self.faults.get(name):
            raise faults.pop(0)

    @property
    def effects(self) -> list[str]:
        """What was done by those that were called, in order."""
        return list(self.done.values())


def asks(what: str, **answers: Any) -> Send:
    """Return a command that is sent."""
    return Send(lambda context: Ask(what=what, of=context.saga_id), **answers)


def did(store: EventStore) -> list[str]:
    """Return what was done by those that were sent a command, in order."""
    return [event.data["what"] for event in store.read_all(types=["Did"])]


class Process:
    """All that dies with a process: what it knows about sagas is in the store.

    Attributes:
        orchestrator: runs the sagas.
        timers: fires their timers.
        commands: brings commands to the participants.
    """

    def __init__(
        self,
        store: EventStore,
        *sagas: Saga,
        world: World | None = None,
        events: Sequence[type[Event]] = (),
        route: Route = straight,
        seed: int | None = None,
    ) -> None:
        registry = EventRegistry()
        for event in (Did, *events):
            registry.register(event)
        self.store = store
        self.registry = registry
        self.commands = CommandBus(
            store,
            Repository(store, registry),
            middleware=(),
            mint=uuid.uuid4,
            sleep=lambda _: None,
        )
        if world is not None:
            self.commands.register(world.handle)
        self.orchestrator = Orchestrator(store, registry, self.commands, route=route)
        self.timers = Timers(self.orchestrator, store.clock)
        for saga in sagas:
            self.orchestrator.register(saga)
        self.runner = Runner(store.clock, lambda: [self.orchestrator, self.timers], seed=seed)
        self.leave = store.listen(self.runner.notice)

    def start(self, saga: Saga, id: str = "1", **input: Any) -> None:
        """Start a saga."""
        self.orchestrator.start(saga, id, input or {"days": 3})

    def run(self) -> None:
        """Work until nothing is left."""
        self.runner.run()

    def advance(self, by: timedelta) -> None:
        """Work until so much time has passed."""
        clock = self.store.clock
        assert isinstance(clock, VirtualClock)
        until = clock.now() + by
        self.runner.run(until)
        clock.advance_to(max(until, clock.now()))

    def state(self, id: str = "1", name: str = "trip") -> SagaState:
        """Return the state of a saga."""
        state = self.orchestrator.state(name, id)
        assert isinstance(state, SagaState)
        return state

    def append(self, stream_id: str, *events: Event, **metadata: Any) -> None:
        """Append events of somebody else."""
        for event in events:
            self.store.append(stream_id, [encode(event, metadata=Metadata(**metadata))])


def run(
    store: EventStore, saga: Saga, id: str = "1", *, world: World | None = None, **options: Any
) -> SagaState:
    """Start a saga in a process of its own, and run it to its end."""
    process = Process(store, saga, world=world, **options)
    process.start(saga, id)
    process.run()
    return process.state(id, saga.name)


def memory() -> MemoryStore:
    """Return a store on a virtual clock."""
    return MemoryStore(clock=VirtualClock(), ids=SeededIds(7))


def events_of(store: EventStore, id: str = "1", name: str = "trip") -> list[RecordedEvent]:
    """Return the events of a saga."""
    return list(store.read(f"saga-{name}-{id}"))


def story(store: EventStore, id: str = "1", *, timers: bool = False) -> list[str]:
    """Return what happened to a saga: the types of its events, and which step each is about."""
    return [
        f"{event.type} {event.data.get('step') or event.data.get('timer', '')}".strip()
        for event in events_of(store, id)
        if timers or not event.type.startswith("Timer")
    ]


class Travels:
    """A route that says of some messages how they travel, attempt by attempt.

    Args:
        plans: by the kind and the name of a message, such as ``"execute hotel"``, its journeys;
            when there is none left, it travels straight.
    """

    def __init__(self, **plans: list[Journey]) -> None:
        self.plans = {name.replace("_", " "): journeys for name, journeys in plans.items()}

    def __call__(self, message: Message) -> Journey:
        journeys = self.plans.get(f"{message.kind} {message.name}")
        return journeys.pop(0) if journeys else straight(message)


def after(*seconds: float, reply: Sequence[float] = (0,)) -> Journey:
    """Return a journey that arrives, and is answered, after so many seconds."""
    return Journey(
        tuple(timedelta(seconds=each) for each in seconds),
        tuple(timedelta(seconds=each) for each in reply),
    )


LOST = after()


class CrashError(BaseException):
    """The process dies here."""


class Crashing(MemoryStore):
    """A store on which the process dies before or after the n-th append.

    Attributes:
        at: which append that is, from 1; None: none.
        after: it is recorded, and then the process dies.
        appends: how many there were.
        mortal: the process dies behind each that recorded something.
    """

    at: int | None = None
    after = False
    appends = 0
    mortal = False

    def _submit(self, request: Any) -> Any:
        self.appends += 1
        head = self.head()
        fires = self.appends == self.at
        if fires and not self.after:
            raise CrashError
        try:
            return super()._submit(request)
        finally:
            if fires or (self.mortal and self.head() > head):
                raise CrashError
