from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from celery import Celery
from celery._state import get_current_app
from celery.app.trace import build_tracer
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from wink_tasks.adapters.telemetry.opentelemetry import (
    OpenTelemetryMetrics,
    OpenTelemetryTracer,
    instrument_celery,
    uninstrument_celery,
)
from wink_tasks.core.errors import ContractViolationError
from wink_tasks.ports.telemetry import METRICS, MetricsCollector, Tracer

FOREIGN = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "vendor=value"}


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider
    provider.shutdown()


@pytest.fixture
def tracer(provider: TracerProvider) -> Tracer:
    return OpenTelemetryTracer(provider)


def spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def test_a_span_has_its_attributes_and_the_current_one_as_parent(
    tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    with tracer.span("outer", {"wink.task": "proj.review", "wink.turn": 2, "odd": ("a",)}):
        with tracer.span("inner", {}) as inner:
            inner.set("tokens", 7)
            inner.set("cached", value=True)
        with tracer.span("next", {}, parent={}):
            pass
    found = spans(exporter)
    assert found["outer"].parent is None
    assert found["outer"].attributes == {"wink.task": "proj.review", "wink.turn": 2, "odd": "('a',)"}
    assert found["inner"].attributes == {"tokens": 7, "cached": True}
    for name in ("inner", "next"):
        assert parent_of(found[name]) == found["outer"].context.span_id
    assert found["outer"].status.is_unset


def test_headers_carry_a_span_to_another_process(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    with tracer.span("accept", {}):
        headers = tracer.headers()
    assert set(headers) == {"traceparent"}
    with tracer.attached(headers):
        assert tracer.headers() == headers
        with tracer.span("attached", {}):
            pass
    assert tracer.headers() == {}
    with tracer.span("elsewhere", {}), tracer.span("parent", {}, parent=headers):
        pass
    found = spans(exporter)
    for name in ("attached", "parent"):
        assert found[name].context.trace_id == found["accept"].context.trace_id
        assert parent_of(found[name]) == found["accept"].context.span_id
    assert found["elsewhere"].context.trace_id != found["accept"].context.trace_id


def test_headers_of_others_pass_with_their_state(tracer: Tracer) -> None:
    with tracer.attached(FOREIGN):
        assert tracer.headers() == FOREIGN
        with tracer.span("ours", {}):
            headers = tracer.headers()
    assert headers["tracestate"] == "vendor=value"
    assert headers["traceparent"].split("-")[1] == FOREIGN["traceparent"].split("-")[1]
    with tracer.attached({"traceparent": "nonsense"}):
        assert tracer.headers() == {}


def test_the_current_span_is_put_back_when_the_block_raises(tracer: Tracer) -> None:
    with pytest.raises(KeyError), tracer.attached(FOREIGN):
        raise KeyError
    assert not trace.get_current_span().get_span_context().is_valid


def test_an_exception_is_recorded_without_credentials_and_goes_on(
    tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    with pytest.raises(ConnectionError), tracer.span("fails", {}):
        raise ConnectionError("redis://:hunter2@host refused")
    span = spans(exporter)["fails"]
    assert span.status.status_code is trace.StatusCode.ERROR
    assert span.status.description == "ConnectionError: redis://***@host refused"
    (event,) = span.events
    assert event.attributes is not None
    assert event.attributes["exception.type"] == "ConnectionError"
    assert event.attributes["exception.message"] == "redis://***@host refused"
    assert "Traceback" in str(event.attributes["exception.stacktrace"])
    assert "hunter2" not in span.to_json()


def test_without_an_sdk_nothing_is_told() -> None:
    tracer = OpenTelemetryTracer()
    with tracer.span("any", {"a": 1}) as span:
        span.set("b", 2)
        assert tracer.headers() == {}


def test_metrics_are_what_they_are_declared_to_be() -> None:
    reader = InMemoryMetricReader()
    ticks = iter([1.0, 3.0])
    metrics: MetricsCollector = OpenTelemetryMetrics(
        MeterProvider([reader], shutdown_on_exit=False), monotonic=lambda: next(ticks)
    )
    metrics.counter("wink.errors", 1, {"type": "E"})
    metrics.counter("wink.errors", 2, {"type": "E"})
    metrics.gauge("wink.session.active", 5)
    metrics.gauge("wink.session.active", 3)
    with metrics.timer("wink.tool.duration_seconds", {"tool": "t"}):
        pass
    data = reader.get_metrics_data()
    assert data is not None
    found = {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    assert found.keys() == {"wink.errors", "wink.session.active", "wink.tool.duration_seconds"}
    for name, metric in found.items():
        assert (metric.unit, metric.description) == (METRICS[name].unit, METRICS[name].help)
    points = {name: metric.data.data_points[0] for name, metric in found.items()}
    errors, active, tool = (points[name] for name in found)
    assert isinstance(errors, NumberDataPoint)
    assert (errors.value, errors.attributes) == (3, {"type": "E"})
    assert isinstance(active, NumberDataPoint)
    assert active.value == 3
    assert isinstance(tool, HistogramDataPoint)
    assert (tool.sum, tool.count, tool.explicit_bounds) == (2.0, 1, METRICS["wink.tool.duration_seconds"].buckets)


def test_mistakes_with_metrics_raise() -> None:
    metrics = OpenTelemetryMetrics()
    for wrong in (
        lambda: metrics.counter("wink.nothing"),
        lambda: metrics.histogram("wink.tool.duration_seconds", 1.0),
        lambda: metrics.gauge("wink.session.active", 1, {"tenant": "t"}),
    ):
        with pytest.raises(ContractViolationError, match=r"wink\."):
            wrong()


def test_celery_tasks_are_part_of_the_trace_that_published_them(
    tracer: Tracer, provider: TracerProvider, exporter: InMemorySpanExporter, request: pytest.FixtureRequest
) -> None:
    # The instrumentation looks a task up in the current app's registry.
    before = get_current_app()
    app = Celery("traced", broker="memory://")
    request.addfinalizer(before.set_current)

    @app.task(name="traced.add", shared=False)
    def add(x: int, y: int) -> int:
        with tracer.span("inside", {}):
            return x + y

    def publish_and_work() -> None:
        with app.connection_for_write() as connection, connection.SimpleQueue("traced") as queue:
            with tracer.span("request", {}):
                app.send_task("traced.add", (1, 2), queue="traced")
            message = queue.get(timeout=10)
            message.ack()
        # What a worker does with a message, without the worker.
        work = build_tracer(add.name, add, app=app)
        assert work(message.headers["id"], (1, 2), {}, {**message.headers, "is_eager": True}).retval == 3

    instrument_celery(provider)
    instrument_celery(provider)
    try:
        publish_and_work()
    finally:
        uninstrument_celery()
        uninstrument_celery()
    found = spans(exporter)
    assert len({span.context.trace_id for span in found.values()}) == 1
    for parent, child in pairwise(["request", "apply_async/traced.add", "run/traced.add", "inside"]):
        assert parent_of(found[child]) == found[parent].context.span_id
    exporter.clear()
    publish_and_work()
    assert set(spans(exporter)) == {"request", "inside"}
