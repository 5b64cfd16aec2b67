"""What is said to be compatible can be read; and of each kind of break there is one that cannot."""

from __future__ import annotations

import sys
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from event_types import DECODED, EXACT, Colour, Line, Tree, class_of
from event_values import VALUES
from hypothesis import Phase, assume, find, given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)
from soak import scaled

from eslab import Event, InputError, compatibility
from eslab.schema import Compatibility, canonical_json, encode, parse_json
from eslab.schema.codec import event_of
from eslab.schema.json_schema import json_schema

KINDS = {name: kind for name, (kind, _) in {**EXACT, **DECODED}.items()}
NONE: Any = object()


def reads(stored: Any, new: type[Event]) -> bool:
    """Say whether data decodes as a class."""
    try:
        event_of(new, stored, schema_version=1)
    except (ValidationError, TypeError):
        return False
    return True


# Every pair of types.

COMPATIBLE = [
    (old, new)
    for old in VALUES
    for new in KINDS
    if compatibility(class_of(KINDS[old]), class_of(KINDS[new])).ok
]


@settings(max_examples=scaled(300, 5_000), deadline=None)
@given(st.sampled_from(COMPATIBLE), st.data())
def test_what_is_compatible_can_be_read(pair: tuple[str, str], data: st.DataObject) -> None:
    old, new = (class_of(KINDS[name]) for name in pair)
    event = old(x=data.draw(VALUES[pair[0]]))
    assert reads(parse_json(encode(event).data), new)


@pytest.mark.parametrize("name", KINDS)
def test_every_type_is_compatible_with_itself_and_with_wider_ones(name: str) -> None:
    kind = KINDS[name]
    assert compatibility(class_of(kind), class_of(kind)).ok
    assert compatibility(class_of(kind), class_of(Any)).ok
    if name != "alias":  # which is of a field, not of a type
        assert compatibility(class_of(kind), class_of(kind | None)).ok


# Changes of all depths: two types that are alike, each with a strategy for what is stored of it.

Kind = tuple[Any, st.SearchStrategy[Any]]
Change = tuple[Kind, Kind]
TEXT = st.text("ab", max_size=3)
NUMBERS = st.integers(-12, 12)
FAMILIES: list[list[Kind]] = [
    [
        (int, NUMBERS),
        (float, st.floats(-12, 12) | NUMBERS),
        (Decimal, NUMBERS.map(str)),
        (Annotated[int, Field(ge=0, le=9)], st.integers(0, 9)),
        (Annotated[int, Field(gt=-1)], st.integers(0, 12)),
        (Annotated[int, Field(multiple_of=2)], NUMBERS.map(lambda number: 2 * number)),
        (Annotated[float, Field(lt=10)], st.floats(-12, 9.9)),
        (Annotated[Decimal, Field(ge=0)], NUMBERS.map(abs).map(str)),
        (Literal[1, 2], st.sampled_from([1, 2])),
    ],
    [
        (str, TEXT),
        (Colour, st.sampled_from(["red", "blue"])),
        (Literal["a", "red"], st.sampled_from(["a", "red"])),
        (Literal["a", 1], st.sampled_from(["a", 1])),
        (Annotated[str, Field(min_length=1)], st.text("ab", min_size=1, max_size=3)),
        (Annotated[str, Field(max_length=2)], st.text("ab", max_size=2)),
    ],
    [
        (list[int], st.lists(NUMBERS, max_size=3)),
        (set[int], st.sets(NUMBERS, max_size=3).map(list)),
        (Annotated[list[int], Field(max_length=2)], st.lists(NUMBERS, max_size=2)),
        (tuple[int, int], st.tuples(NUMBERS, NUMBERS).map(list)),
    ],
]
ALIKE: st.SearchStrategy[Change] = st.sampled_from(FAMILIES).flatmap(
    lambda family: st.tuples(st.sampled_from(family), st.sampled_from(family))
)


def optional(kind: Kind) -> Kind:
    return kind[0] | None, kind[1] | st.none()


def listed(kind: Kind) -> Kind:
    return list[kind[0]], st.lists(kind[1], max_size=3)  # type: ignore[name-defined]


def keyed(kind: Kind) -> Kind:
    return dict[str, kind[0]], st.dictionaries(TEXT, kind[1], max_size=2)  # type: ignore[name-defined]


def either(one: Kind, other: Kind) -> Kind:
    return one[0] | other[0], one[1] | other[1]


def both(one: Kind, other: Kind) -> Kind:
    return tuple[one[0], other[0]], st.tuples(one[1], other[1]).map(list)  # type: ignore[name-defined]


Fields = dict[str, tuple[Kind, Any]]


