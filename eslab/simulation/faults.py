"""Faults: what networks and processes do to messages, by name, by rate or at an exact place.

A `Fault` says what goes wrong and where, `Faults` plans the journeys of messages accordingly, and
`eslab.Lab.inject` puts them in place. All of it comes from the seed: whether a message is hit is a
hash of the seed and of what the message is known by, and never depends on what else was sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from eslab.bus.journey import Journey, Message, Route, straight
from eslab.errors import InputError
from eslab.events import Event
from eslab.messaging import Command
from eslab.store.adapter import StoreAdapter
from eslab.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from eslab.store.decision import Decision
    from eslab.store.requests import AppendRequest

__all__ = [
    "DELIVERY_FAULTS",
    "STEP_FAULTS",
    "Crash",
    "CrashError",
    "Fault",
    "Faults",
    "Injected",
    "InjectedError",
]

StepFault = Literal["fails", "times_out", "reply_lost", "late_reply", "duplicate_reply", "slow"]
DeliveryFault = Literal["delayed", "duplicated", "reordered", "lost"]
Kind = Literal["execute", "compensate", "command", "event"]

STEP_FAULTS: Final[tuple[StepFault, ...]] = get_args(StepFault)
"""What may become of an attempt at a step: the names of faults."""

DELIVERY_FAULTS: Final[tuple[DeliveryFault, ...]] = get_args(DeliveryFault)
"""What may become of any message on its way: the names of faults."""

KINDS: Final = get_args(Kind)
PATIENCE: Final = timedelta(seconds=60)
"""What counts as the timeout of a message for whose answer is waited for ever."""
SOON: Final = timedelta(seconds=1)
REDELIVERY: Final = timedelta(seconds=5)
MOST: Final = timedelta(days=36_525)


class InjectedError(Exception):
    """What an attempt fails with that a fault makes fail: it may be tried again."""


class CrashError(BaseException):
    """The process ends here. No handler of errors is to live on, so that it is no `Exception`.

    What the process had in memory is lost; make a new lab over the same store to go on.

    Attributes:
        crash: the one that was asked for.
    """

    def __init__(self, crash: Crash) -> None:
        self.crash = crash
        super().__init__(f"the process crashed {crash.when} append {crash.append}, as planned")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with a message: what is not said is so for all of them.

    =================== ==========================================================================
    ``fails``           the attempt fails, without having been carried out
    ``times_out``       it is never handled, and never answered
    ``reply_lost``      it is handled, and the answer is lost
    ``late_reply``      it is handled, and the answer comes behind the timeout
    ``duplicate_reply`` it is handled, and the answer comes twice
    ``slow``            it is handled only behind the timeout: perhaps when it was undone already
    ``delayed``         it arrives later, and holds up those behind it in its stream
    ``duplicated``      it arrives twice
    ``reordered``       it is overtaken by what is sent behind it
    ``lost``            it is lost, and sent again later, behind what was sent meanwhile
    =================== ==========================================================================

    Args:
        name: of what goes wrong: one of `STEP_FAULTS` or `DELIVERY_FAULTS`.
        step: of an attempt at a step: only at this one.
        type: of an event on its way to a handler, or a command: only those of this type.
        kind: the kind of message: ``"execute"``, ``"compensate"``, ``"command"`` (of a process
            manager) or ``"event"``; by default what the others imply: a type is one of events,
            unless it is the class of a command.
        consumer: only messages for this saga or handler; of a qualified name the end is enough.
        sequence: only messages of this stream: of the saga, or of the event.
        attempt: only this one, from 1.
        rate: with this probability, from 0 to 1; by default always.
        by: how much later; by default one and a half times the timeout for ``late_reply`` and
            ``slow``, 5 seconds for ``lost``, else 1 second.

    Raises:
        InputError: there is no such fault, or it can hit nothing.

    Example:
        >>> Fault("reply_lost", "charge_payment", attempt=1)
        Fault('reply_lost', 'charge_payment', attempt=1)
        >>> Fault("duplicated", consumer="send_mail", rate=0.1).kind
        'event'
    """

    name: StepFault | DeliveryFault
    step: str | None = None
    _: KW_ONLY
    type: str | type[Event | Command] | None = None
    kind: Kind | None = None
    consumer: str | None = None
    sequence: str | None = None
    attempt: int | None = None
    rate: float | None = None
    by: timedelta | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in _CHANGES:
            raise InputError(
                f"there is no fault {self.name!r}; there are: {', '.join(_CHANGES)} (and Crash(n))"
            )
        if isinstance(self.type, type) and issubclass(self.type, Command) and self.kind is None:
            object.__setattr__(self, "kind", "command")
        if isinstance(self.type, type) and issubclass(self.type, Event | Command):
            object.__setattr__(self, "type", _type_name(self.type))
        if self.kind is None:
            object.__setattr__(self, "kind", self._implied_kind())
        self._check_texts()
        self._check_place()
        self._check_numbers()

    def _check_texts(self) -> None:
        for name in ("step", "type", "consumer", "sequence"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value):
                raise InputError(f"{name} is a name, and None is each of them, not {value!r:.200}")

    def _implied_kind(self) -> Kind:
        if self.step is not None:
            return "execute"
        if self.type is not None or self.name in DELIVERY_FAULTS:
            return "event"
        return "execute"

    def _check_place(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"a message is one of {', '.join(KINDS)}, not {self.kind!r}")
        attempts = ("execute", "compensate")
        if (self.step is not None and self.kind not in attempts) or (
            self.type is not None and self.kind in attempts
        ):
            raise InputError(
                f"steps are executed or compensated, and events and commands have a type: "
                f"{self!r} can hit nothing of the kind {self.kind!r}"
            )
        if self.kind == "event" and self.name not in DELIVERY_FAULTS:
            raise InputError(
                f"{self.name!r} happens to attempts and commands, which are answered; to an event: "
                f"{', '.join(DELIVERY_FAULTS)}"
            )

    def _check_numbers(self) -> None:
        attempt, rate = self.attempt, self.rate
        if attempt is not None and (not _is_number(attempt, int) or attempt < 1):
            raise InputError(f"attempts count from 1, and None is each of them, not {attempt!r}")
        if rate is not None and (not _is_number(rate, (int, float)) or not 0 <= rate <= 1):
            raise InputError(f"a rate is a probability from 0 to 1, not {rate!r}")
        by = self.by
        if by is not None and not (isinstance(by, timedelta) and timedelta() <= by <= MOST):
            raise InputError(
                f"by is a timedelta from 0 to a hundred years, such as timedelta(seconds=1): {by!r}"
            )

    @property
    def exact(self) -> bool:
        """Whether it always hits, and at one step or type."""
        return self.rate is None and (self.step or self.type) is not None

    def at(self, message: Message) -> Fault:
        """Return the same fault at exactly the place of a message."""
        attempt = message.kind in ("execute", "compensate")
        return replace(
            self,
            step=message.name if attempt else None,
            type=None if attempt else message.name,
            kind=message.kind,
            consumer=message.consumer,
            sequence=message.sequence,
            attempt=message.attempt,
            rate=None,
        )

    def hits(self, message: Message, seed: int) -> bool:
        """Say whether it happens to a message: for the same seed always the same."""
        return (
            message.kind == self.kind
            and (self.step or self.type) in (None, message.name)
            and self.sequence in (None, message.sequence)
            and self.attempt in (None, message.attempt)
            and self._is_for(message.consumer)
            and self._is_drawn(message, seed)
        )

    def _is_for(self, consumer: str) -> bool:
        wanted = self.consumer
        return wanted is None or consumer == wanted or consumer.endswith(f".{wanted}")

    def _is_drawn(self, message: Message, seed: int) -> bool:
        if self.rate is None:
            return True
        known = (message.kind, message.consumer, message.name, message.sequence, message.attempt)
        text = "\0".join(map(str, (seed, self.name, *known, message.id)))
        chance = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest())
        return chance < self.rate * 2**56

    def change(self, journey: Journey, message: Message) -> Journey:
        """Return what becomes of the journey of a message that it hits."""
        return _CHANGES[self.name](journey, message, self.by)

    @property
    def label(self) -> str:
        """What goes wrong and where, in a few words."""
        what = self.step or self.type or self.consumer or "everything"
        undone = "undo " if self.kind == "compensate" else ""
        attempt = "" if self.attempt is None else f" {self.attempt}"
        rate = "" if self.rate is None else f" ({self.rate:.0%})"
        return f"{undone}{what}{attempt}: {self.name}{rate}"

    def __repr__(self) -> str:
        options = [
            f"{one.name}={_shown(value)}"
            for one in fields(self)[2:]
            if (value := getattr(self, one.name)) is not None
            and not (one.name == "kind" and value == self._implied_kind())
        ]
        return f"Fault({', '.join([*map(repr, filter(None, (self.name, self.step))), *options])})"


