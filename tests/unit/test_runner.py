"""The runner: everybody takes turns, who fails rests, and nothing is lost by an interrupt."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from eslab import EslabError, StoreClosedError, SystemClock, VirtualClock
from eslab.clock import Clock, Scheduler
from eslab.subscriptions import Runner


class Counter:
    """A worker with so many pieces of work, each of a millisecond."""

    def __init__(self, left: int, *, fails: type[BaseException] | None = None) -> None:
        self.left = left
        self.done = 0
        self.runs = 0
        self.fails = fails
        self.scheduled = False
        self.due: float | None = None
        self.on_work: Callable[[], None] = lambda: None

    def begin(self) -> None:
        self.runs += 1

    def step(self) -> bool:
        if not self.left:
            return False
        if self.fails is not None:
            raise self.fails("on purpose")
        self.left -= 1
        self.done += 1
        self.on_work()
        return True

    def due_in(self) -> float | None:
        return self.due

    def wake(self, scheduler: Scheduler) -> None:
        def work() -> None:
            self.scheduled = False
            self.step()
            self.wake(scheduler)

        if self.left and not self.scheduled:
            self.scheduled = True
            scheduler.after(timedelta(milliseconds=1), work)

    def forget(self) -> None:
        self.scheduled = False


@pytest.fixture(params=[SystemClock, VirtualClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    made: Clock = request.param()
    return made


def test_all_work_is_done(clock: Clock) -> None:
    workers = [Counter(3), Counter(0), Counter(5)]
    Runner(clock, lambda: workers).run()
    assert [(worker.done, worker.runs) for worker in workers] == [(3, 1), (0, 1), (5, 1)]


def test_who_fails_rests_until_the_next_run_and_the_others_go_on(clock: Clock) -> None:
    bad, good = Counter(2, fails=EslabError), Counter(4)
    runner = Runner(clock, lambda: [bad, good])
    with pytest.raises(EslabError, match="on purpose"):
        runner.run()
    assert (bad.done, good.done) == (0, 4)
    bad.fails = None
    runner.run()
    assert bad.done == 2


def test_on_the_machines_clock_who_fails_is_asked_again_when_more_is_due() -> None:
    """A part of its work failed, and others did not."""
    worker = Counter(2)
    worker.due = 0.01
    steps = []

    def step() -> bool:
        steps.append(worker.due)
        if len(steps) == 1:
            raise EslabError("on purpose")
        worker.due = None
        return False

    worker.step = step  # type: ignore[method-assign]
    with pytest.raises(EslabError, match="on purpose"):
        Runner(SystemClock(), lambda: [worker]).run()
    assert steps == [0.01, 0.01]


def test_work_that_makes_work_for_others_is_followed(clock: Clock) -> None:
    reader, writer = Counter(0), Counter(3)
    runner = Runner(clock, lambda: [reader, writer])

    def append() -> None:
        reader.left += 1
        runner.notice()

    writer.on_work = append
    runner.run()
    assert (writer.done, reader.done) == (3, 3)


@pytest.mark.parametrize("error", [KeyboardInterrupt, StoreClosedError, ZeroDivisionError])
def test_an_interrupt_ends_the_run_and_the_next_one_finds_the_work(
    clock: Clock, error: type[BaseException]
) -> None:
    interrupted, other = Counter(2, fails=error), Counter(2)
    runner = Runner(clock, lambda: [interrupted, other])
    with pytest.raises(error):
        runner.run()
    interrupted.fails = None
    runner.run()
    assert (interrupted.done, other.done) == (2, 2)


def test_until_leaves_what_is_due_later() -> None:
    clock, worker = VirtualClock(), Counter(5)
    runner = Runner(clock, lambda: [worker])
    runner.run(until=clock.now() + timedelta(milliseconds=2))
    assert worker.done == 2
    runner.run()
    assert worker.done == 5


def test_enough_is_enough_and_the_rest_is_for_later(clock: Clock) -> None:
    one, two = Counter(5), Counter(5)
    runner = Runner(clock, lambda: [one, two])
    runner.run(enough=lambda: one.done + two.done >= 3)
    assert one.done + two.done == 3
    runner.run(enough=lambda: True)
    assert one.done + two.done == 3
    runner.run()
    assert (one.done, two.done) == (5, 5)


def test_on_the_machines_clock_work_that_is_due_soon_is_waited_for() -> None:
    worker = Counter(1)
    worker.due = 0.01
    waited = []

    def step() -> bool:
        waited.append(worker.due)
        if len(waited) == 3:
            worker.due = None
        return False

    worker.step = step  # type: ignore[method-assign]
    Runner(SystemClock(), lambda: [worker]).run()
    assert waited == [0.01] * 3


def test_a_run_inside_a_run_is_the_same_run_going_on(clock: Clock) -> None:
    worker = Counter(3)
    runner = Runner(clock, lambda: [worker])
    worker.on_work = runner.run
    runner.run()
    assert worker.done == 3
