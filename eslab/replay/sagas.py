"""The streams of sagas and process managers, replayed by what runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from eslab.events import Event
from eslab.sagas import Orchestrator
from eslab.sagas.instances import CATEGORY

__all__ = ["SagaStreams"]


class SagaStreams:
    """Stands for the streams of sagas as a class of aggregates does for its own.

    Args:
        sagas: knows the sagas and the process managers.
    """

    category = CATEGORY
    snapshot_every = None

    def __init__(self, sagas: Orchestrator) -> None:
        self._sagas = sagas

    def __call__(self, id: str) -> _Saga:
        """Return a saga, ``<name>-<id>``, as it is before its first event."""
        return _Saga(*self._sagas.folding(id.partition("-")[0]))


class _Saga:
    """A saga that is being replayed.

    Attributes:
        state: what its events made of it.
    """

    def __init__(self, initial: Any, evolve: Callable[[Any, Event], Any]) -> None:
        self.state, self._evolve = initial, evolve

    def rebuild(self, events: Iterable[Event]) -> None:
        """Apply events that are in the store already, in their order."""
        for event in events:
            self.state = self._evolve(self.state, event)
