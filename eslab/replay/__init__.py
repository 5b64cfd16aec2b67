"""Replay: a stream step by step, with the state that the real handlers give after each event.

And what follows when history is edited.
"""

from eslab.replay.compare import Difference, Differences, Side, Tally, differences
from eslab.replay.consequences import (
    Consequence,
    Consequences,
    StreamConsequence,
    consequences,
)
from eslab.replay.edits import AnyEdit, Edit, Insert, Move, Plan, PlannedEvent, Skip, edited
from eslab.replay.folding import FoldedStream, Folding
from eslab.replay.given_when_then import Asked, Example, examples, source_of_tests
from eslab.replay.steps import Change, Frame, Replay, replay

__all__ = [
    "AnyEdit",
    "Asked",
    "Change",
    "Consequence",
    "Consequences",
    "Difference",
    "Differences",
    "Edit",
    "Example",
    "FoldedStream",
    "Folding",
    "Frame",
    "Insert",
    "Move",
    "Plan",
    "PlannedEvent",
    "Replay",
    "Side",
    "Skip",
    "StreamConsequence",
    "Tally",
    "consequences",
    "differences",
    "edited",
    "examples",
    "replay",
    "source_of_tests",
]
