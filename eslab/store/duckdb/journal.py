"""The journal: where an append to a file is durable first, until DuckDB has it.

It is a chain of segments beside the store file, ``<file>.journal-<number>``. Each is a SQLite
database (write-ahead log, a sync for each commit); the rows of a whole group of appends are one
row of it, which is the cheapest. When DuckDB has enough of a segment, a new one is begun, the old
one is sealed, which makes it name its successor, and is unlinked when DuckDB has all of it.

A segment belongs to one store: it carries its id and epoch, its own number, and the position that
it begins behind. Bodies carry a checksum, and their positions follow on each other.

What cannot be seen: whether SQLite's own write-ahead file lost its end. It looks like commits that
never happened.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sqlite3
import threading
import uuid
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from pydantic_core import to_json

from eslab.errors import StoreError
from eslab.store.rows import LogRow

__all__ = [
    "SIDES",
    "Contents",
    "Durability",
    "Identity",
    "Journal",
    "JournalError",
    "read_segment",
    "remove",
    "segments_of",
    "unfinished_segment",
]

Durability = Literal["full", "relaxed"]

FORMAT: Final = 1
ROTATE_EVENTS: Final = 10_000
ROTATE_SIZE: Final = 16 << 20
LOG_PAGES: Final = 1_000
SIDES: Final = ("", "-wal", "-shm", "-journal")

_SCHEMA: Final = """
create table segment(
    store_id text not null, epoch integer not null, number integer not null,
    base integer not null, relaxed integer not null, format integer not null);
create table entries(
    first integer primary key, last integer not null, checksum integer not null,
    body blob not null);
