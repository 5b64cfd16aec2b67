"""Commands and queries: to one handler each, as often as it takes, once for each id."""

from __future__ import annotations

import asyncio
import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from interrupts import Interrupt
from pydantic import BaseModel, RootModel, ValidationError

from eslab import (
    NO_STREAM,
    Aggregate,
    Command,
    CommandRevokedError,
    ConcurrencyError,
    ConsistencyToken,
    Decider,
    DomainError,
    Event,
    HandlerError,
    HandlerNotFoundError,
    IdempotencyError,
    InputError,
    Lab,
    Metadata,
    NewEvent,
    NotAuthorisedError,
    ReadQuery,
    RegistrationError,
    SchemaError,
    StreamAppend,
    applies,
    handles,
)
from eslab.aggregates import Repository
from eslab.messaging import Envelope, authorised, handling, logged, timed
from eslab.schema import encode, qualified_name


class Placed(Event):
    amount: int


class Paid(Event):
    amount: int


class Emptied(Event):
    """It has no field: as a pydantic model it can be iterated over, and gives nothing."""


class Place(Command):
    order_id: str
    amount: int


class Pay(Command, target="order"):
    order: str
    amount: int


class Order(Aggregate):
    amount: int = 0
    paid: int = 0

    @handles
    def place(self, command: Place) -> None:
        if self.amount:
            raise DomainError("placed already")
        self.record(Placed(amount=command.amount))

    @handles
    def pay(self, command: Pay) -> None:
        for _ in range(command.amount):
            self.record(Paid(amount=1))

    @applies
    def placed(self, event: Placed) -> None:
        self.amount = event.amount

    @applies
    def was_paid(self, event: Paid) -> None:
        self.paid += event.amount


class Ship(Command):
    order_ids: list[str]


class Shipped(Event):
    order_id: str


@pytest.fixture
def lab() -> Any:
    with Lab(seed=7) as opened:
        opened.register(Order)
        yield opened


PLACE = Place(order_id="1", amount=3)


# To its handler.


def test_an_aggregate_decides_and_what_it_recorded_is_appended(lab: Lab) -> None:
    token = lab.execute(PLACE)
    assert token == ConsistencyToken(lab.store.store_id, 1, 1)
    assert not token.duplicate
    token = lab.execute(Pay(order="1", amount=2))
    assert token.position == lab.store.head() == 3
    assert lab.load(Order, "1").state == {"amount": 3, "paid": 2}


def test_a_command_that_records_nothing_changes_nothing(lab: Lab) -> None:
    lab.execute(PLACE)
    id = uuid.uuid4()
    for _ in range(2):  # it is decided again
        token = lab.execute(Pay(order="1", amount=0), command_id=id)
        assert (token.position, token.duplicate, lab.store.head()) == (1, False, 1)


def test_a_refused_command_appends_nothing(lab: Lab) -> None:
    lab.execute(PLACE)
    with pytest.raises(DomainError, match="placed already"):
        lab.execute(PLACE)
    with pytest.raises(ValidationError):
        Place(order_id="1", amount="much")
    with pytest.raises(ValidationError):
        Place(order_id="1", amount=1, more=2)
    assert lab.store.head() == 1


def test_a_decider_and_a_function_handle_commands_too(lab: Lab) -> None:
    class Count(Command):
        counter_id: str

    class Counted(Event):
        pass

    def decide(command: Count, count: int) -> list[Event]:
        return [Counted()] * (count + 1)

    def evolve(count: int, event: Counted) -> int:
        return count + 1

    counter = Decider(decide, evolve, 0, category="counter")
    lab.register(counter)
    for _ in range(3):
        lab.execute(Count(counter_id="1"))
    assert lab.load(counter, "1").state == 7

    @lab.handles
    def ship(command: Ship, repository: Repository) -> list[Any]:
        ordered = [repository.load(Order, id) for id in command.order_ids]
        for order in ordered:
            order.pay(Pay(order=order.id, amount=1))
        shipped: list[Any] = [Shipped(order_id=order.id) for order in ordered]
        return [*ordered, StreamAppend("shipment-1", shipped, NO_STREAM)]

    lab.execute(PLACE)
    lab.execute(Place(order_id="2", amount=1))
    head = lab.store.head()
    token = lab.execute(Ship(order_ids=["1", "2"]))
    assert token.position == head + 4
    assert [lab.load(Order, id).paid for id in "12"] == [1, 1]
    with pytest.raises(ConcurrencyError):  # the shipment is there; nothing else is done then
        lab.execute(Ship(order_ids=["1", "2"]))
    assert lab.store.head() == head + 4
    with pytest.raises(Exception, match="order-3"):
        lab.execute(Ship(order_ids=["1", "3"]))
    assert lab.store.head() == head + 4


