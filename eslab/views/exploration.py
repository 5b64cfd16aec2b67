"""What became of a saga under each fault at each step, as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

import plotly.graph_objects as go

from eslab.views.base import PictureView, plain
from eslab.views.svg import Svg, fitted, text_width
from eslab.views.theme import COMPENSATION, DONE, FAILED, NEUTRAL, RETRY, TEMPLATE
from eslab.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from eslab.simulation.exploration import Exploration, Outcome, Violation

__all__ = ["ExplorationView", "exploration_figure"]

WIDTH: Final = 860
CELL: Final = 100
ROW: Final = 34
TOP: Final = 108
FAINT: Final = 0.18
"""How much colour is behind a letter, which is to be read on it."""
SHOWN: Final = 5
"""Violations that are listed; all are in `.violations`."""


@dataclass(frozen=True, slots=True)
class _Look:
    """How a cell looks: the letter tells what colour may not."""

    letter: str
    colour: str
    words: str


_LOOKS: Final = {
    "COMPLETED": _Look("C", DONE, "completed"),
    "COMPENSATED": _Look("U", COMPENSATION, "undone"),
    "STUCK": _Look("S", RETRY, "stuck, as it may be"),
    "VIOLATION": _Look("!", FAILED, "violation"),
}
_OTHER: Final = _Look("…", NEUTRAL, "not ended")
_NOT_TRIED: Final = "·"


class ExplorationView(PictureView):
    """Where each fault leads at each step: completed, undone, stuck, or what must not be.

    Args:
        exploration: what was found.

    Attributes:
        exploration: the same: its outcomes, violations, counts and matrix are the view's too.

    Example:
        >>> import eslab
        >>> def book(step):
        ...     pass
        >>> trip = eslab.Saga("trip", [eslab.Step("hotel", book, book), eslab.Step("train", book)])
        >>> def make_lab(**options):
        ...     lab = eslab.Lab(**options)
        ...     lab.register(trip)
        ...     return lab
        >>> with eslab.Lab(seed=7) as lab:
        ...     found = lab.explore(trip, make_lab, faults=["fails"], progress=False)
        >>> found
        ExplorationView(trip: 5 runs, 3 COMPENSATED, 1 COMPLETED, 1 STUCK, no violation)
        >>> found.matrix
                            fails
        hotel         COMPENSATED
        train         COMPENSATED
        undo hotel 1  COMPENSATED
        undo hotel          STUCK
    """

    def __init__(self, exploration: Exploration) -> None:
        super().__init__(exploration.df, sql="")
        self.exploration = exploration

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """What became of each combination and seed, in order."""
        return self.exploration.outcomes

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What must not be, each with the least that brings it about."""
        return self.exploration.violations

    @property
    def matrix(self) -> pd.DataFrame:
        """Where each fault alone leads at each place: the status, or VIOLATION."""
        return self.exploration.matrix

    @property
    def counts(self) -> dict[str, int]:
        """How many runs ended where, and how many of them should not have."""
        return self.exploration.counts

    def require(self) -> None:
        """Raise an error that lists the violations, if there are any: for a test.

        Raises:
            AssertionError: there are.
        """
        self.exploration.require()

    @property
    def digest(self) -> str:
        """How many runs there were, where they ended, and how much must not be."""
        return f"ExplorationView({self.exploration.saga.name}: {self._words()})"

    def _words(self) -> str:
        runs = counted(len(self.outcomes), "run")
        ended = [f"{n} {status}" for status, n in self.counts.items() if status.isupper()]
        found = len(self.violations)
        broken = counted(found, "violation") if found else "no violation"
        return ", ".join([runs, *ended, broken])

    def figure(self) -> go.Figure:
        """Return a cell for each fault at each place, with a letter and a colour."""
        return exploration_figure(
            self.matrix,
            title=f"exploration of {self.exploration.saga.name}",
            subtitle=self._words(),
            alarm=bool(self.violations),
        )

    def svg(self) -> str:
        """Return the same cells as SVG."""
        return _picture(
            self.matrix,
            title=f"exploration of {self.exploration.saga.name}",
            subtitle=self._words(),
            alarm=bool(self.violations),
        )

    def html(self) -> str:
        """Return the picture, and below it the violations."""
        if not self.violations:
            return super().html()
        shown = [f"<pre>{escape(repr(one))}</pre>" for one in self.violations[:SHOWN]]
        more = len(self.violations) - len(shown)
        left = [f"<p>and {more:,} more: see .violations</p>"] if more else []
        return "\n".join([super().html(), *shown, *left])


def _look(status: str) -> _Look:
    return _LOOKS.get(status, _OTHER)


def _faded(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{FAINT})"


