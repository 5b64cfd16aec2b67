"""Sagas: compensation in reverse, retries, and the same end wherever it is interrupted."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eslab import (
    ConcurrencyError,
    DomainError,
    IdempotencyError,
    InputError,
    Lab,
    MemoryStore,
    NewEvent,
    Saga,
    SagaError,
    Step,
    StepContext,
    VirtualClock,
)
from eslab.clock import Scheduler, SeededIds
from eslab.sagas import Action, Orchestrator, SagaState, SagaStatus, next_action
from eslab.schema import EventRegistry


class World:
    """Participants that remember what they did under which key, and a saga over them."""

    def __init__(self) -> None:
        self.done: dict[Any, str] = {}
        self.calls: list[str] = []
        self.faults: dict[str, list[BaseException]] = {}

    def step(self, name: str, *, attempts: int = 1, undo: bool = True) -> Step:
        return Step(
            name,
            lambda context: self.act(name, context),
            (lambda context: self.act(f"undo {name}", context)) if undo else None,
            attempts=attempts,
        )

    def act(self, name: str, context: StepContext) -> str:
        self.calls.append(name)
        if faults := self.faults.get(name):
            raise faults.pop(0)
        self.done.setdefault(context.idempotency_key, name)
        return f"{name} of {context.saga_id}"

    @property
    def effects(self) -> list[str]:
        return list(self.done.values())


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    with MemoryStore(clock=VirtualClock(), ids=SeededIds(7)) as opened:
        yield opened


def trip(world: World, **options: Any) -> Saga:
    return Saga("trip", [world.step(name, **options) for name in ("hotel", "train", "car")])


def run(store: MemoryStore, saga: Saga, id: str = "1") -> SagaState:
    orchestrator = Orchestrator(store, EventRegistry())
    orchestrator.start(saga, id, {"days": 3})
    return orchestrator.run(saga, id)


def story(store: MemoryStore, id: str = "1") -> list[str]:
    return [
        f"{event.type} {event.data.get('step', '')}".strip()
        for event in store.read(f"saga-trip-{id}")
    ]


def test_all_steps_are_executed_in_order(store: MemoryStore, world: World) -> None:
    state = run(store, trip(world))
    assert state.status is SagaStatus.COMPLETED
    assert state.results == {name: f"{name} of 1" for name in ("hotel", "train", "car")}
    assert world.effects == ["hotel", "train", "car"]
    assert story(store) == [
        "SagaStarted",
        *itertools.chain.from_iterable(
            (f"StepStarted {name}", f"StepCompleted {name}") for name in ("hotel", "train", "car")
        ),
        "SagaCompleted",
    ]
    assert {event.metadata.correlation_id for event in store.read_all()} == {"saga-trip-1"}


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_completed_steps_are_compensated_in_reverse_order(
    store: MemoryStore, world: World, failing: int
) -> None:
    names = ["hotel", "train", "car"]
    world.faults[names[failing]] = [ValueError("no seat")]
    state = run(store, trip(world))
    done = names[:failing]
    assert state.status is SagaStatus.COMPENSATED
    assert (state.failed_step, state.error) == (names[failing], "ValueError: no seat")
    assert state.compensated == tuple(reversed(done))
    assert world.effects == [*done, *(f"undo {name}" for name in reversed(done))]
    assert story(store)[-1] == "SagaCompensated"


def test_a_step_without_compensation_is_passed_over(store: MemoryStore, world: World) -> None:
    saga = Saga("trip", [world.step("a"), world.step("b", undo=False), world.step("c")])
    world.faults["c"] = [ValueError()]
    assert run(store, saga).compensated == ("a",)


def test_an_error_is_retried_and_a_refusal_is_not(store: MemoryStore, world: World) -> None:
    world.faults["train"] = [OSError("1"), OSError("2")]
    assert run(store, trip(world, attempts=3)).status is SagaStatus.COMPLETED
    assert Counter(world.calls) == {"hotel": 1, "train": 3, "car": 1}
    attempts = [e.data["attempt"] for e in store.read("saga-trip-1") if e.type == "StepStarted"]
    assert attempts == [1, 1, 2, 3, 1]

    world.calls.clear()
    world.faults["train"] = [DomainError("no")]
    assert run(store, trip(world, attempts=3), "2").status is SagaStatus.COMPENSATED
    assert world.calls == ["hotel", "train", "undo hotel"]


def test_retries_end(store: MemoryStore, world: World) -> None:
    world.faults["train"] = [OSError(str(number)) for number in range(9)]
    state = run(store, trip(world, attempts=3))
    assert state.status is SagaStatus.COMPENSATED
    assert world.calls.count("train") == 3
    failed = [e.data for e in store.read("saga-trip-1") if e.type == "StepFailed"]
    assert [(data["attempt"], data["final"]) for data in failed] == [
        (1, False),
        (2, False),
        (3, True),
    ]


def test_a_compensation_is_retried_and_then_the_saga_is_stuck(
    store: MemoryStore, world: World
) -> None:
    world.faults = {"car": [ValueError()], "undo train": [OSError("x")]}
    assert run(store, trip(world, attempts=2)).status is SagaStatus.COMPLETED
    world.faults = {"car": [DomainError()], "undo train": [OSError("x")]}
    assert run(store, trip(world, attempts=2), "2").status is SagaStatus.COMPENSATED
    world.faults = {"car": [DomainError()], "undo train": [OSError("x"), OSError("y")]}
    state = run(store, trip(world, attempts=2), "3")
    assert state.status is SagaStatus.STUCK
    assert (state.stuck_step, state.error, state.compensated) == ("train", "OSError: y", ())
    assert story(store, "3")[-1] == "SagaStuck train"
    calls = list(world.calls)
    assert run(store, trip(world, attempts=2), "3") == state
    assert world.calls == calls


@pytest.mark.parametrize(
    "result",
    [object(), float("nan"), {1}, (1,), "x" * 200_000],
    ids=["o", "nan", "set", "t", "huge"],
)
def test_a_result_that_cannot_be_recorded_is_a_failure(store: MemoryStore, result: Any) -> None:
    saga = Saga("trip", [Step("a", lambda _: result)])
    state = run(store, saga)
    assert state.status is SagaStatus.COMPENSATED
    assert "the result of step 'a'" in str(state.error)


@pytest.mark.parametrize(
    "text", ["\ud800", "x" * 3_000_000, ""], ids=["surrogate", "huge", "empty"]
)
def test_any_error_can_be_recorded(store: MemoryStore, world: World, text: str) -> None:
    world.faults["train"] = [ValueError(text)]
    assert run(store, trip(world)).status is SagaStatus.COMPENSATED


# Crashes.


class CrashError(BaseException):
    """The process dies here."""


class Crashing(MemoryStore):
    """A store on which the process dies before or after the n-th append."""

    at: int | None = None
    after = False
    appends = 0

    def append(self, stream_id: str, events: Sequence[NewEvent], **options: Any) -> Any:
        self.appends += 1
        fires = self.appends == self.at
        if fires and not self.after:
            raise CrashError
        result = super().append(stream_id, events, **options)
        if fires:
            raise CrashError
        return result


def on_clock(store: MemoryStore, saga: Saga) -> SagaState:
    """Run a saga as a lab on a virtual clock does."""
    orchestrator = Orchestrator(store, EventRegistry())
    orchestrator.start(saga, "1", {"days": 3})
    scheduler = Scheduler(store.clock)  # type: ignore[arg-type]
    orchestrator.wake(scheduler)
    while scheduler.step():
        pass
    assert orchestrator.unfinished() == []
    return orchestrator.state(saga, "1")


def completes(world: World) -> None:
    world.faults = {}


def compensates(world: World) -> None:
    world.faults = {"car": [DomainError("no")] * 9}


def gets_stuck(world: World) -> None:
    world.faults = {"car": [DomainError("no")] * 9, "undo hotel": [DomainError("no")] * 9}


@pytest.mark.parametrize("prepare", [completes, compensates, gets_stuck])
@pytest.mark.parametrize("go", [run, on_clock])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_saga_ends_the_same_wherever_the_process_died(
    prepare: Callable[[World], None], go: Callable[..., SagaState], after: bool
) -> None:
    """Crash exploration: die at every single append, then resume with everything new."""

    def explored(at: int | None) -> tuple[SagaState, list[str], list[str], int, bool]:
        world = World()
        prepare(world)
        crashed = False
        with Crashing(clock=VirtualClock(), ids=SeededIds(7)) as store:
            store.at, store.after = at, after
            try:
                state = go(store, trip(world))
            except CrashError:
                crashed = True
                state = go(store, trip(world))
            return state, world.effects, story(store), store.appends, crashed

    expected = explored(None)
    total = expected[3]
    assert total >= 8
    for at in range(1, total + 1):
        found = explored(at)
        assert found[4]
        assert found[:3] == expected[:3]


def test_the_exploration_can_find_a_fault() -> None:
    """A participant that forgets its keys does something twice, and that shows."""
    effects: list[str] = []
    saga = Saga("trip", [Step("a", lambda _: effects.append("a"))])
    with Crashing(clock=VirtualClock()) as store:
        store.at = 3
        with pytest.raises(CrashError):
            run(store, saga)
        run(store, saga)
    assert effects == ["a", "a"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["train", "undo hotel"])
def test_an_interrupt_in_a_step_is_resumed_under_the_same_attempt(
    store: MemoryStore, world: World, error: type[BaseException], where: str
) -> None:
    world.faults = {"car": [DomainError("no")], where: [error()]}
    with pytest.raises(error):
        run(store, trip(world))
    state = run(store, trip(world))
    assert state.status is SagaStatus.COMPENSATED
    assert world.effects == ["hotel", "train", "undo train", "undo hotel"]
    begun = [
        (e.type, e.data["step"], e.data["attempt"])
        for e in store.read_all()
        if "Started" in e.type and "step" in e.data
    ]
    assert len(begun) == len(set(begun)) == 5


def test_two_orchestrators_cannot_both_record_an_outcome(store: MemoryStore, world: World) -> None:
    """The stream's version at the decision is the one that the outcome is recorded at."""
    saga: Saga
    orchestrator = Orchestrator(store, EventRegistry())

    def meanwhile(context: StepContext) -> None:
        if context.step == "a" and not world.calls:
            world.calls.append("inner")
            Orchestrator(store, EventRegistry()).run(saga, "1")

    saga = Saga("trip", [Step("a", meanwhile), Step("b", lambda _: None)])
    orchestrator.start(saga, "1", {})
    with pytest.raises(ConcurrencyError):
        orchestrator.run(saga, "1")
    assert story(store).count("StepCompleted a") == 1
    assert orchestrator.run(saga, "1").status is SagaStatus.COMPLETED


