"""Projection lag: how far read models are behind the log, now and in hindsight."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from eslab.projections import AnyProjection
from eslab.projections.incidents import Incident, incidents
from eslab.projections.lag import (
    ProjectionLag,
    history_parameters,
    history_sql,
    lag_history,
)
from eslab.projections.measures import measure_lags
from eslab.projections.runner import Pause
from eslab.projections.verdict import WINDOW
from eslab.projections.verdicts import verdict_history
from eslab.store.port import ReadModels
from eslab.views.base import PictureView, plain, with_values
from eslab.views.lag_picture import lag_picture
from eslab.views.lag_ribbon import INCIDENTS, LOOKS, VerdictSpan, key_of, verdict_spans
from eslab.views.lag_series import LagLines, Point, ProjectionLines, lag_lines
from eslab.views.scales import axis_time, duration_text, linear_part, symlog, symlog_ticks
from eslab.views.theme import NEUTRAL, SYMBOLS, TEMPLATE, top_margin
from eslab.words import counted

__all__ = ["LagView", "lag_figure"]

POINTS: Final = 2_000
RIBBON: Final = 22
LINE: Final = 120
LINES: Final = 5

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
        standing: in words what keeps a projection from going on, by its name.
        pauses: when a projection was paused, by its name.
        widget: makes the live widget.

    Attributes:
        now: the measures and the verdict of each projection at that time, as a list of
            `eslab.projections.LagMeasures`.
        verdicts: which verdict held when, as a list of `eslab.views.VerdictSpan`.
        incidents: rebuilds, dead letters and pauses, as a list of `eslab.projections.Incident`.
        standing: in words what keeps a projection from going on, by its name.

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
        standing: Mapping[str, str] | None = None,
        pauses: Mapping[str, Sequence[Pause]] | None = None,
        widget: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(
            lag_history(store, projections, at=at, since=since, until=until),
            sql=_sql(projections, at=at, since=since, until=until),
            widget=widget,
        )
        self.at = at
        self.window = window
        self.standing = standing or {}
        self.now = measure_lags(store, projections, at=at, window=window)
        self.incidents = incidents(store, projections, pauses=pauses or {})
        self.verdicts: list[VerdictSpan] = []
        if not self.df.empty:
            found = verdict_history(
                store, projections, at=at, since=since, until=until, window=window
            )
            self.verdicts = verdict_spans(found, starts=first_times(self.df))

    @property
    def digest(self) -> str:
        """For each projection the events and the time that it is behind, and what is wrong."""
        said = "; ".join(
            ", ".join(filter(None, [f"{now.projection}: {self._standing(now)}", now.warning]))
            for now in self.now
        )
        back = clock_went_back(self.df, self.at)
        return f"ProjectionLag({back}{'; ' * bool(back)}{said or 'no projections'})"

    def _standing(self, now: ProjectionLag) -> str:
        return _standing(now, self.standing)

    def figure(self) -> go.Figure:
        """Return head and checkpoints over time, or the gap; the lag in seconds; the verdicts."""
        return lag_figure(
            self.df,
            self.now,
            standing=self.standing,
            verdicts=self.verdicts,
            incidents=self.incidents,
        )

    def svg(self) -> str:
        """Return the same three panels as SVG."""
        return lag_picture(
            self.df,
            self.now,
            words=[said_of(now, self.standing) for now in self.now],
            desc=self.digest,
            verdicts=self.verdicts,
            incidents=self.incidents,
        )


def first_times(history: pd.DataFrame) -> dict[str, datetime]:
    """Return where the history of each projection begins."""
    firsts = history.groupby("projection", sort=False)["time"].min()
    return {str(name): time.to_pydatetime() for name, time in firsts.items()}


def clock_went_back(history: pd.DataFrame, at: datetime) -> str:
    """Say so, if the log is ahead of the clock."""
    if history.empty:
        return ""
    ahead = (history["time"].max() - at).total_seconds()
    return f"the clock went back: the log is {duration_text(ahead)} ahead" if ahead > 0 else ""


def said_of(now: ProjectionLag, standing: Mapping[str, str] | None = None) -> str:
    """Return a lag in words; what is wrong with it stands behind a sign.

    Args:
        now: the lag.
        standing: what keeps projections from going on, by their names.

    Example:
        >>> moment = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
        >>> said_of(ProjectionLag("delays", moment, 10, 22, 12, 3.4), {"delays": "paused"})
        '12 events, 3.4 s, paused'
    """
    return f"{_standing(now, standing or {})}{WARNING if now.warning else ''}{now.warning}"


def _standing(now: ProjectionLag, standing: Mapping[str, str]) -> str:
    return ", ".join(filter(None, [behind(now), standing.get(now.projection)]))


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


def lag_figure(
    history: pd.DataFrame,
    now: Sequence[ProjectionLag] = (),
    *,
    standing: Mapping[str, str] | None = None,
    verdicts: Sequence[VerdictSpan] = (),
    incidents: Sequence[Incident] = (),
) -> go.Figure:
    """Draw head and checkpoints over time, below them the lag in seconds, and the verdicts.

    Where the gap between head and checkpoints would be too narrow to be seen, the upper panel
    shows the gap itself: the lag in events. A mark stands at the highest lag of each projection.

    Args:
        history: a frame with the columns that `eslab.projections.lag.lag_history` gives.
        now: the lag of each projection when it was last measured.
        standing: what keeps projections from going on, in words, by their names.
        verdicts: which verdict held when; without them there is no panel for them.
        incidents: marks on the verdicts.
    """
    names = [lag.projection for lag in now] or list(dict.fromkeys(history["projection"]))
    ribbon = 40 + RIBBON * len(names) if verdicts else 0
    subtitle = _subtitle(history, now, standing)
    more = 17 * (len(subtitle) - 1)
    height = 480 + ribbon + more
    figure = make_subplots(
        rows=3 if verdicts else 2,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=44 / height,
        row_heights=[190, 190, *([RIBBON * len(names)] if verdicts else [])],
    )
    figure.update_layout(
        template=TEMPLATE,
        title={"text": "Projection lag", "subtitle": {"text": "<br>".join(subtitle)}},
        height=height,
        margin={"t": top_margin(["head of the log", *names]) + more},
        hovermode="x unified",
        hoversubplots="axis",
        barmode="overlay",
    )
    figure.update_yaxes(rangemode="tozero")
    figure.update_xaxes(type="date")
    figure.update_xaxes(title={"text": "recorded at (UTC)"}, row=3 if verdicts else 2)
    if not history.empty:
        _draw(figure, lag_lines(history, names, limit=POINTS))
    if verdicts:
        _draw_verdicts(figure, names, verdicts, incidents)
    return figure


def _draw_verdicts(
    figure: go.Figure,
    names: Sequence[str],
    verdicts: Sequence[VerdictSpan],
    incidents: Sequence[Incident],
) -> None:
    rows = {name: plain(name) for name in names}
    for name, look in LOOKS.items():
        spans = [span for span in verdicts if span.verdict == name]
        if spans:
            figure.add_bar(
                **_bars(spans, rows),
                name=name,
                marker={
                    "color": look.colour,
                    "pattern": {"shape": "/" if look.hatched else "", "fgcolor": "#FFFFFF"},
                },
                text=[look.letter] * len(spans),
                row=3,
                col=1,
            )
    for kind, symbol in INCIDENTS.items():
        found = [incident for incident in incidents if incident.kind == kind]
        if found:
            figure.add_scatter(
                x=[axis_time(incident.time) for incident in found],
                y=[rows[incident.projection] for incident in found],
                name=kind,
                mode="markers",
                marker={
                    "symbol": symbol,
                    "size": 8,
                    "color": "#000000",
                    "line": {"width": 2, "color": "#000000"},
                },
                text=[plain(incident.said) for incident in found],
                hovertemplate="%{text}",
                showlegend=False,
                row=3,
                col=1,
            )
    order = [rows[name] for name in reversed(names)]
    figure.update_yaxes(
        categoryorder="array", categoryarray=order, showgrid=False, rangemode="normal", row=3
    )
    figure.add_annotation(
        text=f"verdict: {key_of(verdicts)}",
        x=0,
        xref="paper",
        xanchor="left",
        y=1,
        yref="y3 domain",
        yanchor="bottom",
        yshift=4,
        showarrow=False,
    )


def _bars(spans: Sequence[VerdictSpan], rows: Mapping[str, str]) -> dict[str, Any]:
    return {
        "orientation": "h",
        "base": [axis_time(span.start) for span in spans],
        "x": [(span.end - span.start) / timedelta(milliseconds=1) for span in spans],
        "y": [rows[span.projection] for span in spans],
        "customdata": [plain(span.rule) for span in spans],
        "hovertemplate": "%{y}: %{customdata}",
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "textfont": {"color": "#000000", "size": 11},
        "showlegend": False,
    }


def _draw(figure: go.Figure, lines: LagLines) -> None:
    upper, lower = lines.titles
    figure.update_yaxes(title={"text": upper}, row=1)
    high = max(projection.peak[1] for projection in lines.projections)
    linear = linear_part(high)
    ticks = symlog_ticks(high)
    figure.update_yaxes(
        title={"text": f"{lower} seconds (symlog)"},
        tickvals=[symlog(tick, linear=linear) for tick, _ in ticks],
        ticktext=[label for _, label in ticks],
        row=2,
    )
    if lines.head:
        style: dict[str, Any] = {"color": NEUTRAL, "width": 4, "shape": "hv"}
        hover = {"name": "head of the log", "hovertemplate": "%{y:,}"}
        figure.add_scatter(
            **_points(lines.head, row=1), **hover, mode="lines", line=style, opacity=0.55
        )
    for index, projection in enumerate(lines.projections):
        _draw_projection(figure, projection, SYMBOLS[index % len(SYMBOLS)], lines, linear)


def _draw_projection(
    figure: go.Figure, projection: ProjectionLines, symbol: str, lines: LagLines, linear: float
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
        **_seconds(projection.lower, linear),
        **own,
        showlegend=False,
        mode="lines",
        line=line,
        hovertemplate=f"{up_to}%{{customdata:,.3~f}} s",
    )
    figure.add_scatter(
        **_seconds([projection.peak], linear),
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


def _seconds(points: Sequence[Point], linear: float) -> dict[str, Any]:
    drawn = [(time, round(symlog(value, linear=linear), 6)) for time, value in points]
    return {**_points(drawn, row=2), "customdata": [value for _, value in points]}


def _subtitle(
    history: pd.DataFrame, now: Sequence[ProjectionLag], standing: Mapping[str, str] | None
) -> list[str]:
    """Return the lines of the subtitle."""
    if not now and history.empty:
        return ["no projections"]
    if history.empty:
        empty = not any(lag.head for lag in now)
        return ["the log is empty" if empty else "the log holds nothing of this time"]
    lines = [""]
    for lag in now:
        said = f"{lag.projection}: {said_of(lag, standing)}"
        if lines[-1] and len(lines[-1]) + len(said) > LINE:
            lines.append("")
        lines[-1] += f"{'; ' * bool(lines[-1])}{said}"
    if len(lines) > LINES:
        lines[LINES - 1 :] = ["…"]
    return [plain(line) for line in lines]


def _sql(
    projections: Sequence[AnyProjection],
    *,
    at: datetime,
    since: datetime | None,
    until: datetime | None,
) -> str:
    parameters = history_parameters(projections, at=at, since=since, until=until)
    return with_values(history_sql(projections), parameters)
