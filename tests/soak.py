"""How much a test does: little in CI, all of it under `make soak`, which sets `ESLAB_SOAK`.

A test that asks `scaled` for its kills, examples or repetitions is marked ``soak``, so that `make
soak` finds it.
"""

from __future__ import annotations

import os
from typing import Final

SOAK: Final = os.environ.get("ESLAB_SOAK", "") not in ("", "0")


def scaled(small: int, full: int) -> int:
    """Return the full number under `make soak`, and otherwise the small one."""
    return full if SOAK else small
