"""The live message flow in a real JupyterLab: drawn, selected, searched, folded, played."""

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

SAGA = """
import eslab
from eslab.simulation.faults import Fault
from eslab.simulation.scenarios import orders

lab = eslab.Lab(seed=7)
lab.register(*orders.AGGREGATES, orders.order_fulfilment)
lab.execute(orders.ReceiveStock(article="anvil", quantity=10))
lab.inject(Fault("reply_lost", "charge_payment", attempt=1))
order = {"article": "anvil", "quantity": 2, "customer": "Ann", "amount": 30}
lab.execute(orders.PlaceOrder(order_id="o-1", destination="Atlantis", **order))
lab.run()
flow = lab.flow(saga="fulfilment-o-1")
flow
"""
DIGEST = ": 6 events, 8 commands, 2 failures, 6 participants, depth 20)"

MANY = """
import random
import eslab
from eslab import Metadata, NewEvent

chance = random.Random(7)
many = eslab.Lab(seed=8)
ids = [eslab.clock.derived_id(many.store.store_id, number) for number in range(5_000)]


def happened(number):
    cause = str(ids[chance.randint(max(0, number - 30), number - 1)]) if number else None
    known = Metadata(correlation_id="talk", causation_id=cause)
    return f"order-{number % 9}", NewEvent("Happened", {"n": number}, ids[number], metadata=known)


many.store.import_events(map(happened, range(5_000)), progress=False)
many.flow(correlation_id="talk")
"""

HOSTILE = """
import eslab
from eslab import NewEvent, Metadata

bad = eslab.Lab(seed=9)
evil = "<img src=x onerror=document.title='owned'>"
known = Metadata(actor=evil, correlation_id=evil, causation_id=evil)
bad.store.append("<script>-1", [NewEvent(evil, {evil: evil}, metadata=known)])
bad.store.append("<script>-2", [NewEvent("\U0001f600" * 200, {}, metadata=known)])
bad.flow(event=1)
"""


def heading(flow: Locator) -> Locator:
    return flow.get_by_role("heading").first


def test_a_saga_is_followed_by_mouse_and_keys(
    tmp_path: Path, open_in_lab: Open, server: Server, watch: Watch
) -> None:
    notebook = open_in_lab(written(tmp_path, "saga_flow", [SAGA]))
    notebook.run_all()
    assert notebook.errors() == []
    flow = widget(notebook, "flow")
    digest = "".join(notebook.cells()[0]["outputs"][0]["data"]["text/plain"])
    assert digest.endswith(DIGEST)
    expect(said(flow)).to_have_text(digest)

    # Keys: along the order, to the next failure, up to its cause, and on to its effect.
    sequence = flow.get_by_role("listbox", name="Sequence diagram")
    sequence.focus()
    press(sequence, notebook, "ArrowDown", "ArrowDown")
    expect(heading(flow)).to_have_text("SagaStarted")
    press(sequence, notebook, "e")
    expect(heading(flow)).to_have_text("charge_payment: no answer came in time")
    press(sequence, notebook, "e")
    expect(heading(flow)).to_contain_text("no courier delivers to Atlantis")
    press(sequence, notebook, "ArrowLeft")
    expect(heading(flow)).to_have_text("BookShipment")
    expect(flow).to_contain_text("saga-fulfilment-o-1 to shipment-o-1")
    # The kernel says what was recorded; the path to the root is marked.
    expect(flow).to_contain_text('"step": "book_courier"')
    assert flow.locator(".path").count() > 5
    expect(flow.get_by_role("option", name=re.compile("StockReserved"))).not_to_have_class(
        re.compile("path")
    )

    # A click selects, and a link leads on.
    flow.get_by_role("option", name=re.compile("^event, StockReserved")).click()
    expect(heading(flow)).to_have_text("StockReserved")
    flow.get_by_role("button", name=re.compile("Go to message .*ReserveStock")).click()
    expect(heading(flow)).to_have_text("ReserveStock")
    expect(sequence).to_be_focused()
    assert violations(flow) == []

    # The tree: the same message; its effects hidden and shown.
    press(flow, notebook, "c")
    tree = flow.get_by_role("tree", name="Causation tree")
    expect(heading(flow)).to_have_text("ReserveStock")
    item = tree.get_by_role("treeitem", name=re.compile("ReserveStock"))
    expect(item).to_have_attribute("aria-expanded", "true")
    expect(item).to_have_attribute("aria-level", "6")  # five messages led to it
    tree.focus()
    before = tree.get_by_role("treeitem").count()
    press(tree, notebook, "Enter")
    expect(item).to_have_attribute("aria-expanded", "false")
    expect(item).to_contain_text("hidden")
    assert tree.get_by_role("treeitem").count() < before
    flow.get_by_role("button", name="Show all effects").click()
    expect(item).to_have_attribute("aria-expanded", "true")
    flow.get_by_role("button", name="Hide all effects").click()
    expect(tree.get_by_role("treeitem")).to_have_count(1)

    # Searching finds what is hidden, and goes from one to the next.
    tree.focus()
    press(flow, notebook, "/")
    search = flow.get_by_role("searchbox")
    expect(search).to_be_focused()
    search.fill("refund")
    expect(heading(flow)).to_have_text("RefundPayment")
    expect(flow).to_contain_text("1 of 2")
    search.press("Enter")
    expect(heading(flow)).to_have_text("PaymentRefunded")
    search.fill("nowhere")
    expect(flow).to_contain_text("nothing found")
    search.press("Escape")
    expect(tree).to_be_focused()

    # Playing goes to the end and stops; pausing stops it before.
    press(flow, notebook, "s", "Home")
    flow.get_by_label("Messages a second").select_option("64")
    sequence.focus()
    press(sequence, notebook, " ")
    expect(heading(flow)).to_have_text("SagaCompensated: book_courier failed")
    expect(flow.get_by_role("button", name="Play along")).to_be_visible()

    notebook.dark()
    assert violations(flow) == []
    press(flow, notebook, "t")
    expect(flow.locator("tr[aria-current]")).to_contain_text("SagaCompensated")
    assert violations(flow) == []
    press(flow, notebook, "e")
    expect(flow.locator("tr[aria-current]")).to_contain_text("no answer came in time")
    press(flow, notebook, "t")
    expect(heading(flow)).to_contain_text("no answer came in time")
    assert watch.faults == []
    picture_remains(notebook, server, watch, "flow")


