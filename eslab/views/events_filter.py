"""Which events a person wants to see: conditions that are checked, said in words, and SQL."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, Self
from uuid import UUID

from eslab.clock import as_utc
from eslab.errors import InputError
from eslab.events import Event, type_name
from eslab.replay.changes import path_keys

__all__ = ["OPERATORS", "Condition", "EventsFilter", "moment_of", "value_of"]

OPERATORS: Final = ("=", "!=", "<", "<=", ">", ">=", "contains")
"""How a value in the data of an event can be compared."""

LARGEST: Final = 2**63 - 1
"""The largest position there can be."""

Moment = datetime | str
Moments = tuple[datetime | None, datetime | None]
Numbers = tuple[int | None, int | None]


class Condition(NamedTuple):
    """One condition of a filter.

    Attributes:
        field: what it is about: the name of an attribute of `EventsFilter`.
        words: what it says, for a person.
        sql: the same over the columns of ``events``.
        parameters: the values in it.
    """

    field: str
    words: str
    sql: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsFilter:
    """Conditions that all hold for the events that are wanted; without any, for all events.

    Make one with `having`, which checks what it is given.

    Attributes:
        stream: the id of a stream, in which each ``*`` stands for any text.
        category: the category of the stream.
        types: the names of types, of which the event has one.
        correlation_id: of the conversation that the event belongs to.
        tags: all of which the event has.
        occurred: when it happened: from the first moment on, before the second.
        recorded: when it was recorded: from the first moment on, before the second.
        versions: the first and the last version.
        positions: the first and the last position.
        payload: comparisons of values in its data: path, operator (one of `OPERATORS`) and value.
        where: a boolean expression in SQL over the columns of ``events``.

    Example:
        >>> wanted = EventsFilter().having(stream="order-*", payload=[("amount", ">", 30)])
        >>> [condition.words for condition in wanted]
        ['stream order-*', 'amount > 30']
        >>> wanted.having(stream=None) == EventsFilter().having(payload=[("amount", ">", 30)])
        True
    """

    stream: str | None = None
    category: str | None = None
    types: tuple[str, ...] | None = None
    correlation_id: str | None = None
    tags: tuple[str, ...] = ()
    occurred: Moments | None = None
    recorded: Moments | None = None
    versions: Numbers | None = None
    positions: Numbers | None = None
    payload: tuple[tuple[str, str, Any], ...] = ()
    where: str | None = None

    def having(self, **given: Any) -> Self:
        """Return the same filter with other values of some attributes; None takes one off.

        Args:
            given: the attributes. The two ends of what has two may each be None; a moment may be
                text in the format of ISO 8601, in UTC if it does not say its zone.

        Raises:
            InputError: what is given cannot be; it says of which attribute.
        """
        checked = {
            field: _NOTHING[field] if value is None else _CHECKS[field](field, value)
            for field, value in given.items()
        }
        return replace(self, **checked)

    def __iter__(self) -> Iterator[Condition]:
        """Yield the conditions; of tags and payload, one for each of them."""
        yield from self._texts()
        yield from self._ranges()
        for place, (path, operator, value) in enumerate(self.payload):
            sql, values = _comparison(place, path, operator, value)
            yield Condition("payload", f"{path} {operator} {_said(value)}", sql, values)
        if self.where is not None:
            yield Condition("where", f"where {self.where}", self.where, {})

    def _texts(self) -> Iterator[Condition]:
        if self.stream is not None:
            pattern = _like(self.stream)
            sql = "stream_id = $stream"
            if pattern is not None:
                sql = "stream_id like $stream escape '\\'"
            values = {"stream": pattern or self.stream}
            yield Condition("stream", f"stream {self.stream}", sql, values)
        if self.category is not None:
            values = {"category": self.category}
            words = f"category {self.category}"
            yield Condition("category", words, "category = $category", values)
        if self.types is not None:
            words = f"type {' or '.join(self.types) or 'none'}"
            sql = "type in (select unnest($types::varchar[]))"
            yield Condition("types", words, sql, {"types": list(self.types)})
        if self.correlation_id is not None:
            sql = "metadata->>'$.correlation_id' = $correlation_id"
            values = {"correlation_id": self.correlation_id}
            yield Condition("correlation_id", f"conversation {self.correlation_id}", sql, values)
        for place, tag in enumerate(self.tags):
            name = f"tag_{place}"
            yield Condition("tags", f"tag {tag}", f"list_contains(tags, ${name})", {name: tag})

    def _ranges(self) -> Iterator[Condition]:
        for field in ("occurred", "recorded"):
            ends: Moments | None = getattr(self, field)
            if ends is not None:
                words = " ".join(
                    f"{word} {_moment_words(end)}"
                    for word, end in zip(("from", "before"), ends, strict=True)
                    if end is not None
                )
                yield _between(field, f"{field} {words}", f"{field}_at", (">=", "<"), ends)
        for field, column in (("versions", "version"), ("positions", "position")):
            span: Numbers | None = getattr(self, field)
            if span is not None:
                words = _span_words(*span)
                yield _between(field, f"{column} {words}", column, (">=", "<="), span)


def moment_of(field: str, given: Any) -> datetime:
    """Return a moment in UTC that is given as text in the format of ISO 8601, or as it is.

    Args:
        field: what an error is about.
        given: the text, which is in UTC if it does not say its zone; or an aware datetime.

    Raises:
        InputError: it is none.

    Example:
        >>> moment_of("occurred", "2013-01-01 05:00")
        datetime.datetime(2013, 1, 1, 5, 0, tzinfo=datetime.timezone.utc)
    """
    if not isinstance(given, str):
        return as_utc(given, what=f"{field}: a time")
    try:
        found = datetime.fromisoformat(given.strip())
    except ValueError:
        raise InputError(
            f'{field}: {given!r:.200} is no time: say "2013-01-01" or "2013-01-01 05:00" (UTC), or '
            f'with a zone "2013-01-01T05:00-05:00"'
        ) from None
    return as_utc(found.replace(tzinfo=found.tzinfo or UTC), what=f"{field}: a time")


def value_of(text: str, operator: str) -> Any:
    """Return the value that somebody means who has nothing but text to say it.

    Args:
        text: a number, ``true``, ``false``, ``null`` or a text in quotes, as in JSON; a time in
            the format of ISO 8601; anything else is a text.
        operator: what ``contains`` compares is always a text.

    Example:
        >>> [value_of(text, "=") for text in ("30", "true", "null", "Ann", '"30"', "02134")]
        [30, True, None, 'Ann', '30', '02134']
    """
    text = text.strip()
    try:
        found = json.loads(text, parse_float=Decimal, parse_constant=str)
    except (ValueError, RecursionError):
        found = text
        if _DATE.match(text):
            with suppress(InputError):
                found = moment_of("payload", text)
    plain = operator == "contains" or isinstance(found, dict | list)
    return text if plain and not isinstance(found, str) else found


_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")


# What may be given for an attribute.


def _text(field: str, given: Any) -> str:
    if isinstance(given, UUID):
        return str(given)
    if not isinstance(given, str) or not given:
        raise InputError(f"{field}: a text is expected that is not empty, not {given!r}")
    return given


def _names(field: str, given: Any) -> tuple[str, ...]:
    if isinstance(given, str | type):
        given = [given]
    if not isinstance(given, Iterable):
        raise InputError(f"{field}: a list of names is expected, not {given!r}")
    found = []
    for one in given:
        if not isinstance(one, str) and not (isinstance(one, type) and issubclass(one, Event)):
            raise InputError(f"{field}: names are expected, such as 'OrderPlaced', not {one!r}")
        found.append(type_name(one))
    return tuple(sorted(dict.fromkeys(found)))


def _ends(field: str, given: Any) -> tuple[Any, Any] | None:
    """Return the two ends of what lies between them; None if it is open at both."""
    if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != 2:
        raise InputError(
            f"{field}: two ends are expected, (from, until), of which one may be None; "
            f"not {given!r}"
        )
    first, last = given
    return None if first is None and last is None else (first, last)


def _moments(field: str, given: Any) -> Moments | None:
    ends = _ends(field, given)
    if ends is None:
        return None
    first, last = (None if end is None else moment_of(field, end) for end in ends)
    if first is not None and last is not None and first >= last:
        raise InputError(
            f"{field}: no time is from {_moment_words(first)} on and before "
            f"{_moment_words(last)}: give the earlier one first"
        )
    return first, last


def _numbers(field: str, given: Any) -> Numbers | None:
    ends = _ends(field, given)
    if ends is None:
        return None
    for end in ends:
        if end is not None and (
            isinstance(end, bool) or not isinstance(end, int) or not 0 <= end <= LARGEST
        ):
            raise InputError(f"{field}: a whole number from 0 is expected, not {end!r}")
    first, last = ends
    if first is not None and last is not None and first > last:
        raise InputError(f"{field}: none is from {first} to {last}: give the lower one first")
    return first, last


def _comparisons(field: str, given: Any) -> tuple[tuple[str, str, Any], ...]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InputError(
            f'{field}: a list is expected, such as [("amount", ">", 30)], not {given!r}'
        )
    return tuple(_checked(field, one) for one in given)


def _checked(field: str, given: Any) -> tuple[str, str, Any]:
    if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != 3:
        raise InputError(
            f'{field}: path, operator and value are expected, such as ("amount", ">", 30), '
            f"not {given!r}"
        )
    path, operator, value = given
    _pointer(field, path)
    if operator not in OPERATORS:
        raise InputError(f"{field}: {operator!r} is no operator: there are {', '.join(OPERATORS)}")
    if isinstance(value, UUID):
        value = str(value)
    if isinstance(value, datetime):
        value = as_utc(value, what=f"{field}: a time")
    if not isinstance(value, str | int | float | Decimal | datetime | None):
        raise InputError(
            f"{field}: a text, a number, a time, True, False or None is expected, not {value!r}"
        )
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        raise InputError(f"{field}: a number that is finite is expected, not {value!r}")
    if operator == "contains" and not isinstance(value, str):
        raise InputError(f"{field}: what a text contains is a text, not {value!r}")
    if (value is None or isinstance(value, bool)) and operator not in ("=", "!="):
        raise InputError(f"{field}: {value!r} can be compared with = and != only")
    return path, operator, value


def _pointer(field: str, path: Any) -> str:
    """Return the path as a JSON pointer, which can name any key."""
    try:
        steps = map(str, path_keys(path))
    except InputError as error:
        raise InputError(f"{field}: {error}") from None
    return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps)


_CHECKS: Final[Mapping[str, Any]] = {
    "stream": _text,
    "category": _text,
    "types": _names,
    "correlation_id": _text,
    "tags": _names,
    "occurred": _moments,
    "recorded": _moments,
    "versions": _numbers,
    "positions": _numbers,
    "payload": _comparisons,
    "where": _text,
}
_NOTHING: Final[Mapping[str, Any]] = dict.fromkeys(_CHECKS) | {"tags": (), "payload": ()}


# What the attributes say: in SQL, and in words.


def _like(stream: str) -> str | None:
    """Return what a stream's id must be like; None if it must be just that."""
    if "*" not in stream:
        return None
    return re.sub(r"([\\%_])", r"\\\1", stream).replace("*", "%")


