"""A projection: handlers by type of event, over the typed rows of a read model."""

from __future__ import annotations

import hashlib
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from types import MethodType
from typing import Any, ClassVar, Final, NamedTuple

from eslab.errors import ProjectionError
from eslab.events import Event, RecordedEvent
from eslab.projections.base import (
    AnyProjection,
    Applier,
    ProjectionStore,
    Table,
    require_filters,
    require_table_name,
)
from eslab.projections.handling import RowsApplier
from eslab.projections.rows import Row, Rows
from eslab.schema import (
    BY,
    EventMarker,
    EventRegistry,
    canonical_json,
    columns_of,
    message_handlers,
    snake_case,
    visible_names,
)
from eslab.schema.code import code_text
from eslab.schema.upcasting import upcasters_text

__all__ = ["Handler", "Projection", "on"]

on = EventMarker("__eslab_on__")
"""Mark a method of a projection, or of a process manager, as the handler of a type of event.

The event's class is the annotation of its first parameter. In a projection there are behind it the
rows that it changes, as ``Rows[...]`` of each table, and if it is wanted the `RecordedEvent`.
"""


class Handler(NamedTuple):
    """What handles a type of event.

    Attributes:
        method: of the projection.
        arguments: what it takes behind the event: the place of a table, or -1 for the event as it
            was recorded.
    """

    method: Callable[..., None]
    arguments: tuple[int, ...]


