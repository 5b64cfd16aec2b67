"""The lag chart as a widget: it follows a lab, shows a verdict's evidence, and asks what if."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final, NamedTuple
from uuid import UUID

import traitlets

from eslab.errors import EslabError, InputError, StoreClosedError
from eslab.projections import AnyProjection, Cost, Incident, ProjectionLag, Ruling
from eslab.projections.live import Line
from eslab.subscriptions import BatchReport
from eslab.views.lag import LagView, behind, first_times
from eslab.views.lag_ribbon import LOOKS, VerdictSpan, verdict_spans
from eslab.views.lag_source import Judgement, LagSource, line_of, lines_of
from eslab.views.scales import duration_text, moment_text, thinned
from eslab.views.theme import series_style
from eslab.widgets.base import LiveWidget, intent
from eslab.widgets.follower import Follower

__all__ = ["LagWidget"]

ALL: Final = 12_000
"""How many points of lines a page gets at first, at most, if that leaves each line the least."""

LEAST: Final = 600
MOST: Final = 2_000

MOMENTS: Final = 200
SAMPLES: Final = 12
JUDGING: Final = 1.0
"""Seconds from one judgement to the next, at least, while it follows."""

SAYING: Final = 5.0
"""Seconds from one word to those who hear the page to the next, at least, if no verdict changed."""

UNSEEN: Final = 6
"""How many updates may be under way to the browser."""

LATE: Final = 2.0
"""Seconds after which an update is taken for lost that no page said it has drawn."""

PATIENCE: Final = 15.0
"""Seconds after which a page is taken to have vanished that said nothing."""

FASTEST: Final = 1_000
LOAD: Final = 0.6

RUN: Final = 20.0
"""Seconds of appends in a what-if."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class _Viewer(NamedTuple):
    """A page that shows the chart: when it was heard last, and what it has drawn."""

    heard_at: float
    drawn: int


