"""Sagas: steps that are undone in reverse order when a later one fails; each saga is a stream."""

from eslab.sagas.definition import NO_RETRY, Parallel, Saga, Send, Step, StepContext
from eslab.sagas.events import (
    SAGA_EVENTS,
    CompensationCompleted,
    CompensationFailed,
    CompensationStarted,
    CompensationTimedOut,
    LateReplyReceived,
    SagaCompensated,
    SagaCompleted,
    SagaResumed,
    SagaStarted,
    SagaStuck,
    StepCompleted,
    StepFailed,
    StepStarted,
    StepTimedOut,
    TimerCancelled,
    TimerFired,
    TimerSet,
)
from eslab.sagas.orchestrator import Orchestrator
from eslab.sagas.state import SagaState, SagaStatus, Task
from eslab.sagas.timers import Timers

__all__ = [
    "NO_RETRY",
    "SAGA_EVENTS",
    "CompensationCompleted",
    "CompensationFailed",
    "CompensationStarted",
    "CompensationTimedOut",
    "LateReplyReceived",
    "Orchestrator",
    "Parallel",
    "Saga",
    "SagaCompensated",
    "SagaCompleted",
    "SagaResumed",
    "SagaStarted",
    "SagaState",
    "SagaStatus",
    "SagaStuck",
    "Send",
    "Step",
    "StepCompleted",
    "StepContext",
    "StepFailed",
    "StepStarted",
    "StepTimedOut",
    "Task",
    "TimerCancelled",
    "TimerFired",
    "TimerSet",
    "Timers",
]