def test_five_thousand_messages_scroll_and_hostile_ones_stay_text(
    tmp_path: Path, open_in_lab: Open
) -> None:
    notebook = open_in_lab(written(tmp_path, "many_flow", [MANY, HOSTILE]))
    notebook.run_all()
    assert notebook.errors() == []
    flow = widget(notebook, "flow")
    expect(said(flow)).to_contain_text("5,000 events")
    sequence = flow.get_by_role("listbox")
    sequence.focus()
    rows = sequence.get_by_role("option")
    expect(rows.first).to_be_visible()
    press(sequence, notebook, "End")
    expect(flow).to_contain_text("5000 of 5000")
    expect(rows.last).to_have_attribute("aria-posinset", "5000")
    press(sequence, notebook, *["ArrowUp"] * 20)
    expect(flow).to_contain_text("4980 of 5000")
    places = rows.evaluate_all("rows => rows.map(row => Number(row.ariaPosInSet))")
    assert places == sorted(places)
    assert 5 < rows.count() < 40
    press(flow, notebook, "c")
    assert flow.get_by_role("treeitem").count() < 50
    flow.get_by_role("button", name="Show the messages as a table").click()
    expect(flow.get_by_role("table")).to_contain_text("messages 4801 to 5000 of 5000")
    flow.get_by_role("button", name="Earlier messages").click()
    expect(flow.get_by_role("table")).to_contain_text("messages 4601 to 4800 of 5000")
    expect(flow.get_by_role("button", name="Earlier messages")).to_be_focused()
    assert violations(flow) == []

    hostile = notebook.page.locator("[data-eslab='flow']").nth(1)
    hostile.scroll_into_view_if_needed()
    hostile.get_by_role("listbox").get_by_role("option").nth(1).click()
    expect(hostile).to_contain_text('"<img src=x onerror=')
    assert hostile.locator("img, script").count() == 0
    assert notebook.page.title() != "owned"
    assert hostile.evaluate("root => root.textContent.isWellFormed()")  # no sign is cut in two

    # Without a kernel it is still moved, and says what it cannot show.
    notebook.shut_kernel_down()
    hostile.get_by_role("listbox").focus()
    hostile.get_by_role("listbox").press("ArrowUp")
    expect(heading(hostile)).to_contain_text("not in this log")
    hostile.get_by_role("listbox").press("ArrowDown")
    expect(hostile).to_contain_text("the kernel does not answer", timeout=15_000)


def test_a_flow_shown_twice_and_run_again_leaves_nothing_behind(
    tmp_path: Path, open_in_lab: Open
) -> None:
    notebook = open_in_lab(written(tmp_path, "twice", [SAGA, "flow"]))
    notebook.run_all()
    notebook.run_all()
    flows = notebook.page.locator("[data-eslab='flow']")
    expect(flows).to_have_count(2)
    first, second = flows.nth(0), flows.nth(1)
    first.get_by_role("listbox").focus()
    press(first.get_by_role("listbox"), notebook, "End")
    expect(heading(first)).to_contain_text("SagaCompensated")
    expect(heading(second)).to_have_text("PlaceOrder")
    ids = notebook.page.evaluate(
        "() => [...document.querySelectorAll('[data-eslab=flow] [id]')].map(one => one.id)"
    )
    assert len(ids) == len(set(ids)) > 0
