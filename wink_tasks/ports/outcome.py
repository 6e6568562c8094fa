"""Where the end of an evaluation is told outside of the ledger: Celery's result backend, events and callbacks."""

from __future__ import annotations

from typing import Protocol

import msgspec

from wink_tasks.core.events import EvaluationAccepted, Terminal


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluation that has ended: how it began, how it ended, and how long it took in seconds."""

    tenant: str
    session: str
    accepted: EvaluationAccepted
    end: Terminal
    seconds: float


class OutcomeSink(Protocol):
    """Told at least once about each evaluation."""

    def deliver(self, outcome: Outcome) -> None:
        """Tell it. An error is retried by the mailbox; if it stays, the outcome is a dead letter."""
        ...
