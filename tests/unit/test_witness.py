"""The witness of what steps really did: what is an effect, and of which saga."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from eslab import DomainError, Event, Lab, Retry, Saga, Step, StepContext
from eslab.simulation.faults import Fault
from eslab.simulation.witness import Witness


class Booked(Event):
    """Something was booked."""


class Refused(Event):
    """Something was not."""


def problems(does: Callable[[Lab, StepContext], Any], *faults: Fault) -> list[str]:
    """Run two sagas of one step, and return what a witness of the first one says."""
    with Lab(seed=7) as lab:
        step = Step(
            "book",
            lambda context: does(lab, context),
            retry=Retry(limit=2),
            timeout=timedelta(seconds=5),
        )
        witness = Witness(lab.store, "saga-trip-1")
        lab.inject(*faults, Fault("fails", rate=0)).route = witness
        for number in ("1", "2"):
            lab.start_saga(Saga("trip", [step]), number)
        lab.run()
        assert lab.saga_state("trip", "1").status.value == "COMPLETED"
        return list(witness.problems())


def book(lab: Lab, step: StepContext) -> None:
    lab.append(f"booking-{step.saga_id}", [Booked()])


def test_what_is_recorded_by_two_attempts_took_effect_twice() -> None:
    (problem,) = problems(book, Fault("reply_lost", attempt=1))
    assert problem.startswith("step 'book' took effect 2 times: Booked in booking-1, at positions")
    assert problems(book) == []


def test_it_looks_at_one_saga() -> None:
    assert problems(book, Fault("reply_lost", attempt=1, sequence="saga-trip-2")) == []


def test_what_an_attempt_records_that_fails_is_no_effect() -> None:
    def refuse(lab: Lab, step: StepContext) -> None:
        lab.append(f"booking-{step.saga_id}", [Refused()])
        if step.attempt < 3:
            raise OSError("the line is busy")

    assert problems(refuse) == []


def test_what_goes_on_where_an_attempt_ended_is_no_repetition() -> None:
    def go_on(lab: Lab, step: StepContext) -> None:
        lab.append(f"booking-{step.saga_id}-{step.attempt}", [Booked()])

    assert problems(go_on, Fault("reply_lost", attempt=1)) == []


def test_a_participant_that_refuses_what_was_done_before_is_right() -> None:
    def once(lab: Lab, step: StepContext) -> None:
        if lab.store.stream_version(f"booking-{step.saga_id}"):
            raise DomainError("it is booked")
        book(lab, step)

    assert problems(once, Fault("duplicated")) == []
