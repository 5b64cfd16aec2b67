"""Where aggregates and entities are loaded from and saved to."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

from pydantic import ValidationError
from typing_extensions import TypeIs

from eslab.aggregates.aggregate import Aggregate
from eslab.aggregates.decider import Decider
from eslab.aggregates.sourced import Definition, Sourced, stream_of
from eslab.clock import derived_id
from eslab.errors import InputError, SchemaError, StreamNotFoundError
from eslab.events import AsOf, Event, Metadata, category_of
from eslab.progress import progress_bar
from eslab.schema import (
    AnyEvent,
    EncodedEvent,
    EventRegistry,
    encode,
    encoded,
    event_list,
    metadata_text,
    parse_json,
)
from eslab.store.port import AppendResult, EventStore, Snapshot, SnapshotKey, StreamAppend
from eslab.words import counted

__all__ = ["Repository", "SnapshotReport", "is_definition"]

T = TypeVar("T", bound=Sourced)

CACHE: Final = 50_000


def is_definition(value: object) -> TypeIs[type[Aggregate] | Decider[Any]]:
    """Say whether something is the class of an aggregate, or a decider."""
    if isinstance(value, type):
        return issubclass(value, Aggregate) and value is not Aggregate
    return isinstance(value, Decider)


class Repository:
    """Loads aggregates and entities from a store, and saves what they recorded.

    What was loaded last is kept in memory, so that only what was recorded since is read. It is
    never taken for the truth: each load looks at the version of the stream.

    Args:
        store: where the events are.
        registry: which class stands for which type; the event classes of whatever is loaded or
            saved are registered in it.
        cache: how many are kept in memory; 0 for none.

    Attributes:
        definitions: by category, what was registered, loaded or saved last.

    Example:
        >>> from eslab.interop.flights import Flight
        >>> from eslab.store import MemoryStore
        >>> repository = Repository(MemoryStore(), EventRegistry())
        >>> repository.load(Flight, "2013-01-01-UA1545-EWR")
        Traceback (most recent call last):
        eslab.errors.StreamNotFoundError: there is no stream 'flight-2013-01-01-UA1545-EWR'
    """

    def __init__(self, store: EventStore, registry: EventRegistry, *, cache: int = CACHE) -> None:
        self._store = store
        self._registry = registry
        self.definitions: dict[str, Definition[Any]] = {}
        self._cache = _Cache(cache)

    def load(
        self,
        definition: Definition[T],
        id: str,
        *,
        version: int | None = None,
        as_of: AsOf | None = None,
    ) -> T:
        """Return an aggregate, or an entity of a decider, as its events left it.

        Args:
            definition: the class of the aggregate, or the decider.
            id: its identity.
            version: as it was at this version; by default as it is.
            as_of: as it was at a position, a recorded or an occurred time.

        Raises:
            InputError: an argument cannot be used, or there is no such version yet.
            StreamNotFoundError: it has no events, or had none then.
            UnknownEventTypeError: its stream holds an event of a type nobody knows.
        """
        found = self.find(definition, id, version=version, as_of=as_of)
        if found.version == 0:
            raise StreamNotFoundError(found.stream_id)
        return found

    def find(
        self,
        definition: Definition[T],
        id: str,
        *,
        version: int | None = None,
        as_of: AsOf | None = None,
    ) -> T:
        """Do the same; if it has no events, return a new one."""
        self.register(definition)
        if not isinstance(id, str):
            stream_of(definition.category, id)  # it says what is wrong
        # What folds is looked at before: it may be defined anew meanwhile.
        revision = self._registry.revision
        if as_of is not None:  # what had occurred by then may be any of its events
            read = self._store.read(definition(id).stream_id, to_version=version, as_of=as_of)
            return definition(id).rebuild(map(self._registry.decode, read))
        if version is not None:
            return self._rebuilt(definition, definition(id), until=version)
        kept = self._cache.get(definition, id, revision)
        found = definition(id) if kept is None else kept
        if kept is None or self._store.stream_version(found.stream_id) != found.version:
            self._rebuilt(definition, found)
            self._cache.put(found, revision)
        return found

    def get_many(self, definition: Definition[T], ids: Iterable[str]) -> dict[str, T]:
        """Return several by their identities, as they were at one moment, in one query.

        Those that have no events are left out.

        Raises:
            InputError: an argument cannot be used.
        """
        if isinstance(ids, str) or not isinstance(ids, Iterable):
            raise InputError(f"get_many() takes a list of identities: [{ids!r}]")
        self.register(definition)
        found = {new.stream_id: new for new in map(definition, ids)}
        # Without snapshots: to look one up for each would be a query for each.
        for recorded in self._store.read_all(streams=found):
            found[recorded.stream_id].rebuild([self._registry.decode(recorded)])
        return {one.id: one for one in found.values() if one.version}

    def save(
        self, sourced: Sourced, *, metadata: Metadata | None = None, command_id: UUID | None = None
    ) -> AppendResult:
        """Append what was recorded, at the version with which it was loaded.

        Args:
            sourced: an aggregate or an entity.
            metadata: of its events.
            command_id: the ids of its events are derived from this one, which makes saving
                idempotent; by default the store mints them. Behind a duplicate the aggregate is
                not what the store holds: load it again.

        Raises:
            ConcurrencyError: the stream has changed since; the events stay uncommitted.
            InputError: it is no aggregate and no entity, or an argument cannot be used.
        """
        try:
            definition, uncommitted = sourced.definition, sourced.uncommitted
        except AttributeError:
            raise InputError(
                f"an aggregate, or an entity, is expected, not {sourced!r:.200}"
            ) from None
        if definition.category not in self.definitions:
            self.register(definition)
        for event in uncommitted:
            if type(event) not in self._registry.classes:  # it was defined anew
                self._registry.register(type(event))
        if command_id is None:
            events = [encode(event, metadata=metadata) for event in uncommitted]
        else:
            events = _encoded(uncommitted, metadata, command_id)
        result = self._store.append(
            sourced.stream_id, events, expected_version=sourced.version - len(events)
        )
        uncommitted.clear()
        if definition.snapshot_every is not None and not result.duplicate:
            self._keep_snapshot(sourced, len(events))
        return result

    def follow(self, saved: Sourced, events: list[Event]) -> None:
        """Let what is kept in memory follow what was saved, so that it is not read again.

        It is for whoever let an aggregate handle a command and forgets it then: state that is
        kept may share with it what the events hold.

        Args:
            saved: it was saved, and was no duplicate.
            events: what it recorded.
        """
        self._cache.follow(saved, events)

    def save_all(
        self,
        parts: Sequence[Sourced | StreamAppend],
        *,
        metadata: Metadata | None = None,
        command_id: UUID | None = None,
    ) -> list[AppendResult]:
        """Save several in one append, all or nothing, together with events for other streams.

        Args:
            parts: aggregates and entities, each once, and `StreamAppend(stream_id, events)`.
            metadata: of the events; what an event says itself counts more.
            command_id: as in `save`.

        Raises:
            ConcurrencyError: one of the streams has changed since; nothing was saved.
            InputError: a part or an argument cannot be used.
        """
        appends: list[StreamAppend] = []
        saved: dict[str, tuple[Sourced, int]] = {}
        count = 0
        for part in parts:
            if isinstance(part, Sourced):
                if part.definition.category not in self.definitions:
                    self.register(part.definition)
                if part.stream_id in saved:
                    raise InputError(f"{part!r} is saved twice at once: list it once")
                saved[part.stream_id] = part, len(part.uncommitted)
                version = part.version - len(part.uncommitted)
                part = StreamAppend(part.stream_id, part.uncommitted, version)  # noqa: PLW2901
            listed = event_list(part.events)
            for event in listed:
                if isinstance(event, Event):
                    self._registry.register(type(event))
            events = _encoded(listed, metadata, command_id, first=count)
            count += len(events)
            appends.append(part._replace(events=events))
        results = self._store.append_all(appends)
        for one, _ in saved.values():
            one.uncommitted.clear()
        if not any(result.duplicate for result in results):
            for one, recorded in saved.values():
                self._keep_snapshot(one, recorded)
        return results

    def register(self, definition: Definition[Any]) -> None:
        """Make a class of aggregates, or a decider, known, and its events.

        Raises:
            InputError: it is neither.
            RegistrationError: an event's type has the name of another class's.
        """
        known = self.definitions.get(getattr(definition, "category", ""))
        if known is definition and known is not None:
            return
        if not isinstance(definition, Definition):
            raise InputError(
                f"the class of an aggregate, or a decider, is expected, not {definition!r:.200}"
            )
        for event in definition.event_classes.values():
            self._registry.register(event)
        self.definitions[definition.category] = definition

    def check_snapshots(
        self, *definitions: Definition[Any], progress: bool = True
    ) -> SnapshotReport:
        """Fold each stream that has a snapshot from its first event, and compare.

        Args:
            definitions: whose snapshots; by default of all that are known here.
            progress: draw a progress bar on stderr, if that is a terminal or a notebook.

        Raises:
            SchemaError: a state has more to it than a snapshot holds.
        """
        for one in definitions:
            self.register(one)
        among = definitions or tuple(self.definitions.values())
        chosen = {one.category: one for one in among if one.snapshot_every}
        checked, outdated, wrong = 0, 0, []
        with progress_bar(total=None, description="checking snapshots", progress=progress) as bar:
            for key, snapshot in self._store.snapshots:
                definition = chosen.get(category_of(key.stream_id))
                if definition is None:
                    continue
                schema = definition.state_schema()
                if schema.key != key.schema:
                    outdated += 1
                    continue
                checked += 1
                folded = definition(key.stream_id.removeprefix(f"{definition.category}-"))
                for batch in self._store.read_stream_batches(
                    key.stream_id, to_version=snapshot.version
                ):
                    folded.rebuild(self._registry.decode_batch(batch))
                    bar.update(len(batch))
                whole = folded.version == snapshot.version
                if not whole or schema.dump(folded.kept_state()) != snapshot.state:
                    wrong.append(f"{key.stream_id} v{snapshot.version}")
        return SnapshotReport(checked, outdated, tuple(wrong))

    def _rebuilt(self, definition: Definition[T], found: T, *, until: int | None = None) -> T:
        """Apply what a new or a kept one lacks, up to a version."""
        if found.version == 0 and definition.snapshot_every is not None:
            self._restore(definition, found, until=until)
        for batch in self._store.read_stream_batches(
            found.stream_id, from_version=found.version + 1, to_version=until
        ):
            found.rebuild(self._registry.decode_batch(batch))
        if until is not None and 0 < found.version < until:
            raise InputError(f"{found.stream_id!r} has no version {until} yet: {found!r}")
        return found

    def _restore(self, definition: Definition[T], new: T, *, until: int | None = None) -> None:
        """Begin with a snapshot, if there is one."""
        schema = definition.state_schema()
        snapshot = self._store.snapshots.latest(SnapshotKey(new.stream_id, schema.key), until=until)
        if snapshot is not None:
            with suppress(ValidationError):  # somebody wrote it by hand: the events are the truth
                new.restore(schema.load(snapshot.state), snapshot.version)

    def _keep_snapshot(self, sourced: Sourced, events: int) -> None:
        """Keep a snapshot of what was saved, if these last events make it due."""
        every = sourced.definition.snapshot_every
        if every is None or sourced.version // every == (sourced.version - events) // every:
            return
        schema = sourced.definition.state_schema()
        try:
            snapshot = Snapshot(sourced.version, schema.dump(sourced.kept_state()))
        except (InputError, SchemaError) as error:  # it was saved: that is never worth an error
            warnings.warn(f"no snapshot of {sourced!r}: {error}", stacklevel=3)
        else:
            self._store.snapshots.put(SnapshotKey(sourced.stream_id, schema.key), snapshot)


@dataclass(frozen=True, slots=True)
class SnapshotReport:
    """What `Repository.check_snapshots` found.

    Attributes:
        checked: how many snapshots were compared with what their streams fold to.
        outdated: how many are of another state schema or snapshot version, and are not used.
        wrong: which of the checked ones differ, as ``stream vN``.
    """

    checked: int
    outdated: int
    wrong: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether none differs."""
        return not self.wrong

    def __repr__(self) -> str:
        found = f"{counted(self.checked, 'snapshot')} checked, {self.outdated} outdated"
        if self.ok:
            return f"<SnapshotReport: {found}, all as their streams say>"
        listed = ", ".join(self.wrong[:5]) + (", ..." if len(self.wrong) > 5 else "")
        return (
            f"<SnapshotReport: {found}, {len(self.wrong)} wrong: {listed}; raise snapshot_version "
            f"where the fold was changed>"
        )


