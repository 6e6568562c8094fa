"""What an evaluation measures, and the trace that it leaves."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from tests.unit.runtime.conftest import NoProvider, Review, Shop
from wink_tasks import ProviderUnavailableError, ToolFailedError
from wink_tasks.adapters.telemetry.opentelemetry import OpenTelemetryTracer, uninstrument_celery
from wink_tasks.adapters.telemetry.prometheus import PrometheusMetrics
from wink_tasks.testing import answer, call, calls, scripted

GOOD = Review(summary="fine", score=7)


def test_what_an_evaluation_measures():
    registry = CollectorRegistry()
    shop = Shop(providers={"house": NoProvider()}, metrics=PrometheusMetrics(registry))
    moves = [ProviderUnavailableError("down"), calls((shop.note, {"text": "a"}), ("nothing", {})), answer(GOOD)]
    with scripted(shop.wink, {shop.review: moves, shop.chat: lambda _: call(shop.note, text="worse")}) as kit:
        shop.review.delay("src").get()
        with pytest.raises(ToolFailedError):
            shop.chat.delay("x").get()
        cancelled = shop.review.with_options(countdown=5).delay("src")
        cancelled.cancel()
        assert len(kit.requests) == 6

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    assert value("wink_prompt_duration_seconds_count", prompt="shop.review", status="success") == 1
    assert value("wink_prompt_duration_seconds_count", prompt="shop.chat", status="failure") == 1
    tokens = {"prompt": "shop.review", "model": "house:large"}
    assert value("wink_prompt_tokens_input_total", **tokens) == 10
    assert value("wink_prompt_tokens_output_total", **tokens) == 5
    assert value("wink_tool_invocations_total", tool="note", status="ok") == 1
    assert value("wink_tool_invocations_total", tool="note", status="exception") == 3
    assert value("wink_tool_invocations_total", tool="unknown", status="unknown_tool") == 1
    assert value("wink_tool_duration_seconds_count", tool="note") == 4
    assert value("wink_errors_total", type="ProviderUnavailableError") == 1
    assert value("wink_errors_total", type="KeyError") == 3
    assert value("wink_errors_total", type="ToolFailedError") == 1


def test_a_run_that_is_cancelled_in_a_tool_is_measured_under_its_prompt():
    registry = CollectorRegistry()
    shop = Shop(providers={"house": NoProvider()}, metrics=PrometheusMetrics(registry))
    runs = []

    @shop.wink.tool
    def stop() -> str:
        """Stop."""
        runs[0].cancel()
        return ""

    @shop.wink.prompt(output=str, tools=[stop], model="house:m")
    def stopped() -> str:
        """You are stopped."""
        return "go"

    with scripted(shop.wink, {stopped: [call(stop)]}):
        runs.append(stopped.with_options(countdown=1).delay())
        assert isinstance(runs[0].get(propagate=False), Exception)
    labels = {"prompt": "shop.stopped", "status": "cancelled"}
    assert registry.get_sample_value("wink_prompt_duration_seconds_count", labels) == 1


def test_one_trace_from_delay_through_every_step():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    shop = Shop(providers={"house": NoProvider()}, tracer=OpenTelemetryTracer(provider))
    with scripted(shop.wink, {shop.review: [call(shop.note, text="a"), answer(GOOD)]}):
        shop.review.delay("src").get()
    spans = {}
    for span in exporter.get_finished_spans():
        spans.setdefault(span.name, []).append(span)
    assert {name: len(found) for name, found in spans.items()} == {
        "wink.accept": 1,
        "wink.prompt.evaluate": 2,
        "wink.provider.complete": 2,
        "wink.call": 1,
        "wink.outcome": 1,
    }
    assert len({span.context.trace_id for found in spans.values() for span in found}) == 1
    [accept] = spans["wink.accept"]
    for name in ("wink.prompt.evaluate", "wink.call", "wink.outcome"):
        assert {span.parent.span_id for span in spans[name]} == {accept.context.span_id}
    turns = {span.context.span_id for span in spans["wink.prompt.evaluate"]}
    assert {span.parent.span_id for span in spans["wink.provider.complete"]} == turns
    assert spans["wink.provider.complete"][0].attributes["gen_ai.request.model"] == "small"


def test_tracing_is_switched_on_by_a_setting():
    shop = Shop(providers={"house": NoProvider()}, tracing=True)
    try:
        assert isinstance(shop.wink._tracer, OpenTelemetryTracer)
    finally:
        uninstrument_celery()
