"""The verdict ribbon of the lag chart: a letter for each verdict, and how long each held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from eslab.projections.incidents import IncidentKind
from eslab.projections.verdict import VerdictName
from eslab.projections.verdicts import Ruling
from eslab.views.theme import COMPENSATION, DONE, FAILED, NEUTRAL, PENDING, RETRY

__all__ = ["INCIDENTS", "LOOKS", "Look", "VerdictSpan", "key_of", "verdict_spans"]


class Look(NamedTuple):
    """How a verdict is drawn: a letter, a colour, and whether it is hatched."""

    letter: str
    colour: str
    hatched: bool = False


LOOKS: Final[dict[VerdictName, Look]] = {
    "OK": Look("O", DONE),
    "WARN": Look("W", RETRY),
    "STALLED": Look("S", COMPENSATION, hatched=True),
    "STOPPED": Look("X", FAILED),
    "REWIND": Look("R", NEUTRAL, hatched=True),
    "REPLAYING": Look("P", PENDING, hatched=True),
}
"""No two have the same letter, nor the same colour."""

INCIDENTS: Final[dict[IncidentKind, str]] = {
    "rebuild": "diamond-open",
    "dead letter": "x-thin-open",
    "pause": "line-ns-open",
}
"""The symbols of plotly for what happened beside the batches."""


@dataclass(frozen=True, slots=True)
class VerdictSpan:
    """A time in which the verdict on a projection was the same.

    Attributes:
        projection: its name.
        start: where it begins.
        end: the last moment at which the projection was judged so.
        verdict: its name.
        rule: the rule that decided.
    """

    projection: str
    start: datetime
    end: datetime
    verdict: VerdictName
    rule: str


def verdict_spans(
    rulings: Iterable[Ruling], *, starts: Mapping[str, datetime]
) -> list[VerdictSpan]:
    """Return how long each verdict held; what was judged at a moment held since the one before it.

    Args:
        rulings: by projection and time.
        starts: where the history of each projection begins.

    Example:
        >>> start = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
        >>> times = [start.replace(minute=minute) for minute in (1, 2, 3)]
        >>> rulings = [Ruling("delays", time, "OK", "no lag", 9, 9, 0, 0.0) for time in times]
        >>> (span,) = verdict_spans(rulings, starts={"delays": start})
        >>> f"{span.verdict} from {span.start:%H:%M} to {span.end:%H:%M}"
        'OK from 00:00 to 00:03'
    """
    spans: list[VerdictSpan] = []
    for ruling in rulings:
        last = spans[-1] if spans and spans[-1].projection == ruling.projection else None
        start = min(starts[ruling.projection] if last is None else last.end, ruling.time)
        if last is not None and last.verdict == ruling.verdict:
            start = spans.pop().start
        spans.append(
            VerdictSpan(ruling.projection, start, ruling.time, ruling.verdict, ruling.rule)
        )
    return spans


def key_of(spans: Iterable[VerdictSpan]) -> str:
    """Return what the letters mean that occur.

    Example:
        >>> moment = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
        >>> key_of([VerdictSpan("delays", moment, moment, "WARN", "lag never falls")])
        'W WARN'
    """
    found = {span.verdict for span in spans}
    return ", ".join(f"{look.letter} {name}" for name, look in LOOKS.items() if name in found)
