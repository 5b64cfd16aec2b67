"""A year of real flights, a million events: the same read model, by the peer and by eslab.

What became of the flights, by the airport that they were to leave: all four types of events count.
Both sides keep the million events in memory from one round to the next, and project them anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.projection import ApplicationSubscription
from eventsourcing.projection import Projection as PeersProjection

from eslab import Lab, Projection, Row, Rows, SqlProjection, on
from eslab.interop.flights import (
    FlightArrived,
    FlightCancelled,
    FlightDeparted,
    FlightScheduled,
    import_year,
)

Work = Callable[[], object]

EVENTS = 1_001_615
FLIGHTS = (FlightScheduled, FlightDeparted, FlightArrived, FlightCancelled)


class Airport(Row, key="origin"):
    """What became of the flights that were to leave an airport."""

    origin: str
    events: int = 0
    miles: int = 0
    delay_minutes: int = 0
    air_minutes: int = 0
    cancellations: int = 0


class Airports(Projection):
    """By handlers in Python."""

    row = Airport
    batch = 50_000  # what is read, handled and committed at once; as `lab.compare` does

    @on
    def scheduled(self, event: FlightScheduled, rows: Rows[Airport]) -> None:
        """Count it, and how far it goes."""
        row = rows.ensure(origin=event.origin)
        row.events += 1
        row.miles += event.distance_miles

    @on
    def departed(self, event: FlightDeparted, rows: Rows[Airport]) -> None:
        """Count it, and its delay."""
        row = rows.ensure(origin=event.origin)
        row.events += 1
        row.delay_minutes += event.delay_minutes

    @on
    def arrived(self, event: FlightArrived, rows: Rows[Airport]) -> None:
        """Count it, and its time in the air."""
        row = rows.ensure(origin=event.origin)
        row.events += 1
        row.air_minutes += event.air_minutes or 0

    @on
    def cancelled(self, event: FlightCancelled, rows: Rows[Airport]) -> None:
        """Count it."""
        row = rows.ensure(origin=event.origin)
        row.events += 1
        row.cancellations += 1


MERGE = {
    "events": "count",
    "miles": "sum",
    "delay_minutes": "sum",
    "air_minutes": "sum",
    "cancellations": "count",
}


class AirportsOfColumns(SqlProjection):
    """By SQL over the tables of the event types."""

    key = "origin"
    query = """
        select origin, count(*) as events, sum(miles) as miles, sum(delay) as delay_minutes,
               sum(air) as air_minutes, count_if(cancelled) as cancellations
        from (
            select origin, distance_miles as miles, 0 as delay, 0 as air, false as cancelled
            from flight_scheduled
            union all select origin, 0, delay_minutes, 0, false from flight_departed
            union all select origin, 0, 0, coalesce(air_minutes, 0), false from flight_arrived
            union all select origin, 0, 0, 0, true from flight_cancelled)
        group by all"""
    merge: ClassVar = MERGE
    events = FLIGHTS


class AirportsOfJson(SqlProjection):
    """By SQL over the events as they are stored."""

    key = "origin"
    query = """
        select data->>'$.origin' as origin, count(*) as events,
               sum(case when type = 'FlightScheduled'
                   then (data->>'$.distance_miles')::bigint else 0 end) as miles,
               sum(case when type = 'FlightDeparted'
                   then (data->>'$.delay_minutes')::bigint else 0 end) as delay_minutes,
               sum(case when type = 'FlightArrived'
                   then coalesce((data->>'$.air_minutes')::bigint, 0) else 0 end) as air_minutes,
               count_if(type = 'FlightCancelled') as cancellations
        from events group by all"""
    merge: ClassVar = MERGE
    events = FLIGHTS


@cache
def lab() -> Lab:
    """Return the lab that holds the year."""
    made = Lab()
    import_year(made.store, progress=False)
    made.register(*FLIGHTS)
    assert made.store.head() == EVENTS
    return made


def _project(projection: Projection | SqlProjection) -> Work:
    """Return the work of applying the year to an empty read model."""
    held, name = lab(), projection.name
    held.project(projection)
    held.reset(name, progress=False)

    def work() -> None:
        held.run(progress=False)
        assert held.sql(f"from {name} order by origin").fetchall() == expected()

    return work


@cache
def expected() -> list[tuple[Any, ...]]:
    """Return the rows that all sides come to."""
    names = ", ".join(Airport.model_fields)
    return lab().sql(f"select {names} from ({AirportsOfJson.query}) order by origin").fetchall()


def python(count: int, place: Path) -> Work:
    """Project by handlers in Python."""
    return _project(Airports())


def json(count: int, place: Path) -> Work:
    """Project by SQL over JSON."""
    return _project(AirportsOfJson())


def columns(count: int, place: Path) -> Work:
    """Project by SQL over typed columns, which are there already."""
    lab().store.refresh([event.event_type for event in FLIGHTS])
    return _project(AirportsOfColumns())


def columns_and_tables(count: int, place: Path) -> Work:
    """Make the typed columns of the year, and project by SQL over them."""
    work = _project(AirportsOfColumns())
    with lab().store.transaction() as transaction:
        transaction.execute("update eslab.typed_tables set fingerprint = 'another'")
    lab().store.use_registry(lab().registry)  # which looks at them anew
    return work


class PeersFlight(Aggregate):
    """A flight, as the peer's documentation writes an aggregate."""

    @event("Scheduled")
    def __init__(
        self,
        *,
        carrier: str,
        flight: int,
        tailnum: str | None,
        origin: str,
        dest: str,
        distance_miles: int,
        scheduled_departure: datetime,
        scheduled_arrival: datetime,
    ) -> None:
        self.status = "scheduled"

    @event("Departed")
    def depart(
        self, *, origin: str, dest: str, scheduled_departure: datetime, delay_minutes: int
    ) -> None:
        """Leave the gate."""
        self.status = "departed"

    @event("Arrived")
    def arrive(
        self,
        *,
        origin: str,
        dest: str,
        scheduled_arrival: datetime,
        delay_minutes: int | None,
        air_minutes: int | None,
    ) -> None:
        """Reach the gate."""
        self.status = "arrived"

    @event("Cancelled")
    def cancel(self, *, origin: str, dest: str, scheduled_departure: datetime) -> None:
        """Stay."""
        self.status = "cancelled"


