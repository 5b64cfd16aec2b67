"""Old events, new classes: renamed, grown, brought along step by step; or refused by name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eslab import (
    Aggregate,
    Event,
    InputError,
    Lab,
    MemoryStore,
    NewEvent,
    SchemaError,
    UpcastingError,
    applies,
    upcasts,
)
from eslab.aggregates import Repository
from eslab.schema import EventRegistry, Upcaster, canonical_json, check_upcasting

Data = dict[str, Any]


@upcasts(1)
def in_cents(data: Data) -> Data:
    data["cents"] = data.pop("euros") * 100
    return data


@upcasts(2)
def with_currency(data: Data) -> Data:
    return {**data, "currency": "EUR"}


class Paid(Event, schema_version=3, upcasters=[with_currency, in_cents], tags=("currency",)):
    cents: int
    currency: str


class Invoice(Aggregate):
    paid: int = 0

    @applies
    def add(self, event: Paid) -> None:
        self.paid += event.cents


OLD = [
    NewEvent("Paid", {"euros": 3}),
    NewEvent("Paid", {"cents": 250}, schema_version=2),
    NewEvent("Paid", {"cents": 5, "currency": "USD"}, schema_version=3),
]


def test_each_version_is_brought_to_the_last_one() -> None:
    with Lab(seed=7) as lab:
        lab.register(Invoice)
        lab.store.append("invoice-1", OLD)
        assert lab.load(Invoice, "1").paid == 555
        assert lab.sql("select cents, currency from paid order by position").fetchall() == [
            (300, "EUR"),
            (250, "EUR"),
            (5, "USD"),
        ]
        typed = [one.event for one in lab.typed_events()]
        assert typed == [lab.registry.decode(event) for event in lab.store.read_all()]
        stored = [(event.schema_version, event.data) for event in lab.store.read_all()]
        assert stored == [(event.schema_version, event.data) for event in OLD]


def test_a_renamed_class_reads_what_was_stored_under_the_old_name() -> None:
    class MoneyReceived(Event, type="Paid", schema_version=3, upcasters=Paid.upcasters):
        cents: int
        currency: str

    with Lab(seed=7) as lab:
        lab.store.append("invoice-1", OLD)
        lab.register(MoneyReceived)
        assert [type(one.event) for one in lab.typed_events()] == [MoneyReceived] * 3
        assert lab.sql("select sum(cents) from paid").scalar() == 555
        lab.append("invoice-1", [MoneyReceived(cents=1, currency="EUR")])
        assert [event.type for event in lab.store.read_all()] == ["Paid"] * 4


@upcasts(1)
def again(data: Data) -> Data:
    return data


@upcasts(3)
def beyond(data: Data) -> Data:
    return data


@pytest.mark.parametrize(
    ("version", "upcasters", "words"),
    [
        (2, [], "none takes version 1"),
        (3, [in_cents], "none takes version 2"),
        (3, [with_currency], "none takes version 1"),
        (3, [in_cents, with_currency, again], "two take version 1"),
        (3, [in_cents, with_currency, beyond], r"beyond: 3 -> 4.* has no place"),
        (1, [in_cents], "has no place"),
        (2, [lambda data: data], "decorated with @upcasts"),
    ],
)
def test_a_gap_is_refused_and_nothing_is_registered(
    version: int, upcasters: list[Any], words: str
) -> None:
    class Broken(Event, schema_version=version, upcasters=upcasters):
        pass

    with Lab(seed=7) as lab:
        with pytest.raises(SchemaError, match=words):
            lab.append("a-1", [Broken()])
        assert ("Broken" in lab.registry, lab.store.head()) == (False, 0)


def test_a_class_that_is_defined_anew_replaces_the_old_steps() -> None:
    def paid(factor: int) -> type[Event]:
        @upcasts(1)
        def multiplied(data: Data) -> Data:
            return {"cents": data["euros"] * factor}

        class Paid(Event, schema_version=2, upcasters=[multiplied]):
            cents: int

        return Paid

    class Total(Aggregate):
        cents: int = 0

        @applies
        def add(self, event: Paid) -> None:
            self.cents += event.cents

    with MemoryStore() as store:
        store.append("total-1", OLD[:1])
        registry = EventRegistry()
        repository = Repository(store, registry)
        repository.register(Total)
        for factor in (100, 50):
            registry = EventRegistry(paid(factor))
            assert registry.decode(next(store.read_all())).cents == 3 * factor  # type: ignore[attr-defined]


def raises(data: Data) -> Data:
    raise RuntimeError("no idea")


RUBBISH: dict[str, tuple[Callable[[Data], Any], str]] = {
    "None": (lambda data: None, "returned None: return the data"),
    "no dict": (lambda data: [data], r"returned \[\{'euros': 3\}\]"),
    "no JSON": (lambda data: {"at": {1, 2}}, "what it returned.at is a set"),
    "NaN": (lambda data: {"x": float("nan")}, "no NaN"),
    "a key": (lambda data: {"nobody": data["nobody"]}, "KeyError"),
    "an error": (raises, "RuntimeError: no idea"),
}


@pytest.mark.parametrize(("function", "words"), RUBBISH.values(), ids=RUBBISH)
def test_rubbish_is_named_with_the_event_and_the_step(
    function: Callable[[Data], Any], words: str
) -> None:
    class Odd(Event, type="Paid", schema_version=2, upcasters=[Upcaster(function, 1)]):
        cents: int

    with Lab(seed=7) as lab:
        lab.register(Odd)
        lab.store.append("invoice-1", OLD[:1])
        for read in (
            lambda: list(lab.typed_events()),
            lambda: list(map(lab.registry.decode, lab.store.read_all())),
        ):
            with pytest.raises(UpcastingError, match=words) as caught:
                read()
            assert "<Paid invoice-1 v1 @1>" in str(caught.value)
            assert ": 1 -> 2>" in str(caught.value)
        assert lab.store.head() == 1


def test_an_upcaster_cannot_change_what_was_stored() -> None:
    with MemoryStore() as store:
        store.append("invoice-1", [NewEvent("Deep", {"inside": {"euros": 3}})])
        (stored,) = store.read_all()
        before = copy.deepcopy(stored.data)

        @upcasts(1)
        def changes(data: Data) -> Data:
            data["inside"]["euros"] = 0
            return data

        class Deep(Event, schema_version=2, upcasters=[changes]):
            inside: Data

        assert EventRegistry(Deep).decode(stored) == Deep(inside={"euros": 0})
        assert stored.data == before


def test_steps_share_nothing() -> None:
    kept: Data = {"inside": {"euros": 1}}

    @upcasts(1)
    def gives(data: Data) -> Data:
        return kept

    @upcasts(2)
    def changes(data: Data) -> Data:
        data["inside"]["euros"] += 1
        return data

    class Deep(Event, schema_version=3, upcasters=[gives, changes]):
        inside: Data

    with MemoryStore() as store:
        store.append("invoice-1", [NewEvent("Deep", {})] * 2)
        decoded = [EventRegistry(Deep).decode(event) for event in store.read_all()]
    assert decoded == [Deep(inside={"euros": 2})] * 2
    assert kept == {"inside": {"euros": 1}}


def test_an_event_of_a_newer_version_is_refused() -> None:
    with Lab(seed=7) as lab:
        lab.register(Paid)
        lab.store.append("invoice-1", [NewEvent("Paid", {"x": 1}, schema_version=4)])
        with pytest.raises(SchemaError, match=r"version 4, and Paid knows versions up to 3"):
            list(lab.typed_events())


@pytest.mark.parametrize("bad", [0, -1, "1", True, None])
def test_what_no_step_can_be(bad: Any) -> None:
    with pytest.raises(InputError, match="number from 1"):
        upcasts(bad)
    with pytest.raises(InputError, match="number from 1"):
        upcasts(1, revision=bad)
    with pytest.raises(InputError, match="function"):
        upcasts(1)(bad)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_steps_are_taken_in_their_order_from_the_stored_version(
    factors: list[int], data: st.DataObject
) -> None:
    steps = [
        Upcaster(lambda held, factor=factor: {"x": held["x"] * 10 + factor}, version)
        for version, factor in enumerate(factors, start=1)
    ]
    shuffled = data.draw(st.permutations(steps))

    class Counted(Event, schema_version=len(factors) + 1, upcasters=shuffled):
        x: int

    stored = data.draw(st.integers(1, len(factors) + 1))
    with MemoryStore() as store:
        store.append("a-1", [NewEvent("Counted", {"x": 0}, schema_version=stored)])
        event = EventRegistry(Counted).decode(next(store.read_all()))
    assert event.x == int("0" + "".join(map(str, factors[stored - 1 :])))  # type: ignore[attr-defined]


# The whole log.


class Other(Event):
    x: int


def test_everything_stored_is_read_and_what_cannot_be_is_listed() -> None:
    with Lab(seed=7) as lab:
        lab.register(Paid, Other)
        assert lab.check_upcasting().ok
        lab.store.append("invoice-1", OLD)
        lab.append("other-1", [Other(x=x) for x in range(1_500)])
        lab.store.append("strange-1", [NewEvent("Strange", {})] * 2)
        report = lab.check_upcasting(progress=False)
        assert report.ok
        assert report.read == {("Other", 1): 1_500, ("Paid", 1): 1, ("Paid", 2): 1, ("Paid", 3): 1}
        assert report.unknown == {"Strange": 2}
        assert "1,503 events can be read, 0 cannot; 2 of types" in repr(report)

        lab.store.append("other-2", [NewEvent("Other", {"x": "<b>"})] * 120)
        lab.store.append("invoice-2", [NewEvent("Paid", {})])
        lab.store.flush()
        report = lab.check_upcasting(progress=False)
        assert (report.ok, report.unread, len(report.unreadable)) == (False, 121, 100)
        first = report.unreadable[0]
        assert (first.position, first.stream_id, first.type) == (1_506, "other-2", "Other")
        assert "x: Input should be a valid integer" in first.reason
        assert report.read["Other", 1] == 1_500
        assert "the first 100 are listed" in repr(report)
        assert "<b>" not in report._repr_html_()
        assert "&lt;b&gt;" in report._repr_html_()


def test_the_report_counts_as_its_batches_go_by() -> None:
    with Lab(seed=7) as lab:
        lab.register(Paid)
        lab.append("invoice-1", [Paid(cents=1, currency="EUR")] * 2_500)
        told: list[int] = []
        check_upcasting(lab.store.read_batches(), lab.registry, report=told.append)
        assert sum(told) == 2_500
        assert len(told) > 1


# The catalogue.


def test_the_catalogue_is_json_schema_of_what_is_stored() -> None:
    with Lab(seed=7) as lab:
        lab.register(Paid, Invoice)
        document = lab.catalogue()
        jsonschema.Draft202012Validator.check_schema(document)
        paid = document["$defs"]["Paid"]
        lab.append("invoice-1", [Paid(cents=1, currency="EUR")])
        validator = jsonschema.Draft202012Validator(paid)
        validator.validate(next(lab.store.read_all()).data)
        with pytest.raises(jsonschema.ValidationError):
            validator.validate({"cents": "one"})
        about = paid["x-event"]
        assert (about["schema_version"], about["table"]) == (3, "paid")
        assert about["tags"] == ["currency"]
        assert [step["version"] for step in about["upcasters"]] == [2, 1]
    once, again = EventRegistry(Paid, Other), EventRegistry(Other, Paid)
    assert canonical_json(once.catalogue()) == canonical_json(again.catalogue())
