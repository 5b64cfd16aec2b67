"""Logs whose rows are planted: what a runner writes in years, and what it never should write."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from hypothesis import strategies as st

from eslab import Event, Lab, Projection, Row, Rows, on


class Wanted(Event):
    pass


class Ignored(Event):
    pass


class Seen(Row, key="key"):
    key: str


class Watched(Projection):
    row = Seen

    @on
    def wanted(self, event: Wanted, rows: Rows[Seen]) -> None:
        rows.ensure(key="all")


class Moved(NamedTuple):
    """A row of ``checkpoint_log``."""

    frm: int
    to: int
    count: int
    committed_at: datetime
    mode: str


@dataclass
class Planted:
    """A lab with a projection that nobody runs; its log is what it was told."""

    lab: Lab
    projection: Projection = field(default_factory=Watched)
    rows: list[Moved] = field(default_factory=list)
    rebuilt: list[Moved] = field(default_factory=list)
    rebuilding: bool = False

    def __post_init__(self) -> None:
        self.lab.project(self.projection)

    @property
    def now(self) -> datetime:
        return self.lab.clock.now()

    @property
    def checkpoint(self) -> int:
        return self.rows[-1].to if self.rows else 0

    @property
    def rebuilt_to(self) -> int:
        """Where the rebuild is that is under way; the next one begins with the first event."""
        return self.rebuilt[-1].to if self.rebuilding else 0

    def wait(self, seconds: float) -> None:
        # Not lab.advance: that would run the projection.
        self.lab.clock.advance(timedelta(seconds=seconds))  # type: ignore[attr-defined]

    def append(self, wanted: int, ignored: int = 0) -> None:
        for event, count in ((Wanted(), wanted), (Ignored(), ignored)):
            if count:
                self.lab.append("x-1", [event] * count)

    def move(self, to: int, mode: str = "live") -> None:
        """Plant a batch up to a position, a heartbeat, or a reset."""
        row = self._row(self.checkpoint, to, mode)
        self.rows.append(row)
        self._insert(self.projection.name, row)
        self._execute(
            "update eslab.checkpoints set position = ? where projection = ?",
            [to, self.projection.name],
        )

    def rebuild(self, to: int) -> None:
        """Plant a batch of a rebuild beside it, which is under way from then on."""
        row = self._row(self.rebuilt_to, to, "replay")
        self.rebuilt.append(row)
        name = f"{self.projection.name}~rebuild"
        self._insert(name, row)
        if not self.rebuilding:
            self._execute("insert into eslab.checkpoints values (?, 0, '')", [name])
        self.rebuilding = True

    def swap(self) -> None:
        """Plant the end of a rebuild: its read model takes the place of the live one."""
        name = f"{self.projection.name}~rebuild"
        self._execute("delete from eslab.checkpoints where projection = ?", [name])
        self.rebuilding = False
        row = Moved(self.checkpoint, self.lab.store.head(), 0, self.now, "replay")
        self.rows.append(row)
        self._insert(self.projection.name, row)
        self._execute(
            "update eslab.checkpoints set position = ? where projection = ?",
            [row.to, self.projection.name],
        )

    def wanted(self) -> list[tuple[int, datetime]]:
        """Return the position of each wanted event, and when it was recorded."""
        return [
            (event.position, event.recorded_at)
            for event in self.lab.store.read_all()
            if event.type == "Wanted"
        ]

    def lag(self, checkpoint: int, at: datetime) -> tuple[int, float]:
        """Count by hand: what waits behind a checkpoint at a time, and for how long."""
        waiting = [
            recorded_at
            for position, recorded_at in self.wanted()
            if position > checkpoint and recorded_at <= at
        ]
        return len(waiting), (at - waiting[0]).total_seconds() if waiting else 0.0

    def _row(self, frm: int, to: int, mode: str) -> Moved:
        count = sum(frm < position <= to for position, _ in self.wanted())
        return Moved(frm, to, count, self.now, mode)

    def _insert(self, name: str, row: Moved) -> None:
        started_at = row.committed_at - timedelta(milliseconds=10)
        self._execute(
            "insert into eslab.checkpoint_log values (?, ?, ?, ?, ?, ?, ?)",
            [name, row.frm, row.to, row.count, started_at, row.committed_at, row.mode],
        )

    def _execute(self, statement: str, parameters: list[Any]) -> None:
        with self.lab.store.transaction() as transaction:
            transaction.execute(statement, parameters)


MODES = ("live", "catch-up", "replay")

STEPS = st.lists(
    st.tuples(st.just("append"), st.integers(0, 3), st.integers(0, 2))
    | st.tuples(st.just("wait"), st.integers(0, 40), st.just(0))
    | st.tuples(st.sampled_from(["batch", "reset"]), st.integers(0, 3), st.sampled_from(MODES))
    | st.tuples(st.sampled_from(["heartbeat", "rebuild", "swap"]), st.integers(0, 3), st.just(0)),
    max_size=14,
)
"""What happens, step by step; see `play`."""


def play(planted: Planted, steps: list[Any]) -> None:
    """Plant a log by steps: an append, a batch, a reset, a heartbeat, a rebuild, or time."""
    for step, number, other in steps:
        head = planted.lab.store.head()
        if step == "append":
            planted.append(number, other)
        elif step == "wait":
            planted.wait(number)
        elif step == "batch" and planted.checkpoint < head:
            planted.move(min(head, planted.checkpoint + 1 + number), other)
        elif step == "reset" and planted.checkpoint:
            planted.move(max(0, planted.checkpoint - 1 - number), "replay")
        elif step == "heartbeat":
            planted.move(planted.checkpoint, "live")
        elif step == "rebuild" and head:
            planted.rebuild(min(head, planted.rebuilt_to + number))
        elif step == "swap" and planted.rebuilding:
            planted.swap()
