"""Process managers: all that comes is handled once, whatever the way and wherever it ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from eslab import (
    Command,
    DomainError,
    Event,
    Lab,
    MemoryStore,
    Metadata,
    ProcessManager,
    RegistrationError,
    Retry,
    SagaError,
    SchemaError,
    StreamAppend,
    VirtualClock,
    on,
    on_refused,
    on_timer,
    start,
    stop,
)
from eslab.aggregates import Repository
from eslab.bus.journey import Journey, Message, Route, straight
from eslab.clock import SeededIds, random_id
from eslab.errors import ProjectionError, SagaDefinitionError, TimerError
from eslab.messaging import CommandBus
from eslab.projections import Projection, Row, Rows
from eslab.sagas import NO_RETRY, Orchestrator, ProcessState, ProcessStatus, Saga, Step, Timers
from eslab.sagas.process_state import evolve_process
from eslab.schema import EventRegistry, encode
from eslab.simulation.scenarios import orders
from eslab.store.port import EventStore
from eslab.subscriptions.engine import Engine

SECOND = timedelta(seconds=1)


class Asked(Event):
    """Somebody wants something; it is in the stream ``trip-<id>``, and says no more."""

    what: str


class Answered(Event):
    trip_id: str
    what: str


class Ended(Event):
    trip_id: str


class Do(Command):
    trip_id: str
    what: str


class Undo(Command):
    trip_id: str
    what: str


class Trip(ProcessManager, by="trip_id"):
    """Sends a command for all that is asked for, and remembers the answers."""

    answers: list[str] = []  # noqa: RUF012 - copied for each instance

    @start
    def asked(self, event: Asked) -> None:
        self.send(Do(trip_id=self.id, what=event.what))
        self.set_timer("late", "15 min")

    @on
    def answered(self, event: Answered) -> None:
        if event.what == "broken":
            self.answers.append("half done")
            self.send(Do(trip_id=self.id, what="half done"))
            raise ValueError("it is broken")
        self.answers.append(event.what)

    @on_refused
    def refused(self, command: Do, reason: str) -> None:
        self.answers.append(f"not {command.what}: {reason}")
        self.send(Undo(trip_id=self.id, what=command.what))

    @on_timer("late")
    def late(self) -> None:
        self.answers.append("late")

    @stop
    def ended(self, event: Ended) -> None:
        self.send(Do(trip_id=self.id, what="the end"))


class Parking(Trip, name="trip", by="trip_id", not_found="park"):
    """The same, which waits for its start."""


class World:
    """What a lab makes of a store: it can be lost and made again."""

    def __init__(self, store: EventStore, *managers: type[ProcessManager]) -> None:
        self.store = store
        self.done: list[str] = []
        self.faults: dict[str, list[Exception]] = {}
        store.listen(self.notice)
        self.restart(*managers)

    def restart(
        self, *managers: type[ProcessManager], route: Route = straight, seed: int = 7
    ) -> None:
        registry = EventRegistry()
        repository = Repository(self.store, registry)
        self.commands = CommandBus(
            self.store, repository, middleware=[], mint=random_id, sleep=lambda _: None
        )
        self.commands.register(self.act)
        for definition in (orders.Order, orders.Stock, orders.Account, orders.Shipment):
            self.commands.register(definition)
        self.orchestrator = Orchestrator(self.store, registry, self.commands, route=route)
        timers = Timers(self.orchestrator, self.store.clock)
        for manager in managers:
            self.orchestrator.register(manager)
        self.engine = Engine(
            self.store.clock, lambda: [self.orchestrator, timers], head=self.store.head, seed=seed
        )

    def notice(self) -> None:
        self.engine.notice()

    def act(self, command: Do | Undo) -> StreamAppend | None:
        """Carry a command out; the answer to what is asked for is an event."""
        name = f"{type(command).__name__} {command.what}"
        if faults := self.faults.get(name):
            raise faults.pop(0)
        self.done.append(name)
        if isinstance(command, Undo):
            return None
        answered = Answered(trip_id=command.trip_id, what=command.what)
        return StreamAppend(f"answers-{command.trip_id}", [answered])

    def happens(self, *events: Event, stream: str = "trip-1") -> None:
        self.store.append(stream, list(events))

    def run(self, until: timedelta = timedelta(0)) -> None:
        clock = self.store.clock
        assert isinstance(clock, VirtualClock)
        end = clock.now() + until
        self.engine.run(end)
        clock.advance_to(max(end, clock.now()))

    def state(self, id: str = "1", name: str = "trip") -> ProcessState:
        found = self.orchestrator.state(name, id)
        assert isinstance(found, ProcessState)
        return found

    def answers(self, id: str = "1") -> list[str]:
        answers: list[str] = self.state(id).data.get("answers", [])
        return answers

    def story(self, id: str = "1", name: str = "trip") -> list[str]:
        return [event.type for event in self.store.read(f"saga-{name}-{id}")]


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    with MemoryStore(clock=VirtualClock(), ids=SeededIds(7)) as opened:
        yield opened


@pytest.fixture
def world(store: MemoryStore) -> World:
    return World(store, Trip)


# What it does.


def test_an_event_starts_it_others_go_on_and_one_stops_it(world: World) -> None:
    world.happens(Asked(what="hotel"))
    world.run(SECOND)
    assert world.state().status is ProcessStatus.RUNNING
    assert world.answers() == ["hotel"]
    assert list(world.state().timers) == ["late"]
    assert repr(world.state()) == "<ProcessState RUNNING answers=['hotel']; timers late>"
    world.happens(Ended(trip_id="1"))
    world.run(SECOND)
    assert world.done == ["Do hotel", "Do the end"]
    assert world.state().status is ProcessStatus.COMPLETED
    assert world.answers() == ["hotel"]  # its last answer comes after it stopped
    assert world.story() == [
        "SagaStarted", "InputReceived", "CommandSent", "TimerSet",
        "CommandDelivered",
        "InputReceived", "ProcessStateChanged",
        "InputReceived", "CommandSent", "TimerCancelled", "ProcessStopped",
        "CommandDelivered", "SagaCompleted",
    ]  # fmt: skip
    before = world.store.head()
    world.happens(Answered(trip_id="1", what="more"), Asked(what="again"))
    world.restart(Trip)
    world.run(timedelta(days=1))
    assert world.store.head() == before + 2
    assert world.orchestrator.unfinished() == []


def test_commands_are_sent_in_order_each_when_the_one_before_was_answered(
    store: MemoryStore,
) -> None:
    class Two(ProcessManager, by="trip_id"):
        @start
        def asked(self, event: Asked) -> None:
            self.send(Do(trip_id=self.id, what="first"))
            self.send(Do(trip_id=self.id, what="second"))

    world = World(store, Two)
    world.faults["Do first"] = [OSError("away"), OSError("away")]
    world.happens(Asked(what="both"))
    world.run(timedelta(minutes=1))
    assert world.done == ["Do first", "Do second"]
    assert [e.type for e in store.read("saga-two-1")][2:] == [
        "CommandSent", "CommandSent",
        "CommandFailed", "TimerSet", "TimerFired",
        "CommandFailed", "TimerSet", "TimerFired",
        "CommandDelivered", "CommandDelivered",
    ]  # fmt: skip


def test_what_is_recorded_belongs_to_what_started_it(world: World) -> None:
    world.happens(Asked(what="hotel"))
    world.run(SECOND)
    (asked,) = world.store.read("trip-1")
    started, *_ = world.store.read("saga-trip-1")
    (answered,) = world.store.read("answers-1")
    assert started.metadata.causation_id == str(asked.event_id)
    assert started.metadata.correlation_id == answered.metadata.correlation_id == "saga-trip-1"


def test_a_handler_may_say_itself_which_instance_an_event_concerns(store: MemoryStore) -> None:
    class Other(ProcessManager, name="other"):
        seen: int = 0

        @start(by=lambda event: event.what)
        def asked(self, event: Asked) -> None:
            self.seen += 1

        @on(by=lambda event: None if event.what == "none" else event.what)
        def answered(self, event: Answered) -> None:
            self.seen += 1

    world = World(store, Other)
    world.happens(Asked(what="a"))
    world.happens(Answered(trip_id="1", what="a"), Answered(trip_id="1", what="none"))
    world.run(SECOND)
    assert world.state("a", "other").data == {"seen": 2}


def test_an_event_that_does_not_say_whom_it_concerns_is_told_and_holds_nothing_up(
    world: World,
) -> None:
    world.happens(Asked(what="x"), stream="elsewhere-1")
    world.happens(Asked(what="hotel"))
    with pytest.raises(SagaDefinitionError, match=r"Asked has no field 'trip_id', .* is no trip"):
        world.run(SECOND)
    assert world.answers() == ["hotel"]


# What is not there yet.


def test_an_event_before_the_start_is_ignored_also_after_a_restart(world: World) -> None:
    world.happens(Answered(trip_id="1", what="early"))
    world.run(SECOND)
    assert world.store.stream_version("saga-trip-1") == 0
    world.happens(Asked(what="hotel"))
    world.run(SECOND)
    world.restart(Trip)
    world.run(SECOND)
    assert world.answers() == ["hotel"]


def test_what_was_dealt_with_is_not_brought_again(world: World) -> None:
    world.happens(Asked(what="hotel"))
    world.run(SECOND)
    brought: list[str] = []

    def route(message: Message) -> Journey:
        brought.append(message.name)
        return straight(message)

    world.restart(Trip, route=route)
    world.happens(Answered(trip_id="1", what="new"))
    world.run(SECOND)
    assert brought == ["Answered"]


def test_it_belongs_to_its_start_also_if_something_was_parked_before(store: MemoryStore) -> None:
    world = World(store, Parking)
    world.happens(Answered(trip_id="1", what="early"))
    world.run(SECOND)
    world.store.append(
        "trip-1", [encode(Asked(what="hotel"), metadata=Metadata(correlation_id="a request"))]
    )
    for _ in range(2):
        world.run(SECOND)
        *_, last = store.read("saga-trip-1")
        assert last.metadata.correlation_id == "a request"
        world.restart(Parking)
        world.happens(Answered(trip_id="1", what="more"))


def test_or_parked_and_handled_right_behind_the_start_in_order(store: MemoryStore) -> None:
    world = World(store, Parking)
    world.happens(*(Answered(trip_id="1", what=what) for what in ("a", "b")))
    world.run(SECOND)
    assert world.state().status is ProcessStatus.WAITING
    assert repr(world.state()) == "<ProcessState WAITING parked Answered, Answered>"
    world.restart(Parking)
    world.happens(Asked(what="hotel"))
    world.run(SECOND)
    assert world.answers() == ["a", "b", "hotel"]
    assert world.story()[:7] == [
        "InputParked", "InputParked",
        "SagaStarted", "InputReceived", "CommandSent", "TimerSet", "InputReceived",
    ]  # fmt: skip
    world.restart(Parking)
    world.run(SECOND)
    assert world.answers() == ["a", "b", "hotel"]


# The way that messages take.


@pytest.mark.parametrize("seed", range(5))
def test_what_comes_at_one_time_is_handled_in_the_order_of_the_log(
    store: MemoryStore, seed: int
) -> None:
    """Otherwise anything may come first of what is due at one time on a virtual clock."""
    world = World(store)
    world.restart(Trip, seed=seed)
    world.happens(Asked(what="hotel"))
    world.happens(*(Answered(trip_id="1", what=str(number)) for number in range(9)))
    world.run()
    assert world.answers() == [str(number) for number in range(9)]


def late_for(name: str, by: timedelta) -> Route:
    """Return a route on which all that is called so takes longer, and is overtaken."""

    def route(message: Message) -> Journey:
        journey = straight(message)
        if message.name != name:
            return journey
        late = tuple(each + by for each in journey.arrivals)
        return replace(journey, arrivals=late, ordered=False)

    return route


def test_a_start_that_is_overtaken_is_waited_for(store: MemoryStore) -> None:
    world = World(store)
    world.restart(Parking, route=late_for("Asked", SECOND))
    world.happens(Asked(what="hotel"))
    world.happens(*(Answered(trip_id="1", what=what) for what in ("a", "b")))
    world.run(2 * SECOND)
    assert world.answers() == ["a", "b", "hotel"]


@pytest.mark.parametrize(
    ("ordered", "answers"), [(True, ["slow", "a", "b"]), (False, ["a", "b", "slow"])]
)
def test_an_event_that_travels_longer_holds_up_those_behind_it_in_its_stream(
    store: MemoryStore, ordered: bool, answers: list[str]
) -> None:
    """Unless it may be overtaken."""
    world = World(store)
    world.restart(Trip)
    world.happens(Asked(what="hotel"))
    world.run(SECOND)
    slow = UUID(int=7)

    def route(message: Message) -> Journey:
        journey = Journey((SECOND,), ordered=ordered)
        return journey if message.id == slow else straight(message)

    world.orchestrator.route = route
    store.append("trip-1", [encode(Answered(trip_id="1", what="slow"), event_id=slow)])
    world.happens(Answered(trip_id="1", what="a"))
    world.run(SECOND / 2)
    world.happens(Answered(trip_id="1", what="b"))
    world.run(SECOND)
    assert world.answers()[1:] == answers


def twice(message: Message) -> Journey:
    """Return the journey of a message that arrives twice, once late, and so does its answer."""
    cost = message.cost
    return Journey((cost, cost + 3 * SECOND), (timedelta(0), SECOND))


@pytest.mark.parametrize("manager", [Trip, Parking])
def test_what_arrives_twice_changes_nothing(
    store: MemoryStore, manager: type[ProcessManager]
) -> None:
    world = World(store)
    world.restart(manager, route=twice)
    world.faults["Do hotel"] = [DomainError("full")]
    world.happens(Asked(what="hotel"))
    world.happens(Answered(trip_id="1", what="a"))
    world.run(timedelta(minutes=1))
    assert world.answers() == ["not hotel: full", "a"]  # what comes twice holds up what is behind
    assert "Do hotel" not in world.done  # its second copy has no effect: it was refused
    commands = [command.outcome for command in world.state().sent]
    assert commands == ["refused", "delivered"]


def test_without_the_inbox_it_would(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail."""

    def forgetful(state: ProcessState, event: Event) -> ProcessState:
        return replace(evolve_process(state, event), handled=frozenset())

    for module in ("machine", "decisions"):
        monkeypatch.setattr(f"eslab.sagas.process_{module}.evolve_process", forgetful)
    monkeypatch.setattr("eslab.sagas.execution.derived_key", lambda *_: None)
    world = World(store)
    world.restart(Trip, route=twice)
    world.happens(Asked(what="hotel"))
    world.run(timedelta(minutes=1))
    assert world.answers() != ["hotel"]