def stored(fields: Fields) -> st.SearchStrategy[dict[str, Any]]:
    values = {name: values for name, ((_, values), _) in fields.items()}
    required = {name: values[name] for name, (_, default) in fields.items() if default is ...}
    return st.fixed_dictionaries(
        required, optional={name: values[name] for name in values.keys() - required.keys()}
    )


def annotated(fields: Fields) -> dict[str, Any]:
    return {name: (kind, default) for name, ((kind, _), default) in fields.items()}


@st.composite
def fields(draw: st.DrawFn, changes: st.SearchStrategy[Change]) -> tuple[Fields, Fields]:
    """Draw the fields of a model, and those of what became of it."""
    was: Fields = {}
    becomes: Fields = {}
    for name in draw(st.lists(st.sampled_from("abc"), unique=True, min_size=1, max_size=2)):
        old, new = draw(changes)
        side = draw(st.sampled_from(["both", "both", "both", "old", "new"]))
        if side != "new":
            was[name] = old, draw(st.sampled_from([..., None]))
        if side != "old":
            becomes[name] = new, draw(st.sampled_from([..., None]))
    return was, becomes


@st.composite
def models(draw: st.DrawFn, changes: st.SearchStrategy[Change]) -> Change:
    def model(fields: Fields) -> Kind:
        config = ConfigDict(extra=draw(st.sampled_from(["ignore", "forbid", "allow"])))
        return create_model("Inner", __config__=config, **annotated(fields)), stored(fields)

    was, becomes = draw(fields(changes))
    return model(was), model(becomes)


@st.composite
def wrapped(draw: st.DrawFn, inner: st.SearchStrategy[Change]) -> Change:
    old, new = draw(inner)
    more, most = draw(inner)
    match draw(
        st.sampled_from(["optional", "both", "union", "members", "lists", "dicts", "pairs"])
    ):
        case "optional":
            return old, optional(new)
        case "both":
            return optional(old), optional(new)
        case "union":
            return old, either(new, most)
        case "members":
            return either(old, more), either(new, most)
        case "lists":
            return listed(old), listed(new)
        case "dicts":
            return keyed(old), keyed(new)
        case _:
            return both(old, more), both(new, most)


CHANGES = st.recursive(ALIKE, lambda inner: wrapped(inner) | models(inner), max_leaves=4)


def changed_classes(data: st.DataObject) -> tuple[type[Event], type[Event], dict[str, Any]]:
    """Draw a class, what became of it, and what is stored of the first."""
    was, becomes = data.draw(fields(CHANGES))
    old, new = (
        create_model("Happened", __base__=Event, **annotated(held)) for held in (was, becomes)
    )
    written = parse_json(encode(old.model_validate(data.draw(stored(was)))).data)
    # A default that does not fit its own field is written, and cannot be read by anybody.
    assume(reads(written, old))
    return old, new, written


@settings(max_examples=scaled(60, 5_000), deadline=None)
@given(st.data())
def test_what_a_compatible_change_leaves_can_be_read(data: st.DataObject) -> None:
    old, new, written = changed_classes(data)
    assert reads(written, new) or not compatibility(old, new).ok


