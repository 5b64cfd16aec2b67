"""What looking costs: figures of a store with a million events, and widgets in a real JupyterLab.

The store is a year of flights. Times in the browser are those of a person: from a key or a click to
what is on the screen; where the kernel answers, with the way there and back.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flights import FLIGHTS, Airports, AirportsOfColumns

from eslab import Lab

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

TESTS = Path(__file__).parents[1]
FRAMES = 100_000
MESSAGES = 5_000
PROJECTIONS = 20
APPENDS = 12
"""Events a second while the lag is followed: 240 commits of the projections, half of a core."""

UPDATE = 52.5
"""Milliseconds from one update to the next: 20 a second, and a timer is late now and then."""

FOLLOWED_SECONDS = 60

Facts = list[tuple[str, float, str, float | None]]


def figures(path: str, events: int) -> None:
    """Make each view of the store and its figure, and print what that took."""
    with Lab(path) as lab:
        lab.register(*FLIGHTS)
        for projection in (Airports(), AirportsOfColumns()):
            lab.project(projection)
        lab.run()
        stream = next(iter(lab.store.read_all(after=events // 2, limit=1))).stream_id
        views: dict[str, Callable[[], Any]] = {
            "the stream browser, without a filter": lab.events,
            "the stream browser, filtered by payload": partial(
                lab.events, payload=[("delay_minutes", ">", 600)]
            ),
            "the replay of a stream": partial(lab.replay, stream),
            "the lag of two projections": lab.lag,
            "the lineage of an event": partial(lab.lineage, events // 2),
            "the message flow of an event": partial(lab.flow, event=events // 2),
        }
        facts = []
        for what, make in views.items():
            make().figure()  # what is imported for the first one
            found = [_seconds(lambda make=make: make().figure()) for _ in range(5)]
            facts.append((f"figure: {what}", statistics.median(found) * 1e3, "ms", 500))
    print(json.dumps(facts))


def widgets(path: str, events: int) -> None:
    """Use the widgets in JupyterLab, and print what that took; nothing without a Chromium."""
    sys.path.insert(0, str(TESTS))
    from browser.jupyter import CHROMIUM_ARGUMENTS, find_chromium, jupyterlab
    from playwright.sync_api import sync_playwright

    chromium = find_chromium()
    facts: Facts = []
    if chromium is None:
        print(json.dumps(facts))
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        jupyterlab(Path(folder) / "lab") as server,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS) as browser,
    ):
        for measured in (_browser, _player, _lag, _sagas, _flow):
            with browser.new_context(service_workers="block") as context:
                page = context.new_page()
                page.set_viewport_size({"width": 1280, "height": 1400})
                page.set_default_timeout(120_000)
                facts += measured(Reader(page, server, Path(folder)), path, events)
            server.shut_sessions_down()
    print(json.dumps(facts))


@dataclass(frozen=True)
class Reader:
    """Somebody who reads a notebook in a browser.

    Attributes:
        page: of the browser.
        server: the JupyterLab.
        folder: where the notebooks are written.
    """

    page: Page
    server: Any
    folder: Path

    def opens(self, kind: str, setup: str, view: str) -> tuple[Locator, Facts]:
        """Run a notebook that shows a widget; return it, and how long it was not there."""
        from browser.jupyter import open_notebook
        from browser.widgets import widget, written

        page = self.page
        notebook = open_notebook(page, self.server, written(self.folder, kind, [setup, view]))
        page.evaluate(
            """kind => {
                window.seen = 0;
                const look = () => {
                    const said = document.querySelector(`[data-eslab='${kind}'] .eslab-said`);
                    if (said?.textContent) window.seen = performance.now();
                    else requestAnimationFrame(look);
                };
                look();
            }""",
            kind,
        )
        page.evaluate(
            """() => window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => {
                window.ran = performance.now();
            })"""
        )
        assert notebook.errors() == [], notebook.errors()
        page.wait_for_function("() => window.seen > 0")
        late = max(0.0, page.evaluate("() => window.seen - window.ran"))
        return widget(notebook, kind), [
            (f"widget {kind}: first paint after its cell", late, "ms", 1_000)
        ]

    def waits(self, widget: Locator, key: str) -> float:
        """Press a key; return the milliseconds until what the widget shows is otherwise."""
        self.page.evaluate(
            """element => {
                window.changed = 0;
                window.pressed = 0;
                const watcher = new MutationObserver(() => {
                    watcher.disconnect();
                    requestAnimationFrame(() => { window.changed = performance.now(); });
                });
                element.addEventListener("keydown", () => {
                    window.pressed = performance.now();
                    watcher.observe(element, {subtree: true, childList: true,
                        characterData: true, attributes: true});
                }, {capture: true, once: true});
            }""",
            widget.element_handle(),
        )
        self.page.keyboard.press(key)
        self.page.wait_for_function("() => window.changed > 0")
        return float(self.page.evaluate("() => window.changed - window.pressed"))

    def runs(self, code: str) -> str:
        """Run code in the notebook's kernel, and return what it printed."""
        printed: str = self.page.evaluate(
            """code => {
                const { session } = window.jupyterapp.shell.currentWidget.sessionContext;
                const future = session.kernel.requestExecute({code});
                let text = "";
                future.onIOPub = (message) => {
                    if (message.header.msg_type === "stream") text += message.content.text;
                };
                return future.done.then(() => text);
            }""",
            code,
        )
        return printed


