"""The replay player: streams, event by event, with the state after each and what it changed."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import accumulate
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go

from eslab.clock import as_utc
from eslab.errors import InputError
from eslab.events import Event, type_name
from eslab.replay import Frame, Replay
from eslab.replay.changes import path_keys, path_text
from eslab.replay.what_if import Choices, Outcome, TryOut, wish
from eslab.schema import canonical_json
from eslab.views.base import PictureView, html_table, records, with_values
from eslab.views.player_figure import player_figure
from eslab.views.player_picture import player_picture
from eslab.views.scales import moment_text
from eslab.views.versions import VersionsView
from eslab.words import counted

__all__ = ["Breakpoint", "StreamPlayer", "player_figure"]

SHOWN_FRAMES: Final = 20

_SQL: Final = """
select version, position, type, occurred_at, data
from events where stream_id = $stream_id order by version
"""

_COLUMNS: Final = (
    "number",
    "stream_id",
    "version",
    "position",
    "type",
    "occurred_at",
    "data",
    "state",
    "changes",
    "error",
)


@dataclass(frozen=True, slots=True)
class Breakpoint:
    """Where playing stops.

    Attributes:
        name: what it is called on the screen.
        versions: the numbers of the frames, in order.
    """

    name: str
    versions: tuple[int, ...]

    def __repr__(self) -> str:
        first = ", ".join(f"{version:,}" for version in self.versions[:5])
        more = ", ..." if len(self.versions) > 5 else ""
        return f"<Breakpoint {self.name!r} at {first or 'no version'}{more}>"


class StreamPlayer(PictureView):
    """Plays a replay: it stands at a version, and can be moved to another one.

    Of several streams the versions are the numbers of the frames, from 1 on, in the order of
    position.

    The frame has a row an event: number, stream_id, version, position, type, occurred_at, data
    (JSON text), state (the digest of the state after it), changes (text, a line each) and error.
    The query gives the events; the states are what the aggregates' handlers make of them.

    What is shown as ``state=sha256:...`` stands for the whole state: the first digits of the
    SHA-256 of the sum of the SHA-256 of each of its values with its path. Two equal states have
    the same one, on whatever way they were reached; no other tool computes it.

    Args:
        replay: the steps.
        sql: the query that gives the events; by default that for the stream.
        widget: makes the live widget of a player.
        what_if: tries out what is to be otherwise, on a branch.
        choices: what can be inserted and commanded there.

    Attributes:
        replay: the steps.
        breakpoints: where playing stops.
        pins: the paths whose values are shown over time.

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
        StreamPlayer(account-1 v1/2 Opened state=sha256:...)
        >>> player.seek(2)
        >>> print(player.frame.changes[0])
        ~ owner: 'Ann' -> 'Bob'
        >>> player.first(lambda account: account.owner == "Ann").number
        1
        >>> list(player.pin("owner"))
        ['Ann', 'Bob']
    """

    def __init__(
        self,
        replay: Replay,
        *,
        sql: str | None = None,
        widget: Callable[[StreamPlayer], Any] | None = None,
        what_if: TryOut | None = None,
        choices: Choices = Choices(),  # noqa: B008 - it is frozen
    ) -> None:
        df = pd.DataFrame([_row(frame) for frame in replay], columns=list(_COLUMNS))
        df["occurred_at"] = pd.to_datetime(df["occurred_at"], utc=True)
        own = with_values(_SQL, {"stream_id": replay.stream_id or replay.title})
        super().__init__(df, sql=sql or own, widget=widget)
        self.replay = replay
        self.choices = choices
        self.breakpoints: tuple[Breakpoint, ...] = ()
        self.pins: tuple[str, ...] = ()
        self._what_if = what_if
        self._version = min(1, len(replay))
        self._listeners: list[Callable[[], None]] = []
        # Widgets move the player on threads of their own.
        self._lock = threading.Lock()

    @property
    def version(self) -> int:
        """Where the player stands; 0 if there is no event. Set it to move the player."""
        with self._lock:
            return self._version

    @version.setter
    def version(self, version: int) -> None:
        self.seek(version)

    @property
    def frame(self) -> Frame:
        """The step at which the player stands.

        Raises:
            IndexError: there is no event.
        """
        return self.replay[self.version]

    def seek(self, to: int | datetime | str | type[Event]) -> None:
        """Move the player, and its widget with it.

        Args:
            to: a version; a moment (aware): to the last event that had occurred by then; a type
                of events, or its name: to the next one of them.

        Raises:
            InputError: there is no such version, or no such event.
        """
        version = to if isinstance(to, int) and not isinstance(to, bool) else self._found(to)
        if not 1 <= version <= len(self.replay):
            raise InputError(f"{self.replay.title!r} has the {self.replay.words()}, not {version}")
        with self._lock:
            if version == self._version:
                return
            self._version = version
        self._tell()

    def _found(self, to: Any) -> int:
        """Return the version at a moment, or the next one of a type."""
        if isinstance(to, datetime):
            moment = as_utc(to, what="the moment")
            found = bisect_right(self.moments, moment)
            if not found:
                raise InputError(f"nothing had occurred by {moment_text(moment)} UTC")
            return found
        if isinstance(to, str) or (isinstance(to, type) and issubclass(to, Event)):
            name = type_name(to)
            later = self.replay.frames[self.version :]
            found = next((frame.number for frame in later if frame.event.type == name), 0)
            if not found:
                raise InputError(f"no {name} comes behind version {self.version}")
            return found
        raise InputError(
            f"a player is moved to a version (a whole number), a moment (a datetime), or the next "
            f"event of a type, not to {to!r:.200}"
        )

    @cached_property
    def moments(self) -> list[datetime]:
        """When each event had occurred; where the clock went back, as late as the one before."""
        return list(accumulate((frame.event.occurred_at for frame in self.replay), max))

    def first(self, predicate: Callable[..., Any]) -> Frame | None:
        """Move the player to the first version at which something holds, and return its frame.

        Args:
            predicate: a function of the state, or of the state and the event; see `Replay.first`.

        Returns:
            None if it never holds; the player stays where it is then.

        Raises:
            InputError: the predicate raised something; it says at which version.
        """
        found = self.replay.first(predicate)
        if found is not None:
            self.seek(found.number)
        return found

    def breakpoint(self, predicate: Callable[..., Any], *, name: str | None = None) -> Breakpoint:
        """Let playing stop where something begins to hold.

        Args:
            predicate: a function of the state, or of the state and the event; see `Replay.first`.
            name: what it is called on the screen; another one of that name is replaced.

        Raises:
            InputError: the predicate raised something; it says at which version.
        """
        called = name or f"breakpoint {len(self.breakpoints) + 1}"
        made = Breakpoint(called, self.replay.breakpoints(predicate))
        kept = [one for one in self.breakpoints if one.name != called]
        self.breakpoints = (*kept, made)
        self._tell()
        return made

    def clear_breakpoints(self) -> None:
        """Let playing stop nowhere any more."""
        self.breakpoints = ()
        self._tell()

    def pin(self, path: str) -> pd.Series[Any]:
        """Show the value at a path of the state over time, and return it, by version.

        Args:
            path: such as ``"status"``, ``"lines[0].price"`` or ``'stock["A 4"]'``.

        Raises:
            InputError: it is no path.
        """
        name = path_text(path_keys(path))
        values = self.replay.values(name)
        self.set_pins((*self.pins, name))
        index = pd.Index(range(1, len(values) + 1), name="version")
        return pd.Series(values, index=index, name=name)

    def unpin(self, path: str) -> None:
        """Do not show the value at a path any more."""
        name = path_text(path_keys(path))
        self.set_pins(pin for pin in self.pins if pin != name)

    def set_pins(self, paths: Sequence[str] | Any) -> None:
        """Show the values at these paths over time, and no others."""
        pins = tuple(dict.fromkeys(path_text(path_keys(path)) for path in paths))
        if pins != self.pins:
            self.pins = pins
            self._tell()

    def compare(self, before: int, after: int | None = None) -> VersionsView:
        """Show what is different in the state at one version from that at another.

        Args:
            before: a version.
            after: another one; by default the one at which the player stands.

        Raises:
            InputError: there is no such version.
        """
        return VersionsView(self.replay, before, self.version if after is None else after)

    @property
    def can_branch(self) -> bool:
        """Whether something can be tried out here."""
        return self._what_if is not None

    def what_if(self, *wishes: Mapping[str, Any]) -> Outcome:
        """Try out what would have come of it, on a branch; what is recorded stays as it is.

        Args:
            wishes: each a dict with ``action``, ``version`` and what the action needs: ``skip``;
                ``edit`` with ``data`` (JSON text); ``insert`` with ``type`` and ``data``; ``move``
                with ``after`` (a version, 0 for the beginning); ``command`` with ``type`` and
                ``data``.

        Raises:
            InputError: one cannot be, or nothing can be tried out here.
        """
        if self._what_if is None:
            raise InputError("nothing can be tried out here: ask for the replay with lab.replay()")
        if not wishes:
            raise InputError("say first what is to be otherwise")
        for said in wishes:
            if not isinstance(said, Mapping):
                raise InputError(
                    f"a wish is a dict such as {{'action': 'skip', 'version': 3}}, "
                    f"not {said!r:.200}"
                )
        return self._what_if(
            [
                wish(said, position=self._position, stream_id=self._stream_of(said.get("version")))
                for said in wishes
            ]
        )

    def _stream_of(self, version: Any) -> str:
        self._position(version)
        return self.replay[version].event.stream_id

    def _position(self, version: Any) -> int:
        if type(version) is not int or not 1 <= version <= len(self.replay):
            raise InputError(
                f"{self.replay.title!r} has the {self.replay.words()}, not {version!r}"
            )
        return self.replay[version].event.position

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` whenever the player has changed, on the thread that changed it.

        Two threads may move it at once: a listener asks for the version itself.

        Returns:
            What ends it.
        """
        with self._lock:
            self._listeners.append(listener)

        def end() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return end

    def _tell(self) -> None:
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()

    @property
    def has_state(self) -> bool:
        """Whether there is a state to show: an aggregate is known, and has one."""
        return any(self.replay.initials.values()) or any(frame.changes for frame in self.replay)

    @property
    def digest(self) -> str:
        """The stream, where the player stands in it, and a hash of the state there."""
        return f"StreamPlayer({self.said_at(self.version)})"

    def said_at(self, version: int) -> str:
        """Return what a digest says of a version."""
        replay = self.replay
        if not version:
            return f"{replay.title} no events"
        frame = replay[version]
        event = frame.event
        single = replay.stream_id is not None
        place = f"v{version}" if single else str(version)
        stream = "" if single else f" {event.stream_id} v{event.version}"
        state = f"state=sha256:{frame.digest}..." if self.has_state else "no state"
        error = " NOT APPLIED" if frame.error else ""
        return f"{replay.title} {place}/{len(replay)}{stream} {event.type} {state}{error}"

    def figure(self) -> go.Figure:
        """Return the events on a time axis, one lane a type."""
        return player_figure(self.df, title=self.replay.title)

    def svg(self) -> str:
        """Return the step at which the player stands, in the midst of those around it."""
        return player_picture(self)

    def html(self) -> str:
        """Return the picture, and a table of the steps; of a long replay those at its ends."""
        return f"{super().html()}\n{self._table()}"

    def _table(self) -> str:
        count = len(self.df)
        half = SHOWN_FRAMES // 2
        shown = self.df
        if count > SHOWN_FRAMES:
            shown = pd.concat([self.df.head(half), self.df.tail(half)])
        single = self.replay.stream_id is not None
        rows = [
            (
                f"{row.number:,}",
                moment_text(row.occurred_at),
                *(() if single else (f"{row.stream_id} v{row.version}",)),
                row.type,
                _what(row),
            )
            for row in records(shown)
        ]
        if count > SHOWN_FRAMES:
            gap = ("…", "", *(() if single else ("",)), f"{count - SHOWN_FRAMES:,} more", "")
            rows.insert(half, gap)
        stated = "" if self.has_state else " No state: no aggregate of it is known to the lab."
        first = "version" if single else "number"
        columns = [first, "occurred at (UTC)", "stream", "type", "what it changed"]
        if single:
            columns.remove("stream")
        caption = f"{self.replay.title}: {counted(count, 'event')}.{stated}"
        return html_table(columns, rows, caption=caption, numbers=(first,))


def _row(frame: Frame) -> tuple[Any, ...]:
    event = frame.event
    return (
        frame.number,
        event.stream_id,
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
