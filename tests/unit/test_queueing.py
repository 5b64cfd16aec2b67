"""What if: the queue is that of a lab to the microsecond, and that of the textbook in the mean."""

from __future__ import annotations

import itertools
import math
import statistics
from datetime import timedelta

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from planted_logs import Wanted, Watched

from eslab import Cost, InputError, Lab, Projection
from eslab.projections import lag, lag_history
from eslab.simulation.queueing import Outage, QueueRun, run_queue
from eslab.simulation.workload import Bursts, arrivals

MS = timedelta(milliseconds=1)
US = timedelta(microseconds=1)


def projection(*, batch: int, cost: Cost) -> Projection:
    found = Watched()
    vars(found).update(batch=batch, cost=cost)
    return found


def lab_history(
    arrived: list[int], *, batch: int, cost: Cost, outage: Outage | None = None
) -> pd.DataFrame:
    """Append at these times in a lab where a real projection runs, and return its lag."""
    happens = [(at, 1, len(list(same))) for at, same in itertools.groupby(arrived)]
    if outage is not None:
        start = outage.start // US
        happens += [(start, 0, "pause"), (start + outage.duration // US, 0, "resume")]
    with Lab(seed=7) as lab:
        found = projection(batch=batch, cost=cost)
        lab.project(found)
        start_of_all = lab.clock.now()
        for at, _, what in sorted(happens):
            lab.advance(start_of_all + at * US - lab.clock.now())
            if isinstance(what, str):
                getattr(lab, what)(found.name)
                lab.advance(timedelta(0))
            else:
                lab.append("x-1", [Wanted()] * what)
        lab.run()
        # The history ends with the last commit, whatever the clock was moved to for an outage.
        return lag_history(lab.store, [found], at=start_of_all)


COSTS = st.builds(
    lambda batch, event: Cost(batch=batch * US, event=event * US),
    st.integers(0, 4_000),
    st.integers(0, 2_000),
)
TIMES = st.lists(st.integers(0, 30_000), min_size=1, max_size=20).map(sorted)


@settings(max_examples=25, deadline=None)
@given(TIMES, st.integers(1, 6), COSTS)
@example([0, 500, 1_000], 2, Cost(batch=MS, event=timedelta(0)))  # one comes as a batch ends
def test_the_history_is_that_of_a_lab(arrived: list[int], batch: int, cost: Cost) -> None:
    run = run_queue(arrived, cost=cost, batch=batch)
    pd.testing.assert_frame_equal(
        run.history("watched"), lab_history(arrived, batch=batch, cost=cost)
    )


@settings(max_examples=25, deadline=None)
@given(TIMES, st.integers(1, 6), COSTS, st.integers(0, 30_000), st.integers(1, 20_000))
def test_so_it_is_with_an_outage(
    arrived: list[int], batch: int, cost: Cost, start: int, duration: int
) -> None:
    outage = Outage(start * US, duration * US)
    run = run_queue(arrived, cost=cost, batch=batch, outage=outage)
    pd.testing.assert_frame_equal(
        run.history("watched"), lab_history(arrived, batch=batch, cost=cost, outage=outage)
    )


@pytest.mark.parametrize("events", [90, 250])
def test_a_long_history_is_thinned_as_that_of_a_lab_is(
    events: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag, "ROWS", 200)
    arrived = arrivals(events, rate=400, seed=3)
    cost = Cost(batch=MS, event=MS)
    run = run_queue(arrived, cost=cost, batch=2)
    history = run.history("watched", rows=200)
    assert len(history) < 200 < len(run.history("x", rows=9999))
    pd.testing.assert_frame_equal(history, lab_history(arrived, batch=2, cost=cost))


def test_the_comparison_would_find_a_microsecond() -> None:
    cost = Cost(batch=MS, event=MS)
    with pytest.raises(AssertionError):
        pd.testing.assert_frame_equal(
            run_queue([0, 5], cost=cost, batch=2).history("watched"),
            lab_history([0, 6], batch=2, cost=cost),
        )


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_single_events_at_random_times_wait_as_long_as_in_an_m_d_1_queue(load: float) -> None:
    """Poisson arrivals, one server, constant service: rho / (2 mu (1 - rho)) in the mean.

    It is the formula of Pollaczek and Khinchine. Runs with other seeds are independent, so their
    means say how far the mean of all may be from it: four standard errors.
    """
    service = 0.001
    cost = Cost(batch=timedelta(0), event=timedelta(seconds=service))
    waits = [
        run_queue(
            arrivals(4_000, rate=load / service, seed=seed), cost=cost, batch=1
        ).mean_wait_seconds
        for seed in range(30)
    ]
    error = statistics.stdev(waits) / math.sqrt(len(waits))
    expected = load * service / (2 * (1 - load))
    assert abs(statistics.mean(waits) - expected) < 4 * error
    # The test can fail: waits that were exponential would be twice as long.
    assert abs(statistics.mean(waits) - 2 * expected) > 4 * error


def test_the_numbers_of_a_run_that_can_be_checked_by_hand() -> None:
    # Two events at 0 and one at 1 ms; a batch of two takes 4 ms, then one of one takes 3 ms.
    run = run_queue([0, 0, 1_000], cost=Cost(batch=2 * MS, event=MS), batch=2)
    assert (run.begun, run.committed, run.checkpoints) == ([0, 4_000], [4_000, 7_000], [2, 3])
    assert (run.utilisation, run.max_queue, run.drain_seconds) == (1.0, 3, 0.006)
    assert run.mean_wait_seconds == 0.001
    assert run.mean_latency_seconds == round((4 + 4 + 6) / 3 / 1000, 6)
    # 2 events for 1 ms, 3 for 3 ms, 1 for 3 ms.
    assert run.mean_queue == round((2 * 1 + 3 * 3 + 1 * 3) / 7, 6)


def test_a_queue_is_stable_while_full_batches_keep_up() -> None:
    cost = Cost(batch=8 * MS, event=MS)
    arrived = arrivals(2_000, rate=400, arrival="constant")

    def run(batch: int) -> QueueRun:
        return run_queue(arrived, cost=cost, batch=batch)

    assert (run(2).load, run(2).stable) == (2.0, False)
    assert (run(8).load, run(8).stable) == (0.8, True)
    assert run(2).max_queue > 900
    assert run(8).max_queue < 20
    assert run(8).utilisation == pytest.approx(1.0, abs=0.05)


def test_an_outage_builds_a_queue_that_drains_at_the_rate_that_is_left() -> None:
    cost = Cost(batch=timedelta(0), event=MS)
    arrived = arrivals(3_000, rate=500, arrival="constant")
    outage = Outage(timedelta(seconds=1), timedelta(seconds=2))
    run = run_queue(arrived, cost=cost, batch=1, outage=outage)
    # 500 events a second wait for two seconds, and 1,000 - 500 a second are left to drain them.
    assert run.max_queue == pytest.approx(1_000, abs=2)
    assert run.drain_seconds == pytest.approx(2.0, abs=0.01)
    assert not any(1_000_000 < at <= 3_000_000 for at in run.committed)


def test_work_that_costs_nothing_leaves_no_lag() -> None:
    nothing = Cost(batch=timedelta(0), event=timedelta(0))
    run = run_queue([0, 0], cost=nothing, batch=1)
    assert (run.utilisation, run.mean_queue, run.mean_wait_seconds) == (0.0, 0.0, 0.0)
    assert run.load == 0.0


def test_what_cannot_be_is_refused() -> None:
    cost = Cost()
    for call, words in (
        (lambda: run_queue([], cost=cost, batch=1), "at least one event"),
        (lambda: run_queue([0], cost=cost, batch=0), "a number from 1"),
        (lambda: Outage(-US, US), "begins at 0 or later"),
    ):
        with pytest.raises(InputError, match=words):
            call()


def test_a_lab_asks_what_if_with_its_own_rate_cost_and_batch() -> None:
    with Lab(seed=7) as lab:
        lab.project(Watched())
        with pytest.raises(InputError, match="the append rate of 'watched' is unknown"):
            lab.what_if("watched")
        for _ in range(11):
            lab.append("x-1", [Wanted()] * 2)
            lab.advance("100 ms")
        before = lab.fingerprint(), lab.clock.now()
        view = lab.what_if("watched", arrival="constant", events=500)
        assert (lab.fingerprint(), lab.clock.now()) == before
        # 22 events, the last of them a second after the first.
        assert view.run.arrived == arrivals(500, rate=21, arrival="constant")
        assert view.run.load == round(21 * 0.011 / 1_000, 6)
        assert "21 events a second (constant)" in view.digest
        seeded = lab.what_if("watched", rate=50)
        assert seeded.run.arrived == arrivals(10_000, rate=50, seed=7)
        other = lab.what_if("watched", rate=50, seed=8, batch=1, cost=Cost(MS, 30 * MS))
        assert other.run.load == pytest.approx(50 * 0.031, rel=0.05)
        assert "UNSTABLE" in other.digest
        bursts = lab.what_if("watched", rate=50, arrival=Bursts(size=500, peak=50), events=5_000)
        assert "50 events a second (Bursts(size=500, peak=50))" in bursts.digest
        # 2,500 events a second in a burst, in batches of one with 31 ms each, make a long queue.
        assert bursts.run.max_queue > seeded.run.max_queue


def test_what_if_is_drawn_as_lag_is() -> None:
    with Lab(seed=7) as lab:
        lab.project(Watched())
        view = lab.what_if("watched", rate=100, events=50, outage=("100 ms", "200 ms"))
        assert list(view.df.columns) == list(lab.lag("watched").df.columns)
        figure = view.figure()
        assert figure.layout.title.text == (
            "What if: watched, 100 events a second (poisson), batches of up to 1,000, "
            "an outage of 200 ms"
        )
        assert figure.layout.title.subtitle.text.startswith("stable, load ")
        assert list(figure.data[2].customdata) == view.df["lag_seconds"].tolist()
        assert "stable" in view.svg()
        assert "What if: " in view.svg()
        assert "virtual time (UTC" in view.svg()
        assert "recorded at" not in view.svg()  # nothing was
        assert view.html().startswith("<img")
