"""The peers' side of each contest: `eventsourcing`, raw SQLite, and the disk itself.

`eventsourcing` is used as its documentation shows; raw SQLite makes one durable transaction of each
append, under a lock.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from uuid import uuid4

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from ours import in_threads

Work = Callable[[], object]


class Dog(Aggregate):
    """The first example of the library's own tutorial."""

    @event("Registered")
    def __init__(self, name: str) -> None:
        self.name = name

    @event("Named")
    def rename(self, name: str) -> None:
        """Take another name."""
        self.name = name


def _save(app: Application, count: int) -> Work:
    def work() -> None:
        for _ in range(count):
            app.save(Dog(name="Fido"))

    return work


def save_popo(count: int, place: Path) -> Work:
    return _save(Application(), count)


def _sqlite(place: Path) -> Application:
    return Application(
        env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(place / "es.db")}
    )


def save_sqlite(count: int, place: Path) -> Work:
    return _save(_sqlite(place), count)


def _command(app: Application, count: int) -> Work:
    """Load each of many dogs that have ten events, ask it, and save it."""
    _fill(app, 10 * count)
    ids = [event.originator_id for event in _created(app, 10 * count)]

    def work() -> None:
        for id in ids:
            dog = app.repository.get(id)
            dog.rename("Rex")
            app.save(dog)

    assert len(ids) == count
    return work


def _created(app: Application, count: int) -> list[Dog.Created]:
    stored = app.recorder.select_notifications(start=None, limit=count)
    return [
        event for event in map(app.mapper.to_domain_event, stored) if event.originator_version == 1
    ]


def command_popo(count: int, place: Path) -> Work:
    return _command(Application(), count)


def command_sqlite(count: int, place: Path) -> Work:
    return _command(_sqlite(place), count)


def sync(count: int, place: Path) -> Work:
    """Write a small block into a file that has its size already, and wait for the disk."""
    file = os.open(place / "blocks", os.O_CREAT | os.O_RDWR)
    os.pwrite(file, b"x" * 4096 * 1024, 0)
    os.fsync(file)

    def work() -> None:
        for number in range(count):
            os.pwrite(file, b"y" * 300, number % 1024 * 4096)
            os.fdatasync(file)
        os.close(file)

    return work


def save_threads(count: int, place: Path) -> Work:
    connection = sqlite3.connect(
        place / "raw.db", isolation_level=None, check_same_thread=False, timeout=60
    )
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute(
        "create table events(position integer primary key, stream text, version integer, "
        "data text, unique (stream, version))"
    )
    lock = Lock()
    versions: Counter[int] = Counter()

    def save(thread: int) -> None:
        with lock:
            versions[thread] += 1
            connection.execute(
                "insert into events(stream, version, data) values (?, ?, ?)",
                (f"dog-{thread}", versions[thread], '{"name":"Fido"}'),
            )

    return lambda: in_threads(count, save)


def _fill(app: Application, count: int) -> None:
    """Save `count` events, ten a dog, a hundred dogs in a transaction."""
    dogs = []
    for number in range(count // 10):
        dog = Dog(name=f"name {number % 50}")
        for other in range(9):
            dog.rename(f"name {(number + other) % 50}")
        dogs.append(dog)
        if len(dogs) == 100:
            app.save(*dogs)
            dogs.clear()
    app.save(*dogs)


def import_sqlite(count: int, place: Path) -> Work:
    app = _sqlite(place)
    return lambda: _fill(app, count)


def _filled(count: int) -> Application:
    app = Application(env={"APPLICATION_NAME": f"bench-{uuid4()}"})
    _fill(app, count)
    return app


def replay_popo(count: int, place: Path) -> Work:
    app = _filled(count)

    def work() -> None:
        stored = app.recorder.select_notifications(start=None, limit=count)
        assert sum(1 for _ in map(app.mapper.to_domain_event, stored)) == count

    return work
