"""Order fulfilment: stock is reserved, the payment is charged, a courier is booked.

Read `events`, then `order` with its rules and its fold, then `participants`, and who brings
them together in two styles: the saga in `fulfilment`, and the process manager in `choreography`;
`invariants` says what holds of all orders together.
"""

from eslab.simulation.scenarios.orders.choreography import (
    OrderProcess,
)
from eslab.simulation.scenarios.orders.commands import (
    BookShipment,
    CancelOrder,
    CancelShipment,
    ChargePayment,
    ConfirmOrder,
    LimitCredit,
    PlaceOrder,
    ReceiveStock,
    RefundPayment,
    ReleaseStock,
    ReserveStock,
    SendShipment,
)
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
from eslab.simulation.scenarios.orders.fulfilment import order_fulfilment
from eslab.simulation.scenarios.orders.invariants import check_orders
from eslab.simulation.scenarios.orders.order import Order
from eslab.simulation.scenarios.orders.participants import (
    SERVED,
    Account,
    Shipment,
    Stock,
)

__all__ = [
    "AGGREGATES",
    "SERVED",
    "Account",
    "BookShipment",
    "CancelOrder",
    "CancelShipment",
    "ChargePayment",
    "ConfirmOrder",
    "CreditLimited",
    "LimitCredit",
    "Order",
    "OrderCancelled",
    "OrderConfirmed",
    "OrderPlaced",
    "OrderProcess",
    "PaymentCharged",
    "PaymentRefunded",
    "PlaceOrder",
    "ReceiveStock",
    "RefundPayment",
    "ReleaseStock",
    "ReserveStock",
    "SendShipment",
    "Shipment",
    "ShipmentBooked",
    "ShipmentCancelled",
    "ShipmentLeft",
    "Stock",
    "StockReceived",
    "StockReleased",
    "StockReserved",
    "check_orders",
    "order_fulfilment",
]

AGGREGATES = (Order, Stock, Account, Shipment)
"""Who takes part: ``lab.register(*AGGREGATES)`` lets them handle their commands."""
