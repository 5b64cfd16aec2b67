"""The times in UTC, computed again in plain Python with zoneinfo."""

from __future__ import annotations

import csv
import io
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from interop.flights_files import Row, needs_package, source_of, week_rows, write_csv

from eslab.interop.flights import week_source, year_source
from eslab.interop.flights.timeline import MISSING_ZONES, Timeline

NEW_YORK = ZoneInfo("America/New_York")
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def moments(timeline: Timeline) -> dict[str, dict[str, datetime]]:
    """Return all times of each stream, by the type of the event or the name of the field."""
    found: dict[str, dict[str, datetime]] = {}
    for stream_id, event in timeline.events():
        times = found.setdefault(stream_id, {})
        assert event.occurred_at is not None
        times[event.type] = event.occurred_at
        for name in ("scheduled_departure", "scheduled_arrival"):
            if name in event.data:
                times[name] = datetime.fromisoformat(event.data[name])
    return found


def stream_of(row: Row) -> str:
    day = f"{int(row['year']):04}-{int(row['month']):02}-{int(row['day']):02}"
    return f"flight-{day}-{row['carrier']}{row['flight']}-{row['origin']}"


def clock(hhmm: str) -> timedelta:
    return timedelta(hours=int(hhmm.zfill(4)[:2]), minutes=int(hhmm.zfill(4)[2:]))


def next_showing(hhmm: str, zone: ZoneInfo, after: datetime) -> datetime:
    """Walk on, minute by minute, until the clocks of `zone` show the time."""
    wanted = int(hhmm) % 2400
    moment = after + MINUTE
    while True:
        local = moment.astimezone(zone)
        if local.hour * 100 + local.minute == wanted:
            return moment
        moment += MINUTE


def expected_times(row: Row, zone: ZoneInfo) -> dict[str, datetime]:
    day = datetime(int(row["year"]), int(row["month"]), int(row["day"]))  # noqa: DTZ001 - local
    planned = (day + clock(row["sched_dep_time"])).replace(tzinfo=NEW_YORK).astimezone(UTC)
    times = {
        "FlightScheduled": day.replace(tzinfo=NEW_YORK).astimezone(UTC),
        "scheduled_departure": planned,
        "scheduled_arrival": next_showing(row["sched_arr_time"], zone, planned),
    }
    if row["dep_time"] == "NA":
        return times | {"FlightCancelled": planned}
    # The clock gives the moment within a day, of which the delay says how many days it is off.
    departed = next_showing(row["dep_time"], NEW_YORK, planned - timedelta(hours=2))
    departed += DAY * round((int(row["dep_delay"]) - (departed - planned) / MINUTE) / 1440)
    times["FlightDeparted"] = departed
    if row["arr_time"] != "NA":
        times["FlightArrived"] = next_showing(row["arr_time"], zone, departed)
    return times


def zones() -> dict[str, ZoneInfo]:
    known = {"BQN": "Puerto_Rico", "PSE": "Puerto_Rico", "SJU": "Puerto_Rico", "STT": "St_Thomas"}
    found = {faa: ZoneInfo(f"America/{name}") for faa, name in known.items()}
    with year_source().airports.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["tzone"] != "NA":
                found[row["faa"]] = ZoneInfo(row["tzone"])
    return found


def package_rows() -> Iterator[Row]:
    with zipfile.ZipFile(year_source().flights) as archive, archive.open("flights.csv") as file:
        yield from csv.DictReader(io.TextIOWrapper(file, "utf-8", newline=""))


@pytest.fixture(scope="module")
def year() -> Iterator[dict[str, dict[str, datetime]]]:
    with Timeline(year_source()) as timeline:
        yield moments(timeline)


@needs_package
def test_a_sample_of_the_year_and_the_days_of_the_clock_changes(
    year: dict[str, dict[str, datetime]],
) -> None:
    by_airport = zones()
    changes = {("3", "9"), ("3", "10"), ("11", "2"), ("11", "3")}
    checked: Counter[str] = Counter()
    for number, row in enumerate(package_rows()):
        change = (row["month"], row["day"]) in changes
        if not (change or number % 200 == 0 or "2400" in (row["dep_time"], row["arr_time"])):
            continue
        stream_id = stream_of(row)
        if stream_id == "flight-2013-03-09-B635-JFK":  # it arrives in a skipped hour: see below
            continue
        assert year[stream_id] == expected_times(row, by_airport[row["dest"]]), stream_id
        checked["change" if change else "sample"] += 1
    assert checked["change"] > 3_000
    assert checked["sample"] > 1_700


def test_every_flight_of_the_week() -> None:
    by_airport = {faa: ZoneInfo(zone) for faa, zone in MISSING_ZONES.items()}
    with duckdb.connect(":memory:") as connection:
        for faa, zone in connection.execute(
            "select faa, tzone from read_parquet($1)", [str(week_source().airports)]
        ).fetchall():
            by_airport[faa] = ZoneInfo(zone)
    with Timeline(week_source()) as timeline:
        found = moments(timeline)
    rows = week_rows()
    assert len(found) == len(rows)
    for row in rows:
        assert found[stream_of(row)] == expected_times(row, by_airport[row["dest"]])


