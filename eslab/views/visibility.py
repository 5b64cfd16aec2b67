"""When events became visible in a read model: all of them, or a certain one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import pandas as pd
import plotly.graph_objects as go

from eslab.errors import InputError
from eslab.events import RecordedEvent
from eslab.projections import AnyProjection, visibility
from eslab.projections.lag import wanted_parameters
from eslab.projections.latency import became_visible, visibility_sql
from eslab.store.port import ReadModels
from eslab.views.base import View, html_table, plain, with_values
from eslab.views.scales import axis_time, duration_text, moment_text, thinned
from eslab.views.theme import SYMBOLS, TEMPLATE, series_style, top_margin
from eslab.words import counted

__all__ = ["VisibilityView", "Visible", "visibility_figure", "visible_at"]

POINTS: Final = 2_000
SLOWEST: Final = 10
MODES: Final = ("live", "catch-up", "replay")


@dataclass(frozen=True, slots=True)
class Visible:
    """When one event became visible in a read model.

    Attributes:
        projection: of the read model.
        position: of the event.
        recorded_at: when the store recorded it.
        visible_at: when the batch that first reached it was committed; None if none did yet.
        latency_seconds: from the one to the other; None if it is not visible yet.
        mode: of that batch: ``"live"``, ``"catch-up"`` or ``"replay"``; None if there is none.
    """

    projection: str
    position: int
    recorded_at: datetime
    visible_at: datetime | None
    latency_seconds: float | None
    mode: str | None

    def __str__(self) -> str:
        if self.visible_at is None or self.latency_seconds is None:
            return f"event {self.position:,} is not visible in {self.projection} yet"
        return (
            f"event {self.position:,} became visible in {self.projection} at "
            f"{moment_text(self.visible_at)}, after {duration_text(self.latency_seconds)} "
            f"({self.mode})"
        )


class VisibilityView(View):
    """When each event that a projection wants became visible in its read model.

    The frame has a row for each of these events, in the order of position: position, recorded_at,
    visible_at, latency_seconds and mode; see `eslab.projections.visibility`.

    Args:
        store: the log, and the checkpoints beside it.
        projection: whose read model.
        find: gives the event with an id, or None.

    Example:
        >>> from eslab import Lab
        >>> from eslab.interop.flights import DelayByAirportHour, import_week
        >>> with Lab(seed=7) as lab:
        ...     _ = import_week(lab.store, progress=False)
        ...     lab.project(DelayByAirportHour())
        ...     lab.run()
        ...     seen = lab.visibility("delay_by_airport_hour")
        >>> seen.df["visible_at"].notna().all()
        np.True_
        >>> int(seen.df["position"][0]) == seen.of(int(seen.df["position"][0])).position
        True
    """

    def __init__(
        self,
        store: ReadModels,
        projection: AnyProjection,
        *,
        find: Callable[[UUID], RecordedEvent | None],
    ) -> None:
        sql = with_values(visibility_sql(projection), wanted_parameters(projection))
        super().__init__(visibility(store, projection), sql=sql)
        self.projection = projection.name
        self._find = find

    def of(self, event: int | UUID) -> Visible:
        """Say when one event became visible.

        Args:
            event: its position, or its id.

        Raises:
            InputError: there is no such event, or the projection does not want it.
        """
        event = _position(event, self._find)
        place = int(self.df["position"].searchsorted(event))
        row = self.df.iloc[place] if place < len(self.df) else None
        if row is None or row["position"] != event:
            raise InputError(
                f"position {event} is none of the {counted(len(self.df), 'event')} that the "
                f"projection {self.projection!r} wants"
            )
        if pd.isna(row["visible_at"]):
            return Visible(self.projection, event, _moment(row["recorded_at"]), None, None, None)
        return Visible(
            self.projection,
            event,
            _moment(row["recorded_at"]),
            _moment(row["visible_at"]),
            float(row["latency_seconds"]),
            str(row["mode"]),
        )

    @property
    def digest(self) -> str:
        """How many events are visible, how many are not yet, and the highest latency."""
        visible = int(self.df["visible_at"].notna().sum())
        waiting = len(self.df) - visible
        said = [f"{counted(visible, 'event')} visible"]
        if visible:
            said.append(f"after at most {duration_text(float(self.df['latency_seconds'].max()))}")
        if waiting:
            said.append(f"{waiting:,} not yet")
        return f"VisibilityView({self.projection}: {', '.join(said)})"

    def figure(self) -> go.Figure:
        """Return the latency of events over the time at which they were recorded."""
        return visibility_figure(self.df, title=f"When events became visible in {self.projection}")

    def html(self) -> str:
        """Return the events that took longest, as a table."""
        slowest = self.df.dropna(subset=["visible_at"]).nlargest(SLOWEST, "latency_seconds")
        rows = [
            (
                f"{position:,}",
                moment_text(recorded_at),
                moment_text(visible_at),
                duration_text(seconds),
                mode,
            )
            for position, recorded_at, visible_at, seconds, mode in slowest.itertuples(index=False)
        ]
        return html_table(
            ["position", "recorded at (UTC)", "visible at (UTC)", "latency", "mode"],
            rows,
            caption=f"{self.digest}; those that took longest:",
            numbers=("position", "latency"),
        )


def visible_at(
    store: ReadModels,
    projection: AnyProjection,
    event: int | UUID,
    *,
    find: Callable[[UUID], RecordedEvent | None],
) -> Visible:
    """Say when one event became visible in a projection, without a look at the others.

    Args:
        store: the log, and the checkpoints beside it.
        projection: whose read model.
        event: its position, or its id.
        find: gives the event with an id, or None.

    Raises:
        InputError: there is no such event, or the projection does not want it.
    """
    position = _position(event, find)
    found = became_visible(store, projection, position)
    if found is None:
        raise InputError(
            f"position {position} is no event that the projection {projection.name!r} wants"
        )
    recorded_at, seen_at, mode = found
    latency = None if seen_at is None else max(0.0, (seen_at - recorded_at).total_seconds())
    return Visible(projection.name, position, recorded_at, seen_at, latency, mode)


def _position(event: int | UUID, find: Callable[[UUID], RecordedEvent | None]) -> int:
    if isinstance(event, UUID):
        found = find(event)
        if found is None:
            raise InputError(f"there is no event with the id {event}")
        return found.position
    if isinstance(event, bool) or not isinstance(event, int):
        raise InputError(f"an event is given by its position or its id, not {event!r:.100}")
    return event


def visibility_figure(df: pd.DataFrame, *, title: str) -> go.Figure:
    """Draw how long events took to become visible; of many the highest and the lowest.

    Args:
        df: a frame with the columns that `eslab.projections.visibility` gives.
        title: of the figure.
    """
    figure = go.Figure()
    waiting = int(df["visible_at"].isna().sum())
    figure.update_layout(
        template=TEMPLATE,
        title={
            "text": plain(title),
            "subtitle": {"text": f"{counted(waiting, 'event')} not visible yet"},
        },
        height=360,
        margin={"t": top_margin(MODES)},
        showlegend=True,
    )
    figure.update_xaxes(title={"text": "recorded at (UTC)"})
    figure.update_yaxes(title={"text": "latency in seconds"}, rangemode="tozero")
    for index, mode in enumerate(MODES):
        rows = df[df["mode"] == mode]
        seconds = rows["latency_seconds"].tolist()
        drawn = rows.iloc[thinned(seconds, limit=POINTS)]
        if not drawn.empty:
            figure.add_scatter(**_points(drawn), name=mode, marker=_marker(index))
    return figure


def _points(rows: pd.DataFrame) -> dict[str, Any]:
    return {
        "x": [axis_time(moment.to_pydatetime()) for moment in rows["recorded_at"]],
        "y": rows["latency_seconds"].tolist(),
        "mode": "markers",
        "customdata": rows["position"].tolist(),
        "hovertemplate": "position %{customdata:,}: %{y:,.3~f} s",
    }


def _marker(index: int) -> dict[str, Any]:
    colour, _ = series_style(index)
    return {"color": colour, "symbol": SYMBOLS[index], "size": 6}


def _moment(value: Any) -> datetime:
    moment: datetime = value.to_pydatetime()
    return moment.astimezone(UTC)
