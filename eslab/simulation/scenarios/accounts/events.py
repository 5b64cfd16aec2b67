"""What happens to an account."""

from __future__ import annotations

from eslab.events import Event

__all__ = ["AccountClosed", "AccountOpened", "LimitChanged", "MoneyDeposited", "MoneyWithdrawn"]


class AccountOpened(Event):
    """A customer has an account.

    Attributes:
        owner: the customer.
        limit: how far below zero the balance may go, in cents.
    """

    owner: str
    limit: int = 0


class MoneyDeposited(Event):
    """Money came in.

    Attributes:
        amount: in cents, above 0.
        reference: what for.
    """

    amount: int
    reference: str = ""


class MoneyWithdrawn(Event):
    """Money went out.

    Attributes:
        amount: in cents, above 0.
        reference: what for.
    """

    amount: int
    reference: str = ""


class LimitChanged(Event):
    """The balance may go further below zero than before, or less far.

    Attributes:
        limit: how far, in cents.
    """

    limit: int


class AccountClosed(Event):
    """The account is used no longer."""
