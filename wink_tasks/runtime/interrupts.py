"""Ending what the main thread of a process computes or waits for: only a signal reaches into it.

The handler runs in that thread, wherever it is, so nothing here takes a lock; and it raises only inside of what was
declared interruptible, so that claiming and settling are never torn.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from wink_tasks.runtime.stop import Stop


class Interrupts:
    """Knows the step in the main thread's hands. Without `listen` it does nothing: other threads are asked."""

    def __init__(self) -> None:
        self._signal = 0
        self._current: Stop | None = None
        self._kicked = False

    @property
    def listening(self) -> bool:
        """Whether `listen` was called."""
        return self._signal != 0

    def listen(self, number: int) -> None:
        """Handle signal `number`, from the main thread. One that was not sent here goes to the handler before."""
        before = signal.getsignal(number)

        def handle(signum: int, frame: FrameType | None) -> None:
            kicked, self._kicked = self._kicked, False
            if not kicked:
                if callable(before):
                    before(signum, frame)
            elif self._current is not None:
                self._current.interrupt()

        signal.signal(number, handle)
        self._signal = number

    @contextmanager
    def working(self, stop: Stop) -> Iterator[None]:
        """Know what the main thread works on. Whoever sets `stop` from another thread interrupts it."""
        if not self.listening or threading.current_thread() is not threading.main_thread():
            yield
            return
        self._current = stop
        stop.then(self._kick)
        try:
            yield
        finally:
            self._current = None

    def _kick(self) -> None:
        self._kicked = True
        signal.pthread_kill(threading.main_thread().ident or 0, self._signal)
