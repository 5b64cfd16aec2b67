"""Sagas in the log: commands that steps send, events that answer them, and what starts a saga."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sagas_world import (
    LOST,
    SECOND,
    Ask,
    Process,
    Travels,
    World,
    after,
    asks,
    did,
    events_of,
    memory,
    run,
    story,
)

from eslab import (
    Aggregate,
    Command,
    CommandRevokedError,
    DomainError,
    Event,
    HandlerNotFoundError,
    Lab,
    MemoryStore,
    Metadata,
    RecordedEvent,
    RegistrationError,
    Saga,
    SagaDefinitionError,
    SagaError,
    Step,
    StreamAppend,
    UnknownEventTypeError,
    handles,
)
from eslab.messaging import handled, handling
from eslab.sagas import Parallel, SagaStatus, Send, StepContext
from eslab.sagas.definition import step_key
from eslab.subscriptions import Retry

TWICE = Retry(limit=1, first=SECOND, jitter=0)


class Seated(Event):
    seat: int


class Full(Event):
    train: str


class Left(Event):
    pass


class Ordered(Event):
    days: int


class Other(Event):
    pass


EVENTS = (Seated, Full, Left, Ordered, Other)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    with memory() as opened:
        yield opened


def trip(world: World, **options: Any) -> Saga:
    return Saga("trip", [world.sends(name, **options) for name in ("hotel", "train", "car")])


# Commands.


def test_a_step_sends_a_command_whose_id_is_its_key(store: MemoryStore, world: World) -> None:
    state = run(store, trip(world), world=world)
    assert state.status is SagaStatus.COMPLETED
    assert did(store) == ["hotel", "train", "car"]
    first = next(iter(store.read_all(types=["Did"])))
    metadata = first.metadata
    assert metadata.command_id == str(step_key("saga-trip-1", "hotel", "execute"))
    assert (metadata.correlation_id, metadata.extra["saga"]) == ("saga-trip-1", "saga-trip-1")
    begun = next(e.data for e in events_of(store) if e.type == "StepStarted")
    assert begun["command"]["data"] == {"what": "hotel", "of": "1"}


def test_a_command_that_is_sent_twice_is_carried_out_once(store: MemoryStore, world: World) -> None:
    route = Travels(execute_hotel=[after(1, 2)], execute_train=[after(1, reply=[]), after(1)])
    saga = trip(world, timeout=5 * SECOND, retry=TWICE)
    assert run(store, saga, world=world, route=route).status is SagaStatus.COMPLETED
    assert did(store) == ["hotel", "train", "car"]


def test_a_refused_command_is_not_tried_again_and_the_others_are_undone(
    store: MemoryStore, world: World
) -> None:
    world.faults = {"train": [OSError("busy")], "car": [DomainError("no car")]}
    state = run(store, trip(world, retry=TWICE), world=world)
    assert (state.status, state.error) == (SagaStatus.COMPENSATED, "DomainError: no car")
    assert did(store) == ["hotel", "train", "undo train", "undo hotel"]
    assert (world.calls.count("train"), world.calls.count("car")) == (2, 1)


def test_a_command_that_cannot_be_made_fails_its_step(store: MemoryStore, world: World) -> None:
    bad = Step("bad", Send(lambda step: step.results["nobody"]), retry=TWICE)
    state = run(store, Saga("trip", [world.sends("a"), bad]), world=world)
    assert (state.status, state.failed_step) == (SagaStatus.COMPENSATED, "bad")
    assert state.error == "KeyError: 'nobody'"
    odd = Step("odd", Send(lambda step: "no command"))  # type: ignore[arg-type,return-value]
    state = run(store, Saga("trip", [odd]), "2", world=world)
    assert "a command, such as ReserveStock(...), not 'no command'" in str(state.error)


def test_a_compensation_that_cannot_be_made_makes_the_saga_stuck(
    store: MemoryStore, world: World
) -> None:
    made: list[Command] = []

    def undo(step: StepContext) -> Command:
        return made[0]

    saga = Saga("trip", [Step("a", asks("a"), Send(undo)), world.sends("b")])
    world.faults["b"] = [DomainError()]
    process = Process(store, saga, world=world)
    process.start(saga)
    process.run()
    state = process.state()
    assert (state.status, state.stuck_step) == (SagaStatus.STUCK, "a")
    assert state.error == "IndexError: list index out of range"
    made.append(Ask(what="undo a", of="1"))
    process.orchestrator.resume("trip", "1")
    process.run()
    assert process.state().status is SagaStatus.COMPENSATED
    assert did(store) == ["a", "undo a"]


def test_a_command_that_nothing_handles_yet_is_waited_for(store: MemoryStore, world: World) -> None:
    process = Process(store, saga := trip(world))
    process.start(saga)
    for _ in range(2):
        with pytest.raises(HandlerNotFoundError, match="Ask"):
            process.run()
    assert process.state().status is SagaStatus.RUNNING
    process.commands.register(world.handle)
    process.run()
    assert process.state().status is SagaStatus.COMPLETED
    assert world.calls == ["hotel", "train", "car"]


def test_a_command_that_is_overtaken_by_its_compensation_has_no_effect(
    store: MemoryStore, world: World
) -> None:
    route = Travels(execute_train=[after(60)])
    state = run(store, trip(world, timeout=5 * SECOND), world=world, route=route)
    assert (state.status, state.compensated) == (SagaStatus.COMPENSATED, ("train", "hotel"))
    assert did(store) == ["hotel", "undo train", "undo hotel"]
    assert "train" not in world.calls
    (late,) = [e.data for e in events_of(store) if e.type == "LateReplyReceived"]
    assert late["error"].startswith(CommandRevokedError.__name__)
    (revoked,) = [e for e in store.read_all(types=["CommandRevoked"]) if e.position]
    assert revoked.metadata.correlation_id == "saga-trip-1"


def test_a_command_that_was_refused_has_no_effect_when_it_comes_again(
    store: MemoryStore, world: World
) -> None:
    world.faults["b"] = [DomainError("not now")]
    saga = Saga("trip", [world.sends("a"), world.sends("b")])
    state = run(store, saga, world=world, route=Travels(b=[after(1, 5)]))
    assert state.status is SagaStatus.COMPENSATED
    assert did(store) == ["a", "undo a"]
    assert world.calls.count("b") == 1  # the second one did not come so far


def test_behind_the_pivot_a_command_that_was_refused_can_be_sent_again(
    store: MemoryStore, world: World
) -> None:
    world.faults["b"] = [DomainError("not now")]
    saga = Saga("trip", [world.sends("a", undo=False, pivot=True), world.sends("b", undo=False)])
    process = Process(store, saga, world=world)
    process.start(saga)
    process.run()
    assert process.state().status is SagaStatus.STUCK
    process.orchestrator.resume("trip", "1")
    process.run()
    assert process.state().status is SagaStatus.COMPLETED
    assert did(store) == ["a", "b"]


def test_functions_and_commands_may_be_mixed(store: MemoryStore, world: World) -> None:
    mixed = Step("b", world.does("b"), asks("undo b"))
    saga = Saga("trip", [Step("a", asks("a"), world.does("undo a")), mixed, world.sends("c")])
    world.faults["c"] = [DomainError()]
    assert run(store, saga, world=world).compensated == ("b", "a")
    assert (world.effects, did(store)) == (["b", "undo a"], ["a", "undo b"])


# Answers that are events.


def waiting(world: World, *, undo: Send | None = None, **options: Any) -> Saga:
    """Return a saga whose second step waits for an event."""
    train = Step(
        "train",
        asks("train", reply=Seated, failure=Full),
        undo or world.does("undo train"),
        timeout=9 * SECOND,
        **options,
    )
    return Saga("trip", [world.sends("hotel"), train, world.sends("car", undo=False)])


def begun(store: MemoryStore, world: World, saga: Saga, **options: Any) -> Process:
    """Return a process with a saga that waits for its answer."""
    process = Process(store, saga, world=world, events=EVENTS, **options)
    process.start(saga)
    process.advance(SECOND)
    return process


def answer(process: Process, event: Event, **metadata: Any) -> None:
    process.append("rail-1", event, **(metadata or {"correlation_id": "saga-trip-1"}))


@pytest.mark.parametrize(
    "metadata",
    [{"correlation_id": "saga-trip-1"}, {"extra": {"saga": "saga-trip-1"}}],
    ids=["correlated", "named"],
)
def test_a_step_waits_for_the_event_that_answers_it(
    store: MemoryStore, world: World, metadata: dict[str, Any]
) -> None:
    process = begun(store, world, waiting(world))
    assert did(store) == ["hotel", "train"]
    answer(process, Seated(seat=1), correlation_id="another")
    answer(process, Seated(seat=2), correlation_id="saga-trip-2")
    process.advance(SECOND)
    assert process.state().completed == ("hotel",)
    answer(process, Seated(seat=7), **metadata)
    process.run()
    state = process.state()
    assert (state.status, state.results["train"]) == (SagaStatus.COMPLETED, {"seat": 7})
    (completed,) = [
        e for e in events_of(store) if (e.type, e.data.get("step")) == ("StepCompleted", "train")
    ]
    told = next(e for e in store.read_all() if e.data.get("seat") == 7)
    assert completed.metadata.causation_id == str(told.event_id)
    assert story(store, "2") == []  # nobody started that one


def test_an_event_that_says_no_fails_the_step_for_good(store: MemoryStore, world: World) -> None:
    process = begun(store, world, waiting(world, retry=TWICE))
    answer(process, Full(train="IC 1"))
    process.run()
    state = process.state()
    assert (state.status, state.compensated) == (SagaStatus.COMPENSATED, ("hotel",))
    assert state.error == 'Full: {"train":"IC 1"}'


def test_an_event_that_says_no_while_the_next_try_is_awaited_counts_the_same() -> None:
    """Found in the log by a new process, it means the same."""
    states = []
    for dies in (False, True):
        world = World()
        with memory() as store:
            process = begun(store, world, saga := waiting(world, retry=TWICE))
            process.advance(8.5 * SECOND)
            assert process.state().timers["execute train 2 retry"]
            answer(process, Full(train="IC 1"))
            if dies:
                process.leave()
                process = Process(store, saga, world=world, events=EVENTS)
            process.run()
            states.append(process.state())
    assert states[0] == states[1]
    assert states[0].compensated == ("train", "hotel")


def test_the_answer_may_be_an_event_of_the_command_itself(store: MemoryStore) -> None:
    class Ride(Command):
        id: str

    class Rail(Aggregate, category="rail", ignores=[Seated]):
        @handles
        def ride(self, command: Ride) -> None:
            self.record(Seated(seat=3))

    saga = Saga("trip", [Step("train", Send(lambda _: Ride(id="1"), reply=Seated), timeout=SECOND)])
    process = Process(store, saga, events=EVENTS)
    process.commands.register(Rail)
    process.start(saga)
    process.run()
    assert process.state().results == {"train": {"seat": 3}}


def test_the_answer_may_follow_from_what_the_command_caused(
    store: MemoryStore, world: World
) -> None:
    """Though the saga's correlation id is that of what started it."""

    class Seat(Command):
        seat: int

    def seat(command: Seat) -> StreamAppend:
        return StreamAppend("rail-1", [Seated(seat=command.seat)])

    saga = replace(waiting(world), started_by=Ordered)
    process = Process(store, saga, world=world, events=EVENTS)
    process.commands.register(seat)
    process.append("order-1", Ordered(days=3), correlation_id="c-1")
    process.advance(SECOND)
    _, caused = store.read_all(types=["Did"])
    with handling(caused.metadata):
        process.commands.execute(Seat(seat=9))
    process.run()
    assert process.state().results["train"] == {"seat": 9}
    (seated,) = store.read_all(types=["Seated"])
    assert seated.metadata.correlation_id == "c-1"


