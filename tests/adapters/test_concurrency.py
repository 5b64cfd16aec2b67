"""Threads, processes, forks and kernels around one store: what each sees, and what none breaks."""

from __future__ import annotations

import os
import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from processes import killed, python
from soak import scaled

from eslab import NewEvent, StoreClosedError, StreamAppend, open_store
from eslab.store.duckdb import DuckDBStore
from eslab.store.duckdb.journal import segments_of


def event(number: int = 0) -> NewEvent:
    return NewEvent("Counted", {"n": number})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.duckdb"


@pytest.fixture(params=["memory", "file"])
def store(
    request: pytest.FixtureRequest, path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DuckDBStore]:
    for place, limit in {
        "database.PAGE": 10,
        "store.FLUSH_EVENTS": 30,
        "journal.ROTATE_EVENTS": 40,
        "flusher.IDLE": 0.01,
        "hot.RUN": 16,
        "hot.KEPT_EVENTS": 20,
    }.items():
        monkeypatch.setattr(f"eslab.store.duckdb.{place}", limit)
    with open_store(path if request.param == "file" else ":memory:") as store:
        assert isinstance(store, DuckDBStore)
        yield store


def together(*works: Callable[[], object]) -> None:
    """Run all on threads of their own, and raise what the first of them raised."""
    failures: list[str] = []

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException:
            failures.append(traceback.format_exc())

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert not failures, failures[0]


# Threads.


@pytest.mark.soak
def test_what_threads_see_of_each_other_is_always_whole(store: DuckDBStore) -> None:
    """Gapless up to the head that was seen; versions that can be read; pairs never halved."""
    over = threading.Event()
    writers = 3
    left = [scaled(50, 2_000)] * writers

    def write(name: int) -> None:
        try:
            while left[name]:
                left[name] -= 1
                store.append_all(
                    [StreamAppend("pair-1", [event()]), StreamAppend("pair-2", [event()])]
                )
                store.append(f"own-{name}", [event()])
        finally:
            over.set()

    def always(look: Callable[[], None]) -> Callable[[], None]:
        def work() -> None:
            last = False
            while not last:
                last = over.is_set()
                look()

        return work

    seen = [0]

    def read() -> None:
        head = store.head()
        positions = [event.position for event in store.read_all()]
        assert positions == list(range(1, len(positions) + 1))
        assert len(positions) >= head >= seen[0]
        seen[0] = head

    def read_backwards() -> None:
        head = store.head()
        positions = [event.position for event in store.read_all(until=head, direction="backwards")]
        assert positions == list(range(head, 0, -1))

    def read_streams() -> None:
        for stream in ("pair-1", "own-0"):
            version = store.stream_version(stream)
            versions = [event.version for event in store.read(stream)]
            assert versions == list(range(1, len(versions) + 1))
            assert len(versions) >= version
            back = [
                e.version for e in store.read(stream, to_version=version, direction="backwards")
            ]
            assert back == list(range(version, 0, -1))

    def query() -> None:
        head = store.head()
        count, last, pairs, halves = store.sql(
            "select count(*), coalesce(max(position), 0), "
            "count(*) filter (stream_id = 'pair-1'), count(*) filter (stream_id = 'pair-2') "
            "from events"
        ).fetchall()[0]
        assert count == last >= head
        assert pairs == halves

    def verify() -> None:
        assert store.verify().ok, store.verify()

    works = map(always, [read, read_backwards, read_streams, query, verify])
    together(*works, *(lambda name=name: write(name) for name in range(writers)))  # type: ignore[misc]
    assert store.stream_version("pair-1") == store.stream_version("pair-2")
    assert store.verify().ok


