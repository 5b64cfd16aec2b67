"""Exports: tests that run and can fail, JSON and CloudEvents that are the same events again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import event_types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, ConfigDict, Field

from eslab import (
    Aggregate,
    Command,
    Decider,
    DomainError,
    Event,
    InputError,
    Lab,
    MemoryStore,
    Metadata,
    MissingDependencyError,
    NewEvent,
    RecordedEvent,
    applies,
)
from eslab.interop import cloudevents
from eslab.interop.cloudevents import events_from_cloudevents, events_to_cloudevents
from eslab.interop.plain_json import events_from_json, events_to_json
from eslab.replay.source_code import SourceCode, text_code
from eslab.simulation.scenarios import accounts

# Values as source.


class Colour(Enum):
    RED = "red"


class Bits(Flag):
    A = 1
    B = 2


class Pair(NamedTuple):
    left: int
    right: str


class Model(BaseModel):
    name: str
    inner: dict[str, list[Decimal]] = {}


class Aliased(BaseModel):
    kind: str = Field(alias="from")
    at: AnyUrl | None = None


class Odd(BaseModel):
    model_config = ConfigDict(extra="allow")


TEXTS = st.text(max_size=20)
FINITE = st.decimals(allow_nan=False, allow_infinity=False)
MOMENTS = st.datetimes(timezones=st.just(UTC)) | st.datetimes()
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    TEXTS,
    st.binary(max_size=9),
    st.decimals(allow_nan=False),
    st.uuids(),
    MOMENTS,
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.sampled_from([Colour.RED, Bits.A, Bits.A | Bits.B, *event_types.Level]),
    st.builds(Pair, st.integers(), TEXTS),
    st.builds(event_types.Plain, st.integers()),
    st.builds(event_types.Names, st.lists(TEXTS)),
    st.builds(Model, name=TEXTS, inner=st.dictionaries(TEXTS, st.lists(FINITE))),
    st.builds(lambda kind: Aliased(**{"from": kind}), TEXTS),
    st.just(Aliased(**{"from": "a", "at": "http://a.example/"})),
    st.builds(lambda name: Odd(**{name: 1}), st.sampled_from(["a", "class", "no name", "é"])),
)
HASHABLE = st.one_of(st.integers(), TEXTS, st.uuids(), st.frozensets(TEXTS, max_size=3))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.sets(HASHABLE, max_size=4),
        st.frozensets(HASHABLE, max_size=4),
        st.dictionaries(HASHABLE, inner, max_size=4),
    ),
    max_leaves=12,
)


def evaluated(code: SourceCode, text: str) -> Any:
    names: dict[str, Any] = {}
    exec("\n".join(code.imports()), names)
    return eval(text, names)


@settings(deadline=None)
@given(VALUES)
def test_source_evaluates_to_the_value(value: Any) -> None:
    code = SourceCode()
    written = code.value(value)
    assert evaluated(code, code.flat(written)) == value
    laid_out = code.laid_out(written, indent=4)
    assert evaluated(code, laid_out) == value
    for line in laid_out.split("\n"):
        # What is too long is one text, or number, which cannot be broken.
        assert len(line) <= 100 or line.count(",") <= 1 or '"' in line or "'" in line


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("it's", '"it\'s"'),
        ('a "b"', "'a \"b\"'"),
        ("'\"", '"\'\\""'),
        ('\'""', "'\\'\"\"'"),
        ("\n\\", '"\\n\\\\"'),
        (b"a", 'b"a"'),
        (set(), "set()"),
        (frozenset({1}), "frozenset({1})"),
        ((1,), "(1,)"),
        (float("inf"), 'float("inf")'),
        (timedelta(days=1, microseconds=2), "timedelta(days=1, microseconds=2)"),
        (timedelta(0), "timedelta()"),
        (date(2026, 1, 2), 'date.fromisoformat("2026-01-02")'),
        (time(1, 2), 'time.fromisoformat("01:02:00")'),
        (UUID(int=1), 'UUID("00000000-0000-0000-0000-000000000001")'),
        (Colour.RED, "Colour.RED"),
    ],
)
def test_source_is_what_a_person_would_write(value: Any, source: str) -> None:
    code = SourceCode()
    assert code.flat(code.value(value)) == source


@pytest.mark.parametrize("value", [object(), print, [1, {2: object()}], range(3)])
def test_what_has_no_source_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="cannot be written as Python"):
        SourceCode().value(value)


def test_names_that_are_taken_are_called_otherwise() -> None:
    code = SourceCode()
    code.reserve("Colour")
    assert code.known_as(Colour) == "Colour_2"
    assert code.known_as(event_types.Colour) == "Colour_3"
    assert code.known_as(Colour) == "Colour_2"
    assert code.imports() == [
        "from event_types import Colour as Colour_3",
        f"from {__name__} import Colour as Colour_2",
    ]


def test_a_class_that_no_module_has_is_told() -> None:
    class Local(Event):
        pass

    code = SourceCode()
    assert code.known_as(Local) == "Local"
    assert code.imports() == [
        "# These have no module yet: write down where you have put them.",
        "from your_module import Local",
    ]
    named = SourceCode(module="shop.events")
    named.known_as(Local)
    assert named.imports() == ["from shop.events import Local"]


@pytest.mark.parametrize("module", ["", "my shop", "shop.", "shop.class", "1", "a\nb"])
def test_a_name_that_no_module_can_have_is_refused(module: str) -> None:
    with pytest.raises(InputError, match="module is the name of one"):
        SourceCode(module=module)


def test_text_is_quoted() -> None:
    assert text_code("a") == '"a"'


# Tests that run.

SHOP = """
from decimal import Decimal
from eslab import Aggregate, Command, DomainError, Event, applies, handles

