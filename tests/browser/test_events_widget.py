"""The stream browser in JupyterLab: a person filters, pages, jumps, opens, and is told what is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser import widgets
from browser.jupyter import OpenNotebook, Server, Watch
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.browser

SETUP = """
import uuid
from datetime import UTC, datetime, timedelta
from eslab import Lab, Metadata, NewEvent

EVIL = "<img src=x onerror=document.title='planted'><script>document.title='planted'</script>"
START = datetime(2026, 1, 1, tzinfo=UTC)
lab = Lab(seed=7)
root = uuid.UUID(int=7)
lab.store.append("order-0", [NewEvent("Placed", {"amount": 0}, event_id=root, occurred_at=START)])
for number in range(1, 200):
    cause = Metadata(causation_id=str(root), correlation_id="c-1") if number == 120 else Metadata()
    kind = ("Placed", "Paid", "Shipped")[number % 3]
    moment = START + timedelta(hours=number)
    data = {"amount": number, "note": EVIL if number == 150 else "fine", "price.net": number}
    event = NewEvent(kind, data, occurred_at=moment, metadata=cause)
    lab.store.append(f"order-{number % 7}", [event])
view = lab.events()
view
"""


@pytest.fixture
def notebook(open_in_lab: widgets.Open, tmp_path: Path) -> OpenNotebook:
    found = open_in_lab(widgets.written(tmp_path, "events", [SETUP, "print(view)", "pass"]))
    found.run_all()
    assert found.errors() == []
    return found


def rows(browser: Locator) -> list[int]:
    """Return the positions that are shown, from top to bottom."""
    texts = browser.locator("tbody tr td:first-child").all_text_contents()
    return [int(text.replace(",", "")) for text in texts if text]


def count(browser: Locator, text: str) -> None:
    expect(browser.locator(".eslab-events-range")).to_have_text(text, timeout=20_000)


def filtered(browser: Locator, field: str, *values: str) -> None:
    form = browser.get_by_role("form", name="filter by")
    form.get_by_role("combobox", name="filter by").select_option(field)
    parts = form.locator(".eslab-events-fields > *")
    for place, value in enumerate(values):
        part = parts.nth(place)
        if part.evaluate("part => part.tagName") == "SELECT":
            part.select_option(value)
        else:
            part.fill(value)
    form.get_by_role("button", name="Filter").click()


def run(notebook: OpenNotebook, source: str) -> str:
    """Run something in the last cell, and return what it prints first."""
    notebook.page.evaluate(
        """source => {
            const { content } = window.jupyterapp.shell.currentWidget;
            content.widgets.at(-1).model.sharedModel.setSource(source);
            content.activeCellIndex = content.widgets.length - 1;
        }""",
        source,
    )
    notebook.command("notebook:run-cell")
    assert notebook.errors() == []
    # On a busy machine the command is done a moment before the output is there.
    notebook.page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON()"
        ".cells.at(-1).outputs.length"
    )
    printed: str = notebook.cells()[-1]["outputs"][0]["text"]
    return printed.strip()


def test_a_person_filters_pages_jumps_and_opens(
    notebook: OpenNotebook, page: Page, watch: Watch, server: Server
) -> None:
    browser = widgets.widget(notebook, "events")
    digest = notebook.cells()[1]["outputs"][0]["text"].strip()
    assert widgets.said(browser).text_content() == digest
    count(browser, "1–15 of 200")
    assert rows(browser) == list(range(200, 185, -1))

    # Filters combine, show what is wrong beside the field, and can be taken off.
    filtered(browser, "payload", "amount", ">", "100")
    count(browser, "1–15 of 99")
    browser.get_by_role("button", name="Paid: 33 events").click()
    count(browser, "1–15 of 33")
    expect(widgets.said(browser)).to_have_text("EventsView(33 events, 1 type, 7 streams)")
    filtered(browser, "versions", "9", "3")
    wrong = browser.get_by_role("alert").filter(has_text="versions: none is from 9 to 3")
    expect(wrong).to_be_visible()
    expect(browser.get_by_role("textbox", name="version from")).to_have_attribute(
        "aria-describedby", wrong.get_attribute("id") or ""
    )
    count(browser, "1–15 of 33")
    filtered(browser, "versions", "1", "20")
    expect(wrong).to_be_hidden()
    browser.get_by_role("button", name="remove the condition: version from 1 to 20").click()
    browser.get_by_role("button", name="remove the condition: type Paid").click()
    count(browser, "1–15 of 99")

    # Buttons go through the pages; the order can be turned.
    browser.get_by_role("button", name="to older events").click()
    count(browser, "16–30 of 99")
    browser.get_by_role("button", name="to the oldest events").click()
    count(browser, "85–99 of 99")
    assert rows(browser)[-1] == 102
    expect(browser.get_by_role("button", name="to older events")).to_be_disabled()
    browser.get_by_role("button", name="change the order").click()
    count(browser, "1–15 of 99")
    assert rows(browser) == list(range(102, 117))
    browser.get_by_role("button", name="to newer events").click()
    count(browser, "16–30 of 99")
    assert rows(browser) == list(range(117, 132))
    browser.get_by_role("button", name="change the order").click()
    expect(browser.locator("tbody tr").first).to_have_attribute("data-position", "200")
    browser.get_by_role("button", name="remove the condition: amount > 100").click()
    count(browser, "1–15 of 200")

    # A jump to a time, and what is before there are events.
    jump = browser.get_by_role("form", name="jump to")
    jump.get_by_role("textbox", name="time").fill("2026-01-06 00:00")
    jump.get_by_role("textbox", name="time").press("Enter")
    count(browser, "80–94 of 200")
    assert rows(browser)[0] == 121
    jump.get_by_role("textbox", name="time").fill("2027-01-01")
    jump.get_by_role("button", name="Jump").click()
    expect(jump.locator("[role=alert]")).to_contain_text("no event that matches: occurred")

    # The event at 121 was caused by the first one; from there back again by its effect.
    browser.locator("tr[data-position='121']").click()
    opened = browser.get_by_role("region", name="the event that is opened")
    expect(opened).to_contain_text('"fine"')
    opened.get_by_role("button", name=re.compile("Placed · order-0 · v1")).click()
    expect(opened).to_contain_text("lab.replay('order-0')")
    assert rows(browser)[-1] == 1
    opened.get_by_role("button", name=re.compile("Placed · order-1 · v18")).click()
    expect(browser.locator("tr[data-position='121']")).to_have_attribute("aria-selected", "true")
    opened.get_by_role("button", name="filter by this correlation id").click()
    count(browser, "1–1 of 1")
    assert rows(browser) == [121]
    # What the conditions leave out is opened too, and that is said.
    opened.get_by_role("button", name=re.compile("Placed · order-0 · v1")).click()
    expect(browser.get_by_role("alert").filter(has_text="leave it out of the rows")).to_be_visible()
    expect(opened).to_contain_text("lab.replay('order-0')")
    browser.get_by_role("button", name="remove the condition: conversation c-1").click()

    # Text of an event is text.
    jump.get_by_role("combobox", name="jump to").select_option("position")
    jump.get_by_role("textbox", name="position").fill("151")
    jump.get_by_role("button", name="Jump").click()
    expect(opened.locator(".eslab-events-leaf").nth(1)).to_contain_text("<img src=x onerror=")
    assert opened.locator("img, script").count() == 0
    opened.get_by_role("button", name='only events with ["price.net"] = 150').click()
    count(browser, "1–1 of 1")
    assert page.title() != "planted"
    assert watch.faults == []
    widgets.picture_remains(notebook, server, watch, "events")


def test_keys_do_all_that_the_mouse_does(notebook: OpenNotebook) -> None:
    browser = widgets.widget(notebook, "events")
    page = notebook.page
    selected = browser.locator("tr[aria-selected='true']")
    browser.focus()

    def press(*keys: str) -> None:
        before = [cell["source"] for cell in notebook.cells()]
        for key in keys:
            page.keyboard.press(key)
        assert [cell["source"] for cell in notebook.cells()] == before
        inside = "root => root.contains(document.activeElement)"
        browser.page.wait_for_function(inside, arg=browser.element_handle())

    press("ArrowDown", "ArrowDown")
    expect(selected).to_have_attribute("data-position", "199")
    press("ArrowUp", "ArrowUp")
    expect(selected).to_have_attribute("data-position", "200")
    press("PageDown")
    count(browser, "16–30 of 200")
    press("ArrowUp")
    count(browser, "1–15 of 200")
    expect(selected).to_have_attribute("data-position", "186")
    press("ArrowDown")
    expect(selected).to_have_attribute("data-position", "185")
    press("Home")
    expect(selected).to_have_attribute("data-position", "1")
    expect(selected).to_be_focused()
    press("End", "Home", "ArrowUp", "Home")  # faster than the kernel answers
    expect(selected).to_have_attribute("data-position", "1")
    press("Enter")
    opened = browser.get_by_role("region", name="the event that is opened")
    expect(opened).to_contain_text("order-0 · v1 · @1")
    press("ArrowUp")
    expect(opened).to_contain_text("order-1 · v1 · @2")
    press("Escape")
    expect(opened).to_be_hidden()
    press("End")
    expect(selected).to_have_attribute("data-position", "200")
    # Letters that JupyterLab would take are text here, and Escape leads back to the rows.
    press("/")
    for letter in "dd order-1 a b":
        press(letter)
    expect(browser.get_by_role("textbox", name="stream id")).to_have_value("dd order-1 a b")
    press("Escape")
    expect(selected).to_be_focused()
    press("t")
    expect(browser.get_by_role("region", name="as a table")).to_be_visible()
    press("t")
    # The times: a cursor, a choice, a filter.
    browser.get_by_role("slider").focus()
    press("Home", "Shift+ArrowRight", "Shift+ArrowRight")
    expect(browser.get_by_role("slider")).to_have_attribute(
        "aria-valuetext", re.compile("^2026-01-01 00:00 to 2026-01-01 18:00: 18, 1.0/h · Paid 6")
    )
    press("Enter")
    count(browser, "1–15 of 18")
    chip = browser.get_by_role("button", name="remove the condition: occurred from 2026-01-01")
    expect(chip).to_be_visible()
    chip.focus()
    press("Enter")
    count(browser, "1–15 of 200")


def test_it_is_accessible_in_light_and_dark_and_tells_of_newer_events(
    notebook: OpenNotebook,
) -> None:
    page = notebook.page
    browser = widgets.widget(notebook, "events")
    browser.locator("tbody tr").nth(2).click()
    filtered(browser, "occurred", "soon", "")
    expect(browser.get_by_role("alert").filter(has_text="is no time")).to_be_visible()
    assert widgets.violations(browser) == []
    notebook.screenshot("events-light")
    notebook.dark()
    assert widgets.violations(browser) == []
    notebook.screenshot("events-dark")
    # A drag over the times filters, a table can take their place.
    box = browser.get_by_role("slider").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 500, box["y"] + 40, steps=3)
    page.mouse.up()
    expect(browser.get_by_role("button", name="remove the condition: occurred")).to_be_visible()
    browser.get_by_role("button", name="as a table").click()
    expect(browser.get_by_role("cell", name="Shipped").first).to_be_visible()
    expect(browser.get_by_role("slider")).to_be_hidden()
    browser.get_by_role("button", name="remove the condition: occurred").click()
    count(browser, "1–15 of 200")

    # Shown twice, filtered in one: both follow. What is appended is told, and shown when asked.
    append = "lab.store.append('order-1', [NewEvent('Placed', {'amount': 1})] * 3)"
    assert run(notebook, f"{append}; print(view.widget._watching is None); view") == "False"
    both = page.locator("[data-eslab='events']")
    expect(both).to_have_count(2)
    for one in (both.nth(0), both.nth(1)):
        expect(one.get_by_role("button", name="look at the newer")).to_have_text(
            "3 newer events: refresh"
        )
    filtered(both.nth(1), "stream", "order-1")
    count(both.nth(0), "1–15 of 29")
    both.nth(0).get_by_role("button", name="look at the newer").click()
    count(both.nth(1), "1–15 of 32")
    assert rows(both.nth(1))[0] == 203
    expect(both.nth(1).get_by_role("button", name="look at the newer")).to_be_hidden()
    # A display that is closed leaves nothing behind; the last one lets go of the store.
    notebook.command("notebook:clear-all-cell-outputs")
    expect(both).to_have_count(0)
    assert run(notebook, "print(view.widget._watching)") == "None"


def test_a_kernel_may_be_busy_and_one_that_is_gone_is_said_to_be(notebook: OpenNotebook) -> None:
    page = notebook.page
    browser = widgets.widget(notebook, "events")
    page.evaluate(
        """() => {
            const { sessionContext } = window.jupyterapp.shell.currentWidget.context;
            const { kernel } = sessionContext.session;
            window.busy = kernel.requestExecute({ code: "import time; time.sleep(90)" });
            window.free = false;
            window.busy.done.then(() => { window.free = true; }, () => {});
        }"""
    )
    browser.get_by_role("button", name="to older events").click()
    count(browser, "16–30 of 200")
    assert not page.evaluate("window.free")
    page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.context.sessionContext.shutdown()"
        ".then(() => null)"
    )
    browser.get_by_role("button", name="to older events").click()
    expect(browser).to_contain_text("the kernel does not answer")
    count(browser, "16–30 of 200")
