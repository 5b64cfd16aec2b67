"""A conversation: messages in causal order, whatever the clocks say, and who caused whom."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import Final

from eslab.events import RecordedEvent
from eslab.replay.drafts import Drafts
from eslab.replay.messages import Message, Target
from eslab.replay.saga_messages import SagaReader, is_of_saga

__all__ = ["Conversation", "conversation_of"]

_MICROSECOND: Final = timedelta(microseconds=1)


class Conversation:
    """Messages, each behind its cause; those that do not depend on each other by their positions.

    Args:
        messages: in any order. Where causes form a cycle, that of the message which was recorded
            first is passed over. A cause that is not among them counts as none.

    Example:
        >>> effect = Message("b", "event", "Paid", cause="a")
        >>> [message.id for message in Conversation([effect, Message("a", "event", "Placed")])]
        ['a', 'b']
    """

    def __init__(self, messages: Iterable[Message]) -> None:
        found = {message.id: message for message in messages}
        causes = {message.id: message.cause for message in found.values() if message.cause in found}
        cycles = _cut(causes, {id: _place(message) for id, message in found.items()})
        self.messages: tuple[Message, ...] = tuple(_told(found, causes, cycles))
        self._index = {message.id: place for place, message in enumerate(self.messages)}

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __getitem__(self, id: str) -> Message:
        return self.messages[self._index[id]]

    def __contains__(self, id: object) -> bool:
        return id in self._index

    def place(self, id: str) -> int:
        """Return the place of a message in the causal order, from 0."""
        return self._index[id]

    @cached_property
    def effects(self) -> Mapping[str | None, list[Message]]:
        """The messages that each one caused, by its id; those that none did, by None."""
        effects: dict[str | None, list[Message]] = {}
        for message in self.messages:
            effects.setdefault(message.cause, []).append(message)
        return effects

    @property
    def depth(self) -> int:
        """How many messages the longest chain of causes has."""
        return max((message.depth + 1 for message in self.messages), default=0)

    def of_event(self, position: int) -> Message | None:
        """Return the message that an event of the log is, or tells of."""
        return next((one for one in self.messages if one.position == position), None)

    def causes_of(self, id: str) -> list[Message]:
        """Return what led to a message, the first cause first."""
        found, cause = [], self[id].cause
        while cause is not None:
            found.append(self[cause])
            cause = found[-1].cause
        return found[::-1]

    def effects_of(self, id: str) -> list[Message]:
        """Return all that followed from a message, in causal order."""
        among = {id}
        # An effect stands behind its cause.
        for message in self.messages[self._index[id] + 1 :]:
            if message.cause in among:
                among.add(message.id)
        return [message for message in self.messages if message.id in among and message.id != id]

    def without_notes(self, *, but: str | None = None) -> Conversation:
        """Leave out what sagas only note; what a note caused has the cause of the note.

        Args:
            but: the id of one that is kept.
        """
        kept = {one.id for one in self.messages if one.kind != "note" or one.id == but}
        if len(kept) == len(self.messages):
            return self
        causes: dict[str, str | None] = {}
        for message in self.messages:
            cause = message.cause
            causes[message.id] = causes[cause] if cause is not None and cause not in kept else cause
        return Conversation(
            replace(one, cause=causes[one.id]) for one in self.messages if one.id in kept
        )


def conversation_of(
    events: Iterable[RecordedEvent], *, target: Target | None = None
) -> Conversation:
    """Return the messages that events tell of.

    Args:
        events: in the order of position.
        target: says for which stream a command is that recorded nothing.
    """
    drafts, sagas = Drafts(), dict[str, SagaReader]()
    for event in events:
        if is_of_saga(event):
            if event.stream_id not in sagas:
                sagas[event.stream_id] = SagaReader(event.stream_id, drafts)
            sagas[event.stream_id].read(event)
        else:
            drafts.event(event)
    return Conversation(drafts.messages(target))


def _place(message: Message) -> float:
    return float("inf") if message.position is None else message.position


def _cut(causes: dict[str, str], places: Mapping[str, float]) -> set[str]:
    """Take the cause from one message of each cycle, the first one; return which these are."""
    done: set[str] = set()
    cut: set[str] = set()
    for start in list(causes):
        path: dict[str, None] = {}  # a set that keeps its order
        id: str | None = start
        while id is not None and id not in done and id not in path:
            path[id] = None
            id = causes.get(id)
        if id is not None and id in path:
            walked = list(path)
            first = min(walked[walked.index(id) :], key=lambda one: (places[one], one))
            cut.add(first)
            del causes[first]
        done.update(path)
    return cut


def _told(
    found: Mapping[str, Message], causes: Mapping[str, str], cycles: set[str]
) -> Iterator[Message]:
    """Yield the messages in causal order, with their depth and skew."""
    effects: dict[str, list[str]] = {}
    for effect, because in causes.items():
        effects.setdefault(because, []).append(effect)
    places = _places(found, effects)
    ready = [(places[id], id) for id in found if causes.get(id) is None]
    heapq.heapify(ready)
    depths: dict[str, int] = {}
    times: dict[str, Message | None] = {}  # the last one up the chain of which a time is known
    while ready:
        _, id = heapq.heappop(ready)
        message, cause = found[id], causes.get(id)
        depths[id] = 0 if cause is None else depths[cause] + 1
        before = None if cause is None else times[cause]
        times[id] = before if message.occurred_at is None else message
        for effect in effects.get(id, ()):
            heapq.heappush(ready, (places[effect], effect))
        yield replace(
            message,
            cause=cause,
            depth=depths[id],
            skew=_skew(message, before),
            cycle=message.cycle or id in cycles,
        )


def _skew(message: Message, before: Message | None) -> int:
    if before is None or message.occurred_at is None or before.occurred_at is None:
        return 0
    return max(0, (before.occurred_at - message.occurred_at) // _MICROSECOND)


def _places(
    found: Mapping[str, Message], effects: Mapping[str, list[str]]
) -> dict[str, tuple[float, int]]:
    """Return where each would stand by itself; what has no position, just before its effects."""
    places = {}
    for id, message in found.items():
        if message.position is not None:
            places[id] = (float(message.position), 1)
        else:
            caused = [_place(found[effect]) for effect in effects.get(id, ())]
            places[id] = (min(caused, default=float("inf")), 0)
    return places
