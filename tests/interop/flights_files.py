"""Files of flights for the tests: the week's rows as a CSV, with whatever fault a test plants."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

import duckdb
import pytest

from eslab.interop.flights import Source, week_source
from eslab.interop.flights.source import COLUMNS

needs_package = pytest.mark.flights

Row = dict[str, str]


def week_rows(limit: int = 1_000_000) -> list[Row]:
    """Return the first rows of the week as the package's CSV writes them."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("set TimeZone = 'UTC'")
        rows = connection.execute(
            "select * replace (strftime(time_hour, '%Y-%m-%dT%H:%M:%SZ') as time_hour) "
            "from read_parquet($1, file_row_number=true) order by file_row_number limit $2",
            [str(week_source().flights), limit],
        ).fetchall()
    return [
        {
            name: "NA" if value is None else str(value)
            for name, value in zip(COLUMNS, row[: len(COLUMNS)], strict=True)
        }
        for row in rows
    ]


def write_csv(file: Path, rows: Iterable[Mapping[str, str]]) -> Path:
    """Write rows as the package does."""
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(COLUMNS), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return file


def source_of(file: Path, *, airports: Path | None = None, rows: int | None = None) -> Source:
    """Return a file of any flights of 2013 as a source."""
    return Source(
        file, airports or week_source().airports, date(2013, 1, 1), date(2013, 12, 31), rows
    )
