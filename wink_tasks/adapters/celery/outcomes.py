"""The end of an evaluation in Celery's words: a stored result and a final event."""

from __future__ import annotations

from celery import Celery, states

from wink_tasks.adapters.celery.failures import failure_of
from wink_tasks.adapters.celery.task_events import TaskEvents
from wink_tasks.core.events import EvaluationCancelled, EvaluationSucceeded
from wink_tasks.ports.outcome import Outcome

LONGEST_SHOWN = 500


class CeleryOutcomes:
    """Stores results under the evaluation's id, where the app has a result backend."""

    def __init__(self, app: Celery, events: TaskEvents) -> None:
        self._app = app
        self._events = events

    def deliver(self, outcome: Outcome) -> None:
        """See `ports.outcome`."""
        run, end, backend = outcome.accepted.evaluation, outcome.end, self._app.backend
        if isinstance(end, EvaluationSucceeded):
            backend.store_result(run, end.output, states.SUCCESS)
            self._events.run_ended(
                "task-succeeded", uuid=run, result=repr(end.output)[:LONGEST_SHOWN], runtime=outcome.seconds
            )
            return
        error = failure_of(end, session=outcome.session)
        if isinstance(end, EvaluationCancelled):
            backend.store_result(run, error, states.REVOKED)
            self._events.run_ended("task-revoked", uuid=run, terminated=False, signum=None, expired=False)
        else:
            backend.store_result(run, error, states.FAILURE)
            self._events.run_ended("task-failed", uuid=run, exception=repr(error)[:LONGEST_SHOWN], traceback="")
