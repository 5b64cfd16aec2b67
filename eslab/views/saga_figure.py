"""The saga timeline as a plotly figure."""

from __future__ import annotations

from typing import Any, Final

import plotly.graph_objects as go

from eslab.views.base import plain
from eslab.views.saga_marks import BREAK, NOTE_WORDS, Bar, Drawing, Spot
from eslab.views.saga_notes import NoteKind
from eslab.views.svg import fitted
from eslab.views.theme import (
    COMPENSATION,
    DONE,
    FAILED,
    GRID,
    NEUTRAL,
    OK,
    RETRY,
    TEMPLATE,
    top_margin,
)

__all__ = ["timeline_figure"]

ROW_HEIGHT: Final = 64
WIDTH: Final = 860
LETTERS: Final = 90
"""How many letters fill the axis, about: plotly does not say how wide it is."""
LEVELS: Final = (0.31, -0.29, -0.47)
"""How far texts are below the middle of their row, in rows, by their level."""
FLAG: Final = 0.34
"""How high above its row a flag flies, in rows."""
ASIDE: Final = 0.018
"""How far beside its moment an alarm stands, as a part of the axis."""

_SYMBOLS: Final[dict[NoteKind, tuple[str, str, int]]] = {
    "received": ("circle", OK, 10),
    "parked": ("circle-open", OK, 10),
    "not handled": ("x", FAILED, 11),
    "set": ("diamond-open", NEUTRAL, 11),
    "fired": ("diamond", RETRY, 12),
    "cancelled": ("x-thin-open", NEUTRAL, 9),
    "timeout": ("triangle-right", RETRY, 12),
    "late": ("square-open", OK, 12),
    "resumed": ("triangle-right", DONE, 12),
    "wrong": ("triangle-up", FAILED, 14),
}


def timeline_figure(drawn: Drawing, *, title: str, subtitle: str, alarm: bool) -> go.Figure:
    """Return a timeline as a figure.

    Args:
        drawn: its marks.
        title: the saga and its status.
        subtitle: what it did and undid.
        alarm: whether the subtitle tells of something that should not be.
    """
    figure = go.Figure()
    header = 0.35 if drawn.folds else 0.0
    words = [*(style.words for style in drawn.styles()), *(NOTE_WORDS[m] for m in drawn.notes())]
    margin = top_margin(words)
    rows = round(ROW_HEIGHT * (max(1, len(drawn.rows)) + header))
    figure.update_layout(
        template=TEMPLATE,
        title={
            "text": plain(title),
            # From the very left: there may be much to say.
            "xref": "container",
            "pad": {"l": 12},
            "subtitle": {
                "text": plain(fitted(subtitle, WIDTH)),
                "font": {"color": FAILED if alarm else NEUTRAL},
            },
        },
        legend={"y": 1 + 8 / rows},
        barmode="overlay",
        height=58 + margin + rows,
        margin={"t": margin},
        hovermode="closest",
        xaxis={
            "title": {"text": drawn.axis},
            "range": [0, drawn.span * (1.04 if "wrong" in drawn.notes() else 1.02)],
            "showticklabels": bool(drawn.bars or drawn.spots),
        },
        yaxis={
            "tickvals": list(range(len(drawn.rows))),
            "ticktext": [
                plain(step) + ("<br>(pivot)" if row == drawn.pivot else "")
                for row, step in enumerate(drawn.rows)
            ],
            "range": [len(drawn.rows) - 0.4, -0.6 - header],
            "showgrid": False,
            "zeroline": False,
            "ticklabelstandoff": 10,
        },
    )
    if drawn.folds:
        ticks = {"tickvals": [x for x, _ in drawn.ticks], "ticktext": [t for _, t in drawn.ticks]}
        figure.update_xaxes(**ticks)
    _add_folds(figure, drawn)
    _add_lines(figure, drawn)
    _add_bars(figure, drawn)
    _add_arcs(figure, drawn)
    _add_failures(figure, drawn)
    _add_spots(figure, drawn)
    _add_labels(figure, drawn)
    return figure


def _add_folds(figure: go.Figure, drawn: Drawing) -> None:
    for fold in drawn.folds:
        figure.add_shape(
            type="rect",
            x0=fold.start,
            x1=fold.end,
            y0=len(drawn.rows) - 0.4,
            y1=-0.6,
            fillcolor=GRID,
            line={"width": 0},
            layer="below",
        )
        figure.add_annotation(
            x=(fold.start + fold.end) / 2,
            y=len(drawn.rows) - 0.4,
            text=BREAK,
            showarrow=False,
            font={"size": 16},
        )
        figure.add_annotation(
            x=(fold.start + fold.end) / 2,
            y=-0.76,
            text=fold.text,
            showarrow=False,
            font={"size": 11},
        )


