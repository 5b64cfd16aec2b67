"""What a class of process managers says of itself: what handles what, and by which rules."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, NoReturn, TypeVar
from uuid import UUID

from eslab.aggregates.attributes import state_shape
from eslab.aggregates.sourced import StateSchema
from eslab.errors import EslabError, SagaDefinitionError, SchemaError, TimerError
from eslab.events import Event, RecordedEvent
from eslab.messaging import Command
from eslab.messaging.envelope import takes
from eslab.projections import on
from eslab.schema import BY, EventMarker, marker, message_handlers, qualified_name
from eslab.subscriptions import Retry

__all__ = [
    "EVENT_MARKERS",
    "ProcessDefinition",
    "check_identity",
    "check_sending",
    "merged_handlers",
    "on_refused",
    "on_timer",
    "process_schema",
    "refusal_handlers",
    "refuse",
    "start",
    "stop",
    "timer_handlers",
]

F = TypeVar("F", bound=Callable[..., Any])

start = EventMarker("__eslab_start__")
"""Mark a method of a process manager as the handler of an event that begins an instance.

An instance that there is already handles it like any other event.
"""

stop = EventMarker("__eslab_stop__")
"""Mark a method of a process manager as the handler of an event after which an instance stops."""

on_refused = marker("__eslab_on_refused__")
"""Mark a method of a process manager as what is done when a command that it sent is refused.

