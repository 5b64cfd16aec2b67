"""A laboratory on a branch of another one's store."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eslab.clock import SeededIds, branch_seed
from eslab.errors import InputError
from eslab.lab.lab import Lab
from eslab.messaging import ReadQuery
from eslab.projections import ProjectionRunner
from eslab.replay import AnyEdit, edited
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
        plan: what that makes of the log.
    """

    store: BranchStore

    def __init__(
        self,
        base: Lab,
        edits: Iterable[AnyEdit] = (),
        *,
        at: int | None = None,
        seed: int | None = None,
    ) -> None:
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise InputError(f"seed must be a whole number, not {seed!r}")
        self.base = base
        self.edits = tuple(edits)
        self.at = base.store.branch_position(at)
        self.plan = edited(base.store, self.edits, at=self.at, registry=base.registry)
        store = base.store.branch(
            at=self.at,
            ids=None if seed is None else SeededIds(seed),
            start=self.plan.start,
            removed=self.plan.removed,
            placed=self.plan.placed,
        )
        self.seed = seed
        if seed is None and base.seed is not None:
            self.seed = branch_seed(base.seed, store.number)
        try:
            self._wire(store, store.clock)
            for projection in self._adopt(base):
                runner = _Behind(store, projection, self.registry, observers=self._observers)
                self._keep(runner)
        except BaseException:
            store.close()
            raise

    def base_position(self, position: int) -> int | None:
        """Return where an event is in the base, or what it was made of; None if it is not there.

        Raises:
            InputError: there is no such position.
        """
        return self.store.base_position(position)

    def save_as(self, path: str | Path, *, progress: bool = True) -> Path:
        """Write the branch to a new file, as a store of its own, and return its path.

        Events keep their ids, numbers and times. Read models are made anew when they are asked for.

        Args:
            path: a file that does not exist yet.
            progress: draw a progress bar on stderr, if that is a terminal or a notebook.

        Raises:
            StoreError: it exists, cannot be written, or what was written is not whole.

        Example:
            >>> import tempfile
            >>> from eslab import NewEvent
            >>> folder = Path(tempfile.mkdtemp())
            >>> with Lab(seed=7) as lab:
            ...     _ = lab.store.append("order-1", [NewEvent("OrderPlaced", {"n": 1})])
            ...     saved = lab.branch().save_as(folder / "what-if.duckdb")
            >>> with Lab(saved) as what_if:
            ...     what_if.store.head()
            1
        """
        return self.store.save_as(path, progress=progress)

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
