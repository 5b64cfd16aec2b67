"""A process that appends from several threads until somebody kills it, and says what it was told.

Run as ``python crashing.py FILE SEED``. It writes ``opening`` before it opens the store, and then a
line of JSON for each append that was acknowledged, after it was.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import traceback
import uuid
from typing import Any

from eslab import NewEvent, StreamAppend, open_store

SMALL = {
    "database.PAGE": 7,
    "store.FLUSH_EVENTS": 12,
    "store.FULL_EVENTS": 40,
    "flusher.IDLE": 0.002,
    "hot.RUN": 16,
    "journal.ROTATE_EVENTS": 15,
}
"""Limits so small that flushing, rotation and compaction go on all the time."""


def shrink() -> None:
    """Set the small limits in this process."""
    for place, limit in SMALL.items():
        module, name = place.split(".")
        setattr(sys.modules[f"eslab.store.duckdb.{module}"], name, limit)


def events(operation: str, streams: list[str]) -> list[tuple[str, NewEvent]]:
    """Return the events of an operation, a stream for each; all of them say what they are of."""
    given = random.Random(operation).random() < 0.5
    return [
        (
            stream,
            NewEvent(
                "Counted",
                {"operation": operation, "index": index, "of": len(streams)},
                uuid.uuid5(uuid.NAMESPACE_URL, f"{operation}/{index}") if given else None,
                tags=(operation,),
            ),
        )
        for index, stream in enumerate(streams)
    ]


class Writer:
    """One thread's work."""

    def __init__(self, store: Any, seed: int, name: int) -> None:
        self.store = store
        self.name = f"{seed}.{name}"
        self.chance = random.Random(f"crashing {self.name}")
        self.own = f"own-{self.name}"
        self.version = 0

    def run(self) -> None:
        number = 0
        while True:
            number += 1
            work = self.chance.choice([self.one, self.one, self.several, self.many, self.other])
            work(f"{self.name}.{number}")

    def one(self, operation: str) -> None:
        (pair,) = events(operation, [self.own])
        append = lambda: self.store.append(self.own, [pair[1]], expected_version=self.version)  # noqa: E731
        self.say(operation, [self.own], append().position)
        self.version += 1
        if pair[1].event_id is not None:
            assert append().duplicate

    def several(self, operation: str) -> None:
        streams = [self.own, *(f"shared-{self.chance.randrange(4)}" for _ in range(4))]
        items = [StreamAppend(stream, [event]) for stream, event in events(operation, streams)]
        self.say(operation, streams, self.store.append_all(items)[-1].position)
        self.version += 1

    def many(self, operation: str) -> None:
        """Sometimes more than fits into a group: then it goes to the database directly."""
        streams = [f"shared-{self.chance.randrange(4)}"] * self.chance.randrange(2, 20)
        pairs = events(operation, streams)
        if self.chance.random() < 0.5:
            self.store.import_events(pairs, progress=False)
            self.say(operation, streams, None)
        else:
            result = self.store.append(streams[0], [event for _, event in pairs])
            self.say(operation, streams, result.position)

    def other(self, operation: str) -> None:
        match self.chance.randrange(4):
            case 0:
                self.store.flush()
            case 1:
                self.store.compact()
            case 2:
                count, head = self.store.sql(
                    "select count(*), coalesce(max(position), 0) from events"
                ).fetchall()[0]
                assert count == head
            case _:
                assert self.store.stream_version(self.own) == self.version

    def say(self, operation: str, streams: list[str], position: int | None) -> None:
        line = json.dumps({"operation": operation, "streams": streams, "position": position})
        os.write(1, f"{line}\n".encode())


def main(path: str, seed: int) -> None:
    import eslab.store.duckdb.store  # noqa: F401 - its limits are made small

    shrink()
    os.write(1, b"opening\n")
    store = open_store(path)

    def run(writer: Writer) -> None:
        try:
            writer.run()
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    for name in range(4):
        threading.Thread(target=run, args=(Writer(store, seed, name),)).start()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
