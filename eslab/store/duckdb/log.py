"""Rows of the log: as DuckDB takes them, as it gives them, and how they are asked for."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final, TypeVar, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from eslab.events import EventBatch
from eslab.garbage import garbage_kept
from eslab.store.columns import LogColumns
from eslab.store.duckdb.hot import Cover
from eslab.store.rows import BATCH_ROWS, LogRow, Selection

__all__ = [
    "COLUMNS",
    "LOG",
    "PAGE",
    "ROWS",
    "STREAMS",
    "condition",
    "event_batches",
    "log_columns",
    "log_row",
    "log_table",
    "moment",
    "windows",
]

W = TypeVar("W", bound=Sized)

PAGE: Final = 20_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

STREAMS: Final = pa.schema({"stream_id": pa.int32(), "name": pa.string(), "category": pa.string()})
LOG: Final = pa.schema(
    {
        "position": pa.int64(),
        "stream_id": pa.int32(),
        "version": pa.int32(),
        "type": pa.string(),
        "schema_version": pa.int32(),
        "event_id": pa.uuid(),
        "tags": pa.list_(pa.string()),
        # DuckDB would parse mere text again, to see whether it is JSON.
        "data": pa.json_(),
        "metadata": pa.json_(),
        "occurred_at": pa.timestamp("us", "UTC"),
        "recorded_at": pa.timestamp("us", "UTC"),
    }
)

COLUMNS: Final = """
select l.position, l.stream_id, l.version, l.type, l.schema_version, l.data::varchar,
       epoch_us(l.recorded_at)
from eslab.event_log l
"""
"""The query for rows by columns, decoded later."""

ROWS: Final = """
select l.position, s.name, l.version, l.type, l.schema_version, l.event_id, l.tags,
       l.data::varchar, l.metadata::varchar, epoch_us(l.occurred_at), epoch_us(l.recorded_at)
from eslab.event_log l join eslab.streams s using (stream_id)
"""
"""The query for whole rows."""


def log_columns(rows: LogColumns, numbers: NDArray[np.int32]) -> list[list[Any]]:
    """Return the columns of a few rows, as `Inlet.insert_few` takes them; see `log_table`."""
    ids = [rows.event_ids[start : start + 16] for start in range(0, len(rows.event_ids), 16)]
    return [
        list(range(rows.first, rows.first + len(rows))),
        numbers[rows.streams.codes].tolist(),
        rows.versions.tolist(),
        list(rows.types),
        list(rows.schema_versions),
        [uuid.UUID(bytes=id) for id in ids],
        list(map(list, rows.tags)),
        list(rows.data),
        list(rows.metadata),
        list(rows.occurred_at),
        list(rows.recorded_at),
    ]


def log_table(rows: LogColumns, numbers: NDArray[np.int32]) -> pa.Table:
    """Return the columns of many rows, as `Inlet.insert` takes them.

    Args:
        rows: in order.
        numbers: of their streams.
    """
    ids = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(rows), [None, pa.py_buffer(rows.event_ids)]
    )
    columns = {
        "position": pa.array(np.arange(rows.first, rows.first + len(rows))),
        "stream_id": pa.array(numbers[rows.streams.codes]),
        "version": pa.array(rows.versions),
        "type": _array(rows.types, pa.string()),
        "schema_version": _array(rows.schema_versions, pa.int32()),
        "event_id": pa.ExtensionArray.from_storage(pa.uuid(), ids),
        "tags": _array(rows.tags, pa.list_(pa.string())),
        "data": _json(pa.array(rows.data, pa.string())),
        "metadata": _json(_array(rows.metadata, pa.string())),
        "occurred_at": _array(rows.occurred_at, pa.timestamp("us", "UTC")),
        "recorded_at": _array(rows.recorded_at, pa.timestamp("us", "UTC")),
    }
    return pa.table(columns, schema=LOG)


def _json(texts: pa.Array) -> pa.Array:
    # DuckDB would parse mere text again, to see whether it is JSON.
    return pa.ExtensionArray.from_storage(pa.json_(), texts)


def _array(values: Sequence[Any], type: pa.DataType) -> pa.Array:
    """Return a column; quickly, where one value is repeated."""
    if values.count(values[0]) == len(values):
        return pa.array(values[:1], type).take(pa.array(np.zeros(len(values), np.int32)))
    return pa.array(values, type)


def log_row(row: tuple[Any, ...]) -> LogRow:
    """Return what a row of `ROWS` says."""
    position, stream_id, version, type, schema_version, event_id = row[:6]
    tags, data, metadata, occurred_at, recorded_at = row[6:]
    return LogRow(
        position,
        stream_id,
        version,
        type,
        schema_version,
        event_id,
        tuple(tags),
        data,
        metadata,
        moment(occurred_at),
        moment(recorded_at),
    )


def moment(microseconds: int) -> datetime:
    """Return a time in UTC, of microseconds since 1970: DuckDB's own would need pytz."""
    return _EPOCH + timedelta(microseconds=microseconds)


