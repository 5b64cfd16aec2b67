"""Appending: versions, positions, expectations, times, and that it is all or nothing."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from eslab import (
    ANY,
    NO_STREAM,
    STREAM_EXISTS,
    AppendCondition,
    AppendResult,
    ConcurrencyError,
    EventStore,
    InputError,
    LimitError,
    Metadata,
    NewEvent,
    Query,
    StoreClosedError,
    StreamAppend,
    VirtualClock,
)
from eslab.clock import minted_position
from eslab.subscriptions import Subscription

BAD_EVENTS = (
    "NaN",
    "deep infinity",
    "object",
    "tuple",
    "integer key",
    "surrogate",
    "list data",
    "no type",
    "id",
    "tags text",
    "tag number",
    "naive time",
    "text time",
    "schema version",
    "own metadata key",
    "metadata dict",
    "dict",
)


def event(number: int = 0, **options: object) -> NewEvent:
    return NewEvent("Counted", {"number": number}, **options)  # type: ignore[arg-type]


def test_versions_count_in_a_stream_and_positions_over_all(store: EventStore) -> None:
    assert store.append("a-1", [event(1), event(2)]) == AppendResult("a-1", 2, 2)
    assert store.append("b-1", [event(3)]) == AppendResult("b-1", 1, 3)
    assert store.append("a-1", [event(4)]) == AppendResult("a-1", 3, 4)
    assert [(e.stream_id, e.version, e.position) for e in store.read_all()] == [
        ("a-1", 1, 1),
        ("a-1", 2, 2),
        ("b-1", 1, 3),
        ("a-1", 3, 4),
    ]
    assert store.head() == 4
    assert store.stream_version("a-1") == 3
    assert store.stream_version("nobody") == 0


def test_what_is_read_is_what_was_appended(store: EventStore) -> None:
    data = {"text": "é\n\"'<b>\U0001f600", "none": None, "deep": [{"x": 1.5}], "big": 2**70}
    metadata = Metadata(correlation_id="c", actor="Ann", extra={"why": ["x"]})
    id = uuid.uuid4()
    when = datetime(2013, 1, 1, 5, 15, 0, 123456, tzinfo=timezone(timedelta(hours=-5)))
    new = NewEvent("Odd", data, id, ("t:1", "t:2"), when, metadata, schema_version=3)
    store.append("s-1", [new])
    (read,) = store.read("s-1")
    assert read.data == data
    assert read.metadata == metadata
    assert (read.event_id, read.tags, read.schema_version) == (id, ("t:1", "t:2"), 3)
    assert read.occurred_at == when
    assert read.occurred_at.tzinfo is UTC


def test_nobody_changes_the_log_through_what_was_read_or_given(store: EventStore) -> None:
    data: dict[str, object] = {"list": [1]}
    store.append("s-1", [NewEvent("A", data)])
    data["list"] = "changed"
    next(iter(store.read("s-1"))).data["list"].append(2)
    assert next(iter(store.read("s-1"))).data == {"list": [1]}


@pytest.mark.parametrize(
    ("before", "expected", "holds"),
    [
        (0, ANY, True),
        (0, NO_STREAM, True),
        (0, STREAM_EXISTS, False),
        (0, 1, False),
        (2, ANY, True),
        (2, NO_STREAM, False),
        (2, STREAM_EXISTS, True),
        (2, 1, False),
        (2, 2, True),
        (2, 3, False),
    ],
)
def test_expected_versions(store: EventStore, before: int, expected: int, holds: bool) -> None:
    store.append("s-1", [event(n) for n in range(before)])
    if holds:
        assert store.append("s-1", [event()], expected_version=expected).version == before + 1
        return
    with pytest.raises(ConcurrencyError) as caught:
        store.append("s-1", [event()], expected_version=expected)
    assert (caught.value.stream_id, caught.value.expected, caught.value.actual) == (
        "s-1",
        expected,
        before,
    )
    assert store.head() == before


def test_an_append_of_nothing_is_a_check(store: EventStore) -> None:
    assert store.append("s-1", []) == AppendResult("s-1", 0, 0)
    store.append("s-1", [event()])
    assert store.append("s-1", [], expected_version=1) == AppendResult("s-1", 1, 1)
    with pytest.raises(ConcurrencyError):
        store.append("s-1", [], expected_version=2)


def test_several_streams_are_all_or_nothing(store: EventStore) -> None:
    results = store.append_all(
        [
            StreamAppend("a-1", [event(1)], NO_STREAM),
            StreamAppend("b-1", [event(2), event(3)]),
            StreamAppend("a-1", [event(4)], 1),
            StreamAppend("c-1", [], NO_STREAM),
        ]
    )
    assert results == [
        AppendResult("a-1", 1, 1),
        AppendResult("b-1", 2, 3),
        AppendResult("a-1", 2, 4),
        AppendResult("c-1", 0, 0),
    ]
    with pytest.raises(ConcurrencyError):
        store.append_all([StreamAppend("d-1", [event()]), StreamAppend("e-1", [], STREAM_EXISTS)])
    assert store.head() == 4
    assert store.stream_version("d-1") == 0


def test_recorded_at_is_the_clock_but_never_decreases(
    store: EventStore, clock: VirtualClock
) -> None:
    start = clock.now()
    store.append("s-1", [event()])
    clock.advance(timedelta(seconds=5))
    store.append("s-1", [event()])
    clock._now = start  # a clock of the machine may be set back
    store.append("s-1", [event()])
    first, second, third = store.read("s-1")
    assert first.recorded_at == start
    assert second.recorded_at == third.recorded_at == start + timedelta(seconds=5)
    assert third.occurred_at == start
    assert third.metadata.extra == {"recorded_at_clamped_from": start.isoformat()}
    assert second.metadata == Metadata()


@pytest.mark.parametrize(
    "bad",
    [
        NewEvent("A", {"x": float("nan")}),
        NewEvent("A", {"x": [{"y": float("inf")}]}),
        NewEvent("A", {"x": object()}),
        NewEvent("A", {"x": (1, 2)}),
        NewEvent("A", {1: "x"}),  # type: ignore[dict-item]
        NewEvent("A", {"x": "\ud800"}),
        NewEvent("A", ["x"]),  # type: ignore[arg-type]
        NewEvent("", {}),
        NewEvent("A", {}, "no-uuid"),  # type: ignore[arg-type]
        NewEvent("A", {}, tags="ab"),  # type: ignore[arg-type]
        NewEvent("A", {}, tags=(1,)),  # type: ignore[arg-type]
        NewEvent("A", {}, occurred_at=datetime(2013, 1, 1)),  # noqa: DTZ001 - the fault
        NewEvent("A", {}, occurred_at="2013"),  # type: ignore[arg-type]
        NewEvent("A", {}, schema_version=0),
        NewEvent("A", {}, metadata=Metadata(extra={"actor": "x"})),
        NewEvent("A", {}, metadata={"actor": "x"}),  # type: ignore[arg-type]
        {"type": "A"},
    ],
    ids=BAD_EVENTS,
)
def test_a_bad_event_is_refused_and_nothing_is_written(store: EventStore, bad: NewEvent) -> None:
    with pytest.raises(InputError):
        store.append("s-1", [event(), bad])
    assert store.head() == 0


@pytest.mark.parametrize("bad", ["", "a\nb", "a\x00b", "x" * 256, None, 7])
def test_a_bad_stream_id_is_refused(store: EventStore, bad: str) -> None:
    with pytest.raises(InputError):
        store.append(bad, [event()])
    assert store.append("x" * 255, [event()]).position == 1
    assert store.append("ä b/c'\"%-1", [event()]).position == 2
    assert len(list(store.read("ä b/c'\"%-1"))) == 1


@pytest.mark.parametrize("bad", [-1, 1.0, "1", True, None])
def test_a_bad_expectation_is_refused(store: EventStore, bad: int) -> None:
    with pytest.raises(InputError):
        store.append("s-1", [event()], expected_version=bad)
    assert store.head() == 0


def test_limits(store: EventStore) -> None:
    letters = "ä" * (1 << 19)  # 1 MiB in UTF-8, and a little more with its key
    with pytest.raises(LimitError, match="1 MiB"):
        store.append("s-1", [NewEvent("A", {"x": letters})])
    fits = letters[:-10]
    store.append("s-1", [NewEvent("A", {"x": fits})])
    with pytest.raises(LimitError, match="100,000"):
        store.append("s-1", [event()] * 100_001)
    with pytest.raises(LimitError, match="64 MiB"):
        store.append("s-1", [NewEvent("A", {"x": fits})] * 65)
    assert store.head() == 1


def test_threads_append_without_gaps(store: EventStore) -> None:
    def work(name: int) -> None:
        for number in range(10):
            store.append(f"own-{name}", [event(number)], expected_version=number)
            store.append("shared-1", [event(number)])

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = list(store.read_all())
    assert [e.position for e in events] == list(range(1, 81))
    assert [e.version for e in store.read("shared-1")] == list(range(1, 41))


def test_one_of_several_racing_writers_wins(store: EventStore) -> None:
    won: list[int] = []
    gate = threading.Barrier(4)

    def work(name: int) -> None:
        gate.wait()
        try:
            store.append("s-1", [event(name)], expected_version=NO_STREAM)
            won.append(name)
        except ConcurrencyError:
            pass

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert [e.data["number"] for e in store.read("s-1")] == won


def test_a_listener_is_told_of_appends_until_it_stops(store: EventStore) -> None:
    heads: list[int] = []
    stop = store.listen(lambda: heads.append(store.head()))
    store.append("s-1", [event()])
    store.append("s-1", [])
    store.import_events([("s-2", event()), ("s-3", event())], progress=False)
    stop()
    store.append("s-1", [event()])
    assert heads == [1, 3]


def test_waiting_ends_with_the_next_append(store: EventStore) -> None:
    store.append("s-1", [event()])
    assert store.wait(0) == 1
    assert store.wait(1, timeout=0.001) == 1
    heads: list[int] = []
    threads = [threading.Thread(target=lambda: heads.append(store.wait(1))) for _ in range(3)]
    for thread in threads:
        thread.start()
    store.append("s-1", [])  # nothing was recorded, so nobody wakes for good
    store.append("s-1", [event(), event()])
    for thread in threads:
        thread.join(10)
    assert heads == [3, 3, 3]


def test_a_live_subscription_sees_every_event_once(store: EventStore) -> None:
    seen: list[int] = []

    def follow() -> None:
        for batch in Subscription(store, frozenset(["Counted"]), size=3).follow(0):
            seen.extend(e.position for e in batch.events)
            if batch.scanned >= 21:
                return

    def append() -> None:
        for number in range(5):
            store.append("s-1", [event(number), event(number)])

    store.append("s-1", [event()])
    threads = [threading.Thread(target=work) for work in (follow, append, append)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert seen == list(range(1, 22))


def test_waiting_ends_when_the_store_is_closed(store: EventStore) -> None:
    failed: list[type[Exception]] = []
    begun = threading.Event()

    def work() -> None:
        begun.set()
        try:
            store.wait(0)
        except StoreClosedError as error:
            failed.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    store.close()
    thread.join(10)
    assert failed == [StoreClosedError]


def test_a_store_has_an_identity(store: EventStore) -> None:
    assert isinstance(store.store_id, uuid.UUID)
    assert store.epoch == 1


def test_ids_are_minted_by_position(store: EventStore) -> None:
    store.append("s-1", [event(), event()])
    assert [minted_position(e.event_id) for e in store.read("s-1")] == [1, 2]


def test_a_log_that_is_whole_is_verified(store: EventStore) -> None:
    assert store.verify().ok
    store.append("s-1", [event(), event()])
    store.append("s-2", [event()])
    report = store.verify()
    report.require()
    assert report.ok
    assert "positions without gaps" in str(report)
    assert "positions without gaps" in report._repr_html_()


@pytest.mark.parametrize(
    "bad",
    [
        {"query": Query.of(types=["A"]), "after": -1},
        {"query": Query.of(types=["A"]), "after": None},
        {"query": "A", "after": 0},
    ],
    ids=repr,
)
def test_a_bad_condition_is_refused(store: EventStore, bad: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        store.append_all([StreamAppend("s-1", [event()])], condition=AppendCondition(**bad))
    for appends in (StreamAppend("s-1", [event()]), ["s-1"], [("s-1", [event()])]):
        with pytest.raises(InputError):
            store.append_all(appends)  # type: ignore[arg-type]
    assert store.head() == 0


def test_a_closed_store_says_so(store: EventStore) -> None:
    store.append("s-1", [event()])
    store.close()
    store.close()
    for use in (
        lambda: store.append("s-1", [event()]),
        lambda: store.read("s-1"),
        store.read_all,
        store.head,
    ):
        with pytest.raises(StoreClosedError):
            use()
    with pytest.raises(StoreClosedError):
        store.import_events([("s-1", event())], progress=False)
