"""What led to an event and what followed from it, whatever clocks, ids and causes say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conversations import event_id, plant, plant_chain
from hypothesis import given, settings
from hypothesis import strategies as st

from eslab import EventNotFoundError, InputError, Lab, Metadata, NewEvent
from eslab.replay import Conversation, Message, TreeRow, tree_lines, tree_of
from eslab.replay.lineage import found_event, related
from eslab.sagas import (
    SAGA_EVENTS,
    CommandFailed,
    CommandSent,
    Saga,
    Step,
    TimerCancelled,
)
from eslab.simulation.scenarios import orders

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=7) as lab:
        yield lab


def numbers(lab: Lab, number: int) -> list[int]:
    """Return the numbers of the events in the lineage of a planted one."""
    positions = lab.lineage(event_id(number)).df["position"].dropna()
    rows = lab.sql(
        "select (data->>'$.number')::integer from events where position in "
        "(select unnest($1::bigint[])) order by 1",
        [positions.tolist()],
    )
    return [number for (number,) in rows.fetchall()]


# Order, depth, cycles: of any messages.

CAUSES = st.lists(st.none() | st.integers(0, 30), max_size=30)


def linked(causes: Sequence[int | None]) -> list[Message]:
    return [
        Message(str(index), "event", "Happened", cause=None if cause is None else str(cause))
        for index, cause in enumerate(causes)
    ]


@given(CAUSES)
def test_each_message_stands_once_behind_its_cause_and_one_deeper(
    causes: list[int | None],
) -> None:
    messages = linked(causes)
    conversation = Conversation(messages)
    assert sorted(one.id for one in conversation) == sorted(one.id for one in messages)
    for message in conversation:
        if message.cause is None:
            assert message.depth == 0
        else:
            assert conversation.place(message.cause) < conversation.place(message.id)
            assert message.depth == conversation[message.cause].depth + 1
    # A cause is passed over only where it is not there, or in a cycle; and there just once.
    for message in messages:
        kept = conversation[message.id].cause == message.cause
        lost = message.cause is not None and message.cause not in conversation
        assert kept or lost or conversation[message.id].cycle
    for cut in (one for one in conversation if one.cycle):
        assert causes[int(cut.id)] in [int(cut.id), *map(int, ids(conversation.effects_of(cut.id)))]


def ids(messages: Sequence[Message]) -> list[str]:
    return [message.id for message in messages]


@given(CAUSES)
def test_the_tree_has_each_message_once_beside_its_cause_and_stays_narrow(
    causes: list[int | None],
) -> None:
    conversation = Conversation(linked(causes))
    tree = tree_of(conversation)
    assert sorted(row.message.id for row in tree) == sorted(ids(conversation.messages))
    for number, row in enumerate(tree):
        assert 2**row.column <= len(tree)
        below = tree[number + 1 : number + row.size]
        assert {one.message.id for one in below} == set(
            ids(conversation.effects_of(row.message.id))
        )
        assert row.message.cause == _drawn_cause(tree, number)


def _drawn_cause(tree: Sequence[TreeRow], number: int) -> str | None:
    """Return what somebody takes for the cause of a message who looks at its place alone."""
    row = tree[number]
    column = row.column - row.begins
    for above in reversed(tree[:number]):
        if above.column == column:
            last = tree.index(above) + above.size
            return above.message.id if number < last else None
    return None


def test_a_message_that_only_a_note_caused_hangs_below_what_caused_the_note() -> None:
    messages = [
        Message("a", "event", "a"),
        Message("b", "note", "b", cause="a"),
        Message("c", "note", "c", cause="b"),
        Message("d", "event", "d", cause="c"),
    ]
    kept = Conversation(messages).without_notes()
    assert [(one.id, one.cause, one.depth) for one in kept] == [("a", None, 0), ("d", "a", 1)]


# In a log.


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.none() | st.integers(1, 12), st.sampled_from([None, "one", "two"])),
        min_size=1,
        max_size=12,
    ),
    st.data(),
)
def test_a_lineage_is_what_following_the_ids_by_hand_gives(
    planted: list[tuple[int | None, str | None]], data: Any
) -> None:
    wanted = data.draw(st.integers(1, len(planted)))
    with Lab(seed=7) as lab:
        for number, (cause, correlation) in enumerate(planted, 1):
            plant(lab, number, cause=cause, correlation_id=correlation)
        causes = {number: cause for number, (cause, _) in enumerate(planted, 1)}
        view = lab.lineage(event_id(wanted))
        if any(one.cycle for one in view.conversation):
            return  # which of its causes is passed over is tested above
        up, cause = [wanted], causes[wanted]
        while cause in causes and cause not in up:
            up.append(cause)
            cause = causes[cause]
        down, size = {wanted}, 0
        while size < len(down):
            size = len(down)
            down |= {effect for effect, of in causes.items() if of in down}
        if not down & set(up[1:]):
            assert numbers(lab, wanted) == sorted({*up, *down})


def test_a_lineage_crosses_correlations_and_needs_none(lab: Lab) -> None:
    plant(lab, 1, correlation_id=None)
    plant(lab, 2, cause=1, correlation_id="one")
    plant(lab, 3, cause=2, correlation_id="two")
    plant(lab, 4, correlation_id="two")
    assert [numbers(lab, number) for number in (1, 2, 3, 4)] == [[1, 2, 3]] * 3 + [[4]]


def test_a_chain_of_two_thousand_is_followed_to_both_ends(lab: Lab) -> None:
    plant_chain(lab, 2_000, correlation_id=None)
    view = lab.lineage(1_000)
    assert repr(view) == ("Lineage(Happened order-1 v334 @1000: 999 causes, 1,000 effects)")
    assert list(view.df["relation"]) == ["cause"] * 999 + ["event"] + ["effect"] * 1_000
    lines = str(view).splitlines()
    assert len(lines) == 2_000
    assert max(map(len, lines)) < 60  # a chain is no stairway
    assert lines[999].endswith("<--")
    assert len(view.svg()) < 60_000


def test_commands_and_sagas_are_links_of_a_lineage(lab: Lab) -> None:
    lab.register(*orders.AGGREGATES, orders.order_fulfilment)
    lab.execute(orders.ReceiveStock(article="anvil", quantity=10))
    order: dict[str, Any] = {"article": "anvil", "quantity": 2, "customer": "Ann", "amount": 30}
    lab.execute(orders.PlaceOrder(order_id="o-1", destination="Boston", **order))
    lab.run()
    charged = next(iter(lab.store.read("account-Ann")))
    assert str(lab.lineage(charged)).splitlines() == [
        "▶ PlaceOrder to order-o-1",
        "● OrderPlaced order-o-1 v1 @2",
        "◆ SagaStarted @3",
        "▶ PlaceOrder to order-o-1 @4 (place_order)",
        "↩ place_order ok @7",
        "▶ ReserveStock to stock-anvil @8 (reserve_stock)",
        "↩ reserve_stock ok @12",
        "▶ ChargePayment to account-Ann @13 (charge_payment)",
        "● PaymentCharged account-Ann v1 @15  <--",
    ]
    placed = lab.lineage(2)
    assert placed.df["name"].iloc[-1] == "SagaCompleted"
    # The query gives the events that it is made of.
    known = set(placed.df["position"].dropna())
    assert known <= set(lab.sql(placed.sql).df()["position"])
    # What a saga only notes is shown when somebody asks for it.
    timer = lab.sql("select min(position) from events where type = 'TimerSet'").scalar()
    assert "TimerSet" not in set(placed.df["name"])
    assert lab.lineage(timer).df["name"].iloc[-1] == "TimerSet"


def test_an_event_without_correlation_that_starts_a_saga_has_all_of_it_as_effects(
    lab: Lab,
) -> None:
    trip = Saga("trip", [Step("hotel", lambda _: None)], started_by=orders.OrderPlaced)
    lab.register(trip)
    order = orders.OrderPlaced(
        article="a", quantity=1, customer="Ann", amount=1, destination="Boston"
    )
    lab.append("order-1", [order])
    lab.run()
    view = lab.lineage(1)
    assert list(view.df["name"]) == [
        "OrderPlaced",
        "SagaStarted",
        "hotel",
        "hotel",
        "SagaCompleted",
    ]
    assert lab.flow(event=1).df["name"].tolist() == list(view.df["name"])


# What should not be.


def test_a_cycle_is_passed_over_where_it_was_recorded_first_and_said(lab: Lab) -> None:
    for number, cause in ((1, 3), (2, 1), (3, 2)):
        plant(lab, number, cause=cause)
    view = lab.lineage(3)
    assert numbers(lab, 3) == [1, 2, 3]
    assert str(view).splitlines()[0] == (
        "● Happened order-1 v1 @1 [its own effect is recorded as its cause]"
    )
    assert "1 cycle" in repr(lab.flow(correlation_id="talk"))


def test_an_event_that_names_itself_as_its_cause_has_none(lab: Lab) -> None:
    plant(lab, 1, cause=1)
    assert len(lab.lineage(1).df) == 1
    assert "[its own effect" in str(lab.lineage(1))


@pytest.mark.parametrize("cause", [str(event_id(99)), "order-service/4711"])
def test_a_cause_that_is_not_in_the_log_is_a_row_that_says_so(lab: Lab, cause: str) -> None:
    plant(lab, 1, cause=cause)
    plant(lab, 2, cause=cause)
    view = lab.lineage(2)
    assert list(view.df["kind"]) == ["unknown", "event"]
    assert view.df["id"].iloc[0] == cause
    assert "not in this log" in str(view)
    assert [one.cause for one in lab.flow(event=2).conversation] == [None, cause, cause]


def test_a_cause_comes_first_whatever_the_clocks_say(lab: Lab) -> None:
    plant(lab, 2, cause=1, occurred_at=NOON)  # recorded before its cause
    plant(lab, 1, occurred_at=NOON + timedelta(seconds=3))
    view = lab.lineage(event_id(2))
    assert list(view.df["position"]) == [2, 1]
    assert list(view.df["skew"]) == [0.0, 3.0]
    assert "[3 s before its cause, by the clocks]" in str(view)
    flow = lab.flow(correlation_id="talk")
    assert "1 skew" in flow.digest
    assert "3 s before its cause" in flow.svg()


def test_skew_is_measured_over_a_cause_without_a_time(lab: Lab) -> None:
    lab.store.append("order-1", [NewEvent("A", {}, event_id(1), occurred_at=NOON)])
    command = str(event_id(5))
    known = Metadata(causation_id=command, command_id=command, correlation_id=command)
    lab.store.append("order-1", [NewEvent("B", {}, event_id(2), occurred_at=NOON, metadata=known)])
    assert lab.lineage(2).df["skew"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("event", "error", "said"),
    [
        (0, EventNotFoundError, "no event at position 0.*last position is 1"),
        (2, EventNotFoundError, "no event at position 2.*last position is 1"),
        (event_id(2), EventNotFoundError, "no event with the id"),
        (str(event_id(2)), EventNotFoundError, "no event with the id"),
        ("order-1", InputError, "a UUID, not 'order-1'"),
        (True, InputError, "its id or its position"),
        (1.5, InputError, "its id or its position"),
        (None, InputError, "its id or its position"),
    ],
)
def test_what_is_no_event_of_the_log_is_refused_in_words(
    lab: Lab, event: Any, error: type[Exception], said: str
) -> None:
    plant(lab, 1)
    with pytest.raises(error, match=said):
        lab.lineage(event)


def test_an_event_is_found_by_itself_its_id_and_its_position(lab: Lab) -> None:
    plant(lab, 1)
    found = found_event(lab.store, 1)
    assert [
        found_event(lab.store, one) for one in (found, found.event_id, str(found.event_id))
    ] == [found] * 3
    with pytest.raises(EventNotFoundError, match="the log is empty"), Lab(seed=8) as other:
        other.lineage(1)


def test_few_looks_through_the_log_find_all_that_may_be_related(
    lab: Lab,
) -> None:
    plant_chain(lab, 500, correlation_id=None)
    looks = 0
    sql = lab.store.sql

    class Watched:
        def sql(self, *arguments: Any) -> Any:
            nonlocal looks
            looks += 1
            return sql(*arguments)

    watched: Any = Watched()
    found = related(watched, found_event(lab.store, 250))
    assert [event.position for event in found] == list(range(1, 501))
    assert looks == 3  # for links, for what they lead to, and for the first cause, which has none


def test_the_text_says_what_hangs_beside_and_what_goes_on() -> None:
    causes = [None, 0, 0, 2, 2, 2, 5]
    lines = tree_lines(tree_of(Conversation(linked(causes))))
    rails = [line.partition("●")[0] for line in lines]
    assert rails == ["", "├─", "", "├─", "├─", "", ""]


@pytest.mark.parametrize("odd", [7, True, ["a"], {"a": 1}, "two\nlines\x1b[31m", "x" * 10_000])
def test_whatever_stands_in_metadata_is_told_as_a_line_of_text(lab: Lab, odd: Any) -> None:
    known = Metadata(
        correlation_id=odd, causation_id=odd, command_id=odd, command_type=odd, actor=odd
    )
    lab.store.append("order-1", [NewEvent("Placed", {}, metadata=known)])
    flow = lab.flow(event=1)
    assert flow.digest.isprintable()
    assert flow.df["kind"].tolist() == ["command", "event"]
    command, placed = str(lab.lineage(1)).splitlines()
    assert command.isprintable()
    assert placed.endswith("<--")
    for form in ("sequence", "tree"):
        assert flow.svg(form)
        assert flow.figure(form).to_json()
    assert flow.widget.flow["messages"]["kind"] == ["command", "event"]


@pytest.mark.parametrize(
    ("stream", "type"),
    [("saga-trip-1", cls.event_type) for cls in SAGA_EVENTS] + [("revoked-1", "CommandRevoked")],
)
def test_what_only_looks_like_the_event_of_a_saga_is_an_event(
    lab: Lab, stream: str, type: str
) -> None:
    lab.store.append(stream, [NewEvent(type, {"step": None, "attempt": "many"})])
    assert lab.flow(event=1).df["kind"].tolist() == ["event"]


def test_of_nothing_but_notes_these_are_the_flow(lab: Lab) -> None:
    lab.append("saga-trip-1", [TimerCancelled(timer="overdue")])
    flow = lab.flow(event=1)
    assert flow.df["name"].tolist() == ["TimerCancelled"]
    assert flow.notes == 0


def test_a_command_that_a_saga_recorded_without_its_type_is_a_command(lab: Lab) -> None:
    sent = CommandSent(command_id=event_id(5), command={}, number=1)
    failed = CommandFailed(command_id=event_id(5), attempt=10**9, error="no", final=True)
    lab.append("saga-trip-1", [sent, failed], metadata=Metadata(correlation_id="talk"))
    flow = lab.flow(event=1)
    assert flow.df["name"].tolist() == ["command"] * 3
    assert flow.df["attempt"].tolist() == [1, 10**9, 10**9]
