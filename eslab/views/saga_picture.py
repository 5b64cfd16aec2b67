"""The saga timeline as a static picture: the same bytes every time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final, Literal

from eslab.views.saga_marks import BREAK, NOTE_WORDS, PARTING, Arc, Bar, Drawing, Label, Style
from eslab.views.saga_notes import NoteKind
from eslab.views.svg import Svg, fitted, text_width
from eslab.views.theme import COMPENSATION, DONE, FAILED, NEUTRAL, OK, RETRY

__all__ = ["saga_picture"]

WIDTH: Final = 860
RIGHT: Final = 28
TOP: Final = 80
ROW: Final = 64
BAR: Final = 20
LEGEND_ROW: Final = 20
HEADER_ROW: Final = 20
# A bar of no width would not be seen.
NARROWEST: Final = 2.0
LABEL_SIZE: Final = 11.0
LEVELS: Final = (BAR / 2 + 14, -BAR / 2 - 4, -BAR / 2 - 16)
"""How far texts are below the middle of their row, by their level."""


def saga_picture(drawn: Drawing, *, title: str, subtitle: str, alarm: bool) -> str:
    """Return a saga timeline as SVG.

    Args:
        drawn: its marks.
        title: the saga and its status.
        subtitle: what it did and undid.
        alarm: whether the subtitle tells of something that should not be.
    """
    return str(_Picture(drawn, title, subtitle, alarm).svg)


class _Picture:
    """A picture that is being drawn."""

    def __init__(self, drawn: Drawing, title: str, subtitle: str, alarm: bool) -> None:
        self.drawn = drawn
        legend = _legend_places(drawn)
        below_legend = LEGEND_ROW * (legend[-1][1] if legend else 0)
        self.header = TOP + below_legend
        parting = drawn.parting is not None
        self.top = self.header + HEADER_ROW * (bool(drawn.folds) + parting)
        self.bottom = self.top + ROW * max(1, len(drawn.rows))
        names = max((text_width(step) for step in drawn.rows), default=0.0)
        self.left = min(200.0, max(60.0, names)) + 16
        self.plot = WIDTH - self.left - RIGHT
        self.svg = Svg(WIDTH, self.bottom + 46, title=title, desc=subtitle)
        self.svg.text(0, 20, fitted(title, WIDTH, 15), size=15, bold=True)
        colour = FAILED if alarm else NEUTRAL
        self.svg.text(0, 40, fitted(subtitle, WIDTH), fill=colour, bold=alarm)
        for (x, line), draw in zip(legend, _legend(drawn), strict=True):
            draw(self.svg, x, 61.0 + LEGEND_ROW * line)
        self._axes()
        for bar in drawn.bars:
            self._bar(bar)
        self._waits()
        for arc in drawn.arcs:
            self._arc(arc)
        for bar in drawn.bars:
            if bar.error is not None:
                self.svg.cross(self._x(bar.end), self._middle(bar.row), 6, stroke=FAILED)
        for spot in drawn.spots:
            _NOTES[spot.mark](self.svg, self._x(spot.x), self._middle(spot.row))
        letters = int(self.plot / text_width("x", LABEL_SIZE))
        for label in (*drawn.labels(letters=letters), *drawn.attempts(letters=letters)):
            self._label(label)

    def _x(self, value: float) -> float:
        return self.left + self.plot * value / self.drawn.span

    def _middle(self, row: int) -> float:
        return self.top + ROW * row + ROW * 0.55

    def _axes(self) -> None:
        svg, drawn, left = self.svg, self.drawn, self.left
        for fold in drawn.folds:
            start, end = self._x(fold.start), self._x(fold.end)
            svg.rect(
                start, self.top, end - start, self.bottom - self.top, fill=NEUTRAL, opacity=0.12
            )
            middle = (start + end) / 2
            length = fitted(fold.text, end - start + 12)
            svg.text(middle, self.top - 6, length, size=LABEL_SIZE, anchor="middle")
            svg.text(middle, self.bottom + 5, BREAK, size=15, anchor="middle", bold=True)
        if drawn.parting is not None:
            x = self._x(drawn.parting)
            svg.line(x, self.header - 2, x, self.bottom, width=1.5, dash="6 3")
            end = x > left + self.plot / 2
            x += -6 if end else 6
            anchor: Literal["start", "end"] = "end" if end else "start"
            svg.text(x, self.header + 6, PARTING, size=LABEL_SIZE, anchor=anchor)
        for tick, text in drawn.ticks:
            svg.line(self._x(tick), self.top, self._x(tick), self.bottom, width=0.4)
            svg.text(self._x(tick), self.bottom + 18, text, anchor="middle")
        svg.text(left + self.plot / 2, self.bottom + 38, drawn.axis, anchor="middle")
        for row, step in enumerate(drawn.rows):
            middle = self._middle(row)
            svg.line(left, middle, left + self.plot, middle, width=0.4)
            svg.text(left - 12, middle + 4, fitted(step, 200), anchor="end")
        if drawn.pivot is not None:
            middle = self._middle(drawn.pivot)
            svg.text(left - 12, middle + 19, "pivot", size=LABEL_SIZE, anchor="end")
            for y in (middle + ROW * 0.5 - 1.5, middle + ROW * 0.5 + 1.5):
                svg.line(0, y, left + self.plot, y)

    def _bar(self, bar: Bar) -> None:
        for start, end in bar.pieces:
            x = self._x(start)
            width = max(NARROWEST, self._x(end) - x)
            _box(self.svg, bar.style, x, self._middle(bar.row) - BAR / 2, size=(width, BAR))
        for (_, start), (end, _) in pairwise(bar.pieces):
            middle = self._middle(bar.row)
            self.svg.line(self._x(start), middle, self._x(end), middle, width=2.0, dash="2 3")

    def _waits(self) -> None:
        for wait in self.drawn.waits:
            middle = self._middle(wait.row)
            start, end = self._x(wait.start), self._x(wait.end)
            self.svg.line(start, middle, end, middle, width=2.0, dash="2 3")

    def _arc(self, arc: Arc) -> None:
        start, end = self._x(arc.start), self._x(arc.end)
        top = self._middle(arc.row) - BAR / 2 - 2
        number = self.svg.number
        radius = number(abs(start - end) / 2)
        sweep = 0 if start > end else 1
        self.svg.path(
            f"M{number(start)},{number(top)}V{number(top - 6)}"
            f"A{radius},{number(13)} 0 0 {sweep} {number(end)},{number(top - 6)}",
            stroke=COMPENSATION,
            width=2.0,
            dash="" if arc.completed else "2 3",
        )
        self.svg.path(
            f"M{number(end - 5)},{number(top - 8)}L{number(end + 5)},{number(top - 8)}"
            f"L{number(end)},{number(top)}Z",
            fill=COMPENSATION,
        )

    def _label(self, label: Label) -> None:
        self.svg.text(
            self._x(label.x),
            self._middle(label.row) + LEVELS[label.level],
            label.text,
            size=LABEL_SIZE,
            anchor={"left": "start", "center": "middle", "right": "end"}[label.anchor],
        )


def _box(svg: Svg, style: Style, x: float, y: float, *, size: tuple[float, float]) -> None:
    fill, opacity = style.colour, style.opacity
    if style.hatch == "/":
        fill = svg.hatch(style.colour)
    elif style.hatch:
        opacity = 0.25
    svg.rect(
        x,
        y,
        *size,
        fill=fill,
        opacity=None if opacity == 1.0 else opacity,
        stroke=style.colour,
        dash="4 3" if style.hatch == "." else "",
    )


# Notes.

_Draw = Callable[[Svg, float, float], None]


def _path(*points: tuple[float, float], stroke: str, fill: str = "none") -> _Draw:
    """Return what draws a shape around a place."""

    def draw(svg: Svg, x: float, y: float) -> None:
        corners = "L".join(f"{svg.number(x + dx)},{svg.number(y + dy)}" for dx, dy in points)
        svg.path(f"M{corners}Z", stroke=stroke, fill=fill, width=2.0)

    return draw


def _flag(svg: Svg, x: float, y: float) -> None:
    svg.line(x, y + BAR / 2 + 3, x, y - BAR / 2 - 14, width=1.5)
    _path((0, -24), (10, -19.5), (0, -15), stroke=NEUTRAL, fill=RETRY)(svg, x, y)


def _alarm(svg: Svg, x: float, y: float) -> None:
    """Draw it beside the moment: there the attempt ends of which it is said."""
    x += 15
    _path((0, -9), (9, 7), (-9, 7), stroke=FAILED)(svg, x, y)
    svg.text(x, y + 5, "!", size=11, anchor="middle", fill=FAILED, bold=True)


def _small_cross(svg: Svg, x: float, y: float) -> None:
    number = svg.number
    left, right, top, bottom = map(number, (x - 5, x + 5, y - 5, y + 5))
    svg.path(f"M{left},{top}L{right},{bottom}M{left},{bottom}L{right},{top}", stroke=NEUTRAL)


_DIAMOND: Final = ((0, -7), (7, 0), (0, 7), (-7, 0))
_NOTES: Final[dict[NoteKind, _Draw]] = {
    "received": lambda svg, x, y: svg.circle(x, y, 5, fill=OK),
    "parked": lambda svg, x, y: svg.circle(x, y, 5, fill="none", stroke=OK),
    "not handled": lambda svg, x, y: svg.cross(x, y, 6, stroke=FAILED),
    "set": _path(*_DIAMOND, stroke=NEUTRAL),
    "fired": _path(*_DIAMOND, stroke=NEUTRAL, fill=RETRY),
    "cancelled": _small_cross,
    "timeout": _flag,
    "late": _path((-6, -6), (6, -6), (6, 6), (-6, 6), stroke=OK),
    "resumed": _path((-5, -7), (8, 0), (-5, 7), stroke=DONE, fill=DONE),
    "wrong": _alarm,
}


# The legend.


def _legend(drawn: Drawing) -> list[_Draw]:
    return [*map(_style_entry, drawn.styles()), *map(_note_entry, drawn.notes())]


def _legend_places(drawn: Drawing) -> list[tuple[float, int]]:
    """Return where each entry begins, and in which line."""
    widths = [30 + text_width(style.words) + 20 for style in drawn.styles()]
    widths += [24 + text_width(NOTE_WORDS[mark]) + 20 for mark in drawn.notes()]
    places, x, line = [], 0.0, 0
    for width in widths:
        if x and x + width - 20 > WIDTH:
            x, line = 0.0, line + 1
        places.append((x, line))
        x += width
    return places


def _style_entry(style: Style) -> _Draw:
    def draw(svg: Svg, x: float, y: float) -> None:
        _box(svg, style, x + 1, y - 6, size=(22, 12))
        svg.text(x + 30, y + 4, style.words)

    return draw


def _note_entry(mark: NoteKind) -> _Draw:
    def draw(svg: Svg, x: float, y: float) -> None:
        if mark == "timeout":
            svg.line(x + 8, y + 7, x + 8, y - 6, width=1.5)
            _path((0, -6), (10, -1.5), (0, 3), stroke=NEUTRAL, fill=RETRY)(svg, x + 8, y)
        else:
            _NOTES[mark](svg, x - 4 if mark == "wrong" else x + 11, y)
        svg.text(x + 24, y + 4, NOTE_WORDS[mark])

    return draw
