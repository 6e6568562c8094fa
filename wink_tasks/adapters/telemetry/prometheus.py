"""Metrics for Prometheus: counted here, in all processes of a prefork pool together, and served over HTTP."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Lock, Thread
from typing import Final
from wsgiref.simple_server import WSGIServer

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server, values
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from wink_tasks.core.errors import ConfigurationError
from wink_tasks.ports.telemetry import METRICS, Gauges, Labels, declared, timed

log = structlog.get_logger(__name__)

DIRECTORY_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"


class PrometheusMetrics:
    """Measurements in `registry`, which may be scraped as it is. One a process.

    Where PROMETHEUS_MULTIPROC_DIR is set, counters and histograms of all processes that share that directory are added
    up. Gauges are those of the process that is scraped: have them read at each scrape (`register_scrape`).
    """

    def __init__(
        self, registry: CollectorRegistry | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.registry = registry or CollectorRegistry()
        self._monotonic = monotonic
        self._gauges = _Gauges(self)
        # First: what fails while gauges are read is counted in the same scrape.
        self.registry.register(self._gauges)
        own: CollectorRegistry | None = self.registry
        if DIRECTORY_VARIABLE in os.environ:
            MultiProcessCollector(self.registry)  # type: ignore[no-untyped-call]
            own = None
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        for metric in METRICS.values():
            name = _underscored(metric.name)
            if metric.kind == "counter":
                self._counters[metric.name] = Counter(name, metric.help, metric.labels, registry=own)
            elif metric.kind == "histogram":
                self._histograms[metric.name] = Histogram(
                    name, metric.help, metric.labels, registry=own, buckets=metric.buckets
                )
        self._lock = Lock()
        # prometheus-client has locks of its own: a child that is forked while another thread holds one would wait for
        # it for ever. Nobody holds one while we hold ours.
        os.register_at_fork(
            before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._lock.release
        )

    def counter(self, name: str, value: float = 1, labels: Labels | None = None) -> None:
        """See `ports.telemetry`."""
        declared("counter", name, labels)
        with self._lock:
            self._counters[name].labels(**labels or {}).inc(value)

    def histogram(self, name: str, value: float, labels: Labels | None = None) -> None:
        """See `ports.telemetry`."""
        declared("histogram", name, labels)
        with self._lock:
            self._histograms[name].labels(**labels or {}).observe(value)

    def gauge(self, name: str, value: float, labels: Labels | None = None) -> None:
        """See `ports.telemetry`. The value stands until the next one."""
        self._gauges.pushed.gauge(name, value, labels)

    def timer(self, name: str, labels: Labels | None = None) -> AbstractContextManager[None]:
        """See `ports.telemetry`."""
        return timed(self, self._monotonic, name, labels)

    def register_scrape(self, read: Callable[[Gauges], None]) -> None:
        """Have `read` set gauges at the beginning of each scrape, in the thread of the scrape.

        What it does not set again is gone from the next scrape. If it raises, its gauges are missing from this one, the
        error is counted in `wink.errors`, and logged once until it works again.
        """
        self._gauges.readers.append(read)


class MetricsServer:
    """Serves a registry at http://<this machine>:`port`/metrics; port 0 takes a free one, which `port` then tells."""

    def __init__(self, registry: CollectorRegistry, port: int) -> None:
        self.port = port
        self._registry = registry
        self._running: tuple[WSGIServer, Thread] | None = None
        # A child that outlives us must not keep the port.
        os.register_at_fork(after_in_child=self._let_go)

    def start(self) -> None:
        """Listen. Raises ConfigurationError where the port cannot be had."""
        try:
            self._running = start_http_server(self.port, registry=self._registry)
        except OSError as error:
            raise ConfigurationError(
                f"metrics cannot be served on port {self.port} ({error.strerror}): "
                "name another one, or 0 for any that is free"
            ) from error
        self.port = self._running[0].server_port

    def stop(self) -> None:
        """Let go of the port. May be called twice, and before `start`."""
        if self._running is None:
            return
        server, thread = self._running
        self._running = None
        server.shutdown()
        server.server_close()
        thread.join()

    def _let_go(self) -> None:
        if self._running is not None:
            self._running[0].socket.close()
            self._running = None


def multiprocess_directory(path: Path, process: Callable[[], object] = os.getpid) -> None:
    """Have this process, and those that it forks, add up their metrics in files in the directory `path`.

    Call it before the first PrometheusMetrics is made, in the process that forks the others and is scraped. The
    directory is made, and emptied of what an earlier run left. `process` tells the running process from its siblings by
    a name without "_"; one that passes to the successor of a dead process (its place in the pool) keeps the number of
    files bounded. Raises ConfigurationError where another process has the directory.
    """
    import fcntl  # not on Windows, which has no prefork pool either

    path.mkdir(parents=True, exist_ok=True)
    # Stays open, and so locked, as long as this process lives; children do not inherit the lock.
    descriptor = os.open(path / "owner.lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise ConfigurationError(
            f"the directory {str(path)!r} holds the metrics of another running process: give each worker its own"
        ) from error
    for left in path.glob("*.db"):
        left.unlink()
    os.environ[DIRECTORY_VARIABLE] = str(path)
    values.ValueClass = values.MultiProcessValue(process)  # type: ignore[no-untyped-call]


class _Readings:
    """Values of gauges."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, tuple[str, ...]], float] = {}

    def gauge(self, name: str, value: float, labels: Labels | None = None) -> None:
        """See `ports.telemetry.Gauges`."""
        metric = declared("gauge", name, labels)
        self.values[name, tuple((labels or {})[label] for label in metric.labels)] = value


class _Gauges(Collector):
    """All gauges at the time of a scrape."""

    def __init__(self, metrics: PrometheusMetrics) -> None:
        self.pushed = _Readings()
        self.readers: list[Callable[[Gauges], None]] = []
        self._metrics = metrics
        self._failing: set[Callable[[Gauges], None]] = set()

    def describe(self) -> Iterator[GaugeMetricFamily]:
        for metric in METRICS.values():
            if metric.kind == "gauge":
                yield GaugeMetricFamily(_underscored(metric.name), metric.help, labels=metric.labels)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found = self.pushed.values.copy()
        for read in self.readers:
            found |= self._read(read)
        for family in self.describe():
            for (name, labels), value in found.items():
                if _underscored(name) == family.name:
                    family.add_metric(labels, value)
            yield family

    def _read(self, read: Callable[[Gauges], None]) -> dict[tuple[str, tuple[str, ...]], float]:
        readings = _Readings()
        try:
            read(readings)
        except Exception as error:  # noqa: BLE001 - the other metrics are to be seen whatever it is
            self._metrics.counter("wink.errors", 1, {"type": type(error).__name__})
            if read not in self._failing:
                self._failing.add(read)
                log.warning(
                    "gauges not read; they are missing from the metrics", reason=f"{type(error).__name__}: {error}"
                )
            return {}
        self._failing.discard(read)
        return readings.values


def _underscored(name: str) -> str:
    return name.replace(".", "_")
