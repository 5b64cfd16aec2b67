"""The events of a saga's stream: what came in, what was decided, what went out, and the timers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from eslab.events import Event

__all__ = [
    "SAGA_EVENTS",
    "CompensationCompleted",
    "CompensationFailed",
    "CompensationStarted",
    "CompensationTimedOut",
    "LateReplyReceived",
    "SagaCompensated",
    "SagaCompleted",
    "SagaResumed",
    "SagaStarted",
    "SagaStuck",
    "StepCompleted",
    "StepFailed",
    "StepStarted",
    "StepTimedOut",
    "TimerCancelled",
    "TimerFired",
    "TimerSet",
]


class SagaStarted(Event):
    """A saga begins.

    Attributes:
        saga: the name of the saga.
        saga_id: which one of that name.
        steps: the names of its steps; none for a process manager.
        input: what it was started with.
        position: of the event that started it; 0 if none did.
    """

    saga: str
    saga_id: str
    steps: list[str]
    input: dict[str, Any]
    position: int = 0


class StepStarted(Event):
    """An attempt to execute a step begins.

    Attributes:
        step: the name of the step.
        attempt: counts from 1.
        command: the command that is sent, if it sends one: its ``type`` and its ``data``.
    """

    step: str
    attempt: int
    command: dict[str, Any] | None = None


class StepCompleted(Event):
    """A step was executed.

    Attributes:
        step: the name of the step.
        attempt: the one that was answered.
        result: what it returned, or the data of the event that answered it.
    """

    step: str
    attempt: int
    result: Any = None


class StepFailed(Event):
    """An attempt to execute a step failed.

    Attributes:
        step: the name of the step.
        attempt: which one.
        error: why.
        final: it is not tried again.
    """

    step: str
    attempt: int
    error: str
    final: bool


class StepTimedOut(Event):
    """No answer to an attempt came in time: the step may have been executed, or may be yet.

    Attributes:
        step: the name of the step.
        attempt: which one.
        final: it is not tried again.
    """

    step: str
    attempt: int
    final: bool


class CompensationStarted(Event):
    """An attempt to undo a step begins.

    Attributes:
        step: the name of the step.
        attempt: counts from 1.
        command: the command that is sent, if it sends one: its ``type`` and its ``data``.
        late: the step succeeded when all others had been undone.
    """

    step: str
    attempt: int
    command: dict[str, Any] | None = None
    late: bool = False


class CompensationCompleted(Event):
    """A step was undone.

    Attributes:
        step: the name of the step.
        attempt: the one that was answered.
        late: the step had succeeded when all others had been undone.
    """

    step: str
    attempt: int
    late: bool = False


class CompensationFailed(Event):
    """An attempt to undo a step failed.

    Attributes:
        step: the name of the step.
        attempt: which one.
        error: why.
        final: it is not tried again.
    """

    step: str
    attempt: int
    error: str
    final: bool


class CompensationTimedOut(Event):
    """No answer to an attempt to undo a step came in time.

    Attributes:
        step: the name of the step.
        attempt: which one.
        final: it is not tried again.
    """

    step: str
    attempt: int
    final: bool


class LateReplyReceived(Event):
    """An answer came when it was no longer waited for.

    Attributes:
        step: the name of the step.
        kind: whether it was executed, or undone.
        attempt: the one that was answered.
        error: why it failed; None: it succeeded.
        compensated: the step succeeded after all, and is undone because of this answer.
    """

    step: str
    kind: Literal["execute", "compensate"]
    attempt: int
    error: str | None = None
    compensated: bool = False


class TimerSet(Event):
    """Something is to happen at a time, unless the timer is cancelled.

    Attributes:
        timer: its name, which no other timer of the saga has while it runs.
        due_at: when it fires, at the earliest.
        purpose: ``"timeout"``: an answer is waited for no longer; ``"retry"``: what failed is
            tried again; ``"process"``: a process manager set it.
        step: of the step that it is about; None for one of a process manager.
        kind: whether that is executed, or undone.
        attempt: which attempt ends, or begins.
    """

    timer: str
    due_at: datetime
    purpose: Literal["timeout", "retry", "process"]
    step: str | None = None
    kind: Literal["execute", "compensate"] = "execute"
    attempt: int = 0


class TimerFired(Event):
    """It was time; a timer fires once.

    Attributes:
        timer: its name.
    """

    timer: str


class TimerCancelled(Event):
    """What a timer was set for is no longer waited for.

    Attributes:
        timer: its name.
    """

    timer: str


class SagaCompleted(Event):
    """All steps were executed; or a process manager stopped."""


class SagaCompensated(Event):
    """A step failed, and every step before it was undone, if it was executed or may have been.

    Attributes:
        failed_step: the step that failed.
    """

    failed_step: str


class SagaStuck(Event):
    """The saga can go neither forwards nor backwards: a person has to look, and resumes it.

    Attributes:
        step: the step that cannot be undone; or, from the pivot on, that cannot be executed.
        error: why.
        kind: which of the two.
    """

    step: str
    error: str
    kind: Literal["execute", "compensate"] = "compensate"


class SagaResumed(Event):
    """A person let a saga that was stuck go on.

    Attributes:
        step: the step at which it was stuck.
        kind: whether that could not be executed, or not be undone.
        resolved: the person has done what could not be done; it is not tried again.
        reason: what the person says.
    """

    step: str
    kind: Literal["execute", "compensate"]
    resolved: bool = False
    reason: str = ""


SAGA_EVENTS: tuple[type[Event], ...] = (
    SagaStarted,
    StepStarted,
    StepCompleted,
    StepFailed,
    StepTimedOut,
    CompensationStarted,
    CompensationCompleted,
    CompensationFailed,
    CompensationTimedOut,
    LateReplyReceived,
    TimerSet,
    TimerFired,
    TimerCancelled,
    SagaCompleted,
    SagaCompensated,
    SagaStuck,
    SagaResumed,
)