def test_a_function_may_append_events_of_any_form(lab: Lab) -> None:
    @lab.handles
    def ship(command: Ship) -> StreamAppend:
        return StreamAppend("shipment-1", [NewEvent("Odd", {"n": 1}), Shipped(order_id="1")])

    id = uuid.uuid4()
    assert lab.execute(Ship(order_ids=[]), command_id=id).position == 2
    assert lab.execute(Ship(order_ids=[]), command_id=id).duplicate
    assert {event.metadata.command_id for event in lab.store.read_all()} == {str(id)}


def test_what_nobody_handles_is_named(lab: Lab) -> None:
    class Unknown(Command):
        x: int

    with pytest.raises(HandlerNotFoundError, match=r"handles .*Pay, Place, and not Unknown"):
        lab.execute(Unknown(x=1))
    with pytest.raises(HandlerNotFoundError, match="Order handles Pay, Place, and not Unknown"):
        Order("1").execute(Unknown(x=1))
    for bad in ("place", None, Place, Paid(amount=1)):
        with pytest.raises(InputError, match="instance of a Command"):
            lab.execute(bad)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="UUID"):
        lab.execute(PLACE, command_id="1")  # type: ignore[arg-type]
    assert lab.store.head() == 0


def test_one_command_has_one_handler(lab: Lab) -> None:
    def place(command: Place) -> None: ...

    with pytest.raises(RegistrationError, match=r"Place is handled by .*Order already"):
        lab.handles(place)

    class Other(Aggregate):
        @handles
        def place(self, command: Place) -> None: ...

    with pytest.raises((RegistrationError, SchemaError)):
        lab.register(Other)
    assert lab.execute(PLACE).position == 1


@pytest.mark.parametrize(
    "given",
    ["events", 1, [Placed(amount=1)], Placed(amount=1), Emptied(), {"a": 1}, {}, "", [None], PLACE],
)
def test_a_handler_that_gives_something_else_is_named(lab: Lab, given: Any) -> None:
    class Odd(Command):
        odd_id: str

    @lab.handles
    def function(command: Ship) -> Any:
        return given

    class OddOne(Aggregate, category="odd"):
        @handles
        def method(self, command: Odd) -> Any:
            return given

    lab.register(OddOne)
    with pytest.raises(HandlerError, match=r"function returned .*StreamAppend"):
        lab.execute(Ship(order_ids=[]))
    with pytest.raises(HandlerError, match=r"method returned .*self\.record"):
        lab.execute(Odd(odd_id="1"))
    assert lab.store.head() == 0


@pytest.mark.parametrize("given", ["events", 1, {"a": 1}, {}, [None], [1, Emptied()], PLACE])
def test_a_decider_that_gives_something_else_is_named(lab: Lab, given: Any) -> None:
    def decide(command: Ship, state: int) -> Any:
        return given

    def evolve(state: int, event: Placed) -> int:
        return state

    odd = Decider(decide, evolve, 0, category="odd")
    with pytest.raises(HandlerError, match=r"decide gave .*return an event"):
        odd("1").execute(Ship(order_ids=[]))


def test_a_command_says_for_which_aggregate_it_is(lab: Lab) -> None:
    class Vague(Command):
        name: str

    class Box(Aggregate):
        @handles
        def fill(self, command: Vague) -> None: ...

    with pytest.raises(SchemaError, match=r"a field box_id, or .*target="):
        lab.register(Box)
    with pytest.raises(SchemaError, match="no field 'nobody'"):

        class Wrong(Command, target="nobody"):
            name: str

    class NoCommand(BaseModel):
        box_id: str

    class Crate(Aggregate, category="box"):
        @handles
        def fill(self, command: NoCommand) -> None: ...

    with pytest.raises(SchemaError, match=r"subclass of eslab\.Command"):
        lab.register(Crate)


class Code(RootModel[str]):
    def __str__(self) -> str:
        return f"code {self.root}"


class Mute(RootModel[str]):
    pass


