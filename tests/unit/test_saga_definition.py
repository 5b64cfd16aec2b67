"""Sagas that cannot be run as they are defined are refused, and it is said why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sagas_world import asks

from eslab import Command, Event, InputError, Lab, Saga, SagaDefinitionError, Step, StepContext
from eslab.sagas import Parallel, Send


class Answered(Event):
    pass


class Refused(Event):
    pass


class Begin(Command):
    id: str


SECOND = timedelta(seconds=1)


def nothing(context: StepContext) -> None:
    pass


def waits(name: str, *, compensates: bool = False) -> Step:
    way = asks("x", reply=Answered)
    given: dict[str, Any] = {"compensate": way} if compensates else {"execute": way}
    return Step(name, **{"execute": nothing, **given}, timeout=SECOND)


A, B = Step("a", nothing, nothing), Step("b", nothing)
PIVOT = Step("p", nothing, pivot=True)


async def asynchronous(context: StepContext) -> None:
    pass


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: Saga("", [A]), "name must not be empty nor hold a '-': ''"),
    (lambda: Saga("a-b", [A]), "nor hold a '-': 'a-b'"),
    (lambda: Saga(5, [A]), "nor hold a '-': 5"),  # type: ignore[arg-type]
    (lambda: Saga("trip"), "'trip' has no steps: give it a list"),
    (lambda: Saga("trip", []), "has no steps"),
    (lambda: Saga("trip", A), "has no steps: give it a list"),  # type: ignore[arg-type]
    (lambda: Saga("trip", Parallel(A, B)), "has no steps: give it a list"),
    (lambda: Saga("trip", ["a"]), r"made by Step\(...\); found 'a'"),  # type: ignore[list-item]
    (lambda: Saga("trip", [A, B, Parallel(A, B)]), "two steps of the name a, b"),
    (lambda: Saga("trip", [PIVOT, A]), "'a' comes behind the pivot 'p'.* never be undone"),
    (lambda: Saga("trip", [PIVOT, Parallel(A, B)]), "'a' comes behind the pivot 'p'"),
    (lambda: Saga("trip", [PIVOT, Step("q", nothing, pivot=True)]), "two pivots, p and q"),
    (lambda: Saga("trip", [waits("a"), waits("b")]), "a and b both wait for Answered"),
    (
        lambda: Saga("trip", [waits("a"), waits("b", compensates=True)]),
        "a and the compensation of b both wait for Answered",
    ),
    (lambda: Saga("trip", [A], started_by="X"), "class of an event or a command, not 'X'"),  # type: ignore[arg-type]
    (lambda: Saga("trip", [A], started_by=int), "class of an event or a command"),  # type: ignore[arg-type]
    (lambda: Saga("trip", [A], id="x"), "id is a function"),  # type: ignore[arg-type]
    (lambda: Saga("trip", [A], after=-1), "after is a position of the log, from 0, not -1"),
    (lambda: Saga("trip", [A], after=True), "after is a position"),
    (lambda: Step("", nothing), "a step needs a name, not ''"),
    (lambda: Step(None, nothing), "a step needs a name, not None"),  # type: ignore[arg-type]
    (lambda: Step("a", None), "it has nothing to execute"),  # type: ignore[arg-type]
    (lambda: Step("a", "do"), r"functions, or Send\(...\), not 'do'"),  # type: ignore[arg-type]
    (lambda: Step("a", nothing, "undo"), "functions, or Send.*not 'undo'"),  # type: ignore[arg-type]
    (lambda: Step("a", Begin), "functions, or Send.*not <class"),
    (lambda: Step("a", nothing, retry=3), r"is a Retry\(limit=...\), not 3"),  # type: ignore[arg-type]
    (lambda: Step("a", nothing, compensation_retry=3), "is a Retry"),  # type: ignore[arg-type]
    (lambda: Step("a", nothing, cost=-SECOND), "costs a duration from 0"),
    (lambda: Step("a", nothing, cost=5), "costs a duration from 0, not 5"),  # type: ignore[arg-type]
    (lambda: Step("a", nothing, timeout=0 * SECOND), "a timeout is a duration above 0"),
    (lambda: Step("a", nothing, timeout=-SECOND), "a timeout is a duration above 0"),
    (lambda: Step("a", nothing, timeout=5), "above 0, or None, not 5"),  # type: ignore[arg-type]
    (lambda: Step("a", nothing, nothing, pivot=True), "no way back: it has no compensation"),
    (lambda: Step("a", asks("x", reply=Answered)), "it waits for Answered, and for ever.*timeout"),
    (
        lambda: Step("a", nothing, asks("x", reply=[Answered], failure=[Refused])),
        "its compensation waits for Answered or Refused, and for ever",
    ),
    (lambda: Step("a", asynchronous), "is async or a generator"),
    (lambda: Step("a", nothing, asynchronous), "is async or a generator"),
    (lambda: Step("a", lambda: None), r"called with a step, and with nothing else: it takes \(\)"),  # type: ignore[arg-type,misc]
    (lambda: Step("a", Send(lambda one, two: Begin(id="1"))), r"it takes \(one, two\)"),  # type: ignore[arg-type,misc]
    (lambda: Send(Begin), "takes a function of a step that makes a command"),  # type: ignore[arg-type]
    (lambda: Send(Begin(id="1")), "takes a function of a step"),  # type: ignore[arg-type]
    (lambda: asks("x", failure=Refused), "waits for Refused, and for no event .* a reply"),
    (Parallel, "at least two steps, not 0"),
    (lambda: Parallel(A), "at least two steps, not 1"),
    (lambda: Parallel(A, "b"), r"made by Step\(...\): 'b'"),  # type: ignore[arg-type]
    (lambda: Parallel(A, PIVOT), "'p' is a pivot, which stands alone"),
]


@pytest.mark.parametrize(("define", "why"), WRONG, ids=map(str, range(len(WRONG))))
def test_a_saga_that_is_defined_wrongly_is_refused(define: Callable[[], object], why: str) -> None:
    with pytest.raises(SagaDefinitionError, match=why):
        define()


@pytest.mark.parametrize("answer", [Begin, int, "Answered", [Answered, 5]])
def test_an_answer_is_a_class_of_events(answer: Any) -> None:
    with pytest.raises(Exception, match="Send"):
        asks("x", reply=answer)


def test_a_saga_says_what_it_is_made_of() -> None:
    saga = Saga("trip", [A, Parallel(B, Step("c", nothing)), PIVOT, Step("d", nothing)])
    assert repr(saga) == "Saga('trip': a, Parallel(b, c), p|, d)"
    assert ([step.name for step in saga], saga.pivot) == (["a", "b", "c", "p", "d"], "p")
    assert saga.step("c").name == "c"
    assert Saga("trip", [A]).pivot is None
    with pytest.raises(SagaDefinitionError, match="has no step 'x'; it has: Saga"):
        saga.step("x")
    assert repr(asks("x", reply=Answered)) == "Send(<lambda>, reply=Answered)"


@pytest.mark.parametrize("id", ["", 5, None])
def test_a_saga_has_an_id(id: Any) -> None:
    with Lab(seed=7) as lab:
        with pytest.raises(InputError, match="which saga is started is a text, not"):
            lab.start_saga(Saga("trip", [A]), id)
        assert lab.store.head() == 0
