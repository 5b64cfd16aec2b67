"""Replay: a stream step by step, with the state that the real handlers give after each event."""

from eslab.replay.steps import Change, Frame, Replay, replay

__all__ = ["Change", "Frame", "Replay", "replay"]
