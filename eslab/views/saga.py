"""The saga timeline: what a saga did step by step, and how it undid it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go

from eslab.errors import InputError, StreamNotFoundError
from eslab.sagas import SAGA_EVENTS, SagaStarted, SagaState, SagaStatus, Task
from eslab.sagas.state import evolve
from eslab.store.port import ReadModels
from eslab.views.base import PictureView, plain, with_values
from eslab.views.saga_marks import Bar, Drawing, drawing
from eslab.views.saga_picture import saga_picture
from eslab.views.scales import duration_text
from eslab.views.theme import COMPENSATION, FAILED, NEUTRAL, TEMPLATE
from eslab.words import counted

__all__ = ["SagaTimeline", "saga_figure"]

ROW_HEIGHT: Final = 64

_EVENTS_SQL: Final = """
select version, type, data::varchar, epoch_us(recorded_at) from events
where stream_id = $stream_id order by version
"""

_ATTEMPTS_SQL: Final = """
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
    select step, kind, min(recorded_at) as done_at from log where what = 'Completed' group by all),
attempts as (
    select step, kind, attempt, coalesce(s.recorded_at, e.recorded_at) as started_at,
           coalesce(e.recorded_at, done_at) as ended_at,
           case when e.what = 'TimedOut' then 'timed out' when e.what is not null then lower(e.what)
                when done_at is not null then 'superseded' else 'running' end as outcome,
           e.error, coalesce(s.version, e.version) as version
    from (from log where what = 'Started') s
    full join ends e using (step, kind, attempt)
    left join done using (step, kind))
select step, kind, attempt, started_at, ended_at, outcome,
       dense_rank() over (order by first) as "order", error, version
