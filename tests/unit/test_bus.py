"""The plain bus and its relay: every handler gets its events, whatever another one does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

import pytest

from eslab import Event, Lab, MemoryStore, NewEvent, RecordedEvent
from eslab.bus import LocalBus, Relay
from eslab.bus.journey import Journey
from eslab.bus.local import ALL


class Placed(Event):
    pass


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    with MemoryStore() as opened:
        yield opened


@pytest.fixture
def bus() -> LocalBus:
    return LocalBus()


@pytest.fixture
def relay(store: MemoryStore, bus: LocalBus) -> Relay:
    return Relay(store, bus)


def append(store: MemoryStore, *types: str) -> None:
    store.append("s-1", [NewEvent(type, {}) for type in types])


SEEN: list[str] = []


def module_handler(event: RecordedEvent) -> None:
    SEEN.append("first")


def test_handlers_get_the_types_that_they_subscribed_to(
    store: MemoryStore, bus: LocalBus, relay: Relay
) -> None:
    seen: list[tuple[str, int]] = []
    for name, type in (("one", Placed), ("two", "Placed"), ("other", "Other"), ("all", ALL)):
        bus.subscribe(type, lambda event, name=name: seen.append((name, event.position)))  # type: ignore[misc]
    append(store, "Placed", "Other", "Nobody")
    assert relay.step()
    assert seen == [
        ("one", 1),
        ("two", 1),
        ("all", 1),
        ("other", 2),
        ("all", 2),
        ("all", 3),
    ]
    assert not relay.step()
    assert repr(bus) == "LocalBus(4 handlers, 0 failures)"


def test_a_bus_counts_in_the_singular_too(bus: LocalBus) -> None:
    bus.subscribe(ALL, print)
    assert repr(bus) == "LocalBus(1 handler, 0 failures)"


def test_a_handler_that_fails_stops_no_other(
    store: MemoryStore, bus: LocalBus, relay: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []
    error = ZeroDivisionError("planted")

    def fail(event: RecordedEvent) -> None:
        raise error

    bus.subscribe(Placed, fail)
    bus.subscribe(Placed, lambda event: seen.append(event.position))
    append(store, "Placed", "Placed")
    with caplog.at_level(logging.WARNING, "eslab.bus"):
        relay.step()
    assert seen == [1, 2]
    assert [(f.event.position, f.error) for f in bus.failures] == [(1, error), (2, error)]
    assert "fail" in bus.failures[0].handler
    assert [record.exc_info and record.exc_info[1] for record in caplog.records] == [error, error]


def test_publish_counts_the_handlers_that_took_the_event(store: MemoryStore, bus: LocalBus) -> None:
    append(store, "Placed")
    (event,) = store.read_all()
    assert bus.publish(event) == 0
    bus.subscribe(Placed, lambda event: 1 / 0)
    bus.subscribe(Placed, lambda event: None)
    assert bus.publish(event) == 1


def test_a_function_that_is_defined_again_replaces_the_first(
    store: MemoryStore, bus: LocalBus, relay: Relay
) -> None:
    SEEN.clear()
    bus.subscribe(Placed, module_handler)
    namespace: dict[str, Callable[[RecordedEvent], None]] = {}
    exec(  # a cell that is run again
        "def module_handler(event):\n    SEEN.append('second')\n",
        {"SEEN": SEEN, "__name__": __name__},
        namespace,
    )
    bus.subscribe(Placed, namespace["module_handler"])
    append(store, "Placed")
    relay.step()
    assert SEEN == ["second"]


def test_lambdas_and_methods_are_told_apart_and_can_leave(
    store: MemoryStore, bus: LocalBus, relay: Relay
) -> None:
    seen: list[int] = []

    class Counter:
        def count(self, event: RecordedEvent) -> None:
            seen.append(event.position)

    one, two = Counter(), Counter()
    for handler in (one.count, two.count, one.count):
        bus.subscribe(Placed, handler)
    append(store, "Placed")
    relay.step()
    assert seen == [1, 1]
    bus.unsubscribe(Placed, one.count)
    bus.unsubscribe(Placed, one.count)
    append(store, "Placed")
    relay.step()
    assert seen == [1, 1, 2]
    bus.unsubscribe(Placed, two.count)
    assert not bus.subscribed


def test_a_handler_may_subscribe_and_append(
    store: MemoryStore, bus: LocalBus, relay: Relay
) -> None:
    seen: list[str] = []

    def chain(event: RecordedEvent) -> None:
        seen.append("chain")
        if event.position < 3:
            append(store, "Placed")
        bus.subscribe("Placed", lambda event: seen.append("late"))

    bus.subscribe("Placed", chain)
    append(store, "Placed")
    while relay.step():
        pass
    assert seen == ["chain", "chain", "late", "chain", "late", "late"]


def test_an_interrupt_loses_no_event(store: MemoryStore, bus: LocalBus, relay: Relay) -> None:
    """At least once: the relay notes an event when all of its handlers had it."""
    seen: list[int] = []
    interrupts = [False, True]

    def interrupted(event: RecordedEvent) -> None:
        if event.position == 2 and interrupts.pop():
            raise KeyboardInterrupt

    bus.subscribe(Placed, lambda event: seen.append(event.position))
    bus.subscribe(Placed, interrupted)
    append(store, "Placed", "Placed", "Placed")
    with pytest.raises(KeyboardInterrupt):
        relay.step()
    assert relay.position == 1
    relay.step()
    assert seen == [1, 2, 2, 3]


def test_the_relay_begins_where_the_store_is(store: MemoryStore) -> None:
    append(store, "Placed")
    bus = LocalBus()
    relay = Relay(store, bus)
    append(store, "Placed")
    assert not relay.step()  # nobody listened
    seen: list[int] = []
    bus.subscribe(ALL, lambda event: seen.append(event.position))
    append(store, "Placed", "Placed")
    assert relay.step(limit=1)
    assert relay.step(limit=5)
    assert seen == [3, 4]


def test_on_the_machines_clock_a_delivery_that_is_delayed_is_waited_for(
    store: MemoryStore, bus: LocalBus
) -> None:
    wait = timedelta(milliseconds=20)
    relay = Relay(store, bus, route=lambda message: Journey((wait,)))
    seen: list[int] = []
    bus.subscribe(Placed, lambda event: seen.append(event.position))
    append(store, "Placed", "Other")
    assert relay.step()
    assert (seen, relay.position) == ([], 0)
    due_in = relay.due_in()
    assert due_in is not None
    assert relay.note() is not None
    assert 0 <= due_in <= 0.02
    time.sleep(0.02)
    assert relay.step()
    assert (seen, relay.position, relay.due_in()) == ([1], 2, None)


def test_an_event_that_never_arrives_is_dealt_with(store: MemoryStore, bus: LocalBus) -> None:
    relay = Relay(store, bus, route=lambda message: Journey(()))
    bus.subscribe(Placed, lambda event: None)
    append(store, "Placed")
    relay.step()
    assert relay.position == 1


def mixed(seed: int) -> dict[str, list[tuple[str, int]]]:
    """Return what two handlers get of three streams of five events, all at the same time."""
    seen: dict[str, list[tuple[str, int]]] = {"one": [], "two": []}
    with Lab(seed=seed) as lab:
        for taken in seen.values():
            lab.bus.subscribe(ALL, partial(_take, taken))
        for _ in range(5):
            for stream in ("a-1", "a-2", "a-3"):
                lab.append(stream, [Placed()])
        lab.run()
        assert lab._relay.position == 15
    return seen


def _take(taken: list[tuple[str, int]], event: RecordedEvent) -> None:
    taken.append((event.stream_id, event.version))


def test_of_several_handlers_and_streams_any_may_come_first_but_each_stream_is_in_order() -> None:
    assert mixed(1) == mixed(1) != mixed(2)
    one, two = mixed(1).values()
    assert one != two
    for taken in (one, two):
        for stream in ("a-1", "a-2", "a-3"):
            assert [version for of, version in taken if of == stream] == [1, 2, 3, 4, 5]


def test_what_was_on_its_way_in_an_interrupt_is_delivered_again() -> None:
    """At least once: the scheduler forgets it, and the relay finds it again in the log."""
    seen: list[tuple[str, int]] = []
    interrupts = [True]

    def interrupted(event: RecordedEvent) -> None:
        if event.version == 2 and interrupts:
            interrupts.clear()
            raise KeyboardInterrupt
        seen.append((event.stream_id, event.version))

    with Lab(seed=7) as lab:
        lab.bus.subscribe(ALL, interrupted)
        lab.append("a-1", [Placed()] * 3)
        with pytest.raises(KeyboardInterrupt):
            lab.run()
        assert lab._relay.position == 1
        lab.run()
        assert seen == [("a-1", 1), ("a-1", 2), ("a-1", 3)]
        assert lab._relay.position == 3


def test_threads_subscribe_while_others_publish(store: MemoryStore, bus: LocalBus) -> None:
    append(store, "Placed")
    (event,) = store.read_all()
    errors: list[Exception] = []

    def work(publishes: bool) -> None:
        try:
            for _ in range(200):
                if publishes:
                    bus.publish(event)
                else:
                    bus.subscribe(Placed, lambda event: None)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(flag,)) for flag in (True, False, True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert bus.publish(event) == 400
