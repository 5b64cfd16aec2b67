"""Two versions side by side: what is different in the state."""

from __future__ import annotations

import json
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go

from eslab.errors import InputError
from eslab.replay import Replay
from eslab.views.base import View, html_table, plain, records
from eslab.views.theme import DONE, FAILED, NEUTRAL, OK, TEMPLATE
from eslab.words import counted

__all__ = ["VersionsView"]

SHOWN_ROWS: Final = 100
_WORDS: Final = {"+": "appeared", "-": "disappeared", "~": "changed"}
_COLOURS: Final = {"+": DONE, "-": FAILED, "~": OK}
_COLUMNS: Final = ("mark", "path", "before", "after")


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


class VersionsView(View):
    """What is different in the state at one version of a replay from that at another.

    The frame has a row a path that differs: mark (``+`` appeared, ``-`` disappeared, ``~``
    changed), path, before and after (JSON text; missing where there is nothing).

    Args:
        replay: the steps.
        before: a version.
        after: another one, which may be the earlier one.

    Raises:
        InputError: there is no such version.
    """

    def __init__(self, replay: Replay, before: int, after: int) -> None:
        for version in (before, after):
            if type(version) is not int or not 1 <= version <= len(replay):
                raise InputError(f"{replay.title!r} has the {replay.words()}, not {version!r}")
        rows = [
            (
                change.mark,
                change.path,
                None if change.kind == "insert" else _text(change.before),
                None if change.kind == "remove" else _text(change.after),
            )
            for change in replay.compare(before, after)
        ]
        positions = [replay[number].event.position for number in (before, after)]
        sql = (
            f"-- the states are what the handlers make of the events\n"
            f"select position, stream_id, version, type, data from events\n"
            f"where position between {min(positions)} and {max(positions)} order by position"
        )
        super().__init__(pd.DataFrame(rows, columns=list(_COLUMNS), dtype="object"), sql=sql)
        self.title = replay.title
        self.before, self.after = before, after

    @property
    def digest(self) -> str:
        """The two versions, and how many paths differ."""
        marks = self.df["mark"]
        parts = [
            f"{sum(marks == mark)} {word}" for mark, word in _WORDS.items() if any(marks == mark)
        ]
        said = ", ".join(parts) or "the same state"
        return f"Versions({self.title} {self.before} -> {self.after}: {said})"

    def figure(self) -> go.Figure:
        """Return how many paths appeared, disappeared and changed."""
        marks = self.df["mark"]
        counts = {mark: int(sum(marks == mark)) for mark in _WORDS}
        figure = go.Figure()
        figure.update_layout(
            template=TEMPLATE,
            title={
                "text": plain(f"{self.title}: {self.before} to {self.after}"),
                "subtitle": {"text": f"{counted(len(self.df), 'path')} of the state differ"},
            },
            height=240,
            showlegend=False,
            xaxis={"title": {"text": "paths"}},
            yaxis={"autorange": "reversed"},
        )
        figure.add_bar(
            x=list(counts.values()),
            y=[f"{mark} {_WORDS[mark]}" for mark in counts],
            orientation="h",
            marker={"color": [_COLOURS.get(mark, NEUTRAL) for mark in counts]},
            text=list(map(str, counts.values())),
        )
        return figure

    def html(self) -> str:
        """Return a table of the paths that differ."""
        rows: list[Any] = [
            (row.mark, row.path, row.before or "", row.after or "")
            for row in records(self.df.head(SHOWN_ROWS))
        ]
        if len(self.df) > SHOWN_ROWS:
            rows.append(("…", f"{len(self.df) - SHOWN_ROWS:,} more", "", ""))
        columns = ["", "path", f"at {self.before:,}", f"at {self.after:,}"]
        caption = f"{self.title}: {counted(len(self.df), 'path')} of the state differ."
        return html_table(columns, rows, caption=caption)
