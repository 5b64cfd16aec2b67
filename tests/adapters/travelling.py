"""A process that runs sagas on threads until all have ended, or until somebody kills it.

Run as ``python travelling.py FILE COUNT``. It writes a line when it opens the store, one for each
saga that has ended, and ``done``.
"""

from __future__ import annotations

import sys
import traceback
from datetime import timedelta
from functools import partial
from typing import Any

from eslab import Aggregate, Command, DomainError, Event, Lab, Saga, Step, StepContext, handles
from eslab.messaging import handled
from eslab.sagas import Parallel, Send
from eslab.schema import encode
from eslab.subscriptions import Retry

TICK = timedelta(milliseconds=4)
QUICK = Retry(limit=3, first=TICK)


class Booked(Event):
    what: str


class Cancelled(Event):
    what: str


class Called(Event):
    what: str


class Book(Command):
    rail_id: str
    what: str


class Cancel(Command):
    rail_id: str
    what: str


class Rail(Aggregate, ignores=[Booked, Cancelled]):
    """Takes part by commands; the last thing that is booked is refused for every other saga."""

    @handles
    def book(self, command: Book) -> None:
        if command.what == "car" and int(self.id) % 2:
            raise DomainError("no car is left")
        self.record(Booked(what=command.what))

    @handles
    def cancel(self, command: Cancel) -> None:
        self.record(Cancelled(what=command.what))


def books(what: str) -> Send:
    return Send(lambda step: Book(rail_id=step.saga_id, what=what))


def cancels(what: str) -> Send:
    return Send(lambda step: Cancel(rail_id=step.saga_id, what=what))


def calls(lab: Lab, what: str) -> Any:
    """Return a function that takes part: it remembers by the key, which is the id of its event."""

    def call(step: StepContext) -> None:
        if what == "busy" and step.attempt == 1:
            raise OSError("the line is busy")
        called = encode(Called(what=what), event_id=step.idempotency_key, metadata=handled())
        lab.registry.register(Called)
        lab.store.append(f"phone-{step.saga_id}", [called])

    return call


def trip(lab: Lab) -> Saga:
    step = partial(Step, retry=QUICK)
    return Saga(
        "trip",
        [
            step("hotel", calls(lab, "hotel"), calls(lab, "undo hotel")),
            step("train", books("train"), cancels("train")),
            Parallel(
                step("busy", calls(lab, "busy"), calls(lab, "undo busy")),
                step("seat", books("seat"), calls(lab, "undo seat")),
            ),
            step("car", books("car"), cancels("car")),
            step("insurance", calls(lab, "insurance")),
        ],
    )


def say(what: str) -> None:
    print(what, flush=True)


def main(path: str, count: int) -> None:
    say("opening")
    with Lab(path) as lab:
        lab.register(Rail, saga := trip(lab))
        lab.start()
        for number in range(count):
            lab.start_saga(saga, str(number))
            say("started")
        for number in range(count):
            lab.run_until(lambda id=str(number): lab.saga_state(saga, id).ended)  # type: ignore[misc]
            say(f"ended {number}")
        lab.stop()
        say("done")


if __name__ == "__main__":
    try:
        main(sys.argv[1], int(sys.argv[2]))
    except BaseException:
        traceback.print_exc()
        raise
