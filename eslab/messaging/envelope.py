"""A message on its way to its handler, with what is known about it, and what it passes through."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel

from eslab.errors import HandlerError, HandlerNotFoundError, InputError, RegistrationError
from eslab.events import Metadata
from eslab.schema import qualified_name

__all__ = ["Envelope", "HandlerMap", "Middleware", "handled", "handling", "passed", "takes"]

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

        The correlation id, the actor, the trace and the saga that it is for are inherited; what
        this message causes names it as the cause.

        Raises:
            InputError: that is no metadata, or says what is filled in here.
        """
        if metadata is not None and not isinstance(metadata, Metadata):
            raise InputError(f"metadata is Metadata(actor=..., ...), not {metadata!r:.200}")
        own, parent = metadata or _NONE, handled()
        if own.command_id or own.command_type or own.causation_id:
            raise InputError(
                f"what a message records names that message as its command and its cause: leave "
                f"command_id, command_type and causation_id out of {own!r:.200}; to send it "
                f"because of an event: with eslab.messaging.handling(event.metadata): ..."
            )
        name = str(id)
        filled = Metadata(
            correlation_id=own.correlation_id or parent.correlation_id or name,
            causation_id=name,
            command_id=name,
            actor=own.actor or parent.actor,
            traceparent=own.traceparent or parent.traceparent,
            command_type=type(message).__name__,
            extra={**_for_saga(parent), **own.extra} if parent.extra else own.extra,
        )
        return cls(message, id, filled)


_NONE = Metadata()


def _for_saga(metadata: Metadata) -> Mapping[str, Any]:
    """Return by which saga a message was sent: what follows from it may answer the saga."""
    return {key: value for key, value in metadata.extra.items() if key == "saga"}


Middleware = Callable[[Envelope, Callable[..., Any]], Any]
"""What a message passes through: it calls the second argument to let it go on, and returns what
that returned; or it raises. It may give it another envelope, with other metadata, for what follows
behind it."""


def passed(
    middleware: Sequence[Middleware], envelope: Envelope, handle: Callable[[Envelope], Any]
) -> Any:
    """Return what `handle` returns for an envelope that went through the middleware, in order."""
    # In a context of its own, which ends with it: what is set and set back here could stay set,
    # when Ctrl-C comes between two steps.
    context = copy_context()
    context.run(_handled.set, envelope.metadata)
    if not middleware:
        return context.run(handle, envelope)
    first, *behind = middleware
    return context.run(first, envelope, partial(_go_on, behind, handle, envelope))


def _go_on(
    behind: Sequence[Middleware],
    handle: Callable[[Envelope], Any],
    envelope: Envelope,
    changed: Envelope | None = None,
) -> Any:
    if not isinstance(changed, Envelope | None):
        raise HandlerError(
            f"middleware let {envelope.message!r:.200} go on as {changed!r:.200}: give go_on() "
            f"nothing, or an Envelope; it was not carried out"
        )
    return passed(behind, changed or envelope, handle)


def handled() -> Metadata:
    """Return the metadata of the message that is handled now; empty, if none is."""
    return _handled.get() or _NONE


@contextmanager
def handling(metadata: Metadata) -> Iterator[None]:
    """Let messages that are sent in this block belong to the one with this metadata."""
    token = _handled.set(metadata)
    try:
        yield
    finally:
        _handled.reset(token)


def takes(function: Callable[..., Any], count: int) -> bool:
    """Say whether a function can be called with so many arguments."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except (TypeError, ValueError):
        return False
    return True


class HandlerMap(dict[str, tuple[str | None, H]]):
    """By the qualified name of a message: the name of its handler's owner, and the handler.

    A function may have the name of an earlier one, and handle something else: as functions that
    are all called ``_`` do, or those that another function makes. What the earlier one handles has
    no owner from then on: it goes on, until anybody takes it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def take(self, owner: str, handlers: Iterable[tuple[str, H]], *, whole: bool = False) -> None:
        """Take handlers of an owner.

        Args:
            owner: the qualified name of a function, a class, ...
            handlers: by the qualified names of messages.
            whole: these are all that it has: those that it had before are forgotten.

        Raises:
            RegistrationError: another owner handles one of them: exactly one may.
        """
        added = {message: (owner, handler) for message, handler in handlers}
        with self._lock:
            for message in added:
                held, _ = self.get(message, (None, None))
                if held not in (None, owner):
                    raise RegistrationError(
                        f"{message} is handled by {held} already, and would be by {owner}: exactly "
                        f"one handles a message; give the other one another class"
                    )
            earlier = [(message, entry) for message, entry in self.items() if entry[0] == owner]
            self.update(added)  # first: others look handlers up meanwhile
            for message, (_, handler) in earlier:
                if message in added:
                    continue
                if whole:
                    del self[message]
                else:
                    self[message] = (None, handler)

    def adopt(self, other: HandlerMap[H]) -> None:
        """Take all handlers of another map, and their owners."""
        with self._lock:
            self.update(dict(other))

    def handler(self, message: BaseModel) -> H:
        """Return what handles a message.

        Raises:
            HandlerNotFoundError: nothing does.
        """
        found = self.get(qualified_name(type(message)))
        if found is None:
            known = [name.rpartition(".")[2] for name in list(self)]
            raise HandlerNotFoundError(type(message).__name__, known=known, by="the lab")
        return found[1]
