"""The codec: one canonical JSON for each event, that comes back; and the columns of models."""

from __future__ import annotations

import json
import math
from abc import ABC
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    computed_field,
    field_serializer,
)

from eslab import (
    Event,
    InputError,
    LimitError,
    MemoryStore,
    NewEvent,
    RegistrationError,
    SchemaError,
    UnknownEventTypeError,
    applies,
)
from eslab.aggregates import Aggregate
from eslab.schema import (
    EventRegistry,
    canonical_json,
    columns_of,
    decode,
    encode,
    encode_all,
    encoded,
    event_handlers,
    marker,
    parse_json,
    snake_case,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('abé\n"', max_size=3), inner),
    max_leaves=20,
)


class Colour(Enum):
    RED = "red"


class Inner(BaseModel):
    numbers: set[float] = set()
    x: float = 0.0


class Names(RootModel[set[str]]):
    pass


class Groups(RootModel[dict[str, set[str]]]):
    pass


@dataclass
class Plain:
    words: set[str] = field(default_factory=set)


class Rich(Event):
    text: str = ""
    amount: Decimal = Decimal(0)
    id: UUID = UUID(int=0)
    day: date = date(2013, 1, 1)
    at: datetime = datetime(2013, 1, 1, tzinfo=UTC)
    took: timedelta = timedelta(0)
    colour: Colour = Colour.RED
    pair: tuple[int, str] = (0, "")
    words: frozenset[str] = frozenset()
    nested: frozenset[frozenset[str]] = frozenset()
    by_number: dict[int, list[set[str]]] = {}  # noqa: RUF012 - pydantic copies it
    inner: Inner = Inner()
    names: Names = Names(set())
    groups: Groups = Groups({})
    plain: Plain = Plain()
    queue: deque[set[str]] = deque()  # noqa: RUF012


class Anything(Event):
    value: Any


WORDS = st.sets(st.text("abc", max_size=2))
RICH = st.builds(
    Rich,
    text=st.text(st.characters(exclude_categories=["Cs"])),
    amount=st.decimals(allow_nan=False, allow_infinity=False),
    id=st.uuids(),
    day=st.dates(),
    at=st.datetimes(timezones=st.just(UTC)),
    took=st.timedeltas(timedelta(days=-999), timedelta(days=999)),
    pair=st.tuples(st.integers(), st.just("x")),
    words=WORDS.map(frozenset),
    nested=st.frozensets(WORDS.map(frozenset), max_size=3),
    by_number=st.dictionaries(st.integers(), st.lists(WORDS, max_size=2), max_size=2),
    inner=st.builds(Inner, numbers=st.sets(st.floats(allow_nan=False, allow_infinity=False))),
    names=WORDS.map(Names),
    groups=st.dictionaries(st.just("g"), WORDS).map(Groups),
    plain=WORDS.map(Plain),
    queue=st.lists(WORDS, max_size=2).map(deque),
)


def stored(event: Event) -> tuple[Event, str]:
    """Return the event as it comes back from a store, and its stored text."""
    with MemoryStore() as store:
        store.append("s-1", [encode(event)])
        (recorded,) = store.read("s-1")
        return decode(recorded, type(event)), canonical_json(recorded.data)


@given(JSON)
def test_canonical_json_comes_back_and_is_stable(value: Any) -> None:
    text = canonical_json(value)
    assert parse_json(text) == value
    assert canonical_json(parse_json(text)) == text
    assert text == json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


@given(st.dictionaries(st.text("abc", max_size=2), st.integers()))
def test_the_order_of_keys_does_not_count(value: dict[str, int]) -> None:
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, {"b": math.nan}]}, r"it\.a\[1\]\.b is nan"),
        ([math.inf], r"it\[0\] is inf"),
        ({"a": (1,)}, r"it\.a is a tuple"),
        ({"a": {1}}, r"it\.a is a set"),
        ({1: 2}, "key 1"),
        ({"a": Decimal(1)}, "Decimal"),
        ("\ud800", "surrogates"),
        (10**5000, "it cannot be written"),
    ],
    ids=["nan", "infinity", "tuple", "set", "integer key", "decimal", "surrogate", "huge"],
)
def test_what_json_has_no_word_for_is_refused_with_its_place(value: Any, path: str) -> None:
    with pytest.raises(InputError, match=path):
        canonical_json(value, what="it")


