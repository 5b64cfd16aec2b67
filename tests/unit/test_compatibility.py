"""What one version of an event stored and another cannot read is found; the rest is not."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from event_types import Colour
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, Field, ValidationError, create_model

from eslab import Event, InputError, compatibility
from eslab.schema import EventRegistry, encode, parse_json
from eslab.schema.codec import event_of


def event(**fields: Any) -> type[Event]:
    return create_model("Stored", __base__=Event, **fields)


class Red(Enum):
    RED = "red"


class Item(BaseModel):
    sku: str
    count: int


class Grown(BaseModel):
    sku: str
    count: int
    weight: float


class Tree(BaseModel):
    name: str
    parts: list[Tree] = []


class Forest(BaseModel):
    name: str
    height: int = 0
    parts: list[Forest] = []


FINE: dict[str, tuple[Any, Any]] = {
    "the same": (int, int),
    "int -> float": (int, float),
    "int -> optional": (int, int | None),
    "int -> union": (int, str | int),
    "enum -> str": (Red, str),
    "enum grows": (Red, Colour),
    "literal grows": (Literal["a"], Literal["a", "b"]),
    "bounds widen": (Annotated[int, Field(ge=1, le=5)], Annotated[int, Field(ge=0, le=9)]),
    "bounds go": (Annotated[str, Field(max_length=5)], str),
    "uuid -> str": (UUID, str),
    "time -> str": (AwareDatetime, str),
    "list of wider": (list[int], list[float]),
    "dict of wider": (dict[str, int], dict[str, int | None]),
    "a set -> a list": (set[int], list[int]),
    "a tuple -> a list": (tuple[int, int], list[int]),
    "anything": (Item, Any),
    "decimal": (Decimal, Decimal),
    "int -> decimal": (int, Decimal),
    "a model that holds itself": (Tree, Forest),
}

BROKEN: dict[str, tuple[Any, Any, Any, str, str]] = {
    "float -> int": (float, int, 1.5, "x", "number, and is integer"),
    "str -> int": (str, int, "a", "x", "string, and is integer"),
    "int -> str": (int, str, 1, "x", "integer, and is string"),
    "optional -> required": (int | None, int, None, "x", "null, and is integer"),
    "union shrinks": (str | int, int, "a", "x", "string, and is integer"),
    "enum shrinks": (Colour, Red, Colour.BLUE, "x", "'blue' may have been stored"),
    "str -> enum": (str, Red, "a", "x", "string, and is 'red'"),
    "literal shrinks": (Literal["a", "b"], Literal["a"], "b", "x", "'b' may have been stored"),
    "a lower bound": (int, Annotated[int, Field(ge=1)], 0, "x", "minimum was anything, and is 1"),
    "a closer bound": (
        Annotated[str, Field(max_length=9)],
        Annotated[str, Field(max_length=2)],
        "abc",
        "x",
        "maxLength was 9, and is 2",
    ),
    "a pattern": (str, Annotated[str, Field(pattern="^a$")], "b", "x", "pattern was anything"),
    "str -> uuid": (str, UUID, "b", "x", "format was anything, and is uuid"),
    "str -> time": (str, AwareDatetime, "b", "x", "format was anything, and is date-time"),
    "list of narrower": (list[float], list[int], [1.5], "x[]", "number, and is integer"),
    "list -> int": (list[int], int, [1], "x", "array, and is integer"),
    "a longer tuple": (tuple[int, int], tuple[int, int, int], (1, 2), "x", "a tuple of 3"),
    "dict of narrower": (dict[str, float], dict[str, int], {"a": 1.5}, "x{}", "number"),
    "anything -> int": (Any, int, "a", "x", "anything, and is integer"),
    "a model grows": (Item, Grown, Item(sku="a", count=1), "x.weight", "no default"),
    "a dict -> a model": (dict[str, int], Item, {"a": 1}, "x", "a dict with any keys"),
    "in a list of models": (list[Item], list[Grown], [Item(sku="a", count=1)], "x[].weight", "no"),
    "in an optional model": (
        Item | None,
        Grown | None,
        Item(sku="a", count=1),
        "x.weight",
        "no default",
    ),
}


@pytest.mark.parametrize(("old", "new"), FINE.values(), ids=FINE)
def test_what_widens_breaks_nothing(old: Any, new: Any) -> None:
    found = compatibility(event(x=(old, ...)), event(x=(new, ...)))
    assert found.ok, found
    assert "reads what" in repr(found)


@pytest.mark.parametrize(("old", "new", "value", "path", "words"), BROKEN.values(), ids=BROKEN)
def test_what_breaks_is_named_and_really_breaks(
    old: Any, new: Any, value: Any, path: str, words: str
) -> None:
    before, after = event(x=(old, ...)), event(x=(new, ...))
    found = compatibility(before, after)
    assert path in {one.path for one in found.breaks}
    assert words in repr(found)
    stored = parse_json(encode(before(x=value)).data)
    with pytest.raises(ValidationError):
        event_of(after, stored, schema_version=1)


def test_what_fits_one_of_several_is_compared_again_where_it_stands_alone() -> None:
    old = event(x=(Item, ...), y=(Item, ...))
    found = compatibility(old, event(x=(Grown | Item, ...), y=(Grown, ...)))
    assert [one.path for one in found.breaks] == ["y.weight"]


def test_fields_that_come_and_go() -> None:
    old = event(a=(int, ...), b=(int, ...))
    assert compatibility(old, event(a=(int, ...), b=(int, ...), c=(int, 0))).ok
    found = compatibility(old, event(a=(int, ...), c=(int, ...)))
    assert [(one.path, one.kind) for one in found.breaks] == [
        ("b", "removed field"),
        ("c", "new required field"),
    ]
    assert "<td>b</td><td>removed field</td>" in found._repr_html_()
    assert "upcaster" in repr(found)
    for change in ({"a": (int, ...)}, {"a": (int, ...), "b": (int, ...), "c": (int, ...)}):
        with pytest.raises(ValidationError):
            event_of(event(**change), {"a": 1, "b": 2}, schema_version=1)


def test_another_type_name_is_another_type() -> None:
    class Renamed(Event):
        x: int

    class Kept(Event, type="Stored"):
        x: int

    old = event(x=(int, ...))
    assert compatibility(old, Kept).ok
    (found,) = compatibility(old, Renamed).breaks
    assert found.kind == "another type name"


def test_a_catalogue_of_then_is_compared_with_the_class_of_today() -> None:
    old = event(x=(list[Item], ...))
    document = EventRegistry(old).catalogue()
    (stored,) = document["oneOf"]
    written = {**stored, "$defs": document["$defs"]}
    assert compatibility(written, old).ok
    (found,) = compatibility(written, event(x=(list[Grown], ...))).breaks
    assert found.path == "x[].weight"


@pytest.mark.parametrize("bad", [int, "Stored", None, Item])
def test_what_is_no_event_is_refused(bad: Any) -> None:
    with pytest.raises(InputError):
        compatibility(bad, event(x=(int, ...)))
    with pytest.raises(InputError):
        compatibility(event(x=(int, ...)), bad)


KINDS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers(-9, 9)),
    (float, st.floats(-9, 9)),
    (str, st.text(max_size=3)),
    (bool, st.booleans()),
    (Annotated[int, Field(ge=0, le=5)], st.integers(0, 5)),
    (Annotated[str, Field(max_length=2)], st.text(max_size=2)),
    (Colour, st.sampled_from(Colour)),
    (Red, st.sampled_from(Red)),
    (UUID, st.uuids()),
    (Literal["a", 1], st.sampled_from(["a", 1])),
    (Item, st.builds(Item)),
    (Grown, st.builds(Grown, weight=st.floats(0, 9))),
    (Any, st.sampled_from([1, "a", None, [1]])),
]
SOME = st.sampled_from(KINDS)
WRAPPED = st.one_of(
    SOME,
    SOME.map(lambda kind: (kind[0] | None, kind[1] | st.none()) if kind[0] is not Any else kind),
    SOME.map(lambda kind: (list[kind[0]], st.lists(kind[1], max_size=2))),
    SOME.map(lambda kind: (dict[str, kind[0]], st.dictionaries(st.text(max_size=1), kind[1]))),
    st.tuples(SOME, SOME).map(
        lambda two: (tuple[two[0][0], two[1][0]], st.tuples(two[0][1], two[1][1]))
    ),
)


@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(WRAPPED, WRAPPED, st.booleans(), st.data())
def test_if_nothing_breaks_all_that_was_stored_is_read(
    old: tuple[Any, Any], new: tuple[Any, Any], default: bool, data: st.DataObject
) -> None:
    before = event(x=(old[0], ...))
    after = event(x=(new[0], ...), **({"y": (int, 0)} if default else {}))
    assume(compatibility(before, after).ok)
    stored = parse_json(encode(before(x=data.draw(old[1]))).data)
    event_of(after, stored, schema_version=1)
