"""The README tells the truth: its code runs, and its picture is what that code draws."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import eslab
from eslab.simulation.scenarios.orders import (
    AGGREGATES,
    PlaceOrder,
    ReceiveStock,
    order_fulfilment,
)

CHECKOUT = Path(__file__).parents[2]
README = CHECKOUT / "README.md"
PICTURE = CHECKOUT / ".github" / "images" / "saga.svg"


def test_the_code_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 13
    names: dict[str, object] = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    lab = names["lab"]
    assert isinstance(lab, eslab.Lab)
    # What its comments promise.
    assert lab.sql("from customers order by customer").fetchall() == [("Ann", 35), ("Bob", 12)]
    assert str(lab.events(category="order")) == "EventsView(3 events, 1 type, 3 streams)"
    assert lab.sql("from careful order by customer").fetchall() == [("Ann", 35), ("Bob", 12)]
    assert lab.store.stream_version("order-3") == 1
    assert repr(lab.load(names["Order"], "3")) == "<Order 3 v1 paid=False>"  # type: ignore[arg-type]
    assert names["cents"] == 500
    assert names["same"]
    assert names["then"].values.tolist() == [["Ann", 30], ["Bob", 12]]  # type: ignore[attr-defined]
    assert len(names["explored"].violations) == 3  # type: ignore[attr-defined]
    assert len(names["states"]) == 3  # type: ignore[arg-type]
    assert lab.sql("select created, mean_us from workflow_metrics").fetchall() == [(2, 1_500_000)]
    (second,) = lab.store.read("workflow-2")
    assert (second.metadata.traceparent or "").startswith("00-")
    assert lab.sql("select sum(departures) from delay_by_airport_hour").scalar() == 6_064
    lab.close()


def test_the_picture_is_what_the_saga_draws() -> None:
    with eslab.Lab(seed=7) as lab:
        lab.register(*AGGREGATES, order_fulfilment)
        lab.execute(ReceiveStock(article="anvil", quantity=10))
        order = {"article": "anvil", "quantity": 2, "customer": "Ann", "amount": 30}
        lab.execute(PlaceOrder(order_id="o-7", **order, destination="Atlantis"))
        lab.run()
        assert PICTURE.read_text(encoding="utf-8") == lab.saga("fulfilment-o-7").svg()


@pytest.mark.parametrize("name", re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8")))
def test_what_it_links_to_is_there(name: str) -> None:
    assert name.startswith("https://") or (CHECKOUT / name).exists()


def test_every_command_of_make_is_there() -> None:
    targets = re.findall(r"^([a-z]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"`make ([a-z]+)|^\$ make ([a-z]+)", README.read_text(), re.MULTILINE)
    assert {one or other for one, other in named} <= set(targets)
