"""What becomes of an event that its consumer cannot handle: it is parked, until somebody decides.

Dead letters keep the order of each *sequence*, after Axon's sequenced dead letter queue: behind an
event that is parked, later ones of its stream are parked too, and other streams go on. What a
person does about them is an event first, and then a change of the table ``dead_letters``.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from eslab.errors import EslabError, InputError
from eslab.events import Event, RecordedEvent
from eslab.schema import encode
from eslab.store.port import EventStore, ReadModels, Transaction
from eslab.subscriptions.turnstile import Turnstile
from eslab.words import counted

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "DeadLetter",
    "DeadLetterDiscarded",
    "DeadLetterRetried",
    "DeadLetters",
    "Inbox",
    "Parked",
    "Redelivery",
    "left_out",
]


class DeadLetterRetried(Event):
    """Somebody has an event tried again that was parked."""

    consumer: str
    event_id: uuid.UUID
    event_position: int
    attempt: int


class DeadLetterDiscarded(Event):
    """Somebody decided that an event is never handled by a consumer."""

    consumer: str
    event_id: uuid.UUID
    event_position: int
    reason: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that is parked.

    Attributes:
        consumer: who could not handle it.
        sequence: its stream, in which nothing is handled before it.
        position: of the event.
        reason: why it was parked; None if only because it is behind one that was.
        attempts: how often it was tried.
        parked_at: when.
    """

    consumer: str
    sequence: str
    position: int
    reason: str | None
    attempts: int
    parked_at: datetime


@dataclass(frozen=True, slots=True)
class Parked:
    """An event that is to be parked: see `DeadLetter`."""

    sequence: str
    position: int
    reason: str | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Redelivery:
    """What came of a retry.

    Attributes:
        handled: the positions of the events that were handled.
        failed: why others were not, by their positions; those behind them were not tried.
    """

    handled: tuple[int, ...]
    failed: dict[int, str]

    def __bool__(self) -> bool:
        """Whether all were handled."""
        return not self.failed

    def __repr__(self) -> str:
        failed = "".join(f"; @{position}: {why}" for position, why in self.failed.items())
        return f"<Redelivery: {counted(len(self.handled), 'event')} handled{failed}>"


class _Known(NamedTuple):
    """What is known of the letters, after so many changes."""

    changes: int
    sequences: Counter[str]
    discarded: frozenset[int]


class LetterStore(EventStore, ReadModels, Protocol):
    """A store that keeps tables beside its log."""


Redeliver = Callable[[Transaction, RecordedEvent], None]


