"""The lag chart as a static picture: two panels, one legend, the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

import pandas as pd

from eslab.projections.incidents import KINDS, Incident, IncidentKind
from eslab.projections.lag import ProjectionLag
from eslab.views.lag_ribbon import LOOKS, VerdictSpan, key_of
from eslab.views.lag_series import LagLines, Point, lag_lines
from eslab.views.scales import (
    duration_text,
    linear_part,
    linear_ticks,
    symlog,
    symlog_ticks,
    time_ticks,
)
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
ROW: Final = 20
NAMES: Final = 180
LETTER: Final = 11
MARK: Final = 3
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
    verdicts: Sequence[VerdictSpan] = (),
    incidents: Sequence[Incident] = (),
) -> str:
    """Return the lag chart as SVG.

    Args:
        history: a frame with the columns that `eslab.projections.lag.lag_history` gives.
        now: the lag of each projection when it was last measured.
        words: the same in words.
        desc: what the picture shows, for those who do not see it.
        title: of the picture.
        times: what the times are.
        verdicts: which verdict held when; without them there is no panel for them.
        incidents: marks on the verdicts.
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
    names = [lag.projection for lag in now]
    ribbon = GAP + ROW * len(names) if verdicts else 0
    svg = Svg(WIDTH, top + 2 * PANEL + GAP + ribbon + 44, title=title, desc=desc)
    svg.text(0, 20, title, size=15, bold=True)
    _legend(svg, lines, words)
    left = max([LEFT, *(min(NAMES, text_width(name) + 12) for name in names if verdicts)])
    _upper(svg, lines, top, left)
    below = top + PANEL + GAP
    last = _lower(svg, lines, below, left)
    if verdicts:
        last = _Panel(svg, below + PANEL + GAP, lines, left=left, height=ROW * len(names))
        _ribbon(svg, last, names, verdicts, incidents)
    last.times(times)
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


def _upper(svg: Svg, lines: LagLines, top: float, left: float) -> None:
    """Draw head and checkpoints, or the gap between them."""
    drawn = [lines.head, *(projection.upper for projection in lines.projections)]
    high = max(value for line in drawn for _, value in line)
    panel = _Panel(svg, top, lines, left=left, high=high)
    panel.grid([(tick, f"{tick:,.0f}") for tick in linear_ticks(high)], lines.titles[0])
    panel.line(_steps(lines.head), stroke=NEUTRAL, width=4.0)
    for projection in lines.projections:
        panel.line(_steps(projection.upper), stroke=projection.colour, dash=projection.dash)


def _lower(svg: Svg, lines: LagLines, top: float, left: float) -> _Panel:
    """Draw the lag as time, with a mark at the highest of each projection."""
    highest = max(projection.peak[1] for projection in lines.projections)
    linear = linear_part(highest)

    def place(point: Point) -> Point:
        return point[0], symlog(point[1], linear=linear)

    panel = _Panel(svg, top, lines, left=left, high=symlog(highest, linear=linear))
    ticks = [(symlog(tick, linear=linear), label) for tick, label in symlog_ticks(highest)]
    panel.grid(ticks, f"{lines.titles[1]} seconds (symlog)")
    for projection in lines.projections:
        points = map(place, projection.lower)
        panel.line(points, stroke=projection.colour, dash=projection.dash)
        panel.mark(place(projection.peak), colour=projection.colour)
    return panel


def _ribbon(
    svg: Svg,
    panel: _Panel,
    names: Sequence[str],
    verdicts: Sequence[VerdictSpan],
    incidents: Sequence[Incident],
) -> None:
    """Draw which verdict held when, a row for each projection, and what happened to it."""
    marks = ", ".join(f"{_SIGNS[kind]} {kind}" for kind in KINDS if _any(incidents, kind))
    svg.text(0, panel.top - 14, f"verdict: {key_of(verdicts)}{'; ' * bool(marks)}{marks}")
    places = {name: panel.top + ROW * row for row, name in enumerate(names)}
    for name, y in places.items():
        svg.text(panel.left - 8, y + 14, fitted(name, panel.left - 12), anchor="end")
    for span in verdicts:
        panel.cell(span, places[span.projection] + 2)
    for incident in incidents:
        panel.sign(_SIGNS[incident.kind], incident, places[incident.projection])


_SIGNS: Final[dict[IncidentKind, str]] = {"rebuild": "◇", "dead letter": "✕", "pause": "‖"}


def _any(incidents: Sequence[Incident], kind: IncidentKind) -> bool:
    return any(incident.kind == kind for incident in incidents)


class _Panel:
    """One of the panels: a time axis that all share, and a value axis from 0."""

    def __init__(
        self,
        svg: Svg,
        top: float,
        lines: LagLines,
        *,
        left: float,
        high: float = 1.0,
        height: float = PANEL,
    ) -> None:
        self._svg = svg
        self.top = top
        self.left = left
        self._bottom = top + height
        self._start = lines.start
        self._end = lines.end
        self._high = high or 1.0

    def _x(self, moment: datetime) -> float:
        return self.left + (WIDTH - self.left - RIGHT) * (
            (moment - self._start) / (self._end - self._start)
        )

    def _y(self, value: float) -> float:
        return self._bottom - (self._bottom - self.top) * value / self._high

    def grid(self, ticks: Iterable[tuple[float, str]], title: str) -> None:
        self._svg.text(0, self.top - 14, title)
        for tick, label in ticks:
            y = self._y(tick)
            self._svg.line(self.left, y, WIDTH - RIGHT, y, width=0.4)
            self._svg.text(self.left - 8, y + 4, label, anchor="end")

    def cell(self, span: VerdictSpan, top: float) -> None:
        look = LOOKS[span.verdict]
        left = self._x(max(span.start, self._start))
        width = max(MARK, self._x(min(span.end, self._end)) - left)
        # What has just begun is at the edge, and is to be seen there.
        left = min(left, WIDTH - RIGHT - width)
        fill = self._svg.hatch(look.colour) if look.hatched else look.colour
        self._svg.rect(left, top, width, ROW - 4, fill="#FFFFFF")
        self._svg.rect(left, top, width, ROW - 4, fill=fill, opacity=0.6, stroke=look.colour)
        if width >= LETTER:
            centre = left + width / 2
            self._svg.text(
                centre, top + 12.5, look.letter, anchor="middle", bold=True, fill="#000000"
            )

    def sign(self, sign: str, incident: Incident, top: float) -> None:
        if not self._start <= incident.time <= self._end:
            return
        x, y = self._x(incident.time), top + ROW - 5
        until = self._x(min(incident.until or self._end, self._end))
        self._svg.line(x, y, until, y, stroke="#000000", width=2)
        self._svg.text(x, top + 14.5, sign, anchor="middle", bold=True, fill="#000000")

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
        self._svg.text((self.left + WIDTH - RIGHT) / 2, self._bottom + 38, title, anchor="middle")

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