def test_a_late_event_is_recorded_once_and_what_it_says_is_undone(
    store: MemoryStore, world: World
) -> None:
    process = begun(store, world, saga := waiting(world))
    answer(process, Full(train="IC 1"))
    process.run()
    assert process.state().status is SagaStatus.COMPENSATED
    answer(process, Seated(seat=7))
    process.run()
    state = process.state()
    assert state.compensated == ("hotel", "train")
    assert story(store)[-1] == "CompensationCompleted train"
    head = store.head()
    Process(store, saga, world=world, events=EVENTS).run()
    assert store.head() == head


def test_a_late_compensation_is_found_by_another_process(store: MemoryStore, world: World) -> None:
    """Two that are pending: one has been done when the process ends, and the other has not."""
    steps = [
        Step(
            name,
            asks(name, reply=yes, failure=no),
            world.does(f"undo {name}"),
            timeout=9 * SECOND,
            cost=SECOND,
        )
        for name, yes, no in (("a", Seated, Full), ("b", Left, Other))
    ]
    saga = Saga("trip", [world.step("first"), Parallel(*steps)])
    process = begun(store, world, saga)
    answer(process, Full(train="IC 1"))
    answer(process, Other())
    process.run()
    assert process.state().compensated == ("first",)
    answer(process, Seated(seat=7))
    answer(process, Left())
    process.advance(1.5 * SECOND)
    assert len(process.state().compensated) == 2
    process.leave()
    process = Process(store, saga, world=world, events=EVENTS)
    process.run()
    assert sorted(process.state().compensated) == ["a", "b", "first"]
    assert process.state().ended


