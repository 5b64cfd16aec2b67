"""The SQL columns of a pydantic model: of the rows of a read model, and of a type of events."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel

from eslab.errors import SchemaError
from eslab.events import Event

__all__ = [
    "BASE_COLUMNS",
    "SCALARS",
    "Column",
    "Json",
    "Keyed",
    "Many",
    "Nested",
    "Scalar",
    "columns_of",
    "event_columns",
    "same_name",
]

SCALARS: Final[Mapping[str, str]] = {
    "bool": "boolean",
    "int": "bigint",
    "float": "double",
    "str": "varchar",
    "date": "date",
    "time": "time",
    "datetime": "timestamptz",
    "naive_datetime": "timestamp",
    "timedelta": "bigint",
    "decimal": "decimal(38,10)",
    "uuid": "uuid",
    "bytes": "blob",
}
"""The column of each kind of scalar, under pydantic's word for it."""

_ROW_KINDS: Final[Mapping[Any, str]] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    date: "date",
    datetime: "datetime",
    Decimal: "decimal",
    UUID: "uuid",
}


def columns_of(model: type[BaseModel]) -> dict[str, str]:
    """Return the SQL type of each field of a model.

    Raises:
        SchemaError: a field has a type that no column stands for.

    Example:
        >>> class Delay(BaseModel):
        ...     airport: str
        ...     minutes: int | None = None
        >>> columns_of(Delay)
        {'airport': 'varchar not null', 'minutes': 'bigint'}
    """
    return {
        name: _row_column(f"{model.__qualname__}.{name}", field.annotation)
        for name, field in model.model_fields.items()
    }


def _row_column(where: str, annotation: Any) -> str:
    optional = False
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
        if len(members) == 1:
            annotation, optional = members[0], True
    if annotation not in _ROW_KINDS:
        known = ", ".join(sorted(kind.__name__ for kind in _ROW_KINDS))
        raise SchemaError(f"{where} is {annotation!r}; a column is one of: {known} (or None)")
    return SCALARS[_ROW_KINDS[annotation]] + ("" if optional else " not null")


# The table of an event type.

BASE_COLUMNS: Final[Mapping[str, str]] = {
    "position": "bigint",
    "stream_id": "varchar",
    "version": "integer",
    "occurred_at": "timestamptz",
    "recorded_at": "timestamptz",
    "event_id": "uuid",
}
"""What every table of an event type begins with."""


def event_columns(cls: type[Event]) -> dict[str, str]:
    """Return the name of the column of each field of an event class.

    Raises:
        SchemaError: two columns would have names that SQL does not tell apart.

    Example:
        >>> class Moved(Event):
        ...     position: str
        ...     speed: float
        >>> event_columns(Moved)
        {'position': 'data_position', 'speed': 'speed'}
    """
    names = {
        field: f"data_{field}" if field.lower() in BASE_COLUMNS else field
        for field in cls.model_fields
    }
    if pair := same_name(names.values()):
        raise SchemaError(
            f"{cls.__qualname__}: the columns {pair[0]!r} and {pair[1]!r} of its table are one "
            f"name in SQL, which does not tell capitals; rename a field (one that is called "
            f"{', '.join(BASE_COLUMNS)} has data_ before it)"
        )
    return names


def same_name(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two names that SQL does not tell apart; None if it tells all.

    Example:
        >>> same_name(["a", "b", "A"])
        ('a', 'A')
    """
    held: dict[str, str] = {}
    for name in names:
        if name.lower() in held:
            return held[name.lower()], name
        held[name.lower()] = name
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What a field's values are in SQL.

    Attributes:
        sql: the type of the column.
        nullable: whether None is a value of the field.
        exact: whether decoding changes nothing but the form: no validator of the user's own, no
            conversion of settings, no choice between types. Only then can SQL read the stored
            JSON in the place of the class.
    """

    sql: str
    nullable: bool = False
    exact: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar(Column):
    """One value; an enum and a Literal are those of their values.

    Attributes:
        kind: pydantic's word for the type.
        limits: what pydantic demands of the value beside its type, under pydantic's words.
        digits: of a Decimal's column: how many it has, and how many of them behind the point.
    """

    kind: str
    limits: Mapping[str, Any]
    digits: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Many(Column):
    """A list, a tuple of any length, a set."""

    item: Column
    unique: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyed(Column):
    """A dict under strings."""

    value: Column


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested(Column):
    """A model."""

    fields: Mapping[str, Column]


@dataclass(frozen=True, slots=True, kw_only=True)
class Json(Column):
    """Anything else, as canonical JSON: unions, Any, tuples of several types, classes.

    Attributes:
        is_object: whether it is always an object.
    """

    is_object: bool = False