def test_bottomless_values_are_refused() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InputError):
        canonical_json(value)
    with pytest.raises(InputError):
        encode(Anything(value=value))
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(InputError):
        encode(Anything(value=circle))


@given(RICH)
def test_an_event_comes_back_and_is_the_same_text_again(event: Rich) -> None:
    back, text = stored(event)
    assert back == event
    assert stored(back) == (event, text)


def test_sets_at_every_depth_are_sorted() -> None:
    event = Rich(
        words=frozenset("cab"),
        nested=frozenset([frozenset("zyx"), frozenset("cab")]),
        by_number={7: [{"b", "a", "c"}]},
        inner=Inner(numbers={3.0, 1.0, 2.0}),
        names=Names({"b", "a", "c"}),
        groups=Groups({"g": {"b", "a", "c"}}),
        plain=Plain({"b", "a", "c"}),
        queue=deque([{"b", "a", "c"}]),
    )
    data = parse_json(encode(event).data)
    assert data["nested"] == [["a", "b", "c"], ["x", "y", "z"]]
    assert data["inner"]["numbers"] == [1.0, 2.0, 3.0]
    letters = ["a", "b", "c"]
    assert data["words"] == data["names"] == data["groups"]["g"] == letters
    assert data["by_number"]["7"] == data["queue"] == [letters]
    assert data["plain"]["words"] == letters


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        [math.inf],
        {"a": {math.nan}},
        {math.nan: 1},
        {1: "x", "1": "y"},
        Decimal("NaN"),
        [Decimal("-Infinity")],
        Inner(x=math.nan),
        Inner(numbers={math.inf}),
        object(),
        b"\xff",
        print,
    ],
    ids=lambda value: f"{type(value).__name__} {value!r:.20}".partition(" at 0x")[0],
)
def test_what_would_be_lost_is_refused_at_every_depth(value: Any) -> None:
    with pytest.raises(InputError):
        encode(Anything(value=value))


def test_only_events_are_encoded() -> None:
    with pytest.raises(InputError, match=r"eslab\.Event"):
        encode(Inner())  # type: ignore[arg-type]


class Odd(Event):
    model_config = ConfigDict(strict=True)

    total: Decimal = Field(alias="sum")
    words: set[str]
    hidden: list[int] = Field(default=[1], exclude=True)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> Decimal:
        return 2 * self.total


def test_aliases_computed_and_excluded_fields_and_strict_models_come_back() -> None:
    event = Odd(sum=Decimal("1.50"), words={"b", "a"})
    back, text = stored(event)
    assert back == event
    assert text == '{"total":"1.50","words":["a","b"]}'


class Shortened(Event):
    words: set[str]
    numbers: list[int]
    by_name: dict[str, int]

    @field_serializer("words")
    def one_text(self, words: set[str]) -> str:
        return ",".join(sorted(words))

    @field_serializer("numbers")
    def first(self, numbers: list[int]) -> list[int]:
        return numbers[:1]

    @field_serializer("by_name")
    def none(self, by_name: dict[str, int]) -> dict[str, int]:
        return {}


def test_a_serializer_of_the_users_own_is_left_alone() -> None:
    event = Shortened(words={"b", "a"}, numbers=[3, 2], by_name={"a": 1})
    assert parse_json(encode(event).data) == {"words": "a,b", "numbers": [3], "by_name": {}}


