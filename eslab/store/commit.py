"""All or nothing: a transaction of DuckDB as a with-block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

__all__ = ["commit"]


@contextmanager
def commit(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Begin a transaction; it commits when its block ends, and an exception rolls it back."""
    cursor.execute("begin")
    try:
        yield
    except BaseException:
        # After a failed statement COMMIT would raise nothing and discard everything.
        cursor.execute("rollback")
        raise
    cursor.execute("commit")
