"""The event store: appends to a journal and memory, the log in DuckDB, and one view of both.

It is a small CQRS system of its own. The write side decides and commits groups of appends, which
are durable in the journal and known in the *tail*. The tail is moved to DuckDB in bulk: while
others append, before SQL is run, before a projection's transaction, and on close. What is read
comes from DuckDB up to the position that was flushed, and from the tail behind it; a stream that
is in the tail, which keeps some of what was flushed, comes from there.

Only who leads in the sequencer changes what is known. Locks are taken in this order: `_flushing`,
then the lead.
"""

from __future__ import annotations

import atexit
import os
import threading
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import duckdb

from eslab.clock import Clock, IdSource
from eslab.errors import (
    AppendOutcomeUnknownError,
    EslabError,
    InputError,
    StoreClosedError,
    StoreError,
    StoreFailedError,
    StoreFullError,
    StoreOpenError,
    StoreReadOnlyError,
)
from eslab.events import EventBatch, Query
from eslab.schema import EventRegistry
from eslab.schema.naming import table_name
from eslab.store.adapter import StoreAdapter
from eslab.store.bell import Bells
from eslab.store.columns import LogColumns
from eslab.store.decision import Decision, decide, new
from eslab.store.duckdb.accepted import Accepted, Committed, Flushed
from eslab.store.duckdb.database import Database
from eslab.store.duckdb.driver import MEMORY, driver_errors
from eslab.store.duckdb.files import new_file, resolve, sniff
from eslab.store.duckdb.flusher import Flusher
from eslab.store.duckdb.hot import Cover, Heads, Hot, Tail
from eslab.store.duckdb.journal import Durability, Journal, JournalError, segments_of
from eslab.store.duckdb.lock import FileLock
from eslab.store.duckdb.recovery import Recovered, recover, remove_all
from eslab.store.duckdb.sequencer import Sequencer, Ticket
from eslab.store.duckdb.snapshots import DuckDBSnapshots
from eslab.store.duckdb.transaction import DuckDBTransaction
from eslab.store.duckdb.typed import TypedTables
from eslab.store.importing import ImportRequest, decide_import
from eslab.store.port import Recent
from eslab.store.requests import AppendRequest
from eslab.store.result import Result
from eslab.store.rows import LogRow, Selection, batches_of, selected
from eslab.store.verification import Check, Verification
from eslab.words import counted

if TYPE_CHECKING:
    from eslab.store.duckdb.branch import BranchStore
    from eslab.store.duckdb.edited import Placed

__all__ = ["DuckDBStore"]

T = TypeVar("T")

FLUSH_EVENTS: Final = 10_000
FLUSH_SIZE: Final = 16 << 20
RECENT_EVENTS: Final = 1_000  # still quicker for a projection than the tables of their types
FULL_EVENTS: Final = 50_000
FULL_SIZE: Final = 64 << 20
TRIES: Final = 3

_FORKED: Final = (
    "{} was opened before this process was forked, and belongs to the process that opened it: "
    "start the worker with multiprocessing's 'spawn', or open a store of its own there"
)

_stores: weakref.WeakSet[DuckDBStore] = weakref.WeakSet()
_open_stores: dict[Path, DuckDBStore] = {}
_open_stores_lock = threading.RLock()


