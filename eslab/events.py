"""What an event is, before and after it is recorded, and how an append says what it expects."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import count
from typing import Any, ClassVar, Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from eslab.clock import as_utc
from eslab.errors import InputError, LimitError, SchemaError

__all__ = [
    "ANY",
    "NO_STREAM",
    "STREAM_EXISTS",
    "AppendCondition",
    "AsOf",
    "Event",
    "EventBatch",
    "Expected",
    "ExpectedVersion",
    "Metadata",
    "NewEvent",
    "Query",
    "QueryItem",
    "RecordedEvent",
    "TypedEvent",
    "category_of",
    "check_stream_id",
    "defined_before",
]

MAX_STREAM_ID: Final = 255

_definitions: Final = count(1)


def check_stream_id(stream_id: str) -> str:
    """Return `stream_id` if a stream may be called that.

    Raises:
        InputError: it is not a string, is empty, or holds a control character.
        LimitError: it is longer than 255 characters.
    """
    if type(stream_id) is str and 0 < len(stream_id) <= MAX_STREAM_ID and stream_id.isprintable():
        return stream_id
    if not isinstance(stream_id, str):
        raise InputError(f"a stream id must be a string, not {stream_id!r}")
    if not stream_id:
        raise InputError("a stream id must not be empty")
    if len(stream_id) > MAX_STREAM_ID:
        raise LimitError(
            f"a stream id has at most {MAX_STREAM_ID} characters; this one has "
            f"{len(stream_id)}: {stream_id[:40]!r}..."
        )
    if not stream_id.isprintable():
        raise InputError(
            f"a stream id must not hold control characters, nor others that nobody sees: "
            f"{stream_id!r}"
        )
    return stream_id


def category_of(stream_id: str) -> str:
    """Return the part of a stream id before its first ``-``.

    Example:
        >>> category_of("flight-2013-01-01-UA1545-EWR")
        'flight'
    """
    return stream_id.partition("-")[0]


class ExpectedVersion(Enum):
    """The expectations that are not a number."""

    ANY = "any"
    STREAM_EXISTS = "any version above 0"

    def __str__(self) -> str:
        return self.value


ANY: Final = ExpectedVersion.ANY
"""Append whatever the stream's version is."""
STREAM_EXISTS: Final = ExpectedVersion.STREAM_EXISTS
"""Append only if the stream has at least one event."""
NO_STREAM: Final = 0
"""Append only if the stream has no event yet."""

Expected = int | ExpectedVersion


