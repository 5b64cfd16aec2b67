"""Order fulfilment: stock is reserved, the payment is charged, a courier is booked.

Read `events`, then `order` with its rules and its fold, then `participants` and the saga in
`fulfilment`.
"""

from eslab.simulation.scenarios.orders.commands import CancelOrder, ConfirmOrder, PlaceOrder
from eslab.simulation.scenarios.orders.events import (
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    PaymentCharged,
    PaymentRefunded,
    ShipmentBooked,
    StockReceived,
    StockReleased,
    StockReserved,
)
from eslab.simulation.scenarios.orders.fulfilment import order_fulfilment
from eslab.simulation.scenarios.orders.order import Order
from eslab.simulation.scenarios.orders.participants import Account, Shipment, Stock

__all__ = [
    "Account",
    "CancelOrder",
    "ConfirmOrder",
    "Order",
    "OrderCancelled",
    "OrderConfirmed",
    "OrderPlaced",
    "PaymentCharged",
    "PaymentRefunded",
    "PlaceOrder",
    "Shipment",
    "ShipmentBooked",
    "Stock",
    "StockReceived",
    "StockReleased",
    "StockReserved",
    "order_fulfilment",
]
