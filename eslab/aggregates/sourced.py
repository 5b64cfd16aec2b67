"""What aggregates and entities share: the state of one stream, folded from its events."""

from __future__ import annotations

import copy
import hashlib
from abc import ABCMeta, abstractmethod
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Protocol, Self, TypeVar, runtime_checkable
from uuid import UUID

from pydantic import TypeAdapter

from eslab.errors import EslabError, InputError, SchemaError
from eslab.events import Event, check_stream_id
from eslab.schema import canonical_json, sorted_sets

__all__ = [
    "Definition",
    "Sourced",
    "StateSchema",
    "check_category",
    "check_snapshot_policy",
    "detached",
    "stream_of",
]

T_co = TypeVar("T_co", bound="Sourced", covariant=True)

CONSTANTS: Final = frozenset(
    {str, int, bool, float, bytes, type(None), Decimal, UUID, date, datetime, timedelta}
)


@runtime_checkable
class Definition(Protocol[T_co]):
    """What a repository loads by: a class of aggregates, or a decider."""

    @property
    def category(self) -> str:
        """The category of its streams."""
        ...

    @property
    def event_classes(self) -> Mapping[str, type[Event]]:
        """The events in them, by the names of their types."""
        ...

    @property
    def snapshot_every(self) -> int | None:
        """After how many events a snapshot of the state is kept; None for never."""
        ...

    def state_schema(self) -> StateSchema:
        """Return how its state is kept in a snapshot."""
        ...

    def __call__(self, id: str) -> T_co:
        """Return the one of that identity as it is before its first event."""
        ...


class Sourced(metaclass=ABCMeta):
    """One stream as its events left it, and the events that it recorded since.

    Attributes:
        id: the identity, after the category in the stream id.
        stream_id: its stream.
        version: how many events were applied, those that are not saved yet included.
        uncommitted: the events that are not saved yet.
        definition: by what a repository loads it.
    """

    definition: Any

    def __init__(self, category: str, id: str) -> None:
        self.id = id
        self.stream_id = stream_of(category, id)
        self.version = 0
        self.uncommitted: list[Event] = []

    @property
    @abstractmethod
    def state(self) -> Any:
        """What the events made of it."""

    def kept_state(self) -> Any:
        """Return the state, for a snapshot of it.

        Raises:
            SchemaError: there is more to it than a snapshot would hold.
        """
        return self.state

    @abstractmethod
    def _apply(self, event: Event) -> None: ...

    @abstractmethod
    def _copy_state(self, other: Self) -> None: ...

    @abstractmethod
    def _restore_state(self, state: Any) -> None: ...

    @abstractmethod
    def execute(self, command: Any) -> None:
        """Decide a command, and record what follows from it.

        Raises:
            DomainError: the command is refused.
            HandlerNotFoundError: nothing here handles commands of that type.
            HandlerError: what handles it gave something else than events.
        """

    def record(self, event: Event) -> None:
        """Apply an event, and keep it until the aggregate is saved.

        Raises:
            SchemaError: no handler applies this type of event, or the handler records one itself.
            InputError: it is no event.
        """
        uncommitted = self.uncommitted
        count = len(uncommitted)
        self._apply(event)
        if len(uncommitted) != count:
            self._refuse(uncommitted[count])
        self.version += 1
        uncommitted.append(event)

    def rebuild(self, events: Iterable[Event]) -> Self:
        """Apply events that are in the store already, in their order."""
        apply, recorded = self._apply, len(self.uncommitted)
        for event in events:
            apply(event)
            self.version += 1
        if len(self.uncommitted) != recorded:
            self._refuse(self.uncommitted[recorded])
        return self

    def _refuse(self, event: Event) -> None:
        raise SchemaError(
            f"{self!r}: what applies an event recorded {event!r:.200}, and would again whenever "
            f"it is loaded: record it in the method that decides"
        )

    def restore(self, state: Any, version: int) -> Self:
        """Take the state that a snapshot holds of a version."""
        self._restore_state(state)
        self.version = version
        return self

    def copy(self) -> Self:
        """Return another one that shares nothing which can change, and has nothing uncommitted."""
        other = object.__new__(type(self))
        other.id, other.stream_id, other.version = self.id, self.stream_id, self.version
        other.uncommitted = []
        self._copy_state(other)
        return other

    def __repr__(self) -> str:
        pending = f" ({len(self.uncommitted)} uncommitted)" if self.uncommitted else ""
        return f"<{self._called()} {self.id} v{self.version}{self._shown()}{pending}>"

    @abstractmethod
    def _called(self) -> str: ...

    @abstractmethod
    def _shown(self) -> str: ...


