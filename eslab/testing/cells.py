"""Specifications as text: given, when and then as lines of their own, with values between them."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from eslab.errors import InputError
from eslab.projections import Row
from eslab.testing.read_models import GivenRows
from eslab.testing.specification import Outcome, given
from eslab.words import counted

__all__ = ["specify"]

Evaluate = Callable[[ast.expr], Any]

_HEADING: Final = re.compile(r"^\s*(?:%%)?(when|then)\s*:?\s*$", re.IGNORECASE)


def specify(text: str, *, of: Any, id: str, evaluate: Evaluate) -> Outcome | GivenRows:
    """Check a rule that is written down: given these events, when this comes, then this follows.

    Args:
        text: values in Python, and the lines ``when`` and ``then`` between them. Behind ``then``
            are the events that are recorded, or an error (its class, or one whose text is found in
            the message), or nothing; and ``name = value`` for an attribute of the state. A
            projection has no ``when``, and its rows behind ``then``.
        of: the class of the aggregate, the decider, or the projection.
        id: the identity, where the rules look at it.
        evaluate: gives the value of an expression.

    Raises:
        InputError: that is no such text.
        SyntaxError: what stands between the lines is no Python.
        AssertionError: something else follows; with a diff.

    Example:
        >>> from eslab.simulation.scenarios.accounts import *
        >>> def evaluate(node):
        ...     return eval(compile(ast.Expression(node), "<cell>", "eval"))
        >>> specify('''
        ...     AccountOpened(owner="Ann")
        ... when
        ...     Deposit(account_id="1", amount=30)
        ... then
        ...     MoneyDeposited(amount=30)
        ...     balance = 30
        ... ''', of=account, id="1", evaluate=evaluate)
        Given AccountOpened(owner='Ann', limit=0)
        When  Deposit(account_id='1', amount=30, reference='')
        Then  MoneyDeposited(amount=30, reference='')
    """
    __tracebackhide__ = True
    sections = _sections(text)
    before, _ = _said(sections["given"], evaluate)
    asked, _ = _said(sections["when"], evaluate)
    wanted, parts = _said(sections["then"], evaluate)
    beginning: Any = given(*before, of=of, id=id)
    if isinstance(beginning, GivenRows):
        if asked:
            raise InputError("a projection is given events and has rows: there is no 'when'")
        if parts or not all(isinstance(row, Row) for row in wanted):
            raise InputError("behind 'then' of a projection are rows")
        return beginning.then_rows(*wanted)
    if len(asked) != 1:
        raise InputError(f"behind 'when' is one command; found: {counted(len(asked), 'value')}")
    return _then(beginning.when(asked[0]), wanted, parts)


def _sections(text: str) -> dict[str, str]:
    """Split a text at its headings; each line keeps its number, for errors."""
    sections: dict[str, list[str]] = {"given": []}
    current = sections["given"]
    for number, line in enumerate(text.splitlines()):
        heading = _HEADING.match(line)
        if heading is None:
            current.append(line)
            continue
        name = heading[1].lower()
        if name in sections or "then" in sections:
            raise InputError(f"line {number + 1}: 'when' and 'then' stand once each, in this order")
        current = sections[name] = [""] * (number + 1)
    if "then" not in sections:
        raise InputError("there is no line 'then': what follows?")
    sections.setdefault("when", [])
    return {name: "\n".join(lines) for name, lines in sections.items()}


def _said(section: str, evaluate: Evaluate) -> tuple[list[Any], dict[str, Any]]:
    """Return the values of a section, and what it says by name, as ``balance = 30``."""
    values: list[Any] = []
    parts: dict[str, Any] = {}
    # Lines may stand to the right of the headings, as far as they like.
    for statement in ast.parse(_outdented(section), "<specification>").body:
        match statement:
            case ast.Expr(value=ast.Tuple(elts=several)):
                values += map(evaluate, several)
            case ast.Expr(value=one):
                values.append(evaluate(one))
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                parts[name] = evaluate(value)
            case _:
                raise InputError(
                    f"line {statement.lineno}: these are values, such as OrderPlaced(amount=5), "
                    f"and behind 'then' also attributes, such as paid = True; not: "
                    f"{ast.unparse(statement)}"
                )
    return values, parts


def _outdented(section: str) -> str:
    lines = section.splitlines()
    indents = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    return "\n".join(line[min(indents, default=0) :] for line in lines)


def _then(outcome: Outcome, wanted: Sequence[Any], parts: dict[str, Any]) -> Outcome:
    __tracebackhide__ = True
    if any(map(_is_error, wanted)):
        if len(wanted) > 1 or parts:
            raise InputError("an error stands alone behind 'then': nothing else follows then")
        return outcome.then_raises(wanted[0])
    if wanted or not parts:
        outcome.then(*wanted)
    return outcome.then_state(**parts) if parts else outcome


def _is_error(value: object) -> bool:
    kind = value if isinstance(value, type) else type(value)
    return issubclass(kind, Exception)
