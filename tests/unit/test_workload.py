"""Workloads: the laws by which commands arrive, and what driving them does to a lab."""

from __future__ import annotations

import math
import os
import random
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_logs import Wanted, Watched

import eslab.progress
from eslab import (
    ClockError,
    Command,
    DomainError,
    EslabError,
    HandlerNotFoundError,
    InputError,
    Lab,
    LimitError,
    StreamAppend,
    VirtualClock,
)
from eslab.simulation.scenarios.accounts import Deposit, OpenAccount, Withdraw, account
from eslab.simulation.workload import Bursts, Uniform, Workload, WorkloadReport, Zipf, arrivals

START = datetime(2026, 1, 1, tzinfo=UTC)


def pay(number: int, key: int | str) -> Deposit:
    return Deposit(account_id=f"a-{key}", amount=number)


def withdraw(key: int | str) -> Withdraw:
    return Withdraw(account_id=f"a-{key}", amount=30)


class Wish(Command):
    number: int


def wish(number: int) -> Wish:
    return Wish(number=number)


def want(command: Wish) -> StreamAppend:
    return StreamAppend("x-1", [Wanted()])


@pytest.fixture
def bank() -> Iterator[Lab]:
    """A lab with the accounts a-1, a-2 and a-3, with 100 each."""
    with Lab(seed=7) as lab:
        lab.register(account)
        for key in (1, 2, 3):
            lab.execute(OpenAccount(account_id=f"a-{key}", owner="Ann"))
            lab.execute(Deposit(account_id=f"a-{key}", amount=100))
        yield lab


# When commands arrive.


def gaps(times: list[int]) -> list[int]:
    return [after - before for before, after in pairwise(times)]


def variation(times: list[int]) -> float:
    """Return the coefficient of variation of the times between arrivals."""
    return statistics.pstdev(gaps(times)) / statistics.mean(gaps(times))


ARRIVALS = st.sampled_from(["poisson", "constant", "bursts"]) | st.builds(
    Bursts, st.floats(1, 1e3), st.floats(1.001, 1e6)
)


@given(st.integers(1, 200), st.floats(0.01, 1e6), ARRIVALS, st.integers())
def test_as_many_arrive_as_are_asked_for_one_after_the_other(
    count: int, rate: float, arrival: Any, seed: int
) -> None:
    times = arrivals(count, rate=rate, arrival=arrival, seed=seed)
    assert len(times) == count
    assert times[0] >= 0
    assert times == sorted(times)
    assert times == arrivals(count, rate=rate, arrival=arrival, seed=seed)


@pytest.mark.parametrize("arrival", ["poisson", "constant", "bursts", Bursts(size=5, peak=2)])
def test_arrivals_keep_their_rate(arrival: Any) -> None:
    times = arrivals(100_000, rate=250, arrival=arrival, seed=1)
    # The time of the last one is a sum of 100,000; four standard errors of it.
    error = 4 * max(variation(times), 0.001) / math.sqrt(len(times))
    assert times[-1] / 1e6 == pytest.approx(400, rel=error)
    assert times[-1] / 1e6 != pytest.approx(440, rel=error)


def test_constant_arrivals_do_not_vary_and_poisson_ones_vary_as_exponential_times_do() -> None:
    assert variation(arrivals(1_000, rate=100, arrival="constant")) == 0
    times = arrivals(100_000, rate=100, seed=1)
    assert variation(times) == pytest.approx(1, abs=0.02)
    # A variation of 1 is not all: of exponential times, 1 - 1/e are shorter than their mean.
    shorter = sum(gap < 10_000 for gap in gaps(times)) / len(times)
    assert shorter == pytest.approx(1 - 1 / math.e, abs=0.01)


@pytest.mark.parametrize(("size", "peak"), [(20, 10), (50, 3), (1, 1.5)])
def test_bursts_vary_as_the_interrupted_poisson_process_does(size: float, peak: float) -> None:
    """The formula follows from Kuczura's hyperexponential times between arrivals."""
    times = arrivals(200_000, rate=100, arrival=Bursts(size=size, peak=peak), seed=1)
    expected = 1 + 2 * size * (1 - 1 / peak) ** 2
    assert expected > 1.2
    assert variation(times) ** 2 == pytest.approx(expected, rel=0.05)


