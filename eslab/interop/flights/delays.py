"""Read models of the flights: delays at departure, by airport and hour, and at arrival."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Final
from zoneinfo import ZoneInfo

from eslab.interop.flights.domain import FlightArrived, FlightCancelled, FlightDeparted
from eslab.projections import Cost, Projection, Row, Rows, SqlProjection, on

__all__ = [
    "AirportHour",
    "ArrivalsByDestination",
    "DelayByAirportHour",
    "DelayByAirportHourSql",
    "Destination",
]

NEW_YORK: Final = ZoneInfo("America/New_York")


class AirportHour(Row, key=("airport", "hour")):
    """What became of the flights that an airport planned for an hour of the day.

    Attributes:
        airport: where they were to depart.
        hour: of the scheduled departure in New York, 0 to 23.
        departures: how many departed.
        delay_minutes: the sum of their delays; those that left early count below 0.
        cancellations: how many never departed.
    """

    airport: str
    hour: int
    departures: int = 0
    delay_minutes: int = 0
    cancellations: int = 0


class DelayByAirportHour(Projection):
    """Delays at departure by airport and hour of day: the table ``rm.delay_by_airport_hour``.

    Example:
        >>> import eslab
        >>> from eslab.interop.flights import import_week
        >>> with eslab.Lab(seed=7) as lab:
        ...     _ = import_week(lab.store, progress=False)
        ...     lab.project(DelayByAirportHour())
        ...     lab.run()
        ...     lab.sql("select sum(departures) from delay_by_airport_hour").scalar()
        6064
    """

    row = AirportHour
    batch = 10_000

    @on
    def departed(self, event: FlightDeparted, rows: Rows[AirportHour]) -> None:
        """Count a departure and its delay."""
        row = rows.ensure(
            airport=event.origin, hour=event.scheduled_departure.astimezone(NEW_YORK).hour
        )
        row.departures += 1
        row.delay_minutes += event.delay_minutes

    @on
    def cancelled(self, event: FlightCancelled, rows: Rows[AirportHour]) -> None:
        """Count a flight that never departed."""
        rows.ensure(
            airport=event.origin, hour=event.scheduled_departure.astimezone(NEW_YORK).hour
        ).cancellations += 1


class DelayByAirportHourSql(SqlProjection):
    """The same rows as those of `DelayByAirportHour`, by one query.

    Example:
        >>> import eslab
        >>> from eslab.interop.flights import import_week
        >>> with eslab.Lab(seed=7) as lab:
        ...     _ = import_week(lab.store, progress=False)
        ...     lab.compare(DelayByAirportHour(), DelayByAirportHourSql()).equal
        True
    """

    key = ("airport", "hour")
    query = """
        select origin as airport, hour(timezone('America/New_York', scheduled_departure)) as hour,
               count(delay_minutes) as departures, sum(coalesce(delay_minutes, 0)) as delay_minutes,
               count_if(delay_minutes is null) as cancellations
        from (select origin, scheduled_departure, delay_minutes from flight_departed
              union all
              select origin, scheduled_departure, null from flight_cancelled)
        group by all"""
    merge: ClassVar = {"departures": "count", "delay_minutes": "sum", "cancellations": "count"}
    events = (FlightDeparted, FlightCancelled)


class Destination(Row, key=("airport",)):
    """The flights that arrived at an airport.

    Attributes:
        airport: where they arrived.
        arrivals: how many.
        diverted: how many of them came by way of another airport.
        delay_minutes: the sum of the delays of the others.
    """

    airport: str
    arrivals: int = 0
    diverted: int = 0
    delay_minutes: int = 0


class ArrivalsByDestination(Projection):
    """Arrivals by destination, as the table ``rm.arrivals_by_destination``.

    On a virtual clock it is slow on purpose, 25 ms an event: it shows what a read model looks
    like that falls behind when the traffic is heavy, and catches up at night.
    """

    row = Destination
    batch = 500
    cost = Cost(event=timedelta(milliseconds=25))

    @on
    def arrived(self, event: FlightArrived, rows: Rows[Destination]) -> None:
        """Count an arrival and its delay."""
        row = rows.ensure(airport=event.dest)
        row.arrivals += 1
        if event.delay_minutes is None:
            row.diverted += 1
        else:
            row.delay_minutes += event.delay_minutes
