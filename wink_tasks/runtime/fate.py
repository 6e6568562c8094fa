"""What became of an attempt that left a journal behind, as its ledger tells."""

from __future__ import annotations

from wink_tasks.core.events import EvaluationSucceeded, Recorded, ToolReturned
from wink_tasks.ports.ledger import Ledger
from wink_tasks.ports.transaction import Attempt, Fate


def fate_of(ledger: Ledger, attempt: Attempt) -> Fate:
    """See `ports.transaction`. Raises LedgerUnavailableError."""
    message = ledger.message(attempt.tenant, attempt.session, attempt.key)
    if message is not None and message.state not in {"done", "dead"}:
        return "open"
    events = ledger.read(attempt.tenant, attempt.session, after=attempt.after)
    if not events and ledger.session(attempt.tenant, attempt.session) is None:
        return "unknown"
    return "kept" if any(_is_result(recorded, attempt) for recorded in events) else "lost"


def _is_result(recorded: Recorded, attempt: Attempt) -> bool:
    """Whether that very process recorded it: where another one did, this attempt's work does not count."""
    match recorded.event:
        case ToolReturned(evaluation=evaluation, turn=turn, call=call):
            mine = (evaluation, turn, call) == (attempt.evaluation, attempt.turn, attempt.call)
        case EvaluationSucceeded(evaluation=evaluation):
            mine = evaluation == attempt.evaluation and not attempt.call
        case _:
            mine = False
    return mine and recorded.actor == attempt.actor
