"""Where the end of an evaluation is told outside of the ledger: Celery's result backend, events and callbacks."""

from __future__ import annotations

from typing import Protocol

import msgspec

from wink_tasks.core.events import EvaluationAccepted, Terminal


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluation that has ended: how it began, how it ended, and how long it took in seconds.

    `again`: this end may have been told before, by somebody who did not live to say so. `resumed`: the evaluation had
    ended before, by the death of a step; its callbacks were told of that end, and are not told a second time.
    """

    tenant: str
    session: str
    accepted: EvaluationAccepted
    end: Terminal
    seconds: float
    again: bool = False
    resumed: bool = False


class OutcomeSink(Protocol):
    """Told at least once about each evaluation."""

    def deliver(self, outcome: Outcome) -> float | None:
        """Tell it. An error is retried by the mailbox; if it stays, the outcome is a dead letter.

        Returns None where it is told, else the seconds after which it can be.
        """
        ...
