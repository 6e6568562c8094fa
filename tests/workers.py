"""Celery workers as subprocesses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from wink_tasks import Wink

ROOT = Path(__file__).parent.parent
PATIENCE = 60.0


def eventually(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """What `condition` gives as soon as it is true."""
    pause = threading.Event()
    for _ in range(int(patience / 0.02)):
        if found := condition():
            return found
        pause.wait(0.02)
    pytest.fail(f"not within {patience:g} s: {what}")


class WorkerProcess:
    """One `celery worker`, its log, and ways to end it."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log
        self._asked = False

    def await_log(self, words: str) -> None:
        """Wait until it has logged `words`."""
        eventually(lambda: words in self.log.read_text(), f"worker {self.name} logs {words!r}")

    def kill(self) -> None:
        """End it as a crash does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def story(self) -> str:
        """The end of its log, and how it ended; where it has not, what each of its threads does."""
        log = self.log.read_text(errors="replace")
        told = ""
        if (code := self.process.poll()) is None:
            self.process.send_signal(signal.SIGUSR1)  # Celery writes the stack of every thread
            with suppress(pytest.fail.Exception):
                eventually(lambda: "MainThread" in self.log.read_text(errors="replace")[len(log) :], "stacks", 3)
            told = self.log.read_text(errors="replace")[len(log) :]
        return f"exit code {code}\n{log[-8_000:]}{told}"

    def ask_to_end(self) -> None:
        """Ask as a deploy does, once."""
        self._asked = True
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """End it as a deploy does; its exit code. Who is asked already is only waited for."""
        if not self._asked:
            self.ask_to_end()
        try:
            return self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"worker {self.name} did not end:\n{self.log.read_text()[-4000:]}")


class Workers:
    """Starts workers of an application, and ends them all."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._folder = folder
        self.env = env
        self.started: list[WorkerProcess] = []

    def start(
        self,
        app: str,
        queues: str,
        *,
        pool: str = "threads",
        concurrency: int = 4,
        wink: Wink | None = None,
        env: dict[str, str] | None = None,
        options: tuple[str, ...] = (),
    ) -> WorkerProcess:
        """A worker, and where `wink` is given, not before it is a member of the fleet."""
        name = f"w{len(self.started)}@test"
        log = self._folder / f"{name}.log"
        command = [sys.executable, "-m", "celery", "-A", app, "worker", "-n", name, "-Q", queues, "-P", pool]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*command, "-c", str(concurrency), "-l", "INFO", *options],
                cwd=ROOT,
                env={**os.environ, "PYTHONFAULTHANDLER": "1", **self.env, **(env or {})},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        worker = WorkerProcess(name, process, log)
        self.started.append(worker)
        if wink is not None:
            self.await_member(worker, wink)
        return worker

    def await_member(self, worker: WorkerProcess, wink: Wink) -> None:
        """Wait until it is a member of the fleet."""
        eventually(lambda: self._alive(worker, wink), f"worker {worker.name} joins; its log: {worker.log}")

    def _alive(self, worker: WorkerProcess, wink: Wink) -> bool:
        if worker.process.poll() is not None:
            pytest.fail(f"worker {worker.name} ended at once:\n{worker.log.read_text()[-4000:]}")
        return any(member.name == worker.name for member in wink.house().store.fleet.workers())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed shows what became of its workers."""
    report = yield
    if report.when == "call" and report.failed:
        for value in getattr(item, "funcargs", {}).values():
            used = value if isinstance(value, Workers) else getattr(value, "workers", None)
            for worker in used.started if isinstance(used, Workers) else ():
                report.sections.append((f"worker {worker.name}", worker.story()))
    return report


@pytest.fixture
def workers(tmp_path: Path, redis_url: str) -> Iterator[Workers]:
    """Workers on the test's Redis, all ended after the test."""
    found = Workers(tmp_path, {"WINK_REDIS_URL": redis_url, "CELERY_BROKER_URL": redis_url})
    yield found
    for worker in found.started:
        worker.ask_to_end()
    for worker in found.started:
        worker.stop()
