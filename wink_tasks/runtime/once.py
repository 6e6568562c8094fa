"""Idempotency keys: of all calls with one key, only the first starts a run, until that one fails or is cancelled.

The key's runs have ids that follow from tenant, prompt, key and the number of the attempt, so whoever comes second
comes to the same id, and the mailbox accepts an id once: there is nothing else to store, and nothing to race for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import cast

from wink_tasks.core.codec import encode
from wink_tasks.core.errors import ConflictError, DuplicateError
from wink_tasks.core.events import EvaluationAccepted, Json
from wink_tasks.core.ids import keyed_id
from wink_tasks.ports.ledger import EvaluationRecord, Ledger


@dataclass(frozen=True)
class Claim:
    """What a caller asks for under a key; `session` None is a session of the run's own."""

    tenant: str
    prompt: str
    key: str
    params: dict[str, Json]
    session: str | None


def once(ledger: Ledger, claim: Claim, accept: Callable[[str], bool]) -> str:
    """The id of the run that is the key's: one that runs or has succeeded, else a new one.

    `accept` accepts a run under an id and tells whether it is new. A key is forgotten with the session of its run.
    Raises ConflictError where the run has other arguments or another session, and what `accept` raises.
    """
    for attempt in count():
        run = keyed_id(claim.tenant, claim.prompt, claim.key, attempt)
        record = ledger.evaluation(claim.tenant, run)
        if record is None and ledger.expired(claim.tenant, run):
            continue
        if record is None:
            try:
                if accept(run):
                    return run
            except DuplicateError as error:  # somebody was quicker, with the same key in another session
                raise _conflict(claim, run, "another session") from error
            record = cast("EvaluationRecord", ledger.evaluation(claim.tenant, run))
        if record.status not in ("FAILURE", "REVOKED"):
            _compare(ledger, claim, record)
            return run
    raise AssertionError(claim)  # pragma: no cover - the count has no end


def _compare(ledger: Ledger, claim: Claim, record: EvaluationRecord) -> None:
    if record.session != (claim.session or record.id):
        raise _conflict(claim, record.id, f"session {record.session!r}")
    [first] = ledger.read(claim.tenant, record.session, after=record.accepted_seq - 1, count=1)
    if encode(cast("EvaluationAccepted", first.event).params) != encode(claim.params):
        raise _conflict(claim, record.id, "other arguments")


def _conflict(claim: Claim, run: str, what: str) -> ConflictError:
    return ConflictError(
        f"idempotency_key={claim.key!r} of prompt {claim.prompt!r} belongs to run {run!r}, which has {what}: "
        f"give a key of its own to what is another run"
    )