def _add_lines(figure: go.Figure, drawn: Drawing) -> None:
    """Add the waits, and the double rule behind which there is no way back."""
    for wait in drawn.waits:
        figure.add_shape(
            type="line",
            x0=wait.start,
            x1=wait.end,
            y0=wait.row,
            y1=wait.row,
            line={"color": NEUTRAL, "width": 2, "dash": "dot"},
        )
    if drawn.pivot is not None:
        for y in (drawn.pivot + 0.52, drawn.pivot + 0.58):
            line = {"color": NEUTRAL, "width": 1}
            figure.add_shape(type="line", x0=0, x1=1, xref="paper", y0=y, y1=y, line=line)


def _add_bars(figure: go.Figure, drawn: Drawing) -> None:
    for style in drawn.styles():
        pieces = [
            (bar, start, end)
            for bar in drawn.bars
            if bar.style == style
            for start, end in bar.pieces
        ]
        figure.add_bar(
            name=style.words,
            orientation="h",
            base=[start for _, start, _ in pieces],
            x=[round(end - start, 6) for _, start, end in pieces],
            y=[bar.row for bar, _, _ in pieces],
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
            customdata=[_hover(drawn, bar) for bar, _, _ in pieces],
            hovertemplate="%{customdata}<extra></extra>",
        )


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


def _add_failures(figure: go.Figure, drawn: Drawing) -> None:
    failures = [bar for bar in drawn.bars if bar.error is not None]
    if failures:
        figure.add_scatter(
            x=[bar.end for bar in failures],
            y=[bar.row for bar in failures],
            mode="markers",
            marker={"symbol": "x", "size": 12, "color": FAILED},
            cliponaxis=False,
            showlegend=False,
            customdata=[_hover(drawn, bar) for bar in failures],
            hovertemplate="%{customdata}<extra></extra>",
        )


def _add_spots(figure: go.Figure, drawn: Drawing) -> None:
    for mark in drawn.notes():
        symbol, colour, size = _SYMBOLS[mark]
        spots = [spot for spot in drawn.spots if spot.mark == mark]
        aside = ASIDE * drawn.span if mark == "wrong" else 0.0
        above = FLAG if mark == "timeout" else 0.0
        marker: dict[str, Any] = {"symbol": symbol, "color": colour, "size": size}
        marker["line"] = {"color": NEUTRAL if colour == RETRY else colour, "width": 1.5}
        figure.add_scatter(
            name=NOTE_WORDS[mark],
            x=[round(spot.x + aside, 6) for spot in spots],
            y=[round(spot.row - above, 6) for spot in spots],
            mode="markers",
            marker=marker,
            cliponaxis=False,
            customdata=[_said(spot) for spot in spots],
            hovertemplate="%{customdata}<extra></extra>",
        )
        for spot in spots if mark == "timeout" else ():
            figure.add_shape(
                type="line",
                x0=spot.x,
                x1=spot.x,
                y0=spot.row + 0.2,
                y1=spot.row - FLAG - 0.1,
                line={"color": NEUTRAL, "width": 1.5},
            )


def _said(spot: Spot) -> str:
    lines = [f"{NOTE_WORDS[spot.mark]}: {spot.text}", spot.detail]
    return "<br>".join(plain(line) for line in lines if line)


def _add_labels(figure: go.Figure, drawn: Drawing) -> None:
    for label in (*drawn.labels(letters=LETTERS), *drawn.attempts(letters=LETTERS)):
        figure.add_annotation(
            x=label.x,
            y=round(label.row + LEVELS[label.level], 6),
            text=plain(label.text),
            xanchor=label.anchor,
            align="left",
            showarrow=False,
            font={"size": 11},
        )


def _hover(drawn: Drawing, bar: Bar) -> str:
    count = sum(other.order == bar.order for other in drawn.bars)
    lines = [
        f"{bar.order}. {bar.step}: {bar.style.words}",
        f"attempt {bar.attempt}{f' of {count}' if count > 1 else ''}, {bar.took}",
        bar.error or "",
    ]
    return "<br>".join(plain(line) for line in lines if line)
