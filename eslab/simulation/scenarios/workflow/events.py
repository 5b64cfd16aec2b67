"""What happens to a workflow."""

from __future__ import annotations

from typing import Any

from pydantic import NonNegativeFloat, NonNegativeInt

from eslab.events import Event

__all__ = ["WorkflowCompleted", "WorkflowCreated", "WorkflowStarted"]


class WorkflowCreated(Event):
    """Somebody asked for a schema to be executed with an input.

    Attributes:
        schema_id: the schema: nodes that compute, and edges between them.
        input: what it is executed with.
        node_count: how many nodes it has.
        edge_count: how many edges.
    """

    schema_id: str
    input: dict[str, Any]
    node_count: NonNegativeInt = 0
    edge_count: NonNegativeInt = 0


class WorkflowStarted(Event):
    """The execution began."""


class WorkflowCompleted(Event):
    """The execution ended.

    Attributes:
        result: what came out of it.
        node_results: what came out of each node, by its name.
        duration: how long it took, in seconds.
    """

    result: Any
    node_results: dict[str, Any]
    duration: NonNegativeFloat
