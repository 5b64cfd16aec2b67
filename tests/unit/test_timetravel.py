"""Time travel: read models, and the states of all streams, as they were at any time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soak import scaled

from eslab import (
    Aggregate,
    AsOf,
    Event,
    InputError,
    Lab,
    NewEvent,
    Projection,
    ProjectionError,
    RecordedEvent,
    Row,
    Rows,
    SqlProjection,
    StreamFold,
    StreamNotFoundError,
    applies,
    on,
)
from eslab.schema import encode

START = datetime(2026, 1, 1, tzinfo=UTC)


class Deposited(Event):
    amount: int
    note: str | None = None


class Closed(Event):
    pass


class Balance(Row, key="stream_id"):
    stream_id: str
    balance: int = 0
    entries: int = 0
    latest: datetime | None = None


class InPython(Projection):
    row = Balance
    batch = 2

    @on
    def deposited(self, event: Deposited, rows: Rows[Balance], recorded: RecordedEvent) -> None:
        row = rows.ensure(stream_id=recorded.stream_id)
        row.balance += event.amount
        row.entries += 1
        row.latest = max(row.latest or recorded.occurred_at, recorded.occurred_at)


class InSql(SqlProjection):
    key = "stream_id"
    query = (
        "select stream_id, sum(amount) as balance, count(*) as entries, "
        "max(occurred_at) as latest from deposited group by stream_id"
    )
    merge: ClassVar = {"balance": "sum", "entries": "count", "latest": "max"}
    events = (Deposited,)


class Account(Aggregate):
    balance: int = 0

    @applies
    def deposited(self, event: Deposited) -> None:
        self.balance += event.amount


account = StreamFold(
    """select stream_id, version, position, amount, note, false as closed from deposited
       union all select stream_id, version, position, null, null, true from closed""",
    state={
        "balance": "sum(coalesce(amount, 0))",
        "deposits": "count(amount)",
        "least": "min(amount)",
        "most": "max(amount)",
        "opening": "first(note)",
        "note": "last(note)",
        "closed": "last(closed)",
    },
    events=(Deposited, Closed),
)

happenings = st.tuples(
    st.sampled_from(["account-1", "account-2", "account-3"]),
    st.builds(Deposited, amount=st.integers(-9, 9), note=st.none() | st.sampled_from("xyz"))
    | st.builds(Closed),
    st.integers(0, 20),
)


def fill(lab: Lab, events: Sequence[tuple[str, Event, int]]) -> None:
    for stream_id, event, hours in events:
        when = START + timedelta(hours=hours)
        lab.register(type(event))
        lab.store.append(stream_id, [encode(event, occurred_at=when)])
        lab.advance("1 min")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=7) as opened:
        fill(
            opened,
            [
                ("account-1", Deposited(amount=5), 3),
                ("account-2", Deposited(amount=7), 1),
                ("account-1", Closed(), 2),
                ("account-1", Deposited(amount=2), 2),
            ],
        )
        yield opened


@pytest.mark.soak
@settings(max_examples=scaled(15, 200), deadline=None)
@given(
    st.lists(happenings, max_size=9),
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from(["position", "recorded", "occurred"]),
)
def test_a_read_model_as_of_any_time_is_the_fold_of_what_was_there(
    events: list[tuple[str, Event, int]], applied: int, at: int, kind: str
) -> None:
    times = {
        "position": at,
        "recorded": START + timedelta(minutes=at, seconds=-1),
        "occurred": START + timedelta(hours=2 * at),
    }
    with Lab(seed=7) as lab:
        fill(lab, events[:applied])
        lab.project(InPython(), InSql())
        lab.run()
        lab.pause("in_python")
        lab.pause("in_sql")
        fill(lab, events[applied:])
        when = AsOf(**{kind: times[kind]})
        expected = by_hand(lab.store.read_all(as_of=when))
        for model in ("in_python", "in_sql", InPython(), InSql()):
            found = lab.as_of(**{kind: times[kind]}, read_model=model).df
            rows = found.astype(object).values.tolist()
            assert [(*row[:3], row[3].to_pydatetime()) for row in rows] == expected


def by_hand(events: Iterator[RecordedEvent]) -> list[tuple[Any, ...]]:
    rows: dict[str, tuple[Any, ...]] = {}
    for event in events:
        if event.type == "Deposited":
            id, moment = event.stream_id, event.occurred_at
            _, balance, entries, latest = rows.get(id, (id, 0, 0, moment))
            rows[id] = id, balance + event.data["amount"], entries + 1, max(latest, moment)
    return sorted(rows.values())


def test_only_what_is_needed_is_made_again(lab: Lab) -> None:
    lab.project(InPython(), InSql())
    lab.run()
    fill(lab, [("account-1", Closed(), 4)])
    lab.pause("in_sql")
    sources = {
        position: [
            lab.as_of(position=position, read_model=name).source for name in ("in_python", "in_sql")
        ]
        for position in (3, 4, 5, 99)
    }
    # Nobody projects the 5th event, so that the table is that of then.
    assert sources == {
        3: ["fold", "query"],
        4: ["table", "table"],
        5: ["table", "table"],
        99: ["table", "table"],
    }
    assert lab.as_of(occurred=START, read_model="in_sql").source == "query"
    changed = type("InSql", (InSql,), {"query": InSql.query.replace("sum(amount)", "sum(1)")})
    found = lab.as_of(position=4, read_model=changed())
    assert (found.source, found.df["balance"].tolist()) == ("query", [2, 1])
    assert repr(found) == "<PastReadModel in_sql as of position 4: 2 rows, by a query>"


def test_rows_are_the_same_wherever_they_come_from(lab: Lab) -> None:
    columns = (
        "sum(amount) as total, max(event_id) as id, max(occurred_at) as latest, max(note) as n"
    )
    rules = {"total": "sum", "id": "max", "latest": "max", "n": "max"}
    query = f"select {columns}, stream_id from deposited group by stream_id"  # its key comes last
    odd = type("Odd", (InSql,), {"query": query, "merge": rules})()
    lab.project(odd)
    lab.run()
    held = lab.as_of(position=4, read_model="odd")
    fill(lab, [("account-1", Deposited(amount=9), 1)])
    lab.run()
    made = lab.as_of(position=4, read_model="odd")
    assert (held.source, made.source) == ("table", "query")
    assert held.df["stream_id"].tolist() == ["account-1", "account-2"]
    assert held.df.equals(made.df)


def test_the_rest_of_a_lab_can_be_asked_of_then(lab: Lab) -> None:
    past = lab.as_of(position=1)
    assert [event.position for event in past.events()] == [1]
    assert past.load(Account, "1").balance == 5
    assert past.read_model(InSql()).df["balance"].tolist() == [5]
    assert past.states(account).fetchall()[0][:4] == ("account-1", 1, 1, 5)
    with pytest.raises(StreamNotFoundError):
        past.load(Account, "2")
    with pytest.raises(InputError, match="there is no projection 'in_sql'"):
        past.read_model("in_sql")
    with pytest.raises(InputError, match="takes one of position"):
        lab.as_of(position=1, recorded=START)


@pytest.mark.soak
@settings(max_examples=scaled(15, 200), deadline=None)
@given(st.lists(happenings, max_size=12), st.integers(0, 12))
def test_the_states_of_all_streams_are_the_folds_of_their_events(
    events: list[tuple[str, Event, int]], until: int
) -> None:
    with Lab(seed=7) as lab:
        fill(lab, events)
        after_each = states_by_hand(events[:until])
        found = lab.states(account, as_of=AsOf(position=until), every=True).fetchall()
        assert found == after_each
        last = {row[0]: row for row in after_each}
        expected = sorted(last.values(), key=lambda row: row[2])
        assert lab.states(account, as_of=AsOf(position=until)).fetchall() == expected
        if until >= len(events):
            assert lab.states(account, every=True).fetchall() == found


def states_by_hand(events: Sequence[tuple[str, Event, int]]) -> list[tuple[Any, ...]]:
    """Return the state after each event by another way: in Python, one event at a time."""
    found: list[tuple[Any, ...]] = []
    streams: dict[str, list[Event]] = {}
    for position, (stream_id, event, _) in enumerate(events, start=1):
        stream = streams.setdefault(stream_id, [])
        stream.append(event)
        deposits = [each for each in stream if isinstance(each, Deposited)]
        amounts = [each.amount for each in deposits]
        notes = [each.note for each in deposits if each.note is not None] or [None]
        least, most = (min(amounts), max(amounts)) if amounts else (None, None)
        state = sum(amounts), len(amounts), least, most, notes[0], notes[-1]
        found.append((stream_id, len(stream), position, *state, isinstance(event, Closed)))
    return found


@pytest.mark.parametrize(
    ("rows", "state", "words"),
    [
        (" ", "sum(amount)", "rows is one SELECT"),
        ("select * from deposited", "avg(amount)", "one of sum"),
        ("select * from deposited", "sum(nothing)", "cannot be asked for.*nothing"),
        ("select * from deposited", "sum(amount::double)", "sum of floats"),
        ("select amount from deposited", "sum(amount)", "gives stream_id"),
        ("select * from deposited order by amount limit 1", "sum(amount)", "limited"),
        ("select * from closed", "count(*)", "reads 'closed'"),
        ("select * from deposited", "sum(amount) + count(note)", "'value' is more than one rule"),
        ("select * from deposited", "sum(amount), count(note)", "more columns than"),
        ("select * from deposited", "min(amount, 2)", "'value' is more than one rule"),
        ("select * from deposited", "max(now())", "uses now"),
        ("select * from deposited", "sum((select count(*) from deposited))", "subquery"),
    ],
)
def test_a_fold_of_streams_that_cannot_be_is_refused(
    lab: Lab, rows: str, state: str, words: str
) -> None:
    with pytest.raises(ProjectionError, match=f"(?s){words}"):
        lab.states(StreamFold(rows, state={"value": state}, events=(Deposited,)))


def test_an_event_that_does_not_fit_its_class_is_named_and_not_left_out(lab: Lab) -> None:
    lab.store.append("account-1", [NewEvent("Deposited", {"amount": "much"})])
    for ask in (
        lambda **at: lab.as_of(**at, read_model=InSql()),
        lambda **at: lab.as_of(**at).states(account),
        lambda **at: lab.as_of(**at).states(account, every=True),
    ):
        with pytest.raises(ProjectionError, match="position 5 does not fit its class: amount"):
            ask(position=5)
        with pytest.raises(ProjectionError, match="position 5"):
            ask(occurred=datetime(2030, 1, 1, tzinfo=UTC))
        ask(position=4)
        ask(occurred=START)
