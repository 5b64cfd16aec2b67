"""What moves a projection along: a batch, its rows and its checkpoint in one transaction."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Protocol

from eslab.clock import Scheduler
from eslab.errors import ProjectionError, StoreClosedError, StoreError
from eslab.events import RecordedEvent
from eslab.projections.projection import Projection, Rows
from eslab.schema import EventRegistry, columns_of
from eslab.store.port import EventStore, ReadModels, Transaction
from eslab.subscriptions import Batch, Subscription

__all__ = ["ProjectionRunner", "ProjectionStore"]


class ProjectionStore(EventStore, ReadModels, Protocol):
    """A store that keeps read models beside its log."""


class ProjectionRunner:
    """Reads behind a projection's checkpoint, and applies what it reads.

    Args:
        store: the log, and the place of the read model.
        projection: what to keep up to date.
        registry: which class stands for which type; the projection's are registered in it.
    """

    def __init__(
        self, store: ProjectionStore, projection: Projection, registry: EventRegistry
    ) -> None:
        self.projection = projection
        self.error: ProjectionError | None = None
        self.paused = False
        self._scheduled = False
        self._rows: Rows[Any] = Rows(projection)
        self._checkpoint: int | None = None
        self._fingerprint = projection.fingerprint()
        self._store = store
        self._registry = registry
        registry.claim_table(projection.name, f"the projection {projection.name!r}")
        for event in projection.event_classes.values():
            registry.register(event)
        types = frozenset(projection.event_classes)
        self._subscription = Subscription(store, types, size=projection.batch)
        self._prepare()

    @property
    def checkpoint(self) -> int:
        """The last position that the read model holds."""
        if self._checkpoint is None:
            # The rows in memory may be those of a batch that was rolled back.
            self._rows = Rows(self.projection)
            with self._store.transaction() as transaction:
                ((self._checkpoint,),) = transaction.execute(
                    "select position from eslab.checkpoints where projection = ?",
                    [self.projection.name],
                )
        return self._checkpoint

    def begin(self) -> None:
        """Take note that a run begins."""

    def forget(self) -> None:
        """Take note that nothing is scheduled any more."""
        self._scheduled = False

    def step(self) -> bool:
        """Apply one batch, if there is one, and say whether there was.

        Raises:
            ProjectionError: a handler failed; the batch left no trace.
        """
        if not self.active:
            return False
        batch = self._subscription.read(self.checkpoint)
        if batch is None:
            return False
        self._apply(batch, started_at=self._store.clock.now())
        return True

    def wake(self, scheduler: Scheduler) -> None:
        """Schedule the next batch on a virtual clock, where it takes the time that it costs."""
        if self._scheduled or not self.active:
            return
        self._scheduled = True

        def begin() -> None:
            self._scheduled = False
            batch = self._subscription.read(self.checkpoint) if self.active else None
            if batch is None:
                return
            started_at = self._store.clock.now()
            self._scheduled = True
            scheduler.after(
                self.projection.cost.of(len(batch.events)), lambda: commit(batch, started_at)
            )

        def commit(batch: Batch, started_at: datetime) -> None:
            self._scheduled = False
            if self.active:
                self._apply(batch, started_at=started_at)
                self.wake(scheduler)

        scheduler.after(timedelta(0), begin)

    @property
    def active(self) -> bool:
        """Whether it is neither paused nor stopped by an error."""
        return not self.paused and self.error is None

    def _apply(self, batch: Batch, *, started_at: datetime) -> None:
        self._checkpoint = None  # not known again until the commit has returned
        try:
            with self._store.transaction() as transaction:
                self._rows.begin(transaction)
                for recorded in batch.events:
                    self._handle(recorded, self._rows)
                self._rows.flush()
                self._move(transaction, batch, started_at)
        except ProjectionError as error:
            self.error = error
            raise
        except StoreClosedError:
            raise
        except StoreError as error:
            self.error = ProjectionError(
                f"projection {self.projection.name!r} stopped in the batch behind position "
                f"{batch.after}: {error}; its read model is as it was before the batch"
            )
            raise self.error from error
        self._checkpoint = batch.scanned

    def _handle(self, recorded: RecordedEvent, rows: Rows[Any]) -> None:
        handler = self.projection.handlers[recorded.type]
        try:
            handler(self.projection, self._registry.decode(recorded), rows, recorded)
        except Exception as error:
            raise ProjectionError(
                f"projection {self.projection.name!r} stopped at {recorded!r}: "
                f"{type(error).__name__}: {error}; its read model is as it was before the batch. "
                f"Mend the handler, and define and project it again"
            ) from error

    def _move(self, transaction: Transaction, batch: Batch, started_at: datetime) -> None:
        moved = transaction.execute(
            "update eslab.checkpoints set position = ? where projection = ? and position = ? "
            "and fingerprint = ? returning position",
            [
                batch.scanned,
                self.projection.name,
                batch.after,
                self._fingerprint,
            ],
        )
        if not moved:
            raise ProjectionError(
                f"the checkpoint of {self.projection.name!r} is no longer {batch.after}: another "
                f"runner moved it; this batch was not applied"
            )
        mode = "catch-up" if batch.scanned < batch.head else "live"
        transaction.execute(
            "insert into eslab.checkpoint_log values (?, ?, ?, ?, ?, ?, ?)",
            [
                self.projection.name,
                batch.after,
                batch.scanned,
                len(batch.events),
                started_at,
                self._store.clock.now(),
                mode,
            ],
        )

    def _prepare(self) -> None:
        """Make the read model, anew if the projection is not the one that made it."""
        name, table = self.projection.name, self.projection.table
        with self._store.transaction() as transaction:
            held = transaction.execute(
                "select fingerprint from eslab.checkpoints where projection = ?", [name]
            )
            if held == [(self._fingerprint,)]:
                return
            columns = [f'"{name}" {kind}' for name, kind in columns_of(self.projection.row).items()]
            key = ", ".join(f'"{name}"' for name in self.projection.row.key_fields)
            transaction.execute(f"drop table if exists {table}")
            transaction.execute(f"create table {table} ({', '.join(columns)}, primary key ({key}))")
            transaction.execute("delete from eslab.checkpoints where projection = ?", [name])
            transaction.execute("delete from eslab.checkpoint_log where projection = ?", [name])
            transaction.execute(
                "insert into eslab.checkpoints values (?, 0, ?)", [name, self._fingerprint]
            )
