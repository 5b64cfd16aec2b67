"""A projection: handlers by type of event, over the typed rows of one read model."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any, ClassVar, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from eslab.errors import ProjectionError
from eslab.events import Event
from eslab.schema import canonical_json, columns_of, event_handlers, marker, snake_case
from eslab.schema.code import code_text
from eslab.schema.naming import SYSTEM_TABLES
from eslab.schema.upcasting import upcasters_text
from eslab.store.port import Transaction

__all__ = ["Cost", "Projection", "Row", "Rows", "on"]

on = marker("__eslab_on__")
"""Mark a method of a projection as the handler of a type of event.

The event's class is the annotation of its first parameter; the second one is the `Rows` of the
read model; a third one, if there is one, is the `RecordedEvent`.
"""


class Row(BaseModel):
    """A row of a read model: subclass it, declare its columns, and name those of its key.

    Class arguments:
        key: the names of the fields that identify a row.

    Example:
        >>> class Delay(Row, key=("airport",)):
        ...     airport: str
        ...     minutes: int = 0
        >>> Delay(airport="EWR")
        Delay(airport='EWR', minutes=0)
    """

    model_config = ConfigDict(extra="forbid")

    key_fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **_: Any) -> None:
        # The class argument is taken below, when the fields are known.
        super().__init_subclass__()

    @classmethod
    def __pydantic_init_subclass__(cls, *, key: Iterable[str] = (), **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.key_fields = (key,) if isinstance(key, str) else tuple(key)
        if not cls.key_fields or (set(cls.key_fields) - cls.model_fields.keys()):
            raise ProjectionError(
                f"{cls.__qualname__}: a row needs key=(...) with names of its fields "
                f"({', '.join(cls.model_fields)}); found {cls.key_fields}"
            )


@dataclass(frozen=True, slots=True)
class Cost:
    """What a projection's work costs on a virtual clock."""

    batch: timedelta = timedelta(milliseconds=1)
    event: timedelta = timedelta(microseconds=10)

    def of(self, events: int) -> timedelta:
        """Return the cost of one batch with this many events."""
        return self.batch + events * self.event


class Projection:
    """Keeps a read model up to date with events.

    The read model is the table ``rm.<name>``, with a column for each field of `row`. Changed rows
    and the checkpoint are committed in one transaction, so each event counts exactly once. A
    projection that is defined anew with other rows or handlers is rebuilt from the first event.

    Class attributes:
        name: of the projection and its table; by default the class's name in snake case.
        row: the class of its rows.
        batch: events handled in one transaction, at most.
        cost: what the work costs on a virtual clock.

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

    name: ClassVar[str]
    row: ClassVar[type[Row]]
    batch: ClassVar[int] = 1_000
    cost: ClassVar[Cost] = Cost()
    event_classes: ClassVar[dict[str, type[Event]]]
    handlers: ClassVar[dict[str, Callable[..., None]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in vars(cls):
            cls.name = snake_case(cls.__name__)
        if not (isinstance(cls.name, str) and cls.name.isidentifier()):
            raise ProjectionError(f"{cls.__qualname__}: {cls.name!r} cannot be a table's name")
        if cls.name != cls.name.lower() or cls.name in SYSTEM_TABLES:
            # SQL does not tell capitals, and finds the tables of the log before a read model.
            raise ProjectionError(
                f"{cls.__qualname__}: the name {cls.name!r} must be in small letters, and none of: "
                f"{', '.join(sorted(SYSTEM_TABLES))}"
            )
        if isinstance(cls.batch, bool) or not isinstance(cls.batch, int) or cls.batch < 1:
            raise ProjectionError(
                f"{cls.__qualname__}: batch is a number from 1, not {cls.batch!r}"
            )
        row = getattr(cls, "row", None)
        if not (isinstance(row, type) and issubclass(row, Row)):
            raise ProjectionError(
                f"{cls.__qualname__} needs row = ..., a subclass of eslab.Row; found {row!r}"
            )
        columns = columns_of(row)
        if odd := [name for name in columns if not name.isidentifier() or name != name.lower()]:
            raise ProjectionError(f"{row.__qualname__}: these cannot be columns: {odd}")
        if loose := [name for name in row.key_fields if not columns[name].endswith(" not null")]:
            raise ProjectionError(f"{row.__qualname__}: a key is never None: {', '.join(loose)}")
        handlers = event_handlers(cls, "__eslab_on__")
        if not handlers:
            raise ProjectionError(f"{cls.__qualname__} has no handler: mark one with @on")
        cls.event_classes = {event.event_type: event for event in handlers}
        cls.handlers = {event.event_type: _with_rows(method) for event, method in handlers.items()}

    @property
    def table(self) -> str:
        """The read model's table."""
        return f"rm.{self.name}"

    @classmethod
    def fingerprint(cls) -> str:
        """Return what changes when the rows, the code of the handlers or an upcaster change."""
        parts = [canonical_json(columns_of(cls.row)), ",".join(cls.row.key_fields)]
        parts += [f"{name}={field.default!r}" for name, field in cls.row.model_fields.items()]
        for type_name, method in sorted(cls.handlers.items()):
            upcasters = upcasters_text(cls.event_classes[type_name])
            parts += [type_name, code_text(method), *upcasters]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {', '.join(sorted(self.event_classes))}>"


