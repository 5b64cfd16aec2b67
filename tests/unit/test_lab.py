"""The lab: the same bytes from the same seed, one lab for a file, and what run() says of errors."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from eslab import (
    Aggregate,
    ClockError,
    EslabError,
    Event,
    InputError,
    Lab,
    Metadata,
    Projection,
    ProjectionError,
    RecordedEvent,
    RegistrationError,
    Row,
    Rows,
    Saga,
    SagaError,
    Step,
    StepContext,
    StoreClosedError,
    StoreOpenError,
    StreamNotFoundError,
    VirtualClock,
    applies,
    on,
    open_store,
)
from eslab.clock import VIRTUAL_START
from eslab.sagas import SagaStatus


class Counted(Event):
    n: int = 1


class Total(Row, key="key"):
    key: str
    total: int = 0


class Totals(Projection):
    row = Total

    @on
    def counted(self, event: Counted, rows: Rows[Total]) -> None:
        rows.ensure(key="all").total += event.n


class Failing(Projection):
    row = Total

    @on
    def counted(self, event: Counted, rows: Rows[Total]) -> None:
        raise ZeroDivisionError


class Counter(Aggregate):
    total: int = 0

    def count(self) -> None:
        self.record(Counted())

    @applies
    def counted(self, event: Counted) -> None:
        self.total += event.n


@pytest.fixture(params=[7, None], ids=["virtual", "wall"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with Lab(seed=request.param) as opened:
        yield opened


# Determinism.

SCENARIO = """
from eslab import *
from eslab.simulation.scenarios.orders import AGGREGATES, ReceiveStock, PlaceOrder, order_fulfilment

class Wished(Event, tags=("who",)):
    who: str
    wishes: frozenset[str]

class Wish(Row, key="who"):
    who: str
    count: int = 0

class Wishes(Projection):
    row = Wish
    @on
    def wished(self, event: Wished, rows: Rows[Wish]) -> None:
        rows.ensure(who=event.who).count += len(event.wishes)

lab = Lab(seed={seed})
lab.project(Wishes())
lab.register(*AGGREGATES, order_fulfilment)
lab.execute(ReceiveStock(article="lamp", quantity=5), metadata=Metadata(actor="Ann"))
for number, place in enumerate(["Boston", "Atlantis", "New York"]):
    lab.append("wish-1", [Wished(who="Bob", wishes=frozenset("one two three four".split()))])
    lab.execute(PlaceOrder(order_id=f"o-{{number}}", article="lamp", quantity=2, customer="Bob",
                           amount=30, destination=place))
    lab.advance("70 ms")
