"""The lag chart's widget: what a page is given, what it may ask for, and how it follows a lab."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from planted_logs import Planted, Wanted, Watched

from eslab import Cost, Lab, Projection, Row, Rows, on
from eslab.projections.live import LiveLag
from eslab.projections.verdict import VerdictName
from eslab.views.lag_ribbon import LOOKS
from eslab.widgets import lag as module
from eslab.widgets.lag import LagWidget

EVIL = "<img src=x onerror=alert(1)><script>alert(1)</script>"


class Held(Row, key="key"):
    key: str
    count: int = 0


class Slow(Projection):
    row = Held
    batch = 2
    cost = Cost(batch=timedelta(milliseconds=40), event=timedelta(milliseconds=10))
    on_error = "dead-letter"

    @on
    def wanted(self, event: Wanted, rows: Rows[Held]) -> None:
        row = rows.ensure(key="all")
        row.count += 1
        if row.count == 3:
            raise ValueError(EVIL)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=7) as running:
        running.project(Watched(), Slow())
        for count in (3, 0, 8, 1):
            if count:
                running.append(f"x-{count}", [Wanted()] * count)
            running.advance("200 ms")
        yield running


def made(lab: Lab) -> tuple[LagWidget, list[Any]]:
    """Return a widget, and what it sends from now on."""
    widget: LagWidget = lab.lag().widget
    sent: list[Any] = []
    widget.send = lambda content, buffers=None: sent.append(content)  # type: ignore[method-assign]
    return widget, sent


def looks(sent: list[Any]) -> list[Any]:
    """Return what was sent of the lag; verdicts are sent apart."""
    return [message for message in sent if "lines" in message["news"]]


def ask(widget: LagWidget, name: str, **arguments: Any) -> Any:
    return widget._obey(name, arguments)


def until(holds: Callable[[], Any]) -> None:
    """Wait for something on another thread; a test that fails has waited long."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# What a page is given.


def test_a_page_is_given_what_the_view_shows(lab: Lab) -> None:
    view = lab.lag()
    drawing = view.widget.drawing
    assert view.widget.said == view.digest
    assert json.loads(json.dumps(drawing)) == drawing
    rows = view.df[view.df["projection"] == "slow"]
    times, heads, checkpoints, events, lags = drawing["lines"]["slow"]
    assert heads == rows["head"].tolist()
    assert checkpoints == rows["checkpoint"].tolist()
    assert events == rows["lag_events"].tolist()
    assert [lag / 1e6 for lag in lags] == rows["lag_seconds"].tolist()
    assert times[-1] == int(rows["time"].iloc[-1].timestamp() * 1e6)
    assert [each["name"] for each in drawing["projections"]] == ["watched", "slow"]
    assert drawing["projections"][1]["what_if"] == {"rate": 20, "event_us": 10_000, "batch": 2}
    spans = drawing["verdicts"]["slow"]
    assert (spans[0][0], spans[-1][1]) == (times[0], times[-1])
    assert all(one[1] == other[0] for one, other in pairwise(spans))
    assert EVIL in json.dumps(drawing["incidents"])  # as text, which the page shows as text
    assert drawing["note"] == ""


def test_each_verdict_has_a_letter_and_a_colour_of_its_own() -> None:
    names: set[VerdictName] = {"OK", "WARN", "STALLED", "STOPPED", "REWIND", "REPLAYING"}
    assert set(LOOKS) == names
    assert len({look.letter for look in LOOKS.values()}) == len(names)
    assert len({look.colour for look in LOOKS.values()}) == len(names)


def test_why_there_is_nothing_to_be_drawn_is_said_in_words() -> None:
    with Lab(seed=7) as lab:
        assert "no projections" in lab.lag().widget.drawing["note"]
        lab.project(Watched())
        assert lab.lag().widget.drawing["note"] == "The log is empty."
        lab.append("x-1", [Wanted()])
        never = lab.lag().widget
        assert never.drawing["note"] == ""
        assert never.drawing["projections"][0]["words"][0].startswith("never ran, 1 event")
        later = lab.clock.now() - timedelta(days=1)
        nothing = lab.lag(until=later).widget
        assert nothing.drawing["note"] == "The log holds nothing of this time."