# Commands.


def test_a_refusal_is_handled_and_is_final(world: World) -> None:
    world.faults["Do hotel"] = [DomainError("full")]
    world.happens(Asked(what="hotel"))
    world.run(SECOND)
    assert world.answers() == ["not hotel: full"]
    assert world.done == ["Undo hotel"]
    refused = world.state().sent[0]
    with pytest.raises(DomainError, match="full"):
        world.commands.execute(Do(trip_id="1", what="hotel"), command_id=refused.id)


def test_a_refusal_that_nobody_takes_is_seen(world: World) -> None:
    world.faults = {"Do hotel": [DomainError("full")], "Undo hotel": [DomainError("never")]}
    world.happens(Asked(what="hotel"))
    world.run(SECOND)
    state = world.state()
    assert (state.status, state.stuck) == (ProcessStatus.STUCK, "Undo")
    assert "Undo was refused (never), and no method" in (state.error or "")
    world.orchestrator.resume("trip", "1", resolved=True)
    assert world.state().status is ProcessStatus.RUNNING


def test_a_command_that_fails_is_tried_again_until_it_is_stuck(world: World) -> None:
    world.faults["Do hotel"] = [OSError(f"try {number}") for number in range(7)]
    world.happens(Asked(what="hotel"))
    world.run(timedelta(minutes=1))
    state = world.state()
    assert (state.status, state.stuck, state.error) == (ProcessStatus.STUCK, "Do", "OSError: try 5")
    assert repr(state) == ("<ProcessState STUCK waits for Do; timers late; at Do: OSError: try 5>")
    world.restart(Trip)
    world.run(SECOND)
    assert world.done == []
    world.orchestrator.resume("trip", "1")  # it fails once more
    world.run(SECOND)
    assert world.answers() == ["hotel"]


