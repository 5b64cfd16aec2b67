"""A laboratory on a branch of another one's store."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from eslab.clock import SeededIds, branch_seed
from eslab.errors import InputError
from eslab.lab.lab import Lab
from eslab.messaging import ReadQuery
from eslab.projections import ProjectionRunner
from eslab.store.result import Result
from eslab.subscriptions.turn import Turn
from eslab.words import counted

if TYPE_CHECKING:
    from eslab.store.duckdb.branch import BranchStore

__all__ = ["Branch"]


class Branch(Lab):
    """A laboratory that begins with the events of another one; see `eslab.Lab.branch`.

    The read models that the other one has are made of the events when they are first asked for: by
    SQL that names one, by a query, or when work is done, such as by `run`. For that no time passes.

    Args:
        base: the other one.
        edits: what is to be otherwise.
        at: the position; by default the last one.
        seed: by default it is derived from that of the base.

    Attributes:
        base: the other one.
        at: the position.
        edits: what is otherwise.
    """

    store: BranchStore

    def __init__(
        self,
        base: Lab,
        edits: Iterable[Any] = (),
        *,
        at: int | None = None,
        seed: int | None = None,
    ) -> None:
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise InputError(f"seed must be a whole number, not {seed!r}")
        self.base = base
        self.edits = tuple(edits)
        store = base.store.branch(at=at, ids=None if seed is None else SeededIds(seed))
        self.at = store.at
        self.seed = seed
        if seed is None and base.seed is not None:
            self.seed = branch_seed(base.seed, store.number)
        self._wire(store, store.clock)
        for projection in self._adopt(base):
            self._keep(_Behind(self.store, projection, self.registry, observers=self._observers))

    # Read models.

    def sql(self, query: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> Result:
        """Run one SELECT over the branch; see `eslab.Lab.sql`."""
        self._catch_up(re.findall(r"\w+", query.lower()) if isinstance(query, str) else ())
        return super().sql(query, parameters)

    def query(self, query: ReadQuery, **options: Any) -> Any:
        """Return the answer to a query; see `eslab.Lab.query`."""
        self._catch_up(None)
        return super().query(query, **options)

    def _catch_up(self, tables: Iterable[str] | None) -> None:
        """Have the read models that have some of these tables; None: have all."""
        for runner in list(self._projections.values()):
            if isinstance(runner, _Behind) and (
                tables is None or not runner.checkpoint.tables.keys().isdisjoint(tables)
            ):
                runner.catch_up()

    def __repr__(self) -> str:
        of = f"of {self.base.store.path!r} at {self.at:,}"
        if self.store.closed:
            return f"Branch({of}: closed)"
        head = self.store.head()
        return (
            f"Branch({of}: {counted(head, 'event')}, {head - self.store.start:,} of its own, "
            f"{counted(self.store.streams(), 'stream')}, "
            f"{counted(len(self._projections), 'projection')}, {self.clock.now().isoformat()})"
        )


class _Behind(ProjectionRunner):
    """A projection of the base, which on a branch has yet to see what that begins with.

    On a virtual clock a projection takes its time; there it was up to date before.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._behind = True
        self._failed = Turn()
        self._catching_up = threading.RLock()

    def begin(self) -> None:
        """Take note that a run begins.

        Raises:
            ProjectionError: what the branch begins with could not be projected.
        """
        self.catch_up()
        failed, self._failed = self._failed, Turn()
        super().begin()
        failed.end()

    def catch_up(self) -> None:
        """Apply what there is, the first time; what fails is raised when a run begins."""
        with self._catching_up:
            if self._behind:
                self._behind = False
                while self._failed.attempt(self.step):
                    pass
