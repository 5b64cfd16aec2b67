"""The columns of an event class, read off pydantic's core schema.

The core schema alone says all that decoding does: types, limits, settings, functions. Whatever is
in it that is not known here makes a column that SQL is not trusted with, or JSON; never an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel, PydanticUserError, TypeAdapter

from eslab.events import Event
from eslab.schema.columns import SCALARS, Column, Json, Keyed, Many, Nested, Scalar, same_name
from eslab.schema.json_schema import require_complete
from eslab.schema.naming import quoted

__all__ = ["event_shape"]

_ANY_JSON: Final = Json(sql="json", exact=False)


def event_shape(cls: type[Event]) -> Nested:
    """Return the columns of an event class, as those of one nested value.

    Raises:
        SchemaError: an annotation of the class names something that is not defined yet.

    Example:
        >>> class OrderPlaced(Event):
        ...     amount: float | None
        ...     lines: list[int] = []
        >>> {name: column.sql for name, column in event_shape(OrderPlaced).fields.items()}
        {'amount': 'double', 'lines': 'bigint[]'}
    """
    require_complete(cls)
    schema, definitions = _resolved(cls.__pydantic_core_schema__, {})
    inner, exact = _without_functions(schema)
    return _Reader(definitions, inside=inner.get("ref", "")).model(inner, exact=exact)


_Schema = Mapping[str, Any]


def _resolved(schema: Any, definitions: dict[str, _Schema]) -> tuple[_Schema, dict[str, _Schema]]:
    while schema["type"] in ("definitions", "definition-ref"):
        if schema["type"] == "definitions":
            definitions |= {item["ref"]: item for item in schema["definitions"]}
            schema = schema["schema"]
        else:
            schema = definitions[schema["schema_ref"]]
    return schema, definitions


_WRAPPERS: Final = frozenset({"default", "function-after", "function-before", "function-wrap"})


def _without_functions(schema: _Schema) -> tuple[_Schema, bool]:
    """Return what the wrappers are around, and whether none of them is a function."""
    exact = True
    while schema["type"] in _WRAPPERS:
        exact = exact and schema["type"] == "default"
        schema = schema["schema"]
    return schema, exact


_HARMLESS: Final = frozenset({"type", "metadata", "ref", "serialization"})
_BOUNDS: Final = frozenset({"ge", "gt", "le", "lt"})
_KNOWN: Final[Mapping[str, frozenset[str]]] = {
    "bool": frozenset(),
    "int": _BOUNDS,
    "float": _BOUNDS | {"allow_inf_nan"},
    "str": frozenset({"min_length", "max_length"}),
    "date": frozenset(),
    "time": frozenset({"microseconds_precision"}),
    "datetime": frozenset({"microseconds_precision", "tz_constraint"}),
    "timedelta": frozenset({"microseconds_precision"}),
    "decimal": _BOUNDS | {"allow_inf_nan", "decimal_places", "max_digits"},
    "uuid": frozenset(),
    "bytes": frozenset(),
    "literal": frozenset({"expected"}),
    "enum": frozenset({"cls", "members", "sub_type"}),
    "list": frozenset({"items_schema"}),
    "set": frozenset({"items_schema"}),
    "frozenset": frozenset({"items_schema"}),
    "deque": frozenset({"items_schema"}),
    "tuple": frozenset({"items_schema", "variadic_item_index"}),
    "dict": frozenset({"keys_schema", "values_schema"}),
    "any": frozenset(),
    "nullable": frozenset({"schema"}),
    "model": frozenset(
        {"cls", "config", "custom_init", "frozen", "generic_origin", "root_model", "schema"}
    ),
    "model-fields": frozenset({"computed_fields", "fields", "model_name"}),
    "model-field": frozenset({"frozen", "schema", "serialization_alias", "serialization_exclude"}),
}
"""The words of pydantic's core schema under which decoding is understood here, by type."""

_KNOWN_CONFIG: Final = frozenset({"extra_fields_behavior", "ser_json_inf_nan", "title"})


def _is_known(schema: _Schema) -> bool:
    said = {key for key, value in schema.items() if not (key == "strict" and value is False)}
    return said <= _HARMLESS | _KNOWN.get(schema["type"], frozenset())