def test_nobody_answers(store: MemoryStore, world: World) -> None:
    process = begun(store, world, waiting(world))
    process.run()
    state = process.state()
    assert (state.status, state.error) == (SagaStatus.COMPENSATED, "no answer came in time")
    assert state.compensated == ("train", "hotel")  # it may have happened


def test_nobody_answers_a_compensation(store: MemoryStore, world: World) -> None:
    saga = waiting(world, undo=asks("undo train", reply=Left), compensation_retry=TWICE)
    process = begun(store, world, saga)
    world.faults["car"] = [DomainError("no")]
    answer(process, Seated(seat=7))
    process.run()
    state = process.state()
    assert (state.status, state.stuck_step) == (SagaStatus.STUCK, "train")
    assert did(store) == ["hotel", "train", "undo train"]  # under one id, though sent twice
    process.orchestrator.resume("trip", "1")
    process.advance(SECOND)
    answer(process, Left())
    process.run()
    assert process.state().status is SagaStatus.COMPENSATED


def test_an_answer_travels_as_its_question_was_planned(store: MemoryStore, world: World) -> None:
    route = Travels(execute_train=[after(1, reply=[3, 4])])
    process = begun(store, world, waiting(world), route=route)
    answer(process, Seated(seat=7))
    process.advance(SECOND)
    assert process.state().completed == ("hotel",)
    process.run()
    assert process.state().status is SagaStatus.COMPLETED
    assert story(store).count("StepCompleted train") == 1


