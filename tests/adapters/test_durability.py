"""What an append survives: interrupts, failures, a killed process, damage, and a full disk."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from processes import killed

from eslab import (
    AppendOutcomeUnknownError,
    NewEvent,
    StoreError,
    StoreFullError,
    StoreOpenError,
    VirtualClock,
)
from eslab.clock import SeededIds
from eslab.store.decision import Decision
from eslab.store.duckdb import DuckDBStore, database
from eslab.store.duckdb.journal import segments_of
from eslab.store.duckdb.sequencer import Ticket


def event(number: int = 0, **options: Any) -> NewEvent:
    return NewEvent("Counted", {"n": number}, **options)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.duckdb"


def opened(path: Path | str, **options: Any) -> DuckDBStore:
    return DuckDBStore.open(path, clock=VirtualClock(), ids=SeededIds(7), **options)


@pytest.fixture
def store(path: Path) -> Iterator[DuckDBStore]:
    with opened(path) as store:
        yield store
        assert store.verify().ok, store.verify()


def stream_ids(store: DuckDBStore) -> list[str]:
    events = list(store.read_all())
    assert [e.position for e in events] == list(range(1, len(events) + 1))
    return [e.stream_id for e in events]


# Interrupts and failures of a statement.


class Failing:
    """A connection that raises before or after a statement is run; once, or each time."""

    def __init__(
        self, connection: Any, statement: str, when: str, error: BaseException, *, times: int = 1
    ) -> None:
        self._connection = connection
        self._statement = statement
        self._when = when
        self._error = error
        self._times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str | duckdb.Statement, *rest: Any) -> Any:
        text = statement if isinstance(statement, str) else statement.query
        if not self._times or not text.startswith(self._statement):
            return self._connection.execute(statement, *rest)
        self._times -= 1
        if self._when == "after":
            self._connection.execute(statement, *rest)
        raise self._error


def plant_in_journal(store: DuckDBStore, *arguments: Any, **options: Any) -> None:
    segment = store._journal._segment  # type: ignore[union-attr]
    segment.connection = Failing(segment.connection, *arguments, **options)  # type: ignore[assignment]


def plant_in_database(store: DuckDBStore, *arguments: Any, **options: Any) -> None:
    database = store._database
    database._opened = Failing(database._connection, *arguments, **options)  # type: ignore[assignment]


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupted_commit_is_there_or_not_and_the_next_one_is_right(
    store: DuckDBStore, when: str
) -> None:
    store.append("a-1", [event(0)])
    plant_in_journal(store, "insert into entries", when, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        store.append("b-1", [event(1), event(2)])
    written = ["b-1", "b-1"] if when == "after" else []
    assert store.stream_version("b-1") == len(written)
    assert stream_ids(store) == ["a-1", *written]
    store.append("b-1", [event(3)], expected_version=len(written))
    store.append("a-1", [event(4)], expected_version=1)
    assert stream_ids(store) == ["a-1", *written, "b-1", "a-1"]


def test_the_guard_against_interrupts_can_fail(store: DuckDBStore) -> None:
    """Without reading again, a position would be given twice."""
    store.append("a-1", [event()])
    plant_in_journal(store, "insert into entries", "after", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        store.append("b-1", [event()])
    store._unsure = False
    with pytest.raises(StoreError, match="UNIQUE"):
        store.append("c-1", [event()])


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_append_whose_commit_fails_says_what_became_of_it(store: DuckDBStore, when: str) -> None:
    store.append("a-1", [event(0)])
    plant_in_journal(store, "insert into entries", when, sqlite3.OperationalError("disk I/O error"))
    if when == "before":
        with pytest.raises(StoreError, match=r"nothing was written: .*disk I/O error"):
            store.append("b-1", [event(1)])
        assert stream_ids(store) == ["a-1"]
    else:
        assert store.append("b-1", [event(1)]).position == 2
    store.append("c-1", [event(2)])
    assert stream_ids(store)[-1] == "c-1"


def test_others_of_a_group_whose_commit_was_interrupted_are_answered_rightly(
    store: DuckDBStore,
) -> None:
    """The leader is interrupted while the others wait; each is told what became of its append."""
    store.append("a-1", [event(0)])
    entered, leave = threading.Event(), threading.Event()

    class Slow(Failing):
        def execute(self, statement: str, *rest: Any) -> Any:
            if statement.startswith("insert into entries"):
                entered.set()
                leave.wait(10)
            return super().execute(statement, *rest)

    segment = store._journal._segment  # type: ignore[union-attr]
    segment.connection = Slow(  # type: ignore[assignment]
        segment.connection, "insert into entries", "after", KeyboardInterrupt()
    )
    results: dict[str, object] = {}

    def append(name: str) -> None:
        try:
            results[name] = store.append(name, [event()], expected_version=0).version
        except BaseException as error:
            results[name] = type(error)

    first = threading.Thread(target=append, args=("first-1",))
    first.start()
    assert entered.wait(10)
    others = [threading.Thread(target=append, args=(f"other-{n}",)) for n in range(4)]
    for thread in others:
        thread.start()
    while len(store._sequencer._queue) < 4:
        threading.Event().wait(0.001)
    leave.set()
    for thread in [first, *others]:
        thread.join()
    assert results.pop("first-1") is KeyboardInterrupt
    assert set(results.values()) == {1}
    assert sorted(stream_ids(store)) == ["a-1", "first-1", *(f"other-{n}" for n in range(4))]


@pytest.fixture(params=[0, database.FEW_ROWS])
def few_or_many(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Both ways into the database: an Arrow table, and parameters."""
    monkeypatch.setattr(database, "FEW_ROWS", request.param)


