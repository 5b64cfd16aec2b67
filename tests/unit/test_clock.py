"""Time and ids: what is refused, what repeats itself, and the order of scheduled work."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eslab import ClockError, InputError, SystemClock, VirtualClock
from eslab.clock import (
    VIRTUAL_START,
    RandomIds,
    Scheduler,
    SeededIds,
    as_utc,
    minted_position,
)

EASTERN = timezone(timedelta(hours=-5))


@pytest.mark.parametrize(
    "bad",
    [
        datetime(2013, 1, 1),  # noqa: DTZ001 - the fault
        "2013-01-01",
        None,
        5,
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime(9999, 12, 31, 23, tzinfo=EASTERN),
    ],
    ids=repr,
)
def test_a_time_that_is_no_instant_is_refused(bad: datetime) -> None:
    with pytest.raises(InputError, match="occurred_at"):
        as_utc(bad, what="occurred_at")


@given(
    st.datetimes(
        min_value=datetime(2, 1, 1),  # noqa: DTZ001 - hypothesis asks for naive bounds
        max_value=datetime(9998, 1, 1),  # noqa: DTZ001
        timezones=st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23))),
    )
)
def test_utc_is_the_same_instant(moment: datetime) -> None:
    assert as_utc(moment) == moment
    assert as_utc(moment).tzinfo is UTC


def test_a_virtual_clock_stands_still_and_never_goes_back() -> None:
    clock = VirtualClock()
    assert clock.now() == clock.now() == VIRTUAL_START
    clock.advance(timedelta(seconds=1))
    clock.advance_to(datetime(2026, 1, 1, 5, tzinfo=EASTERN))
    assert clock.now() == datetime(2026, 1, 1, 10, tzinfo=UTC)
    clock.advance(timedelta(0))
    with pytest.raises(ClockError, match="does not go back"):
        clock.advance(timedelta(microseconds=-1))
    with pytest.raises(ClockError):
        clock.advance_to(VIRTUAL_START)
    with pytest.raises(InputError):
        clock.advance_to(datetime(2027, 1, 1))  # noqa: DTZ001 - the fault
    assert clock.now() == datetime(2026, 1, 1, 10, tzinfo=UTC)


def test_the_machines_clock_is_in_utc() -> None:
    assert SystemClock().now().tzinfo is UTC


def test_seeded_ids_repeat_and_others_do_not() -> None:
    one, same, other = SeededIds(7), SeededIds(7), SeededIds(-7)
    ids = [one.mint(number) for number in range(1_000)]
    assert ids == [same.mint(number) for number in range(1_000)]
    assert len({*ids, *(other.mint(number) for number in range(1_000))}) == 2_000
    assert RandomIds().mint(1) != RandomIds().mint(1)
    assert {id.version for id in ids} == {8}
    assert list(map(minted_position, ids)) == list(range(1_000))
    assert one.in_epoch(2).mint(5) not in ids
    assert minted_position(uuid.uuid4()) is None


@given(st.integers(0, 2**47), st.integers(0, 40), st.integers(1, 9))
def test_many_ids_at_once_are_those_that_are_minted_one_by_one(
    first: int, count: int, epoch: int
) -> None:
    places = range(first, first + count)
    seeded, random = SeededIds(7, epoch=epoch), RandomIds().in_epoch(epoch)
    minted = b"".join(seeded.mint(place).bytes for place in places)
    assert seeded.mint_all(first, count) == minted
    block = random.mint_all(first, count)
    ids = [uuid.UUID(bytes=block[at : at + 16]) for at in range(0, len(block), 16)]
    assert list(map(minted_position, ids)) == list(places)
    assert {(id.version, id.variant) for id in ids} <= {(8, uuid.RFC_4122)}
    assert len({id.int & (1 << 62) - 1 for id in ids}) == count


@given(st.lists(st.integers(0, 5)))
def test_work_runs_by_due_time_and_then_in_the_order_of_scheduling(delays: list[int]) -> None:
    scheduler = Scheduler(VirtualClock())
    ran: list[tuple[int, int]] = []
    for number, delay in enumerate(delays):
        work = lambda delay=delay, number=number: ran.append((delay, number))  # noqa: E731
        scheduler.after(timedelta(seconds=delay), work)
    while scheduler.step():
        assert scheduler.clock.now() == VIRTUAL_START + timedelta(seconds=ran[-1][0])
    assert ran == sorted((delay, number) for number, delay in enumerate(delays))


def ran_with(seed: int | None, delays: list[int]) -> list[tuple[int, int]]:
    scheduler = Scheduler(VirtualClock(), seed=seed)
    ran: list[tuple[int, int]] = []
    for number, delay in enumerate(delays):
        work = lambda delay=delay, number=number: ran.append((delay, number))  # noqa: E731
        scheduler.after(timedelta(seconds=delay), work)
    while scheduler.step():
        pass
    return ran


@given(st.lists(st.integers(0, 3)), st.integers())
def test_a_seed_decides_what_comes_first_at_equal_times_and_nothing_else(
    delays: list[int], seed: int
) -> None:
    ran = ran_with(seed, delays)
    assert [delay for delay, _ in ran] == sorted(delays)
    assert sorted(number for _, number in ran) == list(range(len(delays)))
    assert ran_with(seed, delays) == ran


def test_every_order_of_equal_times_is_that_of_some_seed() -> None:
    orders = {tuple(number for _, number in ran_with(seed, [1, 1, 1])) for seed in range(100)}
    assert len(orders) == 6
    assert ran_with(None, [1, 1, 1]) == [(1, 0), (1, 1), (1, 2)]


def test_work_that_is_due_later_waits() -> None:
    clock = VirtualClock()
    scheduler = Scheduler(clock)
    ran: list[str] = []
    scheduler.after(timedelta(seconds=2), lambda: ran.append("late"))
    assert not scheduler.step(until=clock.now() + timedelta(seconds=1))
    assert (ran, len(scheduler), clock.now()) == ([], 1, VIRTUAL_START)
    clock.advance(timedelta(seconds=5))  # overdue work does not turn the clock back
    assert scheduler.step()
    assert (ran, clock.now()) == (["late"], VIRTUAL_START + timedelta(seconds=5))
    assert not scheduler.step()


def test_work_may_schedule_work_but_not_in_the_past() -> None:
    scheduler = Scheduler(VirtualClock())
    ran: list[str] = []
    scheduler.after(timedelta(0), lambda: scheduler.after(timedelta(0), lambda: ran.append("x")))
    while scheduler.step():
        pass
    assert ran == ["x"]
    with pytest.raises(ClockError, match="past"):
        scheduler.after(timedelta(seconds=-1), print)
    scheduler.after(timedelta(0), print)
    scheduler.clear()
    assert not scheduler.step()
