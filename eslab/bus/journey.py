"""How a message travels: when it arrives, how often, and when the answer comes back.

In one process a message arrives once, and so does the answer. A network does otherwise, and what
is built for it can be tried here, when a `Route` that plans worse journeys takes the place of the
straight one; see `eslab.simulation.faults`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal
from uuid import UUID

__all__ = ["Journey", "Message", "Route", "straight"]

_AT_ONCE: Final = timedelta(0)


def _have(work: Callable[[], Any]) -> Any:
    return work()


@dataclass(frozen=True, slots=True)
class Message:
    """A message that somebody sends.

    Attributes:
        kind: ``"execute"`` or ``"compensate"``: an attempt at a step, on its way to whoever takes
            part in it; ``"command"``, of a process manager; ``"event"``, on its way to a handler.
        consumer: who it is for: the name of the saga, or of the handler.
        name: of the step, or of the type of the command or the event.
        id: what it is known by, each time that it is sent.
        sequence: the stream within which messages are in order: of the saga, or of the event.
        attempt: which one it is, from 1.
        cost: how long it takes to be handled, on a virtual clock.
        timeout: how long the answer is waited for; None: for ever.
    """

    kind: Literal["execute", "compensate", "command", "event"]
    consumer: str
    name: str
    id: UUID
    sequence: str
    attempt: int = 1
    cost: timedelta = _AT_ONCE
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Journey:
    """What becomes of a message.

    Attributes:
        arrivals: how long after it is sent it has been handled: once for each time that it
            arrives, and never, if that is empty.
        replies: how long after it was handled the answer comes back: once for each time that it
            does, and never, if that is empty.
        error: with which it fails, instead of being handled; None: it is handled.
        ordered: whether an event arrives behind those of its sequence that were sent before it;
            else it is overtaken, or overtakes.
        handle: has an attempt or a command carried out, each time that it arrives, and returns
            the answer: here somebody can look on.
    """

    arrivals: tuple[timedelta, ...] = (_AT_ONCE,)
    replies: tuple[timedelta, ...] = (_AT_ONCE,)
    error: Exception | None = None
    ordered: bool = True
    handle: Callable[[Callable[[], Any]], Any] = _have


Route = Callable[[Message], Journey]
"""Plans the journey of each message."""


def straight(message: Message) -> Journey:
    """Return the journey of a message in one process: it is handled once, in the time it costs.

    Example:
        >>> straight(Message("event", "mail", "OrderPlaced", UUID(int=7), "order-1")).arrivals
        (datetime.timedelta(0),)
    """
    return Journey((message.cost,))