def test_bursts_have_their_rate_from_the_first_second_on() -> None:
    early = [
        sum(at <= 100_000 for at in arrivals(200, rate=100, arrival=Bursts(5, 4), seed=seed))
        for seed in range(2_000)
    ]
    error = statistics.stdev(early) / math.sqrt(len(early))
    # Otherwise, if it always began with a burst, there would be more.
    assert abs(statistics.mean(early) - 10) < 4 * error < 3


# Whom they are for.


@pytest.mark.parametrize("s", [0, 0.5, 1, 2.5])
def test_keys_are_chosen_by_zipfs_law(s: float) -> None:
    number = 50_000
    chosen = Counter(islice(Zipf(20, s).chosen(random.Random(1).random), number))
    total = sum(rank**-s for rank in range(1, 21))
    expected = {rank: number * rank**-s / total for rank in range(1, 21)}

    def chi_square(seen: Counter[Any]) -> float:
        return sum((seen[key] - count) ** 2 / count for key, count in expected.items())

    # With 19 degrees of freedom, 43.8 is passed once in a thousand times.
    assert chi_square(chosen) < 43.8
    # The test can fail: were the ranks shifted by one, or another law followed, it would be.
    assert chi_square(Counter({key % 20 + 1: count for key, count in chosen.items()})) > 43.8 or (
        s == 0
    )
    other = islice(Zipf(20, s + 0.1).chosen(random.Random(1).random), number)
    assert chi_square(Counter(other)) > 43.8


def test_uniform_keys_are_chosen_equally_often() -> None:
    names = ["red", "green", "blue"]
    chosen = Counter(islice(Uniform(names).chosen(random.Random(1).random), 30_000))
    assert set(chosen) == set(names)
    assert max(chosen.values()) - min(chosen.values()) < 500


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 50), st.floats(0, 1e300))
def test_every_random_number_chooses_a_key(number: float, keys: int, s: float) -> None:
    for draw in (number, 0.0, 1 - 2**-53):
        assert 1 <= next(Zipf(keys, s).chosen(lambda draw=draw: draw)) <= keys  # type: ignore[misc]
        assert 1 <= next(Uniform(keys).chosen(lambda draw=draw: draw)) <= keys  # type: ignore[misc]


# What arrives.


@settings(deadline=None)
@given(st.integers(1, 50), ARRIVALS, st.integers())
def test_a_workload_is_the_same_each_time(count: int, arrival: Any, seed: int) -> None:
    workload = Workload(pay, count=count, rate=100, arrival=arrival, keys=Zipf(5), seed=seed)
    pairs = list(workload)
    assert pairs == list(workload)
    assert len(pairs) == len(workload) == count
    assert [command.amount for _, command in pairs] == list(range(1, count + 1))  # type: ignore[attr-defined]
    assert [at // timedelta(microseconds=1) for at, _ in pairs] == arrivals(
        count, rate=100, arrival=arrival, seed=seed
    )


def test_a_seed_stands_for_these_commands_in_every_version() -> None:
    """Written down, so that another way to draw them is noticed: notebooks depend on it."""
    workload = Workload(pay, count=4, rate=50, arrival="bursts", keys=Zipf(9), seed=7)
    assert [(str(at), command.account_id) for at, command in workload] == [  # type: ignore[attr-defined]
        ("0:00:00.060871", "a-1"),
        ("0:00:00.062334", "a-1"),
        ("0:00:00.062447", "a-3"),
        ("0:00:00.062520", "a-3"),
    ]


def test_another_arrival_leaves_the_keys_and_another_seed_does_not() -> None:
    def keys(**changed: Any) -> list[str]:
        chosen = {"count": 50, "rate": 5, "keys": Zipf(9), "seed": 1} | changed
        return [command.account_id for _, command in Workload(pay, **chosen)]  # type: ignore[attr-defined]

    assert keys() == keys(arrival="bursts", rate=7) == keys(count=90)[:50] != keys(seed=2)


