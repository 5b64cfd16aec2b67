"""The states after the frames of a replay: put together from what changed, wherever one asks."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eslab.events import category_of
from eslab.garbage import garbage_kept
from eslab.replay.changes import Key, apply, copied, value_at

if TYPE_CHECKING:
    from eslab.replay.steps import Frame

__all__ = ["States"]


class States:
    """The states after each frame: one set of them is kept, and moved to where it is asked for.

    Args:
        frames: the steps; there may come more of them.
        initials: the states before the first event, by category.
    """

    def __init__(self, frames: Sequence[Frame], initials: Mapping[str, dict[str, Any]]) -> None:
        self._frames = frames
        self._initials = initials
        self._held: dict[str, Any] = {}
        self._number = 0
        self._lock = threading.Lock()

    def after(self, number: int) -> dict[str, Any]:
        """Return a copy of the states after a frame, by stream."""
        with self._lock, garbage_kept():
            self._move(number)
            return copied(self._held)  # type: ignore[no-any-return]

    def of(self, number: int) -> dict[str, Any]:
        """Return a copy of the state of the frame's stream after it."""
        with self._lock, garbage_kept():
            self._move(number)
            return copied(self._held[self._frames[number - 1].event.stream_id])  # type: ignore[no-any-return]

    def value(self, frame: Frame, keys: Iterable[Key]) -> Any:
        """Return what stands at a path after a frame."""
        with self._lock:
            self._move(frame.number)
            return value_at(self._held[frame.event.stream_id], keys)

    def _move(self, number: int) -> None:
        while self._number < number:
            self._forward(self._frames[self._number])
            self._number += 1
        while self._number > number:
            self._number -= 1
            self._back(self._frames[self._number])

    def _forward(self, frame: Frame) -> None:
        stream_id = frame.event.stream_id
        if not frame.previous:
            self._held[stream_id] = copied(self._initials[category_of(stream_id)])
        state = self._held[stream_id]
        for change in (*frame.between, *frame.changes):
            apply(value_at(state, change.keys[:-1]), change)

    def _back(self, frame: Frame) -> None:
        stream_id = frame.event.stream_id
        if not frame.previous:
            del self._held[stream_id]
            return
        state = self._held[stream_id]
        for change in reversed((*frame.between, *frame.changes)):
            apply(value_at(state, change.keys[:-1]), change.undone())
