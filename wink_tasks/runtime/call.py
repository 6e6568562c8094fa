"""A tool call: run the function, and record what it returned or why it failed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import CancelledError as FutureCancelledError
from traceback import format_exception
from typing import Any

from wink_tasks.core.codec import LARGEST_EVENT, clean, encode
from wink_tasks.core.errors import (
    CancelledError,
    LedgerFormatError,
    LedgerUnavailableError,
    PayloadTooLargeError,
    ToolError,
)
from wink_tasks.core.events import Call, EvaluationAccepted, ModelResponded, ToolFailed, ToolFailure, ToolReturned
from wink_tasks.core.redaction import redact
from wink_tasks.core.retry import backoff
from wink_tasks.core.tool import ToolDefinition
from wink_tasks.ports.mailbox import Claimed
from wink_tasks.runtime.context import ToolContext
from wink_tasks.runtime.parts import Parts
from wink_tasks.runtime.session import Session
from wink_tasks.runtime.stop import Stop
from wink_tasks.runtime.turn import UNKNOWN_HERE
from wink_tasks.runtime.work import Postponed, Result, Worked

LONGEST_TRACEBACK = 8_000


def work_call(parts: Parts, claimed: Claimed, stop: Stop) -> Result:
    """Run one call. `Worked.error` is set where the tool raised what was not meant for the model."""
    message = claimed.message
    tool = parts.registry.tools.get(message.task)
    if tool is None:
        return Postponed(UNKNOWN_HERE, f"tool {message.task!r} is unknown to worker {parts.actor}", counts=False)
    accepted, call = _asked(claimed)
    deadline = deadline_of(accepted, claimed.started_at)
    began = parts.clock.monotonic()
    if deadline is not None and parts.clock.now() >= deadline:
        return _failed(parts, claimed, call, kind="timeout", message="Not run: the deadline passed.", began=began)
    context = ToolContext(
        params=accepted.params,
        session=Session(parts.ledger, message.tenant, message.session),
        resources=parts.resources,
        run_id=message.evaluation,
        tenant=message.tenant,
        deadline=deadline,
        budget=accepted.terms.budget,
        idempotency_key=message.id,
        delivery_count=claimed.deliveries,
        _stopping=lambda: stop.is_set,
    )
    try:
        value = tool.dump(_run(parts, tool, context, tool.bind(call.arguments), stop))
        event = ToolReturned(
            evaluation=message.evaluation,
            turn=message.turn,
            call=call.id,
            tool=call.tool,
            value=value,
            slice=tool.slice_name,
            seconds=round(parts.clock.monotonic() - began, 6),
        )
        _refuse_large(event, tool)
    except LedgerUnavailableError:
        raise  # nothing can be recorded now: the call is delivered again
    except ToolError as error:
        return _failed(parts, claimed, call, kind="tool_error", message=str(error), began=began)
    except tool.retry_on as error:
        parts.metrics.counter("wink.errors", 1, {"type": type(error).__name__})
        delay = backoff(claimed.deliveries, parts.draw())
        return Postponed(delay, f"{type(error).__name__}: {error}", counts=True)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a tool raises is recorded, and fails its task
        elapsed = parts.clock.monotonic() - began
        stopped = stop.is_set and isinstance(error, CancelledError)
        late = tool.timeout is not None and elapsed >= tool.timeout
        if stopped and stop.cancelled:
            return Worked()
        if stopped and not late:
            delay = backoff(claimed.deliveries, parts.draw())
            return Postponed(delay, f"stopped after {elapsed:.1f} s", counts=True)
        timed_out = stopped or isinstance(error, TimeoutError) or type(error).__name__ == "SoftTimeLimitExceeded"
        kind: ToolFailure = "timeout" if timed_out else "exception"
        return _failed(parts, claimed, call, kind=kind, message=_for_model(error), began=began, error=error)
    _count(parts, call.tool, "ok", event.seconds)
    return Worked(events=(event,))


def deadline_of(accepted: EvaluationAccepted, started_at: float) -> float | None:
    """When an evaluation has to be over, in epoch seconds."""
    terms = accepted.terms
    relative = None if terms.deadline is None else started_at + terms.deadline
    return min((limit for limit in (relative, terms.deadline_at) if limit is not None), default=None)


def _asked(claimed: Claimed) -> tuple[EvaluationAccepted, Call]:
    """The accepted event and the call, which the claim brings."""
    match [record.event for record in claimed.read]:
        case [EvaluationAccepted() as accepted, ModelResponded() as response]:
            return accepted, response.calls[claimed.message.index]
        case found:
            reason = f"message {claimed.message.id!r} reads {[type(event).__name__ for event in found]}, not its call"
            raise LedgerFormatError(reason)


def _run(parts: Parts, tool: ToolDefinition, context: ToolContext, arguments: Mapping[str, Any], stop: Stop) -> Any:
    given = {**arguments, **({tool.context_parameter: context} if tool.context_parameter else {})}
    if not tool.is_async:
        return tool.function(**given)

    async def bounded() -> Any:
        async with asyncio.timeout(tool.timeout):
            return await tool.function(**given)

    future = parts.loop.submit(bounded())
    stop.then(future.cancel)
    try:
        return future.result()
    except FutureCancelledError as error:
        message = f"the call {context.idempotency_key} was stopped"
        raise CancelledError(message, run_id=context.run_id) from error
    finally:
        future.cancel()  # an interrupt of this thread must not leave a call running


def _refuse_large(event: ToolReturned, tool: ToolDefinition) -> None:
    size = len(encode(event))
    if size > LARGEST_EVENT:
        message = f"tool {tool.name!r} returned {size} bytes; a ledger takes {LARGEST_EVENT}: let it return less"
        raise PayloadTooLargeError(message)


def _for_model(error: BaseException) -> str:
    """Only the class: what an exception says may hold what the model must not see."""
    if isinstance(error, PayloadTooLargeError):
        return str(error)
    return f"The tool failed with {type(error).__name__}."


def _failed(
    parts: Parts,
    claimed: Claimed,
    call: Call,
    *,
    kind: ToolFailure,
    message: str,
    began: float,
    error: Exception | SystemExit | None = None,
) -> Worked:
    seconds = parts.clock.monotonic() - began
    event = ToolFailed(
        evaluation=claimed.message.evaluation,
        turn=claimed.message.turn,
        call=call.id,
        tool=call.tool,
        kind=kind,
        message=clean(message[:LONGEST_TRACEBACK]),
        seconds=round(seconds, 6),
        error=None if error is None else clean(redact(f"{type(error).__name__}: {error}"))[:LONGEST_TRACEBACK],
        traceback=None if error is None else clean(redact("".join(format_exception(error))))[-LONGEST_TRACEBACK:],
    )
    _count(parts, call.tool, kind, seconds)
    if error is not None:
        parts.metrics.counter("wink.errors", 1, {"type": type(error).__name__})
    # SystemExit would end more than the task.
    failure = RuntimeError(f"{call.tool} raised {error!r}") if isinstance(error, SystemExit) else error
    return Worked(events=(event,), error=failure)


def _count(parts: Parts, tool: str, status: str, seconds: float) -> None:
    parts.metrics.counter("wink.tool.invocations", 1, {"tool": tool, "status": status})
    parts.metrics.histogram("wink.tool.duration_seconds", seconds, {"tool": tool})