def _used(matrix: pd.DataFrame) -> list[_Look]:
    found = {_look(status) for status in matrix.to_numpy().ravel() if status}
    return [look for look in (*_LOOKS.values(), _OTHER) if look in found]


def exploration_figure(
    matrix: pd.DataFrame, *, title: str, subtitle: str, alarm: bool
) -> go.Figure:
    """Draw a cell for each fault at each place.

    Args:
        matrix: a row a place, a column a fault: the status, VIOLATION, or nothing.
        title: what was explored.
        subtitle: what was found.
        alarm: whether there is a violation.
    """
    figure = go.Figure()
    height = ROW * max(1, len(matrix))
    figure.update_layout(
        template=TEMPLATE,
        title={
            "text": plain(title),
            "xref": "container",
            "pad": {"l": 12},
            "subtitle": {
                "text": plain(subtitle),
                "font": {"color": FAILED if alarm else NEUTRAL},
            },
        },
        height=150 + height,
        legend={"y": 1 + 28 / height},
        hovermode="closest",
        xaxis={
            "side": "top",
            "tickvals": list(range(len(matrix.columns))),
            "ticktext": [plain(fault) for fault in matrix.columns],
            "range": [-0.5, max(1, len(matrix.columns)) - 0.5],
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={
            "tickvals": list(range(len(matrix))),
            "ticktext": [plain(place) for place in matrix.index],
            "range": [len(matrix) - 0.5, -0.5],
            "showgrid": False,
            "zeroline": False,
        },
        margin={"t": 122, "b": 24},
        barmode="overlay",
    )
    cells = [
        (row, column, place, fault, status)
        for row, (place, statuses) in enumerate(zip(matrix.index, matrix.to_numpy(), strict=True))
        for column, (fault, status) in enumerate(zip(matrix.columns, statuses, strict=True))
    ]
    for look in _used(matrix):
        of_look = [cell for cell in cells if cell[4] and _look(cell[4]) == look]
        figure.add_bar(
            name=f"{look.letter} {look.words}",
            orientation="h",
            base=[column - 0.47 for _, column, *_ in of_look],
            x=[0.94] * len(of_look),
            y=[row for row, *_ in of_look],
            width=0.88,
            marker={
                "color": _faded(look.colour),
                "line": {"color": look.colour, "width": 2},
            },
            customdata=[
                f"{plain(fault)} at {plain(place)}: {status}"
                for _, _, place, fault, status in of_look
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )
    for row, column, _, _, status in cells:
        figure.add_annotation(
            x=column,
            y=row,
            text=_look(status).letter if status else _NOT_TRIED,
            showarrow=False,
            font={"size": 14},
        )
    return figure


def _picture(matrix: pd.DataFrame, *, title: str, subtitle: str, alarm: bool) -> str:
    bottom = TOP + ROW * max(1, len(matrix))
    svg = Svg(WIDTH, bottom + 12, title=title, desc=subtitle)
    svg.text(0, 20, fitted(title, WIDTH, 15), size=15, bold=True)
    svg.text(0, 40, fitted(subtitle, WIDTH), fill=FAILED if alarm else NEUTRAL, bold=alarm)
    x = 0.0
    for look in _used(matrix):
        _cell(svg, look, x + 1, 52, size=(22, 16))
        svg.text(x + 30, 64, look.words)
        x += 30 + text_width(look.words) + 20
    if "" in matrix.to_numpy():
        svg.text(x, 64, f"{_NOT_TRIED} not tried")
    names = max((text_width(str(place)) for place in matrix.index), default=0.0)
    left = min(240.0, max(60.0, names)) + 12
    width = min(float(CELL), (WIDTH - left) / max(1, len(matrix.columns)))
    for column, fault in enumerate(matrix.columns):
        middle = left + width * (column + 0.5)
        svg.text(middle, TOP - 10, fitted(str(fault), width, 11), size=11, anchor="middle")
    for row, (place, statuses) in enumerate(zip(matrix.index, matrix.to_numpy(), strict=True)):
        y = TOP + ROW * row
        svg.text(left - 10, y + ROW / 2 + 4, fitted(str(place), 240), anchor="end")
        for column, status in enumerate(statuses):
            x = left + width * column
            if status:
                _cell(svg, _look(status), x + 2, y + 2, size=(width - 4, ROW - 4))
            else:
                svg.text(x + width / 2, y + ROW / 2 + 4, _NOT_TRIED, anchor="middle")
    return str(svg)


def _cell(svg: Svg, look: _Look, x: float, y: float, *, size: tuple[float, float]) -> None:
    width, height = size
    svg.rect(x, y, width, height, fill=look.colour, opacity=FAINT, stroke=look.colour)
    svg.text(x + width / 2, y + height / 2 + 4.5, look.letter, anchor="middle", bold=True)
