"""Very many sagas at once: a small mark for each step of each, and where they failed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import pandas as pd
import plotly.graph_objects as go

from eslab.errors import InputError
from eslab.views.base import PictureView, plain, records, with_values
from eslab.views.fleet_log import FLEET_SQL
from eslab.views.fleet_picture import STATUSES, Glyph, fleet_picture
from eslab.views.saga_log import SagaStore
from eslab.views.theme import NEUTRAL, TEMPLATE
from eslab.words import counted

__all__ = ["FleetView"]

NOTHING: Final = "nothing failed"
ON_PAGE: Final = 50_000
"""Sagas that a page is given, at most; the matrix counts all."""


class _Kind(NamedTuple):
    """What many sagas have in common, and how many they are."""

    saga: str
    status: str
    failed_step: str
    cells: str
    steps: str
    number: int

    def failing(self, several: bool) -> str:
        """Return where they failed, as the columns of the matrix say it."""
        if not self.failed_step:
            return NOTHING
        return f"{self.saga}: {self.failed_step}" if several else self.failed_step


class FleetView(PictureView):
    """Very many sagas: what became of each step of each, and where they failed.

    The frame has a row a saga, in the order in which they were started: saga, saga_id, status,
    failed_step (the first one that failed for good, or nothing), cells (a letter a step, see
    `eslab.views.saga_cells.CELLS`), steps (their names, as JSON), started_at and last_at. Of a
    process manager the steps are its commands.

    Args:
        store: the log.
        saga: only sagas of this name.
        status: only those that stand there.
        failed_step: only those of which this step failed; ``""``: only those of which none did.
        timeline: gives the timeline of a saga, by ``"<name>-<id>"``.
        widget: makes the live widget of a fleet.

    Raises:
        InputError: there is no such status.

    Example:
        >>> import eslab
        >>> def full(step):
        ...     raise eslab.DomainError("the train is full")
        >>> trip = eslab.Saga("trip", [eslab.Step("train", full)])
        >>> with eslab.Lab(seed=7) as lab:
        ...     for number in range(3):
        ...         lab.start_saga(trip, f"{number}")
        ...     lab.run()
        ...     fleet = lab.fleet()
        >>> fleet
        FleetView(3 sagas: 3 COMPENSATED; failed: 3 train)
        >>> fleet.matrix
                     train
        COMPENSATED      3
    """

    def __init__(
        self,
        store: SagaStore,
        *,
        saga: str | None = None,
        status: str | None = None,
        failed_step: str | None = None,
        timeline: Callable[[str], Any] | None = None,
        widget: Callable[[FleetView], Any] | None = None,
    ) -> None:
        if status is not None and status not in STATUSES:
            raise InputError(f"a saga is one of {', '.join(STATUSES)}, not {status!r:.200}")
        self._store = store
        self._head = 0
        wanted = {"saga": saga, "status": status, "failed_step": failed_step}
        self._wanted = {name: value for name, value in wanted.items() if value is not None}
        self.timeline = timeline
        self._of: pd.DataFrame | None = None
        self._found: list[_Kind] = []
        super().__init__(self._read(), sql=self._query(), widget=widget)

    def _query(self) -> str:
        conditions = " and ".join(f"{name} = ${name}" for name in self._wanted)
        if not conditions:
            return FLEET_SQL.strip()
        return with_values(f"from ({FLEET_SQL.strip()})\nwhere {conditions}", self._wanted)

    def _read(self) -> pd.DataFrame:
        self._head = self._store.head()
        df = self._store.sql(FLEET_SQL).df()
        for name, value in self._wanted.items():
            df = df[df[name] == value]
        return df.reset_index(drop=True)

    def refresh(self) -> None:
        """Look at all sagas again."""
        self.df = self._read()

    @property
    def is_old(self) -> bool:
        """Whether something was appended to the log since it was looked at."""
        return self._store.head() > self._head

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after every append to the log, on the thread that appended.

        Returns:
            A function that ends it.
        """
        return self._store.listen(callback)

    @property
    def _kinds(self) -> list[_Kind]:
        """What many sagas have in common, in the order in which it is first found."""
        if self._of is not self.df:
            self._found = _kinds_of(_grouped(self.df))
            self._of = self.df
        return self._found

    @property
    def counts(self) -> dict[str, int]:
        """How many sagas there are of each status, the most urgent first."""
        found: Counter[str] = Counter()
        for kind in self._kinds:
            found[kind.status] += kind.number
        return {status: found[status] for status in STATUSES if found[status]}

    @property
    def matrix(self) -> pd.DataFrame:
        """How many sagas of each status failed at each step; the steps are in their order.

        If there are several kinds of sagas, a step has the name of its own before it.
        """
        found: Counter[tuple[str, str]] = Counter()
        several = self._several
        for kind in self._kinds:
            found[kind.status, kind.failing(several)] += kind.number
        used = {failing for _, failing in found}
        columns = [name for name in (*self._places(), NOTHING) if name in used]
        rows = [[found[status, name] for name in columns] for status in self.counts]
        return pd.DataFrame(rows, index=list(self.counts), columns=columns)

    @property
    def _several(self) -> bool:
        return len({kind.saga for kind in self._kinds}) > 1

    def _places(self) -> list[str]:
        """Return all steps, saga by saga, in their order, as the columns of the matrix say them."""
        several = self._several
        names = (
            f"{kind.saga}: {step}" if several else step
            for kind in self._kinds
            for step in _names(kind.steps)
        )
        return list(dict.fromkeys(names))

    @property
    def digest(self) -> str:
        """How many sagas there are, where they stand, and where they failed."""
        return f"FleetView({self._words()})"

    def _words(self) -> str:
        stand = ", ".join(f"{count:,} {status}" for status, count in self.counts.items())
        failed: Counter[str] = Counter()
        several = self._several
        for kind in self._kinds:
            failed[kind.failing(several)] += kind.number
        del failed[NOTHING]
        most = ", ".join(f"{count:,} {name}" for name, count in failed.most_common(3))
        more = ", …" if len(failed) > 3 else ""
        return (
            f"{counted(len(self.df), 'saga')}{': ' * bool(stand)}{stand}"
            f"{'; failed: ' * bool(most)}{most}{more}"
        )

    @property
    def urgent(self) -> pd.DataFrame:
        """The frame in the order in which it is drawn: the most urgent sagas first."""
        rank = self.df["status"].map(list(STATUSES).index)
        order = self.df.assign(rank=rank).sort_values(["rank", "failed_step"], kind="stable")
        return order.drop(columns="rank")

    def glyphs(self, *, limit: int) -> list[Glyph]:
        """Return some sagas of each cell of the matrix, as they are drawn; of small ones all.

        Args:
            limit: how many, at most.
        """
        several = self._several
        groups = self.urgent.groupby(["status", "failed_step"], sort=False)
        shares = _shares([len(group) for _, group in groups], limit)
        some = [group.head(share) for (_, group), share in zip(groups, shares, strict=True)]
        return [
            Glyph(
                f"{row.saga}-{row.saga_id}" if several else row.saga_id,
                row.status,
                row.cells,
                _place(row.steps, row.failed_step),
            )
            for group in some
            for row in records(group)
        ]

    @property
    def page(self) -> dict[str, Any]:
        """All that the widget draws, as JSON values; what many have in common is said once."""
        df = self.urgent.head(ON_PAGE)
        # The same kinds as of the frame, numbered in the order in which they are drawn.
        groups = _grouped(df)
        matrix = self.matrix
        several = self._several
        return {
            "count": len(self.df),
            "several": several,
            "kinds": [
                {
                    "saga": kind.saga,
                    "status": kind.status,
                    "failed": kind.failing(several),
                    "cells": kind.cells,
                    "steps": list(_names(kind.steps)),
                    "place": _place(kind.steps, kind.failed_step),
                }
                for kind in _kinds_of(groups)
            ],
            "ids": list(df["saga_id"]),
            "of": groups.ngroup().tolist(),
            "statuses": [[status, STATUSES[status]] for status in matrix.index],
            "columns": list(matrix.columns),
            "matrix": matrix.to_numpy().tolist(),
        }

    def svg(self) -> str:
        """Return the matrix, and below it the marks of some sagas of each of its cells."""
        return fleet_picture(self.matrix, self.glyphs, title="Sagas", subtitle=self._words())

    def figure(self) -> go.Figure:
        """Return how many sagas of each status failed at each step."""
        matrix = self.matrix
        figure = go.Figure()
        figure.update_layout(
            template=TEMPLATE,
            title={"text": "Sagas", "subtitle": {"text": plain(self._words())}},
            height=150 + 44 * max(1, len(matrix)),
            margin={"t": 104, "b": 24},
            showlegend=False,
            barmode="overlay",
            xaxis={
                "side": "top",
                "tickvals": list(range(len(matrix.columns))),
                "ticktext": [plain(step) for step in matrix.columns],
                "range": [-0.5, max(1, len(matrix.columns)) - 0.5],
                "showgrid": False,
                "zeroline": False,
            },
            yaxis={"autorange": "reversed", "showgrid": False, "zeroline": False},
        )
        for status, counts in zip(matrix.index, matrix.to_numpy().tolist(), strict=True):
            places = [place for place, count in enumerate(counts) if count]
            figure.add_bar(
                name=status,
                orientation="h",
                base=[place - 0.46 for place in places],
                x=[0.92] * len(places),
                y=[status] * len(places),
                width=0.86,
                marker={
                    "color": STATUSES[status],
                    "opacity": 0.2,
                    "line": {"color": STATUSES[status], "width": 2},
                },
                customdata=[
                    f"{counts[place]:,} {status}: {plain(matrix.columns[place])}"
                    for place in places
                ],
                hovertemplate="%{customdata}<extra></extra>",
            )
            for place in places:
                figure.add_annotation(
                    x=place,
                    y=status,
                    text=f"{counts[place]:,}",
                    showarrow=False,
                    font={"size": 13, "color": NEUTRAL},
                )
        return figure


def _grouped(df: pd.DataFrame) -> Any:
    return df.groupby(list(_Kind._fields[:-1]), sort=False)


def _kinds_of(groups: Any) -> list[_Kind]:
    return [_Kind._make((*kind, int(number))) for kind, number in groups.size().items()]


@cache
def _names(steps: str) -> tuple[str, ...]:
    return tuple(json.loads(steps or "[]"))


def _shares(sizes: Sequence[int], limit: int) -> list[int]:
    """Share places out fairly: what small groups leave is for the large ones.

    Example:
        >>> _shares([300, 2, 40], 100)
        [58, 2, 40]
    """
    shares = [0] * len(sizes)
    ascending = sorted(range(len(sizes)), key=sizes.__getitem__)
    for done, place in enumerate(ascending):
        shares[place] = min(sizes[place], limit // (len(sizes) - done))
        limit -= shares[place]
    return shares


def _place(steps: str, step: str) -> int | None:
    """Return which one a step is; None: it is none."""
    names = _names(steps)
    return names.index(step) if step in names else None
