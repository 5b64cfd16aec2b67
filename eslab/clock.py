"""Time and identity are passed in, never taken: clocks, id sources and the scheduler.

A lab with a seed gets a `VirtualClock`, `SeededIds` and a `Scheduler`, and so produces the same
bytes on every run and machine; a durable lab gets a `SystemClock` and `RandomIds`.
"""

from __future__ import annotations

import hashlib
import heapq
import os
import random
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final, Protocol

from eslab.errors import ClockError, InputError

__all__ = [
    "VIRTUAL_START",
    "Clock",
    "IdSource",
    "RandomIds",
    "Scheduled",
    "Scheduler",
    "SeededIds",
    "SystemClock",
    "VirtualClock",
    "as_duration",
    "as_utc",
    "branch_seed",
    "derived_id",
    "minted_position",
    "random_id",
]

VIRTUAL_START = datetime(2026, 1, 1, tzinfo=UTC)
"""Where a virtual clock begins unless it is told otherwise."""


def as_utc(moment: datetime, *, what: str = "a time") -> datetime:
    """Return `moment` in UTC.

    Args:
        moment: an aware datetime.
        what: the name of the value, for the error.

    Raises:
        InputError: `moment` is naive, or is no datetime.

    Example:
        >>> from datetime import timezone
        >>> as_utc(datetime(2013, 1, 1, 5, tzinfo=timezone(timedelta(hours=-5))))
        datetime.datetime(2013, 1, 1, 10, 0, tzinfo=datetime.timezone.utc)
    """
    if not isinstance(moment, datetime):
        raise InputError(f"{what} must be a datetime, not {type(moment).__name__}: {moment!r}")
    if moment.tzinfo is UTC:
        return moment
    if moment.utcoffset() is None:
        raise InputError(
            f"{what} must be aware: {moment.isoformat()} has no time zone; "
            f"say datetime(..., tzinfo=UTC)"
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InputError(f"{what} is out of range in UTC: {moment.isoformat()}") from None


def as_duration(given: timedelta | str) -> timedelta:
    """Return a duration, which may be given as text.

    Args:
        given: a timedelta, or text such as ``"5 min"``, in the words of pandas.

    Raises:
        InputError: it is neither.

    Example:
        >>> as_duration("1 h 30 min")
        datetime.timedelta(seconds=5400)
    """
    if isinstance(given, timedelta):
        return given
    import pandas as pd

    found: object = None
    if isinstance(given, str):
        with suppress(ValueError):
            found = pd.Timedelta(given)
    if not isinstance(found, pd.Timedelta):
        raise InputError(f"a duration is a timedelta or text such as '5 min', not {given!r}")
    return found.to_pytimedelta()


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """Return the time now: aware, UTC, in microseconds."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the time now: aware, UTC, in microseconds."""
        return datetime.now(UTC)

    def __repr__(self) -> str:
        return "SystemClock()"


class VirtualClock:
    """A clock that stands still until somebody moves it, and only forwards.

    Args:
        start: where it begins; by default 2026-01-01T00:00:00Z.

    Example:
        >>> clock = VirtualClock()
        >>> clock.advance(timedelta(minutes=5))
        >>> clock.now().isoformat()
        '2026-01-01T00:05:00+00:00'
    """

    def __init__(self, start: datetime = VIRTUAL_START) -> None:
        self._now = as_utc(start, what="the clock's start")

    def now(self) -> datetime:
        """Return the time now: aware, UTC, in microseconds."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move the clock forwards by a duration.

        Raises:
            ClockError: the duration is negative.
        """
        self.advance_to(self._now + by)

    def advance_to(self, moment: datetime) -> None:
        """Move the clock forwards to a moment.

        Raises:
            ClockError: the moment has passed.
        """
        moment = as_utc(moment)
        if moment < self._now:
            raise ClockError(
                f"a clock does not go back: it is {self._now.isoformat()}, "
                f"and {moment.isoformat()} was asked for"
            )
        self._now = moment

    def __repr__(self) -> str:
        return f"VirtualClock({self._now.isoformat()})"


class IdSource(Protocol):
    """Where the ids of new events come from.

    An id that was minted says at which position it was (`minted_position`), so that a store needs
    no index to find it again.
    """

    def mint(self, position: int) -> uuid.UUID:
        """Return the id for the event at this position."""
        ...

    def mint_all(self, first: int, count: int) -> bytes:
        """Return the ids for the events from this position on, 16 bytes each, in one go."""
        ...

    def in_epoch(self, epoch: int) -> IdSource:
        """Return the source for an epoch of the store, where a position may be another event's."""
        ...

    def in_branch(self, number: int) -> IdSource:
        """Return the source for a branch of the store, which mints none of the same."""
        ...


def branch_seed(seed: int, number: int) -> int:
    """Return the seed of a branch: of a laboratory with a seed, by the number of the branch.

    Example:
        >>> branch_seed(7, 1) == branch_seed(7, 1) != branch_seed(7, 2)
        True
    """
    digest = hashlib.blake2b(f"{seed} branch {number}".encode(), digest_size=6).digest()
    return int.from_bytes(digest)


def derived_id(source: uuid.UUID, index: int) -> uuid.UUID:
    """Return the id of the n-th event that a message caused: the same at each attempt.

    A UUID of version 5 (RFC 9562): a hash of both.

    Args:
        source: the id of the message.
        index: of the event, from 0.

    Example:
        >>> command_id = uuid.UUID(int=7)
        >>> derived_id(command_id, 0) == derived_id(command_id, 0) != derived_id(command_id, 1)
        True
    """
    return uuid.uuid5(source, str(index))


def minted_position(id: uuid.UUID) -> int | None:
    """Return the position that an id was minted for; None if no source here minted it.

    Minted ids are UUIDs of version 8 (RFC 9562, section 5.8): 48 bits of position, which makes
    them sort as the log does, and 74 bits by which they differ.

    Example:
        >>> minted_position(SeededIds(7).mint(42))
        42
        >>> minted_position(uuid.uuid4())
    """
    return id.int >> 80 if id.int >> 76 & 0xF == 8 else None


_FREE: Final = 0x0FFF_3FFF_FFFF_FFFF_FFFF
_VERSION_8: Final = 0x8000_8000_0000_0000_0000
_UNKNOWN: Final = uuid.SafeUUID.unknown
_new: Final = object.__new__


# The constructor checks its many arguments, and a UUID cannot be changed: so its two attributes
# are put into it, as unpickling does, in a third of the time.
_put_number = vars(uuid.UUID)["int"].__set__
_put_safety = vars(uuid.UUID)["is_safe"].__set__


def _minted_uuid(position: int, bits: int) -> uuid.UUID:
    """Return the id of a position, with so many of the 80 bits as its version leaves free."""
    id = _new(uuid.UUID)
    _put_number(id, position << 80 | bits & _FREE | _VERSION_8)
    _put_safety(id, _UNKNOWN)
    return id


def _minted(first: int, bits: bytes) -> bytes:
    """Return the ids from a position on: of each its position, and ten bytes of `bits`."""
    import numpy as np  # it takes time

    ids = np.empty((len(bits) // 10, 16), np.uint8)
    positions = np.arange(first, first + len(ids), dtype=">u8")
    ids[:, :6] = positions.view(np.uint8).reshape(-1, 8)[:, 2:]
    ids[:, 6:] = np.frombuffer(bits, np.uint8).reshape(-1, 10)
    for byte in (6, 8):  # the version, and the variant
        ids[:, byte] &= _FREE >> (15 - byte) * 8 & 0xFF
        ids[:, byte] |= _VERSION_8 >> (15 - byte) * 8 & 0xFF
    return ids.tobytes()


# Not the module's own generator, which a notebook may seed; and another one in a forked process.
_random = random.Random()  # noqa: S311 - ids are unique, not secret
_bits: Final = _random.getrandbits
os.register_at_fork(after_in_child=_random.seed)


def random_id() -> uuid.UUID:
    """Return a UUID of version 4, as `uuid.uuid4` does in five times the time: unique, not secret.

    Example:
        >>> random_id().version, random_id() == random_id()
        (4, False)
    """
    id = _new(uuid.UUID)
    _put_number(id, _bits(128) & ~(0xF << 76 | 3 << 62) | 4 << 76 | 2 << 62)
    _put_safety(id, _UNKNOWN)
    return id


class RandomIds:
    """Ids that nobody else mints."""

    def mint(self, position: int) -> uuid.UUID:
        """Return an id for the event at this position that was never given out."""
        return _minted_uuid(position, _bits(80))

    def mint_all(self, first: int, count: int) -> bytes:
        """Return the ids for the events from this position on, 16 bytes each, in one go."""
        return _minted(first, _random.randbytes(10 * count))

    def in_epoch(self, epoch: int) -> RandomIds:  # noqa: ARG002 - the port's
        """Return this source: what it mints is new in every epoch."""
        return self

    def in_branch(self, number: int) -> RandomIds:  # noqa: ARG002 - the port's
        """Return this source: what it mints is new in every branch."""
        return self

    def __repr__(self) -> str:
        return "RandomIds()"


class SeededIds:
    """The same id for the same seed, epoch and position: a seeded store repeats itself.

    Example:
        >>> SeededIds(7).mint(1) == SeededIds(7).mint(1)
        True
        >>> SeededIds(7).mint(1) in (SeededIds(8).mint(1), SeededIds(7, epoch=2).mint(1))
        False
    """

    def __init__(self, seed: int, *, epoch: int = 1) -> None:
        self.seed = seed
        self.epoch = epoch
        self._key = hashlib.blake2b(str(seed).encode(), digest_size=32).digest()

    def mint(self, position: int) -> uuid.UUID:
        """Return the id for the event at this position."""
        return _minted_uuid(position, int.from_bytes(self._digest(position)))

    def mint_all(self, first: int, count: int) -> bytes:
        """Return the ids for the events from this position on, 16 bytes each, in one go."""
        return _minted(first, b"".join(map(self._digest, range(first, first + count))))

    def in_epoch(self, epoch: int) -> SeededIds:
        """Return the source of the same seed for an epoch of the store."""
        return SeededIds(self.seed, epoch=epoch)

    def in_branch(self, number: int) -> SeededIds:
        """Return the source for a branch of the store, which has a seed of its own."""
        return SeededIds(branch_seed(self.seed, number))

    def _digest(self, position: int) -> bytes:
        number = (self.epoch << 64 | position).to_bytes(12)
        return hashlib.blake2b(number, key=self._key, digest_size=10).digest()

    def __repr__(self) -> str:
        return (
            f"SeededIds({self.seed})"
            if self.epoch == 1
            else f"SeededIds({self.seed}, epoch={self.epoch})"
        )


class Scheduled:
    """A piece of work that a scheduler has."""

    __slots__ = ("work",)

    def __init__(self, work: Callable[[], None]) -> None:
        self.work: Callable[[], None] | None = work

    def cancel(self) -> None:
        """Let it not be done; the clock does not move for it."""
        self.work = None


class Scheduler:
    """Cooperative work in the order of its due time.

    On a virtual clock the scheduler moves the clock to each piece of work as it runs it, so a
    week of work takes as long as its computation. It never sleeps.

    Of work that is due at the same time nobody could say what comes first. So a seed decides, and
    another seed decides otherwise: what depends on that order is found, and found again.

    Args:
        clock: what it moves.
        seed: decides the order at equal times; by default it is the order of scheduling.

    Example:
        >>> clock = VirtualClock()
        >>> seen = []
        >>> scheduler = Scheduler(clock)
        >>> _ = scheduler.after(timedelta(seconds=2), lambda: seen.append("late"))
        >>> _ = scheduler.after(timedelta(seconds=1), lambda: seen.append("early"))
        >>> while scheduler.step():
        ...     pass
        >>> seen, clock.now().second
        (['early', 'late'], 2)
    """

    def __init__(self, clock: VirtualClock, *, seed: int | None = None) -> None:
        self.clock = clock
        self._queue: list[tuple[datetime, float, int, Scheduled]] = []
        self._numbers = count()
        self._lots = None if seed is None else random.Random(f"scheduler {seed}")  # noqa: S311

    def __len__(self) -> int:
        return sum(scheduled.work is not None for *_, scheduled in self._queue)

    def after(self, delay: timedelta, work: Callable[[], None]) -> Scheduled:
        """Schedule `work` to run once, `delay` from now, unless it is cancelled.

        Raises:
            ClockError: the delay is negative.
        """
        if delay < timedelta(0):
            raise ClockError(f"work cannot be scheduled in the past: the delay is {delay}")
        lot = 0.0 if self._lots is None else self._lots.random()
        scheduled = Scheduled(work)
        heapq.heappush(self._queue, (self.clock.now() + delay, lot, next(self._numbers), scheduled))
        return scheduled

    def step(self, until: datetime | None = None) -> bool:
        """Run the piece of work that is due first, moving the clock to it.

        Args:
            until: leave work that is due later where it is.

        Returns:
            Whether there was any.
        """
        while self._queue and self._queue[0][3].work is None:
            heapq.heappop(self._queue)
        if not self._queue or (until is not None and self._queue[0][0] > until):
            return False
        due, _, _, scheduled = heapq.heappop(self._queue)
        if due > self.clock.now():
            self.clock.advance_to(due)
        if scheduled.work is not None:
            scheduled.work()
        return True

    def clear(self) -> None:
        """Forget all work that is scheduled."""
        self._queue.clear()
