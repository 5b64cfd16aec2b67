"""What happens to an order, and to the stock, the account and the shipment behind it."""

from __future__ import annotations

from eslab.events import Event

__all__ = [
    "OrderCancelled",
    "OrderConfirmed",
    "OrderPlaced",
    "PaymentCharged",
    "PaymentRefunded",
    "ShipmentBooked",
    "StockReceived",
    "StockReleased",
    "StockReserved",
]


class OrderPlaced(Event):
    """A customer ordered an article.

    Attributes:
        customer: who pays.
        article: what is wanted.
        quantity: how many pieces.
        amount: what they cost, in cents.
        destination: where they go.
    """

    customer: str
    article: str
    quantity: int
    amount: int
    destination: str


class OrderConfirmed(Event):
    """The order is on its way."""


class OrderCancelled(Event):
    """The order will not be fulfilled.

    Attributes:
        reason: why.
    """

    reason: str


class StockReceived(Event):
    """Goods came in."""

    quantity: int


class StockReserved(Event):
    """Goods were set aside for an order."""

    order_id: str
    quantity: int


class StockReleased(Event):
    """Goods that were set aside are free again."""

    order_id: str


class PaymentCharged(Event):
    """Money was taken for an order."""

    order_id: str
    amount: int


class PaymentRefunded(Event):
    """Money was given back."""

    order_id: str
    amount: int


class ShipmentBooked(Event):
    """A courier will carry an order."""

    order_id: str
    destination: str
