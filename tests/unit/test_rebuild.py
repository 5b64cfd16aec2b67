"""Rebuilds and resets: whatever happens, the read model is the fold up to its checkpoint."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soak import scaled

from eslab import (
    Event,
    InputError,
    Lab,
    Projection,
    ProjectionError,
    Row,
    Rows,
    SqlProjection,
    StoreError,
    on,
)
from eslab.projections import Rebuild
from eslab.store.duckdb.transaction import DuckDBTransaction
from eslab.subscriptions import BatchReport


class Counted(Event):
    key: str
    by: int = 1


class Other(Event):
    pass


class Total(Row, key="key"):
    key: str
    total: int = 0
    events: int = 0
    last: int = 0


class Totals(Projection):
    row = Total
    batch = 2
    fails_at = -1  # the amount at which its handler fails

    @on
    def counted(self, event: Counted, rows: Rows[Total]) -> None:
        if event.by == self.fails_at:
            raise ValueError("planted")
        row = rows.ensure(key=event.key)
        row.total, row.events, row.last = row.total + event.by, row.events + 1, event.by


class TotalsInSql(SqlProjection):
    name = "totals"
    key = "key"
    query = """
        select key, sum("by") as total, count(*) as events, arg_max("by", position) as last
        from counted group by key"""
    merge: ClassVar = {"total": "sum", "events": "count", "last": "last"}
    events = (Counted,)


Held = list[tuple[Any, ...]]


def folded(lab: Lab, until: int) -> Held:
    """Return the read model as of a position by another way: straight from the events."""
    rows: dict[str, tuple[str, int, int, int]] = {}
    for event in lab.store.read_all(until=until, types=[Counted]):
        key, by = event.data["key"], event.data["by"]
        _, total, events, _ = rows.get(key, (key, 0, 0, 0))
        rows[key] = key, total + by, events + 1, by
    return sorted(rows.values())


def held(lab: Lab) -> tuple[int, Held]:
    """Return checkpoint and rows of the read model, in one cut."""
    found = lab.sql(
        "select position, list((key, total, events, last) order by key) filter (key is not null) "
        "from checkpoints left join totals on true where projection = 'totals' group by position"
    ).fetchall()
    ((position, rows),) = found
    return position, [tuple(row.values()) if isinstance(row, dict) else row for row in rows or []]


def is_right(lab: Lab) -> bool:
    position, rows = held(lab)
    return rows == folded(lab, position)


def fill(lab: Lab, keys: str = "abacab", by: int = 1) -> None:
    for key in keys:
        lab.append("counter-1", [Counted(key=key, by=by), Other()])


def tables(lab: Lab) -> list[str]:
    found = lab.sql("select table_name from duckdb_tables() where schema_name = 'rm' order by 1")
    return [name for (name,) in found.fetchall()]


@pytest.fixture(params=["virtual", "wall"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with Lab(seed=7 if request.param == "virtual" else None) as opened:
        opened.project(Totals())
        yield opened


def test_a_rebuild_is_made_beside_what_is_read_and_takes_its_place_at_once(lab: Lab) -> None:
    fill(lab)
    lab.run()
    with lab.store.transaction() as transaction:  # a fault that the rebuild removes
        transaction.execute("update rm.totals set total = total + 1000")
    wrong = held(lab)
    seen: list[tuple[int, Held]] = []
    reports: list[BatchReport] = []

    def look(report: BatchReport) -> None:
        reports.append(report)
        seen.append(held(lab))

    lab.observe(look)
    lab.rebuild("totals")
    assert len(seen) == 4
    assert all(each == wrong for each in seen)
    assert {(report.projection, report.mode) for report in reports} == {
        ("totals~rebuild", "replay")
    }
    assert is_right(lab)
    assert held(lab)[0] == 12
    swap = lab.sql(
        "select from_position, to_position, count, mode from checkpoint_log "
        "where projection = 'totals' order by committed_at desc, to_position desc limit 1"
    )
    assert swap.fetchall() == [(12, 12, 0, "replay")]
    assert tables(lab) == ["totals"]
    assert len(lab.sql("from checkpoints")) == 1
    fill(lab, "ab")
    lab.run()
    assert is_right(lab)
    assert held(lab)[0] == 16


def test_a_read_model_that_is_behind_is_ahead_after_its_rebuild(lab: Lab) -> None:
    lab.pause("totals")
    fill(lab)
    lab.rebuild("totals")
    assert held(lab) == (12, folded(lab, 12))
    lab.resume("totals")
    fill(lab, "c")
    lab.run()
    assert held(lab) == (14, folded(lab, 14))


def test_a_rebuild_of_nothing_is_nothing(lab: Lab) -> None:
    lab.rebuild("totals")
    assert held(lab) == (0, [])
    fill(lab)
    lab.run()
    assert is_right(lab)


def test_a_rebuild_that_fails_leaves_everything_as_it_was(lab: Lab) -> None:
    fill(lab)
    lab.run()
    before = held(lab)
    fill(lab, "a", by=5)
    projection = lab._projection("totals").projection
    projection.fails_at = 5  # type: ignore[attr-defined]
    with pytest.raises(ProjectionError, match=r"totals'.* stopped at <Counted .*@13>.*planted"):
        lab.rebuild("totals")
    assert held(lab) == before
    assert tables(lab) == ["totals"]
    assert len(lab.sql("from checkpoints")) == 1
    with pytest.raises(ProjectionError, match="planted"):
        lab.run()
    projection.fails_at = -1  # type: ignore[attr-defined]
    lab.rebuild("totals")  # it goes past what had stopped the live one, which goes on from there
    assert held(lab)[0] == 14
    fill(lab)
    lab.run()
    assert is_right(lab)
    assert held(lab)[0] == 26


def test_a_reset_replays_from_a_position(lab: Lab) -> None:
    fill(lab)
    lab.run()
    for to in (5, 0, 12):
        lab.reset("totals", to=to)
        assert held(lab) == (to, folded(lab, to))
        fill(lab, "c")
        lab.run()
        assert is_right(lab)
    modes = lab.sql(
        "select from_position, to_position, mode from checkpoint_log where projection = 'totals' "
        "order by committed_at, to_position"
    ).fetchall()
    assert (12, 5, "replay") in modes
    replayed = [(low, high) for low, high, mode in modes if mode == "replay" and low < high]
    # What had been applied before the reset is replayed; what was appended since is not.
    assert max(high for _, high in replayed) <= 16
    assert any(mode == "live" and low == 12 for low, _, mode in modes)
    for wrong in (-1, 10_000, True, "5"):
        with pytest.raises(InputError, match="a position is a number from 0 to 18"):
            lab.reset("totals", to=wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no projection 'nobody'"):
        lab.reset("nobody")


class Planted:
    """Raises at the n-th write of a projection, before or after it was done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at: int | None = None
        self.after = False
        self.fired = False
        for name in ("execute", "put"):
            real = getattr(DuckDBTransaction, name)
            monkeypatch.setattr(DuckDBTransaction, name, self._guarded(real))

    def _guarded(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(transaction: DuckDBTransaction, *arguments: Any) -> Any:
            if self.at is not None:
                self.at -= 1
            fires = self.at == 0
            if fires and not self.after:
                self.fired = True
                raise KeyboardInterrupt
            result = real(transaction, *arguments)
            if fires:
                self.fired = True
                raise KeyboardInterrupt
            return result

        return call


@pytest.mark.parametrize(
    ("after", "again"),
    [(False, False), (True, True)],
    ids=["before it, the same runner", "after it, another runner"],
)
def test_a_rebuild_that_is_cut_off_at_any_write_is_taken_up(
    monkeypatch: pytest.MonkeyPatch, after: bool, again: bool
) -> None:
    plant = Planted(monkeypatch)
    plant.after = after
    for number in itertools.count(1):
        with Lab(seed=7) as lab:
            lab.project(Totals())
            fill(lab, "aba")
            lab.run()
            fill(lab, "cab")
            plant.at, plant.fired = number, False
            with contextlib.suppress(KeyboardInterrupt):
                lab.rebuild("totals")
            plant.at = None
            assert is_right(lab)
            if not plant.fired:
                break
            if again:
                lab.project(Totals())
            lab.rebuild("totals")
            assert held(lab) == (12, folded(lab, 12))
            assert tables(lab) == ["totals"]
            lab.run()
            assert is_right(lab)
    assert number > 20


def test_the_comparison_with_the_fold_can_fail(lab: Lab) -> None:
    fill(lab)
    lab.run()
    assert is_right(lab)
    with lab.store.transaction() as transaction:
        transaction.execute("update rm.totals set total = total + 1 where key = 'a'")
    assert not is_right(lab)


STEPS = st.one_of(
    st.tuples(st.just("append"), st.text("abc", min_size=1, max_size=5)),
    st.tuples(st.just("run"), st.integers(0, 14)),
    st.tuples(st.just("rebuild"), st.integers(0, 30)),
    st.tuples(st.just("reset"), st.integers(0, 30)),
    st.tuples(st.just("restart"), st.just(0)),
)


@pytest.mark.soak
@settings(max_examples=scaled(40, 1_000), deadline=None)
@given(
    st.lists(STEPS, max_size=12),
    st.integers(1, 4),
    st.booleans(),
    st.booleans(),
    st.sampled_from([Totals, TotalsInSql]),
)
def test_any_interleaving_gives_the_fold_from_scratch(
    steps: list[tuple[str, Any]],
    size: int,
    after: bool,
    virtual: bool,
    kind: type[Totals | TotalsInSql],
) -> None:
    class Sized(kind):  # type: ignore[valid-type, misc]
        name = "totals"
        batch = size

    with pytest.MonkeyPatch.context() as patch, Lab(seed=7 if virtual else None) as lab:
        plant = Planted(patch)
        plant.after = after
        lab.project(Sized())
        for step, what in steps:
            if step == "append":
                fill(lab, what)
            elif step == "restart":
                lab.project(Sized())
            else:
                plant.at = what or None  # 0: nothing is planted
                try:
                    if step == "run":
                        lab.run()
                    elif step == "rebuild":
                        lab.rebuild("totals")
                    else:
                        lab.reset("totals", to=min(what, lab.store.head()))
                except KeyboardInterrupt:
                    pass
                plant.at = None
            assert is_right(lab)
        lab.run()
        assert held(lab) == (lab.store.head(), folded(lab, lab.store.head()))


@pytest.mark.parametrize("place", ["memory", "file"])
def test_a_rebuild_while_four_threads_append(tmp_path: Path, place: str) -> None:
    with Lab(":memory:" if place == "memory" else tmp_path / "shop.duckdb") as lab:

        class Many(Totals):
            name = "totals"
            batch = 50

        lab.project(Many())
        lab.start()
        stop = threading.Event()

        def append(number: int) -> None:
            for count in itertools.count():
                if stop.wait(0.002):
                    return
                lab.append(f"counter-{number}", [Counted(key=f"{number}", by=count % 7), Other()])

        threads = [threading.Thread(target=append, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            while lab.store.head() < 500:
                stop.wait(0.01)
            for _ in range(3):
                lab.rebuild("totals", progress=False)
                assert is_right(lab)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        lab.run()
        assert held(lab) == (lab.store.head(), folded(lab, lab.store.head()))
        swaps = lab.sql(
            "select count(*) from checkpoint_log where projection = 'totals' and mode = 'replay'"
        )
        assert swaps.scalar() == 3


def test_whoever_looks_on_may_stop_at_any_time_and_more_than_once(lab: Lab) -> None:
    seen: list[int] = []
    ends: list[Callable[[], None]] = []

    def look(report: BatchReport) -> None:
        seen.append(report.scanned)
        ends[0]()

    ends.append(lab.observe(look))
    fill(lab)
    lab.run()
    ends[0]()
    assert seen == [3]
    with pytest.raises(InputError, match="takes a function"):
        lab.observe("nobody")  # type: ignore[arg-type]


def test_a_policy_that_there_is_not_begins_no_rebuild(lab: Lab) -> None:
    fill(lab)
    lab.run()
    for begin in (lab.rebuild, lab.reset):
        with pytest.raises(InputError, match="an error policy is"):
            begin("totals", on_error="ignore")
    assert tables(lab) == ["totals"]
    assert len(lab.sql("from checkpoints")) == 1


def test_a_swap_that_fails_by_no_fault_of_its_own_is_tried_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = DuckDBTransaction.execute, [3]

    def flaky(transaction: DuckDBTransaction, statement: str, *values: Any) -> Any:
        if left[0] and statement.startswith("alter table"):
            left[0] -= 1
            raise StoreError("planted: another transaction changed it")
        return real(transaction, statement, *values)

    fill(lab)
    lab.run()
    monkeypatch.setattr(DuckDBTransaction, "execute", flaky)
    lab.rebuild("totals")
    assert (left, is_right(lab), tables(lab)) == ([0], True, ["totals"])


def test_a_projection_that_is_projected_anew_meanwhile_is_rebuilt_in_vain(lab: Lab) -> None:
    fill(lab)
    lab.run()
    ends: list[Callable[[], None]] = []

    def project(_: BatchReport) -> None:
        ends.pop()()
        lab.project(Totals())

    ends.append(lab.observe(project))
    with pytest.raises(ProjectionError, match="rebuilt in vain: rebuild it again"):
        lab.rebuild("totals")
    assert (is_right(lab), tables(lab)) == (True, ["totals"])
    fill(lab)
    lab.run()
    assert is_right(lab)


def test_two_rebuilds_at_once_are_one_too_many() -> None:
    with Lab(seed=7) as lab:
        lab.project(Totals())
        fill(lab)
        lab.run()
        live = lab._projection("totals")
        one, two = Rebuild(live), Rebuild(live)
        assert one.step()
        with pytest.raises(ProjectionError, match=r"totals~rebuild.*another runner moved it"):
            two.step()
        assert repr(one) == "<Rebuild of totals: 3 events of 12>"
        while one.step():
            pass
        assert repr(one) == "<Rebuild of totals: done>"
        assert held(lab) == (12, folded(lab, 12))