lab.run()
print(lab.fingerprint(), lab.clock.now().isoformat(), lab.sql("from wishes").fetchall())
print(lab.sql("select projection, to_position, committed_at from checkpoint_log order by all").df())
"""


def output(seed: int, hash_seed: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", SCENARIO.format(seed=seed)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def test_the_same_seed_gives_the_same_bytes_in_every_process() -> None:
    assert output(7, "1") == output(7, "2") != ""


def test_the_fingerprint_sees_every_part_of_the_log() -> None:
    def fingerprint(
        stream: str = "s-1", *, seed: int = 7, n: int = 1, later: int = 0, occurred: Any = None
    ) -> str:
        with Lab(seed=seed) as lab:
            lab.advance(timedelta(microseconds=later))
            lab.append(stream, [Counted(n=n)], occurred_at=occurred)
            return lab.fingerprint()

    again = [fingerprint(), fingerprint()]
    others = [
        fingerprint("s-2"),
        fingerprint(seed=8),
        fingerprint(n=2),
        fingerprint(later=1),
        fingerprint(occurred=datetime(2013, 1, 1, tzinfo=UTC)),
    ]
    assert len({*again, *others}) == 6


# One lab for a file.


def test_a_second_lab_on_a_file_supersedes_the_first(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    first = Lab(path)
    first.append("s-1", [Counted()])
    first.project(Totals())
    second = Lab(path)
    assert second.store is first.store
    assert (first.superseded, second.superseded) == (True, False)
    assert "superseded" in repr(first)
    with pytest.raises(EslabError, match="superseded"):
        first.run()
    first.append("s-1", [Counted()])
    second.project(Totals())
    second.run()
    assert second.sql("select total from totals").scalar() == 2
    first.close()
    assert not second.store.closed
    second.close()
    second.close()
    with pytest.raises(StoreClosedError):
        first.append("s-1", [Counted()])
    with Lab(path) as third:
        assert third.store.head() == 2
        assert not third.superseded


def test_labs_in_memory_are_apart() -> None:
    with Lab(seed=7) as one, Lab(seed=7) as two:
        one.append("s-1", [Counted()])
        assert (one.superseded, two.store.head()) == (False, 0)


def test_a_closed_lab_says_so(lab: Lab) -> None:
    lab.project(Totals())
    lab.close()
    assert "closed" in repr(lab)
    for use in (lab.run, lab.fingerprint, lambda: lab.sql("select 1")):
        with pytest.raises(StoreClosedError):
            use()


def test_a_virtual_clock_goes_on_where_the_file_ends(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    with Lab(path, seed=7) as lab:
        lab.advance("1h")
        lab.append("s-1", [Counted()])
    with Lab(path, seed=7) as lab:
        assert lab.clock.now() == VIRTUAL_START + timedelta(hours=1)
        lab.append("s-1", [Counted()])
        assert len({event.event_id for event in lab.store.read_all()}) == 2


def test_a_file_that_is_no_store_makes_no_lab(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary")
    with pytest.raises(StoreOpenError):
        Lab(path)
    with pytest.raises(InputError, match="seed"):
        Lab(seed=True)
    with pytest.raises(InputError, match="seed"):
        Lab(seed="7")  # type: ignore[arg-type]


def test_a_lab_shares_the_store_that_is_open(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    with open_store(path) as store, Lab(path, clock=VirtualClock()) as lab:
        assert lab.store is store
        assert repr(lab).startswith(f"Lab('{path}': 0 events")


# Writing.


def test_append_load_and_save(lab: Lab) -> None:
    metadata = Metadata(actor="Ann")
    when = datetime(2013, 1, 1, tzinfo=UTC)
    result = lab.append(
        "counter-1", [Counted()], expected_version=0, occurred_at=when, metadata=metadata
    )
    assert result.version == 1
    (event,) = lab.store.read("counter-1")
    assert (event.metadata, event.occurred_at) == (metadata, when)
    counter = lab.load(Counter, "1")
    counter.count()
    assert lab.save(counter).version == 2
    assert lab.load(Counter, "1").total == 2
    assert lab.load(Counter, "1", version=1).total == 1
    with pytest.raises(StreamNotFoundError):
        lab.load(Counter, "2")


@pytest.mark.parametrize("events", ["ab", [5], [Counted], [{"n": 1}]], ids=repr)
def test_what_is_no_event_is_refused(lab: Lab, events: Any) -> None:
    with pytest.raises(InputError):
        lab.append("s-1", [Counted(), *events])
    assert lab.store.head() == 0


def test_two_classes_of_one_name_are_refused(lab: Lab) -> None:
    class Other(Event, type="Counted"):
        pass

    lab.register(Counted, Counter, Saga("s", [Step("a", print)]))
    with pytest.raises(RegistrationError):
        lab.append("s-1", [Other()])
    for bad in (5, None, Other(), Total):
        with pytest.raises(InputError):
            lab.register(bad)  # type: ignore[arg-type]


# Work.


def test_run_does_everything_else_and_then_says_what_failed(lab: Lab) -> None:
    seen: list[int] = []
    lost = Saga("lost", [Step("a", print), Step("b", lambda _: 1 / 0)])
    lab.project(Failing(), Totals())
    lab.bus.subscribe(Counted, lambda event: seen.append(event.position))
    lab.start_saga(Saga("good", [Step("a", lambda context: context.saga_id)]), "1")
    lab.start_saga(lost, "1")
    lab.register(Saga("lost", [Step("c", print)]))
    lab.append("s-1", [Counted()])
    with pytest.raises(ProjectionError, match="'failing' stopped"):
        lab.run()
    assert lab.sql("select total from totals").scalar() == 1
    assert seen == [3]
    assert "SagaCompleted" in [e.type for e in lab.store.read("saga-good-1")]
    lab.run()


def test_a_saga_that_cannot_go_on_is_an_error_each_time(lab: Lab) -> None:
    errors: list[BaseException] = [KeyboardInterrupt(), ValueError()]

    def interrupted(context: StepContext) -> None:
        raise errors.pop(0)

    saga = Saga("lost", [Step("a", lambda _: None), Step("b", interrupted)])
    lab.start_saga(saga, "1")
    with pytest.raises(KeyboardInterrupt):
        lab.run()
    refused = Saga("lost", [Step("b", lambda _: 1 / 0)])
    lab.register(refused)
    for _ in range(2):
        with pytest.raises(SagaError, match="no step 'a'"):
            lab.run()
    lab.register(saga)
    lab.run()
    assert lab.saga_state(saga, "1").status is SagaStatus.COMPENSATED


@pytest.mark.parametrize("where", ["projection", "bus", "saga"])
def test_an_interrupt_leaves_a_lab_that_goes_on(lab: Lab, where: str) -> None:
    interrupts = {where}

    def interrupt(place: str) -> None:
        if place in interrupts:
            interrupts.clear()
            raise KeyboardInterrupt

    class Interrupted(Totals):
        name = "totals"

        @on
        def counted(self, event: Counted, rows: Rows[Total]) -> None:
            rows.ensure(key="all").total += event.n
            interrupt("projection")

    lab.project(Interrupted())
    lab.bus.subscribe(Counted, lambda _: interrupt("bus"))
    saga = Saga("s", [Step("a", lambda _: interrupt("saga"))])
    lab.start_saga(saga, "1")
    lab.append("s-1", [Counted(), Counted()])
    with pytest.raises(KeyboardInterrupt):
        lab.run()
    lab.run()
    assert lab.sql("select total from totals").scalar() == 2
    assert lab.saga_state(saga, "1").completed == ("a",)


@pytest.mark.parametrize("where", ["projection", "bus", "saga"])
def test_a_lab_that_is_closed_in_the_middle_of_its_work_ends(lab: Lab, where: str) -> None:
    class Closing(Projection):
        row = Total

        @on
        def counted(self, event: Counted, rows: Rows[Total]) -> None:
            if where == "projection":
                lab.close()

    lab.project(Closing())
    if where == "bus":
        lab.bus.subscribe(Counted, lambda _: lab.close())
    if where == "saga":
        lab.start_saga(Saga("s", [Step("a", lambda _: lab.close())]), "1")
    lab.append("s-1", [Counted()])
    with pytest.raises(EslabError):
        lab.run()
    assert lab.store.closed


def test_handlers_may_append_and_the_work_goes_on(lab: Lab) -> None:
    def again(event: RecordedEvent) -> None:
        if event.data["n"] < 4:
            lab.append("s-1", [Counted(n=event.data["n"] + 1)])

    lab.project(Totals())
    lab.bus.subscribe(Counted, again)
    lab.start_saga(Saga("s", [Step("a", lambda _: again(next(lab.store.read("s-1"))))]), "1")
    lab.append("s-1", [Counted(n=1)])
    lab.run()
    assert lab.sql("select total from totals").scalar() == 1 + 2 * (2 + 3 + 4)


def test_threads_append_while_others_run(lab: Lab) -> None:
    errors: list[BaseException] = []

    def guarded(work: Any) -> None:
        try:
            for _ in range(20):
                work()
        except BaseException as error:
            errors.append(error)

    lab.project(Totals())
    works = [
        lambda: lab.append("s-1", [Counted()]),
        lambda: lab.append("s-2", [Counted()]),
        lab.run,
    ]
    threads = [threading.Thread(target=guarded, args=(work,)) for work in [*works, lab.run]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lab.run()
    assert errors == []
    assert lab.sql("select total from totals").scalar() == 40


def test_cells_that_are_run_twice(lab: Lab) -> None:
    """With the annotations as text, and with the annotations as classes."""
    for future in ("from __future__ import annotations\n", ""):
        cell = future + (
            "from eslab import *\n"
            "class Said(Event):\n    word: str\n"
            "class Speech(Aggregate):\n"
            "    words: list[str] = []\n"
            "    def say(self, word):\n        self.record(Said(word=word))\n"
            "    @applies\n    def said(self, event: Said) -> None:\n"
            "        self.words.append(event.word)\n"
            "class Word(Row, key='word'):\n    word: str\n    times: int = 0\n"
            "class Words(Projection):\n    row = Word\n"
            "    @on\n    def said(self, event: Said, rows: Rows[Word]) -> None:\n"
            "        rows.ensure(word=event.word).times += 1\n"
            "lab.register(Said, Speech)\n"
            "lab.project(Words())\n"
            "speech = lab.repository.find(Speech, '1')\n"
            "speech.say('hello')\n"
            "lab.save(speech)\n"
            "lab.run()\n"
        )
        notebook = {"__name__": "__main__", "lab": lab}
        exec(compile(cell, "cell", "exec", dont_inherit=True), notebook)
        exec(compile(cell, "cell", "exec", dont_inherit=True), notebook)
    assert lab.sql("from words").fetchall() == [("hello", 4)]
    assert lab.store.stream_version("speech-1") == 4


# The clock.


def test_advance_does_what_falls_due() -> None:
    with Lab(seed=7) as lab:
        lab.project(Totals())
        lab.append("s-1", [Counted()])
        lab.advance("500us")
        assert lab.sql("select count(*) from totals").scalar() == 0
        lab.advance(timedelta(minutes=1))
        assert lab.sql("select total from totals").scalar() == 1
        assert lab.clock.now() == VIRTUAL_START + timedelta(minutes=1, microseconds=500)
        with pytest.raises(InputError, match="duration"):
            lab.advance("soon")


@pytest.mark.parametrize("by", [timedelta(-1), "-5 min", timedelta.max])
def test_a_clock_is_advanced_forwards_and_to_times_that_there_are(by: timedelta | str) -> None:
    with Lab(seed=7) as lab:
        with pytest.raises(ClockError):
            lab.advance(by)
        assert lab.clock.now() == VIRTUAL_START


def test_the_machines_clock_cannot_be_advanced() -> None:
    with Lab() as lab, pytest.raises(ClockError, match="seed"):
        lab.advance("1h")
