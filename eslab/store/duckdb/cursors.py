"""What is done with a DuckDB cursor for the length of a block: a transaction, an Arrow table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import duckdb
import pyarrow as pa

__all__ = ["commit", "lent"]


class commit:  # noqa: N801 - used as a function
    """Begin a transaction; it commits when its block ends, and an exception rolls it back.

    No generator: one that an interrupt left behind would roll back when the garbage collector
    finds it, and that may be in the middle of the next transaction.
    """

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor

    def __enter__(self) -> None:
        self._execute("begin")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._execute("commit")
        else:  # after a failed statement COMMIT would raise nothing and discard everything
            self._roll_back()

    def _execute(self, statement: str) -> None:
        try:
            self._cursor.execute(statement)
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        with suppress(duckdb.Error):  # it may have been committed, or not have begun
            self._cursor.execute("rollback")


@contextmanager
def lent(cursor: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> Iterator[None]:
    """Let SQL on this cursor read an Arrow table under a name, while the block lasts."""
    cursor.register(name, table)
    try:
        yield
    except BaseException:
        with suppress(duckdb.Error):  # it cannot be, where the transaction failed
            cursor.unregister(name)
        raise
    cursor.unregister(name)
