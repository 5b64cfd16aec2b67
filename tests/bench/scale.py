"""What a large file costs: importing it, opening it, its read side, one stream of it, and memory.

Each part runs in a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from flights import FLIGHTS, Airports, AirportsOfColumns

from eslab import AsOf, Lab, NewEvent, Saga, Skip, Step, StepContext, StreamFold, open_store
from eslab.interop.flights import (
    DelayByAirportHour,
    FlightArrived,
    FlightDeparted,
    import_year,
)
from eslab.simulation.explore import Exploration
from eslab.simulation.explore import explore as run_explore
from eslab.simulation.faults import STEP_FAULTS
from eslab.simulation.scenarios import orders
from eslab.store.duckdb import DuckDBStore
from eslab.store.duckdb.hot import Heads

EVENTS_A_STREAM = 10


@dataclass(frozen=True)
class Fact:
    """Something measured once, and what it should be at most.

    Attributes:
        what: what was measured.
        found: how much.
        unit: of what.
        target: the most it should be; None if nothing was said.
    """

    what: str
    found: float
    unit: str
    target: float | None = None

    def cells(self) -> tuple[str, str, str, str]:
        """Return the row of a table."""
        target = "" if self.target is None else f"{self.target:,.4g} {self.unit}"
        reached = "" if self.target is None else "reached"
        if self.target is not None and self.found > self.target:
            reached = "falls short"
        return self.what, f"{self.found:,.4g} {self.unit}", target, reached


SYNTHETIC = ("heads", "bulk", "branches", "reading")
"""Parts about events with given ids, ten a stream."""

FLIGHTS_YEAR = ("year", "states", "steps", "rebuild")
"""Parts about a year of flights."""

EXPLORATION = ("explore",)
"""The part about the faults of a saga of so many steps."""

SAGAS = ("sagas",)
"""The part about so many sagas at once."""


def measure(place: Path, parts: Sequence[str], *, events: int, module: str = "scale") -> list[Fact]:
    """Make a file of so many events, and look at what that made.

    Args:
        place: where to make it.
        parts: the functions that do so, each in a process of its own.
        events: how many.
        module: where these functions are.
    """
    facts = []
    for part in parts:
        code = f"import sys, {module}; {module}.{part}(sys.argv[1], int(sys.argv[2]))"
        finished = subprocess.run(
            [sys.executable, "-c", code, str(place / f"{events}.duckdb"), str(events)],
            cwd=Path(__file__).parent,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        facts += [Fact(*fact) for fact in json.loads(finished.stdout)]
    return facts


def _megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def heads(path: str, events: int) -> None:
    """Print what the heads of a million streams take in memory."""
    names = (f"counter-{number}" for number in range(1_000_000))
    before = _megabytes()
    held = Heads.of(list(names), np.ones(1_000_000), np.arange(1_000_000))
    facts = [("memory of the heads of 1,000,000 streams", _megabytes() - before, "MB", 200)]
    print(json.dumps(facts))
    assert len(held) == 1_000_000


def bulk(path: str, events: int) -> None:
    """Import, and print what it took; what the first million leaves is the constant of memory."""

    def pairs(start: int, end: int) -> Iterator[tuple[str, NewEvent]]:
        for number in range(start, end):
            event = NewEvent("Counted", {"n": number}, UUID(int=number * 0x9E3779B97F4A7C15))
            yield f"counter-{number // EVENTS_A_STREAM}", event

    peak = 0.0

    def look() -> None:
        nonlocal peak
        peak = max(peak, _megabytes())

    first = min(events, 1_000_000)
    seconds = 0.0
    held = []
    with open_store(path) as store:
        assert isinstance(store, DuckDBStore)
        store.listen(look)
        for start, end in ((1, first + 1), (first + 1, events + 1)):
            begun = time.perf_counter()
            store.import_events(pairs(start, end), total=end - start)
            seconds += time.perf_counter() - begun
            store.compact()  # as it does every million events, and when nobody appends
            held.append(_megabytes())
    facts: list[tuple[str, float, str, float | None]] = [
        ("import with given ids", seconds / events * 1e6, "us an event", None),
        ("size of the file", Path(path).stat().st_size / events, "bytes an event", None),
        (f"memory after {first:,} events, the libraries included", held[0], "MB", None),
    ]
    if rest := events - first:
        allowed = rest / 1e6 * (8 + 200 / EVENTS_A_STREAM)
        grown = held[1] - held[0]
        facts.append((f"memory that {rest:,} more events added", grown, "MB", allowed))
    facts.append(("memory at most, while a batch was made", peak, "MB", None))
    print(json.dumps(facts))


def branches(path: str, events: int) -> None:
    """Make branches of the file, and print what they took."""
    facts = []
    with Lab(path) as lab:
        lab.branch().close()  # what is imported for the first one
        before = _megabytes()
        for where, at in (("at the head", events), ("in the middle", events // 2), ("at 0", 0)):
            made, asked, appended = [], [], []
            for number in range(5):
                begun = time.perf_counter()
                with lab.branch(at=at) as branch:
                    made.append(_since(begun))
                    stream, event = f"counter-{number * 7919 % 1_000}", NewEvent("Counted", {})
                    write = partial(branch.store.append, stream, [event])
                    appended.append(_seconds(write))
                    asked.append(_seconds(lambda: branch.sql("select count(*) from events")))
            facts += [
                (f"a branch {where}: made", statistics.median(made) * 1e3, "ms", 10),
                ("its first append", statistics.median(appended) * 1e3, "ms", None),
                ("its events counted by SQL", statistics.median(asked) * 1e3, "ms", None),
            ]
        facts.append(("memory that 15 branches left", _megabytes() - before, "MB", None))
        begun = time.perf_counter()
        with lab.branch(Skip(events // 2)) as branch:
            facts.append(("a branch without the event in the middle", _since(begun), "s", None))
            assert branch.store.head() == events - 1
    print(json.dumps(facts))


STATES = StreamFold(
    "select position, stream_id, version, occurred_at, delay_minutes as delay from flight_departed "
    "union all "
    "select position, stream_id, version, occurred_at, delay_minutes from flight_arrived",
    state={"events": "count(*)", "delay": "last(delay)", "most": "max(delay)"},
    events=(FlightDeparted, FlightArrived),
)


def year(path: str, events: int) -> None:
    """Import a year of flights, and make the tables of its types."""
    with Lab(path) as lab:
        import_year(lab.store, progress=False)
        lab.register(*FLIGHTS)
        begun = time.perf_counter()
        lab.store.refresh([event.event_type for event in FLIGHTS])
        typed = time.perf_counter() - begun
        assert lab.store.head() == events
    print(json.dumps([("typed columns built", typed / events * 1e6, "us an event", None)]))


def states(path: str, events: int) -> None:
    """Fold all streams in SQL, and print what it took."""
    with Lab(path) as lab:
        lab.register(*FLIGHTS)
        at = AsOf(position=events)
        last = [_seconds(lambda: lab.states(STATES, as_of=at)) for _ in range(5)]
        every = [_seconds(lambda: lab.states(STATES, as_of=at, every=True)) for _ in range(5)]
        count = len(lab.states(STATES, as_of=at, every=True))
    facts = [
        (f"states of all streams at position {events:,}", statistics.median(last) * 1e3, "ms", 200),
        (
            f"states after every event, {count:,} of them",
            statistics.median(every) / count * 1e6,
            "us a state",
            1,
        ),
    ]
    print(json.dumps(facts))


def steps(path: str, events: int) -> None:
    """Project a few more events, and print what it took."""
    facts = []
    with Lab(path) as lab:
        lab.register(*FLIGHTS)
        more = next(lab.typed_events(types=[FlightDeparted]))
        for projection in (Airports(), AirportsOfColumns()):
            lab.project(projection)
            lab.run()
            for size, target in ((1, 10), (10_000, 50)):
                found = []
                for number in range(9):
                    stream = f"flight-more-{projection.name}-{size}-{number}"
                    lab.append(stream, [more.event] * size)
                    found.append(_seconds(lab.run))
                what = f"{type(projection).__name__}: {size:,} more events"
                facts.append((what, statistics.median(found) * 1e3, "ms", target))
            lab.pause(projection.name)
    print(json.dumps(facts))


def rebuild(path: str, events: int) -> None:
    """Rebuild read models, and print what memory the process took at most, all included."""
    facts = []
    with Lab(path) as lab:
        lab.register(*FLIGHTS)
        for projection in (Airports(), DelayByAirportHour(), AirportsOfColumns()):
            lab.project(projection)
            seconds = _seconds(lambda name=projection.name: lab.rebuild(name))
            what = f"{type(projection).__name__}: a rebuild of {events:,} events"
            facts.append((what, seconds, "s", None))
    # Not ru_maxrss, which a process begins with that of the one that started it.
    status = Path("/proc/self/status").read_text()
    most = int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    facts.append(("memory at most, of the process and all three rebuilds", most, "MB", 1_000))
    print(json.dumps(facts))


def explore(path: str, steps: int) -> None:
    """Print what it takes to try every fault at every step of a saga, in fresh laboratories."""
    timeout = timedelta(seconds=5)
    names = [f"step_{number}" for number in range(steps)]
    saga = Saga("many", [Step(name, _nothing, _nothing, timeout=timeout) for name in names])

    def make_lab(**options: Any) -> Lab:
        lab = Lab(**options)
        lab.register(saga)
        return lab

    found: list[Exploration] = []
    spent = _seconds(lambda: found.append(run_explore(saga, make_lab, progress=False)))
    runs = len(found[0].outcomes)
    made = _seconds(lambda: [make_lab(seed=0).close() for _ in range(100)])
    found[0].require()
    tried = f"{steps} steps x {len(STEP_FAULTS)} faults, executed and undone: {runs} laboratories"
    facts = [
        (tried, spent, "s", 5),
        ("a laboratory, made and closed", made * 10, "ms", None),
        ("a laboratory, and a saga run in it", spent / runs * 1e3, "ms", None),
    ]
    print(json.dumps(facts))


def sagas(path: str, count: int) -> None:
    """Print what so many orders take that are placed at once, of which each seventh is refused."""
    with Lab(seed=7) as lab:
        lab.register(*orders.AGGREGATES, orders.order_fulfilment)
        for article in range(100):
            lab.execute(orders.ReceiveStock(article=f"{article}", quantity=count // 50))
        for number in range(count):
            lab.execute(
                orders.PlaceOrder(
                    order_id=f"{number}",
                    article=f"{number % 100}",
                    quantity=1,
                    customer=f"{number % (count // 4)}",
                    amount=30,
                    destination="Boston" if number % 7 else "Atlantis",
                )
            )
        before = _megabytes()
        spent = _seconds(lambda: lab.run(progress=False))
        events, grown = lab.store.head(), _megabytes() - before
        assert orders.check_orders(lab.store) == []
    facts = [
        (f"{count:,} order sagas at once, in memory: {events:,} events", spent, "s", 30),
        ("a saga of five steps", spent / count * 1e3, "ms", None),
        ("memory that this took", grown, "MB", None),
    ]
    print(json.dumps(facts))


def _nothing(step: StepContext) -> None:
    """Do what a step does that takes no time."""


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return _since(begun)


def _since(begun: float) -> float:
    return time.perf_counter() - begun


def _seconds_to_read(store: DuckDBStore, stream_id: str) -> float:
    begun = time.perf_counter()
    assert len(list(store.read(stream_id))) >= EVENTS_A_STREAM - 1
    return time.perf_counter() - begun


def reading(path: str, events: int) -> None:
    """Open the file, read streams of it, and print what it took."""
    before = _megabytes()
    begun = time.perf_counter()
    store = open_store(path)
    opened = time.perf_counter() - begun
    assert isinstance(store, DuckDBStore)
    streams = events // EVENTS_A_STREAM
    heads = _megabytes() - before
    numbers = [number * 7919 % streams for number in range(1, 101)]
    cold, hot = (
        [_seconds_to_read(store, f"counter-{number}") for number in numbers] for _ in range(2)
    )
    begun = time.perf_counter()
    frame = store.sql(f"select * from events where position <= {min(events, 1_000_000)}").df()
    to_frame = time.perf_counter() - begun
    begun = time.perf_counter()
    head = store.head()
    assert store.append("counter-1", [NewEvent("Counted", {}, UUID(int=7))]).position == head + 1
    given = time.perf_counter() - begun
    facts = [
        (f"open, with {streams:,} streams", opened, "s", 2.0),
        ("memory of the open store, DuckDB's own included", heads, "MB", None),
        ("one stream of 10 events, first time", statistics.median(cold) * 1e3, "ms", None),
        ("one stream of 10 events, again", statistics.median(hot) * 1e3, "ms", None),
        (f"the first {len(frame):,} events to a DataFrame", to_frame, "s", None),
        ("the first append of an event with a given id", given * 1e3, "ms", None),
    ]
    print(json.dumps(facts))
    store.close()
