"""What a command returns: how far whoever reads must have come to see what it did."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

__all__ = ["ConsistencyToken"]


@dataclass(frozen=True, slots=True)
class ConsistencyToken:
    """A position of a log: whoever has read so far has seen what the command recorded.

    Attributes:
        store_id: of which store.
        epoch: in which epoch of it.
        position: of the last event that the command recorded; if it recorded none, of the last
            event of the stream on which it was decided, or of the log, if that is not known.
        duplicate: the command had been carried out before, and nothing was recorded now.

    Example:
        >>> ConsistencyToken(uuid.UUID(int=7), 1, 42)
        <ConsistencyToken position 42, epoch 1>
    """

    store_id: uuid.UUID
    epoch: int
    position: int
    duplicate: bool = field(default=False, compare=False)

    def __repr__(self) -> str:
        duplicate = ", duplicate" if self.duplicate else ""
        return f"<ConsistencyToken position {self.position}, epoch {self.epoch}{duplicate}>"
