"""Events as plain JSON: all that is recorded of them, for anything to read, and for eslab again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from eslab.errors import InputError
from eslab.events import Metadata, NewEvent, RecordedEvent
from eslab.schema import canonical_json, parse_json

__all__ = ["events_from_json", "events_to_json"]


def events_to_json(events: Iterable[RecordedEvent]) -> str:
    """Return events as a JSON array: an object a line, with sorted keys.

    Example:
        >>> from eslab import MemoryStore
        >>> with MemoryStore() as store:
        ...     _ = store.append("order-1", [NewEvent("Placed", {"amount": 30})])
        ...     text = events_to_json(store.read_all())
        >>> [(stream_id, event.data) for stream_id, event in events_from_json(text)]
        [('order-1', {'amount': 30})]
    """
    return "[\n" + ",\n".join(canonical_json(_as_json(event)) for event in events) + "\n]\n"


def _as_json(event: RecordedEvent) -> dict[str, Any]:
    return {
        "position": event.position,
        "stream_id": event.stream_id,
        "version": event.version,
        "type": event.type,
        "schema_version": event.schema_version,
        "event_id": str(event.event_id),
        "tags": list(event.tags),
        "data": event.data,
        "metadata": event.metadata.to_dict(),
        "occurred_at": event.occurred_at.isoformat(),
        "recorded_at": event.recorded_at.isoformat(),
    }


def events_from_json(text: str) -> Iterator[tuple[str, NewEvent]]:
    """Yield the events that `events_to_json` wrote, each with its stream, in their order.

    They are the same events, with their ids: ``store.import_events(events_from_json(text))``
    imports them, and leaves out those that are there already. Where and when they were recorded is
    for whoever records them to say.

    Raises:
        InputError: it is something else.
    """
    try:
        rows = parse_json(text)
    except ValueError as error:
        raise InputError(f"that is no JSON: {error}") from None
    if not isinstance(rows, list):
        raise InputError(f"events in JSON are an array of objects, not {text[:200]!r}")
    for place, row in enumerate(rows, start=1):
        yield _from_json(row, place)


def _from_json(row: Mapping[str, Any], place: int) -> tuple[str, NewEvent]:
    try:
        return row["stream_id"], NewEvent(
            row["type"],
            row["data"],
            event_id=UUID(row["event_id"]),
            tags=tuple(row["tags"]),
            occurred_at=datetime.fromisoformat(row["occurred_at"]),
            metadata=Metadata.from_dict(row["metadata"]),
            schema_version=row["schema_version"],
        )
    except KeyError as error:
        reason = f"it has no {error}"
    except (TypeError, ValueError, AttributeError) as error:
        reason = str(error)
    raise InputError(f"event {place} is none that eslab exported: {reason}: {row!r:.200}")
