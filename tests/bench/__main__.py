"""Measures eslab against its peers, interleaved in one run: `make bench`.

Times depend on the machine and say little; the ratios are what counts. Each contest runs its
sides in turn, round after round, so that a slow moment of the machine hits both; the medians are
compared. A ratio that falls short of its target is printed like any other.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

import flights
import ours
import peers
import scale
from rich.console import Console
from rich.table import Table
from tqdm.auto import tqdm

ROUNDS = 5


@dataclass(frozen=True)
class Contest:
    """One piece of work, done by eslab and by a peer.

    Attributes:
        work: what is done.
        unit: what a time in microseconds is for.
        count: how many of it a round does.
        ours: makes the function that does it with eslab; what it makes is not measured.
        peer: the name of the peer.
        theirs: the same for the peer.
        target: how many times faster eslab is to be; None if nothing was said.
        ours_count: how many of it eslab does in a round, if not as many.
    """

    work: str
    unit: str
    count: int
    ours: Callable[[int, Path], Callable[[], object]]
    peer: str
    theirs: Callable[[int, Path], Callable[[], object]]
    target: float | None


CONTESTS = [
    Contest(
        "create and save 1 event, reference in memory", "append", 2_000,
        ours.save_in_memory, "eventsourcing POPO", peers.save_popo, 4,
    ),
    Contest(
        "create and save 1 event, DuckDB in memory", "append", 2_000,
        ours.save_duckdb, "eventsourcing POPO", peers.save_popo, 4,
    ),
    Contest(
        "create and save 1 event, durable file", "append", 500,
        ours.save_file, "eventsourcing SQLite", peers.save_sqlite, 1.2,
    ),
    Contest(
        "create and save 1 event, durable file", "append", 500,
        ours.save_file, "write and fdatasync", peers.sync, 1 / 1.5,
    ),
    Contest(
        "load 10 events, command, save; DuckDB in memory", "command", 500,
        ours.command_in_memory, "eventsourcing POPO", peers.command_popo, 4,
    ),
    Contest(
        "the same, of events that are in the database alone", "command", 500,
        ours.command_flushed, "eventsourcing POPO", peers.command_popo, None,
    ),
    Contest(
        "load 10 events, command, save; durable file", "command", 500,
        ours.command_file, "eventsourcing SQLite", peers.command_sqlite, 1.8,
    ),
    Contest(
        "load an aggregate of 100,000 events, with a snapshot", "load", 1,
        ours.load_with_snapshot, "without", ours.load_without_snapshot, 50,
    ),
    Contest(
        "16 threads, 1 event each, durable file", "append", 4_000,
        ours.save_threads, "raw SQLite, a lock", peers.save_threads, 3,
    ),
    Contest(
        "bulk import of typed events, durable file", "event", 250_000,
        ours.import_file, "eventsourcing SQLite", peers.import_sqlite, 10,
    ),
    Contest(
        "replay all events to typed objects, DuckDB", "event", 200_000,
        ours.replay_objects, "eventsourcing POPO", peers.replay_popo, 2,
    ),
    Contest(
        "replay all events to a DataFrame, DuckDB", "event", 200_000,
        ours.replay_frame, "eventsourcing POPO", peers.replay_popo, 10,
    ),
    Contest(
        "project a year of flights: Python handlers", "event", flights.EVENTS,
        flights.python, "eventsourcing POPO", flights.peer, 2,
    ),
    Contest(
        "the same in SQL over JSON", "event", flights.EVENTS,
        flights.json, "eventsourcing POPO", flights.peer, 20,
    ),
    Contest(
        "the same in SQL over typed columns, which are there", "event", flights.EVENTS,
        flights.columns, "eventsourcing POPO", flights.peer, 200,
    ),
    Contest(
        "the same, and the typed columns are made", "event", flights.EVENTS,
        flights.columns_and_tables, "eventsourcing POPO", flights.peer, None,
    ),
]  # fmt: skip


def measure(contests: Sequence[Contest], rounds: int) -> list[dict[str, object]]:
    """Run both sides in turn, and return their medians in microseconds a unit.

    Args:
        contests: with the same peer, which takes part once a round.
        rounds: how many.
    """
    peer = contests[0]
    ours_times: list[list[float]] = [[] for _ in contests]
    theirs_times: list[float] = []
    for number in range(rounds + 1):
        theirs = _timed(peer.theirs, peer.count)
        found = [_timed(contest.ours, contest.count) for contest in contests]
        if number:  # the first round warms up
            theirs_times.append(theirs)
            for times, time_of_it in zip(ours_times, found, strict=True):
                times.append(time_of_it)
    return [
        _result(contest, times, theirs_times)
        for contest, times in zip(contests, ours_times, strict=True)
    ]


def _timed(prepare: Callable[[int, Path], Callable[[], object]], count: int) -> float:
    """Return how long a piece of work takes, in microseconds a unit."""
    with folder() as place:
        work = prepare(count, place)
        gc.collect()  # of the side before: neither pays for the other's,
        gc.freeze()  # nor for what the other keeps
        start = time.perf_counter()
        work()
        spent = time.perf_counter() - start
        gc.unfreeze()
        ours.close_all()
    return spent / count * 1e6


def _result(contest: Contest, times: Sequence[float], theirs: Sequence[float]) -> dict[str, object]:
    eslab, peer = statistics.median(times), statistics.median(theirs)
    return {
        "work": contest.work,
        "unit": contest.unit,
        "eslab_us": round(eslab, 4),
        "peer": contest.peer,
        "peer_us": round(peer, 2),
        "ratio": round(peer / eslab, 3),
        "target": contest.target,
        "reached": contest.target is None or peer / eslab >= contest.target,
        "spread": [round(min(times) / eslab, 2), round(max(times) / eslab, 2)],
    }


def _groups() -> list[list[Contest]]:
    """Return the contests, those together that follow each other and have the same peer."""
    grouped = groupby(CONTESTS, key=lambda contest: (contest.theirs, contest.count))
    return [list(contests) for _, contests in grouped]


@contextmanager
def folder() -> Iterator[Path]:
    """Give a folder on the disk of the checkout; one in memory would flatter durable stores."""
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent, prefix=".run-") as name:
        yield Path(name)


def _shown(microseconds: object) -> str:
    assert isinstance(microseconds, float)
    return f"{microseconds:,.1f}" if microseconds >= 1 else f"{microseconds:.3f}"


def main() -> None:
    """Run every contest, print the table, and write ``bench.json``."""
    rounds = int(os.environ.get("ESLAB_BENCH_ROUNDS", ROUNDS))
    millions = float(os.environ.get("ESLAB_BENCH_MILLIONS", "10"))
    results = [
        result for group in tqdm(_groups(), unit=" contests") for result in measure(group, rounds)
    ]
    sizes = sorted({1.0, millions})
    with folder() as place:
        at_scale = {
            f"one file with {size:g} million events, each part in its own process": scale.measure(
                place, scale.SYNTHETIC, events=int(size * 1_000_000)
            )
            for size in sizes
        }
        at_scale["a year of flights in one file, each part in its own process"] = scale.measure(
            place, scale.FLIGHTS_YEAR, events=flights.EVENTS
        )
        at_scale["looking at it: figures, and widgets in JupyterLab"] = scale.measure(
            place, ("figures", "widgets"), events=flights.EVENTS, module="views"
        )
        at_scale["every fault at every step of a saga"] = scale.measure(
            place, scale.EXPLORATION, events=8
        )
        at_scale["very many sagas at once"] = scale.measure(place, scale.SAGAS, events=10_000)
    table = Table(title=f"microseconds a unit, medians of {rounds} interleaved rounds")
    for name in ("work", "unit", "eslab", "peer", "of the peer", "ratio", "target", ""):
        table.add_column(name, justify="left" if name in ("work", "unit", "peer") else "right")
    for row in results:
        table.add_row(
            str(row["work"]),
            str(row["unit"]),
            _shown(row["eslab_us"]),
            str(row["peer"]),
            _shown(row["peer_us"]),
            f"{row['ratio']:.2f} x",
            "" if row["target"] is None else f"{row['target']:.3g} x",
            "" if row["target"] is None else "reached" if row["reached"] else "falls short",
        )
    console = Console(width=150)
    console.print(table)
    for title, found in at_scale.items():
        table = Table(title=title)
        for name in ("what", "found", "target", ""):
            table.add_column(name, justify="left" if name == "what" else "right")
        for fact in found:
            table.add_row(*fact.cells())
        console.print(table)
    packages = ("duckdb", "eventsourcing", "pyarrow", "pydantic")
    facts = {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in packages},
        "rounds": rounds,
        "results": results,
        "scale": {title: [asdict(fact) for fact in found] for title, found in at_scale.items()},
    }
    Path("bench.json").write_text(json.dumps(facts, indent=2) + "\n")
    sys.stderr.write("written to bench.json\n")


if __name__ == "__main__":
    main()
