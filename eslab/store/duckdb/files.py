"""The files of stores: what they are called, what they hold, and how new ones are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eslab.errors import StoreError, StoreOpenError

__all__ = ["new_file", "resolve", "sniff"]


def resolve(path: str | Path) -> Path:
    """Return the one name of a file that people may write in several ways.

    Raises:
        StoreOpenError: no file can have this name.
    """
    if not isinstance(path, (str, Path)) or not str(path):
        raise StoreOpenError(f"a store needs the path of a file, or ':memory:', not {path!r}")
    try:
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise StoreOpenError(f"{path!r} cannot be the path of a store: {error}") from error


def sniff(path: Path) -> None:
    """Look at a file before DuckDB does, for an error that says what is wrong.

    Raises:
        StoreOpenError: there is no such folder, or the file is no DuckDB database.
    """
    try:
        if not path.parent.is_dir():
            raise StoreOpenError(f"{path} cannot be made: there is no folder {path.parent}")
        if path.is_dir():
            raise StoreOpenError(f"{path} is a folder; a store is one file")
        if not path.exists():
            return
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise StoreOpenError(f"{path} cannot be read: {error.strerror}") from error
    if head[8:12] != b"DUCK":
        kind = "a SQLite database" if head.startswith(b"SQLite format 3") else "no DuckDB database"
        raise StoreOpenError(
            f"{path} is {kind}, so it is no eslab store; it was not touched: choose another file"
        )


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Give a file beside a new one, which takes its name when all is written.

    Whatever goes wrong, there is never half a file under that name, and nothing is left beside it.

    Raises:
        StoreError: it cannot be written.
    """
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    try:
        yield partial
        partial.replace(target)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        for side in ("", ".wal"):
            with suppress(OSError):
                partial.with_name(partial.name + side).unlink()
