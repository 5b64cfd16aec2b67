"""What the views say and draw: their data, their digests, and the same bytes every time."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest

import eslab
from eslab import Aggregate, Event, Lab, Projection, Retry, Row, Rows, Saga, Step, applies, on
from eslab.errors import InputError, StreamNotFoundError
from eslab.projections.lag import ProjectionLag
from eslab.sagas import (
    CompensationCompleted,
    CompensationStarted,
    SagaCompensated,
    SagaStarted,
    StepCompleted,
    StepFailed,
    StepStarted,
    StepTimedOut,
)
from eslab.simulation.scenarios.orders import (
    AGGREGATES,
    PlaceOrder,
    ReceiveStock,
    order_fulfilment,
)
from eslab.views import (
    EventsView,
    LagView,
    SagaTimeline,
    StreamPlayer,
    View,
    lag_figure,
    render_mode,
)
from eslab.views.lag_picture import lag_picture
from eslab.views.lag_series import DASHED, DENSE, lag_lines, outline
from eslab.views.saga_layout import Shown, drawing
from eslab.views.scales import linear_ticks, nice_step, thinned, time_ticks
from eslab.views.svg import Svg
from eslab.views.theme import NEUTRAL, SERIES, TEMPLATE, series_style

EVIL = """</text><script>alert("it's");</script>&amp;"""
START = datetime(2026, 1, 1, tzinfo=UTC)


class Placed(Event):
    order_id: str
    amount: int = 1


class Noted(Event):
    text: str


class OrderRow(Row, key=("order_id",)):
    order_id: str
    amount: int = 0


class Quick(Projection):
    row = OrderRow

    @on
    def placed(self, event: Placed, rows: Rows[OrderRow]) -> None:
        rows.ensure(order_id=event.order_id).amount = event.amount


class Slow(Projection):
    row = OrderRow
    batch = 10
    cost = eslab.Cost(batch=timedelta(milliseconds=100), event=timedelta(milliseconds=20))

    @on
    def placed(self, event: Placed, rows: Rows[OrderRow]) -> None:
        rows.ensure(order_id=event.order_id).amount = event.amount


class Order(Aggregate):
    amount: int = 0
    lines: dict[str, int] = {}  # noqa: RUF012 - copied for each instance

    @applies
    def placed(self, event: Placed) -> None:
        if event.amount < 0:
            raise ValueError("a negative amount")
        self.amount += event.amount
        self.lines[event.order_id] = event.amount


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=7) as running:
        yield running


def place(lab: Lab, count: int) -> None:
    first = lab.store.head()
    for number in range(first, first + count):
        lab.append(f"order-{number}", [Placed(order_id=str(number))])


def fails(times: int, error: Exception | None = None) -> Callable[[Any], None]:
    """Return a step that fails so often before it succeeds."""
    left = iter(range(times))

    def step(_: Any) -> None:
        if next(left, None) is not None:
            raise error or RuntimeError("try again")

    return step


def nothing(_: Any) -> None:
    """Do a step that always succeeds."""


def trip(lab: Lab, *steps: Step) -> SagaTimeline:
    lab.start_saga(Saga("trip", steps), "1")
    lab.run()
    return lab.saga("trip-1")


def planted(lab: Lab, events: Sequence[Event], steps: Sequence[str] = ("a", "b")) -> SagaTimeline:
    """Write the stream of a saga by hand, 10 ms from event to event."""
    started = SagaStarted(saga="trip", saga_id="1", steps=list(steps), input={})
    for event in [started, *events]:
        lab.append("saga-trip-1", [event])
        lab.advance(timedelta(milliseconds=10))
    return SagaTimeline(lab.store, "saga-trip-1")


def texts(svg: str) -> str:
    return " ".join(ET.fromstring(svg).itertext())


def static_picture(view: View) -> str:
    data = re.search(r"base64,([^\"]+)", view.html())
    assert data is not None
    return base64.b64decode(data[1]).decode()


# Events.


def test_events_are_the_newest_in_the_order_of_position(lab: Lab) -> None:
    place(lab, 5)
    lab.append("note-1", [Noted(text="a")])
    view = lab.events(limit=3)
    assert view.digest == "EventsView(6 events, 2 types, 6 streams; the newest 3)"
    assert repr(view) == view.digest
    assert list(view.df["position"]) == [4, 5, 6]
    assert list(view.df.columns) == [
        "position",
        "stream_id",
        "version",
        "type",
        "occurred_at",
        "recorded_at",
        "data",
        "metadata",
    ]
    assert json.loads(view.df["data"].iloc[-1]) == {"text": "a"}


@pytest.mark.parametrize(
    ("options", "positions"),
    [
        ({"stream": "order-1"}, [2]),
        ({"category": "note"}, [4]),
        ({"types": [Noted, "Unheard"]}, [4]),
        ({"types": []}, []),
        ({"category": "order", "types": [Noted]}, []),
        ({"stream": "it's $limit"}, []),
    ],
)
def test_events_are_chosen(lab: Lab, options: dict[str, Any], positions: list[int]) -> None:
    place(lab, 3)
    lab.append("note-1", [Noted(text="a")])
    view = lab.events(**options)
    assert list(view.df["position"]) == positions
    assert view.count == len(positions)
    assert lab.sql(view.sql).df().equals(view.df)


@pytest.mark.parametrize("limit", [0, -1, True, "10", 1.5])
def test_events_refuse_a_limit_that_is_none(lab: Lab, limit: Any) -> None:
    with pytest.raises(InputError, match="limit"):
        EventsView(lab.store, limit=limit)


def test_events_of_an_empty_log(lab: Lab) -> None:
    view = lab.events()
    assert view.digest == "EventsView(0 events, 0 types, 0 streams)"
    assert view.html() == "<p>No event matches.</p>"
    assert view.figure().layout.title.text == "No event matches"


def test_event_text_is_shown_as_text(lab: Lab) -> None:
    lab.append("note-1", [Noted(text=EVIL)])
    shown = lab.events().html()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert 'alert("' not in shown


def test_the_events_table_stays_short(lab: Lab) -> None:
    place(lab, 30)
    shown = lab.events().html()
    assert shown.count("<tr>") == 11
    assert "The newest 10 of 30 events" in shown


def test_the_histogram_counts_every_event_once(lab: Lab) -> None:
    for number in range(40):
        lab.append("note-1", [Noted(text=str(number))])
        lab.append("order-1", [Placed(order_id="1")] * (number % 3))
        lab.advance("7 s")
    view = lab.events()
    figure = view.figure()
    counts = {bar.name.split()[0]: sum(bar.y) for bar in figure.data}
    assert counts == view.df["type"].value_counts().to_dict()
    assert all(isinstance(value, int) for bar in figure.data for value in bar.y)
    assert len(figure.data[0].x) <= 61


def test_many_types_are_drawn_as_others(lab: Lab) -> None:
    for number in range(12):
        lab.store.append("a-1", [eslab.NewEvent(f"T{number:02}", {})])
    figure = lab.events().figure()
    assert [bar.name for bar in figure.data][-1] == "5 other types (5)"
    assert sum(sum(bar.y) for bar in figure.data) == 12


# Lag.


def lagging(lab: Lab) -> LagView:
    lab.project(Quick(), Slow())
    for burst in (5, 30, 0, 40):
        place(lab, burst)
        lab.advance("1 s")
    return lab.lag()


def test_lag_now_and_in_hindsight(lab: Lab) -> None:
    view = lagging(lab)
    assert [now.projection for now in view.now] == ["quick", "slow"]
    assert view.now[1].lag_events > 0
    assert re.fullmatch(
        r"ProjectionLag\(quick: caught up at 75; slow: \d+ events, 1\.0 s\)", view.digest
    )
    assert list(view.df.columns) == [
        "projection",
        "time",
        "head",
        "checkpoint",
        "lag_events",
        "lag_seconds",
    ]
    ran = lab.sql(view.sql).df()
    order = ["projection", "time"]
    assert ran.sort_values(order).to_dict("list") == view.df.sort_values(order).to_dict("list")


def test_lag_of_one_projection_by_name(lab: Lab) -> None:
    lagging(lab)
    view = lab.lag("slow")
    assert set(view.df["projection"]) == {"slow"}
    assert lab.sql(view.sql).df().equals(view.df)


def test_lag_in_words(lab: Lab) -> None:
    assert lab.lag().digest == "ProjectionLag(no projections)"
    assert "There are no projections." in texts(lab.lag().svg())
    lab.project(Quick())
    assert lab.lag().digest == "ProjectionLag(quick: the log is empty)"
    assert "The log is empty." in texts(lab.lag().svg())
    assert not lab.lag().figure().data
    place(lab, 3)
    lab.pause("quick")
    lab.advance("3.4 s")
    assert lab.lag().digest == "ProjectionLag(quick: never ran, 3 events, 3.4 s, paused)"
    assert "quick: never ran, 3 events, 3.4 s, paused; at most 3.4 s" in texts(lab.lag().svg())
    lab.resume("quick")
    lab.run()
    assert lab.lag().digest == "ProjectionLag(quick: caught up at 3)"


def test_what_is_wrong_is_said_with_a_sign_and_in_words(lab: Lab) -> None:
    lab.project(Quick())
    place(lab, 3)
    lab.clock.advance(timedelta(minutes=2))  # type: ignore[attr-defined]
    view = lab.lag()
    said = "STOPPED: no commit and no heartbeat for 60 s"
    assert view.now[0].verdict.name == "STOPPED"
    assert view.digest == f"ProjectionLag(quick: never ran, 3 events, 2 min 0 s, {said})"
    drawn = f"quick: never ran, 3 events, 2 min 0 s ▲ {said}"
    assert view.figure().layout.title.subtitle.text == drawn
    assert drawn in texts(view.svg())
    assert "STOPPED" not in lab.lag(window="5 min").digest


def test_lag_over_a_span_of_time(lab: Lab) -> None:
    whole = lagging(lab).df
    since, until = START + timedelta(seconds=1), START + timedelta(seconds=2)
    view = lab.lag("slow", since=since, until=until)
    inside = whole[
        (whole["projection"] == "slow") & (whole["time"] >= since) & (whole["time"] <= until)
    ]
    assert view.df["time"].iloc[[0, -1]].tolist() == [since, until]
    pd.testing.assert_frame_equal(
        view.df[view.df["time"].isin(inside["time"])].reset_index(drop=True),
        inside.reset_index(drop=True),
    )
    assert lab.sql(view.sql).df().equals(view.df)
    with pytest.raises(InputError, match="since must be aware"):
        lab.lag(since=datetime(2026, 1, 1))  # noqa: DTZ001 - the fault


def test_the_lag_figure_is_the_frame(lab: Lab) -> None:
    view = lagging(lab)
    figure = view.figure()
    names = [line.name for line in figure.data if line.showlegend is not False]
    assert names == ["head of the log", "quick", "slow"]
    slow = view.df[view.df["projection"] == "slow"]
    checkpoints, seconds, peak = [line for line in figure.data if line.name == "slow"]
    assert list(checkpoints.y) == slow["checkpoint"].tolist()
    assert checkpoints.y[-1] == view.now[1].checkpoint
    assert checkpoints.customdata[-1].endswith("1.0 s behind")
    assert list(seconds.customdata) == slow["lag_seconds"].tolist()
    assert list(peak.customdata) == [slow["lag_seconds"].max()]


def test_each_projection_has_its_own_colour_line_and_mark(lab: Lab) -> None:
    figure = lagging(lab).figure()
    lines = [line for line in figure.data if line.type == "scatter"]
    styles = {line.name: (line.line.color, line.line.dash) for line in lines}
    assert len(set(styles.values())) == len(styles) == 3
    assert len({line.marker.symbol for line in lines if line.marker.symbol}) == 2
    assert len({series_style(index) for index in range(20)}) == 20
    for one, other in combinations(map(series_style, range(4)), 2):
        assert one[0] != other[0]
        assert one[1] != other[1]


def test_the_ribbon_shows_which_verdict_held_when(lab: Lab) -> None:
    lab.project(Quick())
    place(lab, 3)
    lab.clock.advance(timedelta(minutes=2))  # type: ignore[attr-defined]
    view = lab.lag()
    assert [span.verdict for span in view.verdicts] == ["OK", "STOPPED"]
    ok, stopped = view.verdicts
    assert (ok.start, ok.end, stopped.end) == (START, stopped.start, lab.clock.now())
    # What was zero a minute ago was not late for a minute, nearly to the moment.
    assert abs(ok.end - START - timedelta(minutes=1)) < timedelta(seconds=1)
    bars = {bar.name: bar for bar in view.figure().data if bar.type == "bar"}
    assert {name: list(bar.text) for name, bar in bars.items()} == {"OK": ["O"], "STOPPED": ["X"]}
    milliseconds = (stopped.end - stopped.start) / timedelta(milliseconds=1)
    assert list(bars["STOPPED"].x) == [milliseconds]
    assert list(bars["STOPPED"].customdata) == ["no commit and no heartbeat for 60 s"]
    drawn = texts(view.svg())
    assert "verdict: O OK, X STOPPED" in drawn
    assert re.findall(r">([A-Z])</text>", view.svg()) == ["O", "X"]


def test_many_words_are_lines_of_a_subtitle() -> None:
    lags = [ProjectionLag(f"p{number}", START, 0, 9, 9, 1.0) for number in range(40)]
    history = pd.concat(
        [sawtooth(3, head=9).assign(projection=lag.projection) for lag in lags], ignore_index=True
    )
    figure = lag_figure(history, lags)
    lines = figure.layout.title.subtitle.text.split("<br>")
    assert len(lines) == 5
    assert lines[-1] == "…"
    assert all(len(line) < 160 for line in lines)


def sawtooth(count: int, *, head: int) -> pd.DataFrame:
    """Return a history of so many rows, a second apart, with lag up to 96 s and once 500 s."""
    seconds = [float(number % 97) for number in range(count)]
    seconds[count // 3] = 500.0
    return pd.DataFrame(
        {
            "projection": "slow",
            "time": pd.date_range(START, periods=count, freq="s"),
            "head": head,
            "checkpoint": [head - number % 97 for number in range(count)],
            "lag_events": [number % 97 for number in range(count)],
            "lag_seconds": seconds,
        }
    )


def test_a_gap_too_narrow_to_be_seen_is_shown_itself() -> None:
    wide, narrow = (lag_figure(sawtooth(50, head=head)) for head in (1_000, 1_000_000))
    assert wide.data[0].name == "head of the log"
    assert wide.layout.yaxis.title.text == "position in the log"
    assert [line.name for line in narrow.data] == ["slow"] * 3
    assert narrow.layout.yaxis.title.text == "lag in events"
    assert list(narrow.data[0].y) == [number % 97 for number in range(50)]


def test_a_line_with_many_teeth_is_solid() -> None:
    names = ["quick", "slow"]
    few, many = (sawtooth(count, head=1_000) for count in (DASHED, DASHED + 1))
    histories = [
        pd.concat([history.assign(projection="quick"), history]) for history in (few, many)
    ]
    few_lines, many_lines = (lag_lines(history, names, limit=2_000) for history in histories)
    assert [line.dash for line in few_lines.projections] == ["solid", "dash"]
    assert [line.dash for line in many_lines.projections] == ["solid", "solid"]


def test_an_outline_is_the_highest_of_each_piece_and_keeps_what_lies_between() -> None:
    moments = [START + timedelta(seconds=second) for second in (0, 1.5, 1.5, 150, 200)]
    steps = outline(moments, [0.0, 9.0, 0.0, 148.5, 198.5], moments[0], moments[-1])
    assert [value for _, value in steps[:6]] == [6.0, 6.0, 9.0, 9.0, 1.5, 1.5]
    assert steps[2][0] == steps[1][0] == START + timedelta(seconds=1)
    # Lag grows by a second a second, also where there is no point.
    assert steps[201] == (START + timedelta(seconds=101), 99.5)
    assert steps[-1] == (moments[-1], 198.5)
    assert len(steps) == 400


def test_a_long_series_keeps_its_peaks() -> None:
    values = [0.0] * 9_000
    values[4_321] = 7.0
    kept = thinned(values, limit=2_000)
    assert len(kept) <= 2_000
    assert 4_321 in kept
    assert kept[-1] == 8_999


@pytest.mark.parametrize("head", [10, 1_000_000])
@pytest.mark.parametrize("count", [DENSE, DENSE + 1, 4_000])
def test_a_long_history_is_drawn_with_few_points_and_all_its_peaks(count: int, head: int) -> None:
    history = sawtooth(count, head=head)
    now = ProjectionLag("slow", START, 0, head, 0, 0.0)
    figure = lag_figure(history, [now])
    assert all(len(line.x) <= 2_000 for line in figure.data)
    _, seconds, peak = figure.data[-3:]
    assert max(seconds.customdata) == max(peak.customdata) == 500
    outlined = count > DENSE
    assert figure.layout.yaxis2.title.text.startswith("highest" if outlined else "lag")
    picture = lag_picture(history, [now], words=["far"], desc="")
    assert "slow: far; at most 8 min 20 s" in texts(picture)
    assert len(picture) < 60_000


# Sagas.


def fulfilled(lab: Lab, destination: str) -> SagaTimeline:
    lab.register(*AGGREGATES, order_fulfilment)
    lab.execute(ReceiveStock(article="anvil", quantity=10))
    order = {"article": "anvil", "quantity": 2, "customer": "Ann", "amount": 30}
    lab.execute(PlaceOrder(order_id="o-1", **order, destination=destination))
    lab.run()
    return lab.saga("fulfilment-o-1")


def test_a_saga_that_is_undone(lab: Lab) -> None:
    view = fulfilled(lab, "Atlantis")
    assert view.digest == (
        "SagaTimeline(fulfilment-o-1 COMPENSATED 5 steps, 3 undone in reverse order, "
        "1 failed: book_courier)"
    )
    columns = ["step", "kind", "attempt", "outcome", "order", "version"]
    assert list(view.df[columns].itertuples(index=False, name=None)) == [
        ("place_order", "execute", 1, "completed", 1, 2),
        ("reserve_stock", "execute", 1, "completed", 2, 6),
        ("charge_payment", "execute", 1, "completed", 3, 10),
        ("book_courier", "execute", 1, "failed", 4, 14),
        ("charge_payment", "compensate", 1, "completed", 5, 18),
        ("reserve_stock", "compensate", 1, "completed", 6, 22),
        ("place_order", "compensate", 1, "completed", 7, 26),
    ]
    assert view.df["error"].tolist()[3] == "DomainError: no courier delivers to Atlantis"
    assert view.df["error"].isna().sum() == 6
    took = (view.df["ended_at"] - view.df["started_at"]).dt.total_seconds()
    assert took.tolist() == [0.01, 0.04, 0.12, 0.06, 0.12, 0.04, 0.01]
    assert lab.sql(view.sql).df().equals(view.df)


def test_a_saga_that_is_completed(lab: Lab) -> None:
    view = fulfilled(lab, "Boston")
    assert view.digest == "SagaTimeline(fulfilment-o-1 COMPLETED 5 steps)"
    assert set(view.df["kind"]) == {"execute"}


def test_a_saga_that_tried_again(lab: Lab) -> None:
    view = trip(lab, Step("hotel", fails(2), nothing, retry=Retry(limit=2)), Step("train", nothing))
    assert view.digest == "SagaTimeline(trip-1 COMPLETED 2 steps, 2 retries)"
    hotel = view.df[view.df["step"] == "hotel"]
    assert hotel["attempt"].tolist() == [1, 2, 3]
    assert hotel["outcome"].tolist() == ["failed", "failed", "completed"]
    assert hotel["order"].tolist() == [1, 1, 1]
    assert "1 executed, 3 attempts" in texts(view.svg())


def test_a_saga_that_failed_at_once(lab: Lab) -> None:
    view = trip(lab, Step("hotel", fails(1), nothing), Step("train", nothing))
    assert view.digest == (
        "SagaTimeline(trip-1 COMPENSATED 2 steps, nothing to undo, 1 failed: hotel)"
    )


def test_a_saga_that_is_stuck(lab: Lab) -> None:
    view = trip(
        lab,
        Step("hotel", nothing, fails(9), compensation_retry=Retry(limit=1)),
        Step("train", nothing, nothing),
        Step("museum", fails(1, eslab.DomainError(EVIL))),
    )
    assert view.digest == (
        "SagaTimeline(trip-1 STUCK 3 steps, 1 undone in reverse order, 1 failed: museum, "
        "hotel cannot be undone, 1 retry)"
    )
    assert "5 undoing failed, 2 attempts: RuntimeError: try again" in texts(view.svg())
    assert view.figure().layout.title.text == "trip 1: STUCK"


def test_a_saga_that_is_running(lab: Lab) -> None:
    view = planted(
        lab,
        [
            StepStarted(step="a", attempt=1),
            StepCompleted(step="a", attempt=1),
            StepStarted(step="b", attempt=1),
            StepFailed(step="b", attempt=1, error="RuntimeError: no", final=False),
            StepStarted(step="b", attempt=2),
        ],
    )
    assert view.digest == (
        "SagaTimeline(trip-1 RUNNING 1 of 2 steps completed, b is running (attempt 2), 1 retry)"
    )
    assert view.df["outcome"].tolist() == ["completed", "failed", "running"]
    assert view.df["ended_at"].isna().tolist() == [False, False, True]
    assert "2 running, 2 attempts" in texts(view.svg())


def test_a_saga_that_has_not_begun(lab: Lab) -> None:
    view = planted(lab, [])
    assert view.digest == "SagaTimeline(trip-1 RUNNING 0 of 2 steps completed, a is next)"
    assert "no step has begun" in texts(view.svg())
    assert view.figure().layout.xaxis.title.text == "no step has begun"


UNDOING = [
    StepStarted(step="a", attempt=1),
    StepCompleted(step="a", attempt=1),
    StepStarted(step="b", attempt=1),
    StepCompleted(step="b", attempt=1),
    StepStarted(step="c", attempt=1),
    StepFailed(step="c", attempt=1, error="RuntimeError: no", final=True),
]


def test_a_saga_that_is_being_undone(lab: Lab) -> None:
    view = planted(lab, [*UNDOING, CompensationStarted(step="b", attempt=1)], "abc")
    assert (
        view.digest == "SagaTimeline(trip-1 COMPENSATING 3 steps, 1 failed: c, b is being undone)"
    )
    arcs = drawing(Shown(view.df, None, "abc")).arcs
    assert [(arc.row, arc.completed) for arc in arcs] == [(1, False)]


@pytest.mark.parametrize("lint", ["NOT in reverse order", "undone TWICE: a"])
def test_a_saga_that_was_undone_wrongly(lab: Lab, lint: str) -> None:
    undone = ["a", "b"] if lint.startswith("NOT") else ["b", "a", "a"]
    events = [*UNDOING]
    for number, step in enumerate(undone):
        events.append(CompensationStarted(step=step, attempt=1 + number))
        events.append(CompensationCompleted(step=step, attempt=1 + number))
    view = planted(lab, [*events, SagaCompensated(failed_step="c")], "abc")
    assert lint in view.digest
    assert lint in texts(view.svg())
    assert lint in view.figure().layout.title.subtitle.text


def test_a_saga_that_was_not_answered_in_time(lab: Lab) -> None:
    """The answer to the first attempt comes while the second one is made."""
    view = planted(
        lab,
        [
            StepStarted(step="a", attempt=1),
            StepTimedOut(step="a", attempt=1, final=False),
            StepStarted(step="a", attempt=2),
            StepCompleted(step="a", attempt=1),
            StepStarted(step="b", attempt=1),
            StepTimedOut(step="b", attempt=1, final=True),
            CompensationStarted(step="b", attempt=1),
            CompensationCompleted(step="b", attempt=1),
            CompensationStarted(step="a", attempt=1),
            CompensationCompleted(step="a", attempt=1),
            SagaCompensated(failed_step="b"),
        ],
    )
    assert view.digest == (
        "SagaTimeline(trip-1 COMPENSATED 2 steps, 2 undone in reverse order, not answered: b, "
        "answered late: a, 1 retry)"
    )
    assert view.df["outcome"].tolist() == [
        "completed",
        "superseded",
        "timed out",
        "completed",
        "completed",
    ]
    assert not view.summary.alarming
    assert all(word in texts(view.svg()) for word in ("2 not answered in time", "superseded"))


def test_a_saga_in_no_time(lab: Lab) -> None:
    lab.append("saga-trip-1", [SagaStarted(saga="trip", saga_id="1", steps=["a"], input={})])
    lab.append("saga-trip-1", UNDOING)
    view = SagaTimeline(lab.store, "saga-trip-1")
    drawn = drawing(Shown(view.df, None, "a"))
    assert drawn.rows == ("a", "b", "c")
    assert [(bar.start, bar.end) for bar in drawn.bars] == [(0, 1), (1, 2), (2, 3)]
    assert "no time passed" in drawn.axis


def test_the_saga_figure_is_the_frame(lab: Lab) -> None:
    view = fulfilled(lab, "Atlantis")
    figure = view.figure()
    bars = {
        (bar.y[index], bar.base[index], bar.base[index] + bar.x[index])
        for bar in figure.data
        if isinstance(bar, go.Bar)
        for index in range(len(bar.y))
    }
    assert bars == {
        (0, 0, 10),
        (1, 10, 50),
        (2, 50, 170),
        (3, 170, 230),
        (2, 230, 350),
        (1, 350, 390),
        (0, 390, 400),
    }
    undone = next(bar for bar in figure.data if bar.name == "undone")
    assert undone.marker.pattern.shape == "/"
    labels = {note.text for note in figure.layout.annotations}
    assert labels == {
        "1",
        "2",
        "3",
        "4 failed: DomainError: no courier delivers to Atlantis",
        "5 undone",
        "6 undone",
        "7 undone",
    }


def test_an_arc_leads_back_to_what_is_undone(lab: Lab) -> None:
    arcs = drawing(Shown(fulfilled(lab, "Atlantis").df, None, ["reserve_stock"])).arcs
    assert {(arc.start, arc.end, arc.completed) for arc in arcs} == {
        (290.0, 110.0, True),
        (370.0, 30.0, True),
        (395.0, 5.0, True),
    }
    points = arcs[0].points(top=0.25, height=0.2)
    assert points[0][0] == arcs[0].start
    assert points[-1][0] == arcs[0].end
    assert min(y for _, y in points) == arcs[0].row - 0.45


def test_a_stream_that_is_no_saga(lab: Lab) -> None:
    place(lab, 1)
    with pytest.raises(InputError, match="not that of a saga"):
        SagaTimeline(lab.store, "order-0")
    with pytest.raises(StreamNotFoundError):
        SagaTimeline(lab.store, "saga-none-1")


def test_where_each_saga_stands(lab: Lab) -> None:
    assert (lab.sagas.digest, lab.timers.digest) == ("SagasView(0 sagas)", "TimersView(0 timers)")
    assert "There is no saga" in lab.sagas.html()
    second = timedelta(seconds=1)
    waits = Retry(limit=1, first=60 * second, longest=60 * second, jitter=0)
    once = eslab.sagas.NO_RETRY
    steps = {
        "done": [Step("a", nothing)],
        "undone": [Step("a", nothing, nothing), Step("b", fails(1))],
        "stuck": [Step("a", nothing, fails(9), compensation_retry=once), Step(EVIL, fails(1))],
        "waits": [Step("a", nothing), Step("b", fails(9), retry=waits)],
        "undoes": [
            Step("a", nothing, fails(9), compensation_retry=waits, timeout=second),
            Step("b", fails(1)),
        ],
    }
    for name, listed in steps.items():
        lab.start_saga(Saga(name, listed), "1")
    lab.advance("10 s")
    view = lab.sagas
    assert view.digest == (
        "SagasView(5 sagas: 1 RUNNING, 1 COMPENSATING, 1 COMPLETED, 1 COMPENSATED, 1 STUCK)"
    )
    rows = {row.saga: row for row in view.df.itertuples()}
    assert list(rows) == sorted(steps)
    assert (rows["done"].status, rows["done"].completed, rows["done"].steps) == ("COMPLETED", 1, 1)
    assert (rows["undone"].status, rows["undone"].compensated) == ("COMPENSATED", 1)
    assert rows["undone"].failed_step == "b"
    assert rows["stuck"].error == "RuntimeError: try again"
    assert rows["waits"].next_timer - rows["waits"].last_at == timedelta(seconds=60)
    assert view.html().index("STUCK") < view.html().index("COMPLETED")  # who needs somebody
    assert lab.sql(view.sql).df().equals(view.df)
    assert {bar.name for bar in view.figure().data} == set(view.counts)
    timers = lab.timers
    assert timers.digest == "TimersView(2 timers, the next one in 50.0 s)"
    assert timers.df["timer"].tolist() == ["execute b 2 retry", "compensate a 2 retry"]
    assert list(timers.figure().data[0].y) == [
        "waits 1: execute b 2 retry",
        "undoes 1: compensate a 2 retry",
    ]
    lab.resume_saga("stuck", "1", resolved=True, reason="done by hand")
    assert lab.sagas.counts["COMPENSATED"] == 2
    lab.run()
    assert lab.sagas.counts == {"COMPLETED": 1, "COMPENSATED": 3, "STUCK": 1}
    assert lab.timers.df.empty


# The player.


@pytest.fixture
def player(lab: Lab) -> StreamPlayer:
    lab.register(Order)
    lab.append("order-1", [Placed(order_id="a", amount=3), Placed(order_id="b", amount=4)])
    return lab.replay("order-1")


def test_the_player_stands_at_a_version(player: StreamPlayer) -> None:
    assert player.version == 1
    first, last = (frame.digest for frame in player.replay)
    assert player.digest == f"StreamPlayer(order-1 v1/2 Placed state=sha256:{first}...)"
    player.seek(2)
    assert player.digest == f"StreamPlayer(order-1 v2/2 Placed state=sha256:{last}...)"
    player.version = 1
    assert player.frame is player.replay[1]


@pytest.mark.parametrize("version", [0, 3, -1, True, 1.0, "1"])
def test_the_player_refuses_other_versions(player: StreamPlayer, version: Any) -> None:
    with pytest.raises(InputError, match="version"):
        player.seek(version)
    assert player.version == 1


def test_the_player_tells_who_listens(player: StreamPlayer) -> None:
    heard: list[int] = []
    player.listen(lambda: heard.append(player.version))
    player.seek(2)
    player.seek(2)
    player.seek(1)
    assert heard == [2, 1]


def test_the_players_frame(player: StreamPlayer, lab: Lab) -> None:
    df = player.df
    assert df["version"].tolist() == [1, 2]
    assert df["changes"].tolist() == [
        "~ amount: 0 -> 3\n+ lines.a: 3",
        "~ amount: 3 -> 7\n+ lines.b: 4",
    ]
    assert df["state"].tolist() == [frame.digest for frame in player.replay]
    shared = ["version", "position", "type", "occurred_at", "data"]
    ran = lab.sql(player.sql).df()[shared]
    assert ran.to_dict("list") == df[shared].to_dict("list")


def test_the_players_table(player: StreamPlayer) -> None:
    shown = player.html()
    assert "~ amount: 3 -&gt; 7<br>+ lines.b: 4" in shown
    assert shown.count("<tr>") == 3


def test_an_event_that_cannot_be_applied(lab: Lab) -> None:
    lab.append("order-1", [Placed(order_id="a"), Placed(order_id="b", amount=-1)])
    player = lab.replay("order-1", aggregate=Order)
    player.seek(2)
    assert player.digest.endswith("NOT APPLIED)")
    assert "ERROR: " in player.html()
    assert "a negative amount" in player.html()
    assert player.figure().data[1].marker.symbol == ("circle", "x")


def test_a_stream_without_an_aggregate(lab: Lab) -> None:
    place(lab, 1)
    player = lab.replay("order-0")
    assert player.digest == "StreamPlayer(order-0 v1/1 Placed no state)"
    assert "No state" in player.html()


def test_a_stream_without_events(lab: Lab) -> None:
    from eslab.replay import Replay

    player = StreamPlayer(Replay("order-9", (), {}, "order-9"))
    assert player.digest == "StreamPlayer(order-9 no events)"
    assert player.version == 0
    assert "no events" in player.html()
    player.figure()
    with pytest.raises(InputError):
        player.seek(1)


def test_a_long_stream(lab: Lab) -> None:
    lab.append("order-1", [Placed(order_id="a")] * 2_500)
    player = lab.replay("order-1", aggregate=Order)
    shown = player.html()
    assert shown.count("<tr>") == 22
    assert "2,480 more" in shown
    assert len(player.df) == 2_500
    assert all(len(line.x) <= 2_000 for line in player.figure().data)


def test_the_player_figure_is_the_frame(lab: Lab) -> None:
    lab.append("order-1", [Placed(order_id="a")])
    lab.append("order-1", [Noted(text="b")], occurred_at=START - timedelta(days=1))
    figure = lab.replay("order-1").figure()
    marks = figure.data[1]
    assert list(zip(marks.x, marks.y, marks.text, strict=True)) == [
        ("2026-01-01T00:00:00", 0, "v1"),
        ("2025-12-31T00:00:00", 1, "v2"),
    ]
    assert figure.layout.yaxis.ticktext == ("Placed", "Noted")


# All of them.


def all_views(lab: Lab) -> dict[str, View]:
    """Return one of each, with text that is meant to break them."""
    lab.register(Order)
    lagging(lab)
    lab.append("order-x", [Placed(order_id=EVIL, amount=2), Placed(order_id="b", amount=-1)])
    lab.store.append(f"note-{EVIL}", [eslab.NewEvent(EVIL, {EVIL: EVIL})])
    saga = trip(
        lab,
        Step(EVIL, fails(1), nothing, retry=Retry(limit=1)),
        Step("train", fails(1, eslab.DomainError(EVIL + "\x00\x1f\ud7ff"))),
    )
    return {
        "events": lab.events(),
        "lag": lab.lag(),
        "latency": lab.latency(),
        "visibility": lab.visibility("slow"),
        "what_if": lab.what_if("slow", rate=20, events=40),
        "saga": saga,
        "player": lab.replay("order-x"),
    }


def test_no_text_becomes_markup(lab: Lab) -> None:
    for view in all_views(lab).values():
        assert "<script" not in view.html()
        assert not re.search(r"on\w+=", re.sub(r'"[^"]*"', "", view.html()))
        # Plotly reads some tags in texts; the only ones here are the line breaks of its own.
        for text in re.findall(r"<[^<>]*>", view.figure().to_json()):
            assert text in {"<br>", "<extra>", "<extra></extra>", "</extra>"}, text


def test_pictures_are_wellformed_and_described(lab: Lab) -> None:
    views = all_views(lab)
    for name in ("lag", "saga", "what_if", "player"):
        root = ET.fromstring(static_picture(views[name]))
        space = "{http://www.w3.org/2000/svg}"
        assert root.findtext(f"{space}title")
        assert root.findtext(f"{space}desc")
        assert root.get("role") == "img"
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        assert len(ids) == len(set(ids))
        assert not root.findall(f".//{space}script")
        assert f'alt="{html.escape(views[name].digest)}"' in views[name].html()


def test_what_is_shown_holds_no_array_of_bytes(lab: Lab) -> None:
    for view in all_views(lab).values():
        assert "bdata" not in view.figure().to_json()
        assert view.figure().layout.template.layout.paper_bgcolor == "rgba(0,0,0,0)"


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
import test_views
with test_views.Lab(seed=7) as lab:
    for name, view in test_views.all_views(lab).items():
        print(name, view.digest, view.html(), view.figure().to_json(), view.sql)
"""


