"""A witness of what the steps of a saga really did, whatever the saga was told.

The stream of a saga has the answers that reached it; of an effect whose answer was lost, or came
when all was over, it says nothing. An effect is what was recorded in the log: a witness looks on
while attempts at steps are carried out, and knows which events each of them left there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from eslab.bus.journey import Journey, Message, straight
from eslab.events import RecordedEvent
from eslab.store.port import EventStore

__all__ = ["Witness"]

Task = tuple[str, str]
"""The name of a step, and the kind of message: to execute it, or to compensate it."""

Effects = list[list[RecordedEvent]]
"""What each attempt that recorded something recorded, in order."""


@dataclass(frozen=True, slots=True)
class _Visit:
    """An attempt that was carried out: what is behind `after`, up to `until`, is its effect."""

    task: Task
    after: int
    until: int


class Witness:
    """Looks on while the steps of one saga are executed and undone.

    It is an `eslab.bus.journey.Route`, on which nothing goes wrong. An attempt that failed is no
    effect of anything; one in which the process crashed is, as far as it came.

    Args:
        store: where effects are recorded.
        stream_id: of the saga.

    Example:
        >>> from eslab import Event, Lab, Saga, Step
        >>> from eslab.simulation.faults import Fault
        >>> class Booked(Event):
        ...     pass
        >>> def book(step):
        ...     _ = lab.append("hotel-1", [Booked()])
        >>> with Lab(seed=7) as lab:
        ...     witness = Witness(lab.store, "saga-trip-1")
        ...     lab.inject(Fault("duplicated", "hotel")).route = witness
        ...     lab.start_saga(Saga("trip", [Step("hotel", book)]), "1")
        ...     lab.run()
        ...     list(witness.problems())
        ["step 'hotel' took effect 2 times: Booked in hotel-1, at positions 3 and 6"]
    """

    def __init__(self, store: EventStore, stream_id: str) -> None:
        self._store = store
        self._stream_id = stream_id
        self._keys: dict[Task, set[Any]] = {}
        self._visits: list[_Visit] = []

    def __call__(self, message: Message) -> Journey:
        """Let a message travel straight, and look on when it arrives."""
        journey = straight(message)
        if message.sequence != self._stream_id:
            return journey
        task = message.name, message.kind
        self._keys.setdefault(task, set()).add(message.id)
        return replace(journey, handle=partial(self._look_on, task))

    def _look_on(self, task: Task, work: Callable[[], Any]) -> Any:
        after = self._store.head()
        failed = False
        try:
            answer = work()
            failed = answer is not None and answer.error is not None
        except Exception:
            failed = True
            raise
        finally:
            if not failed and (until := self._store.head()) > after:
                self._visits.append(_Visit(task, after, until))
        return answer

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the effects of a saga that has come to rest, a sentence each.

        Each step is always sent under one key, by which who takes part knows it again. It takes
        effect once, and not behind what undid it; when it has been undone, something undid it.
        """
        for (step, kind), keys in self._keys.items():
            if len(keys) > 1:
                yield f"attempts to {kind} step {step!r} were sent under {len(keys)} different keys"
        undone = {
            event.data["step"]
            for event in self._store.read(self._stream_id)
            if event.type == "CompensationCompleted"
        }
        effects = self._effects()
        for (step, kind), made in effects.items():
            yield from _twice(f"{'' if kind == 'execute' else 'undoing '}step {step!r}", made)
            if kind == "execute" and step in undone:
                yield from _left(step, made[-1][-1], effects.get((step, "compensate"), []))

    def _effects(self) -> dict[Task, Effects]:
        effects: dict[Task, Effects] = {}
        for visit in self._visits:
            events = self._store.read_all(after=visit.after, until=visit.until)
            effects.setdefault(visit.task, []).append(list(events))
        return effects


def _twice(what: str, effects: Effects) -> Iterator[str]:
    """Yield which events were recorded by more than one attempt."""
    places: dict[Task, list[int]] = {}
    for events in effects:
        found = {(event.type, event.stream_id): event.position for event in events}
        for place, position in found.items():
            places.setdefault(place, []).append(position)
    for (type, stream_id), positions in places.items():
        if len(positions) > 1:
            *before, last = map(str, positions)
            yield (
                f"{what} took effect {len(positions)} times: {type} in {stream_id}, at positions "
                f"{', '.join(before)} and {last}"
            )


def _left(step: str, last: RecordedEvent, against: Effects) -> Iterator[str]:
    """Yield that the last effect of a step that was undone stands."""
    what = f"{last.type} in {last.stream_id}, at position {last.position}"
    if not against:
        yield f"step {step!r} was undone, and nothing was recorded against its effect: {what}"
    elif against[-1][-1].position < last.position:
        yield f"step {step!r} took effect after it had been undone: {what}"
