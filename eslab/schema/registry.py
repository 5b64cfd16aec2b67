"""Which class stands for which type name, and which table for which of them.

A registry belongs to a lab: there is no global one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from eslab.errors import InputError, RegistrationError, SchemaError, UnknownEventTypeError
from eslab.events import Event, EventBatch, RecordedEvent, TypedEvent, defined_before
from eslab.schema.batches import decode_all, decode_batch
from eslab.schema.codec import decode
from eslab.schema.columns import event_columns
from eslab.schema.json_schema import catalogue
from eslab.schema.naming import SYSTEM_TABLES, qualified_name, table_name
from eslab.schema.upcasting import check_upcasters

__all__ = ["EventRegistry"]


class EventRegistry:
    """The event types that are known, by name.

    Attributes:
        revision: it rises whenever a type becomes known, or is defined anew.
        classes: those that stand for a type now.

    Example:
        >>> class OrderPlaced(Event):
        ...     amount: int
        >>> registry = EventRegistry(OrderPlaced)
        >>> list(registry)
        ['OrderPlaced']
    """

    def __init__(self, *classes: type[Event]) -> None:
        self.classes: frozenset[type[Event]] = frozenset()
        self._classes: dict[str, type[Event]] = {}
        self._tables: dict[str, str] = {}
        self.revision = 0
        for cls in classes:
            self.register(cls)

    def register(self, cls: type[Event], *, replace: bool = False) -> None:
        """Make `cls` the class of its type name.

        A class with the same module and qualified name replaces one that was defined before it,
        because a cell of a notebook is run again and again.

        Args:
            cls: the class.
            replace: also let it replace one that was defined after it.

        Raises:
            InputError: `cls` is no event class.
            RegistrationError: another class has that type name, or something else has the name of
                its table.
            SchemaError: there can be no table of that name, or with columns for its fields; or
                its upcasters do not lead from the first version to its own.
        """
        if cls is not None and self._classes.get(getattr(cls, "event_type", "")) is cls:
            return
        if not (isinstance(cls, type) and issubclass(cls, Event) and cls is not Event):
            raise InputError(f"an event type must be a subclass of eslab.Event, not {cls!r}")
        held = self._classes.get(cls.event_type)
        if held is not None and qualified_name(held) != qualified_name(cls):
            raise RegistrationError(
                f"the event type {cls.event_type!r} is {qualified_name(held)} already; "
                f"{qualified_name(cls)} needs another name: class {cls.__name__}(Event, type=...)"
            )
        if held is not None and defined_before(cls, held) and not replace:
            return  # an aggregate, whose cell was not run again, knows the older class
        check_upcasters(cls)
        event_columns(cls)
        self.claim_table(table_name(cls.event_type), f"the event type {cls.event_type!r}")
        self._classes[cls.event_type] = cls
        self.classes = frozenset(self._classes.values())
        self.revision += 1

    def claim_table(self, name: str, owner: str) -> None:
        """Take the name of a table in SQL, where event types and read models stand side by side.

        Args:
            name: of the table.
            owner: what the table is of, for the errors; claiming it again for the same is well.

        Raises:
            SchemaError: it is no name.
            RegistrationError: it is the name of another table.
        """
        if not name.isidentifier() or not name.strip("_"):
            raise SchemaError(
                f"{owner} cannot be a table: {name!r} is no name in SQL; call it something that "
                f"begins with a letter"
            )
        taken = "the store" if name in SYSTEM_TABLES else self._tables.get(name, owner)
        if taken != owner:
            raise RegistrationError(
                f"{owner} would be the table {name!r}, which is that of {taken}: give it another "
                f"name"
            )
        self._tables[name] = owner

    def __getitem__(self, type_name: str) -> type[Event]:
        try:
            return self._classes[type_name]
        except KeyError:
            raise UnknownEventTypeError(type_name, known=tuple(self._classes)) from None

    def __contains__(self, type_name: object) -> bool:
        return type_name in self._classes

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)

    def decode(self, recorded: RecordedEvent) -> Event:
        """Return the event that `recorded` holds.

        Raises:
            UnknownEventTypeError: its type is not registered.
            SchemaError: its data does not fit the class.
        """
        return decode(recorded, self[recorded.type])

    def catalogue(self) -> dict[str, Any]:
        """Return the JSON Schema of all registered types; see `eslab.schema.json_schema`."""
        return catalogue(self._classes.values())

    def decode_batch(self, batch: EventBatch) -> list[Event]:
        """Return the events of a batch, in its order.

        Raises:
            EslabError: as `decode`.
        """
        return decode_batch(batch, self.__getitem__)

    def decode_all(self, batches: Iterable[EventBatch]) -> Iterator[TypedEvent]:
        """Yield the events of batches (`EventStore.read_batches`), each with its place in the log.

        Raises:
            EslabError: as `decode`.
        """
        return decode_all(batches, self.__getitem__)

    def __repr__(self) -> str:
        return f"EventRegistry({', '.join(sorted(self._classes))})"
