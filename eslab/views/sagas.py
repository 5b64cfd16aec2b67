"""The sagas of a lab, and the timers that they wait for: what each does, and where it stands."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go

from eslab.store.port import ReadModels
from eslab.views.base import View, html_table, plain, records
from eslab.views.scales import duration_text
from eslab.views.theme import COMPENSATION, DONE, FAILED, PENDING, RETRY, TEMPLATE, top_margin
from eslab.words import counted

__all__ = ["SagasView", "TimersView"]

SHOWN: Final = 50
"""Rows of the table that is shown; the frame has all."""

_PENDING_SQL: Final = """
select stream_id, timer, max_by(due_at, version) as due_at, max_by(purpose, version) as purpose,
       max_by(step, version) as step
from (select stream_id, version, type, data->>'$.timer' as timer,
             (data->>'$.due_at')::timestamptz as due_at, data->>'$.purpose' as purpose,
             data->>'$.step' as step
      from events where type in ('TimerSet', 'TimerFired', 'TimerCancelled'))
group by all
having max_by(type, version) = 'TimerSet'
"""

_TIMERS_SQL: Final = f"""
with pending as ({_PENDING_SQL}),
started as (
    select stream_id, data->>'$.saga' as saga, data->>'$.saga_id' as saga_id
    from events where type = 'SagaStarted')
select saga, saga_id, timer, due_at, purpose, step
from pending join started using (stream_id)
order by due_at, stream_id, timer
"""

_SAGAS_SQL: Final = f"""
with pending as ({_PENDING_SQL}),
log as (
    select stream_id, version, type, recorded_at, data, data->>'$.step' as step,
           coalesce((data->>'$.final')::boolean, true) as final
    from events
    where stream_id in (select stream_id from events where type = 'SagaStarted')),
sagas as (
    select stream_id, any_value(data) filter (type = 'SagaStarted') as started,
           max_by(type, version) filter (
               type in ('SagaStarted', 'SagaCompleted', 'SagaCompensated', 'SagaStuck',
                        'SagaResumed', 'InputFailed')
               or (final and type in ('StepFailed', 'StepTimedOut'))) as last,
           max_by(data->>'$.kind', version) filter (type = 'SagaResumed') as resumed,
           count(distinct step) filter (type = 'StepCompleted') as completed,
           count(distinct step) filter (type = 'CompensationCompleted') as compensated,
           min_by(step, version) filter (
               final and type in ('StepFailed', 'StepTimedOut')) as failed_step,
           max_by(data->>'$.error', version) filter (
               type in ('CompensationFailed', 'SagaStuck', 'InputFailed', 'CommandFailed')
           ) as stuck,
           min_by(data->>'$.error', version) filter (final and type = 'StepFailed') as failed,
           min(recorded_at) as started_at, max(recorded_at) as last_at
    from log group by stream_id),
due as (select stream_id, min(due_at) as next_timer from pending group by stream_id)
select started->>'$.saga' as saga, started->>'$.saga_id' as saga_id,
       case when last = 'SagaCompleted' then 'COMPLETED'
            when last = 'SagaCompensated' then 'COMPENSATED'
            when last in ('SagaStuck', 'InputFailed') then 'STUCK'
            when last = 'SagaResumed' and resumed = 'compensate' then 'COMPENSATING'
            when last in ('StepFailed', 'StepTimedOut') then 'COMPENSATING'
            else 'RUNNING' end as status,
       completed, len((started->'$.steps')::json[]) as steps, compensated, failed_step,
       coalesce(stuck, failed, if(failed_step is null, null, 'no answer came in time')) as error,
       started_at, last_at, next_timer
