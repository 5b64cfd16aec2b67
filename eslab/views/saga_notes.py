"""What a saga's stream tells beside its attempts: what came, timers, deadlines, and lints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple

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

LANES: Final = ("events", "timers")
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
        read = _ProcessNotes().read
        return [note for one in log if (note := read(one)) is not None]
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
    wrongly: Note | None = None
    never = set(summary.never_undone)
    for version, at, event in ((one.version, one.at, one.event) for one in log):
        if (
            isinstance(event, CompensationStarted | CompensationCompleted)
            and event.step == summary.wrongly_undone
        ):
            wrongly = Note(version, at, "wrong", event.step, "undone before what ended later")
        match event:
            case CompensationCompleted(step=step):
                if step in undone:
                    yield Note(version, at, "wrong", step, "undone twice")
                undone.add(step)
            case StepCompleted(step=step) | StepTimedOut(step=step) if step in never:
                yield Note(version, at, "wrong", step, "never undone")
                never.remove(step)
    if wrongly is not None:
        yield wrongly


# Process managers.


class _ProcessNotes:
    """Reads the stream of a process manager.

    Attributes:
        names: of its commands, by their ids.
        idle: the ids of commands of which no attempt is being made now.
        running: the names of its timers that are set.
    """

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.idle: set[str] = set()
        self.running: set[str] = set()

    def read(self, one: Logged) -> Note | None:
        """Return what is to be marked of an event, if anything is."""
        match one.event:
            case InputReceived() | InputParked() | InputFailed():
                return self._came(one, one.event)
            case TimerSet():
                return self._set(one, one.event)
            case TimerFired() | TimerCancelled():
                return self._ended(one, one.event)
            case CommandSent() | CommandFailed() | CommandDelivered() | CommandRefused():
                return self._command(one, one.event)
            case SagaStuck(step=step, error=error):
                return Note(one.version, one.at, "wrong", self._row(step), f"stuck: {step}", error)
            case SagaResumed(step=step) as event:
                self.idle.clear()
                return Note(one.version, one.at, "resumed", self._row(step), _resumed_text(event))
        return None

    def _row(self, stuck: str) -> str:
        """Return the row of what it is stuck at: of a command, or of what came."""
        return stuck if stuck in self.names.values() else LANES[0]

    @staticmethod
    def _came(one: Logged, event: InputReceived | InputParked | InputFailed) -> Note | None:
        mark: NoteKind = "parked" if isinstance(event, InputParked) else "received"
        if isinstance(event, InputFailed):
            return Note(one.version, one.at, "not handled", LANES[0], event.type, event.error)
        # Timers and refusals have marks of their own.
        if event.kind != "event":
            return None
        return Note(one.version, one.at, mark, LANES[0], event.type)

    def _set(self, one: Logged, event: TimerSet) -> Note | None:
        if event.purpose == "retry":
            self.idle.add(event.timer.removeprefix(_RETRY))
        if event.purpose != "process":
            return None
        self.running.add(event.timer)
        wait = duration_text((event.due_at - one.at).total_seconds())
        return Note(one.version, one.at, "set", LANES[1], event.timer, f"in {wait}")

    def _ended(self, one: Logged, event: TimerFired | TimerCancelled) -> Note | None:
        timer, fired = event.timer, isinstance(event, TimerFired)
        if timer in self.running:
            self.running.remove(timer)
            mark: NoteKind = "fired" if fired else "cancelled"
            return Note(one.version, one.at, mark, LANES[1], timer)
        if fired and timer.startswith(_TIMEOUT):
            step = self.names[timer.removeprefix(_TIMEOUT)]
            return Note(one.version, one.at, "timeout", step, "it was not answered in time")
        if fired:
            self.idle.discard(timer.removeprefix(_RETRY))
        return None

    def _command(self, one: Logged, event: _CommandEvent) -> Note | None:
        command_id = str(event.command_id)
        match event:
            case CommandSent():
                self.names[command_id] = str(event.command["type"]).rpartition(".")[2]
            case CommandFailed(final=True):
                self.idle.add(command_id)
            case CommandDelivered() | CommandRefused() if command_id in self.idle:
                done = "carried out" if isinstance(event, CommandDelivered) else "refused"
                text = f"it was {done}: the answer came late"
                return Note(one.version, one.at, "late", self.names[command_id], text)
        return None


_CommandEvent = CommandSent | CommandFailed | CommandDelivered | CommandRefused
_RETRY: Final = "retry of "
_TIMEOUT: Final = "timeout of "