@pytest.mark.parametrize("bad", [None, "", [], ["1"], 1.5, True, b"1", Mute("x")])
def test_an_identity_is_something_that_names(lab: Lab, bad: Any) -> None:
    class Anything(Command):
        order_id: Any

    class Box(Aggregate, category="order"):
        @handles
        def fill(self, command: Anything) -> None:
            self.record(Emptied())

        @applies
        def emptied(self, event: Emptied) -> None: ...

    lab.register(Box)
    for options in ({}, {"command_id": uuid.uuid4()}):
        with pytest.raises(InputError, match="order"):
            lab.execute(Anything(order_id=bad), **options)
    assert lab.store.head() == 0
    for good in (7, uuid.UUID(int=7), date(2026, 1, 1), "7-a", Code("x")):
        lab.execute(Anything(order_id=good))
        assert lab.load(Box, str(good)).version == 1


def test_to_load_one_takes_no_commands_from_what_is_registered(lab: Lab) -> None:
    class Wish(BaseModel):
        """A decider may take anything, where no lab is to bring it there."""

    def decide(command: Wish, amount: int) -> Placed:
        return Placed(amount=1)

    def evolve(amount: int, event: Placed | Paid) -> int:
        return amount + event.amount

    class Richer(Order, category="order"):
        pass

    lab.execute(PLACE)
    sums = Decider(decide, evolve, 0, category="order")
    assert lab.load(sums, "1").state == 3
    assert lab.load(Richer, "1").amount == 3
    assert lab.get_many(sums, ["1"])["1"].state == 3
    one = lab.find(sums, "1")
    one.execute(Wish())
    lab.save(one)
    assert lab.execute(Pay(order="1", amount=1)).position == 3
    assert lab.load(Order, "1").paid == 1


def test_what_cannot_be_registered_leaves_nothing(lab: Lab) -> None:
    class Close(Command):
        shop_id: str

    class Other(Event, type="Placed"):
        pass

    class Shop(Aggregate, ignores=[Other]):
        @handles
        def close(self, command: Close) -> None: ...

    with pytest.raises(RegistrationError, match="'Placed' is"):
        lab.register(Shop)
    with pytest.raises(HandlerNotFoundError):
        lab.execute(Close(shop_id="1"))


@pytest.mark.parametrize("bad", [1, "f", Order, Place, partial(print, 1), None])
def test_what_is_no_handler_is_refused(lab: Lab, bad: Any) -> None:
    with pytest.raises(InputError, match="takes a function"):
        lab.handles(bad)


def test_a_function_says_what_it_handles(lab: Lab) -> None:
    def nothing() -> None: ...
    def anything(command) -> None: ...  # type: ignore[no-untyped-def]
    def number(command: int) -> None: ...

    for bad in (nothing, anything, number):
        with pytest.raises(SchemaError):
            lab.handles(bad)
    with pytest.raises(SchemaError, match="a subclass of Command or ReadQuery; found None"):
        lab.handles(lambda command: None)


def test_a_function_takes_a_command_and_perhaps_the_repository(lab: Lab) -> None:
    def three(command: Ship, repository: Repository, more: int) -> None: ...
    def named(command: Ship, *, repository: Repository) -> None: ...
    def two(query: GetPaid, lab: Lab, more: int) -> None: ...
    async def later(command: Ship) -> None: ...

    for bad in (three, named, two):
        with pytest.raises(SchemaError, match=r"(three|named|two)\(.*: what (handles|answers)"):
            lab.handles(bad)
    with pytest.raises(SchemaError, match="later is async"):
        lab.handles(later)

    seen: list[Any] = []

    @lab.handles
    def rated(command: Ship, rate: float = 1.5, *more: Any, **others: Any) -> None:
        seen.append(rate)

    lab.execute(Ship(order_ids=[]))
    assert seen == [1.5]


def test_functions_of_one_name_may_handle_one_thing_each(lab: Lab) -> None:
    class Load(Command):
        pass

    seen = []

    def handler(message: Any, word: str) -> Any:
        def _(command: message) -> None:  # type: ignore[valid-type]
            seen.append(word)

        _.__annotations__["command"] = message
        return lab.handles(_)

    handler(Ship, "ship")
    handler(Load, "load")
    handler(Ship, "ship again")
    lab.execute(Ship(order_ids=[]))
    lab.execute(Load())
    assert seen == ["ship again", "load"]

    @lab.handles
    def load(command: Load) -> None:  # nobody claims that one any more
        seen.append("another")

    lab.execute(Load())
    assert seen[-1] == "another"
    with pytest.raises(RegistrationError, match=r"Load is handled by .*load already"):
        handler(Load, "too late")