class _Reader:
    """Reads columns off a core schema.

    Args:
        definitions: the parts of the schema that are named in it.
        inside: the name of the part that is read first.
    """

    def __init__(self, definitions: Mapping[str, _Schema], *, inside: str) -> None:
        self._definitions = definitions
        self._open = [inside]

    def model(self, schema: _Schema, *, exact: bool = True) -> Nested:
        """Return the columns of a model's fields, as one nested column."""
        inside, plain = _without_functions(schema["schema"])
        fields = {
            name: self._field(schema["cls"], name, field)
            for name, field in inside["fields"].items()
        }
        exact = (
            exact
            and plain
            and _is_known(schema)
            and _is_known(inside)
            and not schema.get("custom_init")
            and schema.get("config", {}).keys() <= _KNOWN_CONFIG
            and all(column.exact for column in fields.values())
        )
        parts = ", ".join(f"{quoted(name)} {column.sql}" for name, column in fields.items())
        return Nested(sql=f"struct({parts})", exact=exact, fields=fields)

    def _field(self, cls: type[BaseModel], name: str, field: _Schema) -> Column:
        inner, plain = _without_functions(field["schema"])
        if not plain and _has_functions(cls.model_fields[name].annotation):
            return _ANY_JSON
        column = self._column(inner)
        return replace(column, exact=column.exact and plain and _is_known(field))

    def _column(self, schema: _Schema) -> Column:
        """Return the column of any part of a schema."""
        inner, plain = _without_functions(schema)
        if not plain:
            model = inner["type"] == "model"
            return replace(self._column(inner), exact=False) if model else _ANY_JSON
        kind = schema["type"]
        if kind == "definition-ref":
            return self._definition(schema["schema_ref"])
        if kind == "default":
            return self._column(schema["schema"])
        if kind == "nullable":
            return replace(self._column(schema["schema"]), nullable=True)
        if kind == "any":
            return Json(sql="json", nullable=True)
        column = self._value(kind, schema)
        return replace(column, exact=column.exact and _is_known(schema))

    def _value(self, kind: str, schema: _Schema) -> Column:
        if kind in ("list", "set", "frozenset", "deque", "tuple"):
            return self._many(kind, schema)
        if kind == "dict":
            return self._keyed(schema)
        if kind == "model":
            return self._nested(schema)
        if kind == "literal":
            return _choice(schema["expected"])
        if kind == "enum":
            return _choice([member.value for member in schema["members"]])
        return _scalar(kind, schema)

    def _definition(self, ref: str) -> Column:
        if ref in self._open:  # a model in itself, at any depth
            return _ANY_JSON
        self._open.append(ref)
        column = self._column(self._definitions[ref])
        self._open.pop()
        return column

    def _many(self, kind: str, schema: _Schema) -> Column:
        items = schema.get("items_schema", {"type": "any"})
        if kind == "tuple":
            if len(items) != 1 or schema.get("variadic_item_index") != 0:
                return _ANY_JSON
            items = items[0]
        item = self._column(items)
        unique = kind in ("set", "frozenset")
        exact = item.exact and (not unique or _is_distinct_as_text(item))
        return Many(sql=f"{item.sql}[]", item=item, unique=unique, exact=exact)

    def _keyed(self, schema: _Schema) -> Column:
        keys = schema.get("keys_schema", {"type": "any"})
        values = schema.get("values_schema", {"type": "any"})
        if keys["type"] not in ("any", "str") or keys.keys() - _HARMLESS:
            return _ANY_JSON
        if values["type"] == "any":
            return Json(sql="json", is_object=True)
        value = self._column(values)
        return Keyed(sql=f"map(varchar, {value.sql})", value=value, exact=value.exact)

    def _nested(self, schema: _Schema) -> Column:
        inside, _ = _without_functions(schema["schema"])
        if (
            inside["type"] != "model-fields"
            or not inside["fields"]
            or schema.get("config", {}).get("extra_fields_behavior") == "allow"
            or same_name(inside["fields"])
        ):
            return _ANY_JSON
        return self.model(schema)


def _has_functions(annotation: Any) -> bool:
    """Say whether a type itself, not a validator of a field, is read by functions.

    What a validator returns is of the type that the field says, and so are those of a model; what
    a class of its own makes of its input is anything.
    """
    try:
        schema, _ = _resolved(TypeAdapter(annotation).core_schema, {})
    except PydanticUserError:
        return True
    inner, plain = _without_functions(schema)
    return not plain and inner["type"] != "model"


_DISTINCT: Final = frozenset({"bool", "date", "int", "str"})


def _is_distinct_as_text(item: Column) -> bool:
    return isinstance(item, Scalar) and item.kind in _DISTINCT and not item.nullable


def _choice(values: list[Any]) -> Column:
    for kind, cls in (("str", str), ("int", int)):
        if all(isinstance(value, cls) and not isinstance(value, bool | Enum) for value in values):
            return Scalar(sql=SCALARS[kind], kind=kind, limits={"expected": tuple(values)})
    return _ANY_JSON


def _scalar(kind: str, schema: _Schema) -> Column:
    if kind in ("datetime", "time") and schema.get("tz_constraint") == "naive":
        kind = "naive_datetime" if kind == "datetime" else "time"
    elif kind == "time" and schema.get("tz_constraint"):
        return _ANY_JSON
    if kind not in SCALARS:
        return _ANY_JSON
    limits = {key: value for key, value in schema.items() if key not in _HARMLESS}
    if kind == "decimal":
        digits = _digits(limits.get("max_digits"), limits.get("decimal_places"))
        sql = "decimal({},{})".format(*digits)
        return Scalar(sql=sql, kind=kind, limits=limits, digits=digits)
    return Scalar(sql=SCALARS[kind], kind=kind, limits=limits)


def _digits(digits: int | None, places: int | None) -> tuple[int, int]:
    """Return precision and scale of the narrowest column for Decimals within these limits.

    DuckDB's widest column has 38 digits; without a limit 10 of them are behind the point.

    Example:
        >>> _digits(10, 2), _digits(5, None), _digits(None, None)
        ((10, 2), (10, 5), (38, 10))
    """
    if places is None and digits is not None and 0 < 2 * digits <= 38:
        return 2 * digits, digits
    if places is None or not 0 <= places <= 38:
        return 38, 10
    return min(38, max(1, digits or 38, places)), places