def test_a_person_may_have_done_what_a_command_could_not(store: MemoryStore) -> None:
    class Once(Trip, name="trip", by="trip_id", retry=NO_RETRY):
        pass

    world = World(store, Once)
    world.faults["Do hotel"] = [OSError("away")]
    world.happens(Asked(what="hotel"))
    world.run(SECOND)
    world.orchestrator.resume("trip", "1", resolved=True, reason="by telephone")
    world.run(SECOND)
    assert world.done == []
    assert world.state().sent[0].outcome == "delivered"
    with pytest.raises(SagaError, match="is RUNNING, and not STUCK"):
        world.orchestrator.resume("trip", "1")


def test_a_command_that_is_lost_is_sent_again(store: MemoryStore) -> None:
    class Patient(Trip, name="trip", by="trip_id", timeout=5 * SECOND, retry=Retry(limit=2)):
        pass

    def lossy(message: Message) -> Journey:
        lost = message.kind == "command" and message.attempt == 1
        return Journey(()) if lost else straight(message)

    world = World(store)
    world.restart(Patient, route=lossy)
    world.happens(Asked(what="hotel"))
    world.run(SECOND)
    world.happens(Answered(trip_id="1", what="meanwhile"))
    world.run(timedelta(minutes=1))
    assert world.done == ["Do hotel"]
    assert [e.data["purpose"] for e in store.read("saga-trip-1") if e.type == "TimerSet"] == [
        "process", "timeout", "retry", "timeout"
    ]  # fmt: skip
    assert "timeout" not in " ".join(world.state().timers)
    assert [e.data["error"] for e in store.read("saga-trip-1") if e.type == "CommandFailed"] == [
        "no answer came in time"
    ]


