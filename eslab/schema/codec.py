"""From events to what is stored of them, and back."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from eslab.clock import as_utc
from eslab.errors import InputError, LimitError, SchemaError, UpcastingError
from eslab.events import Event, Metadata, NewEvent, RecordedEvent
from eslab.schema.canonical import PLAIN, canonical_json, check_json, plain_json, sorted_sets
from eslab.schema.upcasting import upcast

__all__ = [
    "AnyEvent",
    "EncodedEvent",
    "decode",
    "encode",
    "encode_all",
    "encoded",
    "event_list",
    "event_of",
    "metadata_text",
]

MAX_EVENT_BYTES: Final = 1 << 20
SURELY_WITHIN: Final = MAX_EVENT_BYTES // 4  # characters: one takes up to four bytes
MAX_INT32: Final = (1 << 31) - 1

_NO_METADATA: Final = Metadata()


class EncodedEvent(NamedTuple):
    """An event whose parts were checked and turned into what a store keeps; `encode` makes it.

    Attributes:
        type: the name of its type.
        schema_version: the version of its data's shape.
        event_id: the id that it was given.
        tags: strings by which queries find it.
        data: what happened, as canonical JSON.
        metadata: what is known about it beside its data, as canonical JSON.
        occurred_at: when it happened (UTC), if that was said.
    """

    type: str
    schema_version: int
    event_id: uuid.UUID | None
    tags: tuple[str, ...]
    data: str
    metadata: str
    occurred_at: datetime | None

    @property
    def content(self) -> tuple[str, int, str]:
        """What makes two events the same event: never their metadata, never their times."""
        return self.type, self.schema_version, self.data


AnyEvent = Event | NewEvent | EncodedEvent
"""What a store appends: an event of a class, one from its parts, or one that is encoded already."""

E = TypeVar("E", bound=AnyEvent)


def encode(
    event: Event,
    *,
    event_id: uuid.UUID | None = None,
    occurred_at: datetime | None = None,
    metadata: Metadata | None = None,
) -> EncodedEvent:
    """Turn an event into what a store appends.

    Args:
        event: an instance of a subclass of `Event`.
        event_id: a UUID that makes the append idempotent.
        occurred_at: when it happened (aware); by default when it is recorded.
        metadata: what is known about it beside its data.

    Raises:
        InputError: `event` is no event, or holds NaN or infinity at any depth; or another
            argument cannot be used.
        LimitError: it is larger than 1 MiB.

    Example:
        >>> class OrderPlaced(Event):
        ...     amount: int
        >>> encode(OrderPlaced(amount=30)).data
        '{"amount":30}'
    """
    shape = _shape(type(event))
    if shape is None:
        raise InputError(
            f"an event must be an instance of a subclass of eslab.Event, or a NewEvent, not "
            f"{type(event).__name__}: {event!r:.200}"
        )
    name, schema_version, tagged, plain = shape
    if event_id is not None:
        _check_id(event_id, name)
    # Most events are plain. Pydantic's writer gives for them, from sorted names, the same text as
    # `canonical_json`, in a tenth of the time.
    text = None if plain is None else plain_json(event.__dict__, plain)
    if text is None:
        text = canonical_json(_json_data(event), what=name)
    if len(text) > SURELY_WITHIN:
        _within_limit(text, name)
    return tuple.__new__(  # called for every event: the class itself takes twice as long
        EncodedEvent,
        (
            name,
            schema_version,
            event_id,
            _checked_tags(event.event_tags(), name) if tagged else (),
            text,
            "{}" if metadata is None else metadata_text(metadata, name),
            None if occurred_at is None else as_utc(occurred_at, what="occurred_at"),
        ),
    )


def encoded(event: AnyEvent) -> EncodedEvent:
    """Return what a store keeps of an event in any of its forms.

    Raises:
        InputError: it is none, or a part of it cannot be used.
        LimitError: it is larger than 1 MiB.
    """
    if type(event) is EncodedEvent:
        return event
    if isinstance(event, NewEvent):
        return _encode_new(event)
    return encode(event)  # type: ignore[arg-type]  # it says what is wrong


def event_list(events: Iterable[E]) -> list[E]:
    """Return what is to be appended as a list.

    Raises:
        InputError: it is a single event, or something else that lists no events.
    """
    if isinstance(events, Iterable) and not isinstance(
        events, (BaseModel, NewEvent, EncodedEvent, str, bytes, Mapping)
    ):
        return list(events)
    raise InputError(f"events must be a list of events, not {events!r:.200}")


def encode_all(events: Sequence[AnyEvent]) -> list[Sequence[Any]]:
    """Do the same for many events, and return a column for each field of `EncodedEvent`.

    Example:
        >>> class OrderPlaced(Event):
        ...     amount: int
        >>> encode_all([OrderPlaced(amount=3), OrderPlaced(amount=4)])[4]
        ['{"amount":3}', '{"amount":4}']
    """
    kinds: defaultdict[type, list[AnyEvent]] = defaultdict(list)
    for event in events:
        kinds[type(event)].append(event)
    columns = {kind: _encode_kind(kind, some) for kind, some in kinds.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    rows = {kind: zip(*some, strict=True) for kind, some in columns.items()}
    return list(zip(*[next(rows[type(event)]) for event in events], strict=True))


def _encode_kind(kind: type, events: Sequence[Any]) -> list[Sequence[Any]]:
    """Return the columns of events of one class."""
    return _encode_plain(kind, events) or list(zip(*map(encoded, events), strict=True))


def _encode_plain(cls: type, events: Sequence[Event]) -> list[Sequence[Any]] | None:
    """Return the columns of events of one class of events, if all of their values are plain."""
    shape = _shape(cls)
    if shape is None:
        return None
    name, schema_version, tagged, plain = shape
    if plain is None:
        return None
    values = [event.__dict__ for event in events]
    if set(map(tuple, values)) != {plain}:
        values = [{name: held[name] for name in plain} for held in values]
    for field in plain:
        if not PLAIN.issuperset(map(type, map(itemgetter(field), values))):
            return None
    try:
        # One call for all, taken apart where one ends and the next begins; unless a text looks
        # like such a place. A line break is none: in JSON it is written in another way.
        text = to_json(values)[1:-1].replace(b"},{", b"}\n{").decode()
    except PydanticSerializationError:
        return None
    count = len(events)
    data = text.split("\n")
    if len(data) != count:
        return None
    if len(text) > SURELY_WITHIN:
        for part in data:
            _within_limit(part, name)
    tags: Sequence[tuple[str, ...]] = ((),) * count
    if tagged:
        tags = [_checked_tags(event.event_tags(), name) for event in events]
    return [
        (name,) * count,
        (schema_version,) * count,
        (None,) * count,
        tags,
        data,
        ("{}",) * count,
        (None,) * count,
    ]


def _encode_new(event: NewEvent) -> EncodedEvent:
    name = event.type
    if not (isinstance(name, str) and name and name.isprintable()):
        raise InputError(f"an event's type must be a printable name, not {name!r}")
    _check_id(event.event_id, name)
    if not isinstance(event.data, dict):
        raise InputError(f"data of {name} must be a dict, not {event.data!r}")
    if type(event.schema_version) is not int or not 1 <= event.schema_version <= MAX_INT32:
        raise InputError(f"schema_version of {name} counts from 1, not {event.schema_version!r}")
    return EncodedEvent(
        name,
        event.schema_version,
        event.event_id,
        _checked_tags(event.tags, name) if event.tags != () else (),
        _within_limit(canonical_json(event.data, what=name), name),
        metadata_text(event.metadata, name),
        None if event.occurred_at is None else as_utc(event.occurred_at, what="occurred_at"),
    )


def _check_id(event_id: uuid.UUID | None, name: str) -> None:
    if event_id is not None and not isinstance(event_id, uuid.UUID):
        raise InputError(f"event_id of {name} must be a UUID, not {event_id!r}")


def _checked_tags(tags: tuple[str, ...], name: str) -> tuple[str, ...]:
    if not isinstance(tags, (tuple, list)) or not all(
        isinstance(tag, str) and tag.isprintable() for tag in tags
    ):
        raise InputError(f"tags of {name} must be printable strings in a tuple, not {tags!r}")
    return tuple(tags)


def metadata_text(metadata: Metadata, name: str) -> str:
    """Return the metadata of a type of event as canonical JSON.

    Raises:
        InputError: it is none, or holds what JSON has no word for.
        LimitError: it is larger than 1 MiB.
    """
    if metadata is _NO_METADATA:
        return "{}"
    if not (isinstance(metadata, Metadata) and isinstance(metadata.extra, Mapping)):
        raise InputError(f"metadata of {name} must be Metadata(...), not {metadata!r}")
    what = f"metadata of {name}"
    keys = metadata.to_dict()
    # Without keys of the user's own they are in order: plain text is canonical then.
    text = None if metadata.extra else plain_json(keys, keys)
    return _within_limit(canonical_json(keys, what=what) if text is None else text, what)


def _within_limit(text: str, what: str) -> str:
    if len(text) > SURELY_WITHIN and (size := len(text.encode())) > MAX_EVENT_BYTES:
        raise LimitError(
            f"an event holds at most {MAX_EVENT_BYTES >> 20} MiB of JSON; {what} has {size:,} bytes"
        )
    return text


def _json_data(event: Event) -> Any:
    # Pydantic writes NaN as null unless ser_json_inf_nan says otherwise: then it stays a float,
    # and is refused by canonical_json, with its path.
    try:
        # By the names of the fields, and without computed ones: what `decode` takes.
        data = event.model_dump(mode="json", by_alias=False, round_trip=True)
        check_json(data, event.event_type)
        return sorted_sets(data, event)
    except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{event.event_type} cannot be written as JSON: {error}") from error


@lru_cache(maxsize=1_000)
def _shape(cls: type) -> tuple[str, int, bool, tuple[str, ...] | None] | None:
    """Return a class's type name, its version, whether it has tags, and its fields if all plain.

    None, if it is no class of events.
    """
    if not issubclass(cls, Event):
        return None
    plain = tuple(sorted(cls.model_fields)) if _is_plain(cls) else None
    return cls.event_type, cls.schema_version, bool(cls.tag_fields), plain


def _is_plain(cls: type[Event]) -> bool:
    """Say whether the fields of a class are written as they are, with nobody's own serializer."""
    decorators = cls.__pydantic_decorators__
    config = cls.model_config
    if decorators.field_serializers or decorators.model_serializers:
        return False
    if config.get("extra") == "allow" or "json_encoders" in config or cls.__pydantic_root_model__:
        return False
    return all(
        kinds <= PLAIN
        and not field.exclude
        and field.exclude_if is None
        and not any(hasattr(item, "__get_pydantic_core_schema__") for item in field.metadata)
        for field in cls.model_fields.values()
        if (kinds := frozenset(get_args(field.annotation) or (field.annotation,)))
    )


