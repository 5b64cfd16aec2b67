"""Copies of a store: to look at, or to begin again from."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from eslab.clock import Clock, IdSource
from eslab.errors import StoreError, StoreOpenError
from eslab.store.duckdb.database import Database
from eslab.store.duckdb.files import resolve, sniff
from eslab.store.duckdb.journal import SIDES, segments_of
from eslab.store.duckdb.lock import FileLock
from eslab.store.duckdb.store import DuckDBStore, require_closed

__all__ = ["open_copy", "restore_store"]


def open_copy(path: str | Path, *, clock: Clock, ids: IdSource) -> DuckDBStore:
    """Open a private copy of a store file, which takes no appends and is removed on close.

    Args:
        path: a file that `DuckDBStore.copy_to` wrote, or a store that nobody has open.
        clock: what the copy takes for the time.
        ids: not used, as nothing is appended.

    Raises:
        StoreOpenError: it is no store, or another process has it open.
    """
    folder = tempfile.TemporaryDirectory(prefix="eslab-copy-", ignore_cleanup_errors=True)
    try:
        target = Path(folder.name) / resolve(path).name
        _copy_files(resolve(path), target)
        store = _PrivateCopy(str(target), clock=clock, ids=ids, read_only=True)
    except BaseException:
        folder.cleanup()
        raise
    store.folder = folder
    return store


class _PrivateCopy(DuckDBStore):
    folder: Any = None

    def _close(self) -> None:
        super()._close()
        if self.folder is not None:
            self.folder.cleanup()


def restore_store(copy: str | Path, to: str | Path) -> Path:
    """Make a store of a copy; see `eslab.restore_store`."""
    source, target = resolve(copy), resolve(to)
    if target.exists() or segments_of(target):
        raise StoreError(f"{target} exists already: choose another file, or remove it first")
    partial = target.with_name(f"{target.name}.partial")
    try:
        _copy_files(source, partial)
        if segments_of(partial):
            raise StoreOpenError(f"{source} was not closed: open it and close it first")
        with closing(Database(str(partial), new_id=None)) as database:
            database.become(database.identity.epoch + 1)
        partial.replace(target)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        for file in (partial, *segments_of(partial).values()):
            for side in ("", ".wal", *SIDES):
                file.with_name(file.name + side).unlink(missing_ok=True)
    return target


def _copy_files(source: Path, target: Path) -> None:
    """Copy a store file that nobody has open, with what belongs to it."""
    if not source.exists():
        raise StoreOpenError(f"there is no file {source}")
    require_closed(source)
    sniff(source)
    lock = FileLock(source)
    try:
        files = [source, source.with_name(f"{source.name}.wal")]
        files += [
            file.with_name(file.name + side)
            for file in segments_of(source).values()
            for side in SIDES
        ]
        for file in files:
            if file.exists():
                shutil.copyfile(file, target.with_name(target.name + file.name[len(source.name) :]))
    except OSError as error:
        raise StoreOpenError(f"{source} cannot be copied: {error.strerror}") from error
    finally:
        lock.discard()