class Event(BaseModel):
    """A fact of a domain: subclass it, and declare its fields.

    Events are frozen, and accept no field that is not declared. What is stored is the *type
    name*: the name of the class unless ``type=`` says otherwise, so that a class may be renamed.

    Class arguments:
        type: the type name in the store.
        schema_version: the version of the fields, from 1.
        tags: names of fields whose values tag the event, as ``field:value``.
        upcasters: functions that bring what older versions of the class stored to this one, each
            from a version to the next; see `eslab.schema.upcasts`.

    Example:
        >>> class OrderPlaced(Event, type="OrderPlaced", tags=("order_id",)):
        ...     order_id: str
        ...     amount: int
        >>> OrderPlaced(order_id="o-1", amount=30).event_tags()
        ('order_id:o-1',)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    event_type: ClassVar[str] = "Event"
    schema_version: ClassVar[int] = 1
    tag_fields: ClassVar[tuple[str, ...]] = ()
    upcasters: ClassVar[tuple[Any, ...]] = ()
    _definition: ClassVar[int] = 0

    def __init_subclass__(cls, **_: Any) -> None:
        # The class arguments are taken below, when the fields are known.
        super().__init_subclass__()

    @classmethod
    def __pydantic_init_subclass__(
        cls,
        *,
        type: str | None = None,  # the word that people expect, and it shadows nothing here
        schema_version: int = 1,
        tags: Iterable[str] = (),
        upcasters: Iterable[Any] = (),
        **kwargs: Any,
    ) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls._definition = next(_definitions)
        cls.event_type = cls.__name__ if type is None else type
        cls.schema_version = schema_version
        cls.tag_fields = (tags,) if isinstance(tags, str) else tuple(tags)
        cls.upcasters = tuple(upcasters)
        if not (isinstance(cls.event_type, str) and cls.event_type):
            raise SchemaError(f"{cls.__qualname__}: an event's type name must not be empty")
        if (
            isinstance(schema_version, bool)
            or not isinstance(schema_version, int)
            or schema_version < 1
        ):
            raise SchemaError(f"{cls.__qualname__}: schema_version is a number from 1")
        if unknown := [name for name in cls.tag_fields if name not in cls.model_fields]:
            raise SchemaError(
                f"{cls.__qualname__}: tags must name fields of the event; it has none called "
                f"{', '.join(map(repr, unknown))}"
            )

    def event_tags(self) -> tuple[str, ...]:
        """Return the tags of this event, from the fields that its class declares for it."""
        return tuple(f"{name}:{getattr(self, name)}" for name in self.tag_fields)


def defined_before(one: type[Event], other: type[Event]) -> bool:
    """Say whether a class of events was defined before another one."""
    return one._definition < other._definition  # noqa: SLF001 - of this module


_NO_KEYS: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is known about an event beside its data.

    Attributes:
        correlation_id: of the conversation that the event belongs to; it is inherited.
        causation_id: the id of the message that caused the event.
        command_id: the id of the command that recorded it.
        actor: who did it.
        traceparent: the W3C trace context.
        command_type: the name of that command's class: the log has no commands to look it up in.
        extra: the user's own keys, of JSON values.
    """

    correlation_id: str | None = None
    causation_id: str | None = None
    command_id: str | None = None
    actor: str | None = None
    traceparent: str | None = None
    command_type: str | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: _NO_KEYS)

    def to_dict(self) -> dict[str, Any]:
        """Return the keys that are set, the user's own ones among them.

        Raises:
            InputError: a key of the user's own is one of eslab's.
        """
        known = {name: value for name in _METADATA_KEYS if (value := getattr(self, name))}
        if not self.extra:
            return known
        if clash := self.extra.keys() & _METADATA_KEYS:
            raise InputError(f"metadata.extra must not hold eslab's own keys: {sorted(clash)}")
        return {**known, **self.extra}

    @classmethod
    def from_dict(cls, keys: Mapping[str, Any]) -> Metadata:
        """Return the metadata that `to_dict` gave these keys for."""
        known = {name: value for name, value in keys.items() if name in _METADATA_KEYS}
        extra = {name: value for name, value in keys.items() if name not in _METADATA_KEYS}
        return cls(**known, extra=extra or _NO_KEYS)


