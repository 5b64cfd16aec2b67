"""Reading: one stream, all streams, both directions, filters, conditions; then at random."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eslab import (
    AppendCondition,
    AppendConditionError,
    AsOf,
    Event,
    EventStore,
    InputError,
    MemoryStore,
    NewEvent,
    Query,
    QueryItem,
    StreamAppend,
    VirtualClock,
    open_store,
)
from eslab.clock import VIRTUAL_START, SeededIds


class Placed(Event):
    """For types=, which takes classes too."""


@pytest.fixture
def filled(store: EventStore) -> EventStore:
    for number in range(1, 6):
        store.append(f"order-{number}", [NewEvent("Placed", {}, tags=(f"order:{number}", "new"))])
        store.append("stock-1", [NewEvent("Reserved", {"n": number}, tags=(f"order:{number}",))])
    return store


def positions(events: object) -> list[int]:
    return [event.position for event in events]  # type: ignore[attr-defined]


def test_one_stream(filled: EventStore) -> None:
    def versions(**options: object) -> list[int]:
        return [event.version for event in filled.read("stock-1", **options)]  # type: ignore[arg-type]

    assert versions() == [1, 2, 3, 4, 5]
    assert versions(from_version=2, to_version=4) == [2, 3, 4]
    assert versions(direction="backwards") == [5, 4, 3, 2, 1]
    assert versions(direction="backwards", limit=2) == [5, 4]
    assert versions(from_version=2, to_version=99, limit=2) == [2, 3]
    assert versions(from_version=6) == []
    assert versions(to_version=0) == []
    assert versions(limit=0) == []
    assert list(filled.read("nobody")) == []


def test_all_streams(filled: EventStore) -> None:
    read = filled.read_all
    assert positions(read()) == list(range(1, 11))
    assert positions(read(after=3, until=6)) == [4, 5, 6]
    assert positions(read(direction="backwards", limit=3)) == [10, 9, 8]
    assert positions(read(after=8, direction="backwards")) == [10, 9]
    assert positions(read(limit=2)) == [1, 2]
    assert positions(read(after=10)) == []
    assert positions(read(until=0)) == []
    assert positions(read(category="stock")) == [2, 4, 6, 8, 10]
    assert positions(read(category="stock", limit=2, direction="backwards")) == [10, 8]
    assert positions(read(types=[Placed], after=2)) == [3, 5, 7, 9]
    assert positions(read(types=["Placed", "Reserved"], limit=3)) == [1, 2, 3]
    assert positions(read(types=[])) == []


def test_queries(filled: EventStore) -> None:
    def found(*items: QueryItem) -> list[int]:
        return positions(filled.read_all(query=Query(items)))

    def item(types: set[str] = frozenset(), tags: set[str] = frozenset()) -> QueryItem:  # type: ignore[assignment]
        return QueryItem(frozenset(types), frozenset(tags))

    assert found() == []
    assert found(item()) == list(range(1, 11))
    assert found(item(tags={"order:2"})) == [3, 4]
    assert found(item(tags={"order:2", "new"})) == [3]
    assert found(item({"Reserved"}, {"order:2"})) == [4]
    assert found(item({"Reserved"}, {"order:2"}), item(tags={"order:5"})) == [4, 9, 10]
    assert found(item({"Nothing"})) == []


def test_some_streams(filled: EventStore) -> None:
    read = partial(filled.read_all, streams=["order-4", "stock-1", "nobody", "order-2", "order-4"])
    assert positions(read()) == [2, 3, 4, 6, 7, 8, 10]
    assert positions(read(direction="backwards", limit=4)) == [10, 8, 7, 6]
    assert positions(read(after=2, until=7)) == [3, 4, 6, 7]
    assert positions(read(types=["Placed"], limit=1)) == [3]
    assert positions(read(category="order")) == [3, 7]
    assert positions(read(query=Query.of(tags=["order:4"]))) == [7, 8]
    assert positions(read(as_of=AsOf(position=6))) == [2, 3, 4, 6]
    assert positions(filled.read_all(streams=iter(["order-3"]))) == [5]
    assert positions(filled.read_all(streams=["nobody"])) == []
    assert positions(filled.read_all(streams=[])) == []


def test_some_streams_are_those_of_the_call(filled: EventStore) -> None:
    reading = filled.read_all(streams=["order-5", "order-6"])
    filled.append("order-6", [NewEvent("Placed", {})])
    filled.append("order-5", [NewEvent("Paid", {})])
    assert positions(reading) == [9]
    assert positions(filled.read_all(streams=["order-5", "order-6"])) == [9, 11, 12]


def test_append_conditions(filled: EventStore) -> None:
    query = Query.of(types=["Placed"], tags=["order:3"])
    filled.append_all(
        [StreamAppend("x-1", [NewEvent("X", {})])], condition=AppendCondition(query, after=5)
    )
    with pytest.raises(AppendConditionError) as caught:
        filled.append_all(
            [StreamAppend("x-1", [NewEvent("X", {})])], condition=AppendCondition(query, after=4)
        )
    assert caught.value.position == 5
    assert filled.head() == 11


def test_what_is_read_is_the_moment_of_the_call(filled: EventStore) -> None:
    reading = filled.read_all()
    stream = filled.read("stock-1")
    filled.append("stock-1", [NewEvent("Reserved", {})])
    assert len(list(reading)) == 10
    assert len(list(stream)) == 5


def test_pages_are_seamless(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("database", "log"):
        monkeypatch.setattr(f"eslab.store.duckdb.{module}.PAGE", 3)
    store.append("s-1", [NewEvent("A", {"n": n}) for n in range(10)])
    store.append("t-1", [NewEvent("B", {})])
    assert [e.version for e in store.read("s-1")] == list(range(1, 11))
    assert [e.version for e in store.read("s-1", direction="backwards")] == list(range(10, 0, -1))
    assert [e.version for e in store.read("s-1", limit=7)] == list(range(1, 8))
    assert [e.version for e in store.read("s-1", limit=4, direction="backwards")] == [10, 9, 8, 7]
    assert positions(store.read_all()) == list(range(1, 12))
    assert positions(store.read_all(direction="backwards")) == list(range(11, 0, -1))
    assert positions(store.read_all(limit=6)) == [1, 2, 3, 4, 5, 6]
    assert positions(store.read_all(types=["B"])) == [11]
    assert positions(store.read_all(streams=["s-1"])) == list(range(1, 11))
    backwards = store.read_all(streams=["s-1"], limit=4, direction="backwards")
    assert positions(backwards) == [10, 9, 8, 7]
    assert positions(store.read_all(streams=["t-1"])) == [11]


def test_as_of_a_position_a_recorded_and_an_occurred_time(
    store: EventStore, clock: VirtualClock
) -> None:
    start = clock.now()
    hour = timedelta(hours=1)
    for number in range(4):
        happened = start - number * hour
        store.append("s-1", [NewEvent("A", {"n": number}, occurred_at=happened)])
        store.append("t-1", [NewEvent("B", {})])
        clock.advance(hour)

    def read(**as_of: object) -> tuple[list[int], list[int]]:
        moment = AsOf(**as_of)  # type: ignore[arg-type]
        return positions(store.read_all(as_of=moment)), positions(store.read("s-1", as_of=moment))

    assert read(position=3) == ([1, 2, 3], [1, 3])
    assert read(position=0) == ([], [])
    assert read(position=99) == ([1, 2, 3, 4, 5, 6, 7, 8], [1, 3, 5, 7])
    assert read(recorded=start + hour) == ([1, 2, 3, 4], [1, 3])
    assert read(recorded=start - hour) == ([], [])
    assert read(recorded=clock.now()) == (list(range(1, 9)), [1, 3, 5, 7])
    assert read(occurred=start - hour) == ([3, 5, 7], [3, 5, 7])
    assert read(occurred=start) == ([1, 2, 3, 5, 7], [1, 3, 5, 7])
    late = AsOf(occurred=start - hour)
    assert positions(store.read("s-1", as_of=late, direction="backwards", limit=2)) == [7, 5]
    assert positions(store.read_all(as_of=late, limit=1, types=["A"])) == [3]
    assert positions(store.read_all(as_of=AsOf(position=6), until=4, after=2)) == [3, 4]
    assert store.position_at(start + 2 * hour) == 6
    assert store.position_at(start - hour) == 0


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"position": 1, "recorded": VIRTUAL_START},
        {"position": -1},
        {"position": True},
        {"position": "1"},
        {"recorded": "2026"},
        {"occurred": datetime(2026, 1, 1)},  # noqa: DTZ001 - the fault
    ],
    ids=repr,
)
def test_a_moment_is_one_of_three(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        AsOf(**bad)


@pytest.mark.parametrize(
    "options",
    [
        {"direction": "sideways"},
        {"limit": -1},
        {"limit": 1.5},
        {"after": -1},
        {"until": "3"},
        {"query": "Placed"},
        {"types": "Placed"},
        {"types": Placed},
        {"streams": "order-1"},
        {"streams": ["order-1", 2]},
        {"streams": [""]},
    ],
    ids=repr,
)
def test_bad_arguments(store: EventStore, options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        store.read_all(**options)  # type: ignore[arg-type]


STREAMS = st.sampled_from(["a-1", "a-2", "b-1"])
APPENDS = st.lists(
    st.tuples(STREAMS, st.lists(st.sampled_from(["X", "Y"]), max_size=3), st.integers(0, 4)),
    max_size=4,
)


@settings(max_examples=25, deadline=None)
@given(st.lists(APPENDS, max_size=8), st.data())
def test_memory_and_duckdb_agree(
    history: list[list[tuple[str, list[str], int]]], data: st.DataObject
) -> None:
    """The reference in memory and DuckDB give the same answers to the same calls."""

    def answer(call: object) -> object:
        try:
            return call()  # type: ignore[operator]
        except Exception as error:
            return type(error), str(error)

    clock = VirtualClock()
    with (
        MemoryStore(clock=clock, ids=SeededIds(1)) as one,
        open_store(clock=clock, ids=SeededIds(1)) as two,
    ):
        for appends in history:
            items = [
                StreamAppend(s, [NewEvent(t, {"t": t}, tags=(t,)) for t in types], expected)
                for s, types, expected in appends
            ]
            assert answer(partial(one.append_all, items)) == answer(partial(two.append_all, items))
        after = data.draw(st.integers(0, 12))
        options: dict[str, object] = {
            "after": after,
            "until": data.draw(st.none() | st.integers(0, 12)),
            "types": data.draw(st.none() | st.lists(st.sampled_from(["X", "Y"]))),
            "category": data.draw(st.none() | st.sampled_from(["a", "b", "c"])),
            "streams": data.draw(st.none() | st.lists(STREAMS, max_size=2)),
            "query": data.draw(st.none() | st.just(Query.of(tags=["X"]))),
            "limit": data.draw(st.none() | st.integers(0, 5)),
            "direction": data.draw(st.sampled_from(["forwards", "backwards"])),
        }
        assert list(one.read_all(**options)) == list(two.read_all(**options))  # type: ignore[arg-type]
        for stream in ("a-1", "a-2", "b-1"):
            assert list(one.read(stream)) == list(two.read(stream))
            assert one.stream_version(stream) == two.stream_version(stream)
