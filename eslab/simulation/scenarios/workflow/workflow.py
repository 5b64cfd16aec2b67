"""The workflow as an aggregate: pending, running, completed, and never back."""

from __future__ import annotations

from typing import Any, Literal

from eslab.aggregates import Aggregate, applies, handles
from eslab.errors import DomainError
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

__all__ = ["Workflow"]


class Workflow(Aggregate):
    """One execution of a schema."""

    status: Literal["none", "pending", "running", "completed"] = "none"
    schema_id: str = ""
    input: dict[str, Any] = {}  # noqa: RUF012 - copied for each instance
    result: Any = None
    duration: float = 0.0

    @handles
    def create(self, command: CreateWorkflow) -> None:
        """Take a workflow on."""
        if self.status == "none":
            self.record(
                WorkflowCreated(
                    schema_id=command.schema_id,
                    input=command.input,
                    node_count=command.node_count,
                    edge_count=command.edge_count,
                )
            )
        elif (self.schema_id, self.input) != (command.schema_id, command.input):
            raise DomainError(f"workflow {self.id} executes {self.schema_id} already")

    @handles
    def start(self, command: StartWorkflow) -> None:
        """Begin."""
        if self.status == "pending":
            self.record(WorkflowStarted())
        elif self.status != "running":
            raise DomainError(f"workflow {command.workflow_id} is {self.status}: it cannot start")

    @handles
    def complete(self, command: CompleteWorkflow) -> None:
        """End."""
        if self.status == "running":
            self.record(
                WorkflowCompleted(
                    result=command.result,
                    node_results=command.node_results,
                    duration=command.duration,
                )
            )
        elif self.status != "completed" or self.result != command.result:
            raise DomainError(f"workflow {self.id} is {self.status}: it cannot complete")

    @applies
    def _created(self, event: WorkflowCreated) -> None:
        self.status = "pending"
        self.schema_id = event.schema_id
        self.input = event.input

    @applies
    def _started(self, _: WorkflowStarted) -> None:
        self.status = "running"

    @applies
    def _completed(self, event: WorkflowCompleted) -> None:
        self.status = "completed"
        self.result = event.result
        self.duration = event.duration
