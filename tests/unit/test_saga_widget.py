"""The widget of a saga timeline, what a page is given to draw, and failing at another place."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eslab
from eslab import Lab, Saga, Step, VirtualClock
from eslab.errors import InputError, SagaError, StreamNotFoundError
from eslab.lab.rerun import rerun_saga
from eslab.sagas import NO_RETRY, SagaStarted, StepCompleted, StepStarted
from eslab.sagas.process_state import evolve_process
from eslab.sagas.state import evolve
from eslab.simulation.faults import STEP_FAULTS, Fault
from eslab.simulation.scenarios import orders
from eslab.views import SagaComparison, SagaTimeline
from eslab.widgets.follower import Follower
from eslab.widgets.saga import CLOSED, FOLLOWS, WAITS, ComparisonWidget, SagaWidget

EVIL = "<img src=x onerror=alert(1)><script>alert(1)</script>"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=7) as running:
        running.register(*orders.AGGREGATES, orders.order_fulfilment)
        running.execute(orders.ReceiveStock(article="anvil", quantity=1_000))
        yield running


@pytest.fixture
def process_lab() -> Iterator[Lab]:
    with Lab(seed=7) as running:
        running.register(*orders.AGGREGATES, orders.OrderProcess)
        running.execute(orders.ReceiveStock(article="anvil", quantity=1_000))
        yield running


def place(lab: Lab, order_id: str = "o-1", destination: str = "Boston") -> None:
    lab.execute(
        orders.PlaceOrder(
            order_id=order_id,
            article="anvil",
            quantity=2,
            customer="Ann",
            amount=30,
            destination=destination,
        )
    )


def fulfilled(lab: Lab, *faults: Fault, destination: str = "Boston") -> SagaTimeline:
    """Let one order be fulfilled, and return what its saga did."""
    lab.inject(*faults)
    place(lab, destination=destination)
    lab.run()
    lab.inject()
    return lab.saga("fulfilment-o-1")


def ask(widget: SagaWidget, name: str, **arguments: Any) -> Any:
    """Ask as a page does, and return the answer."""
    answers: list[Any] = []
    widget.send = lambda content, buffers=None: answers.append(content)  # type: ignore[method-assign]
    widget._receive(widget, {"intent": name, "id": 1, "arguments": arguments}, [])
    (answer,) = answers
    return answer


def wait_until(holds: Any) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.01)


# What a page is given.


def test_a_page_has_a_mark_an_attempt_and_a_moment_an_event(lab: Lab) -> None:
    timeline = fulfilled(lab, Fault("fails", "charge_payment", attempt=1), destination="Atlantis")
    page = timeline.page
    assert json.loads(json.dumps(page)) == page
    assert len(page["bars"]) == len(timeline.df) == len(page["table"]["rows"])
    assert [one["version"] for one in page["moments"]] == [*range(1, timeline.version + 1)]
    # The playhead goes forwards, and stays in the picture.
    places = [one["x"] for one in page["moments"]]
    assert places == sorted(places)
    assert (places[0], places[-1] <= page["span"]) == (0, True)
    # Each bar was begun and ended by events of the stream, and has its words.
    for bar, row in zip(page["bars"], timeline.df.itertuples(), strict=True):
        assert (bar["version"], bar["ended"]) == (row.version, row.ended_version)
        assert bar["step"] == row.step
        assert bar["name"].startswith(f"{row.order}. {row.step}: ")


def test_a_compensation_and_its_step_are_partners(lab: Lab) -> None:
    bars = fulfilled(lab, destination="Atlantis").page["bars"]
    undone = {bar["step"]: bar["partner"] for bar in bars if bar["kind"] == "compensate"}
    assert [*undone] == ["charge_payment", "reserve_stock", "place_order"]
    for step, partner in undone.items():
        other = bars[partner]
        assert (other["step"], other["kind"]) == (step, "execute")
        assert bars[other["partner"]]["kind"] == "compensate"
    assert bars[3]["partner"] is None  # of the step that failed


def test_an_attempt_says_what_was_sent_why_and_what_came_of_it(lab: Lab) -> None:
    timeline = fulfilled(lab, Fault("fails", "charge_payment", attempt=1))
    page = timeline.page
    failed = next(bar for bar in page["bars"] if bar["failed"])
    facts = dict(failed["facts"])
    assert facts["attempt"] == "1 of 2"
    assert facts["took"] == "120 ms"
    assert facts["error"].endswith("was made to fail")
    assert facts["because"].endswith("reserve_stock was executed")
    assert '"customer": "Ann"' in failed["payload"]
    first = dict(page["bars"][0]["facts"])
    assert first["because"] == "it was started by the event at position 2"
    recorded = timeline.effects[["step", "kind", "type", "stream_id"]]
    assert recorded.to_numpy().tolist() == [
        ["reserve_stock", "execute", "StockReserved", "stock-anvil"],
        ["charge_payment", "execute", "PaymentCharged", "account-Ann"],
        ["book_courier", "execute", "ShipmentBooked", "shipment-o-1"],
        ["confirm_order", "execute", "OrderConfirmed", "order-o-1"],
    ]


@settings(max_examples=10, deadline=None)
@given(
    names=st.sets(st.sampled_from(STEP_FAULTS)),
    rate=st.sampled_from([0.2, 0.6]),
    seed=st.integers(0, 100),
    destination=st.sampled_from(["Boston", "Atlantis"]),
)
def test_the_state_after_each_event_is_what_the_stream_says(
    names: set[Any], rate: float, seed: int, destination: str
) -> None:
    with Lab(seed=seed) as lab:
        lab.register(*orders.AGGREGATES, orders.order_fulfilment, orders.OrderProcess)
        lab.execute(orders.ReceiveStock(article="anvil", quantity=1_000))
        kinds: Any = ("execute", "compensate", "command")
        lab.inject(*(Fault(name, rate=rate, kind=kind) for name in names for kind in kinds))
        place(lab, destination=destination)
        lab.run()
        for name, follow in (("fulfilment", evolve), ("order_process", evolve_process)):
            moments = lab.saga(f"{name}-o-1").page["moments"]
            state = lab._orchestrator._machines[name].initial()
            before: dict[str, str] = {}
            for recorded, moment in zip(lab.store.read(f"saga-{name}-o-1"), moments, strict=True):
                state = follow(state, lab.registry.decode(recorded))
                lines = {line: text for mark, line, text, _ in moment["state"] if mark != "-"}
                assert lines["status"] == state.status.value
                assert sum(text.startswith("due ") for text in lines.values()) == len(state.timers)
                for mark, line, text, was in moment["state"]:
                    expected = "-" if line not in lines else "+" if line not in before else ""
                    if not expected and before[line] != text:
                        expected = "~"
                        assert was == before[line]
                    assert mark == expected
                before = lines


def test_text_of_a_step_is_text_for_the_page(lab: Lab) -> None:
    def fails(step: eslab.StepContext) -> None:
        raise ValueError(EVIL)

    lab.start_saga(Saga("evil", [Step(EVIL, fails, retry=NO_RETRY)]), "1", note=EVIL)
    lab.run()
    page = lab.saga("evil-1").page
    assert page["rows"] == [EVIL]
    assert EVIL in page["bars"][0]["name"]


def test_of_an_error_as_long_as_a_book_only_the_details_have_all(lab: Lab) -> None:
    book = "x" * 10_000

    def fails(step: eslab.StepContext) -> None:
        raise ValueError(book)

    lab.start_saga(Saga("long", [Step("train", fails, retry=NO_RETRY)]), "1")
    lab.run()
    page = lab.saga("long-1").page
    (bar,) = page["bars"]
    assert len(bar["name"]) < 300
    assert max(len(moment["words"]) for moment in page["moments"]) <= 200
    assert len(dict(bar["facts"])["error"]) > 1_000


# Following.


def test_a_widget_follows_a_saga_while_a_page_shows_it(lab: Lab) -> None:
    place(lab)
    lab.advance("50 ms")
    timeline = lab.saga("fulfilment-o-1")
    widget = SagaWidget(timeline)
    assert (widget.said, widget.live) == (timeline.digest, FOLLOWS)
    before = widget.page["moments"]
    ask(widget, "watch", page="a")
    ask(widget, "watch", page="b")
    lab.run()
    wait_until(lambda: "COMPLETED" in widget.said)
    assert widget.said == timeline.digest == lab.saga("fulfilment-o-1").digest
    assert len(widget.page["moments"]) > len(before)
    assert widget.live == ""
    # Another page shows it yet.
    ask(widget, "leave", page="a")
    assert len(lab.store._listeners) == 2
    ask(widget, "leave", page="b")
    assert len(lab.store._listeners) == 1  # of the lab itself


def test_what_failed_elsewhere_is_shown_beside_a_saga_that_goes_on(lab: Lab) -> None:
    place(lab)
    lab.advance("100 ms")
    widget = SagaWidget(lab.saga("fulfilment-o-1"))
    ask(widget, "watch", page="a")
    ask(widget, "fail", step="charge_payment", fault="fails", undo=False, attempt=1)
    assert widget.said.endswith("charge_payment: fails: COMPENSATED instead of RUNNING)")
    lab.run()
    wait_until(lambda: widget.page["status"] == "COMPLETED")
    wait_until(lambda: widget.said.endswith("COMPENSATED instead of COMPLETED)"))
    assert widget.page["span"] == widget.instead["page"]["span"]
    ask(widget, "forget")
    assert (widget.said, widget.instead) == (lab.saga("fulfilment-o-1").digest, {})
    assert widget.page["parting"] is None


def test_what_a_person_looked_at_again_is_shown_too(lab: Lab) -> None:
    place(lab)
    lab.advance("10 ms")
    timeline = lab.saga("fulfilment-o-1")
    widget = SagaWidget(timeline)
    lab.run()
    timeline.refresh()
    widget.follow()
    assert widget.said == timeline.digest


def test_what_is_no_longer_shown_is_not_drawn(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    place(lab, "o-1")
    place(lab, "o-2")
    lab.advance("10 ms")
    first, second = lab.saga("fulfilment-o-1"), lab.saga("fulfilment-o-2")
    widget = SagaWidget(first)
    lab.run()
    refresh = first.refresh
    monkeypatch.setattr(first, "refresh", lambda: (refresh(), widget.show(second)))
    widget.follow()
    assert widget.page["title"] == "fulfilment o-2: RUNNING"


def test_a_widget_that_nobody_looks_at_follows_nothing(lab: Lab) -> None:
    place(lab)
    lab.advance("10 ms")
    widget = SagaWidget(lab.saga("fulfilment-o-1"))
    lab.run()
    assert "RUNNING" in widget.said
    widget.close()
    ask(widget, "watch", page="a")
    assert "RUNNING" in widget.said


def test_a_widget_says_that_the_lab_is_closed() -> None:
    with Lab(seed=7) as lab:
        lab.start_saga(Saga("trip", [Step("hotel", print)]), "1")
        widget = SagaWidget(lab.saga("trip-1"))
    ask(widget, "watch", page="a")
    wait_until(lambda: widget.live == CLOSED)


def test_a_saga_that_is_stuck_says_who_lets_it_go_on(lab: Lab) -> None:
    timeline = fulfilled(lab, Fault("reply_lost", "confirm_order"))
    assert SagaWidget(timeline).live == WAITS


def test_the_latest_wins_and_not_too_often() -> None:
    looks: list[int] = []
    now = 0

    def look() -> None:
        looks.append(now)
        time.sleep(0.005)

    follower = Follower(look, rate=20)
    began = time.monotonic()
    while time.monotonic() < began + 0.4:
        now += 1
        follower.notice()
    wait_until(lambda: looks[-1] == now)
    assert len(looks) < now / 100
    follower.end()
    count = len(looks)
    follower.notice()
    time.sleep(0.1)
    assert len(looks) == count


def test_a_follower_that_fails_ends(caplog: pytest.LogCaptureFixture) -> None:
    called = threading.Event()

    def look() -> None:
        called.set()
        raise RuntimeError("boo")

    follower = Follower(look)
    follower.notice()
    assert called.wait(10)
    wait_until(lambda: "cannot follow" in caplog.text)
    called.clear()
    follower.notice()
    assert not called.wait(0.1)


# Failing elsewhere.


def test_a_saga_fails_at_another_step_and_the_store_is_as_it_was(lab: Lab) -> None:
    timeline = fulfilled(lab)
    before = lab.fingerprint()
    compared = timeline.fail("charge_payment")
    assert isinstance(compared, SagaComparison)
    assert compared.digest == (
        "SagaComparison(fulfilment-o-1 charge_payment: fails: COMPENSATED instead of COMPLETED)"
    )
    assert compared.df.to_numpy().tolist() == [
        ["place_order", "executed", "undone"],
        ["reserve_stock", "executed", "undone"],
        ["charge_payment", "executed", "failed"],
        ["book_courier", "executed", "not reached"],
        ["confirm_order", "executed", "not reached"],
    ]
    assert "3 attempts hit" in compared.words
    # What was before the attempt is as it was.
    shared = timeline.df.query("step == 'reserve_stock'").iloc[0]
    there = compared.branch.df.query("step == 'reserve_stock' and kind == 'execute'").iloc[0]
    assert there.equals(shared)
    assert lab.fingerprint() == before
    assert compared.html().count("<img") == 2
    assert compared.figure().layout.title.text == "fulfilment o-1"


def test_the_same_fault_gives_the_same_bytes(lab: Lab) -> None:
    timeline = fulfilled(lab)
    first, second = (timeline.fail("book_courier", "slow") for _ in range(2))
    assert first.html() == second.html()
    assert first.branch.df.equals(second.branch.df)


def test_undoing_fails_instead(lab: Lab) -> None:
    compared = fulfilled(lab, destination="Atlantis").fail("reserve_stock", undo=True)
    assert compared.outcome == "STUCK instead of COMPENSATED"
    # The payment had been refunded before.
    assert compared.df.set_index("step").loc["charge_payment", "is"] == "undone"


@pytest.mark.parametrize("name", STEP_FAULTS)
def test_both_are_drawn_on_one_axis_and_part_where_they_differ(lab: Lab, name: str) -> None:
    compared = fulfilled(lab, destination="Atlantis").fail("charge_payment", name)
    was, now = compared.pages
    for shared in ("rows", "axis", "span", "ticks", "folds", "parting"):
        assert was[shared] == now[shared]
    (parting, words), edge = was["parting"], 0.05
    assert words == "here they part"
    common = [
        [bar for bar in page["bars"] if bar["pieces"][-1][1] < parting - edge]
        for page in (was, now)
    ]
    assert [bar["step"] for bar in common[0]][:1] == ["place_order"]
    assert [bar["pieces"] for bar in common[0]] == [bar["pieces"] for bar in common[1]]
    # Alone, it has an axis of its own.
    assert compared.base.page["parting"] is None
    assert compared.html().count("<img") == 2


def test_beside_what_took_no_time_attempts_are_drawn_in_their_order(lab: Lab) -> None:
    names = {"saga": "fulfilment", "saga_id": "still"}
    still: list[Any] = [SagaStarted(**names, steps=["place_order"], input={})]
    still += [StepStarted(step="place_order", attempt=1)]
    still += [StepCompleted(step="place_order", attempt=1)]
    lab.append("saga-fulfilment-still", still)
    one, other = lab.saga("fulfilment-still"), fulfilled(lab)
    assert one.page["axis"] == "attempts (no time passed)"
    was, now = one.page_beside(other), other.page_beside(one)
    assert was["axis"] == now["axis"] == "attempts (in their order)"
    assert was["span"] == now["span"] == 5
    assert was["rows"] == now["rows"] == other.page["rows"]


def test_a_comparison_is_of_one_moment(lab: Lab) -> None:
    place(lab)
    lab.advance("100 ms")
    timeline = lab.saga("fulfilment-o-1")
    compared = timeline.fail("charge_payment")
    before = (compared.digest, compared.html())
    widget = compared.widget
    assert isinstance(widget, ComparisonWidget)
    ask(widget, "watch", page="a")
    lab.run()
    timeline.refresh()
    assert timeline.summary.status == "COMPLETED"
    assert (compared.digest, compared.html()) == before
    # So is its widget, which nothing follows.
    assert (widget.said, widget.live) == (compared.digest, "")
    assert len(lab.store._listeners) == 1
    assert widget.instead["words"] == compared.words


def test_only_one_attempt_fails(lab: Lab) -> None:
    compared = fulfilled(lab).fail("charge_payment", once=True)
    assert (compared.hits, compared.outcome) == (1, "COMPLETED as before")
    assert "1 retry" in compared.branch.digest


def test_it_fails_from_the_second_attempt_on(lab: Lab) -> None:
    timeline = fulfilled(lab, Fault("fails", "charge_payment", attempt=1))
    compared = timeline.fail("charge_payment", attempt=2)
    assert compared.hits == 2
    assert compared.branch.df.query("step == 'charge_payment'")["attempt"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("name", STEP_FAULTS)
def test_every_fault_of_a_step_can_be_chosen_in_the_widget(lab: Lab, name: str) -> None:
    widget = SagaWidget(fulfilled(lab))
    arguments = {"step": "charge_payment", "fault": name, "undo": False, "attempt": 1}
    words = ask(widget, "fail", **arguments)["result"]
    assert widget.instead["words"] == words
    assert widget.instead["page"]["bars"]
    assert name in dict(widget.faults)
    assert ask(widget, "forget") == {"answer": 1, "result": None}
    assert widget.instead == {}


def test_a_command_of_a_process_manager_fails_instead(process_lab: Lab) -> None:
    place(process_lab)
    process_lab.run()
    timeline = process_lab.saga("order_process-o-1")
    compared = timeline.fail("ChargePayment")
    assert compared.outcome == "STUCK instead of COMPLETED"
    # What it had reacted to in that moment came again.
    steps = compared.branch.df["step"].unique().tolist()
    assert steps == ["ReserveStock", "ChargePayment"]
    assert compared.branch.df["attempt"].max() == 6


class Departed(eslab.Event):
    trip_id: str


class Ping(eslab.Command):
    trip_id: str


class Clockwork(eslab.ProcessManager, name="clockwork", by="trip_id"):
    """Goes on for ever."""

    @eslab.start
    def departed(self, event: Departed) -> None:
        self.set_timer("tick", "1 min")

    @eslab.on_timer("tick")
    def tick(self) -> None:
        self.send(Ping(trip_id=self.id))
        self.set_timer("tick", "1 min")


@pytest.fixture
def pinged() -> list[str]:
    return []


@pytest.fixture
def clockwork(lab: Lab, pinged: list[str]) -> SagaTimeline:
    """Return what a process manager did, which was started by an event from outside."""
    lab.register(Clockwork)

    @lab.handles
    def ping(command: Ping) -> None:
        pinged.append(command.trip_id)

    for trip_id in ("1", "2"):
        lab.append(f"trip-{trip_id}", [Departed(trip_id=trip_id)])
    lab.advance("90 s")
    pinged.clear()
    return lab.saga("clockwork-1")


def test_what_has_no_end_is_left_after_very_many_events(
    clockwork: SagaTimeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eslab.lab.rerun.MOST", 50)
    compared = clockwork.fail("Ping", "slow")
    assert compared.outcome == "RUNNING as before"
    assert 40 <= compared.branch.version - clockwork.version < 60


def test_a_process_manager_that_was_started_from_outside_is_run_again(
    clockwork: SagaTimeline, lab: Lab, pinged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eslab.lab.rerun.MOST", 50)
    (start,) = lab.store.read("trip-1")
    assert start.metadata.correlation_id is None
    # The branch begins before its start, and the other one, which is not its own, stands still.
    fault = Fault("late_reply", type="Ping", kind="command")
    other, _ = rerun_saga(lab, clockwork, start.position, fault)
    assert other.version >= 50
    assert {*pinged} == {"1"}


def test_steps_that_are_functions_are_called_again(lab: Lab) -> None:
    calls: list[str] = []

    def book(step: eslab.StepContext) -> None:
        calls.append(step.step)

    trip = Saga("trip", [Step("hotel", book, book), Step("train", book), Step("museum", book)])
    lab.start_saga(trip, "1")
    lab.run()
    calls.clear()
    compared = lab.saga("trip-1").fail("museum")
    # Only from there on: what was done before is done.
    assert calls == ["hotel"]
    assert compared.outcome == "COMPENSATED instead of COMPLETED"


def test_a_saga_that_still_runs_fails_elsewhere_too(lab: Lab) -> None:
    place(lab)
    lab.advance("100 ms")
    timeline = lab.saga("fulfilment-o-1")
    assert timeline.summary.status == "RUNNING"
    assert timeline.fail("charge_payment").outcome == "COMPENSATED instead of RUNNING"


def test_a_saga_on_a_branch_where_a_read_model_is_broken(lab: Lab) -> None:
    class Lines(eslab.Row, key=("order_id",)):
        order_id: str

    class Broken(eslab.Projection):
        name = "broken"
        row = Lines

        @eslab.on
        def placed(self, event: orders.OrderPlaced, rows: eslab.Rows) -> None:
            raise ValueError("boo")

    timeline = fulfilled(lab)
    lab.project(Broken())
    assert timeline.fail("charge_payment").hits == 3


def test_sagas_beside_it_stand_still_and_those_that_belong_to_it_go_on(lab: Lab) -> None:
    calls: list[str] = []

    def book(step: eslab.StepContext) -> None:
        calls.append(f"{step.step} {step.saga_id}")
        if step.step == "whole trip":
            lab.start_saga(hotel, step.saga_id)

    hotel = Saga("hotel", [Step("hotel", book)])
    museum = Step("museum", book, retry=eslab.Retry(limit=3))
    trip = Saga("trip", [Step("whole trip", book), museum])
    for number in ("1", "2"):
        lab.start_saga(trip, number)
    lab.run()
    calls.clear()
    # Where the branch begins, the second trip and both hotels are on their way.
    compared = lab.saga("trip-1").fail("museum")
    assert compared.hits
    assert calls == ["hotel 1"]


def test_what_cannot_fail_is_said(lab: Lab) -> None:
    timeline = fulfilled(lab, destination="Atlantis")
    with pytest.raises(InputError, match="has no step 'nothing'; it has: place_order, "):
        timeline.fail("nothing")
    with pytest.raises(InputError, match="'confirm_order' did not begin in saga fulfilment-o-1"):
        timeline.fail("confirm_order")
    with pytest.raises(InputError, match="'book_courier' was not undone"):
        timeline.fail("book_courier", undo=True)
    with pytest.raises(InputError, match="are 1 to 1; 2 is none of them"):
        timeline.fail("charge_payment", attempt=2)
    with pytest.raises(InputError, match="there is no fault 'explodes'"):
        timeline.fail("charge_payment", "explodes")
    widget = SagaWidget(timeline)
    refused = ask(widget, "fail", step="nothing", fault="fails", undo=False, attempt=1)
    assert "has no step" in refused["error"]


def test_a_saga_that_nobody_knows_cannot_be_run_again(lab: Lab) -> None:
    fulfilled(lab)
    other = Lab(store=lab.store, seed=7)
    with pytest.raises(SagaError, match="no saga of the name 'fulfilment' is registered"):
        other.saga("fulfilment-o-1").fail("charge_payment")
    with pytest.raises(StreamNotFoundError):
        lab.saga("fulfilment-none")
    with pytest.raises(InputError, match="a saga is found by a text"):
        lab.saga(7)  # type: ignore[arg-type]


def test_without_a_lab_nothing_is_run_again(lab: Lab) -> None:
    fulfilled(lab)
    with pytest.raises(InputError, match="only a lab can run a saga again"):
        SagaTimeline(lab.store, "saga-fulfilment-o-1").fail("charge_payment")


def test_a_clock_that_went_back_is_said() -> None:
    clock = VirtualClock()
    with Lab(clock=clock) as lab:
        lab.start_saga(Saga("trip", [Step("hotel", print)]), "1")
        lab.store.clock = VirtualClock(datetime(2020, 1, 1, tzinfo=UTC))
        lab.append("other-1", [orders.StockReceived(quantity=1)])
        lab.start_saga(Saga("walk", [Step("shoes", print)]), "1")
        assert lab.saga("trip-1").page["subtitle"] == "0 of 1 step completed, hotel is next"
        late = lab.saga("walk-1")
        assert late.page["subtitle"].endswith("; the clock had gone back at version 1")
        assert "the clock had gone back" in late.svg()


def test_a_timeline_is_looked_at_again(lab: Lab) -> None:
    place(lab)
    lab.advance("10 ms")
    timeline = lab.saga("fulfilment-o-1")
    before = len(timeline.df)
    assert not timeline.refresh()
    lab.run()
    assert timeline.refresh()
    assert len(timeline.df) > before
    assert lab.sql(timeline.sql).df().equals(timeline.df)
    assert timeline.summary.seconds >= timedelta(milliseconds=1).total_seconds()


def test_a_saga_of_which_nothing_has_begun_is_shown_and_cannot_fail(lab: Lab) -> None:
    lab.append("saga-empty-1", [SagaStarted(saga="empty", saga_id="1", steps=[], input={})])
    lab.start_saga(Saga("trip", [Step("hotel", print)]), "1")
    for name, what in (
        ("empty-1", "has no command 'hotel'; it has: none"),
        ("trip-1", "'hotel' did not begin"),
    ):
        timeline = lab.saga(name)
        widget = SagaWidget(timeline)
        assert widget.page["bars"] == []
        assert [moment["words"] for moment in widget.page["moments"]] == ["it begins"]
        assert widget.live == FOLLOWS
        with pytest.raises(InputError, match=what):
            timeline.fail("hotel")
