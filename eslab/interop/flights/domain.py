"""What happens to a flight, as events, and the flight itself as an aggregate."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import AwareDatetime

from eslab.aggregates import Aggregate, applies
from eslab.errors import DomainError
from eslab.events import Event

__all__ = ["Flight", "FlightArrived", "FlightCancelled", "FlightDeparted", "FlightScheduled"]


class FlightScheduled(Event):
    """An airline plans to fly from one airport to another.

    Attributes:
        carrier: the airline's code of two letters or digits.
        flight: the flight's number.
        tailnum: the aircraft's registration, where it is known.
        origin: the airport of the departure.
        dest: the airport of the arrival.
        distance_miles: between the airports, in miles.
        scheduled_departure: in UTC.
        scheduled_arrival: in UTC.
    """

    carrier: str
    flight: int
    tailnum: str | None
    origin: str
    dest: str
    distance_miles: int
    scheduled_departure: AwareDatetime
    scheduled_arrival: AwareDatetime


class FlightDeparted(Event):
    """The aircraft left its gate.

    Attributes:
        origin: the airport of the departure.
        dest: the airport that it leaves for.
        scheduled_departure: when it should have, in UTC.
        delay_minutes: how much later it did; below 0 if it left early.
    """

    origin: str
    dest: str
    scheduled_departure: AwareDatetime
    delay_minutes: int


class FlightArrived(Event):
    """The aircraft reached the gate at its destination.

    Attributes:
        origin: the airport that it comes from.
        dest: the airport of the arrival.
        scheduled_arrival: when it should have, in UTC.
        delay_minutes: how much later it did; below 0 if it came early, None if it was diverted to
            another airport on the way.
        air_minutes: how long it was in the air; None if it was diverted.
    """

    origin: str
    dest: str
    scheduled_arrival: AwareDatetime
    delay_minutes: int | None
    air_minutes: int | None


class FlightCancelled(Event):
    """The flight never departed.

    Attributes:
        origin: the airport that it should have left.
        dest: the airport that it should have left for.
        scheduled_departure: when it should have, in UTC.
    """

    origin: str
    dest: str
    scheduled_departure: AwareDatetime


class Flight(Aggregate):
    """A flight: planned, then departed and arrived, or cancelled.

    Its id is ``<date>-<carrier><number>-<origin>``. What happened is known by its delays, so the
    times of departure and arrival are computed from them; a diverted flight's arrival is not.

    Example:
        >>> from datetime import UTC
        >>> flight = Flight("2013-01-01-UA1545-EWR")
        >>> flight.schedule(
        ...     carrier="UA",
        ...     flight=1545,
        ...     tailnum="N14228",
        ...     origin="EWR",
        ...     dest="IAH",
        ...     distance_miles=1400,
        ...     scheduled_departure=datetime(2013, 1, 1, 10, 15, tzinfo=UTC),
        ...     scheduled_arrival=datetime(2013, 1, 1, 14, 19, tzinfo=UTC),
        ... )
        >>> flight.depart(delay_minutes=2)
        >>> flight.status, flight.departed_at.isoformat()
        ('departed', '2013-01-01T10:17:00+00:00')
        >>> flight.cancel()
        Traceback (most recent call last):
        eslab.errors.DomainError: flight 2013-01-01-UA1545-EWR is departed: it cannot be cancelled
    """

    status: str = "unknown"
    carrier: str | None = None
    flight: int | None = None
    tailnum: str | None = None
    origin: str | None = None
    dest: str | None = None
    distance_miles: int | None = None
    scheduled_departure: datetime | None = None
    departed_at: datetime | None = None
    departure_delay: int | None = None
    scheduled_arrival: datetime | None = None
    arrived_at: datetime | None = None
    arrival_delay: int | None = None
    air_minutes: int | None = None
    diverted: bool = False

    def schedule(
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
        """Plan the flight; the arguments are the fields of `FlightScheduled`.

        Raises:
            DomainError: it is planned already, or would arrive before it departs.
        """
        if self.status != "unknown":
            raise self._refusal("scheduled")
        if scheduled_arrival <= scheduled_departure:
            raise DomainError(
                f"flight {self.id} cannot arrive at {scheduled_arrival.isoformat()}: it departs at "
                f"{scheduled_departure.isoformat()}"
            )
        self.record(
            FlightScheduled(
                carrier=carrier,
                flight=flight,
                tailnum=tailnum,
                origin=origin,
                dest=dest,
                distance_miles=distance_miles,
                scheduled_departure=scheduled_departure,
                scheduled_arrival=scheduled_arrival,
            )
        )

    def depart(self, *, delay_minutes: int) -> None:
        """Leave the gate, so many minutes after the scheduled departure (below 0: before it).

        Raises:
            DomainError: the flight is not waiting for its departure.
        """
        origin, dest, departure, _ = self._planned(status="scheduled", becomes="departed")
        self.record(
            FlightDeparted(
                origin=origin,
                dest=dest,
                scheduled_departure=departure,
                delay_minutes=delay_minutes,
            )
        )

    def arrive(self, *, delay_minutes: int | None = None, air_minutes: int | None = None) -> None:
        """Reach the gate, so many minutes after the scheduled arrival; None after a diversion.

        Raises:
            DomainError: the flight has not departed, or has arrived.
        """
        origin, dest, _, arrival = self._planned(status="departed", becomes="arrived")
        self.record(
            FlightArrived(
                origin=origin,
                dest=dest,
                scheduled_arrival=arrival,
                delay_minutes=delay_minutes,
                air_minutes=air_minutes,
            )
        )

    def cancel(self) -> None:
        """Give the flight up before it departs.

        Raises:
            DomainError: it is not planned, or has departed, or is cancelled already.
        """
        origin, dest, departure, _ = self._planned(status="scheduled", becomes="cancelled")
        self.record(FlightCancelled(origin=origin, dest=dest, scheduled_departure=departure))

    def _planned(self, *, status: str, becomes: str) -> tuple[str, str, datetime, datetime]:
        """Return origin, destination and scheduled times, if the flight has that status."""
        if (
            self.status != status
            or self.origin is None
            or self.dest is None
            or self.scheduled_departure is None
            or self.scheduled_arrival is None
        ):
            raise self._refusal(becomes)
        return self.origin, self.dest, self.scheduled_departure, self.scheduled_arrival

    def _refusal(self, becomes: str) -> DomainError:
        return DomainError(f"flight {self.id} is {self.status}: it cannot be {becomes}")

    @applies
    def on_scheduled(self, event: FlightScheduled) -> None:
        """Take over the plan."""
        self.status = "scheduled"
        self.carrier = event.carrier
        self.flight = event.flight
        self.tailnum = event.tailnum
        self.origin = event.origin
        self.dest = event.dest
        self.distance_miles = event.distance_miles
        self.scheduled_departure = event.scheduled_departure
        self.scheduled_arrival = event.scheduled_arrival

    @applies
    def on_departed(self, event: FlightDeparted) -> None:
        """Note when it left."""
        self.status = "departed"
        self.departure_delay = event.delay_minutes
        self.departed_at = event.scheduled_departure + timedelta(minutes=event.delay_minutes)

    @applies
    def on_arrived(self, event: FlightArrived) -> None:
        """Note when it came, which is not known of a diverted flight."""
        self.status = "arrived"
        self.arrival_delay = event.delay_minutes
        self.air_minutes = event.air_minutes
        self.diverted = event.delay_minutes is None
        if event.delay_minutes is not None:
            self.arrived_at = event.scheduled_arrival + timedelta(minutes=event.delay_minutes)

    @applies
    def on_cancelled(self, _event: FlightCancelled) -> None:
        """Note that it will not fly."""
        self.status = "cancelled"
