"""Commands that change state, queries that ask for it, and what brings them to their handlers."""

from eslab.messaging.commands import Command, CommandBus
from eslab.messaging.envelope import Envelope, Middleware, handled, handling
from eslab.messaging.middleware import authorised, logged, timed
from eslab.messaging.queries import QueryBus, ReadQuery
from eslab.messaging.tokens import ConsistencyToken, Readiness

__all__ = [
    "Command",
    "CommandBus",
    "ConsistencyToken",
    "Envelope",
    "Middleware",
    "QueryBus",
    "ReadQuery",
    "Readiness",
    "authorised",
    "handled",
    "handling",
    "logged",
    "timed",
]
