"""What follows from edits of history: for each event behind them, and for the state in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Final, Literal
from uuid import UUID

from eslab.events import Metadata, RecordedEvent
from eslab.replay.edits import Edit, Move, Plan, PlannedEvent, Skip, kept
from eslab.replay.folding import FoldedStream, Folding
from eslab.replay.steps import Change, changes
from eslab.store.port import EventStore
from eslab.words import counted

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BECAME", "Became", "Consequence", "Consequences", "StreamConsequence", "consequences"]

Became = Literal[
    "same", "renumbered", "edited", "inserted", "moved", "skipped", "cannot be applied"
]
"""What became of an event on a branch; the last one whatever else became of it."""

BECAME: Final[tuple[Became, ...]] = (
    "same",
    "renumbered",
    "edited",
    "inserted",
    "moved",
    "skipped",
    "cannot be applied",
)

_REFERRING_SQL: Final = """
select position from events
where position > $after and position <= $until
  and (list_contains($ids, metadata->>'$.causation_id')
       or list_contains($ids, metadata->>'$.correlation_id'))
order by position
"""

_NO_ID: Final = UUID(int=0)
"""Of an event whose id is minted when the branch is made; what applies events does not see it."""


@dataclass(frozen=True, slots=True)
class Consequence:
    """What became of one event.

    Attributes:
        stream_id: its stream.
        type: the name of its type; on the branch, if it is there.
        base_position: its position in the base; None if it is not there.
        base_version: its version there.
        position: its position on the branch; None if it is skipped.
        version: its version there.
        became: what became of it.
        error: why it cannot be applied; where the base cannot apply it either, that is no
            consequence, and only told here.
        note: what was lost that it refers to, such as ``its cause was skipped``.
    """

    stream_id: str
    type: str
    base_position: int | None
    base_version: int | None
    position: int | None
    version: int | None
    became: Became
    error: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class StreamConsequence:
    """What became of one stream.

    Attributes:
        stream_id: the stream.
        base_version: its version in the base.
        version: its version on the branch.
        changes: how its last state differs, path by path.
        folded: whether there is anything known that folds it to a state.
    """

    stream_id: str
    base_version: int
    version: int
    changes: tuple[Change, ...]
    folded: bool


@dataclass(frozen=True, slots=True, repr=False)
class Consequences:
    """What follows from edits.

    Attributes:
        plan: the edits.
        events: of the streams that were edited, each event behind the first edit, in the order of
            the branch; and whatever else refers to one that is gone.
        streams: the streams that were edited.
    """

    plan: Plan
    events: tuple[Consequence, ...]
    streams: tuple[StreamConsequence, ...]

    @property
    def broken(self) -> tuple[Consequence, ...]:
        """The events that the base applies, and the branch cannot."""
        return tuple(one for one in self.events if one.became == "cannot be applied")

    @property
    def counts(self) -> dict[Became, int]:
        """How many events became what."""
        found = Counter(one.became for one in self.events)
        return {became: found[became] for became in BECAME if found[became]}

    @property
    def df(self) -> pd.DataFrame:
        """A row for each event; see `Consequence` for the columns."""
        import pandas as pd

        rows = [[getattr(one, name) for name in Consequence.__slots__] for one in self.events]
        frame = pd.DataFrame(rows, columns=list(Consequence.__slots__), dtype=object)
        numbers = ["base_position", "base_version", "position", "version"]
        return frame.astype(dict.fromkeys(numbers, "Int64"))

    def __repr__(self) -> str:
        told = ", ".join(f"{count:,} {became}" for became, count in self.counts.items())
        edits = counted(len(self.plan.edits), "edit")
        return f"<Consequences of {edits}: {told or 'none'}>"


def consequences(plan: Plan, folding: Folding) -> Consequences:
    """Find what follows from edits, by applying the events with the handlers of today.

    Each stream that is edited is folded twice, as it is in the base and as it is on the branch. An
    event that the base applies and the branch cannot is one that cannot be applied: its handler
    raises, it does not fit its class, or it stands behind such a one.

    What is *not* found: whether a command would have been accepted. An event is a fact, and most
    handlers take it as that, whatever the state before; the log does not keep commands, which
    could be decided again. Nor what sagas and process managers would have done: that is seen when
    they run on the branch.

    Args:
        plan: the edits; see `eslab.replay.edited`.
        folding: knows what folds the streams.

    Example:
        >>> from eslab import Aggregate, Event, applies
        >>> from eslab.replay import edited
        >>> from eslab.schema import EventRegistry
        >>> from eslab.store import MemoryStore
        >>> class Put(Event):
        ...     key: str
        >>> class Removed(Event):
        ...     key: str
        >>> class Shelf(Aggregate):
        ...     goods: dict[str, bool] = {}
        ...     @applies
        ...     def put(self, event: Put) -> None:
        ...         self.goods[event.key] = True
        ...     @applies
        ...     def removed(self, event: Removed) -> None:
        ...         del self.goods[event.key]
        >>> store = MemoryStore()
        >>> _ = store.append("shelf-1", [Put(key="a"), Put(key="b"), Removed(key="a")])
        >>> folding = Folding(EventRegistry(Put, Removed), {"shelf": Shelf})
        >>> found = consequences(edited(store, [Skip(1)]), folding)
        >>> found
        <Consequences of 1 edit: 1 renumbered, 1 skipped, 1 cannot be applied>
        >>> found.broken[0].error
        "KeyError: 'a'"
    """
    lost = _Lost(plan)
    rows: list[tuple[tuple[float, int], Consequence]] = []
    streams = []
    inserted = {one.stream_id for some in plan.placed.values() for one in some}
    touched = sorted({*inserted, *(one.stream_id for one in plan.removed.values())})
    for stream_id, base in _histories(plan, touched).items():
        stream = _Stream(plan, stream_id, base)
        before, after = folding.fold(stream_id, base), folding.fold(stream_id, stream.branch)
        found = () if before is None or after is None else changes(before.state, after.state)
        versions = len(base), len(stream.branch)
        streams.append(
            StreamConsequence(stream_id, *versions, tuple(found), folded=before is not None)
        )
        errors = _errors(base, before), _errors(stream.branch, after)
        rows += [(place, _judged(row, *errors)) for place, row in stream.rows(lost)]
    rows += [((row.position or 0, 0), row) for row in _elsewhere(plan, touched, lost)]
    rows.sort(key=itemgetter(0))
    return Consequences(plan, tuple(row for _, row in rows), tuple(streams))


def _errors(
    events: list[RecordedEvent], folded: FoldedStream | None
) -> dict[int | None, str | None]:
    if folded is None:
        return {}
    return {
        event.version: error for event, error in zip(events, folded.errors, strict=True) if error
    }


def _judged(
    row: Consequence, base: Mapping[int | None, str | None], branch: Mapping[int | None, str | None]
) -> Consequence:
    error = branch.get(row.version)
    if error is None:
        return row
    became: Became = row.became if row.base_version in base else "cannot be applied"
    return replace(row, error=error, became=became)


def _histories(plan: Plan, streams: Sequence[str]) -> dict[str, list[RecordedEvent]]:
    """Return all events that the base has of some streams."""
    found: dict[str, list[RecordedEvent]] = {stream_id: [] for stream_id in streams}
    for event in plan.store.read_all(streams=streams, until=plan.at):
        found[event.stream_id].append(event)
    return found


class _Stream:
    """A stream as it is in the base, and as it is on the branch.

    Attributes:
        branch: its events there.
    """

    def __init__(self, plan: Plan, stream_id: str, base: Sequence[RecordedEvent]) -> None:
        self._plan = plan
        self._skipped = [
            event
            for event in base
            if event.position in plan.removed and plan.position_of(event.position) is None
        ]
        here = [
            (plan.upto(event.position), kept(event))
            for event in base
            if event.position not in plan.removed
        ]
        for place, some in plan.placed.items():
            first = plan.upto(place) + 1
            mine = (pair for pair in enumerate(some, first) if pair[1].stream_id == stream_id)
            here += mine
        self._planned = [planned for _, planned in sorted(here, key=itemgetter(0))]
        self.branch = [
            self._recorded(version, position, planned)
            for version, (position, planned) in enumerate(sorted(here, key=itemgetter(0)), start=1)
        ]

    def _recorded(self, version: int, position: int, planned: PlannedEvent) -> RecordedEvent:
        event = planned.event
        at = planned.recorded_at or event.occurred_at or self._plan.store.clock.now()
        return RecordedEvent(
            position,
            planned.stream_id,
            version,
            event.type,
            event.data,
            event.event_id or _NO_ID,
            event.schema_version,
            event.tags,
            event.metadata,
            event.occurred_at or at,
            at,
        )

    def rows(self, lost: _Lost) -> Iterator[tuple[tuple[float, int], Consequence]]:
        """Yield what becomes of each event, before anything is applied, and where it stands."""
        for event in self._skipped:
            place = self._plan.upto(event.position) + 0.5, event.position
            yield place, _row(event, None, "skipped", None)
        for branch, planned in zip(self.branch, self._planned, strict=True):
            if branch.position <= self._plan.start:
                continue
            same = _numbers(planned.base) == _numbers(branch)
            became: Became = planned.edit or ("same" if same else "renumbered")
            note = lost.note(planned.event.metadata, branch.position)
            yield (branch.position, 0), _row(planned.base, branch, became, note)


def _elsewhere(plan: Plan, touched: Sequence[str], lost: _Lost) -> Iterator[Consequence]:
    """Yield what becomes of events of other streams that refer to one that is gone."""
    for base in lost.referring():
        if base.stream_id in touched or base.position in plan.removed:
            continue
        branch = replace(base, position=plan.upto(base.position))
        note = lost.note(base.metadata, branch.position)
        if note is not None:
            became: Became = "same" if base.position == branch.position else "renumbered"
            yield _row(base, branch, became, note)


def _numbers(event: RecordedEvent | None) -> tuple[int | None, int | None]:
    return (None, None) if event is None else (event.position, event.version)


def _row(
    base: RecordedEvent | None, branch: RecordedEvent | None, became: Became, note: str | None
) -> Consequence:
    shown = branch or base
    assert shown is not None
    return Consequence(
        shown.stream_id,
        shown.type,
        *_numbers(base),
        *_numbers(branch),
        became,
        note=note,
    )


class _Lost:
    """Knows the events that others may refer to, and are not where they were."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._words: dict[str, str] = {}
        self._moved: dict[str, int] = {}
        for edit in plan.edits:
            if isinstance(edit, Skip | Edit):
                word = "was skipped" if isinstance(edit, Skip) else "was edited, and has a new id"
                self._words[str(plan.removed[edit.position].event_id)] = word
            elif isinstance(edit, Move):
                self._moved[str(plan.removed[edit.position].event_id)] = edit.position

    def referring(self) -> Iterator[RecordedEvent]:
        """Yield the events of the base behind the first edit that refer to one of these."""
        plan, ids = self._plan, sorted({*self._words, *self._moved})
        if not ids:
            return
        sql = getattr(plan.store, "sql", None)
        if sql is None:  # one in memory has no SQL, and is not large
            yield from plan.store.read_all(after=plan.start, until=plan.at)
            return
        values = {"ids": ids, "after": plan.start, "until": plan.at}
        for (position,) in sql(_REFERRING_SQL, values).fetchall():
            yield from plan.store.read_all(after=position - 1, until=position)

    def note(self, metadata: Metadata, position: int) -> str | None:
        """Return what an event refers to that is gone, or comes after it now.

        Args:
            metadata: of the event.
            position: its own, on the branch.
        """
        told = []
        cause = metadata.causation_id
        if cause is not None and (word := self._words.get(cause)):
            told.append(f"its cause {word}")
        elif cause is not None and self._position(cause) > position:
            told.append("its cause comes after it")
        if word := self._words.get(metadata.correlation_id or ""):
            told.append(f"what it correlates with {word}")
        return "; ".join(told) or None

    def _position(self, cause: str) -> int:
        """Return where an event is on the branch that is a cause; 0 if it is no event there."""
        place = self._moved.get(cause)
        if place is None and self._moved:
            found = _found(self._plan.store, cause)
            place = None if found is None else found.position
        return 0 if place is None else self._plan.position_of(place) or 0


def _found(store: EventStore, event_id: str) -> RecordedEvent | None:
    try:
        return store.find(UUID(event_id))
    except ValueError:  # the id of something else
        return None
