"""A doorbell in a worker's main process. Celery must not end its id: what it would end is cancelled, or given back.

Celery's own request stores states, runs errbacks, counts chord parts, and discards what is revoked or lost.
"""

from __future__ import annotations

import logging
import os
import signal
from typing import Any, Final

from billiard.einfo import ExceptionWithTraceback
from celery.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery.platforms import signals as numbers
from celery.worker.request import Request
from celery.worker.state import active_requests, revoked as revoked_ids, task_ready

from wink_tasks.adapters.celery.children import PoolChildren, processes
from wink_tasks.adapters.celery.revoked import StepRevoked
from wink_tasks.adapters.celery.ringer import HEADER
from wink_tasks.core.errors import LedgerUnavailableError
from wink_tasks.core.ids import STEP, evaluation_of
from wink_tasks.ports.ledger import MessageRecord
from wink_tasks.ports.work import Revoker, StepEnd

log = logging.getLogger(__name__)

GRACE: Final = 0.5
"""Seconds that a prefork child has to end a step it was asked to end; then it is killed."""

ENDS: Final = {"done": "revoked", "dead": "dead"}
"""How a step ended that was given back, by what its message is then; else it is tried again."""


class StepRequest(Request):
    """Its row in Flower closes as its step ends, but a run's with the run's outcome."""

    _given_back = False

    @property
    def is_run(self) -> bool:
        """Whether its id is the evaluation's, whose end is told by the outcome."""
        return bool(self.id == evaluation_of(self.id))

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 - Celery's name
        """Send an event of the doorbell, but not that its run succeeded.

        Raising Ignore would do the same for a millisecond more: Celery formats a traceback for it.
        """
        if type != "task-succeeded" or STEP in self.id:
            super().send_event(type, **fields)

    @property
    def store_errors(self) -> bool:
        """A run that came without our code, and expired before it was adopted, is told of by Celery alone."""
        return HEADER not in self.request_dict

    def revoked(self) -> bool:
        """A revoked evaluation is cancelled, and the doorbell is heard: its message says what is left to do."""
        found = self._cancelled("revoked") if self.id in revoked_ids else False
        if found:
            revoked_ids.discard(self.id)
        return bool(super().revoked()) if found is False else False

    def maybe_expire(self) -> bool | None:
        """Celery's `expires` bounds the time in the queue, so it is over for what was accepted."""
        try:
            accepted = self._revoker.is_known(self.id)
        except LedgerUnavailableError as error:  # it is heard, and what hears it meets the same
            log.warning("whether %s was accepted before it expired cannot be looked up: %s", self.id, error)
            return None
        if accepted:
            setattr(self, "expires", None)  # noqa: B010 - a property that mypy cannot see through
        return super().maybe_expire()  # type: ignore[no-any-return]

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """Cancel the evaluation, and end its step here."""
        self._cancelled("terminated")
        self.stop(pool, None if signal is None else numbers.signum(signal))

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:
        """At a lost connection: go on, the lease is not the broker's. At shutdown: end the child, give back."""
        if not emit_retry and self._process(pool) is not None:
            pool.terminate_job(self.worker_pid, numbers.signum(signal or "TERM"))
            self._give_back("the worker shut down", counts=False)

    def stop(self, pool: Any, signum: int | None = None) -> None:
        """End the step in this slot: its evaluation is cancelled.

        A thread is asked by its keeper. A child is asked, and killed after a while; a `signum` other than TERM is sent
        at once.
        """
        if not self.time_start:
            self._terminate_on_ack = pool, signum
        elif self._process(pool) is None:
            return
        elif signum not in (None, signal.SIGTERM):
            pool.terminate_job(self.worker_pid, signum)
            self._children.reap(self.worker_pid)
        else:
            self._revoker.stop(evaluation_of(self.id))
            self._children.timer.call_after(GRACE, self._kill, (pool, self.worker_pid))

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """A soft limit is raised inside of the step; a hard one was told to `on_failure` before."""
        if soft:
            super().on_timeout(soft, timeout)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """A step that its child did not survive is given back; one that was cut is told of as revoked."""
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if isinstance(error, StepRevoked):
            task_ready(self)
            self.acknowledge()
            self._tell(StepEnd(kind="revoked", reason=str(error)))
        elif isinstance(error, (Terminated, WorkerLostError, TimeLimitExceeded)):
            task_ready(self)
            reason = {TimeLimitExceeded: "hard time limit exceeded", Terminated: "its process was terminated"}
            self._give_back(reason.get(type(error), str(error)), counts=True)
            self.acknowledge()
            self._children.reap(self.worker_pid)
        else:
            super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    @property
    def _revoker(self) -> Revoker:
        return self.task.wink.revoker()  # type: ignore[no-any-return]

    @property
    def _children(self) -> PoolChildren:
        return self.task.wink.children  # type: ignore[no-any-return]

    def _cancelled(self, reason: str) -> bool | None:
        """Whether there was such an evaluation; None where nobody can tell now, so that it is asked again later."""
        try:
            return self._revoker.cancel(self.id, by="celery", reason=reason)
        except LedgerUnavailableError as error:
            log.warning("%s is not cancelled yet: %s", self.id, error)
            return None

    def _process(self, pool: Any) -> Any:
        return next((one for one in processes(pool) if one.pid == self.worker_pid != os.getpid()), None)

    def _kill(self, pool: Any, pid: int) -> None:
        if self in active_requests and self.worker_pid == pid:
            log.warning("process %d did not end step %s of a cancelled evaluation: it is killed", pid, self.id)
            pool.terminate_job(pid, signal.SIGKILL)
            self._children.reap(self.worker_pid)

    def _give_back(self, error: str, *, counts: bool) -> None:
        """Give back what the child held: this doorbell's message, or that of a step with which it went on."""
        if self._given_back:
            return
        self._given_back = True
        log.warning("%s[%s] pid %s: %s", self.name, self.id, self.worker_pid, error)
        held: MessageRecord | None = None
        try:
            held = self._revoker.give_back(self.id, pid=self.worker_pid, counts=counts, error=error)
        except LedgerUnavailableError as failure:
            log.warning("what it held is delivered again when its lease runs out: %s", failure)
        if held is None:
            self._tell(StepEnd(kind="returned", reason=error))
        elif held.id == self.id:
            self._tell(_end_of(held, error))
        else:
            self._tell(StepEnd(kind="settled"))
            self.task.wink.events.tell(_end_of(held, error), id=held.id, task=held.task)

    def _tell(self, end: StepEnd) -> None:
        if not self.is_run or end.kind == "returned":
            self.task.wink.events.tell(end, id=self.id, task=self.task.name, context=self._context)


def _end_of(record: MessageRecord, reason: str) -> StepEnd:
    return StepEnd(kind=ENDS.get(record.state, "returned"), reason=reason)  # type: ignore[arg-type]