# Timers.


def test_a_timer_fires_once_also_after_a_restart(world: World) -> None:
    world.happens(Asked(what="hotel"))
    world.run(timedelta(minutes=10))
    world.restart(Trip)
    world.run(timedelta(minutes=4))
    assert world.answers() == ["hotel"]
    world.run(timedelta(minutes=2))
    assert world.answers() == ["hotel", "late"]
    world.restart(Trip)
    world.run(timedelta(days=1))
    assert world.answers() == ["hotel", "late"]


def test_a_timer_that_is_set_again_is_replaced_and_one_can_be_cancelled(store: MemoryStore) -> None:
    class Snooze(ProcessManager, by="trip_id"):
        fired: list[datetime] = []  # noqa: RUF012 - copied for each instance

        @start
        def asked(self, event: Asked) -> None:
            self.set_timer("alarm", timedelta(minutes=int(event.what)))

        @on
        def answered(self, event: Answered) -> None:
            self.cancel_timer("alarm")
            self.cancel_timer("alarm")

        @on_timer("alarm")
        def alarm(self) -> None:
            self.fired.append(self.now)

    world = World(store, Snooze)

    def fired(id: str) -> int:
        return len(world.state(id, "snooze").data.get("fired", []))

    for id in ("1", "2", "3"):
        world.happens(Asked(what="10"), stream=f"trip-{id}")
    world.run(timedelta(minutes=5))
    world.happens(Asked(what="20"))
    world.happens(Asked(what="1"), stream="trip-2")
    world.happens(Answered(trip_id="3", what=""))
    world.run(timedelta(minutes=6))
    assert [fired("1"), fired("2"), fired("3")] == [0, 1, 0]
    world.run(timedelta(minutes=20))
    assert [fired("1"), fired("2"), fired("3")] == [1, 1, 0]
    assert world.state("1", "snooze").data["fired"] == ["2026-01-01T00:25:00Z"]


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ((timedelta(0),), "not behind"),
        (("-1 s",), "not behind"),
        (("soon",), "a duration is a timedelta or text"),
        ((timedelta.max,), "date value out of range"),
        ((), "say when"),
        (("1 s", datetime(2027, 1, 1, tzinfo=UTC)), "say when"),
        ((None, datetime(2025, 1, 1, tzinfo=UTC)), "not behind"),
        ((None, datetime(2027, 1, 1)), "naive|time zone|aware"),  # noqa: DTZ001 - it is refused
    ],
)
def test_a_timer_is_set_for_a_time_to_come(
    store: MemoryStore, when: tuple[Any, ...], said: str
) -> None:
    class Wrong(ProcessManager, by="trip_id"):
        @start
        def asked(self, event: Asked) -> None:
            self.set_timer("alarm", *when[:1], **dict(zip(["at"], when[1:], strict=False)))

        @on_timer("alarm")
        def alarm(self) -> None: ...

    world = World(store, Wrong)
    world.happens(Asked(what=""))
    world.run(SECOND)
    state = world.state(name="wrong")
    assert state.status is ProcessStatus.STUCK
    assert (state.error or "").startswith("TimerError: timer 'alarm'")
    assert re.search(said, state.error or "")