class Placed(Event):
    price: Decimal
    lines: list[str] = []

class Cancelled(Event):
    why: str

class Place(Command):
    order_id: str
    price: Decimal

class Cancel(Command):
    order_id: str
    why: str

class Order(Aggregate):
    status: str = "new"
    total: Decimal = Decimal(0)
    @handles
    def place(self, command: Place) -> None:
        if self.status != "new":
            raise DomainError("it was (placed) already.")
        self.record(Placed(price=command.price))
    @handles
    def cancel(self, command: Cancel) -> None:
        if self.status == "placed":
            self.record(Cancelled(why=command.why))
    @applies
    def placed(self, event: Placed) -> None:
        self.status, self.total = "placed", event.price
    @applies
    def cancelled(self, event: Cancelled) -> None:
        self.status = "cancelled"
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give a module of somebody's own."""
    (tmp_path / "shop_of_a_test.py").write_text(SHOP)
    monkeypatch.syspath_prepend(tmp_path)
    import shop_of_a_test

    yield shop_of_a_test
    del sys.modules["shop_of_a_test"]


def exported_by(shop: Any) -> str:
    """Return what a branch exports on which commands are carried out, refused, or do nothing."""
    with Lab(seed=7) as lab:
        lab.register(shop.Order)
        lab.execute(shop.Place(order_id="o-1", price=Decimal("1.50")))
        branch = lab.branch()
        with pytest.raises(DomainError):
            branch.execute(shop.Place(order_id="o-1", price=Decimal(2)))
        branch.execute(shop.Cancel(order_id="o-1", why="\"late\"\n'so'"))
        branch.execute(shop.Cancel(order_id="o-1", why="again"))
        branch.execute(shop.Place(order_id="o-2", price=Decimal(3)))
        return branch.export("test")


def test_an_exported_test_passes_and_fails_when_the_code_is_changed(
    shop: Any, tmp_path: Path
) -> None:
    text = exported_by(shop)
    (tmp_path / "test_exported.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_exported.py"]
    passed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert passed.returncode == 0, passed.stdout
    assert "6 passed" in passed.stdout
    assert failures(text) == []
    changes = {
        'status = "cancelled"': 'status = "gone"',
        "why=command.why": 'why="no"',
        'self.status == "placed"': "True",
        "it was (placed) already.": "no",
        "event.price": "-event.price",
    }
    for before, after in changes.items():
        assert before in SHOP
        exec(SHOP.replace(before, after), shop.__dict__)
        assert failures(text), before


