"""The state that the events of a stream fold to, whatever it is a stream of, and what cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from eslab.aggregates import Definition, Sourced
from eslab.errors import EslabError, error_message
from eslab.events import Event, RecordedEvent, category_of
from eslab.replay.sagas import SagaStreams
from eslab.replay.watching import plain_state
from eslab.sagas import Orchestrator
from eslab.sagas.instances import CATEGORY
from eslab.schema import EventRegistry

__all__ = ["OUTCOME", "FoldedStream", "Folding", "is_saga", "state_of"]

OUTCOME: Final = ("status", "completed", "compensated", "failed_step", "error", "data")
"""What is told of a saga or a process manager, where it has that."""


def is_saga(stream_id: str) -> bool:
    """Say whether a stream is that of a saga, or of a process manager."""
    return category_of(stream_id) == CATEGORY


def state_of(subject: Sourced | None) -> dict[str, Any]:
    """Return the state of an aggregate or an entity as JSON values; nothing has no state."""
    return {} if subject is None else _as_json(subject.state)


def _as_json(held: Any) -> dict[str, Any]:
    state = plain_state(held)
    return state if isinstance(state, dict) else {"state": state}


@dataclass(frozen=True, slots=True)
class FoldedStream:
    """What the events of a stream fold to.

    Attributes:
        state: as JSON values; where an event cannot be applied, the state before it.
        errors: for each event why it cannot be applied, or None.
    """

    state: dict[str, Any]
    errors: tuple[str | None, ...]

    @property
    def error(self) -> str | None:
        """Why the first event that cannot be applied cannot be."""
        return next(filter(None, self.errors), None)


class Folding:
    """Folds streams: those of aggregates by their handlers, those of sagas by what runs them.

    Args:
        registry: which class stands for which type.
        definitions: the classes of aggregates, and the deciders, by the categories of their
            streams.
        sagas: knows the sagas and the process managers.
    """

    def __init__(
        self,
        registry: EventRegistry,
        definitions: Mapping[str, Definition[Any]],
        sagas: Orchestrator | None = None,
    ) -> None:
        self._registry = registry
        self._definitions = definitions
        self._sagas = sagas

    def knows(self, stream_id: str) -> bool:
        """Say whether anything is known that folds a stream."""
        return self._begin(stream_id) is not None

    def fold(self, stream_id: str, events: Iterable[RecordedEvent]) -> FoldedStream | None:
        """Fold the events of a stream, from its first one; None: nothing is known that does.

        An event that cannot be applied ends it: those behind it are not applied either.
        """
        subject = self._begin(stream_id)
        if subject is None:
            return None
        applied: list[Event] = []
        errors: list[str | None] = []
        failed = 0
        for recorded in events:
            if failed:
                errors.append(f"not applied: version {failed} cannot be")
                continue
            error = self._applied(subject, recorded, applied)
            errors.append(error)
            failed = recorded.version if error is not None else 0
        if failed:
            # What failed may have changed a part of the state before it did.
            subject = self._begin(stream_id)
            assert subject is not None
            for event in applied:
                subject.rebuild([event])
        state = _outcome(subject.state) if is_saga(stream_id) else state_of(subject)
        return FoldedStream(state, tuple(errors))

    def _applied(
        self, subject: Sourced, recorded: RecordedEvent, applied: list[Event]
    ) -> str | None:
        """Apply an event and take note of it; return why that cannot be done."""
        try:
            event = self._registry.decode(recorded)
            subject.rebuild([event])
        except EslabError as problem:
            return error_message(problem)
        except Exception as problem:
            return f"{type(problem).__name__}: {error_message(problem)}"
        applied.append(event)
        return None

    def _begin(self, stream_id: str) -> Sourced | None:
        category = category_of(stream_id)
        definition: Any = self._definitions.get(category)
        if is_saga(stream_id) and self._sagas is not None:
            definition = SagaStreams(self._sagas)
        return None if definition is None else definition(stream_id.removeprefix(f"{category}-"))


def _outcome(state: Any) -> dict[str, Any]:
    return _as_json({name: getattr(state, name) for name in OUTCOME if hasattr(state, name)})
