"""A clock that only the test moves."""

from __future__ import annotations

import threading


class FakeClock:
    """Stands still at `start` (epoch seconds) until `advance` is called."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._start = start
        self._passed = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        """Epoch seconds."""
        return self._start + self._passed

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._passed

    def advance(self, seconds: float) -> None:
        """Let `seconds` go by. Raises ValueError for a step back."""
        if seconds < 0:
            raise ValueError(f"time does not go back: advance({seconds!r})")
        with self._lock:
            self._passed += seconds