from sagas left join due using (stream_id)
order by started_at, stream_id
"""

_COLOURS: Final = {
    "RUNNING": PENDING,
    "COMPENSATING": RETRY,
    "COMPLETED": DONE,
    "COMPENSATED": COMPENSATION,
    "STUCK": FAILED,
}


class SagasView(View):
    """Where each saga stands, at the moment at which the view was made.

    The frame has a row a saga, in the order in which they were started: saga, saga_id, status,
    completed, steps and compensated (how many), failed_step, error, started_at, last_at (of its
    last event) and next_timer (when it is due).

    Args:
        store: the log.

    Example:
        >>> import eslab
        >>> def full(step):
        ...     raise eslab.DomainError("the train is full")
        >>> trip = eslab.Saga("trip", [eslab.Step("train", full)])
        >>> with eslab.Lab(seed=7) as lab:
        ...     lab.start_saga(trip, "1")
        ...     lab.run()
        ...     lab.sagas
        SagasView(1 saga: 1 COMPENSATED)
    """

    def __init__(self, store: ReadModels) -> None:
        super().__init__(store.sql(_SAGAS_SQL).df(), sql=_SAGAS_SQL)

    @property
    def counts(self) -> dict[str, int]:
        """How many sagas there are of each status, in the order of a saga's life."""
        found = Counter(self.df["status"])
        return {status: found[status] for status in _COLOURS if found[status]}

    @property
    def digest(self) -> str:
        """How many sagas there are, and where they stand."""
        how = ", ".join(f"{count:,} {status}" for status, count in self.counts.items())
        return f"SagasView({counted(len(self.df), 'saga')}{': ' * bool(how)}{how})"

    def figure(self) -> go.Figure:
        """Return a bar for each name of a saga: how many there are of each status."""
        names = sorted(set(self.df["saga"]))
        figure = go.Figure()
        figure.update_layout(
            template=TEMPLATE,
            title={"text": "Sagas", "subtitle": {"text": plain(self.digest)}},
            barmode="stack",
            height=180 + 36 * len(names),
            margin={"t": top_margin(self.counts)},
            xaxis={"title": {"text": "sagas"}, "rangemode": "tozero"},
            yaxis={"autorange": "reversed", "automargin": True},
        )
        for status in self.counts:
            of_status = Counter(self.df.loc[self.df["status"] == status, "saga"])
            figure.add_bar(
                name=status,
                orientation="h",
                y=[plain(name) for name in names],
                x=[of_status[name] for name in names],
                marker={"color": _COLOURS[status]},
                text=[f"{of_status[name]:,} {status}" if of_status[name] else "" for name in names],
                hovertemplate="%{y}: %{text}<extra></extra>",
            )
        return figure

    def html(self) -> str:
        """Return a table with a row for each saga, those that a person has to see to first."""
        if self.df.empty:
            return "<p>There is no saga: lab.start_saga(...) one.</p>"
        stuck = self.df["status"] == "STUCK"
        rows = records(pd.concat([self.df[stuck], self.df[~stuck]]).head(SHOWN))
        left = len(self.df) - len(rows)
        more = f"<p>and {left:,} more: see .df</p>" if left else ""
        columns = ["saga", "id", "status", "completed", "undone", "failed step", "error", "took"]
        return html_table(columns, [_row(row) for row in rows], numbers=("took",)) + more


def _row(row: Any) -> tuple[str, ...]:
    took = (row.last_at - row.started_at).total_seconds()
    return (
        row.saga,
        row.saga_id,
        row.status,
        f"{row.completed} of {row.steps}" if row.steps else "",
        str(row.compensated or ""),
        _said(row.failed_step),
        _said(row.error),
        duration_text(took),
    )


class TimersView(View):
    """The timers that are set, at the moment at which the view was made; the next one first.

    The frame has a row a timer: saga, saga_id, timer, due_at, purpose and step.

    Args:
        store: the log.
        at: the time.

    Example:
        >>> import eslab
        >>> with eslab.Lab(seed=7) as lab:
        ...     lab.timers
        TimersView(0 timers)
    """

    def __init__(self, store: ReadModels, *, at: datetime) -> None:
        super().__init__(store.sql(_TIMERS_SQL).df(), sql=_TIMERS_SQL)
        self.at = at

    @property
    def digest(self) -> str:
        """How many timers there are, and when the next one is due."""
        if self.df.empty:
            return "TimersView(0 timers)"
        return f"TimersView({counted(len(self.df), 'timer')}, the next one {self._due(0)})"

    def _due(self, place: int) -> str:
        wait = (self.df["due_at"].iloc[place].to_pydatetime() - self.at).total_seconds()
        return f"in {duration_text(wait)}" if wait > 0 else "due"

    def figure(self) -> go.Figure:
        """Return a mark for each timer, when it is due."""
        figure = go.Figure()
        names = [f"{row.saga} {row.saga_id}: {row.timer}" for row in records(self.df.head(SHOWN))]
        figure.update_layout(
            template=TEMPLATE,
            title={"text": "Timers", "subtitle": {"text": plain(self.digest)}},
            height=180 + 28 * len(names),
            margin={"t": 72},
            yaxis={"autorange": "reversed", "automargin": True},
        )
        figure.add_scatter(
            x=self.df["due_at"].head(SHOWN),
            y=[plain(name) for name in names],
            mode="markers",
            marker={"color": PENDING, "size": 12, "symbol": "diamond"},
            hovertemplate="%{y}<br>%{x}<extra></extra>",
        )
        return figure

    def html(self) -> str:
        """Return a table with a row for each timer."""
        if self.df.empty:
            return "<p>No timer is set.</p>"
        shown = records(self.df.head(SHOWN))
        rows = [
            (row.saga, row.saga_id, row.timer, row.due_at.isoformat(), self._due(place))
            for place, row in enumerate(shown)
        ]
        left = len(self.df) - len(rows)
        more = f"<p>and {left:,} more: see .df</p>" if left else ""
        return html_table(["saga", "id", "timer", "due at", "in"], rows) + more


def _said(value: Any) -> str:
    return value if isinstance(value, str) else ""
