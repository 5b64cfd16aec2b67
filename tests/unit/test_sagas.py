"""Sagas: compensation in reverse order, new tries, timeouts, late answers, groups and pivots."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sagas_world import (
    LOST,
    SECOND,
    Process,
    Travels,
    World,
    after,
    events_of,
    memory,
    run,
    story,
)

from eslab import (
    DomainError,
    IdempotencyError,
    InputError,
    Lab,
    MemoryStore,
    Saga,
    SagaDefinitionError,
    SagaError,
    SagaNotFoundError,
    Step,
    StepContext,
)
from eslab.clock import VIRTUAL_START
from eslab.sagas import Parallel, SagaState, SagaStatus, Task
from eslab.sagas.deciding import Reply, TimerDue
from eslab.sagas.decisions import Case, decide
from eslab.subscriptions import Retry

NAMES = ["hotel", "train", "car"]
TWICE = Retry(limit=1, first=SECOND, jitter=0)
THRICE = Retry(limit=2, first=SECOND, jitter=0)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    with memory() as opened:
        yield opened


def trip(world: World, **options: Any) -> Saga:
    return Saga("trip", [world.step(name, **options) for name in NAMES])


def nothing(context: StepContext) -> None:
    pass


def seconds(store: MemoryStore) -> float:
    """Return how long the clock has run."""
    return (store.clock.now() - VIRTUAL_START).total_seconds()


# There and back.


def test_all_steps_are_executed_in_order(store: MemoryStore, world: World) -> None:
    state = run(store, trip(world))
    assert state.status is SagaStatus.COMPLETED
    assert state.results == {name: f"{name} of 1" for name in NAMES}
    assert world.effects == NAMES
    steps = ((f"StepStarted {name}", f"StepCompleted {name}") for name in NAMES)
    assert story(store) == [
        "SagaStarted",
        *itertools.chain.from_iterable(steps),
        "SagaCompleted",
    ]
    assert {event.metadata.correlation_id for event in store.read_all()} == {"saga-trip-1"}


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_completed_steps_are_compensated_in_reverse_order(
    store: MemoryStore, world: World, failing: int
) -> None:
    world.faults[NAMES[failing]] = [ValueError("no seat")]
    state = run(store, trip(world))
    done = NAMES[:failing]
    assert state.status is SagaStatus.COMPENSATED
    assert (state.failed_step, state.error) == (NAMES[failing], "ValueError: no seat")
    assert state.compensated == tuple(reversed(done))
    assert world.effects == [*done, *(f"undo {name}" for name in reversed(done))]
    assert story(store)[-1] == "SagaCompensated"


def test_a_step_without_compensation_is_passed_over(store: MemoryStore, world: World) -> None:
    saga = Saga("trip", [world.step("a"), world.step("b", undo=False), world.step("c")])
    world.faults["c"] = [ValueError()]
    assert run(store, saga).compensated == ("a",)


def test_a_step_is_given_what_it_needs(store: MemoryStore) -> None:
    given: list[StepContext] = []

    def note(context: StepContext) -> Any:
        given.append(context)
        if context.step == "b" and context.undoes is None:
            raise ValueError
        return {"seat": 7}

    run(store, Saga("trip", [Step("a", note, note), Step("b", note, retry=TWICE)]))
    a, b, again, undo = given
    assert (a.saga_id, a.step, a.attempt, a.input, a.results) == ("1", "a", 1, {"days": 3}, {})
    assert (b.attempt, again.attempt, again.results) == (1, 2, {"a": {"seat": 7}})
    assert b.idempotency_key == again.idempotency_key != a.idempotency_key
    assert (undo.step, undo.undoes, undo.results) == ("a", a.idempotency_key, again.results)
    assert a.undoes is None


@pytest.mark.parametrize(
    "result",
    [object(), float("nan"), {1}, (1,), "x" * 200_000],
    ids=["o", "nan", "set", "t", "huge"],
)
def test_a_step_whose_result_cannot_be_recorded_fails_and_is_undone(
    store: MemoryStore, world: World, result: Any
) -> None:
    """It was done; and what undoing it returns does not matter."""
    step = Step("a", lambda _: result, lambda step: [world.act("undo a", step), result])
    state = run(store, Saga("trip", [step]))
    assert (state.status, state.failed_step) == (SagaStatus.COMPENSATED, "a")
    assert "the result of step 'a'" in str(state.error)
    assert world.calls == ["undo a"]


def test_a_pivot_whose_result_cannot_be_recorded_waits_for_a_person(
    store: MemoryStore, world: World
) -> None:
    saga = Saga("trip", [world.step("a"), Step("p", lambda _: {1}, pivot=True)])
    process = Process(store, saga)
    process.start(saga)
    process.run()
    assert process.state().status is SagaStatus.STUCK
    process.orchestrator.resume("trip", "1", resolved=True)
    process.run()
    state = process.state()
    assert (state.status, state.completed) == (SagaStatus.COMPLETED, ("a", "p"))


@pytest.mark.parametrize(
    "text", ["\ud800", "x" * 3_000_000, ""], ids=["surrogate", "huge", "empty"]
)
def test_any_error_can_be_recorded(store: MemoryStore, world: World, text: str) -> None:
    world.faults["train"] = [ValueError(text)]
    assert run(store, trip(world)).status is SagaStatus.COMPENSATED


def test_an_error_that_cannot_say_what_it_is_is_recorded_as_that(
    store: MemoryStore, world: World
) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    world.faults["train"] = [MuteError()]
    state = run(store, trip(world))
    assert state.status is SagaStatus.COMPENSATED
    assert state.error == "MuteError: (it cannot say what: RuntimeError)"


# New tries.


def test_an_error_is_tried_again_later_and_a_refusal_is_not(
    store: MemoryStore, world: World
) -> None:
    world.faults["train"] = [OSError("1"), OSError("2")]
    saga = trip(world, retry=THRICE, cost=timedelta(0))
    assert run(store, saga).status is SagaStatus.COMPLETED
    assert Counter(world.calls) == {"hotel": 1, "train": 3, "car": 1}
    begun = [e.data["attempt"] for e in events_of(store) if e.type == "StepStarted"]
    assert begun == [1, 1, 2, 3, 1]
    assert seconds(store) == 1 + 2

    world.calls.clear()
    world.faults["train"] = [DomainError("no")]
    assert run(store, saga, "2").status is SagaStatus.COMPENSATED
    assert world.calls == ["hotel", "train", "undo hotel"]


def test_new_tries_end(store: MemoryStore, world: World) -> None:
    world.faults["train"] = [OSError(str(number)) for number in range(9)]
    state = run(store, trip(world, retry=THRICE))
    assert state.status is SagaStatus.COMPENSATED
    assert world.calls.count("train") == 3
    failed = [e.data for e in events_of(store) if e.type == "StepFailed"]
    assert [(data["attempt"], data["final"]) for data in failed] == [
        (1, False),
        (2, False),
        (3, True),
    ]


def test_what_is_tried_again_at_once_needs_no_timer(store: MemoryStore, world: World) -> None:
    world.faults["hotel"] = [OSError()]
    run(store, trip(world, retry=Retry(limit=1, first=timedelta(0))))
    assert not [line for line in story(store, timers=True) if line.startswith("Timer")]


def test_the_cost_of_an_attempt_is_taken_by_a_virtual_clock(
    store: MemoryStore, world: World
) -> None:
    process = Process(store, saga := trip(world, cost=2 * SECOND))
    process.start(saga)
    process.start(saga, "2")
    process.advance(2 * SECOND)
    assert process.state().completed == ("hotel",)
    process.run()
    assert seconds(store) == 6  # side by side


# Stuck, and resumed.


def stuck(store: MemoryStore, world: World) -> Process:
    """Return a process with a saga that cannot undo the train."""
    world.faults = {"car": [DomainError()], "undo train": [OSError("x"), OSError("y")]}
    process = Process(store, saga := trip(world, compensation_retry=TWICE))
    process.start(saga)
    process.run()
    state = process.state()
    assert state.status is SagaStatus.STUCK
    assert state.stuck == Task("train", "compensate")
    assert (state.stuck_step, state.error, state.compensated) == ("train", "OSError: y", ())
    assert story(store)[-1] == "SagaStuck train"
    return process


def test_a_compensation_is_tried_again_and_then_the_saga_is_stuck(
    store: MemoryStore, world: World
) -> None:
    process = stuck(store, world)
    head, calls = store.head(), list(world.calls)
    process.run()
    Process(store, trip(world)).run()
    assert (store.head(), world.calls) == (head, calls)
    assert process.orchestrator.unfinished() == []


def test_a_compensation_that_succeeds_at_last_is_enough(store: MemoryStore, world: World) -> None:
    world.faults = {"car": [DomainError()], "undo train": [OSError("x")]}
    state = run(store, trip(world, compensation_retry=TWICE))
    assert state.status is SagaStatus.COMPENSATED


def test_a_saga_that_is_resumed_tries_again_as_often(store: MemoryStore, world: World) -> None:
    process = stuck(store, world)
    world.faults["undo train"] = [OSError("z")]
    process.orchestrator.resume("trip", "1", reason="the line works again")
    process.run()
    state = process.state()
    assert (state.status, state.compensated) == (SagaStatus.COMPENSATED, ("train", "hotel"))
    (resumed,) = [e.data for e in events_of(store) if e.type == "SagaResumed"]
    assert resumed == {
        "step": "train",
        "kind": "compensate",
        "resolved": False,
        "reason": "the line works again",
    }
    assert state.attempts[Task("train", "compensate")] == 4
    assert world.effects == [*NAMES[:2], "undo train", "undo hotel"]


def test_what_a_person_has_resolved_is_not_tried_again(store: MemoryStore, world: World) -> None:
    process = stuck(store, world)
    process.orchestrator.resume("trip", "1", resolved=True)
    process.run()
    state = process.state()
    assert (state.status, state.compensated) == (SagaStatus.COMPENSATED, ("train", "hotel"))
    assert world.effects == [*NAMES[:2], "undo hotel"]


def test_only_what_is_stuck_is_resumed(store: MemoryStore, world: World) -> None:
    process = Process(store, saga := trip(world))
    with pytest.raises(SagaNotFoundError, match="no saga 'trip' with the id '1'"):
        process.orchestrator.resume("trip", "1")
    process.start(saga)
    for status in ("RUNNING", "COMPLETED"):
        with pytest.raises(SagaError, match=f"is {status}, and not STUCK"):
            process.orchestrator.resume("trip", "1")
        process.run()
    with pytest.raises(SagaError, match="register it first"):
        Process(store).orchestrator.resume("trip", "1")


# No answer in time.


def test_a_step_that_was_not_answered_in_time_is_undone_too(
    store: MemoryStore, world: World
) -> None:
    route = Travels(execute_train=[after(1, reply=[])])
    state = run(store, trip(world, timeout=5 * SECOND), route=route)
    assert state.status is SagaStatus.COMPENSATED
    assert (state.failed_step, state.error) == ("train", "no answer came in time")
    assert (state.completed, state.doubtful) == (("hotel",), ("train",))
    assert world.effects == ["hotel", "train", "undo train", "undo hotel"]


def test_what_is_overtaken_by_its_compensation_has_no_effect(
    store: MemoryStore, world: World
) -> None:
    route = Travels(execute_train=[after(60)])
    state = run(store, trip(world, timeout=5 * SECOND), route=route)
    assert state.status is SagaStatus.COMPENSATED
    assert world.calls == ["hotel", "undo train", "undo hotel", "train"]
    assert world.effects == ["hotel", "undo train", "undo hotel"]
    assert story(store)[-1] == "LateReplyReceived train"


def test_a_step_that_was_not_answered_is_tried_again_under_the_same_key(
    store: MemoryStore, world: World
) -> None:
    route = Travels(execute_train=[after(1, reply=[]), LOST])
    state = run(store, trip(world, timeout=5 * SECOND, retry=THRICE), route=route)
    assert state.status is SagaStatus.COMPLETED
    assert (world.calls.count("train"), world.effects) == (2, NAMES)
    timed_out = [e.data for e in events_of(store) if e.type == "StepTimedOut"]
    assert [(data["attempt"], data["final"]) for data in timed_out] == [(1, False), (2, False)]


def test_a_compensation_that_is_not_answered_is_tried_again(
    store: MemoryStore, world: World
) -> None:
    world.faults["car"] = [DomainError()]
    saga = trip(world, timeout=5 * SECOND, compensation_retry=TWICE)
    route = Travels(compensate_train=[after(1, reply=[])])
    assert run(store, saga, route=route).status is SagaStatus.COMPENSATED
    assert (world.calls.count("undo train"), world.effects.count("undo train")) == (2, 1)

    world.faults["car"] = [DomainError()]
    state = run(store, saga, "2", route=Travels(compensate_train=[LOST, LOST]))
    assert (state.status, state.error) == (SagaStatus.STUCK, "no answer came in time")


def test_a_refusal_that_comes_behind_a_timeout_leaves_a_doubt(
    store: MemoryStore, world: World
) -> None:
    """The first attempt may have been executed: what refuses the second one does not say."""
    world.faults["train"] = [DomainError("no")]
    saga = trip(world, timeout=5 * SECOND, retry=TWICE)
    state = run(store, saga, route=Travels(execute_train=[LOST]))
    assert (state.status, state.compensated) == (SagaStatus.COMPENSATED, ("train", "hotel"))


# Late answers, and answers that come twice.


def test_an_answer_that_comes_twice_is_taken_once(store: MemoryStore, world: World) -> None:
    twice = after(1, 2, reply=[0, 3])
    state = run(store, trip(world), route=Travels(execute_hotel=[twice], execute_car=[twice]))
    assert state.status is SagaStatus.COMPLETED
    assert Counter(story(store))["StepCompleted hotel"] == 1
    assert "LateReplyReceived hotel" not in story(store)
    assert (world.calls.count("hotel"), world.effects) == (2, NAMES)


@pytest.mark.parametrize("second", [5, 6.5], ids=["waiting for the next try", "while that runs"])
def test_a_late_success_completes_what_is_being_tried_again(
    store: MemoryStore, world: World, second: float
) -> None:
    first, again = after(1, reply=[second]), after(0.9, reply=[4])
    saga = trip(world, timeout=5 * SECOND, retry=TWICE)
    route = Travels(execute_hotel=[first, again])
    assert run(store, saga, route=route).status is SagaStatus.COMPLETED
    (completed,) = [
        e.data
        for e in events_of(store)
        if (e.type, e.data.get("step")) == ("StepCompleted", "hotel")
    ]
    assert completed["attempt"] == 1
    assert world.effects == NAMES
    assert not any(line.startswith("LateReply") for line in story(store))


def test_a_late_success_of_what_was_undone_is_recorded_and_ignored(
    store: MemoryStore, world: World
) -> None:
    route = Travels(execute_train=[after(1, reply=[60])])
    state = run(store, trip(world, timeout=5 * SECOND), route=route)
    assert (state.status, state.compensated) == (SagaStatus.COMPENSATED, ("train", "hotel"))
    (late,) = [e.data for e in events_of(store) if e.type == "LateReplyReceived"]
    assert late == {
        "step": "train",
        "kind": "execute",
        "attempt": 1,
        "error": None,
        "compensated": False,
    }
    assert story(store)[-2:] == ["SagaCompensated", "LateReplyReceived train"]


def failed_and_then_answered(world: World, *seconds: float) -> Travels:
    """Return a route by which the car fails, and yet the request arrives later."""
    failed = after(1, *seconds)
    world.faults["car"] = [ValueError("no")]
    return Travels(execute_car=[failed])


def test_a_late_success_of_what_had_failed_is_undone_at_the_end(
    store: MemoryStore, world: World
) -> None:
    state = run(store, trip(world), route=failed_and_then_answered(world, 60))
    assert state.status is SagaStatus.COMPENSATED
    assert state.compensated == ("train", "hotel", "car")
    assert story(store)[-4:] == [
        "SagaCompensated",
        "LateReplyReceived car",
        "CompensationStarted car",
        "CompensationCompleted car",
    ]
    late = [e.data["late"] for e in events_of(store) if e.type.startswith("Compensation")]
    assert late == [False] * 4 + [True] * 2
    assert world.effects[-1] == "undo car"
    assert state.ended


def test_a_late_success_while_others_are_undone_is_undone_next(
    store: MemoryStore, world: World
) -> None:
    state = run(store, trip(world), route=failed_and_then_answered(world, 1.005))
    assert (state.status, state.compensated) == (SagaStatus.COMPENSATED, ("train", "car", "hotel"))


def test_a_late_compensation_that_fails_makes_the_saga_stuck(
    store: MemoryStore, world: World
) -> None:
    route = failed_and_then_answered(world, 60)
    world.faults["undo car"] = [DomainError("no")]
    process = Process(store, saga := trip(world), route=route)
    process.start(saga)
    process.run()
    assert process.state().stuck == Task("car", "compensate")
    process.orchestrator.resume("trip", "1")
    process.run()
    state = process.state()
    assert (state.status, state.compensated) == (
        SagaStatus.COMPENSATED,
        ("train", "hotel", "car"),
    )


def test_late_failures_are_recorded_and_change_nothing(store: MemoryStore, world: World) -> None:
    """The error of the first try comes when the second one runs."""
    world.faults["hotel"] = [OSError("late")]
    route = Travels(execute_hotel=[after(1, reply=[5.5]), after(2)])
    saga = trip(world, timeout=5 * SECOND, retry=TWICE)
    assert run(store, saga, route=route).status is SagaStatus.COMPLETED
    (late,) = [e.data for e in events_of(store) if e.type == "LateReplyReceived"]
    assert (late["attempt"], late["error"], late["compensated"]) == (1, "OSError: late", False)


def test_a_late_refusal_ends_the_wait_for_the_next_try(store: MemoryStore, world: World) -> None:
    world.faults["hotel"] = [DomainError("no")]
    saga = trip(world, timeout=5 * SECOND, retry=TWICE)
    state = run(store, saga, route=Travels(execute_hotel=[after(1, reply=[4.5])]))
    assert (state.status, state.error) == (SagaStatus.COMPENSATED, "DomainError: no")
    assert world.calls == ["hotel", "undo hotel"]  # it had timed out: undone to be sure


# Side by side.


def test_steps_side_by_side_begin_together_and_what_follows_waits(
    store: MemoryStore, world: World
) -> None:
    saga = Saga(
        "trip",
        [
            world.step("a"),
            Parallel(world.step("b", cost=3 * SECOND), world.step("c", cost=SECOND)),
            world.step("d"),
        ],
    )
    state = run(store, saga)
    assert state.completed == ("a", "c", "b", "d")
    began = ["StepStarted b", "StepStarted c"]
    assert story(store)[3:7] == [*began, "StepCompleted c", "StepCompleted b"]
    world.faults["d"] = [DomainError()]
    assert run(store, saga, "2").compensated == ("b", "c", "a")  # by completion, reversed


def test_the_others_beside_a_step_that_fails_are_waited_for(
    store: MemoryStore, world: World
) -> None:
    slow = world.step("slow", cost=9 * SECOND)
    world.faults["bad"] = [DomainError("no")]
    state = run(store, Saga("trip", [world.step("a"), Parallel(slow, world.step("bad"))]))
    assert state.status is SagaStatus.COMPENSATED
    assert (state.failed_step, state.compensated) == ("bad", ("slow", "a"))
    told = story(store)
    assert told.index("StepCompleted slow") < told.index("CompensationStarted slow")


def test_a_new_try_is_given_up_when_another_one_beside_it_fails(
    store: MemoryStore, world: World
) -> None:
    saga = Saga(
        "trip",
        [
            Parallel(
                world.step("tried", retry=TWICE),
                world.step("bad", cost=SECOND / 2),
                world.step("slow", cost=9 * SECOND),  # which is waited for beyond the try
            )
        ],
    )
    world.faults = {"tried": [OSError()], "bad": [DomainError("no")]}
    state = run(store, saga)
    assert (state.failed_step, state.compensated) == ("bad", ("slow",))
    assert world.calls.count("tried") == 1
    assert "TimerCancelled execute tried 2 retry" in story(store, timers=True)


def test_one_that_fails_when_another_has_failed_is_not_tried_again(
    store: MemoryStore, world: World
) -> None:
    saga = Saga("trip", [Parallel(world.step("late", retry=TWICE, cost=SECOND), world.step("bad"))])
    world.faults = {"late": [OSError()], "bad": [DomainError("no")]}
    state = run(store, saga)
    assert (state.failed_step, state.compensated) == ("bad", ())
    assert world.calls.count("late") == 1


# No way back.


def behind_the_pivot(world: World, **options: Any) -> Saga:
    last = world.step("last", undo=False, retry=TWICE)
    pivot = world.step("pay", undo=False, pivot=True, **options)
    return Saga("trip", [world.step("hotel"), pivot, last])


def test_before_the_pivot_there_is_a_way_back(store: MemoryStore, world: World) -> None:
    world.faults["pay"] = [DomainError("no")]
    assert run(store, behind_the_pivot(world)).compensated == ("hotel",)


@pytest.mark.parametrize("resolved", [False, True])
def test_behind_the_pivot_it_only_goes_forwards(
    store: MemoryStore, world: World, resolved: bool
) -> None:
    world.faults["last"] = [OSError("1"), OSError("2"), OSError("3")]
    process = Process(store, saga := behind_the_pivot(world))
    process.start(saga)
    process.run()
    state = process.state()
    assert (state.status, state.stuck) == (SagaStatus.STUCK, Task("last", "execute"))
    assert "undo hotel" not in world.calls
    process.orchestrator.resume("trip", "1", resolved=resolved)
    process.run()
    assert process.state().status is SagaStatus.COMPLETED
    assert world.calls.count("last") == (2 if resolved else 4)  # and once more in vain
    assert process.state().failed_step is None


def test_behind_a_pivot_of_which_nobody_knows_there_is_no_way_back(
    store: MemoryStore, world: World
) -> None:
    saga = behind_the_pivot(world, timeout=5 * SECOND)
    process = Process(store, saga, route=Travels(execute_pay=[after(1, reply=[])]))
    process.start(saga)
    process.run()
    state = process.state()
    assert (state.status, state.stuck) == (SagaStatus.STUCK, Task("pay", "execute"))
    assert state.doubtful == ("pay",)
    process.orchestrator.resume("trip", "1")
    process.run()
    assert process.state().status is SagaStatus.COMPLETED
    assert world.effects == ["hotel", "pay", "last"]


def test_all_that_failed_side_by_side_is_forgiven_when_it_is_resumed(
    store: MemoryStore, world: World
) -> None:
    both = [world.step(name, undo=False, retry=TWICE) for name in ("a", "b")]
    saga = Saga("trip", [world.step("pay", undo=False, pivot=True), Parallel(*both)])
    world.faults = {"a": [OSError()] * 3, "b": [OSError()] * 3}
    process = Process(store, saga)
    process.start(saga)
    process.run()
    world.faults = {"a": [OSError()], "b": [OSError()]}
    process.orchestrator.resume("trip", "1")
    process.run()
    assert process.state().status is SagaStatus.COMPLETED


# Starting, and being found.


def test_starting_it_again_does_nothing(store: MemoryStore, world: World) -> None:
    saga = trip(world)
    orchestrator = (process := Process(store)).orchestrator
    assert orchestrator.start(saga, "1", {"days": 3})
    assert not orchestrator.start(saga, "1", {"days": 3})
    process.run()
    assert not orchestrator.start(saga, "1", {"days": 3})
    assert story(store).count("SagaStarted") == 1
    assert orchestrator.unfinished() == []
    with pytest.raises(IdempotencyError):
        orchestrator.start(saga, "1", {"days": 4})
    assert orchestrator.start(saga, "2", {"days": 4})


@pytest.mark.parametrize("input", [{"x": float("nan")}, {"x": object()}, {"x": {1: 1, "1": 2}}])
def test_an_input_that_cannot_be_recorded_is_refused(
    store: MemoryStore, world: World, input: dict[str, Any]
) -> None:
    with pytest.raises(InputError):
        Process(store).orchestrator.start(trip(world), "1", input)
    assert store.head() == 0


def test_a_saga_that_nobody_started(store: MemoryStore, world: World) -> None:
    process = Process(store, trip(world))
    with pytest.raises(SagaNotFoundError, match="no saga 'trip' with the id '1'"):
        process.state()
    with pytest.raises(SagaDefinitionError, match="a saga is made by Saga"):
        process.orchestrator.register("trip")  # type: ignore[arg-type]


def test_sagas_that_nobody_knows_are_left_alone_and_found_when_they_are(
    store: MemoryStore, world: World
) -> None:
    Process(store).start(saga := trip(world))
    other = Saga("other", [world.step("x", cost=SECOND)])
    process = Process(store, other)
    process.start(other)
    process.advance(SECOND / 2)
    assert story(store) == ["SagaStarted"]
    state = process.state()  # what its stream says is known all the same
    assert (state.input, state.status) == ({"days": 3}, SagaStatus.RUNNING)
    process.orchestrator.register(saga)
    process.run()
    assert process.state().status is SagaStatus.COMPLETED
    assert world.calls.count("x") == 1  # what was on its way was not sent again


def test_a_saga_that_cannot_go_on_rests_and_the_others_do_not(
    store: MemoryStore, world: World
) -> None:
    """Though its timer is due, and one of the others' is to fire later."""
    saga = Saga("trip", [world.step("gone", timeout=5 * SECOND, retry=TWICE), world.step("b")])
    other = Saga("other", [world.step("x", retry=THRICE)])
    process = Process(store, saga, other, route=Travels(execute_gone=[LOST]))
    process.start(saga)
    process.advance(SECOND)
    process.orchestrator.register(Saga("trip", [world.step("b")]))
    world.faults["x"] = [OSError(), OSError()]
    process.start(other)
    for _ in range(2):
        with pytest.raises(SagaDefinitionError, match="no step 'gone'"):
            process.run()
    assert process.state(name="other").status is SagaStatus.COMPLETED
    process.orchestrator.register(saga)
    process.run()
    assert process.state().status is SagaStatus.COMPLETED


