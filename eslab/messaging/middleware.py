"""What messages pass through on their way: it writes them down, takes the time, or stops them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from eslab.errors import EslabError, NotAuthorisedError
from eslab.messaging.envelope import Envelope, Middleware

__all__ = ["authorised", "logged", "named", "timed"]

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


def named(envelope: Envelope, go_on: Callable[[Envelope], Any]) -> Any:
    """Let what a message records say of which type it is: in its metadata, as ``command``.

    The log has no commands, only what they record: without this it tells of a command by its id
    alone, unless a saga sent it.

    Example:
        >>> from eslab import Lab
        >>> from eslab.simulation.scenarios import accounts
        >>> with Lab(seed=7) as lab:
        ...     lab.register(accounts.account)
        ...     lab.use(named)
        ...     _ = lab.execute(accounts.OpenAccount(account_id="a-1", owner="Ann"))
        ...     next(iter(lab.store.read("account-a-1"))).metadata.extra
        {'command': 'OpenAccount'}
    """
    extra = {**envelope.metadata.extra, "command": type(envelope.message).__name__}
    return go_on(replace(envelope, metadata=replace(envelope.metadata, extra=extra)))


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