class Open(Command):
    door_id: str


def test_what_an_aggregate_no_longer_handles_is_handled_no_more(lab: Lab) -> None:
    def define(*, may_open: bool) -> type[Aggregate]:
        class Door(Aggregate):
            if may_open:

                @handles
                def open(self, command: Open) -> None: ...

        return Door

    lab.register(define(may_open=True))
    lab.execute(Open(door_id="1"))
    lab.register(define(may_open=False))
    with pytest.raises(HandlerNotFoundError):
        lab.execute(Open(door_id="1"))


# Again, if others appended meanwhile.


def test_it_is_decided_again_on_what_others_appended(lab: Lab) -> None:
    seen = []

    @lab.handles
    def race(command: Ship, repository: Repository) -> Any:
        order = repository.find(Order, "1")
        seen.append(order.version)
        if len(seen) < 3:
            lab.store.append("order-1", [NewEvent("Paid", {"amount": 1})])
        order.record(Paid(amount=10))
        return order

    lab.execute(Ship(order_ids=[]))
    assert seen == [0, 1, 2]
    assert lab.load(Order, "1").paid == 12


def test_after_some_tries_it_gives_up(lab: Lab) -> None:
    seen = []

    @lab.handles
    def race(command: Ship, repository: Repository) -> Any:
        order = repository.find(Order, "1")
        seen.append(order.version)
        lab.store.append("order-1", [NewEvent("Paid", {"amount": 1})])
        order.record(Paid(amount=10))
        return order

    with pytest.raises(ConcurrencyError):
        lab.execute(Ship(order_ids=[]))
    assert seen == [0, 1, 2, 3]
    assert lab.load(Order, "1").paid == 4


def test_a_conflict_of_the_handlers_own_is_not_tried_again(lab: Lab) -> None:
    seen = []

    @lab.handles
    def ship(command: Ship) -> Any:
        seen.append(lab.append("order-1", [Paid(amount=1)]).version)
        raise ConcurrencyError("order-2", expected=0, actual=1)

    with pytest.raises(ConcurrencyError, match="order-2"):
        lab.execute(Ship(order_ids=[]))
    assert seen == [1]


def test_what_handles_a_command_sends_none(lab: Lab) -> None:
    @lab.handles
    def ship(command: Ship) -> None:
        lab.execute(PLACE)

    class Reckless(Command):
        shop_id: str

    class Shop(Aggregate):
        @handles
        def send(self, command: Reckless) -> None:
            lab.execute(PLACE)

    lab.register(Shop)
    for command in (Ship(order_ids=[]), Reckless(shop_id="1")):
        with pytest.raises(HandlerError, match=r"sent Place.*: it may be run again"):
            lab.execute(command)
    assert lab.store.head() == 0
    assert lab.execute(PLACE).position == 1


def test_one_aggregate_is_saved_once_at_a_time(lab: Lab) -> None:
    @lab.handles
    def ship(command: Ship, repository: Repository) -> Any:
        order = repository.find(Order, "1")
        order.record(Paid(amount=1))
        return [order, order]

    with pytest.raises(InputError, match=r"order 1.*|Order 1 .* is saved twice at once"):
        lab.execute(Ship(order_ids=[]))
    assert lab.store.head() == 0


def test_the_machines_clock_waits_between_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("eslab.lab.lab.time.sleep", waited.append)
    with Lab() as lab:

        @lab.handles
        def race(command: Ship, repository: Repository) -> Any:
            order = repository.find(Order, "1")
            lab.append("order-1", [Paid(amount=1)])
            order.record(Paid(amount=10))
            return order

        with pytest.raises(ConcurrencyError):
            lab.execute(Ship(order_ids=[]))
    assert len(waited) == 3
    assert all(0 <= seconds <= 0.25 for seconds in waited)


