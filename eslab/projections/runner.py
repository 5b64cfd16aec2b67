"""What moves a projection along: a batch, its rows and its checkpoint in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NoReturn

from eslab.clock import Scheduler
from eslab.errors import (
    EslabError,
    EventFailedError,
    InputError,
    ProjectionError,
    StoreClosedError,
    StoreError,
)
from eslab.events import RecordedEvent
from eslab.projections.base import (
    AnyProjection,
    BatchFailedError,
    NotReadError,
    ProjectionStore,
)
from eslab.projections.checkpoints import Checkpoint
from eslab.projections.verdict import WINDOW
from eslab.schema import EventRegistry
from eslab.store.port import Transaction
from eslab.subscriptions import Batch, BatchReport, DeadLetters, ErrorPolicy, Retry
from eslab.subscriptions.delivery import Parked
from eslab.subscriptions.subscription import Mode
from eslab.subscriptions.turnstile import Turnstile

__all__ = ["HEARTBEAT", "Pause", "ProjectionRunner"]

HEARTBEAT: Final = WINDOW / 5
"""How often a projection that is blocked, or tries again, notes that it is there: a verdict on its
lag, which looks a window back, finds several."""

TROUBLE: Final = Retry(limit=7, first=timedelta(milliseconds=10))
"""For what is no event's fault: two transactions that changed one table, a full disk."""

log = logging.getLogger(__name__)

Observer = Callable[[BatchReport], None]


@dataclass(frozen=True, slots=True)
class Pause:
    """A time in which somebody let a projection do nothing; `until` is None if it goes on."""

    since: datetime
    until: datetime | None = None


