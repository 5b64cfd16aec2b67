"""Replay: streams step by step, with the state that the real handlers give after each event.

And what follows when history is edited; and what led to what, over all streams.
"""

from eslab.replay.changes import Change, changes, path_keys, path_text
from eslab.replay.compare import Difference, Differences, Side, Tally, differences
from eslab.replay.consequences import (
    Consequence,
    Consequences,
    StreamConsequence,
    consequences,
)
from eslab.replay.conversation import Conversation, conversation_of
from eslab.replay.edits import AnyEdit, Edit, Insert, Move, Plan, PlannedEvent, Skip, edited
from eslab.replay.folding import FoldedStream, Folding
from eslab.replay.given_when_then import Asked, Example, examples, source_of_tests
from eslab.replay.messages import Message
from eslab.replay.steps import Frame, Replay, replay, replay_events
from eslab.replay.tree import TreeRow, tree_lines, tree_of

__all__ = [
    "AnyEdit",
    "Asked",
    "Change",
    "Consequence",
    "Consequences",
    "Conversation",
    "Difference",
    "Differences",
    "Edit",
    "Example",
    "FoldedStream",
    "Folding",
    "Frame",
    "Insert",
    "Message",
    "Move",
    "Plan",
    "PlannedEvent",
    "Replay",
    "Side",
    "Skip",
    "StreamConsequence",
    "Tally",
    "TreeRow",
    "changes",
    "consequences",
    "conversation_of",
    "differences",
    "edited",
    "examples",
    "path_keys",
    "path_text",
    "replay",
    "replay_events",
    "source_of_tests",
    "tree_lines",
    "tree_of",
]
