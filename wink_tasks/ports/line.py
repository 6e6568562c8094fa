"""How a pool's child process and its parent talk: short messages, in order; a parent hears of its child's death."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class LineToParent(Protocol):
    """The child's end."""

    def open(self, hear: Callable[[bytes], None]) -> None:
        """Have `hear` called with what the parent says, from a thread. Nothing is opened before the first `send`."""
        ...

    def send(self, message: bytes) -> None:
        """Returns once it is on its way, whatever becomes of this process. Raises OSError where nobody takes it."""
        ...

    def close(self) -> None:
        """Say no more. May be called twice."""
        ...


class LinesToChildren(Protocol):
    """The parent's end. Children are known by their process id."""

    def open(
        self, *, came: Callable[[int], None], hear: Callable[[int, bytes], None], gone: Callable[[int], None]
    ) -> None:
        """Have these called, from one thread: a child's first word, each message, and its end, however it came."""
        ...

    def send(self, child: int, message: bytes) -> None:
        """Tell a child something. One that is gone, or does not listen, hears nothing of it."""
        ...

    def close(self) -> None:
        """End all lines. May be called twice."""
        ...
