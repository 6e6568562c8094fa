"""What a step's task raises that was cut short."""

from __future__ import annotations

from celery.exceptions import Ignore


class StepRevoked(Ignore):
    """A step did not reach its end, because its evaluation was cancelled."""
