"""The same seed gives the same log, byte for byte: each scenario leaves what is committed.

What is committed is in ``tests/fingerprints.json``, and what each scenario is in
``tests/fingerprints.py``. After a change that is meant to change a log,
``python tests/fingerprints.py --write`` writes the file anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import fingerprints
import pytest

from eslab import Lab

COMMITTED = json.loads(fingerprints.COMMITTED.read_text())
HOW = "if this log is meant to be another one now, run: python tests/fingerprints.py --write"


def test_each_scenario_leaves_what_is_committed_in_this_process_and_in_another() -> None:
    with subprocess.Popen(
        [sys.executable, fingerprints.__file__],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        here = fingerprints.fingerprints()
        output, _ = other.communicate(timeout=60)
    assert here == COMMITTED, HOW
    assert json.loads(output) == COMMITTED


# Flights are as they were, whatever the seed.
@pytest.mark.parametrize("name", ["accounts", "orders_by_a_saga"])
def test_another_seed_leaves_something_else(name: str) -> None:
    found = fingerprints.fingerprint(name, seed=8)
    assert found["log"] != COMMITTED[name]["log"]
    assert found["work"] != COMMITTED[name]["work"]


def test_what_the_scenarios_are_about_happens_in_them() -> None:
    with Lab(seed=7) as lab:
        fingerprints.orders_by_a_saga(lab)
        types = {event.type for event in lab.store.read_all()}
        assert {"SagaStuck", "SagaCompensated", "LateReplyReceived", "CommandRevoked"} <= types
        assert fingerprints.orders.check_orders(lab.store) == []
    with Lab(seed=7) as lab:
        fingerprints.workflows(lab)
        types = {event.type for event in lab.store.read_all()}
        assert {"SagaCompensated", "SagaCompleted", "TimerFired"} <= types
