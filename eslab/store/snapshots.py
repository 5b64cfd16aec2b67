"""Snapshots in memory: the reference of what a store keeps of them."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from eslab.store.port import Snapshot, SnapshotKey

__all__ = ["MemorySnapshots", "newest"]


class MemorySnapshots:
    """The snapshots of a store in memory; see `eslab.store.port.Snapshots`.

    Args:
        stream_version: says the version of a stream.
    """

    def __init__(self, stream_version: Callable[[str], int]) -> None:
        self._stream_version = stream_version
        self._held: defaultdict[SnapshotKey, list[Snapshot]] = defaultdict(list)
        self._lock = threading.RLock()

    def latest(self, key: SnapshotKey, *, until: int | None = None) -> Snapshot | None:
        """Return the newest one, up to a version."""
        version = self._stream_version(key.stream_id)
        with self._lock:
            return newest(
                self._held.get(key, ()), version if until is None else min(until, version)
            )

    def put(self, key: SnapshotKey, snapshot: Snapshot) -> None:
        """Keep one."""
        with self._lock:
            self._held[key].append(snapshot)

    def delete(self, *, stream_id: str | None = None) -> int:
        """Forget all of them, or those of a stream, and return how many these were."""
        with self._lock:
            keys = [key for key in self._held if stream_id in (None, key.stream_id)]
            return sum(len(self._held.pop(key)) for key in keys)

    def __iter__(self) -> Iterator[tuple[SnapshotKey, Snapshot]]:
        with self._lock:
            held = sorted((key, one) for key, ones in self._held.items() for one in ones)
        return iter(held)


def newest(snapshots: Iterable[Snapshot], until: int) -> Snapshot | None:
    """Return the one of the highest version up to `until`."""
    return max((one for one in snapshots if one.version <= until), default=None)