FAULTS = st.dictionaries(
    st.sampled_from(["hotel", "train", "car", "undo hotel", "undo train", "undo car"]),
    st.lists(st.sampled_from([OSError, DomainError, KeyboardInterrupt]), max_size=3),
)


@settings(deadline=None, max_examples=40)
@given(FAULTS, st.integers(1, 3))
def test_whatever_fails_effects_are_undone_in_reverse_or_it_is_stuck(
    faults: dict[str, list[type[BaseException]]], attempts: int
) -> None:
    world = World()
    world.faults = {name: [error("x") for error in errors] for name, errors in faults.items()}
    with MemoryStore() as store:
        saga = trip(world, attempts=attempts)
        while True:
            try:
                state = run(store, saga)
                break
            except KeyboardInterrupt:
                continue
        done = list(state.completed)
        undone = [f"undo {name}" for name in state.compensated]
        assert world.effects == done + undone
        assert list(state.compensated) == done[::-1][: len(state.compensated)]
        if state.status is SagaStatus.COMPLETED:
            assert (len(done), undone) == (3, [])
        elif state.status is SagaStatus.COMPENSATED:
            assert len(undone) == len(done) < 3
        else:
            assert state.status is SagaStatus.STUCK
            assert f"undo {state.stuck_step}" in faults
        assert next_action(saga, state) is None


