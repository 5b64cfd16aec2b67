"""Branches: what they have of their base, what they leave alone, how they end and are saved."""

from __future__ import annotations

import gc
import itertools
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soak import scaled

from eslab import (
    Branch,
    Edit,
    EslabError,
    Event,
    HandlerError,
    InputError,
    Insert,
    Lab,
    Move,
    NewEvent,
    Projection,
    ProjectionError,
    ReadQuery,
    RecordedEvent,
    Row,
    Rows,
    Saga,
    Skip,
    SqlProjection,
    Step,
    StoreClosedError,
    StoreError,
    SystemClock,
    VirtualClock,
    on,
)
from eslab.clock import VIRTUAL_START, SeededIds
from eslab.messaging import Envelope
from eslab.projections import ProjectionRunner
from eslab.replay import AnyEdit, edited
from eslab.schema import EventRegistry
from eslab.simulation.scenarios import accounts
from eslab.store.duckdb import DuckDBStore
from eslab.store.duckdb import branch as branch_module


class Counted(Event):
    key: str
    amount: int


class Total(Row, key="key"):
    key: str
    total: int = 0


class Totals(Projection):
    row = Total

    @on
    def counted(self, event: Counted, rows: Rows[Total]) -> None:
        rows.ensure(key=event.key).total += event.amount


class Sums(SqlProjection):
    events = (Counted,)
    query = "select key, sum(amount)::bigint as total from counted group by key"
    key = "key"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=7) as opened:
        fill(opened, 12)
        yield opened


def fill(lab: Lab, count: int) -> None:
    for number in range(count):
        lab.clock.advance(timedelta(seconds=1))
        key = "abc"[number % 3]
        lab.append(f"count-{key}", [Counted(key=key, amount=number)])


def bare(events: Any) -> list[tuple[Any, ...]]:
    return [
        (e.position, e.stream_id, e.version, e.type, e.event_id, e.data, e.recorded_at)
        for e in events
    ]


# What a branch has.


@settings(deadline=None, max_examples=scaled(12, 300))
@given(at=st.integers(0, 12), flushed=st.booleans(), own=st.integers(0, 4))
def test_a_branch_has_what_its_base_had_and_its_own(at: int, flushed: bool, own: int) -> None:
    with Lab(seed=7) as lab, Lab(seed=8) as plain:
        for one in (lab, plain):
            one.project(Totals(), Sums())
        fill(lab, 12)
        if flushed:
            lab.store.flush()
        branch = lab.branch(at=at)
        plain.store.import_events(
            [
                (event.stream_id, NewEvent(event.type, event.data, event_id=event.event_id))
                for event in lab.store.read_all(until=at)
            ],
            progress=False,
        )
        for number in range(own):
            for one in (branch, plain):
                key = "bd"[number % 2]
                one.append(f"count-{key}", [Counted(key=key, amount=100)])
        fill(lab, 3)
        seen = [
            [(e.position, e.stream_id, e.version, e.data) for e in one.store.read_all()]
            for one in (branch, plain)
        ]
        assert seen[0] == seen[1]
        branch.run()
        plain.run()
        for query in (
            "select key, total from totals order by key",
            "select key, total from sums order by key",
            "select position, stream_id, version, key, amount from counted order by position",
            "select position, stream_id, category, data from events order by position",
            "select name from streams order by stream_id",
        ):
            assert branch.sql(query).fetchall() == plain.sql(query).fetchall()
        counts = [
            one.store.counts(["Counted", "Other"], after=2, until=99) for one in (branch, plain)
        ]
        assert counts[0] == counts[1]
        assert branch.store.streams() == plain.store.streams()
        branch.store.verify().require()


