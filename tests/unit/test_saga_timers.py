"""Timers: each fires once, when it is due, on a virtual clock and on the machine's."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator

import pytest
from sagas_world import (
    LOST,
    SECOND,
    Process,
    Travels,
    World,
    after,
    asks,
    events_of,
    memory,
    story,
)

from eslab import (
    DomainError,
    HandlerNotFoundError,
    Lab,
    MemoryStore,
    Saga,
    Step,
    StepContext,
    SystemClock,
)
from eslab.clock import VIRTUAL_START
from eslab.sagas import SagaStatus, TimerSet
from eslab.subscriptions import Retry
from eslab.subscriptions.engine import Engine

TWICE = Retry(limit=1, first=SECOND, jitter=0)
SHORT = SECOND / 20
QUICK = Retry(limit=1, first=SHORT, jitter=0)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    with memory() as opened:
        yield opened


def timers(store: MemoryStore, id: str = "1") -> list[str]:
    return [line for line in story(store, id, timers=True) if line.startswith("Timer")]


def fired(store: MemoryStore) -> list[tuple[float, str]]:
    """Return when timers fired, and of which saga they are."""
    return [
        ((event.recorded_at - VIRTUAL_START).total_seconds(), event.stream_id)
        for event in store.read_all(types=["TimerFired"])
    ]


def hanging(world: World, *sagas: str) -> Saga:
    """Return a saga whose step is not answered; each saga waits as long as its input says."""
    return Saga("trip", [world.step("a", timeout=9 * SECOND, retry=TWICE), world.step("b")])


def test_a_timer_is_set_and_fires_or_is_cancelled(store: MemoryStore, world: World) -> None:
    process = Process(store, saga := hanging(world), route=Travels(execute_a=[LOST]))
    process.start(saga)
    process.advance(SECOND)
    assert timers(store) == ["TimerSet a"]
    (set_,) = [e for e in events_of(store) if e.type == TimerSet.event_type]
    assert process.registry.decode(set_) == TimerSet(
        timer="execute a 1 timeout",
        due_at=VIRTUAL_START + 9 * SECOND,
        purpose="timeout",
        step="a",
        attempt=1,
    )
    process.run()
    assert process.state().status is SagaStatus.COMPLETED
    assert timers(store) == [
        "TimerSet a",
        "TimerFired execute a 1 timeout",
        "TimerSet a",
        "TimerFired execute a 2 retry",
        "TimerSet a",
        "TimerCancelled execute a 2 timeout",
    ]
    assert process.state().timers == {}


def test_a_timer_that_was_cancelled_does_not_move_the_clock(
    store: MemoryStore, world: World
) -> None:
    process = Process(store, saga := hanging(world))
    process.start(saga)
    process.run()
    assert (store.clock.now() - VIRTUAL_START) < SECOND


def test_timers_are_fired_in_the_order_in_which_they_are_due(
    store: MemoryStore, world: World
) -> None:
    waits = {"1": 7, "2": 3, "3": 5, "4": 3}
    sagas = [Saga(f"s{id}", [world.step("a", timeout=wait * SECOND)]) for id, wait in waits.items()]
    process = Process(store, *sagas, route=Travels(execute_a=[LOST] * 4))
    for saga in sagas:
        process.start(saga)
    process.advance(4 * SECOND)
    assert sorted(fired(store)) == [(3, "saga-s2-1"), (3, "saga-s4-1")]
    process.run()
    assert [at for at, _ in fired(store)] == [3, 3, 5, 7]


@pytest.mark.parametrize("seconds", [8.9, 9, 9.5, 10], ids=str)
def test_a_timer_fires_once_though_another_process_takes_over(
    store: MemoryStore, world: World, seconds: float
) -> None:
    saga = hanging(world)
    process = Process(store, saga, route=Travels(execute_a=[LOST]))
    process.start(saga)
    process.advance(seconds * SECOND)
    process.leave()
    process = Process(store, saga, route=Travels(execute_a=[LOST]))  # sent again, and lost again
    process.run()
    fires = [line for line in timers(store) if line.startswith("TimerFired")]
    assert len(fires) == len(set(fires))
    assert fires[:2] == ["TimerFired execute a 1 timeout", "TimerFired execute a 2 retry"]
    head = store.head()
    Process(store, saga).run()
    assert store.head() == head


def test_a_timer_that_was_due_while_nobody_worked_fires_at_once(
    store: MemoryStore, world: World
) -> None:
    saga = Saga("trip", [world.step("a", timeout=9 * SECOND)])
    process = Process(store, saga, route=Travels(execute_a=[LOST]))
    process.start(saga)
    process.advance(SECOND)
    process.leave()
    store.clock.advance(3600 * SECOND)  # type: ignore[attr-defined]
    process = Process(store, saga, route=Travels(execute_a=[after(1)]))
    process.run()
    assert process.state().status is SagaStatus.COMPENSATED
    assert fired(store) == [(3601, "saga-trip-1")]


def test_each_wait_grows(store: MemoryStore, world: World) -> None:
    retry = Retry(limit=4, first=SECOND, factor=3, longest=20 * SECOND, jitter=0)
    saga = Saga("trip", [world.step("a", retry=retry, cost=0 * SECOND)])
    world.faults["a"] = [OSError()] * 4
    process = Process(store, saga)
    process.start(saga)
    process.run()
    assert [at for at, _ in fired(store)] == [1, 1 + 3, 4 + 9, 13 + 20]


def test_equal_seeds_give_equal_logs_and_the_order_at_one_time_is_left_to_chance(
    world: World,
) -> None:
    def told(seed: int) -> list[str]:
        saga = Saga("trip", [World().step("a", timeout=SECOND, retry=TWICE)])
        with memory() as store:
            process = Process(store, saga, seed=seed, route=Travels(execute_a=[LOST] * 4))
            for id in "1234":
                process.start(saga, id)
            process.run()
            return [f"{e.stream_id} {e.type} {e.event_id}" for e in store.read_all()]

    assert told(1) == told(1)
    assert len({tuple(told(seed)) for seed in range(5)}) > 1


# On the machine's clock.


@pytest.fixture
def wall() -> Iterator[MemoryStore]:
    with MemoryStore(clock=SystemClock()) as opened:
        yield opened


def engine(process: Process) -> Engine:
    """Return what works in the background; nothing does after the test."""
    made = Engine(
        process.store.clock,
        lambda: [process.orchestrator, process.timers],
        head=process.store.head,
    )
    process.store.listen(made.notice)
    return made


def until(process: Process, enough: Callable[[], bool]) -> None:
    """Wait until something holds, whatever is appended meanwhile."""
    appended = threading.Event()
    process.store.listen(appended.set)
    while not enough():
        assert appended.wait(30)
        appended.clear()


def test_a_timer_fires_while_a_function_hangs_and_its_answer_is_late(
    wall: MemoryStore, world: World
) -> None:
    gate = threading.Event()

    def hang(context: StepContext) -> str:
        assert gate.wait(30)
        return "at last"

    saga = Saga("trip", [world.step("a"), Step("b", hang, world.does("undo b"), timeout=SHORT)])
    process = Process(wall, saga)
    background = engine(process)
    background.start()
    try:
        process.start(saga)
        until(process, lambda: "StepTimedOut b" in story(wall))
        assert "TimerFired execute b 1 timeout" in timers(wall)
        assert process.state().status is SagaStatus.COMPENSATING
        gate.set()
        until(process, lambda: process.state().ended)
    finally:
        gate.set()
        background.stop()
    assert process.state().compensated == ("b", "a")
    (late,) = [e.data for e in events_of(wall) if e.type == "LateReplyReceived"]
    assert (late["step"], late["error"], late["compensated"]) == ("b", None, False)


def test_the_answer_of_a_function_that_hung_completes_the_next_try(
    wall: MemoryStore, world: World
) -> None:
    gate = threading.Event()
    calls = itertools.count(1)

    def hang(context: StepContext) -> int:
        assert gate.wait(30)
        return next(calls)

    retry = Retry(limit=1, first=60 * SECOND, longest=60 * SECOND)
    saga = Saga("trip", [Step("a", hang, timeout=SHORT, retry=retry)])
    process = Process(wall, saga)
    background = engine(process)
    background.start()
    try:
        process.start(saga)
        until(process, lambda: "TimerSet a" in timers(wall)[2:])
        gate.set()
        until(process, lambda: process.state().ended)
    finally:
        gate.set()
        background.stop()
    state = process.state()
    assert (state.status, state.results) == (SagaStatus.COMPLETED, {"a": 1})
    assert timers(wall)[-1] == "TimerCancelled execute a 2 retry"


def test_new_tries_are_waited_for_and_timeouts_are_not(wall: MemoryStore, world: World) -> None:
    world.faults["a"] = [OSError()]
    tried = Saga("trip", [world.step("a", retry=QUICK, timeout=3600 * SECOND)])
    lost = Saga("lost", [world.step("b", timeout=3600 * SECOND)])
    process = Process(wall, tried, lost, route=Travels(execute_b=[LOST]))
    process.start(tried)
    process.start(lost)
    process.run()
    assert process.state().status is SagaStatus.COMPLETED
    assert process.state(name="lost").status is SagaStatus.RUNNING


def test_a_saga_that_rests_does_not_keep_others_from_trying_again(
    wall: MemoryStore, world: World
) -> None:
    """In the same run, and until they have ended."""
    bad = Saga("bad", [Step("car", asks("car"))])  # nothing handles what it sends
    saga = Saga("trip", [world.step("a", retry=QUICK), world.step("b", retry=QUICK)])
    world.faults = {"a": [OSError()], "b": [OSError()]}
    process = Process(wall, bad, saga)
    for one in (bad, saga):
        process.start(one)
    with pytest.raises(HandlerNotFoundError):
        process.run()
    assert process.state().status is SagaStatus.COMPLETED


def test_a_saga_that_rests_does_not_keep_a_run_a_run_from_its_end(
    wall: MemoryStore, world: World
) -> None:
    """Though its next try is due; and it goes on when somebody has seen to it."""
    saga = Saga("trip", [world.step("gone", retry=QUICK), world.step("b")])
    world.faults["gone"] = [OSError()]
    process = Process(wall, saga)
    process.start(saga)
    process.orchestrator.step()
    while process.timers.note() != 0:
        pass
    process.orchestrator.register(Saga("trip", [world.step("b")]))
    for _ in range(2):
        with pytest.raises(Exception, match="no step 'gone'"):
            process.run()
    process.orchestrator.register(saga)
    process.run()
    assert process.state().status is SagaStatus.COMPLETED


def test_a_thread_that_ended_in_a_step_leaves_the_saga_to_be_found_again(
    wall: MemoryStore, world: World
) -> None:
    world.faults["b"] = [SystemExit()]
    process = Process(wall, saga := Saga("trip", [world.step("a"), world.step("b")]))
    background = engine(process)
    background.start()
    process.start(saga)
    for thread in threading.enumerate():
        if thread.name == "eslab-orchestrator":
            thread.join(30)
    with pytest.raises(SystemExit):
        background.stop()
    process.run()
    assert process.state().status is SagaStatus.COMPLETED
    assert world.calls == ["a", "b", "b"]


def test_timers_are_found_by_the_thread_that_fires_them(wall: MemoryStore, world: World) -> None:
    """Though nothing is appended after it began."""
    saga = Saga("trip", [world.step("a", undo=False, timeout=SHORT)])
    process = Process(wall, saga, route=Travels(execute_a=[LOST]))
    process.start(saga)
    process.orchestrator.step()
    process.leave()
    process = Process(wall, saga, route=Travels(execute_a=[LOST]))
    background = Engine(wall.clock, lambda: [process.timers], head=wall.head)
    background.start()
    try:
        until(process, lambda: "SagaCompensated" in story(wall))
    finally:
        background.stop()


def test_sagas_in_the_background_of_a_lab(world: World) -> None:
    world.faults = {"b": [OSError()], "car": [DomainError("no")]}
    saga = Saga("trip", [world.step("a"), world.step("b", retry=QUICK), world.step("car")])
    with Lab() as lab:
        lab.register(saga)
        lab.start()
        lab.start_saga(saga, "1")
        assert lab.run_until(lambda: lab.saga_state("trip", "1").ended, limit="30 s")
        lab.stop()
        assert lab.saga_state("trip", "1").compensated == ("b", "a")


def test_a_saga_that_is_registered_later_goes_on_in_the_background(world: World) -> None:
    saga = Saga("trip", [world.step("a")])
    with Lab() as lab:
        process = Process(lab.store)
        process.start(saga)
        process.leave()
        lab.start()
        lab.run()  # whoever looked has seen it, and knows no saga of that name
        lab.register(saga)
        assert lab.run_until(lambda: lab.saga_state("trip", "1").ended, limit="30 s")
