"""Turns checked flights into events in UTC, in the order in which they happened.

How times are found (decided 2026-11, after checking every rule against all 336,776 flights):

- The scheduled departure is the flight's day at ``sched_dep_time`` in New York. The source's own
  ``time_hour`` says the same hour of UTC for every flight.
- The departure is ``dep_delay`` minutes later. New York's clocks then show ``dep_time``, always.
- The scheduled arrival is the first moment after the scheduled departure at which the clocks of
  the destination show ``sched_arr_time``.
- The arrival is the first moment after the departure at which they show ``arr_time``, leaving out
  moments that come before ``air_time`` minutes have passed. It is ``arr_delay`` minutes after the
  scheduled arrival, always.
- A time in the hour that clocks repeat (2013-11-03) is the first of the two moments that fits; a
  time in the hour that they skip (2013-03-10) was written down by the clock before the change.
  There is one arrival of either kind: VX 413 to LAX at 01:14, and B6 35 to PBI at 02:03.
- A diverted flight has an arrival at its destination, but neither ``arr_delay`` nor ``air_time``:
  its arrival is the first moment that fits, and nothing confirms it.
- Scheduling has no time of its own and gets the start of the flight's day in New York; a
  cancellation gets the scheduled departure. Both are marked in the metadata.
- Events are in the order of (occurred_at, version, stream_id), which no two events share.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from types import TracebackType
from typing import Any, Final, Self

from eslab.errors import InputError
from eslab.events import Metadata, NewEvent
from eslab.interop.flights.checks import check_flights, check_times
from eslab.interop.flights.source import Source, read

__all__ = ["DERIVED_FROM", "NAMESPACE", "Timeline"]

NAMESPACE: Final = uuid.UUID("694c1d63-40eb-5470-915a-019fac47d874")
"""Event ids are version 5 UUIDs in this namespace, of ``<stream id>/<event type>``."""

DERIVED_FROM: Final = "occurred_at_derived_from"
"""The key in the metadata of events that have no time of their own."""

MISSING_ZONES: Final[Mapping[str, str]] = {
    "BQN": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}
"""Destinations that airports.csv lacks, with their zones in the IANA time zone database."""

_BATCH: Final = 50_000

_SCHEDULED: Final = Metadata(extra={DERIVED_FROM: "start of the flight's day in New York"})
_CANCELLED: Final = Metadata(extra={DERIVED_FROM: "scheduled departure"})
_REPORTED: Final = Metadata()

_MACROS: Final = """
create macro minute_of_day(hhmm) as hhmm // 100 * 60 + hhmm % 100;
create macro clock_minutes(clock) as hour(clock) * 60 + minute(clock);
-- In a repeated hour timezone() may take either moment; these two look on both sides.
create macro earlier(zone, clock) as case
    when timezone(zone, timezone(zone, clock) - interval 1 hour) = clock
    then timezone(zone, clock) - interval 1 hour else timezone(zone, clock) end;
create macro later(zone, clock) as case
    when timezone(zone, timezone(zone, clock) + interval 1 hour) = clock
    then timezone(zone, clock) + interval 1 hour else timezone(zone, clock) end;
create macro at_clock(zone, clock, earliest) as case
    when earlier(zone, clock) >= earliest then earlier(zone, clock)
    when later(zone, clock) >= earliest then later(zone, clock) end;
create macro on_day_of(moment, zone, hhmm) as
    date_trunc('day', timezone(zone, moment)) + to_minutes(minute_of_day(hhmm) % 1440);
create macro next_at(zone, moment, hhmm, least_minutes) as coalesce(
    at_clock(zone, on_day_of(moment, zone, hhmm), moment + to_minutes(least_minutes)),
    at_clock(zone, on_day_of(moment, zone, hhmm) + interval 1 day,
             moment + to_minutes(least_minutes)));
