"""Aggregates: state by events alone, saved at the version they were loaded with."""

from __future__ import annotations

import dataclasses
import threading
import typing as t
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

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
    for bad in ("a-b", "", "a\nb", "a" * 300, 3):
        with pytest.raises(SchemaError, match="category"):
            type("Bad", (Aggregate,), {"__module__": __name__}, category=bad)
    for bad in ("", 1, None, True, ["1"]):
        with pytest.raises(InputError, match="the identity of 'http_server' is a text"):
            HTTPServer(bad)  # type: ignore[arg-type]


OWN = ["id", "version", "uncommitted", "state", "stream_id", "category", "definition"]


@pytest.mark.parametrize("name", OWN)
def test_state_cannot_have_a_name_that_eslab_uses(name: str) -> None:
    with pytest.raises(SchemaError, match=name):
        type("Bad", (Aggregate,), {"__annotations__": {name: int}, name: 0, "__module__": __name__})


@pytest.mark.parametrize("name", ["record", "rebuild", "restore", "copy", "execute", "state"])
def test_no_method_takes_the_place_of_one_of_eslabs(name: str) -> None:
    with pytest.raises(SchemaError, match=rf"{name}: eslab uses that name; choose another"):
        type("Bad", (Aggregate,), {name: lambda self: None, "__module__": __name__})


def test_no_mixin_hides_what_is_eslabs() -> None:
    class Streams:
        @property
        def stream_id(self) -> str:
            return "another"

    with pytest.raises(SchemaError, match=r"Shop\.stream_id: eslab uses that name"):

        class Shop(Streams, Aggregate):  # type: ignore[misc]
            pass


@pytest.mark.parametrize("name", ["category", "snapshot_every", "snapshot_version"])
def test_what_a_class_argument_says_is_not_said_in_the_body(name: str) -> None:
    with pytest.raises(SchemaError, match=rf"class Bad\(Aggregate, {name}=\.\.\.\)"):
        type("Bad", (Aggregate,), {name: "shop", "__module__": __name__})


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "3"])
def test_a_snapshot_is_kept_every_so_many_events(every: Any) -> None:
    with pytest.raises(SchemaError, match="snapshot_every is a whole number from 1"):
        type("Bad", (Aggregate,), {"__module__": __name__}, snapshot_every=every)


def test_state_needs_a_value_to_begin_with() -> None:
    with pytest.raises(SchemaError, match="balance needs a value"):

        class Bad(Aggregate):
            balance: int

    for placeholder in (Field(default_factory=list), dataclasses.field(default_factory=list)):
        with pytest.raises(SchemaError, match="items needs a value"):

            class Placeholder(Aggregate):
                items: list[int] = placeholder  # type: ignore[assignment]

    with pytest.raises(SchemaError, match="items needs a value"):

        class Slots(Aggregate):
            __slots__ = ("items",)
            items: list[int]


def test_what_mixins_declare_is_state_too() -> None:
    class Named:
        names: list[str] = []  # noqa: RUF012 - copied for each instance
        id: str  # what it needs of others is none of its state
        version: int = 0
        title: str
        rates = {"a": 1}  # noqa: RUF012 - one for all

    class Shop(Named, Aggregate):
        kind: t.ClassVar[str] = "no state"

        @property
        def title(self) -> str:  # type: ignore[override]
            return f"Shop {self.id}"

    assert Shop("1").title == "Shop 1"
    one, other = Shop("1"), Shop("2")
    one.names.append("Ann")
    assert (one.state, other.state) == ({"names": ["Ann"]}, {"names": []})


@pytest.mark.parametrize("shared", [[], {}, set()])
def test_nothing_that_changes_is_shared_by_all(shared: Any) -> None:
    class Parent(Aggregate):
        items: Any = None
        rates: ClassVar[Any] = None

    type("Fine", (Parent,), {"items": shared, "rates": shared, "__module__": __name__})
    with pytest.raises(SchemaError, match=r"items = .* would be shared by all"):
        type("Bad", (Aggregate,), {"items": shared, "__module__": __name__})
    type("Fine", (Aggregate,), {"ITEMS": shared, "__module__": __name__})  # a constant


def test_what_applies_an_event_records_none(repository: Repository, store: MemoryStore) -> None:
    class Loud(Aggregate, category="account"):
        @applies
        def deposited(self, event: Deposited) -> None:
            if event.amount:
                self.record(Deposited(amount=0))

    with pytest.raises(SchemaError, match=r"<Loud 1.*>: what applies an event recorded Deposited"):
        Loud("1").record(Deposited(amount=1))
    store.append("account-1", [NewEvent("Deposited", {"amount": 1})])
    with pytest.raises(SchemaError, match="record it in the method that decides"):
        repository.load(Loud, "1")


def test_what_applies_an_event_runs_at_once() -> None:
    with pytest.raises(SchemaError, match=r"Later\.deposited is async"):

        class Later(Aggregate):
            @applies
            async def deposited(self, event: Deposited) -> None: ...

    with pytest.raises(SchemaError, match=r"Lazy\.deposited is a generator"):

        class Lazy(Aggregate):
            @applies
            def deposited(self, event: Deposited) -> Iterator[None]:
                yield


@pytest.mark.parametrize("what", [None, {}, "text", Deposited, NewEvent("Deposited", {})])
def test_only_events_are_recorded(what: Any) -> None:
    account = Account("1")
    with pytest.raises(InputError, match="takes events"):
        account.record(what)
    assert (account.version, account.uncommitted) == (0, [])


def test_a_state_that_cannot_be_copied_is_named(repository: Repository) -> None:
    class Odd(Aggregate, category="account"):
        lock: Any = None

        @applies
        def deposited(self, event: Deposited) -> None:
            self.lock = threading.Lock()

    one = Odd("1")
    one.record(Deposited(amount=1))
    repository.save(one)
    with pytest.raises(SchemaError, match=r"lock.* cannot be a part of a state"):
        repository.load(Odd, "1")


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
