"""The tables of event types: each event is exactly what its class decodes, or is a typing error."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal

import duckdb
import pytest
from event_types import DECODED, EXACT, class_of
from event_values import ODD_SCALARS, STORED, VALUES
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field, create_model, field_validator
from pydantic_core import to_jsonable_python
from soak import scaled

from eslab import (
    Event,
    Lab,
    NewEvent,
    QueryError,
    RegistrationError,
    SchemaError,
    SqlProjection,
    StoreError,
)
from eslab.projections import Projection, Row, Rows, on
from eslab.schema import EventRegistry, canonical_json, encode, parse_json, upcasts
from eslab.schema.columns import BASE_COLUMNS, Json, Many, event_columns
from eslab.schema.naming import SYSTEM_TABLES, quoted, table_name
from eslab.schema.shapes import event_shape
from eslab.store.duckdb import decoded, proof, typed
from eslab.store.duckdb.typed import TypedTables

EXAMPLES = scaled(10, 150)
MICROSECOND = timedelta(microseconds=1)
MORE = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

# What a class makes of what is stored is the truth that every table is held against.


def rows(lab: Lab, table: str, *, after: int = 0) -> dict[int, tuple[Any, ...]]:
    """Return the columns of a table's own fields by position, as DuckDB's driver gives them."""
    lab.sql(f"from {table} limit 0")
    with lab.store._database.cursor() as cursor:
        found = cursor.execute(f"from ev.{quoted(table)} where position > ?", [after]).fetchall()
    held = {row[0]: row[len(BASE_COLUMNS) :] for row in found}
    assert len(held) == len(found)
    return held


def errors(lab: Lab, type: str, *, after: int = 0) -> dict[int, tuple[str | None, str]]:
    with lab.store._database.cursor() as cursor:
        found = cursor.execute(
            'select position, "column", reason from eslab.typing_errors '
            "where type = ? and position > ?",
            [type, after],
        ).fetchall()
    held = {position: (column, reason) for position, column, reason in found}
    assert len(held) == len(found)
    return held


def in_sql(value: Any) -> Any:
    """Return a value of a model as its column shows it; JSON aside."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, timedelta):
        return value // MICROSECOND
    if isinstance(value, set | frozenset):
        return sorted(map(in_sql, value), key=canonical_text)
    if isinstance(value, list | tuple | deque):
        return [in_sql(item) for item in value]
    if isinstance(value, Mapping):
        return {key: in_sql(item) for key, item in value.items()}
    if isinstance(value, BaseModel):
        return {name: in_sql(item) for name, item in dict(value).items()}
    return value


def canonical_text(value: Any) -> str:
    return canonical_json(to_jsonable_python(value))


def same(column: Any, value: Any, found: Any) -> bool:
    """Say whether what is found in a column is the value of the model, to the last bit."""
    if isinstance(column, Json) and value is not None:
        return parse_json(found) == to_jsonable_python(value, by_alias=False)
    if isinstance(column, Many) and isinstance(column.item, Json) and value is not None:
        return [parse_json(item) for item in found] == to_jsonable_python(list(value))
    if isinstance(column, Many) and column.unique:
        found = sorted(found, key=canonical_text)
    return identical(in_sql(value), found)


def identical(one: Any, two: Any) -> bool:
    if isinstance(one, float) and isinstance(two, float):
        return one == two and math.copysign(1, one) == math.copysign(1, two)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(identical, one, two))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(identical(one[key], two[key]) for key in one)
    return type(one) is type(two) and bool(one == two)


