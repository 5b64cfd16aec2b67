"""Exploration: a saga meets every fault at every step, each in a laboratory of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Protocol, runtime_checkable

from eslab.clock import Clock
from eslab.errors import EslabError, InputError
from eslab.progress import progress_bar
from eslab.sagas import Saga
from eslab.simulation.exploration import Combination, Exploration, Outcome, Violation
from eslab.simulation.faults import STEP_FAULTS, Crash, CrashError, Fault, Faults
from eslab.simulation.plan import Plan
from eslab.simulation.reproduction import SAGA_ID, lines_to
from eslab.simulation.saga_rules import check_saga, status_of
from eslab.simulation.witness import Witness

__all__ = ["Exploration", "Outcome", "Violation", "explore"]


@runtime_checkable
class Laboratory(Protocol):
    """What is asked of a lab."""

    seed: int | None
    clock: Clock
    store: Any

    def inject(self, *faults: Fault | Crash) -> Faults:
        """Let things go wrong from now on."""
        ...

    def start_saga(self, saga: Saga, saga_id: str, **input: Any) -> None:
        """Record that a saga begins."""
        ...

    def saga_state(self, saga: Saga | str, saga_id: str) -> Any:
        """Return what a saga's stream says about it."""
        ...

    def resume_saga(
        self, saga: Saga | str, saga_id: str, *, resolved: bool = False, reason: str = ""
    ) -> None:
        """Let a saga that is stuck go on."""
        ...

    def run(self, *, progress: bool = True) -> None:
        """Do all work."""
        ...

    def close(self) -> None:
        """Close the lab and its store."""
        ...


MakeLab = Callable[..., Any]
Start = Callable[[Any], str]
Invariant = Callable[[Any], str | Iterable[str] | None]


def explore(
    saga: Saga,
    make_lab: MakeLab,
    *,
    faults: Iterable[str | Fault] = STEP_FAULTS,
    start: Start | None = None,
    input: Mapping[str, Any] | None = None,
    pairs: bool = False,
    crashes: bool = False,
    seeds: Iterable[int] = (0,),
    invariants: Iterable[Invariant] = (),
    progress: bool = True,
) -> Exploration:
    """Run a saga under every combination of step and fault, each in a laboratory of its own.

    Each fault is tried at each step that is executed: at the first attempt, and at each attempt if
    the step is tried again. And at each step that is undone; for that the last step fails as well,
    or the pivot, behind which nothing is undone. That last step itself is undone when its answer is
    lost, if it has a timeout. Without any fault it is run too.

    What must hold of the saga itself is checked in any case, from its stream alone: see
    `eslab.simulation.saga_rules.check_saga`; and that each step is always sent under the one key
    by which who takes part knows it again. Of effects that are events in the log, a witness says
    which came twice, which came after they had been undone, and which were undone in name only: see
    `eslab.simulation.witness.Witness`. What must hold of money, stock and whatever else the saga
    changes is said by `invariants`. A saga may be STUCK; then the faults are taken away, it is
    resumed as a person would do, and what must hold is asked when nothing is left to do again.

    Args:
        saga: its definition.
        make_lab: makes a fresh laboratory with the saga and all who take part in it::

                def make_lab(**options):
                    lab = Lab(**options)
                    lab.register(...)
                    return lab

            It is called with ``seed=``, for a virtual clock; and after a crash with ``store=`` too:
            then it is the start of a process that finds events there, and whatever it appends is
            there already. Who takes part must keep in the store what is to survive a crash.
        faults: names, of `STEP_FAULTS` and `DELIVERY_FAULTS`, that are tried at each step; those of
            deliveries also with all events. Or a `Fault` that is tried as it is.
        start: starts the saga in a lab, and returns its id; by default it is started with `input`.
        input: what it is started with.
        pairs: try also two faults at once: at each two steps that are executed; at one that is
            executed and one that is undone; and a crash with any other one.
        crashes: let the process crash before and after each append, and restart; when nothing else
            goes wrong, and when the saga is undone.
        seeds: all is tried with each: they decide the order at equal times, and which messages a
            fault with a rate hits.
        invariants: functions of the lab that return what is wrong: a text, several, or None; or
            raise AssertionError.
        progress: draw a progress bar on stderr, if that is a terminal or a notebook.

    Raises:
        InputError: there is no such fault or step, or make_lab or an invariant gives something
            else than is said here.

    Example:
        >>> from eslab import Lab, Step
        >>> def book(step):
        ...     pass
        >>> trip = Saga("trip", [Step("hotel", book, book), Step("train", book)])
        >>> def make_lab(**options):
        ...     lab = Lab(**options)
        ...     lab.register(trip)
        ...     return lab
        >>> explore(trip, make_lab, faults=["fails"], progress=False)
        <exploration of saga 'trip': 5 runs (3 COMPENSATED, 1 COMPLETED, 1 STUCK), no violation>
        >>> found = explore(trip, make_lab, faults=["reply_lost"], progress=False)
        >>> found.violations[0].problems
        ("it is still RUNNING: ...; give 'hotel' a timeout",)
    """
    if not isinstance(saga, Saga):
        raise InputError(f"explore() takes a saga, made by Saga(name, steps), not {saga!r:.200}")
    plan = Plan(saga, faults)
    experiment = _Experiment(saga, make_lab, start, _input(input), _invariants(invariants))
    experiment.check(crashes=crashes)
    tried = _seeds(seeds)
    alone = plan.singles()
    chosen = list(dict.fromkeys([*alone, *plan.pairs()])) if pairs else alone
    outcomes = experiment.run_all(chosen, tried, "exploring", progress=progress)
    if crashes:
        bases = alone if pairs else [(), *plan.undoing()]
        crashing = [
            (*base, Crash(number, when))
            for base in bases
            for number in range(1, experiment.run(base, tried[0]).appends + 1)
            for when in ("before", "after")
        ]
        outcomes += experiment.run_all(crashing, tried, "crashing", progress=progress)
    return Exploration(saga, outcomes, experiment.violations(outcomes))


