"""DuckDB as it is: how a connection is made and ended, and what its errors become."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import duckdb

from eslab.errors import StoreError, StoreOpenError
from eslab.schema.naming import quoted

__all__ = ["FILE_CATALOG", "MEMORY", "connect", "driver_errors", "end", "first_line", "interrupts"]

MEMORY: Final = ":memory:"
FILE_CATALOG: Final = "store"
"""What DuckDB calls the database of a file, whatever the file is called."""


def connect(path: str) -> duckdb.DuckDBPyConnection:
    """Connect to a file, or to memory.

    Raises:
        StoreOpenError: another program has the file open, or it cannot be read or written.
    """
    config: dict[str, Any] = {
        # A name in a query is a table; not a variable of whoever asks.
        "python_enable_replacements": False,
        "wal_autocheckpoint": "256MB",
        # DuckDB tries each row with each event where it takes the rows of an asof join for few; and
        # where they come from a query it cannot know how many: a second becomes hours.
        "asof_loop_join_threshold": 0,
    }
    if path == MEMORY:
        return duckdb.connect(MEMORY, config=config)
    # Already what is recovered from a write-ahead log may not fit into memory.
    connection = duckdb.connect(MEMORY, config=config | {"temp_directory": f"{path}.tmp"})
    place = path.replace("'", "''")
    try:
        # Under a name of ours: by that of its file, eslab.duckdb could not be told from the schema.
        connection.execute(f"attach '{place}' as {quoted(FILE_CATALOG)}")
        connection.execute(f"use {quoted(FILE_CATALOG)}")
    except duckdb.Error as error:
        connection.close()
        if "Could not set lock" in str(error):
            holder = re.search(r"PID (\d+)", str(error))
            who = f"process {holder[1]}" if holder else "another process"
            raise StoreOpenError(
                f"{path} is open in {who}, which is not eslab: close it there first"
            ) from error
        if isinstance(error, duckdb.ResourceInUseException):
            raise StoreOpenError(
                f"{path} is open in this process, by DuckDB without eslab: close that connection "
                f"first"
            ) from error
        raise StoreOpenError(
            f"{path} cannot be opened ({first_line(error)}): is it, and its folder, writable?"
        ) from error
    return connection


def end(cursor: duckdb.DuckDBPyConnection) -> None:
    """Close a cursor, which refuses while another thread runs a statement on it."""
    for _ in range(10_000):
        with suppress(duckdb.ConnectionException):  # it was closed by whoever had it
            cursor.interrupt()
        try:
            cursor.close()
        except duckdb.ResourceInUseException:
            time.sleep(0.001)
        else:
            return


@contextmanager
def driver_errors(what: str, *more: type[Exception]) -> Iterator[None]:
    """Turn errors of DuckDB, and `more` kinds, into those of a store."""
    kinds: tuple[type[Exception], ...] = (duckdb.Error, *more)
    try:
        with interrupts():
            yield
    except kinds as error:
        raise StoreError(f"{what}: {first_line(error)}") from error


@contextmanager
def interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt where DuckDB, which saw Ctrl-C, made another error of it."""
    try:
        yield
    except (RuntimeError, duckdb.Error) as error:
        if not str(error).rstrip(": ").endswith(("Query interrupted", "KeyboardInterrupt")):
            raise
        raise KeyboardInterrupt from error


def first_line(error: BaseException) -> str:
    """Return what an error says, without what DuckDB adds below."""
    return next(iter(str(error).splitlines()), type(error).__name__)
