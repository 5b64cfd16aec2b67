"""Edits of history: events that are skipped, changed, inserted or moved, as a plan of what follows.

A plan changes nothing. It says what the log of a branch is to hold behind the last position that it
has in common with its base.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import ValidationError

from eslab.clock import as_utc
from eslab.errors import EslabError, InputError
from eslab.events import Event, Metadata, NewEvent, RecordedEvent, check_stream_id
from eslab.schema import AnyEvent, EncodedEvent, EventRegistry, encoded, parse_json
from eslab.schema.codec import event_of
from eslab.schema.upcasting import upcast
from eslab.store.port import EventStore
from eslab.words import counted

__all__ = ["AnyEdit", "Edit", "Insert", "Move", "Plan", "PlannedEvent", "Skip", "edited"]

_NO_CHANGE: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Skip:
    """Leave an event out: as if it had never happened.

    Args:
        position: of the event, in the base.

    Example:
        >>> Skip(7)
        Skip(position=7)
    """

    position: int

    def __post_init__(self) -> None:
        _check_position(self.position, "Skip", "position", lowest=1)


@dataclass(frozen=True, slots=True)
class Edit:
    """Let an event say something else. It keeps its place and gets a new id.

    Args:
        position: of the event, in the base.
        data: the fields that change, with their new values; or another event altogether, which
            may be of another type.
        occurred_at: when it happened (aware), if that changes.
        metadata: what is known about it beside its data, as a whole, if that changes.

    Raises:
        InputError: it changes nothing, or by what cannot be used.

    Example:
        >>> Edit(7, {"amount": 3}).data
        {'amount': 3}
    """

    position: int
    data: Mapping[str, Any] | Event | NewEvent = field(default_factory=lambda: _NO_CHANGE)
    occurred_at: datetime | None = field(default=None, kw_only=True)
    metadata: Metadata | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_position(self.position, "Edit", "position", lowest=1)
        if not isinstance(self.data, (Mapping, Event, NewEvent)):
            raise InputError(
                f"Edit({self.position}): data is a dict of the fields that change, such as "
                f"{{'amount': 3}}, or another event, not {self.data!r:.200}"
            )
        if self.data == _NO_CHANGE and self.occurred_at is None and self.metadata is None:
            raise InputError(
                f"Edit({self.position}) changes nothing: give it data=, occurred_at= or metadata="
            )
        if self.occurred_at is not None:
            moment = as_utc(self.occurred_at, what=f"Edit({self.position}): occurred_at")
            object.__setattr__(self, "occurred_at", moment)
        if not isinstance(self.metadata, Metadata | None):
            raise InputError(
                f"Edit({self.position}): metadata is Metadata(...), not {self.metadata!r:.200}"
            )


@dataclass(frozen=True, slots=True)
class Insert:
    """Let something more have happened.

    Several that are inserted at one place stand in the order in which they are given.

    Args:
        after: the position, in the base, behind whose place it stands; 0 for the beginning.
        stream_id: the stream that it is the next event of.
        event: what happened: an `Event` or a `NewEvent`. Unless it says when, it happened when the
            event at `after` was recorded.

    Example:
        >>> class OrderPlaced(Event):
        ...     amount: int
        >>> Insert(0, "order-1", OrderPlaced(amount=30))
        Insert(after=0, stream_id='order-1', event=OrderPlaced(amount=30))
    """

    after: int
    stream_id: str
    event: AnyEvent

    def __post_init__(self) -> None:
        _check_position(self.after, "Insert", "after", lowest=0)
        check_stream_id(self.stream_id)


@dataclass(frozen=True, slots=True)
class Move:
    """Let an event have happened earlier or later. It keeps its id, and when it occurred.

    Args:
        position: of the event, in the base.
        after: the position, in the base, behind whose place it stands; 0 for the beginning.

    Example:
        >>> Move(7, after=2)
        Move(position=7, after=2)
    """

    position: int
    after: int

    def __post_init__(self) -> None:
        _check_position(self.position, "Move", "position", lowest=1)
        _check_position(self.after, "Move", "after", lowest=0)
        if self.position == self.after:
            raise InputError(f"{self!r}: an event cannot stand behind its own place")


AnyEdit = Skip | Edit | Insert | Move


@dataclass(frozen=True, slots=True)
class PlannedEvent:
    """An event of a branch, behind the last position that it has in common with its base.

    Attributes:
        stream_id: its stream.
        event: all that is kept of it; it has an id unless a new one is to be minted.
        base: the event of the base that it is, or was before it was edited; None if inserted.
        recorded_at: when it is taken to be recorded; None: when the branch is made.
        edit: what made it another one, or put it elsewhere; None if nothing did.
    """

    stream_id: str
    event: NewEvent
    base: RecordedEvent | None
    recorded_at: datetime | None
    edit: Literal["edited", "inserted", "moved"] | None = None

    @property
    def base_position(self) -> int | None:
        """Its position in the base; None if it is not there."""
        return None if self.base is None else self.base.position


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """What the log of a branch holds, given its base and edits; `edited` makes it.

    Attributes:
        store: the base.
        at: the last position of the base that is looked at.
        edits: as they were given.
        start: the last position that is the same as in the base.
        removed: the events of the base that do not stand in their place any more, by position.
        placed: the events that stand behind the place of a position instead, in their order.
    """

    store: EventStore
    at: int
    edits: tuple[AnyEdit, ...]
    start: int
    removed: Mapping[int, RecordedEvent]
    placed: Mapping[int, tuple[PlannedEvent, ...]]

    @property
    def end(self) -> int:
        """The last position of the branch, when it is made."""
        return self.at - len(self.removed) + sum(map(len, self.placed.values()))

    @property
    def events(self) -> Iterator[PlannedEvent]:
        """The events behind `start`, in order, read from the base as they are asked for."""
        yield from self.placed.get(self.start, ())
        for recorded in self.store.read_all(after=self.start, until=self.at):
            if recorded.position not in self.removed:
                yield kept(recorded)
            yield from self.placed.get(recorded.position, ())

    def upto(self, place: int) -> int:
        """Return how many events the branch has up to a place, without those put behind it."""
        gone = sum(position <= place for position in self.removed)
        return place - gone + sum(len(some) for at, some in self.placed.items() if at < place)

    def position_of(self, position: int) -> int | None:
        """Return where an event of the base is on the branch; None if it is skipped."""
        if position not in self.removed:
            return self.upto(position)
        for place, some in self.placed.items():
            for number, planned in enumerate(some, start=1):
                if planned.base_position == position:
                    return self.upto(place) + number
        return None

    def __repr__(self) -> str:
        return (
            f"<Plan of {counted(len(self.edits), 'edit')}: the same up to {self.start:,}, "
            f"then {counted(self.end - self.start, 'event')}>"
        )


def edited(
    store: EventStore,
    edits: Sequence[AnyEdit],
    *,
    at: int | None = None,
    registry: EventRegistry | None = None,
) -> Plan:
    """Plan what a log holds when some of its events are skipped, changed, inserted or moved.

    All positions are those of the base: what one edit does moves no place that another one names.
    An event is named by one edit at most; where it stood is a place still.

    Args:
        store: the base, which is not touched.
        edits: in any order.
        at: the last position of the base that is looked at; by default its head.
        registry: which class stands for which type; what an edited or inserted event says must fit
            the class of its type. Of a type that is not registered, nothing is checked.

    Raises:
        InputError: a position is none of the base, or is named by two edits; or an event cannot be
            what an edit wants it to be.

    Example:
        >>> from eslab.store import MemoryStore
        >>> store = MemoryStore()
        >>> _ = store.append("order-1", [NewEvent("Placed", {"n": n}) for n in (1, 2, 3)])
        >>> plan = edited(store, [Skip(2), Edit(3, {"n": 30})])
        >>> plan.start, [(one.event.data, one.base_position, one.edit) for one in plan.events]
        (1, [({'n': 30}, 3, 'edited')])
    """
    last = store.head() if at is None else at
    listed = tuple(edits)
    _check_edits(listed, last, store.head())
    base = _Base(store, last, registry or EventRegistry())
    removed: dict[int, RecordedEvent] = {}
    placed: defaultdict[int, list[PlannedEvent]] = defaultdict(list)
    # What stands where it stood comes before what is put behind it.
    for edit in sorted(listed, key=lambda edit: not isinstance(edit, Edit)):
        if isinstance(edit, Insert):
            placed[edit.after].append(_inserted(edit, base.moment(edit.after), base))
            continue
        recorded = removed[edit.position] = base.event(edit.position)
        if isinstance(edit, Edit):
            placed[edit.position].append(_changed(edit, recorded, base))
        elif isinstance(edit, Move):
            moment = base.moment(edit.after)
            planned = PlannedEvent(recorded.stream_id, _as_new(recorded), recorded, moment, "moved")
            placed[edit.after].append(planned)
    places = {place: tuple(placed[place]) for place in sorted(placed)}
    _check_ids(places.values())
    start = min([last, *map(_before, listed)])
    return Plan(store, last, listed, start, removed, places)


def _before(edit: AnyEdit) -> int:
    """Return the last position that an edit leaves as it is."""
    if isinstance(edit, Insert):
        return edit.after
    return min(edit.position - 1, edit.after) if isinstance(edit, Move) else edit.position - 1


def _check_edits(edits: Sequence[AnyEdit], last: int, head: int) -> None:
    if type(last) is not int or not 0 <= last <= head:
        raise InputError(
            f"a branch begins at a position from 0 to {head:,}, the last one here, not {last!r}"
        )
    there = f"the base has the positions 1 to {last:,}" if last else "the base has no event"
    for edit in edits:
        if not isinstance(edit, AnyEdit):
            raise InputError(
                f"an edit is Skip(...), Edit(...), Insert(...) or Move(...), not {edit!r:.200}"
            )
        for name in ("position", "after"):
            if (place := getattr(edit, name, 0)) > last:
                raise InputError(f"{edit!r:.200}: there is no {name} {place:,}: {there}")
    named = Counter(edit.position for edit in edits if not isinstance(edit, Insert))
    for position, count in named.items():
        if count > 1:
            both = [edit for edit in edits if getattr(edit, "position", None) == position]
            raise InputError(
                f"position {position:,} is named by {count} edits, and one event can be named by "
                f"one: {', '.join(f'{edit!r:.200}' for edit in both)}"
            )


def _check_ids(placed: Iterable[Sequence[PlannedEvent]]) -> None:
    given: dict[UUID | None, PlannedEvent] = {}
    for planned in chain.from_iterable(placed):
        other = given.setdefault(planned.event.event_id, planned)
        if other is not planned and planned.event.event_id is not None:
            raise InputError(
                f"two edits give the id {planned.event.event_id}, to {other.event!r:.200} and to "
                f"{planned.event!r:.200}: leave event_id out, or give one of them another one"
            )


def _check_position(position: Any, where: str, name: str, *, lowest: int) -> None:
    if type(position) is not int or position < lowest:
        raise InputError(
            f"{where}: {name} is a position of the base, a whole number from {lowest}, not "
            f"{position!r:.200}"
        )


def _as_new(recorded: RecordedEvent) -> NewEvent:
    return NewEvent(
        recorded.type,
        recorded.data,
        event_id=recorded.event_id,
        tags=recorded.tags,
        occurred_at=recorded.occurred_at,
        metadata=recorded.metadata,
        schema_version=recorded.schema_version,
    )


def kept(recorded: RecordedEvent) -> PlannedEvent:
    return PlannedEvent(recorded.stream_id, _as_new(recorded), recorded, recorded.recorded_at)


def _inserted(edit: Insert, moment: datetime | None, base: _Base) -> PlannedEvent:
    where = f"Insert(after={edit.after}) into {edit.stream_id!r}"
    new = base.fitting(edit.event, where)
    event = replace(new, occurred_at=new.occurred_at or moment)
    return PlannedEvent(edit.stream_id, event, None, moment, "inserted")


def _changed(edit: Edit, recorded: RecordedEvent, base: _Base) -> PlannedEvent:
    where = f"Edit({edit.position}) of {recorded!r}"
    if isinstance(edit.data, Mapping):
        new = base.merged(recorded, edit.data, where)
    else:
        new = base.fitting(edit.data, where)
    known = edit.metadata or (new.metadata if new.metadata != Metadata() else recorded.metadata)
    moment = edit.occurred_at or new.occurred_at or recorded.occurred_at
    event = _checked(replace(new, occurred_at=moment, metadata=known), where)
    return PlannedEvent(recorded.stream_id, event, recorded, recorded.recorded_at, "edited")


@dataclass(frozen=True, slots=True)
class _Base:
    """What edits are made of: the log up to a position, and the classes of its events."""

    store: EventStore
    at: int
    registry: EventRegistry

    def event(self, position: int) -> RecordedEvent:
        (recorded,) = self.store.read_all(after=position - 1, until=position)
        return recorded

    def moment(self, after: int) -> datetime | None:
        """Return when the event at a place was recorded, so that time does not go back there."""
        return self.event(max(after, 1)).recorded_at if self.at else None

    def fitting(self, event: AnyEvent, where: str) -> NewEvent:
        """Return an event that is given as a whole, if it can be recorded.

        Raises:
            InputError: it cannot be encoded, does not fit its class, or its id is taken.
        """
        new = _checked(event, where)
        if new.event_id is not None:
            taken = self.store.find(new.event_id)
            if taken is not None and taken.position <= self.at:
                raise InputError(
                    f"{where}: the id {new.event_id} is that of {taken!r}; leave event_id out, or "
                    f"give it another one"
                )
        if new.type in self.registry:
            _typed(self.registry[new.type], new.data, new.schema_version, where)
        return new

    def merged(self, recorded: RecordedEvent, changes: Mapping[str, Any], where: str) -> NewEvent:
        """Return an event with some fields changed, in the newest version of its class.

        Raises:
            InputError: it does not fit the class then.
        """
        if recorded.type not in self.registry:
            data = {**recorded.data, **changes}
            return _checked(replace(_as_new(recorded), data=data, event_id=None), where)
        cls = self.registry[recorded.type]
        stored: Mapping[str, Any] = recorded.data
        if recorded.schema_version != cls.schema_version:
            try:
                stored = upcast(cls, stored, schema_version=recorded.schema_version)
            except EslabError as error:
                raise InputError(f"{where}: it cannot be brought up to date: {error}") from error
        new = _checked(_typed(cls, {**stored, **changes}, cls.schema_version, where), where)
        # Tags that its class does not declare were given to it, and are kept.
        return replace(new, tags=new.tags or recorded.tags)


def _typed(cls: type[Event], data: Mapping[str, Any], schema_version: int, where: str) -> Event:
    """Return the event of a class that data stands for.

    Raises:
        InputError: it does not fit the class.
    """
    try:
        return event_of(cls, data, schema_version=schema_version)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole event"
        fields = ", ".join(cls.model_fields) or "none"
        raise InputError(
            f"{where}: it does not fit {cls.__qualname__}: {place}: {first['msg']}, found "
            f"{first['input']!r:.200} (its fields: {fields})"
        ) from error
    except EslabError as error:
        raise InputError(f"{where}: it does not fit {cls.__qualname__}: {error}") from error


def _checked(event: AnyEvent, where: str) -> NewEvent:
    """Return an event as its parts, as they would be recorded.

    Raises:
        InputError: it is none, or cannot be encoded.
    """
    try:
        return _as_parts(encoded(event))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _as_parts(event: EncodedEvent) -> NewEvent:
    return NewEvent(
        event.type,
        parse_json(event.data),
        event_id=event.event_id,
        tags=event.tags,
        occurred_at=event.occurred_at,
        metadata=Metadata.from_dict(parse_json(event.metadata)),
        schema_version=event.schema_version,
    )
