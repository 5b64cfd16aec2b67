"""What if: events that queue before a projection, on a clock that nobody waits for.

The projection is a queue with one server that takes what waits in batches. Only times matter here:
no event is made and none is stored, so that a hundred thousand of them take a moment. The lag over
time is, to the microsecond, that of a lab in which such a projection runs on the virtual clock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from eslab.clock import VIRTUAL_START, as_utc
from eslab.errors import InputError
from eslab.projections import Cost
from eslab.projections.lag import ROWS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Outage", "QueueRun", "run_queue"]

_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which the projection is paused: it begins nothing, and commits nothing.

    A batch that would have been committed in this time is lost, and begun again at its end.

    Attributes:
        start: when it begins, from the beginning of the run.
        duration: how long it takes.
    """

    start: timedelta
    duration: timedelta

    def __post_init__(self) -> None:
        if self.start < timedelta(0) or self.duration < timedelta(0):
            raise InputError(
                f"an outage begins at 0 or later and takes 0 or longer, not "
                f"({self.start}, {self.duration})"
            )


@dataclass(frozen=True, slots=True)
class QueueRun:
    """What became of events that queued before a projection.

    Times are whole microseconds from the beginning of the run.

    Attributes:
        arrived: when each event was appended.
        begun: when each batch that was committed began.
        committed: and when it was.
        checkpoints: how many events were applied then.
        load: the time that full batches need, for a second of appends: append rate * cost of a
            full batch / its size. The queue is stable if this is below 1.
        batch: events in a batch, at most.
    """

    arrived: Sequence[int]
    begun: Sequence[int]
    committed: Sequence[int]
    checkpoints: Sequence[int]
    load: float
    batch: int

    @property
    def rate(self) -> float:
        """How many events a second were appended."""
        return _rate(self.arrived) * 1e6

    @property
    def capacity(self) -> float:
        """How many events a second full batches apply; infinite, if they cost nothing."""
        return self.rate / self.load if self.load else float("inf")

    @property
    def md1_wait_seconds(self) -> float:
        """The mean wait of single events that arrive at random: load / (2 capacity (1 - load)).

        It is the formula of Pollaczek and Khinchine for one server and a constant service.
        """
        return self.load / (2 * self.capacity * (1 - self.load)) if self.stable else float("inf")

    @property
    def stable(self) -> bool:
        """Whether the queue stays finite however long events are appended: the load is below 1."""
        return self.load < 1

    @property
    def utilisation(self) -> float:
        """The part of the time, from the beginning to the last commit, that went into batches."""
        if not self.committed[-1]:
            return 0.0
        busy = sum(self.committed) - sum(self.begun)
        return round(busy / self.committed[-1], 6)

    @property
    def mean_wait_seconds(self) -> float:
        """The mean time from an event's append to the beginning of its batch."""
        return self._mean_since_arrival(self.begun)

    @property
    def mean_latency_seconds(self) -> float:
        """The mean time from an event's append to the commit of its batch."""
        return self._mean_since_arrival(self.committed)

    @property
    def mean_queue(self) -> float:
        """The mean of lag_events over the time from the beginning to the last commit."""
        if not self.committed[-1]:
            return 0.0
        # An event is part of the lag from its append to its commit (this is Little's law).
        return round(self._since_arrival(self.committed) / self.committed[-1], 6)

    @property
    def max_queue(self) -> int:
        """The highest lag_events."""
        return self._peak[1]

    @property
    def drain_seconds(self) -> float:
        """The time from when lag_events first was at its highest until there was no lag."""
        at, _ = self._peak
        caught_up = np.asarray(self.checkpoints) >= np.searchsorted(
            np.asarray(self.arrived), np.asarray(self.committed), side="right"
        )
        ends = np.asarray(self.committed)[caught_up]
        return float(round((int(ends[np.searchsorted(ends, at)]) - at) / 1e6, 6))

    def history(
        self, projection: str, *, start: datetime = VIRTUAL_START, rows: int = ROWS
    ) -> pd.DataFrame:
        """Return the lag over time, as `eslab.projections.lag_history` returns that of a lab.

        Args:
            projection: what to call it.
            start: the beginning of the run.
            rows: how many of them, at most.
        """
        import pandas as pd

        cuts = _thinned(self._cuts(rows=rows), rows=rows)
        first = (as_utc(start) - datetime.fromisoformat("1970-01-01T00:00:00Z")) // _MICROSECOND
        times = pd.to_datetime(cuts["time"] + first, unit="us", utc=True).astype(
            "datetime64[us, UTC]"
        )
        return pd.DataFrame(
            {
                "projection": pd.Series([projection] * len(times), dtype="str"),
                "time": times,
                **{name: cuts[name] for name in ("head", "checkpoint", "lag_events")},
                "lag_seconds": cuts["lag_us"] / 1e6,
            }
        )

    def _since_arrival(self, ends: Sequence[int]) -> int:
        """Return the sum of the times from each event's append to the end that its batch has."""
        sizes = np.diff(np.asarray(self.checkpoints), prepend=0)
        return int(np.dot(sizes, np.asarray(ends)) - np.sum(np.asarray(self.arrived)))

    def _mean_since_arrival(self, ends: Sequence[int]) -> float:
        return round(self._since_arrival(ends) / len(self.arrived) / 1e6, 6)

    @property
    def _peak(self) -> tuple[int, int]:
        """When lag_events first was at its highest, and how high that was."""
        cuts = self._cuts(rows=len(self.arrived))
        place = int(np.argmax(cuts["lag_events"]))
        return int(cuts["time"][place]), int(cuts["lag_events"][place])

    def _cuts(self, *, rows: int) -> dict[str, Any]:
        """Return what held at each append, and just before and just after each commit.

        Of more appends than rows it is the last one of each piece of time, as in a lab.
        """
        arrived, committed = np.asarray(self.arrived), np.asarray(self.committed)
        length = (int(arrived[-1]) - int(arrived[0])) // (rows // 3) + 1
        pieces = (arrived - arrived[0]) // (1 if len(arrived) <= rows else length)
        lasts = arrived[np.flatnonzero(np.diff(pieces, append=pieces[-1] + 1))]
        times = np.union1d(np.union1d(lasts, arrived[:1]), committed)
        time = np.concatenate([times, committed])
        seen = np.concatenate([times, committed - 1])
        # Commits that cost nothing may share a moment.
        order = np.unique(np.stack([time, seen]), axis=1)
        time, seen = order[0], order[1]
        head = np.searchsorted(arrived, seen, side="right")
        reached = np.concatenate([[0], np.asarray(self.checkpoints)])
        checkpoint = reached[np.searchsorted(committed, seen, side="right")]
        lag = np.maximum(0, head - checkpoint)
        oldest = arrived[np.minimum(checkpoint, len(arrived) - 1)]
        lag_us = np.where(lag > 0, np.maximum(0, time - oldest), 0)
        return {
            "time": time,
            "head": head,
            "checkpoint": checkpoint,
            "lag_events": lag,
            "lag_us": lag_us,
        }


