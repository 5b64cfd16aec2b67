"""What the timelines of sagas and process managers draw, and the picture of explorations."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eslab
from eslab import Command, Event, Lab, ProcessManager, Retry, Saga, Step, on
from eslab.errors import InputError
from eslab.sagas import (
    NO_RETRY,
    CompensationCompleted,
    CompensationStarted,
    LateReplyReceived,
    Parallel,
    SagaCompensated,
    SagaStarted,
    StepCompleted,
    StepFailed,
    StepStarted,
    on_refused,
    on_timer,
    start,
    stop,
)
from eslab.simulation.explore import explore
from eslab.simulation.faults import Fault
from eslab.views import ExplorationView, SagaTimeline
from eslab.views.folds import folded_axis
from eslab.views.saga_layout import Shown, drawing
from eslab.views.saga_marks import Drawing

EVIL = """</text><script>alert("it's");</script>&amp;"""
MS = timedelta(milliseconds=1)
SECOND = timedelta(seconds=1)


class Asked(Event):
    trip_id: str
    what: str = "hotel"


class Booked(Event):
    trip_id: str
    what: str


class Left(Event):
    trip_id: str


class Book(Command):
    trip_id: str
    what: str


class Cancel(Command):
    trip_id: str


class Trip(ProcessManager, by="trip_id", not_found="park", cost=10 * MS, timeout=SECOND):
    """Books two things, and cancels all if one is refused or it takes too long."""

    @start
    def asked(self, event: Asked) -> None:
        self.set_timer("late", "15 min")
        self.send(Book(trip_id=self.id, what=event.what))
        self.send(Book(trip_id=self.id, what="train"))

    @on
    def booked(self, event: Booked) -> None:
        if event.what == "broken":
            raise ValueError(EVIL)

    @on_refused
    def refused(self, _: Book, __: str) -> None:
        self.send(Cancel(trip_id=self.id))
        self.stop()

    @on_timer("late")
    def late(self) -> None:
        self.send(Cancel(trip_id=self.id))

    @stop
    def left(self, _: Left) -> None:
        """End."""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=7) as running:
        yield running


def process(lab: Lab, *faults: Fault, what: str = "hotel", full: str = "") -> SagaTimeline:
    """Let a trip be asked for, and return what its process manager did in a minute."""

    def book(command: Book) -> None:
        if command.what == full:
            raise eslab.DomainError(f"the {full} is full")

    lab.register(Trip)
    lab.handles(book)
    lab.handles(cancel)
    lab.inject(*faults)
    lab.append("trip-1", [Asked(trip_id="1", what=what)])
    lab.advance("1 min")
    return lab.saga("trip-1")


def cancel(_: Cancel) -> None:
    """Cancel everything."""


def rows(view: SagaTimeline, *columns: str) -> list[tuple[Any, ...]]:
    return list(view.df[list(columns)].itertuples(index=False, name=None))


def notes(view: SagaTimeline) -> list[tuple[str, str, str]]:
    return list(view.notes[["mark", "step", "text"]].itertuples(index=False, name=None))


def milliseconds(view: SagaTimeline) -> list[tuple[float, float]]:
    begin = view.notes["at"].min()
    return [
        ((row.started_at - begin) / MS, (row.ended_at - begin) / MS) for row in view.df.itertuples()
    ]


def drawn(view: SagaTimeline, pivot: str | None = None) -> Drawing:
    return drawing(Shown(view.df, view.notes, view.summary.steps), pivot=pivot)


def texts(svg: str) -> str:
    return " ".join(ET.fromstring(svg).itertext())


# Process managers.


def test_a_process_manager_has_a_row_a_type_of_commands(lab: Lab) -> None:
    view = process(lab, full="train")
    assert view.digest == "SagaTimeline(trip-1 COMPLETED 3 commands, 1 refused: Book)"
    assert rows(view, "step", "kind", "attempt", "outcome", "order") == [
        ("Book", "command", 1, "delivered", 1),
        ("Book", "command", 1, "refused", 2),
        ("Cancel", "command", 1, "delivered", 3),
    ]
    assert [str(error) for error in view.df["error"]] == ["nan", "the train is full", "nan"]
    # The second one was sent with the first one, and went when that was answered.
    assert milliseconds(view) == [(0, 10), (10, 20), (20, 30)]
    assert lab.sql(view.sql).df().equals(view.df)
    assert drawn(view).rows == ("events", "timers", "Book", "Cancel")
    assert not drawn(view).arcs
    assert "2 refused: the train is full" in texts(view.svg())


def test_what_came_and_its_timers_are_marked_above(lab: Lab) -> None:
    view = process(lab, full="train")
    assert notes(view) == [
        ("received", "events", "Asked"),
        ("set", "timers", "late"),
        ("cancelled", "timers", "late"),
    ]
    assert view.notes["detail"].tolist() == ["", "in 15 min 0 s", ""]
    timer = drawn(view).waits[-1]
    assert (timer.row, timer.start, timer.end) == (1, 0, 20)
    assert all(word in texts(view.svg()) for word in ("Asked", "late in 15 min 0 s", "timer set"))


def test_a_timer_that_fires_is_where_it_did(lab: Lab) -> None:
    process(lab)
    lab.advance("1 h")
    view = lab.saga("trip-1")
    assert view.digest == "SagaTimeline(trip-1 RUNNING 3 commands)"
    assert notes(view)[-1] == ("fired", "timers", "late")
    assert [fold.text for fold in drawn(view).folds] == ["15 min 0 s"]
    assert "15 min 0 s" in texts(view.svg())


def test_a_command_that_failed_is_tried_again(lab: Lab) -> None:
    view = process(lab, Fault("fails", type=Book, attempt=1))
    assert "2 retries" in view.digest
    assert rows(view, "attempt", "outcome", "order") == [
        (1, "failed", 1),
        (2, "delivered", 1),
        (1, "failed", 2),
        (2, "delivered", 2),
    ]
    # Between two attempts it waits.
    (_, failed), (again, done), (second, _), _ = milliseconds(view)
    assert failed < again < done == second
    assert [(wait.row, wait.end > wait.start) for wait in drawn(view).waits][:2] == [(2, True)] * 2
    assert {label.text for label in drawn(view).attempts(letters=100)} == {"1/2", "2/2"}
    assert lab.sql(view.sql).df().equals(view.df)


def test_a_command_that_is_not_answered_has_a_deadline(lab: Lab) -> None:
    view = process(lab, Fault("late_reply", type=Book, attempt=1, by=60 * MS + SECOND))
    assert rows(view, "attempt", "outcome")[0] == (1, "timed out")
    assert view.df["error"].isna().all()
    marked = view.notes[view.notes["mark"] == "timeout"]
    assert marked["step"].tolist() == ["Book", "Book"]
    assert marked["at"].iloc[0] == view.df["ended_at"].iloc[0]
    # It was answered before it was tried again.
    assert ("late", "Book", "it was carried out: the answer came late") in notes(view)


def test_a_process_manager_that_is_stuck_at_a_command(lab: Lab) -> None:
    view = process(lab, Fault("fails", type=Book))
    assert view.digest == (
        "SagaTimeline(trip-1 STUCK 2 commands, Book cannot be carried out, 5 retries)"
    )
    assert view.summary.alarming
    assert rows(view, "order", "outcome")[-2:] == [(1, "failed"), (2, "waiting")]
    assert view.df["ended_at"].isna().sum() == 1
    assert notes(view)[-1] == ("wrong", "Book", "stuck: Book")
    assert view.figure().layout.title.text == "trip 1: STUCK"
    assert "should not be" in texts(view.svg())


@pytest.mark.parametrize("resolved", [False, True])
def test_a_process_manager_goes_on_when_it_is_resumed(lab: Lab, resolved: bool) -> None:
    process(lab, Fault("fails", type=Book, attempt=1), Fault("times_out", type=Book))
    before = len(lab.saga("trip-1").df)
    lab.inject()
    lab.resume_saga("trip", "1", resolved=resolved, reason="again")
    lab.advance("1 min")
    view = lab.saga("trip-1")
    assert view.summary.status == "RUNNING"
    first = [outcome for order, outcome in rows(view, "order", "outcome") if order == 1]
    # What a person has done is not tried again.
    assert first[-1] == ("timed out" if resolved else "delivered")
    assert len(view.df) == before + (0 if resolved else 1)
    text = "resumed, as done by a person: again" if resolved else "resumed: again"
    assert ("resumed", "Book", text) in notes(view)
    assert "late" not in set(view.notes["mark"])


def test_a_process_manager_that_is_stuck_at_an_event(lab: Lab) -> None:
    process(lab)
    lab.append("trip-1", [Booked(trip_id="1", what="broken"), Booked(trip_id="1", what="train")])
    lab.advance("1 s")
    view = lab.saga("trip-1")
    assert view.digest == (
        "SagaTimeline(trip-1 STUCK 2 commands, 1 parked: Booked, Booked cannot be handled)"
    )
    assert [(mark, step) for mark, step, _ in notes(view)][2:] == [
        ("not handled", "events"),
        ("wrong", "events"),
        ("parked", "events"),
    ]
    ET.fromstring(view.svg())


def test_a_process_manager_that_waits_for_its_start(lab: Lab) -> None:
    lab.register(Trip)
    lab.append("trip-1", [Booked(trip_id="1", what="hotel"), Booked(trip_id="1", what="train")])
    lab.run()
    view = lab.saga("trip-1")
    assert view.digest == (
        "SagaTimeline(trip-1 WAITING for the event that starts it, 2 parked: Booked)"
    )
    assert drawn(view).rows == ("events",)
    assert "event, parked" in texts(view.svg())
    assert [trace.name for trace in view.figure().data] == ["event, parked"]


def test_a_process_manager_that_waits_for_an_answer(lab: Lab) -> None:
    def book(_: Book) -> None:
        """Book it."""

    lab.register(Trip)
    lab.handles(book)
    lab.handles(cancel)
    lab.append("trip-1", [Asked(trip_id="1")])
    lab.advance(timedelta(milliseconds=15))
    view = lab.saga("trip-1")
    assert view.digest == (
        "SagaTimeline(trip-1 RUNNING 2 commands, Book is not answered yet, timer late is set)"
    )
    assert rows(view, "outcome") == [("delivered",), ("running",)]
    assert drawn(view).bars[-1].end == drawn(view).span


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    names=st.sets(
        st.sampled_from(["fails", "times_out", "reply_lost", "late_reply", "duplicate_reply"]),
        min_size=1,
    ),
    rate=st.sampled_from([0.3, 0.7]),
)
def test_the_rows_are_what_the_state_says(seed: int, names: set[str], rate: float) -> None:
    faults = [Fault(name, kind="command", rate=rate) for name in sorted(names)]  # type: ignore[arg-type]
    with Lab(seed=seed) as lab:
        view = process(lab, *faults)
        state = lab.saga_state("trip", "1")
    last = view.df.groupby("order").tail(1).set_index("order")
    assert list(last.index) == [one.number for one in state.sent]
    # An answer that came between two attempts is that of none of them.
    late = "late" in set(view.notes["mark"])
    unanswered = {"failed", "timed out", "running", "waiting"}
    for one in state.sent:
        row = last.loc[one.number]
        allowed = {one.outcome} if one.outcome and not late else {one.outcome, *unanswered}
        assert row["outcome"] in allowed
        assert row["attempt"] <= one.attempt
    ET.fromstring(view.svg())


# Sagas.


def nothing(_: Any) -> None:
    """Do a step that always succeeds."""


def trip(lab: Lab, *steps: Step | Parallel, faults: Sequence[Fault] = ()) -> SagaTimeline:
    lab.inject(*faults)
    lab.start_saga(Saga("trip", steps), "1")
    lab.run()
    return lab.saga("trip-1")


def planted(
    lab: Lab, *events: Event, undoable: Sequence[str] | None = ("a", "b", "c")
) -> SagaTimeline:
    """Write the stream of a saga by hand, 10 ms from event to event."""
    started = SagaStarted(saga="trip", saga_id="1", steps=["a", "b", "c"], input={})
    for event in [started, *events]:
        lab.append("saga-trip-1", [event])
        lab.advance(10 * MS)
    return SagaTimeline(lab.store, "saga-trip-1", undoable=undoable)


def done(step: str) -> list[Event]:
    return [StepStarted(step=step, attempt=1), StepCompleted(step=step, attempt=1)]


def undone(step: str, attempt: int = 1, *, late: bool = False) -> list[Event]:
    return [
        CompensationStarted(step=step, attempt=attempt, late=late),
        CompensationCompleted(step=step, attempt=attempt, late=late),
    ]


FAILED: list[Event] = [
    *done("a"),
    *done("b"),
    StepStarted(step="c", attempt=1),
    StepFailed(step="c", attempt=1, error="RuntimeError: no", final=True),
]
END = SagaCompensated(failed_step="c")


def wrong(view: SagaTimeline) -> list[tuple[str, str]]:
    return [(step, text) for mark, step, text in notes(view) if mark == "wrong"]


@pytest.mark.parametrize(
    ("events", "words", "mark"),
    [
        ([*undone("b"), END], "NEVER undone: a", ("a", "never undone")),
        (
            [*undone("b"), *undone("a"), *undone("a", 2), END],
            "undone TWICE: a",
            ("a", "undone twice"),
        ),
        (
            [*undone("a"), *undone("b"), END],
            "NOT in reverse order",
            ("a", "undone before what ended later"),
        ),
    ],
)
def test_what_should_not_be_is_found(
    lab: Lab, events: list[Event], words: str, mark: tuple[str, str]
) -> None:
    view = planted(lab, *FAILED, *events)
    assert words in view.digest
    assert words in texts(view.svg())
    assert words in view.figure().layout.title.subtitle.text
    assert view.summary.alarming
    assert wrong(view) == [mark]
    assert "should not be" in texts(view.svg())
    assert "should not be" in {trace.name for trace in view.figure().data}


def test_what_cannot_be_undone_is_not_missed(lab: Lab) -> None:
    view = planted(lab, *FAILED, *undone("b"), END, undoable=["b"])
    assert not view.summary.alarming
    assert not wrong(view)
    # A log alone does not say which steps can be undone.
    assert not SagaTimeline(lab.store, "saga-trip-1").summary.alarming
    # The lab knows it from the definition.
    lab.register(Saga("trip", [Step("a", nothing, nothing), Step("b", nothing), Step("c", print)]))
    assert wrong(lab.saga("trip-1")) == [("a", "never undone")]


def test_a_step_that_succeeds_late_is_undone_out_of_turn(lab: Lab) -> None:
    late = LateReplyReceived(step="c", kind="execute", attempt=1, compensated=True)
    events = [*undone("b"), *undone("a"), END, late, *undone("c", late=True)]
    view = planted(lab, *FAILED, *events)
    assert not view.summary.alarming
    assert "3 undone in reverse order" in view.digest
    assert "answered late: c" in view.digest
    text = "attempt 1 was executed: the answer came late; it is undone because of this"
    assert notes(view) == [("late", "c", text)]
    # As long as it is not undone, it is not missed yet; then it is.
    assert "NEVER undone: c" in planted_again(lab, [*FAILED, *undone("b"), *undone("a"), END, late])


def planted_again(lab: Lab, events: list[Event]) -> str:
    lab.append("saga-trip-2", [SagaStarted(saga="trip", saga_id="2", steps=["a"], input={})])
    lab.append("saga-trip-2", events)
    return SagaTimeline(lab.store, "saga-trip-2", undoable=["a", "b", "c"]).digest


def test_a_deadline_flies_a_flag_and_a_late_answer_is_marked(lab: Lab) -> None:
    view = trip(
        lab,
        Step("hotel", nothing, nothing, timeout=200 * MS, retry=Retry(limit=1, first=50 * MS)),
        Step("train", nothing, nothing),
        faults=[Fault("late_reply", "hotel", attempt=1, by=220 * MS)],
    )
    deadline = view.notes[view.notes["mark"] == "timeout"].iloc[0]
    assert deadline["step"] == "hotel"
    assert (deadline["at"] - view.df["started_at"].iloc[0]) / MS == 200
    assert ("late", "hotel", "attempt 1 was executed: the answer came late") in notes(view)
    assert "answered late: hotel" in view.digest
    assert all(word in texts(view.svg()) for word in ("deadline", "late answer"))
    names = [trace.name for trace in view.figure().data]
    assert {"deadline", "late answer"} <= set(names)
    assert len(names) == len({name for name in names if name}) + names.count(None)


def test_the_pivot_is_a_double_rule(lab: Lab) -> None:
    view = trip(lab, Step("pay", nothing, pivot=True), Step("mail", nothing))
    assert drawn(view, pivot=view.summary.pivot).pivot == 0  # type: ignore[union-attr]
    assert "pivot" in texts(view.svg()).split()
    figure = view.figure()
    assert figure.layout.yaxis.ticktext == ("pay<br>(pivot)", "mail")
    assert [(shape.y0, shape.xref) for shape in figure.layout.shapes] == [
        (0.52, "paper"),
        (0.58, "paper"),
    ]
    assert "pivot" not in texts(SagaTimeline(lab.store, started(lab)).svg())


def started(lab: Lab) -> str:
    lab.append("saga-old-1", [SagaStarted(saga="old", saga_id="1", steps=["a"], input={})])
    return "saga-old-1"


def test_what_a_person_did_is_marked(lab: Lab) -> None:
    def breaks(_: Any) -> None:
        raise RuntimeError(EVIL)

    hotel = Step("hotel", nothing, breaks, compensation_retry=NO_RETRY)
    assert trip(lab, hotel, Step("train", breaks)).summary.alarming
    lab.resume_saga("trip", "1", resolved=True, reason="by phone")
    view = lab.saga("trip-1")
    assert not view.summary.alarming
    assert notes(view) == [
        ("wrong", "hotel", "stuck"),
        ("resumed", "hotel", "resumed, as done by a person: by phone"),
    ]
    assert "<script" not in view.figure().to_json().replace("&lt;script", "")


def test_steps_side_by_side_overlap(lab: Lab) -> None:
    pair = Parallel(Step("hotel", nothing, cost=30 * MS), Step("train", nothing, cost=20 * MS))
    hotel, train, pay = drawn(trip(lab, pair, Step("pay", nothing))).bars
    assert (hotel.start, hotel.end) == (0, 30)
    assert (train.start, train.end) == (0, 20)
    assert pay.start == 30


# Folds.


def test_a_long_gap_is_folded_with_its_true_length(lab: Lab) -> None:
    view = trip(
        lab,
        Step("hotel", nothing, nothing, cost=40 * MS),
        Step("train", nothing, nothing, cost=60 * MS, timeout=timedelta(seconds=30)),
        faults=[Fault("times_out", "train")],
    )
    marks = drawn(view)
    assert [fold.text for fold in marks.folds] == ["30.0 s"]
    hotel, train, *_ = marks.bars
    assert (hotel.start, hotel.end) == (0, 40)
    # It is interrupted where the axis is.
    assert len(train.pieces) == 2
    assert train.pieces[0][0] == train.start
    assert train.pieces[1][1] == train.end < 100
    labels = {text: x for x, text in marks.ticks}
    assert labels["30,040"] == train.end
    svg = view.svg()
    assert "30.0 s" in texts(svg)
    assert "//" in texts(svg)
    figure = view.figure()
    assert "30.0 s" in {note.text for note in figure.layout.annotations}
    assert "30,040" in figure.layout.xaxis.ticktext


def test_what_is_short_enough_is_not_folded(lab: Lab) -> None:
    view = trip(lab, Step("hotel", nothing, cost=10 * MS), Step("train", nothing, cost=200 * MS))
    assert not drawn(view).folds
    assert all(len(bar.pieces) == 1 for bar in drawn(view).bars)
    assert view.figure().layout.xaxis.ticktext is None


@given(
    moments=st.lists(st.integers(0, 10**9), min_size=2, max_size=12, unique=True),
    data=st.data(),
)
def test_a_folded_axis_keeps_the_order_and_what_is_short(moments: list[int], data: Any) -> None:
    seconds = sorted(moment / 1000 for moment in moments)
    lengths = [end - start for start, end in pairwise(seconds)]
    count = data.draw(st.integers(1, len(lengths)))
    axis = folded_axis([one - seconds[0] for one in seconds], lengths[:count])
    places = [axis.x(one - seconds[0]) for one in seconds]
    assert places == sorted(places)
    gaps = [(end - seconds[0], end - start) for start, end in pairwise(seconds)]
    folded = {end for _, end in axis.folded}
    for (place, following), (end, gap) in zip(pairwise(places), gaps, strict=True):
        drawn_as = (following - place) * axis.length
        assert drawn_as == pytest.approx(axis.width * axis.length if end in folded else gap, abs=1)
    assert any(end not in folded for end, _ in gaps)
    assert len(axis.folds()) == len(axis.folded)
    ticks = axis.ticks(seconds[-1] - seconds[0])
    assert [x for x, _ in ticks] == sorted(x for x, _ in ticks)


# Explorations.


def exploring(*steps: Step) -> Callable[..., Lab]:
    saga = Saga("trip", steps)

    def make_lab(**options: Any) -> Lab:
        lab = Lab(**options)
        lab.register(saga)
        return lab

    return make_lab


STEPS = (Step("hotel", nothing, nothing), Step(EVIL, nothing))


def explored(lab: Lab, *steps: Step, **options: Any) -> ExplorationView:
    return lab.explore(Saga("trip", steps), exploring(*steps), progress=False, **options)


def test_an_exploration_is_a_picture(lab: Lab) -> None:
    view = explored(lab, *STEPS, faults=["fails", "reply_lost", "duplicate_reply"])
    assert view.digest == (
        "ExplorationView(trip: 12 runs, 4 COMPENSATED, 2 COMPENSATING, 3 COMPLETED, 2 RUNNING, "
        "1 STUCK, 3 violations)"
    )
    cells = ET.fromstring(view.svg()).iter("{http://www.w3.org/2000/svg}text")
    letters = [cell.text for cell in cells if cell.text in tuple("CUS!·…")]
    of_matrix = {"COMPLETED": "C", "COMPENSATED": "U", "STUCK": "S", "VIOLATION": "!", "": "·"}
    wanted = [of_matrix[cell] for row in view.matrix.to_numpy() for cell in row]
    assert letters[-len(wanted) :] == wanted
    assert {"C", "U", "S", "!"} <= set(wanted)
    figure = view.figure()
    assert [note.text for note in figure.layout.annotations] == wanted
    names = [trace.name for trace in figure.data]
    assert names == ["C completed", "U undone", "S stuck, as it may be", "! violation"]
    assert sum(len(trace.y) for trace in figure.data) == sum(one != "·" for one in wanted)
    assert set(view._repr_mimebundle_()) == {"text/plain", "text/html"}
    assert "<script" not in view.html()


def test_a_violation_is_alarming_and_listed(lab: Lab) -> None:
    def broken(_: Lab) -> str:
        return "the money is gone"

    view = explored(lab, *STEPS, faults=["fails"], invariants=[broken])
    assert set(view.matrix.to_numpy().ravel()) == {"VIOLATION"}
    assert "the money is gone" in view.html()
    assert "make_lab(seed=7)" in view.html()
    assert view.violations == view.exploration.violations
    with pytest.raises(AssertionError, match="the money is gone"):
        view.require()
    fine = explored(lab, *STEPS, faults=["fails"])
    fine.require()
    assert fine.html().count("<pre>") == 0


def test_an_exploration_of_nothing_is_a_picture_too() -> None:
    found = explore(Saga("trip", STEPS), exploring(*STEPS), faults=[], progress=False)
    view = ExplorationView(found)
    assert view.digest == "ExplorationView(trip: 1 run, 1 COMPLETED, no violation)"
    assert view.matrix.empty
    ET.fromstring(view.svg())
    assert not view.figure().data


# All of them.


def test_the_same_story_has_the_same_bytes() -> None:
    def shown() -> list[str]:
        with Lab(seed=7) as lab:
            view = process(lab, Fault("fails", type=Book, attempt=1), full="train")
            found = explored(lab, *STEPS, faults=["fails"])
            return [
                text
                for one in (view, found)
                for text in (one.svg(), one.html(), one.figure().to_json(), one.digest)
            ]

    assert shown() == shown()


def test_a_stream_without_events_of_sagas_is_none(lab: Lab) -> None:
    lab.append("saga-strange-1", [Asked(trip_id="1")])
    with pytest.raises(InputError, match="not that of a saga"):
        SagaTimeline(lab.store, "saga-strange-1")