STATEMENTS = ["begin", "insert into eslab.streams", "insert into eslab.event_log", "commit"]


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, duckdb.IOException])
@pytest.mark.parametrize("place", [":memory:", "file"])
@pytest.mark.usefixtures("few_or_many")
def test_a_flush_that_is_interrupted_or_fails_loses_nothing(
    path: Path, statement: str, when: str, error: type[BaseException], place: str
) -> None:
    with opened(path if place == "file" else ":memory:") as store:
        store.append("a-1", [event(0)])
        store.flush()
        store.append("b-1", [event(1), event(2)])
        plant_in_database(store, statement, when, error("planted"))
        with pytest.raises(StoreError if error is duckdb.IOException else error):
            store.flush()
        assert stream_ids(store) == ["a-1", "b-1", "b-1"]
        assert store.append("b-1", [event(3)], expected_version=2).position == 4
        assert stream_ids(store) == ["a-1", "b-1", "b-1", "b-1"]
        assert store.sql("select count(*), max(position) from events").fetchall() == [(4, 4)]
        assert store.verify().ok


def test_whoever_waits_to_flush_does_not_move_again_what_an_interrupted_flush_moved(
    store: DuckDBStore,
) -> None:
    store.append("a-1", [event(0), event(1)])
    waiting = threading.Thread(target=store.flush)
    plant_in_database(store, "commit", "after", KeyboardInterrupt())
    with store._flushing:
        waiting.start()
        threading.Event().wait(0.05)  # it is there by now; if it is late, the test shows less
        with pytest.raises(KeyboardInterrupt):
            store.flush()
    waiting.join()
    assert store.sql("select count(*) from event_log").scalar() == 2


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, duckdb.IOException])
def test_an_import_that_is_interrupted_or_fails_is_resumed(
    store: DuckDBStore, statement: str, when: str, error: type[BaseException]
) -> None:
    ids = SeededIds(3)
    pairs = [(f"s-{n % 3}", event(n, event_id=ids.in_epoch(9).mint(n))) for n in range(1, 10)]
    store.append("a-1", [event(0)])
    store.flush()
    plant_in_database(store, statement, when, error("planted"))
    happened = statement == "commit" and when == "after" and error is duckdb.IOException
    if happened:
        assert store.import_events(pairs, progress=False).events == 9
    else:
        with pytest.raises(StoreError if error is duckdb.IOException else error):
            store.import_events(pairs, progress=False)
    store.import_events(pairs, progress=False)
    assert stream_ids(store) == ["a-1", *(stream_id for stream_id, _ in pairs)]
    store.append("a-1", [event(1)], expected_version=1)
    assert store.sql("select count(*) from streams").scalar() == 4