def test_nothing_that_is_done_on_a_branch_changes_its_base(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    with Lab(path) as lab:
        for number in range(9):
            lab.append("count-a", [Counted(key="a", amount=number)])
        lab.project(Totals())
        lab.run()
        lab.store.flush()
        before = lab.fingerprint(), lab.store.epoch, lab.store.store_id
        tables = "select * from duckdb_tables() where database_name = 'shop' order by all"
        known = lab.sql(tables).fetchall()
        bytes_before = path.read_bytes()
        with lab.branch(at=5) as branch:
            branch.project(Sums())
            branch.append("count-a", [Counted(key="a", amount=100)])
            branch.append("count-b", [Counted(key="b", amount=100)])
            branch.run()
            assert branch.sql("from sums order by key").fetchall() == [("a", 110), ("b", 100)]
            branch.save_as(tmp_path / "saved.duckdb", progress=False)
        assert path.read_bytes() == bytes_before
        assert (lab.fingerprint(), lab.store.epoch, lab.store.store_id) == before
        assert lab.sql(tables).fetchall() == known
        assert lab.sql("from totals").fetchall() == [("a", 36)]


def test_a_branch_of_a_branch(lab: Lab) -> None:
    with lab.branch(at=6) as first:
        first.append("count-a", [Counted(key="a", amount=50)])
        first.append("other-1", [Counted(key="o", amount=1)])
        with first.branch(at=7) as second:
            second.append("other-1", [Counted(key="o", amount=2)])
            first.append("count-a", [Counted(key="a", amount=51)])
            assert [event.data["amount"] for event in second.store.read("count-a")] == [0, 3, 50]
            assert [event.data["amount"] for event in second.store.read("other-1")] == [2]
            assert [second.base_position(p) for p in range(1, 9)] == [*range(1, 8), None]
            assert second.base is first
            second.store.verify().require()
        assert first.store.head() == 9


def test_a_copy_that_takes_no_appends_can_be_branched(lab: Lab, tmp_path: Path) -> None:
    copy = lab.store.copy_to(tmp_path / "copy.duckdb")
    with Lab.open_copy(copy) as looked_at, looked_at.branch(at=4, seed=1) as branch:
        branch.append("count-a", [Counted(key="a", amount=1)])
        assert branch.store.head() == 5
        assert branch.clock.now() == VIRTUAL_START + timedelta(seconds=4)


@pytest.mark.parametrize("at", [-1, 13, 2.0, True, "5"])
def test_a_position_that_there_is_not_is_refused(lab: Lab, at: Any) -> None:
    with pytest.raises(InputError, match=r"a position from 0 to 12, the last one here, not"):
        lab.branch(at=at)


# Time and identity.


def test_the_same_calls_give_the_same_bytes_and_two_branches_differ() -> None:
    def prints() -> list[str]:
        found = []
        with Lab(seed=7) as lab:
            fill(lab, 4)
            for _ in range(2):
                branch = lab.branch(at=2)
                branch.append("count-a", [Counted(key="a", amount=1)])
                found += [branch.fingerprint(), str(branch.store.store_id), str(branch.seed)]
        return found

    first = prints()
    assert first == prints()
    assert len(set(first)) == 6


def test_its_clock_begins_where_its_last_event_was_recorded(lab: Lab) -> None:
    for at in (0, 1, 12):
        assert lab.branch(at=at).clock.now() == VIRTUAL_START + timedelta(seconds=at)
    with Lab() as real:
        real.append("count-a", [Counted(key="a", amount=1)])
        branch = real.branch()
        assert isinstance(real.clock, SystemClock)
        assert isinstance(branch.clock, VirtualClock)
        assert branch.clock.now() == real.store.last_recorded_at()
        assert branch.seed is None


def test_a_seed_can_be_given(lab: Lab) -> None:
    ids = [lab.branch(seed=5).append("x-1", [Counted(key="x", amount=1)]) for _ in range(2)]
    assert ids[0] == ids[1]
    assert lab.branch(seed=5).seed == 5
    with pytest.raises(InputError, match="seed must be a whole number"):
        lab.branch(seed="5")  # type: ignore[arg-type]


def test_no_id_is_that_of_another_event_though_the_seeds_are_the_same() -> None:
    with Lab(seed=7) as lab:
        fill(lab, 4)
        last: Lab = lab
        for _ in range(3):
            last = last.branch(Skip(1), Insert(2, "count-new", Counted(key="a", amount=1)), seed=7)
            last.append("count-new", [Counted(key="a", amount=1)])
            last.store.verify().require()


def test_an_id_that_was_given_counts_up_to_the_position(lab: Lab) -> None:
    event = NewEvent("Counted", {"key": "a", "amount": 1}, event_id=SeededIds(1).mint(99))
    lab.store.append("count-a", [event])
    for flush in (False, True):
        if flush:
            lab.store.flush()
        assert lab.branch(at=13).store.append("count-a", [event]).duplicate
        assert lab.branch(at=12).store.append("count-a", [event]).position == 13
    assert lab.store.append("count-a", [event]).duplicate


# What is registered.


class GetTotal(ReadQuery):
    key: str


def test_what_is_registered_in_the_base_is_registered_in_the_branch(lab: Lab) -> None:
    seen: list[str] = []

    def watched(envelope: Envelope, go_on: Callable[..., Any]) -> Any:
        seen.append(type(envelope.message).__name__)
        return go_on()

    def answer(query: GetTotal, asked: Lab) -> list[Any]:
        return asked.sql("select total from totals where key = ?", [query.key]).fetchall()

    lab.register(accounts.account)
    lab.use(watched)
    lab.handles(answer)
    lab.project(Totals())
    lab.run()
    branch = lab.branch(at=3)
    assert branch.query(GetTotal(key="b")) == [(1,)]
    branch.execute(accounts.OpenAccount(account_id="1", owner="Ann"))
    assert branch.load(accounts.account, "1").version == 1
    assert lab.query(GetTotal(key="b")) == [(1 + 4 + 7 + 10,)]
    assert lab.store.stream_version("account-1") == 0
    assert seen == ["GetTotal", "OpenAccount", "GetTotal"]


def test_an_answer_that_names_the_base_is_refused_on_a_branch(lab: Lab) -> None:
    def answer(query: GetTotal) -> int:
        return lab.store.head()

    lab.handles(answer)
    assert lab.query(GetTotal(key="a")) == 12
    with lab.branch(at=3) as branch, pytest.raises(HandlerError, match="its second argument"):
        branch.branch().query(GetTotal(key="a"))


def test_read_models_are_there_when_they_are_named_and_no_time_passes(lab: Lab) -> None:
    lab.project(Totals(), Sums())
    with lab.branch(at=6) as branch:
        began = branch.clock.now()
        assert branch.sql("select sum(total) from totals").fetchall() == [(15,)]
        assert branch.sql("select sum(total) from sums").fetchall() == [(15,)]
        branch.run()
        assert branch.clock.now() == began
        branch.append("count-a", [Counted(key="a", amount=1)])
        branch.run()
        assert branch.clock.now() > began
        assert branch.sql("select sum(total) from totals").fetchall() == [(16,)]


@pytest.mark.parametrize("use", ["pause", "rebuild", "reset", "lag", "resume", "wait", "past"])
def test_tables_of_read_models_are_made_when_they_are_asked_for(lab: Lab, use: str) -> None:
    lab.project(Totals(), Sums())
    lab.run()
    branch = lab.branch(at=4)
    assert branch.store._database.untouched
    match use:
        case "pause":
            branch.pause("totals")
            assert branch.sql("from totals").fetchall() == []
            branch.resume("totals")
        case "resume":
            branch.resume("totals")
        case "rebuild":
            branch.rebuild("totals", progress=False)
        case "reset":
            branch.reset("totals", to=2, progress=False)
            assert branch.sql("select sum(total) from totals").fetchall() == [(1,)]
        case "lag":
            assert branch.projections.df["lag_events"].to_list() == [4, 4]
        case "wait":
            assert branch.wait(branch._commands._token(4, duplicate=False))
        case "past":
            assert branch.as_of(position=2, read_model="totals").df["total"].sum() == 1
    branch.run()
    for name in ("totals", "sums"):
        assert branch.sql(f"select sum(total) from {name}").fetchall() == [(6,)]


def test_what_cannot_be_projected_is_said_when_work_is_done(lab: Lab) -> None:
    class Few(Totals):
        @on
        def counted(self, event: Counted, rows: Rows[Total]) -> None:
            assert event.amount < 100, "planted"
            rows.ensure(key=event.key).total += event.amount

    lab.project(Few(), Sums())
    with lab.branch(Edit(3, {"amount": 100})) as branch:
        before = [("a", 0), ("b", 1)]
        assert branch.sql("from few order by key").fetchall() == before
        with pytest.raises(ProjectionError, match=r"'few' stopped at .*@3.*planted"):
            branch.run()
        assert branch.sql("select total from sums where key = 'c'").fetchall() == [
            (100 + 5 + 8 + 11,)
        ]
    lab.run()


def test_sagas_in_flight_go_on_by_themselves(lab: Lab) -> None:
    done: Counter[str] = Counter()

    def step(name: str) -> Step:
        return Step(name, lambda context: done.update([name]))

    trip = Saga("trip", [step("hotel"), step("train"), step("car")])
    lab.start_saga(trip, "1")
    lab.run()
    end = lab.store.head()
    for at in range(12, end + 1):
        done.clear()
        with lab.branch(at=at) as branch:
            branch.run()
            if at > 12:
                assert branch.saga_state("trip", "1").status.value == "COMPLETED"
            assert all(count == 1 for count in done.values())
            assert branch.store.stream_version("saga-trip-1") == (end - 12 if at > 12 else 0)
    assert lab.store.head() == end


def test_nobody_is_subscribed_to_its_bus(lab: Lab) -> None:
    told: list[RecordedEvent] = []
    lab.bus.subscribe(Counted, told.append)
    with lab.branch() as branch:
        branch.append("count-a", [Counted(key="a", amount=1)])
        branch.run()
    assert told == []


# Edited history.


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[AnyEdit], int]:
    at = draw(st.integers(1, 12))
    edits: list[AnyEdit] = []
    for position in draw(st.lists(st.integers(1, at), unique=True, max_size=5)):
        kind = draw(st.sampled_from(["skip", "edit", "move"]))
        after = draw(st.integers(0, at).filter(lambda place, of=position: place != of))
        edits.append(
            {
                "skip": Skip(position),
                "edit": Edit(position, {"amount": 100}),
                "move": Move(position, after=after),
            }[kind]
        )
    for after in draw(st.lists(st.integers(0, at), max_size=4)):
        key = draw(st.sampled_from("abde"))
        edits.append(Insert(after, f"count-{key}", Counted(key=key, amount=1_000)))
    return edits, at


