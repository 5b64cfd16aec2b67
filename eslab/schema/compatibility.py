"""Whether what an event class wrote can still be read after a change of the class."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from operator import ge, gt, le, lt
from typing import Any, Final, Literal

from eslab.errors import InputError
from eslab.events import Event
from eslab.schema.canonical import canonical_json
from eslab.schema.json_schema import json_schema
from eslab.words import counted

__all__ = ["Break", "Compatibility", "compatibility"]

Kind = Literal["removed", "narrowed", "required", "validator"]


@dataclass(frozen=True, slots=True)
class Break:
    """One thing for which old events cannot be read as the new class has it.

    Attributes:
        path: of the field; ``[]`` is each item of a list, ``{}`` each value of a dict.
        kind: the field was removed, its type was narrowed, it is required and was not, or there is
            a validator that was not there.
        reason: what was, what is.
    """

    path: str
    kind: Kind
    reason: str

    def __str__(self) -> str:
        return f"{self.path or 'the event'}: {self.kind}: {self.reason}"


@dataclass(frozen=True, slots=True, repr=False)
class Compatibility:
    """What a change of an event class breaks; true if that is nothing.

    Attributes:
        old: the name of the old class.
        new: the name of the new one.
        breaks: what old events cannot be read for.
    """

    old: str
    new: str
    breaks: tuple[Break, ...]

    @property
    def ok(self) -> bool:
        """Whether all old events can be read as they are, with no upcaster."""
        return not self.breaks

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return "\n".join([self._head, *(f"  {item}" for item in self.breaks)])

    __repr__ = __str__

    @property
    def _head(self) -> str:
        if self.ok:
            return f"{self.old} -> {self.new}: compatible"
        return f"{self.old} -> {self.new}: {counted(len(self.breaks), 'break')}"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(item.path or 'the event')}</td><td>{item.kind}</td>"
            f"<td style='text-align:left'>{escape(item.reason)}</td></tr>"
            for item in self.breaks
        )
        head = "<tr><th>path</th><th>break</th><th>reason</th></tr>"
        table = f"<table>{head}{rows}</table>" if rows else ""
        return f"<p>{escape(self._head)}</p>{table}"


Version = type[Event] | Mapping[str, Any]
"""An event class, or the JSON Schema of one, as the catalogue has it."""


def compatibility(old: Version, new: Version) -> Compatibility:
    """Say what breaks if events that one version of a class wrote are read by another.

    Fields may be added if they have a default, and types be widened (int to float, T to
    ``T | None``, more members of an enum or a union, wider limits). Whatever is not known to be
    wider counts as a break; a break is where the class needs a new schema version and an upcaster.

    A validator that is new breaks, for it may refuse anything. What one of the same name demands is
    not known: `Lab.check_upcasting` reads what is stored.

    Args:
        old: the class that wrote the events, or its JSON Schema, for instance from a catalogue that
            was written to a file.
        new: the class that is to read them, or its JSON Schema.

    Raises:
        InputError: one of them is neither.

    Example:
        >>> class Placed(Event):
        ...     amount: int
        ...     note: str | None = None
        >>> class Changed(Event, type="Placed"):
        ...     amount: float
        ...     currency: str
        >>> compatibility(Placed, Changed)
        Placed -> Changed: 2 breaks
          note: removed: it is no field any more
          currency: required: it has no default, and old events do not hold it
        >>> class Wider(Event, type="Placed"):
        ...     amount: float | None
        ...     note: str | None = None
        ...     currency: str = "EUR"
        >>> compatibility(Placed, Wider).ok
        True
    """
    before, after = _document(old), _document(new)
    breaks = _Comparison(before, after).breaks(before, after, "")
    return Compatibility(before.get("title", "old"), after.get("title", "new"), tuple(breaks))


Schema = Mapping[str, Any]


def _document(version: Version) -> Schema:
    if isinstance(version, type) and issubclass(version, Event):
        return json_schema(version)
    if isinstance(version, Mapping):
        return version
    raise InputError(f"compatibility() compares event classes or JSON Schemas, not {version!r}")


class _Comparison:
    """Walks through two documents side by side.

    Args:
        old: where the references of the old schema lead.
        new: where those of the new one do.
    """

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old = old
        self._new = new
        self._open: set[str] = set()

    def breaks(self, old: Schema, new: Schema, path: str) -> list[Break]:
        """Return what values of `old` break as values of `new`."""
        with self._opened(old, new) as first:
            if not first:  # a type in itself: it is being compared already
                return []
            old, new = _resolved(old, self._old), _resolved(new, self._new)
            if members := _members(old):
                return [found for member in members for found in self.breaks(member, new, path)]
            if members := _members(new):
                return self._of_union(old, members, path)
            return list(self._of_one(old, new, path))

    @contextmanager
    def _opened(self, old: Schema, new: Schema) -> Iterator[bool]:
        pair = canonical_json([old, new])
        first = pair not in self._open
        self._open.add(pair)
        try:
            yield first
        finally:
            if first:
                self._open.remove(pair)

    def _of_union(self, old: Schema, members: list[Schema], path: str) -> list[Break]:
        found = [self.breaks(old, member, path) for member in members]
        if not all(found):
            return []
        resolved = [_resolved(member, self._new) for member in members]
        alike = [
            broken
            for broken, member in zip(found, resolved, strict=True)
            if member.get("type") == old.get("type")
        ]
        if alike:
            return min(alike, key=len)
        named = ", ".join(map(_named, resolved))
        return [Break(path, "narrowed", f"{_named(old)} is none of {named}")]

    def _of_one(self, old: Schema, new: Schema, path: str) -> Iterator[Break]:
        added = set(new.get("x-validators", ())) - set(old.get("x-validators", ()))
        for name in sorted(added):
            yield Break(path, "validator", f"{name} is new, and may refuse what is stored")
        if wrong := _other_type(old, new) or _other_choice(old, new):
            yield Break(path, "narrowed", wrong)
            return
        held = _limits(old)
        for word, limit in _limits(new).items():
            if word == "keys":
                yield from self.breaks(held.get("keys", _TEXT), limit, f"{path} (keys)")
            elif not _is_within(held, word, limit):
                found = f"{word} {held[word]!r}" if word in held else f"no {word}"
                yield Break(path, "narrowed", f"{found} -> {word} {limit!r}")
        if new.get("type") == "object":
            yield from self._of_objects(old, new, path)
        elif new.get("type") == "array":
            yield from self._of_arrays(old, new, path)

    def _of_objects(self, old: Schema, new: Schema, path: str) -> Iterator[Break]:
        had, has = old.get("properties", {}), new.get("properties", {})
        # What a model ignores was not stored.
        others = _schema(old.get("additionalProperties", "properties" not in old))
        open_to = _schema(new.get("additionalProperties", "properties" not in new))
        for name, part in had.items():
            inner = _inside(path, name)
            if name in has:
                yield from self.breaks(part, has[name], inner)
            elif open_to is None:
                yield Break(inner, "removed", "it is no field any more")
            else:
                yield from self.breaks(part, open_to, inner)
        if others is not None:
            for name in [name for name in has if name not in had]:
                yield from self.breaks(others, has[name], _inside(path, name))
            if open_to is None:
                yield Break(path, "narrowed", "it held any keys, and now holds only its fields")
            else:
                yield from self.breaks(others, open_to, f"{path}{{}}")
        tag = _tag(new) if _tag(old) != _tag(new) else None
        for name in dict.fromkeys([*new.get("required", ()), *([tag] if tag else ())]):
            if name not in old.get("required", ()):
                held = "need not hold it" if name in had else "do not hold it"
                reason = f"it has no default, and old events {held}"
                yield Break(_inside(path, name), "required", reason)

    def _of_arrays(self, old: Schema, new: Schema, path: str) -> Iterator[Break]:
        had, has = old.get("prefixItems", []), new.get("prefixItems", [])
        others, open_to = old.get("items", {}), new.get("items", {})
        for index in range(max(len(had), len(has))):
            before = had[index] if index < len(had) else others
            after = has[index] if index < len(has) else open_to
            yield from self.breaks(before, after, f"{path}[{index}]")
        if len(had) < old.get("maxItems", len(had) + 1):
            yield from self.breaks(others, open_to, f"{path}[]")


_TEXT: Final[Schema] = {"type": "string"}


def _inside(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _schema(additional: Any) -> Schema | None:
    """Return the schema of further properties; None if there are none."""
    if additional is True:
        return {}
    return None if additional is False else additional


def _tag(schema: Schema) -> str | None:
    """Return the name of the field that says which member of a union an object is."""
    tag: str | None = schema.get("discriminator", {}).get("propertyName")
    return tag


def _joined(one: Schema, other: Schema) -> Schema:
    """Return the schema that says what both say."""
    return {
        **one,
        **other,
        "x-limits": {**one.get("x-limits", {}), **other.get("x-limits", {})},
        "x-validators": [*one.get("x-validators", []), *other.get("x-validators", [])],
    }


def _resolved(schema: Schema, document: Schema) -> Schema:
    """Return a schema with its own reference followed."""
    while "$ref" in schema:
        target: Any = document
        try:
            for part in schema["$ref"].removeprefix("#").split("/")[1:]:
                target = target[part.replace("~1", "/").replace("~0", "~")]
        except (KeyError, TypeError):
            raise InputError(
                f"a JSON Schema refers to {schema['$ref']!r}, which is not in it: give the whole "
                f"document, as the catalogue has it"
            ) from None
        rest = {word: value for word, value in schema.items() if word not in ("$ref", "$defs")}
        schema = _joined(target, rest)
    return schema


def _members(schema: Schema) -> list[Schema]:
    """Return the members of a union; none, if it is no union."""
    for word in ("anyOf", "oneOf"):
        if word in schema:
            rest = {key: value for key, value in schema.items() if key != word}
            return [_joined(rest, member) for member in schema[word]]
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": kind} for kind in schema["type"]]
    return []


def _other_type(old: Schema, new: Schema) -> str | None:
    """Say what is wrong if values of one type are none of the other."""
    if "type" not in new:
        return None
    if "type" in old:
        kinds = {old["type"]}
    else:
        kinds = {_KINDS[type(value)] for value in _choices(old) or ()} or {"anything"}
    if kinds <= {new["type"]} or (new["type"] == "number" and kinds <= {"number", "integer"}):
        return None
    return f"{_named(old)} -> {_named(new)}"


_KINDS: Final[Mapping[type, str]] = {
    bool: "boolean",
    dict: "object",
    float: "number",
    int: "integer",
    list: "array",
    str: "string",
    type(None): "null",
}


def _choices(schema: Schema) -> list[Any] | None:
    """Return the only values there are, if a schema lists them."""
    if "const" in schema:
        return [schema["const"]]
    return schema.get("enum")


def _other_choice(old: Schema, new: Schema) -> str | None:
    """Say what is wrong if the new schema lists values, and the old one has others."""
    had, has = _choices(old), _choices(new)
    if has is None:
        return None
    if had is None:
        return f"{_named(old)} -> {_named(new)}"
    known = set(map(canonical_json, has))  # in JSON 1 is not true
    if gone := [value for value in had if canonical_json(value) not in known]:
        return f"{', '.join(map(repr, gone))} cannot be any more"
    return None


_ASSERTIONS: Final = frozenset(
    {
        "allOf",
        "contains",
        "contentEncoding",
        "contentMediaType",
        "dependentRequired",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "if",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "not",
        "pattern",
        "patternProperties",
        "propertyNames",
        "uniqueItems",
    }
)
_ALSO: Final[Mapping[str, str]] = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}


def _limits(schema: Schema) -> dict[str, Any]:
    """Return what a schema demands beside a type, in words of JSON Schema as far as it has them."""
    said = {word: value for word, value in schema.items() if word in _ASSERTIONS}
    more = schema.get("x-limits", {}).items()
    return said | {_ALSO.get(word, word): value for word, value in more}


_Test = Callable[[Any, Any], bool]
_WITHIN: Final[Mapping[str, Mapping[str, _Test]]] = {
    "minimum": {"minimum": ge, "exclusiveMinimum": ge},
    "exclusiveMinimum": {"exclusiveMinimum": ge, "minimum": gt},
    "maximum": {"maximum": le, "exclusiveMaximum": le},
    "exclusiveMaximum": {"exclusiveMaximum": le, "maximum": lt},
    "minItems": {"minItems": ge},
    "minLength": {"minLength": ge},
    "minProperties": {"minProperties": ge},
    "maxItems": {"maxItems": le},
    "maxLength": {"maxLength": le},
    "maxProperties": {"maxProperties": le},
    "multipleOf": {"multipleOf": lambda held, limit: held % limit == 0},
}
"""By which old limits a new one is kept, and how each must compare with it."""


def _is_within(held: Mapping[str, Any], word: str, limit: Any) -> bool:
    """Say whether values within the old limits are within a new one."""
    if word in held and canonical_json(held[word]) == canonical_json(limit):
        return True
    return any(
        isinstance(held.get(other), int | float)
        and isinstance(limit, int | float)
        and test(held[other], limit)
        for other, test in _WITHIN.get(word, {}).items()
    )


def _named(schema: Schema) -> str:
    """Return a type in words."""
    if (choices := _choices(schema)) is not None:
        return " | ".join(map(repr, choices))
    kind: str = schema.get("type", "anything")
    more = schema.get("format") or (schema.get("title") if kind == "object" else None)
    return f"{kind} ({more})" if more else kind
