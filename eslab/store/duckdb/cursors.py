"""What is done with a DuckDB cursor: a transaction, a statement run again, Arrow tables to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import duckdb
import pyarrow as pa

__all__ = ["Inlet", "commit", "lent", "parsed"]

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


class Inlet:
    """Through it rows go into a table of the database, again and again.

    Many are an Arrow table; DuckDB reads all of these under one name, because to give one to each
    of them, as `lent` does, takes as long as to insert a few rows. A few are parameters: one row
    takes two thirds of the time that way.

    Args:
        cursor: inserts them; it has no transaction open.
        into: the table.
        schema: of the Arrow tables.
    """

    def __init__(self, cursor: duckdb.DuckDBPyConnection, into: str, schema: pa.Schema) -> None:
        self.schema = schema
        self._rows = schema.empty_table()
        name = f"new_{into.rpartition('.')[2]}"
        self._insert = f"insert into {into} from {name}"
        values = ", ".join(["unnest(?)"] * len(schema))
        self._insert_few = f"insert into {into} select {values}"
        cursor.register(name, self)

    def insert(self, cursor: duckdb.DuckDBPyConnection, rows: pa.Table) -> None:
        """Insert rows, on the cursor of this inlet."""
        self._rows = rows
        try:
            cursor.execute(parsed(cursor, self._insert))
        finally:
            self._rows = self.schema.empty_table()

    def insert_few(self, cursor: duckdb.DuckDBPyConnection, columns: Sequence[list[Any]]) -> None:
        """Insert a few rows, given by columns, on the cursor of this inlet."""
        cursor.execute(parsed(cursor, self._insert_few), columns)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Give the rows to DuckDB, by the protocol of Arrow."""
        return self._rows.__arrow_c_stream__(requested_schema)
