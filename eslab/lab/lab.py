"""The lab: the one place that wires store, clock, projections, sagas, bus and views together."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from eslab.aggregates import (
    Aggregate,
    Decider,
    Definition,
    Repository,
    SnapshotReport,
    Sourced,
    is_definition,
)
from eslab.bus import LocalBus, Relay
from eslab.bus.journey import straight
from eslab.clock import (
    Clock,
    RandomIds,
    SeededIds,
    SystemClock,
    VirtualClock,
    as_duration,
    as_utc,
    random_id,
)
from eslab.errors import (
    ClockError,
    EslabError,
    InputError,
    StaleReadError,
    StoreClosedError,
)
from eslab.events import (
    ANY,
    AsOf,
    Event,
    Expected,
    Metadata,
    RecordedEvent,
    TypedEvent,
)
from eslab.lab.export import LabExport
from eslab.lab.views import LabViews
from eslab.messaging import (
    Command,
    CommandBus,
    ConsistencyToken,
    Middleware,
    QueryBus,
    Readiness,
    ReadQuery,
)
from eslab.messaging.envelope import takes
from eslab.progress import progress_bar
from eslab.projections import (
    AnyProjection,
    Comparison,
    Folded,
    Past,
    PastReadModel,
    Projection,
    ProjectionRunner,
    Rebuild,
    StreamFold,
    compare,
    fold,
    states,
)
from eslab.projections.runner import Observer
from eslab.replay import AnyEdit
from eslab.sagas import Orchestrator, ProcessManager, Saga, Timers, is_process_manager
from eslab.schema import (
    EventRegistry,
    UpcastingReport,
    canonical_json,
    check_upcasting,
    encode,
    event_list,
    message_classes,
)
from eslab.store import AppendResult
from eslab.store.result import Result
from eslab.subscriptions import BatchReport, DeadLetters, Engine, ErrorPolicy, Runner
from eslab.subscriptions.threads import BackgroundWorker
from eslab.words import counted

if TYPE_CHECKING:
    from eslab.lab.branch import Branch
    from eslab.replay import AnyEdit
    from eslab.simulation.faults import Crash, Fault, Faults
    from eslab.simulation.workload import OnRefusal, Workload, WorkloadReport
    from eslab.store.duckdb import DuckDBStore
    from eslab.store.duckdb.journal import Durability

__all__ = ["Lab"]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T", bound=Sourced)

_log = logging.getLogger("eslab.lab")

_labs: weakref.WeakValueDictionary[int, Lab] = weakref.WeakValueDictionary()
_labs_lock = threading.Lock()


class Lab(LabViews, LabExport):
    """An event store with everything around it, ready to use in a notebook.

    With a seed it has a virtual clock and seeded ids: the same calls give the same bytes, on
    every run and machine. Without one it runs on the machine's clock.

    A second lab on the same file shares the store and supersedes the first one, so that the cell
    that makes a lab can be run again.

    Args:
        path: a DuckDB file, made if it does not exist; by default the store is in memory.
        seed: a whole number; makes the lab deterministic.
        clock: another clock than the seed implies.
        durability: ``"full"`` or ``"relaxed"``: what an append survives; see `eslab.open_store`.
        store: one that is open, instead of a path: of a lab whose process is taken to have
            crashed, say. Its clock goes on; an earlier lab on it is superseded.

    Raises:
        StoreOpenError: the file cannot be opened as a store.
        InputError: both a path and a store are given, or the seed is no whole number.

    Example:
        >>> class OrderPlaced(Event):
        ...     amount: int
        >>> with Lab(seed=7) as lab:
        ...     lab.append("order-1", [OrderPlaced(amount=30)]).version
        ...     lab
        1
        Lab(':memory:', seed=7: 1 event, 1 stream, 0 projections, 2026-01-01T00:00:00+00:00)
    """

    def __init__(
        self,
        path: str | Path = ":memory:",
        *,
        seed: int | None = None,
        clock: Clock | None = None,
        durability: Durability = "full",
        store: DuckDBStore | None = None,
    ) -> None:
        from eslab.store.duckdb import DuckDBStore

        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise InputError(f"seed must be a whole number, not {seed!r}")
        self.seed = seed
        if store is not None:
            if not isinstance(store, DuckDBStore) or str(path) != ":memory:":
                raise InputError(
                    f"a lab takes the path of a file, or a store that eslab.open_store() gave, and "
                    f"not both: {path!r}, {store!r:.200}"
                )
            store.clock = clock or store.clock
            self._wire(store, store.clock)
            return
        clock = clock or (SystemClock() if seed is None else VirtualClock())
        ids = RandomIds() if seed is None else SeededIds(seed)
        self._wire(DuckDBStore.open(path, clock=clock, ids=ids, durability=durability), clock)

    @classmethod
    def open_copy(cls, path: str | Path) -> Self:
        """Open a private copy of a store, to look at it beside the notebook that has it open.

        Nothing can be appended to it; it can be read, queried, replayed and projected. The copy
        is removed when the lab is closed.

        Args:
            path: a file that ``lab.store.copy_to(path)`` wrote, or a store that nobody has open.

        Raises:
            StoreOpenError: it is no store, or another process has it open.
        """
        from eslab.store.duckdb.copies import open_copy

        lab = cls.__new__(cls)
        lab.seed = None
        clock = SystemClock()
        lab._wire(open_copy(path, clock=clock, ids=RandomIds()), clock)  # noqa: SLF001 - its own
        return lab

    def _wire(self, store: DuckDBStore, clock: Clock) -> None:
        self.clock: Clock = clock
        self.store: DuckDBStore = store
        self.registry = EventRegistry()
        self.store.use_registry(self.registry)
        self.repository = Repository(self.store, self.registry)
        self.bus = LocalBus()
        self._middleware: list[Middleware] = []
        self._numbers = count(1)
        self._commands = CommandBus(
            self.store,
            self.repository,
            middleware=self._middleware,
            mint=self._mint,
            sleep=_no_sleep if isinstance(clock, VirtualClock) else time.sleep,
        )
        self._queries = QueryBus(self._middleware, self._mint, lab=self)
        self.superseded = False
        self._relay = Relay(self.store, self.bus)
        self._orchestrator = Orchestrator(self.store, self.registry, self._commands)
        self._timers = Timers(self._orchestrator, self.clock)
        self._projections: dict[str, ProjectionRunner] = {}
        if isinstance(self.clock, VirtualClock):
            last = self.store.last_recorded_at()
            if last is not None and last > self.clock.now():
                self.clock.advance_to(last)
        self._faults: Faults | None = None
        self._observers: list[Observer] = []
        self._engine = Engine(self.clock, self._workers, head=self.store.head, seed=self.seed)
        self._stop_listening = self.store.listen(self._engine.notice)
        self._supersede()

    def _supersede(self) -> None:
        with _labs_lock:
            older = _labs.get(id(self.store))
            _labs[id(self.store)] = self
        if older is not None and older.store is self.store:
            older._make_way()  # noqa: SLF001 - another one of this class
            self.store.clock = self.clock

    def _make_way(self) -> None:
        """Leave the store to a newer lab, whatever became of what this one did."""
        self.superseded = True
        self._stop_listening()
        if self._faults is not None:
            self._faults.withdraw()
        try:
            self.stop()
        except EslabError:
            _log.warning(
                "the lab on %s that was superseded ended so", self.store.path, exc_info=True
            )
        for runner in self._projections.values():
            runner.retire()

    # The write side.

    def register(
        self, *definitions: type[Event | Aggregate | ProcessManager] | Decider[Any] | Saga
    ) -> None:
        """Make event and aggregate classes, deciders, sagas and process managers known here.

        What is appended, loaded, saved, projected or started is registered by that already; an
        aggregate and a decider must be, so that they are given the commands that they handle.

        Raises:
            RegistrationError: another class has the same type name, or another aggregate handles
                the same command.
        """
        for definition in definitions:
            if is_process_manager(definition) or isinstance(definition, Saga):
                self._orchestrator.register(definition)
            elif is_definition(definition):
                self._commands.register(definition)
            else:
                self.registry.register(definition, replace=True)
        self._engine.notice()  # sagas may have waited for it

    def handles(self, handler: F) -> F:
        """Let a function handle the commands, or answer the queries, that it takes.

        The class of the command or the query is the annotation of its first parameter. What
        handles a command returns what is to be saved, and does nothing else: it may be run again
        (see `eslab.messaging.CommandBus.register`). What answers a query returns the answer, and
        takes the lab that is asked as its second argument if it asks that: of a branch it is the
        branch.

        Raises:
            RegistrationError: something else handles one of them.
            SchemaError: the annotation is neither.

        Example:
            >>> class GetTotal(ReadQuery):
            ...     of: list[int]
            >>> with Lab(seed=7) as lab:
            ...     @lab.handles
            ...     def total(query: GetTotal) -> int:
            ...         return sum(query.of)
            ...     lab.query(GetTotal(of=[1, 2]))
            3
        """
        if not inspect.isroutine(handler):
            raise InputError(f"handles() takes a function, not {handler!r:.200}")
        kinds = (Command, ReadQuery)
        (message, *_) = message_classes(handler, kinds, 0, word="command or query")
        if issubclass(message, ReadQuery):
            self._queries.register(handler)
        else:
            self._commands.register(handler)
        self._engine.notice()
        return handler

    def use(self, *middleware: Middleware) -> None:
        """Let each command and query pass through these, behind those that are there already.

        Args:
            middleware: functions of an `eslab.messaging.Envelope` and of what lets it go on.

        Raises:
            InputError: one is no such function.

        Example:
            >>> from eslab.messaging import logged
            >>> with Lab(seed=7) as lab:
            ...     lab.use(logged)
        """
        for one in middleware:
            if not callable(one) or not takes(one, 2):
                raise InputError(
                    f"middleware is a function of an envelope and of what lets it go on, such as "
                    f"logged, or timed(report): {one!r:.200} is none"
                )
        self._middleware.extend(middleware)

    def execute(
        self,
        command: Command,
        *,
        command_id: uuid.UUID | None = None,
        metadata: Metadata | None = None,
    ) -> ConsistencyToken:
        """Carry out a command: load, decide, append; and again, if others appended meanwhile.

        Args:
            command: it is handled by an aggregate or a decider that is registered here, or by a
                function.
            command_id: with an id, a command that was carried out already is not carried out
                again, and the first result comes back as a duplicate; also in another process. It
                stands for one command: whoever gives another one the same id gets the first
                one's result.
            metadata: who sends it, and what it belongs to; by default to the command that is
                handled now.

        Returns:
            How far to read to see what it recorded.

        Raises:
            DomainError: it was refused; nothing was recorded.
            HandlerNotFoundError: nothing handles commands of its type.
            HandlerError: its handler gave something else than events, or sent a command.
            ConcurrencyError: others appended first, each time that it was tried.
            IdempotencyError: the command id was used for a command on another stream.

        Example:
            >>> from eslab.simulation.scenarios import accounts
            >>> with Lab(seed=7) as lab:
            ...     lab.register(accounts.account)
            ...     lab.execute(accounts.OpenAccount(account_id="a-1", owner="Ann"))
            <ConsistencyToken position 1, epoch 1>
        """
        return self._commands.execute(command, command_id=command_id, metadata=metadata)

    async def execute_async(
        self,
        command: Command,
        *,
        command_id: uuid.UUID | None = None,
        metadata: Metadata | None = None,
    ) -> ConsistencyToken:
        """Do the same on a thread, while the event loop goes on.

        Whoever stops waiting for it does not stop it: the command is carried out.
        """

        def execute() -> ConsistencyToken:
            try:
                return self.execute(command, command_id=command_id, metadata=metadata)
            except StopIteration as error:  # no awaitable can raise it (PEP 479)
                raise RuntimeError(f"what handles {command!r:.200} raised {error!r}") from error

        return await asyncio.to_thread(execute)

    def query(
        self,
        query: ReadQuery,
        *,
        at_least: ConsistencyToken | None = None,
        stale_ok: bool = False,
        timeout: timedelta | str | None = None,
        metadata: Metadata | None = None,
    ) -> Any:
        """Return the answer of the function that is registered for a query by `handles`.

        Args:
            query: what is asked.
            at_least: what a command returned: the read models have seen what it recorded before
                the query is answered, so that one reads what one wrote.
            stale_ok: answer also if they cannot: where one is paused, failed, has dead letters, or
                does not get there in time.
            timeout: how long to wait for them, at most: by the lab's clock.
            metadata: who asks.

        Raises:
            HandlerNotFoundError: nothing answers it.
            StaleReadError: a projection has not seen `at_least`; it says why.
            InputError: that is a token of another store, or of another epoch of it.

        Example:
            >>> from eslab.simulation.scenarios import accounts
            >>> class GetHead(ReadQuery):
            ...     pass
            >>> with Lab(seed=7) as lab:
            ...     lab.register(accounts.account)
            ...     @lab.handles
            ...     def head(query: GetHead) -> int:
            ...         return lab.store.head()
            ...     token = lab.execute(accounts.OpenAccount(account_id="a-1", owner="Ann"))
            ...     lab.query(GetHead(), at_least=token)
            1
        """
        if at_least is not None:
            ready = self.wait(at_least, timeout=timeout)
            if not (ready or stale_ok):
                raise StaleReadError(
                    f"{query!r:.200} is to be answered as of {at_least!r}, and {ready!r}; resume "
                    f"or mend what is behind, or ask with stale_ok=True"
                )
        return self._queries.ask(query, metadata=metadata)

    def wait(
        self, token: ConsistencyToken, *projections: str, timeout: timedelta | str | None = None
    ) -> Readiness:
        """Let projections see what a command recorded, and say whether they did.

        Where `start` gave them threads, it is waited for these. Otherwise what is due is done here
        and now, on this thread; a virtual clock moves along. A projection that is paused, or was
        stopped by an error, is not waited for.

        Args:
            token: what the command returned.
            projections: their names; by default all of this lab.
            timeout: how long to wait, at most: by the lab's clock.

        Raises:
            InputError: there is no such projection, or the token is of another store, or of
                another epoch of it.
        """
        if not isinstance(token, ConsistencyToken):
            raise InputError(f"a token is what execute() returned, not {token!r:.200}")
        if (token.store_id, token.epoch) != (self.store.store_id, self.store.epoch):
            raise InputError(
                f"{token!r} is of another store, or of another epoch of it: this one is in epoch "
                f"{self.store.epoch}; what was recorded there may not be here"
            )
        limit = None if timeout is None else as_duration(timeout)
        runners = [self._projection(name) for name in projections or self._projections]

        def enough() -> bool:
            # Of a copy, the log may end before the token does: nobody comes further.
            last = min(token.position, self.store.head())
            return not any(each.active and each.position < last for each in runners)

        if any(each.position < token.position for each in runners):
            self._require_current()
        if not enough():
            self._settle(enough, limit)
        return Readiness.of(runners, token.position)

    def _settle(self, enough: Callable[[], bool], limit: timedelta | None) -> None:
        """Have work done until it is enough; errors are left to those whose they are."""
        try:
            self._engine.run_until(enough, limit)
        except StoreClosedError:
            raise
        except EslabError:
            pass

    def _mint(self) -> uuid.UUID:
        """Return an id for a message; with a seed the same one at the same place of a run."""
        if self.seed is None:
            return random_id()
        # A command that recorded something moved the head: no later one begins there, not even
        # after the store was opened again.
        place = f"{self.seed} {self.store.epoch} {self.store.head()} {next(self._numbers)}"
        return uuid.uuid5(self.store.store_id, place)

    def append(
        self,
        stream_id: str,
        events: Sequence[Event],
        *,
        expected_version: Expected = ANY,
        occurred_at: datetime | None = None,
        metadata: Metadata | None = None,
    ) -> AppendResult:
        """Append events to a stream, all or none; see `eslab.store.EventStore.append`."""
        encoded = []
        for event in event_list(events):
            new = encode(event, occurred_at=occurred_at, metadata=metadata)
            self.registry.register(type(event))
            encoded.append(new)
        return self.store.append(stream_id, encoded, expected_version=expected_version)

    def load(
        self,
        definition: Definition[T],
        id: str,
        *,
        version: int | None = None,
        as_of: AsOf | None = None,
    ) -> T:
        """Load an aggregate, or an entity of a decider; see `eslab.aggregates.Repository.load`."""
        return self.repository.load(definition, id, version=version, as_of=as_of)

    def find(self, definition: Definition[T], id: str) -> T:
        """Load one, or give a new one; see `eslab.aggregates.Repository.find`."""
        return self.repository.find(definition, id)

    def get_many(self, definition: Definition[T], ids: Iterable[str]) -> dict[str, T]:
        """Load several in one query; see `eslab.aggregates.Repository.get_many`."""
        return self.repository.get_many(definition, ids)

    def save(self, sourced: Sourced, *, metadata: Metadata | None = None) -> AppendResult:
        """Save an aggregate or an entity; see `eslab.aggregates.Repository.save`."""
        return self.repository.save(sourced, metadata=metadata)

    def check_snapshots(
        self, *definitions: Definition[Any], progress: bool = True
    ) -> SnapshotReport:
        """Compare snapshots; see `eslab.aggregates.Repository.check_snapshots`."""
        return self.repository.check_snapshots(*definitions, progress=progress)

    # The read side.

    def project(self, *projections: AnyProjection) -> None:
        """Keep read models up to date with these projections from now on.

        One of the same name takes the place of the earlier one; it goes on from its checkpoint,
        or is rebuilt if its rows or its handlers are others.
        """
        self._require_current()
        for projection in projections:
            if not isinstance(projection, AnyProjection):
                raise InputError(f"project() takes projections, such as Orders(): {projection!r}")
            earlier = self._projections.get(projection.name)
            # One that is stuck in a handler is not waited for: what it does is rolled back.
            held = earlier is not None and earlier.lock.acquire(timeout=1)
            try:
                self._start_projecting(projection)
                if earlier is not None:
                    earlier.retire()
            finally:
                if earlier is not None and held:
                    earlier.lock.release()

    def _start_projecting(self, projection: AnyProjection) -> None:
        self._keep(
            ProjectionRunner(self.store, projection, self.registry, observers=self._observers)
        )

    def _keep(self, runner: ProjectionRunner) -> None:
        self._projections[runner.name] = runner
        self._engine.add(runner)

    def fold(
        self,
        projection: Projection,
        *,
        streams: Iterable[str] | None = None,
        as_of: AsOf | None = None,
        progress: bool = True,
    ) -> Folded:
        """Make a read model in memory, of some streams or as of some time.

        It is of this moment, and is kept nowhere; what `project` keeps up to date is left alone.
        See `eslab.projections.fold`.
        """
        if not isinstance(projection, Projection):
            raise InputError(
                f"fold() takes a projection, such as Orders(), in Python; as_of() takes one in SQL "
                f"too: {projection!r:.200}"
            )
        return fold(
            self.store, projection, self.registry, streams=streams, as_of=as_of, progress=progress
        )

    def compare(
        self,
        left: AnyProjection,
        right: AnyProjection,
        *,
        until: int | None = None,
        batch: int = 50_000,
        progress: bool = True,
    ) -> Comparison:
        """Fold all events by two projections, and find where their rows begin to differ.

        In Python or in SQL, kept up to date by this lab or not; what is kept up to date is left
        alone. See `eslab.projections.compare`.
        """
        return compare(
            self.store, left, right, self.registry, until=until, batch=batch, progress=progress
        )

    @overload
    def as_of(
        self,
        *,
        position: int | None = None,
        recorded: datetime | None = None,
        occurred: datetime | None = None,
        read_model: None = None,
    ) -> Past: ...

    @overload
    def as_of(
        self,
        *,
        position: int | None = None,
        recorded: datetime | None = None,
        occurred: datetime | None = None,
        read_model: str | AnyProjection,
    ) -> PastReadModel: ...

    def as_of(
        self,
        *,
        position: int | None = None,
        recorded: datetime | None = None,
        occurred: datetime | None = None,
        read_model: str | AnyProjection | None = None,
    ) -> Past | PastReadModel:
        """Return a read model as it was, or all that can be asked of another time.

        One of position, recorded and occurred says when; see `eslab.AsOf`.

        Args:
            position: what was recorded up to and with this position.
            recorded: what was recorded by then.
            occurred: what had happened by then, whenever it was recorded.
            read_model: a projection, or the name of one of this lab.

        Raises:
            InputError: not exactly one time is given, or there is no such projection.
            ProjectionError: an event cannot be applied.

        Example:
            >>> from eslab.interop.flights import DelayByAirportHour, import_week
            >>> with Lab(seed=7) as lab:
            ...     _ = import_week(lab.store, progress=False)
            ...     len(lab.as_of(position=1_000, read_model=DelayByAirportHour()).df)
            12
        """
        when = AsOf(position=position, recorded=recorded, occurred=occurred)
        past = Past(
            self.store,
            self.repository,
            self.registry,
            lambda name: self._projection(name).projection,
            when,
        )
        return past if read_model is None else past.read_model(read_model)

    def states(self, fold: StreamFold, *, as_of: AsOf | None = None, every: bool = False) -> Result:
        """Return the state of every stream, now or at another time, or after every event.

        See `eslab.projections.states`.
        """
        return states(self.store, fold, self.registry, as_of=as_of, every=every)

    def pause(self, projection: str) -> None:
        """Stop a projection after its current batch, until it is resumed."""
        self._projection(projection).pause()
        self._engine.notice()

    def resume(self, projection: str) -> None:
        """Let a projection go on from its checkpoint: one that was paused, or failed."""
        runner = self._projection(projection)
        runner.resume()
        self._engine.revive(runner)
        self._engine.notice()

    def rebuild(
        self, projection: str, *, on_error: ErrorPolicy | str = "stop", progress: bool = True
    ) -> None:
        """Make a read model anew, from the first event, beside the one that is read meanwhile.

        When it is as far as that one it takes its place, at once and as a whole. Other events than
        before are handled only if somebody discarded some since. A rebuild that was killed is
        taken up where it was; one that is interrupted too, when it is asked for again.

        Args:
            projection: its name.
            on_error: what is done about an event that cannot be handled: by default the rebuild
                ends, and the read model stays as it is.
            progress: draw a progress bar on stderr, if that is a terminal or a notebook.

        Raises:
            ProjectionError: an event cannot be handled.
        """
        self._rebuild(projection, None, on_error, progress=progress)

    def reset(
        self,
        projection: str,
        *,
        to: int = 0,
        on_error: ErrorPolicy | str = "stop",
        progress: bool = True,
    ) -> None:
        """Put a read model back to how it was at a position; from there it replays the events.

        Args:
            projection: its name.
            to: the position; by default there are no rows, and all events are replayed.
            on_error: what is done about an event up to there that cannot be handled.
            progress: draw a progress bar on stderr, if that is a terminal or a notebook.

        Raises:
            ProjectionError: an event cannot be handled; the read model stays as it is.
            InputError: there is no such position.
        """
        self._rebuild(projection, to, on_error, progress=progress)

    def _rebuild(
        self, name: str, until: int | None, on_error: ErrorPolicy | str, *, progress: bool
    ) -> None:
        self._require_current()
        live = self._projection(name)
        with live.rebuilding:  # one after the other
            rebuild = Rebuild(live, until=until, on_error=on_error, observers=self._observers)
            try:
                with self._shown([rebuild], f"rebuilding {name}", progress=progress):
                    Runner(self.clock, lambda: [rebuild], seed=self.seed).run()
            except StoreClosedError:
                raise
            except EslabError:
                rebuild.discard()
                raise
        self._engine.notice()

    @contextmanager
    def _shown(
        self, runners: Iterable[ProjectionRunner], description: str, *, progress: bool
    ) -> Iterator[None]:
        """Draw the progress of projections."""
        head = self.store.head()
        names = {runner.name for runner in runners}
        left = sum(max(0, head - runner.position) for runner in runners)
        with progress_bar(total=left, description=description, progress=progress) as bar:

            def observe(report: BatchReport) -> None:
                if report.projection in names and report.error is None:
                    bar.update(report.scanned - report.after)

            self._observers.append(observe)
            try:
                yield
            finally:
                self._observers.remove(observe)

    def dead_letters(self, projection: str) -> DeadLetters:
        """Return the events that a projection parked, to look at, retry or discard them.

        Example:
            >>> lab = Lab(seed=7)
            >>> from eslab.interop.flights import DelayByAirportHour
            >>> lab.project(DelayByAirportHour())
            >>> lab.dead_letters("delay_by_airport_hour")
            <DeadLetters of delay_by_airport_hour: none>
            >>> lab.close()
        """
        return self._projection(projection).letters

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Tell a function of every batch that a projection applies, or that failed.

        Args:
            observer: takes an `eslab.subscriptions.BatchReport`; on the projection's thread.

        Returns:
            A function that ends it.

        Raises:
            InputError: it is no function.
        """
        if not callable(observer):
            raise InputError(f"observe() takes a function of a report, not {observer!r:.200}")

        def tell(report: BatchReport) -> None:
            observer(report)

        def end() -> None:
            with suppress(ValueError):  # it was ended before
                self._observers.remove(tell)

        self._observers.append(tell)
        return end

    def typed_events(
        self,
        *,
        after: int = 0,
        until: int | None = None,
        types: Iterable[str | type[Event]] | None = None,
        category: str | None = None,
    ) -> Iterator[TypedEvent]:
        """Yield events as instances of their classes, each with its place in the log.

        The quick way to go through many: they are read and decoded in batches.

        Args:
            after: only positions above this one.
            until: only positions up to this one.
            types: only events of these types.
            category: only streams of this category.

        Raises:
            UnknownEventTypeError: a type is not registered here.
            SchemaError: an event does not fit its class.
        """
        batches = self.store.read_batches(after=after, until=until, types=types, category=category)
        return self.registry.decode_all(batches)

    def check_upcasting(self, *, progress: bool = True) -> UpcastingReport:
        """Read every stored event through its upcasters, and say which cannot be read.

        Args:
            progress: draw a progress bar on stderr, if that is a terminal or a notebook.
        """
        with progress_bar(
            total=self.store.head(), description="checking upcasting", progress=progress
        ) as bar:
            return check_upcasting(self.store.read_batches(), self.registry, report=bar.update)

    def catalogue(self) -> dict[str, Any]:
        """Return the JSON Schema of all event types that are registered here."""
        return self.registry.catalogue()

    def sql(self, query: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> Result:
        """Run one SELECT over the log (``events``), event types and read models, read-only.

        Each registered event type is a table with a column for each field of its class:
        ``OrderPlaced`` is ``order_placed``. Events that do not fit are in ``typing_errors``.

        Raises:
            QueryError: it is no single SELECT or EXPLAIN, or DuckDB refuses it.
        """
        return self.store.sql(query, parameters)

    # Sagas.

    def start_saga(self, saga: Saga, saga_id: str, /, **input: Any) -> None:
        """Record that a saga begins; `run` makes it go on.

        Starting it again, with the same id and input, does nothing.
        """
        self._orchestrator.start(saga, saga_id, input)

    def saga_state(self, saga: Saga | type[ProcessManager] | str, saga_id: str) -> Any:
        """Return what the stream of a saga, or of a process manager, says about it.

        Args:
            saga: the saga or the class of the process manager, or its name.
            saga_id: which one.

        Returns:
            A `SagaState`, or a `ProcessState`.

        Raises:
            SagaNotFoundError: there is no such saga.
        """
        return self._orchestrator.state(_saga_name(saga), saga_id)

    def resume_saga(
        self,
        saga: Saga | type[ProcessManager] | str,
        saga_id: str,
        *,
        resolved: bool = False,
        reason: str = "",
    ) -> None:
        """Let a saga or a process manager that is stuck go on; `run` makes it do so.

        Args:
            saga: the saga or the class of the process manager, or its name.
            saga_id: which one.
            resolved: you have done yourself what it could not do; by default it is tried again.
            reason: what you say to whoever asks later.

        Raises:
            SagaNotFoundError: there is no such saga.
            SagaError: it is not stuck, or no saga of its name is registered here.
        """
        self._orchestrator.resume(_saga_name(saga), saga_id, resolved=resolved, reason=reason)

    # Work.

    def run(self, *, progress: bool = True) -> None:
        """Do all work that is due: projections, sagas, the bus.

        On a virtual clock the work takes the time that it costs, and the clock moves along, also
        to the timers that sagas have set: until nothing is left. A timer that is set again each
        time that it fires would keep it going for ever; `advance` and `run_until` stop in between.
        On the machine's clock only what is tried again is waited for. Where `start` gave everybody
        threads, it is waited for these.

        Args:
            progress: draw a progress bar on stderr, if that is a terminal or a notebook.

        Raises:
            EslabError: the first error of a projection or a saga; everything else was done.
        """
        self._require_current()
        active = [runner for runner in self._projections.values() if runner.active]
        with self._shown(active, "projecting", progress=progress):
            self._engine.run()

    def start(self) -> None:
        """Do all work in the background from now on, as soon as it is due: a thread for each.

        One that is stuck or fails holds up no other. Starting again does nothing.

        Raises:
            ClockError: the lab has a virtual clock.
        """
        self._require_current()
        if not self._engine.started:
            self._engine.start()

    def stop(self) -> None:
        """End what `start` began, each thread after its current batch.

        Raises:
            EslabError: what a thread raised, if nobody was told yet; or it does not end.
        """
        self._engine.stop()

    def advance(self, by: timedelta | str) -> None:
        """Move the virtual clock forwards, doing the work that falls due meanwhile.

        Args:
            by: a duration, or text such as ``"5 min"``.

        Raises:
            ClockError: the lab runs on the machine's clock, or that is no way forwards.
            EslabError: as `run`.
        """
        clock = self._virtual_clock("only a virtual clock can be advanced")
        duration = as_duration(by)
        if duration < timedelta(0):
            raise ClockError(f"a clock does not go back: by {by!r} was asked for")
        try:
            until = clock.now() + duration
        except OverflowError:
            raise ClockError(f"there is no time {by!r} from {clock.now()}") from None
        self._advance_to(clock, until)

    def run_until(
        self, end: datetime | Callable[[], bool], *, limit: timedelta | str | None = None
    ) -> bool:
        """Do the work that is due until a moment, or until something holds.

        On a virtual clock the clock moves along, to the moment itself; where nothing is left to
        do, it does not wait for something to hold.

        Args:
            end: the moment; or a function without arguments, asked after each piece of work, such
                as ``lambda: lab.saga_state("trip", "1").ended``.
            limit: how long that may take, by the lab's clock, until it is given up.

        Returns:
            Whether it holds; for a moment, True.

        Raises:
            ClockError: the moment has passed; or the lab runs on the machine's clock, and a
                moment was given.
            EslabError: as `run`.

        Example:
            >>> with Lab(seed=7) as lab:
            ...     lab.run_until(lab.clock.now() + timedelta(minutes=5))
            ...     lab.clock.now().isoformat()
            True
            '2026-01-01T00:05:00+00:00'
        """
        if isinstance(end, datetime):
            clock = self._virtual_clock("only a virtual clock runs until a moment")
            until = as_utc(end, what="end")
            if until < clock.now():
                raise ClockError(
                    f"a clock does not go back: it is {clock.now().isoformat()}, and "
                    f"{until.isoformat()} was asked for"
                )
            self._advance_to(clock, until)
            return True
        if not callable(end):
            raise InputError(
                f"run_until() takes a moment, or a function that says whether it is enough, not "
                f"{end!r:.200}"
            )
        self._require_current()
        self._engine.run_until(end, None if limit is None else as_duration(limit))
        return bool(end())

    def _advance_to(self, clock: VirtualClock, until: datetime) -> None:
        try:
            self._engine.run(until)
        finally:
            clock.advance_to(max(until, clock.now()))

    def drive(
        self, workload: Workload, *, on_refusal: OnRefusal = "count", progress: bool = True
    ) -> WorkloadReport:
        """Carry out the commands of a workload, each when it arrives, on the virtual clock.

        The clock moves along, and the work that falls due between two commands is done. What is
        left after the last one is done by `run`.

        The id of each command is derived from the workload and from what the command says. So one
        that recorded something is not carried out again when the same workload is driven again:
        a cell may be run twice, and what was interrupted be driven to its end. Another seed gives
        other commands. One that was refused, or recorded nothing, is decided anew.

        Args:
            workload: the commands; see `eslab.simulation.workload.Workload`.
            on_refusal: what is done about a command that the domain refuses: ``"count"`` it in the
                report and go on, or ``"raise"``.
            progress: draw a progress bar on stderr, if that is a terminal or a notebook.

        Raises:
            ClockError: the lab runs on the machine's clock.
            DomainError: a command was refused, and that was to be raised.
            EslabError: a command failed, as in `execute`, or other work, as in `run`; what arrived
                before was carried out.

        Example:
            >>> from eslab.simulation.scenarios import accounts
            >>> from eslab.simulation.workload import Workload, Zipf
            >>> def pay(key: int) -> accounts.Deposit:
            ...     return accounts.Deposit(account_id=f"a-{key}", amount=30)
            >>> with Lab(seed=7) as lab:
            ...     lab.register(accounts.account)
            ...     for key in (1, 2):
            ...         _ = lab.execute(accounts.OpenAccount(account_id=f"a-{key}", owner="Ann"))
            ...     report = lab.drive(Workload(pay, count=100, rate=50, keys=Zipf(3)))
            >>> report.commands, report.carried_out, report.refused
            (100, 83, {'there is no account a-#': 17})
        """
        from eslab.simulation.workload import drive

        clock = self._virtual_clock("a workload arrives on a virtual clock")
        return drive(
            workload,
            execute=self.execute,
            now=clock.now,
            advance_to=lambda until: self._advance_to(clock, until),
            on_refusal=on_refusal,
            progress=progress,
        )

    def _virtual_clock(self, rule: str) -> VirtualClock:
        """Return the clock, which can be moved."""
        self._require_current()
        if not isinstance(self.clock, VirtualClock):
            raise ClockError(
                f"{rule}, and this lab runs on the machine's clock: make it with Lab(seed=...)"
            )
        return self.clock

    def _require_current(self) -> None:
        if self.superseded:
            raise EslabError(
                f"this lab was superseded by a newer one on {self.store.path}: use that one"
            )

    def _workers(self) -> list[BackgroundWorker]:
        # Projections last: they flush, and what is in memory until then is quicker to read.
        return [self._relay, self._orchestrator, self._timers, *self._projections.values()]

    # Branches.

    def branch(self, *edits: AnyEdit, at: int | None = None, seed: int | None = None) -> Branch:
        """Return a laboratory that begins with the events of this one, and goes its own way.

        Whatever is done there, this one does not change; and what is appended here from now on is
        not there. All that is registered here is registered there: classes of events, aggregates,
        deciders, handlers, middleware, sagas, process managers and projections. Read models, sagas
        and timers are those of the position: they are made of the events.

        It has a virtual clock, which begins where the last of its events was recorded. Nobody is
        subscribed to its bus: what happens there is not told to anybody. Faults that were injected
        here, and observers, stay here.

        Args:
            edits: what is to be otherwise in history up to there: `eslab.Skip`, `eslab.Edit`,
                `eslab.Insert` and `eslab.Move`, by positions of this lab. Versions and positions
                are numbered anew behind them; `base_position`, and ``origins`` in SQL, say which
                event is which. What follows from them is told by ``.consequences``,
                and what differs in the end by ``.comparison()``.
            at: the position; by default the last one.
            seed: of its ids and its scheduler; by default it is derived from that of this lab.

        Raises:
            InputError: there is no such position, an edit cannot be made, or the seed is no whole
                number.

        Example:
            >>> class OrderPlaced(Event):
            ...     amount: int
            >>> with Lab(seed=7) as lab:
            ...     for amount in (10, 20, 30):
            ...         _ = lab.append("order-1", [OrderPlaced(amount=amount)])
            ...     with lab.branch(at=1) as what_if:
            ...         _ = what_if.append("order-1", [OrderPlaced(amount=99)])
            ...         what_if.sql("select amount from order_placed order by position").fetchall()
            ...         what_if
            ...     lab.store.head()
            [(10,), (99,)]
            Branch(of ':memory:' at 1: 2 events, 1 of its own, 1 stream, 0 projections, ...)
            3
        """
        from eslab.lab.branch import Branch

        return Branch(self, edits, at=at, seed=seed)

    def _adopt(self, base: Lab) -> list[AnyProjection]:
        """Register here what is registered in another lab; return the projections of that."""
        self.register(*[base.registry[name] for name in base.registry])
        self._commands.adopt(base._commands)
        self._queries.adopt(base._queries)
        self._middleware.extend(base._middleware)
        self.register(*base._orchestrator.definitions)
        return [runner.projection for runner in list(base._projections.values())]

    # Faults.

    def inject(self, *faults: Fault | Crash) -> Faults:
        """Let things go wrong from now on: with messages of sagas, of the bus, or altogether.

        These take the place of those that were injected before; none at all takes them away.

        Args:
            faults: what goes wrong, and where; see `eslab.simulation.faults.Fault`. Those that
                have a rate are drawn from the lab's seed.

        Returns:
            The faults, which keep a record of what they did.

        Example:
            >>> from eslab import Step
            >>> from eslab.simulation.faults import Fault
            >>> trip = Saga("trip", [Step("hotel", print, print), Step("train", print)])
            >>> with Lab(seed=7) as lab:
            ...     faults = lab.inject(Fault("fails", "hotel"))
            ...     lab.start_saga(trip, "1")
            ...     lab.run()
            ...     lab.saga_state("trip", "1").error
            "InjectedError: attempt 1 at 'hotel' was made to fail"
        """
        from eslab.simulation.faults import Faults

        injected = Faults(faults, seed=self.seed or 0)
        if self._faults is not None:
            self._faults.withdraw()
        self._faults = injected if faults else None
        if faults:
            injected.watch(self.store)
        self._relay.route = self._orchestrator.route = injected if faults else straight
        return injected

    # The end.

    def fingerprint(self) -> str:
        """Return a hash of the whole log: streams, versions, types, data, ids, times and tags."""
        digest = hashlib.sha256()
        for event in self.store.read_all():
            digest.update(_fingerprinted(event).encode())
        return digest.hexdigest()

    def close(self) -> None:
        """Close the lab and its store; a lab that was superseded leaves the store open."""
        self._stop_listening()
        try:
            self._engine.stop()
        finally:
            if not self.superseded:
                self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        seed = "" if self.seed is None else f", seed={self.seed}"
        if self.store.closed:
            return f"Lab({self.store.path!r}{seed}: closed)"
        superseded = ", superseded" if self.superseded else ""
        return (
            f"Lab({self.store.path!r}{seed}: {counted(self.store.head(), 'event')}, "
            f"{counted(self.store.streams(), 'stream')}, "
            f"{counted(len(self._projections), 'projection')}, "
            f"{self.clock.now().isoformat()}{superseded})"
        )


def _no_sleep(seconds: float) -> None:
    """Wait on a virtual clock, where whoever waits holds everybody up."""


def _saga_name(saga: Saga | type[ProcessManager] | str) -> str:
    return saga if isinstance(saga, str) else saga.name


def _fingerprinted(event: RecordedEvent) -> str:
    return canonical_json(
        [
            event.stream_id,
            event.version,
            event.type,
            event.schema_version,
            event.data,
            str(event.event_id),
            event.occurred_at.isoformat(),
            event.recorded_at.isoformat(),
            list(event.tags),
        ]
    )
