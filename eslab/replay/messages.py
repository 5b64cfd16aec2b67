"""What the log tells of the messages of a conversation: who sent which, why, and what became of it.

The log holds events. Of a command it has what the command recorded, by the command's id; of what a
saga sent, its stream has each attempt with its answer. Together these tell of more messages than
there are events, and each event is one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from eslab.events import RecordedEvent

__all__ = ["FAILURES", "Message", "MessageKind", "Outcome", "Target", "text_of"]

MessageKind = Literal[
    "command", "call", "event", "reply", "timeout", "timer", "saga", "note", "unknown"
]
"""What a message is.

``command``: a wish, sent by somebody or by a saga; ``call``: a saga calls the function of a step;
``event``: a fact; ``reply``: what a saga was answered; ``timeout``: it was not answered in time;
``timer``: one of a process manager fired; ``saga``: a saga starts, ends, is stuck or goes on;
``note``: what a saga notes beside that, such as that a timer is set; ``unknown``: the cause of
something, and not in this log."""

Outcome = Literal["", "ok", "failed", "refused", "timed out", "stuck"]
"""What became of it; of most messages nothing is said."""

Target = Callable[[Mapping[str, Any]], str | None]
"""Returns the stream that a recorded command is for; None, if that is not known."""

FAILURES: Final = frozenset({"failed", "refused", "timed out", "stuck"})


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a conversation.

    Attributes:
        id: of the event, or of the command; behind ``#`` the attempt, from the second one on.
        kind: what it is.
        name: the type of the event or the command, or the step that is called.
        event: that it is, or by which the log tells of it; None for a command of which only the
            effects are recorded, and for what is unknown.
        cause: the id of the message that caused it; None, if none did, or nobody knows.
        source: the stream of who sent it; None, if the log does not say.
        targets: the streams of those to whom it went, as far as the log says.
        actor: who sent a command, if that is recorded.
        attempt: which one, of what a saga sends; else 0.
        compensates: it undoes a step of a saga, or answers what does.
        outcome: what became of it.
        detail: more about that, for a person.
        cycle: its own effect is recorded as its cause, which is passed over.
        depth: how many messages stand above it, from cause to cause.
        skew: by how many microseconds its cause occurred later than it did, by their clocks.
    """

    id: str
    kind: MessageKind
    name: str
    event: RecordedEvent | None = None
    cause: str | None = None
    source: str | None = None
    targets: tuple[str, ...] = ()
    actor: str | None = None
    attempt: int = 0
    compensates: bool = False
    outcome: Outcome = ""
    detail: str = ""
    cycle: bool = False
    depth: int = 0
    skew: int = 0

    @property
    def failed(self) -> bool:
        """Whether it says that something went wrong; what it is said of does not say so again."""
        return self.outcome in FAILURES and self.kind not in ("command", "call")

    @property
    def occurred_at(self) -> datetime | None:
        """When it happened, if the log says so."""
        return None if self.event is None else self.event.occurred_at

    @property
    def position(self) -> int | None:
        """The position of its event in the log."""
        return None if self.event is None else self.event.position


def text_of(value: object) -> str | None:
    """Return a value of an event's metadata as a text: nobody checks what a program puts there.

    Example:
        >>> text_of(4711), text_of(None)
        ('4711', None)
    """
    return None if value is None else str(value)
