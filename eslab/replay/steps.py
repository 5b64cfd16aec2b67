"""A stream, or several, step by step: each event, the state after it, and what it changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from eslab.aggregates import Aggregate, Definition
from eslab.errors import InputError
from eslab.events import RecordedEvent, category_of
from eslab.garbage import garbage_kept
from eslab.messaging.envelope import takes
from eslab.progress import progress_bar
from eslab.replay.changes import Change, changes, copied, path_keys
from eslab.replay.following import Follower, MissedChangeError, begun
from eslab.replay.states import States
from eslab.schema import EventRegistry
from eslab.store.port import EventStore, SnapshotKey

__all__ = ["Change", "Frame", "Replay", "changes", "replay", "replay_events"]

Predicate = Callable[..., Any]

TOLD: Final = 5
"""Changes that the representation of a frame tells, at most."""


@dataclass(frozen=True, slots=True, repr=False)
class Frame:
    """One step of a replay.

    Attributes:
        number: its place in the replay, from 1; in that of one stream the event's version.
        event: what was recorded.
        changes: what it changed in the state of its stream.
        between: what events that are not shown changed there since the stream's frame before.
        previous: the number of that frame; 0 if this is the stream's first one.
        digest: twelve hexadecimal digits that stand for the state after it; `Mirror.digest` says of
            what they are the hash.
        error: why the event could not be applied; the state is then the one before it.
    """

    number: int
    event: RecordedEvent
    changes: tuple[Change, ...]
    between: tuple[Change, ...]
    previous: int
    digest: str
    error: str | None = None
    _states: States = field(repr=False, compare=False, kw_only=True)

    def __repr__(self) -> str:
        event = self.event
        told = f"not applied: {self.error}" if self.error else ", ".join(map(str, self._few))
        return f"<frame {self.number}: {event.type} {event.stream_id} v{event.version}: {told}>"

    @property
    def _few(self) -> tuple[object, ...]:
        rest = len(self.changes) - TOLD
        more = (f"and {rest:,} more",) if rest > 0 else ()
        return (*self.changes[:TOLD], *more) or ("nothing changed",)

    @property
    def state(self) -> dict[str, Any]:
        """The state of the event's stream after it, as JSON values."""
        return self._states.of(self.number)

    @property
    def states(self) -> dict[str, dict[str, Any]]:
        """The states of all streams that have begun by then."""
        return self._states.after(self.number)


