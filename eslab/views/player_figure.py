"""The replay player as a figure: the events on a time axis, one lane a type."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go

from eslab.views.base import plain, records
from eslab.views.scales import axis_time, moment_text, thinned
from eslab.views.theme import FAILED, GRID, SERIES, TEMPLATE
from eslab.words import counted

__all__ = ["player_figure"]

POINTS: Final = 2_000
LABELS: Final = 40


def player_figure(frames: pd.DataFrame, *, title: str) -> go.Figure:
    """Draw the events of a replay on a time axis, one lane a type.

    Args:
        frames: a frame with the columns number, type, occurred_at, changes and error.
        title: what is replayed.
    """
    lanes = list(dict.fromkeys(frames["type"]))
    count = len(frames)
    events = counted(count, "event")
    figure = go.Figure()
    figure.update_layout(
        template=TEMPLATE,
        title={"text": plain(title), "subtitle": {"text": events}},
        showlegend=False,
        height=140 + 46 * max(1, len(lanes)),
        hovermode="closest",
        xaxis={"title": {"text": "occurred at (UTC)"}, "type": "date"},
        yaxis={
            "tickvals": list(range(len(lanes))),
            "ticktext": [plain(lane) for lane in lanes],
            "range": [len(lanes) - 0.4, -0.6],
            "zeroline": False,
        },
        margin={"t": 72},
    )
    if frames.empty:
        return figure
    drawn = frames.iloc[thinned(frames["number"].tolist(), limit=POINTS)]
    if len(drawn) < count:
        figure.update_layout(
            title={"subtitle": {"text": f"{events}, of which {len(drawn):,} are drawn"}}
        )
    moments = [axis_time(moment.to_pydatetime()) for moment in drawn["occurred_at"]]
    rows = [lanes.index(name) for name in drawn["type"]]
    figure.add_scatter(
        x=moments,
        y=rows,
        mode="lines",
        line={"color": GRID, "width": 1.5, "shape": "hv"},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=moments,
        y=rows,
        mode="markers+text" if len(drawn) <= LABELS else "markers",
        text=[f"v{number}" for number in drawn["number"]],
        textposition="top right",
        customdata=[_hover(row) for row in records(drawn)],
        hovertemplate="%{customdata}<extra></extra>",
        marker={
            "size": 11,
            "color": [FAILED if error else SERIES[0] for error in drawn["error"].notna()],
            "symbol": ["x" if error else "circle" for error in drawn["error"].notna()],
        },
    )
    return figure


def _what(row: Any) -> str:
    lines = [f"ERROR: {row.error}"] if isinstance(row.error, str) else []
    return "\n".join([*lines, *filter(None, [row.changes])])


def _hover(row: Any) -> str:
    lines = [f"v{row.number} {row.type}", moment_text(row.occurred_at), *_what(row).split("\n")]
    return "<br>".join(plain(line) for line in lines if line)
