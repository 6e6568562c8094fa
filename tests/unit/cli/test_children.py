from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workers import eventually
from wink_tasks.cli.children import Child, Children, WorkerLostError, celery_worker
from wink_tasks.ports.fleet import Worker

STUBBORN = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(child.pid, flush=True)
signal.pause()
"""
PATIENT = "import signal; print('up', flush=True); signal.pause()"


@pytest.fixture
def child(tmp_path: Path) -> Callable[..., Child]:
    def make(code: str, name: str = "w1") -> Child:
        return Child(name, [sys.executable, "-c", code], log=tmp_path / f"{name}.log")

    return make


def alive(*names: str) -> Callable[[], list[Worker]]:
    return lambda: [Worker(name=name, pid=1, version="1", pool="threads", mailboxes=()) for name in names]


def ask_again(_seconds: float) -> None:
    """No pause at all."""


def runs(pid: int) -> bool:
    """Whether a process that is no child of ours runs: a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_children_are_ended_with_the_block(child: Callable[..., Child], tmp_path: Path):
    one = child(PATIENT)
    with Children() as children:
        children.start(one)
        eventually(lambda: "up" in (tmp_path / "w1.log").read_text(), "the child is up")
        children.check()
    with pytest.raises(WorkerLostError, match="exit code -15"):
        one.check()


def test_one_that_does_not_listen_is_killed_with_all_that_it_started(child: Callable[..., Child], tmp_path: Path):
    one, log = child(STUBBORN), tmp_path / "w1.log"
    with Children(grace=0.1) as children:
        children.start(one)
        grandchild = int(eventually(log.read_text, "the child has a child"))
    with pytest.raises(WorkerLostError, match="exit code -9"):
        one.check()
    eventually(lambda: not runs(grandchild), "the child's child ends")


def test_one_that_dies_at_its_start_is_an_error_with_its_last_words(child: Callable[..., Child]):
    code = "[print('line', n) for n in range(50)]; raise SystemExit('hello')"
    with Children() as children:
        children.start(child(code))
        with pytest.raises(WorkerLostError, match="worker w1 ended with exit code 1") as caught:
            children.await_alive(alive(), ask_again, seconds=60)
    told = str(caught.value).splitlines()
    assert "hello" in told
    assert "line 49" in told
    assert "line 30" not in told


def test_one_that_is_not_seen_alive_in_time_is_an_error(child: Callable[..., Child]):
    with Children() as children:
        children.start(child(PATIENT, "w1"))
        children.start(child(PATIENT, "w2"))
        with pytest.raises(WorkerLostError, match=r"worker w2 was not seen alive within 0\.05 s"):
            children.await_alive(alive("w1"), ask_again, seconds=0.05)
        children.await_alive(alive("w1", "w2", "another"), ask_again, seconds=0)


def test_one_that_could_not_be_started_leaves_nothing_to_end(tmp_path: Path):
    one = Child("w1", [str(tmp_path / "missing")], log=tmp_path / "w1.log")
    with pytest.raises(FileNotFoundError), Children() as children:
        children.start(one)
    one.check()


def test_a_worker_is_celerys_command():
    command = celery_worker("workers.turns", "turns@demo", "turns", "-P", "threads")
    assert command[:5] == [sys.executable, "-m", "celery", "-A", "workers.turns"]
    assert command[-2:] == ["-P", "threads"]
    assert os.fspath(command[command.index("-Q") + 1]) == "turns"
