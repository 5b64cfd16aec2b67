"""Python source that stands for values: what is written, evaluated, is equal to the value."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from keyword import iskeyword
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, RootModel

from eslab.errors import InputError

__all__ = ["Code", "Group", "SourceCode", "text_code"]

WIDTH: Final = 100

_STANDARD: Final = frozenset(sys.stdlib_module_names)


@dataclass(frozen=True, slots=True)
class Group:
    """Parts between brackets: on one line if they fit, otherwise each on a line of its own.

    Attributes:
        opening: what stands before them.
        parts: each with what stands before it, such as the name of a keyword.
        closing: what stands behind them.
    """

    opening: str
    parts: tuple[tuple[str, Code], ...]
    closing: str


Code = str | Group
"""Source of an expression, which is laid out when it is known where it stands."""


class SourceCode:
    """Writes values as expressions, and remembers what these need to be imported.

    Args:
        module: from which classes are imported that no module has, as those of a notebook.

    Raises:
        InputError: no module can have this name.

    Example:
        >>> code = SourceCode()
        >>> code.laid_out(code.value({"price": Decimal("1.50"), "of": (1,)}))
        '{"price": Decimal("1.50"), "of": (1,)}'
        >>> code.imports()
        ['from decimal import Decimal']
    """

    def __init__(self, *, module: str | None = None) -> None:
        if module is not None and not _is_module(module):
            raise InputError(f"module is the name of one, such as 'shop.orders', not {module!r}")
        self._module = module
        self._names: dict[str, tuple[str, str]] = {}
        self._missing: set[str] = set()

    # Names.

    def reserve(self, *names: str) -> None:
        """Let nothing that is imported be called this."""
        for name in names:
            self._names[name] = ("", name)

    def imported(self, module: str, name: str) -> str:
        """Return what something is called here that a module has under a name."""
        number, called = 1, name
        while self._names.setdefault(called, (module, name)) != (module, name):
            number += 1
            called = f"{name}_{number}"
        return called

    def known_as(self, defined: Any) -> str:
        """Return what a class is called here."""
        module, path = defined.__module__, defined.__qualname__
        if module == "builtins":
            return str(path)
        if not _has(module, path, defined):
            return self.missing(defined.__name__)
        top, *below = path.split(".")
        return ".".join([self.imported(module, top), *below])

    def missing(self, name: str) -> str:
        """Return what something is called here that no module has that could be imported."""
        place = self._module or "your_module"
        if self._module is None:
            self._missing.add(place)
        return self.imported(place, name)

    def imports(self) -> list[str]:
        """Return the lines that import what was written: first from the standard library."""
        by_module: dict[str, list[str]] = {}
        for called, (module, name) in self._names.items():
            if module:
                shown = name if called == name else f"{name} as {called}"
                by_module.setdefault(module, []).append(shown)
        ordered = sorted(by_module)
        standard = [each for each in ordered if each.partition(".")[0] in _STANDARD]
        others = [each for each in ordered if each not in {*standard, *self._missing}]
        blocks = [
            [line for each in block for line in self._import(each, by_module[each])]
            for block in (standard, others, sorted(self._missing))
        ]
        return [line for block in blocks if block for line in ("", *block)][1:]

    def _import(self, module: str, names: Sequence[str]) -> Iterator[str]:
        if module in self._missing:
            yield "# These have no module yet: write down where you have put them."
        parts = tuple(("", name) for name in sorted(names, key=_import_order))
        opening = f"from {module} import "
        flat = opening + ", ".join(name for _, name in parts)
        if len(flat) <= WIDTH:
            yield flat
        else:
            yield from self.laid_out(Group(f"{opening}(", parts, ")"), width=0).split("\n")

    # Values.

    def value(self, value: Any) -> Code:
        """Return the source of a value.

        Raises:
            InputError: there is no source that would be equal to it.
        """
        kind = type(value)
        if kind in (int, bool, type(None)):
            return repr(value)
        if kind in (str, bytes):
            return text_code(value)
        if kind is float:
            return repr(value) if math.isfinite(value) else f'float("{value}")'
        if isinstance(value, Enum):
            return self._enum(value)
        if isinstance(value, BaseModel):
            return self._model(value)
        if dataclasses.is_dataclass(value):
            parts = [field.name for field in dataclasses.fields(value) if field.init]
            return self.call(self.known_as(kind), **{name: getattr(value, name) for name in parts})
        if isinstance(value, tuple) and (names := getattr(kind, "_fields", ())):
            return self.call(self.known_as(kind), **dict(zip(names, value, strict=True)))
        return self._collection(value) or self._scalar(value)

    def call(self, function: str, *args: Any, **keywords: Any) -> Group:
        """Return the source of a call with values."""
        return self.group(function, [self.value(arg) for arg in args], self.keywords(keywords))

    def keywords(self, values: Mapping[str, Any]) -> dict[str, Code]:
        """Return the source of values by their names."""
        return {name: self.value(value) for name, value in values.items()}

    @staticmethod
    def group(function: str, args: Iterable[Code], keywords: Mapping[str, Code]) -> Group:
        """Return the source of a call with what is written already."""
        named = ((f"{name}=", code) for name, code in keywords.items())
        return Group(f"{function}(", (*(("", code) for code in args), *named), ")")

    def _enum(self, value: Enum) -> Code:
        name = self.known_as(type(value))
        if value.name in type(value).__members__:
            return f"{name}.{value.name}"
        return self.call(name, value.value)  # several flags at once

    def _model(self, value: BaseModel) -> Code:
        cls = type(value)
        name = self.known_as(cls)
        if isinstance(value, RootModel):
            return self.call(name, value.root)
        fields = {each: item for each, item in value if each in value.model_fields_set}
        if _makes(cls, fields, value):
            with suppress(InputError):
                return self.call(name, **fields)
        # It is not made by the names of its fields: they have aliases, or validators change them.
        plain = value.model_dump(mode="json", by_alias=False, round_trip=True)
        if cls.model_validate(plain, by_name=True) != value:
            raise InputError(f"{value!r:.200} cannot be written as Python")
        return self.group(f"{name}.model_validate", [self.value(plain)], {"by_name": "True"})

    def _collection(self, value: Any) -> Code | None:
        kind = type(value)
        if isinstance(value, dict):
            pairs = value.items()
            parts = tuple((f"{self.flat(self.value(k))}: ", self.value(v)) for k, v in pairs)
            return Group("{", parts, "}")
        if kind is list:
            return Group("[", self._parts(value), "]")
        if kind is tuple:
            return Group("(", self._parts(value), ",)" if len(value) == 1 else ")")
        if kind in (set, frozenset):
            name = kind.__name__
            if not value:
                return f"{name}()"
            items = sorted((self.value(item) for item in value), key=self.flat)
            braces = Group("{", tuple(("", item) for item in items), "}")
            return braces if kind is set else self.group(name, [braces], {})
        return None

    def _parts(self, values: Iterable[Any]) -> tuple[tuple[str, Code], ...]:
        return tuple(("", self.value(value)) for value in values)

    def _scalar(self, value: Any) -> Code:
        match value:
            case Decimal() | UUID():
                name = self.imported(type(value).__module__, type(value).__name__)
                return f"{name}({text_code(str(value))})"
            case datetime() | date() | time():
                name = self.imported("datetime", type(value).__name__)
                return f"{name}.fromisoformat({text_code(value.isoformat())})"
            case timedelta():
                parts = {each: getattr(value, each) for each in ("days", "seconds", "microseconds")}
                name = self.imported("datetime", "timedelta")
                return self.call(name, **{each: part for each, part in parts.items() if part})
        raise InputError(f"{value!r:.200} cannot be written as Python")

    # Layout.

    def flat(self, code: Code) -> str:
        """Return an expression on one line."""
        if isinstance(code, str):
            return code
        parts = (before + self.flat(part) for before, part in code.parts)
        return f"{code.opening}{', '.join(parts)}{code.closing}"

    def laid_out(self, code: Code, *, indent: int = 0, before: int = 0, width: int = WIDTH) -> str:
        """Return an expression on as many lines as it needs.

        Args:
            code: the expression.
            indent: how far the line is indented on which it begins.
            before: how much stands before it on that line, and behind it.
            width: how long a line may be.
        """
        flat = self.flat(code)
        if isinstance(code, str) or not code.parts or indent + before + len(flat) <= width:
            return flat
        inner = indent + 4
        lines = [
            " " * inner
            + name
            + self.laid_out(part, indent=inner, before=len(name) + 1, width=max(width, WIDTH))
            + ","
            for name, part in code.parts
        ]
        closing = code.closing.lstrip(",")
        return "\n".join([code.opening, *lines, " " * indent + closing])


def text_code(text: str | bytes) -> str:
    """Return the source of text, in double quotes where that needs no more signs.

    Example:
        >>> print(text_code("it's"), text_code('a "b"'), text_code(b"c"))
        "it's" 'a "b"' b"c"
    """
    code = repr(text)
    start = 1 if isinstance(text, bytes) else 0
    inner = code[start + 1 : -1]
    if code[start] == '"' or inner.count('"') > inner.count("'"):
        return code
    inner = inner.replace("\\'", "'").replace('"', '\\"')
    return f'{code[:start]}"{inner}"'


def _import_order(name: str) -> tuple[int, str]:
    """Return the key by which imported names are sorted: constants, classes, the others."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2), name


def _is_module(name: Any) -> bool:
    return isinstance(name, str) and all(
        part.isidentifier() and not iskeyword(part) for part in name.split(".")
    )


def _has(module: str, path: str, defined: Any) -> bool:
    """Say whether a module that can be imported has something at a path."""
    found = sys.modules.get(module)
    if found is None or module == "__main__":
        return False
    for name in path.split("."):
        found = getattr(found, name, None)
    return bool(getattr(found, "__qualname__", None) == defined.__qualname__)


def _makes(cls: type[BaseModel], fields: Mapping[str, Any], value: BaseModel) -> bool:
    """Say whether a model is made by the names of its fields."""
    if not all(name.isidentifier() and not iskeyword(name) for name in fields):
        return False
    try:
        made: object = cls(**fields)
    except Exception:
        return False
    return bool(made == value)
