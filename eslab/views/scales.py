"""Where ticks go, how durations are said, and which points of a long series are drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = [
    "NICE_STEPS",
    "axis_time",
    "clock_text",
    "duration_text",
    "linear_part",
    "linear_ticks",
    "moment_text",
    "nice_step",
    "symlog",
    "symlog_ticks",
    "thinned",
    "time_ticks",
    "unit_of",
    "width_text",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = 1_000_000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR

_STEPS: Final = (
    *(mantissa * 10**power for power in range(6) for mantissa in (1, 2, 5)),
    *(_SECOND * count for count in (1, 2, 5, 10, 15, 30)),
    *(_MINUTE * count for count in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * count for count in (1, 2, 3, 6, 12)),
    *(_DAY * count for count in (1, 2, 7, 14, 28, 91, 182, 365)),
)
NICE_STEPS: Final = (
    *(timedelta(microseconds=step) for step in _STEPS),
    *(timedelta(days=365 * years) for years in range(2, 201)),
)
"""The steps that a clock or calendar knows, up to centuries."""


def nice_step(span: timedelta, *, count: int) -> timedelta:
    """Return the smallest step that a clock or calendar knows and that `count` of fill a span.

    Example:
        >>> nice_step(timedelta(hours=1), count=10)
        datetime.timedelta(seconds=600)
    """
    wanted = span / timedelta(microseconds=max(1, count))
    years = _STEPS[-1] * max(1, math.ceil(wanted / _STEPS[-1]))
    return timedelta(microseconds=next((step for step in _STEPS if step >= wanted), years))


def time_ticks(start: datetime, end: datetime, *, count: int = 7) -> list[tuple[datetime, str]]:
    """Return round moments between two, at most about `count`, and what to write at each.

    Example:
        >>> start = datetime(2026, 1, 1, 12, 7, tzinfo=UTC)
        >>> [label for _, label in time_ticks(start, start + timedelta(hours=1), count=4)]
        ['12:15', '12:30', '12:45', '13:00']
    """
    step = nice_step(end - start, count=count)
    places = range(-((_EPOCH - start) // step), (end - _EPOCH) // step + 1)
    moments = [_EPOCH + place * step for place in places]
    return [(moment, clock_text(moment, step)) for moment in moments]


def clock_text(moment: datetime, step: timedelta) -> str:
    """Return a moment as precisely as ticks at this step need it.

    Example:
        >>> clock_text(datetime(2026, 1, 1, 12, 7, 3, tzinfo=UTC), timedelta(seconds=1))
        '12:07:03'
    """
    if step >= timedelta(days=1):
        return f"{moment:%Y-%m-%d}"
    if step >= timedelta(minutes=1):
        return f"{moment:%H:%M}" if moment.hour or moment.minute else f"{moment:%m-%d %H:%M}"
    if step >= timedelta(seconds=1):
        return f"{moment:%H:%M:%S}"
    digits = next(d for d in range(1, 7) if step % timedelta(microseconds=10 ** (6 - d)) == _ZERO)
    return f"{moment:%H:%M:%S}.{moment.microsecond:06d}"[: 9 + digits]


_ZERO: Final = timedelta(0)


def axis_time(moment: datetime) -> str:
    """Return a moment in UTC as plotly reads it, without zeros that say nothing.

    Example:
        >>> axis_time(datetime(2026, 1, 1, 12, 7, 3, 250_000, tzinfo=UTC))
        '2026-01-01T12:07:03.25'
    """
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}".rstrip("0").rstrip(".")


def moment_text(moment: datetime) -> str:
    """Return a moment in UTC as a person reads it.

    Example:
        >>> moment_text(datetime(2026, 1, 1, 12, 7, tzinfo=UTC))
        '2026-01-01 12:07:00'
    """
    return axis_time(moment).replace("T", " ")


def linear_ticks(high: float, *, count: int = 5) -> list[float]:
    """Return round numbers from 0 to `high`, at most about `count`.

    Example:
        >>> linear_ticks(2483)
        [0.0, 500.0, 1000.0, 1500.0, 2000.0]
    """
    if high <= 0:
        return [0.0]
    wanted = high / count
    power = 10.0 ** math.floor(math.log10(wanted))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= wanted * (1 - 1e-9))
    return [round(step * index, 9) for index in range(int(high / step + 1e-9) + 1)]


_MARKED: Final = (
    *((1e-5, "10 µs"), (1e-4, "100 µs"), (1e-3, "1 ms"), (1e-2, "10 ms"), (1e-1, "100 ms")),
    *((1.0, "1 s"), (10.0, "10 s"), (60.0, "1 min"), (600.0, "10 min"), (3600.0, "1 h")),
    *((36_000.0, "10 h"), (86_400.0, "1 d"), (864_000.0, "10 d"), (8_640_000.0, "100 d")),
)


def symlog(seconds: float, *, linear: float) -> float:
    """Return where a duration stands on an axis that is logarithmic, but for what is near 0.

    Args:
        seconds: the duration.
        linear: up to about this many seconds the axis is linear.

    Example:
        >>> [round(symlog(value, linear=0.001), 2) for value in (0, 0.001, 1, 3600)]
        [0.0, 0.3, 3.0, 6.56]
    """
    return math.log10(1 + seconds / linear)


def linear_part(high: float) -> float:
    """Return up to how many seconds such an axis is linear, that reaches to `high`.

    Example:
        >>> linear_part(0.002), linear_part(3600)
        (1e-06, 0.001)
    """
    return 1e-3 if high >= 1e-2 else 1e-6


def symlog_ticks(high: float) -> list[tuple[float, str]]:
    """Return round durations from 0 to `high` for such an axis, and what to write at each.

    Example:
        >>> [label for _, label in symlog_ticks(75)]
        ['0', '10 ms', '100 ms', '1 s', '10 s', '1 min']
    """
    least = 5 * linear_part(high)
    return [(0.0, "0"), *((mark, label) for mark, label in _MARKED if least <= mark <= high)]


_UNITS: Final = (
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("min", 60.0),
    ("h", 3600.0),
    ("d", 86400.0),
)


def unit_of(seconds: float) -> tuple[str, float]:
    """Return the unit in which a span is best read, and its length in seconds.

    Example:
        >>> unit_of(0.44)
        ('ms', 0.001)
    """
    return next((unit for unit in reversed(_UNITS) if seconds >= 1.5 * unit[1]), _UNITS[0])


def duration_text(seconds: float) -> str:
    """Return a duration as a person says it.

    Example:
        >>> [duration_text(value) for value in (0, 0.00042, 0.12, 3.4, 125, 3725, 200_000)]
        ['0 s', '420 µs', '120 ms', '3.4 s', '2 min 5 s', '1 h 2 min', '2 d 7 h']
    """
    if seconds <= 0:
        return "0 s"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{float(f'{seconds * 1e3:.3g}'):g} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def width_text(width: timedelta) -> str:
    """Return the width of a bin as a person says it.

    Example:
        >>> width_text(timedelta(days=7)), width_text(timedelta(seconds=15))
        ('7 d', '15 s')
    """
    for unit, name in (
        (timedelta(days=1), "d"),
        (timedelta(hours=1), "h"),
        (timedelta(minutes=1), "min"),
        (timedelta(seconds=1), "s"),
    ):
        if width % unit == timedelta(0):
            return f"{width // unit} {name}"
    return duration_text(width.total_seconds())


def thinned(values: Sequence[float], *, limit: int) -> list[int]:
    """Return the indexes of at most `limit` points that keep the shape of a series.

    The series is cut into equal pieces, and the lowest and the highest point of each are kept,
    and the last one of all: so no peak is lost.

    Example:
        >>> thinned([0, 1, 9, 1, 0, 0, 0, 1], limit=4)
        [0, 2, 7]
    """
    count = len(values)
    if count <= limit:
        return list(range(count))
    pieces = max(1, (limit - 1) // 2)
    kept = {count - 1}
    for piece in range(pieces):
        indexes = range(piece * count // pieces, (piece + 1) * count // pieces)
        kept.add(min(indexes, key=values.__getitem__))
        kept.add(max(indexes, key=values.__getitem__))
    return sorted(kept)