def _input(input: Mapping[str, Any] | None) -> dict[str, Any]:
    if input is not None and not isinstance(input, Mapping):
        raise InputError(f"input is what the saga is started with, by name, not {input!r:.200}")
    return dict(input or {})


def _invariants(invariants: Iterable[Invariant]) -> tuple[Invariant, ...]:
    listed = tuple(invariants) if isinstance(invariants, Iterable) else (None,)
    if not all(map(callable, listed)):
        raise InputError(f"invariants are a list of functions of a lab, not {invariants!r:.200}")
    return listed


def _seeds(seeds: Iterable[int]) -> list[int]:
    listed = [*seeds] if isinstance(seeds, Iterable) else []
    if not listed or not all(isinstance(one, int) for one in listed):
        raise InputError(f"seeds are a list of whole numbers, at least one, not {seeds!r:.200}")
    return sorted({*listed})


class _Experiment:
    """Runs a saga in fresh laboratories, and judges what came of it."""

    def __init__(
        self,
        saga: Saga,
        make_lab: MakeLab,
        start: Start | None,
        input: dict[str, Any],
        invariants: tuple[Invariant, ...],
    ) -> None:
        self._saga = saga
        self._make_lab = make_lab
        self._start = start
        self._input = input
        self._invariants = invariants
        self._known: dict[tuple[Combination, int], Outcome] = {}

    def check(self, *, crashes: bool) -> None:
        """Refuse functions that cannot be called so.

        Raises:
            InputError: one cannot.
        """
        options = ("seed", "store") if crashes else ("seed",)
        try:
            inspect.signature(self._make_lab).bind(**dict.fromkeys(options))
        except (TypeError, ValueError):
            raise InputError(
                f"make_lab is a function that takes {' and '.join(options)} and makes a lab: "
                f"def make_lab(**options): lab = Lab(**options); ...; return lab; "
                f"{self._make_lab!r:.200} is none"
            ) from None
        if self._start is not None and self._input:
            raise InputError("start() says itself what the saga is started with: leave input out")
        if self._start is not None and not callable(self._start):
            raise InputError(f"start is a function of a lab, not {self._start!r:.200}")

    def run_all(
        self, chosen: Sequence[Combination], seeds: Sequence[int], what: str, *, progress: bool
    ) -> list[Outcome]:
        """Run all combinations with all seeds."""
        outcomes = []
        with progress_bar(
            total=len(chosen) * len(seeds), description=what, progress=progress, unit="runs"
        ) as bar:
            for faults in chosen:
                for seed in seeds:
                    outcomes.append(self.run(faults, seed))
                    bar.update()
        return outcomes

    def run(self, faults: Combination, seed: int) -> Outcome:
        """Run the saga once, unless that was done before."""
        key = faults, seed
        if key not in self._known:
            self._known[key] = self._judged(faults, seed)
        return self._known[key]

    def _judged(self, faults: Combination, seed: int) -> Outcome:
        ran = self.perform(faults, seed)
        lab, saga_id = ran.lab, ran.saga_id
        try:
            status = status_of(self._saga, saga_id, lab.store)
            events = list(lab.store.read(self._saga.stream_id(saga_id)))
            took, head = lab.clock.now() - ran.began, lab.store.head()
            problems = [*self._wrong(ran), *(self._broken(lab) if status != "STUCK" else ())]
            resumed = status == "STUCK" and not problems
            if resumed:
                self.resume(ran)
                problems = [*self._wrong(ran), *self._broken(lab)]
        finally:
            lab.close()
        return Outcome(
            faults=faults,
            seed=seed,
            status=status,
            compensated=tuple(
                event.data["step"] for event in events if event.type == "CompensationCompleted"
            ),
            took=took,
            events=head,
            problems=tuple(problems),
            resumed=resumed,
            injected=tuple(
                dict.fromkeys(
                    one.fault.at(one.message) for one in ran.faults.injected if not one.fault.exact
                )
            ),
            appends=ran.faults.appends,
        )

    def perform(self, faults: Combination, seed: int) -> _Run:
        """Run the saga until nothing is left to do; the lab is open then."""
        lab = self._made(seed)
        saga_id = self._started(lab)
        began = lab.clock.now()
        witness = Witness(lab.store, self._saga.stream_id(saga_id))
        while True:
            # One that never happens, so that appends are counted where nothing goes wrong too.
            injected = lab.inject(*(faults or [_NEVER]))
            injected.route = witness
            error: EslabError | None = None
            try:
                lab.run(progress=False)
            except CrashError as crash:
                faults = tuple(fault for fault in faults if fault != crash.crash)
                lab = self._restarted(lab, seed)
                continue
            except EslabError as failure:
                error = failure
            return _Run(lab, saga_id, began, injected, witness, error)

    def _restarted(self, dead: Any, seed: int) -> Any:
        lab = self._made(seed, store=dead.store)
        if lab.store is not dead.store:
            raise InputError(
                "make_lab() was given a store, and made a lab on another one: give the lab what "
                "make_lab is given: Lab(**options)"
            )
        if self._start is None:
            self._started(lab)  # it is there already, and known now
        return lab

    def resume(self, ran: _Run) -> None:
        """Let the saga, which is STUCK, go on without any fault."""
        ran.lab.inject(_NEVER).route = ran.witness
        ran.error = None
        ran.lab.resume_saga(self._saga.name, ran.saga_id, reason="the faults are over")
        try:
            ran.lab.run(progress=False)
        except EslabError as error:
            ran.error = error

    def _made(self, seed: int, **options: Any) -> Any:
        lab = self._make_lab(seed=seed, **options)
        if not isinstance(lab, Laboratory):
            raise InputError(f"make_lab() returns a Lab, and not {lab!r:.200}: return lab")
        if lab.seed != seed:
            raise InputError(
                f"make_lab() was given the seed {seed}, and made a lab with the seed {lab.seed}: "
                f"give the lab what make_lab is given: Lab(**options)"
            )
        return lab

    def _started(self, lab: Any) -> str:
        if self._start is None:
            lab.start_saga(self._saga, SAGA_ID, **self._input)
            return SAGA_ID
        saga_id = self._start(lab)
        if not isinstance(saga_id, str):
            raise InputError(f"start() returns the id of the saga that it starts: {saga_id!r:.200}")
        return saga_id

    def _wrong(self, ran: _Run) -> Iterator[str]:
        """Yield what is wrong with the saga itself."""
        lab, saga_id = ran.lab, ran.saga_id
        if ran.error is not None:
            yield f"run() raised {type(ran.error).__name__}: {ran.error}"
        yield from check_saga(self._saga, saga_id, lab.store)
        yield from ran.witness.problems()
        status = status_of(self._saga, saga_id, lab.store)
        shown = lab.saga_state(self._saga.name, saga_id).status.value
        if shown != status:
            yield f"its stream says that it is {status}, and it is shown as {shown}"

    def _broken(self, lab: Any) -> Iterator[str]:
        """Yield what is wrong with the rest of the world."""
        for invariant in self._invariants:
            yield from _broken(invariant, lab)

    def violations(self, outcomes: Sequence[Outcome]) -> list[Violation]:
        """Return what is wrong, each with the least that brings it about."""
        first: dict[tuple[Combination, Combination], Outcome] = {}
        for outcome in outcomes:
            if outcome.problems:
                first.setdefault((outcome.faults, outcome.injected), outcome)
        seeds: dict[Combination, list[int]] = {}
        for outcome in first.values():
            seeds.setdefault(self._reduced(outcome), []).append(outcome.seed)
        return [
            self._violation(self.run(faults, min(found)), len(found))
            for faults, found in seeds.items()
        ]

    def _violation(self, outcome: Outcome, count: int) -> Violation:
        def perform() -> Any:
            ran = self.perform(outcome.faults, outcome.seed)
            if outcome.resumed:
                self.resume(ran)
            return ran.lab

        return Violation(
            faults=outcome.faults,
            seed=outcome.seed,
            problems=outcome.problems,
            resumed=outcome.resumed,
            combinations=count,
            snippet=lines_to(
                outcome, self._saga, self._make_lab, start=self._start, input=self._input
            ),
            perform=perform,
        )

    def _reduced(self, outcome: Outcome) -> Combination:
        """Leave out what is not needed to bring something wrong about."""
        faults, seed = outcome.faults, outcome.seed
        exact: Combination = (
            *(fault for fault in faults if isinstance(fault, Crash) or fault.exact),
            *outcome.injected,
        )
        if self.run(exact, seed).problems:
            faults = exact
        for fault in faults:
            fewer = tuple(one for one in faults if one != fault)
            if self.run(fewer, seed).problems:
                faults = fewer
        for fault in faults:
            once = tuple(self._narrowed(one) if one == fault else one for one in faults)
            if self.run(once, seed).problems:
                faults = once
        return faults

    def _narrowed(self, fault: Fault | Crash) -> Fault | Crash:
        """Return a fault that happens at each attempt as one that happens at the first."""
        if isinstance(fault, Crash) or fault.step is None or fault.attempt is not None:
            return fault
        tried_again = self._saga.step(fault.step).policy(fault.kind).limit  # type: ignore[arg-type]
        return replace(fault, attempt=1) if tried_again else fault


@dataclass(slots=True)
class _Run:
    """A run that has come to rest: the lab, which saga it was, and what it raised at its end."""

    lab: Any
    saga_id: str
    began: datetime
    faults: Faults
    witness: Witness
    error: EslabError | None


_NEVER: Final = Fault("fails", rate=0)


def _broken(invariant: Invariant, lab: Any) -> Iterator[str]:
    """Yield what is wrong, as an invariant says."""
    name = getattr(invariant, "__name__", repr(invariant))
    try:
        found = invariant(lab)
        listed = [found] if isinstance(found, str) or not isinstance(found, Iterable) else [*found]
    except AssertionError as error:
        yield f"{name}(): {error}" if str(error) else f"{name}() does not hold"
        return
    except Exception as error:
        yield f"{name}() failed: {type(error).__name__}: {error}"
        return
    for problem in listed:
        if isinstance(problem, str):
            yield problem
        elif problem is not None:
            raise InputError(
                f"an invariant returns what is wrong, in words, or None: {name}() gave {problem!r}"
            )
