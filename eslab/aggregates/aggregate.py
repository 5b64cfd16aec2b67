"""An aggregate: state that only events change, and methods that record them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, ClassVar, Self

from pydantic import BaseModel

from eslab.aggregates.attributes import require_free_names, state_defaults, state_shape
from eslab.aggregates.sourced import (
    CONSTANTS,
    Sourced,
    StateSchema,
    check_category,
    check_snapshot_policy,
    detached,
    stream_of,
)
from eslab.errors import HandlerError, HandlerNotFoundError, InputError, SchemaError
from eslab.events import Event, check_stream_id
from eslab.schema import (
    class_list,
    event_handlers,
    marker,
    message_handlers,
    qualified_name,
    snake_case,
    visible_names,
)

__all__ = ["Aggregate", "applies", "handles"]

applies = marker("__eslab_applies__")
"""Mark a method of an aggregate as the one that applies a type of event to the state.

The event's class is the annotation of the method's parameter; a union is several.
"""

handles = marker("__eslab_handles__")
"""Mark a method of an aggregate as the one that decides a type of command.

The command's class is the annotation of the method's parameter. The method records events, or
refuses the command by raising `DomainError`; it returns nothing.
"""


class Aggregate(Sourced):
    """State by annotations with defaults; methods decide and `record`; handlers apply.

    The class-shaped front of what a `Decider` is. The state changes in the handlers alone, so that
    it is the same when it is folded from the stored events.

    Class arguments:
        category: of its streams; by default the name of the class in snake case.
        events: the classes of its events that must have a handler each, beside those that have
            one and those that are defined inside the class.
        ignores: the classes of events that change nothing.
        snapshot_every: keep a snapshot of the state every so many events; by default never.
        snapshot_version: to be raised when the handlers begin to fold the same events to another
            state.

    Args:
        id: the identity, after the category in the stream id.

    Example:
        >>> class OrderPlaced(Event):
        ...     amount: int
        >>> class Order(Aggregate):
        ...     status: str = "new"
        ...     def place(self, amount: int) -> None:
        ...         self.record(OrderPlaced(amount=amount))
        ...     @applies
        ...     def placed(self, event: OrderPlaced) -> None:
        ...         self.status = "placed"
        >>> order = Order("o-1")
        >>> order.place(30)
        >>> order
        <Order o-1 v1 status='placed' (1 uncommitted)>
    """

    category: ClassVar[str]
    event_classes: ClassVar[Mapping[str, type[Event]]] = {}
    commands: ClassVar[tuple[type[BaseModel], ...]] = ()
    snapshot_every: ClassVar[int | None] = None
    snapshot_version: ClassVar[int] = 1
    _appliers: ClassVar[dict[str, Callable[..., None]]] = {}
    _handlers: ClassVar[dict[str, Callable[..., None]]] = {}
    _defaults: ClassVar[dict[str, Any]] = {}
    _mutables: ClassVar[dict[str, Any]] = {}
    _state_schema: ClassVar[StateSchema | None] = None

    def __init_subclass__(
        cls,
        *,
        category: str | None = None,
        events: Iterable[type[Event]] = (),
        ignores: Iterable[type[Event]] = (),
        snapshot_every: int | None = None,
        snapshot_version: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        where = cls.__qualname__
        require_free_names(cls, Aggregate, own=_OWN_NAMES, arguments=_CLASS_ARGUMENTS)
        cls.definition = cls
        cls.category = check_category(
            snake_case(cls.__name__) if category is None else category, where=where
        )
        check_snapshot_policy(snapshot_every, snapshot_version, where=where)
        appliers = event_handlers(cls, "__eslab_applies__")
        commands = message_handlers(cls, "__eslab_handles__", BaseModel, word="command")
        ignored = [*_ignored(cls), *_event_classes(cls, ignores)]
        cls._appliers = {event.event_type: _ignore for event in ignored}
        cls._appliers |= {event.event_type: method for event, method in appliers.items()}
        cls.event_classes = {event.event_type: event for event in (*ignored, *appliers)}
        _require_handlers(cls, [*_nested_events(cls), *_event_classes(cls, events)])
        cls.commands = tuple(commands)
        cls._handlers = {qualified_name(command): method for command, method in commands.items()}
        cls._defaults = state_defaults(cls, Aggregate, own=_OWN_NAMES)
        cls._mutables = {
            name: value for name, value in cls._defaults.items() if type(value) not in CONSTANTS
        }
        cls.snapshot_every, cls.snapshot_version = snapshot_every, snapshot_version
        cls._state_schema = None
        if snapshot_every is not None:
            cls._state_schema = _state_schema(cls, visible_names(cls))

    def __init__(self, id: str) -> None:
        # As the base class does it, with a call less: many are made.
        if type(id) is not str or not id:
            stream_of(self.category, id)  # it says what is wrong
        self.id = id
        self.stream_id = check_stream_id(f"{self.category}-{id}")
        self.version = 0
        self.uncommitted = []
        if self._mutables:  # other defaults are read from the class
            for name, default in self._mutables.items():
                setattr(self, name, detached(default))

    @property
    def state(self) -> dict[str, Any]:
        """The values of its annotated attributes."""
        return {name: getattr(self, name) for name in self._defaults}

    @classmethod
    def state_schema(cls) -> StateSchema:
        """Return how its state is kept in a snapshot: by the annotations of its attributes."""
        if cls._state_schema is None:
            cls._state_schema = _state_schema(cls, {})
        return cls._state_schema

    def execute(self, command: BaseModel) -> None:
        """Let the method decide a command that is marked with `handles` for its type.

        Raises:
            DomainError: the command is refused; the aggregate may hold a part of it, and is to be
                loaded again.
            HandlerNotFoundError: no method handles commands of that type.
            HandlerError: the method returned something.
        """
        handler = self._handlers.get(qualified_name(type(command)))
        if handler is None:
            raise HandlerNotFoundError(
                type(command).__name__,
                known=[handled.__name__ for handled in self.commands],
                by=type(self).__qualname__,
            )
        returned = handler(self, command)
        if returned is not None:
            raise HandlerError(
                f"{handler.__qualname__} returned {returned!r:.200}: a method of an aggregate "
                f"records its events with self.record(...), and returns nothing"
            )

    def _apply(self, event: Event) -> None:
        try:
            applier = self._appliers.get(type(event).event_type)
        except AttributeError:  # a class of events has that attribute too, but not its type
            raise InputError(f"{self!r} takes events, not {event!r:.200}") from None
        if applier is None:
            raise SchemaError(
                f"{type(self).__qualname__} has no handler for {event.event_type}: give it a "
                f"method with @applies and a parameter annotated as {type(event).__name__}, or "
                f"the class argument ignores=[{type(event).__name__}]"
            )
        applier(self, event)

    def rebuild(self, events: Iterable[Event]) -> Self:
        """Apply events that are in the store already, in their order."""
        appliers, recorded = self._appliers, len(self.uncommitted)
        for event in events:
            applier = appliers.get(event.event_type)
            if applier is None:
                self._apply(event)  # it says what is missing
            else:
                applier(self, event)
            self.version += 1
        if len(self.uncommitted) != recorded:
            self._refuse(self.uncommitted[recorded])
        return self

    def kept_state(self) -> dict[str, Any]:
        """Return the state, for a snapshot of it.

        Raises:
            SchemaError: it has attributes that are not annotated in the class.
        """
        more = [
            name
            for name in self.__dict__.keys() - self._defaults.keys() - _KEPT
            if not isinstance(getattr(type(self), name, None), cached_property)
        ]
        if more:
            raise SchemaError(
                f"{type(self).__qualname__} has attributes that its state would lack: annotate "
                f"{', '.join(sorted(more))} in the class, with a value to begin with; what is no "
                f"state is no attribute of one aggregate"
            )
        return self.state

    def _copy_state(self, other: Self) -> None:
        for name, value in self.__dict__.items():
            if name not in _KEPT:
                other.__dict__[name] = detached(value)

    def _restore_state(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)

    def _called(self) -> str:
        return type(self).__name__

    def _shown(self) -> str:
        return "".join(f" {name}={value!r}" for name, value in self.state.items())


def _ignore(aggregate: Aggregate, event: Event) -> None:
    """Apply an event that changes nothing."""


_KEPT = frozenset({"id", "version", "uncommitted", "stream_id"})
_OWN_NAMES = frozenset(
    name
    for owner in (Aggregate, Sourced)
    for name in (*_KEPT, *owner.__annotations__, *vars(owner))
    if not name.startswith("__")
)
_CLASS_ARGUMENTS = frozenset({"category", "snapshot_every", "snapshot_version"})


def _state_schema(cls: type[Aggregate], names: Mapping[str, Any]) -> StateSchema:
    """Return how the state is kept, by annotations that may mean these names."""
    shape = state_shape(cls, cls._defaults, names)
    return StateSchema(shape, version=cls.snapshot_version, where=cls.__qualname__)


def _ignored(cls: type[Aggregate]) -> list[type[Event]]:
    """Return the events that the classes which it extends ignore."""
    return [
        event
        for base in cls.__mro__[1:]
        if issubclass(base, Aggregate)
        for name, event in base.event_classes.items()
        if base._appliers[name] is _ignore  # noqa: SLF001 - of this module
    ]


def _event_classes(cls: type[Aggregate], events: Iterable[Any]) -> tuple[type[Event], ...]:
    return class_list(events, Event, word="event", where=cls.__qualname__)


def _nested_events(cls: type[Aggregate]) -> list[type[Event]]:
    return [
        value
        for value in vars(cls).values()
        if isinstance(value, type) and issubclass(value, Event)
    ]


def _require_handlers(cls: type[Aggregate], events: Iterable[type[Event]]) -> None:
    """Raise SchemaError for an event that is neither applied nor ignored."""
    for event in events:
        if event.event_type not in cls.event_classes:
            raise SchemaError(
                f"{cls.__qualname__} has no handler for its event {event.event_type}: give it a "
                f"method with @applies and a parameter annotated as {event.__name__}, or the "
                f"class argument ignores=[{event.__name__}]"
            )
