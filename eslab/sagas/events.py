"""The events of a saga's stream: what came in, what was decided, what went out, and the timers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from eslab.events import Event

__all__ = [
    "SAGA_EVENTS",
    "CommandDelivered",
    "CommandFailed",
    "CommandRefused",
    "CommandSent",
    "CompensationCompleted",
    "CompensationFailed",
    "CompensationStarted",
    "CompensationTimedOut",
    "InputFailed",
    "InputKind",
    "InputParked",
    "InputReceived",
    "LateReplyReceived",
    "ProcessStateChanged",
    "ProcessStopped",
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

InputKind = Literal["event", "timer", "refusal"]
"""What a process manager reacts to: an event of the log, a timer, or that a command was refused."""


class SagaStarted(Event):
    """A saga begins.

    Attributes:
        saga: the name of the saga.
        saga_id: which one of that name.
        steps: the names of its steps; none for a process manager.
        input: what it was started with.
        position: of the event that started it; 0 if none did.
        pivot: the step behind which there is no way back, if there is one.
    """

    saga: str
    saga_id: str
    steps: list[str]
    input: dict[str, Any]
    position: int = 0
    pivot: str | None = None


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


class InputReceived(Event):
    """A process manager dealt with something that concerns it.

    Attributes:
        message_id: the id of the event, the name of the timer, or the id of the refused command.
        type: the type of the event, the name of the timer, or the type of the command.
        position: of the event; 0 if it is none of the log.
        kind: which of the three it is.
    """

    message_id: str
    type: str
    position: int = 0
    kind: InputKind = "event"


class InputParked(Event):
    """Something came that a process manager cannot deal with yet; it does so later.

    Attributes:
        message_id: as of what was received.
        type: likewise.
        position: likewise.
        kind: likewise.
    """

    message_id: str
    type: str
    position: int = 0
    kind: InputKind = "event"


class InputFailed(Event):
    """What handles something that came raised an error, and changed and sent nothing.

    Attributes:
        message_id: as of what was received.
        type: likewise.
        error: what was raised.
        position: as of what was received.
        kind: likewise.
    """

    message_id: str
    type: str
    error: str
    position: int = 0
    kind: InputKind = "event"


class ProcessStateChanged(Event):
    """A process manager remembers something else from now on.

    Attributes:
        changes: the new values of what changed.
    """

    changes: dict[str, Any]


class CommandSent(Event):
    """A process manager wants a command to be carried out.

    Attributes:
        command_id: the same, however often it is sent.
        command: its ``type`` and its ``data``.
        number: the how manyth of this instance it is, from 1.
    """

    command_id: UUID
    command: dict[str, Any]
    number: int


class CommandDelivered(Event):
    """A command was carried out.

    Attributes:
        command_id: which one.
    """

    command_id: UUID


class CommandRefused(Event):
    """A command was refused, and has no effect from now on, should it come again.

    Attributes:
        command_id: which one.
        reason: why.
    """

    command_id: UUID
    reason: str


class CommandFailed(Event):
    """An attempt to have a command carried out failed, or was not answered in time.

    Attributes:
        command_id: which one.
        attempt: counts from 1.
        error: why.
        final: it is not tried again.
    """

    command_id: UUID
    attempt: int
    error: str
    final: bool


class ProcessStopped(Event):
    """A process manager reacts to no more events; it ends when what it sent is answered."""


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
        step: the step that cannot be undone; or, from the pivot on, that cannot be executed. Of a
            process manager: the type of the event that it cannot handle, or of the command that
            cannot be carried out, or the name of the timer.
        error: why.
        kind: which of the two.
    """

    step: str
    error: str
    kind: Literal["execute", "compensate"] = "compensate"


class SagaResumed(Event):
    """A person let a saga that was stuck go on.

    Attributes:
        step: the step, or what else it is, at which it was stuck.
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
    InputReceived,
    InputParked,
    InputFailed,
    ProcessStateChanged,
    CommandSent,
    CommandDelivered,
    CommandRefused,
    CommandFailed,
    ProcessStopped,
    SagaCompleted,
    SagaCompensated,
    SagaStuck,
    SagaResumed,
)
