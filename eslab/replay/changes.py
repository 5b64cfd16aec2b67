"""What differs between two states, path by path; and a state that such changes are applied to."""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, Literal

from eslab.errors import InputError

__all__ = [
    "Change",
    "Key",
    "Members",
    "Mirror",
    "changes",
    "encoded",
    "member_changes",
    "path_keys",
    "path_text",
    "value_at",
]

Mark = Literal["+", "-", "~"]
Kind = Literal["set", "insert", "remove"]
Key = str | int

_NOTHING: Final = object()
_BACK: Final[dict[Kind, Kind]] = {"set": "set", "insert": "remove", "remove": "insert"}
_DIGITS: Final = 12
_LIMIT: Final = 1 << 128


encoded: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


class Members(list[Any]):
    """The members of a set, in the order of their JSON: their places mean nothing."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is different at one path of a state: something appeared, disappeared, or changed.

    Attributes:
        keys: the way to it: names in objects, and indexes, from 0, in lists.
        kind: ``"set"`` replaces a value; ``"insert"`` and ``"remove"`` let what stands behind it
            in a list move on.
        before: the value that was there; None for one that is new.
        after: the value that is there; None for one that is gone.
    """

    keys: tuple[Key, ...]
    kind: Kind
    before: Any
    after: Any

    @property
    def path(self) -> str:
        """The way to it, as text."""
        return path_text(self.keys)

    @property
    def mark(self) -> Mark:
        """``+`` appeared, ``-`` disappeared, ``~`` changed; where null was, nothing was."""
        if self.kind == "set":
            return "+" if self.before is None else "-" if self.after is None else "~"
        return "+" if self.kind == "insert" else "-"

    def undone(self) -> Change:
        """Return the change that leads back."""
        return Change(self.keys, _BACK[self.kind], self.after, self.before)

    def __str__(self) -> str:
        if self.mark == "+":
            return f"+ {self.path}: {self.after!r}"
        if self.mark == "-":
            return f"- {self.path}: {self.before!r}"
        return f"~ {self.path}: {self.before!r} -> {self.after!r}"


def changes(before: Any, after: Any, keys: tuple[Key, ...] = ()) -> Iterator[Change]:
    """Yield what leads from one state to another, in the order of the paths.

    Applied one after the other they make the one from the other. In a list, what is the same at
    its beginning and at its end is left out.

    Args:
        before: JSON values.
        after: JSON values.
        keys: the way to both, which is put in front.

    Example:
        >>> [str(change) for change in changes({"a": 1, "b": {"c": 2}}, {"b": {"c": 3}, "d": 4})]
        ['- a: 1', '~ b.c: 2 -> 3', '+ d: 4']
        >>> [str(change) for change in changes({"carrier": None}, {"carrier": "MQ"})]
        ["+ carrier: 'MQ'"]
        >>> [str(change) for change in changes({"queue": [1, 2]}, {"queue": [2, 3]})]
        ['~ queue[0]: 1 -> 2', '~ queue[1]: 2 -> 3']
        >>> [str(change) for change in changes({"queue": [1, 2]}, {"queue": [2]})]
        ['- queue[0]: 1']
    """
    if isinstance(before, dict) and isinstance(after, dict):
        # Most keys of a large state are as they were: those are passed over quickly.
        other = [key for key, value in after.items() if before.get(key, _NOTHING) != value]
        for key in sorted([*other, *(before.keys() - after.keys())]):
            if key not in after:
                yield Change((*keys, key), "remove", before[key], None)
            elif key not in before:
                yield Change((*keys, key), "insert", None, after[key])
            else:
                yield from changes(before[key], after[key], (*keys, key))
    elif isinstance(before, Members) and isinstance(after, Members):
        texts = {encoded(member): member for member in (*before, *after)}
        there = set(map(encoded, after))
        yield from member_changes(
            before, [(*each, each[0] in there) for each in texts.items()], keys
        )
    elif isinstance(before, list) and isinstance(after, list):
        if before != after:
            yield from _list_changes(before, after, keys)
    elif before != after:
        yield Change(keys, "set", before, after)


def _list_changes(before: list[Any], after: list[Any], keys: tuple[Key, ...]) -> Iterator[Change]:
    start = _shared(before, after)
    rest = min(len(before), len(after)) - start
    end = _shared(before[: -rest - 1 : -1], after[: -rest - 1 : -1]) if rest else 0
    gone, new = before[start : len(before) - end], after[start : len(after) - end]
    for index, (one, other) in enumerate(zip(gone, new, strict=False), start):
        yield from changes(one, other, (*keys, index))
    index = start + min(len(gone), len(new))
    for place, value in enumerate(new[len(gone) :], index):
        yield Change((*keys, place), "insert", None, value)
    for value in gone[len(new) :]:
        yield Change((*keys, index), "remove", value, None)


def member_changes(
    before: Members, looked: Iterable[tuple[str, Any, bool]], keys: tuple[Key, ...]
) -> Iterator[Change]:
    """Yield which members came to a set, and which left it.

    Args:
        before: the members that it had.
        looked: those that may have come or left: as JSON, as a value, and whether it is there.
        keys: the way to the set.
    """
    moved = 0
    for text, member, there in sorted(looked, key=itemgetter(0)):
        place = bisect_left(before, text, key=encoded)
        was = place < len(before) and encoded(before[place]) == text
        if was and not there:
            yield Change((*keys, place + moved), "remove", member, None)
            moved -= 1
        elif there and not was:
            yield Change((*keys, place + moved), "insert", None, member)
            moved += 1