@settings(deadline=None, max_examples=scaled(25, 1_000))
@given(history=histories(), nested=st.booleans())
def test_a_branch_with_edits_is_what_was_planned(
    history: tuple[list[AnyEdit], int], nested: bool
) -> None:
    edits, at = history
    with Lab(seed=7) as lab:
        fill(lab, 14)
        base = lab.branch(at=13) if nested else lab
        plan = edited(base.store, edits, at=at, registry=lab.registry)
        fill(lab, 2)
        branch = base.branch(*edits, at=at)
        log = list(branch.store.read_all())
        assert bare(log[: plan.start]) == bare(base.store.read_all(until=plan.start))
        planned = list(plan.events)
        assert [(one.stream_id, one.event.type, one.event.data) for one in planned] == [
            (event.stream_id, event.type, event.data) for event in log[plan.start :]
        ]
        for one, event in zip(planned, log[plan.start :], strict=True):
            assert one.event.event_id in (None, event.event_id)
            assert branch.base_position(event.position) == one.base_position
            if one.base is not None:
                assert (event.event_id == one.base.event_id) == (one.edit != "edited")
        times = [one.recorded_at for one in planned]
        before = log[plan.start - 1].recorded_at if plan.start else times[0] if times else None
        assert [event.recorded_at for event in log[plan.start :]] == list(
            itertools.accumulate([before, *times], max)
        )[1:]
        for stream_id in {event.stream_id for event in log}:
            versions = [event.version for event in log if event.stream_id == stream_id]
            assert versions == list(range(1, branch.store.stream_version(stream_id) + 1))
            branch.append(stream_id, [Counted(key="z", amount=1)], expected_version=len(versions))
        found = branch.sql("select position, base_position from origins order by 1").fetchall()
        assert found == [
            (event.position, branch.base_position(event.position))
            for event in log
            if branch.base_position(event.position) is not None
        ]
        branch.store.verify().require()


