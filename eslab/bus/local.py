"""The plain bus: publish and subscribe by event type, within the process, nothing kept."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType

from eslab.events import Event, RecordedEvent, type_name
from eslab.messaging.envelope import handling
from eslab.words import counted

__all__ = ["ALL", "Failure", "Handler", "LocalBus", "handler_name"]

ALL = "*"
"""Subscribe to every type of event."""

Handler = Callable[[RecordedEvent], object]
"""Takes an event; what it returns is not looked at."""

_log = logging.getLogger("eslab.bus")


@dataclass(frozen=True, slots=True)
class Failure:
    """A handler that raised on an event; the other handlers got it all the same."""

    event: RecordedEvent
    handler: str
    error: Exception


class LocalBus:
    """Gives an event to every handler of its type, in the order in which they subscribed.

    A handler that raises is logged, kept in `failures`, and stops neither the other handlers nor
    the publisher. What a handler sends belongs to what the event belongs to. Nothing is retried
    and nothing survives the process: work that must not be lost is a subscription to the store.

    Example:
        >>> from eslab import Lab, Event
        >>> class OrderPlaced(Event):
        ...     amount: int
        >>> seen = []
        >>> with Lab(seed=7) as lab:
        ...     lab.bus.subscribe(OrderPlaced, lambda event: seen.append(event.data["amount"]))
        ...     _ = lab.append("order-1", [OrderPlaced(amount=30)])
        ...     lab.run()
        >>> seen
        [30]
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handlers: dict[str, dict[object, Handler]] = {}
        self.failures: list[Failure] = []

    def subscribe(self, type: str | type[Event], handler: Handler) -> None:
        """Give events of a type to a handler.

        A function of a module or notebook replaces the earlier one of the same name for that
        type, because a cell is run again and again; lambdas, methods and functions inside
        functions are told apart by identity.

        Args:
            type: a type of events, or `ALL`.
            handler: called with each recorded event.
        """
        with self._lock:
            self._handlers.setdefault(type_name(type), {})[_key(handler)] = handler

    def unsubscribe(self, type: str | type[Event], handler: Handler) -> None:
        """Stop giving events of a type to a handler; one that is not there is no error."""
        with self._lock:
            self._handlers.get(type_name(type), {}).pop(_key(handler), None)

    @property
    def subscribed(self) -> bool:
        """Whether there is any handler."""
        with self._lock:
            return any(self._handlers.values())

    def handlers(self, type: str) -> list[Handler]:
        """Return the handlers of a type of events, in the order in which they get one."""
        with self._lock:
            return [
                *self._handlers.get(type, {}).values(),
                *self._handlers.get(ALL, {}).values(),
            ]

    def publish(self, event: RecordedEvent) -> int:
        """Give an event to the handlers of its type, and return how many took it."""
        return sum(self.deliver(event, handler) for handler in self.handlers(event.type))

    def deliver(self, event: RecordedEvent, handler: Handler) -> bool:
        """Give an event to one handler, and say whether it took it."""
        try:
            with handling(event.metadata):
                handler(event)
        except Exception as error:
            name = handler_name(handler)
            _log.warning("%s failed on %r", name, event, exc_info=error)
            self.failures.append(Failure(event, name, error))
            return False
        return True

    def __repr__(self) -> str:
        count = sum(map(len, self._handlers.values()))
        return f"LocalBus({counted(count, 'handler')}, {counted(len(self.failures), 'failure')})"


def handler_name(handler: Handler) -> str:
    """Return the qualified name of a handler."""
    return f"{handler.__module__}.{getattr(handler, '__qualname__', type(handler).__qualname__)}"


def _key(handler: Handler) -> object:
    # Lambdas share one name, and so do the closures that a loop makes.
    if isinstance(handler, FunctionType) and "<" not in handler.__qualname__:
        return handler_name(handler)
    return handler
