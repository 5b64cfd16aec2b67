"""The port of the event store: what every adapter does, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Protocol, Self
from uuid import UUID

from eslab.clock import Clock
from eslab.events import (
    ANY,
    AppendCondition,
    AsOf,
    Event,
    EventBatch,
    Expected,
    Query,
    RecordedEvent,
)
from eslab.schema import AnyEvent
from eslab.store.result import Result
from eslab.store.verification import Verification

__all__ = [
    "PROVEN",
    "AppendResult",
    "Direction",
    "EventStore",
    "ImportReport",
    "ReadModels",
    "Recent",
    "Snapshot",
    "SnapshotKey",
    "Snapshots",
    "StreamAppend",
    "Transaction",
]

BATCH: Final = 2 * 122_880  # the rows of a row group of DuckDB
Direction = Literal["forwards", "backwards"]

PROVEN: Final = "~proven"
"""The column of a query of `Recent` that no field of an event can have the name of."""


class StreamAppend(NamedTuple):
    """The events to append to one stream, and the version that it is expected to have."""

    stream_id: str
    events: Sequence[AnyEvent]
    expected_version: Expected = ANY


class AppendResult(NamedTuple):
    """What an append did.

    Attributes:
        stream_id: the stream.
        version: its version after the append.
        position: of the last event appended; for an append of no events, of the stream's last
            event, or 0 if it has none.
        duplicate: the events were there already, and nothing was written.
    """

    stream_id: str
    version: int
    position: int
    duplicate: bool = False


class SnapshotKey(NamedTuple):
    """What must be the same, so that a snapshot can take the place of events.

    Attributes:
        stream_id: the stream.
        schema: by what one knows that the state is folded and kept in the same way.
    """

    stream_id: str
    schema: str


class Snapshot(NamedTuple):
    """The state that the events of a stream up to a version fold to, as text."""

    version: int
    state: str


class Snapshots(Protocol):
    """States of streams, kept so that fewer events are read. Without them nothing is different.

    Of each key the newest few are kept. One of another epoch is never found.
    """

    def latest(self, key: SnapshotKey, *, until: int | None = None) -> Snapshot | None:
        """Return the newest one that is kept, up to a version; None if there is none."""
        ...

    def put(self, key: SnapshotKey, snapshot: Snapshot) -> None:
        """Keep one, which is written when its events are flushed. It never fails.

        One of a version that the stream does not have is not kept.
        """
        ...

    def delete(self, *, stream_id: str | None = None) -> int:
        """Forget all of them, or those of a stream, and return how many these were."""
        ...

    def __iter__(self) -> Iterator[tuple[SnapshotKey, Snapshot]]:
        """Yield all of them; those of one key by version."""
        ...


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did: events appended, events that were there already, the last position."""

    events: int
    duplicates: int
    position: int


