"""The account as a decider: the rules (decide), the fold (evolve), and the state before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from eslab.aggregates import Decider
from eslab.errors import DomainError
from eslab.simulation.scenarios.accounts.commands import (
    AccountCommand,
    ChangeLimit,
    CloseAccount,
    Deposit,
    OpenAccount,
    Withdraw,
)
from eslab.simulation.scenarios.accounts.events import (
    AccountClosed,
    AccountOpened,
    LimitChanged,
    MoneyDeposited,
    MoneyWithdrawn,
)

__all__ = ["AccountState", "account"]

AccountEvent = AccountOpened | MoneyDeposited | MoneyWithdrawn | LimitChanged | AccountClosed


@dataclass(frozen=True, slots=True)
class AccountState:
    """What is known of an account; ``balance`` and ``limit`` are in cents."""

    status: Literal["none", "open", "closed"] = "none"
    owner: str = ""
    balance: int = 0
    limit: int = 0


def decide(command: AccountCommand, account: AccountState) -> AccountEvent | None:
    """Return what follows from a command.

    Raises:
        DomainError: the account is not open, or the balance would go below the limit.
    """
    match command, account.status:
        case OpenAccount(), "none":
            return AccountOpened(owner=command.owner, limit=command.limit)
        case OpenAccount(owner=owner), "open" if owner == account.owner:
            return None
        case OpenAccount(), _:
            raise DomainError(f"account {command.account_id} is {account.owner}'s already")
        case _, "none":
            raise DomainError(f"there is no account {command.account_id}")
        case CloseAccount(), "closed":
            return None
        case _, "closed":
            raise DomainError(f"account {command.account_id} is closed")
        case Deposit(), _:
            return MoneyDeposited(amount=command.amount, reference=command.reference)
        case Withdraw(), _:
            _require_above(-account.limit, account.balance - command.amount)
            return MoneyWithdrawn(amount=command.amount, reference=command.reference)
        case ChangeLimit(), _:
            _require_above(-command.limit, account.balance)
            return None if command.limit == account.limit else LimitChanged(limit=command.limit)
        case CloseAccount(), _:
            if account.balance != 0:
                raise DomainError(
                    f"an account is closed when it is empty, not at {account.balance}"
                )
            return AccountClosed()
    raise AssertionError(command)


def _require_above(limit: int, balance: int) -> None:
    if balance < limit:
        raise DomainError(f"the balance would be {balance}, and may not go below {limit}")


def evolve(account: AccountState, event: AccountEvent) -> AccountState:
    """Return the account after an event."""
    match event:
        case AccountOpened():
            return AccountState("open", event.owner, limit=event.limit)
        case MoneyDeposited():
            return replace(account, balance=account.balance + event.amount)
        case MoneyWithdrawn():
            return replace(account, balance=account.balance - event.amount)
        case LimitChanged():
            return replace(account, limit=event.limit)
        case AccountClosed():
            return replace(account, status="closed")


account = Decider(decide, evolve, AccountState(), category="account", snapshot_every=100)
"""The account: ``account("a-1")`` is one of them, and a lab registers it."""