"""

_ZONES: Final = """
create table zones as
select faa, any_value(tzone) as tzone, false as added from airports
where tzone in (select name from pg_timezone_names()) group by faa
having count(distinct tzone) = 1
"""

_TIMED: Final = """
create table timed as
with placed as (
    select flights.*, zones.tzone, zones.added,
        make_date(year, month, day) as flight_date,
        earlier('America/New_York', flight_date::timestamp) as day_start,
        earlier('America/New_York', flight_date::timestamp
            + to_minutes(minute_of_day(sched_dep_time))) as scheduled_departure,
        scheduled_departure + to_minutes(dep_delay) as departed
    from flights join zones on zones.faa = flights.dest
)
select *,
    next_at(tzone, scheduled_departure, sched_arr_time, 1) as scheduled_arrival,
    case when arr_time is not null
        then next_at(tzone, departed, arr_time, coalesce(air_time, 1)) end as arrived,
    strftime(flight_date, 'flight-%Y-%m-%d-') || carrier || flight || '-' || origin as stream_id
from placed
"""

_COUNTS: Final = """
select count(*) as flights, count(departed) as departed, count(arrived) as arrived,
    count(*) - count(departed) as cancelled,
    count(departed) - count(arrived) as without_arrival,
    count(arrived) - count(arr_delay) as diverted,
    count(arrived) filter (where earlier(tzone, arr_clock) <> later(tzone, arr_clock))
        as repeated_hour,
    count(arrived) filter (where timezone(tzone, arrived) <> arr_clock) as skipped_hour
from (select *, on_day_of(arrived, tzone, arr_time) as arr_clock from timed)
"""

_EVENTS: Final = """
with events as (
    select day_start as occurred_at, 1 as version, 'FlightScheduled' as type, null as delay, *
    from timed
    union all
    select coalesce(departed, scheduled_departure), 2,
        case when departed is null then 'FlightCancelled' else 'FlightDeparted' end, dep_delay, *
    from timed
    union all
    select arrived, 3, 'FlightArrived', arr_delay, * from timed where arrived is not null
)
select type, stream_id, epoch(occurred_at)::bigint as occurred_at, event_id(stream_id, type) as id,
    origin, dest, carrier, flight, tailnum, distance, delay, air_time,
    json_time(scheduled_departure) as scheduled_departure,
    json_time(scheduled_arrival) as scheduled_arrival
from events where $1 is null or flight_date = $1
order by occurred_at, version, stream_id
"""

# A version 5 UUID (RFC 9562) in SQL: the first 32 digits of the SHA-1 of the namespace and the
# name, of which the 13th becomes the version and the 17th begins with the bits 10.
_EVENT_IDS: Final = f"""
create macro version_5(digest) as digest[:12] || '5' || digest[14:16]
    || '89ab'[(strpos('0123456789abcdef', digest[17]) - 1) % 4 + 1] || digest[18:32];
create macro event_id(stream_id, type) as
    version_5(sha1(unhex('{NAMESPACE.hex}') || encode(stream_id || '/' || type)));
