"""A real Flower beside real workers: what it counts is what the ledger says, and its buttons end evaluations."""

from __future__ import annotations

import importlib
import json
import os
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.workers import ROOT, Workers, eventually
from wink_tasks.core.events import ModelResponded, ToolReturned

COUNTED = re.compile(r'flower_events_total\{task="([^"]*)",type="([^"]*)",worker="([^"]*)"\} (\d+)')


class Flower:
    """`celery flower` as a subprocess."""

    def __init__(self, app: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = folder / "flower.log"
        options = ["--address=127.0.0.1", f"--port={self.port}", "--persistent=False"]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", app, "flower", *options],
                cwd=ROOT,
                env={**os.environ, "FLOWER_UNAUTHENTICATED_API": "true"},
                stdout=out,
                stderr=out,
            )

    def ask(self, path: str, *, post: bool = False) -> str:
        """What it answers; nothing while it does not."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("POST" if post else "GET", path)
            answer = connection.getresponse()
            return answer.read().decode() if answer.status == HTTPStatus.OK else ""
        except OSError:
            return ""
        finally:
            connection.close()

    def state(self, task_id: str) -> str:
        """What it says of a task."""
        info = self.ask(f"/api/task/info/{task_id}")
        return json.loads(info)["state"] if info else ""

    def counted(self) -> Counter[tuple[str, str]]:
        """Events by task and type, over all workers."""
        counts: Counter[tuple[str, str]] = Counter()
        for task, kind, _, number in COUNTED.findall(self.ask("/metrics")):
            counts[task.removeprefix("revocable."), kind.removeprefix("task-")] += int(number)
        return counts

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(30)


class Site:
    """The application, its workers, and Flower."""

    def __init__(self, module: ModuleType, flower: Flower) -> None:
        self.module = module
        self.flower = flower


@pytest.fixture
def site(redis_url: str, workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("WINK_REDIS_URL", "CELERY_BROKER_URL"):
        monkeypatch.setenv(name, redis_url)
    sys.modules.pop("tests.apps.revocable", None)
    module = importlib.import_module("tests.apps.revocable")
    flower = Flower("tests.apps.revocable", tmp_path)
    workers.start("tests.apps.revocable", "turns", options=("--without-mingle",))
    workers.start("tests.apps.revocable", "tools", pool="prefork", concurrency=2, options=("--without-mingle",))
    logs = [worker.log for worker in workers.started]
    # No worker was told to send events: Flower switches them on.
    eventually(lambda: all("enabled by remote" in log.read_text() for log in logs), "Flower switches events on")
    yield Site(module, flower)
    flower.stop()
    module.wink.leave()


def test_flower_counts_what_the_ledger_says_and_its_buttons_work(site: Site):
    runs = [site.module.obey.delay("quick inline quick") for _ in range(3)]
    for run in runs:
        assert run.get(timeout=60) == "quick inline quick"
    expected = expected_events([event.event for run in runs for event in run.events()], runs=len(runs))
    eventually(lambda: site.flower.counted() == expected, f"{expected}, not {site.flower.counted()}", patience=20)
    for run in runs:
        assert {site.flower.state(row) for row in (run.id, f"{run.id}~turn1.call0", f"{run.id}~outcome")} == {"SUCCESS"}

    for what, step_name in (("hang", "turn2"), ("sleeps", "turn2.call0")):
        revoked = site.module.obey.delay(f"quick {what}")
        step = f"{revoked.id}~{step_name}"
        eventually(lambda step=step: site.flower.state(step) == "STARTED", f"Flower knows that {step} runs")
        assert site.flower.ask(f"/api/task/revoke/{step}?terminate=true", post=True)
        eventually(lambda step=step: site.flower.state(step) == "REVOKED", "the step's row")
        eventually(lambda run=revoked: site.flower.state(run.id) == "REVOKED", "the run's row")
        assert revoked.status == "REVOKED"
    assert site.flower.counted()["obey", "revoked"] == 2
    page = site.flower.ask(f"/task/{revoked.id}")
    assert "REVOKED" in page
    assert revoked.id in page


def expected_events(events: list[Any], *, runs: int) -> Counter[tuple[str, str]]:
    """What exporters are to count: each step once, the first turn under its run's own row."""
    answers = sum(isinstance(event, ModelResponded) for event in events)
    calls = Counter(event.tool for event in events if isinstance(event, ToolReturned))
    rows = Counter({"obey": runs, "obey:turn": answers - runs, "obey:outcome": runs, **calls})
    return Counter(
        {(task, kind): number for task, number in rows.items() for kind in ("received", "started", "succeeded")}
    )