class EventStore(Protocol):
    """Streams of events, in one order over all of them.

    Versions count from 1 in a stream and positions from 1 over all streams; both without gaps,
    positions in commit order. Every method may be called from any thread.
    """

    clock: Clock

    @property
    def snapshots(self) -> Snapshots:
        """The snapshots of its streams."""
        ...

    @property
    def store_id(self) -> UUID:
        """The identity of the store, which a copy of it shares."""
        ...

    @property
    def epoch(self) -> int:
        """Counts from 1; it rises when acknowledged positions may have been lost."""
        ...

    def append(
        self,
        stream_id: str,
        events: Sequence[AnyEvent],
        *,
        expected_version: Expected = ANY,
    ) -> AppendResult:
        """Append events to one stream, all or none.

        Args:
            stream_id: 1 to 255 characters, none of them a control character.
            events: each an `Event`, a `NewEvent`, or what `eslab.schema.encode` made of one; at
                most 100,000, and 64 MiB of JSON; none is only a check of the version.
            expected_version: `ANY`, `NO_STREAM`, `STREAM_EXISTS` or the exact version. Events
                that carry ids which are all in the store already, with the same content, are a
                duplicate: nothing is written and the original result is the answer (after the
                rules of KurrentDB, made strict).

        Raises:
            ConcurrencyError: the stream is not at the expected version.
            IdempotencyError: an event id was used for another event.
            PartialDuplicateError: some events are in the store already and some are not.
            AppendOutcomeUnknownError: the commit was interrupted; to retry with the same event
                ids is safe.
            StoreError: the events cannot be written.
            InputError: an argument or an event cannot be used.
            LimitError: too many events, or too large.
        """
        ...

    def append_all(
        self, appends: Sequence[StreamAppend], *, condition: AppendCondition | None = None
    ) -> list[AppendResult]:
        """Append to several streams, all or nothing, and return a result for each in order.

        A stream may occur repeatedly: the items are checked in order, as if the earlier ones were
        there. An item without events checks a stream that is not written.

        Raises:
            AppendConditionError: an event after the condition's position matches its query.
            EslabError: as `append`.
        """
        ...

    def import_events(
        self,
        events: Iterable[tuple[str, AnyEvent]],
        *,
        batch: int = BATCH,
        progress: bool = True,
        total: int | None = None,
        description: str = "importing",
    ) -> ImportReport:
        """Append many events of many streams in the order given, atomically by batch.

        Events with an id that is in the store already, with the same content, are skipped: so an
        import that was interrupted is resumed by running it again.

        Args:
            events: pairs of a stream id and an event.
            batch: events in one atomic append, at most; fewer, if they are large (256 MiB of
                JSON). By default as many as DuckDB writes straight into the file, on two cores.
            progress: draw a progress bar on stderr, if that is a terminal or a notebook.
            total: how many events there are, for the progress bar.
            description: what the progress bar calls it.

        Raises:
            EslabError: as `append`; the batches before it are in the store.
        """
        ...

    def read(
        self,
        stream_id: str,
        *,
        from_version: int = 1,
        to_version: int | None = None,
        as_of: AsOf | None = None,
        direction: Direction = "forwards",
        limit: int | None = None,
    ) -> Iterator[RecordedEvent]:
        """Yield the events of one stream; none, if there is no such stream.

        Args:
            stream_id: the stream.
            from_version: the lowest version wanted.
            to_version: the highest version wanted.
            as_of: only what was recorded, or had happened, by then.
            direction: ``"forwards"`` or ``"backwards"``.
            limit: how many at most.
        """
        ...

    def read_all(
        self,
        *,
        after: int = 0,
        until: int | None = None,
        query: Query | None = None,
        types: Iterable[str | type[Event]] | None = None,
        category: str | None = None,
        streams: Iterable[str] | None = None,
        as_of: AsOf | None = None,
        direction: Direction = "forwards",
        limit: int | None = None,
    ) -> Iterator[RecordedEvent]:
        """Yield the events of all streams in the order of position, as they are at the call.

        Args:
            after: only positions above this one.
            until: only positions up to this one.
            query: only events that it matches.
            types: only events of these types.
            category: only streams of this category.
            streams: only these streams; those that do not exist have no events.
            as_of: only what was recorded, or had happened, by then.
            direction: ``"forwards"`` or ``"backwards"``.
            limit: how many at most.
        """
        ...

    def read_batches(
        self,
        *,
        after: int = 0,
        until: int | None = None,
        query: Query | None = None,
        types: Iterable[str | type[Event]] | None = None,
        category: str | None = None,
        limit: int | None = None,
    ) -> Iterator[EventBatch]:
        """Yield what `read_all` does by columns, for many events: in batches, none of them empty.

        Args:
            after: only positions above this one.
            until: only positions up to this one.
            query: only events that match it.
            types: only events of these types.
            category: only streams of this category.
            limit: at most so many events.
        """
        ...

    def read_stream_batches(
        self, stream_id: str, *, from_version: int = 1, to_version: int | None = None
    ) -> Iterator[EventBatch]:
        """Yield what `read` does by columns, in batches, none of them empty.

        Args:
            stream_id: the stream.
            from_version: the lowest version wanted.
            to_version: the highest version wanted.
        """
        ...

    def find(self, event_id: UUID) -> RecordedEvent | None:
        """Return the event with this id; None if there is none, and to say so is quick.

        Raises:
            InputError: it is no UUID.
        """
        ...

    def head(self) -> int:
        """Return the last position; 0 when the store is empty."""
        ...

    def stream_version(self, stream_id: str) -> int:
        """Return the version of a stream; 0 when there is none."""
        ...

    def position_at(self, recorded: datetime) -> int:
        """Return the position of the last event that was recorded by then; 0 if there is none."""
        ...

    def wait(self, after: int, *, timeout: float | None = None) -> int:
        """Wait until there is an event behind the position `after`, and return the head.

        It sleeps until an append wakes it.

        Args:
            after: the last position that is known.
            timeout: how long to wait at most, in seconds; then the head is still `after`.

        Raises:
            StoreClosedError: the store was closed meanwhile.
        """
        ...

    def verify(self) -> Verification:
        """Prove that the log is whole: its numbers, its ids, and all that it is kept in."""
        ...

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after every append, on the thread that appended.

        Returns a function that ends it.
        """
        ...

    def close(self) -> None:
        """Close the store; closing it again does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Transaction(Protocol):
    """One transaction over the tables of a projection; it commits when its block ends."""

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows.

        Raises:
            InputError: a value, or a key that is there twice, does not fit a table.
        """
        ...

    def put(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        """Insert rows, replacing those that have the same primary key.

        Raises:
            InputError: a value does not fit its column.
        """
        ...


@dataclass(frozen=True, slots=True)
class Recent:
    """How SQL sees a few events that are not in the tables of their types yet.

    A row that a query says is proven is the one that its table will have. What is not proven only
    the class can decode, and then it may be another row, or none.

    Attributes:
        queries: by the name of a table the query over the log that gives the rows of it, and in the
            column `PROVEN` whether each is exactly what its class decodes. Its parameters are
            ``$1`` and ``$2``, the positions after which and until which, and ``$3``, `streams`.
            Tables that are not in it have no row in that part of the log.
        streams: the stream of each event of the part, of other types too.
        events: how many rows the queries give in all.
    """

    queries: Mapping[str, str]
    streams: list[str]
    events: int


class ReadModels(Protocol):
    """A place for read models beside the log, and SQL over both."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Give a transaction; it commits when its block ends, and an exception rolls it back."""
        ...

    def refresh(self, types: Iterable[str]) -> int:
        """Bring the tables of event types up to the head of the log, and return that.

        What is read of them in a transaction that begins later is complete up to there.

        Args:
            types: the names of types whose classes are registered.
        """
        ...

    def recent(self, types: Collection[str], *, after: int, until: int) -> Recent | None:
        """Return how SQL sees the events of a part of the log, if these are a few recent ones.

        For them that takes less time than `refresh`, which is left to whoever needs it. Who runs
        the queries finds as many rows as there should be, all proven, or else calls `refresh`.

        Args:
            types: the names of types whose classes are registered.
            after: only positions above this one.
            until: only positions up to this one.

        Returns:
            None where `refresh` is to be called: there are many events, or none; their tables are
            far behind, or not made yet; SQL cannot convert the events of a class.
        """
        ...

    def counts(
        self,
        types: Iterable[str],
        *,
        after: int,
        until: int,
        category: str | None = None,
        tags: Collection[str] = (),
    ) -> dict[str, int]:
        """Return how many events of each type there are in a part of the log; no type has none.

        Args:
            types: the names of those that are counted.
            after: only positions above this one.
            until: only positions up to this one.
            category: only streams of this category.
            tags: only events that have all of these tags.
        """
        ...

    def sql(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Result:
        """Run one SELECT or EXPLAIN, read-only, and return its rows.

        Raises:
            QueryError: it is no single SELECT or EXPLAIN, or it is refused.
        """
        ...
