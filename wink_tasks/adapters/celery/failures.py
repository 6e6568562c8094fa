"""How an evaluation that ended without a result comes out of `get()`."""

from __future__ import annotations

from celery.exceptions import TaskRevokedError

from wink_tasks.core.errors import CancelledError, EvaluationFailedError, rebuild_failure
from wink_tasks.core.events import EvaluationCancelled, EvaluationFailed


class RunCancelledError(CancelledError, TaskRevokedError):
    """A CancelledError that code written for Celery catches as TaskRevokedError."""

    def __init__(self, message: str, *, run_id: str = "", session_id: str = "", code: str = "CancelledError") -> None:
        super().__init__(message, run_id=run_id, session_id=session_id, code=code)


def failure_of(end: EvaluationFailed | EvaluationCancelled, *, session: str) -> EvaluationFailedError:
    """The error for a terminal event."""
    if isinstance(end, EvaluationCancelled):
        return RunCancelledError(end.reason, run_id=end.evaluation, session_id=session)
    return rebuild_failure(end.code, end.message, end.evaluation, session)
