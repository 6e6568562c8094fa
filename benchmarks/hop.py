"""What durability costs: an evaluation of five steps against a chain of five bare Celery tasks, in one run.

The steps are model, tool, model, tool, model, with an instant provider; first each one by its own doorbell, then with
continuation. All sides use the same broker, pool and concurrency, and take turns, round by round.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from celery import chain

from wink_tasks.adapters.redis.embedded import EmbeddedServer

HERE = Path(__file__).parent


def worker(url: str, queue: str, *, continuation: bool) -> subprocess.Popen[bytes]:
    """A worker that serves one side."""
    env = {**os.environ, "HOP_REDIS_URL": url, "HOP_QUEUE": queue, "HOP_CONTINUATION": str(int(continuation))}
    command = [sys.executable, "-m", "celery", "-A", "hop_app", "worker", "-Q", queue, "-P", "threads", "-c", "50"]
    return subprocess.Popen([*command, "-n", f"{queue}@%h", "-l", "ERROR"], cwd=HERE, env=env)


def load(url: str, queue: str) -> Any:
    """The app of one side in this process."""
    os.environ.update(HOP_REDIS_URL=url, HOP_QUEUE=queue, HOP_CONTINUATION="0")
    sys.path.insert(0, str(HERE))
    sys.modules.pop("hop_app", None)
    return importlib.import_module("hop_app")


def latency(start: Callable[[], Any], times: int) -> list[float]:
    """Seconds from start to result, one at a time."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        start().get(timeout=60)
        taken.append(time.perf_counter() - began)
    return taken


def throughput(start: Callable[[], Any], times: int) -> float:
    """Runs per second when all are started at once."""
    began = time.perf_counter()
    for handle in [start() for _ in range(times)]:
        handle.get(timeout=120)
    return times / (time.perf_counter() - began)


def bare_chain(task: Any) -> Any:
    """Start five bare tasks, one after the other; a chain that is started twice would keep its first ids."""
    following = [task.s().set(queue="hops") for _ in range(4)]
    return chain(task.s(0).set(queue="hops"), *following)()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--times", type=int, default=40, help="runs one at a time in a round")
    parser.add_argument("--burst", type=int, default=200, help="runs at once in a round")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder)) as server:
        workers = [
            worker(server.url, "hops", continuation=False),
            worker(server.url, "continued", continuation=True),
        ]
        try:
            hops, continued = load(server.url, "hops"), load(server.url, "continued")
            sides: dict[str, Callable[[], Any]] = {
                "bare": partial(bare_chain, hops.bare),
                "wink": partial(hops.five_steps.delay, "go"),
                "continued": partial(continued.five_steps.delay, "go"),
            }
            waits: dict[str, list[float]] = {side: [] for side in sides}
            rates: dict[str, list[float]] = {side: [] for side in sides}
            for start in sides.values():
                latency(start, 5)
            for _ in range(args.rounds):
                for side, start in sides.items():
                    waits[side] += latency(start, args.times)
                for side, start in sides.items():
                    rates[side].append(throughput(start, args.burst))
        finally:
            for process in workers:
                process.terminate()
            for process in workers:
                process.wait(timeout=30)
    p50 = {side: statistics.median(taken) * 1000 for side, taken in waits.items()}
    rate = {side: statistics.median(found) for side, found in rates.items()}
    for side in sides:
        print(f"{side:10} p50 {p50[side]:7.1f} ms   {rate[side]:7.1f} runs/s")
    print(
        json.dumps(
            {
                "latency_ratio": round(p50["wink"] / p50["bare"], 2),
                "throughput_ratio": round(rate["wink"] / rate["bare"], 2),
                "continued_latency_ratio": round(p50["continued"] / p50["bare"], 2),
                "continued_throughput_ratio": round(rate["continued"] / rate["bare"], 2),
                "bare_p50_ms": round(p50["bare"], 2),
                "bare_runs_per_s": round(rate["bare"], 1),
            }
        )
    )


if __name__ == "__main__":
    main()
