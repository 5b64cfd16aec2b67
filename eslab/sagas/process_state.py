"""The state of one instance of a process manager, folded from its stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Literal
from uuid import UUID

from eslab.events import Event
from eslab.sagas.events import (
    CommandDelivered,
    CommandFailed,
    CommandRefused,
    CommandSent,
    InputFailed,
    InputKind,
    InputParked,
    InputReceived,
    ProcessStateChanged,
    ProcessStopped,
    SagaCompleted,
    SagaResumed,
    SagaStarted,
    SagaStuck,
    TimerCancelled,
    TimerFired,
    TimerSet,
)
from eslab.sagas.state import Timer

__all__ = ["ProcessInput", "ProcessState", "ProcessStatus", "SentCommand", "evolve_process"]


class ProcessStatus(Enum):
    """Where an instance of a process manager stands."""

    WAITING = "WAITING"
    """Events came that concern it, and are parked: the one that starts it did not."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    STUCK = "STUCK"


@dataclass(frozen=True, slots=True)
class ProcessInput:
    """Something that came for an instance.

    Attributes:
        kind: an event, a timer, or that a command was refused.
        id: of the event or the command, or the name of the timer.
        name: the type of the event or the command, or the name of the timer.
        position: of the event, else 0.
    """

    kind: InputKind
    id: str
    name: str
    position: int = 0


@dataclass(frozen=True, slots=True)
class SentCommand:
    """A command that an instance sent.

    Attributes:
        id: of the command.
        number: counts from 1.
        command: its ``type`` and its ``data``.
        attempt: the one that is being made, or was the last.
        forgiven: of the attempts, those before a person let the instance go on.
        outcome: what became of it; None: there is no answer yet.
        reason: why it was refused.
    """

    id: UUID
    number: int
    command: Mapping[str, Any]
    attempt: int = 1
    forgiven: int = 0
    outcome: Literal["delivered", "refused"] | None = None
    reason: str = ""

    @property
    def name(self) -> str:
        """The name of its class."""
        return str(self.command["type"]).rpartition(".")[2]

    def timer(self, purpose: str) -> str:
        """Return the name of a timer that is about it."""
        return f"{purpose} of {self.id}"


@dataclass(frozen=True, slots=True, repr=False)
class ProcessState:
    """What the stream of an instance says about it.

    Attributes:
        status: where it stands.
        data: its own state, as JSON: what differs from what it began with.
        started_at: the position of the event that started it.
        handled: the ids of the events that it dealt with, or that are parked.
        parked: what came and waits: for the start, or for somebody who lets it go on.
        failed: what it is stuck at, if that came from outside.
        exhausted: the id of the command that it is stuck at, if it is that.
        error: why it is stuck.
        stuck: the name of what it is stuck at.
        sent: the commands that it sent, in order.
        stopped: it reacts to no more events.
        timers: those that are set, by name; while it is stuck, none of them fires.
    """

    status: ProcessStatus = ProcessStatus.WAITING
    data: Mapping[str, Any] = field(default_factory=dict)
    started_at: int = 0
    handled: frozenset[str] = frozenset()
    parked: tuple[ProcessInput, ...] = ()
    failed: ProcessInput | None = None
    exhausted: UUID | None = None
    error: str | None = None
    stuck: str | None = None
    sent: tuple[SentCommand, ...] = ()
    stopped: bool = False
    timers: Mapping[str, Timer] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether nothing happens any more, unless something comes or somebody sees to it."""
        return self.status is not ProcessStatus.RUNNING

    @property
    def unanswered(self) -> SentCommand | None:
        """The first command that is not answered yet: those behind it wait for the answer."""
        return next((command for command in self.sent if command.outcome is None), None)

    def command(self, command_id: UUID) -> SentCommand:
        """Return a command that it sent."""
        return next(command for command in self.sent if command.id == command_id)

    def __repr__(self) -> str:
        parts = [f"{name}={value!r}" for name, value in self.data.items()]
        for word, names in (
            ("parked", [one.name for one in self.parked]),
            ("waits for", [one.name for one in self.sent if one.outcome is None]),
            ("timers", [name for name, one in self.timers.items() if one.purpose == "process"]),
        ):
            if names:
                parts.append(f"{word} {', '.join(names)}")
        if self.stuck is not None:
            parts.append(f"at {self.stuck}: {self.error}")
        return f"<ProcessState {' '.join([self.status.value, '; '.join(parts)]).strip()}>"


def evolve_process(state: ProcessState, event: Event) -> ProcessState:
    """Return the state after one event of the stream."""
    match event:
        case SagaStarted():
            return replace(state, status=ProcessStatus.RUNNING, started_at=event.position)
        case InputReceived() | InputParked() | InputFailed():
            return _came(state, event)
        case ProcessStateChanged():
            return replace(state, data={**state.data, **event.changes})
        case CommandSent():
            sent = SentCommand(event.command_id, event.number, event.command)
            return replace(state, sent=(*state.sent, sent))
        case CommandDelivered() | CommandRefused() | CommandFailed():
            return _answered(state, event)
        case TimerSet() | TimerFired() | TimerCancelled():
            return _timed(state, event)
        case ProcessStopped():
            return replace(state, stopped=True)
        case SagaCompleted():
            return replace(state, status=ProcessStatus.COMPLETED)
        case SagaStuck():
            return replace(state, status=ProcessStatus.STUCK, stuck=event.step, error=event.error)
        case SagaResumed():
            return _resumed(state)
    return state


def _came(state: ProcessState, event: InputReceived | InputParked | InputFailed) -> ProcessState:
    came = ProcessInput(event.kind, event.message_id, event.type, event.position)
    handled = state.handled | {came.id} if came.kind == "event" else state.handled
    parked = tuple(one for one in state.parked if one != came)
    if isinstance(event, InputParked):
        return replace(state, handled=handled, parked=(*parked, came))
    failed = came if isinstance(event, InputFailed) else state.failed
    return replace(state, handled=handled, parked=parked, failed=failed)


def _answered(
    state: ProcessState, event: CommandDelivered | CommandRefused | CommandFailed
) -> ProcessState:
    match event:
        case CommandDelivered():
            return _changed(state, event.command_id, outcome="delivered")
        case CommandRefused():
            return _changed(state, event.command_id, outcome="refused", reason=event.reason)
    tried = _changed(state, event.command_id, attempt=event.attempt + 1)
    return replace(tried, exhausted=event.command_id if event.final else None)


def _timed(state: ProcessState, event: TimerSet | TimerFired | TimerCancelled) -> ProcessState:
    timers = {name: timer for name, timer in state.timers.items() if name != event.timer}
    if isinstance(event, TimerSet):
        timers[event.timer] = Timer(event.due_at, event.purpose, None, event.attempt)
    return replace(state, timers=timers)


def _changed(state: ProcessState, command_id: UUID, **changes: Any) -> ProcessState:
    sent = tuple(
        replace(command, **changes) if command.id == command_id else command
        for command in state.sent
    )
    return replace(state, sent=sent)


def _resumed(state: ProcessState) -> ProcessState:
    resumed = replace(
        state, status=ProcessStatus.RUNNING, failed=None, exhausted=None, stuck=None, error=None
    )
    waiting = state.unanswered
    if waiting is None:
        return resumed
    return _changed(resumed, waiting.id, forgiven=waiting.attempt - 1)
