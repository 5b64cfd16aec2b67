"""What the journal has that the database lacks, and whether the two belong together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eslab.errors import StoreOpenError
from eslab.store.duckdb.database import Database
from eslab.store.duckdb.journal import (
    Contents,
    JournalError,
    read_segment,
    remove,
    segments_of,
    unfinished_segment,
)
from eslab.store.rows import LogRow, Selection

__all__ = ["Recovered", "behind", "recover", "remove_all"]


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
    rows: list[LogRow] = []
    relaxed = False
    successor = needed
    for number, file in files.items():
        contents = read_segment(file)
        if contents is None and number != successor:
            continue
        if contents is None:
            raise JournalError(f"{file.name} is empty: it does not say what it is")
        rows += behind(file, contents, database, last, last + len(rows))
        if contents.damage is not None:
            raise JournalError(f"{file.name}: {contents.damage}")
        relaxed = relaxed or contents.relaxed
        successor = contents.successor
    if successor is not None and successor not in files:
        raise JournalError(
            f"it needs its journal {path.name}.journal-{successor}, which is not there"
        )
    if needed is None and rows:
        raise JournalError(
            f"the file was closed at position {last}, but its journal goes on to "
            f"{rows[-1].position}: this is an older copy of the file"
        )
    return Recovered(rows, relaxed and needed is not None)


def behind(file: Path, contents: Contents, database: Database, last: int, end: int) -> list[LogRow]:
    """Return the rows of a segment that continue what there is.

    Args:
        file: the segment.
        contents: what it holds.
        database: what is in the store file.
        last: its last position.
        end: the last position of that and of the segments before.

    Raises:
        JournalError: the segment does not belong to them.
    """
    if contents.identity != database.identity:
        raise JournalError(f"{file.name} is the journal of another store, or of another epoch")
    if contents.base > end:
        raise JournalError(
            f"{file.name} begins behind position {contents.base}, but what there is before ends "
            f"at {end}: this is an older copy of the file, or a part of the journal is missing"
        )
    known = [row for row in contents.rows if row.position <= last]
    low = known[0].position - 1 if known else last
    for there, row in zip(database.rows(Selection(low, last)), known, strict=False):
        if there != row:
            raise JournalError(
                f"the event at position {row.position} is another one in {file.name} than in the "
                f"store file: they do not belong together"
            )
    return [row for row in contents.rows if row.position > end]


def remove_all(path: Path) -> None:
    """Remove the journal of a store file, all of which is in the database."""
    for file in (*segments_of(path).values(), unfinished_segment(path)):
        remove(file)
