"""The replay player in a browser: its states alone, and in JupyterLab what a person does."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser.jupyter import OpenNotebook, Server, Watch
from browser.widgets import picture_remains, press, said, violations, widget, written
from playwright.sync_api import Page, expect

from eslab import Aggregate, Event, Lab, applies
from eslab.replay import Replay
from eslab.widgets import player as module
from eslab.widgets.player import player_widget

pytestmark = pytest.mark.browser

STATIC = Path(module.__file__).with_name("static")

# Answers as the kernel does, without one.
ALONE = """([head, first, chunks]) => {
    const values = { head, first, version: 1, pins: [], breakpoints: [] };
    let hear = () => {};
    const model = {
        get: (name) => values[name],
        on: (name, act) => { if (name === "msg:custom") hear = act; },
        send: ({ id }) => setTimeout(() => hear({ answer: id, result: chunks.shift() })),
    };
    window.recording = new made.Replay(model);
    window.expected = head.count;
}"""

# What it says of two versions. What is a set cannot be seen in JSON: there it is as any list.
DIFFERENT = """([one, other]) => {
    const states = [one, other].map((number) => made.copied(recording.states.after(number)));
    return made.differences(...states)
        .map((change) => `${made.markOf(change)} ${made.pathText(change[0])}`)
        .filter((line) => !line.includes(".seen["));
}"""


def different(replay: Replay, one: int, other: int) -> list[str]:
    lines = [f"{change.mark} {change.path}" for change in replay.compare(one, other)]
    return [line for line in lines if ".seen[" not in line]


class Did(Event):
    what: str
    key: str
    n: int


class Thing(Aggregate):
    total: int = 0
    goods: dict[str, Any] = {}  # noqa: RUF012 - copied for each instance
    queue: list[Any] = []  # noqa: RUF012
    seen: set[str] = set()  # noqa: RUF012
    label: str | None = None

    @applies
    def did(self, event: Did) -> None:
        self.total += event.n
        match event.what:
            case "put":
                self.goods.setdefault(event.key, {"n": []})["n"].append(event.n)
            case "drop":
                self.goods.pop(event.key, None)
            case "push":
                self.queue.append({event.key: event.n})
            case "first":
                del self.queue[:1]
            case "see":
                self.seen ^= {event.key}
            case _:
                self.label = event.key if event.n else None


def test_the_browser_comes_to_the_states_of_the_handlers(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(7)
    monkeypatch.setattr(module, "FIRST", 100)
    monkeypatch.setattr(module, "CHUNK", 900)
    with Lab(seed=7) as lab:
        lab.register(Thing)
        for number in range(3_000):
            what = chance.choice(["put", "drop", "push", "first", "see", "label"])
            key = chance.choice(["__proto__", "constructor", f"k {chance.randrange(30)}"])
            event = Did(what=what, key=key, n=chance.randrange(3))
            lab.append(f"thing-{number % 3}", [event])
        replay = lab.replay(category="thing", after=50)
        live = player_widget(replay)
        chunks = [live.frames(after=after) for after in range(100, 2_950, 900)]
    code = "".join((STATIC / name).read_text() for name in ("common.js", "player.js"))
    page.add_script_tag(
        content=code.replace("export default", "const face =")
        + "\nglobalThis.made = { Replay, copied, differences, markOf, pathText };"
    )
    page.evaluate(ALONE, [live.head, live.first, chunks])
    page.wait_for_function("() => recording.loaded === expected")
    for number in [1, 2_950, *(chance.randint(1, 2_950) for _ in range(60))]:
        text = page.evaluate("number => JSON.stringify(recording.states.after(number))", number)
        assert json.loads(text) == replay.replay[number].states, number
    for one, other in ((1, 2_950), (2_000, 700), (1_500, 1_501)):
        assert page.evaluate(DIFFERENT, [one, other]) == different(replay.replay, one, other)
    told = page.evaluate("() => [1, 700, 2950].map(number => recording.say(number))")
    assert told == [replay.said_at(number) for number in (1, 700, 2_950)]


EVIL = '<img src=x onerror="window.evil = 1"><script>window.evil = 2</script>'
MADE = f"""\
from datetime import UTC, datetime, timedelta
import eslab

