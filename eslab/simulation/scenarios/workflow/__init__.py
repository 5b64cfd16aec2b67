"""A workflow: a schema is executed with an input; pending, running, completed.

An aggregate: read `events`, then `workflow` with its rules and its fold. `execution` is the saga
that executes one. `metrics` counts and measures them in a read model; `instruments` does it with
OpenTelemetry.
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
from eslab.simulation.scenarios.workflow.execution import workflow_execution
from eslab.simulation.scenarios.workflow.instruments import measure_workflows
from eslab.simulation.scenarios.workflow.metrics import (
    SchemaMetrics,
    WorkflowInFlight,
    WorkflowMetrics,
)
from eslab.simulation.scenarios.workflow.workflow import Workflow

__all__ = [
    "CompleteWorkflow",
    "CreateWorkflow",
    "SchemaMetrics",
    "StartWorkflow",
    "Workflow",
    "WorkflowCompleted",
    "WorkflowCreated",
    "WorkflowInFlight",
    "WorkflowMetrics",
    "WorkflowStarted",
    "measure_workflows",
    "workflow_execution",
]
