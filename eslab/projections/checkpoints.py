"""How far a read model has come: its checkpoint, which moves with its rows, and the log of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from eslab.errors import ProjectionError
from eslab.projections.base import AnyProjection, Table
from eslab.schema.naming import quoted
from eslab.store.port import Transaction
from eslab.subscriptions import BatchReport

__all__ = ["REBUILD", "Checkpoint"]

REBUILD: Final = "~rebuild"
"""Behind the name of a read model that is made anew beside the one that is read."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The checkpoint of a read model, and its tables; every method works in a transaction.

    It is moved by compare-and-set: of two that apply the same batch one fails, as a whole.

    Each table says whose it is, as a comment in the database: what an earlier definition of the
    projection made is found by that, and another projection that makes a table of the same name
    takes it away, so that nobody goes on with rows of another one.

    Attributes:
        name: of the read model.
        fingerprint: of what makes its rows.
        tables: what each of its tables is called in SQL, by the names of the projection.
    """

    name: str
    fingerprint: str
    tables: Mapping[str, str]

    @classmethod
    def of(cls, projection: AnyProjection, tables: Iterable[str]) -> Checkpoint:
        """Return the checkpoint of a projection."""
        names = {name: f"rm.{quoted(name)}" for name in tables}
        return cls(projection.name, projection.fingerprint(), names)

    def beside(self, variant: str) -> Checkpoint:
        """Return the checkpoint of a rebuild, which is made beside this one.

        Args:
            variant: what else than the projection makes its rows.
        """
        names = {name: f"rm.{quoted(name + REBUILD)}" for name in self.tables}
        return Checkpoint(f"{self.name}{REBUILD}", f"{self.fingerprint} {variant}", names)

    def prepare(self, transaction: Transaction, shapes: Mapping[str, Table]) -> bool:
        """Make the read model if there is none, or another projection made it; say whether."""
        held = transaction.execute(
            "select fingerprint from eslab.checkpoints where projection = ?", [self.name]
        )
        if held == [(self.fingerprint,)]:
            return False
        self._take_away(transaction)
        self.drop(transaction)
        for name, table in self.tables.items():
            transaction.execute(shapes[name].definition(table))
            self._claim(transaction, table)
        transaction.execute(
            "insert into eslab.checkpoints values (?, 0, ?)", [self.name, self.fingerprint]
        )
        return True

    def drop(self, transaction: Transaction) -> None:
        """Remove the read model, and what is known of it."""
        owned = transaction.execute(
            "select table_name from duckdb_tables() where database_name = current_database() "
            "and schema_name = 'rm' and comment = ? "
            "order by table_name",
            [self.name],
        )
        for table in [*self.tables.values(), *[f'rm."{name}"' for (name,) in owned]]:
            transaction.execute(f"drop table if exists {table}")
        for known in ("checkpoints", "checkpoint_log"):
            transaction.execute(f"delete from eslab.{known} where projection = ?", [self.name])
        transaction.execute("delete from eslab.dead_letters where consumer = ?", [self.name])

    def _take_away(self, transaction: Transaction) -> None:
        for table in self.tables.values():
            transaction.execute(
                "delete from eslab.checkpoints where projection in (select comment from "
                "duckdb_tables() where database_name = current_database() "
                "and schema_name = 'rm' and table_name = ? and comment <> ?)",
                [table.removeprefix("rm.").strip('"'), self.name],
            )

    def _claim(self, transaction: Transaction, table: str) -> None:
        transaction.execute(f"comment on table {table} is '{self.name}'")

    def position(self, transaction: Transaction) -> int:
        """Return the last position that the read model holds.

        Raises:
            ProjectionError: it is there no longer.
        """
        found = transaction.execute(
            "select position from eslab.checkpoints where projection = ? and fingerprint = ?",
            [self.name, self.fingerprint],
        )
        if not found:
            raise ProjectionError(
                f"the read model of {self.name!r} was made anew by another definition of it, or "
                f"removed: project that one"
            )
        ((position,),) = found
        return int(position)

    def highest(self, transaction: Transaction) -> int:
        """Return the highest position that the read model ever held."""
        ((position,),) = transaction.execute(
            "select coalesce(max(to_position), 0) from eslab.checkpoint_log where projection = ?",
            [self.name],
        )
        return int(position)

    def move(self, transaction: Transaction, report: BatchReport) -> None:
        """Move it over a batch, in the transaction that has changed the rows.

        Raises:
            ProjectionError: it is no longer where the batch begins.
        """
        self._set(transaction, report.after, report.scanned)
        self.log(transaction, report)

    def log(self, transaction: Transaction, report: BatchReport) -> None:
        """Note that it was moved; or, if it stays where it is, that somebody works on it."""
        transaction.execute(
            "insert into eslab.checkpoint_log values (?, ?, ?, ?, ?, ?, ?)",
            [
                self.name,
                report.after,
                report.scanned,
                report.count,
                report.started_at,
                report.committed_at,
                report.mode,
            ],
        )

    def take_over(self, transaction: Transaction, other: Checkpoint, *, at: datetime) -> None:
        """Put another read model of the same projection in the place of this one.

        Raises:
            ProjectionError: one of them is there no longer.
        """
        origin, target = self.position(transaction), other.position(transaction)
        self._set(transaction, origin, target)
        for name, table in self.tables.items():
            transaction.execute(f"drop table {table}")
            transaction.execute(f"alter table {other.tables[name]} rename to {quoted(name)}")
            self._claim(transaction, table)
        transaction.execute("delete from eslab.checkpoints where projection = ?", [other.name])
        self.log(transaction, BatchReport(self.name, origin, target, 0, at, at, "replay"))

    def _set(self, transaction: Transaction, origin: int, target: int) -> None:
        ((moved,),) = transaction.execute(
            "update eslab.checkpoints set position = ? where projection = ? and position = ? "
            "and fingerprint = ?",
            [target, self.name, origin, self.fingerprint],
        )
        if not moved:
            raise ProjectionError(
                f"the checkpoint of {self.name!r} is no longer {origin}: another runner moved it; "
                f"this batch was not applied"
            )
