"""What happens to an order, and to the stock, the account and the shipment behind it."""

from __future__ import annotations

from eslab.events import Event

__all__ = [
    "CreditLimited",
    "OrderCancelled",
    "OrderConfirmed",
    "OrderPlaced",
    "PaymentCharged",
    "PaymentRefunded",
    "ShipmentBooked",
    "ShipmentCancelled",
    "ShipmentLeft",
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
    """Goods came in.

    Attributes:
        quantity: how many pieces, above 0.
    """

    quantity: int


class StockReserved(Event):
    """Goods were set aside for an order.

    Attributes:
        order_id: for which order.
        quantity: how many pieces, above 0.
    """

    order_id: str
    quantity: int


class StockReleased(Event):
    """Goods that were set aside are free again; or none were, and none will be.

    Attributes:
        order_id: the order that was given up.
    """

    order_id: str


class CreditLimited(Event):
    """A customer may owe no more than this.

    Attributes:
        amount: in cents.
    """

    amount: int


class PaymentCharged(Event):
    """Money was taken for an order.

    Attributes:
        order_id: for which order.
        amount: in cents.
    """

    order_id: str
    amount: int


class PaymentRefunded(Event):
    """Money was given back; or none had been taken, and none will be.

    Attributes:
        order_id: the order that was given up.
        amount: what had been taken for it, in cents.
    """

    order_id: str
    amount: int


class ShipmentBooked(Event):
    """A courier will carry an order.

    Attributes:
        order_id: which order.
        destination: where to.
    """

    order_id: str
    destination: str


class ShipmentLeft(Event):
    """The courier is on the way.

    Attributes:
        order_id: with which order.
    """

    order_id: str


class ShipmentCancelled(Event):
    """The courier will not come; or none was booked, and none will be.

    Attributes:
        order_id: the order that was given up.
    """

    order_id: str