def test_a_timer_that_no_method_takes_is_an_error_at_once(store: MemoryStore) -> None:
    class Wrong(ProcessManager, by="trip_id"):
        @start
        def asked(self, event: Asked) -> None:
            self.set_timer("other", "1 s")

    world = World(store, Wrong)
    world.happens(Asked(what=""))
    world.run(SECOND)
    assert "no method is marked with @on_timer('other')" in (world.state(name="wrong").error or "")


def test_no_timer_fires_while_it_is_stuck_and_then_it_does(world: World) -> None:
    world.happens(Asked(what="hotel"))
    world.run(SECOND)
    world.happens(Answered(trip_id="1", what="broken"))
    world.run(timedelta(hours=1))
    assert world.answers() == ["hotel"]
    world.restart(Trip)
    world.orchestrator.resume("trip", "1", resolved=True)
    world.run(SECOND)
    assert world.answers() == ["hotel", "late"]


# Handlers that fail.


def test_one_that_fails_is_stuck_alone_and_goes_on_when_it_is_mended(world: World) -> None:
    world.happens(Asked(what="hotel"))
    world.happens(Asked(what="hotel"), stream="trip-2")
    world.run(SECOND)
    for what in ("broken", "later", "still later"):
        world.happens(Answered(trip_id="1", what=what), Answered(trip_id="2", what="other"))
    world.run(SECOND)
    state = world.state()
    assert (state.status, state.stuck) == (ProcessStatus.STUCK, "Answered")
    assert state.error == "ValueError: it is broken"
    assert [one.name for one in state.parked] == ["Answered", "Answered"]
    assert world.answers() == ["hotel"]  # nothing of what failed counts
    assert world.done == ["Do hotel", "Do hotel"]
    assert world.answers("2") == ["hotel", "other", "other", "other"]

    world.restart(mended())
    world.orchestrator.resume("trip", "1", reason="mended")
    world.run(SECOND)
    assert world.answers() == ["hotel", "mended broken", "mended later", "mended still later"]
    assert world.state().parked == ()


def mended() -> type[ProcessManager]:
    class Mended(Trip, name="trip", by="trip_id"):
        @on
        def answered(self, event: Answered) -> None:
            self.answers.append(f"mended {event.what}")

    return Mended


