"""Sagas under any schedule of lost, late and doubled messages, refusals, and crashes: they end."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sagas_world import (
    SECOND,
    CrashError,
    Crashing,
    Process,
    World,
    asks,
    did,
    events_of,
)
from soak import scaled

from eslab import DomainError, Event, Saga, Step, StepContext, VirtualClock
from eslab.bus.journey import Journey, Message, straight
from eslab.clock import SeededIds
from eslab.sagas import Parallel, SagaState, SagaStatus
from eslab.sagas.state import evolve
from eslab.subscriptions import Retry

ONCE_MORE = Retry(limit=1, first=SECOND, jitter=0)


class Replied(Event):
    pass


class Denied(Event):
    pass


def delays(*seconds: float) -> st.SearchStrategy[tuple[timedelta, ...]]:
    """Return a strategy for none, one or two of some delays."""
    return st.lists(st.sampled_from(seconds), max_size=2).map(
        lambda some: tuple(timedelta(seconds=each) for each in some)
    )


JOURNEYS = st.one_of(
    st.builds(Journey, delays(0.01, 1, 4, 7, 30), delays(0, 1, 6, 40)),
    st.sampled_from([Journey(error=OSError("no line")), Journey(error=DomainError("no"))]),
)


class Witness(World):
    """A world that knows for which saga something was done, and that refuses what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.effected: Counter[tuple[str, str]] = Counter()
        self.refuses: set[str] = set()

    def act(self, name: str, context: StepContext) -> str:
        if context.idempotency_key in self.done:
            return name  # what it has done it does not refuse later
        super().act(name, context)
        self.effected[context.saga_id, name] += context.idempotency_key in self.done
        return name

    def _called(self, name: str) -> None:
        if name in self.refuses:
            raise DomainError(f"{name} is refused")


def sagas(world: World) -> dict[str, Saga]:
    """Return a straight saga, one with steps side by side, and one with a pivot."""
    options: dict[str, Any] = {
        "timeout": 5 * SECOND,
        "retry": ONCE_MORE,
        "compensation_retry": ONCE_MORE,
    }
    asked = Step(
        "asked", asks("asked", reply=Replied, failure=Denied), world.does("undo asked"), **options
    )
    made = [
        Saga(
            "line",
            [world.step("a", **options), world.sends("b", **options), world.step("c", **options)],
        ),
        Saga(
            "side",
            [
                world.step("a", **options),
                Parallel(world.step("b", **options), world.sends("c", **options), asked),
                world.step("d", **options),
            ],
        ),
        Saga(
            "pivot",
            [
                world.sends("a", **options),
                world.step("p", undo=False, pivot=True, **options),
                world.sends("z", undo=False, **options),
            ],
        ),
    ]
    return {saga.name: saga for saga in made}


class Faults(RuleBasedStateMachine):
    """Whatever happens, it is asked at the end what became of each saga."""

    def __init__(self) -> None:
        super().__init__()
        self.world = Witness()
        self.sagas = sagas(self.world)
        self.store = Crashing(clock=VirtualClock(), ids=SeededIds(7))
        self.plans: list[Journey] = []
        self.sent: set[tuple[UUID, int]] = set()
        self.started: list[tuple[str, str]] = []
        self.process = self.another()

    def another(self) -> Process:
        """Return a process that knows nothing."""
        return Process(
            self.store,
            *self.sagas.values(),
            world=self.world,
            events=[Replied, Denied],
            route=self.route,
        )

    def route(self, message: Message) -> Journey:
        """Plan a journey as it was drawn.

        What a process sends that died may have been carried out. If the line is down when the next
        one sends it again, nobody can say whether it was: this is left out.
        """
        again = (message.id, message.attempt) in self.sent
        self.sent.add((message.id, message.attempt))
        journey = self.plans.pop(0) if self.plans else straight(message)
        return straight(message) if again and journey.error else journey

    def state(self, started: tuple[str, str]) -> SagaState:
        return self.process.state(started[1], started[0])

    @rule(name=st.sampled_from(["line", "side", "pivot"]))
    def start(self, name: str) -> None:
        id = str(len(self.started))
        self.started.append((name, id))
        self.process.start(self.sagas[name], id)

    @rule(journeys=st.lists(JOURNEYS, min_size=1, max_size=4))
    def plan(self, journeys: list[Journey]) -> None:
        self.plans += journeys

    @rule(name=st.sampled_from(["b", "c", "d", "p", "z"]))
    def refuse(self, name: str) -> None:
        self.world.refuses.add(name)

    @rule(name=st.sampled_from(["undo a", "undo b", "undo asked"]))
    def refuse_or_allow_again(self, name: str) -> None:
        self.world.refuses ^= {name}

    @rule(seconds=st.sampled_from([0.01, 0.015, 0.5, 3, 5, 12, 60]))
    def let_time_pass(self, seconds: float) -> None:
        self.process.advance(seconds * SECOND)

    @rule(
        at=st.integers(1, 12),
        after=st.booleans(),
        seconds=st.sampled_from([0.01, 0.5, 5, 12, 60]),
    )
    def let_time_pass_and_die(self, at: int, after: bool, seconds: float) -> None:
        self.store.at, self.store.after = self.store.appends + at, after
        try:
            self.process.advance(seconds * SECOND)
        except CrashError:
            self.process.leave()
            self.process = self.another()
        finally:
            self.store.at = None

    @rule()
    def restart(self) -> None:
        self.process.leave()
        self.process = self.another()

    @precondition(lambda self: self.asked())
    @rule(data=st.data(), event=st.sampled_from([Replied, Replied, Denied]))
    def reply(self, data: st.DataObject, event: type[Event]) -> None:
        id = data.draw(st.sampled_from(self.asked()))
        self.process.append(f"other-{id}", event(), correlation_id=f"saga-side-{id}")

    def asked(self) -> list[str]:
        """Return the sagas of which somebody was asked by a command, and may reply."""
        return sorted(id for id, what in self.effects() if what == "asked")

    @precondition(lambda self: self.stuck())
    @rule(data=st.data(), resolved=st.booleans())
    def resume(self, data: st.DataObject, resolved: bool) -> None:
        name, id = data.draw(st.sampled_from(self.stuck()))
        self.process.orchestrator.resume(name, id, resolved=resolved)

    def stuck(self) -> list[tuple[str, str]]:
        return [one for one in self.started if self.state(one).status is SagaStatus.STUCK]

    @invariant()
    def no_effect_comes_twice(self) -> None:
        assert all(count == 1 for count in self.effects().values())

    def effects(self) -> Counter[tuple[str, str]]:
        """Return how often what was done, and for which saga."""
        counts = Counter({key: count for key, count in self.world.effected.items() if count})
        for event in self.store.read_all(types=["Did"]):
            counts[event.stream_id.removeprefix("participant-"), event.data["what"]] += 1
        return counts

    def teardown(self) -> None:
        """Let everything arrive and be answered, and look."""
        self.plans.clear()
        self.process.run()
        effects = self.effects()
        for name, id in self.started:
            check(self.sagas[name], id, self.state((name, id)), effects)
            check_order(self.sagas[name], self.store, id)
        assert self.process.orchestrator.unfinished() == []
        head = self.store.head()
        self.restart()
        self.process.run()
        assert self.store.head() == head


