"""The saga that everyone knows: reserve the stock, charge the payment, book a courier.

The courier does not deliver everywhere, and a customer's credit is limited: then what was done is
undone, in reverse order. Each step sends a command to who takes part, and names how to take it
back; `OrderProcess` does the same as a choreography.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from eslab.sagas import Saga, Send, Step, StepContext
from eslab.simulation.scenarios.orders.commands import (
    BookShipment,
    CancelOrder,
    CancelShipment,
    ChargePayment,
    ConfirmOrder,
    PlaceOrder,
    RefundPayment,
    ReleaseStock,
    ReserveStock,
)
from eslab.simulation.scenarios.orders.events import OrderPlaced
from eslab.subscriptions import Retry

__all__ = ["order_fulfilment"]

TIMEOUT: Final = timedelta(seconds=30)
RETRY: Final = Retry(limit=2, first=timedelta(seconds=1))


def _place(step: StepContext) -> PlaceOrder:
    return PlaceOrder(order_id=step.saga_id, **step.input)


def _cancel(step: StepContext) -> CancelOrder:
    return CancelOrder(order_id=step.saga_id, reason="it could not be fulfilled")


def _reserve(step: StepContext) -> ReserveStock:
    article, quantity = step.input["article"], step.input["quantity"]
    return ReserveStock(article=article, order_id=step.saga_id, quantity=quantity)


def _release(step: StepContext) -> ReleaseStock:
    return ReleaseStock(article=step.input["article"], order_id=step.saga_id)


def _charge(step: StepContext) -> ChargePayment:
    customer, amount = step.input["customer"], step.input["amount"]
    return ChargePayment(customer=customer, order_id=step.saga_id, amount=amount)


def _refund(step: StepContext) -> RefundPayment:
    return RefundPayment(customer=step.input["customer"], order_id=step.saga_id)


def _book(step: StepContext) -> BookShipment:
    return BookShipment(order_id=step.saga_id, destination=step.input["destination"])


def _unbook(step: StepContext) -> CancelShipment:
    return CancelShipment(order_id=step.saga_id)


def _confirm(step: StepContext) -> ConfirmOrder:
    return ConfirmOrder(order_id=step.saga_id)


def _step(
    name: str,
    milliseconds: int,
    execute: Send,
    compensate: Send | None = None,
    *,
    pivot: bool = False,
) -> Step:
    cost = timedelta(milliseconds=milliseconds)
    return Step(name, execute, compensate, retry=RETRY, timeout=TIMEOUT, cost=cost, pivot=pivot)


order_fulfilment: Final = Saga(
    "fulfilment",
    [
        _step("place_order", 10, Send(_place), Send(_cancel)),
        _step("reserve_stock", 40, Send(_reserve), Send(_release)),
        _step("charge_payment", 120, Send(_charge), Send(_refund)),
        _step("book_courier", 60, Send(_book), Send(_unbook)),
        _step("confirm_order", 10, Send(_confirm), pivot=True),
    ],
    started_by=OrderPlaced,
)
"""Fulfils an order: it is started when one is placed, with the data of that event.

To confirm the order is the pivot: if nobody answers, it may be confirmed, and to undo the rest
would be wrong; then the saga is STUCK, and a person lets it go on.

An order that was placed already is not placed again. Started by hand, with ``article``,
``quantity``, ``customer``, ``amount`` and ``destination``, the saga places the order itself.
"""
