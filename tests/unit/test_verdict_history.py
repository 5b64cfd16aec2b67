"""Verdicts in hindsight: what was said at a moment is what is said of it later."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from planted_logs import STEPS, Planted, play

from eslab import Lab
from eslab.projections import measure_lag
from eslab.projections.measures import measure_lags
from eslab.projections.verdicts import Ruling, verdict_history

WINDOW = timedelta(seconds=60)
SECOND = timedelta(seconds=1)


def rulings(planted: Planted, **options: Any) -> list[Ruling]:
    options.setdefault("at", planted.now)
    return verdict_history(planted.lab.store, [planted.projection], window=WINDOW, **options)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_the_last_verdict_over_time_is_the_verdict_now(steps: list[Any]) -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        play(planted, steps)
        found = rulings(planted)
        now = measure_lag(lab.store, planted.projection, at=planted.now, window=WINDOW)
        if not lab.store.head() and not planted.rows:
            assert found == []
            return
        last = found[-1]
        assert (last.verdict, last.rule) == (now.verdict.name, now.verdict.rule)
        assert (last.time, last.head, last.checkpoint) == (planted.now, now.head, now.checkpoint)
        assert (last.lag_events, last.lag_seconds) == (now.lag_events, now.lag_seconds)


@settings(max_examples=10, deadline=None)
@given(st.lists(STEPS, min_size=2, max_size=3))
def test_what_was_said_at_a_moment_is_said_of_it_in_hindsight(parts: list[list[Any]]) -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        said = {}
        for steps in parts:
            # A rebuild that is dropped later leaves nothing behind that hindsight could see.
            play(planted, [step for step in steps if step[0] not in ("rebuild", "swap")])
            said[planted.now] = measure_lag(
                lab.store, planted.projection, at=planted.now, window=WINDOW
            )
            planted.wait(1)
        for ruling in rulings(planted, length=11 * SECOND)[-12:]:
            (again,) = measure_lags(
                lab.store,
                [planted.projection],
                at=ruling.time,
                window=WINDOW,
                hindsight=True,
            )
            assert (ruling.verdict, ruling.rule) == (again.verdict.name, again.verdict.rule)
            assert (ruling.lag_events, ruling.lag_seconds) == (again.lag_events, again.lag_seconds)
            if ruling.time in said:
                assert again == said[ruling.time]