def test_a_function_takes_what_it_asks_for() -> None:
    def sent(command: Any, **more: Any) -> list[Command]:
        return [made for _, made in Workload(command, count=2, rate=1, **more)]

    assert [made.amount for made in sent(lambda number: pay(number, "x"))] == [1, 2]  # type: ignore[attr-defined]
    assert sent(withdraw, keys=Zipf(["b"])) == [withdraw("b")] * 2
    assert sent(lambda key, amount=5: pay(amount, key), keys=Zipf(["b"])) == [pay(5, "b")] * 2
    assert sent(pay, keys=Uniform(["b"])) == [pay(1, "b"), pay(2, "b")]


def test_a_workload_says_what_it_is() -> None:
    names = [f"a-{number}" for number in range(1_000)]
    workload = Workload(withdraw, count=1_000, rate=2.5, keys=Zipf(names), arrival=Bursts())
    assert repr(workload) == (
        "Workload(withdraw: 1,000 commands, 2.5 a second (Bursts(size=20, peak=10)), "
        "Zipf(('a-0', 'a-1', 'a-2', 'a-3', 'a-4', 'a-5', ...), s=1), seed=0)"
    )
    assert repr(Uniform(3)) == "Uniform(3)"


def made(**changed: Any) -> Workload:
    return Workload(**{"command": pay, "count": 1, "rate": 1, "keys": Zipf(3)} | changed)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"count": 0}, "at least one arrival, not 0"),
        ({"count": True}, "at least one arrival, not True"),
        ({"count": 2.0}, "at least one arrival"),
        ({"rate": 0}, "a second, above 0, not 0"),
        ({"rate": -1}, "above 0"),
        ({"rate": math.nan}, "above 0, not nan"),
        ({"rate": math.inf}, "above 0, not inf"),
        ({"rate": 10**400}, "above 0, not 1000"),
        ({"rate": "5"}, "above 0, not '5'"),
        ({"rate": 1e-11}, "too long to be timed"),
        ({"seed": None}, "seed must be a whole number, not None"),
        ({"arrival": "burst"}, "'poisson', 'constant', 'bursts' or Bursts"),
        ({"arrival": ["bursts"]}, "'poisson', 'constant', 'bursts' or Bursts"),
        ({"keys": 100}, "chosen by a law, such as Zipf"),
        ({"command": pay(1, 2)}, "a function that makes a command"),
        ({"command": lambda: pay(1, 2)}, "a function that makes a command of its key, or"),
        ({"command": lambda a, b, c: pay(a, b)}, "a function that makes a command of its key, or"),
        ({"command": pay, "keys": None}, "there are no keys: say which with keys=Zipf"),
    ],
)
def test_a_workload_that_cannot_be_is_refused_at_once(changed: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        made(**changed)


def test_laws_that_cannot_be_are_refused() -> None:
    for make, words in (
        (lambda: Zipf(0), "a number of them from 1"),
        (lambda: Zipf([]), "a list of texts with at least one"),
        (lambda: Zipf("abc"), "not 'abc'"),
        (lambda: Zipf([1, 2]), "a list of texts"),  # type: ignore[list-item]
        (lambda: Uniform({"a", "b"}), "a list of texts"),  # type: ignore[arg-type]
        (lambda: Uniform(True), "not True"),
        (lambda: Zipf(3, -1), "a number from 0, not -1"),
        (lambda: Zipf(3, math.nan), "a number from 0, not nan"),
        (lambda: Bursts(size=0.5), "a size from 1"),
        (lambda: Bursts(size=math.inf), "a size from 1"),
        (lambda: Bursts(peak=1), "above 1, not 1"),
        (lambda: arrivals(1, rate=1e-3, arrival=Bursts(size=1e300)), "too long to be timed"),
    ):
        with pytest.raises(InputError, match=words):
            make()
    with pytest.raises(LimitError, match="at most 10,000,000 keys"):
        Zipf(10**9)


def test_a_function_that_makes_no_command_is_named() -> None:
    def forgets(key: int) -> Any:
        return None

    with pytest.raises(InputError, match="forgets returned None for command 1"):
        list(made(command=forgets))


# Driving it.

SCRIPT = """
from eslab import Command, Event, Lab, StreamAppend
from eslab.simulation.workload import Bursts, Workload, Zipf
from planted_logs import Watched, Wanted

class Ask(Command):
    who: str
    words: frozenset[str]

def ask(number: int, key: str) -> Ask:
    return Ask(who=key, words=frozenset(f"w{number * other % 7}" for other in range(9)))

with Lab(seed=7) as lab:
    lab.project(Watched())

    @lab.handles
    def asked(command: Ask) -> StreamAppend:
        return StreamAppend(f"x-{command.who}", [Wanted()])

    workload = Workload(ask, count=300, rate=500, arrival=Bursts(size=9), keys=Zipf(["a", "b"]))
    print(lab.drive(workload), lab.fingerprint(), lab.lag().df.to_csv())
    print([event.metadata.command_id for event in lab.store.read_all()])
"""


def test_another_process_drives_it_to_the_same_bytes() -> None:
    def output(seed: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout

    assert output("1") == output("2") != ""


def recorded_at(lab: Lab) -> list[timedelta]:
    return [event.recorded_at - START for event in lab.store.read_all()]


def test_each_command_is_carried_out_at_its_time(bank: Lab) -> None:
    bank.advance("1 h")
    workload = Workload(pay, count=20, rate=10, keys=Uniform(3), seed=3)
    report = bank.drive(workload)
    later = timedelta(hours=1)
    assert recorded_at(bank)[6:] == [later + at for at, _ in workload]
    assert (report.started_at, report.ended_at) == (START + later, bank.clock.now())
    assert (report.commands, report.carried_out, report.duplicates, report.refused) == (
        20,
        20,
        0,
        {},
    )


def test_work_that_falls_due_meanwhile_is_done_and_the_rest_is_left() -> None:
    with Lab(seed=7) as lab:
        lab.handles(want)
        lab.project(Watched())
        # Each event takes a millisecond and a bit, and they are 10 ms apart.
        lab.drive(Workload(wish, count=5, rate=100, arrival="constant"))
        moves = lab.sql("select to_position from checkpoint_log order by all").fetchall()
        assert moves == [(1,), (2,), (3,), (4,)]
        assert lab.lag().now[0].lag_events == 1
        lab.run()
        assert lab.lag().now[0].lag_events == 0


def test_no_command_waits_for_work_that_is_behind(bank: Lab) -> None:
    bank.project(Watched())
    bank.handles(want)
    workload = Workload(wish, count=50, rate=5_000)
    bank.drive(workload)
    # A batch takes a millisecond, in which five arrive.
    assert recorded_at(bank)[6:] == [at for at, _ in workload]


def test_refusals_are_counted_by_their_reason(bank: Lab) -> None:
    report = bank.drive(Workload(withdraw, count=60, rate=10, keys=Zipf(5), seed=1))
    # Each account has enough for three; a-4 and a-5 do not exist.
    assert report.carried_out == 9
    below, unknown = "the balance would be #, and may not go below #", "there is no account a-#"
    assert set(report.refused) == {below, unknown}
    assert list(report.refused.values()) == sorted(report.refused.values(), reverse=True)
    assert sum(report.refused.values()) == 51
    assert repr(report) == (
        f"<WorkloadReport: 60 commands in {report.ended_at - START}: 9 carried out, 51 refused "
        f"({report.refused[below]} x {below}; {report.refused[unknown]} x {unknown})>"
    )


def test_a_report_names_the_most_frequent_reasons() -> None:
    refused = {f"reason {letter}": 9 - place for place, letter in enumerate("abcde")}
    report = WorkloadReport(50, 5, refused, START, START + timedelta(seconds=1))
    assert repr(report) == (
        "<WorkloadReport: 50 commands in 0:00:01: 10 carried out, 5 carried out before, 35 refused "
        "(9 x reason a; 8 x reason b; 7 x reason c; 2 other reasons)>"
    )


def test_a_refusal_can_be_raised(bank: Lab) -> None:
    with pytest.raises(DomainError, match="there is no account a-9"):
        bank.drive(Workload(withdraw, count=2, rate=10, keys=Zipf(["9"])), on_refusal="raise")
    assert bank.store.head() == 6


def test_other_errors_stop_it_and_driving_it_again_goes_on_from_there(bank: Lab) -> None:
    broken = True

    def late(envelope: Any, go_on: Any) -> Any:
        if broken and envelope.message.amount == 8:
            raise EslabError("the line is down")
        return go_on()

    bank.use(late)
    workload = Workload(pay, count=20, rate=10, keys=Uniform(3))
    with pytest.raises(EslabError, match="the line is down"):
        bank.drive(workload)
    assert bank.store.head() == 6 + 7
    broken = False
    report = bank.drive(workload)
    assert (report.duplicates, report.carried_out) == (7, 13)
    assert bank.store.head() == 6 + 20


def test_what_nothing_handles_stops_it() -> None:
    with Lab(seed=7) as lab, pytest.raises(HandlerNotFoundError):
        lab.drive(made())


def test_a_workload_that_is_driven_again_repeats_nothing(bank: Lab) -> None:
    workload = Workload(pay, count=20, rate=10, keys=Uniform(3))
    bank.drive(workload)
    before = bank.store.head()
    again = bank.drive(workload)
    assert (again.duplicates, again.carried_out, bank.store.head()) == (20, 0, before)
    assert "0 carried out, 20 carried out before>" in repr(again)
    # One that is made longer goes on.
    longer = bank.drive(Workload(pay, count=25, rate=10.0, keys=Uniform(3)))
    assert (longer.duplicates, longer.carried_out) == (20, 5)


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 1},
        {"rate": 11},
        {"arrival": "bursts"},
        {"arrival": Bursts(size=3)},
        {"keys": Zipf(1, s=0)},
        {"command": lambda number, key: pay(number + 1, key)},
    ],
)
def test_another_workload_repeats_nothing_of_the_first(bank: Lab, changed: dict[str, Any]) -> None:
    # With one key, the commands themselves are the same, whatever the law.
    first: dict[str, Any] = {"command": pay, "count": 5, "rate": 10, "keys": Uniform(1)}
    bank.drive(Workload(**first))
    assert bank.drive(Workload(**first)).duplicates == 5
    assert bank.drive(Workload(**first | changed)).duplicates == 0


