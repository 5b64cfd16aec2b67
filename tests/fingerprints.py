"""One run of each scenario, and what it leaves behind: the same bytes for the same seed.

Run as a program it prints the fingerprints as JSON; with ``--write`` into the committed file.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from eslab import Lab, ProcessManager, RecordedEvent, Retry, Saga, StepContext
from eslab.bus.local import ALL
from eslab.interop.flights import (
    ArrivalsByDestination,
    DelayByAirportHour,
    Flight,
    import_week,
)
from eslab.simulation.faults import DELIVERY_FAULTS, STEP_FAULTS, Fault
from eslab.simulation.scenarios import accounts as bank
from eslab.simulation.scenarios import orders, workflow
from eslab.simulation.scenarios.workflow import Workflow, WorkflowMetrics, workflow_execution
from eslab.simulation.workload import Bursts, Workload, Zipf

COMMITTED = Path(__file__).with_suffix(".json")
SECOND = timedelta(seconds=1)

MISHAPS = [
    *(Fault(name, rate=0.03, kind="execute") for name in STEP_FAULTS),
    *(Fault(name, rate=0.03, kind="compensate") for name in STEP_FAULTS),
    *(Fault(name, rate=0.05, kind="command") for name in ("fails", "slow", *DELIVERY_FAULTS)),
    *(Fault(name, rate=0.05) for name in DELIVERY_FAULTS),
]


def accounts(lab: Lab) -> None:
    """Hot accounts, that pay each other, or cannot."""
    lab.register(bank.account)
    lab.handles(bank.transfer)
    for number in range(1, 21):
        lab.execute(bank.OpenAccount(account_id=f"{number}", owner=f"owner {number}", limit=100))

    def pay(number: int, key: int) -> bank.Transfer:
        target = number * 7 % 20 + 1
        return bank.Transfer(source_id=f"{key}", target_id=f"{target}", amount=number % 60 + 1)

    hot = Zipf(20)
    report = lab.drive(Workload(pay, count=150, rate=50, keys=hot, seed=_seed(lab)), progress=False)
    assert report.refused, report


def orders_by_a_saga(lab: Lab) -> None:
    """Bursts of orders, some refused, while everything goes wrong now and then."""
    _orders(lab, orders.order_fulfilment)


def orders_by_a_process(lab: Lab) -> None:
    """The same as choreography."""
    _orders(lab, orders.OrderProcess)


def _orders(lab: Lab, who: Saga | type[ProcessManager]) -> None:
    lab.register(*orders.AGGREGATES, who)
    for article in range(1, 6):
        lab.execute(orders.ReceiveStock(article=f"{article}", quantity=20))
    for customer in range(10):
        lab.execute(orders.LimitCredit(customer=f"{customer}", amount=500))

    def place(number: int, article: int) -> orders.PlaceOrder:
        return orders.PlaceOrder(
            order_id=f"{number}",
            customer=f"{number % 10}",
            article=f"{article}",
            quantity=number % 3 + 1,
            amount=10 * article,
            destination="Atlantis" if number % 7 == 0 else "Boston",
        )

    lab.inject(*MISHAPS)
    workload = Workload(
        place, count=40, rate=5, arrival=Bursts(size=8), keys=Zipf(5), seed=_seed(lab)
    )
    lab.drive(workload, progress=False)
    lab.run(progress=False)


def workflows(lab: Lab) -> None:
    """Nodes that fail now and then and are tried again, or are undone."""

    def double(step: StepContext) -> int:
        if random.Random(f"{lab.seed} {step.idempotency_key} {step.attempt}").random() < 0.3:
            raise RuntimeError("the node failed")
        return 2 * int(step.input["input"]["x"])

    nodes = {
        "read": (lambda step: step.input["input"]["x"], lambda _: None),
        "double": double,
    }
    retry = Retry(limit=1, first=SECOND)
    lab.register(
        Workflow, workflow_execution(nodes, execute=lab.execute, clock=lab.clock, retry=retry)
    )
    lab.project(WorkflowMetrics())

    def create(number: int) -> workflow.CreateWorkflow:
        return workflow.CreateWorkflow(
            workflow_id=f"{number}", schema_id=f"schema {number % 3}", input={"x": number}
        )

    lab.drive(Workload(create, count=12, rate=20, seed=_seed(lab)), progress=False)
    lab.run(progress=False)


def flights(lab: Lab) -> None:
    """A week of flights, as they happened, and two read models that lag behind."""
    lab.register(Flight)
    lab.project(DelayByAirportHour())
    lab.project(ArrivalsByDestination())

    def work(_: Any) -> None:
        lab.advance("20 ms")

    import_week(lab.store, progress=False, every=timedelta(days=1), then=work)
    lab.run(progress=False)


SCENARIOS: dict[str, Callable[[Lab], None]] = {
    run.__name__: run
    for run in (accounts, orders_by_a_saga, orders_by_a_process, workflows, flights)
}


def fingerprint(name: str, seed: int = 7) -> dict[str, str]:
    """Run a scenario, and return a hash of its log, and one of the work that was done on it.

    The work is what the bus delivered, in which order and when, and what the projections committed.
    """
    seen: list[Any] = []
    with Lab(seed=seed) as lab:

        def first(event: RecordedEvent) -> None:
            seen.append(["first", event.position, lab.clock.now().isoformat()])

        def second(event: RecordedEvent) -> None:
            seen.append(["second", event.position, lab.clock.now().isoformat()])

        if name != "flights":  # they are many
            lab.bus.subscribe(ALL, first)
            lab.bus.subscribe(ALL, second)
        SCENARIOS[name](lab)
        lab.run(progress=False)
        moves = lab.sql(
            "select projection, from_position, to_position, committed_at::text"
            " from checkpoint_log order by all"
        )
        work = json.dumps([seen, moves.fetchall()])
        return {"log": lab.fingerprint(), "work": hashlib.sha256(work.encode()).hexdigest()}


def fingerprints(seed: int = 7) -> dict[str, dict[str, str]]:
    """Return the fingerprints of all scenarios."""
    return {name: fingerprint(name, seed) for name in SCENARIOS}


def _seed(lab: Lab) -> int:
    assert lab.seed is not None
    return lab.seed


def main(*arguments: str) -> None:
    """Print the fingerprints, or write them into the committed file."""
    found = json.dumps(fingerprints(), indent=2) + "\n"
    if arguments == ("--write",):
        COMMITTED.write_text(found)
    else:
        print(found)


if __name__ == "__main__":
    # Handlers are known by the name of their module, which is another one here.
    import fingerprints as module

    module.main(*sys.argv[1:])
