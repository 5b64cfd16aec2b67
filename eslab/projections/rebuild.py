"""A read model made anew beside the one that is read, which then takes its place."""

from __future__ import annotations

from collections.abc import Iterable

from eslab.clock import Scheduler
from eslab.errors import InputError, StoreClosedError, StoreError
from eslab.projections.checkpoints import Checkpoint
from eslab.projections.runner import Observer, ProjectionRunner
from eslab.subscriptions import Batch, ErrorPolicy
from eslab.subscriptions.subscription import Mode
from eslab.words import counted

__all__ = ["Rebuild"]


class Rebuild(ProjectionRunner):
    """Makes the read model of a projection anew, in tables of its own, and swaps them in.

    Meanwhile the one that is read stays as it is, or goes on. What was begun by a process that
    ended is taken up where it was.

    Args:
        live: the projection's own runner.
        until: the position at which the new read model ends and takes the place of the old one,
            though that may be further on; by default it goes on until it is as far as that.
        on_error: what is done about an event that cannot be handled.
        observers: are told of every batch.

    Raises:
        InputError: there is no such position, or no such policy.
    """

    def __init__(
        self,
        live: ProjectionRunner,
        *,
        until: int | None = None,
        on_error: ErrorPolicy | str = "stop",
        observers: Iterable[Observer] = (),
    ) -> None:
        policy = ErrorPolicy.of(on_error)
        head = live.store.head()
        if until is not None and (
            isinstance(until, bool) or not isinstance(until, int) or not 0 <= until <= head
        ):
            raise InputError(f"a position is a number from 0 to {head:,}, not {until!r}")
        self.done = False
        self._live = live
        self._until = until
        self._target = head if until is None else until
        checkpoint = self._beside()
        if until is not None:  # one that was begun may be further on
            with live.store.transaction() as transaction:
                checkpoint.drop(transaction)
        super().__init__(
            live.store, live.projection, live.registry, observers=observers, checkpoint=checkpoint
        )
        self._policy = policy

    def _beside(self) -> Checkpoint:
        # Discards are never taken back: their number says which events are left out.
        return self._live.checkpoint.beside(f"without {len(self._live.letters.discarded)}")

    @property
    def active(self) -> bool:
        """Whether there is something to do."""
        return not self.done and super().active

    def step(self) -> bool:
        """Apply one batch, or take the place of the old read model, and say whether it did.

        Raises:
            ProjectionError: it stopped; the old read model is as it was.
        """
        with self.lock:
            self._finish()
            return super().step()

    def wake(self, scheduler: Scheduler) -> None:
        """Schedule the next batch on a virtual clock, unless all is done."""
        with self.lock:
            self._finish()
        super().wake(scheduler)

    def _finish(self) -> None:
        if not self.active or self.due_in():
            return
        try:
            if self.position >= self._target:
                self._take_its_place()
        except StoreClosedError:
            raise
        except StoreError as error:
            self._wait_out(error, self.store.clock.now())

    def _take_its_place(self) -> None:
        live = self._live
        with live.lock:  # it does not move now
            if self._until is None:
                while self.active and self.position < live.position and super().step():
                    pass
                if self.position < live.position:
                    return
            if self._beside() != self.checkpoint:  # somebody discarded an event meanwhile
                self.checkpoint = self._beside()
                self._prepare()
                return
            live.replaced_by(self)
            self.done = True

    def discard(self) -> None:
        """Remove what was made so far."""
        with self.store.transaction() as transaction:
            self.checkpoint.drop(transaction)

    def _read(self, until: int | None = None) -> Batch | None:
        if self._until is not None:
            until = self._until if until is None else min(until, self._until)
        return super()._read(until)

    def _mode(self, batch: Batch) -> Mode:  # noqa: ARG002 - all of it was there before
        return "replay"

    def __repr__(self) -> str:
        state = "done" if self.done else f"{counted(self.position, 'event')} of {self._target:,}"
        return f"<Rebuild of {self.projection.name}: {state}>"
