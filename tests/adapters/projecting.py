"""A process that appends and projects on threads, and rebuilds, until somebody kills it.

Run as ``python projecting.py FILE SEED``. It writes a line for each thing that it is about to do.
"""

from __future__ import annotations

import random
import sys
import threading
import time
import traceback
from typing import Any, ClassVar

from eslab import Event, Lab, Projection, Row, Rows, SqlProjection, on
from eslab.projections import AnyProjection


class Counted(Event):
    key: str
    by: int


class Other(Event):
    pass


class Total(Row, key="key"):
    key: str
    total: int = 0
    events: int = 0


class Step(Row, key=("key", "number")):
    key: str
    number: int
    by: int = 0


class StepTotal(Total):
    pass


class Totals(Projection):
    """One row for each key."""

    row = Total
    batch = 5

    @on
    def counted(self, event: Counted, rows: Rows[Total]) -> None:
        row = rows.ensure(key=event.key)
        row.total, row.events = row.total + event.by, row.events + 1


class Few(Totals):
    """The same of a few streams, in batches of one."""

    name = "few"
    category = "few"
    batch = 1


class Parking(Totals):
    """The same, but for some events that it parks, and all behind them in their streams."""

    name = "parking"
    on_error = "dead-letter"
    batch = 7

    @on
    def counted(self, event: Counted, rows: Rows[Total]) -> None:
        row = rows.ensure(key=event.key)
        row.total, row.events = row.total + event.by, row.events + 1
        if event.by == 13:
            raise ValueError("13 is too much")


class Steps(Projection):
    """A row for each event, and one for each key, in two tables; some rows are deleted."""

    tables = (Step, StepTotal)
    batch = 20

    @on
    def counted(self, event: Counted, steps: Rows[Step], totals: Rows[StepTotal]) -> None:
        row = totals.ensure(key=event.key)
        row.total, row.events = row.total + event.by, row.events + 1
        steps.put(Step(key=event.key, number=row.events, by=event.by))
        steps.delete(key=event.key, number=row.events - 10)


class Sums(SqlProjection):
    """The rows of `Totals`, in SQL."""

    key = "key"
    query = 'select key, sum("by") as total, count(*) as events from counted group by key'
    merge: ClassVar = {"total": "sum", "events": "count"}
    events = (Counted,)


KINDS: tuple[type[AnyProjection], ...] = (Totals, Few, Parking, Steps, Sums)


LOCK = threading.Lock()


def say(what: str) -> None:
    with LOCK:
        print(what, flush=True)


def append(lab: Lab, name: str) -> None:
    """Append for ever, now and then many at once."""
    chance = random.Random(name)
    while True:
        events: list[Any] = [
            Counted(key=chance.choice("abcdef"), by=chance.randrange(1, 14)) if at % 3 else Other()
            for at in range(chance.choice([1, 1, 2, 9]))
        ]
        category = chance.choice(["counter", "counter", "few"])
        lab.append(f"{category}-{chance.randrange(40)}", events)
        say("appended")
        time.sleep(0.005)


def main() -> None:
    path, seed = sys.argv[1:]
    chance = random.Random(f"projecting {seed}")
    say("opening")
    with Lab(path) as lab:
        lab.project(*[kind() for kind in KINDS])
        lab.start()
        for number in range(2):
            threading.Thread(target=append, args=(lab, f"{seed}.{number}"), daemon=True).start()
        while True:
            name = chance.choice(KINDS).name
            say(f"rebuilding {name}")
            lab.rebuild(name, on_error="dead-letter", progress=False)


if __name__ == "__main__":
    try:
        main()
    except BaseException:
        traceback.print_exc()
        raise
