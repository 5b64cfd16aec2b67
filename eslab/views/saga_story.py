"""A saga's stream told event by event: what each says, and the state after it, as lines of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from eslab.events import Event
from eslab.sagas import (
    CommandDelivered,
    CommandFailed,
    CommandRefused,
    CommandSent,
    CompensationCompleted,
    CompensationFailed,
    CompensationStarted,
    CompensationTimedOut,
    InputFailed,
    InputParked,
    InputReceived,
    LateReplyReceived,
    ProcessState,
    ProcessStateChanged,
    ProcessStopped,
    SagaCompensated,
    SagaCompleted,
    SagaResumed,
    SagaStarted,
    SagaState,
    SagaStatus,
    SagaStuck,
    StepCompleted,
    StepFailed,
    StepStarted,
    StepTimedOut,
    TimerCancelled,
    TimerFired,
    TimerSet,
)
from eslab.sagas.process_state import evolve_process
from eslab.sagas.state import evolve
from eslab.schema import canonical_json
from eslab.views.saga_log import Logged
from eslab.views.scales import duration_text
from eslab.words import one_line, shortened

__all__ = ["Line", "Moment", "story_of"]

Mark = Literal["", "+", "-", "~"]

LETTERS: Final = 200
"""Of a value that is shown, and of what is said of an event; longer ones are cut."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a state.

    Attributes:
        name: what it is about.
        text: the value; of one that disappeared, the last one.
        mark: whether it appeared (``+``), disappeared (``-``) or became another one (``~``).
        before: what it was, if it became another one.
    """

    name: str
    text: str
    mark: Mark = ""
    before: str = ""


@dataclass(frozen=True, slots=True)
class Moment:
    """One event of the stream, and what it changed.

    Attributes:
        version: in the stream.
        position: in the log.
        at: when it was recorded.
        type: of the event.
        words: what it says.
        state: the state after it, with what it changed.
    """

    version: int
    position: int
    at: datetime
    type: str
    words: str
    state: tuple[Line, ...]


def story_of(log: Sequence[Logged], *, process: bool) -> list[Moment]:
    """Tell a stream event by event.

    Args:
        log: its events.
        process: whether it is that of a process manager.
    """
    state: Any = ProcessState() if process else SagaState()
    tell = _process_lines if process else _saga_lines
    before: dict[str, str] = {}
    told = []
    names: dict[str, str] = {}
    for one in log:
        state = evolve_process(state, one.event) if process else evolve(state, one.event)
        names |= _named(one.event, names)
        after = dict(tell(state))
        after |= {
            f"timer {name}" if name not in names else names[name].removeprefix("the "): (
                f"due {_due(timer.due_at, one.at)}"
            )
            for name, timer in state.timers.items()
        }
        words = shortened(one_line(_words(one.event, names, one.at)), LETTERS)
        lines = tuple(_lines(before, after))
        told.append(
            Moment(one.version, one.position, one.at, type(one.event).__name__, words, lines)
        )
        before = after
    return told


def _named(event: Event, names: Mapping[str, str]) -> dict[str, str]:
    """Return what a command or a timer is called, by its id or its name in the stream."""
    match event:
        case CommandSent(command_id=command_id, command=command):
            return {str(command_id): str(command["type"]).rpartition(".")[2]}
        case TimerSet(timer=timer, purpose=purpose, step=str(step), kind=kind):
            return {timer: f"the {purpose} of {_doing(step, kind)}"}
        case TimerSet(timer=timer, purpose="timeout" | "retry" as purpose):
            of = names.get(timer.removeprefix(f"{purpose} of "), "a command")
            return {timer: f"the {purpose} of {of}"}
    return {}


def _lines(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Line]:
    """Yield a state line by line; what disappeared comes last."""
    for name, text in after.items():
        if name not in before:
            yield Line(name, text, "+")
        elif before[name] != text:
            yield Line(name, text, "~", before[name])
        else:
            yield Line(name, text)
    for name, text in before.items():
        if name not in after:
            yield Line(name, text, "-")


def _saga_lines(state: SagaState) -> Iterator[tuple[str, str]]:
    yield "status", state.status.value
    running = [f"{_doing(*task)} (attempt {one.attempt})" for task, one in state.running.items()]
    under_way = state.status in (SagaStatus.RUNNING, SagaStatus.COMPENSATING)
    left = [step for step in state.touched if step not in state.compensated and under_way]
    for name, steps in (
        ("running", running),
        ("executed", state.completed),
        ("not known", state.doubtful),
        ("to undo, if it fails", left[::-1]),
        ("undone", state.compensated),
    ):
        if steps:
            yield name, ", ".join(steps)
    if state.failed_step:
        yield "failed", state.failed_step
    if state.stuck:
        yield "stuck at", _doing(*state.stuck)
        yield "error", shortened(state.error or "", LETTERS)


def _doing(step: str, kind: str) -> str:
    return step if kind == "execute" else f"undoing {step}"


def _process_lines(state: ProcessState) -> Iterator[tuple[str, str]]:
    yield "status", state.status.value
    for name, value in sorted(state.data.items()):
        yield f"self.{name}", shortened(canonical_json(value), LETTERS)
    waiting = state.unanswered
    for command in state.sent:
        outcome = command.outcome or ("on its way" if command is waiting else "waits")
        yield f"{command.number}. {command.name}", outcome
    if state.parked:
        yield "parked", ", ".join(one.name for one in state.parked)
    if state.stuck:
        yield "stuck at", state.stuck
    if state.error:
        yield "error", shortened(state.error, LETTERS)
    if state.stopped:
        yield "stopped", "reacts to no more events"


def _due(due_at: datetime, now: datetime) -> str:
    wait = (due_at - now).total_seconds()
    return f"in {duration_text(wait)}" if wait > 0 else "now"


# What events say.


def _words(event: Event, names: Mapping[str, str], at: datetime) -> str:
    if isinstance(event, CommandSent | CommandDelivered | CommandRefused | CommandFailed):
        return _of_command(event, names.get(str(event.command_id), "a command"))
    if isinstance(event, TimerSet | TimerFired | TimerCancelled):
        return _of_timer(event, names.get(event.timer, f"timer {event.timer}"), at)
    say = _SAID.get(type(event))
    return type(event).__name__ if say is None else say(event)


def _of_command(event: Event, name: str) -> str:
    match event:
        case CommandSent(number=number):
            return f"{name} is sent, as command {number}"
        case CommandDelivered():
            return f"{name} was carried out"
        case CommandRefused(reason=reason):
            return f"{name} was refused: {reason}"
        case CommandFailed(attempt=attempt, error=error, final=final):
            return f"{name}: attempt {attempt} failed{_finally(final)}: {error}"
    return name


def _of_timer(event: Event, name: str, at: datetime) -> str:
    match event:
        case TimerSet(due_at=due_at):
            return f"{name} is set: {_due(due_at, at)}"
        case TimerFired():
            return f"it is time: {name}"
    return f"{name} is cancelled"


def _finally(final: bool) -> str:
    return " for good" if final else ""


_SAID: Final[Mapping[type[Event], Callable[[Any], str]]] = {
    SagaStarted: lambda _: "it begins",
    StepStarted: lambda event: f"{event.step} begins{_again(event.attempt)}",
    StepCompleted: lambda event: f"{event.step} was executed",
    StepFailed: lambda event: f"{event.step} failed{_finally(event.final)}: {event.error}",
    StepTimedOut: lambda event: f"{event.step} was not answered in time{_finally(event.final)}",
    CompensationStarted: lambda event: (
        f"undoing {event.step} begins{_again(event.attempt)}{', late' if event.late else ''}"
    ),
    CompensationCompleted: lambda event: f"{event.step} was undone{', late' if event.late else ''}",
    CompensationFailed: lambda event: (
        f"undoing {event.step} failed{_finally(event.final)}: {event.error}"
    ),
    CompensationTimedOut: lambda event: (
        f"undoing {event.step} was not answered in time{_finally(event.final)}"
    ),
    LateReplyReceived: lambda event: (
        f"the answer to {_doing(event.step, event.kind)} came when it was no longer waited for"
        f"{'; it is undone because of this' if event.compensated else ''}"
    ),
    InputReceived: lambda event: f"{event.type} was handled",
    InputParked: lambda event: f"{event.type} is parked",
    InputFailed: lambda event: f"{event.type} cannot be handled: {event.error}",
    ProcessStateChanged: lambda event: (
        f"it remembers something else: {', '.join(sorted(event.changes))}"
    ),
    ProcessStopped: lambda _: "it reacts to no more events",
    SagaCompleted: lambda _: "it is COMPLETED",
    SagaCompensated: lambda event: f"it is COMPENSATED, as {event.failed_step} failed",
    SagaStuck: lambda event: f"it is STUCK at {event.step}: {event.error}",
    SagaResumed: lambda event: (
        f"a person let it go on{', as done' if event.resolved else ''}"
        f"{f': {event.reason}' if event.reason else ''}"
    ),
}


def _again(attempt: int) -> str:
    return f", attempt {attempt}" if attempt > 1 else ""
