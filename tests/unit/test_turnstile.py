"""The lock of a projection: Ctrl-C at any moment never leaves it taken."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from interrupts import Interrupt, in_time

from eslab.subscriptions.turnstile import Turnstile, _depth


def by_with(turnstile: Turnstile) -> None:
    with turnstile:
        pass


def by_with_again(turnstile: Turnstile) -> None:
    with turnstile, turnstile:
        pass


def by_acquire(turnstile: Turnstile) -> None:
    if turnstile.acquire(timeout=1):
        try:
            pass
        finally:
            turnstile.release()


@pytest.mark.parametrize("use", [by_with, by_with_again, by_acquire])
def test_an_interrupt_at_any_place_leaves_it_to_others(use: Callable[[Turnstile], None]) -> None:
    place, raised = 0, True
    while raised:
        place += 1
        turnstile = Turnstile()
        with Interrupt(place) as interrupt:
            use(turnstile)
        raised = interrupt.raised is not None
        assert in_time(lambda free=turnstile: free.acquire(timeout=0)), place
    assert place > 5
    # The proof can fail: what is still taken is not left to others.
    taken = Turnstile()
    taken.acquire()
    assert not in_time(lambda: taken.acquire(timeout=0))


class Wordy:
    """A lock as it is before Python 3.11.5."""

    def __init__(self) -> None:
        self.lock = threading.RLock()

    def _is_owned(self) -> bool:
        return self.lock._is_owned()  # type: ignore[attr-defined,no-any-return]

    def __repr__(self) -> str:
        return repr(self.lock)


def test_a_lock_of_an_older_python_tells_its_depth_in_words() -> None:
    wordy = Wordy()
    for depth in range(3):
        assert _depth(wordy) == _depth(wordy.lock) == depth
        wordy.lock.acquire()
    found = []
    other = threading.Thread(target=lambda: found.append(_depth(wordy)))
    other.start()
    other.join()
    assert found == [0]