def check(saga: Saga, id: str, state: SagaState, effects: Counter[tuple[str, str]]) -> None:
    """Say whether a saga ended, and what was done and undone fits that."""
    assert state.ended
    done = {step.name for step in saga if effects[id, step.name]}
    undone = {step.name for step in saga if effects[id, f"undo {step.name}"]}
    reversible = {step.name for step in saga if step.compensate is not None}
    resumed = state.forgiven != {}  # a person may have done what is no effect
    match state.status:
        case SagaStatus.COMPLETED:
            assert set(state.completed) == {step.name for step in saga}
            assert undone == set()
            assert resumed or done == set(state.completed)
        case SagaStatus.COMPENSATED:
            assert len(state.compensated) == len(set(state.compensated))
            assert set(state.compensated) == set(state.touched) & reversible
            assert resumed or undone == set(state.compensated)
            # Of a command that was carried out, and denied later, there is nothing to undo.
            assert done - {"asked"} <= set(state.touched)
        case _:
            assert state.status is SagaStatus.STUCK
            assert state.stuck is not None
            assert state.stuck.step in saga.by_name
            assert state.error


def check_order(saga: Saga, store: Crashing, id: str) -> None:
    """Say whether a saga was undone in reverse order: what came later to a success comes first."""
    place = {step.name: at for at, group in enumerate(saga.groups) for step in group}
    state = SagaState()
    order: list[str] = []
    succeeded: list[str] = []
    for recorded in events_of(store, id, saga.name):
        if recorded.type == "StepCompleted":
            succeeded.append(recorded.data["step"])
        if recorded.type == "CompensationStarted" and recorded.data["attempt"] == 1:
            assert state.running == {}, "others were still on their way"
            order.append(recorded.data["step"])
        state = evolve(state, REGISTRY.decode(recorded))
    both = [step for step in order if step in succeeded]
    assert both == [step for step in reversed(succeeded) if step in both]
    places = [place[step] for step in both]
    assert places == sorted(places, reverse=True)


REGISTRY = Process(Crashing()).registry


@pytest.mark.soak
def test_every_saga_ends_as_it_should_under_any_faults() -> None:
    Faults.TestCase.settings = settings(
        deadline=None,
        max_examples=scaled(30, 400),
        stateful_step_count=scaled(25, 50),
        suppress_health_check=list(HealthCheck),
    )
    Faults.TestCase("runTest").runTest()


def test_the_check_can_fail() -> None:
    """An effect that was not undone is found; so is a saga that was undone in order."""
    world = Witness()
    saga = sagas(world)["line"]
    state = SagaState(
        status=SagaStatus.COMPENSATED,
        completed=("a", "b"),
        touched=("a", "b"),
        compensated=("b", "a"),
        failed_step="c",
    )
    effects = Counter({("1", name): 1 for name in ("a", "b", "undo a", "undo b")})
    check(saga, "1", state, effects)
    for wrong in ("undo a", "b", "c"):
        changed = Counter(effects)
        changed["1", wrong] = 1 - changed["1", wrong]
        if wrong == "b":
            continue  # of a step that may have been executed nobody knows
        with pytest.raises(AssertionError):
            check(saga, "1", state, changed)
    assert did(Crashing()) == []
