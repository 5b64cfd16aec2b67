"""How many workflows there were, how many run, and how long they took: a read model by schema."""

from __future__ import annotations

from eslab.events import RecordedEvent
from eslab.projections import Projection, Row, Rows, on
from eslab.simulation.scenarios.workflow.events import (
    WorkflowCompleted,
    WorkflowCreated,
    WorkflowStarted,
)

__all__ = ["SchemaMetrics", "WorkflowInFlight", "WorkflowMetrics", "microseconds"]


class SchemaMetrics(Row, key="schema_id", table="workflow_metrics"):
    """What became of the workflows of a schema.

    Durations are whole microseconds: their sums are the same in whatever order they are summed.

    Attributes:
        schema_id: the schema; empty for workflows whose creation is not in the log.
        created: workflows that were created.
        started: those that were started.
        completed: those that were completed: as many durations there are.
        running: those that were started and are not completed.
        total_us: the sum of the durations.
        min_us: the shortest; None before there is one.
        max_us: the longest.
        mean_us: the mean, rounded down.
    """

    schema_id: str
    created: int = 0
    started: int = 0
    completed: int = 0
    running: int = 0
    total_us: int = 0
    min_us: int | None = None
    max_us: int | None = None
    mean_us: int | None = None


class WorkflowInFlight(Row, key="stream_id", table="workflow_in_flight"):
    """A workflow that is not completed.

    Attributes:
        stream_id: the stream of the workflow.
        schema_id: the schema that it executes: later events do not say.
        running: whether it was started.
    """

    stream_id: str
    schema_id: str = ""
    running: bool = False


class WorkflowMetrics(Projection):
    """Counts workflows and measures how long they took, by schema.

    Example:
        >>> from eslab.testing import given
        >>> created = WorkflowCreated(schema_id="s-1", input={})
        >>> given(created, WorkflowStarted(), of=WorkflowMetrics()).then_rows(
        ...     SchemaMetrics(schema_id="s-1", created=1, started=1, running=1),
        ...     WorkflowInFlight(stream_id="workflow-1", schema_id="s-1", running=True),
        ... )  # doctest: +ELLIPSIS
        Given WorkflowCreated(schema_id='s-1', input={}, node_count=0, edge_count=0) in workflow-1
        ...
    """

    tables = (SchemaMetrics, WorkflowInFlight)
    category = "workflow"

    @on
    def created(
        self,
        event: WorkflowCreated,
        metrics: Rows[SchemaMetrics],
        in_flight: Rows[WorkflowInFlight],
        recorded: RecordedEvent,
    ) -> None:
        """Count one more, and remember its schema."""
        metrics.ensure(schema_id=event.schema_id).created += 1
        in_flight.ensure(stream_id=recorded.stream_id).schema_id = event.schema_id

    @on
    def started(
        self,
        _: WorkflowStarted,
        metrics: Rows[SchemaMetrics],
        in_flight: Rows[WorkflowInFlight],
        recorded: RecordedEvent,
    ) -> None:
        """Count one more that runs."""
        flight = in_flight.ensure(stream_id=recorded.stream_id)
        row = metrics.ensure(schema_id=flight.schema_id)
        row.started += 1
        row.running += not flight.running
        flight.running = True

    @on
    def completed(
        self,
        event: WorkflowCompleted,
        metrics: Rows[SchemaMetrics],
        in_flight: Rows[WorkflowInFlight],
        recorded: RecordedEvent,
    ) -> None:
        """Count one that no longer runs, and measure it."""
        flight = in_flight.ensure(stream_id=recorded.stream_id)
        row = metrics.ensure(schema_id=flight.schema_id)
        took = microseconds(event.duration)
        row.completed += 1
        row.running -= flight.running
        row.total_us += took
        row.min_us = took if row.min_us is None else min(row.min_us, took)
        row.max_us = took if row.max_us is None else max(row.max_us, took)
        row.mean_us = row.total_us // row.completed
        in_flight.delete(stream_id=recorded.stream_id)


def microseconds(seconds: float) -> int:
    """Return a duration in whole microseconds, as ``round_even(seconds * 1e6, 0)`` in SQL.

    Example:
        >>> microseconds(1.5)
        1500000
    """
    return round(seconds * 1e6)
