"""The machine's clock."""

from __future__ import annotations

import time


class SystemClock:
    """See `ports.clock`."""

    def now(self) -> float:
        """Epoch seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()
