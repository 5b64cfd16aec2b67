"""Lag: the numbers are those of a count by hand, over random histories on a virtual clock."""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_logs import STEPS, Planted, play

from eslab import Cost, Event, Lab, Projection, Row, Rows, on
from eslab.projections import cuts, lag, lag_history, projection_lag, verdict_history
from eslab.store.duckdb import DuckDBStore

MS = timedelta(milliseconds=1)


class Wanted(Event):
    pass


class Ignored(Event):
    pass


class Count(Row, key="key"):
    key: str
    count: int = 0


class Counts(Projection):
    row = Count
    batch = 3
    cost = Cost(batch=2 * MS, event=MS)

    @on
    def wanted(self, event: Wanted, rows: Rows[Count]) -> None:
        rows.ensure(key="all").count += 1


class Slow(Counts):
    cost = Cost(batch=7 * MS, event=MS)
    batch = 2


class Cut(NamedTuple):
    time: datetime
    head: int
    checkpoint: int
    lag_events: int
    lag_seconds: float


def by_hand(store: DuckDBStore, checkpoint: int, head: int, at: datetime) -> Cut:
    """Count it in Python."""
    waiting = [
        event for event in store.read_all(after=checkpoint, until=head) if event.type == "Wanted"
    ]
    seconds = (at - waiting[0].recorded_at).total_seconds() if waiting else 0.0
    return Cut(at, head, checkpoint, len(waiting), seconds)


def history_by_hand(store: DuckDBStore, name: str, at: datetime) -> list[Cut]:
    """Count what held at each moment, and just before each move of the checkpoint."""
    moves = store.sql(
        "select committed_at, to_position from checkpoint_log where projection = ?", [name]
    ).fetchall()
    events = list(store.read_all())

    def cut(time: datetime, seen: Callable[[datetime, datetime], bool]) -> Cut:
        checkpoint = max((to for moved, to in moves if seen(moved, time)), default=0)
        head = max((event.position for event in events if seen(event.recorded_at, time)), default=0)
        return by_hand(store, checkpoint, head, time)

    cuts = []
    for time in sorted({event.recorded_at for event in events} | {time for time, _ in moves}):
        if any(moved == time for moved, _ in moves):
            cuts.append(cut(time, operator.lt))
        cuts.append(cut(time, operator.le))
    return [*cuts, cut(at, operator.le)] if cuts and cuts[-1].time < at else cuts


def measured(store: DuckDBStore, projection: Projection, at: datetime) -> list[Cut]:
    frame = lag_history(store, [projection], at=at)
    assert list(frame["projection"].unique()) == ([projection.name] if len(frame) else [])
    columns: Any = [frame[name] for name in Cut._fields]
    return [
        Cut(time.to_pydatetime().astimezone(UTC), *map(int, numbers), float(seconds))
        for time, *numbers, seconds in zip(*columns, strict=True)
    ]


WORK = st.lists(
    st.lists(st.sampled_from([Wanted, Ignored]), min_size=1, max_size=6)
    | st.integers(0, 12)
    | st.sampled_from(["pause", "resume", "run"]),
    max_size=10,
)


@settings(max_examples=10, deadline=None)
@given(WORK)
def test_lag_now_and_in_hindsight_is_what_a_count_by_hand_gives(work: list[Any]) -> None:
    projections = [Counts(), Slow()]
    with Lab(seed=7) as lab:
        lab.project(*projections)
        for step in work:
            if isinstance(step, list):
                lab.append("x-1", [event() for event in step])
            elif isinstance(step, int):
                lab.advance(step * MS)
            elif step == "run":
                lab.run()
            else:
                getattr(lab, step)("slow")
            for projection in projections:
                found = projection_lag(lab.store, projection, at=lab.clock.now())
                checkpoint = lab.sql(
                    "select position from checkpoints where projection = ?", [projection.name]
                ).scalar()
                expected = by_hand(lab.store, checkpoint, lab.store.head(), lab.clock.now())
                assert (
                    found.at,
                    found.head,
                    found.checkpoint,
                    found.lag_events,
                    found.lag_seconds,
                ) == expected
        for projection in projections:
            at = lab.clock.now()
            expected = history_by_hand(lab.store, projection.name, at)
            assert measured(lab.store, projection, at) == expected


