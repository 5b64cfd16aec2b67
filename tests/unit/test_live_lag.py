"""Lag that is kept up in memory is that which the log tells, whatever happens."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from planted_logs import Wanted, Watched

from eslab import Event, Lab, NewEvent, Projection, Row, Rows, SqlProjection, on
from eslab.projections import lag_history
from eslab.projections import live as module
from eslab.projections.live import Line, LiveLag
from eslab.views.lag_source import lines_of


class Other(Event):
    n: int = 0


class Seen(Row, key="key"):
    key: str
    count: int = 0


class Tagged(Projection):
    """Wants few events."""

    row = Seen
    category = "y"
    tags = ("red",)
    batch = 2

    @on
    def other(self, event: Other, rows: Rows[Seen]) -> None:
        rows.ensure(key="all").count += 1


class Counted(SqlProjection):
    """Wants events of two types."""

    key = "kind"
    query = """
        select kind, count(*) as events
        from (select 'w' as kind from wanted union all select 'o' from other) group by kind"""
    merge = {"events": "count"}  # noqa: RUF012
    events = (Wanted, Other)


def followed() -> tuple[Lab, LiveLag]:
    lab = Lab(seed=7)
    lab.project(Watched(), Tagged(), Counted())
    live = LiveLag(lab.store, lambda: list(lab._projections.values()))
    lab._observers.append(live.note)
    return lab, live


def told(lab: Lab, since: datetime) -> dict[str, Line]:
    """Return what the log tells."""
    projections = [runner.projection for runner in lab._projections.values()]
    at = lab.clock.now()
    return lines_of(lag_history(lab.store, projections, at=at, since=since, rows=100_000))


def rows(lines: dict[str, Line]) -> dict[str, set[tuple[int, ...]]]:
    return {name: set(zip(*line, strict=True)) for name, line in lines.items()}


STEPS = st.one_of(
    st.tuples(st.just("append"), st.sampled_from("xy"), st.integers(1, 5)),
    st.tuples(st.just("advance"), st.integers(1, 400)),
    st.tuples(st.sampled_from(["pause", "resume", "reset"]), st.sampled_from(range(3))),
    st.just(("run",)),
    st.just(("look",)),
)


@given(st.lists(STEPS, min_size=1, max_size=40))
@example([("append", "x", 1), ("advance", 1), ("advance", 1), ("reset", 0), ("look",)])
@settings(max_examples=40, deadline=None)
def test_what_is_held_in_memory_is_what_the_log_tells(steps: list[tuple[object, ...]]) -> None:
    lab, live = followed()
    with lab:
        names = list(lab._projections)
        since = lab.clock.now()
        live.look(since=since, now=lab.clock.now)
        held = 0
        for step in [*steps, ("look",), ("append", "y", 3), ("run",), ("look",)]:
            match step:
                case ("append", category, count):
                    red = NewEvent("Other", {"n": 1}, tags=["red"] * (count % 2))
                    lab.store.append(f"{category}-1", [NewEvent("Wanted", {}), red] * count)
                case ("advance", milliseconds):
                    lab.advance(f"{milliseconds} ms")
                case ("run",):
                    lab.run()
                case ("look",):
                    lines = live.look(since=since, now=lab.clock.now)
                    if lines is not None:
                        held += 1
                        assert rows(lines) == rows(told(lab, since))
                    since = lab.clock.now()
                case (change, place):
                    getattr(lab, change)(
                        names[place], **({"progress": False} if change == "reset" else {})
                    )
        assert held


def test_what_is_too_much_to_be_held_is_asked_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    lab, live = followed()
    with lab:
        now = lab.clock.now
        assert [live.look(since=now(), now=now) for _ in range(2)] == [None, {}]
        lab.append("x-1", [Wanted()] * 4)
        assert [live.look(since=now(), now=now) for _ in range(2)] == [None, None]
        lab.run()
        lab.advance("1 s")
        since = now()
        assert live.look(since=since, now=now) is None
        lines = live.look(since=since, now=now)
        assert lines is not None
        assert rows(lines) == rows(told(lab, since))
