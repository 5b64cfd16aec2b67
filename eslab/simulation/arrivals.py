"""When something arrives: at a constant rate, as a Poisson process, or in bursts.

All chance is `random.Random.random`, whose numbers for a seed are the same in every version of
Python; what is made of them is made here. So a seed stands for the same microseconds everywhere.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Final, Literal

from eslab.errors import InputError
from eslab.words import counted

__all__ = ["Arrival", "Bursts", "Draw", "arrivals", "check_arrivals", "is_number", "process_of"]

MOST_SECONDS: Final = 1e10
"""How long a run is, at most: three hundred years, for its moments are times of the calendar."""

Draw = Callable[[], float]
"""Gives the next random number from 0 to 1, without the 1."""


@dataclass(frozen=True, slots=True)
class Bursts:
    """Arrivals in bursts, with silence between them: the interrupted Poisson process.

    A Poisson process that is switched on for an exponential time, then off for another. It is the
    usual model of bursty traffic, from A. Kuczura, "The Interrupted Poisson Process as an Overflow
    Process", Bell System Technical Journal 52(3), 1973. The times between arrivals have the squared
    coefficient of variation 1 + 2 * size * (1 - 1/peak)^2, where a Poisson process has 1.

    Attributes:
        size: arrivals in a burst, in the mean; from 1.
        peak: the rate inside a burst, as a multiple of the mean rate; above 1. Bursts take
            1/peak of the time.

    Raises:
        InputError: one of them is something else.

    Example:
        >>> times = arrivals(1_000, rate=100, arrival=Bursts(size=50, peak=20), seed=7)
        >>> between = [after - before for before, after in zip(times, times[1:])]
        >>> sorted(between)[500] < 1_000  # a poisson process has 7,000 here
        True
    """

    size: float = 20
    peak: float = 10

    def __post_init__(self) -> None:
        if not (is_number(self.size) and self.size >= 1):
            raise InputError(f"a burst has a size from 1 in the mean, not {self.size!r}")
        if not (is_number(self.peak) and self.peak > 1):
            raise InputError(
                f"the peak of bursts is a multiple of the mean rate, above 1, not {self.peak!r}"
            )

    def between(self, rate: float, draw: Draw) -> Iterator[float]:
        """Yield the times from one arrival to the next, in seconds, from any moment on.

        Args:
            rate: arrivals a second, in the mean over bursts and silence.
            draw: gives the random numbers.
        """
        inside = rate * self.peak
        silence = self.size * (1 - 1 / self.peak) / rate
        # In the long run it is on for 1/peak of the time, and so it is at the beginning.
        gap = 0.0 if draw() * self.peak < 1 else silence * _exponential(draw)
        while True:
            # What comes first, an arrival or the end of the burst; it is that with 1/(1 + size).
            gap += _exponential(draw) / (inside * (1 + 1 / self.size))
            if draw() * (1 + self.size) < 1:
                gap += silence * _exponential(draw)
            else:
                yield gap
                gap = 0.0


Arrival = Literal["poisson", "constant", "bursts"] | Bursts
"""How arrivals follow each other: see `arrivals`."""


def arrivals(count: int, *, rate: float, arrival: Arrival = "poisson", seed: int = 0) -> list[int]:
    """Return when something arrives, in microseconds from the beginning.

    Args:
        count: how many arrivals.
        rate: of them a second, in the mean.
        arrival: ``"constant"``, each so long after the one before; ``"poisson"``, as if by many who
            know nothing of each other: the times between are exponential; or ``"bursts"``, which is
            `Bursts()`, or other `Bursts`: many at once, and then none for long.
        seed: of the random numbers; the same seed gives the same times.

    Raises:
        InputError: there is none, the rate is not above 0, there is no such arrival or no such
            seed, or it all takes too long.

    Example:
        >>> arrivals(3, rate=100, arrival="constant")
        [10000, 20000, 30000]
        >>> arrivals(3, rate=100, arrival="poisson", seed=7)
        [3913, 5548, 16073]
    """
    check_arrivals(count, rate, seed)
    process = process_of(arrival)
    if process == "constant":
        return [round(number * 1e6 / rate) for number in range(1, count + 1)]
    draw = random.Random(seed).random  # noqa: S311 - repeatable, not secret
    between = _poisson(rate, draw) if process == "poisson" else process.between(rate, draw)
    times = list(accumulate(islice(between, count)))
    if not times[-1] <= MOST_SECONDS:  # or it is no number
        raise _too_long(count, rate)
    return [round(at * 1e6) for at in times]


def check_arrivals(count: int, rate: float, seed: int) -> None:
    """Refuse arrivals that cannot be.

    Raises:
        InputError: there is none, the rate is not above 0, they take too long, or that is no seed.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InputError(f"there is at least one arrival, not {count!r}")
    if not (is_number(rate) and rate > 0):
        raise InputError(f"a rate is a number of arrivals a second, above 0, not {rate!r}")
    if count / rate > MOST_SECONDS:
        raise _too_long(count, rate)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(f"seed must be a whole number, not {seed!r}")


def process_of(arrival: Arrival) -> Literal["poisson", "constant"] | Bursts:
    """Return the process that an arrival stands for.

    Raises:
        InputError: it is none.
    """
    if isinstance(arrival, Bursts) or arrival in ("poisson", "constant"):
        return arrival
    if arrival == "bursts":
        return Bursts()
    raise InputError(f"arrival is 'poisson', 'constant', 'bursts' or Bursts(...), not {arrival!r}")


def _too_long(count: int, rate: float) -> InputError:
    return InputError(f"{counted(count, 'arrival')}, {rate!r} a second, take too long to be timed")


def _poisson(rate: float, draw: Draw) -> Iterator[float]:
    while True:
        yield _exponential(draw) / rate


def _exponential(draw: Draw) -> float:
    """Return an exponential random number with the mean 1."""
    return -math.log(1.0 - draw())


def is_number(value: object) -> bool:
    """Say whether something is a finite number."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max