def test_what_failed_can_be_passed_over_and_what_fails_again_is_stuck_again(world: World) -> None:
    world.happens(Asked(what="hotel"), *[])
    world.happens(*(Answered(trip_id="1", what=what) for what in ("broken", "a", "broken", "b")))
    world.run(SECOND)
    world.orchestrator.resume("trip", "1")
    assert world.state().status is ProcessStatus.STUCK
    world.orchestrator.resume("trip", "1", resolved=True)
    assert world.answers()[-1] == "a"
    assert world.state().status is ProcessStatus.STUCK
    world.orchestrator.resume("trip", "1", resolved=True)
    world.run(SECOND)
    assert [answer for answer in world.answers() if answer != "hotel"] == ["a", "b"]


@pytest.mark.parametrize("what", ["x" * 2**20, "\ud800"], ids=["huge", "no text"])
def test_what_cannot_be_recorded_was_not_done(world: World, what: str) -> None:
    """It is stuck, where everybody sees it."""

    class Wrong(Trip, name="trip", by="trip_id"):
        @on
        def answered(self, event: Answered) -> None:
            self.send(Undo(trip_id=self.id, what="hotel"))
            self.answers.append(what)

    world.restart(Wrong)
    world.happens(Asked(what="hotel"))
    world.run(SECOND)
    assert world.state().status is ProcessStatus.STUCK
    assert world.done == ["Do hotel"]


def test_a_class_that_is_defined_again_replaces_the_one_before(world: World) -> None:
    first, again = mended(), mended()
    with pytest.raises(SagaDefinitionError, match="the name 'trip' is that of"):
        world.orchestrator.register(first)
    world.restart(first)
    world.orchestrator.register(first)
    world.orchestrator.register(again)
    world.happens(Asked(what="hotel"))
    world.run(SECOND)
    assert world.answers() == ["mended hotel"]
    with pytest.raises(SagaDefinitionError, match="the name 'trip' is that of"):
        world.orchestrator.register(Saga("trip", [Step("hotel", print)]))


@pytest.mark.parametrize("method", ["returns", "forgets", "keeps"])
def test_a_handler_does_what_it_does_by_self(store: MemoryStore, method: str) -> None:
    class Odd(ProcessManager, by="trip_id"):
        kept: dict[str, Any] = {}  # noqa: RUF012 - copied for each instance

        @start
        def asked(self, event: Asked) -> Any:
            if method == "returns":
                return Do(trip_id="1", what="lost")
            if method == "forgets":
                self.other = 1
            else:
                self.kept["set"] = {object()}
            return None

    world = World(store, Odd)
    world.happens(Asked(what=""))
    world.run(SECOND)
    assert world.state(name="odd").status is ProcessStatus.STUCK


# Wherever it is interrupted.


class CrashError(BaseException):
    """The process dies."""


