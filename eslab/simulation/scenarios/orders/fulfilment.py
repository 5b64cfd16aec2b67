"""The saga that everyone knows: reserve the stock, charge the payment, book a courier.

The courier does not deliver everywhere; then the payment is refunded and the stock released, in
that order.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from eslab.aggregates import Definition, Repository
from eslab.messaging import Command, handled
from eslab.sagas import Saga, Step, StepContext
from eslab.simulation.scenarios.orders.commands import (
    BookShipment,
    ChargePayment,
    RefundPayment,
    ReleaseStock,
    ReserveStock,
)
from eslab.simulation.scenarios.orders.participants import Account, Shipment, Stock
from eslab.subscriptions import Retry

__all__ = ["order_fulfilment"]


def order_fulfilment(repository: Repository) -> Saga:
    """Return the saga that fulfils an order.

    It is started with ``article``, ``quantity``, ``customer``, ``amount`` and ``destination``;
    its id is that of the order.

    Args:
        repository: where the participants are.
    """

    def ask(cls: Definition[Any], id: str, command: Command) -> None:
        participant = repository.find(cls, id)
        participant.execute(command)
        repository.save(participant, metadata=handled())

    def reserve(step: StepContext) -> None:
        article, quantity = step.input["article"], step.input["quantity"]
        command = ReserveStock(article=article, order_id=step.saga_id, quantity=quantity)
        ask(Stock, article, command)

    def release(step: StepContext) -> None:
        article = step.input["article"]
        ask(Stock, article, ReleaseStock(article=article, order_id=step.saga_id))

    def charge(step: StepContext) -> None:
        customer, amount = step.input["customer"], step.input["amount"]
        command = ChargePayment(customer=customer, order_id=step.saga_id, amount=amount)
        ask(Account, customer, command)

    def refund(step: StepContext) -> None:
        customer = step.input["customer"]
        ask(Account, customer, RefundPayment(customer=customer, order_id=step.saga_id))

    def book(step: StepContext) -> None:
        destination = step.input["destination"]
        command = BookShipment(order_id=step.saga_id, destination=destination)
        ask(Shipment, step.saga_id, command)

    return Saga(
        "fulfilment",
        [
            Step("reserve_stock", reserve, release, cost=timedelta(milliseconds=40)),
            Step("charge_payment", charge, refund, cost=timedelta(milliseconds=120)),
            Step("book_courier", book, retry=Retry(limit=1), cost=timedelta(milliseconds=60)),
        ],
    )