def _browser(reader: Reader, path: str, events: int) -> Facts:
    setup = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from eslab import Lab
from flights import FLIGHTS
lab = Lab({path!r})
lab.register(*FLIGHTS)"""
    browser, facts = reader.opens("events", setup, "lab.events()")
    browser.focus()
    browser.press("ArrowDown")
    took = [reader.waits(browser, "PageDown") for _ in range(40)]
    facts.append((f"a page of {events:,} events, p95 of 40", _p95(took), "ms", 200))
    reader.runs("lab.close()")
    return facts


def _player(reader: Reader, _path: str, _events: int) -> Facts:
    setup = f"""
from eslab import Aggregate, Event, Lab, NewEvent, applies
class Counted(Event):
    key: str
    n: int
class Counter(Aggregate):
    total: int = 0
    last: str = ""
    counts: dict[str, int] = {{}}
    @applies
    def counted(self, event: Counted) -> None:
        self.total += event.n
        self.last = event.key
        self.counts[event.key] = event.n
lab = Lab(seed=7)
lab.register(Counter)
lab.store.import_events(
    ((\"counter-1\", NewEvent(\"Counted\", {{\"key\": f\"k{{i % 20}}\", \"n\": i}}))
     for i in range({FRAMES})), progress=False)
player = lab.replay(\"counter-1\", progress=False)"""
    page = reader.page
    player, facts = reader.opens("player", setup, "player")
    player.focus()
    page.wait_for_function(
        """count => {
            const player = document.querySelector("[data-eslab='player']");
            player.dispatchEvent(new KeyboardEvent("keydown", {key: "End", bubbles: true}));
            return player.querySelector(".eslab-said").textContent.includes(`v${count}/${count}`);
        }""",
        arg=FRAMES,
        polling=500,
    )
    # The kernel answers a seek with what it says of the new version. JupyterLab hands a message on
    # when the widget has taken it in.
    page.evaluate(
        """() => {
            const { session } = window.jupyterapp.shell.currentWidget.sessionContext;
            window.heard = 0;
            session.kernel.iopubMessage.connect((_, { header, content }) => {
                if (header.msg_type === "comm_msg" && "said" in (content.data.state ?? {})) {
                    window.heard = performance.now();
                }
            });
        }"""
    )
    keys = ["Home", "End", "ArrowLeft", "Shift+ArrowLeft"] * 20
    took, back = [], []
    for key in keys:
        page.wait_for_timeout(60)  # the kernel hears of seeks at most twenty times a second
        took.append(reader.waits(player, key))
        page.wait_for_function("() => window.heard > window.pressed")
        back.append(
            float(page.evaluate("() => Math.max(window.heard, window.changed) - window.pressed"))
        )
    facts.append((f"seek among {FRAMES:,} frames, p95 of {len(keys)}", _p95(took), "ms", 50))
    facts.append((f"the same, to the kernel and back, p95 of {len(keys)}", _p95(back), "ms", 50))
    return facts


def _lag(reader: Reader, _path: str, _events: int) -> Facts:
    setup = f"""
import threading, time
import eslab
from eslab import Event, Lab, Projection, Row, Rows, on
class Count(Row, key="stream"):
    stream: str
    ticks: int = 0
def counting(number):
    class Ticked(Event, type=f"Ticked{{number}}"):
        n: int
    class Ticks(Projection):
        name = f"ticks_{{number}}"
        row = Count
        @on
        def ticked(self, event: Ticked, rows: Rows[Count]) -> None:
            rows.ensure(stream="all").ticks += 1
    return Ticked, Ticks()
kinds, projections = zip(*[counting(number) for number in range({PROJECTIONS})])
lab = Lab()
lab.project(*projections)
lab.start()
feeding = True
def feed():
    appended, begun = 0, time.monotonic()
    while feeding:
        lab.append("tick-1", [kinds[appended % {PROJECTIONS}](n=1)])
        appended += 1
        time.sleep(max(0, begun + appended / {APPENDS} - time.monotonic()))
thread = threading.Thread(target=feed, daemon=True)
thread.start()"""
    page = reader.page
    _chart, facts = reader.opens("lag", setup, "lab.lag()")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    session.send("HeapProfiler.enable")

    def heap() -> float:
        session.send("HeapProfiler.collectGarbage")
        metrics = session.send("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in metrics if one["name"] == "JSHeapUsedSize"))

    page.evaluate(
        """() => {
            window.draws = 0;
            const chart = document.querySelector("[data-eslab='lag']");
            const canvas = chart.querySelector("canvas");
            const context = canvas && canvas.getContext("2d");
            const clear = context && context.clearRect;
            if (clear) context.clearRect = (...box) => {
                window.draws++;
                clear.apply(context, box);
            };
        }"""
    )
    page.wait_for_timeout(5_000)
    before = heap()
    begun, drawn = time.perf_counter(), page.evaluate("() => window.draws")
    page.wait_for_timeout(FOLLOWED_SECONDS * 1_000)
    rate = (page.evaluate("() => window.draws") - drawn) / (time.perf_counter() - begun)
    grown = (heap() - before) / 1e6
    facts += [
        (f"the lag of {PROJECTIONS} projections, from update to update", 1e3 / rate, "ms", UPDATE),
        (f"heap that {FOLLOWED_SECONDS} s of it added", grown, "MB", 2),
    ]
    reader.runs("feeding = False\nthread.join()\nlab.close()")
    return facts


def _sagas(reader: Reader, _path: str, _events: int) -> Facts:
    setup = """
import eslab
from eslab.simulation.scenarios import orders
lab = eslab.Lab(seed=7)
lab.register(*orders.AGGREGATES, orders.order_fulfilment)
for number in range(500):
    article = f"a-{number}"
    lab.execute(orders.ReceiveStock(article=article, quantity=9))
    lab.execute(orders.PlaceOrder(order_id=f"o-{number}", article=article, quantity=1,
        customer="Ann" if number % 50 else "Bob", amount=3,
        destination="Atlantis" if number % 7 == 0 else "Boston"))
lab.run()"""
    facts: Facts = []
    _, found = reader.opens("saga", setup, "lab.saga('fulfilment-o-7')")
    facts += found
    reader.server.shut_sessions_down()
    _, found = reader.opens("fleet", setup, "lab.fleet()")
    return facts + found


def _flow(reader: Reader, _path: str, _events: int) -> Facts:
    setup = f"""
import uuid
from eslab import Lab, Metadata, NewEvent
lab = Lab(seed=7)
root = uuid.uuid5(uuid.NAMESPACE_OID, "root")
ids = [uuid.uuid5(root, str(number)) for number in range({MESSAGES})]
lab.store.import_events((
    (f"thing-{{number % 10}}", NewEvent("Happened", {{"n": number}}, ids[number], metadata=Metadata(
        correlation_id=str(root), causation_id=str(ids[(number - 1) // 3]) if number else None)))
    for number in range({MESSAGES})), progress=False)"""
    view = "lab.flow(correlation_id=str(root))"
    flow, facts = reader.opens("flow", setup, view)
    flow.focus()
    flow.press("ArrowDown")
    took = [reader.waits(flow, "ArrowDown") for _ in range(60)]
    facts.append((f"a step among {MESSAGES:,} messages, p95 of 60", _p95(took), "ms", 50))
    return facts


def _p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * len(values))]


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
