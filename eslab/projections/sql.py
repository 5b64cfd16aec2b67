"""A projection in SQL: a query over the tables of events, and a rule for each column of its result.

A batch is a part of the log. The query is run over the events of that part alone, and its result is
merged into the read model, by the rules, in one statement. A query that cannot be merged is run
over all events up to the end of the batch, into a shadow table that takes the place of the old one.

A few recent events are merged right from the log, since to bring up the tables of their types would
take half of the time of such a step. Unless SQL can prove all of their rows the tables are used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar

from eslab.errors import (
    EventFailedError,
    InputError,
    ProjectionError,
    SchemaError,
    StoreError,
)
from eslab.events import Event
from eslab.projections.base import (
    AnyProjection,
    Applier,
    BatchFailedError,
    NotReadError,
    ProjectionStore,
    Table,
    beside,
    require_filters,
    require_table_name,
)
from eslab.projections.plan import MERGED, RECOMPUTE, SqlPlan, sql_plan
from eslab.projections.windows import Window
from eslab.schema import EventRegistry, canonical_json, snake_case
from eslab.schema.code import decoding_code
from eslab.schema.json_schema import json_schema
from eslab.schema.naming import texts
from eslab.schema.upcasting import upcasters_text
from eslab.store.port import Recent, Transaction
from eslab.subscriptions import Batch, ErrorPolicy

__all__ = ["SqlProjection"]


class SqlProjection(AnyProjection):
    """Keeps a read model up to date by a query over the tables of events.

    The read model is the table ``rm.<name>``, with the columns of the query. Each column that is
    not in the key has a rule, by which the query's result for new events is merged into the table:

    - ``"sum"`` of a ``sum()`` or a count; ``"count"`` of a count; ``"min"`` and ``"max"``;
    - ``"first"`` of an ``arg_min(value, position)``, ``"last"`` of an ``arg_max(value, position)``;
    - ``"recompute"``: of anything. The whole query is then run over all events for each batch, as
      it is without any rules.

    A merged query is one ``select ... group by`` its key over one table, or over several by
    ``union all``; what else would give other rows batch by batch is refused when it is projected,
    as is what gives something else each time, such as ``now()``, and a sum of floats, whose last
    digits depend on the order. Integers and decimals are summed: ``sum(price::decimal(18, 2))``.
    A whole number that is summed is a ``bigint``.

    Errors stop it: an event that does not fit its class does so at that event.

    Class attributes:
        name: of the projection, and of its table; by default the class's name in snake case.
        key: the column, or columns, of the query that identify a row.
        query: one SELECT. It reads the tables of `events`, and the view ``events`` of them as
            JSON, as they were stored, without upcasters.
        merge: the rule of each column that is not in the key; by default the query is recomputed.
        events: the classes of the events that it reads.
        category: only events in streams of this category.
        tags: only events that have all of these tags.
        batch: positions in one transaction, at most.
        cost: what the work costs on a virtual clock.

    Example:
        >>> import eslab
        >>> class OrderPlaced(eslab.Event):
        ...     customer: str
        ...     amount: int
        >>> class Revenue(SqlProjection):
        ...     key = "customer"
        ...     query = "select customer, sum(amount) as total from order_placed group by customer"
        ...     merge = {"total": "sum"}
        ...     events = (OrderPlaced,)
        >>> with eslab.Lab(seed=7) as lab:
        ...     lab.project(Revenue())
        ...     _ = lab.append("order-1", [OrderPlaced(customer="Ann", amount=30)])
        ...     lab.run()
        ...     _ = lab.append("order-2", [OrderPlaced(customer="Ann", amount=12)])
        ...     lab.run()
        ...     lab.sql("from revenue").fetchall()
        [('Ann', 42)]
    """

    key: ClassVar[str | tuple[str, ...]]
    query: ClassVar[str]
    merge: ClassVar[Mapping[str, str] | str] = RECOMPUTE
    events: ClassVar[tuple[type[Event], ...]]
    batch: ClassVar[int] = 10_000_000

    key_columns: ClassVar[tuple[str, ...]]
    rules: ClassVar[Mapping[str, str] | None]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        where = cls.__qualname__
        if "name" not in vars(cls):
            cls.name = snake_case(cls.__name__)
        require_table_name(cls.name, where)
        require_filters(cls)
        if cls.on_error != ErrorPolicy("stop"):
            raise ProjectionError(
                f"{where}: an error of a projection in SQL stops it, because its events are merged "
                f"many at once: leave on_error out, or handle the events in Python (Projection)"
            )
        cls.query = _query(cls, where)
        cls.key_columns = _key(cls, where)
        cls.rules = _rules(cls, where)
        cls.event_classes = _event_classes(cls, where)

    def __init__(self) -> None:
        self._plan: SqlPlan | None = None

    @classmethod
    def fingerprint(cls) -> str:
        """Return what changes when the query, the rules, or a class of its events change."""
        parts = [cls.category or "", *sorted(cls.tags), cls.query, *cls.key_columns]
        parts.append(RECOMPUTE if cls.rules is None else canonical_json(dict(cls.rules)))
        for type_name, event in sorted(cls.event_classes.items()):
            parts += [type_name, str(event.schema_version), canonical_json(json_schema(event))]
            parts += [*decoding_code(event), *upcasters_text(event)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def tables_of(self, store: ProjectionStore, registry: EventRegistry) -> dict[str, Table]:
        """Return the shape of its table, under its name.

        Raises:
            ProjectionError: its query cannot be that of a projection.
        """
        return {self.name: self.plan(store, registry).table}

    def applier(
        self, store: ProjectionStore, registry: EventRegistry, tables: Mapping[str, str]
    ) -> Applier:
        """Return what runs its query, and merges the result into its table."""
        return SqlApplier(self, self.plan(store, registry), store, tables[self.name])

    def plan(self, store: ProjectionStore, registry: EventRegistry) -> SqlPlan:
        """Return its query, checked, with the columns of the result.

        Raises:
            ProjectionError: it cannot be that of a projection.
        """
        for event in self.event_classes.values():
            registry.register(event)
        if self._plan is None:
            self._plan = sql_plan(self, store)
        return self._plan

    def window(self, *, after: int = 0, until: int | None = None) -> Window:
        """Return the events that it wants of a part of the log."""
        types = tuple(sorted(self.event_classes))
        return Window(types, after, until, category=self.category, tags=self.tags)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {', '.join(sorted(self.event_classes))}>"


class SqlApplier:
    """Runs a query over batches of events, and merges the results into a table.

    Args:
        projection: whose query.
        plan: the query.
        store: the log.
        table: what its table is called in SQL.
    """

    def __init__(
        self, projection: SqlProjection, plan: SqlPlan, store: ProjectionStore, table: str
    ) -> None:
        self._projection = projection
        self._plan = plan
        self._store = store
        self._table = table
        self._by_tables = 0  # up to here the tables of its events are to be read, not the log
        # Of any batch, whose bounds are parameters: that way DuckDB parses them once.
        self._batch = batch = projection.window().of_parameters()
        self._misfit = f"select min(position) {batch.misfits(plan.types)}"
        self._rows = plan.result(batch)
        self._merge = plan.merge_into(table, batch) if plan.rules is not None else None

    def begin(self, transaction: Transaction) -> None:
        """Make the rows that the query gives of no event: a ``count(*)`` of all is 0, say."""
        try:
            transaction.execute(f"insert into {self._table} {self._plan.nothing}")
        except InputError as error:
            raise ProjectionError(
                f"{type(self._projection).__qualname__}: what its query makes of no event cannot "
                f"be stored: {error}; a key is never NULL: group by it"
            ) from error

    def bring_up(self) -> None:
        """Bring the tables of its events up to the head, and read them from there on."""
        self._by_tables = self._store.refresh(self._plan.types)

    def read(self, after: int, *, until: int | None = None) -> Batch | None:
        """Return the batch behind a checkpoint, counted; None when there is nothing behind it."""
        head, end = self._store.head(), after + self._projection.batch
        end = end if until is None else min(until, end)
        last = min(head, end)
        if last <= after:
            return None
        if self._recent(after, last) is None:
            self.bring_up()
            head = self._by_tables
            last = min(head, end)
        found = self._store.counts(
            self._projection.event_classes,
            after=after,
            until=last,
            category=self._projection.category,
            tags=self._projection.tags,
        )
        return Batch([], after, last, head, counted=sum(found.values()))

    def apply(self, transaction: Transaction, batch: Batch) -> None:
        """Merge what happened in a batch into the table, or compute the table anew.

        Raises:
            EventFailedError: an event does not fit its class, or what the query makes of it
                cannot be stored.
            BatchFailedError: what the query makes of one of several events cannot be.
            NotReadError: the tables of its events are needed, and `read` brings them up.
        """
        recent = self._recent(batch.after, batch.scanned)
        if recent is not None:
            self._merge_recent(transaction, batch, recent)
            return
        if self._plan.types:
            self._require_typed(transaction, batch)
        if len(batch) == 0:
            return
        try:
            if self._merge is None:
                self._recompute(transaction, batch.scanned)
            else:
                transaction.execute(self._merge, [batch.after, batch.scanned])
        except InputError as error:
            raise self._failed(batch, error) from error

    def forget(self) -> None:
        """Forget the rows that are held: there are none."""

    def _recent(self, after: int, until: int) -> Recent | None:
        """Return how SQL sees the events of a batch, if they are a few recent ones."""
        if self._merge is None or until <= self._by_tables:
            return None
        return self._store.recent(self._plan.types, after=after, until=until)

    def _merge_recent(self, transaction: Transaction, batch: Batch, recent: Recent) -> None:
        """Merge what a few events make, right from the log.

        Whatever fails here is tried by their tables, where it has its reason.
        """
        if len(batch) == 0:
            return
        statement = self._plan.merge_recent(self._table, self._batch, recent.queries)
        values = [batch.after, batch.scanned, recent.streams, recent.events]
        try:
            transaction.execute(statement, values)
        except (InputError, StoreError) as error:
            raise self._not_read(batch, str(error)) from error

    def _not_read(self, batch: Batch, reason: str) -> NotReadError:
        self._by_tables = max(self._by_tables, batch.scanned)
        return NotReadError(f"projection {self._projection.name!r}: {reason}")

    def _recompute(self, transaction: Transaction, until: int) -> None:
        """Make the table anew, beside the old one, and let it take its place."""
        shadow = beside(self._table, "~shadow")
        transaction.execute(self._plan.table.definition(shadow))
        transaction.execute(f"insert into {shadow} {self._rows}", [0, until])
        transaction.execute(f"drop table {self._table}")
        transaction.execute(f"alter table {shadow} rename to {self._table.removeprefix('rm.')}")

    def _require_typed(self, transaction: Transaction, batch: Batch) -> None:
        """Check that each event of a batch is a row of its table."""
        ((reached, position),) = transaction.execute(
            f"select (select min(position) from eslab.typed_tables "
            f"where type in ({texts(self._plan.types)})), ({self._misfit})",
            [batch.after, batch.scanned],
        )
        if reached is None or reached < batch.scanned:
            raise self._not_read(
                batch,
                f"the tables of its events reach position {reached}, and the batch "
                f"{batch.scanned}: apply what read() of this applier gave",
            )
        if position is None:
            return
        ((reason,),) = transaction.execute(
            "select min(concat_ws(': ', \"column\", reason)) from eslab.typing_errors "
            "where position = ?",
            [position],
        )
        raise self._event_failed(position, SchemaError(reason))

    def _failed(self, batch: Batch, error: InputError) -> ProjectionError:
        """Return the error for rows that cannot be stored; smaller batches say of which event."""
        key = ", ".join(self._plan.table.key)
        reason = (
            f"{error}; a value fits its column, and a key ({key}) is never NULL, and of one row"
        )
        if batch.scanned - batch.after > 1:
            return BatchFailedError(f"projection {self._projection.name!r}: {reason}")
        return self._event_failed(batch.scanned, InputError(reason))

    def _event_failed(self, position: int, error: Exception) -> EventFailedError:
        (event,) = self._store.read_all(after=position - 1, until=position)
        failed = EventFailedError(self._projection.name, position, repr(event), error)
        failed.__cause__ = error
        return failed


def _query(cls: type[SqlProjection], where: str) -> str:
    query = getattr(cls, "query", None)
    if not isinstance(query, str) or not query.strip(" \n\t;"):
        raise ProjectionError(
            f"{where} needs query = ..., one SELECT over the tables of its events; found {query!r}"
        )
    return query.strip().rstrip("; \n\t")


def _key(cls: type[SqlProjection], where: str) -> tuple[str, ...]:
    key = getattr(cls, "key", ())
    names = (key,) if isinstance(key, str) else key
    if (
        not isinstance(names, (tuple, list))
        or not names
        or not all(isinstance(name, str) and name for name in names)
        or len(set(names)) < len(names)
    ):
        raise ProjectionError(
            f"{where} needs key = ..., the column of its query that identifies a row, or a tuple "
            f"of them; found {key!r}"
        )
    return tuple(names)


def _rules(cls: type[SqlProjection], where: str) -> Mapping[str, str] | None:
    """Return the rule of each column; None if the query is to be recomputed."""
    merge = cls.merge
    if merge == RECOMPUTE:
        return None
    if not isinstance(merge, Mapping):
        raise ProjectionError(
            f"{where}: merge is a rule for each column, such as {{'total': 'sum'}}, or "
            f"{RECOMPUTE!r}; found {merge!r}"
        )
    known = [*MERGED, RECOMPUTE]
    for column, rule in merge.items():
        if rule not in known:
            advice = " (an average is a sum and a count)" if rule in ("avg", "mean") else ""
            raise ProjectionError(
                f"{where}: the rule of {column!r} is one of {', '.join(known)}, not {rule!r}"
                f"{advice}"
            )
        if column in cls.key_columns:
            raise ProjectionError(f"{where}: {column!r} is in the key, and is never merged")
    return None if RECOMPUTE in merge.values() else dict(merge)


def _event_classes(cls: type[SqlProjection], where: str) -> dict[str, type[Event]]:
    events = getattr(cls, "events", ())
    listed = events if isinstance(events, (tuple, list)) else (events,)
    if not listed or not all(isinstance(each, type) and issubclass(each, Event) for each in listed):
        raise ProjectionError(
            f"{where} needs events = (...), the classes of the events that its query reads; found "
            f"{events!r}"
        )
    return {event.event_type: event for event in listed}
