"""Each check of a proof can fail: the fault is planted, and named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from eslab import MemoryStore, NewEvent, StoreError, VirtualClock
from eslab.clock import SeededIds
from eslab.store.duckdb import DuckDBStore
from eslab.store.verification import Verification


def fill(store: Any) -> None:
    for number in range(3):
        store.append("a-1", [NewEvent("A", {"n": number})])
        store.append("b-1", [NewEvent("B", {"n": number})])
        store.clock.advance(timedelta(seconds=1))


def wrong(report: Verification) -> dict[str, str]:
    """Return what was found by the checks that failed."""
    assert report.ok is not any(not check.ok for check in report.checks)
    return {check.name: check.found for check in report.checks if not check.ok}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "shop.duckdb"
    with opened(path) as store:
        fill(store)
        assert store.verify().ok
    return path


def opened(path: Path) -> DuckDBStore:
    return DuckDBStore.open(path, clock=VirtualClock(), ids=SeededIds(7))


POSITIONS = "positions without gaps"
VERSIONS = "versions without gaps in each stream"
IDS = "event ids unique"
TIMES = "recorded_at never decreases"
NUMBERS = "streams numbered as created, and named once"
NAMES = "every event has its stream"
MEMORY = "memory and database agree"
JOURNAL = "journal and database agree"

FAULTS = {
    "position missing": (
        (
            "delete from eslab.event_log where position = 6; "
            "update eslab.event_log set position = 6 where position = 5"
        ),
        POSITIONS,
        "position 6 stands where 5 should",
    ),
    "position twice": (
        "update eslab.event_log set position = 3 where position = 4",
        POSITIONS,
        "position 3 stands where 4 should",
    ),
    "version missing": (
        "update eslab.event_log set version = 4 where position = 5",
        VERSIONS,
        "position 5 is version 4 of its stream, and should be 3",
    ),
    "versions in another order": (
        "update eslab.event_log set version = 3 - version where position in (1, 3)",
        VERSIONS,
        "position 1 is version 2 of its stream, and should be 1",
    ),
    "id twice": (
        (
            "update eslab.event_log set event_id = (select event_id from eslab.event_log "
            "where position = 1) where position = 4"
        ),
        IDS,
        "is the id of 2 events",
    ),
    "time that goes back": (
        (
            "update eslab.event_log set recorded_at = recorded_at - interval 1 minute "
            "where position = 4"
        ),
        TIMES,
        "position 4 was recorded before the one before it",
    ),
    "stream number missing": (
        (
            "update eslab.streams set stream_id = 3 where name = 'b-1'; "
            "update eslab.event_log set stream_id = 3 where stream_id = 2"
        ),
        NUMBERS,
        "stream 3 (b-1) stands where 2 should",
    ),
    "stream name twice": (
        "update eslab.streams set name = 'a-1'",
        NUMBERS,
        "stream 1 (a-1) stands where 1 should",
    ),
    "event without a stream": (
        "update eslab.event_log set stream_id = 9 where position = 6",
        NAMES,
        "position 6 has a stream without a name",
    ),
}


@pytest.mark.parametrize(("fault", "check", "words"), FAULTS.values(), ids=FAULTS)
def test_a_fault_in_the_file_is_named(path: Path, fault: str, check: str, words: str) -> None:
    with duckdb.connect(str(path)) as connection:
        for statement in fault.split("; "):
            connection.execute(statement)
    with opened(path) as store:
        report = store.verify()
        assert words in wrong(report)[check]
        with pytest.raises(StoreError, match="the log is damaged"):
            report.require()


def test_memory_that_differs_from_the_file_is_named(path: Path) -> None:
    with opened(path) as store:
        store._heads._versions[1] = 9
        assert wrong(store.verify()) == {MEMORY: "the versions of the streams differ"}
        store._heads._versions[1] = 3
        hot = store._hot
        store._hot = hot._replace(head=5, flushed=5, tail=type(hot.tail)(5))
        assert wrong(store.verify()) == {MEMORY: "the database ends at 6, memory at 5"}
        store._hot = hot
        assert store.verify().ok


JOURNAL_FAULTS: dict[str, tuple[str, str]] = {
    "checksum": ("update entries set checksum = 0", "its checksum is wrong"),
    "entry missing": ("delete from entries where first = 8", "position 8 should come next"),
    "not at its place": ("update entries set last = 9 where first = 8", "holds other positions"),
    "unreadable": ("drop table entries", "cannot be read"),
}


@pytest.fixture
def appended(path: Path) -> Iterator[DuckDBStore]:
    with opened(path) as store:
        for number in range(3):
            store.append("a-1", [NewEvent("A", {"n": number})])
        assert store.verify().ok
        yield store


def plant(store: DuckDBStore, statement: str) -> None:
    assert store._journal is not None
    store._journal._segment.connection.execute(statement)


@pytest.mark.parametrize(("fault", "words"), JOURNAL_FAULTS.values(), ids=JOURNAL_FAULTS)
def test_a_damaged_journal_is_named(appended: DuckDBStore, fault: str, words: str) -> None:
    plant(appended, fault)
    found = wrong(appended.verify())
    assert found.keys() == {JOURNAL}
    assert words in found[JOURNAL]


def test_a_journal_of_other_events_than_the_file_is_named(appended: DuckDBStore) -> None:
    database = appended._database._connection
    database.execute("update eslab.event_log set type = 'Other' where position = 8")
    assert wrong(appended.verify()) == {JOURNAL: "positions 7 to 9 are other events in the journal"}


MEMORY_FAULTS: dict[str, tuple[Callable[[list[Any]], object], str, str]] = {
    "position": (
        lambda log: log.__setitem__(3, log[3]._replace(position=9)),
        POSITIONS,
        "position 9 is in place 4",
    ),
    "version": (lambda log: log.__setitem__(2, log[2]._replace(version=5)), VERSIONS, "version 2"),
    "id": (
        lambda log: log.__setitem__(4, log[4]._replace(event_id=log[0].event_id)),
        IDS,
        "1 are repeated",
    ),
    "time": (
        lambda log: log.__setitem__(
            5, log[5]._replace(recorded_at=log[5].recorded_at - timedelta(minutes=1))
        ),
        TIMES,
        "before the one before it",
    ),
}


@pytest.mark.parametrize(("plant", "check", "words"), MEMORY_FAULTS.values(), ids=MEMORY_FAULTS)
def test_a_fault_in_the_reference_is_named(
    plant: Callable[[list[Any]], object], check: str, words: str
) -> None:
    store = MemoryStore(clock=VirtualClock(), ids=SeededIds(7))
    fill(store)
    assert store.verify().ok
    plant(store._log)
    found = wrong(store.verify())
    assert found.keys() == {check}
    assert words in found[check]


def test_no_check_is_without_a_guard(appended: DuckDBStore) -> None:
    guarded = {check for _, check, _ in FAULTS.values()} | {MEMORY, JOURNAL}
    assert {check.name for check in appended.verify().checks} == guarded
    names = {check for _, check, _ in MEMORY_FAULTS.values()}
    assert {check.name for check in MemoryStore().verify().checks} == names
