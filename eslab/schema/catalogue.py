"""All event types of a registry as one JSON Schema: what other programs read the log by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic.json_schema import models_json_schema

from eslab.events import Event
from eslab.schema.naming import table_name

__all__ = ["catalogue"]


def catalogue(classes: Iterable[type[Event]]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of what is stored of these classes.

    Each type is one of ``oneOf``, with its schema version, its table, its tags and its upcasters
    as keywords that begin with ``x-``.

    Example:
        >>> class OrderPlaced(Event, schema_version=1):
        ...     amount: int
        >>> catalogue([OrderPlaced])["oneOf"]
        [{'title': 'OrderPlaced', '$ref': '#/$defs/OrderPlaced', 'x-schema-version': 1, \
'x-table': 'order_placed', 'x-tags': [], 'x-upcasters': []}]
    """
    ordered = sorted(classes, key=lambda cls: cls.event_type)
    references, definitions = models_json_schema(
        [(cls, "serialization") for cls in ordered], by_alias=False
    )
    types = [
        {
            "title": cls.event_type,
            **references[cls, "serialization"],
            "x-schema-version": cls.schema_version,
            "x-table": table_name(cls.event_type),
            "x-tags": list(cls.tag_fields),
            "x-upcasters": [
                {"version": step.version, "revision": step.revision} for step in cls.upcasters
            ],
        }
        for cls in ordered
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "event types",
        "oneOf": types,
        "$defs": definitions.get("$defs", {}),
    }
