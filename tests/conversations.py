"""Conversations that are planted in a log: of any size, and with any fault."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any
from uuid import UUID

from eslab import Lab, Metadata, NewEvent

__all__ = ["event_id", "plant", "plant_chain", "plant_many"]


def event_id(number: int) -> UUID:
    """Return the id of a planted event."""
    return UUID(int=number, version=4)


def plant(
    lab: Lab,
    number: int,
    *,
    cause: int | str | None = None,
    stream: str = "order-1",
    type: str = "Happened",
    correlation_id: str | None = "talk",
    occurred_at: datetime | None = None,
    **metadata: Any,
) -> None:
    """Append one event, with its number as its id and that of another one as its cause."""
    causation_id = str(event_id(cause)) if isinstance(cause, int) else cause
    known = Metadata(correlation_id=correlation_id, causation_id=causation_id, **metadata)
    event = NewEvent(
        type, {"number": number}, event_id(number), occurred_at=occurred_at, metadata=known
    )
    lab.store.append(stream, [event])


def plant_chain(lab: Lab, length: int, *, correlation_id: str | None = "talk") -> None:
    """Append events each of which caused the next one."""
    events = [
        (
            f"order-{number % 3}",
            _event(number, number - 1 if number > 1 else None, correlation_id),
        )
        for number in range(1, length + 1)
    ]
    lab.store.import_events(events, progress=False)


def plant_many(lab: Lab, count: int, *, seed: int = 7) -> None:
    """Append events of 40 streams, each caused by one of those before it."""
    chance = random.Random(seed)
    events = []
    for number in range(1, count + 1):
        cause = chance.randint(max(1, number - 30), number - 1) if number > 1 else None
        stream = f"{chance.choice(['order', 'stock', 'account', 'shipment'])}-{number % 10}"
        events.append((stream, _event(number, cause, "talk")))
    lab.store.import_events(events, progress=False)


def _event(number: int, cause: int | None, correlation_id: str | None) -> NewEvent:
    causation_id = None if cause is None else str(event_id(cause))
    known = Metadata(correlation_id=correlation_id, causation_id=causation_id)
    return NewEvent("Happened", {"number": number}, event_id(number), metadata=known)
