"""The causation tree and the sequence diagram as static pictures: the same bytes every time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from eslab.replay.conversation import Conversation
from eslab.replay.messages import Message
from eslab.replay.tree import TreeRow, tree_of
from eslab.views.flow_layout import Lanes, times_of
from eslab.views.flow_marks import STYLES, Style, note_of, said, style_of
from eslab.views.svg import Svg, fitted, text_width
from eslab.views.theme import FAILED, NEUTRAL, SVG_DASHES

__all__ = ["sequence_picture", "tree_picture"]

WIDTH: Final = 860
TOP: Final = 62
LEGEND_ROW: Final = 20
ROWS: Final = 60
"""Messages that are drawn at most; a picture with all of a long conversation would help nobody."""
TIMES: Final = 84
SEQUENCE_ROW: Final = 34
TREE_ROW: Final = 24
COLUMN: Final = 20
SIZE: Final = 11.5
BOLD: Final = 13.5
"""As which size a bold text counts where it is measured: it is wider."""


def sequence_picture(conversation: Conversation, lanes: Lanes, *, title: str, about: str) -> str:
    """Return the messages between those who take part, in causal order, as SVG."""
    shown = conversation.messages[:ROWS]
    svg, top = _page(conversation, shown, title, about, header=44, row=SEQUENCE_ROW)
    step = (WIDTH - TIMES) / max(1, len(lanes))

    def x(lane: int) -> float:
        return TIMES + step * (lane + 0.5)

    bottom = top + 8 + SEQUENCE_ROW * len(shown)
    for place, lane in enumerate(lanes.lanes):
        svg.text(x(place), top - 20, fitted(lane.name, step - 8, BOLD), anchor="middle", bold=True)
        svg.text(x(place), top - 5, fitted(lane.more, step - 8, SIZE), size=SIZE, anchor="middle")
        svg.line(x(place), top, x(place), bottom, width=0.6)
    times = times_of(conversation)
    for number, message in enumerate(shown):
        y = top + SEQUENCE_ROW * (number + 0.75)
        svg.text(0, y + 4, times[number], size=SIZE)
        source, targets = lanes.ends[message.id]
        _sequence_row(svg, message, y, x(source), [x(target) for target in targets])
    _rest(svg, conversation, shown, bottom)
    return str(svg)


def tree_picture(
    conversation: Conversation, *, title: str, about: str, here: str | None = None
) -> str:
    """Return the causation tree as SVG.

    Args:
        conversation: the messages.
        title: of the picture.
        about: a line below it.
        here: the id of a message that is pointed at.
    """
    tree = tree_of(conversation)
    shown = tree[:ROWS]
    messages = [row.message for row in shown]
    svg, top = _page(conversation, messages, title, about, header=0, row=TREE_ROW)
    _rails(svg, tree, top)
    widest = max((row.column for row in shown), default=0)
    times = times_of(conversation)
    for number, row in enumerate(shown):
        message = row.message
        y = top + TREE_ROW * (number + 0.5)
        _mark(svg, STYLES[style_of(message)], _rail(row.column), y)
        if message.id == here:
            svg.rect(0, y - 11, WIDTH, 22, fill=NEUTRAL, opacity=0.18)
        _tree_text(svg, message, _rail(row.column) + 16, y, 330 + _rail(widest))
        svg.text(WIDTH, y + 4, times[conversation.place(message.id)], size=SIZE, anchor="end")
    _rest(svg, conversation, messages, top + TREE_ROW * len(shown))
    return str(svg)


# What both have.


def _page(
    conversation: Conversation,
    shown: Sequence[Message],
    title: str,
    about: str,
    *,
    header: int,
    row: int,
) -> tuple[Svg, float]:
    """Return a page with its title and legend, and where the first row begins."""
    styles = [style for name, style in STYLES.items() if name in set(map(style_of, shown))]
    places = _legend_places(styles)
    top = TOP + LEGEND_ROW * (places[-1][1] + 1 if places else 0) + header
    more = 26 if len(shown) < len(conversation) else 0
    svg = Svg(WIDTH, top + row * len(shown) + 14 + more, title=title, desc=about)
    svg.text(0, 20, fitted(title, WIDTH, 15), size=15, bold=True)
    svg.text(0, 40, fitted(about, WIDTH))
    for style, (x, line) in zip(styles, places, strict=True):
        y = 61 + LEGEND_ROW * line
        svg.line(x, y, x + 30, y, stroke=style.colour, width=1.5, dash=SVG_DASHES[style.dash])
        _mark(svg, style, x + 15, y)
        svg.text(x + 38, y + 4, style.words)
    return svg, top


def _legend_places(styles: Sequence[Style]) -> list[tuple[float, int]]:
    places, x, line = [], 0.0, 0
    for style in styles:
        width = 38 + text_width(style.words) + 18
        if x and x + width - 18 > WIDTH:
            x, line = 0.0, line + 1
        places.append((x, line))
        x += width
    return places


def _rest(svg: Svg, conversation: Conversation, shown: Sequence[Message], y: float) -> None:
    if len(shown) < len(conversation):
        more = len(conversation) - len(shown)
        svg.text(0, y + 22, f"… and {more:,} more messages")


def _mark(svg: Svg, style: Style, x: float, y: float, *, way: int = 1) -> None:
    """Draw a mark; where it is an arrow's beginning, it points that way: 1 right, -1 left."""
    colour = style.colour
    match style.shape:
        case "triangle":
            _shape(
                svg, x, y, (-5 * way, -6), (7 * way, 0), (-5 * way, 6), stroke=colour, fill=colour
            )
        case "hollow":
            _shape(svg, x, y, (-5 * way, -6), (7 * way, 0), (-5 * way, 6), stroke=colour)
        case "circle":
            svg.circle(x, y, 5, fill=colour)
        case "ring":
            svg.circle(x, y, 4, fill="none", stroke=colour)
        case "cross":
            svg.cross(x, y, 5, stroke=colour)
        case "flag":
            svg.line(x - 4, y + 7, x - 4, y - 7, width=1.5)
            _shape(svg, x - 4, y, (0, -7), (10, -3), (0, 1), stroke=NEUTRAL, fill=colour)
        case "clock":
            svg.circle(x, y, 5.5, fill="none", stroke=colour)
            svg.path(f"M{svg.number(x)},{svg.number(y - 4)}v4h3", stroke=colour)
        case "diamond":
            _shape(svg, x, y, (0, -6), (6, 0), (0, 6), (-6, 0), stroke=colour, fill=colour)
        case "ask":
            svg.text(x, y + 5, "?", size=14, anchor="middle", fill=colour, bold=True)


