"""The stream browser as a static picture: how many events of each type occurred when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import pandas as pd

from eslab.views.base import records
from eslab.views.events_types import TypeGroup, histogram_groups
from eslab.views.scales import linear_ticks, time_ticks, width_text
from eslab.views.svg import Svg, fitted, text_width
from eslab.words import counted

__all__ = ["events_picture"]

WIDTH: Final = 860
LEFT: Final = 56
RIGHT: Final = 8
TOP: Final = 44
LEGEND_ROW: Final = 20
NAME: Final = 240
PANEL: Final = 120


def events_picture(histogram: pd.DataFrame, *, width: timedelta, desc: str) -> str:
    """Return the histogram as SVG.

    Args:
        histogram: a frame with the columns start, type and count, in the order of start.
        width: of its bins.
        desc: what the picture shows, for those who do not see it.
    """
    if histogram.empty:
        svg = Svg(WIDTH, 30, title="Events over time", desc=desc)
        svg.text(0, 20, "No event matches.")
        return str(svg)
    groups = histogram_groups(histogram)
    names = list(_placed(groups))
    top = TOP + names[-1][1] + LEGEND_ROW
    svg = Svg(WIDTH, top + PANEL + 44, title="Events over time", desc=desc)
    total = counted(int(histogram["count"].sum()), "event")
    svg.text(0, 20, f"{total} over time", size=15, bold=True)
    for group, (x, y) in zip(groups, names, strict=True):
        svg.rect(x, TOP - 10 + y, 12, 12, fill=_fill(svg, group))
        svg.text(x + 18, TOP + y, fitted(group.name, NAME))
    _bars(svg, histogram, groups, width, top)
    return str(svg)


def _placed(groups: Sequence[TypeGroup]) -> Iterator[tuple[float, float]]:
    """Yield where the name of each group stands: side by side, in as many rows as that takes."""
    x = y = 0.0
    for group in groups:
        needed = 18 + min(NAME, text_width(group.name)) + 16
        if x + needed > WIDTH:
            x, y = 0.0, y + LEGEND_ROW
        yield x, y
        x += needed


def _bars(
    svg: Svg, histogram: pd.DataFrame, groups: Sequence[TypeGroup], width: timedelta, top: float
) -> None:
    """Draw a bar a bin, in which the most frequent type is lowest, and what one reads them by."""
    place = {name: index for index, group in enumerate(groups) for name in group.types}
    counts: Counter[tuple[datetime, int]] = Counter()
    totals: Counter[datetime] = Counter()
    for row in records(histogram):
        start = row.start.to_pydatetime()
        counts[start, place[row.type]] += row.count
        totals[start] += row.count
    first, bottom = min(totals), top + PANEL
    bins = (max(totals) - first) // width + 1
    step = (WIDTH - LEFT - RIGHT) / bins
    scale = PANEL / max(totals.values())
    for tick in filter(float.is_integer, linear_ticks(max(totals.values()), count=3)):
        y = bottom - scale * tick
        svg.line(LEFT, y, WIDTH - RIGHT, y, width=0.4)
        svg.text(LEFT - 8, y + 4, f"{tick:,g}", anchor="end")
    floor: Counter[datetime] = Counter()
    for (start, index), count in sorted(counts.items()):
        floor[start] += count
        svg.rect(
            LEFT + (start - first) // width * step + 0.5,
            bottom - scale * floor[start],
            max(1.0, step - 1),
            scale * count,
            fill=_fill(svg, groups[index]),
        )
    _times(svg, first, width * bins, bottom)
    said = f"events in {width_text(width)}, by when they occurred (UTC, from {first:%Y-%m-%d})"
    svg.text((LEFT + WIDTH - RIGHT) / 2, bottom + 38, said, anchor="middle")


def _times(svg: Svg, first: datetime, span: timedelta, bottom: float) -> None:
    # The last bin may end when there are no years any more.
    end = first + min(span, datetime.max.replace(tzinfo=UTC) - first)
    for moment, label in time_ticks(first, end, count=8):
        x = LEFT + (WIDTH - LEFT - RIGHT) * ((moment - first) / span)
        svg.line(x, bottom, x, bottom + 5)
        centre = min(x, WIDTH - text_width(label) / 2)
        svg.text(centre, bottom + 18, label, anchor="middle")


def _fill(svg: Svg, group: TypeGroup) -> str:
    return svg.hatch(group.colour, group.hatch) if group.hatch else group.colour
