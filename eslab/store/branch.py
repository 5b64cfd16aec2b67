"""What a branch has in the place of events of its base that were edited, or stand behind one."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import NamedTuple

from eslab.events import RecordedEvent
from eslab.schema import canonical_json, metadata_text

__all__ = ["DerivedEvent"]


class DerivedEvent(NamedTuple):
    """An event of a branch that was made of one of its base, or put between those.

    The branch gives it its version and position.

    Attributes:
        stream_id: its stream.
        event_id: of the one that it is; None: it is another one, and gets an id.
        recorded_at: of the one that it was made of; None: as the one before it.
        base_position: of the one that it is, or was made of; None: there is none.
    """

    stream_id: str
    type: str
    schema_version: int
    event_id: uuid.UUID | None
    tags: tuple[str, ...]
    data: str
    metadata: str
    occurred_at: datetime | None
    recorded_at: datetime | None
    base_position: int | None

    @classmethod
    def of(cls, event: RecordedEvent) -> DerivedEvent:
        """Return an event of the base as it is: the same one, elsewhere."""
        return cls(
            event.stream_id,
            event.type,
            event.schema_version,
            event.event_id,
            event.tags,
            canonical_json(event.data),
            metadata_text(event.metadata, event.type),
            event.occurred_at,
            event.recorded_at,
            event.position,
        )
