"""eslab's side of each contest: a function that prepares, and returns the work to measure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

from eslab import (
    Aggregate,
    Event,
    Lab,
    MemoryStore,
    NewEvent,
    Projection,
    Row,
    Rows,
    applies,
    on,
    open_store,
)
from eslab.aggregates import Repository
from eslab.schema import EventRegistry
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
    _opened.append(open_store())
    return _save(_opened[-1], count)


_opened: list[EventStore] = []


def open_file(place: Path) -> EventStore:
    """Open a store that has had its first append, which makes the journal."""
    store = open_store(place / "store.duckdb")
    _opened.append(store)
    store.append("first-1", [NewEvent("First", {})])
    return store


def close_all() -> None:
    """Close what was opened, before its folder is removed and others are measured."""
    while _opened:
        _opened.pop().close()


def save_file(count: int, place: Path) -> Work:
    return _save(open_file(place), count)


def save_threads(count: int, place: Path) -> Work:
    store = open_file(place)
    data = {"name": "Fido"}

    def work() -> None:
        in_threads(count, lambda thread: store.append(f"dog-{thread}", [NewEvent("Named", data)]))

    return work


def in_threads(count: int, save: Callable[[int], object], *, threads: int = 16) -> None:
    """Call `save` with the number of the thread, `count` times over all threads."""

    def run(thread: int) -> None:
        for _ in range(count // threads):
            save(thread)

    workers = [Thread(target=run, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def import_file(count: int, place: Path) -> Work:
    store = open_file(place)

    def work() -> None:
        store.import_events(_named(count), progress=False)

    return work


def _named(count: int) -> Iterator[tuple[str, Named]]:
    for number in range(count):
        yield f"dog-{number // 10}", Named(name=f"name {number % 50}")


def _filled(count: int) -> Lab:
    lab = Lab(seed=7)
    _opened.append(lab.store)
    lab.register(Named)
    lab.store.import_events(_named(count), progress=False)
    return lab


def replay_objects(count: int, place: Path) -> Work:
    lab = _filled(count)

    def work() -> None:
        assert sum(1 for _ in lab.typed_events()) == count

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
