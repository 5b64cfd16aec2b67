"""Snapshots in a file: behind the log, of its epoch, and never worth an error."""

from __future__ import annotations

import logging
from pathlib import Path

import duckdb
import pytest

from eslab import NewEvent, StoreError, open_store, restore_store
from eslab.store.duckdb import DuckDBStore
from eslab.store.duckdb.database import Database
from eslab.store.duckdb.snapshots import DuckDBSnapshots
from eslab.store.port import Snapshot, SnapshotKey

KEY = SnapshotKey("a-1", "schema")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.duckdb"


def filled(path: Path, *, events: int = 5) -> DuckDBStore:
    store = open_store(path)
    assert isinstance(store, DuckDBStore)
    store.append("a-1", [NewEvent("Counted", {})] * events)
    return store


def written(store: DuckDBStore) -> list[tuple[str, int]]:
    return store.sql("select stream, version from eslab.snapshots order by all").fetchall()


def test_it_is_in_the_file_when_its_events_are(path: Path) -> None:
    with filled(path) as store:
        store.snapshots.put(KEY, Snapshot(5, "{}"))
        store.snapshots.write(store._hot.tail)  # its events are not flushed yet
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


def test_another_epoch_has_none_of_the_earlier_ones(path: Path) -> None:
    with filled(path) as store:
        store.snapshots.put(KEY, Snapshot(5, "{}"))
        store.copy_to(path.with_name("copy.duckdb"))
    restore_store(path.with_name("copy.duckdb"), path.with_name("again.duckdb"))
    with open_store(path.with_name("again.duckdb")) as store:
        assert isinstance(store, DuckDBStore)
        assert (store.epoch, written(store)) == (2, [("a-1", 5)])
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
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "eslab.store"):
            patch.setattr(DuckDBSnapshots, "_insert", fail)
            store.flush()
            assert "no space" in caplog.text
        assert store.snapshots.latest(KEY) == Snapshot(5, "{}")
        store.flush()
        assert written(store) == [("a-1", 5)]


def test_one_that_was_interrupted_behind_its_commit_is_there_once(path: Path) -> None:
    with filled(path) as store:
        store.flush()
        store.snapshots._insert([(KEY, Snapshot(5, "{}"))])
        store.snapshots.put(KEY, Snapshot(5, "{}"))
        assert written(store) == [("a-1", 5)]


def test_streams_without_any_are_not_looked_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with filled(path) as store:
        store.snapshots.put(KEY, Snapshot(5, "{}"))
        store.flush()
        assert store.snapshots.latest(KEY) == Snapshot(5, "{}")
        monkeypatch.delattr(Database, "fetch")
        assert store.snapshots.latest(SnapshotKey("a-2", "schema")) is None
        with pytest.raises(AttributeError):  # the guard sees a look-up
            store.snapshots.latest(KEY)


@pytest.mark.parametrize("format", [1, 2])
def test_a_file_of_an_older_format_gets_the_table(path: Path, format: int) -> None:
    filled(path).close()
    with duckdb.connect(str(path)) as older:
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
        assert store.sql("select format from eslab.store_info").scalar() == 3
        assert store.verify().ok