def test_what_follows_an_edit_follows_in_read_models_and_typed_tables(lab: Lab) -> None:
    lab.project(Totals())
    lab.run()
    lab.sql("from counted").fetchall()
    with lab.branch(Skip(2), Insert(5, "count-d", Counted(key="d", amount=7))) as branch:
        found = branch.sql(
            "select position, version, key, amount from counted order by 1"
        ).fetchall()
        assert found[:6] == [
            (1, 1, "a", 0),
            (2, 1, "c", 2),
            (3, 2, "a", 3),
            (4, 1, "b", 4),
            (5, 1, "d", 7),
            (6, 2, "c", 5),
        ]
        assert branch.sql("select total from totals where key = 'b'").fetchall() == [(4 + 7 + 10,)]
    with pytest.raises(InputError, match="between the positions 5 and 12, not at 3"):
        lab.store.branch(start=5, removed=[3])
    with pytest.raises(InputError, match="behind a position from 0 to 2, not 3"):
        lab.store.branch(at=2, start=3)


def test_a_position_of_a_branch_that_there_is_not_is_refused(lab: Lab) -> None:
    for position in (0, 5, True):
        with pytest.raises(InputError, match="the branch has 1 to 4"):
            lab.branch(at=4).base_position(position)


# Typed tables of the base.


