"""Ctrl-C at any moment: nobody hangs, nothing that was acknowledged is lost, nothing is twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from interrupts import Interrupt, in_time
from processes import python
from soak import scaled

from eslab import EventStore, MemoryStore, NewEvent, StreamAppend, VirtualClock, open_store
from eslab.clock import SeededIds
from eslab.store.duckdb import DuckDBStore
from eslab.store.port import Snapshot, SnapshotKey

Store = Any


def event(name: str) -> NewEvent:
    return NewEvent("Counted", {"name": name})


def append(store: Store, name: str) -> None:
    store.append_all([StreamAppend("a-1", [event(name)]), StreamAppend(name, [event(name)])])


def first_of_a_segment(store: Store, name: str) -> None:
    if isinstance(store, DuckDBStore) and store._journal is not None:
        store._journal.rotate(store.head())
    append(store, name)


def flush(store: Store, name: str) -> None:
    append(store, name)
    if isinstance(store, DuckDBStore):
        store.flush()


def import_events(store: Store, name: str) -> None:
    store.import_events([("a-1", event(name)), (name, event(name))], progress=False)


def query(store: Store, name: str) -> None:
    append(store, name)
    if isinstance(store, DuckDBStore):
        assert store.sql("select count(*) from events").scalar() == store.head()


def verify(store: Store, name: str) -> None:
    append(store, name)
    assert store.verify().ok


def snapshot(store: Store, name: str) -> None:
    append(store, name)
    key = SnapshotKey("a-1", "schema")
    held = Snapshot(store.stream_version("a-1"), "{}")
    store.snapshots.put(key, held)
    if isinstance(store, DuckDBStore):
        store.flush()
    assert store.snapshots.latest(key) == held
    versions = [one.version for _, one in store.snapshots]
    assert versions == sorted(set(versions)), "one is there twice"


WORKS: dict[str, Callable[[Store, str], None]] = {
    "append": append,
    "first append": first_of_a_segment,
    "flush": flush,
    "import": import_events,
    "query": query,
    "verify": verify,
    "snapshot": snapshot,
}


@pytest.fixture(params=["memory", "duckdb", "file"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    monkeypatch.setattr("eslab.store.duckdb.journal.ROTATE_EVENTS", 2)
    clock, ids = VirtualClock(), SeededIds(7)
    match request.param:
        case "memory":
            opened: EventStore = MemoryStore(clock=clock, ids=ids)
        case "duckdb":
            opened = open_store(clock=clock, ids=ids)
        case _:
            opened = open_store(tmp_path / "shop.duckdb", clock=clock, ids=ids)
    with opened:
        yield opened


def whole(store: Store) -> Counter[str]:
    """Check the log, and return how often each name is in it."""
    events = list(store.read_all())
    assert [event.position for event in events] == list(range(1, len(events) + 1))
    assert store.verify().ok, store.verify()
    return Counter(event.data["name"] for event in events)


# tqdm's bar, if it was not made to its end, complains when it is thrown away.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.soak
@pytest.mark.parametrize("work", WORKS.values(), ids=WORKS)
def test_an_interrupt_at_any_place_leaves_a_working_store(
    store: Store, work: Callable[[Store, str], None]
) -> None:
    """All places under `make soak`; else those at some distance, which moves with what is done."""
    acknowledged = {"before", "warm"}
    append(store, "before")
    work(store, "warm")
    place, kept = 0, None
    while kept is not None or place == 0:
        place += scaled(23, 1)
        name = f"work-{place}"
        with Interrupt(place) as interrupt:
            work(store, name)
        kept = interrupt.raised
        assert kept or interrupt.left > 0, f"the interrupt at place {place} was lost"
        if kept is None:
            acknowledged.add(name)
        in_time(partial(append, store, f"next-{place}"))
        if isinstance(store, DuckDBStore):
            in_time(store.flush)
        acknowledged.add(f"next-{place}")
        assert store.stream_version("a-1") == sum(1 for _ in store.read("a-1")), place
    counts = whole(store)
    assert set(counts.values()) == {2}
    assert acknowledged <= counts.keys()
    assert place > 20
    if isinstance(store, DuckDBStore) and store.path != ":memory:":
        store.close()
        with open_store(store.path) as again:
            assert whole(again) == counts


@pytest.mark.soak
def test_closing_may_be_interrupted_and_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    names: list[str] = []
    place = 0
    while True:
        place += scaled(29, 1)
        store = open_store(path)
        append(store, f"one-{place}")
        with Interrupt(place) as interrupt:
            store.close()
        names.append(f"one-{place}")
        if not store.closed and not store._database._closed:
            in_time(partial(append, store, f"two-{place}"))
            names.append(f"two-{place}")
            store._unsure = bool(place % 2)  # so that it is left as by a killed process
        in_time(store.close)
        if interrupt.raised is None:
            break
    with open_store(path) as store:
        assert whole(store) == Counter(dict.fromkeys(names, 2))


STORM = """
    import json, random, signal, sys, threading, traceback
    import eslab.store.duckdb.store, eslab.store.duckdb.journal, eslab.store.duckdb.flusher
    from eslab import NewEvent, StoreError, StreamAppend, open_store

    path, interrupts, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    eslab.store.duckdb.FLUSH_EVENTS = 20
    eslab.store.duckdb.journal.ROTATE_EVENTS = 30
    eslab.store.duckdb.flusher.IDLE = 0.005
    chance = random.Random(seed)
    store = open_store(path)
    store.append("first-1", [NewEvent("A", {"name": "first"})])
    acknowledged, failures = ["first"], []
    over = threading.Event()

    def append(name):
        event = NewEvent("A", {"name": name})
        store.append_all([StreamAppend("all-1", [event]), StreamAppend(name, [event])])
        acknowledged.append(name)

    def work(thread):
        try:
            number = 0
            while not over.is_set():
                number += 1
                try:
                    append(f"{thread}-{number}")
                except StoreError as error:  # three interrupts in a row, seldom
                    assert "nothing was written" in str(error), error
        except BaseException:
            failures.append(traceback.format_exc())

    threads = [threading.Thread(target=work, args=(name,)) for name in "xyz"]
    for thread in threads:
        thread.start()

    def everything(number):
        append(f"main-{number}")
        match number % 5:
            case 0: store.flush()
            case 1: assert store.sql("select count(*) from events").scalar() > 0
            case 2:
                event = NewEvent("A", {"name": f"import-{number}"})
                store.import_events(
                    [("all-1", event), (f"import-{number}", event)], progress=False
                )
                acknowledged.append(f"import-{number}")
            case 3: list(store.read("all-1", direction="backwards", limit=30))
            case 4: store.compact()

    def arm():
        # And again, if that one is raised where Python itself loses it: in a destructor.
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0002, 0.006), 0.5)

    # Once each, so that all is imported: there Python itself may lose an interrupt, or end with
    # one that was caught, as behind every `exec`.
    for number in range(5):
        everything(number)
    caught = 0
    kept = None
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    while caught < interrupts and not failures:
        try:
            arm()
            while True:
                number += 1
                try:
                    everything(number)
                except StoreError as error:
                    assert "nothing was written" in str(error), error
        except KeyboardInterrupt as error:
            caught += 1
            kept = error if chance.random() < 0.5 else None
    signal.setitimer(signal.ITIMER_REAL, 0)
    over.set()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]
    report = store.verify()
    assert report.ok, report
    names = [event.data["name"] for event in store.read_all()]
    assert len(acknowledged) == len(set(acknowledged))
    store.close()
    if path != ":memory:":
        with open_store(path) as store:
            assert names == [event.data["name"] for event in store.read_all()]
    print(json.dumps([acknowledged, names]))
"""


@pytest.mark.soak
@pytest.mark.parametrize("place", [":memory:", "file"])
def test_a_storm_of_interrupts_while_others_append(tmp_path: Path, place: str) -> None:
    path = place if place == ":memory:" else tmp_path / "shop.duckdb"
    for seed in range(scaled(1, 10)):
        finished = python(STORM, path, scaled(300, 5_000), seed, timeout=scaled(100, 1_000))
        assert finished.returncode == 0, finished.stderr
        acknowledged, names = json.loads(finished.stdout)
        counts = Counter(names)
        assert counts.pop("first") == 1
        assert set(counts.values()) == {2}
        assert set(acknowledged) - {"first"} <= counts.keys()
        if place == "file":
            path.unlink()  # type: ignore[union-attr]
