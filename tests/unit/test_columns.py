"""The columns of event classes: which type each field has, and which names."""

from __future__ import annotations

from typing import Any

import pytest
from event_types import DECODED, EXACT, class_of
from pydantic import Field, create_model, field_validator, model_validator

from eslab import Event, RegistrationError, SchemaError
from eslab.schema import EventRegistry
from eslab.schema.columns import BASE_COLUMNS, event_columns
from eslab.schema.naming import SYSTEM_TABLES, table_name
from eslab.schema.shapes import event_shape


@pytest.mark.parametrize("name", EXACT)
def test_types_that_sql_converts(name: str) -> None:
    kind, sql = EXACT[name]
    shape = event_shape(class_of(kind))
    assert (shape.fields["x"].sql, shape.exact) == (sql, True)


@pytest.mark.parametrize("name", DECODED)
def test_types_that_their_class_decodes(name: str) -> None:
    kind, sql = DECODED[name]
    shape = event_shape(class_of(kind))
    assert (shape.fields["x"].sql, shape.exact) == (sql, False)


def test_validators_of_a_class_are_seen() -> None:
    class Checked(Event):
        x: int = 0
        y: list[str] = []  # noqa: RUF012 - pydantic copies it

        @field_validator("y")
        @classmethod
        def sorted_y(cls, value: list[str]) -> list[str]:
            return sorted(value)

    class Whole(Event):
        x: int

        @model_validator(mode="before")
        @classmethod
        def filled(cls, data: Any) -> Any:
            return {"x": 1, **data}

    class Posted(Event):
        x: int

        def model_post_init(self, context: Any) -> None:
            pass

    assert [column.sql for column in event_shape(Checked).fields.values()] == [
        "bigint",
        "varchar[]",
    ]
    assert not any(event_shape(cls).exact for cls in (Checked, Whole, Posted))


def test_a_default_changes_nothing() -> None:
    class Defaulted(Event):
        x: int | None = None
        y: list[int] = Field(default_factory=list)

    assert event_shape(Defaulted).exact


def test_a_class_that_is_not_complete() -> None:
    cls = type(
        "Later", (Event,), {"__annotations__": {"x": "NotYetDefined"}, "__module__": __name__}
    )
    with pytest.raises(SchemaError, match=r"Later is not complete: .*NotYetDefined"):
        event_shape(cls)


# Names.


def test_fields_called_as_base_columns() -> None:
    fields: dict[str, Any] = dict.fromkeys([*BASE_COLUMNS, "Version", "other"], (int, ...))
    del fields["version"]
    cls = create_model("Moved", __base__=Event, **fields)
    assert event_columns(cls) == {
        name: name if name == "other" else f"data_{name}" for name in fields
    }


@pytest.mark.parametrize("fields", [("a", "A"), ("position", "data_position"), ("É", "é")])
def test_fields_that_sql_does_not_tell_apart_fail_at_registration(fields: tuple[str, str]) -> None:
    parts: dict[str, Any] = dict.fromkeys(fields, (int, ...))
    cls = create_model("Moved", __base__=Event, **parts)
    with pytest.raises(SchemaError, match=r"Moved: the columns .* are one name in SQL"):
        EventRegistry(cls)


@pytest.mark.parametrize(
    ("type", "table"),
    [
        ("OrderPlaced", "order_placed"),
        ("order-placed", "order_placed"),
        ("com.shop.OrderPlaced", "com_shop_order_placed"),
        ("Größe", "größe"),
        ('a"; drop table x; --', "a___drop_table_x____"),
    ],
)
def test_table_names(type: str, table: str) -> None:
    assert table_name(type) == table
    cls = create_model("X", __base__=Event, __cls_kwargs__={"type": type})
    assert list(EventRegistry(cls)) == [type]


@pytest.mark.parametrize("type", ["1st", "_", "-", "...", "2"])
def test_types_that_cannot_be_tables_fail_at_registration(type: str) -> None:
    cls = create_model("X", __base__=Event, __cls_kwargs__={"type": type})
    with pytest.raises(SchemaError, match="cannot be a table"):
        EventRegistry(cls)


def test_two_types_of_one_table_fail_at_registration() -> None:
    registry = EventRegistry(create_model("OrderPlaced", __base__=Event))
    cls = create_model("X", __base__=Event, __cls_kwargs__={"type": "order_placed"})
    with pytest.raises(RegistrationError, match=r"'order_placed'.*that of the event type 'OrderP"):
        registry.register(cls)
    assert list(registry) == ["OrderPlaced"]


@pytest.mark.parametrize("table", sorted(SYSTEM_TABLES))
def test_the_tables_of_the_store_are_taken(table: str) -> None:
    cls = create_model("X", __base__=Event, __cls_kwargs__={"type": table})
    with pytest.raises(RegistrationError, match="that of the store"):
        EventRegistry(cls)


def test_claims() -> None:
    registry = EventRegistry()
    registry.claim_table("orders", "the projection 'orders'")
    registry.claim_table("orders", "the projection 'orders'")
    with pytest.raises(RegistrationError, match="the projection 'orders'"):
        registry.register(create_model("Orders", __base__=Event))
