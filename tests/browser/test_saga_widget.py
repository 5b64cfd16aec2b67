"""The saga timeline and the fleet as a person uses them in JupyterLab."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from browser.jupyter import OpenNotebook, Server, Watch
from browser.widgets import picture_remains, press, said, violations, widget, written
from playwright.sync_api import Locator, expect

pytestmark = pytest.mark.browser

Open = Callable[[Path], OpenNotebook]

ORDERS = """
import eslab
from eslab.simulation.faults import Fault
from eslab.simulation.scenarios import orders

lab = eslab.Lab(seed=7)
lab.register(*orders.AGGREGATES, orders.order_fulfilment)
lab.execute(orders.ReceiveStock(article="anvil", quantity=1_000))
lab.inject(Fault("fails", "charge_payment", attempt=1), Fault("reply_lost", "confirm_order"))


def place(order_id, destination="Boston"):
    lab.execute(
        orders.PlaceOrder(
            order_id=order_id,
            article="anvil",
            quantity=1,
            customer="Ann",
            amount=30,
            destination=destination,
        )
    )


for number in range(60):
    place(f"o-{number}", "Boston" if number % 3 == 1 else "Atlantis")
lab.run()
"""

EVIL = """
lab = eslab.Lab(seed=7)
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def fails(step):
    raise ValueError(EVIL)


steps = [eslab.Step(EVIL, fails, retry=eslab.sagas.NO_RETRY)]
lab.start_saga(eslab.Saga("evil", steps), "1")
lab.run()
lab.saga("evil-1")
"""

# What is written around the marks, and where.
AXIS = """drawings => drawings.map(one => [...one.querySelectorAll('svg > g:first-of-type text')]
    .map(text => [text.textContent, text.getAttribute('x')]).flat())"""

LIVE = """
import time


def slowly(step):
    time.sleep(0.4)


