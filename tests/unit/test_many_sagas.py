"""Very many sagas at once: whatever goes wrong meanwhile, nothing is lost when all is over."""

from __future__ import annotations

from typing import Any

import pytest
from soak import scaled

from eslab import Lab, ProcessManager, Saga
from eslab.simulation.faults import Fault, Faults
from eslab.simulation.saga_rules import check_saga
from eslab.simulation.scenarios.orders import (
    AGGREGATES,
    OrderProcess,
    PlaceOrder,
    ReceiveStock,
    check_orders,
    order_fulfilment,
)

COUNT = scaled(300, 10_000)
NAMES: Any = ("fails", "reply_lost", "late_reply", "duplicate_reply", "slow", "duplicated")
KINDS: Any = ("execute", "compensate")
MISHAPS = [
    *(Fault(name, kind=kind, rate=0.02) for name in NAMES for kind in KINDS),
    Fault("reply_lost", "confirm_order", rate=0.3),  # three times, and it is STUCK
]
ANSWERED: Any = ("fails", "slow", "duplicated", "delayed", "lost")
COMMANDS = [Fault(name, kind="command", rate=0.02) for name in ANSWERED]


def place(lab: Lab, who: Saga | type[ProcessManager], *faults: Fault) -> Faults:
    """Place all orders at once; each seventh cannot be fulfilled."""
    lab.register(*AGGREGATES, who)
    for article in range(COUNT // 10):
        lab.execute(ReceiveStock(article=f"{article}", quantity=10))
    for number in range(COUNT):
        destination = "Boston" if number % 7 else "Atlantis"
        lab.execute(
            PlaceOrder(
                order_id=f"{number}",
                article=f"{number % (COUNT // 10)}",
                quantity=1,
                customer=f"{number % (COUNT // 4)}",
                amount=30,
                destination=destination,
            )
        )
    injected = lab.inject(*faults)
    lab.run(progress=False)
    return injected


REFUSED = len(range(0, COUNT, 7))


@pytest.mark.soak
def test_very_many_sagas_end_at_once() -> None:
    with Lab(seed=7) as lab:
        place(lab, order_fulfilment)
        expected = {"COMPLETED": COUNT - REFUSED, "COMPENSATED": REFUSED}
        assert lab.sagas.counts == expected
        assert check_orders(lab.store) == []


@pytest.mark.soak
def test_very_many_sagas_lose_nothing_when_things_go_wrong() -> None:
    with Lab(seed=7) as lab:
        injected = place(lab, order_fulfilment, *MISHAPS)
        assert {one.fault.name for one in injected.injected} == {*NAMES}
        before = lab.sagas.counts
        assert {*before} == {"COMPLETED", "COMPENSATED", "STUCK"}
        lab.inject()
        for saga_id in lab.sagas.df.query("status == 'STUCK'")["saga_id"]:
            lab.resume_saga("fulfilment", saga_id)
        lab.run(progress=False)
        after = lab.sagas.counts
        assert {*after} == {"COMPLETED", "COMPENSATED"}
        assert check_orders(lab.store) == []
        for number in range(0, COUNT, COUNT // 5):
            assert check_saga(order_fulfilment, f"{number}", lab.store) == []


@pytest.mark.soak
def test_very_many_process_managers_lose_nothing_when_things_go_wrong() -> None:
    with Lab(seed=7) as lab:
        injected = place(lab, OrderProcess, *COMMANDS)
        assert {one.fault.name for one in injected.injected} == {*ANSWERED}
        assert lab.sagas.counts == {"COMPLETED": COUNT}
        assert check_orders(lab.store) == []
