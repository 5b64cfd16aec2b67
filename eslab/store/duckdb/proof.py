"""Stored JSON to typed columns inside DuckDB, row by row, with a proof for each row.

DuckDB's own conversion is quick and careless: what it cannot cast becomes NULL, 1.5 becomes 2,
``"7"`` becomes 7, a key that is absent or unknown goes unnoticed. So it is never believed. A row
counts as converted only if both of these hold; every other one is left to its class, in Python.

1. *The wire value gives the same text.* The JSON is read into a struct of the few types that JSON
   has (`wire`), with its keys in order, and written as JSON again. The log holds canonical JSON, so
   this is the same text exactly if nothing was cast, dropped, added or lost.
2. *The text of each value is one that has one meaning* (`proof`). JSON says dates, Decimals, UUIDs
   and the like as strings, which pydantic and DuckDB read with generosity, each in its own way; a
   pattern admits only the forms that both read alike, within the limits of the field and of the
   column.

Both are only ever too strict, which costs time and nothing else. They hold for columns that are
`exact`: where decoding by the class does nothing else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from eslab.schema.columns import Column, Json, Keyed, Many, Nested, Scalar
from eslab.schema.naming import literal, quoted

__all__ = ["proof", "structure", "value"]


@dataclass(frozen=True, slots=True)
class _Form:
    """How one kind of scalar stands in JSON; its SQL says ``{w}`` for the wire value.

    Attributes:
        wire: its type in JSON.
        value: its value in the column.
        pattern: of its text; it admits no text that pydantic would read otherwise.
        proof: what must hold beside the pattern.
    """

    wire: str = "varchar"
    value: str = "{w}"
    pattern: str | None = None
    proof: str | None = None


_DAY: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK: Final = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
# Within these years an offset leads to no year that Python lacks.
_MOMENT: Final = f"(1[0-9]|20)[0-9]{{2}}-[0-9]{{2}}-[0-9]{{2}}T{_CLOCK}"
_OFFSET: Final = "(Z|[-+](0[0-9]|1[0-4]):[0-5][0-9])"

_PERIOD: Final = (
    r"(-?)P(?:([0-9]{1,5})Y)?(?:([0-9]{1,3})D)?(?:T(?:([0-9]{1,2})H)?(?:([0-9]{1,2})M)?"
    r"(?:([0-9]{1,2})(?:\.([0-9]{1,6}))?S)?)?"
)


def _microseconds() -> str:
    """Return the microseconds of a period as pydantic writes it: a year is 365 days."""
    names = ("sign", "years", "days", "hours", "minutes", "seconds", "fraction")
    period = f"regexp_extract({{w}}, '^{_PERIOD}$', {list(names)})"
    seconds = (365 * 86400, 86400, 3600, 60, 1)
    whole = " + ".join(
        f"{unit} * coalesce(try_cast({period}.{name} as bigint), 0)"
        for name, unit in zip(names[1:-1], seconds, strict=True)
    )
    fraction = f"try_cast(rpad({period}.fraction, 6, '0') as bigint)"
    return f"(if(starts_with({{w}}, '-'), -1, 1) * (1000000 * ({whole}) + {fraction}))"


_FORMS: Final[Mapping[str, _Form]] = {
    "bool": _Form(wire="boolean"),
    "int": _Form(wire="bigint"),
    "float": _Form(wire="double"),
    "str": _Form(),
    "date": _Form(value="try_cast({w} as date)", pattern=_DAY, proof="{w} > '0001'"),
    "time": _Form(value="try_cast({w} as time)", pattern=_CLOCK),
    "datetime": _Form(value="try_cast({w} as timestamptz)", pattern=_MOMENT + _OFFSET),
    "naive_datetime": _Form(value="try_cast({w} as timestamp)", pattern=_MOMENT),
    "timedelta": _Form(
        value=_microseconds(), pattern=_PERIOD, proof="right({w}, 1) not in ('P', 'T')"
    ),
    "uuid": _Form(value="try_cast({w} as uuid)", proof="try_cast({w} as uuid)::varchar = {w}"),
    "bytes": _Form(value="encode({w})"),
}


def _form(column: Scalar, w: str = "") -> _Form:
    """Return the form of a column, over the SQL of a wire value."""
    form = _decimal(column) if column.kind == "decimal" else _FORMS[column.kind]
    proof = None if form.proof is None else form.proof.replace("{w}", w)
    return replace(form, value=form.value.replace("{w}", w), proof=proof)


def _decimal(column: Scalar) -> _Form:
    precision, scale = column.digits
    whole = f"[0-9]{{1,{precision - scale}}}" if precision > scale else "0"
    fraction = rf"(\.[0-9]{{1,{scale}}})" if scale else ""
    if scale and precision > scale:
        fraction += "?"  # else pydantic counts the 0 alone as a digit too many
    digits = column.limits.get("max_digits") or precision
    return _Form(
        value=f"try_cast({{w}} as {column.sql})",
        pattern=f"-?{whole}{fraction}",
        # Zeros in front are counted: too strict, and seldom.
        proof=f"length(translate({{w}}, '-.', '')) <= {digits}" if digits < precision else None,
    )


def structure(column: Column) -> str:
    """Return the type of the wire value, as `json_transform` takes it.

    Example:
        >>> from eslab import Event
        >>> from eslab.schema.shapes import event_shape
        >>> class Sold(Event):
        ...     price: float
        ...     item: str
        >>> print(structure(event_shape(Sold)).replace(chr(92), ""))
        '"STRUCT("item" varchar, "price" double)"'
    """
    return literal(json.dumps(_wire(column), ensure_ascii=False))


def _wire(column: Column) -> str:
    match column:
        case Scalar():
            return _form(column).wire
        case Many():
            return f"{_wire(column.item)}[]"
        case Keyed():
            return f"MAP(varchar, {_wire(column.value)})"
        case Nested():
            fields = sorted(column.fields.items())
            return f"STRUCT({', '.join(f'{quoted(name)} {_wire(item)}' for name, item in fields)})"
        case _:
            return "JSON"


def value(column: Column, w: str, *, depth: int = 0) -> str:
    """Return the SQL of a column's value.

    Args:
        column: the column.
        w: the SQL of the wire value.
        depth: in how many lists and dicts it is.
    """
    x = f"x{depth}"
    match column:
        case Scalar():
            return _form(column, w).value
        case Many():
            item = value(column.item, x, depth=depth + 1)
            return w if item == x else f"list_transform({w}, lambda {x}: {item})"
        case Keyed():
            item = value(column.value, f"{x}.value", depth=depth + 1)
            entry = f"struct_pack(k := {x}.key, v := {item})"
            return f"map_from_entries(list_transform(map_entries({w}), lambda {x}: {entry}))"
        case Nested():
            parts = (
                f"{quoted(name)} := {value(item, f'{w}.{quoted(name)}', depth=depth)}"
                for name, item in column.fields.items()
            )
            return f"case when {w} is not null then struct_pack({', '.join(parts)}) end"
        case _:
            return f"{w}::json"


def proof(column: Column, w: str, *, depth: int = 0) -> str:
    """Return the SQL that says whether a wire value has one meaning; false or NULL if it has not.

    Args:
        column: the column.
        w: the SQL of the wire value.
        depth: in how many lists and dicts it is.
    """
    x = f"x{depth}"
    parts: list[str] = []
    match column:
        case Scalar():
            parts += _scalar_proofs(column, w)
        case Many():
            item = proof(column.item, x, depth=depth + 1)
            parts.append(_all(w, x, item))
            if column.unique:
                parts.append(f"len(list_distinct({w})) = len({w})")
        case Keyed():
            item = proof(column.value, f"{x}.value", depth=depth + 1)
            parts.append(_all(f"map_entries({w})", x, item))
        case Nested():
            parts += [
                proof(item, f"{w}.{quoted(name)}", depth=depth)
                for name, item in column.fields.items()
            ]
        case Json(is_object=True):
            parts.append(f"json_type({w}) = 'OBJECT'")
    if column.nullable:
        return f"({w} is null or ({' and '.join(parts) or 'true'}))"
    return f"({' and '.join([f'{w} is not null', *parts])})"


def _all(items: str, x: str, item: str) -> str:
    each = f"list_transform({items}, lambda {x}: coalesce({item}, false))"
    return f"list_bool_and({each}) is not false"


_SIGNS: Final[Mapping[str, str]] = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def _scalar_proofs(column: Scalar, w: str) -> list[str]:
    form = _form(column, w)
    parts = []
    if form.pattern is not None:
        parts.append(f"regexp_full_match({w}, {literal(form.pattern)})")
    if form.proof is not None:
        parts.append(form.proof)
    if form.value != w:
        parts.append(f"{form.value} is not null")
    for name, limit in column.limits.items():
        if name in _SIGNS:
            parts.append(_bound(column, form.value, _SIGNS[name], limit))
        elif name in ("min_length", "max_length"):
            parts.append(f"length({w}) {'>=' if name == 'min_length' else '<='} {int(limit)}")
        elif name == "expected":
            options = (literal(item) if isinstance(item, str) else str(item) for item in limit)
            parts.append(f"{w} in ({', '.join(options)})")
    return parts


def _bound(column: Scalar, found: str, sign: str, limit: Any) -> str:
    """Return the SQL of a comparison; ``false`` where SQL may compare otherwise than Python."""
    if column.kind == "float" and isinstance(limit, int | float) and float(limit) == limit:
        return f"{found} {sign} {float(limit)!r}::double" if math.isfinite(limit) else "false"
    if limit != int(limit) or abs(limit) >= 2**63:
        return "false"
    if column.kind == "decimal":
        precision, scale = column.digits
        if abs(limit) >= 10 ** (precision - scale):
            return "false"
    return f"{found} {sign} {int(limit)}::{column.sql}"
