"""How a specification is told, and what differs from it: one line for each part of a value."""

from __future__ import annotations

import difflib
import html
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel

__all__ = ["diff", "lines", "parts_of", "pretty", "table"]


def lines(name: str, items: Iterable[str]) -> list[str]:
    """Return a part of a specification as lines of text."""
    first, *rest = list(items) or ["nothing"]
    return [f"{name:<5} {first}", *(f"{'':<5} {item}" for item in rest)]


def table(parts: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return the parts of a specification as a table, for notebooks."""
    rows = "".join(
        f"<tr><th style='text-align:left;vertical-align:top'>{name}</th>"
        f"<td style='text-align:left'>"
        f"{'<br>'.join(map(html.escape, items)) or '<i>nothing</i>'}</td></tr>"
        for name, items in parts
    )
    return f"<table>{rows}</table>"


def parts_of(value: Any) -> dict[str, Any]:
    """Return what a value is made of, by names, if it is."""
    if isinstance(value, (BaseModel, dict)):
        return dict(value)
    fields = getattr(value, "__dataclass_fields__", ())
    return {name: getattr(value, name) for name in fields}


def pretty(value: Any) -> list[str]:
    """Return a value, one line for each of its parts, so that a diff shows what differs."""
    if not (isinstance(value, BaseModel) or parts_of(value)):
        return [repr(value)]
    each = (f"    {name} = {part!r}" for name, part in parts_of(value).items())
    return [type(value).__name__, *each]


def diff(expected: Iterable[Any], found: Iterable[Any]) -> str:
    """Return what was expected (-) and what was found instead (+), by the lines of each value."""
    wanted, there = (
        [line for value in some for line in pretty(value)] for some in (expected, found)
    )
    return "\n".join(line for line in difflib.ndiff(wanted, there) if not line.startswith("?"))
