"""Appending again with the same event ids: the original answer, or a clear refusal."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from eslab import (
    NO_STREAM,
    AppendCondition,
    AppendResult,
    EventStore,
    IdempotencyError,
    InputError,
    MemoryStore,
    Metadata,
    NewEvent,
    PartialDuplicateError,
    Query,
    StoreClosedError,
    StreamAppend,
    VirtualClock,
)
from eslab.clock import SeededIds

IDS = [uuid.UUID(int=number) for number in range(1, 10)]


def event(id: int, **data: object) -> NewEvent:
    return NewEvent("A", data, IDS[id])


def test_a_repeated_append_gives_the_original_result(
    store: EventStore, clock: VirtualClock
) -> None:
    original = store.append("s-1", [event(0, x=1), event(1, x=2)], expected_version=NO_STREAM)
    store.append("s-1", [NewEvent("B", {})])
    clock.advance(timedelta(seconds=1))
    again = NewEvent("A", {"x": 1}, IDS[0], metadata=Metadata(actor="another"))
    repeated = store.append("s-1", [again, event(1, x=2)], expected_version=NO_STREAM)
    assert repeated == AppendResult("s-1", original.version, original.position, duplicate=True)
    assert store.head() == 3


def test_ids_are_checked_before_expectations_and_conditions(store: EventStore) -> None:
    store.append("s-1", [event(0)])
    failing = AppendCondition(Query.of(types=["A"]), after=0)
    (result,) = store.append_all([StreamAppend("s-1", [event(0)], 99)], condition=failing)
    assert result.duplicate


def test_a_part_of_it_again_is_refused(store: EventStore) -> None:
    store.append("s-1", [event(0)])
    for events in ([event(0), event(1)], [event(0), NewEvent("A", {})]):
        with pytest.raises(PartialDuplicateError, match="position 1"):
            store.append("s-1", events)
    assert store.head() == 1


@pytest.mark.parametrize(
    "other",
    [
        NewEvent("A", {"x": 2}, IDS[0]),
        NewEvent("B", {"x": 1}, IDS[0]),
        NewEvent("A", {"x": 1}, IDS[0], schema_version=2),
    ],
    ids=["data", "type", "schema version"],
)
def test_an_id_with_other_content_is_refused(store: EventStore, other: NewEvent) -> None:
    store.append("s-1", [event(0, x=1)])
    with pytest.raises(IdempotencyError, match="other content"):
        store.append("s-1", [other])


def test_an_id_in_another_place_is_refused(store: EventStore) -> None:
    store.append("s-1", [event(0), event(1), NewEvent("A", {}), event(2)])
    with pytest.raises(IdempotencyError, match="stream 's-1'"):
        store.append("s-2", [event(0)])
    with pytest.raises(IdempotencyError, match="order"):
        store.append("s-1", [event(1), event(0)])
    with pytest.raises(IdempotencyError, match="order"):
        store.append("s-1", [event(1), event(2)])
    assert store.head() == 4


def test_an_id_twice_in_one_append_is_refused(store: EventStore) -> None:
    with pytest.raises(IdempotencyError, match="two events"):
        store.append_all([StreamAppend("s-1", [event(0)]), StreamAppend("s-2", [event(0)])])
    assert store.head() == 0


def test_events_without_ids_are_always_new(store: EventStore) -> None:
    for _ in range(2):
        assert not store.append("s-1", [NewEvent("A", {})]).duplicate
    first, second = store.read("s-1")
    assert first.event_id != second.event_id


def test_several_streams_again(store: EventStore) -> None:
    appends = [StreamAppend("a-1", [event(0)]), StreamAppend("b-1", [event(1), event(2)])]
    original = store.append_all(appends)
    again = store.append_all(appends)
    assert [(r.version, r.position) for r in again] == [(r.version, r.position) for r in original]
    assert all(result.duplicate for result in again)


def test_an_import_skips_what_is_there_and_refuses_what_differs(store: EventStore) -> None:
    pairs = [(f"s-{number}", event(number, n=number)) for number in range(6)]
    first = store.import_events(pairs[:3], batch=2, progress=False)
    assert (first.events, first.duplicates, first.position) == (3, 0, 3)
    again = store.import_events(pairs, batch=4, progress=False)
    assert (again.events, again.duplicates, again.position) == (3, 3, 6)
    assert [e.stream_id for e in store.read_all()] == [stream for stream, _ in pairs]
    with pytest.raises(IdempotencyError):
        store.import_events([("s-9", event(8)), ("s-0", event(0, n=99))], progress=False)
    assert store.head() == 6


def test_an_import_that_fails_keeps_the_batches_before(store: EventStore) -> None:
    def source() -> object:
        for number in range(5):
            yield f"s-{number}", event(number)
        raise RuntimeError("the disk of somebody else")

    with pytest.raises(RuntimeError):
        store.import_events(source(), batch=2, progress=False)  # type: ignore[arg-type]
    assert store.head() == 4


def test_an_id_that_was_minted_is_known_too(store: EventStore) -> None:
    store.append("s-1", [NewEvent("A", {"n": 1}), NewEvent("A", {"n": 2})])
    first, second = store.read("s-1")
    again = [NewEvent("A", dict(e.data), e.event_id) for e in (first, second)]
    assert store.append("s-1", again) == AppendResult("s-1", 2, 2, duplicate=True)
    with pytest.raises(IdempotencyError):
        store.append("s-2", again)
    unused = uuid.UUID(int=second.event_id.int ^ 1)  # it says the same position, and is another
    assert store.append("s-1", [NewEvent("A", {}, unused)]).position == 3
    assert store.append("s-1", [NewEvent("A", {}, unused)]).duplicate


def test_a_log_can_be_imported_elsewhere_and_again(store: EventStore, clock: VirtualClock) -> None:
    """Minted ids come along as given ones, at other positions than they say."""
    with MemoryStore(clock=clock, ids=SeededIds(8)) as other:
        other.append_all([StreamAppend(f"o-{n % 2}", [NewEvent("A", {"n": n})]) for n in range(5)])
        pairs = [
            (e.stream_id, NewEvent(e.type, dict(e.data), e.event_id)) for e in other.read_all()
        ]
    store.append("s-1", [NewEvent("A", {}), NewEvent("A", {})])
    assert store.import_events(pairs, progress=False).events == 5
    assert store.import_events(pairs, progress=False).duplicates == 5
    (result,) = store.append_all([StreamAppend("o-0", [pairs[0][1]])])
    assert (result.duplicate, result.position) == (True, 3)
    assert store.verify().ok


def test_an_id_that_the_store_would_mint_elsewhere_is_refused(store: EventStore) -> None:
    """Events of a store with the same seed, in another order: an id would be there twice."""
    fifth = store.ids.mint(5)  # type: ignore[attr-defined]
    with pytest.raises(IdempotencyError, match="position 5, but it would be at position 1"):
        store.append("s-1", [NewEvent("A", {}, fifth)])
    store.append("s-1", [NewEvent("A", {})] * 4)
    assert store.append("s-1", [NewEvent("A", {}, fifth)]).position == 5
    assert store.append("s-1", [NewEvent("A", {}, fifth)]).duplicate
    assert store.verify().ok


def test_an_id_that_only_looks_minted_is_an_id_as_any_other(store: EventStore) -> None:
    """It has the version and the position of a minted one, but not the variant of RFC 9562."""
    odd = uuid.UUID(int=1 << 80 | 8 << 76)
    assert not store.append("s-1", [NewEvent("A", {}, odd)]).duplicate
    assert store.append("s-1", [NewEvent("A", {}, odd)]).duplicate
    assert store.head() == 1


def test_an_event_is_found_by_its_id(store: EventStore) -> None:
    store.append("s-1", [event(0, x=1), NewEvent("B", {}), event(1)])
    store.import_events([("t-1", event(2)), ("t-1", NewEvent("B", {}))], progress=False)
    store.append("t-1", [event(3)])
    for recorded in store.read_all():
        assert store.find(recorded.event_id) == recorded
    assert store.find(IDS[4]) is None
    for position in (0, 1, 2, 6, 7, 2**48 - 1):  # what another store minted, or this one will
        assert store.find(SeededIds(8).mint(position)) is None
    assert store.find(SeededIds(7).mint(7)) is None
    looks_minted = uuid.UUID(int=5 << 80 | 8 << 76 | 1)  # for an event that was minted another id
    assert store.find(looks_minted) is None
    store.append("s-1", [NewEvent("C", {}, looks_minted)])
    found = store.find(looks_minted)
    assert found is not None
    assert (found.position, found.type) == (7, "C")


def test_only_a_uuid_is_looked_up_and_only_while_it_is_open(store: EventStore) -> None:
    for id in (str(IDS[0]), 1, None):
        with pytest.raises(InputError, match="UUID"):
            store.find(id)  # type: ignore[arg-type]
    store.close()
    with pytest.raises(StoreClosedError):
        store.find(IDS[0])
