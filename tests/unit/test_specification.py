"""given / when / then: it holds, or it says what differs; in pytest and in a notebook."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from eslab import (
    Aggregate,
    Command,
    Decider,
    DomainError,
    Event,
    InputError,
    SchemaError,
    applies,
    handles,
)
from eslab.aggregates import Sourced
from eslab.simulation.scenarios.accounts import (
    AccountClosed,
    AccountOpened,
    AccountState,
    CloseAccount,
    Deposit,
    MoneyDeposited,
    Withdraw,
    account,
)
from eslab.testing import given


class Renamed(Event):
    name: str


class Rename(Command):
    person_id: str
    name: str


class Person(Aggregate):
    name: str = "<nobody>"

    @handles
    def rename(self, command: Rename) -> None:
        if command.name == self.name:
            raise DomainError("that is the name")
        self.record(Renamed(name=command.name))

    @applies
    def renamed(self, event: Renamed) -> None:
        self.name = event.name


opened = given(AccountOpened(owner="Ann"), of=account)
deposit = Deposit(account_id="1", amount=30)
person = partial(given, of=Person)


def test_what_holds_goes_on() -> None:
    outcome = opened.when(deposit)
    assert outcome.then(MoneyDeposited(amount=30)) is outcome
    outcome.then_state(balance=30, status="open").then_state(
        AccountState("open", "Ann", balance=30)
    )
    assert outcome.events == (MoneyDeposited(amount=30),)
    person().when(Rename(person_id="1", name="Bo")).then(Renamed(name="Bo")).then_state(name="Bo")
    person().when(lambda one: one.rename(Rename(person_id="1", name="Bo"))).then(
        Renamed(name="Bo")
    ).then_state({"name": "Bo"})
    person(Renamed(name="Bo")).when(Rename(person_id="1", name="Bo")).then_raises(
        DomainError, match="that is"
    )
    assert given(of=account, id="a-7").when(deposit).then_raises(DomainError).events == ()


def test_one_beginning_serves_for_several() -> None:
    for _ in range(2):
        opened.when(deposit).then_state(balance=30)


FAILURES: dict[str, tuple[Any, list[str]]] = {
    "another value": (
        lambda: opened.when(deposit).then(MoneyDeposited(amount=31)),
        ["Given AccountOpened(owner='Ann', limit=0)", "-     amount = 31", "+     amount = 30"],
    ),
    "another event": (
        lambda: opened.when(deposit).then(AccountClosed()),
        ["- AccountClosed", "+ MoneyDeposited"],
    ),
    "one too many": (
        lambda: opened.when(deposit).then(MoneyDeposited(amount=30), AccountClosed()),
        ["- AccountClosed", "  MoneyDeposited"],
    ),
    "nothing": (lambda: opened.when(deposit).then(), ["+ MoneyDeposited"]),
    "an error": (
        lambda: opened.when(Withdraw(account_id="1", amount=1)).then(),
        ["nothing was expected, and raised was DomainError: the balance would be -1"],
    ),
    "no error": (
        lambda: opened.when(deposit).then_raises(DomainError),
        ["DomainError was expected, and nothing was raised; recorded was MoneyDeposited"],
    ),
    "another error": (
        lambda: opened.when(Withdraw(account_id="1", amount=1)).then_raises(ValueError),
        ["ValueError was expected, and raised was DomainError"],
    ),
    "another message": (
        lambda: opened.when(Withdraw(account_id="1", amount=1)).then_raises(
            DomainError, match="closed"
        ),
        ["DomainError with 'closed' in its message was expected"],
    ),
    "another state": (
        lambda: opened.when(deposit).then_state(balance=31, owner="Ann"),
        ["-     balance = 31", "+     balance = 30", "      owner = 'Ann'"],
    ),
    "another whole state": (
        lambda: opened.when(deposit).then_state(AccountState("open", "Ann")),
        ["-     balance = 0", "+     balance = 30"],
    ),
    "a state behind an error": (
        lambda: opened.when(Withdraw(account_id="1", amount=1)).then_state(balance=0),
        ["a state was expected, and raised was DomainError"],
    ),
    "a class": (
        lambda: person().when(lambda one: None).then(Renamed(name="Bo")),
        ["Given nothing", "-     name = 'Bo'"],
    ),
}


@pytest.mark.parametrize(("check", "words"), FAILURES.values(), ids=FAILURES)
def test_what_does_not_hold_says_what_differs(check: Any, words: list[str]) -> None:
    with pytest.raises(AssertionError) as caught:
        check()
    for word in words:
        assert word in str(caught.value)


def test_events_are_compared_by_what_they_say_not_by_their_class() -> None:
    class Again(Event, type="MoneyDeposited"):
        amount: int
        reference: str = ""

    opened.when(deposit).then(Again(amount=30))


def test_what_cannot_have_happened_or_cannot_be_asked() -> None:
    with pytest.raises(SchemaError, match="no event Renamed"):
        given(Renamed(name="Bo"), of=account)
    with pytest.raises(InputError, match="takes events"):
        given(deposit, of=account)  # type: ignore[arg-type]
    for bad in (lambda: opened.when(deposit).then_state(),
                lambda: opened.when(deposit).then_state(AccountState(), balance=1)):  # fmt: skip
        with pytest.raises(InputError, match="takes a state, or attributes"):
            bad()
    with pytest.raises(InputError, match="no 'colour'; there is: status, owner, balance"):
        opened.when(deposit).then_state(colour="red")
    with pytest.raises(InputError, match="no 'colour'; there is: name"):
        person().when(Rename(person_id="1", name="Bo")).then_state(colour="red")
    with pytest.raises(InputError, match="class of errors"):
        opened.when(deposit).then_raises("refused")  # type: ignore[arg-type]
    for what in (AccountState, Sourced, Aggregate, "account", None):
        with pytest.raises(
            InputError, match="the class of an aggregate, a decider, or a projection"
        ):
            given(of=what)  # type: ignore[arg-type]


async def later(subject: Any) -> None:
    raise DomainError("nobody waits for it")


def lazily(subject: Any) -> Iterator[None]:
    raise DomainError("nobody asks for it")
    yield


@pytest.mark.parametrize("asked", [Deposit, "deposit", None, later, lazily])
def test_what_would_never_run_is_no_outcome(asked: Any) -> None:
    with pytest.raises(InputError, match="takes a command"):
        opened.when(asked)


def test_a_state_may_be_nothing() -> None:
    def decide(command: Deposit, state: None) -> None: ...
    def evolve(state: None, event: MoneyDeposited) -> None: ...

    nothing = given(of=Decider(decide, evolve, None, category="nothing"))
    nothing.when(deposit).then_state(None)
    with pytest.raises(AssertionError, match="another state"):
        nothing.when(deposit).then_state(0)


def test_it_is_shown_as_a_table_in_a_notebook() -> None:
    shown = person().when(Rename(person_id="1", name="<b>"))._repr_html_()
    assert "<b>" not in shown
    assert "Renamed(name=&#x27;&lt;b&gt;&#x27;)" in shown
    assert "<i>nothing</i>" in shown
    refused = opened.when(CloseAccount(account_id="1"))
    assert repr(refused).splitlines()[-1] == "Then  AccountClosed()"
    assert "DomainError" in opened.when(Withdraw(account_id="1", amount=1))._repr_html_()


TESTS = """
from eslab import Event, VirtualClock
from eslab.store import EventStore

class Counted(Event):
    n: int

def test_fixtures(lab, store, clock):
    assert isinstance(clock, VirtualClock)
    lab.append("counter-1", [Counted(n=1)])
    assert store.head() == 1
    assert next(store.read_all()).recorded_at == clock.now()

def test_each_test_has_its_own(lab):
    assert lab.store.head() == 0
"""


def test_pytest_finds_the_fixtures(tmp_path: Path) -> None:
    tests = tmp_path / "test_mine.py"
    tests.write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    finished = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert "2 passed" in finished.stdout, finished.stdout + finished.stderr


def test_the_plugin_loads_nothing_before_it_is_used() -> None:
    code = (
        "import sys, eslab.testing.plugin; "
        "print([name for name in ('duckdb', 'pandas') if name in sys.modules])"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True
    )
    assert finished.stdout.strip() == "[]"