def test_what_is_answered_while_a_saga_rests_is_not_asked_again(
    store: MemoryStore, world: World
) -> None:
    process = Process(store, saga := Saga("trip", [world.step("a"), world.step("b")]))
    world.faults["b"] = [ValueError("no")]
    process.start(saga)
    process.advance(timedelta(milliseconds=15))
    process.orchestrator.register(Saga("trip", [Step("a", nothing), world.step("c")]))
    with pytest.raises(SagaDefinitionError, match="no step 'b'"):
        process.run()
    process.orchestrator.register(Saga("trip", [world.step("b")]))
    for _ in range(2):
        with pytest.raises(SagaDefinitionError, match="no step 'a'"):
            process.run()
    process.orchestrator.register(saga)
    process.run()
    assert process.state().status is SagaStatus.COMPENSATED
    assert world.calls.count("b") == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["train", "undo hotel"])
def test_an_interrupt_in_a_step_is_resumed_under_the_same_attempt(
    store: MemoryStore, world: World, error: type[BaseException], where: str
) -> None:
    world.faults = {"car": [DomainError("no")], where: [error()]}
    process = Process(store, saga := trip(world))
    process.start(saga)
    with pytest.raises(error):
        process.run()
    process.run()
    assert process.state().status is SagaStatus.COMPENSATED
    assert world.effects == ["hotel", "train", "undo train", "undo hotel"]
    begun = [
        (e.type, e.data["step"], e.data["attempt"])
        for e in store.read_all()
        if "Started" in e.type and "step" in e.data
    ]
    assert len(begun) == len(set(begun)) == 5


