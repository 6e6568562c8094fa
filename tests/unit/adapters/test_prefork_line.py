"""The line between a prefork worker's main process and its children."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.workers import eventually
from wink_tasks.adapters.celery.prefork import ADDRESS, ChildEnd, ParentEnd, is_prefork, line_to_parent

CHILD = """
import os, sys
from wink_tasks.adapters.celery.prefork import line_to_parent
line = line_to_parent()
line.open(lambda message: (sys.stdout.buffer.write(message + b"\\n"), sys.stdout.flush()))
line.send(b"one")
line.send(b"two")
if sys.argv[1] == "forks" and os.fork() == 0:
    print(os.getpid(), flush=True)
sys.stdin.read()
"""


class Parent:
    """The parent's end, and what it heard."""

    def __init__(self) -> None:
        self.end = ParentEnd()
        self.heard: queue.SimpleQueue[tuple[object, ...]] = queue.SimpleQueue()

    def listen(self) -> None:
        self.end.open(
            came=lambda child: self.heard.put(("came", child)),
            hear=self.hear,
            gone=lambda child: self.heard.put(("gone", child)),
        )

    def hear(self, child: int, message: bytes) -> None:
        if message == b"nonsense":
            raise ValueError(message)
        self.heard.put((message, child))

    def next(self) -> tuple[object, ...]:
        return self.heard.get(timeout=60)

    @property
    def path(self) -> str:
        return os.environ[ADDRESS].partition(" ")[2]


@pytest.fixture
def parent() -> Iterator[Parent]:
    found = Parent()
    yield found
    found.end.close()


def start(how: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CHILD, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_a_child_talks_with_its_parent_who_hears_of_its_death(parent: Parent):
    """Also what it said before its parent listened, and though a process that it forked lives on."""
    child = start("forks")
    forked = int(child.stdout.readline())
    parent.listen()
    assert [parent.next() for _ in range(3)] == [("came", child.pid), (b"one", child.pid), (b"two", child.pid)]
    parent.end.send(child.pid, b"well done")
    assert child.stdout.readline() == b"well done\n"
    child.kill()
    assert parent.next() == ("gone", child.pid)
    parent.end.send(child.pid, b"nobody hears it")
    os.kill(forked, 0)  # it lives still
    child.wait()
    child.stdin.close()
    assert child.stdout.read() == b"", "all have ended"
    child.stdout.close()


@pytest.mark.parametrize("address", ["", "1 /nowhere"])
def test_a_process_that_is_no_child_has_no_line(address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(ADDRESS, address)
    assert line_to_parent() is None


def test_what_one_child_says_wrongly_hurts_nobody_else(parent: Parent, caplog: pytest.LogCaptureFixture):
    parent.listen()
    child = ChildEnd(parent.path)
    child.send(b"nonsense")
    assert parent.next() == ("came", os.getpid())
    child.send(b"sense")
    assert parent.next() == (b"sense", os.getpid())
    assert f"what process {os.getpid()} said is lost" in caplog.text
    child.close()
    child.close()
    child.forget()
    assert parent.next() == ("gone", os.getpid())


def test_a_parent_that_never_listened_ends():
    parent = Parent()
    parent.end.close()
    assert ADDRESS not in os.environ


def test_a_child_that_does_not_listen_hears_nothing(parent: Parent, caplog: pytest.LogCaptureFixture):
    parent.listen()
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.connect(parent.path)
        deaf.sendall(b"77\n")
        assert parent.next() == ("came", 77)
        eventually(lambda: parent.end.send(77, b"x" * 100_000) or caplog.text, "it is full")
    assert "process 77 does not listen" in caplog.text


def test_without_a_parent_nothing_is_said(tmp_path):
    child = ChildEnd(str(tmp_path / "nobody"))
    child.close()
    with pytest.raises(OSError, match="No such file"):
        child.send(b"hello")


def test_a_parent_that_goes_is_not_missed():
    parent = Parent()
    parent.listen()
    child = ChildEnd(parent.path)
    child.open(lambda _: None)
    child.send(b"hello")
    assert parent.next() == ("came", os.getpid())
    parent.end.close()
    parent.end.close()
    assert ADDRESS not in os.environ
    child.close()


@pytest.mark.parametrize(("pool", "has"), [("prefork", True), ("threads", False), ("solo", False)])
def test_which_pools_have_children(pool: str, has: bool):
    assert is_prefork(pool) is has
