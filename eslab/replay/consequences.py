"""What follows from edits of history: for each event behind them, and for the state in the end."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal
from uuid import UUID

from eslab.events import AsOf, RecordedEvent
from eslab.replay.edits import Edit, Move, Plan, PlannedEvent, Skip
from eslab.replay.folding import FoldedStream, Folding
from eslab.replay.steps import Change, changes
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
    walk = _Walk(plan)
    rows = [row for row in walk.rows() if row.stream_id in walk.touched or row.note]
    streams, errors = [], {}
    for stream_id in sorted(walk.touched):
        base, branch = walk.histories(stream_id)
        before, after = folding.fold(stream_id, base), folding.fold(stream_id, branch)
        found = () if before is None or after is None else changes(before.state, after.state)
        streams.append(
            StreamConsequence(
                stream_id, len(base), len(branch), tuple(found), folded=before is not None
            )
        )
        if before is not None and after is not None:
            errors[stream_id] = _errors(base, before), _errors(branch, after)
    judged = (
        _judged(row, *errors[row.stream_id]) if row.stream_id in errors else row for row in rows
    )
    return Consequences(plan, tuple(judged), tuple(streams))


def _errors(events: list[RecordedEvent], folded: FoldedStream) -> dict[int | None, str | None]:
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


class _Walk:
    """Goes through a plan once, and numbers its events as the branch will."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        inserted = (one.stream_id for some in plan.placed.values() for one in some)
        self.touched = {*inserted, *(one.stream_id for one in plan.removed.values())}
        self._behind: defaultdict[str, list[RecordedEvent]] = defaultdict(list)
        self._versions: dict[str, int] = {}

    def histories(self, stream_id: str) -> tuple[list[RecordedEvent], list[RecordedEvent]]:
        """Return the events of a stream, in the base and on the branch."""
        plan = self._plan
        base = list(plan.store.read(stream_id, as_of=AsOf(position=plan.at)))
        same = [event for event in base if event.position <= plan.start]
        return base, same + self._behind[stream_id]

    def rows(self) -> Iterator[Consequence]:
        """Yield what becomes of each event, before anything is applied."""
        lost = _Lost(self._plan)
        position = self._plan.start
        for base, planned in self._plan.steps():
            if planned is None:
                assert base is not None
                yield _row(base, None, "skipped", None)
                continue
            position += 1
            branch = self._numbered(planned, position)
            became: Became = planned.edit or (
                "same" if _numbers(base) == _numbers(branch) else "renumbered"
            )
            yield _row(base, branch, became, lost.note(planned))

    def _numbered(self, planned: PlannedEvent, position: int) -> RecordedEvent:
        stream_id, event = planned.stream_id, planned.event
        if stream_id not in self.touched:
            assert planned.base is not None
            return replace(planned.base, position=position)
        if stream_id not in self._versions:
            self._versions[stream_id] = self._version_at_start(stream_id)
        self._versions[stream_id] += 1
        at = planned.recorded_at or event.occurred_at or self._plan.store.clock.now()
        branch = RecordedEvent(
            position,
            stream_id,
            self._versions[stream_id],
            event.type,
            event.data,
            event.event_id or _NO_ID,
            event.schema_version,
            event.tags,
            event.metadata,
            event.occurred_at or at,
            at,
        )
        self._behind[stream_id].append(branch)
        return branch

    def _version_at_start(self, stream_id: str) -> int:
        plan = self._plan
        newest = plan.store.read(
            stream_id, as_of=AsOf(position=plan.start), direction="backwards", limit=1
        )
        return next((event.version for event in newest), 0)


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
        self._passed: set[str] = set()
        for edit in plan.edits:
            if isinstance(edit, Skip | Edit):
                word = "was skipped" if isinstance(edit, Skip) else "was edited, and has a new id"
                self._words[str(plan.removed[edit.position].event_id)] = word
            elif isinstance(edit, Move):
                self._moved[str(plan.removed[edit.position].event_id)] = edit.after

    def note(self, planned: PlannedEvent) -> str | None:
        """Return what an event refers to that is gone, or comes after it now.

        It is asked for each event, in the order of the branch.
        """
        own = str(planned.event.event_id)
        if own in self._moved:
            self._passed.add(own)
        told = []
        cause = planned.event.metadata.causation_id
        if cause is not None and (word := self._words.get(cause)):
            told.append(f"its cause {word}")
        elif cause is not None and self._is_later(cause, own):
            told.append("its cause comes after it")
        if word := self._words.get(planned.event.metadata.correlation_id or ""):
            told.append(f"what it correlates with {word}")
        return "; ".join(told) or None

    def _is_later(self, cause: str, own: str) -> bool:
        """Say whether what caused an event stands behind it now."""
        if cause in self._moved:
            return cause not in self._passed
        if own not in self._moved:
            return False
        found = _found(self._plan, cause)
        return found is not None and found.position > self._moved[own]


def _found(plan: Plan, event_id: str) -> RecordedEvent | None:
    try:
        return plan.store.find(UUID(event_id))
    except ValueError:  # the id of something else
        return None
