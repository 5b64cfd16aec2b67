"""Commands and projections as OpenTelemetry's spans and metrics; where these go is the user's.

A command is a span, and what the command records carries it: as the W3C ``traceparent`` in the
metadata of its events. From there it is inherited by what the events cause: by sagas that they
start, and by the commands that their handlers send. A projection handles events of many commands
together: a batch is a span of its own, with a link to each of theirs.

Telemetry never fails what it measures: what it raises is logged, as ``eslab.telemetry``.

Names of attributes are those of OpenTelemetry's semantic conventions for messaging where they fit,
and else begin with ``eslab.``. Who sent a command is in the log, and is not told.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from eslab.errors import (
    DomainError,
    InputError,
    MissingDependencyError,
    NotAuthorisedError,
)
from eslab.events import Query, RecordedEvent
from eslab.messaging.commands import Command
from eslab.messaging.envelope import Envelope, Middleware
from eslab.messaging.tokens import ConsistencyToken
from eslab.projections import AnyProjection
from eslab.store.port import EventStore
from eslab.subscriptions import BatchReport

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import Span, SpanContext, Tracer, TracerProvider

__all__ = ["MAX_LINKS", "followed", "meter", "traced"]

MAX_LINKS: Final = 100
"""Spans that a batch links to, at most."""
MAX_READ: Final = 1_000
"""Events of a batch that are looked at for their spans, at most."""

REFUSALS: Final = (DomainError, NotAuthorisedError)
"""Answers, and no errors of the system."""

_SCOPE: Final = "eslab"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

T = TypeVar("T")

_log = logging.getLogger("eslab.telemetry")


def traced(
    *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> Middleware:
    """Return middleware that makes a span of each command; queries pass.

    The span is a child of the one that the command's metadata names, or else of the current one;
    a ``traceparent`` that cannot be read is logged and counts as none. What the command records
    names the span in its metadata. Where no tracer is configured that is left as it is.

    A command that is refused (`DomainError`, `NotAuthorisedError`) has the outcome ``refused``;
    its span is no error, since the system did what it should. The metrics are ``eslab.commands``,
    a counter, and ``eslab.command.duration`` in seconds, by command and outcome.

    Args:
        tracer_provider: where spans go; by default that of the process.
        meter_provider: where metrics go; by default that of the process.

    Raises:
        MissingDependencyError: OpenTelemetry is not installed.

    Example:
        >>> from eslab import Lab
        >>> from eslab.simulation.scenarios import accounts
        >>> from opentelemetry.sdk.trace import TracerProvider
        >>> with Lab(seed=7) as lab:
        ...     lab.register(accounts.account)
        ...     lab.use(traced(tracer_provider=TracerProvider()))
        ...     _ = lab.execute(accounts.OpenAccount(account_id="a-1", owner="Ann"))
        ...     [event.metadata.traceparent for event in lab.store.read_all()]
        ['00-...']
    """
    return _Commands(_tracer(tracer_provider), meter(meter_provider))


def followed(
    store: EventStore,
    *projections: AnyProjection,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Callable[[BatchReport], None]:
    """Return an observer that makes a span of each batch of these projections.

    The span links to those of the commands that recorded the batch's events: to `MAX_LINKS` of
    them, and ``eslab.links.left_out`` says for how many events there is no link. It begins and ends
    by the store's clock. A batch without events that the projection wants has none.

    The metrics are ``eslab.projection.events``, a counter; ``eslab.projection.batch.duration`` in
    seconds; and ``eslab.projection.lag``, the seconds since the oldest event that waits was
    recorded, as of the last batch: one that has stopped says so no more, `lab.lag()` does.

    Args:
        store: the log.
        projections: reports about others are left alone.
        tracer_provider: where spans go; by default that of the process.
        meter_provider: where metrics go; by default that of the process.

    Raises:
        InputError: there are no projections, or something else is among them.
        MissingDependencyError: OpenTelemetry is not installed.
    """
    wrong = [each for each in projections if not isinstance(each, AnyProjection)]
    if wrong or not projections:
        found = repr(wrong[0]) if wrong else "none"
        raise InputError(f"followed() takes projections, such as Orders(), not {found:.200}")
    batches = _Batches(store, projections, _tracer(tracer_provider), meter(meter_provider))
    return batches.observe


def meter(provider: MeterProvider | None = None) -> Meter:
    """Return what makes instruments.

    Args:
        provider: where metrics go; by default that of the process.

    Raises:
        MissingDependencyError: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry import metrics
    except ImportError:
        raise _missing() from None
    return metrics.get_meter(_SCOPE, meter_provider=provider)


