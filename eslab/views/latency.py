"""Latency: how long events took from being recorded to being processed, by projection and mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd
import plotly.graph_objects as go

from eslab.projections import AnyProjection, latencies
from eslab.projections.lag import wanted_parameters
from eslab.projections.latency import latency_sql
from eslab.store.port import ReadModels
from eslab.views.base import View, html_table, plain, records, with_values
from eslab.views.scales import duration_text
from eslab.views.theme import SYMBOLS, TEMPLATE, series_style

__all__ = ["LatencyView", "latency_figure"]

MEASURES: Final = ("p50", "p90", "p95", "p99", "max")


class LatencyView(View):
    """The latency of events in projections, with replays and rebuilds kept apart.

    The frame has a row for each projection and mode: projection, mode, count of events, and in
    seconds p50, p90, p95, p99 and max; see `eslab.projections.latencies`.

    Args:
        store: the log, and the checkpoints beside it.
        projections: whose latency, in the order in which they are shown.

    Example:
        >>> import eslab
        >>> with eslab.Lab(seed=7) as lab:
        ...     lab.latency()
        LatencyView(nothing was processed)
    """

    def __init__(self, store: ReadModels, projections: Sequence[AnyProjection]) -> None:
        queries = [
            with_values(latency_sql(projection), wanted_parameters(projection))
            for projection in projections
        ]
        several = "\nunion all\n".join(f"({query})" for query in queries)
        super().__init__(
            latencies(store, projections), sql=queries[0] if len(queries) == 1 else several
        )

    @property
    def digest(self) -> str:
        """For each projection and mode the median and the 99th percentile."""
        said = "; ".join(
            f"{row.projection} {row.mode}: p50 {duration_text(row.p50)}, "
            f"p99 {duration_text(row.p99)}"
            for row in records(self.df)
        )
        return f"LatencyView({said or 'nothing was processed'})"

    def figure(self) -> go.Figure:
        """Return the percentiles of each projection and mode, in a row of their own."""
        return latency_figure(self.df)

    def html(self) -> str:
        """Return a table with a row for each projection and mode."""
        if self.df.empty:
            return "<p>Nothing was processed.</p>"
        columns = ["projection", "mode", "events", *MEASURES]
        rows = [
            (
                row.projection,
                row.mode,
                f"{row.count:,}",
                *(duration_text(getattr(row, measure)) for measure in MEASURES),
            )
            for row in records(self.df)
        ]
        return html_table(columns, rows, numbers=("events", *MEASURES))


def latency_figure(df: pd.DataFrame) -> go.Figure:
    """Draw the percentiles of latency: a row for each projection and mode, a mark for each.

    Args:
        df: a frame with the columns that `eslab.projections.latencies` gives.
    """
    figure = go.Figure()
    figure.update_layout(
        template=TEMPLATE,
        title={"text": "Latency", "subtitle": {"text": "from recorded to processed"}},
        height=180 + 36 * len(df),
        xaxis={"title": {"text": "seconds"}, "rangemode": "tozero"},
        yaxis={"autorange": "reversed", "automargin": True},
    )
    rows = [
        plain(f"{name} ({mode})") for name, mode in zip(df["projection"], df["mode"], strict=True)
    ]
    for index, measure in enumerate(MEASURES):
        colour, _ = series_style(index)
        figure.add_scatter(
            x=df[measure].tolist(),
            y=rows,
            name=measure,
            mode="markers",
            marker={"color": colour, "symbol": SYMBOLS[index], "size": 10},
            hovertemplate="%{y}: %{x:,.6~f} s",
        )
    return figure
