"""Two logs side by side: a branch and its base, or any two: what differs in what follows from them.

Their streams are compared by what their events say, never by ids, times or metadata: what makes two
events the same event for the store too. What follows is compared wherever it comes from: the states
of streams, the rows of read models, and where sagas stand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, Literal

from eslab.errors import EslabError, InputError
from eslab.events import AsOf, RecordedEvent
from eslab.projections import AnyProjection, PastReadModel, read_model_as_of
from eslab.projections.base import ProjectionStore
from eslab.replay.folding import Folding, is_saga
from eslab.replay.steps import changes
from eslab.schema import EventRegistry

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["STREAMS_SQL", "Difference", "Differences", "Kind", "Side", "Tally", "differences"]

Kind = Literal["stream", "state", "read model", "saga"]
Where = Literal["both", "base", "branch"]

AT_ONCE: Final = 500
"""Streams that are read together."""

STREAMS_SQL: Final = """
select stream_id, count(*) as events, bit_xor(hash(version, type, schema_version, data)) as content
from events where position > $after and position <= $until
group by stream_id order by stream_id
"""
"""What each stream holds behind a position: two logs have the same where this is the same."""

_TOTAL_SQL: Final = """
select count(*), count(*) filter (stream_id like 'saga-%')
from events where version = 1 and position <= $until
"""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the logs that are compared.

    Attributes:
        store: the log, with its read models.
        registry: which class stands for which type.
        folding: knows what folds its streams.
        projections: whose read models are compared, by their names.
        until: the last position that is looked at.
    """

    store: ProjectionStore
    registry: EventRegistry
    folding: Folding
    projections: Mapping[str, AnyProjection]
    until: int


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs.

    Attributes:
        kind: of what it is: a ``"stream"``, its ``"state"``, a ``"read model"``, a ``"saga"``.
        name: the stream, the table, or the name and id of the saga.
        key: of the row, in a read model; else None.
        path: what differs: from which version on, a path of the state, a column; or what cannot
            be done.
        base: how it is in the base: for a stream, its version; None if it is not there.
        branch: how it is on the branch.
        found_in: which of them has such a thing: ``"both"``, ``"base"`` or ``"branch"``.
    """

    kind: Kind
    name: str
    key: Any
    path: str
    base: Any
    branch: Any
    found_in: Where

    @property
    def subject(self) -> tuple[Kind, str, Any]:
        """What it is a part of: one stream, one row, one saga."""
        return self.kind, self.name, self.key


@dataclass(frozen=True, slots=True)
class Tally:
    """How many things of a kind are the same, and how many are not.

    Attributes:
        kind: of what.
        name: of the table, of a read model; else what they are, such as ``"streams"``.
        same: so many are the same.
        changed: so many are in both, and differ.
        only_base: so many are in the base alone.
        only_branch: so many are on the branch alone.
    """

    kind: Kind
    name: str
    same: int
    changed: int
    only_base: int
    only_branch: int

    @property
    def different(self) -> int:
        """How many differ."""
        return self.changed + self.only_base + self.only_branch


@dataclass(frozen=True, slots=True, repr=False)
class Differences:
    """What differs between two logs.

    Attributes:
        found: each thing that differs: streams, states, read models, sagas, each in order of name.
        tallies: how many there are.
        base_head: up to where the base was looked at.
        branch_head: up to where the branch was.
        common: up to there they are one log.
    """

    found: tuple[Difference, ...]
    tallies: tuple[Tally, ...]
    base_head: int
    branch_head: int
    common: int

    def __bool__(self) -> bool:
        return bool(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Difference]:
        return iter(self.found)

    def of(self, kind: Kind) -> tuple[Difference, ...]:
        """Return those of one kind."""
        return tuple(one for one in self.found if one.kind == kind)

    def count(self, kind: Kind) -> int:
        """Return how many things differ: streams, states, read models (not rows) or sagas."""
        return len({one.name for one in self.of(kind)})

    @property
    def df(self) -> pd.DataFrame:
        """A row for each; see `Difference` for the columns."""
        import pandas as pd

        names = list(Difference.__slots__)
        rows = [[getattr(one, name) for name in names] for one in self.found]
        return pd.DataFrame(rows, columns=names, dtype=object)

    def __repr__(self) -> str:
        return f"<Differences: {len(self)}>"


def differences(
    base: Side,
    branch: Side,
    *,
    common: int = 0,
    projections: Iterable[str] | None = None,
    progress: bool = True,
) -> Differences:
    """Find what differs between two logs, and in what follows from them.

    What is kept up to date by either is left alone, and need not be up to date.

    Args:
        base: the one.
        branch: the other.
        common: up to this position they are known to be the same.
        projections: the names of those whose read models are compared; by default all that both
            sides have.
        progress: draw a progress bar on stderr while events are folded.

    Raises:
        InputError: a side has no projection of that name.
    """
    chosen = _chosen(base, branch, projections)
    streams = _Streams(base, branch, common)
    found = [*streams.compared()]
    tallies = streams.tallies(found)
    for name in chosen:
        models = _ReadModels(base, branch, name, progress=progress)
        found += models.compared()
        tallies += models.tallies
    order: list[Kind] = ["stream", "state", "read model", "saga"]
    found.sort(key=lambda one: order.index(one.kind))
    tallies.sort(key=lambda one: order.index(one.kind))
    return Differences(tuple(found), tuple(tallies), base.until, branch.until, common)


def _chosen(base: Side, branch: Side, projections: Iterable[str] | None) -> list[str]:
    both = [name for name in base.projections if name in branch.projections]
    chosen = both if projections is None else list(projections)
    for name in chosen:
        if name not in both:
            raise InputError(
                f"there is no projection {name!r} on both sides (there are: "
                f"{', '.join(both) or 'none'}); project it on the one that lacks it"
            )
    return chosen


class _Streams:
    """The streams of two logs, with the states and the sagas that they fold to."""

    def __init__(self, base: Side, branch: Side, common: int) -> None:
        self._sides = base, branch
        self._common = common
        self._folded: set[str] = set()

    def compared(self) -> Iterator[Difference]:
        """Yield what differs of them."""
        contents = [self._contents(side) for side in self._sides]
        names = sorted(contents[0].keys() | contents[1].keys())
        odd = [name for name in names if contents[0].get(name) != contents[1].get(name)]
        for first in range(0, len(odd), AT_ONCE):
            some = odd[first : first + AT_ONCE]
            histories = [_histories(side, some) for side in self._sides]
            for name in some:
                yield from self._differences(name, histories[0][name], histories[1][name])

    def _contents(self, side: Side) -> dict[str, tuple[int, int]]:
        values = {"after": self._common, "until": side.until}
        return {
            name: (events, content)
            for name, events, content in side.store.sql(STREAMS_SQL, values).fetchall()
        }

    def _differences(
        self, name: str, base: Sequence[RecordedEvent], branch: Sequence[RecordedEvent]
    ) -> Iterator[Difference]:
        pairs = takewhile(
            lambda pair: _content(pair[0]) == _content(pair[1]), zip(base, branch, strict=False)
        )
        first = sum(1 for _ in pairs) + 1
        where = _where(base, branch)
        versions = len(base) or None, len(branch) or None
        yield Difference("stream", name, None, f"from version {first}", *versions, where)
        kind: Kind = "saga" if is_saga(name) else "state"
        shown = name.partition("-")[2] if kind == "saga" else name
        before, after = (
            side.folding.fold(name, events) if events else None
            for side, events in zip(self._sides, (base, branch), strict=True)
        )
        if before is None and after is None:
            return
        self._folded.add(name)
        for change in changes(before.state if before else {}, after.state if after else {}):
            if change.before != change.after:
                yield Difference(kind, shown, None, change.path, change.before, change.after, where)
        errors = before and before.error, after and after.error
        if errors[0] != errors[1]:
            yield Difference(kind, shown, None, "cannot be applied", *errors, where)

    def tallies(self, found: Sequence[Difference]) -> list[Tally]:
        """Return how many streams, states and sagas there are, given what differs of them."""
        ((streams, sagas),) = (
            self._sides[0].store.sql(_TOTAL_SQL, {"until": self._sides[0].until}).fetchall()
        )
        totals: list[tuple[Kind, str, int | None]] = [
            ("stream", "streams", streams),
            ("state", "states of these", None),
            ("saga", "sagas", sagas),
        ]
        return [self._tally(kind, name, total, found) for kind, name, total in totals]

    def _tally(
        self, kind: Kind, name: str, total: int | None, found: Sequence[Difference]
    ) -> Tally:
        where = {one.name: one.found_in for one in found if one.kind == kind}
        counts = Counter(where.values())
        if total is None:
            same = sum(not is_saga(one) and one not in where for one in self._folded)
        else:
            same = total - counts["both"] - counts["base"]
        return Tally(kind, name, same, counts["both"], counts["base"], counts["branch"])


def _histories(side: Side, names: Sequence[str]) -> dict[str, list[RecordedEvent]]:
    found: dict[str, list[RecordedEvent]] = {name: [] for name in names}
    for event in side.store.read_all(streams=names, until=side.until):
        found[event.stream_id].append(event)
    return found


def _content(event: RecordedEvent) -> tuple[str, int, Mapping[str, Any]]:
    return event.type, event.schema_version, event.data


def _where(base: Any, branch: Any) -> Where:
    return "both" if base and branch else "base" if base else "branch"


class _ReadModels:
    """The tables of one projection, made of two logs."""

    def __init__(self, base: Side, branch: Side, name: str, *, progress: bool) -> None:
        self._name = name
        self._shapes = branch.projections[name].tables_of(branch.store, branch.registry)
        self._made = [_made(side, name, progress=progress) for side in (base, branch)]
        self.tallies: list[Tally] = []

    def compared(self) -> list[Difference]:
        """Return the values that differ; or that there is no read model, and why."""
        base, branch = self._made
        if isinstance(base, str) or isinstance(branch, str):
            errors = (
                base if isinstance(base, str) else None,
                (branch if isinstance(branch, str) else None),
            )
            where: Where = "both" if all(errors) else _where(not errors[0], not errors[1])
            self.tallies = [Tally("read model", self._name, 0, 1, 0, 0)]
            return [Difference("read model", self._name, None, "cannot be made", *errors, where)]
        return [
            found
            for table in self._shapes
            for found in self._table(table, base.tables[table], branch.tables[table])
        ]

    def _table(self, table: str, base: pd.DataFrame, branch: pd.DataFrame) -> list[Difference]:
        key = self._shapes[table].key
        left, right = _rows(base, key), _rows(branch, key)
        found: list[Difference] = []
        for one in sorted(left.keys() | right.keys(), key=_sortable):
            there, here = left.get(one), right.get(one)
            where = _where(there, here)
            shown = one[0] if len(one) == 1 else one
            columns = [name for name in self._shapes[table].columns if name not in key]
            values = [(name, there and there[name], here and here[name]) for name in columns]
            differ = [each for each in values if each[1] != each[2]]
            if where != "both" and not differ:
                differ = [("", None, None)]  # it has nothing but its key
            found += [Difference("read model", table, shown, *each, where) for each in differ]
        counts = Counter({one.key: one.found_in for one in found}.values())
        same = len(left) - counts["both"] - counts["base"]
        tally = Tally("read model", table, same, counts["both"], counts["base"], counts["branch"])
        self.tallies.append(tally)
        return found


def _made(side: Side, name: str, *, progress: bool) -> PastReadModel | str:
    """Return a read model as of a position, or why there is none."""
    try:
        return read_model_as_of(
            side.store,
            side.projections[name],
            side.registry,
            AsOf(position=side.until),
            progress=progress,
        )
    except EslabError as error:
        return str(error)


def _rows(frame: pd.DataFrame, key: Sequence[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows of a table by their keys; what is missing is None."""
    plain = frame.astype(object).where(frame.notna(), None)
    columns = list(frame.columns)
    rows = (dict(zip(columns, row, strict=True)) for row in plain.itertuples(index=False))
    return {tuple(row[name] for name in key): row for row in rows}


def _sortable(key: tuple[Any, ...]) -> tuple[tuple[str, Any], ...]:
    return tuple((type(part).__name__, part) for part in key)