@pytest.mark.soak
def test_an_id_that_is_given_again_is_found_whatever_is_flushed_meanwhile(
    store: DuckDBStore,
) -> None:
    """Ids move from the tail to the database, and are sorted there, while others look them up."""
    over = threading.Event()

    def write(name: int) -> None:
        given: list[NewEvent] = []
        for number in range(scaled(60, 1_000)):
            given.append(NewEvent("A", {"n": number}, uuid.uuid4()))
            assert not store.append(f"s-{name}", given[-1:]).duplicate
            for again in given[-1:], given[:1], given[number // 2 : number // 2 + 1]:
                assert store.append(f"s-{name}", again).duplicate

    def write_all() -> None:
        try:
            together(*(lambda name=name: write(name) for name in range(4)))  # type: ignore[misc]
        finally:
            over.set()

    def flush() -> None:
        while not over.is_set():
            store.flush()

    together(write_all, flush)
    assert store.verify().ok


def test_whoever_waits_is_woken_by_an_append_and_by_the_end(store: DuckDBStore) -> None:
    heads: list[object] = []

    def wait() -> None:
        heads.append(store.wait(0))
        try:
            store.wait(1)
        except StoreClosedError as error:
            heads.append(type(error))

    def act() -> None:
        while not store._bells:
            threading.Event().wait(0.001)
        store.append("a-1", [event()])
        while not heads or not store._bells:
            threading.Event().wait(0.001)
        store.close()

    together(wait, act)
    assert heads == [1, StoreClosedError]


def test_closing_while_others_read_and_append_is_an_error_for_them_and_no_more(
    path: Path,
) -> None:
    for _ in range(scaled(3, 100)):
        store = open_store(path)
        started = threading.Barrier(4)
        acknowledged = [store.head()]

        def use(work: Callable[[], Any], started: threading.Barrier = started) -> None:
            work()
            started.wait(10)
            try:
                while True:
                    work()
            except StoreClosedError:
                return

        def append(store: Any = store, acknowledged: list[int] = acknowledged) -> None:
            acknowledged.append(store.append("a-1", [event()]).position)

        def read(store: Any = store) -> None:
            list(store.read_all(direction="backwards", limit=100))

        def query(store: Any = store) -> None:
            store.sql("select count(*), max(data::varchar) from events")

        def close(store: Any = store, started: threading.Barrier = started) -> None:
            started.wait(10)
            store.close()

        together(*(lambda work=work: use(work) for work in (append, read, query)), close)  # type: ignore[misc]
        with open_store(path) as store:
            assert store.head() >= max(acknowledged)
            assert store.verify().ok


# Other processes.

OPEN = """
    import sys
    from eslab import StoreError, open_store
    try:
        open_store(sys.argv[1])
    except StoreError as error:
        print(error)
"""


def test_user_code_that_opens_and_closes_the_files_lets_no_second_process_in(path: Path) -> None:
    """That drops the locks of DuckDB and SQLite, which belong to the process; ours it does not."""
    with open_store(path) as store:
        store.append("a-1", [event()])
        for file in path.parent.iterdir():
            file.open("rb").close()
        words = python(OPEN, path).stdout
        assert f"open in process {os.getpid()}" in words
        assert "lab.close()" in words
        assert "open_copy" in words
        store.append("a-1", [event()])
    with open_store(path) as store:
        assert store.head() == 2
        assert store.verify().ok


FORK = """
    import os, signal, sys
    from eslab import NewEvent, open_store
    path = sys.argv[1]
    store = open_store(path)
    store.append("a-1", [NewEvent("A", {})])
    store.flush()
    store.append("a-1", [NewEvent("A", {})])
    def files():
        folder = os.path.dirname(path)
        return {name: open(os.path.join(folder, name), "rb").read() for name in os.listdir(folder)}
    before = files()
    child = os.fork()
    if child == 0:
        store.close()
        del store
        sys.exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert files() == before, "the child touched them"
    store.append("a-1", [NewEvent("A", {})])
    assert store.verify().ok
    store.append("a-1", [NewEvent("A", {})])
    print(store.head(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_leaves_the_journal_alone(path: Path) -> None:
    assert killed(FORK, path) == "4\n"
    assert segments_of(path)
    with open_store(path) as store:
        assert store.head() == 4
        assert store.verify().ok


END = """
    import sys, threading
    from contextlib import suppress
    from eslab import NewEvent, StoreClosedError, open_store
    store = open_store(sys.argv[1])
    def append(count):
        for number in range(count):
            store.append("a-1", [NewEvent("A", {"n": number})])
    append(50)
    if sys.argv[2] == "thread":
        threading.Thread(target=append, args=(200,)).start()
    if sys.argv[2] == "waiting":
        def wait():
            with suppress(StoreClosedError):
                store.wait(50)
        threading.Thread(target=wait, daemon=True).start()
    if sys.argv[2] == "error":
        raise SystemExit("it ends with an error")
"""


@pytest.mark.parametrize("how", ["", "thread", "waiting", "error"])
def test_a_process_that_ends_flushes_and_leaves_no_journal(path: Path, how: str) -> None:
    finished = python(END, path, how, timeout=30)
    assert "Traceback" not in finished.stderr
    assert finished.returncode == (how == "error")
    assert {file.name for file in path.parent.iterdir()} == {"shop.duckdb", "shop.duckdb.lock"}
    with open_store(path) as store:
        assert store.head() == (250 if how == "thread" else 50)


# Kernels.


@pytest.mark.timeout(90)
def test_a_kernel_with_an_open_store_restarts_and_stops_and_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jupyter_client.manager import KernelManager

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    manager = KernelManager()
    manager.start_kernel()
    try:
        for number in range(1, 3):
            client = manager.client()
            client.start_channels()
            client.wait_for_ready(timeout=60)
            append = (
                "import eslab; "
                f"store = eslab.open_store({str(path)!r}); "
                "print(store.append('a-1', [eslab.NewEvent('A', {})]).version)"
            )
            assert printed(client, append) == f"{number}\n"
            client.stop_channels()
            if number == 1:
                manager.restart_kernel()
        manager.shutdown_kernel()
    finally:
        if manager.has_kernel:
            manager.shutdown_kernel(now=True)
    with open_store(path) as store:
        assert store.head() == 2
        assert store.verify().ok


def printed(client: Any, code: str) -> str:
    """Run code in a kernel and return what it printed, or its error."""
    found: list[str] = []

    def hook(message: Any) -> None:
        content = message["content"]
        if message["msg_type"] == "stream":
            found.append(content["text"])
        elif message["msg_type"] == "error":
            found.extend(content["traceback"])

    try:
        client.execute_interactive(code, timeout=60, output_hook=hook)
    except Empty:
        found.append("no answer")
    return "".join(found)
