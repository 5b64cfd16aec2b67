"""Event classes, their type names and tags; metadata; queries; stream ids."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from eslab import Event, InputError, LimitError, Metadata, Query, QueryItem, SchemaError
from eslab.events import category_of, check_stream_id, type_name


class Placed(Event, tags=("order_id", "region")):
    order_id: str
    region: int


class Renamed(Event, type="OldName", schema_version=3, tags="x"):
    x: int


def test_the_class_says_what_is_stored() -> None:
    assert (Placed.event_type, Placed.schema_version) == ("Placed", 1)
    assert (Renamed.event_type, Renamed.schema_version) == ("OldName", 3)
    assert Placed(order_id="o-1", region=3).event_tags() == ("order_id:o-1", "region:3")
    assert Renamed(x=1).event_tags() == ("x:1",)
    assert type_name(Renamed) == "OldName"
    assert type_name("Any") == "Any"


def test_a_subclass_has_a_name_and_a_version_of_its_own() -> None:
    class Special(Renamed):
        pass

    assert (Special.event_type, Special.schema_version, Special.tag_fields) == ("Special", 1, ())


def test_events_are_frozen_and_know_their_fields() -> None:
    event = Renamed(x=1)
    with pytest.raises(ValidationError, match="frozen"):
        event.x = 2  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Renamed(x=1, y=2)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "arguments",
    [
        {"type": ""},
        {"type": 5},
        {"schema_version": 0},
        {"schema_version": True},
        {"schema_version": "2"},
        {"tags": ("nobody",)},
        {"tags": "nobody"},
    ],
    ids=repr,
)
def test_wrong_class_arguments_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(SchemaError):
        type("Bad", (Event,), {"__module__": __name__}, **arguments)


@pytest.mark.parametrize("bad", ["", "a\tb", "a\x00", "a\x7f", "\ud800", None, 5, b"a"])
def test_what_no_stream_is_called(bad: str) -> None:
    with pytest.raises(InputError):
        check_stream_id(bad)


def test_the_length_of_a_stream_id() -> None:
    assert check_stream_id("é" * 255) == "é" * 255
    with pytest.raises(LimitError, match="256"):
        check_stream_id("x" * 256)


@pytest.mark.parametrize(
    ("stream_id", "category"), [("order-1", "order"), ("a-b-c", "a"), ("alone", "alone"), ("-", "")]
)
def test_categories(stream_id: str, category: str) -> None:
    assert category_of(stream_id) == category


def test_metadata_comes_back() -> None:
    metadata = Metadata(correlation_id="c", actor="Ann", extra={"why": [1, None]})
    assert metadata.to_dict() == {"correlation_id": "c", "actor": "Ann", "why": [1, None]}
    assert Metadata.from_dict(metadata.to_dict()) == metadata
    assert Metadata.from_dict({}) == Metadata()
    with pytest.raises(InputError, match="actor"):
        Metadata(extra={"actor": "x"}).to_dict()


def test_queries() -> None:
    query = Query.of(types=[Placed, "B"], tags=["x:1"]) | Query.of(tags=["y:1", "y:2"])
    assert query.matches("Placed", ("x:1", "z"))
    assert query.matches("B", ("x:1",))
    assert not query.matches("B", ())
    assert not query.matches("C", ("x:1", "y:1"))
    assert query.matches("C", ("y:2", "y:1"))
    assert not Query(()).matches("A", ())
    assert Query((QueryItem(),)).matches("A", ())