def test_a_clock_that_went_back_is_said_in_words(lab: Lab) -> None:
    lab.clock._now -= timedelta(hours=1)  # type: ignore[attr-defined]
    view = lab.lag()
    assert view.digest.startswith("ProjectionLag(the clock went back: the log is 1 h 0 min ahead; ")
    assert all(lag >= 0 for lag in view.widget.drawing["lines"]["slow"][4])
    assert view.figure().data


# What a page may ask for.


def test_a_verdict_shows_its_rule_and_its_samples_at_any_moment() -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        planted.append(10)
        planted.move(4)
        planted.wait(100)
        planted.move(4)
        stalled = planted.now
        planted.wait(100)
        widget, _ = made(lab)
        us = int(stalled.timestamp() * 1e6)
        found = ask(widget, "samples", projection="watched", time=us)["result"]
        assert (found["verdict"], found["rule"]) == ("STALLED", "heartbeats without movement")
        assert [sample[1] for sample in found["samples"]] == ["before", "start", "heartbeat", "now"]
        assert found["samples"][-1][2:] == ["4", "6", "1 min 40 s"]
        now = ask(widget, "samples", projection="watched", time=us + 10**12)["result"]
        assert now["verdict"] == "STOPPED"


def test_when_an_event_became_visible_is_told_of_a_position_or_an_id(lab: Lab) -> None:
    widget, _ = made(lab)
    event = next(iter(lab.store.read_all()))
    for text in ("1", " 1 ", str(event.event_id)):
        said = ask(widget, "visible", projection="watched", event=text)["result"]
        assert said == str(lab.visibility("watched").of(1))
        assert said.startswith("event 1 became visible in watched at 2026-01-01 00:00:00.")
    lab.append("x-9", [Wanted()])
    assert "is not visible" in ask(widget, "visible", projection="slow", event="13")["result"]


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("visible", {"projection": "watched", "event": "99"}, "no event that the projection"),
        ("visible", {"projection": "watched", "event": EVIL}, "by its position, such as 42"),
        ("visible", {"projection": "none", "event": "1"}, "no projection 'none' in this chart"),
        ("visible", {"projection": "watched", "event": "9" * 40}, ""),
        ("samples", {"projection": "none", "time": 0}, "no projection 'none'"),
        ("samples", {"projection": "watched", "time": 10**30}, "there is no time"),
        ("samples", {"projection": "watched", "time": "1"}, "time"),
        ("follow", {"viewer": "a", "reached": 10**30}, "there is no time"),
        ("look", {}, "knows no intent"),
        ("close", {}, "knows no intent"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    lab: Lab, name: str, arguments: dict[str, Any], said: str
) -> None:
    widget, _ = made(lab)
    assert said in ask(widget, name, **arguments)["error"]


QUEUE = {"rate": 100.0, "batch": 1, "event_us": 5_000, "outage_start": 0.0, "outage_length": 0.0}


class Single(Watched):
    """It costs nothing but its events."""

    name = "single"
    cost = Cost(batch=timedelta(0), event=timedelta(milliseconds=5))


def test_what_if_says_what_comes_of_it() -> None:
    with Lab(seed=7) as lab:
        lab.project(Single())
        widget, _ = made(lab)

        def if_it_were(**other: Any) -> dict[str, Any]:
            found: dict[str, Any] = ask(
                widget, "what_if", projection="single", **{**QUEUE, **other}
            )["result"]
            return found

        stable = if_it_were()
        assert stable["stable"]
        assert stable["said"].startswith("Stable: full batches take ")
        assert "by the formula of Pollaczek and Khinchine" in stable["said"]
        assert "by the formula" not in if_it_were(batch=2)["said"]
        unstable = if_it_were(event_us=20_000)
        assert not unstable["stable"]
        assert "50 can be applied, so it falls behind by" in unstable["said"]
        outage = if_it_were(outage_start=5.0, outage_length=5.0)
        assert max(outage["line"][3]) > 10 * max(stable["line"][3])
        assert "by the formula" not in outage["said"]
        assert lab.store.head() == 0  # nothing of it happened


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rate": 0.0}, "a rate is more than 0"),
        ({"rate": 1e9}, "a rate is more than 0"),
        ({"batch": 0}, "batch is a number from 1"),
        ({"outage_start": -1.0, "outage_length": 1.0}, "an outage begins at 0 or later"),
        ({"batch": 1.5}, "batch"),
        ({"projection": "none"}, "no projection 'none'"),
    ],
)
def test_a_queue_that_cannot_be_is_refused_in_words(wrong: dict[str, Any], said: str) -> None:
    with Lab(seed=7) as lab:
        lab.project(Single())
        widget, _ = made(lab)
        arguments = {"projection": "single", **QUEUE, **wrong}
        assert said in ask(widget, "what_if", **arguments)["error"]