def _shape(
    svg: Svg, x: float, y: float, *points: tuple[float, float], stroke: str, fill: str = "none"
) -> None:
    corners = "L".join(f"{svg.number(x + dx)},{svg.number(y + dy)}" for dx, dy in points)
    svg.path(f"M{corners}Z", stroke=stroke, fill=fill)


# The sequence diagram.


def _sequence_row(
    svg: Svg, message: Message, y: float, source: float, targets: Sequence[float]
) -> None:
    style = STYLES[style_of(message)]
    for target in targets:
        if target != source:
            _arrow(svg, style, source, target, y)
    far = max([*targets, source], key=lambda one: abs(one - source))
    _mark(svg, style, source, y, way=-1 if far < source else 1)
    text, note = said(message), note_of(message)
    width = text_width(text, SIZE) + (text_width(note, BOLD) + 10 if note else 0)
    # Its name stands above the arrow; without one beside the mark, at the side that has room.
    left, dy = (min(source, far) + 10, -7.0) if far != source else (source + 12, 4.0)
    room = WIDTH - left
    if width > room and far != source:
        left = max(TIMES, WIDTH - width)
        room = WIDTH - left
    elif width > room and source - 10 - TIMES > room:
        left = max(TIMES, source - 10 - width)
        room = source - 10 - left
    text = fitted(text, room, SIZE)
    svg.text(left, y + dy, text, size=SIZE, fill=FAILED if message.failed else NEUTRAL)
    if note:
        after = left + text_width(text, SIZE) + 10
        svg.text(after, y + dy, note, size=SIZE, fill=FAILED, bold=True)


def _arrow(svg: Svg, style: Style, source: float, target: float, y: float) -> None:
    way = 1 if target > source else -1
    end = target - way * 2
    svg.line(source, y, end, y, stroke=style.colour, width=1.5, dash=SVG_DASHES[style.dash])
    number = svg.number
    head = f"M{number(end - way * 8)},{number(y - 4)}L{number(end)},{number(y)}"
    closed = "Z" if style.dash == "solid" else ""
    svg.path(
        f"{head}L{number(end - way * 8)},{number(y + 4)}{closed}",
        stroke=style.colour,
        fill=style.colour if closed else "none",
    )


# The tree.


def _rail(column: int) -> float:
    return 10 + COLUMN * column


def _rails(svg: Svg, tree: Sequence[TreeRow], top: float) -> None:
    """Draw from each message to its effects, behind the marks."""
    last: list[int] = []  # the row of the last message of each column
    for number, row in enumerate(tree):
        y = top + TREE_ROW * (number + 0.5)
        dash = SVG_DASHES[STYLES[style_of(row.message)].dash]
        if row.message.cause is not None:
            column = row.column - row.begins
            above = top + TREE_ROW * (last[column] + 0.5) + 8
            below = min(y - 8, top + TREE_ROW * min(len(tree), ROWS))
            if above < below and not row.begins:
                svg.line(_rail(column), above, _rail(column), below, width=1.5, dash=dash)
            if row.begins and number < ROWS:
                x = _rail(column)
                svg.line(x, y, _rail(row.column) - 8, y, width=1.5, dash=dash)
        del last[row.column :]
        last.append(number)


def _tree_text(svg: Svg, message: Message, x: float, y: float, where: float) -> None:
    text, note = said(message), note_of(message)
    place = ""
    if message.kind in ("event", "saga", "timer") and message.event is not None:
        place = f"{message.event.stream_id} v{message.event.version}"
    elif message.kind in ("command", "call") and message.targets:
        place = f"to {', '.join(message.targets)}"
    room = (where if place else WIDTH - 90) - x - 8
    bold = message.kind in ("command", "call", "event")
    text = fitted(text, room, BOLD if bold else 12)
    svg.text(x, y + 4, text, fill=FAILED if message.failed else NEUTRAL, bold=bold)
    if place:
        svg.text(where, y + 4, fitted(place, WIDTH - 90 - where, SIZE), size=SIZE)
    if note:
        after = where + (text_width(place, SIZE) + 12 if place else 0)
        svg.text(after, y + 4, fitted(note, WIDTH - 80 - after, SIZE), size=SIZE, fill=FAILED)
