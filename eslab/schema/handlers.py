"""Methods that handle one type of event, found by the annotation of their parameter."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from eslab.errors import RegistrationError, SchemaError
from eslab.events import Event

__all__ = ["event_handlers", "marker"]

F = TypeVar("F", bound=Callable[..., Any])


def marker(attribute: str) -> Callable[[F], F]:
    """Return a decorator that marks a method as a handler, under this attribute."""

    def mark(method: F) -> F:
        setattr(method, attribute, True)
        return method

    return mark


def event_handlers(cls: type, attribute: str) -> dict[type[Event], Callable[..., None]]:
    """Return the marked methods of a class by the event class that each handles.

    Args:
        cls: the class, at its definition.
        attribute: what `marker` set.

    Raises:
        SchemaError: a method has no event class as the annotation of its first argument, or takes
            the place of a handler without being marked.
        RegistrationError: two methods handle the same type of event.
    """
    names = _visible(cls)
    found: dict[type[Event], Callable[..., None]] = {}
    by_type: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        for name, method in vars(owner).items():
            if not getattr(method, attribute, False):
                if name in by_type.values():
                    raise SchemaError(
                        f"{cls.__qualname__}.{name} takes the place of a handler, and is not "
                        f"marked as one: decorate it too"
                    )
                continue
            event = _event_class(cls, method, names)
            if (other := by_type.get(event.event_type, name)) != name:
                raise RegistrationError(
                    f"{cls.__qualname__}: {other} and {name} both handle {event.event_type}; "
                    f"one method handles a type of event"
                )
            by_type = {key: value for key, value in by_type.items() if value != name}
            by_type[event.event_type] = name
            found = {key: value for key, value in found.items() if value.__name__ != name}
            found[event] = method
    return found


def _visible(cls: type) -> dict[str, Any]:
    """Return the names where a class is defined, for annotations that are written as text.

    Between that place and here are the frames of __init_subclass__, and of some metaclasses.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and (
        frame.f_globals.get("__name__") != cls.__module__
        or frame.f_code.co_name in ("__init_subclass__", "__new__")
    ):
        frame = frame.f_back
    return dict(frame.f_locals) if frame is not None else {}


def _event_class(cls: type, method: Callable[..., None], names: dict[str, Any]) -> type[Event]:
    where = f"{cls.__qualname__}.{method.__name__}"
    parameters = list(inspect.signature(method).parameters)
    if len(parameters) < 2:
        raise SchemaError(f"{where} handles an event, so it takes one: ({', '.join(parameters)})")
    try:
        hints = typing.get_type_hints(method, localns=names)
    except Exception as error:
        raise SchemaError(f"{where}: an annotation is not known here: {error}") from error
    event = hints.get(parameters[1])
    if not (isinstance(event, type) and issubclass(event, Event)):
        raise SchemaError(
            f"{where}: annotate its parameter {parameters[1]!r} with the class of the events that "
            f"it handles, a subclass of eslab.Event; found {event!r}"
        )
    return event