class Placed(eslab.Event):
    customer: str
class Added(eslab.Event):
    article: str
    quantity: int
class Removed(eslab.Event):
    article: str
class Order(eslab.Aggregate):
    customer: str = ""
    lines: dict[str, int] = {{}}
    total: int = 0
    @eslab.applies
    def placed(self, event: Placed):
        self.customer = event.customer
    @eslab.applies
    def added(self, event: Added):
        self.lines[event.article] = event.quantity
        self.total += event.quantity
    @eslab.applies
    def removed(self, event: Removed):
        self.total -= self.lines.pop(event.article)

lab = eslab.Lab(seed=7)
lab.register(Order)
start = datetime(2026, 1, 1, tzinfo=UTC)
history = [
    (0, Placed(customer={EVIL!r})),
    (10, Added(article="anvil", quantity=2)),
    (20, Added(article="rope", quantity=1)),
    (15, Removed(article="rope")),
    (40, Added(article="feather", quantity=7)),
    (50, Removed(article="feather")),
]
for minutes, event in history:
    lab.append("order-1", [event], occurred_at=start + timedelta(minutes=minutes))
lab.store.append("order-1", [eslab.NewEvent("Nobody", {{"a": 1}})])
lab.append("order-2", [Placed(customer="Bob")])
player = lab.replay("order-1")
stop = player.breakpoint(lambda order: "feather" in order.lines, name="feathers")
player
"""


def in_kernel(notebook: OpenNotebook, code: str) -> str:
    """Run code in the notebook's kernel, and return what it prints."""
    script = """async code => {
        const { session } = window.jupyterapp.shell.currentWidget.context.sessionContext;
        const future = session.kernel.requestExecute({ code });
        let text = "";
        future.onIOPub = ({ content }) => { text += content.text ?? content.evalue ?? ""; };
        await future.done;
        return text;
    }"""
    return str(notebook.page.evaluate(script, code)).strip()


@pytest.fixture
def notebook(tmp_path: Path, open_in_lab: Callable[[Path], OpenNotebook]) -> OpenNotebook:
    cells = [MADE, "lab.replay(category='order', types=[Placed])", "lab.replay(category='none')"]
    opened = open_in_lab(written(tmp_path, "player", [*cells, "player"]))
    opened.run_all()
    assert opened.errors() == []
    return opened


