"""Many stored events to instances of their classes at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

from pydantic import TypeAdapter, ValidationError

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
    places: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    kinds = list(zip(batch.types, batch.schema_versions, strict=True))
    if kinds.count(kinds[0]) == len(kinds):
        return _decoded(batch, class_of(kinds[0][0]), kinds[0][1], range(len(kinds)), batch.data)
    for place, kind in enumerate(kinds):
        places[kind].append(place)
    events: list[Any] = [None] * len(kinds)
    for (type_name, version), chosen in places.items():
        data = [batch.data[place] for place in chosen]
        decoded = _decoded(batch, class_of(type_name), version, chosen, data)
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
def _list_of(cls: type[Event]) -> TypeAdapter[list[Event]]:
    return TypeAdapter(list[cls])  # type: ignore[valid-type]


def _decoded(
    batch: EventBatch, cls: type[Event], version: int, places: Sequence[int], data: Sequence[str]
) -> list[Event]:
    """Return the events of one class and one schema version."""
    if version == cls.schema_version:
        try:
            # One call for all of them; which one does not fit is found below.
            text = f"[{','.join(data)}]"
            return _list_of(cls).validate_json(text, strict=False, by_name=True)
        except ValidationError:
            pass
    return [
        _one(batch, cls, version, place, text) for place, text in zip(places, data, strict=True)
    ]


def _one(batch: EventBatch, cls: type[Event], version: int, place: int, text: str) -> Event:
    stored = (
        f"<{batch.types[place]} {batch.stream_ids[place]} v{batch.versions[place]} "
        f"@{batch.positions[place]}>"
    )
    try:
        return event_of(cls, parse_json(text), schema_version=version)
    except (ValidationError, UpcastingError) as error:
        raise misfit(error, cls, version, stored) from error
