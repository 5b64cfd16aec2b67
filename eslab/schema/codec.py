"""From events to canonical JSON and back; the same event always gives the same bytes."""

from __future__ import annotations

import json
import math
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, RootModel, ValidationError
from pydantic_core import PydanticSerializationError

from eslab.errors import InputError, SchemaError
from eslab.events import Event, Metadata, NewEvent, RecordedEvent

__all__ = ["canonical_json", "decode", "encode", "event_of", "parse_json", "sorted_sets"]

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
        _check(value, what)
        text = _encode(value)
        text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{what} cannot be written as JSON: {error}") from None
    return text


_PLAIN = frozenset({str, int, bool, type(None)})


def _check(value: Any, path: str) -> None:
    # The encoder would quietly turn int keys into strings and tuples into lists, and would name
    # neither the place of a NaN nor that of an object.
    kind = type(value)
    if kind in _PLAIN:
        return
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise InputError(f"{path} has the key {key!r}; JSON keys must be strings")
            if type(item) not in _PLAIN:
                _check(item, f"{path}.{key}")
    elif kind is list:
        for index, item in enumerate(value):
            if type(item) not in _PLAIN:
                _check(item, f"{path}[{index}]")
    elif kind is float:
        if not math.isfinite(value):
            raise InputError(f"{path} is {value}; JSON has no NaN and no infinity")
    else:
        raise InputError(f"{path} is a {kind.__name__}, which is not a JSON value: {value!r}")


def parse_json(text: str) -> Any:
    """Return the value that canonical JSON stands for."""
    return json.loads(text)


def encode(
    event: Event,
    *,
    event_id: uuid.UUID | None = None,
    occurred_at: datetime | None = None,
    metadata: Metadata | None = None,
) -> NewEvent:
    """Turn an event into what a store appends.

    Args:
        event: an instance of a subclass of `Event`.
        event_id: a UUID that makes the append idempotent.
        occurred_at: when it happened (aware); by default when it is recorded.
        metadata: what is known about it beside its data.

    Raises:
        InputError: `event` is no event, or holds NaN or infinity at any depth.

    Example:
        >>> class OrderPlaced(Event):
        ...     amount: int
        >>> encode(OrderPlaced(amount=30)).data
        {'amount': 30}
    """
    if not isinstance(event, Event):
        raise InputError(
            f"an event must be an instance of a subclass of eslab.Event, not "
            f"{type(event).__name__}: {event!r}"
        )
    # Pydantic writes NaN as null unless ser_json_inf_nan says otherwise: then it stays a float,
    # and is refused here, with its path, before anything is written.
    try:
        # By the names of the fields, and without computed ones: what `decode` takes.
        data = event.model_dump(mode="json", by_alias=False, round_trip=True)
        _check(data, event.event_type)
        data = sorted_sets(data, event)
    except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{event.event_type} cannot be written as JSON: {error}") from error
    return NewEvent(
        type=event.event_type,
        data=data,
        event_id=event_id,
        tags=event.event_tags(),
        occurred_at=occurred_at,
        metadata=metadata or Metadata(),
        schema_version=event.schema_version,
    )


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
_SCALARS = _PLAIN | {float, datetime, date, uuid.UUID}


def decode(recorded: RecordedEvent, cls: type[Event]) -> Event:
    """Return the event that `recorded` holds, as an instance of `cls`.

    Raises:
        SchemaError: the stored data does not fit the class.
    """
    try:
        return event_of(cls, recorded.data, schema_version=recorded.schema_version)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole event"
        raise SchemaError(
            f"{recorded!r} does not fit {cls.__qualname__} (schema version "
            f"{cls.schema_version}; stored with {recorded.schema_version}): {place}: "
            f"{first['msg']}, found {first['input']!r}"
        ) from error


def event_of(cls: type[Event], data: Mapping[str, Any], *, schema_version: int) -> Event:  # noqa: ARG001
    """Return the event of a class that stored data stands for.

    Whatever is read passes through here, so that this is where upcasters belong: they bring
    `data` from `schema_version` to that of the class before it is validated.

    Raises:
        ValidationError: the data does not fit the class.
    """
    return cls.model_validate(data, strict=False, by_name=True)
