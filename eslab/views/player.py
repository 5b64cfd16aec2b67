"""The replay player: a stream, event by event, with the state after each and what it changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go

from eslab.errors import InputError
from eslab.replay import Frame, Replay
from eslab.schema import canonical_json
from eslab.views.base import View, html_table, plain, records, with_values
from eslab.views.scales import axis_time, moment_text, thinned
from eslab.views.theme import FAILED, GRID, SERIES, TEMPLATE
from eslab.words import counted

__all__ = ["StreamPlayer", "player_figure"]

SHOWN_FRAMES: Final = 100
POINTS: Final = 2_000
LABELS: Final = 40

_SQL: Final = """
select version, position, type, occurred_at, data
from events where stream_id = $stream_id order by version
"""

_COLUMNS: Final = (
    "version",
    "position",
    "type",
    "occurred_at",
    "data",
    "state",
    "changes",
    "error",
)


class StreamPlayer(View):
    """Plays a replay: it stands at a version, and can be moved to another one.

    The frame has a row an event: version, position, type, occurred_at, data (JSON text), state
    (the digest of the state after it), changes (text, a line each) and error. The query gives
    the events; the states are what the aggregate's handlers make of them.

    Args:
        replay: the steps of the stream.
        widget: makes the live widget of a player.

    Example:
        >>> import eslab
        >>> class Opened(eslab.Event):
        ...     owner: str
        >>> class Account(eslab.Aggregate):
        ...     owner: str = ""
        ...     @eslab.applies
        ...     def opened(self, event: Opened) -> None:
        ...         self.owner = event.owner
        >>> with eslab.Lab(seed=7) as lab:
        ...     _ = lab.append("account-1", [Opened(owner="Ann"), Opened(owner="Bob")])
        ...     player = lab.replay("account-1", aggregate=Account)
        >>> player
        StreamPlayer(account-1 v1/2 Opened state=sha256:dbcbc7a22525...)
        >>> player.seek(2)
        >>> print(player.frame.changes[0])
        ~ owner: 'Ann' -> 'Bob'
    """

    def __init__(
        self, replay: Replay, *, widget: Callable[[StreamPlayer], Any] | None = None
    ) -> None:
        rows = [_row(frame) for frame in replay]
        df = pd.DataFrame(rows, columns=list(_COLUMNS))
        df["occurred_at"] = pd.to_datetime(df["occurred_at"], utc=True)
        super().__init__(df, sql=with_values(_SQL, {"stream_id": replay.stream_id}), widget=widget)
        self.replay = replay
        self._version = min(1, len(replay))
        self._listeners: list[Callable[[], None]] = []
        # Widgets move the player on threads of their own.
        self._lock = threading.Lock()

    @property
    def version(self) -> int:
        """Where the player stands; 0 if the stream has no event. Set it to move the player."""
        with self._lock:
            return self._version

    @version.setter
    def version(self, version: int) -> None:
        self.seek(version)

    @property
    def frame(self) -> Frame:
        """The step at which the player stands.

        Raises:
            IndexError: the stream has no event.
        """
        return self.replay[self.version]

    def seek(self, version: int) -> None:
        """Move the player to a version, and its widget with it.

        Raises:
            InputError: the stream has no such version.
        """
        if isinstance(version, bool) or not isinstance(version, int):
            raise InputError(f"a version is a whole number, not {version!r}")
        if not 1 <= version <= len(self.replay):
            raise InputError(
                f"stream {self.replay.stream_id!r} has the versions 1 to {len(self.replay)}, "
                f"not {version}"
            )
        with self._lock:
            if version == self._version:
                return
            self._version = version
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the player has moved, on the thread that moved it.

        Two threads may move it at once: a listener asks for the version itself.
        """
        with self._lock:
            self._listeners.append(listener)

    @property
    def has_state(self) -> bool:
        """Whether there is a state to show: the stream's aggregate is known, and has one."""
        return bool(self.replay.initial) or any(frame.state for frame in self.replay)

    @property
    def digest(self) -> str:
        """The stream, where the player stands in it, and a hash of the state there."""
        stream_id, count = self.replay.stream_id, len(self.replay)
        if not count:
            return f"StreamPlayer({stream_id} no events)"
        version = self.version
        frame = self.replay[version]
        state = f"state=sha256:{frame.digest}..." if self.has_state else "no state"
        error = " NOT APPLIED" if frame.error else ""
        return f"StreamPlayer({stream_id} v{version}/{count} {frame.event.type} {state}{error})"

    @property
    def caption(self) -> str:
        """The stream and where the player stands in it, for a person."""
        stream_id, count = self.replay.stream_id, len(self.replay)
        if not count:
            return f"{stream_id} has no events"
        frame = self.frame
        error = ", not applied" if frame.error else ""
        return f"{stream_id}: version {frame.event.version} of {count}, {frame.event.type}{error}"

    def figure(self) -> go.Figure:
        """Return the events on a time axis, one lane a type."""
        return player_figure(self.df, stream_id=self.replay.stream_id)

    def html(self) -> str:
        """Return a table of the steps; of a long stream the first and the last ones."""
        count = len(self.df)
        if not count:
            return html_table(["version"], [], caption=f"{self.replay.stream_id} has no events.")
        stated = "" if self.has_state else " No state: its aggregate is not known to the lab."
        caption = f"{self.replay.stream_id}, {counted(count, 'event')}.{stated}"
        rows = [
            (f"{row.version:,}", moment_text(row.occurred_at), row.type, _what(row))
            for row in records(self.df)
            if row.version <= SHOWN_FRAMES // 2 or row.version > count - SHOWN_FRAMES // 2
        ]
        if count > SHOWN_FRAMES:
            rows.insert(SHOWN_FRAMES // 2, ("…", "", f"{count - SHOWN_FRAMES:,} more", ""))
        columns = ["version", "occurred at (UTC)", "type", "what it changed"]
        return html_table(columns, rows, caption=caption, numbers=("version",))


def player_figure(frames: pd.DataFrame, *, stream_id: str) -> go.Figure:
    """Draw the events of a stream on a time axis, one lane a type.

    Args:
        frames: a frame with the columns version, type, occurred_at, changes and error.
        stream_id: what the title names.
    """
    lanes = list(dict.fromkeys(frames["type"]))
    count = len(frames)
    events = counted(count, "event")
    figure = go.Figure()
    figure.update_layout(
        template=TEMPLATE,
        title={"text": plain(stream_id), "subtitle": {"text": events}},
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
    drawn = frames.iloc[thinned(frames["version"].tolist(), limit=POINTS)]
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
        text=[f"v{version}" for version in drawn["version"]],
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


def _row(frame: Frame) -> tuple[Any, ...]:
    event = frame.event
    return (
        event.version,
        event.position,
        event.type,
        event.occurred_at,
        canonical_json(dict(event.data)),
        frame.digest,
        "\n".join(map(str, frame.changes)),
        frame.error,
    )


def _what(row: Any) -> str:
    lines = [f"ERROR: {row.error}"] if isinstance(row.error, str) else []
    return "\n".join([*lines, *filter(None, [row.changes])])


def _hover(row: Any) -> str:
    lines = [f"v{row.version} {row.type}", moment_text(row.occurred_at), *_what(row).split("\n")]
    return "<br>".join(plain(line) for line in lines if line)
