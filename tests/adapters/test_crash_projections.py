"""A process that runs five projections is killed again and again: each is its events' fold."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import projecting
import pytest
from soak import scaled

from eslab import Lab, MemoryStore, NewEvent
from eslab.projections import Projection
from eslab.projections.folding import fold

PROGRAM = Path(projecting.__file__)


def live_and_die(path: Path, seed: int) -> list[str]:
    """Let a process work and kill it at a random moment; return what it said."""
    chance = random.Random(f"kill {seed}")
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", PROGRAM, path, str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            lines = [child.stdout.readline() for _ in range(chance.choice([1, 20, 100, 250]))]
            time.sleep(chance.uniform(0, 0.02))
        finally:
            child.kill()
        lines += child.stdout.readlines()
        errors = child.stderr.read()
        assert (lines[0], child.wait()) == ("opening\n", -signal.SIGKILL), errors
    return [line.split()[0] for line in lines if line.endswith("\n")]


def differences(lab: Lab, name: str) -> list[str]:
    """Compare a read model with the fold of the events up to its checkpoint, from scratch."""
    (kind,) = [kind for kind in projecting.KINDS if kind.name == name]
    fresh = (kind if issubclass(kind, Projection) else projecting.Totals)()
    tables = lab._projection(name).projection.tables_of(lab.store, lab.registry)
    position = lab.sql("select position from checkpoints where projection = ?", [name]).scalar()
    parked = {letter.position for letter in lab.dead_letters(name)}
    held = [sorted(lab.sql(f"from rm.{table}").fetchall(), key=repr) for table in tables]
    return [
        f"{table}: {left} is not {right}"
        for table, left, right in zip(
            tables, held, fold_without(lab, fresh, position, parked), strict=True
        )
        if left != right
    ]


def fold_without(
    lab: Lab, projection: Projection, position: int, parked: set[int]
) -> list[list[tuple[object, ...]]]:
    """Fold what a projection wants up to a position, but for some events."""
    store = MemoryStore()
    wanted = lab.store.read_all(
        until=position, types=projection.event_classes, category=projection.category
    )
    for event in wanted:
        if event.position not in parked:
            store.append(event.stream_id, [NewEvent(event.type, event.data)])
    made = fold(store, projection, lab.registry, progress=False)
    return [
        sorted((tuple(row.model_dump().values()) for row in rows), key=repr)
        for rows in made.tables.values()
    ]


def check(lab: Lab) -> None:
    assert lab.store.verify().ok
    for kind in projecting.KINDS:
        assert differences(lab, kind.name) == []


@pytest.mark.soak
def test_five_projections_survive_any_number_of_kills(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    said: list[str] = []
    for seed in range(scaled(5, 30)):
        said += live_and_die(path, seed)
        if seed % 2:  # else the next process finds what this one left
            with Lab(path) as lab:
                lab.project(*[kind() for kind in projecting.KINDS])
                check(lab)
                lab.run(progress=False)
                check(lab)
    with Lab(path) as lab:
        lab.project(*[kind() for kind in projecting.KINDS])
        lab.run(progress=False)
        check(lab)
        head = lab.store.head()
        assert set(lab.projections.df["checkpoint"]) == {head}
        assert said.count("appended") > 100
        assert said.count("rebuilding") > 3
        assert len(lab.dead_letters("parking")) > 0
        # The comparison can fail: a single event that was applied twice is found.
        with lab.store.transaction() as transaction:
            transaction.execute("update rm.totals set events = events + 1 where key = 'a'")
        assert len(differences(lab, "totals")) == 1