def test_the_count_by_hand_can_differ() -> None:
    with Lab(seed=7) as lab:
        lab.project(Counts())
        lab.append("x-1", [Wanted()])
        lab.run()
        with lab.store.transaction() as transaction:
            transaction.execute("update eslab.checkpoint_log set to_position = 0")
        right = [
            cut._replace(checkpoint=1, lag_events=0, lag_seconds=0.0)
            for cut in history_by_hand(lab.store, "counts", lab.clock.now())
        ]
        assert measured(lab.store, Counts(), lab.clock.now()) != right


def test_a_projection_that_never_ran_is_behind_by_everything() -> None:
    with Lab(seed=7) as lab:
        lab.append("x-1", [Wanted(), Ignored(), Wanted()])
        lab.advance("3s")
        found = projection_lag(lab.store, Counts(), at=lab.clock.now())
        assert (found.checkpoint, found.lag_events, found.lag_seconds) == (0, 2, 3.0)
        assert str(found) == "counts: 2 events, 3.000 s"
        first, last = measured(lab.store, Counts(), lab.clock.now())
        assert (first.lag_events, first.lag_seconds) == (2, 0.0)
        assert (last.lag_events, last.lag_seconds) == (2, 3.0)


def test_an_empty_store_has_no_lag() -> None:
    with Lab(seed=7) as lab:
        found = projection_lag(lab.store, Counts(), at=lab.clock.now())
        assert (found.head, found.lag_events, found.lag_seconds) == (0, 0, 0.0)
        assert str(found) == "counts: caught up at 0"
        assert measured(lab.store, Counts(), lab.clock.now()) == []
        assert list(lag_history(lab.store, [], at=lab.clock.now()).columns) == [
            "projection",
            *Cut._fields,
        ]


def test_lag_is_never_negative_when_the_clock_is_set_back() -> None:
    with Lab(seed=7) as lab:
        start = lab.clock.now()
        lab.project(Counts())
        lab.append("x-1", [Wanted()])
        lab.advance("1h")
        lab.append("x-1", [Wanted()])
        lab.clock._now = start + MS  # type: ignore[attr-defined]
        assert projection_lag(lab.store, Counts(), at=lab.clock.now()).lag_seconds == 0.0
        lab.run()
        cuts = measured(lab.store, Counts(), lab.clock.now())
        assert all(cut.lag_events >= 0 and cut.lag_seconds >= 0 for cut in cuts)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=25, max_size=60))
def test_a_long_history_is_thinned_and_keeps_every_peak(work: list[tuple[int, int]]) -> None:
    with Lab(seed=7) as lab, pytest.MonkeyPatch.context() as patch:
        lab.project(Slow())
        lab.append("x-1", [Wanted()])
        for count, pause in work:
            if count:
                lab.append("x-1", [Wanted(), Ignored()] * count)
            lab.advance(pause * MS)
        lab.advance(MS)
        at = lab.clock.now()
        whole = history_by_hand(lab.store, "slow", at)
        patch.setattr(lag, "ROWS", 30)
        thin = measured(lab.store, Slow(), at)
        assert len(thin) <= 30
        assert set(thin) <= set(whole)
        assert thin[-1] == whole[-1]
        for name in ("lag_events", "lag_seconds"):
            read = operator.attrgetter(name)
            assert max(map(read, thin)) == max(map(read, whole))


def test_lag_is_highest_just_before_a_checkpoint_moves() -> None:
    with Lab(seed=7) as lab:
        lab.project(Slow())
        lab.append("x-1", [Wanted(), Wanted(), Wanted()])
        lab.run()
        # Two batches, of 7 ms and 1 ms an event: 9 ms and then 8 ms.
        assert [
            (cut.lag_events, cut.lag_seconds)
            for cut in measured(lab.store, Slow(), lab.clock.now())
        ] == [(3, 0.0), (3, 0.009), (1, 0.009), (1, 0.017), (0, 0.0)]


