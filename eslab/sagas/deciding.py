"""What sagas and process managers have in common: what comes in, and what is decided about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from eslab.errors import DomainError, error_message
from eslab.events import Event
from eslab.messaging import Command
from eslab.sagas.events import SagaStarted
from eslab.sagas.state import Task
from eslab.schema import qualified_name

__all__ = [
    "MAX_ERROR",
    "Decision",
    "Input",
    "Reply",
    "Resume",
    "TimerDue",
    "error_text",
    "recorded_command",
]

S = TypeVar("S")

MAX_ERROR: Final = 10_000
"""Characters of what an error says that are recorded."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to an attempt.

    Attributes:
        task: what was attempted.
        attempt: which one it answers.
        result: what came of it.
        error: why it failed; None: it succeeded.
        refused: it is not worth trying again.
        done: it was done though it failed: what came of it cannot be recorded.
    """

    task: Task
    attempt: int
    result: Any = None
    error: str | None = None
    refused: bool = False
    done: bool = False


@dataclass(frozen=True, slots=True)
class TimerDue:
    """It is time.

    Attributes:
        timer: the name of the timer.
    """

    timer: str


@dataclass(frozen=True, slots=True)
class Resume:
    """A person lets a saga that is stuck go on.

    Attributes:
        resolved: what could not be done has been done by the person.
        reason: what the person says.
    """

    resolved: bool = False
    reason: str = ""


Input = SagaStarted | Reply | TimerDue | Resume | None
"""What comes in; None: it is only looked what there is to do."""


class Decision(Generic[S]):
    """The events that were decided so far, and the state behind them.

    Args:
        state: before the first one.
        evolve: returns the state after one event.
    """

    def __init__(self, state: S, evolve: Callable[[S, Event], S]) -> None:
        self.events: list[Event] = []
        self.state = state
        self._evolve = evolve

    def add(self, *events: Event) -> None:
        """Decide that something happens."""
        for event in events:
            self.state = self._evolve(self.state, event)
            self.events.append(event)


def error_text(error: Exception, *, named: bool = True) -> str:
    """Return what an error says, so that it can be recorded, whatever that is.

    Args:
        error: what was raised.
        named: begin with the name of its class.
    """
    text = error_message(error)
    return (f"{type(error).__name__}: {text}" if named else text)[:MAX_ERROR]


def recorded_command(command: object) -> dict[str, Any]:
    """Return a command as it is recorded that it was sent: its ``type`` and its ``data``.

    Raises:
        DomainError: it is no command.
    """
    if not isinstance(command, Command):
        raise DomainError(
            f"what is sent is a command, such as ReserveStock(...), not {command!r:.200}"
        )
    return {"type": qualified_name(type(command)), "data": command.model_dump(mode="json")}
