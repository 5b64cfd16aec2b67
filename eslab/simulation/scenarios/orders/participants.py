"""Who takes part in the fulfilment of an order: stock, account and shipment.

Each remembers what it did for which order, so that a command that comes again takes effect once.
What undoes a command also forbids it: if the two overtake each other on the way, the one that comes
late is refused, and nothing is left behind.
"""

from __future__ import annotations

from typing import Final, Literal

from eslab.aggregates import Aggregate, applies, handles
from eslab.errors import DomainError
from eslab.simulation.scenarios.orders.commands import (
    BookShipment,
    CancelShipment,
    ChargePayment,
    LimitCredit,
    ReceiveStock,
    RefundPayment,
    ReleaseStock,
    ReserveStock,
    SendShipment,
)
from eslab.simulation.scenarios.orders.events import (
    CreditLimited,
    PaymentCharged,
    PaymentRefunded,
    ShipmentBooked,
    ShipmentCancelled,
    ShipmentLeft,
    StockReceived,
    StockReleased,
    StockReserved,
)

__all__ = ["SERVED", "Account", "Shipment", "Stock"]

SERVED: Final = frozenset({"New York", "Boston"})
"""Where the courier delivers."""


class Stock(Aggregate):
    """The stock of one article, in pieces.

    Attributes:
        free: what nobody has reserved.
        reserved: by order, what is set aside for it.
        released: by order that was given up, what had been set aside for it.
    """

    free: int = 0
    reserved: dict[str, int] = {}  # noqa: RUF012 - copied for each instance
    released: dict[str, int] = {}  # noqa: RUF012 - as above

    @handles
    def receive(self, command: ReceiveStock) -> None:
        """Take goods in."""
        self.record(StockReceived(quantity=command.quantity))

    @handles
    def reserve(self, command: ReserveStock) -> None:
        """Set goods aside; for an order that has them already, do nothing."""
        order_id, quantity = command.order_id, command.quantity
        if order_id in self.released:
            raise DomainError(f"order {order_id} was given up: nothing is set aside for it")
        if order_id in self.reserved:
            _require_same(order_id, self.reserved[order_id], quantity)
        elif quantity > self.free:
            raise DomainError(f"{quantity} of {self.id} are wanted, {self.free} are free")
        else:
            self.record(StockReserved(order_id=order_id, quantity=quantity))

    @handles
    def release(self, command: ReleaseStock) -> None:
        """Free what is set aside for an order, and remember that it was given up."""
        if command.order_id not in self.released:
            self.record(StockReleased(order_id=command.order_id))

    @applies
    def _received(self, event: StockReceived) -> None:
        self.free += event.quantity

    @applies
    def _reserved(self, event: StockReserved) -> None:
        self.free -= event.quantity
        self.reserved[event.order_id] = event.quantity

    @applies
    def _released(self, event: StockReleased) -> None:
        quantity = self.reserved.pop(event.order_id, 0)
        self.free += quantity
        self.released[event.order_id] = quantity


class Account(Aggregate):
    """A customer's account, in cents.

    Attributes:
        charged: by order, what was taken for it.
        refunded: by order that was given up, what had been taken for it.
        credit: how much may be charged in all; None for any amount.
    """

    charged: dict[str, int] = {}  # noqa: RUF012 - copied for each instance
    refunded: dict[str, int] = {}  # noqa: RUF012 - as above
    credit: int | None = None

    @handles
    def limit(self, command: LimitCredit) -> None:
        """Let the customer owe no more than this from now on."""
        if command.amount != self.credit:
            self.record(CreditLimited(amount=command.amount))

    @handles
    def charge(self, command: ChargePayment) -> None:
        """Take money for an order; if that was done already, do nothing."""
        order_id, amount = command.order_id, command.amount
        if order_id in self.refunded:
            raise DomainError(f"order {order_id} was given up: nothing is charged for it")
        if order_id in self.charged:
            _require_same(order_id, self.charged[order_id], amount)
            return
        owed = sum(self.charged.values()) + amount
        if self.credit is not None and owed > self.credit:
            raise DomainError(f"{self.id} would owe {owed}, and has a credit of {self.credit}")
        self.record(PaymentCharged(order_id=order_id, amount=amount))

    @handles
    def refund(self, command: RefundPayment) -> None:
        """Give back what an order was charged, and remember that it was given up."""
        order_id = command.order_id
        if order_id not in self.refunded:
            amount = self.charged.get(order_id, 0)
            self.record(PaymentRefunded(order_id=order_id, amount=amount))

    @applies
    def _limited(self, event: CreditLimited) -> None:
        self.credit = event.amount

    @applies
    def _charged(self, event: PaymentCharged) -> None:
        self.charged[event.order_id] = event.amount

    @applies
    def _refunded(self, event: PaymentRefunded) -> None:
        self.charged.pop(event.order_id, None)
        self.refunded[event.order_id] = event.amount


class Shipment(Aggregate):
    """The shipment of one order, whose id it has."""

    status: Literal["none", "booked", "left", "cancelled"] = "none"
    destination: str | None = None

    @handles
    def book(self, command: BookShipment) -> None:
        """Book a courier; if that was done already, do nothing."""
        if self.status == "cancelled":
            raise DomainError(f"order {self.id} was given up: no courier is booked for it")
        if self.destination is not None:
            _require_same(self.id, self.destination, command.destination)
        elif command.destination not in SERVED:
            raise DomainError(f"no courier delivers to {command.destination}")
        else:
            self.record(ShipmentBooked(order_id=self.id, destination=command.destination))

    @handles
    def send(self, command: SendShipment) -> None:
        """Let the courier leave."""
        if self.status == "booked":
            self.record(ShipmentLeft(order_id=self.id))
        elif self.status != "left":
            raise DomainError(
                f"the shipment of order {command.order_id} is {self.status}: it cannot leave"
            )

    @handles
    def cancel(self, command: CancelShipment) -> None:
        """Do without the courier, and remember that the order was given up."""
        if self.status == "left":
            raise DomainError(
                f"the shipment of order {command.order_id} has left: it cannot be cancelled"
            )
        if self.status != "cancelled":
            self.record(ShipmentCancelled(order_id=self.id))

    @applies
    def _booked(self, event: ShipmentBooked) -> None:
        self.status = "booked"
        self.destination = event.destination

    @applies
    def _left(self, _: ShipmentLeft) -> None:
        self.status = "left"

    @applies
    def _cancelled(self, _: ShipmentCancelled) -> None:
        self.status = "cancelled"


def _require_same(order_id: str, done: object, asked: object) -> None:
    """Raise DomainError, if a command that was carried out comes again with something else."""
    if done != asked:
        raise DomainError(f"order {order_id} is for {done} already, not for {asked}")
