"""Workflows as OpenTelemetry's instruments: counted as their events pass by on the bus."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from eslab.bus import LocalBus
from eslab.events import RecordedEvent
from eslab.simulation.scenarios.workflow.events import WorkflowCompleted, WorkflowCreated
from eslab.store.port import EventStore
from eslab.telemetry import meter

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram, MeterProvider

__all__ = ["measure_workflows"]


def measure_workflows(
    bus: LocalBus, store: EventStore, *, meter_provider: MeterProvider | None = None
) -> None:
    """Count workflows, and measure how long they took, from now on.

    There are two counters, ``workflows.created`` and ``workflows.completed``, and a histogram,
    ``workflows.duration`` in seconds, all by ``workflow.schema_id``.

    They begin at 0 with each process, as counters do, and see an event once: after a restart
    nothing is counted again, and what was recorded but not yet published when a process ended is
    never counted. `WorkflowMetrics`, the read model, is what is exact. Doing this again for the
    same store and provider, as a cell does that is run twice, changes nothing.

    Args:
        bus: what the events pass by on.
        store: where the schema of a workflow that completes is looked up.
        meter_provider: where metrics go; by default that of the process.

    Raises:
        MissingDependencyError: OpenTelemetry is not installed.

    Example:
        >>> from eslab import Lab
        >>> from opentelemetry.sdk.metrics import MeterProvider
        >>> with Lab(seed=7) as lab:
        ...     measure_workflows(lab.bus, lab.store, meter_provider=MeterProvider())
    """
    workflows = _Workflows(store, meter_provider)
    workflows.instruments  # noqa: B018 - so that it is here that a missing package is missed
    bus.subscribe(WorkflowCreated, workflows)
    bus.subscribe(WorkflowCompleted, workflows)


class _Instruments(NamedTuple):
    created: Counter
    completed: Counter
    duration: Histogram


@dataclass(frozen=True)
class _Workflows:
    """A handler of events; to the bus one of the same store and provider is the same one."""

    store: EventStore
    meter_provider: MeterProvider | None

    @cached_property
    def instruments(self) -> _Instruments:
        """What is measured with."""
        maker = meter(self.meter_provider)
        return _Instruments(
            maker.create_counter("workflows.created", "{workflow}", "Workflows created"),
            maker.create_counter("workflows.completed", "{workflow}", "Workflows completed"),
            maker.create_histogram("workflows.duration", "s", "How long workflows took"),
        )

    def __call__(self, event: RecordedEvent) -> None:
        (first,) = self.store.read(event.stream_id, limit=1)
        schema = {"workflow.schema_id": first.data["schema_id"]}
        if event.type == WorkflowCreated.event_type:
            self.instruments.created.add(1, schema)
        else:
            self.instruments.completed.add(1, schema)
            self.instruments.duration.record(event.data["duration"], schema)
