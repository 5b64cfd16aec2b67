"""Telemetry: a command is followed through events, projections and sagas, and never disturbed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from eslab import (
    Aggregate,
    Command,
    DomainError,
    Event,
    HandlerError,
    InputError,
    Lab,
    Metadata,
    MissingDependencyError,
    Projection,
    ReadQuery,
    RecordedEvent,
    Row,
    Rows,
    Saga,
    Step,
    StepContext,
    applies,
    handles,
    on,
)
from eslab.messaging import Envelope, handled
from eslab.simulation.scenarios import orders, workflow
from eslab.subscriptions import BatchReport
from eslab.telemetry import MAX_LINKS, followed, traced

REMOTE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MALFORMED = [
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
    "00-00000000000000000000000000000000-b7ad6b7169203331-01",
    "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "nonsense",
    "x" * 10_000,
    7,
]


class PlaceOrder(Command):
    order_id: str
    amount: int


class NotifyCustomer(Command):
    customer_id: str
    order: str


class OrderPlaced(Event):
    amount: int


class CustomerNotified(Event):
    order: str


class Order(Aggregate):
    amount: int = 0

    @handles
    def place(self, command: PlaceOrder) -> None:
        if self.amount:
            raise DomainError("placed already")
        self.record(OrderPlaced(amount=command.amount))

    @applies
    def placed(self, event: OrderPlaced) -> None:
        self.amount = event.amount


class Customer(Aggregate):
    @handles
    def notify(self, command: NotifyCustomer) -> None:
        self.record(CustomerNotified(order=command.order))

    @applies
    def notified(self, event: CustomerNotified) -> None: ...


class Total(Row, key="id"):
    id: int
    amount: int = 0


class Totals(Projection):
    row = Total
    category = "order"

    @on
    def placed(self, event: OrderPlaced, rows: Rows[Total]) -> None:
        rows.ensure(id=1).amount += event.amount


PLACE = PlaceOrder(order_id="1", amount=30)


class Telemetry:
    """Providers of a user's, whose exporters keep what they are given in memory."""

    def __init__(self, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(**options)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.providers: dict[str, Any] = {
            "tracer_provider": self.tracers,
            "meter_provider": self.meters,
        }

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """Return what an instrument measured: values of a counter or gauge, counts otherwise."""
        data = self.reader.get_metrics_data()
        return [
            (dict(point.attributes), point.count if hasattr(point, "count") else point.value)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=7) as opened:
        opened.register(Order, Customer)
        opened.project(Totals())
        yield opened


def traceparent(span: ReadableSpan) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def trace_of(event: RecordedEvent) -> str:
    assert event.metadata.traceparent is not None
    return event.metadata.traceparent.split("-")[1]


def reports(lab: Lab, projection: str = "totals") -> list[BatchReport]:
    """Return what an observer would have been told, from the log of checkpoints."""
    rows = lab.sql(
        "select from_position, to_position, count, started_at, committed_at, mode "
        "from checkpoint_log where projection = ? order by to_position",
        [projection],
    ).fetchall()
    return [BatchReport(projection, *row, attempt=1, error=None) for row in rows]


def test_a_command_is_followed_through_events_projections_and_sagas(
    lab: Lab, telemetry: Telemetry
) -> None:
    lab.use(traced(**telemetry.providers))
    lab.observe(followed(lab.store, Totals(), **telemetry.providers))

    def notify(step: StepContext) -> None:
        lab.execute(NotifyCustomer(customer_id="Ann", order=step.saga_id))

    greet = Saga("greet", [Step("notify", notify)])
    lab.register(greet)
    lab.bus.subscribe(OrderPlaced, lambda event: lab.start_saga(greet, event.stream_id))
    lab.execute(PLACE)
    lab.run()

    (placed,) = lab.store.read("order-1")
    command = telemetry.spans[0]
    assert (command.name, command.kind) == ("execute PlaceOrder", SpanKind.INTERNAL)
    assert command.attributes["messaging.message.id"] == placed.metadata.command_id
    assert command.attributes["eslab.position"] == placed.position
    assert placed.metadata.traceparent == traceparent(command)

    saga = list(lab.store.read("saga-greet-order-1"))
    assert [event.type for event in saga][-1] == "SagaCompleted"
    assert {trace_of(event) for event in lab.store.read_all()} == {trace_of(placed)}
    assert {event.metadata.traceparent for event in saga} == {traceparent(command)}
    (notified,) = lab.store.read("customer-Ann")
    step = next(span for span in telemetry.spans if span.name == "execute NotifyCustomer")
    assert step.parent.span_id == command.get_span_context().span_id
    assert notified.metadata.traceparent == traceparent(step)
    assert notified.metadata.correlation_id == placed.metadata.correlation_id

    batch = next(span for span in telemetry.spans if span.name.startswith("project"))
    assert (batch.name, batch.kind) == ("project totals", SpanKind.CONSUMER)
    (link,) = batch.links
    assert link.context.span_id == command.get_span_context().span_id
    assert link.attributes == {"messaging.message.id": str(placed.event_id)}
    assert batch.attributes["messaging.batch.message_count"] == 1
    assert batch.attributes["eslab.links.left_out"] == 0
    assert batch.attributes["eslab.mode"] == "live"
    assert timedelta(microseconds=(batch.end_time - batch.start_time) // 1_000) == (
        Totals.cost.of(1)
    )


def test_the_events_of_order_fulfilment_are_in_one_trace() -> None:
    with Lab(seed=7) as lab:
        lab.register(*orders.AGGREGATES, orders.order_fulfilment)
        lab.execute(orders.ReceiveStock(article="a", quantity=5))
        head = lab.store.head()
        wish = {"customer": "Ann", "article": "a", "quantity": 2, "amount": 3}
        lab.execute(
            orders.PlaceOrder(order_id="1", **wish, destination="Atlantis"),
            metadata=Metadata(traceparent=REMOTE, actor="Ann"),
        )
        lab.run()
        events = list(lab.store.read_all(after=head))
    assert {"StockReserved", "PaymentRefunded", "SagaCompensated"} <= {e.type for e in events}
    assert {event.metadata.traceparent for event in events} == {REMOTE}
    assert {event.metadata.actor for event in events} == {"Ann"}
    assert {event.metadata.correlation_id for event in events} == {
        events[0].metadata.correlation_id
    }


def test_a_remote_span_that_the_metadata_names_is_the_parent(
    lab: Lab, telemetry: Telemetry
) -> None:
    lab.use(traced(**telemetry.providers))
    with telemetry.tracers.get_tracer("user").start_as_current_span("here"):
        lab.execute(PLACE, metadata=Metadata(traceparent=REMOTE, actor="Ann"))
        lab.execute(NotifyCustomer(customer_id="Ann", order="1"))
    remote, local, here = telemetry.spans
    assert f"{remote.parent.trace_id:032x}-{remote.parent.span_id:016x}" in REMOTE
    assert remote.parent.is_remote
    assert local.parent.span_id == here.get_span_context().span_id
    placed, notified = lab.store.read_all()
    assert placed.metadata.traceparent == traceparent(remote)
    assert placed.metadata.actor == "Ann"
    assert notified.metadata.traceparent == traceparent(local)


def test_what_a_command_sends_is_a_child_of_its_span(lab: Lab, telemetry: Telemetry) -> None:
    lab.use(traced(**telemetry.providers))

    def notify(envelope: Envelope, go_on: Callable[[], Any]) -> Any:
        result = go_on()
        if isinstance(envelope.message, PlaceOrder):
            assert handled() == envelope.metadata
            lab.execute(NotifyCustomer(customer_id="Ann", order="1"))
        return result

    lab.use(notify)
    lab.execute(PLACE)
    inner, outer = telemetry.spans
    assert inner.parent.span_id == outer.get_span_context().span_id


def test_where_nobody_traces_no_trace_is_invented_and_a_given_one_is_kept(lab: Lab) -> None:
    assert not isinstance(trace.get_tracer_provider(), TracerProvider), "none is configured"
    lab.use(traced())
    lab.execute(PLACE)
    lab.execute(PLACE.model_copy(update={"order_id": "2"}), metadata=Metadata(traceparent=REMOTE))
    lab.run()
    observe = followed(lab.store, Totals())
    for report in reports(lab):
        observe(report)
    found = [event.metadata.traceparent for event in lab.store.read_all()]
    assert found == [None, REMOTE]


def test_a_span_that_is_not_sampled_says_so_in_the_metadata(lab: Lab) -> None:
    unsampled = Telemetry(sampler=ALWAYS_OFF)
    lab.use(traced(**unsampled.providers))
    lab.execute(PLACE)
    (placed,) = lab.store.read_all()
    assert trace_of(placed)
    assert int(placed.metadata.traceparent[-2:], 16) & 1 == 0
    assert unsampled.spans == []


@pytest.mark.parametrize("bad", MALFORMED, ids=lambda bad: str(bad)[:60])
def test_a_traceparent_that_cannot_be_read_is_ignored_and_said(
    lab: Lab, telemetry: Telemetry, caplog: pytest.LogCaptureFixture, bad: Any
) -> None:
    lab.use(traced(**telemetry.providers))
    lab.execute(PLACE, metadata=Metadata(traceparent=bad))
    (span,) = telemetry.spans
    assert span.parent is None
    (placed,) = lab.store.read_all()
    assert placed.metadata.traceparent == traceparent(span)
    assert "is ignored" in caplog.text

    lab.append("order-2", [OrderPlaced(amount=1)], metadata=Metadata(traceparent=bad))
    lab.run()
    observe = followed(lab.store, Totals(), **telemetry.providers)
    for report in reports(lab):
        observe(report)
    assert len(telemetry.spans[-1].links) == 1


def test_a_refusal_is_no_error_of_the_system_and_a_failure_is(
    lab: Lab, telemetry: Telemetry
) -> None:
    lab.use(traced(**telemetry.providers))

    @lab.handles
    def fail(command: Failing) -> None:
        raise ZeroDivisionError("by design")

    lab.execute(PLACE)
    with pytest.raises(DomainError):
        lab.execute(PLACE)
    with pytest.raises(ZeroDivisionError):
        lab.execute(Failing())
    done, refused, failed = telemetry.spans
    assert done.attributes["eslab.outcome"] == "done"
    assert refused.status.status_code is StatusCode.UNSET
    assert refused.attributes["eslab.outcome"] == "refused"
    assert refused.attributes["eslab.refusal"] == "placed already"
    assert refused.events == ()
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description == "ZeroDivisionError: by design"
    assert [event.name for event in failed.events] == ["exception"]
    place, failing = {"eslab.command": "PlaceOrder"}, {"eslab.command": "Failing"}
    expected = [
        ({**place, "eslab.outcome": "done"}, 1),
        ({**place, "eslab.outcome": "refused", "error.type": "DomainError"}, 1),
        ({**failing, "eslab.outcome": "failed", "error.type": "ZeroDivisionError"}, 1),
    ]
    assert telemetry.points("eslab.commands") == expected
    assert telemetry.points("eslab.command.duration") == expected


class Failing(Command):
    pass


def test_a_command_that_was_carried_out_before_is_a_duplicate(
    lab: Lab, telemetry: Telemetry
) -> None:
    lab.use(traced(**telemetry.providers))
    for _ in range(2):
        lab.execute(PLACE, command_id=lab.store.store_id)
    outcomes = [span.attributes["eslab.outcome"] for span in telemetry.spans]
    assert outcomes == ["done", "duplicate"]
    assert lab.store.head() == 1


def test_a_query_passes_without_a_span(lab: Lab, telemetry: Telemetry) -> None:
    class GetHead(ReadQuery):
        pass

    @lab.handles
    def head(query: GetHead) -> int:
        return lab.store.head()

    lab.use(traced(**telemetry.providers))
    assert lab.query(GetHead()) == 0
    assert telemetry.spans == []


def test_the_links_of_a_batch_are_bounded_and_what_is_left_out_is_said(
    lab: Lab, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(MAX_LINKS + 20):
        other = f"00-{number + 1:032x}-{number + 1:016x}-01"
        event = OrderPlaced(amount=1)
        lab.append(f"order-{number}", [event, event], metadata=Metadata(traceparent=other))
    lab.append("stock-1", [OrderPlaced(amount=1)], metadata=Metadata(traceparent=REMOTE))
    lab.run()
    observe = followed(lab.store, Totals(), **telemetry.providers)
    for report in reports(lab):
        observe(report)
    (batch,) = telemetry.spans
    linked = [link.context.span_id for link in batch.links]
    assert linked == list(range(1, MAX_LINKS + 1))
    assert batch.attributes["eslab.links.left_out"] == 40
    assert telemetry.points("eslab.projection.events") == [
        ({"eslab.projection": "totals", "eslab.mode": "live"}, 2 * MAX_LINKS + 40)
    ]
    monkeypatch.setattr("eslab.telemetry.MAX_READ", 3)
    observe(reports(lab)[0])
    shorter = telemetry.spans[-1]
    assert len(shorter.links) == 2
    assert shorter.attributes["eslab.links.left_out"] == 2 * MAX_LINKS + 37


def report(lab: Lab, scanned: int, **changes: Any) -> BatchReport:
    now = lab.clock.now()
    told: dict[str, Any] = {
        "projection": "totals", "after": 0, "scanned": scanned, "count": scanned,
        "started_at": now - timedelta(seconds=2), "committed_at": now, "mode": "catch-up",
        "attempt": 1, "error": None, **changes,
    }  # fmt: skip
    return BatchReport(**told)


def test_the_lag_is_the_time_that_the_oldest_event_waits(lab: Lab, telemetry: Telemetry) -> None:
    observe = followed(lab.store, Totals(), **telemetry.providers)

    def lag() -> float:
        ((_, found),) = telemetry.points("eslab.projection.lag")
        return found

    for number in range(3):
        lab.append("order-1", [OrderPlaced(amount=number)])
        lab.append("stock-1", [OrderPlaced(amount=number)])
        lab.pause("totals") if number == 0 else None
        lab.advance("10 s")
    observe(report(lab, 2))
    assert lag() == 20.0
    observe(report(lab, 4))
    assert lag() == 10.0
    observe(report(lab, 5))
    assert lag() == 0.0
    observe(report(lab, 2, mode="replay"))
    assert lag() == 0.0, "a rebuild's lag is not the projection's"
    observe(report(lab, 5, after=2, error="it failed"))
    assert lag() == 20.0


def test_a_batch_that_failed_has_a_span_that_says_so(lab: Lab, telemetry: Telemetry) -> None:
    lab.append("order-1", [OrderPlaced(amount=1)], metadata=Metadata(traceparent=REMOTE))
    observe = followed(lab.store, Totals(), **telemetry.providers)
    observe(report(lab, 1, error="handler failed", attempt=3))
    observe(report(lab, 1, projection="another"))
    observe(report(lab, 1, count=0))
    (failed,) = telemetry.spans
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description == "handler failed"
    assert failed.attributes["eslab.attempt"] == 3
    assert len(failed.links) == 1
    assert telemetry.points("eslab.projection.events")[0][1] == 0
    measured = {told["eslab.outcome"] for told, _ in telemetry.points(
        "eslab.projection.batch.duration")}  # fmt: skip
    assert measured == {"failed", "committed"}


class Broken(SpanProcessor):
    """What a user plugs in, and what fails at every step."""

    def __init__(self) -> None:
        self.asked = 0

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.asked += 1
        raise RuntimeError("no disk")

    def on_end(self, span: Any) -> None:
        self.asked += 1
        raise RuntimeError("no network")


class BrokenAtTheEnd(Broken):
    def on_start(self, span: Any, parent_context: Any = None) -> None: ...


class BrokenExporter(InMemorySpanExporter):
    asked = 0

    def export(self, spans: Any) -> Any:
        self.asked += 1
        raise RuntimeError("no network")


class BrokenStore:
    """A log that cannot be read."""

    def read_all(self, **_: Any) -> Any:
        raise RuntimeError("no log")


@pytest.mark.parametrize("kind", [Broken, BrokenAtTheEnd, BrokenExporter])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_fails_in_telemetry_costs_no_command_no_event_and_no_batch(
    lab: Lab, telemetry: Telemetry, caplog: pytest.LogCaptureFixture, kind: Any
) -> None:
    broken = kind()
    processor = SimpleSpanProcessor(broken) if kind is BrokenExporter else broken
    telemetry.tracers.add_span_processor(processor)
    lab.use(traced(**telemetry.providers))
    assert lab.execute(PLACE).position == 1
    with pytest.raises(DomainError):
        lab.execute(PLACE)
    lab.run()
    observe = followed(lab.store, Totals(), **telemetry.providers)
    for each in reports(lab):
        observe(each)
    assert lab.sql("select amount from totals").scalar() == 30
    assert broken.asked >= 3
    assert "RuntimeError" in caplog.text
    assert sum(count for _, count in telemetry.points("eslab.commands")) == 2
    assert sum(count for _, count in telemetry.points("eslab.projection.events")) == 1


class UnspeakableError(DomainError):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_error_that_cannot_be_told_is_raised_as_it_is(lab: Lab, telemetry: Telemetry) -> None:
    @lab.handles
    def fail(command: Failing) -> None:
        raise UnspeakableError

    lab.use(traced(**telemetry.providers))
    with pytest.raises(UnspeakableError):
        lab.execute(Failing())
    assert len(telemetry.spans) == len(telemetry.points("eslab.commands")) == 1


def test_an_observer_that_cannot_read_the_log_still_measures(
    lab: Lab, telemetry: Telemetry
) -> None:
    followed(BrokenStore(), Totals(), **telemetry.providers)(report(lab, 2))
    assert telemetry.points("eslab.projection.events")[0][1] == 2
    assert [span.name for span in telemetry.spans] == ["project totals"]


@pytest.mark.parametrize("bad", [(), (Totals,), ("totals",)])
def test_what_is_no_projection_is_not_followed(lab: Lab, bad: Any) -> None:
    with pytest.raises(InputError, match=r"takes projections, such as Orders\(\)"):
        followed(lab.store, *bad)


def test_without_the_package_the_error_names_the_extra(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.setitem(sys.modules, name, None)
    for made in (
        traced,
        lambda: followed(lab.store, Totals()),
        lambda: workflow.measure_workflows(lab.bus, lab.store),
    ):
        with pytest.raises(MissingDependencyError, match=r"pip install 'eslab\[otel\]'"):
            made()
    assert not lab.bus.subscribed
    assert lab.execute(PLACE).position == 1


def test_middleware_gives_no_other_thing_to_go_on(lab: Lab) -> None:
    lab.use(lambda envelope, go_on: go_on(envelope.metadata))
    with pytest.raises(HandlerError, match="give go_on\\(\\) nothing, or an Envelope"):
        lab.execute(PLACE)
    assert lab.store.head() == 0


# The workflow's instruments.


def complete(lab: Lab, id: str, duration: float) -> None:
    lab.execute(workflow.CreateWorkflow(workflow_id=id, schema_id="s"))
    lab.execute(workflow.StartWorkflow(workflow_id=id))
    lab.execute(workflow.CompleteWorkflow(workflow_id=id, result=None, duration=duration))


def test_workflows_are_counted_once_also_after_a_restart(
    tmp_path: Path, telemetry: Telemetry
) -> None:
    for start in range(2):
        with Lab(tmp_path / "workflows.duckdb") as lab:
            lab.register(workflow.Workflow)
            for _ in range(2):  # a cell that is run twice
                workflow.measure_workflows(lab.bus, lab.store, meter_provider=telemetry.meters)
            complete(lab, f"{start}-1", 0.5)
            lab.execute(workflow.CreateWorkflow(workflow_id=f"{start}-2", schema_id="s"))
            for _ in range(2):
                lab.run()
    schema = {"workflow.schema_id": "s"}
    assert telemetry.points("workflows.created") == [(schema, 4)]
    assert telemetry.points("workflows.completed") == [(schema, 2)]
    assert telemetry.points("workflows.duration") == [(schema, 2)]
