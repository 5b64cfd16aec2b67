"""What the stream of a saga or of a process manager says, as events and as a row an attempt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from eslab.errors import StreamNotFoundError
from eslab.events import Event
from eslab.sagas import SAGA_EVENTS
from eslab.sagas.state import NO_ANSWER
from eslab.store.port import EventStore, ReadModels

__all__ = ["ATTEMPTS_SQL", "COMMANDS_SQL", "Logged", "SagaStore", "read_log"]

_EVENTS_SQL: Final = """
select version, type, data::varchar, epoch_us(recorded_at), position,
       metadata->>'$.recorded_at_clamped_from' is not null
from events where stream_id = $stream_id order by version
"""

ATTEMPTS_SQL: Final = """
with log as (
    select version, recorded_at, data->>'$.error' as error, data->>'$.step' as step,
           (data->>'$.attempt')::integer as attempt,
           case when type like 'Compensation%' then 'compensate' else 'execute' end as kind,
           regexp_extract(type, '(Started|Completed|Failed|TimedOut)$') as what
    from events
    where stream_id = $stream_id and version <= $version
      and regexp_matches(type, '^(Step|Compensation)(Started|Completed|Failed|TimedOut)$')),
ends as (
    -- An attempt that timed out may be answered later: that is what became of it.
    from log where what <> 'Started'
    qualify row_number() over (partition by step, kind, attempt order by version desc) = 1),
done as (
    select step, kind, min(recorded_at) as done_at, min(version) as done
    from log where what = 'Completed' group by all),
attempts as (
    select step, kind, attempt, coalesce(s.recorded_at, e.recorded_at) as started_at,
           coalesce(e.recorded_at, done_at) as ended_at,
           coalesce(e.version, done) as ended_version,
           case when e.what = 'TimedOut' then 'timed out' when e.what is not null then lower(e.what)
                when done_at is not null then 'superseded' else 'running' end as outcome,
           e.error, coalesce(s.version, e.version) as version
    from (from log where what = 'Started') s
    full join ends e using (step, kind, attempt)
    left join done using (step, kind))
select step, kind, attempt, started_at, ended_at, outcome,
       dense_rank() over (order by first) as "order", error, version, ended_version
from (select *, min(version) over (partition by step, kind) as first from attempts)
order by version
"""
"""A row an attempt of a saga's step, from the events of its stream up to a version."""

COMMANDS_SQL: Final = f"""
with log as (
    select version, type, recorded_at, data, data->>'$.command_id' as id
    from events where stream_id = $stream_id and version <= $version),
named as (
    select id, (data->>'$.number')::integer as number, version as sent,
           regexp_extract(data->>'$.command.type', '[^.]*$') as step
    from log where type = 'CommandSent'),
answers as (
    select id, version as answer, lower(replace(type, 'Command', '')) as answered,
           data->>'$.reason' as reason
    from log where type in ('CommandDelivered', 'CommandRefused')),
sent as (
    -- One command goes after the other: it is on its way when the one before it is answered.
    select *, lag(answer, 1, 0) over (order by number) as before
    from named left join answers using (id)),
failed as (
    select id, version as failed, (data->>'$.attempt')::integer as attempt,
           data->>'$.error' as error, (data->>'$.final')::boolean as final
    from log where type = 'CommandFailed'),
timers as (
    select data->>'$.timer' as timer, (data->>'$.attempt')::integer as attempt
    from log where type = 'TimerSet'),
fired as (select data->>'$.timer' as timer, version from log where type = 'TimerFired'),
resumed as (
    select version from log where type = 'SagaResumed' and not (data->>'$.resolved')::boolean),
again as (
    -- It is tried again when a person says so, when the timer of that fires, or at once.
    select failed.id, failed.attempt + 1 as attempt,
           case when final then min(resumed.version) when any_value(timers.timer) is null
                then failed else min(fired.version) end as began
    from failed
    left join timers on timers.timer = 'retry of ' || id and timers.attempt = failed.attempt + 1
    left join fired on fired.timer = timers.timer and fired.version > failed
    left join resumed on resumed.version > failed
    group by failed.id, failed.attempt, final, failed),
attempts as (
    select number, step, 1 as attempt, greatest(sent, coalesce(before, 0)) as began,
           before is not null as begun, id, answer, answered, reason
    from sent
    union all
    select number, step, attempt, began, true, id, answer, answered, reason
    from again join sent using (id)
    where began < coalesce(answer, began + 1))
select step, 'command' as kind, attempt, b.recorded_at as started_at,
       e.recorded_at as ended_at,
       case when error = '{NO_ANSWER}' then 'timed out' when failed is not null then 'failed'
            when answer is not null then answered when begun then 'running'
            else 'waiting' end as outcome,
       number as "order",
       case when error = '{NO_ANSWER}' then null when failed is not null then error
            when answered = 'refused' then reason end as error,
       began as version, e.version as ended_version
from attempts
left join failed using (id, attempt)
join log b on b.version = began
left join log e on e.version = coalesce(failed, answer)
order by number, attempt
"""
"""A row an attempt of a process manager's command, likewise."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CLASSES: Final = {cls.event_type: cls for cls in SAGA_EVENTS}


class SagaStore(EventStore, ReadModels, Protocol):
    """A log, with SQL over it."""


@dataclass(frozen=True, slots=True)
class Logged:
    """An event of the stream, and when it was recorded.

    Attributes:
        version: in the stream.
        at: when it was recorded.
        event: as an instance of its class.
        position: in the log.
        clock_back: the clock had gone back when it was recorded, before the event before it.
    """

    version: int
    at: datetime
    event: Event
    position: int = 0
    clock_back: bool = False


def read_log(store: SagaStore, stream_id: str) -> tuple[Sequence[Logged], int]:
    """Return the events of sagas in a stream, and the version of its last event.

    Raises:
        StreamNotFoundError: there is no such stream.
    """
    rows = store.sql(_EVENTS_SQL, {"stream_id": stream_id}).fetchall()
    if not rows:
        raise StreamNotFoundError(stream_id)
    log = [
        Logged(
            version,
            _EPOCH + timedelta(microseconds=at),
            _CLASSES[type].model_validate(json.loads(data)),
            position,
            clock_back,
        )
        for version, type, data, at, position, clock_back in rows
        if type in _CLASSES
    ]
    return log, rows[-1][0]
