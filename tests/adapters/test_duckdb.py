"""What only DuckDB has: files that are opened, refused and shared; interrupts; processes; SQL."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import duckdb
import pytest
from processes import python, ready

from eslab import (
    EventStore,
    Lab,
    NewEvent,
    Query,
    QueryError,
    StoreClosedError,
    StoreError,
    StoreOpenError,
    VirtualClock,
    open_store,
)
from eslab.clock import SeededIds
from eslab.store.duckdb import DuckDBStore, cursors, database
from eslab.store.duckdb.database import Database
from eslab.store.rows import Selection


def event(number: int = 0) -> NewEvent:
    return NewEvent("Counted", {"n": number})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.duckdb"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[DuckDBStore]:
    """A store of which nothing that is in the database stays in memory."""
    monkeypatch.setattr("eslab.store.duckdb.hot.KEPT_EVENTS", 0)
    with DuckDBStore.open(":memory:", clock=VirtualClock(), ids=SeededIds(7)) as opened:
        yield opened


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Files.


def test_what_was_appended_is_there_when_it_is_opened_again(path: Path) -> None:
    with open_store(path) as store:
        store.append("a-1", [event(1), event(2)])
        store.append("b-1", [event(3)])
        before = list(store.read_all())
    with open_store(str(path)) as store:
        assert list(store.read_all()) == before
        assert (store.head(), store.stream_version("a-1")) == (3, 2)
        assert store.append("a-1", [event(4)], expected_version=2).position == 4
        assert store.append("c-1", [event(5)]).position == 5
    with open_store(path) as store:
        assert [e.stream_id for e in store.read_all()] == ["a-1", "a-1", "b-1", "a-1", "c-1"]


@pytest.mark.parametrize("few", [0, database.FEW_ROWS])
def test_rows_are_in_the_database_as_they_are_in_memory_be_they_few_or_many(
    monkeypatch: pytest.MonkeyPatch, store: DuckDBStore, few: int
) -> None:
    monkeypatch.setattr(database, "FEW_ROWS", few)
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    odd = "\\ ' \" ? $1 \u00e9 \U0001f600"
    store.append("a-1", [NewEvent("Plain", {}, occurred_at=first)])
    store.append(
        "b-'?", [NewEvent("'?", {odd: f"{odd}\0\ud7ff"}, uuid.UUID(int=7), [odd, "$1"], last)]
    )
    store.append("a-1", [NewEvent("Plain", {"tags": []}), NewEvent("Plain", {}, tags=["one"])])
    rows = store._hot.tail.between(0, 4)
    store.flush()
    assert list(store._database.rows(Selection(0, 4))) == rows
    assert store.verify().ok


def test_an_id_is_found_when_it_is_opened_again(path: Path) -> None:
    given = NewEvent("Counted", {}, uuid.UUID(int=1))
    with open_store(path) as store:
        store.append("a-1", [given, event()])
    with open_store(path) as store:
        for recorded in store.read("a-1"):
            assert store.find(recorded.event_id) == recorded


def test_an_id_that_is_not_there_is_not_looked_up_in_the_database(
    store: DuckDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = uuid.UUID(int=1)
    store.append("a-1", [NewEvent("Counted", {}, given), event()])
    store.flush()
    store.append("a-1", [NewEvent("Counted", {}, uuid.UUID(int=2)), event()])
    asked: list[Any] = []
    fetch = store._database.fetch
    monkeypatch.setattr(store._database, "fetch", lambda *args: asked.append(args) or fetch(*args))
    assert store.find(uuid.uuid4()) is None
    assert store.find(SeededIds(8).mint(4)) is None
    assert store.find(SeededIds(7).mint(5)) is None
    for recorded in (uuid.UUID(int=2), SeededIds(7).mint(4)):
        assert store.find(recorded) is not None
    assert not asked
    assert store.find(given) is not None
    assert asked


def test_what_was_flushed_last_is_read_from_memory(
    store: DuckDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eslab.store.duckdb.hot.KEPT_EVENTS", 4)
    asked: list[Any] = []
    fetch = store._database.fetch
    monkeypatch.setattr(store._database, "fetch", lambda *args: asked.append(args) or fetch(*args))
    for number in range(1, 30):
        store.append(f"a-{number}", [event(number)])
        store.append("b-1", [event(number)])
        store.flush()
        new, old = store._hot, store._hot.tail.base
        assert new.head - old >= 4 or old == 0
        assert new.head - old <= 8
        assert new.tail.rows == list(store._database.rows(Selection(old, new.head)))
        assert new.tail.size == 0
    for read in (
        lambda: store.read("a-29"),
        lambda: store.read("b-1", from_version=29),
        lambda: store.read("b-1", direction="backwards", limit=1),
        lambda: store.read_all(streams=["a-29", "a-30"]),
    ):
        asked.clear()
        assert [e.data["n"] for e in read()] == [29]
        assert not asked
    for read in (lambda: store.read("b-1"), lambda: store.read_all(streams=["b-1", "c-1"])):
        asked.clear()
        assert [e.data["n"] for e in read()] == list(range(1, 30))
        assert len(asked) == 1


def test_events_are_counted_in_memory_and_in_the_database_alike(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def append_some(store: EventStore) -> None:
        for number in range(6):
            tags = (f"third:{number % 3}", "counted")
            event = NewEvent(("Counted", "Added", "Other")[number % 3], {}, tags=tags)
            store.append(f"{'ab'[number % 2]}-{number}", [event])

    filters: list[dict[str, Any]] = [
        {},
        {"category": "a"},
        {"tags": ("third:1", "counted")},
        {"category": "b", "tags": ("counted",)},
    ]
    types = ["Counted", "Added", "Never"]
    with open_store(path) as store:
        append_some(store)
    with open_store(path) as store:  # what was there before is in the database alone
        assert isinstance(store, DuckDBStore)
        append_some(store)
        for flushed in range(2):
            for after, until in combinations(range(13), 2):
                for some in filters:
                    found = store.counts(types, after=after, until=until, **some)
                    query = Query.of(types=types, tags=some.get("tags", ()))
                    category = some.get("category")
                    read = store.read_all(after=after, until=until, query=query, category=category)
                    assert found == Counter(each.type for each in read), (flushed, after, until)
            store.flush()
        # Of what is in memory the database is not asked.
        monkeypatch.delattr(Database, "counts")
        assert store.counts(types, after=6, until=12) == {"Counted": 2, "Added": 2}


def test_what_is_kept_in_memory_is_little(
    store: DuckDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eslab.store.duckdb.hot.KEPT_EVENTS", 1_000)
    monkeypatch.setattr("eslab.store.duckdb.hot.KEPT_SIZE", 1_000)
    for _ in range(10):
        store.append("a-1", [NewEvent("Large", {"text": "x" * 300})])
        waiting = len(store._hot.tail.rows[-1].data)
        assert store._hot.tail.size == waiting + len("{}")
        store.flush()
        assert store._hot.tail.size == 0
        assert sum(len(row.data) for row in store._hot.tail.rows) <= 1_000
    assert store._hot.tail.rows


def test_what_waits_is_counted_rightly_when_the_clock_steps_back(store: DuckDBStore) -> None:
    clock = VirtualClock()
    store.clock = clock
    clock.advance_to(clock.now() + timedelta(hours=1))
    store.append("a-1", [event()])
    store.clock = VirtualClock()  # what says so in the metadata is more than was asked for
    for number in range(5):
        store.append("a-1", [event(number)])
        store.flush()
        assert store._hot.tail.size == 0


def test_some_streams_are_read_by_one_query(
    store: DuckDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PAGE", 20)
    store.import_events(((f"a-{n % 50}", event(n)) for n in range(1_000)), progress=False)
    asked: list[Any] = []
    fetch = store._database.fetch
    monkeypatch.setattr(store._database, "fetch", lambda *args: asked.append(args) or fetch(*args))
    assert [e.position for e in store.read_all(streams=["a-7"])] == list(range(8, 1_000, 50))
    assert len(asked) == 1
    assert asked[0][1][:2] == [7, 958]  # the positions that are read: no others can be of it
    store.append("b-1", [event()])
    assert [e.position for e in store.read_all(streams=["b-1"])] == [1_001]
    assert len(asked) == 1  # it began in the tail


def test_recorded_at_never_decreases_over_openings(path: Path) -> None:
    clock = VirtualClock()
    early = clock.now()
    clock.advance(timedelta(days=1))
    with open_store(path, clock=clock) as store:
        store.append("a-1", [event()])
    with open_store(path, clock=VirtualClock()) as store:
        store.append("a-1", [event()])
        first, second = store.read("a-1")
    assert first.recorded_at == second.recorded_at
    assert second.metadata.extra == {"recorded_at_clamped_from": early.isoformat()}


def test_one_file_is_one_store_in_a_process(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    link = tmp_path / "link.duckdb"
    with open_store(path) as store:
        link.symlink_to(path)
        monkeypatch.chdir(tmp_path)
        assert open_store(path) is store
        assert open_store("shop.duckdb") is store
        assert open_store(link) is store
        hard = tmp_path / "hard.duckdb"
        hard.hardlink_to(path)
        with pytest.raises(StoreOpenError, match="same file as"):
            open_store(hard)
    with open_store(path) as another:
        assert another is not store
    with open_store() as one, open_store() as two:
        assert one is not two


def test_a_file_that_was_removed_or_replaced_is_not_shared(path: Path) -> None:
    with open_store(path) as store:
        store.append("a-1", [event()])
        path.rename(path.with_name("elsewhere"))
        with pytest.raises(StoreOpenError, match="removed or replaced"):
            open_store(path)
        path.write_bytes(b"")
        with pytest.raises(StoreOpenError, match="removed or replaced"):
            open_store(path)
        path.unlink()


def test_threads_that_open_one_file_get_one_store(path: Path) -> None:
    found: list[EventStore] = []
    gate = threading.Barrier(4)

    def work() -> None:
        gate.wait()
        found.append(open_store(path))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(store) for store in found}) == 1
    found[0].close()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("", "needs the path"),
        (None, "needs the path"),
        (5, "needs the path"),
        (b"x", "needs the path"),
        ("a\0b", "null"),
        ("~nobody-of-that-name/x", "cannot be the path"),
        ("x" * 300, "too long"),
        ("/nowhere/shop.duckdb", "no folder /nowhere"),
        ("/proc/shop.duckdb", "cannot be opened"),
        ("/", "is a folder"),
    ],
)
def test_a_path_that_no_store_can_have(bad: Any, words: str) -> None:
    with pytest.raises(StoreOpenError, match=words):
        open_store(bad)


def test_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.symlink_to(two)
    two.symlink_to(one)
    with pytest.raises(StoreOpenError):
        open_store(one)


def other_file(path: Path, content: str | bytes) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    driver: Any = sqlite3 if content.startswith("sqlite") else duckdb
    connection = driver.connect(str(path))
    for statement in content.partition(":")[2].split(";"):
        connection.execute(statement)
    connection.close()


INFO = "create schema eslab; create table eslab.store_info"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"Dear diary, this is a text.", "no DuckDB database"),
        (b"x", "no DuckDB database"),
        (b"", "no DuckDB database"),
        ("sqlite: create table x(y)", "a SQLite database"),
        ("duckdb: create table x(y int)", r"another program \(it holds main\.x\)"),
        ("duckdb: create view x as select 1", "another program"),
        ("duckdb: create sequence x", "another program"),
        ("duckdb: create schema x", "another program"),
        ("duckdb: create macro x() as 1", "another program"),
        ("duckdb: create type x as enum ('y')", "another program"),
        ("duckdb: create schema eslab", "another program"),
        (f"duckdb: {INFO}(a int)", "does not say which format"),
        (f"duckdb: {INFO}(format int)", "does not say which format"),
        (f"duckdb: {INFO}(format varchar); insert into eslab.store_info values ('x')", "format"),
        (f"duckdb: {INFO}(format int); insert into eslab.store_info values (99)", "newer eslab"),
    ],
)
def test_a_file_of_another_program_is_refused_and_not_touched(
    path: Path, content: str | bytes, words: str
) -> None:
    other_file(path, content)
    before = digest(path)
    with pytest.raises(StoreOpenError, match=words):
        open_store(path)
    assert digest(path) == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_damaged_file_is_refused(path: Path) -> None:
    with open_store(path) as store:
        store.append("a-1", [NewEvent("A", {"x": str(n)}) for n in range(5_000)])
    content = path.read_bytes()
    for size in (12, 5_000, len(content) - 10):
        path.write_bytes(content[:size])
        with pytest.raises(StoreOpenError):
            open_store(path)
    path.write_bytes(content)
    with open_store(path) as store:
        assert store.head() == 5_000


# Processes.


def test_a_file_that_another_program_has_open_is_refused(path: Path) -> None:
    with open_store(path):
        pass
    code = """
        import sys, duckdb
        connection = duckdb.connect(sys.argv[1])
        print("ready", flush=True)
        sys.stdin.read()
    """
    with (
        ready(code, path) as holder,
        pytest.raises(StoreOpenError, match=f"process {holder}, which is not eslab"),
    ):
        open_store(path)


HOLD = """
    import sys
    from eslab import NewEvent, open_store
    store = open_store(sys.argv[1])
    store.append("a-1", [NewEvent("A", {})])
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_refused_and_the_error_says_who_has_the_file(path: Path) -> None:
    with ready(HOLD, path) as holder, pytest.raises(StoreOpenError, match=str(holder)):
        open_store(path)
    with open_store(path) as store:  # what was acknowledged survived the kill
        assert store.head() == 1


