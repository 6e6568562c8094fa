"""Spans and metrics through the OpenTelemetry API; where they go is decided by the SDK that the process configures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from traceback import format_exception

from opentelemetry import context, metrics, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from wink_tasks.core.redaction import redact
from wink_tasks.ports.telemetry import METRICS, Labels, declared, timed

SCOPE = "wink_tasks"

_W3C = TraceContextTextMapPropagator()


class OpenTelemetrySpan:
    """See `ports.telemetry.Span`."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, key: str, value: object) -> None:
        """See `ports.telemetry.Span`."""
        self._span.set_attribute(key, value if isinstance(value, str | int | float) else str(value))

    def failed(self, error: Exception) -> None:
        """Record what went wrong, without the credentials that messages and tracebacks may show."""
        kind = type(error).__name__
        self._span.add_event(
            "exception",
            {
                "exception.type": kind,
                "exception.message": redact(str(error)),
                "exception.stacktrace": redact("".join(format_exception(error))),
            },
        )
        self._span.set_status(trace.StatusCode.ERROR, redact(f"{kind}: {error}"))


class OpenTelemetryTracer:
    """Spans of `tracer_provider`, else of the global one."""

    def __init__(self, tracer_provider: trace.TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)

    @contextmanager
    def span(
        self, name: str, attributes: Mapping[str, object], *, parent: Mapping[str, str] | None = None
    ) -> Iterator[OpenTelemetrySpan]:
        """See `ports.telemetry.Tracer`."""
        with self._tracer.start_as_current_span(
            name, _context(parent or {}), record_exception=False, set_status_on_exception=False
        ) as started:
            span = OpenTelemetrySpan(started)
            for key, value in attributes.items():
                span.set(key, value)
            try:
                yield span
            except Exception as error:
                span.failed(error)
                raise

    def headers(self) -> dict[str, str]:
        """See `ports.telemetry.Tracer`."""
        headers: dict[str, str] = {}
        _W3C.inject(headers)
        return headers

    @contextmanager
    def attached(self, headers: Mapping[str, str]) -> Iterator[None]:
        """See `ports.telemetry.Tracer`."""
        token = context.attach(_context(headers))
        try:
            yield
        finally:
            context.detach(token)


class OpenTelemetryMetrics:
    """Instruments of `meter_provider`, else of the global one."""

    def __init__(
        self, meter_provider: metrics.MeterProvider | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        meter = metrics.get_meter(SCOPE, meter_provider=meter_provider)
        self._counters: dict[str, metrics.Counter] = {}
        self._gauges: dict[str, metrics._Gauge] = {}  # the API exports the class by this name only
        self._histograms: dict[str, metrics.Histogram] = {}
        for name, metric in METRICS.items():
            if metric.kind == "counter":
                self._counters[name] = meter.create_counter(name, metric.unit, metric.help)
            elif metric.kind == "gauge":
                self._gauges[name] = meter.create_gauge(name, metric.unit, metric.help)
            else:
                self._histograms[name] = meter.create_histogram(
                    name, metric.unit, metric.help, explicit_bucket_boundaries_advisory=metric.buckets
                )

    def counter(self, name: str, value: float = 1, labels: Labels | None = None) -> None:
        """See `ports.telemetry`."""
        declared("counter", name, labels)
        self._counters[name].add(value, labels)

    def gauge(self, name: str, value: float, labels: Labels | None = None) -> None:
        """See `ports.telemetry`."""
        declared("gauge", name, labels)
        self._gauges[name].set(value, labels)

    def histogram(self, name: str, value: float, labels: Labels | None = None) -> None:
        """See `ports.telemetry`."""
        declared("histogram", name, labels)
        self._histograms[name].record(value, labels)

    def timer(self, name: str, labels: Labels | None = None) -> AbstractContextManager[None]:
        """See `ports.telemetry`."""
        return timed(self, self._monotonic, name, labels)


def instrument_celery(tracer_provider: trace.TracerProvider | None = None) -> None:
    """Have Celery's publishing and running of tasks traced, W3C headers in each message. May be called twice."""
    from opentelemetry.instrumentation.celery import CeleryInstrumentor

    instrumentor = CeleryInstrumentor()  # type: ignore[no-untyped-call]
    if not instrumentor.is_instrumented_by_opentelemetry:
        # Without the check of versions, which would only log: our own requirements say what fits.
        instrumentor.instrument(tracer_provider=tracer_provider, skip_dep_check=True)


def uninstrument_celery() -> None:
    """Undo `instrument_celery`. May be called twice, and without it."""
    from opentelemetry.instrumentation.celery import CeleryInstrumentor

    instrumentor = CeleryInstrumentor()  # type: ignore[no-untyped-call]
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


def _context(headers: Mapping[str, str]) -> context.Context:
    """The current context, with the span of these headers as the current one where they name one."""
    return _W3C.extract(headers, context.get_current())
