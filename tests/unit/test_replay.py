"""Replay: the state of the real handlers after each event, and what changed in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eslab import Event, MemoryStore, NewEvent, applies
from eslab.aggregates import Aggregate, Repository
from eslab.replay import Replay, replay
from eslab.replay.steps import Change, changes
from eslab.schema import EventRegistry, encode


class Put(Event):
    key: str
    value: int


class Removed(Event):
    key: str


class Shelf(Aggregate):
    goods: dict[str, int] = {}  # noqa: RUF012 - copied for each instance
    seen: set[str] = set()  # noqa: RUF012

    @applies
    def put(self, event: Put) -> None:
        self.goods[event.key] = event.value
        self.seen.add(event.key)

    @applies
    def removed(self, event: Removed) -> None:
        del self.goods[event.key]


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    with MemoryStore() as opened:
        yield opened


def shown(store: MemoryStore, cls: type[Aggregate] | None = Shelf) -> Replay:
    return replay(store, "shelf-1", definition=cls, registry=EventRegistry(Put, Removed))


KEYS = st.sampled_from("abc")


@given(st.lists(st.tuples(KEYS, st.integers(0, 3) | st.none())))
def test_each_frame_is_the_aggregate_at_that_version(history: list[tuple[str, int | None]]) -> None:
    with MemoryStore() as store:
        held: set[str] = set()
        for key, value in history:
            if value is not None:
                store.append("shelf-1", [encode(Put(key=key, value=value))])
                held.add(key)
            elif key in held:
                store.append("shelf-1", [encode(Removed(key=key))])
                held.remove(key)
        repository = Repository(store, EventRegistry())
        frames = shown(store)
        before = frames.initial
        assert len(frames) == store.stream_version("shelf-1")
        for version, frame in enumerate(frames, start=1):
            aggregate = repository.load(Shelf, "1", version=version)
            assert frame is frames[version]
            assert frame.error is None
            assert frame.state == {"goods": aggregate.goods, "seen": sorted(aggregate.seen)}
            assert frame.changes == tuple(changes(before, frame.state))
            before = frame.state


JSON = st.recursive(
    st.none() | st.integers(0, 3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)
STATES = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


@given(STATES, STATES)
def test_changes_lead_from_one_state_to_the_other(before: Any, after: Any) -> None:
    def set_path(state: Any, change: Change) -> None:
        *way, last = change.path.split(".")
        for key in way:
            state = state[key]
        missing = {"+": change.before, "-": change.after}
        if change.mark in missing:
            assert missing[change.mark] is None
        else:
            assert None not in (change.before, change.after)
        assert state.get(last) == change.before
        state[last] = change.after

    def told(state: Any) -> Any:
        """Return the state without what is null in it: nothing is there."""
        if not isinstance(state, dict):
            return state
        return {key: told(inner) for key, inner in state.items() if inner is not None}

    found = list(changes(before, after))
    for change in found:
        set_path(before, change)
    assert told(before) == told(after)
    assert [change.path for change in found] == sorted(change.path for change in found)


def test_an_event_that_cannot_be_applied_is_shown_with_its_error(store: MemoryStore) -> None:
    store.append("shelf-1", [encode(Put(key="a", value=1)), encode(Removed(key="b"))])
    store.append("shelf-1", [encode(Put(key="c", value=1))])
    frames = shown(store)
    assert [frame.error for frame in frames] == [
        None,
        "KeyError: 'b'",
        "not applied: version 2 failed",
    ]
    assert frames[1].state == frames[2].state == frames[3].state
    assert frames[3].changes == ()


@pytest.mark.parametrize(
    ("event", "error"),
    [(NewEvent("Nobody", {}), "Nobody"), (NewEvent("Put", {"key": 1}), "does not fit")],
    ids=["unknown type", "other data"],
)
def test_an_event_that_cannot_be_read_is_shown_with_its_error(
    store: MemoryStore, event: NewEvent, error: str
) -> None:
    store.append("shelf-1", [event])
    (frame,) = shown(store)
    assert frame.error is not None
    assert error in frame.error
    assert frame.event.data == event.data


def test_without_an_aggregate_the_state_is_empty(store: MemoryStore) -> None:
    store.append("shelf-1", [NewEvent("Nobody", {})])
    (frame,) = shown(store, None)
    assert (frame.state, frame.error, frame.changes) == ({}, None, ())


def test_versions_outside_the_stream(store: MemoryStore) -> None:
    assert len(shown(store)) == 0
    store.append("shelf-1", [encode(Put(key="a", value=1))])
    for version in (0, 2, -1):
        with pytest.raises(IndexError, match="versions 1 to 1"):
            shown(store)[version]
    assert str(shown(store)[1].changes[0]) == "+ goods.a: 1"