# Starting.


def test_starting_it_again_does_nothing(store: MemoryStore, world: World) -> None:
    saga = trip(world)
    orchestrator = Orchestrator(store, EventRegistry())
    assert orchestrator.start(saga, "1", {"days": 3})
    assert not orchestrator.start(saga, "1", {"days": 3})
    orchestrator.run(saga, "1")
    assert not orchestrator.start(saga, "1", {"days": 3})
    assert story(store).count("SagaStarted") == 1
    assert orchestrator.unfinished() == []
    with pytest.raises(IdempotencyError):
        orchestrator.start(saga, "1", {"days": 4})
    assert orchestrator.start(saga, "2", {"days": 4})
    assert orchestrator.unfinished() == [(saga, "2")]


@pytest.mark.parametrize("input", [{"x": float("nan")}, {"x": object()}, {"x": {1: 1, "1": 2}}])
def test_an_input_that_cannot_be_recorded_is_refused(
    store: MemoryStore, world: World, input: dict[str, Any]
) -> None:
    with pytest.raises(InputError):
        Orchestrator(store, EventRegistry()).start(trip(world), "1", input)
    assert store.head() == 0


def test_a_saga_that_nobody_started_or_that_lost_a_step(store: MemoryStore, world: World) -> None:
    orchestrator = Orchestrator(store, EventRegistry())
    with pytest.raises(SagaError, match="no saga 'trip' with the id '1'"):
        orchestrator.run(trip(world), "1")
    with pytest.raises(SagaError, match="Saga"):
        orchestrator.register("trip")  # type: ignore[arg-type]
    world.faults["car"] = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        run(store, trip(world))
    world.faults["car"] = [DomainError("no")]
    without = Saga("trip", [world.step("hotel"), world.step("car")])
    with pytest.raises(SagaError, match="no step 'train'"):
        Orchestrator(store, EventRegistry()).run(without, "1")


