from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from wink_tasks.adapters.telemetry.prometheus import MetricsServer, PrometheusMetrics
from wink_tasks.core.errors import ConfigurationError, ContractViolationError
from wink_tasks.ports.telemetry import METRICS, Gauges, MetricsCollector


@pytest.fixture
def metrics() -> PrometheusMetrics:
    return PrometheusMetrics()


@pytest.fixture
def server(metrics: PrometheusMetrics) -> Iterator[MetricsServer]:
    server = MetricsServer(metrics.registry, port=0)
    server.start()
    yield server
    server.stop()


def scrape(port: int) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def record(metrics: MetricsCollector) -> None:
    metrics.histogram("wink.prompt.duration_seconds", 7.5, {"prompt": "proj.review", "status": "success"})
    metrics.counter("wink.prompt.tokens.input", 900, {"prompt": "proj.review", "model": "m"})
    metrics.counter("wink.prompt.tokens.output", 80, {"prompt": "proj.review", "model": "m"})
    metrics.counter("wink.tool.invocations", 1, {"tool": "proj.read_file", "status": "ok"})
    metrics.counter("wink.tool.invocations", labels={"tool": "proj.read_file", "status": "ok"})
    metrics.histogram("wink.tool.duration_seconds", 0.02, {"tool": "proj.read_file"})
    metrics.counter("wink.errors", 1, {"type": "ThrottledError"})
    metrics.gauge("wink.mailbox.depth", 3, {"mailbox": "turns", "state": "ready"})
    metrics.gauge("wink.mailbox.age_seconds", 1.5, {"mailbox": "turns"})
    metrics.gauge("wink.session.active", 2)


def test_a_scrape_shows_the_nine_metrics_with_true_values(metrics: PrometheusMetrics, server: MetricsServer) -> None:
    record(metrics)
    found = scrape(server.port)
    run = (("prompt", "proj.review"), ("status", "success"))
    model = (("model", "m"), ("prompt", "proj.review"))
    tool = (("tool", "proj.read_file"),)
    assert found["wink_prompt_duration_seconds_sum"] == {run: 7.5}
    assert found["wink_prompt_duration_seconds_count"] == {run: 1}
    assert found["wink_prompt_duration_seconds_bucket"][("le", "5.0"), *run] == 0
    assert found["wink_prompt_duration_seconds_bucket"][("le", "10.0"), *run] == 1
    assert found["wink_prompt_tokens_input_total"] == {model: 900}
    assert found["wink_prompt_tokens_output_total"] == {model: 80}
    assert found["wink_tool_invocations_total"] == {(("status", "ok"), *tool): 2}
    assert found["wink_tool_duration_seconds_sum"] == {tool: 0.02}
    assert found["wink_errors_total"] == {(("type", "ThrottledError"),): 1}
    assert found["wink_mailbox_depth"] == {(("mailbox", "turns"), ("state", "ready")): 3}
    assert found["wink_mailbox_age_seconds"] == {(("mailbox", "turns"),): 1.5}
    assert found["wink_session_active"] == {(): 2}
    assert {name.replace(".", "_") for name in METRICS} == {
        family.name for family in metrics.registry.collect() if family.name.startswith("wink_")
    }


def test_mistakes_raise_and_record_nothing(metrics: PrometheusMetrics) -> None:
    for wrong in (
        lambda: metrics.counter("wink.nothing"),
        lambda: metrics.counter("wink.errors", 1, {"kind": "x"}),
        lambda: metrics.histogram("wink.tool.duration_seconds", 1.0),
        lambda: metrics.gauge("wink.session.active", 1, {"tenant": "t"}),
        lambda: metrics.gauge("wink.errors", 1, {"type": "x"}),
    ):
        with pytest.raises(ContractViolationError, match=r"wink\."):
            wrong()
    assert not [sample for family in metrics.registry.collect() for sample in family.samples]


