"""What happened, as a test: given these events, when somebody asks, then these follow."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel

from eslab.aggregates import Decider, Definition
from eslab.errors import DomainError, InputError
from eslab.events import Event, RecordedEvent
from eslab.messaging import Command
from eslab.replay.source_code import Code, SourceCode, text_code
from eslab.schema import EventRegistry, snake_case

__all__ = ["Asked", "Example", "examples", "source_of_tests"]

_NOTHING = '''def nothing(subject: object) -> None:
    """Nobody asks for anything: what has happened is enough."""'''

_SPECIAL: Final = re.compile(r"[.^$*+?{}\[\]\\|()]")
"""What means something else in a regular expression."""


@dataclass(frozen=True, slots=True)
class Example:
    """One thing that happened, to be told as a test.

    Attributes:
        definition: the class of the aggregate, or the decider.
        id: which one.
        given: what had happened before.
        when: what was asked; None: nothing was.
        then: what was recorded.
        error: why it was refused, if it was.
        state: what that left behind.
    """

    definition: Definition[Any]
    id: str
    given: Sequence[Event]
    state: Any
    when: BaseModel | None = None
    then: Sequence[Event] = field(default=())
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A command that was carried out, or refused.

    Attributes:
        stream_id: the stream of the one that it was for.
        command: what was asked.
        command_id: what its events say it was.
        head: the last position before.
        error: why it was refused, if it was.
    """

    stream_id: str
    command: Command
    command_id: UUID
    head: int
    error: DomainError | None = None


def examples(
    stream_id: str,
    events: Sequence[RecordedEvent],
    *,
    definition: Definition[Any],
    registry: EventRegistry,
    asked: Iterable[Asked] = (),
) -> Iterator[Example]:
    """Yield what there is to tell of a stream: each command to it, and the state in the end.

    Args:
        stream_id: the stream.
        events: all of its events.
        definition: the class of aggregates, or the decider, that folds it.
        registry: which class stands for which type.
        asked: the commands that are known, to whatever stream.

    Raises:
        InputError: an event cannot be applied, so that nothing could be given.
    """
    id = stream_id.removeprefix(f"{definition.category}-")
    told = [_versions(one, events) for one in asked if one.stream_id == stream_id]
    wanted = {len(events), *(last for _, _, last in told)}
    typed: list[Event] = []
    subject = definition(id)
    states = {0: subject.copy().state}
    for version, recorded in enumerate(events, start=1):
        try:
            typed.append(registry.decode(recorded))
            subject.rebuild(typed[-1:])
        except Exception as error:
            raise InputError(
                f"stream {stream_id!r} cannot be told as a test, because {recorded!r} cannot be "
                f"applied: {type(error).__name__}: {error}"
            ) from error
        if version in wanted:
            states[version] = subject.copy().state
    for one, first, last in told:
        then = typed[first:last]
        yield Example(definition, id, typed[:first], states[last], one.command, then, one.error)
    yield Example(definition, id, typed, states[len(events)])


def _versions(asked: Asked, events: Sequence[RecordedEvent]) -> tuple[Asked, int, int]:
    """Return a command with the versions of its stream before and after it."""
    own = [event for event in events if event.metadata.command_id == str(asked.command_id)]
    if own:
        return asked, own[0].version - 1, own[-1].version
    before = sum(event.position <= asked.head for event in events)
    return asked, before, before


def source_of_tests(examples: Iterable[Example], *, module: str | None = None) -> str:
    """Return the source of tests that run under pytest: one for each example.

    Args:
        examples: what happened.
        module: from which classes are imported that no module has, as those of a notebook; by
            default a name stands there that is to be filled in.

    Example:
        >>> from eslab.simulation.scenarios.accounts import *
        >>> given = [AccountOpened(owner="Ann")]
        >>> deposit = Deposit(account_id="a-1", amount=30)
        >>> told = Example(account, "a-1", given, None, deposit, [MoneyDeposited(amount=30)])
        >>> "then(MoneyDeposited(amount=30))" in source_of_tests([told])
        True
    """
    code = SourceCode(module=module)
    code.reserve("nothing")
    testing = code.imported("eslab.testing", "given")
    names: set[str] = set()
    tests = [_Test(code, example, testing, names) for example in examples]
    bodies = ["\n".join(test.lines()) for test in tests]
    if any(test.example.when is None for test in tests):
        bodies.insert(0, _NOTHING)
    head = ['"""What happened, as examples; exported by eslab, to run under pytest."""', ""]
    return "\n".join([*head, *code.imports(), "", "", "\n\n\n".join(bodies), ""])


class _Test:
    """Writes one test."""

    def __init__(self, code: SourceCode, example: Example, given: str, taken: set[str]) -> None:
        self.example = example
        self._code = code
        self._given = given
        self._name = self._free_name(taken)

    def _free_name(self, taken: set[str]) -> str:
        example = self.example
        asked = "" if example.when is None else f"_{snake_case(type(example.when).__name__)}"
        text = f"test_{example.definition.category}_{example.id}{asked}"
        wanted = re.sub(r"[^0-9a-z]+", "_", text.lower()).strip("_")
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted}_{number}"
        taken.add(name)
        return name

    def lines(self) -> Iterator[str]:
        example, code = self.example, self._code
        yield f"def {self._name}() -> None:"
        of: dict[str, Code] = {"of": self._definition(), "id": text_code(example.id)}
        given = code.group(self._given, map(code.value, example.given), of)
        yield self._statement("before = ", given)
        when: Code = "nothing" if example.when is None else code.value(example.when)
        yield self._statement("outcome = ", code.group("before.when", [when], {}))
        if example.error is not None:
            yield self._statement("", self._raises(example.error))
            return
        yield self._statement("", code.group("outcome.then", map(code.value, example.then), {}))
        yield from self._state()

    def _statement(self, before: str, written: Code) -> str:
        return f"    {before}{self._code.laid_out(written, indent=4, before=len(before))}"

    def _raises(self, error: Exception) -> Code:
        kind = self._code.known_as(type(error))
        match: dict[str, Code] = {}
        if message := str(error):
            match["match"] = text_code(_SPECIAL.sub(r"\\\g<0>", message))
        return self._code.group("outcome.then_raises", [kind], match)

    def _state(self) -> Iterator[str]:
        state = self.example.state
        if isinstance(self.example.definition, Decider):
            try:
                yield self._statement("", self._code.call("outcome.then_state", state))
            except InputError:
                yield "    # The state is left out: it cannot be written as Python."
            return
        parts: dict[str, Code] = {}
        for name, value in state.items():
            try:
                parts[name] = self._code.value(value)
            except InputError:
                yield f"    # {name} is left out: it cannot be written as Python."
        if parts:
            yield self._statement("", self._code.group("outcome.then_state", [], parts))

    def _definition(self) -> str:
        definition = self.example.definition
        if not isinstance(definition, Decider):
            return self._code.known_as(definition)
        functions = definition.decide, definition.evolve, *definition.commands, *definition.events
        for place in dict.fromkeys(getattr(each, "__module__", "") for each in functions):
            for name, value in list(vars(sys.modules.get(place, object)).items()):
                if value is definition:
                    known = place != "__main__"
                    return self._code.imported(place, name) if known else self._code.missing(name)
        return self._code.missing(definition.category)
