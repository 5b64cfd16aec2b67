"""All adapters, driven at random with the same commands, give the same answers."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from soak import scaled

from eslab import (
    ANY,
    NO_STREAM,
    STREAM_EXISTS,
    AppendCondition,
    AsOf,
    EventStore,
    MemoryStore,
    Metadata,
    NewEvent,
    Query,
    QueryItem,
    RecordedEvent,
    StreamAppend,
    VirtualClock,
    open_store,
)
from eslab.clock import SeededIds
from eslab.store.duckdb import DuckDBStore

SMALL = {
    "database.PAGE": 3,
    "store.FLUSH_EVENTS": 4,
    "store.FULL_EVENTS": 9,
    "journal.ROTATE_EVENTS": 5,
    "hot.RUN": 4,
    "hot.KEPT_EVENTS": 2,
}
"""Limits so small that a few events reach all of them."""

SEED = 7
STREAMS = st.sampled_from(["a-1", "a-2", "b-1", "c"])
NAMES = ["X", "Y", "Z"]
TAGS = ["s", "t", "u"]
NUMBERS = st.integers(0, 30)


@dataclass(frozen=True)
class Draft:
    """An event whose id and time are chosen when the command is run.

    `id` is the kind of id it is given, and which: "known" is that of an event in the log, "mine"
    the one that the store would mint for a position, "theirs" what another store would, and "odd"
    a UUID that has the bits of a minted one, but not its variant.
    """

    type: str
    number: int
    tags: tuple[str, ...]
    schema_version: int
    id: tuple[str, int]
    occurred: int | None
    actor: str | None


DRAFTS = st.builds(
    Draft,
    type=st.sampled_from(NAMES),
    number=st.integers(0, 1),
    tags=st.lists(st.sampled_from(TAGS), max_size=2, unique=True).map(tuple),
    schema_version=st.sampled_from([1, 1, 1, 2]),
    id=st.tuples(
        st.sampled_from(["none", "none", "none", "new", "known", "mine", "theirs", "odd"]), NUMBERS
    ),
    occurred=st.none() | st.integers(-3, 3),
    actor=st.none() | st.just("Ann"),
)
EXPECTED = st.sampled_from(
    ["any", "any", "any", "right", "right", "none", "exists", "wrong", "zero"]
)
ITEMS = st.lists(st.tuples(STREAMS, st.lists(DRAFTS, max_size=3), EXPECTED), max_size=3)
QUERIES = st.lists(
    st.builds(
        QueryItem,
        st.frozensets(st.sampled_from(NAMES), max_size=2),
        st.frozensets(st.sampled_from(TAGS), max_size=2),
    ),
    max_size=2,
).map(lambda items: Query(tuple(items)))
AS_OF = st.none() | st.tuples(
    st.sampled_from(["position", "recorded", "occurred"]), st.integers(-3, 30)
)
DIRECTIONS = st.sampled_from(["forwards", "backwards"])
LIMITS = st.none() | st.integers(0, 8)


def answer(call: Callable[[], Any]) -> Any:
    """Return what a call gives or raises, so that it can be compared."""
    try:
        given = call()
        return list(given) if isinstance(given, Iterator) else given
    except Exception as error:
        return type(error).__name__, str(error)


class Stores(RuleBasedStateMachine):
    """The reference, DuckDB in memory, and a file that is closed, or dies, at random."""

    @initialize()
    def open(self) -> None:
        self.limits = pytest.MonkeyPatch()
        for place, limit in SMALL.items():
            self.limits.setattr(f"eslab.store.duckdb.{place}", limit)
        self.folder = Path(tempfile.mkdtemp(prefix="eslab-machine-"))
        self.clock = VirtualClock()
        self.began = self.clock.now()
        self.reference = MemoryStore(clock=self.clock, ids=SeededIds(SEED))
        self.memory = self.opened(":memory:")
        self.file = self.opened(self.folder / "shop.duckdb")
        self.past: list[list[StreamAppend]] = []
        self.readings: list[tuple[Iterator[Any], ...]] = []

    def opened(self, path: str | Path) -> DuckDBStore:
        store = open_store(path, clock=self.clock, ids=SeededIds(SEED))
        assert isinstance(store, DuckDBStore)
        return store

    def teardown(self) -> None:
        if not hasattr(self, "limits"):
            return
        for store in self.stores:
            store.close()
        self.limits.undo()
        shutil.rmtree(self.folder)

    @property
    def stores(self) -> tuple[EventStore, ...]:
        return self.reference, self.memory, self.file

    def same(self, call: Callable[[EventStore], Any]) -> Any:
        """Ask all stores, and require one answer."""
        answers = [answer(lambda store=store: call(store)) for store in self.stores]
        assert answers[0] == answers[1] == answers[2]
        return answers[0]

    # Appending.

    def event(self, draft: Draft) -> NewEvent:
        log = self.reference._log
        kind, number = draft.id
        position = number + 1
        event = NewEvent(
            draft.type,
            {"n": draft.number},
            tags=draft.tags,
            schema_version=draft.schema_version,
            occurred_at=None if draft.occurred is None else self.moment(draft.occurred),
            metadata=Metadata(actor=draft.actor),
        )
        match kind:
            case "new":
                id = uuid.UUID(int=number % 12 + 1)
            case "known" if log:
                row = log[number % len(log)]
                id = row.event_id
                if draft.number:  # the same event, unless its stream differs
                    content = row.recorded()
                    event = NewEvent(row.type, content.data, schema_version=row.schema_version)
            case "mine":
                id = SeededIds(SEED).mint(position)
            case "theirs":
                id = SeededIds(SEED + 1).mint(position)
            case "odd":
                id = uuid.UUID(int=position << 80 | 8 << 76 | number)
            case _:
                return event
        return NewEvent(**{**vars_of(event), "event_id": id})

    def moment(self, seconds: int) -> Any:
        return self.began + timedelta(seconds=seconds)

    def expected(self, word: str, stream_id: str) -> Any:
        version = self.reference.stream_version(stream_id)
        words = {"any": ANY, "right": version, "none": NO_STREAM, "exists": STREAM_EXISTS}
        return {**words, "wrong": version + 1, "zero": 0}[word]

    def items(self, drafts: list[tuple[str, list[Draft], str]]) -> list[StreamAppend]:
        return [
            StreamAppend(stream, list(map(self.event, events)), self.expected(word, stream))
            for stream, events, word in drafts
        ]

    @rule(stream=STREAMS, drafts=st.lists(DRAFTS, min_size=1, max_size=6), word=EXPECTED)
    def append(self, stream: str, drafts: list[Draft], word: str) -> None:
        (item,) = self.items([(stream, drafts, word)])
        note(f"{item}")
        self.past.append([item])
        self.same(lambda s: s.append(stream, item.events, expected_version=item.expected_version))

    @rule(drafts=ITEMS, after=st.none() | NUMBERS, query=QUERIES)
    def append_all(
        self, drafts: list[tuple[str, list[Draft], str]], after: int | None, query: Query
    ) -> None:
        items = self.items(drafts)
        condition = None if after is None else AppendCondition(query, after)
        note(f"{items} {condition}")
        self.past.append(items)
        self.same(lambda store: store.append_all(items, condition=condition))

    @rule(which=NUMBERS)
    def append_again(self, which: int) -> None:
        if self.past:
            items = self.past[which % len(self.past)]
            note(f"{items}")
            self.same(lambda store: store.append_all(items))

    @rule(pairs=st.lists(st.tuples(STREAMS, DRAFTS), max_size=9), batch=st.integers(1, 5))
    def import_events(self, pairs: list[tuple[str, Draft]], batch: int) -> None:
        given = [(stream, self.event(draft)) for stream, draft in pairs]
        note(f"{given}")
        self.same(lambda store: store.import_events(given, batch=batch, progress=False))

    @rule(seconds=st.integers(-2, 3))
    def set_clock(self, seconds: int) -> None:
        self.clock._now += timedelta(seconds=seconds)  # that of a machine may be set back

    # Reading.

    def as_of(self, given: tuple[str, int] | None) -> AsOf | None:
        if given is None:
            return None
        kind, number = given
        return AsOf(**{kind: max(0, number) if kind == "position" else self.moment(number)})

    @rule(
        stream=STREAMS,
        low=st.integers(0, 8),
        high=st.none() | st.integers(0, 12),
        direction=DIRECTIONS,
        limit=LIMITS,
        as_of=AS_OF,
    )
    def read(self, stream: str, low: int, high: int | None, **options: Any) -> None:
        options["as_of"] = self.as_of(options["as_of"])
        self.same(lambda store: store.read(stream, from_version=low, to_version=high, **options))

    @rule(
        after=NUMBERS,
        until=st.none() | NUMBERS,
        query=st.none() | QUERIES,
        types=st.none() | st.lists(st.sampled_from(NAMES), max_size=2),
        category=st.none() | st.sampled_from(["a", "b", "c", "d"]),
        streams=st.none() | st.lists(STREAMS | st.just("nobody"), max_size=3),
        as_of=AS_OF,
        direction=DIRECTIONS,
        limit=LIMITS,
        later=st.booleans(),
    )
    def read_all(self, as_of: tuple[str, int] | None, later: bool, **options: Any) -> None:
        options["as_of"] = self.as_of(as_of)
        if later:
            self.readings.append(tuple(store.read_all(**options) for store in self.stores))
        else:
            self.same(lambda store: store.read_all(**options))

    @rule(stream=STREAMS, direction=DIRECTIONS)
    def begin_to_read(self, stream: str, direction: Any) -> None:
        self.readings.append(tuple(s.read(stream, direction=direction) for s in self.stores))

    @rule()
    def finish_to_read(self) -> None:
        """What is read is the moment of the call, whatever was appended or flushed since."""
        for readings in self.readings:
            first, *others = map(list, readings)
            assert others == [first, first]
        self.readings.clear()

    @rule(draft=DRAFTS)
    def find(self, draft: Draft) -> None:
        if (id := self.event(draft).event_id) is not None:
            self.same(lambda store: store.find(id))

    @rule(seconds=st.integers(-3, 30))
    def position_at(self, seconds: int) -> None:
        self.same(lambda store: store.position_at(self.moment(seconds)))

    @invariant()
    def heads(self) -> None:
        if hasattr(self, "limits"):
            self.same(lambda store: store.head())
            for stream in ("a-1", "a-2", "b-1", "c", "nobody"):
                self.same(lambda store, stream=stream: store.stream_version(stream))

    # What nobody may notice.

    @rule()
    def flush(self) -> None:
        self.memory.flush()
        self.file.flush()

    @rule()
    def rotate(self) -> None:
        if (journal := self.file._journal) is not None:
            with self.file._flushing:
                journal.rotate(self.file.head())

    @rule()
    def compact(self) -> None:
        self.file.compact()

    @rule(dies=st.booleans())
    def reopen(self, dies: bool) -> None:
        """Close the file; or leave it as a killed process would, with its journal beside it."""
        self.finish_to_read()
        if dies:
            self.file._unsure = True  # so that closing tidies nothing
        self.file.close()
        self.file = self.opened(self.file.path)

    @rule()
    def verify(self) -> None:
        assert self.same(lambda store: store.verify().ok) is True
        self.same(lambda store: store.read_all())


def vars_of(event: NewEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__dataclass_fields__}


class Branches(Stores):
    """Branches, of branches, at any position: each like a store that never had what came later."""

    @initialize()
    def open(self) -> None:
        super().open()
        self.bases: list[tuple[DuckDBStore, list[RecordedEvent]]] = []
        for stream in ("a-1", "b-1", "a-1", "c", "a-1"):
            self.same(lambda store, stream=stream: store.append(stream, [NewEvent("X", {"n": 0})]))
        self.branch(at=4)

    def teardown(self) -> None:
        for base, events in getattr(self, "bases", ()):
            assert list(base.read_all(until=len(events))) == events
        super().teardown()

    @rule(at=NUMBERS)
    def branch(self, at: int) -> None:
        """Go on with branches, at a position; those that there were are left alone."""
        at %= self.reference.head() + 1
        shorter = MemoryStore(clock=self.clock, ids=SeededIds(SEED))
        shorter._log = self.reference._log[:at]
        self.reference = shorter
        self.memory, self.file = map(self.branched, (self.memory, self.file), (at, at))
        self.readings.clear()

    def branched(self, base: DuckDBStore, at: int) -> DuckDBStore:
        self.bases.append((base, list(base.read_all())))
        return base.branch(at=at, clock=self.clock, ids=SeededIds(SEED))

    @rule(stream=STREAMS | st.just("d"), number=NUMBERS, flushed=st.booleans())
    def base_goes_on(self, stream: str, number: int, flushed: bool) -> None:
        if self.bases:
            base, _ = self.bases[number % len(self.bases)]
            base.append(stream, [NewEvent("X", {"n": number})])
            if flushed:
                base.flush()

    def rotate(self) -> None:
        """There is no journal."""

    def reopen(self) -> None:
        """Nothing is kept."""


PROFILE = settings(
    max_examples=scaled(15, 1_000),
    stateful_step_count=scaled(25, 50),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestStores = pytest.mark.soak(Stores.TestCase)
TestBranches = pytest.mark.soak(Branches.TestCase)
TestStores.settings = TestBranches.settings = PROFILE
