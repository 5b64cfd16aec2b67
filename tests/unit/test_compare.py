"""A branch beside its base: what differs in streams, states, read models and sagas is found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soak import scaled

from eslab import (
    Aggregate,
    DomainError,
    Event,
    InputError,
    Lab,
    NewEvent,
    Projection,
    RecordedEvent,
    Row,
    Rows,
    Saga,
    SqlProjection,
    Step,
    StepContext,
    applies,
    on,
)
from eslab.replay import Differences, Folding, Side, differences


class Put(Event):
    key: str
    count: int = 1


class Taken(Event):
    key: str


class Shelf(Aggregate):
    goods: dict[str, int] = {}  # noqa: RUF012 - copied for each instance

    @applies
    def put(self, event: Put) -> None:
        self.goods[event.key] = event.count

    @applies
    def taken(self, event: Taken) -> None:
        del self.goods[event.key]


class Stock(Row, key=("shelf", "key")):
    shelf: str
    key: str
    count: int = 0
    note: str | None = None


class Stocks(Projection):
    row = Stock

    @on
    def put(self, event: Put, rows: Rows[Stock], recorded: RecordedEvent) -> None:
        if event.count < 0:
            raise ValueError("less than nothing")
        rows.ensure(shelf=recorded.stream_id, key=event.key).count = event.count

    @on
    def taken(self, event: Taken, rows: Rows[Stock], recorded: RecordedEvent) -> None:
        rows.delete(shelf=recorded.stream_id, key=event.key)


class Counts(SqlProjection):
    key = "stream_id"
    events = (Put,)
    query = "select stream_id, count(*) as puts from put group by stream_id"
    merge = {"puts": "sum"}  # noqa: RUF012


def full(step: StepContext) -> None:
    if step.input["full"]:
        raise DomainError("the train is full")


TRIP = Saga("trip", [Step("hotel", lambda step: None, lambda step: None), Step("train", full)])


def made() -> Lab:
    lab = Lab(seed=7)
    lab.register(Shelf, Put, Taken, TRIP)
    lab.project(Stocks(), Counts())
    return lab


@pytest.fixture
def labs() -> Iterator[tuple[Lab, Lab]]:
    with made() as base, made() as branch:
        yield base, branch


def side(lab: Lab, until: int | None = None) -> Side:
    return Side(
        lab.store,
        lab.registry,
        Folding(lab.registry, lab.repository.definitions, lab._orchestrator),
        {name: runner.projection for name, runner in lab._projections.items()},
        lab.store.head() if until is None else until,
    )


def compared(labs: tuple[Lab, Lab], **options: Any) -> Differences:
    return differences(side(labs[0]), side(labs[1]), progress=False, **options)


def told(found: Differences) -> list[tuple[Any, ...]]:
    return [
        (one.kind, one.name, one.key, one.path, one.base, one.branch, one.found_in) for one in found
    ]


def test_two_logs_that_say_the_same_have_no_difference(labs: tuple[Lab, Lab]) -> None:
    for lab in labs:
        lab.append("shelf-1", [Put(key="a"), Put(key="b")])
        lab.start_saga(TRIP, "1", full=True)
    labs[0].run()
    labs[1].run()
    # Neither ids nor times, nor the order of streams, make a difference.
    labs[1].advance("1 h")
    labs[0].append("shelf-2", [Put(key="c")])
    labs[0].append("shelf-3", [Put(key="d")])
    labs[1].append("shelf-3", [Put(key="d")])
    labs[1].append("shelf-2", [Put(key="c")])
    found = compared(labs)
    assert not found
    assert len(found) == 0
    assert found.df.empty
    assert [(tally.name, tally.same, tally.different) for tally in found.tallies] == [
        ("streams", 4, 0),
        ("states of these", 0, 0),
        ("stocks", 4, 0),
        ("counts", 3, 0),
        ("sagas", 1, 0),
    ]


def test_every_difference_is_found(labs: tuple[Lab, Lab]) -> None:
    base, branch = labs
    for lab in labs:
        lab.append("shelf-1", [Put(key="a"), Put(key="b")])
    base.append("shelf-1", [Taken(key="b"), Put(key="c", count=3)])
    branch.append("shelf-1", [Put(key="c", count=4)])
    base.append("shelf-2", [Put(key="d")])
    branch.append("shelf-3", [Put(key="e")])
    base.start_saga(TRIP, "1", full=False)
    branch.start_saga(TRIP, "1", full=True)
    base.start_saga(TRIP, "2", full=False)
    branch.start_saga(TRIP, "3", full=False)
    for lab in labs:
        lab.run()
    found = compared(labs)
    versions = [
        (event.stream_id, lab.store.stream_version(event.stream_id))
        for lab in labs
        for event in lab.store.read_all(types=["SagaStarted"])
    ]
    assert told(found) == [
        ("stream", "saga-trip-1", None, "from version 1", versions[0][1], versions[2][1], "both"),
        ("stream", "saga-trip-2", None, "from version 1", versions[1][1], None, "base"),
        ("stream", "saga-trip-3", None, "from version 1", None, versions[3][1], "branch"),
        ("stream", "shelf-1", None, "from version 3", 4, 3, "both"),
        ("stream", "shelf-2", None, "from version 1", 1, None, "base"),
        ("stream", "shelf-3", None, "from version 1", None, 1, "branch"),
        ("state", "shelf-1", None, "goods.b", None, 1, "both"),
        ("state", "shelf-1", None, "goods.c", 3, 4, "both"),
        ("state", "shelf-2", None, "goods", {"d": 1}, None, "base"),
        ("state", "shelf-3", None, "goods", None, {"e": 1}, "branch"),
        ("read model", "stocks", ("shelf-1", "b"), "count", None, 1, "branch"),
        ("read model", "stocks", ("shelf-1", "c"), "count", 3, 4, "both"),
        ("read model", "stocks", ("shelf-2", "d"), "count", 1, None, "base"),
        ("read model", "stocks", ("shelf-3", "e"), "count", None, 1, "branch"),
        ("read model", "counts", "shelf-2", "puts", 1, None, "base"),
        ("read model", "counts", "shelf-3", "puts", None, 1, "branch"),
        ("saga", "trip-1", None, "compensated[0]", None, "hotel", "both"),
        ("saga", "trip-1", None, "completed[1]", "train", None, "both"),
        ("saga", "trip-1", None, "error", None, "DomainError: the train is full", "both"),
        ("saga", "trip-1", None, "failed_step", None, "train", "both"),
        ("saga", "trip-1", None, "status", "COMPLETED", "COMPENSATED", "both"),
        *(("saga", "trip-2", None, *part, None, "base") for part in COMPLETED),
        *(("saga", "trip-3", None, part, None, value, "branch") for part, value in COMPLETED),
    ]
    counts = [found.count(kind) for kind in ("stream", "state", "read model", "saga")]
    assert counts == [6, 3, 2, 3]
    tallies = [
        (one.name, one.same, one.changed, one.only_base, one.only_branch) for one in found.tallies
    ]
    assert tallies == [
        ("streams", 0, 2, 2, 2),
        ("states of these", 0, 1, 1, 1),
        ("stocks", 1, 1, 1, 2),
        ("counts", 1, 0, 1, 1),
        ("sagas", 0, 1, 1, 1),
    ]
    assert list(found.df["kind"]) == [one.kind for one in found]


COMPLETED = (
    ("compensated", []),
    ("completed", ["hotel", "train"]),
    ("status", "COMPLETED"),
)


@pytest.mark.parametrize("run", [(False, False), (True, False), (False, True)])
def test_read_models_need_not_be_up_to_date(labs: tuple[Lab, Lab], run: tuple[bool, bool]) -> None:
    for lab, up_to_date in zip(labs, run, strict=True):
        lab.append("shelf-1", [Put(key="a"), Put(key="b")])
        if up_to_date:
            lab.run()
    assert not compared(labs)


def test_what_was_recorded_later_is_not_looked_at(labs: tuple[Lab, Lab]) -> None:
    base, branch = labs
    for lab in labs:
        lab.append("shelf-1", [Put(key="a")])
    base.append("shelf-1", [Put(key="b")])
    base.run()
    assert not differences(side(base, 1), side(branch), progress=False)
    assert differences(side(base), side(branch), progress=False)


def test_what_both_are_known_to_share_is_not_looked_at(labs: tuple[Lab, Lab]) -> None:
    base, branch = labs
    base.append("shelf-1", [Put(key="a")])
    branch.append("shelf-1", [Put(key="b")])
    assert len(compared(labs, projections=[])) == 3
    assert not compared(labs, common=1, projections=[])


@pytest.mark.parametrize(
    "counts", [((1, 2), (2, 1)), ((0, 0, 0, 1), (0, 1, 1, 1)), ((1, 1, 2), (2, 1, 1))]
)
def test_events_that_change_places_or_come_in_pairs_differ(
    labs: tuple[Lab, Lab], counts: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    for lab, some in zip(labs, counts, strict=True):
        lab.append("shelf-1", [Put(key="a", count=count) for count in some])
    assert [one.name for one in compared(labs, projections=[]).of("stream")] == ["shelf-1"]


def test_a_read_model_that_cannot_be_made_is_told(labs: tuple[Lab, Lab]) -> None:
    base, branch = labs
    base.append("shelf-1", [Put(key="a", count=1)])
    branch.append("shelf-1", [Put(key="a", count=-1)])
    (one,) = (one for one in compared(labs).of("read model") if one.name == "stocks")
    assert (one.path, one.base, one.found_in) == ("cannot be made", None, "base")
    assert "less than nothing" in one.branch
    (both,) = differences(side(branch), side(branch), projections=["stocks"], progress=False)
    assert (both.base, both.found_in) == (both.branch, "both")


def test_an_event_that_only_one_side_can_apply_is_told(labs: tuple[Lab, Lab]) -> None:
    for lab in labs:
        lab.append("shelf-1", [Put(key="a")])
    labs[1].append("shelf-1", [Taken(key="b")])
    (one,) = compared(labs).of("state")
    assert (one.path, one.base, one.branch) == ("cannot be applied", None, "KeyError: 'b'")


def test_streams_that_nothing_folds_are_compared_by_their_events(labs: tuple[Lab, Lab]) -> None:
    for lab, value in zip(labs, (1, 2), strict=True):
        lab.store.append("box-1", [NewEvent("Nobody", {"n": 0}), NewEvent("Nobody", {"n": value})])
    assert told(compared(labs)) == [("stream", "box-1", None, "from version 2", 2, 2, "both")]


def test_one_of_many_differences_is_found(labs: tuple[Lab, Lab]) -> None:
    for lab in labs:
        lab.store.import_events(
            [(f"shelf-{n}", Put(key="a", count=n)) for n in range(1_200)], progress=False
        )
    labs[1].append("shelf-700", [Put(key="b")])
    found = compared(labs, projections=["counts"])
    assert [(one.kind, one.name, one.key) for one in found] == [
        ("stream", "shelf-700", None),
        ("state", "shelf-700", None),
        ("read model", "counts", "shelf-700"),
    ]
    labs[1].append("shelf-2000", [Put(key="b")])
    for n in range(600):
        labs[0].append(f"shelf-{n}", [Put(key="c")])
    assert compared(labs, projections=[]).count("state") == 602


def test_a_projection_that_one_side_lacks(labs: tuple[Lab, Lab]) -> None:
    with Lab(seed=7) as bare:
        found = differences(side(labs[0]), side(bare), progress=False)
        assert [tally.kind for tally in found.tallies] == ["stream", "state", "saga"]
        with pytest.raises(InputError, match=r"no projection 'stocks' on both sides .*none"):
            compared((labs[0], bare), projections=["stocks"])


CHANGE = st.tuples(
    st.sampled_from(["shelf-1", "shelf-2"]),
    st.one_of(
        st.builds(Put, key=st.sampled_from("ab"), count=st.integers(0, 2)),
        st.builds(Taken, key=st.sampled_from("ab")),
    ),
)


@settings(max_examples=scaled(25, 300), deadline=None)
@given(st.lists(CHANGE, max_size=4), st.lists(CHANGE, max_size=4))
def test_what_is_found_is_what_a_plain_comparison_finds(
    left: list[tuple[str, Event]], right: list[tuple[str, Event]]
) -> None:
    def plain(lab: Lab, events: list[tuple[str, Event]]) -> dict[str, list[Any]]:
        held: dict[str, list[Any]] = {}
        for stream_id, event in events:
            lab.append(stream_id, [event])
            held.setdefault(stream_id, []).append(event)
        return held

    with made() as base, made() as branch:
        before, after = plain(base, left), plain(branch, right)
        found = compared((base, branch))
        odd = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        assert {one.name for one in found.of("stream")} == odd
        rows = [lab.fold(Stocks(), progress=False).tables["stocks"] for lab in (base, branch)]
        tables = [{(row.shelf, row.key): row for row in some} for some in rows]  # type: ignore[attr-defined]
        keys = tables[0].keys() | tables[1].keys()
        assert {one.key for one in found.of("read model") if one.name == "stocks"} == {
            key for key in keys if tables[0].get(key) != tables[1].get(key)
        }
        assert {one.name for one in found.of("state")} == {
            name for name in odd if _states(base, name) != _states(branch, name)
        }


def _states(lab: Lab, stream_id: str) -> tuple[Any, bool] | None:
    shelf: Shelf | None = None
    for event in lab.store.read(stream_id):
        shelf = shelf or Shelf(stream_id.removeprefix("shelf-"))
        try:
            shelf.rebuild([lab.registry.decode(event)])
        except KeyError as error:
            return shelf.state, str(error)
    return shelf and (shelf.state, "")
