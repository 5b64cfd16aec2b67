"""What the replay player tries out: edits and commands on a branch, and what comes of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from eslab.errors import EslabError, InputError, MissingDependencyError
from eslab.events import NewEvent
from eslab.replay import AnyEdit, Consequence, Difference, Edit, Insert, Move, Skip
from eslab.replay.what_if import Choices, Finding, Outcome, Section, TryOut, Wish
from eslab.schema import AnyEvent

if TYPE_CHECKING:
    from eslab.lab.branch import Branch
    from eslab.lab.export import ExportFormat
    from eslab.lab.lab import Lab
    from eslab.messaging import Command

__all__ = ["choices", "trying"]

SHOWN: Final = 12
"""Lines of a section, at most."""
LETTERS: Final = 300
"""Letters of a line, at most: a name, or what somebody's handler says, may have any length."""
EXPORTED: Final = 10_000
"""Events of a branch, at most, that are exported unasked."""

_FILES: Final[tuple[tuple[ExportFormat, str], ...]] = (
    ("test", "test_branch.py"),
    ("json", "branch.json"),
    ("cloudevents", "branch.cloudevents.json"),
)
_BECAME: Final = {
    "same": "=",
    "renumbered": "=",
    "edited": "~",
    "moved": "~",
    "inserted": "+",
    "skipped": "-",
    "cannot be applied": "!",
}
_FOUND: Final = {"both": "~", "base": "-", "branch": "+"}


def trying(lab: Lab) -> TryOut:
    """Return what tries out things on branches of a lab, which stays as it is."""
    return partial(_try_out, lab)


def choices(lab: Lab) -> Choices:
    """Return what can be inserted into streams of a lab, and what it can be commanded."""
    definitions = lab.repository.definitions.values()
    events = {name for one in definitions for name in one.event_classes}
    return Choices(sorted(events), sorted(_commands(lab)))


def _commands(lab: Lab) -> dict[str, type[Command]]:
    definitions = lab.repository.definitions.values()
    return {cls.__name__: cls for one in definitions for cls in getattr(one, "commands", ())}


def _try_out(lab: Lab, wishes: Sequence[Wish]) -> Outcome:
    edits = [_edit(lab, wish) for wish in wishes if wish.action != "command"]
    commands = [(wish, _command(lab, wish)) for wish in wishes if wish.action == "command"]
    places = {wish.position for wish, _ in commands}
    if len(places) > 1:
        raise InputError("commands are carried out at one place: say all of them at one version")
    # What was recorded behind the commands does not follow from them: it is left out on both sides.
    place = places.pop() if places else None
    with lab.branch(*edits, at=place) as branch:
        sections = [_consequences(branch)] if edits else []
        sections += [Section("Commands", tuple(_told(branch, *one) for one in commands))]
        branch.run()
        found = branch.comparison(progress=False).found
        for title, kinds in (
            ("States", ("state",)),
            ("Read models", ("read model",)),
            ("Sagas", ("saga",)),
        ):
            sections.append(Section(title, _differences(one for one in found if one.kind in kinds)))
        if not any(one.kind != "stream" for one in found):
            same = Finding("=", "states, read models and sagas end as they do in the base")
            sections.append(Section("In the end", (same,)))
        return Outcome(
            repr(branch), tuple(one for one in sections if one.findings), _exports(branch)
        )


def _edit(lab: Lab, wish: Wish) -> AnyEdit:
    match wish.action:
        case "skip":
            return Skip(wish.position)
        case "edit":
            return Edit(wish.position, wish.data)
        case "insert":
            return Insert(wish.position, wish.stream_id, _event(lab, wish))
        case _:
            return Move(wish.position, wish.after)


def _event(lab: Lab, wish: Wish) -> AnyEvent:
    if wish.type not in lab.registry:
        return NewEvent(wish.type, wish.data)
    try:
        return lab.registry[wish.type].model_validate(wish.data)
    except ValidationError as error:
        raise InputError(f"that is no {wish.type}: {_first(error)}") from error


def _command(lab: Lab, wish: Wish) -> Command:
    known = _commands(lab)
    if wish.type not in known:
        raise InputError(f"there is no command {wish.type!r} here: {', '.join(sorted(known))}")
    try:
        return known[wish.type].model_validate(wish.data)
    except ValidationError as error:
        raise InputError(f"that is no {wish.type}: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    wrong = error.errors()[0]
    return f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}"


def _told(branch: Branch, wish: Wish, command: Command) -> Finding:
    """Carry out a command, and say what came of it."""
    head = branch.store.head()
    try:
        branch.execute(command)
    except EslabError as refused:
        return _line("!", f"{wish.type} is refused: {refused}")
    recorded = [event.type for event in branch.store.read_all(after=head)]
    return _line("+", f"{wish.type}: {', '.join(recorded) or 'nothing is recorded'}")


def _consequences(branch: Branch) -> Section:
    found = branch.consequences
    moved = [one for one in found.found.events if one.became not in ("same", "renumbered")]
    rest = len(found.found.events) - len(moved)
    lines = _few(map(_became, moved), len(moved))
    if rest:
        lines = (*lines, Finding("=", f"{rest:,} behind it say the same"))
    return Section("Events", lines)


def _became(one: Consequence) -> Finding:
    place = one.base_version or one.version
    why = "".join(f": {reason}" for reason in (one.error, one.note) if reason)
    return _line(_BECAME[one.became], f"{one.stream_id} v{place} {one.type} {one.became}{why}")


def _differences(found: Iterable[Difference]) -> tuple[Finding, ...]:
    listed = list(found)
    return _few(map(_different, listed), len(listed))


def _different(one: Difference) -> Finding:
    key = "" if one.key is None else f" {one.key}"
    path = f" {one.path}" if one.path else ""
    values = " → ".join(_text(value) for value in (one.base, one.branch))
    return _line(_FOUND[one.found_in], f"{one.name}{key}{path}: {values}")


def _line(mark: str, text: str) -> Finding:
    return Finding(mark, text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…")


def _text(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return "nothing" if value is None else str(value) or '""'


def _few(findings: Iterable[Finding], count: int) -> tuple[Finding, ...]:
    shown = tuple(islice(findings, SHOWN))
    return shown if count <= SHOWN else (*shown, Finding("", f"… {count - SHOWN:,} more"))


def _exports(branch: Branch) -> dict[str, str]:
    if branch.store.head() > EXPORTED:
        return {}
    exports: dict[str, str] = {}
    for kind, name in _FILES:
        try:
            exports[name] = str(branch.export(kind))
        except (InputError, MissingDependencyError):
            continue  # such as a stream that no aggregate is known of, which has no test
    return exports
