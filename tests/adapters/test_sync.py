"""An append has returned only when the disk has it: seen in what the process asks of the system.

A process that is killed loses nothing that it wrote, synced or not; so killing shows nothing of
this.
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from eslab import open_store

pytestmark = pytest.mark.strace

APPEND = """
    import os, sys, threading
    from eslab import NewEvent, StoreError, open_store
    import eslab.store.duckdb.journal as journal

    path, threads, appends, fault = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    journal.ROTATE_EVENTS = 20
    if fault == "normal":
        begin = journal._Segment.__init__
        def lazy(self, *rest):
            begin(self, *rest)
            self.connection.execute("pragma synchronous = normal")
        journal._Segment.__init__ = lazy

    store = open_store(path)
    def flush():
        try:
            store.flush()
        except StoreError:
            assert fault == "failing"

    def work(name):
        for number in range(appends):
            os.write(1, f"submit {name}.{number}\\n".encode())
            try:
                store.append(f"s-{name}", [NewEvent("A", {"number": number})])
            except StoreError as error:
                assert fault == "failing" and "nothing was written" in str(error), error
                continue
            os.write(1, f"done {name}.{number}\\n".encode())
            if number % 10 == 9:
                flush()

    while not store.head():
        try:
            store.append("first-1", [NewEvent("A", {})])
        except StoreError:
            assert fault == "failing"
    workers = [threading.Thread(target=work, args=(name,)) for name in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert fault or store.verify().ok
    store._unsure = True  # leave it as a killed process would
"""

CALL = re.compile(r"(?P<pid>\d+) +(?P<name>\w+)\(\d+<(?P<file>[^>]*)>(?P<rest>.*)")
RESUMED = re.compile(r"(?P<pid>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")
RESULT = re.compile(r"= (-?\d+)")


@dataclass
class Sync:
    """A sync of the journal: the lines at which it began and was done."""

    began: int
    done: int


def traced(
    path: Path, *, threads: int, appends: int = 30, fault: str = "", inject: str = ""
) -> list[str]:
    trace = path.with_name("trace")
    finished = subprocess.run(
        [
            *("strace", "-f", "-y", "-qq", "-s", "40", "-o", trace),
            *("-e", "trace=fdatasync,fsync,write,pwrite64"),
            *(("-e", f"inject={inject}") if inject else ()),
            *(sys.executable, "-W", "ignore", "-c", textwrap.dedent(APPEND)),
            *(path, str(threads), str(appends), fault),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return trace.read_text(errors="replace").splitlines()


def not_synced(lines: list[str]) -> list[str]:
    """Return the appends that returned before their journal was synced.

    From when it was submitted until it returned, there must be a sync of a write-ahead file of the
    journal that began after something was written to it.
    """
    submitted: dict[str, int] = {}
    begun: dict[str, int] = {}
    written: list[int] = []
    syncs: list[Sync] = []
    wrong = []
    for number, line in enumerate(lines):
        if match := re.search(r'"submit ([\d.]+)', line):
            submitted[match[1]] = number
        elif match := re.search(r'"done ([\d.]+)', line):
            since = submitted[match[1]]
            first = next((at for at in written if at > since), number)
            if not any(first < sync.began and sync.done < number for sync in syncs):
                wrong.append(match[1])
        elif match := CALL.match(line):
            if not re.search(r"\.journal-\d+-wal$", match["file"]):
                continue
            if "write" in match["name"]:
                written.append(number)
            elif "<unfinished" in match["rest"]:
                begun[match["pid"]] = number
            elif (result := RESULT.search(match["rest"])) and result[1] == "0":
                syncs.append(Sync(number, number))
        elif (match := RESUMED.match(line)) and "sync" in match["name"]:
            began = begun.pop(match["pid"], None)
            if began is not None and (result := RESULT.search(match["rest"])) and result[1] == "0":
                syncs.append(Sync(began, number))
    assert submitted
    return wrong


@pytest.mark.parametrize("threads", [1, 8])
def test_an_append_returns_after_its_journal_was_synced(tmp_path: Path, threads: int) -> None:
    assert not_synced(traced(tmp_path / "shop.duckdb", threads=threads)) == []


@pytest.mark.parametrize("threads", [1, 8])
def test_the_guard_without_syncs_it_fails(tmp_path: Path, threads: int) -> None:
    lines = traced(tmp_path / "shop.duckdb", threads=threads, fault="normal")
    assert len(not_synced(lines)) > threads * 15


@pytest.mark.parametrize("when", ["30+23", "31+17"])
def test_syncs_that_fail_lose_nothing_that_was_acknowledged(tmp_path: Path, when: str) -> None:
    path = tmp_path / "shop.duckdb"
    lines = traced(
        path, threads=1, appends=60, fault="failing", inject=f"fdatasync:error=EIO:when={when}"
    )
    assert sum("EIO" in line for line in lines) > 1
    done = [number for line in lines for number in re.findall(r'"done 0\.(\d+)', line)]
    assert 10 < len(done) < 60
    with open_store(path) as store:
        assert [event.data["number"] for event in store.read("s-0")] == list(map(int, done))
        assert store.verify().ok
