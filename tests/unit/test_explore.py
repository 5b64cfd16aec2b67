"""Exploration: good sagas pass all of it, and what is planted in bad ones is found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soak import scaled

from eslab import (
    Event,
    InputError,
    Lab,
    MemoryStore,
    Metadata,
    NewEvent,
    Parallel,
    Projection,
    Retry,
    Row,
    Rows,
    Saga,
    Send,
    Step,
    on,
)
from eslab.clock import VIRTUAL_START, random_id
from eslab.sagas import StepContext, decisions, machine
from eslab.simulation.explore import Exploration, explore
from eslab.simulation.faults import DELIVERY_FAULTS, STEP_FAULTS, Crash, Fault
from eslab.simulation.saga_rules import check_saga
from eslab.simulation.scenarios import accounts, orders
from eslab.simulation.witness import Witness

TIMEOUT = timedelta(seconds=5)


class Booked(Event):
    key: str
    step: str


class Cancelled(Event):
    key: str
    step: str


class World:
    """Participants that keep in the store what they did under which key, each effect once.

    Args:
        careless: a step, or several, that do not look at their keys.
        forgetful: a step that does not know any more that it was undone.
        lazy: a step that is not undone when that is asked for.
    """

    def __init__(
        self, *, careless: str = "", forgetful: str = "", lazy: str = "", **options: Any
    ) -> None:
        self.careless = careless
        self.forgetful = forgetful
        self.lazy = lazy
        self.options = {"timeout": TIMEOUT, **options}
        self.lab: Lab | None = None

    def saga(self, *groups: str | tuple[str, ...], pivot: str = "") -> Saga:
        steps: list[Step | Parallel] = []
        behind = False
        for group in groups or ("hotel", "train", "car"):
            behind = behind or group == pivot
            undo = None if behind else self.cancel
            names = (group,) if isinstance(group, str) else group
            made = [Step(n, self.book, undo, pivot=n == pivot, **self.options) for n in names]
            steps.append(made[0] if len(made) == 1 else Parallel(*made))
        return Saga("trip", steps)

    def make_lab(self, **options: Any) -> Lab:
        self.lab = Lab(**options)
        return self.lab

    def effects(self, step: str) -> list[str]:
        assert self.lab is not None
        return [event.type for event in self.lab.store.read(f"booking-{step}")]

    def book(self, step: StepContext) -> None:
        assert self.lab is not None
        known = self.effects(step.step)
        if step.step == self.forgetful:
            known = [effect for effect in known if effect == "Booked"]
        if known and step.step not in self.careless:
            return  # it is booked, or was cancelled before it came
        booked = Booked(key=str(step.idempotency_key), step=step.step)
        self.lab.append(f"booking-{step.step}", [booked])

    def cancel(self, step: StepContext) -> None:
        assert self.lab is not None
        if "Cancelled" not in self.effects(step.step) and step.step != self.lazy:
            cancelled = Cancelled(key=str(step.undoes), step=step.step)
            self.lab.append(f"booking-{step.step}", [cancelled])

    def no_double_booking(self, lab: Lab) -> Iterable[str]:
        booked = Counter(event.data["step"] for event in lab.store.read_all(types=[Booked]))
        return [f"{step} is booked {n} times" for step, n in booked.items() if n > 1]

    def nothing_is_left(self, lab: Lab) -> Iterable[str]:
        if lab.saga_state("trip", "1").status.value != "COMPENSATED":
            return []
        names = {event.data["step"] for event in lab.store.read_all(types=[Booked])}
        return [f"{name} is left" for name in names if self.effects(name)[-1] == "Booked"]

    def explore(self, saga: Saga, **options: Any) -> Exploration:
        options.setdefault("invariants", [self.no_double_booking, self.nothing_is_left])
        return explore(saga, self.make_lab, progress=False, **options)


@pytest.fixture
def world() -> World:
    return World()


# Good sagas.


def test_a_good_saga_passes_every_fault_at_every_step(world: World) -> None:
    found = world.explore(world.saga(), faults=[*STEP_FAULTS, *DELIVERY_FAULTS])
    found.require()
    assert found.violations == ()
    executed = {(one.step, one.name) for (one,) in alone(found) if one.kind == "execute"}
    assert executed == {
        (step, name)
        for step in ("hotel", "train", "car")
        for name in (*STEP_FAULTS, *DELIVERY_FAULTS)
    }
    assert {one.status for one in found.outcomes} == {"COMPLETED", "COMPENSATED", "STUCK"}


def alone(found: Exploration) -> list[tuple[Fault]]:
    return [one.faults for one in found.outcomes if len(one.faults) == 1]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("steps", "pivot"),
    [
        (["hotel", ("train", "car"), "party"], ""),
        ([("train", "car", "boat")], ""),
        (["hotel", "train", "pay", "party"], "pay"),
        (["hotel", ("train", "car"), "pay"], "pay"),
    ],
)
@pytest.mark.parametrize("limit", [0, 2])
def test_groups_pivots_and_retries_pass_too(steps: list[Any], pivot: str, limit: int) -> None:
    world = World(retry=Retry(limit=limit))
    found = world.explore(world.saga(*steps, pivot=pivot), seeds=(1,))
    found.require()


def test_a_good_saga_passes_pairs_of_faults(world: World) -> None:
    found = world.explore(world.saga("hotel", "train"), pairs=True)
    found.require()
    kinds = Counter(tuple(fault.kind for fault in one.faults) for one in found.outcomes)  # type: ignore[union-attr]
    assert kinds["execute", "execute"] == 36
    assert kinds["execute", "compensate"] > 36


def test_a_good_saga_passes_crashes_at_every_append(world: World) -> None:
    found = world.explore(world.saga(), faults=["fails"], crashes=True)
    found.require()
    crashed = [one for one in found.outcomes if any(isinstance(f, Crash) for f in one.faults)]
    plain = [one for one in crashed if len(one.faults) == 1]
    assert {one.status for one in plain} == {"COMPLETED"}
    assert {one.status for one in crashed if len(one.faults) == 2} == {"COMPENSATED"}
    appends = found.outcomes[0].appends
    assert len(plain) == 2 * appends > 10
    whole = {one.events for one in found.outcomes if not one.faults}
    assert {one.events for one in plain} == whole


class Bookings(Row, key="key"):
    key: str
    count: int = 0


class CountedBookings(Projection):
    row = Bookings

    @on
    def booked(self, event: Booked, rows: Rows[Bookings]) -> None:
        rows.ensure(key="all").count += 1


def test_a_read_model_has_each_event_once_wherever_the_process_crashes() -> None:
    class WithReadModel(World):
        def make_lab(self, **options: Any) -> Lab:
            lab = super().make_lab(**options)
            lab.project(CountedBookings())
            return lab

    def counted(lab: Lab) -> str | None:
        booked = lab.sql("select count(*) from booked").scalar()
        found = lab.sql("select coalesce(sum(count), 0) from counted_bookings").scalar()
        return None if booked == found else f"{booked} are booked, and {found} counted"

    world = WithReadModel()
    world.explore(world.saga("hotel"), faults=[], crashes=True, invariants=[counted]).require()


# Planted bugs.


def test_undoing_in_the_wrong_order_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "reversed", list, raising=False)
    found = world.explore(world.saga())
    problems = {one.faults: one.problems for one in found.violations}
    (problem,) = problems[Fault("fails", "car"),]
    assert problem == (
        "the steps were undone in the order hotel, train; the reverse of how they were executed "
        "is train, hotel"
    )


def test_a_compensation_that_is_forgotten_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(steps: tuple[str, ...]) -> list[str]:
        return [step for step in steps[::-1] if step != "train"]

    monkeypatch.setattr(decisions, "reversed", forgetful, raising=False)
    found = world.explore(world.saga())
    problems = {one.faults: one.problems for one in found.violations}
    assert problems[Fault("fails", "car"),] == (
        *("it is COMPENSATED, and step 'train', which was executed, was not undone",),
        *("train is left",),
    )


def test_a_step_that_is_executed_twice_is_found() -> None:
    world = World(careless="train")
    found = world.explore(world.saga(), faults=["duplicated"])
    assert [(one.faults, one.problems) for one in found.violations] == [
        (
            (Fault("duplicated", "train"),),
            (
                "step 'train' took effect 2 times: Booked in booking-train, at positions 9 and 18",
                "train is booked 2 times",
            ),
        ),
    ]
    world.explore(world.saga(), faults=["fails", "late_reply"]).require()


def test_a_step_that_is_executed_twice_because_of_a_crash_is_found() -> None:
    world = World(careless="hotel")
    found = world.explore(world.saga(), faults=[], crashes=True)
    assert {type(one.faults[-1]) for one in found.violations} == {Crash}
    assert all("hotel is booked 2 times" in one.problems for one in found.violations)
    # Between its booking and what the saga makes of it: behind the one, before the other.
    assert [repr(one.faults[-1]) for one in found.violations if len(one.faults) == 1] == [
        *("Crash(2, 'after')", "Crash(3, 'before')"),
    ]


def test_effects_that_come_twice_or_too_late_or_stay_are_found_without_an_invariant() -> None:
    def found(world: World, **options: Any) -> dict[tuple[Fault | Crash, ...], tuple[str, ...]]:
        exploration = world.explore(world.saga("hotel", "train"), invariants=[], **options)
        return {one.faults: one.problems for one in exploration.violations}

    (crashed, *_) = found(World(careless="hotel"), faults=[], crashes=True).values()
    assert "step 'hotel' took effect 2 times: Booked in booking-hotel, at" in crashed[0]
    late = found(World(forgetful="train"), faults=["slow", "fails", "reply_lost"])
    ((faults, (problem,)),) = late.items()
    assert faults == (Fault("slow", "train"),)
    assert "step 'train' took effect after it had been undone: Booked in booking" in problem
    stays = found(World(lazy="hotel"), faults=["fails", "slow"])
    (problem,) = stays[Fault("fails", "train"),]
    assert "step 'hotel' was undone, and nothing was recorded against its effect: B" in problem
    assert found(World(), faults=[*STEP_FAULTS, "duplicated"], crashes=True) == {}


def test_a_compensation_by_a_command_that_changes_nothing_is_found() -> None:
    def give(step: StepContext) -> accounts.Deposit:
        return accounts.Deposit(account_id="a", amount=30)

    def open_again(step: StepContext) -> accounts.OpenAccount:
        return accounts.OpenAccount(account_id="a", owner="a")

    def make_lab(**options: Any) -> Lab:
        lab = Lab(**options)
        lab.register(accounts.account)
        lab.execute(open_again(None))  # type: ignore[arg-type]
        return lab

    giving = Step("give", Send(give), Send(open_again), timeout=TIMEOUT)
    saga = Saga("gift", [giving, Step("tell", lambda _: None, timeout=TIMEOUT)])
    found = explore(saga, make_lab, faults=["fails", "reply_lost"], progress=False)
    assert {one.faults for one in found.violations} == {
        *((Fault("reply_lost", "give"),), (Fault("fails", "tell"),)),
        *((Fault("reply_lost", "tell"),),),
    }
    assert "nothing was recorded against its effect: MoneyDeposited" in repr(found)


def test_a_step_that_is_tried_again_under_another_key_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(retry=Retry(limit=1))
    monkeypatch.setattr(machine, "step_key", lambda *_: random_id())
    found = world.explore(world.saga("hotel", "train"), faults=["fails"])
    assert (
        "attempts to execute step 'hotel' were sent under 2 different keys"
        in found.violations[0].problems
    )
    crashing = world.explore(world.saga("hotel"), faults=[], crashes=True)
    assert any("2 different keys" in repr(one) for one in crashing.violations)


def test_a_step_that_waits_for_ever_is_found_and_told_what_it_lacks() -> None:
    world = World(timeout=None)
    found = world.explore(world.saga(), faults=["reply_lost", "late_reply"])
    assert [one.faults for one in found.violations if one.faults[0].kind == "execute"] == [  # type: ignore[union-attr]
        *((Fault("reply_lost", step),) for step in ("hotel", "train", "car")),
        *(
            (Fault("fails", "car"), Fault("reply_lost", step, kind="compensate", attempt=1))
            for step in ("hotel", "train")
        ),
    ]
    (problem,) = found.violations[0].problems
    assert problem == (
        "it is still RUNNING: attempt 1 at step 'hotel' was not answered; it has no timeout: a "
        "lost answer leaves it waiting; give 'hotel' a timeout"
    )


def test_money_that_is_put_back_and_was_never_taken_is_found() -> None:
    def withdraw(step: StepContext) -> accounts.Withdraw:
        return accounts.Withdraw(account_id="a", amount=30)

    def put_back(step: StepContext) -> accounts.Deposit:
        return accounts.Deposit(account_id="a", amount=30)

    def deposit(step: StepContext) -> accounts.Deposit:
        return accounts.Deposit(account_id="b", amount=30)

    saga = Saga(
        "transfer",
        [
            Step("withdraw", Send(withdraw), Send(put_back), timeout=TIMEOUT),
            Step("deposit", Send(deposit), timeout=TIMEOUT, pivot=True, retry=Retry(limit=2)),
        ],
    )

    def make_lab(**options: Any) -> Lab:
        lab = Lab(**options)
        lab.register(accounts.account)
        for name in ("a", "b"):
            lab.execute(accounts.OpenAccount(account_id=name, owner=name))
            lab.execute(accounts.Deposit(account_id=name, amount=100))
        return lab

    def no_money_appears(lab: Lab) -> None:
        balances = [lab.load(accounts.account, name).state.balance for name in ("a", "b")]
        if sum(balances) != 200:
            raise AssertionError(f"{balances} are more than there was")

    found = explore(saga, make_lab, invariants=[no_money_appears], progress=False)
    assert {one.faults for one in found.violations} == {
        *((Fault("times_out", "withdraw"),), (Fault("slow", "withdraw"),)),
    }
    assert found.violations[0].problems == (
        "no_money_appears(): [130, 100] are more than there was",
    )


def test_what_goes_wrong_without_any_fault_needs_none(world: World) -> None:
    found = world.explore(
        world.saga(), invariants=[lambda lab: "it rains"], faults=["fails"], pairs=True
    )
    (violation,) = found.violations
    assert (violation.faults, violation.problems) == ((), ("it rains",))
    assert violation.combinations == len(found.outcomes)
    assert repr(violation).startswith("no fault at all (seed 0):\n  - it rains\n")


# What is found.


def test_a_violation_is_reproduced_in_a_lab_to_look_at() -> None:
    world = World(careless="train")
    violation = world.explore(world.saga(), faults=["duplicated"]).violations[0]
    with violation.reproduce() as lab:
        assert world.no_double_booking(lab) == ["train is booked 2 times"]


@pytest.mark.parametrize("crashes", [False, True])
def test_the_lines_of_a_violation_make_it_happen_again(crashes: bool) -> None:
    world = World(careless="train")
    saga = world.saga()
    faults = [] if crashes else ["duplicated"]
    violations = world.explore(saga, faults=faults, crashes=crashes, input={"days": 3}).violations
    assert violations
    for violation in violations:
        scope = {"make_lab": world.make_lab, "trip": saga}
        exec(violation.snippet, scope)
        lab = scope["lab"]
        assert isinstance(lab, Lab)
        assert world.no_double_booking(lab) == ["train is booked 2 times"]
        lab.close()


def make_trip(**options: Any) -> Lab:
    lab = Lab(**options)
    lab.register(TRIP)
    return lab


def test_lines_to_paste_call_things_what_they_are_called_where_the_lab_is_made() -> None:
    options: dict[str, Any] = {"faults": [], "progress": False, "invariants": [lambda lab: "wet"]}
    (violation,) = explore(TRIP, make_trip, **options).violations
    assert violation.snippet == "lab = make_trip(seed=0)\nlab.start_saga(TRIP, '1')\nlab.run()"
    exec(violation.snippet, globals())
    (violation,) = explore(orders.order_fulfilment, make_shop, **options).violations
    assert "lab.start_saga(orders.order_fulfilment, '1')" in violation.snippet
    slow = Fault("slow", "a", by=timedelta(seconds=1))
    (violation,) = explore(TRIP, lambda seed: make_trip(seed=seed), **options).violations
    assert violation.snippet.startswith("lab = make_lab(seed=0)\nlab.start_saga(TRIP, '1')")
    options |= {"faults": [slow], "invariants": [only_in_time]}
    (violation,) = explore(TRIP, make_trip, **options).violations
    exec(violation.snippet, {"make_trip": make_trip, "TRIP": TRIP})
    assert violation.faults == (slow,)


def make_shop(**options: Any) -> Lab:
    lab = Lab(**options)
    lab.register(*orders.AGGREGATES)
    return lab


def only_in_time(lab: Lab) -> str | None:
    return "it is late" if lab.clock.now() > VIRTUAL_START + timedelta(seconds=1) else None


def test_a_pair_comes_down_to_the_one_that_is_needed() -> None:
    world = World(careless="train")
    found = world.explore(world.saga(), faults=["duplicated", "late_reply"], pairs=True)
    assert [one.faults for one in found.violations] == [(Fault("duplicated", "train"),)]
    assert found.violations[0].combinations > 5


def test_a_rate_comes_down_to_the_places_that_are_needed() -> None:
    world = World(careless="train")
    found = world.explore(world.saga(), faults=[Fault("duplicated", rate=0.4, kind="execute")])
    assert found.violations == ()  # with this seed it hits others
    found = world.explore(
        world.saga(), faults=[Fault("duplicated", rate=0.4, kind="execute")], seeds=range(8)
    )
    (violation,) = found.violations
    (fault,) = violation.faults
    assert isinstance(fault, Fault)
    assert (fault.step, fault.attempt, fault.rate) == ("train", 1, None)
    failing = [one.seed for one in found.outcomes if one.problems]
    assert violation.seed == failing[0] > 0


def test_what_a_rate_finds_with_other_seeds_at_other_places_is_found_too() -> None:
    world = World(careless="hotel, train")
    twice = Fault("duplicated", rate=0.3, kind="execute")
    found = world.explore(world.saga(), faults=[twice], seeds=range(20))
    steps = {one.faults[0].step for one in found.violations}  # type: ignore[union-attr]
    assert steps == {"hotel", "train"}
    assert len(found.violations) == 2
    for violation in found.violations:
        with violation.reproduce() as lab:
            assert world.no_double_booking(lab)


def test_what_was_found_is_a_table_and_a_matrix(world: World) -> None:
    found = world.explore(world.saga("hotel", "train"), faults=["fails", "duplicate_reply"])
    columns = ["faults", "seed", "status", "compensated", "took", "events", "problems"]
    assert list(found.df.columns) == columns
    rows = found.df.set_index("faults")
    assert rows.loc["train: fails", "compensated"] == "hotel"
    assert rows.loc["hotel: duplicate_reply", "took"] == timedelta(seconds=1.01)
    assert found.matrix.to_dict("index") == {
        "hotel": {"fails": "COMPENSATED", "duplicate_reply": "COMPLETED"},
        "train": {"fails": "COMPENSATED", "duplicate_reply": "COMPLETED"},
        "undo hotel 1": {"fails": "COMPENSATED", "duplicate_reply": ""},
        "undo hotel": {"fails": "STUCK", "duplicate_reply": "COMPENSATED"},
        "undo train 1": {"fails": "COMPENSATED", "duplicate_reply": ""},
        "undo train": {"fails": "STUCK", "duplicate_reply": "COMPENSATED"},
    }
    assert repr(found) == (
        "<exploration of saga 'trip': 11 runs (6 COMPENSATED, 3 COMPLETED, 2 STUCK), no violation>"
    )
    assert "<td>STUCK</td>" in found._repr_html_()


def test_violations_are_shown_and_required_not_to_be() -> None:
    world = World(careless="hotel")
    found = world.explore(world.saga(), faults=["duplicated", "fails"])
    with pytest.raises(AssertionError, match="hotel is booked 2 times") as error:
        found.require()
    shown = (
        "from eslab.simulation.faults import Fault\n    lab = make_lab(seed=0)\n    lab.start_saga("
    )
    assert shown in str(error.value)
    shown = "lab.inject(Fault('duplicated', 'hotel'))"
    assert shown in str(error.value)
    assert shown in repr(found)
    assert "VIOLATION" in found._repr_html_()
    assert found.counts["violations"] == 1


def test_a_saga_may_be_started_by_a_function(world: World) -> None:
    saga = world.saga()

    def start(lab: Lab) -> str:
        lab.start_saga(saga, "mine", days=3)
        return "mine"

    found = world.explore(saga, start=start, faults=["fails"], invariants=[lambda lab: "wet"])
    assert "saga_id = start(lab)" in found.violations[0].snippet


def test_a_lab_explores_with_its_seed_and_is_left_alone(world: World) -> None:
    with Lab(seed=3) as lab:
        found = lab.explore(world.saga(), world.make_lab, faults=["fails"], progress=False)
        assert {one.seed for one in found.outcomes} == {3}
        assert lab.store.head() == 0


def test_the_same_exploration_finds_the_same(world: World) -> None:
    options: dict[str, Any] = {"faults": [Fault("lost", kind="execute", rate=0.5)], "seeds": (1, 2)}
    first, second = (world.explore(world.saga(), **options) for _ in range(2))
    assert first.outcomes == second.outcomes


# What cannot be explored.


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"faults": ["explodes"]}, "there is no fault 'explodes'; there are: fails, "),
        ({"faults": "fails"}, "faults are a list of names"),
        ({"faults": [Crash(1)]}, "a fault is a name, or made by Fault(...)"),
        ({"faults": [Fault("fails", "boat")]}, "has no step 'boat'"),
        ({"start": lambda lab: None}, "start() returns the id of the saga"),
        ({"start": lambda lab: "1", "input": {"days": 3}}, "leave input out"),
        ({"faults": 3}, "faults are a list of names"),
        ({"start": "1"}, "start is a function of a lab"),
        ({"input": 3}, "input is what the saga is started with"),
        ({"seeds": []}, "seeds are a list of whole numbers, at least one, not []"),
        ({"seeds": 7}, "seeds are a list of whole numbers"),
        ({"invariants": ["total"]}, "invariants are a list of functions of a lab"),
        ({"invariants": lambda lab: None}, "invariants are a list of functions of a lab"),
        ({"invariants": [lambda lab: True]}, "an invariant returns what is wrong, in words"),
    ],
)
def test_what_cannot_be_explored_is_refused(
    world: World, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError) as error:
        world.explore(world.saga(), **options)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("make_lab", "crashes", "told"),
    [
        (lambda **options: None, False, "make_lab() returns a Lab, and not None: return lab"),
        (lambda: Lab(seed=0), False, "make_lab is a function that takes seed and makes a lab"),
        (lambda seed: Lab(seed=seed), True, "takes seed and store"),
        (lambda seed, store=None: Lab(seed=seed), True, "made a lab on another one"),
        (lambda seed: Lab(), False, "was given the seed 0, and made a lab with the seed None"),
        (lambda seed: Lab(seed=7), False, "and made a lab with the seed 7"),
        ("lab", False, "make_lab is a function"),
    ],
)
def test_a_function_that_makes_no_lab_is_refused(
    world: World, make_lab: Any, crashes: bool, told: str
) -> None:
    saga = Saga("trip", [Step("hotel", lambda _: None)])
    with pytest.raises(InputError) as error:
        explore(saga, make_lab, crashes=crashes, progress=False)
    assert told in str(error.value)
    with pytest.raises(InputError, match="takes a saga"):
        explore("trip", make_lab)  # type: ignore[arg-type]


# The rules that a stream is held to: each of them can be broken.

TRIP = Saga(
    "trip",
    [
        Step("a", lambda _: None, lambda _: None),
        Parallel(
            Step("b", lambda _: None, lambda _: None), Step("c", lambda _: None, lambda _: None)
        ),
        Step("d", lambda _: None, pivot=True),
    ],
)

_TYPES = {
    "+": "StepStarted",
    "=": "StepCompleted",
    "!": "StepFailed",
    "?": "StepTimedOut",
    "-": "CompensationStarted",
    "~": "CompensationCompleted",
    "x": "CompensationFailed",
    "l": "LateReplyReceived",
}


def broken(story: str) -> list[str]:
    """Return what is wrong with a stream, of which each word is an event: a sign and a step."""
    with MemoryStore() as store:
        events = [NewEvent("SagaStarted", {})]
        for word in story.split():
            if word in ("COMPLETED", "COMPENSATED"):
                events.append(NewEvent(f"Saga{word.title()}", {}))
            elif word.startswith("STUCK"):
                _, step, kind = word.split(":")
                events.append(NewEvent("SagaStuck", {"step": step, "kind": kind}))
            else:
                data: dict[str, Any] = {"step": word[1], "attempt": 1, "final": word[0] in "!?x"}
                data |= {"late": word.endswith("late"), "kind": "execute", "error": None}
                events.append(NewEvent(_TYPES[word[0]], data))
        store.append("saga-trip-1", events)
        return check_saga(TRIP, "1", store)


DONE = "+a =a +b +c =b =c"


@pytest.mark.parametrize(
    "story",
    [
        f"{DONE} +d =d COMPLETED",
        f"{DONE} +d !d -c ~c -b ~b -a ~a COMPENSATED",
        "+a =a +b +c =c ?b -b ~b -c ~c -a ~a COMPENSATED",
        f"{DONE} +d ?d STUCK:d:execute",
        f"{DONE} +d !d -c xc STUCK:c:compensate lc",
        "+a !a COMPENSATED",
        "+a !a COMPENSATED la -a ~alate",
    ],
)
def test_a_good_stream_breaks_no_rule(story: str) -> None:
    assert broken(story) == []


@pytest.mark.parametrize(
    ("story", "told"),
    [
        ("+a =a =a +b +c =b =c +d =d COMPLETED", "step 'a' was completed 2 times"),
        (f"{DONE} COMPLETED", "it is COMPLETED, and step 'd' is not"),
        (f"{DONE} +d =d -c ~c COMPLETED", "it is COMPLETED, and step 'c' was undone"),
        ("+a +b =a", "step 'b' began before 'a' was completed"),
        (f"{DONE} +d !d -c ~c -a ~a COMPENSATED", "step 'b', which was executed, was not undone"),
        ("+a ?a COMPENSATED", "step 'a', which may have been executed, was not undone"),
        ("+a !a COMPENSATED la", "step 'a', which may have been executed, was not undone"),
        (f"{DONE} +d !d -b ~b -c ~c -a ~a COMPENSATED", "undone in the order b, c, a; the reverse"),
        (f"{DONE} +d !d -c ~c -c ~c -b ~b -a ~a COMPENSATED", "step 'c' was undone 2 times"),
        (f"{DONE} +d ?d -c ~c -b ~b -a ~a COMPENSATED", "though the pivot 'd' was, or may have"),
        ("+a !a -a ~a COMPENSATED", "step 'a' was undone, and had never been executed"),
        ("+a =a +b +c =c !b -c ~clate -a ~a COMPENSATED", "'c' was undone late, though"),
        (f"{DONE} +d !d -a xa STUCK:b:compensate", "STUCK at step 'b', which had not failed"),
        (f"{DONE} +d !d -a ~a -c xc STUCK:c:compensate", "undone in the order a; the reverse"),
        (f"{DONE} +d !d -c xc STUCK:c:compensate -b", "it is STUCK, and goes on"),
        ("+a =a", "it is still RUNNING: nothing is waited for, and it does not go on"),
        ("+a =a +b +c =c !b -c", "it is still COMPENSATING: attempt 1 at undoing step 'c' was not"),
        ("+a !a COMPENSATED la -a", "it is COMPENSATED, and undoes a step late: attempt 1 at"),
    ],
)
def test_a_stream_that_breaks_a_rule_is_told_which(story: str, told: str) -> None:
    assert any(told in problem for problem in broken(story)), broken(story)


def test_a_command_that_had_an_effect_though_it_was_taken_back_is_found() -> None:
    with Lab(seed=7) as lab:
        command_id = lab._mint()
        lab.start_saga(TRIP, "1")
        lab.register(accounts.account)
        lab._commands.revoke(command_id)
        lab.run()
        assert check_saga(TRIP, "1", lab.store) == []
        effect = NewEvent("AccountOpened", {}, metadata=Metadata(command_id=str(command_id)))
        lab.store.append("account-a", [effect])
        (problem,) = check_saga(TRIP, "1", lab.store)
        assert "a command that was taken back had an effect" in problem


# Whatever the saga, and whatever goes wrong.


@st.composite
def sagas(draw: st.DrawFn) -> tuple[World, Saga]:
    world = World(retry=Retry(limit=draw(st.integers(0, 2))))
    letters = iter("abcdefghijkl")
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    groups = [tuple(next(letters) for _ in range(size)) for size in sizes]
    steps = [group[0] if len(group) == 1 else group for group in groups]
    alone = [step for step in steps if isinstance(step, str)]
    at = draw(st.sampled_from(["", *alone]))
    if at and any(isinstance(step, tuple) for step in steps[steps.index(at) :]):
        at = ""
    return world, world.saga(*steps, pivot=at)


@st.composite
def mishaps(draw: st.DrawFn) -> Fault:
    name = draw(st.sampled_from([*STEP_FAULTS, *DELIVERY_FAULTS]))
    kind: Any = draw(st.sampled_from(["execute", "compensate"]))
    by = draw(st.sampled_from([None, *(timedelta(seconds=n) for n in (0, 1, 4, 6, 20))]))
    return Fault(name, kind=kind, rate=draw(st.floats(0.1, 1)), by=by)


@pytest.mark.soak
@settings(max_examples=scaled(60, 2_000), deadline=None)
@given(sagas(), st.lists(mishaps(), min_size=1, max_size=3), st.integers(0, 99))
def test_whatever_goes_wrong_a_saga_ends_as_it_must(
    made: tuple[World, Saga], faults: list[Fault], seed: int
) -> None:
    world, saga = made
    with world.make_lab(seed=seed) as lab:
        lab.start_saga(saga, "1")
        witness = Witness(lab.store, saga.stream_id("1"))
        lab.inject(*faults).route = witness
        lab.run()
        assert check_saga(saga, "1", lab.store) == []
        assert list(witness.problems()) == []
        assert world.no_double_booking(lab) == []
        assert world.nothing_is_left(lab) == []
