"""Projections: the read model is always the fold of the events up to its checkpoint."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ConfigDict, ValidationError, create_model

from eslab import (
    AsOf,
    Cost,
    Event,
    InputError,
    Lab,
    Projection,
    ProjectionError,
    RecordedEvent,
    RegistrationError,
    Row,
    Rows,
    on,
)
from eslab.projections import ProjectionRunner
from eslab.store.duckdb.transaction import DuckDBTransaction
from eslab.testing import given as given_rows


class Counted(Event):
    key: str
    by: int = 1


class Other(Event):
    pass


class Total(Row, key="key"):
    key: str
    total: int = 0
    last: int = 0


class Totals(Projection):
    row = Total
    batch = 2

    @on
    def counted(self, event: Counted, rows: Rows[Total], recorded: RecordedEvent) -> None:
        row = rows.ensure(key=event.key)
        row.total += event.by
        row.last = recorded.position


def fold(lab: Lab, checkpoint: int) -> list[tuple[str, int, int]]:
    """Return the read model by another way: straight from the events."""
    rows: dict[str, tuple[str, int, int]] = {}
    for event in lab.store.read_all(until=checkpoint, types=[Counted]):
        key = event.data["key"]
        total = rows.get(key, (key, 0, 0))[1] + event.data["by"]
        rows[key] = key, total, event.position
    return sorted(rows.values())


def held(lab: Lab, name: str = "totals") -> list[tuple[Any, ...]]:
    return lab.sql(f"from rm.{name} order by all").fetchall()


def checkpoint(lab: Lab, name: str = "totals") -> int:
    value = lab.sql("select position from checkpoints where projection = ?", [name]).scalar()
    assert isinstance(value, int)
    return value


def fill(lab: Lab, keys: str = "abacab") -> None:
    for key in keys:
        lab.append("counter-1", [Counted(key=key), Other()])


@pytest.fixture(params=["virtual", "wall"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with Lab(seed=7 if request.param == "virtual" else None) as opened:
        yield opened


def test_a_read_model_is_the_fold_of_the_events(lab: Lab) -> None:
    lab.project(Totals())
    fill(lab)
    lab.run()
    assert held(lab) == fold(lab, 12) == [("a", 3, 9), ("b", 2, 11), ("c", 1, 7)]
    assert checkpoint(lab) == 12
    log = lab.sql("select from_position, to_position, count, mode from checkpoint_log order by 1")
    assert log.fetchall() == [
        (0, 3, 2, "catch-up"),
        (3, 7, 2, "catch-up"),
        (7, 11, 2, "catch-up"),
        (11, 12, 0, "live"),
    ]
    lab.run()
    assert len(lab.sql("from checkpoint_log")) == 4
    fill(lab, "a")
    lab.run()
    assert held(lab) == fold(lab, 14)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(-5, 5)), max_size=5), max_size=4
    ),
    st.integers(1, 7),
    st.booleans(),
)
def test_any_batch_size_gives_the_same_rows(
    rounds: list[list[tuple[str, int]]], size: int, virtual: bool
) -> None:
    class Sized(Totals):
        name = "totals"
        batch = size

    with Lab(seed=7 if virtual else None) as lab:
        lab.project(Sized())
        for part in rounds:
            lab.append("counter-1", [Counted(key=key, by=by) for key, by in part])
            lab.run()
            assert held(lab) == fold(lab, lab.store.head())
            assert checkpoint(lab) == lab.store.head()


class Planted:
    """Raises at the n-th write of a projection, before or after it was done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
        self.error = error
        self.calls = 0
        self.at: int | None = None
        self.after = False
        for name in ("execute", "put"):
            monkeypatch.setattr(
                DuckDBTransaction, name, self._guarded(getattr(DuckDBTransaction, name))
            )

    def _guarded(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(transaction: DuckDBTransaction, *arguments: Any) -> Any:
            self.calls += 1
            fires = self.calls == self.at
            if fires and not self.after:
                raise self.error
            result = real(transaction, *arguments)
            if fires:
                raise self.error
            return result

        return call


@pytest.mark.parametrize(("after", "error"), [(False, KeyboardInterrupt), (True, RuntimeError)])
def test_an_exception_at_any_write_leaves_rows_and_checkpoint_together(
    monkeypatch: pytest.MonkeyPatch, after: bool, error: type[BaseException]
) -> None:
    plant = Planted(monkeypatch, error)
    plant.after = after
    fired = 0
    for number in itertools.count(1):
        with Lab(seed=7) as lab:
            plant.at = None
            lab.project(Totals())
            fill(lab, "aba")
            lab.run()
            fill(lab, "abc")
            plant.calls, plant.at = 0, number
            try:
                lab.run()
            except (KeyboardInterrupt, RuntimeError, ProjectionError):
                fired += 1
            plant.at = None
            assert held(lab) == fold(lab, checkpoint(lab))
            lab.project(Totals())  # what a person does after an error
            lab.run()
            assert checkpoint(lab) == lab.store.head() == 12
            assert held(lab) == fold(lab, 12)
            if plant.calls < number:
                break
    assert fired >= 6  # reads, writes of rows, the checkpoint and its log


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_an_exception_at_the_commit(monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    with Lab(seed=7) as lab:
        lab.project(Totals())
        fill(lab)
        real = lab.store.transaction
        left = [2]

        @contextmanager
        def transaction() -> Iterator[DuckDBTransaction]:
            left[0] -= 1
            with real() as opened:
                yield opened
                if left[0] == 0 and not after:
                    raise KeyboardInterrupt
            if left[0] == 0:
                raise KeyboardInterrupt

        monkeypatch.setattr(lab.store, "transaction", transaction)
        with pytest.raises(KeyboardInterrupt):
            lab.run()
        assert held(lab) == fold(lab, checkpoint(lab))
        lab.run()
        assert held(lab) == fold(lab, 12)


def test_the_comparison_with_the_fold_can_fail() -> None:
    with Lab(seed=7) as lab:
        lab.project(Totals())
        fill(lab)
        lab.run()
        with lab.store.transaction() as transaction:
            transaction.execute("update rm.totals set total = total + 1 where key = 'a'")
        assert held(lab) != fold(lab, checkpoint(lab))


def test_a_handler_that_raises_stops_its_projection_and_no_other(lab: Lab) -> None:
    class Failing(Projection):
        row = Total
        batch = 1

        @on
        def counted(self, event: Counted, rows: Rows[Total]) -> None:
            rows.ensure(key=event.key).total += 100
            if event.key == "c":
                raise ZeroDivisionError("planted")

    lab.project(Failing(), Totals())
    fill(lab)
    with pytest.raises(ProjectionError, match=r"'failing' stopped at <Counted .*@7>.*planted"):
        lab.run()
    assert held(lab, "failing") == [("a", 200, 0), ("b", 100, 0)]
    assert checkpoint(lab, "failing") == 5
    assert held(lab) == fold(lab, 12)
    lab.run()  # it was said once; the projection stands still
    assert checkpoint(lab, "failing") == 5


ROW_FAULTS = {
    "wrong type": ("number", "x"),
    "too large": ("number", 2**70),
    "no utf-8": ("text", "\ud800"),
    "naive": ("at", datetime(2013, 1, 1)),  # noqa: DTZ001 - the fault
    "too fine": ("amount", Decimal("1e-11")),
    "too big": ("amount", Decimal("1e28")),
    "NaN": ("amount", Decimal("NaN")),
    "none": ("text", None),
    "another key": ("key", "z"),
}


class Everything(Row, key=("key", "day")):
    key: str
    day: date = date(2013, 1, 1)
    number: int | None = None
    text: str = "é\0"
    at: datetime = datetime(2013, 1, 1, tzinfo=UTC)
    amount: Decimal = Decimal("1.5")
    id: UUID = UUID(int=7)
    real: float = 0.5
    yes: bool | None = None


@pytest.mark.parametrize(("field", "value"), ROW_FAULTS.values(), ids=ROW_FAULTS)
def test_a_row_that_cannot_be_stored_stops_the_projection(lab: Lab, field: str, value: Any) -> None:
    class Bad(Projection):
        row = Everything

        @on
        def counted(self, event: Counted, rows: Rows[Everything]) -> None:
            setattr(rows.ensure(key=event.key, day=date(2013, 1, 1)), field, value)

    lab.project(Bad(), Totals())
    fill(lab)
    with pytest.raises(ProjectionError):
        lab.run()
    assert held(lab, "bad") == []
    assert held(lab) == fold(lab, 12)
    lab.run()


@pytest.mark.parametrize("size", [1, 100])
def test_rows_come_back_as_they_were_stored(size: int) -> None:
    class Kept(Projection):
        row = Everything
        batch = size

        @on
        def counted(self, event: Counted, rows: Rows[Everything], _: RecordedEvent) -> None:
            day = date(2013, 1, 1)
            found = rows.get(key=event.key, day=day)
            if found is not None:
                assert found == Everything(key=event.key, number=found.number)
            row = rows.ensure(key=event.key, day=day)
            row.number = (row.number or 0) + 1

    with Lab(seed=7) as lab:
        lab.project(Kept())
        fill(lab)
        lab.run()
        counts = lab.sql("select key, number from kept order by key").fetchall()
        assert counts == sorted(Counter("abacab").items())


def wrong_use(use: Callable[[Rows[Any]], object]) -> None:
    class Wrong(Projection):
        row = Total

        @on
        def counted(self, event: Counted, rows: Rows[Total]) -> None:
            use(rows)

    with Lab(seed=7) as lab:
        lab.project(Wrong())
        fill(lab, "a")
        with pytest.raises(ProjectionError):
            lab.run()


def test_rows_are_asked_for_by_their_whole_key_in_its_types() -> None:
    wrong_use(lambda rows: rows.ensure(nobody="a"))
    wrong_use(lambda rows: rows.ensure())
    wrong_use(lambda rows: rows.get(key="a", total=1))
    wrong_use(lambda rows: rows.ensure(key=5))


def test_rows_are_for_handlers(lab: Lab) -> None:
    with pytest.raises(ProjectionError, match="handlers"):
        Rows(Total, "rm.totals").get(key="a")


def test_put_and_get(lab: Lab) -> None:
    class Putting(Projection):
        row = Total
        batch = 2

        @on
        def counted(self, event: Counted, rows: Rows[Total]) -> None:
            before = rows.get(key=event.key)
            rows.put(Total(key=event.key, total=(before.total if before else 0) + 1))

    lab.project(Putting())
    fill(lab)
    lab.run()
    assert held(lab, "putting") == [("a", 3, 0), ("b", 2, 0), ("c", 1, 0)]


def test_what_is_no_column_is_not_kept_in_silence(lab: Lab) -> None:
    class Typing(Projection):
        row = Total

        @on
        def counted(self, event: Counted, rows: Rows[Total]) -> None:
            rows.ensure(key=event.key).totl = 1  # type: ignore[attr-defined]

    lab.project(Typing())
    fill(lab, "a")
    with pytest.raises(ProjectionError, match=r"(?s)cannot be stored.*totl"):
        lab.run()
    assert held(lab, "typing") == []


def test_a_row_may_check_what_is_assigned(lab: Lab) -> None:
    class Strict(Row, key="key"):
        model_config = ConfigDict(validate_assignment=True)
        key: str
        total: int = 0

    row = Strict(key="a")
    with pytest.raises(ValidationError):
        row.total = "x"  # type: ignore[assignment]


def test_rows_are_taken_away(lab: Lab) -> None:
    class Odd(Projection):
        row = Total
        batch = 2

        @on
        def counted(self, event: Counted, rows: Rows[Total]) -> None:
            if rows.get(key=event.key) is None:
                rows.ensure(key=event.key)
            else:
                rows.delete(key=event.key)
            rows.delete(key="nobody")

    lab.project(Odd())
    fill(lab, "abacabaab")
    lab.run()
    counts = Counter("abacabaab")
    assert [key for key, _, _ in held(lab, "odd")] == sorted(k for k, n in counts.items() if n % 2)


# Several tables, and only some events.


class Customer(Row, key="name"):
    name: str
    orders: int = 0


class Order(Row, key="number", table="orders"):
    number: int
    name: str
    stream_id: str


class Ordered(Event, tags=("name",)):
    number: int
    name: str


class Shop(Projection):
    tables = Customer, Order

    @on
    def ordered(
        self,
        event: Ordered,
        recorded: RecordedEvent,
        orders: Rows[Order],
        customers: Rows[Customer],
    ) -> None:
        orders.put(Order(number=event.number, name=event.name, stream_id=recorded.stream_id))
        customers.ensure(name=event.name).orders += 1


def order(lab: Lab, *numbers: int, category: str = "order") -> None:
    for number in numbers:
        name = "Ann" if number % 3 else "Bob"
        lab.append(f"{category}-{number}", [Ordered(number=number, name=name)])


def test_a_projection_has_several_tables(lab: Lab) -> None:
    lab.project(Shop())
    order(lab, 1, 2, 3)
    lab.run()
    assert held(lab, "customer") == [("Ann", 2), ("Bob", 1)]
    assert lab.sql("select number, name from orders order by 1").fetchall() == [
        (1, "Ann"),
        (2, "Ann"),
        (3, "Bob"),
    ]
    assert checkpoint(lab, "shop") == 3
    with pytest.raises(RegistrationError, match="orders"):
        lab.project(type("Other", (Totals,), {"name": "orders", "__module__": __name__})())


def test_rows_may_be_declared_inside() -> None:
    class Inside(Projection):
        class Count(Row, key="key"):
            key: str
            count: int = 0

        row = Count

        @on
        def counted(self, event: Counted, rows: Rows[Count]) -> None:
            rows.ensure(key=event.key).count += 1

    given_rows(Counted(key="a"), of=Inside()).then_rows(Inside.Count(key="a", count=1))


def test_each_handler_takes_the_tables_that_it_names() -> None:
    def both(self: Any, event: Ordered, orders: Rows[Order], more: Rows[Total]) -> None: ...
    def none(self: Any, event: Ordered, orders: Any) -> None: ...

    for bad in (both, none):
        with pytest.raises(ProjectionError, match=r"as one of Rows\[Customer\], Rows\[Order\]"):
            type("Bad", (Projection,), {"tables": (Customer, Order), "bad": on(bad)})
    with pytest.raises(ProjectionError, match="would both be the table 'customer'"):
        type("Bad", (Shop,), {"tables": (Customer, create_model("Customer", __base__=Customer))})
    for bad_tables in ((), (Customer, Ordered), Ordered):
        with pytest.raises(ProjectionError, match="subclass"):
            type("Bad", (Shop,), {"tables": bad_tables})
    with pytest.raises(ProjectionError, match=r"row = .* and tables"):
        type("Bad", (Shop,), {"row": Order})


@pytest.mark.parametrize(
    "filters",
    [
        {"category": "order"},
        {"tags": ("name:Bob",)},
        {"tags": "name:Bob", "category": "order"},
        {"category": "nobody"},
        {"tags": ("name:Bob", "name:Ann")},
    ],
    ids=str,
)
@pytest.mark.parametrize("recorded", [False, True])
def test_only_events_of_a_category_with_some_tags(
    lab: Lab, filters: dict[str, Any], recorded: bool
) -> None:
    if recorded:

        def ordered(
            self: Any, event: Ordered, rows: Rows[Customer], recorded: RecordedEvent
        ) -> None:
            rows.ensure(name=event.name).orders += 1
    else:

        def ordered(self: Any, event: Ordered, rows: Rows[Customer]) -> None:  # type: ignore[misc]
            rows.ensure(name=event.name).orders += 1

    parts = {"row": Customer, "batch": 3, "ordered": on(ordered), "__module__": __name__}
    some = type("Some", (Projection,), {**parts, **filters})()
    lab.project(some)
    order(lab, *range(1, 9))
    order(lab, *range(10, 14), category="return")
    before = lab.lag().df
    wanted: Counter[str] = Counter()
    last = 0
    for event in lab.store.read_all():
        tags = set(some.tags)
        if tags <= set(event.tags) and event.stream_id.startswith(some.category or ""):
            wanted[event.data["name"]] += 1
            last = event.position
    assert before["lag_events"].iloc[-1] == wanted.total()
    lab.run()
    assert held(lab, "some") == sorted(wanted.items())
    assert checkpoint(lab, "some") == lab.store.head() >= last
    assert lab.lag().df["lag_events"].iloc[-1] == 0
    pairs = [(e.stream_id, Ordered(**e.data)) for e in lab.store.read_all()]
    given_rows(*pairs, of=some).then_rows(
        *(Customer(name=name, orders=orders) for name, orders in wanted.items())
    )


@pytest.mark.parametrize(
    ("filters", "match"),
    [({"category": "a-b"}, "category"), ({"category": 3}, "category"), ({"tags": [3]}, "tags")],
)
def test_a_filter_is_what_it_can_be(filters: dict[str, Any], match: str) -> None:
    with pytest.raises(ProjectionError, match=match):
        type("Bad", (Totals,), {"__module__": __name__, **filters})


def test_of_a_large_table_a_batch_reads_at_once_what_it_needs(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one statement an event: handlers are tried first, to see which rows they ask for."""
    monkeypatch.setattr("eslab.projections.rows.MAX_ROWS", 5)

    class Large(Totals):
        name = "totals"
        batch = 10

        @on
        def counted(self, event: Counted, rows: Rows[Total], recorded: RecordedEvent) -> None:
            row = rows.ensure(key=event.key)
            row.total += event.by
            row.last = recorded.position
            if row.total == 3:  # it asks for another one, of which the first look knows nothing
                rows.ensure(key=f"{event.key} three").last = recorded.position

    asked: list[str] = []
    execute = DuckDBTransaction.execute

    def watched(self: Any, statement: str, parameters: Any = ()) -> Any:
        asked.append(statement)
        return execute(self, statement, parameters)

    monkeypatch.setattr(DuckDBTransaction, "execute", watched)
    lab.project(Large())
    keys = [f"k{number % 40}" for number in range(200)]
    lab.append("counter-1", [Counted(key=key) for key in keys])
    lab.run()
    rows = {key: (total, last) for key, total, last in held(lab)}
    assert len(rows) == 80
    for place in range(40):
        assert rows[f"k{place}"] == (5, 161 + place)
        assert rows[f"k{place} three"] == (0, 81 + place)
    reads = [
        statement for statement in asked if statement.startswith("select") and "rm." in statement
    ]
    assert len(reads) <= 1 + 20 + 4  # and where it is asked for others


def test_what_a_projection_makes_of_events_is_an_example() -> None:
    shop = Shop()
    ann = Ordered(number=1, name="Ann")
    outcome = given_rows(ann, of=shop, id="7")
    assert (
        outcome.then_rows(
            Order(number=1, name="Ann", stream_id="given-7"), Customer(name="Ann", orders=1)
        )
        is outcome
    )
    assert repr(outcome).splitlines() == [
        "Given Ordered(number=1, name='Ann') in given-7",
        "By    <Shop shop: Ordered>",
        "Then  Customer(name='Ann', orders=1)",
        "      Order(number=1, name='Ann', stream_id='given-7')",
    ]
    assert "<td" in outcome._repr_html_()
    given_rows(of=shop).then_rows()
    with pytest.raises(
        AssertionError, match=r"(?s)other rows .*-     orders = 2.*\+     orders = 1"
    ):
        outcome.then_rows(
            Customer(name="Ann", orders=2), Order(number=1, name="Ann", stream_id="given-7")
        )
    with pytest.raises(AssertionError, match="other rows"):
        outcome.then_rows()
    with pytest.raises(AssertionError, match="other rows"):
        given_rows(of=shop).then_rows(Customer(name="Ann"))
    with pytest.raises(InputError, match="takes rows"):
        outcome.then_rows("Ann")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a projection such as Orders"):
        given_rows(of=Shop)  # type: ignore[call-overload]


def test_a_paused_projection_waits(lab: Lab) -> None:
    lab.project(Totals())
    lab.pause("totals")
    fill(lab)
    lab.run()
    assert (held(lab), checkpoint(lab)) == ([], 0)
    lab.resume("totals")
    lab.run()
    assert held(lab) == fold(lab, 12)
    for use in (lab.pause, lab.resume):
        with pytest.raises(InputError, match="nobody"):
            use("nobody")


def test_pausing_in_the_middle_of_a_batch_leaves_it_out() -> None:
    with Lab(seed=7) as lab:
        lab.project(Totals())
        fill(lab)
        lab.advance(timedelta(microseconds=500))  # a batch takes a millisecond
        lab.pause("totals")
        lab.run()
        assert (held(lab), checkpoint(lab)) == ([], 0)
        lab.resume("totals")
        lab.run()
        assert held(lab) == fold(lab, 12)


def define(by: int, *, default: int = 0, extra: bool = False) -> Projection:
    fields: dict[str, Any] = {"key": (str, ...), "total": (int, default)}
    if extra:
        fields["more"] = (str, "x")
    model: Any = create_model("Total", __base__=Row, __cls_kwargs__={"key": "key"}, **fields)

    if by == 1:

        class Totals(Projection):
            row = model

            @on
            def counted(self, event: Counted, rows: Rows[Any]) -> None:
                rows.ensure(key=event.key).total += 1

        return Totals()

    class Totals(Projection):  # type: ignore[no-redef]
        row = model

        @on
        def counted(self, event: Counted, rows: Rows[Any]) -> None:
            rows.ensure(key=event.key).total += 10

    return Totals()


def test_a_projection_that_is_defined_again_goes_on_or_is_rebuilt(lab: Lab) -> None:
    fill(lab, "aab")
    lab.project(define(1))
    lab.run()
    assert held(lab) == [("a", 2), ("b", 1)]
    lab.project(define(1))
    assert checkpoint(lab) == 6
    assert held(lab) == [("a", 2), ("b", 1)]
    for other, rows in (
        (define(10), [("a", 20), ("b", 10)]),
        (define(10, default=5), [("a", 25), ("b", 15)]),
        (define(10, extra=True), [("a", 20, "x"), ("b", 10, "x")]),
        (define(1), [("a", 2), ("b", 1)]),
    ):
        lab.project(other)
        assert (checkpoint(lab), held(lab)) == (0, [])
        lab.run()
        assert held(lab) == rows
        assert checkpoint(lab) == 6
    assert len(lab.sql("from checkpoints")) == 1


class Owned(Row, key="key", table="shared"):
    key: str
    total: int = 0


class OneOwner(Projection):
    row = Owned

    @on
    def counted(self, event: Counted, rows: Rows[Owned]) -> None:
        rows.ensure(key=event.key).total += 1


class OtherOwner(Projection):
    row = Owned

    @on
    def counted(self, event: Counted, rows: Rows[Owned]) -> None:
        rows.ensure(key=event.key).total += 100


def test_a_table_is_of_the_projection_that_made_it_last(tmp_path: Path) -> None:
    for kind, by in ((OneOwner, 1), (OtherOwner, 100), (OneOwner, 1), (OneOwner, 1)):
        with Lab(tmp_path / "shop.duckdb") as lab:
            lab.append("counter-1", [Counted(key="a")])
            lab.project(kind())
            lab.run()
            lab.rebuild(kind.name)
            assert lab.sql("select total from shared").scalar() == by * lab.store.head()
            assert len(lab.sql("from checkpoints")) == 1


def test_a_table_that_a_projection_has_no_more_is_removed() -> None:
    class Other(Row, key="key"):
        key: str

    def define_tables(*rows: type[Row]) -> Projection:
        class Several(Projection):
            tables = rows

            @on
            def counted(self, event: Counted, rows: Rows[Owned]) -> None:
                rows.ensure(key=event.key).total += 1

        return Several()

    with Lab(seed=7) as lab:
        for rows in ((Owned, Other), (Owned,)):
            lab.project(define_tables(*rows))
            lab.run()
            lab.rebuild("several")
            made = lab.sql("select table_name from duckdb_tables() where schema_name = 'rm'")
            assert len(made) == len(rows)


def test_an_older_runner_cannot_write_into_the_rebuilt_read_model() -> None:
    with Lab(seed=7) as lab:
        fill(lab, "aab")
        older = ProjectionRunner(lab.store, define(1), lab.registry)
        newer = ProjectionRunner(lab.store, define(10), lab.registry)
        with pytest.raises(ProjectionError, match="another runner"):
            older.step()
        assert newer.step()
        assert held(lab) == [("a", 20), ("b", 10)]


def test_two_runners_of_one_projection_never_count_twice() -> None:
    with Lab(seed=7) as lab:
        fill(lab)
        one, two = (ProjectionRunner(lab.store, Totals(), lab.registry) for _ in range(2))
        assert two.position == 0
        assert one.step()
        with pytest.raises(ProjectionError, match="another runner"):
            two.step()
        while one.step():
            pass
        assert held(lab) == fold(lab, 12)


def test_a_file_keeps_read_models_and_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    with Lab(path) as lab:
        lab.project(Totals())
        fill(lab)
        lab.run()
    with Lab(path) as lab:
        assert held(lab) == fold(lab, 12)
        lab.project(Totals())
        assert checkpoint(lab) == 12
        fill(lab, "ab")
        lab.run()
        assert held(lab) == fold(lab, 16)


def test_the_fingerprint_does_not_depend_on_the_hash_seed() -> None:
    """Else a lab on a file would rebuild its read models at every start."""
    code = (
        "from eslab import Event, Projection, Row, on\n"
        "class A(Event):\n    x: str\n"
        "class R(Row, key='x'):\n    x: str\n"
        "class P(Projection):\n"
        "    row = R\n"
        "    @on\n"
        "    def a(self, event: A, rows) -> None:\n"
        "        if event.x in {'one', 'two', 'three', 'four'}:\n"
        "            rows.ensure(x=event.x)\n"
        "print(P.fingerprint())\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


# Definitions.


def projection(**parts: Any) -> Any:
    def counted(self: Any, event: Counted, rows: Any) -> None:
        pass

    members = {"row": Total, "counted": on(counted), "__module__": __name__, **parts}
    return type("Defined", (Projection,), {k: v for k, v in members.items() if v is not None})


@pytest.mark.parametrize(
    "parts",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": 'x"; drop table eslab.event_log; --'},
        {"name": 5},
        {"name": "Totals"},
        {"name": "events"},
        {"name": "checkpoints"},
        {"batch": 0},
        {"batch": "x"},
        {"batch": True},
        {"row": None},
        {"row": Counted},
        {"counted": None},
        {
            "row": create_model(
                "Quoted", __base__=Row, __cls_kwargs__={"key": 'a"b'}, **{'a"b': (str, "")}
            )
        },
        {
            "row": create_model(
                "Large", __base__=Row, __cls_kwargs__={"key": "a"}, a=(str, ""), A=(str, "")
            )
        },
        {
            "row": create_model(
                "Loose", __base__=Row, __cls_kwargs__={"key": "a"}, a=(str | None, "")
            )
        },
    ],
    ids=repr,
)
def test_a_projection_that_is_defined_wrongly_is_refused(parts: dict[str, Any]) -> None:
    projection()
    with pytest.raises(ProjectionError):
        projection(**parts)


@pytest.mark.parametrize("key", [(), "nobody", ("key", "nobody")])
def test_a_row_needs_a_key(key: Any) -> None:
    with pytest.raises(ProjectionError, match="key="):
        create_model("R", __base__=Row, __cls_kwargs__={"key": key}, key=(str, ""))


def test_what_is_no_projection_is_refused(lab: Lab) -> None:
    for bad in (Totals, None, "totals"):
        with pytest.raises(InputError):
            lab.project(bad)  # type: ignore[arg-type]


# What there is to see.


def test_how_projections_are_is_shown() -> None:
    class Slow(Totals):
        cost = Cost(batch=timedelta(0), event=timedelta(milliseconds=100))

    class Failing(Totals):
        @on
        def counted(self, event: Counted, rows: Rows[Total], recorded: RecordedEvent) -> None:
            raise ValueError("<b>no</b>")

    class Idle(Projection):
        row = Total

        @on
        def other(self, event: Other, rows: Rows[Total]) -> None: ...

    with Lab(seed=7) as lab:
        assert repr(lab.projections) == "ProjectionsView(0 projections)"
        assert "lab.project" in lab.projections.html()
        assert lab.projections.figure().data[0].x == ()
        lab.project(Slow(), Failing(), Idle())
        lab.append("counter-1", [Counted(key="a")] * 3)
        lab.pause("idle")
        shown = lab.projections
        assert repr(shown) == "ProjectionsView(3 projections: 2 behind, 1 paused)"
        assert list(shown.df["lag_events"]) == [3, 3, 0]
        assert shown.df["rate"].isna().all()
        with pytest.raises(ProjectionError):
            lab.run()
        shown = lab.projections
        assert list(shown.df["status"]) == ["caught up", "stopped", "paused"]
        assert list(shown.df["checkpoint"]) == [3, 0, 0]
        assert list(shown.df["head"]) == [3, 3, 3]
        assert shown.df["rate"].iloc[0] == 10  # a tenth of a second each
        assert shown.df["lag_seconds"].iloc[1] == 0.3
        assert "no</b>" in shown.df["error"].iloc[1]
        html = shown.html()
        assert "<b>" not in html
        assert "&lt;b&gt;no&lt;/b&gt;" in html
        assert "3, 300 ms" in html
        assert list(shown.figure().data[0].x) == [0, 3, 0]
        rates = lab.sql(shown.sql).fetchall()
        assert [(name, int(events)) for name, events, _ in rates] == [("slow", 3)]


def test_a_rate_is_that_of_the_batches_that_came_last_also_after_a_reset() -> None:
    class Steady(Totals):
        batch = 1
        cost = Cost(batch=timedelta(milliseconds=100), event=timedelta(0))

    with Lab(seed=7) as lab:
        lab.project(Steady())
        lab.append("counter-1", [Counted(key="a")] * 50)
        lab.run()
        assert lab.projections.df["rate"].tolist() == [10]
        lab.reset("steady", to=0, progress=False)
        Steady.cost = Cost(batch=timedelta(milliseconds=10), event=timedelta(0))
        lab.advance("250 ms")  # so that it is back at an early position
        assert lab.projections.df["rate"].tolist() == [100]


# In memory.


class Plain(Projection):
    """As `Totals`, of what happened alone: it is read by columns."""

    row = Total
    batch = 2

    @on
    def counted(self, event: Counted, rows: Rows[Total]) -> None:
        rows.ensure(key=event.key).total += event.by


@pytest.mark.parametrize("kind", [Totals, Plain])
def test_a_read_model_in_memory_is_the_one_that_is_kept(
    lab: Lab, kind: type[Projection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eslab.projections.folding.SIZE", 3)
    assert lab.fold(kind()).rows == []
    fill(lab, "abacabaab" * 3)
    found = lab.fold(kind())
    assert repr(found) == f"<Folded {kind.name}: 3 rows of 27 events>"
    assert lab.sql("from checkpoints").fetchall() == []
    lab.project(kind())
    lab.run()
    assert list(found.df.itertuples(index=False, name=None)) == held(lab, kind.name)


@pytest.mark.parametrize("kind", [Totals, Plain])
def test_of_some_streams_and_as_of_some_time(lab: Lab, kind: type[Projection]) -> None:
    for number in range(12):
        lab.append(f"counter-{number % 3}", [Counted(key=f"{number % 3}", by=number)])

    def totals(**options: Any) -> dict[str, int]:
        return {row.key: row.total for row in lab.fold(kind(), **options).rows}  # type: ignore[attr-defined]

    assert totals() == {"0": 18, "1": 22, "2": 26}
    assert totals(streams=["counter-1"]) == {"1": 22}
    assert totals(streams=["counter-1", "counter-2", "nobody"]) == {"1": 22, "2": 26}
    assert totals(streams=[]) == {}
    assert totals(as_of=AsOf(position=5)) == {"0": 3, "1": 5, "2": 2}
    assert totals(as_of=AsOf(position=5), streams=["counter-0"]) == {"0": 3}
    assert totals(as_of=AsOf(recorded=lab.clock.now())) == totals()


def test_several_tables_in_memory() -> None:
    with Lab(seed=7) as lab:
        order(lab, 1, 2, 3)
        found = lab.fold(Shop())
        assert list(found.tables) == ["customer", "orders"]
        assert list(found.table("orders")["number"]) == [1, 2, 3]
        assert list(found.table("customer").columns) == ["name", "orders"]
        with pytest.raises(InputError, match="has the tables customer, orders"):
            _ = found.df
        with pytest.raises(InputError, match="not 'nobody'"):
            found.table("nobody")
        assert list(lab.fold(Shop(), streams=[]).table("orders").columns) == list(
            Order.model_fields
        )


def test_what_cannot_be_folded_is_named(lab: Lab) -> None:
    class Failing(Projection):
        row = Total

        @on
        def counted(self, event: Counted, rows: Rows[Total]) -> None:
            if event.by > 1:
                raise ValueError("too much")

    lab.append("counter-1", [Counted(key="a"), Counted(key="a", by=2), Counted(key="a")])
    with pytest.raises(ProjectionError, match=r"<Counted counter-1 v2 @2>: ValueError: too much"):
        lab.fold(Failing())
    for bad in (Failing, "totals", None):
        with pytest.raises(InputError, match=r"takes a projection, such as Orders\(\)"):
            lab.fold(bad)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="streams"):
        lab.fold(Totals(), streams="counter-1")
    with pytest.raises(InputError, match="as_of"):
        lab.fold(Totals(), as_of=3)  # type: ignore[arg-type]
