"""Copies: to look at beside the store, to begin again from, and what is saved of a damaged file."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from processes import killed, python

from eslab import (
    Event,
    InputError,
    Lab,
    NewEvent,
    Projection,
    Row,
    Rows,
    StoreError,
    StoreOpenError,
    StoreReadOnlyError,
    on,
    open_store,
    restore_store,
)
from eslab.cli import main
from eslab.store.duckdb.journal import segments_of
from eslab.store.duckdb.salvage import salvage


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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.duckdb"


@pytest.fixture
def copy(path: Path) -> Path:
    """A copy of three events, one of them in the tail when it was made."""
    with Lab(path) as lab:
        lab.project(Totals())
        lab.append("s-1", [Counted(), Counted()])
        lab.run()
        lab.append("s-2", [Counted()])
        return lab.store.copy_to(path.with_name("copy.duckdb"))


# To look at.


def test_a_copy_is_looked_at_while_the_store_goes_on(path: Path) -> None:
    with Lab(path) as lab:
        lab.append("s-1", [Counted(), Counted()])
        file = lab.store.copy_to(path.with_name("copy.duckdb"))
        lab.append("s-1", [Counted()])
        with Lab.open_copy(file) as looking:
            assert looking.store.head() == 2
            assert looking.store.store_id == lab.store.store_id
            looking.project(Totals())
            looking.run()
            assert looking.sql("select total from totals").scalar() == 2
            with pytest.raises(StoreReadOnlyError, match="copy"):
                looking.append("s-1", [Counted()])
            with pytest.raises(StoreReadOnlyError):
                looking.store.import_events([("s-1", NewEvent("A", {}))], progress=False)
            private = Path(looking.store.path)
            assert private.exists()
        assert not private.parent.exists()
        assert lab.store.head() == 3
    with Lab.open_copy(file) as again:  # looking at it left nothing in it
        assert (
            again.sql("select count(*) from duckdb_tables() where table_name = 'totals'").scalar()
            == 0
        )


def test_a_store_that_nobody_has_open_can_be_looked_at(path: Path) -> None:
    code = """
        import os, signal, sys
        from eslab import NewEvent, open_store
        store = open_store(sys.argv[1])
        store.append("a-1", [NewEvent("A", {})])
        os.kill(os.getpid(), signal.SIGKILL)
    """
    killed(code, path)
    with Lab.open_copy(path) as looking:  # what is in the journal alone is seen too
        assert looking.store.head() == 1
    assert segments_of(path)


def test_a_store_that_is_open_is_not_copied_behind_its_back(path: Path) -> None:
    with open_store(path) as store:
        store.append("a-1", [NewEvent("A", {})])
        with pytest.raises(StoreOpenError, match="open here"):
            Lab.open_copy(path)
        refused = python("import sys; from eslab import Lab; Lab.open_copy(sys.argv[1])", path)
        assert "StoreOpenError" in refused.stderr
        assert "copy_to" in refused.stderr


def test_copies_are_made_while_others_append(path: Path) -> None:
    stop = threading.Event()

    def work(store: object) -> None:
        while not stop.is_set():
            store.append("a-1", [NewEvent("A", {}), NewEvent("A", {})])  # type: ignore[attr-defined]

    with Lab(path) as lab:
        threads = [threading.Thread(target=work, args=(lab.store,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        copies = [lab.store.copy_to(path.with_name(f"copy-{n}.duckdb")) for n in range(3)]
        stop.set()
        for thread in threads:
            thread.join()
    heads = []
    for file in copies:
        with Lab.open_copy(file) as looking:
            assert looking.store.verify().ok
            heads.append(looking.store.head())
    assert heads == sorted(heads)
    assert all(head % 2 == 0 for head in heads)


def test_a_copy_does_not_take_the_place_of_a_file(path: Path, copy: Path) -> None:
    with open_store(path) as store:
        for target in (copy, path):
            with pytest.raises(StoreError, match="exists already"):
                store.copy_to(target)  # type: ignore[attr-defined]
        with pytest.raises(StoreError):
            store.copy_to(path.parent / "nowhere" / "copy.duckdb")  # type: ignore[attr-defined]
    assert not list(path.parent.glob("*partial*"))


# To begin again from.


def test_a_copy_is_no_store_until_it_is_restored(path: Path, copy: Path) -> None:
    with pytest.raises(StoreOpenError, match=r"is a copy .*open_copy.*restore_store"):
        open_store(copy)
    restored = restore_store(copy, path.with_name("again.duckdb"))
    with Lab(restored) as lab:
        assert (lab.store.head(), lab.store.epoch) == (3, 2)
        assert lab.sql("select total from totals").scalar() == 2
        lab.project(Totals())
        lab.append("s-1", [Counted()])
        lab.run()
        assert lab.sql("select total from totals").scalar() == 4
        assert lab.store.verify().ok
    with open_store(path) as store:
        assert (store.head(), store.epoch) == (3, 1)


@pytest.mark.parametrize("bad", ["nowhere.duckdb", "text", "foreign"])
def test_what_is_no_copy_is_not_restored(tmp_path: Path, bad: str) -> None:
    source = tmp_path / bad
    if bad == "text":
        source.write_text("Dear diary")
    if bad == "foreign":
        import duckdb

        connection = duckdb.connect(str(source))
        connection.execute("create table x(y int)")
        connection.close()
    before = {file.name for file in tmp_path.iterdir()}
    with pytest.raises(StoreOpenError):
        restore_store(source, tmp_path / "again.duckdb")
    assert {file.name for file in tmp_path.iterdir()} == before


def test_a_store_that_was_not_closed_is_not_restored(path: Path, copy: Path) -> None:
    with pytest.raises(StoreError, match="exists already"):
        restore_store(copy, path)


# To save what can be saved.

DAMAGED = """
    import os, signal, sys
    from eslab import NewEvent, open_store
    store = open_store(sys.argv[1])
    store.append("a-1", [NewEvent("A", {"n": 1})])
    store.flush()
    for number in (2, 3, 4):
        store.append("a-1", [NewEvent("A", {"n": number})])
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def damaged(path: Path) -> Path:
    """A file with position 1, and a journal with 2, a damaged 3, and 4."""
    killed(DAMAGED, path)
    (journal,) = segments_of(path).values()
    connection = sqlite3.connect(journal)
    with connection:
        connection.execute("update entries set checksum = checksum + 1 where first = 3")
    connection.close()
    return path


