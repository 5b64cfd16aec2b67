"""One stream, followed event by event: what the real handlers make of each, and what it changed."""

from __future__ import annotations

from typing import Any, Final

from eslab.aggregates import Aggregate, Definition, Sourced
from eslab.errors import EslabError, error_message
from eslab.events import Event, RecordedEvent
from eslab.replay.changes import Change, Mirror, changes
from eslab.replay.folding import state_of
from eslab.replay.watching import WatchedState
from eslab.schema import EventRegistry

__all__ = ["Follower", "MissedChangeError", "begun"]

LARGE: Final = 100
"""Values in a state from which on it is not looked at as a whole after every event."""


def begun(definition: Definition[Any] | None, stream_id: str) -> Sourced | None:
    """Return what a stream is the events of, as it is before the first one."""
    if definition is None:
        return None
    made: Sourced = definition(stream_id.removeprefix(f"{definition.category}-"))
    return made


class MissedChangeError(Exception):
    """Watching a state did not show all that changed in it."""


class Follower:
    """Applies the events of one stream, and says what each changed.

    An event that cannot be applied ends it: those behind it are not applied either.

    Args:
        definition: the class of aggregates, or the decider; without one there is no state.
        stream_id: the stream.
        registry: which class stands for which type.
        watch: find what changed in a large state of an aggregate by watching it.

    Attributes:
        initial: the state before the first event.
        mirror: the state after the last event that was applied.
        last: the number of the stream's last frame; 0 before there is one.
        failed: the version that could not be applied; 0 if there is none.
    """

    def __init__(
        self,
        definition: Definition[Any] | None,
        stream_id: str,
        *,
        registry: EventRegistry,
        watch: bool = True,
    ) -> None:
        self._registry = registry
        self._subject = begun(definition, stream_id)
        self.initial = state_of(self._subject)
        self.mirror = Mirror(self.initial)
        self.last = 0
        self.failed = 0
        self._watch = watch and isinstance(self._subject, Aggregate)
        self._watched: _Watch | None = None
        self._due = LARGE

    def follow(self, recorded: RecordedEvent) -> tuple[tuple[Change, ...], str | None]:
        """Apply an event; return what it changed, and why it could not be applied.

        Raises:
            MissedChangeError: the state cannot be watched; earlier changes may be missing too.
        """
        if self._subject is None:
            return (), None
        if self.failed:
            return (), f"not applied: version {self.failed} failed"
        try:
            found = self._apply(self._registry.decode(recorded))
        except MissedChangeError:
            raise
        except EslabError as problem:
            error = error_message(problem)
        except Exception as problem:
            error = f"{type(problem).__name__}: {error_message(problem)}"
        else:
            for change in found:
                self.mirror.apply(change)
            self._look(recorded.version)
            return found, None
        self.failed = recorded.version
        return (), error

    def _apply(self, event: Event) -> tuple[Change, ...]:
        assert self._subject is not None
        self._subject.rebuild([event])
        if self._watched is None:
            return tuple(changes(self.mirror.state, state_of(self._subject)))
        return self._watched.apply(event, self.mirror.state)

    def _look(self, version: int) -> None:
        """Look at the whole state, as often as it has values: it costs each event the same."""
        if not self._watch or version < self._due:
            return
        self.check()
        size = _size(self.mirror.state)
        self._due = version + max(LARGE, size)
        if self._watched is None and size > LARGE:
            self._watched = _Watch(self._subject)

    def check(self) -> None:
        """Compare the state with what its changes made of it.

        Raises:
            MissedChangeError: they differ.
        """
        if self._watched is None or self.failed:
            return
        if state_of(self._subject) != self.mirror.state:
            raise MissedChangeError


class _Watch:
    """A second aggregate, whose state is watched."""

    def __init__(self, subject: Any) -> None:
        self._subject = subject.copy()
        self._state = WatchedState(self._subject)

    def apply(self, event: Event, before: dict[str, Any]) -> tuple[Change, ...]:
        try:
            self._subject.rebuild([event])
            return tuple(self._state.changes(before))
        except Exception as error:  # it was well for the first one
            raise MissedChangeError from error


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    return 1 + sum(map(_size, value)) if isinstance(value, list) else 1
