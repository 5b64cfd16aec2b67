"""Runs a saga again, on a branch where something goes wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from eslab.errors import SagaError

if TYPE_CHECKING:
    from eslab.lab.lab import Lab
    from eslab.simulation.faults import Fault
    from eslab.views import SagaTimeline

__all__ = ["rerun_saga"]

LIMIT: Final = timedelta(days=365)
"""How long it may take on the branch's clock: a timer may be set again each time that it fires."""


def rerun_saga(lab: Lab, timeline: SagaTimeline, at: int, fault: Fault) -> tuple[SagaTimeline, int]:
    """Let a saga go on from a position, with a fault, until it ends or nothing is left to do.

    What has another correlation id stands still, so that it is quick where very many sagas are on
    their way. Read models are left alone: a saga is what its stream says.

    Args:
        lab: where it went as it did; nothing changes there.
        timeline: the saga.
        at: the position.
        fault: what goes wrong.

    Returns:
        How it goes, and how many attempts the fault hit.

    Raises:
        SagaError: no saga of this name is registered in the lab.
        EslabError: a step cannot be executed, as in `Lab.run`.
    """
    saga = timeline.summary
    if not lab._orchestrator.knows(saga.name):  # noqa: SLF001 - the lab's own
        raise SagaError(
            f"no saga of the name {saga.name!r} is registered here, and what its steps do is not "
            f"in the log: lab.register(...) it, to run it again"
        )
    with lab.branch(at=at, seed=lab.seed or 0) as branch:
        for projection in lab._projections:  # noqa: SLF001 - the lab's own
            branch.pause(projection)
        (first,) = lab.store.read(timeline.stream_id, limit=1)
        belongs_to = first.metadata.correlation_id or timeline.stream_id
        branch._orchestrator.confine(belongs_to)  # noqa: SLF001 - a lab's own
        injected = branch.inject(fault)
        seen = 0

        def ended() -> bool:
            nonlocal seen
            version = branch.store.stream_version(timeline.stream_id)
            if version == seen:
                return False
            seen = version
            return bool(branch.saga_state(saga.name, saga.saga_id).ended)

        branch.run_until(ended, limit=LIMIT)
        return branch.saga(f"{saga.name}-{saga.saga_id}"), len(injected.injected)
