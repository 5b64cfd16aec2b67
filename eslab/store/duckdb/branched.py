"""What a branch knows in memory: what its base knows, and over that what it changed itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from eslab.store.columns import Head
from eslab.store.duckdb.hot import Cover, GivenIds, Heads
from eslab.store.rows import LogRow

if TYPE_CHECKING:
    from eslab.store.duckdb.store import DuckDBStore

__all__ = ["BranchGivenIds", "BranchHeads"]

_UNKNOWN: Final = np.iinfo(np.int32).max


class BranchHeads(Heads):
    """The heads of a branch: those that it has changed or was asked for, over those of its base.

    What `Heads` itself holds are the streams that began in the branch. Their numbers follow those
    of the base.

    Args:
        base: knows the others.
        at: the last position that is taken from there.
        streams: how many there were then.
    """

    def __init__(self, base: DuckDBStore, at: int, streams: int) -> None:
        super().__init__()
        self.base = base
        self.at = at
        self.streams = streams
        self._held: dict[str, tuple[int, int, int]] = {}

    def again(self) -> BranchHeads:
        """Return those with which the branch began."""
        return BranchHeads(self.base, self.at, self.streams)

    def __len__(self) -> int:
        return self.streams + super().__len__()

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, BranchHeads)
            and super().__eq__(other)
            and self._changed() == other._changed()
        )

    __hash__ = None

    def _changed(self) -> dict[str, tuple[int, int, int]]:
        return {id: held for id, held in list(self._held.items()) if held[2] > self.at}

    def look_up(self, stream_ids: Iterable[str]) -> None:
        """Ask the base for many streams at once."""
        asked = [id for id in stream_ids if id not in self._held and self._of_base(id)]
        if asked:
            found = self.base.heads_at(asked, self.at, self.streams)
            for stream_id, head in zip(asked, found, strict=True):
                self._held.setdefault(stream_id, head)

    def _of_base(self, stream_id: str) -> int:
        """Return the number of a stream that began in the base; 0 if it did not."""
        held = self._held.get(stream_id)
        number = self.base.stream_number(stream_id) if held is None else held[0]
        return number if number <= self.streams else 0

    def find(self, stream_id: str) -> tuple[int, int, int]:
        """Return the number, the version and the last position of a stream, or zeros."""
        held = self._held.get(stream_id)
        if held is not None:
            return held
        if not self._of_base(stream_id):
            number, version, position = super().find(stream_id)
            return (self.streams + number if number else 0), version, position
        (found,) = self.base.heads_at([stream_id], self.at, self.streams)
        return self._held.setdefault(stream_id, found)  # it may have changed meanwhile

    def number(self, stream_id: str) -> int:
        """Return the number of a stream; 0 when there is none."""
        if number := self._of_base(stream_id):
            return number
        own = super().number(stream_id)
        return own and self.streams + own

    def numbers(self, stream_ids: Sequence[str]) -> NDArray[np.int32]:
        """Return the numbers of different streams; those that begin here get the next ones."""
        following = count(self.streams + len(self._versions))
        return np.array([self.number(id) or next(following) for id in stream_ids], np.int32)

    def names(self, numbers: Iterable[int]) -> list[str]:
        """Return the streams that have these numbers."""
        numbers = list(numbers)
        named = iter(self.base.stream_names([each for each in numbers if each <= self.streams]))
        return [
            next(named) if each <= self.streams else self._names[each - self.streams]
            for each in numbers
        ]

    def version(self, stream_id: str) -> int:
        """Return the version of a stream; 0 when there is none. Any thread may ask for it."""
        return self.find(stream_id)[1]

    def get(self, stream_id: str) -> tuple[int, int]:
        """Return the version of a stream and the position of its last event, or zeros."""
        return self.find(stream_id)[1:]

    def versions(self) -> NDArray[np.int32]:
        """Return the versions of all streams, by their numbers; of some, the largest there is."""
        base = np.full(self.streams, _UNKNOWN, np.int32)
        for number, version, _ in list(self._held.values()):
            base[number - 1] = version
        own = super().versions()
        return np.concatenate([own[:1], base, own[1:]])

    def cover(self, stream_ids: Iterable[str]) -> Cover:
        """Return where the events of some streams are; streams that do not exist have none.

        Of streams that nobody asked for, what the base has of them now is taken for how many
        events there are: it is only to guess how far to read at once.
        """
        asked = list(stream_ids)
        others = [id for id in asked if id not in self._held and self._of_base(id)]
        below = self.base.cover(others)
        known = [self.find(id) for id in set(asked).difference(others)]
        known = [head for head in known if head[0]]
        numbers = [*below.numbers, *(number for number, _, _ in known)]
        return Cover(
            numbers,
            below.events + sum(version for _, version, _ in known),
            min((number - 1 for number in numbers), default=0),
            max([min(below.until, self.at), *(position for _, _, position in known)]),
        )

    def advance(self, rows: Iterable[LogRow | Head]) -> None:
        """Take note of rows that were appended."""
        own = []
        for row in rows:
            if number := self._of_base(row.stream_id):
                self._held[row.stream_id] = number, row.version, row.position
            else:
                own.append(row)
        super().advance(own)


class BranchGivenIds(GivenIds):
    """Which ids may be in the database of a branch: its own, and those of its base."""

    def __init__(self, base: DuckDBStore, lows: NDArray[np.uint64] | None) -> None:
        super().__init__(lows)
        self._base = base

    def maybe(self, ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
        """Return those of `ids` that may be in the database."""
        return list({*super().maybe(ids), *self._base.maybe_given(ids)})
