"""Faults: each does what it says, where it is said, and the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eslab import (
    Command,
    Event,
    InputError,
    Lab,
    ProcessManager,
    Retry,
    Saga,
    Step,
    StepContext,
    StreamAppend,
    start,
)
from eslab.bus.journey import Journey, Message, straight
from eslab.clock import VIRTUAL_START
from eslab.sagas import SagaStatus
from eslab.simulation.faults import (
    DELIVERY_FAULTS,
    STEP_FAULTS,
    Crash,
    CrashError,
    Fault,
    Faults,
    InjectedError,
)

SECOND = timedelta(seconds=1)


class Counted(Event):
    n: int = 0


class World:
    """Two participants that remember what they did under which key; and when all arrived."""

    def __init__(self, lab: Lab, *, limit: int = 0) -> None:
        self.lab = lab
        self.arrived: list[str] = []
        self.done: dict[UUID, str] = {}
        self.undone: set[UUID] = set()
        self.saga = Saga(
            "trip",
            [
                Step("hotel", self.do, self.undo, timeout=5 * SECOND, retry=Retry(limit, SECOND)),
                Step("train", self.do, self.undo, timeout=5 * SECOND),
            ],
        )

    def note(self, what: str) -> None:
        seconds = (self.lab.clock.now() - VIRTUAL_START).total_seconds()
        self.arrived.append(f"{what} at {seconds:.2f}")

    def do(self, step: StepContext) -> None:
        self.note(step.step)
        if step.idempotency_key not in self.undone:
            self.done[step.idempotency_key] = step.step

    def undo(self, step: StepContext) -> None:
        self.note(f"undo {step.step}")
        assert step.undoes is not None
        self.undone.add(step.undoes)
        self.done.pop(step.undoes, None)

    def run(self, *faults: Fault) -> Faults:
        injected = self.lab.inject(*faults)
        self.lab.start_saga(self.saga, "1")
        self.lab.run()
        return injected

    @property
    def status(self) -> SagaStatus:
        return self.lab.saga_state("trip", "1").status

    @property
    def story(self) -> list[str]:
        events = self.lab.store.read("saga-trip-1")
        return [f"{e.type} {e.data['step']}" for e in events if "step" in e.data]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=7) as opened:
        yield opened


@pytest.fixture
def world(lab: Lab) -> World:
    return World(lab)


# What becomes of an attempt at a step.


def test_without_a_fault_each_step_arrives_once(world: World) -> None:
    assert world.run().injected == []
    assert world.arrived == ["hotel at 0.01", "train at 0.02"]
    assert world.status is SagaStatus.COMPLETED


def test_a_step_fails_without_having_been_carried_out(world: World) -> None:
    faults = world.run(Fault("fails", "train"))
    assert world.arrived == ["hotel at 0.01", "undo hotel at 0.03"]
    assert world.status is SagaStatus.COMPENSATED
    assert "InjectedError: attempt 1 at 'train'" in (world.lab.saga_state("trip", "1").error or "")
    assert [(one.fault.name, one.message.name) for one in faults.injected] == [("fails", "train")]


def test_a_step_that_times_out_never_arrives_and_is_undone(world: World) -> None:
    world.run(Fault("times_out", "train"))
    assert world.arrived == ["hotel at 0.01", "undo train at 5.02", "undo hotel at 5.03"]
    assert "StepTimedOut train" in world.story


def test_a_step_whose_reply_is_lost_arrives_and_is_undone(world: World) -> None:
    world.run(Fault("reply_lost", "train"))
    assert world.arrived == [
        *("hotel at 0.01", "train at 0.02"),
        *("undo train at 5.02", "undo hotel at 5.03"),
    ]
    assert world.done == {}


def test_a_late_reply_comes_behind_the_timeout(world: World) -> None:
    world.run(Fault("late_reply", "train"))
    assert world.arrived[1:] == ["train at 0.02", "undo train at 5.02", "undo hotel at 5.03"]
    *_, timed_out, late = [event for event in world.story if "Step" in event or "Late" in event]
    assert (timed_out, late) == ("StepTimedOut train", "LateReplyReceived train")
    assert world.status is SagaStatus.COMPENSATED


def test_how_late_a_reply_is_can_be_said(world: World) -> None:
    world.run(Fault("late_reply", "train", by=SECOND))
    assert world.status is SagaStatus.COMPLETED
    assert world.lab.clock.now() == VIRTUAL_START + timedelta(seconds=1.02)


def test_a_duplicate_reply_changes_nothing(world: World) -> None:
    world.run(Fault("duplicate_reply", "hotel"))
    assert world.arrived == ["hotel at 0.01", "train at 0.02"]
    assert world.story.count("StepCompleted hotel") == 1
    assert world.lab.clock.now() == VIRTUAL_START + timedelta(seconds=1.01)  # the second reply


def test_a_slow_step_arrives_when_it_was_undone_already(world: World) -> None:
    world.run(Fault("slow", "hotel"))
    assert world.arrived == ["undo hotel at 5.01", "hotel at 7.51"]
    assert world.done == {}
    assert world.status is SagaStatus.COMPENSATED


def test_without_a_timeout_a_slow_step_is_waited_for(lab: Lab) -> None:
    world = World(lab)
    world.saga = Saga("trip", [Step("hotel", world.do)])
    world.run(Fault("slow", "hotel"))
    assert world.arrived == ["hotel at 90.01"]
    assert world.status is SagaStatus.COMPLETED


def test_undoing_fails_too(world: World) -> None:
    world.run(Fault("fails", "train"), Fault("fails", "hotel", kind="compensate"))
    assert world.status is SagaStatus.STUCK
    assert world.arrived == ["hotel at 0.01"]


def test_a_fault_at_one_attempt_leaves_the_next_one_alone(lab: Lab) -> None:
    world = World(lab, limit=2)
    world.run(Fault("fails", "hotel", attempt=1))
    assert world.status is SagaStatus.COMPLETED


def test_a_fault_without_an_attempt_happens_to_each(lab: Lab) -> None:
    world = World(lab, limit=2)
    faults = world.run(Fault("fails", "hotel"))
    assert world.status is SagaStatus.COMPENSATED
    assert list(faults.df["attempt"]) == [1, 2, 3]
    assert list(faults.df.columns) == [
        *("fault", "kind", "consumer", "name", "sequence", "attempt"),
    ]


# What becomes of any message on its way.


def test_an_attempt_that_is_duplicated_arrives_twice(world: World) -> None:
    world.run(Fault("duplicated", "hotel"))
    assert world.arrived == ["hotel at 0.01", "train at 0.02", "hotel at 1.01"]
    assert sorted(world.done.values()) == ["hotel", "train"]


def test_an_attempt_that_is_lost_is_sent_again(world: World) -> None:
    world.run(Fault("lost", "hotel", by=2 * SECOND))
    assert world.arrived == ["hotel at 2.01", "train at 2.02"]


def deliveries(lab: Lab, *faults: Fault) -> list[str]:
    """Return what a handler gets of three events of one stream: at 0, 0.5 and 1.5 seconds."""
    seen: list[str] = []

    def mail(event: Any) -> None:
        seconds = (lab.clock.now() - VIRTUAL_START).total_seconds()
        seen.append(f"{event.data['n']} at {seconds:.1f}")

    lab.bus.subscribe(Counted, mail)
    lab.inject(*faults)
    for n, wait in ((1, 0.5), (2, 1.0), (3, 0.0)):
        lab.append("s-1", [Counted(n=n)])
        lab.advance(timedelta(seconds=wait))
    lab.run()
    return seen


def test_deliveries_are_in_order_and_at_once(lab: Lab) -> None:
    assert deliveries(lab) == ["1 at 0.0", "2 at 0.5", "3 at 1.5"]


def test_a_delayed_event_holds_up_those_behind_it(lab: Lab) -> None:
    assert deliveries(lab, Fault("delayed", consumer="mail", by=2 * SECOND)) == [
        *("1 at 2.0", "2 at 2.5", "3 at 3.5"),
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("delayed", ["1 at 1.0", "2 at 1.0", "3 at 1.5"]),
        ("duplicated", ["1 at 0.0", "1 at 1.0", "2 at 1.0", "3 at 1.5"]),
        ("reordered", ["2 at 0.5", "1 at 1.0", "3 at 1.5"]),
        ("lost", ["2 at 0.5", "3 at 1.5", "1 at 5.0"]),
    ],
)
def test_what_happens_to_the_first_event_of_a_stream(
    lab: Lab, name: Any, expected: list[str]
) -> None:
    class Once(Fault):
        """Happens to the first message alone."""

        def hits(self, message: Message, seed: int) -> bool:
            first = next(lab.store.read_all(limit=1)).event_id
            return Fault.hits(self, message, seed) and message.id == first

    assert deliveries(lab, Once(name, consumer="mail")) == expected


def test_faults_of_one_handler_leave_the_others_alone(lab: Lab) -> None:
    seen: list[str] = []

    class Handlers:
        def mail(self, event: Any) -> None:
            seen.append("mail")

        def audit(self, event: Any) -> None:
            seen.append("audit")

    handlers = Handlers()
    lab.bus.subscribe(Counted, handlers.mail)
    lab.bus.subscribe(Counted, handlers.audit)
    lab.inject(Fault("duplicated", type=Counted, consumer="Handlers.mail"))
    lab.append("s-1", [Counted()])
    lab.run()
    assert sorted(seen) == ["audit", "mail", "mail"]


@given(st.floats(0, 1), st.integers(0, 99), st.integers(0, 3_000))
@settings(max_examples=25, deadline=None)
def test_delays_keep_the_order_of_each_stream(rate: float, seed: int, milliseconds: int) -> None:
    seen: list[tuple[str, int]] = []
    with Lab(seed=seed) as lab:
        lab.bus.subscribe(Counted, lambda event: seen.append((event.stream_id, event.version)))
        lab.inject(Fault("delayed", rate=rate, by=timedelta(milliseconds=milliseconds)))
        for _ in range(4):
            for stream in ("a-1", "a-2"):
                lab.append(stream, [Counted(), Counted()])
            lab.advance("1 s")
        lab.run()
    for stream in ("a-1", "a-2"):
        assert [version for of, version in seen if of == stream] == list(range(1, 9))


# Process managers.


class Refunded(Event):
    pass


class Refund(Command):
    trip_id: str


class Trip(ProcessManager, by="trip_id", retry=Retry(limit=2, jitter=0), timeout=5 * SECOND):
    seen: list[int] = []  # noqa: RUF012 - copied for each instance

    @start
    def counted(self, event: Counted) -> None:
        self.seen = [*self.seen, event.n]
        if event.n == 2:
            self.send(Refund(trip_id=self.id))


def trip(lab: Lab, *faults: Fault) -> tuple[list[int], list[str]]:
    """Return what a process manager saw, and the ids of the commands that it had handled."""
    handled: list[str] = []

    @lab.handles
    def refund(command: Refund) -> list[StreamAppend]:
        handled.append(command.trip_id)
        return [StreamAppend("refund-1", [Refunded()])]

    lab.register(Trip)
    lab.inject(*faults)
    for n in (1, 2):
        lab.append("trip-1", [Counted(n=n)])
        lab.advance(SECOND)
    lab.run()
    return lab.saga_state("trip", "1").data["seen"], handled


def test_events_for_a_process_manager_come_late_twice_and_in_another_order(lab: Lab) -> None:
    assert trip(lab) == ([1, 2], ["1"])
    for name in DELIVERY_FAULTS:
        with Lab(seed=7) as other:
            seen, handled = trip(other, Fault(name, type=Counted, consumer="trip"))
            assert sorted(seen) == [1, 2], name  # each once
            assert handled == ["1"]


def test_commands_of_a_process_manager_meet_faults_too(lab: Lab) -> None:
    fault = Fault("fails", type=Refund, attempt=1)
    assert (fault.kind, fault.type) == ("command", "Refund")
    assert trip(lab, fault) == ([1, 2], ["1"])
    (failed,) = lab.store.read_all(types=["CommandFailed"])
    assert "InjectedError: attempt 1 at 'Refund'" in failed.data["error"]


# By rate, from the seed.


def message(n: int, kind: Any = "execute") -> Message:
    return Message(kind, "trip", f"step {n % 5}", UUID(int=n), f"saga-trip-{n}", 1 + n % 3)


@given(st.randoms(use_true_random=False), st.integers(0, 2**32), st.floats(0, 1))
def test_whom_a_rate_hits_does_not_depend_on_what_else_is_sent(
    chance: random.Random, seed: int, rate: float
) -> None:
    messages = [message(n) for n in range(40)]
    alone = Faults([Fault("fails", rate=rate)], seed=seed)
    crowded = Faults([Fault("slow", rate=0.5), Fault("fails", rate=rate)], seed=seed)
    for one in messages:
        alone(one)
    others = [message(n, "compensate") for n in range(40)]
    for one in chance.sample(messages + others, 80):
        crowded(one)
    hit = {one.message.id for one in alone.injected}
    fails = [one for one in crowded.injected if one.fault.name == "fails"]
    assert {one.message.id for one in fails} == hit


def test_a_rate_hits_about_so_many() -> None:
    for rate in (0.0, 0.1, 0.5, 1.0):
        faults = Faults([Fault("fails", rate=rate)], seed=7)
        for n in range(2_000):
            faults(message(n))
        assert abs(len(faults.injected) - 2_000 * rate) <= 100


def test_another_seed_hits_others() -> None:
    hit = []
    for seed in (1, 2):
        faults = Faults([Fault("fails", rate=0.5)], seed=seed)
        for n in range(100):
            faults(message(n))
        hit.append([one.message for one in faults.injected])
    assert hit[0] != hit[1]


def test_the_same_seed_gives_the_same_log() -> None:
    def fingerprint(seed: int) -> str:
        with Lab(seed=seed) as lab:
            world = World(lab, limit=2)
            lab.inject(*(Fault(name, rate=0.2) for name in STEP_FAULTS))
            for n in range(10):
                lab.start_saga(world.saga, str(n))
            lab.run()
            return lab.fingerprint()

    assert fingerprint(7) == fingerprint(7) != fingerprint(8)


def test_faults_are_laid_one_upon_the_other() -> None:
    faults = Faults([Fault("duplicated", kind="execute"), Fault("slow"), Fault("reply_lost")])
    one = Message("execute", "trip", "hotel", uuid4(), "saga-trip-1", timeout=2 * SECOND)
    assert faults(one) == Journey(arrivals=(3 * SECOND, 4 * SECOND), replies=())
    assert repr(faults) == "<Faults: 3 faults, 3 injected>"


def test_a_fault_at_a_message_hits_that_one_alone() -> None:
    exact = Fault("fails", rate=0.5).at(message(1))
    assert [n for n in range(40) if exact.hits(message(n), 7)] == [1]
    event = Fault("lost").at(message(1, "event"))
    assert (event.type, event.step) == ("step 1", None)


# Putting them in place.


def test_injecting_nothing_takes_the_faults_away(world: World) -> None:
    world.lab.inject(Fault("fails"))
    world.run()
    assert world.status is SagaStatus.COMPLETED
    assert world.lab._orchestrator.route is world.lab._relay.route is straight


@pytest.mark.parametrize(("when", "left"), [("before", 3), ("after", 7)])
def test_a_crash_ends_the_process_before_or_after_an_append(when: Any, left: int) -> None:
    lab = Lab(seed=7)
    world = World(lab)
    lab.start_saga(world.saga, "1")
    lab.inject(Crash(2, when))  # at which hotel is completed, and train begins
    with pytest.raises(CrashError, match=f"{when} append 2") as crashed:
        lab.run()
    assert crashed.value.crash == Crash(2, when)
    assert lab.store.head() == left
    with Lab(seed=7, store=lab.store) as again:
        world.lab = again
        again.register(world.saga)
        again.run()
        assert again.saga_state("trip", "1").status is SagaStatus.COMPLETED
        assert world.story.count("StepCompleted hotel") == 1


def test_a_crash_comes_once_and_not_with_the_appends_before_it(lab: Lab) -> None:
    lab.append("s-1", [Counted()])
    faults = lab.inject(Crash(3))
    for _ in range(2):
        lab.append("s-1", [Counted()])
    with pytest.raises(CrashError):
        lab.append("s-1", [Counted()])
    assert (faults.appends, lab.store.head()) == (3, 3)
    lab.inject()
    lab.append("s-1", [Counted()])
    assert (faults.appends, lab.store.head()) == (3, 4)


def test_a_lab_on_the_same_store_supersedes_the_one_that_crashed() -> None:
    crashed = Lab(seed=7)
    crashed.advance("5 min")
    faults = crashed.inject(Crash(9))
    lab = Lab(seed=7, store=crashed.store)
    assert crashed.superseded
    assert lab.clock is crashed.clock
    lab.append("s-1", [Counted()])
    assert faults.appends == 0  # that of the dead process does nothing any more
    crashed.close()
    lab.append("s-1", [Counted()])
    lab.close()
    assert lab.store.closed


def test_labs_in_memory_have_nothing_to_do_with_each_other(lab: Lab) -> None:
    with Lab(seed=7):
        assert not lab.superseded


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: Fault("explodes"), "there is no fault 'explodes'; there are: fails, "),  # type: ignore[arg-type]
        (lambda: Fault("fails", rate=1.5), "a probability from 0 to 1, not 1.5"),
        (lambda: Fault("fails", rate=True), "a probability from 0 to 1, not True"),
        (lambda: Fault("fails", attempt=0), "attempts count from 1"),
        (lambda: Fault("slow", by=-SECOND), "by is a timedelta from 0"),
        (lambda: Fault("slow", by=timedelta.max), "by is a timedelta from 0 to a hundred years"),
        (lambda: Fault(["fails"]), "there is no fault ['fails']"),  # type: ignore[arg-type]
        (lambda: Fault("fails", ""), "step is a name, and None is each of them, not ''"),
        (lambda: Fault("lost", type=int), "type is a name"),  # type: ignore[arg-type]
        (lambda: Fault("lost", consumer=print), "consumer is a name"),  # type: ignore[arg-type]
        (lambda: Fault("lost", sequence=3), "sequence is a name"),  # type: ignore[arg-type]
        (lambda: Fault("fails", kind="event"), "'fails' happens to attempts and commands"),
        (lambda: Fault("fails", kind="letter"), "a message is one of execute, "),  # type: ignore[arg-type]
        (lambda: Fault("lost", "hotel", kind="event"), "can hit nothing of the kind 'event'"),
        (lambda: Fault("lost", type="Counted", kind="execute"), "can hit nothing of the kind"),
        (lambda: Crash(0), "appends count from 1, not 0"),
        (lambda: Crash(1, "during"), "'before' or 'after'"),  # type: ignore[arg-type]
        (lambda: Faults(["fails"]), "made by Fault(...) and Crash(...); found 'fails'"),  # type: ignore[list-item]
    ],
)
def test_what_can_be_no_fault_is_refused(wrong: Any, told: str) -> None:
    with pytest.raises(InputError) as error:
        wrong()
    assert told in str(error.value)


def test_a_lab_takes_a_path_or_a_store(lab: Lab) -> None:
    with pytest.raises(InputError, match="and not both"):
        Lab("shop.duckdb", store=lab.store)
    with pytest.raises(InputError, match="a store that"):
        Lab(store="shop.duckdb")  # type: ignore[arg-type]


@given(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from([*STEP_FAULTS, *DELIVERY_FAULTS]),
            "step": st.sampled_from([None, "hotel"]),
            "kind": st.sampled_from([None, "execute", "compensate"]),
            "attempt": st.sampled_from([None, 2]),
            "rate": st.sampled_from([None, 0.25]),
            "by": st.sampled_from([None, timedelta(seconds=3)]),
        }
    )
)
def test_a_fault_is_written_as_it_is_made(parts: Any) -> None:
    fault = Fault(**parts)
    assert eval(repr(fault)) == fault


def test_what_a_fault_raises_is_tried_again() -> None:
    assert issubclass(InjectedError, Exception)
    assert not issubclass(CrashError, Exception)
