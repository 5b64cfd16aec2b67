"""A saga timeline as a page draws it by itself: marks, what is said of each, and each moment."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pandas as pd

from eslab.sagas import CommandSent, CompensationStarted, SagaStarted, StepCompleted, StepStarted
from eslab.views.base import records
from eslab.views.saga_log import Logged
from eslab.views.saga_marks import NOTE_WORDS, PARTING, Bar, Drawing, Spot, Style
from eslab.views.saga_story import Moment
from eslab.views.scales import moment_text
from eslab.words import one_line, shortened

__all__ = ["Fact", "timeline_page"]

Fact = tuple[str, str]
"""A name and a text."""

LETTERS: Final = (32, 44, 60, 80, 100, 125, 150)
"""For axes that so many letters fill, labels are laid out; a page takes what fits its width."""

ERROR_LETTERS: Final = 200
"""Of an error in the name of a mark; its details have all of it."""

_IDLE: Final = ("TimerSet", "TimerCancelled", "ProcessStateChanged", "CommandSent")
"""Events that nothing follows from."""

TABLE: Final = ("order", "step", "kind", "attempt", "outcome", "began", "ended", "took", "error")


def timeline_page(
    drawn: Drawing,
    *,
    log: Sequence[Logged],
    story: Sequence[Moment],
    notes: pd.DataFrame,
) -> dict[str, Any]:
    """Return the marks of a timeline as JSON values.

    Args:
        drawn: the marks, with the moments of the stream.
        log: the events of the stream.
        story: the same, told.
        notes: a frame as `SagaTimeline.notes`.
    """
    teller = _Teller(drawn, log, story, notes)
    return {
        "rows": list(drawn.rows),
        "lanes": drawn.lanes,
        "pivot": drawn.pivot,
        "axis": drawn.axis,
        "span": drawn.span,
        "ticks": [list(tick) for tick in drawn.ticks],
        "parting": None if drawn.parting is None else [drawn.parting, PARTING],
        "folds": [[fold.start, fold.end, fold.text] for fold in drawn.folds],
        "styles": [_style(style) for style in drawn.styles()],
        "notes": [[mark, NOTE_WORDS[mark]] for mark in drawn.notes()],
        "bars": [teller.bar(place, bar) for place, bar in enumerate(drawn.bars)],
        "waits": [[wait.row, wait.start, wait.end, wait.version] for wait in drawn.waits],
        "arcs": [
            {
                "row": arc.row,
                "start": arc.start,
                "end": arc.end,
                "completed": arc.completed,
                "undoing": arc.undoing,
                "undone": arc.undone,
            }
            for arc in drawn.arcs
        ],
        "spots": [teller.spot(spot) for spot in drawn.spots],
        "labels": {str(letters): _labels(drawn, letters) for letters in LETTERS},
        "moments": [_moment(one, x) for one, (_, x) in zip(story, drawn.moments, strict=True)],
        "table": {"columns": list(TABLE), "rows": [teller.row(bar) for bar in drawn.bars]},
    }


def _indented(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _style(style: Style) -> dict[str, Any]:
    return {
        "words": style.words,
        "colour": style.colour,
        "hatch": style.hatch,
        "opacity": style.opacity,
    }


def _labels(drawn: Drawing, letters: int) -> list[list[Any]]:
    labels = (*drawn.labels(letters=letters), *drawn.attempts(letters=letters))
    return [[one.row, one.x, one.anchor, one.text, one.level, one.version] for one in labels]


def _moment(one: Moment, x: float) -> dict[str, Any]:
    return {
        "version": one.version,
        "x": x,
        "at": moment_text(one.at),
        "type": one.type,
        "words": one.words,
        "state": [[line.mark, line.name, line.text, line.before] for line in one.state],
    }


class _Teller:
    """Says what there is to be said of marks."""

    def __init__(
        self,
        drawn: Drawing,
        log: Sequence[Logged],
        story: Sequence[Moment],
        notes: pd.DataFrame,
    ) -> None:
        self._drawn = drawn
        self._events = {one.version: one for one in log}
        self._story = story
        self._told = {one.version: one for one in story}
        self._lints = [note for note in records(notes) if note.mark in ("wrong", "late", "timeout")]
        self._commands = [one.event for one in log if isinstance(one.event, CommandSent)]
        self._partners = {arc.undoing: arc.undone for arc in drawn.arcs}
        self._partners |= {arc.undone: arc.undoing for arc in drawn.arcs}

    def bar(self, place: int, bar: Bar) -> dict[str, Any]:
        """Return an attempt."""
        return {
            "row": bar.row,
            "pieces": [list(piece) for piece in bar.pieces],
            "style": _style(bar.style),
            "step": bar.step,
            "kind": bar.kind,
            "attempt": bar.attempt,
            "order": bar.order,
            "version": bar.version,
            "ended": bar.ended,
            "failed": bar.error is not None,
            "partner": self._partner(place, bar),
            "name": self._name(bar),
            "facts": [list(fact) for fact in self._facts(bar)],
            "payload": self._payload(bar),
        }

    def _name(self, bar: Bar) -> str:
        error = f": {shortened(one_line(bar.error), ERROR_LETTERS)}" if bar.error else ""
        attempt = f", attempt {bar.attempt}" if self._count(bar) > 1 else ""
        return f"{bar.order}. {bar.step}: {bar.style.words}{attempt}, {bar.took}{error}"

    def _count(self, bar: Bar) -> int:
        return sum(other.order == bar.order for other in self._drawn.bars)

    def _partner(self, place: int, bar: Bar) -> int | None:
        """Return the compensation of a step, or the step that a compensation undoes."""
        if place in self._partners:
            return self._partners[place]
        others = [
            other
            for other, one in enumerate(self._drawn.bars)
            if one.row == bar.row and bar.kind not in (one.kind, "command")
        ]
        return others[-1] if others else None

    def _facts(self, bar: Bar) -> Iterator[Fact]:
        yield "attempt", f"{bar.attempt} of {self._count(bar)}"
        yield "began", self._when(bar.version)
        yield "ended", "not yet" if bar.ended is None else self._when(bar.ended)
        yield "took", bar.took
        if bar.error:
            yield "error", bar.error
        if (because := self._because(bar.version)) is not None:
            yield "because", because
        for note in self._lints:
            if note.step == bar.step and bar.version <= note.version <= (bar.ended or 1 << 62):
                yield NOTE_WORDS[note.mark], f"{note.text} {note.detail}".strip()

    def _when(self, version: int) -> str:
        one = self._told[version]
        return f"{moment_text(one.at)}, version {version}, position {one.position:,}"

    def _because(self, version: int) -> str | None:
        """Return the event from which it followed that something began."""
        earlier = [one for one in self._story if one.version < version and one.type not in _IDLE]
        if not earlier:
            return None
        last = earlier[-1]
        event = self._events[last.version].event
        if isinstance(event, SagaStarted) and event.position:
            return f"it was started by the event at position {event.position:,}"
        return f"version {last.version}: {last.words}"

    def _payload(self, bar: Bar) -> str:
        """Return the command that was sent, and what came back, as JSON."""
        began = self._events[bar.version].event
        ended = None if bar.ended is None else self._events[bar.ended].event
        command = None
        if bar.kind == "command":
            command = self._commands[bar.order - 1].command
        elif isinstance(began, StepStarted | CompensationStarted):
            command = began.command
        said = []
        if command is not None:
            said.append(f"{command['type'].rpartition('.')[2]} {_indented(command['data'])}")
        if isinstance(ended, StepCompleted) and ended.result is not None:
            said.append(f"result {_indented(ended.result)}")
        return "\n".join(said)

    def spot(self, spot: Spot) -> dict[str, Any]:
        """Return what is marked beside the attempts."""
        words = f"{NOTE_WORDS[spot.mark]}: {spot.text}"
        facts = [["what", spot.text], ["when", self._when(spot.version)]]
        if spot.detail:
            facts.insert(1, ["more", spot.detail])
        return {
            "row": spot.row,
            "x": spot.x,
            "mark": spot.mark,
            "version": spot.version,
            "name": shortened(one_line(f"{words} {spot.detail}".strip()), ERROR_LETTERS),
            "facts": facts,
        }

    def row(self, bar: Bar) -> list[str]:
        """Return an attempt as a row of the table."""
        began = moment_text(self._told[bar.version].at)
        ended = "" if bar.ended is None else moment_text(self._told[bar.ended].at)
        kind = {"execute": "do", "compensate": "undo"}.get(bar.kind, bar.kind)
        cells = (bar.order, bar.step, kind, bar.attempt, bar.style.words, began, ended, bar.took)
        return [*map(str, cells), bar.error or ""]