def failures(text: str) -> list[str]:
    """Return the names of the tests that fail, of those that were exported."""
    names: dict[str, Any] = {}
    exec(text, names)
    failed = []
    for name, value in names.items():
        if name.startswith("test_"):
            try:
                value()
            except AssertionError:
                failed.append(name)
    return failed


def test_an_exported_test_is_formatted(shop: Any, tmp_path: Path) -> None:
    pytest.importorskip("ruff")
    others = "lint.isort.known-third-party = ['shop_of_a_test']"
    (tmp_path / "test_exported.py").write_text(exported_by(shop))
    for command in (["format", "--check"], ["check", "--select", "E,F,I,W", "--config", others]):
        options = [*command, "--line-length", "100", "test_exported.py"]
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_a_test_says_given_when_then() -> None:
    with Lab(seed=7) as lab:
        lab.register(accounts.account)
        branch = lab.branch()
        branch.execute(accounts.OpenAccount(account_id="a-1", owner="Ann"))
        branch.execute(accounts.Deposit(account_id="a-1", amount=30))
        text = branch.export("test")
    assert (
        "def test_account_a_1_deposit() -> None:\n"
        """\
    before = given(AccountOpened(owner="Ann", limit=0), of=account, id="a-1")
    outcome = before.when(Deposit(account_id="a-1", amount=30, reference=""))
    outcome.then(MoneyDeposited(amount=30, reference=""))
    outcome.then_state(AccountState(status="open", owner="Ann", balance=30, limit=0))
""" in text.replace("amount=30))", 'amount=30, reference=""))', 1)
    )
    assert text.count("def test_") == 3


class Heard(Event):
    what: str


class Hear(Command):
    ear_id: str


class Ear(Aggregate):
    last: str = ""
    thing: object = None

    @applies
    def heard(self, event: Heard) -> None:
        if event.what == "no":
            raise ValueError("no")
        self.last, self.thing = event.what, object()


def test_what_cannot_be_told_as_a_test() -> None:
    with Lab(seed=7) as lab:
        lab.append("ear-1", [Heard(what="yes")])
        with pytest.raises(InputError, match="no aggregate is registered for 'ear-1'"):
            lab.export("test")
        lab.register(Ear)
        text = lab.export("test")
        assert "    # thing is left out: it cannot be written as Python." in text
        assert 'outcome.then_state(last="yes")' in text
        lab.append("ear-2", [Heard(what="no")])
        with pytest.raises(InputError, match=r"'ear-2' cannot be told .*@2> cannot be.*ValueError"):
            lab.export("test")
        assert "ear_2" not in lab.export("test", until=1)
        lab.append("nose-1", [Heard(what="yes")])
        with pytest.raises(InputError, match="for 'nose-1'"):
            lab.export("test", streams=["ear-1", "nose-1"])
        assert "nose" not in lab.export("test", streams="ear-1")
    with (
        Lab(seed=7) as lab,
        pytest.raises(InputError, match="nothing here that a test could tell of"),
    ):
        lab.export("test")


def test_a_branch_tells_only_what_is_otherwise() -> None:
    with Lab(seed=7) as lab:
        lab.register(Ear)
        lab.append("ear-1", [Heard(what="a")])
        branch = lab.branch()
        branch.append("ear-2", [Heard(what="b")])
        assert branch.export("test").count("def test_") == 1
        assert branch.export("test", after=0).count("def test_") == 2
        assert branch.export("json").told == "2 events"


def test_the_state_of_a_decider_is_told_as_a_whole() -> None:
    def decide(command: Hear, state: dict[str, int]) -> None:
        return None

    def evolve(state: dict[str, int], event: Heard) -> dict[str, int]:
        return {**state, event.what: 1}

    ear = Decider(decide, evolve, {}, category="ear")
    with Lab(seed=7) as lab:
        lab.register(ear)
        lab.append("ear-1", [Heard(what="no name"), Heard(what="class")])
        text = lab.export("test")
    assert 'outcome.then_state({"no name": 1, "class": 1})' in text
    assert "from your_module import ear" in text


