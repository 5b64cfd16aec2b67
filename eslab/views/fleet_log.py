"""Where very many sagas stand, and what became of each of their steps: one query over the log."""

from __future__ import annotations

from typing import Final

__all__ = ["FLEET_SQL"]

FLEET_SQL: Final = """
with log as (
    select stream_id, version, type, recorded_at, data,
           json_extract_string(
               data, ['$.step', '$.command_id', '$.final', '$.kind', '$.command.type',
                      '$.resolved']) as said
    from events where type in (
        'SagaStarted', 'SagaCompleted', 'SagaCompensated', 'SagaStuck', 'SagaResumed',
        'StepStarted', 'StepCompleted', 'StepFailed', 'StepTimedOut',
        'CompensationStarted', 'CompensationCompleted', 'CompensationFailed',
        'CompensationTimedOut', 'CommandSent', 'CommandDelivered', 'CommandRefused',
        'CommandFailed', 'InputFailed')),
told as (
    select *, said[1] as step, said[2] as command_id, coalesce(said[3] = 'true', true) as final
    from log),
standing as (
    select stream_id, any_value(data) filter (type = 'SagaStarted') as started,
           arg_max(type, version) filter (
               type in ('SagaStarted', 'SagaCompleted', 'SagaCompensated', 'SagaStuck',
                        'SagaResumed', 'InputFailed')
               or (final and type in ('StepFailed', 'StepTimedOut'))) as stage,
           arg_max(said[4], version) filter (type = 'SagaResumed') as resumed,
           arg_min(step, version) filter (
               final and type in ('StepFailed', 'StepTimedOut')) as failed,
           min(recorded_at) as started_at, max(recorded_at) as last_at
    from told group by stream_id having started is not null),
sagas as (
    select *,
           case when stage = 'SagaCompleted' then 'COMPLETED'
                when stage = 'SagaCompensated' then 'COMPENSATED'
                when stage in ('SagaStuck', 'InputFailed') then 'STUCK'
                when stage = 'SagaResumed' and resumed = 'compensate' then 'COMPENSATING'
                when stage in ('StepFailed', 'StepTimedOut') then 'COMPENSATING'
                else 'RUNNING' end as status
    from standing),
marks as (
    -- What came last of each step; or of each command, of a process manager.
    select stream_id, coalesce(step, command_id) as mark, min(version) as first,
           arg_max(type, version) as last, arg_max(said[4], version) as kind,
           any_value(said[5]) as command
    from told
    where regexp_matches(type, '^(Step|Compensation|Command)')
       or (type = 'SagaResumed' and said[6] = 'true')
    group by all),
cells as (
    -- While it runs, what went wrong is tried again; what a person has done is done.
    select stream_id, mark, first, command,
           case when last in ('StepCompleted', 'CommandDelivered') then 'd'
                when last = 'CompensationCompleted' then 'u'
                when last = 'SagaResumed' then if(kind = 'execute', 'd', 'u')
                when last = 'CommandRefused' then 'f'
                when last = 'CompensationStarted' then 'b'
                when last in ('CompensationFailed', 'CompensationTimedOut')
                then if(status in ('RUNNING', 'COMPENSATING'), 'b', 's')
                when status = 'RUNNING' then 'r'
                when last in ('StepFailed', 'CommandFailed') then 'f'
                when last = 'StepTimedOut' then 't' else 'r' end as cell
    from marks join sagas using (stream_id)),
steps as (
    select stream_id, unnest(names) as mark, generate_subscripts(names, 1) as place
    from (select stream_id, from_json(started->'$.steps', '["VARCHAR"]') as names from sagas)),
of_sagas as (
    select stream_id, string_agg(coalesce(cell, '.'), '' order by place) as cells
    from steps left join cells using (stream_id, mark) group by stream_id),
of_processes as (
    select stream_id, string_agg(cell, '' order by first) as cells,
           to_json(list(regexp_extract(command, '[^.]*$') order by first)) as commands,
           arg_min(regexp_extract(command, '[^.]*$'), first) filter (cell = 'f') as failed
    from cells where stream_id not in (select stream_id from steps) group by stream_id)
select started->>'$.saga' as saga, started->>'$.saga_id' as saga_id, status,
       coalesce(sagas.failed, of_processes.failed, '') as failed_step,
       coalesce(of_sagas.cells, of_processes.cells, '') as cells,
       coalesce(commands, started->'$.steps')::varchar as steps, started_at, last_at
from sagas
left join of_sagas using (stream_id)
left join of_processes using (stream_id)
order by started_at, stream_id
"""
"""A row a saga; `cells` has a letter for each of its `steps`: see `eslab.views.saga_cells`."""
