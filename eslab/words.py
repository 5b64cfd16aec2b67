"""Numbers and texts as people read them: with their noun, and not too long."""

from __future__ import annotations

__all__ = ["counted", "shortened"]


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "event"), counted(2483, "event")
        ('1 event', '2,483 events')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shortened(text: str, letters: int) -> str:
    """Return a text of at most so many letters.

    Example:
        >>> shortened("a long story", 7)
        'a long…'
    """
    return text if len(text) <= letters else f"{text[: letters - 1]}…"
