"""How a conversation is laid out: who takes part in it, and each message between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from eslab.events import category_of
from eslab.replay.conversation import Conversation
from eslab.replay.messages import Message
from eslab.sagas.instances import CATEGORY, saga_name
from eslab.views.scales import duration_text
from eslab.words import counted

__all__ = ["Lane", "LaneKind", "Lanes", "lanes_of", "times_of"]

MOST_STREAMS: Final = 12
"""If more streams take part, those of a category, and the sagas of a name, share a lane."""

LaneKind = Literal["sender", "stream", "category", "saga", "sagas", "unknown"]


@dataclass(frozen=True, slots=True)
class Lane:
    """Somebody, or some, that take part.

    Attributes:
        kind: who that is.
        name: the first line of its title.
        more: the second one.
    """

    kind: LaneKind
    name: str
    more: str

    @property
    def title(self) -> str:
        """Both in one line."""
        return f"{self.name} {self.more}".strip()


class Lanes:
    """Who takes part, in the order in which they are heard of.

    Attributes:
        lanes: each of them.
        grouped: whether several streams share a lane.
    """

    def __init__(self, messages: Iterable[Message]) -> None:
        found = list(messages)
        streams = dict.fromkeys(stream for one in found for stream in _streams(one))
        self.grouped = len(streams) > MOST_STREAMS
        self._sizes = Counter(map(_group, streams))
        self._places: dict[Lane, int] = {}
        self._of: dict[str, int] = {}
        self.ends = {one.id: (self._source(one), self._targets(one)) for one in found}
        self.lanes = list(self._places)

    def __len__(self) -> int:
        return len(self.lanes)

    def _source(self, message: Message) -> int:
        if message.source is not None:
            return self._stream(message.source)
        match message.kind:
            case "command":
                name = message.actor or "sender"
                return self._place(Lane("sender", name, "" if message.actor else "not recorded"))
            case "unknown":
                return self._place(Lane("unknown", "elsewhere", "not in this log"))
        return self._handler()

    def _targets(self, message: Message) -> tuple[int, ...]:
        if message.targets:
            return tuple(dict.fromkeys(map(self._stream, message.targets)))
        return (self._handler(),) if message.kind == "command" else ()

    def _handler(self) -> int:
        return self._place(Lane("unknown", "handler", "not recorded"))

    def _stream(self, stream: str) -> int:
        if stream not in self._of:
            self._of[stream] = self._place(self._lane(stream))
        return self._of[stream]

    def _lane(self, stream: str) -> Lane:
        saga, group = category_of(stream) == CATEGORY, _group(stream)
        if self.grouped:
            kind: LaneKind = "sagas" if saga else "category"
            return Lane(kind, group, counted(self._sizes[group], "saga" if saga else "stream"))
        if saga:
            id = stream.removeprefix(f"{CATEGORY}-{group}-")
            return Lane("saga", group, f"{id} (saga)")
        return Lane("stream", group, stream.removeprefix(group).removeprefix("-"))

    def _place(self, lane: Lane) -> int:
        return self._places.setdefault(lane, len(self._places))


def lanes_of(conversation: Conversation) -> Lanes:
    """Return who takes part in a conversation."""
    return Lanes(conversation)


def _group(stream: str) -> str:
    category = category_of(stream)
    return saga_name(stream) if category == CATEGORY else category


def _streams(message: Message) -> Iterator[str]:
    if message.source is not None:
        yield message.source
    yield from message.targets


def times_of(conversation: Conversation) -> list[str]:
    """Return when each message happened, since the first of which that is known."""
    known = [one.occurred_at for one in conversation if one.occurred_at is not None]
    if not known:
        return [""] * len(conversation)
    first = min(known)
    return [
        ""
        if one.occurred_at is None
        else f"+{duration_text((one.occurred_at - first).total_seconds())}"
        for one in conversation
    ]
