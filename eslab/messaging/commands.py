"""Commands, and what brings each to its one handler: load, decide, append; if need be again."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from eslab.aggregates import (
    Aggregate,
    Decider,
    Definition,
    Repository,
    Sourced,
    is_definition,
)
from eslab.clock import derived_id
from eslab.errors import (
    CommandRevokedError,
    ConcurrencyError,
    EslabError,
    HandlerError,
    HandlerNotFoundError,
    IdempotencyError,
    InputError,
    PartialDuplicateError,
    SchemaError,
)
from eslab.events import Event, Metadata
from eslab.messaging.envelope import Envelope, HandlerMap, Middleware, handled, passed, takes
from eslab.messaging.tokens import ConsistencyToken
from eslab.schema import encode, message_classes, qualified_name
from eslab.store.port import EventStore, StreamAppend

__all__ = ["Command", "CommandBus", "CommandRevoked"]

RETRIES: Final = 3
BACKOFF: Final = 0.005
MAX_BACKOFF: Final = 0.25

# What others did meanwhile; the last two, if they carried out the same command.
_CONFLICTS: Final[Mapping[bool, tuple[type[EslabError], ...]]] = {
    False: (ConcurrencyError,),
    True: (ConcurrencyError, IdempotencyError, PartialDuplicateError),
}

_NO_TEXT: Final = (object.__str__, BaseModel.__str__)

Part = Sourced | StreamAppend

_decided: ContextVar[BaseModel | None] = ContextVar("eslab_decided", default=None)


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


class CommandRevoked(Event):
    """A command was taken back: should it come, it has no effect.

    Attributes:
        command_id: the id of the command.
        reason: why; it is what is said of the command if it comes.
    """

    command_id: UUID
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Handler:
    """What handles a type of command.

    Attributes:
        command: the class of the commands.
        decide: loads from a repository and decides; returns what is to be saved.
        stream: says which stream that will be, where it is known before.
    """

    command: type[BaseModel]
    decide: Callable[[Repository, Any], Sequence[Part]]
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

        A function takes a command, and the repository if it needs a second argument. It returns
        what is to be saved, all or nothing: aggregates or entities with the events that they
        recorded, `StreamAppend(stream_id, events)`, a list of these, or None. It does nothing else,
        since it is run again when others appended meanwhile.

        Raises:
            RegistrationError: another one handles one of the commands.
            SchemaError: a parameter is not annotated with a command, or a command does not say
                for which aggregate it is; or the function takes something else.
        """
        if is_definition(handler):
            self._register_definition(handler)
            return
        commands = message_classes(handler, Command, 0, word="command")
        decide = partial(_parts, _call(handler), qualified_name(handler))
        for command in commands:
            self._take(qualified_name(handler), _Handler(command, decide))

    def take(
        self,
        owner: str,
        command: type[Command],
        call: Callable[[Any], Any],
        *,
        whole: bool = False,
    ) -> None:
        """Let something handle a type of command, under the name of an owner.

        Args:
            owner: what handles it.
            command: the class of the command.
            call: does what `register` says of a function of a command.
            whole: it handles no other from now on.

        Raises:
            RegistrationError: another owner handles it.
        """
        decide = partial(_parts, lambda command, _: call(command), owner)
        self._take(owner, _Handler(command, decide), whole=whole)

    def _take(self, owner: str, handler: _Handler, *, whole: bool = False) -> None:
        self._handlers.take(owner, [(qualified_name(handler.command), handler)], whole=whole)

    def adopt(self, other: CommandBus) -> None:
        """Let what handles commands there handle them here too, with this bus's repository."""
        for definition in list(other._repository.definitions.values()):
            self._repository.register(definition)
        self._handlers.adopt(other._handlers)

    def leave(self, owner: str) -> None:
        """Let something handle no command any more."""
        self._handlers.take(owner, [], whole=True)

    def _register_definition(self, definition: type[Aggregate] | Decider[Any]) -> None:
        owner = (
            f"the decider of {definition.category!r}"
            if isinstance(definition, Decider)
            else qualified_name(definition)
        )
        self._repository.register(definition)
        found = []
        for command in definition.commands:
            field = _target(command, definition.category, owner)
            stream = partial(_stream, definition.category, field)
            found.append(
                (
                    qualified_name(command),
                    _Handler(command, partial(_decide, definition, field), stream),
                )
            )
        self._handlers.take(owner, found, whole=True)

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
        if (outer := _decided.get()) is not None:
            raise HandlerError(
                f"what handles {type(outer).__name__} sent {command!r:.200}: it may be run again, "
                f"and would send it again; let it return all that is to be saved, and send further "
                f"commands behind it, or from a saga"
            )
        if command_id is not None and not isinstance(command_id, UUID):
            raise InputError(f"command_id must be a UUID, not {command_id!r:.200}")
        envelope = Envelope.of(command, command_id or self._mint(), metadata)
        once = partial(self._handle, idempotent=command_id is not None)
        token = passed(self._middleware, envelope, once)
        if not isinstance(token, ConsistencyToken):
            raise HandlerError(
                f"middleware returned {token!r:.200} for {command!r:.200}, which may have been "
                f"carried out: let it return what go_on() returned"
            )
        return token

    def command(self, recorded: Mapping[str, Any]) -> Command:
        """Return a command that was recorded with its ``type`` and its ``data``.

        The type is the qualified name of its class. When that class has moved to another module
        since, as from a notebook to a package, the only one of its own name that is handled here
        stands for it.

        Raises:
            HandlerNotFoundError: nothing handles commands of its type.
            InputError: it does not fit its class.
        """
        if not (isinstance(recorded.get("type"), str) and "data" in recorded):
            raise InputError(f"a recorded command has a type and data, unlike {recorded!r:.200}")
        name = recorded["type"].rpartition(".")[2]
        handlers = dict(self._handlers)
        moved = [of for of in handlers if of.rpartition(".")[2] == name]
        if recorded["type"] in handlers:
            moved = [recorded["type"]]
        if len(moved) != 1:
            known = [of if moved else of.rpartition(".")[2] for of in handlers]
            raise HandlerNotFoundError(name, known=known, by="the lab")
        cls = handlers[moved[0]][1].command
        try:
            command = cls.model_validate(recorded["data"])
        except ValidationError as error:
            raise InputError(f"{recorded['data']!r:.200} is no {cls.__name__}: {error}") from error
        assert isinstance(command, Command)
        return command

    def stream(self, recorded: Mapping[str, Any]) -> str | None:
        """Return the stream of the aggregate that a command is for which was recorded.

        Returns:
            None: nothing handles it here, or a function does, which says so only when it has.
        """
        try:
            command = self.command(recorded)
            handler = self._handlers.handler(command)
            return None if handler.stream is None else handler.stream(command)
        except (HandlerNotFoundError, InputError):
            return None

    def revoke(self, command_id: UUID, reason: str = "") -> bool:
        """Let a command never be carried out from now on, and say whether it was not yet.

        What it would record first has an id that is derived from its own: whoever has that id
        first, the command or its revocation, is the one that counts.

        Args:
            command_id: the id that whoever sends the command gives it.
            reason: what is said of the command if it comes.
        """
        parent = handled()
        revoked = encode(
            CommandRevoked(command_id=command_id, reason=reason),
            event_id=derived_id(command_id, 0),
            metadata=Metadata(
                correlation_id=parent.correlation_id,
                actor=parent.actor,
                traceparent=parent.traceparent,
            ),
        )
        try:
            self._store.append(f"revoked-{command_id}", [revoked])
        except IdempotencyError:
            return False
        return True

    def target(self, command: Command, category: str) -> str:
        """Return the identity that a command is for.

        Raises:
            SchemaError: its class does not say for which one it is.
            InputError: it does not.
        """
        owner = f"what handles {type(command).__name__}"
        return _identity(_target(type(command), category, owner), command)

    def _handle(self, envelope: Envelope, *, idempotent: bool) -> ConsistencyToken:
        handler = self._handlers.handler(envelope.message)
        found = self._attempt(envelope, handler, idempotent)
        if isinstance(found, ConsistencyToken):
            return found
        if self._retries:
            found = self._try_again(partial(self._attempt, envelope, handler, idempotent))
        if isinstance(found, EslabError):
            raise found
        return found

    def _try_again(
        self, attempt: Callable[[], ConsistencyToken | EslabError]
    ) -> ConsistencyToken | EslabError:
        import tenacity  # it takes time

        again = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._retries),
            wait=tenacity.wait_random_exponential(multiplier=2 * BACKOFF, max=MAX_BACKOFF),
            retry=tenacity.retry_if_result(lambda found: isinstance(found, EslabError)),
            retry_error_callback=lambda state: state.outcome and state.outcome.result(),
            sleep=self._sleep,
        )
        self._sleep(random.uniform(0, BACKOFF))  # noqa: S311 - so that two do not meet again
        return again(attempt)

    def _attempt(
        self, envelope: Envelope, handler: _Handler, idempotent: bool
    ) -> ConsistencyToken | EslabError:
        """Return the token, or the conflict for which it may be tried again."""
        if idempotent and (earlier := self._earlier(envelope, handler)) is not None:
            return self._token(earlier, duplicate=True)
        sent = _decided.set(envelope.message)
        try:
            parts = handler.decide(self._repository, envelope.message)
        finally:
            _decided.reset(sent)  # and if Ctrl-C comes first, this context ends
        if not parts:
            return self._token(self._store.head(), duplicate=False)
        command_id = envelope.id if idempotent else None
        try:
            if handler.stream is not None:  # of an aggregate, which nobody else has
                return self._save_own(parts[0], envelope.metadata, command_id)
            return self._save(parts, envelope.metadata, command_id)
        except _CONFLICTS[idempotent] as conflict:
            return conflict

    def _save(
        self, parts: Sequence[Part], metadata: Metadata, command_id: UUID | None
    ) -> ConsistencyToken:
        if len(parts) == 1 and isinstance(parts[0], Sourced):
            saved = self._repository.save(parts[0], metadata=metadata, command_id=command_id)
            return self._token(saved.position, duplicate=saved.duplicate)
        results = self._repository.save_all(parts, metadata=metadata, command_id=command_id)
        position = max(result.position for result in results)
        return self._token(position, duplicate=any(result.duplicate for result in results))

    def _save_own(
        self, sourced: Part, metadata: Metadata, command_id: UUID | None
    ) -> ConsistencyToken:
        assert isinstance(sourced, Sourced)
        events = list(sourced.uncommitted)
        saved = self._repository.save(sourced, metadata=metadata, command_id=command_id)
        if not saved.duplicate:
            self._repository.follow(sourced, events)
        return self._token(saved.position, duplicate=saved.duplicate)

    def _earlier(self, envelope: Envelope, handler: _Handler) -> int | None:
        """Return the position of the last event that a command recorded before, if it did."""
        found = self._store.find(derived_id(envelope.id, 0))
        if found is None:
            return None
        if found.type == CommandRevoked.event_type:
            raise CommandRevokedError(envelope.id, found.data.get("reason", ""))
        stream_id = None if handler.stream is None else handler.stream(envelope.message)
        if stream_id is not None and found.stream_id != stream_id:
            raise IdempotencyError(
                f"the command id {envelope.id} was used for another command: it recorded "
                f"{found!r}, and {envelope.message!r:.200} is for {stream_id!r}"
            )
        # The ids count from 0 up to the last one: by steps that grow until one is not there.
        index, step, grow = 0, 1, True
        while step:
            later = self._store.find(derived_id(envelope.id, index + step))
            if later is None:
                grow = False
            else:
                found, index = later, index + step
            step = step * 2 if grow else step // 2
        return found.position

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


