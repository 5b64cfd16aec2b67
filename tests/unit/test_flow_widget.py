"""The live message flow, without a browser: what it is sent, and what it may ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from conversations import plant, plant_many

from eslab import Lab
from eslab.widgets.base import STATIC
from eslab.widgets.flow import FlowWidget


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=7) as lab:
        yield lab


def widget_of(lab: Lab, **asked: Any) -> FlowWidget:
    widget = lab.flow(**asked).widget
    assert isinstance(widget, FlowWidget)
    return widget


def ask(widget: FlowWidget, name: str, **arguments: Any) -> Any:
    return widget._obey(name, arguments)


def test_the_browser_gets_each_message_with_its_place_in_both_forms(lab: Lab) -> None:
    plant(lab, 1, stream="order-1")
    plant(lab, 2, cause=1, stream="stock-1")
    plant(lab, 3, cause=1, stream="stock-2")
    widget = widget_of(lab, correlation_id="talk", form="tree")
    flow = json.loads(json.dumps(widget.flow))
    assert flow["form"] == "tree"
    assert flow["tree"] == [[0, 0, 0, 3], [1, 1, 1, 1], [2, 0, 0, 1]]
    assert flow["messages"]["cause"] == [-1, 0, 0]
    assert flow["messages"]["targets"] == [[1, 2], [], []]
    assert flow["messages"]["between"][0] == "order-1 to stock-1, stock-2"
    assert {len(column) for column in flow["messages"].values()} == {3}
    assert widget.said == lab.flow(correlation_id="talk").digest


def test_five_thousand_messages_are_less_than_a_megabyte_without_payloads(lab: Lab) -> None:
    plant_many(lab, 5_000)
    sent = json.dumps(widget_of(lab, correlation_id="talk").flow)
    assert len(sent) < 1_100_000
    assert '"number"' not in sent


def test_payload_and_metadata_are_given_when_asked_for(lab: Lab) -> None:
    plant(lab, 1, actor="<b>Ann</b>")
    answer = ask(widget_of(lab, event=1), "details", order=0)["result"]
    assert answer["recorded"] == "Happened order-1 v1 @1"
    assert answer["data"] == {"number": 1}
    assert answer["metadata"] == {"actor": "<b>Ann</b>", "correlation_id": "talk"}


def test_of_what_is_not_in_the_log_there_are_no_details(lab: Lab) -> None:
    plant(lab, 1, cause="elsewhere/7")
    assert ask(widget_of(lab, event=1), "details", order=0) == {"result": {}}


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("details", {"order": 1}, "messages 0 to 0, not 1"),
        ("details", {"order": -1}, "messages 0 to 0, not -1"),
        ("details", {"order": "0"}, "order"),
        ("details", {}, "order"),
        ("sql", {"query": "select 1"}, "knows no intent"),
    ],
)
def test_whatever_else_a_browser_asks_is_refused(
    lab: Lab, name: str, arguments: dict[str, Any], said: str
) -> None:
    plant(lab, 1)
    assert said in ask(widget_of(lab, event=1), name, **arguments)["error"]


def test_its_module_is_small_and_writes_no_markup() -> None:
    module = (STATIC / "flow.js").read_text(encoding="utf-8")
    assert len(module) < 60_000
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "http"):
        assert way not in module
