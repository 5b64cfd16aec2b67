"""What runs a process manager: its instances react, and their commands are carried out."""

from __future__ import annotations

from datetime import datetime, timedelta

from eslab.bus.journey import Message
from eslab.errors import CommandRevokedError, DomainError, SagaDefinitionError
from eslab.events import Event, Metadata, RecordedEvent
from eslab.messaging import CommandBus, handling
from eslab.sagas.deciding import Decision, Input, Reply, error_text
from eslab.sagas.definition import saga_stream
from eslab.sagas.machine import Delivered, Outgoing, send
from eslab.sagas.process_decisions import Lookup, ProcessCase, decide_process
from eslab.sagas.process_manager import ProcessManager
from eslab.sagas.process_state import (
    ProcessState,
    ProcessStatus,
    evolve_process,
)
from eslab.sagas.state import Task

__all__ = ["ProcessMachine"]


class ProcessMachine:
    """Lets the instances of a process manager react, and sends their commands.

    Args:
        cls: the process manager.
        commands: carries its commands out.
        lookup: finds the events that were parked.
        cost: whether a command takes its time, as on a virtual clock.
    """

    def __init__(
        self, cls: type[ProcessManager], commands: CommandBus, lookup: Lookup, *, cost: bool
    ) -> None:
        if cls is ProcessManager:
            raise SagaDefinitionError("ProcessManager itself reacts to nothing: subclass it")
        self.cls = cls
        self.definition = cls.definition
        self.name = cls.name
        self.after = cls.definition.after
        self.events = cls.definition.events.values()
        self.concerns = frozenset(cls.definition.events)
        self.lookup = lookup
        self._commands = commands
        self._cost = cls.definition.cost if cost else timedelta(0)

    def initial(self) -> ProcessState:
        """Return the state of an instance of which there is no event."""
        return ProcessState()

    def evolve(self, state: ProcessState, event: Event) -> ProcessState:
        """Return the state after one event of the stream."""
        return evolve_process(state, event)

    def concerned(self, delivered: Delivered) -> str | None:
        """Return the id of the instance that an event concerns; None: it concerns none."""
        return self.definition.concerned(delivered.recorded, delivered.event)

    def answered(self, recorded: RecordedEvent) -> None:
        """Return None: commands are answered by whether they were carried out."""

    def decide(
        self, saga_id: str, state: ProcessState, incoming: Input | Delivered, now: datetime
    ) -> Decision[ProcessState]:
        """Return what follows from what came in."""
        return decide_process(ProcessCase(self.cls, saga_id, state, now, self.lookup), incoming)

    def outgoing(self, saga_id: str, state: ProcessState) -> list[Outgoing]:
        """Return the first command that is not answered, unless it waits to be tried again."""
        command = state.unanswered
        if (
            command is None
            or state.status is not ProcessStatus.RUNNING
            or command.timer("retry") in state.timers
        ):
            return []
        message = Message(
            kind="command",
            consumer=self.name,
            name=command.name,
            id=command.id,
            sequence=saga_stream(self.name, saga_id),
            attempt=command.attempt,
            cost=self._cost,
            timeout=self.definition.timeout,
        )
        return [Outgoing(Task(str(command.number)), message)]

    def carry_out(
        self, saga_id: str, state: ProcessState, sent: Outgoing, origin: Metadata
    ) -> Input:
        """Have a command carried out, and return the answer.

        A refusal is final: should the command arrive once more, it has no effect.
        """
        command_id = sent.message.id
        recorded = state.command(command_id).command
        try:
            send(self._commands, recorded, sent.message, origin)
        except CommandRevokedError as error:
            return self._reply(sent, error.reason or str(error), refused=True)
        except DomainError as error:
            reason = error_text(error, named=False)
            with handling(origin):
                revoked = self._commands.revoke(command_id, reason)
            if revoked:
                return self._reply(sent, reason, refused=True)
            return self.carry_out(saga_id, state, sent, origin)  # another copy was first
        except Exception as error:
            return self.failed(sent, error)
        return self._reply(sent, None, refused=False)

    def failed(self, sent: Outgoing, error: Exception) -> Input:
        """Return the answer to a command that failed."""
        refused = isinstance(error, DomainError)
        return self._reply(sent, error_text(error, named=not refused), refused=refused)

    @staticmethod
    def _reply(sent: Outgoing, error: str | None, *, refused: bool) -> Reply:
        assert isinstance(sent.task, Task)
        return Reply(sent.task, sent.message.attempt, None, error, refused)

    def __repr__(self) -> str:
        return f"<{self.cls.__qualname__} {self.name}>"
