"""The order itself, as an aggregate: placed, then confirmed or cancelled."""

from __future__ import annotations

from typing import Literal

from eslab.aggregates import Aggregate, applies, handles
from eslab.errors import DomainError
from eslab.simulation.scenarios.orders.commands import CancelOrder, ConfirmOrder, PlaceOrder
from eslab.simulation.scenarios.orders.events import OrderCancelled, OrderConfirmed, OrderPlaced

__all__ = ["Order"]


class Order(Aggregate):
    """What a customer wants, and what became of it."""

    status: Literal["none", "placed", "confirmed", "cancelled"] = "none"
    placed: OrderPlaced | None = None
    reason: str = ""

    @handles
    def place(self, command: PlaceOrder) -> None:
        """Take an order, unless it was given up before it came."""
        placed = OrderPlaced(**command.model_dump(exclude={"order_id"}))
        if self.status == "none":
            self.record(placed)
        elif self.placed is None:
            raise DomainError(f"order {self.id} was given up: {self.reason}")
        elif self.placed != placed:
            raise DomainError(f"order {self.id} is for something else: {self.placed!r}")

    @handles
    def confirm(self, command: ConfirmOrder) -> None:
        """Say that it is on its way."""
        if self.status == "placed":
            self.record(OrderConfirmed())
        elif self.status != "confirmed":
            raise DomainError(f"order {command.order_id} is {self.status}: it cannot be confirmed")

    @handles
    def cancel(self, command: CancelOrder) -> None:
        """Give it up, also one that is on its way here yet."""
        if self.status in ("none", "placed"):
            self.record(OrderCancelled(reason=command.reason))
        elif self.status != "cancelled":
            raise DomainError(f"order {command.order_id} is {self.status}: it cannot be cancelled")

    @applies
    def _placed(self, event: OrderPlaced) -> None:
        self.status = "placed"
        self.placed = event

    @applies
    def _confirmed(self, _: OrderConfirmed) -> None:
        self.status = "confirmed"

    @applies
    def _cancelled(self, event: OrderCancelled) -> None:
        self.status = "cancelled"
        self.reason = event.reason
