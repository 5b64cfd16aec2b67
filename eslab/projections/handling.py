"""From events to rows: the handlers of a projection over batches, and its rows in a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from operator import length_hint
from typing import TYPE_CHECKING, Any

from eslab.errors import EslabError, EventFailedError, InputError, ProjectionError
from eslab.events import Event, EventBatch
from eslab.garbage import garbage_kept
from eslab.projections.base import BatchFailedError
from eslab.projections.rows import Rows
from eslab.schema import EventRegistry
from eslab.store.port import EventStore, Transaction
from eslab.subscriptions import Batch, Part, Subscription

if TYPE_CHECKING:
    from eslab.projections.projection import Projection

__all__ = ["Handling", "RowsApplier"]


class Handling:
    """Decodes events, and lets the handlers of a projection change rows.

    Args:
        projection: whose handlers.
        registry: which class stands for which type.
    """

    def __init__(self, projection: Projection, registry: EventRegistry) -> None:
        self._projection = projection
        self._registry = registry
        self._methods = projection.methods

    def handle(self, part: Part, rows: Sequence[Rows[Any]]) -> None:
        """Handle events in their order.

        Raises:
            EventFailedError: one does not fit its class, or its handler failed.
        """
        with garbage_kept():  # until the events are gone again: it would walk over all of them
            self._handle(part, rows)

    def _handle(self, part: Part, rows: Sequence[Rows[Any]]) -> None:
        handle, methods = self._projection.handle, self._methods
        events = self.decoded(part)
        left = iter(events)
        try:
            if methods is not None:
                first = rows[0]
                for event in left:
                    methods[event.event_type](event, first)
            elif isinstance(part, EventBatch):
                for event in left:
                    handle(event, rows)
            else:
                for event, recorded in zip(left, part, strict=True):
                    handle(event, rows, recorded)
        except Exception as error:
            place = len(events) - length_hint(left) - 1
            raise self.failed(part, place, error) from error

    def decoded(self, part: Part) -> list[Event]:
        """Return events as instances of their classes.

        Raises:
            EventFailedError: one does not fit its class.
        """
        with garbage_kept():
            try:
                if isinstance(part, EventBatch):
                    return self._registry.decode_batch(part)
                return [self._registry.decode(recorded) for recorded in part]
            except EslabError:
                for place in range(len(part)):  # which one it is
                    try:
                        if isinstance(part, EventBatch):
                            self._registry.decode_batch(part.take([place]))
                        else:
                            self._registry.decode(part[place])
                    except EslabError as error:
                        raise self.failed(part, place, error) from error
                raise

    def failed(self, part: Part, place: int, error: Exception) -> EventFailedError:
        """Return the error that says which event of a part it is that failed, and why."""
        if isinstance(part, EventBatch):
            position, shown = part.positions[place], part.shown(place)
        else:
            position, shown = part[place].position, repr(part[place])
        return EventFailedError(self._projection.name, position, shown, error)


class RowsApplier:
    """Lets the handlers of a projection change the rows of its tables, a batch at a time.

    Args:
        projection: whose handlers.
        store: the log.
        registry: which class stands for which type.
        tables: what each table of the projection is called in SQL.
    """

    def __init__(
        self,
        projection: Projection,
        store: EventStore,
        registry: EventRegistry,
        tables: Mapping[str, str],
    ) -> None:
        self._projection = projection
        self._tables = tables
        self._handling = Handling(projection, registry)
        self._rows: list[Rows[Any]] = []
        self._subscription = Subscription(
            store,
            frozenset(projection.event_classes),
            size=projection.batch,
            category=projection.category,
            tags=projection.tags,
            columns=not projection.wants_recorded,
        )

    def begin(self, transaction: Transaction) -> None:
        """Make the rows that there are before the first event: none."""

    def bring_up(self) -> None:
        """Make complete what is read of the log: it always is."""

    def read(self, after: int, *, until: int | None = None) -> Batch | None:
        """Return the batch behind a checkpoint; None when there is nothing behind it."""
        return self._subscription.read(after, until=until)

    def apply(self, transaction: Transaction, batch: Batch) -> None:
        """Let the handlers change rows, and write those that changed.

        Raises:
            EventFailedError: an event does not fit its class, or its handler failed, or asked for a
                row, or left one, that cannot be stored.
            BatchFailedError: a handler did so for one of several events.
        """
        if not self._rows:
            named = self._projection.rows_of.items()
            self._rows = [Rows(row, self._tables[name]) for name, row in named]
        for rows in self._rows:
            rows.begin(transaction)
        try:
            self._look_ahead(batch)
        except InputError as error:
            raise self._failed(batch, error) from error
        for part in batch.parts:
            self._handling.handle(part, self._rows)
        try:
            for rows in self._rows:
                rows.flush()
        except ProjectionError as error:
            raise self._failed(batch, error) from error

    def _failed(self, batch: Batch, error: EslabError) -> ProjectionError:
        if len(batch) != 1:
            return BatchFailedError(str(error))
        (part,) = (part for part in batch.parts if part)
        return self._handling.failed(part, 0, error)

    def forget(self) -> None:
        """Forget the rows that are held: they may be those of a batch that was rolled back."""
        self._rows = []

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
                        self._projection.handle(event, scratch, recorded)
            missing = [tried.missing() for tried in scratch]
            for rows, keys in zip(self._rows, missing, strict=True):
                rows.load(keys)
            more = any(missing)
