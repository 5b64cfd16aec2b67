"""Bank accounts: the balance never goes below the limit, whoever withdraws at the same time.

A decider: read `events`, then `account` with its rules and its fold, then `transfers` for a
command that changes two accounts in one append.
"""

from eslab.simulation.scenarios.accounts.account import AccountState, account
from eslab.simulation.scenarios.accounts.commands import (
    ChangeLimit,
    CloseAccount,
    Deposit,
    OpenAccount,
    Transfer,
    Withdraw,
)
from eslab.simulation.scenarios.accounts.events import (
    AccountClosed,
    AccountOpened,
    LimitChanged,
    MoneyDeposited,
    MoneyWithdrawn,
)
from eslab.simulation.scenarios.accounts.transfers import transfer

__all__ = [
    "AccountClosed",
    "AccountOpened",
    "AccountState",
    "ChangeLimit",
    "CloseAccount",
    "Deposit",
    "LimitChanged",
    "MoneyDeposited",
    "MoneyWithdrawn",
    "OpenAccount",
    "Transfer",
    "Withdraw",
    "account",
    "transfer",
]
