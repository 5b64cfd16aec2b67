"""Delivery: what cannot be handled is tried again, parked in the order of its stream, or stops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soak import scaled

from eslab import (
    EslabError,
    Event,
    InputError,
    Lab,
    Projection,
    ProjectionError,
    Row,
    Rows,
    StoreError,
    on,
)
from eslab.clock import VIRTUAL_START
from eslab.projections import Rebuild
from eslab.store.duckdb.transaction import DuckDBTransaction
from eslab.subscriptions import ErrorPolicy, Inbox, Retry
from eslab.subscriptions.delivery import (
    DeadLetter,
    DeadLetterDiscarded,
    DeadLetterRetried,
    DeadLetters,
)


class Counted(Event):
    key: str
    by: int = 1


class Other(Event):
    pass


class Total(Row, key="key"):
    key: str
    seen: str = ""


BROKEN: set[str] = set()
"""The letters at which the handler fails: a fault of its surroundings, which can be mended."""


class Texts(Projection):
    """Keeps of each key the letters in the order in which they came."""

    row = Total
    batch = 3
    on_error = "dead-letter"

    @on
    def counted(self, event: Counted, rows: Rows[Total]) -> None:
        rows.ensure(key=event.key[0]).seen += event.key[1]
        if event.key[1] in BROKEN:
            raise ValueError(f"{event.key} is broken")


@pytest.fixture(autouse=True)
def _mended() -> Iterator[None]:
    BROKEN.clear()
    yield
    BROKEN.clear()


@pytest.fixture(params=["virtual", "wall"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with Lab(seed=7 if request.param == "virtual" else None) as opened:
        yield opened


def append(lab: Lab, *keys: str) -> None:
    """Append each to the stream of its first letter; between them is what nobody wants."""
    for key in keys:
        lab.append(f"text-{key[0]}", [Other(), Counted(key=key)])


def held(lab: Lab, name: str = "texts") -> dict[str, str]:
    return dict(lab.sql(f"select key, seen from rm.{name} order by key").fetchall())


def parked(lab: Lab, name: str = "texts") -> list[tuple[str, int, bool]]:
    letters = lab.dead_letters(name)
    return [(letter.sequence, letter.position, letter.reason is not None) for letter in letters]


def test_behind_a_parked_event_those_of_its_stream_wait_and_others_go_on(lab: Lab) -> None:
    BROKEN.add("2")
    lab.project(Texts())
    append(lab, "a1", "a2", "b1", "a3", "b3", "a4")
    lab.run()
    assert held(lab) == {"a": "1", "b": "13"}
    assert parked(lab) == [("text-a", 4, True), ("text-a", 8, False), ("text-a", 12, False)]
    letters = lab.dead_letters("texts")
    assert letters.df["reason"].tolist()[0] == "ValueError: a2 is broken"
    assert letters.df["type"].tolist() == ["Counted"] * 3
    assert repr(letters) == "<DeadLetters of texts: 3>"
    assert lab.projections.df["checkpoint"].tolist() == [12]
    append(lab, "a5", "b5")
    lab.run()
    assert (held(lab)["b"], len(letters)) == ("135", 4)


def test_a_retry_handles_a_sequence_in_its_order(lab: Lab) -> None:
    BROKEN.update("24")
    lab.project(Texts())
    append(lab, "a1", "a2", "b2", "a3", "a4", "a5", "b5")
    lab.run()
    letters = lab.dead_letters("texts")
    assert letters.retry(sequence="text-b").failed == {6: "ValueError: b2 is broken"}
    assert [letter.attempts for letter in letters if letter.sequence == "text-b"] == [2, 0]
    with pytest.raises(InputError, match=r"at 8 waits behind the one at 4 of 'text-a'"):
        letters.retry(position=8)
    BROKEN.remove("2")
    assert letters.retry(position=4).handled == (4,)
    assert held(lab) == {"a": "12"}
    again = letters.retry()
    assert (again.handled, list(again.failed), bool(again)) == ((6, 8, 14), [10], False)
    assert "a4 is broken" in repr(again)
    assert held(lab) == {"a": "123", "b": "25"}
    append(lab, "a6")
    lab.run()
    BROKEN.clear()
    assert letters.retry()
    append(lab, "a7")
    lab.run()
    assert held(lab) == {"a": "1234567", "b": "25"}
    assert len(letters) == 0
    assert letters.retry().handled == ()
    asked = lab.sql(
        "select data->>'$.event_position', data->>'$.attempt' from events "
        "where type = ? order by position",
        [DeadLetterRetried.event_type],
    )
    assert asked.fetchall()[:2] == [("6", "2"), ("4", "2")]


def test_what_is_discarded_is_never_handled_not_by_a_rebuild_either(lab: Lab) -> None:
    BROKEN.add("2")
    lab.project(Texts())
    append(lab, "a1", "a2", "a3")
    lab.run()
    with pytest.raises(InputError, match="say for whoever asks later why"):
        lab.dead_letters("texts").discard(4, reason=" ")
    with pytest.raises(InputError, match="say at which position"):
        lab.dead_letters("texts").discard(None, reason="all")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"no dead letter at position 5 \(it has @4 text-a, @6"):
        lab.dead_letters("texts").discard(5, reason="no such")
    with pytest.raises(ProjectionError, match="a2 is broken"):
        lab.rebuild("texts")
    lab.dead_letters("texts").discard(4, reason="a typing error")
    assert parked(lab) == [("text-a", 6, False)]
    append(lab, "a4")
    lab.run()
    assert lab.dead_letters("texts").retry().handled == (6, 9)
    assert held(lab) == {"a": "134"}
    lab.rebuild("texts")
    lab.reset("texts")
    assert held(lab) == {}
    lab.run()
    assert held(lab) == {"a": "134"}
    lab.project(Texts())  # another runner reads it from the log
    lab.reset("texts")
    lab.run()
    assert held(lab) == {"a": "134"}


def test_a_discard_that_was_recorded_and_then_cut_off_is_made_good(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    BROKEN.add("2")
    lab.project(Texts())
    append(lab, "a2", "a3")
    lab.run()
    with monkeypatch.context() as patch:
        patch.setattr(DeadLetters, "_remove", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            lab.dead_letters("texts").discard(2, reason="cut off")
    assert len(lab.sql("from dead_letters")) == 2
    lab.project(Texts())
    assert parked(lab) == [("text-a", 4, False)]
    events = lab.store.read_all(types=[DeadLetterDiscarded])
    assert [event.data["reason"] for event in events] == ["cut off"]


def test_what_is_parked_while_somebody_looks_on_keeps_its_order(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    BROKEN.add("2")
    lab.project(Texts())
    append(lab, "a1")
    lab.run()
    letters = lab.dead_letters("texts")
    letters.forget()
    real = letters._kept

    def slow() -> list[DeadLetter]:
        found = real()
        monkeypatch.undo()
        append(lab, "a2")
        lab.run()
        return found

    monkeypatch.setattr(letters, "_kept", slow)
    assert len(letters) == 0  # as it was when it looked
    append(lab, "a3")
    lab.run()
    assert held(lab) == {"a": "1"}
    assert parked(lab) == [("text-a", 4, True), ("text-a", 6, False)]


def test_the_letters_of_an_earlier_projection_are_only_looked_at(lab: Lab) -> None:
    BROKEN.add("2")
    lab.project(Texts())
    append(lab, "a1", "a2", "b1")
    lab.run()
    older = lab.dead_letters("texts")
    lab.project(Texts())  # the cell is run again
    append(lab, "b3")
    lab.run()
    BROKEN.clear()
    assert [letter.position for letter in older] == [4]
    for change in (older.retry, lambda: older.discard(4, reason="a typing error")):
        with pytest.raises(InputError, match="ask that one for dead letters"):
            change()
    assert lab.dead_letters("texts").retry().handled == (4,)
    append(lab, "a3")
    lab.run()
    assert held(lab) == {"a": "123", "b": "13"}


def test_a_newer_lab_on_the_file_has_the_letters(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    BROKEN.add("2")
    with Lab(path) as older:
        older.project(Texts())
        append(older, "a1", "a2")
        older.run()
        with Lab(path) as newer:
            newer.project(Texts())
            BROKEN.clear()
            with pytest.raises(InputError, match="a newer one on its file"):
                older.dead_letters("texts").retry()
            with pytest.raises(EslabError, match="superseded"):
                older.project(Texts())
            assert newer.dead_letters("texts").retry()
            append(newer, "a3")
            newer.run()
            assert held(newer) == {"a": "123"}


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "error",
    [UnspeakableError, lambda: ValueError("half of a pair: \ud800")],
    ids=["no text", "half"],
)
def test_an_error_whose_text_cannot_be_told_is_parked_all_the_same(
    lab: Lab, error: Callable[[], Exception]
) -> None:
    class Odd(Texts):
        @on
        def counted(self, event: Counted, rows: Rows[Total]) -> None:
            if event.key[1] in BROKEN:
                raise error()
            rows.ensure(key=event.key[0]).seen += event.key[1]

    BROKEN.add("2")
    lab.project(Odd())
    append(lab, "a1", "a2", "b1")
    lab.run()
    assert held(lab, "odd") == {"a": "1", "b": "1"}
    (letter,) = lab.dead_letters("odd")
    assert letter.reason is not None
    assert letter.reason.startswith(type(error()).__name__)


@pytest.mark.parametrize("most", [50_000, 0], ids=["held as a whole", "larger"])
@pytest.mark.parametrize("key", [2**100, float("nan")])
def test_a_key_that_cannot_be_one_is_its_events_fault(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, key: float, most: int
) -> None:
    class Sum(Row, key="key"):
        key: type(key)  # type: ignore[valid-type]
        seen: int = 0

    class Sums(Projection):
        row = Sum
        on_error = "dead-letter"

        @on
        def counted(self, event: Counted, rows: Rows[Any]) -> None:
            rows.ensure(key=key if event.by == 2 else type(key)(1)).seen += 1

    monkeypatch.setattr("eslab.projections.rows.MAX_ROWS", most)
    lab.project(Sums())
    for place, by in enumerate([1, 2, 1, 2, 1]):
        lab.append(f"text-{place}", [Counted(key="a", by=by)])
    lab.run()
    assert lab.sql("select seen from sums").fetchall() == [(3,)]
    assert [position for _, position, _ in parked(lab, "sums")] == [2, 4]


def test_what_is_resumed_does_not_wait_until_it_was_to_be_tried_again() -> None:
    class Patient(Texts):
        name = "patient"
        on_error = ErrorPolicy(
            "retry", retry=Retry(first=timedelta(hours=1), longest=timedelta(hours=1), jitter=0)
        )

    with Lab(seed=7) as lab:
        lab.project(Patient())
        for again in (lab.resume, lab.reset):
            BROKEN.add("2")
            append(lab, "a1", "a2")
            lab.advance("1 s")
            BROKEN.clear()
            again("patient")
            lab.advance("1 s")
        assert held(lab, "patient") == {"a": "1212"}
        assert lab.clock.now() - VIRTUAL_START == timedelta(seconds=4)


@pytest.mark.parametrize(
    "statements",
    [("update eslab.checkpoints", "select position"), ("insert into eslab.dead_letters",)],
    ids=["moving and reading", "parking"],
)
def test_a_database_in_trouble_is_tried_again_wherever_it_is(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, statements: tuple[str, ...]
) -> None:
    real, left = DuckDBTransaction.execute, [0]

    def flaky(transaction: DuckDBTransaction, text: str, *values: Any) -> Any:
        if left[0] and text.startswith(statements):
            left[0] -= 1
            raise StoreError("planted: no space left")
        return real(transaction, text, *values)

    monkeypatch.setattr(DuckDBTransaction, "execute", flaky)
    lab.project(Texts())
    BROKEN.add("2")
    append(lab, "a1", "a2", "a3")
    left[0] = 3
    lab.run()
    assert (held(lab), len(lab.dead_letters("texts"))) == ({"a": "1"}, 2)
    append(lab, "b1", "b2")
    left[0] = 100
    with pytest.raises(ProjectionError, match=r"failed \d times: planted: no space left"):
        lab.run()
    assert lab.projections.df["status"].tolist() == ["stopped"]
    left[0] = 0
    lab.resume("texts")
    lab.run()
    assert (held(lab), len(lab.dead_letters("texts"))) == ({"a": "1", "b": "1"}, 3)


def test_a_full_queue_holds_its_projection_up_and_nothing_is_dropped(lab: Lab) -> None:
    class Full(Texts):
        name = "full"
        on_error = ErrorPolicy("dead-letter", limit=3)

    BROKEN.add("2")
    lab.project(Full(), Texts())
    append(lab, "a2", "b1", "a3", "b3", "a4", "a5", "b5")
    token_at = lab.store.head()
    lab.run()
    assert [len(lab.dead_letters(name)) for name in ("full", "texts")] == [3, 4]
    assert held(lab, "full") == {"b": "13"}
    status = lab.projections.df.set_index("projection").loc["full"]
    assert (status["status"], status["checkpoint"] < token_at) == ("blocked", True)
    lab.run()
    assert len(lab.dead_letters("full")) == 3
    BROKEN.clear()
    assert lab.dead_letters("full").retry()
    lab.run()
    assert held(lab, "full") == {"a": "2345", "b": "135"}


def test_a_failure_is_tried_again_with_growing_waits() -> None:
    class Tried(Texts):
        name = "tried"
        on_error = ErrorPolicy(
            "retry", retry=Retry(limit=3, first=timedelta(seconds=10), jitter=0.5)
        )

    with Lab(seed=7) as lab:
        BROKEN.add("2")
        lab.project(Tried(), Texts())
        append(lab, "a1", "a2", "a3")
        reports: list[Any] = []
        lab.observe(reports.append)
        with pytest.raises(ProjectionError, match="a2 is broken"):
            lab.run()
        mine = [report for report in reports if report.projection == "tried"]
        failed = [report.committed_at for report in mine if report.error]
        assert [report.attempt for report in mine if report.error] == [1, 2, 3, 4]
        waits = [(late - early).total_seconds() for early, late in itertools.pairwise(failed)]
        assert all(w / 2 <= wait <= w + 1 for w, wait in zip((10, 20, 40), waits, strict=True))
        beats = lab.sql(
            "select from_position, to_position, count from checkpoint_log "
            "where projection = 'tried' and from_position = to_position"
        ).fetchall()
        assert beats == [(3, 3, 0)] * 2  # at most every 12 seconds
        assert (held(lab, "tried"), held(lab)) == ({"a": "1"}, {"a": "1"})
        BROKEN.clear()
        lab.resume("tried")
        lab.run()
        assert held(lab, "tried") == {"a": "123"}


def test_the_wait_for_a_retry_is_slept_on_the_machines_clock() -> None:
    class Flaky(Texts):
        name = "flaky"
        on_error = ErrorPolicy("retry", then="dead-letter", retry=Retry(2, timedelta(0.0000001)))
        tries = 0

        @on
        def counted(self, event: Counted, rows: Rows[Total]) -> None:
            Flaky.tries += 1
            rows.ensure(key=event.key[0]).seen += event.key[1]
            if event.key[1] in BROKEN:
                raise ValueError("broken")

    with Lab() as lab:
        BROKEN.add("2")
        lab.project(Flaky())
        append(lab, "a2")
        lab.run()
        assert (Flaky.tries, len(lab.dead_letters("flaky"))) == (3, 1)


def test_classify_says_for_an_error_what_is_done_about_it(lab: Lab) -> None:
    def answer(error: Exception) -> str | None:
        return "stop" if "a3" in str(error) else None

    class Sorted(Texts):
        name = "sorted"
        on_error = ErrorPolicy("dead-letter", classify=answer)

    BROKEN.update("23")
    lab.project(Sorted())
    append(lab, "a1", "b2", "a3")
    with pytest.raises(ProjectionError, match="a3 is broken"):
        lab.run()
    assert parked(lab, "sorted") == [("text-b", 4, True)]
    assert held(lab, "sorted") == {"a": "1"}


def test_a_row_that_cannot_be_stored_is_its_events_fault(lab: Lab) -> None:
    class Large(Row, key="key"):
        key: str
        number: int = 0

    class Larger(Projection):
        row = Large
        batch = 50
        on_error = "dead-letter"

        @on
        def counted(self, event: Counted, rows: Rows[Large]) -> None:
            rows.ensure(key=event.key).number = 2**70 if event.by < 0 else event.by

    lab.project(Larger())
    for place in range(1, 21):
        lab.append(f"n-{place}", [Counted(key=str(place), by=-1 if place in (7, 8, 20) else 5)])
    lab.run()
    assert [position for _, position, _ in parked(lab, "larger")] == [7, 8, 20]
    assert lab.sql("select sum(number) from larger").scalar() == 17 * 5


def test_what_is_no_events_fault_is_tried_again_and_parks_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = DuckDBTransaction.execute, [0]

    def flaky(transaction: DuckDBTransaction, statement: str, *values: Any) -> Any:
        if left[0] and statement.startswith("update eslab.checkpoints"):
            left[0] -= 1
            raise StoreError("planted: no space left")
        return real(transaction, statement, *values)

    monkeypatch.setattr(DuckDBTransaction, "execute", flaky)
    lab.project(Texts())
    append(lab, "a1", "a2")
    left[0] = 3
    lab.run()
    assert (held(lab), len(lab.dead_letters("texts"))) == ({"a": "12"}, 0)
    append(lab, "a3")
    left[0] = 100
    with pytest.raises(ProjectionError, match=r"failed 8 times: planted: no space left"):
        lab.run()
    assert (held(lab), left) == ({"a": "12"}, [92])
    left[0] = 0
    lab.resume("texts")
    lab.run()
    assert held(lab) == {"a": "123"}


@pytest.mark.soak
@settings(max_examples=scaled(30, 1_000), deadline=None)
@given(
    st.lists(st.sampled_from(["a1", "a2", "b1", "b2", "c1", "c2", "c3"]), max_size=12),
    st.sets(st.sampled_from("123")),
    st.lists(st.sampled_from(["run", "retry", "mend", "reset", "rebuild"]), max_size=8),
    st.integers(1, 4),
)
def test_whatever_is_parked_and_retried_each_stream_is_handled_in_its_order(
    keys: list[str], broken: set[str], steps: list[str], size: int
) -> None:
    class Sized(Texts):
        name = "texts"
        batch = size

    BROKEN.clear()
    BROKEN.update(broken)
    with Lab(seed=7) as lab:
        lab.project(Sized())
        left = list(keys)
        for step in [*steps, "run"]:
            append(lab, *left[:3])
            left = left[3:]
            if step == "run":
                lab.run()
            elif step == "retry":
                lab.dead_letters("texts").retry()
            elif step == "mend":
                BROKEN.clear()
            elif step == "reset":
                lab.reset("texts")
            else:
                lab.rebuild("texts", on_error="dead-letter")
            rows = held(lab)
            letters = [letter.position for letter in lab.dead_letters("texts")]
            done = lab.sql("select position from checkpoints").scalar()
            expected: dict[str, str] = {}
            for event in lab.store.read_all(until=done, types=[Counted]):
                if event.position not in letters:
                    key = event.data["key"]
                    expected[key[0]] = expected.get(key[0], "") + key[1]
            assert rows == expected
        append(lab, *left)
        BROKEN.clear()
        lab.run()
        assert lab.dead_letters("texts").retry()
        assert held(lab) == {
            key: "".join(k[1] for k in keys if k[0] == key) for key in sorted({k[0] for k in keys})
        }


def test_a_message_counts_once_though_it_comes_twice(lab: Lab) -> None:
    inbox = Inbox("mail")

    def receive_in_vain() -> None:
        with lab.store.transaction() as transaction:
            assert inbox.receive(transaction, "m-1", at=lab.clock.now())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        receive_in_vain()
    for new in (True, False):
        with lab.store.transaction() as transaction:
            assert inbox.receive(transaction, "m-1", at=lab.clock.now()) is new
    with lab.store.transaction() as transaction:
        assert Inbox("other").receive(transaction, "m-1", at=lab.clock.now())


WRONG: dict[str, Callable[[], object]] = {
    "no answer": lambda: ErrorPolicy("ignore"),  # type: ignore[arg-type]
    "for ever": lambda: ErrorPolicy("retry", then="retry"),  # type: ignore[arg-type]
    "no letters": lambda: ErrorPolicy(limit=0),
    "negative": lambda: Retry(limit=-1),
    "no number": lambda: Retry(limit=True),
    "shrinking": lambda: Retry(factor=0.5),
    "first behind longest": lambda: Retry(first=timedelta(minutes=1)),
    "too much chance": lambda: Retry(jitter=2),
    "no wait": lambda: Retry(first="1 s"),  # type: ignore[arg-type]
    "no factor": lambda: Retry(factor="2"),  # type: ignore[arg-type]
    "endless": lambda: Retry(factor=math.inf),
    "no retry": lambda: ErrorPolicy(retry=5),  # type: ignore[arg-type]
    "no function": lambda: ErrorPolicy(classify="stop"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG)
def test_a_policy_that_cannot_be_meant_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        WRONG[name]()


def test_a_projection_with_a_policy_that_there_is_not_is_refused() -> None:
    with pytest.raises(ProjectionError, match="on_error: an error policy is 'retry'"):

        class Wrong(Texts):
            on_error = "ignore"


def fails(_: Exception) -> str:
    raise KeyError("planted")


@pytest.mark.parametrize(
    ("classify", "said"), [(lambda _: "maybe", "'maybe'"), (fails, "planted")], ids=["maybe", "no"]
)
def test_a_classifier_that_gives_no_answer_stops_its_projection(
    lab: Lab, classify: Callable[[Exception], str], said: str
) -> None:
    class Nonsense(Texts):
        name = "nonsense"
        on_error = ErrorPolicy(classify=classify)

    BROKEN.add("2")
    lab.project(Nonsense())
    append(lab, "a1", "a2")
    with pytest.raises(ProjectionError, match=said):
        lab.run()
    assert held(lab, "nonsense") == {"a": "1"}
    assert lab.projections.df["status"].tolist() == ["stopped"]
    BROKEN.clear()
    lab.resume("nonsense")
    lab.run()
    assert held(lab, "nonsense") == {"a": "12"}


def test_waits_grow_to_the_longest_and_differ_by_chance_that_repeats_itself() -> None:
    retry = Retry(limit=2_000, first=timedelta(seconds=1), longest=timedelta(seconds=60))
    waits = [retry.wait("orders 1", tries) for tries in (1, 5, 1_999)]
    assert waits == [retry.wait("orders 1", tries) for tries in (1, 5, 1_999)]
    assert all(wait is not None and wait <= timedelta(seconds=60) for wait in waits)
    assert len({retry.wait(f"orders {position}", 1) for position in range(100)}) > 90


@pytest.mark.parametrize("taken_up", [False, True], ids=["goes on", "is taken up"])
def test_a_discard_counts_in_a_rebuild_that_has_handled_the_event(lab: Lab, taken_up: bool) -> None:
    BROKEN.add("2")
    lab.project(Texts())
    append(lab, "a1", "a2", "b1", "b3", "b4")
    lab.run()
    BROKEN.clear()  # so that the rebuild handles what was parked
    rebuild = Rebuild(lab._projection("texts"))
    while rebuild.position < 5:
        assert rebuild.step()
    assert held(lab, '"texts~rebuild"')["a"] == "12"
    lab.dead_letters("texts").discard(4, reason="never mind")
    if taken_up:
        lab.rebuild("texts")
    else:
        while rebuild.step():
            pass
    assert held(lab) == {"a": "1", "b": "134"}
    assert len(lab.dead_letters("texts")) == 0


def test_a_read_model_as_it_was_is_without_what_is_parked_or_was_discarded(lab: Lab) -> None:
    BROKEN.update("23")
    lab.project(Texts())
    append(lab, "a1", "a2", "b3", "b4", "c5")
    lab.run()
    lab.dead_letters("texts").discard(4, reason="never mind")
    assert lab.as_of(position=8, read_model="texts").df.values.tolist() == [["a", "1"]]
    assert lab.as_of(position=10, read_model="texts").df.values.tolist() == [["a", "1"], ["c", "5"]]
    with pytest.raises(ProjectionError, match="a2 is broken"):
        lab.fold(Texts(), progress=False)
