"""What is checked of a log by SQL."""

from __future__ import annotations

from typing import Final

import duckdb

from eslab.store.verification import Check
from eslab.words import counted

__all__ = ["check_log"]

# Each says what is wrong, or nothing.
_CHECKS: Final = {
    "positions without gaps": """
        select format('position {} stands where {} should', position, place) from (
            select position, row_number() over (order by position) as place
            from eslab.event_log) where position <> place order by place limit 1""",
    "versions without gaps in each stream": """
        select format('position {} is version {} of its stream, and should be {}',
                      position, version, place) from (
            select position, version,
                   row_number() over (partition by stream_id order by position) as place
            from eslab.event_log) where version <> place order by position limit 1""",
    "event ids unique": """
        select format('{} is the id of {} events', event_id, count(*))
        from eslab.event_log group by event_id having count(*) > 1 order by all limit 1""",
    "recorded_at never decreases": """
        select format('position {} was recorded before the one before it', position) from (
            select position, recorded_at, lag(recorded_at) over (order by position) as before
            from eslab.event_log) where recorded_at < before order by position limit 1""",
    "streams numbered as created, and named once": """
        select format('stream {} ({}) stands where {} should', stream_id, name, place) from (
            select stream_id, name, row_number() over (order by stream_id) as place,
                   count(*) over (partition by name) as times from eslab.streams)
        where stream_id <> place or times > 1 order by place limit 1""",
    "every event has its stream": """
        select format('position {} has a stream without a name', position)
        from eslab.event_log anti join eslab.streams using (stream_id)
        order by position limit 1""",
}


def check_log(cursor: duckdb.DuckDBPyConnection) -> list[Check]:
    """Check a log: its numbers, ids and times, and its streams."""
    checks = []
    ((events, streams),) = cursor.execute(
        "select (select count(*) from eslab.event_log), count(*) from eslab.streams"
    ).fetchall()
    for name, query in _CHECKS.items():
        wrong = cursor.execute(query).fetchall()
        right = counted(streams, "stream") if "stream" in name else counted(events, "event")
        checks.append(Check(name, not wrong, wrong[0][0] if wrong else right))
    return checks
