"""Very many sagas as a widget: filtered by where they failed, and each opened to its timeline."""

from __future__ import annotations

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

    Args:
        fleet: what it shows.

    Attributes:
        fleet: what it shows.
        sagas: all that is drawn of them.
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

    def __init__(self, fleet: FleetView) -> None:
        self.fleet = fleet
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
        self._stop_following()
        self.timeline = None
        with self.hold_sync():
            self.page, self.instead, self.live = {}, {}, ""

    @intent
    def refresh(self) -> None:
        """Look at all sagas again."""
        self.fleet.refresh()
        with self.hold_sync():
            self.sagas = self.fleet.page
            self.said = self.fleet.digest
