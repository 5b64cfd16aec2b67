"""Where aggregates are loaded from and saved to."""

from __future__ import annotations

from typing import TypeVar

from eslab.aggregates.aggregate import Aggregate
from eslab.errors import StreamNotFoundError
from eslab.events import Metadata
from eslab.schema import EventRegistry, encode
from eslab.store.port import AppendResult, EventStore

__all__ = ["Repository"]

A = TypeVar("A", bound=Aggregate)


class Repository:
    """Loads aggregates from a store, and saves what they recorded.

    Args:
        store: where the events are.
        registry: which class stands for which type; the event classes of every aggregate that is
            loaded or saved are registered in it.

    Example:
        >>> from eslab.interop.flights import Flight
        >>> from eslab.store import MemoryStore
        >>> repository = Repository(MemoryStore(), EventRegistry())
        >>> repository.load(Flight, "2013-01-01-UA1545-EWR")
        Traceback (most recent call last):
        eslab.errors.StreamNotFoundError: there is no stream 'flight-2013-01-01-UA1545-EWR'
    """

    def __init__(self, store: EventStore, registry: EventRegistry) -> None:
        self._store = store
        self._registry = registry
        self._known: set[type[Aggregate]] = set()

    def load(self, cls: type[A], id: str, *, version: int | None = None) -> A:
        """Rebuild an aggregate from its events.

        Args:
            cls: the class of the aggregate.
            id: its identity.
            version: as it was at this version; by default as it is.

        Raises:
            StreamNotFoundError: it has no events.
            UnknownEventTypeError: its stream holds an event of a type nobody knows.
        """
        aggregate = self.find(cls, id, version=version)
        if aggregate.version == 0:
            raise StreamNotFoundError(aggregate.stream_id)
        return aggregate

    def find(self, cls: type[A], id: str, *, version: int | None = None) -> A:
        """Rebuild an aggregate from its events; a new one if it has none."""
        if cls not in self._known:
            self._register(cls)
        aggregate = cls(id)
        recorded = self._store.read(aggregate.stream_id, to_version=version)
        return aggregate.rebuild(map(self._registry.decode, recorded))

    def save(self, aggregate: Aggregate, *, metadata: Metadata | None = None) -> AppendResult:
        """Append what the aggregate recorded, at the version it was loaded with.

        Raises:
            ConcurrencyError: the stream has changed since; the events stay uncommitted.
        """
        if type(aggregate) not in self._known:
            self._register(type(aggregate))
        events = [encode(event, metadata=metadata) for event in aggregate.uncommitted]
        result = self._store.append(
            aggregate.stream_id, events, expected_version=aggregate.version - len(events)
        )
        aggregate.uncommitted.clear()
        return result

    def _register(self, cls: type[Aggregate]) -> None:
        for event in cls.event_classes.values():
            self._registry.register(event)
        self._known.add(cls)
