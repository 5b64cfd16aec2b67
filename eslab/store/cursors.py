"""What is done with a DuckDB cursor for the length of a block: a transaction, an Arrow table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import duckdb
import pyarrow as pa

__all__ = ["commit", "lent"]


@contextmanager
def commit(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Begin a transaction; it commits when its block ends, and an exception rolls it back."""
    try:
        cursor.execute("begin")
        yield
        cursor.execute("commit")
    except BaseException:
        # After a failed statement COMMIT would raise nothing and discard everything.
        with suppress(duckdb.Error):  # it may have been committed, or not have begun
            cursor.execute("rollback")
        raise


@contextmanager
def lent(cursor: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> Iterator[None]:
    """Let SQL on this cursor read an Arrow table under a name, while the block lasts."""
    cursor.register(name, table)
    try:
        yield
    finally:
        cursor.unregister(name)
