"""What a worker tells of our doorbells."""

from __future__ import annotations

from typing import Any

from celery.worker.request import Request


class StepRequest(Request):
    """A run's row in Flower stays open when its first turn is over: it is closed by the run's outcome."""

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 - Celery's name
        """Send an event of the doorbell, but not that its run succeeded.

        Raising Ignore would do the same for a millisecond more: Celery formats a traceback for it.
        """
        if type != "task-succeeded" or self.id != self.root_id:
            super().send_event(type, **fields)
