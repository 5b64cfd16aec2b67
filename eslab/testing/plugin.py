"""Fixtures for pytest: a `lab` of the test's own, its `store` and its `clock`.

Installing eslab is enough for pytest to find them; a fixture of the same name in the tests comes
first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # every run of pytest imports this, whether or not it uses eslab
    from eslab.clock import Clock
    from eslab.lab import Lab
    from eslab.store import EventStore

__all__ = ["clock", "lab", "store"]


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Give a lab in memory on a virtual clock: the same ids and times at each run."""
    from eslab.lab import Lab

    with Lab(seed=7) as opened:
        yield opened


@pytest.fixture
def store(lab: Lab) -> EventStore:
    """Give the store of `lab`."""
    return lab.store


@pytest.fixture
def clock(lab: Lab) -> Clock:
    """Give the virtual clock of `lab`."""
    return lab.clock
