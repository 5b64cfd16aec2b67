"""How the messages of a conversation are marked, and what is said of them: one look everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from eslab.replay.messages import Message
from eslab.replay.tree import flaws
from eslab.views.theme import COMPENSATION, DONE, FAILED, NEUTRAL, OK, RETRY

__all__ = ["STYLES", "Dash", "Shape", "Style", "note_of", "said", "style_of"]

Shape = Literal["triangle", "hollow", "circle", "ring", "cross", "flag", "clock", "diamond", "ask"]
Dash = Literal["solid", "dash", "dot"]


@dataclass(frozen=True, slots=True)
class Style:
    """How a kind of message looks.

    Attributes:
        words: what the legend calls it.
        colour: of its mark and its arrow.
        shape: of its mark.
        dash: of its arrow.
    """

    words: str
    colour: str
    shape: Shape
    dash: Dash


STYLES: Final = {
    "command": Style("command", OK, "triangle", "solid"),
    "undo": Style("command that undoes", COMPENSATION, "triangle", "solid"),
    "call": Style("function of a step", OK, "hollow", "solid"),
    "call undo": Style("function that undoes", COMPENSATION, "hollow", "solid"),
    "event": Style("event", DONE, "circle", "dash"),
    "reply": Style("answer", NEUTRAL, "ring", "dot"),
    "failed": Style("failed or refused", FAILED, "cross", "dot"),
    "timeout": Style("no answer in time", RETRY, "flag", "dot"),
    "timer": Style("timer", NEUTRAL, "clock", "dot"),
    "saga": Style("state of a saga", NEUTRAL, "diamond", "dash"),
    "unknown": Style("not in this log", NEUTRAL, "ask", "dash"),
}
"""In the order of the legend."""


def style_of(message: Message) -> str:
    """Return the name of a message's style."""
    match message.kind:
        case "timeout":
            return "timeout"
        case _ if message.failed:
            return "failed"
        case "command":
            return "undo" if message.compensates else "command"
        case "call":
            return "call undo" if message.compensates else "call"
        case "note":
            return "saga"
        case kind:
            return kind


_ANSWERS: Final = {"ok": "done", "failed": "failed", "refused": "refused"}


def said(message: Message) -> str:
    """Return what is written beside a message: its name, and what an answer says.

    Example:
        >>> said(Message("a", "reply", "hotel", outcome="failed", detail="it is full"))
        'hotel failed: it is full'
    """
    match message.kind:
        case "reply":
            answer = f"{message.name} {_ANSWERS.get(message.outcome, message.outcome)}"
            return f"{answer}: {message.detail}" if message.detail else answer
        case "timeout":
            return f"{message.name}: {message.detail}"
        case "command" | "call" if message.attempt > 1:
            return f"{message.name}, attempt {message.attempt}"
        case "saga" if message.detail:
            return f"{message.name}: {message.detail}"
        case "unknown":
            return f"{message.id}, not in this log"
    return message.name


def note_of(message: Message) -> str:
    """Return what is wrong with a message's cause, in words; nothing, if all is well."""
    return " ".join(flaws(message))