@pytest.mark.parametrize(
    "name", ["_is_within", "_other_type", "_other_choice", "_of_union", "_of_objects", "_of_arrays"]
)
def test_a_comparison_that_overlooks_something_would_be_found(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard: each part, gone blind, lets something pass that cannot be read."""
    comparison = sys.modules[Compatibility.__module__]
    blind = comparison if hasattr(comparison, name) else comparison._Comparison
    answer: Any = {"_is_within": True, "_other_type": None, "_other_choice": None}.get(name, [])
    monkeypatch.setattr(blind, name, lambda *_: answer)

    def passes(data: st.DataObject) -> bool:
        old, new, written = changed_classes(data)
        return compatibility(old, new).ok and not reads(written, new)

    quick = settings(max_examples=5_000, database=None, phases=[Phase.generate])
    find(st.data(), passes, settings=quick)  # raises if there is none


# Each kind of break.


class Shape(Enum):
    ROUND = "round"


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    item: str


class Priced(BaseModel):
    item: str
    price: Decimal


class Short(BaseModel):
    model_config = ConfigDict(str_max_length=2)
    item: str


class Bush(BaseModel):
    name: int
    below: list[Bush] = []


class Checked(BaseModel):
    item: str

    @model_validator(mode="after")
    def never(self) -> Checked:
        raise ValueError("never")


def refused(value: Any) -> Any:
    raise ValueError("never")


AWARE = "2026-01-01T00:00:00Z"
Animal = Annotated[Cat | Dog, Field(discriminator="kind")]

BREAKS: dict[str, tuple[Any, Any, Any, str, str]] = {
    # What it was, what it is, a value that was stored, where it breaks, and how.
    "text": (str, int, "a", "x", "narrowed"),
    "half": (float, int, 0.5, "x", "narrowed"),
    "flag": (str, bool, "a", "x", "narrowed"),
    "anything": (Any, int, "a", "x", "narrowed"),
    "none": (int | None, int, None, "x", "narrowed"),
    "union": (int | str, int, "a", "x", "narrowed"),
    "other union": (list[int], int | str, [1], "x", "narrowed"),
    "member": (Colour, Shape, "red", "x", "narrowed"),
    "choice": (str, Literal["a"], "b", "x", "narrowed"),
    "choices": (Literal["a", "b"], Literal["a"], "b", "x", "narrowed"),
    "number choice": (Literal["a", 1], str, 1, "x", "narrowed"),
    "low": (int, Annotated[int, Field(ge=1)], 0, "x", "narrowed"),
    "lower": (Annotated[int, Field(ge=0)], Annotated[int, Field(gt=0)], 0, "x", "narrowed"),
    "high": (Annotated[int, Field(le=9)], Annotated[int, Field(lt=9)], 9, "x", "narrowed"),
    "step": (int, Annotated[int, Field(multiple_of=2)], 1, "x", "narrowed"),
    "empty": (str, Annotated[str, Field(min_length=1)], "", "x", "narrowed"),
    "long": (str, Annotated[str, Field(max_length=2)], "abc", "x", "narrowed"),
    "pattern": (str, Annotated[str, Field(pattern="^a")], "b", "x", "narrowed"),
    "day": (str, date, "a", "x", "narrowed"),
    "moment": (date, AwareDatetime, "2026-01-01", "x", "narrowed"),
    "zone": (datetime, AwareDatetime, "2026-01-01T00:00:00", "x", "narrowed"),
    "number": (str, Decimal, "a", "x", "narrowed"),
    "digits": (Decimal, Annotated[Decimal, Field(max_digits=2)], "1.25", "x", "narrowed"),
    "debt": (Decimal, Annotated[Decimal, Field(ge=0)], "-1", "x", "narrowed"),
    "while": (timedelta, Annotated[timedelta, Field(ge=timedelta(1))], "PT1S", "x", "narrowed"),
    "item": (list[float], list[int], [0.5], "x[]", "narrowed"),
    "items": (list[int], Annotated[list[int], Field(max_length=1)], [1, 2], "x", "narrowed"),
    "pair": (tuple[int, str], tuple[int, int], [1, "a"], "x[1]", "narrowed"),
    "triple": (tuple[int, int], tuple[int, int, int], [1, 1], "x", "narrowed"),
    "value": (dict[str, float], dict[str, int], {"a": 0.5}, "x{}", "narrowed"),
    "key": (dict[str, int], dict[int, int], {"a": 1}, "x (keys)", "narrowed"),
    "keys": (dict[str, str], Strict, {"item": "a", "b": "c"}, "x", "narrowed"),
    "inner": (Line, Strict, {"item": "a", "price": "1"}, "x.price", "removed"),
    "inner limit": (Line, Short, {"item": "abc"}, "x", "narrowed"),
    "inner none": (Line, Priced, {"item": "a", "price": None}, "x.price", "narrowed"),
    "inner lack": (Line, Priced, {"item": "a"}, "x.price", "required"),
    "in lists": (list[Line], list[Priced], [{"item": "a"}], "x[].price", "required"),
    "in itself": (Tree, Bush, {"name": "a"}, "x.name", "narrowed"),
    "tag": (Cat, Animal, {"lives": 1}, "x.kind", "required"),
    "validator": (int, Annotated[int, AfterValidator(refused)], 1, "x", "validator"),
    "model validator": (Strict, Checked, {"item": "a"}, "x", "validator"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_is_named_and_is_one(name: str) -> None:
    was, becomes, value, path, kind = BREAKS[name]
    old, new = class_of(was), class_of(becomes)
    report = compatibility(old, new)
    assert (path, kind) in [(item.path, item.kind) for item in report.breaks]
    assert reads({"x": value}, old)
    assert not reads({"x": value}, new)


class Placed(Event):
    amount: int
    note: str | None = None


def test_a_field_that_was_removed() -> None:
    class Changed(Event):
        amount: int

    report = compatibility(Placed, Changed)
    assert [(item.path, item.kind) for item in report.breaks] == [("note", "removed")]
    assert not reads({"amount": 1, "note": None}, Changed)


def test_a_field_that_is_required() -> None:
    class Changed(Event):
        amount: int
        note: str | None
        currency: str

    report = compatibility(Placed, Changed)
    assert [(item.path, item.kind, item.reason) for item in report.breaks] == [
        ("note", "required", "it has no default, and old events need not hold it"),
        ("currency", "required", "it has no default, and old events do not hold it"),
    ]
    assert not reads({"amount": 1}, Changed)
    assert not reads({"amount": 1, "note": None}, Changed)


def test_a_validator_that_is_new() -> None:
    class Changed(Event):
        amount: int
        note: str | None = None

        @field_validator("amount")
        @classmethod
        def positive(cls, amount: int) -> int:
            if amount < 0:
                raise ValueError("it is below 0")
            return amount

    (found,) = compatibility(Placed, Changed).breaks
    assert str(found) == "amount: validator: positive is new, and may refuse what is stored"
    assert compatibility(Changed, Placed).ok


WIDER: dict[str, tuple[Any, Any]] = {
    "number": (int, float),
    "none": (int, int | None),
    "union": (int, int | str),
    "more": (Literal["a"], Literal["a", "b"]),
    "choice": (Literal["a"], str),
    "member": (Colour, str),
    "limit": (Annotated[int, Field(ge=2, le=3)], Annotated[int, Field(gt=1, lt=4)]),
    "no limit": (Annotated[str, Field(min_length=2, pattern="a")], str),
    "length": (Annotated[str, Field(max_length=2)], Annotated[str, Field(max_length=3)]),
    "step": (Annotated[int, Field(multiple_of=4)], Annotated[int, Field(multiple_of=2)]),
    "money": (int, Decimal),
    "debt": (Annotated[Decimal, Field(ge=2)], Annotated[Decimal, Field(ge=1)]),
    "zone": (AwareDatetime, datetime),
    "text": (date, str),
    "items": (set[int], list[float | None]),
    "pair": (tuple[int, int], list[int]),
    "object": (Line, dict[str, Any]),
    "values": (dict[str, int], dict[str, float]),
    "names": (dict[int, int], dict[str, int]),
    "model": (Strict, Line),
    "animal": (Animal, Animal | None),
    "tree": (Tree, Tree | None),
    "checked": (Annotated[int, AfterValidator(refused)], int),
    "strict": (date, Annotated[date, Field(strict=True)]),  # what is stored is never read strictly
}


@pytest.mark.parametrize("name", WIDER)
def test_what_is_wider_is_compatible(name: str) -> None:
    old, new = map(class_of, WIDER[name])
    assert compatibility(old, new).breaks == ()


# Documents and reports.


def test_documents_are_compared_like_classes() -> None:
    class Changed(Event, type="Placed"):
        amount: float
        note: str | None = None

    old, new = (parse_json(canonical_json(json_schema(cls))) for cls in (Placed, Changed))
    for one, other in [(Placed, Changed), (old, Changed), (Placed, new), (old, new)]:
        assert compatibility(one, other).ok
        assert compatibility(other, one).breaks == compatibility(Changed, Placed).breaks


def test_a_document_from_elsewhere() -> None:
    old = {"type": ["object", "null"], "properties": {"x": {"const": 1}}, "required": ["x"]}
    new = {**old, "type": "object"}
    report = compatibility(old, new)
    assert [str(item) for item in report.breaks] == ["the event: narrowed: null -> object"]
    assert compatibility(new, old).ok
    text = {"type": "object", "patternProperties": {"^a": {"type": "string"}}}
    assert compatibility(text, text).ok
    assert not compatibility({"type": "object"}, text).ok


@pytest.mark.parametrize("thing", [None, int, "Placed", Placed(amount=1), BaseModel])
def test_only_classes_and_documents_are_compared(thing: Any) -> None:
    with pytest.raises(InputError, match="compares event classes or JSON Schemas"):
        compatibility(thing, Placed)


def test_a_reference_that_leads_nowhere() -> None:
    with pytest.raises(InputError, match=r"refers to '#/\$defs/Line', which is not in it"):
        compatibility({"$ref": "#/$defs/Line"}, Placed)


def test_a_report_says_what_it_found() -> None:
    class Changed(Event, type="Placed"):
        amount: Literal["<b>"]
        note: str | None = None

    report = compatibility(Placed, Changed)
    assert not report
    assert str(report) == repr(report)
    assert str(report).splitlines() == [
        "Placed -> Changed: 1 break",
        "  amount: narrowed: integer -> '<b>'",
    ]
    assert "<td style='text-align:left'>integer -&gt; &#x27;&lt;b&gt;&#x27;</td>" in (
        report._repr_html_()
    )
    good = Compatibility("A", "B", ())
    assert (bool(good), good._repr_html_()) == (True, "<p>A -&gt; B: compatible</p>")
