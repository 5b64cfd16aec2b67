"""Queries: questions to the read side, each with the function that answers it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from eslab.errors import InputError, SchemaError
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


class QueryBus:
    """Brings each query to the function that answers it.

    Args:
        middleware: what it passes through.
        mint: gives the ids of queries.
    """

    def __init__(self, middleware: Sequence[Middleware], mint: Callable[[], UUID]) -> None:
        self._middleware = middleware
        self._mint = mint
        self._handlers: HandlerMap[Callable[[Any], Any]] = HandlerMap()

    def register(self, handler: Callable[[Any], Any]) -> None:
        """Let a function answer the queries that its first parameter is annotated with.

        Raises:
            RegistrationError: another function answers one of them.
            SchemaError: the annotation is no query, or it takes something else.
        """
        queries = message_classes(handler, ReadQuery, 0, word="query")
        if not takes(handler, 1):
            raise SchemaError(
                f"{qualified_name(handler)}{inspect.signature(handler)}: what answers a query "
                f"takes that alone"
            )
        self._handlers.take(
            qualified_name(handler), [(qualified_name(query), handler) for query in queries]
        )

    def adopt(self, other: QueryBus) -> None:
        """Let what answers queries there answer them here too."""
        self._handlers.adopt(other._handlers)

    def ask(self, query: ReadQuery, *, metadata: Metadata | None = None) -> Any:
        """Return the answer to a query.

        Raises:
            InputError: it is no query.
            HandlerNotFoundError: nothing answers it.
        """
        if not isinstance(query, ReadQuery):
            raise InputError(f"a query is an instance of a ReadQuery, not {query!r:.200}")
        return passed(self._middleware, Envelope.of(query, self._mint(), metadata), self._answer)

    def _answer(self, envelope: Envelope) -> Any:
        return self._handlers.handler(envelope.message)(envelope.message)