class DuckDBStore(StoreAdapter):
    """An event store in a DuckDB file or in memory; `eslab.open_store` opens one.

    Args:
        path: a file, or ``":memory:"``.
        clock: where recorded_at comes from.
        ids: where the ids of events come from that were given none.
        durability: what an append to a file survives.
        read_only: take no appends.
    """

    _database: Database
    _heads: Heads
    _flushed: Flushed
    _committed: Committed

    def __init__(
        self,
        path: str,
        *,
        clock: Clock,
        ids: IdSource,
        durability: Durability = "full",
        read_only: bool = False,
    ) -> None:
        super().__init__(clock=clock, ids=ids)
        self.path = path
        self.durability = durability
        self.read_only = read_only
        self._forked = False
        self._unsure = False
        self._publishing = False
        self._flushing = threading.RLock()
        self._sequencer = Sequencer(self._commit_group)
        self._hot = Hot(0, 0, Tail(0), None)
        self._journal: Journal | None = None
        self._typed = TypedTables(EventRegistry(), self._counts)
        self._branches: weakref.WeakSet[BranchStore] = weakref.WeakSet()
        self._branch_numbers = count(1)
        self._lock: FileLock | None = None
        with ExitStack() as on_failure:
            if path != MEMORY:
                self._lock = FileLock(Path(path))
                on_failure.callback(self._lock.discard)
            self._database = self._open_database(ids.mint(0))
            on_failure.callback(self._database.close)
            if self._database.copy and not read_only:
                raise StoreOpenError(
                    f"{path} is a copy of a store: look at it with Lab.open_copy({path!r}), or "
                    f"make a store of it with eslab.restore_store({path!r}, 'another.duckdb')"
                )
            try:
                relaxed = self._load()
                self._tidy(epoch=self.epoch + relaxed)
                self._committed.ids = ids.in_epoch(self.epoch)
            except StoreOpenError:
                raise
            except StoreError as error:
                raise StoreOpenError(f"{path} cannot be opened: {error}") from error
            self._flusher = Flusher(self, idle=path != MEMORY)
            if path != MEMORY:
                self._file = Path(path).stat()
            on_failure.pop_all()
        _stores.add(self)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        clock: Clock,
        ids: IdSource,
        durability: Durability = "full",
        read_only: bool = False,
    ) -> DuckDBStore:
        """Open a store, or give the one that this process has open for that file."""
        if durability not in ("full", "relaxed"):
            raise InputError(f"durability must be 'full' or 'relaxed', not {durability!r}")
        if str(path) == MEMORY:
            return cls(MEMORY, clock=clock, ids=ids, durability=durability)
        resolved = resolve(path)
        with _open_stores_lock:
            store = _open_stores.get(resolved)
            if store is None:
                require_closed(resolved)
                sniff(resolved)
                store = cls(
                    str(resolved), clock=clock, ids=ids, durability=durability, read_only=read_only
                )
                _open_stores[resolved] = store
            elif store._forked:
                raise StoreOpenError(_FORKED.format(store.path))
            elif store.durability != durability:
                raise StoreOpenError(
                    f"{store.path} is open here with durability={store.durability!r}: close it "
                    f"first to open it with {durability!r}"
                )
            elif not store._is_in_place():
                raise StoreOpenError(
                    f"{store.path} was removed or replaced while it is open here: close that store "
                    f"(or its lab) first"
                )
            return store

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(self._file, Path(self.path).stat())
        except OSError:
            return False

    def _open_database(self, new_id: uuid.UUID) -> Database:
        return Database(self.path, new_id=new_id)

    @property
    def store_id(self) -> uuid.UUID:
        """The identity of the store, which a copy of it shares."""
        return self._database.identity.store_id

    @property
    def epoch(self) -> int:
        """Counts from 1; it rises when acknowledged positions may have been lost."""
        return self._database.identity.epoch

    def __repr__(self) -> str:
        if self._closed:
            return f"DuckDBStore({self.path!r}, closed)"
        events, streams = counted(self._head(), "event"), counted(len(self._heads), "stream")
        return f"DuckDBStore({self.path!r}, {events}, {streams})"

    # Appending.

    def _submit(self, request: AppendRequest) -> Decision:
        if self._forked or self.read_only:
            self._require_writable()
        large = request.events > FLUSH_EVENTS or request.size > FLUSH_SIZE
        return self._surely(request, self._decide_at_once if large else self._decide_in_a_group)

    def _submit_import(self, request: ImportRequest) -> int:
        self._require_writable()
        decision = self._surely(AppendRequest(()), partial(self._decide_import, request))
        return len(decision.rows)

    def _surely(self, request: AppendRequest, submit: Callable[[Ticket], Decision]) -> Decision:
        ticket = Ticket(request)
        try:
            decision = submit(ticket)
        except (AppendOutcomeUnknownError, JournalError) as error:
            decision = self._find_out(ticket, error, submit)
        if self._lock is not None:
            self._flusher.notice(urgent=False)
        return decision

    def _find_out(
        self, ticket: Ticket, failure: StoreError, submit: Callable[[Ticket], Decision]
    ) -> Decision:
        """Find out what became of a request whose commit failed; submit it again if nothing did.

        Raises:
            AppendOutcomeUnknownError: that cannot be found out now.
            StoreError: nothing was written.
        """
        tries = 1
        while not self._happened(ticket, failure):
            if tries == TRIES or isinstance(failure, JournalError):
                reason = getattr(failure, "reason", failure)
                raise StoreError(
                    f"the append failed, and nothing was written: {reason}"
                ) from failure
            tries += 1
            ticket = Ticket(ticket.request)
            try:
                return submit(ticket)
            except (AppendOutcomeUnknownError, JournalError) as error:
                failure = error
        assert ticket.decision is not None
        return ticket.decision

    def _happened(self, ticket: Ticket, error: StoreError) -> bool:
        """Say whether an append was written, whose commit failed here or on another thread."""
        try:
            self._settle()
        except StoreFailedError as failure:
            raise AppendOutcomeUnknownError(str(failure)) from error
        if ticket.decision is None or not ticket.decision.rows:
            return False
        last = ticket.decision.rows[-1]
        return list(self._rows(Selection(last.position - 1, last.position))) == [last]

    def _decide_in_a_group(self, ticket: Ticket) -> Decision:
        head, flushed, tail, _ = self._hot
        if head - flushed > FLUSH_EVENTS or tail.size > FLUSH_SIZE:
            self._flusher.notice(urgent=True)
            if head - flushed >= FULL_EVENTS or tail.size >= FULL_SIZE:
                self._make_room()
        request = ticket.request
        if request.given or request.condition is not None:
            self._flushed.look_up(request, flushed)
        return self._sequencer.submit(ticket)

    def _decide_at_once(self, ticket: Ticket) -> Decision:
        """Decide an append that is large enough to go to the database directly."""

        def decision(log: Committed) -> Decision:
            self._flushed.look_up(ticket.request, self._hot.flushed)
            return decide(ticket.request, log, self.clock.now())

        return self._write_alone(ticket, decision)

    def _decide_import(self, request: ImportRequest, ticket: Ticket) -> Decision:
        def decision(log: Committed) -> Decision:
            found = self._flushed.find(request.given, self._hot.flushed)
            return decide_import(request, found, log, self.clock.now())

        return self._write_alone(ticket, decision)

    def _write_alone(self, ticket: Ticket, decide: Callable[[Committed], Decision]) -> Decision:
        """Let nobody else commit, and write what is decided to the database."""

        def write() -> Decision:
            self._flush()  # of those who came in between
            self._committed.hot = self._hot
            ticket.decision = decide(self._committed)
            if rows := ticket.decision.rows:
                self._write(rows if isinstance(rows, LogColumns) else LogColumns.of(rows))
            return ticket.decision

        with self._flushing:
            self.flush()
            return self._alone(write)

    def _make_room(self) -> None:
        try:
            self.flush()
        except StoreClosedError:
            raise
        except StoreError as error:
            head, flushed, _, _ = self._hot
            raise StoreFullError(
                f"{counted(head - flushed, 'event')} wait to be moved to the database, and no more "
                f"are taken until they are: {error}; all that was acknowledged is safe in the "
                f"journal"
            ) from error

    def _commit_group(self, group: Sequence[Ticket]) -> None:
        """Decide the appends of a group in turn, and commit those that are allowed."""
        if self._closed:
            super()._require_open()
        if self._unsure:
            raise AppendOutcomeUnknownError("the commit before it failed")
        log: Committed | Accepted = self._committed
        self._committed.hot = self._hot
        rows: list[LogRow] = []
        if len(group) > 1:
            log = Accepted(self._committed, rows)
        now = self.clock.now()
        size = 0
        for ticket in group:
            try:
                ticket.decision = decision = decide(ticket.request, log, now)
            except EslabError as error:
                ticket.error = error
            else:
                if decision.rows:
                    rows += decision.rows
                    size += ticket.request.size
        if not rows:
            return
        try:
            if self._lock is not None:
                self._journal_for_writing().write(rows)
            self._publishing = True
            _, flushed, tail, _ = self._hot
            self._heads.advance(rows)
            tail.extend(rows, size)
            last = rows[-1]
            self._hot = new(Hot, (last.position, flushed, tail, last.recorded_at))
            self._publishing = False
        except BaseException:
            # Also an interrupt, between the commit and what is known of it here: nobody knows
            # whether it happened, and whoever comes next reads it again.
            self._unsure = True
            raise

    def _journal_for_writing(self) -> Journal:
        """Return the journal; the first time, mark the file as one that needs it."""
        if self._journal is None:
            self._journal = Journal(
                Path(self.path),
                self._database.identity,
                durability=self.durability,
                number=max(segments_of(Path(self.path)), default=0) + 1,
                base=self._hot.head,
            )
        if self._database.journal is None:
            self._database.mark(self._journal.number)
        return self._journal

    def _write(self, rows: LogColumns) -> None:
        head = self._hot.head
        try:
            numbers = self._heads.numbers(rows.streams.names)
            self._database.write(rows, numbers, journal=self._database.journal)
            self._flushed.add(rows)
            last, heads = rows[-1], rows.heads()
            self._publishing = True
            self._heads.advance(heads)
            self._hot = Hot(last.position, last.position, Tail(last.position), last.recorded_at)
            self._publishing = False
        except BaseException as error:
            nothing_written = False
            try:
                nothing_written = isinstance(error, StoreError) and self._database.ends_at(head)
            finally:
                if not nothing_written:
                    self._unsure = True
            if nothing_written or not isinstance(error, StoreError):
                raise
            raise AppendOutcomeUnknownError(str(error)) from error

    # What an interrupted or failed commit left.

    def _alone(self, work: Callable[[], T]) -> T:
        """Run `work` while nobody commits or flushes, and nothing is in doubt."""

        def settled() -> T:
            super(DuckDBStore, self)._require_open()
            if self._unsure:
                self._read_again()
            return work()

        with self._flushing:
            return self._sequencer.alone(settled)

    def _settle(self) -> None:
        if self._unsure:
            self._alone(lambda: None)

    def _read_again(self) -> None:
        """Read what an interrupted or failed commit left: all of it, or nothing.

        Raises:
            StoreFailedError: it cannot be read.
        """
        known = self._hot.head
        try:
            if self._journal is not None:
                self._journal.close()
                self._journal = None
            self._database.revive()
            self._load()
            if self._hot.head > known:  # if a sync failed, the journal is not to be relied on
                self._flush()
        except EslabError as error:
            raise StoreFailedError(
                f"{self.path} cannot be read after a commit failed or was interrupted: "
                f"{error}; what was acknowledged is in the file and its journal: close the "
                f"store, mend the cause, and open it again"
            ) from error
        self._unsure = False

    def _load(self) -> bool:
        """Read what the file and its journal say; say whether acknowledged events may be lost."""
        heads, flushed, recorded_at = self._database.heads()
        if self._lock is not None:
            found = recover(Path(self.path), self._database, flushed)
        else:  # what memory alone has was never in doubt
            found = Recovered(self._hot.tail.between(flushed, self._hot.head))
        self.snapshots = DuckDBSnapshots(
            self._database, heads, self.stream_version, read_only=self.read_only
        )
        if found.rows:
            heads.advance(found.rows)
            recorded_at = found.rows[-1].recorded_at
        cold = Flushed(self._database, self._database.given_ids())
        head = flushed + len(found.rows)
        self._heads, self._flushed = heads, cold
        self._hot = Hot(head, flushed, Tail(flushed, found.rows), recorded_at)
        self._committed = Committed(heads, cold, self._hot, self.ids.in_epoch(self.epoch))
        self._publishing = False
        return found.relaxed

    def _tidy(self, *, epoch: int) -> None:
        """Move what is left to the database, which is complete then, and remove the journal."""
        if self._lock is None:
            return
        self._flush()
        self.snapshots.write(self._hot)
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if self._database.journal is not None or epoch != self.epoch:
            self._database.mark(None, epoch=epoch)
        remove_all(Path(self.path))

    # The tail and the database.

    def flush(self) -> None:
        """Move all events that are only in the journal and in memory to the database.

        It happens by itself: in the background, before SQL and projections, and on close.

        Raises:
            StoreError: the database cannot be written; the events stay where they are.
        """
        with self._flushing:
            self._require_open()
            if self._journal is not None and self._journal.worn:
                self._rotate(self._journal)
            self._flush(leading=False)
            self.snapshots.write(self._hot)

    def _flush_to_read(self) -> None:
        """Move all events to the database; whoever reads does not wait for a new journal."""
        self._require_open()
        head, flushed, _, _ = self._hot
        if head > flushed:
            with self._flushing:
                self._require_open()
                self._flush(leading=False)
                if self._journal is not None and self._journal.worn:
                    self._flusher.notice(urgent=True)
        self.snapshots.write(self._hot)

    def _rotate(self, journal: Journal) -> None:
        try:
            journal.prepare()
        except JournalError:
            return  # the disk may be full; the old segment goes on

        def rotate() -> None:
            try:
                journal.rotate(self._hot.head)
            except BaseException:
                self._unsure = True
                raise

        self._alone(rotate)

    def _flush(self, *, leading: bool = True) -> None:
        head, flushed, tail, _ = self._hot
        if head == flushed:
            return
        rows = LogColumns.of(tail.between(flushed, head))
        journal = self._journal
        before = needed = self._database.journal

        def publish() -> None:
            last, _, tail, recorded_at = self._hot  # others append meanwhile
            tail.move(flushed, head)
            self._hot = Hot(last, head, tail.after_flush(head), recorded_at)

        if journal is not None and needed is not None and journal.base <= head:
            needed = journal.number
        try:
            numbers = self._heads.numbers(rows.streams.names)
            self._database.write(rows, numbers, journal=needed)
            self._flushed.add(rows)
            if leading:
                publish()
            else:
                self._sequencer.alone(publish)
        except BaseException as error:
            nothing_written = False
            try:
                nothing_written = isinstance(error, StoreError) and self._database.ends_at(flushed)
            finally:
                if not nothing_written:
                    self._unsure = True
            raise
        if journal is not None and needed is not None and needed != before:
            journal.drop_before(needed)

    def compact(self) -> None:
        """Move DuckDB's own write-ahead log into its file, when nothing else is going on."""
        self._require_open()
        with self._flushing:
            self._database.compact()

    # Reading.

    def _head(self) -> int:
        return self._hot.head

    def _stream_version(self, stream_id: str) -> int:
        version = self._heads.version(stream_id)
        if self._publishing:  # nobody sees a version before the event that has it
            return self._sequencer.alone(lambda: self._heads.version(stream_id))
        return version

    def streams(self) -> int:
        """Return how many streams there are."""
        self._require_open()
        return len(self._heads)

    def last_recorded_at(self) -> datetime | None:
        """Return when the last event was recorded; None when the store is empty."""
        self._require_open()
        return self._hot.recorded_at

    def _position_at(self, recorded: datetime) -> int:
        hot = self._hot
        return hot.tail.recorded_by(recorded, hot.head) or self._database.position_at(recorded)

    def _stream_rows(
        self, stream_id: str, low: int, high: int, *, backwards: bool, limit: int | None
    ) -> Iterator[LogRow]:
        warm = self._hot.tail.of_stream(stream_id, low, high)
        last = warm[0].version - 1 if warm else high
        if backwards:
            warm.reverse()
        if last < low or (backwards and limit is not None and limit <= len(warm)):
            return iter(warm[:limit])
        left = limit if limit is None or not backwards else limit - len(warm)
        cold = self._database.stream_rows(
            self._heads.number(stream_id), low, last, backwards=backwards, limit=left
        )
        return islice(chain(warm, cold) if backwards else chain(cold, warm), limit)

    def _find(self, event_id: uuid.UUID) -> LogRow | None:
        head, flushed, tail, _ = self._hot
        row = tail.find(event_id, head)
        return row or self._flushed.find([event_id], flushed).get(event_id)

    def _rows(self, selection: Selection) -> Iterator[LogRow]:
        _, flushed, tail, _ = self._hot
        streams, cover = selection.streams, None
        if streams is None:
            warm = tail.between(max(selection.after, flushed), selection.until)
        else:
            if not any(self._heads.number(id) for id in streams if not tail.begins(id)):
                flushed = 0  # all that there is of them is in memory
            cover = self._heads.cover(id for id in streams if tail.begins(id) <= flushed)
            warm = tail.of_streams(streams, max(selection.after, flushed), selection.until)
        cold = replace(selection, until=min(selection.until, flushed))
        if not warm:
            yield from self._database.rows(cold, cover)
            return
        left = selection.limit
        parts: list[Callable[[int | None], Iterable[LogRow]]] = [
            lambda limit: self._database.rows(replace(cold, limit=limit), cover),
            lambda limit: selected(
                reversed(warm) if selection.backwards else warm, replace(selection, limit=limit)
            ),
        ]
        for part in reversed(parts) if selection.backwards else parts:
            for row in part(left):
                yield row
                left = None if left is None else left - 1

    def _batches(self, selection: Selection) -> Iterator[EventBatch]:
        _, flushed, tail, _ = self._hot
        warm = tail.between(max(selection.after, flushed), selection.until)
        cold = replace(selection, until=min(selection.until, flushed))
        yield from self._database.batches(cold, self._heads.names)
        yield from batches_of(selected(warm, selection))

    # SQL, and read models.

    def sql(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Result:
        """Run one SELECT or EXPLAIN, read-only, and return its rows.

        Args:
            query: one statement; the tables are those of `eslab.store.duckdb.tables`.
            parameters: values for ``?`` or ``$1``, or a dict for ``$name``.

        Raises:
            QueryError: it is no single SELECT or EXPLAIN, or DuckDB refuses it.
        """
        self._require_open()

        def begin(cursor: duckdb.DuckDBPyConnection) -> None:
            # Together, so that the query sees the typed tables and the log of one moment.
            with self._flushing:
                self._flush_to_read()
                with driver_errors("the tables of the event types cannot be brought up to date"):
                    self._typed.prepare(cursor, query, until=self._hot.flushed)
                self._database.snapshot(cursor)

        return self._database.sql(query, parameters, begin=begin)

    def refresh(self, types: Iterable[str]) -> int:
        """Bring the tables of event types up to the head; see `eslab.store.port.ReadModels`."""
        self._require_open()
        return self._refresh(map(table_name, types))

    def _refresh(self, tables: Iterable[str]) -> int:
        failure = "the tables of the event types cannot be brought up to date"
        self._flush_to_read()
        until = self._hot.flushed
        with self._database.cursor() as cursor, driver_errors(failure):
            self._typed.refresh(cursor, tables, until=until)
        return until

    def recent(self, types: Collection[str], *, after: int, until: int) -> Recent | None:
        """Return how SQL sees a few recent events; see `eslab.store.port.ReadModels`."""
        self._require_open()
        head, _, tail, _ = self._hot
        if until > head or after < tail.base or until - after > RECENT_EVENTS:
            return None
        rows = tail.between(after, until)
        found = Counter(row.type for row in rows if row.type in types)
        queries = self._typed.recent(types, until=until) if found else None
        if queries is None:
            return None
        wanted = {name: queries[name] for name in map(table_name, found)}
        return Recent(wanted, [row.stream_id for row in rows], found.total())

    def counts(
        self,
        types: Iterable[str],
        *,
        after: int,
        until: int,
        category: str | None = None,
        tags: Collection[str] = (),
    ) -> dict[str, int]:
        """Count events of each of some types; see `eslab.store.port.ReadModels`."""
        self._require_open()
        return self._counts(types, after=after, until=until, category=category, tags=tags)

    def _counts(
        self,
        types: Iterable[str],
        *,
        after: int,
        until: int,
        category: str | None = None,
        tags: Collection[str] = (),
    ) -> dict[str, int]:
        # It takes none of the store's locks: who makes typed tables asks for it, under another one.
        tail, known = self._hot.tail, frozenset(types)
        query = Query.of(tags=tags) if tags else None
        wanted = Selection(after, until, query=query, types=known, category=category)
        warm: Iterable[LogRow] = tail.between(max(after, tail.base), until)
        if query is not None or category is not None:
            warm = selected(warm, wanted)
        found = Counter(row.type for row in warm)
        if after < tail.base:
            found.update(self._database.counts(replace(wanted, until=min(until, tail.base))))
        return {type: number for type, number in found.items() if type in known}

    def _refresh_passed(self) -> None:
        """Bring up the tables that `recent` left behind: who opens the file next may lack a class.

        What fails here fails again when somebody asks for the tables, who is told why.
        """
        if self._typed.passed:
            with suppress(EslabError):
                self._refresh(self._typed.passed)

    def use_registry(self, registry: EventRegistry) -> None:
        """Make each event type of a registry a table of `sql`: see `eslab.store.duckdb.typed`."""
        self._refresh_passed()
        self._typed = self._typed_tables(registry)

    def _typed_tables(self, registry: EventRegistry) -> TypedTables:
        return TypedTables(registry, self._counts)

    @contextmanager
    def transaction(self) -> Iterator[DuckDBTransaction]:
        """Give a transaction over the tables of projections; an exception rolls it back.

        It sees the log up to the head of now.
        """
        self._flush_to_read()
        with self._database.transaction() as transaction:
            yield transaction

    # Branches.

    def branch(
        self,
        *,
        at: int | None = None,
        clock: Clock | None = None,
        ids: IdSource | None = None,
        start: int | None = None,
        removed: Collection[int] = (),
        placed: Mapping[int, Sequence[Placed]] | None = None,
    ) -> BranchStore:
        """Return a store that has the events of this one up to a position, and goes its own way.

        What is appended there is not appended here, and what is appended here from now on is not
        there. It is in memory, and is closed with this store.

        Args:
            at: the position; by default the last one.
            clock: where its recorded_at comes from; by default a virtual one, which begins where
                the last of its events was recorded.
            ids: where the ids of its events come from; by default derived from those of this store.
            start: up to where it is as this one; by default up to `at`.
            removed: the positions behind `start` whose events do not stand there any more.
            placed: the events that stand behind the place of a position instead, in their order.
                `eslab.replay.edits.edited` makes these of edits.

        Raises:
            InputError: there is no such position.
        """
        from eslab.store.duckdb.branch import BranchStore
        from eslab.store.duckdb.edited import History

        at = self.branch_position(at)
        self._database.tidy()
        branch = BranchStore(
            self,
            self._database,
            History(at if start is None else start, at, removed, placed or {}),
            number=next(self._branch_numbers),
            clock=clock,
            ids=ids,
        )
        self._branches.add(branch)
        if self._closed:  # meanwhile, perhaps before the branch was among those that it closes
            branch.close()
            self._require_open()
        return branch

    def branch_position(self, at: int | None) -> int:
        """Return the position at which a branch begins, and have all up to it in the database.

        Args:
            at: the position that is asked for; None: the last one.

        Raises:
            InputError: there is no such position.
        """
        head = self.head()
        if at is None:
            at = head
        if type(at) is not int or not 0 <= at <= head:
            raise InputError(
                f"a branch begins at a position from 0 to {head:,}, the last one here, not {at!r}"
            )
        if at > self._hot.flushed:
            self.flush()
        return at

    def streams_at(self, position: int) -> int:
        """Return how many streams there were at a position that is in the database."""

        def now() -> tuple[Hot, int]:
            return self._hot, len(self._heads)

        hot, streams = self._sequencer.alone(now)
        found = self._database.streams_at(position, hot.flushed)
        if found is not None:
            return found
        return streams - sum(row.version == 1 for row in hot.tail.between(hot.flushed, hot.head))

    def heads_at(
        self, stream_ids: Sequence[str], position: int, streams: int
    ) -> list[tuple[int, int, int]]:
        """Return number, version and last position of streams at a position, or zeros.

        Args:
            stream_ids: the streams.
            position: it is in the database.
            streams: how many there were then.
        """

        def now() -> list[tuple[int, int, int]]:
            return list(map(self._heads.find, stream_ids))

        found = [one if one[0] <= streams else (0, 0, 0) for one in self._sequencer.alone(now)]
        moved = [number for number, _, last in found if last > position]
        if moved:
            then = self._database.heads_at(moved, position)
            found = [
                (number, *then[number]) if last > position else (number, version, last)
                for number, version, last in found
            ]
        return found

    def stream_number(self, stream_id: str) -> int:
        """Return the number of a stream, as they were created; 0 if there is none."""
        return self._heads.number(stream_id)

    def stream_names(self, numbers: Iterable[int]) -> list[str]:
        """Return the streams that have these numbers."""
        return self._heads.names(numbers)

    def cover(self, stream_ids: Iterable[str]) -> Cover:
        """Return where the events of some streams are."""
        return self._heads.cover(stream_ids)

    def maybe_given(self, ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
        """Return those of some ids that an event in the database may have been given."""
        return self._flushed.maybe(ids)

    # Copies and proofs.

    def copy_to(self, path: str | Path) -> Path:
        """Write a copy of the whole store to a new file, and return its path.

        Others may append meanwhile: the copy is of one moment. It is opened by `Lab.open_copy`, to
        look at it, or made a store by `eslab.restore_store`.

        Args:
            path: a file that does not exist yet.

        Raises:
            StoreError: it exists, or cannot be written.
        """
        target = resolve(path)
        if target.exists():
            raise StoreError(f"{target} exists already: choose another file, or remove it first")
        with self._flushing, new_file(target) as partial:
            self._refresh_passed()
            self.flush()
            self._database.copy_to(partial)
        return target

    def verify(self) -> Verification:
        """Prove that the log is whole; see `eslab.store.EventStore.verify`."""

        def check() -> Verification:
            self._flush()
            checks = [*self._database.checks(), self._check_memory()]
            if self._journal is not None:
                checks.append(self._check_journal(self._journal))
            return Verification(tuple(checks))

        with self._flushing:
            self.flush()
            return self._alone(check)

    def _check_memory(self) -> Check:
        heads, position, _ = self._database.heads()
        wrong = ""
        if position != self._hot.head:
            wrong = f"the database ends at {position:,}, memory at {self._hot.head:,}"
        elif heads != self._heads:
            wrong = "the versions of the streams differ"
        return Check("memory and database agree", not wrong, wrong or f"up to {position:,}")

    def _check_journal(self, journal: Journal) -> Check:
        name = "journal and database agree"
        try:
            rows = journal.rows()
        except JournalError as error:
            return Check(name, ok=False, found=str(error))
        if not rows:
            return Check(name, ok=True, found="the journal is empty")
        first, last = rows[0].position, rows[-1].position
        same = list(self._database.rows(Selection(first - 1, last))) == rows
        found = f"positions {first:,} to {last:,}"
        return Check(name, same, found if same else f"{found} are other events in the journal")

    # What must hold before anything is done.

    def _require_open(self) -> None:
        if not (self._forked or self._closed or self._unsure):
            return
        if self._forked:
            raise StoreClosedError(_FORKED.format(self.path))
        super()._require_open()
        self._settle()

    def _require_writable(self) -> None:
        self._require_open()
        if self.read_only:
            raise StoreReadOnlyError(
                f"{self.path} is a copy that was opened to look at it: append to the store itself"
            )

    # The end.

    def _close(self) -> None:
        if self._closed or self._forked:
            return
        self._close_branches()
        self._flusher.stop()
        if self._lock is not None and not self._unsure:
            self._refresh_passed()
        with _open_stores_lock, self._flushing:
            failure = self._sequencer.alone(self._end)
        self._close_branches()  # one may have been made meanwhile
        if failure is not None:
            raise StoreError(
                f"{self.path} was closed, but not all events could be moved to the database: "
                f"{failure}; they are safe in its journal, and it is read when it is opened again"
            ) from failure

    def _close_branches(self) -> None:
        for branch in list(self._branches):
            branch.close()

    def _end(self) -> EslabError | None:
        """Tidy up and let go of everything; return what could not be tidied."""
        if self._closed:
            return None
        failure: EslabError | None = None
        try:
            if not self._unsure:
                try:
                    self._tidy(epoch=self.epoch)
                except EslabError as error:
                    failure = error
            if self._journal is not None:
                self._journal.close()
            self._database.close()
            if self._lock is not None:
                self._lock.release()
                _open_stores.pop(Path(self.path), None)
            self._closed = True
        except BaseException:
            self._unsure = True  # it may be closed again, and goes on with the rest then
            raise
        return failure

    def leave_to_parent(self) -> None:
        """Make the store unusable in a process that was forked, and touch nothing of it."""
        self._forked = True
        self._listening = threading.Lock()
        self._bells = Bells()
        self._database.leave_to_parent()
        self.snapshots.leave_to_parent()
        if self._journal is not None:
            self._journal.leave_to_parent()
        if self._lock is not None:
            self._lock.leave_to_parent()


def require_closed(path: Path) -> None:
    """Check that no store of this process has the file open, under another name.

    To read and close it here would drop the locks that the process has on it.

    Raises:
        StoreOpenError: one has.
    """
    for held in _open_stores:
        with suppress(OSError):
            if path.samefile(held):
                raise StoreOpenError(f"{path} is the same file as {held}, which is open here")


def _after_fork() -> None:
    """Leave the parent's stores to the parent: its threads are gone here, its locks are not."""
    global _open_stores_lock  # noqa: PLW0603 - another thread of the parent may hold it
    _open_stores_lock = threading.RLock()
    for store in list(_stores):
        store.leave_to_parent()


def _at_exit() -> None:
    for store in list(_stores):
        with suppress(EslabError):
            store.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