class Crashing(MemoryStore):
    """A store on which the process dies before or after the n-th append."""

    at = 0
    after = False
    appends = 0

    def append(self, *args: Any, **options: Any) -> Any:
        return self._appended(super().append, *args, **options)

    def append_all(self, *args: Any, **options: Any) -> Any:
        return self._appended(super().append_all, *args, **options)

    def _appended(self, append: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self.appends += 1
        fires = self.appends == self.at
        if fires and not self.after:
            raise CrashError
        result = append(*args, **options)
        if fires:
            raise CrashError
        return result


def order(destination: str = "Boston", amount: int = 80) -> orders.OrderPlaced:
    return orders.OrderPlaced(
        customer="Ann", article="anvil", quantity=2, amount=amount, destination=destination
    )


ENDS: dict[str, tuple[orders.OrderPlaced, str, list[str]]] = {
    "confirmed": (order(), "confirmed", ["StockReserved", "PaymentCharged", "ShipmentBooked"]),
    "not carried": (
        order("Paris"),
        "cancelled",
        ["StockReserved", "PaymentCharged", "PaymentRefunded", "StockReleased"],
    ),
    "not paid": (order(amount=1_000), "cancelled", ["StockReserved", "StockReleased"]),
}


def fulfilled(store: Crashing, placed: orders.OrderPlaced, *, crash: int = 0) -> list[Any]:
    """Run an order to its end, through a crash if one is wanted, and return what is there then."""
    store.append("stock-anvil", [orders.StockReceived(quantity=5)])
    store.append("account-Ann", [orders.CreditLimited(amount=100)])
    store.append("order-1", [placed])
    store.appends, store.at = 0, crash
    world = World(store, orders.OrderProcess)
    try:
        world.run(timedelta(hours=2))
    except CrashError:
        world = World(store, orders.OrderProcess)
        world.run(timedelta(hours=2))
    assert orders.check_orders(store) == []
    state = world.state(name="order_process")
    effects = [
        (event.type, event.data)
        for event in store.read_all()
        if event.category in ("order", "stock", "account", "shipment")
    ]
    outcomes = [(command.name, command.outcome, command.reason) for command in state.sent]
    story = sorted(world.story(name="order_process"))
    return [
        state.status,
        dict(state.data),
        outcomes,
        effects,
        story,
        world.orchestrator.unfinished(),
    ]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("after", [False, True])
def test_it_ends_the_same_wherever_it_is_interrupted(end: str, after: bool) -> None:
    def explored(crash: int) -> tuple[list[Any], int]:
        with Crashing(clock=VirtualClock(), ids=SeededIds(7)) as store:
            store.after = after
            return fulfilled(store, ENDS[end][0], crash=crash), store.appends

    expected, total = explored(0)
    assert expected[0] is ProcessStatus.COMPLETED
    assert total > 8
    for crash in range(1, total + 1):
        assert explored(crash)[0] == expected, f"after a crash at append {crash}"


# The order scenario.


@pytest.mark.parametrize("end", ENDS)
def test_the_choreography_fulfils_an_order_or_undoes_it_in_reverse(end: str) -> None:
    placed, status, effects = ENDS[end]
    with Lab(seed=7) as lab:
        lab.register(
            orders.Order, orders.Stock, orders.Account, orders.Shipment, orders.OrderProcess
        )
        lab.execute(orders.ReceiveStock(article="anvil", quantity=5))
        lab.execute(orders.LimitCredit(customer="Ann", amount=100))
        lab.execute(orders.PlaceOrder(order_id="1", **placed.model_dump()))
        lab.run()
        assert lab.load(orders.Order, "1").status == status
        assert lab.saga_state(orders.OrderProcess, "1").status is ProcessStatus.COMPLETED
        done = [
            e.type for e in lab.store.read_all() if e.category in ("stock", "account", "shipment")
        ]
        assert done[2:] == effects
        assert orders.check_orders(lab.store) == []
        assert lab.clock.now() < datetime(2026, 1, 1, 0, 1, tzinfo=UTC)  # no timer was waited for
        assert "COMPLETED" in repr(lab.sagas)


@pytest.mark.parametrize("late", ["ReserveStock", "ChargePayment", "BookShipment"])
def test_an_overdue_order_is_given_up(store: MemoryStore, late: str) -> None:
    world = World(store)
    world.restart(orders.OrderProcess, route=late_for(late, timedelta(hours=2)))
    store.append("stock-anvil", [orders.StockReceived(quantity=5)])
    store.append("order-1", [order()])
    world.run(timedelta(hours=5))
    assert world.state(name="order_process").status is ProcessStatus.COMPLETED
    assert [e.type for e in store.read("order-1")] == ["OrderPlaced", "OrderCancelled"]
    assert orders.check_orders(store) == []


@pytest.mark.parametrize("seconds", range(0, 40, 4))
def test_a_customer_may_cancel_at_any_time(store: MemoryStore, seconds: int) -> None:
    def slow(message: Message) -> Journey:
        return Journey((10 * SECOND,)) if message.kind == "command" else straight(message)

    world = World(store)
    world.restart(orders.OrderProcess, route=slow)
    store.append("stock-anvil", [orders.StockReceived(quantity=5)])
    store.append("order-1", [order()])
    world.run(seconds * SECOND)
    world.commands.execute(orders.CancelOrder(order_id="1", reason="no longer wanted"))
    world.run(timedelta(hours=2))
    assert world.state(name="order_process").status is ProcessStatus.COMPLETED
    assert orders.check_orders(store) == []


# The lab.


def test_it_goes_on_in_another_lab_over_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "lab.duckdb"
    with Lab(path, clock=VirtualClock()) as lab:
        lab.register(Parking)
        lab.append("answers-1", [Answered(trip_id="1", what="early")])
        lab.run()
    with Lab(path, clock=VirtualClock()) as lab:
        lab.register(Parking)

        @lab.handles
        def do(command: Do) -> None:
            raise DomainError("full")

        @lab.handles
        def undo(command: Undo) -> None: ...

        lab.append("trip-1", [Asked(what="hotel")])
        lab.run()
        expected = ["early", "not hotel: full", "late"]
        assert lab.saga_state("trip", "1").data["answers"] == expected
    with Lab(path, clock=VirtualClock()) as lab:
        lab.register(Parking)
        lab.run()
        assert lab.saga_state(Parking, "1").data["answers"] == expected


def test_it_works_in_the_background_on_the_clock_of_the_machine() -> None:
    class Quick(ProcessManager, by="trip_id"):
        @start
        def asked(self, event: Asked) -> None:
            self.send(Undo(trip_id=self.id, what=event.what))
            self.set_timer("never", "1 day")

        @on_timer("never")
        def never(self) -> None: ...

    with Lab() as lab:
        lab.register(Quick)

        @lab.handles
        def undo(command: Undo) -> None: ...

        lab.start()
        lab.append("trip-1", [Asked(what="hotel")])
        lab.run()
        state = lab.saga_state(Quick, "1")
        assert (state.sent[0].outcome, list(state.timers)) == ("delivered", ["never"])


def test_a_process_manager_is_started_by_its_event_alone() -> None:
    with Lab(seed=7) as lab, pytest.raises(SagaDefinitionError, match="a saga is made by"):
        lab.start_saga(Trip, "1")  # type: ignore[arg-type]


# What cannot be.


def defined(annotation: type[Event] = Answered, marker: Any = on, **options: Any) -> None:
    """Define a process manager."""

    def handle(self: Any, event: Any) -> None: ...

    handle.__annotations__ = {"event": annotation, "return": None}

    def begin(self: Any, event: Any) -> None: ...

    begin.__annotations__ = {"event": Asked, "return": None}
    body = {"begin": start(begin), "handle": marker(handle), "__module__": __name__}
    type("Defined", (ProcessManager,), body, **{"by": "trip_id", **options})


class Nameless(Event):
    other: str


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "a-b"}, "must not be empty nor hold"),
        ({"name": ""}, "must not be empty nor hold"),
        ({"by": None}, "say by which field"),
        ({"by": 3}, "say by which field"),
        ({"by": "trip", "annotation": Nameless}, "has no field 'trip'"),
        ({"not_found": "raise"}, "'ignore' or 'park'"),
        ({"retry": 3}, r"is a Retry\(limit"),
        ({"timeout": timedelta(0)}, "a timeout is a duration"),
        ({"timeout": "5 s"}, "a timeout is a duration"),
        ({"cost": -SECOND}, "costs a duration"),
        ({"after": -1}, "after is a position"),
        ({"annotation": Asked}, "both handle Asked"),
        ({"marker": on(by="trip_id")}, "by is a function"),  # type: ignore[call-overload]
    ],
)
def test_what_cannot_be_defined_is_told_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SagaDefinitionError, match=said):
        defined(**options)