def test_what_was_refused_is_decided_anew(bank: Lab) -> None:
    workload = Workload(withdraw, count=5, rate=10, keys=Uniform(["1"]))
    assert bank.drive(workload).carried_out == 3
    bank.execute(Deposit(account_id="a-1", amount=100))
    again = bank.drive(workload)
    assert (again.duplicates, again.carried_out) == (3, 2)


def test_a_command_that_has_no_text_cannot_be_told_from_another() -> None:
    class Odd(Command):
        what: Any

    with Lab(seed=7) as lab, pytest.raises(InputError, match="Odd cannot be written as JSON"):
        lab.drive(Workload(lambda number: Odd(what=object()), count=1, rate=1))


def test_it_needs_a_lab_that_can_and_a_workload() -> None:
    with Lab() as lab, pytest.raises(ClockError, match=r"make it with Lab\(seed=...\)"):
        lab.drive(made())
    with Lab(seed=7) as lab:
        with pytest.raises(InputError, match=r"is a Workload\(\.\.\.\), not \[\]"):
            lab.drive([])  # type: ignore[arg-type]
        with pytest.raises(InputError, match="'count' or 'raise', not 'skip'"):
            lab.drive(made(), on_refusal="skip")  # type: ignore[arg-type]
    last_day = VirtualClock(datetime(9999, 12, 31, tzinfo=UTC))
    with Lab(seed=7, clock=last_day) as lab, pytest.raises(ClockError, match="there is no time"):
        lab.drive(made(rate=1e-6, arrival="constant"))


def test_a_lab_that_was_superseded_drives_nothing(tmp_path: Any) -> None:
    path = tmp_path / "x.duckdb"
    with Lab(path, seed=7) as old, Lab(path, seed=7), pytest.raises(EslabError, match="superseded"):
        old.drive(made())


def test_commands_are_counted_on_a_bar(bank: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[dict[str, Any]] = []

    class Bar(eslab.progress._Bar):  # type: ignore[misc, name-defined]
        def __init__(self, **arguments: Any) -> None:
            bars.append(arguments)
            super().__init__(**arguments)

        def close(self) -> None:
            bars[-1]["n"] = self.n
            super().close()

    monkeypatch.setattr(eslab.progress, "_Bar", Bar)
    bank.drive(made(count=5), progress=False)
    (bar,) = bars
    assert (bar["total"], bar["unit"], bar["disable"]) == (5, " commands", True)