It takes the command, by whose class it is found, and the reason.
"""

EVENT_MARKERS: Final = {"start": start, "on": on, "stop": stop}

_TIMER: Final = "__eslab_on_timer__"


def on_timer(name: str) -> Callable[[F], F]:
    """Mark a method of a process manager as what is done when a timer of this name fires.

    Raises:
        TimerError: that is no name.
    """
    if not (isinstance(name, str) and name):
        raise TimerError(f'a timer has a name: @on_timer("unpaid"); found {name!r:.200}')

    def mark(method: F) -> F:
        setattr(method, _TIMER, name)
        return method

    return mark


@dataclass(frozen=True, slots=True)
class ProcessDefinition:
    """What a class of process managers says of itself.

    Attributes:
        name: by which its streams are named.
        by: the field of an event that says of which instance it is.
        not_found: what is done about an event of an instance that there is not yet.
        retry: how often a command that failed is tried again.
        timeout: how long the answer to a command is waited for, until it is sent again.
        cost: what carrying out a command costs on a virtual clock.
        after: only events behind this position concern it.
        events: the classes of the events that it handles, by their types.
        handlers: what handles them, by their types.
        starts: the types of those that begin an instance.
        stops: the types of those after which it stops.
        timers: what is done when a timer fires, by its name.
        refused: the class of a command and what is done when it is refused, by its qualified name.
        initial: what its own state begins with, as JSON.
        schema: how that is kept as JSON.
    """

    name: str
    by: str | None
    not_found: Literal["ignore", "park"]
    retry: Retry
    timeout: timedelta | None
    cost: timedelta
    after: int
    events: Mapping[str, type[Event]]
    handlers: Mapping[str, Callable[..., None]]
    starts: frozenset[str]
    stops: frozenset[str]
    timers: Mapping[str, Callable[..., None]]
    refused: Mapping[str, tuple[type[Command], Callable[..., None]]]
    initial: Mapping[str, Any]
    schema: StateSchema

    def concerned(self, recorded: RecordedEvent, event: Event) -> str | None:
        """Return the id of the instance that an event concerns; None: it concerns none.

        Raises:
            SagaDefinitionError: it is in a stream of another category, and does not say it itself.
        """
        by = getattr(self.handlers[recorded.type], BY, None)
        if by is not None:
            found = by(event)
        elif self.by in type(event).model_fields:
            found = getattr(event, self.by or "")
        else:
            category, _, found = recorded.stream_id.partition("-")
            if f"{category}_id" != self.by:
                raise SagaDefinitionError(
                    f"{recorded.type} has no field {self.by!r}, and its stream is no "
                    f"{(self.by or '').removesuffix('_id')}: give it that field, or its handler "
                    f"by=lambda event: ..."
                )
        if found is None or (isinstance(found, str) and found):
            return found
        if isinstance(found, int | UUID) and not isinstance(found, bool):
            return str(found)
        raise SagaDefinitionError(
            f"which process manager {recorded.type} concerns is told by a text, a whole number or "
            f"a UUID, or None if it concerns none, not by {found!r:.200}"
        )


def refuse(cls: type, why: str) -> NoReturn:
    """Raise SagaDefinitionError: a class cannot be run as it is defined."""
    raise SagaDefinitionError(f"process manager {cls.__qualname__}: {why}")


def check_sending(cls: type, retry: object, timeout: object, cost: object) -> None:
    """Refuse what cannot say how commands are sent."""
    zero = timedelta(0)
    if not isinstance(retry, Retry):
        refuse(cls, f"how often a command is tried again is a Retry(limit=...), not {retry!r:.200}")
    if timeout is not None and not (isinstance(timeout, timedelta) and timeout > zero):
        refuse(cls, f"a timeout is a duration above 0, or None, not {timeout!r:.200}")
    if not isinstance(cost, timedelta) or cost < zero:
        refuse(cls, f"a command costs a duration from 0, not {cost!r:.200}")


def merged_handlers(
    cls: type, marked: Mapping[str, Mapping[type[Event], Callable[..., None]]]
) -> dict[type[Event], Callable[..., None]]:
    """Return the handlers of all events, of which each has one."""
    handlers: dict[type[Event], Callable[..., None]] = {}
    for word, methods in marked.items():
        for event, method in methods.items():
            if other := next((one for one in handlers if one.event_type == event.event_type), None):
                refuse(
                    cls,
                    f"{handlers[other].__name__} and {method.__name__} (@{word}) both handle "
                    f"{event.event_type}: one method handles a type of event",
                )
            if not takes(method, 2):
                refuse(cls, f"{method.__name__} takes the event alone: (self, event)")
            handlers[event] = method
    return handlers


def check_identity(cls: type, by: object, event: type[Event], method: Callable[..., None]) -> None:
    """Refuse a handler of an event that could not say which instance it concerns."""
    own = getattr(method, BY, None)
    if own is not None:
        if not callable(own):
            refuse(cls, f"{method.__name__}: by is a function of the event, not {own!r:.200}")
        return
    if not (isinstance(by, str) and by):
        refuse(
            cls,
            f"say by which field an event tells which instance it concerns: "
            f'class {cls.__name__}(ProcessManager, by="order_id"); found {by!r:.200}',
        )
    elif by not in event.model_fields and not by.endswith("_id"):
        refuse(
            cls,
            f"{event.event_type} has no field {by!r}, so it does not tell which instance it "
            f"concerns: give it that field, or say it: @on(by=lambda event: ...)",
        )


def timer_handlers(cls: type) -> dict[str, Callable[..., None]]:
    """Return what is done when a timer fires, by its name."""
    found: dict[str, Callable[..., None]] = {}
    for attribute in dict.fromkeys(name for owner in reversed(cls.__mro__) for name in vars(owner)):
        method = inspect.getattr_static(cls, attribute)
        name = getattr(method, _TIMER, None)
        if name is None:
            continue
        if name in found:
            refuse(cls, f"{found[name].__name__} and {attribute} both take the timer {name!r}")
        if not takes(method, 1) or inspect.iscoroutinefunction(method):
            refuse(cls, f"{attribute} takes a timer, and nothing else: a plain function of (self)")
        found[name] = method
    return found


def refusal_handlers(
    cls: type, names: Mapping[str, Any]
) -> dict[str, tuple[type[Command], Callable[..., None]]]:
    """Return what is done when a command is refused, by the qualified name of its class."""
    methods = message_handlers(cls, "__eslab_on_refused__", Command, word="command", names=names)
    for method in methods.values():
        if not takes(method, 3):
            refuse(cls, f"{method.__name__} takes the refused command and the reason, a text")
    return {qualified_name(command): (command, method) for command, method in methods.items()}


def process_schema(
    cls: type, defaults: Mapping[str, Any], names: Mapping[str, Any]
) -> tuple[StateSchema, dict[str, Any]]:
    """Return how the state of a class is kept as JSON, and what it begins with."""
    shape = state_shape(cls, defaults, names)
    try:
        schema = StateSchema(shape, version=1, where=cls.__qualname__)
        initial = json.loads(schema.dump(dict(defaults)))
    except EslabError as error:
        raise SchemaError(
            f"process manager {cls.__qualname__}: there is no JSON for its state "
            f"({error.__cause__ or error}); annotate it with types that pydantic knows, and let it "
            f"begin with values of these"
        ) from error
    return schema, initial
