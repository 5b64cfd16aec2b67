"""Where the marks of a saga timeline go: bars, arcs and labels, for whatever draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import pandas as pd

from eslab.views.base import records
from eslab.views.scales import duration_text, unit_of
from eslab.views.theme import COMPENSATION, DONE, FAILED, NEUTRAL, PENDING, RETRY

__all__ = ["Arc", "Bar", "Drawing", "Label", "Style", "drawing"]

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
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt, from `start` to `end` on the axis, in the row of its step."""

    row: int
    start: float
    end: float
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
    """What is written below the bars of one action, in the row of its step."""

    row: int
    x: float
    anchor: Anchor
    text: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """All marks of a timeline.

    Attributes:
        rows: the names of the steps, from above.
        bars: the attempts, in the order in which they began.
        arcs: from each compensation to what it undoes.
        axis: the title of the axis, with its unit.
        span: the end of the axis; it begins at 0.
    """

    rows: tuple[str, ...]
    bars: tuple[Bar, ...]
    arcs: tuple[Arc, ...]
    axis: str
    span: float

    def styles(self) -> list[Style]:
        """Return the styles that occur, in the order of the legend."""
        used = {bar.style for bar in self.bars}
        return [style for style in STYLES.values() if style in used]

    def labels(self, *, letters: int) -> Iterator[Label]:
        """Yield a label for each action; where `letters` fill the whole axis.

        One in the left part of the axis goes on to the right, one in the right part to the left,
        and it ends before the other label of its row.
        """
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


def drawing(attempts: pd.DataFrame, *, steps: Sequence[str]) -> Drawing:
    """Lay out the attempts of a saga.

    Times are counted from the first attempt. Where no time passed at all, as on a virtual clock
    when nothing costs anything, attempts are put side by side in their order.

    Args:
        attempts: a frame as `SagaTimeline.df`.
        steps: the names of the steps, one row each.
    """
    rows = tuple(dict.fromkeys([*steps, *attempts["step"]]))
    found = records(attempts)
    if not found:
        return Drawing(rows, (), (), "no step has begun", 1.0)
    begin = min(record.started_at for record in found)
    latest = max(_end(record) or record.started_at for record in found)
    seconds = (latest - begin).total_seconds()
    unit, length = unit_of(seconds)
    still = any(record.outcome == "running" for record in found)
    span = seconds / length * (1.1 if still else 1.0)

    def x(moment: Any) -> float:
        passed: float = (moment - begin).total_seconds()
        return round(passed / length, 6)

    bars = []
    for index, record in enumerate(found):
        end = _end(record)
        start_x, end_x = x(record.started_at), span if end is None else x(end)
        if not seconds:
            start_x, end_x = float(index), index + 1.0
        took = (
            "not ended" if end is None else duration_text((end - record.started_at).total_seconds())
        )
        bars.append(
            Bar(
                row=rows.index(record.step),
                start=start_x,
                end=end_x,
                style=STYLES[record.kind, record.outcome],
                step=record.step,
                attempt=int(record.attempt),
                order=int(record.order),
                took=took,
                error=record.error if isinstance(record.error, str) else None,
            )
        )
    axis = f"{unit} since the first step began" if seconds else "attempts (no time passed)"
    return Drawing(
        rows, tuple(bars), tuple(_arcs(bars)), axis, round(span if seconds else len(bars), 6)
    )


def _end(record: Any) -> Any:
    return None if pd.isna(record.ended_at) else record.ended_at


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
    if len(group) > 1 or last.style is not STYLES["execute", "completed"]:
        text += f" {last.style.words}"
    if len(group) > 1:
        text += f", {len(group)} attempts"
    return text if last.error is None else f"{text}: {last.error}"


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: max(3, room - 1)]}…"
