"""The lag chart as a person uses it in JupyterLab: it explains, follows a lab, and asks what if."""

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

LAB = """
from datetime import timedelta

import eslab
from eslab import Cost, Event, Projection, Row, Rows, on

EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"


class OrderPlaced(Event):
    amount: int


class Total(Row, key="key"):
    key: str
    amount: int = 0


class Totals(Projection):
    row = Total
    cost = Cost(batch=timedelta(milliseconds=5), event=timedelta(milliseconds=2))
    on_error = "dead-letter"

    @on
    def placed(self, event: OrderPlaced, rows: Rows[Total]) -> None:
        if event.amount == 13:
            raise ValueError(EVIL)
        rows.ensure(key="all").amount += event.amount


class Count(Row, key="key"):
    key: str
    orders: int = 0


class Counts(Projection):
    row = Count

    @on
    def placed(self, event: OrderPlaced, rows: Rows[Count]) -> None:
        rows.ensure(key="all").orders += 1
"""
HISTORY = """
lab = eslab.Lab(seed=7)
lab.project(Totals(), Counts())
for second in range(180):
    if second == 60:
        lab.pause("counts")
    lab.append(f"order-{second}", [OrderPlaced(amount=second % 20)] * (second % 4))
    if second == 90:
        lab.rebuild("totals", on_error="dead-letter", progress=False)
    lab.advance("1 s")
view = lab.lag()
view
"""


def readout(chart: Locator) -> Locator:
    return chart.locator(".eslab-lag-readout")


def run(notebook: OpenNotebook, code: str) -> None:
    """Run code in the kernel, beside the cells."""
    notebook.page.evaluate(
        "code => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
        ".requestExecute({ code }).done.then(() => null)",
        code,
    )


def test_a_history_of_lag_is_explored(open_in_lab: Open, tmp_path: Path) -> None:
    notebook = open_in_lab(written(tmp_path, "lag", [LAB, HISTORY, "view"]))
    notebook.run_all()
    assert notebook.errors() == []
    page = notebook.page
    chart = widget(notebook, "lag")
    shown = [output["data"]["text/plain"] for output in notebook.cells()[1]["outputs"]]
    (digest,) = filter(None, map("".join, shown))
    assert digest.startswith("ProjectionLag(totals: caught up at 270; counts: 180 events, ")
    expect(said(chart)).to_have_text(digest)
    expect(chart.get_by_role("button", name=re.compile("^totals"))).to_contain_text("caught up")
    wrong = "paused ▲ STOPPED: no commit and no heartbeat for 60 s"
    expect(chart.get_by_role("button", name=re.compile("^counts"))).to_contain_text(wrong)

    # Keys: the next projection, the first moment, the next verdict, and what is behind it.
    press(chart, notebook, "Home", "ArrowDown")
    expect(readout(chart)).to_contain_text("00:00:01.000 counts: 1 event and 0 s behind")
    press(chart, notebook, "Shift+ArrowRight")
    expect(readout(chart)).not_to_contain_text("00:00:01.")
    press(chart, notebook, "]")
    expect(readout(chart)).to_contain_text("STOPPED: no commit and no heartbeat for 60 s")
    press(chart, notebook, "End")
    expect(readout(chart)).to_contain_text("pause: it was paused")
    expect(readout(chart)).to_contain_text("2 min 0 s behind")
    press(chart, notebook, "Enter")
    verdict = chart.get_by_role("region", name="Verdict")
    expect(verdict).to_contain_text("STOPPED: no commit and no heartbeat for 60 s")
    expect(verdict.get_by_role("row")).to_have_count(4)
    press(chart, notebook, "Escape")
    expect(verdict).to_be_hidden()
    press(chart, notebook, "ArrowUp", "Home", "]")

    # The mouse: a row of the ribbon, and what happened there.
    canvas = chart.locator("canvas").first
    box = canvas.bounding_box()
    assert box is not None
    ribbon = box["height"] - 42 - 30
    canvas.hover(position={"x": 70, "y": ribbon})
    canvas.hover(position={"x": 64 + (box["width"] - 78) / 2, "y": ribbon})
    expect(readout(chart)).to_contain_text("totals:")
    expect(readout(chart)).to_contain_text("rebuild: the read model was made anew")
    canvas.click(position={"x": 64 + (box["width"] - 78) / 2, "y": ribbon})
    expect(verdict).to_be_visible()
    expect(verdict).to_contain_text("totals at 2026-01-01 00:01:3")
    press(chart, notebook, "t")
    table = chart.get_by_role("region", name="Data")
    expect(table).to_contain_text("<img src=x onerror=alert(1)><script>alert(2)</script>")
    assert not page.evaluate("() => document.querySelector('.eslab img[src=x], .eslab script')")

    # When did an event become visible?
    chart.get_by_role("button", name="Ask when an event became visible").click()
    event = chart.get_by_role("textbox", name="Event: its position or its id")
    event.fill("7")
    event.press("Enter")
    expect(chart).to_contain_text("event 7 became visible in totals at 2026-01-01 00:00:")
    event.fill("seven")
    event.press("Enter")
    expect(chart).to_contain_text("an event is given by its position, such as 42")

    # What if: the last position of a slider wins.
    chart.get_by_role("button", name="Try other rates on the virtual clock").click()
    outcome = chart.locator(".eslab-lag-outcome")
    expect(outcome).to_contain_text("Stable: full batches take")
    cost = chart.get_by_role("slider", name="cost of an event")
    expect(cost).to_have_attribute("aria-valuetext", "2 ms")
    for _ in range(8):
        cost.press("PageUp")
    cost.press("End")
    expect(cost).to_have_attribute("aria-valuetext", "100 ms")
    chart.get_by_role("slider", name="append rate").press("End")
    expect(outcome).to_contain_text("Unstable")
    expect(outcome).to_contain_text("falls behind by")
    length = chart.get_by_role("slider", name="outage length")
    length.press("ArrowRight")
    assert violations(chart) == []
    notebook.dark()
    assert violations(chart) == []
    notebook.screenshot("lag-widget")
    # The second display of the same view is a chart of its own.
    second = page.locator("[data-eslab='lag']").nth(1)
    second.scroll_into_view_if_needed()
    place = second.locator("canvas").first.bounding_box()
    assert place is not None
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + 50)
    page.mouse.move(place["x"] + place["width"] / 3, place["y"] + 50)
    expect(readout(second)).to_contain_text("00:00:")
    page.mouse.move(5, 5)  # what the mouse pointed at goes with it, what the keys chose stays
    expect(readout(second)).to_be_empty()
    page.mouse.move(place["x"] + place["width"] / 3, place["y"] + 50)
    second.press("Home")
    page.mouse.move(5, 5)
    expect(readout(second)).to_contain_text("00:00:01.000 totals")
    expect(chart.get_by_role("region", name="Verdict")).to_be_visible()


