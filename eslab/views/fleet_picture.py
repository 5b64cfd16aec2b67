"""Very many sagas as a static picture: the matrix, and a row of small marks for each saga."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from eslab.views.saga_cells import CELLS, draw_cell
from eslab.views.svg import Svg, fitted, text_width
from eslab.views.theme import COMPENSATION, DONE, FAILED, NEUTRAL, PENDING, RETRY

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["STATUSES", "Glyph", "fleet_picture"]

WIDTH: Final = 860
SHOWN: Final = 240
CELL: Final = 11
LINE: Final = 19
ROW: Final = 26
FAINT: Final = 0.18
LABEL: Final = 9.5
STATUSES: Final = {
    "STUCK": FAILED,
    "COMPENSATING": RETRY,
    "RUNNING": PENDING,
    "COMPENSATED": COMPENSATION,
    "COMPLETED": DONE,
}
"""The most urgent first."""


@dataclass(frozen=True, slots=True)
class Glyph:
    """One saga, as a row of marks.

    Attributes:
        name: of the saga.
        status: where it stands.
        cells: a letter a step.
        failed: which step failed for good.
    """

    name: str
    status: str
    cells: str
    failed: int | None


def fleet_picture(
    matrix: pd.DataFrame,
    glyphs: Callable[..., Sequence[Glyph]],
    *,
    title: str,
    subtitle: str,
) -> str:
    """Return very many sagas as SVG.

    Args:
        matrix: a row a status, a column a step: how many failed there.
        glyphs: gives the first sagas, at most `limit`.
        title: what is shown.
        subtitle: what it comes to.
    """
    shown = glyphs(limit=SHOWN)
    count = int(matrix.to_numpy().sum())
    widest = max((CELL * len(glyph.cells) for glyph in shown), default=0)
    names = min(120.0, 4 + max((text_width(one.name, LABEL) for one in shown), default=0.0))
    pitch = names + 6 + widest + 20
    columns = max(1, int((WIDTH + 14) // pitch))
    lines = -(-len(shown) // columns)
    top = 92 + ROW * max(1, len(matrix))
    bottom = top + 30 + LINE * lines
    svg = Svg(WIDTH, bottom + 24, title=title, desc=subtitle)
    svg.text(0, 20, title, size=15, bold=True)
    svg.text(0, 40, fitted(subtitle, WIDTH))
    _matrix(svg, matrix)
    _legend(svg, {letter for glyph in shown for letter in glyph.cells}, top + 6)
    for place, glyph in enumerate(shown):
        x = pitch * (place // lines)
        y = top + 24 + LINE * (place % lines)
        _glyph(svg, glyph, x, y, names)
    if count > len(shown):
        svg.text(0, bottom + 14, f"and {count - len(shown):,} more: see .df", fill=NEUTRAL)
    return str(svg)


def _matrix(svg: Svg, matrix: pd.DataFrame) -> None:
    left = 116.0
    width = min(140.0, (WIDTH - left) / max(1, len(matrix.columns)))
    for column, step in enumerate(matrix.columns):
        middle = left + width * (column + 0.5)
        svg.text(middle, 68, fitted(str(step), width - 6, 11), size=11, anchor="middle")
    rows: Any = zip(matrix.index, matrix.to_numpy().tolist(), strict=True)
    for row, (status, counts) in enumerate(rows):
        y = 76.0 + ROW * row
        svg.text(left - 10, y + ROW / 2 + 4, status, anchor="end")
        for column, count in enumerate(counts):
            x = left + width * column
            middle, base = x + width / 2, y + ROW / 2 + 4
            if count:
                colour = STATUSES[status]
                box = (x + 2, y + 2, width - 4, ROW - 4)
                svg.rect(*box, fill=colour, opacity=FAINT, stroke=colour)
                svg.text(middle, base, f"{count:,}", anchor="middle", bold=True)
            else:
                svg.text(middle, base, "·", anchor="middle")


def _legend(svg: Svg, used: set[str], y: float) -> None:
    x = 0.0
    for letter, cell in CELLS.items():
        if letter in used:
            draw_cell(svg, cell, x, y - 9, CELL)
            svg.text(x + CELL + 5, y, cell.words, size=11)
            x += CELL + 5 + text_width(cell.words, 11) + 16


def _glyph(svg: Svg, glyph: Glyph, x: float, y: float, names: float) -> None:
    name = fitted(glyph.name, names, LABEL)
    svg.text(x + names, y + CELL - 2, name, size=LABEL, anchor="end")
    for place, letter in enumerate(glyph.cells):
        left = x + names + 6 + CELL * place
        draw_cell(svg, CELLS[letter], left, y, CELL)
        if place == glyph.failed and letter != "f":
            # What failed and was undone after all is marked below.
            svg.line(
                left + 1, y + CELL + 1.5, left + CELL - 1, y + CELL + 1.5, stroke=FAILED, width=2
            )