def nothing(context: StepContext) -> None:
    pass


WRONG: list[Callable[[], object]] = [
    lambda: Saga("", [Step("a", nothing)]),
    lambda: Saga("a-b", [Step("a", nothing)]),
    lambda: Saga(5, [Step("a", nothing)]),  # type: ignore[arg-type]
    lambda: Saga("trip"),
    lambda: Saga("trip", []),
    lambda: Saga("trip", Step("a", nothing)),  # type: ignore[arg-type]
    lambda: Saga("trip", ["a"]),  # type: ignore[list-item]
    lambda: Saga("trip", [Step("a", nothing), Step("b", nothing), Step("a", nothing)]),
    lambda: Step("", nothing),
    lambda: Step(None, nothing),  # type: ignore[arg-type]
    lambda: Step("a", None),  # type: ignore[arg-type]
    lambda: Step("a", nothing, "undo"),  # type: ignore[arg-type]
    lambda: Step("a", nothing, attempts=0),
    lambda: Step("a", nothing, attempts=True),
    lambda: Step("a", nothing, attempts="2"),  # type: ignore[arg-type]
    lambda: Step("a", nothing, cost=timedelta(-1)),
    lambda: Step("a", nothing, cost=5),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("define", WRONG, ids=map(str, range(len(WRONG))))
def test_a_saga_that_is_defined_wrongly_is_refused(define: Callable[[], object]) -> None:
    with pytest.raises(SagaError):
        define()


def test_what_comes_next_is_a_pure_function_of_the_state(world: World) -> None:
    saga = trip(world)
    assert next_action(saga, SagaState()) == Action("execute", "hotel", 1)
    interrupted = SagaState(attempt=2, interrupted=True)
    assert next_action(saga, interrupted) == Action("execute", "hotel", 2, resumed=True)
    assert next_action(saga, SagaState(completed=("hotel", "train", "car"))) == Action("complete")


# In a lab.


@pytest.mark.parametrize("seed", [None, 7], ids=["wall", "virtual"])
def test_another_lab_on_the_same_file_resumes_a_saga(
    tmp_path: Path, world: World, seed: int | None
) -> None:
    path = tmp_path / "trips.duckdb"
    world.faults = {"train": [KeyboardInterrupt()], "car": [DomainError("no")]}
    with Lab(path, seed=seed) as lab:
        lab.start_saga(trip(world), "1", days=3)
        with pytest.raises(KeyboardInterrupt):
            lab.run()
    with Lab(path, seed=seed) as lab:
        lab.run()  # it does not know the saga yet
        assert lab.saga_state(trip(world), "1").interrupted
        lab.register(trip(world))
        lab.run()
        assert lab.saga_state(trip(world), "1").status is SagaStatus.COMPENSATED
    assert world.effects == ["hotel", "train", "undo train", "undo hotel"]


def test_on_a_virtual_clock_each_attempt_takes_its_cost(world: World) -> None:
    second = timedelta(seconds=1)
    with Lab(seed=7) as lab:
        start = lab.clock.now()
        saga = Saga(
            "trip", [Step("a", nothing, cost=2 * second), Step("b", nothing, cost=3 * second)]
        )
        lab.start_saga(saga, "1")
        lab.start_saga(saga, "2")
        lab.advance(2 * second)
        assert lab.saga_state(saga, "1").completed == ("a",)
        lab.run()
        assert lab.clock.now() == start + 5 * second
        assert {lab.saga_state(saga, id).status for id in "12"} == {SagaStatus.COMPLETED}
