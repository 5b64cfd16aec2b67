"""Who decides, and when: one thread at a time commits for all that wait.

After the group commit of DeWitt et al., "Implementation Techniques for Main Memory Database
Systems" (1984), as leader and followers: whoever finds nobody at work leads; whoever comes
meanwhile waits, and is committed with the next group, which one of those that waited leads.

Ctrl-C raises KeyboardInterrupt in the main thread behind any call, also at the first step of a
function, or of a context manager's `__exit__`. So work is handed in as a function, and what hands
the lead on can be begun again wherever it was interrupted.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from eslab.errors import AppendOutcomeUnknownError
from eslab.store.decision import Decision
from eslab.store.requests import AppendRequest

__all__ = ["Sequencer", "Ticket"]

T = TypeVar("T")

LEAD: Final = None
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

    alone = False
    decision: Decision | None = None
    error: Exception | None = None
    done = False
    gate: threading.Lock | None = None

    def __init__(self, request: AppendRequest) -> None:
        self.request = request


class Sequencer:
    """A queue of appends, and the right to commit them.

    Args:
        commit: decides and commits the tickets of a group, in their order, and leaves a decision
            or an error on each. It runs on one thread at a time.
    """

    def __init__(self, commit: Callable[[Sequence[Ticket]], None]) -> None:
        self._commit = commit
        # Who leads, at LEAD: whoever puts itself there with `setdefault`, which is one step.
        self._lead: dict[None, Ticket] = {}
        self._queue: deque[Ticket] = deque()
        self._mutex = threading.Lock()  # for the queue, and for handing the lead on to it

    def submit(self, ticket: Ticket) -> Decision:
        """Return the decision on a ticket's request, when it is committed.

        Raises:
            EslabError: what the decision or the commit failed with.
            AppendOutcomeUnknownError: the commit of the group failed on another thread.
        """
        self._in_turn(ticket, [ticket], self._commit)
        if ticket.error is not None:
            raise ticket.error
        return ticket.decision  # type: ignore[return-value]  # it has one, if it has no error

    def alone(self, work: Callable[[], T]) -> T:
        """Run `work` while nobody commits, and return what it returns."""
        found: list[T] = []
        ticket = Ticket(_NOTHING)
        ticket.alone = True
        self._in_turn(ticket, [], lambda _: found.append(work()))
        return found[0]

    def _in_turn(
        self, ticket: Ticket, group: list[Ticket], work: Callable[[list[Ticket]], None]
    ) -> None:
        """Run `work` as the leader, unless another one answers the ticket.

        A group of tickets is joined by those that wait; none stays alone.
        """
        committed = False
        interrupt: KeyboardInterrupt | None = None
        try:
            if self._lead.setdefault(LEAD, ticket) is not ticket:
                self._wait(ticket)
            if not ticket.done:
                if self._queue and group:
                    self._gather(group)
                work(group)
                committed = True
        finally:
            while True:
                try:
                    self._leave(ticket, group, committed=committed)
                    break
                except KeyboardInterrupt as error:
                    interrupt = error
            if interrupt is not None:  # also where the work failed: else it would be lost
                raise interrupt

    def _wait(self, ticket: Ticket) -> None:
        """Wait until the ticket leads, or was answered by another leader."""
        with self._mutex:
            ticket.gate = threading.Lock()
            ticket.gate.acquire()
            self._queue.append(ticket)
            # Who leaves looks at the queue behind that, and who comes at the lead behind this.
            if self._lead.setdefault(LEAD, ticket) is ticket:
                self._queue.remove(ticket)
                return
        ticket.gate.acquire()

    def _gather(self, group: list[Ticket]) -> None:
        """Add those that wait, up to one that wants everybody's turn to end."""
        with self._mutex:
            while self._queue and not self._queue[0].alone:
                group.append(self._queue[0])
                del self._queue[0]

    def _leave(self, ticket: Ticket, group: list[Ticket], *, committed: bool) -> None:
        """Let the group of a ticket that leads go, and give the lead up; else stop waiting."""
        if self._lead.get(LEAD) is ticket:
            for member in group:
                if not committed:
                    member.error = AppendOutcomeUnknownError()
                member.done = True
                if member.gate is not None:
                    _open_gate(member)
            if not self._queue:
                del self._lead[LEAD]
                if not self._queue:
                    return
        self._hand_on(ticket)

    def _hand_on(self, ticket: Ticket) -> None:
        """Let the first of those that wait lead, unless there is a leader, and it goes on.

        The ticket leads and waits no longer. Whoever was interrupted here comes again: so the
        leader's gate is opened in every case.
        """
        with self._mutex:
            if ticket in self._queue:
                self._queue.remove(ticket)
            while self._queue and self._queue[0].done:  # gathering was interrupted
                del self._queue[0]
            if self._lead.get(LEAD) is ticket:
                if self._queue:
                    self._lead[LEAD] = self._queue[0]
                else:
                    del self._lead[LEAD]
            elif self._queue:
                self._lead.setdefault(LEAD, self._queue[0])
            leader = self._lead.get(LEAD)
            if leader is not None:
                if self._queue and self._queue[0] is leader:
                    del self._queue[0]
                _open_gate(leader)


def _open_gate(ticket: Ticket) -> None:
    """Let a ticket go on; to open a gate again that it has passed does nothing."""
    if ticket.gate is not None and ticket.gate.locked():
        ticket.gate.release()
