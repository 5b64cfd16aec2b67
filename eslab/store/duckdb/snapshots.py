"""Snapshots in the database: written behind the log, never ahead of it, and never waited for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from eslab.errors import StoreError
from eslab.store.duckdb.cursors import lent
from eslab.store.duckdb.hot import Tail
from eslab.store.port import Snapshot, SnapshotKey
from eslab.store.snapshots import newest

if TYPE_CHECKING:
    from eslab.store.duckdb.database import Database

__all__ = ["SNAPSHOT_SCHEMA", "DuckDBSnapshots"]

SNAPSHOT_SCHEMA: Final = """
create table eslab.snapshots(
    stream varchar not null, schema varchar not null, epoch integer not null,
    version integer not null, state varchar not null);
"""

_log = logging.getLogger("eslab.store")


class DuckDBSnapshots:
    """The snapshots of a store; see `eslab.store.port.Snapshots`.

    Those that were put last wait in memory until the events that they are of are in the database.
    One of an earlier epoch, in which other events may have had the same versions, is not there.

    Args:
        database: where they are written.
        stream_version: says the version of a stream.
        read_only: keep none.
    """

    def __init__(
        self, database: Database, stream_version: Callable[[str], int], *, read_only: bool
    ) -> None:
        self._database = database
        self._stream_version = stream_version
        self._read_only = read_only
        self._waiting: list[tuple[SnapshotKey, Snapshot]] = []
        self._streams: set[str] | None = None  # that have some in the database
        self._lock = threading.RLock()

    def latest(self, key: SnapshotKey, *, until: int | None = None) -> Snapshot | None:
        """Return the newest one, up to a version."""
        version = self._stream_version(key.stream_id)
        until = version if until is None else min(until, version)
        with self._lock:
            found = newest((one for held, one in self._waiting if held == key), until)
        if found is None and key.stream_id in self._written_streams():
            rows = self._database.fetch(
                "select version, state from eslab.snapshots where stream = ? and schema = ? "
                "and epoch = ? and version <= ? order by version desc limit 1",
                [*key, self._database.identity.epoch, until],
            )
            found = next((Snapshot(*row) for row in rows), None)
        return found

    def put(self, key: SnapshotKey, snapshot: Snapshot) -> None:
        """Keep one; it is written with a flush."""
        if not self._read_only:
            with self._lock:
                self._waiting.append((key, snapshot))

    def delete(self, *, stream_id: str | None = None) -> int:
        """Forget all of them, or those of a stream, and return how many these were."""
        with self._lock:
            left = [
                (key, one) for key, one in self._waiting if stream_id not in (None, key.stream_id)
            ]
            count = len(self._waiting) - len(left)
            self._waiting = left
            where, values = ("", []) if stream_id is None else ("where stream = ?", [stream_id])
            rows = self._database.fetch(
                f"delete from eslab.snapshots {where} returning epoch", values
            )
            self._streams = None
        return count + sum(1 for (epoch,) in rows if epoch == self._database.identity.epoch)

    def __iter__(self) -> Iterator[tuple[SnapshotKey, Snapshot]]:
        with self._lock:
            waiting = list(self._waiting)
        rows = self._database.fetch(
            "select stream, schema, version, state from eslab.snapshots where epoch = ? "
            "order by all",
            [self._database.identity.epoch],
        )
        for stream_id, schema, version, state in rows:
            yield SnapshotKey(stream_id, schema), Snapshot(version, state)
        yield from waiting

    def write(self, tail: Tail) -> None:
        """Write those whose events are in the database; what fails stays, for the next time.

        Args:
            tail: the events that are not.
        """
        if not self._waiting:
            return
        with self._lock:
            due = [
                (key, one)
                for key, one in self._waiting
                if not tail.of_stream(key.stream_id, 1, one.version)
            ]
            if not due:
                return
            try:
                self._insert(due)
            except StoreError as error:
                _log.warning("snapshots are not written now: %s", error)
                return
            if self._streams is not None:
                self._streams |= {key.stream_id for key, _ in due}
            self._waiting = [pair for pair in self._waiting if pair not in due]

    def _insert(self, due: list[tuple[SnapshotKey, Snapshot]]) -> None:
        epoch = self._database.identity.epoch
        rows = pa.Table.from_pylist(
            [
                {
                    "stream": key.stream_id,
                    "schema": key.schema,
                    "epoch": epoch,
                    "version": one.version,
                    "state": one.state,
                }
                for key, one in due
            ]
        )
        failure = "snapshots cannot be written"
        with self._database.writing(failure) as cursor, lent(cursor, "due", rows):
            # It may have been interrupted behind the last commit, and begin again.
            cursor.execute(
                "insert into eslab.snapshots from due anti join eslab.snapshots "
                "using (stream, schema, epoch, version)"
            )

    def _written_streams(self) -> set[str]:
        with self._lock:
            if self._streams is None:
                rows = self._database.fetch(
                    "select distinct stream from eslab.snapshots where epoch = ?",
                    [self._database.identity.epoch],
                )
                self._streams = {stream_id for (stream_id,) in rows}
            return self._streams
