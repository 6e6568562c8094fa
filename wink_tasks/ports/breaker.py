"""Whether a model may be called: closed (yes), open (no), half-open (one tries for all)."""

from __future__ import annotations

from typing import Protocol


class Breaker(Protocol):
    """One for all models; `key` is provider and model. `admit` before a call, then exactly one report."""

    def admit(self, key: str) -> None:
        """Return where a call may be made. Raises BreakerOpenError, which says when to come back."""
        ...

    def succeeded(self, key: str) -> None:
        """The provider answered."""
        ...

    def failed(self, key: str, error: Exception) -> None:
        """The provider did not answer."""
        ...

    def released(self, key: str) -> None:
        """The call was given up before there was a verdict."""
        ...
