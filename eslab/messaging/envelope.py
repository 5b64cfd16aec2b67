"""A message on its way to its handler, with what is known about it, and what it passes through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel

from eslab.errors import RegistrationError
from eslab.events import Metadata

__all__ = ["Envelope", "HandlerMap", "Middleware", "handling", "passed"]

H = TypeVar("H")

_handled: ContextVar[Metadata | None] = ContextVar("eslab_handled", default=None)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A command or a query on its way to its handler.

    Attributes:
        message: the command or the query.
        id: what it is known by.
        metadata: what its events will carry: who sent it, and what it belongs to.
    """

    message: BaseModel
    id: UUID
    metadata: Metadata

    @classmethod
    def of(cls, message: BaseModel, id: UUID, metadata: Metadata | None) -> Envelope:
        """Fill in what follows from the message that is handled now, and from this one's id.

        The correlation id, the actor and the trace are inherited; what this message causes names
        it as the cause.
        """
        own, parent = metadata or _NONE, _handled.get() or _NONE
        name = str(id)
        filled = Metadata(
            correlation_id=own.correlation_id or parent.correlation_id or name,
            causation_id=name,
            command_id=name,
            actor=own.actor or parent.actor,
            traceparent=own.traceparent or parent.traceparent,
            extra=own.extra,
        )
        return cls(message, id, filled)


_NONE = Metadata()

Middleware = Callable[[Envelope, Callable[[], Any]], Any]
"""What a message passes through: it calls the second argument to let it go on, and returns what
that returned; or it raises."""


def passed(
    middleware: Sequence[Middleware], envelope: Envelope, handle: Callable[[Envelope], Any]
) -> Any:
    """Return what `handle` returns for an envelope that went through the middleware, in order."""
    go_on: Callable[[], Any] = partial(handle, envelope)
    for each in reversed(middleware):
        go_on = partial(each, envelope, go_on)
    token = _handled.set(envelope.metadata)
    try:
        return go_on()
    finally:
        _handled.reset(token)


@contextmanager
def handling(metadata: Metadata) -> Iterator[None]:
    """Let messages that are sent in this block belong to the one with this metadata."""
    token = _handled.set(metadata)
    try:
        yield
    finally:
        _handled.reset(token)


class HandlerMap(dict[str, tuple[str, H]]):
    """By the qualified name of a message: the name of its handler's owner, and the handler."""

    def take(self, owner: str, handlers: Iterable[tuple[str, H]]) -> None:
        """Take all handlers of an owner; those that it had before are forgotten.

        Raises:
            RegistrationError: another owner handles one of them: exactly one may.
        """
        added = {message: (owner, handler) for message, handler in handlers}
        for message in added:
            held = self.get(message)
            if held is not None and held[0] != owner:
                raise RegistrationError(
                    f"{message} is handled by {held[0]} already, and would be by {owner}: exactly "
                    f"one handles a message; give the other one another class"
                )
        earlier = [message for message, (held, _) in self.items() if held == owner]
        self.update(added)  # first: others look handlers up meanwhile
        for message in earlier:
            if message not in added:
                del self[message]

    def names(self) -> list[str]:
        """Return the names of the messages that are handled."""
        return [message.rpartition(".")[2] for message in self]
