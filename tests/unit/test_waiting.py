"""Read your writes: a token says how far read models must have come; `wait`, whether they did."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from interrupts import in_time

from eslab import (
    Aggregate,
    Command,
    ConsistencyToken,
    Cost,
    EslabError,
    Event,
    InputError,
    Lab,
    Projection,
    ReadQuery,
    Row,
    Rows,
    StaleReadError,
    StoreClosedError,
    applies,
    handles,
    on,
)
from eslab.store.duckdb.copies import restore_store


class Paid(Event):
    amount: int


class Pay(Command):
    account_id: str
    amount: int


class Account(Aggregate):
    paid: int = 0

    @handles
    def pay(self, command: Pay) -> None:
        self.record(Paid(amount=command.amount))

    @applies
    def was_paid(self, event: Paid) -> None:
        self.paid += event.amount


class Total(Row, key="key"):
    key: str
    paid: int = 0


class Totals(Projection):
    row = Total
    batch = 2

    @on
    def paid(self, event: Paid, rows: Rows[Total]) -> None:
        rows.ensure(key="all").paid += event.amount


class Picky(Totals):
    """Stops at what is too much."""

    name = "picky"

    @on
    def paid(self, event: Paid, rows: Rows[Total]) -> None:
        if event.amount > 10:
            raise ValueError("too much")


class GetTotal(ReadQuery):
    pass


@pytest.fixture(params=["virtual", "wall"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with Lab(seed=7 if request.param == "virtual" else None) as opened:
        opened.register(Account)
        opened.project(Totals())

        @opened.handles
        def total(query: GetTotal) -> int:
            return opened.sql("select coalesce(sum(paid), 0) from totals").scalar()  # type: ignore[no-any-return]

        yield opened


def pay(lab: Lab, amount: int) -> ConsistencyToken:
    return lab.execute(Pay(account_id="1", amount=amount))


def test_one_reads_what_one_wrote(lab: Lab) -> None:
    written = 0
    for amount in range(1, 8):
        token = pay(lab, amount)
        assert lab.query(GetTotal()) == written  # nobody waited
        written += amount
        assert lab.query(GetTotal(), at_least=token) == written


def test_waiting_does_what_is_due_once(lab: Lab) -> None:
    tokens = [pay(lab, 1) for _ in range(5)]
    assert lab.wait(tokens[-1]).state == "ready"
    before = len(lab.sql("from checkpoint_log"))
    for token in tokens:
        ready = lab.wait(token, "totals")
        assert ready
        assert repr(ready) == "<Readiness: ready>"
    assert len(lab.sql("from checkpoint_log")) == before


def test_who_is_paused_is_not_waited_for(lab: Lab) -> None:
    lab.wait(pay(lab, 1))
    lab.pause("totals")
    pay(lab, 2)
    token = pay(lab, 3)
    answer = lab.wait(token)
    assert (answer.state, dict(answer.by), bool(answer)) == ("stale", {"totals": 2}, False)
    with pytest.raises(StaleReadError, match=r"GetTotal\(\).*stale, totals by 2.*stale_ok"):
        lab.query(GetTotal(), at_least=token)
    assert lab.query(GetTotal(), at_least=token, stale_ok=True) == 1
    lab.resume("totals")
    assert lab.query(GetTotal(), at_least=token) == 6


def test_who_was_stopped_says_why_and_the_others_are_waited_for(lab: Lab) -> None:
    lab.project(Picky())
    token = pay(lab, 11)
    assert lab.wait(token, "totals").state == "ready"
    answer = lab.wait(token)
    assert (answer.state, list(answer.causes)) == ("failed", ["picky"])
    assert "too much" in repr(answer)
    with pytest.raises(StaleReadError, match="too much"):
        lab.query(GetTotal(), at_least=token)


def test_dead_letters_of_before_make_an_answer_a_degraded_one(lab: Lab) -> None:
    class Parking(Picky):
        name = "parking"
        on_error = "dead-letter"

    lab.project(Parking())
    early = pay(lab, 1)
    late = pay(lab, 11)
    assert lab.wait(early)
    answer = lab.wait(late)
    assert (answer.state, dict(answer.letters), bool(answer)) == ("degraded", {"parking": 1}, False)
    assert repr(answer) == "<Readiness: degraded, parking has 1 dead letter>"
    assert lab.wait(late, "totals")
    with pytest.raises(StaleReadError, match="parking has 1 dead letter"):
        lab.query(GetTotal(), at_least=late)
    assert lab.wait(early)  # whatever is parked was recorded later
    lab.dead_letters("parking").discard(late.position, reason="too much")
    assert lab.wait(late)


def test_nobody_waits_longer_than_asked() -> None:
    class Slow(Totals):
        name = "slow"
        batch = 1
        cost = Cost(batch=timedelta(minutes=1))

    with Lab(seed=7) as lab:
        lab.register(Account)
        lab.project(Slow())
        tokens = [pay(lab, 1) for _ in range(10)]
        before = lab.clock.now()
        answer = lab.wait(tokens[-1], timeout="5 min")
        assert (answer.state, dict(answer.by)) == ("stale", {"slow": 6})
        assert lab.clock.now() - before <= timedelta(minutes=5)
        assert lab.wait(tokens[5])  # only as far as that
        assert lab.projections.df["checkpoint"].tolist() == [6]
        with pytest.raises(StaleReadError, match="slow by 3"):
            lab.query(GetTotal(), at_least=tokens[-1], timeout=timedelta(minutes=2))
        assert lab.wait(tokens[-1])
    for bad in ("soon", 3):
        with Lab(seed=7) as lab:
            lab.register(Account)
            with pytest.raises(InputError, match="a duration is"):
                lab.wait(pay(lab, 1), timeout=bad)  # type: ignore[arg-type]


def test_on_the_machines_clock_nobody_waits_longer_than_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter(range(1_000))
    with Lab() as lab:
        lab.register(Account)
        lab.project(Totals())
        tokens = [pay(lab, 1) for _ in range(20)]
        monkeypatch.setattr("eslab.subscriptions.engine.time.monotonic", lambda: next(times))
        answer = lab.wait(tokens[-1], timeout="6 s")
        assert (answer.state, 0 < answer.by["totals"] < 20) == ("stale", True)
        assert lab.wait(tokens[-1])


def test_without_a_projection_there_is_nothing_to_wait_for() -> None:
    with Lab(seed=7) as lab:
        lab.register(Account)
        assert lab.wait(pay(lab, 1))


def test_a_token_is_one_of_this_store_in_this_epoch(lab: Lab, tmp_path: Path) -> None:
    token = pay(lab, 1)
    for other in (
        replace(token, store_id=uuid.uuid4()),
        replace(token, epoch=token.epoch + 1),
    ):
        with pytest.raises(InputError, match="another store, or of another epoch"):
            lab.wait(other)
        with pytest.raises(InputError, match="another store"):
            lab.query(GetTotal(), at_least=other, stale_ok=True)
    for bad in (1, None, "token"):
        with pytest.raises(InputError, match="what execute"):
            lab.wait(bad)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no projection 'nobody'"):
        lab.wait(token, "nobody")
    with Lab(tmp_path / "a.duckdb") as first:
        first.register(Account)
        old = pay(first, 1)
        first.store.copy_to(tmp_path / "copy.duckdb")
    restore_store(tmp_path / "copy.duckdb", tmp_path / "b.duckdb")
    with Lab(tmp_path / "b.duckdb") as restored, pytest.raises(InputError, match="epoch"):
        restored.wait(old)


def test_what_a_copy_does_not_have_is_not_waited_for(tmp_path: Path) -> None:
    with Lab(tmp_path / "a.duckdb") as lab:
        lab.register(Account)
        pay(lab, 1)
        lab.store.copy_to(tmp_path / "copy.duckdb")
        later = pay(lab, 1)
    with Lab.open_copy(tmp_path / "copy.duckdb") as copy:
        copy.project(Totals())
        copy.start()
        assert in_time(lambda: copy.wait(later)).by == {"totals": 1}


def test_who_cannot_work_any_more_says_so(tmp_path: Path) -> None:
    with Lab(tmp_path / "a.duckdb") as older:
        older.register(Account)
        older.project(Totals())
        token = pay(older, 1)
        with Lab(tmp_path / "a.duckdb"), pytest.raises(EslabError, match="superseded"):
            older.wait(token)
    with Lab(seed=7) as closed:
        closed.register(Account)
        closed.project(Totals())
        token = pay(closed, 1)
    with pytest.raises(StoreClosedError):
        closed.wait(token)


def test_a_duplicate_is_waited_for_as_the_first(lab: Lab) -> None:
    id: Any = uuid.uuid4()
    first = lab.execute(Pay(account_id="1", amount=1), command_id=id)
    again = lab.execute(Pay(account_id="1", amount=1), command_id=id)
    assert again.duplicate
    assert again == first
    assert lab.query(GetTotal(), at_least=again) == 1
