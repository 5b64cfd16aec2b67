"""Strategies for what is in events: values that fit their columns, and data that nobody checked."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from event_types import Colour, Level, Line
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
INT64 = st.integers(-(2**63), 2**63 - 1)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
OFFSETS = st.integers(-24 * 60 + 1, 24 * 60 - 1).map(lambda m: timezone(timedelta(minutes=m)))
MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=OFFSETS | st.just(UTC))  # noqa: DTZ001


def decimals(digits: int, places: int) -> st.SearchStrategy[Decimal]:
    """Return Decimals of at most so many digits, at most so many of them behind the point."""
    parts = st.tuples(st.sampled_from("+-"), st.integers(0, 10**digits - 1), st.integers(0, places))
    return parts.map(
        lambda part: Decimal(f"{part[0]}{part[1] // 10 ** (places - part[2])}e-{part[2]}")
    )


DECIMAL = decimals(38, 10)
LINES = st.builds(Line, item=TEXT, price=st.none() | DECIMAL)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOAT | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int": INT64,
    "positive": st.integers(1, 2**63 - 1),
    "float": FLOAT,
    "finite": FLOAT,
    "str": TEXT,
    "short": st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3),
    "date": st.dates(),
    "time": st.times(),
    "datetime": MOMENTS,
    "aware": MOMENTS,
    "naive": st.datetimes(),
    "timedelta": st.timedeltas(timedelta(days=-100_000_000), timedelta(days=100_000_000)),
    "uuid": st.uuids(),
    "bytes": TEXT.map(str.encode),
    "decimal": DECIMAL,
    "price": decimals(10, 2),
    "places": decimals(38, 2),
    "digits": decimals(5, 2),
    "huge": decimals(28, 5),
    "fraction": st.integers(-9999, 9999).map(lambda n: Decimal(f"{n}e-4")),
    "enum": st.sampled_from(Colour),
    "number": st.sampled_from(Level),
    "literal": st.sampled_from("ab"),
    "list": st.lists(INT64, max_size=4),
    "tuple": st.lists(FLOAT, max_size=4).map(tuple),
    "set": st.sets(TEXT, max_size=4),
    "frozenset": st.frozensets(st.dates(), max_size=4),
    "deque": st.lists(INT64, max_size=4).map(deque),
    "optional": st.none() | INT64,
    "gaps": st.lists(st.none() | INT64, max_size=4),
    "dict": st.dictionaries(TEXT, DECIMAL, max_size=4),
    "mapping": st.dictionaries(TEXT, INT64, max_size=4),
    "any": JSON,
    "payload": st.dictionaries(TEXT, JSON, max_size=3),
    "bare": st.dictionaries(TEXT, JSON, max_size=3),
    "nested": LINES,
    "lines": st.lists(LINES, max_size=3),
    "lots": st.dictionaries(TEXT, st.lists(st.none() | LINES, max_size=2), max_size=3),
}
"""Values that fit their columns, for each type that SQL converts."""


ODD_WORDS = """
nan NaN inf -Infinity 1.5 1.0 1e3 1E400 1_000 +1 -0 -0.00 007 .5 5. 0x10 ١٢ true TRUE yes on red RED
a b 9223372036854775807 9223372036854775808 -9223372036854775809 1.12345678901 0.00001 99999999.99
999999999.9 12345.12345 1234567890123456789012345678.1 2013-01-01 2013-1-1 2013-02-29 0000-01-01
0001-01-01 9999-12-31 10000-01-01 20130101 2013-01-01T00:00 2013-01-01T00:00:00
2013-01-01T00:00:00Z 2013-01-01t00:00:00z 2013-01-01T00:00:00.1234567Z 2013-01-01T24:00:00Z
2013-01-01T23:59:60Z 2013-01-01T00:00:00+14:00 2013-01-01T00:00:00+23:59 2013-01-01T00:00:00-00:00
2013-01-01T00:00:00+0200 2013-01-01T00:00:00+02 0001-01-01T00:00:00+02:00
9999-12-31T23:59:59-02:00 2013-01-01_00:00:00 0000-01-01T00:00:00Z 12:30 12:30:00 12:30:00.5
12:30:00.1234567 24:00:00 23:59:60 12:30:00Z 12:30:00+02:00 1300000000 1300000000000 PT1H P1D P1Y
P1M P1W PT P -P1D P1DT PT.5S PT1.1234567S P400D PT99S PT1M60S P99999Y P99999999999Y 1:00 null {} []
00000000-0000-0000-0000-000000000001 00000000000000000000000000000001
{00000000-0000-0000-0000-000000000001} urn:uuid:00000000-0000-0000-0000-000000000001
ABCDEFAB-0000-0000-0000-000000000001
"""
BLANKS = ["", " ", " 1", "1 ", "\n", "1\n", "red ", "2013-01-01 ", "\0", "1\0", "1 day"]
SPACED = ["2013-01-01 00:00:00", "2013-01-01 00:00:00Z", "2013-01-01 00:00:00 UTC"]
ODD_TEXTS = st.sampled_from([*ODD_WORDS.split(), *BLANKS, *SPACED])
ODD_NUMBERS = st.sampled_from(
    [
        0,
        -0.0,
        1,
        1.0,
        1.5,
        2.5,
        -1,
        2**31,
        2**53 + 1,
        2**63 - 1,
        2**63,
        -(2**63) - 1,
        2**64,
        10**30,
        10**40,
        1e15,
        1e16,
        1e22,
        1e300,
        5e-324,
        0.1,
        1300000000,
        1e-7,
    ]
)
SHAPED_TEXTS = (
    st.from_regex(r"\A-?[0-9]{0,12}(\.[0-9]{0,12})?\Z")
    | st.from_regex(
        r"\A(0|1|2|9)[0-9]{3}-(0|1)[0-9]-[0-3][0-9](T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]{0,8})?(Z|[-+][0-2][0-9]:[0-5][0-9])?)?\Z"
    )
    | st.from_regex(r"\A[0-2][0-9]:[0-5][0-9](:[0-6][0-9](\.[0-9]{0,8})?)?Z?\Z")
    | st.from_regex(
        r"\A-?P([0-9]{0,5}Y)?([0-9]{0,4}D)?(T([0-9]{0,3}H)?([0-9]{0,3}M)?([0-9]{0,3}(\.[0-9]{0,7})?S)?)?\Z"
    )
)
ODD_SCALARS = st.none() | st.booleans() | ODD_NUMBERS | ODD_TEXTS | SHAPED_TEXTS | JSON
LINE_DATA = st.dictionaries(
    st.sampled_from(["item", "price", "Item", "x", "low", "high"]), ODD_SCALARS, max_size=3
)
ODD = (
    ODD_SCALARS
    | st.lists(ODD_SCALARS, max_size=3)
    | st.lists(ODD_TEXTS, max_size=2).map(lambda items: items * 2)
    | LINE_DATA
    | st.lists(LINE_DATA, max_size=2)
    | st.dictionaries(TEXT, ODD_SCALARS | st.lists(LINE_DATA, max_size=2), max_size=2)
)
STORED = st.fixed_dictionaries({"x": ODD}) | st.dictionaries(
    st.sampled_from(["x", "X", "other", "z"]), ODD, max_size=3
)
"""What somebody might append as the data of an event, with no class to check it."""
