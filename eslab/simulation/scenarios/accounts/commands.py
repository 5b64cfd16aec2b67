"""What a customer may ask for. Amounts are in cents."""

from __future__ import annotations

from pydantic import NonNegativeInt, PositiveInt

from eslab.messaging import Command

__all__ = [
    "AccountCommand",
    "ChangeLimit",
    "CloseAccount",
    "Deposit",
    "OpenAccount",
    "Transfer",
    "Withdraw",
]


class OpenAccount(Command):
    """Open an account; opening it again for the same owner changes nothing."""

    account_id: str
    owner: str
    limit: NonNegativeInt = 0


class Deposit(Command):
    """Pay money in."""

    account_id: str
    amount: PositiveInt
    reference: str = ""


class Withdraw(Command):
    """Take money out, as far as the limit allows."""

    account_id: str
    amount: PositiveInt
    reference: str = ""


class ChangeLimit(Command):
    """Let the balance go so far below zero, unless it is further below already."""

    account_id: str
    limit: NonNegativeInt


class CloseAccount(Command):
    """Close an account that is empty; closing it again changes nothing."""

    account_id: str


class Transfer(Command):
    """Move money from one account to another: both change, or neither."""

    source_id: str
    target_id: str
    amount: PositiveInt
    reference: str = ""


AccountCommand = OpenAccount | Deposit | Withdraw | ChangeLimit | CloseAccount
