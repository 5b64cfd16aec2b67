"""A laboratory on a branch of another one's store."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from eslab.aggregates import Definition
from eslab.clock import SeededIds, branch_seed
from eslab.errors import DomainError, EslabError, InputError
from eslab.events import Event
from eslab.lab.export import ExportFormat
from eslab.lab.lab import Lab
from eslab.messaging import Command, Envelope, ReadQuery
from eslab.projections import ProjectionRunner
from eslab.replay import (
    AnyEdit,
    Asked,
    Edit,
    Folding,
    Insert,
    Side,
    consequences,
    differences,
    edited,
)
from eslab.store.result import Result
from eslab.subscriptions.turn import Turn
from eslab.words import counted

if TYPE_CHECKING:
    from eslab.store.duckdb.branch import BranchStore
    from eslab.views import ComparisonView, ConsequencesView

__all__ = ["Branch"]

KEPT: Final = 10_000
"""Commands that a branch remembers, to be told as tests: the newest ones."""


class Branch(Lab):
    """A laboratory that begins with the events of another one; see `eslab.Lab.branch`.

    The read models that the other one has are made of the events when they are first asked for: by
    SQL that names one, by a query, or when work is done, such as by `run`. For that no time passes.

    Args:
        base: the other one.
        edits: what is to be otherwise in its history: `Skip`, `Edit`, `Insert`, `Move`.
        at: the position; by default the last one.
        seed: by default it is derived from that of the base.

    Attributes:
        base: the other one.
        at: the position.
        edits: what is otherwise.
        plan: what the edits made of the events up to there.

    Raises:
        InputError: an edit cannot be; see `eslab.replay.edited`.
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
            # Never those of the base, which may have the same seed.
            ids=None if seed is None else SeededIds(seed).in_branch(base.store.store_id.int),
            start=self.plan.start,
            removed=self.plan.removed,
            placed=self.plan.placed,
        )
        self.seed = seed
        if seed is None and base.seed is not None:
            self.seed = branch_seed(base.seed, store.number)
        self._commands_seen: deque[Asked] = deque(maxlen=KEPT)
        try:
            self._wire(store, store.clock)
            self._take_over(base)
        except BaseException:
            store.close()
            raise

    def _take_over(self, base: Lab) -> None:
        """Register what is registered in the base, and the classes of what is inserted."""
        for projection in self._adopt(base):
            self._keep(_Behind(self.store, projection, self.registry, observers=self._observers))
        for event in filter(None, map(_given_event, self.edits)):
            self.register(type(event))
        if isinstance(base, Branch):
            # What is asked here is not asked there.
            self._middleware.remove(base._remember)  # noqa: SLF001 - another one of this class
        self.use(self._remember)

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

    # What is otherwise.

    @cached_property
    def consequences(self) -> ConsequencesView:
        """What became of the events behind the first edit, and what cannot be applied any more.

        See `eslab.replay.consequences`. What is done on the branch is no part of it.
        """
        from eslab.views import ConsequencesView

        return ConsequencesView(consequences(self.plan, _folding(self)))

    def comparison(
        self,
        other: Lab | None = None,
        *,
        at: int | None = None,
        projections: Iterable[str] | None = None,
        progress: bool = True,
    ) -> ComparisonView:
        """Show what differs from the base: in streams, states, read models and sagas.

        What is not done yet is not done for that: `run` the branch first, so that its sagas end.
        See `eslab.replay.differences`.

        Args:
            other: another lab, or another branch, to compare with instead.
            at: the last position there that is looked at; by default the one at which this branch
                begins, of another lab the last one. What the base recorded since is seen by
                ``at=lab.store.head()``.
            projections: the names of those whose read models are compared; by default all.
            progress: draw a progress bar on stderr while events are folded.

        Raises:
            InputError: there is no such projection, or position.

        Example:
            >>> from eslab import Edit
            >>> from eslab.simulation.scenarios.accounts import *
            >>> with Lab(seed=7) as lab:
            ...     lab.register(account)
            ...     _ = lab.execute(OpenAccount(account_id="a-1", owner="Ann"))
            ...     _ = lab.execute(Deposit(account_id="a-1", amount=30))
            ...     what_if = lab.branch(Edit(2, {"amount": 50}))
            ...     found = what_if.comparison()
            >>> found
            ComparisonView(branch at 2 of ':memory:': 1 stream and 1 state differ)
            >>> found.df.loc[1, ["path", "base", "branch"]].to_list()
            ['balance', 30, 50]
        """
        from eslab.views import ComparisonView

        there = self.base if other is None else other
        if not isinstance(there, Lab):
            raise InputError(f"a branch is compared with its base, or a lab, not {other!r:.200}")
        last = self.at if other is None else there.store.head()
        until = last if at is None else at
        if type(until) is not int or not 0 <= until <= there.store.head():
            raise InputError(
                f"at is a position from 0 to {there.store.head():,}, the last one there, not "
                f"{at!r:.200}"
            )
        found = differences(
            _side(there, until),
            _side(self, self.store.head()),
            common=min(until, self._shared(there)),
            projections=projections,
            progress=progress,
        )
        with_other = "" if other is None else f" and {other.store.path!r}"
        of = f"branch at {self.at:,} of {self.base.store.path!r}{with_other}"
        return ComparisonView(found, of=of)

    def _shared(self, other: Lab) -> int:
        """Return up to where another lab has the same events for sure."""
        if other is self.base:
            return self.store.start
        if isinstance(other, Branch) and other.base is self.base:
            return min(self.store.start, other.store.start)
        return 0

    def _first(self, format: ExportFormat) -> int:
        # A test tells what became otherwise; a log is exported as a whole.
        return self.store.start if format == "test" else 0

    def _asked(self) -> Sequence[Asked]:
        return tuple(self._commands_seen)

    def _remember(self, envelope: Envelope, go_on: Callable[[], Any]) -> Any:
        """Remember a command that an aggregate was sent, so that it can be told as a test."""
        command, head, error = envelope.message, self.store.head(), None
        try:
            return go_on()
        except DomainError as refused:
            error = refused
            raise
        finally:
            for category, definition in self.repository.definitions.items():
                if isinstance(command, Command) and type(command) in _commands_of(definition):
                    with suppress(EslabError):  # it does not say for which one: it was refused
                        stream_id = f"{category}-{self._commands.target(command, category)}"
                        asked = Asked(stream_id, command, envelope.id, head, error)
                        self._commands_seen.append(asked)

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


