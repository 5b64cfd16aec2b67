"""Whether all that is stored can be read: each event through the upcasters, to its class."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from eslab.errors import EslabError
from eslab.events import EventBatch
from eslab.garbage import garbage_kept
from eslab.schema.batches import decode_batch
from eslab.schema.registry import EventRegistry
from eslab.words import counted

__all__ = ["Unreadable", "UpcastingReport", "check_upcasting"]

LISTED: Final = 100
_LEFT: Final = "style='text-align:left'"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An event that cannot be read.

    Attributes:
        position: of the event.
        stream_id: its stream.
        type: the name of its type.
        schema_version: with which it was stored.
        reason: why.
    """

    position: int
    stream_id: str
    type: str
    schema_version: int
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class UpcastingReport:
    """What `check_upcasting` found.

    Attributes:
        read: how many events can be read, by type and schema version.
        unread: how many cannot.
        unreadable: the first 100 of these.
        unknown: how many are of types that are not registered, by type.
    """

    read: Mapping[tuple[str, int], int]
    unread: int
    unreadable: tuple[Unreadable, ...]
    unknown: Mapping[str, int]

    @property
    def ok(self) -> bool:
        """Whether all events of registered types can be read."""
        return not self.unread

    def _lines(self) -> list[tuple[str, str, str, str]]:
        return [
            *((type, f"{v}", f"{count:,}", "read") for (type, v), count in self.read.items()),
            *((type, "", f"{count:,}", "not registered") for type, count in self.unknown.items()),
            *(
                (one.type, f"{one.schema_version}", f"@{one.position}", one.reason)
                for one in self.unreadable
            ),
        ]

    def _summary(self) -> str:
        read, unknown = sum(self.read.values()), sum(self.unknown.values())
        listed = f", of which the first {LISTED} are listed" if self.unread > LISTED else ""
        return (
            f"{counted(read, 'event')} can be read, {self.unread:,} cannot{listed}; "
            f"{unknown:,} of types that are not registered"
        )

    def __repr__(self) -> str:
        return "\n".join([self._summary(), *map("  ".join, self._lines())])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr>{''.join(f'<td {_LEFT}>{html.escape(cell)}</td>' for cell in line)}</tr>"
            for line in self._lines()
        )
        return (
            f"<p>{self._summary()}</p><table><tr><th {_LEFT}>type</th>"
            f"<th {_LEFT}>schema version</th><th {_LEFT}>events</th><th></th></tr>{rows}</table>"
        )


def check_upcasting(
    batches: Iterable[EventBatch],
    registry: EventRegistry,
    *,
    report: Callable[[int], Any] = lambda _: None,
) -> UpcastingReport:
    """Decode all events of batches, and say which cannot be.

    Args:
        batches: the stored events.
        registry: which class stands for which type.
        report: is told how many events were looked at, time and again.
    """
    read: Counter[tuple[str, int]] = Counter()
    unknown: Counter[str] = Counter()
    unreadable: list[Unreadable] = []
    unread = 0
    for batch in batches:
        for part in _known(batch, registry, unknown):
            kinds = list(zip(part.types, part.schema_versions, strict=True))
            try:
                with garbage_kept():
                    decode_batch(part, registry.__getitem__)
            except EslabError:
                for place, kind in enumerate(kinds):
                    reason = _unreadable(part, place, registry)
                    if reason is None:
                        read[kind] += 1
                        continue
                    unread += 1
                    if len(unreadable) < LISTED:
                        position, stream_id = part.positions[place], part.stream_ids[place]
                        unreadable.append(Unreadable(position, stream_id, *kind, reason))
            else:
                read.update(kinds)
        report(len(batch))
    return UpcastingReport(dict(sorted(read.items())), unread, tuple(unreadable), dict(unknown))


def _known(
    batch: EventBatch, registry: EventRegistry, unknown: Counter[str]
) -> Iterable[EventBatch]:
    """Return the events of registered types, and count the others."""
    strange = {type: batch.types.count(type) for type in set(batch.types) if type not in registry}
    if not strange:
        return [batch]
    unknown.update(strange)
    places = [place for place, type in enumerate(batch.types) if type not in strange]
    return [batch.take(places)] if places else []


def _unreadable(batch: EventBatch, place: int, registry: EventRegistry) -> str | None:
    try:
        decode_batch(batch.take([place]), registry.__getitem__)
    except EslabError as error:
        return str(error)
    return None
