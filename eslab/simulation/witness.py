"""A witness of what the steps of a saga really did, whatever the saga was told.

The stream of a saga has the answers that reached it; of an effect whose answer was lost, or came
when all was over, it says nothing. Effects are what was recorded in the log: a witness sees which
events were recorded by which execution of a step, and what undid them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from eslab.events import RecordedEvent
from eslab.sagas import Parallel, Saga, Send, Step, StepContext
from eslab.sagas.definition import Kind, step_key
from eslab.store.port import EventStore

__all__ = ["Witness"]

Effects = list[list[RecordedEvent]]
"""What was recorded by each execution that recorded something, in order."""


@dataclass(frozen=True, slots=True)
class _Visit:
    """A function of a step ran, and did not fail: what is behind `after` up to `until` is by it."""

    saga_id: str
    step: str
    kind: Kind
    after: int
    until: int


class Witness:
    """Looks on while the steps of a saga are executed and undone.

    Steps that call a function and steps that send a command are told from the same log. An
    execution that failed is no witness of anything; one in which the process crashed is.

    Args:
        saga: the saga.

    Attributes:
        saga: the same one, seen by the witness: let the lab run it.

    Example:
        >>> from eslab import Event, Lab
        >>> class Booked(Event):
        ...     pass
        >>> def book(step):
        ...     _ = lab.append("hotel-1", [Booked()])
        >>> witness = Witness(Saga("trip", [Step("hotel", book)]))
        >>> from eslab.simulation.faults import Fault
        >>> with Lab(seed=7) as lab:
        ...     witness.watch(lab.store)
        ...     _ = lab.inject(Fault("duplicated", "hotel"))
        ...     lab.start_saga(witness.saga, "1")
        ...     lab.run()
        ...     list(witness.problems("1"))
        ["step 'hotel' took effect 2 times: Booked in hotel-1, at positions 3 and 6"]
    """

    def __init__(self, saga: Saga) -> None:
        self.saga = replace(
            saga,
            steps=[
                self._seen(one) if isinstance(one, Step) else Parallel(*map(self._seen, one))
                for one in saga.steps
            ],
        )
        self._visits: list[_Visit] = []

    def watch(self, store: EventStore) -> None:
        """Look at this store from now on."""
        self._store = store

    def _seen(self, step: Step) -> Step:
        ways: dict[str, Any] = {}
        kind: Kind
        for kind in ("execute", "compensate"):
            way = step.way(kind)
            if way is not None and not isinstance(way, Send):
                ways[kind] = partial(self._visit, kind, way)
        return replace(step, **ways)

    def _visit(self, kind: Kind, way: Callable[[StepContext], Any], step: StepContext) -> Any:
        after = self._store.head()
        failed = False
        try:
            return way(step)
        except Exception:
            failed = True
            raise
        finally:
            if not failed and (until := self._store.head()) > after:
                self._visits.append(_Visit(step.saga_id, step.step, kind, after, until))

    def problems(self, saga_id: str) -> Iterator[str]:
        """Yield what should not have had an effect, and what had none, a sentence each.

        Args:
            saga_id: of a saga that has come to rest.
        """
        undone = {
            event.data["step"]
            for event in self._store.read(self.saga.stream_id(saga_id))
            if event.type == "CompensationCompleted"
        }
        for step in self.saga:
            done = self._effects(step, "execute", saga_id)
            against = self._effects(step, "compensate", saga_id)
            yield from _twice(f"step {step.name!r}", done)
            yield from _twice(f"undoing step {step.name!r}", against)
            if step.name in undone and done:
                yield from _left(step.name, done[-1][-1], against)

    def _effects(self, step: Step, kind: Kind, saga_id: str) -> Effects:
        if isinstance(step.way(kind), Send):
            # Under its id a command is carried out once.
            key = str(step_key(self.saga.stream_id(saga_id), step.name, kind))
            events = [one for one in self._store.read_all() if one.metadata.command_id == key]
            return [events] if events else []
        return [
            list(self._store.read_all(after=visit.after, until=visit.until))
            for visit in self._visits
            if (visit.saga_id, visit.step, visit.kind) == (saga_id, step.name, kind)
        ]


def _twice(what: str, effects: Effects) -> Iterator[str]:
    """Yield which events were recorded by more than one execution."""
    places: dict[tuple[str, str], list[int]] = {}
    for events in effects:
        for (type, stream_id), position in {
            (event.type, event.stream_id): event.position for event in events
        }.items():
            places.setdefault((type, stream_id), []).append(position)
    for (type, stream_id), positions in places.items():
        if len(positions) > 1:
            *before, last = map(str, positions)
            yield (
                f"{what} took effect {len(positions)} times: {type} in {stream_id}, at positions "
                f"{', '.join(before)} and {last}"
            )


def _left(name: str, last: RecordedEvent, against: Effects) -> Iterator[str]:
    """Yield that the last effect of a step that was undone stands."""
    what = f"{last.type} in {last.stream_id}, at position {last.position}"
    if not against:
        yield f"step {name!r} was undone, and nothing was recorded against its effect: {what}"
    elif against[-1][-1].position < last.position:
        yield f"step {name!r} took effect after it had been undone: {what}"
