"""What wink-tasks costs before there is work: the import, and an idle worker's keeper and reaper."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from redis import Redis

from wink_tasks.adapters.redis.embedded import EmbeddedServer

HERE = Path(__file__).parent
SDKS = ("openai", "anthropic", "litellm", "claude_agent_sdk")


def import_seconds(statement: str) -> float:
    """Seconds of a Python process that runs `statement`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - began


def cpu_seconds(pid: int) -> float:
    """User and system seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle_share(url: str, app: str, seconds: float) -> float:
    """Which share of a core an idle worker of `app` uses."""
    env = {**os.environ, "HOP_REDIS_URL": url, "HOP_QUEUE": "idle"}
    command = [sys.executable, "-m", "celery", "-A", app, "worker", "-Q", "idle", "-P", "threads", "-c", "10"]
    process = subprocess.Popen([*command, "-l", "ERROR"], cwd=HERE, env=env, stdout=subprocess.DEVNULL)
    try:
        with Redis.from_url(url) as redis:
            for _ in range(600):
                if redis.exists("_kombu.binding.idle"):
                    break
                time.sleep(0.1)
        time.sleep(5)
        before = cpu_seconds(process.pid)
        time.sleep(seconds)
        return (cpu_seconds(process.pid) - before) / seconds
    finally:
        process.terminate()
        process.wait(timeout=30)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--imports", type=int, default=10)
    parser.add_argument("--idle", type=float, default=20.0, help="seconds to watch each idle worker")
    args = parser.parse_args()
    ours, theirs = [], []
    for _ in range(args.imports):
        ours.append(import_seconds("import wink_tasks"))
        theirs.append(import_seconds("import celery, redis, pydantic; celery.Celery, redis.Redis, pydantic.BaseModel"))
    loaded = subprocess.run(
        [sys.executable, "-c", f"import sys, wink_tasks; print(*[n for n in {SDKS!r} if n in sys.modules])"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder)) as server:
        with_us = idle_share(server.url, "hop_app", args.idle)
        bare = idle_share(server.url, "bare_app", args.idle)
    print(
        f"import wink_tasks {statistics.median(ours) * 1000:.0f} ms, celery+redis+pydantic "
        f"{statistics.median(theirs) * 1000:.0f} ms; vendor SDKs loaded: {loaded or 'none'}"
    )
    print(f"idle worker: {with_us:.2%} of a core, a bare Celery worker {bare:.2%}")
    print(
        json.dumps(
            {
                "import_ratio": round(statistics.median(ours) / statistics.median(theirs), 2),
                "sdks_loaded": len(loaded),
                "idle_share": round(with_us - bare, 4),
            }
        )
    )


if __name__ == "__main__":
    main()
