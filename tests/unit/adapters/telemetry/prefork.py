"""What a pool of forked processes does, each part a process of its own: `python -m ... PART DIRECTORY`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

from prometheus_client import generate_latest

from wink_tasks.adapters.telemetry.prometheus import MetricsServer, PrometheusMetrics, multiprocess_directory
from wink_tasks.core.errors import ConfigurationError

ERROR = {"type": "E"}


def fork(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def join(child: int) -> None:
    assert os.waitpid(child, 0)[1] == 0


def total(metrics: PrometheusMetrics) -> float | None:
    return metrics.registry.get_sample_value("wink_errors_total", ERROR)


def sums(directory: Path) -> None:
    directory.mkdir()
    (directory / "counter_77.db").write_bytes(b"what an earlier run left")
    multiprocess_directory(directory)
    metrics = PrometheusMetrics()

    def work() -> None:
        metrics.counter("wink.errors", 2, ERROR)
        metrics.histogram("wink.tool.duration_seconds", 0.2, {"tool": "t"})

    metrics.counter("wink.errors", 1, ERROR)
    children = [fork(work) for _ in range(3)]
    for child in children:
        join(child)
    metrics.register_scrape(lambda gauges: gauges.gauge("wink.session.active", 5))
    text = generate_latest(metrics.registry).decode()
    assert 'wink_errors_total{type="E"} 7.0\n' in text, text
    assert 'wink_tool_duration_seconds_count{tool="t"} 3.0\n' in text, text
    assert 'wink_tool_duration_seconds_bucket{le="0.1",tool="t"} 0.0\n' in text, text
    assert "\nwink_session_active 5.0\n" in text, text


def successors(directory: Path) -> None:
    place = "main"
    multiprocess_directory(directory, lambda: place)
    metrics = PrometheusMetrics()

    def work() -> None:
        nonlocal place
        place = "0"
        metrics.counter("wink.errors", 1, ERROR)

    for expected in (1, 2, 3):
        join(fork(work))
        assert total(metrics) == expected
    assert sorted(path.name for path in directory.glob("counter_*")) == ["counter_0.db"]


def busy(directory: Path) -> None:
    multiprocess_directory(directory)
    metrics = PrometheusMetrics()
    stop = Event()
    counted = 0

    def hammer() -> None:
        nonlocal counted
        while not stop.is_set():
            metrics.counter("wink.errors", 1, ERROR)
            counted += 1

    thread = Thread(target=hammer)
    thread.start()
    for _ in range(10):
        join(fork(lambda: metrics.counter("wink.errors", 1, ERROR)))
    stop.set()
    thread.join()
    assert total(metrics) == counted + 10


def exclusive(directory: Path) -> None:
    multiprocess_directory(directory)

    def work() -> None:
        try:
            multiprocess_directory(directory)
        except ConfigurationError as error:
            assert f"{str(directory)!r} holds the metrics of another running process" in str(error)  # noqa: PT017 - not under pytest
        else:
            raise AssertionError("two processes own one directory")

    join(fork(work))
    # Nor does a child that let go of its copy let go of ours.
    join(fork(work))


def port(directory: Path) -> None:
    multiprocess_directory(directory)
    server = MetricsServer(PrometheusMetrics().registry, port=0)
    join(fork(server.stop))
    server.start()
    told, tell = os.pipe()
    waits, go = os.pipe()

    def outlive() -> None:
        os.close(go)
        os.write(tell, b"x")
        os.read(waits, 1)
        server.stop()

    child = fork(outlive)
    os.read(told, 1)
    server.stop()
    server.start()
    os.close(go)
    join(child)
    server.stop()


if __name__ == "__main__":
    name = sys.argv[1]
    {"sums": sums, "successors": successors, "busy": busy, "exclusive": exclusive, "port": port}[name](
        Path(sys.argv[2])
    )
    print(f"{name}: ok")  # noqa: T201 - what the test waits for
