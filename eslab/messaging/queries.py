"""Queries: questions to the read side, each with the function that answers it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from eslab.errors import HandlerError, InputError, SchemaError
from eslab.events import Metadata
from eslab.messaging.envelope import Envelope, HandlerMap, Middleware, passed, takes
from eslab.schema import message_classes, qualified_name

__all__ = ["QueryBus", "ReadQuery"]


class ReadQuery(BaseModel):
    """A question to the read side: subclass it, and declare what it asks by.

    Example:
        >>> class GetOrder(ReadQuery):
        ...     order_id: str
        >>> GetOrder(order_id="o-1")
        GetOrder(order_id='o-1')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class _Handler:
    """A function that answers a query; given the lab as well, if it takes two arguments."""

    function: Callable[..., Any]
    takes_lab: bool

    def names(self, things: Sequence[object]) -> bool:
        """Say whether the function itself names one of some things, and so not what it is given."""
        code = getattr(self.function, "__code__", None)
        if code is None:
            return False
        seen = [self.function.__globals__.get(name) for name in code.co_names]
        for cell in self.function.__closure__ or ():
            with suppress(ValueError):  # it is empty
                seen.append(cell.cell_contents)
        return any(one is thing for one in seen for thing in things)


class QueryBus:
    """Brings each query to the function that answers it.

    Args:
        middleware: what it passes through.
        mint: gives the ids of queries.
        lab: what is asked: a function that takes two arguments is given it.
    """

    def __init__(
        self, middleware: Sequence[Middleware], mint: Callable[[], UUID], *, lab: object = None
    ) -> None:
        self._middleware = middleware
        self._mint = mint
        self._lab = lab
        self._bases: tuple[object, ...] = ()
        self._handlers: HandlerMap[_Handler] = HandlerMap()

    def register(self, handler: Callable[..., Any]) -> None:
        """Let a function answer the queries that its first parameter is annotated with.

        It takes the query, and the lab that is asked if it needs a second argument: on a branch
        that is the branch.

        Raises:
            RegistrationError: another function answers one of them.
            SchemaError: the annotation is no query, or it takes something else.
        """
        queries = message_classes(handler, ReadQuery, 0, word="query")
        if not (takes(handler, 1) or takes(handler, 2)):
            raise SchemaError(
                f"{qualified_name(handler)}{inspect.signature(handler)}: what answers a query "
                f"takes that, and the lab if it asks for it"
            )
        found = _Handler(handler, not takes(handler, 1))
        self._handlers.take(
            qualified_name(handler), [(qualified_name(query), found) for query in queries]
        )

    def adopt(self, other: QueryBus) -> None:
        """Let what answers queries in another lab answer them here too."""
        self._bases = (other._lab, *other._bases)
        self._handlers.adopt(other._handlers)

    def ask(self, query: ReadQuery, *, metadata: Metadata | None = None) -> Any:
        """Return the answer to a query.

        Raises:
            InputError: it is no query.
            HandlerNotFoundError: nothing answers it.
            HandlerError: what answers it would ask the base of a branch.
        """
        if not isinstance(query, ReadQuery):
            raise InputError(f"a query is an instance of a ReadQuery, not {query!r:.200}")
        return passed(self._middleware, Envelope.of(query, self._mint(), metadata), self._answer)

    def _answer(self, envelope: Envelope) -> Any:
        handler = self._handlers.handler(envelope.message)
        if handler.takes_lab:
            return handler.function(envelope.message, self._lab)
        if handler.names(self._bases):
            name = qualified_name(handler.function)
            raise HandlerError(
                f"{name} names the lab that this one is a branch of, and would answer for that: "
                f"let it take the lab that is asked as its second argument: "
                f"def {handler.function.__name__}(query: {type(envelope.message).__name__}, lab)"
            )
        return handler.function(envelope.message)
