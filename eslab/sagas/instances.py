"""The sagas that have not ended, as their streams say they are, and the timers that they set."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Final

from eslab.events import Metadata, RecordedEvent
from eslab.sagas.definition import saga_stream
from eslab.sagas.events import SagaStarted
from eslab.sagas.machine import Machine
from eslab.sagas.state import Timer
from eslab.schema import EventRegistry
from eslab.store.port import EventStore

__all__ = ["CATEGORY", "DueTimer", "Instance", "Instances", "inherited", "saga_name"]

CATEGORY: Final = "saga"

DueTimer = tuple[datetime, str, str]
"""When a timer is due, of which stream it is, and its name."""

_Heap = list[tuple[datetime, int, str, str]]


@dataclass(slots=True)
class Instance:
    """One saga.

    Attributes:
        machine: decides for it.
        saga_id: which one of its name.
        stream_id: its stream.
        state: what that says.
        version: of the stream, up to which the state is folded.
        origin: what its events, and what it sends, belong to.
        sent: what was sent for it since it was loaded, and not answered when that was looked at.
        replies: how long the answers to that travel, where they are events of the log.
        timers: the timers that are known to be set, and when they are due.
    """

    machine: Machine
    saga_id: str
    stream_id: str
    state: Any
    version: int = 0
    origin: Metadata = field(default_factory=Metadata)
    sent: set[Any] = field(default_factory=set)
    replies: dict[Hashable, tuple[timedelta, ...]] = field(default_factory=dict)
    timers: set[tuple[str, datetime]] = field(default_factory=set)


class Instances:
    """Keeps sagas in memory, until they end. Whatever is not kept is read from its stream.

    Args:
        store: where the streams are.
        registry: decodes their events.
        machines: decide for them, by the names of the sagas.
        rests: says whether the timers of a saga, by its stream, are to be passed over.
    """

    def __init__(
        self,
        store: EventStore,
        registry: EventRegistry,
        machines: Mapping[str, Machine],
        *,
        rests: Callable[[str], bool],
    ) -> None:
        self._store = store
        self._registry = registry
        self._machines = machines
        self._rests = rests
        self._numbers = count()
        self.forget()

    def forget(self) -> None:
        """Keep none in memory."""
        self._kept: dict[str, Instance] = {}
        self._retries: _Heap = []
        self._others: _Heap = []

    def __contains__(self, stream_id: str) -> bool:
        return stream_id in self._kept

    def __iter__(self) -> Iterator[Instance]:
        return iter(self._kept.values())

    def get(self, stream_id: str) -> Instance | None:
        """Return a saga that is kept in memory."""
        return self._kept.get(stream_id)

    def find(self, stream_id: str) -> Instance | None:
        """Return a saga as its stream says it is; None, if nobody here knows its name."""
        return self._kept.get(stream_id) or self.load(stream_id, self._store.read(stream_id))

    def load(self, stream_id: str, events: Iterable[RecordedEvent]) -> Instance | None:
        """Keep a saga in memory from now on, as the events of its stream say that it is."""
        machine = self._machines.get(saga_name(stream_id))
        if machine is None:
            return None
        saga_id = stream_id.removeprefix(saga_stream(machine.name, ""))
        instance = Instance(machine, saga_id, stream_id, machine.initial())
        for recorded in events:
            if instance.version == 0 or recorded.type == SagaStarted.event_type:
                instance.origin = inherited(recorded.metadata, stream_id)
            event = self._registry.decode(recorded)
            instance.state = machine.evolve(instance.state, event)
            instance.version = recorded.version
        self._kept[stream_id] = instance
        self.note_timers(instance)
        return instance

    def drop(self, stream_id: str) -> None:
        """Keep a saga no longer: it has ended, or others appended to its stream."""
        self._kept.pop(stream_id, None)

    # Timers.

    def note_timers(self, instance: Instance) -> None:
        """Take note of the timers that a saga has set, if it was not taken yet."""
        timers = instance.state.timers
        due = {(name, timer.due_at) for name, timer in timers.items()}
        for name, due_at in sorted(due - instance.timers):
            heap = self._retries if timers[name].purpose == "retry" else self._others
            heapq.heappush(heap, (due_at, next(self._numbers), instance.stream_id, name))
        instance.timers = due

    @property
    def has_timers(self) -> bool:
        """Whether a timer may be set."""
        return bool(self._retries or self._others)

    def next_timer(self) -> DueTimer | None:
        """Return the timer that is due next."""
        retry, other = self._first(self._retries), self._first(self._others)
        first = min(filter(None, (retry, other)), default=None)
        return None if first is None else (first[0], first[2], first[3])

    def next_retry(self) -> datetime | None:
        """Return when something that failed is tried again next."""
        first = self._first(self._retries)
        return None if first is None else first[0]

    def _first(self, heap: _Heap) -> tuple[datetime, int, str, str] | None:
        """Return the first entry of a timer that is set; those before it are dropped."""
        while heap:
            due_at, _, stream_id, name = heap[0]
            if self._is_set(due_at, stream_id, name):
                return heap[0]
            heapq.heappop(heap)
            if stream_id in self._kept:
                self._kept[stream_id].timers.discard((name, due_at))
        return None

    def _is_set(self, due_at: datetime, stream_id: str, name: str) -> bool:
        """Say whether a timer is set, and for no other time; not while its saga rests."""
        instance = self._kept.get(stream_id)
        if instance is None or self._rests(stream_id):
            return False
        timer: Timer | None = instance.state.timers.get(name)
        return timer is not None and timer.due_at == due_at


def saga_name(stream_id: str) -> str:
    """Return the name of the saga that a stream is of.

    Example:
        >>> saga_name("saga-trip-2026-01")
        'trip'
    """
    return stream_id.removeprefix(f"{CATEGORY}-").partition("-")[0]


def inherited(metadata: Metadata, stream_id: str) -> Metadata:
    """Return what a saga's events, and what it sends, inherit from what started it."""
    return Metadata(
        correlation_id=metadata.correlation_id or stream_id,
        actor=metadata.actor,
        traceparent=metadata.traceparent,
    )
