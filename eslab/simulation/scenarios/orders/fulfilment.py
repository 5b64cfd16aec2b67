"""The saga that everyone knows: reserve the stock, charge the payment, book a courier.

The courier does not deliver everywhere; then the payment is refunded and the stock released, in
that order.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from eslab.aggregates import Definition, Repository
from eslab.messaging import handled
from eslab.sagas import Saga, Step, StepContext
from eslab.simulation.scenarios.orders.participants import Account, Shipment, Stock
from eslab.subscriptions import Retry

__all__ = ["order_fulfilment"]


def order_fulfilment(
    repository: Repository, *, served: frozenset[str] = frozenset({"New York", "Boston"})
) -> Saga:
    """Return the saga that fulfils an order.

    It is started with ``article``, ``quantity``, ``customer``, ``amount`` and ``destination``;
    its id is that of the order.

    Args:
        repository: where the participants are.
        served: where the courier delivers.
    """

    def change(cls: Definition[Any], id: str, method: str, *args: Any, **options: Any) -> None:
        participant = repository.find(cls, id)
        getattr(participant, method)(*args, **options)
        repository.save(participant, metadata=handled())

    def reserve(step: StepContext) -> None:
        change(Stock, step.input["article"], "reserve", step.saga_id, step.input["quantity"])

    def release(step: StepContext) -> None:
        change(Stock, step.input["article"], "release", step.saga_id)

    def charge(step: StepContext) -> None:
        change(Account, step.input["customer"], "charge", step.saga_id, step.input["amount"])

    def refund(step: StepContext) -> None:
        change(Account, step.input["customer"], "refund", step.saga_id)

    def book(step: StepContext) -> None:
        change(Shipment, step.saga_id, "book", step.input["destination"], served=served)

    return Saga(
        "fulfilment",
        [
            Step("reserve_stock", reserve, release, cost=timedelta(milliseconds=40)),
            Step("charge_payment", charge, refund, cost=timedelta(milliseconds=120)),
            Step("book_courier", book, retry=Retry(limit=1), cost=timedelta(milliseconds=60)),
        ],
    )
