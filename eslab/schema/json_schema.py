"""The JSON Schema of event classes, with what pydantic leaves out of it, and their catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

from pydantic import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from eslab.errors import SchemaError
from eslab.events import Event
from eslab.schema.naming import table_name

__all__ = ["catalogue", "json_schema", "require_complete"]


def json_schema(cls: type[Event]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the data of an event class.

    Beside the standard's words it has ``x-limits``: what is demanded of a value and cannot be said
    in them, such as a time zone; and ``x-validators``: the names of functions that may refuse it.

    Raises:
        SchemaError: an annotation of the class names something that is not defined yet.

    Example:
        >>> class Paid(Event):
        ...     cents: int
        >>> json_schema(Paid)["properties"]
        {'cents': {'title': 'Cents', 'type': 'integer'}}
    """
    require_complete(cls)
    return cls.model_json_schema(by_alias=False, schema_generator=_Schema)


def require_complete(cls: type[Event]) -> None:
    """Raise SchemaError if an annotation of the class names something that is not defined yet."""
    try:
        cls.model_rebuild()
    except (NameError, PydanticUserError) as error:
        reason = str(error).partition("\n")[0]
        raise SchemaError(f"{cls.__qualname__} is not complete: {reason}") from error


def catalogue(classes: Iterable[type[Event]]) -> dict[str, Any]:
    """Return one JSON Schema document of many event classes, each under the name of its type.

    What else is known of a type is its ``x-event``. `canonical_json` makes the same bytes of the
    same classes.

    Example:
        >>> class Paid(Event):
        ...     cents: int
        >>> catalogue([Paid])["$defs"]["Paid"]["x-event"]
        {'schema_version': 1, 'table': 'paid', 'tags': [], 'upcasters': []}
    """
    types = {cls.event_type: cls for cls in classes}
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "title": "Event types",
        "$defs": {name: _entry(types[name]) for name in sorted(types)},
    }


def _entry(cls: type[Event]) -> dict[str, Any]:
    steps = [{"version": step.version, "revision": step.revision} for step in cls.upcasters]
    about = {
        "schema_version": cls.schema_version,
        "table": table_name(cls.event_type),
        "tags": list(cls.tag_fields),
        "upcasters": steps,
    }
    # With an id of its own: then its references are to its own definitions, here and alone.
    return {"$id": f"urn:eslab:{quote(cls.event_type)}", **json_schema(cls), "x-event": about}


# Whether it is strict does not matter: what is stored is never read strictly.
_SAID: Final = frozenset(
    {"allow_inf_nan", "metadata", "microseconds_precision", "ref"}
    | {"serialization", "strict", "type"}
)
_BOUNDS: Final = frozenset({"ge", "gt", "le", "lt", "multiple_of"})
_SAID_OF: Final[Mapping[str, frozenset[str]]] = {
    "int": _BOUNDS,
    "float": _BOUNDS,
    "str": frozenset({"max_length", "min_length", "pattern"}),
    "bytes": frozenset({"max_length", "min_length"}),
    "bool": frozenset(),
    "date": frozenset(),
    "datetime": frozenset(),
    "decimal": frozenset(),
    "multi-host-url": frozenset(),
    "time": frozenset(),
    "timedelta": frozenset(),
    "url": frozenset(),
    "uuid": frozenset(),
}
"""What pydantic's JSON Schema says of a scalar, in the words of its core schema."""


class _Schema(GenerateJsonSchema):
    ignored_warning_kinds = {"non-serializable-default", "skipped-choice"}  # noqa: RUF012

    def generate_inner(self, schema: Any) -> JsonSchemaValue:
        said = super().generate_inner(schema)
        if limits := self._limits(schema):
            said = {**said, "x-limits": limits}
        if "function" in schema:
            name = getattr(schema["function"]["function"], "__name__", "a function")
            said = {**said, "x-validators": [*said.get("x-validators", []), name]}
        if schema["type"] in ("dataclass", "model") and (name := schema.get("post_init")):
            said = {**said, "x-validators": ["__post_init__" if name is True else name]}
        return said

    def _limits(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        kind = schema["type"]
        if kind == "model":
            config = schema.get("config", {})
            return {key: _plain(config[key]) for key in sorted(config) if key.startswith("str_")}
        if kind == "dict" and (keys := schema.get("keys_schema", _TEXT)) != _TEXT:
            return {"keys": self.generate_inner(keys)}
        if kind not in _SAID_OF:
            return {}
        left = schema.keys() - _SAID - _SAID_OF[kind]
        return {key: _plain(schema[key]) for key in sorted(left) if schema[key] is not None}

    def decimal_schema(self, schema: Any) -> JsonSchemaValue:
        number, text = super().decimal_schema(schema)["anyOf"]
        return {"anyOf": [number, {**text, "format": "decimal"}]}

    def complex_schema(self, schema: Any) -> JsonSchemaValue:
        return {**super().complex_schema(schema), "format": "complex"}

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        return {"x-limits": {"type": f"{schema['type']} {error_info}"}}


_TEXT: Final = {"type": "str"}


def _plain(limit: Any) -> Any:
    """Return a limit as a JSON value."""
    match limit:
        case bool() | int() | float() | str():
            return limit
        case Decimal():
            return int(limit) if limit == int(limit) else str(limit)
        case date() | datetime() | time():
            return limit.isoformat()
        case timedelta():
            return limit // timedelta(microseconds=1)
        case list() | tuple():
            return [_plain(item) for item in limit]
        case _:
            return repr(limit)
