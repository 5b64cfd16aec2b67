"""One process owns a store file: a lock beside it that says who.

`flock` belongs to an open file, where the locks that DuckDB and SQLite take belong to a process
and an inode: any ``open(path).close()`` in the process drops those, and then a second process
could commit and destroy both. The lock file is kept when the store is closed: if it came and went,
two processes could each lock a file of their own.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from eslab.errors import StoreOpenError

try:
    import fcntl
except ImportError:  # Windows, which is not supported
    fcntl = None  # type: ignore[assignment]

__all__ = ["FileLock"]


class FileLock:
    """The right to open a store file, as long as it is held.

    Args:
        path: the store file; the lock is ``<path>.lock``.

    Raises:
        StoreOpenError: another process holds it, or it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".lock")
        if fcntl is None:
            raise StoreOpenError("store files need flock, which this system has not")
        self._is_new = not self.path.exists()
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreOpenError(
                f"{path} cannot be opened: its lock {self.path.name} cannot be written "
                f"({error.strerror})"
            ) from error
        try:
            self._take(path)
        except BaseException:
            os.close(self._file)
            raise

    def _take(self, path: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 20, 0).decode("ascii", "replace").strip()
            raise StoreOpenError(held(path, holder)) from None
        except OSError as error:
            raise StoreOpenError(
                f"{path} cannot be locked ({error.strerror}): keep it on a local disk"
            ) from error
        try:
            kept = os.path.samestat(self.path.stat(), os.fstat(self._file))
        except OSError:
            kept = False
        if not kept:  # unlinked by `discard` in another process meanwhile
            raise StoreOpenError(held(path, ""))
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others have it."""
        if self._file < 0:
            return
        # A process that was forked off has the same open file, so closing it is not enough.
        with suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_UN)
        file, self._file = self._file, -1
        os.close(file)

    def discard(self) -> None:
        """Let go of a file that is no store after all, and leave nothing beside it."""
        if self._is_new:
            self.path.unlink(missing_ok=True)
        self.release()

    def leave_to_parent(self) -> None:
        """Forget the lock in a process that was forked; the parent keeps it."""
        if self._file >= 0:
            os.close(self._file)


def held(path: Path, holder: str) -> str:
    """Return what to say of a file that another process has open."""
    who = f"process {holder}" if holder.isdigit() else "another process"
    return (
        f"{path} is open in {who}: close it there (lab.close(), or end that kernel); or make a "
        f"copy there with lab.store.copy_to('copy.duckdb'), and look at it here with "
        f"Lab.open_copy('copy.duckdb')"
    )
