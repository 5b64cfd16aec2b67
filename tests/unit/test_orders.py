"""Order fulfilment, given / when / then; and whatever is ordered, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eslab import Aggregate, DomainError, MemoryStore
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
from eslab.testing import given as happened

SERVED = frozenset({"Boston"})


received, reserved = StockReceived(quantity=5), StockReserved(order_id="o-1", quantity=3)
charged = PaymentCharged(order_id="o-1", amount=30)


def test_stock() -> None:
    stock = partial(happened, of=Stock)
    stock().when(lambda s: s.receive(5)).then(received)
    stock(received).when(lambda s: s.reserve("o-1", 3)).then(reserved)
    stock(received, reserved).when(lambda s: s.reserve("o-1", 3)).then()
    stock(received, reserved).when(lambda s: s.reserve("o-2", 3)).then_raises(
        DomainError, match="3 of 1 are wanted, 2 are free"
    )
    released = StockReleased(order_id="o-1")
    stock(received, reserved).when(lambda s: s.release("o-1")).then(released)
    stock(received, reserved, released).when(lambda s: s.release("o-1")).then()
    stock(received).when(lambda s: s.release("o-1")).then().then_state(free=5, reserved={})


@pytest.mark.parametrize("quantity", [0, -1])
def test_nobody_orders_less_than_one_piece(quantity: int) -> None:
    stock = happened(received, of=Stock)
    for change in (lambda s: s.reserve("o-1", quantity), lambda s: s.receive(quantity)):
        stock.when(change).then_raises(DomainError, match="at least one")


def test_account() -> None:
    account = partial(happened, of=Account)
    refunded = PaymentRefunded(order_id="o-1", amount=30)
    account().when(lambda a: a.charge("o-1", 30)).then(charged)
    account(charged).when(lambda a: a.charge("o-1", 30)).then()
    account(charged).when(lambda a: a.refund("o-1")).then(refunded)
    account(charged, refunded).when(lambda a: a.refund("o-1")).then().then_state(charged={})
    free = PaymentCharged(order_id="o-1", amount=0)
    account().when(lambda a: a.charge("o-1", 0)).then(free)
    account().when(lambda a: a.charge("o-1", -1)).then_raises(DomainError, match="negative")


def test_shipment() -> None:
    shipment = partial(happened, of=Shipment)
    booked = ShipmentBooked(order_id="1", destination="Boston")
    shipment().when(lambda s: s.book("Boston", served=SERVED)).then(booked)
    shipment(booked).when(lambda s: s.book("Boston", served=SERVED)).then()
    shipment().when(lambda s: s.book("Atlantis", served=SERVED)).then_raises(
        DomainError, match="no courier delivers to Atlantis"
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