create table seal(successor integer not null);
"""


class JournalError(StoreError):
    """A segment cannot be written, or what it holds cannot be right."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which store a journal and a database belong to."""

    store_id: uuid.UUID
    epoch: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What a segment holds.

    Attributes:
        identity: the store it belongs to.
        number: its place in the chain.
        base: the position that it begins behind.
        relaxed: whether it was written without syncs.
        rows: the rows, in order, up to the first that is damaged.
        damage: what is wrong with the one behind them.
        successor: the number of the segment that follows; None for the last one.
    """

    identity: Identity
    number: int
    base: int
    relaxed: bool
    rows: list[LogRow]
    damage: str | None
    successor: int | None


def segments_of(path: Path) -> dict[int, Path]:
    """Return the segments beside a store file, by their numbers, in order.

    Raises:
        JournalError: the folder cannot be read.
    """
    pattern = re.compile(re.escape(path.name) + r"\.journal-(\d+)")
    try:
        files = list(path.parent.iterdir())
    except OSError as error:
        raise JournalError(f"{path.parent} cannot be read: {error.strerror}") from error
    matches = [(pattern.fullmatch(file.name), file) for file in files]
    return dict(sorted((int(match[1]), file) for match, file in matches if match))


def unfinished_segment(path: Path) -> Path:
    """Return the name of a segment that is being made."""
    return path.with_name(f"{path.name}.journal-new")


def remove(segment: Path) -> None:
    """Unlink a segment and what SQLite keeps beside it."""
    for side in SIDES:
        with suppress(FileNotFoundError):
            segment.with_name(segment.name + side).unlink()


class Journal:
    """The segments of one open store, the last of which is written.

    Args:
        path: the store file.
        identity: the store.
        durability: see `eslab.open_store`.
        number: of the segment to begin.
        base: the last position that the database has.

    Raises:
        JournalError: the segment cannot be made.
    """

    def __init__(
        self, path: Path, identity: Identity, *, durability: Durability, number: int, base: int
    ) -> None:
        self._path = path
        self._identity = identity
        self._durability = durability
        self._next: _Segment | None = None
        # Whoever flushes prepares a segment, and at the same time a commit may need one.
        self._turning = threading.RLock()
        self._segment = self._make(number)
        try:
            self._segment.begin(identity, base)
        except BaseException:
            self._segment.close()
            raise

    @property
    def number(self) -> int:
        """The number of the segment that is written."""
        return self._segment.number

    @property
    def base(self) -> int:
        """The position that this segment begins behind."""
        return self._segment.base

    @property
    def worn(self) -> bool:
        """Whether it is time for a new segment."""
        segment = self._segment
        return segment.next - segment.base > ROTATE_EVENTS or segment.size > ROTATE_SIZE

    def write(self, rows: Sequence[LogRow]) -> None:
        """Make rows durable, all or none.

        Raises:
            JournalError: they could not be written; whether they were is not known.
        """
        if rows[0].position != self._segment.next:
            self.rotate(rows[0].position - 1)  # events went to the database directly
        self._segment.write(rows)

    def rotate(self, base: int) -> None:
        """Begin a new segment behind position `base`, and seal the one before.

        Raises:
            JournalError: it could not be made, or what became of it is not known.
        """
        with self._turning:
            self.prepare()
            assert self._next is not None
            old, new, self._next = self._segment, self._next, None
            try:
                new.begin(self._identity, base)
                old.seal(new.number)
                old.close()
            except BaseException:
                new.close()  # or nobody could read it again
                raise
            self._segment = new

    def prepare(self) -> None:
        """Make the file of the next segment, which takes some time, before it is needed.

        Raises:
            JournalError: it could not be made.
        """
        with self._turning:
            if self._next is None:
                self._next = self._make(self._segment.number + 1)

    def drop_before(self, number: int) -> None:
        """Unlink the segments before this number: the database has what they hold."""
        for older, segment in segments_of(self._path).items():
            if older < number:
                remove(segment)

    def rows(self) -> list[LogRow]:
        """Read back what the segment holds.

        Raises:
            JournalError: it cannot be read, or is damaged.
        """
        return self._segment.rows()

    def leave_to_parent(self) -> None:
        """Make it unusable in a process that was forked, and touch nothing of it."""
        # Never freed: SQLite must not be used, not even to close it, on the other side of a fork.
        for segment in (self._segment, self._next):
            if segment is not None:
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(segment.connection))

    def close(self) -> None:
        """Close the segment and leave it where it is."""
        self._segment.close()
        if self._next is not None:
            self._next.close()
            remove(self._next.file)

    def _make(self, number: int) -> _Segment:
        file = self._path.with_name(f"{self._path.name}.journal-{number}")
        unfinished = unfinished_segment(self._path)
        for left in (file, unfinished):
            remove(left)
        try:
            with _sqlite_errors(f"the journal {file.name} cannot be made"):
                _make_database(unfinished)
                unfinished.rename(file)  # so a killed process leaves no half of one
                _sync(file.parent)  # the new name: the file's own sync does not
                return _Segment(file, number, self._durability)
        except BaseException:
            for left in (file, unfinished):
                remove(left)
            raise


class _Segment:
    base = 0
    next = 1
    size = 0

    def __init__(self, file: Path, number: int, durability: Durability) -> None:
        self.number = number
        self.file = file
        self.durability = durability
        self.connection = _opened_database(file, durability)

    def begin(self, identity: Identity, base: int) -> None:
        with _sqlite_errors(f"the journal {self.file.name} cannot be written"):
            self.connection.execute(
                "insert into segment values (?, ?, ?, ?, ?, ?)",
                (
                    str(identity.store_id),
                    identity.epoch,
                    self.number,
                    base,
                    self.durability != "full",
                    FORMAT,
                ),
            )
        self.base, self.next = base, base + 1

    def write(self, rows: Sequence[LogRow]) -> None:
        body = _pack(rows)
        last = rows[-1].position
        try:
            self.connection.execute(
                "insert into entries values (?, ?, ?, ?)",
                (rows[0].position, last, zlib.crc32(body), body),
            )
        except sqlite3.Error as error:
            raise JournalError(
                f"the journal {self.file.name} cannot be written: {error}"
            ) from error
        self.next = last + 1
        self.size += len(body)

    def rows(self) -> list[LogRow]:
        with _sqlite_errors(f"the journal {self.file.name} cannot be read"):
            entries = self.connection.execute("select * from entries order by first").fetchall()
        rows, damage = _whole_rows(entries, self.base)
        if damage is not None:
            raise JournalError(f"the journal {self.file.name}: {damage}")
        return rows

    def seal(self, successor: int) -> None:
        with _sqlite_errors(f"the journal {self.file.name} cannot be sealed"):
            self.connection.execute("insert into seal values (?)", (successor,))

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self.connection.close()


def _make_database(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("pragma synchronous = off")
        connection.execute("pragma journal_mode = wal")
        connection.executescript(f"begin; {_SCHEMA} commit")
    _sync(file)


def _opened_database(file: Path, durability: Durability) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    try:
        execute = connection.execute
        # Nobody else opens it, so SQLite needs no shared memory.
        execute("pragma locking_mode = exclusive")
        execute(f"pragma wal_autocheckpoint = {LOG_PAGES * 9 // 10}")
        execute(f"pragma synchronous = {'full' if durability == 'full' else 'off'}")
        execute("pragma fullfsync = 1")  # on macOS; elsewhere it changes nothing
        # A sync of a file that grows takes twice as long: so the write-ahead log gets its size
        # here, and begins again at its start each time it is full.
        execute("create table room(filler blob)")
        execute("insert into room values (zeroblob(?))", (LOG_PAGES * 4096,))
        execute("drop table room")
        execute("pragma wal_checkpoint(restart)").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def read_segment(file: Path) -> Contents | None:
    """Read a segment, and check all that can be checked in it alone.

    Returns None for one that was made, and never begun.

    Raises:
        JournalError: it is no segment, or does not say which.
    """
    with _sqlite_errors(f"the journal {file.name} cannot be read"):
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True)
        try:
            connection.execute("pragma locking_mode = exclusive")
            facts = connection.execute("select * from segment").fetchall()
            entries = connection.execute("select * from entries order by first").fetchall()
            seal = connection.execute("select successor from seal").fetchall()
        finally:
            connection.close()
    if not (facts or entries or seal):
        return None
    if len(facts) != 1 or len(seal) > 1:
        raise JournalError(f"the journal {file.name} is damaged: it does not say what it is")
    store_id, epoch, number, base, relaxed, format = facts[0]
    if format > FORMAT:
        raise JournalError(f"the journal {file.name} was written by a newer eslab: upgrade it")
    try:
        identity = Identity(uuid.UUID(store_id), int(epoch))
    except (TypeError, ValueError, AttributeError):
        raise JournalError(f"the journal {file.name} is damaged: its store is not said") from None
    rows, damage = _whole_rows(entries, base)
    successor = seal[0][0] if seal else None
    return Contents(identity, number, base, bool(relaxed), rows, damage, successor)


def _whole_rows(entries: Sequence[tuple[Any, ...]], base: int) -> tuple[list[LogRow], str | None]:
    """Return the rows up to the first entry that is damaged, and what is wrong with that."""
    found: list[LogRow] = []
    for first, last, checksum, body in entries:
        where = f"the entry of positions {first} to {last} is damaged"
        following = base + len(found) + 1
        if first != following:
            return found, f"{where}: position {following} should come next"
        if not isinstance(body, bytes) or zlib.crc32(body) != checksum:
            return found, f"{where}: its checksum is wrong"
        rows = _unpack(body)
        if [row.position for row in rows] != list(range(first, last + 1)):
            return found, f"{where}: it holds other positions"
        found += rows
    return found, None


# Bodies: JSON, which every version of Python reads alike.


def _pack(rows: Sequence[LogRow]) -> bytes:
    return to_json(rows)


def _unpack(body: bytes) -> list[LogRow]:
    rows = []
    for values in json.loads(body):
        row = LogRow(*values)
        rows.append(
            row._replace(
                event_id=uuid.UUID(values[5]),
                tags=tuple(row.tags),
                occurred_at=datetime.fromisoformat(values[9]),
                recorded_at=datetime.fromisoformat(values[10]),
            )
        )
    return rows


@contextmanager
def _sqlite_errors(what: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise JournalError(f"{what}: {error}") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
