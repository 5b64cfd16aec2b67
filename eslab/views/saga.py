"""The saga timeline: what a saga did step by step, and how it undid it."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
import plotly.graph_objects as go

from eslab.store.port import ReadModels
from eslab.views.base import PictureView, with_values
from eslab.views.saga_figure import timeline_figure
from eslab.views.saga_layout import drawing
from eslab.views.saga_log import ATTEMPTS_SQL, COMMANDS_SQL, read_log
from eslab.views.saga_marks import Drawing
from eslab.views.saga_notes import notes_frame, notes_of
from eslab.views.saga_picture import saga_picture
from eslab.views.saga_summary import SagaSummary, Summary, is_process, summary_of
from eslab.views.scales import duration_text

__all__ = ["SagaTimeline", "saga_figure"]


class SagaTimeline(PictureView):
    """What a saga did, and what it undid: each attempt with its time and its outcome.

    The frame has a row an attempt: step, kind (``execute`` or ``compensate``), attempt,
    started_at, ended_at (missing while it runs), outcome (``completed``, ``failed``,
    ``timed out``, ``running``, or ``superseded`` by the answer to an earlier one), order (in which
    steps and compensations began), error and version.

    Of a process manager, which has no steps, the rows are the attempts to have its commands carried
    out: step is the type of the command, kind ``command``, and outcome ``delivered``, ``refused``,
    ``failed``, ``timed out``, ``running``, or ``waiting`` until the command before is answered.

    Args:
        store: the log.
        stream_id: the stream of the saga, ``saga-<name>-<id>``.
        undoable: the steps that can be undone, if that is known: if one of them was not, though
            the saga was, the timeline says so.

    Attributes:
        summary: what it comes to.
        notes: what is marked beside the attempts, a frame with version, at, mark, step, text and
            detail: events, timers, deadlines, late answers, and what should not be.

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

    def __init__(
        self, store: ReadModels, stream_id: str, *, undoable: Collection[str] | None = None
    ) -> None:
        log, version = read_log(store, stream_id)
        query = COMMANDS_SQL if is_process(stream_id, log) else ATTEMPTS_SQL
        # Later events are left out: the frame and the summary are of the same moment.
        values = {"stream_id": stream_id, "version": version}
        df = store.sql(query, values).df()
        super().__init__(df, sql=with_values(query, values))
        self.summary: Summary = summary_of(stream_id, log, df, undoable=undoable)
        self.notes = notes_frame(notes_of(log, self.summary))

    @property
    def digest(self) -> str:
        """The saga, its status, and what it did and undid."""
        saga = self.summary
        return f"SagaTimeline({saga.name}-{saga.saga_id} {saga.status} {saga.words()})"

    def figure(self) -> go.Figure:
        """Return one row a step: its attempts, and its compensation with an arc back to it."""
        return saga_figure(self.df, self.summary, self.notes)

    def svg(self) -> str:
        """Return the same rows as SVG."""
        title, subtitle = _titles(self.summary)
        return saga_picture(
            _drawing(self.df, self.summary, self.notes),
            title=title,
            subtitle=subtitle,
            alarm=self.summary.alarming,
        )


def saga_figure(
    attempts: pd.DataFrame, saga: Summary, notes: pd.DataFrame | None = None
) -> go.Figure:
    """Draw one row a step: its attempts, and its compensation with an arc back to it.

    Args:
        attempts: a frame as `SagaTimeline.df`.
        saga: what it comes to.
        notes: a frame as `SagaTimeline.notes`.
    """
    title, subtitle = _titles(saga)
    drawn = _drawing(attempts, saga, notes)
    return timeline_figure(drawn, title=title, subtitle=subtitle, alarm=saga.alarming)


def _drawing(attempts: pd.DataFrame, saga: Summary, notes: pd.DataFrame | None) -> Drawing:
    pivot = saga.pivot if isinstance(saga, SagaSummary) else None
    return drawing(attempts, steps=saga.steps, notes=notes, pivot=pivot)


def _titles(saga: Summary) -> tuple[str, str]:
    took = f"; {duration_text(saga.seconds)} in all" if saga.seconds else ""
    return f"{saga.name} {saga.saga_id}: {saga.status}", f"{saga.words()}{took}"
