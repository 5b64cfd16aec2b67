"""The replay player as a widget: a slider over the versions, the event, the state, the changes."""

from __future__ import annotations

import html
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from eslab.errors import MissingDependencyError
from eslab.replay import Change, Frame
from eslab.views import StreamPlayer
from eslab.views.scales import moment_text

try:
    import anywidget
    import ipywidgets
    import traitlets
except ModuleNotFoundError as error:
    raise MissingDependencyError(
        error.name or "anywidget", extra="lab", purpose="the live replay player"
    ) from error

__all__ = ["Controls", "PlayerWidget", "player_widget"]

LETTERS: Final = 300

_MARKS: Final = {"+": "appeared", "-": "disappeared", "~": "changed"}

# JupyterLab's own variables, so that a change of theme is a change of theme here.
_DIM: Final = "color:var(--jp-ui-font-color2,#7f7f7f)"
_CELL: Final = (
    "padding:1px 8px 1px 6px;text-align:left;vertical-align:top;line-height:1.5;"
    "font-family:var(--jp-code-font-family,monospace);font-size:var(--jp-code-font-size,13px);"
    "color:var(--jp-content-font-color1,inherit)"
)
_WHOLE: Final = "white-space:nowrap"
_BOX: Final = (
    "overflow:auto;box-sizing:border-box;padding:6px 10px;"
    "border:1px solid var(--jp-border-color2,#7f7f7f);background:var(--jp-layout-color1,inherit);"
    "color:var(--jp-content-font-color1,inherit);overflow-wrap:anywhere"
)
LINE: Final = 22
HEAD: Final = 48
HIGHEST: Final = 420
LETTERS_A_LINE: Final = 44
MEASURED_FRAMES: Final = 500


