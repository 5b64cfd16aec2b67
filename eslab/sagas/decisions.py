"""What a saga decides: pure functions from its state, and from what came in, to its next events.

A saga is a decider (decide, evolve, initial) whose stream is its inbox and its outbox at once, as
the workflows of Emmett are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from eslab.clock import VIRTUAL_START
from eslab.events import Event
from eslab.sagas.deciding import (
    Decision,
    Input,
    Reply,
    Resume,
    TimerDue,
    error_text,
    recorded_command,
)
from eslab.sagas.definition import Kind, Saga, Send, Step, StepContext, step_key
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
from eslab.sagas.state import SagaState, SagaStatus, Task, Timer, evolve
from eslab.schema import encode

__all__ = ["Case", "context_of", "decide"]


@dataclass(frozen=True, slots=True)
class Case:
    """One saga at one time.

    Attributes:
        saga: its definition.
        saga_id: which one.
        state: what its stream says.
        now: the time, where one is needed.
    """

    saga: Saga
    saga_id: str
    state: SagaState
    now: datetime = VIRTUAL_START


def decide(case: Case, incoming: Input) -> Decision[SagaState]:
    """Return what follows from what came in: what became of it, and what is done next.

    Args:
        case: the saga, as it is.
        incoming: its start, an answer, a timer, a person's word; or None.

    Raises:
        SagaDefinitionError: a step that began is not there any more.

    Example:
        >>> trip = Saga("trip", [Step("hotel", print, print), Step("train", print)])
        >>> case = Case(trip, "1", SagaState())
        >>> decide(case, None).events
        [StepStarted(step='hotel', attempt=1, command=None)]
    """
    decision = _SagaDecision(case)
    match incoming:
        case SagaStarted():
            decision.add(incoming)
        case Reply():
            decision.answer(incoming)
        case TimerDue():
            decision.fire(incoming.timer)
        case Resume():
            decision.resume(incoming)
    decision.go_on()
    return decision


class _SagaDecision(Decision[SagaState]):
    def __init__(self, case: Case) -> None:
        super().__init__(case.state, evolve)
        self._case = case
        self._saga = case.saga
        self._stream_id = case.saga.stream_id(case.saga_id)
        self._now = case.now

    # What came in.

    def answer(self, reply: Reply) -> None:
        """Take note of an answer to an attempt."""
        state, task = self.state, reply.task
        step = self._saga.step(task.step)
        done = state.completed if task.kind == "execute" else state.compensated
        running = task in state.running
        if task.step in done:
            return  # it was answered before
        if reply.error is None and (running or self._retrying(task)):
            self._cancel(task)
            self._succeed(reply)
        elif (
            reply.error is not None
            and reply.attempt == state.attempts.get(task)
            and (running or (reply.refused and self._retrying(task)))
        ):
            self._cancel(task)
            if reply.done:
                self._succeed(reply)  # so that it is undone
            self._fail(step, task, reply.attempt, reply.error, refused=reply.refused)
        else:
            self._take_late(reply, step)

    def _succeed(self, reply: Reply) -> None:
        step, attempt = reply.task.step, reply.attempt
        if reply.task.kind == "execute":
            self.add(StepCompleted(step=step, attempt=attempt, result=reply.result))
        else:
            late = self.state.status is SagaStatus.COMPENSATED
            self.add(CompensationCompleted(step=step, attempt=attempt, late=late))

    def _take_late(self, reply: Reply, step: Step) -> None:
        """Take note of an answer that is not waited for; it may be that it must be undone."""
        task, touched = reply.task, self.state.touched
        undo = (
            task.kind == "execute"
            and (reply.error is None or reply.done)
            and task.step not in touched
            and step.compensate is not None
        )
        self.add(
            LateReplyReceived(
                step=task.step,
                kind=task.kind,
                attempt=reply.attempt,
                error=reply.error,
                compensated=undo,
            )
        )

    def fire(self, timer: str) -> None:
        """Do what a timer was set for, if it still is."""
        set_ = self.state.timers.get(timer)
        if set_ is None or set_.task is None:
            return
        self.add(TimerFired(timer=timer))
        step = self._saga.step(set_.task.step)
        if set_.purpose == "retry":
            self._begin(step, set_.task.kind, set_.attempt)
        else:
            self._fail(step, set_.task, set_.attempt, None, refused=False)

    def resume(self, word: Resume) -> None:
        """Go on where it is stuck."""
        stuck = self.state.stuck
        if stuck is not None:
            self.add(
                SagaResumed(
                    step=stuck.step, kind=stuck.kind, resolved=word.resolved, reason=word.reason
                )
            )

    # What is done next.

    def go_on(self) -> None:
        """Decide until everything that can be done now has begun."""
        while following := list(self._following()):
            self.add(*following)

    def _following(self) -> Iterator[Event]:
        status = self.state.status
        if status is SagaStatus.RUNNING:
            yield from self._forwards()
        elif status is SagaStatus.COMPENSATING:
            yield from self._cancelled(_is_new_try)  # of those beside the one that failed
            if not self._in_flight("execute"):
                yield from self._backwards()
        elif status is SagaStatus.COMPENSATED:
            yield from self._undo()

    def _forwards(self) -> Iterator[Event]:
        state = self.state
        for group in self._saga.groups:
            left = [step for step in group if step.name not in state.completed]
            if not left:
                continue
            for step in left:
                task = Task(step.name, "execute")
                if task not in state.running and not self._retrying(task):
                    yield from self._beginning(step, "execute", state.attempts.get(task, 0) + 1)
            return
        yield SagaCompleted()

    def _backwards(self) -> Iterator[Event]:
        failed = self.state.failed_step or ""
        if self._saga.pivot in self.state.touched:  # it was executed, or may have been
            yield SagaStuck(step=failed, error=self.state.error or "", kind="execute")
            return
        undoing = list(self._undo())
        yield from undoing
        if not undoing and not self._in_flight("compensate"):
            yield SagaCompensated(failed_step=failed)

    def _undo(self) -> Iterator[Event]:
        """Undo the last step that is to be undone, unless that is being done."""
        state = self.state
        if self._in_flight("compensate"):
            return
        for name in reversed(state.touched):
            step = self._saga.step(name)
            if name in state.compensated or step.compensate is None:
                continue
            begun = state.attempts.get(Task(name, "compensate"), 0)
            yield from self._beginning(step, "compensate", begun + 1)
            return

    def _in_flight(self, kind: Kind) -> bool:
        """Say whether something of a kind is being done; undoing goes on until it is done."""
        state = self.state
        retried = (timer.task for timer in state.timers.values() if kind == "compensate")
        return any(task is not None and task.kind == kind for task in (*state.running, *retried))

    def _retrying(self, task: Task) -> bool:
        return any(
            timer.task == task and timer.purpose == "retry" for timer in self.state.timers.values()
        )

    # Attempts.

    def _begin(self, step: Step, kind: Kind, attempt: int) -> None:
        self.add(*self._beginning(step, kind, attempt))

    def _beginning(self, step: Step, kind: Kind, attempt: int) -> Iterator[Event]:
        """Yield the events by which an attempt begins; or fails, if its command cannot be made."""
        parts: dict[str, Any] = {"step": step.name, "attempt": attempt}
        way = step.way(kind)
        try:
            if isinstance(way, Send):
                case = replace(self._case, state=self.state)
                context = context_of(case, Task(step.name, kind), attempt)
                parts["command"] = recorded_command(way.command(context))
                encode(StepStarted(**parts))  # what cannot be recorded is not sent
        except Exception as error:
            yield from self._failing(step, kind, attempt, error_text(error))
            return
        if kind == "execute":
            yield StepStarted(**parts)
        else:
            yield CompensationStarted(**parts, late=self.state.status is SagaStatus.COMPENSATED)
        if step.timeout is not None:
            yield self._timer("timeout", step, kind, attempt, step.timeout)

    def _failing(self, step: Step, kind: Kind, attempt: int, error: str) -> Iterator[Event]:
        parts = {"step": step.name, "attempt": attempt, "error": error, "final": True}
        if kind == "execute":
            yield StepFailed(**parts)
        else:
            yield CompensationFailed(**parts)
            yield SagaStuck(step=step.name, error=error)

    def _fail(
        self, step: Step, task: Task, attempt: int, error: str | None, *, refused: bool
    ) -> None:
        """Take note that an attempt failed, or timed out if there is no error; and try again."""
        wait = None if refused else self._wait(step, task, attempt)
        parts = {"step": step.name, "attempt": attempt, "final": wait is None}
        if error is None:
            cls = StepTimedOut if task.kind == "execute" else CompensationTimedOut
            self.add(cls(**parts))
        else:
            failed = StepFailed if task.kind == "execute" else CompensationFailed
            self.add(failed(**parts, error=error))
        if wait is None:
            if task.kind == "compensate":
                self.add(SagaStuck(step=step.name, error=self.state.error or ""))
        elif wait:
            self.add(self._timer("retry", step, task.kind, attempt + 1, wait))
        else:
            self._begin(step, task.kind, attempt + 1)

    def _wait(self, step: Step, task: Task, attempt: int) -> timedelta | None:
        """Return how long to wait before it is tried again; None if it is not."""
        if task.kind == "execute" and self.state.failed_step is not None:
            return None  # another one beside it failed for good
        tries = attempt - self.state.forgiven.get(task, 0)
        return step.policy(task.kind).wait(f"{self._stream_id} {step.name} {task.kind}", tries)

    def _timer(
        self, purpose: Any, step: Step, kind: Kind, attempt: int, wait: timedelta
    ) -> TimerSet:
        return TimerSet(
            timer=f"{kind} {step.name} {attempt} {purpose}",
            due_at=self._now + wait,
            purpose=purpose,
            step=step.name,
            kind=kind,
            attempt=attempt,
        )

    def _cancel(self, task: Task) -> None:
        self.add(*self._cancelled(lambda timer: timer.task == task))

    def _cancelled(self, of: Callable[[Timer], bool]) -> Iterator[Event]:
        for name, timer in self.state.timers.items():
            if of(timer):
                yield TimerCancelled(timer=name)


def _is_new_try(timer: Timer) -> bool:
    return timer.purpose == "retry" and timer.task is not None and timer.task.kind == "execute"


def context_of(case: Case, task: Task, attempt: int) -> StepContext:
    """Return what the function of a step is given at an attempt."""
    stream_id = case.saga.stream_id(case.saga_id)
    undoes = task.kind == "compensate"
    return StepContext(
        saga_id=case.saga_id,
        step=task.step,
        attempt=attempt,
        idempotency_key=step_key(stream_id, task.step, task.kind),
        input=case.state.input,
        results=case.state.results,
        undoes=step_key(stream_id, task.step, "execute") if undoes else None,
    )
