"""The rows of read models, as handlers see and change them: identity maps over tables."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any, ClassVar, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from eslab.errors import InputError, ProjectionError
from eslab.schema import columns_of
from eslab.store.port import Transaction

__all__ = ["Row", "Rows", "Scratch"]

MAX_ROWS: Final = 50_000
"""Held in memory, at most, when a batch begins."""


class Row(BaseModel):
    """A row of a read model: subclass it, declare its columns, and name those of its key.

    Class arguments:
        key: the names of the fields that identify a row; by default those of the class it extends.
        table: the name of its table; by default that of its projection, or the class's name in
            snake case where a projection has several.

    Example:
        >>> class Delay(Row, key=("airport",)):
        ...     airport: str
        ...     minutes: int = 0
        >>> Delay(airport="EWR")
        Delay(airport='EWR', minutes=0)
    """

    model_config = ConfigDict(extra="forbid")

    key_fields: ClassVar[tuple[str, ...]] = ()
    table: ClassVar[str | None] = None

    def __init_subclass__(cls, **_: Any) -> None:
        # The class arguments are taken below, when the fields are known.
        super().__init_subclass__()

    @classmethod
    def __pydantic_init_subclass__(
        cls, *, key: Iterable[str] | None = None, table: str | None = None, **kwargs: Any
    ) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if key is not None:
            cls.key_fields = (key,) if isinstance(key, str) else tuple(key)
        if table is not None:
            cls.table = table
        if not cls.model_config.get("validate_assignment"):
            # What a handler leaves is checked when it is stored: a tenth of the time.
            cls.__setattr__ = object.__setattr__  # type: ignore[method-assign]
        if not cls.key_fields or (set(cls.key_fields) - cls.model_fields.keys()):
            raise ProjectionError(
                f"{cls.__qualname__}: a row needs key=(...) with names of its fields "
                f"({', '.join(cls.model_fields)}); found {cls.key_fields}"
            )


R = TypeVar("R", bound=Row)
Key = tuple[Any, ...]


class Rows(Generic[R]):
    """The rows of a table of a read model, as handlers see and change them: an identity map.

    A table that is small enough is held as a whole. Of a larger one the rows that a batch needs are
    read at once, before it is handled. What changed is written when the batch ends.

    Args:
        row: the class of the rows.
        table: their table.
        whole: whether what is held is all there is: then nothing is read.
    """

    def __init__(self, row: type[R], table: str, *, whole: bool = False) -> None:
        self._row: Any = row
        self._fields = row.key_fields
        self._table = table
        self._whole = whole
        self._transaction: Transaction | None = None
        self._held: dict[Key, R | None] = {}
        self._stored: dict[Key, dict[str, Any]] = {}
        self._touched: dict[Key, None] = {}  # in the order in which they were
        self._check = _checks(row)

    # For handlers.

    def get(self, **key: Any) -> R | None:
        """Return the row with this key; None if there is none.

        Raises:
            ProjectionError: that is no key, or a value is of another type than its column.
        """
        return self._get(self._key(key))

    def ensure(self, **key: Any) -> R:
        """Return the row with this key; a new one, of its defaults, if there is none."""
        values = tuple(key.values())
        held = self._held.get(values) if tuple(key) == self._fields else None
        if held is not None:  # nearly always, and nothing is called
            self._touched[values] = None
            return held
        values = self._key(key)
        row = self._get(values)
        if row is None:
            try:
                row = self._row(**key)
            except ValidationError as error:
                raise ProjectionError(
                    f"{self._row.__qualname__} cannot be made of its key {key} alone: {error}"
                ) from error
            self._require_key(row, values)
            self._held[values] = row
        return row

    def put(self, row: R) -> None:
        """Put a row in the place of the one with its key."""
        values = self._key_of(row)
        self._get(values)  # so that it is known what it replaces
        self._held[values] = row

    def delete(self, **key: Any) -> None:
        """Take the row with this key away, if there is one."""
        values = self._key(key)
        if self._get(values) is not None:
            self._held[values] = None

    def _get(self, values: Key) -> R | None:
        try:
            row = self._held[values]
        except KeyError:
            self._require_types(values)
            if not self._whole:
                self.load([values])
            row = self._held.setdefault(values, None)
        self._touched[values] = None  # only a key that can be one
        return row

    def _require_types(self, values: Key) -> None:
        for name, value in zip(self._fields, values, strict=True):
            kind = self._row.model_fields[name].annotation
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise ProjectionError(
                    f"{name} of {self._row.__qualname__} is of type {kind.__name__}, and is asked "
                    f"for as {value!r:.200}: give the key in the types of its columns"
                )
            if value != value:  # noqa: PLR0124 - NaN: it would make a row anew each time
                raise ProjectionError(
                    f"{name} of {self._row.__qualname__} is asked for as {value!r}, which does not "
                    f"even equal itself: that can be no key"
                )

    def _key(self, key: dict[str, Any]) -> Key:
        if key.keys() != set(self._fields):
            raise ProjectionError(
                f"{self._row.__qualname__} has the key {self._fields}, not {tuple(key)}"
            )
        return tuple([key[name] for name in self._fields])

    def _key_of(self, row: R) -> Key:
        return tuple([getattr(row, name) for name in self._fields])

    def _require_key(self, row: R | None, values: Key) -> None:
        # Another value, or "1" for 1, would make two rows of what is one in the table.
        if row is not None and (held := self._key_of(row)) != values:
            raise ProjectionError(
                f"a row of {self._table} has the key {held}, and is used under {values}: give the "
                f"key in the types of its columns, and never change it in a row"
            )

    # For who runs the handlers.

    @property
    def whole(self) -> bool:
        """Whether what is held is all there is."""
        return self._whole

    def held(self) -> list[R]:
        """Return the rows that are held in memory, in the order of their keys."""
        return [row for _, row in sorted(self._held.items()) if row is not None]

    def begin(self, transaction: Transaction) -> None:
        """Read and write in this transaction from now on."""
        if self._transaction is None:
            self._begin_whole(transaction)
        elif len(self._held) > MAX_ROWS:
            self._held.clear()
            self._stored.clear()
            self._whole = False
        self._transaction = transaction
        self._touched.clear()

    def _begin_whole(self, transaction: Transaction) -> None:
        found = transaction.execute(f"{self._select()} limit {MAX_ROWS + 1}")
        if len(found) <= MAX_ROWS:
            self._hold(found)
            self._whole = True

    def load(self, keys: Sequence[Key]) -> None:
        """Read the rows of some keys that are not held.

        Raises:
            InputError: one does not fit its column.
        """
        if not keys:
            return
        self._hold(self._of_keys(self._select(), keys))
        for key in keys:
            self._held.setdefault(key, None)

    def _of_keys(self, statement: str, keys: Sequence[Key]) -> list[tuple[Any, ...]]:
        """Run a statement for the rows of some keys."""
        kinds = columns_of(self._row)
        fields = self._fields
        names = ", ".join(f'"{name}"' for name in fields)
        lists = ", ".join(
            f"unnest(?::{kinds[name].removesuffix(' not null')}[])" for name in fields
        )
        columns = [list(column) for column in zip(*keys, strict=True)]
        return self._in_batch().execute(f"{statement} where ({names}) in (select {lists})", columns)

    def _select(self) -> str:
        columns = ", ".join(f'"{name}"' for name in self._row.model_fields)
        return f"select {columns} from {self._table}"

    def _hold(self, found: Iterable[Sequence[Any]]) -> None:
        for values in found:
            row = self._row(**dict(zip(self._row.model_fields, values, strict=True)))
            key = self._key_of(row)
            self._held[key] = row
            self._stored[key] = dict(row.__dict__)

    def scratch(self) -> Scratch[R]:
        """Return rows with which a batch is tried, to see which it needs."""
        return Scratch(self._row, self._table, self._held, whole=self._whole)

    def flush(self) -> None:
        """Write what the batch changed.

        Raises:
            ProjectionError: a row holds a value that its column cannot.
        """
        changed: dict[Key, dict[str, Any]] = {}
        gone: list[Key] = []
        for key in self._touched:
            row, stored = self._held[key], self._stored.get(key)
            if row is None:
                if stored is not None:
                    gone.append(key)
            elif row.__dict__ != stored:
                self._require_key(row, key)
                changed[key] = self._check(row, self._table)
        try:
            self._in_batch().put(self._table, list(changed.values()))
        except InputError as error:
            raise ProjectionError(f"a handler left a row that cannot be stored: {error}") from error
        self._stored.update(changed)
        if gone:
            self._of_keys(f"delete from {self._table}", gone)
        for key in gone:
            del self._stored[key]

    def _in_batch(self) -> Transaction:
        if self._transaction is None:
            raise ProjectionError(f"rows of {self._table} are read and changed by its handlers")
        return self._transaction


class Scratch(Rows[R]):
    """Copies of rows, to see which ones handlers ask for; nothing is read, and nothing written."""

    def __init__(self, row: type[R], table: str, held: dict[Key, R | None], *, whole: bool) -> None:
        super().__init__(row, table, whole=True)
        self._real = held
        self._all_real = whole

    def _get(self, values: Key) -> R | None:
        if values not in self._held and (row := self._real.get(values)) is not None:
            self._held[values] = row.model_copy()
        return super()._get(values)

    def missing(self) -> list[Key]:
        """Return the keys that were asked for, and are not held."""
        return [] if self._all_real else [key for key in self._touched if key not in self._real]


def _checks(row: type[Row]) -> Callable[[Row, str], dict[str, Any]]:
    """Return what gives the values of a row that can be stored, or says why they cannot."""
    kinds = columns_of(row)
    times = [name for name, kind in kinds.items() if kind.startswith("timestamptz")]
    numbers = [name for name, kind in kinds.items() if kind.startswith("decimal")]
    validate = row.__pydantic_validator__.validate_python

    def check(held: Row, table: str) -> dict[str, Any]:
        try:
            values: dict[str, Any] = validate(held.__dict__).__dict__
        except ValidationError as error:
            raise ProjectionError(
                f"a handler left a row of {table} that cannot be stored: {error}"
            ) from error
        for name in itertools.chain(times, numbers):
            value = values[name]
            if isinstance(value, datetime) and value.utcoffset() is None:
                raise ProjectionError(
                    f"a handler left a row of {table} with a time without zone: {name}"
                )
            if isinstance(value, Decimal) and not _fits(value):
                raise ProjectionError(
                    f"a handler left a row of {table} with a number that is not finite, or "
                    f"has more than 28 digits before the point or 10 behind: {name} is {value}"
                )
        return values

    return check


def _fits(value: Decimal) -> bool:
    """Say whether a column keeps all of a number: it has 28 digits before the point, 10 behind."""
    if not value.is_finite() or abs(value) >= 10**28:
        return False
    with localcontext(prec=50):
        return round(value, 10) == value
