"""Pieces of work of which each is tried, though others fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from eslab.errors import EslabError, StoreClosedError

__all__ = ["Turn"]

T = TypeVar("T")


class Turn:
    """Keeps the first error of several pieces of work, until all were tried.

    Example:
        >>> turn = Turn()
        >>> def fail():
        ...     raise EslabError("on purpose")
        >>> turn.attempt(fail), turn.attempt(lambda: "done")
        (None, 'done')
        >>> turn.end()
        Traceback (most recent call last):
            ...
        eslab.errors.EslabError: on purpose
    """

    def __init__(self) -> None:
        self._failure: EslabError | None = None

    def attempt(self, work: Callable[[], T]) -> T | None:
        """Do a piece of work, and return what it returns; None, if it fails.

        Raises:
            StoreClosedError: there is nothing that could be done.
        """
        try:
            return work()
        except StoreClosedError:
            raise
        except EslabError as error:
            self._failure = self._failure or error
            return None

    def end(self) -> None:
        """Raise the first error, if there was any."""
        if self._failure is not None:
            raise self._failure