class Projection(AnyProjection):
    """Keeps a read model up to date with events.

    The read model is the table ``rm.<name>``, with a column for each field of `row`; or several
    tables. Changed rows and the checkpoint are committed in one transaction, so each event counts
    exactly once. A projection that is defined anew with other rows or handlers is rebuilt from the
    first event.

    Handlers change nothing but rows: what they are given and what they leave is all there is to
    them, so they are tested by `eslab.testing.given`.

    Class attributes:
        name: of the projection, and of its table; by default the class's name in snake case.
        row: the class of its rows.
        tables: the classes of the rows, where there are several tables.
        category: only events in streams of this category.
        tags: only events that have all of these tags.
        batch: events handled in one transaction, at most.
        cost: what the work costs on a virtual clock.
        on_error: what is done about an event that cannot be handled: ``"stop"``, ``"retry"``,
            ``"dead-letter"``, or an `ErrorPolicy`.

    Example:
        >>> import eslab
        >>> class OrderPlaced(eslab.Event):
        ...     customer: str
        ...     amount: int
        >>> class Customer(Row, key=("customer",)):
        ...     customer: str
        ...     total: int = 0
        >>> class Customers(Projection):
        ...     row = Customer
        ...     @on
        ...     def placed(self, event: OrderPlaced, rows: Rows[Customer]) -> None:
        ...         rows.ensure(customer=event.customer).total += event.amount
        >>> with eslab.Lab(seed=7) as lab:
        ...     lab.project(Customers())
        ...     _ = lab.append("order-1", [OrderPlaced(customer="Ann", amount=30)])
        ...     lab.run()
        ...     lab.sql("from customers").fetchall()
        [('Ann', 30)]
    """

    row: ClassVar[type[Row]]
    tables: ClassVar[tuple[type[Row], ...]] = ()
    handlers: ClassVar[dict[str, Handler]]
    rows_of: ClassVar[dict[str, type[Row]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        where = cls.__qualname__
        if "name" not in vars(cls):
            cls.name = snake_case(cls.__name__)
        require_table_name(cls.name, where)
        require_filters(cls)
        cls.rows_of = _tables(cls)
        inside = {name: value for name, value in vars(cls).items() if isinstance(value, type)}
        names = {**visible_names(cls), **inside}
        methods = message_handlers(cls, "__eslab_on__", Event, word="event", names=names)
        if not methods:
            raise ProjectionError(f"{where} has no handler: mark one with @on")
        if told := [one.__name__ for one in methods.values() if hasattr(one, BY)]:
            raise ProjectionError(
                f"{where}.{told[0]}: by= says of which process manager an event is; a projection "
                f"has all of them: mark it with @on alone"
            )
        cls.event_classes = {event.event_type: event for event in methods}
        classes = tuple(cls.rows_of.values())
        cls.handlers = {
            event.event_type: Handler(method, _arguments(method, classes, names))
            for event, method in methods.items()
        }

    @classmethod
    def fingerprint(cls) -> str:
        """Return what changes when the rows, the code of the handlers or an upcaster change."""
        parts = [cls.category or "", *sorted(cls.tags)]
        for table, row in cls.rows_of.items():
            parts += [table, canonical_json(columns_of(row)), ",".join(row.key_fields)]
            parts += [f"{name}={field.default!r}" for name, field in row.model_fields.items()]
        for type_name, handler in sorted(cls.handlers.items()):
            upcasters = upcasters_text(cls.event_classes[type_name])
            parts += [type_name, code_text(handler.method), *upcasters]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def tables_of(
        self,
        store: ProjectionStore,  # noqa: ARG002 - those in SQL ask it
        registry: EventRegistry,  # noqa: ARG002
    ) -> dict[str, Table]:
        """Return the shapes of its tables, by their names."""
        return {
            table: Table(columns_of(row), row.key_fields) for table, row in self.rows_of.items()
        }

    def applier(
        self, store: ProjectionStore, registry: EventRegistry, tables: Mapping[str, str]
    ) -> Applier:
        """Return what lets its handlers change the rows of its tables."""
        return RowsApplier(self, store, registry, tables)

    def handle(self, event: Event, rows: Sequence[Rows[Any]], recorded: object = None) -> None:
        """Let the handler of an event change rows.

        Args:
            event: what happened.
            rows: of each table, in their order.
            recorded: the `RecordedEvent`, if a handler wants it (`wants_recorded`).
        """
        method, arguments = self.handlers[event.event_type]
        pool = [*rows, recorded]
        method(self, event, *[pool[place] for place in arguments])

    @property
    def methods(self) -> dict[str, Callable[[Event, Rows[Any]], None]] | None:
        """The handlers by the type of their event, if each takes the rows of the first table alone.

        Whoever has many events calls these, and saves a call for each event.
        """
        handlers = self.handlers.items()
        if any(handler.arguments != _ONLY_ROWS for _, handler in handlers):
            return None
        return {type_name: MethodType(handler.method, self) for type_name, handler in handlers}

    @property
    def wants_recorded(self) -> bool:
        """Whether a handler takes the event as it was recorded, beside what happened."""
        return any(_RECORDED in handler.arguments for handler in self.handlers.values())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {', '.join(sorted(self.event_classes))}>"


_RECORDED: Final = -1
_ONLY_ROWS: Final = (0,)


def _tables(cls: type[Projection]) -> dict[str, type[Row]]:
    """Return the classes of rows by the names of their tables."""
    where = cls.__qualname__
    row = getattr(cls, "row", None)
    several = cls.tables if isinstance(cls.tables, (tuple, list)) else (cls.tables,)
    if (row is None) == (not several):
        raise ProjectionError(
            f"{where} needs row = ..., a subclass of eslab.Row, or tables = (...) of several; "
            f"found row = {row!r} and tables = {cls.tables!r}"
        )
    found: dict[str, type[Row]] = {}
    for each in several or (row,):
        if not (isinstance(each, type) and issubclass(each, Row)):
            raise ProjectionError(f"{where}: rows are subclasses of eslab.Row, not {each!r}")
        name = each.table or (snake_case(each.__name__) if several else cls.name)
        require_table_name(name, where)
        if name in found:
            raise ProjectionError(
                f"{where}: {found[name].__qualname__} and {each.__qualname__} would both be the "
                f"table {name!r}: class {each.__name__}(Row, key=..., table=...)"
            )
        columns = columns_of(each)
        if odd := [
            column for column in columns if not column.isidentifier() or column != column.lower()
        ]:
            raise ProjectionError(f"{each.__qualname__}: these cannot be columns: {odd}")
        if loose := [
            field for field in each.key_fields if not columns[field].endswith(" not null")
        ]:
            raise ProjectionError(f"{each.__qualname__}: a key is never None: {', '.join(loose)}")
        found[name] = each
    return found


def _arguments(
    method: Callable[..., None], classes: tuple[type[Row], ...], names: Mapping[str, Any]
) -> tuple[int, ...]:
    """Return which rows a handler takes behind the event, by their places; -1 for the recorded."""
    hints = typing.get_type_hints(method, localns=dict(names))
    found: list[int] = []
    for parameter in list(inspect.signature(method).parameters.values())[2:]:
        hint = hints.get(parameter.name, Any)
        inside = typing.get_args(hint)
        if hint is RecordedEvent or (hint is Any and found):
            found.append(_RECORDED)
        elif len(classes) == 1 and (hint in (Any, Rows) or typing.get_origin(hint) is Rows):
            found.append(0)
        elif typing.get_origin(hint) is Rows and inside[0] in classes:
            found.append(classes.index(inside[0]))
        else:
            raise ProjectionError(
                f"{method.__qualname__}: annotate {parameter.name!r} as one of "
                f"{', '.join(f'Rows[{each.__name__}]' for each in classes)}, or as RecordedEvent; "
                f"found {hint!r}"
            )
    if not found:
        raise ProjectionError(
            f"{method.__qualname__} takes (self, event, rows) or (self, event, rows, recorded)"
        )
    return tuple(found)