_METADATA_KEYS: Final = (
    "actor",
    "causation_id",
    "command_id",
    "command_type",
    "correlation_id",
    "traceparent",
)
_NO_METADATA: Final = Metadata()


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that is about to be appended.

    Args:
        type: the name of its type.
        data: what happened, as JSON values under string keys.
        event_id: a UUID that makes the append idempotent; by default the store mints one.
        tags: strings by which queries find it.
        occurred_at: when it happened in the domain (aware); by default when it is recorded.
        metadata: what is known about it beside its data.
        schema_version: the version of its data's shape, from 1.
    """

    type: str
    data: Mapping[str, Any]
    event_id: uuid.UUID | None = None
    tags: tuple[str, ...] = ()
    occurred_at: datetime | None = None
    metadata: Metadata = _NO_METADATA
    schema_version: int = 1


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event in the store.

    Attributes:
        position: its place in the order over all streams, from 1.
        stream_id: its stream.
        version: its place in that stream, from 1.
        type: the name of its type.
        data: what happened, as JSON values.
        event_id: unique in the store.
        schema_version: the version of its data's shape.
        tags: strings by which queries find it.
        metadata: what is known about it beside its data.
        occurred_at: when it happened in the domain (UTC).
        recorded_at: when it was recorded (UTC); never decreases with position.
    """

    position: int
    stream_id: str
    version: int
    type: str
    data: Mapping[str, Any]
    event_id: uuid.UUID
    schema_version: int
    tags: tuple[str, ...]
    metadata: Metadata
    occurred_at: datetime
    recorded_at: datetime

    @property
    def category(self) -> str:
        """The category of its stream."""
        return category_of(self.stream_id)

    def __repr__(self) -> str:
        return f"<{self.type} {self.stream_id} v{self.version} @{self.position}>"


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Many events of the log that follow each other, by columns; their data is still text.

    Attributes:
        positions: of each event.
        stream_ids: its stream.
        versions: its place in that stream.
        types: the name of its type.
        schema_versions: the version of its data's shape.
        data: what happened, as JSON.
        recorded_at: when it was recorded (UTC).
    """

    positions: Sequence[int]
    stream_ids: Sequence[str]
    versions: Sequence[int]
    types: Sequence[str]
    schema_versions: Sequence[int]
    data: Sequence[str]
    recorded_at: Sequence[datetime]

    def __len__(self) -> int:
        return len(self.positions)

    def shown(self, place: int) -> str:
        """Return the event at this place as `RecordedEvent` is shown."""
        return (
            f"<{self.types[place]} {self.stream_ids[place]} v{self.versions[place]} "
            f"@{self.positions[place]}>"
        )

    def take(self, places: Sequence[int]) -> EventBatch:
        """Return the events at these places, counted from 0."""
        columns = (getattr(self, name) for name in self.__slots__)
        return EventBatch(*([column[place] for place in places] for column in columns))

    def __repr__(self) -> str:
        if not self.positions:
            return "<EventBatch: empty>"
        first, last = self.positions[0], self.positions[-1]
        return f"<EventBatch: {len(self)} events, positions {first} to {last}>"


class TypedEvent(NamedTuple):
    """An event as an instance of its class, with its place in the log."""

    position: int
    stream_id: str
    version: int
    recorded_at: datetime
    event: Event


@dataclass(frozen=True, slots=True)
class QueryItem:
    """Events of any of these types (all types, if none is named) that carry all of these tags."""

    types: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Query:
    """Events that any of the items matches; no item matches nothing.

    After the specification of Dynamic Consistency Boundaries, https://dcb.events.

    Example:
        >>> query = Query.of(types=["CourseDefined"], tags=["course:c1"])
        >>> query.matches("CourseDefined", ("course:c1", "term:3"))
        True
    """

    items: tuple[QueryItem, ...]

    @classmethod
    def of(cls, *, types: Iterable[str | type[Event]] = (), tags: Iterable[str] = ()) -> Query:
        """Return a query with one item."""
        return cls((QueryItem(frozenset(map(type_name, types)), frozenset(tags)),))

    def __or__(self, other: Query) -> Query:
        return Query(self.items + other.items)

    def matches(self, type: str, tags: Iterable[str]) -> bool:
        """Say whether an event of this type with these tags matches."""
        carried = frozenset(tags)
        return any(
            (not item.types or type in item.types) and item.tags <= carried for item in self.items
        )


def type_name(type: str | type[Event]) -> str:
    """Return the name by which the store knows a type of events."""
    return type if isinstance(type, str) else type.event_type


@dataclass(frozen=True, slots=True)
class AppendCondition:
    """Append only if no event after position `after` matches `query`."""

    query: Query
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AsOf:
    """The log as it was: exactly one of a position, a recorded time and an occurred time.

    Args:
        position: what was recorded up to and with this position.
        recorded: what was recorded by then (aware); the same as a position.
        occurred: what had happened by then (aware), event by event, whenever it was recorded.

    Raises:
        InputError: none of them is given, or several, or one that cannot be.

    Example:
        >>> AsOf(position=1_000)
        AsOf(position=1000, recorded=None, occurred=None)
    """

    position: int | None = None
    recorded: datetime | None = None
    occurred: datetime | None = None

    def __post_init__(self) -> None:
        given = [
            name for name in ("position", "recorded", "occurred") if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise InputError(
                f"AsOf takes one of position=, recorded= and occurred=, not "
                f"{' and '.join(given) or 'none'}"
            )
        if self.position is not None:
            if type(self.position) is not int or self.position < 0:
                raise InputError(f"a position is a whole number from 0, not {self.position!r}")
            return
        moment = as_utc(getattr(self, given[0]), what=given[0])
        object.__setattr__(self, given[0], moment)
