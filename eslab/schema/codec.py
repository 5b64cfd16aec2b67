"""From events to canonical JSON and back; the same event always gives the same bytes."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from eslab.errors import InputError, SchemaError
from eslab.events import Event, Metadata, NewEvent, RecordedEvent

__all__ = ["canonical_json", "decode", "encode", "parse_json"]

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
    _check(value, what)
    try:
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
    data = _sorted_sets(event.model_dump(mode="json"), event)
    _check(data, event.event_type)
    return NewEvent(
        type=event.event_type,
        data=data,
        event_id=event_id,
        tags=event.event_tags(),
        occurred_at=occurred_at,
        metadata=metadata or Metadata(),
        schema_version=event.schema_version,
    )


def _sorted_sets(data: dict[str, Any], source: BaseModel) -> dict[str, Any]:
    """Sort, in place, the lists that stand for sets, whose order differs from run to run."""
    for name, value in source:
        if isinstance(value, _CONTAINERS):
            data[name] = _sorted_value(data[name], value)
    return data


def _sorted_value(data: Any, value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(data, key=_encode)
    if isinstance(value, (list, tuple)) and isinstance(data, list):
        return [_sorted_value(item, source) for item, source in zip(data, value, strict=True)]
    if isinstance(value, dict) and isinstance(data, dict):
        pairs = zip(data.items(), value.values(), strict=True)
        return {key: _sorted_value(item, source) for (key, item), source in pairs}
    if isinstance(value, BaseModel) and isinstance(data, dict):
        return _sorted_sets(data, value)
    return data


_CONTAINERS = (set, frozenset, list, tuple, dict, BaseModel)


def decode(recorded: RecordedEvent, cls: type[Event]) -> Event:
    """Return the event that `recorded` holds, as an instance of `cls`.

    Raises:
        SchemaError: the stored data does not fit the class.
    """
    data: Mapping[str, Any] = recorded.data
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole event"
        raise SchemaError(
            f"{recorded!r} does not fit {cls.__qualname__} (schema version "
            f"{cls.schema_version}; stored with {recorded.schema_version}): {place}: "
            f"{first['msg']}, found {first['input']!r}"
        ) from error
