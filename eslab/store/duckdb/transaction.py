"""A transaction over read models, as projections have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import duckdb
import pyarrow as pa

from eslab.errors import InputError
from eslab.store.duckdb.cursors import lent, parsed
from eslab.store.duckdb.driver import driver_errors, first_line

__all__ = ["DuckDBTransaction"]

# What is raised for a value that a column cannot hold.
_UNFIT: Final = (pa.ArrowException, OverflowError, UnicodeError, duckdb.DataError)
# And for one of a statement; a key that is there twice is the last, where rows are merged.
_UNFIT_ROWS: Final = (duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException)


class DuckDBTransaction:
    """One transaction of a projection: see `eslab.store.port.Transaction`."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows.

        Raises:
            InputError: a value, or a key that is there twice, does not fit a table.
        """
        failed = "a statement of a projection failed"
        with driver_errors(failed):
            try:
                ready = parsed(self._cursor, statement)
                return self._cursor.execute(ready, parameters or None).fetchall()
            except _UNFIT_ROWS as error:
                raise InputError(f"{failed}: {first_line(error)}") from error

    def put(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        """Insert rows, replacing those that have the same primary key.

        Raises:
            InputError: a value does not fit its column.
        """
        if not rows:
            return
        failed = f"rows of {table} cannot be stored"
        with driver_errors(failed):
            try:
                arrow = pa.Table.from_pylist(list(rows))
                with lent(self._cursor, "put_rows", arrow):
                    self._cursor.execute(f"insert or replace into {table} by name from put_rows")
            except _UNFIT as error:
                raise InputError(f"{failed}: {first_line(error)}") from error
