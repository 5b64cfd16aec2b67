"""The code of functions as text: what changes when somebody writes a handler or validator anew."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Any

from pydantic import BaseModel

__all__ = ["code_text", "decoding_code"]


def code_text(function: Any) -> str:
    """Return the code of a function, and of those inside it.

    Example:
        >>> code_text(lambda x: x + 1) == code_text(lambda x: x + 1)
        True
        >>> code_text(lambda x: x + 1) == code_text(lambda x: x + 2)
        False
    """
    code: CodeType = inspect.unwrap(function).__code__
    return _code_text(code)


def _code_text(code: CodeType) -> str:
    constants = " ".join(map(_constant_text, code.co_consts))
    return f"{code.co_code.hex()} {code.co_names} {constants}"


def _constant_text(constant: object) -> str:
    if isinstance(constant, CodeType):
        return _code_text(constant)
    if isinstance(constant, frozenset):  # `x in {...}`: the order of a set differs from run to run
        return f"{{{', '.join(sorted(map(_constant_text, constant)))}}}"
    if isinstance(constant, tuple):
        return f"({', '.join(map(_constant_text, constant))})"
    return repr(constant)


def decoding_code(model: type[BaseModel]) -> list[str]:
    """Return the code of what runs when a model is validated: validators, default factories.

    Example:
        >>> from pydantic import Field
        >>> class Named(BaseModel):
        ...     name: str = Field(default_factory=lambda: "nobody")
        >>> len(decoding_code(Named))
        1
    """
    return list(_codes(model.__pydantic_core_schema__))


_NOT_RUN = frozenset({"cls", "config", "metadata", "serialization"})


def _codes(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        if name := part.get("post_init"):  # of a model, or True for a dataclass
            yield from _codes(getattr(part["cls"], name if name is not True else "__post_init__"))
        for key, inner in part.items():
            if key not in _NOT_RUN:
                yield from _codes(inner)
    elif isinstance(part, list | tuple):
        for inner in part:
            yield from _codes(inner)
    elif isinstance(part, functools.partial):
        yield repr((part.args, part.keywords))
        yield from _codes(part.func)
    elif inspect.isroutine(part):
        if not hasattr(part, "__code__"):
            yield part.__qualname__
            return
        yield code_text(part)
        cells = getattr(inspect.unwrap(part), "__closure__", None) or ()
        for cell in cells:
            yield from _held(cell)


def _held(cell: Any) -> Iterator[str]:
    """Yield what a function made by another one holds of it, as far as it is a plain value."""
    try:
        held = cell.cell_contents
    except ValueError:  # it is not set yet
        return
    if isinstance(held, str | bytes | int | float | None):
        yield repr(held)
    elif inspect.isroutine(held):
        yield from _codes(held)
