"""What others can see of us while we run: metrics, and spans that follow an evaluation through its processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from wink_tasks.core.errors import ContractViolationError

Kind = Literal["counter", "gauge", "histogram"]
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Metric:
    """What is measured. `unit` is a UCUM code; `buckets` are a histogram's upper bounds, in that unit."""

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


# A cached tool answers in milliseconds, an agent may think for an hour.
SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)

METRICS: Final[Mapping[str, Metric]] = {
    metric.name: metric
    for metric in (
        Metric(
            "wink.prompt.duration_seconds",
            "histogram",
            "s",
            ("prompt", "status"),
            "Time from the first claim of an evaluation to its end.",
            SECONDS,
        ),
        Metric("wink.prompt.tokens.input", "counter", "{token}", ("prompt", "model"), "Tokens sent to a model."),
        Metric("wink.prompt.tokens.output", "counter", "{token}", ("prompt", "model"), "Tokens that a model answered."),
        Metric("wink.tool.invocations", "counter", "{call}", ("tool", "status"), "Tool calls, by how they ended."),
        Metric("wink.tool.duration_seconds", "histogram", "s", ("tool",), "Time that a tool call took.", SECONDS),
        Metric("wink.errors", "counter", "{error}", ("type",), "Errors, by the name of their class."),
        Metric("wink.mailbox.depth", "gauge", "{message}", ("mailbox", "state"), "Messages in a mailbox, by state."),
        Metric("wink.mailbox.age_seconds", "gauge", "s", ("mailbox",), "How long the oldest message has been ready."),
        Metric(
            "wink.mailbox.leases_lost",
            "counter",
            "{lease}",
            ("task",),
            "Steps worked on in vain: another worker had claimed them meanwhile.",
        ),
        Metric(
            "wink.sessions.archived",
            "counter",
            "{session}",
            ("status",),
            "Sessions that were put into the archive (ok), or could not be, and stay (failed).",
        ),
        Metric("wink.session.active", "gauge", "{session}", (), "Sessions with an evaluation that has not ended."),
    )
}


def declared(kind: Kind, name: str, labels: Labels | None) -> Metric:
    """The metric of that name. Raises ContractViolationError where there is none of that kind with these labels."""
    metric = METRICS.get(name)
    if metric is None:
        raise ContractViolationError(f"metric {name!r} is not one of {', '.join(METRICS)}")
    if metric.kind != kind:
        raise ContractViolationError(f"metric {name!r} is a {metric.kind}, and was recorded as a {kind}")
    given = sorted(labels or ())
    if given != sorted(metric.labels):
        raise ContractViolationError(f"metric {name!r} has the labels {[*metric.labels]}, and was given {given}")
    return metric


class Gauges(Protocol):
    """What a reading at the time of a scrape is written to."""

    def gauge(self, name: str, value: float, labels: Labels | None = None) -> None:
        """Say what the value is now."""
        ...


class MetricsCollector(Gauges, Protocol):
    """Where measurements go. Each takes exactly the labels that METRICS lists for its name."""

    def counter(self, name: str, value: float = 1, labels: Labels | None = None) -> None:
        """Add `value`, which is not negative."""
        ...

    def histogram(self, name: str, value: float, labels: Labels | None = None) -> None:
        """Count `value` among those seen."""
        ...

    def timer(self, name: str, labels: Labels | None = None) -> AbstractContextManager[None]:
        """Count the seconds that the block takes, also when it raises, in the histogram `name`."""
        ...


@contextmanager
def timed(
    metrics: MetricsCollector, monotonic: Callable[[], float], name: str, labels: Labels | None
) -> Iterator[None]:
    """What `timer` does, for a collector that has this clock."""
    began = monotonic()
    try:
        yield
    finally:
        metrics.histogram(name, monotonic() - began, labels)


class NullMetrics:
    """Measures nothing."""

    def counter(self, name: str, value: float = 1, labels: Labels | None = None) -> None:
        """See `MetricsCollector`."""

    def gauge(self, name: str, value: float, labels: Labels | None = None) -> None:
        """See `MetricsCollector`."""

    def histogram(self, name: str, value: float, labels: Labels | None = None) -> None:
        """See `MetricsCollector`."""

    def timer(self, name: str, labels: Labels | None = None) -> AbstractContextManager[None]:  # noqa: ARG002 - measures nothing
        """See `MetricsCollector`."""
        return nullcontext()


class Span(Protocol):
    """Something that is going on."""

    def set(self, key: str, value: object) -> None:
        """Add what became known: text, a number or a truth value; anything else is kept as its text."""
        ...


class Tracer(Protocol):
    """Tells what goes on, and as a part of what. Headers are W3C Trace Context: `traceparent` and `tracestate`."""

    def span(
        self, name: str, attributes: Mapping[str, object], *, parent: Mapping[str, str] | None = None
    ) -> AbstractContextManager[Span]:
        """A span as long as the block, part of `parent` (headers), else of the current span.

        An exception that leaves the block is recorded and goes on.
        """
        ...

    def headers(self) -> dict[str, str]:
        """The current span as headers, for a message; empty where there is none."""
        ...

    def attached(self, headers: Mapping[str, str]) -> AbstractContextManager[None]:
        """Make the span of these headers the current one within the block, without a span of its own."""
        ...


class NullSpan:
    """Remembers nothing."""

    def set(self, key: str, value: object) -> None:
        """See `Span`."""


class NullTracer:
    """Tells nothing."""

    def span(
        self,
        name: str,  # noqa: ARG002 - tells nothing
        attributes: Mapping[str, object],  # noqa: ARG002 - tells nothing
        *,
        parent: Mapping[str, str] | None = None,  # noqa: ARG002 - tells nothing
    ) -> AbstractContextManager[Span]:
        """See `Tracer`."""
        return nullcontext(NullSpan())

    def headers(self) -> dict[str, str]:
        """See `Tracer`."""
        return {}

    def attached(self, headers: Mapping[str, str]) -> AbstractContextManager[None]:  # noqa: ARG002 - tells nothing
        """See `Tracer`."""
        return nullcontext()
