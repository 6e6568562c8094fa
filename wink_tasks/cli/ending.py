"""Ending on SIGINT and SIGTERM with nothing left behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

SHELLS_SIGNAL_CODE = 128


class Ending:
    """Within it, the first SIGINT or SIGTERM raises SystemExit(128 + its number); further ones change nothing."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._received = 0
        self._held = False

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within it nothing is raised: what starts or ends a process must know about it afterwards.

        A signal that came meanwhile is raised at its end, unless it was raised before.
        """
        received_before = self._received
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._received != received_before:
            self._end()

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self._received:
            return
        self._received = number
        if not self._held:
            self._end()

    def _end(self) -> None:
        raise SystemExit(SHELLS_SIGNAL_CODE + self._received)
