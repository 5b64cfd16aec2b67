"""Commands, and what brings each to its one handler: load, decide, append; if need be again."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from eslab.aggregates import Aggregate, Decider, Definition, Repository, Sourced
from eslab.clock import derived_id
from eslab.errors import (
    ConcurrencyError,
    EslabError,
    HandlerError,
    HandlerNotFoundError,
    IdempotencyError,
    InputError,
    PartialDuplicateError,
    SchemaError,
)
from eslab.events import Metadata
from eslab.messaging.envelope import Envelope, HandlerMap, Middleware, passed
from eslab.messaging.tokens import ConsistencyToken
from eslab.schema import message_classes, qualified_name
from eslab.store.port import EventStore, StreamAppend

__all__ = ["Command", "CommandBus"]

RETRIES: Final = 3
BACKOFF: Final = 0.005
MAX_BACKOFF: Final = 0.25

# What others did meanwhile; the last two, if they carried out the same command.
_CONFLICTS: Final[Mapping[bool, tuple[type[EslabError], ...]]] = {
    False: (ConcurrencyError,),
    True: (ConcurrencyError, IdempotencyError, PartialDuplicateError),
}

Part = Sourced | StreamAppend


class Command(BaseModel):
    """A wish that something happens: subclass it, and declare what it takes.

    A command for an aggregate says for which one: by the field ``<category>_id``, or ``id``, unless
    the class argument ``target=`` names another.

    Class arguments:
        target: the name of the field with the identity of the aggregate.

    Example:
        >>> class PlaceOrder(Command):
        ...     order_id: str
        ...     amount: int
        >>> PlaceOrder(order_id="o-1", amount=30)
        PlaceOrder(order_id='o-1', amount=30)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target_field: ClassVar[str | None] = None

    def __init_subclass__(cls, **_: Any) -> None:
        # The class arguments are taken below, when the fields are known.
        super().__init_subclass__()

    @classmethod
    def __pydantic_init_subclass__(cls, *, target: str | None = None, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if target is None:
            return
        if target not in cls.model_fields:
            raise SchemaError(f"{cls.__qualname__} has no field {target!r} to be its target")
        cls.target_field = target


@dataclass(frozen=True, slots=True)
class _Handler:
    """What handles a type of command.

    Attributes:
        decide: loads and decides; returns what is to be saved.
        stream: says which stream that will be, where it is known before.
    """

    decide: Callable[[Any], Sequence[Part]]
    stream: Callable[[Any], str] | None = None


class CommandBus:
    """Brings each command to its handler, and what the handler decided to the store.

    Args:
        store: where events are appended.
        repository: where aggregates and entities are loaded from.
        middleware: what each command passes through.
        mint: gives the ids of commands that were given none.
        sleep: waits so many seconds before a command is tried again.
        retries: how often that is, if others appended meanwhile.
    """

    def __init__(
        self,
        store: EventStore,
        repository: Repository,
        *,
        middleware: Sequence[Middleware],
        mint: Callable[[], UUID],
        sleep: Callable[[float], None],
        retries: int = RETRIES,
    ) -> None:
        self._store = store
        self._repository = repository
        self._middleware = middleware
        self._mint = mint
        self._sleep = sleep
        self._retries = retries
        self._handlers: HandlerMap[_Handler] = HandlerMap()

    def register(self, handler: type[Aggregate] | Decider[Any] | Callable[..., Any]) -> None:
        """Let an aggregate, a decider or a function handle the commands that it takes.

        A function takes a command, and the repository if it has a second parameter. It returns
        what is to be saved, all or nothing: aggregates or entities with the events that they
        recorded, `StreamAppend(stream_id, events)`, a list of these, or None.

        Raises:
            RegistrationError: another one handles one of the commands.
            SchemaError: a parameter is not annotated with a command, or a command does not say
                for which aggregate it is.
        """
        if isinstance(handler, Decider) or (
            isinstance(handler, type) and issubclass(handler, Aggregate)
        ):
            self._register_definition(handler)
            return
        commands = message_classes(handler, Command, 0, word="command")
        takes = len(inspect.signature(handler).parameters)
        call = handler if takes == 1 else partial(_call_with, handler, self._repository)
        found = _Handler(partial(_parts, call, qualified_name(handler)))
        self._handlers.take(
            qualified_name(handler), [(qualified_name(command), found) for command in commands]
        )

    def _register_definition(self, definition: type[Aggregate] | Decider[Any]) -> None:
        owner = (
            f"the decider of {definition.category!r}"
            if isinstance(definition, Decider)
            else qualified_name(definition)
        )
        found = []
        for command in definition.commands:
            field = _target(command, definition.category, owner)
            stream = partial(_stream, definition.category, field)
            found.append(
                (
                    qualified_name(command),
                    _Handler(partial(self._decide, definition, field), stream),
                )
            )
        self._handlers.take(owner, found)
        self._repository.register(definition)

    def execute(
        self,
        command: Command,
        *,
        command_id: UUID | None = None,
        metadata: Metadata | None = None,
    ) -> ConsistencyToken:
        """Carry out a command; see `eslab.Lab.execute`."""
        if not isinstance(command, Command):
            raise InputError(f"a command is an instance of a Command, not {command!r:.200}")
        if command_id is not None and not isinstance(command_id, UUID):
            raise InputError(f"command_id must be a UUID, not {command_id!r:.200}")
        envelope = Envelope.of(command, command_id or self._mint(), metadata)
        once = partial(self._handle, idempotent=command_id is not None)
        token: ConsistencyToken = passed(self._middleware, envelope, once)
        return token

    def _handle(self, envelope: Envelope, *, idempotent: bool) -> ConsistencyToken:
        try:
            _, handler = self._handlers[qualified_name(type(envelope.message))]
        except KeyError:
            raise HandlerNotFoundError(
                type(envelope.message).__name__, known=self._handlers.names(), by="the lab"
            ) from None
        try:
            return self._attempt(envelope, handler, idempotent)
        except _CONFLICTS[idempotent]:
            if not self._retries:
                raise
        attempt = partial(self._attempt, envelope, handler, idempotent)
        return self._try_again(attempt, _CONFLICTS[idempotent])

    def _try_again(
        self,
        attempt: Callable[[], ConsistencyToken],
        conflicts: tuple[type[EslabError], ...],
    ) -> ConsistencyToken:
        import tenacity  # it takes time

        again = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._retries),
            wait=tenacity.wait_random_exponential(multiplier=2 * BACKOFF, max=MAX_BACKOFF),
            retry=tenacity.retry_if_exception_type(conflicts),
            sleep=self._sleep,
            reraise=True,
        )
        self._sleep(random.uniform(0, BACKOFF))  # noqa: S311 - so that two do not meet again
        return again(attempt)

    def _attempt(
        self,
        envelope: Envelope,
        handler: _Handler,
        idempotent: bool,
    ) -> ConsistencyToken:
        command_id = None
        if idempotent:
            command_id = envelope.id
            stream = None if handler.stream is None else handler.stream(envelope.message)
            earlier = self._earlier(envelope, stream)
            if earlier is not None:
                return self._token(earlier, duplicate=True)
        parts = handler.decide(envelope.message)
        if len(parts) == 1 and not isinstance(parts[0], StreamAppend):
            saved = self._repository.save(
                parts[0], metadata=envelope.metadata, command_id=command_id
            )
            return self._token(saved.position, duplicate=saved.duplicate)
        if not parts:
            return self._token(self._store.head(), duplicate=False)
        results = self._repository.save_all(
            parts, metadata=envelope.metadata, command_id=command_id
        )
        position = max(result.position for result in results)
        return self._token(position, duplicate=any(result.duplicate for result in results))

    def _earlier(self, envelope: Envelope, stream_id: str | None) -> int | None:
        """Return the position of the last event that a command recorded before, if it did."""
        found = self._store.find(derived_id(envelope.id, 0))
        if found is None:
            return None
        if stream_id is not None and found.stream_id != stream_id:
            raise IdempotencyError(
                f"the command id {envelope.id} was used for another command: it recorded "
                f"{found!r}, and {envelope.message!r:.200} is for {stream_id!r}"
            )
        index = 1
        while (following := self._store.find(derived_id(envelope.id, index))) is not None:
            found = following
            index += 1
        return found.position

    def _decide(self, definition: Definition[Any], field: str, command: Command) -> list[Part]:
        sourced = self._repository.find(definition, str(getattr(command, field)))
        sourced.execute(command)
        return [sourced]

    def _token(self, position: int, *, duplicate: bool) -> ConsistencyToken:
        return ConsistencyToken(self._store.store_id, self._store.epoch, position, duplicate)


