"""Aggregates: state by events alone, saved at the version they were loaded with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eslab import (
    ConcurrencyError,
    DomainError,
    Event,
    InputError,
    MemoryStore,
    Metadata,
    NewEvent,
    SchemaError,
    StreamNotFoundError,
    UnknownEventTypeError,
    applies,
)
from eslab.aggregates import Aggregate, Repository
from eslab.schema import EventRegistry


class Deposited(Event):
    amount: int


class Withdrawn(Event):
    amount: int


class Account(Aggregate, category="account"):
    kind: ClassVar[str] = "no state"
    balance: int = 0
    history: list[int] = []  # noqa: RUF012 - copied for each instance

    def deposit(self, amount: int) -> None:
        self.record(Deposited(amount=amount))

    def withdraw(self, amount: int) -> None:
        if amount > self.balance:
            raise DomainError(f"{amount} is more than {self.balance}")
        self.record(Withdrawn(amount=amount))

    @applies
    def deposited(self, event: Deposited) -> None:
        self.balance += event.amount
        self.history.append(event.amount)

    @applies
    def withdrawn(self, event: Withdrawn) -> None:
        self.balance -= event.amount
        self.history.append(-event.amount)


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    with MemoryStore() as opened:
        yield opened


@pytest.fixture
def repository(store: MemoryStore) -> Repository:
    return Repository(store, EventRegistry())


@given(st.lists(st.integers(-20, 20)))
def test_what_is_loaded_is_what_was_saved(amounts: list[int]) -> None:
    with MemoryStore() as store:
        repository = Repository(store, EventRegistry())
        account = Account("a-1")
        for amount in amounts:
            try:
                account.deposit(amount) if amount >= 0 else account.withdraw(-amount)
            except DomainError:
                continue
            repository.save(account)
        loaded = repository.find(Account, "a-1")
        assert (loaded.state, loaded.version) == (account.state, account.version)
        assert loaded.balance == sum(loaded.history) >= 0
        for version in range(1, loaded.version + 1):
            past = repository.load(Account, "a-1", version=version)
            assert past.history == loaded.history[:version]


def test_a_refused_command_records_nothing(repository: Repository, store: MemoryStore) -> None:
    account = Account("a-1")
    with pytest.raises(DomainError):
        account.withdraw(1)
    assert (account.uncommitted, account.version) == ([], 0)
    assert repository.save(account).version == 0
    assert store.head() == 0
    with pytest.raises(StreamNotFoundError, match="account-a-1"):
        repository.load(Account, "a-1")
    assert repository.find(Account, "a-1").version == 0


def test_of_two_writers_the_second_is_refused_and_keeps_its_events(
    repository: Repository,
) -> None:
    account = Account("a-1")
    account.deposit(5)
    repository.save(account, metadata=Metadata(actor="Ann"))
    one, two = repository.load(Account, "a-1"), repository.load(Account, "a-1")
    one.withdraw(5)
    repository.save(one)
    two.withdraw(5)
    with pytest.raises(ConcurrencyError) as caught:
        repository.save(two)
    assert (caught.value.expected, caught.value.actual) == (1, 2)
    assert len(two.uncommitted) == 1
    assert repository.load(Account, "a-1").balance == 0


def test_instances_share_no_state() -> None:
    one, two = Account("1"), Account("2")
    one.deposit(5)
    assert (two.history, two.balance, Account.history) == ([], 0, [])
    assert "kind" not in one.state
    assert repr(one) == "<Account 1 v1 balance=5 history=[5] (1 uncommitted)>"


def test_an_event_without_handler_is_an_error(repository: Repository, store: MemoryStore) -> None:
    class Closed(Event):
        pass

    account = Account("a-1")
    with pytest.raises(SchemaError, match="no handler for Closed"):
        account.record(Closed())
    assert account.uncommitted == []
    store.append("account-a-1", [NewEvent("Closed", {})])
    with pytest.raises(UnknownEventTypeError):
        repository.load(Account, "a-1")


def test_names_of_streams() -> None:
    class HTTPServer(Aggregate):
        pass

    assert HTTPServer("x-1").stream_id == "http_server-x-1"
    with pytest.raises(InputError):
        HTTPServer("a\nb")
    for bad in ("a-b", ""):
        with pytest.raises(SchemaError, match="category"):
            type("Bad", (Aggregate,), {"__module__": __name__}, category=bad)


@pytest.mark.parametrize("name", ["id", "version", "uncommitted", "state", "stream_id", "category"])
def test_state_cannot_have_a_name_that_eslab_uses(name: str) -> None:
    with pytest.raises(SchemaError, match=name):
        type("Bad", (Aggregate,), {"__annotations__": {name: int}, name: 0, "__module__": __name__})


def test_state_needs_a_value_to_begin_with() -> None:
    with pytest.raises(SchemaError, match="balance needs a value"):

        class Bad(Aggregate):
            balance: int


def test_a_class_that_is_defined_again_loads_the_same_streams(repository: Repository) -> None:
    def define() -> type[Aggregate]:
        class Opened(Event):
            by: str

        class Door(Aggregate):
            by: str = ""

            def open(self, by: str) -> None:
                self.record(Opened(by=by))

            @applies
            def opened(self, event: Opened) -> None:
                self.by = event.by

        return Door

    door = define()("1")
    door.open("Ann")  # type: ignore[attr-defined]
    repository.save(door)
    assert repository.load(define(), "1").state == {"by": "Ann"}
