"""Methods that handle one type of event, found by the annotation of their parameter."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any, Final, TypeVar, overload

from eslab.errors import RegistrationError, SchemaError
from eslab.events import Event

__all__ = [
    "BY",
    "EventMarker",
    "class_list",
    "event_handlers",
    "marker",
    "message_classes",
    "message_handlers",
    "visible_names",
]

M = TypeVar("M")
F = TypeVar("F", bound=Callable[..., Any])

BY: Final = "__eslab_by__"
"""Under which a handler has the function that says of an event of which instance it is."""


def marker(attribute: str) -> Callable[[F], F]:
    """Return a decorator that marks a method as a handler, under this attribute."""

    def mark(method: F) -> F:
        setattr(method, attribute, True)
        return method

    return mark


class EventMarker:
    """Marks a method as a handler of events; of which instance they are, it may say itself.

    Args:
        attribute: under which it is marked, as by `marker`.
    """

    def __init__(self, attribute: str) -> None:
        self.attribute = attribute

    @overload
    def __call__(self, method: F, /) -> F: ...
    @overload
    def __call__(self, *, by: Callable[[Any], object]) -> Callable[[F], F]: ...
    def __call__(self, method: Any = None, *, by: Callable[[Any], object] | None = None) -> Any:
        """Mark a method, or return what marks one.

        Args:
            method: that handles an event.
            by: says of an event of which instance it is; for process managers.
        """
        if method is not None:
            return marker(self.attribute)(method)

        def mark(method: F) -> F:
            setattr(method, BY, by)
            return marker(self.attribute)(method)

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
    return message_handlers(cls, attribute, Event, word="event", names=visible_names(cls))


def message_handlers(
    cls: type,
    attribute: str,
    base: type[M],
    *,
    word: str,
    names: Mapping[str, Any] | None = None,
) -> dict[type[M], Callable[..., Any]]:
    """Do the same for messages of any kind.

    Args:
        cls: the class, at its definition.
        attribute: what `marker` set.
        base: of what a handled message is a subclass.
        word: what such a message is called.
        names: what annotations may mean beside the names of the module; by default those that
            are visible where the class is defined.
    """
    names = visible_names(cls) if names is None else names
    inside = {name: value for name, value in vars(cls).items() if isinstance(value, type)}
    names = {**names, cls.__name__: cls, **inside}
    found: dict[type[M], Callable[..., Any]] = {}
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
            where = f"{cls.__qualname__}.{method.__name__}"
            if inspect.isgeneratorfunction(method):
                raise SchemaError(f"{where} is a generator, and nothing of it would run: no yield")
            messages = message_classes(method, base, 1, word=word, where=where, names=names)
            by_type = {key: value for key, value in by_type.items() if value != name}
            found = {key: value for key, value in found.items() if value.__name__ != name}
            for message in messages:
                type_name = getattr(message, "event_type", message.__name__)
                if type_name in by_type:
                    raise RegistrationError(
                        f"{cls.__qualname__}: {by_type[type_name]} and {name} both handle "
                        f"{type_name}; one method handles a type of {word}"
                    )
                by_type[type_name] = name
                found[message] = method
    return found


def message_classes(
    function: Callable[..., Any],
    base: type[M] | tuple[type[M], ...],
    position: int,
    *,
    word: str,
    where: str = "",
    names: Mapping[str, Any] | None = None,
) -> tuple[type[M], ...]:
    """Return the classes of messages that a function takes: one, or the parts of a union.

    Args:
        function: whose annotations are read.
        base: of what each of them is a subclass; of one of these, if they are several.
        position: of the argument, from 0.
        word: what such a message is called.
        where: what the function is called, for the errors.
        names: what annotations may mean beside the names of the module; by default those that
            are visible where this is called from.

    Raises:
        SchemaError: it has no such argument, or its annotation is another one; or it would have
            to be awaited.
    """
    names = visible_names(function) if names is None else names
    where = where or getattr(function, "__qualname__", repr(function))
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise SchemaError(f"{where} is async, and nobody would await it: make it a plain function")
    parameters = list(inspect.signature(function).parameters)
    if len(parameters) <= position:
        raise SchemaError(
            f"{where} handles a type of {word}, so it takes one: ({', '.join(parameters)})"
        )
    try:
        hints = typing.get_type_hints(function, localns=dict(names))
    except Exception as error:
        raise SchemaError(f"{where}: an annotation is not known here: {error}") from error
    hint = hints.get(parameters[position])
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    classes = typing.get_args(hint) if union else (hint,)
    if not all(isinstance(cls, type) and issubclass(cls, base) for cls in classes):
        bases = " or ".join(one.__name__ for one in (base if isinstance(base, tuple) else (base,)))
        raise SchemaError(
            f"{where}: annotate its parameter {parameters[position]!r} with the class of the "
            f"{word} that it handles, a subclass of {bases}; found {hint!r}"
        )
    return classes


def class_list(
    classes: Iterable[type[M]], base: type[M], *, word: str, where: str
) -> tuple[type[M], ...]:
    """Return the classes of messages that somebody listed.

    Raises:
        SchemaError: they are no list, or one of them is no such class.
    """
    if isinstance(classes, Iterable):
        listed = tuple(classes)
        if all(isinstance(cls, type) and issubclass(cls, base) for cls in listed):
            return listed
    raise SchemaError(
        f"{where}: {word}s are given as a list of subclasses of {base.__name__}, not {classes!r}"
    )


def visible_names(defined: type | Callable[..., Any]) -> dict[str, Any]:
    """Return the names where something is defined, for annotations that are written as text.

    Between that place and here are the frames of __init_subclass__, and of some metaclasses.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and (
        frame.f_globals.get("__name__") != defined.__module__
        or frame.f_code.co_name in ("__init_subclass__", "__new__")
    ):
        frame = frame.f_back
    return dict(frame.f_locals) if frame is not None else {}
