"""What an exploration found: outcomes, and violations with the least that brings each about."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from eslab.sagas import Saga
from eslab.simulation.faults import DELIVERY_FAULTS, STEP_FAULTS, Crash, Fault
from eslab.words import counted

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Combination", "Exploration", "Outcome", "Violation"]

SHOWN: Final = 5
"""Violations that are shown; all are in `Exploration.violations`."""

Combination = tuple[Fault | Crash, ...]
"""Faults that are tried together."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a saga under a combination of faults.

    Attributes:
        faults: which ones.
        seed: of the laboratory.
        status: where the saga ended.
        compensated: the steps that were undone, in that order.
        took: how long it took, on the virtual clock, until nothing was left to do.
        events: how many events there were then.
        problems: what is wrong with that, a sentence each.
        resumed: whether it was STUCK, as it may be, and resumed when the faults were over: the
            problems are those of then.
        injected: the faults that are at no place in particular, at the places where they happened.
        appends: how many appends there were, to the store of the process that ended it.
    """

    faults: Combination
    seed: int
    status: str
    compensated: tuple[str, ...]
    took: timedelta
    events: int
    problems: tuple[str, ...]
    resumed: bool
    injected: tuple[Fault, ...]
    appends: int


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be, with the least that brings it about.

    Attributes:
        faults: those that are needed; none, if it goes wrong without any.
        seed: the smallest of those that were tried.
        problems: what is wrong, a sentence each.
        resumed: whether that was seen only when the saga, which was STUCK, was resumed.
        combinations: how many combinations of faults come down to it.
        snippet: the Python lines that make it happen again, to paste somewhere.
        perform: makes it happen again, and returns the lab.
    """

    faults: Combination
    seed: int
    problems: tuple[str, ...]
    resumed: bool
    combinations: int
    snippet: str
    perform: Callable[[], Any] = field(repr=False, compare=False)

    def reproduce(self) -> Any:
        """Make it happen again, and return the lab in which it did, to look around in."""
        return self.perform()

    def __repr__(self) -> str:
        listed = "\n".join(f"  - {problem}" for problem in self.problems)
        under = _label(self.faults) or "no fault at all"
        return f"{under} (seed {self.seed}):\n{listed}\n{_indented(self.snippet)}"


class Exploration:
    """What came of all combinations.

    Attributes:
        saga: the saga that was tried.
        outcomes: of each combination and seed, in order.
        violations: what must not be, each with the least that brings it about.
    """

    def __init__(
        self, saga: Saga, outcomes: Sequence[Outcome], violations: Sequence[Violation]
    ) -> None:
        self.saga = saga
        self.outcomes = tuple(outcomes)
        self.violations = tuple(violations)

    @property
    def df(self) -> pd.DataFrame:
        """One row a combination and seed: its faults, and what came of it."""
        import pandas as pd

        rows = [
            (
                _label(one.faults),
                one.seed,
                one.status,
                ", ".join(one.compensated),
                one.took,
                one.events,
                "; ".join(one.problems),
            )
            for one in self.outcomes
        ]
        columns = ["faults", "seed", "status", "compensated", "took", "events", "problems"]
        return pd.DataFrame(rows, columns=columns)

    @property
    def matrix(self) -> pd.DataFrame:
        """Where each fault alone leads at each place: the status, or VIOLATION; of the first seed.

        A place is a step that is executed or undone; that it is undone takes another fault.
        """
        import pandas as pd

        cells: dict[str, dict[str, str]] = {}
        for one in self.outcomes:
            faults = one.faults
            *before, last = faults or (None,)
            if not isinstance(last, Fault) or last.step is None or len(before) > 1:
                continue
            if before and last.kind != "compensate":
                continue  # a pair
            place = replace(last, name="fails", rate=None).label.removesuffix(": fails")
            cells.setdefault(place, {}).setdefault(
                last.name, "VIOLATION" if one.problems else one.status
            )
        order = [*STEP_FAULTS, *DELIVERY_FAULTS]
        columns = [name for name in order if any(name in row for row in cells.values())]
        return pd.DataFrame.from_dict(cells, orient="index", columns=columns).fillna("")

    @property
    def counts(self) -> dict[str, int]:
        """How many runs ended where, and how many of them should not have."""
        counts = Counter(one.status for one in self.outcomes)
        counts["violations"] = sum(bool(one.problems) for one in self.outcomes)
        return dict(sorted(counts.items()))

    def require(self) -> None:
        """Raise an error that lists the violations, if there are any: for a test.

        Raises:
            AssertionError: there are.
        """
        if self.violations:
            listed = "\n\n".join(map(repr, self.violations))
            raise AssertionError(f"{self._digest}\n\n{listed}")

    @property
    def _digest(self) -> str:
        ended = ", ".join(f"{n} {status}" for status, n in self.counts.items() if status.isupper())
        broken = counted(len(self.violations), "violation") if self.violations else "no violation"
        runs = counted(len(self.outcomes), "run")
        return f"exploration of saga {self.saga.name!r}: {runs} ({ended}), {broken}"

    def __repr__(self) -> str:
        shown = [repr(violation) for violation in self.violations[:SHOWN]]
        if more := len(self.violations) - SHOWN:
            shown += [f"and {more} more: .violations"] if more > 0 else []
        return "\n\n".join([f"<{self._digest}>", *shown])

    def _repr_html_(self) -> str:
        shown = "".join(
            f"<pre>{html.escape(repr(violation))}</pre>" for violation in self.violations[:SHOWN]
        )
        return f"<p>{html.escape(self._digest)}</p>{self.matrix.to_html()}{shown}"


def _label(faults: Combination) -> str:
    return " + ".join(fault.label for fault in faults)


def _indented(lines: str) -> str:
    return "\n".join(f"    {line}" for line in lines.splitlines())
