"""Workers as child processes: started, seen alive, and ended whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from wink_tasks.core.errors import WinkError
from wink_tasks.ports.fleet import Worker

LINES_SHOWN = 15
GRACE = 5.0
"""Seconds from SIGTERM to SIGKILL. A prefork child that ended a task meanwhile takes half a minute by itself."""
ASK_EVERY = 0.1
"""Seconds between two looks at the fleet."""


class WorkerLostError(WinkError):
    """A worker of the demo ended, or did not come up; its last log lines are in the message."""

    fault = "infrastructure"


class Child:
    """A process in a group of its own, which the terminal's Ctrl-C does not reach."""

    def __init__(self, name: str, command: Sequence[str], *, log: Path) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it in the folder of its log, where nothing is that Python could import by accident."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the command is our own
                self._command,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise WorkerLostError where it has ended."""
        if self._process is not None and (code := self._process.poll()) is not None:
            raise self.lost(f"ended with exit code {code}")

    def lost(self, how: str) -> WorkerLostError:
        """What to say of a child that is of no use any more."""
        lines = self.log.read_text(errors="replace").splitlines()[-LINES_SHOWN:]
        return WorkerLostError("\n".join([f"worker {self.name} {how}; the end of {self.log}:", *lines]))

    def ask_to_end(self) -> None:
        """Send SIGTERM, upon which a worker ends the step in its hands."""
        if self._process is not None:
            self._process.terminate()

    def end(self, *, by: float) -> None:
        """Wait for its end until `by` (monotonic seconds); then kill it, and all that it started."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, by - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Children:
    """Several of them, all ended when the block is left."""

    def __init__(self, *, grace: float = GRACE) -> None:
        self._grace = grace
        self._started: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        by = time.monotonic() + self._grace
        for child in self._started:
            child.ask_to_end()
        for child in self._started:
            child.end(by=by)

    def start(self, child: Child) -> None:
        """Start one more."""
        self._started.append(child)
        child.start()

    def check(self) -> None:
        """Raise WorkerLostError where one has ended."""
        for child in self._started:
            child.check()

    def await_alive(
        self, workers: Callable[[], Sequence[Worker]], pause: Callable[[float], object], *, seconds: float
    ) -> None:
        """Return once all are members of the fleet, asked for after each `pause` of so many seconds.

        Raises WorkerLostError where one is not after `seconds`.
        """
        by = time.monotonic() + seconds
        while missing := {child.name: child for child in self._started}.keys() - {one.name for one in workers()}:
            self.check()
            if time.monotonic() > by:
                late = next(child for child in self._started if child.name in missing)
                raise late.lost(f"was not seen alive within {seconds:g} s")
            pause(ASK_EVERY)


def celery_worker(app: str, name: str, queue: str, *options: str) -> list[str]:
    """The command of a Celery worker that is up quickly: it does not ask others for news first."""
    celery = [sys.executable, "-m", "celery", "-A", app, "worker", "-n", name, "-Q", queue]
    return [*celery, "-l", "INFO", "--without-mingle", "--without-gossip", *options]
