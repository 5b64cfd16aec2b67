"""What moves a projection along: a batch, its rows and its checkpoint in one transaction."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol

from eslab.clock import Scheduler
from eslab.errors import ProjectionError, StoreClosedError, StoreError
from eslab.events import EventBatch
from eslab.projections.folding import Handling
from eslab.projections.projection import Projection
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
        self._rows = projection.new_rows()
        self._handling = Handling(projection, registry)
        self._checkpoint: int | None = None
        self._fingerprint = projection.fingerprint()
        self._store = store
        self._registry = registry
        for table in projection.rows_of:
            registry.claim_table(table, f"the projection {projection.name!r}")
        for event in projection.event_classes.values():
            registry.register(event)
        self._subscription = Subscription(
            store,
            frozenset(projection.event_classes),
            size=projection.batch,
            category=projection.category,
            tags=projection.tags,
            columns=not projection.wants_recorded,
        )
        self._prepare()

    @property
    def checkpoint(self) -> int:
        """The last position that the read model holds."""
        if self._checkpoint is None:
            # The rows in memory may be those of a batch that was rolled back.
            self._rows = self.projection.new_rows()
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
                for rows in self._rows:
                    rows.begin(transaction)
                self._look_ahead(batch)
                for part in batch.parts:
                    self._handling.handle(part, self._rows)
                for rows in self._rows:
                    rows.flush()
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

    def _look_ahead(self, batch: Batch) -> None:
        """Read the rows at once that a batch needs, of tables that are too large to be held.

        Handlers change nothing but rows: so they are tried on copies, to see which they ask for;
        and again with these, because which they ask for may follow from what is in others.
        """
        more = not all(rows.whole for rows in self._rows)
        while more:
            scratch = [rows.scratch() for rows in self._rows]
            for part in batch.parts:
                for place, event in enumerate(self._handling.decoded(part)):
                    recorded = None if isinstance(part, EventBatch) else part[place]
                    with suppress(Exception):  # it may need what is not read yet
                        self.projection.handle(event, scratch, recorded)
            missing = [tried.missing() for tried in scratch]
            for rows, keys in zip(self._rows, missing, strict=True):
                rows.load(keys)
            more = any(missing)

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
            for table, row in self.projection.rows_of.items():
                columns = [f'"{field}" {kind}' for field, kind in columns_of(row).items()]
                key = ", ".join(f'"{field}"' for field in row.key_fields)
                shape = f"{', '.join(columns)}, primary key ({key})"
                transaction.execute(f"drop table if exists rm.{table}")
                transaction.execute(f"create table rm.{table} ({shape})")
            transaction.execute("delete from eslab.checkpoints where projection = ?", [name])
            transaction.execute("delete from eslab.checkpoint_log where projection = ?", [name])
            transaction.execute(
                "insert into eslab.checkpoints values (?, 0, ?)", [name, self._fingerprint]
            )
