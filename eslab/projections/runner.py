"""What moves a projection along: a batch, its rows and its checkpoint in one transaction."""

from __future__ import annotations

from datetime import datetime, timedelta

from eslab.clock import Scheduler
from eslab.errors import ProjectionError, StoreClosedError, StoreError
from eslab.projections.base import AnyProjection, ProjectionStore
from eslab.schema import EventRegistry
from eslab.store.port import Transaction
from eslab.subscriptions import Batch

__all__ = ["ProjectionRunner"]


class ProjectionRunner:
    """Reads behind a projection's checkpoint, and applies what it reads.

    Args:
        store: the log, and the place of the read model.
        projection: what to keep up to date.
        registry: which class stands for which type; the projection's are registered in it.
    """

    def __init__(
        self, store: ProjectionStore, projection: AnyProjection, registry: EventRegistry
    ) -> None:
        self.projection = projection
        self.error: ProjectionError | None = None
        self.paused = False
        self._scheduled = False
        self._checkpoint: int | None = None
        self._fingerprint = projection.fingerprint()
        self._store = store
        self._registry = registry
        tables = self._tables = projection.tables_of(store, registry)
        for table in tables:
            registry.claim_table(table, f"the projection {projection.name!r}")
        for event in projection.event_classes.values():
            registry.register(event)
        self._applier = projection.applier(
            store, registry, {table: f"rm.{table}" for table in tables}
        )
        self._prepare()

    @property
    def checkpoint(self) -> int:
        """The last position that the read model holds."""
        if self._checkpoint is None:
            # The rows in memory may be those of a batch that was rolled back.
            self._applier.forget()
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
        batch = self._applier.read(self.checkpoint)
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
            batch = self._applier.read(self.checkpoint) if self.active else None
            if batch is None:
                return
            started_at = self._store.clock.now()
            self._scheduled = True
            scheduler.after(self.projection.cost.of(len(batch)), lambda: commit(batch, started_at))

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
                self._applier.apply(transaction, batch)
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
                len(batch),
                started_at,
                self._store.clock.now(),
                mode,
            ],
        )

    def _prepare(self) -> None:
        """Make the read model, anew if the projection is not the one that made it."""
        name = self.projection.name
        with self._store.transaction() as transaction:
            held = transaction.execute(
                "select fingerprint from eslab.checkpoints where projection = ?", [name]
            )
            if held == [(self._fingerprint,)]:
                return
            for table, shape in self._tables.items():
                transaction.execute(f"drop table if exists rm.{table}")
                transaction.execute(shape.definition(f"rm.{table}"))
            transaction.execute("delete from eslab.checkpoints where projection = ?", [name])
            transaction.execute("delete from eslab.checkpoint_log where projection = ?", [name])
            transaction.execute(
                "insert into eslab.checkpoints values (?, 0, ?)", [name, self._fingerprint]
            )
