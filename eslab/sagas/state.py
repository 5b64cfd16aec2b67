"""The state of a saga, folded from its stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any, Final, NamedTuple

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


NO_ANSWER: Final = "no answer came in time"


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
        started: whether anything did start it.
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
        forgiven: of these, the ones before a person last let it go on, by task.
        running: the attempts that are not answered yet, by task.
        timers: those that are set, by name.
    """

    started: bool = False
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
    follow = _EVOLVE.get(type(event))
    return state if follow is None else follow(state, event)


def _started(state: SagaState, event: SagaStarted) -> SagaState:
    return replace(state, started=True, input=event.input)


def _begun(state: SagaState, event: StepStarted | CompensationStarted) -> SagaState:
    task = _task(event)
    return replace(
        state,
        attempts={**state.attempts, task: event.attempt},
        running={**state.running, task: Running(event.attempt, event.command)},
    )


def _completed(state: SagaState, event: StepCompleted) -> SagaState:
    return replace(
        _answered(state, event),
        completed=(*state.completed, event.step),
        touched=_moved(state.touched, event.step),
        results={**state.results, event.step: event.result},
    )


def _compensated(state: SagaState, event: CompensationCompleted) -> SagaState:
    return replace(_answered(state, event), compensated=(*state.compensated, event.step))


def _step_failed(state: SagaState, event: StepFailed) -> SagaState:
    answered = _answered(state, event)
    return _failed(answered, event.step, event.error) if event.final else answered


def _step_timed_out(state: SagaState, event: StepTimedOut) -> SagaState:
    doubtful = replace(_answered(state, event), touched=_moved(state.touched, event.step))
    return _failed(doubtful, event.step, NO_ANSWER) if event.final else doubtful


def _compensation_failed(state: SagaState, event: CompensationFailed) -> SagaState:
    return replace(_answered(state, event), error=event.error)


def _compensation_timed_out(state: SagaState, event: CompensationTimedOut) -> SagaState:
    return replace(_answered(state, event), error=NO_ANSWER)


def _late(state: SagaState, event: LateReplyReceived) -> SagaState:
    return replace(state, touched=_moved(state.touched, event.step)) if event.compensated else state


def _timer_set(state: SagaState, event: TimerSet) -> SagaState:
    task = None if event.step is None else Task(event.step, event.kind)
    timer = Timer(event.due_at, event.purpose, task, event.attempt)
    return replace(state, timers={**state.timers, event.timer: timer})


def _timer_ended(state: SagaState, event: TimerFired | TimerCancelled) -> SagaState:
    return replace(state, timers=_without(state.timers, event.timer))


def _stuck(state: SagaState, event: SagaStuck) -> SagaState:
    stuck = Task(event.step, event.kind)
    return replace(state, status=SagaStatus.STUCK, stuck=stuck, error=event.error)


def _resumed(state: SagaState, event: SagaResumed) -> SagaState:
    forwards = event.kind == "execute"
    state = replace(
        state,
        status=SagaStatus.RUNNING if forwards else SagaStatus.COMPENSATING,
        failed_step=None if forwards else state.failed_step,
        stuck=None,
        error=None,
        forgiven=state.attempts,
    )
    if not event.resolved:
        return state
    if forwards:
        return replace(state, completed=_moved(state.completed, event.step))
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


_EVOLVE: Final[Mapping[type[Event], Callable[[SagaState, Any], SagaState]]] = {
    SagaStarted: _started,
    StepStarted: _begun,
    StepCompleted: _completed,
    StepFailed: _step_failed,
    StepTimedOut: _step_timed_out,
    CompensationStarted: _begun,
    CompensationCompleted: _compensated,
    CompensationFailed: _compensation_failed,
    CompensationTimedOut: _compensation_timed_out,
    LateReplyReceived: _late,
    TimerSet: _timer_set,
    TimerFired: _timer_ended,
    TimerCancelled: _timer_ended,
    SagaCompleted: lambda state, _: replace(state, status=SagaStatus.COMPLETED),
    SagaCompensated: lambda state, _: replace(state, status=SagaStatus.COMPENSATED),
    SagaStuck: _stuck,
    SagaResumed: _resumed,
}
