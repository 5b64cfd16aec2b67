"""A time axis on which long gaps are folded, so that what is short beside them can be seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from eslab.views.scales import duration_text, linear_ticks, unit_of

__all__ = ["Fold", "FoldedAxis", "folded_axis"]

NARROW: Final = 0.03
"""What is shorter than this part of a gap would not be seen beside it."""
MANY: Final = 1 / 3
"""A gap is folded if so many of all bars would not be seen."""
WIDTH: Final = 0.15
"""How wide a fold is drawn, as a part of all that is not folded."""
TOGETHER: Final = 0.6
"""How wide all folds are drawn at most, likewise."""
APART: Final = 0.06
"""How far ticks are apart at least, as a part of the axis."""


@dataclass(frozen=True, slots=True)
class Fold:
    """A piece of the axis that is drawn shorter than it is.

    Attributes:
        start: where it is drawn, in units of the axis.
        end: likewise.
        text: how long it really is.
    """

    start: float
    end: float
    text: str

    @property
    def torn(self) -> tuple[float, float]:
        """The middle of it, where bars are interrupted."""
        width = self.end - self.start
        return round(self.start + 0.3 * width, 6), round(self.end - 0.3 * width, 6)


@dataclass(frozen=True, slots=True)
class FoldedAxis:
    """Where moments are drawn.

    Attributes:
        unit: its name.
        length: of the unit, in seconds.
        folded: the gaps, as pairs of seconds, in order.
        width: how wide each is drawn, in units.
    """

    unit: str
    length: float
    folded: tuple[tuple[float, float], ...] = ()
    width: float = 0.0

    def x(self, seconds: float) -> float:
        """Return where a moment is drawn, in units."""
        x = seconds
        for start, end in self.folded:
            inside = min(max(seconds - start, 0.0), end - start)
            x += inside / (end - start) * (self.width * self.length) - inside
        return round(x / self.length, 6)

    def folds(self) -> tuple[Fold, ...]:
        """Return the folds, as they are drawn."""
        return tuple(
            Fold(self.x(start), self.x(end), duration_text(end - start))
            for start, end in self.folded
        )

    def ticks(self, end: float, *, count: int = 8) -> list[tuple[float, str]]:
        """Return where ticks are, up to a moment, and what is written there: the true time.

        Args:
            end: in seconds.
            count: how many there are at most, about.
        """
        span = self.x(end)
        unfolded = span - self.width * len(self.folded)
        ticks = linear_ticks(unfolded, count=count)
        step = ticks[1] if len(ticks) > 1 else span
        edges = [0.0, *(edge / self.length for fold in self.folded for edge in fold)]
        edges.append(end / self.length)
        found: list[tuple[float, str]] = []
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            number = -int(-(start - 1e-9) // step)
            while number * step <= stop + 1e-9 * max(1.0, stop):
                value = round(number * step, 9)
                x = self.x(value * self.length)
                if not found or x - found[-1][0] >= APART * span:
                    found.append((x, _number(value)))
                number += 1
        return found


def _number(value: float) -> str:
    return f"{value:,.10g}"


def folded_axis(moments: Iterable[float], lengths: Sequence[float]) -> FoldedAxis:
    """Return an axis on which the gaps are folded beside which too much would not be seen.

    Args:
        moments: when anything was, in seconds from the first one: between two of them is a gap.
        lengths: how long bars are, in seconds.

    Example:
        >>> axis = folded_axis([0, 0.1, 30.1, 30.3], [0.1, 30.0, 0.2])
        >>> [fold.text for fold in axis.folds()], axis.unit
        (['30.0 s'], 'ms')
        >>> axis.x(0.1), axis.x(30.1), axis.x(30.3)
        (100.0, 145.0, 345.0)
    """
    ordered = sorted(set(moments))
    span = ordered[-1] - ordered[0] if ordered else 0.0
    seen = [length for length in lengths if length > 0]
    folded = tuple((start, end) for start, end in pairwise(ordered) if _hides(end - start, seen))
    rest = span - sum(end - start for start, end in folded)
    unit, length = unit_of(rest)
    width = rest * min(WIDTH, TOGETHER / len(folded)) / length if folded else 0.0
    return FoldedAxis(unit, length, folded, round(width, 6))


def _hides(gap: float, lengths: Sequence[float]) -> bool:
    narrow = sum(length < NARROW * gap for length in lengths)
    return bool(lengths) and narrow >= MANY * len(lengths)
