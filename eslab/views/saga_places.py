"""Places in a saga: where an attempt began, what was before that, and who sent a command."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from eslab.errors import InputError
from eslab.sagas import CommandSent
from eslab.sagas.definition import KINDS, step_key
from eslab.views.base import records
from eslab.views.saga_log import Logged
from eslab.views.saga_summary import ProcessSummary, Summary

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["before", "began", "senders_of"]


def began(attempts: pd.DataFrame, saga: Summary, step: str, *, kind: str, attempt: int) -> int:
    """Return the version of the event by which an attempt began.

    Args:
        attempts: a frame as `SagaTimeline.df`.
        saga: what it comes to.
        step: whose attempt.
        kind: whether it is executed or undone, or a command carried out.
        attempt: which one.

    Raises:
        InputError: there is no such step or attempt, or it did not begin.
    """
    who = f"saga {saga.name}-{saga.saga_id}"
    if step not in saga.steps:
        what = "command" if kind == "command" else "step"
        known = ", ".join(saga.steps) or "none"
        raise InputError(f"{who} has no {what} {step!r:.200}; it has: {known}")
    begun = [one for one in records(attempts) if (one.step, one.kind) == (step, kind)]
    if not begun:
        done = "was not undone" if kind == "compensate" else "did not begin"
        raise InputError(f"{step!r:.200} {done} in {who}, which is {saga.status}")
    for one in begun:
        if one.attempt == attempt and not isinstance(attempt, bool):
            return int(one.version)
    last = max(one.attempt for one in begun)
    raise InputError(
        f"attempts at {step!r:.200} in {who} are 1 to {last}; {attempt!r:.50} is none of them"
    )


def before(log: Sequence[Logged], version: int, *, whole: bool) -> int:
    """Return the position behind which a saga goes on as if an event had not been.

    Args:
        log: the events of its stream.
        version: of the event.
        whole: what was appended with it has not been either. The state of a saga says by itself
            which step is next. That of a process manager does not: what it reacted to has to come
            again.
    """
    events = [one for one in log if one.version <= version]
    if not whole:
        return events[-1].position - 1
    for one, following in reversed(list(pairwise(events))):
        # One append has one time, and positions without a gap.
        if one.at != following.at or one.position + 1 != following.position:
            return following.position - 1
    return events[0].position - 1


def senders_of(stream_id: str, saga: Summary, log: Sequence[Logged]) -> dict[str, tuple[str, str]]:
    """Return which step sent each command, and whether to execute or undo it, by its id.

    Args:
        stream_id: of the saga.
        saga: what it comes to.
        log: the events of the stream.
    """
    if isinstance(saga, ProcessSummary):
        sent = [one.event for one in log if isinstance(one.event, CommandSent)]
        return {
            str(one.command_id): (str(one.command["type"]).rpartition(".")[2], "command")
            for one in sent
        }
    return {
        str(step_key(stream_id, step, kind)): (step, kind) for step in saga.steps for kind in KINDS
    }