def _target(command: type[BaseModel], category: str, owner: str) -> str:
    """Return the field that says for which aggregate a command is."""
    if not issubclass(command, Command):
        raise SchemaError(f"{owner}: {command.__qualname__} must be a subclass of eslab.Command")
    for field in (command.target_field, f"{category}_id", "id"):
        if field in command.model_fields:
            return field
    raise SchemaError(
        f"{owner}: {command.__qualname__} does not say for which {category} it is: give it a field "
        f"{category}_id, or say which one it is: class {command.__name__}(Command, target=...)"
    )


def _stream(category: str, field: str, command: Command) -> str:
    return f"{category}-{getattr(command, field)}"


def _call_with(handler: Callable[..., Any], repository: Repository, command: Command) -> Any:
    return handler(command, repository)


def _parts(call: Callable[[Any], Any], name: str, command: Command) -> Sequence[Part]:
    """Return what a function wants to be saved, as a list."""
    returned = call(command)
    if returned is None:
        return []
    parts = [returned] if isinstance(returned, (Sourced, StreamAppend)) else returned
    if isinstance(parts, Iterable) and not isinstance(parts, (str, bytes)):
        parts = list(parts)
        if all(isinstance(part, (Sourced, StreamAppend)) for part in parts):
            return parts
    raise HandlerError(
        f"{name} returned {returned!r:.200}: a function that handles a command returns what is to "
        f"be saved: aggregates, StreamAppend(stream_id, events), a list of these, or None; nothing "
        f"was recorded"
    )