def test_appends_wait_for_the_database_and_are_refused_when_it_fails(
    store: DuckDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eslab.store.duckdb.store.FULL_EVENTS", 5)
    monkeypatch.setattr("eslab.store.duckdb.store.FLUSH_EVENTS", 4)
    monkeypatch.setattr(store._flusher, "notice", lambda *, urgent: None)
    for number in range(5):
        store.append("a-1", [event(number)])
    connection = store._database._connection
    plant_in_database(store, "insert", "before", duckdb.IOException("no space"), times=99)
    with pytest.raises(StoreFullError, match=r"5 events wait .*no space"):
        store.append("a-1", [event(5)])
    assert stream_ids(store) == ["a-1"] * 5
    store._database._opened = connection
    assert store.append("a-1", [event(5)]).position == 6
    assert store._hot.head - store._hot.flushed == 1


@pytest.mark.parametrize("which", [1, 2, 3, 4])
def test_what_became_of_an_append_is_found_out_after_every_try(
    store: DuckDBStore, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    submit = store._sequencer.submit
    tries: list[Ticket] = []

    def fail(ticket: Ticket) -> Decision:
        tries.append(ticket)
        if len(tries) == which:
            submit(ticket)
        raise AppendOutcomeUnknownError("planted")

    monkeypatch.setattr(store._sequencer, "submit", fail)
    if which <= 3:
        assert store.append("a-1", [event(1)]).position == 1
    else:
        with pytest.raises(StoreError, match="nothing was written: planted"):
            store.append("a-1", [event(1)])
    assert len(tries) == min(which, 3)
    assert store.head() == (1 if which <= 3 else 0)


# A killed process.

CRASH = """
    import os, signal, sys
    from eslab import NewEvent, VirtualClock, open_store
    from eslab.clock import SeededIds
    store = open_store(
        sys.argv[1], clock=VirtualClock(), ids=SeededIds(7), durability=sys.argv[2]
    )
    def event(number, **options):
        return NewEvent("Counted", {"n": number}, **options)
    %s
    os.kill(os.getpid(), signal.SIGKILL)
"""


def crash(path: Path, code: str, *, durability: str = "full") -> str:
    return killed(CRASH % code.replace("\n", "\n    "), path, durability)


def test_what_was_acknowledged_is_there_after_a_kill(path: Path) -> None:
    crash(
        path,
        """
store.append("a-1", [event(1), event(2)])
store.sql("select 1")
store.append("b-1", [event(3)])
store._journal.rotate(store.head())
store.append("a-1", [event(4)], expected_version=2)
store.import_events([("c-1", event(n)) for n in range(5)], progress=False)
store.append("b-1", [event(5)], expected_version=1)
""",
    )
    assert list(segments_of(path)) == [2, 3]
    with opened(path) as store:
        expected = ["a-1", "a-1", "b-1", "a-1", *["c-1"] * 5, "b-1"]
        assert stream_ids(store) == expected
        assert (store.epoch, segments_of(path)) == (1, {})
        assert store.verify().ok
        assert store.append("b-1", [event(6)], expected_version=2).position == 11


def test_whoever_only_reads_has_the_journal_rotated_by_others(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eslab.store.duckdb.journal.ROTATE_EVENTS", 15)
    rotated = threading.Event()
    real = DuckDBStore._rotate

    def rotate(store: DuckDBStore, journal: Any) -> None:
        assert threading.current_thread().name == "eslab-flusher"
        real(store, journal)
        rotated.set()

    monkeypatch.setattr(DuckDBStore, "_rotate", rotate)
    with opened(path) as store:
        number = 0  # never idle, which would do it too
        while not rotated.is_set():
            store.append("a-1", [NewEvent("Counted", {"n": number})])
            number += 1
            assert store.sql("select count(*) from events").scalar() == number < 2_000
        assert len(segments_of(path)) <= 2
        assert store.verify().ok


def test_recovery_itself_may_be_killed(path: Path) -> None:
    crash(path, 'store.append("a-1", [event(1), event(2)])')
    for place in ("Database.write", "Database.mark", "recovery.remove"):
        module, _, name = place.rpartition(".")
        owner = f"eslab.store.duckdb.{'recovery' if module == 'recovery' else 'database'}"
        code = f"""
            import os, signal, sys, importlib
            module = importlib.import_module({owner!r})
            owner = module if {module!r} == "recovery" else getattr(module, {module!r})
            setattr(owner, {name!r}, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
            from eslab import open_store
            open_store(sys.argv[1])
        """
        killed(code, path)
    with opened(path) as store:
        assert stream_ids(store) == ["a-1", "a-1"]
        assert store.verify().ok


def test_a_relaxed_store_that_was_killed_is_in_a_new_epoch(path: Path) -> None:
    crash(path, 'store.append("a-1", [event(1)])', durability="relaxed")
    with opened(path) as store:
        assert (stream_ids(store), store.epoch) == (["a-1"], 2)
        first = next(store.read("a-1"))
        store.append("a-1", [event(2)])
        assert [e.event_id for e in store.read("a-1")] != [first.event_id] * 2
    with opened(path, durability="relaxed") as store:
        store.append("a-1", [event(3)])
    with opened(path) as store:  # it was closed: nothing can be lost
        assert store.epoch == 2


# Damage.


@pytest.fixture
def crashed(path: Path) -> Path:
    """A file with positions 1 and 2 in the database, 3 and 4 in the journal alone."""
    crash(
        path,
        """
store.append("a-1", [event(1), event(2)])
store.flush()
store.append("b-1", [event(3)])
store.append("b-1", [event(4)])
""",
    )
    return path


def journal(path: Path) -> Path:
    (file,) = segments_of(path).values()
    return file


def edit(file: Path, *statements: str) -> None:
    connection = sqlite3.connect(file)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def overwrite(file: Path) -> None:
    file.with_name(f"{file.name}-wal").unlink()
    file.write_text("Dear diary")


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "checksum": (
        lambda file: edit(file, "update entries set body = cast('[]' as blob) where first = 3"),
        "positions 3 to 3 is damaged: its checksum",
    ),
    "gap": (
        lambda file: edit(file, "delete from entries where first = 3"),
        "positions 4 to 4 is damaged: position 3 should come next",
    ),
    "start": (
        lambda file: edit(file, "delete from entries where first = 1"),
        "position 1 should come next",
    ),
    "other epoch": (
        lambda file: edit(file, "update segment set epoch = 9"),
        "another store, or of another epoch",
    ),
    "other store": (
        lambda file: edit(
            file, "update segment set store_id = '00000000-0000-0000-0000-000000000001'"
        ),
        "another store, or of another epoch",
    ),
    "no facts": (lambda file: edit(file, "delete from segment"), "does not say what it is"),
    "odd store": (
        lambda file: edit(file, "update segment set store_id = 'x'"),
        "its store is not said",
    ),
    "newer": (lambda file: edit(file, "update segment set format = 9"), "newer eslab"),
    "sealed": (lambda file: edit(file, "insert into seal values (7)"), "journal-7, which is not"),
    "no database": (overwrite, "cannot be read"),
    "missing": (lambda file: file.unlink(), "journal-1, which is not there"),
    "behind": (
        lambda file: edit(file, "update segment set base = 3", "delete from entries"),
        "begins behind position 3, but what there is before ends at 2",
    ),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_journal_is_named_and_refused_and_nothing_is_changed(
    crashed: Path, damage: Callable[[Path], None], words: str
) -> None:
    sides = sorted(crashed.parent.glob(f"{journal(crashed).name}*"))
    kept = {side: side.read_bytes() for side in sides}
    damage(journal(crashed))
    for _ in range(2):
        with pytest.raises(StoreOpenError, match=f"{words}[^$]*eslab recover"):
            opened(crashed)
    for side, content in kept.items():
        side.write_bytes(content)
    with opened(crashed) as store:
        assert stream_ids(store) == ["a-1", "a-1", "b-1", "b-1"]


def test_a_journal_that_tells_other_events_than_the_file_is_refused(crashed: Path) -> None:
    connection = duckdb.connect(str(crashed))
    connection.execute("update eslab.event_log set type = 'Other' where position = 2")
    connection.close()
    with pytest.raises(StoreOpenError, match="position 2 is another one"):
        opened(crashed)


def test_an_older_copy_of_the_file_beside_its_journal_is_refused(path: Path) -> None:
    with opened(path) as store:
        store.append("a-1", [event(1)])
    older = path.with_name("older")
    shutil.copy(path, older)
    crash(path, 'store.append("a-1", [event(2)])')
    shutil.copy(older, path)
    path.with_name(f"{path.name}.wal").unlink()
    with pytest.raises(StoreOpenError, match="an older copy of the file"):
        opened(path)


def test_a_new_file_beside_the_journal_of_another_is_refused(crashed: Path) -> None:
    crashed.unlink()
    crashed.with_name(crashed.name + ".wal").unlink(missing_ok=True)
    with pytest.raises(StoreOpenError, match="journal"):
        opened(crashed)
    assert segments_of(crashed)


def test_a_journal_that_was_left_by_a_clean_close_is_removed(path: Path) -> None:
    crash(
        path,
        """
store.append("a-1", [event(1)])
store.flush()
store._database.mark(None)
""",
    )
    assert segments_of(path)
    with opened(path) as store:
        assert stream_ids(store) == ["a-1"]
        assert segments_of(path) == {}


# A full disk.

FULL = """
    import os, sys
    from pathlib import Path
    from eslab import NewEvent, StoreError, open_store
    path = Path(sys.argv[1])
    store = open_store(path)
    store.append("a-1", [NewEvent("A", {"n": 0})])
    acknowledged, refused = 1, []
    for number in range(1, 500):
        try:
            large = NewEvent("A", {"n": number, "x": "y" * 50_000})
            acknowledged = store.append("a-1", [large]).version
        except StoreError as error:
            refused.append(str(error))
            if len(refused) == 20:
                break
    assert len(list(store.read("a-1"))) == store.head() == acknowledged
    try:
        store.sql("select 1")
    except StoreError as error:
        refused.append(str(error))
    print(acknowledged, refused[0], flush=True)
    sys.stdin.readline()  # now there is room
    assert store.append("a-1", [NewEvent("A", {"n": 0})]).version == acknowledged + 1
    assert store.sql("select count(*) from events").scalar() == acknowledged + 1
    assert store.verify().ok
    store.close()
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in which 16 MiB fit."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("ballast", [0, 6 << 20], ids=["small disk", "smaller disk"])
def test_a_full_disk_refuses_appends_and_loses_none(small_disk: Path, ballast: int) -> None:
    (small_disk / "ballast").write_bytes(b"x" * ballast)
    path = small_disk / "shop.duckdb"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(FULL), path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        acknowledged, _, words = child.stdout.readline().partition(" ")
        subprocess.run(["mount", "-o", "remount,size=99m", str(small_disk)], check=True)
        child.stdin.write("\n")
        child.stdin.close()
        assert child.wait(60) == 0
    assert int(acknowledged) > 10
    assert "nothing was written" in words
    assert "full" in words
    with opened(path) as store:
        assert store.head() == int(acknowledged) + 1


def unreadable(*_: object) -> None:
    raise StoreError("the disk is gone")


def test_an_unknown_outcome_says_so(store: DuckDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append("a-1", [event(0)])
    plant_in_journal(store, "insert into entries", "after", sqlite3.OperationalError("gone"))
    with monkeypatch.context() as broken:
        broken.setattr(
            "eslab.store.duckdb.store.recover", lambda *_: (_ for _ in ()).throw(StoreError("x"))
        )
        with pytest.raises(AppendOutcomeUnknownError, match="cannot be read after"):
            store.append("a-1", [event(1)])
        with pytest.raises(StoreError, match="cannot be read after"):
            store.head()
    assert stream_ids(store) == ["a-1", "a-1"]
