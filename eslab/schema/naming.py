"""What things are called in stream ids and in SQL, and which names are taken."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

__all__ = [
    "SYSTEM_TABLES",
    "literal",
    "qualified_name",
    "quoted",
    "snake_case",
    "table_name",
    "texts",
]

SYSTEM_TABLES: Final = frozenset(
    {
        "checkpoint_log",
        "checkpoints",
        "dead_letters",
        "event_log",
        "events",
        "inbox",
        "snapshots",
        "store_info",
        "streams",
        "typed_tables",
        "typing_errors",
    }
)
"""The tables and views of the store: SQL finds them before any other of the same name."""


def qualified_name(defined: Any) -> str:
    """Return the module and the name of a class or a function: the same when it is defined anew.

    Example:
        >>> qualified_name(qualified_name)
        'eslab.schema.naming.qualified_name'
    """
    return f"{defined.__module__}.{defined.__qualname__}"


def snake_case(name: str) -> str:
    """Return the name of a class as it stands in stream ids and tables.

    Example:
        >>> snake_case("DelayByAirportHour")
        'delay_by_airport_hour'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def table_name(type_name: str) -> str:
    """Return the name of the table of an event type; what no name may hold becomes ``_``.

    Example:
        >>> table_name("OrderPlaced"), table_name("com.shop.OrderPlaced")
        ('order_placed', 'com_shop_order_placed')
    """
    return re.sub(r"\W", "_", snake_case(type_name))


def quoted(name: str) -> str:
    """Return a name as it stands in SQL, whatever it holds.

    Example:
        >>> quoted('a"b')
        '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return text as it stands in SQL.

    Example:
        >>> literal("it's")
        "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def texts(values: Iterable[str]) -> str:
    """Return texts as a list in SQL.

    Example:
        >>> texts(["a", "b"])
        "'a', 'b'"
    """
    return ", ".join(map(literal, values))
