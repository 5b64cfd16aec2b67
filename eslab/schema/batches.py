"""Many stored events to instances of their classes at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import SchemaValidator

from eslab.errors import UpcastingError
from eslab.events import Event, EventBatch, TypedEvent
from eslab.garbage import garbage_kept
from eslab.schema.canonical import parse_json
from eslab.schema.codec import event_of, misfit

__all__ = ["decode_all", "decode_batch"]


def decode_batch(batch: EventBatch, class_of: Callable[[str], type[Event]]) -> list[Event]:
    """Return the events of a batch, in its order.

    Args:
        batch: the stored events.
        class_of: gives the class that stands for a type.

    Raises:
        UnknownEventTypeError: a type has no class.
        SchemaError: the data of an event does not fit its class.
        UpcastingError: an upcaster failed.
    """
    types, versions, data = batch.types, batch.schema_versions, batch.data
    places: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for place, kind in enumerate(zip(types, versions, strict=True)):
        places[kind].append(place)
    if len(places) == 1:
        return _decoded(batch, class_of(types[0]), versions[0], range(len(types)), data)
    events: list[Any] = [None] * len(types)
    for (type_name, version), chosen in places.items():
        some = [data[place] for place in chosen]
        decoded = _decoded(batch, class_of(type_name), version, chosen, some)
        for place, event in zip(chosen, decoded, strict=True):
            events[place] = event
    return events


def decode_all(
    batches: Iterable[EventBatch], class_of: Callable[[str], type[Event]]
) -> Iterator[TypedEvent]:
    """Yield the events of batches, each with its place in the log."""
    new = partial(tuple.__new__, TypedEvent)
    for batch in batches:
        with garbage_kept():
            events = decode_batch(batch, class_of)
            columns = batch.positions, batch.stream_ids, batch.versions, batch.recorded_at, events
            typed = list(map(new, zip(*columns, strict=True)))
        yield from typed


@lru_cache(maxsize=1_000)
def _validator(cls: type[Event]) -> SchemaValidator | None:
    """Return what validates a JSON list of events; None for a class that reads JSON in its own way.

    A type may say that it takes something else from JSON than from what JSON stands for; then
    events that are decoded at once would be others than those that are decoded one by one.
    """
    if "json-or-python" in repr(cls.__pydantic_core_schema__):
        return None
    validator = TypeAdapter(list[cls]).validator  # type: ignore[valid-type]
    return validator if isinstance(validator, SchemaValidator) else None


def _decoded(
    batch: EventBatch, cls: type[Event], version: int, places: Sequence[int], data: Sequence[str]
) -> list[Event]:
    """Return the events of one class and one schema version."""
    validator = _validator(cls) if version == cls.schema_version else None
    if validator is not None:
        try:
            # One call for all of them; which one does not fit is found below.
            text = f"[{','.join(data)}]"
            return validator.validate_json(text, strict=False, by_name=True)  # type: ignore[no-any-return]
        except ValidationError:
            pass
    return [
        _one(batch, cls, version, place, text) for place, text in zip(places, data, strict=True)
    ]


def _one(batch: EventBatch, cls: type[Event], version: int, place: int, text: str) -> Event:
    try:
        return event_of(cls, parse_json(text), schema_version=version)
    except (ValidationError, UpcastingError) as error:
        raise misfit(error, cls, version, batch.shown(place)) from error
