"""The replay player's widget, without a browser: what it sends, what it obeys, what it follows."""

from __future__ import annotations

import json
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
from eslab.replay.what_if import Choices, Finding, Outcome, Section
from eslab.views import StreamPlayer

pytest.importorskip("anywidget")
pytest.importorskip("ipywidgets")

from eslab.widgets import player as module
from eslab.widgets.player import PlayerWidget, player_widget

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


def test_what_the_browser_gets_is_the_replay(player: StreamPlayer) -> None:
    widget = player_widget(player)
    first = json.loads(widget.first)
    assert widget.head["count"] == 5
    assert json.loads(widget.head["initials"]) == {"talk": {"count": 0, "texts": {}}}
    assert first["versions"] == [1, 2, 3, 4, 5]
    assert first["digests"] == [frame.digest for frame in player.replay]
    assert json.loads(first["data"][2]) == {"key": "b", "text": EVIL}
    assert first["changes"][1] == [[["count"], 0, 1, 2], [["texts", "a"], 0, "one", "two"]]
    assert first["changes"][3][1] == [["texts", "a"], 2, "two"]
    assert list(first["errors"]) == ["5"]
    assert widget.said == player.digest


def test_the_rest_comes_when_it_is_asked_for(
    player: StreamPlayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST", 2)
    monkeypatch.setattr(module, "CHUNK", 2)
    widget = player_widget(player)
    assert json.loads(widget.first)["versions"] == [1, 2]
    answer = widget._obey("frames", {"after": 2})
    assert json.loads(answer["result"])["versions"] == [3, 4]
    assert json.loads(widget._obey("frames", {"after": 4})["result"])["versions"] == [5]
    assert "error" in widget._obey("frames", {"after": "2"})


def test_a_number_that_a_browser_would_round_goes_there_as_text() -> None:
    class Big(Event):
        n: int

    class Sum(Aggregate):
        n: int = 0

        @applies
        def big(self, event: Big) -> None:
            self.n = event.n

    with Lab(seed=7) as lab:
        lab.register(Sum)
        lab.append("sum-1", [Big(n=2**60), Big(n=3)])
        first = json.loads(player_widget(lab.replay("sum-1")).first)
    assert first["changes"] == [
        [[["n"], 0, 0, str(2**60)]],
        [[["n"], 0, str(2**60), 3]],
    ]
    assert json.loads(first["data"][0]) == {"n": str(2**60)}


def test_the_widget_and_the_player_move_each_other(player: StreamPlayer) -> None:
    player.seek(2)
    first, second = player_widget(player), player_widget(player)
    assert first.version == 2
    first.version = 3
    assert player.version == second.version == 3
    assert first.said == second.said == player.digest
    player.version = 4
    assert first.version == second.version == 4
    assert first.said == player.digest


@pytest.mark.parametrize(("sent", "reached"), [(0, 1), (99, 5)])
def test_a_version_that_there_is_none_of(player: StreamPlayer, sent: int, reached: int) -> None:
    player.seek(2)
    widget = player_widget(player)
    widget.version = sent
    assert player.version == widget.version == reached


def test_pins_and_breakpoints_are_on_both_sides(player: StreamPlayer) -> None:
    widget = player_widget(player)
    player.pin("count")
    assert widget.pins == ["count"]
    widget.pins = ["count", "texts.a"]
    assert player.pins == ("count", "texts.a")
    widget.pins = ["texts["]
    assert widget.pins == list(player.pins) == ["count", "texts.a"]
    player.breakpoint(lambda talk: talk.count > 2, name="three")
    assert widget.breakpoints == [{"name": "three", "versions": [3]}]


def test_a_widget_that_is_closed_follows_no_more(player: StreamPlayer) -> None:
    widget = player_widget(player)
    widget.close()
    player.seek(3)
    assert widget.version == 1
    assert player._listeners == []


def test_what_is_tried_out_comes_back_in_words(player: StreamPlayer) -> None:
    def try_out(wishes: Any) -> Outcome:
        if wishes[0].action == "move":
            raise ZeroDivisionError("somebody's handler")
        return Outcome("a branch", (Section("Events", (Finding("-", EVIL),)),), {"a.json": "[]"})

    trying = StreamPlayer(player.replay, what_if=try_out, choices=Choices(["Said"], ["Say"]))
    widget = player_widget(trying)
    assert (widget.head["branch"], widget.head["commands"]) == (True, ["Say"])
    assert widget._obey("what_if", {"wishes": [{"action": "skip", "version": 2}]}) == {
        "result": {
            "title": "a branch",
            "sections": [{"title": "Events", "findings": [["-", EVIL]]}],
            "exports": {"a.json": "[]"},
        }
    }
    moved = {"action": "move", "version": 2, "after": 0}
    assert widget._obey("what_if", {"wishes": [moved]}) == {
        "error": "ZeroDivisionError: somebody's handler"
    }
    assert (
        "must be said" in widget._obey("what_if", {"wishes": [{**moved, "after": None}]})["error"]
    )


def test_what_is_no_intent_is_not_obeyed(player: StreamPlayer) -> None:
    widget = player_widget(player)
    assert "knows no intent" in widget._obey("close", {})["error"]


def test_a_stream_without_events() -> None:
    widget = player_widget(StreamPlayer(Replay("talk-9", (), {}, "talk-9")))
    assert (widget.head["count"], widget.head["span"], widget.version) == (0, [], 0)
    widget.version = 1
    assert widget.player.version == 0


def test_threads_leave_one_version_on_show(player: StreamPlayer) -> None:
    widget = player_widget(player)

    def wander(start: int) -> None:
        for step in range(100):
            player.seek(1 + (start + step) % 5)
            widget.version = 1 + (start + 2 * step) % 5

    threads = [threading.Thread(target=wander, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert widget.version == player.version
    assert widget.said == player.digest


def test_the_bundle_holds_the_widget_and_the_picture(
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
sys.modules["anywidget"] = None
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


def test_the_browser_code_is_small_and_loads_nothing_from_elsewhere() -> None:
    sent = str(PlayerWidget._esm)
    assert len(sent.encode()) < 60_000
    assert max(map(len, sent.splitlines())) <= 110
    folder = Path(module.__file__).with_name("static")
    for name in ("player.js", "player.css"):
        code = (folder / name).read_text(encoding="utf-8")
        assert "http" not in code
        assert "innerHTML" not in code
        assert not re.search(r"^\s*import\b|@import", code, flags=re.MULTILINE)
