"""State by annotated attributes with defaults, as a class declares it: what it begins with."""

from __future__ import annotations

import re
import typing
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import Field
from types import MemberDescriptorType
from typing import Any, ClassVar, Final, Generic, get_origin

from pydantic.fields import FieldInfo
from typing_extensions import TypedDict

from eslab.errors import SchemaError

__all__ = ["require_free_names", "state_defaults", "state_shape"]

_CLASS_VAR: Final = re.compile(r"(\w+\.)*ClassVar\b")
_SHARED: Final = (list, dict, set, bytearray, deque)
_PLACEHOLDERS: Final = (FieldInfo, Field, property, MemberDescriptorType)  # the last: of __slots__
_MISSING: Final = object()


def require_free_names(
    cls: type, base: type, *, own: Collection[str], arguments: Collection[str]
) -> None:
    """Refuse what takes the place of something of eslab's.

    Args:
        cls: the class, at its definition.
        base: what it extends.
        own: the names that eslab uses in it.
        arguments: of these, the ones that are class arguments.

    Raises:
        SchemaError: a name is taken.
    """
    taken = vars(cls).keys() | vars(cls).get("__annotations__", {})
    for mixin in cls.__mro__:
        if not issubclass(mixin, base) and not issubclass(base, mixin):
            # What it only declares, or gives a value, is the class's own in each instance.
            taken |= {name for name, value in vars(mixin).items() if hasattr(value, "__get__")}
    for name in sorted({*own} & taken):
        instead = (
            f"say it in the first line: class {cls.__name__}({base.__name__}, {name}=...)"
            if name in arguments
            else "choose another"
        )
        raise SchemaError(f"{cls.__qualname__}.{name}: eslab uses that name; {instead}")


def state_defaults(cls: type, base: type, *, own: Collection[str]) -> dict[str, Any]:
    """Return by name what each annotated attribute begins with, those of mixins among them.

    Args:
        cls: the class, at its definition.
        base: what it extends.
        own: the names that eslab uses in it.

    Raises:
        SchemaError: one has no value to begin with, or would be shared by all instances.
    """
    annotations: dict[str, Any] = {}
    for owner in reversed(cls.__mro__):
        if owner is not Generic and owner not in base.__mro__:
            annotations |= vars(owner).get("__annotations__", {})
    _require_nothing_shared(cls, {*annotations, *own})
    defaults: dict[str, Any] = {}
    for name, annotation in annotations.items():
        if get_origin(annotation) is ClassVar or _CLASS_VAR.match(str(annotation)):
            continue
        default = getattr(cls, name, _MISSING)
        if default is _MISSING or isinstance(default, _PLACEHOLDERS):
            if _is_of_a_mixin(cls, base, name):  # which says what it needs of others
                continue
            raise SchemaError(
                f"{cls.__qualname__}.{name} needs a value to begin with, of which each gets a "
                f"copy: {name}: ... = ..."
            )
        if name not in own:
            defaults[name] = default
    return defaults


def state_shape(cls: type, fields: Collection[str], names: Mapping[str, Any]) -> Any:
    """Return the type of the state, by the annotations of its attributes.

    Args:
        cls: the class.
        fields: the names of the attributes.
        names: what annotations may mean beside the names of the module.

    Raises:
        SchemaError: an annotation is not known.
    """
    try:
        hints = typing.get_type_hints(cls, localns=dict(names))
    except NameError as error:
        where = cls.__qualname__
        raise SchemaError(f"{where}: an annotation is not known here: {error}") from error
    shape: Any = TypedDict("State", {name: hints[name] for name in fields})  # type: ignore[misc]
    return shape


def _is_of_a_mixin(cls: type, base: type, name: str) -> bool:
    """Say whether only mixins declare an attribute."""
    return not any(
        name in vars(owner).get("__annotations__", {})
        for owner in cls.__mro__
        if issubclass(owner, base)
    )


def _require_nothing_shared(cls: type, declared: Collection[str]) -> None:
    """Raise SchemaError for what would change in all instances when it changes in one."""
    for name, value in vars(cls).items():
        known = name in declared or name.startswith("__") or name.isupper()
        if isinstance(value, _SHARED) and not known:
            kind = type(value).__name__
            raise SchemaError(
                f"{cls.__qualname__}.{name} = {value!r:.100} would be shared by all of them: "
                f"annotate it, so that each has its own: {name}: {kind} = ...; or, if it never "
                f"changes, {name}: ClassVar[{kind}] = ..."
            )
