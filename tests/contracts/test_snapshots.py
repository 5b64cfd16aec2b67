"""Snapshots: kept by stream and schema, of versions that there are; disposable at any time."""

from __future__ import annotations

from threading import Thread

import pytest

from eslab import EventStore, NewEvent, StoreClosedError
from eslab.store.duckdb import DuckDBStore
from eslab.store.port import Snapshot, SnapshotKey

KEY = SnapshotKey("a-1", "schema")
OTHERS = [SnapshotKey("a-2", "schema"), SnapshotKey("a-1", "another")]


@pytest.fixture
def filled(store: EventStore) -> EventStore:
    for stream_id in ("a-1", "a-2"):
        store.append(stream_id, [NewEvent("Counted", {})] * 5)
    return store


def flush(store: EventStore) -> None:
    if isinstance(store, DuckDBStore):
        store.flush()


def test_the_newest_up_to_a_version(filled: EventStore) -> None:
    snapshots = filled.snapshots
    assert (snapshots.latest(KEY), list(snapshots)) == (None, [])
    for version in (2, 4):
        snapshots.put(KEY, Snapshot(version, f'"{version}"'))
    for _ in range(2):
        found = [snapshots.latest(KEY, until=until) for until in (None, 1, 2, 3, 4, 9)]
        assert [one and one.version for one in found] == [4, None, 2, 2, 4, 4]
        assert [snapshots.latest(key) for key in OTHERS] == [None, None]
        assert list(snapshots) == [(KEY, Snapshot(2, '"2"')), (KEY, Snapshot(4, '"4"'))]
        flush(filled)


def test_one_of_events_that_there_are_not_is_not_used(filled: EventStore) -> None:
    filled.snapshots.put(KEY, Snapshot(3, "{}"))
    filled.snapshots.put(KEY, Snapshot(6, "{}"))
    filled.snapshots.put(KEY, Snapshot(0, "{}"))
    filled.snapshots.put(SnapshotKey("nobody", "schema"), Snapshot(1, "{}"))
    for _ in range(2):
        assert filled.snapshots.latest(KEY) == Snapshot(3, "{}")
        assert list(filled.snapshots) == [(KEY, Snapshot(3, "{}"))]
        flush(filled)
    filled.append("a-1", [NewEvent("Counted", {})])  # whose state nobody has seen yet
    assert filled.snapshots.latest(KEY) == Snapshot(3, "{}")


def test_the_newest_few_are_kept(filled: EventStore) -> None:
    for version in (1, 2, 5, 3, 4):
        filled.snapshots.put(KEY, Snapshot(version, "{}"))
        flush(filled)
    assert [one.version for _, one in filled.snapshots] == [4, 5]
    assert filled.snapshots.latest(KEY) == Snapshot(5, "{}")
    assert filled.snapshots.latest(KEY, until=4) == Snapshot(4, "{}")
    assert filled.snapshots.latest(KEY, until=3) is None


def test_an_older_one_that_waits_does_not_hide_the_newest(filled: EventStore) -> None:
    filled.snapshots.put(KEY, Snapshot(5, "{}"))
    flush(filled)
    filled.snapshots.put(KEY, Snapshot(4, "{}"))
    assert filled.snapshots.latest(KEY) == Snapshot(5, "{}")
    assert filled.snapshots.latest(KEY, until=4) == Snapshot(4, "{}")


def test_one_of_the_same_version_takes_its_place(filled: EventStore) -> None:
    filled.snapshots.put(OTHERS[1], Snapshot(5, "{}"))
    for state in ("1", "3", "3", "2"):
        filled.snapshots.put(KEY, Snapshot(4, state))
        assert filled.snapshots.latest(KEY) == Snapshot(4, state)
        if state != "2":
            flush(filled)
    assert dict(filled.snapshots) == {KEY: Snapshot(4, "2"), OTHERS[1]: Snapshot(5, "{}")}
    assert filled.snapshots.delete() == 2


def test_an_append_is_never_failed_by_one(filled: EventStore) -> None:
    filled.snapshots.put(KEY, Snapshot(4, '"\ud800"'))  # no text that can be written
    flush(filled)
    assert list(filled.snapshots) == []
    filled.close()
    filled.snapshots.put(KEY, Snapshot(5, "{}"))


def test_they_are_deleted(filled: EventStore) -> None:
    for written in (False, True):
        for key in (KEY, *OTHERS):
            filled.snapshots.put(key, Snapshot(1, "{}"))
        if written:
            flush(filled)
        assert filled.snapshots.delete(stream_id="a-1") == 2
        assert [key for key, _ in filled.snapshots] == [OTHERS[0]]
        assert filled.snapshots.delete() == 1
        assert filled.snapshots.delete() == 0
        assert filled.snapshots.latest(KEY) is None


def test_threads_put_and_look_up(filled: EventStore) -> None:
    failures: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for number in range(20):
                key = SnapshotKey("a-1", f"{thread}-{number}")
                filled.snapshots.put(key, Snapshot(1, "{}"))
                assert filled.snapshots.latest(key) == Snapshot(1, "{}")
                filled.snapshots.put(KEY, Snapshot(thread + 1, "{}"))
                assert filled.snapshots.latest(KEY) in {Snapshot(n, "{}") for n in range(1, 5)}
                filled.snapshots.delete(stream_id="a-2")
                if number % 7 == 0:
                    filled.append("a-3", [NewEvent("Counted", {})])
                    flush(filled)
        except BaseException as error:
            failures.append(error)

    threads = [Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len([key for key, _ in filled.snapshots if key != KEY]) == 80
    assert filled.snapshots.latest(KEY) == Snapshot(4, "{}")


def test_a_closed_store_has_none(filled: EventStore) -> None:
    filled.snapshots.put(KEY, Snapshot(1, "{}"))
    filled.close()
    with pytest.raises(StoreClosedError):
        filled.snapshots.latest(KEY)