from (select *, min(version) over (partition by step, kind) as first from attempts)
order by version
"""


@dataclass(frozen=True, slots=True)
class SagaSummary:
    """What a timeline says about a saga as a whole.

    Attributes:
        name: of the saga.
        saga_id: which one of that name.
        steps: the names of its steps, as they were when it was started.
        state: what its stream says.
        seconds: from its start to its last event.
        retries: how many attempts were not the first one.
        undo_order: the steps whose compensation began, in that order.
    """

    name: str
    saga_id: str
    steps: tuple[str, ...]
    state: SagaState
    seconds: float
    retries: int
    undo_order: tuple[str, ...]

    @property
    def in_reverse(self) -> bool:
        """Whether steps were undone in the reverse of the order in which they ended."""
        touched = self.state.touched
        undone = [step for step in self.undo_order if step in touched]
        return undone == [step for step in reversed(touched) if step in undone]

    @property
    def alarming(self) -> bool:
        """Whether something is as it should not be: a person has to look."""
        state = self.state
        twice = len(state.compensated) > len(set(state.compensated))
        return twice or not self.in_reverse or state.status is SagaStatus.STUCK

    @property
    def status(self) -> str:
        """The status, in capitals."""
        return self.state.status.value

    def words(self) -> str:
        """Return what happened: steps, compensations, failures and retries."""
        state, count = self.state, len(self.steps)
        parts = [counted(count, "step")]
        if state.status is SagaStatus.RUNNING:
            parts = [f"{len(state.completed)} of {parts[0]} completed"]
            if waiting := [step for step in self.steps if step not in state.completed]:
                running = state.running.get(Task(waiting[0]))
                number = 0 if running is None else running.attempt
                attempt = f" (attempt {number})" if number > 1 else ""
                parts.append(f"{waiting[0]} {'is running' if number else 'is next'}{attempt}")
        if state.compensated or not self.in_reverse:
            parts.append(f"{len(set(state.compensated))} undone{self._order()}")
        elif state.status is SagaStatus.COMPENSATED:
            parts.append("nothing to undo")
        if twice := sorted({s for s in state.compensated if state.compensated.count(s) > 1}):
            parts.append(f"undone TWICE: {', '.join(twice)}")
        if doubtful := [step for step in state.doubtful if step != state.failed_step]:
            parts.append(f"not answered: {', '.join(doubtful)}")
        if state.failed_step:
            how = "not answered" if state.failed_step in state.doubtful else "1 failed"
            parts.append(f"{how}: {state.failed_step}")
        if state.status is SagaStatus.COMPENSATING and self.undo_order and state.running:
            parts.append(f"{self.undo_order[-1]} is being undone")
        if state.stuck is not None:
            done = "undone" if state.stuck.kind == "compensate" else "done"
            parts.append(f"{state.stuck.step} cannot be {done}")
        if self.retries:
            parts.append(f"{self.retries} {'retry' if self.retries == 1 else 'retries'}")
        return ", ".join(parts)

    def _order(self) -> str:
        if not self.in_reverse:
            return " NOT in reverse order"
        return " in reverse order" if len(self.undo_order) > 1 else ""


class SagaTimeline(PictureView):
    """What a saga did, and what it undid: each attempt with its time and its outcome.

    The frame has a row an attempt: step, kind (``execute`` or ``compensate``), attempt,
    started_at, ended_at (missing while it runs), outcome (``completed``, ``failed``,
    ``timed out``, ``running``, or ``superseded`` by the answer to an earlier one), order (in which
    steps and compensations began), error and version.

    Args:
        store: the log.
        stream_id: the stream of the saga, ``saga-<name>-<id>``.

    Attributes:
        summary: what it comes to.

    Raises:
        StreamNotFoundError: there is no such stream.
        InputError: the stream is not that of a saga.

    Example:
        >>> import eslab
        >>> def full(step):
        ...     raise eslab.DomainError("the train is full")
        >>> trip = eslab.Saga("trip", [eslab.Step("hotel", lambda step: None, lambda step: None),
        ...                            eslab.Step("train", full)])
        >>> with eslab.Lab(seed=7) as lab:
        ...     lab.start_saga(trip, "1")
        ...     lab.run()
        ...     timeline = lab.saga("trip-1")
        >>> timeline
        SagaTimeline(trip-1 COMPENSATED 2 steps, 1 undone, 1 failed: train)
        >>> print(timeline.df[["step", "kind", "outcome"]].to_string(index=False))
         step       kind   outcome
        hotel    execute completed
        train    execute    failed
        hotel compensate completed
    """

    def __init__(self, store: ReadModels, stream_id: str) -> None:
        events = store.sql(_EVENTS_SQL, {"stream_id": stream_id}).fetchall()
        if not events:
            raise StreamNotFoundError(stream_id)
        # Later events are left out: the frame and the summary are of the same moment.
        values = {"stream_id": stream_id, "version": len(events)}
        df = store.sql(_ATTEMPTS_SQL, values).df()
        super().__init__(df, sql=with_values(_ATTEMPTS_SQL, values))
        self.summary = _summary(stream_id, events, df)

    @property
    def digest(self) -> str:
        """The saga, its status, and what it did and undid."""
        saga = self.summary
        return f"SagaTimeline({saga.name}-{saga.saga_id} {saga.status} {saga.words()})"

    def figure(self) -> go.Figure:
        """Return one row a step: its attempts, and its compensation with an arc back to it."""
        return saga_figure(self.df, self.summary)

    def svg(self) -> str:
        """Return the same rows as SVG."""
        title, subtitle = _titles(self.summary)
        return saga_picture(
            drawing(self.df, steps=self.summary.steps),
            title=title,
            subtitle=subtitle,
            alarm=self.summary.alarming,
        )


def _summary(stream_id: str, events: list[tuple[Any, ...]], df: pd.DataFrame) -> SagaSummary:
    classes = {cls.event_type: cls for cls in SAGA_EVENTS}
    decoded = [
        classes[type].model_validate(json.loads(data))
        for _, type, data, _ in events
        if type in classes
    ]
    started = next((event for event in decoded if isinstance(event, SagaStarted)), None)
    if started is None:
        raise InputError(f"stream {stream_id!r} is not that of a saga: it has no SagaStarted")
    undone = df.loc[df["kind"] == "compensate", "step"]
    return SagaSummary(
        name=started.saga,
        saga_id=started.saga_id,
        steps=tuple(started.steps),
        state=reduce(evolve, decoded, SagaState()),
        seconds=round((events[-1][3] - events[0][3]) / 1e6, 6),
        retries=int((df["attempt"] > 1).sum()),
        undo_order=tuple(dict.fromkeys(undone)),
    )


def _titles(saga: SagaSummary) -> tuple[str, str]:
    took = f"; {duration_text(saga.seconds)} in all" if saga.seconds else ""
    return f"{saga.name} {saga.saga_id}: {saga.status}", f"{saga.words()}{took}"


def saga_figure(attempts: pd.DataFrame, saga: SagaSummary) -> go.Figure:
    """Draw one row a step: its attempts, and its compensation with an arc back to it.

    Args:
        attempts: a frame as `SagaTimeline.df`.
        saga: what it comes to.
    """
    drawn = drawing(attempts, steps=saga.steps)
    title, subtitle = _titles(saga)
    figure = go.Figure()
    figure.update_layout(
        template=TEMPLATE,
        title={
            "text": plain(title),
            "subtitle": {
                "text": plain(subtitle),
                "font": {"color": FAILED if saga.alarming else NEUTRAL},
            },
        },
        barmode="overlay",
        height=150 + ROW_HEIGHT * max(1, len(drawn.rows)),
        hovermode="closest",
        xaxis={
            "title": {"text": drawn.axis},
            "range": [0, drawn.span * 1.02],
            "showticklabels": bool(drawn.bars),
        },
        yaxis={
            "tickvals": list(range(len(drawn.rows))),
            "ticktext": [plain(step) for step in drawn.rows],
            "range": [len(drawn.rows) - 0.4, -0.6],
            "showgrid": False,
            "zeroline": False,
        },
    )
    for style in drawn.styles():
        bars = [bar for bar in drawn.bars if bar.style == style]
        figure.add_bar(
            name=style.words,
            orientation="h",
            base=[bar.start for bar in bars],
            x=[round(bar.end - bar.start, 6) for bar in bars],
            y=[bar.row for bar in bars],
            width=0.32,
            marker={
                "color": style.colour,
                "opacity": style.opacity,
                "line": {"color": style.colour, "width": 2},
                "pattern": {
                    "shape": style.hatch,
                    "fillmode": "replace",
                    "size": 7,
                    "solidity": 0.35,
                },
            },
            customdata=[_hover(bar) for bar in bars],
            hovertemplate="%{customdata}<extra></extra>",
        )
    _add_arcs(figure, drawn)
    _add_labels(figure, drawn)
    return figure


def _add_arcs(figure: go.Figure, drawn: Drawing) -> None:
    for arc in drawn.arcs:
        points = [(arc.start, arc.row - 0.17), *arc.points(top=0.25, height=0.17)]
        figure.add_scatter(
            x=[x for x, _ in points],
            y=[y for _, y in points],
            mode="lines+markers",
            line={
                "color": COMPENSATION,
                "width": 2,
                "dash": "solid" if arc.completed else "dot",
            },
            marker={
                "color": COMPENSATION,
                "symbol": "triangle-down",
                "size": [0] * (len(points) - 1) + [10],
                "opacity": 1,
                "line": {"width": 0},
            },
            cliponaxis=False,
            showlegend=False,
            hoverinfo="skip",
        )


def _add_labels(figure: go.Figure, drawn: Drawing) -> None:
    failures = [bar for bar in drawn.bars if bar.error is not None]
    if failures:
        figure.add_scatter(
            x=[bar.end for bar in failures],
            y=[bar.row for bar in failures],
            mode="markers",
            marker={"symbol": "x", "size": 12, "color": FAILED},
            cliponaxis=False,
            showlegend=False,
            customdata=[_hover(bar) for bar in failures],
            hovertemplate="%{customdata}<extra></extra>",
        )
    for label in drawn.labels(letters=90):
        figure.add_annotation(
            x=label.x,
            y=label.row + 0.31,
            text=plain(label.text),
            xanchor=label.anchor,
            align="left",
            showarrow=False,
            font={"size": 11},
        )


def _hover(bar: Bar) -> str:
    lines = [
        f"{bar.order}. {bar.step}: {bar.style.words}",
        f"attempt {bar.attempt}, {bar.took}",
        bar.error or "",
    ]
    return "<br>".join(plain(line) for line in lines if line)
