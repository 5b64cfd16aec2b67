"""Snapshots in a file: behind the log, of its epoch, and never worth an error."""

from __future__ import annotations

import logging
from pathlib import Path

import duckdb
import pytest

from eslab import Lab, NewEvent, StoreError, open_store, restore_store
from eslab.store.duckdb import DuckDBStore
from eslab.store.duckdb.database import Database
from eslab.store.duckdb.snapshots import DuckDBSnapshots
from eslab.store.port import Snapshot, SnapshotKey

KEY = SnapshotKey("a-1", "schema")
KEY2 = SnapshotKey("a-2", "schema")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.duckdb"


def filled(path: Path, *, events: int = 5) -> DuckDBStore:
    store = open_store(path)
    assert isinstance(store, DuckDBStore)
    store.append("a-1", [NewEvent("Counted", {})] * events)
    return store


def written(store: DuckDBStore) -> list[tuple[str, int]]:
    query = "select name, version from snapshots join streams using (stream_id) order by all"
    return store.sql(query).fetchall()


def test_it_is_in_the_file_when_its_events_are(path: Path) -> None:
    with filled(path) as store:
        store.snapshots.put(KEY, Snapshot(5, "{}"))
        store.snapshots.write(store._hot)  # its events are not flushed yet
        assert store._database.fetch("from eslab.snapshots", []) == []
        assert written(store) == [("a-1", 5)]  # they are now
    with open_store(path) as store:
        assert store.snapshots.latest(KEY) == Snapshot(5, "{}")


def test_closing_writes_what_waits(path: Path) -> None:
    with filled(path) as store:
        store.flush()
        store.snapshots.put(KEY, Snapshot(5, "{}"))
    with open_store(path) as store:
        assert store.snapshots.latest(KEY) == Snapshot(5, "{}")


def test_of_those_that_wait_only_they_are_written_whose_events_are(path: Path) -> None:
    with filled(path) as store:
        store.flush()
        store.append("a-1", [NewEvent("Counted", {})] * 2)
        store.snapshots.put(KEY, Snapshot(5, "{}"))
        store.snapshots.put(KEY, Snapshot(7, "{}"))
        store.snapshots.write(store._hot)
        assert store._database.fetch("select version from eslab.snapshots", []) == [(5,)]
        assert store.snapshots.latest(KEY) == Snapshot(7, "{}")


def test_a_killed_process_has_none_of_those_that_waited(path: Path) -> None:
    store = filled(path)
    store.snapshots.put(KEY, Snapshot(4, "{}"))
    store.flush()
    store.append("a-1", [NewEvent("Counted", {})])
    store.snapshots.put(KEY, Snapshot(6, "{}"))
    store._unsure = True  # so that closing tidies nothing
    store.close()
    with open_store(path) as again:
        assert again.stream_version("a-1") == 6
        assert again.snapshots.latest(KEY) == Snapshot(4, "{}")
        assert list(again.snapshots) == [(KEY, Snapshot(4, "{}"))]


def edited(path: Path, statement: str) -> DuckDBStore:
    """Return a store of 5 events, whose snapshots of versions 4 and 5 were changed by hand."""
    with filled(path) as store:
        store.snapshots.put(KEY, Snapshot(4, "4"))
        store.snapshots.put(KEY, Snapshot(5, "5"))
    with duckdb.connect(str(path)) as file:
        file.execute(statement)
    store = open_store(path)
    assert isinstance(store, DuckDBStore)
    return store


def test_the_guards_below_have_something_to_find(path: Path) -> None:
    with edited(path, "from eslab.snapshots") as store:
        assert store.snapshots.latest(KEY) == Snapshot(5, "5")


def test_one_of_more_events_than_there_are_is_not_used_when_there_are(path: Path) -> None:
    beyond = "update eslab.snapshots set version = 6 where version = 5"
    with edited(path, beyond) as store:
        assert store.snapshots.latest(KEY) is None
        store.append("a-1", [NewEvent("Counted", {})])
        assert store.snapshots.latest(KEY) is None
        assert written(store) == []


def test_one_of_a_stream_that_there_is_not_is_not_used_when_there_is(path: Path) -> None:
    with edited(path, "update eslab.snapshots set stream_id = 2") as store:
        store.append("b-1", [NewEvent("Counted", {})] * 5)
        assert store.snapshots.latest(SnapshotKey("b-1", "schema")) is None
        assert written(store) == []


def test_one_of_another_epoch_is_not_used(path: Path) -> None:
    with edited(path, "update eslab.snapshots set epoch = 2 where version = 5") as store:
        assert store.snapshots.latest(KEY) == Snapshot(4, "4")
        assert written(store) == [("a-1", 4)]