def check(lab: Lab, cls: type[Event], *, after: int = 0) -> set[int]:
    """Hold the table of a class against the class, and return the positions of its typing errors.

    Raises:
        AssertionError: a row is not what the class decodes.
        SchemaError: a row is what the class refuses.
    """
    shape, name = event_shape(cls), table_name(cls.event_type)
    held, refused = rows(lab, name, after=after), errors(lab, cls.event_type, after=after)
    assert not held.keys() & refused.keys()
    for found in recent_rows(lab, cls, after=after).values():
        assert repr(found) == repr(whole_row(lab, name, found[0]))
    for event in lab.store.read_all(after=after, types=[cls]):
        if event.position in refused:
            column, reason = refused[event.position]
            aliases = {field.alias for field in cls.model_fields.values()}
            assert column in {None, *event_columns(cls).values(), *event.data, *aliases}
            assert reason
            continue
        decoded = lab.registry.decode(event)
        for (field, column), found in zip(shape.fields.items(), held[event.position], strict=True):
            value = getattr(decoded, field)
            assert same(column, value, found), (event.data, value, found)
    return {position for position in refused if position > after}


def recent_rows(lab: Lab, cls: type[Event], *, after: int) -> dict[int, tuple[Any, ...]]:
    """Return by position the rows that are proven where SQL sees recent events without a table."""
    proven = {}
    for event in lab.store.read_all(after=after, types=[cls]):
        span = event.position - 1, event.position
        recent = lab.store.recent([cls.event_type], after=span[0], until=span[1])
        if recent is None:  # SQL can convert no event of the class
            return {}
        (query,) = recent.queries.values()
        with suppress(duckdb.Error), lab.store._database.cursor() as cursor:
            ((is_proven, *row),) = cursor.execute(query, [*span, recent.streams]).fetchall()
            if is_proven:
                proven[event.position] = tuple(row)
    return proven


def whole_row(lab: Lab, table: str, position: int) -> tuple[Any, ...]:
    with lab.store._database.cursor() as cursor:
        (row,) = cursor.execute(
            f"from ev.{quoted(table)} where position = ?", [position]
        ).fetchall()
    return row


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    """One lab for many examples: what they append piles up, so that each refresh is a step."""
    with Lab(seed=7) as opened:
        yield opened


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=7) as opened:
        yield opened


CLASSES = {name: class_of(kind, f"Of_{name}") for name, (kind, _) in {**EXACT, **DECODED}.items()}


def test_every_type_is_tested() -> None:
    assert VALUES.keys() == EXACT.keys()


@pytest.mark.soak
@pytest.mark.parametrize("name", VALUES)
def test_values_come_back(shared: Lab, name: str) -> None:
    cls = CLASSES[name]

    @MORE
    @given(st.lists(VALUES[name], min_size=1, max_size=20))
    def come_back(values: list[Any]) -> None:
        after = shared.store.head()
        shared.append("a-1", [cls(x=value) for value in values])
        assert check(shared, cls, after=after) == set()

    come_back()


