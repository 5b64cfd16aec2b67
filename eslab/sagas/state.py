"""The state of a saga, folded from its stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

from eslab.events import Event
from eslab.sagas.definition import Kind
from eslab.sagas.events import (
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

__all__ = ["Running", "SagaState", "SagaStatus", "Task", "Timer", "evolve"]


class SagaStatus(Enum):
    """Where a saga stands; the last three are where it ends or halts."""

    RUNNING = "RUNNING"
    COMPENSATING = "COMPENSATING"
    COMPLETED = "COMPLETED"
    COMPENSATED = "COMPENSATED"
    STUCK = "STUCK"


class Task(NamedTuple):
    """Executing a step, or undoing it."""

    step: str
    kind: Kind = "execute"


class Running(NamedTuple):
    """An attempt that is not answered yet, and the command that it sent, if it sends one."""

    attempt: int
    command: Mapping[str, Any] | None = None


class Timer(NamedTuple):
    """When something is to happen, and at which task, if it is about one."""

    due_at: datetime
    purpose: str
    task: Task | None = None
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class SagaState:
    """What a saga's stream says about it.

    Attributes:
        status: where it stands.
        input: what it was started with.
        results: what the completed steps returned.
        completed: the steps that were executed, in that order.
        touched: the steps that were executed or may have been, as no answer came in time, in the
            order in which that became known: these are to be undone, the last one first.
        compensated: the steps that were undone, in that order.
        failed_step: the step that failed for good.
        stuck: what it can neither do nor do without.
        error: why.
        attempts: the attempts that began, by task.
        forgiven: of these, the ones before a person let it go on, by task.
        running: the attempts that are not answered yet, by task.
        timers: those that are set, by name.
    """

    status: SagaStatus = SagaStatus.RUNNING
    input: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    completed: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()
    compensated: tuple[str, ...] = ()
    failed_step: str | None = None
    stuck: Task | None = None
    error: str | None = None
    attempts: Mapping[Task, int] = field(default_factory=dict)
    forgiven: Mapping[Task, int] = field(default_factory=dict)
    running: Mapping[Task, Running] = field(default_factory=dict)
    timers: Mapping[str, Timer] = field(default_factory=dict)

    @property
    def stuck_step(self) -> str | None:
        """The step at which it is stuck."""
        return None if self.stuck is None else self.stuck.step

    @property
    def doubtful(self) -> tuple[str, ...]:
        """The steps of which it is not known whether they were executed."""
        return tuple(step for step in self.touched if step not in self.completed)

    @property
    def ended(self) -> bool:
        """Whether nothing happens any more, unless somebody sees to it."""
        halted = self.status not in (SagaStatus.RUNNING, SagaStatus.COMPENSATING)
        return halted and not (self.running or self.timers)


def evolve(state: SagaState, event: Event) -> SagaState:
    """Return the state after one event of the saga's stream."""
    match event:
        case SagaStarted():
            return replace(state, input=event.input)
        case StepStarted() | CompensationStarted():
            task = _task(event)
            return replace(
                state,
                attempts={**state.attempts, task: event.attempt},
                running={**state.running, task: Running(event.attempt, event.command)},
            )
        case StepCompleted(step=step):
            return replace(
                _answered(state, event),
                completed=(*state.completed, step),
                touched=_moved(state.touched, step),
                results={**state.results, step: event.result},
            )
        case CompensationCompleted(step=step):
            return replace(_answered(state, event), compensated=(*state.compensated, step))
        case StepTimedOut(step=step):
            doubtful = replace(_answered(state, event), touched=_moved(state.touched, step))
            return _failed(doubtful, step, "no answer came in time") if event.final else doubtful
        case StepFailed(step=step):
            answered = _answered(state, event)
            return _failed(answered, step, event.error) if event.final else answered
        case CompensationFailed(error=error):
            return replace(_answered(state, event), error=error)
        case CompensationTimedOut():
            return replace(_answered(state, event), error="no answer came in time")
        case LateReplyReceived(step=step, compensated=True):
            return replace(state, touched=_moved(state.touched, step))
        case TimerSet(timer=name):
            about = None if event.step is None else Task(event.step, event.kind)
            timer = Timer(event.due_at, event.purpose, about, event.attempt)
            return replace(state, timers={**state.timers, name: timer})
        case TimerFired(timer=name) | TimerCancelled(timer=name):
            return replace(state, timers=_without(state.timers, name))
        case SagaCompleted():
            return replace(state, status=SagaStatus.COMPLETED)
        case SagaCompensated():
            return replace(state, status=SagaStatus.COMPENSATED)
        case SagaStuck():
            stuck = Task(event.step, event.kind)
            return replace(state, status=SagaStatus.STUCK, stuck=stuck, error=event.error)
        case SagaResumed():
            return _resumed(state, event)
    return state


def _resumed(state: SagaState, event: SagaResumed) -> SagaState:
    task = Task(event.step, event.kind)
    forwards = event.kind == "execute"
    state = replace(
        state,
        status=SagaStatus.RUNNING if forwards else SagaStatus.COMPENSATING,
        failed_step=None if forwards else state.failed_step,
        stuck=None,
        error=None,
        forgiven={**state.forgiven, task: state.attempts.get(task, 0)},
    )
    if not event.resolved:
        return state
    if forwards:
        return replace(state, completed=(*state.completed, event.step))
    return replace(state, compensated=(*state.compensated, event.step))


def _answered(state: SagaState, event: Event) -> SagaState:
    return replace(state, running=_without(state.running, _task(event)))


def _failed(state: SagaState, step: str, error: str) -> SagaState:
    if state.failed_step is not None:  # of those side by side the first one counts
        return state
    return replace(state, status=SagaStatus.COMPENSATING, failed_step=step, error=error)


def _task(event: Any) -> Task:
    undoes = event.event_type.startswith("Compensation")
    return Task(event.step, "compensate" if undoes else "execute")


def _moved(steps: tuple[str, ...], step: str) -> tuple[str, ...]:
    return (*(one for one in steps if one != step), step)


def _without(mapping: Mapping[Any, Any], key: Any) -> dict[Any, Any]:
    return {name: value for name, value in mapping.items() if name != key}
