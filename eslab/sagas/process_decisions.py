"""What a process manager decides: each thing that comes is handled once, and recorded with that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from eslab.errors import SagaDefinitionError, SagaError
from eslab.events import Event
from eslab.sagas.deciding import Decision, Input, Reply, Resume, TimerDue, error_text
from eslab.sagas.definition import saga_stream
from eslab.sagas.events import (
    CommandDelivered,
    CommandFailed,
    CommandRefused,
    InputFailed,
    InputParked,
    InputReceived,
    ProcessStateChanged,
    SagaCompleted,
    SagaResumed,
    SagaStarted,
    SagaStuck,
    TimerCancelled,
    TimerFired,
    TimerSet,
)
from eslab.sagas.machine import Delivered
from eslab.sagas.process_manager import ProcessManager, Reaction
from eslab.sagas.process_state import (
    ProcessInput,
    ProcessState,
    ProcessStatus,
    SentCommand,
    evolve_process,
)
from eslab.schema import encode

__all__ = ["Lookup", "ProcessCase", "decide_process"]

Lookup = Callable[[str], Event]
"""Returns an event of the log by its id."""


@dataclass(frozen=True, slots=True)
class ProcessCase:
    """One instance at one time.

    Attributes:
        cls: the process manager.
        saga_id: which instance.
        state: what its stream says.
        now: the time.
        lookup: finds the events that were parked.
    """

    cls: type[ProcessManager]
    saga_id: str
    state: ProcessState
    now: datetime
    lookup: Lookup


def decide_process(case: ProcessCase, incoming: Input | Delivered) -> Decision[ProcessState]:
    """Return what follows from what came in.

    Args:
        case: the instance, as it is.
        incoming: an event of the log, an answer, a timer, a person's word; or None.
    """
    decision = _ProcessDecision(case)
    match incoming:
        case Delivered():
            decision.deliver(incoming)
        case Reply():
            decision.answer(incoming)
        case TimerDue():
            decision.fire(incoming.timer)
        case Resume():
            decision.resume(incoming)
    decision.go_on()
    return decision


class _ProcessDecision(Decision[ProcessState]):
    def __init__(self, case: ProcessCase) -> None:
        super().__init__(case.state, evolve_process)
        self._case = case
        self._definition = case.cls.definition
        self._stream_id = saga_stream(case.cls.name, case.saga_id)
        self._now = case.now

    # What came in.

    def deliver(self, delivered: Delivered) -> None:
        """Handle an event of the log, park it, or pass it over."""
        state, recorded = self.state, delivered.recorded
        came = ProcessInput("event", str(recorded.event_id), recorded.type, recorded.position)
        starts = recorded.type in self._definition.starts
        parks = self._definition.not_found == "park"
        if came.id in state.handled or state.stopped:
            return
        if state.status is ProcessStatus.WAITING:
            if starts:
                self._start(came, delivered.event)
            elif parks:
                self._park(came)
        elif state.status is ProcessStatus.STUCK:
            self._park(came)
        elif starts or parks or recorded.position > state.started_at:
            self._handle(came, delivered.event)

    def _start(self, came: ProcessInput, event: Event) -> None:
        started = SagaStarted(
            saga=self._definition.name,
            saga_id=self._case.saga_id,
            steps=[],
            input=event.model_dump(mode="json"),
            position=came.position,
        )
        self.add(started)
        self._handle(came, event)
        self._handle_parked()

    def answer(self, reply: Reply) -> None:
        """Take note of what became of a command."""
        command = self.state.sent[int(reply.task.step) - 1]
        stuck = self.state.status is ProcessStatus.STUCK
        if command.outcome is not None:
            return  # it was answered before
        if reply.error is None:
            self.add(*self._cancelled(command), CommandDelivered(command_id=command.id))
        elif reply.refused:
            self.add(*self._cancelled(command))
            self.add(CommandRefused(command_id=command.id, reason=reply.error))
            refusal = ProcessInput("refusal", str(command.id), command.name)
            if stuck:
                self._park(refusal)
            else:
                self._handle(refusal, new=True)
        elif reply.attempt == command.attempt and not stuck:
            self.add(*self._cancelled(command))
            self._fail(command, reply.error)

    def fire(self, name: str) -> None:
        """Do what a timer was set for, if it still is, and if it is time."""
        timer = self.state.timers.get(name)
        running = self.state.status is ProcessStatus.RUNNING
        if not running or timer is None or timer.due_at > self._now:
            return
        self.add(TimerFired(timer=name))
        command = self.state.unanswered
        if timer.purpose == "process":
            self._handle(ProcessInput("timer", name, name), new=True)
        elif timer.purpose == "timeout" and command is not None:
            self._fail(command, "no answer came in time")

    def resume(self, word: Resume) -> None:
        """Go on where it is stuck."""
        state = self.state
        if state.status is not ProcessStatus.STUCK:
            return
        self.add(
            SagaResumed(
                step=state.stuck or "",
                kind="execute",
                resolved=word.resolved,
                reason=word.reason,
            )
        )
        if state.failed is not None and not word.resolved:
            self._handle(state.failed)
        elif state.exhausted is not None and word.resolved:
            command = state.command(state.exhausted)
            if command.outcome is None:
                self.add(*self._cancelled(command), CommandDelivered(command_id=command.id))
        self._handle_parked()

    # Handlers.

    def _park(self, came: ProcessInput) -> None:
        self.add(
            InputParked(message_id=came.id, type=came.name, position=came.position, kind=came.kind)
        )

    def _handle_parked(self) -> None:
        """Handle what waits, in the order of the log, until it is stuck."""
        for came in sorted(self.state.parked, key=lambda one: one.position):
            if self.state.status is not ProcessStatus.RUNNING:
                return
            if came.kind != "event" or not self.state.stopped:
                self._handle(came)

    def _handle(self, came: ProcessInput, event: Event | None = None, *, new: bool = False) -> None:
        """Let a handler react; what it did counts as a whole, or not at all.

        Args:
            came: what it reacts to.
            event: the event, if it is one and is at hand.
            new: that it came is recorded by what was decided just now.
        """
        of = {
            "message_id": came.id,
            "type": came.name,
            "position": came.position,
            "kind": came.kind,
        }
        try:
            done = self._react(came, event)
        except Exception as error:
            text = error_text(error)
            self.add(
                InputFailed(**of, error=text), SagaStuck(step=came.name, error=text, kind="execute")
            )
            return
        received = [] if new else [InputReceived(**of)]
        self.add(*received, *done)

    def _react(self, came: ProcessInput, event: Event | None) -> list[Event]:
        state = self.state
        reaction = Reaction(
            self._definition,
            self._stream_id,
            self._now,
            {name for name, timer in state.timers.items() if timer.purpose == "process"},
            len(state.sent),
            state.stopped,
        )
        method, arguments = self._handler(came, event)
        instance = self._case.cls(self._case.saga_id, reaction, state.data)
        returned = method(instance, *arguments)
        if returned is not None:
            raise SagaError(
                f"{method.__qualname__} returned {returned!r:.200}: it does what it does by self, "
                f"and returns nothing"
            )
        if came.name in self._definition.stops and came.kind == "event":
            instance.stop()
        changes = instance.changes()
        changed = [ProcessStateChanged(changes=changes)] if changes else []
        done = [*changed, *reaction.events]
        for what in done:
            encode(what)  # what cannot be recorded was not done
        return done

    def _handler(
        self, came: ProcessInput, event: Event | None
    ) -> tuple[Callable[..., None], tuple[Any, ...]]:
        """Return what handles something that came, and what it is given."""
        name = self._definition.name
        if came.kind == "event":
            if came.name not in self._definition.handlers:
                raise SagaDefinitionError(
                    f"process manager {name!r} has no handler of {came.name} now"
                )
            return self._definition.handlers[came.name], (event or self._case.lookup(came.id),)
        if came.kind == "timer":
            if came.name not in self._definition.timers:
                raise SagaDefinitionError(
                    f"process manager {name!r} has no @on_timer({came.name!r}) now"
                )
            return self._definition.timers[came.name], ()
        command = self.state.command(UUID(came.id))
        if command.command["type"] not in self._definition.refused:
            raise SagaError(
                f"{came.name} was refused ({command.reason}), and no method that is marked with "
                f"@on_refused takes it"
            )
        cls, method = self._definition.refused[command.command["type"]]
        return method, (cls.model_validate(command.command["data"]), command.reason)

    # What is done next.

    def go_on(self) -> None:
        """End, if there is nothing left to do; or wait for the answer to a command."""
        state, command = self.state, self.state.unanswered
        if state.status is not ProcessStatus.RUNNING:
            return
        if command is None:
            if state.stopped:
                self.add(SagaCompleted())
            return
        timeout = self._definition.timeout
        if timeout is not None and not list(self._cancelled(command)):
            self.add(self._set(command, "timeout", timeout))

    def _fail(self, command: SentCommand, error: str) -> None:
        """Take note that an attempt failed, and try again."""
        what = f"{self._stream_id} {command.number}"
        wait = self._definition.retry.wait(what, command.attempt - command.forgiven)
        self.add(
            CommandFailed(
                command_id=command.id, attempt=command.attempt, error=error, final=wait is None
            )
        )
        if wait is None:
            self.add(SagaStuck(step=command.name, error=error, kind="execute"))
        elif wait:
            self.add(self._set(self.state.command(command.id), "retry", wait))

    def _set(self, command: SentCommand, purpose: Any, wait: timedelta) -> TimerSet:
        return TimerSet(
            timer=command.timer(purpose),
            due_at=self._now + wait,
            purpose=purpose,
            attempt=command.attempt,
        )

    def _cancelled(self, command: SentCommand) -> list[Event]:
        """Return what cancels the timers of a command."""
        names = (command.timer(purpose) for purpose in ("timeout", "retry"))
        return [TimerCancelled(timer=name) for name in names if name in self.state.timers]