def test_what_a_command_recorded_is_not_read_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    reading = lab.store.read_stream_batches

    def noted(stream_id: str, **options: Any) -> Any:
        for batch in reading(stream_id, **options):
            read.append(stream_id)
            yield batch

    monkeypatch.setattr(lab.store, "read_stream_batches", noted)
    for command in (PLACE, Pay(order="1", amount=2), Pay(order="1", amount=1)):
        lab.execute(command)
    with pytest.raises(DomainError):
        lab.execute(PLACE)
    assert lab.load(Order, "1").state == {"amount": 3, "paid": 3}
    assert read == []
    lab.append("order-1", [Paid(amount=7)])  # behind its back
    lab.execute(Pay(order="1", amount=1))
    assert lab.load(Order, "1").paid == 11
    assert read == ["order-1"]


# Once for each id.


def test_a_command_id_makes_it_idempotent(lab: Lab) -> None:
    id = uuid.uuid4()
    lab.execute(PLACE)
    first = lab.execute(Pay(order="1", amount=2), command_id=id)
    lab.execute(Pay(order="1", amount=1))
    again = lab.execute(Pay(order="1", amount=2), command_id=id)
    assert (again, again.duplicate) == (first, True)
    assert lab.load(Order, "1").paid == 3
    with pytest.raises(IdempotencyError, match=r"used for another command.*order-2"):
        lab.execute(Place(order_id="2", amount=1), command_id=id)


def test_it_is_idempotent_across_restarts(tmp_path: Path) -> None:
    id, path = uuid.uuid4(), tmp_path / "shop.duckdb"
    tokens = []
    for _ in range(3):
        with Lab(path) as lab:
            lab.register(Order)
            tokens.append(lab.execute(PLACE, command_id=id))
    assert [token.duplicate for token in tokens] == [False, True, True]
    assert len(set(tokens)) == 1


def test_a_recorded_command_is_found_though_its_class_has_moved(lab: Lab) -> None:
    bus, data = lab._commands, PLACE.model_dump(mode="json")
    assert bus.command({"type": qualified_name(Place), "data": data}) == PLACE
    assert bus.command({"type": "shop.commands.Place", "data": data}) == PLACE
    for type in ("shop.Replace", "shop.Place.Inner"):
        with pytest.raises(HandlerNotFoundError, match=r"handles .*Pay.*Place"):
            bus.command({"type": type, "data": data})
    with pytest.raises(InputError, match=r"is no Place"):
        bus.command({"type": qualified_name(Place), "data": {"order_id": "1"}})

    class Elsewhere:
        class Place(Command):
            order_id: str

    @lab.handles
    def place(command: Elsewhere.Place) -> None:
        pass

    with pytest.raises(HandlerNotFoundError, match="Elsewhere"):  # which of the two?
        bus.command({"type": "shop.Place", "data": data})


def test_a_revoked_command_is_never_carried_out(lab: Lab) -> None:
    bus = lab._commands
    late, done = uuid.uuid4(), uuid.uuid4()
    assert bus.revoke(late)
    assert bus.revoke(late)  # as often as one likes
    for _ in range(2):
        with pytest.raises(CommandRevokedError, match="revoked before it came"):
            lab.execute(PLACE, command_id=late)
    assert lab.store.stream_version("order-1") == 0
    lab.execute(PLACE, command_id=done)
    assert not bus.revoke(done)  # it came first
    assert lab.execute(PLACE, command_id=done).duplicate


def test_either_a_command_is_carried_out_or_it_is_revoked(lab: Lab) -> None:
    bus, barrier = lab._commands, Barrier(2)
    for number in range(20):
        id, revoked = uuid.uuid4(), []

        def revoke(id: uuid.UUID = id, revoked: list[bool] = revoked) -> None:
            barrier.wait()
            revoked.append(bus.revoke(id))

        thread = Thread(target=revoke)
        thread.start()
        barrier.wait()
        try:
            lab.execute(Place(order_id=f"r{number}", amount=1), command_id=id)
            carried_out = True
        except CommandRevokedError:
            carried_out = False
        thread.join()
        assert carried_out != revoked[0]
        assert bool(lab.store.stream_version(f"order-r{number}")) == carried_out


def test_one_command_id_on_many_threads_is_one_command(lab: Lab) -> None:
    id, barrier = uuid.uuid4(), Barrier(8)
    found: list[Any] = []

    def work() -> None:
        barrier.wait()
        try:
            found.append(lab.execute(Pay(order="1", amount=3), command_id=id))
        except BaseException as error:
            found.append(error)

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {type(one) for one in found} == {ConsistencyToken}, found
    assert sorted(one.duplicate for one in found) == [False] + [True] * 7
    assert (lab.store.head(), len(set(found))) == (3, 1)


