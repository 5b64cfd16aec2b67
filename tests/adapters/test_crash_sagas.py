"""A process that runs sagas is killed again and again: they end, and nothing happens twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import travelling
from soak import scaled

from eslab import Lab
from eslab.sagas import SagaStatus

PROGRAM = Path(travelling.__file__)
COUNT = 12


def live_and_die(path: Path, seed: int) -> bool:
    """Let a process work and kill it at a random moment; say whether all sagas had ended."""
    chance = random.Random(f"kill {seed}")
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", PROGRAM, path, str(COUNT)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            lines = [
                child.stdout.readline() for _ in range(chance.choice([1, 3, COUNT, COUNT + 2]))
            ]
            time.sleep(chance.uniform(0, 0.03))
        finally:
            child.kill()
        lines += child.stdout.readlines()
        errors = child.stderr.read()
        assert lines[0] == "opening\n", errors
        assert child.wait() in (0, -signal.SIGKILL), errors
    return f"ended {COUNT - 1}\n" in lines


def effects(lab: Lab, number: int) -> list[str]:
    """Return what was done for a saga, in order."""
    types = ["Booked", "Cancelled", "Called"]
    return [
        f"{'cancel ' * (event.type == 'Cancelled')}{event.data['what']}"
        for event in lab.store.read_all(types=types, streams=[f"rail-{number}", f"phone-{number}"])
    ]


def check(lab: Lab, number: int) -> None:
    state = lab.saga_state("trip", str(number))
    done = effects(lab, number)
    there, back = done[: len(state.completed)], done[len(state.completed) :]
    assert there == list(state.completed)
    assert there[:2] == ["hotel", "train"]
    assert sorted(there[2:4]) == ["busy", "seat"]
    if number % 2:
        assert (state.status, state.failed_step) == (SagaStatus.COMPENSATED, "car")
        assert [what.split()[-1] for what in back] == there[::-1]
    else:
        assert (state.status, there[4:], back) == (SagaStatus.COMPLETED, ["car", "insurance"], [])


@pytest.mark.soak
def test_sagas_survive_any_number_of_kills(tmp_path: Path) -> None:
    kills, trial = 0, 0
    while kills < scaled(5, 30):
        trial += 1
        path = tmp_path / f"{trial}.duckdb"
        for _ in range(5):  # and what is left then, is done here
            if live_and_die(path, kills):
                break
            kills += 1
        with Lab(path) as lab:
            assert lab.store.verify().ok
            saga = travelling.trip(lab)
            lab.register(travelling.Rail, saga)
            for number in range(COUNT):
                lab.start_saga(saga, str(number))
            lab.run()
            for number in range(COUNT):
                check(lab, number)
            begun = [
                (event.stream_id, event.type, event.data["step"], event.data["attempt"])
                for event in lab.store.read_all(types=["StepStarted", "CompensationStarted"])
            ]
            assert len(begun) == len(set(begun))
            # The check can fail: an effect that came twice is found.
            lab.append("phone-0", [travelling.Called(what="hotel")])
            with pytest.raises(AssertionError):
                check(lab, 0)
