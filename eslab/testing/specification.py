"""Given what happened, when somebody asks for something, then this follows: rules as examples.

The shape is that of Greg Young's specifications for event-sourced domains. It needs no store, no
lab and no pytest: a line that holds gives an `Outcome`, which a notebook shows as a table; one that
does not raises AssertionError with a diff.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar, overload

from pydantic import BaseModel

from eslab.aggregates import Definition, Sourced
from eslab.errors import InputError
from eslab.events import Event
from eslab.projections import Projection
from eslab.schema import encode
from eslab.testing.differences import diff, lines, parts_of, table
from eslab.testing.read_models import GivenRows

__all__ = ["Given", "Outcome", "given"]

T = TypeVar("T", bound=Sourced)


@overload
def given(*events: Event, of: Definition[T], id: str = "1") -> Given[T]: ...
@overload
def given(*events: Event | tuple[str, Event], of: Projection, id: str = "1") -> GivenRows: ...
def given(
    *events: Event | tuple[str, Event], of: Definition[Any] | Projection, id: str = "1"
) -> Given[Any] | GivenRows:
    """Begin a specification with what has happened.

    Args:
        events: of the stream, in order; none for one that does not exist yet. For a projection
            also pairs of a stream id and an event.
        of: the class of the aggregate, the decider, or a projection.
            ``functools.partial(given, of=...)`` says it once for many specifications.
        id: the identity, where the rules look at it.

    Raises:
        InputError: these are no events, or that is neither of them.
        SchemaError: one of the events is none of the stream's.

    Example:
        >>> from eslab.errors import DomainError
        >>> from eslab.simulation.scenarios.accounts import *
        >>> opened = given(AccountOpened(owner="Ann"), of=account)
        >>> opened.when(Deposit(account_id="1", amount=30)).then(MoneyDeposited(amount=30))
        Given AccountOpened(owner='Ann', limit=0)
        When  Deposit(account_id='1', amount=30, reference='')
        Then  MoneyDeposited(amount=30, reference='')
        >>> _ = opened.when(Withdraw(account_id="1", amount=1)).then_raises(DomainError)
        >>> opened.when(CloseAccount(account_id="1")).then()
        Traceback (most recent call last):
        AssertionError: ...

        A projection is given events, and then there are rows:

        >>> from eslab import Projection, Row, Rows, on
        >>> class Balance(Row, key="owner"):
        ...     owner: str
        ...     accounts: int = 0
        >>> class Balances(Projection):
        ...     row = Balance
        ...     @on
        ...     def opened(self, event: AccountOpened, rows: Rows[Balance]) -> None:
        ...         rows.ensure(owner=event.owner).accounts += 1
        >>> given(AccountOpened(owner="Ann"), of=Balances()).then_rows(
        ...     Balance(owner="Ann", accounts=1))
        Given AccountOpened(owner='Ann', limit=0) in given-1
        By    <Balances balances: AccountOpened>
        Then  Balance(owner='Ann', accounts=1)
    """
    if isinstance(of, Projection):
        stream_id = f"{of.category or 'given'}-{id}"
        pairs = [event if isinstance(event, tuple) else (stream_id, event) for event in events]
        return GivenRows(of, pairs)
    listed = tuple(event for event in events if isinstance(event, Event))
    if wrong := [event for event in events if not isinstance(event, Event)]:
        raise InputError(f"given() takes events, not {wrong[0]!r:.200}")
    if not isinstance(of, Definition):
        raise InputError(
            f"of= takes the class of an aggregate, a decider, or a projection such as Orders(), "
            f"not {of!r:.200}"
        )
    return Given(of, id, listed)


@dataclass(frozen=True, slots=True, repr=False)
class Given(Generic[T]):
    """What has happened: the beginning of a specification, for one `when` or several."""

    definition: Definition[T]
    id: str
    events: tuple[Event, ...]

    def __post_init__(self) -> None:
        self._subject()

    def _subject(self) -> T:
        return self.definition(self.id).rebuild(self.events)

    def when(self, message: BaseModel | Callable[[T], object]) -> Outcome:
        """Let a command be decided, or a function call methods of the aggregate.

        What that raises is a part of the outcome.

        Raises:
            InputError: it is neither a command nor a plain function.
        """
        plain = callable(message) and not (isinstance(message, type) or _is_lazy(message))
        if not (isinstance(message, BaseModel) or plain):
            raise InputError(
                f"when() takes a command, such as PayOrder(...), or a plain function of the "
                f"aggregate, not {message!r:.200}"
            )
        subject = self._subject()
        error: Exception | None = None
        try:
            if isinstance(message, BaseModel):
                subject.execute(message)
            else:
                message(subject)
        except Exception as raised:
            error = raised
        return Outcome(self.events, message, subject, error)

    def __repr__(self) -> str:
        return "\n".join(lines("Given", map(repr, self.events)))


class Outcome:
    """What followed; each ``then`` compares it with what was expected.

    Args:
        given: what had happened.
        when: the command, or the function.
        subject: the aggregate or the entity behind it.
        error: what was raised.
    """

    def __init__(
        self, given: tuple[Event, ...], when: Any, subject: Sourced, error: Exception | None
    ) -> None:
        self._given = given
        self._when = when
        self._subject = subject
        self._error = error

    @property
    def events(self) -> tuple[Event, ...]:
        """What was recorded; nothing, where the command was refused."""
        return () if self._error is not None else tuple(self._subject.uncommitted)

    def then(self, *events: Event) -> Self:
        """Expect these events, in this order; none of them, that nothing was recorded.

        Raises:
            AssertionError: others were recorded, or an error was raised; with a diff.
        """
        __tracebackhide__ = True
        self._require_no_error(f"{_shown(events)} was expected")
        if [_content(event) for event in self.events] != [_content(event) for event in events]:
            raise AssertionError(
                f"{self._told()}\nother events were expected "
                f"(-) than were recorded (+):\n{diff(events, self.events)}"
            )
        return self

    def then_raises(self, kind: type[Exception] | Exception, *, match: str = "") -> Self:
        """Expect that the command is refused.

        Args:
            kind: what is raised, such as `DomainError`; or such an error itself, whose text, as it
                is, is found in the message.
            match: a regular expression that is found in its message.

        Raises:
            AssertionError: nothing was raised, or something else.
        """
        __tracebackhide__ = True
        text, pattern = match, match
        if isinstance(kind, Exception) and not match:
            text = str(kind)
            kind, pattern = type(kind), re.escape(text)
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise InputError(f"then_raises() takes a class of errors, not {kind!r:.200}")
        expected = f"{kind.__name__}{f' with {text!r} in its message' if text else ''}"
        if self._error is None:
            raise AssertionError(
                f"{self._told()}\n{expected} was expected, and nothing was raised; recorded was "
                f"{_shown(self.events)}"
            )
        if not isinstance(self._error, kind) or not re.search(pattern, str(self._error)):
            raise AssertionError(
                f"{self._told()}\n{expected} was expected, and raised was {_named(self._error)}"
            ) from self._error
        return self

    def then_state(self, *expected: Any, **parts: Any) -> Self:
        """Expect a state: as a whole, or some attributes of it by their names.

        Raises:
            InputError: nothing was said, or the state has no such attribute.
            AssertionError: it is another one; with a diff.
        """
        __tracebackhide__ = True
        if len(expected) != (not parts):
            raise InputError("then_state() takes a state, or attributes of it by their names")
        self._require_no_error("a state was expected")
        state = self._subject.state
        if parts:
            wanted, found = parts, {name: _part(state, name) for name in parts}
        else:
            (wanted,), found = expected, state
        if wanted != found:
            raise AssertionError(
                f"{self._told()}\nanother state was expected (-) than is (+):\n"
                f"{diff([wanted], [found])}"
            )
        return self

    def _require_no_error(self, expected: str) -> None:
        __tracebackhide__ = True
        if self._error is not None:
            raise AssertionError(
                f"{self._told()}\n{expected}, and raised was {_named(self._error)}"
            ) from self._error

    def _parts(self) -> list[tuple[str, list[str]]]:
        when = self._when
        asked = repr(when) if isinstance(when, BaseModel) else getattr(when, "__name__", repr(when))
        return [("Given", list(map(repr, self._given))), ("When", [asked])]

    def _told(self) -> str:
        return "\n".join(line for name, items in self._parts() for line in lines(name, items))

    def _followed(self) -> list[str]:
        return [_named(self._error)] if self._error else list(map(repr, self.events))

    def __repr__(self) -> str:
        return "\n".join([self._told(), *lines("Then", self._followed())])

    def _repr_html_(self) -> str:
        return table([*self._parts(), ("Then", self._followed())])


def _is_lazy(function: Callable[..., Any]) -> bool:
    """Say whether nothing of a function runs when it is called."""
    return inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function)


def _part(state: Any, name: str) -> Any:
    try:
        return state[name] if isinstance(state, dict) else getattr(state, name)
    except (KeyError, AttributeError):
        known = ", ".join(parts_of(state)) or f"it is {state!r:.200}"
        raise InputError(f"the state has no {name!r}; there is: {known}") from None


def _content(event: Event) -> tuple[str, int, str]:
    # Not the class: in a notebook it may have been defined anew.
    return encode(event).content


def _shown(events: tuple[Event, ...]) -> str:
    return ", ".join(map(repr, events)) or "nothing"


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
