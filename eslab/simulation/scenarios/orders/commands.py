"""What a customer, or whoever fulfils the order, may ask for."""

from __future__ import annotations

from pydantic import NonNegativeInt, PositiveInt

from eslab.messaging import Command

__all__ = ["CancelOrder", "ConfirmOrder", "PlaceOrder"]


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
