"""Replay: a stream step by step, with its states; and what led to what, over all streams."""

from eslab.replay.conversation import Conversation, conversation_of
from eslab.replay.messages import Message
from eslab.replay.steps import Change, Frame, Replay, replay
from eslab.replay.tree import Branch, tree_lines, tree_of

__all__ = [
    "Branch",
    "Change",
    "Conversation",
    "Frame",
    "Message",
    "Replay",
    "conversation_of",
    "replay",
    "tree_lines",
    "tree_of",
]
