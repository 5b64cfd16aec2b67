"""The projections of a lab: what each does, how far it is, how quick, and what stopped it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields

import pandas as pd
import plotly.graph_objects as go

from eslab.projections import ProjectionStatus
from eslab.projections.status import RATES_SQL
from eslab.views.base import View, html_table, plain
from eslab.views.scales import duration_text
from eslab.views.theme import SERIES, TEMPLATE
from eslab.words import counted

__all__ = ["ProjectionsView", "projections_figure"]


class ProjectionsView(View):
    """How each projection is, at the moment at which the view was made.

    The frame has a row for each projection, with the attributes of
    `eslab.projections.ProjectionStatus` as its columns.

    Args:
        statuses: of the projections, in the order in which they are shown.

    Example:
        >>> from eslab import Lab
        >>> from eslab.interop.flights import DelayByAirportHour, import_week
        >>> with Lab(seed=7) as lab:
        ...     _ = import_week(lab.store, progress=False)
        ...     lab.project(DelayByAirportHour())
        ...     before = lab.projections
        ...     lab.run()
        ...     lab.projections
        ProjectionsView(1 projection: 1 caught up)
        >>> before
        ProjectionsView(1 projection: 1 behind)
    """

    def __init__(self, statuses: Sequence[ProjectionStatus]) -> None:
        columns = [field.name for field in fields(ProjectionStatus)]
        df = pd.DataFrame([asdict(status) for status in statuses], columns=columns)
        super().__init__(df, sql=RATES_SQL)
        self.statuses = tuple(statuses)

    @property
    def digest(self) -> str:
        """How many projections there are, and how they are."""
        found = Counter(status.status for status in self.statuses)
        how = ", ".join(f"{count} {status}" for status, count in found.items())
        return (
            f"ProjectionsView({counted(len(self.statuses), 'projection')}{': ' * bool(how)}{how})"
        )

    def figure(self) -> go.Figure:
        """Return a bar for each projection: the events that it has not applied."""
        return projections_figure(self.statuses)

    def html(self) -> str:
        """Return a table with a row for each projection."""
        if not self.statuses:
            return "<p>There is no projection: lab.project(...) one.</p>"
        columns = [
            "projection",
            "status",
            "checkpoint",
            "head",
            "behind",
            "events a second",
            "dead letters",
            "error",
        ]
        rows = [
            (
                status.projection,
                _said(status),
                f"{status.checkpoint:,}",
                f"{status.head:,}",
                _behind(status),
                "" if status.rate is None else f"{status.rate:,.0f}",
                f"{status.dead_letters:,}",
                status.error or "",
            )
            for status in self.statuses
        ]
        return html_table(
            columns,
            rows,
            numbers=("checkpoint", "head", "behind", "events a second", "dead letters"),
        )


def projections_figure(statuses: Sequence[ProjectionStatus]) -> go.Figure:
    """Draw how many events each projection has not applied."""
    figure = go.Figure()
    figure.update_layout(
        template=TEMPLATE,
        title={"text": "Events that are not applied", "subtitle": {"text": "by projection"}},
        height=160 + 36 * len(statuses),
        margin={"t": 72, "r": 160},
        showlegend=False,
        xaxis={"title": {"text": "events"}, "rangemode": "tozero"},
        yaxis={"autorange": "reversed", "automargin": True},
    )
    figure.add_bar(
        orientation="h",
        y=[plain(status.projection) for status in statuses],
        x=[status.lag_events for status in statuses],
        marker={"color": SERIES[0]},
        text=[f"{_behind(status)} ({_said(status)})" for status in statuses],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    return figure


def _said(status: ProjectionStatus) -> str:
    if status.rebuild is None:
        return status.status
    return f"{status.status}, rebuilding: {status.rebuild:,}"


def _behind(status: ProjectionStatus) -> str:
    if status.lag_events == 0:
        return "0"
    return f"{status.lag_events:,}, {duration_text(status.lag_seconds)}"
