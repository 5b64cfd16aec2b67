"""The scenarios, given / when / then; and what must always hold, whoever asks for what."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial, reduce
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from eslab import Command, ConcurrencyError, DomainError, Lab
from eslab.simulation.scenarios import accounts, orders, workflow
from eslab.simulation.scenarios.accounts import AccountState, account
from eslab.simulation.scenarios.accounts.account import evolve
from eslab.testing import given as happened

ACCOUNT = {"account_id": "1"}
opened = accounts.AccountOpened(owner="Ann", limit=50)
deposited = accounts.MoneyDeposited(amount=30, reference="wages")
closed = accounts.AccountClosed()
some_account = partial(happened, of=account)


def test_an_account_is_opened_once() -> None:
    ask = accounts.OpenAccount(**ACCOUNT, owner="Ann", limit=50)
    some_account().when(ask).then(opened).then_state(status="open", owner="Ann", balance=0)
    some_account(opened).when(ask).then()
    some_account(opened).when(accounts.OpenAccount(**ACCOUNT, owner="Bob")).then_raises(
        DomainError, match="Ann's already"
    )
    some_account(opened, closed).when(ask).then_raises(DomainError)


def test_money_comes_and_goes_above_the_limit() -> None:
    some_account(opened).when(accounts.Deposit(**ACCOUNT, amount=30, reference="wages")).then(
        deposited
    )
    held = some_account(opened, deposited)
    held.when(accounts.Withdraw(**ACCOUNT, amount=80)).then(accounts.MoneyWithdrawn(amount=80))
    held.when(accounts.Withdraw(**ACCOUNT, amount=81)).then_raises(DomainError, match="below -50")
    held.when(accounts.ChangeLimit(**ACCOUNT, limit=0)).then(accounts.LimitChanged(limit=0))
    held.when(accounts.ChangeLimit(**ACCOUNT, limit=50)).then()
    in_debt = some_account(opened, accounts.MoneyWithdrawn(amount=40))
    in_debt.when(accounts.ChangeLimit(**ACCOUNT, limit=39)).then_raises(DomainError)


@pytest.mark.parametrize(
    "ask",
    [
        accounts.Deposit(**ACCOUNT, amount=1),
        accounts.Withdraw(**ACCOUNT, amount=1),
        accounts.ChangeLimit(**ACCOUNT, limit=1),
    ],
)
def test_nothing_happens_to_an_account_that_is_not_open(ask: Command) -> None:
    some_account().when(ask).then_raises(DomainError, match="there is no account 1")
    some_account(opened, closed).when(ask).then_raises(DomainError, match="is closed")


def test_an_account_is_closed_when_it_is_empty() -> None:
    ask = accounts.CloseAccount(**ACCOUNT)
    some_account(opened).when(ask).then(closed).then_state(status="closed")
    some_account(opened, closed).when(ask).then()
    some_account(opened, deposited).when(ask).then_raises(DomainError, match="empty, not at 30")


def test_amounts_that_are_none_are_no_commands() -> None:
    for amount in (0, -1, 1.5, "much", None):
        with pytest.raises(ValidationError):
            accounts.Deposit(**ACCOUNT, amount=amount)


WORKFLOW = {"workflow_id": "1"}
created = workflow.WorkflowCreated(schema_id="s-1", input={"x": 1}, node_count=2, edge_count=1)
started = workflow.WorkflowStarted()
completed = workflow.WorkflowCompleted(result=[1], node_results={"a": 1}, duration=1.5)
some_workflow = partial(happened, of=workflow.Workflow)


def test_a_workflow_goes_from_pending_to_running_to_completed() -> None:
    create = workflow.CreateWorkflow(
        **WORKFLOW, schema_id="s-1", input={"x": 1}, node_count=2, edge_count=1
    )
    start = workflow.StartWorkflow(**WORKFLOW)
    complete = workflow.CompleteWorkflow(
        **WORKFLOW, result=[1], node_results={"a": 1}, duration=1.5
    )
    some_workflow().when(create).then(created).then_state(status="pending")
    some_workflow(created).when(start).then(started).then_state(status="running")
    some_workflow(created, started).when(complete).then(completed).then_state(
        status="completed", result=[1], duration=1.5
    )
    past = some_workflow(created, started, completed)
    for again in (create, complete):
        past.when(again).then()
    some_workflow(created, started).when(start).then()
    for early in (start, complete):
        some_workflow().when(early).then_raises(DomainError)
    some_workflow(created).when(complete).then_raises(DomainError)
    past.when(start).then_raises(DomainError)
    other = workflow.CompleteWorkflow(**WORKFLOW, result=[2], duration=1)
    past.when(other).then_raises(DomainError)
    past.when(workflow.CreateWorkflow(**WORKFLOW, schema_id="s-2")).then_raises(DomainError)


def test_an_order_is_placed_and_then_confirmed_or_cancelled() -> None:
    place = orders.PlaceOrder(
        order_id="1", customer="Ann", article="a", quantity=2, amount=30, destination="Boston"
    )
    placed = orders.OrderPlaced(**place.model_dump(exclude={"order_id"}))
    confirm = orders.ConfirmOrder(order_id="1")
    cancel = orders.CancelOrder(order_id="1", reason="too late")
    some_order = partial(happened, of=orders.Order)
    confirmed, cancelled = orders.OrderConfirmed(), orders.OrderCancelled(reason="too late")
    some_order().when(place).then(placed)
    some_order(placed).when(place).then()
    some_order(placed).when(place.model_copy(update={"amount": 1})).then_raises(DomainError)
    some_order(placed).when(confirm).then(confirmed).then_state(status="confirmed")
    some_order(placed).when(cancel).then(cancelled).then_state(reason="too late")
    some_order(placed, confirmed).when(confirm).then()
    some_order(placed, cancelled).when(cancel).then()
    some_order(placed, confirmed).when(cancel).then_raises(DomainError)
    some_order(placed, cancelled).when(confirm).then_raises(DomainError)
    some_order().when(confirm).then_raises(DomainError)
    some_order().when(cancel).then(cancelled)  # it may be overtaken by this
    some_order(cancelled).when(place).then_raises(DomainError, match="given up: too late")


# What must always hold.

AMOUNTS = st.integers(1, 60)
ASKED: dict[str, tuple[Any, st.SearchStrategy[Command]]] = {
    "account": (
        account,
        st.one_of(
            st.builds(accounts.OpenAccount, account_id=st.just("1"), owner=st.sampled_from("AB")),
            st.builds(accounts.Deposit, account_id=st.just("1"), amount=AMOUNTS),
            st.builds(accounts.Withdraw, account_id=st.just("1"), amount=AMOUNTS),
            st.builds(accounts.ChangeLimit, account_id=st.just("1"), limit=AMOUNTS),
            st.just(accounts.CloseAccount(account_id="1")),
        ),
    ),
    "workflow": (
        workflow.Workflow,
        st.one_of(
            st.builds(
                workflow.CreateWorkflow, workflow_id=st.just("1"), schema_id=st.sampled_from("AB"),
                input=st.just({}),
            ),
            st.just(workflow.StartWorkflow(workflow_id="1")),
            st.builds(
                workflow.CompleteWorkflow, workflow_id=st.just("1"), result=st.integers(0, 1),
                node_results=st.just({}), duration=st.just(1.0),
            ),
        ),
    ),
    "order": (
        orders.Order,
        st.one_of(
            st.builds(
                orders.PlaceOrder, order_id=st.just("1"), customer=st.just("Ann"),
                article=st.sampled_from("ab"), quantity=st.just(1), amount=st.just(1),
                destination=st.just("Boston"),
            ),
            st.just(orders.ConfirmOrder(order_id="1")),
            st.just(orders.CancelOrder(order_id="1", reason="r")),
        ),
    ),
}  # fmt: skip


@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("name", ASKED)
@given(data=st.data())
def test_a_repeated_command_emits_nothing_new_and_folding_is_replay(
    name: str, data: st.DataObject
) -> None:
    definition, asks = ASKED[name]
    with Lab(seed=7) as lab:
        lab.register(definition)
        for ask in data.draw(st.lists(asks, max_size=12)):
            id = uuid.uuid4()
            try:
                first = lab.execute(ask, command_id=id)
            except DomainError:
                continue
            head = lab.store.head()
            again = lab.execute(ask, command_id=id)
            assert (again, lab.store.head()) == (first, head)
            assert again.duplicate is not _is_idle(lab, id)
        kept = lab.find(definition, "1")
        read = [one.event for one in lab.typed_events(category=definition.category)]
        assert kept.state == definition("1").rebuild(read).state
        assert kept.version == len(read)


def _is_idle(lab: Lab, command_id: uuid.UUID) -> bool:
    """Say whether a command recorded nothing."""
    return all(event.metadata.command_id != str(command_id) for event in lab.store.read_all())


@given(st.lists(ASKED["account"][1], max_size=20))
def test_the_balance_is_what_came_minus_what_went_and_above_the_limit(asked: list[Any]) -> None:
    one = account("1")
    for ask in asked:
        try:
            one.execute(ask)
        except DomainError:
            continue
        assert one.state.balance >= -one.state.limit
    assert one.state == reduce(evolve, one.uncommitted, AccountState())
    came = sum(e.amount for e in one.uncommitted if isinstance(e, accounts.MoneyDeposited))
    went = sum(e.amount for e in one.uncommitted if isinstance(e, accounts.MoneyWithdrawn))
    assert one.state.balance == came - went


def in_threads(work: Callable[[int], None], *, threads: int = 8) -> None:
    failures: list[BaseException] = []

    def run(thread: int) -> None:
        try:
            work(thread)
        except BaseException as error:
            failures.append(error)

    workers = [Thread(target=run, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []


@pytest.mark.parametrize("place", [":memory:", "file"])
def test_the_balance_stays_above_the_limit_under_eight_threads(tmp_path: Path, place: str) -> None:
    path = place if place == ":memory:" else tmp_path / "bank.duckdb"
    with Lab(path) as lab:
        lab.register(account)
        lab.handles(accounts.transfer)
        for id in ("a", "b"):
            lab.execute(accounts.OpenAccount(account_id=id, owner="Ann", limit=10))
            lab.execute(accounts.Deposit(account_id=id, amount=50))
        refused = [0] * 8

        def work(thread: int) -> None:
            one, other = ("a", "b") if thread % 2 else ("b", "a")
            for _ in range(5):
                for ask in (
                    accounts.Withdraw(account_id=one, amount=4),
                    accounts.Transfer(source_id=one, target_id=other, amount=7),
                ):
                    patient(lab, ask, refused, thread)

        in_threads(work)
        balances = [0, 0]
        for place_, id in enumerate(("a", "b")):
            for version in range(1, lab.store.stream_version(f"account-{id}") + 1):
                past = lab.load(account, id, version=version).state
                assert past.balance >= -past.limit
            balances[place_] = lab.load(account, id).state.balance
        withdrawn = [e for e in lab.store.read_all() if e.type == "MoneyWithdrawn"]
        spent = sum(e.data["amount"] for e in withdrawn if e.data["amount"] == 4)
        assert sum(balances) == 100 - spent
        assert sum(refused) > 0


def patient(lab: Lab, ask: Command, refused: list[int], thread: int) -> None:
    """Ask until others leave time for it, which is more often than a lab tries by itself."""
    while True:
        try:
            lab.execute(ask, command_id=uuid.uuid4())
        except ConcurrencyError:
            continue
        except DomainError:
            refused[thread] += 1
        return
