"""Canonical JSON: the same value always gives the same bytes, and nothing is lost on the way."""

from __future__ import annotations

import json
import math
import uuid
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from pydantic import BaseModel, RootModel
from pydantic_core import PydanticSerializationError, to_json

from eslab.errors import InputError

__all__ = ["PLAIN", "canonical_json", "check_json", "parse_json", "plain_json", "sorted_sets"]

_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode


def canonical_json(value: Any, *, what: str = "the value") -> str:
    """Return `value` as JSON with sorted keys, no spaces and no ASCII escapes.

    Args:
        value: JSON values: None, booleans, numbers, strings, lists, and dicts with string keys.
        what: the name of the value, for the error.

    Raises:
        InputError: it holds something that JSON has no word for, NaN and infinity included.

    Example:
        >>> canonical_json({"b": [1, 2.5], "a": "é"})
        '{"a":"é","b":[1,2.5]}'
    """
    try:
        if type(value) is dict and _TEXTS.issuperset(map(type, value)):
            plain = plain_json(value, sorted(value))
            if plain is not None:
                return plain
        check_json(value, what)
        text = _encode(value)
        text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{what} cannot be written as JSON: {error}") from None
    return text


PLAIN: Final = frozenset({str, int, bool, type(None)})
"""The types of values that are written as they are."""
_TEXTS: Final = frozenset({str})


def check_json(value: Any, path: str) -> None:
    """Raise InputError for a value that JSON has no word for, with its path.

    Args:
        value: of any kind.
        path: what it is called.
    """
    # The encoder would quietly turn int keys into strings and tuples into lists, and would name
    # neither the place of a NaN nor that of an object.
    kind = type(value)
    if kind in PLAIN:
        return
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise InputError(f"{path} has the key {key!r}; JSON keys must be strings")
            if type(item) not in PLAIN:
                check_json(item, f"{path}.{key}")
    elif kind is list:
        for index, item in enumerate(value):
            if type(item) not in PLAIN:
                check_json(item, f"{path}[{index}]")
    elif kind is float:
        if not math.isfinite(value):
            raise InputError(f"{path} is {value}; JSON has no NaN and no infinity")
    else:
        raise InputError(f"{path} is a {kind.__name__}, which is not a JSON value: {value!r}")


def parse_json(text: str) -> Any:
    """Return the value that canonical JSON stands for."""
    return json.loads(text)


def plain_json(values: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return the canonical JSON of plain values, under names in their order; None for others."""
    data = {}
    for name in names:
        value = values[name]
        if type(value) not in PLAIN:
            return None
        data[name] = value
    try:
        return to_json(data).decode()
    except PydanticSerializationError:  # no text, which canonical_json refuses in its own words
        return None


def sorted_sets(data: Any, source: Any) -> Any:
    """Return the JSON value `data` with the lists that stand for sets sorted.

    The order of a set differs from run to run, and JSON does not say which list was one.

    Args:
        data: what pydantic made of `source`.
        source: a value of any kind, with sets at any depth.

    Raises:
        InputError: `source` holds what JSON would change: a Decimal or a key that is not finite,
            or keys that are the same as text.

    Example:
        >>> sorted_sets({"b": [3, 1, 2]}, {"b": {1, 2, 3}})
        {'b': [1, 2, 3]}
    """
    if isinstance(source, Decimal) and not source.is_finite():
        raise InputError(f"{source} has no place in an event; JSON has no NaN and no infinity")
    if isinstance(source, RootModel):
        return sorted_sets(data, source.root)
    if isinstance(data, list) and isinstance(source, _LISTS) and len(data) == len(source):
        items = [sorted_sets(*pair) for pair in zip(data, source, strict=True)]
        return sorted(items, key=_encode) if isinstance(source, (set, frozenset)) else items
    if not isinstance(data, dict):
        return data
    if isinstance(source, Mapping):
        _check_keys(data, source)
        # A serializer of the user's own may leave some out.
        if len(data) != len(source):
            return data
        pairs = zip(data.items(), source.values(), strict=True)
        return {key: sorted_sets(item, value) for (key, item), value in pairs}
    if isinstance(source, BaseModel):
        parts = dict(source)
    elif is_dataclass(source):
        parts = {item.name: getattr(source, item.name) for item in fields(source)}
    else:
        return data
    return {
        name: sorted_sets(item, parts[name])
        if name in parts and type(parts[name]) not in _SCALARS
        else item
        for name, item in data.items()
    }


def _check_keys(data: dict[str, Any], source: Mapping[Any, Any]) -> None:
    if any(isinstance(key, (float, Decimal)) and not math.isfinite(key) for key in source):
        raise InputError(f"the key of a dict is not finite: {list(source)!r:.200}")
    if len(data) < len(source) and len({*map(str, source)}) == len(data):
        raise InputError(f"keys of a dict are the same in JSON: {list(source)!r:.200}")


_LISTS = (set, frozenset, list, tuple, deque)
_SCALARS = PLAIN | {float, datetime, date, uuid.UUID}
