"""Events of earlier versions and of classes that were renamed, read as the classes are today."""

from __future__ import annotations

from typing import Any

import pytest

from eslab import Aggregate, Event, EventStore, NewEvent, UpcastingError, applies, upcasts
from eslab.aggregates import Repository
from eslab.schema import EventRegistry, check_upcasting


@upcasts(1)
def in_cents(data: dict[str, Any]) -> dict[str, Any]:
    return {"cents": data["euros"] * 100}


@upcasts(2)
def with_currency(data: dict[str, Any]) -> dict[str, Any]:
    data["currency"] = "EUR"
    return data


class Placed(
    Event,
    type="OrderPlaced",
    schema_version=3,
    upcasters=[in_cents, with_currency],
    tags="currency",
):
    cents: int
    currency: str


class Order(Aggregate):
    cents: int = 0

    def place(self, cents: int) -> None:
        self.record(Placed(cents=cents, currency="EUR"))

    @applies
    def placed(self, event: Placed) -> None:
        assert event.currency == "EUR"
        self.cents += event.cents


STORED = [
    NewEvent("OrderPlaced", {"euros": 3}),
    NewEvent("OrderPlaced", {"cents": 20}, schema_version=2),
    NewEvent("OrderPlaced", {"cents": 1, "currency": "EUR"}, schema_version=3),
]


def test_an_aggregate_is_folded_from_all_versions(store: EventStore) -> None:
    store.append("order-1", STORED)
    repository = Repository(store, EventRegistry())
    order = repository.load(Order, "1")
    assert order.cents == 321
    order.place(4)
    repository.save(order)
    assert repository.load(Order, "1").cents == 325


def test_what_is_stored_stays_as_it_is(store: EventStore) -> None:
    store.append("order-1", STORED)
    before = list(store.read_all())
    report = check_upcasting(store.read_batches(), EventRegistry(Placed))
    assert report.ok
    assert report.read == {("OrderPlaced", version): 1 for version in (1, 2, 3)}
    assert list(store.read_all()) == before
    assert [event.data for event in before] == [event.data for event in STORED]


def test_nothing_is_appended_behind_an_event_that_cannot_be_read(store: EventStore) -> None:
    store.append("order-1", [NewEvent("OrderPlaced", {"pounds": 3})])
    repository = Repository(store, EventRegistry())
    with pytest.raises(UpcastingError, match=r"<OrderPlaced order-1 v1 @1>: <Upcaster in_cents"):
        repository.load(Order, "1").place(4)
    assert store.head() == 1
