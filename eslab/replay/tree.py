"""The causation tree, laid out so that it stays narrow however deep it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from eslab.replay.conversation import Conversation
from eslab.replay.messages import Message
from eslab.words import one_line

__all__ = ["TreeRow", "tree_lines", "tree_of"]


@dataclass(frozen=True, slots=True)
class TreeRow:
    """A message in the tree.

    Attributes:
        message: which one.
        column: how many columns stand left of it; in each of them something is yet to come.
        begins: whether it begins its column: then its cause is in the one before. Otherwise its
            cause is the last one above it in its own column; or it has none, in column 0.
        size: how many messages hang below it, with itself; they are the rows from here on.
    """

    message: Message
    column: int
    begins: bool
    size: int


def tree_of(conversation: Conversation) -> list[TreeRow]:
    """Return messages so that all effects of one stand behind it, before anything else.

    The effect from which most followed comes last, and goes on in the column of its cause; each of
    the others begins a column beside it. What hangs below one of these is at most half of what
    hangs below the cause: so a tree of n messages has no more than log2(n) columns beside the first
    one, and a chain has one.
    """
    sizes = dict.fromkeys((message.id for message in conversation), 1)
    for message in reversed(conversation.messages):
        if message.cause is not None:
            sizes[message.cause] += sizes[message.id]
    effects, tree = conversation.effects, list[TreeRow]()
    left = [(root, 0, False) for root in reversed(effects.get(None, []))]
    while left:
        message, column, begins = left.pop()
        tree.append(TreeRow(message, column, begins, sizes[message.id]))
        if caused := effects.get(message.id):
            main = max(reversed(caused), key=lambda one: sizes[one.id])
            left.append((main, column, False))
            left += [(one, column + 1, True) for one in reversed(caused) if one is not main]
    return tree


_SIGNS: Final = {
    "command": "▶",
    "call": "▷",
    "event": "●",
    "reply": "↩",
    "timeout": "⚑",
    "timer": "◇",
    "saga": "◆",
    "note": "·",
    "unknown": "?",
}


def tree_lines(tree: Sequence[TreeRow], *, here: str | None = None) -> list[str]:
    r"""Return the tree as text, a line a message.

    What stands straight below a message is its effect; what hangs beside it by ``├─`` is another.

    Args:
        tree: as `tree_of` gives it.
        here: the id of the message that is pointed at.

    Example:
        >>> cause = Message("a", "command", "PlaceOrder")
        >>> effects = [Message(id, "event", id, cause="a") for id in ("Placed", "Paid")]
        >>> print("\n".join(tree_lines(tree_of(Conversation([cause, *effects])))))
        ▶ PlaceOrder
        ├─● Paid
        ● Placed
    """
    lines = []
    for row in tree:
        rails = "│ " * (row.column - row.begins) + "├─" * row.begins
        sign = "✗" if row.message.failed else _SIGNS[row.message.kind]
        pointed = "  <--" if row.message.id == here else ""
        lines.append(f"{rails}{sign} {said_of(row.message)}{pointed}")
    return lines


def said_of(message: Message) -> str:
    """Return a message in one line: what it is, where it stands in the log, and what is wrong."""
    parts = [message.name]
    if message.kind == "event" and message.event is not None:
        parts.append(f"{message.event.stream_id} v{message.event.version}")
    elif message.kind in ("command", "call") and message.targets:
        parts.append(f"to {', '.join(message.targets)}")
    elif message.outcome:
        parts.append(message.outcome)
    if message.position is not None:
        parts.append(f"@{message.position}")
    if message.detail:
        parts.append(f"({message.detail})")
    return one_line(" ".join([*parts, *flaws(message)]))


def flaws(message: Message) -> list[str]:
    """Return what is wrong with the cause of a message, in words."""
    found = []
    if message.skew:
        found.append(f"[{_seconds(message.skew)} before its cause, by the clocks]")
    if message.cycle:
        found.append("[its own effect is recorded as its cause]")
    return found


def _seconds(microseconds: int) -> str:
    return f"{microseconds / 1e6:.6f}".rstrip("0").rstrip(".") + " s"
