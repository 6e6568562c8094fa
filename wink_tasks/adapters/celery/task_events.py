"""Celery's task events and signals for what has no doorbell of its own: continued steps, and the end of a run."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import Celery, signals
from celery._state import _task_stack, get_current_task
from celery.app.task import Context
from celery.exceptions import Retry

from wink_tasks.adapters.celery.children import PoolChildren
from wink_tasks.adapters.celery.django import between_steps
from wink_tasks.core.delivery import Message
from wink_tasks.core.errors import CancelledError, DeadLetteredError, EvaluationFailedError
from wink_tasks.core.ids import evaluation_of
from wink_tasks.core.redaction import redact
from wink_tasks.ports.work import StepEnd

log = logging.getLogger(__name__)

LONGEST_SHOWN = 500

SETTLED = "settled"
"""What a step's task returns: its outcome is in the ledger."""


class TaskEvents:
    """Sends through the worker's own dispatcher where it is in this process, so that what Flower switches on counts.

    Children send on their own, where the main process told them that somebody listens.
    """

    def __init__(self, app: Celery, children: PoolChildren) -> None:
        self._app = app
        self._children = children
        self._dispatcher: Any = None
        self._pid = 0
        self._hostname: str | None = None
        self._steps = threading.local()

    def use(self, dispatcher: Any, hostname: str) -> None:
        """Send through `dispatcher`, a consumer's, from now on. Children of this process know its `hostname`."""
        self._dispatcher = dispatcher
        self._pid = os.getpid()
        self._hostname = hostname
        self.refresh()

    def refresh(self) -> None:
        """Tell the children whether task events are on: they may have been switched."""
        dispatcher = self._dispatcher
        listened = dispatcher is not None and dispatcher.enabled
        self._children.tell_events(on=listened and (not dispatcher.groups or "task" in dispatcher.groups))

    def began(self, message: Message) -> None:
        """A continued step begins: for signals, and for whoever asks for the current task, it is a task of its own."""
        between_steps(self._app)
        shown = {"args": f"({message.shown})", "kwargs": "{}", "root_id": message.evaluation}
        self.send("task-received", uuid=message.id, name=message.task, parent_id=message.evaluation, retries=0, **shown)
        self.send("task-started", uuid=message.id)
        inside = self._as(message.task, self._context(message.id, message.task, message))
        task = inside.__enter__()
        self._steps.current = inside
        signals.task_prerun.send(sender=task, task_id=message.id, task=task, args=[], kwargs={})

    def ended(self, message: Message, seconds: float, end: StepEnd) -> None:
        """A continued step is over."""
        between_steps(self._app)
        task = get_current_task()
        state = self.tell(end, id=message.id, task=message.task, seconds=seconds)
        signals.task_postrun.send(
            sender=task, task_id=message.id, task=task, args=[], kwargs={}, retval=None, state=state
        )
        self._steps.current.__exit__(None, None, None)

    def tell(self, end: StepEnd, *, id: str, task: str, context: Any = None, seconds: float = 0.0) -> str:  # noqa: A002 - Celery's
        """Event and signal of a step's end; its state in Celery's words."""
        sender = self._app.tasks.get(task)
        request = context or self._context(id, task)
        match end.kind:
            case "settled" if end.error is None:
                self.send("task-succeeded", uuid=id, result=SETTLED, runtime=seconds)
                signals.task_success.send(sender=sender, result=SETTLED)
                return "SUCCESS"
            case "settled" | "dead":
                error = end.error or DeadLetteredError(end.reason)
                self.send("task-failed", uuid=id, exception=redact(repr(error))[:LONGEST_SHOWN], traceback="")
                _send_failure(sender, id, error)
                return "FAILURE"
            case "returned":
                self.send("task-retried", uuid=id, exception=end.reason[:LONGEST_SHOWN], traceback="")
                reason = Retry(end.reason, when=end.delay)
                signals.task_retry.send(sender=sender, request=request, reason=reason, einfo=None)
                return "RETRY"
            case "revoked":
                self.send("task-revoked", uuid=id, terminated=False, signum=None, expired=False)
                _send_revoked(sender, request)
                return "REVOKED"
            case _:
                return "IGNORED"

    def run_ended(
        self, run: str, prompt: str, seconds: float, *, output: Any = None, error: EvaluationFailedError | None = None
    ) -> None:
        """A run's row is closed, and those who listen to signals of its task hear of its end."""
        context = self._context(run, prompt)
        with self._as(prompt, context) as task:
            if error is None:
                shown = repr(output)[:LONGEST_SHOWN]
                self.send("task-succeeded", uuid=run, name=prompt, result=shown, runtime=seconds)
                signals.task_success.send(sender=task, result=output)
            elif isinstance(error, CancelledError):
                self.send("task-revoked", uuid=run, name=prompt, terminated=False, signum=None, expired=False)
                _send_revoked(task, context)
            else:
                shown = redact(repr(error))[:LONGEST_SHOWN]
                self.send("task-failed", uuid=run, name=prompt, exception=shown, traceback="", runtime=seconds)
                _send_failure(task, run, error)

    def send(self, kind: str, **fields: Any) -> None:
        """Send one event, where events are on. One that cannot be sent is logged: it is only a view."""
        try:
            if self._dispatcher is not None and self._pid == os.getpid():
                self._dispatcher.send(kind, **fields)
            elif self._listened():
                current = get_current_task()
                hostname = self._hostname if current is None else current.request.hostname
                with self._app.events.default_dispatcher(hostname=hostname) as dispatcher:
                    dispatcher.send(kind, **fields)
        except Exception as error:  # noqa: BLE001 - whatever a broker raises; the ledger has the truth
            log.warning("task event %s not sent: %s: %s", kind, type(error).__name__, error)

    def _listened(self) -> bool:
        told = self._children.events_on()
        return bool(self._app.conf.worker_send_task_events) if told is None else told

    def _context(self, id: str, task: str, message: Message | None = None) -> Context:  # noqa: A002 - Celery's
        current = get_current_task()
        evaluation = evaluation_of(id)
        return Context(
            id=id,
            task=task,
            args=[],
            kwargs={},
            argsrepr="()" if message is None else f"({message.shown})",
            kwargsrepr="{}",
            root_id=evaluation,
            parent_id=None if evaluation == id else evaluation,
            hostname=self._hostname if current is None else current.request.hostname,
            delivery_info={} if message is None else {"routing_key": message.mailbox},
            is_eager=False,
            called_directly=False,
        )

    @contextmanager
    def _as(self, name: str, context: Context) -> Iterator[Any]:
        """Be in the task of that name; where this process does not know it, in the one that is current anyway."""
        task = self._app.tasks.get(name) or get_current_task()
        if task is None:
            yield None
            return
        task.push_request(**context.__dict__)
        _task_stack.push(task)
        try:
            yield task
        finally:
            _task_stack.pop()
            task.pop_request()


def _send_failure(task: Any, id: str, error: Exception) -> None:  # noqa: A002 - Celery's
    try:
        raise error  # noqa: TRY301 - one that was never raised has no traceback, which Celery's einfo needs
    except Exception:  # noqa: BLE001 - this very error
        einfo = ExceptionInfo()
    trace = error.__traceback__
    signals.task_failure.send(
        sender=task, task_id=id, exception=error, args=[], kwargs={}, traceback=trace, einfo=einfo
    )


def _send_revoked(task: Any, request: Any) -> None:
    signals.task_revoked.send(sender=task, request=request, terminated=False, signum=None, expired=False)
