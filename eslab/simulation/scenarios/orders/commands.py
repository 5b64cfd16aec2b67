"""What a customer, or whoever fulfils the order, may ask for. Amounts are in cents."""

from __future__ import annotations

from pydantic import NonNegativeInt, PositiveInt

from eslab.messaging import Command

__all__ = [
    "BookShipment",
    "CancelOrder",
    "CancelShipment",
    "ChargePayment",
    "ConfirmOrder",
    "LimitCredit",
    "PlaceOrder",
    "ReceiveStock",
    "RefundPayment",
    "ReleaseStock",
    "ReserveStock",
    "SendShipment",
]


class PlaceOrder(Command):
    """Order an article; ordering the same again under the same id changes nothing."""

    order_id: str
    customer: str
    article: str
    quantity: PositiveInt
    amount: NonNegativeInt
    destination: str


class ConfirmOrder(Command):
    """Say that an order is on its way."""

    order_id: str


class CancelOrder(Command):
    """Give an order up that is not on its way yet."""

    order_id: str
    reason: str


class ReceiveStock(Command, target="article"):
    """Take goods in; taking in as many again is another delivery."""

    article: str
    quantity: PositiveInt


class ReserveStock(Command, target="article"):
    """Set goods aside for an order, once."""

    article: str
    order_id: str
    quantity: PositiveInt


class ReleaseStock(Command, target="article"):
    """Free what is set aside for an order, and set nothing aside for it from now on."""

    article: str
    order_id: str


class LimitCredit(Command, target="customer"):
    """Let a customer owe no more than this; what was charged before stays charged."""

    customer: str
    amount: NonNegativeInt


class ChargePayment(Command, target="customer"):
    """Take money for an order, once, as far as the credit goes."""

    customer: str
    order_id: str
    amount: NonNegativeInt


class RefundPayment(Command, target="customer"):
    """Give back what was taken for an order, and take nothing for it from now on."""

    customer: str
    order_id: str


class BookShipment(Command, target="order_id"):
    """Book a courier for an order, once."""

    order_id: str
    destination: str


class SendShipment(Command, target="order_id"):
    """Hand an order to its courier; from now on the shipment cannot be cancelled."""

    order_id: str


class CancelShipment(Command, target="order_id"):
    """Do without the courier that was booked, unless it has left; book none from now on."""

    order_id: str
