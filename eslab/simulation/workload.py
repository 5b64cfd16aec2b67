"""Workloads: commands that arrive by a law, for keys that are chosen by another, in virtual time.

All chance is `random.Random.random`, whose numbers for a seed are the same in every version of
Python; what is made of them is made here. So a seed stands for the same commands at the same
microseconds everywhere.
"""

from __future__ import annotations

import random
import re
import reprlib
import uuid
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from itertools import accumulate, repeat
from typing import Any, Final, Literal, Protocol

from pydantic_core import PydanticSerializationError, to_jsonable_python

from eslab.errors import ClockError, DomainError, InputError, LimitError
from eslab.messaging import Command, ConsistencyToken
from eslab.messaging.envelope import takes
from eslab.progress import progress_bar
from eslab.schema import canonical_json, qualified_name, sorted_sets
from eslab.simulation.arrivals import (
    Arrival,
    Bursts,
    Draw,
    arrivals,
    check_arrivals,
    is_number,
    process_of,
)
from eslab.words import counted

__all__ = [
    "Arrival",
    "Bursts",
    "Keys",
    "OnRefusal",
    "Uniform",
    "Workload",
    "WorkloadReport",
    "Zipf",
    "arrivals",
    "drive",
]

MOST_KEYS: Final = 10_000_000
"""How many keys a law knows, at most: each has its weight in memory."""

_COMMANDS: Final = uuid.UUID("5a5d9dbb-3f0e-5b0e-9a53-6a1f0f9e1c0d")
"""Where the ids of commands of workloads are derived from."""


# Whom they are for.


