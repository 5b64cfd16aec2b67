"""An aggregate: state that only events change, and methods that record them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Self, get_origin

from eslab.errors import SchemaError
from eslab.events import Event, check_stream_id
from eslab.schema import event_handlers, marker, snake_case

__all__ = ["Aggregate", "applies"]

applies = marker("__eslab_applies__")
"""Mark a method of an aggregate as the one that applies a type of event to the state.

The event's class is the annotation of the method's parameter.
"""


class Aggregate:
    """State by annotations with defaults; methods decide and `record`; handlers apply.

    The state changes in the handlers alone, so that it is the same when it is folded from the
    stored events. The category of its streams is the name of the class in snake case, unless the
    class argument ``category=`` says otherwise.

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
    event_classes: ClassVar[dict[str, type[Event]]]
    _appliers: ClassVar[dict[str, Callable[..., None]]]
    _defaults: ClassVar[dict[str, Any]]
    _mutables: ClassVar[dict[str, Any]]

    def __init_subclass__(cls, *, category: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.category = snake_case(cls.__name__) if category is None else category
        if "-" in cls.category or not cls.category:
            raise SchemaError(
                f"{cls.__qualname__}: a category is the part of a stream id before the first '-': "
                f"it cannot be {cls.category!r}"
            )
        handlers = event_handlers(cls, "__eslab_applies__")
        cls.event_classes = {event.event_type: event for event in handlers}
        cls._appliers = {event.event_type: method for event, method in handlers.items()}
        cls._defaults = _state_defaults(cls)
        cls._mutables = {
            name: value for name, value in cls._defaults.items() if type(value) not in _CONSTANTS
        }

    def __init__(self, id: str) -> None:
        self.id = id
        self.stream_id = check_stream_id(f"{self.category}-{id}")
        self.version = 0
        self.uncommitted: list[Event] = []
        if self._mutables:  # other defaults are read from the class
            for name, default in self._mutables.items():
                setattr(self, name, copy.deepcopy(default))

    @property
    def state(self) -> dict[str, Any]:
        """The values of its annotated attributes."""
        return {name: getattr(self, name) for name in self._defaults}

    def record(self, event: Event) -> None:
        """Apply an event, and keep it until the aggregate is saved.

        Raises:
            SchemaError: no handler applies this type of event.
        """
        self._apply(event)
        self.uncommitted.append(event)

    def rebuild(self, events: Iterable[Event]) -> Self:
        """Apply events that are in the store already, in their order."""
        for event in events:
            self._apply(event)
        return self

    def _apply(self, event: Event) -> None:
        applier = self._appliers.get(event.event_type)
        if applier is None:
            raise SchemaError(
                f"{type(self).__qualname__} has no handler for {event.event_type}: give it a "
                f"method with @applies and a parameter annotated as {type(event).__name__}"
            )
        applier(self, event)
        self.version += 1

    def __repr__(self) -> str:
        state = "".join(f" {name}={value!r}" for name, value in self.state.items())
        pending = f" ({len(self.uncommitted)} uncommitted)" if self.uncommitted else ""
        return f"<{type(self).__name__} {self.id} v{self.version}{state}{pending}>"


_CONSTANTS = frozenset({str, int, bool, float, type(None)})
_OWN_NAMES = frozenset({"id", "version", "uncommitted", "stream_id", "state", "category"})


def _state_defaults(cls: type[Aggregate]) -> dict[str, Any]:
    defaults: dict[str, Any] = {}
    for owner in reversed(cls.__mro__):
        if owner in (Aggregate, object):
            continue
        for name, annotation in vars(owner).get("__annotations__", {}).items():
            if str(annotation).startswith(("ClassVar", "typing.ClassVar")):
                continue
            if get_origin(annotation) is ClassVar:
                continue
            if name in _OWN_NAMES:
                raise SchemaError(
                    f"{cls.__qualname__}.{name}: eslab uses that name; choose another"
                )
            if not hasattr(cls, name):
                raise SchemaError(
                    f"{cls.__qualname__}.{name} needs a value to begin with: {name}: ... = ..."
                )
            defaults[name] = getattr(cls, name)
    return defaults
