"""What follows from edits: what became of each event, and what cannot be applied any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eslab import (
    Aggregate,
    Decider,
    Edit,
    Event,
    Insert,
    Lab,
    MemoryStore,
    Metadata,
    Move,
    NewEvent,
    Saga,
    Skip,
    Step,
    applies,
    open_store,
)
from eslab.messaging import Command
from eslab.replay import AnyEdit, Consequences, Folding, consequences, edited, replay
from eslab.replay.steps import changes
from eslab.schema import EventRegistry, encode
from eslab.store import EventStore


class Put(Event):
    key: str


class Removed(Event):
    key: str


class Shelf(Aggregate):
    goods: set[str] = set()  # noqa: RUF012 - copied for each instance
    removals: int = 0

    @applies
    def put(self, event: Put) -> None:
        self.goods.add(event.key)

    @applies
    def removed(self, event: Removed) -> None:
        self.removals += 1  # also before it fails: nothing of that may be left
        self.goods.remove(event.key)


REGISTRY = EventRegistry(Put, Removed)
FOLDING = Folding(REGISTRY, {"shelf": Shelf})


def found(store: EventStore, *edits: AnyEdit, at: int | None = None) -> Consequences:
    return consequences(edited(store, edits, at=at, registry=REGISTRY), FOLDING)


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    """Give a store: shelf 1 gets a and b, shelf 2 gets c; b and a are removed, and d is put."""
    with MemoryStore() as opened:
        opened.append("shelf-1", [Put(key="a"), Put(key="b")])
        opened.append("shelf-2", [Put(key="c")])
        opened.append("shelf-1", [Removed(key="b"), Removed(key="a"), Put(key="d")])
        yield opened


def told(result: Consequences) -> list[tuple[Any, ...]]:
    return [
        (one.type, one.base_position, one.base_version, one.position, one.version, one.became)
        for one in result.events
    ]


def test_each_event_of_the_streams_that_are_edited_is_told(store: MemoryStore) -> None:
    result = found(store, Edit(2, {"key": "a"}), Move(6, after=2))
    assert told(result) == [
        ("Put", 2, 2, 2, 2, "edited"),
        ("Put", 6, 5, 3, 3, "moved"),
        ("Removed", 4, 3, 5, 4, "cannot be applied"),
        ("Removed", 5, 4, 6, 5, "cannot be applied"),
    ]
    assert [one.error for one in result.events] == [
        None,
        None,
        "KeyError: 'b'",
        "not applied: version 4 cannot be",
    ]
    assert result.counts == {"edited": 1, "moved": 1, "cannot be applied": 2}
    assert [one.position for one in result.broken] == [5, 6]
    (shelf,) = result.streams
    assert (shelf.stream_id, shelf.base_version, shelf.version) == ("shelf-1", 5, 5)
    # As it was before what cannot be applied.
    assert [str(change) for change in shelf.changes] == [
        "+ goods[0]: 'a'",
        "~ removals: 2 -> 0",
    ]


def test_what_stands_before_the_first_edit_is_not_told(store: MemoryStore) -> None:
    result = found(store, Skip(6), Insert(6, "shelf-3", Put(key="e")))
    assert told(result) == [
        ("Put", 6, 5, None, None, "skipped"),
        ("Put", None, None, 6, 1, "inserted"),
    ]
    assert [one.stream_id for one in result.streams] == ["shelf-1", "shelf-3"]


def test_a_stream_that_is_not_edited_is_only_pushed_along(store: MemoryStore) -> None:
    assert told(found(store, Insert(2, "shelf-2", Put(key="e")))) == [
        ("Put", None, None, 3, 1, "inserted"),
        ("Put", 3, 1, 4, 2, "renumbered"),
    ]
    same = found(store, Edit(5, {"key": "a"}))
    assert told(same) == [("Removed", 5, 4, 5, 4, "edited"), ("Put", 6, 5, 6, 5, "same")]


def test_no_edit_has_no_consequence(store: MemoryStore) -> None:
    result = found(store)
    assert (result.events, result.streams, result.counts) == ((), (), {})
    assert repr(result) == "<Consequences of 0 edits: none>"
    assert result.df.empty


def test_what_the_base_cannot_apply_either_is_no_consequence(store: MemoryStore) -> None:
    store.append("shelf-1", [Removed(key="nothing"), Put(key="f")])
    result = found(store, Skip(6))
    assert [(one.became, one.error) for one in result.events] == [
        ("skipped", None),
        ("renumbered", "KeyError: 'nothing'"),
        ("renumbered", "not applied: version 5 cannot be"),
    ]
    assert result.broken == ()
    mended = found(store, Edit(7, {"key": "d"}))
    assert [(one.became, one.error) for one in mended.events] == [("edited", None), ("same", None)]


def test_an_event_that_does_not_fit_its_class_cannot_be_applied(store: MemoryStore) -> None:
    plan = edited(store, [Insert(6, "shelf-1", NewEvent("Put", {"kye": "a"}))])
    (one,) = consequences(plan, FOLDING).events
    assert one.became == "cannot be applied"
    assert "does not fit Put" in (one.error or "")
    plan = edited(store, [Insert(6, "shelf-1", NewEvent("Nobody", {}))])
    (one,) = consequences(plan, FOLDING).events
    assert "Nobody" in (one.error or "")


def test_a_stream_that_nothing_folds_has_no_state(store: MemoryStore) -> None:
    store.append("box-1", [NewEvent("Nobody", {})])
    result = found(store, Edit(7, {"a": 1}))
    assert told(result) == [("Nobody", 7, 1, 7, 1, "edited")]
    (box,) = result.streams
    assert (box.folded, box.changes) == (False, ())


def test_deciders_are_folded_too() -> None:
    class Add(Command):
        account_id: str

    def evolve(balance: int, event: Put) -> int:
        if balance == 2:
            raise ValueError("full")
        return balance + 1

    def decide(command: Add, balance: int) -> None:
        return None

    account = Decider(decide, evolve, 0, category="account")
    with MemoryStore() as store:
        store.append("account-1", [Put(key="a"), Put(key="b")])
        plan = edited(store, [Insert(0, "account-1", Put(key="c"))])
        result = consequences(plan, Folding(REGISTRY, {"account": account}))
    assert [one.error for one in result.events] == [None, None, "ValueError: full"]
    assert result.streams[0].changes == ()


def test_a_saga_is_folded_by_what_runs_it() -> None:
    trip = Saga("trip", [Step("hotel", lambda step: None), Step("train", lambda step: None)])
    with Lab(seed=7) as lab:
        lab.start_saga(trip, "1")
        lab.run()
        (done,) = (e.position for e in lab.store.read_all(types=["SagaCompleted"]))
        folding = Folding(lab.registry, {}, lab._orchestrator)
        result = consequences(edited(lab.store, [Skip(done)]), folding)
    assert [str(change) for one in result.streams for change in one.changes] == [
        "~ status: 'COMPLETED' -> 'RUNNING'"
    ]


@pytest.mark.parametrize("make", [MemoryStore, partial(open_store, ":memory:")])
def test_what_refers_to_an_event_that_is_gone_says_so(make: Callable[[], EventStore]) -> None:
    with make() as store:
        store.append("a-1", [NewEvent("A", {}), NewEvent("A", {}), NewEvent("A", {})])
        first, second, third = (str(event.event_id) for event in store.read_all())
        for cause, correlation in ((first, first), (second, None), (third, "other"), ("b", None)):
            known = Metadata(causation_id=cause, correlation_id=correlation)
            store.append("b-1", [NewEvent("B", {}, metadata=known)])
        notes = {
            one.base_position: one.note
            for one in found(store, Skip(1), Edit(2, {"x": 1}), Move(3, after=6)).events
        }
        assert notes == {
            1: None,
            2: None,
            3: None,
            4: "its cause was skipped; what it correlates with was skipped",
            5: "its cause was edited, and has a new id",
            6: "its cause comes after it",
        }
        # What is moved before its cause, or behind it.
        (moved,) = (one for one in found(store, Move(6, after=1)).events if one.note)
        assert (moved.base_position, moved.note) == (6, "its cause comes after it")
        assert [one.note for one in found(store, Move(6, after=7)).events] == [None, None]
        assert not any(one.note for one in found(store, Move(3, after=4), Move(6, after=4)).events)
        later = found(store, Move(6, after=4), Move(3, after=4)).events
        assert [one.base_position for one in later if one.note] == [6]


KEYS = st.sampled_from("ab")
HISTORY = st.lists(
    st.tuples(st.sampled_from(["shelf-1", "shelf-2"]), st.sampled_from([Put, Removed]), KEYS),
    min_size=6,
    max_size=6,
)
EDITS = st.lists(
    st.one_of(
        st.builds(Skip, st.integers(1, 6)),
        st.builds(Edit, st.integers(1, 6), st.fixed_dictionaries({"key": KEYS})),
        st.builds(
            Insert,
            st.integers(0, 6),
            st.sampled_from(["shelf-1", "shelf-2"]),
            st.builds(Put, key=KEYS) | st.builds(Removed, key=KEYS),
        ),
        st.tuples(st.integers(1, 6), st.integers(0, 6))
        .filter(lambda pair: pair[0] != pair[1])
        .map(lambda pair: Move(*pair)),
    ),
    max_size=4,
    unique_by=lambda edit: getattr(edit, "position", object()),
)


@given(HISTORY, EDITS)
def test_the_branch_is_what_a_store_with_these_events_replays(
    history: list[tuple[str, Any, str]], edits: list[AnyEdit]
) -> None:
    with MemoryStore() as base, MemoryStore() as branch:
        for stream_id, kind, key in history:
            base.append(stream_id, [encode(kind(key=key))])
        plan = edited(base, edits)
        result = consequences(plan, FOLDING)
        for event in base.read_all(until=plan.start):
            branch.append(event.stream_id, [NewEvent(event.type, event.data)])
        for one in plan.events:
            branch.append(one.stream_id, [one.event])
        recorded = {event.position: event for event in branch.read_all(after=plan.start)}
        for row in result.events:
            if row.position is not None:
                event = recorded.pop(row.position)
                assert (event.stream_id, event.version) == (row.stream_id, row.version)
                assert event.type == row.type
        touched = {stream.stream_id for stream in result.streams}
        assert touched.isdisjoint(event.stream_id for event in recorded.values())
        for stream in result.streams:
            base_steps, branch_steps = (
                replay(store, stream.stream_id, definition=Shelf, registry=REGISTRY)
                for store in (base, branch)
            )
            failed = {step.event.version for step in branch_steps if step.error}
            before = {step.event.version for step in base_steps if step.error}
            for row in (one for one in result.events if one.stream_id == stream.stream_id):
                assert (row.error is not None) == (row.version in failed)
                broken = row.version in failed and row.base_version not in before
                assert (row.became == "cannot be applied") == broken
            last, then = (
                steps.frames[-1].state if steps.frames else steps.initial
                for steps in (base_steps, branch_steps)
            )
            assert stream.changes == tuple(changes(last, then))