def test_the_lock_holds_whatever_else_this_process_does(path: Path) -> None:
    code = "import sys; from eslab import open_store; open_store(sys.argv[1])"
    with open_store(path) as store:
        store.append("a-1", [event()])
        assert open_store(path) is store
        refused = python(code, path)
        assert "StoreOpenError" in refused.stderr
        assert str(os.getpid()) in refused.stderr
    assert python(code, path).returncode == 0


FORK = """
    import os, sys, threading
    from eslab import EslabError, NewEvent, open_store
    path = sys.argv[1]
    store, memory, closed = open_store(path), open_store(), open_store(path + ".closed")
    closed.close()
    store.append("a-1", [NewEvent("A", {})])
    branch = store.branch()
    branch.sql("from events").fetchall()
    for lock in (store.snapshots._lock, store.snapshots._writing):
        holder = threading.Thread(target=lock.acquire)
        holder.start()
        holder.join()
    child = os.fork()
    if child == 0:
        refused = 0
        for use in (
            lambda: store.append("a-1", [NewEvent("B", {})]),
            lambda: open_store(path),
            lambda: memory.head(),
            lambda: store.sql("select 1"),
            lambda: branch.sql("select 1"),
        ):
            try:
                use()
            except EslabError as error:
                refused += "forked" in str(error)
        try:
            store.snapshots.delete()
        except EslabError:
            refused += 1
        branch.close()
        store.close()
        with open_store() as own:
            own.append("a-1", [NewEvent("C", {})])
        sys.exit(refused)
    _, status = os.waitpid(child, 0)
    store.append("a-1", [NewEvent("A", {})])
    store.close()
    with open_store(path) as store:
        print(os.waitstatus_to_exitcode(status), [e.type for e in store.read_all()])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_touches_nothing(path: Path) -> None:
    finished = python(FORK, path)
    assert finished.stdout == "6 ['A', 'A']\n", finished.stderr


# SQL.


def test_a_store_in_memory_makes_its_database_when_somebody_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect, made = database.connect, []

    def noted(path: str) -> duckdb.DuckDBPyConnection:
        made.append(path)
        return connect(path)

    monkeypatch.setattr(database, "connect", noted)
    with open_store(":memory:") as store:
        store.append("order-1", [NewEvent("OrderPlaced", {"n": n}) for n in range(3)])
        assert [event.version for event in store.read("order-1")] == [1, 2, 3]
        assert [event.position for event in store.read_all()] == [1, 2, 3]
        assert made == []
        assert store.sql("select count(*) from events").scalar() == 3
        assert made == [":memory:"]
        assert store.verify().ok
    with open_store(":memory:"):
        pass
    assert made == [":memory:"]


def test_a_database_in_memory_that_cannot_be_made_is_made_when_it_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures = [duckdb.OperationalError("planted")]

    def failing(self: Database, new_id: uuid.UUID | None) -> None:
        if failures:
            raise failures.pop()
        prepare(self, new_id)

    prepare = Database._prepare
    monkeypatch.setattr(Database, "_prepare", failing)
    with open_store(":memory:") as store:
        store.append("order-1", [NewEvent("OrderPlaced", {})])
        with pytest.raises(StoreError, match="planted"):
            store.sql("select 1")
        assert store.sql("select count(*) from events").scalar() == 1


def test_sql_sees_the_log(store: DuckDBStore) -> None:
    store.append("a-1", [event(5), NewEvent("Other", {}, tags=("t",))])
    assert store.sql("select position, stream_id, category, type from events").fetchall() == [
        (1, "a-1", "a", "Counted"),
        (2, "a-1", "a", "Other"),
    ]
    assert (
        store.sql("select (data->>'n')::int from events where type = ?", ["Counted"]).scalar() == 5
    )
    assert store.sql("select $n + 1 as x", {"n": 1}).columns == ["x"]
    assert store.sql("from event_log where false").scalar() is None
    assert len(store.sql("explain from events")) == 1
    assert type(store.sql("select sum(position) as s from events").df()["s"].iloc[0].item()) is int
    assert store.sql("select 170141183460469231731687303715884105727 as h").scalar() == 2**127 - 1


REFUSED = {
    "two": "select 1; select 2",
    "none": "",
    "comment": "-- nothing",
    "syntax": "selec 1",
    "unknown": "from nowhere",
    "delete": "delete from event_log",
    "hidden delete": "with x as (delete from event_log returning *) from x",
    "explained delete": "explain analyze delete from event_log",
    "create": "create table main.x as select 1",
    "copy": "copy (select 1) to 'x.csv'",
    "set": "set threads = 1",
    "attach": "attach 'x.duckdb'",
    "commit": "commit",
    "python variable": "from statements",
    "no value": "select ?",
    "number": 5,
}


@pytest.mark.parametrize("query", REFUSED.values(), ids=REFUSED)
def test_sql_that_is_no_single_select_is_refused(store: DuckDBStore, query: Any) -> None:
    store.append("a-1", [event()])
    with pytest.raises(QueryError):
        store.sql(query)
    assert store.head() == len(list(store.read_all())) == 1
    assert store.append("a-1", [event()]).position == 2


def test_few_statements_are_kept_parsed(
    store: DuckDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cursors, "PARSED", 3)
    for number in range(10):
        with store.transaction() as transaction:
            for _ in range(2):
                assert transaction.execute(f"select {number} + ?", [1]) == [(number + 1,)]
        assert len(cursors._parsed) <= 3


def test_values_are_bound_and_never_read_as_sql(store: DuckDBStore) -> None:
    evil = "x'; drop table eslab.event_log; --\""
    store.append(evil, [NewEvent(evil, {evil: evil}, tags=(evil,))])
    (read,) = store.read(evil)
    assert (read.type, read.data, read.tags) == (evil, {evil: evil}, (evil,))
    assert len(list(store.read_all(types=[evil], category=evil.partition("-")[0]))) == 1
    assert store.sql("select stream_id from events where type = $t", {"t": evil}).scalar() == evil


def test_a_result_outlives_its_store(path: Path) -> None:
    with DuckDBStore.open(path, clock=VirtualClock(), ids=SeededIds(7)) as store:
        store.append("a-1", [event(n) for n in range(50)])
        result = store.sql("select position as p from events order by p")
    assert len(result) == len(result.df()) == result.arrow().num_rows == 50
    assert sum(batch.num_rows for batch in result.batches(rows=7)) == 50
    assert "50 rows" in repr(result)
    assert "the first 20 of 50 rows" in result._repr_html_()
    with pytest.raises(StoreClosedError, match="closed"):
        store.sql("select 1")
    with pytest.raises(StoreClosedError):
        store.streams()
    assert "closed" in repr(store)


def test_reading_stops_when_the_store_is_closed(
    store: DuckDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("database", "log"):
        monkeypatch.setattr(f"eslab.store.duckdb.{module}.PAGE", 4)
    store.append("a-1", [event(n) for n in range(50)])
    store.flush()
    reading = store.read_all()
    next(reading)
    store.close()
    with pytest.raises(StoreClosedError):
        list(reading)


def test_threads_read_and_query_while_others_append(store: DuckDBStore) -> None:
    errors: list[BaseException] = []

    def guarded(work: Any) -> None:
        try:
            for number in range(15):
                work(number)
        except BaseException as error:
            errors.append(error)

    def append(number: int) -> None:
        store.append("a-1", [event(number)])

    def read(_: int) -> None:
        positions = [e.position for e in store.read_all()]
        assert positions == list(range(1, len(positions) + 1))

    def query(_: int) -> None:
        count, last = store.sql("select count(*), max(position) from events").fetchall()[0]
        assert count == (last or 0)

    threads = [
        threading.Thread(target=guarded, args=(work,)) for work in (append, append, read, query)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert store.head() == 30


# Memory.


def held_of_the_file(store: DuckDBStore) -> int:
    memory = "select sum(memory_usage_bytes) from duckdb_memory() where tag = 'BASE_TABLE'"
    return int(store.sql(memory).scalar() or 0)


def memory_limit(store: DuckDBStore) -> str:
    return str(store.sql("select current_setting('memory_limit')").scalar())


def pairs(count: int) -> Iterator[tuple[str, NewEvent]]:
    return ((f"counter-{n // 10}", NewEvent("Counted", {}, uuid.uuid4())) for n in range(count))


def test_of_the_file_an_import_leaves_little_in_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BULK_ROWS", 5_000)
    monkeypatch.setattr(database, "HELD_BYTES", 1 << 20)
    with open_store(path) as store:
        assert isinstance(store, DuckDBStore)
        limit = memory_limit(store)
        with store._database.cursor():  # somebody reads: the fault that the test is to find
            store.import_events(pairs(200_000), progress=False)
        assert held_of_the_file(store) > 2 << 20
        store.import_events(pairs(6_000), progress=False)
        assert held_of_the_file(store) < 2 << 20
        assert memory_limit(store) == limit
        assert store.verify().ok


def test_an_interrupt_leaves_the_limit_of_memory_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Database) -> None:
        self._connection.execute("set memory_limit = '100 MB'")
        raise KeyboardInterrupt

    monkeypatch.setattr(database, "BULK_ROWS", 1)
    monkeypatch.setattr(Database, "_let_go", interrupted)
    with open_store(path) as store:
        assert isinstance(store, DuckDBStore)
        limit = memory_limit(store)
        with pytest.raises(KeyboardInterrupt):
            store.import_events(pairs(10), progress=False)
        assert store.head() == 10
        assert memory_limit(store) == limit


@pytest.mark.parametrize("name", ["eslab", "rm", "temp", "memory", "it's", 'q"x', "select"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.duckdb"
    with open_store(path) as store:
        store.append("a-1", [NewEvent("T", {"n": 1})])
        assert store.sql("select count(*) from events").scalar() == 1
    with Lab(path) as lab:
        assert lab.store.head() == 1
        lab.store.copy_to(tmp_path / f"copy of {name}")
        with lab.branch() as branch:
            assert branch.sql("select count(*) from events").scalar() == 1
    with Lab.open_copy(tmp_path / f"copy of {name}") as copy:
        assert copy.sql("select count(*) from events").scalar() == 1
