"""Time as the runtime sees it, so that tests can move it."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """`now` is epoch seconds, `monotonic` is seconds since some start and never goes back."""

    def now(self) -> float:
        """Epoch seconds."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...