def test_data_that_does_not_fit_the_class_says_where() -> None:
    class Old(Event, type="Grown"):
        x: int

    class Grown(Event, schema_version=2):
        x: int
        y: int

    with MemoryStore() as store:
        store.append("s-1", [encode(Old(x=1))])
        (recorded,) = store.read("s-1")
    with pytest.raises(SchemaError, match=r"Grown.*stored with 1.*y: Field required"):
        decode(recorded, Grown)


# The registry.


def test_a_class_that_is_defined_again_replaces_the_first() -> None:
    def define() -> type[Event]:
        class Placed(Event):
            pass

        return Placed

    first, second = define(), define()
    registry = EventRegistry(first)
    registry.register(second)
    assert registry["Placed"] is second
    assert list(registry) == ["Placed"]
    assert "Placed" in registry
    assert len(registry) == 1


def test_another_class_of_the_same_name_is_refused() -> None:
    class Placed(Event):
        pass

    class Other(Event, type="Placed"):
        pass

    registry = EventRegistry(Placed)
    with pytest.raises(RegistrationError, match="Placed"):
        registry.register(Other)
    assert registry["Placed"] is Placed


@pytest.mark.parametrize("bad", [Event, Inner, "Placed", None], ids=repr)
def test_what_is_no_event_type_is_refused(bad: Any) -> None:
    with pytest.raises(InputError):
        EventRegistry().register(bad)


def test_an_unknown_type_names_the_known_ones() -> None:
    with pytest.raises(UnknownEventTypeError, match=r"Nobody.*registered: Rich") as caught:
        EventRegistry(Rich)["Nobody"]
    assert caught.value.type_name == "Nobody"


# Handlers.


on_event = marker("__marked__")


def test_annotations_are_found_where_the_class_is_defined() -> None:
    """With `from __future__ import annotations`, as text; behind metaclasses too."""

    class Local(Event):
        pass

    class Base(ABC, Aggregate):
        def __init_subclass__(cls, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)

    class Child(Base):
        @applies
        def local(self, event: Local) -> None:
            pass

    assert list(Child.event_classes) == ["Local"]


def test_annotations_that_are_no_text() -> None:
    class Local(Event):
        pass

    class Holder:
        pass

    def handle(self: Any, event: Any) -> None:
        pass

    handle.__annotations__ = {"event": Local}
    Holder.handle = on_event(handle)  # type: ignore[attr-defined]
    assert event_handlers(Holder, "__marked__") == {Local: handle}


def test_a_subclass_changes_a_handler() -> None:
    class First(Event):
        pass

    class Second(Event):
        pass

    class Base:
        @on_event
        def handle(self, event: First) -> None:
            pass

    class Child(Base):
        @on_event
        def handle(self, event: Second) -> None:  # type: ignore[override]
            pass

        @on_event
        def other(self, event: First) -> None:
            pass

    assert event_handlers(Child, "__marked__") == {Second: Child.handle, First: Child.other}


def test_wrong_handlers_are_refused() -> None:
    class First(Event):
        pass

    class NoEvent:
        @on_event
        def handle(self) -> None:
            pass

    class WrongType:
        @on_event
        def handle(self, event: int) -> None:
            pass

    class Unknown:
        @on_event
        def handle(self, event: Nobody) -> None:  # type: ignore[name-defined]  # noqa: F821
            pass

    class Broken:
        @on_event
        def handle(self, event: First.nobody) -> None:  # type: ignore[name-defined]
            pass

    class Base:
        @on_event
        def handle(self, event: First) -> None:
            pass

    class Unmarked(Base):
        def handle(self, event: First) -> None:
            pass

    for bad in (NoEvent, WrongType, Unknown, Broken, Unmarked):
        with pytest.raises(SchemaError, match="handle"):
            event_handlers(bad, "__marked__")

    class Twice(Base):
        @on_event
        def again(self, event: First) -> None:
            pass

    with pytest.raises(RegistrationError, match="handle and again"):
        event_handlers(Twice, "__marked__")


# Columns.


