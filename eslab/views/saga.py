"""The saga timeline: what a saga did step by step, and how it undid it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import plotly.graph_objects as go

from eslab.errors import InputError
from eslab.views.base import PictureView, with_values
from eslab.views.saga_figure import timeline_figure
from eslab.views.saga_layout import Shown, drawing
from eslab.views.saga_log import ATTEMPTS_SQL, COMMANDS_SQL, Logged, SagaStore, read_log
from eslab.views.saga_marks import Drawing
from eslab.views.saga_notes import notes_frame, notes_of
from eslab.views.saga_page import timeline_page
from eslab.views.saga_picture import saga_picture
from eslab.views.saga_places import before, began, senders_of
from eslab.views.saga_story import story_of
from eslab.views.saga_summary import (
    ProcessSummary,
    SagaSummary,
    Summary,
    is_process,
    summary_of,
)
from eslab.views.scales import duration_text

if TYPE_CHECKING:
    from eslab.simulation.faults import Fault
    from eslab.views.saga_comparison import SagaComparison

__all__ = ["Rerun", "SagaTimeline", "saga_figure"]

_EFFECTS_SQL: Final = """
select position, stream_id, version, type, metadata->>'$.command_id' as command_id
from events
where position >= $position and metadata->>'$.command_id' in $ids
order by position
"""


Rerun = Callable[["SagaTimeline", int, "Fault"], "tuple[SagaTimeline, int]"]
"""Runs a saga again on a branch at a position, with a fault; and says how often that hit."""


@dataclass(frozen=True)
class _Moment:
    """What a timeline shows: all of it is of one moment."""

    df: pd.DataFrame
    sql: str
    log: Sequence[Logged]
    version: int
    summary: Summary
    notes: pd.DataFrame

    @cached_property
    def page(self) -> dict[str, Any]:
        return self.page_beside(None)

    def page_beside(self, other: _Moment | None) -> dict[str, Any]:
        process = isinstance(self.summary, ProcessSummary)
        title, subtitle = self.titles
        return {
            "title": title,
            "subtitle": subtitle,
            "alarm": self.summary.alarming,
            "status": self.summary.status,
            **timeline_page(
                self.drawn(other),
                log=self.log,
                story=story_of(self.log, process=process),
                notes=self.notes,
            ),
        }

    @property
    def titles(self) -> tuple[str, str]:
        clock_back = next((one.version for one in self.log if one.clock_back), None)
        return _titles(self.summary, clock_back)

    def drawn(self, other: _Moment | None = None) -> Drawing:
        return drawing(
            self.shown,
            pivot=_pivot(self.summary),
            moments=[(one.version, one.at) for one in self.log],
            beside=None if other is None else other.shown,
            parting=None if other is None else self._parting(other),
        )

    @property
    def shown(self) -> Shown:
        return Shown(self.df, self.notes, self.summary.steps)

    def _parting(self, other: _Moment) -> int | None:
        """Return the version of the last event that both have in common."""
        last = None
        for one, another in zip(self.log, other.log, strict=False):
            if (one.at, one.event) != (another.at, another.event):
                break
            last = one.version
        return last


class SagaTimeline(PictureView):
    """What a saga did, and what it undid: each attempt with its time and its outcome.

    The frame has a row an attempt: step, kind (``execute`` or ``compensate``), attempt,
    started_at, ended_at (missing while it runs), outcome (``completed``, ``failed``,
    ``timed out``, ``running``, or ``superseded`` by the answer to an earlier one), order (in which
    steps and compensations began), error, version and ended_version (of the events that began and
    ended it).

    Of a process manager, which has no steps, the rows are the attempts to have its commands carried
    out: step is the type of the command, kind ``command``, and outcome ``delivered``, ``refused``,
    ``failed``, ``timed out``, ``running``, or ``waiting`` until the command before is answered.

    A saga goes on: `refresh` looks at its stream again. The widget does so whenever something was
    appended to it.

    Args:
        store: the log.
        stream_id: the stream of the saga, ``saga-<name>-<id>``.
        undoable: the steps that can be undone, if that is known: if one of them was not, though
            the saga was, the timeline says so.
        rerun: runs the saga again, on a branch.
        widget: makes the live widget of a timeline, and of what it is compared with.

    Attributes:
        stream_id: the stream of the saga.

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
        self,
        store: SagaStore,
        stream_id: str,
        *,
        undoable: Collection[str] | None = None,
        rerun: Rerun | None = None,
        widget: Callable[[SagaTimeline | SagaComparison], Any] | None = None,
    ) -> None:
        self.stream_id = stream_id
        self._store = store
        self._undoable = undoable
        self._rerun = rerun
        self._reading = threading.Lock()
        self._moment = self._read()
        super().__init__(self._moment.df, sql=self._moment.sql, widget=widget)

    def _read(self) -> _Moment:
        log, version = read_log(self._store, self.stream_id)
        query = COMMANDS_SQL if is_process(self.stream_id, log) else ATTEMPTS_SQL
        # Later events are left out: the frame and the summary are of the same moment.
        values = {"stream_id": self.stream_id, "version": version}
        df = self._store.sql(query, values).df()
        summary = summary_of(self.stream_id, log, df, undoable=self._undoable)
        notes = notes_frame(notes_of(log, summary))
        return _Moment(df, with_values(query, values), log, version, summary, notes)

    def refresh(self) -> bool:
        """Look at the stream again, and say whether there was anything new.

        Raises:
            StoreClosedError: the store is closed.
        """
        with self._reading:
            if self._store.stream_version(self.stream_id) == self._moment.version:
                return False
            self._moment = moment = self._read()
            self.df, self.sql = moment.df, moment.sql
            return True

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after every append to the log, on the thread that appended.

        Returns:
            A function that ends it.
        """
        return self._store.listen(callback)

    @property
    def version(self) -> int:
        """The version of the stream that is shown."""
        return self._moment.version

    @property
    def summary(self) -> Summary:
        """What it comes to."""
        return self._moment.summary

    @property
    def notes(self) -> pd.DataFrame:
        """What is marked beside the attempts: events, timers, deadlines, and what should not be.

        A frame with version, at, mark, step, text and detail.
        """
        return self._moment.notes

    @property
    def page(self) -> dict[str, Any]:
        """All marks, and what is said of them, as JSON values: what the widget draws."""
        return self._moment.page

    def page_beside(self, other: SagaTimeline) -> dict[str, Any]:
        """Return the same for a page that shows another one too: on the same axis.

        Args:
            other: what is drawn above or below it.
        """
        return self._moment.page_beside(other._moment)

    @property
    def still(self) -> SagaTimeline:
        """The same of this moment, which does not change when this one is refreshed."""
        still, moment = copy(self), self._moment
        vars(still).update(_moment=moment, df=moment.df, sql=moment.sql, _widget=None)
        return still

    @property
    def effects(self) -> pd.DataFrame:
        """The events that its commands recorded: position, stream_id, version, type, command_id.

        With it the step, and the kind, of the attempts that sent the command.
        """
        moment = self._moment
        senders = senders_of(self.stream_id, moment.summary, moment.log)
        first = moment.log[0].position if moment.log else 0
        found = self._store.sql(_EFFECTS_SQL, {"position": first, "ids": [*senders]}).df()
        of = [senders[command_id] for command_id in found["command_id"]]
        return found.assign(step=[step for step, _ in of], kind=[kind for _, kind in of])

    @property
    def digest(self) -> str:
        """The saga, its status, and what it did and undid."""
        saga = self.summary
        return f"SagaTimeline({saga.name}-{saga.saga_id} {saga.status} {saga.words()})"

    def figure(self) -> go.Figure:
        """Return one row a step: its attempts, and its compensation with an arc back to it."""
        return saga_figure(self.df, self.summary, self.notes)

    def svg(self, *, beside: SagaTimeline | None = None) -> str:
        """Return the same rows as SVG.

        Args:
            beside: what is drawn above or below it, on the same axis.
        """
        moment = self._moment
        title, subtitle = moment.titles
        return saga_picture(
            moment.drawn(None if beside is None else beside._moment),  # noqa: SLF001 - its own
            title=title,
            subtitle=subtitle,
            alarm=moment.summary.alarming,
        )

    def fail(
        self,
        step: str,
        fault: str = "fails",
        *,
        undo: bool = False,
        attempt: int = 1,
        once: bool = False,
        by: timedelta | None = None,
    ) -> SagaComparison:
        """Run it again from an attempt on, which goes wrong; and show both.

        It is run on a branch: the store is never changed, and what happened before the attempt
        is as it was. From there on everything that belongs to the saga, by its correlation id, is
        done again: commands are carried out on the branch, but **steps that are plain functions
        are called again**, and what these do outside of the lab, they do once more. All else
        stands still there.

        Args:
            step: the step; or the type of the command of a process manager.
            fault: what goes wrong: one of `eslab.simulation.faults.STEP_FAULTS` or
                `DELIVERY_FAULTS`.
            undo: it goes wrong when the step is undone, not when it is executed.
            attempt: from which one on.
            once: the attempts behind that one go as they go.
            by: how much later, for faults that are about that; see `Fault`.

        Raises:
            InputError: there is no such step or attempt, it did not begin, or there is no such
                fault.
            SagaError: no saga of this name is registered in the lab.

        Example:
            >>> import eslab
            >>> def book(step):
            ...     pass
            >>> steps = [eslab.Step("hotel", book, book), eslab.Step("train", book)]
            >>> trip = eslab.Saga("trip", steps)
            >>> with eslab.Lab(seed=7) as lab:
            ...     lab.start_saga(trip, "1")
            ...     lab.run()
            ...     lab.saga("trip-1").fail("train")
            SagaComparison(trip-1 train: fails: COMPENSATED instead of COMPLETED)
        """
        from eslab.simulation.faults import Fault
        from eslab.views.saga_comparison import SagaComparison

        if self._rerun is None:
            raise InputError("only a lab can run a saga again: use lab.saga(...)")
        base = self.still  # this one may go on meanwhile
        moment = base._moment  # noqa: SLF001 - its own
        process = isinstance(moment.summary, ProcessSummary)
        kind: Any = "command" if process else "compensate" if undo else "execute"
        version = began(moment.df, moment.summary, step, kind=kind, attempt=attempt)
        wrong = Fault(
            fault,  # type: ignore[arg-type]  # it checks the name
            None if process else step,
            type=step if process else None,
            kind=kind,
            sequence=self.stream_id,
            attempt=attempt if once else None,
            by=by,
        )
        at = before(moment.log, version, whole=process)
        other, hits = self._rerun(base, at, wrong)
        return SagaComparison(base, other, fault=wrong, at=at, hits=hits, widget=self._make_widget)


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
    drawn = drawing(Shown(attempts, notes, saga.steps), pivot=_pivot(saga))
    return timeline_figure(drawn, title=title, subtitle=subtitle, alarm=saga.alarming)


def _pivot(saga: Summary) -> str | None:
    return saga.pivot if isinstance(saga, SagaSummary) else None


def _titles(saga: Summary, clock_back: int | None = None) -> tuple[str, str]:
    took = f"; {duration_text(saga.seconds)} in all" if saga.seconds else ""
    back = "" if clock_back is None else f"; the clock had gone back at version {clock_back}"
    return f"{saga.name} {saga.saga_id}: {saga.status}", f"{saga.words()}{took}{back}"
