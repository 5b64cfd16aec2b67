"""What a verification of the log found: a list of checks, each of them right or wrong."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from eslab.errors import StoreError

__all__ = ["Check", "Verification"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold.

    Attributes:
        name: what must hold.
        ok: whether it does.
        found: what was counted, or what is wrong.
    """

    name: str
    ok: bool
    found: str


@dataclass(frozen=True, slots=True)
class Verification:
    """The checks of a log; true if all of them are right.

    Example:
        >>> import eslab
        >>> with eslab.open_store() as store:
        ...     _ = store.append("order-1", [eslab.NewEvent("OrderPlaced", {"amount": 30})])
        ...     report = store.verify()
        >>> report.ok
        True
        >>> print(report)  # doctest: +ELLIPSIS
        ok     positions without gaps  ...  1 event
        ok     versions without gaps in each stream  ...  1 stream
        ...
    """

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether all checks are right."""
        return all(check.ok for check in self.checks)

    def __bool__(self) -> bool:
        return self.ok

    def require(self) -> None:
        """Raise an error unless all checks are right.

        Raises:
            StoreError: it names those that are wrong.
        """
        if wrong := [f"{check.name}: {check.found}" for check in self.checks if not check.ok]:
            raise StoreError(f"the log is damaged: {'; '.join(wrong)}")

    def __str__(self) -> str:
        width = max(len(check.name) for check in self.checks)
        return "\n".join(
            f"{'ok' if check.ok else 'WRONG':<6} {check.name:<{width}}  {check.found}"
            for check in self.checks
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{'✓' if check.ok else '✗ wrong'}</td><td>{escape(check.name)}</td>"
            f"<td>{escape(check.found)}</td></tr>"
            for check in self.checks
        )
        return f"<table><tr><th></th><th>check</th><th>found</th></tr>{rows}</table>"
