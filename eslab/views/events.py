"""The stream browser: the events that match, as a frame, a table and a histogram over time."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go

from eslab.errors import InputError
from eslab.views.base import PictureView, html_table, plain, records
from eslab.views.events_filter import EventsFilter, moment_of
from eslab.views.events_pages import EventPages, EventsLog, Landmark, Summary
from eslab.views.events_picture import events_picture
from eslab.views.events_types import histogram_groups
from eslab.views.opened_event import OpenedEvent
from eslab.views.scales import axis_time, moment_text, width_text
from eslab.views.theme import TEMPLATE
from eslab.words import counted

__all__ = ["EventsView", "events_digest", "events_figure"]

SHOWN_ROWS: Final = 10
SHOWN_LETTERS: Final = 100

_EVERYTHING: Final = EventsFilter()


class EventsView(PictureView):
    """The newest events that match, in the order of position, and a way to all the others.

    The frame has the columns position, stream_id, version, type, occurred_at, recorded_at, data
    and metadata, the last two as JSON text. The store must be open for `page`, `find` and `open`.

    Args:
        store: where the events are.
        wanted: which events; by default all.
        head: the last position that is looked at; by default the store's last one now.
        limit: how many are in the frame at most, the newest ones; at least 1.
        widget: makes the live widget of a view.

    Attributes:
        pages: the events that match, up to the head.
        limit: how many are in the frame at most.
        count: how many events match, beyond the limit too.
        types: of how many types they are.
        streams: of how many streams they are.
        histogram: how many events of each type occurred when: start (of a bin), type and count.
        bin_width: how long the bins of the histogram are.

    Raises:
        InputError: the limit is no whole number of at least 1, or the filter's SQL is refused.

    Example:
        >>> import eslab
        >>> class OrderPlaced(eslab.Event):
        ...     amount: int
        >>> with eslab.Lab(seed=7) as lab:
        ...     for number in range(3):
        ...         _ = lab.append(f"order-{number}", [OrderPlaced(amount=30)])
        ...     view = EventsView(lab.store, limit=2)
        ...     older = view.page(before=2)
        >>> view
        EventsView(3 events, 1 type, 3 streams; the newest 2)
        >>> list(view.df["position"]), list(older["position"])
        ([2, 3], [1])
    """

    def __init__(
        self,
        store: EventsLog,
        wanted: EventsFilter = _EVERYTHING,
        *,
        head: int | None = None,
        limit: int = 1_000,
        widget: Callable[[EventsView], Any] | None = None,
    ) -> None:
        self.limit = _checked(limit)
        self.pages = EventPages(store, wanted, head=head)
        # All of it now: the store may be closed when somebody looks at the view.
        frame = self.pages.frame(limit=limit)
        super().__init__(frame, sql=self.pages.sql(limit=limit), widget=widget)
        summary = self.pages.summary
        self.count, self.types, self.streams = summary.count, summary.types, summary.streams
        self.histogram, self.bin_width = summary.histogram, summary.width

    def page(
        self, *, before: int | None = None, after: int | None = None, limit: int = 100
    ) -> pd.DataFrame:
        """Return some of the events, in the order of position; with the columns of `df`.

        A page is the next one: to go on, give the lowest position as `before`, or the highest
        one as `after`. What was appended since the view was made is on none of them.

        Args:
            before: the newest events below this position; by default the newest of all.
            after: instead of that, the oldest events above this position.
            limit: how many at most.

        Raises:
            InputError: both are given, or one of them is no whole number.
        """
        if before is not None and after is not None:
            raise InputError("page() takes before= or after=, not both")
        for name, given in (("before", before), ("after", after)):
            if isinstance(given, bool) or not isinstance(given, int | None):
                raise InputError(f"{name} must be a position, a whole number, not {given!r}")
        return self.pages.frame(before=before, after=after, limit=_checked(limit))

    def find(
        self,
        *,
        position: int | None = None,
        version: int | None = None,
        occurred: datetime | str | None = None,
        recorded: datetime | str | None = None,
    ) -> int | None:
        """Return the position of the first event from a position, a version or a time on.

        First is what has the lowest one, and of several that which was recorded first. To see the
        events around it: ``view.page(after=view.find(occurred="2013-06-01") - 1)``.

        Args:
            position: exactly one of these is given.
            version: in the stream of the event.
            occurred: when it happened; an aware datetime, or text in UTC.
            recorded: when it was recorded.

        Returns:
            The position, or None if there is no such event.

        Raises:
            InputError: none of them is given, or several, or one that cannot be.
        """
        given: dict[Landmark, Any] = {
            "position": position,
            "version": version,
            "occurred": occurred,
            "recorded": recorded,
        }
        found = [(what, value) for what, value in given.items() if value is not None]
        if len(found) != 1:
            raise InputError(f"find() takes exactly one of {', '.join(given)}")
        ((what, value),) = found
        if what in ("occurred", "recorded"):
            value = moment_of(what, value)
        elif isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"{what}: a whole number is expected, not {value!r}")
        return self.pages.find(what, value)

    def open(self, position: int) -> OpenedEvent:
        """Return the event at a position, with what caused it and what it caused.

        Args:
            position: of the event; it need not match the filter.

        Raises:
            InputError: there is no such event.
        """
        return OpenedEvent.at(self.pages.store, position, head=self.pages.head)

    @property
    def digest(self) -> str:
        """How many events match, of how many types and streams."""
        return events_digest(self.pages.summary, limit=self.limit)

    def figure(self) -> go.Figure:
        """Return a histogram: events by type over the time at which they occurred."""
        return events_figure(self.histogram, width=self.bin_width)

    def svg(self) -> str:
        """Return the histogram as a picture."""
        return events_picture(self.histogram, width=self.bin_width, desc=self.digest)

    def html(self) -> str:
        """Return the picture, and below it a table of the newest events."""
        if self.df.empty:
            return "<p>No event matches.</p>"
        return f"{super().html()}\n{self._table()}"

    def _table(self) -> str:
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


def events_digest(summary: Summary, *, limit: int) -> str:
    """Say how many events match, of how many types and streams, and if there is a limit."""
    newest = f"; the newest {limit:,}" if limit < summary.count else ""
    return (
        f"EventsView({counted(summary.count, 'event')}, {counted(summary.types, 'type')}, "
        f"{counted(summary.streams, 'stream')}{newest})"
    )


def events_figure(histogram: pd.DataFrame, *, width: timedelta) -> go.Figure:
    """Draw how many events of each type occurred when.

    Args:
        histogram: a frame with the columns start, type and count.
        width: of its bins.
    """
    figure = go.Figure()
    total = int(histogram["count"].sum())
    figure.update_layout(
        template=TEMPLATE,
        title={"text": counted(total, "event") if total else "No event matches"},
        barmode="stack",
        bargap=0.05,
        height=340,
        margin={"t": 72},
        showlegend=True,
        legend={"orientation": "v", "x": 1.01, "y": 1, "yanchor": "top"},
        xaxis={"title": {"text": "occurred at (UTC)"}, "nticks": 7, "tickangle": 0},
        yaxis={"title": {"text": "events"}, "rangemode": "tozero"},
    )
    if not total:
        return figure
    per = width_text(width)
    figure.update_layout(
        title={"subtitle": {"text": f"by type, in bins of {per}"}},
        yaxis={"title": {"text": f"events in {per}"}},
    )
    for group in histogram_groups(histogram):
        bars = histogram[histogram["type"].isin(group.types)].groupby("start")["count"].sum()
        figure.add_bar(
            name=plain(group.name),
            x=[axis_time(_middle(start.to_pydatetime(), width)) for start in bars.index],
            y=bars.tolist(),
            width=width / timedelta(milliseconds=1),
            marker={
                "color": group.colour,
                "pattern": {
                    "shape": group.hatch,
                    "fillmode": "overlay",
                    "fgcolor": "rgba(255,255,255,0.7)",
                    "size": 6,
                },
            },
            hovertemplate="%{y:,} × " + plain(group.name) + "<br>around %{x}<extra></extra>",
        )
    return figure


def _middle(start: datetime, width: timedelta) -> datetime:
    # The last bin may end when there are no years any more.
    return start + min(width, datetime.max.replace(tzinfo=UTC) - start) / 2


def _checked(limit: Any) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InputError(f"limit must be a whole number of at least 1, not {limit!r}")
    return limit


def _spaced(data: str) -> str:
    # With spaces in it, so that a browser can break the line.
    text = json.dumps(json.loads(data), ensure_ascii=False)
    return text if len(text) <= SHOWN_LETTERS else f"{text[: SHOWN_LETTERS - 1]}…"
