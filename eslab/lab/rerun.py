"""Runs a saga again, on a branch where something goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from eslab.errors import SagaError
from eslab.events import Event
from eslab.sagas.process_state import ProcessState, evolve_process
from eslab.sagas.state import SagaState, evolve
from eslab.views.saga_summary import ProcessSummary

if TYPE_CHECKING:
    from eslab.lab.lab import Lab
    from eslab.simulation.faults import Fault
    from eslab.views import SagaTimeline

__all__ = ["rerun_saga"]

MOST: Final = 10_000
"""Events that it adds to its stream at most."""

LIMIT: Final = timedelta(days=365)
"""How long it may take on the branch's clock: a timer may be set again each time that it fires."""


def rerun_saga(lab: Lab, timeline: SagaTimeline, at: int, fault: Fault) -> tuple[SagaTimeline, int]:
    """Let a saga go on from a position, with a fault, until it ends or nothing is left to do.

    What neither concerns it nor has its correlation id stands still, so that it is quick where very
    many sagas are on their way. Read models are left alone: a saga is what its stream says.

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
        belongs_to = first.metadata.correlation_id
        branch._orchestrator.confine(timeline.stream_id, belongs_to)  # noqa: SLF001 - a lab's own
        injected = branch.inject(fault)
        branch.run_until(_Progress(branch, timeline).has_ended, limit=LIMIT)
        return branch.saga(f"{saga.name}-{saga.saga_id}"), len(injected.injected)


class _Progress:
    """How far a saga has got; of its stream only what is new is read."""

    def __init__(self, lab: Lab, timeline: SagaTimeline) -> None:
        self._lab = lab
        self._stream_id = timeline.stream_id
        process = isinstance(timeline.summary, ProcessSummary)
        self._evolve: Callable[[Any, Event], Any] = evolve_process if process else evolve
        self._state: Any = ProcessState() if process else SagaState()
        self._seen = 0
        self._most = lab.store.stream_version(self._stream_id) + MOST

    def has_ended(self) -> bool:
        """Say whether nothing new will happen, or too much did."""
        if self._lab.store.stream_version(self._stream_id) == self._seen:
            return False
        for event in self._lab.store.read(self._stream_id, from_version=self._seen + 1):
            self._state = self._evolve(self._state, self._lab.registry.decode(event))
            self._seen = event.version
        return self._seen >= self._most or bool(self._state.ended)
