"""Replay: the state of the real handlers after each event, and what changed in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eslab import DomainError, Event, Lab, MemoryStore, NewEvent, Saga, StepContext, applies
from eslab import Step as SagaStep
from eslab.aggregates import Aggregate, Repository
from eslab.errors import InputError
from eslab.replay import Replay, following, replay, replay_events
from eslab.replay import steps as steps_module
from eslab.replay.changes import Change, Mirror, changes, path_keys, path_text
from eslab.schema import EventRegistry, encode


class Put(Event):
    key: str
    value: int


class Removed(Event):
    key: str


class Shelf(Aggregate, snapshot_every=2):
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


def put(store: MemoryStore, *keys: str, stream_id: str = "shelf-1") -> None:
    events = [encode(Put(key=key, value=number)) for number, key in enumerate(keys, 1)]
    store.append(stream_id, events)


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
            assert frame.digest == Mirror(frame.state).digest
            before = frame.state


@given(st.lists(KEYS, min_size=1, max_size=12), st.lists(st.integers(1, 12), max_size=12))
def test_states_are_the_same_on_every_way_to_them(keys: list[str], ways: list[int]) -> None:
    with MemoryStore() as store:
        put(store, *keys)
        straight = [frame.state for frame in shown(store)]
        frames = shown(store)
        for version in [min(way, len(keys)) for way in ways]:
            assert frames[version].state == straight[version - 1]


# What differs.

JSON = st.recursive(
    st.none() | st.integers(2, 5) | st.sampled_from("xy"),
    lambda inner: (
        st.dictionaries(st.sampled_from(["a", "b", "c.d", ""]), inner, max_size=3)
        | st.lists(inner, max_size=4)
    ),
    max_leaves=12,
)
STATES = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


@given(STATES, STATES)
def test_changes_lead_from_one_state_to_the_other_and_back(before: Any, after: Any) -> None:
    mirror = Mirror(before)
    found = list(changes(before, after))
    for change in found:
        mirror.apply(change)
        assert change.mark in "+-~"
    assert mirror.state == after
    assert mirror.digest == Mirror(after).digest
    assert (mirror.digest == Mirror(before).digest) == (before == after)
    for change in reversed(found):
        mirror.apply(change.undone())
    assert mirror.state == before
    assert mirror.digest == Mirror(before).digest


def test_what_is_put_into_a_list_or_taken_out_of_it_is_one_change() -> None:
    def told(before: list[int], after: list[int]) -> list[str]:
        return [str(change) for change in changes({"q": before}, {"q": after})]

    assert told([1, 2, 3], [1, 2, 3, 4]) == ["+ q[3]: 4"]
    assert told([1, 2, 3], [2, 3]) == ["- q[0]: 1"]
    assert told([1, 2, 3], [1, 9, 2, 3]) == ["+ q[1]: 9"]
    assert told([1, 2, 3], [1, 9, 3]) == ["~ q[1]: 2 -> 9"]
    assert told([*range(1000)], [*range(999), 7]) == ["~ q[999]: 999 -> 7"]


@given(st.lists(st.text(min_size=1) | st.integers(0, 99), min_size=1))
def test_a_path_is_read_as_it_was_written(keys: list[str | int]) -> None:
    assert path_keys(path_text(keys)) == tuple(keys)


@pytest.mark.parametrize("path", ["", "a..b", "a[", "a[x]", "[", 3])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(InputError, match="a path is such as"):
        path_keys(path)


# Large states, which are watched.


class Step(Event):
    what: str
    key: str
    n: int


class Everything(Aggregate, category="shelf"):
    """Changes its state in every way that handlers know."""

    total: int = 0
    goods: dict[str, Any] = {}  # noqa: RUF012
    queue: list[Any] = []  # noqa: RUF012
    seen: set[str] = set()  # noqa: RUF012
    label: str | None = None

    @applies
    def step(self, event: Step) -> None:
        self.total += event.n
        getattr(self, f"do_{event.what}")(event.key, event.n)

    def do_put(self, key: str, n: int) -> None:
        self.goods[key] = n

    def do_nest(self, key: str, n: int) -> None:
        line = {}
        self.goods[key] = line
        line["n"] = [n]

    def do_deep(self, key: str, n: int) -> None:
        held = self.goods.get(key)
        if isinstance(held, dict):
            held["n"].append(n)

    def do_all(self, key: str, n: int) -> None:
        for held in self.goods.values():
            if isinstance(held, dict):
                held["all"] = n

    def do_drop(self, key: str, n: int) -> None:
        self.goods.pop(key, None)

    def do_fresh(self, key: str, n: int) -> None:
        self.goods = {**self.goods, key: [n]}

    def do_push(self, key: str, n: int) -> None:
        self.queue.append({"key": key})

    def do_edit(self, key: str, n: int) -> None:
        for held in self.queue:
            held["n"] = n

    def do_first(self, key: str, n: int) -> None:
        if self.queue:
            self.queue.pop(0)

    def do_last(self, key: str, n: int) -> None:
        if self.queue:
            self.queue.pop()
            self.queue.append({"last": n})

    def do_slice(self, key: str, n: int) -> None:
        self.queue[n:] = []

    def do_share(self, key: str, n: int) -> None:
        self.queue.append(self.goods)
        self.queue[-1] = dict(self.queue[-1])

    def do_see(self, key: str, n: int) -> None:
        self.seen.add(key)

    def do_forget(self, key: str, n: int) -> None:
        self.seen -= {key}

    def do_label(self, key: str, n: int) -> None:
        self.label = key or None


WAYS = [name.removeprefix("do_") for name in vars(Everything) if name.startswith("do_")]
WAYS.remove("share")  # watching misses what is changed at another place: see below
STEPS = st.tuples(st.sampled_from(WAYS), st.sampled_from("abc"), st.integers(0, 2))


@given(st.lists(STEPS, max_size=25))
def test_watching_a_state_finds_what_looking_at_all_of_it_does(
    steps: list[tuple[str, str, int]],
) -> None:
    with MemoryStore() as store, pytest.MonkeyPatch.context() as patch:
        # Nothing may be missed here: then everything would be looked at, and prove nothing.
        patch.setattr(steps_module, "MissedChangeError", ZeroDivisionError)
        events = [encode(Step(what=what, key=key, n=n)) for what, key, n in steps]
        store.append("shelf-1", events)
        registry = EventRegistry(Step)
        plain = replay(store, "shelf-1", definition=Everything, registry=registry)
        patch.setattr(following, "LARGE", 0)
        watched = replay(store, "shelf-1", definition=Everything, registry=registry)
        assert [frame.changes for frame in watched] == [frame.changes for frame in plain]
        assert [frame.digest for frame in watched] == [frame.digest for frame in plain]
        assert [frame.state for frame in watched] == [frame.state for frame in plain]


class Sly(Aggregate, category="shelf"):
    """Does what watching cannot see, or does something else when it is watched."""

    goods: dict[str, Any] = {}  # noqa: RUF012
    others: list[Any] = []  # noqa: RUF012

    @applies
    def put(self, event: Put) -> None:
        if event.key == "alias":
            self.others.append(self.goods)
        if event.key == "kind":
            self.others.append("plain" if type(self.goods) is dict else "watched")
        dict.__setitem__(self.goods, event.key, event.value)


@pytest.mark.parametrize("key", ["alias", "kind", "hidden"])
def test_where_watching_misses_something_everything_is_looked_at(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    put(store, "a", "b", key, "c")
    monkeypatch.setattr(following, "LARGE", 0)
    frames = shown(store, Sly)
    repository = Repository(store, EventRegistry())
    for version, frame in enumerate(frames, 1):
        state = repository.load(Sly, "1", version=version).state
        assert frame.state == following.state_of(repository.load(Sly, "1", version=version))
        assert frame.state["goods"].keys() == state["goods"].keys()
        assert "watched" not in frame.state["others"]


def test_what_stands_at_two_places_of_a_state_changes_at_both(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = ("nest", "share", "deep")
    store.append("shelf-1", [encode(Step(what=way, key="c", n=0)) for way in ways])
    monkeypatch.setattr(following, "LARGE", 0)
    frames = replay(store, "shelf-1", definition=Everything, registry=EventRegistry(Step))
    assert [change.path for change in frames[3].changes] == ["goods.c.n[1]", "queue[0].c.n[1]"]


def test_a_growing_state_is_seldom_looked_at_as_a_whole(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    plain = following.state_of
    monkeypatch.setattr(following, "state_of", lambda held: looks.append(1) or plain(held))
    put(store, *(f"k{number}" for number in range(3_000)))
    frames = shown(store)
    assert len(frames[3_000].state["goods"]) == 3_000
    assert len(looks) < 250


# What cannot be applied.


def test_an_event_that_cannot_be_applied_is_shown_with_its_error(store: MemoryStore) -> None:
    put(store, "a")
    store.append("shelf-1", [encode(Removed(key="b"))])
    put(store, "c")
    frames = shown(store)
    assert [frame.error for frame in frames] == [
        None,
        "KeyError: 'b'",
        "not applied: version 2 failed",
    ]
    assert frames[1].state == frames[2].state == frames[3].state
    assert frames[3].changes == ()
    assert frames.first(lambda shelf: "c" in shelf.goods) is None


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


def test_a_value_that_json_has_no_word_for_is_shown_by_its_type(store: MemoryStore) -> None:
    class Odd(Aggregate, category="shelf"):
        thing: Any = None

        @applies
        def put(self, event: Put) -> None:
            self.thing = store

    put(store, "a")
    (frame,) = shown(store, Odd)
    assert (frame.state, frame.error) == ({"thing": "<MemoryStore>"}, None)


def test_versions_outside_the_stream(store: MemoryStore) -> None:
    assert len(shown(store)) == 0
    put(store, "a")
    for version in (0, 2, -1):
        with pytest.raises(IndexError, match="versions 1 to 1"):
            shown(store)[version]
    assert str(shown(store)[1].changes[0]) == "+ goods.a: 1"


# What is asked of it.


def test_the_first_frame_at_which_something_holds(store: MemoryStore) -> None:
    put(store, "a", "b", "a", "c")
    frames = shown(store)
    asked: list[int] = []

    def has_b(shelf: Shelf) -> bool:
        asked.append(shelf.version)
        return "b" in shelf.goods

    assert frames.first(has_b) is frames[2]
    assert asked == [1, 2]
    assert frames.first(lambda shelf, event: shelf.goods and event.data["value"] == 3) is frames[3]
    assert frames.first(lambda shelf: len(shelf.goods) > 9) is None


def test_breakpoints_are_where_something_begins_to_hold(store: MemoryStore) -> None:
    put(store, "a", "b", "a", "a", "b")
    last_is_a = [1, 3]
    assert list(shown(store).breakpoints(lambda _, event: event.data["key"] == "a")) == last_is_a


def test_a_predicate_that_raises_is_reported_with_the_version(store: MemoryStore) -> None:
    put(store, "a", "b")
    with pytest.raises(InputError, match=r"KeyError: 'a' at version 2 \(<Put shelf-1 v2 @2>\)"):
        shown(store).first(
            lambda shelf: {1: False}[len(shelf.goods)] if shelf.version < 2 else {}["a"]
        )
    for wrong in (3, lambda: True, lambda a, b, c: True):
        with pytest.raises(InputError, match="a predicate is a function"):
            shown(store).first(wrong)


def test_two_versions_are_compared_in_both_directions(store: MemoryStore) -> None:
    put(store, "a", "b", "a")
    frames = shown(store)
    assert [str(change) for change in frames.compare(1, 3)] == [
        "~ goods.a: 1 -> 3",
        "+ goods.b: 2",
        "+ seen[1]: 'b'",
    ]
    assert [change.mark for change in frames.compare(3, 1)] == ["~", "-", "-"]
    assert frames.compare(2, 2) == ()


def test_the_values_at_a_path(store: MemoryStore) -> None:
    put(store, "a", "b", "a")
    assert shown(store).values("goods.a") == [1, 1, 3]
    assert shown(store).values("seen[1]") == [None, "b", "b"]
    assert shown(store).values("nothing.there") == [None] * 3


def test_snapshots_are_known(store: MemoryStore) -> None:
    repository = Repository(store, EventRegistry())
    for key in "abcd":
        shelf = repository.find(Shelf, "1")
        shelf.record(Put(key=key, value=1))
        repository.save(shelf)
    assert shown(store).snapshots == (2, 4)


# Several streams.


def several(store: MemoryStore, *positions: int) -> Replay:
    return replay_events(
        store.read_all(),
        shown=positions,
        title="some",
        definitions={"shelf": Shelf},
        registry=EventRegistry(Put, Removed),
    )


def test_each_stream_has_its_own_state(store: MemoryStore) -> None:
    put(store, "a")
    put(store, "b", stream_id="shelf-2")
    put(store, "c")
    store.append("note-1", [NewEvent("Nobody", {})])
    frames = several(store, 1, 2, 3, 4)
    assert [frame.number for frame in frames] == [1, 2, 3, 4]
    assert [frame.previous for frame in frames] == [0, 0, 1, 0]
    assert [list(frame.state.get("goods", ())) for frame in frames] == [
        ["a"],
        ["b"],
        ["a", "c"],
        [],
    ]
    assert frames[1].states.keys() == {"shelf-1"}
    assert frames[4].states.keys() == {"shelf-1", "shelf-2", "note-1"}
    assert frames.compare(1, 2)[0].path == "shelf-2"


def test_events_that_are_not_shown_are_folded_all_the_same(store: MemoryStore) -> None:
    put(store, "a", "b", "c", "d")
    store.append("shelf-1", [encode(Removed(key="x"))])
    put(store, "e")
    whole = shown(store)
    frames = several(store, 2, 4, 6)
    assert [frame.state for frame in frames] == [whole[n].state for n in (2, 4, 6)]
    assert [frame.changes for frame in frames] == [whole[n].changes for n in (2, 4, 6)]
    assert [frame.error for frame in frames] == [None, None, "not applied: version 5 failed"]
    assert [str(change) for change in frames[2].between] == ["+ goods.c: 3", "+ seen[2]: 'c'"]
    assert frames[1].state == whole[2].state
    assert frames.first(lambda shelf: "c" in shelf.goods) is frames[2]
    assert frames.breakpoints(lambda shelf: "e" in shelf.goods) == ()


def test_a_lab_replays_what_a_query_gives() -> None:
    with Lab(seed=7) as lab:
        lab.register(Shelf)
        for number in range(4):
            lab.append(f"shelf-{number % 2}", [Put(key=f"k{number}", value=number)])
        lab.append("shelf-0", [Removed(key="k0")])
        lab.store.append("other-1", [NewEvent("Nobody", {})])
        everything = lab.replay()
        assert len(everything.replay) == 6
        some = lab.replay(category="shelf", types=[Put], after=1, until=4)
        assert [frame.event.position for frame in some.replay] == [2, 3, 4]
        assert some.replay[2].state["goods"] == {"k0": 0, "k2": 2}
        one = lab.replay(streams=["shelf-1", "nobody-1"])
        assert [frame.event.stream_id for frame in one.replay] == ["shelf-1"] * 2
        for player in (everything, some, one):
            assert lab.sql(player.sql).df()["position"].tolist() == player.df["position"].tolist()
        none = lab.replay(category="nothing")
        assert none.digest == "StreamPlayer(category nothing no events)"


def test_a_lab_replays_a_conversation() -> None:
    from eslab import Metadata

    with Lab(seed=7) as lab:
        lab.append("shelf-1", [Put(key="a", value=1)], metadata=Metadata(correlation_id="c"))
        lab.append("shelf-1", [Put(key="b", value=1)], metadata=Metadata(correlation_id="d"))
        assert len(lab.replay(correlation_id="c").replay) == 1
        with pytest.raises(InputError, match="not both"):
            lab.replay("shelf-1", correlation_id="c")
        with pytest.raises(InputError, match="that is 2 events"):
            lab.replay(category="shelf", limit=1)
        with pytest.raises(InputError, match="has 2 events"):
            lab.replay("shelf-1", limit=1)
        with pytest.raises(InputError, match="after is a position"):
            lab.replay(after=-1)
        with pytest.raises(InputError, match="a list of stream ids"):
            lab.replay(streams="shelf-1")


def test_a_saga_is_replayed_by_what_runs_it() -> None:
    def full(step: StepContext) -> None:
        raise DomainError("the train is full")

    trip = Saga(
        "trip", [SagaStep("hotel", lambda _: None, lambda _: None), SagaStep("train", full)]
    )
    with Lab(seed=7) as lab:
        lab.start_saga(trip, "1")
        lab.run()
        player = lab.replay("saga-trip-1")
        failed = player.first(lambda state: state.failed_step is not None)
        assert failed is not None
        assert failed.event.type == "StepFailed"
        states = [frame.state for frame in player.replay]
        assert states[-1]["status"] == "COMPENSATED"
        assert states[-1]["compensated"] == ["hotel"]


def test_a_frame_says_what_happened_in_it(store: MemoryStore) -> None:
    put(store, "a")
    store.append("shelf-1", [encode(Removed(key="b"))])
    frames = shown(store)
    assert repr(frames[1]) == "<frame 1: Put shelf-1 v1: + goods.a: 1, + seen[0]: 'a'>"
    assert repr(frames[2]).startswith("<frame 2: Removed shelf-1 v2: not applied: ")


def test_a_change_says_what_it_is() -> None:
    assert str(Change(("a", 0), "set", 1, 2)) == "~ a[0]: 1 -> 2"
    assert Change(("a",), "set", None, 2).mark == "+"
    assert Change(("a",), "set", 2, None).mark == "-"
