"""Many rows at once say the same as each of them."""

from __future__ import annotations

import gc
import uuid
import weakref
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eslab.store.columns import Head, LogColumns, StreamColumn
from eslab.store.rows import LogRow

STREAMS = st.lists(st.sampled_from(["a-1", "b-1", "b-2", "c-1", ""]))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(STREAMS)
def test_streams_are_numbered_as_they_come(stream_ids: list[str]) -> None:
    column = StreamColumn(stream_ids)
    assert list(column) == stream_ids
    assert column.names == list(dict.fromkeys(stream_ids))
    before = [stream_ids[:at].count(stream_id) for at, stream_id in enumerate(stream_ids)]
    assert column.places().tolist() == before
    last = [len(stream_ids) - 1 - stream_ids[::-1].index(name) for name in column.names]
    assert column.last().tolist() == last


@given(STREAMS.filter(bool), st.integers(1, 2**40), st.lists(st.uuids(), min_size=1))
def test_columns_are_the_rows(stream_ids: list[str], first: int, ids: list[uuid.UUID]) -> None:
    rows = [
        LogRow(
            first + at,
            stream_id,
            at % 7 + 1,
            "A",
            1,
            ids[at % len(ids)],
            ("x",),
            "{}",
            "{}",
            NOW,
            NOW,
        )
        for at, stream_id in enumerate(stream_ids)
    ]
    columns = LogColumns.of(rows)
    assert list(columns) == rows
    assert (len(columns), columns[0], columns[-1]) == (len(rows), rows[0], rows[-1])
    last = {row.stream_id: Head(row.stream_id, row.version, row.position) for row in rows}
    assert columns.heads() == list(last.values())
    with pytest.raises(IndexError):
        columns[len(rows)]


def test_a_column_is_gone_with_its_last_reference() -> None:
    """Else memory holds batch after batch of an import, until the garbage collector comes."""

    class Name(str):
        __slots__ = ("__weakref__",)

    names = [Name("a-1"), Name("b-1"), Name("a-1")]
    seen = [weakref.ref(name) for name in names]
    gc.disable()
    try:
        column = StreamColumn(names)
        assert column.names == ["a-1", "b-1"]
        del names, column
        assert [name() for name in seen] == [None] * 3
    finally:
        gc.enable()
