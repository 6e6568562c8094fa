"""The last step of an evaluation: its end goes to Celery."""

from __future__ import annotations

from wink_tasks.core.errors import LedgerFormatError
from wink_tasks.core.events import TERMINAL, EvaluationAccepted, Recorded
from wink_tasks.ports.mailbox import Claimed
from wink_tasks.ports.outcome import Outcome
from wink_tasks.runtime.parts import Parts
from wink_tasks.runtime.work import Worked


def work_outcome(parts: Parts, claimed: Claimed) -> Worked:
    """Tell how the evaluation ended, at least once."""
    message = claimed.message
    records: list[Recorded] = list(claimed.read)
    if not any(isinstance(record.event, TERMINAL) for record in records):
        ended = parts.ledger.evaluation(message.tenant, message.evaluation)
        if ended is not None:
            records += parts.ledger.read(message.tenant, message.session, after=ended.ended_seq - 1, count=1)
    accepted, end = records[0], records[-1]
    if not isinstance(accepted.event, EvaluationAccepted) or not isinstance(end.event, TERMINAL):
        reason = f"session {message.session!r} does not hold the end of evaluation {message.evaluation!r}"
        raise LedgerFormatError(reason)
    began = claimed.started_at or accepted.at
    parts.outcomes.deliver(
        Outcome(
            tenant=message.tenant,
            session=message.session,
            accepted=accepted.event,
            end=end.event,
            seconds=max(0.0, end.at - began),
        )
    )
    return Worked()
