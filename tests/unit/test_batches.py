"""Events that are decoded many at once are those that are decoded one by one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from event_types import DECODED, EXACT, class_of
from event_values import STORED, VALUES
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic_core import core_schema

from eslab import Event, SchemaError
from eslab.events import EventBatch
from eslab.schema import canonical_json, encode, parse_json
from eslab.schema.batches import decode_batch
from eslab.schema.codec import event_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = {**EXACT, **DECODED}


def batch_of(cls: type[Event], texts: list[str]) -> EventBatch:
    places = range(1, len(texts) + 1)
    names, versions = [cls.event_type] * len(texts), [1] * len(texts)
    return EventBatch(
        places, ["s-1"] * len(texts), places, names, versions, texts, [NOW] * len(texts)
    )


def one_by_one(cls: type[Event], text: str) -> Any:
    try:
        return event_of(cls, parse_json(text), schema_version=1)
    except ValueError:
        return None


@pytest.mark.parametrize("kind", VALUES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_values(kind: str, data: st.DataObject) -> None:
    cls = class_of(KINDS[kind][0])
    events = [cls(x=value) for value in data.draw(st.lists(VALUES[kind], max_size=4, min_size=1))]
    texts = [encode(event).data for event in events]
    assert decode_batch(batch_of(cls, texts), lambda _: cls) == [
        one_by_one(cls, text) for text in texts
    ]


@pytest.mark.parametrize("kind", VALUES)
@settings(max_examples=60, deadline=None)
@given(data=STORED)
@example(data={"x": "nan"})
def test_whatever_somebody_stored(kind: str, data: dict[str, Any]) -> None:
    cls = class_of(KINDS[kind][0])
    text = canonical_json(data)
    expected = one_by_one(cls, text)
    try:
        (found,) = decode_batch(batch_of(cls, [text]), lambda _: cls)
    except SchemaError:
        found = None
    assert found == expected or repr(found) == repr(expected)  # what is nan is not itself


class Otherwise(int):
    """It takes one thing from JSON, and another from what JSON stands for."""

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> core_schema.CoreSchema:
        number = core_schema.int_schema()
        return core_schema.json_or_python_schema(
            json_schema=core_schema.no_info_after_validator_function(lambda n: n + 1, number),
            python_schema=number,
        )


def test_a_type_that_reads_json_in_its_own_way_is_decoded_one_by_one() -> None:
    cls = class_of(Otherwise)
    assert cls.model_validate_json('{"x":1}').x == 2  # type: ignore[attr-defined]
    assert decode_batch(batch_of(cls, ['{"x":1}'] * 2), lambda _: cls) == [cls(x=1)] * 2
