"""What must hold of a saga to which nothing more happens, read from its stream alone.

It shares no code with what decides the steps of sagas, nor with what folds their state: whatever
is wrong there is not wrong here in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from eslab.events import RecordedEvent
from eslab.messaging.commands import CommandRevoked
from eslab.sagas import Saga, Step
from eslab.store.port import EventStore

__all__ = ["check_saga", "status_of"]

Status = Literal["RUNNING", "COMPENSATING", "COMPLETED", "COMPENSATED", "STUCK"]

_STATUS: Final[dict[str, Status]] = {
    "SagaStarted": "RUNNING",
    "SagaCompleted": "COMPLETED",
    "SagaCompensated": "COMPENSATED",
    "SagaStuck": "STUCK",
}
_ANSWERS: Final = ("Completed", "Failed", "TimedOut")
_AFTERWARDS: Final = ("LateReplyReceived", "TimerSet", "TimerFired", "TimerCancelled")


def check_saga(saga: Saga, saga_id: str, store: EventStore) -> list[str]:
    """Return what is wrong with a saga that has come to rest, a sentence each.

    It is COMPLETED: each step was executed once, none before its turn, and none was undone. Or it
    is COMPENSATED: each step that was executed, or may have been, and that can be undone, was
    undone once, in reverse order; those last that were known to be executed only later. Or it is
    STUCK, at a step that it names and that failed for good, and was undone in order until there.
    No command that was taken back had an effect.

    Args:
        saga: its definition.
        saga_id: which one.
        store: has its stream.

    Example:
        >>> from eslab import Lab, Step
        >>> trip = Saga("trip", [Step("hotel", print), Step("train", lambda _: None)])
        >>> with Lab(seed=7) as lab:
        ...     lab.start_saga(trip, "1")
        ...     check_saga(trip, "1", lab.store)
        ['it is still RUNNING: nothing is waited for, and it does not go on']
    """
    story = _Story(saga, list(store.read(saga.stream_id(saga_id))))
    return [*story.problems(), *_revoked(store)]


def status_of(saga: Saga, saga_id: str, store: EventStore) -> Status:
    """Return where a saga stands, as its stream says."""
    return _Story(saga, list(store.read(saga.stream_id(saga_id)))).status


class _Story:
    """What a stream tells of each step: what was begun, done, doubtful and undone, in order."""

    def __init__(self, saga: Saga, events: list[RecordedEvent]) -> None:
        self.saga = saga
        self.events = events
        self.status: Status = "RUNNING"
        self.done: list[str] = []
        self.touched: list[str] = []
        self.undone: list[str] = []
        self.late: set[str] = set()
        self.open: dict[tuple[str, str], int] = {}
        self.given_up: set[tuple[str, str]] = set()
        self.wrong: list[str] = []
        for event in events:
            self._enter(event)

    def _enter(self, event: RecordedEvent) -> None:
        if event.type in _STATUS:
            self.status = _STATUS[event.type]
        for kind, prefix in (("execute", "Step"), ("compensate", "Compensation")):
            if event.type == f"{prefix}Started":
                self._begun(event, kind)
            elif event.type.removeprefix(prefix) in _ANSWERS:
                self._answered(event, kind)
        if event.type == "SagaResumed":
            self._resumed(event)
        if event.type == "LateReplyReceived" and event.data["kind"] == "execute":
            step = event.data["step"]
            if event.data["error"] is None and step not in self.touched:
                self.late.add(step)
                self._touch(step)

    def _begun(self, event: RecordedEvent, kind: str) -> None:
        step = event.data["step"]
        self.open[step, kind] = event.data["attempt"]
        if kind == "execute":
            for earlier in self._before(step):
                if earlier not in self.done:
                    self.wrong.append(f"step {step!r} began before {earlier!r} was completed")
            return
        if self.status == "RUNNING":
            self.status = "COMPENSATING"
        if step not in self.touched:
            self.wrong.append(f"step {step!r} was undone, and had never been executed")

    def _answered(self, event: RecordedEvent, kind: str) -> None:
        step = event.data["step"]
        self.open.pop((step, kind), None)
        if event.data.get("final"):
            self.given_up.add((step, kind))
            if kind == "execute":
                self.status = "COMPENSATING"
        if event.type == "StepCompleted":
            self.done.append(step)
        if event.type in ("StepCompleted", "StepTimedOut"):
            self._touch(step)
        if event.type == "CompensationCompleted":
            self.undone.append(step)
            if event.data["late"] and self.status != "COMPENSATED":
                self.wrong.append(f"step {step!r} was undone late, though the saga had not ended")

    def _resumed(self, event: RecordedEvent) -> None:
        forwards = event.data["kind"] == "execute"
        self.status = "RUNNING" if forwards else "COMPENSATING"
        if event.data["resolved"]:
            (self.done if forwards else self.undone).append(event.data["step"])

    def _touch(self, step: str) -> None:
        if step in self.touched:
            self.touched.remove(step)
        self.touched.append(step)

    def _before(self, step: str) -> Iterator[str]:
        for group in self.saga.groups:
            names = [one.name for one in group]
            if step in names:
                return
            yield from names

    def _to_undo(self) -> list[str]:
        """Return the steps that are to be undone, in that order."""
        order = []
        for group in reversed(self.saga.groups):
            can = {step.name for step in group if step.compensate is not None}
            order += [step for step in reversed(self.touched) if step in can]
        return order

    def problems(self) -> Iterator[str]:
        """Yield what is wrong."""
        yield from self.wrong
        for step in sorted({one for one in self.done if self.done.count(one) > 1}):
            yield f"step {step!r} was completed {self.done.count(step)} times"
        for step in sorted({one for one in self.undone if self.undone.count(one) > 1}):
            yield f"step {step!r} was undone {self.undone.count(step)} times"
        match self.status:
            case "COMPLETED":
                yield from self._completed()
            case "COMPENSATED":
                yield from self._compensated()
            case "STUCK":
                yield from self._stuck()
            case _:
                yield from self._unfinished(f"it is still {self.status}")

    def _completed(self) -> Iterator[str]:
        for step in self.saga:
            if step.name not in self.done:
                yield f"it is COMPLETED, and step {step.name!r} is not"
        for step_name in self.undone:
            yield f"it is COMPLETED, and step {step_name!r} was undone"

    def _compensated(self) -> Iterator[str]:
        pivot = self.saga.pivot
        if pivot is not None and pivot in self.touched:
            yield f"it is COMPENSATED, though the pivot {pivot!r} was, or may have been, executed"
        if any(kind == "compensate" for _, kind in self.open):
            yield from self._unfinished("it is COMPENSATED, and undoes a step late")
            return
        wanted = self._to_undo()
        for step in wanted:
            if step not in self.undone:
                known = "was executed" if step in self.done else "may have been executed"
                yield f"it is COMPENSATED, and step {step!r}, which {known}, was not undone"
        yield from self._order([step for step in wanted if step in self.undone])

    def _order(self, wanted: Sequence[str]) -> Iterator[str]:
        """Compare the order of what was undone; but of what came late no order is asked."""
        undone = [step for step in self.undone if step not in self.late]
        in_time = [step for step in wanted if step not in self.late]
        if undone != in_time and len(undone) == len({*undone}):
            yield (
                f"the steps were undone in the order {', '.join(undone)}; the reverse of how they "
                f"were executed is {', '.join(in_time)}"
            )

    def _stuck(self) -> Iterator[str]:
        place = max(at for at, event in enumerate(self.events) if event.type == "SagaStuck")
        stuck = self.events[place].data
        if (stuck["step"], stuck["kind"]) not in self.given_up:
            yield f"it is STUCK at step {stuck['step']!r}, which had not failed for good"
        for event in self.events[place + 1 :]:
            if event.type not in _AFTERWARDS:
                yield f"it is STUCK, and goes on: {event.type} follows"
        wanted = [step for step in self._to_undo() if step not in self.late]
        yield from self._order(wanted[: len({*self.undone} - self.late)])

    def _unfinished(self, how: str) -> Iterator[str]:
        if not self.open:
            yield f"{how}: nothing is waited for, and it does not go on"
        for (name, kind), attempt in self.open.items():
            what = f"attempt {attempt} at {'undoing ' if kind == 'compensate' else ''}step {name!r}"
            yield f"{how}: {what} was not answered; {_advice(self.saga.step(name))}"


def _advice(step: Step) -> str:
    if step.timeout is None:
        return f"it has no timeout: a lost answer leaves it waiting; give {step.name!r} a timeout"
    return "its timeout has passed, and nothing came of it"


def _revoked(store: EventStore) -> Iterator[str]:
    """Yield the commands that had an effect, though they were taken back before they came."""
    revoked = {
        event.data["command_id"] for event in store.read_all(types=[CommandRevoked.event_type])
    }
    for event in store.read_all() if revoked else ():
        if event.metadata.command_id in revoked:
            yield f"a command that was taken back had an effect: {event!r:.200}"
