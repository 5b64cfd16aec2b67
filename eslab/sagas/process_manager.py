"""Process managers: what reacts to events, remembers, sends commands and sets timers.

A saga says which step follows which (orchestration). A process manager only says what it does when
something happens (choreography): it is started by an event, goes on with each that concerns it, and
stops. Which instance an event concerns is told by a field that the events share.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Literal

from typing_extensions import TypeIs

from eslab.aggregates.attributes import require_free_names, state_defaults
from eslab.clock import as_duration, as_utc
from eslab.errors import EslabError, SchemaError, TimerError
from eslab.events import Event
from eslab.messaging import Command
from eslab.sagas.deciding import recorded_command
from eslab.sagas.definition import COST, check_saga_name, derived_key
from eslab.sagas.events import CommandSent, ProcessStopped, TimerCancelled, TimerSet
from eslab.sagas.process_definition import (
    EVENT_MARKERS,
    ProcessDefinition,
    check_identity,
    check_sending,
    merged_handlers,
    process_schema,
    refusal_handlers,
    refuse,
    timer_handlers,
)
from eslab.schema import canonical_json, message_handlers, snake_case, visible_names
from eslab.subscriptions import Retry

__all__ = ["ProcessManager", "Reaction", "is_process_manager"]

_RETRY: Final = Retry()


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
        >>> from eslab import on_timer, start, stop
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
            refuse(cls, f"not_found is 'ignore' or 'park', not {not_found!r:.200}")
        if isinstance(after, bool) or not isinstance(after, int) or after < 0:
            refuse(cls, f"after is a position of the log, from 0, not {after!r:.200}")
        check_sending(cls, retry, timeout, cost)
        names = visible_names(cls)
        marked = {
            word: message_handlers(cls, each.attribute, Event, word="event", names=names)
            for word, each in EVENT_MARKERS.items()
        }
        if not marked["start"]:
            refuse(cls, "nothing starts it: mark the method of an event with @start")
        handlers = merged_handlers(cls, marked)
        for event, method in handlers.items():
            check_identity(cls, by, event, method)
        defaults = state_defaults(cls, ProcessManager, own=_OWN_NAMES)
        schema, initial = process_schema(cls, defaults, names)
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
            timers=timer_handlers(cls),
            refused=refusal_handlers(cls, names),
            initial=initial,
            schema=schema,
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
        known = {name: value for name, value in data.items() if name in self.definition.initial}
        self._before = {**self.definition.initial, **known}
        self.__dict__.update(self.definition.schema.load(canonical_json(self._before)))

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
        more = self.__dict__.keys() - self.definition.initial.keys() - _KEPT
        if more:
            raise SchemaError(
                f"{type(self).__qualname__} has attributes that would be forgotten: annotate "
                f"{', '.join(sorted(more))} in the class, with a value to begin with"
            )
        return {name: value for name, value in self._kept().items() if value != self._before[name]}

    def _kept(self) -> dict[str, Any]:
        schema = self.definition.schema
        state = {name: getattr(self, name) for name in self.definition.initial}
        kept: dict[str, Any] = json.loads(schema.dump(state))
        return kept


def is_process_manager(definition: object) -> TypeIs[type[ProcessManager]]:
    """Say whether something is a class of process managers."""
    return isinstance(definition, type) and issubclass(definition, ProcessManager)


_KEPT: Final = frozenset({"id", "_reaction", "_before"})
_OWN_NAMES: Final = _KEPT | {
    name
    for name in (*ProcessManager.__annotations__, *vars(ProcessManager))
    if not name.startswith("__")
}
_CLASS_ARGUMENTS: Final = frozenset({"name"})