class ProjectionRunner:
    """Reads behind a projection's checkpoint, and applies what it reads.

    Args:
        store: the log, and the place of the read model.
        projection: what to keep up to date.
        registry: which class stands for which type; the projection's are registered in it.
        observers: are told of every batch, and of every one that failed.
        checkpoint: of the read model; by default of the one that is read.
    """

    def __init__(
        self,
        store: ProjectionStore,
        projection: AnyProjection,
        registry: EventRegistry,
        *,
        observers: Iterable[Observer] = (),
        checkpoint: Checkpoint | None = None,
    ) -> None:
        shapes = projection.tables_of(store, registry)
        for table in shapes:
            registry.claim_table(table, f"the projection {projection.name!r}")
        for event in projection.event_classes.values():
            registry.register(event)
        self.checkpoint = checkpoint = checkpoint or Checkpoint.of(projection, shapes)
        self.store = store
        self.registry = registry
        self.projection = projection
        self.name = checkpoint.name
        self.error: ProjectionError | None = None
        self.pauses: list[Pause] = []
        self.retired = False
        self.lock = Turnstile()
        self.rebuilding = Turnstile()
        self._policy = ErrorPolicy.of(projection.on_error)
        self._observers = observers
        self._applier = projection.applier(store, registry, checkpoint.tables)
        self.letters = DeadLetters(
            store, self.name, redeliver=self._redeliver, owner=projection.name, lock=self.lock
        )
        self._appointment: object = None  # what is scheduled on a virtual clock
        self._position = 0
        self._sure = False  # not while a batch is applied, and after one that failed
        self._replayed = 0  # what was applied once, before a reset
        self._tries = 0
        self._again_at: datetime | None = None
        self._noted_at: datetime | None = None
        self._prepare()

    def _prepare(self) -> None:
        """Make the read model, if it is not there."""
        shapes = self.projection.tables_of(self.store, self.registry)
        with self.store.transaction() as transaction:
            if self.checkpoint.prepare(transaction, shapes):
                self._applier.begin(transaction)
        self._remember()

    def _remember(self) -> None:
        """Read again what the database knows; the rows in memory may be those of a rollback."""
        self._applier.forget()
        self.letters.forget()
        with self.store.transaction() as transaction:
            position = self.checkpoint.position(transaction)
            self._replayed = self.checkpoint.highest(transaction)
        self._position, self._sure = position, True

    # How it is.

    @property
    def position(self) -> int:
        """The last position that the read model holds, as far as is known."""
        # Whoever holds the lock applies a batch, and that may take long.
        if not self._sure and self.lock.acquire(timeout=0):
            try:
                self._remember()
            finally:
                self.lock.release()
        return self._position

    @property
    def paused(self) -> bool:
        """Whether somebody paused it, and nobody resumed it."""
        return bool(self.pauses) and self.pauses[-1].until is None

    @property
    def active(self) -> bool:
        """Whether it goes on by itself: it is not paused, blocked, or stopped by an error."""
        return not (self.retired or self.paused) and self.error is None and not self.blocked

    @property
    def blocked(self) -> bool:
        """Whether there are as many dead letters as there may be."""
        return len(self.letters) >= self._policy.limit

    @property
    def retrying(self) -> bool:
        """Whether a batch failed, and is tried again."""
        return self._again_at is not None and self.error is None

    def due_in(self) -> float | None:
        """Return in how many seconds a batch is tried again; None if none is."""
        if self._again_at is None or not self.active:
            return None
        return max(0.0, (self._again_at - self.store.clock.now()).total_seconds())

    # Work.

    def begin(self) -> None:
        """Take note that a run begins."""
        self.note()

    def forget(self) -> None:
        """Take note that nothing is scheduled any more."""
        self._appointment = None

    def step(self) -> bool:
        """Apply one batch, if there is one, and say whether there was.

        Raises:
            ProjectionError: it stopped; the batch left no trace.
        """
        with self.lock:
            if not self.active or self.due_in():
                return False
            now = self.store.clock.now()
            batch = self._next(now)
            if batch is None:
                return False
            self._apply(batch, now)
            return True

    def wake(self, scheduler: Scheduler) -> None:
        """Schedule the next batch on a virtual clock, where it takes the time that it costs."""
        if self._appointment is not None or not self.active:
            return

        def begin() -> None:
            since = self.store.clock.now()
            with self.lock:
                batch = self._next(since) if self.active else None
            if batch is not None:
                cost = self.projection.cost.of(len(batch))
                self._schedule(scheduler, cost, lambda: commit(batch, since))
            elif self.retrying:
                self.wake(scheduler)

        def commit(batch: Batch, since: datetime) -> None:
            with self.lock:
                if self.active and self.position == batch.after:
                    self._apply(batch, since)
            self.wake(scheduler)

        self._schedule(scheduler, timedelta(seconds=self.due_in() or 0), begin)

    def _schedule(self, scheduler: Scheduler, delay: timedelta, work: Callable[[], None]) -> None:
        """Schedule work, which is not done if something else is scheduled before, or forgotten."""
        appointment = self._appointment = object()

        def keep() -> None:
            if self._appointment is appointment:
                self._appointment = None
                work()

        scheduler.after(delay, keep)

    def crashed(self, error: BaseException) -> None:
        """Take note that its thread ended by what it raised, which was no error of eslab's."""
        self.error = ProjectionError(
            f"projection {self.name!r} stopped, and its thread ended, by {error!r:.200}: mend what "
            f"raised it, and project it again"
        )

    def note(self) -> float | None:
        """Note in the log of checkpoints, now and then, that it is there, though it does not move.

        It does so while it is blocked or tries again, so that it is not taken for one that died.

        Returns:
            In how many seconds it wants to be asked again; None if it got on, or rests.
        """
        now = self.store.clock.now()
        with self.lock:
            stands = self.retrying or (self.blocked and self.error is None)
            if not stands or self.paused:
                return None
            if self._noted_at is None or now - self._noted_at >= HEARTBEAT:
                self._noted_at = now
                self._beat(now)
            return (self._noted_at + HEARTBEAT - now).total_seconds()

    def _beat(self, now: datetime) -> None:
        try:
            at = self.position
            with self.store.transaction() as transaction:
                beat = BatchReport(self.name, at, at, 0, now, now, "live")
                self.checkpoint.log(transaction, beat)
        except StoreClosedError:
            raise
        except StoreError:  # what it tries again may fail for the same reason
            log.exception("%s cannot note that it is there", self.name)

    def _next(self, since: datetime) -> Batch | None:
        """Return the next batch; None also if it cannot be read, and that is tried again."""
        try:
            return self._read()
        except StoreClosedError:
            raise
        except StoreError as error:
            self._wait_out(error, since)
        except ProjectionError as error:  # the read model is another one's, or is gone
            self._stop(error)
        return None

    def _read(self, until: int | None = None) -> Batch | None:
        """Return the next batch: of what was applied once, or of what was not, never of both."""
        after = self.position
        if after < self._replayed:
            until = self._replayed if until is None else min(until, self._replayed)
        return self._applier.read(after, until=until)

    def _apply(self, batch: Batch, since: datetime) -> None:
        try:
            self._attempt(batch, since)
        except StoreClosedError:
            raise
        except StoreError as error:
            self._wait_out(error, since, batch)

    def _attempt(self, batch: Batch, since: datetime, *, again: bool = False) -> None:
        """Apply a batch; if one of its events fails, what is before it, or answer to that."""
        try:
            self._commit(batch, since)
        except NotReadError:
            if again:  # reading did not help, and would not for ever
                raise
            anew = self._read(until=batch.scanned)
            assert anew is not None
            self._attempt(anew, since, again=True)
        except EventFailedError as error:
            before = self._read(until=error.position - 1)
            if before:
                self._attempt(before, since)
            else:
                self._answer(error, since)
        except BatchFailedError:
            before = self._read(until=(batch.after + batch.scanned) // 2)
            assert before is not None
            self._attempt(before, since)

    def _commit(self, batch: Batch, since: datetime, *parked: Parked) -> None:
        """Apply a batch, but for what is parked, with it or behind a letter, or was discarded."""
        self._sure = False  # until the commit has returned
        kept, behind = self._sorted(batch, [letter.position for letter in parked])
        room = self._policy.limit - len(self.letters) - len(parked)
        if len(behind) > room:
            fits = self._read(until=behind[room].position - 1)
            assert fits is not None
            self._commit(fits, since, *parked)
            return
        with self.store.transaction() as transaction:
            self._applier.apply(transaction, kept)
            if self.retired:  # since this batch was begun: it is for the one in its place
                raise ProjectionError(f"the projection {self.name!r} was projected anew meanwhile")
            self.letters.park(transaction, [*parked, *behind])
            report = self._reported(batch, since)
            self.checkpoint.move(transaction, report)
        if parked or behind:
            self.letters.forget()
        self._position, self._sure = batch.scanned, True
        self._tries, self._again_at, self._noted_at = 0, None, None
        self._tell(report)

    def _sorted(self, batch: Batch, parked: list[int]) -> tuple[Batch, list[Parked]]:
        sequences, discarded = self.letters.sequences, self.letters.discarded
        if not (sequences or discarded or parked):
            return batch, []
        behind, kept = [], []
        placed = zip(batch.positions, batch.stream_ids, strict=True)
        for place, (position, stream_id) in enumerate(placed):
            if position in discarded or position in parked:
                continue
            if sequences[stream_id]:
                behind.append(Parked(stream_id, position))
            else:
                kept.append(place)
        return batch.take(kept), behind

    def _mode(self, batch: Batch) -> Mode:
        if batch.scanned <= self._replayed:
            return "replay"
        return "live" if batch.scanned == batch.head else "catch-up"

    # What fails.

    def _answer(self, error: EventFailedError, since: datetime) -> None:
        """Do about the event behind the checkpoint what the policy says."""
        self._tries += 1
        batch = self._read(until=error.position)
        assert batch is not None
        self._tell(self._reported(batch, since, error.reason))
        cause = error.__cause__
        try:
            answer = self._policy.answer(
                cause if isinstance(cause, Exception) else error, self._tries
            )
        except InputError as wrong:
            self._stop(ProjectionError(f"{error}; and of what is done about it: {wrong}"), wrong)
        if answer == "stop":
            self._stop(error)
        elif answer == "retry":
            self._try_again(self._policy.retry, error.position)
        else:
            (stream_id,) = batch.stream_ids
            self._commit(batch, since, Parked(stream_id, error.position, error.reason, self._tries))

    def _wait_out(self, error: StoreError, since: datetime, batch: Batch | None = None) -> None:
        """Try again what failed by no fault of a batch; stop when that goes on."""
        self._tries += 1
        if batch is not None:
            self._tell(self._reported(batch, since, str(error)))
        if self._tries <= TROUBLE.limit:
            self._try_again(TROUBLE, self._position)
            return
        failure = ProjectionError(
            f"projection {self.name!r} stopped in the batch behind position {self._position}, "
            f"which failed {self._tries} times: {error}; its read model is as it was before the "
            f"batch"
        )
        self._stop(failure, error)

    def _try_again(self, retry: Retry, position: int) -> None:
        wait = retry.wait(f"{self.name} {position}", self._tries)
        assert wait is not None
        self._again_at = self.store.clock.now() + wait
        self.note()

    def _stop(self, error: ProjectionError, cause: EslabError | None = None) -> NoReturn:
        self.error = error
        raise error from cause or error.__cause__

    def _redeliver(self, transaction: Transaction, event: RecordedEvent) -> None:
        """Apply an event that was parked, in a transaction of its dead letter."""
        position = event.position
        batch = Batch([[event]], position - 1, position, position)
        self._applier.forget()  # what the rows in memory hold may not have been stored
        try:
            self.checkpoint.position(transaction)  # nobody else makes this read model
            self._applier.apply(transaction, batch)
        finally:
            self._sure = False

    def _reported(self, batch: Batch, since: datetime, error: str | None = None) -> BatchReport:
        return BatchReport(
            self.name,
            batch.after,
            batch.scanned,
            len(batch),
            since,
            self.store.clock.now(),
            self._mode(batch),
            self._tries + (error is None),
            error,
        )

    def _tell(self, report: BatchReport) -> None:
        for observer in tuple(self._observers):
            try:
                observer(report)
            except Exception:  # whoever looks on never holds anybody up
                log.exception("an observer of %s failed", self.name)

    # What a person asks for.

    def pause(self) -> None:
        """Let it stop after its current batch, which is not waited for."""
        if not self.paused:
            self.pauses.append(Pause(self.store.clock.now()))

    def resume(self) -> None:
        """Let it go on from its checkpoint, at once, whatever kept it."""
        with self.lock:
            if self.paused:
                self.pauses[-1] = Pause(self.pauses[-1].since, self.store.clock.now())
            self._go_on()

    def _go_on(self) -> None:
        if self._again_at is not None:
            self.forget()  # when it was to be tried again
        self.error, self._again_at, self._tries = None, None, 0

    def retire(self) -> None:
        """Let it never work again, nor its dead letters be changed: another one has its place."""
        self.retired = True
        self.letters.retire()

    def replaced_by(self, other: ProjectionRunner) -> None:
        """Put a read model that was made beside this one in its place, at its checkpoint."""
        if other.projection is not self.projection:
            raise InputError(f"{other.name} is the read model of another projection")
        if self.retired:
            raise ProjectionError(
                f"the projection {self.name!r} was projected anew, and was rebuilt in vain: "
                f"rebuild it again"
            )
        with self.lock:
            self._sure = False
            now = self.store.clock.now()
            with self.store.transaction() as transaction:
                self.checkpoint.take_over(transaction, other.checkpoint, at=now)
                self.letters.take_over(transaction, other.name)
            self._go_on()
            self._remember()
