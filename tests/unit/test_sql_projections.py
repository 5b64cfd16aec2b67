"""Projections in SQL: batch by batch they make the rows that their query makes of all events."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field
from soak import scaled

from eslab import (
    Event,
    Lab,
    NewEvent,
    ProjectionError,
    RegistrationError,
    SqlProjection,
    StoreError,
)
from eslab.errors import EventFailedError
from eslab.projections import plan
from eslab.projections.base import NotReadError
from eslab.store.duckdb.transaction import DuckDBTransaction
from eslab.store.port import Recent
from eslab.subscriptions import Batch


class Paid(Event):
    customer: str
    amount: int | None = None
    price: Decimal = Decimal(0)


class Refunded(Event):
    customer: str
    amount: int


class Noise(Event):
    pass


ALL = """
select customer, sum(amount) as total, count(*) as entries, count(amount) as known,
       min(amount) as least, max(amount) as most, sum(price) as price,
       arg_min(amount, position) as oldest, arg_max(amount, position) as newest,
       bool_or(refund) as refunded
from (select customer, amount, price, position, false as refund from paid
      union all
      select customer, -amount, 0, position, true from refunded)
group by customer -- one row for each
;"""


class Everything(SqlProjection):
    key = "customer"
    query = ALL
    merge: ClassVar = {
        "total": "sum",
        "entries": "count",
        "known": "sum",
        "least": "min",
        "most": "max",
        "price": "sum",
        "oldest": "first",
        "newest": "last",
        "refunded": "max",
    }
    events = (Paid, Refunded)


class Recomputed(SqlProjection):
    key = "customer"
    query = ALL
    events = (Paid, Refunded)


def by_hand(events: Sequence[Event]) -> list[tuple[Any, ...]]:
    """Return the rows of these queries by another way: from the events, in Python."""
    rows = []
    for customer in sorted({e.customer for e in events if isinstance(e, (Paid, Refunded))}):
        own = [e for e in events if isinstance(e, (Paid, Refunded)) and e.customer == customer]
        amounts = [-e.amount if isinstance(e, Refunded) else e.amount for e in own]
        known = [amount for amount in amounts if amount is not None]
        first, last = (known[0], known[-1]) if known else (None, None)
        price = sum((e.price for e in own if isinstance(e, Paid)), Decimal(0))
        least, most = (min(known), max(known)) if known else (None, None)
        total = sum(known) if known else None
        refunded = any(isinstance(e, Refunded) for e in own)
        rows.append(
            (customer, total, len(own), len(known), least, most, price, first, last, refunded)
        )
    return rows


def held(lab: Lab, name: str) -> list[tuple[Any, ...]]:
    return lab.sql(f"from rm.{name} order by all").fetchall()


customers = st.sampled_from(["Ann", "Bob", "Cid"])
happenings = st.one_of(
    st.builds(
        Paid,
        customer=customers,
        amount=st.none() | st.integers(-5, 5),
        price=st.decimals(-99, 99, places=2),
    ),
    st.builds(Refunded, customer=customers, amount=st.integers(-5, 5)),
    st.builds(Noise),
)


@pytest.mark.soak
@settings(max_examples=scaled(12, 200), deadline=None)
@given(st.lists(st.lists(happenings, max_size=4), max_size=5), st.integers(1, 4))
def test_any_split_into_batches_gives_the_rows_of_the_query_over_all_events(
    parts: list[list[Event]], batch: int
) -> None:
    kinds = [
        type(cls.__name__, (cls,), {"batch": batch, "name": cls.name})()
        for cls in (Everything, Recomputed)
    ]
    with Lab(seed=7) as lab:
        lab.project(*kinds)
        for number, events in enumerate(parts):
            if events:
                lab.append(f"order-{number}", events)
            lab.run()
        expected = by_hand([event for events in parts for event in events])
        assert held(lab, "everything") == expected
        assert held(lab, "recomputed") == expected


def test_a_rule_that_merges_wrongly_is_found_by_comparing_it_with_the_query_recomputed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Lab(seed=7) as lab:
        lab.append("order-1", [Paid(customer="Ann", amount=n) for n in (1, 7, 9, 3)])
        small = type("Everything", (Everything,), {"batch": 2})()
        assert lab.compare(small, Recomputed(), progress=False)
        monkeypatch.setattr(plan, "MERGED", {**plan.MERGED, "max": plan.MERGED["min"]})
        found = lab.compare(small, Recomputed(), progress=False)
        assert (found.equal, found.position) == (False, 3)
        assert found.differences[["key", "column", "left", "right"]].values.tolist() == [
            ["Ann", "most", 7, 9]
        ]


def test_a_query_over_json_makes_the_same_rows_and_filters_hold_for_both() -> None:
    class Typed(SqlProjection):
        key = "customer"
        query = "select customer, sum(amount) as total from paid group by customer"
        merge: ClassVar = {"total": "sum"}
        events = (Paid,)
        category = "order"

    class Json(Typed):
        name = "json_totals"
        query = (
            "select data->>'$.customer' as customer, sum((data->>'$.amount')::bigint) as total "
            "from events where type <> 'Nothing' group by all"
        )

    with Lab(seed=7) as lab:
        lab.project(Typed(), Json())
        lab.append("order-1", [Paid(customer="Ann", amount=1), Refunded(customer="Ann", amount=9)])
        lab.append("other-1", [Paid(customer="Ann", amount=50)])
        lab.run()
        lab.append("order-2", [Paid(customer="Ann", amount=2), Paid(customer="Bob", amount=4)])
        lab.run()
        assert held(lab, "typed") == held(lab, "json_totals") == [("Ann", 3), ("Bob", 4)]
        counts = lab.sql("select sum(count) from checkpoint_log group by projection").fetchall()
        assert counts == [(3,), (3,)]


def test_only_events_with_its_tags_are_seen() -> None:
    class Urgent(Everything):
        tags = ("urgent",)

    with Lab(seed=7) as lab:
        lab.project(Urgent())
        data = {"customer": "Ann", "amount": 1, "price": "0"}
        lab.store.append("order-1", [NewEvent("Paid", data, tags=["urgent"])])
        lab.store.append("order-1", [NewEvent("Paid", data), NewEvent("Paid", {"odd": 1})])
        lab.run()
        assert lab.sql("select customer, entries from urgent").fetchall() == [("Ann", 1)]


def test_it_stops_at_an_event_that_does_not_fit_its_class_and_not_before() -> None:
    with Lab(seed=7) as lab:
        lab.project(Everything())
        fits = {"customer": "Ann", "amount": 1, "price": "0"}
        lab.store.append("order-1", [NewEvent("Paid", fits)] * 2)
        lab.store.append("order-1", [NewEvent("Paid", {**fits, "amount": "many"})])
        lab.store.append("order-1", [NewEvent("Paid", fits)])
        with pytest.raises(EventFailedError, match=r"order-1 v3 @3.*amount"):
            lab.run()
        assert lab.sql("select total from everything").fetchall() == [(2,)]
        assert lab.sql("select position from checkpoints").scalar() == 2
        assert lab.projections.df["status"].tolist() == ["stopped"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select customer, avg(amount) as total from paid group by 1", "an average"),
        ("select customer, max(amount) as total from paid group by 1", r"is max\(\)"),
        ("select customer, sum(distinct amount) as total from paid group by 1", "is distinct"),
        (("select customer, sum(a.amount) as total from paid a join refunded b using (customer) "
         "group by 1"), "joins events with events"),
        ("select customer, sum(amount) as total from paid group by 1 having total > 3", "having"),
        ("select customer, sum(amount) as total from paid group by 1 limit 3", "limit"),
        ("select customer, sum(amount) as total from paid group by 1, version", "than its key"),
        ("select lower(customer) as customer, sum(amount) as total from paid group by customer",
         "called like an expression"),
        ("select customer, sum(amount) as total from (select distinct * from paid) group by 1",
         "distinct or limited"),
        (("select customer, sum(amount) as total from (select customer, max(amount) as amount "
         "from paid group by 1) group by 1"), "groups"),
        (("select customer, sum(amount) as total from (from paid union from paid) "
         "group by 1"), "only union all"),
        (("select customer, sum(amount) as total from paid where customer in (select customer from "
         "refunded) group by 1"), "subquery"),
        (("select customer, sum(amount) as total from (values ('Ann')) v(customer) left join paid "
         "using (customer) group by 1"), "no event"),
        ("select customer, sum(amount::double) as total from paid group by 1", "sum of floats"),
        ("select customer, sum(amount) as other from paid group by 1", "gives no 'total'"),
        ("select customer, sum(amount) as total, count(*) as n from paid group by 1", "'n' has no"),
        ("select upper(customer) as name, sum(amount) as total from paid group by 1", "'customer'"),
        ("select customer, sum(amount) as total from paid where now() > occurred_at group by 1",
         "uses now"),
        (("select customer, sum(amount) as total from paid where occurred_at < current_date "
         "group by 1"), "uses current_date"),
        ("select customer, sum(amount * random()) as total from paid group by 1", "uses random"),
        ("select customer, sum(amount) as total from ev.paid group by 1", "without a schema"),
        ("select customer, sum(amount) as total from noise group by 1", "reads 'noise'"),
        ("select customer, sum(amount) as total from checkpoints group by 1", "'checkpoints'"),
        ("select customer, sum(amount) as total from read_csv('x.csv') group by 1", "read"),
        ("with paid as (select 1) select customer, sum(amount) as total from paid group by 1",
         "another name"),
        ("select customer, sum(amount) as total from paid where customer = $1 group by 1",
         "parameter"),
        ("select customer, sum(nothing) as total from paid group by 1", "cannot be run.*nothing"),
        ("select max(customer) as customer, sum(amount) as total from paid group by all",
         "key is an aggregate"),
        (("select customer, sum(amount) as total from (select 'Ann' as customer, "
         "geomean(amount)::int as amount from paid) group by 1"), "groups what was grouped"),
        (("select customer, sum(amount) as total from paid join (values (1)) v(x) on amount >= "
         "(select max(amount) from paid) group by 1"), "subquery"),
        (("select customer, sum(x) as total from paid, (values ((select max(amount) from paid))) "
         "v(x) group by 1"), "subquery"),
        (("select customer, sum(x) as total from paid, range((select count(*) from paid)) v(x) "
         "group by 1"), "subquery"),
        (("with a as (from paid), b as (from a) select p.customer, sum(amount) as total from paid "
         "p join (with a as (values ('Ann')) select customer from b) using (customer) group by 1"),
         "have one name"),
        ("select customer collate nocase as customer, sum(amount) as total from paid group by 1",
         "collation"),
        ("select customer, sum(columns('amount')) as total from paid group by 1", r"selects \*"),
        ("select [customer] as customer, sum(amount) as total from paid group by 1",
         r"VARCHAR\[\], and that cannot be in the key"),
        (("select customer, sum(epoch(age(occurred_at::timestamp))::int) as total from paid "
          "group by 1"), "age of one time"),
        (("select customer, sum(date_part('year', ago(interval 1 day))) as total from paid "
         "group by 1"), "uses ago"),
        ("select customer, amount as total from paid limit 3", "limit without order by"),
        (("select customer, sum(n) as total from (select customer, row_number() over () as n "
         "from paid) group by 1"), r"row_number\(\) takes rows in no order"),
        ("delete from paid", "one SELECT"),
        ("select 1; select 2", "several statements"),
        ("selekt", "parse|SELECT"),
    ],
)  # fmt: skip
def test_a_query_that_would_give_other_rows_batch_by_batch_is_refused(
    query: str, words: str
) -> None:
    refused = type("Refused", (Everything,), {"query": query, "merge": {"total": "sum"}})
    with Lab(seed=7) as lab, pytest.raises(ProjectionError, match=f"(?s)Refused: .*({words})"):
        lab.project(refused())


@pytest.mark.parametrize(
    "source",
    [
        "(select customer, amount, -position as position from paid)",
        "(select customer, amount, amount as position from paid)",
        "(select customer, amount, unnest({'position': amount}) from paid)",
        "(select * replace (amount as position) from paid)",
        "(select customer, amount, version from paid) t(customer, amount, position)",
        """(select customer, amount, position from paid
            union all select customer, position, amount from refunded)""",
        "(select p.customer, v.* from paid p, (values (3, 1)) v(amount, position))",
    ],
)
def test_what_is_only_called_position_does_not_say_which_event_is_the_last(source: str) -> None:
    query = f"select customer, arg_max(amount, position) as total from {source} group by customer"
    odd = type("Odd", (Everything,), {"query": query, "merge": {"total": "last"}})
    with Lab(seed=7) as lab, pytest.raises(ProjectionError, match="order it by position"):
        lab.project(odd())


def test_a_part_of_a_column_that_is_called_position_is_not_that_of_the_event() -> None:
    query = """select customer, arg_max(amount, item.position) as total
               from (select customer, amount, position, {'position': amount} as item from paid)
               group by customer"""
    odd = type("Odd", (Everything,), {"query": query, "merge": {"total": "last"}})
    with Lab(seed=7) as lab, pytest.raises(ProjectionError, match="order it by position"):
        lab.project(odd())


@pytest.mark.parametrize(
    "query",
    [
        "select customer, arg_max(amount, p.POSITION) as total from paid p group by 1",
        "select customer, arg_max(amount, position) as total from (from paid) group by 1",
        """with taken as (select position, customer, amount from paid union all by name
                          select customer, -amount as amount, position from refunded)
           select customer, arg_max(amount, taken.position) as total from taken group by all""",
        """select customer, arg_max(amount, position) as total
           from (select p.*, word from paid p, unnest(['a', 'b']) w(word)) where word = 'a'
           group by customer""",
        """select customer, arg_max(amount, position) as total
           from paid semi join (values ('Ann')) v(customer) using (customer) group by all""",
        """select upper(customer) as customer, arg_max(nullif(amount, 1), position) as total
           from paid anti join (values ('Bob')) v(customer) using (customer) group by all""",
    ],
)
def test_what_takes_events_one_by_one_in_another_way_of_writing_is_merged(query: str) -> None:
    changes = {"query": query, "merge": {"total": "last"}, "batch": 2}
    merged = type("Merged", (Everything,), changes)()
    whole = type("Whole", (Everything,), {**changes, "merge": "recompute"})()
    with Lab(seed=7) as lab:
        for number, name in enumerate(("Ann", "Bob", "Ann", "Cid", "Ann", "Ann")):
            lab.append("order-1", [Paid(customer=name, amount=5 - number)])
            lab.append("order-2", [Refunded(customer=name, amount=number)])
        assert lab.compare(merged, whole, batch=1, progress=False)
        assert len(lab.as_of(position=12, read_model=merged).df) > 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"query": " ; "}, "needs query"),
        ({"query": None}, "needs query"),
        ({"key": ()}, "needs key"),
        ({"key": ("a", "a")}, "needs key"),
        ({"events": ()}, "needs events"),
        ({"events": (int,)}, "needs events"),
        ({"merge": {"total": "avg"}}, "an average is a sum and a count"),
        ({"merge": {"customer": "max"}}, "in the key"),
        ({"merge": "sum"}, "a rule for each column"),
        ({"name": "events"}, "in small letters"),
        ({"batch": 0}, "batch is a number"),
        ({"on_error": "dead-letter"}, "in SQL stops it"),
    ],
)
def test_a_definition_that_cannot_be_is_refused_at_once(
    wrong: Mapping[str, Any], words: str
) -> None:
    with pytest.raises(ProjectionError, match=words):
        type("Wrong", (Everything,), dict(wrong))


NO_NAME = "select nullif(customer, '') as customer, sum(amount) as total from paid group by all"


@pytest.fixture
def filled() -> Iterator[Lab]:
    with Lab(seed=7) as lab:
        lab.append("order-1", [Paid(customer="Ann", amount=1), Paid(customer="", amount=2)])
        yield lab


@pytest.mark.parametrize(
    ("query", "merge"),
    [
        (NO_NAME, "recompute"),
        (NO_NAME, {"total": "sum"}),
        ("select lower('X') as customer, sum(amount) as total from paid group by customer",
         "recompute"),
    ],
)  # fmt: skip
def test_it_stops_at_the_event_whose_key_is_null_or_of_several_rows(
    filled: Lab, query: str, merge: Any
) -> None:
    odd = type("Odd", (Everything,), {"query": query, "merge": merge})()
    filled.project(odd)
    with pytest.raises(EventFailedError, match=r"order-1 v2 @2.*a key \(customer\) is never NULL"):
        filled.run()
    assert filled.sql("select total from odd").fetchall() == [(1,)]
    assert filled.sql("select position from checkpoints").scalar() == 1


def test_rows_that_events_are_joined_with_may_always_be_the_same(filled: Lab) -> None:
    class Lines(SqlProjection):
        key = "name"
        query = """
            with names as (from (values ('Ann', 'Anna')) v(customer, name))
            select name, sum(amount) as total from paid join names using (customer) group by name"""
        merge: ClassVar = {"total": "sum"}
        events = (Paid,)

    filled.project(Lines())
    filled.run()
    filled.append("order-2", [Paid(customer="Ann", amount=4)])
    filled.run()
    assert held(filled, "lines") == [("Anna", 5)]


def test_another_query_or_rule_or_class_makes_the_read_model_anew(filled: Lab) -> None:
    prints = {Everything.fingerprint(), Recomputed.fingerprint()}
    prints.add(type("Everything", (Everything,), {"query": ALL + " "}).fingerprint())
    assert len(prints) == 2  # what is only written in another way is the same
    prints.add(type("Everything", (Everything,), {"query": "select 1 as customer"}).fingerprint())
    prints.add(type("Everything", (Everything,), {"tags": ("x",)}).fingerprint())
    newer = type("Paid", (Paid,), {"__annotations__": {"more": int}, "more": Field(0)})
    assert newer.event_type == "Paid"
    prints.add(type("Everything", (Everything,), {"events": (newer, Refunded)}).fingerprint())
    assert len(prints) == 5
    filled.project(Everything())
    filled.run()
    changed = type("Everything", (Everything,), {"query": ALL.replace("sum(amount)", "sum(7)")})
    filled.project(changed())
    filled.run()
    assert filled.sql("select sum(total) from everything").scalar() == 14


@pytest.mark.parametrize("merge", ["recompute", {"total": "sum"}])
def test_its_name_may_be_a_word_of_sql(filled: Lab, merge: Any) -> None:
    query = "select customer, sum(amount) as total from paid group by customer"
    order = type("Order", (Everything,), {"query": query, "merge": merge})()
    filled.project(order)
    filled.run()
    filled.append("order-1", [Paid(customer="Ann", amount=4)])
    filled.run()
    filled.rebuild("order", progress=False)
    assert held(filled, '"order"') == [("", 2), ("Ann", 5)]
    assert filled.as_of(position=3, read_model="order").source == "table"


def test_rows_that_a_query_makes_of_no_event_are_there_before_the_first(filled: Lab) -> None:
    class Whole(SqlProjection):
        key = "name"
        query = "select 'all' as name, count(*) as entries from refunded"
        events = (Refunded,)

    filled.project(Whole())
    filled.run()
    assert held(filled, "whole") == [("all", 0)]
    filled.append("order-1", [Refunded(customer="Ann", amount=4)])
    filled.run()
    assert held(filled, "whole") == [("all", 1)]
    assert filled.as_of(position=2, read_model="whole").df.values.tolist() == [["all", 0]]
    filled.reset("whole", to=2, progress=False)
    assert held(filled, "whole") == [("all", 0)]


def test_rows_of_no_event_that_cannot_be_stored_are_refused(filled: Lab) -> None:
    query = "select max(customer) as customer, count(*) as entries from paid"
    odd = type("Odd", (Recomputed,), {"query": query})()
    with pytest.raises(ProjectionError, match="Odd: what its query makes of no event"):
        filled.project(odd)


def test_its_table_cannot_have_the_name_of_an_event_type(filled: Lab) -> None:
    clash = type("Noisy", (Everything,), {"name": "paid"})()
    with pytest.raises(RegistrationError, match="the table 'paid'"):
        filled.project(clash)


def test_a_rebuild_and_a_reset_make_the_same_rows(filled: Lab) -> None:
    filled.project(Everything(), Recomputed())
    filled.run()
    filled.append("order-2", [Refunded(customer="Ann", amount=4)])
    filled.run()
    expected = held(filled, "everything")
    for name in ("everything", "recomputed"):
        filled.rebuild(name, progress=False)
        assert held(filled, name) == expected
        filled.reset(name, to=1, progress=False)
        assert filled.sql(f"select sum(entries) from {name}").scalar() == 1
    filled.run()
    assert held(filled, "everything") == held(filled, "recomputed") == expected


def test_beside_appends_and_readers_on_threads_each_event_counts_once() -> None:
    with Lab() as lab:
        lab.project(Everything(), Recomputed())
        lab.start()

        def append(number: int) -> None:
            for amount in range(25):
                lab.append(f"order-{number}", [Paid(customer="Ann", amount=amount)])

        threads = [threading.Thread(target=append, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            pair = lab.sql("select l.total, r.total from everything l, recomputed r").fetchall()
            assert len(pair) <= 1
        for thread in threads:
            thread.join()
        lab.stop()
        lab.run()
        assert held(lab, "everything") == held(lab, "recomputed")
        assert lab.sql("select total, entries from everything").fetchall() == [(1_200, 100)]


@pytest.mark.parametrize(
    ("projection", "reason"),
    [
        (Recomputed(), "reach position 2, and the batch 3"),
        (Everything(), "not all are proven"),
    ],
)
def test_what_was_not_read_is_never_applied_as_if_there_was_nothing(
    filled: Lab, projection: SqlProjection, reason: str
) -> None:
    name = projection.name
    filled.project(projection)
    filled.run()
    applier = projection.applier(filled.store, filled.registry, {name: f"rm.{name}"})

    def apply() -> None:
        with filled.store.transaction() as transaction:
            transaction.execute("from eslab.store_info")  # it sees the log of this moment
            filled.append("order-2", [Paid(customer="Ann", amount=5)])
            applier.apply(transaction, Batch([], 2, 3, 3, counted=1))

    with pytest.raises(NotReadError, match=reason):
        apply()


@pytest.mark.parametrize(
    "query",
    [
        "select customer, count(*) as total from paid where customer = 'nobody' group by all",
        "select customer, count(*) as total from paid where position < 0 group by all",
        "select customer, count(*) as total from paid where false group by all",
        "select 'all' as customer, count(*) as total from paid group by all",
    ],
)
def test_it_stops_at_a_recent_event_that_does_not_fit_though_its_query_does_not_look_at_it(
    filled: Lab, query: str
) -> None:
    filled.project(type("Odd", (Everything,), {"query": query, "merge": {"total": "sum"}})())
    filled.run()
    before = filled.sql("from odd").fetchall()
    filled.store.append("order-1", [NewEvent("Paid", {"customer": "Ann", "amount": "many"})])
    with pytest.raises(EventFailedError, match=r"order-1 v3 @3.*amount"):
        filled.run()
    assert filled.sql("from odd").fetchall() == before
    assert filled.sql("select position from checkpoints").scalar() == 2


def test_what_sql_cannot_prove_of_recent_events_comes_from_their_table(filled: Lab) -> None:
    filled.project(Everything(), Recomputed())
    filled.run()
    for price in ("1.5", 3, "2.5"):  # the number is no text, as the class would have written it
        data = {"customer": "Ann", "amount": 1, "price": price}
        filled.store.append("order-1", [NewEvent("Paid", data)])
        filled.run()
    assert held(filled, "everything") == held(filled, "recomputed")
    assert filled.sql("select price from everything where customer = 'Ann'").scalar() == 7


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("statement", ["merge", "update eslab.checkpoints", "insert into eslab"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, StoreError])
def test_a_step_that_is_cut_off_at_any_write_is_taken_once(
    filled: Lab,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
    when: str,
    error: type[BaseException],
) -> None:
    filled.project(Everything())
    filled.run()
    filled.append("order-1", [Paid(customer="Ann", amount=5)])
    execute, cut = DuckDBTransaction.execute, []

    def cut_off(self: DuckDBTransaction, text: str, *values: Any) -> Any:
        here = text.startswith(statement) and not cut
        if here and when == "before":
            cut.append(text)
            raise error("planted")
        found = execute(self, text, *values)
        if here:
            cut.append(text)
            raise error("planted")
        return found

    monkeypatch.setattr(DuckDBTransaction, "execute", cut_off)
    with suppress(KeyboardInterrupt):
        filled.run()
    assert cut
    filled.run()
    assert filled.sql(
        "select total, entries from everything where customer = 'Ann'"
    ).fetchall() == [(6, 2)]


def test_projections_are_compared_whatever_of_recent_events_sql_cannot_prove(filled: Lab) -> None:
    data = {"customer": "Ann", "amount": 1, "price": 3}
    filled.store.append("order-1", [NewEvent("Paid", data)])
    assert filled.compare(Everything(), Recomputed(), progress=False)


def test_recent_events_are_counted_before_they_are_believed_to_be_all(
    filled: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    recent, asked = filled.store.recent, []

    def one_too_many(*types: Any, **span: Any) -> Recent | None:
        found = recent(*types, **span)
        asked.append(found)
        return None if found is None else replace(found, events=found.events + 1)

    filled.project(Everything())
    filled.run()
    monkeypatch.setattr(filled.store, "recent", one_too_many)
    filled.append("order-1", [Paid(customer="Ann", amount=5)])
    filled.run()
    assert any(asked)
    assert filled.sql("select total from everything where customer = 'Ann'").scalar() == 6