@dataclass(frozen=True, slots=True)
class Replay:
    """The frames of a stream, or of several in the order of position.

    Only what changes is kept of a state: it is put together when somebody asks for it.

    Attributes:
        title: the stream, or what was asked for.
        frames: the steps.
        initials: the states before the first event, by category.
        stream_id: the stream, if it is one.
        snapshots: the numbers of the frames after which a snapshot of the state is kept.
    """

    title: str
    frames: Sequence[Frame]
    initials: Mapping[str, dict[str, Any]]
    stream_id: str | None = None
    snapshots: tuple[int, ...] = ()
    _folded: Callable[[], Iterator[tuple[int, Any]]] = field(
        repr=False, compare=False, default=lambda: iter(())
    )

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)

    def __getitem__(self, number: int) -> Frame:
        """Return a frame by its number, from 1; of one stream, by its version.

        Raises:
            IndexError: there is no such frame.
        """
        if not 1 <= number <= len(self.frames):
            raise IndexError(f"{self.title!r} has the {self.words()}, not {number}")
        return self.frames[number - 1]

    def words(self) -> str:
        """Return which frames there are."""
        word = "frames" if self.stream_id is None else "versions"
        return f"{word} 1 to {len(self.frames)}" if self.frames else "no events"

    @property
    def initial(self) -> dict[str, Any]:
        """The state of one stream before its first event."""
        return next(iter(self.initials.values()), {})

    def first(self, predicate: Predicate) -> Frame | None:
        """Return the first frame after which something holds; None if it never does.

        The events are folded once, and only as far as that.

        Args:
            predicate: a function of the state, or of the state and the recorded event. The state
                is the aggregate itself, what the decider's `evolve` returned, or the state of a
                saga; None, if nothing is known that folds the stream.

        Raises:
            InputError: it is no such function, or it raised something.

        Example:
            >>> import eslab
            >>> from eslab.simulation.scenarios.accounts import account, OpenAccount, Deposit
            >>> with eslab.Lab(seed=7) as lab:
            ...     lab.register(account)
            ...     _ = lab.execute(OpenAccount(account_id="a-1", owner="Ann"))
            ...     for amount in (10, 20, 30):
            ...         _ = lab.execute(Deposit(account_id="a-1", amount=amount))
            ...     steps = lab.replay("account-a-1").replay
            >>> steps.first(lambda state: state.balance > 20)
            <frame 3: MoneyDeposited account-a-1 v3: ~ balance: 10 -> 30>
            >>> steps.breakpoints(lambda state: state.balance > 20)
            (3,)
        """
        return next((self[number] for number, held in self._asked(predicate) if held), None)

    def breakpoints(self, predicate: Predicate) -> tuple[int, ...]:
        """Return the numbers of the frames at which something begins to hold.

        Args:
            predicate: as in `first`; what holds is told by stream.

        Raises:
            InputError: as `first`.
        """
        held: dict[str, bool] = {}
        found: list[int] = []
        for number, holds in self._asked(predicate):
            stream_id = self[number].event.stream_id
            if holds and not held.get(stream_id):
                found.append(number)
            held[stream_id] = holds
        return tuple(found)

    def _asked(self, predicate: Predicate) -> Iterator[tuple[int, bool]]:
        ask = _asking(predicate)
        for number, subject in self._folded():
            event = self[number].event
            try:
                yield number, bool(ask(subject, event))
            except Exception as error:
                where = f"version {number}" if self.stream_id is not None else f"frame {number}"
                raise InputError(
                    f"the predicate raised {type(error).__name__}: {error} at {where} ({event!r})"
                ) from error

    def compare(self, before: int, after: int) -> tuple[Change, ...]:
        """Return what is different in the state at one frame from that at another.

        Of several streams, the states of all of them are compared, each under its id.

        Raises:
            IndexError: there is no such frame.
        """
        one, other = self[before].states, self[after].states
        if self.stream_id is not None:
            return tuple(changes(one[self.stream_id], other[self.stream_id]))
        return tuple(changes(one, other))

    def values(self, path: str) -> list[Any]:
        """Return the value at a path of the state at each frame; None where there is none.

        Of several streams, it is that of the event's stream.

        Args:
            path: such as ``"status"`` or ``"lines[0].price"``.

        Raises:
            InputError: it is no path.
        """
        keys = path_keys(path)
        states = States(self.frames, self.initials)
        return [copied(states.value(frame, keys)) for frame in self.frames]


def replay(
    store: EventStore,
    stream_id: str,
    *,
    definition: Definition[Any] | None,
    registry: EventRegistry,
    progress: bool = False,
) -> Replay:
    """Fold a stream with the handlers of its aggregate, and keep every step.

    An event that cannot be applied has its error in its frame, and ends the folding: the events
    behind it are shown with the state as it was.

    Args:
        store: where the stream is.
        stream_id: the stream; one without events gives no frames.
        definition: the class of aggregates, or the decider, that gives the state; without one the
            state is empty.
        registry: which class stands for which type.
        progress: draw a progress bar on stderr, if that is a terminal or a notebook.

    Example:
        >>> from eslab.store import MemoryStore
        >>> len(replay(MemoryStore(), "order-1", definition=None, registry=EventRegistry()))
        0
    """
    events = tuple(store.read(stream_id))
    category = category_of(stream_id)
    definitions = {} if definition is None else {category: definition}
    return _Steps(definitions, registry, events, progress=progress).replay(
        stream_id,
        stream_id=stream_id,
        snapshots=_snapshots(store, stream_id, definition),
    )


def replay_events(
    events: Iterable[RecordedEvent],
    *,
    shown: Collection[int],
    title: str,
    definitions: Mapping[str, Definition[Any]],
    registry: EventRegistry,
    progress: bool = False,
) -> Replay:
    """Fold several streams, each with the handlers of its aggregate, and keep the steps shown.

    Args:
        events: all events of these streams, up to the last one that is shown, in the order of
            position: the states are those that the streams have.
        shown: the positions of the events that have a frame.
        title: what they are.
        definitions: the classes of aggregates, and the deciders, by category.
        registry: which class stands for which type.
        progress: draw a progress bar on stderr, if that is a terminal or a notebook.
    """
    steps = _Steps(definitions, registry, tuple(events), shown=set(shown), progress=progress)
    return steps.replay(title)


