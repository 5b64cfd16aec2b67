"""eslab's side of each contest: a function that prepares, and returns the work to measure."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from eslab import Aggregate, Event, Lab, MemoryStore, Projection, Row, Rows, applies, on, open_store
from eslab.aggregates import Repository
from eslab.schema import EventRegistry, encode
from eslab.store import EventStore

Work = Callable[[], object]
logging.disable(logging.WARNING)


class Registered(Event):
    """As large as an event of the peer."""

    name: str


class Named(Event):
    """As large as an event of the peer."""

    name: str


class Dog(Aggregate):
    """The peer's own example."""

    name: str = ""

    @applies
    def registered(self, event: Registered) -> None:
        """Begin with a name."""
        self.name = event.name

    @applies
    def named(self, event: Named) -> None:
        """Take another name."""
        self.name = event.name


class Count(Row, key=("name",)):
    """How often a name was given."""

    name: str
    count: int = 0


class Names(Projection):
    """What both sides project."""

    row = Count
    batch = 5_000

    @on
    def named(self, event: Named, rows: Rows[Count]) -> None:
        """Count a name."""
        rows.ensure(name=event.name).count += 1


def _save(store: EventStore, count: int) -> Work:
    repository = Repository(store, EventRegistry())

    def work() -> None:
        for number in range(count):
            dog = Dog(str(number))
            dog.record(Registered(name="Fido"))
            repository.save(dog)

    return work


def save_in_memory(count: int, place: Path) -> Work:
    return _save(MemoryStore(), count)


def save_duckdb(count: int, place: Path) -> Work:
    return _save(open_store(), count)


def save_file(count: int, place: Path) -> Work:
    return _save(open_store(place / "store.duckdb"), count)


def import_file(count: int, place: Path) -> Work:
    store = open_store(place / "store.duckdb")

    def work() -> None:
        events = (
            (f"dog-{number // 10}", encode(Named(name=f"name {number % 50}")))
            for number in range(count)
        )
        store.import_events(events, progress=False)

    return work


def _filled(count: int) -> Lab:
    lab = Lab(seed=7)
    lab.register(Named)
    lab.store.import_events(
        (
            (f"dog-{number // 10}", encode(Named(name=f"name {number % 50}")))
            for number in range(count)
        ),
        progress=False,
    )
    return lab


def replay_objects(count: int, place: Path) -> Work:
    lab = _filled(count)

    def work() -> None:
        assert sum(1 for _ in map(lab.registry.decode, lab.store.read_all())) == count

    return work


def replay_frame(count: int, place: Path) -> Work:
    lab = _filled(count)

    def work() -> None:
        assert len(lab.sql("select * from events order by position").df()) == count

    return work


def project(count: int, place: Path) -> Work:
    lab = _filled(count)
    lab.project(Names())

    def work() -> None:
        lab.run()
        assert lab.sql("select sum(count) from names").scalar() == count

    return work
