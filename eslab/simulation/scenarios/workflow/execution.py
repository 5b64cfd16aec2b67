"""The execution of a workflow as a saga: plain functions that execute its nodes, or undo them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from eslab.clock import Clock
from eslab.messaging import Command
from eslab.sagas import NO_RETRY, Saga, Step, StepContext
from eslab.simulation.scenarios.workflow.commands import CompleteWorkflow, StartWorkflow
from eslab.simulation.scenarios.workflow.events import WorkflowCreated
from eslab.subscriptions import Retry

__all__ = ["workflow_execution"]

Node = Callable[[StepContext], Any]


def workflow_execution(
    nodes: Mapping[str, Node | tuple[Node, Node]],
    *,
    execute: Callable[..., object],
    clock: Clock,
    retry: Retry = NO_RETRY,
    timeout: timedelta | None = None,
) -> Saga:
    """Return a saga that executes a workflow as soon as it is created.

    It starts the workflow, executes the nodes one after the other, and completes it with what
    they returned. When a node fails, those before it are undone. That it is completed is the pivot:
    if nobody answers, it may be completed, and its nodes are not undone.

    Args:
        nodes: by name, in order: a function that executes the node, or that and the one that
            undoes it.
        execute: carries out a command, such as ``lab.execute``.
        clock: measures the duration.
        retry: how often a step is tried again.
        timeout: how long the answer of a step is waited for; by default for ever.

    Example:
        >>> from eslab import Lab
        >>> from eslab.simulation.scenarios.workflow import CreateWorkflow, Workflow
        >>> with Lab(seed=7) as lab:
        ...     nodes = {"read": lambda step: 20, "double": lambda step: 2 * step.results["read"]}
        ...     lab.register(Workflow, workflow_execution(nodes, execute=lab.execute,
        ...                                               clock=lab.clock))
        ...     _ = lab.execute(CreateWorkflow(workflow_id="w-1", schema_id="sums"))
        ...     lab.run()
        ...     lab.load(Workflow, "w-1").result
        40
    """

    def send(step: StepContext, command: Command) -> None:
        # The step may run again: under its key the command is carried out once.
        execute(command, command_id=step.idempotency_key)

    def start(step: StepContext) -> str:
        send(step, StartWorkflow(workflow_id=step.saga_id))
        return clock.now().isoformat()

    def complete(step: StepContext) -> None:
        results = {name: step.results[name] for name in nodes}
        started = datetime.fromisoformat(step.results["start"])
        command = CompleteWorkflow(
            workflow_id=step.saga_id,
            result=list(results.values())[-1] if results else None,
            node_results=results,
            duration=(clock.now() - started).total_seconds(),
        )
        send(step, command)

    def step(name: str, node: Node | tuple[Node, Node], *, pivot: bool = False) -> Step:
        does, undoes = node if isinstance(node, tuple) else (node, None)
        return Step(name, does, undoes, retry=retry, timeout=timeout, pivot=pivot)

    return Saga(
        "workflow_execution",
        [
            step("start", start),
            *(step(name, node) for name, node in nodes.items()),
            step("complete", complete, pivot=True),
        ],
        started_by=WorkflowCreated,
    )
