"""Given what happened, then these rows: what a projection makes of events, as examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Self

from eslab.clock import SeededIds, VirtualClock
from eslab.errors import InputError
from eslab.events import Event
from eslab.projections import Projection, Row, fold
from eslab.schema import EventRegistry
from eslab.store import MemoryStore
from eslab.testing.differences import diff, lines, table

__all__ = ["GivenRows"]


class GivenRows:
    """What a projection made of events, in memory; each ``then`` compares it with what is expected.

    Args:
        projection: whose handlers, and whose wishes: it is given the events that it wants.
        events: each with its stream, in the order in which they were recorded.

    Raises:
        EslabError: an event cannot be recorded, or a handler failed.
    """

    def __init__(self, projection: Projection, events: Sequence[tuple[str, Event]]) -> None:
        self._projection = projection
        self._events = events
        store = MemoryStore(clock=VirtualClock(), ids=SeededIds(0))
        for stream_id, event in events:
            store.append(stream_id, [event])
        found = fold(store, projection, EventRegistry(), progress=False)
        self.rows: tuple[Row, ...] = tuple(found.rows)

    def then_rows(self, *expected: Row) -> Self:
        """Expect these rows, of all tables, in any order; none of them, that there is none.

        Raises:
            AssertionError: there are others; with a diff.
        """
        __tracebackhide__ = True
        if wrong := [row for row in expected if not isinstance(row, Row)]:
            raise InputError(f"then_rows() takes rows, not {wrong[0]!r:.200}")
        if Counter(map(repr, expected)) != Counter(map(repr, self.rows)):
            places = {_key(row): place for place, row in enumerate(self.rows)}
            wanted = sorted(expected, key=lambda row: places.get(_key(row), len(places)))
            raise AssertionError(
                f"{self._told()}\nother rows were expected (-) than there are (+):\n"
                f"{diff(wanted, self.rows)}"
            )
        return self

    def _parts(self) -> list[tuple[str, list[str]]]:
        given = [f"{event!r} in {stream_id}" for stream_id, event in self._events]
        return [("Given", given), ("By", [repr(self._projection)])]

    def _told(self) -> str:
        return "\n".join(line for name, items in self._parts() for line in lines(name, items))

    def __repr__(self) -> str:
        return "\n".join([self._told(), *lines("Then", list(map(repr, self.rows)))])

    def _repr_html_(self) -> str:
        return table([*self._parts(), ("Then", list(map(repr, self.rows)))])


def _key(row: Row) -> tuple[object, ...]:
    return type(row).__name__, *(getattr(row, name) for name in row.key_fields)
