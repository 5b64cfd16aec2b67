"""The saga timeline as a widget: marks to select, a playhead, and a fault at a place of choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

import traitlets

from eslab.errors import InputError, StoreClosedError
from eslab.views import SagaComparison, SagaTimeline
from eslab.views.base import records
from eslab.views.saga_comparison import FAULT_WORDS
from eslab.widgets.base import LiveWidget, intent
from eslab.widgets.follower import Follower

__all__ = ["ComparisonWidget", "SagaWidget", "TimelineWidget", "saga_widget"]

CLOSED: Final = "The lab is closed: nothing comes any more."
FOLLOWS: Final = "This follows the saga as it goes on."
WAITS: Final = "It waits for a person, who lets it go on with lab.resume_saga(...)."


class TimelineWidget(LiveWidget):
    """What all widgets have in common that show a timeline; it may be none.

    The timeline is followed while it is on a page.

    Attributes:
        timeline: what it shows.
        compared: the same saga with a fault, if that is shown too.
        page: its marks, and what is said of them.
        instead: the marks of the same saga with a fault, and what became of it, in words.
        faults: the faults that can be chosen, with what they do.
        live: whether something can come yet, in words.
    """

    parts: ClassVar[tuple[str, ...]] = ("timeline",)

    page = traitlets.Dict().tag(sync=True)
    instead = traitlets.Dict().tag(sync=True)
    faults: Any = traitlets.List().tag(sync=True)
    live = traitlets.Unicode().tag(sync=True)

    def __init__(self, timeline: SagaTimeline | None, **values: Any) -> None:
        self.timeline: SagaTimeline | None = None
        self.compared: SagaComparison | None = None
        self._drawn = 0
        self._pages: set[str] = set()
        self._stop: Callable[[], None] | None = None
        self._follower = Follower(self.follow)
        super().__init__(faults=[list(pair) for pair in FAULT_WORDS.items()], **values)
        if timeline is not None:
            self.show(timeline)

    def show(self, timeline: SagaTimeline) -> None:
        """Show a timeline from now on."""
        with self._lock, self.hold_sync():
            self._stop_following()
            self.timeline = timeline
            self._draw(timeline)
            self._start_following()

    def _draw(self, timeline: SagaTimeline, compared: SagaComparison | None = None) -> None:
        self.compared, self._drawn = compared, timeline.version
        if compared is None:
            self.page, self.instead = timeline.page, {}
        else:
            self.page, other = compared.pages
            self.instead = {"words": compared.words, "page": other}
        self.live = _liveness(timeline)

    def follow(self) -> None:
        """Show what the saga did meanwhile."""
        timeline = self.timeline
        if timeline is None:
            return
        try:
            timeline.refresh()
        except StoreClosedError:
            self.live = CLOSED if self.live else ""
            raise
        with self._lock, self.hold_sync():
            # Another one may have taken its place; and a person may have looked again in a cell.
            if timeline is self.timeline and timeline.version != self._drawn:
                compared = self.compared
                self._draw(timeline, compared and compared.since(timeline.still))

    # What the page asks for.

    @intent
    def watch(self, page: str) -> None:
        """Follow the saga for a page that shows it."""
        self._pages.add(page)
        self._start_following()

    @intent
    def leave(self, page: str) -> None:
        """Follow it no more, if no other page shows it."""
        self._pages.discard(page)
        if not self._pages:
            self._stop_following()

    @intent
    def effects(self) -> list[list[str]]:
        """Return the events that the commands of the attempts recorded."""
        found = records(self._shown.effects)
        return [[one.step, one.kind, _event_text(one)] for one in found]

    @intent
    def fail(self, step: str, fault: str, undo: bool, attempt: int) -> str:
        """Run the saga again, let an attempt go wrong, and say what came of that."""
        timeline = self._shown
        compared = timeline.fail(step, fault, undo=undo, attempt=attempt)
        with self.hold_sync():
            self._draw(timeline, compared)
        return compared.words

    @intent
    def forget(self) -> None:
        """Show only how it went."""
        with self.hold_sync():
            self._draw(self._shown)

    @property
    def _shown(self) -> SagaTimeline:
        if self.timeline is None:
            raise InputError("no saga is shown: open one first")
        return self.timeline

    def _start_following(self) -> None:
        if self.timeline is not None and self._pages and self._stop is None:
            self._stop = self.timeline.listen(self._follower.notice)
            self._follower.notice()

    def _stop_following(self) -> None:
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()

    def close(self) -> None:
        """Follow nothing any more."""
        self._follower.end()
        self._stop_following()
        super().close()


class SagaWidget(TimelineWidget):
    """Shows a timeline.

    Args:
        timeline: what it shows.

    Example:
        >>> import eslab
        >>> trip = eslab.Saga("trip", [eslab.Step("hotel", print)])
        >>> with eslab.Lab(seed=7) as lab:
        ...     lab.start_saga(trip, "1")
        ...     widget = SagaWidget(lab.saga("trip-1"))
        >>> widget.said
        'SagaTimeline(trip-1 RUNNING 0 of 1 step completed, hotel is next)'
        >>> widget.live
        'This follows the saga as it goes on.'
    """

    module = "saga"

    def __init__(self, timeline: SagaTimeline) -> None:
        super().__init__(timeline)

    def _draw(self, timeline: SagaTimeline, compared: SagaComparison | None = None) -> None:
        super()._draw(timeline, compared)
        self.said = (compared or timeline).digest


class ComparisonWidget(SagaWidget):
    """Shows how a saga went, and below that how it goes with a fault; it is not followed.

    Args:
        compared: what it shows.
    """

    def __init__(self, compared: SagaComparison) -> None:
        super().__init__(compared.base)
        self._draw(compared.base, compared)

    def _draw(self, timeline: SagaTimeline, compared: SagaComparison | None = None) -> None:
        super()._draw(timeline, compared)
        self.live = ""

    def _start_following(self) -> None:
        """Do not: both are of one moment."""


def saga_widget(view: SagaTimeline | SagaComparison) -> SagaWidget:
    """Return the widget of a timeline, or of what it is compared with."""
    return SagaWidget(view) if isinstance(view, SagaTimeline) else ComparisonWidget(view)


def _liveness(timeline: SagaTimeline) -> str:
    summary = timeline.summary
    if summary.status == "STUCK":
        return WAITS
    return "" if summary.state.ended and summary.status != "WAITING" else FOLLOWS


def _event_text(event: Any) -> str:
    return (
        f"{event.type}, version {event.version} of {event.stream_id}, position {event.position:,}"
    )