live = eslab.Lab()
steps = [eslab.Step(name, slowly) for name in ("hotel", "train", "museum", "zoo")]
live.start_saga(eslab.Saga("trip", steps), "1")
timeline = live.saga("trip-1")
timeline
"""


def mark(timeline: Locator, name: str) -> Locator:
    """Return the mark of an attempt, whose name begins so."""
    return timeline.locator(f".eslab-mark[aria-label^='{name}']").first


def test_a_timeline_is_explored_and_failed_elsewhere(
    open_in_lab: Open, server: Server, watch: Watch, tmp_path: Path
) -> None:
    cells = [ORDERS, "lab.saga('fulfilment-o-0')"]
    notebook = open_in_lab(written(tmp_path, "timeline", cells))
    notebook.run_all()
    assert notebook.errors() == []
    page = notebook.page
    saga = widget(notebook, "saga")
    digest = "fulfilment-o-0 COMPENSATED 5 steps, 3 undone in reverse order, 1 failed: book_courier"
    expect(said(saga)).to_contain_text(digest)

    # Keys: along a row, to the partner, to the next row, to the next error.
    press(saga, notebook, "ArrowRight")
    first = mark(saga, "1. place_order: executed")
    expect(first).to_be_focused()
    expect(first).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("c")
    expect(mark(saga, "7. place_order: undone")).to_be_focused()
    page.keyboard.press("C")
    page.keyboard.press("ArrowDown")
    expect(mark(saga, "2. reserve_stock: executed")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(mark(saga, "6. reserve_stock: undone")).to_be_focused()
    page.keyboard.press("e")
    error = mark(saga, "3. charge_payment: failed, attempt 1")
    expect(error).to_be_focused()
    details = saga.get_by_role("region", name="Selection")
    for text in ("1 of 2", "was made to fail", "reserve_stock was executed", '"customer": "Ann"'):
        expect(details).to_contain_text(text)
    expect(details).to_contain_text("recorded PaymentCharged")
    mark(saga, "4. book_courier").click()
    expect(details).to_contain_text("no courier delivers to Atlantis")

    # Played in the order of the events, compensations come in the reverse order of their steps.
    moment = saga.locator(".eslab-event")
    page.keyboard.press("Home")
    expect(moment).to_contain_text("it begins")
    expect(mark(saga, "1. place_order")).to_have_class("eslab-mark eslab-future")
    undone = []
    for _ in range(60):
        page.keyboard.press("Shift+ArrowRight")
        text = moment.inner_text().split("\n")[0]
        if text.endswith(" was undone"):
            undone.append(text.split()[-3])
    assert undone == ["charge_payment", "reserve_stock", "place_order"]
    expect(saga.locator(".eslab-state")).to_contain_text("COMPENSATED")
    saga.get_by_role("combobox", name="Speed").select_option("8")
    error.focus()
    page.keyboard.press(" ")
    expect(saga.get_by_role("button", name="Pause")).to_be_visible()
    expect(saga.get_by_role("button", name="Play in the order of the events")).to_be_visible()
    expect(moment).to_contain_text("it is COMPENSATED")

    saga.get_by_role("button", name="Show the attempts as a table").click()
    expect(saga.get_by_role("region", name="Attempts").locator("tbody tr")).to_have_count(8)

    # It fails elsewhere.
    mark(saga, "2. reserve_stock: executed").click()
    saga.get_by_role("combobox", name="What goes wrong").select_option("times_out")
    saga.get_by_role("button", name="Fail here instead").click()
    instead = saga.locator(".eslab-alternative")
    expect(instead).to_contain_text("reserve_stock gets lost, and is not done (3 attempts hit)")
    expect(instead).to_contain_text("COMPENSATED as before")
    expect(mark(instead, "2. reserve_stock: not answered")).to_be_visible()
    expect(said(saga)).to_have_text(
        "SagaComparison(fulfilment-o-0 reserve_stock: times_out: COMPENSATED as before)"
    )
    # On one axis, one sees where they part; and what was chosen remains so.
    axes = saga.locator(".eslab-drawing").evaluate_all(AXIS)
    assert len(axes) == 2
    assert axes[0] == axes[1]
    assert "here they part" in axes[0]
    expect(saga.get_by_role("combobox", name="What goes wrong")).to_have_value("times_out")
    expect(saga.get_by_role("button", name="Fail here instead")).to_be_focused()
    assert violations(saga) == []
    notebook.screenshot("saga-widget-light")

    notebook.dark()
    page.wait_for_timeout(300)
    drawing = saga.locator(".eslab-drawing").first
    assert drawing.evaluate("one => one.scrollWidth <= one.clientWidth")
    assert violations(saga) == []
    notebook.screenshot("saga-widget-dark")
    instead.get_by_role("button", name="Show only how it went").click()
    expect(instead).to_be_hidden()
    expect(said(saga)).to_contain_text(digest)
    picture_remains(notebook, server, watch, "saga")


def test_a_timeline_follows_a_saga_that_runs(open_in_lab: Open, tmp_path: Path) -> None:
    notebook = open_in_lab(
        written(tmp_path, "live", ["import eslab", LIVE, "live.start()", "timeline", EVIL])
    )
    notebook.run_all()
    assert notebook.errors() == []
    saga = widget(notebook, "saga")
    expect(saga).to_contain_text("This follows the saga as it goes on.")
    # The same view twice on a page.
    both = notebook.page.locator("[data-eslab='saga']")
    expect(both).to_have_count(3)
    for one in (both.first, both.nth(1)):
        expect(said(one)).to_contain_text("trip-1 COMPLETED 4 steps", timeout=15_000)
        expect(one.locator(".eslab-mark")).to_have_count(4)
    expect(saga).not_to_contain_text("This follows the saga")

    # Text of events is text.
    evil = both.last
    evil.scroll_into_view_if_needed()
    expect(evil.locator(".eslab-mark").first).to_have_attribute("aria-label", re.compile("onerror"))
    evil.locator(".eslab-mark").first.click()
    expect(evil).to_contain_text("<img src=x onerror=alert(1)>")
    assert evil.locator("img, script").count() == 0


def test_a_fleet_is_filtered_and_opened(
    open_in_lab: Open, server: Server, watch: Watch, tmp_path: Path
) -> None:
    notebook = open_in_lab(
        written(tmp_path, "fleet", [ORDERS, "fleet = lab.fleet()\nfleet", "place('o-99')"])
    )
    notebook.run_all()
    assert notebook.errors() == []
    page = notebook.page
    fleet = widget(notebook, "fleet")
    digest = (
        "FleetView(60 sagas: 20 STUCK, 40 COMPENSATED; failed: 40 book_courier, 20 confirm_order)"
    )
    expect(said(fleet)).to_have_text(digest)
    told = fleet.locator(".eslab-event").first
    expect(told).to_contain_text("60 shown")
    # Few sagas need few lines: they are drawn as high as they are shown.
    heights = fleet.locator("canvas").last.evaluate("one => [one.height, one.clientHeight]")
    assert heights[0] == heights[1] < 330
    cell = fleet.get_by_role("button", name="20 STUCK: confirm_order")
    cell.click()
    expect(cell).to_have_attribute("aria-pressed", "true")
    expect(told).to_contain_text("20 of 60 shown")
    sagas = fleet.get_by_role("application")
    press(sagas, notebook, "ArrowRight")
    expect(told).to_contain_text("STUCK, failed at confirm_order")
    expect(told).to_contain_text("book_courier executed, confirm_order not answered")
    press(sagas, notebook, "Home", "Enter")
    opened = fleet.locator(".eslab-timeline").first
    expect(opened).to_contain_text("fulfilment o-1: STUCK")
    expect(fleet).to_contain_text("It waits for a person")
    mark(fleet, "4. book_courier").click()
    fleet.get_by_role("button", name="Fail here instead").click()
    expect(fleet).to_contain_text("the saga is COMPENSATED instead of STUCK")
    fleet.get_by_role("searchbox").fill("o-5")
    expect(told).to_contain_text("3 of 60 shown")
    fleet.get_by_role("button", name="Show the sagas as a table").click()
    expect(fleet.get_by_role("region", name="Sagas as a table").locator("tbody tr")).to_have_count(
        3
    )
    assert violations(fleet) == []
    notebook.screenshot("fleet-widget-light")
    notebook.dark()
    assert violations(fleet) == []
    notebook.screenshot("fleet-widget-dark")
    fleet.get_by_role("button", name="Close the timeline").click()
    expect(opened).to_be_hidden()
    fleet.get_by_role("button", name="Refresh: the log went on").click()
    expect(fleet.get_by_role("button", name="Refresh;")).to_be_visible()
    expect(said(fleet)).to_have_text(digest)  # the order is there, but nobody ran its saga
    assert page.locator("[data-eslab='fleet']").count() == 1
    picture_remains(notebook, server, watch, "fleet")
