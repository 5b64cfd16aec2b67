"""Verdicts in hindsight: what was said at a moment is what is said of it later."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_logs import STEPS, Ignored, Planted, Wanted, Watched, play

from eslab import InputError, Lab, Projection, Row, Rows, on
from eslab.projections import Ruling, measure_lag, measure_lags, verdict_history


class Noticed(Row, key="key"):
    key: str


class Other(Projection):
    row = Noticed

    @on
    def wanted(self, event: Wanted, rows: Rows[Noticed]) -> None:
        rows.ensure(key="all")


class Felt(Row, key="key"):
    key: str


class Touchy(Projection):
    row = Felt
    on_error = "dead-letter"

    @on
    def wanted(self, event: Wanted, rows: Rows[Felt]) -> None:
        rows.ensure(key="all")

    @on
    def ignored(self, event: Ignored, rows: Rows[Felt]) -> None:
        raise ValueError("<b>no</b>")


WINDOW = timedelta(seconds=60)
SECOND = timedelta(seconds=1)


def rulings(planted: Planted, **options: Any) -> list[Ruling]:
    options.setdefault("at", planted.now)
    return verdict_history(planted.lab.store, [planted.projection], window=WINDOW, **options)


@settings(max_examples=25, deadline=None)
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


@settings(max_examples=6, deadline=None)
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


def test_a_verdict_over_time_would_be_found_wrong() -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        planted.append(3)
        planted.wait(100)
        planted.move(0)  # it says that it is there, and does not move
        assert rulings(planted)[-1].verdict == "STALLED"
        with lab.store.transaction() as transaction:
            transaction.execute("delete from eslab.checkpoint_log")
        assert rulings(planted)[-1].verdict == "STOPPED"


def test_verdicts_change_where_their_reasons_do() -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        begun = planted.now
        planted.append(4)
        planted.move(4)
        planted.wait(10)
        planted.append(2)
        planted.wait(100)
        planted.rebuild(3)
        planted.wait(10)
        planted.swap()
        planted.wait(10)
        found = rulings(planted, length=SECOND)
        names = [ruling.verdict for ruling in found]
        assert names == ["OK"] * 69 + ["STOPPED"] * 40 + ["REPLAYING"] * 10 + ["OK"] * 11
        assert found[-1].time == begun + 130 * SECOND


def test_many_projections_are_judged_in_one_statement_each_by_what_it_wants() -> None:
    with Lab(seed=7) as lab:
        first, second = Watched(), Other()
        lab.project(first, second)
        lab.append("x-1", [Wanted()])
        lab.advance("1 s")
        lab.pause("watched")
        lab.append("x-1", [Wanted()] * 70)
        lab.advance("2 min")
        at = lab.clock.now()
        both = verdict_history(lab.store, [first, second], at=at)
        for projection in (first, second):
            alone = verdict_history(lab.store, [projection], at=at)
            assert [one for one in both if one.projection == projection.name] == alone
            assert 150 < len(alone) <= 202
        assert {one.projection: one.verdict for one in both} == {
            "watched": "STOPPED",
            "other": "OK",
        }


@pytest.mark.parametrize("window", [timedelta(0), timedelta(seconds=-1)])
def test_a_window_of_verdicts_is_longer_than_nothing(window: timedelta) -> None:
    with Lab(seed=7) as lab, pytest.raises(InputError, match="longer than 0"):
        verdict_history(lab.store, [Watched()], at=lab.clock.now(), window=window)


def test_nothing_is_judged_where_there_is_nothing() -> None:
    with Lab(seed=7) as lab:
        at = lab.clock.now()
        assert verdict_history(lab.store, [], at=at) == []
        assert verdict_history(lab.store, [Watched()], at=at) == []


def test_rebuilds_dead_letters_and_pauses_are_told() -> None:
    with Lab(seed=7) as lab:
        lab.project(Touchy())
        lab.append("x-1", [Ignored()])
        lab.append("x-2", [Wanted()])
        lab.run()
        lab.advance("1 s")
        paused = lab.clock.now()
        lab.pause("touchy")
        lab.advance("2 s")
        lab.pause("touchy")  # it is already
        lab.resume("touchy")
        lab.advance("1 s")
        rebuilt = lab.clock.now()
        lab.rebuild("touchy", on_error="dead-letter", progress=False)
        lab.advance("1 s")
        lab.pause("touchy")
        found = {(each.kind, each.time): each for each in lab.lag().incidents}
        kinds = [kind for kind, _ in found]
        assert sorted(kinds) == ["dead letter", "pause", "pause", "rebuild"]
        assert found["pause", paused].until == paused + 2 * SECOND
        assert found["pause", lab.clock.now()].until is None
        rebuild = found["rebuild", rebuilt]
        assert rebuild.until is not None
        assert rebuild.until > rebuilt
        assert rebuild.said == "the read model was made anew, up to 2"
        (letter,) = [each for each in found.values() if each.kind == "dead letter"]
        assert letter.said == "event 1 was parked: ValueError: <b>no</b>"
        view = lab.lag()
        assert "✕ dead letter, ‖ pause" in view.svg()
        assert "paused" in view.digest
        assert "parked: ValueError: &lt;b&gt;no" in view.figure().to_json()
