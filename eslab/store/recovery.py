"""What the journal has that the database lacks, and whether the two belong together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eslab.errors import StoreOpenError
from eslab.store.database import Database
from eslab.store.journal import JournalError, read_segment, remove, segments_of
from eslab.store.rows import LogRow, Selection

__all__ = ["Recovered", "recover", "remove_all"]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a journal held.

    Attributes:
        rows: those behind the last position of the database.
        relaxed: whether some of what was acknowledged may be lost.
    """

    rows: list[LogRow]
    relaxed: bool = False


def recover(path: Path, database: Database, last: int) -> Recovered:
    """Read the journal of a store file, and check that it belongs to the database.

    Args:
        path: the store file.
        database: what is in it.
        last: its last position.

    Raises:
        StoreOpenError: they do not belong together, something is missing, or is damaged. Nothing
            was changed.
    """
    try:
        return _recover(path, database, last)
    except JournalError as error:
        raise StoreOpenError(
            f"{path} was not closed, and cannot be opened as it is: {error}. Nothing was changed. "
            f"If there is a backup of the journal, put it back; else see what can be saved with: "
            f"eslab recover {path}"
        ) from error


def _recover(path: Path, database: Database, last: int) -> Recovered:
    files = segments_of(path)
    needed = database.journal
    if needed is not None and needed not in files:
        raise JournalError(
            f"it needs its journal {path.name}.journal-{needed}, which is not there, and events "
            f"behind position {last} may be in it"
        )
    known: list[LogRow] = []
    new: list[LogRow] = []
    relaxed = False
    contents = None
    for number, file in files.items():
        contents = read_segment(file)
        if (contents.identity, contents.number) != (database.identity, number):
            raise JournalError(f"{file.name} is the journal of another store, or of another epoch")
        if contents.base > last + len(new):
            raise JournalError(
                f"{file.name} begins behind position {contents.base}, but what there is before "
                f"ends at {last + len(new)}: this is an older copy of the file, or a part of the "
                f"journal is missing"
            )
        if contents.rows and contents.rows[0].position != contents.base + 1:
            raise JournalError(f"{file.name} is damaged: its first entry is missing")
        relaxed = relaxed or contents.relaxed
        known += [row for row in contents.rows if row.position <= last]
        new += [row for row in contents.rows if row.position > last + len(new)]
    if contents is not None and contents.successor is not None:
        raise JournalError(
            f"it needs its journal {path.name}.journal-{contents.successor}, which is not there"
        )
    if needed is None and new:
        raise JournalError(
            f"the file was closed at position {last}, but its journal goes on to "
            f"{new[-1].position}: this is an older copy of the file"
        )
    _require_same(database, known)
    return Recovered(new, relaxed and needed is not None)


def _require_same(database: Database, known: list[LogRow]) -> None:
    """Check that the journal tells of the same events as the database, where both do."""
    if not known:
        return
    low, high = known[0].position - 1, known[-1].position
    there = {row.position: row for row in database.rows(Selection(low, high))}
    for row in known:
        if there.get(row.position) != row:
            raise JournalError(
                f"the event at position {row.position} is another one in the journal than in the "
                f"file: they do not belong together"
            )


def remove_all(path: Path) -> None:
    """Remove the journal of a store file, all of which is in the database."""
    for file in segments_of(path).values():
        remove(file)
