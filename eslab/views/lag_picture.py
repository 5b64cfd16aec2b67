"""The lag chart as a static picture: two panels, one legend, the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

import pandas as pd

from eslab.projections.lag import ProjectionLag
from eslab.views.lag_series import LagLines, Point, lag_lines
from eslab.views.scales import duration_text, linear_ticks, time_ticks, unit_of
from eslab.views.svg import Svg, fitted, text_width
from eslab.views.theme import NEUTRAL, SVG_DASHES

__all__ = ["lag_picture"]

WIDTH: Final = 860
LEFT: Final = 76
RIGHT: Final = 16
TOP: Final = 44
LEGEND_ROW: Final = 20
PANEL: Final = 140
GAP: Final = 44
# More would fall on the same pixels.
POINTS: Final = 400


def lag_picture(
    history: pd.DataFrame,
    now: Sequence[ProjectionLag],
    *,
    words: Sequence[str],
    desc: str,
    title: str = "Projection lag",
    times: str = "recorded at",
) -> str:
    """Return the lag chart as SVG.

    Args:
        history: a frame with the columns that `eslab.projections.lag.lag_history` gives.
        now: the lag of each projection when it was last measured.
        words: the same in words.
        desc: what the picture shows, for those who do not see it.
        title: of the picture.
        times: what the times are.
    """
    if history.empty:
        svg = Svg(WIDTH, 64, title=title, desc=desc)
        svg.text(0, 20, title, size=15, bold=True)
        held = any(lag.head for lag in now)
        empty = "The log holds nothing of this time." if held else "The log is empty."
        svg.text(0, 44, empty if now else "There are no projections.")
        return str(svg)
    lines = lag_lines(history, [lag.projection for lag in now], limit=POINTS)
    top = TOP + LEGEND_ROW * (len(now) + bool(lines.head)) + 24
    svg = Svg(WIDTH, top + 2 * PANEL + GAP + 44, title=title, desc=desc)
    svg.text(0, 20, title, size=15, bold=True)
    _legend(svg, lines, words)
    _upper(svg, lines, top)
    _lower(svg, lines, top + PANEL + GAP, times)
    return str(svg)


def _legend(svg: Svg, lines: LagLines, words: Sequence[str]) -> None:
    rows = [("head of the log", NEUTRAL, "solid", 4.0)] if lines.head else []
    for projection, said in zip(lines.projections, words, strict=True):
        most = f"; at most {duration_text(projection.peak[1])}"
        rows.append((f"{projection.name}: {said}{most}", projection.colour, projection.dash, 2.0))
    for index, (text, colour, dash, width) in enumerate(rows):
        y = TOP + LEGEND_ROW * index
        svg.line(0, y, 40, y, stroke=colour, width=width, dash=SVG_DASHES[dash])
        svg.text(50, y + 4, fitted(text, WIDTH - 60))


def _upper(svg: Svg, lines: LagLines, top: float) -> None:
    """Draw head and checkpoints, or the gap between them."""
    drawn = [lines.head, *(projection.upper for projection in lines.projections)]
    panel = _Panel(svg, top, lines, high=max(value for line in drawn for _, value in line))
    panel.grid("{:,.0f}", lines.titles[0])
    panel.line(_steps(lines.head), stroke=NEUTRAL, width=4.0)
    for projection in lines.projections:
        panel.line(_steps(projection.upper), stroke=projection.colour, dash=projection.dash)


def _lower(svg: Svg, lines: LagLines, top: float, times: str) -> None:
    """Draw the lag as time, with a mark at the highest of each projection."""
    unit, length = unit_of(max(projection.peak[1] for projection in lines.projections))
    high = max(projection.peak[1] for projection in lines.projections) / length
    panel = _Panel(svg, top, lines, high=high)
    panel.grid("{:g}", f"{lines.titles[1]} {_UNITS[unit]}")
    panel.times(times)
    for projection in lines.projections:
        points = [(time, seconds / length) for time, seconds in projection.lower]
        panel.line(points, stroke=projection.colour, dash=projection.dash)
        time, seconds = projection.peak
        panel.mark((time, seconds / length), colour=projection.colour)


_UNITS: Final = {
    "µs": "microseconds",
    "ms": "milliseconds",
    "s": "seconds",
    "min": "minutes",
    "h": "hours",
    "d": "days",
}


class _Panel:
    """One of the two panels: a time axis that both share, and a value axis from 0."""

    def __init__(self, svg: Svg, top: float, lines: LagLines, *, high: float) -> None:
        self._svg = svg
        self._top = top
        self._bottom = top + PANEL
        self._start = lines.start
        self._end = lines.end
        self._high = high or 1.0

    def _x(self, moment: datetime) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * ((moment - self._start) / (self._end - self._start))

    def _y(self, value: float) -> float:
        return self._bottom - (self._bottom - self._top) * value / self._high

    def grid(self, form: str, title: str) -> None:
        self._svg.text(0, self._top - 14, title)
        for tick in linear_ticks(self._high):
            y = self._y(tick)
            self._svg.line(LEFT, y, WIDTH - RIGHT, y, width=0.4)
            self._svg.text(LEFT - 8, y + 4, form.format(tick), anchor="end")

    def times(self, what: str) -> None:
        ticks = time_ticks(self._start, self._end, count=9)
        for moment, label in ticks:
            x = self._x(moment)
            self._svg.line(x, self._bottom, x, self._bottom + 5)
            # At the edges a label in the middle would leave the picture.
            half = text_width(label) / 2
            centre = min(max(x, half), WIDTH - half)
            self._svg.text(centre, self._bottom + 18, label, anchor="middle")
        title = f"{what} (UTC, from {self._start:%Y-%m-%d})"
        self._svg.text((LEFT + WIDTH - RIGHT) / 2, self._bottom + 38, title, anchor="middle")

    def line(
        self,
        points: Iterable[Point],
        *,
        stroke: str,
        width: float = 2.0,
        dash: str = "solid",
    ) -> None:
        self._svg.polyline(
            ((self._x(time), self._y(value)) for time, value in points),
            stroke=stroke,
            width=width,
            dash=SVG_DASHES[dash],
        )

    def mark(self, point: Point, *, colour: str) -> None:
        self._svg.circle(self._x(point[0]), self._y(point[1]), 4, fill=colour)


def _steps(points: Sequence[Point]) -> Iterator[Point]:
    """Yield the corners of a line that stays at a value until the next one."""
    for index, (time, value) in enumerate(points):
        if index:
            yield time, points[index - 1][1]
        yield time, value