def test_rows_of_the_base_are_taken_and_those_behind_made(lab: Lab) -> None:
    lab.store.append("count-a", [NewEvent("Counted", {"key": "a"})])  # it does not fit
    lab.sql("from counted").fetchall()
    fill(lab, 3)  # the table of the base is behind
    with lab.branch(at=15) as branch:
        query = "select position, stream_id, amount from counted order by position"
        assert branch.sql(query).fetchall() == lab.sql(f"from ({query}) limit 14").fetchall()
        errors = "select position from typing_errors"
        assert branch.sql(errors).fetchall() == lab.sql(errors).fetchall() == [(13,)]
    lab.sql("from counted").fetchall()
    with lab.branch(at=12) as branch:
        for number in range(3):
            branch.append("count-z", [Counted(key="z", amount=number)])
        assert branch.sql("select count(*), max(position) from counted").fetchall() == [(15, 15)]
        assert branch.sql("select sum(amount) from counted where key = 'z'").fetchall() == [(3,)]
        assert branch.sql("from typing_errors").fetchall() == []


# Threads, and the end.


def test_branches_go_their_ways_while_the_base_goes_on(lab: Lab) -> None:
    failures: list[BaseException] = []
    events = list(lab.store.read_all())

    def work(number: int) -> None:
        try:
            for turn in range(4):
                with lab.branch(at=12 - number) as branch:
                    for index in range(5):
                        branch.append("count-a", [Counted(key="a", amount=index)])
                        lab.store.append(f"noise-{number}", [NewEvent("Noise", {"n": turn})])
                    if number % 2:
                        lab.store.flush()
                    for table in ("events", "counted"):
                        found = branch.sql(f"select count(*), max(position) from {table}")
                        assert found.fetchall() == [(17 - number, 17 - number)]
                    assert lab.sql("select count(*) from counted").fetchall() == [(12,)]
                    assert list(branch.store.read_all())[: 12 - number] == events[: 12 - number]
                    branch.store.verify().require()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert lab.store.head() == 12 + 4 * 4 * 5
    lab.store.verify().require()


def test_a_branch_is_used_by_many_threads_at_once(lab: Lab) -> None:
    for _ in range(5):
        branch = lab.branch()
        ready = threading.Barrier(4)
        found: list[Any] = []

        def work(
            branch: Branch = branch,
            ready: threading.Barrier = ready,
            found: list[Any] = found,
        ) -> None:
            ready.wait()
            try:
                found.append(branch.sql("select count(*) from counted").scalar())
                branch.store.append("count-a", [NewEvent("Noise", {})])
            except BaseException as error:
                found.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [12] * 4
        assert branch.store.head() == 16
        branch.store.verify().require()


def test_a_base_closes_its_branches_first(lab: Lab) -> None:
    first = lab.branch()
    second = first.branch()
    second.sql("from events").fetchall()
    lab.close()
    for branch in (second, first):
        assert branch.store.closed
        assert repr(branch).endswith("at 12: closed)")
        with pytest.raises(StoreClosedError, match="make another branch"):
            branch.store.head()
        with pytest.raises(StoreClosedError):
            branch.append("count-a", [Counted(key="a", amount=1)])
        branch.close()


def test_a_branch_that_is_closed_leaves_its_base_and_its_memory(lab: Lab) -> None:
    branch = lab.branch()
    branch.sql("from events").fetchall()
    assert attached(lab) == 1
    branch.close()
    branch.close()
    assert attached(lab) == 0
    assert lab.append("count-a", [Counted(key="a", amount=1)]).position == 13


def test_a_branch_that_is_dropped_is_let_go_when_the_next_is_made(lab: Lab) -> None:
    lab.branch().sql("from events").fetchall()
    gc.collect()
    assert attached(lab) == 1
    with lab.branch() as branch:
        assert attached(lab) == 0
        branch.sql("from events").fetchall()
        assert attached(lab) == 1


