"""A decider: the write side as three pure parts; and an entity, which is one of its streams."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from eslab.aggregates.sourced import (
    Sourced,
    StateSchema,
    check_category,
    check_snapshot_policy,
    detached,
)
from eslab.errors import HandlerError, HandlerNotFoundError, InputError, SchemaError
from eslab.events import Event
from eslab.schema import class_list, message_classes, qualified_name

__all__ = ["Decider", "Entity"]

S = TypeVar("S")

Decided = Event | Iterable[Event] | None


@dataclass(frozen=True, eq=False)
class Decider(Generic[S]):
    """What a command does, as two pure functions and a value.

    After Jérémie Chassaing, "Functional Event Sourcing Decider" (2021). Called with an id it gives
    an `Entity`: the state of one stream, as a repository loads and saves it.

    Args:
        decide: from a command and the state to events: one, several, or none. It refuses a
            command by raising `DomainError`.
        evolve: from the state and an event to the next state; it changes neither.
        initial: the state before the first event.
        category: of its streams; the part of a stream id before the first ``-``.
        commands: the classes of its commands; by default what the annotation of the first
            parameter of `decide` says, where a union is several.
        events: the classes of its events; by default what the annotation of the second parameter
            of `evolve` says.
        snapshot_every: keep a snapshot of the state every so many events; by default never.
        snapshot_version: to be raised when `evolve` begins to fold the same events to another
            state.

    Raises:
        SchemaError: the category cannot be one, or an annotation says nothing.

    Example:
        >>> class Deposit(BaseModel):
        ...     account_id: str
        ...     amount: int
        >>> class Deposited(Event):
        ...     amount: int
        >>> def decide(command: Deposit, balance: int) -> Deposited:
        ...     return Deposited(amount=command.amount)
        >>> def evolve(balance: int, event: Deposited) -> int:
        ...     return balance + event.amount
        >>> account = Decider(decide, evolve, 0, category="account")
        >>> account
        Decider('account': Deposit -> Deposited)
        >>> one = account("a-1")
        >>> one.execute(Deposit(account_id="a-1", amount=30))
        >>> one
        <account a-1 v1 30 (1 uncommitted)>
    """

    decide: Callable[[Any, S], Decided]
    evolve: Callable[[S, Any], S]
    initial: S
    category: str = field(kw_only=True)
    commands: tuple[type[BaseModel], ...] = field(default=(), kw_only=True)
    events: tuple[type[Event], ...] = field(default=(), kw_only=True)
    snapshot_every: int | None = field(default=None, kw_only=True)
    snapshot_version: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        where = f"Decider({self.category!r})"
        check_category(self.category, where=where)
        check_snapshot_policy(self.snapshot_every, self.snapshot_version, where=where)
        for name, part in (("decide", self.decide), ("evolve", self.evolve)):
            if not callable(part):
                raise SchemaError(f"{where}: {name} is a function, not {part!r:.200}")
        commands = class_list(self.commands, BaseModel, word="command", where=where)
        commands = commands or message_classes(self.decide, BaseModel, 0, word="command")
        events = class_list(self.events, Event, word="event", where=where)
        events = events or message_classes(self.evolve, Event, 1, word="event")
        object.__setattr__(self, "commands", commands)
        object.__setattr__(self, "events", events)
        if self.snapshot_every is not None:
            self.state_schema()

    @cached_property
    def event_classes(self) -> Mapping[str, type[Event]]:
        """Its events, by the names of their types."""
        return {event.event_type: event for event in self.events}

    @cached_property
    def handled(self) -> frozenset[str]:
        """The qualified names of its commands."""
        return frozenset(map(qualified_name, self.commands))

    def state_schema(self) -> StateSchema:
        """Return how its state is kept in a snapshot: as what `evolve` is annotated to return."""
        return self._state_schema

    @cached_property
    def _state_schema(self) -> StateSchema:
        where = f"Decider({self.category!r})"
        try:
            kind = typing.get_type_hints(self.evolve)["return"]
        except (KeyError, NameError, TypeError):
            kind = type(self.initial)
        return StateSchema(kind, version=self.snapshot_version, where=where)

    def __call__(self, id: str) -> Entity[S]:
        """Return the one of that identity as it is before its first event."""
        return Entity(self, id)

    def __repr__(self) -> str:
        commands = " | ".join(command.__name__ for command in self.commands)
        events = " | ".join(event.__name__ for event in self.events)
        return f"Decider({self.category!r}: {commands} -> {events})"


class Entity(Sourced, Generic[S]):
    """The state of one stream of a decider.

    Args:
        decider: what decides and evolves it.
        id: the identity, after the category in the stream id.
    """

    def __init__(self, decider: Decider[S], id: str) -> None:
        super().__init__(decider.category, id)
        self.definition = self._decider = decider
        self._state: S = detached(decider.initial)

    @property
    def state(self) -> S:
        """What the events made of it."""
        return self._state

    def execute(self, command: BaseModel) -> None:
        """Decide a command, and record what follows from it: all of it, or nothing.

        Raises:
            DomainError: the command is refused.
            HandlerNotFoundError: it is none of the decider's commands.
            HandlerError: what the decider gave are no events.
        """
        if qualified_name(type(command)) not in self._decider.handled:
            raise HandlerNotFoundError(
                type(command).__name__,
                known=[handled.__name__ for handled in self._decider.commands],
                by=repr(self._decider),
            )
        events = _events(self._decider.decide(command, self._state), self._decider)
        before = self._state, self.version, len(self.uncommitted)
        try:
            for event in events:
                self.record(event)
        except BaseException:
            self._state, self.version, count = before
            del self.uncommitted[count:]
            raise

    def _apply(self, event: Event) -> None:
        if not isinstance(event, Event):
            raise InputError(f"{self!r} takes events, not {event!r:.200}")
        if event.event_type not in self._decider.event_classes:
            raise SchemaError(
                f"{self._decider!r} has no event {event.event_type}: add {type(event).__name__} "
                f"to the annotation of what evolve takes, or to events="
            )
        self._state = self._decider.evolve(self._state, event)

    def _copy_state(self, other: Entity[S]) -> None:
        other.definition = other._decider = self._decider
        other._state = detached(self._state)

    def _restore_state(self, state: S) -> None:
        self._state = state

    def _called(self) -> str:
        return self._decider.category

    def _shown(self) -> str:
        return f" {self._state!r}"


def _events(decided: Any, decider: Decider[Any]) -> tuple[Event, ...]:
    if decided is None:
        return ()
    if isinstance(decided, Event):
        return (decided,)
    if isinstance(decided, Iterable) and not isinstance(decided, (str, bytes, Mapping, BaseModel)):
        events = tuple(decided)
        if all(isinstance(event, Event) for event in events):
            return events
    called = getattr(decider.decide, "__qualname__", repr(decider.decide))
    raise HandlerError(
        f"{called} gave {decided!r:.200}: return an event, a list of events, or None; nothing was "
        f"recorded"
    )
