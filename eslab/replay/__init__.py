"""Replay: streams step by step, with the state that the real handlers give after each event."""

from eslab.replay.changes import Change, changes, path_keys, path_text
from eslab.replay.steps import Frame, Replay, replay, replay_events

__all__ = [
    "Change",
    "Frame",
    "Replay",
    "changes",
    "path_keys",
    "path_text",
    "replay",
    "replay_events",
]