@pytest.mark.parametrize("name", VALUES)
def test_sql_converts_what_is_plain(
    shared: Lab, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Otherwise all of the above might be the work of the class, a hundred times slower."""
    simplest = find(VALUES[name], lambda _: True, settings=settings(database=None))
    after = shared.store.head()
    shared.append("a-1", [CLASSES[name](x=simplest)])
    shared.sql("from typed_tables")
    assert len(recent_rows(shared, CLASSES[name], after=after)) == 1
    after = shared.store.head()
    shared.append("a-1", [CLASSES[name](x=simplest)])
    monkeypatch.setattr(typed, "_insert_decoded", pytest.fail)
    shared.sql(f"from {table_name(CLASSES[name].event_type)}")


@pytest.mark.soak
@pytest.mark.parametrize("name", CLASSES)
def test_odd_data_is_what_the_class_decodes_or_an_error(shared: Lab, name: str) -> None:
    cls = CLASSES[name]
    shared.register(cls)

    @MORE
    @given(st.lists(STORED, min_size=1, max_size=30))
    def holds(stored: list[dict[str, Any]]) -> None:
        after = shared.store.head()
        shared.store.append("a-1", [NewEvent(cls.event_type, data) for data in stored])
        refused = check(shared, cls, after=after)
        for event in shared.store.read_all(after=after):
            if event.position not in refused:
                continue
            column, reason = errors(shared, cls.event_type, after=event.position - 1)[
                event.position
            ]
            try:
                decoded = shared.registry.decode(event)
            except SchemaError:
                continue
            # It is an event, and its column cannot hold it.
            assert column == "x"
            assert "does not fit" in reason, (decoded, reason)

    holds()


# Defaults, versions, other classes.


class OrderPlaced(Event):
    order_id: str
    amount: Decimal
    note: str | None = None


def placed(number: int = 1, **more: Any) -> NewEvent:
    data = {"order_id": f"o-{number}", "amount": "1.10", "note": None, **more}
    return NewEvent("OrderPlaced", data)


def test_sql_over_a_table(lab: Lab) -> None:
    lab.append("order-1", [OrderPlaced(order_id="o-1", amount=Decimal("1.10"))])
    assert lab.sql("select sum(amount) from order_placed").scalar() == Decimal("1.1")
    lab.append("order-2", [OrderPlaced(order_id="o-2", amount=Decimal(30))])
    query = "select order_id, stream_id, version, position from EV.Order_Placed where amount > $1"
    assert lab.sql(query, [2]).fetchall() == [("o-2", "order-2", 1, 2)]
    (event,) = lab.store.read("order-2")
    base = lab.sql("select occurred_at, recorded_at, event_id from order_placed where version = 1")
    assert base.fetchall()[1] == (event.occurred_at, event.recorded_at, str(event.event_id))


def test_a_result_of_every_column(lab: Lab) -> None:
    class Sold(Event):
        prices: dict[str, Decimal]
        sizes: list[int]
        took: timedelta
        colour: Literal["red"]

    lab.append(
        "a-1", [Sold(prices={"a": Decimal(1)}, sizes=[1], took=timedelta(seconds=2), colour="red")]
    )
    result = lab.sql("select prices, sizes, took, colour from sold")
    assert result.fetchall() == [({"a": Decimal(1)}, [1], 2_000_000, "red")]
    assert result.df()["prices"][0] == {"a": Decimal(1)}
    assert lab.sql("select prices['a'] from sold").scalar() == Decimal(1)


def test_absent_keys_are_defaults(lab: Lab) -> None:
    class Noted(Event):
        x: int = 5
        tags: list[str] = Field(default_factory=lambda: ["new"])

    lab.register(Noted)
    lab.store.append("a-1", [NewEvent("Noted", {}), NewEvent("Noted", {"x": 1, "tags": []})])
    assert rows(lab, "noted") == {1: (5, ["new"]), 2: (1, [])}


def test_a_field_called_as_a_base_column(lab: Lab) -> None:
    class Moved(Event):
        position: str
        Version: int

    lab.append("a-1", [Moved(position="left", Version=7)])
    found = lab.sql("select position, data_position, version, data_version from moved")
    assert found.fetchall() == [(1, "left", 1, 7)]


def test_an_event_without_fields(lab: Lab) -> None:
    class Closed(Event):
        pass

    lab.append("a-1", [Closed()])
    lab.store.append("a-1", [NewEvent("Closed", {"why": "late"})])
    assert rows(lab, "closed") == {1: ()}
    assert errors(lab, "Closed").keys() == {2}


@pytest.mark.parametrize("query", ["from order_placed", 'from ev."ORDER_PLACED"'])
def test_a_type_without_events_is_an_empty_table(lab: Lab, query: str) -> None:
    lab.register(OrderPlaced)
    result = lab.sql(query)
    assert (len(result), result.columns) == (0, [*BASE_COLUMNS, "order_id", "amount", "note"])


@pytest.mark.parametrize(
    "query",
    [
        "describe order_placed",
        "summarize ev.order_placed",
        "explain from order_placed",
        "select * from query_table('order_' || 'placed')",
        "from query('from order' || '_placed')",
        "with order_placed as (from ev.order_placed) from order_placed",
        "select (select count(*) from Order_Placed) where $1 = 1",
    ],
)
def test_queries_that_name_a_table(lab: Lab, query: str) -> None:
    lab.register(OrderPlaced)
    lab.store.append("order-1", [placed()])
    assert len(lab.sql(query, [1] if "$1" in query else ())) > 0


def test_rows_of_an_older_schema_version_pass_through_the_upcasters(lab: Lab) -> None:
    def paid(factor: int, *, revision: int = 1) -> type[Event]:
        @upcasts(1, revision=revision)
        def in_cents(data: dict[str, Any]) -> dict[str, Any]:
            return {"cents": data["euros"] * factor}

        class Paid(Event, schema_version=2, upcasters=[in_cents]):
            cents: int

        return Paid

    lab.register(paid(100))
    old = NewEvent("Paid", {"euros": 3}, schema_version=1)
    lab.store.append("a-1", [old, NewEvent("Paid", {"cents": 5}, schema_version=2)])
    assert rows(lab, "paid") == {1: (300,), 2: (5,)}
    lab.register(paid(99, revision=2))
    assert rows(lab, "paid") == {1: (297,), 2: (5,)}
    lab.store.append("a-1", [NewEvent("Paid", {"cents": 5}, schema_version=3)])
    lab.store.append("a-1", [NewEvent("Paid", {}, schema_version=1)])
    assert rows(lab, "paid") == {1: (297,), 2: (5,)}
    found = lab.sql("select position, reason from typing_errors order by position").fetchall()
    assert [position for position, _ in found] == [3, 4]
    assert "knows versions up to 2" in found[0][1]
    assert "KeyError" in found[1][1]


def test_what_a_validator_raises_is_a_reason(lab: Lab) -> None:
    class Divided(Event):
        x: int
        y: list[int] = []  # noqa: RUF012 - pydantic copies it

        @field_validator("x")
        @classmethod
        def divided(cls, value: int) -> int:
            if value < 0:
                raise ValueError("\ud800")
            return 10 // value

    lab.register(Divided)
    lab.store.append("a-1", [NewEvent("Divided", {"x": x}) for x in (0, 5)])
    lab.store.append("a-1", [NewEvent("Divided", {"x": 5, "y": [1, "b"]})])
    assert rows(lab, "divided") == {2: (2, [])}
    found = errors(lab, "Divided")
    assert found[1] == (
        None,
        "decoding it raised ZeroDivisionError('integer division or modulo by zero')",
    )
    lab.store.append("a-1", [NewEvent("Divided", {"x": -1})])
    lab.sql("from divided")
    assert "\\ud800" in errors(lab, "Divided")[4][1]
    assert found[3][0] == "y"
    assert found[3][1].startswith("1: Input should be a valid integer")


def test_a_validator_that_lies_about_its_type(lab: Lab) -> None:
    class Odd(Event):
        x: int

        @field_validator("x")
        @classmethod
        def text(cls, value: int) -> Any:
            return f"<{value}>" if value else value + 0.5

    lab.register(Odd)
    lab.store.append("a-1", [NewEvent("Odd", {"x": x}) for x in (1, 0)])
    assert rows(lab, "odd") == {}
    assert "'<1>' does not fit bigint" in errors(lab, "Odd")[1][1]
    assert "0.5 does not fit bigint: it comes back as 0" in errors(lab, "Odd")[2][1]


def test_big_integers_are_typing_errors(lab: Lab) -> None:
    cls = class_of(int)
    lab.append("a-1", [cls(x=2**63), cls(x=2**63 - 1)])
    assert rows(lab, "happened") == {2: (2**63 - 1,)}
    column, reason = errors(lab, "Happened")[1]
    assert column == "x"
    assert "9223372036854775808 does not fit bigint: it has more than 64 bits" in reason
    assert lab.sql("select data->>'x' from events where position = 1").scalar() == str(2**63)


def test_a_fraction_has_no_digit_before_its_point(lab: Lab) -> None:
    class Share(Event):
        part: Annotated[Decimal, Field(max_digits=4, decimal_places=4)]

    lab.register(Share)
    stored = ["0", "-0", "0.0", "0.25", "1", "1.5"]
    lab.store.append("share-1", [NewEvent("Share", {"part": part}) for part in stored])
    assert list(rows(lab, "share")) == [3, 4]
    assert list(errors(lab, "Share")) == [1, 2, 5, 6]


def test_naive_datetimes_are_typing_errors(lab: Lab) -> None:
    cls = class_of(datetime)
    lab.append("a-1", [cls(x=datetime(2013, 1, 1))])  # noqa: DTZ001 - that is the fault
    assert rows(lab, "happened") == {}
    assert "it has no time zone" in errors(lab, "Happened")[1][1]


# Up to date, and from the log only.


def test_typing_errors_are_of_all_types(lab: Lab) -> None:
    lab.register(OrderPlaced)
    lab.store.append("order-1", [placed(), placed(amount="much")])
    found = lab.sql('select type, position, "column" from typing_errors').fetchall()
    assert found == [("OrderPlaced", 2, "amount")]


def tables_of(lab: Lab) -> TypedTables:
    return TypedTables(EventRegistry(OrderPlaced), lab.store.counts)


def refresh(lab: Lab, tables: TypedTables, *, until: int) -> None:
    lab.store.flush()
    with lab.store._database.cursor() as cursor:
        tables.refresh(cursor, ["order_placed"], until=until)


def state(lab: Lab) -> tuple[list[Any], list[Any], list[Any]]:
    with lab.store._database.cursor() as cursor:
        return (
            cursor.execute("from ev.order_placed order by position").fetchall(),
            cursor.execute("from eslab.typing_errors order by all").fetchall(),
            cursor.execute("from eslab.typed_tables").fetchall(),
        )


ORDERS = st.builds(placed, st.integers(1, 3), amount=ODD_SCALARS) | st.just(NewEvent("Other", {}))


@settings(max_examples=15, deadline=None)
@given(st.lists(ORDERS, min_size=1, max_size=12), st.lists(st.integers(0, 12), max_size=4))
def test_step_by_step_equals_at_once(events: list[NewEvent], stops: list[int]) -> None:
    with Lab(seed=7) as stepwise, Lab(seed=7) as at_once:
        for lab in (stepwise, at_once):
            for number, event in enumerate(events):
                lab.store.append(f"order-{number % 3}", [event])
        steps = tables_of(stepwise)
        for stop in [*stops, len(events)]:
            refresh(stepwise, steps, until=min(stop, len(events)))
        refresh(at_once, tables_of(at_once), until=len(events))
        assert state(stepwise) == state(at_once)
        placed = sum(event.type == "OrderPlaced" for event in events)
        at_once.registry.register(OrderPlaced)
        check(at_once, OrderPlaced)
        assert len(state(at_once)[0]) + len(state(at_once)[1]) == placed


def test_no_row_is_made_twice_when_another_lab_brought_the_table_up(lab: Lab) -> None:
    first, second = tables_of(lab), tables_of(lab)
    for each, until in ((first, 1), (second, 1), (first, 2)):
        lab.store.append("order-1", [placed()])
        refresh(lab, each, until=until)
    with pytest.raises(StoreError, match="no longer at position 1: another lab"):
        refresh(lab, second, until=3)
    refresh(lab, second, until=3)
    assert [row[0] for row in state(lab)[0]] == [1, 2, 3]


def test_many_rows_that_sql_cannot_prove(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typed, "CHUNK", 3)
    lab.register(OrderPlaced)
    amounts = [1, "1", "much", 2.5, None, "3.3"] * 5
    lab.store.append("order-1", [placed(amount=amount) for amount in amounts])
    check(lab, OrderPlaced)
    assert (len(rows(lab, "order_placed")), len(errors(lab, "OrderPlaced"))) == (20, 10)


def test_a_class_defined_anew_is_another_table(lab: Lab) -> None:
    def cell(**fields: Any) -> type[Event]:
        """Define the class as a cell of a notebook does, again and again."""
        cls = create_model("OrderPlaced", __base__=Event, __module__="__main__", **fields)
        lab.register(cls)
        return cls

    cell(order_id=(int, ...), amount=(Decimal, ...), note=(str | None, None))
    lab.store.append("order-1", [placed()])
    assert (len(rows(lab, "order_placed")), len(errors(lab, "OrderPlaced"))) == (0, 1)
    cell(order_id=(str, ...), amount=(float, ...), note=(str | None, None), gift=(bool, False))
    assert rows(lab, "order_placed") == {1: ("o-1", 1.1, None, False)}
    assert errors(lab, "OrderPlaced") == {}
    before = state(lab)
    cell(order_id=(str, ...), amount=(float, ...), note=(str | None, None), gift=(bool, True))
    assert rows(lab, "order_placed") == {1: ("o-1", 1.1, None, True)}
    cell(order_id=(str, ...), amount=(float, ...), note=(str | None, None), gift=(bool, False))
    rows(lab, "order_placed")
    assert state(lab) == before


def test_a_validator_written_anew_makes_another_table(lab: Lab) -> None:
    def cell(least: int, factory: Any = list) -> None:
        def at_least(value: int) -> int:
            return max(value, least)

        parts: dict[str, Any] = {
            "x": (Annotated[int, AfterValidator(at_least)], ...),
            "y": (list[int], Field(default_factory=factory)),
        }
        lab.register(create_model("Raised", __base__=Event, __module__="__main__", **parts))

    cell(1)
    lab.store.append("a-1", [NewEvent("Raised", {"x": 0})])
    assert rows(lab, "raised") == {1: (1, [])}
    first = lab.sql("select fingerprint from typed_tables where name = 'raised'").scalar()
    cell(2)
    assert rows(lab, "raised") == {1: (2, [])}
    cell(2, lambda: [7])
    assert rows(lab, "raised") == {1: (2, [7])}
    cell(1)
    assert rows(lab, "raised") == {1: (1, [])}
    assert lab.sql("select fingerprint from typed_tables where name = 'raised'").scalar() == first


def test_a_table_is_kept_over_openings(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "shop.duckdb"
    with Lab(path) as lab:
        lab.append("order-1", [OrderPlaced(order_id="o-1", amount=Decimal(1))])
        assert lab.sql("select count(*) from order_placed").scalar() == 1
    monkeypatch.setattr(TypedTables, "_fill", pytest.fail)
    with Lab(path) as lab:
        # It is not behind, so that it may be read before its class is known.
        assert lab.sql("select count(*) from order_placed").scalar() == 1
        lab.register(OrderPlaced)
        assert lab.sql("select count(*) from order_placed").scalar() == 1


def test_a_table_that_is_behind_is_not_shown_without_its_class(tmp_path: Any) -> None:
    path = tmp_path / "shop.duckdb"
    with Lab(path) as lab:
        lab.append("order-1", [OrderPlaced(order_id="o-1", amount=Decimal(1))])
        lab.sql("from order_placed")
    with Lab(path) as lab:
        lab.store.append("order-1", [placed()])
        with pytest.raises(QueryError, match="order_placed is the table of the event type"):
            lab.sql("from order_placed")
        assert len(lab.sql("from events")) == 2
        lab.register(OrderPlaced)
        assert len(lab.sql("from order_placed")) == 2


class Orders(SqlProjection):
    key = "order_id"
    query = "select order_id, count(*) as events from order_placed group by all"
    merge: ClassVar = {"events": "count"}
    events = (OrderPlaced,)


def position_of_table(lab: Lab) -> int:
    """Return the position of the table, without asking for it."""
    with lab.store._database.cursor() as cursor:
        ((position,),) = cursor.execute("select position from eslab.typed_tables").fetchall()
    return int(position)


def project_step_by_step(lab: Lab, steps: int) -> None:
    lab.project(Orders())
    for _ in range(steps):
        lab.store.append("order-1", [placed()])
        lab.run()


def test_a_table_is_left_behind_by_a_projection_and_follows_when_it_is_asked_for(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    project_step_by_step(lab, 5)
    assert (position_of_table(lab), lab.store.head()) == (0, 5)
    found = lab.sql("select sum(events), (select count(*) from order_placed) from orders")
    assert found.fetchall() == [(5, 5)]
    assert position_of_table(lab) == 5
    monkeypatch.setattr(typed, "BEHIND", 3)
    project_step_by_step(lab, 5)
    assert position_of_table(lab) == 9


@pytest.mark.parametrize("copied", [True, False])
def test_a_table_that_was_left_behind_is_brought_up_for_whoever_opens_the_file_next(
    tmp_path: Any, copied: bool
) -> None:
    path = tmp_path / "shop.duckdb"
    with Lab(path) as lab:
        project_step_by_step(lab, 3)
        assert position_of_table(lab) < 3
        if copied:
            path = lab.store.copy_to(tmp_path / "copy.duckdb")
    with Lab.open_copy(path) if copied else Lab(path) as lab:  # its class is not known here
        assert lab.sql("select count(*) from order_placed").scalar() == 3


@pytest.mark.parametrize("function", ["_insert_decoded", "decoded", "_unproven"])
def test_a_crash_in_the_middle_leaves_all_as_it_was(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    lab.register(OrderPlaced)
    lab.store.append("order-1", [placed(), placed(amount=3), placed(amount="much")])
    assert len(lab.sql("from order_placed")) == 2
    before = state(lab)
    lab.store.append("order-1", [placed(), placed(amount=3), placed(amount="much")])

    def crash(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(typed, function, crash)
        with pytest.raises(KeyboardInterrupt):
            lab.sql("from order_placed")
    assert state(lab) == before
    assert len(lab.sql("from order_placed")) == 4
    assert check(lab, OrderPlaced) == {3, 6}


def test_sql_converts_an_event_once_for_all_of_its_proofs(lab: Lab) -> None:
    lab.register(OrderPlaced)
    lab.store.append("order-1", [placed()])
    lab.sql("from order_placed")
    query = lab.store._typed._made["order_placed"].proven
    with lab.store._database.cursor() as cursor:
        ((_, plan),) = cursor.execute(
            f"explain (format json) {query}", ["OrderPlaced", 0, 1, 1]
        ).fetchall()
    assert plan.count("json_transform(") <= 1


def test_an_error_of_the_driver_does_not_escape(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.register(OrderPlaced)
    lab.store.append("order-1", [placed()])
    monkeypatch.setattr(typed, "_proven", lambda *_: "select nonsense")
    with pytest.raises(StoreError, match="tables of the event types cannot be brought up to date"):
        lab.sql("from order_placed")


def test_threads_share_a_refresh(lab: Lab) -> None:
    lab.register(OrderPlaced)
    lab.store.append("order-1", [placed(amount=n) for n in range(500)])
    with ThreadPoolExecutor(4) as pool:
        queries = ["select count(*) from order_placed"] * 8
        assert [result.scalar() for result in pool.map(lab.sql, queries)] == [500] * 8


# Guards: each fault that is planted is found.

FAULTS = {
    "a Decimal that rounds": ("decimal", "try_cast({w} as decimal(38,1))", ".*", "1.25"),
    "a date of anything": ("date", "try_cast({w} as date)", ".*", "2013-1-1"),
    "a moment without its zone": (
        "datetime",
        "try_cast({w} as timestamp)::timestamptz",
        ".*",
        "2013-01-01T00:00:00+02:00",
    ),
    "a time of anything": ("time", "try_cast({w} as time)", ".*", "24:00:00"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_converter_that_is_careless_is_found(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    kind, value, pattern, stored = FAULTS[fault]
    cls = class_of(EXACT[kind][0])
    lab.register(cls)
    lab.store.append("a-1", [NewEvent("Happened", {"x": stored})])
    form = proof._Form(value=value, pattern=pattern)
    with monkeypatch.context() as patch:
        patch.setattr(
            proof, "_form", lambda column, w="": replace(form, value=value.replace("{w}", w))
        )
        with pytest.raises((AssertionError, SchemaError)):
            check(lab, cls)


@pytest.mark.parametrize("query", ["_proven", "_recent"])
def test_without_the_wire_proof_losses_are_found(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    cls = class_of(int)
    lab.register(cls)
    lab.store.append("a-1", [NewEvent("Happened", {"x": 1.5})])
    careless = getattr(typed, query)
    monkeypatch.setattr(
        typed,
        query,
        lambda *shape: careless(*shape).replace("to_json(w)::varchar = data", "true"),
    )
    with pytest.raises((AssertionError, SchemaError, ValueError)):
        check(lab, cls)


def test_values_that_come_back_otherwise_are_typing_errors(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path through the class checks itself: a careless conversion leads to no row."""
    cls = class_of(Annotated[float, AfterValidator(float)])
    lab.register(cls)
    lab.store.append("a-1", [NewEvent("Happened", {"x": x}) for x in (1.25, 2.0)])
    kept = decoded._array
    monkeypatch.setattr(
        decoded, "_array", lambda values, type: kept([round(value) for value in values], type)
    )
    assert rows(lab, "happened") == {2: (2.0,)}
    assert errors(lab, "Happened")[1] == ("x", "1.25 does not fit double: it comes back as 1.0")


# Names.


def test_names_are_no_way_in(lab: Lab) -> None:
    names = ['a"b', "a'b", "a;drop", "a.b", "select", "{w}", "x y", "é", "$1", "?", "\\", "--", "w"]
    parts: dict[str, Any] = dict.fromkeys(names, (int, 1))
    inner = create_model("Inner", **parts)
    parts |= {'in"ner': (list[inner], ...), "choice": (Literal["'); drop table x; --"], ...)}
    kind = "x'; drop table eslab.event_log; --"
    cls = create_model("X", __base__=Event, __cls_kwargs__={"type": kind}, **parts)
    event = cls(**{'in"ner': [inner()], "choice": "'); drop table x; --"})
    lab.append("a-1", [event])
    raw = parse_json(encode(event).data) | {"select": "1"}
    lab.store.append("a-1", [NewEvent(kind, raw), NewEvent(kind, {"a'b": "'"})])
    table = table_name(kind)
    row = (*[1] * len(names), [dict.fromkeys(names, 1)], "'); drop table x; --")
    assert rows(lab, table) == {1: row, 2: row}
    assert errors(lab, kind).keys() == {3}
    assert event_shape(cls).exact


def test_a_projection_and_an_event_type_of_one_name_are_refused(lab: Lab) -> None:
    class OrderRow(Row, key=("id",)):
        id: str

    class Orders(Projection):
        name = "order_placed"
        row = OrderRow

        @on
        def placed(self, event: OrderPlaced, rows: Rows[OrderRow]) -> None:
            pass

    with pytest.raises(RegistrationError, match=r"event type 'OrderPlaced'.*projection 'order_pl"):
        lab.project(Orders())
    assert lab.sql("select count(*) from duckdb_tables() where schema_name = 'rm'").scalar() == 0


def test_the_names_of_the_store_are_those_of_its_tables(lab: Lab) -> None:
    found = lab.sql(
        "select table_name from information_schema.tables where table_schema = 'eslab'"
    ).fetchall()
    assert {name for (name,) in found} == SYSTEM_TABLES
