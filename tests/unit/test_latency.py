"""Visibility and latency: of planted logs, and of real ones, what a count by hand gives."""

from __future__ import annotations

import uuid
from collections import defaultdict
from datetime import datetime

import pandas as pd
import pytest
from hypothesis import given, settings
from planted_logs import STEPS, Moved, Planted, play

from eslab import InputError, Lab
from eslab.projections import latencies, visibility


def first_shown(planted: Planted, position: int) -> Moved | None:
    """Walk the rows until one is the first to be so far."""
    highest = 0
    for row in planted.rows:
        if highest < position <= row.to:
            return row
        highest = max(highest, row.to)
    return None


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_an_event_is_visible_when_a_row_first_took_the_checkpoint_to_it(
    steps: list[object],
) -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        play(planted, steps)
        df = visibility(lab.store, planted.projection)
        wanted = planted.wanted()
        assert df["position"].tolist() == [position for position, _ in wanted]
        for (position, recorded_at), row in zip(wanted, df.itertuples(), strict=True):
            shown = first_shown(planted, position)
            assert row.recorded_at == recorded_at
            if shown is None:
                assert pd.isna(row.visible_at)
                assert pd.isna(row.latency_seconds)
                assert pd.isna(row.mode)
            else:
                late = (shown.committed_at - recorded_at).total_seconds()
                assert (row.visible_at, row.mode) == (shown.committed_at, shown.mode)
                assert row.latency_seconds == late >= 0


def processed(planted: Planted) -> dict[str, list[float]]:
    """Return the latencies of each mode: of each event in each batch that it was in."""
    found = defaultdict(list)
    modes = [(row, row.mode) for row in planted.rows]
    modes += [(row, "rebuild") for row in planted.rebuilt]
    for row, mode in modes:
        for position, recorded_at in planted.wanted():
            if row.count and row.frm < position <= row.to:
                found[mode].append((row.committed_at - recorded_at).total_seconds())
    return found


def percentile(values: list[float], share: float) -> float:
    """Return the lowest value that at least this share of the values do not exceed."""
    ordered = sorted(values)
    return next(v for n, v in enumerate(ordered, start=1) if n >= share * len(ordered) - 1e-9)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_latency_counts_every_batch_that_an_event_was_in_by_mode(steps: list[object]) -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        play(planted, steps)
        expected = processed(planted)
        df = latencies(lab.store, [planted.projection])
        assert set(df["mode"]) == set(expected)
        for row in df.itertuples():
            values = expected[str(row.mode)]
            assert (row.projection, int(row[3]), row.max) == ("watched", len(values), max(values))
            for share, name in ((0.5, "p50"), (0.9, "p90"), (0.95, "p95"), (0.99, "p99")):
                assert getattr(row, name) == percentile(values, share)


def test_replays_and_rebuilds_are_kept_apart() -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        planted.append(4, ignored=1)
        planted.wait(1)
        planted.move(2, "catch-up")
        planted.wait(1)
        planted.move(5)
        planted.wait(98)
        planted.move(0, "replay")
        planted.move(1, "replay")
        planted.move(5, "replay")
        planted.wait(100)
        planted.rebuild(5)
        planted.swap()
        planted.rebuild(4)
        planted.swap()
        df = lab.latency().df
        assert df.drop(columns="projection").to_numpy().tolist() == [
            ["live", 2, *[2.0] * 5],
            ["catch-up", 2, *[1.0] * 5],
            ["replay", 4, *[100.0] * 5],
            ["rebuild", 8, *[200.0] * 5],
        ]
        # What was visible stays so, whatever is applied again.
        assert lab.visibility("watched").df["latency_seconds"].tolist() == [1.0, 1.0, 2.0, 2.0]


def test_one_event_by_its_position_or_its_id() -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        planted.append(2, ignored=1)
        planted.wait(2)
        planted.move(1)
        view = lab.visibility("watched")
        first, second, ignored = lab.store.read_all()
        assert view.of(1) == view.of(first.event_id)
        assert view.of(1).latency_seconds == 2.0
        assert str(view.of(1)) == (
            "event 1 became visible in watched at 2026-01-01 00:00:02, after 2.0 s (live)"
        )
        assert view.of(second.event_id).visible_at is None
        assert str(view.of(2)) == "event 2 is not visible in watched yet"
        for wrong in (ignored.event_id, 3, 0, 99):
            with pytest.raises(InputError, match="is none of the 2 events"):
                view.of(wrong)
        with pytest.raises(InputError, match="no event with the id"):
            view.of(uuid.UUID(int=1))
        for odd in ("1", True, 1.0):
            with pytest.raises(InputError, match="by its position or its id"):
                view.of(odd)  # type: ignore[arg-type]


def test_visibility_and_latency_in_words_figure_table_and_query() -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        seen, late = lab.visibility("watched"), lab.latency()
        assert repr(seen) == "VisibilityView(watched: 0 events visible)"
        assert repr(late) == "LatencyView(nothing was processed)"
        assert not seen.figure().data
        assert "Nothing was processed" in late.html()
        planted.append(3)
        planted.wait(2)
        planted.move(2)
        seen, late = lab.visibility("watched"), lab.latency()
        assert (
            repr(seen)
            == "VisibilityView(watched: 2 events visible, after at most 2.0 s, 1 not yet)"
        )
        assert repr(late) == "LatencyView(watched live: p50 2.0 s, p99 2.0 s)"
        for view in (seen, late):
            assert lab.sql(view.sql).df().equals(view.df)
            assert "2.0 s" in view.html()
        (points,) = seen.figure().data
        assert (list(points.customdata), list(points.y)) == ([1, 2], [2.0, 2.0])
        assert seen.figure().layout.title.subtitle.text == "1 event not visible yet"
        assert [list(marks.x) for marks in late.figure().data] == [[2.0]] * 5


def test_a_clock_that_was_set_back_makes_no_latency_negative() -> None:
    with Lab(seed=7) as lab:
        planted = Planted(lab)
        early: datetime = planted.now
        planted.wait(1_000)
        planted.append(1)
        lab.clock._now = early  # type: ignore[attr-defined]
        planted.move(1)
        assert lab.visibility("watched").df["latency_seconds"].tolist() == [0.0]
        assert lab.latency().df["max"].tolist() == [0.0]