# Following.


def merged(line: list[list[int]], news: dict[str, Any], name: str) -> list[list[int]]:
    """Put what is new in the place of what was known of the same time, as a page does."""
    keep = sum(time < news["since"] for time in line[0])
    return [column[:keep] + fresh for column, fresh in zip(line, news["lines"][name], strict=True)]


def test_what_a_page_missed_and_what_is_sent_make_the_view_of_now(lab: Lab) -> None:
    widget, sent = made(lab)
    line = widget.drawing["lines"]["slow"]
    reached = widget.drawing["at"]
    lab.append("x-5", [Wanted()] * 4)
    lab.advance("30 ms")
    news = ask(widget, "follow", viewer="a", reached=reached)["result"]
    line = merged(line, news, "slow")
    lab.append("x-6", [Wanted()] * 2)
    lab.run()
    until(lambda: looks(sent) and looks(sent)[-1]["news"]["lines"]["slow"][3][-1] == 0)
    for message in looks(sent):
        line = merged(line, message["news"], "slow")
    rows = lab.lag().df
    rows = rows[rows["projection"] == "slow"]
    moves = sorted(set(zip(*line[:3], strict=True)))
    whole = [
        (int(time.timestamp() * 1e6), head, checkpoint)
        for time, head, checkpoint in zip(
            rows["time"], rows["head"], rows["checkpoint"], strict=True
        )
    ]
    assert set(whole) <= set(moves)
    assert line[3][-1] == line[4][-1] == 0