class StateSchema:
    """How a state is kept as JSON, and by what one knows that it can be read again.

    Args:
        type: of the state, as pydantic takes it.
        version: the snapshot version that its author declared.
        where: what it is the state of, for the errors.

    Attributes:
        key: a hash of the schema and the version: another one is another state.

    Raises:
        SchemaError: there is no schema for that type.
    """

    def __init__(self, type: Any, *, version: int, where: str) -> None:
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(type)
            schema = self._adapter.json_schema()
        except Exception as error:
            raise SchemaError(
                f"{where} cannot have snapshots: there is no JSON for its state ({error}); "
                f"annotate it with types that pydantic knows, or give it no snapshot_every"
            ) from error
        self.key = hashlib.sha256(canonical_json([schema, version]).encode()).hexdigest()[:32]

    def dump(self, state: Any) -> str:
        """Return a state as JSON.

        Raises:
            InputError: read again it would be another one.
        """
        try:
            plain = self._adapter.dump_python(state, mode="json", round_trip=True, warnings="error")
            text = canonical_json(sorted_sets(plain, state))
            if self.load(text) == state:
                return text
            reason = f"read again it is {self.load(text)!r:.300}"
        except Exception as error:
            reason = str(error)
        raise InputError(f"the state {state!r:.300} cannot be kept as JSON: {reason}")

    def load(self, text: str) -> Any:
        """Return the state that JSON stands for."""
        return self._adapter.validate_json(text)


def check_category(category: str, *, where: str) -> str:
    """Return what the streams of a definition begin with, if they can.

    Raises:
        SchemaError: it is empty, holds the sign that ends it, or cannot be in a stream id.
    """
    if not isinstance(category, str) or "-" in category or not category:
        raise SchemaError(
            f"{where}: a category is the part of a stream id before the first '-': it cannot be "
            f"{category!r:.200}"
        )
    try:
        stream_of(category, "1")
    except EslabError as error:
        raise SchemaError(f"{where}: it cannot be a category: {error}") from error
    return category


def check_snapshot_policy(every: int | None, version: int, *, where: str) -> None:
    """Raise SchemaError if snapshots cannot be kept so often, or with that version."""
    for name, value in (("snapshot_every", every), ("snapshot_version", version)):
        if value is not None and (type(value) is not int or value < 1):
            raise SchemaError(f"{where}: {name} is a whole number from 1, not {value!r}")


def stream_of(category: str, id: str) -> str:
    """Return the id of the stream of one aggregate, or one entity.

    Raises:
        InputError: the identity is no text, is empty, or cannot be in a stream id.
        LimitError: it is too long.
    """
    if not (isinstance(id, str) and id):
        raise InputError(f"the identity of {category!r} is a text such as '1', not {id!r:.200}")
    return check_stream_id(f"{category}-{id}")


def detached(value: Any) -> Any:
    """Return a value that shares nothing which can change.

    Raises:
        SchemaError: it holds something that cannot be copied.
    """
    if type(value) in CONSTANTS:
        return value
    try:
        return copy.deepcopy(value)
    except Exception as error:
        raise SchemaError(
            f"{value!r:.200} cannot be a part of a state, because it cannot be copied ({error}): "
            f"keep plain values there, and annotate what is no state as a ClassVar"
        ) from error
