"""Where the marks of a saga timeline go: bars, arcs, notes and labels, for whatever draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from eslab.views.folds import Fold
from eslab.views.saga_notes import NoteKind
from eslab.views.theme import COMPENSATION, DONE, FAILED, NEUTRAL, PENDING, RETRY
from eslab.words import one_line, shortened

__all__ = [
    "BREAK",
    "NOTE_WORDS",
    "PARTING",
    "STYLES",
    "Arc",
    "Bar",
    "Drawing",
    "Label",
    "Spot",
    "Style",
    "Wait",
    "actions",
]

Anchor = Literal["left", "center", "right"]


@dataclass(frozen=True, slots=True)
class Style:
    """How an attempt looks, by its kind and outcome; the hatching tells what colour may not."""

    words: str
    colour: str
    hatch: str
    opacity: float = 1.0


STYLES: Final = {
    ("execute", "completed"): Style("executed", DONE, ""),
    ("execute", "failed"): Style("failed", FAILED, "", 0.6),
    ("execute", "timed out"): Style("not answered in time", RETRY, "x"),
    ("execute", "superseded"): Style("superseded", NEUTRAL, "x"),
    ("execute", "running"): Style("running", PENDING, "."),
    ("compensate", "completed"): Style("undone", COMPENSATION, "/"),
    ("compensate", "failed"): Style("undoing failed", FAILED, "/"),
    ("compensate", "timed out"): Style("undoing not answered in time", RETRY, "/"),
    ("compensate", "superseded"): Style("undoing superseded", NEUTRAL, "/"),
    ("compensate", "running"): Style("being undone", PENDING, "/"),
    ("command", "delivered"): Style("carried out", DONE, ""),
    ("command", "refused"): Style("refused", FAILED, "", 0.6),
    ("command", "failed"): Style("failed", FAILED, "x"),
    ("command", "timed out"): Style("not answered in time", RETRY, "x"),
    ("command", "running"): Style("on its way", PENDING, "."),
    ("command", "waiting"): Style("waits for the one before it", NEUTRAL, "."),
}

_PLAIN: Final = (STYLES["execute", "completed"], STYLES["command", "delivered"])
"""What went as it should, and needs no word."""

BREAK: Final = "//"
"""What says on the axis that it is folded."""

PARTING: Final = "here they part"
"""What says where two timelines go different ways."""

NOTE_WORDS: Final[dict[NoteKind, str]] = {
    "received": "event",
    "parked": "event, parked",
    "not handled": "event, not handled",
    "set": "timer set",
    "fired": "timer fired",
    "cancelled": "timer cancelled",
    "timeout": "deadline",
    "late": "late answer",
    "resumed": "resumed",
    "wrong": "should not be",
}
"""What the legend says about each kind of note, in its order."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt, from `start` to `end` on the axis, in the row of its step.

    Attributes:
        row: counts from above.
        start: in units of the axis.
        end: likewise.
        pieces: the same in pieces, if the axis is folded in between.
        style: how it looks.
        step: whose attempt it is.
        attempt: counts from 1.
        order: of its action: when that began.
        took: how long it really took.
        error: why it failed.
        version: of the event that began it.
        ended: of the event that ended it.
        kind: whether a step is executed or undone, or a command carried out.
    """

    row: int
    start: float
    end: float
    pieces: tuple[tuple[float, float], ...]
    style: Style
    step: str
    attempt: int
    order: int
    took: str
    error: str | None
    version: int = 0
    ended: int | None = None
    kind: str = "execute"

    @property
    def middle(self) -> float:
        """Halfway between start and end."""
        return (self.start + self.end) / 2


@dataclass(frozen=True, slots=True)
class Wait:
    """Time in which nothing was tried: between two attempts; or for which a timer was set."""

    row: int
    start: float
    end: float
    version: int = 0


@dataclass(frozen=True, slots=True)
class Spot:
    """A note: something at one moment; the event of that version says so."""

    row: int
    x: float
    mark: NoteKind
    text: str
    detail: str
    version: int = 0

    @property
    def label(self) -> str:
        """What is written beside it; a timer is named where it is set."""
        if self.mark in ("fired", "cancelled", "wrong", "resumed"):
            return ""
        return f"{self.text} {self.detail}" if self.mark == "set" else self.text


@dataclass(frozen=True, slots=True)
class Arc:
    """From a compensation back to the step that it undoes; the bars of both are given by place."""

    row: int
    start: float
    end: float
    completed: bool
    undoing: int = 0
    undone: int = 0

    def points(self, *, top: float, height: float, count: int = 24) -> list[tuple[float, float]]:
        """Return points along half an ellipse above the row, in rows from above.

        Args:
            top: how far above the middle of the row it begins and ends.
            height: how far it rises above that.
            count: how many pieces it has.
        """
        middle, radius = (self.start + self.end) / 2, (self.start - self.end) / 2
        angles = [math.pi * step / count for step in range(count + 1)]
        return [
            (
                round(middle + radius * math.cos(angle), 6),
                round(self.row - top - height * math.sin(angle), 6),
            )
            for angle in angles
        ]


@dataclass(frozen=True, slots=True)
class Label:
    """What is written in a row: below its bars (level 0), above them (1), or higher (2).

    The event of that version is the last one that it tells of.
    """

    row: int
    x: float
    anchor: Anchor
    text: str
    level: Literal[0, 1, 2] = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class Drawing:
    """All marks of a timeline.

    Attributes:
        rows: the names of the steps, from above; above them lanes of events and timers.
        bars: the attempts, in the order in which they began.
        arcs: from each compensation to what it undoes.
        axis: the title of the axis, with its unit.
        span: the end of the axis; it begins at 0.
        waits: between attempts, and for timers.
        spots: what is marked beside that.
        folds: where the axis is folded.
        ticks: where ticks are, and what is written there.
        pivot: the row behind which there is no way back.
        lanes: how many rows are no steps.
        moments: where each event of the stream is, by its version.
        parting: where it parts from another one that is drawn beside it.
    """

    rows: tuple[str, ...]
    bars: tuple[Bar, ...]
    arcs: tuple[Arc, ...]
    axis: str
    span: float
    waits: tuple[Wait, ...] = ()
    spots: tuple[Spot, ...] = ()
    folds: tuple[Fold, ...] = ()
    ticks: tuple[tuple[float, str], ...] = ()
    pivot: int | None = None
    lanes: int = 0
    moments: tuple[tuple[int, float], ...] = ()
    parting: float | None = None

    def styles(self) -> list[Style]:
        """Return the styles that occur, in the order of the legend."""
        used = {bar.style for bar in self.bars}
        return [style for style in dict.fromkeys(STYLES.values()) if style in used]

    def notes(self) -> list[NoteKind]:
        """Return the kinds of notes that occur, in the order of the legend."""
        used = {spot.mark for spot in self.spots}
        return [mark for mark in NOTE_WORDS if mark in used]

    def labels(self, *, letters: int) -> Iterator[Label]:
        """Yield a label for each action, event and timer; where `letters` fill the whole axis.

        One in the left part of the axis goes on to the right, one in the right part to the left,
        and it ends before the other label of its row.
        """
        for lane in range(self.lanes):
            yield from self._lane_labels(lane, letters)
        for group in actions(self.bars):
            first, last = group[0], group[-1]
            others = [bar for bar in self.bars if bar.row == last.row and bar.order != last.order]
            text = _label(group)
            left, right = first.start / self.span, last.end / self.span
            before = max((b.end / self.span for b in others if b.end <= first.start), default=0.0)
            behind = min((b.start / self.span for b in others if b.start >= last.end), default=1.0)
            needed = len(text) / letters
            middle = (left + right) / 2
            version = last.version if last.ended is None else last.ended
            if middle - needed / 2 >= before and middle + needed / 2 <= behind:
                x = middle * self.span
                yield Label(last.row, x, "center", text, version=version)
            elif behind - left >= right - before:
                text = shortened(text, max(4, int((behind - left) * letters)))
                yield Label(last.row, first.start, "left", text, version=version)
            else:
                text = shortened(text, max(4, int((right - before) * letters)))
                yield Label(last.row, last.end, "right", text, version=version)

    def attempts(self, *, letters: int) -> Iterator[Label]:
        """Yield ``2/3`` for each attempt of an action that has several, where there is room."""
        for group in actions(self.bars):
            free = -math.inf
            for number, bar in enumerate(group, 1):
                text = f"{number}/{len(group)}"
                letter = self.span / letters
                width = (len(text) + 1) * letter
                # An arc that begins or ends at a short bar would cross it: it comes from the right
                # to what is undone, and goes to the left from what undoes it.
                short = width > bar.middle - bar.start
                undone = short and any(bar.middle == arc.end for arc in self.arcs)
                undoing = short and any(bar.middle == arc.start for arc in self.arcs)
                aside = undone and bar.start - width >= free
                x = bar.middle + letter if undoing else bar.start
                if len(group) > 1 and (x >= free or aside):
                    anchor: Anchor = "right" if aside else "left"
                    yield Label(bar.row, x, anchor, text, 1, bar.version)
                    free = x if aside else x + width

    def _lane_labels(self, lane: int, letters: int) -> Iterator[Label]:
        """Yield what is written below the spots of a lane, or above where that is full."""
        free: dict[Literal[0, 1, 2], float] = {0: 0.0, 1: 0.0, 2: 0.0}
        at: dict[float, list[Spot]] = {}
        for spot in self.spots:
            if spot.row == lane and spot.label:
                at.setdefault(spot.x, []).append(spot)
        for x, spots in at.items():
            text = ", ".join(spot.label for spot in spots)
            place = x / self.span * letters
            for level, taken in free.items():
                start = max(taken, min(place - len(text) / 2, letters - len(text)))
                # A text that would stand beside its spot is left to what is shown on hovering.
                if start <= place + 1 and start + len(text) <= letters:
                    left = start / letters * self.span
                    yield Label(lane, left, "left", text, level, spots[-1].version)
                    free[level] = start + len(text) + 2
                    break


def actions(bars: Iterable[Bar]) -> list[list[Bar]]:
    """Return the attempts of each action together, in the order in which the actions began."""
    groups: dict[int, list[Bar]] = {}
    for bar in bars:
        groups.setdefault(bar.order, []).append(bar)
    return list(groups.values())


def _label(group: Sequence[Bar]) -> str:
    last = group[-1]
    text = str(last.order)
    if len(group) > 1 or last.style not in _PLAIN:
        text += f" {last.style.words}"
    if len(group) > 1:
        text += f", {len(group)} attempts"
    return text if last.error is None else f"{text}: {one_line(last.error)}"
