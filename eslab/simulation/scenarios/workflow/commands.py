"""What somebody may ask of a workflow."""

from __future__ import annotations

from typing import Any

from pydantic import NonNegativeFloat, NonNegativeInt

from eslab.messaging import Command

__all__ = ["CompleteWorkflow", "CreateWorkflow", "StartWorkflow"]


class CreateWorkflow(Command):
    """Execute a schema with an input, some time; asking again for the same changes nothing."""

    workflow_id: str
    schema_id: str
    input: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies it
    node_count: NonNegativeInt = 0
    edge_count: NonNegativeInt = 0


class StartWorkflow(Command):
    """Begin the execution; one that runs goes on."""

    workflow_id: str


class CompleteWorkflow(Command):
    """End the execution with a result; asking again for the same result changes nothing."""

    workflow_id: str
    result: Any
    node_results: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies it
    duration: NonNegativeFloat
