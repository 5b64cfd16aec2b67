"""The replay player's widget, without a browser: it moves the player, follows it, and escapes."""

from __future__ import annotations

import html
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eslab import Aggregate, Event, Lab, applies
from eslab.replay import Replay
from eslab.views import StreamPlayer

pytest.importorskip("anywidget")
pytest.importorskip("ipywidgets")

from eslab.widgets.player import HIGHEST, PlayerWidget, player_widget

EVIL = """<script>alert("it's")</script>"""
VIEW = "application/vnd.jupyter.widget-view+json"


class Said(Event):
    key: str
    text: str | None


class Talk(Aggregate):
    texts: dict[str, str] = {}  # noqa: RUF012 - copied for each instance
    count: int = 0

    @applies
    def said(self, event: Said) -> None:
        self.count += 1
        if event.text is None:
            del self.texts[event.key]
        else:
            self.texts[event.key] = event.text


@pytest.fixture
def player() -> Iterator[StreamPlayer]:
    with Lab(seed=7) as lab:
        lab.register(Talk)
        events = [("a", "one"), ("a", "two"), ("b", EVIL), ("a", None), ("zzz", None)]
        lab.append("talk-1", [Said(key=key, text=text) for key, text in events])
        yield lab.replay("talk-1")


def words(markup: str) -> str:
    """Return the text of a widget's HTML, with one space between the words."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def test_the_widget_starts_where_the_player_stands(player: StreamPlayer) -> None:
    player.seek(2)
    widget = player_widget(player)
    assert (widget.controls.version, widget.controls.last) == (2, 5)
    assert widget.controls.said == "talk-1: version 2 of 5, Said"
    assert words(widget.event.value).startswith("Said 2026-01-01 00:00:00 UTC, position 2")


def test_the_slider_moves_the_player(player: StreamPlayer) -> None:
    widget = player_widget(player)
    widget.controls.version = 3
    assert player.version == 3
    assert widget.controls.said == player.caption
    assert "position 3" in words(widget.event.value)


def test_the_player_moves_the_slider(player: StreamPlayer) -> None:
    first, second = player_widget(player), player_widget(player)
    player.version = 4
    for widget in (first, second):
        assert widget.controls.version == 4
        assert "position 4" in words(widget.event.value)


@pytest.mark.parametrize(("sent", "reached"), [(0, 1), (99, 5)])
def test_a_version_that_there_is_none_of(player: StreamPlayer, sent: int, reached: int) -> None:
    player.seek(2)
    widget = player_widget(player)
    widget.controls.version = sent
    assert player.version == widget.controls.version == reached


def test_changes_are_marked_by_signs(player: StreamPlayer) -> None:
    widget = player_widget(player)
    shown = {}
    for version in (1, 2, 4):
        player.seek(version)
        shown[version] = words(widget.state.value)
    assert shown[1] == 'State after this event: 1 appeared, 1 changed ~ count 0 → 1 + texts.a "one"'
    assert shown[2] == 'State after this event: 2 changed ~ count 1 → 2 ~ texts.a "one" → "two"'
    assert "1 disappeared" in shown[4]
    assert '- texts.a "two"' in shown[4]


def test_event_text_is_shown_as_text(player: StreamPlayer) -> None:
    widget = player_widget(player)
    player.seek(3)
    for markup in (widget.event.value, widget.state.value):
        assert "<script" not in markup
        assert "&lt;script&gt;" in markup


def test_an_error_is_said(player: StreamPlayer) -> None:
    widget = player_widget(player)
    player.seek(5)
    assert "Not applied: " in words(widget.event.value)
    assert "nothing changed" in words(widget.state.value)


def test_boxes_keep_their_height(player: StreamPlayer) -> None:
    widget = player_widget(player)
    heights = set()
    for version in range(1, 6):
        player.seek(version)
        heights.add(tuple(re.findall(r"height:(\d+)px", widget.event.value + widget.state.value)))
    assert len(heights) == 1


def test_boxes_are_as_high_as_the_fullest_step_needs() -> None:
    def height(*texts: str) -> int:
        with Lab(seed=7) as lab:
            lab.register(Talk)
            lab.append("talk-1", [Said(key=f"k{n}", text=text) for n, text in enumerate(texts)])
            widget = player_widget(lab.replay("talk-1"))
        (found,) = re.findall(r"height:(\d+)px", widget.state.value)
        return int(found)

    assert height("a") < height("a", "b", "c") < height("a", "b", "c" * 200) < height(*"abc" * 99)
    assert height(*"abc" * 99) == HIGHEST


def test_the_caption_says_what_was_not_applied(player: StreamPlayer) -> None:
    player.seek(5)
    assert player_widget(player).controls.said == "talk-1: version 5 of 5, Said, not applied"


def test_a_stream_without_events() -> None:
    widget = player_widget(StreamPlayer(Replay("talk-9", {}, ())))
    assert widget.controls.last == 0
    assert "no events" in words(widget.event.value)
    widget.controls.version = 1
    assert widget.player.version == 0


def test_a_stream_without_an_aggregate() -> None:
    with Lab(seed=7) as lab:
        lab.append("talk-1", [Said(key="a", text="b")])
        widget = player_widget(lab.replay("talk-1"))
    assert words(widget.state.value).startswith("No state")


def test_threads_leave_one_version_on_show(player: StreamPlayer) -> None:
    widget = player_widget(player)

    def wander(start: int) -> None:
        for step in range(100):
            player.seek(1 + (start + step) % 5)
            widget.controls.version = 1 + (start + 2 * step) % 5

    threads = [threading.Thread(target=wander, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    version = player.version
    assert widget.controls.version == version
    assert f"position {version}" in words(widget.event.value)
    assert widget.controls.said == player.caption


def test_the_bundle_holds_the_widget_and_the_table(
    player: StreamPlayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESLAB_RENDER", "widget")
    bundle = player._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", VIEW}
    assert bundle["text/html"] == player.html()
    assert player._repr_mimebundle_()[VIEW] == bundle[VIEW]
    assert VIEW not in player._repr_mimebundle_(exclude=[VIEW])
    assert isinstance(player.widget, PlayerWidget)
    monkeypatch.setenv("ESLAB_RENDER", "static")
    assert set(player._repr_mimebundle_()) == {"text/plain", "text/html"}


WITHOUT = """
import os, sys
sys.modules["ipywidgets"] = None
os.environ["ESLAB_RENDER"] = "widget"
import eslab
with eslab.Lab(seed=7) as lab:
    lab.store.append("a-1", [eslab.NewEvent("T", {})])
    player = lab.replay("a-1")
    print(*player._repr_mimebundle_())
    try:
        player.widget
    except eslab.MissingDependencyError as error:
        print(error)
"""


def test_without_the_libraries_the_static_display_is_left() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True
    )
    kinds, said = done.stdout.splitlines()
    assert kinds == "text/plain text/html"
    assert "pip install 'eslab[lab]'" in said


def test_the_browser_code_loads_nothing_from_elsewhere() -> None:
    folder = Path(sys.modules["eslab.widgets.player"].__file__ or "").parent
    for name in ("controls.js", "controls.css"):
        code = (folder / name).read_text(encoding="utf-8")
        assert "http" not in code
        assert "innerHTML" not in code
        assert not re.search(r"^\s*import\b|@import", code, flags=re.MULTILINE)


def test_every_control_has_a_name() -> None:
    """What the browser code makes focusable gets its name from the function that makes it."""
    folder = Path(sys.modules["eslab.widgets.player"].__file__ or "").parent
    code = (folder / "controls.js").read_text(encoding="utf-8")
    made: list[Any] = re.findall(r"createElement\(([^)]*)\)", code)
    assert set(made) == {"tag", '"div"'}
    assert code.count("data-lm-suppress-shortcuts") == 1
