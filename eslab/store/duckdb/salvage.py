"""What can be saved of a store file that cannot be opened as it is: `eslab recover`."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from eslab.errors import StoreOpenError
from eslab.store.columns import LogColumns
from eslab.store.duckdb.database import Database
from eslab.store.duckdb.files import sniff
from eslab.store.duckdb.journal import SIDES, JournalError, read_segment, segments_of
from eslab.store.duckdb.lock import FileLock
from eslab.store.duckdb.recovery import behind
from eslab.store.rows import LogRow
from eslab.words import counted

__all__ = ["Salvage", "salvage"]


@dataclass(frozen=True, slots=True)
class Salvage:
    """What was found, and what was saved or would be.

    Attributes:
        path: the store file.
        in_database: the last position in it.
        rescued: how many events the journal has behind that.
        trouble: the parts of the journal that cannot be used, by name, and why.
        missing: whether a part of the journal is not there.
        epoch: the epoch that the store is in, or would be.
        done: whether it was done.
    """

    path: Path
    in_database: int
    rescued: int
    trouble: dict[str, str]
    missing: str | None
    epoch: int
    done: bool

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.trouble and self.missing is None

    def __str__(self) -> str:
        lines = [f"{self.path}: the file holds positions 1 to {self.in_database:,}"]
        if self.rescued:
            last = self.in_database + self.rescued
            lines.append(
                f"its journal goes on to position {last:,}: {counted(self.rescued, 'event')} more"
            )
        lines += [f"{name} cannot be used: {why}" for name, why in self.trouble.items()]
        if self.missing is not None:
            lines.append(f"{self.missing} is not there: what it held is lost")
        if self.whole:
            lines.append("nothing is wrong: it can be opened")
        elif self.done:
            lines.append(f"saved; the store is in epoch {self.epoch} now, and can be opened")
        else:
            lines.append(
                f"nothing was changed; with --yes the file is made to hold positions 1 to "
                f"{self.in_database + self.rescued:,}, in epoch {self.epoch}, and what cannot be "
                f"used is kept beside it"
            )
        return "\n".join(lines)


def salvage(path: Path, *, write: bool = False) -> Salvage:
    """Save what can be saved of a store file, or say what would be.

    All events in the file are kept, and those in the journal that follow on them without a gap.
    Parts of the journal that cannot be used are renamed to ``*.unusable``. The epoch rises,
    because positions that were acknowledged may be given again.

    Args:
        path: the store file.
        write: do it.

    Raises:
        StoreOpenError: the file itself cannot be read, or another process has it open.
    """
    if not path.exists():
        raise StoreOpenError(f"there is no file {path}")
    sniff(path)
    with ExitStack() as stack:
        stack.callback(FileLock(path).release)
        database = stack.enter_context(closing(Database(str(path), new_id=None)))
        heads, last, _ = database.heads()
        rows, trouble, missing = _usable(path, database, last)
        epoch = database.identity.epoch
        if trouble or missing:
            epoch += 1
            if write:
                if rows:
                    columns = LogColumns.of(rows)
                    numbers = heads.numbers(columns.streams.names)
                    database.write(columns, numbers, journal=database.journal)
                database.mark(None, epoch=epoch)
                _set_aside(path)
    return Salvage(path, last, len(rows), trouble, missing, epoch, write)


def _usable(
    path: Path, database: Database, last: int
) -> tuple[list[LogRow], dict[str, str], str | None]:
    files = segments_of(path)
    rows: list[LogRow] = []
    trouble: dict[str, str] = {}
    following = database.journal
    for number, file in files.items():
        try:
            contents = read_segment(file)
            if contents is None:
                continue
            rows += behind(file, contents, database, last, last + len(rows))
        except JournalError as error:
            trouble[file.name] = str(error)
            continue
        following = contents.successor if number == following else following
        if contents.damage is not None:
            trouble[file.name] = contents.damage
    if following is None or following in files:
        return rows, trouble, None
    return rows, trouble, f"{path.name}.journal-{following}"


def _set_aside(path: Path) -> None:
    for file in segments_of(path).values():
        for side in SIDES:
            part = file.with_name(file.name + side)
            if part.exists():
                part.rename(part.with_name(f"{part.name}.unusable"))
