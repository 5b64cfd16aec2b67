"""Snapshots in the database: written behind the log, never ahead of it, and never waited for.

``eslab.snapshots`` has of each stream, by its number, and of each schema of states the newest few.
They are of the epoch in which they were written: in another one the same versions may be of other
events, so that they are not found, and are removed when the store is opened.
"""

from __future__ import annotations

import logging
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from eslab.errors import StoreError
from eslab.store.duckdb.cursors import lent
from eslab.store.duckdb.hot import Heads, Hot
from eslab.store.port import Snapshot, SnapshotKey
from eslab.store.snapshots import KEPT, MemorySnapshots

if TYPE_CHECKING:
    from eslab.store.duckdb.database import Database

__all__ = ["SNAPSHOT_SCHEMA", "DuckDBSnapshots"]

SNAPSHOT_SCHEMA: Final = """
create table eslab.snapshots(
    stream_id integer not null, schema varchar not null, epoch integer not null,
    version integer not null, state json not null);
"""

STREAMS: Final = 5_000
"""Of how many streams those that were written are looked through at once."""

_STALE: Final = """
delete from eslab.snapshots
where epoch <> ? or stream_id > ? or stream_id in (select unnest(?::integer[]))
"""

_LATEST: Final = """
select version, state::varchar from eslab.snapshots
where stream_id = ? and schema = ? and epoch = ? and version > ? and version <= ?
order by version desc limit 1
"""

_ALL: Final = """
select s.name, p.schema, p.version, p.state::varchar
from eslab.snapshots p join eslab.streams s using (stream_id)
where p.epoch = ? and p.stream_id between ? and ? order by all
"""

_DELETE: Final = """
delete from eslab.snapshots where epoch = ? and (? or stream_id = ?)
returning stream_id, schema, version
"""

# Those that are there already go first: it may have been interrupted behind the last commit.
_WRITE: Final = f"""
delete from eslab.snapshots s using due d
where (s.stream_id, s.schema, s.epoch, s.version) = (d.stream_id, d.schema, d.epoch, d.version);
insert into eslab.snapshots from due;
delete from eslab.snapshots where rowid in (
    select rowid from (
        select s.rowid, row_number() over (
            partition by s.stream_id, s.schema, s.epoch order by s.version desc) as place
        from eslab.snapshots s semi join due using (stream_id))
    where place > {KEPT});
"""

_log = logging.getLogger(__name__)