# What starts a saga.


def ordered(world: World, **options: Any) -> Saga:
    return Saga("trip", [world.step("hotel")], started_by=Ordered, **options)


def test_an_event_starts_a_saga_once(store: MemoryStore, world: World) -> None:
    process = Process(store, saga := ordered(world), events=EVENTS)
    origin = {"correlation_id": "c-1", "actor": "ann", "traceparent": "00-1-2-01"}
    process.append("order-o-1", Ordered(days=3), **origin)
    process.run()
    process.append("order-o-1", Ordered(days=4))
    process.append("order-o-2", Other())
    process.run()
    state = process.state("o-1")
    assert (state.status, state.input) == (SagaStatus.COMPLETED, {"days": 3})
    first = next(iter(store.read("order-o-1")))
    events = events_of(store, "o-1")
    assert events[0].data["position"] == 1
    assert events[0].metadata.causation_id == str(first.event_id)
    for event in events:
        metadata = event.metadata
        assert (metadata.correlation_id, metadata.actor, metadata.traceparent) == tuple(
            origin.values()
        )
    head = store.head()
    Process(store, saga, events=EVENTS).run()
    assert (store.head(), world.calls) == (head, ["hotel"])


def test_what_a_saga_does_belongs_to_what_started_it(store: MemoryStore) -> None:
    """Also in a process that found it in the log."""
    world = World()
    seen: list[Metadata] = []
    note = Step("note", lambda _: seen.append(handled()))
    saga = Saga("trip", [note, world.sends("train")], started_by=Ordered)
    process = Process(store, saga, events=EVENTS)
    process.append("order-1", Ordered(days=3), correlation_id="c-1", actor="ann")
    process.advance(SECOND / 1000)
    process.leave()
    Process(store, saga, events=EVENTS, world=world).run()
    (told,) = store.read_all(types=["Did"])
    for metadata in (told.metadata, *seen):
        assert (metadata.correlation_id, metadata.actor) == ("c-1", "ann")


