"""Wherever a process dies, another one brings its sagas to the same end, with the same effects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sagas_world import (
    SECOND,
    CrashError,
    Crashing,
    Process,
    World,
    after,
    asks,
    did,
    events_of,
)

from eslab import DomainError, Event, Saga, Step, StepContext, VirtualClock
from eslab.bus.journey import Journey, Message, Route, straight
from eslab.clock import SeededIds
from eslab.sagas import Parallel, SagaState, SagaStatus
from eslab.schema import encode
from eslab.subscriptions import Retry

TWICE = Retry(limit=1, first=SECOND, jitter=0)


class Ordered(Event):
    days: int


@dataclass(frozen=True)
class Story:
    """What is explored.

    Attributes:
        saga: makes the saga.
        prepare: plants what fails.
        route: plans the journeys; the same one for the same attempt, whoever sends it.
        status: how it ends.
        effects: what those did that were called.
        commands: what those did that were sent a command.
    """

    saga: Callable[[World], Saga]
    prepare: dict[str, type[Exception]]
    status: SagaStatus
    effects: list[str]
    commands: list[str]
    route: Route = straight


def mixed(world: World, **options: Any) -> Saga:
    return Saga(
        "trip",
        [
            world.step("hotel"),
            world.sends("train"),
            Step("seat", world.does("seat"), asks("undo seat")),
            world.sends("car"),
            world.step("insurance"),
        ],
        **options,
    )


def unreliable(world: World) -> Saga:
    """Return a saga with timeouts, new tries, and steps side by side.

    An attempt takes no more than a hundredth of its timeout: what is sent again by the next process
    is still answered in time.
    """

    def tried(context: StepContext) -> str:
        if context.attempt == 1:
            raise OSError("busy")
        return world.act("tried", context)

    options: dict[str, Any] = {"timeout": 5 * SECOND, "retry": TWICE}
    return Saga(
        "trip",
        [
            world.step("lost", **options),
            Parallel(
                Step("tried", tried, world.does("undo tried"), **options),
                world.sends("unanswered", cost=SECOND / 50, **options),
                world.step("slow", cost=SECOND / 20, **options),
            ),
            world.sends("never", **options),
        ],
    )


def journeys(message: Message) -> Journey:
    """Plan the journey of an attempt, the same one each time that it is sent."""
    match message.kind, message.name, message.attempt:
        case "execute", "lost", 1:
            return after()
        case "execute", "unanswered", 1:
            return after(1, reply=[])
        case "execute", "never", _:
            return after(1, reply=[])
        case "compensate", "slow", 1:
            return after(1, 2, reply=[7])
        case _:
            return straight(message)


def ordered(world: World) -> Saga:
    return mixed(world, started_by=Ordered)


BACK = ["hotel", "seat", "undo hotel"]
STORIES = {
    "there": Story(
        mixed, {}, SagaStatus.COMPLETED, ["hotel", "seat", "insurance"], ["train", "car"]
    ),
    "back": Story(
        mixed,
        {"car": DomainError},
        SagaStatus.COMPENSATED,
        BACK,
        ["train", "undo seat", "undo train"],
    ),
    "stuck": Story(
        mixed,
        {"car": DomainError, "undo train": DomainError},
        SagaStatus.STUCK,
        ["hotel", "seat"],
        ["train", "undo seat"],
    ),
    "by an event": Story(
        ordered,
        {"car": DomainError},
        SagaStatus.COMPENSATED,
        BACK,
        ["train", "undo seat", "undo train"],
    ),
    "unreliable": Story(
        unreliable,
        {},
        SagaStatus.COMPENSATED,
        ["lost", "slow", "tried", "undo tried", "undo slow", "undo lost"],
        ["unanswered", "never", "undo never", "undo unanswered"],
        journeys,
    ),
}


@dataclass(frozen=True)
class Told:
    """How it ended."""

    status: SagaStatus
    completed: tuple[str, ...]
    compensated: tuple[str, ...]
    failed_step: str | None
    error: str | None
    effects: list[str]
    commands: list[str]

    @classmethod
    def of(cls, state: SagaState, world: World, store: Crashing) -> Told:
        return cls(
            state.status,
            state.completed,
            state.compensated,
            state.failed_step,
            state.error,
            world.effects,
            did(store),
        )


def live(store: Crashing, world: World, story: Story) -> SagaState:
    """Let a process live, and return the state; it may die before."""
    saga = story.saga(world)
    process = Process(store, saga, world=world, events=[Ordered], route=story.route)
    try:
        if store.head() == 0 and saga.started_by is None:
            process.start(saga)
        elif store.head() == 0:
            store.append("order-1", [encode(Ordered(days=3))])
        process.run()
        assert process.orchestrator.unfinished() == []
        return process.state()
    finally:
        process.leave()


def explored(
    story: Story, at: int | None, *, after: bool = True, world: World | None = None
) -> tuple[Told, Crashing, bool]:
    """Die once, at an append, and say how it ended, in which store, and whether any died."""
    world = world or World()
    world.faults = {name: [error("no") for _ in range(99)] for name, error in story.prepare.items()}
    store = Crashing(clock=VirtualClock(), ids=SeededIds(7))
    store.at, store.after = at, after
    died = False
    try:
        state = live(store, world, story)
    except CrashError:
        died = True
        state = live(store, world, story)
    return Told.of(state, world, store), store, died


@pytest.mark.parametrize("name", STORIES)
def test_it_ends_as_it_should(name: str) -> None:
    story = STORIES[name]
    told, _, _ = explored(story, None)
    assert told.status is story.status
    assert (told.effects, told.commands) == (story.effects, story.commands)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", STORIES)
def test_it_ends_the_same_wherever_the_process_died(name: str, after: bool) -> None:
    """Die at every single append, and go on with everything new."""
    expected, store, _ = explored(STORIES[name], None)
    assert store.appends >= 9
    for at in range(1, store.appends + 1):
        told, crashed, died = explored(STORIES[name], at, after=after)
        assert died
        assert told == expected, f"died at append {at}"
        inbox = [e.event_id for e in crashed.read_all()]
        assert len(inbox) == len(set(inbox))


@pytest.mark.parametrize("name", STORIES)
def test_it_ends_the_same_if_every_process_dies_behind_what_it_records(name: str) -> None:
    story = STORIES[name]
    expected, _, _ = explored(story, None)
    world = World()
    world.faults = {each: [error("no") for _ in range(99)] for each, error in story.prepare.items()}
    store = Crashing(clock=VirtualClock(), ids=SeededIds(7))
    store.mortal = True
    lives = 0
    while lives < 99:
        lives += 1
        try:
            state = live(store, world, story)
            break
        except CrashError:
            continue
    assert 9 <= lives < 99
    assert Told.of(state, world, store) == expected


def test_no_timer_fires_twice_and_no_attempt_begins_twice() -> None:
    _, store, _ = explored(STORIES["unreliable"], None)
    for at in range(1, store.appends + 1):
        _, crashed, _ = explored(STORIES["unreliable"], at)
        told = [
            (e.type, tuple(sorted((k, str(v)) for k, v in e.data.items() if k != "due_at")))
            for e in events_of(crashed)
            if e.type in ("TimerSet", "TimerFired", "StepStarted", "CompensationStarted")
        ]
        assert len(told) == len(set(told)), f"died at append {at}"


def test_the_exploration_can_find_a_fault() -> None:
    """A participant that forgets its keys does something twice, and that shows."""
    story = STORIES["back"]
    expected, store, _ = explored(story, None, world=World(forgets=True))
    found = [
        at
        for at in range(1, store.appends + 1)
        if explored(story, at, after=False, world=World(forgets=True))[0] != expected
    ]
    assert len(found) >= 3
