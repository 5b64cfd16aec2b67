"""Sagas: steps that are undone in reverse order when a later one fails; each saga is a stream.

Process managers do the same the other way round: they react to events.

What they are made of, what they decide and their state are in ``definition``, ``decisions`` and
``state``, and in the modules of these names that begin with ``process_``. An `Orchestrator` runs
both: it has an ``agenda`` of what is due, the ``instances`` that have not ended, the ``dispatch``
of what they find in the log, and the ``execution`` of one's turn.
"""

from eslab.sagas.definition import NO_RETRY, Parallel, Saga, Send, Step, StepContext
from eslab.sagas.events import (
    SAGA_EVENTS,
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
    ProcessStateChanged,
    ProcessStopped,
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
from eslab.sagas.orchestrator import Orchestrator
from eslab.sagas.process_definition import on_refused, on_timer, start, stop
from eslab.sagas.process_manager import ProcessManager, is_process_manager
from eslab.sagas.process_state import ProcessState, ProcessStatus
from eslab.sagas.state import SagaState, SagaStatus, Task
from eslab.sagas.timers import Timers

__all__ = [
    "NO_RETRY",
    "SAGA_EVENTS",
    "CommandDelivered",
    "CommandFailed",
    "CommandRefused",
    "CommandSent",
    "CompensationCompleted",
    "CompensationFailed",
    "CompensationStarted",
    "CompensationTimedOut",
    "InputFailed",
    "InputParked",
    "InputReceived",
    "LateReplyReceived",
    "Orchestrator",
    "Parallel",
    "ProcessManager",
    "ProcessState",
    "ProcessStateChanged",
    "ProcessStatus",
    "ProcessStopped",
    "Saga",
    "SagaCompensated",
    "SagaCompleted",
    "SagaResumed",
    "SagaStarted",
    "SagaState",
    "SagaStatus",
    "SagaStuck",
    "Send",
    "Step",
    "StepCompleted",
    "StepContext",
    "StepFailed",
    "StepStarted",
    "StepTimedOut",
    "Task",
    "TimerCancelled",
    "TimerFired",
    "TimerSet",
    "Timers",
    "is_process_manager",
    "on_refused",
    "on_timer",
    "start",
    "stop",
]
