"""The tables of a store in DuckDB: how they are made, and brought up to the format of today.

In the schema ``eslab``: ``event_log`` in the order of position, with a dense integer for the
stream, and no index: the sequencer makes numbers and ids unique, and zone maps find positions;
``streams`` with the name of each; ``store_info``; ``checkpoints`` and ``checkpoint_log`` of the
projections; ``dead_letters`` and ``inbox`` of deliveries; ``snapshots`` of states;
``typed_tables`` and ``typing_errors`` of the event types.
``events`` is the view that a person queries. Read models are in the schema ``rm``, the tables of
event types in ``ev``. All are on the search path.
"""

from __future__ import annotations

import uuid
from typing import Final

import duckdb

from eslab.errors import StoreOpenError
from eslab.store.duckdb.cursors import commit
from eslab.store.duckdb.snapshots import SNAPSHOT_SCHEMA
from eslab.store.duckdb.typed import TYPED_SCHEMA

__all__ = [
    "LOG_COLUMNS",
    "LOG_SCHEMA",
    "SCHEMAS",
    "STREAM_COLUMNS",
    "make_tables",
    "require_tables",
]

FORMAT: Final = 4
SCHEMAS: Final = ("main", "eslab", "rm", "ev")

_SCHEMA: Final = """
create schema rm;
create table eslab.store_info(
    store_id uuid not null, epoch integer not null, format integer not null,
    journal bigint, copy boolean not null);
create table eslab.checkpoints(
    projection varchar primary key, position bigint not null, fingerprint varchar not null);
create table eslab.checkpoint_log(
    projection varchar not null, from_position bigint not null, to_position bigint not null,
    count bigint not null, started_at timestamptz not null, committed_at timestamptz not null,
    mode varchar not null);
"""

STREAM_COLUMNS: Final = (
    "stream_id integer not null, name varchar not null, category varchar not null"
)

LOG_COLUMNS: Final = """
    position bigint not null, stream_id integer not null, version integer not null,
    type varchar not null, schema_version integer not null, event_id uuid not null,
    tags varchar[] not null, data json not null, metadata json not null,
    occurred_at timestamptz not null, recorded_at timestamptz not null"""

LOG_SCHEMA: Final = f"""
create table eslab.streams({STREAM_COLUMNS});
create table eslab.event_log({LOG_COLUMNS});
"""

_EVENTS_SCHEMA: Final = """
create view eslab.events as
    select l.position, s.name as stream_id, s.category, l.version, l.type, l.schema_version,
           l.event_id, l.tags, l.data, l.metadata, l.occurred_at, l.recorded_at
    from eslab.event_log l join eslab.streams s using (stream_id);
"""

_DELIVERY_SCHEMA: Final = """
create table eslab.dead_letters(
    consumer varchar not null, sequence varchar not null, position bigint not null,
    reason varchar, attempts integer not null, parked_at timestamptz not null);
create table eslab.inbox(
    consumer varchar not null, message_id varchar not null, received_at timestamptz not null,
    primary key (consumer, message_id));
"""

_TABLES: Final = _SCHEMA + _EVENTS_SCHEMA + TYPED_SCHEMA + SNAPSHOT_SCHEMA + _DELIVERY_SCHEMA

_HELD: Final = """
select concat_ws('.', schema_name, table_name) from duckdb_tables() union
select concat_ws('.', schema_name, view_name) from duckdb_views() where not internal union
select concat_ws('.', schema_name, sequence_name) from duckdb_sequences() union
select concat_ws('.', schema_name, type_name) from duckdb_types() where not internal union
select concat_ws('.', schema_name, function_name) from duckdb_functions() where not internal union
select schema_name from duckdb_schemas() where not internal order by all
"""

_TO_FORMAT_2: Final = """
alter table eslab.store_info add column journal bigint;
alter table eslab.store_info add column copy boolean default false;
"""

_CHANGES: Final = {1: _TO_FORMAT_2 + TYPED_SCHEMA, 2: SNAPSHOT_SCHEMA, 3: _DELIVERY_SCHEMA}
"""What a file of each older format lacks."""


def make_tables(
    cursor: duckdb.DuckDBPyConnection, log: str, new_id: uuid.UUID, *, copy: bool
) -> None:
    """Make the tables of a store.

    Args:
        cursor: makes them.
        log: the statements that make the log and the streams.
        new_id: the identity of the store.
        copy: whether it is a copy, to look at.
    """
    cursor.execute(f"create schema eslab; {log} {_TABLES}")
    cursor.execute("insert into eslab.store_info values (?, 1, ?, null, ?)", [new_id, FORMAT, copy])


def require_tables(
    connection: duckdb.DuckDBPyConnection, path: str, new_id: uuid.UUID | None
) -> None:
    """Make the tables of a store if there are none, or change those of an older format.

    Args:
        connection: to the database.
        path: what it is called in errors.
        new_id: the identity, if they are made; None, if they must be there.

    Raises:
        StoreOpenError: it is the database of another program, or of a newer eslab.
    """
    held = [name for (name,) in connection.execute(_HELD).fetchall()]
    if "eslab.store_info" not in held:
        if held or new_id is None:
            raise StoreOpenError(
                f"{path} is a database of another program (it holds "
                f"{', '.join(held[:3]) or 'nothing'}), not an eslab store; it was not touched: "
                f"choose another file"
            )
        with commit(connection):
            make_tables(connection, LOG_SCHEMA, new_id, copy=False)
    try:
        found = connection.execute("select format from eslab.store_info").fetchall()
    except duckdb.BinderException:
        found = []
    if len(found) != 1 or not isinstance(format := found[0][0], int):
        raise StoreOpenError(
            f"{path} is a database of another program, or damaged: its eslab.store_info "
            f"does not say which format it has; it was not touched"
        )
    if format > FORMAT:
        raise StoreOpenError(
            f"{path} was written by a newer eslab (format {format}; this one knows up to "
            f"{FORMAT}); it was not touched: pip install --upgrade eslab"
        )
    if format < FORMAT:
        with commit(connection):
            for older, change in _CHANGES.items():
                if format <= older:
                    connection.execute(change)
            connection.execute("update eslab.store_info set format = ?", [FORMAT])
