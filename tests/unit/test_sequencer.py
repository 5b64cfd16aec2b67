"""The lead is handed on whatever happens; also when it is interrupted while it is handed on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest
from interrupts import Interrupt, in_time

from eslab import AppendOutcomeUnknownError
from eslab.store.decision import Decision
from eslab.store.duckdb.sequencer import Sequencer, Ticket
from eslab.store.requests import AppendRequest


class Scene:
    """One thread leads; then this one comes, two more, and one that wants to be alone."""

    def __init__(self) -> None:
        self.sequencer = Sequencer(self.commit)
        self.committed: list[Ticket] = []
        self.go = threading.Event()
        self.tickets = [Ticket(AppendRequest(())) for _ in range(4)]
        self.answers: list[object] = []
        self.threads = [threading.Thread(target=self.submit, args=(self.tickets[0],), daemon=True)]

    def commit(self, group: Sequence[Ticket]) -> None:
        if group[0] is self.tickets[0]:
            self.go.wait(10)
        for ticket in group:
            ticket.decision = Decision([], [])
            self.committed.append(ticket)

    def submit(self, ticket: Ticket) -> None:
        try:
            self.answers.append(self.sequencer.submit(ticket))
        except AppendOutcomeUnknownError as error:
            self.answers.append(error)

    def come(self) -> None:
        """Let the others come when the ticket of this thread waits; then let the first one go."""
        self.wait_for(1)
        for ticket in self.tickets[2:]:
            self.threads.append(threading.Thread(target=self.submit, args=(ticket,), daemon=True))
        alone = lambda: self.answers.append(self.sequencer.alone(lambda: "alone"))  # noqa: E731
        self.threads.append(threading.Thread(target=alone, daemon=True))
        for number, thread in enumerate(self.threads[1:], start=2):
            thread.start()
            self.wait_for(number)
        self.go.set()

    def wait_for(self, length: int) -> None:
        while len(self.sequencer._queue) < length and not self.over.is_set():
            self.over.wait(0.0002)

    def play(self, work: Callable[[Scene], object], place: int) -> Interrupt:
        self.over = threading.Event()
        self.threads[0].start()
        while not self.sequencer._lead:
            self.over.wait(0.0002)
        director = threading.Thread(target=self.come, daemon=True)
        director.start()
        with Interrupt(place) as interrupt:
            work(self)
        self.over.set()
        director.join(10)
        for thread in self.threads:
            thread.join(10)
        return interrupt


WORKS: dict[str, Callable[[Scene], object]] = {
    "submit": lambda scene: scene.sequencer.submit(scene.tickets[1]),
    "alone": lambda scene: scene.sequencer.alone(lambda: scene.committed.append(scene.tickets[1])),
}


@pytest.mark.parametrize("work", WORKS.values(), ids=WORKS)
def test_an_interrupt_at_any_place_leaves_nobody_waiting(work: Callable[[Scene], object]) -> None:
    place = 0
    while True:
        place += 1
        scene = Scene()
        interrupt = scene.play(work, place)
        assert not any(thread.is_alive() for thread in scene.threads), f"at place {place}"
        assert len(scene.answers) == 4
        assert len(set(scene.committed)) == len(scene.committed)
        answered = [scene.tickets[0], *scene.tickets[2:]]
        refused = sum(isinstance(answer, Exception) for answer in scene.answers)
        assert sum(ticket in scene.committed for ticket in answered) >= 3 - refused
        assert not scene.sequencer._lead
        assert not scene.sequencer._queue
        assert in_time(lambda scene=scene: scene.sequencer.alone(lambda: 5)) == 5
        if interrupt.raised is None:
            break
    assert place > 15


def test_an_error_of_the_leader_is_its_own_and_the_others_know_nothing() -> None:
    def fail(group: Sequence[Ticket]) -> None:
        raise ZeroDivisionError

    sequencer = Sequencer(fail)
    with pytest.raises(ZeroDivisionError):
        sequencer.submit(Ticket(AppendRequest(())))
    with pytest.raises(ZeroDivisionError):
        sequencer.alone(lambda: 1 / 0)
    assert sequencer.alone(lambda: "next") == "next"


def test_an_interrupt_is_not_lost_where_the_leader_fails_as_well() -> None:
    def fail(group: Sequence[Ticket]) -> None:
        raise AppendOutcomeUnknownError

    place = 0
    raised = True
    while raised:
        place += 1
        sequencer = Sequencer(fail)
        with Interrupt(place) as interrupt, suppress(AppendOutcomeUnknownError):
            sequencer.submit(Ticket(AppendRequest(())))
        raised = interrupt.left == 0
        assert (interrupt.raised is not None) == raised, place
        assert in_time(lambda one=sequencer: one.alone(lambda: "next")) == "next"
    assert place > 10
