"""Whether a class reads what an older version of it stored; and if not, what breaks.

What the old class writes (its JSON Schema for serialization) must be what the new one takes (its
schema for validation). Validators in Python are not seen: they are in no schema.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from eslab.errors import InputError
from eslab.events import Event

__all__ = ["Break", "Compatibility", "compatibility"]

Kind = Literal["another type name", "removed field", "narrowed type", "new required field"]
Schema = Mapping[str, Any]

NARROWING: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
WIDENING: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
SAME: Final = ("pattern", "format", "multipleOf", "contentEncoding", "contentMediaType")


@dataclass(frozen=True, slots=True)
class Break:
    """Something that was stored and cannot be read.

    Attributes:
        path: of the field, with those that it is inside of.
        kind: what was done to it.
        reason: what it was, and what it is.
    """

    path: str
    kind: Kind
    reason: str

    def __str__(self) -> str:
        return f"{self.path or 'the event'}: {self.kind}: {self.reason}"


@dataclass(frozen=True, slots=True, repr=False)
class Compatibility:
    """What breaks between two versions of an event: nothing, if it is `ok`."""

    old: str
    new: str
    breaks: tuple[Break, ...]

    @property
    def ok(self) -> bool:
        """Whether the new version reads whatever the old one stored."""
        return not self.breaks

    def __repr__(self) -> str:
        if self.ok:
            return f"{self.new} reads what {self.old} stored"
        listed = "".join(f"\n- {one}" for one in self.breaks)
        return (
            f"{self.new} does not read all that {self.old} stored:{listed}\n"
            f"give it the next schema_version, and an upcaster from the one before"
        )

    def _repr_html_(self) -> str:
        if self.ok:
            return f"<p>{html.escape(repr(self))}</p>"
        rows = "".join(
            f"<tr><td>{html.escape(one.path)}</td><td>{one.kind}</td>"
            f"<td style='text-align:left'>{html.escape(one.reason)}</td></tr>"
            for one in self.breaks
        )
        return (
            f"<p>{html.escape(self.new)} does not read all that {html.escape(self.old)} stored</p>"
            f"<table><tr><th>field</th><th>what breaks</th><th>why</th></tr>{rows}</table>"
        )


def compatibility(old: type[Event] | Schema, new: type[Event]) -> Compatibility:
    """Compare two versions of an event.

    Args:
        old: the class as it was, or the JSON Schema of what it stored: a type of a catalogue
            (`EventRegistry.catalogue`), or ``old.model_json_schema(mode="serialization")``.
        new: the class as it is.

    Raises:
        InputError: they are something else.

    Example:
        >>> class Paid(Event, type="Paid"):
        ...     amount: float
        ...     note: str
        >>> class PaidInCents(Event, type="Paid"):
        ...     amount: int
        ...     currency: str
        >>> compatibility(Paid, PaidInCents)
        PaidInCents does not read all that Paid stored:
        - amount: narrowed type: it was number, and is integer
        - note: removed field: PaidInCents has none of that name
        - currency: new required field: it has no default, and nothing of it was stored
        give it the next schema_version, and an upcaster from the one before
    """
    if not (isinstance(new, type) and issubclass(new, Event)):
        raise InputError(f"the new version is a subclass of eslab.Event, not {new!r:.200}")
    breaks = []
    if isinstance(old, Mapping):
        written, name = old, str(old.get("title", "the old version"))
    elif isinstance(old, type) and issubclass(old, Event):
        written, name = old.model_json_schema(mode="serialization", by_alias=False), old.__name__
        if old.event_type != new.event_type:
            reason = f"it is stored as {old.event_type}, and {new.event_type} is read: type=..."
            breaks.append(Break("", "another type name", reason))
    else:
        raise InputError(f"the old version is a subclass of eslab.Event, or a schema: {old!r:.200}")
    taken = new.model_json_schema(mode="validation", by_alias=False)
    comparison = _Comparison(written.get("$defs", {}), taken.get("$defs", {}), new.__name__)
    breaks += comparison.breaks(written, taken, "")
    return Compatibility(name, new.__name__, tuple(breaks))


class _Comparison:
    """Two schemas, whose parts are compared.

    Args:
        old: the definitions that the old schema refers to.
        new: those of the new one.
        name: of the new class, for the reasons.
    """

    def __init__(self, old: Schema, new: Schema, name: str) -> None:
        self._old = old
        self._new = new
        self._name = name
        self._open: list[tuple[str, str]] = []

    def breaks(self, old: Schema, new: Schema, path: str) -> Iterator[Break]:
        """Yield what the old schema allows and the new one does not."""
        references = old.get("$ref", ""), new.get("$ref", "")
        if all(references) and references in self._open:  # a model that holds itself
            return
        self._open.append(references if all(references) else ("", ""))
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        yield from self._by_alternative(old, new, path)
        self._open.pop()

    def _by_alternative(self, old: Schema, new: Schema, path: str) -> Iterator[Break]:
        olds, news = _alternatives(old), _alternatives(new)
        if olds is not None:
            for one in olds:
                yield from self.breaks(one, new, path)
        elif news is not None:
            found = [list(self.breaks(old, one, path)) for one in news]
            if all(found):
                same = [
                    some
                    for some, one in zip(found, news, strict=True)
                    if _like(old, _resolved(one, self._new))
                ]
                yield from same[0] if len(same) == 1 else [_narrowed(path, old, new)]
        else:
            yield from self._plain(old, new, path)

    def _plain(self, old: Schema, new: Schema, path: str) -> Iterator[Break]:
        if not _constraints(new):
            return
        allowed, values = _values(new), _values(old)
        if allowed is not None:
            if values is None:
                yield _narrowed(path, old, new)
            elif removed := [value for value in values if value not in allowed]:
                listed = ", ".join(map(repr, removed))
                yield Break(
                    path, "narrowed type", f"{listed} may have been stored, and is not taken"
                )
            return
        kinds = {_kind(value) for value in values} if values is not None else {old.get("type")}
        if any(kind not in _taken(new) for kind in kinds):
            yield _narrowed(path, old, new)
            return
        yield from _bounds(old, new, path)
        if new.get("type") == "array":
            yield from self._items(old, new, path)
        if new.get("type") == "object":
            yield from self._fields(old, new, path)

    def _items(self, old: Schema, new: Schema, path: str) -> Iterator[Break]:
        inside = f"{path}[]"
        if new.get("uniqueItems") and not old.get("uniqueItems"):
            yield _narrowed(path, old, new, was="a list", now="a set")
        olds, news = old.get("prefixItems"), new.get("prefixItems")
        if news is not None:
            if olds is None or len(olds) != len(news):
                yield _narrowed(path, old, new, now=f"a tuple of {len(news)}")
                return
            for one, other in zip(olds, news, strict=True):
                yield from self.breaks(one, other, inside)
            return
        for one in olds if olds is not None else [old.get("items", {})]:
            yield from self.breaks(one, new.get("items", {}), inside)

    def _fields(self, old: Schema, new: Schema, path: str) -> Iterator[Break]:
        olds, news = old.get("properties", {}), new.get("properties", {})
        others = new.get("additionalProperties", True)
        for name, one in olds.items():
            inside = f"{path}.{name}" if path else name
            if name in news:
                yield from self.breaks(one, news[name], inside)
            elif isinstance(others, Mapping):
                yield from self.breaks(one, others, inside)
            elif news or others is False:
                yield Break(inside, "removed field", f"{self._name} has none of that name")
        for name in new.get("required", ()):
            if name not in old.get("required", ()):
                inside = f"{path}.{name}" if path else name
                stored = (
                    "it may not have been stored" if name in olds else "nothing of it was stored"
                )
                reason = f"it has no default, and {stored}"
                yield Break(inside, "new required field", reason)
        if "properties" in old:
            return
        keys = old.get("propertyNames"), new.get("propertyNames")
        if (keys[1] is not None and keys[0] != keys[1]) or news or others is False:
            yield _narrowed(path, old, new, was="a dict with any keys")
        elif isinstance(others, Mapping):
            values = old.get("additionalProperties", {})
            yield from self.breaks(
                values if isinstance(values, Mapping) else {}, others, f"{path}{{}}"
            )


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    while (reference := schema.get("$ref")) is not None:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**definitions[reference.rpartition("/")[2]], **beside}
    return schema


def _alternatives(schema: Schema) -> list[Schema] | None:
    found = schema.get("anyOf") or schema.get("oneOf")
    if found is not None:
        return list(found)
    if isinstance(kinds := schema.get("type"), list):
        return [{**schema, "type": kind} for kind in kinds]
    return None


_SILENT: Final = frozenset({"title", "description", "default", "examples", "deprecated", "$defs"})


def _constraints(schema: Schema) -> bool:
    """Say whether a schema refuses anything."""
    return any(key not in _SILENT and not key.startswith("x-") for key in schema)


def _values(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    found = schema.get("enum")
    return None if found is None else list(found)


def _kind(value: Any) -> str:
    kinds: list[tuple[type, str]] = [
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (list, "array"),
        (dict, "object"),
    ]
    return next((kind for cls, kind in kinds if isinstance(value, cls)), "null")


def _taken(schema: Schema) -> tuple[str | None, ...]:
    kind = schema.get("type")
    return ("integer", "number") if kind == "number" else (kind,)


def _like(old: Schema, new: Schema) -> bool:
    return old.get("type") == new.get("type") and new.get("type") in ("array", "object")


def _bounds(old: Schema, new: Schema, path: str) -> Iterator[Break]:
    for keyword in (*NARROWING, *WIDENING):
        limit, before = new.get(keyword), old.get(keyword)
        if limit is None:
            continue
        wider = before is None or (before < limit if keyword in NARROWING else before > limit)
        if wider:
            was = "anything" if before is None else before
            yield Break(path, "narrowed type", f"its {keyword} was {was}, and is {limit}")
    for keyword in SAME:
        if keyword in new and new[keyword] != old.get(keyword):
            was = old.get(keyword, "anything")
            yield Break(path, "narrowed type", f"its {keyword} was {was}, and is {new[keyword]}")


def _narrowed(path: str, old: Schema, new: Schema, *, was: str = "", now: str = "") -> Break:
    reason = f"it was {was or _told(old)}, and is {now or _told(new)}"
    return Break(path, "narrowed type", reason)


def _told(schema: Schema) -> str:
    if (values := _values(schema)) is not None:
        return " or ".join(map(repr, values))
    if (parts := _alternatives(schema)) is not None:
        return " or ".join(map(_told, parts))
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    told = str(schema.get("type", "anything"))
    return f"{told} ({schema['format']})" if "format" in schema else told