def test_two_processes_show_the_same_bytes() -> None:
    def shown(seed: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(folder=os.path.dirname(__file__))],  # noqa: PTH120
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    first = shown("1")
    assert len(first) > 20_000
    assert shown("2") == first


def test_the_mime_bundle_is_static_here(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ESLAB_RENDER", raising=False)
    for view in all_views(lab).values():
        bundle = view._repr_mimebundle_()
        assert set(bundle) == {"text/plain", "text/html"}
        assert bundle["text/plain"] == view.digest
        assert view._repr_mimebundle_(include=["text/plain"]) == {"text/plain": view.digest}
        assert set(view._repr_mimebundle_(exclude=["text/plain"])) == {"text/html"}


def test_how_views_are_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ESLAB_RENDER", raising=False)
    assert render_mode() == "static"
    for mode in ("widget", "static"):
        monkeypatch.setenv("ESLAB_RENDER", mode)
        assert render_mode() == mode
    monkeypatch.setenv("ESLAB_RENDER", "Widget")
    with pytest.raises(InputError, match="'Widget'"):
        render_mode()


def test_in_a_kernel_views_are_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shell:
        kernel: object = object()

    class IPython:
        get_ipython = Shell

    monkeypatch.delenv("ESLAB_RENDER", raising=False)
    monkeypatch.setitem(sys.modules, "IPython", IPython)
    assert render_mode() == "widget"
    Shell.kernel = None
    assert render_mode() == "static"


# The parts they are drawn with.


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", [*SERIES, NEUTRAL])
@pytest.mark.parametrize("page", ["#FFFFFF", "#111111"])
def test_lines_and_text_stand_out(colour: str, page: str) -> None:
    """After WCAG 2.2: 3:1 for what is drawn, on a light and on a dark page."""
    light, dark = sorted([luminance(colour), luminance(page)], reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3


def test_the_template_is_the_only_one(lab: Lab) -> None:
    """Plotly's own template is 7 KB in every figure, and white on dark pages."""
    assert lab.events().figure().layout.template == TEMPLATE
    assert len(lab.events().figure().to_json()) < 3_000


def test_svg_is_written_in_one_order() -> None:
    picture = Svg(10, 20, title="t", desc="d")
    picture.rect(1, 2.345, 3, 4, stroke="#000000", fill=picture.hatch("#000000"))
    picture.rect(1, 2, 3, 4, fill=picture.hatch("#111111"))
    assert (
        '<rect x="1.00" y="2.35" rx="2.00" width="3.00" height="4.00" fill="url(#hatch-1)" '
        'stroke="#000000" stroke-width="1.50"/>'
    ) in str(picture)
    assert "url(#hatch-2)" in str(picture)
    ET.fromstring(str(picture))


@pytest.mark.parametrize("high", [0.003, 0.9, 1, 7, 10, 99, 2_483, 1e7])
def test_linear_ticks_are_few_and_inside(high: float) -> None:
    ticks = linear_ticks(high)
    assert 2 <= len(ticks) <= 6
    assert ticks[0] == 0
    assert ticks[-1] <= high


@pytest.mark.parametrize(
    "span",
    [timedelta(**{unit: 3}) for unit in ("microseconds", "seconds", "hours", "days")]
    + [timedelta(days=365 * 40), timedelta(milliseconds=7)],
)
def test_time_ticks_are_few_and_inside(span: timedelta) -> None:
    start = START + timedelta(microseconds=1_234_567)
    ticks = time_ticks(start, start + span)
    assert 1 <= len(ticks) <= 8
    assert all(start <= moment <= start + span for moment, _ in ticks)
    assert all(one[1] != other[1] for one, other in pairwise(ticks))
    assert nice_step(span, count=7) >= span / 7
