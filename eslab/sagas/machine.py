"""What the orchestrator runs: something that decides from its own stream, and sends.

There are two: a saga, whose steps are executed in order (`SagaMachine`), and a process manager,
which reacts to events.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, NoReturn, Protocol

from eslab.bus.journey import Message
from eslab.errors import (
    CommandRevokedError,
    DomainError,
    HandlerNotFoundError,
    InputError,
    LimitError,
    SagaDefinitionError,
)
from eslab.events import Event, Metadata, RecordedEvent, check_stream_id
from eslab.messaging import Command, CommandBus, handling
from eslab.sagas.deciding import MAX_ERROR, Decision, Input, Reply, error_text
from eslab.sagas.decisions import Case, context_of, decide
from eslab.sagas.definition import KINDS, Saga, Send, Step, saga_stream, step_key
from eslab.sagas.events import SagaStarted
from eslab.sagas.state import Running, SagaState, Task, Timer, evolve
from eslab.schema import canonical_json

__all__ = ["Delivered", "Machine", "Outgoing", "SagaMachine", "State", "send"]

MAX_RESULT: Final = 100_000


class State(Protocol):
    """What the orchestrator has to know of a state."""

    @property
    def status(self) -> Enum:
        """Where it stands; ``STUCK`` is where a person lets it go on."""
        ...

    @property
    def ended(self) -> bool:
        """Whether nothing happens any more, unless somebody sees to it."""
        ...

    @property
    def timers(self) -> Mapping[str, Timer]:
        """The timers that are set, by name."""
        ...


@dataclass(frozen=True, slots=True)
class Delivered:
    """An event of the log, for the one saga that it concerns.

    Attributes:
        recorded: the event as it is in the log.
        event: the same as an instance of its class.
    """

    recorded: RecordedEvent
    event: Event


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Something that was sent, and of which the stream does not say yet what became of it.

    Attributes:
        task: by which it is told from all else that the same saga sends.
        message: that is on its way.
    """

    task: Hashable
    message: Message


class Machine(Protocol):
    """A kind of saga: what its instances decide, and what they send."""

    @property
    def name(self) -> str:
        """By which its streams are named: ``saga-<name>-<id>``."""
        ...

    @property
    def after(self) -> int:
        """Only events behind this position concern it."""
        ...

    @property
    def events(self) -> Collection[type[Event]]:
        """The classes of the events of the log that may concern an instance."""
        ...

    @property
    def concerns(self) -> frozenset[str]:
        """Their types."""
        ...

    def initial(self) -> State:
        """Return the state of an instance of which there is no event."""
        ...

    def evolve(self, state: Any, event: Event) -> State:
        """Return the state after one event of the stream."""
        ...

    def concerned(self, delivered: Delivered) -> str | None:
        """Return the id of the instance that an event concerns; None: it concerns none."""
        ...

    def answered(self, recorded: RecordedEvent) -> Hashable | None:
        """Return the task that an event answers; None: it is no answer."""
        ...

    def decide(
        self, saga_id: str, state: Any, incoming: Input | Delivered, now: datetime
    ) -> Decision[Any]:
        """Return what follows from what came in."""
        ...

    def outgoing(self, saga_id: str, state: Any) -> list[Outgoing]:
        """Return what was sent, and is not answered yet."""
        ...

    def carry_out(self, saga_id: str, state: Any, sent: Outgoing, origin: Metadata) -> Input:
        """Have something carried out that arrives, and return the answer.

        Args:
            saga_id: which instance sent it.
            state: of the instance, when it did.
            sent: what it sent.
            origin: what that belongs to.

        Returns:
            None: the answer is an event of the log, which comes later.

        Raises:
            SagaDefinitionError: it is not defined any more.
            HandlerNotFoundError: nothing handles the command, yet.
        """
        ...

    def failed(self, sent: Outgoing, error: Exception) -> Input:
        """Return the answer to something that failed without being carried out."""
        ...


