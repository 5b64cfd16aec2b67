"""Words as people read them: numbers with their noun, texts in one line and not too long."""

from __future__ import annotations

__all__ = ["counted", "one_line", "shortened"]


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


def one_line(text: str) -> str:
    r"""Return a text with a space for whatever nobody sees in it: line breaks, control characters.

    Example:
        >>> one_line("no room\x1b[31m\nat all")
        'no room [31m at all'
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else " " for letter in text)
