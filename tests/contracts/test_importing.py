"""Imports: many events at once get what appending each of them would have given."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eslab import (
    Event,
    EventStore,
    InputError,
    LimitError,
    MemoryStore,
    Metadata,
    NewEvent,
    VirtualClock,
)
from eslab.clock import SeededIds
from eslab.errors import IdempotencyError
from eslab.schema import encode
from eslab.store.importing import BIT


class Placed(Event, tags=("order",)):
    order: str
    amount: int


class Noted(Event):
    text: str


def pairs(count: int, *, given: Callable[[int], bool] = lambda _: False) -> list[tuple[str, Any]]:
    """Events of all forms, in streams that come and go."""

    def event(number: int) -> Any:
        id = uuid.UUID(int=number + 1) if given(number) else None
        match number % 4:
            case 0 if id is None:
                return Placed(order=f"o-{number % 5}", amount=number)
            case 1 if id is None:
                return Noted(text="},{" if number % 9 else "a\nb")
            case 2:
                return encode(Noted(text=str(number)), event_id=id, metadata=Metadata(actor="x"))
            case _:
                return NewEvent("New", {"n": [number, None]}, id, tags=("t",))

    return [(f"s-{number * number % 23}", event(number)) for number in range(count)]


SOME = {
    "none": lambda _: False,
    "all": lambda _: True,
    "some": lambda number: number % 3 == 1,
}


@pytest.mark.parametrize("given", SOME.values(), ids=SOME)
@pytest.mark.parametrize("batch", [1, 7, 1_000])
def test_an_import_is_what_appending_one_by_one_would_be(
    store: EventStore, clock: VirtualClock, given: Callable[[int], bool], batch: int
) -> None:
    one_by_one = MemoryStore(clock=clock, ids=SeededIds(7))
    count = 3 if batch == 1 else 60
    for stream_id, event in pairs(count, given=given):
        one_by_one.append(stream_id, [event])
    report = store.import_events(pairs(count, given=given), batch=batch, progress=False)
    assert (report.events, report.duplicates, report.position) == (count, 0, count)
    assert list(store.read_all()) == list(one_by_one.read_all())
    for number in range(23):
        stream_id = f"s-{number}"
        assert list(store.read(stream_id)) == list(one_by_one.read(stream_id))
    assert store.verify().ok


def test_a_batch_is_read_bit_by_bit(store: EventStore) -> None:
    count = 2 * BIT + 7
    numbers = itertools.count()

    def source() -> Iterator[tuple[str, Noted]]:
        for number in range(count):
            yield f"s-{number % 3}", Noted(text=str(next(numbers)))

    assert store.import_events(source(), progress=False).position == count
    assert [event.data["text"] for event in store.read_all()] == list(map(str, range(count)))


def test_large_events_make_batches_of_fewer(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eslab.store.importing.MAX_SIZE", 1_000)
    monkeypatch.setattr("eslab.store.importing.BIT", 2)
    heads: list[int] = []
    store.listen(lambda: heads.append(store.head()))
    large = [("s-1", Noted(text="x" * 600)) for _ in range(7)]
    assert store.import_events(large, progress=False).events == 7
    assert heads[-1] == 7
    assert set(heads) == {2, 4, 6, 7}


def test_streams_begin_in_the_order_of_what_is_new(store: EventStore) -> None:
    known = NewEvent("New", {}, uuid.UUID(int=1))
    store.append("a-1", [known])
    again = [("a-1", known), ("b-1", Noted(text="1")), ("a-1", Noted(text="2"))]
    assert store.import_events(again, progress=False).duplicates == 1
    assert store.import_events([("a-1", known)], progress=False).events == 0
    assert [(e.stream_id, e.version) for e in store.read_all()] == [
        ("a-1", 1),
        ("b-1", 1),
        ("a-1", 2),
    ]
    assert store.stream_version("b-1") == 1
    assert store.append("b-1", [Noted(text="3")], expected_version=1).position == 4
    assert store.verify().ok


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (5, InputError, "pairs of a stream id and an event, not 5"),
        (("s-1",), InputError, "pairs of a stream id"),
        (("s-1", Noted(text="a"), 3), InputError, "pairs of a stream id"),
        ((5, Noted(text="a")), InputError, "a stream id must be a string, not 5"),
        (("", Noted(text="a")), InputError, "must not be empty"),
        (("s\n", Noted(text="a")), InputError, "control characters"),
        (("s" * 256, Noted(text="a")), LimitError, "255"),
        (("s-1", {"text": "a"}), InputError, "an event must be an instance"),
        (("s-1", Noted(text="x" * (1 << 20))), LimitError, "1 MiB"),
        (("s-1", NewEvent("New", {}, uuid.UUID(int=99))), IdempotencyError, "id 00000000"),
    ],
    ids=lambda value: f"{value!r:.20}" if isinstance(value, (int, tuple)) else None,
)
def test_what_is_wrong_keeps_its_batch_out(
    store: EventStore, wrong: Any, error: type[Exception], message: str
) -> None:
    right = [
        ("s-1", Noted(text="1")),
        ("s-2", NewEvent("New", {}, uuid.UUID(int=99))),
        ("s-1", Noted(text="3")),
    ]
    with pytest.raises(error, match=message):
        store.import_events([right[0], right[0], *right, wrong], batch=2, progress=False)
    assert store.head() == 4
    with pytest.raises(error, match=message):
        store.import_events([*right[1:], wrong], progress=False)
    assert store.head() == 4


@pytest.mark.parametrize("batch", [0, 1_000_001])
def test_a_batch_has_limits(store: EventStore, batch: int) -> None:
    with pytest.raises(LimitError, match="1 to 1,000,000"):
        store.import_events([], batch=batch)
    with pytest.raises(InputError, match="batch must be a whole number"):
        store.import_events([], batch="many")  # type: ignore[arg-type]


def test_a_store_takes_events_in_every_form(store: EventStore) -> None:
    forms = [Placed(order="o-1", amount=3), NewEvent("New", {}), encode(Noted(text="a"))]
    assert store.append("s-1", forms).version == 3
    placed, new, noted = store.read("s-1")
    assert (placed.type, placed.tags) == ("Placed", ("order:o-1",))
    assert (placed.data, new.data, noted.data) == (
        {"order": "o-1", "amount": 3},
        {},
        {"text": "a"},
    )
    with pytest.raises(InputError, match="a list of events"):
        store.append("s-1", Noted(text="a"))  # type: ignore[arg-type]
