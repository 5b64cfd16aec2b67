"""The lines of the lag chart, as its figure and its picture both draw them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import pandas as pd

from eslab.views.scales import duration_text, thinned
from eslab.views.theme import series_style
from eslab.words import counted

__all__ = ["LagLines", "ProjectionLines", "lag_lines", "outline"]

DASHED: Final = 60
"""With more points than this the dashes of a line would be longer than its teeth."""

DENSE: Final = 1_000
"""With more points than this the teeth of a line are narrower than the line itself."""

PIECES: Final = 200
"""How many steps an outline has."""

VISIBLE: Final = 1 / 40
"""The gap between head and checkpoint can be seen if it is this part of the panel's height."""

Point = tuple[datetime, float]


@dataclass(frozen=True, slots=True)
class ProjectionLines:
    """What is drawn of one projection.

    Attributes:
        name: of the projection.
        colour: of its lines.
        dash: and their style.
        upper: its checkpoint over time, or its lag in events; it stays until the next point.
        said: a text for each of these points, or none.
        lower: its lag in seconds over time.
        peak: the highest point of that.
    """

    name: str
    colour: str
    dash: str
    upper: list[Point]
    said: list[str]
    lower: list[Point]
    peak: Point


@dataclass(frozen=True, slots=True)
class LagLines:
    """What is drawn of a history.

    Attributes:
        start: the first moment.
        end: the last one.
        outlined: lines are the highest lag in equal pieces of time, because there are so many
            points.
        head: of the log over time; none if the gap between it and the checkpoints is so narrow
            that the upper panel shows the gap instead.
        projections: the lines of each.
    """

    start: datetime
    end: datetime
    outlined: bool
    head: list[Point]
    projections: list[ProjectionLines]

    @property
    def titles(self) -> tuple[str, str]:
        """What the values of the upper and of the lower panel are; a unit is still to be named."""
        lag = "highest lag in" if self.outlined else "lag in"
        return "position in the log" if self.head else f"{lag} events", lag


def lag_lines(history: pd.DataFrame, names: Iterable[str], *, limit: int) -> LagLines:
    """Return what to draw of a history.

    Args:
        history: a frame with the columns that `eslab.projections.lag.lag_history` gives, not
            empty.
        names: of the projections.
        limit: how many points a line has, at most.
    """
    start = history["time"].min().to_pydatetime()
    end = max(history["time"].max().to_pydatetime(), start + timedelta(microseconds=1))
    most = max(history.groupby("projection").size())
    positions = bool(history["lag_events"].max() >= history["head"].max() * VISIBLE)
    span = (start, end) if most > DENSE else None
    return LagLines(
        start=start,
        end=end,
        outlined=span is not None,
        head=_head(history, limit=limit) if positions else [],
        projections=[
            _projection(
                history[history["projection"] == name],
                name,
                style,
                span=span,
                positions=positions,
                limit=limit,
            )
            for name, style in _styled(names, dashed=most <= DASHED)
        ],
    )


def _styled(names: Iterable[str], *, dashed: bool) -> list[tuple[str, tuple[str, str]]]:
    styles = [(name, series_style(index)) for index, name in enumerate(names)]
    return [(name, (colour, dash if dashed else "solid")) for name, (colour, dash) in styles]


def _projection(
    rows: pd.DataFrame,
    name: str,
    style: tuple[str, str],
    *,
    span: tuple[datetime, datetime] | None,
    positions: bool,
    limit: int,
) -> ProjectionLines:
    times = [moment.to_pydatetime() for moment in rows["time"]]
    events = [int(value) for value in rows["lag_events"]]
    seconds = [float(value) for value in rows["lag_seconds"]]
    said: list[str] = []
    if positions:
        kept = thinned(seconds, limit=limit)
        checkpoints = [int(value) for value in rows["checkpoint"]]
        upper: list[Point] = [(times[index], checkpoints[index]) for index in kept]
        said = [_behind(events[index], seconds[index]) for index in kept]
    else:
        upper = _line(times, events, span)
    highest = max(range(len(seconds)), key=seconds.__getitem__)
    return ProjectionLines(
        name,
        *style,
        upper=upper,
        said=said,
        lower=_line(times, seconds, span),
        peak=(times[highest], seconds[highest]),
    )


def _line(
    times: Sequence[datetime], values: Sequence[float], span: tuple[datetime, datetime] | None
) -> list[Point]:
    return list(zip(times, values, strict=True)) if span is None else outline(times, values, *span)


def outline(
    times: Sequence[datetime], values: Sequence[float], start: datetime, end: datetime
) -> list[Point]:
    """Return the highest value of a line in each of equal pieces of time, as corners of steps.

    Between its points the line is straight; no peak of it is lost.
    """
    import numpy as np

    at = np.array([(time - start).total_seconds() for time in times])
    drawn = np.array(values, dtype=float)
    edges = np.linspace(0.0, (end - start).total_seconds(), PIECES + 1)
    piece = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, PIECES - 1)
    sides = np.interp(edges, at, drawn)
    highest = np.maximum(sides[:-1], sides[1:])
    np.maximum.at(highest, piece, drawn)
    corners = [start + timedelta(seconds=float(edge)) for edge in edges]
    tops = [round(float(value), 6) for value in highest]
    return [
        point
        for index, top in enumerate(tops)
        for point in ((corners[index], top), (corners[index + 1], top))
    ]


def _head(history: pd.DataFrame, *, limit: int) -> list[Point]:
    heads = history[["time", "head"]].drop_duplicates().sort_values(["time", "head"])
    values = [int(value) for value in heads["head"]]
    times = [moment.to_pydatetime() for moment in heads["time"]]
    return [(times[index], values[index]) for index in thinned(values, limit=limit)]


def _behind(events: int, seconds: float) -> str:
    if events == 0:
        return "caught up"
    return f"{counted(events, 'event')}, {duration_text(seconds)} behind"