def test_the_axe_would_find_a_control_without_a_name(open_in_lab: Open, tmp_path: Path) -> None:
    notebook = open_in_lab(written(tmp_path, "lag-axe", [LAB, HISTORY]))
    notebook.run_all()
    chart = widget(notebook, "lag")
    assert violations(chart) == []
    chart.get_by_label("Time that is shown").evaluate("one => one.removeAttribute('aria-label')")
    assert any("select-name" in found for found in violations(chart))


def test_it_follows_a_lab_until_that_is_closed(open_in_lab: Open, tmp_path: Path) -> None:
    begin = """
lab = eslab.Lab()
lab.project(Totals(), Counts())
lab.append("order-1", [OrderPlaced(amount=1)])
lab.start()
lab.run()
view = lab.lag()
view
"""
    notebook = open_in_lab(written(tmp_path, "lag-live", [LAB, begin, "view"]))
    notebook.run_all()
    assert notebook.errors() == []
    page = notebook.page
    chart = widget(notebook, "lag")
    status = chart.locator(".eslab-lag-status")
    counts = chart.get_by_role("button", name=re.compile("^counts"))
    expect(status).to_have_text("Following.")
    run(notebook, "lab.append('order-1', [OrderPlaced(amount=1)] * 41); lab.run()")
    expect(counts).to_contain_text("caught up at 42")
    second = page.locator("[data-eslab='lag']").nth(1)
    second.scroll_into_view_if_needed()
    expect(second.get_by_role("button", name=re.compile("^counts"))).to_contain_text("at 42")

    # Paused, nothing moves; and then it is told what it missed.
    chart.scroll_into_view_if_needed()
    press(chart, notebook, "f")
    expect(status).to_have_text("Not following.")
    run(notebook, "lab.pause('totals'); lab.append('order-1', [OrderPlaced(amount=1)]); lab.run()")
    page.wait_for_timeout(500)
    expect(counts).to_contain_text("caught up at 42")
    press(chart, notebook, "f")
    expect(counts).to_contain_text("caught up at 43")
    totals = chart.get_by_role("button", name=re.compile("^totals"))
    expect(totals).to_contain_text(re.compile(r"1 event, .* s, paused"))

    # Out of the page, nobody watches; the kernel listens no more.
    notebook.command("notebook:clear-all-cell-outputs")
    run(
        notebook,
        "import time\n"
        "until = time.monotonic() + 20\n"
        "while view.widget._stop_listening and time.monotonic() < until: time.sleep(0.05)\n"
        "print(view.widget._viewers)",
    )
    cells = "() => window.jupyterapp.shell.currentWidget.content"
    page.evaluate(f"{cells}.activeCellIndex = 2")
    notebook.command("notebook:run-cell")
    chart = widget(notebook, "lag")
    expect(chart.locator(".eslab-lag-status")).to_have_text("Following.")
    expect(chart.get_by_role("button", name=re.compile("^counts"))).to_contain_text("at 43")
    run(notebook, "lab.close()")
    expect(chart.locator(".eslab-lag-status")).to_contain_text("This is what was last seen")


def test_it_follows_a_virtual_clock(open_in_lab: Open, tmp_path: Path) -> None:
    begin = """
lab = eslab.Lab(seed=7)
lab.project(Totals(), Counts())
lab.lag()
"""
    notebook = open_in_lab(written(tmp_path, "lag-virtual", [LAB, begin]))
    notebook.run_all()
    chart = widget(notebook, "lag")
    expect(chart).to_contain_text("The log is empty.")
    run(notebook, "lab.append('order-1', [OrderPlaced(amount=1)] * 9)")
    totals = chart.get_by_role("button", name=re.compile("^totals"))
    expect(totals).to_contain_text("never ran, 9 events")
    expect(chart.locator("canvas").first).to_be_visible()
    expect(chart.get_by_text("The log is empty.")).to_be_hidden()
    run(notebook, "lab.run()")
    expect(totals).to_contain_text("caught up at 9")


def test_the_picture_remains_where_the_kernel_is_gone(
    open_in_lab: Open, server: Server, watch: Watch, tmp_path: Path
) -> None:
    notebook = open_in_lab(written(tmp_path, "lag-saved", [LAB, HISTORY]))
    notebook.run_all()
    widget(notebook, "lag")
    picture_remains(notebook, server, watch, "lag")