def planted_history(planted: Planted, since: datetime | None, until: datetime) -> list[Cut]:
    """Count what held at each moment of a span, also where the checkpoint was set back."""
    moves = [row for row in planted.rows if row.frm != row.to]
    events = list(planted.lab.store.read_all())
    times = {event.recorded_at for event in events} | {row.committed_at for row in moves}
    if not times:
        return []
    first = max(min(times), since or min(times))

    def cut(time: datetime, seen: datetime) -> Cut:
        checkpoint = [0, *(row.to for row in moves if row.committed_at <= seen)][-1]
        head = max((event.position for event in events if event.recorded_at <= seen), default=0)
        lag_events, _ = planted.lag(checkpoint, seen)
        waiting = [at for position, at in planted.wanted() if checkpoint < position <= head]
        seconds = (time - waiting[0]).total_seconds() if waiting else 0.0
        return Cut(time, head, checkpoint, lag_events, seconds)

    moments = {(time, time) for time in (*times, first, until)}
    moments |= {(row.committed_at, row.committed_at - MS / 1000) for row in moves}
    return [cut(*moment) for moment in sorted(moments) if first <= moment[0] <= until]


@settings(max_examples=40, deadline=None)
@given(STEPS, st.none() | st.integers(0, 90), st.none() | st.integers(0, 90))
def test_history_over_any_span_of_a_log_with_heartbeats_resets_and_rebuilds(
    steps: list[Any], since: int | None, until: int | None
) -> None:
    with Lab(seed=7) as lab:
        begun = lab.clock.now()
        planted = Planted(lab)
        play(planted, steps)
        first = None if since is None else begun + timedelta(seconds=since)
        last = None if until is None else begun + timedelta(seconds=until)
        frame = lag_history(
            lab.store, [planted.projection], at=planted.now, since=first, until=last
        )
        end = planted.now if last is None else min(last, planted.now)
        found = [
            Cut(time.to_pydatetime(), *map(int, numbers), float(seconds))
            for _, time, *numbers, seconds in frame.itertuples(index=False)
        ]
        assert found == planted_history(planted, first, end)


class Tagged(Counts):
    category = "y"


@settings(max_examples=8, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["x", "y"]), st.sampled_from([Wanted, Ignored]), st.integers(1, 70)
        ),
        min_size=3,
        max_size=8,
    )
)
def test_lag_over_many_events_is_counted_where_they_are_few_and_far_between(
    runs: list[tuple[str, type[Event], int]],
) -> None:
    """Events are counted by blocks of positions: the runs begin and end anywhere in them."""
    projections = [Counts(), Tagged(), Slow()]
    with Lab(seed=7) as lab:
        lab.project(*projections)
        for category, event, count in runs:
            lab.append(f"{category}-1", [event()] * count)
            lab.advance(9 * MS)
        at = lab.clock.now()
        history = lag_history(lab.store, projections, at=at)
        for projection in projections:
            wanted = [
                event.position
                for event in lab.store.read_all(category=projection.category)
                if event.type == "Wanted"
            ]
            rows = history[history["projection"] == projection.name]
            for head, checkpoint, events in zip(
                rows["head"], rows["checkpoint"], rows["lag_events"], strict=True
            ):
                assert events == sum(checkpoint < position <= head for position in wanted)
            now = projection_lag(lab.store, projection, at=at)
            last = rows.iloc[-1]
            assert (now.lag_events, now.lag_seconds) == (last["lag_events"], last["lag_seconds"])


def test_projections_that_moved_very_often_are_looked_at_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    projections = [Counts(), Tagged(), Slow()]
    with Lab(seed=7) as lab:
        lab.project(*projections)
        for count in (5, 0, 9, 2):
            lab.append("y-1", [Wanted()] * count) if count else None
            lab.advance(9 * MS)
        at = lab.clock.now()
        together = lag_history(lab.store, projections, at=at)
        judged = verdict_history(lab.store, projections, at=at)
        asked: list[int] = []
        ask = lag.history_sql
        monkeypatch.setattr(lag, "history_sql", lambda some: asked.append(len(some)) or ask(some))
        for most, groups in ((1, [1, 1, 1]), (9, [1, 2]), (1_000, [3])):
            monkeypatch.setattr(cuts, "MOVES", most)
            asked.clear()
            assert lag_history(lab.store, projections, at=at).equals(together)
            assert asked == groups
            assert verdict_history(lab.store, projections, at=at) == judged


def test_a_span_in_which_there_is_nothing_is_not_told_as_an_empty_log() -> None:
    with Lab(seed=7) as lab:
        lab.project(Counts())
        lab.append("x-1", [Wanted()])
        start = lab.clock.now()
        nothing = lab.lag(since=start, until=start - timedelta(days=1))
        assert nothing.df.empty
        assert nothing.figure().layout.title.subtitle.text == "the log holds nothing of this time"
        assert "The log holds nothing of this time." in nothing.svg()
