"""The handle of an evaluation: an AsyncResult that asks the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, TypeVar, cast

from celery import Celery, states
from celery._state import get_current_task
from celery.result import AsyncResult

from wink_tasks.adapters.celery.failures import failure_of
from wink_tasks.core.errors import (
    BlockingInTaskError,
    EvaluationFailedError,
    RunTimeoutError,
    SessionExpiredError,
    UnknownRunError,
)
from wink_tasks.core.evaluation import EvaluationState
from wink_tasks.core.events import (
    TERMINAL,
    EvaluationSucceeded,
    Recorded,
    Terminal,
)
from wink_tasks.core.limits import Usage
from wink_tasks.ports.clock import Clock
from wink_tasks.ports.doorbell import Ringer
from wink_tasks.ports.ledger import EvaluationRecord, Ledger
from wink_tasks.ports.mailbox import Mailbox
from wink_tasks.ports.session import SessionView

T = TypeVar("T")

WAIT_AT_MOST = 5.0
"""Seconds that one blocking read lasts; then the clock is looked at."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What handles work with: the store's ports, sessions by tenant and name, and the prompts' output types.

    `work` lets up to so many seconds pass and does what is due, in a process that has no workers. `on_loop` tells
    whether the caller is on the loop on which models are called.
    """

    mailbox: Mailbox
    ledger: Ledger
    ringer: Ringer
    clock: Clock
    session: Callable[[str, str], SessionView]
    load_output: Callable[[str, Any], Any]
    explain: Callable[[EvaluationRecord], str]
    work: Callable[[float], None]
    on_loop: Callable[[], bool]


class Run(AsyncResult, Generic[T]):
    """One evaluation. What it says comes from the ledger; Celery's result backend is not needed.

    `get` returns the prompt's output type, or raises the EvaluationFailedError that the evaluation ended with.
    """

    id: str

    def __init__(self, run_id: str, *, desk: Callable[[], Desk], tenant: str, app: Celery) -> None:
        super().__init__(run_id, app=app)
        self._desk = desk
        self.tenant = tenant

    def get(self, timeout: float | None = None, *, propagate: bool = True, **_celery: Any) -> T:
        """Wait for the end, at most `timeout` seconds, and give the output.

        Raises EvaluationFailedError's leaves, RunTimeoutError (a TimeoutError) which tells why there is no result yet,
        UnknownRunError, SessionExpiredError, and BlockingInTaskError inside a task. `propagate=False` returns the error
        instead of raising it.
        """
        self._refuse_to_block()
        result = self._result(self._ended(timeout))
        if propagate and isinstance(result, EvaluationFailedError):
            raise result
        return cast("T", result)

    def wait(self, timeout: float | None = None, **options: Any) -> T:
        """As `get`."""
        return self.get(timeout, **options)

    def events(self, *, after: int = 0, timeout: float | None = None) -> Iterator[Recorded]:
        """The evaluation's events as they come, from the first (or after a sequence number), to the terminal one.

        Raises RunTimeoutError where it has not ended after `timeout` seconds.
        """
        self._refuse_to_block()
        desk, record = self._desk(), self._record()
        ends_at = None if timeout is None else desk.clock.monotonic() + timeout
        seen = max(after, record.accepted_seq - 1)
        while not record.ended_seq or seen < record.ended_seq:
            for recorded in self._next(record, seen, ends_at):
                seen = recorded.seq
                if recorded.evaluation == self.id:
                    yield recorded
                    if isinstance(recorded.event, TERMINAL):
                        return
            record = self._record()

    @property
    def session(self) -> SessionView:
        """The session in which it runs."""
        return self._desk().session(self.tenant, self._record().session)

    def cancel(self, reason: str = "cancelled by the application") -> None:
        """Ask it to stop. What nobody works on ends at once; what is under way ends its step. Ended runs stay so."""
        desk = self._desk()
        desk.ringer.ring(desk.mailbox.cancel(self.tenant, self.id, by="application", reason=reason))

    def revoke(self, *_args: Any, **_options: Any) -> None:
        """As `cancel`, for code that was written for Celery."""
        self.cancel("revoked")

    def usage(self) -> Usage:
        """The tokens and the money that it used so far."""
        return self.evaluation().usage

    def evaluation(self) -> EvaluationState:
        """Where it stands, as the fold of its ledger."""
        state = self.session.state
        if self.id in state.open:
            return state.open[self.id]
        return next(ended for ended in state.ended if ended.id == self.id)

    def explain(self) -> str:
        """In one sentence: why it stands where it stands."""
        desk = self._desk()
        return desk.explain(self._record())

    def _refuse_to_block(self) -> None:
        current = get_current_task()
        in_task = current is not None and not current.request.called_directly
        if not in_task and not self._desk().on_loop():
            return
        where = f"task {current.name!r}" if in_task else "an async tool"
        message = (
            f"waiting for run {self.id} inside {where} would hold what should do the work: "
            f"return instead, let a chain or a later task take the result, or wait in a thread of your own"
        )
        raise BlockingInTaskError(message)

    def _result(self, record: EvaluationRecord) -> Any:
        """The output as the prompt's type, or the error that the evaluation ended with."""
        [last] = self._desk().ledger.read(self.tenant, record.session, after=record.ended_seq - 1, count=1)
        end = cast("Terminal", last.event)
        if isinstance(end, EvaluationSucceeded):
            return self._desk().load_output(record.prompt, end.output)
        return failure_of(end, session=record.session)

    def _record(self) -> EvaluationRecord:
        record = self._desk().ledger.evaluation(self.tenant, self.id)
        if record is None:
            if self._desk().ledger.expired(self.tenant, self.id):
                message = f"run {self.id!r} was dropped when its session's retention ended (WINK_RETENTION)"
                raise SessionExpiredError(message)
            message = f"tenant {self.tenant!r} has no run {self.id!r}"
            raise UnknownRunError(message)
        return record

    def _next(self, record: EvaluationRecord, seen: int, ends_at: float | None) -> Iterator[Recorded]:
        desk = self._desk()
        left = inf if ends_at is None else ends_at - desk.clock.monotonic()
        came = desk.ledger.wait(self.tenant, record.session, after=seen, timeout=max(0.0, min(left, WAIT_AT_MOST)))
        if not came and left <= 0:
            raise RunTimeoutError(f"run {self.id} has not ended: {self.explain()}")
        if not came:
            desk.work(left)
        yield from came

    def _ended(self, timeout: float | None) -> EvaluationRecord:
        record = self._record()
        if record.ended_seq:
            return record
        for _ in self.events(timeout=timeout):
            pass
        return self._record()

    def _get_task_meta(self) -> dict[str, Any]:
        """What AsyncResult's own properties (state, status, result, ready, successful, failed) are made of."""
        record = self._desk().ledger.evaluation(self.tenant, self.id)
        if record is None:
            return {"status": states.PENDING, "result": None, "task_id": self.id}
        meta: dict[str, Any] = {"status": record.status, "result": None, "task_id": self.id, "children": []}
        if record.ended_seq:
            meta["result"] = self._result(record)
        return meta
