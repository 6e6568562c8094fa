"""The line between a prefork worker's main process and its children.

A socket in a private folder, whose path the environment carries: that reaches children that are forked and those that
are spawned (macOS), where inherited pipes do not. It is a stream, so that the kernel tells the parent of a child's
death in the moment in which it dies, behind all that the child had said.
"""

from __future__ import annotations

import logging
import os
import selectors
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol
from weakref import WeakSet

log = logging.getLogger(__name__)

ADDRESS: Final = "WINK_MAIN_PROCESS"
"""In the environment of children: the parent's process id, and the path of its socket."""

PATIENCE: Final = 2
"""Seconds for which a child waits until its parent takes a message."""

LARGEST_READ: Final = 1 << 16


class _Forgets(Protocol):
    def forget(self) -> None: ...


_open: WeakSet[_Forgets] = WeakSet()


def _after_fork() -> None:
    """A copy of an end that a fork brought along would hide the other end's death."""
    for end in tuple(_open):
        end.forget()


os.register_at_fork(after_in_child=_after_fork)


def is_prefork(pool: Any) -> bool:
    """Whether a worker's pool, as a class or by its name, has children."""
    from celery import concurrency

    return bool(concurrency.get_implementation(pool).__module__.endswith(".prefork"))


def line_to_parent() -> ChildEnd | None:
    """The line of this process to its worker's main process; None where this is no child of one."""
    pid, _, path = os.environ.get(ADDRESS, "").partition(" ")
    return ChildEnd(path) if pid == str(os.getppid()) else None


class ChildEnd:
    """See `ports.line.LineToParent`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._hear: Callable[[bytes], object] = len  # nobody's, before it is opened

    def open(self, hear: Callable[[bytes], object]) -> None:
        """Have `hear` called with what the parent says."""
        self._hear = hear

    def send(self, message: bytes) -> None:
        """Say something; the first time, who this is."""
        with self._lock:
            if self._socket is None:
                self._socket = self._connected()
            self._socket.sendall(message + b"\n")

    def close(self) -> None:
        """Say no more."""
        with self._lock:
            end, self._socket = self._socket, None
        if end is not None:
            with suppress(OSError):  # the parent may be gone
                end.shutdown(socket.SHUT_RDWR)  # wakes the thread that listens
            end.close()

    def forget(self) -> None:
        """Close what a fork brought along, and leave the line to whom it belongs."""
        end, self._socket = self._socket, None
        if end is not None:
            end.close()

    def _connected(self) -> socket.socket:
        end = socket.socket(socket.AF_UNIX)
        try:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", PATIENCE, 0))
            end.connect(self._path)
            end.sendall(b"%d\n" % os.getpid())
        except OSError:
            end.close()
            raise
        _open.add(self)
        threading.Thread(target=self._listen, args=(end,), name="wink-line", daemon=True).start()
        return end

    def _listen(self, end: socket.socket) -> None:
        rest = b""
        while found := _read(end):
            *messages, rest = (rest + found).split(b"\n")
            for message in messages:
                self._hear(message)


class ParentEnd:
    """See `ports.line.LinesToChildren`. It is open as soon as it is made: children may come before it listens."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="wink-")
        path = str(Path(self._folder) / "main")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        self._socket.listen(1024)
        self._socket.setblocking(False)
        self._waking, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._lines: dict[int, socket.socket] = {}
        self._thread: threading.Thread | None = None
        self._closed = False
        os.environ[ADDRESS] = f"{os.getpid()} {path}"
        _open.add(self)

    def open(
        self, *, came: Callable[[int], None], hear: Callable[[int, bytes], None], gone: Callable[[int], None]
    ) -> None:
        """Begin to listen."""
        self._selector.register(self._socket, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._listen, args=(came, hear, gone), name="wink-lines", daemon=True)
        self._thread.start()

    def send(self, child: int, message: bytes) -> None:
        """Tell a child something, where it listens."""
        with self._lock:
            line = self._lines.get(child)
            if line is None:
                return
            try:
                line.sendall(message + b"\n")
            except OSError as error:
                log.warning("process %d does not listen: %s", child, error)

    def close(self) -> None:
        """End all lines, and remove the folder."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        os.environ.pop(ADDRESS, None)
        if self._thread is not None:
            self._waking.sendall(b"!")
            self._thread.join()
        self.forget()
        shutil.rmtree(self._folder, ignore_errors=True)

    def forget(self) -> None:
        """Close every descriptor."""
        for end in (self._socket, self._waking, self._woken, *self._lines.values()):
            end.close()
        self._selector.close()

    def _listen(
        self, came: Callable[[int], None], hear: Callable[[int, bytes], None], gone: Callable[[int], None]
    ) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    return
                if key.fileobj is self._socket:
                    line, _ = self._socket.accept()
                    line.setblocking(False)
                    self._selector.register(line, selectors.EVENT_READ, _Caller(line))
                else:
                    self._read(key.data, came, hear, gone)

    def _read(
        self,
        caller: _Caller,
        came: Callable[[int], None],
        hear: Callable[[int, bytes], None],
        gone: Callable[[int], None],
    ) -> None:
        found = _read(caller.line)
        if not found:
            self._selector.unregister(caller.line)
            with self._lock:
                self._lines.pop(caller.child, None)
                caller.line.close()
            gone(caller.child)
            return
        *messages, caller.rest = (caller.rest + found).split(b"\n")
        for message in messages:
            if caller.child:
                try:
                    hear(caller.child, message)
                except Exception:  # one wrong word must not make the parent deaf for all others
                    log.exception("what process %d said is lost", caller.child)
                continue
            caller.child = int(message)
            with self._lock:
                self._lines[caller.child] = caller.line
            came(caller.child)


class _Caller:
    """A child that has called, and what it has said in part."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.child = 0
        self.rest = b""


def _read(line: socket.socket) -> bytes:
    """Some bytes; none where the other end is gone."""
    try:
        return line.recv(LARGEST_READ)
    except OSError:
        return b""
