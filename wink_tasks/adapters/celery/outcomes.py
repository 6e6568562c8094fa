"""The end of an evaluation in Celery's words: a stored result, what a signature attached, and a final event."""

from __future__ import annotations

from celery import Celery

from wink_tasks.adapters.celery.canvas import IN_OTHER_HANDS, honour, in_other_hands, request_of
from wink_tasks.adapters.celery.failures import failure_of
from wink_tasks.adapters.celery.task_events import TaskEvents
from wink_tasks.core.events import EvaluationSucceeded
from wink_tasks.ports.outcome import Outcome


class CeleryOutcomes:
    """Stores results under the evaluation's id, where the app has a result backend, and honours the canvas."""

    def __init__(self, app: Celery, events: TaskEvents) -> None:
        self._app = app
        self._events = events

    def deliver(self, outcome: Outcome) -> float | None:
        """See `ports.outcome`."""
        request, end = request_of(outcome), outcome.end
        run, prompt = outcome.accepted.evaluation, outcome.accepted.prompt
        if outcome.again and in_other_hands(self._app, request):
            return IN_OTHER_HANDS
        if isinstance(end, EvaluationSucceeded):
            honour(self._app, request, outcome, None)
            self._events.run_ended(run, prompt, outcome.seconds, output=end.output)
            return None
        error = failure_of(end, session=outcome.session)
        honour(self._app, request, outcome, error)
        self._events.run_ended(run, prompt, outcome.seconds, error=error)
        return None


class OutcomesHere:
    """Ends of runs that are worked off in the process that started them: by `apply`, or where the app is eager."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def deliver(self, outcome: Outcome) -> None:
        """See `ports.outcome`. Nothing has to wait here."""
        request, end = request_of(outcome), outcome.end
        request.delivery_info["is_eager"] = True
        request.ignore_result = not self._app.conf.task_store_eager_result
        error = None if isinstance(end, EvaluationSucceeded) else failure_of(end, session=outcome.session)
        honour(self._app, request, outcome, error)
