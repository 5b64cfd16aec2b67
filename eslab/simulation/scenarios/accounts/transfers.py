"""A command for two accounts at once: a function handles it, and one append saves both."""

from __future__ import annotations

from eslab.aggregates import Entity, Repository
from eslab.errors import DomainError
from eslab.simulation.scenarios.accounts.account import AccountState, account
from eslab.simulation.scenarios.accounts.commands import Deposit, Transfer, Withdraw

__all__ = ["transfer"]


def transfer(command: Transfer, repository: Repository) -> list[Entity[AccountState]]:
    """Take money from one account and put it into another.

    Raises:
        DomainError: one of the accounts refuses, or they are the same.
    """
    if command.source_id == command.target_id:
        raise DomainError(f"account {command.source_id} cannot pay to itself")
    source = repository.find(account, command.source_id)
    target = repository.find(account, command.target_id)
    paid = {"amount": command.amount, "reference": command.reference}
    source.execute(Withdraw(account_id=command.source_id, **paid))
    target.execute(Deposit(account_id=command.target_id, **paid))
    return [source, target]
