"""Celery's task events for what no doorbell of its own announces: continued steps, and the end of a run."""

from __future__ import annotations

import logging
import os
from typing import Any

from billiard import current_process
from celery import Celery
from celery._state import get_current_task

from wink_tasks.core.delivery import Message
from wink_tasks.core.redaction import redact

log = logging.getLogger(__name__)


class TaskEvents:
    """Sends through the worker's own dispatcher where it is in this process, so that what Flower switches on counts."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._dispatcher: Any = None
        self._pid = 0
        self._hostname: str | None = None

    def use(self, dispatcher: Any, hostname: str) -> None:
        """Send through `dispatcher`, a consumer's, from now on. Children of this process know its `hostname`."""
        self._dispatcher = dispatcher
        self._pid = os.getpid()
        self._hostname = hostname

    def began(self, message: Message) -> None:
        """A continued step begins."""
        shown = {"args": f"({message.shown})", "kwargs": "{}", "root_id": message.evaluation}
        self.send("task-received", uuid=message.id, name=message.task, parent_id=message.evaluation, retries=0, **shown)
        self.send("task-started", uuid=message.id)

    def ended(self, message: Message, seconds: float, error: Exception | None) -> None:
        """A continued step is over."""
        if error is None:
            self.send("task-succeeded", uuid=message.id, result="None", runtime=seconds)
        else:
            self.send("task-failed", uuid=message.id, exception=redact(repr(error)), traceback="")

    def run_ended(self, kind: str, **fields: Any) -> None:
        """A run's row is closed. A prefork child cannot know whether somebody listens, and sends this one anyhow."""
        self._send(kind, fields, anyhow=getattr(current_process(), "index", None) is not None)

    def send(self, kind: str, **fields: Any) -> None:
        """Send one event, where events are on. One that cannot be sent is logged: it is only a view."""
        self._send(kind, fields, anyhow=False)

    def _send(self, kind: str, fields: dict[str, Any], *, anyhow: bool) -> None:
        try:
            if self._dispatcher is not None and self._pid == os.getpid():
                if self._dispatcher.enabled:
                    self._dispatcher.send(kind, **fields)
            elif anyhow or self._app.conf.worker_send_task_events:
                current = get_current_task()
                hostname = self._hostname if current is None else current.request.hostname
                with self._app.events.default_dispatcher(hostname=hostname) as dispatcher:
                    dispatcher.send(kind, **fields)
        except Exception as error:  # noqa: BLE001 - whatever a broker raises; the ledger has the truth
            log.warning("task event %s not sent: %s: %s", kind, type(error).__name__, error)
