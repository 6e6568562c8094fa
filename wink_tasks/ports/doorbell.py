"""Telling Celery that a message is ready."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from wink_tasks.ports.mailbox import Doorbell


class Ringer(Protocol):
    """A doorbell is a hint: one that gets lost is rung again by the reaper."""

    def ring(self, doorbells: Iterable[Doorbell]) -> None:
        """Publish each. A broker that cannot be reached is logged as one warning, never raised."""
        ...

    def close(self) -> None:
        """Let go of connections. May be called twice, and used again."""
        ...
