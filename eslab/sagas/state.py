"""The state of a saga, folded from its stream, and the decision what comes next: both pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Literal

from eslab.events import Event
from eslab.sagas.definition import (
    CompensationCompleted,
    CompensationFailed,
    CompensationStarted,
    Saga,
    SagaCompensated,
    SagaCompleted,
    SagaStarted,
    SagaStuck,
    StepCompleted,
    StepFailed,
    StepStarted,
)

__all__ = ["Action", "SagaState", "SagaStatus", "evolve", "next_action"]


class SagaStatus(Enum):
    """Where a saga stands; the last three are where it ends or halts."""

    RUNNING = "RUNNING"
    COMPENSATING = "COMPENSATING"
    COMPLETED = "COMPLETED"
    COMPENSATED = "COMPENSATED"
    STUCK = "STUCK"


@dataclass(frozen=True, slots=True)
class SagaState:
    """What a saga's stream says about it.

    Attributes:
        status: where it stands.
        input: what it was started with.
        results: what the completed steps returned.
        completed: the steps that were executed, in that order.
        compensated: the steps that were undone, in that order.
        failed_step: the step that failed for good.
        attempt: of the step that is being executed or undone; 0 between steps.
        interrupted: an attempt began, and its outcome is not known.
    """

    status: SagaStatus = SagaStatus.RUNNING
    input: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    completed: tuple[str, ...] = ()
    compensated: tuple[str, ...] = ()
    failed_step: str | None = None
    stuck_step: str | None = None
    error: str | None = None
    attempt: int = 0
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """What a saga does next: an attempt at a step, or its end."""

    kind: Literal["execute", "compensate", "complete", "compensated", "stuck"]
    step: str = ""
    attempt: int = 0
    resumed: bool = False


def evolve(state: SagaState, event: Event) -> SagaState:
    """Return the state after one event of the saga's stream."""
    match event:
        case SagaStarted():
            return replace(state, input=event.input)
        case StepStarted() | CompensationStarted():
            return replace(state, attempt=event.attempt, interrupted=True)
        case StepCompleted():
            return replace(
                state,
                completed=(*state.completed, event.step),
                results={**state.results, event.step: event.result},
                attempt=0,
                interrupted=False,
            )
        case StepFailed(final=True):
            return replace(
                state,
                status=SagaStatus.COMPENSATING,
                failed_step=event.step,
                error=event.error,
                attempt=0,
                interrupted=False,
            )
        case CompensationCompleted():
            return replace(
                state,
                compensated=(*state.compensated, event.step),
                attempt=0,
                interrupted=False,
            )
        case CompensationFailed(final=True):
            return replace(
                state, stuck_step=event.step, error=event.error, attempt=0, interrupted=False
            )
        case StepFailed() | CompensationFailed():
            return replace(state, interrupted=False)
        case SagaCompleted():
            return replace(state, status=SagaStatus.COMPLETED)
        case SagaCompensated():
            return replace(state, status=SagaStatus.COMPENSATED)
        case SagaStuck():
            return replace(state, status=SagaStatus.STUCK)
    return state


def next_action(saga: Saga, state: SagaState) -> Action | None:
    """Return what the saga does next; None when it has ended or is stuck.

    Example:
        >>> from eslab.sagas import Saga, Step
        >>> trip = Saga("trip", [Step("hotel", print, print), Step("train", print)])
        >>> next_action(trip, SagaState(completed=("hotel",)))
        Action(kind='execute', step='train', attempt=1, resumed=False)
    """
    if state.status is SagaStatus.RUNNING:
        for step in saga.steps:
            if step.name not in state.completed:
                return _attempt("execute", step.name, state)
        return Action("complete")
    if state.status is SagaStatus.COMPENSATING:
        if state.stuck_step is not None:
            return Action("stuck", state.stuck_step)
        for name in reversed(state.completed):
            if name not in state.compensated and saga.step(name).compensate is not None:
                return _attempt("compensate", name, state)
        return Action("compensated", state.failed_step or "")
    return None


def _attempt(kind: Literal["execute", "compensate"], step: str, state: SagaState) -> Action:
    # An attempt that was interrupted is made again under its own number: its effect may have
    # happened, and the idempotency key is the same.
    attempt = max(1, state.attempt) if state.interrupted else state.attempt + 1
    return Action(kind, step, attempt, resumed=state.interrupted)