def attached(lab: Lab) -> int:
    query = "select count(*) from duckdb_databases() where database_name like 'branch %'"
    ((count,),) = lab.sql(query).fetchall()
    return int(count)


def test_a_branch_of_what_is_closed_is_refused(lab: Lab) -> None:
    made: list[DuckDBStore] = []

    class ClosedBefore(weakref.WeakSet[DuckDBStore]):
        def add(self, item: DuckDBStore) -> None:
            lab.store.close()
            made.append(item)
            super().add(item)

    lab.store._branches = ClosedBefore()  # it was closed while the branch was made
    with pytest.raises(StoreClosedError):
        lab.store.branch()
    assert made[0].closed
    with pytest.raises(StoreClosedError):
        lab.branch()


def test_tables_of_the_base_are_not_taken_for_those_of_the_branch(lab: Lab) -> None:
    class Shared(Total):
        pass

    class Other(Total):
        pass

    def define(called: str, row_class: type[Row]) -> Projection:
        class Some(Projection):
            name = called
            tables = (row_class,)

            @on
            def counted(self, event: Counted, rows: Rows[Total]) -> None:
                rows.ensure(key=event.key).total += 1

        return Some()

    lab.project(define("first", Shared))
    with lab.branch() as branch:
        branch.sql("from shared").fetchall()
        for one in (define("second", Shared), define("first", Other)):
            # As in another lab, which does not know what that one had.
            assert ProjectionRunner(branch.store, one, EventRegistry()).step()
        for table in ("shared", "other"):
            assert branch.sql(f"select sum(total) from {table}").fetchall() == [(12,)]


def test_whoever_reads_a_branch_uses_its_base(lab: Lab) -> None:
    branch = lab.branch().branch()
    branch.sql("from events").fetchall()
    assert not lab.store._database.in_use
    with branch.store._database.cursor():
        assert lab.store._database.in_use


def test_a_branch_ends_when_what_it_is_in_gives_up(tmp_path: Path) -> None:
    with Lab(tmp_path / "shop.duckdb") as lab:
        lab.append("count-a", [Counted(key="a", amount=1)])
        branch = lab.branch()
        branch.sql("from events").fetchall()
        lab.store._database._reconnect()
        with pytest.raises(StoreClosedError):
            branch.sql("from events")
        assert lab.store.head() == 1
        assert lab.branch().sql("select count(*) from events").fetchall() == [(1,)]


def test_all_branches_end_when_a_checkpoint_of_the_file_fails(tmp_path: Path) -> None:
    with Lab(tmp_path / "shop.duckdb") as lab:
        lab.append("count-a", [Counted(key="a", amount=1)])
        branches = [lab.branch(), lab.branch().branch()]
        for branch in branches:
            branch.sql("from events").fetchall()
        database = lab.store._database
        database._connection.execute("set debug_checkpoint_abort = 'before_header'")
        lab.store.compact()
        lab.append("count-a", [Counted(key="a", amount=2)])
        with pytest.raises(StoreError, match="invalidated"):
            lab.store.flush()
        assert lab.sql("select sum(amount) from counted").fetchall() == [(3,)]
        for branch in branches:
            with pytest.raises(StoreClosedError):
                branch.sql("from events")
        lab.store.compact()
        lab.store.verify().require()
    with Lab(tmp_path / "shop.duckdb") as lab:
        assert lab.store.head() == 2


def test_tables_that_could_not_be_made_are_made_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    branch = lab.branch(at=2)
    with monkeypatch.context() as planted:
        planted.setattr("eslab.store.duckdb.branch.make_tables", interrupted)
        with pytest.raises(KeyboardInterrupt):
            branch.sql("from events")
    assert branch.sql("select count(*) from events").fetchall() == [(2,)]
    branch.close()
    assert attached(lab) == 0


def test_nothing_is_left_of_a_branch_whose_history_cannot_be_written(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **options: Any) -> None:
        raise duckdb.IOException("planted")

    monkeypatch.setattr("eslab.store.duckdb.branch.write_history", fails)
    with pytest.raises(StoreError, match="history cannot be edited: planted"):
        lab.branch(Skip(3))
    assert attached(lab) == 0


