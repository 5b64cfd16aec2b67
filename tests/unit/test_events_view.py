"""The stream browser's data: filters that combine, pages in both directions, what is counted."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soak import scaled

from eslab import Event, Lab, Metadata, NewEvent
from eslab.errors import InputError, QueryError
from eslab.views import EventPages, EventsFilter, EventsView, events_pages

START = datetime(2026, 1, 1, tzinfo=UTC)


class Placed(Event, tags=("order_id",)):
    order_id: str
    amount: Decimal = Decimal(1)


class Noted(Event):
    text: str


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=7) as running:
        yield running


def record(lab: Lab, *data: Any, stream: str = "a-1", type: str = "Noted", **more: Any) -> None:
    lab.store.append(stream, [NewEvent(type, one, **more) for one in data])


def positions(lab: Lab, **given: Any) -> list[int]:
    view = lab.events(**given)
    found = [int(position) for position in view.df["position"]]
    assert view.count == len(found)
    assert lab.sql(view.sql).df().equals(view.df)
    return found


# What a filter lets pass.


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("order-1", [1]),
        ("order-*", [1, 2, 3]),
        ("*-1*", [1, 3, 4]),
        ("*", [1, 2, 3, 4]),
        ("order-_%", [2]),
        ("order\\", []),
    ],
)
def test_a_star_stands_for_any_text_and_everything_else_for_itself(
    lab: Lab, pattern: str, found: list[int]
) -> None:
    for stream in ("order-1", "order-_%", "order-11", "note-1"):
        record(lab, {}, stream=stream)
    assert positions(lab, stream=pattern) == found


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (("amount", "=", 30), [1, 2, 6]),
        (("amount", "!=", 30), [3, 7, 8]),
        (("amount", ">", 30), [3, 7]),
        (("amount", "<=", 30.0), [1, 2, 6, 8]),
        (("amount", ">=", Decimal("1e300")), [7]),
        (("amount", "<", 1e300), [1, 2, 3, 6, 8]),
        (("amount", "=", "30"), [1, 2]),
        (("amount", "contains", "30"), [1, 2, 6, 7]),
        (("amount", "=", None), [4, 5, 9]),
        (("amount", "!=", None), [1, 2, 3, 6, 7, 8, 10]),
        (("amount", "=", True), [10]),
        (('lines[1]["a b"]', "=", "x"), [9]),
        (("lines[0]", "!=", None), [9]),
        (("lines[2]", "!=", None), []),
    ],
)
def test_values_in_the_data_are_compared_as_what_they_are(
    lab: Lab, condition: tuple[str, str, Any], found: list[int]
) -> None:
    amounts = [30, "30", 2**53 + 1, None]
    record(lab, *({"amount": amount} for amount in amounts), {})
    record(lab, {"amount": 30.0}, {"amount": 1.5e300}, {"amount": "-1e2"})
    record(lab, {"lines": [1, {"a b": "x"}]}, {"amount": True})
    assert positions(lab, payload=[condition]) == found


def test_a_key_may_hold_anything(lab: Lab) -> None:
    keys = ["a.b", "a[0]", '"', "\\", "*", "$", " a ", "a\n\x00", "~1/x", "", "ü😀", "'", "0"]
    record(lab, *({key: {"n": [1, 2]}} for key in keys))
    for position, key in enumerate(keys, 1):
        assert positions(lab, payload=[(f"[{json.dumps(key)}].n[1]", "=", 2)]) == [position], key


def test_large_numbers_are_compared_exactly_and_no_text_is_a_number(lab: Lab) -> None:
    record(lab, {"n": 2**53}, {"n": 2**53 + 1}, {"n": "nan"}, {"n": "infinity"}, {"n": "x"})
    assert positions(lab, payload=[("n", "=", 2**53 + 1)]) == [2]
    assert positions(lab, payload=[("n", ">", 0)]) == [1, 2]


def test_a_time_in_the_data_is_compared_as_a_time(lab: Lab) -> None:
    record(lab, {"due": "2026-01-01T00:00:30Z"}, {"due": "2026-01-01T00:00:30.010000Z"}, {"due": 3})
    due = START + timedelta(seconds=30)
    assert positions(lab, payload=[("due", ">", due)]) == [2]
    assert positions(lab, payload=[("due", "=", due)]) == [1]


def test_all_conditions_hold_at_once(lab: Lab) -> None:
    known = Metadata(correlation_id="c-1")
    for number in range(6):
        occurred = START + timedelta(days=number)
        event = NewEvent(
            "Placed", {"amount": number}, tags=("x:1", "y:2")[: number % 3], occurred_at=occurred,
            metadata=known if number < 5 else Metadata(),
        )  # fmt: skip
        lab.store.append(f"order-{number % 2}", [event])
    assert positions(lab, correlation_id="c-1") == [1, 2, 3, 4, 5]
    assert positions(lab, tags=["y:2", "x:1"]) == [3, 6]
    assert positions(lab, tags="x:1") == [2, 3, 5, 6]
    assert positions(lab, occurred=("2026-01-02", START + timedelta(days=3))) == [2, 3]
    assert positions(lab, occurred=("2026-01-05 01:00+01:00", None)) == [5, 6]
    assert positions(lab, recorded=(None, START)) == []
    assert positions(lab, versions=(2, 3)) == [3, 4, 5, 6]
    assert positions(lab, positions=(2, None), versions=(None, 1)) == [2]
    assert positions(lab, category="order", types=Placed, stream="*-0", where="position > 1") == [
        3,
        5,
    ]
    assert positions(lab, occurred=(None, None), positions=(None, None)) == [1, 2, 3, 4, 5, 6]
    everything = {"tags": ["x:1"], "where": "version > 1 -- not the first", "versions": (1, 9)}
    assert positions(lab, payload=[("amount", ">", 1), ("amount", "<", 5)], **everything) == [3, 5]


def test_sql_may_ask_for_whatever_a_query_can(lab: Lab) -> None:
    lab.register(Placed)
    lab.append("order-1", [Placed(order_id="1"), Placed(order_id="2", amount=Decimal(40))])
    where = "position in (select position from placed where amount > 30)"
    assert positions(lab, where=where) == [2]
    assert positions(lab, where="type = '$limit' or version = 1", types=["Placed"]) == [1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"stream": ""}, "stream: a text"),
        ({"category": 3}, "category: a text"),
        ({"types": 3}, "types: a list"),
        ({"types": [3]}, "types: names"),
        ({"tags": [None]}, "tags: names"),
        ({"occurred": "2026"}, "occurred: two ends"),
        ({"occurred": ("2026-13-01", None)}, "occurred: '2026-13-01' is no time"),
        ({"recorded": (datetime(2026, 1, 1), None)}, "recorded: a time must be aware"),  # noqa: DTZ001
        ({"recorded": (3, None)}, "recorded: a time must be"),
        ({"occurred": ("2026-02-01", "2026-01-01")}, "give the earlier one first"),
        ({"occurred": (START, START)}, "no time is from 2026-01-01 on and before 2026-01-01"),
        ({"versions": (3, 2)}, "versions: none is from 3 to 2"),
        ({"versions": (True, None)}, "versions: a whole number"),
        ({"positions": (-1, None)}, "positions: a whole number"),
        ({"positions": (2**63, None)}, "positions: a whole number"),
        ({"payload": "amount > 3"}, "payload: a list"),
        ({"payload": ["amount"]}, "payload: path, operator and value"),
        ({"payload": [("amount", "~", 3)]}, "'~' is no operator: there are =, !=, "),
        ({"payload": [("amount", ["="], 3)]}, "is no operator"),
        ({"payload": [("a..b", "=", 3)]}, "payload: a path is such as"),
        ({"payload": [("$.a", "=", 3)]}, "a path is such as"),
        ({"payload": [("a[x]", "=", 3)]}, "a path is such as"),
        ({"payload": [('a"b', "=", 3)]}, "a path is such as"),
        ({"payload": [("*", "=", 3)]}, "a path is such as"),
        ({"payload": [('["a', "=", 3)]}, "a path is such as"),
        ({"payload": [('["a"b]', "=", 3)]}, "a path is such as"),
        ({"payload": [(r'["\q"]', "=", 3)]}, "a path is such as"),
        ({"payload": [(3, "=", 3)]}, "a path is such as"),
        ({"payload": [("a", "=", math.nan)]}, "finite"),
        ({"payload": [("a", "=", [3])]}, "a text, a number, a time"),
        ({"payload": [("a", "contains", 3)]}, "what a text contains is a text"),
        ({"payload": [("a", "<", True)]}, "True can be compared with = and != only"),
        ({"payload": [("a", "<", None)]}, "None can be compared"),
        ({"where": "amuont > 3"}, "where: 'amuont > 3' is no boolean expression over events: "),
        ({"where": "position +"}, "no boolean expression"),
        ({"where": "position"}, "no boolean expression: it gives int64"),
        ({"where": "true) or (true"}, "no boolean expression"),
        ({"where": "true order by position"}, "no boolean expression"),
        ({"where": "true union select 1"}, "no boolean expression"),
        ({"where": "true; drop table eslab.event_log"}, "no boolean expression"),
        ({"where": "count(*) > 1"}, "no boolean expression"),
        ({"where": "position = $limit"}, "no boolean expression"),
        ({"where": "error('planted')"}, "where: "),
    ],
)
def test_what_cannot_be_is_refused_in_words(lab: Lab, given: dict[str, Any], said: str) -> None:
    record(lab, {"amount": 3})
    with pytest.raises(InputError) as refused:
        lab.events(**given)
    assert said in str(refused.value)
    assert lab.store.head() == 1


def test_a_condition_taken_off_leaves_the_rest() -> None:
    wanted = EventsFilter().having(stream="a", tags=["x"], payload=[("a", "=", 1)])
    assert [condition.words for condition in wanted] == ["stream a", "tag x", "a = 1"]
    assert wanted.having(stream=None, tags=None, payload=None) == EventsFilter()
    assert hash(wanted) == hash(wanted.having(stream="a"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"stream": "order-*"}, "stream order-*"),
        ({"types": ["B", "A", "B"]}, "type A or B"),
        ({"types": []}, "type none"),
        ({"occurred": ("2026-01-01", "2026-01-02")}, "occurred from 2026-01-01 before 2026-01-02"),
        ({"recorded": (None, "2026-01-01 00:00:00.5")}, "recorded before 2026-01-01 00:00:00.5"),
        ({"recorded": ("2026-01-01 10:30", None)}, "recorded from 2026-01-01 10:30"),
        ({"versions": (3, 3)}, "version 3"),
        ({"positions": (1000, None)}, "position from 1,000"),
        ({"payload": [("a", "=", "x")]}, 'a = "x"'),
        ({"payload": [("a", "!=", None)]}, "a != null"),
        ({"payload": [("a", ">", Decimal("1.10"))]}, "a > 1.10"),
        ({"payload": [("a", "<", START)]}, "a < 2026-01-01"),
        ({"where": "version > 1"}, "where version > 1"),
    ],
)  # fmt: skip
def test_conditions_are_said_in_words(given: dict[str, Any], words: str) -> None:
    assert [condition.words for condition in EventsFilter().having(**given)] == [words]


# Pages, counts and jumps.

VALUES = st.sampled_from([None, 1, 2, "1", "b"])
EVENTS = st.lists(
    st.tuples(st.sampled_from("ABC"), st.sampled_from(["x-1", "x-2", "y-1"]), VALUES,
              st.integers(-3, 3)),
    max_size=25,
)  # fmt: skip
WANTED = st.fixed_dictionaries(
    {},
    optional={
        "types": st.lists(st.sampled_from("ABC"), max_size=2),
        "stream": st.sampled_from(["x-*", "y-1", "*1"]),
        "positions": st.sampled_from([(None, 9), (3, None), (5, 15)]),
        "payload": st.just([("v", "=", 1)]),
        "where": st.just("position % 2 = 1"),
    },
)


def passes(position: int, event: tuple[str, str, Any, int], wanted: dict[str, Any]) -> bool:
    kind, stream, value, _ = event
    first, last = wanted.get("positions", (None, None))
    pattern = wanted.get("stream", "*")
    return (
        kind in wanted.get("types", "ABC")
        and (stream == pattern or (pattern[0] == "*" and stream.endswith(pattern[1:]))
             or (pattern[-1] == "*" and stream.startswith(pattern[:-1])))
        and (first or 1) <= position <= (last or 99)
        and ("payload" not in wanted or value in (1, "1"))
        and ("where" not in wanted or position % 2 == 1)
    )  # fmt: skip


@pytest.mark.soak
@settings(max_examples=scaled(40, 400), deadline=None)
@given(events=EVENTS, wanted=WANTED, limit=st.integers(1, 6))
def test_pages_in_both_directions_are_what_matches_and_so_are_the_counts(
    events: list[tuple[str, str, Any, int]], wanted: dict[str, Any], limit: int
) -> None:
    with pytest.MonkeyPatch.context() as patch, Lab(seed=7) as lab:
        patch.setattr(events_pages, "WINDOW", 2)
        patch.setattr(events_pages, "WIDER", 2)
        for kind, stream, value, day in events:
            occurred = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day, hours=1)
            record(lab, {"v": value}, stream=stream, type=kind, occurred_at=occurred)
        numbered = [(place, event) for place, event in enumerate(events, 1)
                    if passes(place, event, wanted)]  # fmt: skip
        matching = [place for place, _ in numbered]
        view = lab.events(**wanted, limit=limit)
        record(lab, {"v": 1}, stream="x-1", type="A")  # it is on no page

        def page(**where: int) -> list[int]:
            return [int(one) for one in view.page(**where, limit=limit)["position"]]

        assert view.df["position"].tolist() == matching[-limit:]
        down, up = page(), page(after=0)
        downwards, upwards = [down], [up]
        while down := page(before=down[0]) if down else []:
            downwards.append(down)
        while up := page(after=up[-1]) if up else []:
            upwards.append(up)
        assert [one for page in reversed(downwards) for one in page] == matching
        assert [one for page in upwards for one in page] == matching

        counted = Counter(kind for _, (kind, *_) in numbered)
        assert (view.count, view.types) == (len(matching), len(counted))
        assert view.streams == len({stream for _, (_, stream, *_) in numbered})
        drawn = view.histogram.groupby("type")["count"].sum().to_dict()
        assert drawn == counted
        assert len(view.histogram["start"].unique()) <= events_pages.BINS + 1
        for position in range(1, len(events) + 1):
            later = [one for one in matching if one > position]
            assert view.pages.rank(position) == len(later)


def test_every_event_is_in_the_bin_of_its_time_also_before_1970(lab: Lab) -> None:
    moments = [datetime(1969, 12, 31, 23, 59, second, tzinfo=UTC) for second in range(60)]
    moments += [datetime(1970, 1, 1, 0, 0, second, tzinfo=UTC) for second in range(60)]
    for moment in moments:
        record(lab, {}, occurred_at=moment)
    view = lab.events()
    assert view.bin_width == timedelta(seconds=2)
    assert view.histogram["count"].tolist() == [2] * 60
    assert view.histogram["start"].iloc[0] == moments[0]


def test_centuries_have_bins_too(lab: Lab) -> None:
    for year in (1, 1970, 9999):
        record(lab, {}, occurred_at=datetime(year, 1, 1, tzinfo=UTC))
    view = lab.events()
    assert view.histogram["count"].sum() == 3
    assert len(view.figure().data[0].x) == 3
    assert "3 events over time" in view.svg()


def test_one_event_and_none_have_a_histogram(lab: Lab) -> None:
    assert lab.events().histogram.empty
    assert str(lab.events().histogram["start"].dtype) == "datetime64[us, UTC]"
    record(lab, {})
    assert lab.events().histogram["count"].tolist() == [1]


def test_the_counts_of_types_do_not_hide_those_that_could_be_chosen(lab: Lab) -> None:
    record(lab, {}, {}, type="A")
    record(lab, {}, type="B")
    pages = lab.events(types=["A"]).pages
    assert pages.summary.counts == {"A": 2, "B": 1}
    assert (pages.summary.count, pages.summary.types) == (2, 1)


def test_a_view_stays_as_it_was_made(lab: Lab) -> None:
    record(lab, {"n": 1}, {"n": 2})
    view = lab.events()
    record(lab, {"n": 3})
    assert view.page()["position"].tolist() == [1, 2]
    assert view.page(after=1)["position"].tolist() == [2]
    assert view.find(position=3) is None
    assert lab.sql(view.sql).df().equals(view.df)
    with pytest.raises(InputError, match="no event at position 3"):
        view.open(3)
    assert EventsView(lab.store, head=1).count == 1


def test_what_is_counted_is_counted_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    record(lab, {})
    pages = EventPages(lab.store, EventsFilter())
    assert not pages.is_counted
    assert pages.summary.count == 1
    monkeypatch.setattr(type(lab.store), "sql", None)
    assert pages.summary.count == 1


def test_one_can_jump_to_a_position_a_version_or_a_time(lab: Lab) -> None:
    for number, day in enumerate([3, 1, 2]):
        record(lab, {}, {}, stream=f"a-{number}", occurred_at=START + timedelta(days=day))
        lab.advance("1 h")
    view = lab.events()
    assert view.find(position=2) == 2
    assert view.find(version=2) == 2
    assert view.find(occurred="2026-01-02") == 3
    assert view.find(occurred="2026-01-02 00:00:01") == 5
    assert view.find(recorded=START + timedelta(minutes=30)) == 3
    assert view.find(occurred="2027-01-01") is None
    assert lab.events(stream="a-2").find(version=1) == 5
    for wrong in ({}, {"position": 1, "version": 1}, {"version": "1"}, {"occurred": "soon"}):
        with pytest.raises(InputError):
            view.find(**wrong)


def test_pages_are_asked_for_by_positions(lab: Lab) -> None:
    view = lab.events()
    for wrong in ({"before": 1, "after": 1}, {"before": "1"}, {"after": True}, {"limit": 0}):
        with pytest.raises(InputError):
            view.page(**wrong)
    assert view.page(before=-5).empty
    assert view.page(after=2**62).empty


def test_a_long_page_is_a_page_too(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    record(lab, *({"n": number} for number in range(9)))
    monkeypatch.setattr(events_pages, "LISTED", 2)
    assert positions(lab, payload=[("n", ">", 2)], where="position != 5") == [4, 6, 7, 8, 9]


def test_a_query_that_fails_without_sql_of_the_user_is_no_fault_of_theirs(lab: Lab) -> None:
    with pytest.raises(QueryError):
        EventPages(lab.store, EventsFilter()).page("nothing_of_that_name", limit=1)


# One event, opened.


def test_an_event_opens_to_its_cause_and_its_effects(lab: Lab) -> None:
    root = uuid4()
    lab.store.append("a-1", [NewEvent("Root", {"n": 2**60}, event_id=root)])
    caused = Metadata(causation_id=str(root))
    record(lab, {}, {}, stream="b-1", type="Effect", metadata=caused)
    view = lab.events()
    opened = view.open(1)
    assert opened.event.data == {"n": 2**60}
    assert [place.position for place in opened.effects] == [2, 3]
    assert (opened.cause, opened.command_id, opened.siblings) == (None, None, ())
    effect = view.open(2)
    assert effect.cause is not None
    assert (effect.cause.position, effect.cause.type) == (1, "Root")
    assert [place.position for place in effect.siblings] == [3]
    assert effect.effects == ()


@pytest.mark.parametrize("command", ["c0ffee", str(UUID(int=7)), 'a"b\\c ü'])
def test_what_a_command_recorded_stands_together(lab: Lab, command: str) -> None:
    record(lab, {}, {}, metadata=Metadata(causation_id=command, command_id=command))
    record(lab, {}, metadata=Metadata(causation_id="another"))
    opened = lab.events().open(2)
    assert (opened.cause, opened.command_id) == (None, command)
    assert [place.position for place in opened.siblings] == [1]
    assert not opened.more


def test_very_many_effects_are_cut_and_said_to_be(lab: Lab) -> None:
    root = uuid4()
    lab.store.append("a-1", [NewEvent("Root", {}, event_id=root)])
    record(lab, *[{}] * 30, stream="b-1", metadata=Metadata(causation_id=str(root)))
    opened = lab.events().open(1)
    assert len(opened.effects) == 20
    assert opened.more
    for wrong in (0, -1, 32):
        with pytest.raises(InputError, match="no event at position"):
            lab.events().open(wrong)


def test_the_figure_is_drawn_from_all_events_and_not_from_the_newest(lab: Lab) -> None:
    record(lab, *[{}] * 5)
    view = lab.events(limit=1)
    figure = view.figure()
    assert figure.layout.title.text == "5 events"
    assert sum(figure.data[0].y) == 5
    assert json.loads(figure.to_json())
    assert isinstance(view.histogram, pd.DataFrame)


def test_the_picture_is_of_all_events_too_and_always_the_same(lab: Lab) -> None:
    for number, kind in enumerate("ABCDEFGHIJ"):
        record(lab, *[{}] * (10 - number), type=f"<{kind}>")
        lab.advance("1 h")
    view = lab.events(limit=1)
    picture = view.svg()
    assert picture == lab.events(limit=1).svg()
    texts = ET.fromstring(picture).itertext()
    said = [text for text in texts if text.startswith(("<", "3 other"))]
    assert said == [f"<{kind}> ({10 - place})" for place, kind in enumerate("ABCDEFG")] + [
        "3 other types (6)"
    ]
    # A bar of each of ten types, and what eight of them are called; none looks like another.
    fills = Counter(re.findall(r'height="[^"]+" fill="([^"]+)"', picture.partition("</defs>")[2]))
    assert sorted(fills.values()) == [2] * 7 + [4]
    assert "55 events over time" in picture
    assert view.html().startswith("<img ")
    assert view.html().count("<tr>") == 2


def test_a_picture_of_nothing_says_so(lab: Lab) -> None:
    assert "No event matches." in lab.events().svg()
