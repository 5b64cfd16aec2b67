"""Who takes part in the fulfilment of an order: stock, account and shipment.

Each remembers what it did for which order, so that a step that is tried again takes effect once.
"""

from __future__ import annotations

from eslab.aggregates import Aggregate, applies
from eslab.errors import DomainError
from eslab.simulation.scenarios.orders.events import (
    PaymentCharged,
    PaymentRefunded,
    ShipmentBooked,
    StockReceived,
    StockReleased,
    StockReserved,
)

__all__ = ["Account", "Shipment", "Stock"]


class Stock(Aggregate):
    """The stock of one article: what is free, and what is set aside for whom."""

    free: int = 0
    reserved: dict[str, int] = {}  # noqa: RUF012 - copied for each instance

    def receive(self, quantity: int) -> None:
        """Take goods in."""
        if quantity <= 0:
            raise DomainError(f"a delivery has at least one piece, not {quantity}")
        self.record(StockReceived(quantity=quantity))

    def reserve(self, order_id: str, quantity: int) -> None:
        """Set goods aside; for an order that has them already, do nothing."""
        if order_id in self.reserved:
            return
        if quantity <= 0:
            raise DomainError(f"an order has at least one piece, not {quantity}")
        if quantity > self.free:
            raise DomainError(f"{quantity} of {self.id} are wanted, {self.free} are free")
        self.record(StockReserved(order_id=order_id, quantity=quantity))

    def release(self, order_id: str) -> None:
        """Free what is set aside for an order; for one that has nothing, do nothing."""
        if order_id in self.reserved:
            self.record(StockReleased(order_id=order_id))

    @applies
    def _received(self, event: StockReceived) -> None:
        self.free += event.quantity

    @applies
    def _reserved(self, event: StockReserved) -> None:
        self.free -= event.quantity
        self.reserved[event.order_id] = event.quantity

    @applies
    def _released(self, event: StockReleased) -> None:
        self.free += self.reserved.pop(event.order_id)


class Account(Aggregate):
    """A customer's account: what was charged for which order, and not refunded."""

    charged: dict[str, int] = {}  # noqa: RUF012 - copied for each instance

    def charge(self, order_id: str, amount: int) -> None:
        """Take money for an order, once."""
        if amount < 0:
            raise DomainError(f"an amount is not negative: {amount}")
        if order_id not in self.charged:
            self.record(PaymentCharged(order_id=order_id, amount=amount))

    def refund(self, order_id: str) -> None:
        """Give back what an order was charged, once."""
        if order_id in self.charged:
            self.record(PaymentRefunded(order_id=order_id, amount=self.charged[order_id]))

    @applies
    def _charged(self, event: PaymentCharged) -> None:
        self.charged[event.order_id] = event.amount

    @applies
    def _refunded(self, event: PaymentRefunded) -> None:
        del self.charged[event.order_id]


class Shipment(Aggregate):
    """The shipment of one order."""

    destination: str | None = None

    def book(self, destination: str, *, served: frozenset[str]) -> None:
        """Book a courier, once."""
        if destination not in served:
            raise DomainError(f"no courier delivers to {destination}")
        if self.destination is None:
            self.record(ShipmentBooked(order_id=self.id, destination=destination))

    @applies
    def _booked(self, event: ShipmentBooked) -> None:
        self.destination = event.destination
