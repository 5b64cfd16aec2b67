"""The message flow: what sagas sent and got, who takes part, and how it is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from conversations import event_id, plant, plant_chain, plant_many

from eslab import (
    DomainError,
    EventNotFoundError,
    InputError,
    Lab,
    Metadata,
    ProcessManager,
    Saga,
    Step,
    StepContext,
    StreamNotFoundError,
)
from eslab.replay import conversation_of
from eslab.simulation.faults import Fault
from eslab.simulation.scenarios import orders
from eslab.views import MessageFlow

ORDER: dict[str, Any] = {"article": "anvil", "quantity": 2, "customer": "Ann", "amount": 30}


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=7) as lab:
        yield lab


def place(
    lab: Lab,
    who: Saga | type[ProcessManager],
    *faults: Fault,
    destination: str = "Boston",
) -> None:
    lab.register(*orders.AGGREGATES, who)
    lab.execute(orders.ReceiveStock(article="anvil", quantity=10))
    lab.inject(*faults)
    lab.execute(orders.PlaceOrder(order_id="o-1", destination=destination, **ORDER))
    lab.run()


def fulfilled(lab: Lab, *faults: Fault, destination: str = "Boston") -> MessageFlow:
    place(lab, orders.order_fulfilment, *faults, destination=destination)
    return lab.flow(saga="fulfilment-o-1")


def rows(flow: MessageFlow, *columns: str, **wanted: Any) -> list[tuple[Any, ...]]:
    """Return some columns of the rows that have some values."""
    df = flow.df
    for column, value in wanted.items():
        df = df[df[column] == value]
    return list(df[list(columns)].itertuples(index=False, name=None))


# What sagas say of their messages.


def test_a_saga_that_gives_up_is_told_with_its_failures_and_what_undid_them(lab: Lab) -> None:
    lost = Fault("reply_lost", "charge_payment", attempt=1)
    flow = fulfilled(lab, lost, destination="Atlantis")
    assert repr(flow).endswith(": 6 events, 8 commands, 2 failures, 6 participants, depth 20)")
    assert rows(flow, "name", "targets", "attempt", "outcome", kind="command") == [
        ("PlaceOrder", "order-o-1", 0, ""),
        ("PlaceOrder", "order-o-1", 1, "ok"),
        ("ReserveStock", "stock-anvil", 1, "ok"),
        ("ChargePayment", "account-Ann", 1, "timed out"),
        ("ChargePayment", "account-Ann", 2, "ok"),
        ("BookShipment", "shipment-o-1", 1, "failed"),
        ("RefundPayment", "account-Ann", 1, "ok"),
        ("ReleaseStock", "stock-anvil", 1, "ok"),
        ("CancelOrder", "order-o-1", 1, "ok"),
    ]
    # The payment was charged by the first attempt, whose answer was lost.
    (charged,) = rows(flow, "cause", name="PaymentCharged")
    first, second = rows(flow, "id", "detail", name="ChargePayment")
    assert charged[0] == first[0]
    assert second == (f"{first[0]}#2", "charge_payment, attempt 2")
    (failed,) = rows(flow, "source", "targets", "detail", kind="reply", outcome="failed")
    assert failed == (
        "shipment-o-1",
        "saga-fulfilment-o-1",
        "DomainError: no courier delivers to Atlantis",
    )
    undoing = [one.name for one in flow.conversation if one.compensates]
    assert undoing == [
        "RefundPayment",
        "charge_payment",
        "ReleaseStock",
        "reserve_stock",
        "CancelOrder",
        "place_order",
    ]


def test_a_process_manager_is_told_by_its_events_and_refusals(lab: Lab) -> None:
    place(lab, orders.OrderProcess, destination="Atlantis")
    flow = lab.flow(saga="order_process-o-1")
    (refused,) = rows(flow, "kind", "name", "detail", outcome="refused", source="shipment-o-1")
    assert refused == ("reply", "BookShipment", "no courier delivers to Atlantis")
    # That it has no effect should it come again was recorded too, and belongs to this.
    revoked = lab.sql("select position from events where type = 'CommandRevoked'").scalar()
    assert lab.lineage(revoked).df["name"].tolist()[-2:] == ["BookShipment", "CommandRevoked"]
    # What reacts to an event is caused by it, and the event goes there.
    (reserved,) = rows(flow, "id", "targets", name="StockReserved")
    assert reserved[1] == "saga-order_process-o-1"
    assert rows(flow, "name", cause=reserved[0]) == [("ChargePayment",)]


def test_commands_of_a_process_manager_that_fail_are_sent_again(lab: Lab) -> None:
    faults = [Fault("fails", type=orders.ChargePayment, attempt=number) for number in (1, 2)]
    place(lab, orders.OrderProcess, *faults)
    flow = lab.flow(saga="order_process-o-1")
    assert rows(flow, "attempt", "outcome", kind="command", name="ChargePayment") == [
        (1, "failed"),
        (2, "failed"),
        (3, "ok"),
    ]
    answers = rows(flow, "id", kind="reply", name="ChargePayment")
    sent = rows(flow, "cause", kind="command", name="ChargePayment")
    assert sent[1:] == answers[:2]


def test_steps_that_are_functions_are_calls_and_what_they_execute_is_their_effect(
    lab: Lab,
) -> None:
    def reserve(step: StepContext) -> None:
        command = orders.ReserveStock(article="anvil", order_id="o-1", quantity=1)
        lab.execute(command, command_id=step.idempotency_key)

    def full(_: StepContext) -> None:
        raise DomainError("the train is full")

    lab.register(*orders.AGGREGATES)
    lab.execute(orders.ReceiveStock(article="anvil", quantity=10))
    trip = Saga("trip", [Step("stock", reserve, lambda _: None), Step("train", full)])
    lab.start_saga(trip, "1")
    lab.run()
    flow = lab.flow(saga="trip-1")
    assert flow.about == "correlation saga-trip-1"
    assert rows(flow, "name", "targets", "outcome", kind="call") == [
        ("stock", "stock-anvil", "ok"),
        ("train", "", "failed"),
        ("stock", "", "ok"),
    ]
    (call, *_), ((cause,),) = rows(flow, "id", kind="call"), rows(flow, "cause", kind="event")
    assert cause == call[0]


def test_a_saga_that_is_stuck_and_resumed_says_so(lab: Lab) -> None:
    flow = fulfilled(
        lab, Fault("fails", "charge_payment", kind="compensate"), destination="Atlantis"
    )
    assert [name for (name,) in rows(flow, "name", outcome="stuck")] == ["SagaStuck"]
    lab.inject()
    lab.resume_saga("fulfilment", "o-1", reason="the bank is back")
    lab.run()
    flow = lab.flow(saga="fulfilment-o-1")
    (stuck,), (resumed,) = (
        rows(flow, "id", name="SagaStuck"),
        rows(flow, "cause", name="SagaResumed"),
    )
    assert resumed == stuck
    assert flow.df["name"].iloc[-1] == "SagaCompensated"


def test_a_timer_of_a_process_manager_goes_back_to_what_set_it(lab: Lab) -> None:
    late = Fault("delayed", type=orders.ChargePayment, by=timedelta(hours=2))
    place(lab, orders.OrderProcess, late)
    flow = lab.flow(saga="order_process-o-1")
    ((cause, name),) = rows(flow, "cause", "name", kind="timer")
    assert name == "overdue"
    assert rows(flow, "name", id=cause) == [("SagaStarted",)]


@pytest.mark.parametrize(
    "who", [orders.order_fulfilment, orders.OrderProcess], ids=["saga", "process"]
)
def test_whatever_goes_wrong_each_event_is_told_of_once_and_nothing_begins_by_itself(
    lab: Lab, who: Any
) -> None:
    names: Any = ("fails", "reply_lost", "late_reply", "duplicate_reply", "slow", "duplicated")
    kinds: Any = ("execute", "compensate")
    faults = [Fault(name, kind=kind, rate=0.2) for name in names for kind in kinds]
    if who is orders.OrderProcess:
        names = ("fails", "slow", "duplicated", "delayed", "lost")
        faults = [Fault(name, kind="command", rate=0.2) for name in names]
    lab.register(*orders.AGGREGATES, who)
    lab.execute(orders.ReceiveStock(article="anvil", quantity=100))
    for number in range(20):
        where = "Boston" if number % 3 else "Atlantis"
        lab.execute(orders.PlaceOrder(order_id=f"{number}", destination=where, **ORDER))
    assert lab.inject(*faults) is not None
    lab.run()
    events = list(lab.store.read_all())
    conversation = conversation_of(events)
    told = sorted(one.position for one in conversation if one.position is not None)
    assert told == [event.position for event in events]
    # Only commands that somebody executed have no cause: one for the stock, one an order.
    roots = conversation.effects[None]
    assert [(one.kind, one.event) for one in roots] == [("command", None)] * 21
    assert not any(one.skew or one.cycle for one in conversation)


# Commands that nobody recorded.


def test_a_command_is_called_what_its_metadata_says_and_sent_by_its_actor(lab: Lab) -> None:
    lab.register(orders.Stock)
    lab.execute(orders.ReceiveStock(article="anvil", quantity=10), metadata=Metadata(actor="Ann"))
    flow = lab.flow(event=1)
    assert rows(flow, "name", "source", kind="command") == [("ReceiveStock", "Ann")]
    assert flow.lanes.lanes[0].title == "Ann"


def test_a_cause_of_another_conversation_is_shown_as_what_it_is(lab: Lab) -> None:
    plant(lab, 1, correlation_id="other", stream="price-1", type="PriceChanged")
    plant(lab, 2, cause=1)
    flow = lab.flow(correlation_id="talk")
    assert rows(flow, "name", "stream_id") == [("PriceChanged", "price-1"), ("Happened", "order-1")]
    assert len(lab.sql(flow.sql)) == 1


# Which conversation.


def test_a_flow_is_found_by_correlation_event_or_saga(lab: Lab) -> None:
    by_saga = fulfilled(lab)
    correlation_id = next(iter(lab.store.read("order-o-1"))).metadata.correlation_id
    others = [
        lab.flow(correlation_id=correlation_id),
        lab.flow(event=2),
        lab.flow(event=next(iter(lab.store.read("account-Ann")))),
    ]
    assert [repr(one) for one in others] == [repr(by_saga)] * 3
    events = lab.sql(by_saga.sql).df()["position"].tolist()
    assert events == list(range(2, lab.store.head() + 1))
    assert by_saga.notes + by_saga.df["position"].notna().sum() == len(events)


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({}, InputError, "takes one of correlation_id=, event= and saga=; 0 are given"),
        ({"event": 1, "saga": "x-1"}, InputError, "2 are given"),
        ({"correlation_id": "gossip"}, InputError, "no event of this log has the .* 'gossip'"),
        ({"correlation_id": "%"}, InputError, "no event of this log"),
        ({"correlation_id": "tal"}, InputError, "no event of this log"),
        ({"correlation_id": 7}, InputError, "a correlation id is a text, not 7"),
        ({"event": 9}, EventNotFoundError, "no event at position 9"),
        ({"saga": "trip-1"}, StreamNotFoundError, "saga-trip-1"),
        ({"event": 1, "form": "cloud"}, InputError, "form is 'sequence' or 'tree', not 'cloud'"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_words(
    lab: Lab, asked: dict[str, Any], error: type[Exception], said: str
) -> None:
    plant(lab, 1)
    with pytest.raises(error, match=said):
        lab.flow(**asked)


@pytest.mark.parametrize("name", ['say "hi"', "Zürich \\ 日本", "it's", "<b>"])
def test_a_correlation_id_may_be_any_text(lab: Lab, name: str) -> None:
    plant(lab, 1, correlation_id=name)
    plant(lab, 2, correlation_id="other", type=name)
    flow = lab.flow(correlation_id=name)
    assert len(flow.df) == 1
    assert len(lab.sql(flow.sql)) == 1
    ET.fromstring(flow.svg())


def test_a_single_event_without_a_cause_is_a_flow_of_one(lab: Lab) -> None:
    plant(lab, 1, correlation_id=None)
    flow = lab.flow(event=1)
    assert repr(flow) == (
        "MessageFlow(event @1: 1 event, 0 commands, 0 failures, 1 participant, depth 1)"
    )
    assert "Happened" in flow.svg()


# Who takes part.


def test_many_streams_share_the_lane_of_their_category(lab: Lab) -> None:
    for number in range(1, 20):
        plant(lab, number, cause=number - 1 or None, stream=f"order-{number}")
    lanes = lab.flow(correlation_id="talk").lanes
    assert [(lane.name, lane.more) for lane in lanes.lanes] == [("order", "19 streams")]
    with Lab(seed=7) as few:
        for number in range(1, 4):
            plant(few, number, cause=number - 1 or None, stream=f"order-{number}")
        lanes = few.flow(correlation_id="talk").lanes
    assert [lane.title for lane in lanes.lanes] == ["order 1", "order 2", "order 3"]
    assert lanes.ends[str(event_id(1))] == (0, (1,))


# Pictures and figures.


def test_pictures_are_the_same_bytes_in_another_laboratory(lab: Lab) -> None:
    flow = fulfilled(lab, destination="Atlantis")
    with Lab(seed=7) as other:
        again = fulfilled(other, destination="Atlantis")
    assert flow.svg("sequence") == again.svg("sequence")
    assert flow.svg("tree") == again.svg("tree")
    assert flow.figure().to_json() == again.figure().to_json()
    assert flow.sql == again.sql


def test_arrows_are_solid_for_commands_dashed_for_events_and_failures_have_a_cross(
    lab: Lab,
) -> None:
    flow = fulfilled(lab, destination="Atlantis")
    for form in ("sequence", "tree"):
        figure = flow.figure(form)
        legend = {trace.name: trace for trace in figure.data if trace.name}
        lines = {trace.legendgroup: trace.line.dash for trace in figure.data if trace.line.dash}
        assert lines["command"] == "solid"
        assert lines["undo"] == "solid"
        assert lines["event"] == "dash"
        assert legend["failed or refused"].marker.symbol == "x"
        assert sum(len(trace.x) for trace in legend.values()) == len(flow.df)
    svg = flow.svg()
    assert "book_courier failed: DomainError: no courier delivers to Atlantis" in svg
    assert 'stroke-dasharray="7 4"' in svg


def test_names_from_the_log_are_text_in_pictures_and_figures(lab: Lab) -> None:
    plant(lab, 1, type="<script>alert(1)</script>", stream="<b>-1")
    flow = lab.flow(event=1)
    for text in (flow.svg(), flow.svg("tree"), flow.html(), str(flow.figure().to_json())):
        assert "<script>" not in text
        assert "<b>" not in text


@pytest.mark.parametrize("form", ["sequence", "tree"])
def test_a_long_conversation_is_drawn_as_far_as_a_picture_goes(lab: Lab, form: Any) -> None:
    plant_many(lab, 5_000)
    flow = lab.flow(correlation_id="talk", form=form)
    assert len(flow.df) == 5_000
    assert "… and 4,940 more messages" in flow.svg()
    assert len(flow.svg()) < 60_000
    figure = flow.figure()
    assert figure.layout.height < 1_900


def test_a_chain_of_two_thousand_is_drawn_in_one_column(lab: Lab) -> None:
    plant_chain(lab, 2_000)
    flow = lab.flow(correlation_id="talk", form="tree")
    assert flow.conversation.depth == 2_000
    (marks,) = [trace for trace in flow.figure().data if trace.name]
    assert set(marks.x) == {0}


def test_the_static_display_is_the_form_that_was_asked_for(lab: Lab) -> None:
    plant(lab, 1)
    tree = lab.flow(event=1, form="tree")
    assert tree.html() != lab.flow(event=1).html()
    bundle = tree._repr_mimebundle_()
    assert bundle["text/plain"] == tree.digest