def _identity(field: str, command: Command) -> str:
    """Return the identity of the aggregate that a command is for."""
    value = getattr(command, field, None)  # none, if its class was defined anew
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, Collection) and type(value).__str__ not in _NO_TEXT:
        return str(value)
    raise InputError(
        f"{command!r:.200} does not say which one it is for: {field} is {value!r:.200}; a text, a "
        f"whole number, a UUID, or anything else that is one as text"
    )


def _decide(
    definition: Definition[Any], field: str, repository: Repository, command: Command
) -> list[Part]:
    sourced = repository.find(definition, _identity(field, command))
    sourced.execute(command)
    return [sourced]


def _stream(category: str, field: str, command: Command) -> str:
    return f"{category}-{_identity(field, command)}"


def _call(handler: Callable[..., Any]) -> Callable[[Any, Repository], Any]:
    """Return a function that gives the handler a command, and the repository if it asks."""
    if takes(handler, 1):
        return lambda command, _: handler(command)
    if takes(handler, 2):
        return handler
    raise SchemaError(
        f"{qualified_name(handler)}{inspect.signature(handler)}: what handles a command takes "
        f"that, and the repository if it asks for it"
    )


def _parts(
    call: Callable[[Any, Repository], Any], name: str, repository: Repository, command: Command
) -> Sequence[Part]:
    """Return what a function wants to be saved, as a list."""
    returned = call(command, repository)
    if returned is None:
        return []
    parts = [returned] if isinstance(returned, (Sourced, StreamAppend)) else returned
    if isinstance(parts, Iterable) and not isinstance(parts, (str, bytes, Mapping, BaseModel)):
        parts = list(parts)
        if all(isinstance(part, (Sourced, StreamAppend)) for part in parts):
            return parts
    raise HandlerError(
        f"{name} returned {returned!r:.200}: a function that handles a command returns what is to "
        f"be saved: aggregates, StreamAppend(stream_id, events), a list of these, or None; nothing "
        f"was recorded"
    )