create macro json_time(moment) as strftime(moment at time zone 'UTC', '%Y-%m-%dT%H:%M:%SZ');
"""


class Timeline:
    """The events of a set of flights, all checked, in the order in which they happened.

    Use it as a context manager: it holds tables in memory until it is closed.

    Args:
        source: the files.

    Raises:
        MissingDependencyError: the package with the flights is not installed.
        InputError: the files cannot be used; the message names the file, and the row if it is one.

    Example:
        >>> from eslab.interop.flights.source import week_source
        >>> with Timeline(week_source()) as timeline:
        ...     stream_id, event = next(timeline.events())
        ...     print(len(timeline), stream_id, event.type)
        18259 flight-2013-01-01-9E3286-JFK FlightScheduled
    """

    def __init__(self, source: Source) -> None:
        import duckdb

        self.source = source
        self._connection = duckdb.connect(":memory:")
        try:
            self._prepare()
            self.counts = self._count()
        except duckdb.Error as error:
            self.close()
            raise InputError(
                f"the flights in {source.flights} cannot be converted: {str(error).splitlines()[0]}"
            ) from None
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        connection = self._connection
        # Nothing here needs an extension beyond the built-in ones, and none may be downloaded.
        connection.execute(
            "set TimeZone = 'UTC'; set enable_progress_bar = false; "
            "set autoinstall_known_extensions = false;"
        )
        connection.execute(_MACROS)
        connection.execute(_EVENT_IDS)
        read(connection, self.source)
        connection.execute(_ZONES)
        connection.executemany(
            "insert into zones select $1, $2, true where $1 not in (select faa from zones)",
            list(MISSING_ZONES.items()),
        )
        file = self.source.flights
        check_flights(connection, first=self.source.first, last=self.source.last, file=file)
        connection.execute(_TIMED)
        check_times(connection, file=file)
        connection.execute("drop table flights")

    def _count(self) -> dict[str, int]:
        cursor = self._connection.execute(_COUNTS)
        names = [column[0] for column in cursor.description or ()]
        return dict(zip(names, cursor.fetchall()[0], strict=True))

    def zones_added(self) -> dict[str, int]:
        """Return how many flights go to each airport whose zone airports.csv lacks."""
        rows = self._connection.execute(
            "select dest, count(*) from timed where added group by dest order by dest"
        ).fetchall()
        return dict(rows)

    def __len__(self) -> int:
        """Return how many events there are."""
        counts = self.counts
        return 2 * counts["flights"] + counts["arrived"]

    def events(self, *, day: date | None = None) -> Iterator[tuple[str, NewEvent]]:
        """Yield pairs of a stream id and an event, in the order in which they happened.

        Args:
            day: only the flights of this day in New York; their arrivals may be on the next.
        """
        relation = self._connection.sql(_EVENTS, params=[day])
        for batch in relation.to_arrow_reader(_BATCH):
            yield from _decode(batch)

    def close(self) -> None:
        """Free the tables; closing again does nothing."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _decode(batch: Any) -> Iterator[tuple[str, NewEvent]]:
    """Build the events of one Arrow batch.

    A million pydantic models would take several times as long as these plain dicts; a test proves
    that they are what the models would give.
    """
    seconds, occurred_at = 0, datetime.fromtimestamp(0, UTC)
    for (
        type_name,
        stream_id,
        second,
        event_id,
        origin,
        dest,
        carrier,
        flight,
        tailnum,
        distance,
        delay,
        air_time,
        scheduled_departure,
        scheduled_arrival,
    ) in zip(*(_values(column) for column in batch.columns), strict=True):
        if second != seconds:
            seconds, occurred_at = second, datetime.fromtimestamp(second, UTC)
        data: dict[str, Any] = {"origin": origin, "dest": dest}
        metadata = _REPORTED
        if type_name == "FlightScheduled":
            metadata = _SCHEDULED
            data["carrier"] = carrier
            data["flight"] = flight
            data["tailnum"] = tailnum
            data["distance_miles"] = distance
            data["scheduled_departure"] = scheduled_departure
            data["scheduled_arrival"] = scheduled_arrival
        elif type_name == "FlightArrived":
            data["scheduled_arrival"] = scheduled_arrival
            data["delay_minutes"] = delay
            data["air_minutes"] = air_time
        else:
            data["scheduled_departure"] = scheduled_departure
            if type_name == "FlightDeparted":
                data["delay_minutes"] = delay
            else:
                metadata = _CANCELLED
        yield (
            stream_id,
            NewEvent(type_name, data, uuid.UUID(int=int(event_id, 16)), (), occurred_at, metadata),
        )


def _values(column: Any) -> list[Any]:
    # numpy makes Python objects four times as fast as Arrow, but turns integers with nulls into
    # floats.
    if column.null_count and str(column.type).startswith("int"):
        return list(column.to_pylist())
    return list(column.to_numpy(zero_copy_only=False).tolist())
