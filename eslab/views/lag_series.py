"""The series of the lag chart: what was measured, and how lag grew in between."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import pandas as pd

from eslab.projections.lag import ProjectionLag
from eslab.views.scales import thinned

__all__ = ["Samples", "head_samples", "samples_of"]

COMPLETE: Final = 1_000
"""A history with fewer rows than this was not thinned: nothing moved between two rows."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What was measured of one projection, in the order of time; the fields are parallel.

    Attributes:
        times: when.
        heads: the last position of the log.
        checkpoints: the last position that the read model held.
        events: how many events waited.
        seconds: the age of the oldest of them.
        complete: no movement between two samples was left out.
    """

    times: list[datetime]
    heads: list[int]
    checkpoints: list[int]
    events: list[int]
    seconds: list[float]
    complete: bool

    def grown(self, *, limit: int) -> list[tuple[datetime, float]]:
        """Return lag in seconds as a line.

        While events wait, lag grows by a second a second; a sample shows it after a checkpoint
        has moved. So the highest value, just before, is added where it is known.
        """
        points: list[tuple[datetime, float]] = []
        for index, (time, seconds) in enumerate(zip(self.times, self.seconds, strict=True)):
            if index and self.complete and self.events[index - 1]:
                waited = (time - self.times[index - 1]).total_seconds()
                highest = round(self.seconds[index - 1] + waited, 6)
                if highest != seconds:
                    points.append((time, highest))
            points.append((time, seconds))
        kept = thinned([seconds for _, seconds in points], limit=limit)
        return [points[index] for index in kept]


def samples_of(
    history: pd.DataFrame, name: str, now: ProjectionLag | None, *, limit: int
) -> Samples:
    """Return the samples of one projection, at most `limit`, with what was measured last.

    Args:
        history: a frame with the columns that `eslab.projections.lag.lag_history` gives.
        name: of the projection.
        now: its lag when it was last measured.
        limit: how many samples are kept, the highest and lowest lags among them.
    """
    rows = history[history["projection"] == name]
    complete = len(rows) < COMPLETE
    lags = [float(value) for value in rows["lag_seconds"]]
    rows = rows.iloc[thinned(lags, limit=limit - 1)]
    samples = Samples(
        times=[moment.to_pydatetime() for moment in rows["time"]],
        heads=[int(value) for value in rows["head"]],
        checkpoints=[int(value) for value in rows["checkpoint"]],
        events=[int(value) for value in rows["lag_events"]],
        seconds=[float(value) for value in rows["lag_seconds"]],
        complete=complete and len(rows) == len(lags),
    )
    if now is not None and samples.times and now.at > samples.times[-1]:
        samples.times.append(now.at)
        samples.heads.append(now.head)
        samples.checkpoints.append(now.checkpoint)
        samples.events.append(now.lag_events)
        samples.seconds.append(now.lag_seconds)
    return samples


def head_samples(history: pd.DataFrame, now: Iterable[ProjectionLag], *, limit: int) -> Samples:
    """Return how the head of the log moved, from the histories of all projections."""
    heads = history[["time", "head"]].drop_duplicates().sort_values(["time", "head"])
    values = [int(value) for value in heads["head"]]
    times = [moment.to_pydatetime() for moment in heads["time"]]
    for lag in now:
        if lag.at > times[-1]:
            times.append(lag.at)
            values.append(lag.head)
    kept = thinned(values, limit=limit)
    zeros = [0] * len(kept)
    return Samples(
        times=[times[index] for index in kept],
        heads=[values[index] for index in kept],
        checkpoints=zeros,
        events=zeros,
        seconds=[0.0] * len(kept),
        complete=False,
    )


def whole_span(history: pd.DataFrame, now: Iterable[ProjectionLag]) -> tuple[datetime, datetime]:
    """Return the first and the last moment that a chart of these shows."""
    first = history["time"].min().to_pydatetime()
    last = max([history["time"].max().to_pydatetime(), *(lag.at for lag in now)])
    return first, max(last, first + timedelta(microseconds=1))
