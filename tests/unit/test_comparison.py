"""lab.compare: two projections make the same rows, or differ from exactly one event on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soak import scaled

from eslab import Event, InputError, Lab, Projection, Row, Rows, SqlProjection, on
from eslab.interop.flights import (
    DelayByAirportHour,
    DelayByAirportHourSql,
    import_week,
    week_source,
)
from eslab.projections import AnyProjection


class Paid(Event):
    customer: str
    amount: int
    faulty: bool = False


class Total(Row, key="customer"):
    customer: str
    total: int = 0


class InPython(Projection):
    row = Total

    @on
    def paid(self, event: Paid, rows: Rows[Total]) -> None:
        rows.ensure(customer=event.customer).total += event.amount


class Faulty(Projection):
    row = Total
    batch = 3

    @on
    def paid(self, event: Paid, rows: Rows[Total]) -> None:
        rows.ensure(customer=event.customer).total += event.amount + event.faulty


class InSql(SqlProjection):
    key = "customer"
    query = "select customer, sum(amount) as total from paid group by customer"
    merge: ClassVar = {"total": "sum"}
    events = (Paid,)


class Recomputed(SqlProjection):
    key = "customer"
    query = InSql.query
    events = (Paid,)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=7) as opened:
        yield opened


def pay(lab: Lab, *customers: str, faulty: int | None = None) -> None:
    for number, customer in enumerate(customers, start=1):
        lab.append("order-1", [Paid(customer=customer, amount=number, faulty=number == faulty)])


@pytest.mark.soak
@settings(max_examples=scaled(10, 100), deadline=None)
@given(
    faulty=st.integers(1, 30),
    batch=st.integers(1, 40),
    sides=st.permutations([Faulty(), InSql()]) | st.permutations([Faulty(), Recomputed()]),
)
def test_a_fault_at_any_event_is_found_exactly_there(
    faulty: int, batch: int, sides: list[AnyProjection]
) -> None:
    with Lab(seed=7) as lab:
        pay(lab, *"abc" * 10, faulty=faulty)
        found = lab.compare(*sides, batch=batch, progress=False)
        assert not found
        assert found.position == faulty
        assert found.event == next(lab.store.read_all(after=faulty - 1))
        row = found.differences.iloc[0]
        values = {sides[0].name: row["left"], sides[1].name: row["right"]}
        assert len(found.differences) == 1
        assert values["faulty"] == 1 + next(v for k, v in values.items() if k != "faulty")
        assert row["key"] == "abc"[(faulty - 1) % 3]
        assert lab.compare(*sides, until=faulty - 1, batch=batch, progress=False).equal


def test_projections_in_python_and_in_sql_make_the_same_rows_of_flights(lab: Lab) -> None:
    import_week(lab.store, progress=False)
    pair = DelayByAirportHour(), DelayByAirportHourSql()
    assert lab.compare(*pair, batch=5_000, progress=False)
    lab.project(*pair)
    lab.run()
    rows = [lab.sql(f"from {each.name} order by all").fetchall() for each in pair]
    assert rows[0] == rows[1]
    source = duckdb.sql(
        "select origin, sched_dep_time // 100 as hour, count(dep_delay), "
        "coalesce(sum(dep_delay), 0)::bigint, count(*) - count(dep_delay) "
        f"from '{week_source().flights}' group by all order by all"
    )
    assert rows[0] == source.fetchall()


def test_a_row_that_only_one_of_them_has_is_a_difference(lab: Lab) -> None:
    class Some(InSql):
        query = "select customer, sum(amount) as total from paid where customer <> 'b' group by all"

    pay(lab, *"aabc")
    found = lab.compare(InSql(), Some(), progress=False)
    assert found.position == 3
    assert found.differences.values.tolist() == [["in_sql", "b", "total", 3, None, "left"]]
    assert "equal up to position 2; they differ from <Paid order-1 v3 @3> on" in repr(found)


def test_rows_may_differ_before_the_first_event(lab: Lab) -> None:
    class Always(InSql):
        query = "select 'all' as customer, count(*)::bigint as total from paid"
        merge: ClassVar = "recompute"

    class Grouped(Always):
        query = f"{Always.query} having count(*) > 0"

    pay(lab, *"ab")
    found = lab.compare(Always(), Grouped(), progress=False)
    assert (found.position, found.event) == (0, None)
    assert found.differences.values.tolist() == [["always", "all", "total", 0, None, "left"]]
    assert "they differ from the beginning on, in 1 value" in repr(found)


def test_nothing_of_the_read_models_that_are_kept_up_to_date_is_touched(lab: Lab) -> None:
    lab.project(InPython(), InSql())
    pay(lab, *"abc")
    lab.run()
    pay(lab, *"abc")
    tables = "select schema_name, table_name from duckdb_tables() order by all"
    before = [lab.sql(q).fetchall() for q in (tables, "from in_sql", "from checkpoints")]
    assert lab.compare(InPython(), InSql(), batch=2, progress=False)
    assert [lab.sql(q).fetchall() for q in (tables, "from in_sql", "from checkpoints")] == before
    lab.run()
    assert lab.sql("select sum(total) from in_sql").scalar() == 12


def test_what_has_other_columns_or_keys_cannot_be_compared(lab: Lab) -> None:
    class Counted(InSql):
        query = "select customer, count(*) as payments from paid group by customer"
        merge: ClassVar = {"payments": "count"}

    class ByTotal(InSql):
        key = "total"
        query = "select max(customer) as customer, amount as total from paid group by amount"
        merge: ClassVar = {"customer": "max"}

    class AsText(InSql):
        query = "select customer, max(amount::varchar) as total from paid group by customer"
        merge: ClassVar = {"total": "max"}

    with pytest.raises(InputError, match="only one of them has payments, total"):
        lab.compare(InPython(), Counted(), progress=False)
    with pytest.raises(InputError, match="same key; found customer and total"):
        lab.compare(InPython(), ByTotal(), progress=False)
    with pytest.raises(InputError, match="'total' is a BIGINT and a VARCHAR"):
        lab.compare(InSql(), AsText(), progress=False)
    with pytest.raises(InputError, match="takes projections"):
        lab.compare(InPython(), "in_sql", progress=False)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="batch is a number"):
        lab.compare(InPython(), InSql(), batch=0, progress=False)
    for until in (-1, True, "3"):
        with pytest.raises(InputError, match="until is a position"):
            lab.compare(InPython(), InSql(), until=until, progress=False)  # type: ignore[arg-type]
