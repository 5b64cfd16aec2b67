"""Which types of events are drawn each on its own, and in what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import pandas as pd

from eslab.views.base import records
from eslab.views.theme import HATCHES, NEUTRAL, SERIES

__all__ = ["TypeGroup", "histogram_groups", "ranked_types", "type_groups"]

SHOWN_TYPES: Final = 7


class TypeGroup(NamedTuple):
    """Types that are drawn as one.

    Attributes:
        name: what it is called, and how many events there are.
        types: the types.
        colour: what they are drawn in; a few groups have the same.
        hatch: and with, one of `HATCHES`; each group another one.
    """

    name: str
    types: list[str]
    colour: str
    hatch: str


def ranked_types(counts: Mapping[str, int]) -> list[str]:
    """Return the types, the most frequent first.

    Args:
        counts: how many events there are of each type.
    """
    return sorted(counts, key=lambda name: (-counts[name], name))


def type_groups(counts: Mapping[str, int], ranked: Sequence[str]) -> list[TypeGroup]:
    """Return how types are drawn: the first ones each on its own, the rest as one.

    Args:
        counts: how many events there are of each type.
        ranked: all types, in this order.
    """
    shown, rest = ranked[:SHOWN_TYPES], list(ranked[SHOWN_TYPES:])
    groups = [
        TypeGroup(
            f"{name} ({counts.get(name, 0):,})", [name], SERIES[index % len(SERIES)], HATCHES[index]
        )
        for index, name in enumerate(shown)
    ]
    if rest:
        lumped = sum(counts.get(name, 0) for name in rest)
        groups.append(TypeGroup(f"{len(rest)} other types ({lumped:,})", rest, NEUTRAL, ""))
    return groups


def histogram_groups(histogram: pd.DataFrame) -> list[TypeGroup]:
    """Return how the types in a histogram are drawn.

    Args:
        histogram: a frame with the columns type and count.
    """
    totals: Counter[str] = Counter()
    for row in records(histogram):
        totals[row.type] += row.count
    return type_groups(totals, ranked_types(totals))
