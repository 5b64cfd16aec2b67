"""Loading and saving: at a version, as of a time, many at once, from memory, from a snapshot."""

from __future__ import annotations

import gc
import sys
import threading
import uuid
import weakref
from datetime import timedelta
from functools import cached_property
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eslab import (
    Aggregate,
    AsOf,
    ConcurrencyError,
    Decider,
    DomainError,
    Event,
    InputError,
    Lab,
    MemoryStore,
    NewEvent,
    SchemaError,
    StreamAppend,
    StreamNotFoundError,
    applies,
)
from eslab.aggregates import Repository
from eslab.schema import EventRegistry
from eslab.store.port import Snapshot, SnapshotKey


class Counted(Event):
    by: int


class Noted(Event):
    text: str


class Counter(Aggregate, ignores=[Noted], snapshot_every=3):
    total: int = 0
    seen: list[int] = []  # noqa: RUF012 - copied for each instance

    def count(self, by: int) -> None:
        self.record(Counted(by=by))

    @applies
    def counted(self, event: Counted) -> None:
        self.total += event.by
        self.seen.append(event.by)


def decide(command: Any, total: int) -> Counted:
    return Counted(by=1)


def evolve(total: int, event: Counted) -> int:
    return total + event.by


counter = Decider(decide, evolve, 0, category="tally", commands=(Noted,), snapshot_every=3)


