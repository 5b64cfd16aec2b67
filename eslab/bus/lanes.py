"""Keeps in order what is on its way: in one lane, what was sent first arrives first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from datetime import datetime
from functools import partial

__all__ = ["Lanes"]

Work = Callable[[], None]


class Lanes:
    """The order of messages, where each travels for a time of its own.

    A message that takes longer holds up those behind it in its lane. Of those that are due at the
    same time a scheduler may choose any: so what is scheduled is the turn of a lane, which is the
    turn of whatever is first in it.

    Example:
        >>> from datetime import timedelta
        >>> from eslab.clock import VIRTUAL_START as now
        >>> lanes, seen = Lanes(), []
        >>> one, due = lanes.put("order-1", now + timedelta(5), lambda: seen.append("first"))
        >>> two, later = lanes.put("order-1", now, lambda: seen.append("second"))
        >>> due == later
        True
        >>> two(), one(), seen
        (None, None, ['first', 'second'])
    """

    def __init__(self) -> None:
        self._lanes: dict[Hashable, deque[tuple[datetime, Work]]] = {}

    def put(self, lane: Hashable, due: datetime, work: Work) -> tuple[Work, datetime]:
        """Let something travel in a lane, and return what is to be done, and when.

        Args:
            lane: who it is for, and the sequence in which it is in order.
            due: when it arrives, if nothing holds it up.
            work: what is done when it does.
        """
        ahead = self._lanes.setdefault(lane, deque())
        if ahead:
            due = max(due, ahead[-1][0])
        ahead.append((due, work))
        return partial(self._turn, lane), due

    def _turn(self, lane: Hashable) -> None:
        ahead = self._lanes[lane]
        _, work = ahead.popleft()
        if not ahead:
            del self._lanes[lane]
        work()
