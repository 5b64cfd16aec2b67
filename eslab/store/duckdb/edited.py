"""Edited history: a base's events behind a position, some in another place, as rows of a branch.

What stands as it did is copied in DuckDB, and never read by Python: only its numbers change.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Final, NamedTuple, Protocol
from uuid import UUID

import duckdb
import pyarrow as pa

from eslab.errors import InputError
from eslab.schema import AnyEvent, EncodedEvent, encoded
from eslab.schema.naming import literal
from eslab.store.duckdb.cursors import lent

__all__ = ["History", "Placed", "write_history"]


class Placed(Protocol):
    """An event of a branch that its base does not have, or has elsewhere."""

    @property
    def stream_id(self) -> str:
        """Its stream."""
        ...

    @property
    def event(self) -> AnyEvent:
        """What it says; without an id it is given one."""
        ...

    @property
    def recorded_at(self) -> datetime | None:
        """When it is taken to be recorded; None: now."""
        ...

    @property
    def base_position(self) -> int | None:
        """Where it is in the base, or what it was made of; None if there is no such thing."""
        ...


@dataclass(frozen=True, slots=True)
class History:
    """What is otherwise in a branch, up to the position where it begins.

    Attributes:
        start: the last position that is the same as in the base.
        at: the last position of the base that there is something of.
        removed: the positions between whose events do not stand there any more.
        placed: the events that stand behind the place of a position instead, in their order.

    Raises:
        InputError: the two are not in this order, or a position is not between them.
    """

    start: int
    at: int
    removed: Collection[int]
    placed: Mapping[int, Sequence[Placed]]

    def __post_init__(self) -> None:
        if type(self.start) is not int or not 0 <= self.start <= self.at:
            raise InputError(
                f"history is edited behind a position from 0 to {self.at:,}, not {self.start!r}"
            )
        wrong = [place for place in self.removed if not self.start < place <= self.at]
        wrong += [place for place in self.placed if not self.start <= place <= self.at]
        if wrong:
            raise InputError(
                f"history is edited between the positions {self.start:,} and {self.at:,}, not at "
                f"{wrong[0]!r}"
            )

    @property
    def edited(self) -> bool:
        """Whether anything is otherwise."""
        return self.start < self.at or bool(self.placed)

    @property
    def end(self) -> int:
        """The last position of the branch, when it is made."""
        return self.at - len(self.removed) + sum(map(len, self.placed.values()))


class _Place(NamedTuple):
    """A row of the table of what is placed: its place, its stream, and what it says."""

    after: int
    place: int
    stream: int
    name: str
    before: int
    type: str
    schema_version: int
    event_id: bytes
    tags: list[str]
    data: str
    metadata: str
    occurred_at: datetime
    recorded_at: datetime
    base_position: int | None


_PLACES: Final = pa.schema(
    {
        "after": pa.int64(),
        "place": pa.int64(),
        "stream": pa.int32(),
        "name": pa.string(),
        "before": pa.int32(),
        "type": pa.string(),
        "schema_version": pa.int32(),
        "event_id": pa.binary(16),
        "tags": pa.list_(pa.string()),
        "data": pa.string(),
        "metadata": pa.string(),
        "occurred_at": pa.timestamp("us", "UTC"),
        "recorded_at": pa.timestamp("us", "UTC"),
        "base_position": pa.int64(),
    }
)

# Narrow: the wide columns are fetched by position when all numbers are known.
_NUMBERED: Final = """
create or replace temp table numbered as
with kept as (
    select position as after, 0 as place, stream_id as stream,
           min(version) over (partition by stream_id) - 1 as before, recorded_at,
           position as base_position
    from {base}.event_log where position > {start} and position <= {at}
), every as (
    from kept anti join removed_places on kept.after = removed_places.position
    union all
    select after, place, stream, before, recorded_at, base_position from placed_events
)
select {start} + row_number() over (order by after, place) as position, after, place, stream,
       before + row_number() over (partition by stream order by after, place) as version,
       greatest(max(recorded_at) over (order by after, place), {since}) as recorded_at,
       base_position
