"""A workflow: a schema is executed with an input; pending, running, completed.

An aggregate: read `events`, then `workflow` with its rules and its fold.
"""

from eslab.simulation.scenarios.workflow.commands import (
    CompleteWorkflow,
    CreateWorkflow,
    StartWorkflow,
)
from eslab.simulation.scenarios.workflow.events import (
    WorkflowCompleted,
    WorkflowCreated,
    WorkflowStarted,
)
from eslab.simulation.scenarios.workflow.workflow import Workflow

__all__ = [
    "CompleteWorkflow",
    "CreateWorkflow",
    "StartWorkflow",
    "Workflow",
    "WorkflowCompleted",
    "WorkflowCreated",
    "WorkflowStarted",
]