@needs_package
def test_an_arrival_in_the_skipped_hour(year: dict[str, dict[str, datetime]]) -> None:
    times = year["flight-2013-03-09-B635-JFK"]
    assert times["FlightDeparted"] == datetime(2013, 3, 10, 4, 6, tzinfo=UTC)
    # 02:03 was never shown at Palm Beach; 02:03 EST is 07:03 UTC, 36 minutes more than it flew,
    # and 89 minutes late, as reported.
    assert times["FlightArrived"] == datetime(2013, 3, 10, 7, 3, tzinfo=UTC)
    assert times["FlightArrived"] - times["scheduled_arrival"] == 89 * MINUTE


@needs_package
def test_an_arrival_in_the_repeated_hour(year: dict[str, dict[str, datetime]]) -> None:
    times = year["flight-2013-11-02-VX413-JFK"]
    # 01:14 in Los Angeles was 08:14 UTC, and 09:14 again; the reported delay says the first.
    assert times["FlightArrived"] == datetime(2013, 11, 3, 8, 14, tzinfo=UTC)
    assert times["FlightArrived"] - times["scheduled_arrival"] == 299 * MINUTE


@needs_package
def test_the_zones_that_were_added_agree_with_the_time_in_the_air(
    year: dict[str, dict[str, datetime]],
) -> None:
    """What a flight takes beyond its time in the air is the same whatever the zone's source."""
    ground: dict[str, list[float]] = {}
    for row in package_rows():
        if row["air_time"] != "NA":
            times = year[stream_of(row)]
            elapsed = (times["FlightArrived"] - times["FlightDeparted"]) / MINUTE
            ground.setdefault(row["dest"], []).append(elapsed - int(row["air_time"]))
    medians = {dest: sorted(values)[len(values) // 2] for dest, values in ground.items()}
    assert all(min(values) > 0 for values in ground.values())
    assert all(18 <= medians[dest] <= 46 for dest in medians), medians
    assert all(20 <= medians[dest] <= 30 for dest in MISSING_ZONES)


def hhmm(moment: datetime) -> str:
    return str(moment.hour * 100 + moment.minute)


def shown_once(moment: datetime) -> bool:
    return moment.utcoffset() == moment.replace(fold=1 - moment.fold).utcoffset()


DESTINATIONS = {
    "LAX": ZoneInfo("America/Los_Angeles"),
    "PHX": ZoneInfo("America/Phoenix"),
    "HNL": ZoneInfo("Pacific/Honolulu"),
    "ORD": ZoneInfo("America/Chicago"),
    "BOS": ZoneInfo("America/New_York"),
    "SJU": ZoneInfo("America/Puerto_Rico"),
}
STARTS = st.integers(0, 363 * 1440).map(
    lambda minutes: datetime(2013, 1, 1, 12, tzinfo=UTC) + minutes * MINUTE
)
FLIGHTS = st.lists(
    st.tuples(
        STARTS,
        st.sampled_from(sorted(DESTINATIONS)),
        st.integers(30, 700),
        st.integers(0, 1_000),
        st.integers(20, 1_000),
        st.integers(1, 60),
    ),
    max_size=40,
)


def rows_from_utc(
    flights: Iterable[tuple[datetime, str, int, int, int, int]],
) -> Iterator[tuple[Row, dict[str, datetime]]]:
    """Write down in local clock times, as an airline would, what is known in UTC."""
    for number, (planned, dest, block, delay, flown, taxi) in enumerate(flights, start=1):
        zone = DESTINATIONS[dest]
        arrival, departed = planned + block * MINUTE, planned + delay * MINUTE
        arrived = departed + (flown + taxi) * MINUTE
        local = [moment.astimezone(NEW_YORK) for moment in (planned, departed)]
        there = [moment.astimezone(zone) for moment in (arrival, arrived)]
        start = local[0].replace(hour=0, minute=0)
        # A delay over a change of the clocks is read in two ways, and the source has none.
        over = any(one.utcoffset() != other.utcoffset() for one, other in (local, there))
        if over or not all(map(shown_once, local + there)):
            continue
        yield (
            {
                "year": str(local[0].year),
                "month": str(local[0].month),
                "day": str(local[0].day),
                "dep_time": hhmm(local[1]),
                "sched_dep_time": hhmm(local[0]),
                "dep_delay": str(delay),
                "arr_time": hhmm(there[1]),
                "sched_arr_time": hhmm(there[0]),
                "arr_delay": str(int((arrived - arrival) / MINUTE)),
                "carrier": "UA",
                "flight": str(number),
                "tailnum": "NA",
                "origin": "EWR",
                "dest": dest,
                "air_time": str(flown),
                "distance": "100",
                "hour": str(local[0].hour),
                "minute": str(local[0].minute),
                "time_hour": planned.strftime("%Y-%m-%dT%H:00:00Z"),
            },
            {
                "FlightScheduled": start.astimezone(UTC),
                "scheduled_departure": planned,
                "scheduled_arrival": arrival,
                "FlightDeparted": departed,
                "FlightArrived": arrived,
            },
        )


@settings(max_examples=25, deadline=None)
@given(flights=FLIGHTS)
@example(flights=[(datetime(2013, 3, 8, 20, 40, tzinfo=UTC), "BOS", 30, 1000, 1000, 60)])
def test_utc_to_local_clock_times_and_back(
    flights: list[tuple[datetime, str, int, int, int, int]],
) -> None:
    known = list(rows_from_utc(flights))
    with tempfile.TemporaryDirectory() as folder:
        file = write_csv(Path(folder) / "flights.csv", [row for row, _ in known])
        with Timeline(source_of(file)) as timeline:
            found = moments(timeline)
    assert found == {stream_of(row): times for row, times in known}