def test_recover_says_what_it_would_do_and_does_it(
    damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(*argv: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main(argv)
        return int(str(end.value.code)), capsys.readouterr().out

    code, out = command("recover", str(damaged))
    assert code == 1
    assert "goes on to position 2: 1 event more" in out
    assert "positions 3 to 3 is damaged" in out
    assert "nothing was changed; with --yes" in out
    with pytest.raises(StoreOpenError, match="eslab recover"):
        open_store(damaged)
    code, out = command("recover", "--yes", str(damaged))
    assert code == 0
    assert "epoch 2 now, and can be opened" in out
    assert [file.name for file in damaged.parent.glob("*.unusable")]
    with open_store(damaged) as store:
        assert [e.data["n"] for e in store.read_all()] == [1, 2]
        assert store.epoch == 2
        assert store.append("a-1", [NewEvent("A", {})], expected_version=2).position == 3
        assert store.verify().ok
    code, out = command("recover", str(damaged))
    assert (code, "nothing is wrong" in out) == (0, True)
    code, out = command("verify", str(damaged))
    assert code == 0
    assert "ok     positions without gaps" in out


def test_a_missing_journal_is_named_and_the_file_saved(path: Path) -> None:
    killed(DAMAGED, path)
    for file in path.parent.glob("*.journal-*"):
        file.unlink()
    report = salvage(path)
    assert (report.rescued, report.missing) == (0, f"{path.name}.journal-1")
    assert not report.whole
    assert salvage(path, write=True).done
    with open_store(path) as store:
        assert (store.head(), store.epoch) == (1, 2)


def test_what_is_not_there_is_not_recovered(path: Path) -> None:
    with pytest.raises(StoreOpenError, match="no file"):
        salvage(path)
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("command", ["verify", "recover", "copy", "restore"])
def test_commands_refuse_a_file_that_is_not_there_in_one_line(
    path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [str(path.with_name("to"))] if command in ("copy", "restore") else []
    with pytest.raises(SystemExit) as end:
        main([command, str(path), *more])
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert error.startswith("eslab: error: there is no file")
    assert error.count("\n") == 1
    assert not list(path.parent.iterdir())


def test_the_commands_copy_verify_and_restore(
    path: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "import sys; from eslab.cli import main; main(sys.argv[1:])"
    backup, again = path.with_name("backup.duckdb"), path.with_name("again.duckdb")
    assert python(code, "copy", path, backup).stdout == f"copied to {backup}\n"
    assert python(code, "verify", backup).returncode == 0
    assert python(code, "restore", backup, again).stdout == f"restored to {again}\n"
    import duckdb

    connection = duckdb.connect(str(again))
    connection.execute("update eslab.event_log set position = 9 where position = 3")
    connection.close()
    finished = python(code, "verify", again)
    assert (finished.returncode, finished.stderr) == (1, "")
    assert "WRONG  positions without gaps" in finished.stdout


def test_nothing_of_it_needs_a_store_to_be_open() -> None:
    with pytest.raises(InputError), Lab(durability="perhaps"):  # type: ignore[arg-type]
        pass
