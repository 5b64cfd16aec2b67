"""The live message flow: both forms of it, with what is selected, its cause and its effects."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import traitlets

from eslab.errors import InputError
from eslab.replay.messages import Message
from eslab.replay.tree import tree_of
from eslab.views import MessageFlow
from eslab.views.flow_layout import times_of
from eslab.views.flow_marks import STYLES, note_of, said, style_of
from eslab.views.scales import moment_text
from eslab.widgets.base import LiveWidget, intent

__all__ = ["FlowWidget"]


class FlowWidget(LiveWidget):
    """Shows a conversation as a sequence diagram and as a tree.

    Args:
        view: the flow.

    Attributes:
        flow: what the browser draws; it decides nothing about messages by itself.
    """

    module = "flow"

    flow = traitlets.Dict().tag(sync=True)

    def __init__(self, view: MessageFlow) -> None:
        self._view = view
        super().__init__(said=view.digest, flow=_drawn(view))

    @intent
    def details(self, order: int) -> dict[str, Any]:
        """Return what the log has of a message.

        Args:
            order: its place in the causal order, from 0.
        """
        messages = self._view.conversation.messages
        if not 0 <= order < len(messages):
            raise InputError(f"there are messages 0 to {len(messages) - 1}, not {order}")
        event = messages[order].event
        if event is None:
            return {}
        return {
            "recorded": f"{event.type} {event.stream_id} v{event.version} @{event.position}",
            "data": dict(event.data),
            "metadata": event.metadata.to_dict(),
        }


def _drawn(view: MessageFlow) -> dict[str, Any]:
    conversation, lanes = view.conversation, view.lanes
    messages = conversation.messages
    styles = [style_of(message) for message in messages]
    ends = [lanes.ends[message.id] for message in messages]
    place = conversation.place
    return {
        "form": view.form,
        "about": view.subtitle,
        "styles": {name: asdict(style) for name, style in STYLES.items() if name in set(styles)},
        "lanes": [asdict(lane) for lane in lanes.lanes],
        "messages": {
            "id": [message.id for message in messages],
            "kind": [message.kind for message in messages],
            "style": styles,
            "said": list(map(said, messages)),
            "note": list(map(note_of, messages)),
            "detail": [message.detail for message in messages],
            "between": list(map(_between, messages)),
            "where": list(map(_where, messages)),
            "time": times_of(conversation),
            "at": list(map(_at, messages)),
            "position": [message.position for message in messages],
            "failed": [message.failed for message in messages],
            "source": [source for source, _ in ends],
            "targets": [targets for _, targets in ends],
            "cause": [-1 if one.cause is None else place(one.cause) for one in messages],
        },
        "tree": [
            [place(row.message.id), row.column, int(row.begins), row.size]
            for row in tree_of(conversation)
        ],
    }


def _between(message: Message) -> str:
    source = message.source or message.actor
    unknown = {"command": "a sender that is not recorded", "unknown": "elsewhere"}
    said = source or unknown.get(message.kind, "a handler that is not recorded")
    others = [stream for stream in message.targets if stream != source]
    return f"{said} to {', '.join(others)}" if others else said


def _where(message: Message) -> str:
    if message.kind in ("command", "call"):
        return f"to {', '.join(message.targets)}" if message.targets else ""
    event = message.event
    return "" if event is None else f"{event.stream_id} v{event.version}"


def _at(message: Message) -> str:
    return "" if message.occurred_at is None else moment_text(message.occurred_at)
