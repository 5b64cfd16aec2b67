"""Order fulfilment, given / when / then; and whatever overtakes what, nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from eslab import Command, DomainError, Event, Lab, MemoryStore
from eslab.aggregates import Repository
from eslab.sagas import SagaStatus
from eslab.schema import EventRegistry
from eslab.simulation.scenarios.orders import (
    AGGREGATES,
    Account,
    BookShipment,
    CancelShipment,
    ChargePayment,
    CreditLimited,
    LimitCredit,
    Order,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    PaymentCharged,
    PaymentRefunded,
    PlaceOrder,
    ReceiveStock,
    RefundPayment,
    ReleaseStock,
    ReserveStock,
    SendShipment,
    Shipment,
    ShipmentBooked,
    ShipmentCancelled,
    ShipmentLeft,
    Stock,
    StockReceived,
    StockReleased,
    StockReserved,
    check_orders,
    order_fulfilment,
)
from eslab.testing import given as happened

# What each participant does.

received = StockReceived(quantity=5)
reserved, released = StockReserved(order_id="o-1", quantity=3), StockReleased(order_id="o-1")
reserve = ReserveStock(article="1", order_id="o-1", quantity=3)
release = ReleaseStock(article="1", order_id="o-1")
stock = partial(happened, of=Stock)

charged = PaymentCharged(order_id="o-1", amount=30)
refunded = PaymentRefunded(order_id="o-1", amount=30)
charge = ChargePayment(customer="1", order_id="o-1", amount=30)
refund = RefundPayment(customer="1", order_id="o-1")
account = partial(happened, of=Account)

booked = ShipmentBooked(order_id="o-1", destination="Boston")
left, unbooked = ShipmentLeft(order_id="o-1"), ShipmentCancelled(order_id="o-1")
book = BookShipment(order_id="o-1", destination="Boston")
send, cancel = SendShipment(order_id="o-1"), CancelShipment(order_id="o-1")
shipment = partial(happened, of=Shipment, id="o-1")


def test_goods_are_taken_in_set_aside_and_freed() -> None:
    stock().when(ReceiveStock(article="1", quantity=5)).then(received).then_state(free=5)
    stock(received).when(reserve).then(reserved).then_state(free=2, reserved={"o-1": 3})
    stock(received, reserved).when(reserve).then()
    stock(received, reserved).when(release).then(released).then_state(
        free=5, reserved={}, released={"o-1": 3}
    )
    stock(received, reserved, released).when(release).then()


def test_goods_that_are_not_free_are_not_set_aside() -> None:
    other = reserve.model_copy(update={"order_id": "o-2"})
    stock(received, reserved).when(other).then_raises(
        DomainError, match="3 of 1 are wanted, 2 are free"
    )
    stock(received, reserved, released).when(other).then(StockReserved(order_id="o-2", quantity=3))


def test_money_is_taken_and_given_back() -> None:
    account().when(charge).then(charged).then_state(charged={"o-1": 30})
    account(charged).when(charge).then()
    account(charged).when(refund).then(refunded).then_state(charged={}, refunded={"o-1": 30})
    account(charged, refunded).when(refund).then()
    nothing = charge.model_copy(update={"amount": 0})
    account().when(nothing).then(PaymentCharged(order_id="o-1", amount=0))


def test_a_credit_limits_what_is_owed_at_once() -> None:
    limited = CreditLimited(amount=50)
    account().when(LimitCredit(customer="1", amount=50)).then(limited).then_state(credit=50)
    account(limited).when(LimitCredit(customer="1", amount=50)).then()
    second = charge.model_copy(update={"order_id": "o-2", "amount": 21})
    account(limited, charged).when(second).then_raises(
        DomainError, match="1 would owe 51, and has a credit of 50"
    )
    account(limited, charged).when(second.model_copy(update={"amount": 20})).then(
        PaymentCharged(order_id="o-2", amount=20)
    )
    account(limited, charged, refunded).when(second).then(PaymentCharged(order_id="o-2", amount=21))
    account(charged, CreditLimited(amount=0)).when(charge).then()


def test_a_courier_is_booked_and_leaves_or_is_cancelled() -> None:
    shipment().when(book).then(booked).then_state(status="booked", destination="Boston")
    shipment(booked).when(book).then()
    shipment(booked).when(cancel).then(unbooked).then_state(status="cancelled")
    shipment(booked, unbooked).when(cancel).then()
    shipment(booked).when(send).then(left).then_state(status="left")
    for again in (book, send):
        shipment(booked, left).when(again).then()


def test_no_courier_goes_everywhere_or_leaves_unasked_or_comes_back() -> None:
    shipment().when(BookShipment(order_id="o-1", destination="Atlantis")).then_raises(
        DomainError, match="no courier delivers to Atlantis"
    )
    for past in (shipment(), shipment(booked, unbooked)):
        past.when(send).then_raises(DomainError, match="cannot leave")
    shipment(booked, left).when(cancel).then_raises(DomainError, match="has left")


def test_what_is_undone_before_it_is_done_is_not_done_any_more() -> None:
    stock(received).when(release).then(released).then_state(free=5, released={"o-1": 0})
    account().when(refund).then(PaymentRefunded(order_id="o-1", amount=0))
    shipment().when(cancel).then(unbooked)
    overtaken = [
        (stock(received, released), release, reserve),
        (stock(received, reserved, released), release, reserve),
        (account(PaymentRefunded(order_id="o-1", amount=0)), refund, charge),
        (account(charged, refunded), refund, charge),
        (shipment(unbooked), cancel, book),
        (shipment(booked, unbooked), cancel, book),
    ]
    for past, undo, do in overtaken:
        past.when(undo).then()
        past.when(do).then_raises(DomainError, match="order o-1 was given up")


@pytest.mark.parametrize(
    ("past", "command"),
    [
        (stock(received, reserved), reserve.model_copy(update={"quantity": 1})),
        (account(charged), charge.model_copy(update={"amount": 31})),
        (shipment(booked), book.model_copy(update={"destination": "New York"})),
    ],
)
def test_what_was_done_is_not_done_again_otherwise(past: Any, command: Command) -> None:
    past.when(command).then_raises(DomainError, match=r"order o-1 is for .* already, not for")


def test_amounts_that_are_none_are_no_commands() -> None:
    for number in (0, -1, 1.5, "much", None):
        for goods in (ReceiveStock, partial(ReserveStock, order_id="o-1")):
            with pytest.raises(ValidationError):
                goods(article="1", quantity=number)
    for amount in (-1, 1.5, "much", None):
        for money in (LimitCredit, partial(ChargePayment, order_id="o-1")):
            with pytest.raises(ValidationError):
                money(customer="1", amount=amount)


def test_each_command_finds_its_participant() -> None:
    with Lab(seed=7) as lab:
        for participant in (Stock, Account, Shipment):
            lab.register(participant)
        lab.execute(ReceiveStock(article="1", quantity=5))
        lab.execute(LimitCredit(customer="1", amount=30))
        for command in (reserve, charge, book, release, refund, cancel):
            lab.execute(command)
        lab.execute(book.model_copy(update={"order_id": "o-2"}))
        lab.execute(SendShipment(order_id="o-2"))
        streams = [(event.stream_id, event.type) for event in lab.store.read_all()]
    assert streams == [
        ("stock-1", "StockReceived"),
        ("account-1", "CreditLimited"),
        ("stock-1", "StockReserved"),
        ("account-1", "PaymentCharged"),
        ("shipment-o-1", "ShipmentBooked"),
        ("stock-1", "StockReleased"),
        ("account-1", "PaymentRefunded"),
        ("shipment-o-1", "ShipmentCancelled"),
        ("shipment-o-2", "ShipmentBooked"),
        ("shipment-o-2", "ShipmentLeft"),
    ]


# Whatever overtakes what.

PARTICIPANTS = {command: cls for cls in (Stock, Account, Shipment) for command in cls.commands}


class Desk:
    """Brings commands to the participants, which are in a store in memory."""

    def __init__(self, store: MemoryStore, *before: Command) -> None:
        self.repository = Repository(store, EventRegistry())
        for command in before:
            self.ask(command)

    def ask(self, command: Command) -> None:
        id = getattr(command, command.target_field or "")
        participant = self.repository.find(PARTICIPANTS[type(command)], id)
        participant.execute(command)
        self.repository.save(participant)

    def asks(self, commands: Sequence[Command]) -> list[bool]:
        """Ask one after the other, and return which of them were not refused."""
        return [self._taken(command) for command in commands]

    def _taken(self, command: Command) -> bool:
        with suppress(DomainError):
            self.ask(command)
            return True
        return False


def steps(number: int, quantity: int = 2, amount: int = 40) -> list[tuple[Command, Command]]:
    """Return what is done for an order, each with what undoes it."""
    order, goods, payer = {"order_id": f"o-{number}"}, {"article": "1"}, {"customer": "1"}
    return [
        (ReserveStock(**goods, **order, quantity=quantity), ReleaseStock(**goods, **order)),
        (ChargePayment(**payer, **order, amount=amount), RefundPayment(**payer, **order)),
        (BookShipment(**order, destination="Boston"), CancelShipment(**order)),
    ]


ORDERS = range(1, 4)
STEPS = [step for number in ORDERS for step in steps(number)]
UNDOING = [undo for _, undo in STEPS]
DONE = ["StockReserved", "PaymentCharged", "ShipmentBooked"] * len(ORDERS)
UNDONE = ["StockReleased", "PaymentRefunded", "ShipmentCancelled"] * len(ORDERS)
ASKED = st.lists(st.sampled_from([command for step in STEPS for command in step]), max_size=60)


@settings(deadline=None)
@given(ASKED)
def test_a_step_takes_effect_once_and_never_after_it_was_undone(asked: list[Command]) -> None:
    with MemoryStore() as store:
        taken = Desk(store, ReceiveStock(article="1", quantity=6)).asks(asked)
        found = [(event.type, event.data.get("order_id")) for event in store.read_all()]
    for (do, undo), done, undone in zip(STEPS, DONE, UNDONE, strict=True):
        story = [command for command in asked if command in (do, undo)]
        before = story[: story.index(undo)] if undo in story else story
        expected = [done] * (do in before) + [undone] * (undo in story)
        kinds = (done, undone)
        told = [kind for kind, order_id in found if kind in kinds and order_id == do.order_id]
        assert told == expected
        # What is refused is what was overtaken, and nothing else.
        answers = [answer for command, answer in zip(asked, taken, strict=True) if command in story]
        late = [command == do for command in story[len(before) :]]
        assert answers == [True] * len(before) + [not one for one in late]


@settings(deadline=None)
@given(ASKED, st.integers(1, 6), st.integers(0, 120))
def test_nothing_is_left_of_orders_that_were_given_up(
    asked: list[Command], pieces: int, credit: int
) -> None:
    before = ReceiveStock(article="1", quantity=pieces), LimitCredit(customer="1", amount=credit)
    with MemoryStore() as store:
        desk = Desk(store, *before)
        desk.asks(asked)
        assert all(desk.asks(UNDOING))
        assert not any(desk.asks([do for do, _ in STEPS]))
        assert check_orders(store) == []
        shelf, payer = desk.repository.find(Stock, "1"), desk.repository.find(Account, "1")
        assert (shelf.free, shelf.reserved, payer.charged) == (pieces, {}, {})


# Orders that are fulfilled by sagas.

Wish = tuple[int, Any, Any, str]
WISHES = st.tuples(
    st.sampled_from([1, 2]),
    st.integers(-2, 6) | st.sampled_from(["two", 1.5, None]),
    st.integers(-5, 50) | st.sampled_from(["much", None]),
    st.sampled_from(["Boston", "Atlantis"]),
)


def fulfilled_orders(lab: Lab, orders: Sequence[Wish], *before: Command) -> dict[str, SagaStatus]:
    """Fulfil orders side by side, and return where their sagas ended."""
    lab.register(*AGGREGATES, order_fulfilment)
    for command in before:
        lab.execute(command)
    for number, (customer, quantity, amount, destination) in enumerate(orders):
        wish = {"quantity": quantity, "customer": str(customer), "amount": amount}
        lab.start_saga(
            order_fulfilment, f"o-{number}", article="1", destination=destination, **wish
        )
    lab.run()
    ids = [f"o-{number}" for number in range(len(orders))]
    return {id: lab.saga_state(order_fulfilment, id).status for id in ids}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 5), max_size=3), st.lists(WISHES, max_size=5), st.integers(0, 3))
def test_money_and_stock_are_conserved_whatever_is_ordered(
    deliveries: list[int], orders: list[Wish], seed: int
) -> None:
    before = [ReceiveStock(article="1", quantity=some) for some in deliveries]
    with Lab(seed=seed) as lab:
        limit = LimitCredit(customer="2", amount=60)
        statuses = fulfilled_orders(lab, orders, *before, limit)
        assert set(statuses.values()) <= {SagaStatus.COMPLETED, SagaStatus.COMPENSATED}
        assert check_orders(lab.store) == []
        done = {id for id, status in statuses.items() if status is SagaStatus.COMPLETED}
        for type in (ShipmentBooked, OrderConfirmed):
            found = {e.stream_id.partition("-")[2] for e in lab.store.read_all(types=[type])}
            assert found == done
        shelf = lab.find(Stock, "1")
        assert shelf.reserved.keys() == done
        assert shelf.free + sum(shelf.reserved.values()) == sum(deliveries)


def test_what_is_undone_is_undone_in_reverse() -> None:
    with Lab(seed=7) as lab:
        wish = (1, 2, 30, "Atlantis")
        statuses = fulfilled_orders(lab, [wish], ReceiveStock(article="1", quantity=5))
        assert statuses == {"o-0": SagaStatus.COMPENSATED}
        effects = [e.type for e in lab.store.read_all() if e.category not in ("saga", "revoked")]
        assert effects == [
            "StockReceived",
            "OrderPlaced",
            "StockReserved",
            "PaymentCharged",
            "PaymentRefunded",
            "StockReleased",
            "OrderCancelled",
        ]


def test_an_order_can_fail_at_the_payment() -> None:
    with Lab(seed=7) as lab:
        limit = LimitCredit(customer="1", amount=29)
        wishes = [(1, 2, 30, "Boston"), (2, 2, 29, "Boston")]
        statuses = fulfilled_orders(lab, wishes, ReceiveStock(article="1", quantity=5), limit)
        assert statuses == {"o-0": SagaStatus.COMPENSATED, "o-1": SagaStatus.COMPLETED}
        assert check_orders(lab.store) == []


def test_a_placed_order_starts_its_saga_and_is_not_placed_again() -> None:
    with Lab(seed=7) as lab:
        lab.register(*AGGREGATES, order_fulfilment)
        lab.execute(ReceiveStock(article="1", quantity=5))
        wish = {"customer": "Ann", "article": "1", "quantity": 2, "amount": 30}
        for destination in ("Boston", "Atlantis"):
            id = f"o-{destination}"
            lab.execute(PlaceOrder(order_id=id, **wish, destination=destination))
        lab.run()
        story = {
            destination: [event.type for event in lab.store.read(f"order-o-{destination}")]
            for destination in ("Boston", "Atlantis")
        }
        assert story == {
            "Boston": ["OrderPlaced", "OrderConfirmed"],
            "Atlantis": ["OrderPlaced", "OrderCancelled"],
        }
        assert check_orders(lab.store) == []


# What must hold of a log.

placed = OrderPlaced(customer="1", article="1", quantity=3, amount=30, destination="Boston")
confirmed, cancelled = OrderConfirmed(), OrderCancelled(reason="too late")
fulfilled = (reserved, charged, booked)
given_up = (released, refunded, unbooked)


STREAMS = {
    **dict.fromkeys(Order.event_classes, "order-o-1"),
    **dict.fromkeys(Stock.event_classes, "stock-1"),
    **dict.fromkeys(Account.event_classes, "account-1"),
    **dict.fromkeys(Shipment.event_classes, "shipment-o-1"),
}


def log(*events: Event | tuple[str, Event]) -> list[str]:
    """Return what is wrong with events of one order; each in its stream, unless that is named."""
    with MemoryStore() as store:
        for event in events:
            pair = event if isinstance(event, tuple) else (STREAMS[event.event_type], event)
            store.append(pair[0], [pair[1]])
        return check_orders(store)


@pytest.mark.parametrize(
    "events",
    [
        (),
        (received, *fulfilled),
        (received, *fulfilled, left),
        (received, *fulfilled, *given_up),
        (placed,),
        (placed, received, *fulfilled),
        (placed, received, *fulfilled, confirmed, left),
        (placed, received, *fulfilled, *given_up, cancelled),
        (placed, released, PaymentRefunded(order_id="o-1", amount=0), unbooked, cancelled),
        (CreditLimited(amount=30), received, *fulfilled),
        (received, *fulfilled, CreditLimited(amount=0)),
    ],
)
def test_a_log_that_is_whole(events: Sequence[Event]) -> None:
    assert log(*events) == []


@pytest.mark.parametrize(
    ("events", "fault"),
    [
        (
            (received, reserved),
            "order o-1 is half done: reserved in stock-1, not charged, not booked",
        ),
        (
            (received, *fulfilled, refunded),
            "order o-1 is half done: reserved in stock-1, booked in shipment-o-1, not charged",
        ),
        (
            (received, ("stock-2", received), *fulfilled, ("stock-2", reserved)),
            (
                "order o-1 is half done: reserved in stock-1, charged in account-1, "
                "booked in shipment-o-1, reserved in stock-2"
            ),
        ),
        (
            (received, ("stock-2", received), reserved, charged, ("stock-2", reserved)),
            (
                "order o-1 is half done: reserved in stock-1, charged in account-1, "
                "reserved in stock-2, not booked"
            ),
        ),
        (
            (received, reserved, charged, ("stock-2", released), *given_up[1:]),
            "order o-1 is half done: reserved in stock-1, not charged, not booked",
        ),
        (
            (placed, confirmed),
            "order o-1 is confirmed, but it is not reserved, not charged, not booked",
        ),
        (
            (placed, received, *fulfilled, cancelled),
            (
                "order o-1 is cancelled, but it is reserved in stock-1, charged in account-1, "
                "booked in shipment-o-1"
            ),
        ),
        ((*fulfilled,), "order o-1: 3 of stock-1 are reserved, but 0 are free (position 1)"),
        (
            (CreditLimited(amount=29), received, *fulfilled),
            "order o-1: account-1 owes 30, but has a credit of 29 (position 4)",
        ),
        (
            (received, received, *fulfilled, reserved),
            "order o-1: reserved twice in stock-1 (position 6)",
        ),
        (
            (received, *fulfilled, charged),
            "order o-1: charged twice in account-1 (position 5)",
        ),
        (
            (received, *fulfilled, booked),
            "order o-1: booked twice in shipment-o-1 (position 5)",
        ),
        (
            (received, released, *fulfilled),
            "order o-1: reserved in stock-1 after it was given up there (position 3)",
        ),
        (
            (received, *fulfilled, *given_up, released),
            "order o-1: given up twice in stock-1 (position 8)",
        ),
        (
            (PaymentRefunded(order_id="o-1", amount=30),),
            "order o-1: 30 is refunded, but 0 was charged (position 1)",
        ),
        (
            (received, *fulfilled, released, PaymentRefunded(order_id="o-1", amount=29), unbooked),
            "order o-1: 29 is refunded, but 30 was charged (position 6)",
        ),
        (
            (left,),
            "order o-1: its shipment left, but is not booked (position 1)",
        ),
        (
            (received, *fulfilled, left, *given_up),
            "order o-1: its shipment is cancelled, but has left (position 8)",
        ),
    ],
)
def test_a_log_that_is_not_whole(events: Sequence[Event], fault: str) -> None:
    assert log(*events) == [fault]


@pytest.mark.parametrize(
    ("other", "found", "lacking"),
    [
        ({"article": "2"}, "3 reserved in stock-1", "3 reserved in stock-2"),
        ({"quantity": 2}, "3 reserved in stock-1", "2 reserved in stock-1"),
        ({"customer": "2"}, "30 charged in account-1", "30 charged in account-2"),
        ({"amount": 31}, "30 charged in account-1", "31 charged in account-1"),
        (
            {"destination": "New York"},
            "Boston booked in shipment-o-1",
            "New York booked in shipment-o-1",
        ),
    ],
)
def test_an_order_that_is_not_fulfilled_as_it_was_placed(
    other: dict[str, Any], found: str, lacking: str
) -> None:
    assert log(placed.model_copy(update=other), received, *fulfilled) == [
        f"order o-1 is not as it was placed: {found} instead of {lacking}"
    ]


def test_one_order_is_told_from_another() -> None:
    second = StockReserved(order_id="o-2", quantity=2)
    assert log(received, *fulfilled, second) == [
        "order o-2 is half done: reserved in stock-1, not charged, not booked"
    ]
    third = StockReserved(order_id="o-3", quantity=1), StockReleased(order_id="o-3")
    assert log(received, *fulfilled, second, *third, StockReleased(order_id="o-2")) == [
        "order o-3: 1 of stock-1 are reserved, but 0 are free (position 6)"
    ]


def test_what_is_given_back_can_be_taken_by_another() -> None:
    again = [event.model_copy(update={"order_id": "o-2"}) for event in fulfilled]
    there = [*again[:2], ("shipment-o-2", again[2])]
    before = StockReceived(quantity=3), CreditLimited(amount=30)
    assert log(*before, *fulfilled, *given_up, *there) == []
