"""One event with what caused it and what it caused: where a person goes on from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from eslab.errors import InputError
from eslab.events import RecordedEvent
from eslab.schema import canonical_json
from eslab.views.events_pages import EventsLog

__all__ = ["EventPlace", "OpenedEvent"]

SHOWN: Final = 20

# The text is looked at first: to take a value out of JSON takes five times as long.
_CAUSED_SQL: Final = """
select position, name, version, type
from (select position, stream_id, version, type from event_log
      where position > $after and position <= $head
        and contains(metadata::varchar, $text) and metadata->>'$.causation_id' = $message
      order by position limit $limit)
join streams using (stream_id)
order by position
"""


class EventPlace(NamedTuple):
    """Where an event is, and of what type it is."""

    position: int
    stream_id: str
    version: int
    type: str


@dataclass(frozen=True, slots=True)
class OpenedEvent:
    """An event, and the events around it.

    Attributes:
        event: the event.
        cause: the event that caused it; None if that was a command, or if it is not known.
        command_id: the command that caused it; None if that was an event, or if it is not known.
        siblings: what the same message caused beside it; the first ones.
        effects: what it caused itself; the first ones.
        more: whether there are more siblings or effects than these.
    """

    event: RecordedEvent
    cause: EventPlace | None
    command_id: str | None
    siblings: tuple[EventPlace, ...]
    effects: tuple[EventPlace, ...]
    more: bool

    @classmethod
    def at(cls, store: EventsLog, position: int, *, head: int) -> OpenedEvent:
        """Open the event at a position.

        Args:
            store: where it is.
            position: its position.
            head: the last position that is looked at.

        Raises:
            InputError: there is none, up to `head`.
        """
        event = None
        if 1 <= position <= head:
            event = next(iter(store.read_all(after=position - 1, until=position)), None)
        if event is None:
            raise InputError(f"there is no event at position {position:,}: the last is {head:,}")
        message = event.metadata.causation_id
        cause = None if message is None else _event(store, message)
        siblings: list[EventPlace] = []
        if message is not None:
            after = 0 if cause is None else cause.position
            siblings = _caused(store, message, after=after, head=head)
        effects = _caused(store, str(event.event_id), after=position, head=head)
        beside = [one for one in siblings if one.position != position]
        return cls(
            event=event,
            cause=cause,
            command_id=message if cause is None else None,
            siblings=tuple(beside[:SHOWN]),
            effects=tuple(effects[:SHOWN]),
            more=len(beside) > SHOWN or len(effects) > SHOWN,
        )


def _event(store: EventsLog, message: str) -> EventPlace | None:
    """Return the event with this id; what has another id is a command, or comes from elsewhere."""
    try:
        event_id = UUID(message)
    except ValueError:
        return None
    found = store.find(event_id)
    if found is None:
        return None
    return EventPlace(found.position, found.stream_id, found.version, found.type)


def _caused(store: EventsLog, message: str, *, after: int, head: int) -> list[EventPlace]:
    values: dict[str, Any] = {"message": message, "after": after, "head": head}
    values |= {"text": canonical_json({"causation_id": message})[1:-1], "limit": SHOWN + 2}
    rows = store.sql(_CAUSED_SQL, values).fetchall()
    return [EventPlace(*row) for row in rows]