def test_a_decision_that_differs_at_the_second_try_is_still_a_duplicate(lab: Lab) -> None:
    id, tries = uuid.uuid4(), []

    @lab.handles
    def ship(command: Ship) -> Any:
        tries.append(len(tries))
        if len(tries) == 1:  # somebody else carries the same command out meanwhile
            with ThreadPoolExecutor(1) as other:
                inner = other.submit(lab.execute, command, command_id=id)
            assert not inner.result().duplicate
        return StreamAppend("shipment-1", [Shipped(order_id=f"{len(tries)}")])

    assert lab.execute(Ship(order_ids=[]), command_id=id).duplicate
    assert lab.store.head() == 1


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9, 100, 1_000])
def test_the_last_event_of_many_is_found_with_few_look_ups(
    lab: Lab, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = uuid.uuid4()
    first = lab.execute(Pay(order="1", amount=count), command_id=id)
    assert first.position == count
    found: list[uuid.UUID] = []
    find = lab.store.find
    monkeypatch.setattr(lab.store, "find", lambda id: found.append(id) or find(id))
    again = lab.execute(Pay(order="1", amount=count), command_id=id)
    assert (again, again.duplicate) == (first, True)
    assert len(set(found)) == len(found) <= 2 + 2 * count.bit_length()


def as_it_is(*events: Event) -> Any:
    return events


def as_a_generator(*events: Event) -> Any:
    return (event for event in events)


def as_encoded(*events: Event) -> Any:
    return [encode(event) for event in events]


def as_new(*events: Event) -> Any:
    return [NewEvent(event.event_type, event.model_dump()) for event in events]


@pytest.mark.parametrize("form", [as_it_is, as_a_generator, as_encoded, as_new])
def test_events_of_every_form_belong_to_the_command(lab: Lab, form: Any) -> None:
    @lab.handles
    def ship(command: Ship) -> Any:
        ids = command.order_ids
        return StreamAppend("shipment-1", form(*[Shipped(order_id=id) for id in ids]))

    id, metadata = uuid.uuid4(), Metadata(actor="Ann", extra={"tenant": "t"})
    for duplicate in (False, True):
        token = lab.execute(Ship(order_ids=["1", "2"]), command_id=id, metadata=metadata)
        assert (token.position, token.duplicate) == (2, duplicate)
    for event in lab.store.read_all():
        assert event.metadata == Metadata(
            str(id), str(id), str(id), "Ann", command_type="Ship", extra={"tenant": "t"}
        )


def test_what_an_event_says_itself_counts_more(lab: Lab) -> None:
    own = Metadata(actor="Bob", extra={"tenant": "u"})

    @lab.handles
    def ship(command: Ship) -> Any:
        new = NewEvent("Shipped", {"order_id": "1"}, metadata=own)
        return StreamAppend("shipment-1", [new, encode(Shipped(order_id="2"), metadata=own)])

    sent = Metadata(actor="Ann", extra={"tenant": "t", "shop": "s"})
    lab.execute(Ship(order_ids=[]), metadata=sent)
    for event in lab.store.read_all():
        said = event.metadata
        assert (said.actor, said.extra) == ("Bob", {"tenant": "u", "shop": "s"})
        assert said.correlation_id == said.causation_id == said.command_id is not None
        assert said.command_type == "Ship"


def test_an_event_of_a_command_with_an_id_has_none_of_its_own(lab: Lab) -> None:
    @lab.handles
    def ship(command: Ship) -> Any:
        new = NewEvent("Shipped", {"order_id": "1"}, event_id=uuid.uuid4())
        return StreamAppend("shipment-1", [Shipped(order_id="0"), new])

    with pytest.raises(InputError, match=r"Shipped has an event id of its own"):
        lab.execute(Ship(order_ids=[]), command_id=uuid.uuid4())
    assert lab.store.head() == 0


@pytest.mark.parametrize("events", [None, Emptied(), Shipped(order_id="1"), {}, "ab", 1])
def test_an_append_lists_its_events(lab: Lab, events: Any) -> None:
    @lab.handles
    def ship(command: Ship) -> Any:
        return StreamAppend("shipment-1", events)

    with pytest.raises(InputError, match="events must be a list of events"):
        lab.execute(Ship(order_ids=[]))
    with pytest.raises(InputError, match="events must be a list of events"):
        lab.append("shipment-1", events)
    assert lab.store.head() == 0


def test_ids_of_a_seeded_lab_repeat_and_never_meet_those_of_a_later_run(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"

    def run(place: Any) -> list[str | None]:
        with Lab(place, seed=7) as lab:
            lab.register(Order)
            lab.execute(Pay(order="1", amount=0))
            for _ in range(2):
                lab.execute(Pay(order="1", amount=1))
            return [event.metadata.command_id for event in lab.store.read_all()]

    assert run(":memory:") == run(":memory:")
    run(path)
    both = run(path)
    assert len(set(both)) == len(both) == 4


# What belongs together, and what it passes through.


def test_correlation_and_causation_are_filled_in(lab: Lab) -> None:
    class Outer(Command):
        x: int

    @lab.handles
    def outer(command: Outer) -> StreamAppend:
        return StreamAppend("outer-1", [Shipped(order_id="1")])

    def place(envelope: Envelope, go_on: Any) -> Any:
        if isinstance(envelope.message, Outer):
            lab.execute(PLACE)
        return go_on()

    lab.use(place)
    lab.execute(Outer(x=1), metadata=Metadata(actor="Ann", extra={"tenant": "t"}))
    inner, last = (event.metadata for event in lab.store.read_all())
    assert last.correlation_id == last.causation_id == last.command_id
    assert last.extra == {"tenant": "t"}
    assert inner.correlation_id == last.command_id
    assert inner.causation_id == inner.command_id != last.command_id
    assert (inner.actor, inner.extra) == ("Ann", {})
    lab.execute(Pay(order="1", amount=1), metadata=Metadata(correlation_id="c"))
    (paid,) = lab.store.read_all(after=2)
    assert paid.metadata.correlation_id == "c"
    with handling(paid.metadata):
        lab.execute(Pay(order="1", amount=1))
    (paid,) = lab.store.read_all(after=3)
    assert paid.metadata.correlation_id == "c"


def test_an_interrupted_command_leaves_nothing_to_the_next_one(lab: Lab) -> None:
    place, kept = 0, None
    while kept is not None or place == 0:
        place += 1
        with Interrupt(place) as interrupt:
            lab.execute(Pay(order="1", amount=1), metadata=Metadata("mine", actor="Ann"))
        kept = interrupt.raised
        head = lab.store.head()
        lab.execute(Pay(order="1", amount=1))
        (event,) = lab.store.read_all(after=head)
        assert event.metadata.actor is None, place
        assert event.metadata.correlation_id == event.metadata.command_id, place
        assert lab.load(Order, "1").paid == lab.store.head()
    assert place > 20


@pytest.mark.parametrize(
    "bad",
    [
        {"actor": "Ann"},
        "Ann",
        Metadata(command_id="1"),
        Metadata(command_type="Ship"),
        Metadata(causation_id="1"),
    ],
    ids=str,
)
def test_metadata_is_what_it_can_be(lab: Lab, bad: Any) -> None:
    with pytest.raises(InputError, match=r"is Metadata\(|command_type and causation_id out"):
        lab.execute(PLACE, metadata=bad)
    assert lab.store.head() == 0


@pytest.mark.parametrize("bad", [1, "logged", None, timed, authorised, Order])
def test_what_is_no_middleware_is_refused(lab: Lab, bad: Any) -> None:
    with pytest.raises(InputError, match="middleware is a function of an envelope and of what"):
        lab.use(logged, bad)
    assert lab.execute(PLACE).position == 1


def test_middleware_returns_what_it_was_given(lab: Lab) -> None:
    def forgetful(envelope: Envelope, go_on: Any) -> None:
        go_on()

    lab.use(forgetful)
    with pytest.raises(HandlerError, match=r"returned None for Place.*may have been carried out"):
        lab.execute(PLACE)
    assert lab.store.head() == 1


def test_middleware_is_passed_in_order_and_may_stop_a_message(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    seconds: dict[str, float] = {}

    def outside(envelope: Envelope, go_on: Any) -> Any:
        seen.append(f"before {type(envelope.message).__name__}")
        result = go_on()
        seen.append("after")
        return result

    def may(envelope: Envelope) -> bool:
        return envelope.metadata.actor == "Ann"

    lab.use(logged, timed(seconds.__setitem__), outside, authorised(may))
    with caplog.at_level(logging.INFO, "eslab.messaging"):
        lab.execute(PLACE, metadata=Metadata(actor="Ann"))
        with pytest.raises(NotAuthorisedError, match=r"Bob may not send Pay.*may refuses"):
            lab.execute(Pay(order="1", amount=1), metadata=Metadata(actor="Bob"))
        with pytest.raises(NotAuthorisedError, match="nobody"):
            lab.execute(Pay(order="1", amount=1))
        with pytest.raises(DomainError):
            lab.execute(PLACE, metadata=Metadata(actor="Ann"))
    assert seen == ["before Place", "after", "before Pay", "before Pay", "before Place"]
    assert set(seconds) == {"Place", "Pay"}
    assert all(0 <= took < 10 for took in seconds.values())
    levels = [record.levelname for record in caplog.records]
    assert levels == ["INFO", "WARNING", "WARNING", "WARNING"]
    assert "Ann" in caplog.text
    assert lab.store.head() == 1


def test_what_fails_unexpectedly_is_logged_as_it_is(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    @lab.handles
    def ship(command: Ship) -> None:
        raise ZeroDivisionError

    lab.use(logged)
    with pytest.raises(ZeroDivisionError):
        lab.execute(Ship(order_ids=[]))
    assert caplog.records[0].levelname == "ERROR"


def test_the_asynchronous_front(lab: Lab) -> None:
    async def main() -> list[ConsistencyToken]:
        await lab.execute_async(PLACE)
        pays = [lab.execute_async(Pay(order="1", amount=1)) for _ in range(3)]
        return await asyncio.gather(*pays)

    assert {token.position for token in asyncio.run(main())} == {2, 3, 4}


def test_what_no_awaitable_can_raise_is_raised_as_something_else(lab: Lab) -> None:
    @lab.handles
    def ship(command: Ship) -> None:
        next(iter(command.order_ids))

    with pytest.raises(RuntimeError, match=r"what handles Ship.* raised StopIteration"):
        asyncio.run(asyncio.wait_for(lab.execute_async(Ship(order_ids=[])), 10))


# Queries.


class GetPaid(ReadQuery):
    order_id: str


def test_a_query_is_answered_by_its_function(lab: Lab) -> None:
    @lab.handles
    def get_paid(query: GetPaid) -> int:
        return lab.load(Order, query.order_id).paid

    lab.execute(PLACE)
    lab.execute(Pay(order="1", amount=2))
    assert lab.query(GetPaid(order_id="1")) == 2

    def another(query: GetPaid) -> int:
        return 0

    with pytest.raises(RegistrationError, match=r"GetPaid is handled by .*get_paid"):
        lab.handles(another)


def test_what_nobody_answers_is_named(lab: Lab) -> None:
    with pytest.raises(HandlerNotFoundError, match="not GetPaid"):
        lab.query(GetPaid(order_id="1"))
    with pytest.raises(InputError, match="ReadQuery"):
        lab.query(PLACE)  # type: ignore[arg-type]


# In a notebook.

CELL = """
from eslab import *

class Counted(Event):
    by: int

class Count(Command):
    counter_id: str
    by: int = 1

class Counter(Aggregate):
    total: int = 0

    @handles
    def count(self, command: Count) -> None:
        self.record(Counted(by=command.by))

    @applies
    def counted(self, event: Counted) -> None:
        self.total += event.by * FACTOR

class GetTotal(ReadQuery):
    counter_id: str

lab.register(Counter)

@lab.handles
def total(query: GetTotal) -> int:
    return lab.load(Counter, query.counter_id).total

class CountTwice(Command):
    counter_id: str

@lab.handles
def twice(command: CountTwice, repository) -> list:
    counter = repository.find(Counter, command.counter_id)
    for _ in range(2):
        counter.count(Count(counter_id=command.counter_id))
    return [counter]
"""


def test_a_cell_may_be_run_again_without_an_error_or_a_double_effect() -> None:
    with Lab(seed=7) as lab:
        names = {"__name__": "__main__", "lab": lab}
        for factor in (1, 1, 10):  # the last time it folds to something else
            exec(CELL.replace("FACTOR", str(factor)), names)
            head = lab.store.head()
            lab.execute(names["Count"](counter_id="1"))  # type: ignore[operator]
            lab.execute(names["CountTwice"](counter_id="1"))  # type: ignore[operator]
            assert lab.store.head() == head + 3
            expected = lab.store.head() * factor
            assert lab.query(names["GetTotal"](counter_id="1")) == expected  # type: ignore[operator]