class DeadLetters:
    """The events that a consumer could not handle, by sequence, and what to do about them.

    Args:
        store: the log, and the place of the table.
        consumer: whose.
        redeliver: handles an event in a transaction, or raises an `EslabError`.
        owner: whose decisions count; by default the consumer's own.
        lock: held while one is handled; the consumer's own.

    Example:
        >>> import eslab
        >>> with eslab.Lab(seed=7) as lab:
        ...     letters = DeadLetters(lab.store, "orders", redeliver=lambda *_: None)
        ...     _ = lab.store.append("order-1", [eslab.NewEvent("OrderPlaced", {})])
        ...     with lab.store.transaction() as transaction:
        ...         letters.park(transaction, [Parked("order-1", 1, "ValueError: no", 1)])
        ...     letters
        ...     letters.retry()
        ...     letters
        <DeadLetters of orders: 1>
        <Redelivery: 1 event handled>
        <DeadLetters of orders: none>
    """

    def __init__(
        self,
        store: LetterStore,
        consumer: str,
        *,
        redeliver: Redeliver,
        owner: str | None = None,
        lock: Turnstile | None = None,
    ) -> None:
        self.consumer = consumer
        self._store = store
        self._redeliver = redeliver
        self._lock = lock or Turnstile()
        self._stream = _stream_of(owner or consumer)
        self._retired = False
        self._changes = 0
        self._known = _Known(-1, Counter(), frozenset())

    # For the consumer.

    @property
    def sequences(self) -> Counter[str]:
        """How many letters there are of each sequence."""
        return self._current().sequences

    @property
    def discarded(self) -> frozenset[int]:
        """The positions of the events that somebody decided are never handled."""
        return self._current().discarded

    def _current(self) -> _Known:
        known = self._known
        if known.changes != self._changes:
            known = self._known = self._read()
        return known

    def _read(self) -> _Known:
        # Whoever looks on reads on another thread, and what is parked meanwhile is not in what it
        # found: so that is kept with the number of changes before it.
        changes = self._changes
        discarded = _discarded(self._store, self._stream)
        letters = self._kept()
        sequences = Counter(
            letter.sequence for letter in letters if letter.position not in discarded
        )
        if gone := [letter.position for letter in letters if letter.position in discarded]:
            self._make_good(gone)
        return _Known(changes, sequences, discarded)

    def _make_good(self, discarded: list[int]) -> None:
        """Remove letters whose discard was recorded, and then something went wrong."""
        if not self._lock.acquire(timeout=0):
            return  # whoever holds it changes the table
        try:
            with self._store.transaction() as transaction:
                for position in discarded:
                    self._remove(transaction, position)
        finally:
            self._lock.release()

    def forget(self) -> None:
        """Read again what there is: it may have been changed elsewhere, or rolled back."""
        self._changes += 1

    def retire(self) -> None:
        """Let nobody change anything any more: the consumer was made anew, and has its own."""
        self._retired = True

    def park(self, transaction: Transaction, parked: Sequence[Parked]) -> None:
        """Park events in a transaction, with the checkpoint that leads over them."""
        now = self._store.clock.now()
        for each in parked:
            transaction.execute(
                "insert into eslab.dead_letters values (?, ?, ?, ?, ?, ?)",
                [self.consumer, each.sequence, each.position, each.reason, each.attempts, now],
            )

    def take_over(self, transaction: Transaction, consumer: str) -> None:
        """Have the letters of another consumer, in place of one's own."""
        transaction.execute("delete from eslab.dead_letters where consumer = ?", [self.consumer])
        transaction.execute(
            "update eslab.dead_letters set consumer = ? where consumer = ?",
            [self.consumer, consumer],
        )

    # For people.

    def __iter__(self) -> Iterator[DeadLetter]:
        """Yield the letters in the order of position."""
        discarded = self.discarded
        return iter([letter for letter in self._kept() if letter.position not in discarded])

    def _kept(self) -> list[DeadLetter]:
        found = self._store.sql(
            "select consumer, sequence, position, reason, attempts, parked_at from dead_letters "
            "where consumer = ? order by position",
            [self.consumer],
        )
        return [DeadLetter(*row) for row in found.fetchall()]

    def __len__(self) -> int:
        return self.sequences.total()

    @property
    def df(self) -> pd.DataFrame:
        """The letters with their events, as a frame: the ones of a sequence behind each other."""
        return self._store.sql(
            "select sequence, position, type, data, reason, attempts, parked_at, recorded_at "
            "from dead_letters join events using (position) where consumer = ? "
            "order by min(position) over (partition by sequence), position",
            [self.consumer],
        ).df()

    def retry(self, *, sequence: str | None = None, position: int | None = None) -> Redelivery:
        """Have letters handled: all, those of a sequence, or one, which is the first of its own.

        They are handled in their order; behind one that fails again those of its sequence wait on.

        Args:
            sequence: only the letters of this stream.
            position: only the letter of the event at this position.

        Raises:
            InputError: there is no such letter, or another one of its sequence is before it.
        """
        with self._lock:
            self._require_current()
            handled: list[int] = []
            failed: dict[int, str] = {}
            stuck: set[str] = set()
            for letter in self._chosen(sequence, position):
                if letter.sequence in stuck:
                    continue
                reason = self._handle(letter)
                if reason is None:
                    handled.append(letter.position)
                else:
                    failed[letter.position] = reason
                    stuck.add(letter.sequence)
            return Redelivery(tuple(handled), failed)

    def discard(self, position: int, *, reason: str) -> None:
        """Decide that an event is never handled, not by a rebuild either.

        Letters behind it wait on, until somebody retries them.

        Args:
            position: of the event.
            reason: why, for whoever asks later.

        Raises:
            InputError: there is no such letter, or no reason.
        """
        if position is None:
            raise InputError("a discard is of one event: say at which position it is")
        if not isinstance(reason, str) or not reason.strip():
            raise InputError(
                f"say for whoever asks later why the event at {position} is discarded: reason='...'"
            )
        with self._lock:
            self._require_current()
            (letter,) = self._chosen(None, position, anywhere=True)
            event = self._event(letter)
            self._record(
                DeadLetterDiscarded(
                    consumer=self.consumer,
                    event_id=event.event_id,
                    event_position=event.position,
                    reason=reason,
                ),
                "discarded",
            )
            self.forget()
            self._current()

    def _require_current(self) -> None:
        if self._retired:
            raise InputError(
                f"these are the dead letters of {self.consumer} as it was; it was projected anew "
                f"since, in this lab or in a newer one on its file: ask that one for dead letters"
            )

    def _chosen(
        self, sequence: str | None, position: int | None, *, anywhere: bool = False
    ) -> list[DeadLetter]:
        letters = list(self)
        chosen = [
            letter
            for letter in letters
            if sequence in (None, letter.sequence) and position in (None, letter.position)
        ]
        if not chosen and (sequence is not None or position is not None):
            what = f"of {sequence!r}" if position is None else f"at position {position!r}"
            held = ", ".join(f"@{letter.position} {letter.sequence}" for letter in letters[:5])
            raise InputError(f"{self.consumer} has no dead letter {what} (it has {held or 'none'})")
        if position is not None and not anywhere:
            (first, *_) = [each for each in letters if each.sequence == chosen[0].sequence]
            if first is not chosen[0]:
                raise InputError(
                    f"the event at {position} waits behind the one at {first.position} of "
                    f"{first.sequence!r}: retry that one first, or sequence={first.sequence!r}"
                )
        return chosen

    def _handle(self, letter: DeadLetter) -> str | None:
        """Handle the event of a letter; return why that failed, or None."""
        event = self._event(letter)
        self._record(
            DeadLetterRetried(
                consumer=self.consumer,
                event_id=event.event_id,
                event_position=event.position,
                attempt=letter.attempts + 1,
            ),
            f"retried {letter.attempts + 1}",
        )
        try:
            with self._store.transaction() as transaction:
                self._redeliver(transaction, event)
                self._remove(transaction, letter.position)
        except EslabError as error:
            reason = getattr(error, "reason", None) or f"{type(error).__name__}: {error}"
            with self._store.transaction() as transaction:
                transaction.execute(
                    "update eslab.dead_letters set reason = ?, attempts = attempts + 1 "
                    "where consumer = ? and position = ?",
                    [reason, self.consumer, letter.position],
                )
            return str(reason)
        finally:
            self.forget()
        return None

    def _event(self, letter: DeadLetter) -> RecordedEvent:
        (event,) = self._store.read_all(after=letter.position - 1, until=letter.position)
        return event

    def _remove(self, transaction: Transaction, position: int) -> None:
        transaction.execute(
            "delete from eslab.dead_letters where consumer = ? and position = ?",
            [self.consumer, position],
        )

    def _record(self, event: DeadLetterRetried | DeadLetterDiscarded, what: str) -> None:
        name = f"{self._stream} {event.event_position} {what}"
        id = uuid.uuid5(event.event_id, name)
        if self._store.find(id) is None:
            self._store.append(self._stream, [encode(event, event_id=id)])

    def _repr_html_(self) -> str:
        """Return a table of the letters, for a notebook."""
        return self.df.to_html(index=False) if len(self) else f"<p>{self!r}</p>"

    def __repr__(self) -> str:
        return f"<DeadLetters of {self.consumer}: {len(self) or 'none'}>"


