"""What runs sagas: it asks the stream what comes next, does it, and records what came of it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from functools import partial, reduce
from typing import Any, Final

from eslab.clock import Scheduler
from eslab.errors import DomainError, EslabError, LimitError, SagaError
from eslab.events import NO_STREAM, Event, Metadata
from eslab.messaging.envelope import handled, handling
from eslab.sagas.definition import (
    SAGA_EVENTS,
    CompensationCompleted,
    CompensationFailed,
    CompensationStarted,
    Saga,
    SagaCompensated,
    SagaCompleted,
    SagaStarted,
    SagaStuck,
    Step,
    StepCompleted,
    StepContext,
    StepFailed,
    StepStarted,
)
from eslab.sagas.state import Action, SagaState, evolve, next_action
from eslab.schema import EventRegistry, canonical_json, encode
from eslab.store.port import EventStore

__all__ = ["Orchestrator"]

MAX_RESULT: Final = 100_000
MAX_ERROR: Final = 10_000
ENDS: Final = (SagaCompleted, SagaCompensated, SagaStuck)
_NAMESPACE: Final = uuid.UUID("6f1c8e0a-5a2b-5f0e-9d57-0d3c6b1f4e21")


class Orchestrator:
    """Runs sagas over a store. All it knows of a saga is the saga's stream.

    Args:
        store: where the streams of the sagas are.
        registry: the saga's own events are registered in it.
    """

    name = "orchestrator"

    def __init__(self, store: EventStore, registry: EventRegistry) -> None:
        self._store = store
        self._registry = registry
        self._sagas: dict[str, Saga] = {}
        self._open: dict[str, tuple[str, str]] = {}
        self._scanned = 0
        self.position = 0
        self._scheduled: set[str] = set()
        self._resting: set[str] = set()
        for event in SAGA_EVENTS:
            registry.register(event)

    def register(self, saga: Saga) -> None:
        """Make a saga known by its name; one of the same name is replaced."""
        if not isinstance(saga, Saga):
            raise SagaError(f"a saga is made by Saga(name, steps); found {saga!r}")
        self._sagas[saga.name] = saga

    def start(self, saga: Saga, saga_id: str, input: Mapping[str, Any]) -> bool:
        """Record that a saga begins, and say whether it is new.

        Starting a saga of the same id with the same input again does nothing.

        Raises:
            IdempotencyError: a saga of this id was started with another input.
        """
        self.register(saga)
        stream_id = saga.stream_id(saga_id)
        started = SagaStarted(
            saga=saga.name,
            saga_id=saga_id,
            steps=[step.name for step in saga.steps],
            input=dict(input),
        )
        event_id = uuid.uuid5(_NAMESPACE, f"{stream_id}\0started")
        metadata = Metadata(correlation_id=stream_id, traceparent=handled().traceparent)
        result = self._store.append(
            stream_id,
            [encode(started, event_id=event_id, metadata=metadata)],
            expected_version=NO_STREAM,
        )
        return not result.duplicate

    def state(self, saga: Saga, saga_id: str) -> SagaState:
        """Return what the saga's stream says about it.

        Raises:
            SagaError: there is no such saga.
        """
        return self._existing(saga, saga_id)[0]

    def unfinished(self) -> list[tuple[Saga, str]]:
        """Return the sagas of registered names that have not ended, in the order of starting."""
        if not self._sagas:
            return []
        head = self._store.head()
        for event in self._store.read_all(
            after=self._scanned, until=head, types=[SagaStarted, *ENDS], category="saga"
        ):
            if event.type == SagaStarted.event_type:
                self._open[event.stream_id] = event.data["saga"], event.data["saga_id"]
            else:
                self._open.pop(event.stream_id, None)
        self._scanned = head
        return [(self._sagas[name], id) for name, id in self._open.values() if name in self._sagas]

    def run(self, saga: Saga, saga_id: str) -> SagaState:
        """Run a saga, here and now, from where its stream says it is to its end."""
        while (following := self._next(saga, saga_id)) is not None:
            action, version = following
            version = self._begin(saga, saga_id, action, version)
            self._finish(saga, saga_id, action, version)
        return self.state(saga, saga_id)

    def begin(self) -> None:
        """Take note that a run begins: sagas that failed in the last one are tried again."""
        self._resting.clear()

    def step(self) -> bool:
        """Run all unfinished sagas to their ends, and say whether there was any.

        Raises:
            EslabError: the first error of those that could not go on; the others did.
        """
        failure: EslabError | None = None
        unfinished = self.unfinished()
        if not unfinished:
            self.position = self._scanned
        for saga, saga_id in unfinished:
            try:
                self.run(saga, saga_id)
            except EslabError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return bool(unfinished)

    def due_in(self) -> float | None:
        """Return None: it has work only when something is appended."""
        return None

    def crashed(self, error: BaseException) -> None:
        """Take note that its thread ended: whoever waits for it is told why."""

    def note(self) -> float | None:
        """Return None: it never stands still."""
        return None

    def wake(self, scheduler: Scheduler) -> None:
        """Schedule the unfinished sagas on a virtual clock, where each attempt costs its time."""
        for saga, saga_id in self.unfinished():
            stream_id = saga.stream_id(saga_id)
            if stream_id not in self._scheduled | self._resting:
                self._scheduled.add(stream_id)
                scheduler.after(timedelta(0), partial(self._go_on, saga, saga_id, scheduler, None))

    def forget(self) -> None:
        """Take note that nothing is scheduled any more."""
        self._scheduled.clear()

    def _go_on(
        self, saga: Saga, saga_id: str, scheduler: Scheduler, begun: tuple[Action, int] | None
    ) -> None:
        """Finish what was begun, begin what follows, and come back when that has taken its time."""
        stream_id = saga.stream_id(saga_id)
        try:
            if begun is not None:
                self._finish(saga, saga_id, *begun)
            following = self._next(saga, saga_id)
            if following is None:
                self._scheduled.discard(stream_id)
                return
            action, version = following
            version = self._begin(saga, saga_id, action, version)
        except EslabError:
            self._scheduled.discard(stream_id)
            self._resting.add(stream_id)
            raise
        cost = saga.step(action.step).cost if action.attempt else timedelta(0)
        begun = action, version
        scheduler.after(cost, partial(self._go_on, saga, saga_id, scheduler, begun))

    def _next(self, saga: Saga, saga_id: str) -> tuple[Action, int] | None:
        """Return what comes next, and the version of the stream that says so."""
        state, version = self._existing(saga, saga_id)
        action = next_action(saga, state)
        return None if action is None else (action, version)

    def _existing(self, saga: Saga, saga_id: str) -> tuple[SagaState, int]:
        state, version = self._fold(saga.stream_id(saga_id))
        if version == 0:
            raise SagaError(f"there is no saga {saga.name!r} with the id {saga_id!r}")
        return state, version

    def _fold(self, stream_id: str) -> tuple[SagaState, int]:
        events = [self._registry.decode(event) for event in self._store.read(stream_id)]
        return reduce(evolve, events, SagaState()), len(events)

    def _begin(self, saga: Saga, saga_id: str, action: Action, version: int) -> int:
        if action.resumed or not action.attempt:
            return version
        cls = StepStarted if action.kind == "execute" else CompensationStarted
        return self._record(saga, saga_id, cls(step=action.step, attempt=action.attempt), version)

    def _finish(self, saga: Saga, saga_id: str, action: Action, version: int) -> None:
        state = self.state(saga, saga_id)
        match action.kind:
            case "complete":
                event: Event = SagaCompleted()
            case "compensated":
                event = SagaCompensated(failed_step=action.step)
            case "stuck":
                event = SagaStuck(step=action.step, error=state.error or "")
            case _:
                event = self._attempt(saga, saga_id, action, state)
        self._record(saga, saga_id, event, version)

    def _attempt(self, saga: Saga, saga_id: str, action: Action, state: SagaState) -> Event:
        step = saga.step(action.step)
        undo = action.kind == "compensate"
        key = f"{saga.stream_id(saga_id)}\0{step.name}\0{action.kind}"
        context = StepContext(
            saga_id,
            step.name,
            action.attempt,
            uuid.uuid5(_NAMESPACE, key),
            state.input,
            state.results,
        )
        function = step.compensate if undo else step.execute
        if function is None:
            raise SagaError(f"step {step.name!r} of {saga!r} has no compensation")
        try:
            with handling(self._metadata(saga.stream_id(saga_id))):
                result = function(context)
            _check_result(result, f"the result of step {step.name!r}")
        except Exception as error:
            return _failed(step, action, error)
        if undo:
            return CompensationCompleted(step=step.name, attempt=action.attempt)
        return StepCompleted(step=step.name, attempt=action.attempt, result=result)

    def _record(self, saga: Saga, saga_id: str, event: Event, version: int) -> int:
        stream_id = saga.stream_id(saga_id)
        return self._store.append(
            stream_id,
            [encode(event, metadata=self._metadata(stream_id))],
            expected_version=version,
        ).version

    def _metadata(self, stream_id: str) -> Metadata:
        """Return what a saga's events, and what its steps send, inherit from its first event."""
        (first,) = self._store.read(stream_id, limit=1)
        return Metadata(correlation_id=stream_id, traceparent=first.metadata.traceparent)


def _check_result(result: Any, what: str) -> None:
    text = canonical_json(result, what=what)
    if len(text) > MAX_RESULT:
        raise LimitError(f"{what} has {len(text):,} characters of JSON; at most {MAX_RESULT:,}")


def _failed(step: Step, action: Action, error: Exception) -> Event:
    final = action.attempt >= step.attempts or isinstance(error, DomainError)
    cls = CompensationFailed if action.kind == "compensate" else StepFailed
    # Whatever an exception says, it must be possible to record it.
    text = f"{type(error).__name__}: {error}"[:MAX_ERROR].encode(errors="replace").decode()
    return cls(step=step.name, attempt=action.attempt, error=text, final=final)
