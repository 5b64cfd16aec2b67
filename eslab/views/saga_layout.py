"""How a saga timeline is laid out: from a frame of attempts and one of notes to its marks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

import pandas as pd

from eslab.views.base import records
from eslab.views.folds import FoldedAxis, folded_axis
from eslab.views.saga_marks import STYLES, Arc, Bar, Drawing, Spot, Wait, actions
from eslab.views.saga_notes import LANES
from eslab.views.scales import duration_text

__all__ = ["Shown", "drawing"]


@dataclass(frozen=True, slots=True)
class Shown:
    """What is drawn of a saga.

    Attributes:
        attempts: a frame as `SagaTimeline.df`.
        notes: a frame as `SagaTimeline.notes`.
        steps: the names of the steps, one row each.
    """

    attempts: pd.DataFrame
    notes: pd.DataFrame | None
    steps: Sequence[str]

    @property
    def marked(self) -> list[Any]:
        """What is marked beside the attempts."""
        return [] if self.notes is None else records(self.notes)

    @property
    def moments(self) -> list[datetime]:
        """When something began, ended, or is marked."""
        found = records(self.attempts)
        ends = [end for record in found if (end := _end(record)) is not None]
        return [*(record.started_at for record in found), *ends, *(one.at for one in self.marked)]

    @property
    def timeless(self) -> bool:
        """Whether no time passed at all."""
        return len(set(self.moments)) <= 1


class _Layout:
    """Where moments are drawn: by their time; or by their order, if no time passed at all.

    Of several sagas they are drawn on one axis.
    """

    def __init__(self, one: Shown, *others: Shown) -> None:
        every = [one, *others]
        attempts = [record for shown in every for record in records(shown.attempts)]
        moments = [moment for shown in every for moment in shown.moments]
        self._begin = min(moments)
        # Beside one in which time passed, another one would stand in a single place.
        timeless = any(shown.timeless for shown in every)
        self.seconds = 0.0 if timeless else self._since(max(moments))
        still = any(_end(record) is None for record in attempts)
        self._versions = [record.version for record in records(one.attempts)]
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
            self.span = float(max(1, *(len(shown.attempts) for shown in every)))
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

    def of_moment(self, version: int, at: datetime) -> float:
        if not self.seconds:
            begun = sum(one <= version for one in self._versions)
            return float(begun - (version in self._versions))
        return min(max(self._axis.x(self._since(at)), 0.0), self.span)

    def pieces(self, start: float, end: float) -> tuple[tuple[float, float], ...]:
        inside = [fold.torn for fold in self.folds if start <= fold.start and fold.end <= end]
        edges = [start, *(edge for torn in inside for edge in torn), end]
        return tuple(zip(edges[::2], edges[1::2], strict=True))


def drawing(
    shown: Shown,
    *,
    pivot: str | None = None,
    moments: Sequence[tuple[int, datetime]] = (),
    beside: Shown | None = None,
    parting: int | None = None,
) -> Drawing:
    """Lay out the attempts of a saga, or of the commands of a process manager.

    Times are counted from the first thing that is drawn. Where no time passed at all, as on a
    virtual clock when nothing costs anything, attempts are put side by side in their order. Gaps
    beside which other attempts would not be seen are folded.

    Args:
        shown: what is drawn.
        pivot: the step behind which there is no way back.
        moments: the versions of the events of the stream, and when these were recorded.
        beside: what is drawn above or below it, with the same rows and on the same axis.
        parting: the version of the last event that both have in common.
    """
    found, marked = records(shown.attempts), shown.marked
    every = [shown] if beside is None else [shown, beside]
    used = {lane for one in every for lane in _lanes(one)}
    lanes = [lane for lane in LANES if lane in used]
    names = tuple(
        dict.fromkeys(
            [
                *(step for one in every for step in one.steps),
                *(step for one in every for step in one.attempts["step"]),
            ]
        )
    )
    if not found and not marked:
        at = tuple((version, 0.0) for version, _ in moments)
        return Drawing(names, (), (), "no step has begun", 1.0, moments=at)
    rows = {name: len(lanes) + row for row, name in enumerate(names)}
    rows = {lane: row for row, lane in enumerate(lanes)} | rows
    # What nothing was drawn of has no axis.
    layout = _Layout(*(one for one in every if one.moments))
    bars = []
    for index, record in enumerate(found):
        start, end = layout.of_bar(index, record)
        bars.append(_bar(record, rows[record.step], start, end, layout.pieces(start, end)))
    spots = [
        Spot(rows[note.step], layout.of_note(note), note.mark, note.text, note.detail, note.version)
        for note in marked
        if note.step in rows
    ]
    what = "the first event" if lanes else "the first step began"
    places = {version: layout.of_moment(version, at) for version, at in moments}
    return Drawing(
        rows=(*lanes, *names),
        bars=tuple(bars),
        arcs=tuple(_arcs(bars)),
        axis=f"{layout.unit} since {what}" if layout.seconds else _order_words(every),
        span=layout.span,
        waits=(*_waits(bars), *_timers(spots, layout.span)),
        spots=tuple(spots),
        folds=layout.folds,
        ticks=layout.ticks,
        pivot=None if pivot is None else rows.get(pivot),
        lanes=len(lanes),
        moments=tuple(places.items()),
        parting=None if parting is None else places[parting],
    )


def _lanes(shown: Shown) -> Iterator[str]:
    """Yield the lanes that are needed; a saga has none: its notes stand beside its attempts."""
    if "command" in set(shown.attempts["kind"]) or not shown.steps:
        yield from (note.step for note in shown.marked)


def _order_words(every: Iterable[Shown]) -> str:
    passed = not all(shown.timeless for shown in every)
    return f"attempts ({'in their order' if passed else 'no time passed'})"


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
        version=int(record.version),
        ended=None if pd.isna(record.ended_version) else int(record.ended_version),
        kind=record.kind,
    )


def _end(record: Any) -> Any:
    return None if pd.isna(record.ended_at) else record.ended_at


def _waits(bars: Iterable[Bar]) -> Iterator[Wait]:
    for group in actions(bars):
        for one, following in pairwise(group):
            if following.start > one.end:
                yield Wait(one.row, one.end, following.start, following.version)


def _timers(spots: Iterable[Spot], span: float) -> Iterator[Wait]:
    """Yield how long each timer was set: until it fired, was cancelled, or to the end."""
    begun: dict[str, Spot] = {}
    for spot in spots:
        if spot.mark == "set":
            begun[spot.text] = spot
        elif spot.mark in ("fired", "cancelled"):
            start = begun.pop(spot.text)
            yield Wait(spot.row, start.x, spot.x, start.version)
    for spot in begun.values():
        yield Wait(spot.row, spot.x, span, spot.version)


def _arcs(bars: Sequence[Bar]) -> Iterator[Arc]:
    done, undone = STYLES["execute", "completed"], STYLES["compensate", "completed"]
    executed = {bar.row: place for place, bar in enumerate(bars) if bar.style is done}
    undoing = {bar.row: place for place, bar in enumerate(bars) if bar.style in _UNDOING}
    for row, place in undoing.items():
        if row in executed:
            bar, other = bars[place], executed[row]
            yield Arc(row, bar.middle, bars[other].middle, bar.style is undone, place, other)


_UNDOING: Final = [style for (kind, _), style in STYLES.items() if kind == "compensate"]
