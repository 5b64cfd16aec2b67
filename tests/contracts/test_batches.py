"""Reading by columns gives what reading one by one does, and so does decoding."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from eslab import (
    Event,
    EventStore,
    InputError,
    NewEvent,
    Query,
    SchemaError,
    UnknownEventTypeError,
)
from eslab.events import EventBatch
from eslab.schema import EventRegistry
from eslab.store.rows import BATCH_ROWS


class Counted(Event):
    n: int


class Named(Event, tags=("five",)):
    name: str
    five: int = 5


def fill(store: EventStore, count: int) -> None:
    events = [
        (f"s-{n % 7}", Named(name=f"n {n}") if n % 5 == 0 else Counted(n=n)) for n in range(count)
    ]
    store.import_events(events, progress=False)


def rows(batches: Any) -> list[tuple[Any, ...]]:
    found = []
    for batch in batches:
        assert isinstance(batch, EventBatch)
        assert 0 < len(batch) <= BATCH_ROWS
        columns = [getattr(batch, name) for name in batch.__slots__]
        found += list(zip(*columns, strict=True))
    return found


def expected(store: EventStore, **options: Any) -> list[tuple[Any, ...]]:
    from eslab.schema import canonical_json

    return [
        (
            event.position,
            event.stream_id,
            event.version,
            event.type,
            event.schema_version,
            canonical_json(dict(event.data)),
            event.recorded_at,
        )
        for event in store.read_all(**options)
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"limit": 0},
        {"limit": 1},
        {"limit": BATCH_ROWS},
        {"limit": BATCH_ROWS + 1, "after": 3, "types": [Counted]},
        {"limit": 10**6},
        {"query": Query.of(types=[Named])},
        {"query": Query.of(tags=["five:5"]), "limit": 30},
        {"query": Query.of(tags=["five:5", "nobody"])},
        {},
        {"after": 1_000},
        {"after": 10, "until": 2_105},
        {"types": ["Named"]},
        {"types": [Counted], "category": "s", "after": 17},
        {"category": "nobody"},
        {"types": []},
        {"after": 9_999},
    ],
)
def test_by_columns(store: EventStore, options: dict[str, Any]) -> None:
    assert rows(store.read_batches()) == []
    fill(store, 2_300)
    store.append("t-1", [Counted(n=1), NewEvent("Strange", {"é": [1.5]}, uuid.uuid4())])
    assert rows(store.read_batches(**options)) == expected(store, **options)


@pytest.mark.parametrize("span", [{}, {"from_version": 3}, {"to_version": 5}, {"from_version": 99}])
def test_a_stream_by_columns(store: EventStore, span: dict[str, int]) -> None:
    assert rows(store.read_stream_batches("s-1", **span)) == []
    fill(store, 40)
    store.append("s-1", [Counted(n=1)])
    for stream_id in ("s-1", "nobody"):
        found = [row[0] for row in rows(store.read_stream_batches(stream_id, **span))]
        assert found == [event.position for event in store.read(stream_id, **span)]
    with pytest.raises(InputError):
        store.read_stream_batches("s-1", from_version=-1)


def test_wrong_arguments(store: EventStore) -> None:
    for options in ({"after": -1}, {"until": "x"}, {"types": "Counted"}, {"types": Counted}):
        with pytest.raises(InputError):
            store.read_batches(**options)  # type: ignore[arg-type]


def test_what_is_appended_meanwhile_is_not_seen(store: EventStore) -> None:
    fill(store, 1_500)
    batches = store.read_batches()
    first = next(batches)
    store.append("s-1", [Counted(n=1)])
    assert len(first) + sum(map(len, batches)) == 1_500


def test_decoded_at_once_is_decoded_one_by_one(store: EventStore) -> None:
    fill(store, 1_234)
    registry = EventRegistry(Counted, Named)
    typed = list(registry.decode_all(store.read_batches()))
    for one, recorded in zip(typed, store.read_all(), strict=True):
        assert one.event == registry.decode(recorded)
        assert (one.position, one.stream_id) == (recorded.position, recorded.stream_id)
        assert (one.version, one.recorded_at) == (recorded.version, recorded.recorded_at)


def test_what_does_not_fit_is_named_among_many(store: EventStore) -> None:
    fill(store, 50)
    registry = EventRegistry(Counted)
    with pytest.raises(UnknownEventTypeError, match="Named"):
        list(registry.decode_all(store.read_batches()))
    registry.register(Named)
    store.append("s-1", [NewEvent("Counted", {"n": "x"}), NewEvent("Counted", {"n": "y"})])
    with pytest.raises(SchemaError, match=r"<Counted s-1 v\d+ @51> does not fit Counted .*n: "):
        list(registry.decode_all(store.read_batches()))
