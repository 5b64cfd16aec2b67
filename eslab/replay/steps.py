"""One stream, step by step: each event, the state after it, and what changed in the state."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from eslab.aggregates import Definition
from eslab.errors import EslabError
from eslab.events import RecordedEvent
from eslab.replay.folding import state_of
from eslab.schema import EventRegistry, canonical_json
from eslab.store.port import EventStore

__all__ = ["Change", "Frame", "Replay", "replay"]

Mark = Literal["+", "-", "~"]


@dataclass(frozen=True, slots=True)
class Change:
    """What an event changed at one path of the state: appeared, disappeared, or another value."""

    path: str
    mark: Mark
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.mark == "+":
            return f"+ {self.path}: {self.after!r}"
        if self.mark == "-":
            return f"- {self.path}: {self.before!r}"
        return f"~ {self.path}: {self.before!r} -> {self.after!r}"


@dataclass(frozen=True, slots=True)
class Frame:
    """One step of a replay.

    Attributes:
        event: what was recorded.
        state: the state after it, as JSON values.
        changes: what it changed in the state.
        error: why the event could not be applied; the state is then the one before it.
    """

    event: RecordedEvent
    state: dict[str, Any]
    changes: tuple[Change, ...]
    error: str | None = None

    @property
    def digest(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of the state."""
        return hashlib.sha256(canonical_json(self.state).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Replay:
    """The frames of a stream, in the order of its versions; ``initial`` is the state before."""

    stream_id: str
    initial: dict[str, Any]
    frames: tuple[Frame, ...]

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)

    def __getitem__(self, version: int) -> Frame:
        """Return the frame of a version, from 1.

        Raises:
            IndexError: the stream has no such version.
        """
        if not 1 <= version <= len(self.frames):
            raise IndexError(
                f"stream {self.stream_id!r} has the versions 1 to {len(self.frames)}, not {version}"
            )
        return self.frames[version - 1]


def replay(
    store: EventStore,
    stream_id: str,
    *,
    definition: Definition[Any] | None,
    registry: EventRegistry,
) -> Replay:
    """Fold a stream with the handlers of its aggregate, and keep every step.

    An event that cannot be applied has its error in its frame, and ends the folding: the events
    behind it are shown with the state as it was.

    Args:
        store: where the stream is.
        stream_id: the stream; one without events gives no frames.
        definition: the class of aggregates, or the decider, that gives the state; without one the
            state is empty.
        registry: which class stands for which type.

    Example:
        >>> from eslab.store import MemoryStore
        >>> len(replay(MemoryStore(), "order-1", definition=None, registry=EventRegistry()))
        0
    """
    subject = None
    if definition is not None:
        subject = definition(stream_id.removeprefix(f"{definition.category}-"))
    initial = state_of(subject)
    state, failed = initial, None
    frames: list[Frame] = []
    for event in store.read(stream_id):
        before, error = state, None
        if subject is not None and failed is None:
            try:
                subject.rebuild([registry.decode(event)])
                state = state_of(subject)
            except EslabError as problem:
                error = failed = str(problem)
            except Exception as problem:
                error = failed = f"{type(problem).__name__}: {problem}"
        elif failed is not None:
            error = f"not applied: version {_first_error(frames)} failed"
        frames.append(Frame(event, state, tuple(changes(before, state)), error))
    return Replay(stream_id, initial, tuple(frames))


def _first_error(frames: list[Frame]) -> int:
    return next(frame.event.version for frame in frames if frame.error)


def changes(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """Yield what differs between two states, path by path; where there was null, nothing was.

    Example:
        >>> [str(change) for change in changes({"a": 1, "b": {"c": 2}}, {"b": {"c": 3}, "d": 4})]
        ['- a: 1', '~ b.c: 2 -> 3', '+ d: 4']
        >>> [str(change) for change in changes({"carrier": None}, {"carrier": "MQ"})]
        ["+ carrier: 'MQ'"]
    """
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            inner = f"{path}.{key}" if path else key
            if key not in after:
                yield Change(inner, "-", before[key], None)
            elif key not in before:
                yield Change(inner, "+", None, after[key])
            else:
                yield from changes(before[key], after[key], inner)
    elif before != after:
        mark: Mark = "+" if before is None else "-" if after is None else "~"
        yield Change(path, mark, before, after)