from every;
create or replace temp table begun as
    select stream, {streams} + row_number() over (order by min(position)) as number
    from numbered where stream > {streams} or stream < 0 group by stream;
"""

_WRITTEN: Final = """
insert into eslab.branch_streams
    select number, coalesce(placed, name) as name, split_part(coalesce(placed, name), '-', 1)
    from begun left join {base}.streams on stream_id = stream
    left join (select distinct stream, name as placed from placed_events) using (stream)
    order by number;
insert into eslab.branch_log
    select n.position, coalesce(b.number, n.stream), n.version, l.type, l.schema_version,
           l.event_id, l.tags, l.data, l.metadata, l.occurred_at, n.recorded_at
    from {base}.event_log l join numbered n on l.position = n.after left join begun b using (stream)
    where n.place = 0 and l.position > {start} and l.position <= {at}
    union all
    select n.position, coalesce(b.number, n.stream), n.version, p.type, p.schema_version,
           p.event_id::uuid, p.tags, p.data, p.metadata, p.occurred_at, n.recorded_at
    from numbered n join placed_events p on n.after = p.after and n.place = p.place
    left join begun b on b.stream = n.stream
    order by n.position;
insert into eslab.branch_origins
    select position, base_position from numbered where base_position is not null order by position;
drop table numbered;
drop table begun;
"""


def write_history(
    cursor: duckdb.DuckDBPyConnection,
    history: History,
    *,
    base: str,
    streams: int,
    since: datetime | None,
    now: datetime,
    head: Callable[[str], tuple[int, int]],
    mint: Callable[[int], UUID],
) -> None:
    """Write what a branch has behind the position up to which it is as its base.

    Args:
        cursor: has a transaction open in the tables of the branch.
        history: what is otherwise.
        base: where the tables of the base are, as SQL has it.
        streams: how many there were at the beginning.
        since: when the last event up to there was recorded.
        now: when what does not say it is recorded.
        head: gives of a stream its number in the base, or 0, and its version at the beginning.
        mint: gives the id of a position.
    """
    places = pa.Table.from_pylist(
        [place._asdict() for place in _places(history, now, head, mint)], schema=_PLACES
    )
    removed = pa.table({"position": pa.array(sorted(history.removed), pa.int64())})
    facts = {
        "base": base,
        "start": history.start,
        "at": history.at,
        "streams": streams,
        "since": "null" if since is None else f"{literal(since.isoformat())}::timestamptz",
    }
    with lent(cursor, "placed_events", places), lent(cursor, "removed_places", removed):
        cursor.execute((_NUMBERED + _WRITTEN).format_map(facts))


def _places(
    history: History,
    now: datetime,
    head: Callable[[str], tuple[int, int]],
    mint: Callable[[int], UUID],
) -> list[_Place]:
    """Return the rows of what is placed, in order; streams that the base lacks have numbers < 0."""
    removed, unknown = sorted(history.removed), count(-1, -1)
    numbers: dict[str, tuple[int, int]] = {}
    places: list[_Place] = []
    for after, events in sorted(history.placed.items()):
        stays = after - bisect_right(removed, after)
        for place, one in enumerate(events, start=1):
            event = encoded(one.event)
            if one.stream_id not in numbers:
                number, before = head(one.stream_id)
                numbers[one.stream_id] = number or next(unknown), before
            recorded_at = one.recorded_at or now
            places.append(
                _Place(
                    after,
                    place,
                    numbers[one.stream_id][0],
                    one.stream_id,
                    numbers[one.stream_id][1],
                    event.type,
                    event.schema_version,
                    _id_bytes(event, stays + len(places) + 1, mint),
                    list(event.tags),
                    event.data,
                    event.metadata,
                    event.occurred_at or recorded_at,
                    recorded_at,
                    one.base_position,
                )
            )
    return places


def _id_bytes(event: EncodedEvent, position: int, mint: Callable[[int], UUID]) -> bytes:
    return (event.event_id or mint(position)).bytes
