"""What became of each step of a saga, as one small mark: its letter, its words and its shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import pandas as pd

from eslab.views.saga_summary import SagaSummary, Summary
from eslab.views.svg import Svg
from eslab.views.theme import COMPENSATION, DONE, FAILED, NEUTRAL, PENDING, RETRY

__all__ = ["CELLS", "Cell", "cells_of", "draw_cell"]

Shape = Literal["dot", "box", "square", "cross", "up", "back", "back open", "alarm"]


@dataclass(frozen=True, slots=True)
class Cell:
    """How the outcome of a step looks; the shape tells what colour may not."""

    words: str
    colour: str
    shape: Shape


CELLS: Final[Mapping[str, Cell]] = {
    ".": Cell("not reached", NEUTRAL, "dot"),
    "r": Cell("running", PENDING, "box"),
    "d": Cell("executed", DONE, "square"),
    "f": Cell("failed", FAILED, "cross"),
    "t": Cell("not answered", RETRY, "up"),
    "b": Cell("being undone", COMPENSATION, "back open"),
    "u": Cell("undone", COMPENSATION, "back"),
    "s": Cell("cannot be undone", FAILED, "alarm"),
}
"""By a letter; a saga is a text of one letter a step."""

_LETTERS: Final = {
    ("execute", "completed"): "d",
    ("execute", "superseded"): "d",
    ("execute", "failed"): "f",
    ("execute", "timed out"): "t",
    ("execute", "running"): "r",
    ("compensate", "completed"): "u",
    ("compensate", "superseded"): "u",
    ("compensate", "failed"): "s",
    ("compensate", "timed out"): "s",
    ("compensate", "running"): "b",
    ("command", "delivered"): "d",
    ("command", "refused"): "f",
    ("command", "failed"): "f",
    ("command", "timed out"): "t",
    ("command", "running"): "r",
    ("command", "waiting"): ".",
}


def cells_of(attempts: pd.DataFrame, saga: Summary) -> dict[str, str]:
    """Return the letter of each step, by what became of its last attempt.

    Args:
        attempts: a frame as `SagaTimeline.df`.
        saga: what it comes to.
    """
    letters = dict.fromkeys(saga.steps, ".")
    rows: Any = attempts[["step", "kind", "outcome"]].itertuples(index=False, name=None)
    for step, kind, outcome in rows:
        letters[step] = _LETTERS[kind, outcome]
    again = _AGAIN.get(saga.status, {})
    letters = {step: again.get(letter, letter) for step, letter in letters.items()}
    if isinstance(saga, SagaSummary):  # also what a person has done
        letters |= {step: "d" for step in saga.state.completed if letters[step] in "rft"}
        letters |= {step: "u" for step in saga.state.compensated if letters[step] in "bs"}
    return letters


_AGAIN: Final[Mapping[str, Mapping[str, str]]] = {
    "RUNNING": {"f": "r", "t": "r", "s": "b"},
    "COMPENSATING": {"s": "b"},
}
"""What went wrong is tried again, while a saga stands there."""


def draw_cell(svg: Svg, cell: Cell, x: float, y: float, size: float) -> None:
    """Draw a mark into a square whose left upper corner is at a place."""
    left, right, top, bottom = x + 1, x + size - 1, y + 1, y + size - 1
    middle = (top + bottom) / 2
    number = svg.number
    match cell.shape:
        case "dot":
            svg.circle(x + size / 2, middle, size / 8, fill=cell.colour)
        case "square":
            svg.rect(left, top, right - left, bottom - top, fill=cell.colour)
        case "box":
            svg.rect(left, top, right - left, bottom - top, stroke=cell.colour)
        case "cross":
            svg.cross(x + size / 2, middle, size / 2 - 2, stroke=cell.colour)
        case "up":
            path = (
                f"M{number(x + size / 2)},{number(top)}L{number(right)},{number(bottom)}"
                f"L{number(left)},{number(bottom)}Z"
            )
            svg.path(path, stroke=cell.colour)
        case "back" | "back open":
            path = (
                f"M{number(right)},{number(top)}L{number(right)},{number(bottom)}"
                f"L{number(left)},{number(middle)}Z"
            )
            fill = cell.colour if cell.shape == "back" else "none"
            svg.path(path, stroke=cell.colour, fill=fill)
        case "alarm":
            svg.rect(left, top, right - left, bottom - top, stroke=cell.colour)
            sign = {"size": size, "anchor": "middle", "fill": cell.colour, "bold": True}
            svg.text(x + size / 2, bottom - 1, "!", **sign)  # type: ignore[arg-type]