def _between(
    field: str, words: str, column: str, operators: tuple[str, str], ends: tuple[Any, Any]
) -> Condition:
    given = [
        (f"{column} {operator} ${field}_{place}", f"{field}_{place}", end)
        for place, (operator, end) in enumerate(zip(operators, ends, strict=True))
        if end is not None
    ]
    sql = " and ".join(one for one, _, _ in given)
    return Condition(field, words, sql, {name: end for _, name, end in given})


def _comparison(place: int, path: str, operator: str, value: Any) -> tuple[str, Mapping[str, Any]]:
    """Return the SQL that compares a value in the data; without the value none is true."""
    found, wanted = f"json_extract_string(data, $path_{place})", f"$value_{place}"
    values = {f"path_{place}": _pointer("payload", path)}
    if value is None:
        return f"{found} is {'' if operator == '=' else 'not '}null", values
    sign = "<>" if operator == "!=" else operator
    if operator == "contains":
        sql = f"contains({found}, {wanted})"
    elif isinstance(value, bool):
        sql, value = f"{found} {sign} {wanted}", json.dumps(value)
    elif isinstance(value, datetime):
        sql = f"try_cast({found} as timestamptz) {sign} {wanted}"
    elif isinstance(value, str):
        sql = f"{found} {sign} {wanted}"
    else:
        # Exact, as the columns of event types are; what is too large for that is a double. A text
        # such as "nan" is no number. Most events lack the value: asking for that first, and never
        # again for what is no number, takes half the time.
        value = str(value)
        exact, double = (
            f"try_cast({found} as {kind}) {sign} try_cast({wanted} as {kind})"
            for kind in ("decimal(38,10)", "double")
        )
        finite = f"isfinite(try_cast({found} as double))"
        sql = f"{found} is not null and coalesce({exact}, if({finite}, {double}, false))"
    return sql, {**values, f"value_{place}": value}


def _said(value: Any) -> str:
    if isinstance(value, datetime):
        return _moment_words(value)
    if isinstance(value, Decimal):
        return str(value)
    return "null" if value is None else json.dumps(value, ensure_ascii=False)


def _moment_words(moment: datetime) -> str:
    """Return a moment as short as it can be said."""
    text = moment.strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0").rstrip(".")
    return text.removesuffix(":00").removesuffix(" 00:00")


def _span_words(first: int | None, last: int | None) -> str:
    if first == last:
        return f"{first:,}"
    ends = [(word, end) for word, end in (("from", first), ("to", last)) if end is not None]
    return " ".join(f"{word} {end:,}" for word, end in ends)