def left_out(store: LetterStore, consumer: str) -> frozenset[int]:
    """Return the positions of the events that a consumer has not handled: parked, or discarded."""
    parked = store.sql("select position from dead_letters where consumer = ?", [consumer])
    positions = {position for (position,) in parked.fetchall()}
    return _discarded(store, _stream_of(consumer)) | positions


def _stream_of(consumer: str) -> str:
    return f"dead_letter-{consumer}"


def _discarded(store: EventStore, stream_id: str) -> frozenset[int]:
    return frozenset(
        event.data["event_position"]
        for event in store.read(stream_id)
        if event.type == DeadLetterDiscarded.event_type
    )


class Inbox:
    """The messages that a consumer has seen, so that each counts once, though it comes twice.

    For consumers whose effects are rows beside it: both are committed in one transaction.

    Args:
        consumer: whose.

    Example:
        >>> import eslab
        >>> with eslab.Lab(seed=7) as lab:
        ...     inbox = Inbox("mail")
        ...     for _ in range(2):
        ...         with lab.store.transaction() as transaction:
        ...             inbox.receive(transaction, "message 1", at=lab.clock.now())
        True
        False
    """

    def __init__(self, consumer: str) -> None:
        self.consumer = consumer

    def receive(self, transaction: Transaction, message_id: str, *, at: datetime) -> bool:
        """Note a message, and say whether it is new."""
        new = transaction.execute(
            "insert into eslab.inbox values (?, ?, ?) on conflict do nothing returning message_id",
            [self.consumer, message_id, at],
        )
        return bool(new)
