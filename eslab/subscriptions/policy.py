"""What is done about an event that cannot be handled: tried again, parked, or a full stop."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from eslab.errors import InputError

__all__ = ["ErrorPolicy", "Retry"]

Answer = Literal["retry", "dead-letter", "stop"]

ANSWERS: Final = ("retry", "dead-letter", "stop")
LIMIT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Retry:
    """How often what failed is tried again, and how long to wait before each try.

    The wait grows by a factor, up to the longest; a part of it is left to chance, so that those
    that failed together are not tried again together. Chance is a hash of what failed: the same
    run waits as long again.

    Attributes:
        limit: how often it is tried again, at most.
        first: how long to wait before it is tried again for the first time.
        factor: by which the wait grows from one time to the next.
        longest: how long to wait, at most.
        jitter: which part of a wait is left to chance, from 0 to 1.

    Example:
        >>> retry = Retry(limit=3, first=timedelta(seconds=1), jitter=0)
        >>> [retry.wait("orders 42", tries).seconds for tries in (1, 2, 3)]
        [1, 2, 4]
        >>> retry.wait("orders 42", 4) is None
        True
    """

    limit: int = 5
    first: timedelta = timedelta(milliseconds=100)
    factor: float = 2.0
    longest: timedelta = timedelta(seconds=30)
    jitter: float = 0.5

    def __post_init__(self) -> None:
        if isinstance(self.limit, bool) or not isinstance(self.limit, int) or self.limit < 0:
            raise InputError(f"limit is how often it is tried again, from 0, not {self.limit!r}")
        for wait in (self.first, self.longest):
            if not isinstance(wait, timedelta):
                raise InputError(f"a wait is a timedelta, such as timedelta(seconds=1): {wait!r}")
        for number in (self.factor, self.jitter):
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise InputError(f"factor and jitter are numbers, not {number!r}")
        if not timedelta(0) <= self.first <= self.longest or not 1 <= self.factor < math.inf:
            raise InputError(
                f"a wait begins at 0 or more and grows by a factor of 1 or more, up to the longest "
                f"one: found {self!r}"
            )
        if not 0 <= self.jitter <= 1:
            raise InputError(f"jitter is a part, from 0 to 1, not {self.jitter!r}")

    def wait(self, what: str, tries: int) -> timedelta | None:
        """Return how long to wait until the next try; None if it is not tried again.

        Args:
            what: names what failed.
            tries: how often it was tried.
        """
        if tries > self.limit:
            return None
        seconds, longest = self.first.total_seconds(), self.longest.total_seconds()
        for _ in range(tries - 1):  # a power of them all may be too large for a number
            seconds = min(seconds * self.factor, longest)
        chance = int.from_bytes(hashlib.blake2b(f"{what} {tries}".encode(), digest_size=7).digest())
        return timedelta(seconds=seconds * (1 - self.jitter * chance / 2**56))


@dataclass(frozen=True, slots=True)
class ErrorPolicy:
    """What is done about an event that cannot be handled.

    Attributes:
        first: ``"retry"``, ``"dead-letter"``: it is parked and its consumer goes on, or ``"stop"``:
            its consumer stops.
        then: what is done when it was tried again in vain: ``"dead-letter"`` or ``"stop"``.
        retry: how often it is tried again.
        classify: says for an error which of the three it is; None leaves it to `first`.
        limit: how many letters there may be; when there are so many, the consumer waits until
            somebody retries or discards some.

    Example:
        >>> def broken(error: Exception) -> str | None:
        ...     return "stop" if isinstance(error, TypeError) else None
        >>> policy = ErrorPolicy("retry", then="dead-letter", classify=broken)
        >>> policy.answer(ValueError(), 1), policy.answer(ValueError(), 6)
        ('retry', 'dead-letter')
        >>> policy.answer(TypeError(), 1)
        'stop'
    """

    first: Answer = "stop"
    then: Literal["dead-letter", "stop"] = "stop"
    retry: Retry = Retry()
    classify: Callable[[Exception], str | None] | None = None
    limit: int = LIMIT

    def __post_init__(self) -> None:
        if self.first not in ANSWERS or self.then not in ANSWERS[1:]:
            raise InputError(
                f"on an error: 'retry', 'dead-letter' or 'stop', and then 'dead-letter' or 'stop'; "
                f"found {self.first!r} and then {self.then!r}"
            )
        if isinstance(self.limit, bool) or not isinstance(self.limit, int) or self.limit < 1:
            raise InputError(f"limit is how many letters there may be, from 1, not {self.limit!r}")
        if not isinstance(self.retry, Retry):
            raise InputError(f"retry is how often and when: a Retry(...), not {self.retry!r:.200}")
        if self.classify is not None and not callable(self.classify):
            raise InputError(
                f"classify is a function of an error that gives an answer, not {self.classify!r}"
            )

    @classmethod
    def of(cls, policy: ErrorPolicy | str) -> ErrorPolicy:
        """Return the policy that somebody named by its first answer.

        Raises:
            InputError: it is none.
        """
        if isinstance(policy, cls):
            return policy
        if policy not in ANSWERS:
            raise InputError(
                f"an error policy is 'retry', 'dead-letter', 'stop', or an ErrorPolicy(...); "
                f"found {policy!r:.200}"
            )
        return cls(policy)  # type: ignore[arg-type]

    def answer(self, error: Exception, tries: int) -> Answer:
        """Say what is done about an error.

        Args:
            error: what the handler raised.
            tries: how often the event was tried.

        Raises:
            InputError: `classify` failed, or gave no answer that there is.
        """
        try:
            answer = (None if self.classify is None else self.classify(error)) or self.first
        except Exception as failure:
            raise InputError(f"classify() of an error policy failed: {failure!r:.200}") from failure
        if answer not in ANSWERS:
            raise InputError(
                f"classify() gives 'retry', 'dead-letter', 'stop' or None; for {error!r:.200} it "
                f"gave {answer!r:.200}"
            )
        return self.then if answer == "retry" and tries > self.retry.limit else answer  # type: ignore[return-value]
