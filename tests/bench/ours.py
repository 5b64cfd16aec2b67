"""eslab's side of each contest: a function that prepares, and returns the work to measure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

from eslab import (
    Aggregate,
    Command,
    Event,
    Lab,
    MemoryStore,
    NewEvent,
    applies,
    handles,
    open_store,
)
from eslab.aggregates import Repository
from eslab.schema import EventRegistry
from eslab.store import EventStore
from eslab.store.duckdb import DuckDBStore

Work = Callable[[], object]
logging.disable(logging.WARNING)


class Registered(Event):
    """As large as an event of the peer."""

    name: str


class Named(Event):
    """As large as an event of the peer."""

    name: str


class Rename(Command):
    """What is asked of a dog."""

    dog_id: str
    name: str


class Dog(Aggregate):
    """The peer's own example."""

    name: str = ""

    @handles
    def rename(self, command: Rename) -> None:
        """Take another name."""
        self.record(Named(name=command.name))

    @applies
    def registered(self, event: Registered) -> None:
        """Begin with a name."""
        self.name = event.name

    @applies
    def named(self, event: Named) -> None:
        """Take another name."""
        self.name = event.name


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


def open_file(place: Path) -> DuckDBStore:
    """Open a store that has had its first append, which makes the journal."""
    store = open_store(place / "store.duckdb")
    assert isinstance(store, DuckDBStore)
    _opened.append(store)
    store.append("first-1", [NewEvent("First", {})])
    return store


def close_all() -> None:
    """Close what was opened, before its folder is removed and others are measured."""
    while _opened:
        _opened.pop().close()


def save_file(count: int, place: Path) -> Work:
    return _save(open_file(place), count)


def _command(lab: Lab, count: int, *, flushed: bool = False) -> Work:
    """Let a command be carried out by each of many dogs that have ten events."""
    _opened.append(lab.store)
    lab.register(Dog)
    for number in range(count):
        names = [Named(name=f"name {other}") for other in range(9)]
        lab.append(f"dog-{number}", [Registered(name="Fido"), *names])
    if flushed:  # and what is imported takes the place of what was kept in memory
        lab.store.import_events([("cat-1", Registered(name="Tom"))], progress=False)

    def work() -> None:
        for number in range(count):
            lab.execute(Rename(dog_id=str(number), name="Rex"))

    return work


def command_in_memory(count: int, place: Path) -> Work:
    return _command(Lab(), count)


def command_flushed(count: int, place: Path) -> Work:
    return _command(Lab(), count, flushed=True)


def command_file(count: int, place: Path) -> Work:
    return _command(Lab(place / "store.duckdb"), count)


class Counter(Aggregate, snapshot_every=1_000):
    """Has very many events."""

    total: int = 0

    @applies
    def named(self, event: Named) -> None:
        """Count."""
        self.total += 1


def _load_long(place: Path, *, snapshot: bool) -> Work:
    store = open_file(place)
    repository = Repository(store, EventRegistry(), cache=0)
    counter = Counter("1")
    for number in range(100):
        for other in range(1_000):
            counter.record(Named(name=f"name {number} {other}"))
        repository.save(counter)
    store.flush()
    if not snapshot:
        store.snapshots.delete()

    def work() -> None:
        assert repository.load(Counter, "1").total == 100_000

    return work


def load_with_snapshot(count: int, place: Path) -> Work:
    return _load_long(place, snapshot=True)


def load_without_snapshot(count: int, place: Path) -> Work:
    return _load_long(place, snapshot=False)


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
