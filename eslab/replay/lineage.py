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
from eslab.replay.messages import Message, text_of
from eslab.store.port import EventStore, ReadModels
from eslab.store.rows import LogRow

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.uint64]

__all__ = [
    "EVENTS_SQL",
    "POSITIONS",
    "EventReference",
    "Log",
    "found_event",
    "lineage",
    "read_events",
    "related",
    "with_causes",
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

POSITIONS: Final = "position in (select unnest($positions::bigint[]))"
_IDS: Final = "event_id in (select unnest($ids::uuid[]))"

# Numbers instead of texts: what they find is compared by its texts when it has been read. To look
# for the text is quicker than to read the JSON of every event, most of which may have no cause.
_LINKS_SQL: Final = """
select position, hash(event_id::varchar) as id,
       if(because[1] is null, 0, hash(because[1])) as cause,
       if(because[2] is null, 0, hash(because[2])) as correlation
from (select position, event_id,
             metadata->>['$.causation_id', '$.correlation_id'] as because
      from eslab.event_log
      where contains(metadata::varchar, 'ation_id":') or position = $position)
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
            LogRow._make(
                (
                    *place,
                    UUID(str(event_id)),
                    tuple(tags),
                    data,
                    metadata,
                    _moment(occurred),
                    _moment(recorded),
                )
            ).recorded()
            for *place, event_id, tags, data, metadata, occurred, recorded in rows
        ]


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def related(store: ReadModels, event: RecordedEvent) -> list[RecordedEvent]:
    """Return all events that an event may be caused by, or may have caused, and that one.

    Those are the events of its correlation, since a saga's messages follow from each other without
    naming each other; their effects and the correlations of these; its causes likewise. However
    far that goes, the log is looked through once for all that have a cause or a correlation, and
    once for causes that have neither.

    Args:
        store: the log.
        event: one that is in it.
    """
    import numpy as np

    links = store.sql(_LINKS_SQL, {"position": event.position}).arrow()
    positions = links["position"].to_numpy()
    ids, causes, correlations = (
        links[name].to_numpy().astype(np.uint64, copy=False)
        for name in ("id", "cause", "correlation")
    )
    start = positions == event.position
    together = _Look(correlations, correlations)
    down = _closure(start, _Look(ids, causes), together)
    up = _closure(start, _Look(causes, ids), together)
    found = positions[down | up].tolist()
    return with_causes(store, read_events(store, POSITIONS, {"positions": found}))


def with_causes(store: ReadModels, events: list[RecordedEvent]) -> list[RecordedEvent]:
    """Add to events the causes that they name and that are not among them."""
    known = {str(event.event_id) for event in events}
    causes = {
        cause
        for event in events
        if (cause := text_of(event.metadata.causation_id))
        and cause not in known
        and cause != text_of(event.metadata.command_id)
    }
    ids = sorted(filter(_is_uuid, causes))
    outside = read_events(store, _IDS, {"ids": ids}) if ids else []
    return sorted([*events, *outside], key=lambda event: event.position)


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


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


def _closure(start: npt.NDArray[np.bool_], *looks: _Look) -> npt.NDArray[np.bool_]:
    """Return the rows that are reached from others by looking, again and again; as marks."""
    import numpy as np

    found = start.copy()
    new = np.flatnonzero(found)
    while len(new):
        reached = np.unique(np.concatenate([look(new) for look in looks]))
        new = reached[~found[reached]]
        found[new] = True
    return found


def lineage(conversation: Conversation, message: Message) -> Conversation:
    """Return a message with all that led to it, and all that followed from it.

    What sagas only note is left out, unless the message is such a note.
    """
    kept = conversation.without_notes(but=message.id)
    id = message.id
    return Conversation([*kept.causes_of(id), kept[id], *kept.effects_of(id)])
