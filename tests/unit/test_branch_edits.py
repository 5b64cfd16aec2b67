"""A branch with edits: its log, what follows from them, what differs from its base; its views."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soak import scaled

from eslab import (
    Aggregate,
    DomainError,
    Edit,
    Event,
    InputError,
    Insert,
    Lab,
    Move,
    NewEvent,
    Projection,
    Row,
    Rows,
    Saga,
    Skip,
    Step,
    StepContext,
    applies,
    on,
)
from eslab.lab import Branch
from eslab.replay import AnyEdit, edited
from eslab.views import ComparisonView, ConsequencesView
from eslab.views.svg import text_width


class Put(Event):
    key: str
    count: Decimal = Decimal(1)


class Taken(Event):
    key: str


class Shelf(Aggregate):
    goods: dict[str, Decimal] = {}  # noqa: RUF012 - copied for each instance

    @applies
    def put(self, event: Put) -> None:
        self.goods[event.key] = event.count

    @applies
    def taken(self, event: Taken) -> None:
        del self.goods[event.key]


class Total(Row, key="key"):
    key: str
    count: Decimal = Decimal(0)


class Totals(Projection):
    row = Total

    @on
    def put(self, event: Put, rows: Rows[Total]) -> None:
        rows.ensure(key=event.key).count += event.count


def full(step: StepContext) -> None:
    if step.input["full"]:
        raise DomainError("the train is full")


TRIP = Saga("trip", [Step("hotel", lambda step: None, lambda step: None), Step("train", full)])


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=7) as opened:
        opened.register(Shelf, Put, Taken, TRIP)
        opened.project(Totals())
        opened.append("shelf-1", [Put(key="a"), Put(key="b")])
        opened.append("shelf-2", [Put(key="a")])
        opened.append("shelf-1", [Taken(key="a")])
        opened.start_saga(TRIP, "1", full=False)
        opened.run()
        yield opened


def said(branch: Lab) -> list[Any]:
    return [
        (event.position, event.stream_id, event.version, event.data)
        for event in branch.store.read_all(category="shelf")
    ]


def test_a_branch_holds_what_its_edits_say(lab: Lab) -> None:
    before = lab.fingerprint()
    edits = [Skip(1), Edit(3, {"count": Decimal("2.5")}), Insert(0, "shelf-3", Put(key="c"))]
    with lab.branch(*edits, at=4) as branch:
        assert said(branch) == [
            (1, "shelf-3", 1, {"key": "c", "count": "1"}),
            (2, "shelf-1", 1, {"key": "b", "count": "1"}),
            (3, "shelf-2", 1, {"key": "a", "count": "2.5"}),
            (4, "shelf-1", 2, {"key": "a"}),
        ]
        assert [branch.store.base_position(position) for position in range(1, 5)] == [None, 2, 3, 4]
        assert (branch.edits, branch.at, branch.plan.start) == (tuple(edits), 4, 0)
        kept = [event.event_id for event in lab.store.read_all()]
        here = [event.event_id for event in branch.store.read_all()]
        assert [here[1] == kept[1], here[3] == kept[3]] == [True, True]
        assert not {here[0], here[2]} & set(kept)
        branch.run()
        assert branch.sql("select key, count from totals order by key").fetchall() == [
            ("a", Decimal("2.5")),
            ("b", Decimal(1)),
            ("c", Decimal(1)),
        ]
    assert lab.fingerprint() == before


def test_what_follows_is_told(lab: Lab) -> None:
    branch = lab.branch(Skip(1), at=4)
    found = branch.consequences
    assert found is branch.consequences
    words = "1 edit: 1 renumbered, 1 skipped, 1 cannot be applied"
    assert found.digest == f"ConsequencesView({words})"
    assert [one.error for one in found.broken] == ["KeyError: 'a'"]
    (stream,) = found.streams
    assert (stream.version, stream.changes) == (2, ())  # of what can be applied
    branch.append("shelf-1", [Put(key="z")])
    assert branch.consequences.digest == f"ConsequencesView({words})"
    assert list(
        found.df["position"].astype("object").where(found.df["position"].notna(), None)
    ) == [
        None,
        1,
        3,
    ]
    assert branch.sql(found.sql).fetchall()[0][:2] == ("shelf-1", "Put")


def test_an_event_class_that_an_edit_brings_is_known_there(lab: Lab) -> None:
    class Broken(Event):
        why: str

    branch = lab.branch(Insert(4, "shelf-1", Broken(why="age")), Edit(2, Put(key="y")), at=4)
    assert "Broken" in branch.registry
    assert "Broken" not in lab.registry
    assert branch.sql("select why from broken").fetchall() == [("age",)]
    (broken,) = branch.consequences.broken
    assert "has no handler for Broken" in (broken.error or "")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (Skip(999), "there is no position 999"),
        (Edit(1, {"count": "many"}), "does not fit Put: count"),
        (Edit(1, {"colour": 1}), "its fields: key, count"),
        (Insert(0, "shelf-1", NewEvent("Put", {})), "key: Field required"),
        ("Skip(1)", "an edit is Skip"),
    ],
)
def test_an_edit_that_cannot_be_makes_no_branch(lab: Lab, edit: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        lab.branch(edit)
    assert lab.branch().store.number == 1  # no other one was begun


def test_a_branch_of_an_edited_branch_has_the_positions_of_that(lab: Lab) -> None:
    first = lab.branch(Skip(1), at=4)
    second = first.branch(Skip(1))
    assert said(second) == [
        (1, "shelf-2", 1, {"key": "a", "count": "1"}),
        (2, "shelf-1", 1, {"key": "a"}),
    ]
    found = second.comparison(progress=False)
    assert found.digest.endswith(": 1 stream, 1 state and 1 read model differ)")


def test_a_branch_is_compared_with_what_it_began_with(lab: Lab) -> None:
    head = lab.store.head()
    branch = lab.branch(at=4)
    assert branch.comparison(progress=False).digest == (
        "ComparisonView(branch at 4 of ':memory:': no difference)"
    )
    branch.append("shelf-1", [Put(key="d")])
    branch.start_saga(TRIP, "1", full=True)
    branch.run()
    found = branch.comparison(progress=False)
    assert found.digest == (
        "ComparisonView(branch at 4 of ':memory:': 2 streams, 1 state, 1 read model and "
        "1 saga differ)"
    )
    assert {one.found_in for one in found.found.of("saga")} == {"branch"}
    # What the base did in the end.
    found = branch.comparison(at=head, progress=False)
    status = [one for one in found.found.of("saga") if one.path == "status"]
    assert [(one.base, one.branch, one.found_in) for one in status] == [
        ("COMPLETED", "COMPENSATED", "both")
    ]
    assert not branch.comparison(branch, progress=False).found
    # What it was before the branch began.
    earlier = lab.branch(at=4).comparison(at=2, projections=[], progress=False)
    assert [one.name for one in earlier.found.of("stream")] == ["shelf-1", "shelf-2"]
    with Lab(seed=7) as other:
        found = branch.comparison(other, progress=False)
        assert {one.found_in for one in found.found} == {"branch"}
        assert "and ':memory:'" in found.digest


def test_two_branches_of_one_base_are_compared(lab: Lab) -> None:
    one, two = lab.branch(at=4), lab.branch(Skip(4), at=4)
    found = one.comparison(two, projections=[], progress=False)
    assert [(each.kind, each.name, each.path) for each in found.found] == [
        ("stream", "shelf-1", "from version 3"),
        ("state", "shelf-1", "goods.a"),
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"at": 999}, "from 0 to .*, the last one there, not 999"),
        ({"at": True}, "not True"),
        ({"other": "lab"}, "its base, or a lab, not 'lab'"),
        ({"projections": ["sales"]}, "no projection 'sales'"),
    ],
)
def test_what_cannot_be_compared_is_refused(lab: Lab, options: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        lab.branch().comparison(progress=False, **options)


# Pictures.


def pictures(view: ConsequencesView | ComparisonView) -> str:
    """Return the static picture, after looking whether the others can be made."""
    assert isinstance(view.figure(), go.Figure)
    assert view.figure().to_json() == view.figure().to_json()
    picture = view.svg()
    assert picture == view.svg()
    html = view._repr_mimebundle_()["text/html"]
    (shown,) = re.findall(r"base64,([^\"]+)", html)
    assert base64.b64decode(shown).decode() == picture
    assert "<script" not in html
    return picture


def texts(picture: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", picture)


def test_each_thing_that_became_of_an_event_has_a_letter(lab: Lab) -> None:
    edits = [Skip(1), Edit(2, {"key": "c"}), Move(4, after=2), Insert(4, "shelf-2", Put(key="e"))]
    view = lab.branch(*edits, at=4).consequences
    letters = texts(pictures(view))
    for letter, became in (
        ("S", "skipped"),
        ("E", "edited"),
        ("I", "inserted"),
        ("!", "cannot be applied"),
    ):
        assert letter in letters
        assert became in letters
    symbols = {trace.name: trace.marker.symbol for trace in view.figure().data if trace.name}
    assert len(set(symbols.values())) == len(symbols)
    assert "KeyError" in view.html()
    moved = lab.branch(Move(2, after=0), at=4).consequences
    assert {"M", "R"} <= set(texts(pictures(moved)))


def test_a_branch_without_edits_has_a_picture_too(lab: Lab) -> None:
    view = lab.branch().consequences
    assert view.digest == "ConsequencesView(0 edits: no consequence)"
    assert "Nothing that was edited has a consequence." in texts(pictures(view))


def test_differences_are_told_by_signs(lab: Lab) -> None:
    branch = lab.branch(Edit(1, {"count": 3}), Skip(3), Insert(4, "shelf-9", Put(key="<i>")), at=4)
    view = branch.comparison(progress=False)
    assert {"~ 1", "− 1", "+ 1"} <= set(texts(pictures(view)))
    assert [trace.name for trace in view.figure().data] == [
        "~ differ",
        "− only in the base",
        "+ only on the branch",
    ]
    html = view.html()
    assert "&lt;i&gt;" in html
    assert "<i>" not in html
    assert "0 of" in pictures(lab.branch().comparison(progress=False))


def test_many_streams_and_long_names_stay_in_the_picture(lab: Lab) -> None:
    for number in range(40):
        lab.append(f"shelf-{'x' * 150}{number}", [Put(key=str(n)) for n in range(30)])
    edits = [Skip(event.position) for event in lab.store.read_all() if event.version == 1][-40:]
    branch = lab.branch(*edits)
    for view in (branch.consequences, branch.comparison(progress=False)):
        picture = pictures(view)
        for x, text in re.findall(r'<text x="([\d.]+)"[^>]*>([^<]*)</text>', picture):
            assert float(x) + 0.5 * text_width(text) < 900
        assert "more: see .df" in view.html()


# Whatever the edits are, the branch holds what the plan says.

POSITIONS = st.integers(1, 8)
EDITS = st.lists(
    st.one_of(
        st.builds(Skip, POSITIONS),
        st.builds(Edit, POSITIONS, st.fixed_dictionaries({"key": st.sampled_from("xy")})),
        st.builds(
            Insert,
            st.integers(0, 8),
            st.sampled_from(["shelf-1", "shelf-2", "shelf-3"]),
            st.builds(Put, key=st.sampled_from("ab")),
        ),
        st.tuples(POSITIONS, st.integers(0, 8))
        .filter(lambda pair: pair[0] != pair[1])
        .map(lambda pair: Move(*pair)),
    ),
    max_size=5,
    unique_by=lambda edit: getattr(edit, "position", object()),
)


@settings(max_examples=scaled(20, 300), deadline=None)
@given(EDITS)
def test_the_log_of_a_branch_is_the_plan(edits: list[AnyEdit]) -> None:
    with Lab(seed=7) as lab:
        for number in range(8):
            lab.append(f"shelf-{1 + number % 2}", [Put(key="ab"[number % 2])])
            lab.advance("1 s")
        plan = edited(lab.store, edits)
        with lab.branch(*edits) as branch:
            assert isinstance(branch, Branch)
            assert branch.store.head() == plan.end
            here = list(branch.store.read_all())
            base = list(lab.store.read_all())
            assert here[: plan.start] == base[: plan.start]
            planned = list(plan.events)
            assert len(planned) == len(here) - plan.start
            for event, one in zip(here[plan.start :], planned, strict=True):
                assert (event.stream_id, event.type, event.data) == (
                    one.stream_id,
                    one.event.type,
                    one.event.data,
                )
                assert event.recorded_at == one.recorded_at
                assert event.occurred_at == one.event.occurred_at
                assert one.event.event_id in (None, event.event_id)
                assert branch.store.base_position(event.position) == one.base_position
            found = branch.consequences.found
            places = {row.position: row for row in found.events if row.position}
            for event in here:
                if event.position in places:
                    assert places[event.position].version == event.version
            assert branch.store.verify()
