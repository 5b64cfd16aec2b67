"""A branch: what became of the events behind an edit, and what differs from the base."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import plotly.graph_objects as go

from eslab.replay import (
    Consequence,
    Consequences,
    Difference,
    Differences,
    StreamConsequence,
    Tally,
)
from eslab.replay.compare import STREAMS_SQL, Kind
from eslab.replay.consequences import BECAME, Became
from eslab.views.base import PictureView, html_table, plain, with_values
from eslab.views.svg import Svg, fitted, text_width
from eslab.views.theme import (
    COMPENSATION,
    DONE,
    FAILED,
    GRID,
    NEUTRAL,
    OK,
    RETRY,
    TEMPLATE,
)
from eslab.words import counted

__all__ = [
    "ComparisonView",
    "ConsequencesView",
    "comparison_figure",
    "consequences_figure",
]

WIDTH: Final = 860
CELL: Final = 34
FAINT: Final = 0.18
"""How much colour is behind a letter, which is to be read on it."""
SHOWN_STREAMS: Final = 6
SHOWN_CELLS: Final = 20
SHOWN_ROWS: Final = 30
"""Rows of a table; the frame has all."""
LONGEST: Final = 40
"""Characters of a value in a table."""

_EVENTS_SQL: Final = """
select stream_id, type, position, version, data from events
where position > $start order by position
"""


@dataclass(frozen=True, slots=True)
class _Look:
    """How something is drawn: the letter and the symbol tell what colour may not."""

    letter: str
    colour: str
    symbol: str = ""


_LOOKS: Final[dict[Became, _Look]] = {
    "same": _Look("", NEUTRAL, "circle-open"),
    "renumbered": _Look("R", OK, "circle"),
    "edited": _Look("E", RETRY, "diamond"),
    "inserted": _Look("I", DONE, "triangle-up"),
    "moved": _Look("M", COMPENSATION, "square"),
    "skipped": _Look("S", NEUTRAL, "x-thin-open"),
    "cannot be applied": _Look("!", FAILED, "x"),
}


class ConsequencesView(PictureView):
    """What became of the events behind the first edit of a branch, stream by stream.

    The frame has a row for each event of the streams that were edited, in the order of the branch;
    see `eslab.replay.Consequence` for its columns. The query gives these events on the branch; what
    becomes of them is found by the handlers of their aggregates.

    Args:
        found: what was found.

    Attributes:
        found: the same; what cannot be applied is ``.broken``, how states differ ``.streams``.

    Example:
        >>> import eslab
        >>> class Counted(eslab.Event):
        ...     n: int
        >>> with eslab.Lab(seed=7) as lab:
        ...     _ = lab.append("count-1", [Counted(n=n) for n in (1, 2, 3)])
        ...     lab.branch(eslab.Skip(1), eslab.Edit(3, {"n": 30})).consequences
        ConsequencesView(2 edits: 1 renumbered, 1 edited, 1 skipped)
    """

    def __init__(self, found: Consequences) -> None:
        super().__init__(found.df, sql=with_values(_EVENTS_SQL, {"start": found.plan.start}))
        self.found = found

    @property
    def broken(self) -> tuple[Consequence, ...]:
        """The events that the base applies, and the branch cannot."""
        return self.found.broken

    @property
    def streams(self) -> tuple[StreamConsequence, ...]:
        """The streams that were edited, and how their last states differ."""
        return self.found.streams

    @property
    def digest(self) -> str:
        """How many edits there are, and what became of how many events."""
        return f"ConsequencesView({self._words()})"

    def _words(self) -> str:
        edits = counted(len(self.found.plan.edits), "edit")
        told = [f"{count:,} {became}" for became, count in self.found.counts.items()]
        noted = sum(one.note is not None for one in self.found.events)
        if noted:
            told.append(f"{noted:,} lost what {'it refers' if noted == 1 else 'they refer'} to")
        return f"{edits}: {', '.join(told) or 'no consequence'}"

    def figure(self) -> go.Figure:
        """Return each stream as it was and as it is, with a line from each event to itself."""
        return consequences_figure(self.found, subtitle=self._words())

    def svg(self) -> str:
        """Return the same as SVG: of each stream the first events that differ."""
        return _consequences_picture(self.found, self._words())

    def html(self) -> str:
        """Return the picture, then how states differ, and what cannot be applied."""
        states = [
            (one.stream_id, f"{one.base_version:,}", f"{one.version:,}", _changed(one))
            for one in self.streams[:SHOWN_ROWS]
        ]
        told = [one for one in self.found.events if one.error or one.note]
        events = [
            (one.stream_id, one.type, _number(one.position), one.became, _why(one))
            for one in told[:SHOWN_ROWS]
        ]
        parts = [super().html()]
        if states:
            columns = ["stream", "base", "branch", "how its state differs"]
            parts.append(html_table(columns, states, numbers=("base", "branch")))
        if events:
            columns = ["stream", "type", "position", "became", "why"]
            parts.append(html_table(columns, events, numbers=("position",)))
        left = len(self.streams) - len(states), len(told) - len(events)
        return "\n".join([*parts, *_more(*left)])


def _changed(stream: StreamConsequence) -> str:
    if not stream.folded:
        return "no aggregate is known that folds it"
    return "\n".join(map(str, stream.changes)) or "it does not"


def _why(event: Consequence) -> str:
    return "\n".join(filter(None, [event.error, event.note]))


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _more(*left: int) -> list[str]:
    return [f"<p>and {count:,} more: see .df</p>" for count in left if count > 0]


def _lanes(found: Consequences) -> list[tuple[str, list[Consequence]]]:
    """Return the streams that are drawn, each with its events behind the first edit."""
    lanes = [
        (stream.stream_id, [one for one in found.events if one.stream_id == stream.stream_id])
        for stream in found.streams[:SHOWN_STREAMS]
    ]
    return [(stream_id, events) for stream_id, events in lanes if events]


def _whole_ticks(span: int) -> dict[str, Any]:
    """Return ticks at whole numbers, which are many only where the axis is long."""
    return {"tickformat": ",d", **({"dtick": 1} if span <= SHOWN_CELLS else {})}


def _first(events: Sequence[Consequence]) -> int:
    """Return the lowest version of some events, in the base or on the branch."""
    return min(version for one in events for version in (one.base_version, one.version) if version)


def _last(events: Sequence[Consequence]) -> int:
    """Return the highest one."""
    return max(version for one in events for version in (one.base_version, one.version) if version)


def consequences_figure(found: Consequences, *, subtitle: str) -> go.Figure:
    """Draw each stream twice, as it was and as it is, with a line from each event to itself.

    Args:
        found: what became of the events.
        subtitle: what is said about it.
    """
    lanes = _lanes(found)
    labels = [f"{name}: {where}" for name, _ in lanes for where in ("base", "branch")]
    figure = go.Figure()
    figure.update_layout(
        template=TEMPLATE,
        title={"text": "What follows from the edits", "subtitle": {"text": plain(subtitle)}},
        height=190 + 56 * max(2, len(labels)),
        margin={"t": 112},
        hovermode="closest",
        xaxis={
            "title": {"text": "version"},
            **_whole_ticks(max([0, *(_last(events) - _first(events) for _, events in lanes)])),
        },
        yaxis={
            "tickvals": list(range(len(labels))),
            "ticktext": [plain(label) for label in labels],
            "range": [max(1, len(labels)) - 0.5, -0.5],
            "zeroline": False,
        },
    )
    ties: tuple[list[Any], list[Any]] = ([], [])
    marks: dict[Became, list[tuple[int, float, str]]] = {became: [] for became in BECAME}
    for lane, (_, events) in enumerate(lanes):
        for one in events:
            if one.base_version and one.version:
                ties[0].extend([one.base_version, one.version, None])
                ties[1].extend([2 * lane, 2 * lane + 1, None])
            for version, row in ((one.base_version, 2 * lane), (one.version, 2 * lane + 1)):
                gone = one.became == "skipped"
                if version:
                    became = one.became if row % 2 or gone else "same"
                    marks[became].append((version, row, _hover(one)))
    figure.add_scatter(
        x=ties[0], y=ties[1], mode="lines", line={"color": GRID}, hoverinfo="skip", showlegend=False
    )
    for became, drawn in marks.items():
        if drawn:
            look = _LOOKS[became]
            figure.add_scatter(
                name="as in the base" if became == "same" else became,
                x=[version for version, _, _ in drawn],
                y=[row for _, row, _ in drawn],
                mode="markers",
                marker={
                    "color": look.colour,
                    "symbol": look.symbol,
                    "size": 13,
                    "line": {"width": 2, "color": look.colour},
                },
                customdata=[told for _, _, told in drawn],
                hovertemplate="%{customdata}<extra></extra>",
            )
    return figure


def _hover(one: Consequence) -> str:
    place = f"{_number(one.base_position) or 'not there'} -> {_number(one.position) or 'not there'}"
    lines = [one.type, f"position {place}", one.became, *_why(one).split("\n")]
    return "<br>".join(plain(line) for line in lines if line)


def _consequences_picture(found: Consequences, words: str) -> str:
    lanes = _lanes(found)
    title = "What follows from the edits"
    svg = Svg(WIDTH, 84 + 118 * max(1, len(lanes)), title=title, desc=words)
    svg.text(0, 20, title, size=15, bold=True)
    svg.text(0, 40, fitted(words, WIDTH), fill=FAILED if found.broken else NEUTRAL)
    _legend(svg, [became for became in found.counts if _LOOKS[became].letter])
    if not lanes:
        svg.text(0, 108, "Nothing that was edited has a consequence.")
    for place, (stream_id, events) in enumerate(lanes):
        _lane(svg, 84 + 118 * place, stream_id, events)
    return str(svg)


def _legend(svg: Svg, used: Iterable[Became]) -> None:
    x = 0.0
    for became in used:
        _cell(svg, x, 52, _LOOKS[became], _LOOKS[became].letter, size=18)
        svg.text(x + 24, 65, became)
        x += 24 + text_width(became) + 18


def _lane(svg: Svg, top: float, stream_id: str, events: Sequence[Consequence]) -> None:
    first, left = _first(events), 96.0
    svg.text(0, top + 16, fitted(stream_id, WIDTH, 12), bold=True)
    rows = top + 26, top + 76
    svg.text(0, rows[0] + 18, "base")
    svg.text(0, rows[1] + 18, "branch")

    def x(version: int) -> float | None:
        column = version - first
        return left + CELL * column if column < SHOWN_CELLS else None

    for one in events:
        ends = x(one.base_version or WIDTH), x(one.version or WIDTH)
        if ends[0] is not None and ends[1] is not None:
            middle = (CELL - 6) / 2
            svg.line(ends[0] + middle, rows[0] + 28, ends[1] + middle, rows[1] - 1)
    for one in events:
        look = _LOOKS[one.became]
        if one.base_version and (at := x(one.base_version)) is not None:
            gone = one.became == "skipped"
            _cell(svg, at, rows[0], _LOOKS["same"], f"{one.base_version:,}", size=28, gone=gone)
        if one.version and (at := x(one.version)) is not None:
            _cell(svg, at, rows[1], look, f"{one.version:,}", size=28)
            if look.letter:
                svg.text(at + 14, rows[1] + 39, look.letter, size=10, anchor="middle", bold=True)
    if _last(events) - first >= SHOWN_CELLS:
        end = left + CELL * SHOWN_CELLS
        svg.text(end, rows[0] + 18, "…")
        svg.text(end, rows[1] + 18, "…")


def _cell(
    svg: Svg, x: float, y: float, look: _Look, text: str, *, size: float, gone: bool = False
) -> None:
    dash = "3 3" if gone or look is _LOOKS["skipped"] else ""
    svg.rect(x, y, size, size, fill=look.colour, opacity=FAINT, stroke=look.colour, dash=dash)
    svg.text(x + size / 2, y + size / 2 + 4, text, size=11, anchor="middle")
    if gone:
        svg.line(x, y + size, x + size, y, stroke=FAILED, width=2)


_SIDES: Final = (
    ("changed", "differ", _Look("~", RETRY)),
    ("only_base", "only in the base", _Look("−", FAILED)),
    ("only_branch", "only on the branch", _Look("+", DONE)),
)
_MARKS: Final = {"both": "~", "base": "−", "branch": "+"}


class ComparisonView(PictureView):
    """What differs between a branch and its base, or another lab: in all that follows from events.

    The frame has a row for each thing that differs; see `eslab.replay.Difference` for its columns.
    The query says by what streams are compared: asked of both, it gives the same rows where they
    are the same. The rest is folded from their events.

    Args:
        found: what was found.
        of: the two that were compared, in words.

    Attributes:
        found: the same.

    Example:
        >>> import eslab
        >>> class Counted(eslab.Event):
        ...     n: int
        >>> with eslab.Lab(seed=7) as lab:
        ...     _ = lab.append("count-1", [Counted(n=n) for n in (1, 2, 3)])
        ...     lab.branch(eslab.Skip(2)).comparison()
        ComparisonView(branch at 3 of ':memory:': 1 stream differs)
    """

    def __init__(self, found: Differences, *, of: str) -> None:
        values = {"after": found.common, "until": found.branch_head}
        super().__init__(found.df, sql=with_values(STREAMS_SQL, values))
        self.found = found
        self._of = of

    @property
    def tallies(self) -> tuple[Tally, ...]:
        """How many streams, states, rows and sagas are the same, and how many are not."""
        return self.found.tallies

    @property
    def digest(self) -> str:
        """How much differs."""
        return f"ComparisonView({self._of}: {self._words()})"

    def _words(self) -> str:
        kinds: list[Kind] = ["stream", "state", "read model", "saga"]
        told = [counted(count, kind) for kind in kinds if (count := self.found.count(kind))]
        if not told:
            return "no difference"
        joined = " and ".join([", ".join(told[:-1]), told[-1]] if told[:-1] else told)
        return f"{joined} {'differs' if joined.startswith('1 ') and not told[:-1] else 'differ'}"

    def figure(self) -> go.Figure:
        """Return how many of each kind differ, and how."""
        return comparison_figure(self.tallies, title=self._of, subtitle=self._words())

    def svg(self) -> str:
        """Return the same as SVG."""
        return _comparison_picture(self.tallies, title=self._of, words=self._words())

    def html(self) -> str:
        """Return the picture, and below it the first differences of each kind."""
        shown = self._shown()
        columns = ["", "what", "of", "base", "branch"]
        table = html_table(columns, map(_told, shown)) if shown else ""
        left = _more(len(self.found) - len(shown)) if shown else []
        return "\n".join([super().html(), *filter(None, [table]), *left])

    def _shown(self) -> list[Difference]:
        """Return the first differences, of each kind and name some."""
        seen: dict[tuple[str, str], int] = {}
        shown = []
        for one in self.found:
            group = one.kind, one.name if one.kind == "read model" else ""
            seen[group] = seen.get(group, 0) + 1
            if seen[group] <= SHOWN_ROWS // 3:
                shown.append(one)
        return shown[: 2 * SHOWN_ROWS]


def _told(one: Difference) -> tuple[str, ...]:
    key = "" if one.key is None else f" {one.key}"
    path = f": {one.path}" if one.path else ""
    values = [one.base, one.branch]
    if one.kind == "stream":
        values = [value and f"version {value:,}" for value in values]
    return _MARKS[one.found_in], one.kind, _value(f"{one.name}{key}{path}"), *map(_value, values)


def _value(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def comparison_figure(tallies: Sequence[Tally], *, title: str, subtitle: str) -> go.Figure:
    """Draw how many things of each kind differ.

    Args:
        tallies: how many there are.
        title: what was compared.
        subtitle: what was found.
    """
    figure = go.Figure()
    figure.update_layout(
        template=TEMPLATE,
        title={"text": plain(title), "subtitle": {"text": plain(subtitle)}},
        barmode="stack",
        height=190 + 40 * len(tallies),
        margin={"t": 112},
        legend={"traceorder": "normal"},
        xaxis={
            "title": {"text": "how many differ"},
            "rangemode": "tozero",
            **_whole_ticks(max([0, *(each.different for each in tallies)])),
        },
        yaxis={"autorange": "reversed", "automargin": True},
    )
    names = [plain(f"{each.name} ({each.different:,} of {_total(each):,})") for each in tallies]
    for side, words, look in _SIDES:
        counts = [getattr(each, side) or None for each in tallies]
        figure.add_bar(
            name=f"{look.letter} {words}",
            orientation="h",
            y=names,
            x=counts,
            marker={
                "color": _faded(look.colour),
                "line": {"color": look.colour, "width": 2},
            },
            text=[f"{look.letter} {count:,}" if count else "" for count in counts],
            textposition="inside",
            insidetextanchor="middle",
            textfont={"color": NEUTRAL, "size": 14},
            hovertemplate=f"%{{y}}: %{{x:,}} {words}<extra></extra>",
        )
    return figure


def _faded(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{FAINT})"


def _total(tally: Tally) -> int:
    return tally.same + tally.different


def _comparison_picture(tallies: Sequence[Tally], *, title: str, words: str) -> str:
    svg = Svg(WIDTH, 84 + 30 * max(1, len(tallies)), title=title, desc=words)
    svg.text(0, 20, fitted(title, WIDTH, 15), size=15, bold=True)
    svg.text(0, 40, fitted(words, WIDTH))
    x = 0.0
    for _, told, look in _SIDES:
        _cell(svg, x, 52, look, look.letter, size=18)
        svg.text(x + 24, 65, told)
        x += 24 + text_width(told) + 18
    names = max([120.0, *(text_width(each.name) for each in tallies)])
    left = min(300.0, names) + 16
    most = max([1, *(each.different for each in tallies)])
    for place, each in enumerate(tallies):
        y = 84 + 30 * place
        svg.text(left - 12, y + 15, fitted(each.name, left - 12), anchor="end")
        x = left
        for side, _, look in _SIDES:
            count = getattr(each, side)
            if not count:
                continue
            width = max(26.0, (WIDTH - left - 150) * count / most * 0.8)
            svg.rect(x, y, width, 20, fill=look.colour, opacity=FAINT, stroke=look.colour)
            svg.text(x + width / 2, y + 15, f"{look.letter} {count:,}", anchor="middle", bold=True)
            x += width + 3
        svg.text(x + 6, y + 15, f"{each.different:,} of {_total(each):,}")
    return str(svg)
