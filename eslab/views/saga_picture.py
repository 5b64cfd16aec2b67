"""The saga timeline as a static picture: the same bytes every time."""

from __future__ import annotations

from typing import Final

from eslab.views.saga_marks import Bar, Drawing, Style
from eslab.views.scales import linear_ticks
from eslab.views.svg import Svg, fitted, text_width
from eslab.views.theme import COMPENSATION, FAILED, NEUTRAL

__all__ = ["saga_picture"]

WIDTH: Final = 860
RIGHT: Final = 28
TOP: Final = 80
ROW: Final = 64
BAR: Final = 20
# A bar of no width would not be seen.
NARROWEST: Final = 2.0
LABEL_SIZE: Final = 11.0


def saga_picture(drawn: Drawing, *, title: str, subtitle: str, alarm: bool) -> str:
    """Return a saga timeline as SVG.

    Args:
        drawn: its marks.
        title: the saga and its status.
        subtitle: what it did and undid.
        alarm: whether the subtitle tells of something that should not be.
    """
    bottom = TOP + ROW * max(1, len(drawn.rows))
    svg = Svg(WIDTH, bottom + 46, title=title, desc=subtitle)
    svg.text(0, 20, fitted(title, WIDTH, 15), size=15, bold=True)
    svg.text(0, 40, fitted(subtitle, WIDTH), fill=FAILED if alarm else NEUTRAL, bold=alarm)
    left = min(200.0, max(60.0, max((text_width(step) for step in drawn.rows), default=0.0))) + 16
    plot = WIDTH - left - RIGHT

    def x(value: float) -> float:
        return left + plot * value / drawn.span

    _legend(svg, drawn.styles())
    for tick in linear_ticks(drawn.span, count=8) if drawn.bars else ():
        svg.line(x(tick), TOP, x(tick), bottom, width=0.4)
        svg.text(x(tick), bottom + 18, f"{tick:g}", anchor="middle")
    svg.text(left + plot / 2, bottom + 38, drawn.axis, anchor="middle")
    for row, step in enumerate(drawn.rows):
        middle = _middle(row)
        svg.line(left, middle, left + plot, middle, width=0.4)
        svg.text(left - 12, middle + 4, fitted(step, 200), anchor="end")
    for bar in drawn.bars:
        _bar(svg, bar, x(bar.start), x(bar.end))
    for arc in drawn.arcs:
        start, end = x(arc.start), x(arc.end)
        top = _middle(arc.row) - BAR / 2 - 2
        number = svg.number
        radius = number(abs(start - end) / 2)
        sweep = 0 if start > end else 1
        svg.path(
            f"M{number(start)},{number(top)}V{number(top - 6)}"
            f"A{radius},{number(13)} 0 0 {sweep} {number(end)},{number(top - 6)}",
            stroke=COMPENSATION,
            width=2.0,
            dash="" if arc.completed else "2 3",
        )
        svg.path(
            f"M{number(end - 5)},{number(top - 8)}L{number(end + 5)},{number(top - 8)}"
            f"L{number(end)},{number(top)}Z",
            fill=COMPENSATION,
        )
    for bar in drawn.bars:
        if bar.error is not None:
            svg.cross(x(bar.end), _middle(bar.row), 6, stroke=FAILED)
    letters = int(plot / text_width("x", LABEL_SIZE))
    anchors = {"left": "start", "center": "middle", "right": "end"}
    for label in drawn.labels(letters=letters):
        svg.text(
            x(label.x),
            _middle(label.row) + BAR / 2 + 14,
            label.text,
            size=LABEL_SIZE,
            anchor=anchors[label.anchor],
        )
    return str(svg)


def _middle(row: int) -> float:
    return TOP + ROW * row + ROW * 0.55


def _bar(svg: Svg, bar: Bar, start: float, end: float) -> None:
    width = max(NARROWEST, end - start)
    _box(svg, bar.style, start, _middle(bar.row) - BAR / 2, size=(width, BAR))


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


def _legend(svg: Svg, styles: list[Style]) -> None:
    x = 0.0
    for style in styles:
        _box(svg, style, x + 1, 55, size=(22, 12))
        svg.text(x + 30, 65, style.words)
        x += 30 + text_width(style.words) + 20
