"""What is done with a DuckDB cursor: a transaction, a statement again, an Arrow table to read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import duckdb
import pyarrow as pa

__all__ = ["commit", "lent", "parsed"]

PARSED: Final = 256
"""How many statements are kept parsed."""

_parsed: dict[str, duckdb.Statement] = {}


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


def parsed(cursor: duckdb.DuckDBPyConnection, statement: str) -> duckdb.Statement:
    """Return one statement as DuckDB has parsed it, which it does once for all cursors.

    Of a statement over a few events parsing takes a fifth to a third of the time. So what changes
    from one time to the next is a parameter of it, not a part of its text.
    """
    held = _parsed.get(statement)
    if held is None:
        (held,) = cursor.extract_statements(statement)
        if len(_parsed) >= PARSED:
            _parsed.clear()
        _parsed[statement] = held
    return held


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