class DuckDBSnapshots(MemorySnapshots):
    """The snapshots of a store in the database, and those that wait for their events to be there.

    Which streams have some is known in memory, in 4 bytes a stream: a look-up that finds none
    costs no query.

    Args:
        database: where they are written.
        heads: of the streams; those of now are of what is in the database.
        stream_version: says the version of a stream, of a store that is open.
        read_only: keep none.
    """

    def __init__(
        self,
        database: Database,
        heads: Heads,
        stream_version: Callable[[str], int],
        *,
        read_only: bool,
    ) -> None:
        super().__init__(stream_version)
        self._database = database
        self._heads = heads
        self._read_only = read_only
        self._writing = threading.RLock()
        self._written = array("i")  # the newest version in the database, by number of the stream
        try:
            self._load()
        except StoreError as error:
            _log.warning("snapshots are not used: %s", error)

    def _load(self) -> None:
        """Learn which streams have some, and remove what cannot be right here.

        What is of more events than there are must not wait until there are as many.
        """
        if self._database.untouched:
            return
        epoch = self._database.identity.epoch
        versions = self._heads.versions()
        newest = np.zeros_like(versions)
        with self._database.writing("snapshots cannot be read") as cursor:
            found = cursor.sql(
                "select stream_id, max(version)::integer as version from eslab.snapshots "
                "where epoch = $epoch and stream_id between 0 and $last group by stream_id",
                params={"epoch": epoch, "last": len(versions) - 1},
            ).fetchnumpy()
            newest[found["stream_id"]] = found["version"]
            beyond = np.flatnonzero(newest > versions)
            cursor.execute(_STALE, [epoch, len(versions) - 1, beyond.tolist()])
        newest[beyond] = 0
        self._written = array("i", newest.tobytes())

    def _newest(self, key: SnapshotKey, until: int) -> Snapshot | None:
        found = super()._newest(key, until)
        number, written = self._heads.number(key.stream_id), self._written
        below = found.version if found else 0
        if number >= len(written) or written[number] <= below:
            return found
        epoch = self._database.identity.epoch
        rows = self._database.fetch(_LATEST, [number, key.schema, epoch, below, until])
        return next(map(Snapshot._make, rows), found)

    def put(self, key: SnapshotKey, snapshot: Snapshot) -> None:
        """Keep one, if it can be right; it is written with a flush."""
        if not self._read_only:
            super().put(key, snapshot)

    def delete(self, *, stream_id: str | None = None) -> int:
        """Forget all of them, or those of a stream, and return how many these were."""
        every, number = stream_id is None, self._heads.number(stream_id or "")
        with self._writing:
            waiting = self._all(stream_id)
            with self._database.writing("snapshots cannot be deleted") as cursor:
                values = [self._database.identity.epoch, every, number]
                rows = cursor.execute(_DELETE, values).fetchall()
            self._forget(waiting)
            if every:
                self._written = array("i")
            elif number < len(self._written):
                self._written[number] = 0
        known = {
            (self._heads.number(key.stream_id), key.schema, one.version) for key, one in waiting
        }
        return len(known.union(rows))

    def __iter__(self) -> Iterator[tuple[SnapshotKey, Snapshot]]:
        waiting = self._all()
        newer = {(key, one.version) for key, one in waiting}
        for first in range(0, len(self._written), STREAMS):
            values = [self._database.identity.epoch, first, first + STREAMS - 1]
            for stream_id, schema, *one in self._database.fetch(_ALL, values):
                key, snapshot = SnapshotKey(stream_id, schema), Snapshot(*one)
                if (key, snapshot.version) not in newer:
                    yield key, snapshot
        yield from waiting

    def write(self, hot: Hot) -> None:
        """Write those whose events are in the database; if it fails they wait for the next time.

        Args:
            hot: says which events are.
        """
        if not self._held:
            return
        with self._writing:
            due = [
                (key, one)
                for key, one in self._all()
                if all(
                    row.position <= hot.flushed
                    for row in hot.tail.of_stream(key.stream_id, one.version, one.version)
                )
            ]
            if not due:
                return
            try:
                self._write(due)
            except (StoreError, pa.ArrowException) as error:
                _log.warning("snapshots are not written now: %s", error)
            else:
                self._forget(due)

    def leave_to_parent(self) -> None:
        """Leave the locks, which another thread may hold, to the parent of a forked process."""
        self._lock, self._writing = threading.RLock(), threading.RLock()

    def _write(self, due: Sequence[tuple[SnapshotKey, Snapshot]]) -> None:
        numbers = [self._heads.number(key.stream_id) for key, _ in due]
        versions = [one.version for _, one in due]
        states = pa.array([one.state for _, one in due], pa.string())
        epoch = self._database.identity.epoch
        rows = pa.table(
            {
                "stream_id": pa.array(numbers, pa.int32()),
                "schema": pa.array([key.schema for key, _ in due], pa.string()),
                "epoch": pa.array([epoch] * len(due), pa.int32()),
                "version": pa.array(versions, pa.int32()),
                "state": pa.ExtensionArray.from_storage(pa.json_(), states),
            }
        )
        failure = "snapshots cannot be written"
        with self._database.writing(failure) as cursor, lent(cursor, "due", rows):
            cursor.execute(_WRITE)
        missing = max(numbers) + 1 - len(self._written)
        self._written.extend([0] * missing)
        for number, version in zip(numbers, versions, strict=True):
            self._written[number] = max(self._written[number], version)