class Reads(MemoryStore):
    """A store that counts the events which are read."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.read_events = 0
        self.queries = 0

    def read_stream_batches(self, *args: Any, **options: Any) -> Any:
        for batch in super().read_stream_batches(*args, **options):
            self.queries += 1
            self.read_events += len(batch)
            yield batch

    def read_all(self, *args: Any, **options: Any) -> Any:
        self.queries += 1
        yield from super().read_all(*args, **options)

    def reads(self) -> int:
        read, self.read_events = self.read_events, 0
        return read


@pytest.fixture
def store() -> Reads:
    return Reads()


@pytest.fixture
def repository(store: Reads) -> Repository:
    return Repository(store, EventRegistry())


def counted(repository: Repository, id: str, *by: int) -> Counter:
    one = repository.find(Counter, id)
    for number in by:
        one.count(number)
    repository.save(one)
    return one


# Definitions.


def test_an_event_that_is_ignored_changes_nothing_but_the_version(repository: Repository) -> None:
    one = repository.find(Counter, "1")
    one.record(Noted(text="hello"))
    one.count(2)
    repository.save(one)
    loaded = repository.load(Counter, "1")
    assert (loaded.version, loaded.total) == (2, 2)
    assert set(Counter.event_classes) == {"Counted", "Noted"}

    class Extended(Counter):
        pass

    Extended("1").record(Noted(text="hello"))


def test_an_event_without_a_handler_is_an_error_at_the_definition() -> None:
    with pytest.raises(SchemaError, match=r"no handler for its event Noted.*ignores=\[Noted\]"):

        class Listed(Aggregate, events=[Noted]):
            pass

    with pytest.raises(SchemaError, match="no handler for its event Opened"):

        class Nested(Aggregate):
            class Opened(Event):
                pass

    class Fine(Aggregate, events=[Noted], ignores=[Noted]):
        class Opened(Event):
            pass

        @applies
        def opened(self, event: Opened | Counted) -> None: ...

    assert set(Fine.event_classes) == {"Noted", "Opened", "Counted"}
    for bad in (int, Noted(text="a"), "Noted"):
        with pytest.raises(SchemaError, match="subclasses of Event"):
            type("Bad", (Aggregate,), {"__module__": __name__}, events=[bad])


def test_a_decider_knows_its_commands_and_events_by_annotations() -> None:
    assert counter.events == (Counted,)
    assert repr(counter) == "Decider('tally': Noted -> Counted)"
    one = counter("1")
    one.execute(Noted(text="again"))
    assert repr(one) == "<tally 1 v1 1 (1 uncommitted)>"
    with pytest.raises(SchemaError, match="no event Noted"):
        one.record(Noted(text="a"))
    with pytest.raises(SchemaError, match="annotate its parameter 'command'"):
        Decider(decide, evolve, 0, category="tally")
    for bad in ("", "a-b", 1):
        with pytest.raises(SchemaError, match="category"):
            Decider(decide, evolve, 0, category=bad, commands=(Noted,))  # type: ignore[arg-type]


def test_a_decision_is_recorded_as_a_whole_or_not_at_all() -> None:
    def two(command: Noted, total: int) -> list[Counted]:
        return [Counted(by=1), Counted(by=-5)]

    def strict(total: int, event: Counted) -> int:
        if total + event.by < 0:
            raise DomainError("below zero")
        return total + event.by

    one = Decider(two, strict, 0, category="tally")("1")
    with pytest.raises(DomainError):
        one.execute(Noted(text="a"))
    assert (one.state, one.version, one.uncommitted) == (0, 0, [])


def test_entities_share_no_initial_state() -> None:
    def put(state: list[int], event: Counted) -> list[int]:
        state.append(event.by)
        return state

    listed = Decider(decide, put, [], category="list", commands=(Noted,))
    one, two = listed("1"), listed("2")
    one.execute(Noted(text="a"))
    assert (one.state, two.state, listed.initial) == ([1], [], [])


def test_an_event_that_json_has_no_word_for_is_refused_and_nothing_is_appended(
    repository: Repository, store: Reads
) -> None:
    class Odd(Event):
        anything: Any

    class Box(Aggregate, ignores=[Odd]):
        pass

    for bad in (object(), [float("nan")], "\ud800"):
        one = repository.find(Box, "1")
        one.record(Odd(anything="fine"))
        one.record(Odd(anything=bad))
        with pytest.raises(InputError, match="Odd"):
            repository.save(one)
        assert (store.head(), len(one.uncommitted)) == (0, 2)


# Loading.


def test_as_it_was_at_a_version_a_position_and_a_time() -> None:
    with Lab(seed=7) as lab:
        for number in range(1, 6):
            one = lab.find(Counter, "1")
            one.count(number)
            lab.save(one)
            lab.advance(timedelta(minutes=1))
        begin = lab.clock.now() - timedelta(minutes=5)
        assert lab.load(Counter, "1", version=2).seen == [1, 2]
        assert lab.load(Counter, "1", as_of=AsOf(position=4)).seen == [1, 2, 3, 4]
        then = AsOf(recorded=begin + timedelta(minutes=2))
        assert lab.load(Counter, "1", as_of=then).seen == [1, 2, 3]
        assert lab.load(Counter, "1", as_of=then, version=1).seen == [1]
        for early in (AsOf(position=0), AsOf(recorded=begin - timedelta(minutes=1))):
            with pytest.raises(StreamNotFoundError):
                lab.load(Counter, "1", as_of=early)
        past = lab.load(Counter, "1", version=2)
        past.count(9)
        with pytest.raises(ConcurrencyError):
            lab.save(past)


def test_many_in_one_query(repository: Repository, store: Reads) -> None:
    for number in range(1, 8):
        counted(repository, f"{number}", *range(number))
    store.queries = store.read_events = 0
    found = repository.get_many(Counter, ["3", "7", "nobody", "3"])
    assert (store.queries, store.read_events) == (1, 0)
    assert {id: one.seen for id, one in found.items()} == {"3": [0, 1, 2], "7": [*range(7)]}
    assert found["7"].version == 7
    found["3"].count(5)
    repository.save(found["3"])
    assert repository.get_many(Counter, []) == {}
    with pytest.raises(InputError, match="list of identities"):
        repository.get_many(Counter, "37")


def test_what_is_in_memory_is_read_no_more_and_never_stale(
    repository: Repository, store: Reads
) -> None:
    counted(repository, "1", 1, 2)
    assert repository.load(Counter, "1").seen == [1, 2]
    store.reads()
    assert repository.load(Counter, "1").seen == [1, 2]
    assert store.reads() == 0
    store.append("counter-1", [NewEvent("Counted", {"by": 3})])  # behind its back
    assert repository.load(Counter, "1").seen == [1, 2, 3]
    assert store.reads() == 1
    one, two = repository.load(Counter, "1"), repository.load(Counter, "1")
    one.count(4)
    two.count(5)
    repository.save(one)
    with pytest.raises(ConcurrencyError):
        repository.save(two)
    assert repository.load(Counter, "1").seen == [1, 2, 3, 4]


def test_what_was_loaded_belongs_to_whoever_loaded_it(repository: Repository) -> None:
    counted(repository, "1", 1)
    one = repository.load(Counter, "1")
    one.count(7)
    one.seen.append(8)
    one.total = 99
    assert repository.load(Counter, "1").state == {"total": 1, "seen": [1]}
    entity = counter("1")
    entity.execute(Noted(text="a"))
    repository.save(entity)
    held = repository.load(counter, "1")
    held.execute(Noted(text="a"))
    assert repository.load(counter, "1").state == 1


def test_only_so_many_are_kept_in_memory(store: Reads) -> None:
    repository = Repository(store, EventRegistry(), cache=2)
    for id in "123":
        counted(repository, id, 1)
        repository.load(Counter, id)
    store.reads()
    for id, read in (("3", 0), ("2", 0), ("1", 1), ("2", 0), ("3", 1)):
        repository.load(Counter, id)
        assert store.reads() == read, id
    without = Repository(store, EventRegistry(), cache=0)
    for _ in range(2):
        without.load(Counter, "1")
        assert store.reads() == 1


def test_what_is_defined_anew_is_folded_anew() -> None:
    with Lab(seed=7) as lab:
        lab.append("total-1", [Counted(by=1), Counted(by=2)])

        def total(factor: int) -> type[Aggregate]:
            class Total(Aggregate):
                total: int = 0

                @applies
                def counted(self, event: Counted) -> None:
                    self.total += event.by * factor

            return Total

        assert [lab.load(total(factor), "1").state["total"] for factor in (1, 10)] == [3, 30]


def test_an_event_that_is_defined_anew_is_saved_as_what_it_is() -> None:
    def define(**fields: Any) -> type[Event]:
        names = {"__module__": __name__, "__annotations__": dict.fromkeys(fields, str)}
        return type("Written", (Event,), {**names, **fields})

    first = define()

    class Page(Aggregate, ignores=[first]):
        pass

    with Lab(seed=7) as lab:
        page = lab.find(Page, "1")
        page.record(define(note="")(note="new"))  # its cell was run again, and that of Page was not
        lab.save(page)
        assert lab.load(Page, "1").version == 1
        assert lab.sql("select note from written").scalar() == "new"
        log = list(lab.store.read_all())
    with Lab(seed=7) as other:
        other.append("page-1", [define(note="")(note="newest")])
        assert other.load(Page, "1").version == 1  # it takes not the place of the newer class
        assert "note" in other.registry["Written"].model_fields
        other.register(first)  # unless somebody says so
        assert "note" not in other.registry["Written"].model_fields
    assert log[0].data == {"note": "new"}


def test_what_is_folded_is_kept_under_what_folded_it(store: Reads) -> None:
    class Registry(EventRegistry):
        """Somebody runs a cell again while a stream is folded."""

        def decode_batch(self, batch: Any) -> list[Event]:
            events = super().decode_batch(batch)
            self.revision += 1
            return events

    repository = Repository(store, Registry())
    counted(repository, "1", 1)
    for _ in range(2):
        store.reads()
        assert repository.load(Counter, "1").total == 1
        assert store.reads() == 1  # what is in memory was folded before


def test_of_a_class_that_is_defined_again_the_last_one_counts(store: Reads) -> None:
    def define(factor: int) -> type[Aggregate]:
        class Sum(Aggregate, snapshot_every=1):
            total: int = 0

            @applies
            def counted(self, event: Counted) -> None:
                self.total += event.by * factor

        return Sum

    repository = Repository(store, EventRegistry())
    one = define(1)("1")
    one.record(Counted(by=1))
    repository.save(one)
    classes = []
    for factor in range(2, 12):
        defined = define(factor)
        repository.register(defined)
        classes.append(weakref.ref(defined))
        assert not repository.check_snapshots().ok
    repository.save(one)  # of the class that was
    assert repository.definitions["sum"] is defined
    del defined
    gc.collect()
    assert sum(one() is not None for one in classes) == 1
    assert repository.definitions.keys() == {"sum"}


def test_what_cannot_be_loaded_or_saved_is_named(repository: Repository) -> None:
    counted(repository, "1", 1, 2)
    for bad in (Counted, Aggregate, "counter", None, ["counter"], Counter("1")):
        for use in (
            lambda bad=bad: repository.load(bad, "1"),
            lambda bad=bad: repository.get_many(bad, ["1"]),
            lambda bad=bad: repository.check_snapshots(bad),
            lambda bad=bad: repository.register(bad),
        ):
            with pytest.raises(InputError, match="the class of an aggregate, or a decider"):
                use()
    for bad in (Counter, Counted(by=1), "counter", None):
        with pytest.raises(InputError, match="an aggregate, or an entity, is expected"):
            repository.save(bad)  # type: ignore[arg-type]
    for bad in (1, True, None, ["1"], ""):
        with pytest.raises(InputError, match="the identity of 'counter' is a text"):
            repository.find(Counter, bad)  # type: ignore[arg-type]
    for bad in (None, 1, "1"):
        with pytest.raises(InputError, match="takes a list of identities"):
            repository.get_many(Counter, bad)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="as_of is AsOf"):
        repository.load(Counter, "1", as_of="2013")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"'counter-1' has no version 3 yet.*v2"):
        repository.load(Counter, "1", version=3)
    with pytest.raises(InputError, match="to_version"):
        repository.load(Counter, "1", version=-1)
    with pytest.raises(StreamNotFoundError):
        repository.load(Counter, "2", version=3)


def test_threads_load_and_save(repository: Repository) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            done = 0
            while done < 20:
                one = repository.find(Counter, "1")
                assert one.version == len(one.seen) == one.total
                one.count(1)
                try:
                    repository.save(one)
                except ConcurrencyError:
                    continue
                done += 1
        except BaseException as error:
            failures.append(error)

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    assert failures == []
    assert repository.load(Counter, "1").total == 80


# Saving several.


def test_several_are_saved_together_or_not_at_all(repository: Repository, store: Reads) -> None:
    one, two = counted(repository, "1", 1), counted(repository, "2", 1)
    one.count(2)
    two.count(2)
    store.append("counter-2", [NewEvent("Counted", {"by": 9})])
    head = store.head()
    with pytest.raises(ConcurrencyError):
        repository.save_all([one, two, StreamAppend("log-1", [Noted(text="a")])])
    assert (store.head(), len(one.uncommitted)) == (head, 1)
    two = repository.load(Counter, "2")
    two.count(2)
    results = repository.save_all([one, two, StreamAppend("log-1", [Noted(text="a")])])
    assert [result.stream_id for result in results] == ["counter-1", "counter-2", "log-1"]
    assert one.uncommitted == two.uncommitted == []


# Snapshots.


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), max_size=8))
def test_with_and_without_snapshots_the_answers_are_the_same(saves: list[list[int]]) -> None:
    with Reads() as store:
        repository = Repository(store, EventRegistry(), cache=0)
        for by in saves:
            counted(repository, "1", *by)
        version = store.stream_version("counter-1")
        with_them = [repository.find(Counter, "1", version=v).state for v in range(version + 1)]
        kept = [snapshot.version for _, snapshot in store.snapshots]
        assert kept == sorted(kept)
        assert repository.check_snapshots() == repository.check_snapshots(Counter)
        assert repository.check_snapshots().ok
        assert repository.check_snapshots().checked == len(kept)
        store.snapshots.delete()
        without = [repository.find(Counter, "1", version=v).state for v in range(version + 1)]
        assert with_them == without


def test_one_is_kept_every_so_many_events(repository: Repository, store: Reads) -> None:
    for by in ([1], [1], [1], [1, 1], [1, 1, 1, 1, 1], [1]):
        counted(repository, "1", *by)
    assert [snapshot.version for _, snapshot in store.snapshots] == [3, 10]
    store.reads()
    fresh = Repository(store, EventRegistry())
    assert fresh.load(Counter, "1").total == 11
    assert store.reads() == 1
    assert fresh.get_many(Counter, ["1"])["1"].total == 11


def test_no_snapshots_unless_they_are_asked_for(repository: Repository, store: Reads) -> None:
    class Plain(Aggregate):
        total: int = 0

        @applies
        def counted(self, event: Counted) -> None:
            self.total += event.by

    one = Plain("1")
    for _ in range(500):
        one.record(Counted(by=1))
    repository.save(one)
    assert list(store.snapshots) == []


def test_another_snapshot_version_or_another_state_uses_no_older_one(store: Reads) -> None:
    def total(factor: int, version: int) -> type[Aggregate]:
        class Total(Aggregate, snapshot_every=1, snapshot_version=version):
            total: int = 0

            @applies
            def counted(self, event: Counted) -> None:
                self.total += event.by * factor

        return Total

    repository = Repository(store, EventRegistry(), cache=0)
    first = total(1, 1)("1")
    first.record(Counted(by=1))
    repository.save(first)
    assert repository.load(total(10, 2), "1").state == {"total": 10}
    # The author changed the fold and did not say so: it is found.
    forgotten = total(10, 1)
    assert repository.load(forgotten, "1").state == {"total": 1}
    report = repository.check_snapshots(forgotten)
    assert (report.ok, report.wrong) == (False, ("total-1 v1",))
    assert "raise snapshot_version" in repr(report)
    assert repository.check_snapshots(total(10, 2)).outdated == 1

    class Total(Aggregate, snapshot_every=1):
        total: float = 0.0

        @applies
        def counted(self, event: Counted) -> None:
            self.total += event.by * 10

    assert repository.load(Total, "1").state == {"total": 10.0}


def test_a_wrong_snapshot_is_found(repository: Repository, store: Reads) -> None:
    counted(repository, "1", 1, 2, 3)
    key, kept = next(iter(store.snapshots))
    assert repository.check_snapshots().ok
    store.snapshots.delete()
    store.snapshots.put(key, Snapshot(kept.version, kept.state.replace("6", "7")))
    assert repository.check_snapshots().wrong == ("counter-1 v3",)
    assert Repository(store, EventRegistry()).load(Counter, "1").total == 7  # as it says
    store.snapshots.put(SnapshotKey("counter-1", "old"), kept)
    assert repository.check_snapshots().outdated == 1


def test_a_snapshot_that_cannot_be_read_is_not_used(repository: Repository, store: Reads) -> None:
    counted(repository, "1", 1, 2, 3)
    key, kept = next(iter(store.snapshots))
    for bad in ("", "{}", '{"total":"x","seen":[]}', "[1]"):
        store.snapshots.delete()
        store.snapshots.put(key, Snapshot(kept.version, bad))
        assert Repository(store, EventRegistry()).load(Counter, "1").total == 6


def test_no_snapshot_is_kept_of_a_duplicate(repository: Repository, store: Reads) -> None:
    command_id = uuid.uuid4()
    first = repository.find(Counter, "1")
    for by in (1, 2):
        first.count(by)
    repository.save(first, command_id=command_id)
    late = repository.find(Counter, "1")  # it decides the same again, on what is there already
    for by in (1, 2):
        late.count(by)
    store.append("counter-1", [NewEvent("Counted", {"by": 10})] * 2)  # version 4 is another's
    assert late.version == store.stream_version("counter-1") == 4
    assert repository.save(late, command_id=command_id).duplicate
    assert list(store.snapshots) == []
    assert repository.load(Counter, "1").total == 23


def test_a_state_that_is_not_declared_is_kept_by_no_snapshot(store: Reads) -> None:
    class Hasty(Aggregate, category="hasty", snapshot_every=2):
        total: int = 0

        @cached_property
        def name(self) -> str:  # it can be had again
            return f"hasty {self.id}"

        @applies
        def counted(self, event: Counted) -> None:
            self.total += event.by
            self.most = max(getattr(self, "most", 0), event.by)
            assert self.name

    repository = Repository(store, EventRegistry(), cache=0)
    for by in (1, 2, 3):
        one = repository.find(Hasty, "1")
        one.record(Counted(by=by))
        if by == 2:
            with pytest.warns(UserWarning, match=r"no snapshot of .*annotate most in the class"):
                repository.save(one)
        else:
            repository.save(one)
    assert list(store.snapshots) == []
    assert repository.load(Hasty, "1").most == 3
    key = SnapshotKey("hasty-1", Hasty.state_schema().key)
    store.snapshots.put(key, Snapshot(2, '{"total":3}'))  # of a time before it had that
    with pytest.raises(SchemaError, match="annotate most in the class"):
        repository.check_snapshots()


@pytest.mark.parametrize("several", [False, True])
def test_a_warning_that_is_made_an_error_leaves_nothing_half_saved(
    repository: Repository, store: Reads, several: bool
) -> None:
    class Hasty(Aggregate, category="hasty", snapshot_every=1):
        @applies
        def counted(self, event: Counted) -> None:
            self.by = event.by

    one = Hasty("1")
    one.record(Counted(by=1))
    with pytest.raises(UserWarning, match="no snapshot"):  # as pytest makes them here
        repository.save_all([one]) if several else repository.save(one)
    assert (store.head(), one.version, one.uncommitted) == (1, 1, [])


def test_snapshots_are_checked_in_a_lab_that_knows_nothing_yet(tmp_path: Any) -> None:
    path = tmp_path / "counters.duckdb"
    with Lab(path, seed=7) as lab:
        counted(lab.repository, "1", 1, 2, 3)
    with Lab(path, seed=7) as lab:
        assert repr(lab.check_snapshots()) == (
            "<SnapshotReport: 0 snapshots checked, 0 outdated, all as their streams say>"
        )
        assert lab.check_snapshots(Counter).checked == 1


def test_a_state_that_json_changes_is_kept_by_no_snapshot(
    repository: Repository, store: Reads
) -> None:
    class Odd(Aggregate, snapshot_every=1):
        anything: Any = None

        @applies
        def counted(self, event: Counted) -> None:
            self.anything = (event.by,)

    one = Odd("1")
    one.record(Counted(by=1))
    with pytest.warns(UserWarning, match=r"no snapshot of .*read again it is"):
        repository.save(one)
    assert (store.head(), list(store.snapshots), one.uncommitted) == (1, [], [])


def test_a_state_without_a_schema_cannot_have_snapshots() -> None:
    class Thing:
        pass

    with pytest.raises(SchemaError, match=r"Odd.* cannot have snapshots"):

        class Odd(Aggregate, snapshot_every=1):
            thing: Thing = Thing()

    def put(state: Thing, event: Counted) -> Thing:
        return state

    with pytest.raises(SchemaError, match=r"Decider\('odd'\) cannot have snapshots"):
        Decider(decide, put, Thing(), category="odd", commands=(Noted,), snapshot_every=1)


def test_snapshots_in_a_file_outlive_it(tmp_path: Any) -> None:
    path = tmp_path / "shop.duckdb"
    with Lab(path) as lab:
        one = lab.find(Counter, "1")
        for number in range(10):
            one.count(number)
        lab.save(one)
    with Lab(path) as lab:
        assert lab.load(Counter, "1").total == 45
        assert lab.check_snapshots(Counter).checked == 1