class _Cache:
    """The last ones that were loaded, as they were then.

    Whatever is defined anew may fold the same events to another state: then the registry has
    another revision, and what is here counts no longer.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: OrderedDict[tuple[Definition[Any], str], _Held] = OrderedDict()
        self._revision = 0
        self._lock = threading.Lock()

    def get(self, definition: Definition[T], id: str, revision: int) -> T | None:
        """Return a copy of the one that is held."""
        key = definition, id
        with self._lock:
            if revision != self._revision:
                return None
            held = self._held.get(key)
            if held is None:
                return None
            self._held.move_to_end(key)
            if held.saved is not None:
                held.sourced.rebuild(held.saved)
                held.saved = None
            return held.sourced.copy()  # type: ignore[return-value]  # as the definition says

    def put(self, sourced: Sourced, revision: int) -> None:
        """Hold a copy, unless a later version is held."""
        if not self._size:
            return
        key = sourced.definition, sourced.id
        kept = _Held(sourced.copy())
        with self._lock:
            if revision != self._revision:
                self._held.clear()
                self._revision = revision
            held = self._held.get(key)
            if held is not None and held.version > kept.version:
                return
            self._held[key] = kept
            self._held.move_to_end(key)
            if len(self._held) > self._size:
                self._held.popitem(last=False)

    def follow(self, saved: Sourced, events: list[Event]) -> None:
        """Let the one that is held, if it is as it was before, have what was saved.

        It is applied when somebody asks for it, which may be never.
        """
        with self._lock:
            held = self._held.get((saved.definition, saved.id))
            if held is not None and held.version == saved.version - len(events):
                held.saved = events if held.saved is None else held.saved + events
                held.version = saved.version


class _Held:
    """One that is held in memory, and the events that were saved since it was.

    Attributes:
        version: with these events.
    """

    __slots__ = ("saved", "sourced", "version")

    def __init__(self, sourced: Sourced) -> None:
        self.sourced = sourced
        self.saved: list[Event] | None = None
        self.version = sourced.version


def _encoded(
    events: Iterable[AnyEvent], metadata: Metadata | None, command_id: UUID | None, first: int = 0
) -> list[EncodedEvent]:
    """Return the events of a command, from its n-th one on."""
    if command_id is None:
        return [_with(event, None, metadata) for event in events]
    return [
        _with(event, derived_id(command_id, index), metadata)
        for index, event in enumerate(events, start=first)
    ]


def _with(event: AnyEvent, event_id: UUID | None, metadata: Metadata | None) -> EncodedEvent:
    if isinstance(event, Event):
        return encode(event, event_id=event_id, metadata=metadata)
    given = encoded(event)
    if event_id is not None:
        if given.event_id is not None:
            raise InputError(
                f"{given.type} has an event id of its own ({given.event_id}), and those of a "
                f"command that has an id are derived from that: leave it out"
            )
        given = given._replace(event_id=event_id)
    if metadata is not None:  # what it says itself counts more
        merged = Metadata.from_dict({**metadata.to_dict(), **parse_json(given.metadata)})
        given = given._replace(metadata=metadata_text(merged, given.type))
    return given