def _with_rows(method: Callable[..., None]) -> Callable[..., None]:
    """Return the handler as one that takes the recorded event, whether it wants it or not."""
    count = len(inspect.signature(method).parameters)
    if count == 4:
        return method
    if count != 3:
        raise ProjectionError(
            f"{method.__qualname__} takes (self, event, rows) or (self, event, rows, recorded)"
        )

    def handler(self: Any, event: Any, rows: Any, _recorded: Any) -> None:
        method(self, event, rows)

    handler.__wrapped__ = method  # type: ignore[attr-defined]
    return handler


MAX_ROWS: Final = 50_000

R = TypeVar("R", bound=Row)


def _fits(value: Decimal) -> bool:
    """Say whether a column keeps all of a number: it has 28 digits before the point, 10 behind."""
    if not value.is_finite() or abs(value) >= 10**28:
        return False
    with localcontext(prec=50):
        return round(value, 10) == value


class Rows(Generic[R]):
    """The rows of a read model, as its handlers see and change them: an identity map.

    A row is read from the database at its first use, and kept; rows that changed are written when
    a batch ends.
    """

    def __init__(self, projection: Projection) -> None:
        self._transaction: Transaction | None = None
        self._row: Any = projection.row
        self._table = projection.table
        self._rows: dict[tuple[Any, ...], tuple[R | None, dict[str, Any] | None]] = {}

    def get(self, **key: Any) -> R | None:
        """Return the row with this key; None if there is none."""
        values = self._key(key)
        if values not in self._rows:
            row = self._load(values)
            self._require_key(row, values)
            self._rows[values] = row, None if row is None else row.model_dump()
        return self._rows[values][0]

    def ensure(self, **key: Any) -> R:
        """Return the row with this key; a new one, of its defaults, if there is none."""
        row = self.get(**key)
        if row is None:
            try:
                row = self._row(**key)
            except ValidationError as error:
                raise ProjectionError(
                    f"{self._row.__qualname__} cannot be made of its key {key} alone: {error}"
                ) from error
            values = self._key(key)
            self._require_key(row, values)
            self._rows[values] = row, None
        return row

    def put(self, row: R) -> None:
        """Put a row in the place of the one with its key."""
        values = tuple(getattr(row, name) for name in self._row.key_fields)
        _, stored = self._rows.get(values, (None, None))
        self._rows[values] = row, stored

    def _key(self, key: dict[str, Any]) -> tuple[Any, ...]:
        if key.keys() != set(self._row.key_fields):
            raise ProjectionError(
                f"{self._row.__qualname__} has the key {self._row.key_fields}, not {tuple(key)}"
            )
        return tuple(key[name] for name in self._row.key_fields)

    def _require_key(self, row: R | None, values: tuple[Any, ...]) -> None:
        # Another value, or "1" for 1, would make two rows of what is one in the table.
        if row is None:
            return
        held = tuple(getattr(row, name) for name in self._row.key_fields)
        if held != values:
            raise ProjectionError(
                f"a row of {self._table} has the key {held}, and is used under {values}: give the "
                f"key in the types of its columns, and never change it in a row"
            )

    def begin(self, transaction: Transaction) -> None:
        """Read and write in this transaction from now on."""
        self._transaction = transaction
        if len(self._rows) > MAX_ROWS:
            self._rows.clear()

    def _load(self, values: tuple[Any, ...]) -> R | None:
        where = " and ".join(f'"{name}" = ?' for name in self._row.key_fields)
        columns = ", ".join(f'"{name}"' for name in self._row.model_fields)
        found = self._in_batch().execute(
            f"select {columns} from {self._table} where {where}", values
        )
        if not found:
            return None
        row: R = self._row(**dict(zip(self._row.model_fields, found[0], strict=True)))
        return row

    def flush(self) -> None:
        """Write the rows that changed since the last time.

        Raises:
            ProjectionError: a row holds a value that its column cannot.
        """
        changed: dict[tuple[Any, ...], tuple[R, dict[str, Any]]] = {}
        for key, (row, stored) in self._rows.items():
            if row is not None and (now := row.model_dump(warnings=False)) != stored:
                self._require_key(row, key)
                changed[key] = row, self._checked(now)
        self._in_batch().put(self._table, [now for _, now in changed.values()])
        self._rows.update(changed)

    def _checked(self, values: dict[str, Any]) -> dict[str, Any]:
        try:
            checked: dict[str, Any] = self._row.model_validate(values).model_dump()
        except ValidationError as error:
            raise ProjectionError(
                f"a handler left a row of {self._table} that cannot be stored: {error}"
            ) from error
        for name, value in checked.items():
            if isinstance(value, datetime) and value.utcoffset() is None:
                raise ProjectionError(
                    f"a handler left a row of {self._table} with a time without zone: {name}"
                )
            if isinstance(value, Decimal) and not _fits(value):
                raise ProjectionError(
                    f"a handler left a row of {self._table} with a number that is not finite, or "
                    f"has more than 28 digits before the point or 10 behind: {name} is {value}"
                )
        return checked

    def _in_batch(self) -> Transaction:
        if self._transaction is None:
            raise ProjectionError(f"rows of {self._table} are read and changed by its handlers")
        return self._transaction