@cache
def app() -> Application:
    """Return the peer's application that holds the year."""
    made = Application()
    flying: dict[str, PeersFlight] = {}
    done: list[PeersFlight] = []
    for typed in lab().typed_events():
        fields = dict(typed.event)
        if isinstance(typed.event, FlightScheduled):
            flying[typed.stream_id] = PeersFlight(**fields)
        elif isinstance(typed.event, FlightDeparted):
            flying[typed.stream_id].depart(**fields)
        elif isinstance(typed.event, FlightArrived):
            flying[typed.stream_id].arrive(**fields)
        else:
            flying[typed.stream_id].cancel(**fields)
        if isinstance(typed.event, (FlightArrived, FlightCancelled)):
            done.append(flying.pop(typed.stream_id))
        if len(done) == 1_000:
            made.save(*done)
            done.clear()
    made.save(*done, *flying.values())
    return made


class PeersAirports(POPOTrackingRecorder):
    """The peer's read model: a table in memory, and how far it got."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, list[int]] = defaultdict(lambda: [0] * 5)


class CountFlights(PeersProjection[PeersAirports]):
    """Counts, and tracks how far it got, as the library's projections do."""

    def process_event(self, domain_event: Any, tracking: object) -> None:
        """Apply an event."""
        with self.view._database_lock:
            self.view._insert_tracking(tracking)
            row = self.view.rows[domain_event.origin]
            row[0] += 1
            if isinstance(domain_event, PeersFlight.Scheduled):
                row[1] += domain_event.distance_miles
            elif isinstance(domain_event, PeersFlight.Departed):
                row[2] += domain_event.delay_minutes
            elif isinstance(domain_event, PeersFlight.Arrived):
                row[3] += domain_event.air_minutes or 0
            else:
                row[4] += 1


def peer(count: int, place: Path) -> Work:
    """Project by the peer."""
    held = app()
    projection = CountFlights(view=PeersAirports())

    def work() -> None:
        with ApplicationSubscription(held) as subscription:
            for done, (domain_event, tracking) in enumerate(subscription, start=1):
                projection.process_event(domain_event, tracking)
                if done == count:
                    break
        rows = sorted((origin, *row) for origin, row in projection.view.rows.items())
        assert rows == expected()

    return work
