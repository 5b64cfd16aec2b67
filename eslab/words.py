"""Words as people read them: numbers with their noun, texts in one line."""

from __future__ import annotations

__all__ = ["counted", "one_line"]


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "event"), counted(2483, "event")
        ('1 event', '2,483 events')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def one_line(text: str) -> str:
    r"""Return a text with a space for whatever nobody sees in it: line breaks, control characters.

    Example:
        >>> one_line("no room\x1b[31m\nat all")
        'no room [31m at all'
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else " " for letter in text)