@dataclass(frozen=True, slots=True)
class Crash:
    """The process ends at one of the appends to its store, and all that is in memory is gone.

    Args:
        append: which one, from 1, counted from when the fault is injected.
        when: ``"before"``: nothing is written; or ``"after"``: it is written, and nobody was told.

    Raises:
        InputError: it is no such place.
    """

    append: int
    when: Literal["before", "after"] = "before"

    def __post_init__(self) -> None:
        if not _is_number(self.append, int) or self.append < 1:
            raise InputError(f"appends count from 1, not {self.append!r}")
        if self.when not in ("before", "after"):
            raise InputError(f"a crash comes 'before' or 'after' an append, not {self.when!r}")

    @property
    def label(self) -> str:
        """When it ends, in a few words."""
        return f"crash {self.when} append {self.append}"

    def __repr__(self) -> str:
        return f"Crash({self.append}, {self.when!r})"


@dataclass(frozen=True, slots=True)
class Injected:
    """A fault that happened.

    Attributes:
        fault: which one.
        message: to what.
    """

    fault: Fault
    message: Message


class Faults:
    """Plans the journeys of messages to which faults happen, one upon the other.

    It is an `eslab.bus.journey.Route`: `eslab.Lab.inject` gives it to all that sends messages.

    Args:
        faults: what goes wrong; `Crash` among them ends the process.
        seed: decides which messages those hit that have a rate.

    Attributes:
        injected: the faults that happened, in order.
        route: plans the journeys that the faults change.
        appends: how many appends there were since it watches a store.

    Raises:
        InputError: one is no fault.

    Example:
        >>> from uuid import UUID
        >>> faults = Faults([Fault("duplicated", consumer="mail")])
        >>> len(faults(Message("event", "mail", "OrderPlaced", UUID(int=7), "order-1")).arrivals)
        2
        >>> faults
        <Faults: 1 fault, 1 injected>
    """

    def __init__(self, faults: Iterable[Fault | Crash], *, seed: int = 0) -> None:
        listed = list(faults)
        if wrong := [one for one in listed if not isinstance(one, Fault | Crash)]:
            raise InputError(f"faults are made by Fault(...) and Crash(...); found {wrong[0]!r}")
        self.faults = tuple(one for one in listed if isinstance(one, Fault))
        self.crashes = frozenset(one for one in listed if isinstance(one, Crash))
        self.seed = seed
        self.injected: list[Injected] = []
        self.route: Route = straight
        self.appends = 0
        self._store: StoreAdapter | None = None

    def __call__(self, message: Message) -> Journey:
        """Plan the journey of a message."""
        journey = self.route(message)
        for fault in self.faults:
            if fault.hits(message, self.seed):
                journey = fault.change(journey, message)
                self.injected.append(Injected(fault, message))
        return journey

    @property
    def df(self) -> pd.DataFrame:
        """The faults that happened, in order: one row each."""
        import pandas as pd

        columns = ("fault", "kind", "consumer", "name", "sequence", "attempt")
        rows = [
            (one.fault.name, *(getattr(one.message, name) for name in columns[1:]))
            for one in self.injected
        ]
        return pd.DataFrame(rows, columns=list(columns))

    def watch(self, store: StoreAdapter) -> None:
        """Count the appends of a store from now on, and crash where that is asked for."""
        submit = store._submit  # noqa: SLF001 - the one place where all that appends passes

        def counting(request: AppendRequest) -> Decision:
            self.appends += 1
            self._crash_if(Crash(self.appends, "before"))
            decision = submit(request)
            self._crash_if(Crash(self.appends, "after"))
            return decision

        vars(store)["_submit"] = counting
        self._store = store

    def _crash_if(self, crash: Crash) -> None:
        if crash in self.crashes:
            raise CrashError(crash)

    def withdraw(self) -> None:
        """Leave the store that it watches alone."""
        if self._store is not None:
            vars(self._store).pop("_submit", None)
            self._store = None

    def __repr__(self) -> str:
        count = counted(len(self.faults) + len(self.crashes), "fault")
        return f"<Faults: {count}, {len(self.injected)} injected>"