def test_only_events_behind_a_position_start_a_saga(store: MemoryStore, world: World) -> None:
    process = Process(store, events=EVENTS)
    for number in range(4):
        process.append(f"order-{number}", Ordered(days=number))
    process.orchestrator.register(ordered(world, after=2))
    process.run()
    assert [story(store, str(number)) != [] for number in range(4)] == [False, False, True, True]


def test_a_saga_may_say_which_one_an_event_starts(store: MemoryStore, world: World) -> None:
    def id(event: RecordedEvent) -> str:
        return f"{event.data['days']} days"

    process = Process(store, ordered(world, id=id), events=EVENTS)
    process.append("order-1", Ordered(days=3))
    process.run()
    assert process.state("3 days").status is SagaStatus.COMPLETED


@pytest.mark.parametrize(
    "id",
    [lambda event: event.data["nights"], lambda _: 7, lambda _: ""],
    ids=["raises", "number", "empty"],
)
def test_an_event_of_which_nobody_can_say_what_it_starts_holds_up_no_other(
    store: MemoryStore, world: World, id: Any
) -> None:
    other = Saga("other", [world.step("x", retry=TWICE)])
    world.faults["x"] = [OSError()]
    process = Process(store, ordered(world, id=id), other, events=EVENTS)
    process.append("order-1", Ordered(days=3))
    process.start(other)
    for _ in range(2):
        with pytest.raises(SagaDefinitionError, match=r"saga 'trip': .* @1> starts"):
            process.run()
    assert process.state(name="other").status is SagaStatus.COMPLETED
    process.orchestrator.register(ordered(world))
    process.run()
    assert process.state().status is SagaStatus.COMPLETED


class Travel(Command):
    trip_id: str
    days: int = 3


def test_a_command_starts_a_saga(store: MemoryStore, world: World) -> None:
    saga = Saga("trip", [world.step("hotel")], started_by=Travel)
    process = Process(store, saga)
    id = uuid.UUID(int=7)
    origin = Metadata(actor="ann", correlation_id="c-1")
    process.commands.execute(Travel(trip_id="o-1"), command_id=id, metadata=origin)
    process.run()
    state = process.state("o-1")
    assert (state.status, state.input) == (SagaStatus.COMPLETED, {"trip_id": "o-1", "days": 3})
    metadata = {(e.metadata.correlation_id, e.metadata.actor) for e in events_of(store, "o-1")}
    assert metadata == {("c-1", "ann")}
    head = store.head()
    assert process.commands.execute(Travel(trip_id="o-1"), command_id=id).duplicate
    process.commands.execute(Travel(trip_id="o-1"))  # the same again, as another command
    assert store.head() == head
    with pytest.raises(SagaError, match="'trip' 'o-1' was started with another input"):
        process.commands.execute(Travel(trip_id="o-1", days=4))


def test_a_saga_may_say_which_one_a_command_starts(store: MemoryStore, world: World) -> None:
    saga = Saga("trip", [world.step("hotel")], started_by=Travel, id=lambda c: f"x{c.days}")
    process = Process(store, saga)
    process.commands.execute(Travel(trip_id="o-1"))
    process.run()
    assert process.state("x3").status is SagaStatus.COMPLETED
    with pytest.raises(RegistrationError, match="saga 'trip' already"):
        process.orchestrator.register(Saga("b", [world.step("hotel")], started_by=Travel))


