"""Lineage: what led to an event, and what followed from it, over all streams."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

from eslab.errors import EventNotFoundError, InputError
from eslab.events import RecordedEvent
from eslab.garbage import garbage_kept
from eslab.replay.conversation import Conversation
from eslab.replay.messages import Message
from eslab.store.port import EventStore, ReadModels
from eslab.store.rows import LogRow

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.uint64]

__all__ = [
    "EVENTS_SQL",
    "EventReference",
    "Log",
    "found_event",
    "lineage",
    "read_events",
    "related",
]

EventReference = RecordedEvent | UUID | str | int
"""An event, its id, or its position."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

EVENTS_SQL: Final = """
select position, stream_id, version, type, schema_version, event_id, tags,
       data::varchar as data, metadata::varchar as metadata,
       epoch_us(occurred_at) as occurred_us, epoch_us(recorded_at) as recorded_us
from events
where {where}
order by position
"""
"""The events of the log that are read here; ``where`` says which."""

# Numbers instead of texts: what they find is compared by its texts when it has been read.
_LINKS_SQL: Final = """
select position, hash(event_id::varchar) as id,
       if(because[1] is null, 0, hash(because[1])) as cause,
       if(because[2] is null, 0, hash(because[2])) as correlation
from (select position, event_id,
             if(metadata::varchar = '{}', [null, null],
                metadata->>['$.causation_id', '$.correlation_id']) as because
      from eslab.event_log)
order by position
"""


class Log(EventStore, ReadModels, Protocol):
    """A store with SQL over its log."""


def found_event(store: EventStore, event: EventReference) -> RecordedEvent:
    """Return the event of the log that is meant.

    Raises:
        EventNotFoundError: it is not in the log.
        InputError: it is none of the three.
    """
    if isinstance(event, RecordedEvent):
        return _with_id(store, event.event_id, repr(event))
    if isinstance(event, UUID):
        return _with_id(store, event, f"with the id {event}")
    if isinstance(event, str):
        try:
            return _with_id(store, UUID(event), f"with the id {event}")
        except ValueError:
            raise InputError(f"the id of an event is a UUID, not {event!r:.200}") from None
    if isinstance(event, bool) or not isinstance(event, int):
        raise InputError(f"an event, its id or its position is expected, not {event!r:.200}")
    head = store.head()
    if 1 <= event <= head:
        return next(iter(store.read_all(after=event - 1, limit=1)))
    last = f"the last position is {head}" if head else "the log is empty"
    raise EventNotFoundError(f"at position {event}", hint=last)


def _with_id(store: EventStore, event_id: UUID, shown: str) -> RecordedEvent:
    found = store.find(event_id)
    if found is None:
        raise EventNotFoundError(shown, hint="is it of another store?")
    return found


def read_events(store: ReadModels, where: str, values: Mapping[str, Any]) -> list[RecordedEvent]:
    """Return events of the log, in the order of position.

    Args:
        store: the log.
        where: a condition in SQL, over the view ``events``.
        values: of its parameters.
    """
    rows = store.sql(EVENTS_SQL.format(where=where), values).fetchall()
    with garbage_kept():
        return [
            LogRow(
                position,
                stream_id,
                version,
                type,
                schema_version,
                UUID(str(event_id)),
                tuple(tags),
                data,
                metadata,
                _EPOCH + timedelta(microseconds=occurred),
                _EPOCH + timedelta(microseconds=recorded),
            ).recorded()
            for (
                position,
                stream_id,
                version,
                type,
                schema_version,
                event_id,
                tags,
                data,
                metadata,
                occurred,
                recorded,
            ) in rows
        ]


def related(store: ReadModels, position: int) -> list[int]:
    """Return the positions of all events that an event may be caused by, or may have caused.

    Those are the events of its correlation, since a saga's messages follow from each other without
    naming each other; their effects and the correlations of these; its causes likewise. One look
    through the log finds them, whether they have a correlation or not.

    Args:
        store: the log.
        position: of the event.
    """
    import numpy as np

    links = store.sql(_LINKS_SQL).arrow()
    ids, causes, correlations = (
        links[name].to_numpy().astype(np.uint64, copy=False)
        for name in ("id", "cause", "correlation")
    )
    start = np.array([position - 1])  # positions have no gaps
    together = _Look(correlations, correlations)
    down = _closure(start, _Look(ids, causes), together)
    up = _closure(start, _Look(causes, ids), together)
    found: list[int] = (np.union1d(down, up) + 1).tolist()
    return found


class _Look:
    """Finds the rows where one column has what another one has in some rows."""

    def __init__(self, given: Numbers, wanted: Numbers) -> None:
        import numpy as np

        self._given = given
        self._order = np.argsort(wanted)
        self._sorted = wanted[self._order]

    def __call__(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        import numpy as np

        keys = np.unique(self._given[rows])
        keys = keys[keys != 0]
        starts = np.searchsorted(self._sorted, keys, "left")
        ends = np.searchsorted(self._sorted, keys, "right")
        pieces = [self._order[start:end] for start, end in zip(starts, ends, strict=True)]
        return np.concatenate(pieces) if pieces else np.array([], np.intp)


def _closure(start: npt.NDArray[np.intp], *looks: _Look) -> npt.NDArray[np.intp]:
    """Return the rows that are reached from others by looking, again and again."""
    import numpy as np

    found = new = start
    while len(new):
        reached = np.concatenate([look(new) for look in looks])
        new = np.setdiff1d(reached, found)
        found = np.union1d(found, new)
    return found


def lineage(conversation: Conversation, message: Message) -> Conversation:
    """Return a message with all that led to it, and all that followed from it.

    What sagas only note is left out, unless the message is such a note.
    """
    kept = conversation.without_notes(but=message.id)
    id = message.id
    return Conversation([*kept.causes_of(id), kept[id], *kept.effects_of(id)])
