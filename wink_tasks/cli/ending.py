"""Ending on SIGINT and SIGTERM with nothing left behind."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType, TracebackType
from typing import Any, Self

SHELLS_SIGNAL_CODE = 128


class Ending:
    """Hears the first SIGINT or SIGTERM within it; further ones change nothing.

    Nothing is raised where a signal comes: that may be in the midst of an import, or of a library that has just taken
    a lock and would never give it back. `check` and `pause` raise SystemExit(128 + its number) where the block can be
    left, and so does the end of the block.
    """

    def __init__(self) -> None:
        self._received = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._woken_before = signal.set_wakeup_fd(self._writer)
        self._before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._woken_before)
        os.close(self._reader)
        os.close(self._writer)
        if error is None:
            self.check()

    def check(self) -> None:
        """Raise SystemExit where a signal came."""
        if self._received:
            raise SystemExit(SHELLS_SIGNAL_CODE + self._received)

    def pause(self, seconds: float) -> None:
        """Wait, until a signal comes at most. Raises SystemExit then."""
        select.select([self._reader], [], [], seconds)
        self.check()

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self._received = self._received or number
