"""Very many sagas at once: the marks of each, where they failed, and the widget that opens one."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eslab
from eslab import Lab, Saga, Step
from eslab.errors import InputError
from eslab.sagas import NO_RETRY
from eslab.simulation.faults import STEP_FAULTS, Fault
from eslab.simulation.scenarios import orders
from eslab.views import FleetView
from eslab.views.saga_cells import CELLS, cells_of
from eslab.widgets.fleet import FleetWidget

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=7) as running:
        yield running


def many(lab: Lab, who: Any, *faults: Fault, count: int = 30) -> FleetView:
    """Place orders, of which each third cannot be fulfilled, and return what became of them."""
    lab.register(*orders.AGGREGATES, who)
    lab.execute(orders.ReceiveStock(article="anvil", quantity=1_000))
    lab.inject(*faults)
    for number in range(count):
        lab.execute(
            orders.PlaceOrder(
                order_id=f"{number}",
                article="anvil",
                quantity=1,
                customer="Ann",
                amount=30,
                destination="Boston" if number % 3 else "Atlantis",
            )
        )
    lab.run()
    return lab.fleet()


def ask(widget: FleetWidget, name: str, **arguments: Any) -> Any:
    """Ask as a page does, and return the answer."""
    answers: list[Any] = []
    widget.send = lambda content, buffers=None: answers.append(content)  # type: ignore[method-assign]
    widget._receive(widget, {"intent": name, "id": 1, "arguments": arguments}, [])
    (answer,) = answers
    return answer


@settings(max_examples=15, deadline=None)
@given(
    who=st.sampled_from([orders.order_fulfilment, orders.OrderProcess]),
    names=st.sets(st.sampled_from(STEP_FAULTS), min_size=1),
    rate=st.sampled_from([0.1, 0.5]),
    until=st.integers(1, 90_000),
)
def test_the_marks_of_a_saga_are_those_of_its_timeline(
    who: Any, names: set[Any], rate: float, until: int
) -> None:
    with Lab(seed=7) as lab:
        kinds: Any = ("execute", "compensate", "command")
        faults = [Fault(name, rate=rate, kind=kind) for name in names for kind in kinds]
        lab.register(*orders.AGGREGATES, who)
        lab.execute(orders.ReceiveStock(article="anvil", quantity=1_000))
        lab.inject(*faults)
        for number, destination in enumerate(("Boston", "Atlantis", "Bergen")):
            lab.execute(
                orders.PlaceOrder(
                    order_id=f"{number}",
                    article="anvil",
                    quantity=1,
                    customer="Ann",
                    amount=30,
                    destination=destination,
                )
            )
        lab.advance(f"{until} ms")  # in the middle of it
        fleet, sagas = lab.fleet(), lab.sagas.df
        assert fleet.df["status"].tolist() == sagas["status"].tolist()
        for row in fleet.df.itertuples():
            timeline = lab.saga(f"{row.saga}-{row.saga_id}")
            steps = json.loads(row.steps)
            assert row.status == timeline.summary.status
            if who is orders.order_fulfilment:
                assert steps == list(timeline.summary.steps)
                assert row.failed_step == (timeline.summary.state.failed_step or "")
                assert row.cells == "".join(cells_of(timeline.df, timeline.summary).values())
            else:
                assert steps == [one.name for one in timeline.summary.state.sent]
                done = [one.outcome == "delivered" for one in timeline.summary.state.sent]
                assert [cell == "d" for cell in row.cells] == done


def test_a_matrix_says_where_they_failed(lab: Lab) -> None:
    fleet = many(
        lab, orders.order_fulfilment, Fault("fails", "charge_payment", sequence="saga-fulfilment-1")
    )
    assert fleet.digest == (
        "FleetView(30 sagas: 11 COMPENSATED, 19 COMPLETED; failed: 10 book_courier, "
        "1 charge_payment)"
    )
    assert fleet.matrix.loc["COMPENSATED"].to_dict() == {
        "charge_payment": 1,
        "book_courier": 10,
        "nothing failed": 0,
    }
    assert Counter(fleet.df["cells"]) == {"ddddd": 19, "uuuf.": 10, "uuf..": 1}
    assert fleet.figure().layout.title.subtitle.text == fleet.digest[10:-1]
    assert lab.sql(fleet.sql).df().equals(fleet.df)


def test_only_those_that_are_asked_for(lab: Lab) -> None:
    many(lab, orders.order_fulfilment)
    failed = lab.fleet("fulfilment", status="COMPENSATED", failed_step="book_courier")
    assert len(failed.df) == 10
    assert lab.sql(failed.sql).df().equals(failed.df)
    assert len(lab.fleet(failed_step="").df) == 20
    assert lab.fleet("nothing").digest == "FleetView(0 sagas)"
    with pytest.raises(InputError, match=r"a saga is one of STUCK, .*, not 'DONE'"):
        lab.fleet(status="DONE")


def test_sagas_of_several_kinds_are_told_apart(lab: Lab) -> None:
    def fails(_: eslab.StepContext) -> None:
        raise eslab.DomainError("no")

    for name in ("trip", "walk"):
        lab.start_saga(Saga(name, [Step("start", print), Step("go", fails)]), "1")
    lab.run()
    fleet = lab.fleet()
    assert list(fleet.matrix.columns) == ["trip: go", "walk: go"]
    assert [glyph.name for glyph in fleet.glyphs(limit=9)] == ["trip-1", "walk-1"]
    assert fleet.page["kinds"][1]["failed"] == "walk: go"


def test_a_picture_shows_some_of_each_cell(lab: Lab) -> None:
    fleet = many(lab, orders.order_fulfilment, count=300)
    picture = fleet.svg()
    assert picture == lab.fleet().svg()
    words = " ".join(ET.fromstring(picture).itertext())
    assert "and 60 more: see .df" in words
    shown = Counter(glyph.status for glyph in fleet.glyphs(limit=240))
    assert shown == {"COMPENSATED": 100, "COMPLETED": 140}
    assert all(cell.words in words for letter, cell in CELLS.items() if letter in "duf.")


def test_no_saga_is_a_picture_too(lab: Lab) -> None:
    fleet = lab.fleet()
    assert fleet.digest == "FleetView(0 sagas)"
    assert fleet.matrix.empty
    ET.fromstring(fleet.svg())
    assert fleet.figure().layout.height > 0
    assert fleet.page["ids"] == []


def test_a_saga_without_steps_is_drawn_without_marks(lab: Lab) -> None:
    fleet = many(lab, orders.OrderProcess, count=3)
    started = eslab.sagas.SagaStarted(saga="empty", saga_id="1", steps=[], input={})
    lab.append("saga-empty-1", [started])
    assert lab.fleet("empty").df[["status", "cells"]].to_numpy().tolist() == [["RUNNING", ""]]
    ET.fromstring(lab.fleet("empty").svg())
    assert fleet.df["failed_step"].tolist() == ["BookShipment", "", ""]


def test_what_is_drawn_of_evil_names_is_text(lab: Lab) -> None:
    def fails(_: eslab.StepContext) -> None:
        raise ValueError("no")

    lab.start_saga(Saga("evil", [Step(EVIL, fails, retry=NO_RETRY)]), EVIL)
    lab.run()
    fleet = lab.fleet()
    assert "<script" not in fleet.svg()
    assert fleet.page["ids"] == [EVIL]


# The widget.


def test_a_widget_has_all_that_is_drawn(lab: Lab) -> None:
    fleet = many(lab, orders.order_fulfilment)
    widget = FleetWidget(fleet)
    assert widget.said == fleet.digest
    sagas = widget.sagas
    assert json.loads(json.dumps(sagas)) == sagas
    assert len(sagas["kinds"]) == 2
    drawn = Counter(sagas["kinds"][kind]["cells"] for kind in sagas["of"])
    assert drawn == {"uuuf.": 10, "ddddd": 20}
    # The most urgent ones first.
    assert sagas["kinds"][sagas["of"][0]]["status"] == "COMPENSATED"
    assert {*widget.cells} == {*CELLS}


def test_a_widget_opens_a_saga_and_lets_it_fail(lab: Lab) -> None:
    widget = FleetWidget(many(lab, orders.order_fulfilment, count=3))
    assert "no saga is shown" in ask(widget, "effects")["error"]
    opened = ask(widget, "open_saga", saga="fulfilment", saga_id="1")["result"]
    assert opened == lab.saga("fulfilment-1").digest
    assert widget.page["title"] == "fulfilment 1: COMPLETED"
    arguments = {"step": "charge_payment", "fault": "fails", "undo": False, "attempt": 1}
    assert "COMPENSATED instead of COMPLETED" in ask(widget, "fail", **arguments)["result"]
    # Another one takes its place.
    ask(widget, "open_saga", saga="fulfilment", saga_id="0")
    assert widget.instead == {}
    assert widget.page["title"] == "fulfilment 0: COMPENSATED"
    ask(widget, "close_saga")
    assert widget.page == {}
    assert "no stream" in ask(widget, "open_saga", saga="fulfilment", saga_id="99")["error"]


def test_a_widget_looks_again(lab: Lab) -> None:
    widget = FleetWidget(many(lab, orders.order_fulfilment, count=3))
    lab.start_saga(Saga("trip", [Step("hotel", print)]), "1")
    ask(widget, "refresh")
    assert widget.said.startswith("FleetView(4 sagas: 1 RUNNING")
    assert widget.sagas["count"] == 4


def test_a_widget_says_that_the_log_went_on(lab: Lab) -> None:
    widget = FleetWidget(many(lab, orders.order_fulfilment, count=3))
    lab.start_saga(Saga("trip", [Step("hotel", print)]), "1")
    assert not widget.old  # nobody looks at it
    ask(widget, "watch", page="a")
    assert widget.old
    ask(widget, "refresh")
    assert not widget.old
    ask(widget, "open_saga", saga="trip", saga_id="1")
    ask(widget, "close_saga")
    lab.start_saga(Saga("trip", [Step("hotel", print)]), "2")
    assert widget.old
    ask(widget, "leave", page="a")
    assert len(lab.store._listeners) == 1  # of the lab itself
