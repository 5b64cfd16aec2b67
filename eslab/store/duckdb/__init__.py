"""The event store in DuckDB: a hot side for appends, a cold one for SQL, and typed tables.

- `store` is the adapter, and `accepted` the log as a group of appends sees it;
- hot: `sequencer` (who commits), `hot` (what is known in memory), `journal` (what is durable);
- cold: `database` (the log in DuckDB), `cursors`, `flusher` (who moves events there);
- `lock`, `recovery`, `salvage` and `copies` are about the file;
- `typed` keeps the tables of event types, by SQL (`proof`) or by the class (`decoded`).
"""

from eslab.store.duckdb.store import DuckDBStore

__all__ = ["DuckDBStore"]