def test_two_orchestrators_cannot_both_record_an_answer(store: MemoryStore, world: World) -> None:
    """The stream's version at the decision is the one that it is recorded at."""
    saga: Saga

    def meanwhile(context: StepContext) -> None:
        if not world.calls:
            world.calls.append("inner")
            Process(store, saga).run()

    saga = Saga("trip", [Step("a", meanwhile), Step("b", nothing)])
    assert run(store, saga).status is SagaStatus.COMPLETED
    assert [line for line in story(store) if "Completed" in line] == [
        "StepCompleted a",
        "StepCompleted b",
        "SagaCompleted",
    ]


# Decisions alone.


def test_what_is_decided_follows_from_the_state_alone() -> None:
    saga = Saga("trip", [Step("a", nothing, nothing), Step("b", nothing)])
    assert [type(e).__name__ for e in decide(Case(saga, "1", SagaState()), None).events] == [
        "StepStarted"
    ]
    done = SagaState(completed=("a", "b"))
    assert [type(e).__name__ for e in decide(Case(saga, "1", done), None).events] == [
        "SagaCompleted"
    ]
    assert decide(Case(saga, "1", done), TimerDue("no such timer")).events != []
    ended = SagaState(status=SagaStatus.COMPLETED, completed=("a", "b"))
    assert decide(Case(saga, "1", ended), Reply(Task("a"), 1)).events == []
    assert decide(Case(saga, "1", ended), TimerDue("no such timer")).events == []


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
        assert Task("train") in lab.saga_state("trip", "1").running
        lab.register(trip(world))
        lab.run()
        assert lab.saga_state(trip(world), "1").status is SagaStatus.COMPENSATED
    assert world.effects == ["hotel", "train", "undo train", "undo hotel"]


def test_a_saga_in_a_lab_is_resumed_by_hand(world: World) -> None:
    world.faults = {"car": [DomainError("no")], "undo hotel": [DomainError("no")]}
    with Lab(seed=7) as lab:
        lab.start_saga(trip(world), "1")
        lab.run()
        assert lab.saga_state("trip", "1").status is SagaStatus.STUCK
        lab.resume_saga("trip", "1", resolved=True, reason="by phone")
        lab.run()
        assert lab.saga_state("trip", "1").status is SagaStatus.COMPENSATED
        with pytest.raises(SagaError, match="is COMPENSATED, and not STUCK"):
            lab.resume_saga(trip(world), "1")
