"""A saga as it went, and as it goes if an attempt goes wrong: one timeline above the other."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import plotly.graph_objects as go

from eslab.views.base import View, plain
from eslab.views.saga_cells import CELLS, cells_of
from eslab.views.svg import image
from eslab.views.theme import FAILED, NEUTRAL, TEMPLATE, top_margin
from eslab.words import counted

if TYPE_CHECKING:
    from eslab.simulation.faults import Fault
    from eslab.views.saga import SagaTimeline

__all__ = ["FAULT_WORDS", "SagaComparison"]

FAULT_WORDS: Final = {
    "fails": "fails, each time it is tried",
    "times_out": "gets lost, and is not done",
    "reply_lost": "is done, and its answer gets lost",
    "late_reply": "is done, and answered too late",
    "duplicate_reply": "is answered twice",
    "slow": "is done too late",
}
"""What the faults that can be chosen do to an attempt."""

_SYMBOLS: Final = {
    "dot": "circle",
    "box": "square-open",
    "square": "square",
    "cross": "x",
    "up": "triangle-up-open",
    "back": "triangle-left",
    "back open": "triangle-left-open",
    "alarm": "square-x-open",
}


class SagaComparison(View):
    """A saga as it went, and as it goes on a branch where an attempt at a step goes wrong.

    The frame has a row a step: step, was and is: what became of it here and there.

    Args:
        base: as it went.
        branch: as it goes on the branch.
        fault: what went wrong there.
        at: the position behind which the branch begins.
        hits: how many attempts the fault hit.
        widget: makes the live widget of a comparison.

    Attributes:
        base: as it went.
        branch: as it goes on the branch.
        fault: what went wrong there.
        at: the position behind which the branch begins.
        hits: how many attempts the fault hit.
    """

    def __init__(
        self,
        base: SagaTimeline,
        branch: SagaTimeline,
        *,
        fault: Fault,
        at: int,
        hits: int,
        widget: Callable[[Any], Any] | None = None,
    ) -> None:
        was, now = cells_of(base.df, base.summary), cells_of(branch.df, branch.summary)
        steps = list(dict.fromkeys([*was, *now]))
        was, now = (dict.fromkeys(steps, ".") | cells for cells in (was, now))
        words = [(step, CELLS[was[step]].words, CELLS[now[step]].words) for step in steps]
        df = pd.DataFrame(words, columns=["step", "was", "is"])
        super().__init__(df, sql=base.sql, widget=widget)
        self.base = base
        self.branch = branch
        self.fault = fault
        self.at = at
        self.hits = hits
        self._cells = {"as it went": was, "instead": now}

    def since(self, base: SagaTimeline) -> SagaComparison:
        """Return the same branch, beside what the saga did by now.

        Args:
            base: as it went.
        """
        return SagaComparison(base, self.branch, fault=self.fault, at=self.at, hits=self.hits)

    @property
    def pages(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a page draws of both, on one axis."""
        return self.base.page_beside(self.branch), self.branch.page_beside(self.base)

    @property
    def digest(self) -> str:
        """The saga, what goes wrong, and what becomes of it then."""
        saga = self.base.summary
        return f"SagaComparison({saga.name}-{saga.saga_id} {self.fault.label}: {self.outcome})"

    @property
    def outcome(self) -> str:
        """Where both ended: ``COMPENSATED instead of COMPLETED``."""
        was, now = self.base.summary.status, self.branch.summary.status
        if not self.hits:
            return f"{now}, and the fault hit nothing"
        return f"{now} as before" if was == now else f"{now} instead of {was}"

    @property
    def words(self) -> str:
        """What goes wrong, and what is otherwise because of that, for a person."""
        what = self.fault.step or self.fault.type
        undoing = "undoing " if self.fault.kind == "compensate" else ""
        does = FAULT_WORDS.get(self.fault.name, f"is {self.fault.name}")
        rows = self.df.itertuples(index=False, name=None)
        others = [f"{step} {now} instead of {was}" for step, was, now in rows if was != now]
        changed = f": {', '.join(others)}." if others else "; every step ends as it did."
        hit = f"{counted(self.hits, 'attempt')} hit" if self.hits else "no attempt was hit"
        return (
            f"On a branch behind position {self.at:,}, {undoing}{what} {does} ({hit}): the saga is "
            f"{self.outcome}{changed}"
        )

    def figure(self) -> go.Figure:
        """Return what became of each step, here and there."""
        steps = list(self.df["step"])
        used = [
            cell
            for letter, cell in CELLS.items()
            if any(letter in cells.values() for cells in self._cells.values())
        ]
        figure = go.Figure()
        figure.update_layout(
            template=TEMPLATE,
            title={
                "text": plain(f"{self.base.summary.name} {self.base.summary.saga_id}"),
                "subtitle": {
                    "text": plain(f"{self.fault.label}: {self.outcome}"),
                    "font": {"color": NEUTRAL if self.hits else FAILED},
                },
            },
            height=240,
            margin={"t": top_margin(cell.words for cell in used)},
            xaxis={
                "tickvals": list(range(len(steps))),
                "ticktext": [plain(step) for step in steps],
                "range": [-0.5, max(1, len(steps)) - 0.5],
                "showgrid": False,
                "zeroline": False,
            },
            yaxis={"autorange": "reversed", "showgrid": False, "zeroline": False},
        )
        for cell in used:
            places = [
                (place, name)
                for name, cells in self._cells.items()
                for place, step in enumerate(steps)
                if CELLS[cells[step]] == cell
            ]
            figure.add_scatter(
                name=cell.words,
                x=[place for place, _ in places],
                y=[name for _, name in places],
                mode="markers",
                marker={
                    "symbol": _SYMBOLS[cell.shape],
                    "color": cell.colour,
                    "size": 8 if cell.shape == "dot" else 18,
                    "line": {"color": cell.colour, "width": 2},
                },
                hovertemplate=f"%{{y}}: {cell.words}<extra></extra>",
            )
        return figure

    def html(self) -> str:
        """Return both pictures, one above the other, with the outcome in words between them.

        They have the same rows and the same axis, so that one sees where they part.
        """
        base, branch = self.base, self.branch
        was = image(base.svg(beside=branch), alt=base.digest)
        now = image(branch.svg(beside=base), alt=branch.digest)
        return f"{was}\n<p><b>Instead:</b> {escape(self.words)}</p>\n{now}"
