"""What a person wants to be otherwise in a replay, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from eslab.errors import InputError

__all__ = ["Choices", "Finding", "Outcome", "Section", "TryOut", "Wish", "wish"]

Action = Literal["skip", "edit", "insert", "move", "command"]

_NEEDS: Final[Mapping[Action, tuple[str, ...]]] = {
    "skip": (),
    "edit": ("data",),
    "insert": ("type", "data"),
    "move": ("after",),
    "command": ("type", "data"),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """One thing that is to be otherwise.

    Attributes:
        action: ``"skip"``, ``"edit"`` or ``"move"`` an event, ``"insert"`` one behind it, or carry
            out a ``"command"`` as things stood after it.
        position: of that event.
        stream_id: its stream.
        data: the whole data of the event that is edited or inserted, or of the command.
        type: of the event that is inserted, or of the command.
        after: the position behind which the event is moved; 0 for the beginning.
    """

    action: Action
    position: int
    stream_id: str
    data: Mapping[str, Any] = field(default_factory=dict)
    type: str = ""
    after: int = 0


def wish(said: Mapping[str, Any], *, position: Callable[[int], int], stream_id: str) -> Wish:
    """Return what a person said in a form.

    Args:
        said: ``action``, and what it needs: ``data`` as JSON text, ``type``, ``after`` as the
            number of a frame.
        position: gives the position of a frame, by its number.
        stream_id: the stream of the frame where it was said.

    Raises:
        InputError: something is missing, or is not what it should be.

    Example:
        >>> said = {"action": "edit", "version": 2, "data": '{"n": 1}'}
        >>> wish(said, position=lambda number: number + 100, stream_id="order-1").data
        {'n': 1}
    """
    asked = said.get("action")
    action = next((known for known in _NEEDS if known == asked), None)
    if action is None:
        raise InputError(f"what to do is one of {', '.join(_NEEDS)}, not {asked!r:.100}")
    missing = [name for name in ("version", *_NEEDS[action]) if said.get(name) in (None, "")]
    if missing:
        raise InputError(f"{action}: {' and '.join(missing)} must be said")
    after = said.get("after", 0)
    type_ = said.get("type", "")
    if not isinstance(type_, str):
        raise InputError(f"{action}: a type is said by its name, not {type_!r:.100}")
    return Wish(
        action=action,
        position=position(said["version"]),
        stream_id=stream_id,
        data=_data(said["data"], action) if "data" in _NEEDS[action] else {},
        type=type_,
        after=position(after) if "after" in _NEEDS[action] and after != 0 else 0,
    )


def _data(text: Any, action: str) -> Mapping[str, Any]:
    try:
        data = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{action}: the data is no JSON: {error}") from None
    if not isinstance(data, dict):
        raise InputError(
            f'{action}: the data is a JSON object such as {{"amount": 3}}, not {text!r:.200}'
        )
    return data


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of what comes of it; the mark is ``+``, ``-``, ``~``, ``=`` or ``!``."""

    mark: str
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """What comes of it in one respect."""

    title: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What comes of what was to be otherwise.

    Attributes:
        title: one line that says it.
        sections: the events, the states, the read models, the sagas.
        exports: texts to take along, by the name of a file.
    """

    title: str
    sections: tuple[Section, ...]
    exports: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [self.title]
        for section in self.sections:
            lines.append(f"{section.title}:")
            lines += [f"  {finding.mark} {finding.text}" for finding in section.findings]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Choices:
    """What can be inserted, and what can be commanded: names of types."""

    events: Sequence[str] = ()
    commands: Sequence[str] = ()


TryOut = Callable[[Sequence[Wish]], Outcome]
"""Tries out what is to be otherwise, on a branch: what is recorded stays as it is."""
