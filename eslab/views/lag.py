"""Projection lag: how far read models are behind the log, now and in hindsight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from eslab.projections import Projection
from eslab.projections.lag import (
    LAG_HISTORY_SQL,
    SAMPLES,
    ProjectionLag,
    lag_history,
    projection_lag,
)
from eslab.store.port import ReadModels
from eslab.views.base import PictureView, plain, with_values
from eslab.views.lag_picture import lag_picture
from eslab.views.lag_series import Samples, head_samples, samples_of
from eslab.views.scales import axis_time, counted, duration_text
from eslab.views.theme import NEUTRAL, TEMPLATE, series_style, top_margin

__all__ = ["LagView", "lag_figure"]

POINTS: Final = 2_000


class LagView(PictureView):
    """The lag of projections, measured at one moment, and its history.

    The frame has a row for each moment at which the head or a checkpoint moved: projection,
    time, head, checkpoint, lag_events and lag_seconds (0 when there is nothing to do, else the
    age of the oldest event that waits).

    Args:
        store: the log, and the checkpoints beside it.
        projections: whose lag; an empty list is shown as such.
        at: the time by the store's clock.

    Attributes:
        now: the lag of each projection at that time, as a list of `ProjectionLag`.

    Example:
        >>> import eslab
        >>> with eslab.Lab(seed=7) as lab:
        ...     lab.lag()
        ProjectionLag(no projections)
    """

    def __init__(
        self, store: ReadModels, projections: Sequence[Projection], *, at: datetime
    ) -> None:
        self.now = [projection_lag(store, projection, at=at) for projection in projections]
        super().__init__(lag_history(store, projections), sql=_sql(projections))

    @property
    def digest(self) -> str:
        """For each projection the events and the time that it is behind."""
        said = "; ".join(f"{now.projection}: {said_of(now)}" for now in self.now)
        return f"ProjectionLag({said or 'no projections'})"

    def figure(self) -> go.Figure:
        """Return head and checkpoints over time, and below them the lag in seconds."""
        return lag_figure(self.df, self.now)

    def svg(self) -> str:
        """Return the same two panels as SVG."""
        return lag_picture(
            self.df, self.now, words=[said_of(now) for now in self.now], desc=self.digest
        )


def said_of(now: ProjectionLag) -> str:
    """Return a lag in words.

    Example:
        >>> moment = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
        >>> said_of(ProjectionLag("delays", moment, 10, 22, 12, 3.4))
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

    Args:
        history: a frame with the columns that `eslab.projections.lag.lag_history` gives.
        now: the lag of each projection when it was last measured; the lines go on until then.
    """
    measured = {lag.projection: lag for lag in now}
    names = list(measured) or list(dict.fromkeys(history["projection"]))
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.6, 0.4]
    )
    figure.update_layout(
        template=TEMPLATE,
        title={"text": "Projection lag", "subtitle": {"text": _subtitle(history, measured)}},
        height=480,
        margin={"t": top_margin(["head of the log", *names])},
        hovermode="x unified",
        hoversubplots="axis",
    )
    figure.update_yaxes(title={"text": "position in the log"}, rangemode="tozero", row=1)
    figure.update_yaxes(title={"text": "lag in seconds"}, rangemode="tozero", row=2)
    figure.update_xaxes(title={"text": "recorded at (UTC)"}, row=2)
    if history.empty:
        return figure
    head = head_samples(history, list(measured.values()), limit=POINTS)
    figure.add_scatter(
        **_line(head, head.heads, "head of the log", color=NEUTRAL, width=4), opacity=0.55
    )
    for index, name in enumerate(names):
        samples = samples_of(history, name, measured.get(name), limit=POINTS)
        colour, dash = series_style(index)
        line = _line(samples, samples.checkpoints, name, color=colour, dash=dash)
        line["hovertemplate"] = "%{y:,}, %{customdata}"
        line["customdata"] = [
            _behind(events, seconds)
            for events, seconds in zip(samples.events, samples.seconds, strict=True)
        ]
        figure.add_scatter(**line)
        lines = samples.grown(limit=POINTS)
        figure.add_scatter(
            x=[axis_time(moment) for moment, _ in lines],
            y=[seconds for _, seconds in lines],
            name=plain(name),
            legendgroup=name,
            showlegend=False,
            mode="lines",
            line={"color": colour, "dash": dash, "width": 2},
            hovertemplate="%{y:,.3~f} s",
            row=2,
            col=1,
        )
    return figure


def _line(samples: Samples, values: Sequence[int], name: str, **style: Any) -> dict[str, Any]:
    return {
        "x": [axis_time(moment) for moment in samples.times],
        "y": list(values),
        "name": plain(name),
        "legendgroup": name,
        "mode": "lines",
        "line": {"shape": "hv", "width": 2, **style},
        "hovertemplate": "%{y:,}",
        "row": 1,
        "col": 1,
    }


def _behind(events: int, seconds: float) -> str:
    if events == 0:
        return "caught up"
    return f"{counted(events, 'event')}, {duration_text(seconds)} behind"


def _subtitle(history: pd.DataFrame, measured: dict[str, ProjectionLag]) -> str:
    if not measured and history.empty:
        return "no projections"
    if history.empty:
        return "the log is empty"
    said: Any = "; ".join(f"{name}: {said_of(lag)}" for name, lag in measured.items())
    return plain(said)


def _sql(projections: Sequence[Projection]) -> str:
    queries = [
        with_values(
            LAG_HISTORY_SQL,
            {
                "name": projection.name,
                "types": sorted(projection.event_classes),
                "samples": SAMPLES,
            },
        )
        for projection in projections
    ]
    if len(queries) <= 1:
        return "".join(queries)
    return "\nunion all\n".join(f"({query})" for query in queries)