def decode(recorded: RecordedEvent, cls: type[Event]) -> Event:
    """Return the event that `recorded` holds, as an instance of `cls`.

    Raises:
        SchemaError: the stored data does not fit the class.
        UpcastingError: an upcaster of the class failed.
    """
    try:
        return event_of(cls, recorded.data, schema_version=recorded.schema_version)
    except (ValidationError, UpcastingError) as error:
        raise misfit(error, cls, recorded.schema_version, repr(recorded)) from error


def event_of(cls: type[Event], data: Mapping[str, Any], *, schema_version: int) -> Event:
    """Return the event of a class that stored data stands for, through the upcasters of the class.

    Raises:
        ValidationError: the data does not fit the class.
        UpcastingError: an upcaster failed.
        SchemaError: it was stored by a newer version of the class.
    """
    if schema_version != cls.schema_version:
        data = upcast(cls, data, schema_version=schema_version)
    return cls.model_validate(data, strict=False, by_name=True)


def misfit(
    error: ValidationError | UpcastingError, cls: type[Event], schema_version: int, stored: str
) -> SchemaError:
    """Return the error that names the stored event which `event_of` failed for.

    Args:
        error: what it raised.
        cls: the class.
        schema_version: with which the event was stored.
        stored: the event, in words.
    """
    if isinstance(error, UpcastingError):
        return error.at(stored)
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"])) or "the whole event"
    return SchemaError(
        f"{stored} does not fit {cls.__qualname__} (schema version {cls.schema_version}; stored "
        f"with {schema_version}): {place}: {first['msg']}, found {first['input']!r}"
    )
