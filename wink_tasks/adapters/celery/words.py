"""What a function asks for in Celery's words, in ours."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded

from wink_tasks.core.errors import IgnoredError, RejectedError, RetryLaterError


class StepRetry(Retry):
    """What `retry` of a task of ours raises: nothing is published, the message itself is delivered again."""

    max_retries: int | None = None


def in_our_words(error: BaseException) -> BaseException:
    """See `ports.work.Translation`."""
    match error:
        case Retry():
            asked = RetryLaterError(
                str(error), delay=_seconds_until(error.when), max_retries=getattr(error, "max_retries", None)
            )
            asked.__cause__ = error.__cause__ or (error.exc if isinstance(error.exc, BaseException) else None)
            return asked
        case Reject(requeue=True):
            return RetryLaterError(f"it was rejected: {error.reason}")
        case Reject():
            return RejectedError(str(error.reason or ""))
        case Ignore():
            return IgnoredError(str(error))
        case SoftTimeLimitExceeded():
            return TimeoutError(str(error))
        case _:
            return error


def _seconds_until(when: datetime | float | None) -> float | None:
    """From Celery's eta, an aware datetime or one in UTC, or its countdown."""
    if not isinstance(when, datetime):
        return when
    aware = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return max(0.0, aware.timestamp() - time.time())
