"""What a saga's stream tells beside its attempts: what came, timers, deadlines, and lints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

import pandas as pd

from eslab.sagas import (
    CommandDelivered,
    CommandFailed,
    CommandRefused,
    CommandSent,
    CompensationCompleted,
    CompensationStarted,
    CompensationTimedOut,
    InputFailed,
    InputParked,
    InputReceived,
    LateReplyReceived,
    SagaResumed,
    SagaStuck,
    StepCompleted,
    StepTimedOut,
    TimerCancelled,
    TimerFired,
    TimerSet,
)
from eslab.views.saga_log import Logged
from eslab.views.saga_summary import ProcessSummary, SagaSummary, Summary
from eslab.views.scales import duration_text

__all__ = ["LANES", "Note", "NoteKind", "notes_frame", "notes_of"]

NoteKind = Literal[
    "received", "parked", "not handled", "set", "fired", "cancelled", "timeout", "late", "resumed",
    "wrong",
]  # fmt: skip

LANES = ("events", "timers")
"""The rows above the commands of a process manager."""


class Note(NamedTuple):
    """Something at one moment of a timeline.

    Attributes:
        version: of the event that says so.
        at: when it was.
        mark: what kind of thing.
        step: in whose row it is: that of a step or of a type of commands; or one of `LANES`.
        text: what it says; of an event its type, of a timer its name.
        detail: what is to be said beside that.
    """

    version: int
    at: datetime
    mark: NoteKind
    step: str
    text: str
    detail: str = ""


def notes_frame(notes: Sequence[Note]) -> pd.DataFrame:
    """Return notes as a frame: version, at, mark, step, text and detail."""
    frame = pd.DataFrame(notes, columns=list(Note._fields))
    return frame.assign(at=pd.to_datetime(frame["at"], utc=True))


def notes_of(log: Sequence[Logged], summary: Summary) -> list[Note]:
    """Return what is to be marked, in the order of the stream.

    Args:
        log: the events of the stream.
        summary: what it comes to.
    """
    if isinstance(summary, ProcessSummary):
        return list(_process_notes(log))
    return sorted(_saga_notes(log, summary))


# Sagas.


def _saga_notes(log: Sequence[Logged], summary: SagaSummary) -> Iterator[Note]:
    deadlines: dict[tuple[str | None, str, int], datetime] = {}
    timed_out: set[tuple[str, int]] = set()
    for version, at, event in ((one.version, one.at, one.event) for one in log):
        match event:
            case TimerSet(purpose="timeout"):
                deadlines[event.step, event.kind, event.attempt] = event.due_at
            case StepTimedOut() | CompensationTimedOut():
                kind = "execute" if isinstance(event, StepTimedOut) else "compensate"
                timed_out.add((event.step, event.attempt))
                deadline = deadlines.get((event.step, kind, event.attempt), at)
                text = f"attempt {event.attempt} was not answered in time"
                yield Note(version, deadline, "timeout", event.step, text)
            case StepCompleted() if (event.step, event.attempt) in timed_out:
                text = f"attempt {event.attempt} was executed: the answer came late"
                yield Note(version, at, "late", event.step, text)
            case LateReplyReceived():
                yield Note(version, at, "late", event.step, _late_text(event))
            case SagaStuck():
                yield Note(version, at, "wrong", event.step, "stuck", event.error)
            case SagaResumed():
                yield Note(version, at, "resumed", event.step, _resumed_text(event))
    yield from _lints(log, summary)


def _late_text(reply: LateReplyReceived) -> str:
    what = "executed" if reply.kind == "execute" else "undone"
    how = f"was {what}" if reply.error is None else f"was not {what}: {reply.error}"
    undone = "; it is undone because of this" if reply.compensated else ""
    return f"attempt {reply.attempt} {how}: the answer came late{undone}"


def _resumed_text(event: SagaResumed) -> str:
    how = "resumed, as done by a person" if event.resolved else "resumed"
    return f"{how}: {event.reason}" if event.reason else how


def _lints(log: Sequence[Logged], summary: SagaSummary) -> Iterator[Note]:
    undone: set[str] = set()
    wrongly, never = summary.wrongly_undone, set(summary.never_undone)
    for version, at, event in ((one.version, one.at, one.event) for one in log):
        match event:
            case CompensationStarted(step=step) if step == wrongly:
                yield Note(version, at, "wrong", step, "undone before what ended later")
                wrongly = None
            case CompensationCompleted(step=step):
                if step in undone:
                    yield Note(version, at, "wrong", step, "undone twice")
                undone.add(step)
            case StepCompleted(step=step) | StepTimedOut(step=step) if step in never:
                yield Note(version, at, "wrong", step, "never undone")
                never.remove(step)


# Process managers.


def _process_notes(log: Sequence[Logged]) -> Iterator[Note]:
    events, timers = LANES
    names: dict[str, str] = {}  # of commands, by their ids
    idle: set[str] = set()  # commands of which no attempt is being made
    running: set[str] = set()
    for version, at, event in ((one.version, one.at, one.event) for one in log):
        match event:
            case InputReceived(kind="event"):
                yield Note(version, at, "received", events, event.type)
            case InputParked():
                yield Note(version, at, "parked", events, event.type)
            case InputFailed():
                yield Note(version, at, "not handled", events, event.type, event.error)
            case TimerSet(purpose="process", timer=timer):
                running.add(timer)
                wait = duration_text((event.due_at - at).total_seconds())
                yield Note(version, at, "set", timers, timer, f"in {wait}")
            case TimerSet(purpose="retry", timer=timer):
                idle.add(timer.removeprefix("retry of "))
            case TimerFired(timer=timer) | TimerCancelled(timer=timer):
                fired = isinstance(event, TimerFired)
                if timer in running:
                    running.remove(timer)
                    yield Note(version, at, "fired" if fired else "cancelled", timers, timer)
                elif fired and timer.startswith("timeout of "):
                    step = names[timer.removeprefix("timeout of ")]
                    yield Note(version, at, "timeout", step, "it was not answered in time")
                idle -= {timer.removeprefix("retry of ")} if fired else set()
            case CommandSent():
                names[str(event.command_id)] = str(event.command["type"]).rpartition(".")[2]
            case CommandFailed(final=True):
                idle.add(str(event.command_id))
            case CommandDelivered() | CommandRefused() if str(event.command_id) in idle:
                done = "carried out" if isinstance(event, CommandDelivered) else "refused"
                text = f"it was {done}: the answer came late"
                yield Note(version, at, "late", names[str(event.command_id)], text)
            case SagaStuck():
                stuck = event.step if event.step in names.values() else events
                yield Note(version, at, "wrong", stuck, f"stuck: {event.step}", event.error)
            case SagaResumed():
                stuck = event.step if event.step in names.values() else events
                yield Note(version, at, "resumed", stuck, _resumed_text(event))
                idle.clear()