def test_a_timer_counts_the_seconds_of_its_block_also_when_it_raises() -> None:
    ticks = iter([10.0, 12.5, 20.0, 21.0])
    metrics = PrometheusMetrics(monotonic=lambda: next(ticks))
    with metrics.timer("wink.tool.duration_seconds", {"tool": "t"}):
        pass
    with pytest.raises(KeyError), metrics.timer("wink.tool.duration_seconds", {"tool": "t"}):
        raise KeyError
    value = metrics.registry.get_sample_value
    assert value("wink_tool_duration_seconds_sum", {"tool": "t"}) == 3.5
    assert value("wink_tool_duration_seconds_count", {"tool": "t"}) == 2


def test_gauges_are_read_at_each_scrape_and_vanish_when_not_read_again(
    metrics: PrometheusMetrics, server: MetricsServer
) -> None:
    depths = {"turns": 4, "tools": 1}

    def read(gauges: Gauges) -> None:
        for mailbox, depth in depths.items():
            gauges.gauge("wink.mailbox.depth", depth, {"state": "ready", "mailbox": mailbox})

    metrics.register_scrape(read)
    turns, tools = ((("mailbox", name), ("state", "ready")) for name in ("turns", "tools"))
    assert scrape(server.port)["wink_mailbox_depth"] == {turns: 4, tools: 1}
    depths.update(turns=5)
    del depths["tools"]
    assert scrape(server.port)["wink_mailbox_depth"] == {turns: 5}


def test_a_reading_that_fails_is_counted_and_logged_once_and_spoils_nothing_else(
    metrics: PrometheusMetrics, server: MetricsServer
) -> None:
    broken = True

    def fragile(gauges: Gauges) -> None:
        gauges.gauge("wink.session.active", 9)
        if broken:
            raise ConnectionError("no store")

    metrics.register_scrape(fragile)
    metrics.register_scrape(lambda gauges: gauges.gauge("wink.mailbox.age_seconds", 2, {"mailbox": "turns"}))
    errors = (("type", "ConnectionError"),)
    with capture_logs() as logs:
        first = scrape(server.port)
        assert first["wink_errors_total"] == {errors: 1}
        assert first["wink_mailbox_age_seconds"] == {(("mailbox", "turns"),): 2}
        assert "wink_session_active" not in first
        assert scrape(server.port)["wink_errors_total"] == {errors: 2}
        assert [line["reason"] for line in logs] == ["ConnectionError: no store"]
        broken = False
        assert scrape(server.port)["wink_session_active"] == {(): 9}
        broken = True
        scrape(server.port)
        assert len(logs) == 2


def test_two_collectors_do_not_mix_and_a_registry_takes_one(metrics: PrometheusMetrics) -> None:
    registry = CollectorRegistry()
    other = PrometheusMetrics(registry)
    assert other.registry is registry
    other.counter("wink.errors", 1, {"type": "E"})
    assert metrics.registry.get_sample_value("wink_errors_total", {"type": "E"}) is None
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        PrometheusMetrics(registry)


def test_the_server_may_be_stopped_before_it_starts_and_twice_and_started_again(server: MetricsServer) -> None:
    MetricsServer(CollectorRegistry(), port=0).stop()
    port = server.port
    server.stop()
    server.stop()
    with pytest.raises(OSError, match="refused"):
        scrape(port)
    server.start()
    assert server.port == port
    assert scrape(port) == {}


def test_a_port_that_is_taken_is_a_clear_error(server: MetricsServer) -> None:
    with pytest.raises(ConfigurationError, match=rf"port {server.port} \(Address already in use\): name another one"):
        MetricsServer(CollectorRegistry(), port=server.port).start()


@pytest.mark.parametrize("part", ["sums", "successors", "busy", "exclusive", "port"])
def test_prefork(part: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    if part == "busy":
        # coverage has a lock of its own that a child inherits from a thread which is being measured, and hangs on.
        environment = {name: value for name, value in environment.items() if not name.startswith("COVERAGE_")}
    # A process of its own: how prometheus-client keeps values is decided once for a whole process.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.unit.adapters.telemetry.prefork", part, tmp_path / "metrics"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{part}: ok\n"), done.stderr
