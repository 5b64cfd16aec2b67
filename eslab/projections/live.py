"""The lag of projections kept up in memory, for whoever looks at it many times a second.

`eslab.projections.lag_history` asks the log, and takes tens of milliseconds for that, however
little is new. Here what waits is held, and new events and the reports of the runners are added to
it. What these do not explain is found out, and asked for: a reset, say, or a rebuild.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from eslab.events import Query, RecordedEvent
from eslab.projections.base import AnyProjection, ProjectionStore

if TYPE_CHECKING:
    from eslab.projections.runner import ProjectionRunner
    from eslab.subscriptions import BatchReport

__all__ = ["Line", "LiveLag"]

Line = list[list[int]]
"""Columns of a history of lag: time, head, checkpoint, lag in events, lag in microseconds.

Times are whole microseconds of the epoch. See `eslab.projections.lag_history` for the rows.
"""

MOST: Final = 20_000
"""How many positions are looked at at once, at most, also to begin."""

MOMENTS: Final = 40
"""At how many moments at which the head moved a line has rows, at most."""

_MOVES_SQL: Final = """
select projection, from_position, to_position, epoch_us(committed_at) from eslab.checkpoint_log
where committed_at >= $now and from_position <> to_position order by committed_at, rowid
"""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class LiveLag:
    """The lag of projections, from one look to the next.

    Args:
        store: the log.
        runners: gives those whose lag it is, as they are now.

    Example:
        >>> import eslab
        >>> with eslab.Lab(seed=7) as lab:
        ...     live = LiveLag(lab.store, lambda: [])
        ...     now = lab.clock.now()
        ...     live.look(since=now, now=lab.clock.now)  # the first time it begins
        ...     live.look(since=now, now=lab.clock.now)
        {}
    """

    def __init__(
        self, store: ProjectionStore, runners: Callable[[], Sequence[ProjectionRunner]]
    ) -> None:
        self._store = store
        self._runners = runners
        self._reports: deque[BatchReport] = deque()
        self._followed: list[ProjectionRunner] | None = None  # None: it is to begin
        # Where everything was before the end of the last look, and what moved at that very moment:
        # a virtual clock stands still.
        self._checkpoints: dict[str, int] = {}
        self._moves: dict[str, dict[int, int]] = {}
        self._heads = _Heads(0)
        self._waiting: dict[_Wants, _Waiting] = {}

    def note(self, report: BatchReport) -> None:
        """Take note, on any thread, of what a runner did."""
        self._reports.append(report)

    def look(self, *, since: datetime, now: Callable[[], datetime]) -> dict[str, Line] | None:
        """Return the lag of each projection since a moment.

        Args:
            since: the end of the last look, or of what the log was asked for instead.
            now: the time by the store's clock.

        Returns:
            Of each projection by its name, or nothing while the log is empty; None if the log is to
            be asked, once this returned.
        """
        runners = list(self._runners())
        if runners != self._followed or not self._take_all():
            self._begin(runners, now())
            return None
        heads = self._heads
        start = max(_us(since), 0 if heads.before else heads.first)
        moved = [us for moves in self._moves.values() for us in moves]
        end = max(start, _us(now()), *heads.times[-1:], *moved)
        lines = {runner.name: self._line(runner, start, end) for runner in runners if heads.last}
        self._settle(end)
        return lines

    def _begin(self, runners: list[ProjectionRunner], now: datetime) -> None:
        """Take what is now for known; if too much waits to be held, this is tried again."""
        self._followed = None
        self._reports.clear()
        self._checkpoints = {runner.name: runner.position for runner in runners}
        self._moves = {runner.name: {} for runner in runners}
        self._waiting = {_Wants.of(runner.projection): _Waiting([], []) for runner in runners}
        for name, origin, target, us in self._store.sql(_MOVES_SQL, {"now": now}).fetchall():
            if name in self._moves:
                if not self._moves[name]:
                    self._checkpoints[name] = origin
                self._moves[name][us] = target
        head = self._store.position_at(now - _MICROSECOND)
        moved = [position for moves in self._moves.values() for position in moves.values()]
        self._heads = _Heads(min([head, *self._checkpoints.values(), *moved]))
        if self._take_events():
            self._heads.settle(_us(now))
            self._followed = runners

    def _take_all(self) -> bool:
        """Take in what is new, and say whether that explains where the projections are."""
        before = self._positions()
        followed = self._take_reports()
        after = self._positions()
        return (
            followed
            and all(before[name] <= self._reached(name) <= after[name] for name in self._moves)
            and self._take_events()
        )

    def _positions(self) -> dict[str, int]:
        return {runner.name: runner.position for runner in self._followed or ()}

    def _reached(self, name: str) -> int:
        return next(reversed(self._moves[name].values()), self._checkpoints[name])

    def _take_reports(self) -> bool:
        """Take in the moves of checkpoints, and say whether none is missing between two of them."""
        while self._reports:
            report = self._reports.popleft()
            name = report.projection
            if report.error is not None or name not in self._moves:
                continue
            if report.after != self._reached(name):
                return False
            if report.scanned != report.after:
                self._moves[name][_us(report.committed_at)] = report.scanned
        return True

    def _take_events(self) -> bool:
        """Take in the new events, if they are not too many; say whether they are not."""
        head = self._store.head()
        if head - self._heads.last > MOST:
            return False
        for event in self._store.read_all(after=self._heads.last, until=head):
            us = _us(event.recorded_at)
            self._heads.move(us, event.position)
            for wants, waiting in self._waiting.items():
                if wants.takes(event):
                    waiting.positions.append(event.position)
                    waiting.times.append(us)
        return True

    def _line(self, runner: ProjectionRunner, start: int, end: int) -> Line:
        """Return the rows of a projection: of a move of its checkpoint just before and after."""
        heads, moves = self._heads, self._moves[runner.name]
        waiting = self._waiting[_Wants.of(runner.projection)]
        checkpoint = self._checkpoints[runner.name]
        rows = []
        for us in sorted({start, end, *heads.few(), *moves}):
            if us in moves:
                if us >= start:
                    rows.append(waiting.row(us, heads.at(us - 1), checkpoint))
                checkpoint = moves[us]
            if us >= start:
                rows.append(waiting.row(us, heads.at(us), checkpoint))
        return [list(column) for column in zip(*rows, strict=True)]

    def _settle(self, end: int) -> None:
        """Take what moved before a moment for where everything was, and forget what led there."""
        self._heads.settle(end)
        lowest: dict[_Wants, int] = {}
        for runner in self._followed or ():
            moves = self._moves[runner.name]
            for us in [us for us in moves if us < end]:
                self._checkpoints[runner.name] = moves.pop(us)
            # A move may go back, and is told again as long as the clock stands still.
            wants = _Wants.of(runner.projection)
            reached = min([self._checkpoints[runner.name], *moves.values()])
            lowest[wants] = min(reached, lowest.get(wants, reached))
        for wants, checkpoint in lowest.items():
            self._waiting[wants].forget(checkpoint)


class _Wants(NamedTuple):
    """Which events a projection wants; many want the same ones."""

    query: Query
    category: str | None

    @classmethod
    def of(cls, projection: AnyProjection) -> _Wants:
        query = Query.of(types=projection.event_classes, tags=projection.tags)
        return cls(query, projection.category)

    def takes(self, event: RecordedEvent) -> bool:
        return self.query.matches(event.type, event.tags) and (
            self.category is None or event.category == self.category
        )


class _Waiting(NamedTuple):
    """Events of one kind for which somebody waits: their positions, and when they were recorded."""

    positions: list[int]
    times: list[int]

    def row(self, us: int, head: int, checkpoint: int) -> tuple[int, int, int, int, int]:
        first = bisect_right(self.positions, checkpoint)
        events = max(0, bisect_right(self.positions, head) - first)
        return us, head, checkpoint, events, max(0, us - self.times[first]) if events else 0

    def forget(self, checkpoint: int) -> None:
        applied = bisect_right(self.positions, checkpoint)
        del self.positions[:applied], self.times[:applied]


class _Heads:
    """Where the head of the log was: from some times on at some positions, and before."""

    def __init__(self, before: int) -> None:
        self.before = before
        self.times: list[int] = []
        self.positions: list[int] = []

    @property
    def first(self) -> int:
        return self.times[0] if self.times else 0

    @property
    def last(self) -> int:
        return self.positions[-1] if self.positions else self.before

    def move(self, us: int, position: int) -> None:
        if self.times and self.times[-1] == us:
            self.positions[-1] = position
        else:
            self.times.append(us)
            self.positions.append(position)

    def at(self, us: int) -> int:
        place = bisect_right(self.times, us)
        return self.positions[place - 1] if place else self.before

    def few(self) -> list[int]:
        """Return some of the times: between two moves of a checkpoint lag only grows."""
        step = len(self.times) // MOMENTS + 1
        return self.times[step - 1 :: step]

    def settle(self, us: int) -> None:
        """Forget the moves before a moment."""
        self.before = self.at(us - 1)
        passed = bisect_left(self.times, us)
        del self.times[:passed], self.positions[:passed]


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
