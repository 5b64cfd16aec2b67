"""Lineage of an event: its causes and its effects, as a frame and as a tree."""

from __future__ import annotations

import plotly.graph_objects as go

from eslab.replay.conversation import conversation_of
from eslab.replay.lineage import (
    EVENTS_SQL,
    POSITIONS,
    EventReference,
    Log,
    found_event,
    lineage,
    related,
)
from eslab.replay.messages import Target
from eslab.replay.tree import tree_lines, tree_of
from eslab.views.base import PictureView, with_values
from eslab.views.flow import messages_frame
from eslab.views.flow_figure import tree_figure
from eslab.views.flow_picture import tree_picture
from eslab.words import counted

__all__ = ["LineageView"]


class LineageView(PictureView):
    """What led to an event, and what followed from it.

    The frame has the columns of `MessageFlow.df`, and ``relation``: ``cause``, ``event`` or
    ``effect``. The query gives the events that may be related; `str` gives the tree as text.

    A cause that is no event is a command, or is not in this log: an event of another store, say;
    it is a row as well, without a position. What a saga sent was caused by what came in last. The
    cause of a command that no saga sent is not recorded.

    Args:
        store: the log.
        event: the event, its id, or its position.
        target: says for which stream a command is that recorded nothing.

    Attributes:
        conversation: the messages.
        message: the one that the event is, or that it tells of.

    Raises:
        EventNotFoundError: there is no such event.
        InputError: it is none of the three.

    Example:
        >>> import eslab
        >>> from eslab.simulation.scenarios import orders
        >>> with eslab.Lab(seed=7) as lab:
        ...     lab.register(orders.Stock)
        ...     _ = lab.execute(orders.ReceiveStock(article="anvil", quantity=3))
        ...     lineage = lab.lineage(1)
        >>> lineage
        Lineage(StockReceived stock-anvil v1 @1: 1 cause, 0 effects)
        >>> print(lineage)
        ▶ ReceiveStock to stock-anvil
        ● StockReceived stock-anvil v1 @1  <--
    """

    def __init__(self, store: Log, event: EventReference, *, target: Target | None = None) -> None:
        self._event = found_event(store, event)
        events = related(store, self._event)
        whole = conversation_of(events, target=target)
        message = whole.of_event(self._event.position)
        assert message is not None
        self.conversation = lineage(whole, message)
        self.message = self.conversation[message.id]
        df = messages_frame(self.conversation)
        causes = len(self.conversation.causes_of(message.id))
        df["relation"] = [
            "cause" if place < causes else "event" if place == causes else "effect"
            for place in range(len(df))
        ]
        values = {"positions": [event.position for event in events]}
        sql = with_values(EVENTS_SQL.format(where=POSITIONS), values)
        super().__init__(df, sql=sql)

    @property
    def digest(self) -> str:
        """The event, and how many led to it and followed from it."""
        event = self._event
        causes = int((self.df["relation"] == "cause").sum())
        effects = int((self.df["relation"] == "effect").sum())
        return (
            f"Lineage({event.type} {event.stream_id} v{event.version} @{event.position}: "
            f"{counted(causes, 'cause')}, {counted(effects, 'effect')})"
        )

    def __str__(self) -> str:
        return "\n".join(tree_lines(tree_of(self.conversation), here=self.message.id))

    def figure(self) -> go.Figure:
        """Return the tree as a plotly figure."""
        title, about = self._titles()
        return tree_figure(self.conversation, title=title, about=about)

    def svg(self) -> str:
        """Return the tree as SVG; the event is the one on a ground of its own."""
        title, about = self._titles()
        return tree_picture(self.conversation, title=title, about=about, here=self.message.id)

    def _titles(self) -> tuple[str, str]:
        event, said = self._event, self.digest.rpartition(": ")[2].removesuffix(")")
        return f"Lineage of {event.type}, {event.stream_id} v{event.version}", said
