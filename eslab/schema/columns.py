"""The SQL columns of a pydantic model."""

from __future__ import annotations

import types
import typing
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel

from eslab.errors import SchemaError

__all__ = ["columns_of"]

_COLUMNS: Final[dict[Any, str]] = {
    bool: "boolean",
    int: "bigint",
    float: "double",
    str: "varchar",
    date: "date",
    datetime: "timestamptz",
    Decimal: "decimal(38,10)",
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
        name: _column(f"{model.__qualname__}.{name}", field.annotation)
        for name, field in model.model_fields.items()
    }


def _column(where: str, annotation: Any) -> str:
    optional = False
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
        if len(members) == 1:
            annotation, optional = members[0], True
    if annotation not in _COLUMNS:
        known = ", ".join(sorted(kind.__name__ for kind in _COLUMNS))
        raise SchemaError(f"{where} is {annotation!r}; a column is one of: {known} (or None)")
    return _COLUMNS[annotation] + ("" if optional else " not null")
