"""What must hold of stock, money and couriers, however the sagas went: read from the log alone.

It looks at nothing but the events, so that it finds the faults of sagas and participants alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from eslab.events import Event, RecordedEvent
from eslab.simulation.scenarios.orders.events import (
    CreditLimited,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    PaymentCharged,
    PaymentRefunded,
    ShipmentBooked,
    ShipmentCancelled,
    ShipmentLeft,
    StockReceived,
    StockReleased,
    StockReserved,
)
from eslab.store.port import EventStore

__all__ = ["check_orders"]

_EFFECTS: Final = ("reserved", "charged", "booked")

_Place = tuple[str, str]  # an effect, and the stream where it is


def check_orders(store: EventStore) -> list[str]:
    """Return what is wrong with the orders of a log, a sentence each; nothing, if all is whole.

    It is for a log at rest: an order whose saga is still under way is half done. The rules:

    - An order is fulfilled, or nothing is left of it: stock is reserved, the payment charged, and
      a courier booked, or each of these was undone or never done. A confirmed order is fulfilled,
      of a cancelled one nothing is left.
    - An order that was placed is fulfilled as it was placed: so many pieces of that article, that
      amount from that customer, and that destination.
    - Nothing is done twice, undone twice, or done after it was undone. What is refunded is what was
      charged. A shipment leaves when it is booked, and then it is not cancelled.
    - No more is reserved than is free, and no more is charged than the credit allows.

    Goods that are set aside for a fulfilled order stay so: what is free and what is reserved are
    together what was received.

    Args:
        store: where the events are; it is read once, in order.

    Example:
        >>> from eslab.store import MemoryStore
        >>> store = MemoryStore()
        >>> _ = store.append("stock-anvil", [StockReceived(quantity=5)])
        >>> _ = store.append("stock-anvil", [StockReserved(order_id="o-1", quantity=2)])
        >>> check_orders(store)
        ['order o-1 is half done: reserved in stock-anvil, not charged, not booked']
        >>> _ = store.append("stock-anvil", [StockReleased(order_id="o-1")])
        >>> check_orders(store)
        []
    """
    ledger = _Ledger()
    ledger.enter(store.read_all(types=_TAKES))
    return [*ledger.faults, *ledger.faults_at_rest()]


@dataclass(slots=True)
class _Entry:
    """What the log says of one order.

    Attributes:
        placed: what was ordered, if it was placed.
        status: what became of the order itself.
        done: what is done and not undone: how many pieces, how many cents, and where to.
        undone: where it was given up.
        left: whether its shipment has left.
    """

    placed: Mapping[str, Any] | None = None
    status: Literal["open", "confirmed", "cancelled"] = "open"
    done: dict[_Place, int | str] = field(default_factory=dict)
    undone: set[_Place] = field(default_factory=set)
    left: bool = False


class _Ledger:
    """The orders, the stock and the accounts, as the events tell them; and what is wrong."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self._orders: defaultdict[str, _Entry] = defaultdict(_Entry)
        self._free: defaultdict[str, int] = defaultdict(int)
        self._owed: defaultdict[str, int] = defaultdict(int)
        self._credit: dict[str, int] = {}

    def enter(self, events: Iterable[RecordedEvent]) -> None:
        """Take events in their order."""
        takes = {event.event_type: take for event, take in _TAKES.items()}
        for event in events:
            takes[event.type](self, event)

    def faults_at_rest(self) -> Iterator[str]:
        """Yield what is wrong with an order to which nothing more is going to happen."""
        for order_id, order in self._orders.items():
            done = [effect for effect, _ in order.done]
            fulfilled = len(done) == len(_EFFECTS) == len(set(done))
            if done and not fulfilled:
                yield f"order {order_id} is half done: {_told(order)}"
            elif order.status == ("cancelled" if done else "confirmed"):
                yield f"order {order_id} is {order.status}, but it is {_told(order)}"
            elif done and order.placed is not None:
                wanted = _wanted(order_id, order.placed)
                if order.done != wanted:
                    found, lacking = _but(order.done, wanted), _but(wanted, order.done)
                    yield f"order {order_id} is not as it was placed: {found} instead of {lacking}"

    def placed(self, event: RecordedEvent) -> None:
        self._orders[_of_order(event)].placed = event.data

    def confirmed(self, event: RecordedEvent) -> None:
        self._orders[_of_order(event)].status = "confirmed"

    def cancelled(self, event: RecordedEvent) -> None:
        self._orders[_of_order(event)].status = "cancelled"

    def received(self, event: RecordedEvent) -> None:
        self._free[event.stream_id] += event.data["quantity"]

    def reserved(self, event: RecordedEvent) -> None:
        stock, quantity = event.stream_id, event.data["quantity"]
        free = self._free[stock]
        if quantity > free:
            self._fault(event, f"{quantity} of {stock} are reserved, but {free} are free")
        self._free[stock] = free - quantity
        self._do(event, "reserved", quantity)

    def released(self, event: RecordedEvent) -> None:
        self._free[event.stream_id] += self._undo(event, "reserved") or 0

    def limited(self, event: RecordedEvent) -> None:
        self._credit[event.stream_id] = event.data["amount"]

    def charged(self, event: RecordedEvent) -> None:
        account, amount = event.stream_id, event.data["amount"]
        owed = self._owed[account] = self._owed[account] + amount
        credit = self._credit.get(account)
        if credit is not None and owed > credit:
            self._fault(event, f"{account} owes {owed}, but has a credit of {credit}")
        self._do(event, "charged", amount)

    def refunded(self, event: RecordedEvent) -> None:
        charged, refunded = self._undo(event, "charged") or 0, event.data["amount"]
        self._owed[event.stream_id] -= refunded
        if charged != refunded:
            self._fault(event, f"{refunded} is refunded, but {charged} was charged")

    def booked(self, event: RecordedEvent) -> None:
        self._do(event, "booked", event.data["destination"])

    def left(self, event: RecordedEvent) -> None:
        order = self._orders[event.data["order_id"]]
        order.left = True
        if ("booked", event.stream_id) not in order.done:
            self._fault(event, "its shipment left, but is not booked")

    def unbooked(self, event: RecordedEvent) -> None:
        if self._orders[event.data["order_id"]].left:
            self._fault(event, "its shipment is cancelled, but has left")
        self._undo(event, "booked")

    def _do(self, event: RecordedEvent, effect: str, much: int | str) -> None:
        order, place = self._orders[event.data["order_id"]], (effect, event.stream_id)
        if place in order.done:
            self._fault(event, f"{effect} twice in {event.stream_id}")
        if place in order.undone:
            self._fault(event, f"{effect} in {event.stream_id} after it was given up there")
        order.done[place] = much

    def _undo(self, event: RecordedEvent, effect: str) -> Any:
        """Return what is not done any more; None, if nothing was."""
        order, place = self._orders[event.data["order_id"]], (effect, event.stream_id)
        if place in order.undone:
            self._fault(event, f"given up twice in {event.stream_id}")
        order.undone.add(place)
        return order.done.pop(place, None)

    def _fault(self, event: RecordedEvent, what: str) -> None:
        self.faults.append(f"order {event.data['order_id']}: {what} (position {event.position})")