def test_a_commit_that_failed_is_read_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    branch = lab.branch(Skip(1))
    for number in range(3):
        branch.append("count-d", [Counted(key="d", amount=number)])
    branch.store.flush()
    branch.append("count-a", [Counted(key="a", amount=9)])
    branch.store._unsure = True
    assert branch.store.head() == 15
    assert branch.append("count-d", [Counted(key="d", amount=9)], expected_version=3).position == 16
    branch.store.verify().require()


def test_a_wrong_head_is_found_by_verify(lab: Lab) -> None:
    branch = lab.branch(at=6)
    branch.append("count-a", [Counted(key="a", amount=9)])
    branch.store.verify().require()
    branch.store._heads._held["count-a"] = (1, 2, 7)
    with pytest.raises(StoreError, match="memory and database agree"):
        branch.store.verify().require()


# Saved.


@pytest.mark.parametrize("edits", [(), (Skip(2), Move(5, after=1))])
def test_a_saved_branch_is_a_store_of_its_own(
    lab: Lab, tmp_path: Path, edits: tuple[AnyEdit, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eslab.store.duckdb.branch.COPIED", 5)
    branch = lab.branch(*edits, at=10)
    lab.clock.advance(timedelta(days=1))
    branch.append("count-d", [Counted(key="d", amount=9)])
    path = branch.save_as(tmp_path / "saved.duckdb", progress=False)
    assert [file.name for file in tmp_path.iterdir()] == ["saved.duckdb"]
    with Lab(path) as saved:
        saved.store.verify().require()
        assert saved.fingerprint() == branch.fingerprint()
        assert bare(saved.store.read_all()) == bare(branch.store.read_all())
        assert saved.store.store_id not in (branch.store.store_id, lab.store.store_id)
        assert saved.append("count-d", [Counted(key="d", amount=1)], expected_version=1)
        saved.project(Totals())
        saved.run()
        assert saved.sql("select total from totals where key = 'd'").fetchall() == [(10,)]
    with pytest.raises(StoreError, match="exists already"):
        branch.save_as(path)
    copy = branch.store.copy_to(tmp_path / "copy.duckdb")
    with Lab.open_copy(copy) as looked_at:
        assert looked_at.fingerprint() == branch.fingerprint()
        assert looked_at.store.store_id == branch.store.store_id


def test_a_branch_is_saved_as_it_is_at_one_moment(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch = lab.branch()
    branch.sql("from events").fetchall()
    make, threads = branch_module.make_tables, []

    def meanwhile(*args: Any, **options: Any) -> None:
        def work() -> None:
            branch.append("count-new", [Counted(key="new", amount=1)])
            branch.store.flush()

        make(*args, **options)
        threads.append(threading.Thread(target=work))
        threads[0].start()
        threads[0].join(timeout=0.3)

    monkeypatch.setattr(branch_module, "make_tables", meanwhile)
    path = branch.save_as(tmp_path / "saved.duckdb", progress=False)
    threads[0].join()
    with Lab(path) as saved:
        saved.append("count-new", [Counted(key="new", amount=1)])
        query = "select count(*) from events where stream_id = 'count-new'"
        assert saved.sql(query).fetchall() == [(1,)]
        saved.store.verify().require()


def test_nothing_is_left_of_a_branch_that_cannot_be_saved(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch = lab.branch()
    with pytest.raises(EslabError):
        branch.save_as(tmp_path / "nowhere" / "saved.duckdb")
    branch.store.verify().require()
    path = tmp_path / "saved.duckdb"
    # The third event is written twice: what was written is looked at before it gets its name.
    monkeypatch.setattr("eslab.store.duckdb.branch.range", lambda *_: [0, 2], raising=False)
    monkeypatch.setattr("eslab.store.duckdb.branch.COPIED", 3)
    with pytest.raises(StoreError, match="the log is damaged"):
        branch.save_as(path, progress=False)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert branch.save_as(path, progress=False) == path


def test_its_repr_says_what_it_is(lab: Lab) -> None:
    with lab.branch(at=2) as branch:
        assert isinstance(branch, Branch)
        branch.append("count-a", [Counted(key="a", amount=1)])
        assert repr(branch) == (
            "Branch(of ':memory:' at 2: 3 events, 1 of its own, 2 streams, 0 projections, "
            "2026-01-01T00:00:02+00:00)"
        )
        assert repr(branch.store) == "BranchStore(of ':memory:' at 2: 3 events, 1 of its own)"
        assert isinstance(branch.store, DuckDBStore)
