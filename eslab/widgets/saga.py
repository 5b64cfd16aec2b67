"""The saga timeline as a widget: marks to select, a playhead, and a fault at a place of choice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar, Final

import traitlets

from eslab.clock import as_duration
from eslab.errors import StoreClosedError
from eslab.views import SagaTimeline
from eslab.views.base import records
from eslab.views.saga_comparison import FAULT_WORDS
from eslab.widgets.base import LiveWidget, intent
from eslab.widgets.follower import Follower

__all__ = ["SagaWidget"]

CLOSED: Final = "the lab is closed: nothing is followed any more"


class SagaWidget(LiveWidget):
    """Shows a timeline, and follows the saga while it is on a page.

    Args:
        timeline: what it shows.

    Attributes:
        timeline: what it shows.
        page: its marks, and what is said of them.
        instead: the marks of the same saga with a fault, and what became of it, in words.
        faults: the faults that can be chosen, with what they do.
        live: what is said of following: nothing, if nothing can come any more.

    Example:
        >>> import eslab
        >>> trip = eslab.Saga("trip", [eslab.Step("hotel", print)])
        >>> with eslab.Lab(seed=7) as lab:
        ...     lab.start_saga(trip, "1")
        ...     widget = SagaWidget(lab.saga("trip-1"))
        >>> widget.said
        'SagaTimeline(trip-1 RUNNING 0 of 1 step completed, hotel is next)'
    """

    module = "saga"
    parts: ClassVar[tuple[str, ...]] = ("timeline",)

    page = traitlets.Dict().tag(sync=True)
    instead = traitlets.Dict().tag(sync=True)
    faults = traitlets.List().tag(sync=True)
    live = traitlets.Unicode().tag(sync=True)

    def __init__(self, timeline: SagaTimeline) -> None:
        self.timeline = timeline
        self._lookers: set[str] = set()
        self._stop: Callable[[], None] | None = None
        self._follower = Follower(self.follow)
        super().__init__(
            page=timeline.page,
            said=timeline.digest,
            faults=[list(pair) for pair in FAULT_WORDS.items()],
            live=self._liveness(),
        )

    def follow(self) -> None:
        """Show what the saga did meanwhile."""
        try:
            if not self.timeline.refresh():
                return
        except StoreClosedError:
            self.live = CLOSED if self._liveness() else ""
            raise
        with self.hold_sync():
            self.page = self.timeline.page
            self.said = self.timeline.digest
            self.live = self._liveness()

    def _liveness(self) -> str:
        summary = self.timeline.summary
        if summary.state.ended:
            return ""
        return f"{summary.status}: this follows the saga as it goes on"

    # What the page asks for.

    @intent
    def watch(self, looker: str) -> None:
        """Follow the saga for a page that shows it."""
        self._lookers.add(looker)
        if self._stop is None:
            self._stop = self.timeline.listen(self._follower.notice)
        self._follower.notice()

    @intent
    def leave(self, looker: str) -> None:
        """Follow it no more, if no other page shows it."""
        self._lookers.discard(looker)
        if not self._lookers:
            self._stop_following()

    @intent
    def effects(self) -> list[list[Any]]:
        """Return the events that the commands of the attempts recorded."""
        return [[one.step, one.kind, _event_text(one)] for one in records(self.timeline.effects)]

    @intent
    def fail(
        self,
        step: str,
        fault: str,
        undo: bool,
        attempt: int,
        by: str = "",
    ) -> str:
        """Run it again, let an attempt go wrong, and say what came of that."""
        wait: timedelta | None = as_duration(by) if by else None
        compared = self.timeline.fail(step, fault, undo=undo, attempt=attempt, by=wait)
        self.instead = {"words": compared.words, "page": compared.branch.page}
        return compared.words

    @intent
    def forget(self) -> None:
        """Show only how it went."""
        self.instead = {}

    def close(self) -> None:
        """Follow nothing any more."""
        self._follower.end()
        self._stop_following()
        super().close()

    def _stop_following(self) -> None:
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()


def _event_text(event: Any) -> str:
    return (
        f"{event.type}, version {event.version} of {event.stream_id}, position {event.position:,}"
    )
