"""What a saga is made of: steps, each with what executes it and what undoes it."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from typing import Any, Final, Literal, NoReturn, Self

from eslab.errors import SagaDefinitionError
from eslab.events import Event, RecordedEvent, check_stream_id
from eslab.messaging import Command
from eslab.schema import class_list
from eslab.subscriptions import Retry

__all__ = ["NO_RETRY", "Kind", "Parallel", "Saga", "Send", "Step", "StepContext"]

Kind = Literal["execute", "compensate"]
KINDS: Final[tuple[Kind, ...]] = ("execute", "compensate")

NO_RETRY: Final = Retry(limit=0)
"""What fails is not tried again."""

_RETRY: Final = Retry()

COST: Final = timedelta(milliseconds=10)
_NAMESPACE: Final = uuid.UUID("6f1c8e0a-5a2b-5f0e-9d57-0d3c6b1f4e21")


@dataclass(frozen=True, slots=True)
class StepContext:
    """What the functions of a step are given.

    Attributes:
        saga_id: the identity of the saga.
        step: the name of the step.
        attempt: counts from 1.
        idempotency_key: the same at every attempt of this step of this saga; the effect must
            happen once for it, because a step whose answer is not known runs again: it timed out,
            or the process ended between the effect and the answer. Of a command, this is the id.
        undoes: in a compensation, the key of what it undoes. Whoever takes part remembers it: if
            that comes later, it must have no effect.
        input: what the saga was started with.
        results: what the completed steps returned, by their names.
    """

    saga_id: str
    step: str
    attempt: int
    idempotency_key: uuid.UUID
    input: Mapping[str, Any]
    results: Mapping[str, Any]
    undoes: uuid.UUID | None = None


StepFunction = Callable[[StepContext], Any]


@dataclass(frozen=True, slots=True)
class Send:
    """A command that a step sends, instead of a function that it calls.

    The step succeeds when the command is carried out, and fails when it is refused. If the answer
    comes later, say by which event: the step waits until its timeout for one that the command
    caused, directly or by what followed from it, or whose correlation id is the saga's stream.

    Args:
        command: a function that makes the command from the saga's input and results, and does
            nothing else.
        reply: the classes of events that say that it succeeded; by default none is waited for.
        failure: the classes of events that say that it was refused.

    Example:
        >>> from eslab.simulation.scenarios import accounts
        >>> Send(lambda step: accounts.Deposit(account_id=step.input["account"], amount=30))
        Send(<lambda>)
    """

    command: Callable[[StepContext], Command]
    reply: Sequence[type[Event]] = ()
    failure: Sequence[type[Event]] = ()

    def __post_init__(self) -> None:
        if not callable(self.command) or isinstance(self.command, type):
            raise SagaDefinitionError(
                f"Send() takes a function of a step that makes a command, not {self.command!r:.200}"
            )
        for name in ("reply", "failure"):
            given = getattr(self, name)
            listed = (given,) if isinstance(given, type) else given
            object.__setattr__(self, name, class_list(listed, Event, word="event", where="Send"))
        if self.failure and not self.reply:
            raise SagaDefinitionError(
                f"{self!r} waits for {_names(self.failure)}, and for no event that says that it "
                f"succeeded: give it a reply"
            )

    @property
    def answers(self) -> tuple[type[Event], ...]:
        """The classes of events that it waits for."""
        return (*self.reply, *self.failure)

    def __repr__(self) -> str:
        name = getattr(self.command, "__name__", repr(self.command))
        return f"Send({name}{', reply=' + _names(self.reply) if self.reply else ''})"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a saga.

    Args:
        name: unique in the saga.
        execute: does it: a function of a `StepContext` that returns a JSON value, or None; or a
            command to `Send`. An exception says that nothing was done, and so that there is
            nothing to undo; it is tried again, but for a `DomainError`, which is a refusal. Where
            nobody can know whether it was done, `Send` a command that an event answers. What
            returns something else was done, and is undone, as that cannot be recorded. A process
            that ends before the answer is recorded leaves it to be run again, under the same key.
        compensate: undoes it, in the same ways; without one there is nothing to undo.
        retry: how often it is tried again, and when; by default it is not.
        compensation_retry: the same of undoing it; by default five times, as there is no other
            way back.
        timeout: how long an answer is waited for. A step that was not answered may have been
            executed: it is undone too. By default it is waited for ever.
        pivot: behind this step there is no way back: what follows is tried until it succeeds.
        cost: what an attempt takes on a virtual clock.

    Raises:
        SagaDefinitionError: one of these cannot be.
    """

    name: str
    execute: StepFunction | Send
    compensate: StepFunction | Send | None = None
    retry: Retry = NO_RETRY
    compensation_retry: Retry = _RETRY
    timeout: timedelta | None = None
    pivot: bool = False
    cost: timedelta = COST

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name):
            raise SagaDefinitionError(f"a step needs a name, not {self.name!r}")
        self._check_ways()
        for retry in (self.retry, self.compensation_retry):
            if not isinstance(retry, Retry):
                self._refuse(f"how often it is tried again is a Retry(limit=...), not {retry!r}")
        if not isinstance(self.cost, timedelta) or self.cost < timedelta(0):
            self._refuse(f"an attempt costs a duration from 0, not {self.cost!r}")
        if self.timeout is not None and not (
            isinstance(self.timeout, timedelta) and self.timeout > timedelta(0)
        ):
            self._refuse(f"a timeout is a duration above 0, or None, not {self.timeout!r}")
        if self.pivot and self.compensate is not None:
            self._refuse("a pivot is where there is no way back: it has no compensation")
        for word, way in (("it", self.execute), ("its compensation", self.compensate)):
            if isinstance(way, Send) and way.answers and self.timeout is None:
                self._refuse(
                    f"{word} waits for {_names(way.answers)}, and for ever if nobody sends it: "
                    f"give the step a timeout"
                )

    def _check_ways(self) -> None:
        if self.execute is None:
            self._refuse("it has nothing to execute")
        for way in (self.execute, self.compensate):
            if not (way is None or callable(way) or isinstance(way, Send)) or isinstance(way, type):
                self._refuse(f"execute and compensate are functions, or Send(...), not {way!r:.99}")
            if why := _unfit(way.command if isinstance(way, Send) else way):
                self._refuse(why)

    def way(self, kind: Kind) -> StepFunction | Send | None:
        """Return what executes it, or what undoes it."""
        return self.execute if kind == "execute" else self.compensate

    def policy(self, kind: Kind) -> Retry:
        """Return how often that is tried again."""
        return self.retry if kind == "execute" else self.compensation_retry

    def _refuse(self, why: str) -> None:
        raise SagaDefinitionError(f"step {self.name!r}: {why}")


