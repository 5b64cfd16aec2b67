"""What a timeline comes to: the status of a saga or a process manager, in words, and lints."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from eslab.errors import InputError
from eslab.sagas import (
    LateReplyReceived,
    ProcessState,
    ProcessStatus,
    SagaStarted,
    SagaState,
    SagaStatus,
    StepCompleted,
    StepTimedOut,
    Task,
)
from eslab.sagas.process_state import evolve_process
from eslab.sagas.state import evolve
from eslab.views.saga_log import Logged
from eslab.words import counted

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ProcessSummary", "SagaSummary", "Summary", "is_process", "summary_of"]


@dataclass(frozen=True, slots=True)
class SagaSummary:
    """What a timeline says about a saga as a whole.

    Attributes:
        name: of the saga.
        saga_id: which one of that name.
        steps: the names of its steps, as they were when it was started.
        pivot: the step behind which there is no way back, if there is one.
        state: what its stream says.
        seconds: from its start to its last event.
        retries: how many attempts were not the first one.
        undo_order: the steps whose compensation began, in that order.
        late: the steps of which it was known late that they succeeded: behind their timeout, or
            when they had failed.
        out_of_turn: of these, the ones that were undone because of that, when others had been.
        undoable: the steps that can be undone, if that is known.
    """

    name: str
    saga_id: str
    steps: tuple[str, ...]
    pivot: str | None
    state: SagaState
    seconds: float
    retries: int
    undo_order: tuple[str, ...]
    late: tuple[str, ...] = ()
    out_of_turn: frozenset[str] = frozenset()
    undoable: frozenset[str] | None = None

    @property
    def wrongly_undone(self) -> str | None:
        """The first step that was undone before one that had ended later; None: there is none."""
        touched = [step for step in self.state.touched if step not in self.out_of_turn]
        undone = [step for step in self.undo_order if step in touched]
        due = [step for step in reversed(touched) if step in undone]
        return next((step for step, other in zip(undone, due, strict=True) if step != other), None)

    @property
    def in_reverse(self) -> bool:
        """Whether steps were undone in the reverse of the order in which they ended."""
        return self.wrongly_undone is None

    @property
    def undone_twice(self) -> list[str]:
        """The steps that were undone more than once."""
        undone = self.state.compensated
        return sorted({step for step in undone if undone.count(step) > 1})

    @property
    def never_undone(self) -> list[str]:
        """The steps that were left as they were, though the saga says that it is undone."""
        state = self.state
        if self.undoable is None or state.status is not SagaStatus.COMPENSATED:
            return []
        return [
            step
            for step in state.touched
            if step in self.undoable
            and step not in state.compensated
            and Task(step, "compensate") not in state.running
        ]

    @property
    def alarming(self) -> bool:
        """Whether something is as it should not be: a person has to look."""
        wrong = self.undone_twice or self.never_undone or not self.in_reverse
        return bool(wrong) or self.state.status is SagaStatus.STUCK

    @property
    def status(self) -> str:
        """The status, in capitals."""
        return self.state.status.value

    def words(self) -> str:
        """Return what happened: steps, compensations, failures and retries."""
        state, count = self.state, len(self.steps)
        parts = [counted(count, "step")]
        if state.status is SagaStatus.RUNNING:
            parts = [f"{len(state.completed)} of {parts[0]} completed", *self._running()]
        if state.compensated or not self.in_reverse:
            parts.append(f"{len(set(state.compensated))} undone{self._order()}")
        elif state.status is SagaStatus.COMPENSATED and not self.never_undone:
            parts.append("nothing to undo")
        if twice := self.undone_twice:
            parts.append(f"undone TWICE: {', '.join(twice)}")
        if never := self.never_undone:
            parts.append(f"NEVER undone: {', '.join(never)}")
        if doubtful := [step for step in state.doubtful if step != state.failed_step]:
            parts.append(f"not answered: {', '.join(doubtful)}")
        if state.failed_step:
            how = "not answered" if state.failed_step in state.doubtful else "1 failed"
            parts.append(f"{how}: {state.failed_step}")
        if self.late:
            parts.append(f"answered late: {', '.join(self.late)}")
        if state.status is SagaStatus.COMPENSATING and self.undo_order and state.running:
            parts.append(f"{self.undo_order[-1]} is being undone")
        if state.stuck is not None:
            done = "undone" if state.stuck.kind == "compensate" else "done"
            parts.append(f"{state.stuck.step} cannot be {done}")
        return ", ".join([*parts, *_retries(self.retries)])

    def _running(self) -> list[str]:
        waiting = [step for step in self.steps if step not in self.state.completed]
        if not waiting:
            return []
        running = self.state.running.get(Task(waiting[0]))
        number = 0 if running is None else running.attempt
        attempt = f" (attempt {number})" if number > 1 else ""
        return [f"{waiting[0]} {'is running' if number else 'is next'}{attempt}"]

    def _order(self) -> str:
        if not self.in_reverse:
            return " NOT in reverse order"
        return " in reverse order" if len(self.undo_order) > 1 else ""


@dataclass(frozen=True, slots=True)
class ProcessSummary:
    """What a timeline says about an instance of a process manager as a whole.

    Attributes:
        name: of the process manager.
        saga_id: which one of that name.
        state: what its stream says.
        seconds: from its first event to its last one.
        retries: how many attempts were not the first one.
    """

    name: str
    saga_id: str
    state: ProcessState
    seconds: float
    retries: int

    @property
    def steps(self) -> tuple[str, ...]:
        """The types of the commands that it sent, in the order in which it first did."""
        return tuple(dict.fromkeys(command.name for command in self.state.sent))

    @property
    def alarming(self) -> bool:
        """Whether a person has to look."""
        return self.state.status is ProcessStatus.STUCK

    @property
    def status(self) -> str:
        """The status, in capitals."""
        return self.state.status.value

    def words(self) -> str:
        """Return what happened: commands, what was refused, what it waits for, and retries."""
        state = self.state
        parts = [counted(len(state.sent), "command")]
        if state.status is ProcessStatus.WAITING:
            parts = ["for the event that starts it"]
        if state.status is ProcessStatus.RUNNING:
            parts = [*parts, *self._running()]
        if refused := [one.name for one in state.sent if one.outcome == "refused"]:
            parts.append(f"{len(refused)} refused: {', '.join(dict.fromkeys(refused))}")
        if state.parked:
            parked = dict.fromkeys(one.name for one in state.parked)
            parts.append(f"{len(state.parked)} parked: {', '.join(parked)}")
        if state.stuck is not None:
            done = "handled" if state.failed is not None else "carried out"
            parts.append(f"{state.stuck} cannot be {done}")
        return ", ".join([*parts, *_retries(self.retries)])

    def _running(self) -> list[str]:
        waiting = self.state.unanswered
        parts = []
        if waiting is not None:
            attempt = f" (attempt {waiting.attempt})" if waiting.attempt > 1 else ""
            parts.append(f"{waiting.name} is not answered yet{attempt}")
        for name, timer in self.state.timers.items():
            if timer.purpose == "process":
                parts.append(f"timer {name} is set")
        return parts


Summary = SagaSummary | ProcessSummary


def _retries(count: int) -> list[str]:
    return [f"{count} {'retry' if count == 1 else 'retries'}"] if count else []


def is_process(stream_id: str, log: Sequence[Logged]) -> bool:
    """Say whether a stream is that of a process manager; else it is that of a saga.

    Raises:
        InputError: it is neither.
    """
    if not log or not stream_id.startswith("saga-"):
        raise InputError(f"stream {stream_id!r} is not that of a saga: it has no SagaStarted")
    started = _started(log)
    # What came before the event that starts it is parked, and there is no start yet.
    return started is None or not started.steps


def _started(log: Sequence[Logged]) -> SagaStarted | None:
    return next((one.event for one in log if isinstance(one.event, SagaStarted)), None)


def summary_of(
    stream_id: str,
    log: Sequence[Logged],
    attempts: pd.DataFrame,
    *,
    undoable: Collection[str] | None = None,
) -> Summary:
    """Return what a stream comes to.

    Args:
        stream_id: its name.
        log: its events.
        attempts: the same, a row an attempt.
        undoable: the steps that can be undone, if that is known.

    Raises:
        InputError: the stream is not that of a saga.
    """
    seconds = round((log[-1].at - log[0].at).total_seconds(), 6) if log else 0.0
    retries = int((attempts["attempt"] > 1).sum())
    events = [one.event for one in log]
    if is_process(stream_id, log):
        name, _, saga_id = stream_id.removeprefix("saga-").partition("-")
        process = reduce(evolve_process, events, ProcessState())
        return ProcessSummary(name, saga_id, process, seconds, retries)
    started = _started(log)
    assert started is not None
    undone = attempts.loc[attempts["kind"] == "compensate", "step"]
    replies = [one for one in events if isinstance(one, LateReplyReceived)]
    return SagaSummary(
        name=started.saga,
        saga_id=started.saga_id,
        steps=tuple(started.steps),
        pivot=started.pivot,
        state=reduce(evolve, events, SagaState()),
        seconds=seconds,
        retries=retries,
        undo_order=tuple(dict.fromkeys(undone)),
        late=_late(log),
        out_of_turn=frozenset(reply.step for reply in replies if reply.compensated),
        undoable=None if undoable is None else frozenset(undoable),
    )


def _late(log: Sequence[Logged]) -> tuple[str, ...]:
    """Return the steps that were executed, and of which that was known late."""
    timed_out: set[tuple[str, int]] = set()
    late: dict[str, None] = {}
    for one in log:
        match one.event:
            case StepTimedOut(step=step, attempt=attempt):
                timed_out.add((step, attempt))
            case StepCompleted(step=step, attempt=attempt) if (step, attempt) in timed_out:
                late[step] = None
            case LateReplyReceived(kind="execute", error=None, step=step):
                late[step] = None
    return tuple(late)
