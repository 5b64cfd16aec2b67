"""What a command returns: how far whoever reads must have come to see what it did."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from eslab.words import counted

if TYPE_CHECKING:
    from eslab.projections import ProjectionRunner

__all__ = ["ConsistencyToken", "Readiness"]


@dataclass(frozen=True, slots=True)
class ConsistencyToken:
    """A position of a log: whoever has read so far has seen what the command recorded.

    Attributes:
        store_id: of which store.
        epoch: in which epoch of it.
        position: of the last event that the command recorded; if it recorded none, of the last
            event of the stream on which it was decided, or of the log, if that is not known.
        duplicate: the command had been carried out before, and nothing was recorded now.

    Example:
        >>> ConsistencyToken(uuid.UUID(int=7), 1, 42)
        <ConsistencyToken position 42, epoch 1>
    """

    store_id: uuid.UUID
    epoch: int
    position: int
    duplicate: bool = field(default=False, compare=False)

    def __repr__(self) -> str:
        duplicate = ", duplicate" if self.duplicate else ""
        return f"<ConsistencyToken position {self.position}, epoch {self.epoch}{duplicate}>"


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether projections have seen what a command recorded.

    Attributes:
        state: ``"ready"``; ``"stale"``, where one is behind and does not go on by itself, or not in
            time; ``"degraded"``, where all have come so far, but one has dead letters of before;
            or ``"failed"``, where one was stopped by an error.
        by: how many positions each of those that are behind lacks, by the names of projections.
        causes: what stopped those that failed, by their names.
        letters: how many dead letters those have that have any, by their names.

    Example:
        >>> Readiness("stale", {"orders": 3})
        <Readiness: stale, orders by 3>
    """

    state: Literal["ready", "stale", "degraded", "failed"]
    by: Mapping[str, int] = field(default_factory=dict)
    causes: Mapping[str, Exception] = field(default_factory=dict)
    letters: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, runners: Iterable[ProjectionRunner], position: int) -> Readiness:
        """Say whether projections have come to a position, and what keeps them from it."""
        by = {
            runner.name: position - runner.position
            for runner in runners
            if runner.position < position
        }
        causes = {
            runner.name: runner.error
            for runner in runners
            if runner.error is not None and runner.name in by
        }
        letters = {
            runner.name: count
            for runner in runners
            if (count := sum(letter.position <= position for letter in runner.letters))
        }
        state: Literal["ready", "stale", "degraded", "failed"] = "degraded" if letters else "ready"
        if by:
            state = "failed" if causes else "stale"
        return cls(state, by, causes, letters)

    def __bool__(self) -> bool:
        """Whether it is ready."""
        return self.state == "ready"

    def __repr__(self) -> str:
        behind = ", ".join(f"{name} by {count:,}" for name, count in self.by.items())
        causes = "; ".join(f"{name}: {error}" for name, error in self.causes.items())
        parked = ", ".join(
            f"{name} has {counted(count, 'dead letter')}" for name, count in self.letters.items()
        )
        return f"<Readiness: {', '.join(filter(None, [self.state, behind, parked, causes]))}>"