def _tracer(provider: TracerProvider | None) -> Tracer:
    try:
        from opentelemetry import trace
    except ImportError:
        raise _missing() from None
    return trace.get_tracer(_SCOPE, tracer_provider=provider)


def _missing() -> MissingDependencyError:
    return MissingDependencyError("opentelemetry-api", extra="otel", purpose="telemetry")


class _Commands:
    """Middleware: a span, a count and a duration for each command."""

    def __init__(self, tracer: Tracer, meter: Meter) -> None:
        self._tracer = tracer
        self._count = meter.create_counter("eslab.commands", "{command}", "Commands")
        self._duration = meter.create_histogram(
            "eslab.command.duration", "s", "How long commands took"
        )

    def __call__(self, envelope: Envelope, go_on: Callable[..., Any]) -> Any:
        if not isinstance(envelope.message, Command):
            return go_on()
        from opentelemetry import trace

        span = _safely(self._begin, envelope) or trace.INVALID_SPAN
        begun = time.perf_counter()
        result: Any = None
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                result = go_on(_safely(_carrying, envelope, span))
        except BaseException as error:
            result = error
            raise
        finally:
            _safely(self._end, envelope, span, result, time.perf_counter() - begun)
        return result

    def _begin(self, envelope: Envelope) -> Span:
        name = type(envelope.message).__name__
        attributes = {
            "messaging.system": "eslab",
            "messaging.operation.name": "execute",
            "messaging.operation.type": "process",
            "messaging.message.id": str(envelope.id),
            "messaging.message.conversation_id": str(envelope.metadata.correlation_id),
            "eslab.command": name,
        }
        parent = _parent(envelope.metadata.traceparent)
        return self._tracer.start_span(f"execute {name}", parent, attributes=attributes)

    def _end(self, envelope: Envelope, span: Span, result: Any, seconds: float) -> None:
        told = _outcome(result)
        try:
            span.set_attributes(told)
            if isinstance(result, ConsistencyToken):
                span.set_attribute("eslab.position", result.position)
            elif isinstance(result, REFUSALS):
                span.set_attribute("eslab.refusal", str(result))
            elif isinstance(result, BaseException):
                _fail(span, f"{type(result).__name__}: {result}")
                span.record_exception(result)
        finally:
            _safely(span.end)
            measured = {"eslab.command": type(envelope.message).__name__, **told}
            _safely(self._count.add, 1, measured)
            _safely(self._duration.record, seconds, measured)


def _outcome(result: Any) -> dict[str, str]:
    if not isinstance(result, BaseException):
        again = isinstance(result, ConsistencyToken) and result.duplicate
        return {"eslab.outcome": "duplicate" if again else "done"}
    outcome = "refused" if isinstance(result, REFUSALS) else "failed"
    return {"eslab.outcome": outcome, "error.type": type(result).__name__}


