"""The answer to a SQL query: a value, not a connection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["Result"]

SHOWN_ROWS: Final = 20


class Result:
    """The rows of a query, complete and detached from the store.

    Example:
        >>> import eslab
        >>> with eslab.Lab(seed=7) as lab:
        ...     result = lab.sql("select 1 as one, 'a' as letter")
        >>> result.fetchall()
        [(1, 'a')]
        >>> result.columns
        ['one', 'letter']
    """

    def __init__(self, table: pa.Table, *, sql: str) -> None:
        self._table = table
        self.sql = sql

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self._table.column_names)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def arrow(self) -> pa.Table:
        """Return the rows as an Arrow table."""
        return self._table

    def batches(self, rows: int = 100_000) -> Iterator[pa.RecordBatch]:
        """Yield the rows as Arrow record batches of at most `rows` rows."""
        yield from self._table.to_batches(max_chunksize=rows)

    def df(self) -> pd.DataFrame:
        """Return the rows as a pandas DataFrame."""
        frame: pd.DataFrame = self._table.to_pandas(maps_as_pydicts="strict")
        return frame

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows as tuples."""
        columns = [column.to_pylist(maps_as_pydicts="strict") for column in self._table.columns]
        return list(zip(*columns, strict=True))

    def scalar(self) -> Any:
        """Return the first value of the first row; None if there is no row."""
        return self._table.column(0)[0].as_py() if len(self) else None

    def _shown(self) -> pd.DataFrame:
        frame: pd.DataFrame = self._table.slice(0, SHOWN_ROWS).to_pandas()
        return frame

    def __repr__(self) -> str:
        shape = f"[{len(self):,} rows x {len(self.columns)} columns]"
        return f"{self._shown().to_string(index=False)}\n\n{shape}"

    def _repr_html_(self) -> str:
        more = f"<p>the first {SHOWN_ROWS} of {len(self):,} rows</p>"
        table = self._shown().to_html(index=False, border=0)
        return table + (more if len(self) > SHOWN_ROWS else "")