def player_widget(player: StreamPlayer) -> ipywidgets.DOMWidget:
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
        >>> "Bob" in widget.event.value
        True
    """
    return PlayerWidget(player)


class Controls(anywidget.AnyWidget):
    """A slider over versions, and buttons to go through them or to play them.

    Attributes:
        version: where the slider stands.
        last: the last version.
        said: a line below it, which screen readers read out when it changes.
    """

    _esm = Path(__file__).with_name("controls.js")
    _css = Path(__file__).with_name("controls.css")

    version = traitlets.Int(1, min=0).tag(sync=True)
    last = traitlets.Int(1, min=0).tag(sync=True)
    said = traitlets.Unicode().tag(sync=True)


class PlayerWidget(ipywidgets.VBox):  # type: ignore[misc]  # it ships no types
    """The controls of a player, and what they show.

    Attributes:
        player: what it plays.
        controls: the slider and the buttons.
        event: the event at which the player stands.
        state: the state after it, with what it changed.
    """

    def __init__(self, player: StreamPlayer) -> None:
        # All callbacks come on threads of their own, beside running cells.
        self._lock = threading.RLock()
        self.player = player
        self.controls = Controls(version=player.version, last=len(player.replay))
        # Side by side, and one above the other where the page is narrow.
        half = {"flex": "1 1 360px", "min_width": "0", "margin": "2px"}
        self.event = ipywidgets.HTML(layout=half)
        self.state = ipywidgets.HTML(layout=half)
        self._heights = _height(player, _event_lines), _height(player, _state_lines)
        boxes = ipywidgets.Box(
            [self.event, self.state],
            layout={"flex_flow": "row wrap", "align_items": "flex-start", "width": "100%"},
        )
        super().__init__([self.controls, boxes], layout={"width": "100%"})
        self._follow()
        self.controls.observe(self._seek, names="version")
        player.listen(self._follow)

    def _seek(self, change: Mapping[str, Any]) -> None:
        # A browser may send a version that there is none of.
        count = len(self.player.replay)
        if count:
            self.player.seek(min(count, max(1, change["new"])))

    def _follow(self) -> None:
        """Show where the player stands."""
        with self._lock:
            version = self.player.version
            event_height, state_height = self._heights
            self.controls.version = version
            self.controls.said = self.player.caption
            if not version:
                self.event.value = _box("This stream has no events.", event_height)
                return
            frame = self.player.replay[version]
            self.event.value = _box(_event(frame), event_height)
            self.state.value = _box(
                _state(frame) if self.player.has_state else _NO_STATE, state_height
            )


_NO_STATE: Final = "No state: the aggregate of this stream is not known to the lab."


def _box(inner: str, height: int) -> str:
    # Of a fixed height, or the page would jump at every step; focusable, so that keys scroll it.
    return (
        f'<div tabindex="0" data-lm-suppress-shortcuts="true" '
        f'style="height:{height}px;{_BOX}">{inner}</div>'
    )


def _height(player: StreamPlayer, lines: Callable[[Frame], int]) -> int:
    """Return the height in pixels at which the fullest step of a replay can be seen as a whole."""
    frames = player.replay.frames
    measured = frames[:: len(frames) // MEASURED_FRAMES + 1]
    return min(HIGHEST, HEAD + LINE * max(map(lines, measured), default=1))


def _event_lines(frame: Frame) -> int:
    told = (f"{name} {_text(value)}" for name, value in frame.event.data.items())
    return sum(map(_lines, told)) + (_lines(frame.error) if frame.error else 0)


def _state_lines(frame: Frame) -> int:
    changed = {change.path: change for change in frame.changes}
    before = {path: _text(change.before) for path, change in changed.items() if change.mark == "~"}
    return sum(
        _lines(f"{path} {_text(value)}{before.get(path, '')}")
        for path, value in _paths(frame.state, changed)
    )


def _lines(text: str) -> int:
    return 1 + len(text) // LETTERS_A_LINE


def _event(frame: Frame) -> str:
    event = frame.event
    rows = "".join(
        f'<tr><td style="{_CELL};{_WHOLE};{_DIM}">{html.escape(name)}</td>'
        f'<td style="{_CELL}">{_value(value)}</td></tr>'
        for name, value in event.data.items()
    )
    error = (
        f'<p style="margin:4px 0;color:var(--jp-error-color1,#d55e00)">'
        f"<b>Not applied:</b> {html.escape(frame.error)}</p>"
        if frame.error
        else ""
    )
    return (
        f"<b>{html.escape(event.type)}</b> "
        f'<span style="{_DIM}">{html.escape(moment_text(event.occurred_at))} UTC, '
        f"position {event.position:,}</span>"
        f'{error}<table style="margin-top:4px;border-collapse:collapse">{rows}</table>'
    )


def _state(frame: Frame) -> str:
    changed = {change.path: change for change in frame.changes}
    lines = "".join(
        _line(path, value, changed.get(path)) for path, value in _paths(frame.state, changed)
    )
    count = len(frame.changes)
    summary = (
        "nothing changed"
        if not count
        else ", ".join(
            f"{sum(change.mark == mark for change in frame.changes)} {word}"
            for mark, word in _MARKS.items()
            if any(change.mark == mark for change in frame.changes)
        )
    )
    return (
        f'<b>State</b> <span style="{_DIM}">after this event: {summary}</span>'
        f'<table style="margin-top:4px;border-collapse:collapse">{lines}</table>'
    )


def _paths(state: Any, changed: Mapping[str, Change]) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a state, and what disappeared from it, in the order of the paths."""
    leaves = dict(_leaves(state, ""))
    gone = {path: change.before for path, change in changed.items() if change.mark == "-"}
    # A value that appeared or disappeared as a whole is one line, with all that is in it.
    whole = {path: change.after for path, change in changed.items() if change.mark != "-"}
    covered = tuple(f"{path}." for path in whole)
    shown = {path: value for path, value in leaves.items() if not path.startswith(covered)}
    yield from sorted({**shown, **whole, **gone}.items())


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and (value or not path):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _line(path: str, value: Any, change: Change | None) -> str:
    depth = path.count(".")
    mark, background, shown = "", "", _value(value)
    if change is not None:
        mark = f'<b title="{_MARKS[change.mark]}">{change.mark}</b>'
        background = "background:var(--jp-layout-color2,rgba(127,127,127,0.15));"
        if change.mark == "-":
            shown = f"<s>{shown}</s>"
        elif change.mark == "~":
            shown = f"<s>{_value(change.before)}</s> &rarr; {shown}"
    return (
        f'<tr style="{background}"><td style="{_CELL};width:1em">{mark}</td>'
        f'<td style="{_CELL};{_WHOLE};padding-left:calc(6px + {depth}em)">{html.escape(path)}</td>'
        f'<td style="{_CELL}">{shown}</td></tr>'
    )


def _value(value: Any) -> str:
    return html.escape(_text(value))


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"
