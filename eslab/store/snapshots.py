"""Snapshots in memory: the reference of what a store keeps of them, and where new ones wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final

from eslab.errors import StoreError
from eslab.store.port import Snapshot, SnapshotKey

__all__ = ["KEPT", "MemorySnapshots"]

KEPT: Final = 2
"""How many are kept for a key: the newest, and the one before for who looks back."""


class MemorySnapshots:
    """The snapshots of a store in memory; see `eslab.store.port.Snapshots`.

    Args:
        stream_version: says the version of a stream, of a store that is open.
    """

    def __init__(self, stream_version: Callable[[str], int]) -> None:
        self._stream_version = stream_version
        self._held: dict[SnapshotKey, tuple[Snapshot, ...]] = {}
        self._lock = threading.RLock()

    def latest(self, key: SnapshotKey, *, until: int | None = None) -> Snapshot | None:
        """Return the newest one, up to a version; see `eslab.store.port.Snapshots.latest`."""
        version = self._stream_version(key.stream_id)
        return self._newest(key, version if until is None else min(until, version))

    def _newest(self, key: SnapshotKey, until: int) -> Snapshot | None:
        return max((one for one in self._held.get(key, ()) if one.version <= until), default=None)

    def put(self, key: SnapshotKey, snapshot: Snapshot) -> None:
        """Keep one, if it can be right; see `eslab.store.port.Snapshots.put`."""
        with suppress(StoreError, UnicodeError):  # it was closed meanwhile; the state is no text
            snapshot.state.encode()
            if 0 < snapshot.version <= self._stream_version(key.stream_id):
                with self._lock:
                    ones = {one.version: one for one in (*self._held.get(key, ()), snapshot)}
                    self._held[key] = tuple(ones[version] for version in sorted(ones)[-KEPT:])

    def delete(self, *, stream_id: str | None = None) -> int:
        """Forget all of them, or those of a stream, and return how many these were."""
        with self._lock:
            deleted = self._all(stream_id)
            self._forget(deleted)
        return len(deleted)

    def __iter__(self) -> Iterator[tuple[SnapshotKey, Snapshot]]:
        return iter(self._all())

    def _all(self, stream_id: str | None = None) -> list[tuple[SnapshotKey, Snapshot]]:
        with self._lock:
            return sorted(
                (key, one)
                for key, ones in self._held.items()
                if stream_id in (None, key.stream_id)
                for one in ones
            )

    def _forget(self, pairs: Iterable[tuple[SnapshotKey, Snapshot]]) -> None:
        with self._lock:
            for key, gone in pairs:
                left = tuple(one for one in self._held.get(key, ()) if one != gone)
                if left:
                    self._held[key] = left
                else:
                    self._held.pop(key, None)
