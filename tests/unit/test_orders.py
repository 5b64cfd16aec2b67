"""Order fulfilment, given / when / then; and whatever is ordered, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eslab import Aggregate, DomainError, Event, MemoryStore
from eslab.aggregates import Repository
from eslab.sagas import Orchestrator, SagaStatus
from eslab.schema import EventRegistry
from eslab.simulation.scenarios.orders import (
    Account,
    PaymentCharged,
    PaymentRefunded,
    Shipment,
    ShipmentBooked,
    Stock,
    StockReceived,
    StockReleased,
    StockReserved,
    order_fulfilment,
)

SERVED = frozenset({"Boston"})


def when(
    cls: type[Aggregate], given: Sequence[Event], command: Callable[[Any], None]
) -> list[Event] | str:
    """Return what an aggregate with this past records for a command, or why it refuses."""
    aggregate = cls("1").rebuild(given)
    try:
        command(aggregate)
    except DomainError as error:
        return str(error)
    return aggregate.uncommitted


received, reserved = StockReceived(quantity=5), StockReserved(order_id="o-1", quantity=3)
charged = PaymentCharged(order_id="o-1", amount=30)


def test_stock() -> None:
    assert when(Stock, [], lambda s: s.receive(5)) == [received]
    assert when(Stock, [received], lambda s: s.reserve("o-1", 3)) == [reserved]
    assert when(Stock, [received, reserved], lambda s: s.reserve("o-1", 3)) == []
    assert when(Stock, [received, reserved], lambda s: s.reserve("o-2", 3)) == (
        "3 of 1 are wanted, 2 are free"
    )
    released = StockReleased(order_id="o-1")
    assert when(Stock, [received, reserved], lambda s: s.release("o-1")) == [released]
    assert when(Stock, [received, reserved, released], lambda s: s.release("o-1")) == []
    assert when(Stock, [received], lambda s: s.release("o-1")) == []


@pytest.mark.parametrize("quantity", [0, -1])
def test_nobody_orders_less_than_one_piece(quantity: int) -> None:
    assert "at least one" in when(Stock, [received], lambda s: s.reserve("o-1", quantity))
    assert "at least one" in when(Stock, [], lambda s: s.receive(quantity))


def test_account() -> None:
    refunded = PaymentRefunded(order_id="o-1", amount=30)
    assert when(Account, [], lambda a: a.charge("o-1", 30)) == [charged]
    assert when(Account, [charged], lambda a: a.charge("o-1", 30)) == []
    assert when(Account, [charged], lambda a: a.refund("o-1")) == [refunded]
    assert when(Account, [charged, refunded], lambda a: a.refund("o-1")) == []
    assert when(Account, [], lambda a: a.charge("o-1", 0)) == [
        PaymentCharged(order_id="o-1", amount=0)
    ]
    assert "negative" in when(Account, [], lambda a: a.charge("o-1", -1))


def test_shipment() -> None:
    booked = ShipmentBooked(order_id="1", destination="Boston")
    assert when(Shipment, [], lambda s: s.book("Boston", served=SERVED)) == [booked]
    assert when(Shipment, [booked], lambda s: s.book("Boston", served=SERVED)) == []
    assert when(Shipment, [], lambda s: s.book("Atlantis", served=SERVED)) == (
        "no courier delivers to Atlantis"
    )


Order = tuple[int, Any, Any, str]
ORDERS = st.tuples(
    st.sampled_from([1, 2]),
    st.integers(-2, 6) | st.sampled_from(["2", 1.5, None]),
    st.integers(-5, 50) | st.sampled_from(["much", None]),
    st.sampled_from(["Boston", "Atlantis"]),
)


class Run:
    """Orders that are fulfilled, one after the other, by sagas over a store in memory."""

    def __init__(self, store: MemoryStore, deliveries: Sequence[int]) -> None:
        self.repository = Repository(store, EventRegistry())
        self.orchestrator = Orchestrator(store, EventRegistry())
        self.saga = order_fulfilment(self.repository, served=SERVED)
        self.store = store
        for quantity in deliveries:
            self.change(
                Stock, "article-1", lambda stock, quantity=quantity: stock.receive(quantity)
            )

    def change(self, cls: type[Aggregate], id: str, command: Callable[[Any], None]) -> None:
        aggregate = self.repository.find(cls, id)
        command(aggregate)
        self.repository.save(aggregate)

    def fulfil(self, order: Order, number: int) -> SagaStatus:
        customer, quantity, amount, destination = order
        self.orchestrator.start(
            self.saga,
            f"o-{number}",
            {
                "article": "article-1",
                "quantity": quantity,
                "customer": str(customer),
                "amount": amount,
                "destination": destination,
            },
        )
        return self.orchestrator.run(self.saga, f"o-{number}").status


def conserved(store: MemoryStore, statuses: dict[str, SagaStatus]) -> None:
    """Money and stock are where the sagas say that they are; summed over the raw events."""
    free, kept, paid, shipped = 0, {}, {}, set()
    for event in store.read_all():
        order = event.data.get("order_id", "")
        match event.type:
            case "StockReceived":
                free += event.data["quantity"]
            case "StockReserved":
                kept[order] = event.data["quantity"]
                free -= kept[order]
            case "StockReleased":
                free += kept.pop(order)
            case "PaymentCharged":
                paid[order] = event.data["amount"]
            case "PaymentRefunded":
                assert paid.pop(order) == event.data["amount"]
            case "ShipmentBooked":
                shipped.add(order)
        assert free >= 0
    assert all(quantity > 0 for quantity in kept.values())
    assert all(amount >= 0 for amount in paid.values())
    fulfilled = {order for order, status in statuses.items() if status is SagaStatus.COMPLETED}
    assert kept.keys() == paid.keys() == shipped == fulfilled


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 5), max_size=3), st.lists(ORDERS, max_size=5))
def test_money_and_stock_are_conserved_whatever_is_ordered(
    deliveries: list[int], orders: list[Order]
) -> None:
    with MemoryStore() as store:
        run = Run(store, deliveries)
        statuses = {f"o-{number}": run.fulfil(order, number) for number, order in enumerate(orders)}
        assert set(statuses.values()) <= {SagaStatus.COMPLETED, SagaStatus.COMPENSATED}
        conserved(store, statuses)
        stock = run.repository.find(Stock, "article-1")
        assert stock.free + sum(stock.reserved.values()) == sum(deliveries)


def test_the_conservation_can_be_broken() -> None:
    with MemoryStore() as store:
        run = Run(store, [5])
        statuses = {"o-1": run.fulfil((1, 2, 30, "Boston"), 1)}
        conserved(store, statuses)
        run.change(Account, "1", lambda account: account.refund("o-1"))
        with pytest.raises(AssertionError):
            conserved(store, statuses)


def test_what_is_undone_is_undone_in_reverse() -> None:
    with MemoryStore() as store:
        run = Run(store, [5])
        assert run.fulfil((1, 2, 30, "Atlantis"), 1) is SagaStatus.COMPENSATED
        effects = [e.type for e in store.read_all() if e.category != "saga"]
        assert effects == [
            "StockReceived",
            "StockReserved",
            "PaymentCharged",
            "PaymentRefunded",
            "StockReleased",
        ]
