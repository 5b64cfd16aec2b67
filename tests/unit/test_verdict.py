"""Verdicts: each rule decides a log that was planted for it, and random logs as Python would."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from planted_logs import STEPS, Moved, Planted, play

from eslab import InputError, Lab
from eslab.projections import LagMeasures, measure_lag, verdict_history
from eslab.projections.verdict import SHOWN, Kind, Sample, Verdict, judge

WINDOW = timedelta(seconds=60)


def measured(planted: Planted) -> LagMeasures:
    return measure_lag(planted.lab.store, planted.projection, at=planted.now, window=WINDOW)


def behind(planted: Planted, appended: int = 10, applied: int = 4) -> None:
    """Let it apply some events of many, long before the window."""
    planted.append(appended)
    planted.move(applied)
    planted.wait(100)


def rebuild(planted: Planted) -> None:
    behind(planted)
    planted.move(10)
    planted.rebuild(5)


def caught_up(planted: Planted) -> None:
    # All other rules would apply: it went back, and only its heartbeats are left.
    planted.append(0, ignored=5)
    planted.move(5)
    planted.move(2, "replay")
    planted.wait(100)
    planted.move(2)


def stopped(planted: Planted) -> None:
    behind(planted)


def idle_until_now(planted: Planted) -> None:
    planted.append(4)
    planted.move(4)
    planted.wait(100)
    planted.append(1)


def replaying(planted: Planted) -> None:
    behind(planted, applied=8)
    planted.move(2, "replay")
    planted.wait(1)
    planted.move(4, "replay")
    planted.move(4)


def rewound(planted: Planted) -> None:
    planted.append(10)
    planted.move(8)
    planted.move(2, "replay")
    planted.wait(100)
    planted.move(2)


def rewound_behind_what_it_does_not_want(planted: Planted) -> None:
    # There was no lag where the window begins, and yet the checkpoint is not where it was.
    planted.append(2, ignored=3)
    planted.move(5)
    planted.move(2, "replay")
    planted.wait(100)
    planted.append(1)
    planted.move(2)


def zero_within(planted: Planted) -> None:
    planted.append(4)
    planted.wait(100)
    planted.move(4)
    planted.wait(1)
    planted.append(2)
    planted.wait(20)
    planted.move(4)


def stalled(planted: Planted) -> None:
    behind(planted)
    planted.move(4)


def never_falls(planted: Planted) -> None:
    behind(planted)
    for moved in (5, 6, 7):
        planted.wait(1)
        planted.append(1)
        planted.wait(1)
        planted.move(moved)


def never_falls_with_one_move(planted: Planted) -> None:
    behind(planted)
    planted.append(1)
    planted.move(5)


def never_falls_below_its_last_move(planted: Planted) -> None:
    # It has less lag than where the window begins, but more than when it last moved.
    planted.append(5)
    planted.move(4)
    planted.wait(1)
    planted.append(9)
    planted.wait(100)
    planted.move(9)


def falls(planted: Planted) -> None:
    behind(planted)
    planted.append(1)
    planted.move(6)
    planted.wait(1)
    planted.append(3)


def falls_from_the_start_of_the_window(planted: Planted) -> None:
    planted.append(10)
    planted.wait(100)
    planted.move(1)


def fell_before_the_window(planted: Planted) -> None:
    planted.append(10)
    planted.move(2)
    planted.wait(1)
    planted.move(6)
    planted.wait(100)
    planted.append(3)
    planted.move(7)


def was_zero_before_the_window(planted: Planted) -> None:
    planted.append(4)
    planted.move(4)
    planted.wait(1)
    planted.append(2)
    planted.wait(100)


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (fell_before_the_window, "WARN: lag never falls"),
        (was_zero_before_the_window, "STOPPED: no commit and no heartbeat for 60 s"),
        (rebuild, "REPLAYING: a rebuild is under way"),
        (caught_up, "OK: no lag"),
        (stopped, "STOPPED: no commit and no heartbeat for 60 s"),
        (idle_until_now, "OK: the lag was zero within 60 s"),
        (replaying, "REPLAYING: what was applied before is applied again"),
        (rewound, "REWIND: the checkpoint went back from 8 and has not recovered"),
        (
            rewound_behind_what_it_does_not_want,
            "REWIND: the checkpoint went back from 5 and has not recovered",
        ),
        (zero_within, "OK: the lag was zero within 60 s"),
        (stalled, "STALLED: heartbeats without movement"),
        (never_falls, "WARN: lag never falls"),
        (never_falls_with_one_move, "WARN: lag never falls"),
        (never_falls_below_its_last_move, "WARN: lag never falls"),
        (falls, "OK: the lag falls"),
        (falls_from_the_start_of_the_window, "OK: the lag falls"),
    ],
)
def test_each_rule_decides_the_log_that_was_planted_for_it(
    plant: Callable[[Planted], None], expected: str
) -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        plant(planted)
        found = measured(planted)
        assert str(found.verdict) == expected
        assert found.warning == ("" if expected.startswith("OK") else expected)
        for since in (None, planted.now):  # it may be asked for the end alone
            *_, last = verdict_history(
                lab.store, [planted.projection], at=planted.now, since=since, window=WINDOW
            )
            assert f"{last.verdict}: {last.rule}" == expected


def test_what_recovered_is_no_longer_rewound() -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        rewound(planted)
        planted.move(8, "live")
        assert measured(planted).verdict.name == "OK"


def reference(planted: Planted) -> tuple[str, str]:
    """Walk the rules over the planted rows, with a count by hand at each."""
    at, start = planted.now, planted.now - WINDOW
    older = [row for row in planted.rows if row.committed_at <= start]
    rows = [row for row in planted.rows if row.committed_at > start]
    moves = [row for row in rows if row.frm != row.to]

    def lag_after(row: Moved) -> int:
        return planted.lag(row.to, row.committed_at)[0]

    at_start = planted.lag(older[-1].to if older else 0, start)[0]
    zero = at_start == 0 or any(lag_after(row) == 0 for row in rows)
    if planted.rebuilding:
        return "REPLAYING", "rebuild"
    if planted.lag(planted.checkpoint, at)[0] == 0:
        return "OK", "no lag"
    if not rows and not zero:
        return "STOPPED", "no commit"
    if moves and (moves[-1].mode == "replay" or moves[-1].to < moves[-1].frm):
        return "REPLAYING", "again"
    if planted.checkpoint < max((max(row.frm, row.to) for row in planted.rows), default=0):
        return "REWIND", "went back"
    if zero:
        return "OK", "zero"
    if not moves:
        return "STALLED", "heartbeats"
    before = [lag_after(row) for row in older if row.frm != row.to] or [at_start]
    lags = [before[-1], *map(lag_after, moves)]
    if any(later < lag for lag, later in pairwise(lags)):
        return "OK", "falls"
    return "WARN", "never"


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_the_verdict_of_any_log_is_that_of_the_rules_walked_in_python(steps: list[object]) -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        play(planted, steps)
        found = measured(planted)
        name, words = reference(planted)
        assert (found.verdict.name, words in found.verdict.rule) == (name, True)
        now = planted.lag(planted.checkpoint, planted.now)
        assert (found.lag_events, found.lag_seconds) == now
        for sample in found.verdict.samples:
            assert (sample.lag_events, sample.lag_seconds) == planted.lag(
                sample.checkpoint, sample.time
            )
        numbers = [found.lag_seconds, found.latency_seconds, found.consume_rate, found.append_rate]
        numbers += [found.drain_eta if found.drain_eta != "never" else None]
        assert all(
            math.isfinite(number) and number >= 0 for number in numbers if number is not None
        )


def test_the_reference_would_find_a_verdict_that_is_wrong() -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        stalled(planted)
        with lab.store.transaction() as transaction:
            transaction.execute(
                "delete from eslab.checkpoint_log where from_position = to_position"
            )
        assert measured(planted).verdict.name == "STOPPED"
        assert reference(planted)[0] == "STALLED"


def test_the_measures_of_a_projection_that_works() -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        planted.append(30)
        planted.wait(3)
        planted.move(20)
        planted.wait(1)
        found = measured(planted)
        assert (found.lag_events, found.lag_seconds) == (10, 4.0)
        assert found.latency_seconds == 3.0
        # 20 events in 10 ms; 30 events in the 60 seconds of the window.
        assert (found.consume_rate, found.append_rate) == (2000.0, 0.5)
        assert found.drain_eta == round(10 / (2000 - 0.5), 6)
        assert str(found) == "watched: 10 events, 4.000 s"


def test_what_is_not_known_is_none_and_what_never_ends_is_never() -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        first = measured(planted)
        assert (first.latency_seconds, first.consume_rate, first.drain_eta) == (None, None, 0.0)
        planted.append(1)
        assert measured(planted).drain_eta is None
        planted.move(0)
        blocked = measured(planted)
        assert (blocked.consume_rate, blocked.drain_eta) == (0.0, "never")


def test_replays_do_not_count_as_latency() -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        planted.append(4)
        planted.wait(1)
        planted.move(4)
        planted.wait(50)
        planted.move(0, "replay")
        planted.move(4, "replay")
        assert measured(planted).latency_seconds == 1.0


def test_work_that_costs_nothing_has_no_rate() -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        planted.append(2)
        planted.move(1)
        with lab.store.transaction() as transaction:
            transaction.execute("update eslab.checkpoint_log set started_at = committed_at")
        found = measured(planted)
        assert (found.consume_rate, found.drain_eta) == (None, None)


def test_a_window_is_longer_than_nothing() -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        with pytest.raises(InputError, match="longer than 0"):
            measure_lag(lab.store, planted.projection, at=planted.now, window=timedelta(0))
        ever = measure_lag(lab.store, planted.projection, at=planted.now, window=timedelta.max)
        assert ever.verdict.name == "OK"


def test_the_window_is_where_a_verdict_looks() -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        stalled(planted)
        planted.wait(30)
        store, at = lab.store, planted.now
        short = measure_lag(store, planted.projection, at=at, window=timedelta(seconds=20))
        assert str(short.verdict) == "STOPPED: no commit and no heartbeat for 20 s"
        assert measured(planted).verdict.name == "STALLED"


def test_a_verdict_shows_its_rule_and_its_samples() -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        never_falls(planted)
        verdict = measured(planted).verdict
        kinds = ["before", "start", "live", "live", "live", "now"]
        assert [sample.kind for sample in verdict.samples] == kinds
        assert list(verdict.df["kind"]) == kinds
        assert list(verdict.df["lag_events"]) == [6, 6, 6, 6, 6, 6]
        said = repr(verdict).splitlines()
        assert said[0] == "WARN: lag never falls"
        assert said[-1] == "  2026-01-01 00:01:46.000000  now        at 7: 6 behind, 106.000 s"
        assert len(said) == 7


def test_of_many_samples_the_newest_are_printed() -> None:
    with Lab(seed=7) as lab:
        at = lab.clock.now()
    kinds: list[Kind] = ["start", *["heartbeat"] * 1_200, "now"]
    verdict = judge([Sample(at, kind, 0, 1, 0.0) for kind in kinds], highest=0, rebuilding=False)
    assert isinstance(verdict, Verdict)
    assert repr(verdict).splitlines()[1] == "  (1,190 earlier samples)"
    assert len(repr(verdict).splitlines()) == 2 + SHOWN


def test_a_clock_that_was_set_back_makes_no_lag_negative() -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        early = planted.now
        planted.wait(1_000)
        planted.append(2)
        planted.move(1)
        lab.clock._now = early  # type: ignore[attr-defined]
        found = measured(planted)
        assert (found.lag_events, found.lag_seconds) == (1, 0.0)
        assert all(sample.lag_seconds >= 0 for sample in found.verdict.samples)
