"""Types of fields, each with the column that stands for it: what the tests of columns share."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

from pydantic import (
    UUID4,
    AfterValidator,
    AnyUrl,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NaiveDatetime,
    PlainValidator,
    PositiveInt,
    RootModel,
    StringConstraints,
    create_model,
    model_validator,
)

from eslab import Event


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(Enum):
    ONE = 1
    WORD = "word"


class Line(BaseModel):
    item: str
    price: Decimal | None = None


class Tree(BaseModel):
    name: str
    below: list[Tree] = []


class Ordered(BaseModel):
    low: int
    high: int

    @model_validator(mode="after")
    def in_order(self) -> Ordered:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: int


class Capitals(BaseModel):
    a: int
    A: int


class Empty(BaseModel):
    pass


class Trimmed(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)
    x: str


class Names(RootModel[list[str]]):
    pass


class Pair(NamedTuple):
    x: int
    y: int


@dataclass
class Plain:
    x: int


@dataclass
class Doubled:
    x: int

    def __post_init__(self) -> None:
        self.x *= 2


class Money:
    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(
            lambda text: cls(), core_schema.str_schema()
        )


LINE = 'struct("item" varchar, "price" decimal(38,10))'

EXACT = {
    "bool": (bool, "boolean"),
    "int": (int, "bigint"),
    "positive": (PositiveInt, "bigint"),
    "float": (float, "double"),
    "finite": (FiniteFloat, "double"),
    "str": (str, "varchar"),
    "short": (Annotated[str, StringConstraints(min_length=1, max_length=3)], "varchar"),
    "date": (date, "date"),
    "time": (time, "time"),
    "datetime": (datetime, "timestamptz"),
    "aware": (AwareDatetime, "timestamptz"),
    "naive": (NaiveDatetime, "timestamp"),
    "timedelta": (timedelta, "bigint"),
    "uuid": (UUID, "uuid"),
    "bytes": (bytes, "blob"),
    "decimal": (Decimal, "decimal(38,10)"),
    "price": (Annotated[Decimal, Field(max_digits=10, decimal_places=2)], "decimal(10,2)"),
    "places": (Annotated[Decimal, Field(decimal_places=2)], "decimal(38,2)"),
    "digits": (Annotated[Decimal, Field(max_digits=5)], "decimal(10,5)"),
    "huge": (Annotated[Decimal, Field(max_digits=30)], "decimal(38,10)"),
    "fraction": (Annotated[Decimal, Field(max_digits=4, decimal_places=4)], "decimal(4,4)"),
    "enum": (Colour, "varchar"),
    "number": (Level, "bigint"),
    "literal": (Literal["a", "b"], "varchar"),
    "list": (list[int], "bigint[]"),
    "tuple": (tuple[float, ...], "double[]"),
    "set": (set[str], "varchar[]"),
    "frozenset": (frozenset[date], "date[]"),
    "deque": (deque[int], "bigint[]"),
    "optional": (int | None, "bigint"),
    "gaps": (list[int | None], "bigint[]"),
    "dict": (dict[str, Decimal], "map(varchar, decimal(38,10))"),
    "mapping": (Mapping[str, int], "map(varchar, bigint)"),
    "any": (Any, "json"),
    "payload": (dict[str, Any], "json"),
    "bare": (dict, "json"),
    "nested": (Line, LINE),
    "lines": (list[Line], f"{LINE}[]"),
    "lots": (dict[str, list[Line | None]], f"map(varchar, {LINE}[])"),
}
"""Types that SQL may convert, and their columns."""

DECODED = {
    "checked": (Annotated[int, AfterValidator(abs)], "bigint"),
    "uuid4": (UUID4, "uuid"),
    "pattern": (Annotated[str, StringConstraints(pattern="a+")], "varchar"),
    "strict": (Annotated[int, Field(strict=True)], "bigint"),
    "multiple": (Annotated[int, Field(multiple_of=3)], "bigint"),
    "alias": (Annotated[int, Field(alias="other")], "bigint"),
    "some": (Annotated[list[int], Field(min_length=1)], "bigint[]"),
    "decimals": (set[Decimal], "decimal(38,10)[]"),
    "trimmed": (Trimmed, 'struct("x" varchar)'),
    "union": (int | str, "json"),
    "either": (Line | int | None, "json"),
    "pair": (tuple[int, str], "json"),
    "named": (Pair, "json"),
    "numbers": (dict[int, str], "json"),
    "mixed": (Mixed, "json"),
    "url": (AnyUrl, "json"),
    "money": (Money, "json"),
    "validated": (Annotated[Any, PlainValidator(str)], "json"),
    "items": (list[Annotated[int, AfterValidator(abs)]], "json[]"),
    "sequence": (Sequence[int], "json"),
    "tree": (Tree, 'struct("name" varchar, "below" json[])'),
    "ordered": (Ordered, 'struct("low" bigint, "high" bigint)'),
    "ranges": (list[Ordered | None], 'struct("low" bigint, "high" bigint)[]'),
    "open": (Open, "json"),
    "capitals": (Capitals, "json"),
    "empty": (Empty, "json"),
    "root": (Names, "json"),
    "dataclass": (Plain, "json"),
    "doubled": (Doubled, "json"),
}
"""Types that only their class can decode, and their columns."""


def class_of(kind: Any, name: str = "Happened") -> type[Event]:
    """Return an event class with one field, called x, of a type."""
    return create_model(name, __base__=Event, x=(kind, ...))
