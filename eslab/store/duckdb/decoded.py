"""Stored JSON to typed columns through the class of the events, for what SQL could not prove.

The class decodes, Arrow carries the values, DuckDB casts them; then each value is read back and
compared with that of the event. A row in which any of them differs is a `Misfit`, never a guess.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any, Final

import duckdb
import pyarrow as pa
from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from eslab.events import Event
from eslab.schema.canonical import canonical_json, parse_json, sorted_sets
from eslab.schema.codec import event_of
from eslab.schema.columns import Column, Keyed, Many, Nested, Scalar
from eslab.schema.naming import quoted
from eslab.store.duckdb.cursors import lent

__all__ = ["Misfit", "StoredRow", "decoded"]

_ODD: Final = (pa.ArrowException, OverflowError, TypeError, ValueError)
_MICROSECOND: Final = timedelta(microseconds=1)

StoredRow = tuple[int, int, str]
"""Position, schema version and data of an event."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why an event is no row of the table of its type.

    Attributes:
        position: of the event.
        column: where it does not fit; None if it is the event as a whole.
        reason: what was found, and why that does not fit.
    """

    position: int
    column: str | None
    reason: str


def decoded(
    cursor: duckdb.DuckDBPyConnection,
    cls: type[Event],
    columns: Mapping[str, tuple[str, Column]],
    rows: Sequence[StoredRow],
) -> tuple[pa.Table, list[Misfit]]:
    """Return the rows that fit, as a table of their positions and columns, and the other ones.

    Args:
        cursor: casts the values as the table will.
        cls: the class of the events.
        columns: name and form of the column of each field.
        rows: the events as they are stored.
    """
    misfits: dict[int, Misfit] = {}
    values: dict[int, dict[str, Any]] = {}
    for position, schema_version, data in rows:
        found = _values(cls, columns, position, schema_version, data)
        if isinstance(found, Misfit):
            misfits[position] = found
        else:
            values[position] = found
    table = _arrow(cursor, columns, values, misfits)
    _compare(cursor, columns, values, table, misfits)
    fits = pa.array([position not in misfits for position in values], pa.bool_())
    return table.filter(fits), list(misfits.values())


def _values(
    cls: type[Event],
    columns: Mapping[str, tuple[str, Column]],
    position: int,
    schema_version: int,
    data: str,
) -> dict[str, Any] | Misfit:
    """Return the plain value of each column of one event."""
    try:
        event = event_of(cls, parse_json(data), schema_version=schema_version)
    except ValidationError as error:
        return _invalid(position, columns, error)
    except Exception as error:  # a validator of the user's own may raise anything
        return Misfit(position, None, f"decoding it raised {error!r:.400}")
    for key in event.model_extra or {}:
        return Misfit(position, key, "is no field of the class, so that it has no column")
    values = {}
    for field, (name, column) in columns.items():
        held = getattr(event, field)
        try:
            values[name] = _plain(column, held)
        except Exception as error:  # so may what turns a value into JSON
            return Misfit(position, name, _reason(held, column, error))
    return values


def _invalid(
    position: int, columns: Mapping[str, tuple[str, Column]], error: ValidationError
) -> Misfit:
    first = error.errors(include_url=False, include_context=False)[0]
    reason = f"{first['msg']}, found {first['input']!r:.200}"
    if not first["loc"]:
        return Misfit(position, None, reason)
    field, *inside = map(str, first["loc"])
    if inside:
        reason = f"{'.'.join(inside)}: {reason}"
    return Misfit(position, columns[field][0] if field in columns else field, reason)


def _plain(column: Column, value: Any) -> Any:
    """Return a value as Arrow takes it and gives it back."""
    if value is None:
        return None
    match column:
        case Scalar():
            return _plain_scalar(column.kind, value)
        case Many():
            items = sorted(value, key=_json) if column.unique else value
            return [_plain(column.item, item) for item in items]
        case Keyed():
            return [(key, _plain(column.value, item)) for key, item in value.items()]
        case Nested():
            parts = column.fields.items()
            return {name: _plain(part, getattr(value, name)) for name, part in parts}
        case _:
            return _json(value)


def _plain_scalar(kind: str, value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if kind == "timedelta":
        return value // _MICROSECOND
    if kind == "uuid":
        return str(value)
    if kind == "float" and not math.isfinite(value):
        raise ValueError("it is not finite")
    if kind == "datetime" and value.utcoffset() is None:
        raise ValueError("it has no time zone; a field of such times is a NaiveDatetime")
    if kind == "int" and not -(2**63) <= value < 2**63:
        raise ValueError("it has more than 64 bits; a Decimal of 38 digits and 0 places holds more")
    return value


def _json(value: Any) -> str:
    plain = to_jsonable_python(value, by_alias=False, round_trip=True, inf_nan_mode="constants")
    return canonical_json(sorted_sets(plain, value))


def _arrow(
    cursor: duckdb.DuckDBPyConnection,
    columns: Mapping[str, tuple[str, Column]],
    rows: Mapping[int, Mapping[str, Any]],
    misfits: dict[int, Misfit],
) -> pa.Table:
    """Return the values as a table; one that its column cannot hold is null there, and a misfit."""
    positions = list(rows)
    arrays = {"position": pa.array(positions, pa.int64())}
    nulls = ", ".join(f"null::{column.sql} as {quoted(name)}" for name, column in columns.values())
    types = cursor.sql(f"select {nulls or 'null'}").to_arrow_table().schema.types
    for (name, column), type in zip(columns.values(), types, strict=False):
        values = [row[name] for row in rows.values()]
        arrays[name], refused = _array(values, type)
        for index, error in refused.items():
            reason = _reason(values[index], column, error)
            misfits.setdefault(positions[index], Misfit(positions[index], name, reason))
    return pa.table(arrays)


def _array(values: list[Any], type: pa.DataType) -> tuple[pa.Array, dict[int, Exception]]:
    refused: dict[int, Exception] = {}
    try:
        return pa.array(values, type), refused
    except _ODD:
        for index, value in enumerate(values):
            try:
                pa.array([value], type)
            except _ODD as error:
                refused[index] = error
    kept = [None if index in refused else value for index, value in enumerate(values)]
    return pa.array(kept, type), refused


def _compare(
    cursor: duckdb.DuckDBPyConnection,
    columns: Mapping[str, tuple[str, Column]],
    rows: Mapping[int, Mapping[str, Any]],
    table: pa.Table,
    misfits: dict[int, Misfit],
) -> None:
    """Note a misfit for each value that DuckDB does not give back as it was."""
    if not columns:
        return
    cast = ", ".join(f"{quoted(name)}::{column.sql}" for name, column in columns.values())
    with lent(cursor, "decoded_rows", table):
        back = cursor.sql(f"select {cast} from decoded_rows").to_arrow_table()
    for (name, column), found in zip(columns.values(), back.columns, strict=True):
        for (position, row), value in zip(rows.items(), _listed(found), strict=True):
            if value != row[name] and position not in misfits:
                reason = _reason(row[name], column, f"it comes back as {value!r}")
                misfits[position] = Misfit(position, name, reason)


def _listed(column: pa.ChunkedArray) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
    except _ODD:
        return [_one(value) for value in column]
    return values


def _one(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except _ODD as error:
        return error


def _reason(value: Any, column: Column, error: object) -> str:
    return f"{value!r:.200} does not fit {column.sql}: {error!s:.200}"
