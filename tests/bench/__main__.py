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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

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
    ours_count: int | None = None


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
        "projection with Python handlers", "event", 200_000,
        ours.project, "eventsourcing POPO", peers.project_popo, 2,
    ),
    Contest(
        "projection in SQL over JSON", "event", 100_000,
        ours.project_json, "eventsourcing POPO", peers.project_popo, 20, 1_000_000,
    ),
    Contest(
        "projection in SQL over typed columns, which are built", "event", 100_000,
        ours.project_typed, "eventsourcing POPO", peers.project_popo, 200, 1_000_000,
    ),
    Contest(
        "the same, with building them", "event", 100_000,
        ours.project_and_type, "eventsourcing POPO", peers.project_popo, None, 1_000_000,
    ),
]  # fmt: skip


def measure(contest: Contest, rounds: int) -> dict[str, object]:
    """Run both sides in turn, and return their medians in microseconds a unit."""
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for number in range(rounds + 1):
        for side, prepare, count in (
            ("ours", contest.ours, contest.ours_count or contest.count),
            ("theirs", contest.theirs, contest.count),
        ):
            with folder() as place:
                work = prepare(count, place)
                gc.collect()  # of the side before: neither pays for the other's
                start = time.perf_counter()
                work()
                spent = time.perf_counter() - start
                ours.close_all()
            if number:  # the first round warms up
                times[side].append(spent / count * 1e6)
    eslab, peer = statistics.median(times["ours"]), statistics.median(times["theirs"])
    return {
        "work": contest.work,
        "unit": contest.unit,
        "eslab_us": round(eslab, 4),
        "peer": contest.peer,
        "peer_us": round(peer, 2),
        "ratio": round(peer / eslab, 3),
        "target": contest.target,
        "reached": contest.target is None or peer / eslab >= contest.target,
        "spread": [round(min(times["ours"]) / eslab, 2), round(max(times["ours"]) / eslab, 2)],
    }


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
    results = [measure(contest, rounds) for contest in tqdm(CONTESTS, unit=" contests")]
    sizes = sorted({1.0, millions})
    with folder() as place:
        facts_at_scale = {
            size: scale.measure(place, events=int(size * 1_000_000)) for size in sizes
        }
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
    for size, found in facts_at_scale.items():
        at_scale = Table(title=f"one file with {size:g} million events, in its own process")
        for name in ("what", "found", "target", ""):
            at_scale.add_column(name, justify="left" if name == "what" else "right")
        for fact in found:
            at_scale.add_row(*fact.cells())
        console.print(at_scale)
    packages = ("duckdb", "eventsourcing", "pyarrow", "pydantic")
    facts = {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in packages},
        "rounds": rounds,
        "results": results,
        "scale": {
            f"{size:g} million events": [asdict(fact) for fact in found]
            for size, found in facts_at_scale.items()
        },
    }
    Path("bench.json").write_text(json.dumps(facts, indent=2) + "\n")
    sys.stderr.write("written to bench.json\n")


if __name__ == "__main__":
    main()