def run_queue(
    arrived: Sequence[int], *, cost: Cost, batch: int, outage: Outage | None = None
) -> QueueRun:
    """Let a projection work until it has applied all events.

    It takes what waits, up to a full batch, when it is free; and commits when that has taken its
    time, and only then looks again. An event that is appended at the moment of a commit is in the
    batch after the next look, as in a lab where the clock is moved to that moment and then the
    event is appended.

    Args:
        arrived: when events are appended, in microseconds from the beginning, in this order; see
            `eslab.simulation.arrivals.arrivals`.
        cost: of its work.
        batch: events in a batch, at most.
        outage: a time in which it commits nothing.

    Raises:
        InputError: there is no event, or the batch is not a number from 1.

    Example:
        >>> cost = Cost(batch=timedelta(milliseconds=2), event=timedelta(milliseconds=1))
        >>> run = run_queue([0, 1_000, 1_000], cost=cost, batch=10)
        >>> list(zip(run.begun, run.committed, run.checkpoints))
        [(0, 3000, 1), (3000, 7000, 3)]
        >>> run.max_queue, run.drain_seconds
        (3, 0.006)
    """
    if not arrived:
        raise InputError("a queue needs at least one event")
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise InputError(f"batch is a number from 1, not {batch!r}")
    for_batch, for_event = cost.batch // _MICROSECOND, cost.event // _MICROSECOND
    down, up = _span(outage)
    begun, committed, checkpoints = [], [], []
    free = done = 0
    while done < len(arrived):
        # What is appended in this very moment comes after the look, unless it is what woke it.
        known = bisect_left(arrived, free, done)
        begin = free
        if known == done:
            begin = arrived[done]
            known = bisect_right(arrived, begin, done)
        if down <= begin < up:
            free = up
            continue
        size = min(batch, known - done)
        end = begin + for_batch + size * for_event
        if begin < down < end <= up:
            free = up
            continue
        free, done = end, done + size
        begun.append(begin)
        committed.append(end)
        checkpoints.append(done)
    load = _rate(arrived) * (for_batch + batch * for_event) / batch
    return QueueRun(arrived, begun, committed, checkpoints, round(load, 6), batch)


def _span(outage: Outage | None) -> tuple[int, int]:
    """Return where an outage begins and ends; without one both are before everything."""
    if outage is None:
        return -1, -1
    start = outage.start // _MICROSECOND
    return start, start + outage.duration // _MICROSECOND


def _rate(arrived: Sequence[int]) -> float:
    """Return how many events a microsecond were appended, from the beginning on."""
    return len(arrived) / max(1, arrived[-1])


def _thinned(cuts: dict[str, Any], *, rows: int) -> dict[str, Any]:
    """Leave out rows as the history of a lab does: the highest and lowest of pieces are kept."""
    total = len(cuts["time"])
    if total <= rows:
        return cuts
    number = np.arange(1, total + 1)
    piece = number * (rows // 3 - 1) // (total + 1)
    kept = {total - 1}
    for key in (-cuts["lag_us"], -cuts["lag_events"], cuts["lag_us"]):
        order = np.lexsort((number, key, piece))
        firsts = np.flatnonzero(np.diff(piece[order], prepend=-1))
        kept.update(order[firsts].tolist())
    places = np.array(sorted(kept))
    return {name: values[places] for name, values in cuts.items()}
