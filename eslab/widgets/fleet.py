"""Very many sagas as a widget: filtered by where they failed, and each opened to its timeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import traitlets

from eslab.errors import InputError
from eslab.views import FleetView
from eslab.views.saga_cells import CELLS
from eslab.widgets.base import intent
from eslab.widgets.saga import TimelineWidget

__all__ = ["FleetWidget"]


class FleetWidget(TimelineWidget):
    """Shows very many sagas, and the timeline of the one that is opened.

    That one is followed. All of them are looked at again when a person wants it: they would
    change their places below the pointer.

    Args:
        fleet: what it shows.

    Attributes:
        fleet: what it shows.
        sagas: all that is drawn of them.
        old: whether the log has grown since.
        cells: how the outcome of a step looks, by its letter.

    Example:
        >>> import eslab
        >>> with eslab.Lab(seed=7) as lab:
        ...     widget = FleetWidget(lab.fleet())
        >>> widget.said
        'FleetView(0 sagas)'
    """

    module = "fleet"

    sagas = traitlets.Dict().tag(sync=True)
    cells = traitlets.Dict().tag(sync=True)
    old = traitlets.Bool().tag(sync=True)

    def __init__(self, fleet: FleetView) -> None:
        self.fleet = fleet
        self._ignore: Callable[[], None] | None = None
        looks = {letter: [one.words, one.colour, one.shape] for letter, one in CELLS.items()}
        super().__init__(None, sagas=fleet.page, said=fleet.digest, cells=looks)

    @intent
    def open_saga(self, saga: str, saga_id: str) -> str:
        """Show the timeline of a saga, and return it in words."""
        if self.fleet.timeline is None:
            raise InputError("only a lab can open a saga: use lab.fleet()")
        timeline: Any = self.fleet.timeline(f"{saga}-{saga_id}")
        self.show(timeline)
        return str(timeline.digest)

    @intent
    def close_saga(self) -> None:
        """Show no timeline any more."""
        super()._stop_following()
        self.timeline = self.compared = None
        with self.hold_sync():
            self.page, self.instead, self.live = {}, {}, ""

    @intent
    def refresh(self) -> None:
        """Look at all sagas again."""
        self.fleet.refresh()
        with self.hold_sync():
            self.sagas = self.fleet.page
            self.said = self.fleet.digest
            self.old = self.fleet.is_old

    def _start_following(self) -> None:
        super()._start_following()
        if self._pages and self._ignore is None:
            self._ignore = self.fleet.listen(self._appended)
            self.old = self.fleet.is_old

    def _stop_following(self) -> None:
        super()._stop_following()
        ignore, self._ignore = self._ignore, None
        if ignore is not None:
            ignore()

    def _appended(self) -> None:
        self.old = True
