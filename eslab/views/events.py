"""The stream browser: the newest events that match, as a frame, a table and a histogram."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go

from eslab.errors import InputError
from eslab.store.port import ReadModels
from eslab.views.base import View, html_table, plain, records, with_values
from eslab.views.scales import axis_time, duration_text, moment_text, nice_step
from eslab.views.theme import HATCHES, NEUTRAL, SERIES, TEMPLATE
from eslab.words import counted

__all__ = ["EventsView", "events_figure"]

SHOWN_ROWS: Final = 10
SHOWN_LETTERS: Final = 100
SHOWN_TYPES: Final = 7
BINS: Final = 60

_COUNT_SQL: Final = """
select count(*), count(distinct type), count(distinct stream_id), coalesce(max(position), 0)
from events
"""

_EVENTS_SQL: Final = """
select * from (
    select position, stream_id, version, type, occurred_at, recorded_at,
           data::varchar as data, metadata::varchar as metadata
    from events
    where {where}
    order by position desc limit $limit)
order by position
"""


class EventsView(View):
    """The newest events that match, in the order of position.

    The frame has the columns position, stream_id, version, type, occurred_at, recorded_at, data
    and metadata, the last two as JSON text.

    Args:
        store: where the events are.
        stream_id: only events of this stream.
        category: only events of streams of this category.
        types: only events of these types.
        limit: how many at most, the newest ones; at least 1.

    Attributes:
        count: how many events match, beyond the limit too.
        types: of how many types they are.
        streams: of how many streams they are.

    Raises:
        InputError: the limit is no whole number of at least 1.

    Example:
        >>> import eslab
        >>> class OrderPlaced(eslab.Event):
        ...     amount: int
        >>> with eslab.Lab(seed=7) as lab:
        ...     for number in range(3):
        ...         _ = lab.append(f"order-{number}", [OrderPlaced(amount=30)])
        ...     view = EventsView(lab.store, limit=2)
        >>> view
        EventsView(3 events, 1 type, 3 streams; the newest 2)
        >>> list(view.df["position"])
        [2, 3]
    """

    def __init__(
        self,
        store: ReadModels,
        *,
        stream_id: str | None = None,
        category: str | None = None,
        types: Sequence[str] | None = None,
        limit: int = 1_000,
    ) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise InputError(f"limit must be a whole number of at least 1, not {limit!r}")
        conditions: list[str] = []
        values: dict[str, Any] = {}
        for column, wanted in (("stream_id", stream_id), ("category", category)):
            if wanted is not None:
                conditions.append(f"{column} = ${column}")
                values[column] = wanted
        if types is not None:
            conditions.append("type in (select unnest($types::varchar[]))")
            values["types"] = list(types)
        where = f"where {' and '.join(conditions)}" if conditions else ""
        counted = store.sql(_COUNT_SQL + where, values).fetchall()
        ((self.count, self.types, self.streams, newest),) = counted
        # Events that are appended between the two queries are left out of both.
        conditions.append("position <= $newest")
        values |= {"newest": newest, "limit": limit}
        query = _EVENTS_SQL.format(where=" and ".join(conditions))
        super().__init__(store.sql(query, values).df(), sql=with_values(query, values))

    @property
    def digest(self) -> str:
        """How many events match, of how many types and streams."""
        newest = f"; the newest {len(self.df):,}" if len(self.df) < self.count else ""
        return (
            f"EventsView({counted(self.count, 'event')}, {counted(self.types, 'type')}, "
            f"{counted(self.streams, 'stream')}{newest})"
        )

    def figure(self) -> go.Figure:
        """Return a histogram: events by type over the time at which they occurred."""
        return events_figure(self.df, total=self.count)

    def html(self) -> str:
        """Return a table of the newest events."""
        if self.df.empty:
            return "<p>No event matches.</p>"
        newest = self.df.tail(SHOWN_ROWS)
        caption = (
            f"The newest {len(newest)} of {self.count:,} events, in the order of position."
            if len(newest) < self.count
            else f"{counted(self.count, 'event')}, in the order of position."
        )
        rows = [
            (
                f"{row.position:,}",
                row.stream_id,
                f"{row.version:,}",
                row.type,
                moment_text(row.occurred_at),
                _spaced(row.data),
            )
            for row in records(newest)
        ]
        columns = ["position", "stream", "version", "type", "occurred at (UTC)", "data"]
        return html_table(columns, rows, caption=caption, numbers=("position", "version"))


def events_figure(events: pd.DataFrame, *, total: int | None = None) -> go.Figure:
    """Draw how many events of each type occurred when.

    Args:
        events: a frame with the columns type and occurred_at.
        total: how many there are, if the frame holds only the newest of them.
    """
    figure = go.Figure()
    title = counted(len(events), "event")
    if total is not None and total > len(events):
        title = f"The newest {len(events):,} of {total:,} events"
    figure.update_layout(
        template=TEMPLATE,
        title={"text": title},
        barmode="stack",
        bargap=0.05,
        height=340,
        margin={"t": 72},
        showlegend=True,
        legend={"orientation": "v", "x": 1.01, "y": 1, "yanchor": "top"},
        xaxis={"title": {"text": "occurred at (UTC)"}, "nticks": 7, "tickangle": 0},
        yaxis={"title": {"text": "events"}, "rangemode": "tozero"},
    )
    if events.empty:
        figure.update_layout(title={"text": "No event matches"})
        return figure
    start, bin_width, bins = _bins(events["occurred_at"])
    figure.update_layout(
        title={"subtitle": {"text": f"by type, in bins of {_bin_text(bin_width)}"}},
    )
    middles = [axis_time(start + (index + 0.5) * bin_width) for index in range(int(bins.max()) + 1)]
    for name, types, colour, hatch in _groups(events["type"]):
        counts = Counter(bins[events["type"].isin(types)].tolist())
        filled = sorted(counts)
        figure.add_bar(
            name=plain(name),
            x=[middles[index] for index in filled],
            y=[counts[index] for index in filled],
            width=bin_width / timedelta(milliseconds=1),
            marker={
                "color": colour,
                "pattern": {
                    "shape": hatch,
                    "fillmode": "overlay",
                    "fgcolor": "rgba(255,255,255,0.7)",
                    "size": 6,
                },
            },
            hovertemplate="%{y:,} × " + plain(name) + "<br>around %{x}<extra></extra>",
        )
    return figure


def _bins(times: pd.Series[Any]) -> tuple[datetime, timedelta, pd.Series[Any]]:
    first, last = times.min().to_pydatetime(), times.max().to_pydatetime()
    width = nice_step(max(last - first, timedelta(microseconds=BINS)), count=BINS)
    start = pd.Timestamp(first).floor(pd.Timedelta(width))
    bins = (times - start) // pd.Timedelta(width)
    return start.to_pydatetime(), width, bins


def _groups(types: pd.Series[Any]) -> list[tuple[str, list[str], str, str]]:
    """Return what is drawn as one colour: the name, its types, the colour and the hatching."""
    counts = Counter(types.tolist())
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    shown, rest = ranked[:SHOWN_TYPES], ranked[SHOWN_TYPES:]
    groups = [
        (f"{name} ({counts[name]:,})", [name], SERIES[index % len(SERIES)], HATCHES[index])
        for index, name in enumerate(shown)
    ]
    if rest:
        lumped = sum(counts[name] for name in rest)
        groups.append((f"{len(rest)} other types ({lumped:,})", rest, NEUTRAL, ""))
    return groups


def _bin_text(width: timedelta) -> str:
    for unit, name in (
        (timedelta(days=1), "d"),
        (timedelta(hours=1), "h"),
        (timedelta(minutes=1), "min"),
    ):
        if width % unit == timedelta(0):
            return f"{width // unit} {name}"
    return duration_text(width.total_seconds())


def _spaced(data: str) -> str:
    # With spaces in it, so that a browser can break the line.
    text = json.dumps(json.loads(data), ensure_ascii=False)
    return text if len(text) <= SHOWN_LETTERS else f"{text[: SHOWN_LETTERS - 1]}…"
