"""The lines of Python that make an outcome of an exploration happen again, to paste somewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, Final

from eslab.sagas import Saga
from eslab.simulation.exploration import Combination, Outcome
from eslab.simulation.faults import Crash, Fault

__all__ = ["SAGA_ID", "lines_to"]

SAGA_ID: Final = "1"
"""The id of a saga that an exploration starts."""


def lines_to(
    outcome: Outcome,
    saga: Saga,
    make_lab: Callable[..., Any],
    *,
    start: Callable[[Any], str] | None,
    input: Mapping[str, Any],
) -> str:
    """Return the lines that lead to an outcome again, where `make_lab` is defined.

    Args:
        outcome: what came of which faults.
        saga: its definition.
        make_lab: makes a fresh laboratory.
        start: starts the saga; None: it is started with the input.
        input: what it is started with.
    """
    faults, seed = outcome.faults, outcome.seed
    make = _called(make_lab, "make_lab", make_lab)
    saga_id = repr(SAGA_ID) if start is None else "saga_id"
    if start is None:
        given = "".join(f", {name}={value!r}" for name, value in input.items())
        starting = f"lab.start_saga({_called(saga, saga.name, make_lab)}, {SAGA_ID!r}{given})"
    else:
        starting = f"saga_id = {_called(start, 'start', make_lab)}(lab)"
    lines = [*_imports(faults), f"lab = {make}(seed={seed})", starting]
    lines += [_injecting(faults)] if faults else []
    for crash in (fault for fault in outcome.faults if isinstance(fault, Crash)):
        faults = tuple(fault for fault in faults if fault != crash)
        lines += [
            "with contextlib.suppress(CrashError):",
            "    lab.run()",
            f"lab = {make}(seed={seed}, store=lab.store)",
            *([starting] if start is None else []),
            _injecting(faults),
        ]
    lines.append("lab.run()")
    if outcome.resumed:
        lines += ["lab.inject()", f"lab.resume_saga({saga.name!r}, {saga_id})", "lab.run()"]
    return "\n".join(lines)


def _injecting(faults: Combination) -> str:
    return f"lab.inject({', '.join(map(repr, faults))})"


def _imports(faults: Combination) -> Iterator[str]:
    """Yield the imports that lines with these faults need."""
    names = {type(fault).__name__ for fault in faults}
    if "Crash" in names:
        names.add("CrashError")
        yield "import contextlib"
    if any(isinstance(fault, Fault) and fault.by is not None for fault in faults):
        yield "from datetime import timedelta"
    if names:
        yield f"from eslab.simulation.faults import {', '.join(sorted(names))}"


def _called(what: object, otherwise: str, make_lab: Callable[..., Any]) -> str:
    """Return how something is called where `make_lab` is defined, if it has a name there."""
    scope = getattr(make_lab, "__globals__", {})
    places = {name: value for name, value in scope.items() if not name.startswith("_")}
    for module, found in [*places.items()]:
        if isinstance(found, ModuleType):
            places |= {f"{module}.{name}": value for name, value in vars(found).items()}
    name = getattr(what, "__name__", otherwise)
    known = name if name.isidentifier() else otherwise
    return next((place for place, value in places.items() if value is what), known)
