"""The fulfilment of an order as choreography: nobody has the list of steps, each event has its own.

It does what the saga in `fulfilment` does, with the same participants: so the two can be put side
by side. There the order of the steps stands in one place; here it is spread over the methods, and
what undoes what is written by hand.
"""

from __future__ import annotations

from typing import Final

from eslab.messaging import Command
from eslab.projections import on
from eslab.sagas import ProcessManager, on_refused, on_timer, start, stop
from eslab.simulation.scenarios.orders.commands import (
    BookShipment,
    CancelOrder,
    CancelShipment,
    ChargePayment,
    ConfirmOrder,
    RefundPayment,
    ReleaseStock,
    ReserveStock,
)
from eslab.simulation.scenarios.orders.events import (
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    PaymentCharged,
    ShipmentBooked,
    StockReserved,
)

__all__ = ["OrderProcess"]

OVERDUE: Final = "1 h"


class OrderProcess(ProcessManager, name="order_process", by="order_id", not_found="park"):
    """Fulfils an order that was placed, or gives it up and undoes what was done for it.

    From when the courier is booked there is no way back: the order is confirmed. Until then it is
    given up when something is refused, when it takes too long, or when somebody cancels it.

    Attributes:
        order: what was ordered.
        asked: what was asked for and not refused, in order: this is to be undone.
        given_up: it is being undone.
    """

    order: OrderPlaced | None = None
    asked: list[str] = []  # noqa: RUF012 - copied for each instance
    given_up: bool = False

    @start
    def placed(self, event: OrderPlaced) -> None:
        """Begin with the stock."""
        self.order = event
        self.set_timer("overdue", OVERDUE)
        self.asked.append("stock")
        self.send(ReserveStock(article=event.article, order_id=self.id, quantity=event.quantity))

    @on
    def reserved(self, _: StockReserved) -> None:
        """Have it paid."""
        if self.order is not None and not self.given_up:
            self.asked.append("payment")
            customer, amount = self.order.customer, self.order.amount
            self.send(ChargePayment(customer=customer, order_id=self.id, amount=amount))

    @on
    def charged(self, _: PaymentCharged) -> None:
        """Have it carried."""
        if self.order is not None and not self.given_up:
            self.asked.append("shipment")
            self.send(BookShipment(order_id=self.id, destination=self.order.destination))

    @on
    def booked(self, _: ShipmentBooked) -> None:
        """Say that it is on its way; now it can no longer be overdue."""
        if not self.given_up:
            self.cancel_timer("overdue")
            self.send(ConfirmOrder(order_id=self.id))

    @stop
    def confirmed(self, _: OrderConfirmed) -> None:
        """Nothing is left to do."""

    @on_refused
    def refused(self, _: ReserveStock | ChargePayment | BookShipment, reason: str) -> None:
        """Give the order up; what was refused has no effect, and is not undone."""
        if not self.given_up:
            self.asked.pop()
            self._give_up()
            self.send(CancelOrder(order_id=self.id, reason=reason))

    @on_refused
    def not_confirmed(self, _: ConfirmOrder, __: str) -> None:
        """Nothing: somebody cancelled the order meanwhile, which is an event of its own."""

    @on_timer("overdue")
    def overdue(self) -> None:
        """Give the order up."""
        self._give_up()
        self.send(CancelOrder(order_id=self.id, reason=f"it was not fulfilled within {OVERDUE}"))

    @stop
    def cancelled(self, _: OrderCancelled) -> None:
        """Undo what was done, if it was not this that cancelled it."""
        if not self.given_up:
            self._give_up()

    def _give_up(self) -> None:
        """Undo what was asked for, the last first: what is on its way is answered before that."""
        self.given_up = True
        self.cancel_timer("overdue")
        for what in reversed(self.asked):
            self.send(self._undoing(what))

    def _undoing(self, what: str) -> Command:
        assert self.order is not None
        if what == "stock":
            return ReleaseStock(article=self.order.article, order_id=self.id)
        if what == "payment":
            return RefundPayment(customer=self.order.customer, order_id=self.id)
        return CancelShipment(order_id=self.id)