def moments(microseconds: pa.ChunkedArray) -> list[datetime]:
    """Return times in UTC; equal ones are one object, since events are recorded many at once."""
    numbers = microseconds.to_pylist()
    made = {number: moment(number) for number in set(numbers)}
    return list(map(made.__getitem__, numbers))


def event_batches(
    table: pa.Table, names: Callable[[Iterable[int]], list[str]]
) -> Iterator[EventBatch]:
    """Yield rows, as the query COLUMNS gives them, by columns.

    Args:
        table: the rows.
        names: gives the streams that have some numbers.
    """
    size = len(table)
    positions, streams, versions, types, schemas, data, recorded = table.columns
    with garbage_kept():
        columns: list[Sequence[Any]] = [
            positions.to_pylist(),
            _Late(size, lambda: names(streams.to_pylist())),
            _Late(size, versions.to_pylist),
            types.to_pylist(),
            schemas.to_pylist(),
            data.to_pylist(),
            _Late(size, lambda: moments(recorded)),
        ]
    for start in range(0, size, BATCH_ROWS):
        yield EventBatch(*(column[start : start + BATCH_ROWS] for column in columns))


class _Late(Sequence[Any]):
    """A column that is made when somebody looks at it, since few look at every column.

    Args:
        size: how many values it has.
        make: makes them.
    """

    def __init__(self, size: int, make: Callable[[], list[Any]]) -> None:
        self._size = size
        self._make = make

    @cached_property
    def _values(self) -> list[Any]:
        with garbage_kept():
            return self._make()

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> _Late: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            size = len(range(*place.indices(self._size)))
            return _Late(size, lambda: self._values[place])
        return self._values[place]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return repr(self._values)


def windows(
    selection: Selection,
    read: Callable[[str, Sequence[Any]], W],
    cover: Cover | None = None,
) -> Iterator[W]:
    """Yield what `read` returns for one window of positions after the other.

    Zone maps find a window at once; a limit alone would make DuckDB read the rest of the log for
    every page. Where few rows match, the windows grow.

    Args:
        selection: what is wanted.
        read: is given the condition of a query, and its values.
        cover: where the events of the selection's streams are, if it names some.
    """
    where, values = condition(selection)
    after, until, limit = selection.after, selection.until, selection.limit
    span = PAGE
    if limit is not None:  # where not all match, a little more is read than is asked for
        span = max(1, min(PAGE, limit if not where else max(limit, PAGE // 4)))
    if cover is not None:
        where += " and l.stream_id in (select unnest(?::integer[]))"
        values.append(cover.numbers)
        after, until = max(after, cover.after), min(until, cover.until)
        # So that a window holds as many of their events as it would hold of all: mostly all.
        span = max(span, span * (until - after) // max(1, cover.events))
    while after < until and limit != 0:
        low, high = (
            (max(after, until - span), until)
            if selection.backwards
            else (after, min(until, after + span))
        )
        found = read(f"l.position > ? and l.position <= ? {where}", [low, high, *values])
        yield found
        after, until = (after, low) if selection.backwards else (high, until)
        if len(found) < span // 4:
            span = max(span, min(2 * span, 16 * PAGE))


def condition(selection: Selection) -> tuple[str, list[Any]]:
    """Return the condition for what is selected, wherever it is, and its values."""
    parts: list[str] = []
    values: list[Any] = []
    if selection.types is not None:
        parts.append("and l.type in (select unnest(?))")
        values.append(sorted(selection.types))
    if selection.category is not None:
        parts.append("and s.category = ?")
        values.append(selection.category)
    if selection.occurred_until is not None:
        parts.append("and l.occurred_at <= ?")
        values.append(selection.occurred_until)
    if selection.query is not None:
        items = []
        for item in selection.query.items:
            both = ["true"]
            if item.types:
                both.append("l.type in (select unnest(?))")
                values.append(sorted(item.types))
            if item.tags:
                both.append("list_has_all(l.tags, ?)")
                values.append(sorted(item.tags))
            items.append(" and ".join(both))
        parts.append(f"and ({' or '.join(f'({item})' for item in items) or 'false'})")
    return " ".join(parts), values
