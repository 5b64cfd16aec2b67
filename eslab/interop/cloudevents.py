"""Events as CloudEvents 1.0, in structured JSON: what other systems of events exchange.

Of the attributes of an event of eslab these are told: ``id`` and ``type``; ``subject``, its stream;
``time``, when it occurred; ``source``, its store. As extensions: ``streamversion``, ``position``,
``schemaversion``, ``recordedat`` and ``tags`` (a JSON array as text); the documented ones
``correlationid``, ``causationid`` and ``traceparent``; ``commandid``, ``commandtype`` and
``actor``; and in ``metadata`` the user's own keys, as JSON text.

See https://github.com/cloudevents/spec (1.0.2) and its documented extensions.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from eslab.clock import as_utc
from eslab.errors import InputError, MissingDependencyError
from eslab.events import Metadata, NewEvent, RecordedEvent
from eslab.schema import parse_json

if TYPE_CHECKING:
    from cloudevents.core.base import BaseCloudEvent
    from cloudevents.core.formats.json import JSONFormat
    from cloudevents.core.v1.event import CloudEvent

__all__ = ["events_from_cloudevents", "events_to_cloudevents"]

_METADATA: Final[Mapping[str, str]] = {
    "correlationid": "correlation_id",
    "causationid": "causation_id",
    "commandid": "command_id",
    "commandtype": "command_type",
    "actor": "actor",
    "traceparent": "traceparent",
}
"""The attributes that stand for known keys of metadata."""

_URI: Final = re.compile(r"[!#-;=?-Z\[\]_a-z~%]+")
"""Signs that a URI, or a reference to one, may hold (RFC 3986)."""


def events_to_cloudevents(events: Iterable[RecordedEvent], *, source: str) -> str:
    """Return events as a batch of CloudEvents (``application/cloudevents-batch+json``).

    Args:
        events: in their order.
        source: in which context they happened, as a URI: an event is known by source and id.

    Raises:
        InputError: the source is no URI.
        MissingDependencyError: the package ``cloudevents`` is not installed.

    Example:
        >>> from eslab import MemoryStore
        >>> with MemoryStore() as store:
        ...     _ = store.append("order-1", [NewEvent("Placed", {"amount": 30})])
        ...     text = events_to_cloudevents(store.read_all(), source="https://shop.example")
        >>> [(stream_id, event.data) for stream_id, event in events_from_cloudevents(text)]
        [('order-1', {'amount': 30})]
    """
    if not isinstance(source, str) or not _URI.fullmatch(source):
        raise InputError(
            f"source is a URI, such as 'https://shop.example/orders', not {source!r:.200}"
        )
    make, written = _library()
    lines = (written.write(make(_attributes(each, source), dict(each.data))) for each in events)
    return "[\n" + ",\n".join(line.decode() for line in lines) + "\n]\n"


def events_from_cloudevents(text: str) -> Iterator[tuple[str, NewEvent]]:
    """Yield the events of a batch of CloudEvents, or of a single one, each with its stream.

    What `events_to_cloudevents` wrote are the same events again. Those of another system need a
    ``subject``, which becomes the stream, and data that is a JSON object; the id of one that is no
    UUID is derived from source and id, so that importing it again changes nothing.

    Raises:
        InputError: it is no CloudEvent, or one that cannot be an event here.
        MissingDependencyError: the package ``cloudevents`` is not installed.
    """
    make, written = _library()
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise InputError(f"that is no JSON: {error}") from None
    for place, item in enumerate(parsed if isinstance(parsed, list) else [parsed], start=1):
        where = f"CloudEvent {place}"
        if not isinstance(item, dict):
            raise InputError(f"{where} is no JSON object: {item!r:.200}")
        # An attribute that is null is one that is absent.
        present = {name: value for name, value in item.items() if value is not None}
        try:
            event = written.read(make, json.dumps(present))
            yield _as_new(event, where)
        except InputError:
            raise
        except Exception as error:  # whatever the library makes of it
            raise InputError(f"{where} is none: {error}: {item!r:.200}") from error


def _library() -> tuple[type[CloudEvent], JSONFormat]:
    try:
        from cloudevents.core.formats.json import JSONFormat
        from cloudevents.core.v1.event import CloudEvent
    except ImportError as error:
        raise MissingDependencyError(
            "cloudevents", extra="cloudevents", purpose="exchanging CloudEvents"
        ) from error
    return CloudEvent, JSONFormat()


def _attributes(event: RecordedEvent, source: str) -> dict[str, Any]:
    known = event.metadata.to_dict()
    told = {
        name: known.pop(key)
        for name, key in _METADATA.items()
        if isinstance(known.get(key), str) and known[key].isprintable()
    }
    rest = {"metadata": _text(known)} if known else {}
    return {
        "specversion": "1.0",
        "id": str(event.event_id),
        "source": source,
        "type": event.type,
        "subject": event.stream_id,
        "time": event.occurred_at,
        "datacontenttype": "application/json",
        "streamversion": event.version,
        "position": str(event.position),  # an integer has 32 bits there
        "schemaversion": event.schema_version,
        "recordedat": event.recorded_at.isoformat().replace("+00:00", "Z"),
        **({"tags": _text(list(event.tags))} if event.tags else {}),
        **told,
        **rest,
    }


def _text(value: Any) -> str:
    """Return JSON without control characters, which no attribute may hold."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _as_new(event: BaseCloudEvent, where: str) -> tuple[str, NewEvent]:
    attributes = event.get_attributes()
    subject, data = event.get_subject(), event.get_data()
    if subject is None:
        raise InputError(f"{where} has no subject: it says which stream an event belongs to")
    if not isinstance(data, dict):
        raise InputError(f"{where}: data is a JSON object, not {data!r:.200}")
    keys = {key: attributes[name] for name, key in _METADATA.items() if name in attributes}
    if "metadata" in attributes:
        keys |= parse_json(attributes["metadata"])
    time = event.get_time()
    return subject, NewEvent(
        event.get_type(),
        data,
        event_id=_event_id(event),
        tags=tuple(parse_json(attributes.get("tags", "[]"))),
        occurred_at=None if time is None else as_utc(time),
        metadata=Metadata.from_dict(keys),
        schema_version=attributes.get("schemaversion", 1),
    )


def _event_id(event: BaseCloudEvent) -> uuid.UUID:
    try:
        return uuid.UUID(event.get_id())
    except ValueError:
        return uuid.uuid5(uuid.NAMESPACE_URL, f"{event.get_source()}\0{event.get_id()}")