def test_an_epoch_that_begins_when_it_is_opened_has_none(path: Path) -> None:
    store = open_store(path, durability="relaxed")
    assert isinstance(store, DuckDBStore)
    store.append("a-1", [NewEvent("Counted", {})] * 5)
    store.snapshots.put(KEY, Snapshot(5, "{}"))
    store.flush()
    assert store.snapshots.latest(KEY) == Snapshot(5, "{}")
    store.append("a-1", [NewEvent("Counted", {})])
    store._unsure = True  # it is left as by a killed process
    store.close()
    with open_store(path) as again:
        assert again.epoch == 2
        assert again.snapshots.latest(KEY) is None
        assert list(again.snapshots) == []
        assert again.snapshots.delete() == 0


def test_a_store_opens_and_works_without_their_table(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), edited(path, "drop table eslab.snapshots") as store:
        assert "snapshots are not used" in caplog.text
        assert store.snapshots.latest(KEY) is None
        store.snapshots.put(KEY, Snapshot(5, "{}"))
        store.append("a-1", [NewEvent("Counted", {})])
        store.flush()
        assert "snapshots are not written" in caplog.text
        assert store.verify().ok


def test_a_copy_has_those_of_the_store_and_takes_none(path: Path) -> None:
    with filled(path) as store:
        store.snapshots.put(KEY, Snapshot(4, "{}"))
        store.copy_to(path.with_name("copy.duckdb"))
    with Lab.open_copy(path.with_name("copy.duckdb")) as lab:
        lab.store.snapshots.put(KEY, Snapshot(5, "{}"))
        assert lab.store.snapshots.latest(KEY) == Snapshot(4, "{}")


def test_another_epoch_has_none_of_the_earlier_ones(path: Path) -> None:
    with filled(path) as store:
        store.snapshots.put(KEY, Snapshot(5, "{}"))
        store.copy_to(path.with_name("copy.duckdb"))
    restore_store(path.with_name("copy.duckdb"), path.with_name("again.duckdb"))
    with open_store(path.with_name("again.duckdb")) as store:
        assert isinstance(store, DuckDBStore)
        assert (store.epoch, written(store)) == (2, [])
        assert store.snapshots.latest(KEY) is None
        assert list(store.snapshots) == []
        store.snapshots.put(KEY, Snapshot(4, "{}"))
        store.flush()
        assert store.snapshots.latest(KEY) == Snapshot(4, "{}")


def test_a_flush_never_fails_because_of_them(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise StoreError("no space")

    with filled(path) as store:
        store.snapshots.put(KEY, Snapshot(5, "{}"))
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
            patch.setattr(DuckDBSnapshots, "_write", fail)
            store.flush()
            assert "no space" in caplog.text
        assert store.snapshots.latest(KEY) == Snapshot(5, "{}")
        store.flush()
        assert written(store) == [("a-1", 5)]


def test_one_that_was_interrupted_behind_its_commit_is_there_once(path: Path) -> None:
    with filled(path) as store:
        store.flush()
        store.snapshots._write([(KEY, Snapshot(5, "{}"))])
        store.snapshots.put(KEY, Snapshot(5, "{}"))
        assert written(store) == [("a-1", 5)]


def test_streams_without_any_are_not_looked_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with filled(path) as store:
        store.snapshots.put(KEY, Snapshot(5, "{}"))
        store.flush()
        assert store.snapshots.latest(KEY) == Snapshot(5, "{}")
        store.append("a-1", [NewEvent("Counted", {})])
        store.append("a-2", [NewEvent("Counted", {})])
        store.snapshots.put(KEY2, Snapshot(1, "{}"))
        monkeypatch.delattr(Database, "fetch")
        assert store.snapshots.latest(SnapshotKey("a-2", "another")) is None
        assert store.snapshots.latest(KEY2) == Snapshot(1, "{}")
        with pytest.raises(AttributeError):  # the guard sees a look-up
            store.snapshots.latest(KEY)


@pytest.mark.parametrize("format", [1, 2, 3])
def test_a_file_of_an_older_format_gets_what_it_lacks(path: Path, format: int) -> None:
    filled(path).close()
    with duckdb.connect(str(path)) as older:
        older.execute("drop table eslab.dead_letters; drop table eslab.inbox")
        if format < 3:
            older.execute("drop table eslab.snapshots")
        older.execute(f"update eslab.store_info set format = {format}")
        if format == 1:
            older.execute("alter table eslab.store_info drop column journal")
            older.execute("alter table eslab.store_info drop column copy")
            older.execute("drop table eslab.typed_tables; drop table eslab.typing_errors")
            older.execute("drop schema ev")
    with open_store(path) as store:
        assert isinstance(store, DuckDBStore)
        store.snapshots.put(KEY, Snapshot(5, "{}"))
        assert written(store) == [("a-1", 5)]
        assert store.sql("select format from eslab.store_info").scalar() == 4
        assert len(store.sql("from dead_letters")) == len(store.sql("from inbox")) == 0
        assert store.verify().ok
