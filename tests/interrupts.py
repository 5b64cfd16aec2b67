"""Ctrl-C at a place of the test's choosing: the n-th at which Python lets a signal in.

Python looks for signals at the first step of a function and behind each call of a function in C
(and where a loop goes round, which is left out). A profile function is called at the same places,
and what it raises goes on from there.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

PLACES = ("call", "c_return")


class Interrupt:
    """Raise KeyboardInterrupt at the n-th place of a block, counted from 1.

    Attributes:
        raised: the interrupt, which is kept with its frames, as a notebook keeps the last error.
    """

    def __init__(self, place: int) -> None:
        self.left = place
        self.raised: KeyboardInterrupt | None = None

    def __enter__(self) -> Self:
        gc.disable()  # what others do when garbage is collected is not to be interrupted
        sys.setprofile(self._look)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        sys.setprofile(None)
        gc.enable()
        if isinstance(error, KeyboardInterrupt):
            self.raised = error
            return True
        return False

    def _look(self, frame: FrameType, event: str, argument: Any) -> None:
        if event in PLACES and frame.f_code.co_filename != __file__:
            self.left -= 1
            if self.left == 0 and _in_a_destructor(frame):
                self.left = 1  # Python loses what is raised there: at the next place
            if self.left == 0:
                sys.setprofile(None)
                raise KeyboardInterrupt


def _in_a_destructor(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def in_time(work: Callable[[], Any], *, seconds: float = 20) -> Any:
    """Return what `work` returns on a thread of its own, which must not take longer."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"
    return found[0]