def test_a_saga_that_is_defined_again_leaves_the_command_that_started_it(
    store: MemoryStore, world: World
) -> None:
    for start in (None, Ask):
        process = Process(store, Saga("trip", [world.step("hotel")], started_by=Travel))
        process.orchestrator.register(Saga("trip", [world.step("hotel")], started_by=start))
        with pytest.raises(HandlerNotFoundError):
            process.commands.execute(Travel(trip_id="1"))
        process.orchestrator.register(Saga("other", [world.step("hotel")], started_by=Travel))


def test_in_a_lab_events_and_commands_start_sagas(world: World) -> None:
    with Lab(seed=7) as lab:
        lab.register(
            Saga("trip", [world.step("hotel")], started_by=Travel),
            Saga("party", [world.step("cake")], started_by=Ordered),
        )
        lab.execute(Travel(trip_id="1"))
        lab.append("order-2", [Ordered(days=1)])
        lab.run()
        assert lab.saga_state("trip", "1").status is SagaStatus.COMPLETED
        assert lab.saga_state("party", "2").status is SagaStatus.COMPLETED


def test_a_message_that_never_arrives_is_not_answered(store: MemoryStore, world: World) -> None:
    route = Travels(execute_hotel=[LOST])
    state = run(store, trip(world, timeout=SECOND), world=world, route=route)
    assert state.status is SagaStatus.COMPENSATED
    assert did(store) == ["undo hotel"]


# Of the log of others.


def test_a_saga_makes_the_events_that_concern_it_known(store: MemoryStore, world: World) -> None:
    """A lab that is opened again may know nothing but the saga."""
    step = Step("hotel", asks("hotel", reply=Seated, failure=Full), timeout=SECOND)
    Process(store, events=EVENTS).append("order-1", Ordered(days=3))
    process = Process(store, Saga("trip", [step], started_by=Ordered), world=world)
    process.advance(SECOND / 2)
    process.append("train-1", Seated(seat=7), correlation_id="saga-trip-1")
    process.run()
    assert process.state().results == {"hotel": {"seat": 7}}


@pytest.mark.parametrize("id", ["1" * 300, "1\n", ""])
def test_an_answer_to_what_can_be_no_saga_is_somebody_elses(
    store: MemoryStore, world: World, id: str
) -> None:
    step = Step("hotel", asks("hotel", reply=Seated), timeout=SECOND)
    process = Process(store, Saga("trip", [step]), events=EVENTS)
    process.append("train-1", Seated(seat=7), correlation_id=f"saga-trip-{id}")
    process.run()
    assert store.head() == 1


@pytest.mark.parametrize("what", ["x" * 2**20, "\ud800"], ids=["huge", "no text"])
def test_a_command_that_cannot_be_recorded_is_not_sent(
    store: MemoryStore, world: World, what: str
) -> None:
    """The step fails: else the saga could go neither forwards nor backwards, and nobody saw it."""
    state = run(store, Saga("trip", [world.step("hotel"), Step("car", asks(what))]), world=world)
    assert (state.status, state.failed_step) == (SagaStatus.COMPENSATED, "car")
    assert world.calls == ["hotel", "undo hotel"]


def test_what_others_write_into_the_stream_of_a_saga_holds_up_no_other(
    store: MemoryStore, world: World
) -> None:
    saga = trip(world)
    process = Process(store, saga)
    for id in ("1", "2"):
        process.start(saga, id)
    process.append("saga-trip-1", Other())
    process = Process(store, saga, world=world)
    with pytest.raises(UnknownEventTypeError, match="Other"):
        process.run()
    assert process.state("2").status is SagaStatus.COMPLETED


def test_a_saga_that_an_event_started_is_not_started_again(
    store: MemoryStore, world: World
) -> None:
    saga = Saga("trip", [world.step("hotel")], started_by=Ordered)
    process = Process(store, saga)
    process.append("order-1", Ordered(days=3))
    process.run()
    with pytest.raises(SagaError, match="'trip' '1' was started by an event or a command before"):
        process.start(saga, days=3)