def test_nothing_is_looked_at_where_nothing_happens_or_nobody_watches(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def counted(kind: Any, name: str) -> None:
        asks = getattr(kind, name)

        def ask_and_count(*arguments: Any, **options: Any) -> Any:
            asked.append(name)
            return asks(*arguments, **options)

        monkeypatch.setattr(kind, name, ask_and_count)

    until(lambda: "eslab-follower" not in threads())  # of a test before
    counted(LiveLag, "look")
    counted(module.LagSource, "lines")
    counted(module.LagSource, "judge")
    lab.run()
    widget, sent = made(lab)
    lab.append("x-7", [Wanted()])
    assert asked == []  # nobody watches
    ask(widget, "follow", viewer="a", reached=widget.drawing["at"])
    lab.run()
    until(lambda: sent)
    ask(widget, "seen", viewer="a", number=widget._sent)
    until(lambda: "eslab-follower" not in threads())
    assert set(asked) == {"look", "lines", "judge"}
    settled = len(asked)
    for _ in range(5):
        ask(widget, "seen", viewer="a", number=widget._sent)
    time.sleep(0.1)
    assert len(asked) == settled
    ask(widget, "leave", viewer="a")
    lab.append("x-8", [Wanted()])
    lab.run()
    time.sleep(0.1)
    assert len(asked) == settled


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_a_page_that_is_slow_gets_the_latest_later(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LATE", 1_000.0)
    monkeypatch.setattr(module, "JUDGING", 0.01)
    widget, sent = made(lab)
    ask(widget, "follow", viewer="a", reached=widget.drawing["at"])
    for _ in range(12):
        lab.append("x-1", [Wanted()])
        lab.advance("10 ms")
        until(lambda: "eslab-follower" not in threads())
        assert 1 <= len(looks(sent)) <= module.UNSEEN
    ask(widget, "seen", viewer="a", number=sent[-1]["number"])
    until(lambda: len(looks(sent)) > module.UNSEEN)
    assert looks(sent)[-1]["news"]["lines"]["watched"][1][-1] == lab.store.head()


def test_a_page_that_vanished_without_a_word_is_not_waited_for(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    widget, sent = made(lab)
    ask(widget, "follow", viewer="a", reached=widget.drawing["at"])
    assert widget._stop_listening is not None
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    lab.append("x-1", [Wanted()])
    until(lambda: widget._stop_listening is None)
    assert sent == []


def test_a_verdict_that_changed_is_said_at_once(lab: Lab) -> None:
    lab.run()
    widget, sent = made(lab)
    ask(widget, "follow", viewer="a", reached=widget.drawing["at"])
    lab.pause("slow")
    lab.append("x-1", [Wanted()])
    lab.advance("2 min")
    said = "STOPPED: no commit and no heartbeat for 60 s"
    until(lambda: ask(widget, "seen", viewer="a", number=widget._sent) and said in widget.said)
    assert "slow: 1 event, 2 min 0 s, paused, STOPPED" in widget.said
    words = [message["news"].get("words", {}) for message in sent]
    assert ["1 event, 2 min 0 s", "paused", said] in [each.get("slow") for each in words]


def test_what_it_says_in_words_is_in_the_end_what_is_drawn(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "JUDGING", 0.01)
    monkeypatch.setattr(module, "SAYING", 2.0)
    lab.run()
    widget, _ = made(lab)
    ask(widget, "follow", viewer="a", reached=widget.drawing["at"])
    for count in (1, 2):
        lab.append("x-1", [Wanted()] * count)
        lab.run()
        until(lambda: "eslab-follower" not in threads())
    head = lab.store.head()
    until(lambda: ask(widget, "seen", viewer="a", number=widget._sent) and str(head) in widget.said)
    assert widget.said == lab.lag().digest


def test_following_ends_with_the_lab_and_with_the_widget() -> None:
    lab = Lab(seed=7)
    lab.project(Watched())
    lab.append("x-1", [Wanted()])
    widget, _ = made(lab)
    other, _ = made(lab)
    for each in (widget, other):
        ask(each, "follow", viewer="a", reached=0)
    other.close()
    assert other._stop_listening is None
    lab.close()
    for name, arguments in (("seen", {"number": 0}), ("follow", {"reached": 0})):
        answer = ask(widget, name, viewer="a", **arguments)
        assert answer["error"] == "the lab was closed, or another one took its place"
    assert "closed" in ask(widget, "samples", projection="watched", time=0)["error"]
    until(lambda: "eslab-follower" not in threads())


def test_it_follows_threads_in_the_background() -> None:
    with Lab() as lab:
        lab.project(Watched())
        lab.append("x-1", [Wanted()])
        lab.start()
        widget, sent = made(lab)
        ask(widget, "follow", viewer="a", reached=widget.drawing["at"])
        for _ in range(30):
            lab.append("x-1", [Wanted()])
            ask(widget, "seen", viewer="a", number=widget._sent)
            time.sleep(0.005)
        lab.run()
        until(
            lambda: (
                not ask(widget, "seen", viewer="a", number=widget._sent).get("error")
                and looks(sent)
                and looks(sent)[-1]["news"]["lines"]["watched"][2][-1] == 31
            )
        )
    # They are what is new, from where the one before ended.
    ends = [widget.drawing["at"], *(message["news"]["at"] for message in looks(sent))]
    for end, message in zip(ends, looks(sent), strict=False):
        news = message["news"]
        assert news["since"] >= end
        assert min(news["lines"]["watched"][0]) == news["since"]
        assert len(news["lines"]["watched"][0]) <= 120


def test_of_one_that_is_watched_twice_one_page_may_leave(lab: Lab) -> None:
    widget, sent = made(lab)
    for viewer in "ab":
        ask(widget, "follow", viewer=viewer, reached=widget.drawing["at"])
    ask(widget, "leave", viewer="a")
    lab.append("x-1", [Wanted()])
    until(lambda: sent)
    ask(widget, "leave", viewer="b")
    assert widget._stop_listening is None


ENDS = """
import sys
sys.path.insert(0, {folder!r})
from planted_logs import Wanted, Watched
from eslab import Lab
lab = Lab(seed=7)
lab.project(Watched())
lab.append("x-1", [Wanted()])
widget = lab.lag().widget
widget.send = lambda *arguments: None
widget._obey("follow", dict(viewer="a", reached=0))
lab.append("x-1", [Wanted()])
"""


def test_a_process_that_follows_ends_quietly() -> None:
    """In the middle of a query a thread that ends with the interpreter would abort the process."""
    folder = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", ENDS.format(folder=folder)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
