"""The plan of an exploration: which faults are tried, alone and together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any, Final

from eslab.errors import InputError
from eslab.sagas import Saga, Step
from eslab.simulation.exploration import Combination
from eslab.simulation.faults import DELIVERY_FAULTS, STEP_FAULTS, Fault

__all__ = ["Plan"]

_TRIED_AGAIN: Final = frozenset(STEP_FAULTS) - {"duplicate_reply"}
"""After these an attempt may be made again: at each attempt they end otherwise than at one."""


class Plan:
    """The combinations of faults that are tried with a saga.

    Args:
        saga: its definition.
        faults: names, that are tried at each step; and faults, that are tried as they are.

    Raises:
        InputError: there is no such fault, or no such step.
    """

    def __init__(self, saga: Saga, faults: Iterable[str | Fault]) -> None:
        if isinstance(faults, str | Mapping) or not isinstance(faults, Iterable):
            raise InputError(f"faults are a list of names and of Fault(...), not {faults!r:.200}")
        given = list(faults)
        self._saga = saga
        self._names = [one for one in given if isinstance(one, str)]
        self._given = [one for one in given if not isinstance(one, str)]
        known = (*STEP_FAULTS, *DELIVERY_FAULTS)
        if wrong := [name for name in self._names if name not in known]:
            raise InputError(f"there is no fault {wrong[0]!r}; there are: {', '.join(known)}")
        for fault in self._given:
            if not isinstance(fault, Fault):
                raise InputError(f"a fault is a name, or made by Fault(...); found {fault!r:.200}")
            if fault.step is not None and fault.step not in saga.by_name:
                steps = ", ".join(saga.by_name)
                raise InputError(
                    f"saga {saga.name!r} has no step {fault.step!r}, at which {fault!r} could "
                    f"happen; it has: {steps}"
                )

    def singles(self) -> list[Combination]:
        """Return each fault alone, with what it takes to happen; and no fault at all."""
        return [
            (),
            *((fault,) for fault in self._executing()),
            *(
                (trigger, fault)
                for step, trigger in self._undone()
                for fault in self._at(step, "compensate")
            ),
        ]

    def pairs(self) -> list[Combination]:
        """Return each two faults at different places; at least one of them at an execution."""
        executing = self._executing()
        places = list(self._saga.by_name)
        two = [
            pair
            for pair in combinations(executing, 2)
            if pair[0].step is None or pair[0].step != pair[1].step
        ]
        undone = [
            (first, fault)
            for step, _ in self._undone()
            for fault in self._at(step, "compensate")
            for first in executing
            if first.step is not None and places.index(first.step) >= places.index(step.name)
        ]
        return [*two, *undone]

    def undoing(self) -> list[Combination]:
        """Return what it takes that the saga is undone; nothing, if it never can be."""
        triggers: list[Combination] = [(trigger,) for _, trigger in self._undone()]
        return triggers[:1]

    def _executing(self) -> list[Fault]:
        deliveries = [name for name in self._names if name in DELIVERY_FAULTS]
        return [
            *(fault for step in self._saga for fault in self._at(step, "execute")),
            *(Fault(name, kind="event") for name in deliveries),
            *self._given,
        ]

    def _at(self, step: Step, kind: Any) -> Iterator[Fault]:
        for name in self._names:
            fault = Fault(name, step.name, kind=kind)  # type: ignore[arg-type]
            if step.policy(kind).limit and name in _TRIED_AGAIN:
                yield replace(fault, attempt=1)
            yield fault

    def _undone(self) -> Iterator[tuple[Step, Fault]]:
        """Yield the steps that can be undone, each with the fault because of which it is."""
        steps = list(self._saga)
        last = self._saga.step(self._saga.pivot) if self._saga.pivot else steps[-1]
        for step in steps[: steps.index(last)]:
            if step.compensate is not None:
                yield step, Fault("fails", last.name)
        if last.compensate is not None and last.timeout is not None:
            yield last, Fault("reply_lost", last.name)