def test_columns() -> None:
    class Model(BaseModel):
        a: int
        b: float | None
        c: datetime
        d: Decimal = Decimal(0)

    assert columns_of(Model) == {
        "a": "bigint not null",
        "b": "double",
        "c": "timestamptz not null",
        "d": "decimal(38,10) not null",
    }


@pytest.mark.parametrize("kind", [list[int], Any, int | str, Colour, None, bytes], ids=repr)
def test_what_no_column_stands_for_is_refused(kind: Any) -> None:
    Model = type("Model", (BaseModel,), {"__annotations__": {"x": kind}, "__module__": __name__})  # noqa: N806
    with pytest.raises(SchemaError, match=r"Model\.x"):
        columns_of(Model)


@pytest.mark.parametrize(
    ("name", "snake"),
    [("Order", "order"), ("HTTPServerError", "http_server_error"), ("A1B", "a1_b"), ("x", "x")],
)
def test_snake_case(name: str, snake: str) -> None:
    assert snake_case(name) == snake


class Simple(Event):
    b: str
    a: str | None = None
    number: int = 0
    yes: bool = True


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT, st.none() | TEXT, st.integers(-(2**80), 2**80), st.booleans())
def test_plain_events_are_written_as_all_others_are(
    b: str, a: str | None, number: int, yes: bool
) -> None:
    event = Simple(b=b, a=a, number=number, yes=yes)
    assert encode(event).data == canonical_json(event.model_dump(mode="json"))


class Loud(Event):
    word: Annotated[str, PlainSerializer(str.upper)]


class Quiet(Event):
    word: str
    left_out: str = Field(default="x", exclude=True)


class Open(Event, extra="allow"):
    word: str


class Own(Event):
    word: str

    @field_serializer("word")
    def longer(self, word: str) -> str:
        return word * 2


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (Loud(word="a"), {"word": "A"}),
        (Quiet(word="a"), {"word": "a"}),
        (Open(word="a", more=1), {"word": "a", "more": 1}),
        (Own(word="a"), {"word": "aa"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_serializer_of_ones_own_is_not_passed_by(event: Event, data: dict[str, Any]) -> None:
    assert parse_json(encode(event).data) == data


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(InputError, match="surrogates"):
        encode(Simple(b="\ud800"))


class Tagged(Event, tags=("b",)):
    b: str


class Bare(Event):
    pass


@given(
    st.lists(
        st.one_of(
            st.builds(
                Simple, b=TEXT | st.sampled_from(["},{", "a\nb", '"},{"']), number=st.integers()
            ),
            st.builds(Tagged, b=st.text("abc")),
            st.builds(
                Odd,
                sum=st.decimals(allow_nan=False, allow_infinity=False),
                words=st.just({"a", "b"}),
            ),
            st.builds(Bare),
            st.builds(NewEvent, st.just("New"), st.dictionaries(TEXT, st.integers())),
            st.builds(encode, st.builds(Bare)),
        ),
        min_size=1,
    )
)
def test_many_events_are_encoded_as_each_of_them_is(events: list[Any]) -> None:
    assert list(zip(*encode_all(events), strict=True)) == list(map(encoded, events))


def test_an_event_whose_values_are_in_another_order_is_written_in_the_order_of_names() -> None:
    events = [Simple(b="x"), Simple.model_construct(yes=False, number=1, a="a", b="x")]
    assert encode_all(events)[4] == [encode(event).data for event in events]


def test_of_many_events_the_one_that_is_wrong_is_named() -> None:
    with pytest.raises(LimitError, match="Simple has 1,2"):
        encode_all([Simple(b="x"), Simple(b="y" * 1_200_000)])
    with pytest.raises(InputError, match="surrogates"):
        encode_all([Simple(b="x"), Simple(b="\ud800")])
    with pytest.raises(InputError, match="not int: 7"):
        encode_all([Simple(b="x"), 7])  # type: ignore[list-item]