# What becomes of a journey.


def _fails(journey: Journey, message: Message, by: timedelta | None) -> Journey:  # noqa: ARG001
    error = InjectedError(f"attempt {message.attempt} at {message.name!r} was made to fail")
    return replace(journey, error=error)


def _times_out(journey: Journey, message: Message, by: timedelta | None) -> Journey:  # noqa: ARG001
    return replace(journey, arrivals=(), replies=())


def _reply_lost(journey: Journey, message: Message, by: timedelta | None) -> Journey:  # noqa: ARG001
    return replace(journey, replies=())


def _late_reply(journey: Journey, message: Message, by: timedelta | None) -> Journey:
    late = _behind(message) if by is None else by
    return replace(journey, replies=tuple(delay + late for delay in journey.replies))


def _duplicate_reply(journey: Journey, message: Message, by: timedelta | None) -> Journey:  # noqa: ARG001
    return replace(journey, replies=_twice(journey.replies, by))


def _slow(journey: Journey, message: Message, by: timedelta | None) -> Journey:
    return _later(journey, _behind(message) if by is None else by)


def _delayed(journey: Journey, message: Message, by: timedelta | None) -> Journey:  # noqa: ARG001
    return _later(journey, SOON if by is None else by)


def _duplicated(journey: Journey, message: Message, by: timedelta | None) -> Journey:  # noqa: ARG001
    return replace(journey, arrivals=_twice(journey.arrivals, by))


