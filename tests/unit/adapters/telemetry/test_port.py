from __future__ import annotations

import pytest

from wink_tasks.core.errors import ContractViolationError
from wink_tasks.ports.telemetry import METRICS, NullMetrics, NullTracer, declared


def test_there_are_ten_metrics_and_each_is_described() -> None:
    assert set(METRICS) == {
        "wink.prompt.duration_seconds",
        "wink.prompt.tokens.input",
        "wink.prompt.tokens.output",
        "wink.tool.invocations",
        "wink.tool.duration_seconds",
        "wink.errors",
        "wink.mailbox.depth",
        "wink.mailbox.age_seconds",
        "wink.mailbox.leases_lost",
        "wink.sessions.archived",
        "wink.session.active",
    }
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.help.endswith(".")
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert sorted(metric.buckets) == [*metric.buckets]


def test_a_metric_is_found_by_its_name_kind_and_labels() -> None:
    assert declared("counter", "wink.tool.invocations", {"status": "ok", "tool": "a"}).labels == ("tool", "status")
    assert declared("gauge", "wink.session.active", None) is METRICS["wink.session.active"]


@pytest.mark.parametrize(
    ("kind", "name", "labels", "says"),
    [
        ("counter", "wink.nothing", None, r"'wink\.nothing' is not one of wink\.prompt\.duration_seconds, "),
        ("gauge", "wink.errors", {"type": "E"}, "is a counter, and was recorded as a gauge"),
        ("counter", "wink.errors", None, r"has the labels \['type'\], and was given \[\]"),
        ("counter", "wink.errors", {"type": "E", "x": "y"}, r"was given \['type', 'x'\]"),
        ("gauge", "wink.session.active", {"tenant": "t"}, r"has the labels \[\], and was given \['tenant'\]"),
    ],
)
def test_a_mistake_is_refused(kind, name, labels, says) -> None:
    with pytest.raises(ContractViolationError, match=says):
        declared(kind, name, labels)


def test_the_null_objects_take_everything_and_do_nothing() -> None:
    metrics, tracer = NullMetrics(), NullTracer()
    metrics.counter("no.such.metric", 1, {"any": "label"})
    metrics.gauge("no.such.metric", 1)
    metrics.histogram("no.such.metric", 1)
    with metrics.timer("no.such.metric"):
        pass
    with tracer.attached({"traceparent": "nonsense"}), tracer.span("s", {"a": 1}, parent={"traceparent": "x"}) as span:
        span.set("key", object())
        assert tracer.headers() == {}
    with pytest.raises(KeyError), metrics.timer("no.such.metric"), tracer.attached({}), tracer.span("s", {}):
        raise KeyError
