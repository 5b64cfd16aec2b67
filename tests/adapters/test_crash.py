"""A process is killed again and again while it appends; what it was told is there, and is whole."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import crashing
import pytest
from soak import scaled

from eslab import EventStore, open_store
from eslab.store.port import BATCH

PROGRAM = Path(crashing.__file__)


def live_and_die(path: Path, seed: int) -> list[dict[str, Any]]:
    """Let a process append and kill it at a random moment; return what it was told."""
    chance = random.Random(f"kill {seed}")
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", PROGRAM, path, str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            opening = child.stdout.readline()
            if chance.random() < 0.3:  # while it opens, which reads and moves what was left
                lines = []
                time.sleep(chance.uniform(0, 0.1))
            else:
                lines = [child.stdout.readline() for _ in range(chance.choice([1, 10, 100]))]
                time.sleep(chance.uniform(0, 0.005))
        finally:
            child.kill()
        lines += child.stdout.readlines()
        errors = child.stderr.read().decode()
        assert (opening, child.wait()) == (b"opening\n", -signal.SIGKILL), errors
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def check(store: EventStore, told: list[dict[str, Any]]) -> None:
    assert store.verify().ok, store.verify()
    operations = defaultdict(list)
    for event in store.read_all():
        operations[event.data["operation"]].append(event)
    for operation, events in operations.items():
        assert [event.data["index"] for event in events] == list(range(events[0].data["of"]))
        positions = [event.position for event in events]
        assert positions == list(range(positions[0], positions[0] + len(positions))), operation
    for line in told:
        events = operations[line["operation"]]
        assert [event.stream_id for event in events] == line["streams"], line
        assert line["position"] in (None, events[-1].position)


@pytest.mark.soak
def test_what_was_acknowledged_survives_any_number_of_kills(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    told: list[dict[str, Any]] = []
    for seed in range(scaled(10, 200)):
        told += live_and_die(path, seed)
        if seed % 3:  # else the next process finds what this one left
            with open_store(path) as store:
                check(store, told)
    with open_store(path) as store:
        check(store, told)
        assert store.epoch == 1
    assert len(told) > 100
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {"shop.duckdb", "shop.duckdb.lock"}


IMPORT = """
import sys
from eslab import NewEvent, open_store
store = open_store(sys.argv[1])
first = store.head()
store.listen(lambda: print(store.head(), flush=True))
store.import_events(
    ((f"s-{n // 10}", NewEvent("A", {"n": n})) for n in range(first, first + 5_000_000)),
    progress=False,
)
"""


@pytest.mark.soak
def test_an_import_that_is_killed_leaves_whole_batches(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    chance = random.Random("import")
    head = 0
    for _ in range(scaled(2, 20)):
        with subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", IMPORT, path], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            told = [child.stdout.readline()]
            time.sleep(chance.uniform(0, 1.5))  # DuckDB writes about a third of the time
            child.kill()
            told += child.stdout.readlines()
        with open_store(path) as store:
            assert store.verify().ok, store.verify()
            before, head = head, store.head()
            assert head >= int(told[-1])
            assert (head - before) % BATCH == 0


def test_the_check_can_fail(tmp_path: Path) -> None:
    line = {"operation": "1.2.3", "streams": ["a-1", "a-2"], "position": None}
    with open_store() as store:
        with pytest.raises(AssertionError):
            check(store, [line])
        for stream_id, event in crashing.events("1.2.3", line["streams"])[:1]:  # type: ignore[arg-type]
            store.append(stream_id, [event])
        with pytest.raises(AssertionError):
            check(store, [])