def test_what_a_branch_refuses_is_told_too() -> None:
    with Lab(seed=7) as lab:
        lab.register(accounts.account)
        branch = lab.branch()
        with pytest.raises(DomainError):
            branch.execute(accounts.Deposit(account_id="a-1", amount=30))
        text = branch.export("test")
        assert 'before = given(of=account, id="a-1")' in text
        assert "outcome.then_raises(DomainError, match=" in text
        assert failures(text) == []
        # What is asked on a branch of it is not asked there.
        branch.branch().execute(accounts.OpenAccount(account_id="a-1", owner="Ann"))
        assert branch.export("test") == text


@pytest.mark.parametrize("format", ["xml", "", None, ["json"]])
def test_an_unknown_format_names_the_others(format: Any) -> None:
    with Lab(seed=7) as lab, pytest.raises(InputError, match="'test', 'json', 'cloudevents'"):
        lab.export(format)


def test_what_is_exported_can_be_chosen_and_saved(tmp_path: Path) -> None:
    with Lab(seed=7) as lab:
        for name in ("a-1", "a-2", "b-1"):
            lab.append(name, [Heard(what=name), Heard(what="é\r\n<b>")])
        assert len(json.loads(lab.export("json", category="a", after=2))) == 2
        assert len(json.loads(lab.export("json", streams=["a-1", "b-1"], until=5))) == 3
        assert lab.export("json", types=[]) == "[\n\n]\n"
        with pytest.raises(InputError, match="there is no stream 'c-1' to export"):
            lab.export("json", streams="c-1")
        for options, said in (
            ({"streams": 5}, "the name of one, or several, not 5"),
            ({"source": ""}, "source is a URI"),
            ({"source": "a b"}, "source is a URI"),
        ):
            with pytest.raises(InputError, match=said):
                lab.export("cloudevents", **options)
        exported = lab.export("json", streams="a-1")
        place = exported.save(tmp_path / "a.json")
        assert place.read_bytes() == exported.encode()
        assert repr(exported).startswith("<Export of 2 events as json, ")
        assert "&lt;b&gt;" in exported._repr_html_()
        assert lab.export("json") == lab.export("json")


# The same events again.

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
PRINTABLE = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=9)

EVENTS = st.lists(
    st.tuples(
        PRINTABLE,
        st.builds(
            NewEvent,
            type=PRINTABLE,
            data=st.dictionaries(TEXTS, JSON, max_size=3),
            tags=st.lists(PRINTABLE | st.just(""), max_size=3).map(tuple),
            occurred_at=st.none() | st.datetimes(timezones=st.just(UTC)),
            metadata=st.builds(
                Metadata,
                correlation_id=st.none() | TEXTS,
                causation_id=st.none() | TEXTS,
                command_id=st.none() | TEXTS,
                actor=st.none() | TEXTS,
                traceparent=st.none() | TEXTS,
                extra=st.dictionaries(TEXTS.map(lambda key: f"x{key}"), JSON, max_size=2),
            ),
            schema_version=st.integers(1, 5),
        ),
    ),
    max_size=4,
)


def again(store: MemoryStore, events: Iterator[tuple[str, NewEvent]]) -> list[tuple[Any, ...]]:
    """Return what is recorded of events that are imported elsewhere, but for when."""
    with MemoryStore() as other:
        report = other.import_events(list(events), progress=False)
        assert report.duplicates == 0
        return list(map(kept, other.read_all()))


def kept(event: RecordedEvent) -> tuple[Any, ...]:
    return (
        event.position,
        event.stream_id,
        event.version,
        event.type,
        event.data,
        event.event_id,
        event.schema_version,
        event.tags,
        event.metadata,
        event.occurred_at,
    )


def by_json(store: MemoryStore) -> Iterator[tuple[str, NewEvent]]:
    return events_from_json(events_to_json(store.read_all()))


def by_cloudevents(store: MemoryStore) -> Iterator[tuple[str, NewEvent]]:
    return events_from_cloudevents(events_to_cloudevents(store.read_all(), source="urn:test"))


