"""The intents of a browser: what is named so is obeyed, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from eslab.errors import InputError
from eslab.widgets.base import LiveWidget, intent


class Counter(LiveWidget):
    module = "counter"

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.answers: list[Any] = []

    def send(self, content: Any, buffers: Any = None) -> None:
        self.answers.append(content)

    @intent
    def add(self, number: int) -> int:
        if number > 100:
            raise InputError("at most 100")
        self.count += number
        return self.count

    def reset(self) -> None:
        self.count = 0


def ask(counter: Counter, name: str, **arguments: Any) -> Any:
    message = {"intent": name, "id": 7, "arguments": arguments}
    counter._receive(counter, message, [])
    answer = counter.answers.pop()
    assert answer.pop("answer") == 7
    return answer


def test_a_named_intent_is_obeyed_and_answered() -> None:
    counter = Counter()
    assert ask(counter, "add", number=3) == {"result": 3}
    assert ask(counter, "add", number=4) == {"result": 7}


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("reset", {}, "knows no intent"),
        ("send", {"content": "x"}, "knows no intent"),
        ("__init__", {}, "knows no intent"),
        ("add", {"number": "3"}, "number"),
        ("add", {"number": True}, "number"),
        ("add", {"number": 3, "sql": "drop table"}, "sql"),
        ("add", {}, "number"),
        ("add", {"number": 101}, "at most 100"),
    ],
)
def test_whatever_else_a_browser_asks_is_refused(
    name: str, arguments: dict[str, Any], said: str
) -> None:
    counter = Counter()
    counter.count = 5
    assert said in ask(counter, name, **arguments)["error"]
    assert counter.count == 5


def test_an_intent_that_fails_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    counter = Counter()
    counter.count = None
    said = ask(counter, "add", number=1)["error"]
    assert said.startswith("TypeError: unsupported operand")
    assert "the intent 'add' failed" in caplog.text


@pytest.mark.parametrize("content", [None, 3, {}, {"intent": "add"}, {"intent": 1, "id": 2}])
def test_what_is_no_intent_is_not_answered(content: Any) -> None:
    counter = Counter()
    counter._receive(counter, content, [])
    assert counter.answers == []


def test_an_intent_takes_the_place_of_no_method_of_widgets() -> None:
    def hold_sync(self: LiveWidget) -> None:
        """Hold something."""

    with pytest.raises(TypeError, match="'hold_sync': widgets have a method of that name"):
        intent(hold_sync)
