"""What messages pass through on their way: it writes them down, takes the time, or stops them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from eslab.errors import EslabError, NotAuthorisedError
from eslab.messaging.envelope import Envelope, Middleware

__all__ = ["authorised", "logged", "timed"]

_log = logging.getLogger("eslab.messaging")


def logged(envelope: Envelope, go_on: Callable[[], Any]) -> Any:
    """Log each message with what became of it, as ``eslab.messaging``."""
    try:
        result = go_on()
    except EslabError as error:
        _log.warning("%s: %s: %s", _named(envelope), type(error).__name__, error)
        raise
    except Exception:
        _log.exception("%s failed", _named(envelope))
        raise
    _log.info("%s: %r", _named(envelope), result)
    return result


def timed(report: Callable[[str, float], object]) -> Middleware:
    """Return middleware that reports how long each message took, also one that failed.

    Args:
        report: is given the name of the message's class, and seconds.

    Example:
        >>> seconds = {}
        >>> timed(seconds.__setitem__)
        <function timed.<locals>.middleware at ...>
    """

    def middleware(envelope: Envelope, go_on: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        try:
            return go_on()
        finally:
            report(type(envelope.message).__name__, time.perf_counter() - begun)

    return middleware


def authorised(rule: Callable[[Envelope], bool]) -> Middleware:
    """Return middleware that lets a message go on only if a rule allows it.

    Args:
        rule: sees the message, and who sent it as ``envelope.metadata.actor``.

    Raises:
        NotAuthorisedError: when the rule says no.
    """

    def middleware(envelope: Envelope, go_on: Callable[[], Any]) -> Any:
        if not rule(envelope):
            raise NotAuthorisedError(
                f"{envelope.metadata.actor or 'nobody (no actor is named)'} may not send "
                f"{envelope.message!r}: the rule {getattr(rule, '__qualname__', rule)!s} refuses it"
            )
        return go_on()

    return middleware


def _named(envelope: Envelope) -> str:
    return f"{envelope.message!r} of {envelope.metadata.actor or 'nobody'} ({envelope.id})"
