"""Numbers as people read them: with their noun, in the singular or the plural."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "event"), counted(2483, "event")
        ('1 event', '2,483 events')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
