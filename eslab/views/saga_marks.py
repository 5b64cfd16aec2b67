"""Where the marks of a saga timeline go: bars, arcs, notes and labels, for whatever draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, Literal

import pandas as pd

from eslab.views.base import records
from eslab.views.folds import Fold, FoldedAxis, folded_axis
from eslab.views.saga_notes import LANES, NoteKind
from eslab.views.scales import duration_text
from eslab.views.theme import COMPENSATION, DONE, FAILED, NEUTRAL, PENDING, RETRY

__all__ = [
    "BREAK",
    "NOTE_WORDS",
    "Arc",
    "Bar",
    "Drawing",
    "Label",
    "Spot",
    "Style",
    "Wait",
    "drawing",
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


@dataclass(frozen=True, slots=True)
class Spot:
    """A note: something at one moment."""

    row: int
    x: float
    mark: NoteKind
    text: str
    detail: str

    @property
    def label(self) -> str:
        """What is written beside it; a timer is named where it is set."""
        if self.mark in ("fired", "cancelled", "wrong", "resumed"):
            return ""
        return f"{self.text} {self.detail}" if self.mark == "set" else self.text


@dataclass(frozen=True, slots=True)
class Arc:
    """From a compensation back to the step that it undoes."""

    row: int
    start: float
    end: float
    completed: bool

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
    """What is written in a row: below its bars (level 0), above them (1), or higher (2)."""

    row: int
    x: float
    anchor: Anchor
    text: str
    level: Literal[0, 1, 2] = 0


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
        for group in _actions(self.bars):
            first, last = group[0], group[-1]
            others = [bar for bar in self.bars if bar.row == last.row and bar.order != last.order]
            text = _label(group)
            left, right = first.start / self.span, last.end / self.span
            before = max((b.end / self.span for b in others if b.end <= first.start), default=0.0)
            behind = min((b.start / self.span for b in others if b.start >= last.end), default=1.0)
            needed = len(text) / letters
            middle = (left + right) / 2
            if middle - needed / 2 >= before and middle + needed / 2 <= behind:
                yield Label(last.row, middle * self.span, "center", text)
            elif behind - left >= right - before:
                room = int((behind - left) * letters)
                yield Label(last.row, first.start, "left", _cut(text, room))
            else:
                room = int((right - before) * letters)
                yield Label(last.row, last.end, "right", _cut(text, room))

    def attempts(self, *, letters: int) -> Iterator[Label]:
        """Yield ``2/3`` for each attempt of an action that has several, where there is room."""
        for group in _actions(self.bars):
            free = -math.inf
            for number, bar in enumerate(group, 1):
                text = f"{number}/{len(group)}"
                width = (len(text) + 1) / letters * self.span
                # An arc that begins or ends at a short bar would cross it.
                arc = any(bar.middle in (arc.start, arc.end) for arc in self.arcs)
                aside = arc and width > bar.middle - bar.start and bar.start - width >= free
                if len(group) > 1 and (bar.start >= free or aside):
                    yield Label(bar.row, bar.start, "right" if aside else "left", text, level=1)
                    free = bar.start if aside else bar.start + width

    def _lane_labels(self, lane: int, letters: int) -> Iterator[Label]:
        """Yield what is written below the spots of a lane, or above where that is full."""
        free: dict[Literal[0, 1, 2], float] = {0: 0.0, 1: 0.0, 2: 0.0}
        at: dict[float, list[str]] = {}
        for spot in self.spots:
            if spot.row == lane and spot.label:
                at.setdefault(spot.x, []).append(spot.label)
        for x, texts in at.items():
            text = ", ".join(texts)
            place = x / self.span * letters
            for level, taken in free.items():
                start = max(taken, min(place - len(text) / 2, letters - len(text)))
                # A text that would stand beside its spot is left to what is shown on hovering.
                if start <= place + 1 and start + len(text) <= letters:
                    yield Label(lane, start / letters * self.span, "left", text, level)
                    free[level] = start + len(text) + 2
                    break


class _Layout:
    """Where moments are drawn: by their time; or by their order, if no time passed at all."""

    def __init__(self, attempts: Sequence[Any], notes: Sequence[Any]) -> None:
        moments = [record.started_at for record in attempts]
        moments += [end for record in attempts if (end := _end(record)) is not None]
        moments += [note.at for note in notes]
        self._begin = min(moments)
        self.seconds = self._since(max(moments))
        still = any(_end(record) is None for record in attempts)
        self._versions = [record.version for record in attempts]
        lengths = [
            (end - record.started_at).total_seconds()
            for record in attempts
            if (end := _end(record)) is not None
        ]
        self._axis: FoldedAxis = folded_axis((self._since(one) for one in moments), lengths)
        self.unit = self._axis.unit
        if self.seconds:
            inner = self._axis.x(self.seconds)
            self.span = round(inner * (1.1 if still else 1.0), 6)
            end = self.seconds + (self.span - inner) * self._axis.length
            self.ticks = tuple(self._axis.ticks(end))
        else:
            self.span = float(max(1, len(attempts)))
            self.ticks = tuple((float(n), str(n)) for n in range(int(self.span) + 1))
        self.folds = self._axis.folds()

    def _since(self, moment: datetime) -> float:
        seconds: float = (moment - self._begin).total_seconds()
        return seconds

    def of_bar(self, index: int, record: Any) -> tuple[float, float]:
        if not self.seconds:
            return float(index), index + 1.0
        end = _end(record)
        start = self._axis.x(self._since(record.started_at))
        return start, self.span if end is None else self._axis.x(self._since(end))

    def of_note(self, note: Any) -> float:
        if not self.seconds:
            return float(sum(version <= note.version for version in self._versions))
        return self._axis.x(self._since(note.at))

    def pieces(self, start: float, end: float) -> tuple[tuple[float, float], ...]:
        inside = [fold.torn for fold in self.folds if start <= fold.start and fold.end <= end]
        edges = [start, *(edge for torn in inside for edge in torn), end]
        return tuple(zip(edges[::2], edges[1::2], strict=True))


def drawing(
    attempts: pd.DataFrame,
    *,
    steps: Sequence[str],
    notes: pd.DataFrame | None = None,
    pivot: str | None = None,
) -> Drawing:
    """Lay out the attempts of a saga, or of the commands of a process manager.

    Times are counted from the first thing that is drawn. Where no time passed at all, as on a
    virtual clock when nothing costs anything, attempts are put side by side in their order. Gaps
    beside which other attempts would not be seen are folded.

    Args:
        attempts: a frame as `SagaTimeline.df`.
        steps: the names of the steps, one row each.
        notes: a frame as `SagaTimeline.notes`.
        pivot: the step behind which there is no way back.
    """
    found = records(attempts)
    marked = [] if notes is None else records(notes)
    used = {note.step for note in marked} if "command" in set(attempts["kind"]) or not steps else ()
    lanes = [lane for lane in LANES if lane in used]
    names = tuple(dict.fromkeys([*steps, *attempts["step"]]))
    if not found and not marked:
        return Drawing(names, (), (), "no step has begun", 1.0)
    rows = {name: len(lanes) + row for row, name in enumerate(names)}
    rows = {lane: row for row, lane in enumerate(lanes)} | rows
    layout = _Layout(found, marked)
    bars = []
    for index, record in enumerate(found):
        start, end = layout.of_bar(index, record)
        bars.append(_bar(record, rows[record.step], start, end, layout.pieces(start, end)))
    spots = [
        Spot(rows[note.step], layout.of_note(note), note.mark, note.text, note.detail)
        for note in marked
        if note.step in rows
    ]
    what = "the first event" if lanes else "the first step began"
    return Drawing(
        rows=(*lanes, *names),
        bars=tuple(bars),
        arcs=tuple(_arcs(bars)),
        axis=f"{layout.unit} since {what}" if layout.seconds else "attempts (no time passed)",
        span=layout.span,
        waits=(*_waits(bars), *_timers(spots, layout.span)),
        spots=tuple(spots),
        folds=layout.folds,
        ticks=layout.ticks,
        pivot=None if pivot is None else rows.get(pivot),
        lanes=len(lanes),
    )


def _bar(
    record: Any, row: int, start: float, end: float, pieces: tuple[tuple[float, float], ...]
) -> Bar:
    ended = _end(record)
    took = "not ended"
    if ended is not None:
        took = duration_text((ended - record.started_at).total_seconds())
    return Bar(
        row=row,
        start=start,
        end=end,
        pieces=pieces,
        style=STYLES[record.kind, record.outcome],
        step=record.step,
        attempt=int(record.attempt),
        order=int(record.order),
        took=took,
        error=record.error if isinstance(record.error, str) else None,
    )


def _end(record: Any) -> Any:
    return None if pd.isna(record.ended_at) else record.ended_at


def _waits(bars: Iterable[Bar]) -> Iterator[Wait]:
    for group in _actions(bars):
        for one, following in pairwise(group):
            if following.start > one.end:
                yield Wait(one.row, one.end, following.start)


def _timers(spots: Iterable[Spot], span: float) -> Iterator[Wait]:
    """Yield how long each timer was set: until it fired, was cancelled, or to the end."""
    begun: dict[str, Spot] = {}
    for spot in spots:
        if spot.mark == "set":
            begun[spot.text] = spot
        elif spot.mark in ("fired", "cancelled"):
            start = begun.pop(spot.text)
            yield Wait(spot.row, start.x, spot.x)
    for spot in begun.values():
        yield Wait(spot.row, spot.x, span)


def _arcs(bars: Iterable[Bar]) -> Iterator[Arc]:
    executed = {bar.row: bar for bar in bars if bar.style is STYLES["execute", "completed"]}
    undoing = {bar.row: bar for bar in bars if bar.style in _UNDOING}
    for row, bar in undoing.items():
        if row in executed:
            done = bar.style is STYLES["compensate", "completed"]
            yield Arc(row, bar.middle, executed[row].middle, done)


_UNDOING: Final = [style for (kind, _), style in STYLES.items() if kind == "compensate"]


def _actions(bars: Iterable[Bar]) -> list[list[Bar]]:
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
    return text if last.error is None else f"{text}: {last.error}"


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: max(3, room - 1)]}…"