def _reordered(journey: Journey, message: Message, by: timedelta | None) -> Journey:
    return replace(_delayed(journey, message, by), ordered=False)


def _lost(journey: Journey, message: Message, by: timedelta | None) -> Journey:  # noqa: ARG001
    return replace(_later(journey, REDELIVERY if by is None else by), ordered=False)


_CHANGES: Final[Mapping[str, Callable[[Journey, Message, timedelta | None], Journey]]] = {
    "fails": _fails,
    "times_out": _times_out,
    "reply_lost": _reply_lost,
    "late_reply": _late_reply,
    "duplicate_reply": _duplicate_reply,
    "slow": _slow,
    "delayed": _delayed,
    "duplicated": _duplicated,
    "reordered": _reordered,
    "lost": _lost,
}


def _behind(message: Message) -> timedelta:
    """Return how much later something is behind the timeout, and behind what follows from it."""
    return (message.timeout or PATIENCE) * 3 / 2


def _later(journey: Journey, by: timedelta) -> Journey:
    return replace(journey, arrivals=tuple(delay + by for delay in journey.arrivals))


def _twice(delays: tuple[timedelta, ...], by: timedelta | None) -> tuple[timedelta, ...]:
    return (*delays, *(delay + (SOON if by is None else by) for delay in delays))


def _type_name(type: type[Event | Command]) -> str:
    """Return the name by which messages know a type of events or commands."""
    return type.event_type if issubclass(type, Event) else type.__name__


def _is_number(value: object, kinds: Any) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _shown(value: object) -> str:
    return repr(value).removeprefix("datetime.")