_TAKES: Final[dict[type[Event], Callable[[_Ledger, RecordedEvent], None]]] = {
    OrderPlaced: _Ledger.placed,
    OrderConfirmed: _Ledger.confirmed,
    OrderCancelled: _Ledger.cancelled,
    StockReceived: _Ledger.received,
    StockReserved: _Ledger.reserved,
    StockReleased: _Ledger.released,
    CreditLimited: _Ledger.limited,
    PaymentCharged: _Ledger.charged,
    PaymentRefunded: _Ledger.refunded,
    ShipmentBooked: _Ledger.booked,
    ShipmentLeft: _Ledger.left,
    ShipmentCancelled: _Ledger.unbooked,
}


def _of_order(event: RecordedEvent) -> str:
    """Return the id of the order whose own stream it is."""
    return event.stream_id.partition("-")[2]


def _told(order: _Entry) -> str:
    """Return which effects an order has, and which not."""
    done = [f"{effect} in {stream}" for effect, stream in order.done]
    lacking = set(_EFFECTS) - {effect for effect, _ in order.done}
    return ", ".join(done + [f"not {effect}" for effect in _EFFECTS if effect in lacking])


def _wanted(order_id: str, placed: Mapping[str, Any]) -> dict[_Place, int | str]:
    """Return what is done for an order that is fulfilled."""
    return {
        ("reserved", f"stock-{placed['article']}"): placed["quantity"],
        ("charged", f"account-{placed['customer']}"): placed["amount"],
        ("booked", f"shipment-{order_id}"): placed["destination"],
    }


def _but(done: Mapping[_Place, int | str], other: Mapping[_Place, int | str]) -> str:
    """Return what is done here and not there."""
    return ", ".join(
        f"{much} {place[0]} in {place[1]}"
        for place, much in done.items()
        if other.get(place) != much
    )
