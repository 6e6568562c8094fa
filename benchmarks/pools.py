"""Which of Celery's pools is for what: an evaluation of five steps on each, and what a call in flight weighs.

The evaluation is that of `hop.py`, with continuation, on one worker.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from hop import HERE, latency, load, throughput

from wink_tasks.adapters.redis.embedded import EmbeddedServer

SLOTS = {"threads": 50, "prefork": 2, "gevent": 50, "solo": 1}
WAITS = {"threads": 300, "gevent": 300, "prefork": 8}
"""How many calls in flight are weighed; a prefork worker has as many processes."""


@contextmanager
def worker(app: str, queue: str, pool: str, slots: int, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker on that pool."""
    env = {**os.environ, "HOP_REDIS_URL": url, "HOP_QUEUE": queue, "HOP_CONTINUATION": "1", "WINK_SHUTDOWN_GRACE": "0"}
    command = [sys.executable, "-m", "celery", "-A", app, "worker", "-Q", queue, "-P", pool, "-c", str(slots)]
    process = subprocess.Popen(
        [*command, "-l", "ERROR", "--without-mingle", "--without-gossip"],
        cwd=HERE,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def await_worker(wink: Any) -> None:
    """Until it is a member of the fleet."""
    while not wink.house().store.fleet.workers():
        time.sleep(0.05)


def memory(pid: int) -> float:
    """MiB that a process and its children have for themselves or share, each page counted in parts (Linux)."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)  # noqa: S607 - ps is where PATH has it
    kib = 0
    for one in [str(pid), *listed.stdout.split()]:
        lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 1024


def weighed(pool: str, url: str) -> float:
    """MiB for each hundred calls in flight."""
    os.environ["HOP_REDIS_URL"] = url
    sys.modules.pop("wait_app", None)
    app = importlib.import_module("wait_app")
    calls = WAITS[pool]
    with worker("wait_app", "waits", pool, calls, url) as process:
        await_worker(app.wink)
        mailbox = app.wink.house().store.mailbox

        def fly(number: int) -> float:
            target = mailbox.depth(["waits"])["waits"].leased + number
            for _ in range(number):
                app.wait.delay("x")
            while mailbox.depth(["waits"])["waits"].leased < target:
                time.sleep(0.1)
            time.sleep(1)
            return memory(process.pid)

        first = fly(1)
        grown = fly(calls - 1) - first
    app.wink.leave()
    return grown / (calls - 1) * 100


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times", type=int, default=40, help="runs one at a time in a round")
    parser.add_argument("--burst", type=int, default=200, help="runs at once in a round")
    args = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    for pool, slots in SLOTS.items():
        with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder)) as server:
            queue = f"on-{pool}"
            with worker("hop_app", queue, pool, slots, server.url):
                app = load(server.url, queue)
                await_worker(app.wink)
                start: Callable[[], Any] = partial(app.five_steps.delay, "go")
                latency(start, 5)
                waits, rates = [], []
                for _ in range(args.rounds):
                    waits += latency(start, args.times)
                    rates.append(throughput(start, args.burst))
                app.wink.leave()
            found = {
                "runs_per_s": round(statistics.median(rates), 1),
                "p50_ms": round(statistics.median(waits) * 1000, 1),
            }
            if pool in WAITS:
                found["mib_per_100_waits"] = round(weighed(pool, server.url), 1)
        figures[pool] = {"slots": slots, **found}
        print(pool, figures[pool])
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