def _commands_of(definition: Definition[Any]) -> Sequence[type[BaseModel]]:
    return getattr(definition, "commands", ())


def _given_event(edit: AnyEdit) -> Event | None:
    """Return the event of a class that an edit brings along."""
    event = (
        edit.data if isinstance(edit, Edit) else edit.event if isinstance(edit, Insert) else None
    )
    return event if isinstance(event, Event) else None


def _folding(lab: Lab) -> Folding:
    return Folding(lab.registry, lab.repository.definitions, lab._orchestrator)  # noqa: SLF001


def _side(lab: Lab, until: int) -> Side:
    runners = lab._projections.values()  # noqa: SLF001
    projections = {runner.name: runner.projection for runner in list(runners)}
    return Side(lab.store, lab.registry, _folding(lab), projections, until)


class _Behind(ProjectionRunner):
    """A projection of the base, which on a branch has yet to see what that begins with.

    On a virtual clock a projection takes its time; there it was up to date before. Its tables are
    made when somebody asks for them: to make them takes ten times as long as to make a branch.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._made = False
        self._making = threading.Lock()
        super().__init__(*args, **options)
        self._behind = True
        self._failed = Turn()
        self._catching_up = threading.RLock()

    def _prepare(self) -> None:
        pass  # not yet: see `_make`

    def _make(self) -> None:
        with self._making:
            if not self._made:
                super()._prepare()
                self._made = True

    @property
    def position(self) -> int:
        """The last position that the read model holds, as far as is known."""
        self._make()
        return super().position

    def replaced_by(self, other: ProjectionRunner) -> None:
        """Put a read model that was made beside this one in its place, at its checkpoint."""
        self._make()
        super().replaced_by(other)
        self._behind = False

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
            self._make()  # also of one that is paused
            if self._behind:
                self._behind = False
                while self._failed.attempt(self.step):
                    pass
