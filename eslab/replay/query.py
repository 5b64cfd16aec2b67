"""Which events a replay shows, as a query over the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from eslab.errors import InputError
from eslab.store.port import ReadModels

__all__ = ["LIMIT", "EventQuery"]

LIMIT: Final = 100_000
"""Frames of a replay, at most, unless somebody asks for more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """Events of several streams; what is not said restricts nothing.

    Attributes:
        streams: only events of these streams.
        category: only events of streams of this category.
        types: only events of these types.
        after: only positions above this one.
        until: only positions up to this one.
        correlation_id: only events of this conversation.

    Example:
        >>> EventQuery(category="order", types=["Placed"], after=3).title
        'category order, Placed, after 3'
    """

    streams: Sequence[str] | None = None
    category: str | None = None
    types: Sequence[str] | None = None
    after: int = 0
    until: int | None = None
    correlation_id: str | None = None

    def __post_init__(self) -> None:
        for name in ("after", "until"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 0):
                raise InputError(f"{name} is a position, a whole number from 0, not {value!r:.200}")

    @property
    def title(self) -> str:
        """What is asked for, in words."""
        parts = [
            self.streams is not None and _listed(self.streams, "streams"),
            self.category is not None and f"category {self.category}",
            self.types is not None and _listed(self.types, "types"),
            self.correlation_id is not None and f"correlation {self.correlation_id}",
            self.after and f"after {self.after:,}",
            self.until is not None and f"until {self.until:,}",
        ]
        return ", ".join(part for part in parts if part) or "all events"

    def sql(self) -> tuple[str, dict[str, Any]]:
        """Return the query, and its parameters."""
        parts: list[tuple[str, str, Any]] = [
            ("streams", "stream_id in (select unnest($streams::varchar[]))", self.streams),
            ("category", "category = $category", self.category),
            ("types", "type in (select unnest($types::varchar[]))", self.types),
            ("after", "position > $after", self.after or None),
            ("until", "position <= $until", self.until),
            (
                "correlation_id",
                "metadata->>'correlation_id' = $correlation_id",
                self.correlation_id,
            ),
        ]
        said = [part for part in parts if part[2] is not None]
        where = f"where {' and '.join(condition for _, condition, _ in said)} " if said else ""
        query = (
            f"select version, position, stream_id, type, occurred_at, data from events "
            f"{where}order by position"
        )
        return query, {name: value for name, _, value in said}

    def positions(self, store: ReadModels, *, limit: int) -> tuple[list[int], list[str]]:
        """Return the positions of the events, and the ids of their streams.

        Raises:
            InputError: there are more than the limit.
        """
        query, values = self.sql()
        count = store.sql(f"select count(*) from ({query})", values).scalar()
        if count > limit:
            raise InputError(
                f"{self.title}: that is {count:,} events, and a replay keeps a frame of each, at "
                f"most {limit:,}: ask for fewer (streams=, category=, types=, after=, until=, "
                f"correlation_id=), or for more with limit="
            )
        rows = store.sql(f"select position, stream_id from ({query})", values).fetchall()
        return [position for position, _ in rows], list(dict.fromkeys(name for _, name in rows))


def _listed(names: Sequence[str], noun: str) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{len(names):,} {noun}"
