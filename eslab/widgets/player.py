"""The replay player as a widget: its frames live in the browser, which plays without the kernel."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final

from eslab.errors import EslabError, InputError, MissingDependencyError
from eslab.replay import Change, Frame
from eslab.replay.what_if import Outcome
from eslab.views import StreamPlayer
from eslab.widgets.base import LiveWidget, intent

try:
    import traitlets
except ModuleNotFoundError as error:
    raise MissingDependencyError(
        error.name or "traitlets", extra="lab", purpose="the live replay player"
    ) from error

__all__ = ["PlayerWidget", "player_widget"]

FIRST: Final = 1_000
"""Frames that the browser has before it asks for any."""
CHUNK: Final = 5_000
"""Frames that it asks for at once."""
_KINDS: Final = {"set": 0, "insert": 1, "remove": 2}
_SAFE: Final = 2**53
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def player_widget(player: StreamPlayer) -> PlayerWidget:
    """Return a widget that plays a replay; it moves the player, and follows it.

    Args:
        player: what it plays.

    Example:
        >>> import eslab
        >>> class Opened(eslab.Event):
        ...     owner: str
        >>> with eslab.Lab(seed=7) as lab:
        ...     _ = lab.append("account-1", [Opened(owner="Ann"), Opened(owner="Bob")])
        ...     player = lab.replay("account-1")
        >>> widget = player_widget(player)
        >>> player.seek(2)
        >>> widget.version
        2
    """
    return PlayerWidget(player)


class PlayerWidget(LiveWidget):
    """A replay in a browser.

    Attributes:
        version: where the player stands.
        head: what the browser must know of the replay, beside its frames.
        first: the first frames, as JSON; the others are sent when the browser asks for them.
        pins: the paths whose values are drawn over time.
        breakpoints: where playing stops.
    """

    module: ClassVar[str] = "player"

    version = traitlets.Int(0, min=0).tag(sync=True)
    head = traitlets.Dict().tag(sync=True)
    first = traitlets.Unicode().tag(sync=True)
    pins = traitlets.List(traitlets.Unicode()).tag(sync=True)
    breakpoints = traitlets.List(traitlets.Dict()).tag(sync=True)

    def __init__(self, player: StreamPlayer) -> None:
        self.player = player
        # Not the one that an intent holds while it tries something out.
        self._showing = threading.RLock()
        super().__init__(
            version=player.version,
            said=player.digest,
            head=_head(player),
            first=_chunk(player.replay.frames[:FIRST]),
            **_marks(player),
        )
        self.observe(self._seek, names="version")
        self.observe(self._pin, names="pins")
        self._end = player.listen(self._follow)

    def close(self) -> None:
        """Leave the player alone."""
        self._end()
        super().close()

    def _seek(self, change: Mapping[str, Any]) -> None:
        # A browser may send a version that there is none of.
        count = len(self.player.replay)
        if count:
            self.player.seek(min(count, max(1, change["new"])))
        self._follow()

    def _pin(self, change: Mapping[str, Any]) -> None:
        try:
            self.player.set_pins(change["new"])
        except InputError:
            self._follow()

    def _follow(self) -> None:
        """Show what the player shows."""
        with self._showing:
            self.version = self.player.version
            self.said = self.player.digest
            for name, value in _marks(self.player).items():
                setattr(self, name, value)

    @intent
    def frames(self, after: int) -> str:
        """Return the next frames behind a number, as JSON."""
        return _chunk(self.player.replay.frames[max(0, after) : max(0, after) + CHUNK])

    @intent
    def what_if(self, wishes: list[dict[str, Any]]) -> dict[str, Any]:
        """Try out what would have come of it, and return the outcome."""
        try:
            return _outcome(self.player.what_if(*wishes))
        except EslabError:
            raise
        except Exception as error:  # somebody's handlers run there
            raise InputError(f"{type(error).__name__}: {error}") from error


def _marks(player: StreamPlayer) -> dict[str, Any]:
    return {
        "pins": list(player.pins),
        "breakpoints": [
            {"name": one.name, "versions": list(one.versions)} for one in player.breakpoints
        ],
    }


def _head(player: StreamPlayer) -> dict[str, Any]:
    replay, moments = player.replay, player.moments
    return {
        "title": replay.title,
        "single": replay.stream_id is not None,
        "count": len(replay),
        "state": player.has_state,
        "initials": json.dumps({name: _plain(state) for name, state in replay.initials.items()}),
        "span": [_micros(moment) for moment in (*moments[:1], *moments[-1:])],
        "snapshots": list(replay.snapshots),
        "branch": player.can_branch,
        "events": list(player.choices.events),
        "commands": list(player.choices.commands),
    }


def _chunk(frames: Sequence[Frame]) -> str:
    """Return frames as JSON, by columns."""
    return json.dumps(
        {
            "streams": [frame.event.stream_id for frame in frames],
            "types": [frame.event.type for frame in frames],
            "versions": [frame.event.version for frame in frames],
            "positions": [frame.event.position for frame in frames],
            "moments": [_micros(frame.event.occurred_at) for frame in frames],
            "previous": [frame.previous for frame in frames],
            "digests": [frame.digest for frame in frames],
            # As text: it is read when it is shown.
            "data": [_text(dict(frame.event.data)) for frame in frames],
            "about": [_text(_about(frame)) for frame in frames],
            "errors": {frame.number: frame.error for frame in frames if frame.error},
            "changes": [list(map(_change, frame.changes)) for frame in frames],
            "between": {
                frame.number: list(map(_change, frame.between)) for frame in frames if frame.between
            },
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def _about(frame: Frame) -> dict[str, Any]:
    event = frame.event
    more = {"recorded_at": event.recorded_at.isoformat(), "event_id": str(event.event_id)}
    if event.tags:
        more["tags"] = ", ".join(event.tags)
    return {**event.metadata.to_dict(), **more}


def _change(change: Change) -> list[Any]:
    keys, kind = list(change.keys), _KINDS[change.kind]
    values = {"set": (change.before, change.after), "insert": (change.after,)}
    return [keys, kind, *map(_plain, values.get(change.kind, (change.before,)))]


def _plain(value: Any) -> Any:
    """Return JSON values that a browser reads as they are: it would round a large number."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, int) and abs(value) > _SAFE else value


def _text(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False)


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "title": outcome.title,
        "sections": [
            {"title": one.title, "findings": [[line.mark, line.text] for line in one.findings]}
            for one in outcome.sections
        ],
        "exports": dict(outcome.exports),
    }