def _shared(before: list[Any], after: list[Any]) -> int:
    """Return how many values two lists have in common at their beginning."""
    low, high = 0, min(len(before), len(after))
    if before[:high] == after[:high]:
        return high
    # Slices are compared much faster than values one by one.
    while high - low > 1:
        middle = (low + high) // 2
        if before[low:middle] == after[low:middle]:
            low = middle
        else:
            high = middle
    return low


_PLAIN: Final = re.compile(r"[^\W\d][\w-]*")
_PART: Final = re.compile(r'\.?([^\W\d][\w-]*)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]')


def path_text(keys: Iterable[Key]) -> str:
    """Return the way to a value as a person writes it.

    Example:
        >>> path_text(["lines", 0, "price"]), path_text(["stock", "A 4"])
        ('lines[0].price', 'stock["A 4"]')
    """
    text = "".join(map(_key_text, keys))
    return text.removeprefix(".")


@lru_cache(maxsize=10_000)
def _key_text(key: Key) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if _PLAIN.fullmatch(key) else f"[{json.dumps(key, ensure_ascii=False)}]"


def path_keys(path: str) -> tuple[Key, ...]:
    """Return the keys that `path_text` wrote.

    Raises:
        InputError: it is no path.

    Example:
        >>> path_keys('lines[0].price'), path_keys('stock["A 4"]')
        (('lines', 0, 'price'), ('stock', 'A 4'))
    """
    keys: list[Key] = []
    end = 0
    while isinstance(path, str) and end < len(path):
        found = _PART.match(path, end)
        if found is None:
            break
        name, index, quoted = found.groups()
        try:
            keys.append(name or (int(index) if index else json.loads(quoted)))
        except ValueError:  # an escape that JSON does not know, or far too many digits
            break
        end = found.end()
    else:
        if keys:
            return tuple(keys)
    raise InputError(
        f"a path is such as 'status', 'lines[0].price' or 'stock[\"A 4\"]': {path!r:.200}"
    )


def value_at(state: Any, keys: Iterable[Key]) -> Any:
    """Return what stands at a path of a state; None if there is nothing.

    Example:
        >>> value_at({"lines": [{"price": 3}]}, ["lines", 0, "price"])
        3
    """
    for key in keys:
        try:
            state = state[key]
        except (KeyError, IndexError, TypeError):
            return None
    return state


class Mirror:
    """A state as JSON values that follows its changes, with a digest that follows them too.

    A change costs what it changes, and not what the state is large.

    Args:
        state: it is copied.

    Example:
        >>> mirror = Mirror({"lines": {}})
        >>> mirror.apply(Change(("lines", "a"), "insert", None, 3))
        >>> mirror.state
        {'lines': {'a': 3}}
        >>> mirror.digest == Mirror({"lines": {"a": 3}}).digest
        True
    """

    def __init__(self, state: Any) -> None:
        self.state = copied(state)
        self._sum = _sum((), state)

    def apply(self, change: Change) -> None:
        """Change the state."""
        target: Any = self.state
        for key in change.keys[:-1]:
            target = target[key]
        moved = self._moved(target, change)
        keys = _member(change.keys[:-1]) if isinstance(target, Members) else change.keys
        if change.kind != "insert":
            self._sum -= _sum(keys, change.before)
        if change.kind != "remove":
            self._sum += _sum(keys, change.after)
        apply(target, change)
        if moved:
            self._sum += self._tail(target, change, 0 if change.kind == "remove" else 1)

    def _moved(self, target: Any, change: Change) -> bool:
        """Take the values out of the sum that will stand elsewhere in their list."""
        if change.kind == "set" or not isinstance(target, list) or isinstance(target, Members):
            return False
        first = 1 if change.kind == "remove" else 0
        tail = self._tail(target, change, first)
        self._sum -= tail
        return tail != 0

    @staticmethod
    def _tail(target: list[Any], change: Change, first: int) -> int:
        *way, place = change.keys
        start = int(place) + first
        return sum(_sum((*way, index), target[index]) for index in range(start, len(target)))

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that stand for the state.

        The sum of the SHA-256 of each of its values with its path: so it can follow a change, and
        does not depend on the way on which the state was reached.
        """
        return hashlib.sha256(str(self._sum % _LIMIT).encode()).hexdigest()[:_DIGITS]


def apply(target: Any, change: Change) -> None:
    """Change the object or the list that holds the path's last key."""
    key = change.keys[-1]
    if change.kind == "remove":
        del target[key]
    elif change.kind == "insert" and isinstance(target, list):
        target.insert(int(key), copied(change.after))
    else:
        target[key] = copied(change.after)


def copied(value: Any) -> Any:
    """Return JSON values that share no object and no list with these."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return type(value)(copied(item) for item in value)
    return value


def _sum(keys: tuple[Key, ...], value: Any) -> int:
    if isinstance(value, dict):
        return _hash(keys, "{}") + sum(_sum((*keys, key), item) for key, item in value.items())
    if isinstance(value, Members):
        return _hash(keys, "[]") + sum(_sum(_member(keys), item) for item in value)
    if isinstance(value, list):
        return _hash(keys, "[]") + sum(_sum((*keys, i), item) for i, item in enumerate(value))
    return _hash(keys, repr(value))


def _member(keys: tuple[Key, ...]) -> tuple[Key, ...]:
    return (*keys, -1)  # no place in a list


def _hash(keys: tuple[Key, ...], text: str) -> int:
    said = f"{keys!r}{text}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.sha256(said).digest()[:16])