class Keys(Protocol):
    """A law by which keys are chosen: `Zipf` or `Uniform`."""

    def chosen(self, draw: Draw) -> Iterator[int | str]:
        """Yield one key after the other, for ever."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Zipf:
    """Few keys are hot and most are cold: the key of rank r has a share in proportion to 1/r^s.

    The law of G. K. Zipf for finitely many keys, as YCSB and other benchmarks of stores use it
    (B. Cooper et al., "Benchmarking Cloud Serving Systems with YCSB", SoCC 2010; s is 0.99 there).

    Attributes:
        keys: the keys, the hottest first; or how many: they are 1, 2, 3, ...
        s: the exponent, from 0, where all are chosen equally often.

    Raises:
        InputError: there is no key, one is no text, or s is below 0 or no number.
        LimitError: there are more than ten million.

    Example:
        >>> from itertools import islice
        >>> chosen = Zipf(["a-1", "a-2", "a-3"]).chosen(random.Random(2).random)
        >>> Counter(islice(chosen, 1_100)).most_common()  # 600, 300 and 200 are expected
        [('a-1', 604), ('a-2', 295), ('a-3', 201)]
    """

    keys: int | Sequence[str]
    s: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", _checked_keys(self.keys))
        if not (is_number(self.s) and self.s >= 0):
            raise InputError(f"the exponent s of a Zipf law is a number from 0, not {self.s!r}")

    def chosen(self, draw: Draw) -> Iterator[int | str]:
        """Yield one key after the other, for ever.

        Args:
            draw: gives the random numbers.
        """
        keys = _listed(self.keys)
        reached = list(accumulate(rank**-self.s for rank in range(1, len(keys) + 1)))
        while True:
            yield keys[bisect_right(reached, draw() * reached[-1])]

    def __repr__(self) -> str:
        return f"Zipf({reprlib.repr(self.keys)}, s={self.s:g})"


@dataclass(frozen=True, slots=True, repr=False)
class Uniform:
    """All keys are chosen equally often.

    Attributes:
        keys: the keys; or how many: they are 1, 2, 3, ...

    Raises:
        InputError: there is no key, or one is no text.
        LimitError: there are more than ten million.

    Example:
        >>> from itertools import islice
        >>> list(islice(Uniform(["a-1", "a-2"]).chosen(random.Random(7).random), 4))
        ['a-1', 'a-1', 'a-2', 'a-1']
    """

    keys: int | Sequence[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", _checked_keys(self.keys))

    def chosen(self, draw: Draw) -> Iterator[int | str]:
        """Yield one key after the other, for ever.

        Args:
            draw: gives the random numbers.
        """
        keys = _listed(self.keys)
        while True:
            yield keys[int(draw() * len(keys))]

    def __repr__(self) -> str:
        return f"Uniform({reprlib.repr(self.keys)})"


def _checked_keys(keys: object) -> int | tuple[str, ...]:
    number = len(keys) if isinstance(keys, Sequence) else keys
    if isinstance(number, int) and number > MOST_KEYS:
        raise LimitError(f"a law has at most {MOST_KEYS:,} keys, not {number:,}")
    if isinstance(keys, int) and not isinstance(keys, bool) and keys > 0:
        return keys
    if isinstance(keys, Sequence) and not isinstance(keys, str | bytes):
        found = tuple(keys)
        if found and all(isinstance(key, str) for key in found):
            return found
    raise InputError(
        f"keys are a number of them from 1, or a list of texts with at least one, such as "
        f"['a-1', 'a-2'], not {keys!r:.200}"
    )


def _listed(keys: int | Sequence[str]) -> Sequence[int | str]:
    return range(1, keys + 1) if isinstance(keys, int) else keys


# What arrives.


@dataclass(frozen=True, slots=True, repr=False)
class Workload:
    """Commands and when they arrive: going through it gives pairs of a time and a command.

    The times count from the beginning. The same workload gives the same pairs each time, on every
    machine, as long as its function depends on what it is given alone: for chance of its own, let
    it make a ``random.Random(number)``. Times and keys are drawn apart: with another arrival the
    keys stay the same.

    Attributes:
        command: makes a command. With keys it takes the key; or the number of the command, from 1,
            and the key. Without keys it takes the number.
        count: how many commands there are.
        rate: how many of them arrive a second, in the mean.
        arrival: how they follow each other; see `arrivals`.
        keys: the law by which keys are chosen, such as ``Zipf(100)``.
        seed: of the random numbers.

    Raises:
        InputError: one of them cannot be, or `command` returns no command.

    Example:
        >>> from eslab.simulation.scenarios.accounts import Deposit
        >>> def pay(number: int, key: int) -> Deposit:
        ...     return Deposit(account_id=f"a-{key}", amount=number)
        >>> workload = Workload(pay, count=2, rate=50, arrival="constant", keys=Zipf(10), seed=7)
        >>> workload
        Workload(pay: 2 commands, 50 a second (constant), Zipf(10, s=1), seed=7)
        >>> for at, command in workload:
        ...     print(at, repr(command))
        0:00:00.020000 Deposit(account_id='a-1', amount=1, reference='')
        0:00:00.040000 Deposit(account_id='a-1', amount=2, reference='')
    """

    command: Callable[..., Command]
    _: KW_ONLY
    count: int
    rate: float
    arrival: Arrival = "poisson"
    keys: Keys | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_arrivals(self.count, self.rate, self.seed)
        process_of(self.arrival)
        if self.keys is not None and not isinstance(self.keys, (Zipf, Uniform)):
            raise InputError(
                f"keys are chosen by a law, such as Zipf(100) or Uniform(['a-1', 'a-2']), not by "
                f"{self.keys!r:.200}"
            )
        self._maker()

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[timedelta, Command]]:
        times = arrivals(self.count, rate=self.rate, arrival=self.arrival, seed=self.seed)
        make = self._maker()
        for number, (at, key) in enumerate(zip(times, self._chosen(), strict=False), 1):
            command = make(number, key)
            if not isinstance(command, Command):
                raise InputError(
                    f"the function of a workload returns a Command, and {_name(self.command)} "
                    f"returned {command!r:.200} for command {number}"
                )
            yield timedelta(microseconds=at), command

    def _chosen(self) -> Iterator[int | str | None]:
        if self.keys is None:
            return repeat(None)
        # Drawn apart from the times, which come from the seed alone.
        return self.keys.chosen(random.Random(f"keys {self.seed}").random)  # noqa: S311

    def _maker(self) -> Callable[[int, int | str | None], Any]:
        """Return a function of a number and a key, that gives the command what it takes."""
        command = self.command
        if callable(command):
            if takes(command, 1):
                if self.keys is None:
                    return lambda number, _: command(number)
                return lambda _, key: command(key)
            if self.keys is not None and takes(command, 2):
                return command
        wanted = (
            "its number, for there are no keys: say which with keys=Zipf(...)"
            if self.keys is None
            else "its key, or its number and its key"
        )
        raise InputError(
            f"a workload needs a function that makes a command of {wanted}; {command!r:.200} is "
            f"none"
        )

    def __repr__(self) -> str:
        process = self.arrival if isinstance(self.arrival, str) else repr(self.arrival)
        keys = "" if self.keys is None else f", {self.keys!r}"
        return (
            f"Workload({_name(self.command)}: {counted(self.count, 'command')}, {self.rate:g} a "
            f"second ({process}){keys}, seed={self.seed})"
        )


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


# Driving it.

OnRefusal = Literal["count", "raise"]
"""What is done about a command that the domain refuses: count it and go on, or stop."""


@dataclass(frozen=True, slots=True, repr=False)
class WorkloadReport:
    """What became of the commands of a workload.

    Attributes:
        commands: how many were sent.
        duplicates: how many of them had been carried out before, and were not again.
        refused: how many the domain refused, by the reason, the most frequent first. Numbers in it
            are ``#``, so that refusals for the same reason are counted together.
        started_at: when it began, by the lab's clock.
        ended_at: when the last command arrived.

    Example:
        >>> start = datetime.fromisoformat("2026-01-01T00:00:00Z")
        >>> WorkloadReport(100, 0, {"it is closed": 4}, start, start + timedelta(seconds=2))
        <WorkloadReport: 100 commands in 0:00:02: 96 carried out, 4 refused (4 x it is closed)>
    """

    commands: int
    duplicates: int
    refused: Mapping[str, int]
    started_at: datetime
    ended_at: datetime

    @property
    def carried_out(self) -> int:
        """How many commands were carried out now."""
        return self.commands - self.duplicates - sum(self.refused.values())

    def __repr__(self) -> str:
        found = [f"{self.carried_out:,} carried out"]
        if self.duplicates:
            found.append(f"{self.duplicates:,} carried out before")
        if self.refused:
            listed = [f"{number:,} x {reason:.120}" for reason, number in self.refused.items()]
            more = [f"{len(listed) - 3:,} other reasons"] if len(listed) > 3 else []
            found.append(f"{sum(self.refused.values()):,} refused ({'; '.join(listed[:3] + more)})")
        return (
            f"<WorkloadReport: {counted(self.commands, 'command')} in "
            f"{self.ended_at - self.started_at}: {', '.join(found)}>"
        )


def drive(
    workload: Workload,
    *,
    execute: Callable[..., ConsistencyToken],
    now: Callable[[], datetime],
    advance_to: Callable[[datetime], None],
    on_refusal: OnRefusal = "count",
    progress: bool = True,
) -> WorkloadReport:
    """Send the commands of a workload, each at its time; see `eslab.Lab.drive`.

    Args:
        workload: the commands.
        execute: carries out a command, under the ``command_id`` that it is given.
        now: gives the time.
        advance_to: moves the clock to a moment, doing the work that falls due meanwhile.
        on_refusal: what is done about a command that is refused.
        progress: draw a progress bar on stderr, if that is a terminal or a notebook.

    Raises:
        InputError: that is no workload, or a command cannot be written as JSON.
        DomainError: a command was refused, and that was to be raised.
    """
    if not isinstance(workload, Workload):
        raise InputError(f"what is driven is a Workload(...), not {workload!r:.200}")
    if on_refusal not in ("count", "raise"):
        raise InputError(f"on_refusal is 'count' or 'raise', not {on_refusal!r:.200}")
    started_at, source = now(), _source(workload)
    duplicates, refused = 0, Counter[str]()
    with progress_bar(
        total=len(workload), description="workload", progress=progress, unit="commands"
    ) as bar:
        for number, (at, command) in enumerate(workload, 1):
            command_id = uuid.uuid5(source, f"{number} {_text(command)}")
            advance_to(_moment(started_at, at))
            try:
                duplicates += execute(command, command_id=command_id).duplicate
            except DomainError as error:
                if on_refusal == "raise":
                    raise
                refused[_NUMBER.sub("#", str(error))] += 1
            bar.update()
    return WorkloadReport(len(workload), duplicates, dict(refused.most_common()), started_at, now())


# Not the one in a name such as x12, nor the digits of a UUID.
_NUMBER: Final = re.compile(r"(?<!\w)-?\d+(?:[.,]\d+)*(?!\w)")


def _moment(start: datetime, at: timedelta) -> datetime:
    try:
        return start + at
    except OverflowError:
        raise ClockError(f"there is no time {at} from {start.isoformat()}") from None


def _source(workload: Workload) -> uuid.UUID:
    """Return what the ids of a workload's commands are derived from.

    All that makes two workloads different is in it; not how many commands there are, so that one
    that is made longer goes on with those that are new. The function is not: what it makes is
    in the id of each command.
    """
    keys = workload.keys
    law = None if keys is None else [type(keys).__name__, to_jsonable_python(keys)]
    process = to_jsonable_python(process_of(workload.arrival))
    parts = [workload.seed, float(workload.rate), process, law]
    return uuid.uuid5(_COMMANDS, canonical_json(parts))


def _text(command: Command) -> str:
    """Return a command as text: the same in every process."""
    values = dict(command)
    name = qualified_name(type(command))
    try:
        data = sorted_sets(to_jsonable_python(values, inf_nan_mode="strings"), values)
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise InputError(
            f"a command of a workload is known by what it says, and {name} cannot be written as "
            f"JSON: {error}"
        ) from error
    return f"{name} {canonical_json(data)}"