class _Batches:
    """An observer of batches: a span, counts, a duration and the lag behind each."""

    def __init__(
        self, store: EventStore, projections: Sequence[AnyProjection], tracer: Tracer, meter: Meter
    ) -> None:
        self._store = store
        self._wanted = {projection.name: _wanted(projection) for projection in projections}
        self._tracer = tracer
        self._events = meter.create_counter(
            "eslab.projection.events", "{event}", "Events that projections handled"
        )
        self._duration = meter.create_histogram(
            "eslab.projection.batch.duration", "s", "How long batches of projections took"
        )
        self._lag = meter.create_gauge(
            "eslab.projection.lag", "s", "How long the oldest event waits that is not handled"
        )

    def observe(self, report: BatchReport) -> None:
        if report.projection not in self._wanted:
            return
        lag = _safely(self._seconds_behind, report)
        if report.count or report.error is not None:
            _safely(self._span, report, lag)
        told = {"eslab.projection": report.projection}
        measured = {**told, "eslab.mode": report.mode, "eslab.outcome": _committed(report)}
        seconds = (report.committed_at - report.started_at).total_seconds()
        _safely(self._duration.record, seconds, measured)
        if report.error is None:
            _safely(self._events.add, report.count, {**told, "eslab.mode": report.mode})
        if lag is not None and report.mode != "replay":  # a rebuild's is not the projection's
            _safely(self._lag.set, lag, told)

    def _span(self, report: BatchReport, lag: float | None) -> None:
        from opentelemetry.trace import SpanKind

        attributes: dict[str, Any] = {
            "messaging.system": "eslab",
            "messaging.operation.name": "project",
            "messaging.operation.type": "process",
            "messaging.consumer.group.name": report.projection,
            "messaging.batch.message_count": report.count,
            "eslab.after": report.after,
            "eslab.scanned": report.scanned,
            "eslab.mode": report.mode,
            "eslab.attempt": report.attempt,
            "eslab.outcome": _committed(report),
        }
        span = self._tracer.start_span(
            f"project {report.projection}",
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            start_time=_nanoseconds(report.started_at),
        )
        try:
            if span.is_recording():  # only then are the events read once more
                self._link(span, report)
            if lag is not None:
                span.set_attribute("eslab.lag_seconds", lag)
            if report.error is not None:
                _fail(span, report.error)
        finally:
            span.end(_nanoseconds(report.committed_at))

    def _link(self, span: Span, report: BatchReport) -> None:
        looked = self._read(report.projection, report.after, report.scanned, limit=MAX_READ)
        linked: set[tuple[int, int]] = set()
        left_out = report.count - len(looked)
        for event in looked:
            context = _span_context(event.metadata.traceparent)
            if context is None or (context.trace_id, context.span_id) in linked:
                continue
            if len(linked) == MAX_LINKS:
                left_out += 1
                continue
            linked.add((context.trace_id, context.span_id))
            span.add_link(context, {"messaging.message.id": str(event.event_id)})
        span.set_attribute("eslab.links.left_out", left_out)

    def _seconds_behind(self, report: BatchReport) -> float:
        reached = report.scanned if report.error is None else report.after
        waiting = self._read(report.projection, reached, None, limit=1)
        if not waiting:
            return 0.0
        return max(0.0, (report.committed_at - waiting[0].recorded_at).total_seconds())

    def _read(
        self, projection: str, after: int, until: int | None, *, limit: int
    ) -> list[RecordedEvent]:
        wanted = self._wanted[projection]
        return list(self._store.read_all(after=after, until=until, limit=limit, **wanted))


def _wanted(projection: AnyProjection) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "types": sorted(projection.event_classes),
        "category": projection.category,
    }
    if projection.tags:
        wanted["query"] = Query.of(tags=projection.tags)
    return wanted


def _committed(report: BatchReport) -> str:
    return "committed" if report.error is None else "failed"


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000


def _fail(span: Span, reason: str) -> None:
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR, reason)


# The trace context, as it stands in metadata.


def _parent(traceparent: object) -> Context | None:
    """Return the context of a span elsewhere; None for the current one."""
    context = _span_context(traceparent)
    if context is None:
        if traceparent is not None:
            _log.warning(
                "the traceparent %.100r is none (see https://www.w3.org/TR/trace-context) and is "
                "ignored",
                traceparent,
            )
        return None
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    return set_span_in_context(NonRecordingSpan(context))


def _span_context(traceparent: object) -> SpanContext | None:
    """Return what a traceparent says; None, if that cannot be read, or there is none."""
    from opentelemetry.trace import get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {"traceparent": str(traceparent)}
    extracted = TraceContextTextMapPropagator().extract(carrier)
    context = get_current_span(extracted).get_span_context()
    return context if context.is_valid else None


def _carrying(envelope: Envelope, span: Span) -> Envelope:
    """Return the envelope with the span in its metadata; as it is, where nobody traces."""
    from opentelemetry.trace import set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, set_span_in_context(span))
    if "traceparent" not in carrier:
        return envelope
    metadata = replace(envelope.metadata, traceparent=carrier["traceparent"])
    return replace(envelope, metadata=metadata)


def _safely(call: Callable[..., T], *arguments: Any) -> T | None:
    """Call what may lead into code of others; what that raises costs no command and no batch."""
    try:
        return call(*arguments)
    except Exception:
        _log.warning("telemetry is lost: what took it failed", exc_info=True)
        return None
