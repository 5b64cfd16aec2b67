"""The saga that executes a workflow, under every fault: functions, and participants in the log."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from eslab import Lab, Retry, Saga
from eslab.simulation.explore import Exploration, explore
from eslab.simulation.faults import DELIVERY_FAULTS, STEP_FAULTS
from eslab.simulation.scenarios.workflow import CreateWorkflow, Workflow, workflow_execution


def execution(lab: Lab, timeout: timedelta | None) -> Saga:
    return workflow_execution(
        {
            "read": (lambda step: step.input["input"]["x"], lambda step: None),
            "double": lambda step: 2 * step.results["read"],
        },
        execute=lab.execute,
        clock=lab.clock,
        retry=Retry(limit=1),
        timeout=timeout,
    )


def tried(timeout: timedelta | None, **options: Any) -> Exploration:
    """Explore the execution of one workflow."""

    def make_lab(**options: Any) -> Lab:
        lab = Lab(**options)
        lab.register(Workflow, execution(lab, timeout))
        return lab

    def create(lab: Lab) -> str:
        lab.execute(CreateWorkflow(workflow_id="w-1", schema_id="sums", input={"x": 20}))
        return "w-1"

    with Lab(seed=0) as lab:
        saga = execution(lab, timeout)
    return explore(
        saga,
        make_lab,
        start=create,
        invariants=[it_is_completed_by_a_saga_that_completed],
        progress=False,
        **options,
    )


def it_is_completed_by_a_saga_that_completed(lab: Lab) -> str | None:
    status = lab.saga_state("workflow_execution", "w-1").status.value
    workflow = lab.load(Workflow, "w-1")
    if (status == "COMPLETED") != (workflow.status == "completed" and workflow.result == 40):
        return f"the saga is {status}, and the workflow is {workflow.status}: {workflow.result}"
    return None


def test_whatever_goes_wrong_a_workflow_is_completed_or_its_nodes_are_undone() -> None:
    found = tried(timedelta(seconds=5), faults=[*STEP_FAULTS, *DELIVERY_FAULTS], crashes=True)
    found.require()
    assert {one.status for one in found.outcomes} == {"COMPLETED", "COMPENSATED", "STUCK"}


def test_without_a_timeout_a_lost_answer_leaves_it_waiting() -> None:
    tried(None, faults=["fails", "duplicate_reply"], crashes=True).require()
    violations = tried(None, faults=["reply_lost"]).violations
    assert "give 'start' a timeout" in repr(violations[0])
