"""The machine's clock, and the store's."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from wink_tasks.core.errors import LedgerUnavailableError
from wink_tasks.ports.clock import Clock

log = logging.getLogger(__name__)

ASK_AGAIN: Final = 60.0
"""Seconds for which the machine counts by itself since the store told the time."""


class SystemClock:
    """See `ports.clock`."""

    def now(self) -> float:
        """Epoch seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


class StoreClock:
    """The store's time, so that a machine whose clock is wrong decides as the others do. `ask` gives it.

    It is asked each minute; where it does not answer, what it told before is counted on, or the machine's clock.
    """

    def __init__(self, machine: Clock, ask: Callable[[], float]) -> None:
        self._machine = machine
        self._ask = ask
        self._ask_at = machine.monotonic()
        self._asking = threading.Lock()
        self._began: float | None = None

    def now(self) -> float:
        """Epoch seconds."""
        count = self._machine.monotonic()
        if count >= self._ask_at:
            with self._asking:  # whoever comes meanwhile waits for the answer, and does not go by the machine's clock
                if count >= self._ask_at:
                    self._look(count)
        return self._machine.now() if self._began is None else self._began + count

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._machine.monotonic()

    def _look(self, count: float) -> None:
        try:
            self._began = self._ask() - count
        except LedgerUnavailableError as error:
            log.warning("the time is this machine's: %s", error)
        self._ask_at = count + ASK_AGAIN
