"""The workflow's metrics: whatever happened in whatever order, they are what counting gives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from eslab import Event, Lab
from eslab.simulation.scenarios.workflow import (
    SchemaMetrics,
    WorkflowCompleted,
    WorkflowCreated,
    WorkflowInFlight,
    WorkflowMetrics,
    WorkflowStarted,
)
from eslab.testing import given as happened

SQL = """
with durations as (
    select stream_id, round_even(duration * 1e6, 0)::bigint as took from workflow_completed)
select schema_id, count(*), count(s.stream_id), count(d.stream_id),
       count(s.stream_id) - count(d.stream_id),
       coalesce(sum(took), 0)::bigint, min(took), max(took), (sum(took) // count(took))::bigint
from workflow_created c left join workflow_started s using (stream_id)
left join durations d on d.stream_id = c.stream_id
group by all order by schema_id
"""


def created(schema_id: str) -> WorkflowCreated:
    return WorkflowCreated(schema_id=schema_id, input={})


def completed(duration: float) -> WorkflowCompleted:
    return WorkflowCompleted(result=None, node_results={}, duration=duration)


def test_workflows_are_counted_and_measured_by_schema() -> None:
    happened(
        ("workflow-1", created("a")),
        ("workflow-2", created("a")),
        ("workflow-3", created("b")),
        ("workflow-1", WorkflowStarted()),
        ("workflow-2", WorkflowStarted()),
        ("workflow-3", WorkflowStarted()),
        ("workflow-2", completed(0.25)),
        ("workflow-1", completed(1.5)),
        ("other-1", created("a")),
        of=WorkflowMetrics(),
    ).then_rows(
        SchemaMetrics(
            schema_id="a", created=2, started=2, completed=2, total_us=1_750_000,
            min_us=250_000, max_us=1_500_000, mean_us=875_000,
        ),
        SchemaMetrics(schema_id="b", created=1, started=1, running=1),
        WorkflowInFlight(stream_id="workflow-3", schema_id="b", running=True),
    )  # fmt: skip


def test_a_workflow_whose_creation_is_not_in_the_log_has_no_schema() -> None:
    happened(WorkflowStarted(), completed(0), of=WorkflowMetrics()).then_rows(
        SchemaMetrics(
            schema_id="", started=1, completed=1, total_us=0, min_us=0, max_us=0, mean_us=0
        )
    )


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, Event]]:
    """Some workflows, each as far as it came, and all of them mixed up."""
    turns = draw(st.lists(st.integers(1, 6), max_size=30))
    came: dict[int, int] = defaultdict(int)
    history: list[tuple[str, Event]] = []
    for number in turns:
        next_events = [
            created(draw(st.sampled_from("ab"))),
            WorkflowStarted(),
            completed(draw(st.floats(0, 1e6))),
        ]
        if came[number] < 3:
            history.append((f"workflow-{number}", next_events[came[number]]))
            came[number] += 1
    return history


def counted(history: Sequence[tuple[str, Event]]) -> list[SchemaMetrics]:
    """Count them the plain way: one workflow after the other."""
    streams: dict[str, list[Event]] = defaultdict(list)
    for stream_id, event in history:
        streams[stream_id].append(event)
    by_schema: dict[str, list[list[Event]]] = defaultdict(list)
    for events in streams.values():
        by_schema[events[0].schema_id].append(events)
    rows = []
    for schema_id, workflows in sorted(by_schema.items()):
        took = [round(events[2].duration * 1e6) for events in workflows if len(events) == 3]
        rows.append(
            SchemaMetrics(
                schema_id=schema_id,
                created=len(workflows),
                started=sum(len(events) > 1 for events in workflows),
                completed=len(took),
                running=sum(len(events) == 2 for events in workflows),
                total_us=sum(took),
                min_us=min(took, default=None),
                max_us=max(took, default=None),
                mean_us=sum(took) // len(took) if took else None,
            )
        )
    return rows


class InSmallBatches(WorkflowMetrics):
    """The same, so that rows are stored and read again in between."""

    batch = 3


@settings(deadline=None, max_examples=40)
@given(histories())
def test_however_workflows_mix_the_metrics_are_what_counting_gives_in_python_and_in_sql(
    history: list[tuple[str, Event]],
) -> None:
    expected = counted(history)
    with Lab(seed=7) as lab:
        lab.project(InSmallBatches())
        for stream_id, event in history:
            lab.append(stream_id, [event])
        lab.run()
        found = lab.sql("from workflow_metrics order by schema_id").fetchall()
        assert found == [tuple(row.model_dump().values()) for row in expected]
        assert found == lab.sql(SQL).fetchall()
        ended = {stream for stream, event in history if isinstance(event, WorkflowCompleted)}
        in_flight = lab.sql("select stream_id from workflow_in_flight").fetchall()
        assert {stream for (stream,) in in_flight} == {stream for stream, _ in history} - ended
