"""Who decides, and when: one thread at a time commits for all that wait.

After the group commit of DeWitt et al., "Implementation Techniques for Main Memory Database
Systems" (1984), as leader and followers: whoever finds nobody at work leads; whoever comes
meanwhile waits, and is committed with the next group, which one of those that waited leads.

Ctrl-C raises KeyboardInterrupt in the main thread behind any call. So the state that others wait
for changes in single assignments, and what hands it on can be begun again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from eslab.errors import AppendOutcomeUnknownError
from eslab.store.decision import Decision
from eslab.store.requests import AppendRequest

__all__ = ["Sequencer", "Ticket"]


_NOTHING: Final = AppendRequest(())


class Ticket:
    """A request that waits for its answer.

    Attributes:
        request: what is asked.
        alone: whether it wants nobody else to commit, instead of an answer.
        decision: the answer.
        error: or why there is none.
        done: whether it was answered.
    """

    __slots__ = ("alone", "decision", "done", "error", "gate", "request")

    def __init__(self, request: AppendRequest, *, alone: bool = False) -> None:
        self.request = request
        self.alone = alone
        self.decision: Decision | None = None
        self.error: Exception | None = None
        self.done = False
        self.gate: threading.Lock | None = None

    def answer(self) -> Decision:
        """Return the decision, or raise what it failed with."""
        if self.error is not None:
            raise self.error
        assert self.decision is not None
        return self.decision


class Sequencer:
    """A queue of appends, and the right to commit them.

    Args:
        commit: decides and commits the tickets of a group, in their order, and leaves a decision
            or an error on each. It runs on one thread at a time.
    """

    def __init__(self, commit: Callable[[Sequence[Ticket]], None]) -> None:
        self._commit = commit
        self._mutex = threading.Lock()
        self._queue: deque[Ticket] = deque()
        self._leader: Ticket | None = None

    def submit(self, ticket: Ticket) -> Decision:
        """Return the decision on a ticket's request, when it is committed.

        Raises:
            EslabError: what the decision or the commit failed with.
            AppendOutcomeUnknownError: the commit of the group failed on another thread.
        """
        group = [ticket]
        committed = False
        interrupt: KeyboardInterrupt | None = None
        try:
            if self._wait_to_lead(ticket):
                if self._queue:
                    self._gather(group)
                self._commit(group)
                committed = True
        finally:
            while True:
                try:
                    self._leave(ticket, group, committed=committed)
                    break
                except KeyboardInterrupt as error:
                    interrupt = error
        if interrupt is not None:
            raise interrupt
        return ticket.answer()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep everybody from committing while the block runs."""
        ticket = Ticket(_NOTHING, alone=True)
        interrupt: KeyboardInterrupt | None = None
        try:
            self._wait_to_lead(ticket)
            yield
        finally:
            while True:
                try:
                    self._leave(ticket, [], committed=True)
                    break
                except KeyboardInterrupt as error:
                    interrupt = error
        if interrupt is not None:
            raise interrupt

    def _wait_to_lead(self, ticket: Ticket) -> bool:
        """Wait until the ticket leads, or was answered by another leader; say whether it leads."""
        with self._mutex:
            if self._leader is None:
                self._leader = ticket
                return True
            ticket.gate = threading.Lock()
            ticket.gate.acquire()
            self._queue.append(ticket)
        ticket.gate.acquire()
        return not ticket.done

    def _gather(self, group: list[Ticket]) -> None:
        """Add those that wait, up to one that wants everybody's turn to end."""
        with self._mutex:
            while self._queue and not self._queue[0].alone:
                group.append(self._queue[0])
                del self._queue[0]

    def _leave(self, ticket: Ticket, group: list[Ticket], *, committed: bool) -> None:
        """Hand the lead on, if the ticket has it, and let its group go; else stop waiting."""
        with self._mutex:
            if self._leader is ticket:
                for member in group:
                    if not committed:
                        member.error = AppendOutcomeUnknownError()
                    member.done = True
                    _open_gate(member)
                following = self._queue[0] if self._queue else None
                self._leader = following
                if following is not None:
                    del self._queue[0]
                    _open_gate(following)
            elif not ticket.done and ticket in self._queue:
                self._queue.remove(ticket)


def _open_gate(ticket: Ticket) -> None:
    if ticket.gate is not None and ticket.gate.locked():
        ticket.gate.release()
