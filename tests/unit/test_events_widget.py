"""The stream browser's widget, without a browser: what it sends, and what it does when asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from eslab import Event, Lab, Metadata, NewEvent

pytest.importorskip("anywidget")

from eslab.widgets import events as module
from eslab.widgets.events import PAGE, EventsWidget

START = datetime(2026, 1, 1, tzinfo=UTC)
EVIL = "<img src=x onerror=alert(1)>"


class Placed(Event):
    amount: int


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=7) as running:
        for number in range(40):
            event = NewEvent(
                f"Type{number % 2}",
                {"amount": number},
                tags=(f"n:{number % 4}",),
                occurred_at=START + timedelta(hours=number),
                metadata=Metadata(correlation_id=f"c-{number % 5}"),
            )
            running.store.append(f"order-{number % 3}", [event])
        yield running


class Asked:
    """A widget, and what a browser that asks it is answered."""

    def __init__(self, widget: EventsWidget) -> None:
        self.widget = widget
        self.answers: list[Any] = []
        widget.send = lambda content, buffers=None: self.answers.append(content)

    def __call__(self, intent: str, **arguments: Any) -> Any:
        message = {"intent": intent, "id": 1, "arguments": json.loads(json.dumps(arguments))}
        self.widget._receive(self.widget, message, [])
        answer = json.loads(json.dumps(self.answers.pop()))
        return answer.get("result") if "error" not in answer else answer["error"]

    def positions(self) -> list[int]:
        return [row["position"] for row in self.widget.shown["page"]]


@pytest.fixture
def ask(lab: Lab) -> Asked:
    return Asked(lab.events().widget)


def test_it_begins_with_the_newest_page_and_all_counts(lab: Lab, ask: Asked) -> None:
    shown = ask.widget.shown
    assert ask.positions() == list(range(40, 40 - PAGE, -1))
    assert shown["summary"]["count"] == 40
    assert shown["conditions"] == []
    assert sum(count for _, _, count in shown["summary"]["bars"]) == 40
    assert ask.widget.said == lab.events().digest
    assert len(json.dumps(shown)) < 10_000


@pytest.mark.parametrize(
    ("field", "values", "found"),
    [
        ("stream", [" order-0 "], 14),
        ("category", ["order"], 40),
        ("types", ["Type1"], 20),
        ("types", [], 40),
        ("correlation_id", ["c-1"], 8),
        ("tags", ["n:1"], 10),
        ("occurred", ["2026-01-01 10:00", "2026-01-02"], 14),
        ("recorded", ["", "2026-01-01"], 0),
        ("versions", ["", "1"], 3),
        ("positions", ["39", ""], 2),
        ("positions", ["1,000", ""], 0),
        ("payload", ["amount", ">", "37"], 2),
        ("payload", ["amount", "=", '"7"'], 1),
        ("payload", ["amount", "contains", "7"], 4),
        ("payload", ["amount", "!=", "null"], 40),
    ],
)
def test_a_filter_shows_its_first_page_and_counts_when_asked(
    ask: Asked, field: str, values: list[str], found: int
) -> None:
    assert ask("filter", field=field, values=values) is None
    assert len(ask.positions()) == min(found, PAGE)
    assert ask.widget.shown["summary"] is None or field == "types"
    summary = ask("summary")
    assert summary["count"] == found
    assert summary["revision"] == ask.widget.shown["revision"]
    assert ask.widget.said == ask.widget.view.digest
    assert ask.widget.view.count == found


def test_filters_combine_and_each_can_be_taken_off(ask: Asked) -> None:
    for field, values in [
        ("payload", ["amount", ">", "10"]),
        ("tags", ["n:1"]),
        ("payload", ["amount", "<", "30"]),
        ("stream", ["order-*"]),
        ("tags", ["n:2"]),
    ]:
        ask("filter", field=field, values=values)
    words = [words for _, words in ask.widget.shown["conditions"]]
    assert words == ["stream order-*", "tag n:1", "tag n:2", "amount > 10", "amount < 30"]
    ask("drop", place=2)
    assert ask("summary")["count"] == 5
    ask("drop", place=2)
    assert ask("summary")["count"] == 8
    ask("drop", place=0)
    words = [words for _, words in ask.widget.shown["conditions"]]
    assert words == ["tag n:1", "amount < 30"]
    ask("clear")
    assert ask.widget.shown["conditions"] == []
    assert "no condition 0" in ask("drop", place=0)


def test_sql_of_the_view_can_be_taken_off_but_not_be_sent(lab: Lab) -> None:
    ask = Asked(lab.events(where="position <= 3").widget)
    assert ask.positions() == [3, 2, 1]
    assert "field" in ask("filter", field="where", values=["true"])
    ask("filter", field="types", values=["Type0"])
    assert ask.positions() == [3, 1]
    ask("drop", place=1)
    assert len(ask.positions()) == PAGE


@pytest.mark.parametrize(
    ("field", "values", "said"),
    [
        ("occurred", ["soon", ""], "occurred: 'soon' is no time"),
        ("occurred", ["2026-02-01", "2026-01-01"], "the earlier one first"),
        ("versions", ["x", ""], "versions: a whole number is expected, not 'x'"),
        ("versions", ["-1", ""], "a whole number"),
        ("versions", ["²", ""], "a whole number"),
        ("positions", ["9" * 30, ""], "a whole number"),
        ("payload", ["", "=", "1"], "a path is such as"),
        ("payload", ["a", "LIKE", "1"], "no operator"),
        ("payload", ["a", ">", "null"], "compared with = and != only"),
        ("payload", ["a", "="], "too few or too many"),
        ("stream", [""], "stream: a text"),
        ("stream", [], "too few or too many"),
        ("types", [3], "values.0"),
        ("nothing", ["x"], "field"),
    ],
)
def test_what_cannot_be_a_filter_is_refused_and_changes_nothing(
    ask: Asked, field: str, values: list[Any], said: str
) -> None:
    before = dict(ask.widget.shown)
    assert said in ask("filter", field=field, values=values)
    assert ask.widget.shown == before


def test_values_that_are_typed_mean_what_they_look_like(lab: Lab, ask: Asked) -> None:
    lab.store.append(
        "x-1", [NewEvent("X", {"due": "2026-01-01T00:00:30.01Z", "zip": "02134", "ok": True})]
    )
    ask("refresh")
    assert ask("filter", field="payload", values=["zip", "=", "[" * 100_000]) is None
    assert ask.positions() == []
    ask("clear")
    for path, operator, text in [
        ("due", ">", "2026-01-01 00:00:30"),
        ("zip", "=", "02134"),
        ("zip", "=", '"02134"'),
        ("ok", "=", "true"),
        ("zip", "contains", "13"),
        ("due", "contains", "2026-01"),
    ]:
        ask("filter", field="payload", values=[path, operator, text])
        assert ask.positions() == [41], (path, operator, text)
        ask("clear")


def test_pages_go_on_in_both_directions(ask: Asked) -> None:
    older = ask("page", before=26)["rows"]
    assert [row["position"] for row in older] == list(range(25, 25 - PAGE, -1))
    assert [row["position"] for row in ask("page", after=10)["rows"]] == list(range(25, 10, -1))
    assert [row["position"] for row in ask("page", after=0)["rows"]] == list(range(15, 0, -1))
    # At the newest end a page is full.
    assert [row["position"] for row in ask("page", after=38)["rows"]] == ask.positions()
    assert ask("page", before=1)["rows"] == []
    assert "before" in ask("page", before="1")


@pytest.mark.parametrize("newest_first", [True, False])
def test_a_jump_gives_a_full_page_and_its_rank(ask: Asked, newest_first: bool) -> None:
    def jump(to: str, value: str) -> Any:
        return ask("jump", to=to, value=value, newest_first=newest_first)

    for to, value, position in [
        ("position", "20", 20),
        ("occurred", "2026-01-02 00:30", 26),
        ("version", "14", 40),
        ("position", "1", 1),
    ]:
        page = jump(to, value)
        found = [row["position"] for row in page["rows"]]
        assert page["position"] == position
        assert position in found
        assert len(found) == PAGE
        assert page["rank"] == 40 - found[0]
    assert "no event that matches: version 99 or above" in jump("version", "99")
    assert "no event that matches: occurred 2027-01-01 or later" in jump("occurred", "2027-01-01")
    assert "position: say which" in jump("position", " ")
    assert "a whole number" in jump("position", "9" * 5_000)
    assert "is no time" in jump("recorded", "soon")
    assert "to" in jump("sql", "1")


def test_only_the_rows_that_are_shown_are_sent(lab: Lab, ask: Asked) -> None:
    lab.store.append("big-1", [NewEvent("Big", {"text": "x" * 500_000})] * 20)
    ask("refresh")
    assert len(json.dumps(ask.widget.shown)) < 20_000
    row = ask.widget.shown["page"][0]
    assert row["data"].endswith("x…")
    assert len(ask("inspect", position=row["position"])["data"]["keys"][0][1]) == 500_002


def test_an_event_is_opened_with_all_that_is_known(lab: Lab) -> None:
    root = uuid4()
    data = {"n": 2**60, "nested": {"a": [1, 2.5, None, True, EVIL]}, "10": 1, "2": 2}
    lab.store.append("it's-1", [NewEvent("Root", data, event_id=root, tags=("t:1",))])
    lab.store.append("b-1", [NewEvent("Effect", {}, metadata=Metadata(causation_id=str(root)))])
    ask = Asked(lab.events().widget)
    opened = ask("inspect", position=41)
    assert opened["data"] == {
        "keys": [
            ["10", "1"],
            ["2", "2"],
            ["n", str(2**60)],
            ["nested", {"keys": [["a", {"items": ["1", "2.5", "null", "true", f'"{EVIL}"']}]]}],
        ]
    }
    assert opened["replay"] == 'lab.replay("it\'s-1")'
    assert ["tags", "t:1"] in opened["facts"]
    assert opened["effects"] == [{"position": 42, "text": "Effect · b-1 · v1"}]
    assert ask("inspect", position=42)["cause"]["position"] == 41
    assert "no event at position 43" in ask("inspect", position=43)


def test_what_is_appended_is_counted_while_somebody_looks_and_shown_when_asked(
    lab: Lab, ask: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HINT_SECONDS", 0.0)
    told = threading.Event()
    ask.widget.observe(lambda _: told.set(), "newer")
    lab.append("order-1", [Placed(amount=1)])
    assert not told.wait(0.05)
    ask("watch", on=True)
    assert ask.widget.newer == 1
    told.clear()
    lab.append("order-1", [Placed(amount=1)])
    assert told.wait(10)
    assert ask.widget.newer == 2
    assert ask.positions()[0] == 40
    assert ask("page")["rows"][0]["position"] == 40
    ask("filter", field="types", values=["Placed"])
    assert ask.positions() == []
    ask("refresh")
    assert ask.positions() == [42, 41]
    assert ask.widget.newer == 0
    assert ask("summary")["count"] == 2


def test_a_widget_that_nobody_looks_at_leaves_the_store_alone(lab: Lab, ask: Asked) -> None:
    def listeners() -> int:
        return len(lab.store._listeners) - before

    before = len(lab.store._listeners)
    for on, expected in [(True, 1), (True, 1), (False, 1), (False, 0), (False, 0), (True, 1)]:
        ask("watch", on=on)
        assert listeners() == expected
    ask.widget.close()
    assert listeners() == 0


def test_a_filter_that_was_counted_is_not_counted_again(ask: Asked) -> None:
    ask("filter", field="stream", values=["order-1"])
    assert ask.widget.shown["summary"] is None
    counted = ask("summary")
    ask("clear")
    ask("filter", field="stream", values=["order-1"])
    assert ask.widget.shown["summary"] is not None
    assert ask("summary") == counted | {"revision": counted["revision"] + 2}


def test_what_is_equal_to_python_alone_is_not_taken_for_the_same_filter(
    lab: Lab, ask: Asked
) -> None:
    lab.store.append("x-1", [NewEvent("X", {"ok": value}) for value in (True, 1)])
    ask("refresh")
    for text, position in (("1", 42), ("true", 41), ("1", 42)):
        ask("filter", field="payload", values=["ok", "=", text])
        assert ask.positions() == [position]
        ask("drop", place=0)


def test_a_type_keeps_its_looks_whatever_is_filtered(lab: Lab) -> None:
    for number in range(9):
        lab.store.append("z-1", [NewEvent(f"Rare{number}", {"rare": number})] * (9 - number))
    ask = Asked(lab.events().widget)
    looks = {name: ask.widget.shown["summary"]["groups"][group][1:]
             for name, _, group in ask.widget.shown["summary"]["types"]}  # fmt: skip
    ask("filter", field="payload", values=["rare", ">", "2"])
    summary = ask("summary")
    for name, _, group in summary["types"]:
        assert summary["groups"][group][1:] == looks[name]
    ask("filter", field="types", values=["Gone"])
    assert ["Gone", 0] in [one[:2] for one in ask("summary")["types"]]


def test_an_empty_log_has_a_widget_too() -> None:
    with Lab(seed=7) as lab:
        ask = Asked(lab.events().widget)
        assert ask.positions() == []
        assert ask("summary")["count"] == 0
        assert ask("page")["rows"] == []
        assert "no event" in ask("jump", to="position", value="1", newest_first=True)


def test_a_closed_store_is_said_in_words(lab: Lab, ask: Asked) -> None:
    lab.close()
    assert "closed" in ask("page")
    ask.widget._tell()


def test_what_is_shown_of_a_closed_store_is_the_static_display(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESLAB_RENDER", "widget")
    with lab.branch(at=20) as branch:
        view = branch.events()
        assert "application/vnd.jupyter.widget-view+json" in branch.events()._repr_mimebundle_()
    shown = view._repr_mimebundle_()
    assert sorted(shown) == ["text/html", "text/plain"]
    assert "20 events" in shown["text/plain"]
