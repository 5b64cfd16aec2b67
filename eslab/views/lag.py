"""Projection lag: how far read models are behind the log, now and in hindsight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from eslab.projections import AnyProjection
from eslab.projections.lag import (
    ProjectionLag,
    history_parameters,
    history_sql,
    lag_history,
)
from eslab.projections.measures import measure_lag
from eslab.projections.verdict import WINDOW
from eslab.store.port import ReadModels
from eslab.views.base import PictureView, plain, with_values
from eslab.views.lag_picture import lag_picture
from eslab.views.lag_series import LagLines, Point, ProjectionLines, lag_lines
from eslab.views.scales import axis_time, duration_text
from eslab.views.theme import NEUTRAL, SYMBOLS, TEMPLATE, top_margin
from eslab.words import counted

__all__ = ["LagView", "lag_figure"]

POINTS: Final = 2_000

WARNING: Final = " ▲ "
"""The sign in front of a verdict that is not OK."""


class LagView(PictureView):
    """The lag of projections, measured and judged at one moment, and its history.

    The frame has a row for each moment at which the head moved, and two for each move of a
    checkpoint, just before and just after it: projection, time, head, checkpoint, lag_events and
    lag_seconds (0 when there is nothing to do, else the age of the oldest event that waits). The
    last row of each projection is what was measured, unless the history ends earlier.

    Args:
        store: the log, and the checkpoints beside it.
        projections: whose lag; an empty list is shown as such.
        at: the time by the store's clock.
        since: where the history begins; by default where the log does.
        until: where the history ends; by default at that time.
        window: how far back from that time the rates and the verdicts look.

    Attributes:
        now: the measures and the verdict of each projection at that time, as a list of
            `eslab.projections.LagMeasures`.

    Example:
        >>> import eslab
        >>> with eslab.Lab(seed=7) as lab:
        ...     lab.lag()
        ProjectionLag(no projections)
    """

    def __init__(
        self,
        store: ReadModels,
        projections: Sequence[AnyProjection],
        *,
        at: datetime,
        since: datetime | None = None,
        until: datetime | None = None,
        window: timedelta = WINDOW,
    ) -> None:
        self.now = [
            measure_lag(store, projection, at=at, window=window) for projection in projections
        ]
        super().__init__(
            lag_history(store, projections, at=at, since=since, until=until),
            sql=_sql(projections, at=at, since=since, until=until),
        )

    @property
    def digest(self) -> str:
        """For each projection the events and the time that it is behind, and what is wrong."""
        said = "; ".join(
            ", ".join(filter(None, [f"{now.projection}: {behind(now)}", now.warning]))
            for now in self.now
        )
        return f"ProjectionLag({said or 'no projections'})"

    def figure(self) -> go.Figure:
        """Return head and checkpoints over time, or the gap, and below the lag in seconds."""
        return lag_figure(self.df, self.now)

    def svg(self) -> str:
        """Return the same two panels as SVG."""
        return lag_picture(
            self.df, self.now, words=[said_of(now) for now in self.now], desc=self.digest
        )


def said_of(now: ProjectionLag) -> str:
    """Return a lag in words; what is wrong with it stands behind a sign.

    Example:
        >>> moment = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
        >>> said_of(ProjectionLag("delays", moment, 10, 22, 12, 3.4))
        '12 events, 3.4 s'
    """
    return f"{behind(now)}{WARNING if now.warning else ''}{now.warning}"


def behind(now: ProjectionLag) -> str:
    """Return in words how far behind a projection is.

    Example:
        >>> moment = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
        >>> behind(ProjectionLag("delays", moment, 10, 22, 12, 3.4))
        '12 events, 3.4 s'
    """
    if now.head == 0:
        return "the log is empty"
    if now.lag_events == 0:
        return f"caught up at {now.head:,}"
    never = "never ran, " if now.checkpoint == 0 else ""
    return f"{never}{counted(now.lag_events, 'event')}, {duration_text(now.lag_seconds)}"


def lag_figure(history: pd.DataFrame, now: Iterable[ProjectionLag] = ()) -> go.Figure:
    """Draw head and checkpoints over time, and below them the lag in seconds.

    Where the gap between head and checkpoints would be too narrow to be seen, the upper panel
    shows the gap itself: the lag in events. A mark stands at the highest lag of each projection.

    Args:
        history: a frame with the columns that `eslab.projections.lag.lag_history` gives.
        now: the lag of each projection when it was last measured, for the subtitle.
    """
    measured = {lag.projection: lag for lag in now}
    names = list(measured) or list(dict.fromkeys(history["projection"]))
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.5, 0.5]
    )
    figure.update_layout(
        template=TEMPLATE,
        title={"text": "Projection lag", "subtitle": {"text": _subtitle(history, measured)}},
        height=480,
        margin={"t": top_margin(["head of the log", *names])},
        hovermode="x unified",
        hoversubplots="axis",
    )
    figure.update_yaxes(rangemode="tozero")
    figure.update_xaxes(title={"text": "recorded at (UTC)"}, row=2)
    if not history.empty:
        _draw(figure, lag_lines(history, names, limit=POINTS))
    return figure


def _draw(figure: go.Figure, lines: LagLines) -> None:
    upper, lower = lines.titles
    figure.update_yaxes(title={"text": upper}, row=1)
    figure.update_yaxes(title={"text": f"{lower} seconds"}, row=2)
    if lines.head:
        style: dict[str, Any] = {"color": NEUTRAL, "width": 4, "shape": "hv"}
        hover = {"name": "head of the log", "hovertemplate": "%{y:,}"}
        figure.add_scatter(
            **_points(lines.head, row=1), **hover, mode="lines", line=style, opacity=0.55
        )
    for index, projection in enumerate(lines.projections):
        _draw_projection(figure, projection, SYMBOLS[index % len(SYMBOLS)], lines)


def _draw_projection(
    figure: go.Figure, projection: ProjectionLines, symbol: str, lines: LagLines
) -> None:
    own = {"name": plain(projection.name), "legendgroup": projection.name}
    line = {"color": projection.colour, "dash": projection.dash, "width": 2}
    up_to = "up to " if lines.outlined else ""
    figure.add_scatter(
        **_points(projection.upper, row=1),
        **own,
        showlegend=False,
        mode="lines",
        line={**line, "shape": "hv"},
        customdata=projection.said or None,
        hovertemplate="%{y:,}, %{customdata}" if lines.head else f"{up_to}%{{y:,}} events",
    )
    figure.add_scatter(
        **_points(projection.lower, row=2),
        **own,
        showlegend=False,
        mode="lines",
        line=line,
        hovertemplate=f"{up_to}%{{y:,.3~f}} s",
    )
    figure.add_scatter(
        **_points([projection.peak], row=2),
        **own,
        mode="lines+markers+text",
        line=line,
        marker={"color": projection.colour, "symbol": symbol, "size": 9},
        text=[duration_text(projection.peak[1])] if projection is _worst(lines) else None,
        textposition="top center",
        cliponaxis=False,
        hoverinfo="skip",
    )


def _worst(lines: LagLines) -> ProjectionLines:
    return max(lines.projections, key=lambda projection: projection.peak[1])


def _points(points: Sequence[Point], *, row: int) -> dict[str, Any]:
    return {
        "x": [axis_time(time) for time, _ in points],
        "y": [value for _, value in points],
        "row": row,
        "col": 1,
    }


def _subtitle(history: pd.DataFrame, measured: dict[str, ProjectionLag]) -> str:
    if not measured and history.empty:
        return "no projections"
    if history.empty:
        empty = not any(lag.head for lag in measured.values())
        return "the log is empty" if empty else "the log holds nothing of this time"
    said: Any = "; ".join(f"{name}: {said_of(lag)}" for name, lag in measured.items())
    return plain(said)


def _sql(
    projections: Sequence[AnyProjection],
    *,
    at: datetime,
    since: datetime | None,
    until: datetime | None,
) -> str:
    parameters = history_parameters(projections, at=at, since=since, until=until)
    return with_values(history_sql(projections), parameters)
