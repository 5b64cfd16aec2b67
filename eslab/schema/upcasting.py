"""Old events for new classes: functions that bring stored data from one schema version to the next.

What is stored never changes (see "Versioning in an Event Sourced System", Greg Young, 2017); it is
read as if it had been written today.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eslab.errors import InputError, SchemaError, UpcastingError
from eslab.events import Event
from eslab.schema.canonical import canonical_json
from eslab.schema.code import code_text

__all__ = ["Upcaster", "check_upcasters", "upcast", "upcasters_text", "upcasts"]

Upcast = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True, repr=False)
class Upcaster:
    """A pure function from the data of one schema version to that of the next.

    Attributes:
        function: it is given data of its own, which it may change, and returns data.
        version: of what it is given.
        revision: to be raised when it begins to return something else.
    """

    function: Upcast
    version: int
    revision: int = 1

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the data as the next version has it."""
        return self.function(data)

    def __repr__(self) -> str:
        revision = "" if self.revision == 1 else f", revision {self.revision}"
        return (
            f"<Upcaster {_called(self.function)}: {self.version} -> {self.version + 1}{revision}>"
        )


def upcasts(version: int, *, revision: int = 1) -> Callable[[Upcast], Upcaster]:
    """Make a function the upcaster of one schema version to the next.

    Args:
        version: of the data that it takes, from 1.
        revision: to be raised when the function begins to return something else, so that tables
            are built anew.

    Example:
        >>> @upcasts(1)
        ... def in_cents(data):
        ...     data["cents"] = round(data.pop("euros") * 100)
        ...     return data
        >>> class Paid(Event, schema_version=2, upcasters=[in_cents]):
        ...     cents: int
        >>> upcast(Paid, {"euros": 3}, schema_version=1)
        {'cents': 300}
    """
    for name, number in (("version", version), ("revision", revision)):
        if type(number) is not int or number < 1:
            raise InputError(f"the {name} of an upcaster is a number from 1, not {number!r}")

    def decorated(function: Upcast) -> Upcaster:
        if not callable(function):
            raise InputError(f"an upcaster is a function of data, not {function!r}")
        return Upcaster(function, version, revision)

    return decorated


def check_upcasters(cls: type[Event]) -> None:
    """Raise SchemaError, unless a class has one upcaster for each version before its own."""
    where = f"{cls.__qualname__} (schema version {cls.schema_version})"
    for step in cls.upcasters:
        if not isinstance(step, Upcaster):
            raise SchemaError(
                f"{where}: an upcaster is a function that is decorated with @upcasts(version), "
                f"not {step!r}"
            )
    versions = [step.version for step in cls.upcasters]
    wanted = list(range(1, cls.schema_version))
    if sorted(versions) == wanted:
        return
    found = [
        *(f"none takes version {version}" for version in wanted if version not in versions),
        *(f"two take version {version}" for version in wanted if versions.count(version) > 1),
        *(f"{step!r} has no place" for step in cls.upcasters if step.version not in wanted),
    ]
    raise SchemaError(
        f"{where} needs one upcaster for each version before: {'; '.join(found)}: "
        f"class {cls.__name__}(Event, schema_version={cls.schema_version}, upcasters=[...])"
    )


def upcast(cls: type[Event], data: Mapping[str, Any], *, schema_version: int) -> Any:
    """Return stored data as the class has it.

    Args:
        cls: the class of the event.
        data: as it was stored; it is not changed.
        schema_version: with which it was stored.

    Raises:
        SchemaError: it was stored by a newer version of the class.
        UpcastingError: an upcaster fails, or returns something else than data.
    """
    if schema_version == cls.schema_version:
        return data
    if schema_version > cls.schema_version:
        raise SchemaError(
            f"{cls.event_type} was stored with schema version {schema_version}, and "
            f"{cls.__qualname__} knows versions up to {cls.schema_version}: use the newer class"
        )
    steps = sorted(cls.upcasters, key=lambda step: step.version)
    current: Any = dict(data)
    for step in steps[schema_version - 1 :]:
        try:
            # A copy for each: one may return what it keeps, and the next may change that.
            current = step.function(copy.deepcopy(current))
            if type(current) is dict:
                canonical_json(current, what="what it returned")
                continue
            reason = f"it returned {current!r:.200}: return the data, as a dict"
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        raise UpcastingError(cls.event_type, step=repr(step), data=data, reason=reason)
    return current


def upcasters_text(cls: type[Event]) -> list[str]:
    """Return what the data of older versions depends on: a change of it changes what is read."""
    return [f"{step.version} {step.revision} {code_text(step.function)}" for step in cls.upcasters]


def _called(function: Any) -> str:
    name: str = getattr(function, "__name__", repr(function))
    return name
