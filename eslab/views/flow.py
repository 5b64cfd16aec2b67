"""The message flow: who sent what to whom in a conversation, and which message caused which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal
from uuid import UUID

import pandas as pd
import plotly.graph_objects as go

from eslab.errors import InputError
from eslab.garbage import garbage_kept
from eslab.replay.conversation import Conversation, conversation_of
from eslab.replay.lineage import (
    EVENTS_SQL,
    POSITIONS,
    EventReference,
    Log,
    found_event,
    read_events,
    related,
    with_causes,
)
from eslab.replay.messages import Message, Target
from eslab.schema import canonical_json
from eslab.views.base import PictureView, with_values
from eslab.views.flow_figure import sequence_figure, tree_figure
from eslab.views.flow_layout import lanes_of
from eslab.views.flow_picture import sequence_picture, tree_picture
from eslab.views.scales import duration_text
from eslab.words import counted, one_line

__all__ = ["Form", "MessageFlow", "flow_figure", "messages_frame"]

Form = Literal["sequence", "tree"]

# To look for the text is quicker than to read the JSON of every event.
_CORRELATION: Final = """contains(metadata::varchar, $text)
  and metadata->>'$.correlation_id' = $correlation_id"""


class MessageFlow(PictureView):
    """The messages of a conversation: commands, events, answers, failures, and what caused what.

    The frame has a row a message, in causal order: order, id, kind, name, stream_id, version and
    position of the event that it is or that tells of it, source, targets, attempt, outcome, detail,
    cause (an id), depth, occurred_at, recorded_at and skew: by how many seconds its cause occurred
    later, by their clocks. See `eslab.replay.Message` for the kinds. The query gives the events;
    the messages are what these tell.

    A cause comes before its effect, whatever the clocks say. Of a command that no saga sent its id
    and its type are recorded; what caused it is not, and one that was refused left nothing in the
    log at all.

    Args:
        store: the log.
        correlation_id: of the conversation.
        event: one of its events, by itself, its id or its position. Of an event without a
            correlation id, the conversation is whatever it is related to.
        form: as what it is drawn first: a ``"sequence"`` diagram, or the causation ``"tree"``.
        target: says for which stream a command is that recorded nothing.
        widget: makes the live widget.

    Attributes:
        conversation: the messages.
        lanes: who takes part.
        notes: how many notes of sagas, such as of timers, are left out; if there is nothing else,
            none is.

    Raises:
        InputError: not exactly one of the two is given, or no event has that correlation id.
        EventNotFoundError: there is no such event.

    Example:
        >>> import eslab
        >>> from eslab.simulation.scenarios import orders
        >>> with eslab.Lab(seed=7) as lab:
        ...     lab.register(orders.Stock)
        ...     _ = lab.execute(orders.ReceiveStock(article="anvil", quantity=3))
        ...     flow = lab.flow(event=1)
        >>> flow
        MessageFlow(correlation 2daa5365...: 1 event, 1 command, 0 failures, 2 participants, ...)
        >>> print(flow.df[["kind", "name", "depth"]].to_string(index=False))
           kind          name  depth
        command  ReceiveStock      0
          event StockReceived      1
    """

    def __init__(
        self,
        store: Log,
        *,
        correlation_id: str | None = None,
        event: EventReference | None = None,
        form: Form = "sequence",
        target: Target | None = None,
        widget: Callable[[MessageFlow], Any] | None = None,
    ) -> None:
        if form not in ("sequence", "tree"):
            raise InputError(f"form is 'sequence' or 'tree', not {form!r}")
        if (correlation_id is None) == (event is None):
            raise InputError("a message flow is of a correlation_id, or of an event: give one")
        found = None
        if event is not None:
            found = found_event(store, event)
            known: object = found.metadata.correlation_id
            correlation_id = known if isinstance(known, str) else None
        if correlation_id is None:
            assert found is not None
            events = related(store, found)
            where, values = POSITIONS, {"positions": [one.position for one in events]}
            self.about = f"event @{found.position}"
        else:
            where, values = _CORRELATION, _correlated(correlation_id)
            self.about = f"correlation {_short(correlation_id)}"
            events = read_events(store, where, values)
            if not events:
                raise InputError(
                    f"no event of this log has the correlation id {correlation_id!r:.200}; "
                    f"lab.events() shows those that there are, in their metadata"
                )
            events = with_causes(store, events)
        with garbage_kept():
            whole = conversation_of(events, target=target)
            told = whole.without_notes()
            self.conversation = told if len(told) else whole
        self.notes = len(whole) - len(self.conversation)
        self.lanes = lanes_of(self.conversation)
        self.form: Form = form
        super().__init__(
            messages_frame(self.conversation),
            sql=with_values(EVENTS_SQL.format(where=where), values),
            widget=widget,
        )

    @property
    def words(self) -> str:
        """What there is, in numbers."""
        messages = self.conversation.messages
        events = sum(one.kind == "event" for one in messages)
        commands = sum(one.kind in ("command", "call") and one.attempt <= 1 for one in messages)
        skewed, cycles = sum(one.skew > 0 for one in messages), sum(one.cycle for one in messages)
        return ", ".join(
            [
                counted(events, "event"),
                counted(commands, "command"),
                counted(sum(one.failed for one in messages), "failure"),
                counted(len(self.lanes), "participant"),
                f"depth {self.conversation.depth}",
                *([counted(skewed, "skew")] if skewed else []),
                *([counted(cycles, "cycle")] if cycles else []),
            ]
        )

    @property
    def digest(self) -> str:
        """The conversation, and what there is in it."""
        return f"MessageFlow({self.about}: {self.words})"

    def figure(self, form: Form | None = None) -> go.Figure:
        """Return the sequence diagram, or the causation tree.

        Args:
            form: which of the two; by default as the view was made.
        """
        return flow_figure(
            self.conversation, form=form or self.form, title=self.title, about=self.subtitle
        )

    def svg(self, form: Form | None = None) -> str:
        """Return the first messages as SVG.

        Args:
            form: as for `figure`.
        """
        if (form or self.form) == "tree":
            return tree_picture(self.conversation, title=self.title, about=self.subtitle)
        return sequence_picture(
            self.conversation, self.lanes, title=self.title, about=self.subtitle
        )

    @property
    def title(self) -> str:
        """What it is of."""
        return f"Message flow of {self.about}"

    @property
    def subtitle(self) -> str:
        """What there is, and how long it took."""
        known = [one.occurred_at for one in self.conversation if one.occurred_at is not None]
        seconds = (max(known) - min(known)).total_seconds() if known else 0.0
        took = f"; {duration_text(seconds)} in all" if seconds else ""
        notes = f"; {counted(self.notes, 'note')} of sagas not drawn" if self.notes else ""
        return f"{self.words}{took}{notes}"


def flow_figure(
    conversation: Conversation, *, form: Form = "sequence", title: str = "", about: str = ""
) -> go.Figure:
    """Draw a conversation.

    Args:
        conversation: the messages.
        form: ``"sequence"`` or ``"tree"``.
        title: of the figure.
        about: a line below it.
    """
    if form == "tree":
        return tree_figure(conversation, title=title, about=about)
    return sequence_figure(conversation, lanes_of(conversation), title=title, about=about)


def _correlated(correlation_id: str) -> dict[str, Any]:
    if not isinstance(correlation_id, (str, UUID)):
        raise InputError(f"a correlation id is a text, not {correlation_id!r:.200}")
    text = str(correlation_id)
    # As it stands in the metadata, which are canonical JSON.
    return {"text": canonical_json({"correlation_id": text})[1:-1], "correlation_id": text}


def _short(correlation_id: str) -> str:
    try:
        return f"{str(UUID(str(correlation_id)))[:8]}..."
    except ValueError:
        text = one_line(str(correlation_id))
        return text if len(text) <= 40 else f"{text[:40]}..."


def messages_frame(conversation: Conversation) -> pd.DataFrame:
    """Return a frame with a row a message, in causal order."""
    df = pd.DataFrame(
        [_row(order, one) for order, one in enumerate(conversation, 1)],
        columns=list(_COLUMNS),
    )
    for column in ("version", "position"):
        df[column] = df[column].astype("Int64")
    for column in ("occurred_at", "recorded_at"):
        df[column] = pd.to_datetime(df[column], utc=True)
    return df


_COLUMNS: Final = (
    "order",
    "id",
    "kind",
    "name",
    "stream_id",
    "version",
    "position",
    "source",
    "targets",
    "attempt",
    "outcome",
    "detail",
    "cause",
    "depth",
    "occurred_at",
    "recorded_at",
    "skew",
)


def _row(order: int, message: Message) -> tuple[Any, ...]:
    event = message.event
    return (
        order,
        message.id,
        message.kind,
        message.name,
        None if event is None else event.stream_id,
        None if event is None else event.version,
        message.position,
        message.source or message.actor,
        ", ".join(message.targets),
        message.attempt,
        message.outcome,
        message.detail,
        message.cause,
        message.depth,
        message.occurred_at,
        None if event is None else event.recorded_at,
        message.skew / 1e6,
    )
