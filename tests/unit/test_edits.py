"""Edits of history: what a branch holds when events are skipped, changed, inserted or moved."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eslab import (
    Edit,
    Event,
    InputError,
    Insert,
    MemoryStore,
    Metadata,
    Move,
    NewEvent,
    Skip,
    VirtualClock,
    upcasts,
)
from eslab.replay import AnyEdit, Plan, edited
from eslab.schema import EventRegistry, encode

DAY = datetime(2026, 2, 1, tzinfo=UTC)


class Priced(Event, tags=("item",)):
    item: str
    price: Decimal = Decimal(1)


@upcasts(1)
def doubled(data: dict[str, Any]) -> dict[str, Any]:
    return {"twice": 2 * data["once"]}


class Changed(Event, schema_version=2, upcasters=[doubled]):
    twice: int


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    clock = VirtualClock()
    with MemoryStore(clock=clock) as opened:
        for number in range(1, 6):
            event = NewEvent(
                "Counted",
                {"n": number},
                tags=(f"n:{number}",),
                occurred_at=DAY + timedelta(days=number),
                metadata=Metadata(actor=f"user {number}"),
            )
            opened.append(f"count-{number % 2}", [event])
            clock.advance(timedelta(minutes=1))
        yield opened


def numbers(plan: Plan) -> list[Any]:
    return [one.event.data["n"] for one in plan.events]


# A plain list is edited as the plan says it would be.

POSITIONS = st.integers(1, 8)
PLACES = st.integers(0, 8)
EDITS = st.lists(
    st.one_of(
        st.builds(Skip, POSITIONS),
        st.builds(Edit, POSITIONS, st.fixed_dictionaries({"n": st.integers(100, 199)})),
        st.builds(
            Insert,
            PLACES,
            st.sampled_from(["a-1", "b-1", "c-1"]),
            st.builds(NewEvent, st.just("N"), st.fixed_dictionaries({"n": st.integers(200, 299)})),
        ),
        st.tuples(POSITIONS, PLACES)
        .filter(lambda pair: pair[0] != pair[1])
        .map(lambda p: Move(*p)),
    ),
    max_size=6,
    unique_by=lambda edit: getattr(edit, "position", object()),
)


def as_a_list(base: list[tuple[str, int]], edits: list[AnyEdit]) -> list[tuple[str, int]]:
    """Do the same to a plain list, place by place."""
    by_position = {edit.position: edit for edit in edits if not isinstance(edit, Insert)}
    found: list[tuple[str, int]] = []
    for place in range(len(base) + 1):
        if place:
            match by_position.get(place):
                case None:
                    found.append(base[place - 1])
                case Edit(data=data):
                    found.append((base[place - 1][0], data["n"]))  # type: ignore[index]
        for edit in edits:
            match edit:
                case Insert(after=after, stream_id=stream_id, event=event) if after == place:
                    found.append((stream_id, event.data["n"]))  # type: ignore[union-attr]
                case Move(position=position, after=after) if after == place:
                    found.append(base[position - 1])
    return found


@given(EDITS, st.lists(st.sampled_from(["a-1", "b-1"]), min_size=8, max_size=8))
def test_a_plan_is_what_becomes_of_a_plain_list(edits: list[AnyEdit], streams: list[str]) -> None:
    with MemoryStore() as store:
        base = [(stream_id, number) for number, stream_id in enumerate(streams, start=1)]
        for stream_id, number in base:
            store.append(stream_id, [NewEvent("N", {"n": number})])
        plan = edited(store, edits)
        found = [(one.stream_id, one.event.data["n"]) for one in plan.events]
        assert base[: plan.start] + found == as_a_list(base, edits)
        assert plan.end == plan.start + len(found)
        moments = [one.recorded_at for one in plan.events]
        assert None not in moments
        assert moments == sorted(moments, key=str)
        for one in plan.events:
            assert (one.event.event_id is None) == (one.edit in ("edited", "inserted"))
            assert one.edit == "inserted" or one.base_position in range(1, 9)


def test_no_edit_changes_nothing(store: MemoryStore) -> None:
    plan = edited(store, [])
    assert (plan.start, plan.end, list(plan.events)) == (5, 5, [])
    assert (edited(store, [], at=2).start, edited(MemoryStore(), []).end) == (2, 0)


def test_what_is_not_edited_keeps_all_that_it_has(store: MemoryStore) -> None:
    _, _, third, fourth, fifth = store.read_all()
    plan = edited(store, [Skip(3), Move(5, after=3)])
    moved, kept = plan.events
    for one, base in ((moved, fifth), (kept, fourth)):
        event = one.event
        assert (event.event_id, event.tags, event.metadata) == (
            base.event_id,
            base.tags,
            base.metadata,
        )
        assert (event.occurred_at, one.base, one.stream_id) == (
            base.occurred_at,
            base,
            base.stream_id,
        )
    assert [one.recorded_at for one in (moved, kept)] == [third.recorded_at, fourth.recorded_at]


def test_an_edited_event_has_a_new_id_and_keeps_the_rest(store: MemoryStore) -> None:
    (one, *_) = edited(store, [Edit(3, {"more": [1]})]).events
    base = one.base
    assert base is not None
    assert one.event.event_id is None
    assert one.event.data == {"n": 3, "more": [1]}
    assert (one.event.metadata, one.event.occurred_at) == (base.metadata, base.occurred_at)
    assert (one.event.tags, one.recorded_at) == (base.tags, base.recorded_at)


def test_when_it_occurred_and_its_metadata_can_be_edited(store: MemoryStore) -> None:
    edit = Edit(3, occurred_at=DAY, metadata=Metadata(actor="Ann"))
    (one, *_) = edited(store, [edit]).events
    assert (one.event.occurred_at, one.event.metadata) == (DAY, Metadata(actor="Ann"))
    assert one.event.data == {"n": 3}


def test_an_event_can_become_another_one(store: MemoryStore) -> None:
    (one, *_) = edited(store, [Edit(5, Priced(item="tea"))], registry=EventRegistry(Priced)).events
    assert one.base is not None
    assert (one.event.type, one.event.data) == ("Priced", {"item": "tea", "price": "1"})
    assert (one.event.tags, one.event.metadata) == (("item:tea",), one.base.metadata)
    given_one = NewEvent("Other", {}, event_id=UUID(int=4), metadata=Metadata(actor="Bob"))
    (other,) = edited(store, [Edit(5, given_one)]).events
    assert (other.event.event_id, other.event.metadata.actor) == (UUID(int=4), "Bob")
    assert other.event.occurred_at == one.base.occurred_at


def test_what_is_inserted_happened_when_its_place_was_recorded(store: MemoryStore) -> None:
    first, second, *_ = store.read_all()
    plan = edited(store, [Insert(2, "count-1", NewEvent("Counted", {"n": 9}))])
    one = next(plan.events)
    assert one.recorded_at == one.event.occurred_at == second.recorded_at
    said = NewEvent("Counted", {"n": 0}, occurred_at=DAY)
    one = next(edited(store, [Insert(0, "count-1", said)]).events)
    assert (one.recorded_at, one.event.occurred_at) == (first.recorded_at, DAY)
    with MemoryStore() as empty:
        one = next(edited(empty, [Insert(0, "count-1", NewEvent("Counted", {}))]).events)
    assert (one.recorded_at, one.event.occurred_at, one.base_position) == (None, None, None)


def test_what_was_recorded_later_is_not_looked_at(store: MemoryStore) -> None:
    plan = edited(store, [Skip(2)], at=3)
    assert numbers(plan) == [3]
    assert (plan.at, plan.end) == (3, 2)


def test_fields_are_those_of_the_class_of_today(store: MemoryStore) -> None:
    store.append("old-1", [NewEvent("Changed", {"once": 4})])
    store.append("price-1", [encode(Priced(item="tea"))])
    registry = EventRegistry(Changed, Priced)
    changed, priced = edited(
        store, [Edit(6, {"twice": 3}), Edit(7, {"price": Decimal("2.50")})], registry=registry
    ).events
    assert (changed.event.data, changed.event.schema_version) == ({"twice": 3}, 2)
    assert priced.event.data == {"item": "tea", "price": "2.50"}
    assert priced.event.tags == ("item:tea",)
    (renamed,) = edited(store, [Edit(7, {"item": "milk"})], registry=registry).events
    assert renamed.event.tags == ("item:milk",)


def test_tags_that_its_class_does_not_declare_are_kept(store: MemoryStore) -> None:
    store.append("old-1", [NewEvent("Changed", {"twice": 4}, tags=("own",), schema_version=2)])
    (one,) = edited(store, [Edit(6, {"twice": 3})], registry=EventRegistry(Changed)).events
    assert one.event.tags == ("own",)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda: Skip(0), "a whole number from 1, not 0"),
        (lambda: Skip(True), "not True"),
        (lambda: Skip("7"), "not '7'"),
        (lambda: Edit(7), r"Edit\(7\) changes nothing"),
        (lambda: Edit(7, [1]), r"not \[1\]"),
        (lambda: Edit(7, {"a": 1}, metadata={}), "metadata is Metadata"),
        (lambda: Edit(7, occurred_at=DAY.replace(tzinfo=None)), "occurred_at"),
        (lambda: Insert(-1, "a-1", NewEvent("A", {})), "a whole number from 0, not -1"),
        (lambda: Insert(0, "", NewEvent("A", {})), "must not be empty"),
        (lambda: Move(3, after=3), "its own place"),
        (lambda: Move(3, after=2.0), "not 2.0"),
    ],
)
def test_an_edit_that_cannot_be_is_refused_when_it_is_made(edit: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        edit()


@pytest.mark.parametrize(
    ("edits", "at", "said"),
    [
        ([Skip(6)], None, "no position 6: the base has the positions 1 to 5"),
        ([Skip(4)], 3, "no position 4: the base has the positions 1 to 3"),
        ([Insert(6, "a-1", NewEvent("A", {}))], None, "no after 6"),
        ([Move(1, after=6)], None, "no after 6"),
        ([Skip(1)], 0, "the base has no event"),
        ([], 6, "a position from 0 to 5, the last one here, not 6"),
        ([], True, "not True"),
        (["Skip(1)"], None, "an edit is Skip"),
        ([Skip(2), Edit(2, {"n": 1})], None, r"position 2 is named by 2 edits.*Skip.*Edit"),
        ([Edit(2, {"n": 0.1}), Edit(2, {"n": 1})], None, "named by 2 edits"),
        ([Edit(2, {"n": float("nan")})], None, "NaN"),
        ([Edit(2, {"n": object()})], None, "not a JSON value"),
        ([Edit(2, {3: 1})], None, "keys must be strings"),
        ([Insert(2, "a-1", NewEvent("A", {"x": {1}}))], None, r"Insert\(after=2\) into 'a-1'"),
        ([Insert(2, "a-1", "A")], None, r"Insert\(after=2\) into 'a-1'.*str"),
        ([Insert(2, "a-1", NewEvent("Priced", {}))], None, "item: Field required"),
        ([Edit(6, {"price": "dear"})], None, r"does not fit Priced: price: .*'dear' \(its fields"),
        ([Edit(6, {"colour": "red"})], None, "colour: Extra inputs.*its fields: item, price"),
        ([Edit(6, NewEvent("Priced", {"item": 3}))], None, "item: .*found 3"),
        ([Edit(6, NewEvent("Priced", {}, schema_version=9))], None, "Priced"),
    ],
)
def test_edits_that_the_base_does_not_have_are_refused(
    store: MemoryStore, edits: list[Any], at: Any, said: str
) -> None:
    if any(getattr(edit, "position", 0) == 6 for edit in edits if isinstance(edit, Edit)):
        store.append("price-1", [encode(Priced(item="tea"))])
    with pytest.raises(InputError, match=said):
        edited(store, edits, at=at, registry=EventRegistry(Priced))


def test_an_id_that_is_taken_is_refused(store: MemoryStore) -> None:
    third = next(store.read_all(after=2))
    taken = NewEvent("Counted", {"n": 3}, event_id=third.event_id)
    with pytest.raises(InputError, match="is that of <Counted count-1 v2 @3>"):
        edited(store, [Insert(5, "count-1", taken)])
    with pytest.raises(InputError, match="is that of"):
        edited(store, [Edit(2, taken)])
    # Where the branch ends before it, it is free.
    one = next(edited(store, [Insert(2, "count-1", taken)], at=2).events)
    assert one.event.event_id == third.event_id


def test_an_id_that_two_edits_give_is_refused(store: MemoryStore) -> None:
    twice = NewEvent("Counted", {"n": 3}, event_id=UUID(int=1))
    with pytest.raises(InputError, match="two edits give the id 00000000-0000-0000-0000-00000000"):
        edited(store, [Insert(2, "count-1", twice), Edit(4, twice)])


def test_data_of_a_type_that_is_not_registered_is_not_checked(store: MemoryStore) -> None:
    (one, *_) = edited(store, [Insert(5, "price-1", NewEvent("Priced", {"anything": 1}))]).events
    assert one.event.data == {"anything": 1}
