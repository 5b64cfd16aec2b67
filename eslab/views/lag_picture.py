"""The lag chart as a static picture: two panels, one legend, the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

import pandas as pd

from eslab.projections.lag import ProjectionLag
from eslab.views.lag_series import head_samples, samples_of, whole_span
from eslab.views.scales import linear_ticks, time_ticks, unit_of
from eslab.views.svg import Svg, fitted, text_width
from eslab.views.theme import NEUTRAL, SVG_DASHES, series_style

__all__ = ["lag_picture"]

WIDTH: Final = 860
LEFT: Final = 76
RIGHT: Final = 16
TOP: Final = 44
LEGEND_ROW: Final = 20
HEAD_HEIGHT: Final = 170
LAG_HEIGHT: Final = 110
GAP: Final = 44
# More would fall on the same pixels.
POINTS: Final = 400


def lag_picture(
    history: pd.DataFrame, now: Sequence[ProjectionLag], *, words: Sequence[str], desc: str
) -> str:
    """Return the lag chart as SVG.

    Args:
        history: a frame with the columns that `eslab.projections.lag.lag_history` gives.
        now: the lag of each projection when it was last measured.
        words: the same in words.
        desc: what the picture shows, for those who do not see it.
    """
    if history.empty:
        svg = Svg(WIDTH, 64, title="Projection lag", desc=desc)
        svg.text(0, 20, "Projection lag", size=15, bold=True)
        svg.text(0, 44, "The log is empty." if now else "There are no projections.")
        return str(svg)
    top = TOP + LEGEND_ROW * (len(now) + 1) + 24
    height = top + HEAD_HEIGHT + GAP + LAG_HEIGHT + 44
    svg = Svg(WIDTH, height, title="Projection lag", desc=desc)
    svg.text(0, 20, "Projection lag", size=15, bold=True)
    _legend(svg, now, words)
    start, end = whole_span(history, now)
    head = head_samples(history, now, limit=POINTS)
    series = [samples_of(history, lag.projection, lag, limit=POINTS) for lag in now]
    positions = _Panel(svg, top, HEAD_HEIGHT, start, end, high=max(head.heads))
    positions.grid("{:,.0f}", "position in the log")
    positions.line(_steps(head.times, head.heads), stroke=NEUTRAL, width=4.0)
    lines = [samples.grown(limit=POINTS) for samples in series]
    highest = max((seconds for line in lines for _, seconds in line), default=0.0)
    unit, length = unit_of(highest)
    below = _Panel(svg, top + HEAD_HEIGHT + GAP, LAG_HEIGHT, start, end, high=highest / length)
    below.grid("{:g}", f"lag in {unit}")
    below.times()
    for index, (samples, line) in enumerate(zip(series, lines, strict=True)):
        colour, dash = series_style(index)
        positions.line(_steps(samples.times, samples.checkpoints), stroke=colour, dash=dash)
        below.line(((time, value / length) for time, value in line), stroke=colour, dash=dash)
    return str(svg)


def _legend(svg: Svg, now: Sequence[ProjectionLag], words: Sequence[str]) -> None:
    rows = [("head of the log", NEUTRAL, "solid", 4.0)]
    for index, (lag, said) in enumerate(zip(now, words, strict=True)):
        rows.append((f"{lag.projection}: {said}", *series_style(index), 2.0))
    for index, (text, colour, dash, width) in enumerate(rows):
        y = TOP + LEGEND_ROW * index
        svg.line(0, y, 40, y, stroke=colour, width=width, dash=SVG_DASHES[dash])
        svg.text(50, y + 4, fitted(text, WIDTH - 60))


class _Panel:
    """One of the two panels: a time axis that both share, and a value axis from 0."""

    def __init__(
        self, svg: Svg, top: float, height: float, start: datetime, end: datetime, *, high: float
    ) -> None:
        self._svg = svg
        self._top = top
        self._bottom = top + height
        self._start = start
        self._end = end
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

    def times(self) -> None:
        ticks = time_ticks(self._start, self._end, count=9)
        for moment, label in ticks:
            x = self._x(moment)
            self._svg.line(x, self._bottom, x, self._bottom + 5)
            # At the edges a label in the middle would leave the picture.
            half = text_width(label) / 2
            centre = min(max(x, half), WIDTH - half)
            self._svg.text(centre, self._bottom + 18, label, anchor="middle")
        title = f"recorded at (UTC, from {self._start:%Y-%m-%d})"
        self._svg.text((LEFT + WIDTH - RIGHT) / 2, self._bottom + 38, title, anchor="middle")

    def line(
        self,
        points: Iterator[tuple[datetime, float]],
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


def _steps(times: Sequence[datetime], values: Sequence[int]) -> Iterator[tuple[datetime, float]]:
    """Yield the corners of a line that stays at a value until the next one."""
    for index, (time, value) in enumerate(zip(times, values, strict=True)):
        if index:
            yield time, values[index - 1]
        yield time, value