class LagWidget(LiveWidget):
    """A lag chart that follows the lab, while it is on a page.

    A page says that it shows the chart by `follow`, and then, every second and whenever it has
    drawn some updates, by `seen`. Updates are what is new, at most 20 a second; while a browser is
    slow, the latest wins. Where nothing happens nothing is looked at, and there is no thread.

    Args:
        view: what it shows at first.
        source: where it looks again.

    Attributes:
        drawing: what is shown at first; see `_drawing`.
    """

    module: ClassVar[str] = "lag"

    drawing = traitlets.Dict().tag(sync=True)

    def __init__(self, view: LagView, source: LagSource) -> None:
        self._source = source
        self._looking = threading.Lock()
        self._viewers: dict[str, _Viewer] = {}
        self._stop_listening: Callable[[], None] | None = None
        self._live = source.live()
        self._failure: EslabError | None = None
        self._reached = self._judged = _end(view)
        self._length = _length(view)
        self._verdicts = {now.projection: now.verdict.name for now in view.now}
        self._sent = 0
        self._sent_at = self._said_at = 0.0
        self._waiting = self._held = self._unsaid = False
        self._shown: tuple[Any, ...] = ()
        self._begin()
        drawing = _drawing(view, source, length=self._length)
        super().__init__(drawing=drawing, said=view.digest)

    def _begin(self) -> None:
        # A judgement takes longer than there is from one look to the next.
        self._followers = Follower(self._update), Follower(self._judge, rate=1 / JUDGING)

    # Following.

    @intent
    def follow(self, viewer: str, reached: int) -> dict[str, Any]:
        """Follow for a page from now on, and return what it missed.

        Args:
            viewer: a name that the page gave itself.
            reached: the time up to which it knows everything, in microseconds of the epoch.
        """
        self._require_lab()
        if self._failure is not None:
            self._failure = None
            self._begin()
        self._viewers[viewer] = _Viewer(time.monotonic(), self._sent)
        if self._stop_listening is None:
            self._stop_listening = self._source.listen(self._notice)
        since = _moment(reached)
        with self._looking:
            return {
                **self._news(since, self._source.lines(since=since)),
                **self._ruled(self._source.judge(since=since, length=self._length), since),
            }

    @intent
    def seen(self, viewer: str, number: int) -> None:
        """Take note that a page still shows the chart, and which update it has drawn last."""
        self._require_lab()
        if self._failure is not None:
            raise self._failure
        self._viewers[viewer] = _Viewer(time.monotonic(), number)
        unsaid = self._unsaid and time.monotonic() - self._said_at >= SAYING
        if unsaid or self._held or self._state() != self._shown:
            self._notice()

    @intent
    def leave(self, viewer: str) -> None:
        """Take note that a page does not show the chart any more."""
        self._viewers.pop(viewer, None)
        self._watched()

    def _require_lab(self) -> None:
        if self._source.gone():
            raise StoreClosedError("the lab was closed, or another one took its place")

    def _notice(self, report: BatchReport | None = None) -> None:
        if report is not None:
            self._live.note(report)
        for follower in self._followers:
            follower.notice()

    def _watched(self) -> bool:
        """Say whether a page shows the chart; if none does, nothing is listened to."""
        patient = time.monotonic() - PATIENCE
        for viewer, held in tuple(self._viewers.items()):
            if held.heard_at < patient:  # it vanished without a word
                self._viewers.pop(viewer, None)
        if not self._viewers and self._stop_listening is not None:
            self._stop_listening()
            self._stop_listening = None
        return bool(self._viewers)

    def _state(self) -> tuple[Any, ...]:
        # A clock that goes on changes nothing for those who have nothing to do.
        return self._source.now() if self._waiting else None, self._source.standing()

    def _update(self) -> None:
        """Send what is new; to whoever is slow, later and all at once."""
        with self._failing():
            if self._watched():
                self._held = self._busy()
                if not self._held:
                    self._look()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Keep what fails for those who follow."""
        try:
            yield
        except EslabError as error:
            self._failure = error
            raise

    def _busy(self) -> bool:
        """Say whether no page has drawn what was sent last."""
        if time.monotonic() - self._sent_at > LATE:
            return False
        drawn = max((held.drawn for held in self._viewers.values()), default=self._sent)
        return self._sent - drawn >= UNSEEN

    def _look(self) -> None:
        """Send what is new of the lag."""
        with self._looking:
            now, standing, since = self._source.now(), self._source.standing(), self._reached
            lines = self._live.look(since=since, now=self._source.now)
            if lines is None:
                lines = self._source.lines(since=since)
            news = self._news(since, lines)
            self._shown = (now if self._waiting else None, standing)
            self._reached = _moment(news["at"])
            self._sent += 1
            self._sent_at = time.monotonic()
            self.send({"news": news, "number": self._sent})

    def _judge(self) -> None:
        """Send what is new of the verdicts, and of what happened to projections."""
        with self._failing():
            if not self._watched():
                return
            since = self._judged
            judgement = self._source.judge(since=since, length=self._length)
            with self._looking:
                self._judged = max(since, judgement.at)
                self._tell(judgement)
                self.send({"news": self._ruled(judgement, since), "number": self._sent})

    def _tell(self, judgement: Judgement) -> None:
        """Say the lag in words, when a verdict changed or some time has passed."""
        now = time.monotonic()
        found = {ruling.projection: ruling for ruling in judgement.rulings}
        verdicts = {name: ruling.verdict for name, ruling in found.items()}
        self._unsaid = verdicts == self._verdicts and now - self._said_at < SAYING
        if self._unsaid:
            return
        self._verdicts, self._said_at = verdicts, now
        standing = self._source.standing()
        said = "; ".join(
            f"{name}: {', '.join(filter(None, _words(ruling, standing)))}"
            for name, ruling in found.items()
        )
        self.said = f"ProjectionLag({said})"

    def _news(self, since: datetime, lines: dict[str, Line]) -> dict[str, Any]:
        """Return what a page learns of the lag: what it knew of `since` and later is replaced."""
        self._waiting = any(line[3][-1] > 0 for line in lines.values())
        # Up to where each line goes; what one of them has beyond it comes once more.
        at = max(_us(since), min((line[0][-1] for line in lines.values()), default=0))
        return {"since": _us(since), "at": at, "lines": _thinned(lines, limit=LEAST)}

    def _ruled(self, judgement: Judgement, since: datetime) -> dict[str, Any]:
        """Return what a page learns of the verdicts."""
        if not judgement.rulings:
            return {}
        standing = self._source.standing()
        starts = dict.fromkeys((ruling.projection for ruling in judgement.rulings), since)
        return {
            "verdicts": _spans(verdict_spans(judgement.rulings, starts=starts)),
            "incidents": _incidents(judgement.incidents),
            "words": {ruling.projection: _words(ruling, standing) for ruling in judgement.rulings},
        }

    def close(self) -> None:
        """Follow no more, for nobody."""
        self._viewers.clear()
        self._watched()
        for follower in self._followers:
            follower.end()
        super().close()

    # What a person asks.

    @intent
    def samples(self, projection: str, time: int) -> dict[str, Any]:
        """Return the verdict on a projection at a moment, its rule, and the samples behind it."""
        found = self._source.measure(projection, _moment(time))
        samples = found.verdict.samples
        return {
            "verdict": found.verdict.name,
            "rule": found.verdict.rule,
            "at": moment_text(found.at),
            "more": max(0, len(samples) - SAMPLES),
            "samples": [
                [
                    moment_text(sample.time),
                    sample.kind,
                    f"{sample.checkpoint:,}",
                    f"{sample.lag_events:,}",
                    duration_text(sample.lag_seconds),
                ]
                for sample in samples[-SAMPLES:]
            ],
        }

    @intent
    def visible(self, projection: str, event: str) -> str:
        """Say when an event became visible in a projection.

        Args:
            projection: its name.
            event: the position of the event, or its id.
        """
        return str(self._source.visible(projection, _event(event)))

    @intent
    def what_if(
        self,
        projection: str,
        *,
        rate: float,
        batch: int,
        event_us: int,
        outage_start: float,
        outage_length: float,
    ) -> dict[str, Any]:
        """Return the lag that a projection would have on the virtual clock, and what it comes to.

        Args:
            projection: its name.
            rate: events appended a second, in the mean, for 20 seconds.
            batch: events in a batch, at most.
            event_us: what an event costs, in microseconds.
            outage_start: when it is paused, in seconds from the beginning.
            outage_length: for how long.
        """
        if not 0 < rate <= FASTEST:
            raise InputError(
                f"a rate is more than 0 and at most {FASTEST:,} a second here, not {rate:g}"
            )
        runner = next((each for each in self._source.runners() if each.name == projection), None)
        if runner is None:
            raise InputError(f"there is no projection {projection!r} in this chart")
        cost = Cost(batch=runner.projection.cost.batch, event=event_us * _MICROSECOND)
        outage = (timedelta(seconds=outage_start), timedelta(seconds=outage_length))
        view = self._source.what_if(
            projection,
            rate=rate,
            events=max(1, round(rate * RUN)),
            batch=batch,
            cost=cost,
            outage=outage if outage_length > 0 else None,
        )
        return {
            "line": _few(line_of(view.df), limit=MOST),
            "said": view.outcome,
            "stable": view.run.stable,
        }


def _words(ruling: Ruling, standing: Mapping[str, str]) -> list[str]:
    """Return how far a projection is behind, what keeps it, and what is wrong with it."""
    lag = ProjectionLag(
        ruling.projection,
        ruling.time,
        ruling.checkpoint,
        ruling.head,
        ruling.lag_events,
        ruling.lag_seconds,
    )
    wrong = "" if ruling.verdict == "OK" else f"{ruling.verdict}: {ruling.rule}"
    return [behind(lag), standing.get(ruling.projection, ""), wrong]


def _event(text: str) -> int | UUID:
    digits = text.strip().replace(",", "")
    if digits.isdecimal():
        return int(digits)
    try:
        return UUID(digits)
    except ValueError:
        raise InputError(
            f"an event is given by its position, such as 42, or by its id, not {text!r:.100}"
        ) from None


# What the browser draws. Times are whole microseconds of the epoch, which its numbers hold exactly.


def _drawing(view: LagView, source: LagSource, *, length: timedelta) -> dict[str, Any]:
    """Return what a page draws of a view, as JSON holds it."""
    standing = view.standing
    limit = min(MOST, max(LEAST, ALL // max(1, len(view.now))))
    return {
        "projections": [
            {
                "name": now.projection,
                "colour": series_style(place)[0],
                "dash": series_style(place)[1],
                "words": [behind(now), standing.get(now.projection, ""), now.warning],
                "what_if": {
                    "rate": _busy_rate(projection),
                    "event_us": max(1, projection.cost.event // _MICROSECOND),
                    "batch": projection.batch,
                },
            }
            for place, (now, projection) in enumerate(
                zip(view.now, source.projections, strict=True)
            )
        ],
        "looks": {name: [look.letter, look.colour, look.hatched] for name, look in LOOKS.items()},
        "at": _us(_end(view)),
        "length": length // _MICROSECOND,
        "lines": _thinned(lines_of(view.df), limit=limit),
        "verdicts": _spans(view.verdicts),
        "incidents": _incidents(view.incidents),
        "note": _note(view),
        "run": RUN,
    }


def _busy_rate(projection: AnyProjection) -> int:
    """Return a rate of appends at which a projection has to work more than half of the time."""
    full = projection.cost.of(projection.batch).total_seconds()
    return min(FASTEST, max(1, round(LOAD * projection.batch / full))) if full else FASTEST


def _note(view: LagView) -> str:
    """Return in words why there is nothing to be drawn."""
    if not view.now:
        return "There are no projections: lab.project(...) one."
    if not view.df.empty:
        return ""
    held = any(now.head for now in view.now)
    return "The log holds nothing of this time." if held else "The log is empty."


def _thinned(lines: Mapping[str, Line], *, limit: int) -> dict[str, Line]:
    """Return lines with so many points that no peak is lost, at most about so many."""
    return {name: _few(line, limit=limit) for name, line in lines.items()}


def _few(line: Line, *, limit: int) -> Line:
    kept = thinned(line[4], limit=limit)
    return [[column[place] for place in kept] for column in line]


def _spans(spans: Iterable[VerdictSpan]) -> dict[str, list[Any]]:
    drawn: dict[str, list[Any]] = {}
    for span in spans:
        each = [_us(span.start), _us(span.end), span.verdict, span.rule]
        drawn.setdefault(span.projection, []).append(each)
    return drawn


def _incidents(found: Sequence[Incident]) -> list[list[Any]]:
    return [
        [
            incident.projection,
            incident.kind,
            _us(incident.time),
            None if incident.until is None else _us(incident.until),
            f"{incident.kind}: {incident.said}",
        ]
        for incident in found
    ]


def _end(view: LagView) -> datetime:
    """Return the time up to which a view shows everything."""
    return view.at if view.df.empty else view.df["time"].max().to_pydatetime()


def _length(view: LagView) -> timedelta:
    """Return the time from one verdict to the next, as far as the view goes."""
    if view.df.empty:
        return timedelta(seconds=1)
    span = _end(view) - min(first_times(view.df).values())
    return max(span // MOMENTS, timedelta(milliseconds=100))


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment(us: int) -> datetime:
    try:
        return _EPOCH + us * _MICROSECOND
    except OverflowError:
        raise InputError(f"there is no time {us} microseconds after 1970") from None