class Parallel(tuple[Step, ...]):
    """Steps that begin together; what follows them begins when all have succeeded.

    If one fails, the others are waited for. They are undone as one unit: inside it the one that
    succeeded last comes first.

    Example:
        >>> Parallel(Step("hotel", print), Step("train", print))
        Parallel(hotel, train)
    """

    __slots__ = ()

    def __new__(cls, *steps: Step) -> Self:
        """Take steps side by side."""
        if len(steps) < 2:
            raise SagaDefinitionError(f"side by side are at least two steps, not {len(steps)}")
        for step in steps:
            if not isinstance(step, Step):
                raise SagaDefinitionError(f"Parallel() takes steps, made by Step(...): {step!r}")
            if step.pivot:
                raise SagaDefinitionError(
                    f"step {step.name!r} is a pivot, which stands alone: behind it there is no "
                    f"way back, and beside it there would be"
                )
        return super().__new__(cls, steps)

    def __repr__(self) -> str:
        return f"Parallel({', '.join(step.name for step in self)})"


@dataclass(frozen=True, slots=True)
class Saga:
    """A name, and steps in the order in which they are executed.

    When a step fails for good, the steps before it are undone in reverse order (Garcia-Molina and
    Salem, "Sagas", 1987): those that succeeded, and those of which it is not known.

    Args:
        name: of the saga; a ``-`` would be the end of it in the name of a stream.
        steps: in order; those in `Parallel` begin together.
        started_by: the class of an event, or of a command, that starts one.
        id: says for that event or command which one; by default the identity that the event's
            stream has behind the first ``-``, or the command's target field.
        after: only events behind this position start one; by default all that there are.

    Raises:
        SagaDefinitionError: it has no steps, two of one name, a step behind the pivot that could
            be undone, or two that wait for the same event.

    Example:
        >>> trip = Saga("trip", [Step("hotel", print), Step("train", print)])
        >>> trip
        Saga('trip': hotel, train)
    """

    name: str
    steps: Sequence[Step | Parallel] = ()
    started_by: type[Event | Command] | None = None
    id: Callable[[Any], str] | None = None
    after: int = 0
    groups: tuple[tuple[Step, ...], ...] = field(init=False, repr=False)
    by_name: Mapping[str, Step] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_saga_name(self.name)
        if (
            isinstance(self.steps, Step | Parallel)
            or not isinstance(self.steps, Sequence)
            or not self.steps
        ):
            raise SagaDefinitionError(f"saga {self.name!r} has no steps: give it a list of them")
        if odd := [step for step in self.steps if not isinstance(step, Step | Parallel)]:
            self._refuse(f"a step is made by Step(...); found {odd[0]!r:.200}")
        groups = tuple((one,) if isinstance(one, Step) else tuple(one) for one in self.steps)
        object.__setattr__(self, "steps", tuple(self.steps))
        object.__setattr__(self, "groups", groups)
        object.__setattr__(self, "by_name", {step.name: step for step in self})
        self._check_names()
        self._check_pivot()
        self._check_answers()
        self._check_start()

    def __iter__(self) -> Iterator[Step]:
        """Yield the steps, one by one."""
        return chain.from_iterable(self.groups)

    @property
    def pivot(self) -> str | None:
        """The name of the step behind which there is no way back."""
        return next((step.name for step in self if step.pivot), None)

    def stream_id(self, saga_id: str) -> str:
        """Return the stream of one saga: ``saga-<name>-<id>``."""
        return saga_stream(self.name, saga_id)

    def step(self, name: str) -> Step:
        """Return the step of this name.

        Raises:
            SagaDefinitionError: there is none; the saga was defined anew without it.
        """
        if name in self.by_name:
            return self.by_name[name]
        raise SagaDefinitionError(f"saga {self.name!r} has no step {name!r}; it has: {self}")

    def started_id(self, message: RecordedEvent | Command) -> str:
        """Return which saga an event starts; or a command, for which `id` says it.

        Raises:
            SagaDefinitionError: that cannot be said.
        """
        try:
            given = _identity(message) if self.id is None else self.id(message)
        except Exception as error:
            raise SagaDefinitionError(
                f"saga {self.name!r}: id() does not say which one {message!r:.200} starts; it "
                f"raised {type(error).__name__}: {error}"
            ) from error
        if not isinstance(given, str) or not given:
            self._refuse(f"which one {message!r:.200} starts is a text, not {given!r:.200}")
        return given

    def _check_names(self) -> None:
        names = [step.name for step in self]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            self._refuse(f"it has two steps of the name {', '.join(twice)}")

    def _check_pivot(self) -> None:
        names = [step.name for step in self]
        pivots = [step.name for step in self if step.pivot]
        if len(pivots) > 1:
            self._refuse(f"it has two pivots, {' and '.join(pivots)}: the first one is the last")
        if not pivots:
            return
        behind = names.index(pivots[0]) + 1
        for step in list(self)[behind:]:
            if step.compensate is not None:
                self._refuse(
                    f"step {step.name!r} comes behind the pivot {pivots[0]!r}, from where there is "
                    f"no way back, and would never be undone: leave its compensation out, or put "
                    f"the pivot behind it"
                )

    def _check_answers(self) -> None:
        waiting: dict[str, str] = {}
        for step in self:
            for kind in KINDS:
                way = step.way(kind)
                for event in way.answers if isinstance(way, Send) else ():
                    what = step.name if kind == "execute" else f"the compensation of {step.name}"
                    if event.event_type in waiting:
                        self._refuse(
                            f"{waiting[event.event_type]} and {what} both wait for "
                            f"{event.event_type}: nobody could say which one it answers"
                        )
                    waiting[event.event_type] = what

    def _check_start(self) -> None:
        start = self.started_by
        if start is not None and not (
            isinstance(start, type) and issubclass(start, Event | Command)
        ):
            self._refuse(f"it is started by the class of an event or a command, not {start!r:.200}")
        if self.id is not None and not callable(self.id):
            self._refuse(f"id is a function that says which one it is, not {self.id!r:.200}")
        if isinstance(self.after, bool) or not isinstance(self.after, int) or self.after < 0:
            self._refuse(f"after is a position of the log, from 0, not {self.after!r}")

    def _refuse(self, why: str) -> NoReturn:
        raise SagaDefinitionError(f"saga {self.name!r}: {why}")

    def __repr__(self) -> str:
        shown = ", ".join(
            repr(one) if isinstance(one, Parallel) else one.name + "|" * one.pivot
            for one in self.steps
        )
        return f"Saga({self.name!r}: {shown})"


