"""A run of a durable task, or of a tool alone: an evaluation of one step, which ends with what the function does."""

from __future__ import annotations

import logging

from wink_tasks.core.errors import LedgerFormatError, ParametersInvalidError, PayloadTooLargeError
from wink_tasks.core.events import (
    EvaluationAccepted,
    EvaluationCancelled,
    EvaluationFailed,
    EvaluationSucceeded,
    Json,
    Terminal,
)
from wink_tasks.core.task import TaskDefinition
from wink_tasks.ports.mailbox import Claimed
from wink_tasks.runtime.invocation import (
    Invocation,
    Raised,
    Returned,
    Unrestored,
    context_of,
    count_call,
    deadline_of,
    described,
    session_of,
    traced,
    transaction_of,
    unrestored,
)
from wink_tasks.runtime.parts import Parts
from wink_tasks.runtime.stop import Stop
from wink_tasks.runtime.versions import PARAMS_CHANGED, UNKNOWN_HERE, change, halted
from wink_tasks.runtime.work import Buried, Postponed, Result, Worked

log = logging.getLogger(__name__)


def work_task(parts: Parts, claimed: Claimed, stop: Stop) -> Result:
    """Run the function once. What it raised ends the run, and is in the log with its traceback."""
    message = claimed.message
    task = parts.registry.tasks.get(message.task)
    if task is None:
        return Postponed(UNKNOWN_HERE, f"task {message.task!r} is unknown to worker {parts.actor}", counts=False)
    accepted = _accepted(claimed)
    if (end := _over(parts, claimed, accepted)) is not None:
        return Worked(end=end)
    changed = change(task, message.evaluation, accepted.digest, accepted.version)
    if changed is not None:
        deadline = deadline_of(accepted, claimed.started_at)
        left = None if deadline is None else deadline - parts.clock.now()
        if (instead := halted(task, changed, actor=parts.actor, left=left)) is not None:
            return instead
    try:
        arguments = task.load(accepted.params)
    except ParametersInvalidError as error:
        return Buried(PARAMS_CHANGED, described(error), code="ParamsChangedError")
    session = session_of(parts, claimed)
    context = context_of(parts, claimed, accepted, stop, session, params={}, timeout=task.work.timeout)

    def succeeded(value: Json, _: float) -> EvaluationSucceeded:
        end = EvaluationSucceeded(evaluation=message.evaluation, output=value, slice=task.work.slice_name)
        session.admit(end)
        return end

    transaction = transaction_of(parts, claimed, context, session)
    result = Invocation(parts, claimed, task.work, context, transaction=transaction, stop=stop).run(
        arguments, succeeded
    )
    noted = () if changed is None else (changed,)
    match result:
        case Returned():
            _count(parts, task, "ok", result.seconds)
            events = (*noted, *session.written())
            return Worked(events=events, end=result.event, transaction=result.transaction)
        case Unrestored(error=failed):
            _count(parts, task, "exception", result.seconds)
            return Worked(events=(*noted, *session.kept()), end=unrestored(claimed, failed))
        case Raised():
            _count(parts, task, result.kind, result.seconds)
            return Worked(events=(*noted, *session.kept()), end=_raised(claimed, result))
        case _:
            return result


def limit_of(parts: Parts, claimed: Claimed) -> float | None:
    """For how many seconds a delivery of the task may take; None where nothing of its own tells."""
    task = parts.registry.tasks.get(claimed.message.task)
    deadline = deadline_of(_accepted(claimed), claimed.started_at)
    left = None if deadline is None else max(0.0, deadline - parts.clock.now())
    timeout = None if task is None else task.work.timeout
    return min((limit for limit in (timeout, left) if limit is not None), default=None)


def _accepted(claimed: Claimed) -> EvaluationAccepted:
    match [record.event for record in claimed.read]:
        case [EvaluationAccepted() as accepted]:
            return accepted
        case found:
            reason = f"message {claimed.message.id!r} reads {[type(event).__name__ for event in found]}, not its run"
            raise LedgerFormatError(reason)


def _over(parts: Parts, claimed: Claimed, accepted: EvaluationAccepted) -> Terminal | None:
    """How a run ends that may not begin any more. Its first claim is timed by the store, whose clock counts."""
    terms = accepted.terms
    if terms.expires_at is not None and claimed.started_at >= terms.expires_at:
        return EvaluationCancelled(evaluation=accepted.evaluation, reason="expired before it started")
    deadline = deadline_of(accepted, claimed.started_at)
    if deadline is not None and max(parts.clock.now(), claimed.started_at) >= deadline:
        return _failure(claimed, "DeadlineExceededError", f"the deadline passed before delivery {claimed.deliveries}")
    return None


def _raised(claimed: Claimed, raised: Raised) -> EvaluationFailed:
    error, trace = raised.error, traced(raised.error)
    log.error("task %s failed (delivery %d):\n%s", claimed.message.id, claimed.deliveries, trace)
    if raised.kind == "timeout" and raised.late:
        return _failure(claimed, "DeadlineExceededError", f"the deadline passed while it ran ({described(error)})")
    code = "PayloadTooLargeError" if isinstance(error, PayloadTooLargeError) else "TaskFailedError"
    return _failure(claimed, code, described(error), trace)


def _failure(claimed: Claimed, code: str, message: str, trace: str | None = None) -> EvaluationFailed:
    return EvaluationFailed(evaluation=claimed.message.evaluation, code=code, message=message, traceback=trace)


def _count(parts: Parts, task: TaskDefinition, status: str, seconds: float) -> None:
    if task.name in parts.registry.tools:
        count_call(parts, task.work.name, status, seconds)
