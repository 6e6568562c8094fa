"""The handle of an evaluation: an AsyncResult that asks the ledger."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any, Generic, TypeVar, cast

from celery import Celery, states
from celery._state import get_current_task
from celery.backends.base import DisabledBackend
from celery.result import AsyncResult

from wink_tasks.adapters.celery.failures import failure_of
from wink_tasks.core.errors import (
    BlockingInTaskError,
    EvaluationFailedError,
    RunTimeoutError,
    UnknownRunError,
    dropped,
)
from wink_tasks.core.evaluation import EvaluationState
from wink_tasks.core.events import (
    TERMINAL,
    EvaluationFailed,
    EvaluationSucceeded,
    Recorded,
    Terminal,
)
from wink_tasks.core.limits import Budget, Usage
from wink_tasks.ports.clock import Clock
from wink_tasks.ports.doorbell import Ringer
from wink_tasks.ports.ledger import WAIT_AT_MOST, EvaluationRecord, Ledger
from wink_tasks.ports.mailbox import Mailbox
from wink_tasks.ports.session import SessionView
from wink_tasks.ports.waiting import Aside, Waiting

T = TypeVar("T")

EXPECT_AGAIN = 0.5
"""Seconds until it is looked again whether a chain has come to a run, or has failed before it."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What handles work with: the store's ports, sessions by tenant and name, and the prompts' output types.

    `tell_workers` says at once that a run was cancelled. `work` lets up to so many seconds pass and does what is due,
    in a process that has no workers. `on_loop` tells whether the caller is on the loop on which models are called.
    `resume` lets a run that failed go on. `aside` and `waiting` are what coroutines use.
    """

    mailbox: Mailbox
    ledger: Ledger
    ringer: Ringer
    clock: Clock
    session: Callable[[str, str], SessionView]
    load_output: Callable[[str, Any], Any]
    explain: Callable[[EvaluationRecord], str]
    work: Callable[[float], None]
    tell_workers: Callable[..., None]
    on_loop: Callable[[], bool]
    resume: Callable[..., None]
    aside: Aside
    waiting: Waiting


class Run(AsyncResult, Generic[T]):
    """One evaluation. What it says comes from the ledger; Celery's result backend is not needed.

    `get` returns the prompt's output type, or raises the EvaluationFailedError that the evaluation ended with.
    `plain`: `get` gives the output as JSON. `expected`: Celery has made the id, and the run is accepted when its turn
    comes (in a chain): until then `get` waits.
    """

    id: str

    def __init__(self, run_id: str, *, desk: Callable[[], Desk], tenant: str, app: Celery) -> None:
        super().__init__(run_id, app=app)
        self._desk = desk
        self.tenant = tenant
        self.plain = False
        self.expected = False

    @property
    def supports_native_join(self) -> bool:
        """Not: a group asks its members, and they ask the ledger."""
        return False

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
        desk = self._desk()
        ends_at = None if timeout is None else desk.clock.monotonic() + timeout
        self._await_acceptance(ends_at)
        record = self._record()
        seen = max(after, record.accepted_seq - 1)
        while not record.ended_seq or seen < record.ended_seq:
            for recorded in self._next(record, seen, ends_at):
                seen = recorded.seq
                if recorded.evaluation == self.id:
                    yield recorded
                    if isinstance(recorded.event, TERMINAL) and not self._goes_on(recorded):
                        return
            record = self._record()

    @property
    def session(self) -> SessionView:
        """The session in which it runs."""
        return self._desk().session(self.tenant, self._record().session)

    def cancel(self, reason: str = "cancelled by the application", *, by: str = "application") -> None:
        """Ask it to stop. What nobody works on ends at once; what is under way ends its step. Ended runs stay so.

        The ledger keeps `reason`, and who asked: `by`.
        """
        desk = self._desk()
        desk.ringer.ring(desk.mailbox.cancel(self.tenant, self.id, by=by, reason=reason))
        desk.tell_workers(self.tenant, self.id)

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """As `cancel`, for code that was written for Celery: a prefork child is terminated by `signal`, if not TERM."""
        desk = self._desk()
        desk.ringer.ring(desk.mailbox.cancel(self.tenant, self.id, by="application", reason="revoked"))
        options = {"terminate": terminate, "signal": signal, "connection": connection, "reply": wait}
        desk.tell_workers(self.tenant, self.id, **options, timeout=timeout or 1.0)

    def resume(
        self,
        *,
        budget: Budget | None = None,
        deadline: float | datetime | None = None,
        model: str | Sequence[str] | None = None,
        max_turns: int | None = None,
        by: str = "application",
    ) -> Run[T]:
        """Let a run go on that failed, from its last good point: it asks for no answer or tool result that it has.

        `budget` counts from the run's beginning; `deadline` is seconds from now, or an aware datetime. Raises
        NotResumableError where it did not fail, would fail at once again, or its session went on: then fork that.
        """
        terms = {"budget": budget, "deadline": deadline, "model": model, "max_turns": max_turns}
        self._desk().resume(self._record(), by=by, **terms)
        return self

    async def aresume(
        self,
        *,
        budget: Budget | None = None,
        deadline: float | datetime | None = None,
        model: str | Sequence[str] | None = None,
        max_turns: int | None = None,
        by: str = "application",
    ) -> Run[T]:
        """As `resume`."""
        options: dict[str, Any] = {"budget": budget, "deadline": deadline, "model": model, "max_turns": max_turns}
        return cast("Run[T]", await self._aside(lambda: self.resume(by=by, **options)))

    def exists(self) -> bool:
        """Whether there is such a run: Celery's word for telling PENDING from an id that nobody knows."""
        return self._desk().ledger.evaluation(self.tenant, self.id) is not None

    def usage(self) -> Usage:
        """The tokens and the money that it used so far."""
        return self.evaluation().usage

    def evaluation(self) -> EvaluationState:
        """Where it stands, as the fold of its ledger."""
        state = self.session.state
        if self.id in state.open:
            return state.open[self.id]
        return next(ended for ended in reversed(tuple(state.ended)) if ended.id == self.id)

    def explain(self) -> str:
        """In one sentence: why it stands where it stands."""
        desk = self._desk()
        return desk.explain(self._record())

    # The same for coroutines: nothing of it holds the loop, and waiting holds no thread.

    async def aget(self, timeout: float | None = None, *, propagate: bool = True) -> T:  # noqa: ASYNC109 - as `get`
        """As `get`. Cancelling the wait leaves the run as it is."""
        self._refuse_to_block()
        record = None if self.expected else await self._aside(self._record)
        while record is None or not record.ended_seq:
            async for _ in self.aevents(timeout=timeout):
                pass
            record = await self._aside(self._record)
        result = await self._aside(self._result, record)
        if propagate and isinstance(result, EvaluationFailedError):
            raise result
        return cast("T", result)

    async def aevents(
        self,
        *,
        after: int = 0,
        timeout: float | None = None,  # noqa: ASYNC109 - as `events`
    ) -> AsyncGenerator[Recorded, None]:
        """As `events`. Whoever stops early closes it (`contextlib.aclosing`), or leaves that to the loop."""
        self._refuse_to_block()
        desk = self._desk()
        ends_at = None if timeout is None else desk.clock.monotonic() + timeout
        if self.expected:
            await self._aside(self._await_acceptance, ends_at)
        record = await self._aside(self._record)
        seen = max(after, record.accepted_seq - 1)
        while not record.ended_seq or seen < record.ended_seq:
            left = inf if ends_at is None else ends_at - desk.clock.monotonic()
            came = await self._acame(record, seen, left)
            for recorded in came:
                seen = recorded.seq
                if recorded.evaluation == self.id:
                    yield recorded
                    if isinstance(recorded.event, TERMINAL) and not await self._aside(self._goes_on, recorded):
                        return
            if not came:
                record = await self._aside(self._record)

    async def asession(self) -> SessionView:
        """The session in which it runs, read: what it has is there without I/O, until `arefresh`."""
        return await self._aside(self._session_now)

    async def acancel(self, reason: str = "cancelled by the application", *, by: str = "application") -> None:
        """As `cancel`."""
        await self._aside(lambda: self.cancel(reason, by=by))

    async def arevoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - as `revoke`
    ) -> None:
        """As `revoke`."""
        await self._aside(self.revoke, connection, terminate, signal, wait, timeout)

    async def aexists(self) -> bool:
        """As `exists`."""
        return await self._aside(self.exists)

    async def ausage(self) -> Usage:
        """As `usage`."""
        return await self._aside(self.usage)

    async def aevaluation(self) -> EvaluationState:
        """As `evaluation`."""
        return await self._aside(self.evaluation)

    async def aexplain(self) -> str:
        """As `explain`."""
        return await self._aside(self.explain)

    async def astatus(self) -> str:
        """As AsyncResult's `status`: PENDING, STARTED, WAITING, SUCCESS, FAILURE or REVOKED."""
        return str(await self._aside(lambda: self.status))

    async def aready(self) -> bool:
        """As AsyncResult's `ready`: whether it has ended."""
        return bool(await self._aside(self.ready))

    async def asuccessful(self) -> bool:
        """As AsyncResult's `successful`: whether it has ended with an output."""
        return bool(await self._aside(self.successful))

    async def afailed(self) -> bool:
        """As AsyncResult's `failed`: whether it has ended without one."""
        return bool(await self._aside(self.failed))

    @property
    def _aside(self) -> Aside:
        return self._desk().aside

    async def _acame(self, record: EvaluationRecord, seen: int, left: float) -> Sequence[Recorded]:
        desk = self._desk()
        seconds = max(0.0, min(left, WAIT_AT_MOST))
        came = await desk.waiting.next(self.tenant, record.session, after=seen, timeout=seconds)
        if not came and left <= 0:
            raise RunTimeoutError(f"run {self.id} has not ended: {await self.aexplain()}")
        if not came:
            await self._aside(self._work, record, seen, left)
        return came

    def _session_now(self) -> SessionView:
        return self.session.refresh()

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
            if self.plain:
                return end.output
            return self._desk().load_output(record.prompt, end.output)
        return failure_of(end, session=record.session)

    def _record(self) -> EvaluationRecord:
        record = self._desk().ledger.evaluation(self.tenant, self.id)
        if record is None:
            if self._desk().ledger.expired(self.tenant, self.id):
                raise dropped(f"run {self.id!r}", self._desk().ledger.archived(self.tenant, self.id))
            message = f"tenant {self.tenant!r} has no run {self.id!r}"
            raise UnknownRunError(message)
        return record

    def _goes_on(self, end: Recorded) -> bool:
        """Whether the evaluation was resumed after that end, which only a failure allows."""
        return isinstance(end.event, EvaluationFailed) and self._record().ended_seq != end.seq

    def _next(self, record: EvaluationRecord, seen: int, ends_at: float | None) -> Iterator[Recorded]:
        desk = self._desk()
        left = inf if ends_at is None else ends_at - desk.clock.monotonic()
        came = desk.ledger.wait(self.tenant, record.session, after=seen, timeout=max(0.0, min(left, WAIT_AT_MOST)))
        if not came and left <= 0:
            raise RunTimeoutError(f"run {self.id} has not ended: {self.explain()}")
        if not came:
            self._work(record, seen, left)
        yield from came

    def _await_acceptance(self, ends_at: float | None) -> None:
        """Wait until a run that is expected is accepted, or cannot be any more: then its chain's error is raised."""
        desk = self._desk()
        while self.expected and desk.ledger.evaluation(self.tenant, self.id) is None:
            left = inf if ends_at is None else ends_at - desk.clock.monotonic()
            for result in (*self._parents(), self):
                result.maybe_throw()
            if left <= 0:
                raise RunTimeoutError(f"run {self.id} is not accepted yet: what comes before it has not ended")
            if not desk.ledger.wait(self.tenant, self.id, after=0, timeout=min(left, EXPECT_AGAIN)):
                desk.work(left)
        self.expected = False

    def _work(self, record: EvaluationRecord, seen: int, left: float) -> None:
        desk = self._desk()
        try:
            desk.work(left)
        except RunTimeoutError:
            # Another thread may have done all that there was since this one looked.
            if not desk.ledger.read(self.tenant, record.session, after=seen, count=1):
                raise

    def _ended(self, timeout: float | None) -> EvaluationRecord:
        record = None if self.expected else self._record()
        while record is None or not record.ended_seq:
            for _ in self.events(timeout=timeout):
                pass
            record = self._record()
        return record

    def _get_task_meta(self) -> dict[str, Any]:
        """What AsyncResult's own properties (state, status, result, ready, successful, failed) are made of."""
        record = self._desk().ledger.evaluation(self.tenant, self.id)
        if record is None and self.expected and not isinstance(self.backend, DisabledBackend):
            return cast("dict[str, Any]", super()._get_task_meta())  # a chain that broke before it, has failed it there
        if record is None:
            return {"status": states.PENDING, "result": None, "task_id": self.id}
        meta: dict[str, Any] = {"status": record.status, "result": None, "task_id": self.id, "children": []}
        if record.ended_seq:
            meta["result"] = self._result(record)
        return meta