def _asking(predicate: Predicate) -> Callable[[Any, RecordedEvent], Any]:
    """Return a function of the state and the event.

    Raises:
        InputError: it is neither that nor a function of the state.
    """
    if callable(predicate) and takes(predicate, 1):
        return lambda state, _: predicate(state)
    if callable(predicate) and takes(predicate, 2):
        return predicate
    raise InputError(
        f"a predicate is a function of the state, or of the state and the event, such as "
        f"lambda state: state.status == 'paid', not {predicate!r:.200}"
    )


class _Steps:
    """Folds events to frames."""

    def __init__(
        self,
        definitions: Mapping[str, Definition[Any]],
        registry: EventRegistry,
        events: Sequence[RecordedEvent],
        *,
        shown: set[int] | None = None,
        progress: bool = False,
    ) -> None:
        self._definitions = definitions
        self._registry = registry
        self._events = events
        self._shown = shown
        self._progress = progress
        self._frames: list[Frame] = []
        self._initials: dict[str, dict[str, Any]] = {}
        self._failed: dict[str, int] = {}
        self._states = States(self._frames, self._initials)

    def replay(
        self, title: str, *, stream_id: str | None = None, snapshots: tuple[int, ...] = ()
    ) -> Replay:
        try:
            self._fold(title, watch=True)
        except MissedChangeError:
            # Watching is only quicker: without it every state is looked at as a whole.
            self._frames.clear()
            self._failed.clear()
            self._fold(title, watch=False)
        if stream_id is not None and not self._frames:
            self._follower(stream_id, watch=False)
        frames = tuple(self._frames)
        return Replay(title, frames, self._initials, stream_id, snapshots, self._folded)

    def _fold(self, title: str, *, watch: bool) -> None:
        followers: dict[str, Follower] = {}
        between: dict[str, list[Change]] = {}
        total = len(self._events)
        bar = progress_bar(total=total, description=f"replaying {title}", progress=self._progress)
        with bar, garbage_kept():
            for event in self._events:
                follower = followers.get(event.stream_id)
                if follower is None:
                    follower = self._follower(event.stream_id, watch=watch)
                    followers[event.stream_id] = follower
                found, error = follower.follow(event)
                if error is not None:
                    self._failed.setdefault(event.stream_id, event.version)
                if self._shown is None or event.position in self._shown:
                    hidden = tuple(between.pop(event.stream_id, ()))
                    self._add(event, follower, found, hidden, error)
                else:
                    between.setdefault(event.stream_id, []).extend(found)
                bar.update()
            for follower in followers.values():
                follower.check()

    def _follower(self, stream_id: str, *, watch: bool) -> Follower:
        category = category_of(stream_id)
        definition = self._definitions.get(category)
        made = Follower(definition, stream_id, registry=self._registry, watch=watch)
        self._initials.setdefault(category, made.initial)
        return made

    def _add(
        self,
        event: RecordedEvent,
        follower: Follower,
        found: tuple[Change, ...],
        between: tuple[Change, ...],
        error: str | None,
    ) -> None:
        number = len(self._frames) + 1
        digest = follower.mirror.digest
        self._frames.append(
            Frame(number, event, found, between, follower.last, digest, error, _states=self._states)
        )
        follower.last = number

    def _folded(self) -> Iterator[tuple[int, Any]]:
        """Fold again, for what asks for the state itself; yield each frame's number with it."""
        subjects: dict[str, Any] = {}
        number = 0
        for event in self._events:
            stream_id = event.stream_id
            shown = self._shown is None or event.position in self._shown
            number += shown
            if event.version >= self._failed.get(stream_id, event.version + 1):
                continue
            if stream_id not in subjects:
                definition = self._definitions.get(category_of(stream_id))
                subjects[stream_id] = begun(definition, stream_id)
            subject = subjects[stream_id]
            if subject is not None:
                subject.rebuild([self._registry.decode(event)])
            if shown:
                whole = subject is None or isinstance(subject, Aggregate)
                yield number, subject if whole else subject.state


def _snapshots(
    store: EventStore, stream_id: str, definition: Definition[Any] | None
) -> tuple[int, ...]:
    """Return the versions of a stream of which a snapshot is kept."""
    if definition is None or definition.snapshot_every is None:
        return ()
    key = SnapshotKey(stream_id, definition.state_schema().key)
    found: list[int] = []
    latest = store.snapshots.latest(key)
    while latest is not None:
        found.append(latest.version)
        latest = store.snapshots.latest(key, until=latest.version - 1)
    return tuple(reversed(found))
