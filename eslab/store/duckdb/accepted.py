"""The log as appends see it: what is committed, and what their group accepted so far."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from eslab.clock import IdSource, minted_position
from eslab.events import Query
from eslab.store.columns import LogColumns
from eslab.store.duckdb.database import Database
from eslab.store.duckdb.hot import GivenIds, Heads, Hot
from eslab.store.requests import AppendRequest
from eslab.store.rows import LogRow, Selection

__all__ = ["Accepted", "Committed", "Flushed"]


class Flushed:
    """The part of the log that is in the database, and the ids that were given to events there."""

    def __init__(self, database: Database, given: GivenIds) -> None:
        self._database = database
        self._given = given

    def add(self, rows: LogColumns) -> None:
        """Take note of rows that are in the database now."""
        self._given.add(rows)

    def maybe(self, ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
        """Return those of some ids that an event there may have been given."""
        return self._given.maybe(ids)

    def look_up(self, request: AppendRequest, until: int) -> None:
        """Look up what a decision will ask, before others have to wait for it."""
        request.checked = until
        if request.given:
            request.found = self.find(list(request.given), until)
        condition = request.condition
        if condition is not None and condition.after < until:
            request.match = self.first_match(condition.query, condition.after, until)

    def find(self, ids: Sequence[uuid.UUID], until: int) -> Mapping[uuid.UUID, LogRow]:
        """Return the rows of those ids that have a position up to `until`."""
        # The column of ids alone is quick to look through; the rows are wanted rarely.
        maybe = self._given.maybe(ids)
        positions = self._database.find(maybe, until) if maybe else []
        positions += [at for id in ids if (at := minted_position(id)) and at <= until]
        if not positions:
            return {}
        wanted = frozenset(ids)
        rows = self._database.rows_at(positions)
        return {row.event_id: row for row in rows if row.event_id in wanted}

    def first_match(self, query: Query, after: int, until: int) -> int | None:
        """Return the position of the first event between the two that matches."""
        rows = self._database.rows(Selection(after, until, query, limit=1))
        return next((row.position for row in rows), None)


class Committed:
    """A `LogView` of what is committed.

    Attributes:
        hot: what the store published last; nobody else commits while an append is decided.
        ids: where the ids of events come from that were given none, in this epoch.

    Args:
        heads: of the streams.
        flushed: the part of the log that is in the database.
    """

    def __init__(self, heads: Heads, flushed: Flushed, hot: Hot, ids: IdSource) -> None:
        self.hot = hot
        self.ids = ids
        self.stream_head = heads.get
        self._flushed = flushed

    def last(self) -> tuple[int, datetime | None]:
        """Return the last position, and when it was recorded; 0 and None when there is none."""
        return self.hot.head, self.hot.recorded_at

    def taken(self, request: AppendRequest) -> Mapping[uuid.UUID, LogRow]:
        """Return the rows that are in the log already of the ids that the request gives."""
        hot = self.hot
        found = dict(request.found)
        missing = [id for id in request.given if id not in found]
        if hot.flushed > request.checked:  # some were flushed since they were looked up
            found |= self._flushed.find(missing, hot.flushed)
        if hot.head > hot.flushed:
            for id in missing:
                if (row := hot.tail.find(id, hot.head)) is not None:
                    found[id] = row
        return found

    def first_match(self, request: AppendRequest) -> int | None:
        """Return the position of the first event that fails its condition, if there is one."""
        if request.match is not None:
            return request.match
        condition, hot = request.condition, self.hot
        assert condition is not None
        after = max(condition.after, request.checked)
        if after < hot.flushed:  # some were flushed since they were looked up
            position = self._flushed.first_match(condition.query, after, hot.flushed)
            if position is not None:
                return position
        after = max(after, hot.flushed)
        return _first_match(hot.tail.between(after, hot.head), condition.query, after)


class Accepted:
    """A `LogView` that grows with each decision of a group.

    Args:
        committed: the log without them.
        rows: those that were accepted so far; whoever decides adds to them.
    """

    _noted = 0

    def __init__(self, committed: Committed, rows: Sequence[LogRow]) -> None:
        self.rows = rows
        self.ids = committed.ids
        self._committed = committed
        self._versions: dict[str, tuple[int, int]] = {}

    def last(self) -> tuple[int, datetime | None]:
        """Return the last position, and when it was recorded; 0 and None when there is none."""
        if not self.rows:
            return self._committed.last()
        last = self.rows[-1]
        return last.position, last.recorded_at

    def stream_head(self, stream_id: str) -> tuple[int, int]:
        """Return a stream's version and the position of its last event, or zeros."""
        for row in self.rows[self._noted :]:
            self._versions[row.stream_id] = row.version, row.position
        self._noted = len(self.rows)
        return self._versions.get(stream_id) or self._committed.stream_head(stream_id)

    def taken(self, request: AppendRequest) -> Mapping[uuid.UUID, LogRow]:
        """Return the rows that are in the log already of the ids that the request gives."""
        here = {row.event_id: row for row in self.rows if row.event_id in request.given}
        return {**here, **self._committed.taken(request)}

    def first_match(self, request: AppendRequest) -> int | None:
        """Return the position of the first event that fails its condition, if there is one."""
        position = self._committed.first_match(request)
        if position is not None or request.condition is None:
            return position
        return _first_match(self.rows, request.condition.query, request.condition.after)


def _first_match(rows: Iterable[LogRow], query: Query, after: int) -> int | None:
    for row in rows:
        if row.position > after and query.matches(row.type, row.tags):
            return row.position
    return None
