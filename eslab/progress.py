"""The progress bar of work on many events."""

from __future__ import annotations

import sys
import threading
from typing import Final

from tqdm.auto import tqdm

__all__ = ["progress_bar"]

DELAY: Final = 1.0
"""Seconds of work after which there is a bar."""

# With a lock that is written in C: its own may stay taken after Ctrl-C; see `eslab.store.bell`.
_Bar = type("_Bar", (tqdm,), {"_lock": threading.RLock()})


def progress_bar(
    *, total: int | None, description: str, progress: bool, unit: str = "events"
) -> tqdm:  # type: ignore[type-arg]
    """Return a bar of events on stderr, which is drawn if that is a terminal or a notebook.

    It shows what was done, how much a second, and how long the rest takes; not at all of work that
    is done within a second.

    Args:
        total: how many events there are, if that is known.
        description: what is done to them.
        progress: False draws nothing.
        unit: what is counted, if not events.
    """
    return _Bar(  # type: ignore[no-any-return]
        total=total,
        desc=description,
        unit=f" {unit}",
        unit_scale=True,
        delay=DELAY,
        disable=None if progress else True,
        file=sys.stderr,
    )
