"""What a saga is made of: its steps, and the events of its stream."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from eslab.errors import SagaError
from eslab.events import Event, check_stream_id

__all__ = [
    "SAGA_EVENTS",
    "CompensationCompleted",
    "CompensationFailed",
    "CompensationStarted",
    "Saga",
    "SagaCompensated",
    "SagaCompleted",
    "SagaStarted",
    "SagaStuck",
    "Step",
    "StepCompleted",
    "StepContext",
    "StepFailed",
    "StepStarted",
]


@dataclass(frozen=True, slots=True)
class StepContext:
    """What the functions of a step are given.

    Attributes:
        saga_id: the identity of the saga.
        step: the name of the step.
        attempt: counts from 1.
        idempotency_key: the same at every attempt of this step of this saga; the effect must
            happen once for it, because a step that was interrupted runs again.
        input: what the saga was started with.
        results: what the completed steps returned, by their names.
    """

    saga_id: str
    step: str
    attempt: int
    idempotency_key: uuid.UUID
    input: Mapping[str, Any]
    results: Mapping[str, Any]


StepFunction = Callable[[StepContext], Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a saga.

    Args:
        name: unique in the saga.
        execute: does it; returns a JSON value, or None. An exception is a failure.
        compensate: undoes it; without one there is nothing to undo.
        attempts: how often it is tried before it counts as failed; a `DomainError` is a refusal,
            and is not tried again. A compensation is tried as often.
        cost: what an attempt takes on a virtual clock.
    """

    name: str
    execute: StepFunction
    compensate: StepFunction | None = None
    attempts: int = 1
    cost: timedelta = timedelta(milliseconds=10)

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name):
            raise SagaError(f"a step needs a name, not {self.name!r}")
        if (
            isinstance(self.attempts, bool)
            or not isinstance(self.attempts, int)
            or self.attempts < 1
        ):
            raise SagaError(f"step {self.name!r} must be tried at least once, not {self.attempts}")
        if not isinstance(self.cost, timedelta) or self.cost < timedelta(0):
            raise SagaError(f"step {self.name!r} costs a duration from 0, not {self.cost!r}")
        if not callable(self.execute) or not (self.compensate is None or callable(self.compensate)):
            raise SagaError(f"step {self.name!r}: execute and compensate are functions")


@dataclass(frozen=True, slots=True)
class Saga:
    """A name, and steps in the order in which they are executed.

    When a step fails for good, the completed steps before it are compensated in reverse order
    (Garcia-Molina and Salem, "Sagas", 1987).

    Example:
        >>> trip = Saga("trip", [Step("hotel", print), Step("train", print)])
        >>> trip
        Saga('trip': hotel, train)
    """

    name: str
    steps: Sequence[Step] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or "-" in self.name:
            raise SagaError(f"a saga's name must not be empty nor hold a '-': {self.name!r}")
        if isinstance(self.steps, Step) or not self.steps:
            raise SagaError(f"saga {self.name!r} has no steps: give it a list of them")
        object.__setattr__(self, "steps", tuple(self.steps))
        if odd := [step for step in self.steps if not isinstance(step, Step)]:
            raise SagaError(f"saga {self.name!r}: a step is made by Step(...); found {odd[0]!r}")
        names = [step.name for step in self.steps]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SagaError(f"saga {self.name!r} has two steps of the name {', '.join(twice)}")

    def stream_id(self, saga_id: str) -> str:
        """Return the stream of one saga: ``saga-<name>-<id>``."""
        return check_stream_id(f"saga-{self.name}-{saga_id}")

    def step(self, name: str) -> Step:
        """Return the step of this name.

        Raises:
            SagaError: there is none; the saga was defined anew without it.
        """
        for step in self.steps:
            if step.name == name:
                return step
        raise SagaError(f"saga {self.name!r} has no step {name!r}; it has: {self}")

    def __repr__(self) -> str:
        return f"Saga({self.name!r}: {', '.join(step.name for step in self.steps)})"


class SagaStarted(Event):
    """A saga begins."""

    saga: str
    saga_id: str
    steps: list[str]
    input: dict[str, Any]


class StepStarted(Event):
    """An attempt to execute a step begins."""

    step: str
    attempt: int


class StepCompleted(Event):
    """A step was executed."""

    step: str
    attempt: int
    result: Any = None


class StepFailed(Event):
    """An attempt to execute a step failed."""

    step: str
    attempt: int
    error: str
    final: bool


class CompensationStarted(Event):
    """An attempt to undo a step begins."""

    step: str
    attempt: int


class CompensationCompleted(Event):
    """A step was undone."""

    step: str
    attempt: int


class CompensationFailed(Event):
    """An attempt to undo a step failed."""

    step: str
    attempt: int
    error: str
    final: bool


class SagaCompleted(Event):
    """All steps were executed."""


class SagaCompensated(Event):
    """A step failed, and every completed step before it was undone."""

    failed_step: str


class SagaStuck(Event):
    """A step could not be undone: a person has to look."""

    step: str
    error: str


SAGA_EVENTS: tuple[type[Event], ...] = (
    SagaStarted,
    StepStarted,
    StepCompleted,
    StepFailed,
    CompensationStarted,
    CompensationCompleted,
    CompensationFailed,
    SagaCompleted,
    SagaCompensated,
    SagaStuck,
)
