"""The replay player as a static picture: where it stands, what happened, what that changed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from eslab.replay import Change, Frame
from eslab.views.scales import moment_text
from eslab.views.svg import Svg, fitted, text_width
from eslab.views.theme import DONE, FAILED, NEUTRAL, OK, RETRY
from eslab.words import counted

if TYPE_CHECKING:
    from eslab.views.player import StreamPlayer

__all__ = ["player_picture"]

WIDTH: Final = 860
STRIP: Final = 34
BINS: Final = 172
LANE: Final = 26
AROUND: Final = 15
MOST_LANES: Final = 8
LINES: Final = 10
LINE: Final = 18
SMALL: Final = 11.0
COLUMN: Final = 410
_COLOURS: Final = {"+": DONE, "-": FAILED, "~": OK}


def player_picture(player: StreamPlayer) -> str:
    """Return where a player stands, as SVG.

    Above the density of all events over time, then those around the playhead, one lane a type;
    below the event and the paths of the state that it changed.
    """
    return str(_Picture(player).svg)


class _Picture:
    """A picture that is being drawn."""

    def __init__(self, player: StreamPlayer) -> None:
        self.player = player
        self.replay = player.replay
        self.version = player.version
        near = self._near()
        kinds = Counter(frame.event.type for frame in near)
        # The types in the order of their first event here; rare ones share the last lane.
        self.lanes = list(dict.fromkeys(frame.event.type for frame in near))
        if len(self.lanes) > MOST_LANES:
            kept = {name for name, _ in kinds.most_common(MOST_LANES - 1)}
            self.lanes = [name for name in self.lanes if name in kept]
        texts = self._texts(near)
        lines = max((len(rows) for rows in texts.values()), default=0)
        shown = len(self.lanes) + any(kind not in self.lanes for kind in kinds)
        self.lanes_top = 146.0
        bottom = self.lanes_top + LANE * shown + 26
        height = bottom + 30 + LINE * lines if near else 64
        self.svg = Svg(WIDTH, height, title=self.replay.title, desc=player.said_at(self.version))
        self.svg.text(0, 20, fitted(self.replay.title, WIDTH, 15), size=15, bold=True)
        self.svg.text(0, 40, fitted(self._subtitle(), WIDTH))
        if near:
            self._strip(60)
            self._draw_lanes(near, shown)
            for place, (title, rows) in enumerate(texts.items()):
                self._rows((WIDTH - COLUMN) * place, bottom + 10, title, rows)

    def _near(self) -> Sequence[Frame]:
        first = max(0, min(self.version - 1 - AROUND, len(self.replay) - 2 * AROUND - 1))
        return self.replay.frames[first : first + 2 * AROUND + 1]

    def _subtitle(self) -> str:
        if not self.version:
            return "no events"
        frame = self.replay[self.version]
        word = "version" if self.replay.stream_id is not None else "event"
        error = ", not applied" if frame.error else ""
        return (
            f"{word} {self.version:,} of {len(self.replay):,}: {frame.event.type}{error}, "
            f"{moment_text(frame.event.occurred_at)} UTC"
        )

    # The whole replay.

    def _strip(self, top: float) -> None:
        svg, moments = self.svg, self.player.moments
        places = _places(moments)
        bins = Counter(min(BINS - 1, int(place * BINS)) for place in places)
        highest = max(bins.values())
        base, wide = top + STRIP, WIDTH / BINS
        for index in sorted(bins):
            height = max(2.0, STRIP * bins[index] / highest)
            svg.rect(index * wide, base - height, max(1.0, wide - 1), height, fill=NEUTRAL)
        svg.line(0, base, WIDTH, base)
        for number in self.replay.snapshots:
            x = places[number - 1] * WIDTH
            svg.path(_shape(x, base + 5, ((0, -4), (4, 0), (0, 4), (-4, 0))), fill=NEUTRAL)
        for point in self.player.breakpoints:
            for number in point.versions[:BINS]:
                x = places[number - 1] * WIDTH
                svg.path(_shape(x, top - 4, ((-5, -4), (5, -4), (0, 4))), fill=RETRY)
        failed = next((frame for frame in self.replay if frame.error), None)
        if failed is not None:
            svg.cross(_inside(places[failed.number - 1] * WIDTH, 7), top + 4, 5, stroke=FAILED)
        x = _inside(places[self.version - 1] * WIDTH, 2)
        svg.line(x, top - 6, x, base + 8, stroke=OK, width=3.0)
        svg.text(0, base + 22, moment_text(moments[0]), size=SMALL)
        spread = "events over time" if moments[0] < moments[-1] else "events, all at one moment"
        svg.text(WIDTH / 2, base + 22, spread, size=SMALL, anchor="middle")
        svg.text(WIDTH, base + 22, moment_text(moments[-1]), size=SMALL, anchor="end")

    # The events around the playhead.

    def _draw_lanes(self, near: Sequence[Frame], shown: int) -> None:
        svg, top = self.svg, self.lanes_top
        names = [*self.lanes, *(["other types"] if shown > len(self.lanes) else [])]
        left = min(200.0, max(text_width(name) for name in names)) + 24
        step = (WIDTH - left - 20) / max(AROUND, len(near) - 1)
        for row, name in enumerate(names):
            y = top + LANE * row + LANE / 2
            svg.text(left - 16, y + 4, fitted(name, left - 20), anchor="end")
            svg.line(left, y, WIDTH, y, width=0.5)
        bottom = top + LANE * shown
        for frame in near:
            x = left + 8 + step * (frame.number - near[0].number)
            row = (
                self.lanes.index(frame.event.type) if frame.event.type in self.lanes else shown - 1
            )
            y = top + LANE * row + LANE / 2
            here = frame.number == self.version
            if here:
                svg.line(x, top - 6, x, bottom + 4, stroke=OK, width=1.5)
            if frame.error:
                svg.cross(x, y, 5, stroke=FAILED)
            else:
                svg.circle(x, y, 7 if here else 4.5, fill=OK if here else NEUTRAL)
            if here or (frame.number % 5 == 0 and abs(frame.number - self.version) > 1):
                text = f"{frame.number:,}"
                svg.text(x, bottom + 18, text, size=SMALL, anchor="middle", bold=here)

    # The event, and what it changed.

    def _texts(self, near: Iterable[Frame]) -> dict[str, list[tuple[str, str, str]]]:
        if not near:
            return {}
        frame = self.replay[self.version]
        event = frame.event
        data = [("", f"{name}: {_text(value)}", NEUTRAL) for name, value in event.data.items()]
        if frame.error:
            data.insert(0, ("!", frame.error, FAILED))
        changed: list[tuple[str, str, str]] = [
            (change.mark, _said(change), _COLOURS[change.mark]) for change in frame.changes
        ]
        if not changed:
            known = "it changed nothing" if self.player.has_state else "no state is known"
            changed = [("", known, NEUTRAL)]
        stream = f"{event.stream_id} v{event.version}, " if self.replay.stream_id is None else ""
        return {
            f"{event.type} ({stream}position {event.position:,})": _cut(data, "field"),
            f"State: {counted(len(frame.changes), 'change')}": _cut(changed, "change"),
        }

    def _rows(self, x: float, y: float, title: str, rows: list[tuple[str, str, str]]) -> None:
        self.svg.text(x, y, fitted(title, COLUMN), bold=True)
        for number, (mark, text, colour) in enumerate(rows, 1):
            if mark:
                self.svg.text(x, y + LINE * number, mark, fill=colour, bold=True)
            self.svg.text(x + 16, y + LINE * number, fitted(text, COLUMN - 16))


def _places(moments: Sequence[datetime]) -> list[float]:
    """Return where each event stands between 0 and 1: by time, or by number if there is none."""
    span = moments[-1] - moments[0]
    if span:
        return [(moment - moments[0]) / span for moment in moments]
    return [index / max(1, len(moments) - 1) for index in range(len(moments))]


def _inside(x: float, margin: float) -> float:
    return min(WIDTH - margin, max(margin, x))


def _shape(x: float, y: float, points: Iterable[tuple[float, float]]) -> str:
    x = _inside(x, 5)
    return "M" + "L".join(f"{Svg.number(x + dx)},{Svg.number(y + dy)}" for dx, dy in points) + "Z"


def _cut(rows: list[tuple[str, str, str]], noun: str) -> list[tuple[str, str, str]]:
    if len(rows) <= LINES:
        return rows
    return [
        *rows[: LINES - 1],
        ("", f"… {counted(len(rows) - LINES + 1, f'more {noun}')}", NEUTRAL),
    ]


def _said(change: Change) -> str:
    if change.mark == "~":
        return f"{change.path}: {_text(change.before)} → {_text(change.after)}"
    return f"{change.path}: {_text(change.before if change.mark == '-' else change.after)}"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