def test_a_replay_is_played_by_mouse_and_by_keyboard(notebook: OpenNotebook, watch: Watch) -> None:
    page = notebook.page
    player = widget(notebook, "player")
    line = said(player)

    def stands_at(version: int) -> None:
        expect(line).to_contain_text(f"v{version}/7")
        # The kernel hears of it a little later.
        for _ in range(100):
            if in_kernel(notebook, "print(player)") == line.text_content():
                return
            page.wait_for_timeout(50)
        assert in_kernel(notebook, "print(player)") == line.text_content()

    expect(page.locator("[data-eslab='player']")).to_have_count(4)
    player.focus()
    stands_at(1)
    press(player, notebook, "ArrowRight", "ArrowRight", "ArrowLeft")
    stands_at(2)
    press(player, notebook, "]")
    stands_at(3)
    press(player, notebook, "[", "Shift+ArrowRight")
    stands_at(7)
    expect(player.get_by_role("region", name="Event")).to_contain_text("Not applied")
    press(player, notebook, "Home")
    player.get_by_label("Speed").select_option("64")
    player.focus()
    press(player, notebook, " ")
    stands_at(5)  # there is a breakpoint
    expect(player).to_contain_text("at feathers")
    press(player, notebook, " ")
    stands_at(7)
    strip = player.get_by_role("slider")
    box = strip.bounding_box()
    assert box is not None
    strip.click(position={"x": 4 + (box["width"] - 8) * 10.5 / 50, "y": 20})
    stands_at(2)
    strip.focus()
    press(strip, notebook, "End", "Home")
    stands_at(1)
    goto = player.get_by_label("Go to a version, a time or the next of a type")
    for text, version in (("3", 3), ("00:44", 5), ("removed", 6), ("2026-01-01", 1)):
        goto.fill(text)
        goto.press("Enter")
        stands_at(version)
    goto.fill("99")
    goto.press("Enter")
    expect(player).to_contain_text("there are the versions 1 to 7, not 99")
    goto.press("Escape")

    # From a cell, and the same player displayed twice.
    in_kernel(notebook, "player.seek(4)")
    stands_at(4)
    again = page.locator("[data-eslab='player']").nth(3)
    expect(said(again)).to_have_text(line.text_content() or "")
    state = player.get_by_role("table", name="State")
    expect(state.get_by_role("row", name="rope")).to_contain_text("−")
    expect(state.get_by_role("row", name="total")).to_contain_text("3 → 2")

    # Search, pins and comparison.
    press(player, notebook, "/")
    query = player.get_by_label("Search in types, data and changes")
    expect(query).to_be_focused()
    query.fill("feather")
    query.press("Enter")
    stands_at(5)
    expect(player).to_contain_text("1 of 2")
    query.press("Escape")
    player.get_by_role("button", name="Pin total").click()
    expect(player.get_by_label("total over time")).to_be_visible()
    assert in_kernel(notebook, "print(player.pins)") == "('total',)"
    player.focus()
    press(player, notebook, "Home", "d", "ArrowRight", "ArrowRight")
    differs = player.get_by_role("table", name="What differs")
    expect(differs.get_by_role("row")).to_have_count(4)
    press(player, notebook, "d", "t", "?")
    expect(player.get_by_role("row", name="▶ 3")).to_contain_text("+ lines.rope: 1")
    expect(player).to_contain_text("previous, next of the same type")

    # Text is text.
    press(player, notebook, "Home", "t", "?")
    expect(player.get_by_role("table", name="Data")).to_contain_text("<img src=x")
    assert page.evaluate("() => window.evil") is None

    # What if.
    before = in_kernel(notebook, "print(lab.fingerprint())")
    press(player, notebook, "ArrowRight", "ArrowRight", "b")
    player.get_by_role("button", name="Try it on a branch").click()
    expect(player.get_by_role("table", name="Events")).to_contain_text(
        "cannot be applied: KeyError"
    )
    player.get_by_label("What is to be otherwise").select_option("edit")
    player.get_by_label("Its data, as JSON").fill("{")
    player.get_by_role("button", name="Try it on a branch").click()
    expect(player).to_contain_text("✕ edit: the data is no JSON")
    assert in_kernel(notebook, "print(lab.fingerprint())") == before

    for kind in ("light", "dark"):
        if kind == "dark":
            notebook.dark()
        assert violations(player) == []
        notebook.screenshot(f"player-{kind}")
    none = page.locator("[data-eslab='player']").nth(2)
    expect(said(none)).to_have_text("StreamPlayer(category none no events)")

    # Without a kernel it plays on, and says what needs one.
    notebook.shut_kernel_down()
    player.focus()
    press(player, notebook, "b", "End", "Home", "ArrowRight")
    expect(line).to_contain_text("v2/7")
    page.wait_for_timeout(200)
    # ipywidgets says in the console that it could not tell the kernel.
    watch.faults[:] = [fault for fault in watch.faults if "widget sync message" not in fault]


def test_a_saved_notebook_shows_the_picture(
    tmp_path: Path, open_in_lab: Callable[[Path], OpenNotebook], server: Server, watch: Watch
) -> None:
    notebook = open_in_lab(written(tmp_path, "saved", [MADE]))
    notebook.run_all()
    press(widget(notebook, "player"), notebook, "ArrowRight")
    picture_remains(notebook, server, watch, "player")


def test_text_that_were_markup_would_be_noticed(page: Page, watch: Watch) -> None:
    page.goto("about:blank")
    page.evaluate("text => document.body.insertAdjacentHTML('beforeend', text)", EVIL)
    page.wait_for_function("() => window.evil === 1")
    watch.faults.clear()