class SagaMachine:
    """Executes the steps of a saga, or undoes them.

    Args:
        saga: the steps.
        commands: carries the commands out that steps send.
        cost: whether an attempt takes its time, as on a virtual clock.
    """

    after: int

    def __init__(self, saga: Saga, commands: CommandBus, *, cost: bool) -> None:
        self.saga = saga
        self.name = saga.name
        self.after = saga.after
        self._commands = commands
        self._cost = cost
        self._answered: dict[str, tuple[Task, bool]] = {}
        self.events: list[type[Event]] = []
        for step in saga:
            for kind in KINDS:
                way = step.way(kind)
                if isinstance(way, Send):
                    self.events += way.answers
                    for event in way.answers:
                        succeeded = event in way.reply
                        self._answered[event.event_type] = Task(step.name, kind), succeeded
        start = saga.started_by
        self._start = None
        if start is not None and issubclass(start, Event):
            self._start = start.event_type
            self.events.append(start)
        self.concerns = frozenset(event.event_type for event in self.events)

    def initial(self) -> SagaState:
        """Return the state of a saga of which there is no event."""
        return SagaState()

    def evolve(self, state: SagaState, event: Event) -> SagaState:
        """Return the state after one event of the stream."""
        return evolve(state, event)

    def concerned(self, delivered: Delivered) -> str | None:
        """Return the id of the saga that an event starts, or answers; None: of none."""
        recorded = delivered.recorded
        if recorded.type == self._start:
            return self.saga.started_id(recorded)
        prefix = saga_stream(self.name, "")
        metadata = recorded.metadata
        for named in (metadata.extra.get("saga"), metadata.correlation_id):
            if isinstance(named, str) and named.startswith(prefix):
                with suppress(InputError):  # no stream can be called that
                    return check_stream_id(named).removeprefix(prefix)
        return None

    def answered(self, recorded: RecordedEvent) -> Task | None:
        """Return the task that an event answers; None: it is no answer."""
        return self._answered[recorded.type][0] if recorded.type in self._answered else None

    def decide(
        self, saga_id: str, state: SagaState, incoming: Input | Delivered, now: datetime
    ) -> Decision[SagaState]:
        """Return what follows from what came in."""
        if isinstance(incoming, Delivered):
            starts = incoming.recorded.type == self._start
            if starts == state.started:  # it began before, or what it answers is of another log
                return Decision(state, evolve)
            incoming = self._begun(saga_id, incoming) if starts else self._reply(state, incoming)
        return decide(Case(self.saga, saga_id, state, now), incoming)

    def _begun(self, saga_id: str, delivered: Delivered) -> SagaStarted:
        return SagaStarted(
            saga=self.name,
            saga_id=saga_id,
            steps=[step.name for step in self.saga],
            input=delivered.event.model_dump(mode="json"),
            position=delivered.recorded.position,
            pivot=self.saga.pivot,
        )

    def _reply(self, state: SagaState, delivered: Delivered) -> Reply:
        task, succeeded = self._answered[delivered.recorded.type]
        data = delivered.event.model_dump(mode="json")
        text = f"{delivered.recorded.type}: {canonical_json(data)}"[:MAX_ERROR]
        error = None if succeeded else text
        return Reply(task, state.attempts.get(task, 1), data, error, refused=not succeeded)

    def outgoing(self, saga_id: str, state: SagaState) -> list[Outgoing]:
        """Return the attempts that are not answered yet."""
        stream_id = self.saga.stream_id(saga_id)
        sent = []
        for task, running in state.running.items():
            step = self.saga.step(task.step)
            message = Message(
                kind=task.kind,
                consumer=self.name,
                name=step.name,
                id=step_key(stream_id, step.name, task.kind),
                sequence=stream_id,
                attempt=running.attempt,
                cost=step.cost if self._cost else timedelta(0),
                timeout=step.timeout,
            )
            sent.append(Outgoing(task, message))
        return sent

    def carry_out(self, saga_id: str, state: SagaState, sent: Outgoing, origin: Metadata) -> Input:
        """Call the function of a step, or send its command, and return the answer."""
        task, attempt = _task(sent), sent.message.attempt
        step = self.saga.step(task.step)
        way = step.way(task.kind)
        try:
            doubtful = task.kind == "compensate" and step.name not in state.completed
            if doubtful and isinstance(step.execute, Send):
                # Should the command of the step be on its way yet, it comes too late.
                with handling(origin):
                    self._commands.revoke(step_key(sent.message.sequence, step.name, "execute"))
            if isinstance(way, Send):
                return self._send(way, state, sent, origin)
            if way is None:
                self._cannot_undo(step)
            context = context_of(Case(self.saga, saga_id, state), task, attempt)
            with handling(origin):
                result = way(context)
        except (SagaDefinitionError, HandlerNotFoundError):
            raise  # it is no answer: somebody has yet to define it
        except Exception as error:
            return self.failed(sent, error)
        if task.kind == "compensate":
            return Reply(task, attempt)
        try:
            _check_result(result, f"the result of step {step.name!r}")
        except Exception as error:
            return Reply(task, attempt, None, error_text(error), refused=True, done=True)
        return Reply(task, attempt, result)

    def _cannot_undo(self, step: Step) -> NoReturn:
        raise SagaDefinitionError(
            f"step {step.name!r} of {self.saga!r} is to be undone, and has no compensation any more"
        )

    def _send(self, way: Send, state: SagaState, sent: Outgoing, origin: Metadata) -> Input:
        task = _task(sent)
        running = state.running.get(task, Running(sent.message.attempt))
        try:
            send(self._commands, running.command, sent.message, origin)
        except DomainError as error:
            # There is a way back, and it is taken: should it come again, it is refused again.
            if task.kind == "execute" and self.saga.pivot not in state.touched:
                with handling(origin):
                    self._commands.revoke(sent.message.id, error_text(error))
            raise
        return None if way.answers else Reply(task, running.attempt)

    def failed(self, sent: Outgoing, error: Exception) -> Reply:
        """Return the answer to an attempt that failed."""
        task, attempt = _task(sent), sent.message.attempt
        before = error.reason if isinstance(error, CommandRevokedError) else ""
        text = before or error_text(error)
        return Reply(task, attempt, None, text, isinstance(error, DomainError))

    def __repr__(self) -> str:
        return repr(self.saga)


def send(
    commands: CommandBus, recorded: Mapping[str, Any] | None, message: Message, origin: Metadata
) -> None:
    """Have a command carried out that a stream says was sent.

    What it records says by which saga, so that an answer is told from others.

    Args:
        commands: carries it out.
        recorded: its type and its data.
        message: with its id.
        origin: what it belongs to.

    Raises:
        HandlerNotFoundError: nothing handles it.
        DomainError: it was refused.
    """
    command: Command = commands.command(recorded or {})
    metadata = Metadata(extra={"saga": message.sequence})
    with handling(origin):
        commands.execute(command, command_id=message.id, metadata=metadata)


def _task(sent: Outgoing) -> Task:
    assert isinstance(sent.task, Task)
    return sent.task


def _check_result(result: Any, what: str) -> None:
    text = canonical_json(result, what=what)
    if len(text) > MAX_RESULT:
        raise LimitError(f"{what} has {len(text):,} characters of JSON; at most {MAX_RESULT:,}")
