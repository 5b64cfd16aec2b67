"""What the lag of a projection amounts to: a verdict, the rule behind it, and the evidence.

The rules are those of Burrow, LinkedIn's monitor of Kafka's consumers, made to look at a window of
the clock instead of a number of commits (its wiki: "Consumer Lag Evaluation Rules"; its code:
``core/internal/evaluator/caching.go``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["WINDOW", "Evidence", "Kind", "Sample", "Verdict", "VerdictName", "decide", "judge"]

WINDOW: Final = timedelta(seconds=60)
"""How far back a verdict looks, by the store's clock, unless it is told otherwise."""

SHOWN: Final = 12
"""How many samples are printed of a verdict: the newest ones."""

VerdictName = Literal["OK", "WARN", "STALLED", "STOPPED", "REWIND", "REPLAYING"]

Kind = Literal["before", "start", "live", "catch-up", "replay", "reset", "heartbeat", "now"]

_REPLAYED: Final = ("replay", "reset")
_MOVED: Final = ("live", "catch-up", *_REPLAYED)


@dataclass(frozen=True, slots=True)
class Sample:
    """How far a projection was behind at one moment that counts for a verdict.

    Attributes:
        time: the moment.
        kind: what it is. A row of ``checkpoint_log``: a batch by its mode (``"live"``,
            ``"catch-up"`` or ``"replay"``), a ``"reset"`` of the checkpoint to an earlier
            position, or a ``"heartbeat"``, which left it where it was. Or ``"start"``, where the
            window begins; ``"before"``, the last move before that; and ``"now"``.
        checkpoint: after it.
        lag_events: wanted events in (checkpoint, head], the head being that of the moment.
        lag_seconds: since the oldest of them was recorded; 0 when there is none.
    """

    time: datetime
    kind: Kind
    checkpoint: int
    lag_events: int
    lag_seconds: float


@dataclass(frozen=True, slots=True, repr=False)
class Verdict:
    """What the lag of a projection amounts to.

    Attributes:
        name: the verdict.
        rule: the rule that decided, in words.
        samples: what it was decided by, in the order of time; see `judge`.
    """

    name: VerdictName
    rule: str
    samples: tuple[Sample, ...]

    @property
    def df(self) -> pd.DataFrame:
        """The samples as a frame."""
        import pandas as pd

        columns = [field.name for field in fields(Sample)]
        return pd.DataFrame([asdict(sample) for sample in self.samples], columns=columns)

    def __str__(self) -> str:
        return f"{self.name}: {self.rule}"

    def __repr__(self) -> str:
        hidden = len(self.samples) - SHOWN
        lines = [str(self), *([f"  ({hidden:,} earlier samples)"] if hidden > 0 else [])]
        lines += [
            f"  {sample.time:%Y-%m-%d %H:%M:%S.%f}  {sample.kind:<9}  at {sample.checkpoint:,}: "
            f"{sample.lag_events:,} behind, {sample.lag_seconds:.3f} s"
            for sample in self.samples[-SHOWN:]
        ]
        return "\n".join(lines)


def judge(
    samples: Sequence[Sample], *, highest: int, rebuilding: bool, window: timedelta = WINDOW
) -> Verdict:
    """Say what the lag of a projection amounts to. The first rule that applies decides.

    1. A rebuild is under way: REPLAYING.
    2. It has no lag: OK.
    3. No commit and no heartbeat within the window, and in all of it something waited: STOPPED.
       What had nothing to do a while ago is not yet late (so does Burrow: it asks for recent lag
       that was zero before it says that a consumer stopped).
    4. The last move within the window was a replay, or a reset that begins one: REPLAYING.
    5. The checkpoint went back, and is not again where it was: REWIND.
    6. The lag was zero at some time within the window: OK.
    7. Heartbeats, and no move, within the window: STALLED.
    8. No move left less lag than the move before it: WARN, the lag never falls.
    9. Else: OK, the lag falls.

    Args:
        samples: in the order of time: the last move before the window, if there was one; the
            start of the window; each row of ``checkpoint_log`` within it; and now.
        highest: the highest position that the checkpoint ever was at.
        rebuilding: whether a rebuild is under way beside it.
        window: how far back the samples go.

    Example:
        >>> from datetime import UTC
        >>> at = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
        >>> start = Sample(at - WINDOW, "start", 0, 3, 1.0)
        >>> beat = Sample(at, "heartbeat", 0, 3, 61.0)
        >>> now = Sample(at, "now", 0, 3, 61.0)
        >>> judge([start, beat, now], highest=0, rebuilding=False)
        STALLED: heartbeats without movement
          2026-01-01 00:00:00.000000  start      at 0: 3 behind, 1.000 s
          2026-01-01 00:01:00.000000  heartbeat  at 0: 3 behind, 61.000 s
          2026-01-01 00:01:00.000000  now        at 0: 3 behind, 61.000 s
    """
    evidence = _evidence(samples, highest=highest, rebuilding=rebuilding)
    return Verdict(*decide(evidence, window=window), tuple(samples))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the rules ask for about a window, whatever it was gathered from.

    Attributes:
        rebuilding: a rebuild is under way at its end.
        lag_events: the lag at its end.
        rows: how many commits and heartbeats there are within it.
        moves: how many of them moved the checkpoint.
        was_zero: there was no lag at its beginning, or after one of these rows.
        replayed: the last of the moves was a replay, or a reset that begins one.
        checkpoint: where it is at the end.
        highest: the highest position that it ever was at.
        falls: one of the moves left less lag than the move before it. Where there was none before
            the window, it was so far behind as it is where the window begins.
    """

    rebuilding: bool
    lag_events: int
    rows: int
    moves: int
    was_zero: bool
    replayed: bool
    checkpoint: int
    highest: int
    falls: bool


def decide(evidence: Evidence, *, window: timedelta) -> tuple[VerdictName, str]:
    """Return the verdict, and in words the rule that decides; see `judge` for the rules."""
    span = f"{window.total_seconds():g} s"
    if evidence.rebuilding:
        return "REPLAYING", "a rebuild is under way"
    if evidence.lag_events == 0:
        return "OK", "no lag"
    if not evidence.rows and not evidence.was_zero:
        return "STOPPED", f"no commit and no heartbeat for {span}"
    if evidence.replayed:
        return "REPLAYING", "what was applied before is applied again"
    if evidence.checkpoint < evidence.highest:
        back = f"the checkpoint went back from {evidence.highest:,} and has not recovered"
        return "REWIND", back
    if evidence.was_zero:
        return "OK", f"the lag was zero within {span}"
    if not evidence.moves:
        return "STALLED", "heartbeats without movement"
    return ("OK", "the lag falls") if evidence.falls else ("WARN", "lag never falls")


def _evidence(samples: Sequence[Sample], *, highest: int, rebuilding: bool) -> Evidence:
    within = [sample for sample in samples if sample.kind != "before"]
    rows = [sample for sample in within if sample.kind not in ("start", "now")]
    moves = [sample for sample in rows if sample.kind in _MOVED]
    now = samples[-1]
    # The lag grows between two moves, so it is compared where it is lowest: just after each.
    lags = [samples[0].lag_events, *(move.lag_events for move in moves)]
    return Evidence(
        rebuilding=rebuilding,
        lag_events=now.lag_events,
        rows=len(rows),
        moves=len(moves),
        was_zero=any(sample.lag_events == 0 for sample in within),
        replayed=bool(moves) and moves[-1].kind in _REPLAYED,
        checkpoint=now.checkpoint,
        highest=highest,
        falls=any(later < lag for lag, later in pairwise(lags)),
    )
