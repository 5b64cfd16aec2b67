"""Work in the background: woken by the store, a thread for each, and none holds up another."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from interrupts import in_time

from eslab import (
    Aggregate,
    ClockError,
    Command,
    ConsistencyToken,
    EslabError,
    Event,
    Lab,
    Projection,
    ProjectionError,
    Row,
    Rows,
    handles,
    on,
)
from eslab.subscriptions import ErrorPolicy, Retry


class Paid(Event):
    amount: int


class Pay(Command):
    account_id: str
    amount: int


class Account(Aggregate, ignores=[Paid]):
    @handles
    def pay(self, command: Pay) -> None:
        self.record(Paid(amount=command.amount))


class Total(Row, key="key"):
    key: str
    paid: int = 0


class Totals(Projection):
    row = Total
    batch = 10

    @on
    def paid(self, event: Paid, rows: Rows[Total]) -> None:
        rows.ensure(key="all").paid += event.amount


GATE = threading.Event()
ENTERED = threading.Event()
FAULTS: list[type[BaseException]] = []


class Gated(Totals):
    """Its handler waits until the gate is open."""

    name = "gated"

    @on
    def paid(self, event: Paid, rows: Rows[Total]) -> None:
        ENTERED.set()
        assert GATE.wait(60)
        rows.ensure(key="all").paid += event.amount


class Faulty(Totals):
    """Its handler raises what is planted, once for each."""

    name = "faulty"

    @on
    def paid(self, event: Paid, rows: Rows[Total]) -> None:
        rows.ensure(key="all").paid += event.amount
        if FAULTS:
            raise FAULTS[0]("planted")


@pytest.fixture
def lab() -> Iterator[Lab]:
    GATE.clear()
    ENTERED.clear()
    FAULTS.clear()
    with Lab() as opened:
        opened.register(Account)
        opened.project(Totals())
        yield opened
        FAULTS.clear()
        GATE.set()


def pay(lab: Lab, amount: int = 1) -> ConsistencyToken:
    return lab.execute(Pay(account_id="1", amount=amount))


def total(lab: Lab, name: str = "totals") -> int:
    return lab.sql(f"select coalesce(sum(paid), 0) from rm.{name}").scalar()  # type: ignore[no-any-return]


def workers() -> list[str]:
    names = ("eslab-totals", "eslab-gated", "eslab-faulty", "eslab-relay", "eslab-orchestrator")
    return sorted(each.name for each in threading.enumerate() if each.name in names)


def test_what_is_appended_is_projected_without_being_asked(lab: Lab) -> None:
    lab.start()
    lab.start()  # as when a cell is run again
    assert workers() == ["eslab-orchestrator", "eslab-relay", "eslab-totals"]
    paid = 0
    for amount in range(1, 50):
        token = pay(lab, amount)
        paid += amount
        if amount % 7 == 0:
            assert lab.wait(token, timeout="30 s")
            assert total(lab) == paid
    lab.run()
    assert total(lab) == paid
    lab.stop()
    assert workers() == []
    token = pay(lab, 1)
    assert total(lab) == paid  # nobody works any more
    assert lab.wait(token)
    assert total(lab) == paid + 1
    lab.start()
    assert lab.wait(pay(lab, 1), timeout="30 s")


def test_what_is_projected_later_has_a_thread_too(lab: Lab) -> None:
    lab.start()
    GATE.set()
    lab.project(Gated())
    assert lab.wait(pay(lab), timeout="30 s")
    lab.project(Totals())  # again: its thread takes the place of the first one's
    assert lab.wait(pay(lab), timeout="30 s")
    lab.run()
    assert workers() == ["eslab-gated", "eslab-orchestrator", "eslab-relay", "eslab-totals"]
    assert (total(lab), total(lab, "gated")) == (2, 2)


def test_one_that_is_stuck_holds_up_no_other(lab: Lab) -> None:
    lab.project(Gated())
    lab.start()
    tokens = [pay(lab) for _ in range(30)]
    assert lab.wait(tokens[-1], "totals", timeout="30 s")
    answer = lab.wait(tokens[-1], timeout="100 ms")
    assert (answer.state, dict(answer.by)) == ("stale", {"gated": 30})
    lab.rebuild("totals", progress=False)
    assert (total(lab), total(lab, "gated")) == (30, 0)
    GATE.set()
    assert lab.wait(tokens[-1], timeout="30 s")
    assert total(lab, "gated") == 30


def test_one_that_stops_holds_up_no_other_and_is_said_once(lab: Lab) -> None:
    FAULTS.append(ValueError)
    lab.project(Faulty())
    lab.start()
    token = pay(lab)
    assert lab.wait(token, "totals", timeout="30 s")
    assert lab.wait(token, timeout="30 s").state == "failed"  # at once: it does not go on
    with pytest.raises(ProjectionError, match="planted"):
        lab.run()
    lab.run()
    FAULTS.clear()
    lab.resume("faulty")
    lab.run()
    assert total(lab, "faulty") == 1


def test_a_thread_that_crashes_says_so_and_holds_up_no_other(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    FAULTS.append(SystemExit)
    lab.project(Faulty())
    lab.start()
    token = pay(lab)
    assert lab.wait(token, "totals", timeout="30 s")
    with pytest.raises(SystemExit, match="planted"):
        lab.run()
    assert "eslab-faulty" not in workers()
    monkeypatch.undo()
    FAULTS.clear()
    lab.project(Faulty())
    assert lab.wait(token, timeout="30 s")
    lab.stop()
    assert total(lab, "faulty") == 1


def test_whose_thread_crashed_is_not_waited_for(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    FAULTS.append(SystemExit)
    lab.project(Faulty())
    lab.start()
    token = pay(lab)
    answer = in_time(lambda: lab.wait(token))
    assert (answer.state, dict(answer.by)) == ("failed", {"faulty": 1})
    assert "its thread ended, by SystemExit('planted')" in repr(answer)
    assert list(lab.projections.df["status"]) == ["caught up", "stopped"]
    with pytest.raises(SystemExit, match="planted"):
        lab.run()
    FAULTS.clear()
    lab.resume("faulty")  # which gives it another thread
    assert lab.wait(token, timeout="30 s")


def test_what_runs_in_the_background_does_not_wait_for_itself(lab: Lab) -> None:
    raised: list[BaseException] = []
    done = threading.Event()

    def run(_: object) -> None:
        try:
            lab.run()
        except EslabError as error:
            raised.append(error)
        lab.stop()
        done.set()

    lab.start()
    lab.observe(run)
    pay(lab)
    assert done.wait(30)
    assert "would wait for itself" in str(raised[0])
    for thread in threading.enumerate():
        if thread.name == "eslab-totals":
            thread.join(30)
    assert workers() == []


def test_an_error_that_nobody_asked_for_is_raised_at_the_end(lab: Lab) -> None:
    FAULTS.append(ValueError)
    lab.project(Faulty())
    lab.start()
    lab.wait(pay(lab), timeout="30 s")
    with pytest.raises(ProjectionError, match="planted"):
        lab.stop()
    lab.stop()


def test_who_is_paused_is_not_waited_for_and_goes_on_when_resumed(lab: Lab) -> None:
    lab.start()
    lab.pause("totals")
    token = pay(lab)
    assert lab.wait(token).state == "stale"
    lab.resume("totals")
    lab.run()
    assert total(lab) == 1
    lab.reset("totals")
    lab.run()
    assert total(lab) == 1


def test_a_retry_is_waited_for_by_its_thread(lab: Lab) -> None:
    class Tried(Faulty):
        name = "faulty"
        on_error = ErrorPolicy("retry", retry=Retry(50, timedelta(milliseconds=20), factor=1))

    FAULTS.append(ValueError)
    lab.project(Tried())
    lab.start()
    token = pay(lab)
    assert lab.wait(token, timeout="200 ms").state == "stale"
    assert lab.projections.df.set_index("projection").loc["faulty", "status"] == "retrying"
    FAULTS.clear()
    assert lab.wait(token, timeout="30 s")


def test_whoever_waits_is_woken_and_does_not_look_again_and_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.project(Gated())
    lab.start()
    lab.run()
    looked = [0]
    runner = lab._projection("totals")
    real = runner.step

    def step() -> bool:
        looked[0] += 1
        return real()

    monkeypatch.setattr(runner, "step", step)
    time.sleep(0.5)
    assert looked[0] == 0
    GATE.set()
    assert lab.wait(pay(lab), timeout="30 s")
    assert 1 <= looked[0] <= 4


def test_on_a_virtual_clock_nothing_happens_in_the_background() -> None:
    with Lab(seed=7) as lab, pytest.raises(ClockError, match=r"use run\(\) or advance\(\)"):
        lab.start()


def test_a_newer_lab_on_the_file_ends_the_threads_of_the_older(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    with Lab(path) as older:
        older.register(Account)
        older.project(Totals())
        older.start()
        with Lab(path) as newer:
            assert workers() == []
            with pytest.raises(EslabError, match="superseded"):
                older.start()
            newer.register(Account)
            newer.project(Totals())
            newer.start()
            assert newer.wait(pay(newer), timeout="30 s")
        assert workers() == []


def test_what_failed_in_a_lab_does_not_keep_a_newer_one_from_its_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "shop.duckdb"
    FAULTS[:] = [ValueError]
    with Lab(path) as older:
        older.register(Account)
        older.project(Faulty())
        older.start()
        older.wait(pay(older), timeout="30 s")
        FAULTS.clear()
        with Lab(path) as newer:
            assert "planted" in caplog.text
            newer.project(Faulty())
            newer.run()
            assert total(newer, "faulty") == 1


def test_what_a_projection_does_that_was_projected_anew_is_rolled_back(lab: Lab) -> None:
    class Free(Totals):
        name = "gated"
        fingerprint = Gated.fingerprint  # so that it goes on from the same checkpoint

    lab.project(Gated())
    pay(lab)
    raised: list[Exception] = []

    def run() -> None:
        try:
            lab.run()
        except ProjectionError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert ENTERED.wait(30)
    lab.project(Free())
    lab.pause("gated")
    GATE.set()
    thread.join(30)
    assert "projected anew meanwhile" in str(raised[0])
    assert total(lab, "gated") == 0
    lab.resume("gated")
    lab.run()
    assert total(lab, "gated") == 1


def test_a_stuck_handler_does_not_keep_a_lab_from_being_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("eslab.subscriptions.engine.PATIENCE", 0.2)
    GATE.clear()
    lab = Lab()
    lab.register(Account)
    lab.project(Gated(), Totals())
    lab.start()
    assert lab.wait(pay(lab), "totals", timeout="30 s")
    with pytest.raises(EslabError, match="gated did not end what it was doing within 0 seconds"):
        lab.close()
    assert lab.store.closed
    GATE.set()
    for thread in threading.enumerate():
        if thread.name == "eslab-gated":
            thread.join(30)
    assert workers() == []


def test_a_cell_that_projects_may_be_run_again_and_again_meanwhile(lab: Lab) -> None:
    lab.start()
    stop = threading.Event()
    paid = []

    def append() -> None:
        while not stop.wait(0.001):
            pay(lab)
            paid.append(1)

    appending = threading.Thread(target=append)
    appending.start()
    try:
        for _ in range(40):
            lab.project(Totals())
            lab.run()
    finally:
        stop.set()
        appending.join()
    lab.run()
    assert total(lab) == len(paid) > 0
    assert workers() == ["eslab-orchestrator", "eslab-relay", "eslab-totals"]
