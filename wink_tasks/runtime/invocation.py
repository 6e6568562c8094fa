"""Running a function of the application once, for a tool's call and for a durable task, and judging how it ended."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import CancelledError as FutureCancelledError
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from traceback import format_exception
from typing import Any, Final, Generic, Literal, TypeVar

from wink_tasks.core.codec import clean, refuse_large
from wink_tasks.core.delivery import LONGEST_TRACEBACK
from wink_tasks.core.errors import (
    CancelledError,
    IgnoredError,
    LeaseLostError,
    LedgerUnavailableError,
    RejectedError,
    RetryLaterError,
    RollbackFailedError,
    ToolError,
)
from wink_tasks.core.events import AnyEvent, EvaluationAccepted, EvaluationFailed, Json, ModelResponded
from wink_tasks.core.function import FunctionDefinition
from wink_tasks.core.redaction import redact
from wink_tasks.ports.mailbox import Claimed
from wink_tasks.ports.transaction import Attempt
from wink_tasks.runtime.context import ToolContext
from wink_tasks.runtime.fate import fate_of
from wink_tasks.runtime.fence import Fence
from wink_tasks.runtime.parts import Parts
from wink_tasks.runtime.stop import Stop
from wink_tasks.runtime.tool_transaction import Transaction
from wink_tasks.runtime.transaction import ToolSession
from wink_tasks.runtime.work import Buried, Postponed, Worked

E = TypeVar("E", bound=AnyEvent)

log = logging.getLogger(__name__)

LONGEST_END: Final = 5.0
"""Seconds for which a call that was stopped is waited for, before what it uses is closed."""

REJECTED = "rejected"
"""Why a message is a dead letter that its function refused."""


@dataclass(frozen=True)
class Returned(Generic[E]):
    """It returned; `event` records the value."""

    event: E
    seconds: float
    transaction: Transaction


@dataclass(frozen=True)
class Raised:
    """It raised what is not tried again. `late` tells that the deadline had passed by then."""

    kind: Literal["tool_error", "exception", "timeout"]
    error: Exception | SystemExit
    seconds: float
    late: bool


@dataclass(frozen=True)
class Unrestored:
    """What it had changed could not be put back: the evaluation ends."""

    error: RollbackFailedError
    seconds: float


Ended = Raised | Postponed | Buried | Worked | Unrestored


def deadline_of(accepted: EvaluationAccepted, started_at: float) -> float | None:
    """When an evaluation has to be over, in epoch seconds."""
    terms = accepted.terms
    relative = None if terms.deadline is None else started_at + terms.deadline
    return min((limit for limit in (relative, terms.deadline_at) if limit is not None), default=None)


def session_of(parts: Parts, claimed: Claimed) -> ToolSession:
    """The session as the function reads and writes it: what it writes is recorded with the end of its call."""
    message = claimed.message
    return ToolSession(
        parts.ledger,
        message.tenant,
        message.session,
        reducers=parts.registry.reducers,
        actor=parts.actor,
        evaluation=message.evaluation,
    )


def context_of(
    parts: Parts,
    claimed: Claimed,
    accepted: EvaluationAccepted,
    stop: Stop,
    session: ToolSession,
    *,
    params: Mapping[str, Json],
    timeout: float | None,
) -> ToolContext:
    """What the function is given where it asks for its context. `timeout` is its own, in seconds."""
    message = claimed.message
    resources = parts.resources.of_call(message.id)
    resources.at_end(session.end)
    context = ToolContext(
        params=params,
        session=session,
        resources=resources,
        run_id=message.evaluation,
        tenant=message.tenant,
        deadline=deadline_of(accepted, claimed.started_at),
        budget=accepted.terms.budget,
        idempotency_key=message.id,
        delivery_count=claimed.deliveries,
        checkpointed=claimed.checkpoint,
        _why=Fence(parts.mailbox, parts.clock, claimed, stop, timeout=timeout).why,
        _keep=lambda value: parts.mailbox.checkpoint(claimed.receipt, value),
    )
    resources.provide(ToolContext, context)
    return context


def attempt_of(parts: Parts, claimed: Claimed) -> Attempt:
    """This delivery, as journals remember it. What a call reads ends with the answer of the model that asked for it."""
    message, asked = claimed.message, claimed.read[-1]
    return Attempt(
        key=message.id,
        epoch=claimed.receipt.epoch,
        tenant=message.tenant,
        session=message.session,
        evaluation=message.evaluation,
        turn=message.turn,
        call=asked.event.calls[message.index].id if isinstance(asked.event, ModelResponded) else "",
        opened_at=claimed.opened_at,
        after=asked.seq,
        actor=parts.actor,
    )


def transaction_of(parts: Parts, claimed: Claimed, context: ToolContext, session: ToolSession) -> Transaction:
    """What this delivery changes, all or nothing."""
    return Transaction(session, context.resources, attempt_of(parts, claimed), partial(fate_of, parts.ledger))


class Invocation:
    """One delivery of one call."""

    def __init__(
        self,
        parts: Parts,
        claimed: Claimed,
        work: FunctionDefinition,
        context: ToolContext,
        *,
        transaction: Transaction,
        stop: Stop,
    ) -> None:
        self._parts = parts
        self._claimed = claimed
        self._work = work
        self._context = context
        self._stop = stop
        self._began = parts.clock.monotonic()
        self._cut = False
        self._transaction = transaction
        context.resources.through(self._awaited)

    def run(self, arguments: Mapping[str, Any], event_of: Callable[[Json, float], E]) -> Returned[E] | Ended:
        """Call the function, and say what follows. `event_of` makes the event of the value and its seconds.

        The resources of the call are closed then; a call that returned but could not close them has failed. What failed
        is put back; what returned is kept, or put back, by `Returned.transaction`, once it was settled.
        Raises LedgerUnavailableError, as nothing can be recorded then, and LeaseLostError, as nothing may be.
        """
        try:
            with self._putting_back():
                with self._context.resources, self._putting_back():
                    value, event = self._returned(arguments, event_of)
                counts = self._transaction.decide(value)
                if counts is not value:  # another attempt was first
                    event = self._event(counts, event_of)
        except RollbackFailedError as error:
            log.error("call %s: %s", self._claimed.message.id, redact("".join(format_exception(error))))  # noqa: TRY400 - redacted
            self._parts.metrics.counter("wink.errors", 1, {"type": type(error).__name__})
            return Unrestored(error, self._elapsed())
        except LedgerUnavailableError:
            raise
        except LeaseLostError as error:
            if not self._stop.is_set:  # the store itself refused a checkpoint
                raise
            return self._judged(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a function raises is judged and recorded
            return self._judged(error)
        return Returned(event, self._elapsed(), self._transaction)

    def _returned(self, arguments: Mapping[str, Any], event_of: Callable[[Json, float], E]) -> tuple[Json, E]:
        answer = self._transaction.begin(redelivered=self._claimed.deliveries > 1)
        value = self._value(arguments) if answer is None else answer.value
        return value, self._event(value, event_of)

    def _event(self, value: Json, event_of: Callable[[Json, float], E]) -> E:
        event = event_of(value, round(self._elapsed(), 6))
        refuse_large(event, f"{self._work.what} returned")
        return event

    @contextmanager
    def _putting_back(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._transaction.roll_back()
            raise

    def _elapsed(self) -> float:
        return self._parts.clock.monotonic() - self._began

    def _value(self, arguments: Mapping[str, Any]) -> Json:
        name = self._work.context_parameter
        try:
            returned = self._call({**arguments, **({name: self._context} if name else {})})
        except Exception as error:
            if isinstance(self._parts.in_our_words(error), IgnoredError):
                return None
            raise
        return self._work.dump(returned)

    def _call(self, given: Mapping[str, Any]) -> Any:
        resources = self._work.resources
        if not self._work.is_async:
            with self._stop.interruptible():
                return self._work.function(**given, **self._context.resources.given(resources))
        if resources:
            with self._stop.interruptible():
                given = {**given, **self._context.resources.given(resources)}
        return self._awaited(self._work.function(**given), self._stop.interruptible())

    def _awaited(self, coroutine: Coroutine[Any, Any, Any], window: AbstractContextManager[None] | None = None) -> Any:
        """What the coroutine returns, within the time of the call; `window` is open while it is waited for."""
        over = threading.Event()

        async def bounded() -> Any:
            whole = asyncio.timeout(self._time_left())
            try:
                async with whole, asyncio.timeout(self._work.timeout):
                    return await coroutine
            finally:
                self._cut = self._cut or whole.expired()
                over.set()

        future = self._parts.loop.submit(bounded())
        self._stop.then(future.cancel)
        try:
            with window or nullcontext():
                return future.result()
        except (FutureCancelledError, CancelledError) as error:
            message = f"the call {self._context.idempotency_key} was stopped"
            raise CancelledError(message, run_id=self._context.run_id) from error
        finally:
            future.cancel()  # an interrupt of this thread must not leave a call running
            if not over.wait(LONGEST_END):
                log.warning("%s goes on, though it was stopped: it catches CancelledError", self._work.what)

    def _time_left(self) -> float | None:
        deadline = self._context.deadline
        return None if deadline is None else max(0.0, deadline - self._parts.clock.now())

    def _judged(self, raised: Exception | SystemExit) -> Ended:
        """What was raised may be a wish; else the call failed."""
        error, work = self._parts.in_our_words(raised), self._work
        match error:
            case ToolError():
                return self._failed("tool_error", raised)
            case RejectedError():
                return Buried(REJECTED, str(error))
            case RetryLaterError():
                return self._asked_again(error)
        if work.retries(raised) or work.retries(error):
            return self._again(None, raised)
        out_of_time = work.timeout is not None and self._elapsed() >= work.timeout
        stopped = isinstance(error, CancelledError | LeaseLostError) and (self._stop.is_set or out_of_time)
        if stopped and self._stop.cancelled:
            return Worked(cut=True)
        if stopped and not out_of_time and not self._late():
            return self._postponed(None, f"stopped after {self._elapsed():.1f} s")
        return self._failed("timeout" if stopped or isinstance(error, TimeoutError) else "exception", raised)

    def _asked_again(self, wish: RetryLaterError) -> Ended:
        cause = wish.__cause__ if isinstance(wish.__cause__, Exception) else wish
        if wish.max_retries is not None and self._claimed.tries > wish.max_retries:
            return self._failed("exception", cause)
        return self._again(wish.delay, cause)

    def _again(self, delay: float | None, error: BaseException) -> Postponed:
        self._parts.metrics.counter("wink.errors", 1, {"type": type(error).__name__})
        return self._postponed(delay, f"{type(error).__name__}: {error}", "".join(format_exception(error)))

    def _postponed(self, delay: float | None, error: str, traceback: str = "") -> Postponed:
        """Not beyond the deadline: then the call has to say that it passed."""
        if delay is None:
            delay = self._work.backoff.pause(self._claimed.tries, self._parts.draw())
        if self._context.deadline is not None:
            delay = min(delay, self._context.deadline - self._parts.clock.now())
        return Postponed(max(0.0, delay), error, counts=True, traceback=traceback)

    def _late(self) -> bool:
        deadline = self._context.deadline
        return self._cut or (deadline is not None and self._parts.clock.now() >= deadline)

    def _failed(self, kind: Literal["tool_error", "exception", "timeout"], error: Exception | SystemExit) -> Raised:
        if kind != "tool_error":
            self._parts.metrics.counter("wink.errors", 1, {"type": type(error).__name__})
        return Raised(kind, error, self._elapsed(), self._late())


def described(error: BaseException) -> str:
    """Class and words of what was raised, fit for a ledger."""
    return clean(redact(f"{type(error).__name__}: {error}"))[:LONGEST_TRACEBACK]


def traced(error: BaseException) -> str:
    """The end of its traceback, fit for a ledger."""
    return clean(redact("".join(format_exception(error))))[-LONGEST_TRACEBACK:]


def unrestored(claimed: Claimed, error: RollbackFailedError) -> EvaluationFailed:
    """How an evaluation ends whose call could not put back what it had changed."""
    return EvaluationFailed(
        evaluation=claimed.message.evaluation,
        code=error.code,
        message=clean(redact(error.message)),
        traceback=traced(error),
    )


def count_call(parts: Parts, tool: str, status: str, seconds: float) -> None:
    """Measure one call of a tool."""
    parts.metrics.counter("wink.tool.invocations", 1, {"tool": tool, "status": status})
    parts.metrics.histogram("wink.tool.duration_seconds", seconds, {"tool": tool})
