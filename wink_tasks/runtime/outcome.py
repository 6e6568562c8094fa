"""The last step of an evaluation: its end goes to Celery."""

from __future__ import annotations

from wink_tasks.core.errors import LedgerFormatError
from wink_tasks.core.events import TERMINAL, EvaluationAccepted, Recorded
from wink_tasks.core.ids import outcome_id
from wink_tasks.ports.mailbox import Claimed
from wink_tasks.ports.outcome import Outcome
from wink_tasks.runtime.parts import Parts
from wink_tasks.runtime.work import Postponed, Result, Worked


def work_outcome(parts: Parts, claimed: Claimed) -> Result:
    """Tell how the evaluation ended, at least once."""
    match claimed.read:
        case [Recorded(event=EvaluationAccepted() as accepted, at=accepted_at), Recorded(event=end, at=ended_at)] if (
            isinstance(end, TERMINAL)
        ):
            began = claimed.started_at or accepted_at
            address = claimed.receipt.address
            wait = parts.outcomes.deliver(
                Outcome(
                    tenant=address.tenant,
                    session=address.session,
                    accepted=accepted,
                    end=end,
                    seconds=max(0.0, ended_at - began),
                    again=claimed.deliveries > 1,
                    resumed=claimed.message.id != outcome_id(claimed.message.evaluation),
                )
            )
            return Worked() if wait is None else Postponed(wait, "its chord is in other hands", counts=False)
        case found:
            names = [type(record.event).__name__ for record in found]
            reason = f"message {claimed.message.id!r} reads {names}, not an evaluation's end"
            raise LedgerFormatError(reason)
