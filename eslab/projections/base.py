"""What every projection is, whatever makes its rows: a name, the events it wants, its tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, NamedTuple, Protocol

from eslab.errors import InputError, ProjectionError
from eslab.events import Event
from eslab.schema import EventRegistry
from eslab.schema.naming import SYSTEM_TABLES
from eslab.store.port import EventStore, ReadModels, Transaction
from eslab.subscriptions import Batch, ErrorPolicy

__all__ = [
    "AnyProjection",
    "Applier",
    "BatchFailedError",
    "Cost",
    "NotReadError",
    "ProjectionStore",
    "Table",
    "beside",
    "require_filters",
    "require_table_name",
]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a projection's work costs on a virtual clock."""

    batch: timedelta = timedelta(milliseconds=1)
    event: timedelta = timedelta(microseconds=10)

    def of(self, events: int) -> timedelta:
        """Return the cost of one batch with this many events."""
        return self.batch + events * self.event


class Table(NamedTuple):
    """The shape of a table of a read model.

    Attributes:
        columns: the type of each column, in SQL.
        key: the columns that identify a row.
    """

    columns: Mapping[str, str]
    key: tuple[str, ...]

    def definition(self, name: str) -> str:
        """Return the statement that makes it, under a name."""
        columns = [f'"{column}" {kind}' for column, kind in self.columns.items()]
        if self.key:
            key = ", ".join(f'"{column}"' for column in self.key)
            columns.append(f"primary key ({key})")
        return f"create table {name} ({', '.join(columns)})"


def beside(table: str, suffix: str) -> str:
    """Return what a table that is made beside another one is called, both as they stand in SQL.

    Example:
        >>> beside('rm."orders"', "~shadow")
        'rm."orders~shadow"'
    """
    return f'{table[:-1]}{suffix}"'


class ProjectionStore(EventStore, ReadModels, Protocol):
    """A store that keeps read models beside its log."""


class BatchFailedError(ProjectionError):
    """A batch cannot be applied, because of one of its events: smaller ones say which it is."""


class NotReadError(ProjectionError):
    """A batch cannot be applied as it was read: read again, it may be."""


class Applier(Protocol):
    """Reads the events that a projection wants, and applies them to the tables of a read model."""

    def begin(self, transaction: Transaction) -> None:
        """Make the rows that there are before the first event, in tables that are empty."""
        ...

    def bring_up(self) -> None:
        """Make complete, up to the head, what is read of the log in a transaction that begins now.

        For whoever applies several batches in one transaction, and none twice.
        """
        ...

    def read(self, after: int, *, until: int | None = None) -> Batch | None:
        """Return the batch behind a checkpoint; None when there is nothing behind it.

        Args:
            after: the checkpoint.
            until: the last position that it may lead to; by default the head of the log.
        """
        ...

    def apply(self, transaction: Transaction, batch: Batch) -> None:
        """Change the tables by what happened in a batch.

        Raises:
            EventFailedError: one event of it is the reason why that cannot be done.
            BatchFailedError: one of several events is the reason.
            NotReadError: it is to be read again.
        """
        ...

    def forget(self) -> None:
        """Forget the rows that it holds: they may be those of a batch that was rolled back."""
        ...


class AnyProjection(ABC):
    """Keeps a read model up to date: by handlers in Python (`Projection`), or in SQL.

    Class attributes:
        name: of the projection.
        category: only events in streams of this category.
        tags: only events that have all of these tags.
        batch: events handled in one transaction, at most.
        cost: what the work costs on a virtual clock.
        on_error: what is done about an event that cannot be handled: ``"stop"``, ``"retry"``,
            ``"dead-letter"`` or an `eslab.subscriptions.ErrorPolicy`.
        event_classes: the classes of the events that it wants, by the names of their types.
    """

    name: ClassVar[str]
    category: ClassVar[str | None] = None
    tags: ClassVar[tuple[str, ...]] = ()
    batch: ClassVar[int] = 1_000
    cost: ClassVar[Cost] = Cost()
    on_error: ClassVar[ErrorPolicy | str] = "stop"
    event_classes: ClassVar[dict[str, type[Event]]]

    @abstractmethod
    def tables_of(self, store: ProjectionStore, registry: EventRegistry) -> dict[str, Table]:
        """Return the shapes of its tables, by their names.

        Args:
            store: knows the columns of a query.
            registry: its events are registered in it.

        Raises:
            ProjectionError: there can be no such tables.
        """

    @classmethod
    @abstractmethod
    def fingerprint(cls) -> str:
        """Return what changes when its rows, or what makes them of events, change."""

    @abstractmethod
    def applier(
        self, store: ProjectionStore, registry: EventRegistry, tables: Mapping[str, str]
    ) -> Applier:
        """Return what applies events to its tables.

        Args:
            store: the log, and the place of the read model.
            registry: which class stands for which type.
            tables: what each of its tables is called in SQL; a rebuild has others.
        """


def require_table_name(name: Any, where: str) -> None:
    """Check that a read model may be called that.

    Raises:
        ProjectionError: it may not.
    """
    if not (isinstance(name, str) and name.isidentifier()):
        raise ProjectionError(f"{where}: {name!r} cannot be a table's name")
    if name != name.lower() or name in SYSTEM_TABLES:
        # SQL does not tell capitals, and finds the tables of the log before a read model.
        raise ProjectionError(
            f"{where}: the name {name!r} must be in small letters, and none of: "
            f"{', '.join(sorted(SYSTEM_TABLES))}"
        )


def require_filters(cls: type[AnyProjection]) -> None:
    """Check batch size, error policy, category and tags of a projection, and bring them to form.

    Raises:
        ProjectionError: one cannot be used.
    """
    where = cls.__qualname__
    if isinstance(cls.batch, bool) or not isinstance(cls.batch, int) or cls.batch < 1:
        raise ProjectionError(f"{where}: batch is a number from 1, not {cls.batch!r}")
    try:
        cls.on_error = ErrorPolicy.of(cls.on_error)
    except InputError as error:
        raise ProjectionError(f"{where}: on_error: {error}") from None
    if isinstance(cls.tags, str):
        cls.tags = (cls.tags,)
    if not isinstance(cls.tags, (tuple, list)) or not all(isinstance(t, str) for t in cls.tags):
        raise ProjectionError(f"{where}: tags are texts in a tuple, not {cls.tags!r}")
    cls.tags = tuple(cls.tags)
    if cls.category is not None and (not isinstance(cls.category, str) or "-" in cls.category):
        raise ProjectionError(
            f"{where}: a category is the part of a stream id before the first '-', not "
            f"{cls.category!r}"
        )
