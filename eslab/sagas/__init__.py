"""Sagas: steps that are undone in reverse order when a later one fails; each saga is a stream."""

from eslab.sagas.definition import (
    CompensationCompleted,
    CompensationFailed,
    CompensationStarted,
    Saga,
    SagaCompensated,
    SagaCompleted,
    SagaStarted,
    SagaStuck,
    Step,
    StepCompleted,
    StepContext,
    StepFailed,
    StepStarted,
)
from eslab.sagas.orchestrator import Orchestrator
from eslab.sagas.state import Action, SagaState, SagaStatus, next_action

__all__ = [
    "Action",
    "CompensationCompleted",
    "CompensationFailed",
    "CompensationStarted",
    "Orchestrator",
    "Saga",
    "SagaCompensated",
    "SagaCompleted",
    "SagaStarted",
    "SagaState",
    "SagaStatus",
    "SagaStuck",
    "Step",
    "StepCompleted",
    "StepContext",
    "StepFailed",
    "StepStarted",
    "next_action",
]