def check_saga_name(name: object) -> None:
    """Refuse what cannot be the name of a saga.

    Raises:
        SagaDefinitionError: it is empty, or has a ``-``.
    """
    if not isinstance(name, str) or not name or "-" in name:
        raise SagaDefinitionError(f"a saga's name must not be empty nor hold a '-': {name!r}")


def saga_stream(name: str, saga_id: str) -> str:
    """Return the stream of one saga: ``saga-<name>-<id>``."""
    return check_stream_id(f"saga-{name}-{saga_id}")


def derived_key(stream_id: str, what: str) -> uuid.UUID:
    """Return the id of something that a saga does: the same, whenever it does it.

    Example:
        >>> derived_key("saga-trip-1", "hotel") == derived_key("saga-trip-1", "hotel")
        True
    """
    return uuid.uuid5(_NAMESPACE, f"{stream_id}\0{what}")


def step_key(stream_id: str, step: str, kind: Kind) -> uuid.UUID:
    """Return the key of what a step does: the same at every attempt."""
    return derived_key(stream_id, f"{step}\0{kind}")


def _identity(message: RecordedEvent | Command) -> str:
    """Return the identity of the stream that an event is in."""
    assert isinstance(message, RecordedEvent)
    return message.stream_id.partition("-")[2]


def _unfit(function: Any) -> str | None:
    """Say why a function cannot be called with a `StepContext`, or nobody would see its result."""
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        return (
            f"{function!r:.99} is async or a generator, and nothing of it would run: make it a "
            f"plain function"
        )
    with suppress(ValueError):  # it does not say what it takes, as some that are written in C
        try:
            if function is not None:
                inspect.signature(function).bind(None)
        except TypeError:
            return (
                f"{function!r:.99} is called with a step, and with nothing else: it takes "
                f"{inspect.signature(function)}"
            )
    return None


def _names(classes: Sequence[type[Event]]) -> str:
    return " or ".join(cls.event_type for cls in classes)