@pytest.mark.parametrize("way", [by_json, by_cloudevents])
@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_what_is_read_again_are_the_same_events(
    way: Callable[[MemoryStore], Iterator[tuple[str, NewEvent]]], events: list[tuple[str, NewEvent]]
) -> None:
    with MemoryStore() as store:
        for stream_id, event in events:
            store.append(stream_id, [event])
        assert again(store, way(store)) == list(map(kept, store.read_all()))
        # Imported where they are already they change nothing.
        assert store.import_events(list(way(store)), progress=False).events == 0


def test_cloudevents_are_what_the_specification_says() -> None:
    with Lab(seed=7) as lab:
        known = Metadata(correlation_id="c", actor="Ann", extra={"own": [1]})
        when = datetime(2026, 1, 2, tzinfo=UTC)
        lab.append("ear-1", [Heard(what="é")], metadata=known, occurred_at=when)
        (event,) = json.loads(lab.export("cloudevents"))
        (recorded,) = lab.store.read_all()
        assert event == {
            "specversion": "1.0",
            "id": str(recorded.event_id),
            "source": f"urn:uuid:{lab.store.store_id}",
            "type": "Heard",
            "subject": "ear-1",
            "time": "2026-01-02T00:00:00Z",
            "datacontenttype": "application/json",
            "data": {"what": "é"},
            "streamversion": 1,
            "position": "1",
            "schemaversion": 1,
            "recordedat": "2026-01-01T00:00:00Z",
            "correlationid": "c",
            "actor": "Ann",
            "metadata": '{"own":[1]}',
        }
        (other,) = json.loads(lab.export("cloudevents", source="https://shop.example"))
        assert other["source"] == "https://shop.example"


def test_no_attribute_of_a_cloudevent_holds_a_control_character() -> None:
    with Lab(seed=7) as lab:
        known = Metadata(actor="Ann\n", extra={"own": "\x00"})
        lab.append("ear-1", [Heard(what="\n")], metadata=known)
        (event,) = json.loads(lab.export("cloudevents"))
        attributes = [value for name, value in event.items() if name != "data"]
        assert all(str(value).isprintable() for value in attributes)
        ((_, again),) = events_from_cloudevents(lab.export("cloudevents"))
        assert again.metadata == known


FOREIGN = {
    "specversion": "1.0",
    "id": "7",
    "source": "/there",
    "type": "Heard",
    "subject": "ear-1",
    "data": {"what": "x"},
    "dataschema": None,
}


def test_a_foreign_cloudevent_has_an_id_of_its_source_and_id() -> None:
    text = json.dumps(FOREIGN)
    ((stream_id, event),) = events_from_cloudevents(text)
    assert (stream_id, event.type, event.data) == ("ear-1", "Heard", {"what": "x"})
    assert event.event_id == next(events_from_cloudevents(text))[1].event_id
    elsewhere = json.dumps([{**FOREIGN, "source": "/here"}])
    assert event.event_id != next(events_from_cloudevents(elsewhere))[1].event_id


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (events_from_json, "nope", "that is no JSON"),
        (events_from_json, "{}", "an array of objects"),
        (events_from_json, "[1]", "event 1 is none that eslab exported"),
        (events_from_json, '[{"stream_id": "a"}]', "it has no 'type'"),
        (events_from_cloudevents, "nope", "that is no JSON"),
        (events_from_cloudevents, "[1]", "CloudEvent 1 is no JSON object"),
        (events_from_cloudevents, "[{}]", "CloudEvent 1 is none"),
        (events_from_cloudevents, json.dumps({**FOREIGN, "subject": None}), "has no subject"),
        (events_from_cloudevents, json.dumps({**FOREIGN, "data": [1]}), "data is a JSON object"),
        (events_from_cloudevents, json.dumps({**FOREIGN, "time": "soon"}), "CloudEvent 1 is none"),
        (events_from_cloudevents, json.dumps({**FOREIGN, "specversion": "0.3"}), "is none"),
        (events_from_cloudevents, json.dumps({**FOREIGN, "tags": "["}), "is none"),
    ],
)
def test_what_was_not_exported_is_refused(read: Any, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        list(read(text))


def test_cloudevents_need_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudevents.core.formats.json", None)
    with pytest.raises(MissingDependencyError, match=r"eslab\[cloudevents\]"):
        cloudevents.events_to_cloudevents([], source="urn:test")