def test_one_that_can_is_defined() -> None:
    defined(retry=NO_RETRY, timeout=SECOND, cost=SECOND, after=3, not_found="park")
    defined(marker=stop)


def test_handlers_and_state_that_cannot_be_are_told_at_once() -> None:
    with pytest.raises(SagaDefinitionError, match="nothing starts it"):

        class NoStart(ProcessManager, by="trip_id"):
            @on
            def answered(self, event: Answered) -> None: ...

    with pytest.raises(SchemaError, match="annotate its parameter"):

        class NoEvent(ProcessManager, by="trip_id"):
            @start
            def asked(self, event: int) -> None: ...

    with pytest.raises(RegistrationError, match="both handle Asked"):

        class Twice(ProcessManager, by="trip_id"):
            @start
            def asked(self, event: Asked) -> None: ...

            @start
            def asked_too(self, event: Asked) -> None: ...

    with pytest.raises(SagaDefinitionError, match="takes the event alone"):

        class More(ProcessManager, by="trip_id"):
            @start
            def asked(self, event: Asked, rows: int) -> None: ...

    with pytest.raises(SagaDefinitionError, match="the refused command and the reason"):

        class Refused(Trip, name="trip", by="trip_id"):
            @on_refused
            def refused(self, command: Do) -> None: ...  # type: ignore[override]

    with pytest.raises(SagaDefinitionError, match="both take the timer 'late'"):

        class Timer(Trip, name="trip", by="trip_id"):
            @on_timer("late")
            def later(self) -> None: ...

    with pytest.raises(SagaDefinitionError, match="takes a timer, and nothing else"):

        class TimerEvent(Trip, name="trip", by="trip_id"):
            @on_timer("other")
            def other(self, event: Asked) -> None: ...

    with pytest.raises(TimerError, match="a timer has a name"):
        on_timer(print)  # type: ignore[arg-type]

    with pytest.raises(SchemaError, match="needs a value to begin with"):

        class NoDefault(Trip, name="trip", by="trip_id"):
            seen: int

    with pytest.raises(SchemaError, match="there is no JSON for its state"):

        class NoJson(Trip, name="trip", by="trip_id"):
            seen: object = object()

    with pytest.raises(SchemaError, match="eslab uses that name"):

        class Taken(Trip, name="trip", by="trip_id"):
            now: int = 0  # type: ignore[assignment]


def test_a_projection_has_all_events_and_asks_none_whom_it_concerns() -> None:
    class Seen(Row, key="id"):
        id: str

    with pytest.raises(ProjectionError, match="by= says of which process manager"):

        class AllSeen(Projection):
            row = Seen

            @on(by=lambda event: event.trip_id)
            def answered(self, event: Answered, rows: Rows[Seen]) -> None: ...
