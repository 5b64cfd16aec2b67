"""Process managers: what reacts to events, remembers, sends commands and sets timers.

A saga says which step follows which (orchestration). A process manager only says what it does when
something happens (choreography): it is started by an event, goes on with each that concerns it, and
stops. Which instance an event concerns is told by a field that the events share.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Literal, TypeVar
from uuid import UUID

from typing_extensions import TypeIs

from eslab.aggregates.attributes import require_free_names, state_defaults, state_shape
from eslab.aggregates.sourced import StateSchema, detached
from eslab.clock import as_duration, as_utc
from eslab.errors import EslabError, SagaDefinitionError, SchemaError, TimerError
from eslab.events import Event, RecordedEvent
from eslab.messaging import Command
from eslab.messaging.envelope import takes
from eslab.projections import on
from eslab.sagas.decisions import recorded_command
from eslab.sagas.definition import COST, check_saga_name, derived_key
from eslab.sagas.events import CommandSent, ProcessStopped, TimerCancelled, TimerSet
from eslab.schema import (
    BY,
    EventMarker,
    canonical_json,
    marker,
    message_handlers,
    qualified_name,
    snake_case,
    visible_names,
)
from eslab.subscriptions import Retry

__all__ = [
    "ProcessDefinition",
    "ProcessManager",
    "Reaction",
    "is_process_manager",
    "on_refused",
    "on_timer",
    "start",
    "stop",
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

_RETRY: Final = Retry()
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
        defaults: what its own state begins with.
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
    defaults: Mapping[str, Any]
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


@dataclass(slots=True)
class Reaction:
    """What a handler does: it is recorded when the handler has returned, and not if it raises.

    Attributes:
        definition: of the process manager.
        stream_id: of the instance.
        now: the time.
        timers: the names of those that are set.
        sent: how many commands were sent before.
        stopped: it stops, or has done so before.
        events: what is to be recorded.
    """

    definition: ProcessDefinition
    stream_id: str
    now: datetime
    timers: set[str] = field(default_factory=set)
    sent: int = 0
    stopped: bool = False
    events: list[Event] = field(default_factory=list)

    def send(self, command: Command) -> None:
        """Send a command."""
        recorded = recorded_command(command)
        self.sent += 1
        self.events.append(
            CommandSent(
                command_id=derived_key(self.stream_id, f"command\0{self.sent}"),
                command=recorded,
                number=self.sent,
            )
        )

    def set_timer(self, name: str, due_at: datetime) -> None:
        """Set a timer, or set it anew."""
        self._require(name)
        if self.stopped:
            raise TimerError(f"timer {name!r} would never fire: the process manager has stopped")
        if due_at <= self.now:
            raise TimerError(
                f"timer {name!r} would be due at {due_at}, which is not behind {self.now}: set it "
                f"for later, or do at once what it is for"
            )
        self.cancel_timer(name)
        self.timers.add(name)
        self.events.append(TimerSet(timer=name, due_at=due_at, purpose="process"))

    def cancel_timer(self, name: str) -> None:
        """Cancel a timer, if it is set."""
        self._require(name)
        if name in self.timers:
            self.timers.remove(name)
            self.events.append(TimerCancelled(timer=name))

    def _require(self, name: str) -> None:
        if name not in self.definition.timers:
            known = ", ".join(sorted(self.definition.timers)) or "none"
            raise TimerError(
                f"no method is marked with @on_timer({name!r}): nothing would be done when it "
                f"fires (there are: {known})"
            )

    def stop(self) -> None:
        """Stop, and cancel all timers."""
        if self.stopped:
            return
        for name in sorted(self.timers):
            self.cancel_timer(name)
        self.stopped = True
        self.events.append(ProcessStopped())


class ProcessManager:
    """Reacts to events: it remembers, sends commands and sets timers.

    Subclass it: its own state by annotations with defaults, and methods that are marked with
    `start`, `on`, `stop`, `on_timer` and `on_refused`. What a method changes and sends is recorded
    in the instance's stream in one append, with the event that it handled; if it raises, nothing of
    it is, and the instance is STUCK until somebody lets it go on. A method may run again before
    that is recorded, so it does nothing but what it does by `self`.

    Commands are sent in order: each when the one before it was answered. One that fails is tried
    again; one that is refused goes to `on_refused`, and if no method takes it, the instance is
    STUCK.
    An instance that has stopped ends when its commands are answered. Then it reacts to nothing,
    also not to another event that would start it.

    Class arguments:
        name: of the process manager; by default the name of the class in snake case.
        by: the field of the events that says which instance they concern. An event without it
            concerns the one that its stream is about: with ``by="order_id"``, one in the stream
            ``order-7`` concerns 7. A handler may say it itself: ``@on(by=lambda event: ...)``.
        not_found: what is done about an event whose instance was not started yet: ``"ignore"``, or
            ``"park"``: it is handled right behind the start, in the order of the log.
        retry: how often a command that failed is tried again, and when; by default five times.
        timeout: how long the answer to a command is waited for until it is sent again, which
            counts as a failure; by default it is waited for ever.
        cost: what carrying out a command costs on a virtual clock.
        after: only events behind this position concern it; by default all that there are.

    Attributes:
        id: of the instance.
        now: what time it is.

    Raises:
        SagaDefinitionError: it cannot be run as it is defined.
        SchemaError: a handler does not say what it handles, or the state cannot be kept.

    Example:
        >>> import eslab
        >>> class OrderPlaced(Event):
        ...     order_id: str
        >>> class OrderPaid(Event):
        ...     order_id: str
        >>> class Remind(Command):
        ...     order_id: str
        >>> class Payment(ProcessManager, by="order_id"):
        ...     reminders: int = 0
        ...     @start
        ...     def placed(self, event: OrderPlaced) -> None:
        ...         self.set_timer("unpaid", "3 days")
        ...     @on_timer("unpaid")
        ...     def unpaid(self) -> None:
        ...         self.reminders += 1
        ...         self.send(Remind(order_id=self.id))
        ...     @stop
        ...     def paid(self, event: OrderPaid) -> None:
        ...         pass
        >>> with eslab.Lab(seed=7) as lab:
        ...     lab.register(Payment)
        ...     @lab.handles
        ...     def remind(command: Remind) -> None:
        ...         print("remind", command.order_id)
        ...     _ = lab.append("order-1", [OrderPlaced(order_id="1")])
        ...     lab.run()
        ...     lab.saga_state(Payment, "1")
        remind 1
        <ProcessState RUNNING reminders=1>
    """

    name: ClassVar[str]
    definition: ClassVar[ProcessDefinition]

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        by: str | None = None,
        not_found: Literal["ignore", "park"] = "ignore",
        retry: Retry = _RETRY,
        timeout: timedelta | None = None,
        cost: timedelta = COST,
        after: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        require_free_names(cls, ProcessManager, own=_OWN_NAMES, arguments=_CLASS_ARGUMENTS)
        cls.name = snake_case(cls.__name__) if name is None else name
        check_saga_name(cls.name)
        if not_found not in ("ignore", "park"):
            _refuse(cls, f"not_found is 'ignore' or 'park', not {not_found!r:.200}")
        if isinstance(after, bool) or not isinstance(after, int) or after < 0:
            _refuse(cls, f"after is a position of the log, from 0, not {after!r:.200}")
        _check_sending(cls, retry, timeout, cost)
        names = visible_names(cls)
        marked = {
            word: message_handlers(cls, each.attribute, Event, word="event", names=names)
            for word, each in _EVENT_MARKERS.items()
        }
        if not marked["start"]:
            _refuse(cls, "nothing starts it: mark the method of an event with @start")
        handlers = _merged(cls, marked)
        for event, method in handlers.items():
            _check_identity(cls, by, event, method)
        defaults = state_defaults(cls, ProcessManager, own=_OWN_NAMES)
        cls.definition = ProcessDefinition(
            name=cls.name,
            by=by,
            not_found=not_found,
            retry=retry,
            timeout=timeout,
            cost=cost,
            after=after,
            events={event.event_type: event for event in handlers},
            handlers={event.event_type: method for event, method in handlers.items()},
            starts=frozenset(event.event_type for event in marked["start"]),
            stops=frozenset(event.event_type for event in marked["stop"]),
            timers=_timers(cls),
            refused=_refused(cls, names),
            defaults=defaults,
            schema=_schema(cls, defaults, names),
        )

    def __init__(self, id: str, reaction: Reaction, data: Mapping[str, Any]) -> None:
        """Take an instance as its stream says it is, for one handler; `eslab` does that.

        Args:
            id: which one.
            reaction: takes what the handler does.
            data: its own state, as JSON, as far as it is not as it began.
        """
        self.id = id
        self._reaction = reaction
        for name, default in self.definition.defaults.items():
            setattr(self, name, detached(default))
        self._before = self._kept()
        if data:
            text = canonical_json({**self._before, **data})
            self.__dict__.update(self.definition.schema.load(text))
            self._before = self._kept()

    @property
    def now(self) -> datetime:
        """What time it is."""
        return self._reaction.now

    def send(self, command: Command) -> None:
        """Send a command, when those that were sent before are answered."""
        self._reaction.send(command)

    def set_timer(
        self, name: str, after: timedelta | str | None = None, *, at: datetime | None = None
    ) -> None:
        """Let the method that is marked with ``@on_timer(name)`` run at a time, once.

        A timer of this name that is set is replaced.

        Args:
            name: of the timer.
            after: in how long, as a duration, or text such as ``"15 min"``;
            at: or when.

        Raises:
            TimerError: no method takes it, that is no time, or it is not in the future.
        """
        if (after is None) == (at is None):
            raise TimerError(f'timer {name!r}: say when: after "15 min", or at=...')
        try:
            due_at = self.now + as_duration(after) if after is not None else as_utc(at)  # type: ignore[arg-type]
        except (EslabError, OverflowError) as error:
            raise TimerError(f"timer {name!r}: {error}") from error
        self._reaction.set_timer(name, due_at)

    def cancel_timer(self, name: str) -> None:
        """Let nothing happen at that time; if the timer is not set, this does nothing.

        Raises:
            TimerError: no method takes a timer of this name.
        """
        self._reaction.cancel_timer(name)

    def stop(self) -> None:
        """React to no more events; timers are cancelled, and what was sent is carried out."""
        self._reaction.stop()

    def changes(self) -> dict[str, Any]:
        """Return what of its own state is another than before, as JSON.

        Raises:
            SchemaError: it has attributes that are not annotated in the class.
            InputError: something cannot be kept as JSON.
        """
        more = self.__dict__.keys() - self.definition.defaults.keys() - _KEPT
        if more:
            raise SchemaError(
                f"{type(self).__qualname__} has attributes that would be forgotten: annotate "
                f"{', '.join(sorted(more))} in the class, with a value to begin with"
            )
        return {name: value for name, value in self._kept().items() if value != self._before[name]}

    def _kept(self) -> dict[str, Any]:
        schema = self.definition.schema
        state = {name: getattr(self, name) for name in self.definition.defaults}
        kept: dict[str, Any] = json.loads(schema.dump(state))
        return kept


def is_process_manager(definition: object) -> TypeIs[type[ProcessManager]]:
    """Say whether something is a class of process managers."""
    return isinstance(definition, type) and issubclass(definition, ProcessManager)


_EVENT_MARKERS: Final = {"start": start, "on": on, "stop": stop}
_KEPT: Final = frozenset({"id", "_reaction", "_before"})
_OWN_NAMES: Final = _KEPT | {
    name
    for name in (*ProcessManager.__annotations__, *vars(ProcessManager))
    if not name.startswith("__")
}
_CLASS_ARGUMENTS: Final = frozenset({"name"})


def _refuse(cls: type, why: str) -> None:
    raise SagaDefinitionError(f"process manager {cls.__qualname__}: {why}")


def _check_sending(cls: type, retry: object, timeout: object, cost: object) -> None:
    """Refuse what cannot say how commands are sent."""
    zero = timedelta(0)
    if not isinstance(retry, Retry):
        _refuse(
            cls, f"how often a command is tried again is a Retry(limit=...), not {retry!r:.200}"
        )
    if timeout is not None and not (isinstance(timeout, timedelta) and timeout > zero):
        _refuse(cls, f"a timeout is a duration above 0, or None, not {timeout!r:.200}")
    if not isinstance(cost, timedelta) or cost < zero:
        _refuse(cls, f"a command costs a duration from 0, not {cost!r:.200}")


def _merged(
    cls: type, marked: Mapping[str, Mapping[type[Event], Callable[..., None]]]
) -> dict[type[Event], Callable[..., None]]:
    """Return the handlers of all events, of which each has one."""
    handlers: dict[type[Event], Callable[..., None]] = {}
    for word, methods in marked.items():
        for event, method in methods.items():
            if other := next((one for one in handlers if one.event_type == event.event_type), None):
                _refuse(
                    cls,
                    f"{handlers[other].__name__} and {method.__name__} (@{word}) both handle "
                    f"{event.event_type}: one method handles a type of event",
                )
            if not takes(method, 2):
                _refuse(cls, f"{method.__name__} takes the event alone: (self, event)")
            handlers[event] = method
    return handlers


def _check_identity(cls: type, by: object, event: type[Event], method: Callable[..., None]) -> None:
    """Refuse a handler of an event that could not say which instance it concerns."""
    own = getattr(method, BY, None)
    if own is not None:
        if not callable(own):
            _refuse(cls, f"{method.__name__}: by is a function of the event, not {own!r:.200}")
        return
    if not (isinstance(by, str) and by):
        _refuse(
            cls,
            f"say by which field an event tells which instance it concerns: "
            f'class {cls.__name__}(ProcessManager, by="order_id"); found {by!r:.200}',
        )
    elif by not in event.model_fields and not by.endswith("_id"):
        _refuse(
            cls,
            f"{event.event_type} has no field {by!r}, so it does not tell which instance it "
            f"concerns: give it that field, or say it: @on(by=lambda event: ...)",
        )


def _timers(cls: type) -> dict[str, Callable[..., None]]:
    found: dict[str, Callable[..., None]] = {}
    for attribute in dict.fromkeys(name for owner in reversed(cls.__mro__) for name in vars(owner)):
        method = inspect.getattr_static(cls, attribute)
        name = getattr(method, _TIMER, None)
        if name is None:
            continue
        if name in found:
            _refuse(cls, f"{found[name].__name__} and {attribute} both take the timer {name!r}")
        if not takes(method, 1) or inspect.iscoroutinefunction(method):
            _refuse(cls, f"{attribute} takes a timer, and nothing else: a plain function of (self)")
        found[name] = method
    return found


def _refused(
    cls: type, names: Mapping[str, Any]
) -> dict[str, tuple[type[Command], Callable[..., None]]]:
    methods = message_handlers(cls, "__eslab_on_refused__", Command, word="command", names=names)
    for method in methods.values():
        if not takes(method, 3):
            _refuse(cls, f"{method.__name__} takes the refused command and the reason, a text")
    return {qualified_name(command): (command, method) for command, method in methods.items()}


def _schema(cls: type, defaults: Mapping[str, Any], names: Mapping[str, Any]) -> StateSchema:
    shape = state_shape(cls, defaults, names)
    try:
        schema = StateSchema(shape, version=1, where=cls.__qualname__)
        schema.dump(dict(defaults))
    except EslabError as error:
        raise SchemaError(
            f"process manager {cls.__qualname__}: there is no JSON for its state "
            f"({error.__cause__ or error}); annotate it with types that pydantic knows, and let it "
            f"begin with values of these"
        ) from error
    return schema
