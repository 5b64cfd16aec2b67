"""The message flow as plotly figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import plotly.graph_objects as go

from eslab.replay.conversation import Conversation
from eslab.replay.messages import Message
from eslab.replay.tree import tree_of
from eslab.views.base import plain
from eslab.views.flow_layout import Lanes, times_of
from eslab.views.flow_marks import STYLES, Shape, note_of, said, style_of
from eslab.views.scales import moment_text
from eslab.views.svg import fitted
from eslab.views.theme import FAILED, NEUTRAL, TEMPLATE, top_margin

__all__ = ["sequence_figure", "tree_figure"]

ROW: Final = 26
TALLEST: Final = 1_600
TEXTS: Final = 80
"""Above this many messages their names are only shown on hover."""
LETTERS: Final = 60
HEADER: Final = 44
"""The height of the names of those who take part."""
WIDTH: Final = 860

_SYMBOLS: Final[dict[Shape, str]] = {
    "triangle": "triangle-right",
    "hollow": "triangle-right-open",
    "circle": "circle",
    "ring": "circle-open",
    "cross": "x",
    "flag": "triangle-up",
    "clock": "circle-dot",
    "diamond": "diamond",
    "ask": "star-open",
}

_Point = tuple[float, float]


def sequence_figure(
    conversation: Conversation, lanes: Lanes, *, title: str, about: str
) -> go.Figure:
    """Draw the messages between those who take part, in causal order from top to bottom."""
    messages = conversation.messages
    figure = _figure(messages, title, about, header=HEADER)
    names = [f"{plain(lane.name)}<br>{plain(lane.more)}" for lane in lanes.lanes]
    figure.update_xaxes(
        side="top",
        tickvals=list(range(len(names))),
        ticktext=names,
        range=[-0.5, max(1, len(names)) - 0.3],
        showgrid=True,
    )
    ends = [lanes.ends[message.id] for message in messages]
    points = [(source, row) for row, (source, _) in enumerate(ends)]
    lines = [
        [((source, row), (target, row)) for target in targets if target != source]
        for row, (source, targets) in enumerate(ends)
    ]
    _draw(figure, conversation, messages, points, lines)
    _write(
        figure,
        messages,
        [
            (min(source, *targets), row) if targets else (source, row)
            for row, (source, targets) in enumerate(ends)
        ],
    )
    return figure


def tree_figure(conversation: Conversation, *, title: str, about: str) -> go.Figure:
    """Draw the causation tree, causes above their effects."""
    tree = tree_of(conversation)
    messages = [row.message for row in tree]
    figure = _figure(messages, title, about, header=0)
    widest = max((row.column for row in tree), default=0)
    figure.update_xaxes(visible=False, range=[-0.5, max(8.0, widest * 2.5)])
    points: dict[str, _Point] = {
        row.message.id: (row.column, number) for number, row in enumerate(tree)
    }
    lines = [[] if one.cause is None else [(points[one.cause], points[one.id])] for one in messages]
    _draw(figure, conversation, messages, list(points.values()), lines)
    _write(figure, messages, list(points.values()))
    return figure


def _figure(messages: Sequence[Message], title: str, about: str, *, header: int) -> go.Figure:
    used, rows = set(map(style_of, messages)), len(messages)
    words = [style.words for name, style in STYLES.items() if name in used]
    margin = top_margin(words) + 10 * (len(words) > 5) + header
    height = min(TALLEST, max(120, ROW * rows))
    figure = go.Figure()
    figure.update_layout(
        template=TEMPLATE,
        title={
            "text": plain(title),
            "xref": "container",
            "pad": {"l": 12},
            "subtitle": {"text": plain(fitted(about, WIDTH))},
        },
        legend={"y": 1 + (header + 4) / height},
        height=height + margin + 30,
        margin={"t": margin, "b": 30, "l": 20},
        hovermode="closest",
        yaxis={"range": [rows - 0.4, -0.8], "visible": False},
    )
    return figure


def _draw(
    figure: go.Figure,
    conversation: Conversation,
    messages: Sequence[Message],
    points: Sequence[_Point],
    lines: Sequence[Sequence[tuple[_Point, _Point]]],
) -> None:
    """Draw a trace of lines and one of marks for each style that is used."""
    times = times_of(conversation)
    for name, style in STYLES.items():
        places = [place for place, one in enumerate(messages) if style_of(one) == name]
        if not places:
            continue
        drawn = [line for place in places for line in lines[place]]
        figure.add_scatter(
            x=[value for start, end in drawn for value in (start[0], end[0], None)],
            y=[value for start, end in drawn for value in (start[1], end[1], None)],
            mode="lines+markers",
            line={"color": style.colour, "width": 1.5, "dash": style.dash},
            marker={"symbol": "arrow", "angleref": "previous", "size": 9},
            hoverinfo="skip",
            showlegend=False,
            legendgroup=name,
        )
        shown = [messages[place] for place in places]
        figure.add_scatter(
            name=style.words,
            x=[points[place][0] for place in places],
            y=[points[place][1] for place in places],
            mode="markers",
            customdata=[
                _hover(one, times[conversation.place(one.id)], conversation) for one in shown
            ],
            hovertemplate="%{customdata}<extra></extra>",
            marker={"symbol": _SYMBOLS[style.shape], "size": 11, "color": style.colour},
            legendgroup=name,
        )


def _write(figure: go.Figure, messages: Sequence[Message], points: Sequence[_Point]) -> None:
    """Write the name of each message at a place, unless there are too many."""
    if len(messages) > TEXTS:
        return
    figure.add_scatter(
        x=[x for x, _ in points],
        y=[y - 0.1 for _, y in points],
        mode="text",
        # Clear of the mark: an en space is as wide as half a letter M.
        text=[f"\u2002{plain(fitted(said(one), 7 * LETTERS))}" for one in messages],
        textposition="top right",
        textfont={"size": 11, "color": [FAILED if one.failed else NEUTRAL for one in messages]},
        hoverinfo="skip",
        showlegend=False,
    )


def _hover(message: Message, time: str, conversation: Conversation) -> str:
    lines = [said(message), note_of(message)]
    if message.event is not None:
        event = message.event
        lines.append(
            f"recorded as {event.type} {event.stream_id} v{event.version} @{event.position}"
        )
        lines.append(f"{moment_text(event.occurred_at)} ({time})")
    cause = conversation[message.cause] if message.cause is not None else None
    lines.append("" if cause is None else f"caused by {said(cause)}")
    return "<br>".join(plain(line) for line in lines if line)
